"""Images that are not DICOM: NIfTI, NRRD, PNG, JPEG, PGM, as voxels with what the file says of their place.

The one place where RAS becomes LPS. Knows nothing of DICOM; `wrap.py` makes series of what is read here.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

MAX_FOREIGN_VOXELS = 2**29
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_NRRD_TO_LPS: Mapping[str, tuple[int, int, int]] = {
    "left-posterior-superior": (1, 1, 1),
    "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1),
    "las": (1, -1, 1),
}
_GREY_MODES = {"L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32}


class WrapError(ValueError):
    """A file cannot become DICOM; the message is the reason, for a person."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """What one file holds.

    Attributes
    ----------
    array : [k, j, i]
        Numbers as the file means them; one slice for a flat image.
    affine : float64 (4, 4) or None
        Maps (i, j, k, 1) to LPS mm; None for a flat image, which does not say where it lies.
    lossy_ratio : float or None
        Raw bytes to file bytes of a JPEG; None for what was kept without loss.
    """

    array: NDArray[Any]
    affine: NDArray[np.float64] | None = None
    lossy_ratio: float | None = None


def read_foreign(path: Path) -> Foreign:
    """Return the voxels of a NIfTI, NRRD, PNG, JPEG or PGM file.

    Raises
    ------
    WrapError
        Another kind of file, a broken one, colour, more or fewer than three dimensions, no orientation.
    """
    kind = "".join(path.suffixes[-2:]).lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    reader = _READERS.get(kind)
    if reader is None:
        raise WrapError(f"{path.name}: not a .nii, .nii.gz, .nrrd, .png, .jpg or .pgm file")
    try:
        found = reader(path)
    except WrapError as error:
        raise WrapError(f"{path.name}: {error}") from None
    except Exception as error:  # three libraries, each with its own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WrapError(f"{path.name} cannot be read: {reason}") from error
    if not np.isfinite(found.array).all():
        raise WrapError(f"{path.name}: some values are not finite (NaN or infinity)")
    return found


def _nifti(path: Path) -> Foreign:
    image: Any = nibabel.load(path)
    shape = tuple(int(size) for size in image.shape)
    _check_shape(shape[:3] if all(size == 1 for size in shape[3:]) else shape)
    if not (image.header["sform_code"] or image.header["qform_code"]):
        raise WrapError("neither sform nor qform is set: the file does not say where left and right are")
    voxels = np.asarray(image.dataobj).reshape(shape[:3])
    return Foreign(voxels.T, RAS_TO_LPS @ np.asarray(image.affine, dtype=np.float64))


def _nrrd(path: Path) -> Foreign:
    header = nrrd.read_header(str(path))
    _check_shape(tuple(int(size) for size in header["sizes"]))
    signs = _NRRD_TO_LPS.get(str(header.get("space", "")).lower())
    if signs is None or "space directions" not in header or "space origin" not in header:
        raise WrapError("space, space directions and space origin do not say where left and right are")
    voxels, header = nrrd.read(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["space directions"], dtype=np.float64).T
    affine[:3, 3] = header["space origin"]
    return Foreign(voxels.T, np.diag([*signs, 1.0]) @ affine)


def _check_shape(shape: tuple[int, ...]) -> None:
    """Refuse what is not three-dimensional, before the voxels are read."""
    if len(shape) != 3:
        raise WrapError(f"{len(shape)} dimensions {shape}: one volume of three dimensions is taken")
    if np.prod(shape, dtype=float) > MAX_FOREIGN_VOXELS:
        raise WrapError(f"{shape} voxels are more than are taken")


def _image(path: Path) -> Foreign:
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path, formats=("PNG", "JPEG", "PPM")) as image:
                image.load()
                pixels = _grey(image)
                lossy = image.format == "JPEG"
        except UnidentifiedImageError:
            raise WrapError("not a PNG, JPEG or PGM image") from None
    return Foreign(pixels[None], lossy_ratio=pixels.nbytes / path.stat().st_size if lossy else None)


def _grey(image: Image.Image) -> NDArray[Any]:
    """Return the one grey channel; RGB whose channels are equal everywhere is grey too."""
    if image.mode in _GREY_MODES:
        return np.asarray(image).astype(_GREY_MODES[image.mode])
    channels = np.asarray(image.convert("RGBA"))
    opaque = bool((channels[..., 3] == 255).all())
    if not opaque or (channels[..., :1] != channels[..., 1:3]).any():
        raise WrapError(f"a colour or transparent image (mode {image.mode}); grey images are taken")
    return np.ascontiguousarray(channels[..., 0])


_READERS = {
    ".nii": _nifti,
    ".nii.gz": _nifti,
    ".nrrd": _nrrd,
    ".png": _image,
    ".jpg": _image,
    ".jpeg": _image,
    ".pgm": _image,
}
