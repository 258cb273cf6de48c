"""What a test asks of the server beside gRPC: `POST /admin/NAME` with a JSON object of details.

The names are the parts' `admin_NAME` methods and those of `Admin` here. A wrong name or detail is answered
400 with what is wrong.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from tests.modal_server.faults import Fault
from tests.modal_server.state import State

PREFIX = "admin_"


class Admin:
    """Counts, faults and limits."""

    def __init__(self, state: State) -> None:
        self._state = state

    def admin_calls(self) -> dict[str, int]:
        return dict(self._state.calls)

    def admin_reset_calls(self) -> None:
        self._state.calls.clear()

    def admin_fault(self, **details: Any) -> None:
        self._state.faults.add(Fault(**details))

    def admin_clear_faults(self) -> None:
        self._state.faults.clear()

    def admin_set(self, **limits: float) -> None:
        self._state.limits.set(limits)

    def admin_cpu(self) -> float:
        """Seconds of CPU that this process has taken, without its children."""
        return time.process_time()


def routes(parts: Sequence[object]) -> list[web.RouteDef]:
    actions: dict[str, Callable[..., Any]] = {}
    for part in parts:
        for name, method in inspect.getmembers(part, inspect.ismethod):
            if name.startswith(PREFIX):
                assert name not in actions, f"{name} is in two parts"
                actions[name] = method

    async def act(request: web.Request) -> web.Response:
        action = actions.get(PREFIX + request.match_info["name"])
        if action is None:
            raise web.HTTPBadRequest(
                text=f"no {request.match_info['name']}: one of {', '.join(sorted(actions))}"
            )
        try:
            answer = action(**await request.json())
            return web.json_response(await answer if inspect.isawaitable(answer) else answer)
        except (TypeError, ValueError, LookupError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error

    return [web.post("/admin/{name}", act)]
