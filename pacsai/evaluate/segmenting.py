"""`pacsai evaluate` with true masks: studies analysed, what was found laid over what is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacsai.evaluate.froc import TruthError
from pacsai.evaluate.masks import Placed, names, read_mask
from pacsai.evaluate.overlap import Overlap, as_json, mean, score
from pacsai.finding import Outcome, Result
from pacsai.gathering import gather
from pacsai.pipeline import Condition, Pipeline
from pacsai.registry import Package, PipelineError
from pacsai.study import Study
from pacsai.study.reading import read_folder
from pacsai.volume import Grid


def evaluate_masks(
    package: Package,
    studies: Path,
    truth: Path,
    *,
    accepts: Mapping[str, Condition] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the scores of a pipeline on DICOM studies against masks.

    Parameters
    ----------
    studies : Path
        Folder of studies, in any arrangement.
    truth : Path
        Folder of masks, each named by its patient's ID or its Study Instance UID; see `masks`.
    accepts, tell
        As `evaluate_folder` takes them.

    Returns
    -------
    dict
        The figures of `overlap.Overlap`, means over the studies; under `studies` those of each. A study that was not
        analysed counts as one in which nothing was found, and is listed under `not_analysed` with the reason.

    Raises
    ------
    PipelineError
        The pipeline cannot be used, a mask cannot be read, or there is nothing to score.
    """
    files = names(truth)
    found = read_folder(studies)
    meant = {one.study_instance_uid: files.get(one.study_instance_uid) or files.get(one.patient_id) for one in found}
    scored = [one for one in found if meant[one.study_instance_uid]]
    if not scored:
        raise PipelineError(f"{truth}: no mask is named by a patient or study of {studies}")
    pipeline, rules = package.load(), accepts or package.manifest.accepts
    scores: dict[str, Overlap] = {}
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    for number, study in enumerate(scored, start=1):
        tell(f"study {number} of {len(scored)}")
        path = meant[study.study_instance_uid]
        assert path is not None  # noqa: S101 - those without were left out
        overlap, reason = _scored(pipeline, package, study, rules, _truth(path))
        scores[study.study_instance_uid] = overlap
        rows.append({"study_instance_uid": study.study_instance_uid, "truth": path.name, **as_json(overlap)})
        if reason:
            reasons[study.study_instance_uid] = reason
    return {
        **as_json(mean(tuple(scores.values()))),
        "studies": rows,
        "not_analysed": reasons,
        "without_truth": [uid for uid, path in meant.items() if path is None],
    }


def _truth(path: Path) -> Placed:
    try:
        return read_mask(path)
    except TruthError as error:
        raise PipelineError(str(error)) from error


def _scored(
    pipeline: Pipeline, package: Package, study: Study, accepts: Mapping[str, Condition], truth: Placed
) -> tuple[Overlap, str]:
    """Return the score of one study, and why it was not analysed."""
    images = gather(study, package.manifest, accepts)
    result = Result.not_analysed(images.refusal) if images.given is None else pipeline.analyse(images.given)
    grid: Grid = images.volume or Grid(truth.mask.astype(np.float32), truth.affine)
    there = truth.mask if _same(grid, truth) else grid.pasted(truth.mask, truth.affine)
    reason = result.reason if result.outcome is Outcome.NOT_ANALYSED else ""
    return score(found_mask(result, grid), there, grid.spacing_mm), reason


def found_mask(result: Result, grid: Grid) -> NDArray[np.bool_]:
    """Return all that a result marks, bool [k, j, i] on the analysed grid."""
    whole = np.zeros(grid.shape_kji, dtype=np.bool_)
    for mask in _masks(result):
        whole[mask.box] |= mask.array
    return whole


def _masks(result: Result) -> Iterator[Any]:
    return (finding.mask for finding in result.told if finding.mask is not None)


def _same(grid: Grid, truth: Placed) -> bool:
    return grid.shape_kji == truth.mask.shape and np.allclose(grid.affine, truth.affine, atol=1e-4)
