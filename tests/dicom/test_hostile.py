"""What no peer may do to a running node: stop it, fill its memory, or make it write where it should not."""

from __future__ import annotations

import re
import resource
import selectors
import socket
import subprocess
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacsai.dicom.scp.telling import PERIOD_S
from tests import wire
from tests.conftest import needs
from tests.dicom.besieged import besieged, stories, study_story, watched
from tests.dicom.test_elements import bomb, encoded, identified
from tests.nodes import RunningNode, wait_until

CONTEXTS: wire.Contexts = [(wire.VERIFICATION, [ImplicitVRLittleEndian])]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with besieged(tmp_path_factory.mktemp("node")) as running:
        yield running


def news(node: RunningNode, before: int, *events: str) -> list[dict[str, Any]]:
    """Return the events of these kinds that were told after the first `before`, once there is one.

    What an earlier test has been told already is told again, with a count, only after `PERIOD_S`.
    """

    def found() -> list[dict[str, Any]]:
        return [one for one in stories(node) if one["event"] in events][before:]

    wait_until(lambda: str(len(found())), lambda count: count != "0", wait_s=PERIOD_S + 3)
    return found()


def told(node: RunningNode, *events: str) -> int:
    return sum(one["event"] in events for one in stories(node))


# Connections


def dribble(port: int, sockets: int, for_s: float) -> list[float]:
    """Hold connections that send a byte now and then; return after how many seconds each was closed by the node."""
    began, closed = time.monotonic(), []
    peers = [wire.Peer.connected(port) for _ in range(sockets)]
    request = iter(wire.association_request(CONTEXTS))
    while peers and time.monotonic() - began < for_s:
        octet = bytes([next(request)])
        for peer in list(peers):
            if is_closed(peer.socket, octet):
                closed.append(time.monotonic() - began)
                peers.remove(peer)
                peer.socket.close()
        time.sleep(0.25)
    for peer in peers:
        peer.socket.close()
    return closed


def is_closed(connection: socket.socket, octet: bytes) -> bool:
    """Send one byte; return whether the other side has closed."""
    try:
        connection.sendall(octet)
        connection.setblocking(False)
        return not connection.recv(100)
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(10)


def test_twenty_sockets_that_dribble_are_dropped_on_time(node: RunningNode) -> None:
    before = told(node, "connection dropped")
    with watched(node):
        closed = dribble(node.port, 20, for_s=8)
    assert len(closed) == 20
    assert max(closed) < 3 + 2, "request_timeout_s is 3"
    assert news(node, before, "connection dropped")


def send_four_gibibytes(peer: wire.Peer, kind: int) -> None:
    """Begin to send a PDU of the greatest length."""
    peer.send(pack(">BBL", kind, 0, 0xFFFFFFFF))
    for _ in range(200):
        peer.send(bytes(1 << 20))
        time.sleep(0.01)


@pytest.mark.parametrize("associated", [False, True])
def test_a_pdu_of_four_gibibytes_ends_the_connection(node: RunningNode, associated: bool) -> None:
    before = told(node, "connection dropped")
    with watched(node), wire.Peer.connected(node.port) as peer:
        if associated:
            assert peer.associate(CONTEXTS) == {1: 0}
        with pytest.raises(wire.Closed):
            send_four_gibibytes(peer, wire.DATA if associated else 1)
    (event,) = news(node, before, "connection dropped")
    assert "PDU" in event["reason"]


@pytest.mark.parametrize("said", [b"", b"\x1f345\x9e", wire.association_request(CONTEXTS)])
def test_connections_that_are_gone_take_no_place(node: RunningNode, said: bytes) -> None:
    with watched(node):
        for _ in range(150):
            with wire.Peer.connected(node.port) as peer:
                peer.send(said)


class Crowd:
    """Many connections, each of which asks for an association, served by one loop."""

    def __init__(self, port: int, count: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._request = wire.association_request([(CTImageStorage, [ExplicitVRLittleEndian])])
        self.outcomes: Counter[str] = Counter()
        self.sockets = [self._begun(port) for _ in range(count)]

    def _begun(self, port: int) -> socket.socket:
        connection = socket.socket()
        connection.bind((wire.HOSTILE, 0))
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", port))
        self._selector.register(connection, selectors.EVENT_WRITE)
        return connection

    def run(self, for_s: float) -> None:
        """Send the requests and take the answers until all have one, or the time is up; nothing is released."""
        end = time.monotonic() + for_s
        while self._selector.get_map() and time.monotonic() < end:
            for key, events in self._selector.select(0.2):
                self._served(key.fileobj, events)

    def _served(self, connection: Any, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                connection.send(self._request)
                self._selector.modify(connection, selectors.EVENT_READ)
                return
            answer = connection.recv(4096)
            self.outcomes[{2: "accepted", 3: "rejected"}.get(answer[0], "other") if answer else "closed"] += 1
        except OSError:
            self.outcomes["closed"] += 1
        self._selector.unregister(connection)

    def close(self) -> None:
        for connection in self.sockets:
            connection.close()
        self._selector.close()


def test_a_thousand_associations_at_once(node: RunningNode) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    before = told(node, "association rejected", "connection dropped")
    crowd = Crowd(node.port, 1000)
    try:
        with watched(node):
            crowd.run(10)
            time.sleep(1)
    finally:
        crowd.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sum(crowd.outcomes.values()) == 1000, f"every one has an answer: {crowd.outcomes}"
    assert 0 < crowd.outcomes["accepted"] <= 32, "associations_per_peer"
    assert news(node, before, "association rejected", "connection dropped")


# Data sets


def deflated_with_zeros(before: bytes, mebibytes: int, after: bytes) -> bytes:
    """Return `before`, so many MiB of zeros, and `after`, as one deflate stream, without packing all the zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + zeros * mebibytes + packer.compress(after) + packer.flush()


def deflate_bomb(uid: str, *, zeros_first: bool) -> bytes:
    """Return a deflated data set that unpacks to 2 GiB, its Study Instance UID behind the zeros or before them."""
    dataset = identified(SOPInstanceUID=uid, StudyInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2")
    data = encoded(dataset)
    at = data.index(b"\x20\x00\x0d\x00") if zeros_first else len(data)
    element = b"\x09\x00\x01\x10OB\0\0" if zeros_first else b"\xe0\x7f\x10\x00OW\0\0"
    return deflated_with_zeros(data[:at] + element + pack("<L", 2**31), 2048, data[at:])


@pytest.mark.parametrize("zeros_first", [True, False])
@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_deflate_bomb_unpacks_nowhere(node: RunningNode, zeros_first: bool, syntax: str) -> None:
    uid = f"1.2.77.{zeros_first:d}.{len(syntax)}"
    data = deflate_bomb(uid, zeros_first=zeros_first)
    assert len(data) < 5_000_000
    before = told(node, "refused")
    with watched(node):
        outcome = wire.store(node.port, data, uid, syntax=syntax)
        if outcome == "0x0000":
            wait_for_event(node, f"{uid}.1", "not analysed")
    if syntax == ExplicitVRLittleEndian:
        assert outcome == "0xC000"
        assert news(node, before, "refused")[0]["reason"]
    else:
        assert outcome in ("not negotiated", "rejected", "0xC000" if zeros_first else "0x0000")


def wait_for_event(node: RunningNode, study_instance_uid: str, kind: str) -> dict[str, Any]:
    """Return the study's last event, once it is of this kind."""

    def last() -> str:
        return (study_story(node, study_instance_uid) or [{"event": ""}])[-1]["event"]

    wait_until(last, lambda event: event == kind, wait_s=30)
    return study_story(node, study_instance_uid)[-1]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_hundred_thousand_deep_before_the_identity_is_refused_by_name(node: RunningNode, syntax: str) -> None:
    before = told(node, "refused")
    with watched(node):
        assert wire.store(node.port, bomb(100_000, syntax), "1.2.3.4", syntax=syntax) == "0xC000"
    assert "nest deeper than 64 levels" in news(node, before, "refused")[0]["reason"]


def test_a_hundred_thousand_deep_after_the_identity_is_not_analysed_by_name(node: RunningNode) -> None:
    dataset = identified(SOPInstanceUID="1.2.88", StudyInstanceUID="1.2.88.1", SeriesInstanceUID="1.2.88.2")
    level = b"\x40\x00\x75\x02SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    with watched(node):
        assert wire.store(node.port, encoded(dataset) + level * 100_000, "1.2.88") == "0x0000"
        wait_for_event(node, "1.2.88.1", "not analysed")
    noticed = [event["reason"] for event in study_story(node, "1.2.88.1") if event["event"] == "noticed"]
    assert len(noticed) == 1
    assert noticed[0].endswith("its sequences nest deeper than 64 levels")


@pytest.mark.parametrize("where", ["SOPInstanceUID", "StudyInstanceUID", "request"])
def test_a_uid_that_is_a_path_is_refused_and_becomes_none(node: RunningNode, where: str) -> None:
    before = told(node, "refused")
    evil = "../../x"
    data = encoded(identified(SOPInstanceUID="1.2.99", StudyInstanceUID="1.2.99.1"))
    if where == "SOPInstanceUID":
        data = data.replace(b"\6\0001.2.99", b"\6\0../../")
    elif where == "StudyInstanceUID":
        data = data.replace(b"\x08\x001.2.99.1", b"\x08\x00../../x\0")
    with watched(node):
        outcome = wire.store(node.port, data, evil if where == "request" else "1.2.99")
    assert outcome in ("0xA900", "0xC000")
    assert news(node, before, "refused")[0]["status"] == outcome
    names = {part for path in node.folder.rglob("*") for part in path.relative_to(node.folder).parts}
    assert not [name for name in names if not re.fullmatch(r"[\w.-]+", name)]
    assert not list(node.folder.parent.rglob("x"))


# The disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Give a file system of 24 MB."""
    needs("mount", "umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_answered_with_out_of_resources(tmp_path: Path, small_disk: Path) -> None:
    with besieged(tmp_path / "node", small_disk / "data", free_gb=0.002) as node:
        with watched(node):
            outcomes = [wire.store(node.port, large_image(number), f"1.2.66.{number}") for number in range(30)]
        assert set(outcomes) == {"0x0000", "0xA700"}
        assert "nearly full" in news(node, 0, "refused")[0]["reason"]
        fill(small_disk)
        with watched(node):
            assert wire.store(node.port, large_image(31), "1.2.66.31") == "0xA700"
        (small_disk / "filler").unlink()
        assert not list(small_disk.rglob("*.part"))
        assert len(list(small_disk.rglob("instances/*.dcm"))) == outcomes.count("0x0000")


def fill(disk: Path) -> None:
    """Leave no room at all."""
    with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(bytes(4096)):
            pass


def large_image(number: int) -> bytes:
    """Return a data set of 1 MB."""
    dataset = identified(SOPInstanceUID=f"1.2.66.{number}", StudyInstanceUID="1.2.66", SeriesInstanceUID="1.2.66.1")
    return encoded(dataset) + b"\xe0\x7f\x10\x00OW\0\0" + pack("<L", 1_000_000) + bytes(1_000_000)
