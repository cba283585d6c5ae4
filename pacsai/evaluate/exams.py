"""`pacsai evaluate` for pipelines of mammograms: marks against a table of lesions in pixels of their images.

The rules are written down in docs/evaluation.md.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pacsai.evaluate import Unthresholded
from pacsai.evaluate.froc import Froc, Scored, Truth, TruthError, score
from pacsai.evaluate.roc import Case, auc_with_interval
from pacsai.exam import Exam
from pacsai.finding import Outcome, Result
from pacsai.gathering import Images, gather
from pacsai.pipeline import Condition, Pipeline
from pacsai.registry import Package, PipelineError
from pacsai.study import Study
from pacsai.study.reading import read_folder

RATES = (0.25, 0.5, 1.0, 2.0)
"""False marks per image at which sensitivity is told."""
COLUMNS = ("sop_instance_uid", "x", "y", "radius", "kind", "malignant")


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion that is there: `truth` has image, (x, y, 0) and diameter, all in pixels."""

    truth: Truth
    malignant: bool

    @property
    def row(self) -> dict[str, Any]:
        """Return it as a row of the table."""
        x, y, _ = self.truth.place_mm
        return {
            "sop_instance_uid": self.truth.series_instance_uid,
            "x": x,
            "y": y,
            "radius": self.truth.diameter_mm / 2,
            "kind": self.truth.kind,
            "malignant": int(self.malignant),
        }


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """One exam as the pipeline read it.

    Attributes
    ----------
    images : mapping of str to float
        The highest probability among the marks of each image, 0 without one, by SOP Instance UID.
    score : float
        The case score; where the pipeline gives none, the highest probability.
    """

    study_instance_uid: str
    images: Mapping[str, float]
    score: float
    marks: tuple[Scored, ...] = ()
    reason: str = ""
    same: Mapping[str, str] = field(default_factory=dict)
    """What was analysed, where another image of that exposure is the one that marks lie on."""


def evaluate_exams(
    package: Package,
    studies: Path,
    truth: Path,
    *,
    accepts: Mapping[str, Condition] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the scores of a pipeline on DICOM exams, as docs/evaluation.md describes them.

    Parameters
    ----------
    studies : Path
        Folder of studies, in any arrangement.
    truth : Path
        Table with the columns `COLUMNS`; an image without a row is normal.
    accepts, tell
        As `evaluate_folder` takes them.

    Raises
    ------
    PipelineError
        The pipeline cannot be used, the table cannot be read, or there is nothing to score.
    """
    try:
        lesions = read_lesions(truth)
    except TruthError as error:
        raise PipelineError(str(error)) from error
    found = read_folder(studies)
    if not found:
        raise PipelineError(f"{studies}: there is no DICOM study in this folder")
    loaded = package.load()
    pipeline = loaded.every_candidate() if isinstance(loaded, Unthresholded) else loaded
    rules, named = accepts or package.manifest.accepts, {lesion.truth.series_instance_uid for lesion in lesions}
    reads = []
    for number, study in enumerate(found, start=1):
        tell(f"study {number} of {len(found)}")
        reads.append(read(pipeline, study, gather(study, package.manifest, rules), named))
    if not any(one.images for one in reads):
        raise PipelineError(f"{studies}: none of the studies has a mammogram to score")
    return scores(reads, lesions)


def read(pipeline: Pipeline, study: Study, images: Images, named: Iterable[str] = ()) -> Read:
    """Return how the pipeline reads one study; one that is not analysed has its images all the same, without marks.

    Parameters
    ----------
    named : iterable of str
        Images that the table names: they count although nothing was chosen of the study.
    """
    same = {one.analysed.sop_instance_uid: one.shown.sop_instance_uid for one in images.selection.views}
    given = images.given if isinstance(images.given, Exam) else None
    result = pipeline.analyse(given) if given else Result.not_analysed(images.refusal)
    there = (image.sop_instance_uid for image in study.instances if image.sop_instance_uid in set(named))
    shown = tuple(same.values()) or tuple(there)
    names = {view.name: view.shown.sop_instance_uid for view in images.views}
    marks = tuple(
        Scored(names[f.on.view], (f.on.centre_ji[1], f.on.centre_ji[0], 0.0), rank)
        for f in result.findings
        if f.on is not None and (rank := f.probability if f.certainty is None else f.certainty) is not None
    )
    best = dict.fromkeys(shown, 0.0)
    for f in result.findings:
        if f.on is not None and f.probability is not None:
            best[names[f.on.view]] = max(best[names[f.on.view]], f.probability)
    case = result.reading.case_score if result.reading else None
    reason = result.reason if result.outcome is Outcome.NOT_ANALYSED else ""
    score = max(best.values(), default=0.0) if case is None else case
    return Read(study.study_instance_uid, best, score, marks, reason, same)


def scores(reads: Sequence[Read], lesions: Sequence[Lesion]) -> dict[str, Any]:
    """Return plain values: FROC of all lesions, of the malignant and of each kind; ROC of images and of exams."""
    same = {analysed: shown for one in reads for analysed, shown in one.same.items()}
    placed = [_on_shown(lesion, same) for lesion in lesions]
    images = [uid for one in reads for uid in one.images]
    marks = [mark for one in reads for mark in one.marks]
    placed = [lesion for lesion in placed if lesion.truth.series_instance_uid in set(images)]

    def froc(belongs: Callable[[Lesion], bool]) -> Froc:
        others = tuple(lesion.truth for lesion in placed if not belongs(lesion))
        return score(marks, [lesion.truth for lesion in placed if belongs(lesion)], images, others)

    whole = froc(lambda _: True)
    rows = {id(lesion.truth): lesion.row for lesion in placed}
    sick = {lesion.truth.series_instance_uid for lesion in placed if lesion.malignant}
    kinds = sorted({lesion.truth.kind for lesion in placed})
    return {
        "fp_per_image": list(RATES),
        **_sensitivity(whole),
        "malignant": _sensitivity(froc(lambda lesion: lesion.malignant)),
        "kinds": {kind: _sensitivity(froc(partial(_is_of, kind))) for kind in kinds},
        "froc": [
            {"fp_per_image": rate, "sensitivity": sensitivity, "threshold": threshold}
            for rate, sensitivity, threshold in whole.curve[1:].tolist()
        ],
        "image_auc": auc_with_interval([[Case(s, uid in sick) for uid, s in one.images.items()] for one in reads]),
        "exam_auc": auc_with_interval([[Case(one.score, bool(sick & set(one.images)))] for one in reads]),
        "images": len(images),
        "exams": len(reads),
        "hits": [{**rows[id(lesion)], "probability": probability} for lesion, probability in whole.hits],
        "misses": [rows[id(lesion)] for lesion in whole.misses],
        "not_analysed": {one.study_instance_uid: one.reason for one in reads if one.reason},
    }


def read_lesions(path: Path) -> tuple[Lesion, ...]:
    """Return the rows of a table with the columns `COLUMNS`: pixels, column x and row y from 0, malignant 0 or 1.

    Raises
    ------
    TruthError
        A column is missing, a number is none, or a radius is not positive.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        lacking = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if lacking:
            raise TruthError(f"{path.name} lacks the column(s) {', '.join(lacking)}; needed are {','.join(COLUMNS)}")
        return tuple(_lesion(row, f"{path.name}, line {number}") for number, row in enumerate(rows, start=2))


def _lesion(row: Mapping[str, str | None], where: str) -> Lesion:
    try:
        x, y, radius = (float(row[name] or "") for name in ("x", "y", "radius"))
    except ValueError as error:
        raise TruthError(f"{where}: x, y and radius must be numbers") from error
    malignant = (row["malignant"] or "").strip()
    if not radius > 0 or malignant not in ("0", "1"):
        raise TruthError(f"{where}: radius must be more than 0, and malignant 0 or 1")
    image = (row["sop_instance_uid"] or "").strip()
    return Lesion(Truth(image, (x, y, 0.0), 2 * radius, (row["kind"] or "").strip()), malignant == "1")


def _is_of(kind: str, lesion: Lesion) -> bool:
    return lesion.truth.kind == kind


def _on_shown(lesion: Lesion, same: Mapping[str, str]) -> Lesion:
    """Return a lesion on the image that marks lie on: the table may name the raw image of the same exposure."""
    truth = lesion.truth
    image = same.get(truth.series_instance_uid, truth.series_instance_uid)
    return Lesion(Truth(image, truth.place_mm, truth.diameter_mm, truth.kind), lesion.malignant)


def _sensitivity(froc: Froc) -> dict[str, Any]:
    return {
        "sensitivity": [froc.sensitivity(rate) for rate in RATES],
        "lesions": len(froc.hits) + len(froc.misses),
    }
