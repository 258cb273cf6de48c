"""Sandboxes without processes, for load: every command waits, answers the same bytes and ends well."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from tests.modal_server.box_exec import Command, Exec


@dataclass(frozen=True)
class Simulation:
    """What every command does: nothing for `seconds`, then `answer` on stdout and exit code 0."""

    seconds: float
    answer: bytes

    @classmethod
    def parse(cls, text: str) -> Simulation:
        """Of `SECONDS:FILE`, as on the command line. Raises `ValueError` when it is something else."""
        seconds, colon, path = text.partition(":")
        if not colon:
            raise ValueError(f"--simulate {text}: expected SECONDS:FILE")
        return cls(float(seconds), Path(path).read_bytes())


class SimulatedMachine:
    """Takes any command. What is written to it is dropped."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def start(self, command: Command) -> Exec:
        started = Exec(command)

        def end() -> None:
            if started.running:
                started.stdout.feed(self._simulation.answer)
                started.finish(0)

        timer = asyncio.get_running_loop().call_later(self._simulation.seconds, end)

        def kill() -> None:
            timer.cancel()
            started.finish(-9)

        started.kill = kill
        return started

    async def kill(self) -> None:
        """Its commands are lost with the sandbox; their timers find them ended."""
