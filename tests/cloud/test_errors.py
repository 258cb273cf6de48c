"""What the SDK's errors come to."""

from __future__ import annotations

import asyncio

import modal.exception
import pytest
from grpclib.exceptions import StreamTerminatedError

from pytest_goat.cloud.errors import Verdict, sandbox_error, user_error, verdict
from pytest_goat.errors import Cause, SandboxError, UserError

LOST = [
    modal.exception.ServiceError,
    modal.exception.InternalError,
    modal.exception.InternalFailure,
    modal.exception.ConnectionError,
    modal.exception.DataLossError,
    modal.exception.SandboxTerminatedError,
    modal.exception.ConflictError,  # although it is an InvalidError too
    ConnectionError,
    ConnectionResetError,
    TimeoutError,
    asyncio.TimeoutError,
    StreamTerminatedError,
]
NEVER = [
    modal.exception.AuthError,
    modal.exception.PermissionDeniedError,
    modal.exception.InvalidError,
    modal.exception.VersionError,
    modal.exception.AlreadyExistsError,
    modal.exception.UnimplementedError,
]


@pytest.mark.parametrize("kind", LOST)
def test_what_a_new_sandbox_may_mend(kind: type[Exception]) -> None:
    error = sandbox_error(kind("gone"), "running")
    assert isinstance(error, SandboxError)
    assert (error.cause, str(error)) == (Cause.SANDBOX_LOST, "modal: running: gone")


@pytest.mark.parametrize("kind", NEVER)
def test_what_nothing_mends(kind: type[Exception]) -> None:
    assert verdict(kind("no")) is Verdict.NEVER
    assert isinstance(sandbox_error(kind("no"), "running"), UserError)


def test_quotas_and_lifetimes_are_limits() -> None:
    for error in (modal.exception.ResourceExhaustedError("5/s"), modal.exception.SandboxTimeoutError()):
        found = sandbox_error(error, "running")
        assert isinstance(found, SandboxError)
        assert found.cause is Cause.SANDBOX_LIMIT


def test_a_missing_thing_is_a_lost_sandbox_or_a_missing_set_up() -> None:
    missing = modal.exception.NotFoundError("no such thing")
    found = sandbox_error(missing, "running")
    assert isinstance(found, SandboxError)
    assert found.cause is Cause.SANDBOX_LOST
    assert "python infra/setup.py" in str(user_error(missing, "looking up the secret"))


def test_a_fault_of_ours_is_internal() -> None:
    found = sandbox_error(KeyError("x"), "running")
    assert isinstance(found, SandboxError)
    assert found.cause is Cause.INTERNAL


def test_the_words_are_bounded_and_keep_their_end() -> None:
    said = str(
        user_error(modal.exception.ImageBuildError("x" * 10_000 + " no space left", "im-1"), "building")
    )
    assert said.startswith("modal: building: ")
    assert "no space left" in said
    assert len(said) < 2500


def test_an_error_without_words_is_named() -> None:
    assert "SandboxTerminatedError" in str(sandbox_error(modal.exception.SandboxTerminatedError(), "running"))
