"""pytest runs that tests start."""

from __future__ import annotations

from importlib.metadata import entry_points

_NEEDED = {"goat", "xdist", "xdist.looponfail"}

OPTIONS = " ".join(f"-p no:{name}" for name in sorted(entry_points(group="pytest11").names - _NEEDED))
"""For PYTEST_ADDOPTS: keeps plugins away that happen to be installed with what the tests need. Their imports
take longer than all the rest of a small run.
"""
