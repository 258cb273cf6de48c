"""The `goat` command: one prompt, a look at results and models, what is missing, and what lives on Modal."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_goat import __version__
from pytest_goat.environ import read_environ
from pytest_goat.errors import UserError
from pytest_goat.settings import Settings, load, options

if TYPE_CHECKING:
    from pytest_goat.store.volume import VolumeStore

RESULTS = Path(".goat", "results")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 1 when a trial did not pass, 4 for a wrong use."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return int(args.command(args))
    except UserError as error:
        print(f"goat: {error}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing may be flushed into the closed pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("goat", description="Agent benchmarks as tests.")
    parser.add_argument("--version", action="version", version=f"pytest-goat {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="give one prompt to an agent in a fresh sandbox")
    run.add_argument("prompt", help="the prompt, or - to read it from stdin")
    run.add_argument("--max-turns", type=int, default=30, help="answers of the model (default 30)")
    run.add_argument("--timeout", type=float, default=300.0, help="seconds for the agent (default 300)")
    _add_settings(
        run, "model", "agent", "api_url", "api_key_env", "backend", "modal_env", "deploy", "models",
        "record", "sandbox", "unsafe_local", "results",
    )  # fmt: skip
    run.set_defaults(command=_run)

    results = commands.add_parser("results", help="look at what came back")
    results.add_argument("run", nargs="?", help="a run's id, its beginning or end, or latest")
    results.add_argument("--full", action="store_true", help="with answers, checks and model calls")
    results.add_argument("--json", action="store_true", help="as one JSON value")
    results.add_argument("--results", metavar="DIR", help="the results folder (default: found upwards)")
    results.add_argument("--modal", action="store_true", help="those in the volume on Modal, not here")
    _add_settings(results, "modal_env")
    results.set_defaults(command=_results)

    models = commands.add_parser("models", help="list the models, and what each still needs")
    _add_settings(models, "models")
    models.set_defaults(command=_models)

    doctor = commands.add_parser("doctor", help="say what is missing, and what mends it")
    _add_settings(
        doctor, "model", "agent", "api_url", "api_key_env", "backend", "modal_env", "models",
        "sandbox", "unsafe_local",
    )  # fmt: skip
    doctor.add_argument("--json", action="store_true", help="as one JSON value")
    doctor.set_defaults(command=_doctor)

    push = commands.add_parser("push", help="send results to Modal that a run could not send itself")
    push.add_argument("run", nargs="*", help="runs, by id, its beginning or end (default: all that need it)")
    push.add_argument("--results", metavar="DIR", help="the results folder (default: found upwards)")
    _add_settings(push, "modal_env")
    push.set_defaults(command=_push)

    cleanup = commands.add_parser("cleanup", help="end sandboxes on Modal that runs have left behind")
    which = cleanup.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="ID", help="only those of this run")
    which.add_argument("--older-than", metavar="AGE", type=_age, help="only of runs as old as 30m, 1h, 2d")
    _add_settings(cleanup, "modal_env")
    cleanup.set_defaults(command=_cleanup)

    teardown = commands.add_parser("teardown", help="stop all that runs on Modal; results and secrets stay")
    _add_settings(teardown, "modal_env")
    teardown.set_defaults(command=_teardown)

    schema = commands.add_parser("schema", help="print the JSON Schema of prompt files, for editors")
    schema.add_argument("--suite", action="store_true", help="that of goat.yaml")
    schema.set_defaults(command=_schema)
    return parser


def _add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options of the plugin's own table, without their prefix."""
    for row in options():
        if row.name in names:
            about = row.metadata
            kind = (
                {"action": "store_const", "const": "true"} if about["flag"] else {"metavar": about["metavar"]}
            )
            name = "--" + row.name.replace("_", "-")
            parser.add_argument(name, dest=f"goat_{row.name}", help=about["help"].replace("\n", " "), **kind)


def _run(args: argparse.Namespace) -> int:
    from pytest_goat.single import run_prompt

    prompt = sys.stdin.read() if args.prompt == "-" else args.prompt
    if not prompt.strip():
        raise UserError("the prompt is empty")
    if args.max_turns < 1 or not 0 < args.timeout < math.inf:
        raise UserError("--max-turns must be at least 1, --timeout a number of seconds above 0")
    print_to = sys.stdout.write
    with tempfile.TemporaryDirectory(prefix="goat-") as scratch:
        passed = run_prompt(prompt, _settings(args), args.max_turns, args.timeout, Path(scratch), print_to)
    return 0 if passed else 1


def _results(args: argparse.Namespace) -> int:
    from pytest_goat.report.listing import run_json, run_text, runs_text
    from pytest_goat.report.summary import summary_of
    from pytest_goat.store.encode import json_text
    from pytest_goat.store.reading import find_run, find_runs

    folder, volume = _stores(args)
    width = shutil.get_terminal_size().columns
    if args.run is None:
        store = find_runs(folder, volume)
        stored = [store.glance(run_id) for run_id in store.runs()]
        rows = [(run.record, summary_of(run)) for run in stored]
        if args.json:
            print(json_text([{"run": r.to_json(), "summary": s.to_json()} for r, s in rows]))
        else:
            print(runs_text(rows, width) if rows else "no runs yet: `pytest benchmarks` makes one\n", end="")
        return 0
    store, run_id = find_run(args.run, folder, volume)
    run = store.load(run_id)
    if args.json:
        print(run_json(run, summary_of(run)))
    else:
        print(run_text(run, summary_of(run), path=store.place(run_id), full=args.full, width=width), end="")
    return 0


def _stores(args: argparse.Namespace) -> tuple[Path | None, VolumeStore | None]:
    """The folder and the volume to look for runs in; None for what is not meant, or not there."""
    from pytest_goat.cloud.client import configured
    from pytest_goat.store.volume import VolumeStore

    volume = None
    if args.modal or (configured() and not args.results):
        volume = VolumeStore(_settings(args).modal_env)
    return (None if args.modal else _results_folder(args)), volume


def _results_folder(args: argparse.Namespace) -> Path | None:
    """The results that `--results` names, or those of the project that we are in."""
    if args.results:
        return Path(args.results)
    here = Path.cwd()
    return next((above / RESULTS for above in (here, *here.parents) if (above / RESULTS).is_dir()), None)


def _models(args: argparse.Namespace) -> int:
    from pytest_goat.models import load_models, models_text

    own = _settings(args).models
    table = load_models(Path(own) if own else None)
    print(models_text(table, read_environ(Path.cwd()), date.today()))
    return 0


def _push(args: argparse.Namespace) -> int:
    from pytest_goat.store.folder import FolderStore
    from pytest_goat.store.push import push
    from pytest_goat.store.reading import NO_FOLDER

    folder = _results_folder(args)
    if folder is None:
        raise UserError(NO_FOLDER)
    push(FolderStore(folder), args.run, _settings(args).modal_env, print)
    return 0


def _cleanup(args: argparse.Namespace) -> int:
    import asyncio

    from pytest_goat.sandbox.modal.ledger import cleanup

    ended = asyncio.run(cleanup(_settings(args).modal_env, args.run, args.older_than))
    for sandbox in ended:
        print(f"ended {sandbox.id}: {sandbox.trial} of run {sandbox.run}")
    print(f"{len(ended)} sandboxes ended" if ended else "no sandbox is left")
    return 0


def _teardown(args: argparse.Namespace) -> int:
    from pytest_goat.deploy.teardown import teardown

    teardown(_settings(args).modal_env, print)
    return 0


def _age(text: str) -> float:
    """Seconds of `90s`, `30m`, `1h` or `2d`."""
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: write 30m, 1h or 2d")
    return int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def _doctor(args: argparse.Namespace) -> int:
    from pytest_goat.doctor import State, examine, finding_text

    def say(words: str) -> None:
        print(words, file=sys.stderr)

    found = []
    with tempfile.TemporaryDirectory(prefix="goat-") as scratch:
        for finding in examine(_settings(args), Path(scratch), say):
            found.append(finding)
            if not args.json:
                print(finding_text(finding), flush=True)
    if args.json:
        print(json.dumps([dataclasses.asdict(finding) for finding in found], indent=2))
    return 1 if any(finding.state is State.MISSING for finding in found) else 0


def _settings(args: argparse.Namespace) -> Settings:
    """Those of the command line and the environment; there is no ini file here."""
    return load(lambda key: getattr(args, key, None), lambda key: None, os.environ)


def _schema(args: argparse.Namespace) -> int:
    from pytest_goat.collect import json_schema, suite_schema

    print(json.dumps(suite_schema() if args.suite else json_schema(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
