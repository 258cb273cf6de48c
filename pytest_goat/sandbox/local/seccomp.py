"""The system call filter of every command, assembled as classic BPF (Linux: Documentation/userspace-api/
seccomp_filter.rst). Refused is what widens the attack surface of the kernel and no benchmark task needs.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import struct

from pytest_goat.sandbox.local import syscalls

_LD_ABS, _JEQ, _JSET, _JGE, _RET = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_X32_BIT = 0x40000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_NEW_NAMESPACE = 0x7E020080
"""Every CLONE_NEW* flag that `clone` takes."""
_TERMINAL_INJECTION = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into the terminal for somebody else."""
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK. A network namespace does not confine all others (vsock)."""

# name: (x86_64, aarch64); None where the architecture has no such call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "iopl": (172, None),
    "ioperm": (173, None),
    "personality": (135, 92),
    "vhangup": (153, 58),
}
_ABSENT: dict[str, tuple[int, int]] = {
    # ENOSYS, so that programs fall back: the filter cannot look into the memory that these point to.
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_CLONE = (56, 220)
_IOCTL = (16, 29)
_SOCKET = (41, 198)
_MEMFD_CREATE = (319, 279)


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int) -> bytes:
    return _op(_RET, _ERRNO | number)


def _argument(index: int) -> bytes:
    return _op(_LD_ABS, _ARGS + 8 * index)  # the low half: both architectures are little-endian


def _any_flag(index: int, flags: int) -> list[bytes]:
    return [_argument(index), _op(_JSET, flags, 0, 1), _refuse(errno.EPERM), _op(_RET, _ALLOW)]


def _one_of(index: int, values: tuple[int, ...], found: bytes, other: bytes) -> list[bytes]:
    tests = [_op(_JEQ, value, len(values) - i, 0) for i, value in enumerate(values)]
    return [_argument(index), *tests, other, found]


def _rules(column: int, memory_files: bool) -> dict[int, list[bytes]]:
    """System call number -> what is done about it. Every list ends in a return."""
    allow = _op(_RET, _ALLOW)
    rules = {
        _CLONE[column]: _any_flag(0, _NEW_NAMESPACE),
        _IOCTL[column]: _one_of(1, _TERMINAL_INJECTION, _refuse(errno.EPERM), allow),
        _SOCKET[column]: _one_of(0, _FAMILIES, allow, _refuse(errno.EAFNOSUPPORT)),
    }
    for refused in _REFUSED.values():
        if (number := refused[column]) is not None:
            rules[number] = [_refuse(errno.EPERM)]
    absent = list(_ABSENT.values()) if memory_files else [*_ABSENT.values(), _MEMFD_CREATE]
    for numbers in absent:
        rules[numbers[column]] = [_refuse(errno.ENOSYS)]
    return rules


def _search(rules: list[tuple[int, list[bytes]]]) -> list[bytes]:
    """Binary search for the system call: the kernel runs a new filter for every number there is."""
    if len(rules) <= 2:
        tests = ([_op(_JEQ, number, 0, len(body)), *body] for number, body in rules)
        return [*itertools.chain.from_iterable(tests), _op(_RET, _ALLOW)]
    middle = len(rules) // 2
    low, high = _search(rules[:middle]), _search(rules[middle:])
    return [_op(_JGE, rules[middle][0], len(low), 0), *low, *high]


def build(*, memory_files: bool) -> bytes:
    """The filter for this machine. Raises `NotImplementedError` for an architecture without a table.

    Without `memory_files` memfd_create is absent: what is hoarded in them is seen by a cgroup only.
    """
    machine = os.uname().machine
    if machine not in _AUDIT_ARCH:
        raise NotImplementedError(f"no system call table for {machine}")
    rules = _rules(list(_AUDIT_ARCH).index(machine), memory_files)
    right_machine = [_op(_LD_ABS, _ARCH), _op(_JEQ, _AUDIT_ARCH[machine], 1, 0), _op(_RET, _KILL)]
    not_x32 = [_op(_LD_ABS, _NR), _op(_JGE, _X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    return b"".join([*right_machine, *not_x32, *_search(sorted(rules.items()))])


def install(program: bytes) -> None:
    """Put this process, and all it becomes, under `program`. NO_NEW_PRIVS must be set."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    result = syscalls.libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), header, 0, 0)
    syscalls.checked(result, "seccomp")
