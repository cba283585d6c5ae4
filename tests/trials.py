"""What a node goes through in `make crash`: a study comes, is analysed, delivered, committed, withdrawn, purged."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import httpx
import yaml
from pydicom import dcmread

from pacsai.commitment.ledger import Ledger
from pacsai.jobs import database_url, list_jobs
from pacsai.outbox import Outbox
from pacsai.peers import free_port
from pacsai.spool import Spool
from pacsai.state import state_of
from pacsai.story import Story
from tests.nodes import write_site
from tests.notes import write_note
from tests.services import Orthanc
from tests.test_node import ct_with_balls, uid_of
from tests.toys import toy_pipeline
from tests.web.port import CONTENT_TYPE, body

END_S = 180


@dataclass
class Trial:
    """One node in a folder of its own, and the study that it is sent."""

    folder: Path
    archive: Orthanc
    database: str
    acknowledged: set[Path] = field(default_factory=set)
    ae_title: str = "PACSAI"
    end: ClassVar[str] = "delivered"
    """What the study's state says at the end."""
    results: ClassVar[Counter[str]] = Counter(SEG=1, SR=1, PR=1)
    """What the archive holds then, by modality, of each revision that was analysed."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        pipeline = toy_pipeline(self.folder / "pipelines")
        archive = {"kind": "dimse", "ae_title": self.archive.ae_title, "host": "127.0.0.1"}
        self.config = write_site(
            self.folder,
            archive={**archive, "port": self.archive.dicom_port},
            pipelines={pipeline.name: {"folder": str(pipeline)}},
            database=self.database,
            quiet_s=2,
        )
        self.port = self.set("node", receivers=1)["port"]
        self.data = self.folder / "data"
        # A study of its own: trials share Orthanc, and UIDs of phantoms and results derive from where they lie.
        self.study = ct_with_balls(self.folder / "study", z_mm=self.port / 10)
        self.uid = uid_of(self.study)
        self.files = sorted(self.study.rglob("*.dcm"))

    def set(self, section: str, **settings: Any) -> dict[str, Any]:
        """Change a section of the site's settings and return it."""
        site = yaml.safe_load(self.config.read_text())
        site[section] = changed = {**site.get(section, {}), **settings}
        self.config.write_text(yaml.safe_dump(site))
        return changed

    def prepare(self) -> None:
        """Do what must have happened before the node is killed."""

    @contextmanager
    def node(self, fault: str = "") -> Iterator[subprocess.Popen[str]]:
        """Run the node in a session of its own, `fault` armed."""
        command = [sys.executable, "-m", "pacsai", "serve", "--config", str(self.config)]
        environment = {**os.environ, "PACSAI_FAULT": fault, "PACSAI_FAULT_GROUP": "1"}
        with (self.folder / "node.log").open("a") as log:
            process = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True
            )
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith("ready "), (self.folder / "node.log").read_text()[-2000:]
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()

    def send(self) -> None:
        """Send what is not acknowledged, and note what is now."""
        self._send(self.files)

    def _send(self, paths: Sequence[Path]) -> None:
        files = [str(path) for path in paths if path not in self.acknowledged]
        if files:
            command = ["storescu", "-v", "-R", "-aec", self.ae_title, "127.0.0.1", str(self.port), *files]
            sent = subprocess.run(command, capture_output=True, text=True, timeout=60)
            self.acknowledged |= acknowledged(sent.stdout + sent.stderr)

    def is_over(self) -> bool:
        """Tell whether the study is delivered and no job is under way."""
        if self.end not in state_of(self.story()):
            return False
        return all(job.state == "done" for job in list_jobs(database_url(self.database, self.data)))

    def story(self) -> list[dict[str, Any]]:
        """Return what the study's story tells so far."""
        return Story(self.data / "spool" / Spool.key(self.uid) / "story.jsonl").read()

    def expected(self) -> Counter[str]:
        """Return what the archive holds at the end, by modality."""
        return self.results

    def lost(self) -> int:
        """Count the acknowledged instances that are not in the spool as they were sent."""
        return sum(not self._is_kept(path) for path in self.acknowledged)

    def _is_kept(self, sent: Path) -> bool:
        header = dcmread(sent)
        kept = self.data / "spool" / Spool.key(self.uid) / "instances" / f"{Spool.key(header.SOPInstanceUID)}.dcm"
        return kept.is_file() and dcmread(kept).get("PixelData") == header.get("PixelData")


class Withdrawn(Trial):
    """Once all is delivered, a rejection note on every image comes; our own note, a KO, is one result more then."""

    results = Trial.results + Counter(KO=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images = self.files
        self.files = [*self.images, write_note(self.folder / "note" / "note.dcm", self.images)]

    def send(self) -> None:
        """Send the images, and when their results are delivered the note."""
        self._send(self.images)
        wait(self.is_over, END_S, "the study was not delivered before the note")
        self._send(self.files)


class Committed(Trial):
    """The archive is asked for commitment."""

    end = ", committed"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ae_title = name = f"T{self.port}"
        self.set("node", ae_title=name)
        self.set("archive", commitment=True, commitment_wait_s=0.2, commitment_retry_s=5)
        peer = {"AET": name, "Host": "127.0.0.1", "Port": self.port}
        url = f"{self.archive.http_url}/modalities/{name}"
        httpx.put(url, json=peer, trust_env=False).raise_for_status()


class SentAgain(Committed):
    """The archive has lost an object before it is asked."""

    def prepare(self) -> None:
        self.set("archive", commitment=False)
        with self.node() as process:
            self.send()
            wait(lambda: "delivered" in state_of(self.story()), END_S, "the study was not delivered")
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, "the node did not drain"
        lost = self.archive.instances(self.uid)[0]
        httpx.delete(f"{self.archive.http_url}/instances/{lost['ID']}", trust_env=False).raise_for_status()
        self.set("archive", commitment=True)


class Purged(Committed):
    """Images go as soon as they may."""

    end = "; purged here"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.set("retention", keep_days=0, every_s=0.5)

    def is_over(self) -> bool:
        """Tell whether everything is gone that may go, and nothing is under way."""
        return super().is_over() and not [*self.data.rglob("*.dcm"), *self.data.rglob("purge.json")]

    def lost(self) -> int:
        """Count the images that are gone though the archive has not committed, or does not hold, all results."""
        return 0 if self._is_safe() else super().lost()

    def _is_safe(self) -> bool:
        ledger = Ledger(self.data / "commitment.db")
        parcels = Outbox(self.data / "outbox").parcels(self.uid)
        requests = [ledger.request(parcel.id) for parcel in parcels]
        ledger.close()
        committed = bool(requests) and all(one is not None and one.state == "committed" for one in requests)
        wanted = {one.sop_instance_uid for parcel in parcels for one in parcel.objects}
        return committed and wanted <= {one["SOPInstanceUID"] for one in self.archive.instances(self.uid)}


class Uploaded(Trial):
    """The study comes by STOW-RS, each image in a body of its own.

    A pause between two bodies may outlast the quiet time on a slow machine, and makes a revision with its own results.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.web_port = free_port()
        self.set("web", port=self.web_port)

    def send(self) -> None:
        """Upload what is not acknowledged, until the node is gone."""
        for path in self.files:
            if path in self.acknowledged:
                continue
            url = f"http://127.0.0.1:{self.web_port}/dicom-web/studies"
            headers = {"Content-Type": CONTENT_TYPE}
            try:
                answer = httpx.post(url, content=body(path.read_bytes()), headers=headers, timeout=30, trust_env=False)
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            self.acknowledged.add(path)

    def expected(self) -> Counter[str]:
        """Return the results of each revision once."""
        revisions = {parcel.revision for parcel in Outbox(self.data / "outbox").parcels(self.uid)}
        return Counter({modality: count * len(revisions) for modality, count in self.results.items()})


def trial_of(point: str) -> type[Trial]:
    """Return the trial in which the node comes by `point`."""
    if point.endswith(("send_again", "sent_again")):
        return SentAgain
    kinds = {"commitment": Committed, "notice": Committed, "purge": Purged, "stow": Uploaded, "withdrawal": Withdrawn}
    return kinds.get(point.partition(".")[0], Trial)


def acknowledged(told: str) -> set[Path]:
    """Return the files that `storescu -v` told to be stored."""
    stored, current = set(), None
    for line in told.splitlines():
        if found := re.search(r"Sending file: (.*)$", line):
            current = Path(found[1])
        elif "Received Store Response (Success)" in line and current:
            stored.add(current)
    return stored


def wait(happens: Callable[[], bool], seconds: float, otherwise: str) -> None:
    """Return once it happens; raises AssertionError where it does not in time."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, otherwise
        time.sleep(0.2)
