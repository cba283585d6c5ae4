"""What an analysis found: frozen values, the only thing a pipeline returns.

Knows nothing of DICOM encoding, files or the network. `objects/` turns these values into SEG, SR and GSPS.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from pacsai.changes import Change, Earlier
from pacsai.objects.uids import derived_uid
from pacsai.reading import Reading, Spot
from pacsai.terms import Code

NOWHERE = (float("nan"),) * 3
"""The world position of what has none: an image of one projection does not tell where in the body a thing lies."""


class Outcome(StrEnum):
    """How an analysis ended; a study never ends in silence."""

    FINDINGS = "findings"
    NO_FINDING = "no finding"
    NOT_ANALYSED = "not analysed"


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its meaning: `name` and `unit` are coded (UCUM for units), `method` says how it was taken."""

    name: Code
    value: float
    unit: Code
    method: Code | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Voxels of one finding, cropped from the source grid.

    Attributes
    ----------
    array : bool [k, j, i]
        The crop; slices, rows, columns of the source volume.
    offset_kji : tuple of int
        Index of the crop's first voxel in the source volume.
    """

    array: NDArray[np.bool_]
    offset_kji: tuple[int, int, int]

    def paste(self, shape_kji: tuple[int, int, int]) -> NDArray[np.bool_]:
        """Return the mask on the full source grid, bool [k, j, i] of `shape_kji`."""
        full = np.zeros(shape_kji, dtype=np.bool_)
        full[self.box] = self.array
        return full

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Return the slices (k, j, i) that the crop takes in the source volume."""
        k, j, i = (slice(o, o + n) for o, n in zip(self.offset_kji, self.array.shape, strict=True))
        return k, j, i


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One lesion or mark.

    Attributes
    ----------
    kind, site : Code
        What it is (CID 7159 and kin) and the organ or part it lies in.
    label : str
        Short name a reader sees beside it, e.g. "Nodule 1".
    probability : float or None
        0 to 1, as calibrated as the model card says. None where there is none to tell: of what is gone, of a total.
    certainty : float or None
        That there is a finding at all, 0 to 1, where `probability` is that of cancer.
    centre_mm : (x, y, z)
        World position, LPS millimetres; `NOWHERE` for a finding on a view of an exam.
    on : Spot or None
        Where on a view of an exam it is. What is seen on two views is two findings (`Result.reading` joins them).
    mask : Mask or None
        Voxels on the source grid.
    measurements, qualities
        Coded numbers, and coded (concept, value) pairs such as (attenuation, ground glass).
    remarks : tuple of str
        What a reader should know of this finding ("cut by the edge of the scan").
    tracking_uid : str
        Shared by the SR groups, the SEG segment and the GSPS graphic. Empty until the node signs the result,
        unless the pipeline carries it over from a prior.
    change : Change or None
        Against the study that `Result.earlier` names. What is gone has no mask: it is told at its old place.
    prior_volume_mm3 : float or None
        Volume in that study.
    """

    kind: Code
    label: str
    probability: float | None
    certainty: float | None = None
    centre_mm: tuple[float, float, float] = NOWHERE
    on: Spot | None = None
    site: Code | None = None
    laterality: Code | None = None
    mask: Mask | None = None
    measurements: tuple[Measurement, ...] = ()
    qualities: tuple[tuple[Code, Code], ...] = ()
    remarks: tuple[str, ...] = ()
    tracking_uid: str = ""
    change: Change | None = None
    prior_volume_mm3: float | None = None

    def value(self, name: Code) -> float | None:
        """Return the value of the measurement called `name`, or None where it was not taken."""
        return next((m.value for m in self.measurements if m.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a result comes from; equal provenance means equal UIDs, so a replay never doubles a series.

    Attributes
    ----------
    pipeline, version : str
        Name and version of the manifest.
    model_digest, inputs_digest, configuration_digest : str
        SHA-256 (hex) of the weights, of the analysed instances' bytes, of the settings that change the result.
    """

    pipeline: str
    version: str
    model_digest: str
    inputs_digest: str
    configuration_digest: str

    def uid(self, role: str) -> str:
        """Return the UID of the thing that plays `role` ("SEG", "finding 1", ...) in this result."""
        return derived_uid(
            self.pipeline, self.version, self.model_digest, self.inputs_digest, self.configuration_digest, role
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer of one pipeline on one selection of images.

    A pipeline fills outcome, reason and findings; the node signs it, which adds provenance and tracking UIDs.

    Attributes
    ----------
    totals : tuple of Finding
        What is told of a class of findings as a whole, such as all lesions of the brain: the mask of all together,
        their number and volume. A segment and a group of the report each, and no findings.
    earlier : Earlier or None
        The study that the findings' changes refer to.
    reading : Reading or None
        What is said of an exam of images as a whole; every pipeline of such exams gives one.
    """

    outcome: Outcome
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    provenance: Provenance | None = None
    remarks: tuple[str, ...] = field(default=())
    totals: tuple[Finding, ...] = ()
    earlier: Earlier | None = None
    reading: Reading | None = None

    @property
    def told(self) -> tuple[Finding, ...]:
        """Return the findings, then the totals."""
        return (*self.findings, *self.totals)

    @property
    def id(self) -> str:
        """Return the UID of the result as a whole; equal inputs, model and settings give the same."""
        if self.provenance is None:
            raise ValueError("a result has an id once it is signed")
        return self.provenance.uid("result")

    @classmethod
    def of(cls, findings: tuple[Finding, ...], remarks: tuple[str, ...] = (), reading: Reading | None = None) -> Result:
        """Return *findings*, or *no finding* when there are none."""
        outcome = Outcome.FINDINGS if findings else Outcome.NO_FINDING
        return cls(outcome=outcome, findings=findings, remarks=remarks, reading=reading)

    @classmethod
    def not_analysed(cls, reason: str) -> Result:
        """Return *not analysed because* `reason`."""
        return cls(outcome=Outcome.NOT_ANALYSED, reason=reason)

    def signed(self, provenance: Provenance) -> Result:
        """Return this result with its provenance, and a tracking UID for each finding that has none."""
        return replace(
            self,
            provenance=provenance,
            findings=_tracked(self.findings, provenance, "finding"),
            totals=_tracked(self.totals, provenance, "total"),
            reading=_tracked_reading(self.reading, provenance) if self.reading else None,
        )


def _tracked(findings: tuple[Finding, ...], provenance: Provenance, role: str) -> tuple[Finding, ...]:
    return tuple(
        finding if finding.tracking_uid else replace(finding, tracking_uid=provenance.uid(f"{role} {number}"))
        for number, finding in enumerate(findings, start=1)
    )


def _tracked_reading(reading: Reading, provenance: Provenance) -> Reading:
    joined = (
        one if one.tracking_uid else replace(one, tracking_uid=provenance.uid(f"joined {number}"))
        for number, one in enumerate(reading.joined, start=1)
    )
    return replace(reading, joined=tuple(joined))
