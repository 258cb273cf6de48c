"""The key that a trial holds to the gateway: signed, expiring, good for this trial and its model alone.

    goat1.<claims: JSON in base64url>.<HMAC-SHA256 over all before the last dot, in base64url>

The secret is the run's own: made on the host when the run starts, put beside the gateway in a `RunRecord`.
The version fixes how a token is signed, so nothing inside it can choose another way. The form is that of
RFC 7515 (compact serialization) without its header.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import re
from dataclasses import dataclass, field
from typing import Any

from pytest_goat.errors import UserError
from pytest_goat.gateway.base import TrialKey
from pytest_goat.gateway.request import Refused

VERSION = "goat1"
TRIAL, RUN = "trial", "run"
"""Roles: a trial may ask its model; a run may send recordings, read what was seen, and close its trials."""

MAX_TOKEN = 1024
"""Characters."""

_RUN_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of who holds it."""

    run: str
    expires: float
    """Seconds since the epoch."""
    role: str = TRIAL
    trial: str = ""
    nonce: str = ""
    """Tells the attempts of a trial apart."""
    task: str = ""
    """For messages."""
    model: str = ""
    """The only one that may be asked for, as the user named it."""
    model_timeout: float = 60.0
    """Seconds without a byte from the model after which a call ends."""
    workdir: str = ""
    """The trial's workspace inside its sandbox; "" when it is not known."""
    recording: str = ""
    """As `TrialKey.recording`."""
    record: str = ""
    """"yes": what is answered is to be kept in the log."""
    max_cost: float | None = None
    """USD that the trial may spend; None: any."""
    max_wait: float = 0.0
    """Seconds that rate limits may hold the trial's calls back."""
    requests_per_minute: int | None = None

    @property
    def attempt(self) -> str:
        """The name, unique in the run, of what holds the token."""
        return f"{self.trial}.{self.nonce}"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What the gateway must know of a run to serve its trials."""

    secret: bytes = field(repr=False)
    models: tuple[str, ...]
    """All that its trials and its judge may ask for."""
    expires: float
    """Seconds since the epoch."""

    @staticmethod
    def key(run_id: str) -> str:
        """Where it lies on the shelf."""
        return f"run/{run_id}"

    def to_bytes(self) -> bytes:
        content = {"secret": self.secret.hex(), "models": self.models, "expires": self.expires}
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> RunRecord:
        content = json.loads(data)
        return cls(bytes.fromhex(content["secret"]), tuple(content["models"]), float(content["expires"]))


def claims_for(key: TrialKey, nonce: str, now: float, model_timeout: float, workdir: str) -> Claims:
    """What the token of one attempt of a trial says; `now`: seconds since the epoch."""
    return Claims(
        run=key.run_id,
        expires=now + key.lifetime,
        trial=key.trial_id,
        nonce=nonce,
        task=key.task_id[:100],
        model=key.model,
        model_timeout=model_timeout,
        workdir=workdir,
        recording=key.recording,
        record="yes" if key.record else "",
        max_cost=key.max_cost,
        max_wait=key.max_wait,
    )


def sign(claims: Claims, secret: bytes) -> str:
    """The token that says `claims`. Raises `UserError` when they are too long for one."""
    said = {name: value for name, value in dataclasses.asdict(claims).items() if value not in ("", None)}
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    signed = f"{VERSION}.{_encode(text.encode(errors='surrogatepass'))}"
    token = f"{signed}.{_mac(signed, secret)}"
    if len(token) > MAX_TOKEN:
        raise UserError(f"trial '{claims.trial[:60]}...': its names are too long for a token of the gateway")
    return token


def run_of(token: str) -> str:
    """The run that a token names, to find its secret with: not to be believed before `verify`.

    Raises `Refused` (401) when it is no token.
    """
    return _parse(token)[2].run


def verify(token: str, secret: bytes, now: float) -> Claims:
    """What `token` says, when the run's `secret` signed it and it has not expired at `now`.

    Raises `Refused` (401).
    """
    signed, signature, claims = _parse(token)
    if not hmac.compare_digest(_mac(signed, secret), signature):
        raise _invalid("its signature is wrong")
    if claims.expires <= now:
        raise Refused(401, "token_expired", "this trial's key (OPENAI_API_KEY) has expired")
    return claims


def _parse(token: str) -> tuple[str, str, Claims]:
    """The signed part, the signature, and the claims."""
    if len(token) > MAX_TOKEN or not token.isascii():
        raise _invalid("it is none of the gateway's")
    signed, _, signature = token.rpartition(".")
    version, _, payload = signed.partition(".")
    if version != VERSION:
        raise _invalid("it is none of the gateway's")
    try:
        said = json.loads(_decode(payload))
    except (ValueError, RecursionError):
        raise _invalid("it cannot be read") from None
    return signed, signature, _claims(said)


_KINDS: dict[str, tuple[type, ...]] = {
    row.name: (str,) if row.type == "str" else (int, float) for row in dataclasses.fields(Claims)
}


def _claims(said: Any) -> Claims:
    # A claim that this version does not know may be a limit: a token with one is none.
    if not (
        isinstance(said, dict)
        and said.keys() <= _KINDS.keys()
        and all(type(value) in _KINDS[name] for name, value in said.items())
        and {"run", "expires"} <= said.keys()
        and _RUN_ID.fullmatch(said["run"])
    ):
        raise _invalid("it cannot be read")
    return Claims(**said)


def _mac(signed: str, secret: bytes) -> str:
    return _encode(hmac.digest(secret, signed.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _invalid(why: str) -> Refused:
    message = f"this gateway wants the trial's own key (OPENAI_API_KEY) as a Bearer token: {why}"
    return Refused(401, "invalid_api_key", message)
