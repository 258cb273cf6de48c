"""What Postgres runs to archive or fetch one segment: `wal_client.py SOCKET put|get NAME PATH`.

Exit code 0: done; 1: not there, or not archived and to be tried again. It is copied to where Postgres can
read it, so it imports nothing of the package.
"""

import socket
import sys


def main(address: str, verb: str, name: str, path: str) -> int:
    """Carry one segment between `path` and the server on the unix socket `address`."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(60)
        connection.connect(address)
        stream = connection.makefile("rwb")
        if verb == "put":
            with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs a third of the run
                data = file.read()
            stream.write(f"put {name} {len(data)}\n".encode() + data)
        else:
            stream.write(f"get {name}\n".encode())
        stream.flush()
        answer = stream.readline().decode().strip()
        if not answer.startswith("ok "):
            if answer != "absent":
                print(answer, file=sys.stderr)
            return 1
        if verb == "get":
            size = int(answer.split()[1])
            data = stream.read(size)
            if len(data) != size:
                return 1
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(data)
        return 0


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except OSError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(1)
