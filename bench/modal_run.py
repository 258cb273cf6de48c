"""Whole pytest runs on the Modal test server, watched from inside (`load_probe`) and outside."""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from bench.base import ROOT
from bench.processes import environment, pytest_command, run
from bench.trial_cost import write_tasks
from pytest_goat.sandbox.modal.inside.main import write_frame
from tests.support.modal import RunningServer, modal_server, run_sdk
from tests.support.runs import all_trials, the_run

ENVIRONMENT = "goat"
COMMANDS = 2
"""Of a trial: its agent and its check."""
NO_LIMIT = 100_000
"""Sandboxes per second."""
VOLUME = """
volume = modal.Volume.from_name("goat-results", environment_name="goat")
answer = len([entry for entry in volume.listdir("/{run}/trials") if entry.path.endswith(".json")])
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run took, and what it left."""

    seconds: float
    """From the start of the process to its end."""
    cpu: float
    """Seconds of the harness process."""
    server_cpu: float
    upload: float
    """Seconds at the end in which only the upload was waited for."""
    uploaded: int
    """Records of trials in the volume."""
    calls: dict[str, int]
    """How often each RPC was called."""
    trials: list[dict[str, Any]]
    """The records."""
    seen: dict[str, Any]
    """What the probe saw."""

    @property
    def not_passed(self) -> int:
        return sum(trial["status"] != "passed" for trial in self.trials)

    @property
    def lags(self) -> list[float]:
        """Seconds by which the loop of the trials was held up, in rising order."""
        return list(self.seen["lags"])

    def looked(self, what: str) -> list[int]:
        """`memory` in bytes, `descriptors` or `threads`: before the trials, each second, and after them."""
        return [look[what] for look in self.seen["looks"]]


class Cloud:
    """A Modal test server with an environment, and runs on it."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._numbers = itertools.count()
        run_sdk(server, f"modal.Environment.objects.create({ENVIRONMENT!r})")

    def run(self, trials: int, parallel: int, *, rate: float = NO_LIMIT, limit: float = 0.0) -> Ran:
        """Run so many trials, all of which must be there at the end.

        `rate`: sandboxes per second of ours. `limit`: of the server's, with a burst of one second's worth.
        """
        folder = write_tasks(self._folder / f"run-{next(self._numbers)}", trials)
        (scratch := folder / "tmp").mkdir()  # the rate is shared by what has the same one
        seen = folder / "seen.json"
        env = environment() | self._server.env
        env |= {"TMPDIR": str(scratch), "PYTHONPATH": str(ROOT), "BENCH_PROBE": str(seen)}
        options = [f"--goat-parallel={parallel}", f"--goat-create-rate={rate}"]
        self._server.set(create_rate=limit, burst=max(1, round(limit)))
        self._server.reset_calls()
        before = self._server.ask("cpu")
        done = run(
            pytest_command(
                *("-q", "-p", "bench.load_probe", "--goat-backend=modal", "--goat-agent=oracle"),
                *options,
                "tasks.yaml",
            ),
            folder,
            env,
        )
        server_cpu, calls = self._server.ask("cpu") - before, self._server.calls()
        records = all_trials(folder)
        if len(records) != trials or self._server.live():
            sys.exit(f"{len(records)} of {trials} trials are stored:\n{done.output[-4000:]}")
        stored = the_run(folder)
        return Ran(
            seconds=done.seconds,
            cpu=done.cpu,
            server_cpu=server_cpu,
            upload=(stored / ".upload.json").stat().st_mtime - (stored / "junit.xml").stat().st_mtime,
            uploaded=run_sdk(self._server, VOLUME.format(run=stored.name)),
            calls=dict(Counter(calls)),
            trials=records,
            seen=json.loads(seen.read_text()),
        )


@contextmanager
def cloud(wait: float | None = None) -> Iterator[Cloud]:
    """A server. `wait`: seconds that a trial waits, with no process behind it; None: with processes."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "reply").write_bytes(reply())
        simulated = "" if wait is None else f"{wait / COMMANDS}:{folder / 'reply'}"
        with modal_server(simulate=simulated) as server:
            yield Cloud(server, folder)


def reply() -> bytes:
    """What answers each command: it went well, said a little, and left some files in the workspace."""
    said = b"a line that an agent says\n" * 200
    left = {"x": b"done\n", "notes.txt": b"a line that an agent writes\n" * 600}
    files = [(name, len(data), False) for name, data in left.items()]
    hauls = [
        {"files": files, "refused": [], "truncated": False},
        {"files": [], "refused": [], "truncated": False},
    ]
    result = {
        "exit_code": 0,
        "streams": [len(said), 0],
        "duration": 1.0,
        "timed_out": False,
        "limit": "",
        "truncated": False,
        "clean": True,
    }
    frame = BytesIO()
    header = {"takes": hauls, "result": result, "used": sum(map(len, left.values()))}
    write_frame(frame, header, [said, *left.values()])
    return frame.getvalue()
