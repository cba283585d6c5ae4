"""From the outbox into a real archive that was down: jobs, outbox and C-STORE together."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from pacsai.archive.dimse import CStoreArchive
from pacsai.jobs import Jobs
from pacsai.outbox import Outbox
from pacsai.peers import free_port
from tests.jobs.test_jobs import finished, wait_for
from tests.phantoms import write_ct_series
from tests.services import PYNETDICOM_SOCKET, orthanc


class PackAndDeliver:
    """Work whose analysis packs ready-made objects."""

    def __init__(self, folder: Path, port: int) -> None:
        self.objects = write_ct_series(folder / "objects")
        self.outbox = Outbox(folder / "outbox")
        self.archive = CStoreArchive("PACSAI", "ORTHANC", "127.0.0.1", port)

    def plan(self, study_uid: str, revision: str) -> list[str]:  # noqa: ARG002
        return ["toy"]

    def analyse(self, study_uid: str, revision: str, pipeline: str) -> str:
        parcel = self.outbox.pack(
            f"{pipeline}-{revision}",
            self.objects,
            study_instance_uid=study_uid,
            pipeline=pipeline,
            revision=revision,
            summary={},
        )
        return parcel.id

    def deliver(self, parcel_id: str) -> None:
        self.outbox.deliver(parcel_id, self.archive)


@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_results_reach_an_archive_that_was_down(tmp_path: Path) -> None:
    port = free_port()
    work = PackAndDeliver(tmp_path, port)
    jobs = Jobs("sqlite", tmp_path, work)
    jobs.start()
    try:
        jobs.submit("1.2", "r1")
        wait_for(lambda: "the archive ORTHANC at 127.0.0.1" in jobs.list()[0].detail)
        assert len(work.outbox.pending()) == 1
        with orthanc(tmp_path, dicom_port=port) as archive:
            assert finished(jobs).state == "done"
            assert archive.count() == len(work.objects)
    finally:
        jobs.stop(grace_s=0)
    assert work.outbox.pending() == ()
    gc.collect()
