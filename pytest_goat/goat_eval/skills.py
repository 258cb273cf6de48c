"""Skills: texts in DIR/.claude/skills/*/SKILL.md that the model can ask for with the Skill tool."""

from __future__ import annotations

import os

from . import frontmatter
from .console import say
from .errors import ConfigError, ToolError
from .tools.base import Tool, optional_text, required_text, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .tools.base import Arguments

_DESCRIPTION = """Loads a skill: instructions written for a kind of task, to be followed once loaded.

The skills that there are stand in the system prompt. When one fits the task, load it before you begin. \
`args` fills the placeholders of a skill that takes arguments. A request that names a skill as "/name" \
means this tool."""


class Skill:
    """One SKILL.md. Raises `ValueError` when its front matter is wrong."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8", errors="replace") as file:
            parts = frontmatter.split(file.read())
        if parts is None:
            raise ValueError("no front matter between two lines of ---")
        self._fields = frontmatter.parse(parts[0])
        self.body = parts[1].strip()
        self.name = self._text("name") or os.path.basename(os.path.dirname(path))
        self.description = self._text("description")
        self.when_to_use = self._text("when_to_use")
        self.argument_hint = self._text("argument-hint")
        arguments = self._fields.get("arguments", [])
        self.arguments = arguments if isinstance(arguments, list) else arguments.split()
        if not self.description:
            raise ValueError("the field `description` is missing")
        if self._text("context") not in ("", "inline", "fork"):
            raise ValueError("`context` must be inline or fork")
        if not all(self.arguments):
            raise ValueError("`arguments` has an empty name in it")

    def _text(self, key: str) -> str:
        value = self._fields.get(key, "")
        if not isinstance(value, str):
            raise ValueError(f"`{key}` must be text, not a list")
        return value

    def line(self) -> str:
        """The skill as the system prompt lists it."""
        hint = f" (arguments: {self.argument_hint})" if self.argument_hint else ""
        when = f" Use when: {self.when_to_use}" if self.when_to_use else ""
        return f"- {self.name}: {self.description}{hint}{when}"

    def filled(self, args: str) -> str:
        """The body with `$name` replaced: word by word, the last argument takes all that is left."""
        body = self.body
        values = args.split(None, len(self.arguments) - 1) if self.arguments else []
        for name, value in zip(self.arguments, values):
            body = body.replace(f"${name}", value.strip())
        return body


def load(folder: str) -> dict[str, Skill]:
    """The skills below `folder` by name; stderr says how many. Raises `ConfigError` when one is wrong."""
    root = os.path.join(folder, ".claude", "skills")
    skills: dict[str, Skill] = {}
    try:
        names = sorted(os.listdir(root)) if os.path.isdir(root) else []
        for name in names:
            path = os.path.join(root, name, "SKILL.md")
            if os.path.isfile(path):
                skill = _read(path)
                skills[skill.name] = skill
    except (OSError, ValueError) as error:
        raise ConfigError(f"error loading skills from {folder}: {error}") from error
    if skills:
        say(f"loaded {len(skills)} skill(s) from {folder}")
    else:
        say(f"warning: no skills found in {folder}/.claude/skills/")
    return skills


def _read(path: str) -> Skill:
    try:
        return Skill(path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def tool(skills: dict[str, Skill]) -> Tool:
    """The Skill tool over `skills`."""

    def run(arguments: Arguments) -> str:
        name = required_text(arguments, "skill").lstrip("/")
        if name not in skills:
            known = ", ".join(skills) or "none"
            raise ToolError(f'skill "{name}" not found. Available: {known}')
        return skills[name].filled(optional_text(arguments, "args"))

    parameters = schema(
        ("skill",), skill=("string", "The name of the skill"), args=("string", "Arguments for the skill")
    )
    return Tool("Skill", _DESCRIPTION, parameters, "Loads a skill by name: instructions to follow.", run)
