"""A fenced archive: nothing is sent by who may not do it any more, however late that turns out."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pacsai.archive.fenced import Fenced
from pacsai.archive.folder import FolderArchive
from pacsai.config import Site
from pacsai.jobs import Interrupted
from pacsai.outbox import Outbox, ParcelError
from pacsai.priors import Priors
from pacsai.spool import Spool
from pacsai.work import StudyWork
from tests.phantoms import write_ct_series


def interrupt() -> None:
    raise Interrupted


def test_it_asks_before_each_sending_and_sends_nothing_after_a_no(tmp_path: Path) -> None:
    files = write_ct_series(tmp_path / "ct")[:1]
    allowed = [True, False]
    fenced = Fenced(FolderArchive(tmp_path / "archive"), lambda: None if allowed.pop(0) else interrupt())
    assert fenced.send(files)[0].accepted
    with pytest.raises(Interrupted):
        fenced.send(files)


def test_a_node_that_lost_its_lease_while_it_read_the_parcel_delivers_nothing(tmp_path: Path) -> None:
    site = Site.model_validate(
        {"node": {"data": tmp_path}, "archive": {"kind": "folder", "path": "/"}, "pipelines": {}}
    )
    spool, outbox, archive = Spool(tmp_path), Outbox(tmp_path / "outbox"), tmp_path / "archive"
    files = write_ct_series(tmp_path / "ct")[:1]
    parcel = outbox.pack("p1", files, study_instance_uid="1.2", pipeline="toy", revision="r", summary={"objects": []})
    work = StudyWork(site, spool, [], FolderArchive(archive), threading.Event(), lambda _: None, Priors(site, spool))
    work.check_lease = interrupt
    with pytest.raises(Interrupted):
        work.deliver("p1")
    assert not [*archive.rglob("*.dcm")]
    parcel.paths[0].write_bytes(b"damaged")
    with pytest.raises(ParcelError):  # the lease is asked for after all that takes time
        work.deliver("p1")
    spool.close()
