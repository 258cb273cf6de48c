"""What was done, line by line."""

import time

LINES: list[str] = []


def note(text: str) -> None:
    LINES.append(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + f" {text}")


def stamp() -> int:
    """Whole seconds since 1970."""
    return int(time.time())


class timed:
    """Notes how long a block took: `with timed("import"): ...`"""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> "timed":
        self.start = time.perf_counter()
        return self

    def __exit__(self, *problem: object) -> None:
        note(f"{self.what}: {time.perf_counter() - self.start:.1f} s")
