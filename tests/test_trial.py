"""The life of a trial: what is tried again and what not, in which sandbox, and what is left at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_goat.agent.adapter import Adapter, Spec, Where
from pytest_goat.agent.base import Agent, AgentInput, AgentOutcome
from pytest_goat.agent.builtin import Nop, Oracle
from pytest_goat.errors import Cause, SandboxError
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Usage
from pytest_goat.result import Status, TrialResult
from pytest_goat.sandbox.base import ExecResult, Files, SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
from pytest_goat.sandbox.local.sandbox import LocalSandbox
from pytest_goat.task import FileCheck, OutputCheck, RunCheck, Solution, Task, Trial
from pytest_goat.trial import ANSWER_MAX, NEVER_RETRIED, Rig, TrialOutput, run_trial
from tests.support import silent_agent
from tests.support.model_server import Answer, Hang, ModelServer, Reply, Script, ToolCall
from tests.support.model_server import Status as HttpStatus
from tests.support.trials import make_task

PROGRAM = Path(silent_agent.__file__)
SILENT = Adapter(Spec(path=PROGRAM, name="silent", argv=("{program}", "{max_turns}"), program=PROGRAM))
CHECKS = (FileCheck(file="hello.txt", contains=("hello",)),)
RIGHT = Answer(tools=[ToolCall("Bash", {"command": "echo hello > hello.txt"})])
LOOK = Answer(tools=[ToolCall("Bash", {"command": "ls -A > seen.txt"})])
DONE = Answer("Done.")
DEAR_LOOK = Answer(tools=LOOK.tools, usage={"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.25})


class Sandboxes:
    """A backend of local sandboxes that remembers them, and refuses to open the first `refused`."""

    def __init__(self, local: LocalBackend) -> None:
        self._local = local
        self.name, self.description, self.left = local.name, local.description, local.left
        self.refused = 0
        self.asked = 0
        self.opened: list[LocalSandbox] = []

    async def start(self) -> None: ...

    def handover(self) -> dict[str, str]:
        return {}

    async def sweep(self, worker: str = "") -> int:
        return 0

    async def stop(self) -> None: ...

    async def open(self, spec: SandboxSpec) -> LocalSandbox:
        self.asked += 1
        if self.asked <= self.refused:
            raise SandboxError(Cause.SANDBOX_LIMIT, "no room")
        self.opened.append(await self._local.open(spec))
        return self.opened[-1]


class Ground:
    """Runs trials on one loop and one local backend."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._local = LocalBackend()
        self.run(self._local.start())
        self.sandboxes = Sandboxes(self._local)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def close(self) -> None:
        self.run(self._local.stop())
        self._runner.close()

    def trial(
        self,
        script: Script = (),
        agent: Agent = SILENT,
        task: Task | None = None,
        *,
        refused: int = 0,
        retries: int = 1,
        max_cost: float | None = None,
        backoff: float = 0.0,
        during: Callable[[asyncio.Task[TrialOutput], ModelServer], Coroutine[Any, Any, None]] | None = None,
    ) -> TrialOutput:
        """One trial of `task` against a model that follows `script`, while `during` does what it does."""
        self.sandboxes = Sandboxes(self._local)
        self.sandboxes.refused = refused

        async def live(server: ModelServer) -> TrialOutput:
            gateway = make_gateway(["test-model"], server.url)
            await gateway.start()
            try:
                rig = Rig("run", self.sandboxes, agent, gateway, retries, max_cost=max_cost, backoff=backoff)
                trial = Trial("hello-1", "hello", task or make_task(checks=CHECKS), "test-model")
                running = asyncio.ensure_future(run_trial(trial, rig))
                if during is not None:
                    await during(running, server)
                return await running
            finally:
                await gateway.stop()

        with ModelServer(script) as server:
            output: TrialOutput = self.run(live(server))
            return output

    def result(self, *args: Any, **options: Any) -> TrialResult:
        return self.trial(*args, **options).result

    def all_closed(self) -> bool:
        """Whether every sandbox is of no use any more."""

        async def is_closed(sandbox: LocalSandbox) -> bool:
            try:
                await sandbox.exec(["true"], timeout=5)
            except SandboxError:
                return True
            return False

        return all(self.run(is_closed(sandbox)) for sandbox in self.sandboxes.opened)


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    ground = Ground()
    yield ground
    ground.close()


def by_attempt(*attempts: Sequence[Reply]) -> Script:
    """Replies by attempt and turn: an attempt begins with a request without answers in its history."""
    begun = 0

    def reply_to(request: dict[str, Any], headers: Mapping[str, str]) -> Reply:
        nonlocal begun
        turn: int = sum(message["role"] == "assistant" for message in request["messages"])
        begun += turn == 0
        return attempts[begun - 1][turn]

    return reply_to


def test_a_trial_that_passes_is_tried_once(ground: Ground) -> None:
    output = ground.trial([RIGHT, DONE])
    result = output.result
    assert (result.status, result.attempts, result.turns) == (Status.PASSED, (), 2)
    assert result.usage == Usage(20, 0, 10, unpriced=2)
    assert result.changed == {"hello.txt": "added"}
    assert b"+hello" in output.artifacts["changes.diff"]
    assert 0 < result.phases.open + result.phases.agent + result.phases.checks <= result.phases.total
    assert len(ground.sandboxes.opened) == 1
    assert ground.all_closed()


def test_a_trial_that_has_spent_all_that_it_may_has_failed(ground: Ground) -> None:
    result = ground.result([DEAR_LOOK, DONE], max_cost=0.25)
    assert (result.status, result.cause) == (Status.FAILED, Cause.BUDGET)
    assert result.message == "the trial's budget ran out"
    assert result.usage.cost == 0.25


def test_all_attempts_together_have_one_budget(ground: Ground) -> None:
    broken: list[Reply] = [DEAR_LOOK, HttpStatus(500)]
    result = ground.result(by_attempt(broken, [DEAR_LOOK, RIGHT, DONE]), max_cost=0.5)
    assert (result.status, result.cause, len(result.attempts)) == (Status.FAILED, Cause.BUDGET, 1)
    assert result.usage.cost == 0.5


def test_a_trial_that_has_spent_all_is_not_tried_again(ground: Ground) -> None:
    result = ground.result(by_attempt([DEAR_LOOK, HttpStatus(500)], [RIGHT, DONE]), max_cost=0.25)
    assert (result.status, result.attempts) == (Status.FAILED, ())


def test_wrong_work_is_not_tried_again(ground: Ground) -> None:
    result = ground.result([DONE])
    assert (result.status, result.cause, result.attempts) == (Status.FAILED, Cause.CHECKS_FAILED, ())


def test_an_error_of_the_provider_is_tried_again_in_a_fresh_sandbox(ground: Ground) -> None:
    task = make_task(checks=(*CHECKS, FileCheck(file="seen.txt", equals="seen.txt")))
    result = ground.result(by_attempt([RIGHT, HttpStatus(500)], [LOOK, RIGHT, DONE]), task=task)
    first, second = ground.sandboxes.opened
    assert first is not second
    assert [attempt.cause for attempt in result.attempts] == [Cause.PROVIDER_ERROR]
    assert result.attempts[0].message == "HTTP 500: scripted status 500"
    assert result.attempts[0].duration > 0
    assert result.status is Status.PASSED
    assert ground.all_closed()


def test_what_all_attempts_cost_is_counted(ground: Ground) -> None:
    failing: list[Reply] = [LOOK, HttpStatus(500)]
    result = ground.result(by_attempt(failing, failing, failing), retries=2)
    assert (result.status, result.cause) == (Status.ERROR, Cause.PROVIDER_ERROR)
    assert [attempt.usage for attempt in result.attempts] == [Usage(10, 0, 5, unpriced=1)] * 2
    assert result.usage == Usage(30, 0, 15, unpriced=3)
    assert len(result.calls) == 2
    assert len(ground.sandboxes.opened) == 3
    assert ground.all_closed()


def test_retries_can_be_switched_off(ground: Ground) -> None:
    result = ground.result([HttpStatus(500)], retries=0)
    assert (result.status, result.attempts) == (Status.ERROR, ())


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (HttpStatus(401), Cause.AUTH),
        (HttpStatus(404), Cause.MODEL_NOT_FOUND),
        (HttpStatus(422), Cause.BAD_REQUEST),
    ],
)
def test_what_comes_out_the_same_is_not_tried_again(ground: Ground, reply: Reply, cause: Cause) -> None:
    result = ground.result([reply])
    assert cause in NEVER_RETRIED
    assert (result.status, result.cause, result.attempts) == (Status.ERROR, cause, ())


def test_a_check_that_cannot_be_run_is_not_tried_again(ground: Ground) -> None:
    result = ground.result([RIGHT, DONE], task=make_task(checks=(RunCheck(run="goat-no-such-command"),)))
    assert (result.status, result.cause, result.attempts) == (Status.ERROR, Cause.CHECK_ERROR, ())


@pytest.mark.parametrize(
    ("refused", "status", "attempts"),
    [(1, Status.PASSED, 1), (3, Status.PASSED, 3), (4, Status.ERROR, 3)],
)
def test_before_the_first_model_call_trying_again_is_free(
    ground: Ground, refused: int, status: Status, attempts: int
) -> None:
    result = ground.result([RIGHT, DONE], refused=refused, retries=0)
    assert result.status is status
    assert [attempt.cause for attempt in result.attempts] == [Cause.SANDBOX_LIMIT] * attempts
    assert ground.sandboxes.asked == attempts + 1
    assert ground.all_closed()


def test_free_and_paid_retries_are_counted_apart(ground: Ground) -> None:
    result = ground.result(by_attempt([HttpStatus(500)], [RIGHT, DONE]), refused=3, retries=1)
    assert result.status is Status.PASSED
    assert [attempt.cause for attempt in result.attempts] == [
        *[Cause.SANDBOX_LIMIT] * 3,
        Cause.PROVIDER_ERROR,
    ]


def test_the_pause_doubles_with_each_try(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float) -> None:
        if delay:
            pauses.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    ground.result(refused=4, backoff=60)
    assert [60 <= pauses[0] <= 120, 120 <= pauses[1] <= 240, 240 <= pauses[2] <= 480] == [True] * 3
    assert len(pauses) == 3


def test_a_sandbox_that_is_lost_is_replaced(ground: Ground) -> None:
    async def lose(running: asyncio.Task[TrialOutput], server: ModelServer) -> None:
        await asyncio.to_thread(server.wait_for, 1)
        await ground.sandboxes.opened[0].close()

    result = ground.result(by_attempt([Hang()], [RIGHT, DONE]), during=lose)
    assert result.status is Status.PASSED
    assert [attempt.cause for attempt in result.attempts] == [Cause.SANDBOX_LOST]
    assert len(ground.sandboxes.opened) == 2
    assert ground.all_closed()


def test_a_trial_that_is_cancelled_leaves_nothing(ground: Ground) -> None:
    async def cancel(running: asyncio.Task[TrialOutput], server: ModelServer) -> None:
        await asyncio.to_thread(server.wait_for, 1)
        running.cancel()

    with pytest.raises(asyncio.CancelledError):
        ground.trial([Hang()], during=cancel)
    assert len(ground.sandboxes.opened) == 1
    assert ground.all_closed()


class Faulty(Nop):
    """An agent of ours with a bug."""

    def outcome(self, given: AgentInput, result: ExecResult, left: Files) -> AgentOutcome:
        raise ZeroDivisionError("oh")


@pytest.mark.parametrize(
    ("agent", "task", "cause", "message"),
    [
        (Faulty(), make_task(), Cause.INTERNAL, "ZeroDivisionError: oh"),
        (
            Nop(),
            make_task(files={"a.txt": Path("/no/such/file")}),
            Cause.INTERNAL,
            "cannot read /no/such/file: No such file",
        ),
        (
            Adapter(Spec(path=PROGRAM, name="a", argv=("a", "{prompt}"), prompt="argv")),
            make_task(prompt="x" * 200_000),
            Cause.SETUP,
            "the prompt of hello is too long for the command line",
        ),
    ],
)
def test_what_no_other_try_would_mend_is_an_error_and_closes_the_sandbox(
    ground: Ground, agent: Agent, task: Task, cause: Cause, message: str
) -> None:
    result = ground.result(agent=agent, task=task)
    assert (result.status, result.cause, result.attempts) == (Status.ERROR, cause, ())
    assert message in result.message
    assert len(ground.sandboxes.opened) == 1
    assert ground.all_closed()


def test_hidden_files_come_after_the_agent(ground: Ground) -> None:
    task = make_task(
        files={"given.txt": "start here"},
        solution=Solution("ls -A; (sleep 60 &)"),
        checks=(
            OutputCheck(equals="given.txt"),
            RunCheck(run="bash check.sh", files={"check.sh": "! grep -qs sleep /proc/[0-9]*/comm"}),
        ),
    )
    result = ground.result(agent=Oracle(), task=task)
    assert (result.status, result.message) == (Status.PASSED, "")
    assert result.changed == {}
    assert result.calls == ()


def test_a_task_without_checks_passes_unchecked(ground: Ground) -> None:
    result = ground.result(agent=Oracle(), task=make_task(solution=Solution("echo fine")))
    assert (result.status, result.unchecked, result.score) == (Status.PASSED, True, None)
    assert result.answer == "fine\n"


def test_what_the_agent_counted_itself_is_kept_beside(ground: Ground) -> None:
    spec = Spec(
        path=PROGRAM,
        name="teller",
        argv=("echo", '{"answer": "yes", "tokens": 7}'),
        answer=Where(format="json", at="answer"),
        usage=Where(format="json"),
        tokens={"prompt_tokens": "tokens"},
    )
    result = ground.result(agent=Adapter(spec))
    assert (result.status, result.cause, result.answer) == (Status.FAILED, Cause.AGENT_CRASHED, "yes")
    assert result.details["usage"]["prompt_tokens"] == 7
    assert result.usage == Usage()


def test_the_answer_is_bounded(ground: Ground) -> None:
    solution = Solution(f"head -c {2 * ANSWER_MAX} /dev/zero | tr '\\0' x")
    assert len(ground.result(agent=Oracle(), task=make_task(solution=solution)).answer) == ANSWER_MAX
