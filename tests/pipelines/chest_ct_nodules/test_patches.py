"""Training patches are repeatable, and their truth lies on what was set into them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipelines.chest_ct_nodules.learning import Examples, Plan, detect_loss, overlap_loss
from pipelines.chest_ct_nodules.patches import Background, draw_nodule, make_patch
from pipelines.chest_ct_nodules.phantom.nodules import random_shape
from pipelines.chest_ct_nodules.phantom.placing import find_sites
from pipelines.chest_ct_nodules.phantom.scanner import Scan


def chest(scan: Scan | None = None) -> Background:
    """Return a block of lung in a block of soft tissue, 96 mm wide."""
    at = np.indices((96, 96, 96))
    depth = np.minimum(at.min(axis=0), (95 - at).min(axis=0)).astype(np.float32) - 8
    hu = np.where(depth > 0, -850, 40).astype(np.int16)
    sites = find_sites(np.random.default_rng(0), depth, hu > -450)
    return Background(hu, depth.astype(np.int8), sites, scan)


@pytest.mark.parametrize("scan", [None, Scan(2.5, 2.5, 0.4, 0.0, 20.0, 0.5)], ids=["generated", "real"])
def test_the_mask_lies_on_the_nodule(scan: Scan | None) -> None:
    rng = np.random.default_rng(3)
    middle = np.array([48.0, 48.0, 48.0])
    patch = make_patch(rng, chest(scan), middle, [(random_shape(rng, 14.0, "solid"), middle)], 48)
    assert patch.mask.any()
    assert patch.hu[patch.mask].mean() > -300
    assert patch.hu[~patch.mask & patch.weight].mean() < -600
    assert patch.mask[np.unravel_index(patch.heat.argmax(), patch.heat.shape)]


def test_a_finer_step_shows_the_same_nodule_larger() -> None:
    middle = np.array([48.0, 48.0, 48.0])
    shape = random_shape(np.random.default_rng(3), 14.0, "solid")
    volumes = [
        make_patch(np.random.default_rng(1), chest(), middle, [(shape, middle)], 64, step).mask.sum() * step**3
        for step in (1.0, 0.75)
    ]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.08)


def test_nothing_is_learned_inside_an_ignored_box() -> None:
    background = chest()
    background.ignored.append(((40, 40, 40), (60, 60, 60)))
    rng = np.random.default_rng(0)
    patch = make_patch(rng, background, np.array([50.0, 50.0, 50.0]), [], 32)
    assert (~patch.weight).sum() >= 19**3
    assert background.is_ignored(np.array([50.0, 50.0, 50.0]))
    assert not background.is_ignored(np.array([50.0, 50.0, 62.0]))


def test_no_nodule_is_drawn_into_an_ignored_box() -> None:
    background = chest()
    background.ignored.append(((-10, -10, -10), (110, 110, 110)))
    assert draw_nodule(np.random.default_rng(0), background) is None


@pytest.mark.parametrize("task", ["detect", "reduce", "segment"])
def test_an_example_depends_on_its_number_alone(task: str) -> None:
    examples = Examples(task, [chest()], np.ones(1), Plan(2, 2, 1e-3, 5))  # type: ignore[arg-type]
    first, again = examples[3], examples[3]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], examples[2][0])


def test_the_right_answer_costs_less_than_the_wrong_one() -> None:
    heat = torch.zeros(1, 16, 16, 16)
    heat[0, 8, 8, 8] = 1
    target = torch.stack([heat, heat, torch.ones_like(heat)], dim=1)
    right = torch.stack([heat * 20 - 10, heat * 20 - 10], dim=1)
    assert detect_loss(right, target) < 0.1 * detect_loss(-right, target)
    assert overlap_loss(right[:, 0], heat, torch.ones_like(heat)) < overlap_loss(
        -right[:, 0], heat, torch.ones_like(heat)
    )
