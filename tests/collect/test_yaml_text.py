"""The pitfalls of YAML: each one is read as its writer meant it, or refused with a mend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pytest_goat.collect import yaml_text
from pytest_goat.collect.problems import Problems, Wrong
from pytest_goat.collect.values import Bare
from pytest_goat.collect.yaml_text import read_yaml


def read(text: str) -> Any:
    problems = Problems(Path("a.yaml"))
    (value,) = read_yaml(text, problems)
    problems.check()
    return value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-12", -12),
        ("+3", 3),
        ("0x1F", 31),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1.5e+3", 1500.0),
        ("-.inf", float("-inf")),
        ("12e4", "12e4"),
        ("1.2.3", "1.2.3"),
        ("0b", "0b"),
        ("truest", "truest"),
        ("'yes'", "yes"),
        ('"1"', "1"),
        ("!!str 1", "1"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    found = read(f"a: {text}")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["yes", "NO", "on", "2026-01-01", "1:30", "010", "1_000", "0b11", "1_0.5", "9" * 200]
)
def test_what_readers_take_differently_is_neither(text: str) -> None:
    found = read(f"a: {text}")["a"]
    assert found == text
    assert type(found) is Bare


@pytest.mark.parametrize(
    ("text", "line", "problem", "mend"),
    [
        ("a: 1\n\tb: 2", 2, "is indented with a tab", "indent with spaces"),
        ("a: b: c", 1, "mapping values are not allowed", "in quotes"),
        ("a: @b", 1, "cannot start any token", "in quotes"),
        ('a: 1\nb: "c\n\n', 2, "unexpected end of stream", "close the quotes"),
        ("a: 1\nb", 2, "could not find expected ':'", "write `key: value`"),
        ("a: 1\n  b: 2", 2, "mapping values are not allowed", "in quotes"),
        ("a: [1,\nb: 2", 3, "did not find expected ',' or ']'", "check the line"),
        (" a: 1\nb: 2", 2, "did not find expected <document start>", "same column"),
        ("- a\nb: 2", 2, "did not find expected '-' indicator", "same column"),
        ("a: \x07", 1, "holds a control character", "as an escape"),
        ("x: 1\na: *b", 2, "*b has no anchor before it", "&b"),
        ("a: &a [*a]", 1, "*a has no anchor before it", "&a"),
        ("a: &b 1\n---\na: *b", 3, "*b has no anchor before it", "&b"),
        ("a: !!python/object/apply:os.system [x]", 1, "has the tag tag:yaml.org,2002:python", "plain value"),
        ("a: !!int '3'", 1, "has the tag tag:yaml.org,2002:int", "plain value"),
        ("a: !own {}", 1, "has the tag !own", "plain value"),
        ("a: 1\n<<: {b: 2}", 2, "merge keys", "defaults"),
        ("a: 1\nyes: 2", 2, "has the key 'yes', which is not text", '"yes":'),
        ("1: 2", 1, "has the key '1', which is not text", '"1":'),
        ("? [a]\n: 2", 1, "has a key that is not text", "quote"),
        ("? {a: 1}\n: 2", 1, "has a key that is not text", "quote"),
        ("[" * 51 + "]" * 51, 1, "nested more than 50 levels", "flatten"),
        ("[" * 200_000, 1, "nested more than 50 levels", "flatten"),
    ],
)
def test_what_is_refused(text: str, line: int, problem: str, mend: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    (found,) = caught.value.problems
    assert problem in found.text
    assert mend in found.mend
    assert found.line == line


def test_keys_given_twice_are_all_told() -> None:
    problems = Problems(Path("a.yaml"))
    (value,) = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n", problems)
    assert value == {"a": 1, "b": {"c": 1}}
    assert [(error.line, error.field, error.mend) for error in problems.errors] == [
        (2, "c", "the first stands in line 2: keep one of them"),
        (3, "a", "the first stands in line 1: keep one of them"),
    ]


def test_aliases_stand_for_what_was_anchored() -> None:
    assert read("a: &x {k: [1]}\nb: *x\nc: [*x, &y z, *y]") == {
        "a": {"k": [1]},
        "b": {"k": [1]},
        "c": [{"k": [1]}, "z", "z"],
    }


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 7)]
    with pytest.raises(Wrong, match="aliases stand for over 100000 values"):
        read("\n".join(lines))


def test_a_chain_of_aliases_is_as_deep_as_what_it_stands_for() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    with pytest.raises(Wrong, match="nested more than 50 levels"):
        read("\n".join(lines))


def test_mappings_know_their_lines() -> None:
    value = read("# first\na:\n  b: |\n    text\n  c: 1\nd: {e: 2,\n  f: 3}\n")
    assert value.lines == {"a": 2, "d": 6}
    assert (value["a"].line, value["a"].lines) == (3, {"b": 3, "c": 5})
    assert value["d"].lines == {"e": 6, "f": 7}


TEXTS = (
    "- id: x\n  prompt: |\n    a\n     b\n  tags: [a, b]\n  n: {m: [1, 2.5, ~, true]}\n",
    "a: &x [1, 'two', \"thr\\u00e9e\"]\nb: *x\n---\nc: >-\n  folded\n  text\n",
)


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_the_same_without_libyaml(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_yaml(text, Problems(Path("a.yaml")))
    monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)
    assert read_yaml(text, Problems(Path("a.yaml"))) == fast


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('a: "\\UFFFFFFFF"', "escape that is out of range"),
        ("a: \x07", "control character"),
        ("a: b: c", "mapping values are not allowed"),
        ("a: 1\n\tb: 2", "indented with a tab"),
    ],
)
def test_it_refuses_the_same_without_libyaml(
    text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)
    with pytest.raises(Wrong, match=problem):
        read(text)
