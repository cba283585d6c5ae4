"""Instances made on the fly: the same bytes for the same seed and number, in the sender and in the count afterwards."""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsai.dicom import part10

STUDY_OF = 40
"""Instances of one study; they come from all senders."""
SIDES = (32, 128, 512)
"""Rows and columns: 2 kB, 33 kB, 524 kB."""
WEIGHTS = (5, 93, 2)
SOP_CLASS_UID = str(CTImageStorage)
TRANSFER_SYNTAX_UID = str(ExplicitVRLittleEndian)


@dataclass(frozen=True, slots=True)
class Made:
    """An instance: its names, and its data set as it is sent."""

    study_instance_uid: str
    sop_instance_uid: str
    dataset: bytes

    @property
    def digest(self) -> str:
        """Return the digest that the spool gives it."""
        return part10.digest(TRANSFER_SYNTAX_UID, self.dataset)


def make(seed: int, number: int) -> Made:
    """Return instance `number` of the soak with this seed."""
    rng = random.Random(f"{seed} {number}")
    (side,) = rng.choices(SIDES, WEIGHTS)
    study, series, instance = (_uid(f"{seed} {what}") for what in _names(number))
    elements = [
        _element(0x0008, 0x0016, b"UI", SOP_CLASS_UID.encode()),
        _element(0x0008, 0x0018, b"UI", instance.encode()),
        _element(0x0008, 0x0060, b"CS", b"CT"),
        _element(0x0010, 0x0010, b"PN", b"Soak^Generated"),
        _element(0x0010, 0x0020, b"LO", b"SOAK"),
        _element(0x0020, 0x000D, b"UI", study.encode()),
        _element(0x0020, 0x000E, b"UI", series.encode()),
        _element(0x0020, 0x0013, b"IS", str(number % STUDY_OF + 1).encode()),
        *(_element(0x0028, tag, b"US", struct.pack("<H", value)) for tag, value in _image(side)),
        struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, side * side * 2) + rng.randbytes(side * side * 2),
    ]
    return Made(study, instance, b"".join(elements))


def _names(number: int) -> tuple[str, str, str]:
    study = number // STUDY_OF
    return f"study {study}", f"series {study}", f"instance {number}"


def _image(side: int) -> list[tuple[int, int]]:
    """Return samples, rows, columns, bits allocated and stored, high bit, representation (PS3.3 C.7.6.3)."""
    return [(0x0002, 1), (0x0010, side), (0x0011, side), (0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 0)]


def _uid(name: str) -> str:
    return f"2.25.{int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], 'big')}"


def _element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    value += (b"\x00" if vr == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value
