"""What a node may get instead of a good study of the brain: refused with the reason, or analysed and told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pacsai import terms
from pacsai.finding import Outcome, Result
from pacsai.flow import Order, analyse_study
from pacsai.objects.common import Author
from pacsai.registry import find
from pacsai.sequences import Sequences
from pacsai.study.reading import read_folder
from pacsai.volume import Grid, Volume
from pipelines.brain_lesions.pipeline import load
from pipelines.brain_lesions.registration_trials import FILES, read_nifti
from tests.organs.test_brain import trunk
from tests.phantoms import edit
from tests.pipelines.brain_lesions.studies import wrapped


def analysed(folder: Path, out: Path, objects: tuple[str, ...] = ("SR",)) -> Result:
    """Return what the pipeline tells of the study in a folder; an SR is written, unless whose it is is unknown."""
    package = find("brain_lesions")
    author = Author(title=package.manifest.title)
    order = Order(
        package=package,
        accepts=package.manifest.accepts,
        results=("SR",),
        author=author,
        folder=out,
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )
    (study,) = read_folder(folder)
    report = analyse_study(study, order)
    assert tuple(one.kind for one in report.objects) == objects
    assert not any(one.problems for one in report.objects)
    return report.result


def test_a_t1_of_7_tesla_alone_is_not_analysed_for_want_of_flair(tmp_path: Path, shared_data: Path) -> None:
    result = analysed(shared_data / "mr" / "t1-7t-normal", tmp_path / "out")
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "FLAIR" in result.reason


def test_a_flair_with_one_slice_missing_is_not_analysed(tmp_path: Path, shared_data: Path) -> None:
    folder = wrapped(tmp_path / "study", shared_data, "FLAIR")
    files = sorted(folder.rglob("*.dcm"))
    files[len(files) // 2].unlink()
    result = analysed(folder, tmp_path / "out")
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "FLAIR" in result.reason


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"PatientAge": "001Y"}, "child"),
        ({"PatientAge": None, "PatientBirthDate": "20200101", "StudyDate": "20250101"}, "child"),
        ({"StudyDescription": "MRT Wirbelsäule", "BodyPartExamined": "BRAIN"}, "SPINE"),
    ],
)
def test_a_child_or_a_spine_labelled_brain_is_not_analysed(
    tmp_path: Path, shared_data: Path, header: dict[str, str | None], told: str
) -> None:
    folder = wrapped(tmp_path / "study", shared_data, "FLAIR")
    for path in folder.rglob("*.dcm"):
        edit(path, SpecificCharacterSet="ISO_IR 192", **header)
    result = analysed(folder, tmp_path / "out")
    assert result.outcome is Outcome.NOT_ANALYSED
    assert told in result.reason


def test_sequences_of_different_patients_are_not_analysed(tmp_path: Path, shared_data: Path) -> None:
    folder = wrapped(tmp_path / "study", shared_data, "FLAIR")
    for path in sorted(folder.rglob("*.dcm"))[:60]:
        edit(path, PatientID="another")
    result = analysed(folder, tmp_path / "out", objects=())
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "patient" in result.reason


def test_a_trunk_whose_headers_say_brain_is_not_analysed() -> None:
    result = told(trunk(fading=False))
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "no brain" in result.reason


@pytest.fixture(scope="module")
def flair(shared_data: Path) -> Grid:
    """Return patient26 in slices of 3 mm and voxels of 2 mm, which is quick."""
    whole = read_nifti(shared_data / "mr" / "open-ms" / "patient26" / FILES["FLAIR"])
    return whole.resampled((3.0, 2.0, 2.0))


def told(grid: Grid) -> Result:
    pipeline = load(find("brain_lesions").verified_weights())
    return pipeline.analyse(Sequences({"FLAIR": Volume(grid.array, grid.affine, "1.2.3", ())}, "FLAIR"))


def test_a_head_of_half_the_size_is_not_analysed(flair: Grid) -> None:
    small = flair.affine @ np.diag([0.5, 0.5, 0.5, 1.0])
    result = told(replace(flair, affine=small))
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "brain" in result.reason


def test_slices_torn_apart_by_motion_are_not_analysed(flair: Grid) -> None:
    torn = flair.array.copy()
    torn[::2] *= 0.4
    result = told(replace(flair, array=torn))
    assert result.outcome is Outcome.NOT_ANALYSED
    assert "motion" in result.reason


@pytest.mark.slow
def test_a_void_as_after_surgery_is_no_lesion(flair: Grid) -> None:
    middle = np.add(flair.world_mm(np.argwhere(flair.array > 0).mean(axis=0)), (30.0, -20.0, 25.0))
    places = flair.world_mm(np.moveaxis(np.indices(flair.shape_kji), 0, -1))
    void = np.linalg.norm(places - middle, axis=-1) < 18
    result = told(replace(flair, array=np.where(void, 0.15 * flair.array, flair.array).astype(np.float32)))
    inside = [one for one in result.findings if np.linalg.norm(np.subtract(one.centre_mm, middle)) < 16]
    assert sum(one.value(terms.VOLUME) or 0.0 for one in inside) < 300
