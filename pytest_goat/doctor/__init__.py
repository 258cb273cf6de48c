"""What is there and what is missing of all that a run needs, part by part: `goat doctor`."""

from __future__ import annotations

from pytest_goat.doctor.examine import examine
from pytest_goat.doctor.finding import Finding, State, finding_text

__all__ = ["Finding", "State", "examine", "finding_text"]
