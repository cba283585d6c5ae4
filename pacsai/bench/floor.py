"""What the disk and the loopback allow: a bare loop that takes files over a socket and makes them durable.

    floor.py receive [--no-fsync] [--dicom] FOLDER     prints `ready PORT`
    floor.py send PORT PROCESSES FILE...               sends the bytes of the files, each process its share

Plain, it speaks no DICOM: eight bytes of length, the bytes, one byte back once the file is as durable as the spool's
(file flushed, named, folder flushed). With --dicom it is fed by storescu, so that the sender costs what it costs for
the others: floor_dicom.py. Several processes on one port, as many as processors; a child for each connection, because
threads of one Python hold each other up. The sender is run as a script without Python's `site`: it then starts as fast
as storescu. Import nothing here that takes long.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

LOOPBACK = "127.0.0.1"
CHUNK = 128 * 1024
ACKNOWLEDGED = b"\x00"


class Keeper:
    """Makes files in one folder, durable or not."""

    def __init__(self, folder: str, durable: bool) -> None:
        self._directory = os.open(folder, os.O_RDONLY)
        self._durable = durable
        self._number = 0

    def begin(self) -> int:
        """Return the descriptor of a new file without a name."""
        return os.open(".", os.O_TMPFILE | os.O_RDWR, dir_fd=self._directory)

    def keep(self, file: int) -> None:
        """Name the file and close it; when this returns it survives a power cut, where that is wanted."""
        if self._durable:
            os.fsync(file)
        name = f"{os.getpid()}-{self._number}"
        os.link(f"/proc/self/fd/{file}", name, dst_dir_fd=self._directory, follow_symlinks=True)
        os.close(file)
        if self._durable:
            os.fsync(self._directory)
        self._number += 1


def receive(keeper: Keeper, serve: Callable[[socket.socket, Keeper], None]) -> None:
    """Listen on a free port of the loopback until SIGTERM; a child serves each connection."""
    listeners = [_listener(0)]
    port = listeners[0].getsockname()[1]
    listeners.extend(_listener(port) for _ in range(1, os.cpu_count() or 1))
    others = [_taking_connections(one, keeper, serve) for one in listeners[1:]]
    signal.signal(signal.SIGTERM, lambda *_: _end(others))
    sys.stdout.write(f"ready {port}\n")
    sys.stdout.flush()
    _take_connections(listeners[0], keeper, serve)


def send(port: int, processes: int, files: list[str]) -> None:
    """Send `files` from `processes` processes and wait until all are acknowledged."""
    children = []
    for number in range(processes):
        child = os.fork()
        if child == 0:
            _send_all(port, files[number::processes])
            os._exit(0)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        sys.exit("a file was not acknowledged")


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((LOOPBACK, port))
    listener.listen(64)
    return listener


def _taking_connections(listener: socket.socket, keeper: Keeper, serve: Callable[[socket.socket, Keeper], None]) -> int:
    """Return the pid of a process that takes the connections of `listener`."""
    pid = os.fork()
    if pid == 0:
        _take_connections(listener, keeper, serve)
    return pid


def _end(others: list[int]) -> None:
    for pid in others:
        os.kill(pid, signal.SIGTERM)
    os._exit(0)


def _take_connections(listener: socket.socket, keeper: Keeper, serve: Callable[[socket.socket, Keeper], None]) -> None:
    signal.signal(signal.SIGCHLD, lambda *_: _reap())
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection, keeper)
            os._exit(0)
        connection.close()


def _reap() -> None:
    """Wait for the children that have ended, so that their time counts as ours."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def keep_files(connection: socket.socket, keeper: Keeper) -> None:
    """Keep what comes over one connection in the plain form."""
    buffer = memoryview(bytearray(CHUNK))
    while connection.recv_into(buffer, 8, socket.MSG_WAITALL) == 8:
        (length,) = struct.unpack_from("<Q", buffer)
        file = keeper.begin()
        copy(connection, file, length, buffer)
        keeper.keep(file)
        connection.sendall(ACKNOWLEDGED)


def copy(connection: socket.socket, file: int, length: int, buffer: memoryview) -> None:
    """Write the next `length` bytes of the connection to `file`; where they do not come, the process ends."""
    while length:
        got = connection.recv_into(buffer, min(length, CHUNK), socket.MSG_WAITALL)
        if not got:
            os._exit(1)
        os.write(file, buffer[:got])
        length -= got


def _send_all(port: int, files: list[str]) -> None:
    with socket.create_connection((LOOPBACK, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in files:
            file = os.open(path, os.O_RDONLY)
            length = os.fstat(file).st_size
            connection.sendall(struct.pack("<Q", length))
            sent = 0
            while sent < length:
                sent += os.sendfile(connection.fileno(), file, sent, length - sent)
            os.close(file)
            if connection.recv(1) != ACKNOWLEDGED:
                os._exit(1)


def main() -> None:
    """Receive or send."""
    what, *rest = sys.argv[1:]
    if what == "receive":
        serve = keep_files
        if "--dicom" in rest:
            from pacsai.bench.floor_dicom import keep_instances as serve
        receive(Keeper(rest[-1], durable="--no-fsync" not in rest), serve)
    else:
        send(int(rest[0]), int(rest[1]), rest[2:])


if __name__ == "__main__":
    main()
