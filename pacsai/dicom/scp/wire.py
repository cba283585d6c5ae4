"""Connections below the DICOM messages: PDUs (PS3.8 9.3), read into one buffer that is used again and again.

Every wait has an end, and so has a PDU, however it is dribbled.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from dataclasses import dataclass
from typing import Protocol

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
"""PDU types."""

_BUFFER_BYTES = 1 << 18

RELEASE_REPLY = struct.pack(">BxL4x", RELEASE_RP, 4)
UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 1, 2, 6
"""Reasons of an abort by the service provider (PS3.8 table 9-26)."""

LOCAL_LIMIT_EXCEEDED = (2, 3, 2)
CALLING_AE_TITLE_NOT_RECOGNIZED = (1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = (1, 1, 7)
"""Result, source and diagnostic of a rejection (PS3.8 table 9-21)."""


class Gone(Exception):  # noqa: N818 (reads as what happened)
    """The peer has closed the connection, or it broke."""


class Violation(Exception):  # noqa: N818
    """The peer does what the protocol or a limit forbids; the message says what, `reason` is the abort's."""

    def __init__(self, message: str, reason: int = 0) -> None:
        super().__init__(message)
        self.reason = reason


def abort(reason: int = 0) -> bytes:
    """Return an A-ABORT PDU of the service provider."""
    return struct.pack(">BxLxxBB", ABORT, 4, 2, reason)


def rejection(result: int, source: int, diagnostic: int) -> bytes:
    """Return an A-ASSOCIATE-RJ PDU."""
    return struct.pack(">BxLxBBB", ASSOCIATE_RJ, 4, result, source, diagnostic)


class Wire(Protocol):
    """One connection, read and written by one thread."""

    def read(self, view: memoryview) -> int:
        """Fill some of `view`, as soon as anything is there; return how much.

        Raises
        ------
        Gone
            The peer has closed.
        TimeoutError
            Nothing comes.
        """

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Gone."""


class PlainWire:
    """A TCP connection. The system keeps the time: a wait costs one call."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patience = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, patience)

    def read(self, view: memoryview) -> int:
        """See `Wire`."""
        try:
            got = self._connection.recv_into(view)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError as error:
            raise Gone from error
        if not got:
            raise Gone
        return got

    def send(self, data: bytes) -> None:
        """See `Wire`."""
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Gone from error


class TlsWire:
    """A TLS connection, its handshake done."""

    def __init__(self, connection: ssl.SSLSocket, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, view: memoryview) -> int:
        """See `Wire`."""
        self._connection.settimeout(self._timeout_s)
        try:
            got = self._connection.recv_into(view)
        except TimeoutError:
            raise
        except OSError as error:
            raise Gone from error
        if not got:
            raise Gone
        return got

    def send(self, data: bytes) -> None:
        """See `Wire`."""
        self._connection.settimeout(self._timeout_s)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Gone from error


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest PDU, the most bytes of one association, and the seconds that one PDU may take to arrive."""

    pdu_bytes: int
    association_bytes: int
    pdu_s: float


class PduReader:
    """Reads one association through one buffer: whatever has come, as much as has come, at once.

    What is returned are views of the buffer, good until the next call.
    """

    def __init__(self, wire: Wire, bounds: Bounds) -> None:
        self._wire = wire
        self._bounds = bounds
        self._left = bounds.association_bytes
        self._view = memoryview(bytearray(max(_BUFFER_BYTES, 2 * bounds.pdu_bytes)))
        self._at = self._end = 0
        self._deadline = float("inf")

    def head(self) -> tuple[int, int]:
        """Return type of the next PDU and length of its content, which must be read before the next.

        Raises
        ------
        Violation
            The PDU, or all that came, is longer than the bounds.
        Gone, TimeoutError
            As `Wire.read`; TimeoutError as well when the PDU takes too long, however it is dribbled.
        """
        self._deadline = float("inf")  # a peer may be silent between two PDUs as long as the wire lets it
        if self._at == self._end:
            self._more()
        self._deadline = time.monotonic() + self._bounds.pdu_s
        kind, length = struct.unpack(">BxL", self.whole(6))
        if not 4 <= length <= self._bounds.pdu_bytes:
            raise Violation(f"the peer announces a PDU of {length} bytes", INVALID_PARAMETER)
        self._left -= length
        if self._left < 0:
            raise Violation("the peer sends more in one association than this node takes")
        return kind, length

    def whole(self, count: int) -> memoryview:
        """Return the next `count` bytes of the PDU, when all of them are there."""
        while self._end - self._at < count:
            self._more()
        self._at += count
        return self._view[self._at - count : self._at]

    def some(self, most: int) -> memoryview:
        """Return the bytes of the PDU that are there, at least one and no more than `most`."""
        if self._at == self._end:
            self._more()
        begin = self._at
        self._at = min(self._end, begin + most)
        return self._view[begin : self._at]

    def _more(self) -> None:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        if self._at == self._end:
            self._at = self._end = 0
        elif len(self._view) - self._end < _BUFFER_BYTES // 2:
            rest = self._end - self._at
            self._view[:rest] = bytes(self._view[self._at : self._end])
            self._at, self._end = 0, rest
        self._end += self._wire.read(self._view[self._end :])
