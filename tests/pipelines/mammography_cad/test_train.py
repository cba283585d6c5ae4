"""What surrounds the learning: examples with their truth, the split of the real patients, a training that goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.mammography_cad import ready
from pipelines.mammography_cad.examples import Example, Known, read, save, windows
from pipelines.mammography_cad.learning import Plan, judge_loss, learn, mass_loss, speck_loss
from pipelines.mammography_cad.mining import lesion_at, speck_candidates
from pipelines.mammography_cad.net import MASS_WORDS, Finder, new_networks
from pipelines.mammography_cad.ready import LEFT_OUT, real_images
from pipelines.mammography_cad.teaching import SPECK_CROP, SpeckCrops, read_judged, save_judged, target_of, window_of

MASS = Known("mass", (50.0, 50.0), 10.0, malignant=True, shape="oval", margin="spiculated", density="high")


@pytest.fixture(scope="module")
def window() -> Example:
    return next(one for seed in range(1, 9) for one in windows(seed) if len(one.specks) and one.index.any())


def test_a_window_holds_its_calcifications_where_the_truth_says(window: Example) -> None:
    assert window.image.shape == window.index.shape == (640, 640)
    own = window.specks[window.specks[:, 3] > 0].astype(int)
    assert (window.index[own[:, 0], own[:, 1]] > 0).mean() > 0.9


def test_an_example_is_written_and_read(window: Example, tmp_path: Path) -> None:
    save(window, tmp_path / "one.npz")
    again = read(tmp_path / "one.npz")
    assert again.known == window.known
    np.testing.assert_allclose(again.image, window.image, atol=2e-3)


def test_groups_of_a_window_become_candidates_for_the_judge_and_are_kept(window: Example, tmp_path: Path) -> None:
    class Bright(Finder):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.max_pool2d(x, 2) - 3.5

    rows = speck_candidates(window, Bright(1, (4, 4)))
    assert rows
    save_judged(rows, tmp_path / "judged.npz")
    for one, again in zip(rows, read_judged(tmp_path / "judged.npz"), strict=True):
        assert one.target[0] in (0, 1)
        assert np.isfinite(one.features).all()
        assert again.real == one.real
        for name in ("near", "far", "features", "target"):
            np.testing.assert_array_equal(getattr(again, name), getattr(one, name), strict=True)


def test_the_truth_of_a_candidate_names_its_words_and_real_lesions_have_none() -> None:
    assert target_of(MASS, MASS_WORDS).tolist() == [1, 1, 0, 1, 4, 0]
    assert target_of(MASS, MASS_WORDS, told=False).tolist() == [1, 1, -1, -1, -1, -1]
    assert target_of(None, MASS_WORDS).tolist() == [0, -1, -1, -1, -1, -1]


def test_a_candidate_is_a_lesion_within_its_outline_or_radius() -> None:
    index = np.zeros((100, 100), np.uint8)
    index[80:90, 80:90] = 1
    assert lesion_at((84.0, 84.0), index, [MASS]) is MASS
    assert lesion_at((55.0, 55.0), index, [MASS]) is MASS
    assert lesion_at((10.0, 90.0), index, [MASS]) is None


def test_left_out_patients_are_in_no_training(shared_data: Path) -> None:
    folder = shared_data / "mg" / "cdd-cesm"
    taught, left = (real_images(folder, left_out=out) for out in (False, True))
    assert not {one.patient for one in taught} & {one.patient for one in left}
    assert {one.patient for one in left} == set(LEFT_OUT)
    assert all("_DM_" in one.name for one in (*taught, *left))
    assert sum(one.mask.any() for one in left) == 6
    assert [one.patient for one in left if not one.malignant] == [132, 165]
    with_lesion = next(one for one in taught if one.mask.any())
    made = ready.ready_real(with_lesion)
    assert made.known
    assert made.index.shape == made.look.breast.shape


def test_a_training_goes_on_where_it_stopped(window: Example, tmp_path: Path) -> None:
    source = SpeckCrops([window_of(window, window.image)])
    (image,), target = source(np.random.default_rng(0))
    assert image.shape == (1, SPECK_CROP, SPECK_CROP)
    assert target.shape == (2, SPECK_CROP // 2, SPECK_CROP // 2)
    plan, state = Plan(2, 1, 1e-3, 0), tmp_path / "state.pt"
    network = Finder(1, (4, 4))
    assert not learn("trial", network, source, speck_loss, plan, state=state, seconds=-1)
    assert learn("trial", network, source, speck_loss, plan, state=state)
    assert int(torch.load(state, weights_only=True)["step"]) == 2


def test_the_loss_of_masses_is_least_where_the_answer_is_their_extent() -> None:
    extent = torch.zeros((1, 1, 16, 16))
    extent[..., 4:9, 4:9] = 1
    right, shifted = 20 * (extent - 0.5), 20 * (extent.roll(3, dims=-1) - 0.5)
    assert mass_loss(right, extent) < 0.01 < mass_loss(shifted, extent)


def test_a_judge_learns_nothing_from_what_is_not_known() -> None:
    network = new_networks().mass_judge
    loss = judge_loss([np.ones(len(words), np.intp) for words in network.words.values()])
    logits = torch.zeros((2, network.outputs))
    unknown = loss(logits, torch.tensor([[1.0, -1, -1, -1, -1, -1], [0.0, -1, -1, -1, -1, -1]]))
    assert float(unknown) == pytest.approx(np.log(2), abs=1e-5)
