"""Nodules in the lungs of a CT: candidates, false-positive reduction, segmentation.

Works on plain arrays with their spacing; knows nothing of DICOM or of world coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.chest_ct_nodules.net import Networks

THRESHOLD = 0.5
"""The shipped operating point: marks of lower probability are not reported."""


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One nodule candidate that was kept.

    Attributes
    ----------
    centre_kji : tuple of float
        Centre in (fractional) indices of the source volume.
    probability : float
        0 to 1; what the detector and the false-positive reduction together think.
    mask : bool [k, j, i]
        The nodule's voxels, a crop of the source grid; never empty.
    offset_kji : tuple of int
        Index of the crop's first voxel in the source volume.
    """

    centre_kji: tuple[float, float, float]
    probability: float
    mask: NDArray[np.bool_]
    offset_kji: tuple[int, int, int]


def detect(
    array_hu: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    lungs_mask: NDArray[np.bool_],
    networks: Networks,
    *,
    threshold: float = THRESHOLD,
) -> tuple[Mark, ...]:
    """Return the nodules of a chest CT, most probable first.

    Parameters
    ----------
    array_hu : float32 [k, j, i]
        Hounsfield units; k runs towards the head or the feet.
    spacing_mm : (z, y, x)
        Distance of neighbouring voxel centres, millimetres.
    lungs_mask : bool [k, j, i]
        The lungs, closed by about 10 mm so that lesions on the wall lie inside.
    networks : Networks
        The three trained networks (`net.load_networks`).
    threshold : float
        Marks of lower probability are left out; 0 keeps every candidate (for a FROC).
    """
    return ()
