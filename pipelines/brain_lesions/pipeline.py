"""Lesions of the brain on MR: prepared, found, placed, followed, and told in coded words on the reference's grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Outcome, Result
from pacsai.pipeline import Lesion, Phantom
from pacsai.sequences import Prior, Sequences
from pacsai.volume import Grid, Volume
from pipelines.brain_lesions.anatomy import Place, anatomy, places
from pipelines.brain_lesions.detect import SHIPPED, Rule
from pipelines.brain_lesions.earlier import Comparison, compared
from pipelines.brain_lesions.followed import Followed, place
from pipelines.brain_lesions.net import TUMOUR_CLASSES, LesionNet, load_network
from pipelines.brain_lesions.phantom import brain_phantom
from pipelines.brain_lesions.prepare import Unfit, labels_back_onto
from pipelines.brain_lesions.study import Read, read
from pipelines.brain_lesions.telling import compared_with, gone, total
from pipelines.brain_lesions.tumour_telling import LABELS, Tumour, apart, tumour_findings, tumour_of

TUMOUR_WEIGHTS = "tumour.safetensors"
VOLUMES = "volumes are those of the voxels of the reference series, volumes of the earlier study those on a 1 mm grid"


@dataclass(frozen=True, slots=True, eq=False)
class BrainLesions:
    """The pipeline with its trained networks; `rule` is the operating point of the first."""

    network: LesionNet
    rule: Rule = SHIPPED
    tumours: LesionNet | None = None

    def analyse(self, sequences: Sequences) -> Result:
        """Return the tumour's parts and the lesions of a study of the head, the largest first, with their change.

        *Not analysed* where the study cannot be prepared. An earlier study that cannot be is told in a remark.
        """
        try:
            current = read(sequences, self.network, self.rule)
        except Unfit as reason:
            return Result.not_analysed(str(reason))
        prior, remarks = sequences.prior, current.prepared.remarks
        tumour, told = tumour_of(current, self.tumours) if self.tumours else (None, ())
        remarks += told
        if tumour:
            current, told = apart(current, tumour)
            remarks += told
        comparison = None
        if prior is not None:
            comparison, told = self._compared(current, prior, tumour)
            remarks += told
        if comparison:
            current = replace(current, labels=comparison.labels)
        result = _result(current, prior, comparison, remarks)
        return _with_tumour(result, tumour_findings(current, tumour, prior)) if tumour else result

    def _compared(
        self, current: Read, prior: Prior, tumour: Tumour | None
    ) -> tuple[Comparison | None, tuple[str, ...]]:
        """Return the comparison, or None and why there is none."""
        known = tuple(one for one in prior.known if one.label not in LABELS)
        try:
            found = compared(current, replace(prior, known=known), self.network, tumour.whole if tumour else None)
        except Unfit as reason:
            return None, (f"not compared with the earlier study: {reason}",)
        return found, (*found.remarks, VOLUMES)


def load(weights: Path | None) -> BrainLesions:
    """Return the pipeline with the network of the file `weights`, and that of tumours where it lies beside.

    Raises
    ------
    ValueError
        There is no file, or it was made for another network.
    """
    if weights is None:
        raise ValueError("brain_lesions cannot run without its weights")
    beside = weights.with_name(TUMOUR_WEIGHTS)
    tumours = load_network(beside, TUMOUR_CLASSES) if beside.is_file() else None
    return BrainLesions(load_network(weights), tumours=tumours)


def phantom(seed: int, full: bool = False) -> Phantom:
    """Return a generated brain with its lesions: FLAIR and T1 of 2 mm, or all four sequences of 1 mm (`full`)."""
    made = brain_phantom(seed)
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(made.brain.shape[::-1]) - 1) / 2
    grids = {name: Grid(image, affine) for name, image in made.images.items()}
    if not full:
        grids = {name: _halved(grids[name]) for name in ("FLAIR", "T1")}
    volumes = {name: Volume(grid.array, grid.affine, "", ()) for name, grid in grids.items()}
    return Phantom(volumes["FLAIR"], _truth(made.truth, affine), Sequences(volumes, "FLAIR"))


def _halved(grid: Grid) -> Grid:
    """Return means over 2 x 2 x 2 voxels."""
    k, j, i = (n // 2 for n in grid.shape_kji)
    array = grid.array[: 2 * k, : 2 * j, : 2 * i].reshape(k, 2, j, 2, i, 2).mean(axis=(1, 3, 5))
    affine = grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = grid.world_mm((0.5, 0.5, 0.5))
    return Grid(array, affine)


def _truth(mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> tuple[Lesion, ...]:
    labels, n = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    centres = ndimage.center_of_mass(mask, labels, range(1, n + 1))
    return tuple(
        Lesion(place(affine, kji[::-1]), float((6 * size / np.pi) ** (1 / 3)), "lesion of white matter")
        for kji, size in zip(centres, sizes, strict=True)
    )


def _result(current: Read, prior: Prior | None, comparison: Comparison | None, remarks: tuple[str, ...]) -> Result:
    """Return what is told: findings, their total, and what they were compared with."""
    followed = comparison.followed if comparison else ()
    findings = _findings(current, {one.label: one for one in followed if one.label})
    lost = len(np.unique(current.labels)) - 1 - len(findings)
    if lost:
        remarks += (f"{lost} lesions are too small to fill half a voxel of the reference series, and are not told",)
    findings += [gone(one, "") for one in followed if not one.label]
    findings = _named(findings)
    result = Result.of(tuple(findings), remarks)
    prior_mm3 = comparison.prior_mm3 if comparison else None
    if findings:
        result = replace(result, totals=(total(findings, current.reference.shape_kji, prior_mm3),))
    if prior is not None and comparison:
        result = replace(result, earlier=compared_with(prior, current.reference, prior_mm3))
    return result


def _with_tumour(result: Result, parts: list[Finding]) -> Result:
    """Return the result with the parts of the tumour before all else; the total stays that of the lesions."""
    findings = (*parts, *result.findings)
    return replace(result, outcome=Outcome.FINDINGS if findings else result.outcome, findings=findings)


def _findings(current: Read, followed: Mapping[int, Followed]) -> list[Finding]:
    """Return the lesions that the reference's grid shows, the largest first, without their names."""
    labels = labels_back_onto(current.reference, current.labels, current.prepared.affine)
    flair = current.prepared.images["FLAIR"]
    where = places(anatomy(flair, current.prepared.brain), current.labels)
    probabilities = ndimage.mean(current.probability, current.labels, range(int(current.labels.max()) + 1))
    findings = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            mask = Mask(labels[box] == number, (box[0].start, box[1].start, box[2].start))
            finding = _finding(current.reference, mask, float(probabilities[number]), where[number])
            findings.append(_compared(finding, followed.get(number)))
    return sorted(findings, key=lambda one: -(one.value(terms.VOLUME) or 0.0))


def _finding(reference: Volume, mask: Mask, probability: float, where: Place) -> Finding:
    volume_mm3 = float(mask.array.sum() * np.prod(reference.spacing_mm))
    kji = np.argwhere(mask.array).mean(axis=0) + mask.offset_kji
    return Finding(
        kind=terms.LESION_OF_BRAIN,
        label="",
        probability=probability,
        centre_mm=place(reference.affine, kji[::-1]),
        site=where.site or terms.BRAIN,
        laterality=where.laterality,
        mask=mask,
        measurements=(Measurement(terms.VOLUME, volume_mm3, terms.MM3, terms.SUM_OF_VOXELS),),
        remarks=(f"{where.region}, {where.side}",),
    )


def _compared(finding: Finding, one: Followed | None) -> Finding:
    """Return the finding with what became of it since the earlier study."""
    if one is None:
        return finding
    return replace(
        finding,
        label=one.known_as,
        tracking_uid=one.tracking_uid,
        change=one.change,
        prior_volume_mm3=one.prior_volume_mm3,
        remarks=(*finding.remarks, *one.remarks),
    )


def _named(findings: list[Finding]) -> list[Finding]:
    """Return the findings, each with a name: that of the earlier report, else the next number that it has not."""
    taken = {finding.label for finding in findings}
    free: Iterator[str] = (name for name in (f"Lesion {n}" for n in count(1)) if name not in taken)
    return [finding if finding.label else replace(finding, label=next(free)) for finding in findings]
