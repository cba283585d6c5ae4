"""The receiver, called by real senders: DCMTK's echoscu and storescu, and pynetdicom where a status must be seen."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEGLosslessSV1
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage

from pacsai.config import Caller, Limits, Node
from pacsai.dicom.decoders import SAMPLES, decodable_syntaxes
from pacsai.dicom.identity import Refusal, agreed_identity, read_identity
from pacsai.dicom.scp import Receiver
from pacsai.spool import Spool
from tests.conftest import ROOT, needs
from tests.phantoms import write_ct_series

pytestmark = pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
NO_DELAY = {**os.environ, "TCP_NODELAY": "1"}
"""Two programs over loopback stall 50 ms for each image without it."""


class Running:
    """A receiver on a free port, and what it keeps."""

    def __init__(self, data: Path, **settings: object) -> None:
        limits = settings.pop("limits", Limits(free_gb=0, network_timeout_s=20))
        self.node = Node.model_validate({"port": 0, "data": data, "limits": limits, **settings})
        self.spool = Spool(data)
        self.spool.start()
        self.receiver = Receiver(self.node, self.spool)
        self.receiver.start()
        self.address = ["127.0.0.1", str(self.receiver.port)]

    def stop(self) -> None:
        self.receiver.stop()
        self.spool.close()

    def dcmtk(self, program: str, *options: str, called: str = "PACSAI", files: Sequence[Path] = ()) -> str:
        """Run a DCMTK sender; return what it says, its exit status last."""
        needs(program)
        command = [program, "-v", *options, "-aec", called, *self.address, *map(str, files)]
        done = subprocess.run(command, env=NO_DELAY, capture_output=True, text=True, errors="replace", timeout=120)
        return f"{done.stdout}{done.stderr}exit {done.returncode}"

    def store(self, dataset: Dataset, **changed: str) -> int:
        """Send one data set and return the status; `changed` alters what the request says of it."""
        entity = AE("TESTER")
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        entity.add_requested_context(MRImageStorage, dataset.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", self.receiver.port, ae_title="PACSAI")
        assert association.is_established
        try:
            return int(association.send_c_store(_as_request_says(dataset, changed)).Status)
        finally:
            association.release()

    def events(self, study_instance_uid: str = "") -> list[dict[str, object]]:
        story = self.spool.story_of(study_instance_uid) if study_instance_uid else self.spool.story
        return story.read()


def _as_request_says(dataset: Dataset, changed: dict[str, str]) -> Dataset:
    """Return the data set to send.

    pynetdicom's sender takes the request's UIDs from the data set itself, so the lie is told by an attribute of the
    Python object that hides the element of the same name.
    """
    if not changed:
        return dataset
    lying = type("Lying", (Dataset,), {key: UID(value) for key, value in changed.items()})(dataset)
    lying.file_meta = dataset.file_meta
    return lying


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts a receiver with other settings; all are stopped at the end."""
    running: list[Running] = []

    def started(**settings: object) -> Running:
        running.append(Running(tmp_path / f"data-{len(running)}", **settings))
        return running[-1]

    yield started
    for one in running:
        one.stop()


@pytest.fixture
def slices(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "ct"
    folder.mkdir()
    return write_ct_series(folder)


def study_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)


# Associations


def test_c_echo_is_answered(start: Callable[..., Running]) -> None:
    assert "Received Echo Response (Success)" in start().dcmtk("echoscu")


def test_another_called_ae_title_is_rejected_and_told(start: Callable[..., Running]) -> None:
    node = start()
    assert "Reason: Called AE Title Not Recognized" in node.dcmtk("echoscu", called="ELSE")
    (told,) = node.events()
    assert (told["event"], told["called_ae_title"]) == ("association rejected", "ELSE")


def test_only_callers_of_the_settings_may_call_by_title_and_address(start: Callable[..., Running]) -> None:
    callers = (Caller(ae_title="CT1", address="127.0.0.1"), Caller(ae_title="CT2", address="127.0.0.99"))
    node = start(callers=callers)
    assert "(Success)" in node.dcmtk("echoscu", "-aet", "CT1")
    for title in ("CT2", "STRANGER"):
        assert "Reason: Calling AE Title Not Recognized" in node.dcmtk("echoscu", "-aet", title)


def test_one_association_too_many_is_told_to_try_again(start: Callable[..., Running]) -> None:
    node = start(limits=Limits(associations=1, free_gb=0))
    entity = AE("TESTER")
    entity.add_requested_context("1.2.840.10008.1.1")
    held = entity.associate("127.0.0.1", node.receiver.port, ae_title="PACSAI")
    assert "Reason: Local Limit Exceeded" in node.dcmtk("echoscu")
    held.release()
    assert "Received Echo Response (Success)" in node.dcmtk("echoscu")


def test_a_pdu_of_announced_gigabytes_closes_the_connection(start: Callable[..., Running]) -> None:
    node = start()
    with socket.create_connection(("127.0.0.1", node.receiver.port), timeout=5) as peer:
        peer.sendall(b"\x01\x00\xff\xff\xff\xff" + b"\x00" * 1000)
        assert peer.recv(1) in (b"", b"\x07"), "closed or aborted, not waited for"
    assert "(Success)" in node.dcmtk("echoscu")


def trickle(peer: socket.socket) -> None:
    for _ in range(30):
        peer.sendall(b"\x01")
        time.sleep(0.3)


def test_a_peer_that_trickles_bytes_is_cut_off(start: Callable[..., Running]) -> None:
    node = start(limits=Limits(network_timeout_s=1, free_gb=0))
    peer = socket.create_connection(("127.0.0.1", node.receiver.port), timeout=5)
    with peer, pytest.raises((BrokenPipeError, ConnectionResetError)):
        trickle(peer)
    assert "(Success)" in node.dcmtk("echoscu")


# Storing


def test_real_slices_are_kept_as_they_were_sent_and_a_re_send_adds_nothing(
    start: Callable[..., Running], shared_data: Path
) -> None:
    files = sorted((shared_data / "ct" / "c3n-00247").rglob("*.dcm"))[:5]
    node = start()
    for _ in range(2):
        assert node.dcmtk("storescu", files=files).count("Received Store Response (Success)") == 5
    kept = node.spool.instances(study_of(files[0]))
    assert len(kept) == 5
    sent = {dcmread(file).SOPInstanceUID: dcmread(file).PixelData for file in files}
    assert {dcmread(file).SOPInstanceUID: dcmread(file).PixelData for file in kept} == sent
    assert [event["event"] for event in node.events(study_of(files[0]))] == ["receiving"]


def test_the_data_set_is_kept_byte_for_byte(start: Callable[..., Running], slices: list[Path]) -> None:
    dataset = dcmread(slices[0])
    dataset.add_new(0x00091001, "UN", b"private and odd ")
    node = start()
    assert node.store(dataset) == 0x0000
    (kept,) = node.spool.instances(dataset.StudyInstanceUID)
    dataset.save_as(slices[0], enforce_file_format=True)
    start_of_data_set = slices[0].read_bytes().index(b"\x08\x00")
    assert kept.read_bytes().endswith(slices[0].read_bytes()[start_of_data_set:])


def test_other_bytes_under_a_known_uid_are_warned_of_quarantined_and_told(
    start: Callable[..., Running], slices: list[Path]
) -> None:
    node = start()
    dataset = dcmread(slices[0])
    assert node.store(dataset) == 0x0000
    dataset.PatientID = "ANOTHER"
    assert node.store(dataset) == 0xB000
    (kept,) = node.spool.instances(dataset.StudyInstanceUID)
    assert dcmread(kept).PatientID == "PHANTOM"
    told = node.events(dataset.StudyInstanceUID)
    assert [event["event"] for event in told] == ["receiving", "conflict"]
    assert "ANOTHER" not in str(told), "no patient data in a story"
    assert dcmread(node.node.data / str(told[-1]["quarantine"])).PatientID == "ANOTHER"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"SOPClassUID": str(MRImageStorage)}, f"SOP Class UID is {CTImageStorage} in the data set"),
        ({"SOPInstanceUID": "1.2.3.4"}, "SOP Instance UID differs between data set and request"),
    ],
)
def test_a_data_set_that_is_not_what_the_request_says_is_refused(
    start: Callable[..., Running], slices: list[Path], changed: dict[str, str], reason: str
) -> None:
    node = start()
    assert node.store(dcmread(slices[0]), **changed) == 0xA900
    assert node.spool.studies() == ()
    (told,) = node.events()
    assert (told["event"], told["status"]) == ("refused", "0xA900")
    assert reason in str(told["reason"])


def test_a_refusal_of_a_study_that_is_here_is_told_in_its_story(
    start: Callable[..., Running], slices: list[Path]
) -> None:
    node = start()
    node.store(dcmread(slices[0]))
    assert node.store(dcmread(slices[1]), SOPInstanceUID="1.2.3.4") == 0xA900
    assert [event["event"] for event in node.events(study_of(slices[0]))] == ["receiving", "refused"]


@pytest.mark.parametrize("value", [None, "../../etc"])
def test_a_data_set_without_a_usable_study_uid_cannot_be_understood(
    start: Callable[..., Running], slices: list[Path], value: str | None
) -> None:
    dataset = dcmread(slices[0])
    del dataset.StudyInstanceUID
    if value:
        dataset.add_new("StudyInstanceUID", "LO", value)
        dataset["StudyInstanceUID"].VR = "UI"
    node = start()
    assert node.store(dataset) == 0xC000
    assert "Study Instance UID" in str(node.events()[0]["reason"])


def test_bytes_that_are_no_data_set_cannot_be_understood() -> None:
    for rubbish in (b"", b"not DICOM at all", os.urandom(5000), b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff" * 5000):
        with pytest.raises(Refusal) as raised:
            read_identity(rubbish, ExplicitVRLittleEndian)
        assert raised.value.status == 0xC000
    with pytest.raises(Refusal):
        agreed_identity(b"", ExplicitVRLittleEndian, CTImageStorage, "1.2")


def test_below_the_free_space_of_the_settings_nothing_is_taken(
    start: Callable[..., Running], slices: list[Path]
) -> None:
    node = start(limits=Limits(free_gb=1e9))
    assert node.store(dcmread(slices[0])) == 0xA700
    assert node.events()[0]["reason"] == "the data disk is nearly full"
    assert "(Success)" in node.dcmtk("echoscu")


def test_a_disk_that_fills_up_is_answered_with_out_of_resources(
    tmp_path: Path, start: Callable[..., Running], slices: list[Path]
) -> None:
    disk = tmp_path / "data-0"
    disk.mkdir()
    needs("mount", "umount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        node = start()
        large, small = dcmread(slices[0]), dcmread(slices[1])
        large.add_new(0x00091001, "OB", bytes(2_000_000))
        assert node.store(large) == 0xA700
        assert node.store(small) == 0x0000
        assert not list(disk.rglob("*.part"))
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


# Transfer syntaxes


def test_every_sample_is_decoded_here() -> None:
    assert set(SAMPLES) < set(decodable_syntaxes())


def test_a_syntax_whose_picture_comes_out_wrong_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SAMPLES, JPEGLosslessSV1, "AAAA")
    assert JPEGLosslessSV1 not in decodable_syntaxes()


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, UID("1.2.840.10008.1.2.2"), UID("1.2.3.4")])
def test_deflated_big_endian_and_unknown_syntaxes_are_not_negotiated(
    start: Callable[..., Running], syntax: UID
) -> None:
    entity = AE("TESTER")
    entity.add_requested_context(CTImageStorage, syntax)
    association = entity.associate("127.0.0.1", start().receiver.port, ae_title="PACSAI")
    assert not association.is_established
    assert len(association.rejected_contexts) == 1
    association.abort()


COMPRESSED_OPTION = {
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
}
"""The options with which storescu 3.6.7 proposes a compressed transfer syntax."""


def option_for(path: Path) -> str:
    """Return the storescu option that proposes the file's transfer syntax; uncompressed for all it cannot propose."""
    try:
        syntax = str(read_file_meta_info(path).get("TransferSyntaxUID", ""))
    except Exception:  # not DICOM: storescu should see it all the same
        return "-x="
    return COMPRESSED_OPTION.get(syntax, "-x=")


@pytest.mark.slow
def test_every_conformance_file_ends_with_a_defined_status_and_the_node_still_answers(
    start: Callable[..., Running], shared_data: Path
) -> None:
    by_option: dict[str, list[Path]] = defaultdict(list)
    files = [path for path in (shared_data / "conformance").rglob("*") if path.is_file()]
    for path in files:
        by_option[option_for(path)].append(path)
    node = start()
    answers = ""
    for option, group in by_option.items():
        answers += node.dcmtk("storescu", option, "-R", "-nh", files=group)
        assert "(Success)" in node.dcmtk("echoscu"), option
    responses = [line for line in answers.splitlines() if "Received Store Response" in line]
    assert len(responses) > 200
    known = (
        "(Success)",
        "(Warning: CoercionOfDataElements)",
        "(Error: CannotUnderstand)",
        "(Error: DataSetDoesNotMatch",
    )
    assert [line for line in responses if not any(status in line for status in known)] == []
    assert "aborted" not in answers.lower()


# Stopping


def test_stopping_lets_a_running_association_end(start: Callable[..., Running], slices: list[Path]) -> None:
    node = start()
    entity = AE("TESTER")
    entity.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
    association = entity.associate("127.0.0.1", node.receiver.port, ae_title="PACSAI")
    stopping = threading.Thread(target=node.receiver.stop)
    stopping.start()
    time.sleep(0.7)
    assert "exit 0" not in node.dcmtk("echoscu"), "no new association"
    assert association.send_c_store(dcmread(slices[0])).Status == 0x0000
    association.release()
    stopping.join(timeout=10)
    assert not stopping.is_alive()


SERVING = """
import sys, time
from pathlib import Path
from pacsai.config import Limits, Node
from pacsai.dicom.scp import Receiver
from pacsai.spool import Spool
node = Node(data=Path(sys.argv[1]), port=0, limits=Limits(free_gb=0))
spool = Spool(node.data)
spool.start()
receiver = Receiver(node, spool)
receiver.start()
print(receiver.port, flush=True)
time.sleep(600)
"""


def test_kill_9_in_the_middle_of_a_transfer_loses_nothing_that_was_acknowledged(
    tmp_path: Path, shared_data: Path
) -> None:
    needs("storescu")
    data = tmp_path / "data"
    command = [sys.executable, "-c", SERVING, str(data)]
    with (tmp_path / "log").open("w") as log:
        node = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
    assert node.stdout is not None
    port = next(line.strip() for line in node.stdout if line.strip().isdigit())
    files = sorted((shared_data / "ct" / "c3n-00247").rglob("*.dcm"))
    sending = subprocess.Popen(
        ["storescu", "-v", "-aec", "PACSAI", "127.0.0.1", port, *map(str, files)],
        env=NO_DELAY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert sending.stdout is not None
    acknowledged = 0
    for line in sending.stdout:
        acknowledged += "Received Store Response (Success)" in line
        if acknowledged == 10:
            node.send_signal(signal.SIGKILL)
            break
    acknowledged += sending.stdout.read().count("Received Store Response (Success)")
    sending.wait(timeout=60)
    node.wait(timeout=10)
    for process in (sending, node):
        assert process.stdout is not None
        process.stdout.close()

    spool = Spool(data)
    unfinished = spool.instances_folder(study_of(files[0])) / ".half.part"
    shutil.copy(files[0], unfinished)
    spool.start()
    kept = spool.instances(study_of(files[0]))
    assert acknowledged <= len(kept) <= acknowledged + 1
    assert all(dcmread(path).PixelData for path in kept)
    assert not unfinished.exists()
    spool.close()
