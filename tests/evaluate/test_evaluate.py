"""Scoring a pipeline: on volumes, and on a folder of DICOM studies as `pacsai evaluate` does."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from pacsai import terms
from pacsai.evaluate import Case, evaluate, evaluate_folder
from pacsai.evaluate.froc import Truth
from pacsai.finding import Finding, Result
from pacsai.registry import PipelineError, read_package
from pacsai.volume import Volume
from tests.phantoms import axial_affine, write_ct_series
from tests.toys import toy_pipeline

SPACING = (2.0, 1.0, 1.0)
HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def volume() -> Volume:
    return Volume(np.zeros((2, 2, 2), dtype=np.float32), np.eye(4), frame_of_reference_uid="2.25.1", source=())


@dataclass(frozen=True)
class Fixed:
    """Marks the same places in every volume; below the threshold nothing is said."""

    places: tuple[tuple[tuple[float, float, float], float], ...]
    threshold: float = 0.5

    def analyse(self, volume: Volume) -> Result:  # noqa: ARG002
        return Result.of(
            tuple(
                Finding(kind=terms.NODULE, label="Nodule", probability=probability, centre_mm=place)
                for place, probability in self.places
                if probability >= self.threshold
            )
        )

    def every_candidate(self) -> Fixed:
        return Fixed(self.places, threshold=0.0)


def test_marks_under_the_operating_point_are_on_the_curve() -> None:
    lesion = Truth("1.2", (5.0, 0.0, 0.0), 4.0)
    scores = evaluate(Fixed((((5.0, 1.0, 0.0), 0.2),)), [Case("1.2", volume())], [lesion])
    assert scores.froc.hits == ((lesion, 0.2),)


def test_a_scan_that_was_not_analysed_counts_and_its_lesions_are_missed() -> None:
    lesion = Truth("1.3", (0.0, 0.0, 0.0), 4.0)
    cases = [Case("1.2", volume()), Case("1.3", None, "one slice is no volume")]
    scores = evaluate(Fixed(()), cases, [lesion])
    assert scores.froc.scans == 2
    assert scores.froc.misses == (lesion,)
    assert scores.not_analysed == {"1.3": "one slice is no volume"}


def write_study(folder: Path, balls: list[tuple[int, int, int]], **header: str) -> str:
    """Write a CT with balls of about 6 mm at (k, j, i) and return its SeriesInstanceUID."""
    array = np.full((12, 48, 48), -800, dtype=np.int16)
    array[0, 0, 0] = -801 + len(balls)  # other content, other UIDs
    for centre in balls:
        array[_ball(centre)] = 50
    folder.mkdir(parents=True)
    paths = write_ct_series(folder, array, axial_affine(SPACING, (0.0, 0.0, 0.0)), **header)
    return str(dcmread(paths[0]).SeriesInstanceUID)


def _ball(centre: tuple[int, int, int]) -> NDArray[np.bool_]:
    grid = np.ogrid[:12, :48, :48]
    return np.asarray(sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, SPACING, strict=True)) <= 9)


def test_a_folder_of_studies_is_scored(tmp_path: Path) -> None:
    series = [
        write_study(tmp_path / "studies" / name, balls) for name, balls in (("a", [(6, 20, 30)]), ("b", [(5, 10, 10)]))
    ]
    truth = tmp_path / "truth.csv"
    rows = (f"{series[0]},30,20,12,6", f"{series[0]},40,40,4,6", "9.9.9,0,0,0,6")
    truth.write_text(HEADER + "\n".join(rows) + "\n")
    picture = tmp_path / "froc.png"
    scores = evaluate_folder(read_package(toy_pipeline(tmp_path)), tmp_path / "studies", truth, plot=picture)
    assert json.loads(json.dumps(scores)) == scores
    assert scores["scans"] == 2
    assert [hit["coordX"] for hit in scores["hits"]] == [30.0]
    assert [miss["coordX"] for miss in scores["misses"]] == [40.0]
    assert scores["fp_per_scan"] == [0.125, 0.25, 0.5, 1, 2, 4, 8]
    assert scores["sensitivity"][-1] == 0.5
    assert scores["froc"] == [{"fp_per_scan": 0.5, "sensitivity": 0.5, "threshold": 0.9}]
    with Image.open(picture) as plotted:
        assert plotted.format == "PNG"


def test_excluded_findings_are_left_out_of_the_false_marks(tmp_path: Path) -> None:
    series = write_study(tmp_path / "studies" / "a", [(6, 20, 30)])
    truth, excluded = tmp_path / "truth.csv", tmp_path / "excluded.csv"
    truth.write_text(HEADER + f"{series},5,5,4,6\n")
    excluded.write_text(HEADER + f"{series},30,20,12,-1\n")
    scores = evaluate_folder(read_package(toy_pipeline(tmp_path)), tmp_path / "studies", truth, excluded=excluded)
    assert (scores["hits"], scores["froc"]) == ([], [])


def test_a_study_that_is_refused_is_told_with_its_reason(tmp_path: Path) -> None:
    series = write_study(tmp_path / "studies" / "a", [], Modality="MR")
    truth = tmp_path / "truth.csv"
    truth.write_text(HEADER + f"{series},5,5,4,6\n")
    scores = evaluate_folder(read_package(toy_pipeline(tmp_path)), tmp_path / "studies", truth)
    assert len(scores["misses"]) == 1
    assert scores["not_analysed"][series]


def test_what_cannot_be_scored_is_told(tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "bad.csv").write_text("series,x\n")
    (tmp_path / "truth.csv").write_text(HEADER)
    toy = str(toy_pipeline(tmp_path))
    with pytest.raises(PipelineError, match="no DICOM study"):
        evaluate_folder(read_package(Path(toy)), tmp_path / "studies", tmp_path / "truth.csv")
    with pytest.raises(PipelineError, match="lacks the column"):
        evaluate_folder(read_package(Path(toy)), tmp_path / "studies", tmp_path / "bad.csv")
