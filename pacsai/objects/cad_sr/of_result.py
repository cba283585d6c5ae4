"""From the result on an exam to its Mammography CAD SR: findings to marks, a reading to what goes round them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.exam import View
from pacsai.finding import Finding, Outcome, Result
from pacsai.objects.cad_sr.document import mammography_cad_sr
from pacsai.objects.cad_sr.library import exam_image
from pacsai.objects.cad_sr.model import Composite, Composition, Exam, Kind, Mark, Point, Relation, Run, Status
from pacsai.objects.common import NODE, Author, completed
from pacsai.objects.source import Source
from pacsai.reading import Attempt, BreastDensity, Joined, Place, Reading
from pacsai.study import Instance
from pacsai.terms import Code

KINDS = {
    terms.BREAST_MASS: Kind.MASS,
    terms.BREAST_DENSITY: Kind.MASS,
    terms.CALCIFICATION_CLUSTER: Kind.CALCIFICATIONS,
    terms.ARCHITECTURAL_DISTORTION: Kind.DISTORTION,
    terms.FOCAL_ASYMMETRY: Kind.ASYMMETRY,
    terms.ASYMMETRIC_TISSUE: Kind.ASYMMETRY,
}
"""What a finding is called, and the mark it becomes."""
_BREASTS = {"L": terms.LEFT_BREAST, "R": terms.RIGHT_BREAST}


def cad_report(result: Result, source: Source, author: Author = NODE) -> Dataset | None:
    """Return the Mammography CAD SR of a signed result; None where no exam was read.

    The Image Library holds the images that marks lie on, and those that were analysed where they are others.

    Raises
    ------
    ValueError
        The result does not say what was looked for, or names what no mammography CAD marks.
    """
    if not source.views:
        return None
    everything = replace(source, instances=(*source.instances, *_only_analysed(source.views)))
    return mammography_cad_sr(exam_of(result, everything), result, everything, author)


def exam_of(result: Result, source: Source) -> Exam:
    """Return what the report says; `source.instances` are the images of the library."""
    reading = result.reading
    if reading is None and result.outcome is not Outcome.NOT_ANALYSED:
        raise ValueError("the result does not say what was looked for: it has no reading")
    return Exam(
        images=tuple(exam_image(header) for header in completed(source.instances)),
        findings=tuple(_findings(result.findings, reading)),
        detections=_runs(reading.detections if reading else (), source.views),
        analyses=_runs(reading.analyses if reading else (), source.views),
        compositions=tuple(map(_composition, reading.densities)) if reading else (),
        case_score=reading.case_score if reading else None,
        assessment=reading.assessment if reading else None,
        remarks=(*((f"Not analysed: {result.reason}.",) if result.reason else ()), *result.remarks),
    )


def _only_analysed(views: Iterable[View]) -> tuple[Instance, ...]:
    return tuple(view.analysed for view in views if view.analysed is not view.shown)


def _findings(findings: Sequence[Finding], reading: Reading | None) -> Iterator[Mark | Composite]:
    """Yield what belongs together, then what stands alone."""
    marks = [_mark(finding) for finding in findings]
    joined = reading.joined if reading else ()
    for one in joined:
        yield _composite(one, marks)
    taken = {member for one in joined for member in one.members}
    yield from (mark for place, mark in enumerate(marks) if place not in taken)


def _mark(finding: Finding) -> Mark:
    kind = KINDS.get(finding.kind)
    if kind is None or finding.on is None or finding.probability is None:
        raise ValueError(f"{finding.label} is nothing that a mammography CAD marks, or lacks place or probability")
    count = finding.value(terms.NUMBER_OF_CALCIFICATIONS)
    return Mark(
        image=finding.on.image,
        kind=kind,
        centre=_point(finding.on.centre_ji),
        outline=tuple(map(_point, finding.on.outline_ji)),
        probability=finding.probability,
        certainty=finding.certainty,
        label=finding.label,
        tracking_uid=finding.tracking_uid,
        shape=_said(finding, terms.SHAPE),
        margins=_all_said(finding, terms.MARGIN),
        density=_said(finding, terms.LESION_DENSITY),
        morphologies=_all_said(finding, terms.CALCIFICATION_TYPE),
        distribution=_said(finding, terms.CALCIFICATION_DISTRIBUTION),
        count=None if count is None else round(count),
        size_mm=finding.value(terms.LONG_AXIS),
    )


def _composite(joined: Joined, marks: Sequence[Mark]) -> Composite:
    return Composite(
        kind=joined.kind,
        marks=tuple(marks[member] for member in joined.members),
        probability=joined.probability,
        label=joined.label,
        tracking_uid=joined.tracking_uid,
        relation=Relation.CONTRALATERAL if joined.contralateral else Relation.SPATIAL,
    )


def _runs(attempts: Iterable[Attempt], views: Sequence[View]) -> tuple[Run, ...]:
    """Return what was tried, with the images that were analysed."""
    return tuple(
        Run(
            kind=one.kind,
            status=Status.FAILED if one.failed else Status.SUCCEEDED,
            images=tuple(v.analysed.sop_instance_uid for v in views if v.name in one.views or not one.views),
            algorithm=one.algorithm,
        )
        for one in attempts
    )


def _composition(density: BreastDensity) -> Composition:
    return Composition(laterality=_BREASTS[density.laterality], category=density.category, percent=density.percent)


def _point(place: Place) -> Point:
    return place[1], place[0]


def _all_said(finding: Finding, concept: Code) -> tuple[Code, ...]:
    return tuple(value for name, value in finding.qualities if name == concept)


def _said(finding: Finding, concept: Code) -> Code | None:
    return next(iter(_all_said(finding, concept)), None)
