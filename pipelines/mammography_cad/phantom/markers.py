"""What is burned into a mammogram beside the breast: lead letters with side and view, and their frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.mammography_cad.phantom.grids import Array, Grid, resampled

_STEP_MM = 0.2


@dataclass(frozen=True, slots=True)
class Marker:
    """Letters on the image.

    Attributes
    ----------
    text : str
        As "R CC".
    at : (v, u)
        Their upper corner next to the chest wall, mm.
    height_mm : float
        Of a letter.
    boxed : bool
        Stands in a frame.
    mirrored : bool
        The view is turned left to right after it is drawn (a right breast).
    strength : float
        How much they cover, 0..1.
    """

    text: str
    at: tuple[float, float]
    height_mm: float
    boxed: bool
    mirrored: bool
    strength: float


def random_marker(rng: np.random.Generator, name: str, field_mm: tuple[float, float], reach_mm: float) -> Marker | None:
    """Return the marker of the view `name`, on the side away from the chest wall, or None on some machines' images.

    `reach_mm` is how far the breast reaches from the chest wall.
    """
    if rng.random() < 0.3:
        return None
    side, view = name.split()
    text = str(rng.choice((f"{side} {view}", f"{side}{view}", f"{side}-{view}", side)))
    height = float(rng.uniform(4, 10))
    v = float(rng.uniform(4, 60) if rng.random() < 0.8 else rng.uniform(0.7, 0.9) * field_mm[0])
    room = max(field_mm[1] - 0.7 * height * (len(text) + 1) - 2, 1.0)
    u = float(min(rng.uniform(0.75, 1.0) * room, max(reach_mm + rng.uniform(-15, 50), 0.6 * room)))
    u = min(max(u, min(reach_mm - 10, room)), room)
    return Marker(text, (v, u), height, bool(rng.random() < 0.3), side == "R", float(rng.uniform(0.6, 1.0)))


def cover(marker: Marker, grid: Grid) -> Array | None:
    """Return how much the marker covers of each point of the grid, 0..1, or None where it lies outside the grid."""
    letters = _letters(marker)
    own = Grid(_STEP_MM, *marker.at, (letters.shape[0], letters.shape[1]))
    middle = (marker.at[0] + own.shape[0] * _STEP_MM / 2, marker.at[1] + own.shape[1] * _STEP_MM / 2)
    if grid.around(middle, max(own.shape) * _STEP_MM / 2) is None:
        return None
    return np.asarray(marker.strength * resampled(letters, own, grid), dtype=np.float32)


@lru_cache(maxsize=64)
def _letters(marker: Marker) -> Array:
    """Return the letters 0..1 with an empty border."""
    font = ImageFont.load_default(size=round(1.4 * marker.height_mm / _STEP_MM))
    left, top, right, bottom = (round(c) for c in font.getbbox(marker.text))
    border = round(1.5 / _STEP_MM)
    size = (right - left + 2 * border, bottom - top + 2 * border)
    picture = Image.new("L", size)
    canvas = ImageDraw.Draw(picture)
    canvas.text((border - left, border - top), marker.text, fill=255, font=font)
    if marker.boxed:
        canvas.rectangle((1, 1, size[0] - 3, size[1] - 3), outline=255, width=2)
    found = np.asarray(picture, dtype=np.float32) / 255
    return np.ascontiguousarray(found[:, ::-1] if marker.mirrored else found)
