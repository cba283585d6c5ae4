"""A generated chest without nodules or noise: the shapes that lungs, vessels and their neighbours have on CT.

All lengths are millimetres; z runs to the head, y to the back, x to the left. What fools nodule detectors on real
scans is put in on purpose: hila, azygos arch, heart border, lumpy domes, recesses, bowel gas, rib bulges, scars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.phantom.body import grid_of, random_body
from pipelines.chest_ct_nodules.phantom.borders import dome_height, mediastinum_distance, wall_depth
from pipelines.chest_ct_nodules.phantom.lung import add_lung, add_vessels
from pipelines.chest_ct_nodules.phantom.tissue import soft_tissue

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A chest on an isotropic grid.

    Attributes
    ----------
    hu : float32 [k, j, i]
        Density without noise or blur.
    depth_mm : float32 [k, j, i]
        How deep in a lung a voxel lies: about the distance to its wall, negative outside; vessels count as lung.
    vessels : float32 [k, j, i]
        Share of the voxel filled by vessel.
    spacing_mm : float
        Voxel size.
    """

    hu: Array
    depth_mm: Array
    vessels: Array
    spacing_mm: float


def build_anatomy(
    rng: np.random.Generator, extent_mm: tuple[float, float, float], spacing_mm: float, *, tight: bool = False
) -> Anatomy:
    """Return a random chest that fits a box of `extent_mm` (z, y, x), on voxels of `spacing_mm`.

    With `tight` the grid holds the lungs and 12 mm around them only, which is what training looks at.
    """
    body = random_body(rng, extent_mm)
    if tight:
        extent_mm = (body.apex + 8, 2 * body.half_depth + 24, 2 * body.half_width + 24)
    grid = grid_of(extent_mm, spacing_mm)
    wall, dome = wall_depth(rng, grid, body), dome_height(rng, grid, body)
    middle = mediastinum_distance(rng, grid, body)
    depth = np.minimum(np.minimum(wall, middle), (grid.z - dome) * np.float32(0.75))
    hu = soft_tissue(rng, grid, body, wall, middle, dome)
    add_lung(rng, grid, hu, depth)
    vessels = add_vessels(rng, grid, body, hu, depth)
    return Anatomy(hu, depth, vessels, spacing_mm)
