from tickets.journal import LINES, note
from tickets.memory import Memory
from tickets.model import Ticket
from tickets.numbers import next_number


def test_life_of_a_ticket():
    ticket = Ticket("gate broken")
    assert 0 <= ticket.age() < 60
    ticket.close()
    assert ticket.closed >= ticket.opened


def test_numbers_count():
    first, second = next_number(), next_number()
    assert int(second[-4:]) == int(first[-4:]) + 1


def test_memory_with_its_own_timer():
    now = [100.0]
    memory = Memory(10, timer=lambda: now[0])
    memory.put("a", 1)
    assert memory.get("a") == 1
    now[0] = 110.0
    assert memory.get("a") is None


def test_note():
    note("hello")
    assert LINES[-1].endswith(" hello")
