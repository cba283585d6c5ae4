"""Mammography CAD: the mammograms of an exam, masses and calcifications found, described, and read as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from pacsai import terms
from pacsai.changes import Earlier
from pacsai.exam import Exam, View
from pacsai.finding import Finding, Measurement, Result
from pacsai.mammography import normalised
from pacsai.pipeline import ExamLesion, ExamPhantom
from pacsai.reading import Spot
from pipelines.mammography_cad.anatomy import NotOneBreastError
from pipelines.mammography_cad.detect import EVERYTHING, SHIPPED, Mark, ReadView, Rule, kept, read_view
from pipelines.mammography_cad.earlier import follow
from pipelines.mammography_cad.net import Networks, load_networks
from pipelines.mammography_cad.phantom import exam as generated_exam
from pipelines.mammography_cad.whole import beside_earlier, reading, stands_out
from pipelines.mammography_cad.words import CODES, CONCEPTS, KINDS, LABELS, SAID_OF

NO_SIZES = "no pixel spacing is told: sizes are not given in mm, and calcifications were not looked for"
TOO_COARSE = "pixels larger than 0.15 mm: calcifications were not looked for"
RAW = "detector values were analysed, which the networks were not trained on"


@dataclass(frozen=True, slots=True, eq=False)
class MammographyCAD:
    """The pipeline with its trained networks; `rule` is the operating point."""

    networks: Networks
    rule: Rule = SHIPPED

    def analyse(self, exam: Exam) -> Result:
        """Return the marks of every view, most certain first, and the exam as a whole, compared with the one before."""
        reads, refused = self._read(exam)
        if refused:
            return Result.not_analysed(refused[0])
        marks = [mark for read in reads for mark in kept(read.marks, self.rule) if self._stays(mark, reads)]
        marks.sort(key=lambda mark: -mark.certainty)
        findings = _findings(marks, {view.name: view for view in exam.views})
        result = Result.of(findings, _remarks(reads), reading(reads, marks))
        return self._compared(result, marks, reads, exam.prior, exam.study_date) if exam.prior else result

    def every_candidate(self) -> MammographyCAD:
        """Return the pipeline without an operating point, which is what a FROC is drawn of."""
        return replace(self, rule=EVERYTHING)

    def _read(self, exam: Exam) -> tuple[list[ReadView], list[str]]:
        """Return the views as they were read, and why others were refused."""
        reads, refused = [], []
        for view in exam.views:
            try:
                reads.append(read_view(view, self.networks))
            except NotOneBreastError as error:
                refused.append(f"{view.name}: {error}")
        return reads, refused

    def _compared(
        self, result: Result, marks: Sequence[Mark], reads: Sequence[ReadView], prior: Exam, day: date | None
    ) -> Result:
        """Return the result of the exam of `day` with what became of its findings since the earlier one."""
        before, refused = self._read(prior)
        followed = follow(marks, reads, before, self.rule)
        changed = zip(result.findings, followed.changes, strict=True)
        return replace(
            result,
            reading=result.reading and beside_earlier(result.reading, reads, before),
            findings=tuple(replace(finding, change=change) for finding, change in changed),
            remarks=(*result.remarks, *(f"earlier exam: {reason}" for reason in refused), *followed.lost),
            earlier=Earlier(study_instance_uid=prior.study_instance_uid, study_date=prior.study_date, current_date=day),
        )

    def _stays(self, mark: Mark, reads: Sequence[ReadView]) -> bool:
        return mark.kind != "asymmetry" or stands_out(mark, reads)


def load(weights: Path | None) -> MammographyCAD:
    """Return the pipeline with the networks of the file `weights`.

    Raises
    ------
    ValueError
        There is no file, or it was made for other networks.
    """
    if weights is None:
        raise ValueError("mammography_cad cannot run without its weights")
    return MammographyCAD(load_networks(weights))


def phantom(seed: int, full: bool = False) -> ExamPhantom:
    """Return a generated exam with its lesions: both views of one breast at 0.14 mm, or four at 0.08 mm (`full`)."""
    names = ("R CC", "L CC", "R MLO", "L MLO") if full else ("L CC", "L MLO")
    made = generated_exam(seed, spacing_mm=0.08 if full else 0.14, lesions=2, views=names)
    views, lesions = [], []
    for one in made:
        array = normalised(one.array, np.zeros(one.array.shape, dtype=np.bool_), darker=False)
        side, view = one.name.split()
        views.append(View(one.name, side, view, array, one.spacing_mm, False, None, None))  # type: ignore[arg-type]
        lesions += [ExamLesion(one.name, x.centre, x.radius, x.kind, x.malignant) for x in one.lesions]
    return ExamPhantom(Exam(tuple(views)), tuple(lesions))


def _findings(marks: Sequence[Mark], views: dict[str, View]) -> tuple[Finding, ...]:
    counts: dict[str, int] = {}
    found = []
    for mark in marks:
        counts[mark.kind] = counts.get(mark.kind, 0) + 1
        found.append(_finding(mark, views[mark.view], f"{LABELS[mark.kind]} {counts[mark.kind]}"))
    return tuple(found)


def _finding(mark: Mark, view: View, label: str) -> Finding:
    sizes = (
        Measurement(terms.LONG_AXIS, mark.long_mm, terms.MM),
        Measurement(terms.SHORT_AXIS, mark.short_mm, terms.MM),
    )
    count = (Measurement(terms.NUMBER_OF_CALCIFICATIONS, mark.count, terms.NO_UNITS),)
    return Finding(
        kind=KINDS[mark.kind],
        label=label,
        probability=mark.probability,
        certainty=mark.certainty,
        on=Spot(mark.view, mark.centre, mark.outline),
        site=terms.LEFT_BREAST if view.laterality == "L" else terms.RIGHT_BREAST,
        measurements=(*(sizes if view.spacing_mm else ()), *(count if mark.count else ())),
        qualities=tuple((CONCEPTS[name], CODES[mark.words[name]]) for name in SAID_OF[mark.kind]),
    )


def _remarks(reads: Sequence[ReadView]) -> tuple[str, ...]:
    """Return what a reader should know of how the exam was read."""
    told = []
    for read in reads:
        view = read.view
        if not read.specks_sought:
            told.append(f"{view.name}: {TOO_COARSE if view.spacing_mm else NO_SIZES}")
        if view.for_processing:
            told.append(f"{view.name}: {RAW}")
    return tuple(told)
