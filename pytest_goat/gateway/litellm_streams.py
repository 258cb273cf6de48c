"""What LiteLLM makes up about a stream, kept from whoever reads it: an end, and numbers of tokens.

LiteLLM closes a stream that its provider just stopped, in the middle of a word or of a tool call, with the
`finish_reason` "stop"; and what a stream does not tell of its usage it counts by a tokenizer of its own. Here
the first becomes an error, in the words that a lost connection has (`pytest_goat.gateway.causes`), and the
second is left out, so that nobody takes it for what the provider charges. Where LiteLLM calls by OpenAI's SDK
(OpenAI, Azure) it does not tell of `[DONE]`: there a stream without `finish_reason` has stopped in any case.

The hook is the documented one (https://docs.litellm.ai/docs/proxy/call_hooks), named in `infra/litellm.yaml`.
It relies on what is not documented: the `chunks` of LiteLLM's stream are what the provider said, with nothing
of LiteLLM's own. So `LiteLLMProcess` starts no other version than the one in which that was looked up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from litellm.integrations.custom_logger import CustomLogger

if TYPE_CHECKING:
    from litellm.types.utils import ModelResponseStream, Usage


class Stream(Protocol):
    """LiteLLM's stream, which yields what the caller is to get."""

    chunks: Sequence[ModelResponseStream]
    """What the provider said so far."""

    def __aiter__(self) -> AsyncIterator[ModelResponseStream]: ...


class StreamStopped(Exception):
    """The provider's stream is over before its end."""


class AsSaid(CustomLogger):
    """Passes what the provider said, and nothing else.

    It has to be the first of LiteLLM's callbacks, as those of the configuration are: only that one is given
    LiteLLM's own stream.
    """

    async def async_post_call_streaming_iterator_hook(
        self, user_api_key_dict: object, response: Stream, request_data: dict[str, Any]
    ) -> AsyncGenerator[ModelResponseStream, None]:
        """What comes of `response`. Raises `StreamStopped` for an end that the provider did not say."""
        async for chunk in response:
            if _finishes(chunk) and not any(map(_finishes, response.chunks)):
                raise StreamStopped("the stream ended without a finish_reason: its payload is not completed")
            usage = _usage(chunk)
            if usage is None or _is_told(usage, response.chunks):
                yield chunk


def _finishes(chunk: ModelResponseStream) -> bool:
    return any(choice.finish_reason for choice in chunk.choices)


def _usage(chunk: ModelResponseStream) -> Usage | None:
    return getattr(chunk, "usage", None)


def _is_told(usage: Usage, chunks: Sequence[ModelResponseStream]) -> bool:
    """Whether the provider told its usage; what it did not tell of its reasoning is taken out of `usage`."""
    told = [said for chunk in chunks if (said := _usage(chunk)) is not None]
    if not any(said.completion_tokens_details for said in told):
        usage.completion_tokens_details = None
    return bool(told)


hook = AsSaid()
"""What `infra/litellm.yaml` names."""
