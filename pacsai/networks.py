"""What the networks of all pipelines share: their files of weights, and folding, which makes the widest layers small.

A file of weights is data, never a program: safetensors, and checked name by name and shape by shape before it is used.
Only pipelines import this, in the processes that analyse: the node itself needs no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


def folded(x: Tensor) -> Tensor:
    """Return blocks of 2 x 2 x 2 voxels of [b, c, k, j, i] as eight channels: half the grid, nothing lost."""
    b, c, d, h, w = x.shape
    x = x.reshape(b, c, d // 2, 2, h // 2, 2, w // 2, 2)
    return x.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * 8, d // 2, h // 2, w // 2)


def unfolded(x: Tensor) -> Tensor:
    """Return the inverse of `folded`."""
    b, c, d, h, w = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, d, h, w)
    return x.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // 8, 2 * d, 2 * h, 2 * w)


def save_weights(network: nn.Module, path: Path, architecture: str, metadata: Mapping[str, str]) -> None:
    """Write the weights, half precision, with `metadata` beside the architecture's name."""
    tensors = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(tensors, path, {"architecture": architecture, **metadata})


def load_weights(network: nn.Module, path: Path, architecture: str) -> None:
    """Fill `network` from the safetensors file `path` and put it into evaluation mode.

    Raises
    ------
    ValueError
        When the file was made for another architecture or a tensor is missing, unknown or of another shape.
    """
    with safe_open(path, framework="pt") as file:
        found = (file.metadata() or {}).get("architecture")
        if found != architecture:
            raise ValueError(
                f"{path.name} holds weights of architecture {found!r}; this pipeline needs {architecture!r}"
            )
        tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    wanted = {k: v.shape for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v.shape for k, v in tensors.items()}
    if wanted != given:
        wrong = sorted(k for k in wanted.keys() | given.keys() if wanted.get(k) != given.get(k))
        raise ValueError(
            f"{path.name}: {len(wrong)} tensors are missing, unknown or of another shape, first {wrong[0]}"
        )
    network.load_state_dict(tensors, strict=False)
    network.eval()
