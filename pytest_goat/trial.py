"""The life of one trial: the only place that knows the order of its steps."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pytest_goat.agent.base import Agent, AgentInput, AgentOutcome
from pytest_goat.changes import workspace_changes
from pytest_goat.checks import run_checks, score
from pytest_goat.checks.base import CheckContext, CheckResult
from pytest_goat.errors import Cause, GoatError, InfraError, SandboxError, UserError
from pytest_goat.gateway.base import Endpoint, Gateway, Seen, TrialKey, Usage
from pytest_goat.gateway.heard import Heard
from pytest_goat.redact import Redactor
from pytest_goat.result import Attempt, Phases, Status, TrialResult
from pytest_goat.sandbox.base import MB, Backend, ExecResult, File, Files, Sandbox, SandboxLimits, SandboxSpec
from pytest_goat.task import JudgeCheck, Task, Trial
from pytest_goat.verdict import Evidence, Ruling, decide
from pytest_goat.workspace import read_workspace, without_caches

RETRIES_BEFORE_MODEL = 3
"""Tries after an infrastructure error that came before any money was spent."""
NEVER_RETRIED = frozenset(
    {
        Cause.AUTH,
        Cause.MODEL_NOT_FOUND,
        Cause.BAD_REQUEST,
        Cause.REPLAY_MISS,
        Cause.CHECK_ERROR,
        Cause.SETUP,
        Cause.INTERNAL,
    }
)
"""Infrastructure errors that come out the same however often they are tried."""
AGENT_ENV = {"PYTHONDONTWRITEBYTECODE": "1"}
"""An agent edits and runs within one second: by time and size, Python would take old bytecode for new."""
STEPS_TIMEOUT = 300.0
"""Seconds for all that is neither agent nor check."""
ANSWER_MAX = 64 * 1024
"""Characters of the final text that are kept."""


@dataclass(frozen=True, slots=True)
class Rig:
    """What every trial of a run is executed with."""

    run_id: str
    backend: Backend
    agent: Agent
    gateway: Gateway
    retries: int = 1
    """Tries after an infrastructure error that came when the model had been called."""
    judge_model: str | None = None
    """Answers the rubrics of `judge` checks."""
    max_cost: float | None = None
    """USD that the model calls of one trial may cost, all its attempts together; None: any."""
    backoff: float = 0.5
    """Seconds before the first retry; doubles with each, with up to as much again of jitter."""
    record: bool = False
    """Whether the model's answers are kept, for a recording."""
    max_wait: float = 0.0
    """Seconds that rate limits may hold back the calls of one attempt, beyond the agent's time; 0: what a
    provider refuses is the agent's own affair.
    """


@dataclass(frozen=True, slots=True)
class TrialOutput:
    """The outcome, and the files to keep beside it: name -> bytes."""

    trial: Trial
    result: TrialResult
    artifacts: dict[str, bytes]
    heard: tuple[Heard, ...] = ()
    """What the model answered, where that is kept."""
    judged: tuple[Heard, ...] = ()
    """What the judge answered."""


async def run_trial(trial: Trial, rig: Rig) -> TrialOutput:
    """Execute `trial`, again in a fresh sandbox after an infrastructure error that may pass.

    Never raises but for cancellation: whatever goes wrong is an outcome with status `error`.
    Every try that was given up is kept in the result, with its cause and what it cost.
    """
    earlier: list[Attempt] = []
    spent = Usage()
    left = {False: RETRIES_BEFORE_MODEL, True: rig.retries}  # by whether the model was called
    while True:
        output = await _attempt(trial, rig, spent.cost or 0.0)
        result = output.result
        if result.status is not Status.ERROR or result.cause is None or result.cause in NEVER_RETRIED:
            break
        called = bool(result.calls)
        spent += result.usage
        if not left[called] or (rig.max_cost is not None and (spent.cost or 0.0) >= rig.max_cost):
            break
        left[called] -= 1
        pause = rig.backoff * 2 ** len(earlier)
        earlier.append(Attempt(result.cause, result.message, result.phases.total, result.usage))
        await asyncio.sleep(pause * random.uniform(1, 2))  # noqa: S311  (spreads load, guards nothing)
    usage = sum((attempt.usage for attempt in earlier), result.usage)
    result = dataclasses.replace(result, attempts=tuple(earlier), usage=usage)
    return dataclasses.replace(output, result=result)


async def _attempt(trial: Trial, rig: Rig, spent: float) -> TrialOutput:
    """One try: whatever happens, its sandbox and its endpoint are closed."""
    bench = Workbench(trial, rig, spent)
    try:
        return await execute(bench)
    finally:
        await bench.close()


async def execute(bench: Workbench) -> TrialOutput:
    """Take the trial of `bench` from its workspace to its verdict. Leaves closing to the caller.

    Never raises but for cancellation.
    """
    try:
        original = await bench.open()
        work = await bench.work()
        return bench.without_key(_output(bench, original, work, await _check(bench, original, work)))
    except InfraError as error:
        ruling = Ruling(Status.ERROR, error.cause, str(error))
    except UserError as error:
        ruling = Ruling(Status.ERROR, Cause.SETUP, str(error))
    except Exception as error:
        message = str(error) if isinstance(error, GoatError) else f"{type(error).__name__}: {error}"
        ruling = Ruling(Status.ERROR, Cause.INTERNAL, message)
    try:
        seen = await bench.seen()
    except InfraError:
        seen = Seen()  # what ended the trial is told already
    return bench.without_key(TrialOutput(bench.trial, bench.result(ruling, seen), {}))


@dataclass(frozen=True, slots=True)
class Work:
    """What the agent did: how its command ended, what it says, what the gateway saw."""

    executed: ExecResult
    outcome: AgentOutcome
    seen: Seen


class Workbench:
    """The sandbox and the endpoint of one attempt: opened, worked on by the agent, closed.

    `open` and `work` raise `InfraError`; after them the sandbox stays as the agent left it until `close`.
    """

    def __init__(self, trial: Trial, rig: Rig, spent: float = 0.0) -> None:
        """`spent`: USD that earlier attempts have cost."""
        self.trial, self.rig = trial, rig
        self._max_cost = None if rig.max_cost is None else rig.max_cost - spent
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._phases = Phases()
        self._endpoint: Endpoint | None = None
        self._sandbox: Sandbox | None = None

    @property
    def sandbox(self) -> Sandbox:
        if self._sandbox is None:
            raise SandboxError(Cause.SANDBOX_LOST, "the sandbox is closed")
        return self._sandbox

    async def open(self) -> dict[str, File]:
        """Open the sandbox and put the workspace there; returns what was put."""
        limits, agent = self.trial.task.limits, self.rig.agent
        bounds = SandboxLimits(
            memory=limits.memory_mb * MB, processes=limits.processes, disk=limits.disk_mb * MB
        )
        attach = None
        if agent.needs_model:
            key = trial_key(self.trial, self.rig.run_id, record=self.rig.record, max_wait=self.rig.max_wait)
            key = dataclasses.replace(key, max_cost=self._max_cost)
            # Half the time of the task at most: a hung model is told from a slow agent.
            self._endpoint = self.rig.gateway.open(key, limits.timeout / 2)
            attach = self._endpoint.attach
        spec = SandboxSpec(
            self.trial.id,
            bounds,
            agent.mounts,
            attach,
            hosts=self.rig.gateway.hosts if agent.needs_model else (),
            machine=self.trial.task.machine,
            lifetime=lifetime(self.trial.task) + (self.rig.max_wait if agent.needs_model else 0.0),
        )
        self._sandbox = await self.rig.backend.open(spec)
        if self._endpoint is not None:
            self._endpoint.set_workdir(self._sandbox.workdir)
        original = read_workspace(self.trial.task)
        await self._sandbox.put(original)
        self.lap("open")
        return original

    async def work(self) -> Work:
        """Run the agent within its limits, and take what it left."""
        agent, task, sandbox = self.rig.agent, self.trial.task, self.sandbox
        given = AgentInput(
            task=task,
            trial_id=self.trial.id,
            workdir=sandbox.workdir,
            outdir=sandbox.outdir,
            model=self.trial.model,
            base_url=self._endpoint.base_url if self._endpoint else "",
            api_key=self._endpoint.api_key if self._endpoint else "",
        )
        command = agent.command(given)
        if command.files:
            await sandbox.put(command.files, sandbox.outdir)
        if command.work:
            await sandbox.put(command.work)
        executed = await sandbox.exec(
            command.argv,
            stdin=command.stdin,
            env=AGENT_ENV | command.env,
            timeout=task.limits.timeout,
            extra=self._waited if self._endpoint and self.rig.max_wait else None,
        )
        left = await sandbox.take(root=sandbox.outdir)
        seen = await self.seen()
        await self._close_endpoint()
        self.lap("agent")
        return Work(executed, agent.outcome(given, executed, left.files), seen)

    async def seen(self) -> Seen:
        """What the gateway saw of this attempt so far."""
        return await self._endpoint.seen() if self._endpoint else Seen()

    async def _waited(self) -> float:
        """Seconds that the agent has lost to rate limits, which are no limits of its own."""
        try:
            return await self._endpoint.waited() if self._endpoint else 0.0
        except InfraError:
            return 0.0  # `seen` will tell

    async def close(self) -> None:
        """End the sandbox and the endpoint."""
        try:
            if self._sandbox is not None:
                await self._sandbox.close()
        finally:
            await self._close_endpoint()

    async def _close_endpoint(self) -> None:
        if self._endpoint is not None:
            await self._endpoint.close()

    def lap(self, phase: str) -> None:
        """Count the time since the last lap to `phase`, a field of `Phases`."""
        spent = self._phases.open + self._phases.agent + self._phases.checks
        elapsed = time.monotonic() - self._clock
        self._phases = dataclasses.replace(self._phases, **{phase: elapsed - spent})

    def without_key(self, output: TrialOutput) -> TrialOutput:
        """The output without the trial's own key, which whatever ran in the sandbox may have shown."""
        if self._endpoint is None:
            return output
        redactor = Redactor([self._endpoint.api_key])
        artifacts = {name: redactor.data(data) for name, data in output.artifacts.items()}
        return dataclasses.replace(output, result=output.result.redacted(redactor), artifacts=artifacts)

    def result(self, ruling: Ruling, seen: Seen) -> TrialResult:
        """The result as far as it does not depend on checks."""
        trial, task = self.trial, self.trial.task
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
            usage=seen.usage,
            calls=seen.calls,
            phases=dataclasses.replace(self._phases, total=time.monotonic() - self._clock),
            started=self._started.isoformat(timespec="milliseconds"),
            tags=task.tags,
            source=str(task.source),
        )


def trial_key(trial: Trial, run_id: str, *, record: bool = False, max_wait: float = 0.0) -> TrialKey:
    """Who the trial is to the gateway. `record`: its answers are to be kept. `max_wait`: as `Rig`."""
    task = trial.task
    return TrialKey(
        run_id,
        trial.id,
        task.id,
        trial.model,
        task.suite.root if task.suite else None,
        lifetime(task) + max_wait,
        epoch=trial.epoch,
        record=record,
        max_wait=max_wait,
    )


def lifetime(task: Task) -> float:
    """Seconds that a trial of `task` can take at most: the agent, every check, and putting and taking."""
    limits = task.limits
    checks = sum(getattr(check, "timeout", None) or limits.check_timeout for check in task.checks)
    return limits.timeout + checks + STEPS_TIMEOUT


@dataclass(frozen=True, slots=True)
class Checked:
    """What the checks found."""

    results: list[CheckResult]
    left: Files
    """The workspace as the agent left it."""
    judging: Seen = field(default_factory=Seen)
    """What the gateway saw of the judge model."""


async def _check(bench: Workbench, original: Files, work: Work) -> Checked:
    task, rig = bench.trial.task, bench.rig
    left = await bench.sandbox.take()
    if not task.checks:
        return Checked([], left.files)
    judge: Endpoint | None = None
    if rig.judge_model and any(isinstance(check, JudgeCheck) for check in task.checks):
        key = trial_key(bench.trial, rig.run_id, record=rig.record, max_wait=rig.max_wait)
        judge = rig.gateway.open(dataclasses.replace(key, model=rig.judge_model))
    ask = judge.ask if judge else None
    try:
        checks = await run_checks(CheckContext(task, bench.sandbox, work.outcome.answer, original, ask, left))
        seen = await judge.seen() if judge else Seen()
    finally:
        if judge is not None:
            await judge.close()
    bench.lap("checks")
    return Checked(checks, left.files, seen)


def _details(outcome: AgentOutcome, checked: Checked) -> dict[str, Any]:
    """What the agent tells of itself, with its own count of tokens as a cross-check on what the gateway saw;
    and what judging took, which is not the trial's own spending.
    """
    details = dict(outcome.details)
    if outcome.usage is not None:
        details["usage"] = dataclasses.asdict(outcome.usage)
    if checked.judging.usage != Usage():
        details["judge_usage"] = dataclasses.asdict(checked.judging.usage)
    return details


def _output(bench: Workbench, original: Files, work: Work, checked: Checked) -> TrialOutput:
    checks = checked.results
    task, outcome = bench.trial.task, work.outcome
    total, checks_pass = score(checks, task.threshold) if checks else (None, False)
    ruling = decide(
        Evidence(
            outcome=outcome,
            executed=work.executed,
            seen=work.seen,
            checks=checks,
            score=total,
            checks_pass=checks_pass,
            max_turns=task.limits.max_turns,
            needs_model=bench.rig.agent.needs_model,
        )
    )
    changed, diff = workspace_changes(original, without_caches(checked.left))
    result = dataclasses.replace(
        bench.result(ruling, work.seen),
        score=total,
        unchecked=not checks and ruling.status is Status.PASSED,
        checks=tuple(checks),
        answer=outcome.answer[:ANSWER_MAX],
        turns=outcome.turns if outcome.turns is not None else work.seen.turns,
        changed=changed,
        details=_details(outcome, checked),
    )
    artifacts = {
        "trajectory.jsonl": outcome.trajectory,
        "stdout.txt": work.executed.stdout,
        "stderr.txt": work.executed.stderr,
        "changes.diff": diff.encode(errors="replace"),
    }
    return TrialOutput(bench.trial, result, artifacts, work.seen.heard, checked.judging.heard)
