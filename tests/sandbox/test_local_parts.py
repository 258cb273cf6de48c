"""Parts of the local sandbox that have edges of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest

from pytest_goat.errors import UserError
from pytest_goat.sandbox.local import cgroup, host, streams, wire


def test_a_message_of_any_size_travels_with_descriptors() -> None:
    here, there = wire.pair()
    with here, there, socket.socket() as given:
        for size in (10, 1_000_000):
            wire.send(here, {"text": "\u00fc" * size}, [given.fileno()])
            message, fds = wire.receive(there)
            assert message == {"text": "\u00fc" * size}
            assert len(fds) == 1
            os.close(fds[0])
        here.close()
        with pytest.raises(EOFError):
            wire.receive(there)


def test_the_view_holds_every_link_on_the_way(tmp_path: Path) -> None:
    real = tmp_path / "opt" / "python-3.11.7"
    (real / "bin").mkdir(parents=True)
    (real / "bin" / "python3").touch()
    (tmp_path / "opt" / "python").symlink_to("python-3.11.7")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "python").symlink_to(tmp_path / "opt" / "python" / "bin" / "python3")
    shown = host.HostView()
    shown.add(str(tmp_path / "venv" / "python"))
    assert shown.trees == [str(real / "bin" / "python3")]
    assert shown.links == {
        str(tmp_path / "venv" / "python"): str(tmp_path / "opt" / "python" / "bin" / "python3"),
        str(tmp_path / "opt" / "python"): "python-3.11.7",
    }
    shown.add(str(real))
    shown.add(str(tmp_path / "venv"))
    assert shown.trees == [str(real), str(tmp_path / "venv")]
    assert list(shown.links) == [str(tmp_path / "opt" / "python")]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    shown = host.HostView()
    shown.add(str(tmp_path / "a"))
    assert not shown.trees


@pytest.mark.parametrize("prefix", ["/", "home"])
def test_an_environment_that_is_everything_is_refused(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path) if prefix == "home" else prefix)
    with pytest.raises(UserError, match="python -m venv"):
        host.view()


@pytest.mark.parametrize(
    ("interface", "swap", "events"),
    [
        (cgroup._V1, ("memory.memsw.limit_in_bytes", "1000"), "memory.oom_control"),
        (cgroup._V2, ("memory.swap.max", "0"), "memory.events"),
    ],
    ids=["v1", "v2"],
)
def test_both_interfaces_of_control_groups(
    tmp_path: Path, interface: cgroup._Interface, swap: tuple[str, str], events: str
) -> None:
    group = cgroup.MemoryGroup(tmp_path / "group", interface)
    group.limit(1000)
    assert (tmp_path / "group" / interface.limit).read_text() == "1000"
    assert (tmp_path / "group" / swap[0]).read_text() == swap[1]
    for kills, expected in ((0, False), (2, True), (2, False), (3, True)):
        (tmp_path / "group" / events).write_text(f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}\n")
        assert group.killed() is expected


def test_output_beyond_the_bound_is_dropped() -> None:
    async def flood() -> tuple[bytes, bool]:
        output = streams.Output(100)
        os.write(output.writer, b"x" * 60)
        os.write(output.writer, b"y" * 60)
        os.close(output.writer)
        try:
            return await output.all()
        finally:
            output.close()

    assert asyncio.run(flood()) == (b"x" * 60 + b"y" * 40, True)
