"""One prompt, without pytest: what `goat run` does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from pytest_goat.checks import describe_failure
from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.record import begun, ended
from pytest_goat.recorder import Recorder
from pytest_goat.redact import Redactor
from pytest_goat.report.failure import failure_text, usage_line
from pytest_goat.report.summary import summarize
from pytest_goat.report.text import clean
from pytest_goat.result import Status, TrialResult
from pytest_goat.rig import Ground, make_rig, preflight, retirements, secrets
from pytest_goat.run_id import new_run_id
from pytest_goat.scheduler import Scheduler
from pytest_goat.settings import Settings
from pytest_goat.store.folder import FolderStore, RunFolder
from pytest_goat.task import Limits, Source, Task, Trial
from pytest_goat.tracing import Tracing
from pytest_goat.trial import Rig, TrialOutput


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
    settings = dataclasses.replace(settings, model=settings.model[:1])
    task = Task("prompt", prompt, Source(Path("goat-run")), limits=Limits(max_turns, timeout))
    trial = Trial("prompt", f"goat run [{settings.model[0]}]", task, settings.labels[0])
    environ, run_id = read_environ(Path.cwd()), new_run_id()
    redactor = Redactor(secrets(settings, environ))
    store = FolderStore(Path(settings.results), redactor)
    folder = store.prepare(run_id)
    ground = Ground(settings, run_id, environ, scratch, folder.path, say=lambda words: write(f"{words}\n"))
    tracing = Tracing(environ, run_id, redactor)
    recorder = Recorder(settings, run_id, redactor) if settings.record else None
    if recorder is not None:
        recorder.check([trial])

    def keep(output: TrialOutput) -> TrialResult:
        result = tracing.link(output.result)
        folder.write_trial(result, output.artifacts)
        if recorder is not None:
            recorder.keep(output)
        tracing.send(result, trial)
        return result

    rig = make_rig(ground)
    for notice in retirements(ground):
        ground.say(notice)
    result = _run(trial, rig, ground, store, keep)
    if recorder is not None and result.status is not Status.ERROR:
        ground.say(recorder.warning or f"recorded: {settings.record} (--model replay:{settings.record})")
    for warning in filter(None, (tracing.close(), _send(rig, folder, settings))):
        ground.say(warning)
    write(redactor.text(_outcome(result, folder)))
    return result.status is Status.PASSED


def _run(
    trial: Trial, rig: Rig, ground: Ground, store: FolderStore, keep: Callable[[TrialOutput], TrialResult]
) -> TrialResult:
    """Execute the trial, and write what a run consists of. Raises `UserError` when something is not there."""
    scheduler = Scheduler(rig, 1, keep)
    try:
        scheduler.start()
        scheduler.call(preflight(rig, ground.settings, [trial], asked=False))
        record = begun(rig.run_id, ground.settings, Path.cwd(), rig)
        folder = store.open_run(record)
        result = scheduler.submit(trial).result()
    finally:
        scheduler.stop()
        if rig.backend.left:
            ground.say(rig.backend.left)
    folder.write_summary(summarize([result], run_id=rig.run_id))
    folder.write_record(ended(record))
    return result


def _send(rig: Rig, folder: RunFolder, settings: Settings) -> str:
    """Send a run that was on Modal to the volume, as any such run; what to tell the user if that fails."""
    if rig.backend.name != "modal":
        return ""
    from pytest_goat.store.upload import Uploader

    uploader = Uploader(folder.path, settings.modal_env)
    uploader.start()
    return uploader.finish().warning


def _outcome(result: TrialResult, folder: RunFolder) -> str:
    if result.status is not Status.PASSED:
        checks = describe_failure(result.checks)
        return failure_text(result, checks=checks, record_path=str(folder.path)) + "\n"
    changed = "".join(f"{kind}: {path}\n" for path, kind in result.changed.items())
    return f"{clean(result.answer).rstrip()}\n\n{changed}{usage_line(result)}\n"
