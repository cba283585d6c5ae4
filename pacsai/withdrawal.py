"""Withdrawal: results of this node that rest on instances which a rejection note took out of use.

For each note that names inputs of packed results, the archive gets a rejection note of ours, of the same title, that
names these results (IHE RAD, Imaging Object Change Management). Ours is a parcel like any other: packed once for a
revision of the study, sent until the archive has it. A result that was not sent yet is not sent any more. Knows
nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from pacsai import MANUFACTURER, MODEL_NAME, RESEARCH_USE_ONLY
from pacsai.bounds import Bounds, within
from pacsai.objects import rejection
from pacsai.objects.common import Author
from pacsai.objects.rejection import Rejected
from pacsai.objects.source import Source
from pacsai.objects.uids import derived_uid
from pacsai.objects.write import Written
from pacsai.outbox import Outbox, Parcel
from pacsai.report import object_json
from pacsai.spool import Spool
from pacsai.study import Instance, Study
from pacsai.study.header import texts
from pacsai.study.reading import read_instance, read_notes
from pacsai.study.rejection import Note, in_words, referenced
from pacsai.terms import REJECTIONS

PART = "rejection-note"
"""What stands for a pipeline's name in jobs, parcels and stories; no pipeline can be called so."""


@dataclass(frozen=True, slots=True, eq=False)
class Affected:
    """A rejection note, and the packed results that rest on what it rejects; at least one."""

    note: Note
    results: tuple[Parcel, ...]

    @property
    def objects(self) -> list[Rejected]:
        """Return the results' objects: all of them, since a delivery may have broken off after some."""
        return [one for parcel in self.results for one in _objects(parcel)]


class Withdrawal:
    """Finds what is to be withdrawn in a node's spool and outbox, within `bounds`; `author` signs the notes."""

    def __init__(self, spool: Spool, outbox: Outbox, author: Author, bounds: Bounds) -> None:
        self._bounds = bounds
        self._spool = spool
        self._outbox = outbox
        self._author = author

    def notes(self, study_instance_uid: str) -> tuple[Note, ...]:
        """Return the rejection notes of a study, but for those that this node made and got back.

        Ours name results, which no analysis rests on; they are left out all the same, so that none leads to another.
        """
        with within(self._bounds):
            notes = read_notes(self._spool.instances(study_instance_uid))
        return tuple(note for note in notes if not _made_here(note.instance))

    def is_due(self, study_instance_uid: str) -> bool:
        """Tell whether results are to be withdrawn that no note of ours names yet."""
        return bool(self._affected(study_instance_uid))

    def stops(self, parcel: Parcel) -> str:
        """Return why a packed result must not be sent, '' where nothing is against it."""
        if parcel.pipeline == PART:
            return ""
        if before := self._outbox.withdrawn(parcel.id):
            return before
        notes = self.notes(parcel.study_instance_uid)
        inputs = self._inputs(parcel) if notes else frozenset()
        return "; ".join(_reason(note, inputs) for note in notes if note.rejected & inputs)

    def notes_on(self, result: Parcel) -> list[Parcel]:
        """Return the parcels that hold a note of ours on a result."""
        parcels = self._outbox.parcels(result.study_instance_uid)
        return [one for one in parcels if one.pipeline == PART and result.id in _named(one)]

    def report(self, study_instance_uid: str, revision: str, folder: Path, now: datetime) -> dict[str, Any]:
        """Write our notes into `folder` and return what a parcel tells of them, as a report of an analysis does.

        Raises
        ------
        ValueError
            A note cannot be made of such a study.
        """
        folder.mkdir(parents=True, exist_ok=True)
        affected = self._affected(study_instance_uid)
        written = [self._write(one, folder / f"{place}.dcm", now) for place, one in enumerate(affected)]
        return {
            "result_id": parcel_id(study_instance_uid, revision),
            "study_instance_uid": study_instance_uid,
            "pipeline": PART,
            "objects": [object_json(one) for one in written],
            "withdraws": [
                {"parcel": parcel.id, "pipeline": parcel.pipeline, "reason": _reason(one.note, self._inputs(parcel))}
                for one in affected
                for parcel in one.results
            ],
            "inputs": [one.note.instance.sop_instance_uid for one in affected],
            "intended_use": RESEARCH_USE_ONLY,
        }

    def settle(self, parcel: Parcel) -> None:
        """Mark what a packed note of ours withdraws, and tell it; a second time changes nothing."""
        for one in parcel.summary["withdraws"]:
            self.withdraw(self._outbox.read(one["parcel"]), one["reason"])

    def withdraw(self, result: Parcel, reason: str) -> None:
        """Let a result not be sent any more, and tell it, once."""
        if not self._outbox.withdrawn(result.id):
            story = self._spool.story_of(result.study_instance_uid)
            story.tell("withdrawn", parcel=result.id, pipeline=result.pipeline, reason=reason)
            self._outbox.withdraw(result.id, reason)

    def _affected(self, study_instance_uid: str) -> list[Affected]:
        notes = self.notes(study_instance_uid)
        if not notes:
            return []
        parcels = self._outbox.parcels(study_instance_uid)
        ours = [parcel for parcel in parcels if parcel.pipeline == PART]
        named = {uid for parcel in ours for uid in _named(parcel)}
        results = [
            (parcel, self._inputs(parcel)) for parcel in parcels if parcel not in ours and parcel.id not in named
        ]
        found = (
            Affected(note, tuple(parcel for parcel, inputs in results if parcel.objects and inputs & note.rejected))
            for note in notes
        )
        return [one for one in found if one.results]

    def _inputs(self, parcel: Parcel) -> frozenset[str]:
        """Return what a result rests on; of parcels of earlier versions, what their objects refer to."""
        inputs = self._outbox.inputs(parcel.id)
        if inputs:
            return inputs
        headers = (_header(path) for path in parcel.paths if path.is_file())
        return frozenset(uid for header in headers for uid in referenced(header))

    def _write(self, affected: Affected, path: Path, now: datetime) -> Written:
        """Write one note, filed with the patient and study of the results, or of the note where these are purged."""
        files = [path for parcel in affected.results for path in parcel.paths if path.is_file()]
        header = read_instance(files[0]) if files else affected.note.instance
        uid = affected.results[0].study_instance_uid
        source = Source(study=Study(uid, "", "", series=()), instances=(header,), volume=None, now=now)
        because_of = affected.note.instance.sop_instance_uid
        title = REJECTIONS[affected.note.title]
        return rejection.write(title, affected.objects, source, path, because_of=because_of, author=self._author)


def _header(path: Path) -> Dataset:
    """Return the header of a packed object, an empty one where it is damaged: delivering it will say so."""
    try:
        return dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return Dataset()


def parcel_id(study_instance_uid: str, revision: str) -> str:
    """Return what the parcel is called that holds our notes of a revision."""
    return derived_uid("withdrawal", study_instance_uid, revision)


def _named(ours: Parcel) -> set[str]:
    """Return the ids of the parcels that notes of ours name."""
    return {one["parcel"] for one in ours.summary["withdraws"]}


def _objects(parcel: Parcel) -> Iterator[Rejected]:
    for one in parcel.summary["objects"]:
        if not one["problems"]:
            yield Rejected(one["kind"], one["series_instance_uid"], one["sop_class_uid"], one["sop_instance_uid"])


def _made_here(instance: Instance) -> bool:
    made = texts(instance.header, "Manufacturer"), texts(instance.header, "ManufacturerModelName")
    return made == (MANUFACTURER, MODEL_NAME)


def _reason(note: Note, inputs: frozenset[str]) -> str:
    count = len(note.rejected & inputs)
    were = "were" if count > 1 else "was"
    return f"{count} of the {len(inputs)} instances that it rests on {were} {in_words(note.title)}"
