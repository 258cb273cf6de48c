"""Start the server, say where it is, serve until SIGTERM, SIGINT or, with --until-eof, the end of stdin.

It prints the variables to export. By hand, so that `modal` and `pytest` of a shell talk to it:

    python -m tests.modal_server > server.env &
    . ./server.env
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from aiohttp import web

from tests.modal_server.admin import Admin
from tests.modal_server.admin import routes as admin_routes
from tests.modal_server.app_tags import AppTags
from tests.modal_server.apps import Apps
from tests.modal_server.blobs import Blobs
from tests.modal_server.clients import Clients
from tests.modal_server.dicts import Dicts
from tests.modal_server.environments import Environments
from tests.modal_server.functions import Functions
from tests.modal_server.images import Images
from tests.modal_server.mounts import Mounts
from tests.modal_server.router import Router
from tests.modal_server.sandboxes import Sandboxes
from tests.modal_server.secrets import Secrets
from tests.modal_server.server import Dispatcher, listen
from tests.modal_server.state import State
from tests.modal_server.volume_files import VolumeFiles
from tests.modal_server.volumes import Volumes
from tests.modal_server.web import Web

MAX_BODY = 1 << 30
"""Bytes of one blob, block or admin call."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.modal_server")
    parser.add_argument(
        "--port", type=int, default=0, help="port of the control plane (default: any free one)"
    )
    parser.add_argument(
        "--simulate",
        default="",
        help="simulate the commands of sandboxes in this way, instead of running them",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON, not exports for a shell")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin does, so with the parent")
    return parser.parse_args()


def client_environment(state: State) -> dict[str, str]:
    """What makes the SDK and the CLI talk to this server, with a configuration file that is none."""
    return {
        "MODAL_SERVER_URL": state.url,
        "MODAL_TOKEN_ID": state.token_id,
        "MODAL_TOKEN_SECRET": state.token_secret,
        "MODAL_CONFIG_PATH": str(state.folder / "no-such-config.toml"),
    }


async def serve(args: argparse.Namespace, folder: Path) -> None:
    state = State(folder, args.simulate)
    blobs, files, sites = Blobs(state), VolumeFiles(state), Web(state)
    simple = (Admin, Clients, Environments, Apps, AppTags, Secrets, Images, Mounts, Volumes, Dicts, Sandboxes)
    parts: list[object] = [kind(state) for kind in simple]
    parts += [blobs, files, sites, Functions(state, sites)]
    router_parts = [Router(state)]
    everything = [*parts, *router_parts]

    runner = web.AppRunner(_http_app([*blobs.routes(), *files.routes(), *admin_routes(everything)]))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    state.http = f"http://127.0.0.1:{runner.addresses[0][1]}"
    grpc, state.url = await listen(Dispatcher(state, parts, router_parts), args.port)

    _announce(args, state)
    await _end(args.until_eof)
    for part in everything:
        if close := getattr(part, "close", None):
            await close()
    grpc.close()
    await runner.cleanup()


def _http_app(routes: list[web.RouteDef]) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes(routes)
    return app


def _announce(args: argparse.Namespace, state: State) -> None:
    environment = client_environment(state)
    if args.json:
        told = {"url": state.url, "admin": f"{state.http}/admin", "env": environment}
        print(json.dumps(told), flush=True)
        return
    for name, value in environment.items():
        print(f"export {name}={value}")
    print(f"# admin API: {state.http}/admin", flush=True)


async def _end(until_eof: bool) -> None:
    """Wait until the server is to end."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if until_eof:
        loop.add_reader(sys.stdin, _read_on, ended)
    await ended.wait()


def _read_on(ended: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        ended.set()


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="modal-server-") as folder:
        asyncio.run(serve(_arguments(), Path(folder)))


if __name__ == "__main__":
    main()
