"""PS3.10 files with a data set as it was received: the head we write before it, and the digest of what follows.

The head is the same for the same instance at any time, so that a file's bytes follow from what arrived. Encoded and
read here byte by byte: peers' UIDs need not be valid ones, which a DICOM library would correct or complain of.
"""

from __future__ import annotations

import hashlib
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import ExplicitVRLittleEndian

from pacsai.dicom.elements import UNDEFINED, Allowance, Malformed, View, walk

IMPLEMENTATION_CLASS_UID = "2.25.237461293451873204519824655170319867541"
"""Names this implementation in file heads and associations (PS3.7 D.3.3.2); no meaning beyond that."""

IMPLEMENTATION_VERSION_NAME = "PACSAI"

_LONGEST_HEAD = 4096
_PREAMBLE = b"\x00" * 128 + b"DICM"


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says before its data set, which starts at byte `length`."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    length: int


def head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Return preamble, "DICM" and File Meta Information (PS3.10 7.1) for a data set of this identity and encoding."""
    version = struct.pack("<HH2sHI", 2, 0x0001, b"OB", 0, 2) + b"\x00\x01"
    rest = version + b"".join(
        [
            _element(0x0002, b"UI", sop_class_uid, b"\x00"),
            _element(0x0003, b"UI", sop_instance_uid, b"\x00"),
            _element(0x0010, b"UI", transfer_syntax_uid, b"\x00"),
            _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID, b"\x00"),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME, b" "),
        ]
    )
    return _PREAMBLE + struct.pack("<HH2sHI", 2, 0x0000, b"UL", 4, len(rest)) + rest


def read_head(path: Path) -> Head:
    """Return the head of a file that `head` began. Raises ValueError for any other."""
    with path.open("rb") as file:
        return _read_head(file)


def locate(file: View) -> tuple[str, int]:
    """Return the transfer syntax that any PS3.10 file names ('' for none), and where its data set begins.

    For files that others wrote: without preamble, without File Meta Information, with either in disorder.
    """
    at = len(_PREAMBLE) if file[128:132] == b"DICM" else 0
    syntax = ""
    with suppress(Malformed):
        for element in walk(file, ExplicitVRLittleEndian, start=at, allowance=Allowance(1000)):
            if element.tag >> 16 != 0x0002 or element.length == UNDEFINED:
                break
            at = element.start + element.length
            if element.tag == 0x00020010:
                syntax = bytes(file[element.start : at])[:64].decode("ascii", errors="replace").rstrip("\x00 ")
    return syntax, at


def digest(transfer_syntax_uid: str, dataset: bytes | memoryview) -> str:
    """Return the SHA-256 (hex) over transfer syntax and encoded data set, whatever the head says besides."""
    state = hashlib.sha256(transfer_syntax_uid.encode() + b"\x00")
    state.update(dataset)
    return state.hexdigest()


def digest_of_file(path: Path) -> str:
    """Return the `digest` of a file that `head` began."""
    with path.open("rb") as file:
        state = hashlib.sha256(_read_head(file).transfer_syntax_uid.encode() + b"\x00")
        while chunk := file.read(1 << 20):
            state.update(chunk)
    return state.hexdigest()


def _element(number: int, vr: bytes, value: str, pad: bytes) -> bytes:
    encoded = value.encode("ascii", errors="replace")
    encoded += pad * (len(encoded) % 2)
    return struct.pack("<HH2sH", 2, number, vr, len(encoded)) + encoded


def _read_head(file: BinaryIO) -> Head:
    """Read to the end of the head; the file then stands at the data set. Raises ValueError where it is none of ours."""
    file.seek(len(_PREAMBLE) + 8)
    try:
        (length,) = struct.unpack("<I", file.read(4))
        if length > _LONGEST_HEAD:
            raise ValueError("its length is too large")
        values = _values(file.read(length))
        return Head(values[0x0002], values[0x0003], values[0x0010], len(_PREAMBLE) + 12 + length)
    except (ValueError, KeyError, struct.error) as error:
        raise ValueError("the file does not begin with a head of this node") from error


def _values(group: bytes) -> dict[int, str]:
    values: dict[int, str] = {}
    at = 14  # past File Meta Information Version, the only element of the long form
    while at < len(group):
        _, number, _, size = struct.unpack_from("<HH2sH", group, at)
        values[number] = group[at + 8 : at + 8 + size].decode("ascii").rstrip("\x00 ")
        at += 8 + size
    return values
