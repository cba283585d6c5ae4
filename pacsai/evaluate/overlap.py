"""Scoring of segmentations: voxels, lesions, volume and surfaces of what was found against what is there.

The rules are written down in docs/evaluation.md. Knows nothing of DICOM or of pipelines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SMALLEST_MM3 = 3.0
"""Pieces below this volume are no lesions, neither to be found nor false (MSSEG challenge 2016)."""
SHARE = 0.1
"""Part of a lesion that the other mask must cover for it to count as found, or as true."""
PERCENTILE = 95.0

Mask = NDArray[np.bool_]
Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Overlap:
    """The score of one study, or the mean of several; None where a figure has no meaning.

    Attributes
    ----------
    dice : float
        1 where both masks are empty.
    sensitivity_voxel : float or None
        Share of the true voxels that were found; None where there are none.
    lesion_sensitivity, lesion_precision, lesion_f1 : float or None
        Share of the lesions found; share of what was found that is true; their harmonic mean.
    volume_error_ml : float
        Found less true; of several studies the mean of its size.
    hausdorff95_mm : float or None
        The larger of the two directed 95th percentiles of surface distances; 0 where both masks are empty, None where
        one is.
    """

    dice: float
    sensitivity_voxel: float | None
    lesion_sensitivity: float | None
    lesion_precision: float | None
    lesion_f1: float | None
    volume_error_ml: float
    hausdorff95_mm: float | None
    volume_found_ml: float
    volume_true_ml: float


def score(found: Mask, truth: Mask, spacing_mm: Spacing) -> Overlap:
    """Return the score of a mask.

    Parameters
    ----------
    found, truth : bool [k, j, i]
        On one grid.
    spacing_mm : (z, y, x)
    """
    ml = float(np.prod(spacing_mm)) / 1000
    both, sizes = int((found & truth).sum()), (int(found.sum()), int(truth.sum()))
    hits, true = covered(truth, found, spacing_mm), covered(found, truth, spacing_mm)
    sensitivity, precision = _share(*hits), _share(*true)
    return Overlap(
        dice=2 * both / sum(sizes) if sum(sizes) else 1.0,
        sensitivity_voxel=_share(both, sizes[1]),
        lesion_sensitivity=sensitivity,
        lesion_precision=precision,
        lesion_f1=_f1(sensitivity, precision),
        volume_error_ml=(sizes[0] - sizes[1]) * ml,
        hausdorff95_mm=hausdorff95_mm(found, truth, spacing_mm),
        volume_found_ml=sizes[0] * ml,
        volume_true_ml=sizes[1] * ml,
    )


def mean(scores: Sequence[Overlap]) -> Overlap:
    """Return the mean of each figure over the studies in which it has a meaning; of volume errors the mean size."""
    means = {field.name: _mean([getattr(one, field.name) for one in scores]) for field in fields(Overlap)}
    means["volume_error_ml"] = _mean([abs(one.volume_error_ml) for one in scores])
    return Overlap(**means)  # type: ignore[arg-type]  # figures that every study has are never None


def as_json(one: Overlap) -> dict[str, float | None]:
    """Return the figures by name, rounded to what they are worth."""
    return {name: None if value is None else round(value, 4) for name, value in asdict(one).items()}


def covered(lesions: Mask, by: Mask, spacing_mm: Spacing) -> tuple[int, int]:
    """Return how many lesions of a mask are covered by the other to `SHARE`, and how many there are.

    A lesion is a piece that hangs together through sides, edges or corners, of `SMALLEST_MM3` or more.
    """
    labels, count = ndimage.label(lesions, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    inside = np.bincount(labels[by].ravel(), minlength=count + 1)[1:]
    counted = sizes * float(np.prod(spacing_mm)) >= SMALLEST_MM3
    return int((counted & (inside >= SHARE * sizes)).sum()), int(counted.sum())


def hausdorff95_mm(one: Mask, other: Mask, spacing_mm: Spacing) -> float | None:
    """Return the 95 % Hausdorff distance between the surface voxels' centres of two masks."""
    if not one.any() or not other.any():
        return None if one.any() or other.any() else 0.0
    (box,) = ndimage.find_objects((one | other).astype(np.uint8))
    surfaces = [_surface(mask[box]) for mask in (one, other)]
    away = [ndimage.distance_transform_edt(~surface, sampling=spacing_mm) for surface in surfaces]
    return float(max(np.percentile(away[1][surfaces[0]], PERCENTILE), np.percentile(away[0][surfaces[1]], PERCENTILE)))


def _surface(mask: Mask) -> Mask:
    """Return the voxels of a mask that have a side towards what is outside it."""
    return np.asarray(mask & ~ndimage.binary_erosion(mask))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _f1(sensitivity: float | None, precision: float | None) -> float | None:
    """Return the harmonic mean: 0 where there are lesions on one side alone, None where there are none at all."""
    if sensitivity is None and precision is None:
        return None
    product = (sensitivity or 0.0) * (precision or 0.0)
    return 2 * product / ((sensitivity or 0.0) + (precision or 0.0)) if product else 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
