"""The summary page: top findings as pictures, their numbers as a table, and words; for viewers that show no more."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Finding, Mask, Outcome, Result
from pacsai.objects.contour import largest_section, outlines
from pacsai.objects.gsps import caption
from pacsai.objects.trend import plot
from pacsai.objects.window import window_for
from pacsai.render.draw import MARK, QUIET, WORDS, Canvas, Place, grey
from pacsai.volume import Volume
from pacsai.volume.stack import spacing_of

WIDTH, MARGIN = 1024, 24
MOST_PICTURES, IN_A_ROW = 6, 3
PICTURE = (WIDTH - (IN_A_ROW + 1) * MARGIN) // IN_A_ROW
CROP_MM = 60.0
LINE, TITLE_SIZE, TEXT_SIZE = 26, 30, 17
LETTERS_IN_A_LINE = 105
DISCLAIMER = f"{RESEARCH_USE_ONLY}. Made by a machine, not verified. Not for diagnosis."
HEADINGS = ("", "finding", "size mm", "volume mm³", "mean HU", "probability", "image")
COLUMNS = (MARGIN, 60, 480, 610, 740, 840, 950)
FOLLOWED_HEADINGS = ("", "finding", "volume mm³", "before mm³", "change", "probability", "image")
"""In place of size and attenuation where findings are followed over time."""
_SAID = {
    Outcome.FINDINGS: "{count} finding{s}",
    Outcome.NO_FINDING: "No finding",
    Outcome.NOT_ANALYSED: "Not analysed",
}


def page(result: Result, volume: Volume | None, title: str, footer: str) -> Image.Image:
    """Draw the summary page of a result.

    Parameters
    ----------
    result : Result
        Any outcome. The findings come in their own order; the first six get a picture, all a line in the table.
    volume : Volume or None
        What was analysed; without it there are no pictures.
    title, footer : str
        First and last line: the pipeline's name, and its version.

    Returns
    -------
    PIL.Image.Image
        RGB, 1024 pixels wide and as high as needed.
    """
    pictures = _pictures(result.findings, volume) if volume is not None else []
    said = sentences(result)
    trend = plot(result)
    rows = math.ceil(len(pictures) / IN_A_ROW)
    table = len(result.findings) + 1 if result.findings else 0
    height = 3 * MARGIN + TITLE_SIZE + rows * (PICTURE + LINE + MARGIN) + (len(said) + table + 4) * LINE
    height += trend.height + MARGIN if trend is not None else 0
    sheet = Sheet(Canvas((WIDTH, height)), MARGIN)
    sheet.say(title, size=TITLE_SIZE, step=TITLE_SIZE + MARGIN // 2)
    sheet.say(DISCLAIMER, MARK)
    for sentence in said:
        sheet.say(sentence)
    sheet.skip(MARGIN // 2)
    sheet.put(pictures)
    if result.findings:
        sheet.tabulate(_table(result, volume))
    if trend is not None:
        sheet.canvas.image.paste(trend, (MARGIN, sheet.y + MARGIN // 2))
        sheet.skip(trend.height + MARGIN // 2)
    sheet.skip(MARGIN // 2)
    sheet.say(footer, QUIET)
    return sheet.canvas.image


@dataclass(slots=True)
class Sheet:
    """A page that is filled from top to bottom; `y` is where it goes on."""

    canvas: Canvas
    y: int

    def skip(self, pixels: int) -> None:
        """Leave room."""
        self.y += pixels

    def say(self, text: str, colour: tuple[int, int, int] = WORDS, size: float = TEXT_SIZE, step: int = LINE) -> None:
        """Write a line."""
        self.canvas.words(text, (MARGIN, self.y), colour, size)
        self.y += step

    def put(self, pictures: Sequence[tuple[Image.Image, str]]) -> None:
        """Paste pictures with their captions, three in a row."""
        for start in range(0, len(pictures), IN_A_ROW):
            for place, (picture, words) in enumerate(pictures[start : start + IN_A_ROW]):
                x = MARGIN + place * (PICTURE + MARGIN)
                self.canvas.image.paste(picture, (x, self.y))
                self.canvas.words(words, (x, self.y + PICTURE + 4), WORDS, TEXT_SIZE)
            self.y += PICTURE + LINE + MARGIN

    def tabulate(self, lines: Sequence[Sequence[str]], columns: Sequence[int] = COLUMNS) -> None:
        """Write a table, its headings in the first of the lines; `columns` is where each begins."""
        for number, line in enumerate(lines):
            self._line(line, columns, WORDS if number else QUIET)

    def _line(self, cells: Sequence[str], columns: Sequence[int], colour: tuple[int, int, int]) -> None:
        for x, cell in zip(columns, cells, strict=True):
            self.canvas.words(cell, (x, self.y), colour, TEXT_SIZE)
        self.y += LINE


def sentences(result: Result) -> list[str]:
    """Return what is said of a result in words: the outcome, its reason, and the remarks, broken into lines."""
    count = len(result.findings)
    said = _SAID[result.outcome].format(count=count, s="" if count == 1 else "s")
    told = () if _is_followed(result) else result.findings  # theirs stand in the table: there may be a hundred
    remarks = [f"{finding.label}: {remark}" for finding in told for remark in finding.remarks]
    compared = [result.earlier.sentence(finding.change for finding in result.findings)] if result.earlier else []
    exam = result.reading.sentences if result.reading else ()
    outcome = f"{said}: {result.reason}" if result.reason else f"{said}."
    whole = [outcome, *exam, *compared, *result.remarks, *remarks]
    return [line for sentence in whole for line in textwrap.wrap(sentence, LETTERS_IN_A_LINE)]


def _table(result: Result, volume: Volume | None) -> list[tuple[str, ...]]:
    """Return the headings and a line for each finding."""
    headings, cells = (FOLLOWED_HEADINGS, _followed_cells) if _is_followed(result) else (HEADINGS, _cells)
    return [headings, *(cells(number, finding, volume) for number, finding in enumerate(result.findings, start=1))]


def _is_followed(result: Result) -> bool:
    """Tell whether volumes over time matter more than size and attenuation: compared, or totals told."""
    return result.earlier is not None or bool(result.totals)


def _followed_cells(number: int, finding: Finding, volume: Volume | None) -> tuple[str, ...]:
    return (
        str(number),
        _what_and_where(finding, *finding.remarks),
        _number(finding.value(terms.VOLUME)),
        _number(finding.prior_volume_mm3),
        str(finding.change or ""),
        _probability(finding),
        _image_number(finding, volume),
    )


def _cells(number: int, finding: Finding, volume: Volume | None) -> tuple[str, ...]:
    axes = [finding.value(axis) for axis in (terms.LONG_AXIS, terms.SHORT_AXIS)]
    size = " × ".join(f"{axis:.1f}" for axis in axes if axis is not None)
    return (
        str(number),
        _what_and_where(finding),
        size,
        _number(finding.value(terms.VOLUME)),
        _number(finding.value(terms.ATTENUATION)),
        _probability(finding),
        _image_number(finding, volume),
    )


def _what_and_where(finding: Finding, *remarks: str) -> str:
    where = " ".join(code.meaning.lower() for code in (finding.laterality, finding.site) if code)
    return textwrap.shorten(", ".join(filter(None, (finding.kind.meaning.lower(), where, *remarks))), 48)


def _probability(finding: Finding) -> str:
    return "" if finding.probability is None else f"{finding.probability:.2f}"


def _image_number(finding: Finding, volume: Volume | None) -> str:
    """Return the number of the image (of the frame, where the image has many) with the finding's largest section."""
    if finding.mask is None or volume is None:
        return ""
    k = finding.mask.offset_kji[0] + largest_section(finding.mask.array)
    return str(volume.source[k].header.get("InstanceNumber", "")) if len(volume.source) > 1 else str(k + 1)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _pictures(findings: Sequence[Finding], volume: Volume) -> list[tuple[Image.Image, str]]:
    """Return a crop round each of the first findings with a mask, and its caption."""
    return [
        (_crop(finding.mask, volume), caption(number, finding))
        for number, finding in enumerate(findings, start=1)
        if finding.mask is not None
    ][:MOST_PICTURES]


def _crop(mask: Mask, volume: Volume) -> Image.Image:
    """Draw the largest section of a mask with what lies round it, square in millimetres."""
    section = largest_section(mask.array)
    middle = np.argwhere(mask.array[section]).mean(axis=0) + mask.offset_kji[1:] + 0.5
    spacing_mm = np.array(spacing_of(volume.affine)[1:])
    side_mm = max(CROP_MM, 1.5 * float(np.max(mask.array.shape[1:] * spacing_mm)))
    size = np.maximum(np.round(side_mm / spacing_mm), 1).astype(int)
    corner = np.round(middle - size / 2).astype(int)
    canvas = Canvas((PICTURE, PICTURE))
    shades = grey(_window(volume.array[mask.offset_kji[0] + section], corner, size), window_for(volume))
    canvas.picture(shades, (0, 0, PICTURE, PICTURE))
    top, left = (float(v) for v in corner - mask.offset_kji[1:])
    place = Place((left, top), (PICTURE / float(size[1]), PICTURE / float(size[0])))
    for outline in outlines(mask.array[section]):
        canvas.line(place(outline))
    return canvas.image


def _window(plane: NDArray[np.float32], corner: NDArray[np.int_], size: NDArray[np.int_]) -> NDArray[np.float32]:
    """Return `size` rows and columns of a plane from `corner` on, minus infinity where they lie outside."""
    window = np.full(tuple(size), -np.inf, dtype=np.float32)
    low, high = np.maximum(corner, 0), np.minimum(corner + size, plane.shape)
    inner = tuple(slice(a, b) for a, b in zip(low - corner, high - corner, strict=True))
    window[inner] = plane[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return window
