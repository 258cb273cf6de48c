"""The Modal server of the tests: what it keeps, seen through the real SDK and the real CLI."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.modal import RunningServer, modal_server, run_cli, run_sdk


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with modal_server() as running:
        yield running


def test_environments(server: RunningServer) -> None:
    run_cli(server, "environment", "create", "by-cli")
    code = """
        modal.Environment.objects.create("by-sdk")
        try:
            modal.Environment.objects.create("by-sdk")
        except modal.exception.AlreadyExistsError:
            modal.Environment.objects.delete("by-sdk")
        modal.Environment.from_name("lazily", create_if_missing=True).hydrate()
        try:
            modal.App.lookup("x", environment_name="by-sdk", create_if_missing=True)
        except modal.exception.NotFoundError as error:
            answer = [str(error), [e.name for e in modal.Environment.objects.list()]]
    """
    error, names = run_sdk(server, code)
    assert "by-sdk" in error
    assert {"main", "by-cli", "lazily"} <= set(names)
    assert "by-sdk" not in names
    listed = json.loads(run_cli(server, "environment", "list", "--json"))
    assert "by-cli" in {row["name"] for row in listed}


def test_secrets_are_kept_and_never_told(server: RunningServer) -> None:
    run_cli(server, "secret", "create", "by-cli", "A=one")
    run_cli(server, "secret", "create", "by-cli", "A=two", "--force")
    code = """
        modal.Secret.objects.create("by-sdk", {"K": "planted-1", "L": "planted-2"})
        modal.Secret.objects.create("by-sdk", {"K": "other"}, allow_existing=True)
        refused = []
        try:
            modal.Secret.objects.create("by-sdk", {"K": "other"})
        except modal.exception.AlreadyExistsError:
            refused.append("create")
        try:
            modal.Secret.from_name("by-sdk", required_keys=["M"]).hydrate()
        except modal.exception.NotFoundError as error:
            refused.append(str(error))
        modal.Secret.from_name("by-sdk").update({"L": "planted-3"})
        modal.Secret.objects.create("gone", {})
        modal.Secret.objects.delete("gone")
        answer = [refused, sorted(s.name for s in modal.Secret.objects.list())]
    """
    refused, names = run_sdk(server, code)
    assert refused == ["create", "Secret 'by-sdk' is missing key(s): M"]
    assert names == ["by-cli", "by-sdk"]
    assert server.ask("secret", name="by-cli", environment="main") == {"A": "two"}
    assert server.ask("secret", name="by-sdk", environment="main") == {"K": "planted-1", "L": "planted-3"}
    assert "planted" not in run_cli(server, "secret", "list", "--json")


def test_dicts(server: RunningServer) -> None:
    code = """
        d = modal.Dict.from_name("shelf", create_if_missing=True)
        first = d.put("claimed", 1, skip_if_exists=True)
        second = d.put("claimed", 2, skip_if_exists=True)
        d.update({"a": b"x", ("b", 1): {"deep": [None]}})
        seen = [d.get("claimed"), d.get("missing", "default"), d.contains("a"), "z" in d, d.len()]
        popped = d.pop("a"), d.pop("a", "nothing")
        keys = sorted(map(str, d.keys()))
        items = {str(k): v for k, v in d.items()}
        d.clear()
        modal.Dict.objects.create("second")
        names = sorted(x.name for x in modal.Dict.objects.list())
        modal.Dict.objects.delete("shelf")
        try:
            modal.Dict.from_name("shelf").len()
        except modal.exception.NotFoundError:
            names.remove("shelf")
        answer = [first, second, seen, popped[0].decode(), popped[1], keys, items, names]
    """
    assert run_sdk(server, code) == [
        True,
        False,
        [1, "default", True, False, 3],
        "x",
        "nothing",
        ["('b', 1)", "claimed"],
        {"claimed": 1, "('b', 1)": {"deep": [None]}},
        ["second"],
    ]


@pytest.mark.parametrize("version", [1, 2])
def test_volumes(server: RunningServer, version: int, tmp_path: Path) -> None:
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/deep.txt").write_text("deep")
    code = f"""
        import io, os
        v = modal.Volume.from_name("vol-{version}", create_if_missing=True, version={version})
        big = os.urandom(9_000_000) + bytes(9_000_000)
        with v.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"small"), "runs/1/small.txt")
            batch.put_file(io.BytesIO(big), "runs/1/big.bin")
            batch.put_file(io.BytesIO(b""), "empty")
            batch.put_directory({str(tmp_path / "tree")!r}, "/tree")
        refused = []
        try:
            with v.batch_upload() as batch:
                batch.put_file(io.BytesIO(b"other"), "runs/1/small.txt")
        except FileExistsError:
            refused.append("overwrite")
        with v.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"smaller"), "runs/1/small.txt")
        same = b"".join(v.read_file("runs/1/big.bin")) == big
        v.copy_files(["runs/1/small.txt"], "copy.txt")
        v.remove_file("runs/1", recursive=True)
        for call in (lambda: list(v.read_file("runs/1/big.bin")), lambda: v.remove_file("nowhere")):
            try:
                call()
            except FileNotFoundError:
                refused.append("missing")
        answer = [
            refused,
            same,
            b"".join(v.read_file("copy.txt")).decode(),
            len(b"".join(v.read_file("empty"))),
            sorted((e.path, e.size) for e in v.listdir("/", recursive=True) if e.type.name == "FILE"),
            sorted(e.path for e in v.listdir("/")),
        ]
    """
    refused, same, copy, empty, files, top = run_sdk(server, code)
    assert refused == ["overwrite", "missing", "missing"]
    assert same
    assert (copy, empty) == ("smaller", 0)
    assert files == [["copy.txt", 7], ["empty", 0], ["tree/below/deep.txt", 4]]
    assert top == ["copy.txt", "empty", "runs", "tree"]


def test_a_volume_through_the_cli(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "up.txt").write_text("there and back")
    run_cli(server, "volume", "create", "cli-volume", "--version", "2")
    run_cli(server, "volume", "put", "cli-volume", str(tmp_path / "up.txt"), "/a/b.txt")
    assert "b.txt" in run_cli(server, "volume", "ls", "cli-volume", "a")
    run_cli(server, "volume", "get", "cli-volume", "a/b.txt", str(tmp_path / "down.txt"))
    assert (tmp_path / "down.txt").read_text() == "there and back"


def test_images_have_what_is_copied_into_them(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "agent").write_bytes(b"#!/bin/sh\n" + bytes(5_000_000))  # as large as goes by a blob
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/one.txt").write_text("1")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY folder /srv\nENV B=2\n")
    code = """
        app = modal.App.lookup("images", create_if_missing=True)
        image = (
            modal.Image.from_registry("python:3.12-slim")
            .apt_install("git")
            .pip_install("pytest==9")
            .env({"A": "one two"})
            .workdir("/work")
            .add_local_file("agent", "/usr/local/bin/goat-eval", copy=True)
            .add_local_dir("folder", "/data", copy=True)
            .run_commands("echo done")
            .build(app)
        )
        again = modal.Image.from_id(image.object_id).build(app)
        docker = modal.Image.from_dockerfile("Dockerfile", context_dir=".").build(app)
        answer = [image.object_id, again.object_id, docker.object_id]
    """
    prelude = f"import os\nos.chdir({str(tmp_path)!r})\n"
    built, again, docker = run_sdk(server, prelude + textwrap.dedent(code))
    images = {image["id"]: image for image in server.ask("images")}
    assert built == again
    assert images[built]["files"] == ["/data/one.txt", "/usr/local/bin/goat-eval"]
    assert images[built]["env"]["A"] == "one two"
    assert "/srv/one.txt" in images[docker]["files"]
    assert any("pytest==9" in command for image in images.values() for command in image["commands"])

    server.reset_calls()
    run_sdk(server, prelude + textwrap.dedent(code))
    assert server.calls().get("ImageJoinStreaming", 0) == 0, "a layer that is built is not built again"


def test_a_build_fails_when_a_test_wants_it_or_a_file_is_missing(server: RunningServer) -> None:
    server.ask("fail_build", containing="make it", message="make: no rule")
    code = """
        app = modal.App.lookup("failing", create_if_missing=True)
        image = modal.Image.debian_slim().run_commands("make it")
        missing = modal.Image.debian_slim().dockerfile_commands("COPY nothing.txt /nothing.txt")
        answer = []
        for broken in (image, missing):
            try:
                broken.build(app)
            except modal.exception.ImageBuildError as error:
                answer.append(str(error))
        image.build(app)
    """
    wished, missing = run_sdk(server, code)
    assert "make: no rule" in wished
    assert "nothing.txt is not in the build context" in missing
