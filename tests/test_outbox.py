"""The outbox: parcels are packed once, kept as they were, and sent until an archive has taken them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsai.archive.base import ArchiveUnavailable, Sent
from pacsai.archive.folder import FolderArchive
from pacsai.outbox import DeliveryRefused, Outbox, Parcel, ParcelError
from tests.phantoms import edit, write_ct_series


@pytest.fixture
def objects(tmp_path: Path) -> list[Path]:
    return write_ct_series(tmp_path / "objects")[:2]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def pack(outbox: Outbox, objects: Sequence[Path], parcel_id: str = "p1", study: str = "1.2") -> Parcel:
    return outbox.pack(
        parcel_id, objects, study_instance_uid=study, pipeline="toy", revision="r1", summary={"findings": 2}
    )


class Meanwhile(list[Path]):
    """Files to pack; while the first is packed, another node packs the same parcel."""

    def __init__(self, objects: Sequence[Path], other: Outbox) -> None:
        super().__init__(objects)
        self._other = other

    def __iter__(self) -> Iterator[Path]:
        for number in range(len(self)):
            yield self[number]
            pack(self._other, self[:])


class Refusing:
    """An archive that takes the first object only."""

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        return tuple(Sent(str(n), n == 0, "" if n == 0 else "0xA900 mismatch") for n, _ in enumerate(paths))


class Down:
    """An archive that is not there."""

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:  # noqa: ARG002
        raise ArchiveUnavailable("nobody answers")


class Counting:
    """An archive that takes all and counts."""

    def __init__(self) -> None:
        self.calls = 0

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        self.calls += 1
        return tuple(Sent(path.name, accepted=True) for path in paths)


def test_a_parcel_holds_the_objects_and_says_what_they_are(outbox: Outbox, objects: list[Path]) -> None:
    parcel = pack(outbox, objects)
    assert [path.read_bytes() for path in parcel.paths] == [path.read_bytes() for path in objects]
    assert [item.sop_instance_uid for item in parcel.objects] == [dcmread(path).SOPInstanceUID for path in objects]
    assert outbox.read("p1") == parcel
    assert json.loads((parcel.folder / "parcel.json").read_text())["summary"] == {"findings": 2}


def test_packing_again_keeps_the_first_bytes(outbox: Outbox, objects: list[Path]) -> None:
    first = pack(outbox, objects)
    before = [path.read_bytes() for path in first.paths]
    edit(objects[0], ContentTime="235959")
    assert pack(outbox, objects) == first
    assert [path.read_bytes() for path in first.paths] == before


def test_a_packing_that_was_cut_off_is_no_parcel_and_is_done_again(outbox: Outbox, objects: list[Path]) -> None:
    with pytest.raises(FileNotFoundError):
        pack(outbox, [*objects, Path("missing.dcm")])
    left = outbox._folder / ".packing-p1-0"
    left.mkdir()
    (left / "0001.dcm").write_bytes(b"half")
    assert outbox.parcels() == ()
    young = outbox._folder / ".packing-p1-1"
    young.mkdir()
    os.utime(left, (0, 0))
    assert len(pack(outbox, objects).paths) == 2
    assert (left.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("name", ["../p", "", ".hidden", "a/b", "x" * 129])
def test_a_name_that_is_no_folder_name_is_refused(outbox: Outbox, objects: list[Path], name: str) -> None:
    with pytest.raises(ParcelError):
        pack(outbox, objects, parcel_id=name)


def test_the_parcels_of_a_study_are_listed_oldest_first(outbox: Outbox, objects: list[Path]) -> None:
    for parcel_id, study in (("b", "1.2"), ("a", "1.2"), ("c", "9.9")):
        pack(outbox, objects, parcel_id, study)
    assert {parcel.id for parcel in outbox.parcels("1.2")} == {"a", "b"}
    packed = [parcel.packed_at for parcel in outbox.parcels()]
    assert packed == sorted(packed)


def test_delivery_is_recorded_and_not_repeated(outbox: Outbox, objects: list[Path]) -> None:
    pack(outbox, objects)
    archive = Counting()
    assert outbox.pending()
    first = outbox.deliver("p1", archive)
    assert outbox.deliver("p1", archive) == first == outbox.delivery("p1")
    assert archive.calls == 1
    assert outbox.pending() == ()


def test_what_is_delivered_is_what_was_packed(outbox: Outbox, objects: list[Path], tmp_path: Path) -> None:
    pack(outbox, objects)
    outbox.deliver("p1", FolderArchive(tmp_path / "archive"))
    assert {path.read_bytes() for path in (tmp_path / "archive").iterdir()} == {path.read_bytes() for path in objects}


def test_an_archive_that_is_down_leaves_the_parcel_pending(outbox: Outbox, objects: list[Path]) -> None:
    pack(outbox, objects)
    with pytest.raises(ArchiveUnavailable):
        outbox.deliver("p1", Down())
    assert outbox.delivery("p1") is None
    assert [parcel.id for parcel in outbox.pending()] == ["p1"]


def test_a_refusal_is_recorded_told_and_may_be_tried_again(outbox: Outbox, objects: list[Path]) -> None:
    pack(outbox, objects)
    with pytest.raises(DeliveryRefused, match="refused 1 of 2 objects: 0xA900 mismatch"):
        outbox.deliver("p1", Refusing())
    record = outbox.delivery("p1")
    assert record is not None
    assert [answer.sop_instance_uid for answer in record.refused] == ["1"]
    assert not outbox.deliver("p1", Counting()).refused


def test_a_file_changed_on_disk_is_not_sent(outbox: Outbox, objects: list[Path]) -> None:
    parcel = pack(outbox, objects)
    parcel.paths[1].write_bytes(b"damaged")
    archive = Counting()
    with pytest.raises(ParcelError, match=r"0002\.dcm of parcel p1 is missing or changed"):
        outbox.deliver("p1", archive)
    assert archive.calls == 0


def test_a_parcel_that_does_not_exist_is_told(outbox: Outbox) -> None:
    with pytest.raises(ParcelError, match="no readable parcel nothing"):
        outbox.read("nothing")


def test_of_two_nodes_that_pack_the_same_parcel_the_first_is_kept(outbox: Outbox, objects: list[Path]) -> None:
    parcel = pack(outbox, Meanwhile(objects, Outbox(outbox._folder)))
    assert parcel == outbox.read("p1")
    assert [path.read_bytes() for path in parcel.paths] == [path.read_bytes() for path in objects]
    assert [one.name for one in outbox._folder.iterdir()] == ["p1"]


def test_a_parcel_says_what_it_rests_on_and_why_it_was_withdrawn(outbox: Outbox, objects: list[Path]) -> None:
    about = {"study_instance_uid": "1.2", "pipeline": "toy", "revision": "r1", "summary": {}}
    outbox.pack("p1", objects, **about, inputs=["1.2.2", "1.2.1"])
    outbox.pack("p1", objects, **about, inputs=["1.2.3"])
    assert outbox.inputs("p1") == {"1.2.1", "1.2.2"}
    assert outbox.withdrawn("p1") == ""
    for reason in ("first", "second"):
        outbox.withdraw("p1", reason)
    assert outbox.withdrawn("p1") == "first"
    assert outbox.holds("p1")
    assert not outbox.holds("p2")
