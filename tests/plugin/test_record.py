"""`--goat-record`, and that what it wrote replays with the same verdicts."""

from __future__ import annotations

import json
import re
import shlex
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml

from pytest_goat.sandbox.local import landlock
from tests.support import silent_agent
from tests.support.model_server import Answer, ModelServer, Reply, Status, ToolCall
from tests.support.runs import the_run
from tests.support.suites import WRITE_HELLO, hello_task, write_suite

KEY = "sk-canary-5f1c0e77a9b34d21"
SANDBOXES = [
    (),
    *([("--goat-sandbox", "landlock")] if landlock.version() >= landlock.ENOUGH else []),
]
"""Options for sandboxes with different workspaces, as far as they can be had here."""

Verdicts = dict[str, tuple[str, str | None]]
Script = Callable[[dict[str, Any], Mapping[str, str]], Reply]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def moody(moods: str) -> Script:
    """A model that does trials as it likes: R right, W wrong, E not at all; in the order of beginning."""
    left, lock = list(moods), threading.Lock()

    def answer(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        if any(message["role"] == "assistant" for message in request["messages"]):
            return Answer(f"Done.\nThe key was {KEY}, in {place(request)}.")
        if "hello.txt" not in str(request["messages"]):
            return Answer("Ready.")  # to the preflight
        with lock:
            mood = left.pop(0)
        if mood == "E":
            return Status(404)
        word = "hello" if mood == "R" else "good bye"
        line = f"mktemp; date; pwd\n\necho '{word}' > {place(request)}/hello.txt"
        return Answer("I'll write it.", [ToolCall("Bash", {"command": line})], reasoning="Easy.")

    return answer


def place(request: dict[str, Any]) -> str:
    """The workspace, where the agent names it."""
    found = re.search("Working directory: (.*)", str(request["messages"][0]["content"]))
    return found[1] if found else "/workspace"


def run(
    pytester: pytest.Pytester, *args: str, server: ModelServer | None = None
) -> tuple[int, Verdicts, str]:
    """Exit code, verdict by task, model and epoch, and output of a run in a fresh results folder."""
    at = ("--goat-model", "m", "--goat-api-url", server.url) if server else ()
    results = pytester.path / ".goat"
    if results.exists():
        results.rename(pytester.path / f"goat-{len(list(pytester.path.glob('goat-*')))}")
    done = pytester.runpytest_subprocess("suite", *at, *args)
    trials = [json.loads(path.read_text()) for path in the_run(pytester.path).glob("trials/*.json")]
    verdicts = {f"{t['task_id']} {t['epoch']}": (t["status"], t["cause"]) for t in trials}
    return int(done.ret), verdicts, done.stdout.str()


def replay_commands(output: str, begin: str) -> list[list[str]]:
    """The words of the commands that the summary's lines with that beginning name."""
    found = re.findall(rf"^{re.escape(begin)}.* \((pytest .*)\)$", output, re.MULTILINE)
    return [shlex.split(words) for words in found]


def agent(pytester: pytest.Pytester, kind: str) -> tuple[str, ...]:
    if kind == "goat-eval":
        return ()
    adapter = {
        "name": "silent",
        "program": silent_agent.__file__,
        "argv": ["{program}", "{max_turns}"],
    }
    path = pytester.path / "agent.json"
    path.write_text(json.dumps(adapter))
    return ("--goat-agent", str(path))


@pytest.mark.parametrize(("kind", "workers"), [("goat-eval", ()), ("silent", ("-n", "2"))])
def test_a_run_and_its_replay_have_the_same_verdicts(
    pytester: pytest.Pytester, kind: str, workers: tuple[str, ...]
) -> None:
    write_suite(pytester.path / "suite", [hello_task("hello")])
    epochs = ("--goat-epochs", "3", *agent(pytester, kind))
    with ModelServer(moody("RWR"), models=["m"]) as server:
        _, verdicts, output = run(pytester, *epochs, "--goat-record", "kept", *workers, server=server)
    (command,) = replay_commands(output, "recorded: kept")
    assert command.count("suite") == 1
    assert run(pytester, *command[command.index("suite") + 1 :])[1] == verdicts
    assert Counter(status for status, _ in verdicts.values()) == {"passed": 2, "failed": 1}
    for more in (("-n", "2"), *SANDBOXES):
        assert run(pytester, *epochs, "--goat-model", "replay:kept", *more)[1] == verdicts


def test_a_recording_is_pleasant_and_tells_no_secret(pytester: pytest.Pytester) -> None:
    task = hello_task("hello", prompt=f"Write hello.txt with the word hello, not {KEY}.")
    write_suite(pytester.path / "suite", [task])
    with ModelServer(moody("R"), models=["m"]) as server:
        _, _, output = run(pytester, "--goat-record", "kept", server=server)
    text = (pytester.path / "kept" / "hello.yaml").read_text()
    recorded = yaml.safe_load(text)["recorded"]
    assert recorded == {
        "run": the_run(pytester.path).name,
        "task": "suite/hello.yaml",
        "model": "m",
        "agent": "goat-eval",
    }
    assert "Warning" not in output
    assert (
        text.partition("\n")[2]
        == """\
turns:
  - reasoning: Easy.
    text: I'll write it.
    tools:
      - Bash:
          command: |-
            mktemp; date; pwd

            echo 'hello' > {workdir}/hello.txt
    usage: {prompt_tokens: 10, completion_tokens: 5}
  - text: |-
      Done.
      The key was [redacted], in {workdir}.
    usage: {prompt_tokens: 10, completion_tokens: 5}
"""
    )


def test_errors_are_not_recorded_and_other_recordings_stay(pytester: pytest.Pytester) -> None:
    write_suite(pytester.path / "suite", [hello_task("hello"), hello_task("lost")])
    kept = pytester.path / "kept"
    kept.mkdir()
    for name in ("hello", "lost", "other"):
        (kept / f"{name}.yaml").write_text("turns: [{text: as before}]\n")
    with ModelServer(moody("RE"), models=["m"]) as server:
        options = ("--goat-record=kept", "--goat-parallel", "1")
        _, verdicts, output = run(pytester, *options, server=server)
    assert verdicts == {"hello 1": ("passed", None), "lost 1": ("error", "model_not_found")}
    (command,) = replay_commands(output, "recorded, but for 1 error: kept")
    assert command[-4:] == ["--goat-parallel", "1", "--goat-model", "replay:kept"]
    assert "as before" not in (kept / "hello.yaml").read_text()
    for name in ("lost", "other"):
        assert (kept / f"{name}.yaml").read_text() == "turns: [{text: as before}]\n"


def test_a_budget_that_ran_out_does_so_at_replay(pytester: pytest.Pytester) -> None:
    write_suite(pytester.path / "suite", [hello_task("hello")])

    def dear(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        return Answer(tools=[ToolCall("Bash", {"command": "ls"})], usage={"prompt_tokens": 1, "cost": 0.4})

    with ModelServer(dear, models=["m"]) as server:
        bound = ("--goat-max-trial-cost", "0.5", "--goat-record", "kept")
        _, verdicts, _ = run(pytester, *bound, server=server)
    assert verdicts == {"hello 1": ("failed", "budget")}
    assert run(pytester, "--goat-model", "replay:kept")[1] == verdicts


def test_each_model_and_the_judge_have_folders_of_their_own(pytester: pytest.Pytester) -> None:
    suite = write_suite(
        pytester.path / "suite",
        [hello_task("hello", checks=[{"judge": "Is it kind?"}])],
        {"hello": WRITE_HELLO},
    )
    verdict = json.dumps({"score": 0.9, "reason": "It says hello."})
    for folder, text in (("replay-judge", verdict), ("replay-other", "I do not.")):
        (suite / folder).mkdir()
        (suite / folder / "hello.yaml").write_text(json.dumps({"turns": [{"text": text}]}))
    models = ("--goat-model", "replay", "--goat-model", "replay:replay-other")
    judge = ("--goat-judge-model", "replay:replay-judge", "--goat-record", "kept")
    result = pytester.runpytest_subprocess("suite", *models, *judge)
    result.assert_outcomes(passed=2)
    files = {str(path.relative_to(pytester.path)) for path in pytester.path.glob("kept*/**/*.yaml")}
    assert files == {
        f"{folder}/{model}/hello.yaml"
        for folder in ("kept", "kept-judge")
        for model in ("replay", "replay-replay-other")
    }
    commands = replay_commands(result.stdout.str(), "recorded: kept/")
    assert [command[-4:] for command in commands] == [
        ["--goat-model", f"replay:kept/{model}", "--goat-judge-model", f"replay:kept-judge/{model}"]
        for model in ("replay", "replay-replay-other")
    ]
    for command in commands:
        pytester.runpytest_subprocess(*command[1:]).assert_outcomes(passed=1)


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("suite", "--goat-record", "kept", "--goat-agent", "nop"), "agent nop asks no model"),
        (("suite", "suite2", "--goat-record", "kept"), "both have a task 'hello'"),
        (("suite", "--goat-record", "replay"), "suite has a folder of that name"),
        (("suite", "--goat-record", "suite/kept"), "would be taken for prompt files"),
        (("suite", "--goat-record", "file"), "file: File exists. Choose another"),
    ],
)
def test_what_cannot_be_recorded_is_said_before_any_trial(
    pytester: pytest.Pytester, args: tuple[str, ...], words: str, more: tuple[str, ...]
) -> None:
    for name in ("suite", "suite2"):
        write_suite(pytester.path / name, [hello_task("hello")], {"hello": WRITE_HELLO})
    (pytester.path / "file").touch()
    result = pytester.runpytest_subprocess(*args, *more)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stdout.str() + result.stderr.str()
    assert words in said
    assert "Traceback" not in said
    assert not replay_commands(said, "recorded")
    assert not list(pytester.path.glob(".goat/results/*/trials/*.json"))


def test_trials_of_python_tests_are_recorded_too(pytester: pytest.Pytester) -> None:
    test = "def test_it(goat):\n    assert goat.run('Write hello.txt').read('hello.txt') == 'hello\\n'\n"
    pytester.makepyfile(test_a=test, test_b=test)
    args = ("--goat-record", "kept", "--goat-model", "m", "--goat-api-url")
    with ModelServer(moody("RR"), models=["m"]) as server:
        result = pytester.runpytest_subprocess(*args, server.url)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*not recorded: test_b.py::test_it: test_a.py has a task of that id, too*"])
    pytester.runpytest_subprocess("test_a.py", "--goat-model", "replay:kept").assert_outcomes(passed=1)


def test_one_prompt_is_recorded(pytester: pytest.Pytester) -> None:
    def goat_run(*options: str) -> pytest.RunResult:
        words = ("run", "Write hello.txt", "--backend", "local", *options)
        return pytester.run(sys.executable, "-m", "pytest_goat.cli", *words)

    with ModelServer(moody("RE"), models=["m"]) as server:
        at = ("--model", "m", "--api-url", server.url)
        result, lost = goat_run(*at, "--record", "kept"), goat_run(*at, "--record", "lost")
    assert (result.ret, lost.ret) == (0, 1)
    result.stdout.fnmatch_lines(["recorded: kept (--model replay:kept)", "Done.", "added: hello.txt"])
    assert "recorded" not in lost.stdout.str()
    text = (pytester.path / "kept" / "prompt.yaml").read_text()
    assert KEY not in text
    assert yaml.safe_load(text)["recorded"]["model"] == "m"
    again = goat_run("--model", "replay:kept")
    assert again.ret == 0
    again.stdout.fnmatch_lines(["Done.", "added: hello.txt"])
    nothing = goat_run("--agent", "nop", "--model", "m", "--record", "kept")
    assert nothing.ret == 4
    nothing.stderr.fnmatch_lines(["goat: --goat-record: agent nop asks no model*"])
