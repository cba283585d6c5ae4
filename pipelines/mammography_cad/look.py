"""What the networks see of one view: the image on their own grids, its grey values and contrasts made alike.

Vendors, doses and curves differ; so each image is given as grey between the fat and the dense tissue of its own breast,
and as local contrast, which is how far a pixel is from its surroundings in units of what is usual there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.nn import functional

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
FINE_MM, MIDDLE_MM = 0.2, 0.4
SPECK_MM = 0.1
ASSUMED_LONG_SIDE_MM = 230.0
"""Where no header tells the pixel spacing: what the longer side of a mammogram is taken to be."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One view on the grids of the networks.

    Attributes
    ----------
    fine, middle : float32 [2, j, i]
        (grey, local contrast) at 0.2 and 0.4 mm; two fine pixels lie in one middle pixel along each axis.
    breast : bool [j, i]
        On the middle grid.
    scale : (rows, columns)
        How many pixels of the view one middle pixel spans.
    """

    fine: Array
    middle: Array
    breast: Mask
    scale: tuple[float, float]

    def to_view(self, place: tuple[float, float]) -> tuple[float, float]:
        """Return the view's pixel (row, column) of a place on the middle grid."""
        j, i = ((p + 0.5) * s - 0.5 for p, s in zip(place, self.scale, strict=True))
        return j, i

    def from_view(self, place: tuple[float, float]) -> tuple[float, float]:
        """Return the inverse of `to_view`."""
        j, i = ((p + 0.5) / s - 0.5 for p, s in zip(place, self.scale, strict=True))
        return j, i


def spacing_of(shape: tuple[int, ...], spacing_mm: tuple[float, float] | None) -> tuple[float, float]:
    """Return the pixel spacing, or what it is taken to be."""
    assumed = ASSUMED_LONG_SIDE_MM / max(shape)
    return spacing_mm or (assumed, assumed)


def look_at(array: Array, breast: Mask, spacing_mm: tuple[float, float]) -> Look:
    """Return what the networks see of an image.

    Parameters
    ----------
    array : float32 [j, i]
        Dense tissue bright.
    breast : bool [j, i]
    spacing_mm : (between rows, between columns)
    """
    fine = resized(array, spacing_mm, FINE_MM, even=True)
    middle = halved(fine)
    inside = resized(breast.astype(np.float32), spacing_mm, FINE_MM, even=True)
    mask = np.asarray(halved(inside) > 0.5, dtype=np.bool_)
    grey_fine, grey = (_grey(image, middle, mask) for image in (fine, middle))
    mean, spread = _surroundings(grey, mask)
    local = np.clip((grey - mean) / spread, -6, 6) * mask
    mean2, spread2, mask2 = (doubled(x) for x in (mean, spread, mask.astype(np.float32)))
    local_fine = np.clip((grey_fine - mean2) / spread2, -6, 6) * mask2
    scale = (array.shape[0] / middle.shape[0], array.shape[1] / middle.shape[1])
    return Look(
        np.stack([grey_fine * mask2, local_fine]).astype(np.float32),
        np.stack([grey * mask, local]).astype(np.float32),
        mask,
        scale,
    )


def resized(array: Array, spacing_mm: tuple[float, float], step_mm: float, *, even: bool = False) -> Array:
    """Return an image on square pixels of `step_mm`, smoothed where it becomes coarser; `even`: sides are even."""
    unit = 2 if even else 1
    size = [max(unit, unit * round(n * s / step_mm / unit)) for n, s in zip(array.shape, spacing_mm, strict=True)]
    if tuple(size) == array.shape:
        return array
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None, None]
    out = functional.interpolate(tensor, size=size, mode="bilinear", antialias=True, align_corners=False)
    return np.asarray(out[0, 0].numpy(), dtype=np.float32)


def halved(array: Array) -> Array:
    """Return the mean of blocks of 2 x 2 pixels."""
    return np.asarray(
        0.25 * (array[0::2, 0::2] + array[1::2, 0::2] + array[0::2, 1::2] + array[1::2, 1::2]), dtype=np.float32
    )


def doubled(array: Array) -> Array:
    """Return an image on a grid twice as fine, bilinear."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None, None]
    out = functional.interpolate(tensor, scale_factor=2.0, mode="bilinear", align_corners=False)
    return np.asarray(out[0, 0].numpy(), dtype=np.float32)


def _grey(image: Array, middle: Array, mask: Mask) -> Array:
    """Return 0 for the fat and 1 for the densest tissue of this breast."""
    inner = ndimage.binary_erosion(mask, iterations=10)
    values = middle[inner if inner.sum() > 500 else mask]
    low, high = (float(x) for x in np.percentile(values, (5, 99))) if values.size else (0.0, 1.0)
    return np.asarray(np.clip((image - low) / max(high - low, 1e-3), -1, 3), dtype=np.float32)


def _surroundings(grey: Array, mask: Mask) -> tuple[Array, Array]:
    """Return mean and deviation within some mm of each pixel of the breast."""
    weight = mask.astype(np.float32)
    mean = _blurred(grey, weight, 8.0 / MIDDLE_MM)
    variance = _blurred((grey - mean) ** 2, weight, 12.0 / MIDDLE_MM)
    return mean, np.asarray(np.sqrt(variance) + 0.02, dtype=np.float32)


def _blurred(image: Array, weight: Array, sigma: float) -> Array:
    """Return the mean of the weighted pixels about each pixel, found on a grid four times as coarse."""
    rows, columns = (-(-n // 4) * 4 for n in image.shape)
    pad = [(0, rows - image.shape[0]), (0, columns - image.shape[1])]
    both = [np.pad(x, pad).reshape(rows // 4, 4, columns // 4, 4).mean(axis=(1, 3)) for x in (image * weight, weight)]
    top, below = (ndimage.gaussian_filter(x, sigma / 4, truncate=3) for x in both)
    ratio = np.asarray(top / np.maximum(below, 1e-3), dtype=np.float32)
    large = doubled(doubled(ratio))
    return np.asarray(large[: image.shape[0], : image.shape[1]], dtype=np.float32)


def speck_contrast(image: Array, mask: Mask) -> Array:
    """Return how far each pixel of an image at 0.1 mm is above its surroundings, in units of what is usual there.

    Parameters
    ----------
    image : float32 [j, i]
    mask : bool [j, i]
        The breast.
    """
    weight = mask.astype(np.float32)
    high = (image - _blurred(image, weight, 0.8 / SPECK_MM)) * weight
    # the square of a speck must not hide it: what is far out is cut before the mean is taken
    usual = np.sqrt(_blurred(np.clip(high, -1, 1) ** 2, weight, 4.0 / SPECK_MM)) + 1e-4
    capped = np.minimum(np.abs(high), 2.5 * usual)
    spread = np.sqrt(_blurred(np.asarray(capped**2, dtype=np.float32), weight, 4.0 / SPECK_MM)) + 1e-4
    return np.asarray(np.clip(high / spread, -5, 20) * weight, dtype=np.float32)
