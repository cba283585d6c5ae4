"""Headers whose few bytes would become lists that fill the memory: bounded where the node's own process reads them."""

from __future__ import annotations

import struct
import threading
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pacsai.archive.folder import FolderArchive
from pacsai.config import Site
from pacsai.priors import Priors
from pacsai.spool import Arrival, Spool
from pacsai.study.header import Room, read_header
from pacsai.study.listed import listed
from pacsai.work import StudyWork
from tests.web.port import encoded, instance


def numbers(items: int) -> bytes:
    """Return a sequence of items, each with 30 000 numbers in text."""
    values = struct.pack("<HH2sH", 0x0040, 0xA30A, b"DS", 60_000) + b"1\\" * 30_000
    body = (struct.pack("<HHI", 0xFFFE, 0xE000, len(values)) + values) * items
    return struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, len(body)) + body


def nested(depth: int) -> bytes:
    """Return sequences in one another, as deep as asked."""
    sequence = struct.pack("<HH2sHI", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    return (sequence + struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)) * depth


def raw(tag: int, vr: str | None, value: bytes) -> RawDataElement:
    return RawDataElement(Tag(tag), vr, len(value), value, 0, vr is None, True)


@pytest.mark.parametrize(
    ("element", "memory"),
    [
        (raw(0x00080008, "CS", b"A\\B\\C "), 2 * 512),
        (raw(0x00080008, None, b"A\\B "), 512),
        (raw(0x00080008, "UN", b"A\\B "), 512),
        (raw(0x00283006, "US", bytes(10)), 4 * 40),
        (raw(0x00204000, "LT", b"\\\\\\\\"), 0),
        (raw(0x00280010, "US", b""), 0),
        (raw(0x00091001, None, b"\\\\"), 0),
    ],
)
def test_what_a_list_costs(element: RawDataElement, memory: int) -> None:
    assert listed(element) == memory


def test_lists_that_fill_the_memory_are_left_out_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "numbers.dcm"
    path.write_bytes(encoded(instance()) + numbers(8))
    tracemalloc.start()
    header = read_header(path, Room(listed_left=2**20))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.PatientID == "P1"
    assert not any("NumericValue" in item for item in header.ContentSequence)
    assert peak < 16e6


def test_one_study_has_one_room_for_lists(tmp_path: Path) -> None:
    path, room = tmp_path / "numbers.dcm", Room(listed_left=30_000 * 512)
    path.write_bytes(encoded(instance()) + numbers(1))
    held = ["NumericValue" in read_header(path, room).ContentSequence[0] for _ in range(2)]
    assert held == [True, False]


def test_a_hostile_study_is_planned_within_the_sites_bounds_and_told(tmp_path: Path) -> None:
    settings = {"node": {"data": tmp_path / "data"}, "archive": {"kind": "folder", "path": "/"}, "pipelines": {}}
    site = Site.model_validate(settings)
    spool = Spool(site.node.data)
    plain = encoded(instance("1.2.3"))
    start = 144 + struct.unpack_from("<I", plain, 140)[0]
    for number, more in enumerate((nested(site.node.limits.sequence_depth + 1), nested(100_000), numbers(1))):
        names = {"sop_class_uid": CTImageStorage, "sop_instance_uid": f"1.2.3.{number}", "study_instance_uid": "1.2.3"}
        syntax = {"transfer_syntax_uid": ExplicitVRLittleEndian}
        spool.receive(Arrival(**names, **syntax, dataset=plain[start:] + more), datetime.now(UTC))
    work = StudyWork(site, spool, [], FolderArchive(tmp_path), threading.Event(), lambda _: None, Priors(site, spool))
    assert work.plan("1.2.3", spool.revision("1.2.3")) == []
    told = spool.story_of("1.2.3").read()
    deep = [event for event in told if event["event"] == "noticed" and "sequences nest deeper" in event["reason"]]
    assert len(deep) == 2
    assert told[-1]["event"] == "not analysed"
    spool.close()
