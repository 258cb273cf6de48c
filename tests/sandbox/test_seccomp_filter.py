"""The system call filter, run by an interpreter of its own: on any machine for every architecture."""

from __future__ import annotations

import errno
import struct

import pytest

from pytest_goat.sandbox.local import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    # As in the kernel's tables: arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h.
    "x86_64": {
        "read": 0, "write": 1, "ioctl": 16, "shmget": 29, "socket": 41, "sendto": 44, "sendmsg": 46,
        "socketpair": 53, "clone": 56, "execve": 59, "kill": 62, "ptrace": 101, "setpriority": 141,
        "mount": 165, "futex": 202, "keyctl": 250, "openat": 257, "unshare": 272, "prlimit64": 302,
        "setns": 308, "memfd_create": 319, "bpf": 321, "io_uring_setup": 425, "fsopen": 430, "clone3": 435,
    },
    "aarch64": {
        "ioctl": 29, "mount": 40, "openat": 56, "read": 63, "write": 64, "unshare": 97, "futex": 98,
        "ptrace": 117, "kill": 129, "setpriority": 140, "shmget": 194, "socket": 198, "socketpair": 199,
        "sendto": 206, "sendmsg": 211, "keyctl": 219, "clone": 220, "execve": 221, "prlimit64": 261,
        "setns": 268, "memfd_create": 279, "bpf": 280, "io_uring_setup": 425, "fsopen": 430, "clone3": 435,
    },
}  # fmt: skip
UNIX, INET, INET6, NETLINK, PACKET, VSOCK = 1, 2, 10, 16, 17, 40
STREAM, DATAGRAM, CLOEXEC = 1, 2, 0x80000
TCP, MPTCP = 6, 262


def run(program: bytes, architecture: int, number: int, *args: int) -> int:
    """What the kernel would do: the classic BPF machine, as far as the filter uses it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(args + (0,) * (6 - len(args))))
    operations = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    while True:
        code, yes, no, value = operations[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"unknown operation {code:#x}")


def refused(number: int) -> int:
    return 0x00050000 | number


class Filter:
    def __init__(self, machine: str, *, strict: bool = False, memory_files: bool = True) -> None:
        self._machine = machine
        self._program = seccomp.build(memory_files=memory_files, strict=strict, machine=machine)

    def __call__(self, name: str, *args: int) -> int:
        return run(self._program, ARCHITECTURE[self._machine], CALLS[self._machine][name], *args)


@pytest.fixture(params=list(CALLS))
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("strict", [False, True])
def test_what_programs_need_is_allowed(machine: str, strict: bool) -> None:
    decide = Filter(machine, strict=strict)
    for name in (
        "read",
        "write",
        "openat",
        "execve",
        "kill",
        "futex",
        "socketpair",
        "memfd_create",
        "prlimit64",
    ):
        assert decide(name) == ALLOW, name
    assert decide("clone", 17) == ALLOW
    assert decide("ioctl", 0, 0x5401) == ALLOW
    assert decide("socket", INET, STREAM | CLOEXEC, TCP) == ALLOW
    assert decide("socket", INET6, STREAM, 0) == ALLOW


@pytest.mark.parametrize("strict", [False, True])
def test_what_reaches_out_is_refused(machine: str, strict: bool) -> None:
    decide = Filter(machine, strict=strict)
    for name in ("mount", "unshare", "setns", "ptrace", "bpf", "keyctl", "fsopen"):
        assert decide(name) == refused(errno.EPERM), name
    for name in ("clone3", "io_uring_setup"):
        assert decide(name) == refused(errno.ENOSYS), name
    for flag in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide("clone", flag | 17) == refused(errno.EPERM)
    for request in (0x5412, 0x541C):
        assert decide("ioctl", 0, request) == refused(errno.EPERM)


def test_socket_families(machine: str) -> None:
    decide, strict = Filter(machine), Filter(machine, strict=True)
    for family in (UNIX, INET, INET6, NETLINK):
        assert decide("socket", family, DATAGRAM) == ALLOW
    for family in (PACKET, VSOCK):
        assert decide("socket", family, STREAM) == refused(errno.EAFNOSUPPORT)
    for family in (UNIX, NETLINK, PACKET, VSOCK):
        assert strict("socket", family, STREAM) == refused(errno.EACCES)
    assert strict("socket", INET, DATAGRAM) == refused(errno.EACCES)
    assert strict("socket", INET, STREAM, MPTCP) == refused(errno.EPROTONOSUPPORT)


def test_what_is_shared_with_the_machine_is_refused_without_namespaces(machine: str) -> None:
    decide, strict = Filter(machine), Filter(machine, strict=True)
    for call in (("shmget",), ("setpriority",), ("prlimit64", 4242), ("sendto", 0, 0, 0, 0x20000000)):
        assert decide(*call) == ALLOW, call
        assert strict(*call) != ALLOW, call
    assert strict("sendmsg", 0, 0, 0x20000000) == refused(errno.EACCES)


def test_memory_files_can_be_absent(machine: str) -> None:
    assert Filter(machine, memory_files=False)("memfd_create") == refused(errno.ENOSYS)


def test_another_architecture_is_killed(machine: str) -> None:
    program = seccomp.build(memory_files=True, machine=machine)
    (other,) = set(ARCHITECTURE.values()) - {ARCHITECTURE[machine]}
    assert run(program, other, 0) == KILL
    assert run(program, ARCHITECTURE[machine], 0x40000000) == refused(errno.ENOSYS)


def test_an_unknown_machine_is_said() -> None:
    with pytest.raises(NotImplementedError, match="riscv64"):
        seccomp.build(memory_files=True, machine="riscv64")
