"""From results to the summary of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from statistics import fmean

from pytest_goat.gateway.base import Usage
from pytest_goat.result import GateVerdict, Group, RunSummary, Status, TrialResult
from pytest_goat.stats import pass_at_k, pass_hat_k, wilson
from pytest_goat.store.folder import StoredRun


def summarize(
    results: Sequence[TrialResult],
    *,
    run_id: str = "",
    gates: Iterable[GateVerdict] = (),
    duration: float | None = None,
) -> RunSummary:
    """The figures of a run, whatever the order of its results.

    `duration`: seconds by the clock on the wall; None: from the start of the first trial to the end of the
    last one.
    """
    groups: dict[tuple[str, str, str], list[TrialResult]] = defaultdict(list)
    for result in results:
        groups[result.suite, result.model, result.variant].append(result)
    causes = Counter(r.cause.value for r in results if r.status is Status.ERROR and r.cause)
    return RunSummary(
        run_id=run_id,
        totals=_figures(results),
        groups=tuple(_figures(groups[key], *key) for key in sorted(groups)),
        causes=dict(sorted(causes.items())),
        gates=tuple(gates),
        duration=_span(results) if duration is None else duration,
    )


def summary_of(stored: StoredRun) -> RunSummary:
    """The summary of a stored run; made from its trials when it was killed before it wrote one."""
    return stored.summary or summarize(stored.results, run_id=stored.record.run_id)


def _figures(results: Sequence[TrialResult], suite: str = "", model: str = "", variant: str = "") -> Group:
    status = Counter(result.status for result in results)
    passed, counted = status[Status.PASSED], status[Status.PASSED] + status[Status.FAILED]
    k, at_k, hat_k = _repeats(results)
    return Group(
        suite=suite,
        model=model,
        variant=variant,
        trials=len(results),
        passed=passed,
        failed=status[Status.FAILED],
        errors=status[Status.ERROR],
        skipped=status[Status.SKIPPED],
        unchecked=sum(r.unchecked and r.status is Status.PASSED for r in results),
        pass_rate=passed / counted if counted else None,
        interval=wilson(passed, counted),
        usage=sum((r.usage for r in results), Usage()),
        seconds=sum(r.phases.total for r in results),
        k=k,
        pass_at_k=at_k,
        pass_hat_k=hat_k,
    )


def _repeats(results: Sequence[TrialResult]) -> tuple[int, float | None, float | None]:
    """k, pass@k and pass^k over the tasks with k trials that counted; (1, None, None) without repeats."""
    outcomes: dict[tuple[str, ...], list[bool]] = defaultdict(list)
    for r in results:
        if r.status in (Status.PASSED, Status.FAILED):
            outcomes[r.suite, r.source, r.task_id, r.model, r.variant].append(r.status is Status.PASSED)
    k = max((len(tried) for tried in outcomes.values()), default=1)
    if k == 1:
        return 1, None, None
    full = [sum(tried) for tried in outcomes.values() if len(tried) == k]
    return k, fmean(pass_at_k(k, c, k) for c in full), fmean(pass_hat_k(k, c, k) for c in full)


def _span(results: Sequence[TrialResult]) -> float:
    starts = [(datetime.fromisoformat(r.started), r.phases.total) for r in results if r.started]
    if not starts:
        return 0.0
    first = min(start for start, _ in starts)
    return max((start - first).total_seconds() + total for start, total in starts)
