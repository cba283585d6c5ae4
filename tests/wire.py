"""DICOM's upper layer by hand (PS3.8 9.3, PS3.7 6.3), for senders that a library would not let be so rude."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from struct import pack, unpack

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

VERIFICATION = "1.2.840.10008.1.1"
ACCEPTED, REJECTED, DATA, RELEASE, RELEASED, ABORTED = 2, 3, 4, 5, 6, 7
HONEST, HOSTILE = "127.0.0.1", "127.0.0.2"
"""Where peers call from: all of 127.0.0.0/8 is this machine, and limits count by address."""
Contexts = list[tuple[str, list[str]]]


class Closed(Exception):  # noqa: N818
    """The node closed the connection, or reset it."""


def pdu(kind: int, body: bytes) -> bytes:
    """Return a PDU."""
    return pack(">BBL", kind, 0, len(body)) + body


def item(kind: int, body: bytes) -> bytes:
    """Return an item of an association request."""
    return pack(">BBH", kind, 0, len(body)) + body


def association_request(contexts: Contexts, *, calling: str = "HOSTILE", called: str = "PACSAI") -> bytes:
    """Return an A-ASSOCIATE-RQ PDU; the contexts get the ids 1, 3, 5 ..."""
    proposed = b"".join(
        item(
            0x20,
            bytes([2 * n + 1, 0, 0, 0])
            + item(0x30, abstract.encode())
            + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes),
        )
        for n, (abstract, syntaxes) in enumerate(contexts)
    )
    user = item(0x51, pack(">L", 0)) + item(0x52, b"1.2.3.4")
    head = pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    return pdu(1, head + item(0x10, b"1.2.840.10008.3.1.1.1") + proposed + item(0x50, user))


def command(**values: int | str) -> bytes:
    """Return a command set, Implicit VR Little Endian, from keywords of `_COMMAND`."""
    elements = b""
    for keyword, value in sorted(values.items(), key=lambda pair: _COMMAND[pair[0]]):
        data = pack("<H", value) if isinstance(value, int) else value.encode() + b"\0" * (len(value) % 2)
        elements += pack("<HHL", 0, _COMMAND[keyword], len(data)) + data
    return pack("<HHLL", 0, 0, 4, len(elements)) + elements


_COMMAND = {
    "AffectedSOPClassUID": 0x0002,
    "CommandField": 0x0100,
    "MessageID": 0x0110,
    "Priority": 0x0700,
    "CommandDataSetType": 0x0800,
    "AffectedSOPInstanceUID": 0x1000,
}


def p_data(data: bytes, context: int = 1, *, is_command: bool = False, piece: int = 65536) -> bytes:
    """Return the P-DATA-TF PDUs of a command or a data set, one fragment each."""
    pieces = [data[at : at + piece] for at in range(0, len(data), piece)] or [b""]
    return b"".join(
        pdu(DATA, pack(">LBB", len(part) + 2, context, is_command | (2 if n == len(pieces) - 1 else 0)) + part)
        for n, part in enumerate(pieces)
    )


def echo_request() -> bytes:
    """Return the PDU of a C-ECHO-RQ on context 1."""
    message = command(AffectedSOPClassUID=VERIFICATION, CommandField=0x0030, MessageID=1, CommandDataSetType=0x0101)
    return p_data(message, is_command=True)


def store_request(sop_class_uid: str, sop_instance_uid: str) -> bytes:
    """Return the PDU of a C-STORE-RQ on context 1, its data set not included."""
    message = command(
        AffectedSOPClassUID=sop_class_uid,
        AffectedSOPInstanceUID=sop_instance_uid,
        CommandField=0x0001,
        MessageID=1,
        Priority=0,
        CommandDataSetType=0x0000,
    )
    return p_data(message, is_command=True)


@dataclass
class Peer:
    """A connection to the node's port; closed by its `with` block."""

    socket: socket.socket

    @classmethod
    def connected(cls, port: int, source: str = HOSTILE, timeout_s: float = 10) -> Peer:
        """Return a connection from the address `source`."""
        connection = socket.create_connection(("127.0.0.1", port), timeout=timeout_s, source_address=(source, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connection)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send; a node that closed meanwhile is Closed."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def receive(self) -> tuple[int, bytes]:
        """Return kind and body of the next PDU."""
        kind, _, length = unpack(">BBL", self._exactly(6))
        return kind, self._exactly(length)

    def associate(self, contexts: Contexts, *, calling: str = "HOSTILE") -> dict[int, int]:
        """Ask for an association; return the result of each context (0 accepted), {} where it is rejected."""
        self.send(association_request(contexts, calling=calling))
        kind, body = self.receive()
        return _context_results(body[68:]) if kind == ACCEPTED else {}

    def echo(self) -> int:
        """Return the status of a C-ECHO on context 1."""
        self.send(echo_request())
        return self.status()

    def store(self, data: bytes, sop_class_uid: str, sop_instance_uid: str) -> int:
        """Return the status of a C-STORE on context 1."""
        self.send(store_request(sop_class_uid, sop_instance_uid) + p_data(data))
        return self.status()

    def status(self) -> int:
        """Return the Status (0000,0900) of the next answer."""
        kind, body = self.receive()
        if kind != DATA:
            raise Closed(f"PDU of type {kind}")
        return int(unpack("<H", body[body.index(b"\0\0\0\x09\2\0\0\0") + 8 :][:2])[0])

    def release(self) -> None:
        """Release the association."""
        self.send(pdu(RELEASE, bytes(4)))
        self.receive()

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionResetError as error:
                raise Closed from error
            if not more:
                raise Closed
            data += more
        return data


def echo(port: int) -> int:
    """Return the status of a C-ECHO of an honest peer, association and release included."""
    with Peer.connected(port, HONEST) as peer:
        if peer.associate([(VERIFICATION, [ImplicitVRLittleEndian])], calling="HONEST") != {1: 0}:
            raise Closed("no association")
        status = peer.echo()
        peer.release()
    return status


def store(
    port: int,
    data: bytes,
    sop_instance_uid: str,
    *,
    sop_class_uid: str = CTImageStorage,
    syntax: str = ExplicitVRLittleEndian,
) -> str:
    """Send one data set on an association of its own; return what became of it in a word.

    "0x0000" and the like for a status; "not negotiated", "rejected" or "closed" where it did not come to that.
    """
    with Peer.connected(port, timeout_s=30) as peer:
        try:
            accepted = peer.associate([(sop_class_uid, [syntax])])
            if accepted.get(1) != 0:
                return "not negotiated" if accepted else "rejected"
            status = peer.store(data, sop_class_uid, sop_instance_uid)
            peer.release()
        except Closed:
            return "closed"
    return f"0x{status:04X}"


def _context_results(items: bytes) -> dict[int, int]:
    found = {}
    while items:
        kind, _, length = unpack(">BBH", items[:4])
        if kind == 0x21:
            found[items[4]] = items[6]
        items = items[4 + length :]
    return found
