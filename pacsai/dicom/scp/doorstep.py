"""Connections that have not asked for an association yet: read without waiting, few, and for a short time."""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
from dataclasses import dataclass, field

from pacsai.dicom.scp.wire import ASSOCIATE_RQ, INVALID_PARAMETER, UNEXPECTED_PDU, Gone, Violation

ASSOCIATE_BYTES = 1 << 19
"""No association request is longer: 128 presentation contexts with every transfer syntax take 150 kB."""

_HEADER = 6


class Unsafe(Exception):  # noqa: N818 (reads as what happened)
    """The TLS handshake failed; the message says why."""


@dataclass(slots=True, eq=False)
class Caller:
    """A peer at the door.

    Attributes
    ----------
    deadline : float
        Monotonic time by which its whole request must be here.
    events : int
        What it waits for, as selectors count it.
    """

    id: int
    address: str
    connection: socket.socket
    deadline: float
    shaken: bool
    events: int = selectors.EVENT_READ
    request: bytearray = field(default_factory=bytearray)

    @classmethod
    def arrived(
        cls, number: int, address: str, connection: socket.socket, deadline: float, context: ssl.SSLContext | None
    ) -> Caller:
        """Return the peer of a new connection, which speaks TLS where `context` is given."""
        connection.setblocking(False)
        if context is None:
            return cls(number, address, connection, deadline, shaken=True)
        secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return cls(number, address, secure, deadline, shaken=False)

    def advance(self) -> bool:
        """Read what has come; return whether the association request is whole.

        Raises
        ------
        Unsafe, Violation, Gone
            It will never be.
        """
        try:
            self._shake()
            while not self._whole():
                got = self.connection.recv(self._missing())
                if not got:
                    raise Gone
                self.request += got
        except (BlockingIOError, ssl.SSLWantReadError):
            self.events = selectors.EVENT_READ
            return False
        except ssl.SSLWantWriteError:
            self.events = selectors.EVENT_WRITE
            return False
        except OSError as error:
            raise self._broken(error) from error
        return True

    def certificate(self) -> bytes | None:
        """Return the peer's certificate (DER), None without TLS."""
        if isinstance(self.connection, ssl.SSLSocket):
            return self.connection.getpeercert(binary_form=True)
        return None

    def _shake(self) -> None:
        if not self.shaken and isinstance(self.connection, ssl.SSLSocket):
            self.connection.do_handshake()
            self.shaken = True

    def _broken(self, error: OSError) -> Exception:
        if isinstance(error, ssl.SSLError) and not self.shaken:
            return Unsafe(getattr(error, "verify_message", "") or error.reason or "the handshake broke off")
        return Gone()

    def _missing(self) -> int:
        if len(self.request) < _HEADER:
            return _HEADER - len(self.request)
        return self._length() - len(self.request)

    def _whole(self) -> bool:
        return len(self.request) >= _HEADER and len(self.request) >= self._length()

    def _length(self) -> int:
        """Return the length of the whole request, header included, after checking it."""
        kind, length = struct.unpack_from(">BxL", self.request)
        if kind != ASSOCIATE_RQ:
            raise Violation("what comes first is no association request", UNEXPECTED_PDU)
        if not 68 <= length <= ASSOCIATE_BYTES:
            raise Violation(f"the peer announces a PDU of {length} bytes as its association request", INVALID_PARAMETER)
        return _HEADER + int(length)
