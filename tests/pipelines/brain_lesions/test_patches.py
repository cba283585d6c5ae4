"""Training examples: drawn from their seed alone, normalised, true to what was painted."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.brain_lesions.backgrounds import (
    Background,
    depth_of,
    open_background,
    real_backgrounds,
    save_background,
)
from pipelines.brain_lesions.fields import blurred, sampled, thick_matrix
from pipelines.brain_lesions.material import RealBrain, normalised
from pipelines.brain_lesions.net import SEQUENCES
from pipelines.brain_lesions.painting import Look, painted
from pipelines.brain_lesions.patches import make_patch, random_presence
from pipelines.brain_lesions.phantom import BrainPhantom, brain_phantom

SMALL = (68, 84, 74)
LOOK = Look(flair=2.0, t2=2.0, t1=-1.0, varying=0.1, border=0.6, halo=0.0, enhancing=0.0)


@pytest.fixture(scope="module")
def phantom() -> BrainPhantom:
    return brain_phantom(5, lesions=14, shape=SMALL)


@pytest.fixture(scope="module")
def pair(phantom: BrainPhantom) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    images = {name: normalised(image, phantom.brain) for name, image in phantom.images.items()}
    return real_backgrounds(RealBrain(images, phantom.brain, phantom.truth, ()))


@pytest.fixture(scope="module")
def background(
    pair: tuple[NDArray[np.float32], NDArray[np.float32]], tmp_path_factory: pytest.TempPathFactory
) -> Background:
    path = tmp_path_factory.mktemp("work") / "0-healed.npy"
    save_background(path, pair[1])
    return open_background(path)


def test_healing_takes_the_lesions_away(
    phantom: BrainPhantom, pair: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> None:
    sick, healed = pair
    white = (phantom.anatomy.tissues[2] > 0.95) & ~phantom.truth
    normal = float(healed[0][white].mean())
    assert sick[0][phantom.truth].mean() - normal > 0.4
    assert abs(healed[0][phantom.truth].mean() - normal) < 0.2
    assert not healed[8].any()


def test_a_patch_depends_on_its_seed_alone(background: Background, phantom: BrainPhantom) -> None:
    library = phantom.truth[None].astype(np.uint8)
    one, two = (make_patch(np.random.default_rng(4), background, library, 32) for _ in range(2))
    np.testing.assert_array_equal(one.images, two.images)
    np.testing.assert_array_equal(one.mask, two.mask)


def test_patches_are_normalised_and_0_outside_the_brain(background: Background, phantom: BrainPhantom) -> None:
    library = phantom.truth[None].astype(np.uint8)
    patches = [make_patch(np.random.default_rng(n), background, library, 32) for n in range(6)]
    for patch in patches:
        assert patch.images.dtype == np.float32
        assert np.isfinite(patch.images).all()
        assert patch.images.min() >= -6
        assert patch.images.max() <= 12
        assert not patch.images[:, ~patch.brain].any()
        assert not (patch.mask & ~patch.brain).any()
    assert sum(patch.mask.any() for patch in patches) >= 3


def test_flair_is_always_there_and_the_others_are_not() -> None:
    drawn = np.stack([random_presence(np.random.default_rng(n)) for n in range(200)])
    assert drawn[:, 0].all()
    assert 0.4 < drawn[:, 1:].mean() < 0.8
    assert (drawn.sum(axis=1) == 1).any()


def test_a_lesion_is_painted_in_white_matter_only(phantom: BrainPhantom) -> None:
    tissues = phantom.anatomy.tissues
    wanted = np.zeros(SMALL, dtype=np.float32)
    wanted[20:50, 30:60, 20:60] = 1
    images = np.zeros((4, *SMALL), dtype=np.float32)
    after, mask = painted(np.random.default_rng(0), images, tissues, wanted, LOOK)
    assert mask.any()
    assert tissues[0][mask].max() < 0.9
    rise = [float(after[n][mask].mean()) for n in range(len(SEQUENCES))]
    assert rise[0] > 1
    assert rise[3] > 1
    assert rise[1] < -0.4


def test_thick_slices_keep_the_mean_and_lose_the_detail() -> None:
    line = np.zeros((60, 1, 1), dtype=np.float32)
    line[30] = 1
    seen = thick_matrix(60, 5.0, 0.3) @ line[:, 0, 0]
    assert seen.sum() == pytest.approx(1, abs=0.1)
    assert seen.max() < 0.3
    np.testing.assert_allclose(thick_matrix(60, 5.0, 0.3).sum(axis=1), 1, atol=1e-5)


def test_sampling_at_voxels_gives_the_voxels() -> None:
    array = np.random.default_rng(0).normal(size=(2, 9, 10, 11)).astype(np.float32)
    at = np.stack(np.meshgrid(np.arange(2, 6), np.arange(3, 7), np.arange(4, 8), indexing="ij")).astype(np.float32)
    np.testing.assert_allclose(sampled(array, at), array[:, 2:6, 3:7, 4:8], atol=1e-5)


def test_blurring_keeps_a_constant() -> None:
    np.testing.assert_allclose(blurred(np.ones((8, 9, 10), dtype=np.float32), 1.5), 1, atol=1e-5)


def test_depth_grows_inwards() -> None:
    brain = np.zeros((12, 12, 12), dtype=np.bool_)
    brain[2:10, 2:10, 2:10] = True
    depth = depth_of(brain)
    assert depth[6, 6, 6] == pytest.approx(3.5)
    assert depth[0, 6, 6] == pytest.approx(-1.5)
