"""Who an encoded data set says it is: the few UIDs a receiver must know, read without decoding the rest.

Bounded: reading stops at the Study Instance UID, pixel data is never touched, and no value is interpreted.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian

from pacsai.dicom import elements, inflate

_UID = re.compile(r"[0-9.]{1,64}")
_INFLATED_FIRST = 1 << 16
_INFLATED_MOST = 1 << 22
"""How much of a deflated data set is unpacked to find out what it is."""

CANNOT_UNDERSTAND = 0xC000
DOES_NOT_MATCH = 0xA900
"""Statuses of the Storage Service Class (PS3.4 table B.2-1)."""


class Refusal(Exception):  # noqa: N818 (reads as what happened)
    """A data set that is not kept: the status to answer with, and the reason for a person, without patient data.

    `study_instance_uid` is what the data set says, '' where it could not be read.
    """

    def __init__(self, status: int, reason: str, study_instance_uid: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.study_instance_uid = study_instance_uid


@dataclass(frozen=True, slots=True)
class Identity:
    """The UIDs that name an instance; digits and dots, at most 64 of them, not necessarily well-formed."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str


def read_identity(
    encoded: bytes | memoryview, transfer_syntax_uid: str, *, depth: int = elements.SEQUENCE_DEPTH
) -> Identity:
    """Return the identity of an encoded data set; `depth` is how deep sequences may nest before the last of its UIDs.

    Raises
    ------
    Refusal
        Status 0xC000 where the bytes are no data set, or one of the UIDs is missing or made of other characters.
    """
    try:
        found = _identity_elements(encoded, transfer_syntax_uid, depth)
    except elements.Malformed as error:
        reason = f"the bytes are no DICOM data set of the negotiated syntax: {error}"
        raise Refusal(CANNOT_UNDERSTAND, reason) from error
    study_instance_uid = _uid(found, elements.STUDY_INSTANCE_UID, "Study Instance UID")
    return Identity(
        _uid(found, elements.SOP_CLASS_UID, "SOP Class UID"),
        _uid(found, elements.SOP_INSTANCE_UID, "SOP Instance UID"),
        study_instance_uid,
    )


def agreed_identity(
    encoded: bytes | memoryview,
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    *,
    depth: int = elements.SEQUENCE_DEPTH,
) -> Identity:
    """Return the identity of a data set that is what the C-STORE request says it is.

    Raises
    ------
    Refusal
        As `read_identity`; status 0xA900 where data set and request name different classes or instances.
    """
    said = read_identity(encoded, transfer_syntax_uid, depth=depth)
    if said.sop_class_uid != sop_class_uid:
        reason = f"SOP Class UID is {said.sop_class_uid} in the data set and {sop_class_uid} in the request"
        raise Refusal(DOES_NOT_MATCH, reason, said.study_instance_uid)
    if said.sop_instance_uid != sop_instance_uid:
        raise Refusal(DOES_NOT_MATCH, "SOP Instance UID differs between data set and request", said.study_instance_uid)
    return said


def _identity_elements(view: elements.View, transfer_syntax_uid: str, depth: int) -> dict[int, bytes]:
    if transfer_syntax_uid != inflate.DEFLATED:
        return elements.identity_elements(view, transfer_syntax_uid, depth)
    for length in (_INFLATED_FIRST, _INFLATED_MOST):
        with suppress(elements.CutShort):
            found = elements.identity_elements(inflate.beginning(view, length), ExplicitVRLittleEndian, depth)
            if elements.STUDY_INSTANCE_UID in found:
                return found
    raise elements.Malformed(f"no Study Instance UID in the first {_INFLATED_MOST >> 20} MiB that it unpacks to")


def _uid(found: dict[int, bytes], tag: int, name: str) -> str:
    """Return a UID as its bytes stand there, without a DICOM library's interpretation."""
    text = found.get(tag, b"").decode("ascii", errors="replace").rstrip("\x00 ")
    if not text:
        raise Refusal(CANNOT_UNDERSTAND, f"{name} is missing in the data set")
    if not _UID.fullmatch(text):
        raise Refusal(CANNOT_UNDERSTAND, f"{name} in the data set is not made of digits and dots, 64 at most")
    return text
