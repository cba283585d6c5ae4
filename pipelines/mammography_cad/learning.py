"""How each network learns: what a training example is, the loss, the loop.

Example n of a stage depends on the seed and n alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipelines.mammography_cad.look import Array

Batch = tuple[tuple[Tensor, ...], Tensor]
"""What the network is given, and what it should answer."""
PEAK_WEIGHT = 30.0
RARE = 0.4
"""How much more a rare word weighs: 0 not at all, 1 as much as all examples of a common one together."""


class Source(Protocol):
    """Gives training examples."""

    def __call__(self, rng: np.random.Generator) -> tuple[tuple[Array, ...], Array]:
        """Return one example: what the network is given, and the target."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast to learn: steps, examples per step, highest learning rate, seed of the examples."""

    steps: int
    batch: int
    rate: float
    seed: int


def batch_of(source: Source, plan: Plan, step: int) -> Batch:
    """Return the batch of one step."""
    made = [source(np.random.default_rng([plan.seed, step, n])) for n in range(plan.batch)]
    inputs = tuple(torch.from_numpy(np.stack([one[0][k] for one in made])) for k in range(len(made[0][0])))
    return inputs, torch.from_numpy(np.stack([one[1] for one in made]))


def learn(
    name: str,
    network: nn.Module,
    source: Source,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    plan: Plan,
    *,
    state: Path | None = None,
    seconds: float = 1e9,
) -> bool:
    """Train `network` in place with one cycle of AdamW; return whether it came to the end of its plan.

    Parameters
    ----------
    state : Path, optional
        Where the training stands is kept here: a second call goes on from there.
    seconds : float
        Stop after so long, to be called again.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.rate, total_steps=plan.steps + 1, pct_start=0.15)
    first = _restored(state, network, optimiser, schedule)
    began, losses = time.monotonic(), list[float]()
    for step in range(first, plan.steps):
        inputs, target = batch_of(source, plan, step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(*inputs)
        loss = loss_of(logits.float(), target)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        late = time.monotonic() - began > seconds
        if (step + 1) % 50 == 0 or step + 1 == plan.steps or late:
            tell(f"{name} {step + 1}/{plan.steps} loss {np.mean(losses[-50:]):.4f} {time.monotonic() - began:.0f} s")
            _keep(state, network, optimiser, schedule, step + 1)
        if late:
            break
    network.eval()
    return not losses or step + 1 == plan.steps


def _keep(
    state: Path | None,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.OneCycleLR,
    step: int,
) -> None:
    if state is None:
        return
    told = {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "step": step,
    }
    torch.save(told, state.with_suffix(".part"))
    state.with_suffix(".part").replace(state)


def _restored(
    state: Path | None,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.OneCycleLR,
) -> int:
    """Return the step to go on from."""
    if state is None or not state.exists():
        return 0
    told = torch.load(state, weights_only=True)
    network.load_state_dict(told["network"])
    optimiser.load_state_dict(told["optimiser"])
    schedule.load_state_dict(told["schedule"])
    return int(told["step"])


def begin(network: nn.Module, seed: int) -> None:
    """Give a network the first weights of its seed, whatever was made or trained before it."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_parameters()


def speck_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of the finder of calcifications; `target` is [b, speck and weight, j, i]."""
    speck, weight = target[:, 0], target[:, 1]
    each = functional.binary_cross_entropy_with_logits(logits[:, 0], speck, reduction="none")
    return ((1 + PEAK_WEIGHT * speck) * weight * each).sum() / weight.sum().clamp_min(1)


def mass_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the loss of the finder of masses; `target` is [b, extent, j, i]."""
    extent = target[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(logits[:, 0], extent, weight=1 + 4 * extent)
    share = torch.sigmoid(logits[:, 0])
    dice = (2 * (share * extent).sum((1, 2)) + 50) / (share.sum((1, 2)) + extent.sum((1, 2)) + 50)
    return 2 * entropy + (1 - dice).mean()


def judge_loss(counts: Sequence[NDArray[np.intp]]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss of a judge, given how often each word of its lists occurs: rare words weigh more.

    Its `target` is [b, 2 + lists]: lesion, malignant, then the place of the word in each list; -1 where not known.
    """
    weights = [torch.from_numpy((each > 0) * np.maximum(each, 1.0) ** -RARE).float() for each in counts]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        total = functional.binary_cross_entropy_with_logits(logits[:, 0], target[:, 0])
        told = target[:, 1] >= 0
        if told.any():
            total = total + 0.5 * functional.binary_cross_entropy_with_logits(logits[told, 1], target[told, 1])
        first = 2
        for place, weight in enumerate(weights, start=2):
            words, said = target[:, place].long(), logits[:, first : first + len(weight)]
            if (words >= 0).any():
                total = total + functional.cross_entropy(said, words, weight, ignore_index=-1, label_smoothing=0.02)
            first += len(weight)
        return total

    return loss


def turned(rng: np.random.Generator, *images: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return images [..., j, i], all mirrored and turned by the same random multiple of 90 degrees."""
    turns, mirror = int(rng.integers(4)), bool(rng.random() < 0.5)

    def turn(image: NDArray[np.float32]) -> NDArray[np.float32]:
        image = np.rot90(image, turns, axes=(-2, -1))
        return np.ascontiguousarray(image[..., ::-1] if mirror else image)

    return tuple(turn(image) for image in images)


def tell(line: str) -> None:
    """Write a progress line."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201
