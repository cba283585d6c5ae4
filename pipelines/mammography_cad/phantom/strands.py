"""The lines of a generated breast: vessels, ducts, Cooper's ligaments, folds of skin."""

from __future__ import annotations

import numpy as np

from pipelines.mammography_cad.phantom.lines import Line, wandering
from pipelines.mammography_cad.phantom.outline import Outline


def vessels(seed: int, outline: Outline) -> list[Line]:
    """Return the view's vessels, from the chest wall towards the nipple, with a few branches."""
    rng = np.random.default_rng([seed, 62])
    v, u = outline.nipple
    found: list[Line] = []
    for _ in range(int(rng.integers(3, 9))):
        start = (v + rng.uniform(-0.9, 0.8) * outline.body.half_height_mm, rng.uniform(-10, 0.4 * u))
        angle = np.arctan2(v - start[0], u - start[1]) * 0.6 + rng.normal(0, 0.3)
        points = wandering(rng, start, angle, rng.uniform(0.4, 1.0) * u, rng.uniform(0.06, 0.25))
        width = float(rng.uniform(0.8, 2.4))
        shade = width * rng.uniform(0.35, 1.2)
        found.append(Line(points, width, np.linspace(1, 0.4, len(points)) * shade))
        if rng.random() < 0.5:
            k = int(rng.integers(len(points) // 4, 3 * len(points) // 4))
            side = angle + rng.choice((-1, 1)) * rng.uniform(0.3, 0.8)
            branch = wandering(rng, (float(points[k, 0]), float(points[k, 1])), side, rng.uniform(0.2, 0.5) * u, 0.15)
            found.append(Line(branch, 0.65 * width, np.linspace(0.6, 0.15, len(branch)) * shade))
    return found


def ducts(seed: int, outline: Outline, strength: float) -> list[Line]:
    """Return ducts that run together behind the nipple."""
    rng = np.random.default_rng([seed, 64])
    v, u = outline.nipple
    found = []
    for _ in range(int(rng.integers(5, 14))):
        angle = np.pi + rng.normal(0, 0.6)
        points = wandering(rng, (v + rng.normal(0, 1.5), u), angle, rng.uniform(12, 45), 0.12)
        fade = np.linspace(1, 0.1, len(points))
        found.append(Line(points, float(rng.choice((1.0, 1.6, 2.5))), fade * rng.uniform(0.15, 0.7) * strength))
    return found


def ligaments(seed: int, outline: Outline, strength: float) -> list[Line]:
    """Return faint, long, gently bent lines all over the breast, most between nipple and chest wall."""
    rng = np.random.default_rng([seed, 65])
    v, u = outline.nipple
    found = []
    for k in range(int(200 * strength)):
        fine = k % 2 == 1
        start = (v + rng.uniform(-1.2, 1.1) * outline.body.half_height_mm, rng.uniform(0, 1) * u)
        angle = np.arctan2(v - start[0], u + 20 - start[1]) + rng.normal(0, 0.5)
        points = wandering(rng, start, angle, rng.uniform(10, 55), 0.06 if fine else 0.12)
        fade = np.sin(np.linspace(0.1, np.pi - 0.1, len(points)))
        width = 0.4 if fine else float(rng.choice((0.4, 0.65, 1.0), p=(0.15, 0.4, 0.45)))
        found.append(Line(points, width, fade * (rng.uniform(0.5, 1.8) if fine else rng.uniform(0.2, 0.9))))
    return found


def folds(seed: int, outline: Outline) -> list[Line]:
    """Return folds of skin of some views: broad bright bent bands near the upper or lower border."""
    rng = np.random.default_rng([seed, 66])
    if rng.random() > 0.25:
        return []
    v, u = outline.nipple
    found = []
    for _ in range(int(rng.integers(1, 4))):
        side = rng.choice((-1.0, 1.0))
        start = (v + side * rng.uniform(0.75, 1.1) * outline.body.half_height_mm, rng.uniform(0.1, 0.7) * u)
        angle = side * rng.normal(-0.6, 0.5)
        points = wandering(rng, start, angle, rng.uniform(12, 45), 0.3)
        fade = np.sin(np.linspace(0.15, np.pi - 0.15, len(points)))
        found.append(Line(points, float(rng.uniform(1.2, 2.6)), fade * rng.uniform(1.5, 5)))
    return found
