import difflib
import random

import pytest

from patcher import PatchError, apply


def lines(*each):
    return "".join(f"{line}\n" for line in each)


FRUIT = lines("apple", "banana", "cherry", "date", "elder", "fig", "grape")


def test_one_hunk_with_all_kinds():
    patch = lines("--- a", "+++ b", "@@ -2,3 +2,3 @@ fruit", " banana", "-cherry", "+citron", " date")
    assert apply(FRUIT, patch) == FRUIT.replace("cherry", "citron")


def test_header_lines_are_optional_and_noise_before_is_ignored():
    hunk = lines("@@ -1 +1 @@", "-apple", "+avocado")
    expected = FRUIT.replace("apple", "avocado")
    assert apply(FRUIT, hunk) == expected
    assert apply(FRUIT, lines("From: me", "", "diff --git a b", "index 1..2", "--- a", "+++ b") + hunk) == expected


def test_patch_without_a_newline_at_its_end():
    assert apply(FRUIT, "@@ -1 +1 @@\n-apple\n+avocado") == FRUIT.replace("apple", "avocado")


def test_removed_and_added_lines_that_look_like_file_headers():
    text = lines("select 1;", "-- old note", "++ plus", "select 2;")
    patch = lines("--- a.sql", "+++ b.sql", "@@ -1,4 +1,4 @@", " select 1;", "--- old note", "-++ plus")
    patch += lines("+-- new note", "+++ more", " select 2;")
    assert apply(text, patch) == lines("select 1;", "-- new note", "++ more", "select 2;")


def test_removed_line_that_looks_like_a_hunk():
    text = lines("@@ -1 +1 @@", "b")
    assert apply(text, lines("@@ -1,2 +1 @@", "-@@ -1 +1 @@", " b")) == lines("b")
    assert apply(lines("b"), lines("@@ -1 +1,2 @@", "+@@ -9 +9 @@", " b")) == lines("@@ -9 +9 @@", "b")


def test_stripped_context_line():
    text = lines("a", "", "b")
    assert apply(text, lines("@@ -1,3 +1,3 @@", " a", "", "-b", "+c")) == lines("a", "", "c")


def test_into_and_out_of_nothing():
    assert apply("", lines("@@ -0,0 +1,2 @@", "+a", "+b")) == lines("a", "b")
    assert apply(lines("a", "b"), lines("@@ -1,2 +0,0 @@", "-a", "-b")) == ""


def test_insertions_without_context():
    assert apply(lines("a", "b"), lines("@@ -1,0 +2 @@", "+x")) == lines("a", "x", "b")
    assert apply(lines("a", "b"), lines("@@ -0,0 +1 @@", "+x")) == lines("x", "a", "b")
    assert apply(lines("a", "b"), lines("@@ -2,0 +3 @@", "+x")) == lines("a", "b", "x")
    with pytest.raises(PatchError):
        apply(lines("a", "b"), lines("@@ -3,0 +4 @@", "+x"))
    with pytest.raises(PatchError):
        apply(lines("a", "b", "c"), lines("@@ -2,2 +2 @@", "-b", " c", "@@ -2,0 +2 @@", "+x"))


def test_finds_drifted_lines():
    patch = lines("@@ -2,3 +2,3 @@", " banana", "-cherry", "+citron", " date")
    expected = FRUIT.replace("cherry", "citron")
    assert apply(lines("new", "new") + FRUIT, patch) == lines("new", "new") + expected
    assert apply(FRUIT.removeprefix("apple\n"), patch) == expected.removeprefix("apple\n")


@pytest.mark.parametrize(
    ("line", "changed"),
    [(1, 0), (2, 0), (3, 0), (4, 4), (5, 4), (6, 4), (7, 4), (8, 8), (9, 8), (40, 8)],
)
def test_nearest_place_wins_and_the_upper_of_two(line, changed):
    text = ["x", ".", ",", ".", "x", ".", ",", ".", "x"]
    expected = list(text)
    expected[changed] = "y"
    assert apply(lines(*text), lines(f"@@ -{line} +1 @@", "-x", "+y")) == lines(*expected)


def test_positions_speak_of_the_text_as_given():
    text = lines(*"abcxdefx")
    patch = lines("@@ -1,3 +1,9 @@", " a", "+1", "+2", "+3", "+4", "+5", "+6", " b", " c", "@@ -4 +10 @@", "-x", "+y")
    assert apply(text, patch) == lines(*"a123456bcydefx")


def test_hunks_keep_their_order():
    text = lines("x", "a", "x")
    patch = lines("@@ -2 +2 @@", "-a", "+b", "@@ -1 +1 @@", "-x", "+y")
    assert apply(text, patch) == lines("x", "b", "y")
    with pytest.raises(PatchError):
        apply(lines("x", "a"), patch)


def test_what_a_hunk_adds_is_not_found_by_the_next():
    patch = lines("@@ -1 +1,2 @@", " a", "+x", "@@ -2 +3 @@", "-x", "+y")
    with pytest.raises(PatchError):
        apply(lines("a", "b"), patch)


def test_hunks_may_touch():
    patch = lines("@@ -1 +1 @@", "-a", "+A", "", "@@ -2 +2 @@", "-b", "+B", "", "")
    assert apply(lines("a", "b"), patch) == lines("A", "B")


@pytest.mark.parametrize(
    "patch",
    [
        "",
        lines("--- a", "+++ b"),
        lines("@@ -one +1 @@", "-apple"),
        lines("@@ nothing @@"),
        lines("@@ -1,2 +1,2 @@", "-apple", "+avocado"),
        lines("@@ -1 +1 @@", "-apple", "+avocado", "+extra"),
        lines("@@ -1 +1 @@", "-apple", "-banana", "+avocado"),
        lines("@@ -1 +1 @@", "-apple", "*avocado"),
        lines("@@ -1 +1 @@", "-apple", "+avocado", "and some words"),
        lines("@@ -1 +1 @@", "-apple", "+avocado", "@@ garbage @@"),
        lines("@@ -1 +1 @@", "-pear", "+plum"),
        lines("@@ -1,2 +1 @@", " apple", "-cherry"),
        lines("@@ -1 +1 @@", "-Apple", "+avocado"),
        lines("@@ -1 +1 @@", "-apple ", "+avocado"),
        lines("@@ -7,2 +7,1 @@", " grape", "-hazel"),
    ],
)
def test_refuses(patch):
    with pytest.raises(PatchError):
        apply(FRUIT, patch)


def test_undoes_what_difflib_says():
    rng = random.Random(4711)
    for number in range(150):
        alphabet = ["", "a", "b", "-- c", "++ d", "@@ -1 +1 @@", " e"][: rng.randrange(3, 8)]
        old = rng.choices(alphabet, k=rng.randrange(0, 30))
        new = [line for line in old if rng.random() < 0.9]
        for _ in range(rng.randrange(4)):
            new.insert(rng.randrange(len(new) + 1), rng.choice(alphabet))
        if old == new:
            continue
        patch = "".join(f"{line}\n" for line in difflib.unified_diff(old, new, "a", "b", n=number % 4, lineterm=""))
        assert apply(lines(*old), patch) == lines(*new), patch
