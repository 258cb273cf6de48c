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
    results: list[Any] = []
    crew = [asyncio.create_task(work(queue, handler, results)) for _ in range(workers)]
    await feed(queue, items, workers)
    await asyncio.gather(*crew)
    return results
