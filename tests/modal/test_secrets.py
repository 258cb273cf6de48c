"""Planted secrets are in no sandbox, result or log; what is in a sandbox is worth nothing outside of it."""

from __future__ import annotations

import json
import secrets
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.environ import read_file
from pytest_goat.redact import Redactor
from tests.sandbox.modal_bench import needs_root
from tests.support import silent_agent
from tests.support.modal import run_sdk
from tests.support.modal_runs import Cloud, Project, Started
from tests.support.suites import WRITE_HELLO, Turns, hello_task, write_suite
from tests.support.waiting import until

pytestmark = needs_root

DUMP = (
    "(env; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline) 2>&1 | tr '\\0' '\\n' > dump.txt; "
    "env; touch ready; while ! test -e /tmp/end; do sleep 0.2; done"
)
"""What a curious agent does; it waits until the sandbox is ended, or its time is over."""
CURIOUS: Turns = [{"tools": [{"Bash": {"command": DUMP}}]}, *WRITE_HELLO]
TASKS = ("one", "two")
TIME = 10
"""Seconds that an agent has: the test looks around meanwhile."""
PLACES = ["/", "/tmp", "/workspace", "/out", "/home/goat"]
"""What of a sandbox is looked through, its own file systems."""
ADAPTER = """
name: silent
program: ./silent_agent.py
argv: ["{program}", "{max_turns}"]
prompt: stdin
"""
"""An agent that leaves its key in its environment, as most do: the one that ships here wipes it out."""
PROVIDERS = ("OPENAI_API_KEY", "AZURE_API_KEY", "GROQ_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN")


@dataclass(frozen=True)
class Agent:
    """One at work, and what can be seen in its sandbox from outside."""

    trial: str
    token: str
    url: str
    text: str
    """All files, environments and arguments."""


@pytest.fixture
def planted(cloud: Cloud) -> dict[str, str]:
    """Secrets by name: those of providers in the environment, those that setup made, those of Modal."""
    made = {name: value for name, value in read_file(cloud.folder / ".env").items() if "EMAIL" not in name}
    assert {"LITELLM_MASTER_KEY", "LANGFUSE_SECRET_KEY", "POSTGRES_PASSWORD"} <= set(made)
    return {
        **made,
        **{name: f"sk-planted-{secrets.token_hex(12)}" for name in PROVIDERS},
        "MODAL_TOKEN_SECRET": cloud.environ["MODAL_TOKEN_SECRET"],
    }


@pytest.fixture
def curious(cloud: Cloud, tmp_path: Path, planted: dict[str, str]) -> Iterator[Started]:
    """A run of two agents that look around, with every secret in its environment or `.env`."""
    shutil.copy(cloud.folder / ".env", tmp_path / ".env")
    tasks = [hello_task(name, timeout=TIME) for name in TASKS]
    write_suite(tmp_path / "suite", tasks, dict.fromkeys(TASKS, CURIOUS))
    shutil.copy(silent_agent.__file__, tmp_path)
    (tmp_path / "silent.yaml").write_text(ADAPTER)
    environ = {**cloud.environ, **{name: planted[name] for name in PROVIDERS}}
    project = Project(tmp_path, Cloud(cloud.server, cloud.folder, environ))
    run = Started(project, "suite", "--goat-parallel=2", "--goat-agent=silent.yaml")
    yield run
    run.close()


def agents(cloud: Cloud) -> list[Agent]:
    """Those that have looked around."""
    found = []
    for sandbox in cloud.server.live():
        inside = cloud.server.ask("look", sandbox=sandbox["id"], paths=PLACES)
        variables = [variable for process in inside["processes"] for variable in process["environ"]]
        environ = dict(variable.partition("=")[::2] for variable in variables)
        if "/workspace/ready" in inside["files"]:
            trial, url = sandbox["tags"]["goat-trial"], environ["OPENAI_BASE_URL"]
            found.append(Agent(trial, environ["OPENAI_API_KEY"], url, json.dumps([inside, sandbox])))
    return found


def status(method: str, url: str, token: str, body: Any = None) -> int:
    """Of the answer to a request with the token."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def everything_below(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path, path.read_bytes().decode(errors="replace")


def chat(agent: Agent, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello?"}]}
    return status("POST", f"{agent.url}/chat/completions", agent.token, body)


def test_nothing_secret_is_anywhere(
    cloud: Cloud, project: Project, curious: Started, planted: dict[str, str]
) -> None:
    until("both agents look around", lambda: len(agents(cloud)) == len(TASKS), 30)
    run_id = project.run_id
    record = run_sdk(
        cloud.server,
        f"record = modal.Dict.from_name('goat-gateway', environment_name='goat').get('run/{run_id}')\n"
        "answer = json.loads(record)['secret']",
    )
    forbidden = {"the run's secret": record, **planted}
    one, two = sorted(agents(cloud), key=lambda agent: agent.trial)

    # In the sandboxes there is the trial's own token, and no other secret.
    for agent, other in ((one, two), (two, one)):
        assert agent.token in agent.text
        assert other.token not in agent.text
        assert [name for name, value in forbidden.items() if Redactor([value]).finds(agent.text)] == []

    # The token is worth a call of its own model, and nothing else.
    root = one.url.removesuffix("/v1")
    assert chat(one, "gpt-5-mini") in (400, 403, 404)
    for method, path in [
        ("GET", f"/goat/trials/{two.trial}/seen"),
        ("POST", f"/goat/trials/{two.trial}/close"),
        ("PUT", f"/goat/recordings/{32 * '0'}"),
        ("GET", "/goat/waiting"),
        ("GET", "/model/info"),
        ("GET", "/key/info"),
        ("POST", "/key/generate"),
        ("POST", "/v1/embeddings"),
    ]:
        assert status(method, root + path, one.token, {} if method == "POST" else None) in (401, 403, 404), (
            path
        )
    # Changed in one place, it is worth nothing at all.
    forged = one.token[:-4] + ("aaaa" if not one.token.endswith("aaaa") else "bbbb")
    assert status("GET", f"{one.url}/models", one.token) == 200
    assert status("GET", f"{one.url}/models", forged) in (401, 403)

    curious.process.wait(60)
    for agent in (one, two):
        assert status("GET", f"{agent.url}/models", agent.token) in (401, 403)
        assert chat(agent, "replay") in (401, 403)

    # Nothing of all that is in results, volume, logs and reports.
    volume = project.folder / "volume"
    volume.mkdir()
    done = project.python(
        "-m", "modal", "volume", "get", "goat-results", f"/{run_id}", "volume", "--env", "goat"
    )
    assert done.code == 0, done.said
    forbidden |= {"a token": one.token, "the other's token": two.token}
    places = [*everything_below(project.folder / ".goat"), *everything_below(volume)]
    assert len([path for path, _ in places if path.name == "changes.diff"]) == 2 * len(TASKS)
    places += [
        (Path("log"), curious.log),
        *(
            (Path(container["id"]), cloud.server.ask("container_log", id=container["id"]))
            for container in cloud.server.ask("containers")
        ),
        (Path("results"), project.goat("results", run_id, "--full").said),
    ]
    found = [
        (str(path), name)
        for path, text in places
        for name, value in forbidden.items()
        if Redactor([value]).finds(text)
    ]
    assert found == []
    assert "+OPENAI_API_KEY=" in str(places)  # the agents did look
