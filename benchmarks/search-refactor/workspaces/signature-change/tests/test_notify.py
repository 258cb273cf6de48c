from notify import outbox, send
from notify.alarms import fire


def test_sending():
    outbox.clear()
    send("ada", "hello")
    assert [(each.to, each.text) for each in outbox] == [("ada", "hello")]


def test_fire():
    outbox.clear()
    fire("the barn")
    assert [each.text for each in outbox] == ["! fire in the barn"] * 2
