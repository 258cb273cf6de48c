"""What a sandbox looks like inside. Known to both sides: the harness and the launcher."""

from __future__ import annotations

HOSTNAME = "goat"
INNER_ID = 1000
"""User and group id of every command, as seen inside."""
WORKDIR = "/workspace"
OUTDIR = "/out"
HOME = "/home/goat"
TMP = "/tmp"  # noqa: S108 - the sandbox's own
VOLATILE = (TMP, HOME, "/dev/shm")  # noqa: S108
"""Fresh and empty for each command."""
GATEWAY_PORT = 8080
"""The one port that answers inside, on 127.0.0.1."""

PASSWD = f"""\
root:x:0:0:root:/root:/usr/sbin/nologin
goat:x:{INNER_ID}:{INNER_ID}::{HOME}:/bin/bash
nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin
"""
GROUP = f"root:x:0:\ngoat:x:{INNER_ID}:\nnogroup:x:65534:\n"
HOSTS = f"127.0.0.1 localhost {HOSTNAME}\n"
NSSWITCH = "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"
ETC = {"passwd": PASSWD, "group": GROUP, "hosts": HOSTS, "nsswitch.conf": NSSWITCH}
