"""What a sandbox looks like inside."""

from __future__ import annotations

USER = 61234
"""User and group id of every command: of a range that no system gives away, so that it owns nothing else."""
WORKDIR, OUTDIR, HOME, TMP = "/workspace", "/out", "/home/goat", "/tmp"  # noqa: S108
SHARED = (TMP, "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")  # noqa: S108
"""Folders that every user may write to."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where the image does not say its own."""
