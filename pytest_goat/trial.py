"""The life of one trial: the only place that knows the order of its steps."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pytest_goat.agent.base import Agent, AgentInput, AgentOutcome
from pytest_goat.checks import run_checks, score
from pytest_goat.checks.base import CheckContext, CheckResult, Judge
from pytest_goat.errors import Cause, GoatError, InfraError
from pytest_goat.gateway.base import Endpoint, Gateway, Seen, TrialKey, Usage
from pytest_goat.report.diff import workspace_changes
from pytest_goat.result import Attempt, Phases, Status, TrialResult
from pytest_goat.sandbox.base import MB, Backend, ExecResult, Files, Sandbox, SandboxLimits, SandboxSpec
from pytest_goat.task import Task
from pytest_goat.verdict import Evidence, Ruling, decide
from pytest_goat.workspace import read_workspace

RETRIES_BEFORE_MODEL = 3
"""Tries after an infrastructure error that came before any money was spent."""
NEVER_RETRIED = frozenset(
    {
        Cause.AUTH,
        Cause.MODEL_NOT_FOUND,
        Cause.BAD_REQUEST,
        Cause.REPLAY_MISS,
        Cause.CHECK_ERROR,
        Cause.INTERNAL,
    }
)
"""Infrastructure errors that come out the same however often they are tried."""
BACKOFF = 0.5
"""Seconds before the first retry; doubles with each, with up to as much again of jitter."""
ANSWER_MAX = 64 * 1024
"""Characters of the final text that are kept."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One execution of one task by one agent with one model."""

    id: str
    """Unique within the run; a file name."""
    node_id: str
    task: Task
    model: str
    epoch: int = 1


@dataclass(frozen=True, slots=True)
class Rig:
    """What every trial of a run is executed with."""

    run_id: str
    backend: Backend
    agent: Agent
    gateway: Gateway
    retries: int = 1
    """Tries after an infrastructure error that came when the model had been called."""
    judge: Callable[[TrialKey], Judge] | None = None


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """The outcome, and the files to keep beside it: name -> bytes."""

    result: TrialResult
    artifacts: dict[str, bytes]


async def run_trial(trial: Trial, rig: Rig) -> TrialOutput:
    """Execute `trial`, again in a fresh sandbox after an infrastructure error that may pass.

    Never raises but for cancellation: whatever goes wrong is an outcome with status `error`.
    Every try that was given up is kept in the result, with its cause and what it cost.
    """
    earlier: list[Attempt] = []
    while True:
        output = await _attempt(trial, rig)
        result = output.result
        retries = rig.retries if result.calls else RETRIES_BEFORE_MODEL
        if result.status is not Status.ERROR or result.cause is None or result.cause in NEVER_RETRIED:
            break
        if len(earlier) >= retries:
            break
        earlier.append(Attempt(result.cause, result.message, result.phases.total, result.usage))
        await asyncio.sleep(BACKOFF * 2 ** (len(earlier) - 1) * (1 + random.random()))  # noqa: S311
    usage = sum((attempt.usage for attempt in earlier), result.usage)
    result = dataclasses.replace(result, attempts=tuple(earlier), usage=usage)
    return TrialOutput(result, output.artifacts)


async def _attempt(trial: Trial, rig: Rig) -> TrialOutput:
    """One try: whatever happens, its sandbox and its endpoint are closed."""
    steps = _Steps(trial, rig)
    try:
        return await steps.run()
    except InfraError as error:
        return await steps.failure(error.cause, str(error))
    except GoatError as error:
        return await steps.failure(Cause.INTERNAL, str(error))
    except Exception as error:
        return await steps.failure(Cause.INTERNAL, f"{type(error).__name__}: {error}")
    finally:
        await steps.close()


class _Steps:
    """The steps of one attempt, and what is open meanwhile."""

    def __init__(self, trial: Trial, rig: Rig) -> None:
        self.trial, self.rig = trial, rig
        self.started = datetime.now(UTC)
        self.clock = time.monotonic()
        self.phases = Phases()
        task = trial.task
        self.key = TrialKey(
            rig.run_id, trial.id, task.id, trial.model, task.suite.root if task.suite else None
        )
        self.endpoint: Endpoint = rig.gateway.open(self.key)
        self.sandbox: Sandbox | None = None

    async def run(self) -> TrialOutput:
        task = self.trial.task
        sandbox = self.sandbox = await self.rig.backend.open(self._spec())
        self.endpoint.set_workdir(sandbox.workdir)
        original = read_workspace(task)
        await sandbox.put(original)
        self._lap("open")
        executed, outcome = await self._run_agent(sandbox)
        seen = await self.endpoint.seen()
        await self.endpoint.close()
        self._lap("agent")
        checks, after = await self._run_checks(sandbox, original, outcome)
        self._lap("checks")
        total, checks_pass = score(checks, task.threshold) if checks else (None, False)
        ruling = decide(
            Evidence(
                outcome=outcome,
                executed=executed,
                seen=seen,
                checks=checks,
                score=total,
                checks_pass=checks_pass,
                max_turns=task.limits.max_turns,
                needs_model=self.rig.agent.needs_model,
            )
        )
        changed, diff = workspace_changes(original, after)
        result = dataclasses.replace(
            self._result(ruling, seen),
            score=total,
            unchecked=not checks and ruling.status is Status.PASSED,
            checks=tuple(checks),
            answer=outcome.answer[:ANSWER_MAX],
            turns=outcome.turns if outcome.turns is not None else seen.turns,
            changed=changed,
            details=outcome.details,
        )
        artifacts = {
            "trajectory.jsonl": outcome.trajectory,
            "stdout.txt": executed.stdout,
            "stderr.txt": executed.stderr,
            "changes.diff": diff.encode(errors="replace"),
        }
        return TrialOutput(result, {name: data for name, data in artifacts.items() if data})

    async def failure(self, cause: Cause, message: str) -> TrialOutput:
        """The outcome of an attempt that infrastructure ended."""
        seen = await self.endpoint.seen()
        return TrialOutput(self._result(Ruling(Status.ERROR, cause, message), seen), {})

    async def close(self) -> None:
        try:
            if self.sandbox is not None:
                await self.sandbox.close()
        finally:
            await self.endpoint.close()

    async def _run_agent(self, sandbox: Sandbox) -> tuple[ExecResult, AgentOutcome]:
        agent, task = self.rig.agent, self.trial.task
        given = AgentInput(
            task=task,
            trial_id=self.trial.id,
            workdir=sandbox.workdir,
            outdir=sandbox.outdir,
            model=self.trial.model,
            base_url=self.endpoint.base_url,
            api_key=self.endpoint.api_key,
        )
        command = agent.command(given)
        if command.files:
            await sandbox.put(command.files, sandbox.outdir)
        if command.work:
            await sandbox.put(command.work)
        executed = await sandbox.exec(
            command.argv, stdin=command.stdin, env=command.env, timeout=task.limits.timeout
        )
        left = await sandbox.take(root=sandbox.outdir)
        return executed, agent.outcome(given, executed, left.files)

    async def _run_checks(
        self, sandbox: Sandbox, original: Files, outcome: AgentOutcome
    ) -> tuple[list[CheckResult], Files]:
        after = (await sandbox.take()).files
        if not self.trial.task.checks:
            return [], after
        judge = self.rig.judge(self.key) if self.rig.judge else None
        context = CheckContext(self.trial.task, sandbox, outcome.answer, original, judge)
        return await run_checks(context), after

    def _spec(self) -> SandboxSpec:
        limits = self.trial.task.limits
        return SandboxSpec(
            trial_id=self.trial.id,
            limits=SandboxLimits(
                memory=limits.memory_mb * MB, processes=limits.processes, disk=limits.disk_mb * MB
            ),
            mounts=self.rig.agent.mounts,
            attach=self.endpoint.attach if self.rig.agent.needs_model else None,
        )

    def _lap(self, phase: str) -> None:
        spent = self.phases.open + self.phases.agent + self.phases.checks
        elapsed = time.monotonic() - self.clock
        self.phases = dataclasses.replace(self.phases, **{phase: elapsed - spent})

    def _result(self, ruling: Ruling, seen: Seen) -> TrialResult:
        trial, task = self.trial, self.trial.task
        usage = seen.usage if self.rig.agent.needs_model else Usage()
        return TrialResult(
            trial_id=trial.id,
            node_id=trial.node_id,
            task_id=task.id,
            suite=task.suite.name if task.suite else "",
            model=trial.model,
            agent=self.rig.agent.name,
            epoch=trial.epoch,
            status=ruling.status,
            cause=ruling.cause,
            message=ruling.message,
            turns=seen.turns,
            usage=usage,
            calls=seen.calls,
            phases=dataclasses.replace(self.phases, total=time.monotonic() - self.clock),
            started=self.started.isoformat(timespec="milliseconds"),
            tags=task.tags,
            source=str(task.source),
        )
