"""The command line: JSON on standard output, plain errors, and every input ending in a defined outcome."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from pacsai.cli import app
from pacsai.cli.common import CommandError
from tests.conftest import SHARED_DATA
from tests.phantoms import edit, write_ct_series, write_mr_series
from tests.toys import toy_pipeline, toy_sequences_pipeline

CONFORMANCE = SHARED_DATA / "conformance"
FILES = sorted(path for path in CONFORMANCE.rglob("*") if path.is_file()) if CONFORMANCE.is_dir() else []


load: Any = nibabel.load  # typed in part only


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    return str(toy_pipeline(tmp_path))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    array = np.full((12, 48, 64), -800, np.int16)
    array[3:6, 10:16, 20:27] = 40
    write_ct_series(tmp_path / "study", array, np.diag([0.8, 0.8, 2.5, 1.0]))
    return tmp_path / "study"


def pacsai(*arguments: object) -> Any:
    finished = CliRunner().invoke(app, [str(one) for one in arguments] + ["--json"], catch_exceptions=False)
    assert finished.exit_code == 0, finished.output
    return json.loads(finished.stdout)


def refused(*arguments: object) -> str:
    finished = CliRunner().invoke(app, [str(one) for one in arguments])
    assert isinstance(finished.exception, CommandError), finished.output
    return str(finished.exception)


def analyse(pipeline: str, folder: Path, *options: str) -> Any:
    return pacsai("analyse", pipeline, folder, "--out", folder.parent / "out", *options)


def test_analyse_tells_findings_objects_series_and_seconds(pipeline: str, study: Path) -> None:
    report = analyse(pipeline, study)
    assert report["outcome"] == "findings"
    (finding,) = report["findings"]
    assert {"tracking_uid", "kind", "probability", "long_axis_mm", "short_axis_mm", "volume_mm3", "mean_hu"} <= set(
        finding
    )
    assert finding["mean_hu"] == 40
    assert finding["volume_mm3"] == pytest.approx(3 * 6 * 7 * 2.5 * 0.8 * 0.8, rel=1e-6)
    assert [one["kind"] for one in report["objects"]] == ["SEG", "SR", "GSPS"]
    assert all(Path(one["file"]).is_file() and not one["problems"] for one in report["objects"])
    assert [series["taken"] for series in report["series"]] == [True]
    assert set(report["seconds"]) == {"read", "analyse", "write"}


def test_the_same_folder_gives_the_same_uids_again(pipeline: str, study: Path) -> None:
    first, second = (analyse(pipeline, study) for _ in range(2))
    for key in ("sop_instance_uid", "sop_class_uid"):
        assert [one[key] for one in first["objects"]] == [one[key] for one in second["objects"]]
    assert first["findings"] == second["findings"]


def test_an_acceptance_rule_can_be_relaxed_for_a_trial(pipeline: str, study: Path) -> None:
    for path in sorted(study.iterdir())[2:]:
        path.unlink()
    strict = analyse(pipeline, study)
    assert strict["outcome"] == "not analysed"
    assert "at least 3" in strict["reason"]
    relaxed = analyse(pipeline, study, "--accept", "instances.min=1")
    assert relaxed["outcome"] == "no finding"


@pytest.mark.parametrize("change", ["instances", "instances.most=3", "Colour=red", "instances.min=many"])
def test_a_rule_that_makes_no_sense_is_refused_with_its_name(pipeline: str, study: Path, change: str) -> None:
    assert f"--accept{'' if 'many' in change else ' ' + change}" in refused(
        "analyse", pipeline, study, "--out", study.parent / "out", "--accept", change
    )


def test_an_unknown_pipeline_is_told_with_those_there_are(study: Path) -> None:
    assert "chest_ct_nodules" in refused("analyse", "chest_ct_nodles", study, "--out", study.parent / "out")


def test_a_folder_without_dicom_ends_as_not_analysed(pipeline: str, tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("Dear colleague")
    report = analyse(pipeline, folder)
    assert report["outcome"] == "not analysed"
    assert "no DICOM study" in report["reason"]


def test_two_studies_in_a_folder_are_told_and_one_can_be_chosen(pipeline: str, study: Path) -> None:
    shutil.copytree(study, study / "second")
    for path in (study / "second").iterdir():
        edit(path, StudyInstanceUID="2.25.12", SeriesInstanceUID="2.25.13", SOPInstanceUID=f"2.25.14{path.stem}")
    assert "choose with --study" in analyse(pipeline, study)["reason"]
    assert analyse(pipeline, study, "--study", "2.25.12")["outcome"] == "findings"


def test_unknown_site_keys_are_refused_with_the_nearest_known_one(tmp_path: Path) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "node: {ae_title: PACSAI, prot: 11112, data: ./d}\narchive: {kind: folder, path: ./a}\npipelines: {}\n"
    )
    assert "node.prot: unknown key; did you mean 'port'?" in refused("studies", "--config", site)


# A pipeline that compares studies


def write_studies(folder: Path, *dates: str, **headers: str) -> Path:
    """Write a FLAIR for each date, as a study of its own."""
    for date in dates:
        write_mr_series(folder / (date or "undated"), study=date, StudyDate=date, **headers)
    return folder


def test_of_two_studies_the_later_is_analysed_and_compared_with_the_earlier(tmp_path: Path) -> None:
    spots = str(toy_sequences_pipeline(tmp_path))
    report = analyse(spots, write_studies(tmp_path / "both", "20260102", "20240506"))
    assert report["outcome"] == "findings"
    assert "prior of 2024-05-06: FLAIR; known: 0" in report["remarks"]
    assert [(one["sequence"], one["prior"]) for one in report["sequences"]] == [("FLAIR", False), ("FLAIR", True)]


def test_of_three_studies_the_latest_two_are_looked_at_and_that_is_told(tmp_path: Path) -> None:
    spots = str(toy_sequences_pipeline(tmp_path))
    folder = write_studies(tmp_path / "all", "20260102", "20240506", "20200101")
    report = analyse(spots, folder)
    assert "prior of 2024-05-06: FLAIR; known: 0" in report["remarks"]
    assert "of 3 studies in the folder the analysed one and the one before it were looked at" in report["remarks"]
    middle = report["sequences"][1]["study_instance_uid"]
    earlier = analyse(spots, folder, "--study", middle)
    assert earlier["study_instance_uid"] == middle
    assert "prior of 2020-01-01: FLAIR; known: 0" in earlier["remarks"]


def test_studies_without_dates_have_to_be_chosen(tmp_path: Path) -> None:
    spots = str(toy_sequences_pipeline(tmp_path))
    report = analyse(spots, write_studies(tmp_path / "both", "20260102", ""))
    assert report["outcome"] == "not analysed"
    assert "choose with --study" in report["reason"]
    assert len(report["studies"]) == 2


def test_four_wrapped_sequences_are_named_rightly_and_analysed(tmp_path: Path, shared_data: Path) -> None:
    spots = str(toy_sequences_pipeline(tmp_path))
    files = [tmp_path / f"{name}.nii.gz" for name in ("t2", "t1post", "flair", "t1")]
    for file in files:
        load(shared_data / "mr/open-ms/patient19" / file.name).slicer[:, :, 80:96].to_filename(file)
    pacsai("wrap", *files, "--modality", "MR", "--out", tmp_path / "study", "--same-space", "--date", "2026-01-02")
    report = analyse(spots, tmp_path / "study")
    assert {one["sequence"]: one["description"] for one in report["sequences"]} == {
        "FLAIR": "3 flair", "T1": "4 t1", "T1C": "2 t1post", "T2": "1 t2",
    }  # fmt: skip
    assert "sequences: FLAIR, T1, T1C, T2" in report["remarks"]


COMMANDS = ("serve", "analyse", "evaluate", "wrap", "studies", "study", "jobs", "pipelines", "demo")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    finished = CliRunner().invoke(app, [command, "--help"])
    assert finished.exit_code == 0
    assert "--help" in finished.output


def test_pipelines_list_reads_manifests(tmp_path: Path) -> None:
    assert "chest_ct_nodules" in [manifest["name"] for manifest in pacsai("pipelines", "list")]


def test_pipelines_check_ends_with_1_for_a_bad_folder(tmp_path: Path) -> None:
    folder = toy_pipeline(tmp_path, misbehave="raise ValueError('no')")
    finished = CliRunner().invoke(app, ["pipelines", "check", str(folder)])
    assert finished.exit_code == 1
    assert "the phantom could not be analysed" in finished.output


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFORMANCE)))
def test_every_conformance_file_ends_in_a_defined_outcome(path: Path, tmp_path: Path, shared_data: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    shutil.copy(path, folder)
    report = analyse(str(toy_pipeline(tmp_path)), folder, "--accept", "instances.min=1")
    assert report["outcome"] in {"findings", "no finding", "not analysed"}
    assert report["outcome"] != "not analysed" or report["reason"]
    for one in report["objects"]:
        assert bool(one["problems"]) == ("refused" in Path(one["file"]).parts)
