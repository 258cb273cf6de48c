"""`python -m goat_stack`: run the stack in this container until SIGTERM or SIGINT.

Exit code 0: stopped as asked. 1: something is wrong, said on standard error. 3: a newer container took over.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable

from goat_stack.epochs import Epoch
from goat_stack.errors import StackError, SupersededError
from goat_stack.host import Host
from goat_stack.settings import Settings
from goat_stack.stack import build
from goat_stack.supervisor import Supervisor
from goat_stack.volume import FolderVolume, ModalVolume, Volume


def open_volume(settings: Settings) -> Volume:
    """The Modal Volume of that name, or a plain folder where none is named."""
    if settings.volume_name:
        return ModalVolume(settings.volume, settings.volume_name)
    return FolderVolume(settings.volume)


def main(volume_of: Callable[[Settings], Volume] = open_volume) -> int:
    """The whole program; see the module."""
    logging.basicConfig(level=logging.INFO, format="goat_stack: %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        settings = Settings.from_environment(os.environ)
        with Host.claim(settings.data, settings.user) as host:
            epoch = Epoch(volume_of(settings))
            Supervisor(settings, build(settings, host, epoch), epoch, stop).run()
    except StackError as error:
        logging.getLogger("goat_stack").error("%s", error)
        return 3 if isinstance(error, SupersededError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
