"""`goat doctor` on Modal: against the Modal server of the tests, with services that are really deployed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.asking import Report, doctor
from tests.support.deploys import Place, make_environment, modal_cli, run_python
from tests.support.modal import RunningServer, modal_server
from tests.support.model_server import Answer
from tests.support.providers import Providers

KEYED, KEYLESS = "gpt-oss-120b", "claude-haiku-4-5"
"""Models of the table that retire on no known day: with a key in the gateway's secret, and without."""
ELSEWHERE = {"LANGFUSE_HOST": "https://langfuse.example"}
"""So that the gateway alone is deployed, and two secrets are enough."""

GATEWAY_SECRETS = {
    "goat-llm-providers": {"EXAMPLE_API_KEY": "sk-canary-of-nobody"},
    "goat-litellm": {"LITELLM_MASTER_KEY": "sk-master-0123456789", "VLLM_API_KEY": "sk-vllm-0123456789"},
}
VOLUME = """
import sys, modal
(environment,) = sys.argv[1:]
modal.Volume.objects.create("goat-results", environment_name=environment, version=2)
"""
NO_GATEWAY = """
import os, subprocess, sys, modal
app = modal.App("goat-services")
@app.function(name="gateway")
@modal.web_server(4000)
def gateway():
    subprocess.Popen([sys.executable, "-m", "http.server", os.environ["GOAT_GATEWAY_PORT"]])
"""
SANDBOXES = """
import sys, modal
environment, *runs = sys.argv[1:]
app = modal.App.lookup("goat-sandbox", environment_name=environment, create_if_missing=True)
for run in runs:
    modal.Sandbox.create(app=app, timeout=60, tags={"goat-run": run, "goat-trial": "t"})
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    answer = tmp_path_factory.mktemp("simulated") / "answer"
    answer.write_bytes(b"")
    with modal_server(simulate=f"0:{answer}") as running:
        yield running


@pytest.fixture(scope="module")
def well(server: RunningServer) -> Iterator[Place]:
    """A Modal environment where all is there, and where `KEYED` answers."""
    place = Place(server, "well")
    with Providers(lambda asked: Answer("OK")) as providers:
        groq = {name: value for name, value in providers.environ.items() if name.startswith("GROQ")}
        make_environment(place, {**GATEWAY_SECRETS, "goat-llm-providers": groq})
        code, said = modal_cli(place, "deploy", "infra/services.py", "--env", place.environment, **ELSEWHERE)
        assert code == 0, said
        run_python(place, VOLUME, place.environment)
        yield place
        place.end_containers()


@pytest.fixture
def empty(server: RunningServer, request: pytest.FixtureRequest) -> Iterator[Place]:
    """A Modal environment of this test alone, in which there is nothing."""
    place = Place(server, re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:60].strip("-"))
    make_environment(place, {})
    yield place
    server.clear_faults()
    place.end_containers()


def ask(place: Place, folder: Path, *options: str, before: str = "", **environ: str) -> Report:
    given = place.server.env | ELSEWHERE | environ
    return doctor(folder, "--modal-env", place.environment, *options, environ=given, before=before)


def needing(place: Place, folder: Path, *options: str, before: str = "", **environ: str) -> Report:
    return ask(place, folder, "--backend", "modal", *options, before=before, **environ)


def test_all_is_there_and_the_model_answers(well: Place, tmp_path: Path) -> None:
    told = needing(well, tmp_path, "--model", KEYED)
    assert told.code == 0, told.output
    assert told.findings["token"][:2] == ("ok", "Modal takes it")
    assert told.findings["environment"][:2] == ("ok", "well")
    assert told.findings["secrets"][:2] == ("ok", "goat-llm-providers, goat-litellm")
    assert told.findings["services"][:2] == ("ok", "goat-services is deployed, as this machine has it")
    assert told.states["gateway"] == "ok"
    assert told.findings["model"][:2] == ("ok", f"{KEYED}: answers, and takes tools")
    assert told.findings["volume"][:2] == ("ok", "goat-results takes a file and gives it back")
    assert told.findings["leftovers"][:2] == ("ok", "none is left")
    assert well.deploys() == 1
    code, listed = modal_cli(well, "volume", "ls", "goat-results", "--env", "well")
    assert (code, ".doctor" in listed) == (0, False)

    again = needing(well, tmp_path, "--model", "replay")
    assert again.findings["model"][:2] == ("ok", "replay: needs no call")


def test_a_model_whose_key_the_gateway_lacks(well: Place, tmp_path: Path) -> None:
    told = needing(well, tmp_path, "--model", KEYLESS)
    assert told.code == 1
    state, words, mend = told.findings["model"]
    assert state == "missing"
    assert KEYLESS in words
    assert "modal app logs goat-services --env well" in mend
    assert told.states["volume"] == told.states["agent"] == "ok"


def test_services_of_another_configuration_are_told_and_never_deployed(well: Place, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text(f"{KEYED}: {{max_output: 1000}}\n")
    before = well.deploys()
    told = needing(well, tmp_path, "--models", str(own))
    assert told.findings["services"][0] == "ok"
    assert "not as this machine has it" in told.findings["services"][1]
    assert told.findings["services"][2] == f"GOAT_MODELS={own} " + deploy_command("well")
    assert told.states["gateway"] == "ok"
    assert well.deploys() == before


def deploy_command(environment: str) -> str:
    from pytest_goat.models import infra_folder

    return f"modal deploy {infra_folder()}/services.py --env {environment}"


def test_an_empty_environment(empty: Place, tmp_path: Path) -> None:
    told = needing(empty, tmp_path, "--model", "replay", LANGFUSE_HOST="")
    setup = f"python infra/setup.py --env {empty.environment}"
    assert told.code == 1
    lacking = "there is no goat-llm-providers, no goat-litellm, no goat-langfuse, no goat-postgres"
    assert told.findings["secrets"] == ("missing", lacking, setup)
    assert told.findings["services"] == (
        "missing", "goat-services is not deployed", deploy_command(empty.environment)
    )  # fmt: skip
    assert told.skipped_for("services comes first") == {"gateway", "model"}
    assert told.findings["volume"] == (
        "missing",
        "there is no goat-results yet",
        f"modal volume create goat-results --version 2 --env {empty.environment}",
    )
    run_python(empty, VOLUME, empty.environment)
    make_environment(empty, GATEWAY_SECRETS)
    unneeded = ask(empty, tmp_path)
    assert unneeded.code == 0
    assert unneeded.states["services"] == "skipped"
    assert unneeded.states["volume"] == "ok"


def test_the_command_that_mends_a_missing_volume_mends_it(empty: Place, tmp_path: Path) -> None:
    _, _, mend = needing(empty, tmp_path).findings["volume"]
    modal, *arguments = mend.split()
    assert modal == "modal"
    code, said = modal_cli(empty, *arguments)
    assert code == 0, said
    assert needing(empty, tmp_path).states["volume"] == "ok"


def test_a_missing_environment(server: RunningServer, tmp_path: Path) -> None:
    nowhere = Place(server, "nowhere")
    told = needing(nowhere, tmp_path)
    assert told.code == 1
    assert told.states["token"] == "ok"
    assert told.findings["environment"] == (
        "missing", "there is no environment nowhere", "python infra/setup.py --env nowhere"
    )  # fmt: skip
    assert told.skipped_for("environment comes first") == {
        "secrets", "services", "gateway", "volume", "leftovers"
    }  # fmt: skip
    unneeded = ask(nowhere, tmp_path)
    assert (unneeded.code, unneeded.states["environment"]) == (0, "skipped")


def test_a_token_that_is_refused(empty: Place, tmp_path: Path) -> None:
    told = ask(empty, tmp_path, MODAL_TOKEN_SECRET="as-canary-of-another")
    assert told.code == 1
    state, _, mend = told.findings["token"]
    assert state == "missing"
    assert "modal token new" in mend
    assert told.states["agent"] == "ok"
    assert "as-canary" not in told.output + told.errors


def test_a_modal_that_does_not_answer(empty: Place, tmp_path: Path) -> None:
    began = time.monotonic()
    told = ask(empty, tmp_path, MODAL_SERVER_URL="http://127.0.0.1:9")
    assert time.monotonic() - began < 30  # 11 on an idle machine; the SDK alone takes 56
    assert told.code == 1
    assert told.findings["token"][0] == "missing"
    assert "http://127.0.0.1:9 does not answer" in told.findings["token"][1]
    assert told.states["agent"] == told.states["sandbox"] == "ok"


def test_an_app_that_is_no_gateway(empty: Place, tmp_path: Path) -> None:
    (file := tmp_path / "other.py").write_text(NO_GATEWAY)
    code, said = modal_cli(empty, "deploy", str(file), "--env", empty.environment)
    assert code == 0, said
    told = needing(empty, tmp_path, "--model", "replay")
    state, words, mend = told.findings["gateway"]
    assert (told.code, state) == (1, "missing")
    assert words.startswith("There is no gateway at http://127.0.0.1:")
    assert f"modal deploy infra/services.py --env {empty.environment}" in mend
    assert told.skipped_for("gateway comes first") == {"model"}


def test_a_gateway_that_does_not_become_healthy(well: Place, tmp_path: Path) -> None:
    silent = (
        "from pytest_goat.doctor import cloud\n"
        "from pytest_goat.gateway.client import GatewayClient\n"
        "cloud.COLD_START = 1\n"
        "async def starts(self, within): return 'LiteLLM starts'\n"
        "GatewayClient._ill_health = starts"
    )
    told = needing(well, tmp_path, before=silent)
    state, words, mend = told.findings["gateway"]
    assert (told.code, state) == (1, "missing")
    assert words.endswith("is not ready after 1 s: LiteLLM starts.")
    assert "modal app logs goat-services --env well" in mend
    assert "waiting for the gateway" in told.errors


@pytest.mark.parametrize(
    ("rpc", "kind"), [("VolumePutFiles2", "permission_denied"), ("VolumeGetFile2", "unavailable")]
)
def test_a_volume_that_fails(empty: Place, tmp_path: Path, rpc: str, kind: str) -> None:
    run_python(empty, VOLUME, empty.environment)
    make_environment(empty, GATEWAY_SECRETS)
    empty.server.fault(rpc, kind, times=-1)
    told = ask(empty, tmp_path)
    assert told.code == 1
    assert told.states["volume"] == "missing"
    assert told.findings["volume"][2]
    assert told.states["leftovers"] == "ok"


def test_sandboxes_that_are_left(empty: Place, tmp_path: Path) -> None:
    old, new = "20260101-120000-abcd", "20260102-120000-abcd"
    run_python(empty, SANDBOXES, empty.environment, old, old, new)
    state, words, mend = ask(empty, tmp_path).findings["leftovers"]
    assert state == "ok"
    assert words.startswith(f"alive: 2 of run {old}, 1 of run {new};")
    assert mend.splitlines() == [
        f"goat cleanup --run {run} --modal-env {empty.environment}" for run in (old, new)
    ]
