"""How each network learns: what a training example is, the loss, the loop.

Example n of a task depends on the seed and n alone; worker processes only make them sooner.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from pipelines.chest_ct_nodules.detect import SEGMENT_SIZE, SEGMENT_STEP_MM
from pipelines.chest_ct_nodules.net import scaled
from pipelines.chest_ct_nodules.patches import Background, Drawn, draw_negative, draw_nodule, make_patch

Task = Literal["detect", "reduce", "segment"]
DETECT_SIZE = 48
REDUCE_SIZE = 64
POSITIVE_SHARE = {"detect": 0.75, "reduce": 0.3, "segment": 1.0}
HEAT_WEIGHT = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn: steps, examples per step, highest learning rate, seed of the examples."""

    steps: int
    batch: int
    rate: float
    seed: int


class Examples(Dataset[tuple[Tensor, Tensor]]):
    """The training examples of one task: images [1, k, j, i] scaled, targets [c, k, j, i] (reduce: one number)."""

    def __init__(self, task: Task, backgrounds: list[Background], shares: NDArray[np.float64], plan: Plan) -> None:
        self.task, self.backgrounds, self.shares, self.plan = task, backgrounds, shares, plan

    def __len__(self) -> int:
        return self.plan.steps * self.plan.batch

    def __getitem__(self, n: int) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.plan.seed, n])
        background = self.backgrounds[int(rng.choice(len(self.backgrounds), p=self.shares))]
        wanted = rng.random() < POSITIVE_SHARE[self.task]
        drawn = draw_nodule(rng, background) if wanted else None
        while self.task == "segment" and drawn is None:
            drawn = draw_nodule(rng, self.backgrounds[int(rng.integers(len(self.backgrounds)))])
        if self.task == "detect":
            return _detect_example(rng, background, drawn)
        if self.task == "reduce":
            return _reduce_example(rng, background, drawn)
        assert drawn is not None  # noqa: S101 (for the type checker: the loop above drew one)
        return _segment_example(rng, background, drawn)


def _detect_example(rng: np.random.Generator, background: Background, drawn: Drawn | None) -> tuple[Tensor, Tensor]:
    reach = DETECT_SIZE / 2 - 6
    if drawn is None:
        patch = make_patch(rng, background, draw_negative(rng, background) + rng.uniform(-8, 8, 3), [], DETECT_SIZE)
    else:
        patch = make_patch(rng, background, drawn[1] + rng.uniform(-reach, reach, 3), [drawn], DETECT_SIZE)
    target = np.stack([patch.heat, patch.mask, patch.weight]).astype(np.float32)
    return scaled(torch.from_numpy(patch.hu))[None], torch.from_numpy(target)


def _reduce_example(rng: np.random.Generator, background: Background, drawn: Drawn | None) -> tuple[Tensor, Tensor]:
    if drawn is None:
        place = draw_negative(rng, background, hard_share=0.85) + rng.normal(0, 0.7, 3)
        patch = make_patch(rng, background, place, [], REDUCE_SIZE)
        return scaled(torch.from_numpy(patch.hu))[None], torch.tensor(0.0)
    jitter = rng.normal(0, min(0.5 + 0.06 * drawn[0].diameter_mm, 1.5), 3)
    patch = make_patch(rng, background, drawn[1] + jitter, [drawn], REDUCE_SIZE)
    return scaled(torch.from_numpy(patch.hu))[None], torch.tensor(1.0 if patch.mask.any() else 0.0)


def _segment_example(rng: np.random.Generator, background: Background, drawn: Drawn) -> tuple[Tensor, Tensor]:
    jitter = rng.normal(0, 1.0 + 0.05 * drawn[0].diameter_mm, 3)
    patch = make_patch(rng, background, drawn[1] + jitter, [drawn], SEGMENT_SIZE, SEGMENT_STEP_MM)
    target = np.stack([patch.mask, patch.weight]).astype(np.float32)
    return scaled(torch.from_numpy(patch.hu))[None], torch.from_numpy(target)


def detect_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the detector's loss: the heat map, its peaks weighted, and the mask."""
    heat, mask, weight = target[:, 0], target[:, 1], target[:, 2]
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], heat, reduction="none")
    peaks = ((1 + HEAT_WEIGHT * heat) * weight * each).sum() / weight.sum().clamp_min(1)
    return peaks + 0.3 * overlap_loss(logits[:, 1], mask, weight)


def overlap_loss(logits: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """Return cross entropy plus one minus Dice, over the voxels where `weight` is 1."""
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, weight=weight * (1 + 4 * mask), reduction="sum")
    share = torch.sigmoid(logits) * weight
    axes = tuple(range(1, logits.ndim))
    dice = (2 * (share * mask).sum(axes) + 20) / (share.sum(axes) + (mask * weight).sum(axes) + 20)
    return entropy / weight.sum().clamp_min(1) + (1 - dice).mean()


def segment_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the segmenter's loss."""
    return overlap_loss(logits[:, 0], target[:, 0], target[:, 1])


LOSSES: dict[Task, Callable[[Tensor, Tensor], Tensor]] = {
    "detect": detect_loss,
    "reduce": functional.binary_cross_entropy_with_logits,
    "segment": segment_loss,
}


def learn(
    task: Task, network: nn.Module, backgrounds: list[Background], shares: NDArray[np.float64], plan: Plan, workers: int
) -> float:
    """Train `network` in place with one cycle of AdamW; return the mean loss of the last tenth.

    Parameters
    ----------
    shares : float (backgrounds,)
        How often each background is drawn; adds up to 1.
    """
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps + 1, pct_start=0.15)
    loader = DataLoader(Examples(task, backgrounds, shares, plan), plan.batch, num_workers=workers, prefetch_factor=6)
    losses: list[float] = []
    began = time.monotonic()
    for step, (images, targets) in enumerate(loader, start=1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(images)
        loss = LOSSES[task](logits.float(), targets)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0 or step == plan.steps:
            tell(f"{task} {step}/{plan.steps} loss {np.mean(losses[-100:]):.4f} {time.monotonic() - began:.0f} s")
    network.eval()
    return float(np.mean(losses[-max(1, plan.steps // 10) :]))


def tell(line: str) -> None:
    """Write a progress line."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
