"""Scoring a pipeline on volumes with known lesions: what `pacsai evaluate` and the training's own checks run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pacsai.evaluate.froc import RATES, Froc, Scored, Truth, TruthError, read_truth, score
from pacsai.evaluate.froc_plot import plot as draw_plot
from pacsai.exam import Exam
from pacsai.finding import Outcome, Result
from pacsai.gathering import gather
from pacsai.pipeline import Condition, Manifest, Pipeline
from pacsai.registry import Package, PipelineError
from pacsai.sequences import Sequences
from pacsai.study import Study
from pacsai.study.reading import read_folder
from pacsai.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan to be scored: the series it is known by in the truth, and what is analysed or why nothing is."""

    series_instance_uid: str
    given: Volume | Sequences | None
    refusal: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A pipeline's score, and the scans it did not analyse with the reason; their lesions count as missed."""

    froc: Froc
    not_analysed: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return plain values: lists along `froc.RATES`, the whole curve, each lesion hit and missed."""
        return {
            "sensitivity": list(self.froc.sensitivities),
            "fp_per_scan": list(RATES),
            "cpm": self.froc.cpm,
            "froc": [
                {"fp_per_scan": rate, "sensitivity": sensitivity, "threshold": threshold}
                for rate, sensitivity, threshold in self.froc.curve[1:].tolist()
            ],
            "scans": self.froc.scans,
            "hits": [{**_row(lesion), "probability": probability} for lesion, probability in self.froc.hits],
            "misses": [_row(lesion) for lesion in self.froc.misses],
            "not_analysed": dict(self.not_analysed),
        }


@runtime_checkable
class Unthresholded(Protocol):
    """A pipeline with an operating point that can be lifted, so that the curve does not end there."""

    def every_candidate(self) -> Pipeline:
        """Return the pipeline that reports every candidate with its probability."""


def evaluate(
    pipeline: Pipeline, cases: Iterable[Case], truth: Iterable[Truth], excluded: Iterable[Truth] = ()
) -> Scores:
    """Return how `pipeline` does on `cases`, every candidate counted where it can lift its operating point."""
    unlimited = pipeline.every_candidate() if isinstance(pipeline, Unthresholded) else pipeline
    marks: list[Scored] = []
    scans: list[str] = []
    reasons: dict[str, str] = {}
    for case in cases:
        uid = case.series_instance_uid
        scans.append(uid)
        result = Result.not_analysed(case.refusal) if case.given is None else unlimited.analyse(case.given)
        if result.outcome == Outcome.NOT_ANALYSED:
            reasons[uid] = result.reason
        marks += [
            Scored(uid, finding.centre_mm, finding.probability)
            for finding in result.findings
            if finding.probability is not None  # what is gone has none, and is no mark
        ]
    return Scores(score(marks, truth, scans, tuple(excluded)), reasons)


def evaluate_folder(
    package: Package,
    studies: Path,
    truth: Path,
    *,
    accepts: Mapping[str, Condition] | None = None,
    excluded: Path | None = None,
    plot: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the scores of a pipeline on DICOM studies.

    Parameters
    ----------
    accepts : mapping, optional
        Acceptance rules in place of the manifest's.
    studies : Path
        Folder of studies, in any arrangement; one series of each is analysed, selected as the node selects it.
    truth, excluded : Path
        Tables as `froc.read_truth` takes them.
    plot : Path, optional
        Where the FROC curve goes, as a PNG.
    tell : callable
        Is given a line on the progress before each study.

    Raises
    ------
    PipelineError
        The pipeline cannot be used, or there is nothing to score.
    """
    try:
        lesions, left_out = read_truth(truth), read_truth(excluded) if excluded else ()
    except TruthError as error:
        raise PipelineError(str(error)) from error
    known = {lesion.series_instance_uid for lesion in (*lesions, *left_out)}
    found = read_folder(studies)
    if not found:
        raise PipelineError(f"{studies}: there is no DICOM study in this folder")
    cases = _cases(found, package.manifest, accepts or package.manifest.accepts, known, tell)
    scores = evaluate(package.load(), cases, lesions, left_out)
    if plot:
        draw_plot(scores.froc, package.name).save(plot, format="PNG")
    return scores.as_json()


def _cases(
    studies: Sequence[Study],
    manifest: Manifest,
    accepts: Mapping[str, Condition],
    known: set[str],
    tell: Callable[[str], None],
) -> Iterator[Case]:
    """Yield a case for each study, its volume read only when it is asked for."""
    for number, study in enumerate(studies, start=1):
        tell(f"study {number} of {len(studies)}")
        images = gather(study, manifest, accepts)
        taken = images.selection.taken
        uid = taken.series.series_instance_uid if taken else _meant(study, known)
        if isinstance(images.given, Exam):
            raise PipelineError(f"{manifest.name}: marks on images are scored against a table of images")
        yield Case(uid, images.given, images.refusal)


def _meant(study: Study, known: set[str]) -> str:
    """Return the series of a study without a usable one that the truth is about, else its first, else its own UID."""
    uids = [series.series_instance_uid for series in study.series]
    return next((uid for uid in uids if uid in known), uids[0] if uids else study.study_instance_uid)


def _row(lesion: Truth) -> dict[str, Any]:
    x, y, z = lesion.place_mm
    row = {"seriesuid": lesion.series_instance_uid, "coordX": x, "coordY": y, "coordZ": z}
    return {**row, "diameter_mm": lesion.diameter_mm, **({"kind": lesion.kind} if lesion.kind else {})}
