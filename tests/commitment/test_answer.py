"""As SCP: peers are told what is durable here. Requests come through the node's receiver, answers go to a real AE."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pacsai.commitment import wire
from pacsai.commitment.answer import Answering
from pacsai.commitment.ledger import Ledger, Reference
from pacsai.commitment.wire import SOP_CLASS_UID, Requestor
from pacsai.config import Caller as MayCall
from pacsai.config import CommitmentPeer as Listens
from pacsai.config import Node
from pacsai.dicom.scp import Receiver
from pacsai.dicom.tls import client_context, server_context
from pacsai.notices import Desk
from pacsai.peers import free_port
from pacsai.spool import Arrival, Spool
from tests.commitment.peer import CommitmentPeer, commitment_peer
from tests.dicom.test_tls import Papers
from tests.services import PYNETDICOM_SOCKET

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
HERE, THERE = Reference(CT, "1.2.3.1"), Reference(CT, "1.2.3.9")


class House:
    """What of a node answers for commitment, on a clock that the test moves."""

    def __init__(self, data: Path, peer_port: int) -> None:
        listens = Listens(ae_title="MODALITY", host="127.0.0.1", port=peer_port)
        self.node = Node(data=data, port=0, receivers=1, commitment_peers=(listens,))
        self.now = 1e9
        self.spool = Spool(data)
        self.spool.start()
        self.keep("1.2.3.1")
        self.receiver = Receiver(self.node, self.spool)
        self.receiver.start()
        self.restart()

    def restart(self) -> None:
        """Forget all that is not on the disk."""
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger = Ledger(self.node.data / "commitment.db")
        self.answering = Answering(
            self.node, Requestor("PACSAI"), ledger=self.ledger, spool=self.spool, clock=lambda: self.now
        )
        self.desk = Desk(
            self.node.data / "notices", {("N-ACTION", SOP_CLASS_UID): self.answering.hear}, self.spool.story
        )

    def keep(self, uid: str) -> None:
        arrival = Arrival(
            study_instance_uid="1.2.3",
            sop_class_uid=CT,
            sop_instance_uid=uid,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            dataset=b"",
        )
        self.spool.receive(arrival, datetime.now(UTC))

    def round(self) -> None:
        self.desk.deal()
        self.answering.round()

    def told(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.spool.story.read() if one["event"] == event]

    def close(self) -> None:
        self.receiver.stop()
        self.ledger.close()
        self.spool.close()


@pytest.fixture
def peer() -> Iterator[CommitmentPeer]:
    with commitment_peer("MODALITY") as peer:
        yield peer


@pytest.fixture
def house(tmp_path: Path, peer: CommitmentPeer) -> Iterator[House]:
    house = House(tmp_path / "data", peer.port)
    yield house
    house.close()


def test_what_is_durable_here_is_committed(house: House, peer: CommitmentPeer) -> None:
    transaction_uid = peer.request(house.receiver.port, [HERE])
    house.round()
    (report,) = peer.reports
    assert peer.events == [wire.ALL_COMMITTED]
    assert report.TransactionUID == transaction_uid
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.3.1"]
    assert "FailedSOPSequence" not in report
    assert house.ledger.promised_to(house.spool.key("1.2.3")) == "MODALITY"
    house.round()
    assert len(peer.reports) == 1


def test_each_instance_that_is_not_safe_is_named_with_its_reason(house: House, peer: CommitmentPeer) -> None:
    house.keep("1.2.3.2")
    house.keep("1.2.3.3")
    broken = house.spool.find("1.2.3.3")
    assert broken is not None
    broken.write_bytes(b"")
    peer.request(house.receiver.port, [HERE, THERE, Reference(MR, "1.2.3.2"), Reference(CT, "1.2.3.3")])
    house.round()
    assert peer.reports == []  # an image may be on its way still
    house.now += 11
    house.round()
    (report,) = peer.reports
    failed = {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in report.FailedSOPSequence}
    assert peer.events == [wire.SOME_FAILED]
    assert failed == {"1.2.3.9": 0x0112, "1.2.3.2": 0x0119, "1.2.3.3": 0x0110}
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.3.1"]
    (told,) = house.told("commitment answered")
    assert (told["committed"], told["failed"]) == (1, 3)


def test_an_image_that_comes_just_after_the_request_is_committed(house: House, peer: CommitmentPeer) -> None:
    peer.request(house.receiver.port, [HERE, THERE])
    house.round()
    house.keep("1.2.3.9")
    house.now += 3
    house.round()
    assert peer.events == [wire.ALL_COMMITTED]


@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_a_peer_that_is_down_is_answered_when_it_is_back_even_over_a_restart(tmp_path: Path) -> None:
    port = free_port()
    house = House(tmp_path / "data", port)
    CommitmentPeer("MODALITY").request(house.receiver.port, [HERE])
    house.round()
    house.restart()
    house.now += 6
    with commitment_peer("MODALITY", port=port) as peer:
        house.round()
        assert peer.events == [wire.ALL_COMMITTED]
    house.close()
    gc.collect()


@pytest.mark.filterwarnings(PYNETDICOM_SOCKET)
def test_a_peer_that_stays_down_is_given_up_and_told(tmp_path: Path) -> None:
    house = House(tmp_path / "data", free_port())
    CommitmentPeer("MODALITY").request(house.receiver.port, [HERE])
    for _ in range(5):
        house.round()
        house.now += 24 * 3600
    (told,) = house.told("commitment answer given up")
    assert (told["calling_ae_title"], told["objects"]) == ("MODALITY", 1)
    assert house.ledger.owed(house.now) == []
    house.close()
    gc.collect()


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_requests_that_cannot_be_answered_are_told(house: House, peer: CommitmentPeer) -> None:
    port = house.receiver.port
    peer.request(port, [HERE], ae_title="STRANGER")
    peer.request(port, [HERE], action=7)
    peer.request(port, [])
    peer.request(port, [Reference(CT, "../../x")])
    house.round()
    reasons = [event["reason"] for event in house.told("commitment request ignored")]
    assert reasons[0].startswith("no port is known for this AE title")
    assert reasons[1:] == [
        "there is no Action Type 7 (PS3.4 J.3.2)",
        "it refers to no SOP instance",
        "a UID is missing or not made of digits and dots, 64 at most",
    ]
    assert house.ledger.owed(house.now) == []


def test_a_caller_with_a_port_is_answered_there(tmp_path: Path, peer: CommitmentPeer) -> None:
    caller = MayCall(ae_title="MODALITY", address="127.0.0.1", port=peer.port)
    node = Node(data=tmp_path, callers=(caller, MayCall(ae_title="OTHER", address="127.0.0.1")))
    spool, ledger = Spool(tmp_path), Ledger(tmp_path / "commitment.db")
    answering = Answering(node, Requestor("PACSAI"), ledger=ledger, spool=spool)
    assert answering._peer("MODALITY") == wire.Peer("MODALITY", "127.0.0.1", peer.port)
    assert answering._peer("OTHER") is None
    ledger.close()
    spool.close()


def test_answers_go_by_tls_where_the_peer_speaks_it(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    requestor = Requestor("PACSAI", client_context(papers.settings("node")))
    with commitment_peer("MODALITY", tls=server_context(papers.settings("archive"))) as peer:
        requestor.report(wire.Peer("MODALITY", "localhost", peer.port, tls=True), "1.2", [HERE], {})
    assert peer.events == [wire.ALL_COMMITTED]
    with pytest.raises(wire.Unreachable, match=r"node\.tls is not set"):
        Requestor("PACSAI").report(wire.Peer("MODALITY", "localhost", 1, tls=True), "1.2", [HERE], {})
