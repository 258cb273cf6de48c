"""One prompt, without pytest: what `goat run` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_goat.checks import describe_failure
from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.record import begun, ended
from pytest_goat.redact import Redactor
from pytest_goat.report.failure import failure_text, usage_line
from pytest_goat.report.summary import summarize
from pytest_goat.report.text import clean
from pytest_goat.result import Status, TrialResult
from pytest_goat.rig import Ground, make_rig, preflight, retirements, secrets
from pytest_goat.run_id import new_run_id
from pytest_goat.scheduler import Scheduler
from pytest_goat.settings import Settings
from pytest_goat.store.folder import FolderStore
from pytest_goat.task import Limits, Source, Task, Trial
from pytest_goat.tracing import Tracing
from pytest_goat.trial import TrialOutput


def run_prompt(
    prompt: str,
    settings: Settings,
    max_turns: int,
    timeout: float,
    scratch: Path,
    write: Callable[[str], object],
) -> bool:
    """Give `prompt` to the agent in an empty workspace, store the result, and write what came of it.

    `timeout` in seconds. Returns whether the agent completed. Raises `UserError`.
    """
    if not settings.model:
        raise UserError("which model? Name one: goat run PROMPT --model gpt-5-mini")
    task = Task("prompt", prompt, Source(Path("goat-run")), limits=Limits(max_turns, timeout))
    trial = Trial("prompt", f"goat run [{settings.model[0]}]", task, settings.labels[0])
    environ, run_id = read_environ(Path.cwd()), new_run_id()
    redactor = Redactor(secrets(settings, environ))
    store = FolderStore(Path(settings.results), redactor)
    folder = store.prepare(run_id)
    ground = Ground(settings, run_id, environ, scratch, folder.path, say=lambda words: write(f"{words}\n"))
    rig = make_rig(ground)
    for notice in retirements(ground):
        ground.say(notice)
    tracing = Tracing(environ, run_id, redactor)

    def keep(output: TrialOutput) -> TrialResult:
        result = tracing.link(output.result)
        folder.write_trial(result, output.artifacts)
        tracing.send(result, trial)
        return result

    scheduler = Scheduler(rig, 1, keep)
    try:
        scheduler.start()
        scheduler.call(preflight(rig, settings, [trial], asked=False))
        record = begun(rig.run_id, settings, Path.cwd(), rig)
        store.open_run(record)
        result = scheduler.submit(trial).result()
    finally:
        scheduler.stop()
        if rig.backend.left:
            write(f"{rig.backend.left}\n")
    folder.write_summary(summarize([result], run_id=rig.run_id))
    folder.write_record(ended(record))
    if warning := tracing.close():
        write(f"{warning}\n")
    if result.status is Status.PASSED:
        changed = "".join(f"{kind}: {path}\n" for path, kind in result.changed.items())
        write(redactor.text(f"{clean(result.answer).rstrip()}\n\n{changed}{usage_line(result)}\n"))
    else:
        text = failure_text(result, checks=describe_failure(result.checks), record_path=str(folder.path))
        write(redactor.text(text) + "\n")
    return result.status is Status.PASSED
