from __future__ import annotations

import json
import os
import site
import sys
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import SECRETS
from tests.support.deploys import Outcome, Place, call, make_environment, modal_cli, run_python
from tests.support.modal import ROOT, modal_server

MODEL = "llama-3.1-8b-local"
APP = f"goat-vllm-{MODEL}"
STARTUP = 80.0
"""Seconds: less than a call may take here, so that what is wrong is said."""
KEY = SECRETS["goat-litellm"]["VLLM_API_KEY"]

OPEN_SANDBOX = """
import sys, modal
app = modal.App.lookup("goat-sandbox", environment_name=sys.argv[1], create_if_missing=True)
modal.Sandbox.create(app=app, image=modal.Image.debian_slim(), timeout=60)
"""


@pytest.fixture(scope="module")
def place_with_vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A Modal server in whose containers there is a program `vllm`: beside the interpreter, first in PATH."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
    (packages / "all.pth").write_text("\n".join([*lines, str(ROOT)]))
    python, program = folder / "bin" / "python", folder / "bin" / "vllm"
    program.write_text(
        f"#!{python}\nimport sys\nfrom tests.support.stand_in_vllm import main\nmain(sys.argv[1:])\n"
    )
    program.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(python))
        with modal_server() as server:
            patch.undo()
            yield Place(server, f"goat-{os.getpid()}")


@pytest.fixture
def place(place_with_vllm: Place) -> Iterator[Place]:
    make_environment(place_with_vllm, SECRETS)
    place_with_vllm.server.reset_calls()
    yield place_with_vllm
    call(place_with_vllm, "teardown.teardown")


def ensure(place: Place, folder: Path, mode: str = "auto", **arguments: Any) -> Outcome:
    given = {"model": MODEL, "startup": STARTUP, **arguments}
    return call(place, "vllm.ensure_vllm", mode=mode, log=folder / "deploy.log", **given)


def ask(url: str, path: str, key: str) -> tuple[int, Any]:
    request = urllib.request.Request(f"{url}{path}", b"{}", {"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


def test_a_model_is_deployed_and_warmed_once(place: Place, tmp_path: Path) -> None:
    first = ensure(place, tmp_path)
    assert f"{APP} is not deployed: deploying it with `GOAT_VLLM_MODEL={MODEL} modal deploy" in first.said[0]
    status, told = ask(first.url(), "/v1/chat/completions", KEY)
    assert status == 200
    assert told["arguments"][:2] == ["serve", "meta-llama/Llama-3.1-8B-Instruct"]
    assert "--enable-auto-tool-choice" in told["arguments"]
    assert KEY not in told["arguments"]
    assert "HF_TOKEN" in told["environ"]
    assert "EXAMPLE_API_KEY" not in told["environ"]

    again = ensure(place, tmp_path)
    assert again.url() == first.url()
    assert place.deploys() == 1


def test_the_endpoint_is_not_open_to_the_world(place: Place, tmp_path: Path) -> None:
    url = ensure(place, tmp_path).url()
    assert ask(url, "/v1/chat/completions", "wrong")[0] == 401
    assert ask(url, "/invocations", KEY)[0] == 404


def test_a_plan_that_changed_is_deployed(place: Place, tmp_path: Path) -> None:
    ensure(place, tmp_path).url()
    log = tmp_path / "deploy.log"
    fast = {"GOAT_VLLM_FAST_BOOT": "1"}
    changed = call(place, "vllm.ensure_vllm", fast, model=MODEL, mode="auto", log=log)
    assert "deployed with another configuration" in changed.said[0]
    assert "--enforce-eager" in ask(changed.url(), "/v1/chat/completions", KEY)[1]["arguments"]


def test_a_gateway_learns_of_a_new_model(place: Place, tmp_path: Path) -> None:
    log, environ = tmp_path / "deploy.log", {"LANGFUSE_HOST": "https://langfuse.example"}
    gateway = call(place, "services.ensure_services", environ, mode="auto", log=log).url()
    assert _health(gateway)["litellm"] is False
    ensure(place, tmp_path).url()
    call(place, "services.ensure_services", environ, mode="auto", log=log).url()
    assert _health(gateway)["litellm"] is True


def _health(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        return json.load(answer)


def test_a_model_that_does_not_wake_up_says_where_its_log_is(place: Place, tmp_path: Path) -> None:
    ensure(place, tmp_path).url()
    place.end_containers()
    problem = ensure(place, tmp_path, startup=0.1).problem()
    assert f"{MODEL} is not ready after 0.1 s" in problem
    assert f"modal app logs {APP} --env {place.environment}" in problem


def test_never_says_what_to_type(place: Place, tmp_path: Path) -> None:
    problem = ensure(place, tmp_path, "never").problem()
    assert f"GOAT_VLLM_MODEL={MODEL} modal deploy {ROOT}/infra/vllm.py --env {place.environment}" in problem
    assert place.deploys() == 0


def test_a_secret_without_the_key_is_refused(place: Place, tmp_path: Path) -> None:
    code, said = modal_cli(place, "secret", "delete", "goat-huggingface", "--env", place.environment, "--yes")
    assert code == 0, said
    problem = ensure(place, tmp_path).problem()
    assert "goat-huggingface" in problem
    assert f"python infra/setup.py --env {place.environment}" in problem


def test_a_row_that_vllm_does_not_serve_is_refused_at_deploy(place: Place) -> None:
    code, said = modal_cli(
        place, "deploy", "infra/vllm.py", "--env", place.environment, GOAT_VLLM_MODEL="gpt-5-mini"
    )
    assert code == 1
    assert said.splitlines()[-1].startswith("error: gpt-5-mini is served by azure, not by vLLM")
    assert place.deploys() == 0


def test_teardown_stops_all_and_may_be_run_again(place: Place, tmp_path: Path) -> None:
    ensure(place, tmp_path).url()
    run_python(place, OPEN_SANDBOX, place.environment)
    assert len(place.server.live()) == 1
    first = call(place, "teardown.teardown").said
    assert f"stopped {APP}, with all its containers and sandboxes" in first
    assert "stopped goat-sandbox, with all its containers and sandboxes" in first
    assert f"  modal secret delete goat-litellm --env {place.environment}" in first
    assert f"  modal volume delete goat-model-cache --env {place.environment}" in first
    assert place.server.ask("containers") == []
    assert place.server.live() == []
    again = call(place, "teardown.teardown").said
    assert again[0] == f"nothing of pytest-goat runs in the Modal environment {place.environment}"
    assert again[1:] == first[-len(again) + 1 :]
