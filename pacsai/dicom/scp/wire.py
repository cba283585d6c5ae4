"""Connections below the DICOM messages: whole PDUs (PS3.8 9.3), read into one buffer that is used again and again.

Every wait has an end: a PDU must arrive within `timeout_s` of its first byte being due, however it is dribbled.
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

SHORTEST = 10
"""Bytes of the shortest PDU, a release or an abort: so many can be waited for without knowing what comes."""

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

    def fill(self, view: memoryview) -> None:
        """Fill `view`; raises Gone, or TimeoutError when it takes longer than the wire's time."""

    def send(self, data: bytes) -> None:
        """Send all of `data`; raises Gone."""


class PlainWire:
    """A TCP connection. The system waits for whole reads, so that one PDU costs two calls, however it travels."""

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection = connection
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        patience = struct.pack("@ll", int(timeout_s), int(timeout_s % 1 * 1e6))
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            connection.setsockopt(socket.SOL_SOCKET, option, patience)

    def fill(self, view: memoryview) -> None:
        """See `Wire`. A read that times out returns what has come, which then is too little."""
        try:
            got = self._connection.recv_into(view, 0, socket.MSG_WAITALL)
        except BlockingIOError:
            raise TimeoutError from None
        except OSError as error:
            raise Gone from error
        if got != len(view):
            raise self._ended_early()

    def _ended_early(self) -> Exception:
        """Tell a peer that closed from one that is slow: only the first can be read from without waiting."""
        try:
            closed = self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            closed = False
        except OSError:
            closed = True
        return Gone() if closed else TimeoutError()

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

    def fill(self, view: memoryview) -> None:
        """See `Wire`."""
        deadline = time.monotonic() + self._timeout_s
        filled = 0
        while filled < len(view):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            try:
                got = self._connection.recv_into(view[filled:])
            except TimeoutError:
                raise
            except OSError as error:
                raise Gone from error
            if not got:
                raise Gone
            filled += got

    def send(self, data: bytes) -> None:
        """See `Wire`."""
        self._connection.settimeout(self._timeout_s)
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise Gone from error


@dataclass(frozen=True, slots=True)
class Bounds:
    """The longest PDU and the most bytes of one association."""

    pdu_bytes: int
    association_bytes: int


class PduReader:
    """Reads the PDUs of one association, one after the other, into one buffer."""

    def __init__(self, wire: Wire, bounds: Bounds) -> None:
        self._wire = wire
        self._bounds = bounds
        self._left = bounds.association_bytes
        self._view = memoryview(bytearray(bounds.pdu_bytes + 6))
        self._first = self._view[:SHORTEST]

    def next(self) -> tuple[int, memoryview]:
        """Return type and content of the next PDU; the content is good until the next call.

        Raises
        ------
        Violation
            The PDU, or all that came, is longer than the bounds.
        Gone, TimeoutError
            As `Wire.fill`.
        """
        self._wire.fill(self._first)
        kind, length = struct.unpack_from(">BxL", self._first)
        if not 4 <= length <= self._bounds.pdu_bytes:
            raise Violation(f"the peer announces a PDU of {length} bytes", INVALID_PARAMETER)
        self._left -= length
        if self._left < 0:
            raise Violation("the peer sends more in one association than this node takes")
        if length > 4:
            self._wire.fill(self._view[SHORTEST : 6 + length])
        return kind, self._view[6 : 6 + length]
