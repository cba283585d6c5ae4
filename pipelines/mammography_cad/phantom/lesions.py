"""Masses, asymmetries and architectural distortions, with what BI-RADS says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from pipelines.mammography_cad.phantom.grids import Array, Grid, isotropic
from pipelines.mammography_cad.phantom.lines import Line, draw, wandering

SHAPES = ("round", "oval", "irregular")
MARGINS = ("circumscribed", "microlobulated", "obscured", "indistinct", "spiculated")
DENSITIES = ("high", "equal", "low")
_MARGINS_OF = {
    "round": (0.5, 0.12, 0.2, 0.13, 0.05),
    "oval": (0.5, 0.15, 0.22, 0.1, 0.03),
    "irregular": (0.0, 0.2, 0.08, 0.32, 0.4),
}
_MALIGNANT = {"circumscribed": 0.04, "obscured": 0.15, "microlobulated": 0.5, "indistinct": 0.6, "spiculated": 0.9}
_SHAPE_SHIFT = {"round": -0.02, "oval": -0.04, "irregular": 0.15}
_MM_OF_GLAND = {"high": (1.0, 1.35), "equal": (0.58, 0.82), "low": (0.32, 0.45)}


@dataclass(frozen=True, slots=True)
class Mass:
    """One mass, asymmetry or distortion in one view.

    Attributes
    ----------
    kind : str
        mass, asymmetry or distortion.
    shape, margin, density : str
        As BI-RADS names them; empty where they do not apply.
    malignant : bool
        Drawn by the descriptors' odds.
    at : (v, u)
        Its middle, mm.
    radius_mm : float
        Half the mean diameter, spicules left out.
    seed : int
        Draws its contour in this view.
    """

    kind: str
    shape: str
    margin: str
    density: str
    malignant: bool
    at: tuple[float, float]
    radius_mm: float
    seed: int


def random_mass(rng: np.random.Generator, kind: str = "mass") -> Mass:
    """Return a random mass, asymmetry or distortion, not yet placed."""
    seed = int(rng.integers(2**31))
    if kind != "mass":
        radius = float(rng.uniform(6, 14))
        odds = 0.55 if kind == "distortion" else 0.15
        return Mass(kind, "", "", "", bool(rng.random() < odds), (0.0, 0.0), radius, seed)
    shape = str(rng.choice(SHAPES, p=(0.22, 0.36, 0.42)))
    margin = str(rng.choice(MARGINS, p=_MARGINS_OF[shape]))
    density = str(rng.choice(DENSITIES, p=(0.5, 0.42, 0.08) if shape == "irregular" else (0.25, 0.5, 0.25)))
    if density == "low" and margin in ("spiculated", "indistinct"):
        density = "equal"
    odds = np.clip(_MALIGNANT[margin] + _SHAPE_SHIFT[shape] + (0.06 if density == "high" else -0.04), 0.01, 0.97)
    radius = float(np.clip(np.exp(rng.normal(np.log(6.5), 0.4)), 3.0, 20.0))
    return Mass("mass", shape, margin, density, bool(rng.random() < odds), (0.0, 0.0), radius, seed)


def contour(mass: Mass) -> NDArray[np.float64]:
    """Return the mass's radius in mm at 360 angles, 0 along +u and turning to +v."""
    rng = np.random.default_rng([mass.seed, 71])
    theta = np.deg2rad(np.arange(360))
    aspect = {"round": rng.uniform(0.92, 1.0), "oval": rng.uniform(0.55, 0.78)}.get(mass.shape, rng.uniform(0.65, 0.95))
    turn = rng.uniform(0, np.pi)
    a, b = 1 / np.sqrt(aspect), np.sqrt(aspect)
    radius = a * b / np.hypot(b * np.cos(theta - turn), a * np.sin(theta - turn))
    if mass.shape == "oval" and rng.random() < 0.45:
        radius = radius + _waves(rng, theta, (2, 3), 0.08)
    if mass.shape == "irregular" or not mass.shape:
        radius = radius + _waves(rng, theta, (2, 3, 4, 5, 6, 7, 9), 0.22, 0.8)
    if mass.margin == "microlobulated":
        lobes = rng.integers(9, 16)
        radius = radius + rng.uniform(0.09, 0.15) * np.abs(
            np.sin(0.5 * lobes * theta + _waves(rng, theta, (1, 2, 3), 0.7))
        )
    return np.asarray(mass.radius_mm * np.maximum(radius, 0.35))


def _waves(
    rng: np.random.Generator, theta: NDArray[np.float64], orders: tuple[int, ...], size: float, fall: float = 0.0
) -> NDArray[np.float64]:
    """Return the sum of waves around the contour, that of order k of deviation size / k^fall."""
    waves = [rng.normal(0, size / k**fall) * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) for k in orders]
    return np.asarray(np.sum(waves, axis=0))


def add(dense: Array, grid: Grid, mass: Mass, thickness_mm: float) -> None:
    """Add the mass to `dense` (mm of gland on the grid), in place."""
    reach = 4.0 * mass.radius_mm + 6
    box = grid.around(mass.at, reach)
    if box is None:
        return
    part, local = dense[box], grid.part(box)
    rng = np.random.default_rng([mass.seed, 72])
    if mass.kind == "distortion":
        _draw_together(part, local, mass, 0.9)
        part += _core(local, mass, 1.2, 4.0) * rng.uniform(0.5, 2.0)
        draw(part, local, _spicules(rng, mass, 0.0))
    elif mass.kind == "asymmetry":
        cloud = np.clip(0.8 + 0.5 * isotropic(rng, local, 3.2, 0.6), 0, None)
        part += _core(local, mass, 3.0, mass.radius_mm) * cloud * np.float32(rng.uniform(0.2, 0.32) * mass.radius_mm)
    else:
        if mass.margin == "spiculated":
            _draw_together(part, local, mass, 0.4)
        body, inside = _body(rng, local, mass, thickness_mm)
        part += 0.6 * inside * (ndimage.gaussian_filter(part, 2.0 / local.step_mm, truncate=3) - part) + body
        if mass.margin == "spiculated":
            draw(part, local, _spicules(rng, mass, 0.85))


def _body(rng: np.random.Generator, grid: Grid, mass: Mass, thickness_mm: float) -> tuple[Array, Array]:
    """Return the mass's own path in mm of gland, a ball flattened along the ray, rough within, soft at its margin.

    Also returned: how much it takes the place of the strands there, 0..1.
    """
    soft = {"circumscribed": 0.25, "microlobulated": 0.3, "obscured": 0.3, "indistinct": 0.42 * mass.radius_mm}
    blur = min(soft.get(mass.margin, 0.9), 3.5) if mass.margin == "indistinct" else soft.get(mass.margin, 0.7)
    profile = _core(grid, mass, blur, 0.0)
    rough = 1 + (0.12 if mass.shape == "irregular" else 0.05) * isotropic(rng, grid, 3.2, 0.5)
    if mass.margin == "obscured":
        rough = rough * _hiding(rng, grid, mass)
    chord = min(2 * mass.radius_mm, 0.8 * thickness_mm)
    amount = max(2.4, chord * rng.uniform(*_MM_OF_GLAND[mass.density]))
    return np.asarray(profile * rough * np.float32(amount), dtype=np.float32), profile


def _core(grid: Grid, mass: Mass, blur_mm: float, ramp_mm: float) -> Array:
    """Return 0..1: full within the contour, round to its border like a flattened ball, blurred by `blur_mm`."""
    v, u = grid.v - mass.at[0], grid.u - mass.at[1]
    border = np.interp(np.arctan2(v, u), np.deg2rad(np.arange(-180, 181)), np.roll(contour(mass), 180)[np.r_[0:360, 0]])
    inward = np.clip(1 - np.hypot(v, u) / border, 0, 1)
    ball = np.sqrt(1 - (1 - inward) ** 2) if not ramp_mm else np.clip(inward * mass.radius_mm / ramp_mm, 0, 1)
    return np.asarray(ndimage.gaussian_filter(ball, blur_mm / grid.step_mm, truncate=3), dtype=np.float32)


def _hiding(rng: np.random.Generator, grid: Grid, mass: Mass) -> Array:
    """Return a factor that lets one side of the mass sink into the tissue around it."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * (grid.u - mass.at[1]) + np.sin(angle) * (grid.v - mass.at[0])
    uneven = 0.25 * mass.radius_mm * isotropic(rng, grid, 3.2, 0.8)
    return np.asarray(expit((along + 0.25 * mass.radius_mm + uneven) / (0.22 * mass.radius_mm)), dtype=np.float32)


def _spicules(rng: np.random.Generator, mass: Mass, from_radius: float) -> list[Line]:
    """Return straight fine lines that leave the lesion on all sides."""
    found = []
    for angle in np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(16, 34)))):
        start = from_radius * contour(mass)[int(np.rad2deg(angle)) % 360]
        length = mass.radius_mm * rng.uniform(0.6, 2.0) + 2 + (mass.radius_mm if not from_radius else 0)
        at = (mass.at[0] + start * np.sin(angle), mass.at[1] + start * np.cos(angle))
        points = wandering(rng, at, angle, length, 0.06)
        fade = np.linspace(1, 0.05, len(points)) * rng.uniform(0.22, 0.5) * (5 + mass.radius_mm)
        found.append(Line(points, float(rng.choice((0.65, 1.0, 1.6), p=(0.35, 0.4, 0.25))), fade))
    return found


def _draw_together(part: Array, grid: Grid, mass: Mass, strength: float) -> None:
    """Pull the tissue around the lesion towards its middle, in place."""
    v, u = grid.v - mass.at[0], grid.u - mass.at[1]
    far = np.hypot(v, u)
    pull = 1 + strength * np.exp(-((far / (1.2 * mass.radius_mm)) ** 2))
    where = np.stack(np.broadcast_arrays(v * pull + mass.at[0] - grid.v_mm, u * pull + mass.at[1] - grid.u_mm))
    part[...] = ndimage.map_coordinates(part.copy(), where / grid.step_mm, order=1, mode="nearest")


def mask(mass: Mass, grid: Grid) -> NDArray[np.bool_]:
    """Return which points lie within the mass's contour."""
    v, u = grid.v - mass.at[0], grid.u - mass.at[1]
    at = np.rad2deg(np.arctan2(v, u)).astype(np.intp) % 360
    return np.asarray(np.hypot(v, u) <= contour(mass)[at])
