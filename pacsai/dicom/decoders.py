"""Which transfer syntaxes this installation can decode, found by decoding one tiny picture of each.

Never among them: Deflated (nothing bounds what it unpacks to), Explicit VR Big Endian (retired), and video.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import numpy as np
import structlog
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

log = structlog.get_logger()

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)

# One 8 x 8 picture of 8 bits, value 16 (row + column), as each family encodes it: JPEG by Pillow 12 (libjpeg), lossless
# JPEG by GDCM 3.2, JPEG-LS by CharLS 2.4, JPEG 2000 by OpenJPEG 2.5, HTJ2K by OpenJPH 0.26, RLE by pydicom 3.0.
_JPEG = (
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAIBAQEBAQIBAQECAgICAgQDAgICAgUEBAMEBgUGBgYFBgYGBwkIBgcJBwYGCAsICQoKCgoKBggLDA"
    "sKDAkKCgr/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAAB//EABkQAAEFAAAAAAAAAAAAAAAAAAkAJTRDUv/aAAgBAQAAPwA/G2Nu"
    "AwZqX//Z"
)
_JPEG_LOSSLESS = (
    "/9j/wwALCAAIAAgBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAABQj/2gAIAQEAAQAAn9BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
    "BBBBBBBBBBBBBBBBBBD//ZAA=="
)
_JPEG_LS = "/9j/9wALCAAIAAgBAREA/9oACAEBAAAAAIBwHAd1tlcAgBHnGmFgCKJIe5zT2sYxi3Od3dmY1mZmZjGZVVVLVVVVUoD/2Q=="
_JPEG_2000 = (
    "/0//UQApAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABBwEB/1IADAAAAAEAAAQEAAH/XAAEQED/ZAAlAAFDcmVhdGVkIGJ5IE"
    "9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAAAwAAH/k9+A+BIrZtcPYOVS50caTTXEVAr579PAOQvrovWWAIuJ6n//2Q=="
)
_HTJ2K = (
    "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wAEyBIUFBQUFBQUF"
    "BQUFBQSEhI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAEkAAf+TwCXrAId0AAAAwBLAEoCQAQd0AJABB3QAwBNAEwCG8QCCdABG"
    "4wAjVADAJ4BO7u6gp8J1AN7dwcnstQD/2Q=="
)
_RLE = (
    "AQAAAEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAcAECAwQFBgcAcQIDBAUGBwgA"
    "cgMEBQYHCAkAcwQFBgcICQoAdAUGBwgJCgsAdQYHCAkKCwwAdgcICQoLDA0AdwgJCgsMDQ4A=="
)
SAMPLES = {
    JPEGLosslessSV1: _JPEG_LOSSLESS,
    JPEGLossless: _JPEG_LOSSLESS,
    JPEGLSLossless: _JPEG_LS,
    JPEGLSNearLossless: _JPEG_LS,
    JPEG2000Lossless: _JPEG_2000,
    JPEG2000: _JPEG_2000,
    HTJ2KLossless: _HTJ2K,
    HTJ2KLosslessRPCL: _HTJ2K,
    HTJ2K: _HTJ2K,
    RLELossless: _RLE,
    JPEGBaseline8Bit: _JPEG,
    JPEGExtended12Bit: _JPEG,
}
"""The picture in each compressed transfer syntax that is tried, in base64."""

_PICTURE: dict[str, Any] = {
    "rows": 8,
    "columns": 8,
    "number_of_frames": 1,
    "samples_per_pixel": 1,
    "photometric_interpretation": "MONOCHROME2",
    "bits_allocated": 8,
    "bits_stored": 8,
    "pixel_representation": 0,
    "pixel_keyword": "PixelData",
}


def decodable_syntaxes() -> tuple[UID, ...]:
    """Return the transfer syntaxes that are decoded here, uncompressed ones first."""
    compressed = []
    for syntax, sample in SAMPLES.items():
        reason = _failure(syntax, b64decode(sample))
        if reason:
            log.warning("a transfer syntax is not offered: no decoder", syntax=syntax.name, reason=reason)
        else:
            compressed.append(syntax)
    return (*NATIVE, *compressed)


def _failure(syntax: UID, sample: bytes) -> str:
    """Return why the picture does not come out of its encoding, '' when it does."""
    try:
        decoded, _ = get_decoder(syntax).as_array(encapsulate([sample]), **_PICTURE)
    except Exception as error:  # each decoder raises its own kinds
        return (str(error) or type(error).__name__).splitlines()[0]
    expected = 16 * np.add.outer(np.arange(8), np.arange(8))
    worst = int(np.abs(decoded.astype(np.int64) - expected).max())
    return "" if worst <= 8 else f"the picture is off by {worst}"
