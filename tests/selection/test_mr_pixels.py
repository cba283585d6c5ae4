"""What the pixels of real heads show, and that they decide nothing where they show nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from pacsai.selection.mr_pixels import look, measured, seen
from pacsai.selection.ranking import Usable
from pacsai.selection.splitting import split
from pacsai.study.reading import read_folder
from pacsai.volume import Grid, geometry
from pacsai.wrap import wrap
from pacsai.wrap.foreign import read_foreign

BRAINS = Path("mr/open-ms")


def brain(path: Path) -> Grid:
    foreign = read_foreign(path)
    assert foreign.affine is not None
    return Grid(np.asarray(foreign.array, np.float32), foreign.affine)


@pytest.mark.parametrize(("file", "sequence"), [("flair", "FLAIR"), ("t1", "T1"), ("t1post", "T1"), ("t2", "T2")])
def test_real_sequences_of_one_patient(shared_data: Path, file: str, sequence: str) -> None:
    assert seen(brain(shared_data / BRAINS / "patient19" / f"{file}.nii.gz")) == sequence


def test_a_whole_head_of_thick_slices(shared_data: Path) -> None:
    assert seen(brain(shared_data / "mr/pyradiomics/brain1_image.nrrd")) == "T1"


def test_thick_slices_may_leave_it_open_and_never_name_another(shared_data: Path) -> None:
    flair = brain(shared_data / BRAINS / "patient19" / "flair.nii.gz")
    affine = flair.affine @ np.diag([1.0, 1.0, 5.0, 1.0])
    assert seen(Grid(ndimage.uniform_filter1d(flair.array, 5, axis=0)[::5], affine)) in ("", "FLAIR")


@pytest.mark.parametrize("value", [0.0, 100.0])
def test_an_even_block_shows_nothing(value: float) -> None:
    assert seen(Grid(np.full((40, 40, 40), value, np.float32), np.diag([4.0, 4.0, 4.0, 1.0]))) == ""


def test_noise_shows_nothing() -> None:
    noise = np.random.default_rng(0).normal(100, 30, (60, 60, 60)).astype(np.float32)
    assert seen(Grid(noise, np.diag([3.0, 3.0, 3.0, 1.0]))) == ""
    assert measured(Grid(-np.ones((10, 10, 10), np.float32), np.eye(4))) is None


def test_a_series_is_read_and_asked(shared_data: Path, tmp_path: Path) -> None:
    wrap([shared_data / "mr/pyradiomics/brain1_image.nrrd"], "MR", tmp_path)
    (study,) = read_folder(tmp_path)
    (part,) = split(study.series[0], study.series[0].instances)
    usable = Usable(part, geometry(part.instances))
    assert look(usable, ("FLAIR", "T1")).name == "T1"
    assert look(usable, ("FLAIR", "T2")).reason == "its pixels look like T1, which fits neither"
    part.instances[3].path.write_bytes(part.instances[3].path.read_bytes()[:-300])
    assert look(usable, ("FLAIR", "T2")).reason.startswith("its pixels cannot be read")
