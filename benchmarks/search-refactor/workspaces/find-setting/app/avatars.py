"""Pictures of users."""

from app.config import size
from app.names import LIMITS


def too_big(config, picture):
    return picture.bytes > size(config, LIMITS["picture"])


def report(config):
    return {"upload.max_bytes": "see app.uploads", "avatar": size(config, "avatar.max_bytes")}
