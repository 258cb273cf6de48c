from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

from pytest_goat.deploy.configuration import services_hash
from tests.support.deploys import Call, Outcome, Place, call, make_environment, modal_cli

ELSEWHERE = {"LANGFUSE_HOST": "https://langfuse.example"}
"""So that the gateway alone is deployed."""

ENSURE = "services.ensure_services"
STARTUP = 80.0
"""Seconds: less than a call may take here, so that what is wrong is said."""

OWN_ROW = """
mine:
  provider: openai
  route: openai/mine
  env: {api_key: MINE_API_KEY}
  context: 1000
  max_output: 100
"""


def ensure(place: Place, folder: Path, mode: str = "auto", **arguments: Any) -> Outcome:
    return call(
        place, ENSURE, ELSEWHERE, mode=mode, log=folder / "deploy.log", **{"startup": STARTUP} | arguments
    )


def health(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{url}/health", timeout=10) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def test_what_is_missing_is_deployed_once(place: Place, tmp_path: Path) -> None:
    first = ensure(place, tmp_path)
    assert health(first.url())["config"] == services_hash(None)
    assert "goat-services is not deployed: deploying it with `modal deploy" in first.said[0]
    assert "App deployed" in (tmp_path / "deploy.log").read_text()

    again = ensure(place, tmp_path)
    assert again.url() == first.url()
    assert again.said == []
    assert place.deploys() == 1

    ensure(place, tmp_path, "always").url()
    assert place.deploys() == 2


def test_what_was_deployed_by_hand_is_not_deployed_again(place: Place, tmp_path: Path) -> None:
    command = ("deploy", "infra/services.py", "--env", place.environment)
    code, said = modal_cli(place, *command, **ELSEWHERE)
    assert code == 0, said
    assert "traces go there, and no Langfuse is deployed" in said
    ensure(place, tmp_path).url()
    assert place.deploys() == 1


def test_another_configuration_is_deployed(place: Place, tmp_path: Path) -> None:
    ensure(place, tmp_path).url()
    own = tmp_path / "mine.yaml"
    own.write_text(OWN_ROW)

    kept = ensure(place, tmp_path, "never", own_models=own)
    assert health(kept.url())["config"] == services_hash(None)
    assert "goat-services is deployed with another configuration and used as it is" in kept.said[0]
    assert f"GOAT_MODELS={own} modal deploy" in kept.said[0]

    changed = ensure(place, tmp_path, own_models=own)
    assert health(changed.url())["config"] == services_hash(own)
    assert place.deploys() == 2


def test_litellm_starts_where_a_provider_has_a_key(place: Place, tmp_path: Path) -> None:
    make_environment(place, {"goat-llm-providers": {"MINE_API_KEY": "sk-of-nobody"}})
    own = tmp_path / "mine.yaml"
    own.write_text(OWN_ROW)
    deployed = ensure(place, tmp_path, own_models=own)
    assert health(deployed.url())["litellm"] is True


def test_never_says_what_to_type(place: Place, tmp_path: Path) -> None:
    problem = ensure(place, tmp_path, "never").problem()
    assert f"goat-services is not deployed in the Modal environment {place.environment}" in problem
    assert f"infra/services.py --env {place.environment}" in problem
    assert place.deploys() == 0


def test_processes_that_ensure_at_once_deploy_once(place: Place, tmp_path: Path) -> None:
    logs = [tmp_path / f"deploy-{number}.log" for number in range(2)]
    calls = [Call(place, ENSURE, ELSEWHERE, {"mode": "auto", "log": log}) for log in logs]
    outcomes = [running.outcome() for running in calls]
    assert len({outcome.url() for outcome in outcomes}) == 1
    assert place.deploys() == 1


def test_missing_secrets_are_made_by_setup(empty_place: Place, tmp_path: Path) -> None:
    problem = ensure(empty_place, tmp_path).problem()
    assert "  | " in problem
    assert "'goat-" in problem
    assert f"python infra/setup.py --env {empty_place.environment}" in problem
    assert str(tmp_path / "deploy.log") in problem
    assert empty_place.deploys() == 0


def test_a_missing_environment_is_made_by_setup(place: Place, tmp_path: Path) -> None:
    problem = ensure(Place(place.server, "nowhere"), tmp_path).problem()
    assert "python infra/setup.py --env nowhere" in problem


def test_a_deploy_that_fails_shows_its_words_but_no_secret(place: Place, tmp_path: Path) -> None:
    place.server.fault("AppPublish", "permission_denied", message="sk-planted-0123456789 may not deploy")
    environ = {**ELSEWHERE, "PLANTED_API_KEY": "sk-planted-0123456789"}
    problem = call(place, ENSURE, environ, mode="auto", log=tmp_path / "deploy.log").problem()
    assert "[redacted] may not deploy" in problem


def test_rows_that_are_wrong_are_told_before_anything_is_deployed(place: Place, tmp_path: Path) -> None:
    own = tmp_path / "mine.yaml"
    own.write_text("mine: {provider: openai}\n")
    problem = ensure(place, tmp_path, own_models=own).problem()
    assert "has no route" in problem
    assert "Traceback" not in problem
    assert place.deploys() == 0


def test_a_gateway_that_is_not_healthy_says_where_its_log_is(place: Place, tmp_path: Path) -> None:
    make_environment(place, {"goat-llm-providers": {"GOAT_MODELS": "/no/such/file"}})
    problem = ensure(place, tmp_path, startup=2).problem()
    assert "is not healthy after 2 s: " in problem
    assert f"modal app logs goat-services --env {place.environment}" in problem
    assert "--goat-deploy always" in problem
