"""Lesions followed over two studies: what changed is called so, and lying differently in the scanner is no change."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pacsai.changes import Change
from pacsai.sequences import Known
from pipelines.brain_lesions.change import Followed, Pair, changed, follow, moved, resolution_on
from tests.pipelines.brain_lesions.scans import add, ellipsoid, head, labelled, scanned

EYE = np.eye(4)
SHAPE = (40, 40, 60)
SLICES_MM = [(1.0, 1.0, 1.0), (3.0, 1.0, 1.0), (5.0, 1.0, 1.0)]


def balls(*places: tuple[int, int, int, float]) -> NDArray[np.int32]:
    """Return a label map of balls (k, j, i, radius), numbered in the order given."""
    labels = np.zeros(SHAPE, dtype=np.int32)
    for number, (k, j, i, radius) in enumerate(places, start=1):
        labels[ellipsoid(SHAPE, np.array([k, j, i]), np.full(3, radius))] = number
    return labels


def followed(current: NDArray[np.int32], prior: NDArray[np.int32], *known: Known) -> tuple[Followed, ...]:
    return follow(Pair(current, prior, EYE), known)


def known(uid: str, kji: tuple[float, float, float], volume_mm3: float | None = None) -> Known:
    return Known(uid, f"Lesion {uid}", kji[::-1], volume_mm3)


@pytest.mark.parametrize("slices_mm", SLICES_MM)
@pytest.mark.parametrize("seed", [100, 101])
def test_lying_differently_is_no_change(slices_mm: tuple[float, float, float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = head(rng, least_mm3=30 if slices_mm[0] < 5 else 150)  # thinner than a slice: seen or not by chance
    prior, current = (scanned(truth, slices_mm, rng) for _ in range(2))
    found = follow(Pair(current, prior, EYE, resolution_mm=slices_mm))
    assert {one.change for one in found} <= {Change.STABLE, None}
    assert sum(one.change is Change.STABLE for one in found) > 0.85 * current.max()


@pytest.mark.parametrize(("slices_mm", "least_mm3"), list(zip(SLICES_MM, (100, 100, 200), strict=True)))
def test_new_lesions_of_100_mm3_are_found(slices_mm: tuple[float, float, float], least_mm3: float) -> None:
    rng = np.random.default_rng(7)
    before = head(rng, 8)
    after = before.copy()
    planted = [add(after, rng, volume_mm3) for volume_mm3 in np.geomspace(least_mm3, 1500, 10)]
    prior, current = scanned(before, slices_mm, rng), scanned(after, slices_mm, rng)
    found = follow(Pair(current, prior, EYE, resolution_mm=slices_mm))
    new = [one.label for one in found if one.change is Change.NEW]
    hits = sum(bool(set(np.unique(current[lesion])) & set(new)) for lesion in planted)
    assert hits >= 0.9 * len(planted)
    assert len(new) <= len(planted)


def test_a_doubled_a_halved_a_vanished_and_an_equal_lesion() -> None:
    prior = balls((10, 10, 10, 4), (10, 30, 10, 5), (30, 10, 10, 4), (30, 30, 40, 4))
    current = balls((10, 10, 10, 5.1), (10, 30, 10, 3.5), (30, 30, 41, 4))
    changes = {one.prior_labels: one.change for one in followed(current, prior)}
    assert changes == {
        (1,): Change.ENLARGING,
        (2,): Change.SHRINKING,
        (3,): Change.GONE,
        (4,): Change.STABLE,
    }


def test_volumes_stand_beside_each_other() -> None:
    grown, gone = followed(balls((10, 10, 10, 5)), balls((10, 10, 10, 3), (30, 30, 30, 3)))
    assert (grown.volume_mm3, grown.prior_volume_mm3) == (515.0, 123.0)
    assert (gone.label, gone.volume_mm3, gone.prior_volume_mm3) == (0, 0.0, 123.0)
    assert gone.centre_mm == pytest.approx((30, 30, 30))


@pytest.mark.parametrize(
    ("volume_mm3", "prior_mm3", "change"),
    [
        (59, 50, Change.STABLE),  # a small lesion's border is much of it
        (120, 50, Change.ENLARGING),
        (11000, 10000, Change.STABLE),
        (13000, 10000, Change.ENLARGING),
        (7000, 10000, Change.SHRINKING),
    ],
)
def test_what_counts_as_change_depends_on_the_size(volume_mm3: float, prior_mm3: float, change: Change) -> None:
    surface_mm2 = 4 * np.pi * (3 * prior_mm3 / (4 * np.pi)) ** (2 / 3)
    assert changed(volume_mm3, prior_mm3, 0.5 * surface_mm2) is change


def test_lesions_that_merge_are_compared_with_their_sum() -> None:
    prior = balls((20, 20, 20, 4), (20, 20, 30, 4))
    current = (prior > 0).astype(np.int32)
    current[20, 20, 24:27] = 1  # a thin bridge
    (one,) = followed(current, prior, known("1", (20, 20, 20)), known("2", (20, 20, 30)))
    assert one.change is Change.STABLE
    assert one.prior_labels == (1, 2)
    assert one.remarks == ("merged from 2 lesions of the earlier study",)
    assert one.tracking_uid in ("1", "2")


def test_the_pieces_of_a_split_lesion_are_compared_together_and_one_keeps_its_name() -> None:
    current = balls((20, 20, 20, 4), (20, 20, 30, 4.5))
    prior = (current > 0).astype(np.int32)
    prior[20, 20, 24:27] = 1
    small, large = followed(current, prior, known("9", (20, 20, 25)))
    assert {small.change, large.change} == {Change.STABLE}
    assert (small.tracking_uid, large.tracking_uid) == ("", "9")
    assert small.prior_volume_mm3 + large.prior_volume_mm3 == pytest.approx((prior > 0).sum())  # type: ignore[operator]


def test_a_neighbour_of_an_old_lesion_is_new() -> None:
    old, new = followed(balls((20, 20, 20, 4), (20, 20, 30, 4)), balls((20, 20, 20, 4)))
    assert (old.change, new.change) == (Change.STABLE, Change.NEW)


def test_a_new_lesion_grown_into_a_large_one_makes_it_enlarging() -> None:
    prior = (balls((20, 20, 20, 10)) > 0).astype(np.int32)
    current = ((prior > 0) | (balls((20, 20, 33, 4)) > 0)).astype(np.int32)
    (one,) = followed(current, prior)
    assert one.volume_mm3 < 1.1 * prior.sum()
    assert one.change is Change.ENLARGING
    assert one.remarks[0].endswith("lies where nothing was")


def test_names_are_carried_over_from_the_nearest_known_lesion() -> None:
    lesions = balls((20, 20, 20, 4), (20, 20, 40, 4), (30, 30, 50, 3))
    near, second = known("near", (21, 20, 40)), known("second", (20, 22, 42))
    first, taken, nameless = followed(lesions, lesions, second, near, known("far", (5, 5, 5)), known("a", (20, 20, 19)))
    assert [one.tracking_uid for one in (first, taken, nameless)] == ["a", "near", ""]
    assert taken.known_as == "Lesion near"


def test_known_lesions_are_moved_into_the_current_frame() -> None:
    to_current = np.eye(4)
    to_current[:3, 3] = (1, 2, 3)
    (one,) = moved([known("1", (20, 20, 20))], to_current)
    assert one.centre_mm == (21, 22, 23)


def test_a_lesion_that_the_earlier_report_knew_is_not_new() -> None:
    lesion = balls((20, 20, 20, 4))
    same, grown = (followed(lesion, np.zeros_like(lesion), known("1", (20, 21, 20), v))[0] for v in (None, 100.0))
    assert (same.change, same.tracking_uid) == (Change.STABLE, "1")
    assert (grown.change, grown.prior_volume_mm3) == (Change.ENLARGING, 100.0)


def test_what_the_earlier_study_does_not_show_is_not_called_new() -> None:
    lesion = balls((20, 20, 20, 4))
    shown = np.zeros(SHAPE, dtype=bool)
    (one,) = follow(Pair(lesion, np.zeros_like(lesion), EYE, comparable=shown))
    assert one.change is None
    assert follow(Pair(np.zeros_like(lesion), lesion, EYE, comparable=shown)) == ()


def test_a_lesion_at_the_edge_of_being_seen_is_neither_new_nor_gone() -> None:
    lesion, nothing = balls((20, 20, 20, 4)), balls()
    (one,) = follow(Pair(lesion, nothing, EYE, suspected_then=lesion > 0))
    assert one.change is Change.STABLE
    assert follow(Pair(nothing, lesion, EYE, suspected_now=lesion > 0)) == ()


def test_specks_are_neither_new_nor_gone() -> None:
    speck, nothing = balls((20, 20, 20, 1)), balls()
    (one,) = followed(speck, nothing)
    assert one.change is None
    assert followed(nothing, speck) == ()
    (grown,) = followed(balls((20, 20, 20, 1.5)), speck)
    assert grown.change is Change.STABLE


def test_without_lesions_there_is_nothing_to_follow() -> None:
    assert followed(balls(), balls()) == ()


def test_resolution_is_the_coarser_studys_along_the_grid() -> None:
    axial, sagittal = np.diag([0.9, 0.8, 5.0, 1.0]), np.diag([1.0, 1.0, 1.0, 1.0])
    sagittal[:3, :3] = [[0, 0, 3.0], [1, 0, 0], [0, -1, 0]]
    assert resolution_on(EYE, axial) == pytest.approx((5.0, 0.8, 0.9))
    assert resolution_on(EYE, sagittal, axial) == pytest.approx((5.0, 1.0, 3.0))


def test_the_scans_of_these_tests_keep_the_lesions() -> None:
    truth = head(np.random.default_rng(3))
    again = scanned(truth, (1.0, 1.0, 1.0), np.random.default_rng(4)) > 0
    assert 2 * (truth & again).sum() / (truth.sum() + again.sum()) > 0.75
    assert labelled(truth).max() == 12
