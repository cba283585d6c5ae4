"""The demo: a node and an archive on loopback, a study sent in, and what comes back, shown.

Everything is real: the node is `pacsai serve` in a process of its own, the archive is Orthanc or pynetdicom's qrscp,
and the study travels by C-STORE.
"""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import yaml
from PIL import Image
from pydicom.dataset import Dataset
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from pacsai.archive.dimse import CStoreArchive
from pacsai.finding import Finding, Mask
from pacsai.peers import LOOPBACK, Peer
from pacsai.pipeline import Lesion, Phantom
from pacsai.registry import find
from pacsai.render.views import three_views
from pacsai.spool import Spool
from pacsai.state import state_of
from pacsai.study import Study
from pacsai.study.reading import read_folder
from pacsai.terms import NODULE
from pacsai.volume import Volume, read_volume
from pacsai.wrap import About, write_ct

AE_TITLE = "PACSAI"
SEED = 2026
MATTERS_MM = 6.0
"""Solid nodules under this size need no routine follow-up (Fleischner Society, Radiology 2017;284:228)."""
PENDING = (0xFF00, 0xFF01)
"""C-FIND statuses with which a match comes (PS3.4 C.4.1.1.4)."""
FINAL = ("delivered", "refused by the archive", "not sent", "not analysed: ", "failed: ")


class DemoError(Exception):
    """The demo did not come to its end; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Case:
    """A study on disk, and its truth where it is a phantom."""

    folder: Path
    study: Study
    lesions: tuple[Lesion, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the study's files."""
        return tuple(instance.path for series in self.study.series for instance in series.instances)


@dataclass(frozen=True, slots=True)
class RunningNode:
    """The demo's node."""

    port: int
    data: Path
    process: subprocess.Popen[str]


def generated_case(pipeline: str, folder: Path) -> Case:
    """Write the pipeline's full-size phantom as a CT study into `folder`."""
    phantom = find(pipeline).phantom(SEED, full=True)
    if not isinstance(phantom, Phantom):
        raise DemoError(f"{pipeline} reads no CT, and the demo makes one")
    about = About(
        patient_id="PHANTOM",
        patient_name="Phantom^Chest",
        study="demo",
        study_description="Chest CT (generated phantom)",
        series_description="Thorax 2.5 mm",
        body_part="CHEST",
    )
    array = phantom.volume.array.round().astype("int16")
    write_ct(folder, array, phantom.volume.affine, about)
    return Case(folder, only_study(folder), phantom.lesions)


def only_study(folder: Path) -> Study:
    """Return the one study in `folder`; raises DemoError where there is none or more than one."""
    studies = read_folder(folder)
    if len(studies) != 1:
        raise DemoError(f"{folder} holds {len(studies)} studies; the demo takes a folder with one")
    return studies[0]


@contextmanager
def node(folder: Path, pipeline: str, peer: Peer, port: int) -> Iterator[RunningNode]:
    """Run `pacsai serve` for a site in `folder` that sends to `peer`; drains it at the end."""
    site = {
        "node": {"ae_title": AE_TITLE, "host": LOOPBACK, "port": port, "data": "./node"},
        "study": {"quiet_s": 2},
        "archive": {"kind": "dimse", "ae_title": peer.ae_title, "host": LOOPBACK, "port": peer.port},
        "pipelines": {pipeline: {"results": ["SEG", "SR", "GSPS", "SC"]}},
    }
    config = folder / "site.yaml"
    config.write_text(yaml.safe_dump(site, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "pacsai", "serve", "--config", str(config)]
    with (folder / "node.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        if not process.stdout.readline().startswith("ready"):
            raise DemoError(f"the node did not come up; see {folder / 'node.log'}")
        yield RunningNode(port, folder / "node", process)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def send(paths: Sequence[Path], ae_title: str, port: int) -> None:
    """Send files by C-STORE, as a modality would; raises DemoError when the peer refuses any."""
    answers = CStoreArchive("MODALITY", ae_title, LOOPBACK, port).send(paths)
    refused = [answer for answer in answers if not answer.accepted]
    if refused:
        raise DemoError(f"{ae_title} refused {len(refused)} images: {refused[0].detail}")


def states(running: RunningNode, study_instance_uid: str, wait_s: float) -> Iterator[str]:
    """Give the study's state, time and again, until it is final."""
    spool, end = Spool(running.data), time.monotonic() + wait_s
    while time.monotonic() < end:
        state = state_of(spool.story_of(study_instance_uid).read())
        yield state
        if any(word in state for word in FINAL):
            return
        if running.process.poll() is not None:
            raise DemoError(f"the node ended by itself; see {running.data.parent / 'node.log'}")
        time.sleep(0.2)
    raise DemoError(f"no result within {wait_s:g} s; see {running.data.parent / 'node.log'}")


def report_of(running: RunningNode) -> dict[str, Any]:
    """Return the report of the one result in the node's outbox."""
    (parcel,) = (running.data / "outbox").glob("*/parcel.json")
    report: dict[str, Any] = json.loads(parcel.read_text(encoding="utf-8"))["summary"]
    return report


def objects_in(peer: Peer, study_instance_uid: str) -> Counter[str]:
    """Ask the archive by C-FIND what it holds of the study: instances by modality and series description.

    qrscp of pynetdicom 3.0 answers a query for series once for each instance, so series are told apart by UID.
    """
    held: Counter[str] = Counter()
    query = Dataset()
    query.QueryRetrieveLevel = "SERIES"
    query.StudyInstanceUID = study_instance_uid
    for keyword in ("SeriesInstanceUID", "Modality", "SeriesDescription"):
        setattr(query, keyword, "")
    for series in {str(one.SeriesInstanceUID): one for one in _find(peer, query)}.values():
        instances = Dataset()
        instances.QueryRetrieveLevel = "IMAGE"
        instances.StudyInstanceUID = study_instance_uid
        instances.SeriesInstanceUID = series.SeriesInstanceUID
        instances.SOPInstanceUID = ""
        name = f"{series.Modality}  {series.get('SeriesDescription') or ''}".strip()
        held[name] += len(_find(peer, instances))
    return held


def picture(running: RunningNode, case: Case, report: dict[str, Any]) -> Image.Image:
    """Draw the first finding in three views, with the contours that the SEG of the outbox holds."""
    taken = next(one["series_instance_uid"] for one in report["series"] if one["taken"])
    series = next(one for one in case.study.series if one.series_instance_uid == taken)
    volume = read_volume(series.instances)
    findings = _segments(running, volume)
    first = report["findings"][0]
    return three_views(volume, findings, tuple(first["centre_mm"]), title=f"{report['pipeline']}: {first['label']}")


def _segments(running: RunningNode, volume: Volume) -> list[Finding]:
    """Return the segments of the SEG in the outbox as findings on `volume`'s grid."""
    uids = [instance.sop_instance_uid for instance in volume.source]
    found = []
    for path in sorted((running.data / "outbox").glob("*/*.dcm")):
        if hd.imread(path).Modality != "SEG":
            continue
        seg = hd.seg.segread(path)
        for number in seg.segment_numbers:
            pixels = seg.get_pixels_by_source_instance(
                uids, segment_numbers=[number], assert_missing_frames_are_empty=True
            )
            mask = Mask(pixels[..., 0].astype(bool), (0, 0, 0))
            label = seg.get_segment_description(number).SegmentLabel
            found.append(Finding(kind=NODULE, label=label, probability=1, centre_mm=(0, 0, 0), mask=mask))
    return found


def matched(
    findings: Sequence[dict[str, Any]], lesions: Sequence[Lesion]
) -> list[tuple[Lesion, dict[str, Any] | None]]:
    """Return each lesion with the most probable finding inside it, None where it was missed."""
    ranked = sorted(findings, key=lambda finding: -finding["probability"])
    return [(lesion, next((one for one in ranked if _inside(one, lesion)), None)) for lesion in lesions]


def missed(findings: Sequence[dict[str, Any]], lesions: Sequence[Lesion]) -> int:
    """Return how many lesions that matter have no finding in them."""
    return sum(one is None and lesion.diameter_mm >= MATTERS_MM for lesion, one in matched(findings, lesions))


def _inside(finding: dict[str, Any], lesion: Lesion) -> bool:
    apart = [a - b for a, b in zip(finding["centre_mm"], lesion.centre_mm, strict=True)]
    return math.hypot(*apart) <= max(lesion.diameter_mm / 2, 3.0)


def _find(peer: Peer, query: Dataset) -> list[Dataset]:
    ae = AE(ae_title=AE_TITLE)
    ae.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    association = ae.associate(LOOPBACK, peer.port, ae_title=peer.ae_title)
    if not association.is_established:
        raise DemoError(f"{peer.name} does not answer a query")
    answers = association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind)
    found = [identifier for status, identifier in answers if status and status.Status in PENDING and identifier]
    association.release()
    return found
