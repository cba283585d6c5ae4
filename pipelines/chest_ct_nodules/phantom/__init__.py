"""Generated chest CTs with known nodules: for training, tests, the demo and `pacsai pipelines check`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom import nodules as nodule
from pipelines.chest_ct_nodules.phantom.anatomy import Anatomy, build_anatomy
from pipelines.chest_ct_nodules.phantom.fields import along_slices, blurred_in_plane
from pipelines.chest_ct_nodules.phantom.placing import Sites, draw_site, find_sites
from pipelines.chest_ct_nodules.phantom.scanner import (
    Scan,
    in_plane_matrix,
    linear_matrix,
    noise,
    random_scan,
    slice_matrix,
)

__all__ = ["ChestPhantom", "PhantomNodule", "chest_phantom"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class PhantomNodule:
    """One nodule that was put in.

    Attributes
    ----------
    centre_kji : tuple of float
        Middle of its visible part, index of the phantom's grid.
    diameter_mm : float
        Diameter of the ball of equal size, before a wall hides part of it.
    kind : str
        solid, part-solid, ground glass or calcified.
    attachment, margin : str
        isolated, vessel or wall; smooth, lobulated or spiculated.
    mask, offset_kji
        Visible voxels, bool [k, j, i], a crop that begins at `offset_kji`.
    """

    centre_kji: tuple[float, float, float]
    diameter_mm: float
    kind: str
    attachment: str
    margin: str
    mask: NDArray[np.bool_]
    offset_kji: tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class ChestPhantom:
    """A generated chest CT and its truth.

    Attributes
    ----------
    array_hu : int16 [k, j, i]
        Hounsfield units; k runs to the head, j to the back, i to the patient's left (LPS axes, origin free).
    spacing_mm : (z, y, x)
        Distance of voxel centres.
    lungs_mask : bool [k, j, i]
        Both lungs, vessels and nodules included.
    nodules : tuple of PhantomNodule
        What was put in, nothing else being a nodule.
    """

    array_hu: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]
    lungs_mask: NDArray[np.bool_]
    nodules: tuple[PhantomNodule, ...]


def chest_phantom(
    seed: int,
    *,
    shape_kji: tuple[int, int, int] | None = None,
    spacing_mm: tuple[float, float, float] | None = None,
    nodules: int | None = None,
    small: bool = False,
) -> ChestPhantom:
    """Return a random chest CT; the same arguments always give the same voxels.

    Parameters
    ----------
    seed : int
        Draws the person, the scanner's settings and the nodules.
    shape_kji, spacing_mm : tuples (k, j, i) and (z, y, x)
        The grid; by default 120 x 512 x 512 voxels of 2.5 x 0.7 x 0.7 mm.
    nodules : int, optional
        How many nodules of 4-30 mm; by default 3 to 8 (1 to 3 when small).
    small : bool
        A coarse grid of 60 x 128 x 128 voxels of 2.5 mm, made in about a second: for tests.
    """
    rng = np.random.default_rng([seed, 20])
    shape = shape_kji or ((60, 128, 128) if small else (120, 512, 512))
    spacing = spacing_mm or ((2.5, 2.5, 2.5) if small else (2.5, 0.7, 0.7))
    n = nodules if nodules is not None else int(rng.integers(1, 4) if small else rng.integers(3, 9))
    extent = (shape[0] * spacing[0], shape[1] * spacing[1], shape[2] * spacing[2])
    anatomy = build_anatomy(rng, extent, 2.0 if small else 1.0)
    placed = _place(rng, anatomy, n)
    for shape_of, centre, _ in placed:
        nodule.add(anatomy.hu, nodule.render(shape_of, centre, (anatomy.spacing_mm,) * 3, _grid_of(anatomy.hu)))
    array, depth = _scanned(rng, anatomy, shape, spacing)
    lungs = depth > 0
    found = tuple(_truth(item, lungs, spacing, anatomy.spacing_mm) for item in placed)
    return ChestPhantom(array, spacing, lungs, tuple(f for f in found if f is not None))


_Placed = tuple[nodule.NoduleShape, tuple[float, float, float], str]


def _grid_of(array: Array) -> tuple[int, int, int]:
    return (array.shape[0], array.shape[1], array.shape[2])


def _place(rng: np.random.Generator, anatomy: Anatomy, n: int) -> list[_Placed]:
    """Return `n` nodules at places at least 8 mm apart."""
    sites: Sites = find_sites(rng, anatomy.depth_mm, anatomy.vessels > 0.5)
    placed: list[_Placed] = []
    for _ in range(20 * n):
        if len(placed) == n:
            break
        shape = nodule.random_shape(rng, nodule.random_diameter(rng, low_mm=4.0))
        attachment = str(rng.choice(nodule.ATTACHMENTS, p=nodule.ATTACHMENT_SHARES))
        at = draw_site(rng, sites, attachment, shape.diameter_mm / 2, anatomy.spacing_mm)
        if at is None or any(_gap(at, shape, other, anatomy.spacing_mm) < 8 for other in placed):
            continue
        placed.append((shape, (float(at[0]), float(at[1]), float(at[2])), attachment))
    return placed


def _gap(at: NDArray[np.float64], shape: nodule.NoduleShape, other: _Placed, step: float) -> float:
    between = float(np.linalg.norm(at - np.array(other[1]))) * step
    return between - (shape.diameter_mm + other[0].diameter_mm) / 2


def _scanned(
    rng: np.random.Generator, anatomy: Anatomy, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> tuple[NDArray[np.int16], Array]:
    """Return the chest as a scanner would show it on the grid, int16, and the lungs' depth on that grid."""
    scan: Scan = random_scan(rng, spacing[0])
    step = anatomy.spacing_mm
    z = np.arange(shape[0], dtype=np.float64) * spacing[0]
    thick = slice_matrix(anatomy.hu.shape[0], step, z, scan.thickness_mm)
    at = [np.arange(n, dtype=np.float64) * s / step for n, s in zip(shape, spacing, strict=True)]
    rows, columns = (in_plane_matrix(anatomy.hu.shape[a], step, at[a], scan) for a in (1, 2))
    slices = along_slices(thick, anatomy.hu)
    depths = along_slices(linear_matrix(anatomy.hu.shape[0], at[0]), anatomy.depth_mm)
    plain = [linear_matrix(anatomy.hu.shape[a], at[a]) for a in (1, 2)]
    array = np.empty(shape, dtype=np.int16)
    depth = np.empty(shape, dtype=np.float16)
    for k in range(0, shape[0], 16):
        part = blurred_in_plane(slices[k : k + 16], rows, columns)
        part += noise(rng, _grid_of(part), spacing[2], scan)
        array[k : k + 16] = np.clip(np.rint(part), -1024, 3071).astype(np.int16)
        depth[k : k + 16] = blurred_in_plane(depths[k : k + 16], *plain)
    return array, depth  # type: ignore[return-value]


def _truth(
    placed: _Placed, lungs: NDArray[np.bool_], spacing: tuple[float, float, float], step: float
) -> PhantomNodule | None:
    """Return the visible part of a placed nodule, or None where the wall or the grid's edge hides it."""
    shape, centre, attachment = placed
    at = tuple(c * step / s for c, s in zip(centre, spacing, strict=True))
    drawn = nodule.render(shape, (at[0], at[1], at[2]), spacing, (lungs.shape[0], lungs.shape[1], lungs.shape[2]))
    mask = drawn.mask & lungs[drawn.box]
    if not mask.any():
        return None
    offset = tuple(b.start for b in drawn.box)
    middle = np.argwhere(mask).mean(axis=0) + offset
    return PhantomNodule(
        centre_kji=(float(middle[0]), float(middle[1]), float(middle[2])),
        diameter_mm=shape.diameter_mm,
        kind=shape.kind,
        attachment=attachment,
        margin=shape.margin,
        mask=mask,
        offset_kji=(offset[0], offset[1], offset[2]),
    )
