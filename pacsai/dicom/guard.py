"""What a peer may make this node wait for and hold in memory, below the DICOM protocol.

pynetdicom 3.0.4 reads a PDU of any length a peer announces (4 GiB at most) and waits for its bytes without end, before
any AE title is known. The guard takes the place of its socket reading.
"""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass

from pynetdicom.transport import AssociationSocket


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest PDU, the most bytes of one message, the seconds that one PDU may take to arrive."""

    pdu_bytes: int
    message_bytes: int
    pdu_s: float


class Guard:
    """Reads from one association's socket within bounds; beyond them the connection is closed."""

    def __init__(self, transport: AssociationSocket, bounds: Bounds) -> None:
        if transport.socket is None:
            raise OSError(errno.ENOTCONN, "the peer has gone")
        self._socket = transport.socket
        self._bounds = bounds
        self._received = 0
        self._socket.settimeout(bounds.pdu_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        setattr(transport, "recv", self.read)  # noqa: B010 (a method of pynetdicom's object, which mypy protects)

    def message_ended(self) -> None:
        """Count the next message from zero."""
        self._received = 0

    def read(self, count: int) -> bytearray:
        """Return the next `count` bytes of the peer, fewer where it closed the connection.

        Raises
        ------
        OSError
            Beyond the bounds; pynetdicom then closes the connection.
        """
        self._received += count
        if count > self._bounds.pdu_bytes:
            raise OSError(errno.EMSGSIZE, "the peer announces a PDU longer than this node takes")
        if self._received > self._bounds.message_bytes:
            raise OSError(errno.EMSGSIZE, "the peer's message is longer than this node takes")
        buffer = bytearray(count)
        filled = self._fill(memoryview(buffer))
        return buffer if filled == count else buffer[:filled]

    def _fill(self, view: memoryview) -> int:
        deadline = time.monotonic() + self._bounds.pdu_s
        filled = 0
        try:
            while filled < len(view):
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(errno.ETIMEDOUT, "the peer takes too long to send one PDU")
                self._socket.settimeout(left_s)
                got = self._socket.recv_into(view[filled:])
                if not got:
                    break
                filled += got
        finally:
            self._socket.settimeout(self._bounds.pdu_s)
        return filled
