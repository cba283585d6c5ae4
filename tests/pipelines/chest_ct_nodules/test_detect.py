"""Detection with networks whose answers are known: geometry, order, distinctness and determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.chest_ct_nodules.detect import Mark, detect, find_candidates
from pipelines.chest_ct_nodules.net import Networks


class Blobs(nn.Module):
    """Answers high where the image, a little blurred, is dense."""

    def __init__(self, outputs: int, gain: float) -> None:
        super().__init__()
        self.outputs, self.gain = outputs, gain

    def forward(self, x: Tensor) -> Tensor:
        dense = functional.avg_pool3d(x, 5, stride=1, padding=2) if self.outputs > 1 else x
        return (dense * self.gain).expand(-1, self.outputs, -1, -1, -1)


class Sure(nn.Module):
    """Says the same of every candidate."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), 4.0)


@pytest.fixture
def networks() -> Networks:
    return Networks(Blobs(2, 4.0), Sure(), Blobs(1, 10.0))  # type: ignore[arg-type]


SPACING = (2.0, 0.8, 0.8)


def lung_with_balls(balls: dict[tuple[int, int, int], float]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a block of lung with solid balls, {centre (k, j, i): radius in mm}, and the lung's mask."""
    at = np.indices((40, 110, 120)).astype(np.float32)
    volume = np.full(at.shape[1:], -850, dtype=np.float32)
    for centre, radius in balls.items():
        gap = sum(((a - c) * s) ** 2 for a, c, s in zip(at, centre, SPACING, strict=True))
        volume[gap <= radius**2] = 40
    lung = np.zeros(volume.shape, dtype=np.bool_)
    lung[4:36, 10:100, 10:110] = True
    return volume, lung


def voxels(mark: Mark, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    full = np.zeros(shape, dtype=np.bool_)
    full[tuple(slice(o, o + n) for o, n in zip(mark.offset_kji, mark.mask.shape, strict=True))] = mark.mask
    return full


def test_each_ball_gets_one_mark_at_its_centre_with_its_voxels(networks: Networks) -> None:
    centres = [(12, 40, 40), (26, 70, 85)]
    volume, lung = lung_with_balls(dict.fromkeys(centres, 6.0))
    marks = detect(volume, SPACING, lung, networks, threshold=0.5)
    assert len(marks) == 2
    for centre in centres:
        mark = min(marks, key=lambda m: float(np.linalg.norm(np.array(m.centre_kji) - centre)))
        assert np.abs((np.array(mark.centre_kji) - centre) * SPACING).max() < 1.0
        truth = lung_with_balls({centre: 6.0})[0] > 0
        found = voxels(mark, volume.shape)
        assert 2 * (truth & found).sum() / (truth.sum() + found.sum()) > 0.85


def test_marks_come_with_the_highest_probability_first_and_above_the_threshold(networks: Networks) -> None:
    volume, lung = lung_with_balls({(12, 40, 40): 6.0, (26, 70, 85): 3.0})
    marks = detect(volume, SPACING, lung, networks, threshold=0.0)
    probabilities = [mark.probability for mark in marks]
    assert probabilities == sorted(probabilities, reverse=True)
    higher = detect(volume, SPACING, lung, networks, threshold=probabilities[0])
    assert [mark.probability for mark in higher] == probabilities[:1]


def test_nothing_is_found_outside_the_lungs_or_without_lungs(networks: Networks) -> None:
    volume, lung = lung_with_balls({(12, 40, 40): 6.0})
    lung[:, :70] = False
    assert detect(volume, SPACING, lung, networks, threshold=0.5) == ()
    assert detect(volume, SPACING, lung & False, networks) == ()


def test_detection_is_deterministic(networks: Networks) -> None:
    volume, lung = lung_with_balls({(12, 40, 40): 6.0, (26, 70, 85): 4.0})
    first, again = (detect(volume, SPACING, lung, networks, threshold=0.1) for _ in range(2))
    assert [m.centre_kji for m in first] == [m.centre_kji for m in again]
    assert [m.probability for m in first] == [m.probability for m in again]


def test_peaks_are_found_across_the_borders_of_tiles(networks: Networks) -> None:
    volume = np.full((100, 100, 210), -900, dtype=np.float32)
    places = [(20, 50, 87), (50, 88, 90), (88, 20, 176)]
    for k, j, i in places:
        volume[k - 3 : k + 4, j - 3 : j + 4, i - 3 : i + 4] = 100
    found = find_candidates(volume, np.ones(volume.shape, dtype=np.bool_), networks.detector, floor=0.5)
    assert len(found) == 3
    for place in places:
        assert min(float(np.abs(np.array(c.place) - place).max()) for c in found) <= 2
