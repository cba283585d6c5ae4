"""Generated mammograms are repeatable, agree between views and windows, and their truth lies where the lesions are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from pipelines.mammography_cad.phantom import VIEWS, PhantomLesion, PhantomView, exam, patch
from pipelines.mammography_cad.phantom.lesions import Mass
from pipelines.mammography_cad.phantom.placing import scenes


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
    for seed in range(2):
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


def _contrast(view: PhantomView, lesion: PhantomLesion) -> float:
    """Return the lesion's mean grey over its ring's, in deviations of the ring."""
    inside = np.zeros(view.array.shape, dtype=bool)
    row, column = lesion.offset
    inside[row : row + lesion.mask.shape[0], column : column + lesion.mask.shape[1]] = lesion.mask
    gap = ndimage.distance_transform_edt(~inside)
    ring = (gap > 2) & (gap <= max(4, 0.6 * lesion.radius)) & (view.array > 0)
    return float((view.array[inside].mean() - view.array[ring].mean()) / view.array[ring].std())


def _masses(n: int) -> Iterator[tuple[PhantomView, PhantomLesion]]:
    """Draw windows of 51 mm around masses of CC views, one a window."""
    found = 0
    for seed in range(200):
        for mass in scenes(seed, (240.0, 192.0), None, None, ("L CC",))[0].lesions:
            if isinstance(mass, Mass) and mass.kind == "mass" and found < n:
                found += 1
                corner = tuple(max(0, round(c / 0.8) - 32) for c in mass.at)
                view = patch(seed, "L CC", (*corner, 64, 64), spacing_mm=0.8)  # type: ignore[arg-type]
                yield view, max(view.lesions, key=lambda each: each.mask.sum() * (each.kind == "mass"))


def test_masses_stand_out_from_their_ring_but_not_all_of_them_by_much() -> None:
    found = [_contrast(view, mass) for view, mass in _masses(16)]
    assert np.mean(np.array(found) > 0.5) >= 0.8
    assert 0.8 < np.median(found) < 5


def _power_slope(array: np.ndarray) -> float:
    """Return the slope of the power spectrum of a square over 0.03 to 0.2 cycles a pixel."""
    n = array.shape[0]
    window = np.hanning(n)[:, None] * np.hanning(n)[None, :]
    power = np.abs(np.fft.fft2((array - array.mean()) * window)) ** 2
    f = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    kept = (f > 0.03) & (f < 0.2)
    return -float(np.polyfit(np.log(f[kept]), np.log(power[kept]), 1)[0])


def test_texture_is_as_rough_as_that_of_real_breasts() -> None:
    windows = [patch(seed, "L CC", (252, 40, 96, 96), spacing_mm=0.4).array for seed in range(5)]
    slopes = [_power_slope(w) for w in windows if (w > 0).all()]
    assert 2.3 < np.median(slopes) < 3.6


def test_a_marker_lies_beside_the_breast_on_the_side_away_from_the_chest_wall() -> None:
    views = {v.name: v.array for v in exam(0, spacing_mm=0.8, lesions=0, views=("R CC", "L CC"))}
    letters = {name: np.argwhere(_beside(array)) for name, array in views.items()}
    assert all(len(places) > 20 for places in letters.values())
    assert letters["R CC"][:, 1].mean() < 120 < letters["L CC"][:, 1].mean()


def _beside(array: np.ndarray) -> np.ndarray:
    """Return what is bright but not part of the largest bright thing."""
    parts, n = ndimage.label(array > 0.02, structure=np.ones((3, 3)))
    sizes = ndimage.sum(array > 0.02, parts, range(1, n + 1))
    return np.asarray((parts > 0) & (parts != 1 + int(np.argmax(sizes))))
