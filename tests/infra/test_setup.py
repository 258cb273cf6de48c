"""`python infra/setup.py`, against the Modal server of the tests."""

from __future__ import annotations

import os
import pty
import re
import select
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.modal import RunningServer, modal_server

SCRIPT = Path(__file__).parents[2] / "infra" / "setup.py"
GIVEN, IN_FILE = "gsk-canary-of-the-environment", "sk-canary-of-the-file"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with modal_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY={IN_FILE}")
    return tmp_path


def environ(server: RunningServer) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | server.env | {"GROQ_API_KEY": GIVEN}


def run(folder: Path, env: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *options],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_everything_is_made_once_and_kept(server: RunningServer, folder: Path) -> None:
    done = run(folder, environ(server), "--yes", "--env", "fresh")
    assert done.returncode == 0, done.stderr
    assert "environment fresh: is missing\n  created" in done.stdout
    for name in ("goat-llm-providers", "goat-litellm", "goat-langfuse", "goat-postgres"):
        assert f"secret {name}: is missing" in done.stdout
    kept = (folder / ".env").read_text()
    assert kept.startswith(f"OPENAI_API_KEY={IN_FILE}\n")
    assert stat.S_IMODE((folder / ".env").stat().st_mode) == 0o600
    generated = re.findall(r"^(\w+)=(.+)$", kept, re.MULTILINE)[1:]
    assert {"LITELLM_MASTER_KEY", "POSTGRES_PASSWORD", "ENCRYPTION_KEY"} <= {name for name, _ in generated}

    again = run(folder, environ(server), "--yes", "--env", "fresh")
    assert again.returncode == 0, again.stderr
    assert "is missing" not in again.stdout.replace("secret goat-huggingface: is missing", "")
    assert (folder / ".env").read_text() == kept
    for shown in (done.stdout + done.stderr, again.stdout + again.stderr):
        assert not [value for _, value in [*generated, ("", GIVEN), ("", IN_FILE)] if value in shown]


def test_another_machine_makes_no_new_values_for_a_secret_that_is_there(
    server: RunningServer, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert run(folder, environ(server), "--yes", "--env", "shared").returncode == 0
    other = tmp_path_factory.mktemp("other")
    done = run(other, environ(server), "--yes", "--env", "shared")
    assert done.returncode == 0, done.stderr
    assert re.search(r"POSTGRES_PASSWORD +- ", done.stdout)
    assert "left as it is: nothing to write" in done.stdout
    assert not (other / ".env").exists()


def test_a_dry_run_writes_nothing(server: RunningServer, folder: Path) -> None:
    before = server.calls()
    done = run(folder, environ(server), "--dry-run", "--env", "imagined")
    assert done.returncode == 0, done.stderr
    assert "environment imagined: is missing\n  would be created" in done.stdout
    assert "would be created" in done.stdout
    assert (folder / ".env").read_text() == f"OPENAI_API_KEY={IN_FILE}"
    made = {name: count - before.get(name, 0) for name, count in server.calls().items()}
    assert [name for name, count in made.items() if count and re.search("Create|Update", name)] == []


def test_a_dry_run_needs_no_account(folder: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "MODAL_CONFIG_PATH": str(tmp_path / "none")}
    done = run(folder, env, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Modal is not asked" in done.stdout


def test_without_a_token_it_says_how_to_get_one(folder: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "MODAL_CONFIG_PATH": str(tmp_path / "none")}
    done = run(folder, env, "--yes")
    assert done.returncode == 1
    assert "modal token new" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_asks_before_it_writes_and_shows_nothing_that_is_typed(
    server: RunningServer, folder: Path
) -> None:
    said = converse(
        [sys.executable, str(SCRIPT), "--env", "asked"],
        folder,
        environ(server),
        [
            (r"Create the environment asked\? \[Y/n\] $", "y"),
            (r"AZURE_API_KEY \(.*\): $", "azure-canary-typed"),
            (r"Create the secret goat-llm-providers\? \[Y/n\] $", "y"),
            (r"Create the secret goat-litellm\? \[Y/n\] $", "n"),
            (r"Create the secret goat-langfuse\? \[Y/n\] $", "\x03"),
        ],
    )
    assert "canary" not in said
    assert re.search(r"AZURE_API_KEY +\*{8} \(typed\)", said)
    assert "skipped" in said
    assert "setup: stopped; what was written stays" in said
    assert "Traceback" not in said
    names = run(folder, environ(server), "--dry-run", "--env", "asked").stdout
    assert "secret goat-llm-providers: is there" in names
    assert "secret goat-litellm: is missing" in names


def converse(argv: list[str], folder: Path, env: dict[str, str], answers: list[tuple[str, str]]) -> str:
    """What a program says on a terminal where each prompt gets its answer; other prompts get an empty one."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        argv, cwd=folder, env=env, stdin=follower, stdout=follower, stderr=follower, start_new_session=True,
        preexec_fn=_take_terminal,
    )  # fmt: skip
    os.close(follower)
    said, unread = "", ""
    waiting = dict(answers)
    patience = 12
    try:
        while patience:
            if not select.select([leader], [], [], 5)[0]:
                patience -= 1
                if not waiting:
                    # Python sees a Ctrl-C between a prompt and its read only at the next key.
                    os.write(leader, b"\x03")
                continue
            part = os.read(leader, 65536).decode()
            said, unread = said + part, unread + part
            if not re.search(r"(: |\[Y/n\] )$", unread):
                continue
            prompt = next((one for one in waiting if re.search(one, unread)), None)
            answer = waiting.pop(prompt) if prompt else ""
            os.write(leader, answer.encode() if answer == "\x03" else f"{answer}\n".encode())
            unread = ""
    except OSError:
        pass  # the terminal's other end is closed: the program has ended
    finally:
        os.close(leader)
        process.kill()
        process.wait()
    assert waiting == {}, said
    return said.replace("\r", "")


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
