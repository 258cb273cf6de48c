"""-skills-dir: front matter, the list in the prompt, the Skill tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.goat_eval import frontmatter
from tests.support.agent_run import AgentRunner
from tests.support.model_server import Answer, ToolCall

GREET = """---
name: greet
description: "How to greet: politely"
when_to_use: somebody comes in
argument-hint: NAME [REST]
arguments: [who, rest]
allowed-tools:
  - Read
unknown:
  nested: thing
---

# Greeting
Say hello to $who, then $rest.
"""


@pytest.fixture
def skills(tmp_path: Path) -> Path:
    add(tmp_path, "greet", GREET)
    add(tmp_path, "plain", "---\ndescription: >\n  Two\n  lines\n---\nThe body.\n")
    return tmp_path


def add(root: Path, folder: str, text: str) -> None:
    path = root / ".claude" / "skills" / folder / "SKILL.md"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_in_a_run(agent: AgentRunner, skills: Path) -> None:
    calls = [
        ToolCall("Skill", {"skill": "greet", "args": "Ann and  leave"}),
        ToolCall("Skill", {"skill": "/plain"}),
        ToolCall("Skill", {"skill": "nope"}),
        ToolCall("Skill", {}),
    ]
    ran = agent.run([Answer(tools=calls), Answer("ok")], "-skills-dir", str(skills))
    assert ran.stderr == f"loaded 2 skill(s) from {skills}\n"
    assert ran.outputs == [
        "# Greeting\nSay hello to Ann, then and  leave.",
        "The body.",
        'Error: skill "nope" not found. Available: greet, plain',
        "Error: skill is required",
    ]
    system = ran.requests[0].json["messages"][0]["content"].splitlines()
    assert "- greet: How to greet: politely (arguments: NAME [REST]) Use when: somebody comes in" in system
    assert "- plain: Two lines" in system
    tools = [tool["function"]["name"] for tool in ran.requests[0].json["tools"]]
    assert tools == ["Bash", "Edit", "Glob", "Grep", "Read", "Skill", "Write"]


def test_no_skills(agent: AgentRunner, tmp_path: Path) -> None:
    ran = agent.run([Answer("ok")], "-skills-dir", str(tmp_path))
    assert (ran.code, ran.stderr) == (0, f"warning: no skills found in {tmp_path}/.claude/skills/\n")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no front matter", "no front matter between two lines of ---"),
        ("---\nname: x\n---\n", "the field `description` is missing"),
        ("---\ndescription: [a]\n---\n", "`description` must be text, not a list"),
        ("---\ndescription: a: b\n---\n", "line 1: text with `: ` in it must be quoted"),
        ("---\ndescription: x\ncontext: odd\n---\n", "`context` must be inline or fork"),
        ("---\ndescription: x\n???\n---\n", "line 2: not a `key: value`: ???"),
        ('---\ndescription: x\narguments: [a, ""]\n---\n', "`arguments` has an empty name in it"),
    ],
)
def test_a_wrong_skill_ends_the_run(agent: AgentRunner, tmp_path: Path, text: str, problem: str) -> None:
    add(tmp_path, "bad", text)
    ran = agent.run([], "-skills-dir", str(tmp_path))
    path = tmp_path / ".claude" / "skills" / "bad" / "SKILL.md"
    assert (ran.code, ran.stdout, ran.result["status"]) == (1, "", "config_error")
    assert ran.stderr == f"error loading skills from {tmp_path}: {path}: {problem}\n"


class TestFrontMatter:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("k: plain text # comment", "plain text"),
            ("k: it's # no comment", "it's"),
            ('k: "a\\n\\"b\\" # c"', 'a\n"b" # c'),
            ("k: 'it''s'", "it's"),
            ("k:\n", ""),
            ("k: one\n  two\n  three", "one two three"),
            ("k: |\n  a\n    b\n\n  c", "a\n  b\n\nc"),
            ("k: >-\n  a\n  b\n\n  c", "a b\nc"),
            ('k: [a, \'b, c\', "d\\"", e f]', ["a", "b, c", 'd"', "e f"]),
            ("k: []", []),
            ("k: [a,\n  b,\n]", ["a", "b"]),
            ("k:\n- a\n- 'b'", ["a", "b"]),
            ("k:\n  - a\n  # comment\n  - b", ["a", "b"]),
            ("# comment\n\n'k': v", "v"),
            ("k: http://x/y", "http://x/y"),
        ],
    )
    def test_values(self, text: str, value: object) -> None:
        assert frontmatter.parse(text) == {"k": value}

    @pytest.mark.parametrize("text", ["k: 'open", 'k: "', "k: [a", " k: v", "\tk: v", "k", "k:v", "- a"])
    def test_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="line 1: "):
            frontmatter.parse(text)

    def test_split(self) -> None:
        assert frontmatter.split("---\r\na: b\r\n---\r\nbody\r\n") == ("a: b", "body\n")
        assert frontmatter.split("--- \na: b\n") is None
        assert frontmatter.split("") is None
