"""Functional groups of multi-frame objects (PS3.3 C.7.6.16): what each frame says of itself, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacsai.objects.source import Source
from pacsai.volume.stack import geometry

SAME_PLACE_MM = 0.01


def frame_macro(image: Dataset, frame: int, sequence: str) -> Dataset:
    """Return the item of a functional group macro for a frame (from 1): its own, else the shared one.

    highdicom 0.28.2 writes what is equal in all frames into the shared groups, so every macro may stand in either.

    Raises
    ------
    KeyError
        Neither has it.
    """
    own = image.get("PerFrameFunctionalGroupsSequence", [])[frame - 1 : frame]
    for group in [*own, *image.get("SharedFunctionalGroupsSequence", [])]:
        if group.get(sequence):
            return group[sequence].value[0]  # type: ignore[no-any-return]
    raise KeyError(f"frame {frame} has no {sequence}")


def holder(image: Dataset, frame: int, keyword: str, sequence: str) -> Dataset:
    """Return what holds an attribute for a frame: the image itself, else the frame's item of a functional group macro.

    Raises
    ------
    KeyError
        Neither has it.
    """
    found = image if keyword in image else frame_macro(image, frame, sequence)
    if keyword not in found:
        raise KeyError(f"frame {frame} has no {keyword}")
    return found


def pixel_spacing_mm(image: Dataset, frame: int = 1) -> tuple[float, float] | None:
    """Return the distance between rows and between columns of a frame, None where the image does not say."""
    try:
        rows, columns = holder(image, frame, "PixelSpacing", "PixelMeasuresSequence").PixelSpacing
    except (KeyError, TypeError):
        return None
    return float(rows), float(columns)


def position_mm(image: Dataset, frame: int = 1) -> NDArray[np.float64]:
    """Return ImagePositionPatient (x, y, z) of a frame, or of a single-frame image.

    Raises
    ------
    KeyError
        The image has none.
    """
    place = holder(image, frame, "ImagePositionPatient", "PlanePositionSequence")
    return np.asarray(place.ImagePositionPatient, dtype=np.float64)


def frames_on(seg: Dataset, image: Dataset, frame: int = 1) -> Iterator[int]:
    """Yield the numbers (from 1) of the frames of `seg` that lie where this frame of `image` lies."""
    here = position_mm(image, frame)
    for number in range(1, int(seg.NumberOfFrames) + 1):
        if np.linalg.norm(position_mm(seg, number) - here) < SAME_PLACE_MM:
            yield number


def image_of_slice(source: Source, headers: Sequence[Dataset], k: int) -> tuple[Dataset, int | None]:
    """Return the header of the image that holds slice `k` of the analysed volume, and its frame number (from 1).

    The number is None for single-frame images. `headers` are those of `source.instances`, in the same order.
    """
    if "NumberOfFrames" not in headers[0]:
        return headers[k], None
    return headers[0], geometry(source.instances, allow_single=True).frames[k] + 1
