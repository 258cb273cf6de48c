"""Runs one deployed function in its container: a program that is given the names of module and function.

The function returns when it has started its server; then there is nothing to do but to be there.
"""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from typing import cast

from modal._runtime.task_lifecycle_manager import _TaskLifecycleManager


def main() -> None:
    module, function = sys.argv[1:]
    # By this one the SDK tells that it is not local.
    _TaskLifecycleManager._singleton = cast(_TaskLifecycleManager, object())
    getattr(importlib.import_module(module), function).local()
    while True:
        signal.pause()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):  # how Modal tells a container to end
        main()
