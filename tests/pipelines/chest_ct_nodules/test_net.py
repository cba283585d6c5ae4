"""The networks keep the grid they are given, and a file of weights is checked before it is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.chest_ct_nodules.net import (
    Reducer,
    UNet,
    load_networks,
    new_networks,
    save_networks,
    scaled,
)


def test_scaling_takes_the_lung_window_to_one() -> None:
    assert scaled(torch.tensor([-3000.0, -1000.0, -300.0, 400.0, 3000.0])).tolist() == [-1, -1, 0, 1, 1]


def test_the_u_net_answers_for_every_voxel() -> None:
    assert UNet(outputs=2)(torch.zeros(1, 1, 32, 48, 16)).shape == (1, 2, 32, 48, 16)


def test_the_reducer_gives_one_logit_a_candidate() -> None:
    reducer = Reducer().eval()
    assert reducer(torch.zeros(3, 1, 64, 64, 64)).shape == (3,)


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    networks, path = new_networks(), tmp_path / "weights.safetensors"
    save_networks(networks, path, {"seed": "0"})
    again = load_networks(path)
    before, after = networks.segmenter.state_dict(), again.segmenter.state_dict()
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-3) for name in before)
    assert not again.detector.training


def test_a_file_of_another_architecture_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, path, {"architecture": "something/9"})
    with pytest.raises(ValueError, match=r"other\.safetensors holds weights of architecture 'something/9'"):
        load_networks(path)


def test_a_missing_tensor_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_networks(new_networks(), path, {})
    tensors = load_file(path)
    del tensors["detector.head.bias"]
    save_file(tensors, path, {"architecture": "chest_ct_nodules/1"})
    with pytest.raises(ValueError, match=r"1 tensors are missing.*first detector\.head\.bias"):
        load_networks(path)
