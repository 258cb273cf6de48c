"""Commands by name."""

COMMANDS = {}


def command(name):
    def register(function):
        COMMANDS[name] = function
        return function

    return register


@command("help")
def show_help():
    return "commands: " + ", ".join(sorted(COMMANDS))


def unregister(name):
    COMMANDS.pop(name, None)
