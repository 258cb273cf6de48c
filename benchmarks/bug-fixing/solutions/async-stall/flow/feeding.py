"""Take the items, as fast as the workers want them."""

import asyncio
from collections.abc import AsyncIterable, Iterable
from contextlib import aclosing, closing, nullcontext
from typing import Any

END = object()


async def feed(queue: asyncio.Queue, items: Iterable[Any] | AsyncIterable[Any], workers: int) -> None:
    """Put all items into `queue`, numbered, then the end for each worker. Closes `items`."""
    number = 0
    if hasattr(items, "__aiter__"):
        async with aclosing(items) if hasattr(items, "aclose") else nullcontext():
            async for item in items:
                await queue.put((number, item))
                number += 1
    else:
        with closing(items) if hasattr(items, "close") and hasattr(items, "send") else nullcontext():
            for item in items:
                await queue.put((number, item))
                number += 1
    for _ in range(workers):
        await queue.put((number, END))
