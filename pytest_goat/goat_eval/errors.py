"""The errors of the agent.

AgentError
├── ConfigError   flags, environment or a file are wrong: nothing was asked of the model (Usage in `flags`)
├── ModelError    a model call failed for good, or this attempt of it
└── ToolError     a tool call failed: the model is told, and goes on
Stopped           a signal or the deadline ends the run; no Exception, so that no handler of errors eats it
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of the errors that the agent knows of."""


class ConfigError(AgentError):
    """What the run was given cannot be used; `str(error)` goes to stderr as it is."""

    code = 1
    """The exit code."""


class ToolError(AgentError):
    """A tool call failed; the message is for the model."""


class ModelError(AgentError):
    """A model call failed.

    `kind` is one word of a short list: gateway_unreachable, auth, model_not_found, rate_limited,
    provider_error, stream_cut, model_timeout, bad_request, context_overflow. `status` is the HTTP status, 0
    when there was no answer. `retry_after` is what the server asked for, in seconds.
    """

    def __init__(
        self, kind: str, message: str, *, status: int = 0, retryable: bool = False, retry_after: float = 0.0
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status
        self.retryable = retryable
        self.retry_after = retry_after


class Stopped(BaseException):
    """The run ends now: `signum` is the signal, 0 for the deadline."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum
