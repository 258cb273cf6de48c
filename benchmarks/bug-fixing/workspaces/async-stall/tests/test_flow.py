import asyncio

from flow import run


async def double(number):
    await asyncio.sleep(0)
    return number * 2


def test_handles_all_items():
    assert asyncio.run(run(range(100), double)) == list(range(0, 200, 2))


def test_takes_async_items():
    async def numbers():
        for number in range(5):
            yield number

    assert asyncio.run(run(numbers(), double, workers=2, waiting=1)) == [0, 2, 4, 6, 8]


def test_no_items():
    assert asyncio.run(run([], double)) == []
