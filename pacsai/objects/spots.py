"""Places on a view in the count of DICOM graphics: PIXEL coordinates of PS3.3 C.10.5, which GSPS and SCOORD share.

A pixel's centre is a whole number (row j, column i) in a `Spot`, and index + 0.5 as (column, row) in a graphic.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pacsai.reading import Place, Spot

HALF = 0.5


def centre(spot: Spot) -> NDArray[np.float64]:
    """Return the centre as float64 (1, 2), column and row."""
    return _points((spot.centre_ji,))


def outline(spot: Spot) -> NDArray[np.float64]:
    """Return the outline as float64 (n + 1, 2), column and row, closed; (0, 2) where there is none."""
    return _points((*spot.outline_ji, *spot.outline_ji[:1]))


def _points(places: Sequence[Place]) -> NDArray[np.float64]:
    return np.array(places, dtype=np.float64).reshape(-1, 2)[:, ::-1] + HALF
