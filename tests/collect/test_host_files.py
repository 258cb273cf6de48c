"""Files and folders of the host that tasks name: beside the prompt file, and never outside the suite."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_goat.collect import Suites
from pytest_goat.task import RunCheck
from tests.support.prompts import Prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    """A suite in `bench/suite`, with files in and beside it."""
    outside = Prompts(tmp_path)
    outside.write("secret.txt", "secret")
    suite = outside.write("bench/suite/goat.yaml", "")
    inside = Prompts(suite.parent, Suites(tmp_path).of(suite))
    inside.write("shared/lib.py", "lib")
    inside.write("work/a.txt", "a")
    return inside


def test_from_is_relative_to_the_prompt_file(prompts: Prompts) -> None:
    text = """{"prompt": "x", "files": {"lib.py": {"from": "../shared/lib.py"}},
               "checks": [{"run": "true", "files": {"t": {"from": "../shared/lib.py"}}}]}"""
    (task,) = prompts.read("deep/task.json", text)
    path = prompts.folder / "shared/lib.py"
    assert task.files == {"lib.py": path}
    assert isinstance(task.checks[0], RunCheck)
    assert task.checks[0].files == {"t": path}


def test_a_workspace_is_a_folder(prompts: Prompts) -> None:
    assert prompts.task(workspace="work").workspace == prompts.folder / "work"
    assert "there is no folder" in prompts.problem(workspace="work/a.txt")
    assert "there is no file" in prompts.problem(files={"a": {"from": "work"}})
    assert "there is no file" in prompts.problem(files={"a": {"from": "x" * 5000}})


@pytest.mark.parametrize("folder", [".", "work/.."])
def test_a_workspace_does_not_hold_its_own_task(prompts: Prompts, folder: str) -> None:
    assert "holds the prompt file, checks and all" in prompts.problem(workspace=folder)


@pytest.mark.parametrize(
    "path", ["../../secret.txt", "work/../../../secret.txt", "link", "folder/secret.txt"]
)
def test_no_way_leads_out_of_the_suite(prompts: Prompts, path: str) -> None:
    (prompts.folder / "link").symlink_to("../../secret.txt")
    (prompts.folder / "folder").symlink_to("../..")
    assert "leads out of" in prompts.problem(files={"a": {"from": path}})
    assert "leads out of" in prompts.problem(workspace="folder")


def test_an_absolute_path_is_refused(prompts: Prompts) -> None:
    secret = str(prompts.folder.parent.parent / "secret.txt")
    assert "is absolute" in prompts.problem(files={"a": {"from": secret}})


def test_without_a_suite_the_folder_of_the_file_is_the_border(prompts: Prompts) -> None:
    alone = Prompts(prompts.folder / "deep")
    assert "leads out of" in alone.problem(files={"a": {"from": "../shared/lib.py"}})


def test_a_link_within_the_suite_is_followed(prompts: Prompts) -> None:
    (prompts.folder / "link").symlink_to("work")
    assert prompts.task(workspace="link").workspace == prompts.folder / "work"


def test_a_suite_reached_through_a_link_is_whole(prompts: Prompts) -> None:
    link = prompts.folder.parent / "alias"
    link.symlink_to("suite")
    through = Prompts(link, Suites(link.parent).of(link / "goat.yaml"))
    assert through.task(workspace="work").workspace == Path(os.path.realpath(link)) / "work"


@pytest.mark.parametrize("name", ["Dockerfile", "./Dockerfile.slow", "./machine"])
def test_an_image_may_be_a_dockerfile_beside_the_prompt_file(prompts: Prompts, name: str) -> None:
    path = prompts.write(name, "FROM python:3.12-slim\n")
    assert prompts.task(image=name).machine.image == path
    path.unlink()
    assert "there is no file" in prompts.problem(image=name)


@pytest.mark.parametrize("name", ["python", "ghcr.io/some/image:1.2_x", "host:5000/a/b@sha256:" + "0f" * 32])
def test_an_image_may_be_a_registrys(prompts: Prompts, name: str) -> None:
    assert prompts.task(image=name).machine.image == name
