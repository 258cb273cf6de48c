"""One server that plays Azure, Groq, OpenAI, Anthropic and vLLM at the wire: each with paths, headers,
rules for requests, answers and errors of its own.

    with Providers([Answer(tools=[ToolCall("Bash", {"command": "ls"})]), Answer("done")]) as providers:
        run(environ=providers.environ)
    assert providers.calls[0].provider == "azure"
    assert providers.refused == []
"""

from __future__ import annotations

from tests.support.providers.rules import KEYS
from tests.support.providers.server import Call, Providers

__all__ = ["KEYS", "Call", "Providers"]
