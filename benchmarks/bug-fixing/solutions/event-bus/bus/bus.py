"""The bus."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bus.subscription import Subscription


class Bus:
    def __init__(self) -> None:
        self._subscriptions: dict[str, list[Subscription]] = {}

    def subscribe(self, event: str, listener: Callable[..., Any], priority: int = 0) -> Subscription:
        return self._add(Subscription(self, event, listener, priority))

    def once(self, event: str, listener: Callable[..., Any], priority: int = 0) -> Subscription:
        return self._add(Subscription(self, event, listener, priority, once=True))

    def emit(self, event: str, *args: Any) -> int:
        called = 0
        errors = []
        for subscription in list(self._subscriptions.get(event, [])):
            if not subscription.active:
                continue
            if subscription.once:
                subscription.cancel()
            called += 1
            try:
                subscription.listener(*args)
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup(f"listeners of {event} failed", errors)
        return called

    def count(self, event: str) -> int:
        return len(self._subscriptions.get(event, []))

    def remove(self, subscription: Subscription) -> None:
        listening = self._subscriptions.get(subscription.event, [])
        if subscription in listening:
            listening.remove(subscription)

    def _add(self, subscription: Subscription) -> Subscription:
        listening = self._subscriptions.setdefault(subscription.event, [])
        listening.append(subscription)
        listening.sort(key=lambda each: -each.priority)
        return subscription
