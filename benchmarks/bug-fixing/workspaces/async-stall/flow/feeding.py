"""Take the items, as fast as the workers want them."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from typing import Any


async def feed(queue: asyncio.Queue, items: Iterable[Any] | AsyncIterable[Any], workers: int) -> None:
    """Put all items into `queue`, then None for each worker: the end."""
    if hasattr(items, "__aiter__"):
        async for item in items:
            await queue.put(item)
    else:
        for item in items:
            await queue.put(item)
    for _ in range(workers):
        await queue.put(None)
