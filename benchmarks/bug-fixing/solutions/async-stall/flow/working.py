"""What one worker does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from flow.feeding import END


async def work(queue: asyncio.Queue, handler: Callable[[Any], Awaitable[Any]], results: dict[int, Any]) -> None:
    """Handle what comes out of `queue`, until the end does."""
    while True:
        number, item = await queue.get()
        if item is END:
            return
        results[number] = await handler(item)
