"""How the network learns: examples, loss, loop.

Example n depends on the seed and n alone; worker processes only make them sooner. Making an example takes as long as
learning from it, so each is shown several times, mirrored and shaded anew.
"""

from __future__ import annotations

import copy
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset

from pipelines.brain_lesions.backgrounds import Background
from pipelines.brain_lesions.fields import Bools
from pipelines.brain_lesions.net import LesionNet, save_network
from pipelines.brain_lesions.patches import SIZE, Patch, make_patch, random_presence

Example = tuple[Tensor, Tensor]
KEPT = 160
LOOK_EVERY = 500
STATE = "state.pt"
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
    """Images float32 [4, k, j, i]; masks of the classes and the brain float32 [classes + 1, k, j, i].

    `make` draws an example, `presence` which sequences the network is to see of it.
    """

    def __init__(
        self,
        backgrounds: Sequence[Background],
        shares: NDArray[np.float64],
        library: NDArray[np.uint8],
        plan: Plan,
        make: Callable[[np.random.Generator, Background, NDArray[np.uint8], int], Patch] = make_patch,
        presence: Callable[[np.random.Generator], Bools] = random_presence,
    ) -> None:
        self.backgrounds, self.shares, self.library, self.plan = backgrounds, shares, library, plan
        self.make, self.presence = make, presence

    def __len__(self) -> int:
        return min(self.plan.steps, self.plan.stop) * self.plan.fresh

    def __getitem__(self, n: int) -> Example:
        rng = np.random.default_rng([self.plan.seed, n])
        background = self.backgrounds[int(rng.choice(len(self.backgrounds), p=self.shares))]
        patch = self.make(rng, background, self.library, self.plan.size)
        masks = patch.mask.reshape(-1, *patch.brain.shape)
        target = np.concatenate([masks, patch.brain[None]]).astype(np.float32)
        return torch.from_numpy(patch.images), torch.from_numpy(target)


def batches(
    examples: Examples, workers: int, seen: deque[Example], first: int = 0
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield images, targets and present sequences of each step from `first` on: some new examples, some of `seen`."""
    plan = examples.plan
    rest = Subset(examples, range(first * plan.fresh, len(examples)))
    loader = iter(DataLoader(rest, num_workers=workers, prefetch_factor=8 if workers else None))
    for step in range(first, min(plan.steps, plan.stop)):
        rng = np.random.default_rng([plan.seed, step, 1])
        fresh = [_single(next(loader)) for _ in range(plan.fresh)]
        seen.extend(fresh)
        old = [seen[int(n)] for n in rng.integers(len(seen), size=plan.batch - plan.fresh)]
        shown = fresh + [_varied(rng, example) for example in old]
        present = np.stack([examples.presence(rng) for _ in shown])
        images, targets = (torch.stack(part) for part in zip(*shown, strict=True))
        yield images, targets, torch.from_numpy(present)


def _single(example: Example) -> Example:
    """Return the one example of a batch of one."""
    return example[0][0], example[1][0]


def _varied(rng: np.random.Generator, example: Example) -> Example:
    """Return an example mirrored left to right or not, its contrast a little changed."""
    images, target = example
    if rng.random() < 0.5:
        images, target = images.flip(3), target.flip(3)
    scale = torch.from_numpy(np.exp(rng.normal(0, 0.1, (4, 1, 1, 1))).astype(np.float32))
    shift = torch.from_numpy(rng.normal(0, 0.15, (4, 1, 1, 1)).astype(np.float32))
    return (images * scale + shift) * target[-1], target


def overlap_loss(logits: Tensor, mask: Tensor, brain: Tensor) -> Tensor:
    """Return cross entropy plus one minus Dice (of the whole batch) inside the brain."""
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, weight=brain, reduction="sum")
    share = torch.sigmoid(logits) * brain
    dice = (2 * (share * mask).sum() + 50) / (share.sum() + (mask * brain).sum() + 50)
    return 2 * entropy / brain.sum().clamp_min(1) + 1 - dice


class Paused(Exception):  # noqa: N818 (nothing went wrong)
    """Learning stopped because its time was up; its state lies in the work folder, and the same call goes on."""


def learn(
    network: LesionNet, examples: Examples, workers: int, work: Path | None = None, pause_s: float | None = None
) -> LesionNet:
    """Train `network` in place with one cycle of AdamW; return the average of its weights over the last steps.

    Parameters
    ----------
    work : Path, optional
        Folder into which the averaged weights are written now and then, for a look in between.
    pause_s : float, optional
        Go on from the state that lies in `work`, if there is one; write it there after so many seconds.

    Raises
    ------
    Paused
        `pause_s` was over before the end.
    """
    plan = examples.plan
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.train()
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps + 1, pct_start=0.1)
    seen: deque[Example] = deque(maxlen=KEPT)
    state = (network, averaged, optimiser, schedule)
    first = _restored(work / STATE, state, seen) if work and pause_s is not None else 0
    losses: list[float] = []
    began = time.monotonic()
    for step, (images, targets, present) in enumerate(batches(examples, workers, seen, first), start=first + 1):
        losses.append(_step(network, optimiser, images, targets, present))
        schedule.step()
        _follow(averaged, network, min(AVERAGED, step / (9 + step)))
        if step % 50 == 0 or step == plan.steps:
            tell(f"{step}/{plan.steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - began:.0f} s")
        if work and step % LOOK_EVERY == 0:
            save_network(averaged, work / f"step-{step}.safetensors", {})
        if work and pause_s is not None and time.monotonic() - began > pause_s:
            torch.save([step, list(seen), *(part.state_dict() for part in state)], work / STATE)
            raise Paused(f"after step {step}")
    return averaged.eval()


def _restored(path: Path, state: Sequence[Any], seen: deque[Example]) -> int:
    """Put what `learn` saved into its parts; return how many steps were done, 0 where nothing was saved."""
    if not path.exists():
        return 0
    step, examples, *saved = torch.load(path, weights_only=True)
    seen.extend(examples)
    for part, values in zip(state, saved, strict=True):
        part.load_state_dict(values)
    return int(step)


def _step(
    network: LesionNet, optimiser: torch.optim.Optimizer, images: Tensor, targets: Tensor, present: Tensor
) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images, present)
    classes = range(len(network.classes))
    parts = [overlap_loss(logits[:, n].float(), targets[:, n], targets[:, -1]) for n in classes]
    loss = torch.stack(parts).mean()
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
