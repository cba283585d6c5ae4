"""What a mammography CAD says of an exam: images, marks, what belongs together, what was tried. No DICOM here.

Places are in pixel indices of the image they are in, (column, row), whole numbers at pixel centres; the writer turns
them into SCOORD, which counts from the corner of the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from pacsai import terms
from pacsai.terms import Code

Point = tuple[float, float]
"""(column, row), pixel centres at whole numbers."""


class Kind(Enum):
    """What a mark is; the value is the code of CID 6014 that it is written as.

    CID 6014 has neither a mass nor an asymmetry of one image: both are a density there, which is what PS3.17 annex E
    writes for them. An asymmetry differs in that it has no shape, margin or density.
    """

    MASS = "mass"
    CALCIFICATIONS = "calcification cluster"
    DISTORTION = "architectural distortion"
    ASYMMETRY = "asymmetry"

    @property
    def code(self) -> Code:
        """Return the Single Image Finding (CID 6014)."""
        return _FINDINGS[self]


_FINDINGS = {
    Kind.MASS: terms.BREAST_DENSITY,
    Kind.CALCIFICATIONS: terms.CALCIFICATION_CLUSTER,
    Kind.DISTORTION: terms.ARCHITECTURAL_DISTORTION,
    Kind.ASYMMETRY: terms.BREAST_DENSITY,
}


class Relation(Enum):
    """How the marks of a composite feature belong together; the value is the code (CID 6035)."""

    SPATIAL = terms.RELATED_SPATIALLY
    CONTRALATERAL = terms.RELATED_CONTRALATERALLY


class Status(Enum):
    """How a detection or an analysis ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    NOT_ATTEMPTED = "not attempted"


class Intent(Enum):
    """Whether a workstation is to draw it; the value is the code (CID 6034)."""

    REQUIRED = terms.PRESENTATION_REQUIRED
    OPTIONAL = terms.PRESENTATION_OPTIONAL
    NEVER = terms.NOT_FOR_PRESENTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamImage:
    """One image of the exam, as the Image Library names it (TID 4020); what is not known stays None or empty.

    Attributes
    ----------
    columns, rows : int
        Size in pixels: marks must lie inside.
    laterality : Code or None
        CID 6022: left or right breast, or both.
    view : Code or None
        CID 4014; `modifiers` are of CID 4015.
    patient_orientation : tuple of str
        Where a row and where a column run, such as ("A", "FR").
    spacing_mm : tuple of two floats, or None
        Between rows and between columns, at the detector.
    study_date, study_time, content_date, content_time : str
        As DICOM writes them.
    """

    sop_instance_uid: str
    sop_class_uid: str
    columns: int
    rows: int
    laterality: Code | None = None
    view: Code | None = None
    modifiers: tuple[Code, ...] = ()
    patient_orientation: tuple[str, ...] = ()
    spacing_mm: tuple[float, float] | None = None
    study_date: str = ""
    study_time: str = ""
    content_date: str = ""
    content_time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A finding on one image.

    Attributes
    ----------
    image : str
        SOP Instance UID of the image.
    centre : (column, row)
        In pixel indices of that image.
    outline : tuple of (column, row)
        A polygon about it, not closed; empty where only the centre is known.
    probability : float
        Of cancer, 0 to 1.
    certainty : float or None
        That there is a finding at all, 0 to 1.
    label : str
        Short name a reader sees, such as "Mass 1"; `tracking_uid` is the same in all objects of the result.
    shape, density : Code or None
        Of a mass: CID 6004, CID 6008. `margins` are of CID 6006.
    morphologies : tuple of Code
        Of calcifications: CID 6010. `distribution` is of CID 6012, `count` how many there are.
    size_mm : float or None
        Longest diameter; None where the pixel spacing is not known.
    """

    image: str
    kind: Kind
    centre: Point
    probability: float
    label: str
    tracking_uid: str
    outline: tuple[Point, ...] = ()
    certainty: float | None = None
    shape: Code | None = None
    margins: tuple[Code, ...] = ()
    density: Code | None = None
    morphologies: tuple[Code, ...] = ()
    distribution: Code | None = None
    count: int | None = None
    size_mm: float | None = None
    intent: Intent = Intent.REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """Marks that are one thing: the same lesion on two views, or a difference between left and right.

    Attributes
    ----------
    kind : Code
        CID 6016, such as a breast mass or asymmetric breast tissue.
    marks : tuple of Mark
        Two at least.
    probability : float
        Of cancer, 0 to 1.
    """

    kind: Code
    marks: tuple[Mark, ...]
    probability: float
    label: str
    tracking_uid: str
    relation: Relation = Relation.SPATIAL
    intent: Intent = Intent.REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One detection (`kind` of CID 6014) or analysis (CID 6043), how it ended and on which images.

    `algorithm` names the part of the pipeline that did it; empty: the pipeline as a whole.
    """

    kind: Code
    status: Status
    images: tuple[str, ...]
    algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """How dense one breast is: `category` of CID 6000, `percent` of its area (0 to 100) where measured."""

    laterality: Code
    category: Code
    percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """Everything that goes into a Mammography CAD SR.

    Attributes
    ----------
    images : tuple of ExamImage
        What was looked at or is referred to; the Image Library, in this order. One at least.
    findings : tuple of Mark or Composite
        A mark stands once: alone or in one composite.
    detections, analyses : tuple of Run
        What was tried, and what was not though it could have been.
    compositions : tuple of Composition
        One for each breast at most.
    case_score : float or None
        Probability of cancer in the exam, 0 to 1.
    assessment : Code or None
        A suggestion of CID 6026, such as BI-RADS 4, and no more than that.
    remarks : tuple of str
        What a reader should know, such as why an image was left out or a detection failed.
    """

    images: tuple[ExamImage, ...]
    findings: tuple[Mark | Composite, ...] = ()
    detections: tuple[Run, ...] = ()
    analyses: tuple[Run, ...] = ()
    compositions: tuple[Composition, ...] = ()
    case_score: float | None = None
    assessment: Code | None = None
    remarks: tuple[str, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Return every mark, also those in composites."""
        return tuple(
            mark
            for finding in self.findings
            for mark in (finding.marks if isinstance(finding, Composite) else (finding,))
        )


def flaws(exam: Exam) -> Iterator[str]:
    """Yield what makes the exam one that no honest report can be written of."""
    images = {image.sop_instance_uid: image for image in exam.images}
    if not images:
        yield "the exam has no image"
    if len(images) < len(exam.images):
        yield "an image stands twice in the exam"
    for mark in exam.marks:
        yield from _flaws_of_mark(mark, images.get(mark.image))
    for finding in exam.findings:
        if isinstance(finding, Composite) and len(finding.marks) < 2:
            yield f"{finding.label} joins fewer than two marks"
        if not 0 <= finding.probability <= 1:
            yield f"{finding.label} has a probability of {finding.probability}"
    for run in (*exam.detections, *exam.analyses):
        if not set(run.images) <= set(images) or not (run.images or run.status is Status.NOT_ATTEMPTED):
            yield f"{run.kind.meaning} names no image, or one that is not in the exam"
    if exam.marks and not any(run.status is Status.SUCCEEDED for run in exam.detections):
        yield "there are marks, and no detection succeeded"


def _flaws_of_mark(mark: Mark, image: ExamImage | None) -> Iterator[str]:
    if image is None:
        yield f"{mark.label} is on an image that is not in the exam"
        return
    for column, row in (mark.centre, *mark.outline):
        if not (-0.5 <= column <= image.columns - 0.5 and -0.5 <= row <= image.rows - 0.5):
            yield f"{mark.label} lies outside its image"
            return
    if not mark.tracking_uid:
        yield f"{mark.label} has no tracking UID"
    if len(mark.outline) in (1, 2):
        yield f"{mark.label} has an outline of fewer than three points"
