"""The grey-scale window that images are shown in: what a reader of CT is used to, what the values of others ask for."""

from __future__ import annotations

import numpy as np

from pacsai.render.draw import LUNG_WINDOW, Window
from pacsai.volume import Volume

DARKEST, BRIGHTEST = 2.0, 99.7
"""Percentiles of the values above zero that become black and white: MR values have no unit."""
MOST_VALUES = 1_000_000


def window_for(volume: Volume | None) -> Window:
    """Return centre and width of the window in modality units: a lung's for CT, and where nothing is known."""
    if volume is None or not volume.source or volume.source[0].header.get("Modality") == "CT":
        return LUNG_WINDOW
    values = volume.array.ravel()[:: 1 + volume.array.size // MOST_VALUES]
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return LUNG_WINDOW
    low, high = (float(value) for value in np.percentile(values, (DARKEST, BRIGHTEST)))
    return (low + high) / 2, max(high - low, 1.0)
