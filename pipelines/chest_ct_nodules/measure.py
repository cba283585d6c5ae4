"""What a radiologist would measure of a segmented nodule: axes, volume, density and type.

Works on plain crops with their spacing; knows nothing of DICOM, of probability or of where the nodule lies.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

Points = NDArray[np.float64]

RIM_MM = 1.2
"""The outer rim, where voxels mix nodule and lung, is left out of the type, but never more than half of the depth."""
SOLID_HU = -300.0
"""Denser is solid tissue, lighter is ground glass. Published thresholds lie between -350 and -180 HU."""
CALCIFIED_HU = 250.0
"""Denser than enhancing tissue and the noise on it; a vessel full of contrast can be denser still."""
CALCIFIED_SHARE = 0.1
SOLID_SHARES = (0.1, 0.7)
"""Solid share of the inside: up to the first it is ground glass, from the second on solid, between them part-solid."""
SMALL_MM = 6.0
"""A smaller ball is called solid or ground glass, never part-solid (Fleischner Society, Radiology 2017;284:228)."""
SMALL_SOLID_SHARE = 0.3


class NoduleType(StrEnum):
    """Attenuation of a nodule, after the Fleischner Society's glossary (Radiology 2008;246:697)."""

    SOLID = "solid"
    PART_SOLID = "part-solid"
    GROUND_GLASS = "ground glass"
    CALCIFIED = "calcified"


@dataclass(frozen=True, slots=True)
class Measures:
    """The numbers of one nodule.

    Attributes
    ----------
    long_axis_mm, short_axis_mm : float
        Longest diameter of an axial slice, over the slice where it is longest, and the longest extent at a right
        angle to it in that slice (RECIST 1.1; Fleischner Society, Radiology 2017;285:584). Outer edges of pixels count.
    volume_mm3 : float
        Sum of the voxels.
    mean_hu : float
        Mean over all voxels, rim included.
    kind : NoduleType
        By the density of the inside, see `nodule_type`.
    """

    long_axis_mm: float
    short_axis_mm: float
    volume_mm3: float
    mean_hu: float
    kind: NoduleType


def measure(mask: NDArray[np.bool_], hu: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> Measures:
    """Return the measures of a nodule.

    Parameters
    ----------
    mask : bool [k, j, i]
        The nodule's voxels, at least one; k runs along the patient.
    hu : float32 [k, j, i]
        Hounsfield units of the same voxels.
    spacing_mm : (z, y, x)
        Distance of neighbouring voxel centres.
    """
    long_axis, short_axis = axial_axes(mask, (spacing_mm[1], spacing_mm[2]))
    volume = float(np.count_nonzero(mask) * np.prod(spacing_mm))
    return Measures(long_axis, short_axis, volume, float(hu[mask].mean()), nodule_type(mask, hu, spacing_mm))


def axial_axes(mask: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """Return long and short axis in mm, on the slice with the longest axis.

    Parameters
    ----------
    mask : bool [k, j, i]
        At least one voxel.
    pixel_mm : (y, x)
        Distance of rows and of columns.
    """
    return max(_axes(plane, pixel_mm) for plane in mask if plane.any())


def nodule_type(mask: NDArray[np.bool_], hu: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> NoduleType:
    """Return the type by the share of dense voxels inside the rim (`RIM_MM`, `SOLID_SHARES`, `CALCIFIED_SHARE`).

    A calcified part decides before all else. A cavity or a vessel inside is not told apart from lighter or denser
    tissue.
    """
    depth = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    inside = hu[mask & (depth >= min(RIM_MM, depth.max() / 2))]
    if np.mean(inside > CALCIFIED_HU) >= CALCIFIED_SHARE:
        return NoduleType.CALCIFIED
    solid = float(np.mean(inside > SOLID_HU))
    if np.count_nonzero(mask) * np.prod(spacing_mm) < np.pi / 6 * SMALL_MM**3:
        return NoduleType.SOLID if solid >= SMALL_SOLID_SHARE else NoduleType.GROUND_GLASS
    if solid <= SOLID_SHARES[0]:
        return NoduleType.GROUND_GLASS
    return NoduleType.SOLID if solid >= SOLID_SHARES[1] else NoduleType.PART_SOLID


def _axes(plane: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> tuple[float, float]:
    """Return the longest diameter of a slice's mask [j, i], and its longest extent at a right angle to that."""
    outline = _outline(plane, pixel_mm)
    between = outline[:, None] - outline[None]
    lengths = np.linalg.norm(between, axis=2)
    a, b = np.unravel_index(int(lengths.argmax()), lengths.shape)
    along = between[a, b] / lengths[a, b]
    return float(lengths[a, b]), _widest(outline @ along, outline @ np.array([-along[1], along[0]]))


def _outline(plane: NDArray[np.bool_], pixel_mm: tuple[float, float]) -> Points:
    """Return the convex hull (n, 2), in mm and in order, of the middles of the edges of a slice's pixels.

    Edges and not corners: corners would lengthen slanting diameters by up to half a pixel at each end.
    """
    edges = np.array([(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)])
    points = ((np.argwhere(plane)[:, None] + edges) * pixel_mm).reshape(-1, 2)
    return np.asarray(points[ConvexHull(points).vertices])


def _widest(along: NDArray[np.float64], across: NDArray[np.float64]) -> float:
    """Return the longest chord of a convex outline at a right angle to the axis on which `along` are the positions."""
    order = np.roll(np.arange(len(along)), -int(along.argmin()))
    far = int(along[order].argmax())
    one, other = order[: far + 1], np.append(order[far:], order[0])
    width = np.interp(along, along[one], across[one]) - np.interp(along, along[other[::-1]], across[other[::-1]])
    return float(np.abs(width).max())
