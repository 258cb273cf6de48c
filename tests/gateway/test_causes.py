"""The table of causes, row by row, in the words of the providers."""

from __future__ import annotations

import pytest

from pytest_goat.errors import Cause
from pytest_goat.gateway import causes
from pytest_goat.gateway.causes import HELD_TOO_LONG, OVER_BUDGET, TABLE, Ending, Outcome, Row, cause_of

BROKEN = {
    Ending.UNREACHABLE: Cause.UNREACHABLE,
    Ending.SILENT: Cause.MODEL_TIMEOUT,
    Ending.CUT: Cause.STREAM_CUT,
    Ending.REFUSED: Cause.FORBIDDEN,
    Ending.BUG: Cause.INTERNAL,
}

STATUSES = {
    301: Cause.PROVIDER_ERROR,
    400: Cause.BAD_REQUEST,
    401: Cause.AUTH,
    402: Cause.AUTH,
    403: Cause.AUTH,
    404: Cause.MODEL_NOT_FOUND,
    405: Cause.BAD_REQUEST,
    408: Cause.MODEL_TIMEOUT,
    413: Cause.BAD_REQUEST,
    422: Cause.BAD_REQUEST,
    429: Cause.RATE_LIMITED,
    500: Cause.PROVIDER_ERROR,
    502: Cause.PROVIDER_ERROR,
    503: Cause.PROVIDER_ERROR,
    504: Cause.PROVIDER_ERROR,
    529: Cause.PROVIDER_ERROR,
}

OVERFLOWS = {
    "OpenAI": (
        400,
        "invalid_request_error context_length_exceeded This model's maximum context length is 128000 tokens. "
        "However, your messages resulted in 130452 tokens.",
    ),
    "OpenAI, newer": (
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    "OpenAI, one long message": (400, "invalid_request_error string_above_max_length string too long"),
    "OpenAI, old, grown": (
        400,
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
        "(7000 in the messages, 2000 in the completion). Please reduce the length of the messages.",
    ),
    "Anthropic": (400, "invalid_request_error prompt is too long: 208310 tokens > 200000 maximum"),
    "Anthropic, with room": (
        400,
        "invalid_request_error input length and `max_tokens` exceed context limit: 195000 + 16384 > 200000",
    ),
    "Anthropic, bytes": (413, "request_too_large Request exceeds the maximum size"),
    "Groq": (400, "invalid_request_error Please reduce the length of the messages or completion."),
    "vLLM": (
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum "
        "context length is 8192 tokens and your request has 7000 input tokens (2048 > 8192 - 7000).",
    ),
    "vLLM, prompt": (
        400,
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192.",
    ),
    "LiteLLM": (400, "litellm.ContextWindowExceededError: litellm.BadRequestError: ..."),
    "llama.cpp": (400, "exceed_context_size_error the request exceeds the available context size"),
    "SGLang": (400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    "xAI": (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
    "Gemini": (
        400,
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "Bedrock": (400, "Input is too long for requested model."),
    "in a stream": (200, "context_length_exceeded too long"),
}

OTHERS = {
    "vLLM, room for the answer alone too large": (
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum "
        "context length is 8192 tokens and your request has 100 input tokens (16384 > 8192 - 100).",
        Cause.BAD_REQUEST,
    ),
    "vLLM, the same in older words": (
        400,
        "This model's maximum context length is 8192 tokens. However, you requested 16484 tokens "
        "(100 in the messages, 16384 in the completion).",
        Cause.BAD_REQUEST,
    ),
    "Groq, tokens per minute": (
        413,
        "tokens rate_limit_exceeded Request too large for model `x` on tokens per minute (TPM): Limit 6000",
        Cause.RATE_LIMITED,
    ),
    "Azure's filter": (
        400,
        "content_filter The response was filtered due to the prompt triggering Azure OpenAI's content "
        "management policy.",
        Cause.REFUSAL,
    ),
    "LiteLLM, name": (400, "Invalid model name passed in model=x", Cause.MODEL_NOT_FOUND),
    "DeepSeek, name": (400, "invalid_request_error Model Not Exist", Cause.MODEL_NOT_FOUND),
    "Groq, retired": (400, "The model `x` has been decommissioned", Cause.MODEL_NOT_FOUND),
    "LiteLLM, cut stream": (
        500,
        "litellm.APIConnectionError: APIConnectionError: OpenAIException - Response payload is not completed",
        Cause.STREAM_CUT,
    ),
    "LiteLLM, closed connection": (
        500,
        "litellm.InternalServerError: InternalServerError: GroqException - Server disconnected",
        Cause.UNREACHABLE,
    ),
    "LiteLLM, no connection to Azure": (
        500,
        "litellm.APIConnectionError: AzureException APIConnectionError - Connection error.",
        Cause.UNREACHABLE,
    ),
    "a provider's own trouble with connections": (500, "Connection error.", Cause.PROVIDER_ERROR),
    "LiteLLM, a key's budget": (
        400,
        "budget_exceeded Budget has been exceeded! Current cost: 1.0, Max budget: 0.5",
        Cause.AUTH,
    ),
    "OpenAI, no money": (429, "insufficient_quota You exceeded your current quota", Cause.AUTH),
    "Anthropic, no money": (
        400,
        "invalid_request_error Your credit balance is too low to access the Anthropic API.",
        Cause.AUTH,
    ),
    "Groq, tool call": (
        400,
        "invalid_request_error tool_use_failed Failed to call a function. Please adjust your prompt. "
        "See 'failed_generation' for more details.",
        Cause.MALFORMED_CALL,
    ),
    "Groq by LiteLLM, with the model's words": (
        400,
        'litellm.BadRequestError: GroqException - {"error":{"message":"Failed to call a function.",'
        '"code":"tool_use_failed","failed_generation":"search{\\"query\\": \\"insufficient_quota\\"}"}}',
        Cause.MALFORMED_CALL,
    ),
    "Groq, tool call in a stream": (200, "tool_use_failed Failed to call a function.", Cause.MALFORMED_CALL),
    "LiteLLM, key": (400, "no_db_connection No connected db.", Cause.AUTH),
    "Gemini, key": (400, "API key not valid. Please pass a valid API key.", Cause.AUTH),
    "budget of a recorded trial": (403, "replayed_error (trial_budget_exceeded)", Cause.BUDGET),
    "recording": (400, "replay_miss replay_miss there is none", Cause.REPLAY_MISS),
    "a provider's address": (404, "unknown_url", Cause.BAD_REQUEST),
    "in a stream: rate": (200, "rate_limit_error Too many requests", Cause.RATE_LIMITED),
    "in a stream: overloaded": (200, "overloaded_error Overloaded", Cause.PROVIDER_ERROR),
    "in a stream: key": (200, "invalid_api_key bad", Cause.AUTH),
    "in a stream: anything": (200, "oh no", Cause.PROVIDER_ERROR),
}

REFUSED = {
    OVER_BUDGET: Cause.BUDGET,
    HELD_TOO_LONG: Cause.RATE_LIMITED,
    "too_many_requests": Cause.FORBIDDEN,
    "model_not_found": Cause.FORBIDDEN,
    "invalid_api_key": Cause.FORBIDDEN,
}
"""Codes of the proxy itself."""


@pytest.mark.parametrize(("ending", "cause"), BROKEN.items(), ids=lambda value: value.name)
def test_without_an_answer(ending: Ending, cause: Cause) -> None:
    assert cause_of(Outcome(ending)) is cause


@pytest.mark.parametrize(("status", "cause"), STATUSES.items(), ids=str)
def test_by_status(status: int, cause: Cause) -> None:
    assert cause_of(Outcome(status=status, error="words that say nothing")) is cause
    assert cause_of(Outcome(status=status)) is cause


@pytest.mark.parametrize(("status", "error"), OVERFLOWS.values(), ids=OVERFLOWS.keys())
def test_a_conversation_too_long(status: int, error: str) -> None:
    assert cause_of(Outcome(status=status, error=error)) is Cause.CONTEXT_OVERFLOW
    # The same words under a status of infrastructure do not blame the model.
    assert cause_of(Outcome(status=500, error=error)) is Cause.PROVIDER_ERROR
    assert cause_of(Outcome(status=429, error=error)) is Cause.RATE_LIMITED


@pytest.mark.parametrize(("status", "error", "cause"), OTHERS.values(), ids=OTHERS.keys())
def test_by_words(status: int, error: str, cause: Cause) -> None:
    assert cause_of(Outcome(status=status, error=error)) is cause


@pytest.mark.parametrize(("code", "cause"), REFUSED.items())
def test_what_the_proxy_itself_refuses(code: str, cause: Cause) -> None:
    for status in (400, 401, 403, 404, 413, 429):
        assert cause_of(Outcome(Ending.REFUSED, status, code)) is cause


def test_a_whole_answer_has_no_cause() -> None:
    assert cause_of(Outcome()) is None


def test_every_row_is_tried_here() -> None:
    given = [Outcome(ending) for ending in BROKEN]
    given += [Outcome(status=status) for status in STATUSES]
    given += [Outcome(status=status, error=error) for status, error in OVERFLOWS.values()]
    given += [Outcome(status=status, error=error) for status, error, _ in OTHERS.values()]
    given += [Outcome(Ending.REFUSED, error=code) for code in REFUSED]
    decisive = [next(row for row in TABLE if row.fits(outcome)) for outcome in given]
    assert [row for row in TABLE if row not in decisive] == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.cause.value)
def test_the_docstring_names_every_cause(row: Row) -> None:
    assert f"| {row.cause.value} |" in (causes.__doc__ or "")
