"""Rules that customers write, as JSON: [{"who": "ada", "text": "...", "urgent": true}, ...]."""

import json

from notify.sending import Message, send


def apply(text: str) -> None:
    for rule in json.loads(text):
        send(rule["who"], rule["text"], rule.get("urgent", False))


def dump(messages: list[Message]) -> str:
    return json.dumps([{"who": each.to, "text": each.text, "urgent": each.urgent} for each in messages])
