"""A chest made of ellipsoids: small, quick, and known to the voxel. Axes run to the head, the back and the left."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHAPE = (80, 100, 140)
SPACING = (2.5, 2.5, 2.5)
Z, Y, X = (g * 2.5 for g in np.ogrid[tuple(slice(0, n) for n in SHAPE)])
MIDDLE_X = 174.0
LEFT_LUNG, RIGHT_LUNG = (110.0, 125.0, MIDDLE_X + 65), (110.0, 125.0, MIDDLE_X - 65)


def ball(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return the voxels of an ellipsoid, centre and radii in mm along z, y, x."""
    parts = (((g - c) / r) ** 2 for g, c, r in zip((Z, Y, X), centre, radii, strict=True))
    return np.asarray(sum(parts) <= 1)


def column(y: float, x: float, radius: float) -> NDArray[np.bool_]:
    return np.broadcast_to((Y - y) ** 2 + (X - x) ** 2 <= radius**2, SHAPE).copy()


def chest() -> NDArray[np.float32]:
    """Return a body with two lungs, a trachea, gas in the stomach, and a table with a hollow."""
    hu = np.full(SHAPE, -1000, dtype=np.float32)
    hu[np.broadcast_to(((Y - 125) / 95) ** 2 + ((X - MIDDLE_X) / 150) ** 2 <= 1, SHAPE)] = 40
    for lung in (LEFT_LUNG, RIGHT_LUNG):
        hu[ball(lung, (85, 65, 50))] = -850
    hu[column(130, MIDDLE_X, 9) & (Z > 110)] = -1000
    hu[ball(STOMACH, (14, 30, 30))] = -1000
    table = np.broadcast_to((Y > 228) & (Y < 245) & (X > 60) & (X < 290), SHAPE)
    hollow = np.broadcast_to((Y > 233) & (Y < 240) & (X > 65) & (X < 285), SHAPE)
    hu[table] = -200
    hu[hollow] = -860
    return hu


STOMACH = (8.0, 100.0, MIDDLE_X + 60)
