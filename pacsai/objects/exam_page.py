"""The summary page of an exam: the four views as radiologists hang them with their marks, a table, and words.

R CC and L CC stand above R MLO and L MLO, chest walls facing each other, whatever way an image was stored.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsai import terms
from pacsai.exam import View
from pacsai.finding import Finding, Result
from pacsai.objects import spots
from pacsai.objects.gsps import SHORT_WORDS
from pacsai.objects.page import DISCLAIMER, LINE, MARGIN, TEXT_SIZE, TITLE_SIZE, WIDTH, Sheet, sentences
from pacsai.reading import Spot
from pacsai.render.draw import MARK, QUIET, WORDS, Canvas, Place, grey
from pacsai.study.header import values

HUNG = (("R CC", "L CC"), ("R MLO", "L MLO"))
BOX = (WIDTH // 2 - MARGIN, 560)
"""Width and height that each view has."""
NUMBER_SIZE = 20
LEVELS, FULL_RANGE = 255, (128.0, 256.0)
"""What the values 0 to 1 of a view are spread to, and the window that shows it all."""
HEADINGS = ("", "finding", "view", "size mm", "probability", "as part of")
COLUMNS = (MARGIN, 60, 470, 600, 720, 850)
_OPPOSITE = {"A": "P", "P": "A", "L": "R", "R": "L", "F": "H", "H": "F"}
_ROWS_RUN = {"R": "P", "L": "A"}
"""Where a row runs, left to right, when the chest wall is at the middle of the page."""
_COLUMNS_RUN = {("R", "CC"): "L", ("L", "CC"): "R", ("R", "MLO"): "F", ("L", "MLO"): "F"}
"""Where a column runs, top to bottom: lateral above on CC, head above on MLO."""


def exam_page(result: Result, views: Sequence[View], title: str, footer: str) -> Image.Image:
    """Draw the summary page of an exam.

    Returns
    -------
    PIL.Image.Image
        RGB, 1024 pixels wide and as high as needed.
    """
    said = sentences(result)
    lines = _table(result)
    height = 3 * MARGIN + TITLE_SIZE + 2 * (BOX[1] + MARGIN) + (len(said) + len(lines) + 4) * LINE
    sheet = Sheet(Canvas((WIDTH, height)), MARGIN)
    sheet.say(title, size=TITLE_SIZE, step=TITLE_SIZE + MARGIN // 2)
    sheet.say(DISCLAIMER, MARK)
    for sentence in said:
        sheet.say(sentence)
    sheet.skip(MARGIN // 2)
    by_name, scale = {view.name: view for view in views}, _scale(views)
    for row in HUNG:
        for place, name in enumerate(row):
            _hang(sheet, name, by_name.get(name), scale, result.findings, left=place == 0)
        sheet.skip(BOX[1] + MARGIN)
    sheet.tabulate(lines, COLUMNS)
    sheet.skip(MARGIN // 2)
    sheet.say(footer, QUIET)
    return sheet.canvas.image


def turned(view: View) -> tuple[bool, bool]:
    """Return whether rows are read from right to left, and columns from below, so that a view hangs as it should.

    By Patient Orientation (0020,0020). Where it is missing the chest wall is the side with more tissue, and nothing
    is known of above and below.
    """
    found = [str(value)[:1] for value in values(view.shown.header, "PatientOrientation")]
    wanted = _ROWS_RUN[view.laterality]
    if len(found) == 2 and found[0] in ("A", "P"):
        upright = _COLUMNS_RUN.get((view.laterality, view.view), "F")
        return found[0] != wanted, found[1] == _OPPOSITE[upright]
    columns = view.array.shape[1]
    edge = max(1, columns // 10)
    wall_right = float(view.array[:, -edge:].mean()) > float(view.array[:, :edge].mean())
    return wall_right != (view.laterality == "R"), False


def _scale(views: Sequence[View]) -> float:
    """Return the canvas pixels for a mm at which all views fit."""
    sizes = [np.multiply(view.array.shape, _spacing(view, views)) for view in views]
    return float(min(min(BOX[1] / size[0], BOX[0] / size[1]) for size in sizes))


def _spacing(view: View, views: Sequence[View]) -> tuple[float, float]:
    """Return mm for a row and for a column; a view without spacing is as long as the longest, its pixels square."""
    known = [other.array.shape[0] * other.spacing_mm[0] for other in views if other.spacing_mm]
    if view.spacing_mm:
        return view.spacing_mm
    length = (max(known) if known else 1.0) / view.array.shape[0]
    return length, length


def _hang(sheet: Sheet, name: str, view: View | None, scale: float, findings: Sequence[Finding], *, left: bool) -> None:
    """Draw one view beside the middle of the page, with its marks and its name."""
    middle = WIDTH // 2
    words = (MARGIN if left else WIDTH - MARGIN, sheet.y)
    if view is None:
        sheet.canvas.words(f"{name}: no such view", words, QUIET, TEXT_SIZE, anchor="la" if left else "ra")
        return
    spacing = _spacing(view, [view]) if view.spacing_mm else (BOX[1] / scale / view.array.shape[0],) * 2
    height, width = (max(1, round(n * mm * scale)) for n, mm in zip(view.array.shape, spacing, strict=True))
    width = min(width, BOX[0])
    start = middle - width if left else middle
    across, upside_down = turned(view)
    shades = grey(LEVELS * view.array[:: -1 if upside_down else 1, :: -1 if across else 1], FULL_RANGE)
    sheet.canvas.picture(np.ascontiguousarray(shades), (start, sheet.y, start + width, sheet.y + height))
    rows, columns = view.array.shape
    place = Place((0.0, 0.0), (width / columns, height / rows), (start, sheet.y))
    for number, finding in enumerate(findings, start=1):
        if finding.on is not None and finding.on.view == name:
            _mark(sheet.canvas, place, _flipped(finding.on, view.array.shape, (across, upside_down)), number)
    sheet.canvas.words(name, words, WORDS, TEXT_SIZE, anchor="la" if left else "ra")


def _flipped(
    spot: Spot, shape_ji: tuple[int, ...], flips: tuple[bool, bool]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return centre and outline in PIXEL coordinates of the view as it hangs."""
    size, turn = np.array(shape_ji[::-1], dtype=np.float64), np.array(flips)
    centre, outline = (np.where(turn, size - points, points) for points in (spots.centre(spot), spots.outline(spot)))
    return centre, outline


def _mark(canvas: Canvas, place: Place, drawn: tuple[NDArray[np.float64], NDArray[np.float64]], number: int) -> None:
    centre, outline = drawn
    if len(outline):
        canvas.line(place(outline), width=2)
    else:
        canvas.dot(place(centre)[0])
    x, y = max(place(outline if len(outline) else centre))
    canvas.words(str(number), (min(x + 4, WIDTH - MARGIN), y), MARK, NUMBER_SIZE, anchor="lm")


def _table(result: Result) -> list[tuple[str, ...]]:
    """Return the headings and a line for each finding; nothing where there is none."""
    if not result.findings:
        return []
    belongs = {
        member: joined.label
        for joined in (result.reading.joined if result.reading else ())
        for member in joined.members
    }
    rows = (_cells(number, finding, belongs.get(number - 1, "")) for number, finding in enumerate(result.findings, 1))
    return [HEADINGS, *rows]


def _cells(number: int, finding: Finding, joined: str) -> tuple[str, ...]:
    what = [SHORT_WORDS.get(finding.kind, finding.kind.meaning.lower())]
    what += [str(finding.change)] if finding.change else []
    what += [value.meaning.lower() for _, value in finding.qualities]
    size = finding.value(terms.LONG_AXIS)
    return (
        str(number),
        textwrap.shorten(", ".join(what), 48),
        finding.on.view if finding.on else "",
        "" if size is None else f"{size:.1f}",
        "" if finding.probability is None else f"{finding.probability:.2f}",
        textwrap.shorten(joined, 18),
    )
