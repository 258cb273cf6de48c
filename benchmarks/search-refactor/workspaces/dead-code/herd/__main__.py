"""The only way in."""

import sys

from herd import events, goats, reports  # noqa: F401  (reports registers its commands)
from herd.commands import COMMANDS


def main(arguments):
    events.fire("start")
    name, *rest = arguments or ["help"]
    result = COMMANDS.get(name, COMMANDS["help"])(*rest)
    events.fire("stop")
    print(result)


def debug_main(arguments):
    print(arguments)
    main(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
