"""From the parts of a tumour to what a result says, and to which lesions are told as part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement
from pacsai.sequences import Known, Prior
from pipelines.brain_lesions.anatomy import Place, anatomy, places
from pipelines.brain_lesions.fields import Array, Bools
from pipelines.brain_lesions.followed import place
from pipelines.brain_lesions.net import TUMOUR_CLASSES, LesionNet
from pipelines.brain_lesions.prepare import labels_back_onto
from pipelines.brain_lesions.study import Read
from pipelines.brain_lesions.tumour import tumour_parts, tumour_probabilities

NEEDED = frozenset({"FLAIR", "T1C"})
"""Whether something enhances cannot be judged without contrast."""
PART_OF_IT = 0.5
"""Share of a lesion from which on it belongs to the tumour that it overlaps."""
KINDS = {
    "enhancing": (terms.ENHANCING_LESION, "Tumour, enhancing"),
    "necrotic": (terms.NECROSIS, "Tumour, necrosis"),
    "oedema": (terms.EDEMA, "Tumour, oedema"),
}
LABELS = frozenset(label for _, label in KINDS.values())
MOST_BRAIN_ML = 1900.0
"""More than this holds bone, sinuses or orbits, which enhance as tumours do (seen on both heads of pyradiomics)."""
CAUTION = "the tumour's network has seen generated tumours only; on two real ones it had a Dice of 0.2 and 0.0"
OEDEMA = "oedema, or tumour that does not enhance"


@dataclass(frozen=True, slots=True, eq=False)
class Tumour:
    """What was found, all tumours of the brain together.

    Attributes
    ----------
    parts : bool [k, j, i] by class
        On the model grid; not all are empty.
    probability : float32 [k, j, i] by class
    """

    parts: Mapping[str, Bools]
    probability: Mapping[str, Array]

    @property
    def whole(self) -> Bools:
        """Return all parts together."""
        return np.asarray(np.logical_or.reduce(list(self.parts.values())), dtype=np.bool_)


def tumour_of(current: Read, network: LesionNet) -> tuple[Tumour | None, tuple[str, ...]]:
    """Return the tumour of a study, None where there is none or it cannot be judged, and a remark where one is due."""
    prepared = current.prepared
    if not prepared.images.keys() >= NEEDED:
        return None, ()
    volume_ml = float(prepared.brain.sum()) * abs(float(np.linalg.det(prepared.affine[:3, :3]))) / 1000
    if volume_ml > MOST_BRAIN_ML:
        return None, (f"no tumour was looked for: what was cut out as brain has {volume_ml:.0f} mL, more than a brain",)
    probability = tumour_probabilities(prepared.images, prepared.brain, network)
    parts = tumour_parts(probability)
    return (Tumour(parts, probability) if any(part.any() for part in parts.values()) else None), ()


def apart(current: Read, tumour: Tumour) -> tuple[Read, tuple[str, ...]]:
    """Return the study with the lesions that are no part of the tumour, numbered anew, and a remark on the others."""
    labels, whole = current.labels, tumour.whole
    count = int(labels.max())
    shares = ndimage.mean(whole, labels, np.arange(count + 1)) if count else np.zeros(1)
    stay = np.asarray(shares) < PART_OF_IT
    stay[0] = False
    numbers = (np.cumsum(stay) * stay).astype(np.int32)
    kept = np.where(whole, 0, numbers[labels])
    taken = count - int(stay.sum())
    remarks = (f"{taken} lesions that lie in the tumour are told as part of it",) if taken else ()
    return replace(current, labels=kept), (CAUTION, *remarks)


def tumour_findings(current: Read, tumour: Tumour, prior: Prior | None) -> list[Finding]:
    """Return a finding for each part that the reference's grid shows, named as the earlier report has it."""
    stacked = np.zeros(current.labels.shape, dtype=np.int32)
    for number, name in enumerate(TUMOUR_CLASSES, start=1):
        stacked[tumour.parts[name]] = number
    labels = labels_back_onto(current.reference, stacked, current.prepared.affine)
    where = places(anatomy(current.prepared.images["FLAIR"], current.prepared.brain), stacked)
    known = {one.label: one for one in prior.known} if prior else {}
    findings = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            name = TUMOUR_CLASSES[number - 1]
            mask = Mask(labels[box] == number, (box[0].start, box[1].start, box[2].start))
            probability = float(tumour.probability[name][tumour.parts[name]].mean())
            finding = _finding(current, mask, name, probability, where[number])
            findings.append(_as_known(finding, known.get(finding.label)))
    return findings


def _finding(current: Read, mask: Mask, name: str, probability: float, where: Place) -> Finding:
    kind, label = KINDS[name]
    reference = current.reference
    volume_mm3 = float(mask.array.sum() * np.prod(reference.spacing_mm))
    kji = np.argwhere(mask.array).mean(axis=0) + mask.offset_kji
    return Finding(
        kind=kind,
        label=label,
        probability=probability,
        centre_mm=place(reference.affine, kji[::-1]),
        site=terms.BRAIN,
        laterality=where.laterality,
        mask=mask,
        measurements=(Measurement(terms.VOLUME, volume_mm3, terms.MM3, terms.SUM_OF_VOXELS),),
        remarks=(OEDEMA,) if name == "oedema" else (),
    )


def _as_known(finding: Finding, known: Known | None) -> Finding:
    """Return the finding with the tracking UID it had; what became of it is not judged, as its border is too soft."""
    return replace(finding, tracking_uid=known.tracking_uid) if known else finding
