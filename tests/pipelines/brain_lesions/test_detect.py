"""From a prepared brain to separate lesions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.brain_lesions.detect import SHIPPED, Rule, lesions, probabilities
from pipelines.brain_lesions.net import LesionNet

SHAPE = (50, 110, 130)


class BrightFlair(LesionNet):
    """Calls lesion what is bright on FLAIR."""

    def forward(self, images: Tensor, present: Tensor) -> Tensor:  # noqa: ARG002
        return 8 * (images[:, :1] - 2)


@pytest.fixture(scope="module")
def brain() -> np.ndarray:
    brain = np.zeros(SHAPE, dtype=np.bool_)
    brain[8:42, 8:102, 8:122] = True
    return brain


def test_windows_cover_the_brain_and_agree(brain: np.ndarray) -> None:
    flair = np.where(brain, np.random.default_rng(0).normal(2, 1, SHAPE), 0).astype(np.float32)
    found = probabilities({"FLAIR": flair}, brain, BrightFlair().eval())["lesion"]
    expected = torch.sigmoid(torch.from_numpy(8 * (flair - 2))).numpy()
    np.testing.assert_allclose(found[brain], expected[brain], atol=0.02)
    assert not found[~brain].any()


def test_a_real_network_gives_probabilities_with_one_sequence_or_four(brain: np.ndarray) -> None:
    torch.manual_seed(0)
    network = LesionNet().eval()
    rng = np.random.default_rng(0)
    images = {name: rng.normal(0, 1, SHAPE).astype(np.float32) * brain for name in ("FLAIR", "T1", "T1C", "T2")}
    for names in (("FLAIR",), ("FLAIR", "T2"), tuple(images)):
        found = probabilities({name: images[name] for name in names}, brain, network)["lesion"]
        assert found.shape == SHAPE
        assert np.isfinite(found).all()
        assert found.min() >= 0
        assert found.max() <= 1


def test_an_empty_brain_has_no_lesion() -> None:
    nothing = np.zeros((20, 20, 20), dtype=np.bool_)
    found = probabilities({"FLAIR": np.zeros((20, 20, 20), np.float32)}, nothing, LesionNet().eval())["lesion"]
    assert not found.any()


def test_lesions_are_numbered_and_small_ones_left_out(brain: np.ndarray) -> None:
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[20:24, 20:24, 20:24] = 0.97
    probability[30:33, 60:64, 60:64] = 0.97
    probability[15, 90, 90] = 1.0
    probability[2:6, 2:6, 2:6] = 1.0  # outside the brain
    found = lesions(probability, {"FLAIR": probability}, brain)
    assert found.dtype == np.int32
    assert sorted(np.unique(found)) == [0, 1, 2]
    assert found[21, 21, 21] != found[31, 61, 61]
    assert min(np.bincount(found.ravel())[1:]) >= SHIPPED.min_voxels
    assert found[15, 90, 90] == 0


def test_the_faint_rim_of_a_lesion_is_trimmed(brain: np.ndarray) -> None:
    flair = np.zeros(SHAPE, dtype=np.float32)
    flair[16:30, 40:54, 40:54] = 0.4
    flair[19:27, 43:51, 43:51] = 3.0
    probability = np.where(flair > 0.2, 0.97, 0.0).astype(np.float32)
    found = lesions(probability, {"FLAIR": flair}, brain) > 0
    assert found[20:26, 44:50, 44:50].all()
    assert not found[16:18].any()
    whole = lesions(probability, {"FLAIR": flair}, brain, Rule(rise=0)) > 0
    np.testing.assert_array_equal(whole, probability > 0.5)
