"""Files that come in."""

from app.config import seconds, size
from app.names import LIMITS


def time_left(config, started, now):
    return seconds(config, "upload.timeout") - (now - started)


def too_big(config, files):
    """Whether any of the files is over the limit."""
    return any(_over(config, "file", each) for each in files)


def too_many(config, files):
    return len(files) > int(config[LIMITS["count"]])


def _over(config, what, file):
    return file.bytes > size(config, LIMITS[what])
