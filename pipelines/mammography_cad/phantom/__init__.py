"""Generated four-view mammography exams with known lesions: for training, tests and the demo."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipelines.mammography_cad.phantom import calcifications, lesions
from pipelines.mammography_cad.phantom.calcifications import Cluster
from pipelines.mammography_cad.phantom.grids import Grid
from pipelines.mammography_cad.phantom.placing import VIEWS, scenes
from pipelines.mammography_cad.phantom.scene import Scene, frame, render

__all__ = ["VIEWS", "PhantomLesion", "PhantomView", "exam", "patch"]


@dataclass(frozen=True, slots=True, eq=False)
class PhantomLesion:
    """One lesion as one view shows it.

    Attributes
    ----------
    kind : str
        mass, calcifications, distortion or asymmetry.
    centre : (row, column)
        In the view's pixels; whole numbers are pixel centres.
    radius : float
        Pixels; half the lesion's size, spicules left out.
    shape, margin, density : str
        BI-RADS, of a mass; else empty.
    morphology, distribution : str
        BI-RADS, of calcifications; else empty.
    malignant : bool
        Drawn by the descriptors' odds.
    mask, offset
        The lesion's pixels, bool [j, i], a crop that begins at `offset` (row, column).
    """

    kind: str
    centre: tuple[float, float]
    radius: float
    shape: str
    margin: str
    density: str
    morphology: str
    distribution: str
    malignant: bool
    mask: NDArray[np.bool_]
    offset: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class PhantomView:
    """A generated mammogram and its truth.

    Attributes
    ----------
    name : str
        "R CC", "L CC", "R MLO" or "L MLO".
    array : float32 [j, i]
        The image for reading, 0..1, brighter where denser; or raw detector values, larger where less dense.
        The chest wall is at the left edge on a left breast, at the right edge on a right one.
    spacing_mm : (row, column)
        Distance of pixel centres.
    for_processing : bool
        The array holds raw detector values.
    density_class : str
        BI-RADS A to D.
    nipple : (row, column)
        Where it sits on the skin line, pixels.
    lesions : tuple of PhantomLesion
        What was put in; lymph nodes, vessels and single calcifications are not lesions.
    """

    name: str
    array: NDArray[np.float32]
    spacing_mm: tuple[float, float]
    for_processing: bool
    density_class: str
    nipple: tuple[float, float]
    lesions: tuple[PhantomLesion, ...]


def exam(
    seed: int,
    *,
    spacing_mm: float = 0.4,
    field_mm: tuple[float, float] = (240.0, 192.0),
    lesions: int | None = None,
    density: str | None = None,
    for_processing: bool = False,
    views: tuple[str, ...] = VIEWS,
    before: bool = False,
) -> tuple[PhantomView, ...]:
    """Return the views of a random exam; the same arguments always give the same pixels.

    Parameters
    ----------
    seed : int
        Draws the woman, the machine and the lesions.
    spacing_mm : float
        Pixel size; 0.08 gives 3000 x 2400 pixels.
    field_mm : (height, width)
        The detector's size.
    lesions : int, optional
        How many are put into the exam; by default 0 to 2. One that finds no room in a view is left out there.
    density : str, optional
        BI-RADS class A to D; by default random.
    for_processing : bool
        Give raw detector values.
    views : tuple of str
        Which views to draw.
    before : bool
        Draw the same breasts as they were before any of the lesions was there.
    """
    planned = scenes(seed, field_mm, lesions, density, views)
    if before:
        planned = tuple(replace(scene, lesions=()) for scene in planned)
    return tuple(_view(s, spacing_mm, None, for_processing) for s in planned)


def patch(
    seed: int, name: str, window: tuple[int, int, int, int], *, spacing_mm: float = 0.1, for_processing: bool = False
) -> PhantomView:
    """Return a window of one view without drawing the rest; several windows of one view in a row are faster.

    Parameters
    ----------
    seed, name, spacing_mm, for_processing
        As for `exam`.
    window : (row, column, rows, columns)
        In the whole view's pixels. Centres of lesions are then told from the window's corner.
    """
    (scene,) = scenes(seed, (240.0, 192.0), None, None, (name,))
    return _view(scene, spacing_mm, window, for_processing)


def _view(
    scene: Scene, spacing_mm: float, window: tuple[int, int, int, int] | None, for_processing: bool
) -> PhantomView:
    rows, columns = (round(f / spacing_mm) for f in scene.field_mm)
    row, column, height, width = window or (0, 0, rows, columns)
    right = scene.name[0] == "R"
    first = columns - column - width if right else column
    grid = Grid(spacing_mm, row * spacing_mm, first * spacing_mm, (height, width))
    array = render(scene, grid, frame(scene), for_processing=for_processing)
    truth = tuple(t for t in (_truth(item, grid, right) for item in scene.lesions) if t is not None)
    return PhantomView(
        name=scene.name,
        array=np.ascontiguousarray(array[:, ::-1] if right else array),
        spacing_mm=(spacing_mm, spacing_mm),
        for_processing=for_processing,
        density_class=scene.tissue.density_class,
        nipple=_pixel(scene.outline.nipple, grid, right),
        lesions=truth,
    )


def _pixel(place: tuple[float, float], grid: Grid, right: bool) -> tuple[float, float]:
    """Return (row, column) of a place (v, u) in the picture; a right breast is turned left to right."""
    row, column = ((p - o) / grid.step_mm for p, o in zip(place, (grid.v_mm, grid.u_mm), strict=True))
    return float(row), float(grid.shape[1] - 1 - column if right else column)


def _truth(item: lesions.Mass | Cluster, grid: Grid, right: bool) -> PhantomLesion | None:
    """Return what is known of a lesion in the window, or None where it lies outside."""
    box = grid.around(item.at, 2.2 * item.radius_mm + 3)
    if box is None:
        return None
    local = grid.part(box)
    mask = calcifications.mask(item, local) if isinstance(item, Cluster) else lesions.mask(item, local)
    if not mask.any():
        return None
    first = grid.shape[1] - box[1].stop if right else box[1].start
    return PhantomLesion(
        kind="calcifications" if isinstance(item, Cluster) else item.kind,
        centre=_pixel(item.at, grid, right),
        radius=item.radius_mm / grid.step_mm,
        shape="" if isinstance(item, Cluster) else item.shape,
        margin="" if isinstance(item, Cluster) else item.margin,
        density="" if isinstance(item, Cluster) else item.density,
        morphology=item.morphology if isinstance(item, Cluster) else "",
        distribution=item.distribution if isinstance(item, Cluster) else "",
        malignant=item.malignant,
        mask=np.ascontiguousarray(mask[:, ::-1] if right else mask),
        offset=(box[0].start, first),
    )
