"""Messages that are sent later."""

from collections.abc import Callable
from functools import partial

from notify.sending import send

shout = partial(send, urgent=True)
_waiting: list[tuple[Callable, tuple]] = []


def later(to: str, text: str, pressing: bool) -> None:
    _waiting.append((send, (to, text, pressing)))


def run_all() -> int:
    done = 0
    while _waiting:
        function, arguments = _waiting.pop(0)
        function(*arguments)
        done += 1
    return done
