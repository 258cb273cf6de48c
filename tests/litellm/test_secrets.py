"""Keys stay where they belong; one LiteLLM serves a run, and ends with it however that ends."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.litellm.chain import DONE, RIGHT, Reply, arguments, bash, run_chain, set_up, task_of, turn_of
from tests.support.model_server import Answer, Hang, Status
from tests.support.providers import KEYS, Providers
from tests.support.providers.rules import Asked
from tests.support.runs import assert_nowhere, stored_trials, the_run
from tests.support.suites import hello_task, write_suite

OTHERS = {
    "LITELLM_MASTER_KEY": "sk-master-canary-0123456789",
    "MODAL_TOKEN_SECRET": "as-canary-0123456789abcdef",
    "DATABASE_URL": "postgresql://goat:canary-0123456789@db/goat",
}
"""What no part of a local run needs, but the user's environment may have."""

LOOK = """cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline | tr '\\0' '\\n'; set; pwd; ls -la ~ / /tmp"""
"""All that an agent can learn of processes and variables."""

JUDGED = '{"score": 1, "reason": "It is right."}'


def processes(name: str, value: str = "") -> Iterator[tuple[Path, dict[str, str]]]:
    """Folder in /proc and environment of every process whose variable `name` begins with `value`."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            entries = (folder / "environ").read_text("utf-8", "replace").split("\0")
        except OSError:
            continue
        variables = dict(entry.split("=", 1) for entry in entries if "=" in entry)
        if variables.get(name, "\0").startswith(value):
            yield folder, variables


def litellms(folder: Path) -> dict[int, str]:
    """The processes of LiteLLM that runs below `folder` have, with their master keys."""
    found = processes("CONFIG_FILE_PATH", str(folder))
    return {int(at.name): variables["LITELLM_MASTER_KEY"] for at, variables in found}


class Watch:
    """A script for providers that looks around on each of its calls."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.litellms: dict[int, str] = {}
        self.agents: list[str] = []
        """Environment and arguments of agents, as the host sees them."""

    def reply(self, asked: Asked) -> Reply:
        self.litellms |= litellms(self._folder)
        task = task_of(asked)
        if not task:
            return Answer(JUDGED)
        for at, variables in processes("EVAL_MODEL", asked.model):
            with suppress(OSError):
                self.agents.append(f"{variables} {(at / 'cmdline').read_bytes()!r}")
        if task == "refused":
            return Status(401, f"Incorrect API key provided: {KEYS['azure']}")
        return (bash(LOOK), RIGHT, DONE)[min(turn_of(asked), 2)]


def test_no_secret_gets_out(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(pytester.path)
    checks = [{"file": "hello.txt", "contains": "hello"}, {"judge": "Is it right?"}]
    tasks = [hello_task(name, prompt=f"Do {name}", checks=checks) for name in ("one", "two", "refused")]
    with Providers(watch.reply) as providers:
        set_up(pytester.path, providers, monkeypatch, **OTHERS)
        result = run_chain(
            pytester, tasks, ["gpt-5-mini"], "goat-eval", "-n", "2", "--goat-judge-model=claude-haiku-4-5"
        )
        shown = [str(call.json) for call in providers.calls]
    ends = {name: (trial["status"], trial["cause"]) for name, trial in stored_trials(pytester.path).items()}
    assert ends == {"one": ("passed", None), "two": ("passed", None), "refused": ("error", "auth")}
    ((pid, master),) = watch.litellms.items()
    assert not Path(f"/proc/{pid}").exists()
    assert (the_run(pytester.path) / "litellm.log").exists()

    assert any("'OPENAI_API_KEY': 'goat'" in text for text in watch.agents)
    assert any("EVAL_MODEL=gpt-5-mini" in text for text in shown), "the agent has looked around"
    (pytester.path / ".env").unlink()
    for secret in (*KEYS.values(), *OTHERS.values(), master):
        assert not [text for text in (*shown, *watch.agents) if secret in text]
        assert_nowhere(secret, pytester.path, result)


def test_litellm_ends_when_pytest_is_killed(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = threading.Event()

    def hang(asked: Asked) -> Reply:
        if not task_of(asked):
            return DONE
        called.set()
        return Hang()

    write_suite(pytester.path / "suite", [hello_task("hello", prompt="Do hello")])
    with Providers(hang) as providers, ExitStack() as stack:
        set_up(pytester.path, providers, monkeypatch)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "suite",
            *arguments(["gpt-5-mini"], "goat-eval"),
            "-n",
            "2",
        ]
        running = stack.enter_context(pytester.popen(command))
        stack.callback(running.kill)
        assert called.wait(90)
        (pid,) = litellms(pytester.path)
        handle = os.pidfd_open(pid)
        stack.callback(os.close, handle)
        running.send_signal(signal.SIGKILL)
        assert select.select([handle], [], [], 30)[0]


@pytest.mark.parametrize(
    ("model", "keys", "said"),
    [
        (
            "gpt-5-mini",
            {},
            "Model 'gpt-5-mini' needs AZURE_API_KEY and AZURE_API_BASE: export AZURE_API_KEY=...",
        ),
        (
            "gpt-5-mini",
            {"AZURE_API_KEY": "x"},
            "Model 'gpt-5-mini' needs AZURE_API_BASE: export AZURE_API_BASE",
        ),
        ("gpt-5-minni", {}, "There is no model 'gpt-5-minni' in the table. Did you mean gpt-5-mini"),
        (
            "llama-3.3-70b",
            {"GROQ_API_KEY": "x"},
            "Model 'llama-3.3-70b' retired 2026-08-16: use gpt-oss-120b. If",
        ),
    ],
)
def test_what_cannot_be_called_is_told_before_anything_starts(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, model: str, keys: dict[str, str], said: str
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "AZURE_API_KEY", "AZURE_API_BASE", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    write_suite(pytester.path / "suite", [hello_task("hello")])
    result = pytester.runpytest_subprocess("suite", f"--goat-model={model}", "--goat-backend=local")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stdout.str() + result.stderr.str()
    assert not list(pytester.path.glob(".goat/results/*/litellm*"))
