"""Purging: a study's images go whole, over crashes too; its story stays, and nothing newer is hit."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pacsai.spool import Reception, Spool, purging
from tests.spool.test_spool import NOON, STUDY, arrival, events, second

NAMES = ("1.2.3.1", "1.2.3.2")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path)
    spool.start()
    for name in NAMES:
        spool.receive(arrival(name), NOON)
    spool.complete(10, second(10))
    spool.mark_submitted(STUDY, spool.revision(STUDY))
    yield spool
    spool.close()


def again(tmp_path: Path) -> Spool:
    """Return the spool of another process, as after a crash."""
    spool = Spool(tmp_path)
    spool.start()
    return spool


def test_images_go_and_the_story_stays(spool: Spool, tmp_path: Path) -> None:
    assert spool.purge(STUDY, "older than 30 days", second(20))
    assert spool.instances(STUDY) == ()
    assert spool.find(NAMES[0]) is None
    assert events(spool) == ["receiving", "complete", "purged"]
    assert [(one.instances, one.waiting) for one in spool.held()] == [(0, False)]
    assert spool.complete(0, NOON + timedelta(days=1)) == ()
    for index in tmp_path.glob("index.db*"):
        index.unlink()
    later = again(tmp_path)
    assert later.studies() == (STUDY,)
    assert later.complete(0, NOON + timedelta(days=1)) == ()
    later.close()


def test_an_image_that_comes_again_is_late_news(spool: Spool) -> None:
    revision = spool.revision(STUDY)
    spool.purge(STUDY, "", second(20))
    assert spool.receive(arrival(NAMES[0]), second(100)) is Reception.NEW
    assert spool.complete(10, second(110)) == (STUDY,)
    assert spool.story_of(STUDY).read()[-2]["detail"] == "an instance arrived late after its images were purged"
    spool.receive(arrival(NAMES[1]), second(111))
    assert spool.revision(STUDY) == revision
    assert spool.complete(10, second(130)) == (), "the same study once more is nothing new"


def test_a_study_with_news_is_not_purged(spool: Spool) -> None:
    spool.receive(arrival("1.2.3.3"), second(15))
    assert not spool.purge(STUDY, "", second(20))
    assert len(spool.instances(STUDY)) == 3


def test_a_file_that_is_not_entered_yet_keeps_the_study(spool: Spool, tmp_path: Path) -> None:
    other = Spool(tmp_path)
    stray = spool.instances_folder(STUDY) / f"{spool.key('1.2.3.9')}.dcm"
    stray.write_bytes(spool.instances(STUDY)[0].read_bytes())
    assert not spool.purge(STUDY, "", second(20))
    assert stray.exists()
    other.close()


def test_a_purge_that_was_cut_off_is_finished_at_the_next_start(spool: Spool, tmp_path: Path) -> None:
    folder = spool.instances_folder(STUDY).parent
    files = spool.instances(STUDY)
    purging.begin(folder, files)
    files[0].unlink()
    later = again(tmp_path)
    assert later.instances(STUDY) == ()
    assert not (folder / "purge.json").exists()
    assert later.complete(0, NOON + timedelta(days=1)) == ()
    later.close()


def test_an_image_that_came_again_after_a_cut_off_purge_stays(spool: Spool, tmp_path: Path) -> None:
    files = spool.instances(STUDY)
    purging.begin(files[0].parent.parent, files)
    newer = files[0].stat().st_mtime_ns + 1_000_000_000
    os.utime(files[0], ns=(newer, newer))
    later = again(tmp_path)
    assert later.instances(STUDY) == (files[0],)
    later.close()


def test_images_that_come_again_while_the_study_is_purged_are_on_disk_and_in_the_index_or_in_neither(
    spool: Spool,
) -> None:
    ending = threading.Event()

    def send() -> None:
        while not ending.is_set():
            for name in NAMES:
                assert spool.receive(arrival(name), second(30)) is not Reception.CONFLICT

    sender = threading.Thread(target=send)
    sender.start()
    purged = 0
    end = time.monotonic() + 20
    while purged < 20 and time.monotonic() < end:
        purged += spool.purge(STUDY, "", second(40))
        spool.mark_submitted(STUDY, spool.revision(STUDY))
    ending.set()
    sender.join()
    assert purged == 20
    on_disk = {path.stem for path in spool.instances(STUDY)}
    assert on_disk == {spool.key(name) for name in NAMES if spool.find(name)}
    assert [one.instances for one in spool.held()] == [len(on_disk)]
