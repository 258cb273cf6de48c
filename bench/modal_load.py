"""The load of many trials on Modal, against the Modal test server: what of it is the harness's own.

A sandbox has no process here: each of a trial's two commands, agent and check, waits half of the time and
then answers what a sandbox of ours answers. So the server takes little, but it shares the machine with the
harness. The last rows are of sandboxes with processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from bench.base import Budget, Options, Row
from bench.modal_run import Ran, cloud
from pytest_goat.store.upload import END_TIMEOUT

MB = 1 << 20
WAIT = 60.0
"""Seconds of a trial."""
LIMITED_WAIT = 5.0
LIMIT, TOO_FAST = 40.0, 100.0
"""Sandboxes per second that the server makes, and that are asked for by who does not know that."""
OF_COMMANDS = ("TaskExecStart", "TaskExecStdinWrite", "TaskExecStdioRead", "TaskExecWait")
OF_TRIALS = ("SandboxCreateV2", *OF_COMMANDS, "SandboxTerminateV2", "SandboxWaitV2")
BOXES_AT_ONCE = 8
LOOKS = 5
"""At memory, one a second, whose median is taken."""


def measure(options: Options) -> Iterator[Row]:
    count, wait = (400, 30.0) if options.quick else (1000, WAIT)
    with cloud(wait) as at_once:
        yield from _at_once(at_once.run(count, count), count, wait)
    with cloud(LIMITED_WAIT) as limited:
        yield from _limited(limited.run(count, count, rate=LIMIT, limit=LIMIT), count)
        yield from _refused(limited.run(count, count, rate=TOO_FAST, limit=LIMIT), count)
    yield from _boxes(10 if options.quick else 40)


def _at_once(ran: Ran, count: int, wait: float) -> Iterator[Row]:
    what = f"modal: {count:,} trials at once"
    lags, threads, descriptors = ran.lags, ran.looked("threads"), ran.looked("descriptors")
    note = (
        f"a whole run, without the last upload, over {wait:g} s; trials {ran.seen['trials_seconds']:.1f} s; "
        f"CPU: harness {ran.cpu:.1f} s, server {ran.server_cpu:.1f} s; {ran.not_passed} not passed"
    )
    yield Row(f"{what}, over the wait", (ran.seconds - ran.upload) / wait, "x", Budget("<", 1.2), note)
    first, most = ran.looked("memory")[0] / MB, ran.seen["peak_memory"] / MB
    note = f"{first:.0f} MB before the first trial, {(most - first) / count * 1000:.0f} kB more for each"
    yield Row(f"{what}, peak memory", most, "MB", Budget("<", 400), note)
    note = f"{ran.uploaded:,} records are in the volume; bounded at {END_TIMEOUT:g} s"
    yield Row(f"{what}, upload at the end", ran.upload, "s", Budget("<", END_TIMEOUT), note)
    per_trial = {name: ran.calls.get(name, 0) / count for name in OF_TRIALS if ran.calls.get(name)}
    own = sum(calls for name, calls in per_trial.items() if name not in OF_COMMANDS)
    note = ", ".join(f"{name} {calls:.2f}" for name, calls in per_trial.items())
    yield Row("modal: calls of a trial beyond its commands'", own, "", Budget("<=", 5), note)
    note = f"median {lags[len(lags) // 2] * 1000:.1f} ms, most {lags[-1] * 1000:.0f} ms"
    yield Row(f"{what}, loop held up, 99 %", lags[len(lags) * 99 // 100] * 1000, "ms", note=note)
    note = (
        f"{descriptors[0]} before, {max(descriptors)} at most; 100 of those left are connections that the "
        f"SDK keeps for uploads; threads {threads[0]}, {max(threads)} at most"
    )
    yield Row(f"{what}, open files left", descriptors[-1] - descriptors[0], "", note=note)


def _limited(ran: Ran, count: int) -> Iterator[Row]:
    ideal = count / LIMIT + LIMITED_WAIT
    refused = ran.calls["SandboxCreateV2"] - count
    note = (
        f"{count:,} trials of {LIMITED_WAIT:g} s take {ideal:g} s at {LIMIT:g} sandboxes per second; "
        f"the whole run, without the last upload; {ran.not_passed} not passed, {refused} answers of a quota"
    )
    yield Row(
        "modal: at the rate limit, over its own",
        (ran.seconds - ran.upload) / ideal,
        "x",
        Budget("<", 1.15),
        note,
    )
    steady = ran.looked("memory")[round(2 * LIMITED_WAIT) : round(count / LIMIT)]
    if len(steady) > 2 * LOOKS:
        # Medians: while a batch of results is sent, it is in memory.
        grown = median(steady[-LOOKS:]) - median(steady[:LOOKS])
        ended = (len(steady) - LOOKS) * LIMIT
        note = f"what memory grows by while {ended:.0f} trials end and as many begin, for each"
        yield Row("modal: memory kept of a trial", grown / 1024 / ended, "kB", note=note)


def _refused(ran: Ran, count: int) -> Iterator[Row]:
    ideal = count / LIMIT + LIMITED_WAIT
    refused = ran.calls["SandboxCreateV2"] - count
    note = (
        f"{TOO_FAST:g} sandboxes per second asked for, {LIMIT:g} are made: {refused} answers of a quota; "
        f"{ran.seconds:.0f} s, where the limit alone takes {ideal:g} s"
    )
    yield Row("modal: over the rate limit, not passed", ran.not_passed, "", Budget("<=", 0), note)


def _boxes(count: int) -> Iterator[Row]:
    """What a trial takes with processes in its sandbox, which are the server's work."""
    with cloud() as boxes:
        once = boxes.run(1, 1)
        for mode, parallel in (("one at a time", 1), (f"{BOXES_AT_ONCE} at once", BOXES_AT_ONCE)):
            ran = boxes.run(count, parallel)
            note = (
                f"CPU of it: harness {(ran.cpu - once.cpu) / (count - 1) * 1000:.0f} ms, "
                f"server and sandbox {(ran.server_cpu - once.server_cpu) / (count - 1) * 1000:.0f} ms; "
                f"{count} trials; {ran.not_passed} not passed"
            )
            yield Row(
                f"modal: a trial with processes, {mode}",
                (ran.seconds - once.seconds) / (count - 1) * 1000,
                "ms",
                note=note,
            )
