"""Real brains for training: co-registered, skull-stripped NIfTI files and lesion masks of one frame.

open-ms/patient19/{flair,t1,t1post,t2,lesions}.nii.gz     images and mask, 1 mm
open-ms/lesions-only/*.nii.gz                             masks of others in the same frame (MNI, 1 mm)
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.brain_lesions.fields import Array, Bools

FILES = {"FLAIR": "flair", "T1": "t1", "T1C": "t1post", "T2": "t2"}
MARGIN = 8
"""Voxels round the brain's box, as on the model grid."""
LOWEST, HIGHEST = -6.0, 12.0
_TYPES = {2: np.uint8, 4: np.int16, 8: np.int32, 16: np.float32, 64: np.float64, 256: np.int8, 512: np.uint16}


@dataclass(frozen=True, slots=True, eq=False)
class RealBrain:
    """One patient, and what others had in the same frame; all [k, j, i] of 1 mm, to the head, the back and the left.

    Attributes
    ----------
    images : float32 by sequence
        Normalised as the network sees them, 0 outside the brain.
    brain, truth : bool
        The brain, and the patient's own lesions.
    others : tuple of bool
        Lesions of other patients.
    """

    images: Mapping[str, Array]
    brain: Bools
    truth: Bools
    others: tuple[Bools, ...]


def normalised(image: Array, brain: Bools) -> Array:
    """Return an image as deviations from the brain's median in robust spreads, clipped, 0 outside the brain."""
    low, middle, high = np.percentile(image[brain], (25, 50, 75))
    scaled = (image - middle) / max(float(high - low) / 1.349, 1e-6)
    return np.where(brain, np.clip(scaled, LOWEST, HIGHEST), 0).astype(np.float32)


def read_brain(patient: Path, masks: Path | None = None) -> RealBrain:
    """Return the patient in the folder `patient` and the masks (of the same grid) in the folder `masks`."""
    raw = {name: read_nifti(patient / f"{file}.nii.gz") for name, file in FILES.items()}
    brain = np.asarray(ndimage.binary_fill_holes(raw["FLAIR"] != 0), dtype=np.bool_)
    box = tuple(
        slice(max(0, s.start - MARGIN), s.stop + MARGIN) for s in ndimage.find_objects(brain.astype(np.uint8))[0]
    )
    others = [read_nifti(path)[box] > 0.5 for path in sorted(masks.glob("*.nii.gz"))] if masks else []
    images = {name: normalised(image, brain)[box] for name, image in raw.items()}
    truth = read_nifti(patient / "lesions.nii.gz")[box] > 0.5
    return RealBrain(images, brain[box], truth, tuple(others))


def read_nifti(path: Path) -> Array:
    """Return a 3-D NIfTI-1 file (little-endian, axes along the world) as [k, j, i], i to the left, j to the back.

    Raises
    ------
    ValueError
        When it is oblique, or of a kind the training material has not.
    """
    data = gzip.decompress(path.read_bytes())
    if struct.unpack("<i", data[:4])[0] != 348 or data[344:347] != b"n+1":
        raise ValueError(f"{path.name} is no little-endian NIfTI-1 file")
    size = struct.unpack("<8h", data[40:56])[1:4]
    kind, at = struct.unpack("<h", data[70:72])[0], int(struct.unpack("<f", data[108:112])[0])
    array = np.frombuffer(data, _TYPES[kind], int(np.prod(size)), at).reshape(size[::-1]).astype(np.float32)
    slope, shift = struct.unpack("<2f", data[112:120])
    array = array * slope + shift if slope else array
    flips = [sign < 0 for sign in _signs(data, path.name)]
    # NIfTI's world has +x to the right and +y to the front, DICOM's to the left and to the back
    order = (flips[2], not flips[1], not flips[0])
    return np.ascontiguousarray(array[tuple(slice(None, None, -1) if f else slice(None) for f in order)])


def _signs(data: bytes, name: str) -> NDArray[np.float64]:
    """Return in which direction of the world (x, y, z) the file's axes run, from the qform."""
    b, c, d = struct.unpack("<3f", data[256:268])
    a = np.sqrt(max(0.0, 1 - b * b - c * c - d * d))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    turn[:, 2] *= -1 if struct.unpack("<f", data[76:80])[0] < 0 else 1
    if not np.allclose(np.abs(turn), np.eye(3), atol=1e-3):
        raise ValueError(f"{name}: its axes do not run along the world's")
    return np.sign(np.diag(turn))
