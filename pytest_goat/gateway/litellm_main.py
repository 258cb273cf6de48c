"""The program that is LiteLLM's proxy: `python -m pytest_goat.gateway.litellm_main FD`.

It serves on the listening socket FD, so that no other process can take the port first, and ends when its
standard input does: that pipe closes when the process at its other end dies, however it dies. (A parent's
death signal would come when the parent's thread ends.) LiteLLM finds its settings in CONFIG_FILE_PATH.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

_GRACE = 2
"""Seconds that calls get to end after SIGTERM."""

_KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than its client keeps it."""


def _leave_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        "litellm.proxy.proxy_server:app",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_GRACE,
    )
    # Uvicorn's own `fd` takes it for a Unix socket and leaves Nagle's algorithm on: 40 ms for each call.
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
