"""Deflated data sets (PS3.5 A.5) unpacked with a cap: 1 kB can say 1 MB, and a few MB can fill any memory.

Every reader of deflated data goes through here, never through pydicom, which unpacks without a limit.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from pydicom.uid import DeflatedExplicitVRLittleEndian

from pacsai.dicom.elements import Malformed, View

DEFLATED = str(DeflatedExplicitVRLittleEndian)
_PIECE = 1 << 18


class TooLarge(Malformed):
    """Deflated data unpacks to more than is allowed."""


def inflated(data: View, limit_bytes: int, start: int = 0) -> bytearray:
    """Return what the raw deflate stream from `start` on unpacks to; never holds more than `limit_bytes` and a piece.

    Raises
    ------
    TooLarge
        It is more than `limit_bytes`.
    Malformed
        The stream is broken or cut short.
    """
    unpacked = bytearray()
    for piece in _pieces(data, start):
        unpacked += piece
        if len(unpacked) > limit_bytes:
            raise TooLarge(f"the deflated data set unpacks to more than {limit_bytes / 1e6:g} MB")
    return unpacked


def check(data: View, limit_bytes: int) -> None:
    """Unpack everything and keep nothing of it; raises as `inflated`."""
    length = 0
    for piece in _pieces(data, 0):
        length += len(piece)
        if length > limit_bytes:
            raise TooLarge(f"the deflated data set unpacks to more than {limit_bytes / 1e6:g} MB")


def beginning(data: View, length: int, start: int = 0) -> bytearray:
    """Return the first `length` bytes of what the stream unpacks to, fewer where it ends or breaks before."""
    unpacked = bytearray()
    try:
        for piece in _pieces(data, start):
            unpacked += piece
            if len(unpacked) >= length:
                break
    except Malformed:
        if not unpacked:
            raise
    del unpacked[length:]
    return unpacked


def _pieces(data: View, start: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for at in range(start, len(data), _PIECE):
            packed = bytes(data[at : at + _PIECE])
            while packed and not inflater.eof:
                yield inflater.decompress(packed, _PIECE)
                packed = inflater.unconsumed_tail
            if inflater.eof:
                return
        yield inflater.flush(_PIECE)
    except zlib.error:
        raise Malformed("the deflated data set is broken") from None
    if not inflater.eof:
        raise Malformed("the deflated data set is cut short")
