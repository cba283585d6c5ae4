"""How the network learns: examples, loss, loop.

Example n depends on the seed and n alone; worker processes only make them sooner. Making an example takes as long as
learning from it, so each is shown several times, mirrored and shaded anew.
"""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from pipelines.brain_lesions.backgrounds import Background
from pipelines.brain_lesions.net import LesionNet, save_network
from pipelines.brain_lesions.patches import SIZE, make_patch, random_presence

Example = tuple[Tensor, Tensor]
KEPT = 160
LOOK_EVERY = 500
AVERAGED = 0.995
"""How slowly the averaged weights, those that are kept in the end, follow."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to learn.

    Attributes
    ----------
    steps, batch : int
        Steps of the whole cycle of learning rates, and examples in each.
    stop : int
        Step after which to stop; the cycle may be cut short.
    fresh : int
        Examples per step that are new; the rest were seen before.
    rate : float
        Highest learning rate.
    seed : int
        Of the examples.
    size : int
        Side of the patches, voxels.
    """

    steps: int
    stop: int = 1 << 30
    batch: int = 6
    fresh: int = 2
    rate: float = 2e-3
    seed: int = 0
    size: int = SIZE


class Examples(Dataset[Example]):
    """Images float32 [4, k, j, i]; mask and brain float32 [2, k, j, i]."""

    def __init__(
        self, backgrounds: Sequence[Background], shares: NDArray[np.float64], library: NDArray[np.uint8], plan: Plan
    ) -> None:
        self.backgrounds, self.shares, self.library, self.plan = backgrounds, shares, library, plan

    def __len__(self) -> int:
        return min(self.plan.steps, self.plan.stop) * self.plan.fresh

    def __getitem__(self, n: int) -> Example:
        rng = np.random.default_rng([self.plan.seed, n])
        background = self.backgrounds[int(rng.choice(len(self.backgrounds), p=self.shares))]
        patch = make_patch(rng, background, self.library, self.plan.size)
        return torch.from_numpy(patch.images), torch.from_numpy(np.stack([patch.mask, patch.brain]).astype(np.float32))


def batches(loader: Iterator[Example], plan: Plan) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, targets and present sequences of each step: some new examples, some seen before."""
    seen: deque[Example] = deque(maxlen=KEPT)
    for step in range(min(plan.steps, plan.stop)):
        rng = np.random.default_rng([plan.seed, step, 1])
        fresh = [(images[0], target[0]) for images, target in (next(loader) for _ in range(plan.fresh))]
        seen.extend(fresh)
        old = [seen[int(n)] for n in rng.integers(len(seen), size=plan.batch - plan.fresh)]
        shown = fresh + [_varied(rng, example) for example in old]
        present = np.stack([random_presence(rng) for _ in shown])
        images, targets = (torch.stack(part) for part in zip(*shown, strict=True))
        yield images, targets, torch.from_numpy(present)


def _varied(rng: np.random.Generator, example: Example) -> Example:
    """Return an example mirrored left to right or not, its contrast a little changed."""
    images, target = example
    if rng.random() < 0.5:
        images, target = images.flip(3), target.flip(3)
    scale = torch.from_numpy(np.exp(rng.normal(0, 0.1, (4, 1, 1, 1))).astype(np.float32))
    shift = torch.from_numpy(rng.normal(0, 0.15, (4, 1, 1, 1)).astype(np.float32))
    return (images * scale + shift) * target[1], target


def overlap_loss(logits: Tensor, mask: Tensor, brain: Tensor) -> Tensor:
    """Return cross entropy plus one minus Dice (of the whole batch) inside the brain."""
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, weight=brain, reduction="sum")
    share = torch.sigmoid(logits) * brain
    dice = (2 * (share * mask).sum() + 50) / (share.sum() + (mask * brain).sum() + 50)
    return 2 * entropy / brain.sum().clamp_min(1) + 1 - dice


def learn(network: LesionNet, examples: Examples, workers: int, work: Path | None = None) -> LesionNet:
    """Train `network` in place with one cycle of AdamW; return the average of its weights over the last steps.

    Parameters
    ----------
    work : Path, optional
        Folder into which the averaged weights are written now and then, for a look in between.
    """
    plan = examples.plan
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.train()
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps + 1, pct_start=0.1)
    loader = DataLoader(examples, num_workers=workers, prefetch_factor=8 if workers else None)
    losses: list[float] = []
    began = time.monotonic()
    for step, (images, targets, present) in enumerate(batches(iter(loader), plan), start=1):
        losses.append(_step(network, optimiser, images, targets, present))
        schedule.step()
        _follow(averaged, network, min(AVERAGED, step / (9 + step)))
        if step % 50 == 0 or step == plan.steps:
            tell(f"{step}/{plan.steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - began:.0f} s")
        if work and step % LOOK_EVERY == 0:
            save_network(averaged, work / f"step-{step}.safetensors", {})
    return averaged.eval()


def _step(
    network: LesionNet, optimiser: torch.optim.Optimizer, images: Tensor, targets: Tensor, present: Tensor
) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images, present)
    loss = overlap_loss(logits[:, 0].float(), targets[:, 0], targets[:, 1])
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 3.0)
    optimiser.step()
    return float(loss.item())


def _follow(averaged: nn.Module, network: nn.Module, slow: float) -> None:
    """Move the averaged weights a little towards the network's."""
    with torch.no_grad():
        for mine, other in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, 1 - slow)
            else:
                mine.copy_(other)


def tell(line: str) -> None:
    """Write a progress line."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
