"""What came because the node asked for it: held for comparison, until a sender brings it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pacsai.spool import Arrival, Spool
from pacsai.state import state_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
STUDY = "2.25.1"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "data")
    spool.start()
    yield spool
    spool.close()


def arrive(spool: Spool, sop_instance_uid: str, now: datetime = NOON) -> None:
    spool.receive(
        Arrival(
            study_instance_uid=STUDY,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
            sop_instance_uid=sop_instance_uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            dataset=b"x" * 10,
        ),
        now,
    )


def complete(spool: Spool) -> tuple[str, ...]:
    return spool.complete(1, NOON + timedelta(days=1))


def expect(spool: Spool, *uids: str) -> None:
    spool.expect(STUDY, "asker", uids, LATER.timestamp())


def test_what_was_asked_for_is_not_handed_on(spool: Spool, tmp_path: Path) -> None:
    expect(spool, "1", "2")
    arrive(spool, "1")
    assert complete(spool) == complete(spool) == ()
    arrive(spool, "2")
    assert complete(spool) == ()
    assert spool.held_for_comparison(STUDY)
    assert state_of(spool.story_of(STUDY).read()) == "held for comparison"
    (tmp_path / "data" / "index.db").unlink()
    again = Spool(tmp_path / "data")
    again.start()
    assert again.complete(1, NOON + timedelta(days=1)) == ()
    again.close()


def test_a_study_of_which_more_came_is_a_study_like_any_other(spool: Spool) -> None:
    expect(spool, "1")
    arrive(spool, "1")
    assert complete(spool) == ()
    arrive(spool, "2")
    assert complete(spool) == (STUDY,)
    spool.mark_submitted(STUDY, spool.revision(STUDY))
    assert not spool.held_for_comparison(STUDY)


def test_an_analysed_study_is_not_analysed_again_for_what_was_asked_for(spool: Spool) -> None:
    arrive(spool, "1")
    spool.mark_submitted(STUDY, spool.revision(STUDY))
    expect(spool, "2")
    arrive(spool, "2")
    assert complete(spool) == ()
    arrive(spool, "3")
    assert complete(spool) == (STUDY,)


@pytest.mark.parametrize("purged", [False, True])
def test_what_a_sender_brings_after_the_time_is_analysed(spool: Spool, *, purged: bool) -> None:
    expect(spool, "1")
    arrive(spool, "1")
    assert complete(spool) == ()
    if purged:
        assert spool.purge(STUDY, "old", NOON)
    arrive(spool, "1", LATER - timedelta(minutes=1))  # the archive sends again
    assert complete(spool) == ()
    arrive(spool, "1", LATER + timedelta(minutes=1))
    assert complete(spool) == (STUDY,)


def test_after_all_was_sent_the_time_is_shorter(spool: Spool) -> None:
    expect(spool, "1")
    arrive(spool, "1")
    assert complete(spool) == ()
    spool.expect_no_longer(STUDY, "asker", NOON.timestamp())
    arrive(spool, "1", NOON + timedelta(minutes=1))
    assert complete(spool) == (STUDY,)
