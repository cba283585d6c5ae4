"""Weights are data: what was written comes back, and a file that is not for this network is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pacsai.networks import folded, load_weights, save_weights, unfolded


def _network(outputs: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, outputs, 3), nn.BatchNorm3d(outputs))


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    written, read = _network(), _network()
    save_weights(written, tmp_path / "w.safetensors", "toy/1", {"seed": "0"})
    load_weights(read, tmp_path / "w.safetensors", "toy/1")
    x = torch.rand(1, 1, 4, 4, 4)
    assert not read.training
    assert torch.allclose(written.eval()(x), read(x), atol=1e-2)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    save_weights(_network(), tmp_path / "w.safetensors", "toy/1", {})
    with pytest.raises(ValueError, match=r"w\.safetensors holds weights of architecture 'toy/1'.*'toy/2'"):
        load_weights(_network(), tmp_path / "w.safetensors", "toy/2")


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    save_weights(_network(outputs=3), tmp_path / "w.safetensors", "toy/1", {})
    with pytest.raises(ValueError, match="tensors are missing, unknown or of another shape, first 0"):
        load_weights(_network(), tmp_path / "w.safetensors", "toy/1")


def test_unfolding_undoes_folding() -> None:
    x = torch.arange(2 * 3 * 4 * 6 * 8, dtype=torch.float32).reshape(2, 3, 4, 6, 8)
    assert torch.equal(unfolded(folded(x)), x)
    assert folded(x).shape == (2, 24, 2, 3, 4)
