"""Grey pictures with lines and words on them: what the renderer and the summary page draw with.

Knows nothing of DICOM objects; points are in the PIXEL coordinates of PS3.3 C.10.5 (see `objects/contour.py`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
Window = tuple[float, float]
"""Centre and width of a VOI window, in modality units (HU for CT)."""

LUNG_WINDOW: Window = (-600.0, 1500.0)
MARK: Colour = (255, 214, 0)
WORDS: Colour = (235, 235, 235)
QUIET: Colour = (150, 150, 150)
_SIGNS = str.maketrans({"×": "x", "–": "-", "—": "-", "≥": ">=", "≤": "<=", "’": "'", "ß": "ss", "ø": "o", "Ø": "O"})


def grey(values: NDArray[np.generic], window: Window) -> NDArray[np.uint8]:
    """Return `values` through the linear VOI function of PS3.3 C.11.2.1.2.1, 0 to 255, of the same shape."""
    centre, width = window
    level = (np.asarray(values, dtype=np.float64) - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5
    return np.asarray(np.rint(np.clip(level, 0, 1) * 255), dtype=np.uint8)


def font(size: float) -> ImageFont.FreeTypeFont:
    """Return the letters that Pillow brings along, so that pictures look the same on every machine."""
    return ImageFont.load_default(size)  # type: ignore[return-value]  # without FreeType, which our Pillow has


def plain(text: str) -> str:
    """Return `text` in the letters that the built-in font has: accents dropped, signs spelt, the rest as "?"."""
    spelt = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    return "".join(sign if sign.isascii() else "?" for sign in spelt if not unicodedata.combining(sign))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of an image lies on a canvas.

    Attributes
    ----------
    corner : (column, row)
        Image position, in PIXEL coordinates, of the part's top left corner.
    scale : (x, y)
        Canvas pixels for one image pixel along columns and along rows.
    at : (x, y)
        Canvas position of the part's top left corner.
    """

    corner: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    at: tuple[float, float] = (0.0, 0.0)

    def __call__(self, points: ArrayLike) -> list[tuple[float, float]]:
        """Return canvas positions of image `points` (n, 2), as Pillow counts: a pixel's centre is whole."""
        placed = (np.asarray(points, dtype=np.float64) - self.corner) * self.scale + self.at - 0.5
        return [(float(x), float(y)) for x, y in placed]


class Canvas:
    """An RGB picture under way."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.image = Image.new("RGB", size)
        self._pen = ImageDraw.Draw(self.image)

    def picture(self, pixels: NDArray[np.uint8], box: tuple[int, int, int, int]) -> None:
        """Put grey `pixels` [j, i] into the canvas box (left, top, right, bottom), stretched to fill it."""
        left, top, right, bottom = box
        size = (right - left, bottom - top)
        part = Image.fromarray(pixels)
        if part.size != size:
            part = part.resize(size, Image.Resampling.BICUBIC)
        self.image.paste(part.convert("RGB"), (left, top))

    def line(self, points: Sequence[tuple[float, float]], colour: Colour = MARK, width: int = 1) -> None:
        """Draw a polyline through canvas positions."""
        self._pen.line([self._pixel(point) for point in points], fill=colour, width=width)

    def area(self, points: Sequence[tuple[float, float]], colour: Colour = MARK) -> None:
        """Fill a polygon of canvas positions."""
        self._pen.polygon([self._pixel(point) for point in points], fill=colour)

    def dot(self, point: tuple[float, float], colour: Colour = MARK, radius: int = 2) -> None:
        """Draw a small square round a canvas position."""
        x, y = self._pixel(point)
        self._pen.rectangle((x - radius, y - radius, x + radius, y + radius), fill=colour)

    def words(
        self, text: str, at: tuple[float, float], colour: Colour = WORDS, size: float = 16, anchor: str = "la"
    ) -> None:
        """Write `text` with its `anchor` (Pillow's letters: l, m, r and a, m, d) at a canvas position."""
        self._pen.text(
            at, plain(text), fill=colour, font=font(size), anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0)
        )

    def _pixel(self, point: tuple[float, float]) -> tuple[int, int]:
        """Return the canvas pixel of a position; what lies on the right or lower edge belongs to the last pixel."""
        x, y = (int(np.floor(value + 0.5)) for value in point)
        width, height = self.image.size
        return x - (x == width), y - (y == height)
