"""Checks as a trial runs them: in a real sandbox, on what an agent, here a shell script, has left."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from pytest_goat.checks import run_checks
from pytest_goat.checks.base import CheckContext, CheckResult, Judge
from pytest_goat.sandbox.base import MB, File, SandboxLimits, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.task import Check, Limits, Source, Task

QUICK = "PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 python -m pytest -q"
"""pytest as lines of checks run it: without plugins it starts in half the time."""


def task_of(*checks: Check, prompt: str = "Do it.") -> Task:
    return Task("a-task", prompt, Source(Path("task.yaml")), checks, limits=Limits(check_timeout=20))


def files_of(texts: Mapping[str, str | bytes]) -> dict[str, File]:
    return {path: File(text.encode() if isinstance(text, str) else text) for path, text in texts.items()}


class Arena:
    """One backend for all tests of a process, started when the first asks for it."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._backend = LocalBackend()

    def close(self) -> None:
        if self._runner is not None:
            self._runner.run(self._backend.stop())
            self._runner.close()

    def after_agent(
        self,
        *checks: Check,
        original: Mapping[str, str] | None = None,
        left: Mapping[str, str | bytes] | None = None,
        script: str = "",
        answer: str = "",
        judge: Judge | None = None,
        disk_mb: int = 256,
        taken: bool = False,
        lost: bool = False,
    ) -> list[CheckResult]:
        """The results of `checks` when the workspace was `original`, and the agent put `left` into it and
        ran `script` there. `taken`: the trial has taken the workspace already. `lost`: the sandbox is gone.
        """
        if self._runner is None:
            self._runner = asyncio.Runner()
            self._runner.run(self._backend.start())
        given = files_of(original or {})

        async def run() -> list[CheckResult]:
            limits = SandboxLimits(disk=disk_mb * MB, memory=512 * MB)
            sandbox = await self._backend.open(SandboxSpec("trial", limits))
            try:
                await sandbox.put({**given, **files_of(left or {})})
                if script:
                    done = await sandbox.exec(["bash", "-ec", script], timeout=20)
                    assert done.ok, done.stderr[-1000:].decode()
                workspace = await sandbox.take() if taken else None
                if lost:
                    await sandbox.close()
                context = CheckContext(task_of(*checks), sandbox, answer, given, judge, workspace)
                return await run_checks(context)
            finally:
                await sandbox.close()

        return self._runner.run(run())
