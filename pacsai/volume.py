"""Volume: voxels with their place in the world. The one module that owns geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacsai.study import Instance


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels on a regular grid.

    Attributes
    ----------
    array : float32 [k, j, i]
        Slices, rows, columns; modality units (HU for CT), after rescale.
    affine : float64 (4, 4)
        Maps the homogeneous column (i, j, k, 1) to LPS mm (x, y, z, 1): columns are the steps along i, j, k.
    frame_of_reference_uid : str
        The frame that `affine` refers to.
    source : tuple of Instance
        The instance of each slice, source[k]; for an enhanced multi-frame object the one instance, once.
    """

    array: NDArray[np.float32]
    affine: NDArray[np.float64]
    frame_of_reference_uid: str
    source: tuple[Instance, ...]
