"""The work of `bench.trial_cost`, done by Inspect AI; runs in the virtual environment that has it.

    python inspect_trials.py COUNT PARALLEL FOLDER WORK PROOF       PARALLEL 0: Inspect's own default

A sample has one sandbox, one agent process, one check process, and its record in a log; no model is called.
"""

# mypy: ignore-errors
# Inspect AI is never installed where mypy runs.

from __future__ import annotations

import sys

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, accuracy, scorer
from inspect_ai.solver import solver
from inspect_ai.util import sandbox


@solver
def agent(line):
    async def solve(state, generate):
        await sandbox().exec(["bash", "-c", line])
        return state

    return solve


@scorer(metrics=[accuracy()])
def check(line):
    async def score(state, target):
        done = await sandbox().exec(["bash", "-c", line])
        return Score(value=float(done.success))

    return score


def main() -> None:
    count, parallel, folder, work, proof = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
    task = Task(
        dataset=MemoryDataset([Sample(input=f"task {n}", id=f"task-{n}") for n in range(count)]),
        solver=agent(work),
        scorer=check(proof),
        sandbox="local",
    )
    [log] = eval(task, model="mockllm/model", display="none", log_dir=folder, max_samples=parallel or None)
    right = log.results.scores[0].metrics["accuracy"].value if log.status == "success" else 0.0
    if len(log.samples or []) != count or right != 1.0:
        sys.exit(f"{log.status}: {len(log.samples or [])} of {count} samples, accuracy {right}")


if __name__ == "__main__":
    main()
