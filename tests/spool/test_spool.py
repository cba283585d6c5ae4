"""The durable inbox: nothing acknowledged is lost, nothing arrives twice, no peer chooses a path."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pydicom
import pytest

from pacsai.spool import Arrival, Reception, Spool, SpoolFull
from tests.conftest import needs

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
STUDY = "1.2.3"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def second(number: float) -> datetime:
    return NOON + timedelta(seconds=number)


def arrival(sop: str = "1.2.3.1", *, study: str = STUDY, dataset: bytes = b"data", syntax: str = EXPLICIT) -> Arrival:
    return Arrival(
        study_instance_uid=study,
        sop_class_uid=CT,
        sop_instance_uid=sop,
        transfer_syntax_uid=syntax,
        dataset=dataset,
    )


def events(spool: Spool, study: str = STUDY) -> list[str]:
    return [event["event"] for event in spool.story_of(study).read()]


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    spool.start()
    yield spool
    spool.close()


# Keeping


def test_an_arrival_is_kept_as_a_dicom_file_with_the_bytes_as_received(spool: Spool) -> None:
    dataset = b"\x08\x00\x60\x00CS\x02\x00CT"
    assert spool.receive(arrival(dataset=dataset), NOON) is Reception.NEW
    (path,) = spool.instances(STUDY)
    assert path.read_bytes().endswith(dataset)
    read = pydicom.dcmread(path)
    assert read.Modality == "CT"
    assert read.file_meta.MediaStorageSOPInstanceUID == "1.2.3.1"
    assert read.file_meta.TransferSyntaxUID == EXPLICIT


def test_the_same_again_changes_nothing(spool: Spool) -> None:
    spool.receive(arrival(), NOON)
    revision = spool.revision(STUDY)
    assert spool.receive(arrival(), second(5)) is Reception.SAME
    assert spool.revision(STUDY) == revision
    assert spool.complete(5, second(5)) == (STUDY,), "a re-send does not put completion off"


def test_other_bytes_are_quarantined_and_told_and_the_first_kept(spool: Spool, tmp_path: Path) -> None:
    spool.receive(arrival(dataset=b"first"), NOON)
    for _ in range(2):
        assert spool.receive(arrival(dataset=b"second"), NOON) is Reception.CONFLICT
    (kept,) = spool.instances(STUDY)
    assert kept.read_bytes().endswith(b"first")
    (quarantined,) = (tmp_path / "quarantine").rglob("*.dcm")
    assert quarantined.read_bytes().endswith(b"second")
    assert events(spool) == ["receiving", "conflict"], "told once, however often it is sent"
    conflict = spool.story_of(STUDY).read()[-1]
    assert tmp_path / conflict["quarantine"] == quarantined


def test_the_same_image_in_another_transfer_syntax_is_a_conflict(spool: Spool) -> None:
    spool.receive(arrival(syntax=EXPLICIT), NOON)
    assert spool.receive(arrival(syntax=IMPLICIT), NOON) is Reception.CONFLICT


def test_one_sop_instance_uid_in_two_studies_is_a_conflict_told_where_the_first_is(spool: Spool) -> None:
    spool.receive(arrival(dataset=b"in 1.2.3"), NOON)
    assert spool.receive(arrival(study="9.9", dataset=b"in 9.9"), NOON) is Reception.CONFLICT
    assert spool.studies() == (STUDY,)
    assert spool.story_of(STUDY).read()[-1]["study_instance_uid"] == "9.9"


def test_what_a_peer_calls_its_study_is_no_path(spool: Spool, tmp_path: Path) -> None:
    spool.receive(arrival(sop="../../../escape", study="/etc"), NOON)
    outside = list(tmp_path.parent.rglob("*escape*"))
    assert outside == []
    (path,) = spool.instances("/etc")
    assert path.relative_to(tmp_path / "spool").parts[1] == "instances"


def test_threads_store_the_same_and_different_instances_at_once(spool: Spool) -> None:
    outcomes: list[Reception] = []

    def send() -> None:
        outcomes.extend(spool.receive(arrival(sop=f"1.2.3.{number}"), NOON) for number in range(20))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Reception.NEW) == 20
    assert outcomes.count(Reception.SAME) == 60
    assert len(spool.instances(STUDY)) == 20
    assert events(spool) == ["receiving"]


# Full disks


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    needs("mount", "umount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_told_and_leaves_nothing_behind(small_disk: Path) -> None:
    spool = Spool(small_disk)
    assert spool.receive(arrival(), NOON) is Reception.NEW
    with pytest.raises(SpoolFull, match="full"):
        spool.receive(arrival(sop="1.2.3.2", dataset=b"x" * 2_000_000), NOON)
    assert len(spool.instances(STUDY)) == 1
    assert not list(small_disk.rglob("*.part"))
    assert spool.receive(arrival(sop="1.2.3.3"), NOON) is Reception.NEW, "a smaller one still fits"
    spool.close()


def test_a_file_size_limit_counts_as_full(spool: Spool) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(SpoolFull):
            spool.receive(arrival(dataset=b"x" * 2_000_000), NOON)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


# Completion


def test_a_study_is_complete_once_it_was_quiet_long_enough(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.1"), second(0))
    spool.receive(arrival("1.2.3.2"), second(8))
    assert spool.complete(10, second(17)) == ()
    assert spool.complete(10, second(18)) == (STUDY,)
    complete = spool.story_of(STUDY).read()[-1]
    assert (complete["event"], complete["instances"]) == ("complete", 2)


def test_a_complete_study_is_named_until_it_is_submitted_and_told_once(spool: Spool) -> None:
    spool.receive(arrival(), NOON)
    assert spool.complete(10, second(10)) == spool.complete(10, second(11)) == (STUDY,)
    spool.mark_submitted(STUDY, spool.revision(STUDY))
    assert spool.complete(10, second(12)) == ()
    assert events(spool) == ["receiving", "complete"]


def test_a_late_instance_reopens_the_study_with_a_new_revision(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.1"), NOON)
    first = spool.revision(STUDY)
    spool.mark_submitted(STUDY, first)
    spool.receive(arrival("1.2.3.2"), second(60))
    assert spool.revision(STUDY) != first
    assert spool.complete(10, second(70)) == (STUDY,)
    assert events(spool) == ["receiving", "reopened", "complete"]


def test_an_instance_that_comes_between_revision_and_submission_is_not_forgotten(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.1"), NOON)
    revision = spool.revision(STUDY)
    spool.receive(arrival("1.2.3.2"), NOON)
    spool.mark_submitted(STUDY, revision)
    assert spool.complete(10, second(10)) == (STUDY,)


def test_the_revision_does_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    revisions = []
    for name, order in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
        spool = Spool(tmp_path / name)
        for number in order:
            spool.receive(arrival(f"1.2.3.{number}", dataset=b"%d" % number), NOON)
        revisions.append(spool.revision(STUDY))
        spool.close()
    assert revisions[0] == revisions[1]


# After a crash


def test_a_deleted_index_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    now = datetime.now(UTC)
    for number in range(5):
        spool.receive(arrival(f"1.2.3.{number}", dataset=b"%d" % number), now)
    spool.receive(arrival("7.1", study="7"), now)
    spool.mark_submitted("7", spool.revision("7"))
    before = {uid: spool.revision(uid) for uid in spool.studies()}
    spool.close()
    for path in tmp_path.glob("index.db*"):
        path.unlink()

    again = Spool(tmp_path)
    again.start()
    assert {uid: again.revision(uid) for uid in again.studies()} == before
    assert again.receive(arrival("1.2.3.4", dataset=b"4"), now) is Reception.SAME
    assert again.complete(0, now + timedelta(seconds=5)) == (STUDY,), "what was submitted stays submitted"
    again.close()


def test_a_start_sweeps_unfinished_files_and_follows_the_folders(spool: Spool, tmp_path: Path) -> None:
    spool.receive(arrival("1.2.3.1"), NOON)
    spool.receive(arrival("1.2.3.2"), NOON)
    spool.receive(arrival("7.1", study="7"), NOON)
    spool.instances(STUDY)[0].unlink()
    shutil.rmtree(spool.instances_folder("7").parent)
    unfinished = spool.instances_folder(STUDY) / ".abc.dcm.xyz.part"
    unfinished.write_bytes(b"half")
    spool.start()
    assert not unfinished.exists()
    assert spool.studies() == (STUDY,)
    assert spool.receive(arrival("7.1", study="7"), NOON) is Reception.NEW


def test_a_start_beside_a_living_node_leaves_what_that_may_still_write(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.1"), NOON)
    folder = spool.instances_folder(STUDY)
    arriving, left = folder.parent.parent / ".arriving.a.part", folder / ".b.dcm.c.part"
    for path in (arriving, left):
        path.write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(left, (two_hours_ago, two_hours_ago))
    spool.start(shared=True)
    assert arriving.exists()
    assert not left.exists()
    spool.start()
    assert not arriving.exists()


def test_a_damaged_file_keeps_no_node_from_starting(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.1"), NOON)
    (spool.instances_folder(STUDY) / "damaged.dcm").write_bytes(b"")
    spool.start()
    assert spool.complete(0, second(5)) == (STUDY,)


RECEIVING = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pacsai.spool import Arrival, Spool
spool = Spool(Path(sys.argv[1]))
for number in range(100000):
    spool.receive(Arrival(study_instance_uid="1.2.3", sop_class_uid="1.2", sop_instance_uid=f"1.2.3.{number}",
                          transfer_syntax_uid="1.2.840.10008.1.2.1", dataset=b"x" * 200000), datetime.now(UTC))
    print(number, flush=True)
"""


def test_kill_9_while_receiving_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", RECEIVING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(0.5)
    child.kill()
    acknowledged = 1 + len(child.stdout.readlines())
    child.wait()
    child.stdout.close()

    spool = Spool(tmp_path)
    spool.start()
    kept = spool.instances(STUDY)
    assert len(kept) in (acknowledged, acknowledged + 1)
    assert all(path.read_bytes().endswith(b"x" * 200000) for path in kept)
    assert not list(tmp_path.rglob("*.part"))
    spool.close()
