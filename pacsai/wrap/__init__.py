"""Foreign images and generated voxels as DICOM series: the library behind `pacsai wrap` and `pacsai demo`.

What comes out says that it is derived and how (ImageType, DerivationDescription). The same input gives the same
UIDs, so wrapping twice makes nothing twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from pacsai.objects.uids import derived_uid
from pacsai.wrap.foreign import Foreign, WrapError, read_foreign
from pacsai.wrap.modules import About, base

__all__ = ["About", "WrapError", "wrap", "write_ct"]

_VOLUMES = ("CT", "MR")
_RIGHT_ANGLE_TOLERANCE = 1e-3


def wrap(
    files: Sequence[Path],
    modality: str,
    out: Path,
    about: About | None = None,
    *,
    same_space: bool = False,
    contrast: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """Write DICOM files made of `files` into `out` and return their paths.

    Volumes (NIfTI, NRRD) become one CT or MR series each. Flat images (PNG, JPEG, PGM) become one MG, CR or DX series
    together, without pixel spacing unless `about` gives one: a guess would be measured with. (MG and DX then lack the
    type 1 ImagerPixelSpacing; nothing honest could stand there.)

    Parameters
    ----------
    modality : str
        CT, MR, MG, CR or DX.
    same_space : bool
        The volumes are registered to each other: give them one frame of reference.
    contrast : mapping of str to str, optional
        Name of a file (up to its first dot) made after contrast medium, and the agent. Nothing is guessed from names.

    Raises
    ------
    WrapError
        `contrast` names no file or no agent.
        A file that cannot be read, colour, more than three dimensions, values that are no Hounsfield units (CT),
        a volume where a flat image belongs or the other way round.
    """
    about = about or About()
    agents = contrast or {}
    if unknown := [name for name, agent in agents.items() if not agent or name not in map(_stem, files)]:
        raise WrapError(
            f"contrast: {unknown[0]!r} names no file here, or no agent; write NAME=AGENT, e.g. t1post=gadobutrol"
        )
    found = [(path, read_foreign(path)) for path in files]
    for path, foreign in found:
        if (foreign.affine is not None) != (modality in _VOLUMES):
            raise WrapError(f"{path.name}: CT and MR are made of volumes (NIfTI, NRRD), others of flat images")
    about = about if about.study else replace(about, study=_digest(*(foreign.array for _, foreign in found)))
    if modality not in _VOLUMES:
        return _wrap_images(found, modality, out, about)
    frame = derived_uid("frame", _study_uid(about)) if same_space else None
    written: list[Path] = []
    for number, (path, foreign) in enumerate(found, start=about.series_number):
        labels = replace(
            about,
            series_number=number,
            series_description=about.series_description or _stem(path),
            contrast_agent=agents.get(_stem(path), about.contrast_agent),
        )
        written += _wrap_volume(path, foreign, modality, out, labels, frame)
    return tuple(written)


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def write_ct(
    out: Path,
    array_hu: NDArray[np.int16],
    affine: NDArray[np.float64],
    about: About | None = None,
    *,
    derivation: str = "generated phantom",
    header: Mapping[str, Any] | None = None,
) -> tuple[Path, ...]:
    """Write generated voxels as a CT series into `out` and return the files, slice by slice along k.

    The images are derived, primary, axial (ImageType) and their DerivationDescription says `derivation`.

    Parameters
    ----------
    array_hu : int16 [k, j, i]
        Hounsfield units.
    affine : float64 (4, 4)
        Maps (i, j, k, 1) to LPS mm; columns at right angles.
    header : mapping, optional
        DICOM keywords and values that every instance gets on top, or replacing what it has.

    Raises
    ------
    WrapError
        Columns of `affine` that are not at right angles, values that are no Hounsfield units.
    """
    about = about or About(patient_id="PHANTOM", patient_name="Phantom^Generated")
    about = about if about.study else replace(about, study=_digest(array_hu, affine))
    data = base("CT", about, derivation)
    data.ImageType = ["DERIVED", "PRIMARY", "AXIAL"]
    data.update(_with_uids(about, _digest(array_hu, affine)))
    for keyword, value in (header or {}).items():
        setattr(data, keyword, value)
    return _write_slices(out, data, array_hu, np.asarray(affine, dtype=np.float64))


def _wrap_volume(
    path: Path, foreign: Foreign, modality: str, out: Path, about: About, frame: str | None
) -> tuple[Path, ...]:
    assert foreign.affine is not None  # noqa: S101  checked by the caller, for every file
    array, affine = _upright(foreign.array, foreign.affine)
    data = base(modality, about, f"made of {path.name}, which was not DICOM")
    data.update(_with_uids(about, _digest(array, affine), frame))
    try:
        return _write_slices(out / f"{about.series_number:03d}", data, array, affine)
    except WrapError as error:
        raise WrapError(f"{path.name}: {error}") from None


def _wrap_images(found: Sequence[tuple[Path, Foreign]], modality: str, out: Path, about: About) -> tuple[Path, ...]:
    series = _with_uids(about, _digest(*(foreign.array for _, foreign in found)))
    written = []
    for number, (path, foreign) in enumerate(found, start=1):
        data = base(modality, about, f"made of {path.name}, which was not DICOM")
        data.SeriesInstanceUID, data.StudyInstanceUID = series.SeriesInstanceUID, series.StudyInstanceUID
        low, high = int(foreign.array.min()), int(foreign.array.max())
        data.WindowCenter, data.WindowWidth = (low + high + 1) / 2, max(high - low + 1, 1)
        if about.spacing_mm:
            data.ImagerPixelSpacing = list(about.spacing_mm)
        if foreign.lossy_ratio is not None:
            data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
            data.LossyImageCompressionRatio = round(foreign.lossy_ratio, 2)
        written.append(_write(out / f"{about.series_number:03d}", data, number, foreign.array[0]))
    return tuple(written)


def _write_slices(out: Path, data: Dataset, array: NDArray[Any], affine: NDArray[np.float64]) -> tuple[Path, ...]:
    """Write one instance per slice of `array` [k, j, i], each with its place."""
    steps = affine[:3, :3].T
    lengths = np.linalg.norm(steps, axis=1)
    if lengths.min() <= 0 or np.abs(_units(steps) @ _units(steps).T - np.eye(3)).max() > _RIGHT_ANGLE_TOLERANCE:
        raise WrapError("the axes of the voxels are not at right angles: DICOM slices cannot say so")
    stored, slope, intercept = _encoded(array, data.Modality)
    if (slope, intercept) != (1.0, 0.0) or data.Modality == "CT":
        data.RescaleSlope, data.RescaleIntercept = _decimal(slope), _decimal(intercept)
    data.ImageOrientationPatient = [_decimal(c) for c in (*_units(steps)[0], *_units(steps)[1])]
    data.PixelSpacing = [_decimal(lengths[1]), _decimal(lengths[0])]
    data.SliceThickness = _decimal(lengths[2])
    written = []
    for k, pixels in enumerate(stored):
        data.ImagePositionPatient = [_decimal(c) for c in affine[:3, 3] + k * affine[:3, 2]]
        written.append(_write(out, data, k + 1, pixels))
    return tuple(written)


def _write(out: Path, data: Dataset, number: int, pixels: NDArray[Any]) -> Path:
    """Give `data` its number, SOP Instance UID and `pixels` [j, i], and write it."""
    data.InstanceNumber = number
    data.SOPInstanceUID = derived_uid("instance", data.SeriesInstanceUID, str(number))
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    octets = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes()
    data.PixelData = octets + b"\0" * (len(octets) % 2)
    data["PixelData"].VR = "OB" if bits == 8 else "OW"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = out / f"{number:05d}.dcm"
    out.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def _encoded(array: NDArray[Any], modality: str) -> tuple[NDArray[Any], float, float]:
    """Return integers of 8 or 16 bits, and the slope and intercept that make the values of them again."""
    low, high = float(array.min()), float(array.max())
    if modality == "CT":
        if low < -32768 or high > 32767:
            raise WrapError(f"values from {low:g} to {high:g} are no Hounsfield units")
        return np.rint(array).astype(np.int16), 1.0, 0.0
    if np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.bool_):
        fitting = next(
            (kind for kind in (np.uint16, np.int16) if np.iinfo(kind).min <= low <= high <= np.iinfo(kind).max), None
        )
        if fitting is not None:
            return array.astype(fitting), 1.0, 0.0
    slope = float(_decimal((high - low) / 65535)) or 1.0
    intercept = float(_decimal(low))
    return np.clip(np.rint((array - intercept) / slope), 0, 65535).astype(np.uint16), slope, intercept


def _upright(array: NDArray[Any], affine: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the same voxels at the same places, axes turned over so that viewers show the patient upright.

    Rows then run to the patient's left or back, columns to the back or the feet, slices to the left, back or head.
    """
    affine = affine.copy()
    for axis, upward in ((0, True), (1, False), (2, True)):
        step = affine[:3, axis]
        main = int(np.abs(step).argmax())
        wanted = -1.0 if main == 2 and not upward else 1.0
        if step[main] * wanted < 0:
            affine[:3, 3] += step * (array.shape[2 - axis] - 1)
            affine[:3, axis] = -step
            array = np.flip(array, axis=2 - axis)
    return array, affine


def _with_uids(about: About, content: str, frame: str | None = None) -> Dataset:
    """Return the UIDs of a series with this content; the frame of reference is its own unless one is given."""
    study = _study_uid(about)
    series = derived_uid("series", study, str(about.series_number), about.series_description, content)
    data = Dataset()
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = frame or derived_uid("frame", series), ""
    return data


def _study_uid(about: About) -> str:
    return derived_uid("study", about.patient_id, about.study)


def _digest(*arrays: NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _units(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    units: NDArray[np.float64] = steps / np.linalg.norm(steps, axis=1, keepdims=True)
    return units


def _decimal(value: float) -> str:
    """Return a number as a decimal string of at most 16 characters (PS3.5 6.2, DS)."""
    return next(text for digits in range(15, 6, -1) if len(text := f"{float(value):.{digits}g}") <= 16)
