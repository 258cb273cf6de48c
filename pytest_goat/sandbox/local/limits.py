"""What a command may use, as far as the kernel bounds it process by process."""

from __future__ import annotations

import resource

from pytest_goat.sandbox.local import wire


def apply(limits: wire.Message) -> None:
    """Set the hard and soft limits of this process and all it starts."""
    wanted = {
        resource.RLIMIT_DATA: limits["memory"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_FSIZE: limits["file_size"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    for which, most in wanted.items():
        _, hard = resource.getrlimit(which)
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(which, (bound, bound))
