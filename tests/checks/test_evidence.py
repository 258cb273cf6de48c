from __future__ import annotations

import pytest

from pytest_goat.checks.evidence import NO_REPORT, NONE_PASSED, TAMPERED, Evidence, hidden_tests, with_probes
from pytest_goat.checks.report import BadReport, read_report
from pytest_goat.checks.shell import pytest_call
from pytest_goat.sandbox.base import File
from tests.checks.arena import files_of

SOURCE = """\
import unittest
import pytest

def helper(): pass
def test_a(): pass
async def test_b(): pass

@pytest.fixture
def test_client(): pass

@pytest.mark.skipif(True, reason="")
def test_c(): pass

class TestA:
    def test_d(self): pass
    @pytest.mark.xfail
    def test_e(self): pass
    def other(self): pass

class Helper:
    def test_f(self): pass

class TestData:
    __test__ = False
    def test_g(self): pass

class TestRecord:
    def __init__(self): pass
    def test_h(self): pass

class Odd(unittest.TestCase):
    def test_i(self): self.skipTest("")
"""


def test_the_tests_of_a_file() -> None:
    found = {str(test): test.may_skip for test in hidden_tests(files_of({"t/test_x.py": SOURCE}))}
    assert found == {
        "t/test_x.py::test_a": False,
        "t/test_x.py::test_b": False,
        "t/test_x.py::test_c": True,
        "t/test_x.py::TestA::test_d": False,
        "t/test_x.py::TestA::test_e": True,
        "t/test_x.py::Odd::test_i": True,
    }


@pytest.mark.parametrize(
    "mark", ["pytestmark = pytest.mark.skipif(x)", "pytest.importorskip('numpy')", "s = mark.skip"]
)
def test_a_module_that_speaks_of_skipping_may_skip_any(mark: str) -> None:
    [test] = hidden_tests(files_of({"test_x.py": f"import pytest\n{mark}\ndef test_a(): pass\n"}))
    assert test.may_skip


@pytest.mark.parametrize("path", ["x.py", "test_x.txt", "conftest.py", "test_x.py.orig"])
def test_other_files_have_none(path: str) -> None:
    assert hidden_tests(files_of({path: "def test_a(): pass"})) == []


@pytest.mark.parametrize("source", [b"def (", b"\xff\xfe", b"def test_a(): pass\0"])
def test_a_file_with_errors_has_none(source: bytes) -> None:
    assert hidden_tests({"test_x.py": File(source)}) == []


def test_probes_are_added_to_files_with_tests() -> None:
    files = files_of(
        {
            "test_a.py": "def test_a(): pass",
            "data.json": "{}",
            "test_none.py": "x = 1\n",
            "test_marked.py": "import pytest\npytestmark = [pytest.mark.slow]\ndef test_a(): pass\n",
        }
    )
    probed = with_probes(files, "test_probe")
    assert [path for path in files if probed[path] != files[path]] == ["test_a.py"]
    assert [test.names for test in hidden_tests(probed) if test.path == "test_a.py"] == [
        ("test_a",),
        ("test_probe",),
    ]


def report(*cases: str) -> File:
    """A report with these cases: `module.test`, or `module.test skipped|failure|error`."""
    elements = []
    for case in cases:
        dotted, _, outcome = case.partition(" ")
        classname, _, name = dotted.rpartition(".")
        child = f"<{outcome} message='why'/>" if outcome else ""
        elements.append(f'<testcase classname="{classname}" name="{name}">{child}</testcase>')
    return File(f"<testsuites><testsuite>{''.join(elements)}</testsuite></testsuites>".encode())


HIDDEN = files_of(
    {
        "t/test_x.py": "import pytest\ndef test_a(): pass\n@pytest.mark.skip\ndef test_b(): pass\n",
        "t/test_y.py": "import pytest\nnumpy = pytest.importorskip('numpy')\ndef test_c(): pass\n",
    }
)
ALL = ("t.test_x.test_a", "t.test_x.test_b skipped", "t.test_y.test_c")


def doubts(*cases: str, line: str = "pytest -q", probes: str = "skipped") -> list[str]:
    call = pytest_call(line)
    assert call is not None
    evidence = Evidence(call, HIDDEN)
    probe = f"test_{evidence.report_path[len('report-') : -len('.xml')]}"
    ran = [f"{module}.{probe} {probes}" for module in ("t.test_x", "t.test_y") if call.may_probe]
    found = evidence.read(report(*cases, *ran))
    assert len(found.cases) == len(cases)
    return found.doubts


@pytest.mark.parametrize(
    "cases",
    [
        ALL,
        ("t.test_x.test_a[1]", "t.test_x.test_a[2]", *ALL[1:]),
        ("test_x.test_a", "test_x.test_b", "test_y.test_c"),
        (*ALL, "test_mine.test_a", "other.test_b skipped"),
        (*ALL[:2], "t.test_y skipped"),
    ],
)
def test_no_doubt(cases: tuple[str, ...]) -> None:
    assert doubts(*cases) == []


@pytest.mark.parametrize(
    ("cases", "doubt"),
    [
        ((), NONE_PASSED),
        (("t.test_x.test_a skipped", *ALL[1:]), "t/test_x.py::test_a was skipped by the work under test"),
        (("t.test_x.test_a", "t.test_x.test_a[2] skipped", *ALL[1:]), "t/test_x.py::test_a was skipped"),
        (ALL[1:], "t/test_x.py::test_a did not run"),
        (("u.test_x.test_a", *ALL[1:]), "t/test_x.py::test_a did not run"),
        (("t.test_x.TestA.test_a", *ALL[1:]), "t/test_x.py::test_a did not run"),
        (ALL[:2], "t/test_y.py::test_c did not run"),
        (("t.test_x skipped", ALL[2]), "t/test_x.py::test_a did not run"),
    ],
)
def test_doubts(cases: tuple[str, ...], doubt: str) -> None:
    assert doubts(*cases)[0].startswith(doubt)


def test_a_probe_that_passes_or_is_gone_is_tampering() -> None:
    assert doubts(*ALL, probes="") == [TAMPERED]
    assert doubts(*ALL, probes="failure") == [TAMPERED]
    call = pytest_call("pytest")
    assert call is not None
    assert Evidence(call, HIDDEN).read(report(*ALL)).tampered


def test_a_selection_need_not_have_all() -> None:
    assert doubts("t.test_x.test_a", line="pytest -k test_a") == []
    assert doubts("t.test_x.test_b skipped", line="pytest -k test_b") == [NONE_PASSED]


def test_only_the_files_that_the_line_names_count() -> None:
    call = pytest_call("cd t && pytest test_x.py")
    assert call is not None
    evidence = Evidence(call, HIDDEN)
    probe = f"test_{evidence.report_path[len('report-') : -len('.xml')]}"
    assert evidence.read(report("test_x.test_a", "test_x.test_b", f"test_x.{probe} skipped")).doubts == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<testsuites>",
        b"\xff",
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><testsuites>&a;</testsuites>',
        '<?xml version="1.0" encoding="utf-16"?><testsuites/>'.encode("utf-16"),
    ],
)
def test_a_report_that_is_none(data: bytes) -> None:
    with pytest.raises(BadReport):
        read_report(data)
    call = pytest_call("pytest")
    assert call is not None
    assert len(Evidence(call, HIDDEN).read(File(data)).doubts) == 1


def test_no_report() -> None:
    call = pytest_call("pytest")
    assert call is not None
    assert Evidence(call, HIDDEN).read(None).doubts == [NO_REPORT]


def test_two_runs_share_no_path() -> None:
    call = pytest_call("pytest")
    assert call is not None
    assert Evidence(call, HIDDEN).report_path != Evidence(call, HIDDEN).report_path
