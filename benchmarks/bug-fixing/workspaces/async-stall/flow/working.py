"""What one worker does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


async def work(queue: asyncio.Queue, handler: Callable[[Any], Awaitable[Any]], results: list[Any]) -> None:
    """Handle what comes out of `queue`, until None does."""
    while True:
        item = await queue.get()
        if item is None:
            return
        results.append(await handler(item))
