#!/usr/bin/env python3
"""Makes Modal ready for pytest-goat: the environment, and the secrets that the services read.

    python infra/setup.py             # asks before it writes anything
    python infra/setup.py --dry-run   # says what it would do
    python infra/setup.py --yes       # asks nothing: values from .env, the environment, or generated

A value is looked for in the environment, in `.env`, then asked for or generated. What was generated is added
to `.env`: Modal never gives a secret back, and the plugin needs some of them. It may be run again: a secret
that is there gets the values that are known here, and keeps the others. No value is ever shown.
"""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_goat.cloud import names
from pytest_goat.cloud.client import configured, connect, within
from pytest_goat.cloud.errors import no_sdk, user_error
from pytest_goat.environ import FILE, find_file, read_environ, read_file
from pytest_goat.errors import UserError
from pytest_goat.models import Model, load_models
from pytest_goat.models.table import VLLM

MODAL_WITHIN = 20.0
"""Seconds for one call to Modal."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable that a secret holds."""

    name: str
    about: str
    generate: Callable[[], str] | None = None
    """Makes a value where none is given; None: it stays out, unless it is typed."""
    asked: bool = True
    """Whether it is asked for."""


def _hex() -> str:
    return secrets.token_hex(32)


def _key(prefix: str) -> Callable[[], str]:
    return lambda: f"{prefix}{secrets.token_hex(16)}"


LITELLM = (
    Variable("LITELLM_MASTER_KEY", "what our proxy says to LiteLLM, inside the container", _key("sk-")),
    Variable("VLLM_API_KEY", "what LiteLLM says to vLLM", _key("sk-vllm-")),
)
LANGFUSE = (
    Variable("LANGFUSE_HOST", "a Langfuse of yours or https://cloud.langfuse.com; none: ours on Modal"),
    Variable("LANGFUSE_PUBLIC_KEY", "what traces are sent with", _key("pk-lf-")),
    Variable("LANGFUSE_SECRET_KEY", "what traces are sent with", _key("sk-lf-")),
    Variable("LANGFUSE_INIT_USER_EMAIL", "the dashboard's first account", lambda: "admin@goat.local"),
    Variable("LANGFUSE_INIT_USER_PASSWORD", "its password", lambda: secrets.token_urlsafe(18)),
    Variable("NEXTAUTH_SECRET", "signs the dashboard's sessions", _hex),
    Variable("SALT", "hashes Langfuse's keys", _hex),
    Variable("ENCRYPTION_KEY", "encrypts what Langfuse stores", _hex),
)
POSTGRES = (
    Variable("DATABASE_URL", "a Postgres of yours; none: the one beside Langfuse"),
    Variable("POSTGRES_PASSWORD", "of the Postgres beside Langfuse", _hex),
)
HUGGINGFACE = (Variable("HF_TOKEN", "for weights that are given out only to known accounts"),)


def wanted() -> dict[str, tuple[Variable, ...]]:
    """The secrets, with what each holds; those of the providers as the table of models names them."""
    needs: dict[str, list[Model]] = {}
    for model in load_models():
        for variable in model.env.values():
            needs.setdefault(variable, []).append(model)
    own = {variable.name for variable in LITELLM}
    providers = tuple(_needed(name, models) for name, models in needs.items() if name not in own)
    return {
        names.PROVIDERS_SECRET: providers,
        names.LITELLM_SECRET: LITELLM,
        names.LANGFUSE_SECRET: LANGFUSE,
        names.POSTGRES_SECRET: POSTGRES,
        names.HUGGINGFACE_SECRET: HUGGINGFACE,
    }


MADE = "generated"


def _needed(name: str, models: Sequence[Model]) -> Variable:
    more = f" and {len(models) - 1} more" if len(models) > 1 else ""
    # Where vLLM answers is known to whoever deploys it.
    asked = models[0].provider != VLLM and name not in models[0].defaults
    return Variable(name, f"for {models[0].name}{more}", asked=asked)


@dataclass(frozen=True, slots=True)
class Found:
    """A value and where it came from. Never shown."""

    value: str
    source: str

    def __repr__(self) -> str:
        return f"Found(source={self.source!r})"


class Setup:
    """One walk through environment and secrets."""

    def __init__(self, environment: str, folder: Path, *, dry_run: bool, yes: bool) -> None:
        self._environment, self._folder = environment, folder
        self._dry_run, self._yes = dry_run, yes
        self._given = read_environ(folder)
        self._in_file = read_file(find_file(folder))
        self._account = Account(environment)

    def run(self) -> None:
        """All of it. Raises `UserError`."""
        known = self._look()
        for name, variables in wanted().items():
            self._secret(name, variables, exists=name in known)
        if known:
            print("\nContainers that run keep the old values until:", end=" ")
            print(f"modal app rollover {names.SERVICES_APP} --env {self._environment}")
        print("\nNext: modal deploy infra/services.py --env", self._environment)

    def _look(self) -> set[str]:
        """The secrets that are there; makes the environment when it is not."""
        if self._dry_run and not configured():
            print("Modal is not asked: there is no token (modal token new).")
            return set()
        there = self._environment in self._account.environments()
        print(f"environment {self._environment}: {'is there' if there else 'is missing'}")
        if there:
            return self._account.secrets()
        if self._dry_run:
            print("  would be created")
        elif self._agreed(f"Create the environment {self._environment}?"):
            self._account.create_environment()
            print("  created")
        else:
            raise UserError("nothing can be set up without the environment")
        return set()

    def _secret(self, name: str, variables: Sequence[Variable], *, exists: bool) -> None:
        print(f"\nsecret {name}: {'is there' if exists else 'is missing'}")
        found = {variable.name: self._value(variable, generate=not exists) for variable in variables}
        for variable in variables:
            print(f"  {variable.name:28}{_shown(found[variable.name]):26}{variable.about}")
        values = {key: value.value for key, value in found.items() if value is not None}
        if not values and (exists or name == names.HUGGINGFACE_SECRET):
            print("  left as it is: nothing to write" if exists else "  left out: it is optional")
        elif self._dry_run:
            print(f"  would be {'updated' if exists else 'created'}")
        elif self._agreed(f"  {'Update' if exists else 'Create'} the secret {name}?"):
            self._keep({key: value.value for key, value in found.items() if value and value.source == MADE})
            self._account.write_secret(name, values)
            print(f"  {'updated' if exists else 'created'}")
        else:
            print("  skipped")

    def _keep(self, generated: Mapping[str, str]) -> None:
        """Before they go to Modal, which never gives them back."""
        if not generated:
            return
        path = find_file(self._folder) or self._folder / FILE
        append(path, generated)
        print(f"  {len(generated)} generated values added to {path}: keep it, and keep it out of git")

    def _value(self, variable: Variable, *, generate: bool) -> Found | None:
        if given := self._given.get(variable.name):
            source = FILE if self._in_file.get(variable.name) == given else "environment"
            return Found(given, source)
        if variable.generate is not None:
            # What is on Modal already belongs to data that is there: a new one would lock them out.
            return Found(variable.generate(), MADE) if generate else None
        if self._yes or self._dry_run or not variable.asked:
            return None
        typed = getpass.getpass(f"  {variable.name} ({variable.about}; empty to leave out): ").strip()
        return Found(typed, "typed") if typed else None

    def _agreed(self, question: str) -> bool:
        return self._yes or input(f"{question} [Y/n] ").strip().lower() in ("", "y", "yes")


class Account:
    """What this script asks of Modal, with a deadline on every call. Raises `UserError`."""

    def __init__(self, environment: str) -> None:
        self._environment = environment

    def environments(self) -> set[str]:
        found = self._ask("listing the environments", lambda modal: modal.Environment.objects.list.aio())
        return {environment.name for environment in found}

    def create_environment(self) -> None:
        name = self._environment
        self._ask(f"creating {name}", lambda modal: modal.Environment.objects.create.aio(name))

    def secrets(self) -> set[str]:
        asyncio.run(connect(self._environment))
        found = self._ask(
            "listing the secrets",
            lambda modal: modal.Secret.objects.list.aio(environment_name=self._environment),
        )
        return {secret.name for secret in found}

    def write_secret(self, name: str, values: Mapping[str, str]) -> None:
        """Make the secret, or set these values in it and leave its others as they are."""

        async def write(modal: Any) -> None:
            await modal.Secret.objects.create.aio(
                name, dict(values), environment_name=self._environment, allow_existing=True
            )
            await modal.Secret.from_name(name, environment_name=self._environment).update.aio(dict(values))

        self._ask(f"writing the secret {name}", write)

    def _ask(self, doing: str, ask: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            import modal
        except ModuleNotFoundError:
            raise no_sdk() from None
        try:
            return asyncio.run(within(ask(modal), MODAL_WITHIN, doing))
        except (modal.Error, OSError) as error:
            raise user_error(error, doing) from None


def append(path: Path, values: Mapping[str, str]) -> None:
    """Add `values` to a `.env` file that only its owner can read."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        os.fchmod(descriptor, 0o600)
        text = file.read()
        if text and not text.endswith("\n"):
            file.write("\n")
        file.writelines(f"{name}={value}\n" for name, value in values.items())


def _shown(found: Found | None) -> str:
    return "-" if found is None else f"{'*' * 8} ({found.source})"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; the exit code: 0, or 1 when something is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--yes", action="store_true", help="ask nothing")
    parser.add_argument("--env", default=names.ENVIRONMENT, metavar="NAME", help="the Modal environment")
    args = parser.parse_args(argv)
    try:
        Setup(args.env, Path.cwd(), dry_run=args.dry_run, yes=args.yes).run()
    except UserError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nsetup: stopped; what was written stays, and it may be run again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
