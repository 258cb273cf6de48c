"""Put feeder and workers together."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

from flow.feeding import feed
from flow.working import work


async def run(
    items: Iterable[Any] | AsyncIterable[Any],
    handler: Callable[[Any], Awaitable[Any]],
    workers: int = 4,
    waiting: int = 8,
) -> list[Any]:
    """The results of `handler` for all `items`; README.md has the rules."""
    queue: asyncio.Queue = asyncio.Queue(waiting)
    results: dict[int, Any] = {}
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(feed(queue, items, workers))
            for _ in range(workers):
                group.create_task(work(queue, handler, results))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return [results[number] for number in range(len(results))]
