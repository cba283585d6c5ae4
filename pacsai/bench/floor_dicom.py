"""The floor fed by storescu: as little DICOM as that takes, and no more than one honest sender on the loopback needs.

Everything offered is accepted, nothing is checked, and files hold the bare data set. It shows what storescu, loopback
and disk allow together; it is no receiver.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from pacsai.bench.floor import CHUNK, Keeper, copy

ASSOCIATE_RQ, ASSOCIATE_AC, DATA, RELEASE_RQ, RELEASE_RP = 1, 2, 4, 5, 6
"""PDU types (PS3.8 9.3.1)."""
APPLICATION_CONTEXT, PROPOSED, ACCEPTED, TRANSFER_SYNTAX, USER_INFORMATION = 0x10, 0x20, 0x21, 0x40, 0x50
"""Item types of the association PDUs (PS3.8 9.3.2, 9.3.3)."""
IS_COMMAND, IS_LAST = 1, 2
"""Bits of a PDV's message control header (PS3.8 E.2)."""
HEADS = struct.Struct(">BxIIBB")
"""A P-DATA-TF PDU's head and that of its first PDV, which is its only one from DCMTK."""


def keep_instances(connection: socket.socket, keeper: Keeper) -> None:
    """Serve one association: keep each data set as it comes, answer success."""
    buffer = memoryview(bytearray(CHUNK))
    kind, length = struct.unpack(">BxI", _exactly(connection, buffer, 6))
    request = bytes(_exactly(connection, buffer, length))
    connection.sendall(_accepted(request))
    command, file = b"", -1
    while _exactly(connection, buffer, 6) and (kind := buffer[0]) == DATA:
        _exactly(connection, buffer[6:], 6)
        _, _, length, context, control = HEADS.unpack_from(buffer)
        if control & IS_COMMAND:
            command, file = bytes(_exactly(connection, buffer, length - 2)), keeper.begin()
            continue
        copy(connection, file, length - 2, buffer)
        if control & IS_LAST:
            keeper.keep(file)
            connection.sendall(_stored(command, context))
    if kind == RELEASE_RQ:
        connection.sendall(struct.pack(">BxII", RELEASE_RP, 4, 0))


def _exactly(connection: socket.socket, buffer: memoryview, count: int) -> memoryview:
    got = connection.recv_into(buffer, count, socket.MSG_WAITALL)
    return buffer[: count if got == count else 0]


def _accepted(request: bytes) -> bytes:
    """Return the A-ASSOCIATE-AC that takes the first transfer syntax of everything that the request proposes."""
    body = bytearray(request[:68])
    for kind, value in _items(request[68:]):
        if kind == APPLICATION_CONTEXT:
            body += _item(kind, value)
        elif kind == PROPOSED:
            syntax = next(name for item, name in _items(value[4:]) if item == TRANSFER_SYNTAX)
            body += _item(ACCEPTED, bytes([value[0], 0, 0, 0]) + _item(TRANSFER_SYNTAX, syntax))
    maximum = _item(0x51, struct.pack(">I", CHUNK)) + _item(0x52, b"1.2.3")
    body += _item(USER_INFORMATION, maximum)
    return struct.pack(">BxI", ASSOCIATE_AC, len(body)) + body


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _stored(command: bytes, context: int) -> bytes:
    """Return the PDU of a C-STORE-RSP of success (PS3.7 9.3.1.2) to the request `command`."""
    said = dict(_elements(command))
    elements = [
        (0x0002, said[0x0002]),
        (0x0100, struct.pack("<H", 0x8001)),
        (0x0120, said[0x0110]),
        (0x0800, struct.pack("<H", 0x0101)),
        (0x0900, struct.pack("<H", 0x0000)),
        (0x1000, said[0x1000]),
    ]
    group = b"".join(struct.pack("<HHI", 0, number, len(value)) + value for number, value in elements)
    message = struct.pack("<HHII", 0, 0, 4, len(group)) + group
    return HEADS.pack(DATA, len(message) + 6, len(message) + 2, context, IS_COMMAND | IS_LAST) + message


def _elements(command: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(command):
        _, number, length = struct.unpack_from("<HHI", command, at)
        yield number, command[at + 8 : at + 8 + length]
        at += 8 + length
