"""How wide a line may be."""

_width = 72


def set_width(columns: int) -> None:
    """How wide a line may be from now on."""
    global _width
    if columns < 10:
        raise ValueError("a line has at least 10 columns")
    _width = columns


def width() -> int:
    return _width
