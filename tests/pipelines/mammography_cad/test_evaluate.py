"""The figures of the model card: cases small enough to be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.mammography_cad.choose import Row, at_rate
from pipelines.mammography_cad.detect import Mark
from pipelines.mammography_cad.evaluate import macro_f1, overlaps
from pipelines.mammography_cad.ready import real_images


def square(top: float, left: float, side: float) -> Mark:
    corners = ((top, left), (top, left + side), (top + side, left + side), (top + side, left))
    middle = (top + side / 2, left + side / 2)
    return Mark("L CC", "mass", middle, corners, 0.9, 0.5, {}, 10.0, 8.0, 0, 40.0)


def test_macro_f1_is_the_mean_over_the_words_that_occur() -> None:
    rows = [("round", "round"), ("round", "oval"), ("oval", "oval"), ("oval", "oval")]
    assert macro_f1(rows) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_mark_is_on_a_lesion_by_its_middle_or_a_fifth_of_its_area() -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[40:60, 40:60] = True
    assert overlaps(square(45, 45, 10), mask)
    assert overlaps(square(30, 30, 21), mask)  # 11 by 11 of 22 by 22 pixels
    assert not overlaps(square(30, 30, 14), mask)
    assert not overlaps(square(0, 0, 20), mask)


def test_the_threshold_leaves_so_many_false_marks_an_image() -> None:
    rows: list[Row] = [
        (False, False, 0.9),
        (False, False, 0.6),
        (False, False, 0.2),
        (False, True, 0.7),
        (False, True, 0),
    ]
    assert at_rate(rows, 4, 0.25) == (0.6, 0.5)
    assert at_rate(rows, 4, 1.0) == (0.0, 0.5)


def test_a_real_mask_keeps_masses_and_leaves_lines_and_specks_out(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    j, i = np.mgrid[:200, :200]
    marked = np.zeros((200, 200, 3), np.uint8)
    marked[np.hypot(j - 100, i - 60) < 15, 0] = 255
    marked[150:153, 20:150, 0] = 255
    marked[20, 20, 0] = 255
    grey = np.where(np.hypot(j - 100, i) < 80, 100 + 50 * np.sin(j / 5), 0).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "images" / "flipped_P7_L_DM_CC.jpg")
    Image.fromarray(marked).save(tmp_path / "masks" / "flipped_P7_L_DM_CC.png")
    (one,) = real_images(tmp_path, left_out=False)
    assert (one.name, one.patient, one.malignant, one.oblique) == ("P7_L_DM_CC", 7, True, False)
    assert one.mask[100, 60]
    assert not one.mask[151, 60]
    assert not one.mask[20, 20]
    assert real_images(tmp_path, left_out=True) == []
