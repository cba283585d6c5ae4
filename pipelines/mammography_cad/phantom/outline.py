"""The compressed breast seen from the tube: outline, nipple, thickness, skin and pectoral muscle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from pipelines.mammography_cad.phantom.grids import Array, Grid, isotropic, resampled

_STEP_MM = 1.0
_BEYOND_MM = 60.0


@dataclass(frozen=True, slots=True)
class Body:
    """What the views of one breast share; all in mm."""

    depth_mm: float
    half_height_mm: float
    thickness_mm: float
    nipple_radius_mm: float
    skin_mm: float
    skin_shade: float


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One view's outline.

    Attributes
    ----------
    inside_mm : float32 [j, i]
        Distance to the skin, positive within the breast, on `grid`, that reaches beyond the image.
    nipple : (v, u)
        Its base on the skin line, mm.
    pectoral : (v, u), or None
        Where the muscle's border meets the chest wall (v) and the top edge of the image (u), mm.
    sunk : float
        How far the nipple's middle lies behind the skin line, radii: 1 does not stand out.
    bent : float
        How far the muscle's border bulges, widths.
    """

    inside_mm: Array
    grid: Grid
    nipple: tuple[float, float]
    pectoral: tuple[float, float] | None
    body: Body
    sunk: float
    bent: float

    def inside(self, grid: Grid) -> Array:
        """Return the distance to the skin in mm over `grid`, nipple included."""
        base = resampled(self.inside_mm, self.grid, grid)
        v, u = self.nipple
        radius = self.body.nipple_radius_mm
        knob = radius - np.hypot(grid.v - v, grid.u - (u - self.sunk * radius))
        return np.asarray(np.maximum(base, np.minimum(knob, 2.0)), dtype=np.float32)

    def thickness(self, inside: Array) -> Array:
        """Return how thick the breast is in mm, by the distance to the skin: flat, with a round border."""
        radius = 0.45 * self.body.thickness_mm
        part = np.clip(1 - inside / radius, 0, 1)
        return np.asarray(self.body.thickness_mm * np.sqrt(1 - part**2) * (inside > 0), dtype=np.float32)

    def skin(self, inside: Array) -> Array:
        """Return the skin's path in mm seen edge on: what lies in the breast but not in the breast without its skin."""
        return self.thickness(inside) - self.thickness(inside - self.body.skin_mm)

    def in_muscle(self, grid: Grid) -> Array:
        """Return the distance in mm to the pectoral muscle's border, positive within the muscle."""
        if self.pectoral is None:
            return np.full(grid.shape, -1e3, dtype=np.float32)
        length, width = self.pectoral
        border = width * (1 - grid.v / length) + self.bent * width * np.sin(np.pi * np.clip(grid.v / length, 0, 1))
        slope = np.cos(np.arctan2(width, length))
        return np.asarray((border - grid.u) * slope, dtype=np.float32)


def random_body(rng: np.random.Generator) -> Body:
    """Return a random breast."""
    depth = float(np.clip(rng.normal(90, 24), 42, 150))
    return Body(
        depth_mm=depth,
        half_height_mm=float(np.clip(0.66 * depth + rng.normal(38, 11), 55, 145)),
        thickness_mm=float(np.clip(0.35 * depth + rng.normal(26, 8), 28, 90)),
        nipple_radius_mm=float(rng.uniform(3.0, 6.0)),
        skin_mm=float(rng.uniform(1.0, 2.2)),
        skin_shade=float(rng.uniform(0.08, 0.4)),
    )


def view_outline(rng: np.random.Generator, body: Body, view: str, field_mm: tuple[float, float]) -> Outline:
    """Return the outline of a CC or MLO view on a field of (height, width) mm."""
    grid = Grid(_STEP_MM, -_BEYOND_MM, -_BEYOND_MM, tuple(int((f + 2 * _BEYOND_MM) / _STEP_MM) for f in field_mm))  # type: ignore[arg-type]
    v = grid.v[:, 0].astype(np.float64)
    if view == "CC":
        nipple_v, edge = _cc_edge(rng, body, field_mm, v)
    else:
        nipple_v, edge = _mlo_edge(rng, body, field_mm, v)
    edge = edge + rng.uniform(0.4, 1.8) * isotropic(rng, grid, 3.6, 3.0)[:, 0]
    breast = grid.u < np.minimum(edge, 0.94 * field_mm[1])[:, None]
    distance = ndimage.distance_transform_edt(breast) - ndimage.distance_transform_edt(~breast)
    inside = np.asarray(ndimage.gaussian_filter(distance * _STEP_MM, 1.5), dtype=np.float32)
    row = int((nipple_v + _BEYOND_MM) / _STEP_MM)
    on_skin = float(grid.u[0][np.flatnonzero(inside[row] > 0)[-1]])
    return Outline(
        inside,
        grid,
        (nipple_v, on_skin),
        _muscle(rng, view, body, field_mm),
        body,
        float(rng.uniform(-0.4, 1.0)),
        float(rng.uniform(-0.05, 0.2)),
    )


_Edge = tuple[float, NDArray[np.float64]]


def _cc_edge(rng: np.random.Generator, body: Body, field_mm: tuple[float, float], v: NDArray[np.float64]) -> _Edge:
    middle = field_mm[0] / 2 + rng.normal(0, 6)
    up, low = body.half_height_mm * rng.uniform(0.82, 1.12, 2)
    nipple = middle + rng.normal(0, 0.08 * body.half_height_mm)
    slant = rng.normal(0, 0.05) * (v - middle) * (np.abs(v - middle) < body.half_height_mm)
    return nipple, _bulge(v, middle, up, low, body.depth_mm, rng.uniform(1.9, 3.0)) + slant


def _mlo_edge(rng: np.random.Generator, body: Body, field_mm: tuple[float, float], v: NDArray[np.float64]) -> _Edge:
    """Return the nipple's v and u of the skin by v: the breast, the fold of the armpit above, the belly below."""
    nipple = field_mm[0] * rng.uniform(0.52, 0.64)
    low = min(rng.uniform(0.65, 0.9) * body.half_height_mm, rng.uniform(0.9, 1.02) * field_mm[0] - nipple)
    breast = _bulge(v, nipple, 1.25 * body.half_height_mm, low, body.depth_mm, rng.uniform(1.8, 2.2))
    armpit = body.depth_mm * rng.uniform(0.35, 0.7) + 0.12 * (nipple - v - 100)
    armpit = armpit * expit((nipple - v) / 12)
    below = v - nipple - low + 3
    belly = (rng.uniform(-6, 22) + rng.uniform(-0.1, 0.5) * np.clip(below, 0, 60)) * expit(below / 4) - 6
    soft = 5.0
    return nipple, soft * np.logaddexp(np.logaddexp(breast / soft, armpit / soft), belly / soft)


def _bulge(
    v: NDArray[np.float64], middle: float, up: float, down: float, depth: float, power: float
) -> NDArray[np.float64]:
    height = np.where(v < middle, up, down)
    part = np.clip(np.abs(v - middle) / height, 0, 1)
    return depth * (1 - part**power) ** 0.6 - 8 * (np.abs(v - middle) > height)


def _muscle(
    rng: np.random.Generator, view: str, body: Body, field_mm: tuple[float, float]
) -> tuple[float, float] | None:
    if view == "CC" or rng.random() < 0.04:
        return None
    return float(field_mm[0] * rng.uniform(0.38, 0.72)), float(min(body.depth_mm, 90) * rng.uniform(0.4, 0.8))
