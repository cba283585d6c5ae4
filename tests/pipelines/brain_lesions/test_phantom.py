"""Generated brains: the same from the same seed, made of what a brain is made of, with lesions where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.brain_lesions.material import normalised
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.phantom import BrainPhantom, brain_phantom

SMALL = (68, 84, 74)


@pytest.fixture(scope="module")
def sick() -> BrainPhantom:
    return brain_phantom(3, lesions=12, shape=SMALL)


@pytest.fixture(scope="module")
def healthy() -> BrainPhantom:
    return brain_phantom(3, lesions=0, shape=SMALL)


def test_the_same_seed_gives_the_same_brain(healthy: BrainPhantom) -> None:
    again = brain_phantom(3, lesions=0, shape=SMALL)
    for name in SEQUENCES:
        np.testing.assert_array_equal(again.images[name], healthy.images[name])


def test_lesions_change_nothing_but_where_they_are(sick: BrainPhantom, healthy: BrainPhantom) -> None:
    np.testing.assert_array_equal(sick.brain, healthy.brain)
    assert sick.truth.any()
    assert not healthy.truth.any()
    changed = np.abs(sick.images["FLAIR"] - healthy.images["FLAIR"]) > 1
    assert changed[sick.truth].mean() > 0.9
    assert changed.mean() < 0.2


def test_shares_of_tissues_add_up_to_1(healthy: BrainPhantom) -> None:
    total = healthy.anatomy.tissues.sum(axis=0)
    np.testing.assert_allclose(total[healthy.brain], 1, atol=0.02)
    assert (total[~healthy.brain] == 0).all()


def test_fluid_is_dark_on_flair_and_bright_on_t2(healthy: BrainPhantom) -> None:
    fluid = healthy.anatomy.tissues[0] > 0.95
    white = healthy.anatomy.tissues[2] > 0.95
    assert healthy.images["FLAIR"][fluid].mean() < healthy.images["FLAIR"][white].mean()
    assert healthy.images["T2"][fluid].mean() > healthy.images["T2"][white].mean()


def test_lesions_are_bright_on_flair_and_not_in_fluid(sick: BrainPhantom) -> None:
    white = (sick.anatomy.tissues[2] > 0.95) & ~sick.truth
    flair = normalised(sick.images["FLAIR"], sick.brain)
    assert flair[sick.truth].mean() > flair[white].mean() + 0.5
    assert (sick.anatomy.tissues[0][sick.truth] > 0.8).mean() < 0.05


def test_planted_lesions_are_painted_in_place_of_random_ones(healthy: BrainPhantom) -> None:
    planted = np.zeros(SMALL, dtype=np.bool_)
    middle = np.argwhere(healthy.anatomy.tissues[2] > 0.99)[100]
    k, j, i = (slice(int(m) - 2, int(m) + 3) for m in middle)
    planted[k, j, i] = True
    phantom = brain_phantom(3, shape=SMALL, planted=planted)
    assert phantom.truth.any()
    assert not (phantom.truth & ~planted).any()
