"""Pixel data as it stands encoded in a file: where it begins, whether it is whole, which size its streams say.

Decodes nothing. What is refused here would otherwise be believed by a decoder, which allocates before it looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from struct import unpack_from

from pydicom.uid import ExplicitVRLittleEndian

from pacsai.bounds import in_force
from pacsai.dicom import part10
from pacsai.dicom.elements import Element, Malformed, View, walk
from pacsai.dicom.inflate import DEFLATED, inflated

PIXEL_DATA = 0x7FE00010
_ITEM = 0xFFFEE000
_SEARCHED = 1 << 20
"""A stream says its size within its first MiB; JPEG may have application segments before."""
_JPEG = b"\xff\xd8\xff"
_JPEG_2000 = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "
_FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
"""Start of Frame of JPEG (ITU-T T.81 table B.1) and JPEG-LS (T.87)."""


@contextmanager
def data_set(path: Path) -> Iterator[tuple[View, str, int]]:
    """Give the encoded data set of a file, how it is encoded ('' where the file does not say) and where it begins.

    What is deflated is unpacked, with the cap in force.

    Raises
    ------
    Malformed
        Deflated data that is broken, or more than the cap.
    """
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as view:
        syntax, start = part10.locate(view)
        if syntax == DEFLATED:
            yield inflated(view, in_force().inflated_bytes, start), ExplicitVRLittleEndian, 0
        else:
            yield view, syntax, start


def pixel_data(data: View, syntax: str, start: int) -> Element | None:
    """Return the element PixelData, None where there is none."""
    return next((element for element in walk(data, syntax, start=start) if element.tag == PIXEL_DATA), None)


def check_streams(data: View, pixels: Element, rows: int, columns: int) -> None:
    """Return if encapsulated pixel data is whole, and each stream in it has the size of the header.

    RLE says no size, and is left to its decoder, which is told the size to make.

    Raises
    ------
    Malformed
        A fragment that is not whole, or a JPEG, JPEG-LS, JPEG 2000 or HTJ2K stream of another size or of none.
    """
    begun = b""
    for start, length in _fragments(data, pixels.start):
        first = begun + bytes(data[start : start + min(length, _SEARCHED)])
        if not first.startswith((_JPEG, _JPEG_2000, _JP2)):
            continue
        size = stated_size(first)
        begun = first if size is None else b""
        if len(begun) > _SEARCHED:
            break
        if size is not None and size != (rows, columns):
            raise Malformed(
                f"the compressed stream is {size[0]} x {size[1]} pixels, the header says {rows} x {columns}"
            )
    if begun:
        raise Malformed("the compressed stream does not say how large the image is")


def stated_size(stream: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream says, None where these bytes do not."""
    try:
        return _jpeg_size(stream) if stream.startswith(_JPEG) else _jpeg_2000_size(stream)
    except Exception:  # unpack_from beyond the end
        return None


def _fragments(data: View, at: int) -> Iterator[tuple[int, int]]:
    """Yield start and length of each fragment, the offset table left out."""
    table = True
    while at + 8 <= len(data):
        group, number, length = unpack_from("<HHL", data, at)
        if group << 16 | number != _ITEM:
            return
        if at + 8 + length > len(data):
            raise Malformed("the pixel data is cut short: a compressed fragment is not whole")
        if not table:
            yield at + 8, length
        table = False
        at += 8 + length


def _jpeg_size(stream: bytes) -> tuple[int, int]:
    at = 2
    while True:
        mark, marker, length = unpack_from(">BBH", stream, at)
        if mark != 0xFF:
            raise ValueError
        if marker in _FRAME_MARKERS:
            rows, columns = unpack_from(">HH", stream, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length


def _jpeg_2000_size(stream: bytes) -> tuple[int, int]:
    at = stream.index(_JPEG_2000)
    right, bottom, left, top = unpack_from(">LLLL", stream, at + 8)
    return bottom - top, right - left
