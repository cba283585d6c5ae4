"""DIMSE command sets (PS3.7 chapter 9 and annex E): the few elements this node reads, and its answers.

Always Implicit VR Little Endian and flat, and on the way of every image: read and written here byte by byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

C_STORE_RQ, C_ECHO_RQ, C_CANCEL_RQ = 0x0001, 0x0030, 0x0FFF
N_EVENT_REPORT_RQ, N_SET_RQ, N_ACTION_RQ, N_CREATE_RQ = 0x0100, 0x0120, 0x0130, 0x0140
"""Command Field (0000,0100) of requests; a response sets the highest bit."""

NO_DATA_SET = 0x0101
"""Command Data Set Type (0000,0800) of a message without a data set."""

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
UNRECOGNIZED_OPERATION = 0x0211

_AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS = 0x0002, 0x0003
_COMMAND_FIELD, _MESSAGE_ID, _DATA_SET_TYPE = 0x0100, 0x0110, 0x0800
_MESSAGE_ID_ANSWERED = 0x0120
_STATUS, _ERROR_COMMENT = 0x0900, 0x0902
_AFFECTED_SOP_INSTANCE, _REQUESTED_SOP_INSTANCE = 0x1000, 0x1001
_EVENT_TYPE, _ACTION_TYPE = 0x1002, 0x1008

_US = struct.Struct("<HHLH")
_ELEMENT = struct.Struct("<HHL")


@dataclass(frozen=True, slots=True)
class Command:
    """A request. UIDs are as the peer wrote them, without padding; they need not be valid.

    Attributes
    ----------
    type_id : int
        Action Type ID or Event Type ID, 0 for requests without one.
    """

    field: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str
    has_data_set: bool
    type_id: int


def decoded(encoded: bytes | bytearray) -> Command:
    """Return the command that `encoded` holds.

    Raises
    ------
    ValueError
        The bytes are no command set, or have no Command Field or Message ID.
    """
    values = _values(encoded)
    return Command(
        field=_number(values, _COMMAND_FIELD),
        message_id=_number(values, _MESSAGE_ID),
        sop_class_uid=_uid(values, _AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS),
        sop_instance_uid=_uid(values, _AFFECTED_SOP_INSTANCE, _REQUESTED_SOP_INSTANCE),
        has_data_set=_number(values, _DATA_SET_TYPE) != NO_DATA_SET,
        type_id=_number(values, _ACTION_TYPE, 0) or _number(values, _EVENT_TYPE, 0),
    )


def response(request: Command, status: int, comment: str = "") -> bytes:
    """Return the encoded response to `request`, without a data set; an Error Comment holds 64 characters."""
    elements = [
        _text(_AFFECTED_SOP_CLASS, request.sop_class_uid, b"\x00"),
        _US.pack(0, _COMMAND_FIELD, 2, request.field | 0x8000),
        _US.pack(0, _MESSAGE_ID_ANSWERED, 2, request.message_id),
        _US.pack(0, _DATA_SET_TYPE, 2, NO_DATA_SET),
        _US.pack(0, _STATUS, 2, status),
        _text(_ERROR_COMMENT, comment[:64], b" "),
        _text(_AFFECTED_SOP_INSTANCE, request.sop_instance_uid, b"\x00"),
    ]
    if request.field == N_EVENT_REPORT_RQ:
        elements.append(_US.pack(0, _EVENT_TYPE, 2, request.type_id))
    if request.field == N_ACTION_RQ:
        elements.append(_US.pack(0, _ACTION_TYPE, 2, request.type_id))
    body = b"".join(elements)
    return struct.pack("<HHLL", 0, 0, 4, len(body)) + body


def _values(encoded: bytes | bytearray) -> dict[int, bytes]:
    values, whole = {}, bytes(encoded)
    at, end, head = 0, len(whole), _ELEMENT.unpack_from
    while at < end:
        if end - at < 8:
            raise ValueError("a command element is cut off")
        group, element, length = head(whole, at)
        begin, at = at + 8, at + 8 + length
        if group or at > end:
            raise ValueError("not a command set")
        values[element] = whole[begin:at]
    return values


def _number(values: dict[int, bytes], element: int, default: int | None = None) -> int:
    value = values.get(element, b"")
    if len(value) == 2:
        return int.from_bytes(value, "little")
    if default is None:
        raise ValueError(f"the command has no (0000,{element:04X})")
    return default


def _uid(values: dict[int, bytes], *elements: int) -> str:
    found = b""
    for element in reversed(elements):
        found = values.get(element, found)
    return found.rstrip(b"\x00 ").decode("ascii", errors="replace")


def _text(element: int, value: str, pad: bytes) -> bytes:
    """Return a text element, none for ''."""
    if not value:
        return b""
    encoded = value.encode("ascii", errors="replace")
    encoded += pad * (len(encoded) % 2)
    return _ELEMENT.pack(0, element, len(encoded)) + encoded
