"""Measure the budgets and print one table.

    python -m bench [NAME...] [--quick] [--json FILE]

Exit code 1 when a budget is not met.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import (
    collect_cost,
    first_trial,
    litellm_cost,
    modal_load,
    plugin_cost,
    proxy_cost,
    trial_cost,
    worker_speedup,
)
from bench.base import Options, Row, table

MEASUREMENTS: dict[str, Callable[[Options], Iterator[Row]]] = {
    "plugin": plugin_cost.measure,
    "collect": collect_cost.measure,
    "trial": trial_cost.measure,
    "start": first_trial.measure,
    "workers": worker_speedup.measure,
    "proxy": proxy_cost.measure,
    "litellm": litellm_cost.measure,
    "modal": modal_load.measure,
}


def main() -> int:
    given = _arguments()
    options = Options(quick=given.quick)
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load before": round(os.getloadavg()[0], 1),
        "quick": options.quick,
    }
    rows: list[Row] = []
    try:
        for name in given.names or MEASUREMENTS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            for row in MEASUREMENTS[name](options):
                print("  " + "   ".join(row.cells()), file=sys.stderr, flush=True)
                rows.append(row)
    finally:
        # Whatever ends it, what has been measured took minutes.
        print(f"{table(rows)}\n\n{', '.join(f'{key}: {value}' for key, value in machine.items())}")
        if given.json:
            records = [dataclasses.asdict(row) | {"met": row.met} for row in rows]
            given.json.write_text(json.dumps({"machine": machine, "rows": records}, indent=2) + "\n")
    return int(any(row.met is False for row in rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the budgets.")
    names = ", ".join(MEASUREMENTS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {names} (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in MEASUREMENTS]:
        parser.error(f"no measurement {unknown[0]!r}; there are {names}")
    return given


if __name__ == "__main__":
    sys.exit(main())
