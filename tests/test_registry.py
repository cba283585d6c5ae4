"""Pipelines are found by their folder, and a bad one is refused by name and reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pacsai import registry
from tests.toys import toy_pipeline, toy_sequences_pipeline, toy_weights


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return toy_pipeline(tmp_path)


def edit(folder: Path, old: str, new: str) -> None:
    manifest = folder / "manifest.yaml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


def only_problem(folder: Path) -> str:
    (problem,) = registry.check(folder)
    assert problem.startswith(f"{folder.name}: ")
    return problem


def test_a_folder_that_keeps_the_contract_has_no_problem(folder: Path) -> None:
    assert registry.check(folder) == ()


def test_the_built_in_pipelines_are_found_without_loading_their_code() -> None:
    names = [package.name for package in registry.discover()]
    assert "chest_ct_nodules" in names


def test_an_unknown_dicom_keyword_is_refused(folder: Path) -> None:
    edit(folder, "Modality: CT", "Modalitty: CT")
    assert "'Modalitty' is no DICOM keyword" in only_problem(folder)


def test_an_unknown_key_is_refused_with_the_nearest_known_one(folder: Path) -> None:
    edit(folder, "writes:", "write:")
    assert "did you mean 'writes'?" in only_problem(folder)


def test_weights_of_another_digest_are_refused(folder: Path) -> None:
    toy_weights(folder, np.array([-100], dtype=np.float32))
    assert "the manifest pins" in only_problem(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    before = registry.read_package(folder).model_digest
    after = toy_weights(folder, np.array([[-200]], dtype=np.float32))
    edit(folder, before, after)
    assert "has shape (1, 1), expected (1,)" in only_problem(folder)


def test_every_file_of_weights_is_verified_and_counts_for_the_digest(folder: Path) -> None:
    one = registry.read_package(folder)
    more = f"more_weights: [{{file: two.safetensors, sha256: {one.model_digest}, architecture: another}}]\n"
    edit(folder, "resources:", f"{more}resources:")
    assert "two.safetensors is missing" in only_problem(folder)
    (folder / "two.safetensors").write_bytes((folder / "weights.safetensors").read_bytes())
    assert registry.check(folder) == ()
    both = registry.read_package(folder)
    assert both.verified_weights() == folder.resolve() / "weights.safetensors"
    assert both.model_digest != one.model_digest
    (folder / "two.safetensors").write_bytes(b"another")
    assert "two.safetensors has the SHA-256" in only_problem(folder)


def test_more_weights_stand_beside_weights_only(folder: Path) -> None:
    text = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(
        text.replace("weights:", "more_weights: [", 1).replace("one threshold}", "a}]")
    )
    assert "more_weights: they belong beside weights" in only_problem(folder)


def test_missing_weights_are_told(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    assert "weights.safetensors is missing" in only_problem(folder)


def test_a_weights_file_that_could_be_a_program_is_refused(folder: Path) -> None:
    edit(folder, "weights.safetensors", "weights.pt")
    assert "weights.file" in only_problem(folder)


def test_an_analyse_of_another_signature_is_refused(folder: Path) -> None:
    code = folder / "pipeline.py"
    code.write_text(code.read_text().replace("def analyse(self, volume)", "def analyse(self, volume, seed=0)"))
    assert "analyse takes (volume, seed), and input: volume asks for (volume)" in only_problem(folder)


def test_a_pipeline_that_fails_on_its_phantom_is_refused(tmp_path: Path) -> None:
    broken = toy_pipeline(tmp_path, misbehave='raise RuntimeError("no lungs")')
    assert "the phantom could not be analysed, RuntimeError: no lungs" in only_problem(broken)


def test_a_folder_and_its_manifest_must_agree_on_the_name(folder: Path) -> None:
    edit(folder, "name: balls", "name: boxes")
    assert "the manifest calls it boxes" in only_problem(folder)


def test_a_name_that_is_not_installed_is_told_with_those_that_are() -> None:
    with pytest.raises(registry.PipelineError, match=r"no such pipeline; there are .*chest_ct_nodules"):
        registry.find("chest_ct_nodule")


def test_a_pipeline_of_sequences_keeps_the_contract(tmp_path: Path) -> None:
    folder = toy_sequences_pipeline(tmp_path)
    assert registry.check(folder) == ()
    assert registry.read_package(folder).manifest.reference == "FLAIR"


@pytest.mark.parametrize(
    ("sequences", "told"),
    [
        ("{}", "input: volumes, which names at least one"),
        ("{FLARE: required}", "'FLARE' is none of FLAIR, T1, T1C, T2"),
        ("{T1: optional, FLAIR: required}", "T1 stands first, so it is the reference: it must be required"),
    ],
)
def test_sequences_that_say_nothing_useful_are_refused(tmp_path: Path, sequences: str, told: str) -> None:
    assert told in only_problem(toy_sequences_pipeline(tmp_path, sequences=sequences))


def test_sequences_belong_to_volumes_only(folder: Path) -> None:
    edit(folder, "input: volume", "sequences: {FLAIR: required}\ninput: volume")
    assert "to no other input" in only_problem(folder)


def test_an_analyse_of_sequences_is_named_so(tmp_path: Path) -> None:
    folder = toy_sequences_pipeline(tmp_path)
    code = folder / "pipeline.py"
    code.write_text(code.read_text().replace("def analyse(self, sequences)", "def analyse(self, volumes)"))
    assert "analyse takes (volumes), and input: volumes asks for (sequences)" in only_problem(folder)
