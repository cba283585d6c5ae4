"""What every kind of archive has in common, against the real thing: Orthanc three ways, and a folder."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.archive import Archive, ArchiveUnavailable, open_archive
from pacsai.config import Site
from pacsai.peers import free_port
from tests.services import PYNETDICOM_SOCKET, Orthanc, orthanc


def site(**archive: object) -> Site:
    node = {"data": "/nowhere"}
    return Site.model_validate({"node": node, "archive": archive, "pipelines": {}})


@dataclass
class Place:
    """An archive under test: how to speak to it, how to run it, how many instances it holds."""

    archive: Archive
    up: Callable[[], AbstractContextManager[object]]
    count: Callable[[], int]


@pytest.fixture(params=["dimse", "dicomweb", "orthanc"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    dicom_port, http_port = free_port(), free_port()
    settings = {
        "dimse": {"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": dicom_port},
        "dicomweb": {"kind": "dicomweb", "url": f"http://127.0.0.1:{http_port}/dicom-web"},
        "orthanc": {"kind": "orthanc", "url": f"http://127.0.0.1:{http_port}"},
    }
    server = Orthanc("ORTHANC", dicom_port, http_port, tmp_path)
    return Place(
        open_archive(site(**settings[request.param])),
        up=lambda: orthanc(tmp_path, dicom_port=dicom_port, http_port=http_port),
        count=server.count,
    )


def uids(images: list[Path]) -> list[str]:
    return [str(dcmread(path, stop_before_pixels=True).SOPInstanceUID) for path in images]


def test_each_object_is_accepted_and_then_there(place: Place, images: list[Path]) -> None:
    with place.up():
        answers = place.archive.send(images)
        assert [answer.sop_instance_uid for answer in answers] == uids(images)
        assert all(answer.accepted for answer in answers), answers
        assert place.count() == 3


def test_sending_again_is_accepted_and_adds_nothing(place: Place, images: list[Path]) -> None:
    with place.up():
        place.archive.send(images)
        assert all(answer.accepted for answer in place.archive.send(images))
        assert place.count() == 3


@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_an_archive_that_is_down_is_unavailable_and_takes_the_objects_when_it_is_back(
    place: Place, images: list[Path]
) -> None:
    with pytest.raises(ArchiveUnavailable, match="cannot be reached"):
        place.archive.send(images)
    gc.collect()
    with place.up():
        assert all(answer.accepted for answer in place.archive.send(images))
        assert place.count() == 3


def test_nothing_to_send_is_nothing_sent(place: Place) -> None:
    assert place.archive.send([]) == ()


def test_bytes_arrive_as_they_were(tmp_path: Path, images: list[Path]) -> None:
    with orthanc(tmp_path) as server:
        kind = {"kind": "dimse", "ae_title": "ORTHANC", "host": "127.0.0.1", "port": server.dicom_port}
        open_archive(site(**kind)).send(images[:1])
        [instance] = server.instances(str(dcmread(images[0]).StudyInstanceUID))
        (tmp_path / "back.dcm").write_bytes(server.file(instance["ID"]))
    assert dcmread(tmp_path / "back.dcm") == dcmread(images[0])
