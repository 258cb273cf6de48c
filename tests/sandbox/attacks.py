"""Programs that try to break out of a sandbox, each run inside with Python's standard library alone.

Each prints what it reached, one thing a line; a sandbox that holds makes it print nothing.
"""

from __future__ import annotations

PRELUDE = """\
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try:
        done = action()
    except (OSError, ValueError):
        return
    if done is not False:
        print(name, flush=True)
def succeeded(result):
    return result != -1
"""

FILES = (
    PRELUDE
    + """\
def write(path):
    with open(path, "w") as file:
        file.write("x")
def read(path):
    with open(path, "rb") as file:
        return bool(file.read(1))
for path in sys.argv[1].split(":"):
    attempt("read " + path, lambda: read(path))
    attempt("linked " + path, lambda: os.link(path, "hard"))
for folder in sys.argv[2].split(":"):
    attempt("wrote in " + folder, lambda: write(folder + "/goat-attack"))
    attempt("made in " + folder, lambda: os.mkdir(folder + "/goat-attack"))
attempt("device", lambda: os.mknod("device", 0o60666, os.makedev(254, 0)))
"""
)

PROCESSES = (
    PRELUDE
    + """\
import resource
harness, secret = int(sys.argv[1]), sys.argv[2].encode()
def holds(path):
    with open(path, "rb") as file:
        return secret in file.read()
try:
    pids = [name for name in os.listdir("/proc") if name.isdigit() and name != str(os.getpid())]
except OSError:
    pids = [str(harness), "1"]
for pid in {*pids, str(harness), "1"}:
    attempt("environ of " + pid, lambda: holds(f"/proc/{pid}/environ"))
    attempt("memory of " + pid, lambda: open(f"/proc/{pid}/mem", "rb").close())
    attempt("root of " + pid, lambda: os.listdir(f"/proc/{pid}/root"))
    attempt("descriptors of " + pid, lambda: os.listdir(f"/proc/{pid}/fd"))
    attempt("traced " + pid, lambda: succeeded(libc.ptrace(16, int(pid), 0, 0)))
attempt("signalled the harness", lambda: os.kill(harness, 0))
attempt("limited the harness", lambda: resource.prlimit(harness, resource.RLIMIT_CPU))
attempt("bound the harness to a processor", lambda: os.sched_setaffinity(harness, {0}))
attempt("slowed the harness", lambda: os.setpriority(os.PRIO_PROCESS, harness, 19))
"""
)

DESCRIPTORS = (
    PRELUDE
    + """\
for fd in range(3, 1024):
    attempt(f"descriptor {fd}", lambda: os.fstat(fd))
"""
)

KERNEL = (
    PRELUDE
    + """\
NEWUSER, NEWNS = 0x10000000, 0x20000
attempt("user namespace", lambda: succeeded(libc.unshare(NEWUSER)))
attempt("mount namespace", lambda: succeeded(libc.unshare(NEWNS)))
clone, keyctl = (56, 250) if os.uname().machine == "x86_64" else (220, 219)
attempt("cloned namespace", lambda: succeeded(libc.syscall(clone, NEWUSER | 17, 0, 0, 0, 0)))
attempt("mount", lambda: succeeded(libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)))
attempt("umount", lambda: succeeded(libc.umount2(b"/proc", 2)))
attempt("chroot", lambda: os.chroot("."))
attempt("keyring", lambda: succeeded(libc.syscall(keyctl, 0, -3, 1)))
attempt("io_uring", lambda: succeeded(libc.syscall(425, 1, ctypes.create_string_buffer(120))))
attempt("trace me", lambda: succeeded(libc.ptrace(0, 0, 0, 0)))
attempt("became root", lambda: os.getuid() != 0 and os.setuid(0))
attempt("set groups", lambda: os.setgroups([0]))
for path in "sys/kernel/core_pattern sys/vm/drop_caches sysrq-trigger 1/oom_score_adj self/comm".split():
    attempt("wrote /proc/" + path, lambda: os.close(os.open("/proc/" + path, os.O_WRONLY)))
attempt("new privileges", lambda: libc.prctl(39, 0, 0, 0, 0) != 1)
attempt("no filter", lambda: libc.prctl(21, 0, 0, 0, 0) != 2)
attempt("bounding set", lambda: any(libc.prctl(23, n, 0, 0, 0) == 1 for n in range(64)))
def init_has(name):
    with open("/proc/1/status") as file:
        return any(line.startswith(name) and int(line.split()[1], 16) for line in file)
if os.getpid() < 300:  # process 1 is the sandbox's own
    for name in ("CapPrm:", "CapEff:", "CapBnd:"):
        attempt("capabilities of init: " + name, lambda: init_has(name))
data = (ctypes.c_uint32 * 6)()
libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), data)
attempt("capabilities", lambda: any(data))
"""
)

NETWORK = (
    PRELUDE
    + """\
import socket
gateway, decoy, udp = (int(word) for word in sys.argv[1:4])
path, abstract = sys.argv[4], sys.argv[5]
def connect(port, host="127.0.0.1", proto=0):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, proto) as sock:
        sock.settimeout(2)
        sock.connect((host, port))
        return sock.recv(8) == b"hello"
def fast_open(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.1", port))
        return sock.recv(8) == b"hello"
def fast_open_message(port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.sendmsg([b"x"], [], socket.MSG_FASTOPEN, ("127.0.0.1", port))
        return sock.recv(8) == b"hello"
def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.sendto(b"x", ("127.0.0.1", udp))
        return sock.recv(8) == b"hello"
def unix(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(2)
        sock.connect(address)
        return sock.recv(8) == b"hello"
def made(family, kind, proto=0):
    socket.socket(family, kind, proto).close()
attempt("gateway", lambda: connect(gateway))
attempt("port", lambda: connect(decoy))
attempt("gateway's port elsewhere", lambda: connect(gateway, "127.0.0.2"))
attempt("outside", lambda: connect(443, "192.0.2.1"))
attempt("mptcp", lambda: connect(decoy, proto=262))
attempt("fast open", lambda: fast_open(decoy))
attempt("fast open message", lambda: fast_open_message(decoy))
attempt("udp", datagram)
attempt("unix path", lambda: unix(path))
attempt("unix abstract", lambda: unix(chr(0) + abstract))
attempt("vsock", lambda: made(40, socket.SOCK_STREAM))
attempt("packet", lambda: made(socket.AF_PACKET, socket.SOCK_RAW, 3))
attempt("raw", lambda: made(socket.AF_INET, socket.SOCK_RAW, 1))
"""
)

LISTEN = """\
import socket, sys
for port in sys.argv[1:]:
    try:
        sock = socket.create_connection(("127.0.0.1", int(port)), timeout=5)
        print(sock.recv(8).decode(), end="")
    except OSError:
        pass
"""

FORKS = """\
import os, time
count = 0
try:
    for _ in range(600):
        if os.fork() == 0:
            time.sleep(60)
        count += 1
    time.sleep(5)  # nothing has held it up: whoever watches gets the time to see it
except OSError:
    pass
print(count)
"""

PRIVATE_MEMORY = "bytearray(400 << 20)"

SHARED_MEMORY = """\
import mmap, time
kept = mmap.mmap(-1, 600 << 20)
for at in range(0, 600 << 20, 4096):
    kept[at] = 1
time.sleep(60)
"""

MEMORY_OF_MANY = """\
import os, sys, time
for _ in range(12):
    if os.fork() == 0:
        kept = bytearray(b"x") * (30 << 20)
        time.sleep(60)
sys.exit(os.wait()[1] != 0)
"""

SWAPS = """\
import ctypes, os, sys
secret = sys.argv[1]
libc = ctypes.CDLL(None)
HERE, EXCHANGE = -100, 2
def prepare():
    for folder, file, link in (("d", "d/f", "fake"), (None, "f", "link")):
        try:
            if folder:
                os.mkdir(folder)
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except OSError:
            pass
        try:
            os.symlink(secret if folder else secret + "/f", link)
        except OSError:
            pass
prepare()
os.close(os.open("swapping", os.O_CREAT))
while True:
    for name, other in ((b"d", b"fake"), (b"f", b"link")):
        if libc.renameat2(HERE, name, HERE, other, EXCHANGE):
            prepare()
"""

HARNESS = """\
import asyncio, os, sys, time
from pytest_goat.sandbox.base import SandboxSpec
from pytest_goat.sandbox.local.backend import LocalBackend
async def main():
    backend = LocalBackend(sys.argv[1])
    await backend.start()
    sandbox = await backend.open(SandboxSpec("trial"))
    if os.environ["CHILD"] and os.fork() == 0:
        time.sleep(100)
        os._exit(0)
    script = "setsid sleep {0} & sleep {0}".format(os.environ["SLEEP"])
    await sandbox.exec(["sh", "-c", script], timeout=100)
asyncio.run(main())
"""
"""No attack: a harness that is about to be killed."""
