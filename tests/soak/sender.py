"""A sender that sends its share until each is acknowledged, and breaks off at random in every way a sender can.

Its own small SCU on a socket: a library would not cut a PDU in two.
"""

from __future__ import annotations

import random
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.instances import SOP_CLASS_UID, TRANSFER_SYNTAX_UID, Made, make

ASSOCIATE_RQ, ASSOCIATE_AC, DATA, RELEASE_RQ, RELEASE_RP, ABORT = 1, 2, 4, 5, 6, 7
COMMAND, LAST = 1, 2
CONTEXT = 1
PDU = 32 * 1024
TRIES = 400
"""Of one instance; with 50 ms between them a receiver that stays away for 20 s ends the soak."""
BREAKS = ("mid PDU", "mid data set", "reset", "abort", "release early", "no wait")


class RefusedError(ConnectionError):
    """The association was rejected, or the peer ended it."""


@dataclass
class Tally:
    """What one sender has seen."""

    acknowledged: list[int] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)


class Association:
    """One association to `port` of the loopback, for CT in explicit little endian."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._message = 0
        self._socket.sendall(_pdu(ASSOCIATE_RQ, _request()))
        kind, _ = self._read()
        if kind != ASSOCIATE_AC:
            self.drop()
            raise RefusedError(f"PDU type {kind} in answer to an association request")

    def store(self, instance: Made) -> int:
        """Send an instance and return the status."""
        self._socket.sendall(b"".join(self._pdus(instance)))
        kind, body = self._read()
        if kind != DATA:
            raise RefusedError(f"PDU type {kind} in answer to C-STORE")
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2)) + 8
        return int(struct.unpack_from("<H", body, at)[0])

    def break_off(self, instance: Made, how: str, rng: random.Random) -> None:
        """Begin to send an instance and end the association in the middle of it, as `how` says."""
        pdus = self._pdus(instance)
        whole = b"".join(pdus[: rng.randint(1, len(pdus) - 1)])
        if how == "mid PDU":
            self._socket.sendall(b"".join(pdus)[: rng.randint(1, len(instance.dataset))])
        elif how == "no wait":
            self._socket.sendall(b"".join(pdus))
        else:
            self._socket.sendall(whole)
        if how == "abort":
            self._socket.sendall(_pdu(ABORT, bytes(4)))
        elif how == "release early":
            self._socket.sendall(_pdu(RELEASE_RQ, bytes(4)))
        elif how == "reset":
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()

    def release(self) -> None:
        """End as one should."""
        self._socket.sendall(_pdu(RELEASE_RQ, bytes(4)))
        self._read()
        self.drop()

    def drop(self) -> None:
        """Close the socket, whatever the state."""
        self._socket.close()

    def _pdus(self, instance: Made) -> list[bytes]:
        """Return a C-STORE request as PDUs: the command, then the data set in pieces."""
        self._message = self._message % 0xFFFF + 1
        data = instance.dataset
        pieces = [data[at : at + PDU] for at in range(0, len(data), PDU)]
        ends = [0] * (len(pieces) - 1) + [LAST]
        command = _command(instance.sop_instance_uid, self._message)
        return [_pdv(command, COMMAND | LAST), *(_pdv(piece, end) for piece, end in zip(pieces, ends, strict=True))]

    def _read(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BxI", self._exactly(6))
        return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        got = self._socket.recv(count, socket.MSG_WAITALL) if count else b""
        if len(got) < count:
            raise RefusedError("the peer closed the connection")
        return got


def send_share(port: int, numbers: range, seed: int, break_rate: float) -> Tally:
    """Send the instances until each is acknowledged; `break_rate` of the attempts are broken off."""
    rng, tally = random.Random(f"{seed} {numbers}"), Tally()
    association: Association | None = None
    for number in numbers:
        instance = make(seed, number)
        for _ in range(TRIES):
            try:
                association = association or Association(port)
                if rng.random() < break_rate:
                    association = _broken(association, instance, rng, tally)
                    continue
                status = association.store(instance)
            except (OSError, ValueError) as error:
                tally.events[f"unwanted: {type(error).__name__}"] += 1
                association = _dropped(association)
                continue
            tally.events[f"status 0x{status:04X}"] += 1
            if status == 0:
                tally.acknowledged.append(number)
                break
        if rng.random() < 0.03 and association:
            association.release()
            association = None
    _dropped(association)
    return tally


def _broken(association: Association, instance: Made, rng: random.Random, tally: Tally) -> None:
    how = rng.choice(BREAKS)
    tally.events[f"broken off: {how}"] += 1
    association.break_off(instance, how, rng)


def _dropped(association: Association | None) -> None:
    time.sleep(0.05)
    if association:
        association.drop()


def _pdu(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(body)) + body


def _pdv(piece: bytes, control: int) -> bytes:
    return _pdu(DATA, struct.pack(">IBB", len(piece) + 2, CONTEXT, control) + piece)


def _request() -> bytes:
    """Return the body of an A-ASSOCIATE-RQ (PS3.8 9.3.2)."""
    syntaxes = _item(0x30, SOP_CLASS_UID.encode()) + _item(0x40, TRANSFER_SYNTAX_UID.encode())
    user = _item(0x51, struct.pack(">I", PDU)) + _item(0x52, b"1.2.3")
    titles = struct.pack(">HH16s16s32x", 1, 0, b"PACSAI".ljust(16), b"SOAK".ljust(16))
    context = _item(0x20, bytes([CONTEXT, 0, 0, 0]) + syntaxes)
    return titles + _item(0x10, b"1.2.840.10008.3.1.1.1") + context + _item(0x50, user)


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _command(sop_instance_uid: str, message: int) -> bytes:
    """Return a C-STORE-RQ command set (PS3.7 9.3.1.1)."""
    elements = [
        (0x0002, _even(SOP_CLASS_UID)),
        (0x0100, struct.pack("<H", 0x0001)),
        (0x0110, struct.pack("<H", message)),
        (0x0700, struct.pack("<H", 0)),
        (0x0800, struct.pack("<H", 0x0000)),
        (0x1000, _even(sop_instance_uid)),
    ]
    group = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(group)) + group


def _even(uid: str) -> bytes:
    return uid.encode() + b"\x00" * (len(uid) % 2)
