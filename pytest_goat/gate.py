"""From results to gate verdicts, and from verdicts to the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pytest_goat.result import GateVerdict, Status, TrialResult, Verdict
from pytest_goat.stats import wilson
from pytest_goat.task import GateRule, Suite

EXIT_HOLDS = 0
EXIT_BROKEN = 1
EXIT_UNDECIDED = 6
"""pytest itself uses 0 to 5."""

CONFIDENCE = 0.95
"""Of the interval that is shown when the rule asks for none."""


@dataclass(frozen=True, slots=True)
class Gate:
    """A rule, and the results that it looks at."""

    name: str
    """What the report calls it: the option, or the suite."""
    rule: GateRule
    suite: str | None = None
    """The tasks at and below this suite; None: all."""

    @classmethod
    def of_suite(cls, suite: Suite) -> Gate | None:
        """A suite's own gate; None when it has none."""
        return cls(suite.name, suite.gate, suite.name) if suite.gate else None

    def covers(self, result: TrialResult) -> bool:
        if self.suite is None:
            return True
        if self.suite == ".":
            return result.suite != ""
        return result.suite == self.suite or result.suite.startswith(self.suite + "/")


def evaluate(results: Sequence[TrialResult], gates: Iterable[Gate]) -> list[GateVerdict]:
    """Decide each gate over the results that it covers, all models and variants together."""
    return [_decide(gate, [r for r in results if gate.covers(r)]) for gate in gates]


def ungated(results: Iterable[TrialResult], gates: Iterable[Gate]) -> list[TrialResult]:
    """The failures and errors that no gate speaks for; each of them fails the run, as in plain pytest.

    A gate speaks for errors always, for failures when it has a pass rate.
    """
    rules = list(gates)
    return [
        r
        for r in results
        if (
            r.status is Status.FAILED and not any(g.rule.pass_rate is not None and g.covers(r) for g in rules)
        )
        or (r.status is Status.ERROR and not any(g.covers(r) for g in rules))
    ]


def exit_code(verdicts: Iterable[GateVerdict], *, ungated_failures: bool, other_failures: bool) -> int:
    """0 when every gate holds and nothing outside them failed, 1 when not, 6 when one cannot be decided.

    `ungated_failures`: `ungated` found some; `other_failures`: an ordinary test failed.
    """
    found = {verdict.verdict for verdict in verdicts}
    if ungated_failures or other_failures or found & {Verdict.BROKEN, Verdict.ERRORS}:
        return EXIT_BROKEN
    return EXIT_UNDECIDED if Verdict.UNDECIDED in found else EXIT_HOLDS


def _decide(gate: Gate, results: Sequence[TrialResult]) -> GateVerdict:
    rule = gate.rule
    passed = sum(r.status is Status.PASSED for r in results)
    counted = passed + sum(r.status is Status.FAILED for r in results)
    errors = sum(r.status is Status.ERROR for r in results)
    rate = passed / counted if counted else None
    interval = wilson(passed, counted, rule.confidence or CONFIDENCE)
    if errors > rule.max_errors:
        verdict = Verdict.ERRORS
        words = f"{_count(errors, 'infrastructure error')}, {rule.max_errors} tolerated"
    elif rate is None:
        verdict, words = Verdict.BROKEN, _nothing(results, errors)
    else:
        verdict = _compare(rule, rate, interval)
        words = _figures(rule, passed, counted, interval)
        if verdict is Verdict.UNDECIDED:
            words += "; try more --goat-epochs"
        if errors:
            words += f"; {_count(errors, 'error')} tolerated"
    return GateVerdict(gate.name, rule, verdict, words, passed, counted, errors, rate, interval)


def _compare(rule: GateRule, rate: float, interval: tuple[float, float]) -> Verdict:
    if rule.pass_rate is None:
        return Verdict.HOLDS
    if rule.confidence is None:
        return Verdict.HOLDS if rate >= rule.pass_rate else Verdict.BROKEN
    lower, upper = interval
    if lower >= rule.pass_rate:
        return Verdict.HOLDS
    return Verdict.BROKEN if upper < rule.pass_rate else Verdict.UNDECIDED


def _figures(rule: GateRule, passed: int, counted: int, interval: tuple[float, float]) -> str:
    lower, upper = (f"{bound * 100:.1f}" for bound in interval)
    level = f"{(rule.confidence or CONFIDENCE) * 100:g}%"
    words = f"{passed / counted * 100:.1f}% of {counted} ({level}: {lower}-{upper})"
    return words if rule.pass_rate is None else f"{words}, needs {rule.pass_rate * 100:g}%"


def _nothing(results: Sequence[TrialResult], errors: int) -> str:
    if not results:
        return "no trial ended, so nothing is known"
    skipped = len(results) - errors
    return f"no trial counts ({_count(errors, 'error')}, {skipped} skipped), so nothing is known"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
