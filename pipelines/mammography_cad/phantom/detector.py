"""From tissue to pixels: attenuation, blur, noise, and how vendors make an image for reading out of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import expit

from pipelines.mammography_cad.phantom.grids import Array

MU_FAT, MU_GLAND_MORE = 0.046, 0.034
"""Attenuation per mm of fat, and what gland has more, about 20 keV (order of magnitude of published values)."""


@dataclass(frozen=True, slots=True)
class Detector:
    """Blur (deviation, mm), counts per 0.1 mm pixel behind no breast, stored values in free air."""

    blur_mm: float
    counts: float
    full_scale: float


@dataclass(frozen=True, slots=True)
class Look:
    """How raw values become an image for reading.

    Attributes
    ----------
    flatten : float
        Part of the thickness's darkening towards the skin that is taken back, 0..1.
    local : float
        How much fine contrast is raised over slow change.
    curve : str
        linear, sigmoid or gamma.
    fat, dense : float
        Where fat and the densest gland land, 0..1 of the grey scale.
    air : float
        Grey level outside the breast.
    """

    flatten: float
    local: float
    curve: str
    fat: float
    dense: float
    air: float


CURVES = ("linear", "sigmoid", "gamma")


def random_detector(rng: np.random.Generator) -> Detector:
    """Return a random detector."""
    return Detector(float(rng.uniform(0.03, 0.09)), float(rng.uniform(6e4, 2e5)), float(rng.uniform(3000, 14000)))


def random_look(rng: np.random.Generator) -> Look:
    """Return a random vendor's taste."""
    fat = float(rng.choice((rng.uniform(0.1, 0.3), rng.uniform(0.3, 0.65)), p=(0.75, 0.25)))
    return Look(
        flatten=float(rng.uniform(0.82, 0.98)),
        local=float(rng.uniform(0.1, 0.9)),
        curve=str(rng.choice(CURVES)),
        fat=fat,
        dense=float(rng.uniform(max(0.7, fat + 0.25), 0.95)),
        air=0.0,
    )


def raw(rng: np.random.Generator, dense: Array, thickness: Array, detector: Detector, step_mm: float) -> Array:
    """Return linear detector values: large where few X-rays are stopped, with blur and noise."""
    passed = np.exp(-MU_FAT * thickness - MU_GLAND_MORE * dense)
    if detector.blur_mm > 0.15 * step_mm:
        passed = ndimage.gaussian_filter(passed, detector.blur_mm / step_mm, truncate=3)
    counts = detector.counts * (step_mm / 0.1) ** 2
    noise = rng.standard_normal(passed.shape, dtype=np.float32) * np.sqrt(passed / np.float32(counts))
    return np.asarray((passed + noise) * np.float32(detector.full_scale), dtype=np.float32)


def shown(
    values: Array, detector: Detector, look: Look, expected: Array, slow: Array, scale: tuple[float, float]
) -> Array:
    """Return the image for reading, 0..1.

    Parameters
    ----------
    values : float32 [j, i]
        Raw values.
    expected, slow : float32 [j, i]
        Attenuation of fat alone as thick as the breast there, and the slow part of what is left when it is taken out.
    scale : tuple of float
        What remains of fat and of the densest gland.
    """
    found = -np.log(np.clip(values / np.float32(detector.full_scale), 1e-6, None))
    left = found - np.float32(look.flatten) * expected
    left += np.float32(look.local) * (left - slow)
    part = (left - np.float32(scale[0])) / np.float32(scale[1] - scale[0])
    return np.asarray(np.clip(_curve(part, look), 0, 1), dtype=np.float32)


def _curve(part: Array, look: Look) -> Array:
    """Return grey levels; `part` is 0 for fat and 1 for the densest gland."""
    span = look.dense - look.fat
    part = np.where(part < 0, np.float32(0.5) * part, part)
    if look.curve == "sigmoid":
        return np.asarray(look.fat + span * (expit(3.6 * (part - 0.5)) - 0.142) / 0.716, dtype=np.float32)
    if look.curve == "gamma":
        return np.asarray(look.fat + span * np.sign(part) * np.abs(part) ** 0.8, dtype=np.float32)
    return np.asarray(look.fat + span * part, dtype=np.float32)
