import pytest

from bus import Bus


def test_tells_listeners_by_priority():
    bus, heard = Bus(), []
    bus.subscribe("e", lambda word: heard.append(("low", word)), priority=-1)
    bus.subscribe("e", lambda word: heard.append(("high", word)), priority=5)
    assert bus.emit("e", "hello") == 2
    assert heard == [("high", "hello"), ("low", "hello")]


def test_cancelled_listeners_are_not_told():
    bus, heard = Bus(), []
    subscription = bus.subscribe("e", heard.append)
    subscription.cancel()
    subscription.cancel()
    assert bus.emit("e", 1) == 0
    assert bus.count("e") == 0


def test_errors_are_gathered():
    bus = Bus()
    bus.subscribe("e", lambda: 1 / 0)
    with pytest.raises(ExceptionGroup):
        bus.emit("e")
