"""A small picture of volumes over the studies known: the total, and each finding that is in both studies."""

from __future__ import annotations

from PIL import Image

from pacsai import terms
from pacsai.changes import Change
from pacsai.finding import Result
from pacsai.render.draw import MARK, QUIET, WORDS, Canvas, Colour

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 90, 180, 30, 40
TEXT_SIZE = 14
COLOURS: dict[Change, Colour] = {
    Change.NEW: (255, 120, 90),
    Change.ENLARGING: (255, 120, 90),
    Change.STABLE: QUIET,
    Change.SHRINKING: (110, 200, 255),
    Change.GONE: (110, 200, 255),
}
"""More is warm, less is cold; the total stands out in the colour of marks."""


def plot(result: Result) -> Image.Image | None:
    """Return the trend in mL as an RGB picture; None where nothing was compared."""
    if result.earlier is None:
        return None
    lines = [
        (finding.prior_volume_mm3 or 0.0, finding.value(terms.VOLUME) or 0.0, COLOURS[finding.change])
        for finding in result.findings
        if finding.change
    ]
    before = result.earlier.volume_mm3 if result.earlier.volume_mm3 is not None else sum(then for then, _, _ in lines)
    now = sum(finding.value(terms.VOLUME) or 0.0 for finding in result.findings)
    top = max(before, now, 1.0) * 1.1
    canvas = Canvas((WIDTH, HEIGHT))
    _axes(canvas, result, top)
    for then, after, colour in [*lines, (before, now, MARK)]:
        canvas.line([(LEFT, _y(then, top)), (WIDTH - RIGHT, _y(after, top))], colour, 3 if colour == MARK else 1)
    canvas.words(f"all: {before / 1000:.2f} to {now / 1000:.2f} mL", (LEFT, 8), MARK, TEXT_SIZE)
    return canvas.image


def _axes(canvas: Canvas, result: Result, top: float) -> None:
    """Draw the frame, the scale and the dates, and what the colours mean."""
    low, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    canvas.line([(LEFT, TOP), (LEFT, low), (right, low), (right, TOP)], QUIET)
    for part in (0.0, 0.5, 1.0):
        value = part * top / 1.1
        canvas.words(f"{value / 1000:.2f} mL", (LEFT - 8, _y(value, top)), QUIET, TEXT_SIZE, anchor="rm")
    earlier = result.earlier
    dates = (earlier.study_date, earlier.current_date) if earlier else ()
    for x, date, name in zip((LEFT, right), dates, ("earlier", "now"), strict=False):
        canvas.words(f"{date:%Y-%m-%d}" if date else name, (x, low + 8), WORDS, TEXT_SIZE, anchor="ma")
    for line, (words, colour) in enumerate(
        (("all lesions", MARK), ("new, enlarging", COLOURS[Change.NEW]), ("stable", QUIET),
         ("shrinking, gone", COLOURS[Change.GONE]))
    ):  # fmt: skip
        canvas.words(words, (right + 24, TOP + 22 * line), colour, TEXT_SIZE)


def _y(volume_mm3: float, top_mm3: float) -> float:
    return HEIGHT - BOTTOM - volume_mm3 / top_mm3 * (HEIGHT - BOTTOM - TOP)
