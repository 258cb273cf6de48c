"""The Modal test server with simulated commands, which is for load."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.modal_server.simulate import Simulation
from tests.support.modal import modal_server, run_sdk

MANY = """
    import asyncio

    async def one(app, image):
        sandbox = await modal.Sandbox.create.aio(app=app, image=image, timeout=60)
        process = await sandbox.exec.aio("agent", text=False)
        process.stdin.write(b"dropped")
        process.stdin.write_eof()
        await process.stdin.drain.aio()
        return (await process.stdout.read.aio()).decode(), await process.wait.aio()

    async def many():
        app = await modal.App.lookup.aio("sandboxes", create_if_missing=True)
        image = await modal.Image.debian_slim().build.aio(app)
        ended = await asyncio.gather(*(one(app, image) for _ in range(120)))
        listed = [sandbox.object_id async for sandbox in modal.Sandbox.list.aio(app_id=app.app_id)]
        return ended, len(set(listed))

    answer = asyncio.run(many())
"""


def test_commands_are_simulated_and_lists_have_pages(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_bytes(b"\0answer\n")
    with modal_server(simulate=f"0.2:{answer}") as server:
        ended, listed = run_sdk(server, MANY)
        assert ended == [["\0answer\n", 0]] * 120
        assert listed == len(server.live()) == 120


def test_what_is_simulated_is_said_as_seconds_and_file(tmp_path: Path) -> None:
    (tmp_path / "a:b").write_bytes(b"text")
    assert Simulation.parse(f"1.5:{tmp_path}/a:b") == Simulation(1.5, b"text")
    with pytest.raises(ValueError, match="SECONDS:FILE"):
        Simulation.parse("1.5")
