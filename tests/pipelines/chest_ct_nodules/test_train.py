"""What surrounds the learning: real chests as backgrounds, mining, the check that bad networks do not pass."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipelines.chest_ct_nodules.backgrounds import as_scanned, real_backgrounds
from pipelines.chest_ct_nodules.net import Networks, Reducer, UNet, new_networks
from pipelines.chest_ct_nodules.patches import Background
from pipelines.chest_ct_nodules.phantom import chest_phantom
from pipelines.chest_ct_nodules.train import Recipe, check, mine


class Dense(nn.Module):
    """Marks whatever is dense."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * 5).expand(-1, 2, -1, -1, -1)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Background:
    """Return a real-looking block of lung with two dense balls, one in an ignored box, through an .npz."""
    source, work = tmp_path_factory.mktemp("real"), tmp_path_factory.mktemp("work")
    rng = np.random.default_rng(0)
    hu = rng.normal(-850, 20, (30, 80, 80)).astype(np.int16)
    closed = np.zeros(hu.shape, dtype=np.bool_)
    closed[2:28, 8:72, 8:72] = True
    hu[14:16, 20:23, 20:23] = 50
    hu[14:16, 50:53, 50:53] = 50
    box = np.array([[[8.0, 40.0, 40.0], [22.0, 62.0, 62.0]]])
    np.savez(source / "one.npz", hu=hu, closed=closed, spacing_mm=np.array([2.0, 1.0, 1.0]), ignored_kji=box)
    return real_backgrounds(source, work)[0]


def test_a_real_chest_is_resampled_to_a_millimetre_and_keeps_its_slices(chest: Background) -> None:
    assert chest.hu.shape[0] == pytest.approx(2 * 30 - 1, abs=2)
    assert chest.scan is not None
    assert chest.scan.spacing_mm == 2.0
    assert 10 < chest.scan.noise_hu < 30


def test_depth_is_zero_at_the_wall_and_grows_inwards(chest: Background) -> None:
    middle = tuple(n // 2 for n in chest.depth_mm.shape)
    assert chest.depth_mm[middle] > 15
    assert chest.depth_mm[middle[0], 0, 0] < -5


def test_a_real_chest_is_shown_as_it_was_scanned(chest: Background) -> None:
    np.testing.assert_array_equal(as_scanned(np.random.default_rng(0), chest), chest.hu)


def test_mining_finds_what_fools_the_detector_but_not_in_ignored_boxes(chest: Background) -> None:
    detector = Dense()
    mine(detector, [chest], seed=0, floor=0.5)  # type: ignore[arg-type]
    assert len(chest.hard) == 1
    assert not chest.is_ignored(np.array(chest.hard[0]))


def test_networks_that_find_nothing_do_not_pass() -> None:
    torch.manual_seed(0)
    networks = new_networks()
    for network in (networks.detector, networks.reducer, networks.segmenter):
        network.eval()
    with pytest.raises(RuntimeError, match="training failed its check: 0 of"):
        check(networks, [chest_phantom(7, small=True, nodules=3)])


def test_reducer_and_segmenter_begin_from_the_detector() -> None:
    detector, segmenter, reducer = UNet(outputs=2), UNet(outputs=1), Reducer()
    segmenter.begin_from(detector)
    reducer.begin_from(detector)
    first = "down.0.0.weight"
    assert torch.equal(segmenter.state_dict()[first], detector.state_dict()[first])
    assert torch.equal(reducer.state_dict()["far.0.0.weight"], detector.state_dict()[first])


def test_a_trial_is_a_shorter_recipe() -> None:
    trial = Recipe().scaled(0.01)
    assert trial.phantoms == 2
    assert len(trial.rounds) == len(Recipe().rounds)
    assert max(trial.rounds) < 50


def test_networks_are_kept_as_one_value() -> None:
    assert isinstance(new_networks(), Networks)


def test_no_real_chests_in_an_empty_folder(tmp_path: Path) -> None:
    assert real_backgrounds(tmp_path, tmp_path) == []
