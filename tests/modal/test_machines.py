"""Tasks that name their machine: what Modal is asked for, and that this machine refuses them."""

from __future__ import annotations

from typing import Any

from tests.sandbox.modal_bench import needs_root
from tests.support.modal_runs import Cloud, Project
from tests.support.suites import WRITE_HELLO, hello_task, write_suite

pytestmark = needs_root

TASKS = [
    hello_task("plain"),
    hello_task("registry", image="python:3.12-slim", cpu=4, setup="echo one\necho two"),
    hello_task("dockerfile", image="./Dockerfile", gpu="A10G", memory_mb=1024),
]
DOCKERFILE = "FROM debian:12\nRUN apt-get update && apt-get install -y python3\n"


def write_tasks(project: Project) -> None:
    suite = write_suite(project.folder / "suite", TASKS, {str(task["id"]): WRITE_HELLO for task in TASKS})
    (suite / "Dockerfile").write_text(DOCKERFILE)


def layers(cloud: Cloud, image: str) -> list[str]:
    """The commands of an image and of all that it stands on, from its base on."""
    by_id = {layer["id"]: layer for layer in cloud.server.ask("images")}
    commands: list[str] = []
    while image:
        layer = by_id[image]
        commands = [*layer["commands"], *commands]
        image = layer["base"][0] if layer["base"] else ""
    return commands


def test_a_task_gets_the_machine_that_it_names(cloud: Cloud, project: Project) -> None:
    write_tasks(project)
    done = project.pytest("suite")
    assert done.code == 0, done.said
    run_id = project.run_id
    boxes: dict[str, dict[str, Any]] = {
        box["tags"]["goat-trial"].partition("-")[0]: box
        for box in cloud.server.ask("sandboxes")
        if box["tags"]["goat-run"] == run_id
    }
    assert boxes["plain"]["cpu"] == [0.25, 2.0]
    assert boxes["plain"]["gpu"] == ""
    assert boxes["registry"]["cpu"] == [4.0, 4.0]
    assert (boxes["dockerfile"]["gpu"], boxes["dockerfile"]["gpu_count"]) == ("A10G", 1)
    assert boxes["dockerfile"]["memory"] == [256, 1024 + 256]

    commands = {name: "\n".join(layers(cloud, box["image"])) for name, box in boxes.items()}
    assert "apt-get install -y curl git" in commands["plain"]
    assert "FROM python:3.12-slim" in commands["registry"]
    assert "one\\necho two" in commands["registry"]
    assert "FROM debian:12" in commands["dockerfile"]
    files = {layer["id"]: layer["files"] for layer in cloud.server.ask("images")}
    assert all("/opt/goat/bin/goat-eval" in files[box["image"]] for box in boxes.values())


def test_this_machine_refuses_them_before_any_trial(project: Project) -> None:
    write_tasks(project)
    done = project.pytest("suite", GOAT_BACKEND="local")
    assert done.code == 4, done.said
    assert "names an image, a setup, a GPU or cores, which only Modal can give" in done.said
    assert "--goat-backend modal" in done.said
    assert "Traceback" not in done.said


def test_an_image_that_cannot_be_built_is_an_error_with_its_words(cloud: Cloud, project: Project) -> None:
    task = hello_task("broken", setup="apt-get install -y nonsense")
    write_suite(
        project.folder / "suite", [task, hello_task("fine")], {"broken": WRITE_HELLO, "fine": WRITE_HELLO}
    )
    cloud.server.ask("fail_build", containing="nonsense", message="E: Unable to locate package nonsense")
    done = project.pytest("suite")
    assert done.code == 1, done.said
    found = {name: (trial["status"], trial["cause"]) for name, trial in project.trials().items()}
    assert found == {"broken": ("error", "setup"), "fine": ("passed", None)}
    assert "Unable to locate package nonsense" in done.said
