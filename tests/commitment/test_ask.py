"""As SCU: asked until it is committed. Peers are real ones on loopback; the node's receiver takes the late answers."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pacsai import notices
from pacsai.archive.dimse import CStoreArchive
from pacsai.commitment.ask import Asking
from pacsai.commitment.ledger import Ledger, Request, pause_s
from pacsai.commitment.wire import SOP_CLASS_UID, Requestor
from pacsai.config import DimseArchive, Node
from pacsai.dicom.scp import Receiver
from pacsai.notices import Desk
from pacsai.outbox import Outbox
from pacsai.spool import Arrival, Spool
from tests.commitment.peer import CommitmentPeer, commitment_peer
from tests.phantoms import write_ct_series
from tests.services import PYNETDICOM_SOCKET, answering_scp

STUDY = "1.2.3"
HOUR = 3600.0


class House:
    """What of a node asks for commitment, on a clock that the test moves."""

    def __init__(self, data: Path, archive: CommitmentPeer, **settings: Any) -> None:
        self.data = data
        self.archive = archive
        self.now = 1e9
        self.spool = Spool(data)
        self.outbox = Outbox(data / "outbox")
        self.leads = [True] * 1000
        """What is answered, one after the other, to whether this node asks."""
        self._settings = DimseArchive(
            kind="dimse",
            ae_title=archive.ae_title,
            host="127.0.0.1",
            port=archive.port,
            commitment=True,
            **{"commitment_wait_s": 0.5, **settings},
        )
        self.restart()

    def restart(self) -> None:
        """Forget all that is not on the disk."""
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger = Ledger(self.data / "commitment.db")
        store = CStoreArchive("PACSAI", self._settings.ae_title, self._settings.host, self._settings.port)
        self.asking = Asking(
            self._settings,
            store,
            Requestor("PACSAI"),
            outbox=self.outbox,
            ledger=self.ledger,
            spool=self.spool,
            keep=partial(notices.keep, self.data / "notices"),
            leads=lambda: self.leads.pop(0),
            clock=lambda: self.now,
        )
        handlers = {("N-EVENT-REPORT", SOP_CLASS_UID): self.asking.hear}
        self.desk = Desk(self.data / "notices", handlers, self.spool.story)

    def close(self) -> None:
        self.ledger.close()
        self.spool.close()

    def pack(self, source: Path) -> list[str]:
        """Pack a parcel `p1` of two objects, enter it as delivered and return the objects' UIDs."""
        files = write_ct_series(source)[:2]
        self.outbox.pack("p1", files, study_instance_uid=STUDY, pipeline="toy", revision="r", summary={})
        self.asking.expect("p1")
        return [one.sop_instance_uid for one in self.outbox.read("p1").objects]

    def round(self) -> None:
        self.asking.round()
        self.desk.deal()

    @property
    def request(self) -> Request:
        found = self.ledger.request("p1")
        assert found is not None
        return found

    def told(self, *events: str) -> list[dict[str, Any]]:
        return [event for event in self.spool.story_of(STUDY).read() if not events or event["event"] in events]


@pytest.fixture
def archive() -> Iterator[CommitmentPeer]:
    with commitment_peer() as peer:
        yield peer


@pytest.fixture
def house(tmp_path: Path, archive: CommitmentPeer) -> Iterator[House]:
    house = House(tmp_path / "data", archive)
    arrival = Arrival(
        study_instance_uid=STUDY,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        sop_instance_uid="1.2.3.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        dataset=b"",
    )
    house.spool.receive(arrival, datetime.now(UTC))
    yield house
    house.close()


@pytest.fixture
def receiver(house: House) -> Iterator[Receiver]:
    receiver = Receiver(Node(data=house.data, port=0, receivers=1), house.spool)
    receiver.start()
    yield receiver
    receiver.stop()


def test_an_answer_on_the_same_association_commits(house: House, archive: CommitmentPeer, tmp_path: Path) -> None:
    archive.answers_at_once = True
    uids = house.pack(tmp_path / "ct")
    house.round()
    assert [asked.uids for asked in archive.asked] == [tuple(uids)]
    assert house.request.state == "committed"
    assert [event["event"] for event in house.told()][-2:] == ["commitment asked", "committed"]
    house.now += 1000 * HOUR
    house.round()
    assert len(archive.asked) == 1


def test_an_answer_hours_later_after_a_restart_on_an_association_of_its_own_commits(
    house: House, archive: CommitmentPeer, receiver: Receiver, tmp_path: Path
) -> None:
    house.pack(tmp_path / "ct")
    house.round()
    assert house.request.state == "open"
    house.restart()
    house.now += 1.5 * HOUR
    house.round()
    assert len({asked.transaction_uid for asked in archive.asked}) == 2
    assert archive.report(receiver.port, archive.asked[0]) == 0x0000
    house.desk.deal()
    assert house.request.state == "committed"
    assert archive.report(receiver.port, archive.asked[1]) == 0x0000
    house.desk.deal()
    assert len(house.told("committed")) == 1


def test_an_archive_that_never_answers_is_asked_with_growing_pauses_and_given_up(
    house: House, archive: CommitmentPeer, tmp_path: Path
) -> None:
    house.pack(tmp_path / "ct")
    asked_at = []
    for hour in range(31 * 24):
        before = len(archive.asked)
        if house.ledger.due(house.now):
            house.round()
        if len(archive.asked) > before:
            asked_at.append(hour)
            house.asking._settings = house.asking._settings.model_copy(update={"commitment_wait_s": 0})
        house.now += HOUR
    assert asked_at[:6] == [0, 1, 3, 7, 15, 31]
    assert asked_at[-1] - asked_at[-2] == 24
    assert house.request.state == "not committed"
    assert [event["reason"] for event in house.told("not committed")] == ["no answer in 30 days"]


def test_what_failed_is_sent_again_and_asked_for_again(house: House, archive: CommitmentPeer, tmp_path: Path) -> None:
    archive.answers_at_once = True
    first, second = house.pack(tmp_path / "ct")
    archive.refuses = {second: 0x0112}
    house.round()
    assert [one.sop_instance_uid for one in house.request.waiting] == [second]
    archive.refuses = {}
    house.round()
    assert archive.stored == [second]
    assert [asked.uids for asked in archive.asked] == [(first, second), (second,)]
    assert house.request.state == "committed"
    (again,) = house.told("sent again")
    assert again["reason"] == "1 objects: 0x0112 no such object instance"


def test_a_node_that_does_not_lead_asks_nothing(house: House, archive: CommitmentPeer, tmp_path: Path) -> None:
    archive.answers_at_once = True
    house.pack(tmp_path / "ct")
    for house.leads in ([False], [True, False], [True, True, False]):
        house.round()
    assert archive.asked == []
    house.leads = [True] * 3
    house.round()
    assert house.request.state == "committed"


def test_a_node_that_stops_leading_sends_nothing_again(house: House, archive: CommitmentPeer, tmp_path: Path) -> None:
    archive.answers_at_once = True
    first, _ = house.pack(tmp_path / "ct")
    archive.refuses = {first: 0x0112}
    house.round()
    house.leads = [True, True, False]
    house.round()
    assert archive.stored == []
    assert (house.request.resent, [*house.request.failed]) == (0, [first])
    house.leads = [True] * 4
    house.round()
    assert archive.stored == [first]


def test_what_fails_again_and_again_is_told_as_not_committed(
    house: House, archive: CommitmentPeer, tmp_path: Path
) -> None:
    archive.answers_at_once = True
    uids = house.pack(tmp_path / "ct")
    archive.refuses = {uids[0]: 0x0213}
    for _ in range(8):
        house.round()
        house.now += 5 * HOUR
    assert house.request.state == "not committed"
    assert archive.stored == [uids[0]] * 3
    (told,) = house.told("not committed")
    assert told["reason"] == "1 objects: 0x0213 resource limitation, sent again 3 times"


def test_what_was_withdrawn_is_neither_sent_again_nor_asked_for_again(
    house: House, archive: CommitmentPeer, tmp_path: Path
) -> None:
    archive.answers_at_once = True
    first, _ = house.pack(tmp_path / "ct")
    archive.refuses = {first: 0x0112}
    house.round()
    house.outbox.withdraw("p1", "its images were rejected")
    house.round()
    assert house.request.state == "withdrawn"
    assert (len(archive.asked), archive.stored) == (1, [])


def test_an_answer_of_another_ae_or_of_an_unknown_transaction_is_told_and_ignored(
    house: House, archive: CommitmentPeer, receiver: Receiver, tmp_path: Path
) -> None:
    house.pack(tmp_path / "ct")
    house.round()
    (asked,) = archive.asked
    archive.report(receiver.port, asked, ae_title="SOMEBODY")
    asked.transaction_uid += ".1"
    archive.report(receiver.port, asked)
    house.desk.deal()
    assert house.request.state == "open"
    ignored = [event for event in house.spool.story.read() if event["event"] == "commitment answer ignored"]
    assert [event["calling_ae_title"] for event in ignored] == ["SOMEBODY", "ARCHIVE"]


def test_a_refused_request_is_told_and_asked_again_later(house: House, archive: CommitmentPeer, tmp_path: Path) -> None:
    archive.status = 0x0124
    house.pack(tmp_path / "ct")
    house.round()
    (refused,) = house.told("commitment refused")
    assert refused["reason"].endswith("answered 0x0124 not authorised")
    archive.status, archive.answers_at_once = 0x0000, True
    house.round()
    assert house.request.state == "open"
    house.now += HOUR
    house.round()
    assert house.request.state == "committed"


@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_an_archive_that_is_down_is_asked_when_it_is_back(tmp_path: Path) -> None:
    with commitment_peer() as gone:
        pass
    house = House(tmp_path / "data", gone)
    (house.data / "spool" / house.spool.key(STUDY)).mkdir()
    house.pack(tmp_path / "ct")
    house.round()
    house.round()
    house.now += 2
    house.round()
    assert house.request.asked == 0
    (waits,) = [event for event in house.spool.story.read() if event["event"] == "commitment waits"]
    assert waits["reason"].endswith("cannot be reached")
    with commitment_peer(port=gone.port) as archive:
        archive.answers_at_once = True
        house.now += 5
        house.round()
        assert house.request.state == "committed"
    house.close()
    gc.collect()


def test_an_archive_that_knows_no_commitment_is_told_in_the_study(tmp_path: Path) -> None:
    with answering_scp(0x0000) as (port, _):
        house = House(tmp_path / "data", CommitmentPeer("ANSWERS", port))
        (house.data / "spool" / house.spool.key(STUDY)).mkdir()
        house.pack(tmp_path / "ct")
        house.round()
        (refused,) = house.told("commitment refused")
        assert refused["reason"].endswith("does not know storage commitment")
        assert house.ledger.due(house.now + HOUR / 2) == []
        house.now += HOUR
        house.round()
        assert house.ledger.due(house.now + 1.5 * HOUR) == []
        assert len(house.ledger.due(house.now + 2 * HOUR)) == 1
        house.close()


def test_parcels_delivered_before_commitment_was_asked_for_are_entered(house: House, tmp_path: Path) -> None:
    files = write_ct_series(tmp_path / "ct")[:1]
    for name in ("sent", "waiting"):
        house.outbox.pack(name, files, study_instance_uid=STUDY, pipeline="toy", revision="r", summary={})
    house.outbox.deliver("sent", house.asking._archive)
    house.asking.expect_delivered()
    assert house.ledger.request("sent") is not None
    assert house.ledger.request("waiting") is None


def test_pauses_double_up_to_a_day() -> None:
    assert [pause_s(HOUR, times) / HOUR for times in (1, 2, 5, 6, 100)] == [1, 2, 16, 24, 24]
    assert pause_s(48 * HOUR, 3) == 48 * HOUR
