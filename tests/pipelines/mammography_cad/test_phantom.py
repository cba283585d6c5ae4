"""Generated mammograms are repeatable, agree between views and windows, and their truth lies where the lesions are."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.mammography_cad.phantom import VIEWS, PhantomView, exam, patch


@pytest.fixture(scope="module")
def views() -> tuple[PhantomView, ...]:
    return exam(4, spacing_mm=0.8, lesions=2)


def test_four_views_in_hanging_order(views: tuple[PhantomView, ...]) -> None:
    assert tuple(v.name for v in views) == VIEWS
    assert {v.array.shape for v in views} == {(300, 240)}
    assert all(v.array.dtype == np.float32 and v.array.min() >= 0 and v.array.max() <= 1 for v in views)


def test_the_same_seed_gives_the_same_pixels(views: tuple[PhantomView, ...]) -> None:
    (again,) = exam(4, spacing_mm=0.8, lesions=2, views=("L CC",))
    np.testing.assert_array_equal(again.array, views[1].array)


def test_the_chest_wall_is_on_the_breasts_own_side(views: tuple[PhantomView, ...]) -> None:
    for view in views:
        wall, other = view.array[150, ::-1][[0, -1]] if view.name[0] == "R" else view.array[150, [0, -1]]
        assert wall > other == 0


def test_lesions_are_in_the_breast_and_at_like_distances_to_the_nipple() -> None:
    for seed in range(3):
        far: dict[str, list[float]] = {}
        for view in exam(seed, spacing_mm=1.6, lesions=1):
            for lesion in view.lesions:
                row, column = (round(c) for c in lesion.centre)
                assert view.array[row, column] > 0
                gap = np.hypot(*np.subtract(lesion.centre, view.nipple)) * 1.6
                far.setdefault(view.name[0], []).append(float(gap))
        assert all(max(d) - min(d) < 20 for d in far.values())


def test_a_window_agrees_with_the_whole() -> None:
    (whole,) = exam(3, spacing_mm=0.4, views=("R MLO",))
    part = patch(3, "R MLO", (200, 300, 128, 128), spacing_mm=0.4)
    there = whole.array[200:328, 300:428]
    assert np.corrcoef(part.array.ravel(), there.ravel())[0, 1] > 0.95


def test_raw_values_fall_where_the_breast_is() -> None:
    (view,) = exam(3, spacing_mm=1.6, views=("L CC",), for_processing=True)
    assert view.array[75, 5] < 0.5 * view.array[75, -1]
