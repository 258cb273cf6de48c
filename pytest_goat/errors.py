"""The errors that reach a person, and the short list of causes.

GoatError
├── UserError        what the user gave is wrong: an option, a file, a missing key (exit code 4)
│   └── TaskError    a prompt file is wrong: names file, line, field and the mend
└── InfraError       infrastructure failed: says nothing about the model; carries a Cause
    ├── SandboxError
    └── GatewayError
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Why a trial did not pass. The first block is about the work, the second about infrastructure."""

    CHECKS_FAILED = "checks_failed"
    TIMEOUT = "timeout"
    TURN_LIMIT = "turn_limit"
    LENGTH_CUT = "length_cut"
    CONTEXT_OVERFLOW = "context_overflow"
    REFUSAL = "refusal"
    MALFORMED_CALL = "malformed_call"
    BUDGET = "budget"
    FORBIDDEN = "forbidden"
    AGENT_CRASHED = "agent_crashed"
    NO_ANSWER = "no_answer"

    UNREACHABLE = "gateway_unreachable"
    AUTH = "auth"
    MODEL_NOT_FOUND = "model_not_found"
    RATE_LIMITED = "rate_limited"
    PROVIDER_ERROR = "provider_error"
    STREAM_CUT = "stream_cut"
    MODEL_TIMEOUT = "model_timeout"
    BAD_REQUEST = "bad_request"
    REPLAY_MISS = "replay_miss"
    SANDBOX_LOST = "sandbox_lost"
    SANDBOX_LIMIT = "sandbox_limit"
    CHECK_ERROR = "check_error"
    SETUP = "setup"
    INTERNAL = "internal"


class GoatError(Exception):
    """Base of every error of this project; `str(error)` is the whole message for the user."""


class UserError(GoatError):
    """What the user gave is wrong. The message says what, and what to do."""


class TaskError(UserError):
    """A prompt file or suite is wrong.

    `path` and `line` (1-based, 0 when the format has none) say where, `field` which key ("" for the whole
    file), `problem` what is wrong, `mend` what to write instead.
    """

    def __init__(self, path: str, line: int, field: str, problem: str, mend: str = "") -> None:
        self.path, self.line, self.field, self.problem, self.mend = path, line, field, problem, mend
        where = f"{path}:{line}" if line else path
        what = f"{field}: {problem}" if field else problem
        super().__init__(f"{where}: {what}" + (f"\n  {mend}" if mend else ""))


class InfraError(GoatError):
    """Infrastructure failed; `cause` is one of the infrastructure causes."""

    def __init__(self, cause: Cause, message: str) -> None:
        self.cause = cause
        super().__init__(message)


class SandboxError(InfraError):
    """A sandbox could not be opened, or was lost."""


class GatewayError(InfraError):
    """The model endpoint could not be reached or refused."""
