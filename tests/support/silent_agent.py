#!/usr/bin/env python3
"""A third-party agent that tells nothing: it prints nothing, and ends with exit code 0 whatever happened.

`silent_agent.py TURNS` reads the prompt from stdin, asks the model at most TURNS times, streaming, and runs
the Bash calls of the answers. It never asks again after a failure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from typing import Any


def ask(messages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The tool calls in the model's answer, whose text is of no interest."""
    content = {"model": os.environ["EVAL_MODEL"], "messages": messages, "stream": True}
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps(content).encode(),
        {"Content-Type": "application/json", "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]},
    )
    calls: list[dict[str, str]] = []
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            if not line.startswith(b"data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                for call in choice["delta"].get("tool_calls", ()):
                    if "id" in call:
                        calls.append({"id": call["id"], "arguments": ""})
                    calls[-1]["arguments"] += call["function"]["arguments"]
    return calls


def work(turns: int) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": sys.stdin.read()}]
    for _ in range(turns):
        calls = ask(messages)
        for call in calls:
            command = json.loads(call["arguments"])["command"]
            subprocess.run(["bash", "-c", command], stdout=subprocess.DEVNULL, check=False)
        if not calls:
            return
        messages.append({"role": "assistant", "content": "", "tool_calls": calls})


if __name__ == "__main__":
    try:
        work(int(sys.argv[1]))
    except Exception:
        sys.exit(0)
