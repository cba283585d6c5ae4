"""A folder as archive."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.archive.base import ArchiveUnavailable
from pacsai.archive.folder import FolderArchive


def test_each_object_becomes_a_file_named_by_its_uid(tmp_path: Path, images: list[Path]) -> None:
    FolderArchive(tmp_path / "out").send(images)
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert written == {f"{dcmread(path).SOPInstanceUID}.dcm": path.read_bytes() for path in images}


def test_sending_again_is_accepted(tmp_path: Path, images: list[Path]) -> None:
    archive = FolderArchive(tmp_path / "out")
    archive.send(images)
    assert all(answer.accepted for answer in archive.send(images))


def test_other_bytes_under_the_same_uid_are_refused_and_the_first_kept(tmp_path: Path, images: list[Path]) -> None:
    archive = FolderArchive(tmp_path / "out")
    archive.send(images[:1])
    other = dcmread(images[0])
    other.SeriesDescription = "another"
    other.save_as(tmp_path / "other.dcm")
    [answer] = archive.send([tmp_path / "other.dcm"])
    assert not answer.accepted
    [held] = (tmp_path / "out").iterdir()
    assert held.read_bytes() == images[0].read_bytes()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_uid_that_is_none_never_becomes_a_path(tmp_path: Path, images: list[Path]) -> None:
    uid = dcmread(images[0]).SOPInstanceUID.encode()
    odd = images[0].read_bytes().replace(uid, b"../../".ljust(len(uid), b"x"))
    (tmp_path / "odd.dcm").write_bytes(odd)
    [answer] = FolderArchive(tmp_path / "out").send([tmp_path / "odd.dcm"])
    assert not answer.accepted
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_means_later(tmp_path: Path, images: list[Path]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArchiveUnavailable, match="cannot be written"):
        FolderArchive(tmp_path / "file" / "out").send(images)
