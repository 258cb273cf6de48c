"""Checks as a trial runs them: in a real sandbox, on what an agent, here a shell script, has left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from pytest_goat.checks import run_checks
from pytest_goat.checks.base import CheckContext, CheckResult, Judge
from pytest_goat.sandbox.base import MB, File, Sandbox, SandboxLimits, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.task import Check, Limits, Source, Task


def task_of(*checks: Check, prompt: str = "Do it.") -> Task:
    return Task("a-task", prompt, Source(Path("task.yaml")), checks, limits=Limits(check_timeout=20))


def files_of(texts: Mapping[str, str | bytes]) -> dict[str, File]:
    return {path: File(text.encode() if isinstance(text, str) else text) for path, text in texts.items()}


def after_agent(
    *checks: Check,
    original: Mapping[str, str] | None = None,
    left: Mapping[str, str | bytes] | None = None,
    script: str = "",
    answer: str = "",
    judge: Judge | None = None,
    disk_mb: int = 256,
) -> list[CheckResult]:
    """The results of `checks` when the workspace was `original`, and the agent put `left` into it and ran
    `script` there.
    """
    given = files_of(original or {})

    async def trial(sandbox: Sandbox) -> list[CheckResult]:
        await sandbox.put(given)
        await sandbox.put(files_of(left or {}))
        if script:
            done = await sandbox.exec(["bash", "-ec", script], timeout=20)
            assert done.ok, done.stderr.decode()
        return await run_checks(CheckContext(task_of(*checks), sandbox, answer, given, judge))

    async def run() -> list[CheckResult]:
        backend = LocalBackend()
        await backend.start()
        try:
            limits = SandboxLimits(disk=disk_mb * MB, memory=512 * MB)
            sandbox = await backend.open(SandboxSpec("trial", limits))
            try:
                return await trial(sandbox)
            finally:
                await sandbox.close()
        finally:
            await backend.stop()

    return asyncio.run(run())
