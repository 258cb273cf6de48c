"""The services in whole runs: deployed when they may be, once; what is missing is told with its mend."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.sandbox.modal_bench import needs_root
from tests.support.deploys import Place, make_environment
from tests.support.modal_runs import Cloud, Done, Project
from tests.support.suites import WRITE_HELLO, hello_task, write_suite

pytestmark = needs_root

NUMBERS = itertools.count()
SECRETS = {"goat-llm-providers": {"EXAMPLE": "-"}, "goat-litellm": {"LITELLM_MASTER_KEY": "sk-0123456789"}}
ELSEWHERE = {"LANGFUSE_HOST": "https://langfuse.example"}
SOON = 45.0
"""Seconds until it is told that Modal cannot be reached: 12 on a quiet machine; the SDK alone takes 56."""

USER_TESTS = """
import json, urllib.request

def health(url):
    with urllib.request.urlopen(url + "/health", timeout=10) as answer:
        return json.load(answer)

def test_one(goat_services):
    assert health(goat_services)["status"] == "ok"

def test_two(goat_services):
    assert health(goat_services)["status"] == "ok"
"""


def containers(place: Place) -> set[str]:
    """The ids of those that live, in every environment."""
    return {container["id"] for container in place.server.ask("containers")}


@pytest.fixture
def empty_place(cloud: Cloud) -> Iterator[Place]:
    """An environment of this test alone, in which there is nothing."""
    place = Place(cloud.server, f"goat-{next(NUMBERS)}")
    make_environment(place, {})
    others = containers(place)
    cloud.server.reset_calls()
    yield place
    for container in containers(place) - others:
        cloud.server.ask("end_container", id=container, kill=True)


@pytest.fixture
def place(empty_place: Place) -> Place:
    """One with secrets, but without services."""
    make_environment(empty_place, SECRETS)
    return empty_place


def run(project: Project, place: Place, deploy: str, *options: str, **environ: str) -> Done:
    """A run of one task in the environment."""
    write_suite(project.folder / "suite", [hello_task("task")], {"task": WRITE_HELLO})
    words = ("suite", f"--goat-modal-env={place.environment}", f"--goat-deploy={deploy}", *options)
    return project.pytest(*words, **ELSEWHERE, **environ)


def test_a_run_deploys_what_is_missing_once(project: Project, place: Place) -> None:
    others = containers(place)
    refused = run(project, place, "never")
    assert refused.code == 4, refused.said
    assert f"goat-services is not deployed in the Modal environment {place.environment}" in refused.said
    assert f"infra/services.py --env {place.environment}" in refused.said
    assert place.deploys() == 0

    first = run(project, place, "auto")
    assert first.code == 0, first.said
    assert first.said.count("goat-services is not deployed: deploying it") == 1
    again = run(project, place, "auto", "-n", "2")
    assert again.code == 0, again.said
    assert "deploying" not in again.said
    assert place.deploys() == 1

    # All that was started is stopped by one command, and may be so twice.
    assert len(containers(place) - others) == 1
    gone = project.goat("teardown", "--modal-env", place.environment)
    assert gone.code == 0, gone.said
    assert "stopped goat-services" in gone.said
    assert f"modal volume delete goat-results --env {place.environment}" in gone.said
    assert containers(place) <= others
    assert "nothing of pytest-goat runs" in project.goat("teardown", "--modal-env", place.environment).said
    assert run(project, place, "never").code == 4


def test_tests_of_users_share_what_is_deployed(project: Project, place: Place) -> None:
    (project.folder / "test_mine.py").write_text(USER_TESTS)
    words = ("test_mine.py", "-n", "2", f"--goat-modal-env={place.environment}", "--goat-deploy=auto")
    done = project.pytest(*words, **ELSEWHERE)
    assert done.code == 0, done.said
    assert "2 passed" in done.said
    assert place.deploys() == 1


def test_a_modal_that_cannot_be_reached_is_told_soon(project: Project, place: Place) -> None:
    (project.folder / "test_mine.py").write_text(USER_TESTS)
    nowhere = {"MODAL_SERVER_URL": "http://127.0.0.1:9"}
    started = time.monotonic()
    with ThreadPoolExecutor() as at_once:
        fixture = at_once.submit(project.pytest, "test_mine.py", "-k", "one", **nowhere)
        trials = at_once.submit(run, project, place, "auto", **nowhere)
        results = at_once.submit(project.goat, "results", "--modal", **nowhere)
    elapsed = time.monotonic() - started
    for asked, code in ((fixture, 1), (trials, 4), (results, 4)):
        done = asked.result()
        assert done.code == code, done.said
        assert "10 s" in done.said
        assert "Traceback" not in done.said
    assert "http://127.0.0.1:9 does not answer within 10 s" in trials.result().said
    assert elapsed < SOON


def test_what_is_wrong_with_the_account_is_told_with_its_mend(project: Project, empty_place: Place) -> None:
    """Each before any sandbox is made."""
    wrong_token = run(project, empty_place, "never", MODAL_TOKEN_SECRET="as-of-nobody")
    nowhere = Place(empty_place.server, "nowhere")
    no_environment = run(project, nowhere, "auto", "-n", "2")
    no_secret = run(project, empty_place, "auto")
    for done, mend in (
        (wrong_token, "modal token new"),
        (no_environment, "python infra/setup.py --env nowhere"),
        (no_secret, f"python infra/setup.py --env {empty_place.environment}"),
    ):
        assert done.code == 4, done.said
        assert mend in done.said
        assert "Traceback" not in done.said
        assert "as-of-nobody" not in done.said
    assert empty_place.deploys() == 0
    assert "SandboxCreateV2" not in empty_place.server.calls()


def test_our_own_langfuse_stays_deployed_when_traces_go_there(project: Project, place: Place) -> None:
    """`.env` names its address from the second deploy on."""
    host = f"https://someone-{place.environment}--goat-services-langfuse.modal.run"
    infra = Path(__file__).parents[2] / "infra"
    make_environment(place, {"goat-langfuse": {"SALT": "-"}, "goat-postgres": {"POSTGRES_PASSWORD": "-"}})
    words = ("-m", "modal", "deploy", str(infra / "services.py"), "--env", place.environment)
    done = project.python(*words, LANGFUSE_HOST=host)
    assert done.code == 0, done.said
    (app,) = (app for app in place.server.ask("apps") if app["environment"] == place.environment)
    assert set(app["functions"]) == {"gateway", "langfuse"}
