"""The network answers on whatever sequences there are, and its file is refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pipelines.brain_lesions.net import (
    ARCHITECTURE,
    CLASSES,
    SEQUENCES,
    LesionNet,
    fused,
    load_network,
    save_network,
)


@pytest.fixture(scope="module")
def network() -> LesionNet:
    torch.manual_seed(0)
    return LesionNet().eval()


def images() -> torch.Tensor:
    return torch.randn(2, 4, 32, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_variance_of_one_sequence_is_0() -> None:
    features = torch.randn(3, 5, 4, 4, 4)
    answer = fused([features], [torch.arange(3)], 3)
    torch.testing.assert_close(answer[:, :5], features)
    assert torch.equal(answer[:, 5:], torch.zeros_like(features))


def test_mean_and_variance_are_over_the_sequences_an_example_has() -> None:
    one, other = torch.randn(2, 5, 4, 4, 4), torch.randn(1, 5, 4, 4, 4)
    answer = fused([one, other], [torch.arange(2), torch.tensor([1])], 2)
    torch.testing.assert_close(answer[0, :5], one[0])
    torch.testing.assert_close(answer[1, :5], (one[1] + other[0]) / 2)
    torch.testing.assert_close(answer[1, 5:], ((one[1] - other[0]) / 2) ** 2)


@pytest.mark.parametrize("present", [(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 0, 1), (1, 1, 1, 1)])
def test_every_subset_gives_finite_logits(network: LesionNet, present: tuple[int, ...]) -> None:
    with torch.inference_mode():
        logits = network(images(), torch.tensor([present, present], dtype=torch.bool))
    assert logits.shape == (2, len(CLASSES), 32, 32, 32)
    assert torch.isfinite(logits).all()


def test_what_is_not_present_is_not_looked_at(network: LesionNet) -> None:
    present = torch.tensor([[1, 0, 1, 0]] * 2, dtype=torch.bool)
    changed = images()
    changed[:, [1, 3]] = torch.nan
    with torch.inference_mode():
        torch.testing.assert_close(network(changed, present), network(images(), present))


def test_examples_with_different_sequences_do_not_disturb_each_other(network: LesionNet) -> None:
    present = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    with torch.inference_mode():
        together = network(images(), present)
        alone = network(images()[:1], present[:1])
    torch.testing.assert_close(together[:1], alone, atol=1e-4, rtol=1e-4)


def test_weights_come_back_from_their_file(network: LesionNet, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(network, path, {"seed": "0"})
    present = torch.ones(2, 4, dtype=torch.bool)
    with torch.inference_mode():
        torch.testing.assert_close(
            load_network(path)(images(), present), network(images(), present), atol=0.02, rtol=0.02
        )


def test_weights_of_another_architecture_are_refused(network: LesionNet, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(network, path, {})
    save_file(load_file(path), path, {"architecture": "other/1"})
    with pytest.raises(ValueError, match=f"other/1.*{ARCHITECTURE}"):
        load_network(path)


def test_a_missing_tensor_is_named(network: LesionNet, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(network, path, {})
    tensors = load_file(path)
    del tensors["head.bias"]
    save_file(tensors, path, {"architecture": ARCHITECTURE})
    with pytest.raises(ValueError, match=r"head\.bias"):
        load_network(path)


def test_flair_comes_first() -> None:
    assert SEQUENCES[0] == "FLAIR"
