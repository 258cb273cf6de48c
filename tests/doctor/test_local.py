"""`goat doctor` for those who run on their own machine."""

from __future__ import annotations

from pathlib import Path

from tests.doctor.asking import NOBODY, doctor
from tests.support.model_server import Answer, ModelServer, Status

MODAL = {"environment", "secrets", "services", "gateway", "volume", "leftovers"}

RETIRING = """
mine:
  provider: openai
  route: openai/mine
  env: {api_key: MINE_API_KEY}
  context: 1000
  max_output: 100
  retires: 2020-01-01
  successor: yours
later:
  provider: openai
  route: openai/later
  env: {api_key: MINE_API_KEY}
  context: 1000
  max_output: 100
"""


def test_a_newcomer_lacks_nothing(tmp_path: Path) -> None:
    told = doctor(tmp_path)
    assert told.code == 0
    assert list(told.findings) == [
        "token", "environment", "secrets", "services", "gateway", "model", "trace", "volume", "leftovers",
        "agent", "sandbox", "litellm", "models",
    ]  # fmt: skip
    state, words, mend = told.findings["token"]
    assert (state, words) == ("skipped", "Modal is not configured, and not needed for local runs")
    assert mend == "modal token new && python infra/setup.py --env goat"
    assert told.skipped_for("token comes first") == MODAL
    assert {told.states[part] for part in ("agent", "sandbox", "models")} == {"ok"}
    assert told.findings["agent"][1].startswith("goat-eval ")
    assert told.findings["sandbox"][1].startswith("local/")
    assert told.findings["models"][1].startswith("`replay` needs no key; 0 of the table's ")
    assert told.findings["models"][1].endswith("OPENAI_API_KEY is not set")


def test_it_is_read_in_columns(tmp_path: Path) -> None:
    lines = doctor(tmp_path, text=True).output.splitlines()
    assert "-       gateway      not looked at: token comes first" in lines
    assert [line[21] for line in lines if not line.startswith(" ")].count(" ") == 0
    assert "\x1b" not in "".join(lines)


def test_modal_that_is_asked_for_is_needed(tmp_path: Path) -> None:
    told = doctor(tmp_path, "--backend", "modal", "--model", "replay")
    assert told.code == 1
    assert told.findings["token"][:2] == ("missing", "Modal is not configured")
    assert told.skipped_for("token comes first") == MODAL | {"model"}


def test_without_the_sdk_the_way_to_modal_begins_with_its_installation(tmp_path: Path) -> None:
    absent = "sys.modules['modal'] = None"
    _, _, mend = doctor(tmp_path, before=absent).findings["token"]
    assert mend.startswith("pip install 'pytest-goat[modal]' && modal token new")

    given = NOBODY | {"MODAL_TOKEN_ID": "ak-x", "MODAL_TOKEN_SECRET": "as-x"}
    told = doctor(tmp_path, environ=given, before=absent)
    assert told.findings["token"][0] == "missing"
    assert "pip install 'pytest-goat[modal]'" in told.findings["token"][2]
    assert told.code == 1


def test_an_agent_that_is_not_there(tmp_path: Path) -> None:
    told = doctor(tmp_path, "--agent", "./goat-eval-of-mine")
    assert told.code == 1
    state, words, mend = told.findings["agent"]
    assert state == "missing"
    assert "goat-eval-of-mine" in words
    assert "bash infra/build_eval.sh" in mend


def test_isolation_that_cannot_be_had(tmp_path: Path) -> None:
    refusing = (
        "from pytest_goat.errors import Cause, SandboxError\n"
        "from pytest_goat.sandbox.local.backend import LocalBackend\n"
        "async def refuse(self, engine, shown):\n"
        "    raise SandboxError(Cause.SANDBOX_LOST, 'refused here')\n"
        "LocalBackend._start_engine = refuse"
    )
    told = doctor(tmp_path, before=refusing)
    assert told.code == 1
    assert told.states["sandbox"] == "missing"
    assert "refused here" in "".join(told.findings["sandbox"])
    assert doctor(tmp_path, "--backend", "modal", before=refusing).states["sandbox"] == "skipped"


def test_a_model_that_answers_and_one_that_does_not(tmp_path: Path) -> None:
    with ModelServer([Answer("OK")]) as server:
        well = doctor(tmp_path, "--model", "mine", "--api-url", server.url)
    assert well.code == 0
    assert well.findings["model"][:2] == ("ok", "mine: answers, and takes tools")

    with ModelServer([Status(401)]) as server:
        ill = doctor(tmp_path, "--model", "mine", "--api-url", server.url)
    assert ill.code == 1
    assert ill.findings["model"][0] == "missing"
    assert "set OPENAI_API_KEY" in ill.findings["model"][1]
    assert ill.states["agent"] == "ok"


def test_the_table_says_what_can_be_called_and_what_retires(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(RETIRING)
    (tmp_path / ".env").write_text("MINE_API_KEY=sk-canary-of-mine\n")
    told = doctor(tmp_path, "--models", "mine.yaml")
    assert "1 of the table's" in told.findings["models"][1]
    assert "(by MINE_API_KEY)" in told.findings["models"][1]
    retired = doctor(tmp_path, "--models", "mine.yaml", "--model", "mine")
    assert retired.code == 1
    assert "retired 2020-01-01: use yours" in retired.findings["model"][1]
    assert "sk-canary" not in told.output + retired.output

    (tmp_path / "mine.yaml").write_text("mine: {provider: openai}")
    assert doctor(tmp_path, "--models", "mine.yaml").states["models"] == "missing"


def test_without_litellm_local_runs_of_replay_still_work(tmp_path: Path) -> None:
    absent = (
        "import importlib.metadata as metadata\n"
        "real = metadata.version\n"
        "def version(name):\n"
        "    if name == 'litellm': raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "metadata.version = version"
    )
    told = doctor(tmp_path, before=absent)
    assert told.code == 0
    assert told.findings["litellm"][0] == "skipped"
    assert told.findings["litellm"][2] == "pip install 'pytest-goat[gateway]'"
