"""Retention: nothing goes that is not safe elsewhere, and then only by age or for want of space."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pacsai.archive.base import Sent
from pacsai.archive.folder import FolderArchive
from pacsai.cli import app
from pacsai.commitment.ledger import Ledger, Reference
from pacsai.config import RetentionSettings, Site
from pacsai.jobs.listing import Job, State
from pacsai.outbox import DeliveryRefused, Outbox
from pacsai.retention import Retention
from pacsai.spool import Arrival, Spool
from tests.phantoms import write_ct_series

CT = "1.2.840.10008.5.1.4.1.1.2"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ASKED = {"kind": "dimse", "ae_title": "A", "host": "127.0.0.1", "port": 104, "commitment": True}


class House:
    """A spool, an outbox and a ledger of studies in every state."""

    def __init__(self, folder: Path, **retention: Any) -> None:
        self.folder = folder
        self.spool = Spool(folder / "data")
        self.spool.start()
        self.ledger = Ledger(folder / "data" / "commitment.db")
        self.outbox = Outbox(folder / "data" / "outbox")
        self.jobs: list[Job] = []
        self.files = write_ct_series(folder / "objects")[:1]
        self.now = NOON + timedelta(days=40)
        self.set(**retention)

    def set(self, archive: dict[str, Any] = ASKED, **retention: Any) -> None:
        self.site = Site.model_validate(
            {"node": {"data": self.folder / "data"}, "archive": archive, "pipelines": {}, "retention": retention}
        )
        self.retention = Retention(self.site, self.spool, self.ledger, lambda: self.jobs, lambda: self.now)

    def study(self, uid: str, *, day: float = 0, job: State = "done") -> None:
        """Let a study arrive, be analysed, and leave one parcel that is committed."""
        arrived = NOON + timedelta(days=day)
        arrival = Arrival(
            study_instance_uid=uid,
            sop_class_uid=CT,
            sop_instance_uid=f"{uid}.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            dataset=b"x" * 1000,
        )
        self.spool.receive(arrival, arrived)
        self.spool.mark_submitted(uid, self.spool.revision(uid))
        self.jobs.append(Job(uid, uid, "r", False, job, arrived, arrived, arrived, ""))
        self.parcel(uid)
        self.outbox.deliver(f"p{uid}", FolderArchive(self.folder / "archive"))
        self.commit(uid)

    def parcel(self, uid: str) -> None:
        self.outbox.pack(f"p{uid}", self.files, study_instance_uid=uid, pipeline="toy", revision="r", summary={})

    def commit(self, uid: str) -> None:
        self.ledger.expect(f"p{uid}", uid, [Reference(CT, "1")], 0)
        self.ledger.settle(f"p{uid}", "committed")

    def verdict(self, uid: str) -> str:
        (one,) = [one for one in self.retention.verdicts() if one.study_instance_uid == uid]
        return one.reason if not one.goes else f"goes: {one.reason}"

    def close(self) -> None:
        self.ledger.close()
        self.spool.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path, keep_days=30)
    yield house
    house.close()


def test_by_default_nothing_is_ever_deleted(house: House) -> None:
    assert not RetentionSettings().wanted
    house.study("1")
    house.set()
    assert house.verdict("1") == "nothing is ever deleted"
    assert house.retention.round() == []
    assert len(house.spool.instances("1")) == 1


def test_what_is_old_delivered_and_committed_goes_and_its_story_stays(house: House) -> None:
    house.study("1")
    house.study("2", day=20)
    assert house.verdict("2") == "it is not old enough, and there is room"
    (gone,) = house.retention.round()
    assert gone.study_instance_uid == "1"
    assert gone.bytes > 1000
    assert (len(house.spool.instances("1")), len(house.spool.instances("2"))) == (0, 1)
    assert list((house.folder / "data" / "outbox" / "p1").glob("*.dcm")) == []
    assert house.outbox.delivery("p1") is not None
    (told,) = [event for event in house.spool.story_of("1").read() if event["event"] == "purged"]
    assert (told["instances"], told["reason"]) == (1, "older than 30 days")
    assert house.retention.round() == []
    assert [one.study_instance_uid for one in house.retention.verdicts()] == ["2"]


def test_only_the_node_that_leads_deletes_and_asks_before_each_study(house: House) -> None:
    house.study("1")
    house.study("2")
    leads: list[bool]
    house.retention._leads = lambda: leads.pop(0)
    for answers in ([False], [True, False, False]):
        leads = answers
        assert house.retention.round() == []
    leads = [True, True, False]
    assert [one.study_instance_uid for one in house.retention.round()] == ["1"]
    assert len(house.spool.instances("2")) == 1


def test_no_study_goes_while_another_process_promises(house: House) -> None:
    house.study("1")
    other = Ledger(house.folder / "data" / "commitment.db")
    gone: list[object] = []
    with other.changes():
        purging = threading.Thread(target=lambda: gone.append(house.retention.round()))
        purging.start()
        purging.join(0.5)
        assert purging.is_alive()
        other.promise({house.spool.key("1")}, "PEER")
    purging.join()
    other.close()
    assert gone == [[]]
    assert len(house.spool.instances("1")) == 1


def undelivered(house: House) -> None:
    house.outbox.pack("more", house.files, study_instance_uid="1", pipeline="toy", revision="r", summary={})


def refused(house: House) -> None:
    class Refusing:
        def send(self, paths: Any) -> tuple[Sent, ...]:
            return tuple(Sent("1", accepted=False) for _ in paths)

    undelivered(house)
    with pytest.raises(DeliveryRefused):
        house.outbox.deliver("more", Refusing())


def uncommitted(house: House) -> None:
    house.ledger.settle("p1", "not committed")


def news(house: House) -> None:
    arrival = Arrival(
        study_instance_uid="1", sop_class_uid=CT, sop_instance_uid="9", transfer_syntax_uid="1.2", dataset=b""
    )
    house.spool.receive(arrival, NOON)


def another_job(state: State) -> Callable[[House], None]:
    def act(house: House) -> None:
        house.jobs.append(Job("j", "1", "r2", False, state, NOON, NOON, NOON, "broken"))

    return act


def lost(house: House) -> None:
    house.spool.story_of("1").tell("analysed", parcel="elsewhere")


def promised(house: House) -> None:
    house.ledger.promise([house.spool.key("1")], "CT1")


@pytest.mark.parametrize(
    ("happened", "keeps"),
    [
        (undelivered, "results are not delivered yet"),
        (refused, "the archive refused results"),
        (uncommitted, "the archive has not committed the results"),
        (news, "its images are not all handed on for analysis"),
        (another_job("running"), "a job of it is waiting or running"),
        (another_job("waiting"), "a job of it is waiting or running"),
        (another_job("failed"), "its last job failed"),
        (lambda house: house.jobs.clear(), "no job of it is known"),
        (lost, "results of it are not in this node's outbox"),
        (promised, "its images were committed to CT1"),
    ],
)
def test_what_is_not_safe_stays_and_the_reason_is_told(
    house: House, happened: Callable[[House], None], keeps: str
) -> None:
    house.study("1")
    happened(house)
    house.set(keep_days=30, free_gb_target=1e9)
    assert house.verdict("1") == keeps
    assert house.retention.round() == []
    assert len(house.spool.instances("1")) >= 1


def test_what_is_held_for_comparison_goes_by_age_without_a_job(house: House) -> None:
    house.spool.expect("7", "asker", ["7.1"], NOON.timestamp() + 60)
    house.study("7")
    house.jobs.clear()
    assert house.verdict("7") == "no job of it is known"
    arrival = Arrival(
        study_instance_uid="8", sop_class_uid=CT, sop_instance_uid="8.1", transfer_syntax_uid="1.2", dataset=b"x"
    )
    house.spool.expect("8", "asker", ["8.1"], NOON.timestamp() + 60)
    house.spool.receive(arrival, NOON)
    assert house.verdict("8") == "its images are not all handed on for analysis"
    assert house.spool.complete(1, house.now) == ()
    assert house.verdict("8") == "goes: older than 30 days"
    assert [one.study_instance_uid for one in house.retention.round()] == ["8"]
    assert house.spool.instances("8") == ()


def test_without_commitment_only_where_the_site_says_so(house: House) -> None:
    house.study("1")
    plain = {**ASKED, "commitment": False}
    house.set(plain, keep_days=30)
    assert "retention.without_commitment is not set" in house.verdict("1")
    house.set(plain, keep_days=30, without_commitment=True)
    assert house.verdict("1") == "goes: older than 30 days"


def test_a_result_that_was_withdrawn_keeps_nothing(house: House) -> None:
    house.study("1")
    undelivered(house)
    uncommitted(house)
    for parcel_id in ("more", "p1"):
        house.outbox.withdraw(parcel_id, "its images were rejected")
    assert house.verdict("1") == "goes: older than 30 days"


def test_promised_images_go_only_where_the_site_says_so(house: House) -> None:
    house.study("1")
    promised(house)
    house.set(keep_days=30, although_promised=True)
    assert house.verdict("1") == "goes: older than 30 days"


def test_for_want_of_space_the_oldest_go_and_no_more_than_needed(house: House) -> None:
    for number in ("1", "2", "3"):
        house.study(number, day=int(number))
    house.study("4", job="failed")
    free = house.spool.free_bytes()
    house.set(free_gb_target=(free + 100) / 1e9)
    house.retention._spool.free_bytes = lambda: free  # type: ignore[method-assign]  # the disk is everybody's
    goes = {one.study_instance_uid: one.goes for one in house.retention.verdicts()}
    assert goes == {"4": False, "1": True, "2": False, "3": False}


def test_parcels_left_by_a_cut_off_purge_go_the_next_time(house: House) -> None:
    house.study("1")
    house.spool.purge("1", "older than 30 days", house.now)
    assert [one.study_instance_uid for one in house.retention.round()] == ["1"]
    assert list((house.folder / "data" / "outbox" / "p1").glob("*.dcm")) == []
    assert house.retention.verdicts() == []


def test_the_command_only_tells(house: House, tmp_path: Path) -> None:
    house.study("1")
    site = {"node": {"data": "./data"}, "archive": ASKED, "pipelines": {}, "retention": {"keep_days": 30}}
    path = tmp_path / "site.yaml"
    path.write_text(yaml.safe_dump(site))
    refused = CliRunner().invoke(app, ["retention", "--config", str(path)])
    assert "--dry-run tells what and why" in str(refused.exception)
    told = CliRunner().invoke(app, ["retention", "--dry-run", "--json", "--config", str(path)])
    (verdict,) = json.loads(told.stdout)
    assert (verdict["goes"], verdict["reason"]) == (False, "no job of it is known")
    told = CliRunner().invoke(app, ["retention", "--dry-run", "--config", str(path)])
    assert "no job of it is known" in told.output
    assert len(house.spool.instances("1")) == 1
