"""Did pytest really run the hidden tests? Its exit code alone does not say so.

The work under test is imported into the process that tests it. A module that calls `os._exit(0)`, raises
pytest's own `Skipped` from every function, or patches pytest, makes it end with exit code 0 though no test
passed. So a check whose line runs pytest must also leave a JUnit report, at a path that the agent could not
know, in which

* every test that the hidden files define has run and passed; a skip counts only where the hidden file itself
  speaks of skipping;
* the probe that was added to each hidden file, a test that must fail, has failed as expected.

This is evidence, not proof: code inside the process can, with effort, write any report. A check that has to
withstand that runs the work in a process of its own (`subprocess.run([sys.executable, "work.py"], ...)`).
"""

from __future__ import annotations

import ast
import contextlib
import posixpath
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_goat.checks.report import BadReport, Case, read_report
from pytest_goat.checks.shell import PytestCall
from pytest_goat.sandbox.base import File, Files

MAX_REPORT = 16 * 1024 * 1024
"""Bytes of a report that are read."""
NO_REPORT = "pytest wrote no report: the work under test ended the process before the tests were through"
NONE_PASSED = "pytest's report shows no test that passed"
TAMPERED = "pytest has been tampered with: a test that must fail was let pass"

PROBE = """

@__import__("pytest").mark.xfail(strict=True)
def {name}():
    raise AssertionError("shows that failures are seen")
"""
MARKS = ("skip", "xfail")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class HiddenTest:
    """A test that a hidden file defines."""

    path: str
    names: tuple[str, ...]
    """Class, if any, and function."""
    may_skip: bool
    """It, or its module, speaks of skipping or of an expected failure."""

    def __str__(self) -> str:
        return "::".join([self.path, *self.names])

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    @property
    def dotted(self) -> str:
        return ".".join([self.module, *self.names])


@dataclass(frozen=True, slots=True)
class Report:
    """What pytest told of a run."""

    cases: list[Case] = field(default_factory=list)
    """The tests that ran, probes apart."""
    doubts: list[str] = field(default_factory=list)
    """What speaks against their having run and passed as the hidden files say, in words."""

    @property
    def failed(self) -> list[Case]:
        return [case for case in self.cases if case.outcome == "failed"]

    @property
    def tampered(self) -> bool:
        return TAMPERED in self.doubts


class Evidence:
    """What one run of pytest has to bring."""

    def __init__(self, call: PytestCall, hidden: Files) -> None:
        secret = secrets.token_hex(8)
        self.report_path = f"report-{secret}.xml"
        """Below the sandbox's `outdir`."""
        self._probe = f"test_{secret}"
        self.files = with_probes(hidden, self._probe) if call.may_probe else hidden
        """The hidden files as they are to be put."""
        given = {path: file for path, file in self.files.items() if call.names(path)} or self.files
        self._expected = [] if call.selects else hidden_tests(given)

    def environment(self, outdir: str) -> dict[str, str]:
        path = shlex.quote(f"{outdir}/{self.report_path}")
        return {"PYTEST_ADDOPTS": f"--junitxml={path} -o junit_logging=no"}

    def read(self, report: File | None) -> Report:
        """Judge the report; None: there is none."""
        if report is None:
            return Report(doubts=[NO_REPORT])
        try:
            cases = read_report(report.data)
        except BadReport as error:
            return Report(doubts=[str(error)])
        ordinary = [case for case in cases if not self._is_probe(case)]
        if any(self._is_probe(case) and case.outcome != "skipped" for case in cases):
            return Report(ordinary, [TAMPERED])
        if not any(case.outcome == "passed" for case in ordinary):
            return Report(ordinary, [NONE_PASSED])
        return Report(ordinary, [doubt for test in self._expected if (doubt := self._doubt(test, cases))])

    def _doubt(self, test: HiddenTest, cases: list[Case]) -> str:
        outcomes = {case.outcome for case in cases if _means(case, test.dotted)}
        if not outcomes:
            module_skipped = any(case.outcome == "skipped" and _means(case, test.module) for case in cases)
            if module_skipped and test.may_skip:
                return ""
            return TAMPERED if self._probe in test.names else f"{test} did not run"
        if "skipped" in outcomes and not test.may_skip:
            return f"{test} was skipped by the work under test"
        return ""

    def _is_probe(self, case: Case) -> bool:
        return case.dotted.endswith(f".{self._probe}")


def hidden_tests(files: Files) -> list[HiddenTest]:
    """The tests that pytest, with its default names, finds in `files`."""
    return [test for path in sorted(files) for test in _tests_of(path, _body(path, files[path]))]


def with_probes(files: Files, name: str) -> dict[str, File]:
    """`files` with a test called `name` at the end of those that have tests.

    A file that marks all its tests at once is left alone: the marks would fall on the probe too.
    """
    probe = PROBE.format(name=name).encode()
    return {
        path: File(file.data + probe, file.executable) if _takes_probe(path, file) else file
        for path, file in files.items()
    }


def _takes_probe(path: str, file: File) -> bool:
    body = _body(path, file)
    marked = any(_mentions(node, ("pytestmark",)) for node in body)
    return not marked and any(True for _ in _tests_of(path, body))


def _body(path: str, file: File) -> list[ast.stmt]:
    """The statements of a test file; none of any other, or of one with errors: pytest will say so itself."""
    name = posixpath.basename(path)
    if name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py")):
        with contextlib.suppress(SyntaxError, ValueError):
            return ast.parse(file.data).body
    return []


def _tests_of(path: str, body: list[ast.stmt]) -> Iterator[HiddenTest]:
    definitions = (*FUNCTIONS, ast.ClassDef)
    loose = any(_mentions(node, MARKS) for node in body if not isinstance(node, definitions))
    for node in body:
        if isinstance(node, FUNCTIONS) and _is_test(node):
            yield HiddenTest(path, (node.name,), loose or _mentions(node, MARKS))
        elif isinstance(node, ast.ClassDef) and _is_test_class(node):
            head = [*node.decorator_list, *(item for item in node.body if not isinstance(item, FUNCTIONS))]
            marked = loose or any(_mentions(item, MARKS) for item in head)
            for item in node.body:
                if isinstance(item, FUNCTIONS) and _is_test(item):
                    yield HiddenTest(path, (node.name, item.name), marked or _mentions(item, MARKS))


def _is_test(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    fixture = any(_mentions(decorator, ("fixture",)) for decorator in node.decorator_list)
    return node.name.startswith("test") and not fixture


def _is_test_class(node: ast.ClassDef) -> bool:
    unittest = any(ast.unparse(base).endswith("TestCase") for base in node.bases)
    defined = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
    assigned = {ast.unparse(item).partition(" ")[0] for item in node.body if isinstance(item, ast.Assign)}
    opted_out = {"__init__", "__test__"} & (defined | assigned)
    return (unittest or node.name.startswith("Test")) and not opted_out


def _mentions(node: ast.AST, parts: tuple[str, ...]) -> bool:
    """Whether a name in `node` has one of `parts` in it."""
    names = [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
    names += [part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)]
    return any(part in name.lower() for name in names for part in parts)


def _means(case: Case, dotted: str) -> bool:
    """Whether `case` is that of the test or module so named: pytest's root may lie below the workspace."""
    return bool(case.dotted) and f".{dotted}".endswith(f".{case.dotted}")
