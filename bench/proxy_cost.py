"""What our proxy adds to a model call (budgets: 3 ms at the median; 0.95 of LiteLLM's own throughput).

    python bench/proxy_cost.py [--calls N]

Upstream, proxy and callers are three processes on loopback. A call is what goat-eval sends first (35 kB) and
a streamed answer of 20 chunks. `fast` answers at once. `LiteLLM's pace` stands for a LiteLLM worker, which
answers one call after another and takes about 10 ms for each (measured: 100 to 130 calls a second); it takes
no CPU for that, so that it is the proxy that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import TypeVar

from pytest_goat.gateway import make_gateway
from pytest_goat.gateway.base import TrialKey

BUDGET_MS = 3.0
BUDGET_SHARE = 0.95
CALLERS = 64
PACE = 0.010
"""Seconds."""
MODEL = "bench-model"
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
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer goat\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


async def read_request(reader: asyncio.StreamReader) -> None:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))


def serve_upstream(ready: Connection, pace: float) -> None:
    """Answer for ever; `pace` seconds a call, one after another."""

    async def main() -> None:
        now, free_at = asyncio.get_running_loop().time, 0.0

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal free_at
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await read_request(reader)
                    if pace:
                        # By appointment: a lock and a sleep each would add up what timers are late.
                        free_at = max(free_at, now()) + pace
                        await asyncio.sleep(free_at - now())
                    writer.write(ANSWER)
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def serve_proxy(ready: Connection, upstream: int) -> None:
    """Serve one trial for ever."""

    async def main() -> None:
        gateway = make_gateway([MODEL], f"http://127.0.0.1:{upstream}/v1", "sk-bench-0123456789")
        await gateway.start()
        endpoint = gateway.open(TrialKey("run", "trial", "task", MODEL))
        listener = socket.create_server(("127.0.0.1", 0), backlog=CALLERS)
        endpoint.attach(listener, True)
        ready.send(listener.getsockname()[1])
        await asyncio.Event().wait()

    asyncio.run(main())


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


async def call_often(port: int, calls: int) -> list[float]:
    """The seconds that each of `calls` takes, one after another on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    taken = []
    for _ in range(calls):
        started = time.perf_counter()
        writer.write(REQUEST)
        answer = await reader.readuntil(b"\r\n0\r\n\r\n")
        taken.append(time.perf_counter() - started)
        assert answer.startswith(b"HTTP/1.1 200"), answer
    writer.close()
    await writer.wait_closed()
    return taken


def median_ms(port: int, calls: int) -> float:
    return statistics.median(asyncio.run(call_often(port, calls))) * 1000


def per_second(port: int, calls: int) -> float:
    """Calls a second of `CALLERS` at once."""

    async def all_callers() -> float:
        started = time.perf_counter()
        await asyncio.gather(*(call_often(port, max(1, calls // CALLERS)) for _ in range(CALLERS)))
        return time.perf_counter() - started

    return max(1, calls // CALLERS) * CALLERS / asyncio.run(all_callers())


def compare(name: str, pace: float, calls: int) -> tuple[float, float]:
    """Print what one upstream does alone and behind the proxy; gives the ms added and the throughput kept."""
    with process(serve_upstream, pace) as upstream, process(serve_proxy, upstream) as proxy:
        for port in (upstream, proxy):
            median_ms(port, 20)
        rounds = [(median_ms(upstream, calls // 5), median_ms(proxy, calls // 5)) for _ in range(5)]
        alone, behind = (statistics.median(side) for side in zip(*rounds, strict=True))
        rates = [(per_second(upstream, calls), per_second(proxy, calls)) for _ in range(3)]
        rate, rate_behind = (statistics.median(side) for side in zip(*rates, strict=True))
    added, share = behind - alone, rate_behind / rate
    print(
        f"{name:16}{alone:9.2f}{behind:9.2f}{added:9.2f}{rate:12.0f}{rate_behind:9.0f}{share:9.2f}",
        flush=True,
    )
    return added, share


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--calls", type=int, default=500, help="calls in each measurement (default 500)")
    calls = parser.parse_args().calls
    print(f"{'':16}{'one caller, ms':>27}{f'{CALLERS} callers, calls/s':>30}")
    print(f"{'upstream':16}{'alone':>9}{'behind':>9}{'added':>9}{'alone':>12}{'behind':>9}{'share':>9}")
    added, _ = compare("fast", 0.0, calls)
    _, share = compare("LiteLLM's pace", PACE, calls)
    for what, value, good in (
        (f"added at the median, budget {BUDGET_MS:g} ms", added, added < BUDGET_MS),
        (f"throughput kept at LiteLLM's pace, budget {BUDGET_SHARE:g}", share, share >= BUDGET_SHARE),
    ):
        print(f"{what}: {value:.2f} {'ok' if good else 'MISSED'}")


if __name__ == "__main__":
    main()
