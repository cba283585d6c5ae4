"""The TLS port under peers that mean no good: they go on time, and an honest one is served within two seconds."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from pacsai.config import Limits
from pacsai.dicom.tls import client_context
from tests.conftest import needs
from tests.dicom.test_scp import Running
from tests.papers import Papers

PATIENCE_S = 1.5
HOSTILE = 30


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, papers: Papers) -> Iterator[Running]:
    limits = Limits(free_gb=0, request_timeout_s=PATIENCE_S, network_timeout_s=PATIENCE_S)
    running = Running(tmp_path_factory.mktemp("node") / "data", tls=papers.settings(), receivers=1, limits=limits)
    yield running
    running.stop()


@pytest.fixture
def echo_s(node: Running, papers: Papers) -> Callable[[], float]:
    """Return what asks for an honest C-ECHO over TLS, and returns how long it took."""
    needs("echoscu")
    certificate, key = papers.pair("client")
    command = ["echoscu", "+tls", key, certificate, "+cf", papers.authorities, "-aec", "PACSAI", "127.0.0.1"]

    def asked() -> float:
        began = time.monotonic()
        subprocess.run([*map(str, command), str(node.receiver.tls_port)], check=True, timeout=30)
        return time.monotonic() - began

    return asked


def connected(node: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.receiver.tls_port), 5)


def shaken(node: Running, papers: Papers) -> ssl.SSLSocket:
    return client_context(papers.settings("client")).wrap_socket(connected(node), server_hostname="127.0.0.1")


def client_hello(papers: Papers) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        client_context(papers.settings("client")).wrap_bio(
            incoming, outgoing, server_hostname="localhost"
        ).do_handshake()
    return outgoing.read()


def half_a_hello(node: Running, papers: Papers) -> socket.socket:
    peer = connected(node)
    peer.sendall(client_hello(papers)[:100])
    return peer


def a_hello_and_silence(node: Running, papers: Papers) -> socket.socket:
    peer = connected(node)
    peer.sendall(client_hello(papers))
    return peer


def rubbish(node: Running, _: Papers) -> socket.socket:
    peer = connected(node)
    peer.sendall(os.urandom(3000))
    return peer


def an_endless_record(node: Running, _: Papers) -> socket.socket:
    peer = connected(node)
    peer.sendall(b"\x16\x03\x01\xff\xff" + bytes(20000))
    return peer


def a_handshake_and_silence(node: Running, papers: Papers) -> socket.socket:
    return shaken(node, papers)


def a_handshake_and_a_huge_request(node: Running, papers: Papers) -> socket.socket:
    peer = shaken(node, papers)
    peer.sendall(struct.pack(">BxL", 1, 0xFFFFFFFF))
    return peer


@pytest.mark.parametrize(
    "come",
    [
        half_a_hello,
        a_hello_and_silence,
        rubbish,
        an_endless_record,
        a_handshake_and_silence,
        a_handshake_and_a_huge_request,
    ],
)
def test_each_is_closed_on_time_while_an_honest_peer_is_served(
    node: Running, papers: Papers, echo_s: Callable[[], float], come: Callable[[Running, Papers], socket.socket]
) -> None:
    before = descriptors(node)
    peers = [come(node, papers) for _ in range(HOSTILE)]
    began = time.monotonic()
    assert echo_s() < 2
    for peer in peers:
        peer.settimeout(10)
        with peer, suppress(ConnectionError, ssl.SSLError):
            while peer.recv(1 << 14):
                pass
    assert time.monotonic() - began < PATIENCE_S + 3
    assert echo_s() < 2
    assert node.events(), "the story says that somebody was sent away"
    until(lambda: descriptors(node) <= before)


def test_a_hello_dribbled_byte_by_byte_is_cut_off_by_the_clock(
    node: Running, papers: Papers, echo_s: Callable[[], float]
) -> None:
    hello, peers, ended = client_hello(papers), [connected(node) for _ in range(HOSTILE)], threading.Event()

    def dribble() -> None:
        for byte in hello:
            for peer in peers:
                with suppress(OSError):
                    peer.send(bytes([byte]))
            if ended.wait(0.05):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    began = time.monotonic()
    try:
        assert echo_s() < 2
        for peer in peers:
            peer.settimeout(10)
            with suppress(ConnectionError):
                assert peer.recv(1) == b""
        assert time.monotonic() - began < PATIENCE_S + 3
    finally:
        ended.set()
        thread.join()
        for peer in peers:
            peer.close()


def test_peers_that_are_gone_before_they_are_looked_at_stop_nothing(
    node: Running, papers: Papers, echo_s: Callable[[], float]
) -> None:
    [helper], before = node.receiver._helpers, descriptors(node)
    for _ in range(500):
        peer = connected(node)
        peer.sendall(b"\x16")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by reset
        peer.close()
    assert echo_s() < 2
    assert node.receiver._helpers == [helper], "the process is still the same"
    until(lambda: descriptors(node) <= before)
    assert not helper.connections


def test_an_association_that_falls_silent_in_a_pdu_is_aborted_on_time(
    node: Running, papers: Papers, echo_s: Callable[[], float]
) -> None:
    entity = AE("TESTER")
    entity.add_requested_context(Verification)
    tls_args = (client_context(papers.settings("client")), "127.0.0.1")
    association = entity.associate("127.0.0.1", node.receiver.tls_port, ae_title="PACSAI", tls_args=tls_args)
    assert association.is_established
    association.dul.socket.send(struct.pack(">BxLLBB", 4, 1000, 996, 1, 3) + bytes(494))  # half of a P-DATA-TF
    began = time.monotonic()
    assert echo_s() < 2
    until(lambda: bool(association.is_aborted))
    assert time.monotonic() - began < PATIENCE_S + 3
    assert "nothing came for 1.5 s" in str(node.events())


def test_the_node_may_stop_while_a_peer_holds_an_association_over_tls(tmp_path: Path, papers: Papers) -> None:
    node = Running(tmp_path / "data", tls=papers.settings(), receivers=1, limits=Limits(free_gb=0))
    entity = AE("TESTER")
    entity.add_requested_context(Verification)
    tls_args = (client_context(papers.settings("client")), "127.0.0.1")
    association = entity.associate("127.0.0.1", node.receiver.tls_port, ae_title="PACSAI", tls_args=tls_args)
    assert association.is_established
    began = time.monotonic()
    node.receiver.stop(drain_s=0.2)
    node.stop()
    assert time.monotonic() - began < 5
    until(lambda: not association.is_established)
    assert node.events() == [], "nothing broke"


def descriptors(node: Running) -> int:
    """Return how many files the receiver's process has open."""
    [helper] = node.receiver._helpers
    return len([*Path(f"/proc/{helper.process.pid}/fd").iterdir()])


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not so():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.1)
