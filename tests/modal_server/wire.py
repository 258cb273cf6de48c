"""Answers that any part may give: nothing, or one of the errors that the SDK makes its own exceptions of."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty as Empty
from grpclib import GRPCError, Status


def not_found(message: str) -> GRPCError:
    return GRPCError(Status.NOT_FOUND, message)


def exists(message: str) -> GRPCError:
    return GRPCError(Status.ALREADY_EXISTS, message)


def invalid(message: str) -> GRPCError:
    return GRPCError(Status.INVALID_ARGUMENT, message)


def conflict(message: str) -> GRPCError:
    return GRPCError(Status.FAILED_PRECONDITION, message)
