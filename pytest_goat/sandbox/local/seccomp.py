"""The system call filter of every command, assembled as classic BPF (Linux: Documentation/userspace-api/
seccomp_filter.rst). Refused is what widens the attack surface of the kernel and no benchmark task needs.
"""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import struct
from collections.abc import Sequence

from pytest_goat.sandbox.local import syscalls

_LD_ABS, _JEQ, _JSET, _JGE, _AND, _RET = 0x20, 0x15, 0x45, 0x35, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NR, _ARCH, _ARGS = 0, 4, 16
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_X32_BIT = 0x40000000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_NEW_NAMESPACE = 0x7E020080
"""Every CLONE_NEW* flag that `clone` takes."""
_TERMINAL_INJECTION = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX: they type into the terminal for somebody else."""
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_FAMILIES = (_UNIX, _INET, _INET6, _NETLINK)
"""A network namespace does not confine every other family (vsock)."""
_SOCK_STREAM, _IPPROTO_TCP = 1, 6
_MSG_FASTOPEN = 0x20000000

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
_ABSENT: dict[str, tuple[int | None, int | None]] = {
    # ENOSYS, so that programs fall back: the filter cannot look into the memory that these point to.
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
}
_SHARED: dict[str, tuple[int | None, int | None]] = {
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
"""Of the whole user or machine."""
_OF_ANY_PROCESS: dict[str, tuple[int | None, int | None]] = {
    # Their first argument is a process; 0 is the calling one.
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
}
_CLONE = (56, 220)
_IOCTL = (16, 29)
_SOCKET = (41, 198)
_MEMFD_CREATE = (319, 279)
_SENDTO, _SENDMSG, _SENDMMSG = (44, 206), (46, 211), (307, 269)
_SENDING = {_SENDTO: 3, _SENDMSG: 2, _SENDMMSG: 3}
"""System call -> which argument holds the flags. Data sent with the first packet passes `connect` by."""


def _op(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int) -> bytes:
    return _op(_RET, _ERRNO | number)


def _argument(index: int) -> bytes:
    return _op(_LD_ABS, _ARGS + 8 * index)  # the low half: both architectures are little-endian


def _forbid_flags(index: int, flags: int, number: int) -> list[bytes]:
    return [_argument(index), _op(_JSET, flags, 0, 1), _refuse(number)]


def _forbid(index: int, values: Sequence[int], number: int) -> list[bytes]:
    tests = ([_op(_JEQ, value, 0, 1), _refuse(number)] for value in values)
    return [_argument(index), *itertools.chain.from_iterable(tests)]


def _require(index: int, values: Sequence[int], number: int, mask: int = 0xFFFFFFFF) -> list[bytes]:
    """Go on when the argument, under `mask`, is one of `values`; else refuse with error `number`."""
    tests = [_op(_JEQ, value, len(values) - i, 0) for i, value in enumerate(values)]
    return [_argument(index), _op(_AND, mask), *tests, _refuse(number)]


def _rules(column: int) -> dict[int, list[bytes]]:
    """System call number -> what is refused of it; what is not refused is allowed."""
    rules = {number: [_refuse(errno.EPERM)] for number in _column(_REFUSED, column)}
    rules.update({number: [_refuse(errno.ENOSYS)] for number in _column(_ABSENT, column)})
    rules[_CLONE[column]] = _forbid_flags(0, _NEW_NAMESPACE, errno.EPERM)
    rules[_IOCTL[column]] = _forbid(1, _TERMINAL_INJECTION, errno.EPERM)
    rules[_SOCKET[column]] = _require(0, _FAMILIES, errno.EAFNOSUPPORT)
    return rules


def _strict_rules(column: int) -> dict[int, list[bytes]]:
    """What is refused too where there are no namespaces: the machine's other processes are in reach."""
    rules = {number: [_refuse(errno.EPERM)] for number in _column(_SHARED, column)}
    rules.update({number: _require(0, (0,), errno.EPERM) for number in _column(_OF_ANY_PROCESS, column)})
    rules[_SOCKET[column]] = [
        *_require(0, (_INET, _INET6), errno.EACCES),
        *_require(1, (_SOCK_STREAM,), errno.EACCES, mask=0xF),
        *_require(2, (0, _IPPROTO_TCP), errno.EPROTONOSUPPORT),
    ]
    for call, flags_at in _SENDING.items():
        rules[call[column]] = _forbid_flags(flags_at, _MSG_FASTOPEN, errno.EACCES)
    return rules


def _column(table: dict[str, tuple[int | None, int | None]], column: int) -> list[int]:
    return [number for numbers in table.values() if (number := numbers[column]) is not None]


def _search(rules: list[tuple[int, list[bytes]]]) -> list[bytes]:
    """Binary search for the system call: the kernel runs a new filter for every number there is."""
    if len(rules) <= 2:
        allow = _op(_RET, _ALLOW)
        tests = ([_op(_JEQ, number, 0, len(body) + 1), *body, allow] for number, body in rules)
        return [*itertools.chain.from_iterable(tests), allow]
    middle = len(rules) // 2
    low, high = _search(rules[:middle]), _search(rules[middle:])
    return [_op(_JGE, rules[middle][0], len(low), 0), *low, *high]


def build(*, memory_files: bool, strict: bool = False, machine: str = os.uname().machine) -> bytes:
    """The filter for `machine`. Raises `NotImplementedError` for an architecture without a table.

    Without `memory_files` memfd_create is absent: what is hoarded in them is seen by a cgroup only. `strict`
    is for commands that share the machine's network and process ids.
    """
    if machine not in _AUDIT_ARCH:
        raise NotImplementedError(f"no system call table for {machine}")
    column = list(_AUDIT_ARCH).index(machine)
    rules = {**_rules(column), **(_strict_rules(column) if strict else {})}
    if not memory_files:
        rules[_MEMFD_CREATE[column]] = [_refuse(errno.ENOSYS)]
    right_machine = [_op(_LD_ABS, _ARCH), _op(_JEQ, _AUDIT_ARCH[machine], 1, 0), _op(_RET, _KILL)]
    not_x32 = [_op(_LD_ABS, _NR), _op(_JGE, _X32_BIT, 0, 1), _refuse(errno.ENOSYS)]
    return b"".join([*right_machine, *not_x32, *_search(sorted(rules.items()))])


def try_out(program: bytes) -> None:
    """Raises `OSError` unless the kernel takes `program`. Tried in a child: there is no way back from it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
            install(program)
            code = 0
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise OSError("the kernel does not take a system call filter (seccomp)")


def install(program: bytes) -> None:
    """Put this process, and all it becomes, under `program`. NO_NEW_PRIVS must be set."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    result = syscalls.libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_MODE_FILTER), header, 0, 0)
    syscalls.checked(result, "seccomp")
