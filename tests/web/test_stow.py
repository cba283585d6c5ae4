"""STOW-RS by dicomweb-client, by httpx where a status must be seen, and by bare sockets where a peer misbehaves."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
)

from pacsai.certs import make
from pacsai.dicom import part10
from pacsai.web.lingering import LINGER_S
from tests.phantoms import write_ct_series
from tests.web.port import TOKEN, WebPort, answered, body, bomb, encoded, instance, web_port


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebPort]:
    with web_port(tmp_path_factory.mktemp("web"), limits={"inflated_mb": 20, "dataset_mb": 5}, body_mb=30) as running:
        yield running


_NUMBERS = count(1)


def new_study() -> str:
    """Return the UID of a study that no other test uses."""
    return f"2.25.88{next(_NUMBERS)}"


# All is well


def test_dicomweb_client_stores_a_ct_of_300_slices(tmp_path: Path, port: WebPort) -> None:
    paths = write_ct_series(tmp_path / "ct", np.zeros((300, 64, 64), np.int16))
    datasets = [dcmread(path) for path in paths]
    study = str(datasets[0].StudyInstanceUID)
    client = DICOMwebClient(f"{port.url}/dicom-web")
    answer = client.store_instances(datasets[:200])
    assert len(answer.ReferencedSOPSequence) == 200
    assert "FailedSOPSequence" not in answer
    answer = client.store_instances(datasets[200:], study_instance_uid=study)
    assert len(answer.ReferencedSOPSequence) == 100
    assert port.kept(study) == 300
    kept = {str(dcmread(path).SOPInstanceUID) for path in port.spool.instances(study)}
    assert kept == {str(dataset.SOPInstanceUID) for dataset in datasets}
    again = client.store_instances(datasets[:3])
    assert len(again.ReferencedSOPSequence) == 3
    assert port.kept(study) == 300


def test_the_data_set_is_kept_byte_for_byte(port: WebPort) -> None:
    study = new_study()
    sent = encoded(instance(study))
    assert port.post(body(sent), study).status_code == 200
    (path,) = port.spool.instances(study)
    kept = path.read_bytes()
    assert kept[part10.read_head(path).length :] == sent[-(len(kept) - part10.read_head(path).length) :]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunked_bodies_are_read(port: WebPort, size: int) -> None:
    study = new_study()
    whole = body(encoded(instance(study)), encoded(instance(study)))
    response = port.post((whole[at : at + size] for at in range(0, len(whole), size)), study)
    assert (response.status_code, port.kept(study)) == (200, 2)


def test_a_part_without_headers_is_an_instance(port: WebPort) -> None:
    study = new_study()
    assert port.post(body(encoded(instance(study)), header=b"")).status_code == 200
    assert port.kept(study) == 1


def test_an_instance_is_a_thing_the_spool_counts(port: WebPort) -> None:
    study = new_study()
    port.post(body(encoded(instance(study))))
    assert study in port.spool.studies()
    assert port.spool.revision(study)


def test_a_deflated_instance_within_the_limit_is_kept(port: WebPort) -> None:
    study = new_study()
    response = port.post(body(encoded(instance(study, DeflatedExplicitVRLittleEndian))))
    assert (response.status_code, port.kept(study)) == (200, 1)


def test_health_needs_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSAI_TEST_TOKEN", TOKEN)
    with web_port(tmp_path, token_env="PACSAI_TEST_TOKEN") as port:
        response = httpx.get(f"{port.url}/health")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert "server" not in response.headers


def test_tls_is_spoken_where_a_certificate_is_given(tmp_path: Path) -> None:
    make(tmp_path, ["127.0.0.1"])
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    with web_port(tmp_path, certificate=tmp_path / "node.pem", key=tmp_path / "node.key", request_timeout_s=1) as port:
        assert httpx.get(f"{port.url}/health", verify=trusting).json() == {"status": "ok"}
        silent = port.connect()
        with pytest.raises(httpx.TransportError):
            httpx.get(port.url.replace("https", "http") + "/health")
        assert ended(silent)


# Some is not


def test_a_mixed_body_is_answered_instance_by_instance(port: WebPort) -> None:
    study = new_study()
    good, bad = instance(study), instance(study, StudyInstanceUID=None)
    response = port.post(body(encoded(good), encoded(bad), b"no DICOM at all", encoded(instance(study))))
    referenced, failed = answered(response)
    assert response.status_code == 202
    assert len(referenced) == 2
    assert referenced[0] == {
        "ReferencedSOPClassUID": CTImageStorage,
        "ReferencedSOPInstanceUID": good.SOPInstanceUID,
    }
    assert failed[0]["FailureReason"] == 0xC000
    assert failed[0]["ReferencedSOPInstanceUID"] == bad.SOPInstanceUID
    assert failed[1] == {"FailureReason": 0xC000}
    assert port.kept(study) == 2
    assert any("Study Instance UID is missing" in reason for reason in port.refusals())


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (encoded(instance(syntax=ExplicitVRBigEndian))[:-1], 0xC122),
        (encoded(instance(SOPClassUID="1.2.840.10008.1.1")), 0x0122),
        (b"", 0xC000),
        (bytes(200), 0xC000),
        (encoded(instance())[:160], 0xC000),
        (encoded(instance()).replace(b"2.25.7001", b"../../x01", 1), 0xC000),
        (encoded(instance()) + bytes(5_100_000), 0xA700),
        (encoded(instance())[:140] + b"\xff\xff\xff\xff" + encoded(instance())[144:], 0xC000),
    ],
)
def test_an_instance_that_is_not_kept_has_its_reason(port: WebPort, part: bytes, reason: int) -> None:
    before = port.kept()
    response = port.post(body(part))
    referenced, failed = answered(response)
    assert (response.status_code, referenced) == (409, [])
    assert [item["FailureReason"] for item in failed] == [reason]
    assert port.kept() == before


def test_a_file_head_that_disagrees_with_its_data_set_is_refused(port: WebPort) -> None:
    dataset = instance()
    dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SOPClassUID = CTImageStorage
    _, failed = answered(port.post(body(encoded_as_it_is(dataset))))
    assert failed[0]["FailureReason"] == 0xA900


def encoded_as_it_is(dataset: object) -> bytes:
    """Encode a data set whose file head disagrees with it, which pydicom would set right."""
    whole = encoded(instance(SOPInstanceUID=dataset.SOPInstanceUID))  # type: ignore[attr-defined]
    head = part10.head(MRImageStorage, str(dataset.SOPInstanceUID), "1.2.840.10008.1.2.1")  # type: ignore[attr-defined]
    return head + whole[144 + int.from_bytes(whole[140:144], "little") :]


def test_another_study_in_the_url_fails_the_instance(port: WebPort) -> None:
    study = new_study()
    response = port.post(body(encoded(instance(study)), encoded(instance("2.25.999"))), "2.25.999")
    referenced, failed = answered(response)
    assert (response.status_code, len(referenced)) == (202, 1)
    assert failed[0]["FailureReason"] == 0xA900
    assert port.kept(study) == 0


def test_other_bytes_under_a_known_uid_are_a_warning(port: WebPort) -> None:
    study = new_study()
    first = instance(study)
    other = instance(study, SOPInstanceUID=first.SOPInstanceUID, PatientID="P2")
    assert port.post(body(encoded(first))).status_code == 200
    response = port.post(body(encoded(other)))
    referenced, failed = answered(response)
    assert (response.status_code, failed) == (202, [])
    assert referenced[0]["WarningReason"] == 0xB000
    assert "conflict" in [event["event"] for event in port.events(study)]


def test_a_deflate_bomb_is_refused_and_nothing_of_it_kept(port: WebPort) -> None:
    before = port.kept()
    response = port.post(body(bomb(40), encoded(instance())))
    _, failed = answered(response)
    assert [item["FailureReason"] for item in failed] == [0xC000]
    assert (response.status_code, port.kept()) == (202, before + 1)
    assert any("unpacks to more than 20 MB" in reason for reason in port.refusals())


def test_a_part_of_another_type_fails(port: WebPort) -> None:
    response = port.post(body(encoded(instance()), header=b"Content-Type: image/jpeg\r\n"))
    assert response.status_code == 409
    assert answered(response)[1] == [{"FailureReason": 0xC000}]


# None is


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Content_Type": "application/json"}, 415),
        ({"Content_Type": 'multipart/related; type="application/dicom+json"; boundary=edge'}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Content_Type": "multipart/related; type=application/dicom"}, 400),
        ({"Accept": "application/dicom+xml"}, 406),
        ({"Accept": "application/dicom+xml, application/dicom+json;q=0.5"}, 200),
    ],
)
def test_media_types_decide(port: WebPort, headers: dict[str, str], code: int) -> None:
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    assert port.post(body(encoded(instance())), **headers).status_code == code


@pytest.mark.parametrize(
    "whole", [b"", b"garbage" * 1000, b"--edge\r\n", b"--edge--", body(b"x")[:-10], bytes(200_000)]
)
def test_a_malformed_body_is_400(port: WebPort, whole: bytes) -> None:
    assert port.post(whole).status_code == 400


def test_what_came_whole_before_the_malformed_is_kept_and_not_claimed(port: WebPort) -> None:
    study = new_study()
    response = port.post(body(encoded(instance(study)), encoded(instance(study)))[:-20])
    assert response.status_code == 400
    assert "kept before that: 1" in response.text
    assert port.kept(study) == 1


def test_a_study_in_the_url_that_is_no_uid_is_400(port: WebPort) -> None:
    assert port.post(body(encoded(instance())), "..%2f..%2fetc").status_code in (400, 404)
    assert port.post(body(encoded(instance())), "abc").status_code == 400


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_over_the_limit_is_413(port: WebPort, announced: bool) -> None:
    whole = body(*[encoded(instance("2.25.13")) + bytes(4_000_000)] * 9)
    response = port.post(whole if announced else iter([whole[:20_000_000], whole[20_000_000:]]))
    assert response.status_code == 413
    assert any("longer than 30 MB" in reason for reason in port.refusals())


@pytest.mark.parametrize("from_file", [True, False])
def test_the_token_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_file: bool) -> None:
    monkeypatch.setenv("PACSAI_TEST_TOKEN", TOKEN)
    (tmp_path / "token").write_text(TOKEN + "\n")
    settings = {"token_file": tmp_path / "token"} if from_file else {"token_env": "PACSAI_TEST_TOKEN"}
    with web_port(tmp_path, **settings) as port:
        complete = dcmread(BytesIO(encoded(instance())))
        whole = body(encoded(instance()))
        without = port.post(whole)
        wrong = port.post(whole, Authorization="Bearer " + TOKEN[:-1] + "5")
        other = port.post(whole, Authorization="Basic " + TOKEN)
        assert [response.status_code for response in (without, wrong, other)] == [401, 403, 401]
        assert all(response.headers["WWW-Authenticate"].startswith("Bearer") for response in (without, wrong, other))
        assert port.kept() == 0
        client = DICOMwebClient(f"{port.url}/dicom-web", headers={"Authorization": f"Bearer {TOKEN}"})
        assert len(client.store_instances([complete]).ReferencedSOPSequence) == 1
        with pytest.raises(requests.HTTPError):
            DICOMwebClient(f"{port.url}/dicom-web").store_instances([complete])
        assert TOKEN not in str(port.events())


def test_no_room_is_503(tmp_path: Path) -> None:
    with web_port(tmp_path, limits={"free_gb": 1e9}) as port:
        response = port.post(body(encoded(instance())))
        assert (response.status_code, response.headers["Retry-After"]) == (503, "60")
        assert port.refusals() == ["the data disk is nearly full; try again later"]


# Peers that misbehave


def test_an_aborted_upload_keeps_what_had_come_whole(port: WebPort) -> None:
    study = new_study()
    whole = body(encoded(instance(study)), encoded(instance(study)), encoded(instance(study)) + bytes(3_000_000))
    peer = port.begin(whole[:2_500_000], len(whole))
    port.wait(lambda: port.kept(study) == 2)
    peer.close()
    port.wait(lambda: any("closed the connection before the end" in reason for reason in port.refusals()))
    (event,) = [event for event in port.events() if event.get("kept_before") == 2]
    assert event["event"] == "upload refused"
    assert port.kept(study) == 2
    assert port.leftovers() == []


def test_one_upload_too_many_is_told_to_try_again(tmp_path: Path) -> None:
    with web_port(tmp_path, uploads=1) as port:
        peer = port.begin(b"--edge\r\n")
        port.wait(lambda: port.post(body(encoded(instance()))).status_code == 503)
        peer.close()
        port.wait(lambda: port.post(body(encoded(instance()))).status_code == 200)


def test_bodies_that_stop_or_dribble_are_cut(tmp_path: Path) -> None:
    with web_port(tmp_path, request_timeout_s=1, min_kb_s=100) as port:
        silent, dribbling = port.begin(b"--edge\r\n"), port.begin(b"--edge\r\n")
        done = threading.Event()
        threading.Thread(target=dribble, args=(dribbling, done), daemon=True).start()
        assert b" 408 " in silent.recv(1000)
        assert ended(dribbling)
        done.set()
        assert port.post(body(encoded(instance()))).status_code == 200
        reasons = port.refusals()
        assert any("no byte of the body" in reason for reason in reasons)
        assert any("slower than 100 kB/s" in reason for reason in reasons)


def test_idle_connections_starve_nobody(tmp_path: Path) -> None:
    with web_port(tmp_path, connections=8, request_timeout_s=2) as port:
        idle = [port.connect() for _ in range(40)]
        done = threading.Event()
        dribbling = port.connect()
        threading.Thread(target=dribble, args=(dribbling, done), daemon=True).start()
        began = time.monotonic()
        assert port.post(body(encoded(instance()))).status_code == 200
        assert time.monotonic() - began < 2
        assert ended(dribbling)
        assert all(ended(peer) for peer in idle)
        done.set()
        assert {"made room for another connection", "no whole request came in time"} <= set(port.refusals())


def test_requests_beyond_the_connections_are_503(tmp_path: Path) -> None:
    with web_port(tmp_path, connections=2, uploads=4) as port:
        busy = [port.begin(b"--edge\r\n") for _ in range(2)]
        assert port.post(body(encoded(instance()))).status_code == 503
        busy[0].close()
        port.wait(lambda: port.post(body(encoded(instance()))).status_code == 200)
        assert "there are 2 connections with a request already" in port.refusals()


def dribble(peer: socket.socket, done: threading.Event) -> None:
    try:
        while not done.wait(0.1):
            peer.sendall(b"G")
    except OSError:
        return


def ended(peer: socket.socket) -> bool:
    """Return whether the other side closes the connection before long."""
    peer.settimeout(10)
    try:
        while peer.recv(1000):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_a_header_without_end_is_cut(port: WebPort) -> None:
    peer = port.connect()
    try:
        peer.sendall(b"GET /health HTTP/1.1\r\n" + b"X: y\r\n" * 20_000)
    except OSError:
        return
    assert ended(peer)
    port.wait(lambda: "what came is no HTTP request" in port.refusals())


def test_a_refused_peer_that_waits_for_a_word_is_answered_at_once(port: WebPort) -> None:
    peer = port.connect()
    began = time.monotonic()
    peer.sendall(
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 99\r\n"
        b"Expect: 100-continue\r\n\r\n"
    )
    assert peer.recv(1000).startswith(b"HTTP/1.1 415 ")
    assert time.monotonic() - began < LINGER_S / 2
    assert ended(peer)


def test_implicit_vr_is_taken(port: WebPort) -> None:
    study = new_study()
    assert port.post(body(encoded(instance(study, ImplicitVRLittleEndian)))).status_code == 200
    assert port.kept(study) == 1
