"""The channel between the node and one of its receiver processes: small messages, and open connections with them."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

LARGEST = 1 << 16


class Ended(Exception):  # noqa: N818 (reads as what happened)
    """The process at the other end has gone."""


class Channel:
    """One end of a channel. A message is a JSON object; messages arrive whole and in order."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._end.fileno()

    def send(self, message: dict[str, Any], connection: socket.socket | None = None) -> None:
        """Send `message`, and an open connection with it; raises Ended."""
        data = json.dumps(message, separators=(",", ":")).encode()
        try:
            if connection is None:
                self._end.send(data)
            else:
                socket.send_fds(self._end, [data], [connection.fileno()])
        except OSError as error:
            raise Ended from error

    def receive(self) -> tuple[dict[str, Any], socket.socket | None]:
        """Return the next message, and the connection that came with it; raises Ended."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, LARGEST, 1)
        except OSError as error:
            raise Ended from error
        if not data:
            raise Ended
        message: dict[str, Any] = json.loads(data)
        return message, socket.socket(fileno=descriptors[0]) if descriptors else None

    def receive_if_any(self) -> dict[str, Any] | None:
        """Return the next message if there is one, without waiting and without a connection; raises Ended."""
        try:
            data = self._end.recv(LARGEST, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Ended from error
        if not data:
            raise Ended
        message: dict[str, Any] = json.loads(data)
        return message

    def say_no_more(self) -> None:
        """Tell the other end that nothing more is said; what it still says is heard."""
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close this end; the process at the other one is told so by `Ended`."""
        self._end.close()


def pair() -> tuple[Channel, socket.socket]:
    """Return a channel, and the socket of its other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs
