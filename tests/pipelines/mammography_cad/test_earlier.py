"""Marks followed from the earlier exam: by their place from the nipple, however the breast lies."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pacsai.changes import Change
from pacsai.exam import View
from pipelines.mammography_cad.anatomy import BreastAnatomy
from pipelines.mammography_cad.detect import SHIPPED, Mark, ReadView
from pipelines.mammography_cad.earlier import Followed, follow
from pipelines.mammography_cad.look import Look
from pipelines.mammography_cad.pairs import summed

NOWHERE = np.zeros((0, 2))
NOTHING = np.zeros((1, 1), dtype=np.bool_)


def mark(at: tuple[float, float], kind: str = "mass", long_mm: float = 10.0, certainty: float = 0.8) -> Mark:
    """Return a mark at (row, column)."""
    return Mark("L CC", kind, at, (), certainty, 0.5, {}, long_mm, 8.0, 0, 50.0)


def read(
    *marks: Mark,
    nipple: tuple[float, float] = (1000.0, 800.0),
    wall: str = "left",
    name: str = "L CC",
    told: bool = True,
) -> ReadView:
    """Return a view of 0.1 mm with these marks."""
    image = np.zeros((1, 1), dtype=np.float32)
    view = View(name, name[0], name[2:], image, (0.1, 0.1) if told else None, False, None, None)  # type: ignore[arg-type]
    look = Look(image[None], image[None], NOTHING, (4.0, 4.0))
    anatomy = BreastAnatomy(NOTHING, NOTHING, wall, NOWHERE, nipple, 0.1, "B")
    return ReadView(view, anatomy, look, tuple(replace(one, view=name) for one in marks), True)


def followed(now: ReadView, before: ReadView) -> Followed:
    return follow(now.marks, [now], [before], SHIPPED)


def test_a_lesion_at_the_same_place_from_the_nipple_is_the_same() -> None:
    now = read(mark((900, 400)))
    assert followed(now, read(mark((940, 380)))).changes == (Change.STABLE,)
    lower = read(mark((1200, 500)), nipple=(1300, 900))
    assert followed(now, lower).changes == (Change.STABLE,)
    other_side = read(mark((900, 1600)), nipple=(1000, 1200), wall="right")
    assert followed(now, other_side).changes == (Change.STABLE,)


@pytest.mark.parametrize(
    "before", [(), (mark((900, 600)),), (mark((900, 400), "calcifications"),), (mark((900, 400), certainty=0.1),)]
)
def test_where_nothing_alike_was_a_lesion_is_new(before: tuple[Mark, ...]) -> None:
    assert followed(read(mark((900, 400))), read(*before)).changes == (Change.NEW,)


def test_one_earlier_lesion_stands_for_one_now_the_nearest() -> None:
    now = read(mark((900, 500)), mark((900, 410)))
    assert followed(now, read(mark((900, 400)))).changes == (Change.NEW, Change.STABLE)


@pytest.mark.parametrize(
    ("was_mm", "change"),
    [(7.0, Change.ENLARGING), (9.0, Change.STABLE), (12.0, Change.STABLE), (14.0, Change.SHRINKING)],
)
def test_growth_is_told_beyond_what_measuring_varies(was_mm: float, change: Change) -> None:
    now, before = read(mark((900, 400))), read(mark((900, 400), long_mm=was_mm))
    assert followed(now, before).changes == (change,)


def test_without_sizes_in_mm_no_growth_is_told() -> None:
    now, before = read(mark((900, 400))), read(mark((900, 400)), told=False)
    assert followed(now, before).changes == (None,)


def test_a_view_that_the_earlier_exam_lacks_is_not_compared() -> None:
    assert followed(read(mark((900, 400))), read(name="L MLO")).changes == (None,)


def test_what_is_not_found_again_is_told_in_words() -> None:
    told = followed(read(), read(mark((900, 400)), mark((500, 400), certainty=0.5))).lost
    assert told == ("L CC: the mass of 10 mm of the earlier exam is not found again",)
    assert followed(read(mark((910, 400), certainty=0.3)), read(mark((900, 400)))).lost == ()


def test_shares_of_pairs_count_marks_that_were_compared() -> None:
    told = summed([Counter({"came since: new": 3, "came since: stable": 1}), Counter({"came since: not compared": 4})])
    assert told["came since: part told as new"] == 3 / 8
