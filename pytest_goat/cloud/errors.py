"""What the errors of the Modal SDK mean to us: one table, measured against modal 1.6.

The names are those of `modal.exception` and of builtins that the SDK lets through. A class that is not listed
means what its nearest listed base class means.
"""

from __future__ import annotations

from enum import StrEnum

from pytest_goat.errors import Cause, GoatError, SandboxError, UserError

TOKEN_MEND = (
    "Run `modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET to a token of your workspace."  # noqa: S105
)
SETUP_MEND = "Run `python infra/setup.py`, which makes the environment and its secrets."
INSTALL_MEND = "Run pip install 'pytest-goat[modal]'"
_LONGEST = 2000
"""Characters of Modal's own words that are passed on, counted from their end."""


class Verdict(StrEnum):
    """What is to be done about an error."""

    LOST = "lost"
    """A new sandbox may do better."""
    QUOTA = "quota"
    """Wait, and make sandboxes more slowly."""
    LIFETIME = "lifetime"
    """The sandbox ended because its time was over."""
    MISSING = "missing"
    """Of a sandbox: it is gone, as `LOST`. Of something that is looked up: never there."""
    NEVER = "never"
    """It comes out the same however often it is tried."""


_VERDICTS = {
    "ServiceError": Verdict.LOST,
    "InternalError": Verdict.LOST,
    "InternalFailure": Verdict.LOST,
    "RemoteError": Verdict.LOST,
    "DataLossError": Verdict.LOST,
    "ClientClosed": Verdict.LOST,
    "SandboxTerminatedError": Verdict.LOST,
    "ConflictError": Verdict.LOST,  # "already finished"; listed before its base class InvalidError
    "StreamTerminatedError": Verdict.LOST,
    "ConnectionError": Verdict.LOST,  # the SDK's own and the builtin one
    "TimeoutError": Verdict.LOST,  # the same
    "OSError": Verdict.LOST,
    "SandboxTimeoutError": Verdict.LIFETIME,
    "ResourceExhaustedError": Verdict.QUOTA,
    "NotFoundError": Verdict.MISSING,
    "AuthError": Verdict.NEVER,
    "PermissionDeniedError": Verdict.NEVER,
    "InvalidError": Verdict.NEVER,
    "ImageBuildError": Verdict.NEVER,
    "VersionError": Verdict.NEVER,
    "AlreadyExistsError": Verdict.NEVER,
    "UnimplementedError": Verdict.NEVER,
}
_MENDS = {
    "AuthError": TOKEN_MEND,
    "PermissionDeniedError": "Use a token that may do this: `modal profile list` shows which one is active.",
    "VersionError": "Run pip install --upgrade 'pytest-goat[modal]'",
    "NotFoundError": SETUP_MEND,
    "ResourceExhaustedError": "Wait, or raise the limit of your Modal plan.",
}
_CAUSES = {
    Verdict.LOST: Cause.SANDBOX_LOST,
    Verdict.MISSING: Cause.SANDBOX_LOST,
    Verdict.QUOTA: Cause.SANDBOX_LIMIT,
    Verdict.LIFETIME: Cause.SANDBOX_LIMIT,
}


def verdict(error: BaseException) -> Verdict | None:
    """What `error` means; None for one that is not Modal's, and so a fault of ours."""
    return next((_VERDICTS[name] for name in _names(error) if name in _VERDICTS), None)


def sandbox_error(error: Exception, doing: str) -> GoatError:
    """The error to raise when `doing` something with a sandbox ended in `error`.

    A `SandboxError` with its cause, or a `UserError` for what no other sandbox would change. What is no error
    of Modal's is a `SandboxError` too, with the cause `internal`.
    """
    found = verdict(error)
    if found is Verdict.NEVER:
        return user_error(error, doing)
    return SandboxError(_CAUSES.get(found, Cause.INTERNAL) if found else Cause.INTERNAL, _said(error, doing))


def user_error(error: Exception, doing: str) -> UserError:
    """The error to raise when `doing` something that a whole run rests on ended in `error`, with the mend."""
    mends = (_MENDS[name] for name in _names(error) if name in _MENDS)
    mend = next(mends, "Is Modal up? See https://status.modal.com" if verdict(error) is Verdict.LOST else "")
    return UserError(_said(error, doing) + (f"\n  {mend}" if mend else ""))


def no_sdk() -> UserError:
    """The error to raise when the Modal SDK is not installed."""
    return UserError(f"modal: the Modal SDK is not installed\n  {INSTALL_MEND}")


def _names(error: BaseException) -> list[str]:
    return [kind.__name__ for kind in type(error).__mro__]


def _said(error: Exception, doing: str) -> str:
    words = str(error).strip() or type(error).__name__
    return f"modal: {doing}: {words[-_LONGEST:]}"
