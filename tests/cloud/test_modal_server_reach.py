"""What a sandbox of the Modal test server reaches beyond itself: web functions that it may, and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.modal_server.box_host import obstacle
from tests.support.modal import RunningServer, modal_server, run_cli, run_sdk

pytestmark = pytest.mark.skipif(bool(obstacle()), reason=obstacle())

APP = """
import os, subprocess, sys
import modal

app = modal.App("reached", image=modal.Image.debian_slim())

@app.function()
@modal.web_server(4000, startup_timeout=20)
def site():
    port = os.environ["GOAT_SITE_PORT"]
    subprocess.Popen([sys.executable, "-m", "http.server", "-b", "127.0.0.1", port])
"""

FETCH = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=20).status)
except OSError as error:
    print(getattr(error, "reason", error).__class__.__name__)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    source = tmp_path_factory.mktemp("deployed") / "reached_app.py"
    source.write_text(APP)
    with modal_server() as running:
        run_cli(running, "deploy", str(source))
        yield running


def test_web_functions_are_reached_by_those_that_may(server: RunningServer) -> None:
    code = f"""
        app = modal.App.lookup("sandboxes", create_if_missing=True)
        image = modal.Image.debian_slim().build(app)
        url = modal.Function.from_name("reached", "site").get_web_url()

        def status(address, **access):
            sandbox = modal.Sandbox.create(app=app, image=image, timeout=60, **access)
            process = sandbox.exec("python3", "-c", {FETCH!r}, address)
            try:
                return process.stdout.read().strip()
            finally:
                sandbox.terminate()

        answer = {{
            "all": status(url),
            "this": status(url, outbound_domain_allowlist=["127.0.0.1"]),
            "by name": status(url.replace("127.0.0.1", "localhost"), outbound_domain_allowlist=["localhost"]),
            "other": status(url, outbound_domain_allowlist=["example.com"]),
            "none": status(url, block_network=True),
            "control plane": status({server.url!r}),
        }}
    """
    refused = "ConnectionRefusedError"
    assert run_sdk(server, code) == {
        "all": "200",
        "this": "200",
        "by name": "200",
        "other": refused,
        "none": refused,
        "control plane": refused,
    }


@pytest.mark.parametrize("version", [1, 2])
def test_what_a_sandbox_writes_is_in_the_volume(server: RunningServer, version: int) -> None:
    code = f"""
        import io
        app = modal.App.lookup("sandboxes", create_if_missing=True)
        image = modal.Image.debian_slim().build(app)
        volume = modal.Volume.from_name("data-{version}", create_if_missing=True, version={version})
        with volume.batch_upload() as batch:
            batch.put_file(io.BytesIO(b"from outside"), "runs/1/in")
        part = volume.with_mount_options(sub_path="runs/1")
        sandbox = modal.Sandbox.create(app=app, image=image, timeout=60, volumes={{"/data": part}})
        process = sandbox.exec("sh", "-c", "cat /data/in; echo from inside > /data/out; sync /data")
        seen, code = process.stdout.read(), process.wait()
        sandbox.reload_volumes()
        sandbox.terminate()
        answer = [seen, code, b"".join(volume.read_file("runs/1/out")).decode()]
    """
    assert run_sdk(server, code) == ["from outside", 0, "from inside\n"]


def test_files_that_an_image_adds_are_there(server: RunningServer, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    (tmp_path / "folder/below").mkdir(parents=True)
    (tmp_path / "folder/below/file").write_text("mounted")
    code = f"""
        app = modal.App.lookup("sandboxes", create_if_missing=True)
        image = (
            modal.Image.debian_slim()
            .env({{"OF_IMAGE": "yes"}})
            .workdir("/srv/dir")
            .add_local_file({str(program)!r}, "/usr/local/bin/program", copy=True)
            .add_local_dir({str(tmp_path / "folder")!r}, "/opt/folder")
        ).build(app)
        sandbox = modal.Sandbox.create(app=app, image=image, timeout=60)
        process = sandbox.exec("sh", "-c", "program; cat /opt/folder/below/file; echo $OF_IMAGE; pwd")
        answer = process.stdout.read()
        sandbox.terminate()
    """
    assert run_sdk(server, code) == "ran\nmountedyes\n/srv/dir\n"
