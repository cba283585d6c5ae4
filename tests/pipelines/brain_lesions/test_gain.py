"""What FLAIR itself says of a change: brighter, darker, the same; and lesions that a comparison brings to light."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.changes import Change
from pipelines.brain_lesions.change import UNWITNESSED, Pair, follow, with_still_there
from pipelines.brain_lesions.earlier import APPEARED, STILL_THERE, explained
from pipelines.brain_lesions.gain import gain, with_appeared

SHAPE = (40, 44, 48)
EVERYWHERE = np.ones(SHAPE, dtype=np.bool_)
NO_LABELS = np.zeros(SHAPE, dtype=np.int32)


def ball(radius: float, centre: tuple[float, float, float] = (20, 22, 24)) -> NDArray[np.bool_]:
    """Return a ball of voxels."""
    k, j, i = np.indices(SHAPE)
    return np.asarray((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2 <= radius**2)


def flair(seed: int, *lesions: NDArray[np.bool_], bright: float = 1.5) -> NDArray[np.float32]:
    """Return a noisy image of white matter in which lesions stand out."""
    noise = np.random.default_rng(seed).normal(0, 0.3, SHAPE)
    inside = ndimage.gaussian_filter(np.any([*lesions, ~EVERYWHERE], axis=0).astype(float), 0.6)
    return np.asarray(noise + bright * inside, dtype=np.float32)


def follow_one(now: NDArray[np.bool_], then: NDArray[np.bool_], gained: NDArray[np.float32]) -> list[Change | None]:
    pair = Pair(now.astype(np.int32), then.astype(np.int32), np.eye(4), gained=gained)
    return [one.change for one in follow(pair)]


def test_a_new_lesion_gained_what_it_stands_out_by_and_an_old_one_nothing() -> None:
    old, new = ball(5, (12, 12, 12)), ball(4, (28, 30, 34))
    gained = gain(flair(1, old, new), flair(2, old), EVERYWHERE)
    assert 0.8 < gained[new].mean() < 1.6
    assert abs(gained[old].mean()) < 0.1


def test_a_slow_difference_is_no_gain() -> None:
    slope = np.linspace(-0.5, 0.5, SHAPE[0], dtype=np.float32)[:, None, None]
    gained = gain(flair(1) + slope, flair(2), EVERYWHERE)
    assert np.abs(gained).max() < 0.7
    assert np.abs(gained[10:30]).mean() < 0.15


def test_outside_what_both_show_nothing_is_gained() -> None:
    both = EVERYWHERE.copy()
    both[:10] = False
    gained = gain(flair(1, ball(4, (5, 20, 20))), flair(2), both)
    assert not gained[:10].any()


def test_a_faint_lesion_is_brought_to_light_to_half_its_height() -> None:
    new = ball(4)
    gained = gain(flair(1, new), flair(2), EVERYWHERE)
    faint = np.where(ball(1.5), 0.25, 0.0).astype(np.float32)
    found = with_appeared(NO_LABELS, faint, gained) > 0
    assert 2 * (found & new).sum() / (found.sum() + new.sum()) > 0.75


def test_what_no_network_would_call_a_lesion_is_not_brought_to_light() -> None:
    gained = gain(flair(1, ball(4)), flair(2), EVERYWHERE)
    assert not with_appeared(NO_LABELS, np.full(SHAPE, 0.1, np.float32), gained).any()


def test_what_became_much_brighter_needs_but_a_hint_of_the_network() -> None:
    gained = gain(flair(1, ball(4), bright=4), flair(2), EVERYWHERE)
    assert with_appeared(NO_LABELS, np.full(SHAPE, 0.02, np.float32), gained).max() == 1
    assert not with_appeared(NO_LABELS, np.zeros(SHAPE, np.float32), gained).any()


def test_what_became_brighter_joins_the_lesion_it_lies_on() -> None:
    labels = NO_LABELS.copy()
    labels[ball(2)] = 7
    gained = gain(flair(1, ball(4)), flair(2), EVERYWHERE)
    found = with_appeared(labels, np.where(ball(2), 0.9, 0.0).astype(np.float32), gained)
    assert set(np.unique(found)) == {0, 7}
    assert (found == 7).sum() > 3 * (labels == 7).sum()


@pytest.mark.parametrize(("now", "then"), [(6.0, 4.0), (4.0, 6.0)])
def test_an_outline_alone_is_no_change(now: float, then: float) -> None:
    same = gain(flair(1, ball(5)), flair(2, ball(5)), EVERYWHERE)
    assert follow_one(ball(now), ball(then), same) == [Change.STABLE]
    other = gain(flair(1, ball(now)), flair(2, ball(then)), EVERYWHERE)
    assert follow_one(ball(now), ball(then), other) == [Change.ENLARGING if now > then else Change.SHRINKING]


def test_why_an_outline_alone_is_no_change_is_told() -> None:
    same = gain(flair(1, ball(5)), flair(2, ball(5)), EVERYWHERE)
    pair = Pair(ball(6).astype(np.int32), ball(4).astype(np.int32), np.eye(4), gained=same)
    assert follow(pair)[0].remarks == (UNWITNESSED,)


def test_a_lesion_missed_in_one_study_is_neither_new_nor_gone() -> None:
    lesion, none = ball(4), np.zeros(SHAPE, dtype=np.bool_)
    same = gain(flair(1, lesion), flair(2, lesion), EVERYWHERE)
    assert follow_one(lesion, none, same) == [Change.STABLE]
    assert follow_one(none, lesion, same) == []
    assert follow_one(none, lesion, gain(flair(1), flair(2, lesion), EVERYWHERE)) == [Change.GONE]


def test_a_lesion_missed_now_stays_with_its_earlier_outline_unless_it_is_gone() -> None:
    lesion = ball(4)
    missed = Pair(
        NO_LABELS, lesion.astype(np.int32), np.eye(4), gained=gain(flair(1, lesion), flair(2, lesion), EVERYWHERE)
    )
    assert ((with_still_there(missed).current == 1) == lesion).all()
    (one,) = follow(with_still_there(missed))
    assert one.change is Change.STABLE
    gone = replace(missed, gained=gain(flair(1), flair(2, lesion), EVERYWHERE))
    assert not with_still_there(gone).current.any()
    assert not with_still_there(replace(missed, gained=None)).current.any()


@pytest.mark.parametrize(
    ("alone", "appeared", "remarks"),
    [
        (1, 2, [(), (APPEARED,), (STILL_THERE,)]),
        (1, 1, [(), (STILL_THERE,), (STILL_THERE,)]),
        (2, 3, [(), (), (APPEARED,)]),
        (3, 3, [(), (), ()]),
    ],
)
def test_what_the_comparison_added_says_why(alone: int, appeared: int, remarks: list[tuple[str, ...]]) -> None:
    pair = Pair(
        np.select([ball(3, (10, 10, 10)), ball(3, (20, 20, 20)), ball(3, (30, 30, 30))], [1, 2, 3], 0).astype(np.int32),
        NO_LABELS,
        np.eye(4),
    )
    assert [one.remarks for one in explained(follow(pair), alone, appeared)] == remarks
