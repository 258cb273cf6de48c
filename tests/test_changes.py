"""What an agent changed: the diff must lead from before to after."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from pytest_goat.changes import workspace_changes
from pytest_goat.sandbox.base import File

lines = st.lists(st.sampled_from(["a\n", "b\n", "c\n", "\n", "-- x\n", "++ y\n", "@@ z\n"]), max_size=40)
endings = st.sampled_from(["", "last", "other"])
texts = st.builds(lambda body, end: "".join(body) + end, lines, endings)


def applied(before: str, diff: str) -> str:
    """`before` with a diff of one file applied; every context and deleted line must be there."""
    old = before.splitlines(keepends=True)
    new: list[str] = []
    place = 0
    body = re.sub(r"(?<=.)\n\\ No newline at end of file\n", "\0", diff).splitlines(keepends=True)
    for line in "".join(body).replace("\0", "\0\n").splitlines(keepends=True)[2:]:
        mark, content = line[0], line[1:].replace("\0\n", "")
        if header := re.match(r"@@ -(\d+)(?:,(\d+))? \+(\d+)", line):
            start = int(header[1]) - (header[2] != "0")
            new += old[place:start]
            place = start
            assert len(new) == int(header[3]) - (not re.search(r"\+\d+,0 ", line))
        elif mark == "+":
            new.append(content)
        else:
            assert old[place] == content
            place += 1
            if mark == " ":
                new.append(content)
    return "".join(new + old[place:])


def diff_of(before: str, after: str) -> str:
    changed, diff = workspace_changes({"f": File(before.encode())}, {"f": File(after.encode())})
    assert changed == ({} if before == after else {"f": "modified"})
    return diff


@given(texts, texts)
def test_a_diff_leads_from_before_to_after(before: str, after: str) -> None:
    diff = diff_of(before, after)
    assert (applied(before, diff) if diff else before) == after


@given(texts, texts, texts, texts)
def test_a_small_change_in_a_long_file_is_a_small_diff(top: str, old: str, new: str, end: str) -> None:
    frame = "same\n" * 2000
    before, after = f"{frame}{top}\n{old}{frame}{end}", f"{frame}{top}\n{new}{frame}{end}"
    diff = diff_of(before, after)
    assert len(diff.splitlines()) < 120
    assert (applied(before, diff) if diff else before) == after


def test_a_hunk_has_three_lines_around_and_the_places_in_the_whole_file() -> None:
    before = "".join(f"{n}\n" for n in range(1, 101))
    assert diff_of(before, before.replace("50\n", "fifty\n")) == (
        "--- a/f\n+++ b/f\n@@ -47,7 +47,7 @@\n 47\n 48\n 49\n-50\n+fifty\n 51\n 52\n 53\n"
    )


def test_a_rewrite_too_large_to_compare_is_shown_whole() -> None:
    before = "".join(f"{n % 50}\n" for n in range(4000))
    after = "".join(f"{n % 49}\n" for n in range(4000))
    assert applied(before, diff_of(before, after)) == after


def test_kinds_of_change_and_header_lines() -> None:
    before = {"gone": File(b"x\n"), "kept": File(b"k"), "tool": File(b"t")}
    after = {"kept": File(b"k"), "new/file.py": File(b"one\ntwo"), "tool": File(b"t", executable=True)}
    changed, diff = workspace_changes(before, after)
    assert changed == {"gone": "deleted", "new/file.py": "added", "tool": "modified"}
    assert diff == (
        "--- a/gone\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-x\n"
        "--- /dev/null\n+++ b/new/file.py\n@@ -0,0 +1,2 @@\n+one\n+two\n\\ No newline at end of file\n"
        "tool: now executable\n"
    )


def test_what_is_no_text_is_named_after_all_text() -> None:
    after = {"a.bin": File(b"\0\1"), "b.latin": File(b"\xff"), "c.txt": File(b"c\n"), "d": File(b"")}
    _, diff = workspace_changes({}, after)
    assert diff.endswith(
        "+c\nd: added, empty\na.bin: added, binary, 2 bytes\nb.latin: added, binary, 1 bytes\n"
    )


def test_the_diff_is_bounded() -> None:
    after = {f"f{n}": File(b"line\n" * 20_000) for n in range(20)}
    changed, diff = workspace_changes({}, after)
    assert len(changed) == 20
    assert len(diff) < 257 * 1024
    assert diff.endswith("\n+line\n[... the diff goes on, cut at 256 kB ...]\n")


def test_a_path_cannot_forge_lines() -> None:
    _, diff = workspace_changes({}, {"a\n+++ b/evil": File(b"x\n")})
    assert diff.splitlines()[1] == "+++ b/'a\\n+++ b/evil'"
