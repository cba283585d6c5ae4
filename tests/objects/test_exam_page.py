"""The page of an exam: R CC and L CC above R MLO and L MLO, chest walls together, however the images are stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pacsai import terms
from pacsai.exam import View
from pacsai.finding import Finding, Result
from pacsai.mammography import read_exam
from pacsai.objects.exam_page import exam_page, turned
from pacsai.reading import Spot
from pacsai.render.draw import MARK
from pacsai.selection.mg import mammograms
from tests import exams
from tests.objects.test_gsps import marked_pixels

DOT = (100, 60, 6)


def views(folder: Path, flipped: str = "", names: tuple[str, ...] = exams.VIEWS, **header: object) -> tuple[View, ...]:
    """Return views with one bright square each, stored flipped."""
    for name in names:
        array = exams.breast(name, (dot_of(name),))
        array = array[:, ::-1] if "across" in flipped else array
        array = array[::-1] if "down" in flipped else array
        exams.write_view(folder, name, np.ascontiguousarray(array), flipped=flipped, **header)  # type: ignore[arg-type]
    found = mammograms(exams.study_in(folder))
    return read_exam(found.chosen, found.missing).views


def dot_of(name: str) -> exams.Dot:
    row, column, half = DOT
    return row, exams.SHAPES[name][1] - 1 - column if name[0] == "R" else column, half


def result(of: tuple[View, ...]) -> Result:
    """Return a finding round the brightest pixels of each view."""
    return Result.of(tuple(map(_finding, of)))


def _finding(view: View) -> Finding:
    j, i = np.nonzero(view.array >= 1)
    top, bottom, left, right = j.min() - 0.5, j.max() + 0.5, i.min() - 0.5, i.max() + 0.5
    corners = ((top, left), (top, right), (bottom, right), (bottom, left))
    spot = Spot(view.name, (float(j.mean()), float(i.mean())), tuple((float(a), float(b)) for a, b in corners))
    return Finding(kind=terms.BREAST_MASS, label=view.name, probability=0.5, on=spot)


def drawn(of: tuple[View, ...]) -> NDArray[np.uint8]:
    return np.asarray(exam_page(result(of), of, "AI", "end"))


@pytest.mark.parametrize("flipped", ["across", "down", "across and down"])
def test_flipped_images_hang_as_the_others(flipped: str, tmp_path: Path) -> None:
    usual, other = drawn(views(tmp_path / "usual")), drawn(views(tmp_path / "flipped", flipped))
    assert usual.shape == other.shape
    assert (np.abs(usual.astype(int) - other).max(axis=2) > 40).mean() < 0.003  # lines may lie a pixel beside


def test_chest_walls_meet_in_the_middle_and_marks_lie_round_what_they_mark(tmp_path: Path) -> None:
    page = drawn(views(tmp_path / "exam"))
    rows = page[: page.shape[0] // 2, :, 0].max(axis=1) > 0
    assert rows.any()
    middle = page.shape[1] // 2
    grey = (page == page[:, :, :1]).all(axis=2) & (page[:, :, 0] > 30)
    assert grey[:, middle - 40 : middle + 40].mean() > 2 * grey[:, :80].mean()
    bright = (page == 255).all(axis=2)
    inside = marked_pixels(page, *page.shape[:2])
    boxes = (page == MARK).all(axis=2)
    assert boxes.sum() > 400
    assert (bright[200:] & inside[200:]).sum() > 0.5 * bright[200:].sum()


def test_without_orientation_the_side_with_more_tissue_is_the_chest_wall(tmp_path: Path) -> None:
    for flipped, wanted in (("", False), ("across", True)):
        for view in views(tmp_path / (flipped or "usual"), flipped, PatientOrientation=None):
            assert turned(view) == (wanted, False)


def test_a_missing_view_leaves_its_place_and_one_without_spacing_is_drawn(tmp_path: Path) -> None:
    two = views(tmp_path / "two", names=("L CC", "R MLO"), spacing_mm=None)
    assert two[0].spacing_mm is None
    page = drawn(two)
    assert page.shape[1] == 1024
    assert (page == MARK).all(axis=2).any()
