"""The durable inbox: what arrived, and which studies are complete.

The folders are the truth. An instance counts as received once its file has its final name and both file and folder are
flushed; index.db only answers faster and can be deleted at any time. What peers say never becomes a path: files and
folders are named by SHA-256 of the UIDs. Knows nothing of associations, and of DICOM only the file head it writes.

    spool/<study key>/study.json              which study this is, the revision last submitted, when it was purged
    spool/<study key>/instances/<sop key>.dcm PS3.10 files: our own head, then the data set as it was received
    spool/<study key>/story.jsonl             what happened to the study
    spool/<study key>/asked/<asker>.json      what this node asked an archive for, for comparison
    quarantine/<sop key>/<digest>.dcm         other bytes that came under a SOP Instance UID already kept
"""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog

from pacsai import durable, faults
from pacsai.dicom import part10
from pacsai.dicom.identity import Identity
from pacsai.spool import asked, purging, scan
from pacsai.spool.index import Entry, Held, SpoolIndex, revision_of
from pacsai.spool.intake import Intake, Kept, Reception, SpoolFull, key, make_folder, study_json, told_as_full
from pacsai.story import Story

__all__ = ["Arrival", "Held", "Intake", "Kept", "Reception", "Spool", "SpoolFull"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arrival:
    """An instance as a peer sent it: its identity, and the encoded data set, untouched."""

    study_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    dataset: bytes | memoryview


class Spool:
    """The inbox in the folder `data`; safe for several threads, and for readers in other processes."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._studies = data / "spool"
        self._quarantine = data / "quarantine"
        for folder in (self._studies, self._quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        self._index = SpoolIndex(data / "index.db")
        self._intake = Intake(data, self._index.study_of)
        self._lock = data / "spool.lock"
        """Of who looks through the folders, or purges: a look would enter again what is just being deleted."""
        self._noting = threading.Lock()
        self._told_complete: set[tuple[str, str]] = set()
        self.story = Story(data / "story.jsonl")
        """What has no study: refused associations, data that nobody can place."""

    def start(self, *, shared: bool = False) -> None:
        """Sweep what a crash left unfinished, and bring the index up to the folders. Once, before anything arrives.

        `shared` tells that other nodes may be at work in the same folder.
        """
        with durable.alone(self._lock):
            for folder in purging.begun(self._studies):
                purging.finish(folder, self._index)
            swept = sum(scan.sweep(folder, shared=shared) for folder in (self._studies, self._quarantine))
            entered = scan.bring_up(self._index, self._studies)
        log.info("spool scanned", unfinished_files_swept=swept, instances_entered=entered)

    def close(self) -> None:
        """Close the index."""
        self._intake.close()
        self._index.close()

    # Receiving

    def receive(self, arrival: Arrival, now: datetime) -> Reception:
        """Keep an arrival and enter it; when this returns, what it says survives a power cut.

        Raises
        ------
        SpoolFull
            When the disk or a quota is full; nothing of the arrival is left behind.
        """
        said = Identity(arrival.sop_class_uid, arrival.sop_instance_uid, arrival.study_instance_uid)
        with self._intake.begin(said.sop_class_uid, said.sop_instance_uid, arrival.transfer_syntax_uid) as incoming:
            with told_as_full():
                incoming.write(arrival.dataset)
            kept = self._intake.keep(incoming, said)
        with told_as_full():
            return self.enter([kept], now)[0]

    def enter(self, kept: Sequence[Kept], now: datetime) -> list[Reception]:
        """Enter what `Intake` has kept, so that it counts; return what became of each."""
        new = {self.key(one.sop_instance_uid): one for one in kept if one.reception is Reception.NEW}
        entries = [(_entry(one), one.study_instance_uid) for one in new.values()]
        faults.point("gate.before_enter")
        self._release({one.study_instance_uid for one in kept}, now.timestamp())
        added = self._index.add(entries, now.timestamp())
        faults.point("gate.entered")
        for study_instance_uid in added.woken:
            about = self._about(self._folder(study_instance_uid))
            if about["submitted_revision"]:
                after = " after its images were purged" if "purged" in about else ""
                self.story_of(study_instance_uid).tell("reopened", detail=f"an instance arrived late{after}")
        strays = {entry.sop_key for entry in added.elsewhere}
        for sop_key in strays:
            self._quarantine_stray(new[sop_key])
        return [Reception.CONFLICT if self.key(one.sop_instance_uid) in strays else one.reception for one in kept]

    def scan(self) -> int:
        """Bring the index up to the folders, as after the death of a process; return how many it did not know."""
        with durable.alone(self._lock):
            return scan.bring_up(self._index, self._studies)

    @property
    def intake(self) -> Intake:
        """Return the way in for what streams; what it has kept counts once `enter` knows of it."""
        return self._intake

    def free_bytes(self) -> int:
        """Return the free space of the disk the spool lies on."""
        return self._intake.free_bytes()

    def _quarantine_stray(self, kept: Kept) -> None:
        """Move away an instance that came under one SOP Instance UID in two studies at the same moment."""
        sop_key = self.key(kept.sop_instance_uid)
        path = self.instances_folder(kept.study_instance_uid) / f"{sop_key}.dcm"
        quarantined = self._quarantine / sop_key / f"{part10.digest_of_file(path)[:32]}.dcm"
        make_folder(quarantined.parent)
        path.replace(quarantined)
        durable.sync_folder(quarantined.parent)
        durable.sync_folder(path.parent)
        self.story_of(kept.study_instance_uid).tell(
            "conflict",
            detail="its SOP Instance UID came in another study, too; it is in quarantine",
            sop_instance_uid=kept.sop_instance_uid,
            quarantine=str(quarantined.relative_to(self._data)),
        )

    # What was asked for

    def expect(self, study_instance_uid: str, asker: str, sop_instance_uids: Collection[str], until_s: float) -> None:
        """Say, before an archive is asked for them, that these instances are wanted for comparison alone.

        `asker` is a file name; `until_s` (of the epoch) is until when they may come: later they are a sender's own.
        """
        folder = self._folder(study_instance_uid)
        asked.note(folder, asker, map(self.key, sop_instance_uids), until_s)
        if not (folder / "study.json").exists():
            durable.write_new(folder / "study.json", study_json(study_instance_uid, ""))

    def expect_no_longer(self, study_instance_uid: str, asker: str, until_s: float) -> None:
        """Say that all that was asked for has been sent."""
        asked.arrived(self._folder(study_instance_uid), asker, until_s)

    def held_for_comparison(self, study_instance_uid: str) -> bool:
        """Tell whether nothing came to the study, since it was last handed on, but what this node asked for."""
        folder = self._folder(study_instance_uid)
        wanted = asked.sop_keys(folder)
        if not wanted:
            return False
        others = [entry for entry in self._entries(study_instance_uid) if entry.sop_key not in wanted]
        return not others or revision_of(others) == self._about(folder)["submitted_revision"]

    def _hold(self, study_instance_uid: str) -> None:
        """Let a study that is held for comparison wait no more, without its being handed on."""
        folder = self._folder(study_instance_uid)
        reason = "its images came because this node asked for them; they are not analysed"
        self.story_of(study_instance_uid).tell("held for comparison", reason=reason)
        count = len(self._index.entries(folder.name))
        self._index.settle(folder.name, self._about(folder)["submitted_revision"], count)

    def lacks_asked(self, study_instance_uid: str) -> bool:
        """Tell whether something that was asked for is not here."""
        here = {path.stem for path in self.instances(study_instance_uid)}
        return not asked.sop_keys(self._folder(study_instance_uid)) <= here

    def is_waiting(self, study_instance_uid: str) -> bool:
        """Tell whether a study has news that were not handed on yet."""
        return study_instance_uid in self._index.waiting(float("inf"))

    def _release(self, studies: Collection[str], now_s: float) -> None:
        """Let go of what was held for comparison and is sent by somebody now."""
        for study_instance_uid in studies:
            folder = self._folder(study_instance_uid)
            if asked.is_over(folder, now_s) and asked.forget(folder):
                self._index.wake(folder.name, now_s)
                reason = "a sender brings it: it is analysed like any other study"
                self.story_of(study_instance_uid).tell("no longer held for comparison", reason=reason)

    # Completion

    def complete(self, quiet_s: float, now: datetime, at_once: Collection[str] = ()) -> tuple[str, ...]:
        """Return the Study Instance UIDs that have news, and had no new instance for `quiet_s`, or are `at_once`."""
        ready = []
        waiting = self._index.waiting(now.timestamp() - quiet_s)
        if at_once:
            waiting |= {uid: said for uid, said in self._index.waiting(float("inf")).items() if uid in at_once}
        for study_instance_uid, submitted in waiting.items():
            revision = self.revision(study_instance_uid)
            if revision == submitted:
                self.mark_submitted(study_instance_uid, revision)
                continue
            if self.held_for_comparison(study_instance_uid):
                self._hold(study_instance_uid)
                continue
            self._tell_complete(study_instance_uid, revision)
            ready.append(study_instance_uid)
        return tuple(ready)

    def revision(self, study_instance_uid: str) -> str:
        """Return the SHA-256 (hex) over what the study holds now: its sorted SOP Instance UIDs and digests.

        The digest of transfer syntax and data set: the same image in another encoding is another arrival, since telling
        the two equal would mean to decode them.
        """
        return revision_of(self._entries(study_instance_uid))

    def _entries(self, study_instance_uid: str) -> list[Entry]:
        """Return the study's instances; digests, which no sender waits for, are made here, once."""
        entries = self._index.entries(self.key(study_instance_uid))
        for place, entry in enumerate(entries):
            if not entry.sha256:
                path = self.instances_folder(study_instance_uid) / f"{entry.sop_key}.dcm"
                entries[place] = replace(entry, sha256=part10.digest_of_file(path))
                self._index.note_digest(entry.sop_key, entries[place].sha256)
        return entries

    def mark_submitted(self, study_instance_uid: str, revision: str) -> None:
        """Remember that this revision was handed on; the study is complete again only after a new instance."""
        folder = self._folder(study_instance_uid)
        entries = self._entries(study_instance_uid)
        if self._about(folder)["submitted_revision"] != revision:
            self._note(folder, submitted_revision=revision)
        asked.forget(folder)
        self._index.settle(folder.name, revision, len(entries) if revision_of(entries) == revision else -1)

    def _tell_complete(self, study_instance_uid: str, revision: str) -> None:
        told = (study_instance_uid, revision)
        if told not in self._told_complete:
            self._told_complete.add(told)
            count = len(self.instances(study_instance_uid))
            self.story_of(study_instance_uid).tell("complete", instances=count, revision=revision)

    # Purging

    def held(self) -> list[Held]:
        """Return what is known of all studies, the one with the oldest last arrival first."""
        return self._index.held()

    def purge(self, study_instance_uid: str, reason: str, now: datetime) -> bool:
        """Delete the study's images; its story and study.json stay, and what comes later is late news.

        Returns
        -------
        bool
            False where the study has news that were not handed on yet: then nothing is deleted.
        """
        folder = self._folder(study_instance_uid)
        with durable.alone(self._lock):
            purging.finish(folder, self._index)
            files = self.instances(study_instance_uid)
            entered = {entry.sop_key for entry in self._index.entries(folder.name)}
            if {path.stem for path in files} != entered or study_instance_uid in self._index.waiting(float("inf")):
                return False
            self.story_of(study_instance_uid).tell("purged", instances=len(files), reason=reason)
            faults.point("purge.told")
            self._note(folder, purged=now.isoformat())
            purging.begin(folder, files)
            purging.finish(folder, self._index)
        return True

    # Asking

    def studies(self) -> tuple[str, ...]:
        """Return the Study Instance UIDs that are here, the latest arrival first."""
        return tuple(self._index.studies().values())

    def instances(self, study_instance_uid: str) -> tuple[Path, ...]:
        """Return the files of the study; none for a study that is not here."""
        return tuple(sorted(self.instances_folder(study_instance_uid).glob("*.dcm")))

    def find(self, sop_instance_uid: str) -> Path | None:
        """Return the file of an instance, None for one that is not here."""
        sop_key = self.key(sop_instance_uid)
        study_key = self._index.study_of(sop_key)
        path = self._studies / str(study_key) / "instances" / f"{sop_key}.dcm"
        return path if study_key and path.is_file() else None

    def instances_folder(self, study_instance_uid: str) -> Path:
        """Return the folder that holds the study's files."""
        return self._folder(study_instance_uid) / "instances"

    def story_of(self, study_instance_uid: str) -> Story:
        """Return the story of a study that is here."""
        return Story(self._folder(study_instance_uid) / "story.jsonl")

    @staticmethod
    def key(uid: str) -> str:
        """Return the name that stands for a UID on disk: 32 hexadecimal digits of its SHA-256."""
        return key(uid)

    def _folder(self, study_instance_uid: str) -> Path:
        return self._studies / self.key(study_instance_uid)

    def _note(self, folder: Path, **news: str) -> None:
        """Write `news` into the study's study.json."""
        with self._noting:
            durable.write(folder / "study.json", json.dumps(self._about(folder) | news).encode())

    @staticmethod
    def _about(folder: Path) -> dict[str, str]:
        about: dict[str, str] = json.loads((folder / "study.json").read_bytes())
        return about


def _entry(kept: Kept) -> Entry:
    return Entry(key(kept.study_instance_uid), key(kept.sop_instance_uid), kept.sop_instance_uid, "")
