"""Which part of the body a CT shows, told from its voxels: a chest by its lungs.

Headers name the wrong part in one study of six, so the pixels have the last word. Judged on a coarse grid of about
4 mm, where noise and vessels average out. Knows CT of adults only, in axial slices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.volume import Grid

COARSE_MM = 4.0
AIR_BELOW_HU = -500.0
LUNG_ABOVE_HU = -960.0
"""Lung is air with tissue in it, even in emphysema; bowel, sinuses and airways hold pure air near -1000."""
TISSUE_ABOVE_HU = -300.0
BONE_ABOVE_HU = 250.0
LUNG_AREA_CM2 = 15.0
"""Least lung on each side for a slice to count as one through the lungs."""
SINGLE_LUNG_AREA_CM2 = 60.0
"""The same where there is lung on one side only, as after pneumonectomy or with a large effusion."""
LEAST_MM = 20.0
CHEST_MM = 150.0
"""Lungs over this height make a chest, whatever else was scanned; over less, they must fill half of the scan, or it is
an abdomen or a neck with the ends of the lungs in it."""
HEAD_AREA_CM2 = 350.0
HEAD_BONE = 0.1
IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


@dataclass(frozen=True, slots=True)
class BodyPart:
    """What the voxels show: CHEST, HEAD, ABDOMEN or UNKNOWN, and the reason in words."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """A volume on a coarse grid.

    Attributes
    ----------
    array : float32 [k, j, i]
        HU; i runs along the patient's left-right axis.
    height_mm : float
        Extent of the volume along k.
    area_cm2 : float
        Of one voxel, in the plane of a slice.
    """

    array: NDArray[np.float32]
    height_mm: float
    area_cm2: float


def recognise(volume: Grid) -> BodyPart:
    """Return the part of the body that a CT volume in axial slices shows."""
    coarse = coarsened(volume)
    lungs = lung_height_mm(coarse)
    told = f"lungs over {lungs:.0f} of {coarse.height_mm:.0f} mm"
    if lungs >= LEAST_MM and (lungs >= CHEST_MM or lungs >= coarse.height_mm / 2):
        return BodyPart("CHEST", told)
    found = told if lungs else "no lungs"
    area_cm2, bone = _body(coarse)
    if area_cm2 >= HEAD_AREA_CM2:
        return BodyPart("ABDOMEN", f"{found}, in a body of {area_cm2:.0f} cm2 across")
    if bone >= HEAD_BONE:
        return BodyPart("HEAD", f"{found}, {bone:.0%} bone in a section of {area_cm2:.0f} cm2")
    return BodyPart("UNKNOWN", f"{found}, in a section of {area_cm2:.0f} cm2")


def coarsened(volume: Grid) -> Coarse:
    """Return the volume on about COARSE_MM: means over square blocks in the plane, every n-th slice."""
    z, y, x = volume.spacing_mm
    slices, rows, columns = volume.shape_kji
    dk, dj, di = max(1, int(COARSE_MM / z)), _factor(y, rows), _factor(x, columns)
    picked = volume.array[::dk, : rows - rows % dj, : columns - columns % di]
    blocks = picked.reshape(len(picked), rows // dj, dj, columns // di, di)
    array = np.maximum(blocks, -1024).mean(axis=(2, 4), dtype=np.float32)
    if abs(volume.affine[0, 1]) > abs(volume.affine[0, 0]):
        array = array.swapaxes(1, 2)
    return Coarse(array, slices * z, dj * y * di * x / 100)


def lung_height_mm(coarse: Coarse) -> float:
    """Return over how many mm along k the slices go through lung, on both sides or much on one."""
    lung = _lung(coarse.array)
    middle = _middle(coarse.array)
    left, right = (part.sum(axis=(1, 2)) * coarse.area_cm2 for part in (lung[:, :, :middle], lung[:, :, middle:]))
    both = np.minimum(left, right) >= LUNG_AREA_CM2
    single = np.maximum(left, right) >= SINGLE_LUNG_AREA_CM2
    return float((both | single).mean() * coarse.height_mm)


def _lung(array: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the voxels of lung: inside the body, away from borders (where air and wall mix), not pure air."""
    inside = ndimage.binary_erosion(_enclosed_air(array), IN_PLANE)
    kept: NDArray[np.bool_] = inside & (array > LUNG_ABOVE_HU)
    return kept


def _enclosed_air(array: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the air that does not reach the border of its slice."""
    labels, count = ndimage.label(array < AIR_BELOW_HU, IN_PLANE)
    open_air = np.zeros(count + 1, dtype=np.bool_)
    open_air[0] = True
    for border in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        open_air[np.unique(border)] = True
    enclosed: NDArray[np.bool_] = ~open_air[labels]
    return enclosed


def _middle(array: NDArray[np.float32]) -> int:
    """Return the column that halves the tissue."""
    columns = np.cumsum((array > TISSUE_ABOVE_HU).sum(axis=(0, 1)))
    return int(np.searchsorted(columns, columns[-1] / 2))


def _body(coarse: Coarse) -> tuple[float, float]:
    """Return the section of the body in cm2, over the slices' median, and the part of it that is bone."""
    tissue = (coarse.array > TISSUE_ABOVE_HU) | _enclosed_air(coarse.array)
    sections = tissue.sum(axis=(1, 2))
    bone = (coarse.array > BONE_ABOVE_HU).sum()
    return float(np.median(sections) * coarse.area_cm2), float(bone / max(1, sections.sum()))


def _factor(spacing_mm: float, count: int) -> int:
    return min(max(1, round(COARSE_MM / spacing_mm)), count)
