"""The command line: JSON on standard output, plain errors, and every input ending in a defined outcome."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pacsai.cli import app
from pacsai.cli.common import CommandError
from tests.conftest import SHARED_DATA
from tests.phantoms import edit, write_ct_series
from tests.toys import toy_pipeline

CONFORMANCE = SHARED_DATA / "conformance"
FILES = sorted(path for path in CONFORMANCE.rglob("*") if path.is_file()) if CONFORMANCE.is_dir() else []


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
