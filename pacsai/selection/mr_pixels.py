"""Which of the plain sequences the pixels of a head show, where the header leaves it open: FLAIR, T1 or T2.

Judged by cerebrospinal fluid (CSF), which is bright in T2 and dark in FLAIR and T1, and by the cortex, which lies next
to it: brighter than the white matter in FLAIR, darker in T1. With or without skull. Modest on purpose: between the
limits it does not decide, and contrast medium it cannot see. What looks like T2 by its fluid, such as STIR, it takes
for T2: it is asked only where headers say nothing against that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.selection.mr import Naming
from pacsai.selection.ranking import Usable
from pacsai.volume import GeometryError, Grid, PixelError, read_volume

GRID_MM = 1.5
HEAD_ABOVE = 0.12
"""Of the 99th percentile: what is darker is air, or was taken away with the skull."""
CLOSING_MM = 15.0
CORE, INSIDE = 0.45, 0.2
"""Depths as parts of the greatest depth in the head: the middle with the ventricles, and all but the outside."""
BRIGHT_FLUID = 1.9
"""The core's 95th percentile over its median; measured: T2 2.1 and more, others 1.8 and less."""
NO_DARK, DARK = 0.45, 0.4
"""The core's 1st percentile over its median; measured: T2 0.5 and more, FLAIR and T1 0.35 and less."""
CORTEX_MM, DEEP_MM = (2.0, 3.0), 8.0
"""Distances from the CSF: of the cortex, clear of mixed voxels, and of white matter."""
CORTEX_DARK, CORTEX_BRIGHT = 0.95, 1.0
"""Cortex over white matter; measured: T1 0.58 to 0.91, FLAIR 1.06, and 1.01 in slices of 3 mm."""
LEAST_VOXELS = 2000
LEAST_LIKENESS = 0.5


@dataclass(frozen=True, slots=True)
class Fluid:
    """What the pixels say: brightness of the core's extremes and of the cortex (None: not measured), as ratios."""

    bright: float
    dark: float
    cortex: float | None


def look(usable: Usable, options: tuple[str, ...]) -> Naming:
    """Return which of `options` the pixels show, or why they do not decide."""
    try:
        volume = read_volume(usable.part.instances)
    except (GeometryError, PixelError) as error:
        return Naming("", f"its pixels cannot be read: {error}")
    shown = seen(volume)
    if not shown:
        return Naming("", "its pixels do not decide")
    if shown not in options:
        return Naming("", f"its pixels look like {shown}, which fits neither")
    return Naming(shown, f"its pixels show {shown}")


def seen(volume: Grid) -> str:
    """Return FLAIR, T1 or T2, "" where the voxels do not decide."""
    fluid = measured(volume)
    if fluid is None:
        return ""
    if fluid.bright >= BRIGHT_FLUID and fluid.dark >= NO_DARK:
        return "T2"
    if fluid.bright >= BRIGHT_FLUID or fluid.dark > DARK or fluid.cortex is None:
        return ""
    if fluid.cortex <= CORTEX_DARK:
        return "T1"
    return "FLAIR" if fluid.cortex >= CORTEX_BRIGHT else ""


def measured(volume: Grid) -> Fluid | None:
    """Return the ratios of a head, None where there is no head to measure."""
    array, spacing_mm = _coarse(volume)
    head = _head(array, spacing_mm)
    if head is None:
        return None
    depth = ndimage.distance_transform_edt(np.pad(head, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    where = depth > CORE * depth.max()
    core = array[where]
    middle = float(np.median(core)) if core.size >= LEAST_VOXELS else 0.0
    if middle <= 0 or not _alike(core, np.roll(array, 1, axis=2)[where]):
        return None
    dark, bright = np.percentile(core, (1, 95)) / middle
    inside = depth > INSIDE * depth.max()
    from_fluid = ndimage.distance_transform_edt(~(head & (array < middle / 2)), sampling=spacing_mm)
    cortex = array[inside & (from_fluid > CORTEX_MM[0]) & (from_fluid <= CORTEX_MM[1])]
    deep = array[inside & (from_fluid > DEEP_MM)]
    enough = min(cortex.size, deep.size) >= LEAST_VOXELS
    return Fluid(float(bright), float(dark), float(np.median(cortex) / np.median(deep)) if enough else None)


def _alike(values: NDArray[np.float32], neighbours: NDArray[np.float32]) -> bool:
    """Return whether neighbours resemble each other, as in anatomy and not in noise or in a block of one value."""
    if not (values.std() and neighbours.std()):
        return False
    return float(np.corrcoef(values, neighbours)[0, 1]) >= LEAST_LIKENESS


def _coarse(volume: Grid) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Return the values on about GRID_MM, means over blocks, and the spacing (z, y, x)."""
    steps = [max(1, round(GRID_MM / spacing)) for spacing in volume.spacing_mm]
    means = ndimage.uniform_filter(volume.array, size=steps)
    z, y, x = (step * spacing for step, spacing in zip(steps, volume.spacing_mm, strict=True))
    return np.asarray(means[:: steps[0], :: steps[1], :: steps[2]], dtype=np.float32), (z, y, x)


def _head(array: NDArray[np.float32], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_] | None:
    """Return the largest object with its dark fluid, None where nothing stands out."""
    lit = array[array > 0]
    bright = ndimage.binary_opening(array > HEAD_ABOVE * np.percentile(lit, 99)) if lit.size else np.zeros(1)
    labels, count = ndimage.label(bright)
    if not count:
        return None
    largest = labels == 1 + np.argmax(ndimage.sum(bright, labels, range(1, count + 1)))
    margins = [int(np.ceil(CLOSING_MM / spacing)) + 1 for spacing in spacing_mm]
    padded = np.pad(largest, [(margin, margin) for margin in margins])
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= CLOSING_MM
    closed: NDArray[np.bool_] = ndimage.distance_transform_edt(grown, sampling=spacing_mm) > CLOSING_MM
    return closed[tuple(slice(margin, -margin) for margin in margins)]
