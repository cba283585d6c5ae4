"""The networks of the mammography pipeline and their one file of weights.

All take tensors [batch, channel, j, i] and return logits. Two finders look at whole images, two judges at candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacsai.networks import load_weights, save_weights

ARCHITECTURE = "mammography_cad/3"
"""Written into the weights' metadata: a file made for other shapes is refused by name."""
SHAPES = ("round", "oval", "irregular")
MARGINS = ("circumscribed", "microlobulated", "obscured", "indistinct", "spiculated")
DENSITIES = ("high", "equal", "low")
KINDS = ("mass", "distortion", "asymmetry")
MORPHOLOGIES = ("punctate", "amorphous", "coarse heterogeneous", "fine pleomorphic", "fine linear branching")
DISTRIBUTIONS = ("grouped", "linear", "segmental", "regional", "diffuse")
MASS_WORDS: Mapping[str, tuple[str, ...]] = {"kind": KINDS, "shape": SHAPES, "margin": MARGINS, "density": DENSITIES}
SPECK_WORDS: Mapping[str, tuple[str, ...]] = {"morphology": MORPHOLOGIES, "distribution": DISTRIBUTIONS}
MASS_FEATURES, BREAST_FEATURES, SPECK_FEATURES = 22, 5, 16
"""How many are measured; those of the whole breast are among those of a mass."""
NEAR, FAR = 128, 80
"""Pixels along a side of what a judge sees from near and from far."""


def folded(x: Tensor) -> Tensor:
    """Return blocks of 2 x 2 pixels as four channels: half the grid, nothing lost."""
    return functional.pixel_unshuffle(x, 2)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class Finder(nn.Module):
    """A U-Net over the whole image that answers on half its grid. Sides must be multiples of `multiple`."""

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((4 * channels, *widths[:-1]), widths, strict=True))
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairs)
        self.head = nn.Conv2d(widths[0], 1, 1)
        nn.init.constant_(self.head.get_parameter("bias"), -3.0)  # most pixels are no lesion

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [b, 1, j / 2, i / 2] of an image [b, channels, j, i]."""
        x = folded(x)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


class Judge(nn.Module):
    """Tells whether a candidate is a lesion, whether it is malignant, and how it is described.

    A local stream (near), a contextual one (far) and measured features, joined before the last layers.
    """

    def __init__(self, features: int, words: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.words = words
        self.near, self.far = self._stream((24, 32, 48, 64)), self._stream((24, 32, 48, 64))
        self.measured = nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, 32), nn.ReLU())
        inputs = 4 * 64 + 32
        self.head = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(inputs, 96), nn.ReLU(), nn.Dropout(0.2), nn.Linear(96, self.outputs)
        )

    @property
    def outputs(self) -> int:
        """Return how many logits there are: lesion, malignant, then those of each word."""
        return 2 + sum(len(names) for names in self.words.values())

    @staticmethod
    def _stream(widths: tuple[int, ...]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for level, (a, b) in enumerate(zip((8, *widths[:-1]), widths, strict=True)):
            layers += [nn.MaxPool2d(2)] if level else []
            layers.append(_block(a, b))
        return nn.Sequential(*layers)

    def forward(self, near: Tensor, far: Tensor, features: Tensor) -> Tensor:
        """Return logits [b, outputs] of crops [b, 2, NEAR, NEAR], [b, 2, FAR, FAR] and features [b, n]."""
        parts = [self.near(folded(near)), self.far(folded(far))]
        core = [
            x[:, :, x.shape[2] // 2 - 2 : x.shape[2] // 2 + 2, x.shape[3] // 2 - 2 : x.shape[3] // 2 + 2] for x in parts
        ]
        pooled = [x.mean(dim=(2, 3)) for x in (*core, *parts)]
        logits: Tensor = self.head(torch.cat([*pooled, self.measured(features)], dim=1))
        return logits


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """All four, in evaluation mode.

    Attributes
    ----------
    masses : Finder
        At 0.4 mm: (grey, local contrast) to masses, distortions and asymmetries, as far as they reach.
    specks : Finder
        At 0.1 mm: local contrast to single calcifications.
    mass_judge, speck_judge : Judge
    """

    masses: Finder
    specks: Finder
    mass_judge: Judge
    speck_judge: Judge


def new_networks() -> Networks:
    """Return untrained networks."""
    return Networks(
        Finder(2, (32, 48, 64, 96)),
        Finder(1, (16, 24, 32)),
        Judge(MASS_FEATURES, MASS_WORDS),
        Judge(SPECK_FEATURES, SPECK_WORDS),
    )


def parts(networks: Networks) -> Mapping[str, nn.Module]:
    """Return the networks by name."""
    return {name: getattr(networks, name) for name in Networks.__slots__}


def _together(networks: Networks) -> nn.Module:
    return nn.ModuleDict(parts(networks))


def save_networks(networks: Networks, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights with `metadata`."""
    save_weights(_together(networks), path, ARCHITECTURE, metadata)


def load_networks(path: Path) -> Networks:
    """Return the networks of the safetensors file `path`; raise ValueError as `load_weights` does."""
    networks = new_networks()
    together = _together(networks)
    load_weights(together, path, ARCHITECTURE)
    together.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return networks
