"""Checks: the scored conditions on the outcome of a trial."""

from pytest_goat.checks.describe import describe_failure
from pytest_goat.checks.engine import run_checks, score

__all__ = ["describe_failure", "run_checks", "score"]
