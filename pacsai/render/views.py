"""Three views of a volume: axial, coronal and sagittal through one point, with the contours of its findings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsai import RESEARCH_USE_ONLY
from pacsai.finding import Finding, Mask
from pacsai.objects.contour import outlines
from pacsai.render.draw import LUNG_WINDOW, MARK, QUIET, WORDS, Canvas, Place, Window, grey
from pacsai.volume import Volume

SAGITTAL, CORONAL, AXIAL = 0, 1, 2
"""The world axis (x, y, z) that each view looks along."""
MARGIN = 10
CAPTION = 34


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """How the index axes of a volume lie to the patient's, for turning planes upright.

    Attributes
    ----------
    axes : (int, int, int)
        The array axis (0 for k, 1 for j, 2 for i) that runs closest to x, y and z.
    flips : (bool, bool, bool)
        Whether it runs against x and y, and whether it runs along z, so that pictures have the head up.
    """

    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @classmethod
    def of(cls, affine: NDArray[np.float64]) -> Grid:
        """Return the grid of an affine from (i, j, k) to LPS mm."""
        steps = affine[:3, 2::-1]
        axes = [int(np.argmax(np.abs(steps[world]))) for world in range(3)]
        along = [bool(steps[world, axis] > 0) for world, axis in enumerate(axes)]
        if sorted(axes) != [0, 1, 2]:
            axes, along = [2, 1, 0], [True, True, True]
        return cls((axes[0], axes[1], axes[2]), (not along[0], not along[1], along[2]))

    def upright(self, array: NDArray[np.generic], view: int, index: int) -> NDArray[np.generic]:
        """Return the plane `index` of `array` [k, j, i], patient's right or front at the left, front or head up."""
        plane = np.take(array, index, axis=self.axes[view])
        down, across = (AXIAL if view != AXIAL else CORONAL), (SAGITTAL if view != SAGITTAL else CORONAL)
        if self.axes[down] > self.axes[across]:
            plane = plane.T
        rows = slice(None, None, -1 if self.flips[down] else 1)
        columns = slice(None, None, -1 if self.flips[across] else 1)
        return np.asarray(plane[rows, columns])


def three_views(
    volume: Volume,
    findings: Sequence[Finding],
    centre_mm: tuple[float, float, float],
    *,
    title: str = "",
    window: Window = LUNG_WINDOW,
    zoom: float = 1.5,
) -> Image.Image:
    """Draw the three planes through a point, at one scale, with the outlines of the findings that they cut.

    Parameters
    ----------
    volume : Volume
    findings : sequence of Finding
        Those with a mask are outlined.
    centre_mm : (x, y, z)
        The point, LPS mm; the nearest voxel of the volume is taken.
    title : str
        Written under the pictures, before the words about research use.
    window : (centre, width)
    zoom : float
        Picture pixels for one millimetre.

    Returns
    -------
    PIL.Image.Image
        RGB: axial, coronal, sagittal from left to right.
    """
    panels = [_panel(volume, findings, view, centre_mm, window, zoom) for view in (AXIAL, CORONAL, SAGITTAL)]
    width = sum(panel.width for panel in panels) + MARGIN * (len(panels) + 1)
    height = max(panel.height for panel in panels)
    canvas = Canvas((width, height + 2 * MARGIN + CAPTION))
    left = MARGIN
    for panel, name in zip(panels, ("axial", "coronal", "sagittal"), strict=True):
        canvas.image.paste(panel, (left, MARGIN))
        canvas.words(name, (left + 4, MARGIN + 2), QUIET, size=15)
        left += panel.width + MARGIN
    canvas.words("   ".join(filter(None, (title, RESEARCH_USE_ONLY))), (MARGIN, height + MARGIN + 10), WORDS, size=18)
    return canvas.image


def _panel(
    volume: Volume,
    findings: Sequence[Finding],
    view: int,
    centre_mm: tuple[float, float, float],
    window: Window,
    zoom: float,
) -> Image.Image:
    grid = Grid.of(volume.affine)
    axis = grid.axes[view]
    index = _nearest(volume, centre_mm)[axis]
    plane = grid.upright(volume.array, view, index)
    scale = _scale(volume, grid, view, zoom)
    canvas = Canvas((round(plane.shape[1] * scale[0]), round(plane.shape[0] * scale[1])))
    canvas.picture(grey(plane, window), (0, 0, *canvas.image.size))
    for finding in findings:
        if finding.mask is not None and finding.mask.box[axis].start <= index < finding.mask.box[axis].stop:
            section = grid.upright(_whole_plane(finding.mask, volume.array.shape, axis, index), view, 0)
            for outline in outlines(section.astype(np.bool_)):
                canvas.line(Place(scale=scale)(outline), MARK)
    return canvas.image


def _nearest(volume: Volume, centre_mm: tuple[float, float, float]) -> tuple[int, ...]:
    """Return the index [k, j, i] of the voxel nearest to a world position, inside the volume."""
    ijk = np.linalg.solve(volume.affine, [*centre_mm, 1.0])[:3]
    return tuple(
        int(np.clip(round(value), 0, size - 1)) for value, size in zip(ijk[::-1], volume.array.shape, strict=True)
    )


def _scale(volume: Volume, grid: Grid, view: int, zoom: float) -> tuple[float, float]:
    """Return picture pixels per voxel, across and down a view, so that millimetres are alike in both."""
    spacing_mm = np.linalg.norm(volume.affine[:3, 2::-1], axis=0)
    down, across = (AXIAL if view != AXIAL else CORONAL), (SAGITTAL if view != SAGITTAL else CORONAL)
    return float(spacing_mm[grid.axes[across]]) * zoom, float(spacing_mm[grid.axes[down]]) * zoom


def _whole_plane(mask: Mask, shape: tuple[int, ...], axis: int, index: int) -> NDArray[np.bool_]:
    """Return one plane of a mask on the source grid, its axis kept with length 1."""
    size = [1 if number == axis else length for number, length in enumerate(shape)]
    box = list(mask.box)
    box[axis] = slice(0, 1)
    plane = np.zeros(size, dtype=np.bool_)
    plane[tuple(box)] = np.take(mask.array, [index - mask.offset_kji[axis]], axis=axis)
    return plane
