"""What our proxy adds to a model call, and how much of its upstream's throughput it keeps.

Upstream, proxy and callers are processes of their own on loopback. A call is what goat-eval sends first
(35 kB) and a streamed answer of 20 chunks. The upstream for one caller answers at once; the one for many
stands for a LiteLLM (`litellm_cost` has a real one): it answers one call after another, with `CPU` seconds of
work for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from typing import TypeVar

from bench.base import Budget, Options, Row
from bench.timing import interleaved, median_difference, medians
from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import Gateway, TrialKey

CALLERS = 64
CPU = 0.008
"""Seconds; a LiteLLM worker takes about as much."""
MODEL = "bench-model"
TRIAL = TrialKey("run", "trial", "task", MODEL, max_wait=1800.0)
"""Rate limits are waited out, as in a run."""
KEY = "sk-bench-0123456789abcdef0123456789abcdef"
ROUNDS = 20
"""In which one caller calls with and without the proxy: many and short, so that both share the weather."""
T = TypeVar("T")


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %s\n\n" % json.dumps({"id": "x", "model": MODEL, "choices": [choice]}).encode()


USAGE = {"choices": [], "usage": {"prompt_tokens": 9000, "completion_tokens": 20}}
EVENTS = [
    *[chunk({"content": "word "})] * 20,
    chunk({}, "stop"),
    b"data: %s\n\n" % json.dumps(USAGE).encode(),
]
PARTS = [*EVENTS, b"data: [DONE]\n\n"]
ANSWER = b"".join(
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
        *(b"%x\r\n%b\r\n" % (len(part), part) for part in PARTS),
        b"0\r\n\r\n",
    ]
)
BODY = json.dumps(
    {
        "model": MODEL,
        "messages": [{"role": "system", "content": "x" * 22_000}, {"role": "user", "content": "Do it."}],
        "tools": [
            {"type": "function", "function": {"name": f"t{n}", "description": "y" * 2000}} for n in range(6)
        ],
        "max_tokens": 16384,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
).encode()
END = b"\r\n0\r\n\r\n"
"""Of an answer."""


def request_with(key: str) -> bytes:
    """The call as it goes over the wire."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
    )
    return head.encode() + BODY


async def read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = re.search(rb"\ncontent-length: *(\d+)", head)
    await reader.readexactly(int(length[1]) if length else 0)


def serve_upstream(ready: Connection, cpu: float) -> None:
    """Answer for ever, with `cpu` seconds of work for each call."""

    async def main() -> None:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await read_request(reader)
                    done = time.thread_time() + cpu
                    while time.thread_time() < done:
                        pass
                    writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def serve_proxy(ready: Connection, upstream: int) -> None:
    """Serve one trial for ever."""

    async def main() -> None:
        await serve_trial(make_gateway([MODEL], f"http://127.0.0.1:{upstream}/v1", KEY), ready)

    asyncio.run(main())


async def serve_trial(gateway: Gateway, ready: Connection) -> None:
    """Open the trial's endpoint on a port that `ready` is told, and serve it for ever."""
    await gateway.start()
    endpoint = gateway.open(TRIAL)
    listener = socket.create_server(("127.0.0.1", 0), backlog=CALLERS)
    endpoint.attach(listener, True)
    ready.send(listener.getsockname()[1])
    await asyncio.Event().wait()


@contextlib.contextmanager
def process(target: Callable[[Connection, T], None], argument: T) -> Iterator[int]:
    """Run a server in a process of its own; gives its port."""
    context = multiprocessing.get_context("spawn")
    ready, told = context.Pipe()
    server = context.Process(target=target, args=(told, argument), daemon=True)
    server.start()
    try:
        yield ready.recv()
    finally:
        server.terminate()
        server.join()


async def call_often(port: int, calls: int, key: str = KEY, until: bytes = END) -> list[float]:
    """The seconds that each of `calls` takes `until` that has come, one after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    request = request_with(key)
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        writer.write(request)
        answer = await reader.readuntil(until)
        taken.append(time.perf_counter() - started)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        if until != END:
            await reader.readuntil(END)
    writer.close()
    await writer.wait_closed()
    return taken


def median_ms(port: int, calls: int, key: str = KEY, until: bytes = END) -> float:
    return statistics.median(asyncio.run(call_often(port, calls, key, until))) * 1000


def per_second(port: int, calls: int, key: str = KEY) -> float:
    """Calls a second of `CALLERS` at once."""

    async def all_callers() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(call_often(port, max(1, calls // CALLERS), key) for _ in range(CALLERS)))
        return time.perf_counter() - started

    return max(1, calls // CALLERS) * CALLERS / asyncio.run(all_callers())


def measure(options: Options) -> Iterator[Row]:
    calls = 200 if options.quick else 500
    with process(serve_upstream, 0.0) as upstream, process(serve_proxy, upstream) as proxy:
        yield added(
            "proxy: added for one caller", partial(median_ms, upstream), partial(median_ms, proxy), calls
        )
    with process(serve_upstream, CPU) as upstream, process(serve_proxy, upstream) as proxy:
        note = f"upstream: what stands for LiteLLM, {CPU * 1000:g} ms of CPU a call"
        yield kept("proxy", partial(per_second, upstream), partial(per_second, proxy), calls, note)


Measure = Callable[[int], float]
"""Of how many calls -> milliseconds, or calls a second."""


def added(what: str, alone: Measure, behind: Measure, calls: int) -> Row:
    """What a call through the proxy takes longer than without it, for one caller."""
    kinds = {"alone": partial(alone, calls // ROUNDS), "behind": partial(behind, calls // ROUNDS)}
    interleaved(kinds, 1)
    measured = interleaved(kinds, ROUNDS)
    taken = medians(measured)
    more = median_difference(measured["behind"], measured["alone"])
    note = f"{taken['behind']:.2f} ms, without the proxy {taken['alone']:.2f} ms"
    return Row(what, more, "ms", Budget("<", 3), note)


def kept(name: str, alone: Measure, behind: Measure, calls: int, upstream: str) -> Row:
    """The share of the upstream's own throughput that many callers have through the proxy."""
    kinds = {"alone": partial(alone, calls), "behind": partial(behind, calls)}
    interleaved(kinds, 1)
    rates = medians(interleaved(kinds, 3))
    note = f"{rates['behind']:.0f} calls a second, without the proxy {rates['alone']:.0f}; {upstream}"
    share = rates["behind"] / rates["alone"]
    return Row(f"{name}: throughput kept, {CALLERS} callers", share, "x", Budget(">=", 0.95), note)
