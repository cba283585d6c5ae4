"""The three networks of the nodule pipeline and their one file of weights.

All see Hounsfield units through `scaled`, take tensors [batch, channel, k, j, i] and return logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from pacsai.networks import folded, load_weights, save_weights, unfolded

ARCHITECTURE = "chest_ct_nodules/1"
"""Written into the weights' metadata: a file made for other shapes is refused by name."""


@dataclass(frozen=True, slots=True, eq=False)
class Networks:
    """Detector, false-positive reduction and segmentation, in evaluation mode."""

    detector: UNet
    reducer: Reducer
    segmenter: UNet


def scaled(hu: Tensor) -> Tensor:
    """Return Hounsfield units from -1000 to 400 as about -1 to 1."""
    return (hu.clamp(-1000, 400) + 300) / 700


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in ((inputs, outputs), (outputs, outputs)):
        layers += [nn.Conv3d(a, b, 3, padding=1, bias=False), nn.BatchNorm3d(b), nn.LeakyReLU(0.1, inplace=True)]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """A 3-D U-Net that works on a folded grid and answers on the full one.

    Folding the input makes the widest layers eight times smaller; unfolding the output gives every voxel its own
    logit, so that nodules of 4 mm are not lost to a coarse grid. Sides must be multiples of 8.
    """

    def __init__(self, outputs: int, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        self.down = nn.ModuleList(_block(a, b) for a, b in zip((8, *widths[:-1]), widths, strict=True))
        pairs = zip(widths[:0:-1], widths[-2::-1], strict=True)
        self.up = nn.ModuleList(_block(a + b, b) for a, b in pairs)
        self.head = nn.Conv3d(widths[0], outputs * 8, 1)
        nn.init.constant_(self.head.get_parameter("bias"), -2.0)  # most voxels are no nodule

    def begin_from(self, other: UNet) -> None:
        """Copy everything but the head from a network of the same widths."""
        self.down.load_state_dict(other.down.state_dict())
        self.up.load_state_dict(other.up.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [b, outputs, k, j, i] of a scaled image [b, 1, k, j, i]."""
        x = folded(x)
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool3d(x, 2) if level else x)
            kept.append(x)
        for block, skip in zip(self.up, kept[-2::-1], strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip], dim=1))
        return unfolded(self.head(x))


class Reducer(nn.Module):
    """Is this candidate a nodule? Looks at 32 mm around it at 1 mm and at 64 mm at 2 mm."""

    def __init__(self, widths: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        self.near, self.far = self._stream(widths), self._stream(widths)
        self.head = nn.Sequential(nn.Linear(4 * widths[-1], 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1))

    def begin_from(self, detector: UNet) -> None:
        """Copy the detector's way down into both streams, so that they start from what it has learned."""
        for stream in (self.near, self.far):
            own = [layer for layer in stream if isinstance(layer, nn.Sequential)]
            for block, learned in zip(own, detector.down, strict=False):
                block.load_state_dict(learned.state_dict())

    @staticmethod
    def _stream(widths: tuple[int, ...]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for level, (a, b) in enumerate(zip((8, *widths[:-1]), widths, strict=True)):
            layers += [nn.MaxPool3d(2)] if level else []
            layers.append(_block(a, b))
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [b] of scaled crops [b, 1, 64, 64, 64] at 1 mm, the candidate in the middle."""
        near = self.near(folded(x[:, :, 16:48, 16:48, 16:48]))
        far = self.far(folded(functional.avg_pool3d(x, 2)))
        core = [part[:, :, 1:3, 1:3, 1:3].mean(dim=(2, 3, 4)) for part in (near, far)]
        rest = [part.mean(dim=(2, 3, 4)) for part in (near, far)]
        logit: Tensor = self.head(torch.cat(core + rest, dim=1))
        return logit[:, 0]


def new_networks() -> Networks:
    """Return untrained networks: the detector answers (centre, nodule), the segmenter (nodule)."""
    return Networks(UNet(outputs=2), Reducer(), UNet(outputs=1))


def _together(networks: Networks) -> nn.Module:
    return nn.ModuleDict({"detector": networks.detector, "reducer": networks.reducer, "segmenter": networks.segmenter})


def save_networks(networks: Networks, path: Path, metadata: Mapping[str, str]) -> None:
    """Write the weights with `metadata`."""
    save_weights(_together(networks), path, ARCHITECTURE, metadata)


def load_networks(path: Path) -> Networks:
    """Return the networks of the safetensors file `path`; raise ValueError as `load_weights` does."""
    networks = new_networks()
    together = _together(networks)
    load_weights(together, path, ARCHITECTURE)
    together.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return networks
