"""What an analysis tells the outside: the report that `pacsai analyse --json` prints and a parcel keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Finding, Result
from pacsai.gathering import Images
from pacsai.objects.write import Written
from pacsai.reading import Reading
from pacsai.selection import Candidate, Verdict, describe
from pacsai.study.header import uid

JSON_KEYS = {
    terms.LONG_AXIS: "long_axis_mm",
    terms.SHORT_AXIS: "short_axis_mm",
    terms.VOLUME: "volume_mm3",
    terms.ATTENUATION: "mean_hu",
    terms.LESION_COUNT: "lesion_count",
}
"""Names that measurements carry in JSON; the unit is part of the name."""


@dataclass(frozen=True, slots=True)
class Used:
    """A sequence that was analysed, and the series and study it is; `prior` where that is the earlier study."""

    sequence: str
    series_instance_uid: str
    description: str
    study_instance_uid: str
    prior: bool


def used(images: Images) -> tuple[Used, ...]:
    """Return the sequences that a pipeline was given, those of the earlier study last; () for a single volume."""
    own = tuple(_used(name, candidate, prior=False) for name, candidate in images.used.items())
    before = images.earlier.used.items() if images.earlier else ()
    return (*own, *(_used(name, candidate, prior=True) for name, candidate in before))


def _used(name: str, candidate: Candidate, *, prior: bool) -> Used:
    series = candidate.series
    study_instance_uid = uid(series.header, "StudyInstanceUID")
    return Used(name, series.series_instance_uid, describe(series), study_instance_uid, prior)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One pipeline's answer for one study, its objects, and what was taken or left."""

    study_instance_uid: str
    pipeline: str
    version: str
    result: Result
    verdicts: tuple[Verdict, ...]
    objects: tuple[Written, ...]
    seconds: Mapping[str, float]
    issues: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    """SOP Instance UIDs of what the result rests on."""
    used: tuple[Used, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for json.dump; no patient data but UIDs."""
        return {
            "result_id": self.result.id,
            "study_instance_uid": self.study_instance_uid,
            "pipeline": self.pipeline,
            "version": self.version,
            "outcome": str(self.result.outcome),
            "reason": self.result.reason,
            "remarks": list(self.result.remarks),
            "findings": [finding_json(finding) for finding in self.result.findings],
            **_as_a_whole(self.result),
            "objects": [object_json(written) for written in self.objects],
            "series": [_verdict_json(verdict) for verdict in self.verdicts],
            "sequences": [asdict(one) for one in self.used],
            "issues": list(self.issues),
            "inputs": list(self.inputs),
            "seconds": {step: round(duration, 3) for step, duration in self.seconds.items()},
            "intended_use": RESEARCH_USE_ONLY,
        }


def finding_json(finding: Finding) -> dict[str, Any]:
    """Return one finding with its coded measurements and qualities as plain names."""
    return {
        "tracking_uid": finding.tracking_uid,
        "label": finding.label,
        "kind": finding.kind.meaning,
        "probability": None if finding.probability is None else round(finding.probability, 4),
        **({} if finding.certainty is None else {"certainty": round(finding.certainty, 4)}),
        **_place_json(finding),
        "site": finding.site.meaning if finding.site else None,
        "laterality": finding.laterality.meaning if finding.laterality else None,
        **{_key(measurement.name): round(measurement.value, 3) for measurement in finding.measurements},
        "qualities": _qualities_json(finding),
        "remarks": list(finding.remarks),
        **_change_json(finding),
    }


def _qualities_json(finding: Finding) -> dict[str, str]:
    """Return the qualities as plain names; several of one kind, as of a margin, stand together."""
    told: dict[str, str] = {}
    for concept, value in finding.qualities:
        before = told.get(concept.meaning)
        told[concept.meaning] = f"{before}, {value.meaning}" if before else value.meaning
    return told


def _place_json(finding: Finding) -> dict[str, Any]:
    """Return where a finding is: in the world, or in the pixels of its image, column and row from 0."""
    spot = finding.on
    if spot is None:
        return {"centre_mm": [round(coordinate, 3) for coordinate in finding.centre_mm]}
    j, i = spot.centre_ji
    return {
        "view": spot.view,
        "sop_instance_uid": spot.image,
        "x": round(i, 2),
        "y": round(j, 2),
        "radius": round(spot.radius, 2),
        "outline": [[round(i, 2), round(j, 2)] for j, i in spot.outline_ji],
    }


def _change_json(finding: Finding) -> dict[str, Any]:
    """Return what is told of a finding that was looked for in an earlier study."""
    if finding.change is None and finding.prior_volume_mm3 is None:
        return {}
    before = finding.prior_volume_mm3
    return {
        "change": str(finding.change) if finding.change else None,
        "prior_volume_mm3": None if before is None else round(before, 3),
    }


def _as_a_whole(result: Result) -> dict[str, Any]:
    """Return the totals of a result that has some, and the study it was compared with if it was."""
    told: dict[str, Any] = {}
    if result.totals:
        told["totals"] = [finding_json(total) for total in result.totals]
    if result.reading:
        told["reading"] = _reading_json(result.reading, result.findings)
    if result.earlier:
        told["compared_with"] = {
            "study_instance_uid": result.earlier.study_instance_uid,
            "study_date": result.earlier.study_date.isoformat() if result.earlier.study_date else None,
            "interval_days": result.earlier.interval_days,
            "volume_mm3": result.earlier.volume_mm3,
        }
    return told


def _reading_json(reading: Reading, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what is said of an exam as a whole."""
    return {
        "case_score": None if reading.case_score is None else round(reading.case_score, 4),
        "assessment": reading.assessment.meaning if reading.assessment else None,
        "densities": [
            {"laterality": one.laterality, "category": one.category.meaning, "percent": one.percent}
            for one in reading.densities
        ],
        "joined": [
            {
                "tracking_uid": one.tracking_uid,
                "label": one.label,
                "kind": one.kind.meaning,
                "probability": round(one.probability, 4),
                "contralateral": one.contralateral,
                "findings": [findings[member].tracking_uid for member in one.members],
            }
            for one in reading.joined
        ],
    }


def _key(name: terms.Code) -> str:
    return JSON_KEYS.get(name, name.meaning.lower().replace(" ", "_"))


def object_json(written: Written) -> dict[str, Any]:
    """Return what a parcel and a story tell of one object."""
    return {
        "kind": written.kind,
        "file": str(written.path),
        "series_instance_uid": written.series_instance_uid,
        "sop_class_uid": written.sop_class_uid,
        "sop_instance_uid": written.sop_instance_uid,
        "problems": list(written.problems),
    }


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {
        "series_instance_uid": verdict.series_instance_uid,
        "description": verdict.description,
        "taken": verdict.taken,
        "reason": verdict.reason,
    }
