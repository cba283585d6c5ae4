"""One file's header, read without trusting the file.

Reads up to the pixel data; what is deflated is unpacked that far and with a cap (pydicom 3.0 would inflate it whole,
whatever is asked of it). Structure is judged before pydicom meets it: how deep, how many, how large. Knows nothing of
studies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, FileIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, NamedTuple

from pydicom import dcmread
from pydicom.config import IGNORE
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.filereader import read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacsai.bounds import in_force
from pacsai.dicom import part10
from pacsai.dicom.elements import UNDEFINED, Allowance, Malformed, TooDeep, TooMany, View, walk
from pacsai.dicom.inflate import DEFLATED, TooLarge, beginning
from pacsai.study.listed import MOST_LISTED, listed
from pacsai.volume.plane import functional_groups

JPIP_DEFLATED = ("1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205")
MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
LARGEST_KEPT = 2**26
"""An element of the header above 64 MiB is left out of it; the functional groups of 20 000 frames stay below."""
LARGEST_READ = 2**28
MOST_ELEMENTS = 2**20
"""Elements and items of a study's headers: 20 000 frames, or 3 000 slices, have half as many."""
MOST_BYTES = 2**29
"""Bytes of a study's headers: 3 000 slices of an MR scanner that writes 150 kB of its own into each."""
_PIXELS = 0x7FE0


class NotReadableError(ValueError):
    """The header cannot be used; the message says why, and holds no patient data."""


class NotDicomError(NotReadableError):
    """The file is something else altogether."""


@dataclass(slots=True)
class Room:
    """What the headers of one study may still take: elements, bytes as encoded, bytes of memory for lists."""

    elements: Allowance = field(default_factory=lambda: Allowance(MOST_ELEMENTS))
    bytes_left: int = MOST_BYTES
    listed_left: int = MOST_LISTED

    def take(self, size: int) -> None:
        """Take the room of one header. Raises NotReadableError where it is not there."""
        if size > LARGEST_READ:
            raise NotReadableError(f"its header takes {size} bytes")
        if size > self.bytes_left:
            raise NotReadableError("the headers of its study take more room than this node gives to one")
        self.bytes_left -= size

    def take_list(self, size: int) -> bool:
        """Take the room of one element's further values, if it is there; tell whether it was."""
        fits = size <= self.listed_left
        self.listed_left -= size if fits else 0
        return fits


class _HeaderFile(BufferedReader):
    """A file that can only be read in bounded pieces, whatever length an element claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_READ:
            raise NotReadableError(f"an element of its header claims {size} bytes")
        return super().read(size)


def read_header(path: Path, room: Room | None = None) -> Dataset:
    """Return the data set up to the pixel data, with `file_meta`; `room` is what its study has left for it.

    Every public element can be decoded: one that cannot, one above `LARGEST_KEPT`, and one with more values than
    there is room for, is left out.

    Raises
    ------
    NotReadableError
        The file has no usable header; NotDicomError where it is no DICOM file at all. A file without preamble passes
        as DICOM when it carries a registered SOP class.
    """
    room = room or Room()
    try:
        with _HeaderFile(FileIO(path)) as file:
            marked = file.peek(132)[128:132] == b"DICM"
            header = _parsed(file, marked, room)
    except OSError as error:
        raise NotReadableError(f"it cannot be opened ({error.strerror or type(error).__name__})") from error
    _drop_undecodable(header, room)
    _check(header, marked)
    _complete_file_meta(header)
    return header


def _parsed(file: BufferedReader, marked: bool, room: Room) -> FileDataset:
    try:
        return _parse(file, room)
    except Exception as error:  # whatever a hostile file makes the parser raise
        if not marked:
            raise NotDicomError("it is not a DICOM file") from error
        if isinstance(error, NotReadableError):
            raise
        if isinstance(error, TooDeep | TooMany | TooLarge):
            raise NotReadableError(f"its {error}") from error
        raise NotReadableError(f"its header is damaged ({type(error).__name__})") from error


def _parse(file: BufferedReader, room: Room) -> FileDataset:
    with mmap(file.fileno(), 0, access=ACCESS_READ) as view:  # ValueError for an empty file
        syntax, start = part10.locate(view)
        if syntax != DEFLATED:
            room.take(_measure(view, syntax, start, room.elements).size)
            return dcmread(file, stop_before_pixels=True, force=True, defer_size=LARGEST_KEPT)
        plain = _inflated_header(view, start, room)
    header = dcmread(BytesIO(plain), stop_before_pixels=True, force=True, defer_size=LARGEST_KEPT)
    header.file_meta = read_file_meta_info(file.name)
    return header


class _Measured(NamedTuple):
    """How many bytes of a header would be kept, and whether it goes on to the pixel data."""

    size: int
    to_pixels: bool


def _measure(view: View, syntax: str, start: int, allowance: Allowance) -> _Measured:
    """Refuse a header that pydicom should not meet; what is merely odd in its structure is pydicom's to judge."""
    left_out, end = 0, len(view)
    depth = in_force().sequence_depth
    try:
        for element in walk(view, syntax, start=start, depth=depth, allowance=allowance, deep=True):
            if element.tag >> 16 == _PIXELS:
                end = element.start
                break
            left_out += element.length if LARGEST_KEPT < element.length < UNDEFINED else 0
    except (TooDeep, TooMany):
        raise
    except Malformed:
        left_out, end = 0, len(view)
    return _Measured(end - start - left_out, to_pixels=end < len(view))


def _inflated_header(view: View, start: int, room: Room) -> bytearray:
    """Return a deflated data set as far as its pixel data, and never more of it than `LARGEST_READ`."""
    most = min(LARGEST_READ, in_force().inflated_bytes)
    for length in (min(first, most) for first in (1 << 20, 1 << 24, most)):
        data = beginning(view, length, start)
        measured = _measure(data, ExplicitVRLittleEndian, 0, room.elements)
        if measured.to_pixels or len(data) < length:
            room.take(measured.size)
            return data
    raise NotReadableError(f"its deflated data set unpacks to {most / 1e6:g} MB before the pixel data")


def _drop_undecodable(header: Dataset, room: Room) -> None:
    for tag in list(header.keys()):
        try:
            kept = tag.is_private or _decodes(header, tag, room)
        except Exception:  # a value that breaks its VR raises as it likes
            kept = False
        if not kept:
            del header[tag]


def _decodes(header: Dataset, tag: BaseTag, room: Room) -> bool:
    """Return whether an element is small enough to be kept; raise whatever decoding it, items and all, raises."""
    raw: object = header.get_item(tag)
    if getattr(raw, "length", 0) > LARGEST_KEPT:
        return False
    if isinstance(raw, RawDataElement) and raw.value and not room.take_list(listed(raw)):
        return False
    element = header[tag]
    for item in element.value if element.VR == "SQ" else ():
        _drop_undecodable(item, room)
    return True


def _check(header: Dataset, marked: bool) -> None:
    if not marked and _registered(uid(header, "SOPClassUID")).type != "SOP Class":
        raise NotDicomError("it is not a DICOM file")
    announced, held = (uid(part, name) for part, name in _sop_classes(header))
    if MEDIA_DIRECTORY in (announced, held):
        raise NotReadableError("it is a DICOMDIR, a list of files, and no image")
    for keyword in NEEDED:
        if not uid(header, keyword):
            raise NotReadableError(f"its {keyword} is missing or not readable")
    if announced and announced != held:
        raise NotReadableError(f"its file header announces {uid_name(announced)}, its data set is {uid_name(held)}")
    if uid(header.file_meta, "TransferSyntaxUID") in JPIP_DEFLATED:
        raise NotReadableError("its data set is deflated (JPIP Referenced Deflate): not supported")


def _sop_classes(header: Dataset) -> tuple[tuple[Dataset, str], tuple[Dataset, str]]:
    return (header.file_meta, "MediaStorageSOPClassUID"), (header, "SOPClassUID")


def _complete_file_meta(header: Dataset) -> None:
    """Write the encoding that pydicom guessed into a file meta that names none."""
    if not uid(header.file_meta, "TransferSyntaxUID"):
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def uid(header: Dataset, keyword: str) -> str:
    """Return a UID, empty where it is missing, not one value or not readable."""
    try:
        value = header.get(keyword)
    except Exception:  # an undecodable value of the file meta
        return ""
    return value.strip() if isinstance(value, str) else ""


def uid_name(value: str) -> str:
    """Return the name that PS3.6 registers for a UID, or the UID."""
    return _registered(value).name


def _registered(value: str) -> UID:
    return UID(value, validation_mode=IGNORE)  # a peer's UID may be anything


def values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    """Return the values of an attribute, () where it is missing or empty.

    Looks in the header, then in the functional groups of the first frame (PS3.3 C.7.6.16), which are what an
    enhanced multi-frame object has in place of the header's attributes.
    """
    for part in (header, *_macros(header)):
        value = part.get(keyword)
        if value is not None and not _empty(value):
            return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else (value,)
    return ()


def items(header: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """Return the items of a sequence, () where it is missing or no sequence."""
    return tuple(item for item in values(header, keyword) if isinstance(item, Dataset))


def texts(header: Dataset, *keywords: str) -> str:
    """Return the values of the attributes as one text, blanks between them."""
    return " ".join(str(value).strip() for keyword in keywords for value in values(header, keyword))


def number(header: Dataset, keyword: str) -> float | None:
    """Return the attribute's first value as a number, None where there is none; an age (VR AS) in years."""
    found = values(header, keyword)
    return as_number(found[0]) if found else None


def as_number(value: Any) -> float | None:
    """Return `value` as a finite number, None where it is none; "077Y", "018M" are ages and become years."""
    text = str(value).strip()
    per_year = {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}.get(text[-1:])
    try:
        number = float(text[:-1]) / per_year if per_year else float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _macros(header: Dataset) -> Iterator[Dataset]:
    for group in functional_groups(header, 0):
        for element in group:
            if element.VR == "SQ" and element.value:
                yield element.value[0]


def _empty(value: Any) -> bool:
    return value == "" or (hasattr(value, "__len__") and len(value) == 0)
