"""The network: an encoder per MR sequence, features fused by mean and variance, one 3-D U-Net behind.

After Havaei et al., "HeMIS: Hetero-Modal Image Segmentation", MICCAI 2016: the fused features do not depend on how
many sequences there are, so a missing one needs no stand-in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacsai.networks import folded, load_weights, save_weights, unfolded

ARCHITECTURE = "brain_lesions/1"
"""Written into the weights' metadata: a file made for other shapes is refused by name."""
SEQUENCES = ("FLAIR", "T1", "T1C", "T2")
CLASSES = ("lesion",)
TUMOUR_CLASSES = ("enhancing", "necrotic", "oedema")
ARCHITECTURES = {CLASSES: ARCHITECTURE, TUMOUR_CLASSES: "brain_tumours/1"}
SIDE = 16
"""Sides of what the network sees must be multiples of this."""


def _block(*widths: int) -> nn.Sequential:
    """Return convolutions from each width to the next."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv3d(a, b, 3, padding=1, bias=False), nn.BatchNorm3d(b), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


def fused(features: Sequence[Tensor], rows: Sequence[Tensor], batch: int) -> Tensor:
    """Return mean and variance over the sequences that each example has.

    Parameters
    ----------
    features : of each sequence, [n, c, k, j, i]
        Only of the examples that have it.
    rows : of each sequence, int [n]
        Which examples these are.
    batch : int
        How many examples there are; each has at least one sequence.

    Returns
    -------
    [batch, 2 c, k, j, i]
        Means, then variances; the variance of one sequence is 0.
    """
    count = torch.bincount(torch.cat(list(rows)), minlength=batch).to(features[0].dtype).reshape(-1, 1, 1, 1, 1)
    shape = (batch, *features[0].shape[1:])
    mean = _summed(features, rows, shape) / count
    gaps = [(feature - mean[row]) ** 2 for feature, row in zip(features, rows, strict=True)]
    return torch.cat([mean, _summed(gaps, rows, shape) / count], dim=1)


def _summed(parts: Sequence[Tensor], rows: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    total = parts[0].new_zeros(shape)
    for part, row in zip(parts, rows, strict=True):
        total = total.index_add(0, row, part)
    return total


class LesionNet(nn.Module):
    """Logits of each of `classes` per voxel, from any of the sequences that are there.

    Works on a folded grid (2 x 2 x 2 voxels as channels) and answers on the full one, so that small lesions keep
    their outline; four levels see about 100 mm around.
    """

    def __init__(
        self, own: int = 16, widths: tuple[int, ...] = (32, 48, 48, 64), classes: tuple[str, ...] = CLASSES
    ) -> None:
        super().__init__()
        self.classes = classes
        self.encoders = nn.ModuleDict({name: _block(8, own, own) for name in SEQUENCES})
        first, *deeper = widths
        self.down = nn.ModuleList([_block(2 * own, first)])
        self.down.extend(_block(a, b, b) for a, b in pairwise([first, *deeper]))
        # the grid of the first level is the dearest: one convolution each way
        self.up = nn.ModuleList(_block(a + b, b, b) for a, b in pairwise(deeper[::-1]))
        self.up.append(_block(deeper[0] + first, first))
        self.head = nn.Conv3d(widths[0], 8 * len(classes), 1)
        nn.init.constant_(self.head.get_parameter("bias"), -3.0)  # most voxels are no lesion

    def forward(self, images: Tensor, present: Tensor) -> Tensor:
        """Return logits [b, classes, k, j, i].

        Parameters
        ----------
        images : [b, 4, k, j, i]
            Normalised images in the order of `SEQUENCES`, 0 outside the brain; what is not present is not looked at.
        present : bool [b, 4]
        """
        x = self._merged(images, present)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if level else x)
            kept.append(x)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return unfolded(self.head(x))

    def _merged(self, images: Tensor, present: Tensor) -> Tensor:
        """Return the fused features; what is not present is not even encoded."""
        there = [n for n in range(len(SEQUENCES)) if bool(present[:, n].any())]
        rows = [present[:, n].nonzero()[:, 0] for n in there]
        features = [
            self.encoders[SEQUENCES[n]](folded(images[row, n : n + 1])) for n, row in zip(there, rows, strict=True)
        ]
        return fused(features, rows, len(images))


def save_network(network: LesionNet, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights with `metadata`."""
    save_weights(network, path, ARCHITECTURES[network.classes], metadata)


def load_network(path: Path, classes: tuple[str, ...] = CLASSES) -> LesionNet:
    """Return the network of `classes` of the safetensors file `path`; raise ValueError as `load_weights` does."""
    network = LesionNet(classes=classes)
    load_weights(network, path, ARCHITECTURES[classes])
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return network
