"""Training: reading the material, a tiny run, and the check that a bad network does not pass."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.brain_lesions.learning import Plan, overlap_loss
from pipelines.brain_lesions.material import normalised, read_nifti
from pipelines.brain_lesions.net import LesionNet
from pipelines.brain_lesions.train import SHARES, check, train

SMALL = (50, 60, 56)


def write_nifti(path: Path, array_xyz: np.ndarray, signs: tuple[int, int]) -> None:
    """Write float32 [x, y, z] with a qform whose first two axes run along `signs`."""
    header = bytearray(352)
    header[0:4] = struct.pack("<i", 348)
    header[40:56] = struct.pack("<8h", 3, *array_xyz.shape, 1, 1, 1, 1)
    header[70:74] = struct.pack("<2h", 16, 32)
    header[108:112] = struct.pack("<f", 352.0)
    header[252:254] = struct.pack("<h", 1)
    # a half turn about y flips x and z, and qfac flips z back; a half turn about z flips x and y
    b, c, d = {(1, 1): (0, 0, 0), (-1, 1): (0, 1, 0), (-1, -1): (0, 0, 1)}[signs]
    header[256:268] = struct.pack("<3f", b, c, d)
    header[76:80] = struct.pack("<f", -1.0 if signs == (-1, 1) else 1.0)
    header[344:348] = b"n+1\0"
    path.write_bytes(gzip.compress(bytes(header) + array_xyz.astype("<f4").tobytes(order="F")))


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (-1, -1)])
def test_nifti_is_turned_to_left_back_and_head(tmp_path: Path, signs: tuple[int, int]) -> None:
    world = np.arange(24, dtype=np.float32).reshape(2, 3, 4)  # x to the right, y to the front, z to the head
    write_nifti(tmp_path / "a.nii.gz", world[:: signs[0], :: signs[1]], signs)
    np.testing.assert_array_equal(read_nifti(tmp_path / "a.nii.gz"), world[::-1, ::-1].transpose(2, 1, 0))


def test_an_oblique_nifti_is_refused(tmp_path: Path) -> None:
    write_nifti(tmp_path / "a.nii.gz", np.zeros((2, 2, 2)), (1, 1))
    data = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    data[256:260] = struct.pack("<f", 0.2)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(ValueError, match="do not run along the world"):
        read_nifti(tmp_path / "a.nii.gz")


def test_normalising_does_not_depend_on_the_scale_of_the_signal() -> None:
    image = np.random.default_rng(0).normal(0, 1, (8, 8, 8)).astype(np.float32)
    brain = np.ones(image.shape, dtype=np.bool_)
    np.testing.assert_allclose(normalised(image * 70 + 300, brain), normalised(image, brain), atol=1e-3)


def test_the_loss_is_small_where_the_answer_is_right() -> None:
    mask, brain = torch.zeros(1, 8, 8, 8), torch.ones(1, 8, 8, 8)
    mask[:, 2:5, 2:5, 2:5] = 1
    right, wrong = overlap_loss(20 * mask - 10, mask, brain), overlap_loss(10 - 20 * mask, mask, brain)
    assert float(right) < 0.05
    assert float(wrong) > 1


def test_a_tiny_training_learns_from_phantoms_and_repeats(tmp_path: Path) -> None:
    weights = []
    for run in ("one", "two"):
        torch.manual_seed(0)
        network = train(
            Plan(steps=2, batch=2, fresh=1, size=16), None, tmp_path / run, phantoms=1, workers=0, shape=SMALL
        )
        weights.append(network.state_dict()["head.weight"])
        assert not network.training
    torch.testing.assert_close(weights[0], weights[1])


def test_an_untrained_network_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.brain_lesions.train.CHECK_SEEDS", (800,))
    torch.manual_seed(0)
    with pytest.raises(RuntimeError, match=r"training failed its check: mean Dice 0\.0"):
        check(LesionNet().eval(), SMALL)


def test_shares_add_up() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)
