from datetime import date, datetime, timedelta, timezone

import pytest

from tickets import clock, journal, memory, model, numbers, promises

EARLY_MEMORY = memory.Memory(60)
EARLY_TICKET = model.Ticket("made before the clock was set")

NEW_YEAR = datetime(1999, 12, 31, 23, 59, 30, tzinfo=timezone.utc)


class Fake:
    def __init__(self):
        self.time = NEW_YEAR

    def __call__(self):
        return self.time

    def go(self, **much):
        self.time += timedelta(**much)


@pytest.fixture
def fake():
    fake = Fake()
    clock.set_source(fake)
    yield fake
    clock.set_source(None)


def machine():
    return datetime.now(timezone.utc)


def test_now_follows_the_source(fake):
    assert clock.now() == NEW_YEAR
    fake.go(hours=1)
    assert clock.now() == NEW_YEAR + timedelta(hours=1)


def test_now_is_in_utc_whatever_the_source(fake):
    fake.time = datetime(2031, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=5)))
    assert clock.now() == fake.time
    assert clock.now().utcoffset() == timedelta(0)
    assert clock.now().date() == date(2030, 12, 31)


def test_the_machine_is_the_source_otherwise(fake):
    clock.set_source(None)
    assert abs(clock.now() - machine()) < timedelta(seconds=30)
    assert clock.now().utcoffset() == timedelta(0)
    assert abs(model.Ticket("x").opened - machine()) < timedelta(seconds=30)
    clock.set_source(fake)
    assert model.Ticket("x").opened == NEW_YEAR


def test_tickets(fake):
    ticket = model.Ticket("gate")
    assert ticket.opened == NEW_YEAR
    fake.go(minutes=2)
    assert ticket.age() == 120
    ticket.close()
    assert ticket.closed == NEW_YEAR + timedelta(minutes=2)
    fake.go(days=9)
    assert ticket.age() == 120
    assert model.Ticket("x", opened=NEW_YEAR - timedelta(days=1)).opened == NEW_YEAR - timedelta(days=1)
    EARLY_TICKET.close()
    assert EARLY_TICKET.closed == fake.time


def test_numbers(fake):
    assert [numbers.next_number(), numbers.next_number()] == ["1999-0001", "1999-0002"]
    fake.go(minutes=1)
    assert numbers.next_number() == "2000-0001"
    fake.time = datetime(2034, 1, 1, 3, 0, tzinfo=timezone(timedelta(hours=5)))
    assert numbers.next_number() == "2033-0001"


def test_overdue(fake):
    ticket = model.Ticket("gate")
    assert not promises.overdue(ticket)
    fake.go(days=1)
    assert not promises.overdue(ticket, "high")
    fake.go(seconds=1)
    assert promises.overdue(ticket, "high")
    assert not promises.overdue(ticket)
    fake.go(days=3)
    assert promises.overdue(ticket)
    assert not promises.overdue(ticket, at=NEW_YEAR)
    assert promises.overdue(ticket, "high", NEW_YEAR + timedelta(days=2))
    ticket.close()
    assert not promises.overdue(ticket)


def test_overdue_by_the_machine_means_at_the_call():
    ticket = model.Ticket("x", opened=machine() - timedelta(days=3))
    assert promises.overdue(ticket)


def test_due_today(fake):
    tickets = [model.Ticket(str(days), opened=NEW_YEAR + timedelta(days=days)) for days in range(-4, 2)]
    assert [each.title for each in promises.due_today(tickets)] == ["-3"]
    fake.go(minutes=1)
    assert [each.title for each in promises.due_today(tickets)] == ["-2"]
    assert [each.title for each in promises.due_today(tickets, "high")] == ["0"]


@pytest.mark.parametrize("kept", [EARLY_MEMORY, None])
def test_memory(fake, kept):
    kept = kept or memory.Memory(60)
    kept.put("a", 1)
    fake.go(seconds=59)
    kept.put("b", 2)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, 2, None)
    fake.go(seconds=1)
    assert (kept.get("a"), kept.get("b")) == (None, 2)
    fake.go(days=1)
    assert kept.get("b") is None


def test_memory_with_a_timer_of_its_own(fake):
    seconds = [0.0]
    kept = memory.Memory(10, timer=lambda: seconds[0])
    kept.put("a", 1)
    fake.go(days=1)
    assert kept.get("a") == 1
    seconds[0] = 10.0
    assert kept.get("a") is None


def test_journal(fake):
    journal.note("hello")
    assert journal.LINES[-1] == "1999-12-31 23:59:30 hello"
    fake.time = datetime(2031, 3, 4, 1, 0, 5, 999999, tzinfo=timezone(timedelta(hours=2)))
    journal.note("good evening")
    assert journal.LINES[-1] == "2031-03-03 23:00:05 good evening"
    assert journal.stamp() == int(datetime(2031, 3, 3, 23, 0, 5, tzinfo=timezone.utc).timestamp())
    assert isinstance(journal.stamp(), int)


def test_timed_blocks(fake):
    with journal.timed("import") as block:
        assert block.what == "import"
        fake.go(seconds=90, milliseconds=100)
    assert journal.LINES[-1] == "2000-01-01 00:01:00 import: 90.1 s"
