"""Lung nodules on chest CT: lungs, detection, measurement, and what is said of each nodule in coded words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Result
from pacsai.pipeline import Lesion, Phantom
from pacsai.volume import Volume
from pipelines.chest_ct_nodules.detect import THRESHOLD, Mark, detect
from pipelines.chest_ct_nodules.lungs import Lungs, segment_lungs
from pipelines.chest_ct_nodules.measure import Measures, NoduleType, measure
from pipelines.chest_ct_nodules.net import Networks, load_networks
from pipelines.chest_ct_nodules.phantom import chest_phantom
from pipelines.chest_ct_nodules.turn import Turn, turn_of

MASS_MM = 30.0
"""From this long axis on it is called a mass (Fleischner Society, Radiology 2008;246:697)."""
TYPES = {
    NoduleType.SOLID: terms.SOLID,
    NoduleType.PART_SOLID: terms.PART_SOLID,
    NoduleType.GROUND_GLASS: terms.GROUND_GLASS,
    NoduleType.CALCIFIED: terms.CALCIFIED,
}
NO_LUNGS = "no lungs were found in the images"
CUT = "cut by the edge of the scan: it is larger than what was measured"
THIRDS = ("lower", "middle", "upper")


@dataclass(frozen=True, slots=True, eq=False)
class ChestCTNodules:
    """The pipeline with its trained networks; `threshold` is the operating point, 0 keeps every candidate."""

    networks: Networks
    threshold: float = THRESHOLD

    def analyse(self, volume: Volume) -> Result:
        """Return the nodules of a chest CT in HU, most probable first; *not analysed* where there are no lungs."""
        turn = turn_of(volume.affine)
        array, spacing_mm = turn(volume.array), turn.spacing_mm(volume.spacing_mm)
        lungs = segment_lungs(array, spacing_mm)
        if not lungs.found:
            return Result.not_analysed(NO_LUNGS)
        marks = detect(array, spacing_mm, lungs.closed, self.networks, threshold=self.threshold)
        findings = (
            _finding(mark, measure(mark.mask, array[_box(mark)], spacing_mm), lungs, volume, turn, number)
            for number, mark in enumerate(marks, start=1)
        )
        return Result.of(tuple(findings))

    def every_candidate(self) -> ChestCTNodules:
        """Return the pipeline without an operating point, which is what a FROC is drawn of."""
        return replace(self, threshold=0.0)


def load(weights: Path | None) -> ChestCTNodules:
    """Return the pipeline with the networks of the file `weights`.

    Raises
    ------
    ValueError
        There is no file, or it was made for other networks.
    """
    if weights is None:
        raise ValueError("chest_ct_nodules cannot run without its weights")
    return ChestCTNodules(load_networks(weights))


def phantom(seed: int, full: bool = False) -> Phantom:
    """Return a generated chest with its nodules, coarse (2.5 mm) or as a scanner would give it (`full`)."""
    made = chest_phantom(seed, small=not full)
    affine = np.diag([*made.spacing_mm[::-1], 1.0])
    affine[:3, 3] = -(np.array(made.array_hu.shape[::-1]) - 1) / 2 * made.spacing_mm[::-1]
    volume = Volume(made.array_hu.astype(np.float32), affine, frame_of_reference_uid="", source=())
    return Phantom(
        volume,
        tuple(
            Lesion(_place(volume, nodule.centre_kji), nodule.diameter_mm, f"{nodule.kind}, {nodule.attachment}")
            for nodule in made.nodules
        ),
    )


def _finding(mark: Mark, measures: Measures, lungs: Lungs, volume: Volume, turn: Turn, number: int) -> Finding:
    mask = turn.back(mark.mask, mark.offset_kji, volume.shape_kji)
    mass = measures.long_axis_mm >= MASS_MM
    return Finding(
        kind=terms.MASS if mass else terms.NODULE,
        label=f"{'Mass' if mass else 'Nodule'} {number}",
        probability=mark.probability,
        centre_mm=_place(volume, np.add(ndimage.center_of_mass(mask.array), mask.offset_kji)),
        site=terms.LUNG,
        laterality=_laterality(mark, lungs),
        mask=mask,
        measurements=_measurements(measures),
        qualities=((terms.NODULE_TYPE, TYPES[measures.kind]),),
        remarks=_remarks(mark, mask, lungs, volume.shape_kji),
    )


def _measurements(measures: Measures) -> tuple[Measurement, ...]:
    return (
        Measurement(terms.LONG_AXIS, measures.long_axis_mm, terms.MM),
        Measurement(terms.SHORT_AXIS, measures.short_axis_mm, terms.MM),
        Measurement(terms.VOLUME, measures.volume_mm3, terms.MM3, terms.SUM_OF_VOXELS),
        Measurement(terms.ATTENUATION, measures.mean_hu, terms.HU, terms.MEAN),
    )


def _laterality(mark: Mark, lungs: Lungs) -> terms.Code | None:
    """Return the side of the lung that holds more of the nodule; None where none holds any."""
    left, right = (int((side[_box(mark)] & mark.mask).sum()) for side in (lungs.left, lungs.right))
    if left == right:
        return None
    return terms.LEFT if left > right else terms.RIGHT


def _remarks(mark: Mark, mask: Mask, lungs: Lungs, shape_kji: tuple[int, int, int]) -> tuple[str, ...]:
    ends = zip(mask.offset_kji, mask.array.shape, shape_kji, strict=True)
    cut = any(first == 0 or first + size == n for first, size, n in ends)
    return tuple(remark for remark in (_height(mark, lungs), CUT if cut else "") if remark)


def _height(mark: Mark, lungs: Lungs) -> str:
    """Return the third of its lung that a nodule lies in, by height and not by lobe; empty where the scan cuts it."""
    side = _laterality(mark, lungs)
    if side is None:
        return ""
    levels = np.flatnonzero((lungs.air & (lungs.left if side == terms.LEFT else lungs.right)).any(axis=(1, 2)))
    if not levels.size or levels[0] == 0 or levels[-1] == len(lungs.left) - 1:
        return ""
    part = (mark.centre_kji[0] - levels[0]) / (levels[-1] - levels[0])
    third = THIRDS[min(2, max(0, int(3 * part)))]
    return f"{third} third of the {side.meaning.lower()} lung, by height and not by lobe"


def _box(mark: Mark) -> tuple[slice, slice, slice]:
    k, j, i = (slice(first, first + size) for first, size in zip(mark.offset_kji, mark.mask.shape, strict=True))
    return k, j, i


def _place(volume: Volume, kji: NDArray[np.float64] | tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (float(coordinate) for coordinate in volume.world_mm(kji))
    return x, y, z
