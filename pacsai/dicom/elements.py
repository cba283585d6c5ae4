"""The elements of an encoded data set, found without decoding one: bounded, iterative, in linear time.

For data that nobody has checked yet. Works on bytes, memoryview and mmap alike, copies nothing but what is asked for,
and knows nothing of what the elements mean, except which of them are sequences. Where writers and the standard differ
it follows pydicom 3.0.2, which reads the same data later: an item may switch to implicit VR, and a VR of two unknown
letters has a 16-bit length.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from mmap import mmap
from struct import Struct, error
from typing import Final, NamedTuple

from pydicom._dicom_dict import DicomDictionary
from pydicom.uid import ExplicitVRBigEndian
from pydicom.valuerep import STANDARD_VR

View = bytes | bytearray | memoryview | mmap

UNDEFINED: Final = 0xFFFFFFFF
SOP_CLASS_UID: Final = 0x00080016
SOP_INSTANCE_UID: Final = 0x00080018
STUDY_INSTANCE_UID: Final = 0x0020000D
_IDENTITY = {
    SOP_CLASS_UID: "SOP Class UID",
    SOP_INSTANCE_UID: "SOP Instance UID",
    STUDY_INSTANCE_UID: "Study Instance UID",
}
SEQUENCE_DEPTH: Final = 64
IDENTITY_STEPS: Final = 100_000
"""Elements and items before the Study Instance UID; real headers have under 200, and this many take 0.1 s."""

_ITEM: Final = 0xFFFEE000
_ITEM_END: Final = 0xFFFEE00D
_SEQUENCE_END: Final = 0xFFFEE0DD
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""VRs with a length of 32 bits (PS3.5 table 7.1-1)."""
_SHORT = frozenset(vr.encode() for vr in STANDARD_VR if vr.encode() not in _LONG)


class Malformed(ValueError):  # noqa: N818 (reads as what the data is)
    """The bytes are no data set; the message says why, and holds no value."""


class CutShort(Malformed):
    """The data ends within an element: more of it may be all that is missing."""


class TooDeep(Malformed):
    """Sequences nest deeper than is allowed."""


class TooMany(Malformed):
    """There are more elements than may be looked at."""


class Element(NamedTuple):
    """Where one element stands: its value is `data[start : start + length]`, unless `length` is UNDEFINED.

    `vr` is two letters, b"" where the encoding does not say it.
    """

    tag: int
    vr: bytes
    start: int
    length: int


@dataclass(slots=True)
class Allowance:
    """How many elements and items may still be looked at; one allowance may serve several data sets."""

    left: int


class _Nest(NamedTuple):
    """A sequence or an item that has begun: where it ends (-1: at its delimiter), and whether it is in implicit VR."""

    is_item: bool
    end: int
    implicit: bool


def walk(
    data: View,
    transfer_syntax_uid: str,
    *,
    depth: int = SEQUENCE_DEPTH,
    allowance: Allowance | None = None,
    deep: bool = False,
    start: int = 0,
) -> Iterator[Element]:
    """Yield the elements of the top level, in the order they stand in.

    Parameters
    ----------
    data : View
        An encoded data set, or its beginning. Not deflated.
    transfer_syntax_uid : str
        How it is said to be encoded; implicit and explicit VR are told apart by the first element, as pydicom does.
    depth : int
        How deep sequences may nest.
    allowance : Allowance, optional
        How many elements and items may be looked at; TooMany beyond it.
    deep : bool
        Look into sequences of defined length too, which are skipped otherwise.
    start : int
        Where the data set begins, in bytes.

    Raises
    ------
    CutShort
        The data ends within an element; fewer than 8 bytes after the last one count as padding.
    Malformed
        It is no data set. TooDeep beyond `depth`.
    """
    walker = _Walker(data, transfer_syntax_uid, depth, allowance, deep)
    at, size = start, len(data)
    implicit = walker.is_implicit(at)
    while at + 8 <= size:
        element = walker.element(at, implicit)
        if element.tag == _ITEM_END:
            return
        yield element
        at = walker.end(element, implicit)
    if at > size:
        raise CutShort("the data ends within an element")


def identity_elements(data: View, transfer_syntax_uid: str, depth: int = SEQUENCE_DEPTH) -> dict[int, bytes]:
    """Return the values of SOP Class UID, SOP Instance UID and Study Instance UID, as they stand; {} of those missing.

    Reads up to the Study Instance UID and no further, so that the beginning of a data set is enough; where that ends
    before it, CutShort is raised or the UID is missing.

    Raises
    ------
    CutShort
        The data ends before that.
    Malformed
        It is no data set, or an element stands there twice: two programs could read two identities.
    """
    found: dict[int, bytes] = {}
    walker = _Walker(data, transfer_syntax_uid, depth, Allowance(IDENTITY_STEPS))
    for tag, _, start, length in walker.wanted(_IDENTITY):
        if tag in found:
            raise Malformed(f"{_IDENTITY[tag]} stands there twice")
        if length > 1024:
            raise Malformed(f"{_IDENTITY[tag]} is no UID: it has {length} bytes")
        found[tag] = bytes(data[start : start + length])
    return found


def check_depth(data: View, transfer_syntax_uid: str, limit: int = SEQUENCE_DEPTH, *, start: int = 0) -> None:
    """Look at every element of a data set, however deep, and return if sequences nest no deeper than `limit`.

    Raises
    ------
    TooDeep
        They do. Malformed as `walk`.
    """
    for _ in walk(data, transfer_syntax_uid, depth=limit, deep=True, start=start):
        pass


_HEADS = [tuple(Struct(order + form).unpack_from for form in ("HH2sH", "HHL", "L")) for order in "<>"]
"""Readers of the heads of elements: explicit, implicit, and a length of 32 bits; little and big endian."""


class _Walker:
    """Reads heads of elements at given places, and finds where elements end."""

    def __init__(
        self,
        data: View,
        transfer_syntax_uid: str,
        depth: int = SEQUENCE_DEPTH,
        allowance: Allowance | None = None,
        deep: bool = False,
    ) -> None:
        self._data = data
        self._explicit, self._implicit, self._long = _HEADS[transfer_syntax_uid == ExplicitVRBigEndian]
        self._depth = depth
        self._allowance = allowance or Allowance(len(data))  # no element takes less than a byte
        self._deep = deep

    def is_implicit(self, at: int) -> bool:
        """Return whether the data set or item that begins at `at` is in implicit VR, by its first element."""
        return not all(0x40 < letter < 0x5B for letter in self._data[at + 4 : at + 6])

    def wanted(self, tags: Container[int]) -> Iterator[Element]:
        """Yield the elements of `tags`, whole, from the top level up to the Study Instance UID.

        The way of each image that arrives: elements of 16-bit length, nearly all, are passed in half a microsecond.
        """
        data, size, explicit, allowance = self._data, len(self._data), self._explicit, self._allowance
        at, implicit = 0, self.is_implicit(0)
        while at + 8 <= size:
            group, number, vr, length = explicit(data, at)
            tag = group << 16 | number
            if tag > STUDY_INSTANCE_UID:
                return
            if implicit or vr not in _SHORT or group == 0xFFFE or allowance.left <= 0:
                element = self.element(at, implicit)
                at = self.end(element, implicit)
            else:
                allowance.left -= 1
                element = None
                at += 8 + length
            if at > size:
                raise CutShort("the data ends within an element")
            if tag in tags:
                yield element or Element(tag, vr, at - length, length)

    def element(self, at: int, implicit: bool) -> Element:
        """Return the element whose head begins at `at`."""
        self._allowance.left -= 1
        if self._allowance.left < 0:
            raise TooMany("elements are more than a header has")
        try:
            group, number, vr, length = self._explicit(self._data, at)
            tag = group << 16 | number
            if implicit or group == 0xFFFE or not b"AA" <= vr <= b"ZZ":
                return Element(tag, b"", at + 8, self._implicit(self._data, at)[2])
            if vr in _LONG:
                return Element(tag, vr, at + 12, self._long(self._data, at + 8)[0])
        except error:
            raise CutShort("the data ends within an element") from None
        return Element(tag, vr, at + 8, length)

    def end(self, element: Element, implicit: bool) -> int:
        """Return where an element ends."""
        defined = element.length != UNDEFINED
        if defined and not (self._deep and _is_sequence(element)):
            return element.start + element.length
        if not defined and not _is_sequence(element) and _has_fragments(element):
            return self._end_of_fragments(element.start)
        return self._end_of_sequence(element, implicit)

    def _end_of_fragments(self, at: int) -> int:
        """Return the end of encapsulated pixel data (PS3.5 A.4)."""
        while True:
            tag, _, start, length = self.element(at, implicit=True)
            if tag == _SEQUENCE_END:
                return start
            if tag != _ITEM or length == UNDEFINED:
                raise Malformed("something else than a fragment stands in encapsulated data")
            at = start + length

    def _end_of_sequence(self, outer: Element, implicit: bool) -> int:
        at, open_ = outer.start, [_sequence(outer, implicit)]
        while open_:
            nest = open_[-1]
            if nest.is_item and not nest.implicit:
                at = self._past_short(at, nest.end)
            if at == nest.end:
                open_.pop()
                continue
            if -1 < nest.end < at:
                raise Malformed("an element runs out of the sequence it stands in")
            element = self.element(at, nest.implicit)
            inner = self._inside_item(element, nest) if nest.is_item else self._inside_sequence(element, nest)
            at = element.start if isinstance(inner, _Nest | None) else inner
            if inner is None:
                open_.pop()
            elif isinstance(inner, _Nest):
                open_.append(inner)
                if len(open_) > 2 * self._depth:
                    raise TooDeep(f"sequences nest deeper than {self._depth} levels")
        return at

    def _past_short(self, at: int, end: int) -> int:
        """Return where the next element begins that has not a 16-bit length; most have, and are passed quickly here."""
        data, explicit = self._data, self._explicit
        last = (len(data) if end < 0 else min(end, len(data))) - 8
        while at <= last:
            group, _, vr, length = explicit(data, at)
            if vr not in _SHORT or group == 0xFFFE:
                break
            self._allowance.left -= 1
            at += 8 + length
        return at

    def _inside_item(self, element: Element, nest: _Nest) -> _Nest | int | None:
        """Return what an element of an item begins, or where it ends; None where it ends the item."""
        if element.tag == _ITEM_END:
            return None
        if element.tag >> 16 == 0xFFFE:
            raise Malformed("a delimiter stands where an element should")
        if element.length == UNDEFINED and (_is_sequence(element) or not _has_fragments(element)):
            return _sequence(element, nest.implicit)
        if self._deep and _is_sequence(element):
            return _sequence(element, nest.implicit)
        return self.end(element, nest.implicit)

    def _inside_sequence(self, element: Element, nest: _Nest) -> _Nest | int | None:
        """Return the item that begins, or where it ends; None where the sequence ends."""
        if element.tag == _SEQUENCE_END:
            return None
        if element.tag != _ITEM:
            raise Malformed("something else than an item stands in a sequence")
        end = -1 if element.length == UNDEFINED else element.start + element.length
        if end >= 0 and not self._deep:
            return end
        return _Nest(True, end, nest.implicit or self.is_implicit(element.start))


def _sequence(element: Element, implicit: bool) -> _Nest:
    return _Nest(False, -1 if element.length == UNDEFINED else element.start + element.length, implicit)


def _is_sequence(element: Element) -> bool:
    return element.vr == b"SQ" or (element.vr in (b"", b"UN") and _dictionary_vr(element.tag) == "SQ")


def _has_fragments(element: Element) -> bool:
    """Return whether an element of undefined length, no known sequence, holds fragments and not items.

    UN of undefined length is a sequence in implicit VR (PS3.5 6.2.2), and so is a private element in implicit VR.
    """
    return element.vr not in (b"", b"UN") or (element.vr == b"" and bool(_dictionary_vr(element.tag)))


def _dictionary_vr(tag: int) -> str:
    known = DicomDictionary.get(tag)
    return known[0] if known else ""
