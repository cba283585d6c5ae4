"""Stored pixels to values: finding, decoding, bits, padding, rescale. Knows nothing of where a slice lies.

Uncompressed pixels are read straight from their place in the file (0.2 s for 300 slices of 512 x 512); everything else
goes through pydicom's decoders. Rows, columns and frames are limited before anything is decoded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from pacsai.bounds import in_force
from pacsai.dicom.elements import UNDEFINED, Element, Malformed, View
from pacsai.study import Instance
from pacsai.volume.encoded import check_streams, data_set, pixel_data
from pacsai.volume.plane import frame_count, functional_groups

AIR_HU = -1024.0
"""What padding becomes in CT: the usual lowest value of a 12-bit scanner, air or less."""
MAX_IMAGE_PIXELS = 2**28
"""Largest single image that is read; a digital mammogram has 2**24 pixels."""
_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
_DECODERS = {
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
"""The fastest decoder (measured: twice as fast as pydicom's first choice) that refuses broken streams."""
_PIXEL_DATA = b"\xe0\x7f\x10\x00"


class PixelError(ValueError):
    """The pixels of an image cannot be read; the message is the reason, for a person."""


def check_size(instances: Sequence[Instance]) -> None:
    """Return if what the headers say of the images is no more than this node decodes at once.

    Counts Rows x Columns x Frames x SamplesPerPixel x bytes allocated, before anything is read or allocated.

    Raises
    ------
    PixelError
        It is more than the bounds in force, or not readable.
    """
    size = sum(_decoded_bytes(instance.header) for instance in instances)
    most = in_force().pixels_bytes
    if size > most:
        raise PixelError(f"the images decode to {size / 1e6:,.0f} MB, more than the {most / 1e6:,.0f} MB of the limit")


def read_into(instance: Instance, frames: Sequence[int], out: NDArray[np.float32]) -> None:
    """Fill `out` [k, j, i] with the values of `frames` (from 0) of one image, in modality units.

    Rescale slope and intercept are taken frame by frame. Padding (PixelPaddingValue and its range, PS3.3 C.7.5.1.1.2)
    becomes `AIR_HU` in CT, and the frame's lowest real value elsewhere. MONOCHROME1 changes nothing here: it tells how
    to show a value, not what it means (see `read_image`).

    Raises
    ------
    PixelError
        Colour, odd bit depths, a Modality LUT, CT without rescale, no decoder, broken or truncated pixel data.
    """
    with _told(instance):
        _read_into(instance, frames, out)


@contextmanager
def _told(instance: Instance) -> Iterator[None]:
    """Turn whatever goes wrong while pixels are decoded into a PixelError."""
    try:
        yield
    except PixelError:
        raise
    except Exception as error:  # each decoder raises its own kinds, and so do broken headers
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        syntax = UID(instance.transfer_syntax_uid).name
        raise PixelError(f"the image ({syntax}) cannot be decoded: {reason}") from error


def _read_into(instance: Instance, frames: Sequence[int], out: NDArray[np.float32]) -> None:
    header = instance.header
    _check(header, out.shape[1:])
    padding = _padding(header)
    for values, frame, stored in zip(out, frames, _stored(instance, frames), strict=True):
        slope, intercept = _rescale(header, frame)
        np.multiply(stored, np.float32(slope), out=values, casting="unsafe")
        if intercept:
            values += np.float32(intercept)
        if padding is not None:
            _fill_padding(values, (stored >= padding[0]) & (stored <= padding[1]), ct=header.get("Modality") == "CT")


def read_image(instance: Instance, frame: int = 0) -> NDArray[np.float32]:
    """Return one frame as an image, float32 [j, i], in which a larger value is brighter (MONOCHROME1 is turned over).

    Raises
    ------
    PixelError
        As `read_into`, or an image of more than `MAX_IMAGE_PIXELS`.
    """
    image = np.empty(_size(instance), dtype=np.float32)
    read_into(instance, (frame,), image[None])
    if instance.header.get("PhotometricInterpretation") == "MONOCHROME1":
        np.subtract(image.max() + image.min(), image, out=image)
    return image


def read_padded(instance: Instance) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the first frame in modality units, float32 [j, i], and where it is padding, bool [j, i].

    Nothing is turned over, and padding keeps its values.

    Raises
    ------
    PixelError
        As `read_image`.
    """
    shape = _size(instance)
    with _told(instance):
        _check(instance.header, shape)
        stored = next(_stored(instance, (0,)))
        slope, intercept = _rescale(instance.header, 0)
        image = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        padding = _padding(instance.header)
        padded = np.zeros(shape, dtype=np.bool_)
        if padding is not None:
            padded = (stored >= padding[0]) & (stored <= padding[1])
    return image, padded


def _size(instance: Instance) -> tuple[int, int]:
    """Return rows and columns of an image that may be read."""
    rows, columns = _whole(instance.header, "Rows"), _whole(instance.header, "Columns")
    if not 0 < rows * columns <= MAX_IMAGE_PIXELS:
        raise PixelError(f"an image of {rows} x {columns} pixels is not read")
    check_size((instance,))
    return rows, columns


def _check(header: Dataset, shape: tuple[int, ...]) -> None:
    """Refuse what is not one grey channel of 8, 16 or 32 bits of the promised size, before decoding."""
    photometric = str(header.get("PhotometricInterpretation") or "missing")
    if _whole(header, "SamplesPerPixel", 1) != 1 or not photometric.startswith("MONOCHROME"):
        raise PixelError(f"not a grey image (PhotometricInterpretation {photometric})")
    if (_whole(header, "Rows"), _whole(header, "Columns")) != shape:
        raise PixelError("the image is not of the size that was expected")
    allocated, stored, high = (_whole(header, name) for name in ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16, 32) or not 0 < stored <= high + 1 <= allocated:
        raise PixelError(f"{stored} bits stored up to bit {high} of {allocated} allocated is no depth that is read")
    if _whole(header, "PixelRepresentation") not in (0, 1):
        raise PixelError("PixelRepresentation is neither signed nor unsigned")
    if header.get("ModalityLUTSequence"):
        raise PixelError("the values are given by a Modality LUT, which is not read")


def _stored(instance: Instance, frames: Sequence[int]) -> Iterator[NDArray[np.integer]]:
    """Yield the stored values of each frame, integers [j, i]."""
    syntax = UID(instance.transfer_syntax_uid)
    if syntax in _NATIVE:
        yield from _native(instance, frames)
        return
    if syntax.is_encapsulated:
        _check_streams(instance)
    yield from iter_pixels(instance.path, raw=True, indices=list(frames), decoding_plugin=_DECODERS.get(syntax, ""))


def _native(instance: Instance, frames: Sequence[int]) -> Iterator[NDArray[np.integer]]:
    """Yield frames straight from their place in the file."""
    header = instance.header
    kind = "i" if _whole(header, "PixelRepresentation") else "u"
    dtype = np.dtype(f"<{kind}{_whole(header, 'BitsAllocated') // 8}")
    shape = _whole(header, "Rows"), _whole(header, "Columns")
    size = math.prod(shape) * dtype.itemsize
    for frame, data in zip(frames, _native_bytes(instance, frames, size), strict=True):
        if len(data) < size:
            raise PixelError(f"the pixel data is cut short: frame {frame + 1} of {size} bytes is not whole")
        yield _significant(np.frombuffer(data, dtype).reshape(shape), header)


def _native_bytes(instance: Instance, frames: Sequence[int], size: int) -> Iterator[bytes]:
    """Yield the bytes of each frame, `size` of them or what is there."""
    if instance.transfer_syntax_uid != DeflatedExplicitVRLittleEndian:
        with instance.path.open("rb") as file:
            start = _last_element(file, size * frame_count(instance.header))
            if start is not None:
                for frame in frames:
                    file.seek(start + frame * size)
                    yield file.read(size)
                return
    with data_set(instance.path) as (data, syntax, begin):
        pixels = _pixel_data(data, syntax, begin)
        if pixels.length == UNDEFINED:
            raise PixelError("the pixel data is encapsulated, but the transfer syntax says it is not compressed")
        for frame in frames:
            start = pixels.start + frame * size
            yield bytes(data[start : min(start + size, pixels.start + pixels.length)])


def _last_element(file: BinaryIO, size: int) -> int | None:
    """Return the start of PixelData of `size` bytes where it ends the file, as nearly always: no parsing."""
    length = size + size % 2
    start = file.seek(0, os.SEEK_END) - length
    if start < 12:
        return None
    file.seek(start - 12)
    element = file.read(12)
    explicit, implicit = element[:4] + element[6:8] == _PIXEL_DATA + b"\0\0", element[4:8] == _PIXEL_DATA
    found = (explicit or implicit) and int.from_bytes(element[8:], "little") == length
    return start if found else None


def _pixel_data(data: View, syntax: str, begin: int) -> Element:
    pixels = pixel_data(data, syntax, begin)
    if pixels is None:
        raise PixelError("there is no pixel data")
    return pixels


def _check_streams(instance: Instance) -> None:
    """Refuse an encapsulated image that is cut short, or whose streams say another size than its header."""
    header = instance.header
    with data_set(instance.path) as (data, syntax, begin):
        pixels = _pixel_data(data, syntax, begin)
        try:
            check_streams(data, pixels, _whole(header, "Rows"), _whole(header, "Columns"))
        except Malformed as error:
            raise PixelError(str(error)) from error


def _significant(raw: NDArray[np.integer], header: Dataset) -> NDArray[np.integer]:
    """Return only the stored bits (up to HighBit), the sign carried on; overlays once lived in the others."""
    stored, high = _whole(header, "BitsStored"), _whole(header, "HighBit")
    width = raw.dtype.itemsize * 8
    if stored == width:
        return raw
    return (raw << (width - 1 - high)) >> (width - stored)


def _rescale(header: Dataset, frame: int) -> tuple[float, float]:
    """Return slope and intercept of one frame (PS3.3 C.11.1, C.7.6.16.2.9); (1, 0) where an image need not say."""
    macros = (group.get("PixelValueTransformationSequence") for group in functional_groups(header, frame))
    place = next((macro[0] for macro in macros if macro), header)
    if "RescaleSlope" not in place or "RescaleIntercept" not in place:
        if header.get("Modality") == "CT":
            raise PixelError("RescaleSlope and RescaleIntercept are missing: Hounsfield units are not known")
        return 1.0, 0.0
    try:
        slope, intercept = float(place.RescaleSlope), float(place.RescaleIntercept)
    except (TypeError, ValueError):
        raise PixelError("RescaleSlope or RescaleIntercept is not readable as a number") from None
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise PixelError("RescaleSlope and RescaleIntercept must be finite, the slope not zero")
    return slope, intercept


def _padding(header: Dataset) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that is padding, None where the header names none."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return None
    limit = header.get("PixelPaddingRangeLimit")
    ends = [_as_stored(end, header) for end in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _as_stored(value: int | bytes, header: Dataset) -> int:
    """Return a padding value as the pixels spell it: some writers use US for signed pixels and the other way round."""
    bits, signed = _whole(header, "BitsAllocated"), bool(_whole(header, "PixelRepresentation"))
    whole = int.from_bytes(value, "little") if isinstance(value, bytes) else int(value)
    whole %= 1 << bits
    return whole - (1 << bits) if signed and whole >= 1 << (bits - 1) else whole


def _fill_padding(values: NDArray[np.float32], padded: NDArray[np.bool_], *, ct: bool) -> None:
    if not padded.any():
        return
    lowest = values[~padded].min(initial=np.inf)
    values[padded] = AIR_HU if ct else (lowest if np.isfinite(lowest) else 0)


def _decoded_bytes(header: Dataset) -> int:
    rows, columns, samples = (_whole(header, name, 1) for name in ("Rows", "Columns", "SamplesPerPixel"))
    frames, bits = _whole(header, "NumberOfFrames", 1), _whole(header, "BitsAllocated", 8)
    if min(rows, columns, frames, samples, bits) < 0:
        raise PixelError("the size of the image is not a size")
    return rows * columns * frames * samples * bits // 8


def _whole(header: Dataset, keyword: str, default: int | None = None) -> int:
    try:
        value = header.get(keyword)
        return int(default if value is None and default is not None else value)
    except Exception:  # an element is decoded when it is asked for, and fails in many ways
        raise PixelError(f"{keyword} is missing or not a number") from None
