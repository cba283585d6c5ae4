"""The head of a PS3.10 file that nobody has checked yet: preamble, "DICM", File Meta Information, read with bounds."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian

from pacsai.dicom import elements
from pacsai.dicom.identity import Refusal
from pacsai.web.answer import CANNOT_UNDERSTAND

META_BYTES = 64 << 10
"""File Meta Information is as long as this at most; as a rule it has 200 bytes."""

_START = 144
"""Where what File Meta Information Group Length (0002,0000) counts begins."""
_LENGTH = struct.Struct("<HH2sHI")
_WANTED = {0x00020002: "SOP Class UID", 0x00020003: "SOP Instance UID", 0x00020010: "Transfer Syntax UID"}
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True, slots=True)
class FileHead:
    """What a file says before its data set, which starts at byte `length`."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int


def read(beginning: bytes | bytearray) -> FileHead | None:
    """Return the head of a file, None where more of it is needed.

    Raises
    ------
    Refusal
        Status 0xC000 where it is no PS3.10 file. Refused, never repaired.
    """
    if len(beginning) < _START:
        return None
    if beginning[128:132] != b"DICM":
        raise Refusal(CANNOT_UNDERSTAND, "a part is no PS3.10 file: DICM is missing at byte 128")
    group, element, vr, size, length = _LENGTH.unpack_from(beginning, 132)
    if (group, element, vr, size) != (2, 0, b"UL", 4):
        raise Refusal(CANNOT_UNDERSTAND, "a part's File Meta Information does not begin with its length (0002,0000)")
    if length > META_BYTES:
        raise Refusal(CANNOT_UNDERSTAND, f"a part's File Meta Information is longer than {META_BYTES >> 10} KiB")
    end = _START + length
    if len(beginning) < end:
        return None
    values = _values(bytes(beginning[_START:end]))
    return FileHead(values[0x00020002], values[0x00020003], values[0x00020010], end)


def _values(group: bytes) -> dict[int, str]:
    found: dict[int, str] = {}
    try:
        for element in elements.walk(group, ExplicitVRLittleEndian, depth=1, allowance=elements.Allowance(1000)):
            if element.tag >> 16 != 2 or element.tag in found:
                raise elements.Malformed("its elements are not those of one group 0002")
            if element.tag in _WANTED:
                found[element.tag] = _uid(group[element.start : element.start + element.length], element.tag)
    except elements.Malformed as error:
        raise Refusal(CANNOT_UNDERSTAND, f"a part's File Meta Information cannot be read: {error}") from error
    for tag, name in _WANTED.items():
        if tag not in found:
            raise Refusal(CANNOT_UNDERSTAND, f"{name} is missing in a part's File Meta Information")
    return found


def _uid(value: bytes, tag: int) -> str:
    text = value.decode("ascii", errors="replace").rstrip("\x00 ")
    if not _UID.fullmatch(text):
        raise Refusal(CANNOT_UNDERSTAND, f"{_WANTED[tag]} in a part's File Meta Information is no UID")
    return text
