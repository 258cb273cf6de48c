import asyncio
import itertools

import pytest

from flow import run

PATIENCE = 3.0  # seconds; what is right takes a few milliseconds


def play(scene):
    """Run a coroutine, and see that it leaves no task behind."""

    async def stage():
        result = await asyncio.wait_for(scene, PATIENCE)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, "tasks were left over"
        return result

    return asyncio.run(stage())


async def settle():
    """Let everything go as far as it can without waiting."""
    for _ in range(200):
        await asyncio.sleep(0)


class Boom(Exception):
    pass


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("waiting", [1, 3])
def test_order_is_that_of_the_items(workers, waiting):
    async def slow_first(number):
        for _ in range((7 - number) % 5 * 3):
            await asyncio.sleep(0)
        return -number

    assert play(run(range(40), slow_first, workers=workers, waiting=waiting)) == [-number for number in range(40)]


@pytest.mark.parametrize("items", [[None], [None] * 9, [1, None, 2, None, None, 3], [0, "", [], False, None, ...]])
def test_any_item_and_any_result(items):
    async def same(item):
        await asyncio.sleep(0)
        return item

    assert play(run(items, same, workers=2, waiting=1)) == items


def test_exceptions_are_fine_as_results():
    async def failure(item):
        return Boom(item)

    assert [type(each) for each in play(run("ab", failure))] == [Boom, Boom]


@pytest.mark.parametrize(("workers", "waiting"), [(1, 1), (3, 2), (4, 8)])
def test_takes_no_more_than_it_needs(workers, waiting):
    async def scene():
        taken, running, most = 0, 0, 0
        go_on = asyncio.Event()

        def numbers():
            nonlocal taken
            for number in itertools.count():
                taken += 1
                yield number

        async def handler(number):
            nonlocal running, most
            running += 1
            most = max(most, running)
            await go_on.wait()
            running -= 1
            if number == 50:
                raise Boom

        task = asyncio.create_task(run(numbers(), handler, workers=workers, waiting=waiting))
        await settle()
        assert running == workers
        assert taken <= workers + waiting + 1
        go_on.set()
        with pytest.raises(Boom):
            await task
        assert most == workers

    play(scene())


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("failing", [0, 3, 25])
def test_raises_what_a_handler_raised(workers, failing):
    boom = Boom(failing)

    async def handler(number):
        await asyncio.sleep(0)
        if number == failing:
            raise boom
        return number

    async def scene():
        for items in (range(26), range(1000), itertools.count()):
            with pytest.raises(Boom) as caught:
                await run(items, handler, workers=workers, waiting=2)
            assert caught.value is boom

    play(scene())


def test_raises_at_once_and_cancels_the_others():
    async def scene():
        started, cancelled = [], []

        async def handler(number):
            started.append(number)
            if number == 2:
                await asyncio.sleep(0.01)
                raise Boom
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await asyncio.sleep(0.01)
                cancelled.append(number)
                raise

        with pytest.raises(Boom):
            await run(range(100), handler, workers=3, waiting=5)
        assert started == [0, 1, 2]
        assert sorted(cancelled) == [0, 1]
        await asyncio.sleep(0.02)
        assert started == [0, 1, 2]

    play(scene())


def test_the_first_of_several_exceptions():
    async def scene():
        first = Boom("first")

        async def handler(number):
            if number == 1:
                await asyncio.sleep(0.005)
                raise first
            try:
                await asyncio.sleep(3600)
            finally:
                raise Boom("while being cancelled")

        with pytest.raises(Boom) as caught:
            await run(range(9), handler, workers=3)
        assert caught.value is first

    play(scene())


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_items_that_raise(kind):
    def plain():
        yield from range(5)
        raise Boom

    async def lazy():
        for number in range(5):
            await asyncio.sleep(0)
            yield number
        raise Boom

    async def scene():
        cancelled = []

        async def handler(number):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise

        with pytest.raises(Boom):
            await run(plain() if kind == "plain" else lazy(), handler, workers=2, waiting=9)
        assert set(cancelled) <= {0, 1}

    play(scene())


def test_cancelled_from_outside():
    async def scene():
        ended = []

        async def handler(number):
            try:
                await asyncio.sleep(3600)
            finally:
                await asyncio.sleep(0.01)
                ended.append(number)

        task = asyncio.create_task(run(itertools.count(), handler, workers=3, waiting=2))
        await settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(ended) == [0, 1, 2]

    play(scene())


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("ending", ["well", "raises", "cancelled"])
def test_generators_are_closed(kind, ending):
    async def scene():
        closed = []
        last = 3 if ending == "well" else 10**9

        def plain():
            try:
                yield from range(last)
            finally:
                closed.append("plain")

        async def lazy():
            try:
                for number in range(last):
                    yield number
            finally:
                await asyncio.sleep(0)
                closed.append("async")

        async def handler(number):
            await asyncio.sleep(3600 if ending == "cancelled" else 0)
            if number == 20:
                raise Boom

        items = plain() if kind == "plain" else lazy()
        task = asyncio.create_task(run(items, handler, workers=2, waiting=2))
        if ending == "cancelled":
            await settle()
            task.cancel()
        done = await asyncio.gather(task, return_exceptions=True)
        assert type(done[0]) is {"well": list, "raises": Boom, "cancelled": asyncio.CancelledError}[ending]
        assert closed == [kind]

    play(scene())
