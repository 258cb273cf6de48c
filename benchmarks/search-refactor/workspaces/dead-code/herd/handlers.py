"""What to do when something happens; called by name."""


def on_start():
    _note("start")


def on_stop():
    _note("stop")


def on_pause():
    _note(_stamp("pause"))


def _note(word):
    from herd.events import LOG

    LOG.append(word)


def _stamp(word):
    return f"[{word}]"
