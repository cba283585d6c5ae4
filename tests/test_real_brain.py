"""The brain's promise, on a real patient of open-ms as DICOM: in by storescu, out into Orthanc, on FLAIR's grid."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pacsai.evaluate.masks import read_mask
from pacsai.study.reading import read_folder
from pacsai.volume import read_volume
from pipelines.brain_lesions.pairs import affine_of, brains, planted, scan
from tests.nodes import pacsai_json, serving, write_site
from tests.objects.tools import dciodvfy
from tests.pipelines.brain_lesions.studies import wrapped
from tests.services import orthanc

NAMES = ("FLAIR", "T1", "T1C", "T2")
RESULTS = ["SEG", "SR", "GSPS", "SC"]


@pytest.fixture
def brain(tmp_path: Path, shared_data: Path) -> Path:
    return wrapped(tmp_path / "study", shared_data, *NAMES)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_brain_gets_its_results_into_the_archive(tmp_path: Path, brain: Path) -> None:
    uid = str(pydicom.dcmread(next(brain.rglob("*.dcm")), stop_before_pixels=True).StudyInstanceUID)
    with orthanc(tmp_path) as archive:
        where = {"kind": "dimse", "ae_title": archive.ae_title, "host": "127.0.0.1", "port": archive.dicom_port}
        config = write_site(tmp_path, archive=where, pipelines={"brain_lesions": {"results": RESULTS[:3]}}, quiet_s=5)
        with serving(config) as node:
            assert node.store(brain).returncode == 0
            assert node.wait_for(uid, "delivered", wait_s=550).startswith("findings")
        arrived = [one for one in archive.instances(uid) if one["Modality"] != "MR"]
        assert Counter(one["Modality"] for one in arrived) == {"SEG": 1, "SR": 1, "PR": 1}
        (seg,) = (one for one in arrived if one["Modality"] == "SEG")
        (tmp_path / "seg.dcm").write_bytes(archive.file(seg["ID"]))
    assert errors(tmp_path / "seg.dcm") == []
    assert_on_the_grid_of_flair(tmp_path / "seg.dcm", brain)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_offline_flair_alone_gives_conformant_objects(tmp_path: Path, shared_data: Path) -> None:
    study = wrapped(tmp_path / "study", shared_data, "FLAIR")
    wanted = [word for kind in RESULTS for word in ("--result", kind)]
    report: dict[str, Any] = pacsai_json(
        "analyse", "brain_lesions", str(study), "--out", str(tmp_path / "out"), *wanted
    )
    assert report["outcome"] == "findings"
    assert [one["kind"] for one in report["objects"]] == RESULTS
    for one in report["objects"]:
        assert one["problems"] == []
        assert errors(Path(one["file"])) == []
    assert_on_the_grid_of_flair(tmp_path / "out" / "seg.dcm", study)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_study_without_flair_is_not_analysed_and_says_so(tmp_path: Path, shared_data: Path) -> None:
    study = wrapped(tmp_path / "study", shared_data, "T1", "T2")
    report = pacsai_json("analyse", "brain_lesions", str(study), "--out", str(tmp_path / "out"))
    assert report["outcome"] == "not analysed"
    assert "FLAIR" in report["reason"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_of_two_studies_the_later_is_compared_with_the_earlier_and_its_report(tmp_path: Path) -> None:
    before, after = brains(6000)
    folder = tmp_path / "patient"
    for name, made in (("first", before), ("changed", after)):
        (folder / name).mkdir(parents=True)
        movement = scan(made, name, ("FLAIR",), np.random.default_rng(len(name)), folder / name)
    first = pacsai_json("analyse", "brain_lesions", str(folder / "first"), "--out", str(tmp_path / "one"))
    (tmp_path / "one" / "sr.dcm").rename(folder / "first" / "sr.dcm")
    report = pacsai_json("analyse", "brain_lesions", str(folder), "--out", str(tmp_path / "two"))
    new = [one for one in report["findings"] if one.get("change") == "new"]
    wanted = planted(before, after, affine_of(after), movement)
    assert wanted
    assert len(new) == len(wanted)
    for lesion in wanted:
        assert min(float(np.linalg.norm(np.subtract(one["centre_mm"], lesion.centre_mm))) for one in new) < 6
    large = {one["tracking_uid"] for one in first["findings"] if one["volume_mm3"] > 100}
    assert large <= {one["tracking_uid"] for one in report["findings"]}
    assert all(one["problems"] == [] for one in report["objects"])


def errors(path: Path) -> list[str]:
    """Return what dciodvfy calls an error; wrapped studies lack what it warns of (StudyID)."""
    return [line for line in dciodvfy(path) if line.startswith("Error")]


def assert_on_the_grid_of_flair(seg: Path, folder: Path) -> None:
    """Every frame of a SEG lies on a slice of FLAIR, voxel on voxel, to 1e-3 mm."""
    (study,) = read_folder(folder)
    flair = next(one for one in study.series if "flair" in str(one.instances[0].header.SeriesDescription))
    volume, found = read_volume(flair.instances), read_mask(seg)
    index = np.linalg.inv(volume.affine) @ found.affine
    np.testing.assert_allclose(index[:3, :3], np.eye(3), atol=1e-4)
    np.testing.assert_allclose(index[:3, 3], np.round(index[:3, 3]), atol=1e-3)
    assert found.mask.shape[1:] == volume.shape_kji[1:]
    marked = volume.pasted(found.mask, found.affine)
    assert marked.sum() == found.mask.sum()
    assert np.median(volume.array[marked]) > np.median(volume.array[volume.array > 0])
