"""A FROC curve as a picture: sensitivity against false marks per scan, the rates of the LUNA16 protocol as ticks."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pacsai.evaluate.froc import RATES, Froc

WIDTH, HEIGHT = 720, 520
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 48, 64
INK, GRID, LINE = (20, 20, 20), (220, 220, 220), (0, 90, 170)


def plot(froc: Froc, title: str) -> Image.Image:
    """Return the curve between the first and the last of `RATES`, on a logarithmic axis, as an RGB picture."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(15)
    for rate in RATES:
        x, _ = _pixel(rate, 0)
        draw.line([(x, TOP), (x, HEIGHT - BOTTOM)], GRID)
        draw.text((x, HEIGHT - BOTTOM + 8), f"{rate:g}", INK, font, anchor="mt")
    for tenth in range(11):
        _, y = _pixel(1, tenth / 10)
        draw.line([(LEFT, y), (WIDTH - RIGHT, y)], GRID)
        draw.text((LEFT - 8, y), f"{tenth / 10:.1f}", INK, font, anchor="rm")
    draw.text((WIDTH / 2, TOP / 2), f"{title}, CPM {froc.cpm:.3f}", INK, font, anchor="mm")
    draw.text((WIDTH / 2, HEIGHT - 16), "false marks per scan", INK, font, anchor="mm")
    draw.text((8, TOP - 14), "sensitivity", INK, font, anchor="lm")
    _draw_curve(draw, froc)
    return picture


def _draw_curve(draw: ImageDraw.ImageDraw, froc: Froc) -> None:
    rates = np.geomspace(RATES[0], RATES[-1], 400)
    heights = np.interp(rates, froc.curve[:, 0], froc.curve[:, 1])
    draw.line([_pixel(x, y) for x, y in zip(rates.tolist(), heights.tolist(), strict=True)], LINE, 3)
    for rate, sensitivity in zip(RATES, froc.sensitivities, strict=True):
        x, y = _pixel(rate, sensitivity)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], LINE)


def _pixel(rate: float, sensitivity: float) -> tuple[float, float]:
    """Return the place (x, y) of a point of the curve."""
    along = np.log2(rate / RATES[0]) / np.log2(RATES[-1] / RATES[0])
    return float(LEFT + along * (WIDTH - LEFT - RIGHT)), float(HEIGHT - BOTTOM - sensitivity * (HEIGHT - TOP - BOTTOM))
