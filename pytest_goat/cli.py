"""The `goat` command: one prompt, a look at results, what is missing, the schema of prompt files."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_goat import __version__
from pytest_goat.errors import UserError
from pytest_goat.settings import Settings, load, options

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
    _add_settings(run, "model", "agent", "api_url", "api_key_env", "sandbox", "unsafe_local", "results")
    run.set_defaults(command=_run)

    results = commands.add_parser("results", help="look at what came back")
    results.add_argument("run", nargs="?", help="a run's id, its beginning or end, or latest")
    results.add_argument("--full", action="store_true", help="with answers, checks and model calls")
    results.add_argument("--json", action="store_true", help="as one JSON value")
    results.add_argument("--results", metavar="DIR", help="the results folder (default: found upwards)")
    results.set_defaults(command=_results)

    doctor = commands.add_parser("doctor", help="say what is missing, and what mends it")
    _add_settings(doctor, "model", "agent", "api_url", "api_key_env", "sandbox", "unsafe_local")
    doctor.set_defaults(command=_doctor)

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
    from pytest_goat.store.folder import FolderStore

    store = FolderStore(Path(args.results) if args.results else _find_results(Path.cwd()))
    width = shutil.get_terminal_size().columns
    if args.run is None:
        stored = [store.glance(run_id) for run_id in store.runs()]
        rows = [(run.record, summary_of(run)) for run in stored]
        if args.json:
            print(json_text([{"run": r.to_json(), "summary": s.to_json()} for r, s in rows]))
        else:
            print(runs_text(rows, width) if rows else f"no runs in {store.root} yet", end="")
        return 0
    run_id = store.resolve(args.run)
    run = store.load(run_id)
    if args.json:
        print(run_json(run, summary_of(run)))
    else:
        path = os.path.relpath(store.run(run_id).path)
        print(run_text(run, summary_of(run), path=path, full=args.full, width=width), end="")
    return 0


def _find_results(folder: Path) -> Path:
    """The results of the project that `folder` is in."""
    for above in (folder, *folder.parents):
        if (above / RESULTS).is_dir():
            return above / RESULTS
    raise UserError(f"no {RESULTS} here or above: `pytest benchmarks` makes one, --results names another")


def _doctor(args: argparse.Namespace) -> int:
    from pytest_goat.doctor import examine

    well = True
    with tempfile.TemporaryDirectory(prefix="goat-") as scratch:
        for finding in examine(_settings(args), Path(scratch)):
            print(f"{'ok' if finding.ok else 'MISSING':8}{finding.part:9}{finding.words}")
            well = well and finding.ok
    return 0 if well else 1


def _settings(args: argparse.Namespace) -> Settings:
    """Those of the command line and the environment; there is no ini file here."""
    return load(lambda key: getattr(args, key, None), lambda key: None, os.environ)


def _schema(args: argparse.Namespace) -> int:
    from pytest_goat.collect import json_schema, suite_schema

    print(json.dumps(suite_schema() if args.suite else json_schema(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
