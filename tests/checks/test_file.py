from __future__ import annotations

import pytest

from pytest_goat.checks.file import check_file
from pytest_goat.checks.finding import CannotRun
from pytest_goat.sandbox.base import Taken
from pytest_goat.task import FileCheck
from tests.checks.arena import Arena, files_of

LEFT = Taken(
    files_of(
        {
            "a.txt": "one\ntwo\nthree\n",
            "src/b.py": "def revers(s):\n    return s\n",
            "bytes": b"caf\xe9",
            "empty": "",
        }
    ),
    refused=("link: symlink", "pipe: fifo", "folder_link: symlink"),
)


@pytest.mark.parametrize(
    "check",
    [
        FileCheck(file="a.txt"),
        FileCheck(file="./src/../a.txt"),
        FileCheck(file="a.txt", contains=("one", "two\nthree")),
        FileCheck(file="a.txt", matches=r"(?m)^t.o$"),
        FileCheck(file="a.txt", equals="one\ntwo\nthree"),
        FileCheck(file="a.txt", equals="one\ntwo\nthree\n"),
        FileCheck(file="bytes", equals="caf\N{REPLACEMENT CHARACTER}"),
        FileCheck(file="empty", equals=""),
        FileCheck(file="b.txt", exists=False),
    ],
)
def test_passes(check: FileCheck) -> None:
    found = check_file(check, LEFT)
    assert found.passed
    assert (found.score, found.expected, found.seen) == (1.0, "", "")


@pytest.mark.parametrize(
    ("check", "expected", "seen"),
    [
        (FileCheck(file="b.txt"), "a file b.txt", "b.txt: not there"),
        (FileCheck(file="b.py"), "a file b.py", "b.py: not there (but src/b.py is)"),
        (FileCheck(file="src"), "a file src", "src: a folder"),
        (FileCheck(file="link"), "a file link", "link: a symlink, which does not count as a file"),
        (FileCheck(file="pipe"), "a file pipe", "pipe: a fifo, which does not count as a file"),
        (
            FileCheck(file="folder_link/x"),
            "a file folder_link/x",
            "folder_link/x: folder_link is a symlink, which is not followed",
        ),
        (FileCheck(file="a.txt", exists=False), "no a.txt", "a.txt: it is there"),
        (FileCheck(file="src", exists=False), "no src", "src: a folder"),
        (
            FileCheck(file="link", exists=False),
            "no link",
            "link: a symlink, which does not count as a file",
        ),
        (
            FileCheck(file="src/b.py", contains=("def reverse(",)),
            'src/b.py contains "def reverse("',
            "src/b.py: not in it; the nearest is line 1: def revers(s):",
        ),
        (
            FileCheck(file="a.txt", contains=("zzzzzzz",)),
            'a.txt contains "zzzzzzz"',
            "a.txt: not in it, nor a line like it (3 lines)",
        ),
        (FileCheck(file="empty", contains=("x",)), 'empty contains "x"', "empty: it is empty"),
        (
            FileCheck(file="a.txt", matches="^t"),
            'a.txt matches "^t"',
            "a.txt: \n  one\n  two\n  three",
        ),
        (
            FileCheck(file="a.txt", equals="one\n2\nthree\n"),
            "a.txt is \n  one\n  2\n  three",
            "a.txt: from line 1, - expected, + seen:\n one\n-2\n+two\n three",
        ),
        (FileCheck(file="bytes", equals="tea"), 'bytes is "tea"', 'bytes: "caf\N{REPLACEMENT CHARACTER}"'),
    ],
)
def test_tells_what_was_expected_and_seen(check: FileCheck, expected: str, seen: str) -> None:
    found = check_file(check, LEFT)
    assert not found.passed
    assert (found.score, found.expected, found.seen) == (0.0, expected, seen)


def test_every_condition_that_fails_is_told() -> None:
    check = FileCheck(file="a.txt", contains=("one", "four"), matches="five", equals="six")
    assert len(check_file(check, LEFT).expected.splitlines()) == 3


def test_one_newline_makes_no_difference_but_two_do() -> None:
    left = Taken(files_of({"a": "x\n\n"}))
    assert check_file(FileCheck(file="a", equals="x\n"), left).passed
    assert check_file(FileCheck(file="a", equals="x\n\n\n"), left).passed
    assert not check_file(FileCheck(file="a", equals="x"), left).passed


def test_a_bad_pattern_is_the_checks_fault() -> None:
    with pytest.raises(CannotRun, match="is no regular expression"):
        check_file(FileCheck(file="a.txt", matches="("), LEFT)


def test_what_is_shown_is_bounded_and_printable() -> None:
    text = "\x1b[31mred\x1b[0m \x00\n" + "x" * 100_000 + "\n" + "line\n" * 100_000
    check = FileCheck(file="a", contains=("needle",), matches="needle", equals="red\nother\n" * 50_000)
    found = check_file(check, Taken(files_of({"a": text})))
    assert len(found.seen) < 20_000
    assert len(found.expected) < 20_000
    assert "\x1b" not in found.seen
    assert "\x00" not in found.seen


def test_a_real_link_is_not_followed(arena: Arena) -> None:
    checks = (FileCheck(file="link"), FileCheck(file="link", exists=False), FileCheck(file="pipe"))
    results = arena.after_agent(*checks, left={"a.txt": "x"}, script="ln -s a.txt link; mkfifo pipe")
    assert [result.passed for result in results] == [False, False, False]
    assert "a symlink" in results[0].seen
    assert "a fifo" in results[2].seen


def test_a_file_among_more_than_can_be_taken_is_found(arena: Arena) -> None:
    script = "mkdir aaa; cd aaa; touch {1..10100}; echo here > ../zzz"
    [result] = arena.after_agent(FileCheck(file="zzz", equals="here"), script=script)
    assert result.passed, result.seen
