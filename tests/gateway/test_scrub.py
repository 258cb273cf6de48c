"""What is taken out of recordings, and what is left alone."""

from __future__ import annotations

import pytest

from pytest_goat.gateway.scrub import Marks, Person, Scrubber
from pytest_goat.redact import Redactor

ALICE = Person(home="/home/alice", user="alice", host="alices-laptop.example.org")
KNOWN = "canary-5f1c0e77a9b34d21"


def scrub(text: str, workdir: str = "/workspace", person: Person = ALICE) -> str:
    ids = {"20261124-075945-4fd9": "run-id", "hello-m-5d0302fc": "trial-id"}
    scrubber = Scrubber(Redactor([KNOWN]), person, workdir, Marks("{workdir}", "{home}"), ids)
    assert scrubber.value({text: [text, 1, None]}) == {scrubber.text(text): [scrubber.text(text), 1, None]}
    return scrubber.text(text)


TAKEN_OUT = {
    "a known secret": (f"key={KNOWN}!", "key=[redacted]!"),
    "an OpenAI key": ("export K=sk-proj-Ab3dEfGh1jKlMnOpQrStUv", "export K=[redacted]"),
    "a GitHub token": (f"x ghp_{'a1' * 18} y", "x [redacted] y"),
    "an AWS key": ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
    "a trial's token": ("Bearer goat1.eyJydW4i.c2lnbmF0dXJl", "Bearer [redacted]"),
    "a JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"),
    "a private key": (
        "a\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nb",
        "a\n[redacted]\nb",
    ),
    "the workspace": ("cd /workspace && ls /workspace/a.py.", "cd {workdir} && ls {workdir}/a.py."),
    "a URL of the workspace": ("file:///workspace/a", "file://{workdir}/a"),
    "the home folder": ("/home/alice/.venv/bin/python -V", "{home}/.venv/bin/python -V"),
    "a folder of the user's": ("/data/alice/x", "/data/user/x"),
    "the user on a host": ("ssh alice@alices-laptop.example.org", "ssh user@host"),
    "pytest's folder": ("/tmp/pytest-of-alice/pytest-3", "/tmp/pytest-of-user/pytest-3"),
    "the short host": ("on alices-laptop now", "on host now"),
    "ids": ("run 20261124-075945-4fd9, hello-m-5d0302fc", "run run-id, trial-id"),
}


@pytest.mark.parametrize(("text", "expected"), TAKEN_OUT.values(), ids=TAKEN_OUT.keys())
def test_what_is_taken_out(text: str, expected: str) -> None:
    assert scrub(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "alice = 1  # a name that a program may use",
        "cat {workdir}/alice/notes.txt",
        "src/alice/notes.txt",
        "/workspaces/a and my/workspace and /workspace-2 and ~/workspace",
        "/home/alicia/x",
        ".sk-loading-indicator-container-large { }",
        "20261124-075945-4fd90",
        "f'{home}/{workdir}'",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_a_sandbox_that_is_a_folder_of_this_machine() -> None:
    box = "/home/alice/tmp/box-1"
    text = f"{box}/workspace/a {box}/tmp/b {box} /home/alice/c"
    assert scrub(text, f"{box}/workspace") == "{workdir}/a {workdir}/../tmp/b {workdir}/.. {home}/c"


@pytest.mark.parametrize("person", [Person("/root", "root", "localhost"), Person("/", "", "")])
def test_who_tells_of_nobody(person: Person) -> None:
    text = "ls /root / /home/root; root@localhost"
    assert scrub(text, person=person) == text
