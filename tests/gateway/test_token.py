"""A trial's token: what it says is what was signed, and nobody else can make one."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pytest_goat.errors import UserError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.request import Refused
from pytest_goat.gateway.token import MAX_TOKEN, RUN, Claims, RunRecord, claims_for, run_of, sign, verify

SECRET = b"s" * 32
NOW = 1_000_000.0
CLAIMS = Claims(
    run="20260101-000000-abcd",
    expires=NOW + 60,
    trial="reverse-string-gpt-5-mini-0123abcd",
    nonce="00112233",
    task="reverse-string",
    model="gpt-5-mini",
    model_timeout=45.5,
    workdir="/work",
    recording="ff" * 16,
    max_cost=0.5,
    requests_per_minute=60,
)
TOKEN = sign(CLAIMS, SECRET)

words = some.text(max_size=30)
every_claims = some.builds(
    Claims,
    run=some.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True),
    expires=some.floats(NOW, 2 * NOW, exclude_min=True),
    role=some.sampled_from(["trial", RUN]),
    trial=words,
    nonce=words,
    task=words,
    model=words,
    model_timeout=some.floats(0.1, 600),
    workdir=words,
    recording=words,
    max_cost=some.none() | some.floats(0, 100),
    requests_per_minute=some.none() | some.integers(0, 10_000),
)


def refused(token: str, secret: bytes = SECRET, now: float = NOW) -> Refused:
    with pytest.raises(Refused) as caught:
        verify(token, secret, now)
    assert caught.value.status == 401
    assert token not in str(caught.value) or len(token) < 9
    return caught.value


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(said: Any, secret: bytes = SECRET, version: str = "goat1") -> str:
    """A token of whatever content, with a signature that is right."""
    head = f"{version}.{encode(said if isinstance(said, bytes) else json.dumps(said).encode())}"
    return f"{head}.{encode(hmac.digest(secret, head.encode(), hashlib.sha256))}"


@given(every_claims)
def test_what_was_signed_is_what_is_read(claims: Claims) -> None:
    token = sign(claims, SECRET)
    assert verify(token, SECRET, NOW) == claims
    assert run_of(token) == claims.run
    assert len(token) <= MAX_TOKEN


def test_a_token_is_small_and_may_stand_in_a_header() -> None:
    assert len(TOKEN) < 500
    assert TOKEN.isascii()
    assert TOKEN.isprintable()
    assert " " not in TOKEN


def test_names_that_fit_no_token_are_said() -> None:
    with pytest.raises(UserError, match="too long"):
        sign(dataclasses.replace(CLAIMS, model="m" * 1000), SECRET)


@given(some.integers(0, len(TOKEN) - 1), some.characters(codec="ascii"))
def test_no_character_can_be_changed(position: int, character: str) -> None:
    forged = TOKEN[:position] + character + TOKEN[position + 1 :]
    if forged != TOKEN:
        refused(forged)


@pytest.mark.parametrize("length", [0, 1, 5, 6, 60, len(TOKEN) - 43, len(TOKEN) - 1])
def test_a_truncated_token_is_none(length: int) -> None:
    refused(TOKEN[:length])


@given(some.text() | some.binary().map(lambda data: data.decode("latin-1")))
def test_junk_is_no_token(junk: str) -> None:
    refused(junk)
    refused(f"goat1.{junk}.{junk}")
    refused(f"{TOKEN.rpartition('.')[0]}.{junk}")


@pytest.mark.parametrize("junk", ["\udcff", "goat1.\udcff.x", TOKEN + "=", TOKEN + "\n", "x" * 100_000])
def test_more_junk(junk: str) -> None:
    refused(junk)


def test_a_token_expires() -> None:
    assert verify(TOKEN, SECRET, CLAIMS.expires - 0.001) == CLAIMS
    assert refused(TOKEN, now=CLAIMS.expires).code == "token_expired"


def test_a_token_of_another_run_is_worth_nothing() -> None:
    assert refused(TOKEN, secret=b"t" * 32).code == "invalid_api_key"
    payload = json.loads(base64.urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    assert refused(signed({**payload, "run": "other"}, b"t" * 32)).code == "invalid_api_key"


@pytest.mark.parametrize("version", ["goat0", "goat2", "none", "", "eyJhbGciOiJub25lIn0"])
def test_nothing_in_a_token_chooses_how_it_is_checked(version: str) -> None:
    payload = TOKEN.split(".")[1]
    refused(signed(base64.urlsafe_b64decode(payload + "=="), version=version))
    refused(f"{version}.{payload}.")
    refused(f"goat1.{payload}.")


@pytest.mark.parametrize(
    "said",
    [
        b"{",
        b"\xff",
        b"[" * 700,
        [],
        {},
        {"run": "r"},
        {"expires": NOW + 1},
        {"run": "../r", "expires": NOW + 1},
        {"run": "r", "expires": "never"},
        {"run": "r", "expires": True},
        {"run": "r", "expires": None},
        {"run": 1, "expires": NOW + 1},
        {"run": "r", "expires": NOW + 1, "model": ["a", "b"]},
        {"run": "r", "expires": NOW + 1, "a limit of tomorrow": 1},
    ],
)
def test_claims_that_cannot_be_read_are_none_however_well_signed(said: Any) -> None:
    assert refused(signed(said)).code == "invalid_api_key"


def test_the_claims_of_a_trial() -> None:
    key = TrialKey("run", "trial-1", "t" * 300, "model", lifetime=90.0, recording="ab", max_cost=0.5)
    claims = claims_for(key, "nonce", NOW, 30.0, "/job")
    assert (claims.run, claims.attempt, claims.expires) == ("run", "trial-1.nonce", NOW + 90)
    assert (claims.role, claims.model, claims.model_timeout) == ("trial", "model", 30.0)
    assert (claims.workdir, claims.recording, len(claims.task)) == ("/job", "ab", 100)
    assert claims.max_cost == 0.5


def test_the_record_of_a_run_keeps_its_secret_out_of_sight() -> None:
    record = RunRecord(SECRET, ("replay", "gpt-5-mini"), NOW)
    assert RunRecord.from_bytes(record.to_bytes()) == record
    assert "ssss" not in repr(record)
    assert SECRET.hex() not in repr(record)
