"""Any bytes on the node's port: the connection ends somehow, and an honest peer is answered after each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests import wire
from tests.dicom.besieged import besieged, memory_mb
from tests.dicom.test_elements import encoded, identified
from tests.fuzz.data import spoiled
from tests.nodes import RunningNode

CONTEXTS: wire.Contexts = [
    (CTImageStorage, [ExplicitVRLittleEndian]),
    (wire.VERIFICATION, [ImplicitVRLittleEndian]),
]
STORED = encoded(identified(StudyInstanceUID="1.2.55", SeriesInstanceUID="1.2.55.1"))
MESSAGES = (
    wire.association_request(CONTEXTS),
    wire.association_request(CONTEXTS * 40),
    wire.store_request(CTImageStorage, "1.2.3.4"),
    wire.p_data(STORED),
    wire.p_data(STORED, piece=7),
    wire.p_data(STORED, context=9),
    wire.echo_request(),
    wire.pdu(wire.RELEASE, bytes(4)),
    wire.pdu(wire.RELEASED, bytes(4)),
    wire.pdu(wire.ABORTED, bytes(4)),
    wire.pdu(wire.ACCEPTED, bytes(68)),
    wire.pdu(wire.REJECTED, bytes(4)),
    wire.pdu(wire.DATA, b""),
    wire.pdu(wire.DATA, b"\0\0\0\0"),
    wire.pdu(wire.DATA, b"\xff\xff\xff\xff\1\3"),
    wire.pdu(wire.DATA, b"\0\0\0\1\1"),
    wire.pdu(0x55, b"odd"),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    with besieged(tmp_path_factory.mktemp("node")) as running:
        yield running


@st.composite
def talk(draw: st.DrawFn) -> bytes:
    """Return what a peer says on one connection: messages, spoiled here and there."""
    said = [draw(st.sampled_from(MESSAGES)) for _ in range(draw(st.integers(1, 5)))]
    if draw(st.booleans()):
        said.insert(0, MESSAGES[0])
    spoil = draw(st.lists(st.sampled_from(range(len(said))), max_size=2))
    return b"".join(draw(spoiled(part)) if n in spoil else part for n, part in enumerate(said))


def say(port: int, data: bytes) -> None:
    """Send the bytes, take what comes for a moment, and leave."""
    with wire.Peer.connected(port) as peer, suppress(wire.Closed, OSError):
        peer.send(data)
        peer.socket.settimeout(0.02)
        while peer.socket.recv(65536):
            pass


@given(talks=st.lists(st.one_of(talk(), st.binary(max_size=100)), min_size=1, max_size=6))
@settings(max_examples=max(10, settings().max_examples // 5))
def test_after_any_bytes_an_honest_peer_is_answered(ran: list[int], node: RunningNode, talks: list[bytes]) -> None:
    for data in talks:
        ran.append(1)
        say(node.port, data)
    began = time.monotonic()
    assert wire.echo(node.port) == 0
    assert time.monotonic() - began < 2
    assert node.process.poll() is None
    assert memory_mb(node.process.pid) < 1000
