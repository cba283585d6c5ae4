"""Outbox: the results that wait for the archive, as parcels that are packed once and re-sent as they were.

A parcel is a folder `<parcel id>/` with the objects of one analysis (*.dcm), `parcel.json` that lists them,
`inputs.json` with the instances that they rest on, and, once an archive has answered, `delivered.json`;
`withdrawn.json` where it must not be sent any more, `purged.json` where its objects were deleted later. A parcel that
exists is complete: it is made under a hidden name and renamed. Knows nothing of jobs.
Regenerating an object gives other bytes (clock fields); that is why the first bytes are kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any

from pydicom import dcmread

from pacsai import durable, faults
from pacsai.archive.base import Archive, Sent

PARCEL_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,127}")
"""What a parcel may be called: it becomes a folder name. A UID or a digest fits."""

_CUT_OFF_S = 3600
_MANIFEST = "parcel.json"
_RECORD = "delivered.json"
_PURGED = "purged.json"
_INPUTS = "inputs.json"
_WITHDRAWN = "withdrawn.json"


class ParcelError(Exception):
    """A parcel that does not exist or is damaged; the message says which and what to do."""


class DeliveryRefused(Exception):  # noqa: N818  an answer of the archive, not a fault of this node
    """The archive answered and does not want some objects; sending again would change nothing."""


@dataclass(frozen=True, slots=True)
class PackedObject:
    """One DICOM object of a parcel; `file` is its name in the folder, `sha256` (hex) its bytes' digest."""

    file: str
    sop_class_uid: str
    sop_instance_uid: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Parcel:
    """The packed results of one pipeline on one revision of one study.

    Attributes
    ----------
    summary : dict
        What the caller wants to tell of the result without opening the objects; JSON values.
    packed_at : str
        UTC, ISO 8601.
    """

    id: str
    folder: Path
    study_instance_uid: str
    pipeline: str
    revision: str
    objects: tuple[PackedObject, ...]
    summary: Mapping[str, Any]
    packed_at: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the objects' files, in the order they were packed."""
        return tuple(self.folder / item.file for item in self.objects)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What the archive answered for a parcel; `at` is UTC, ISO 8601."""

    at: str
    answers: tuple[Sent, ...]

    @property
    def refused(self) -> tuple[Sent, ...]:
        """Return the answers of objects that the archive did not take."""
        return tuple(answer for answer in self.answers if not answer.accepted)


class Outbox:
    """The folder of parcels. Cheap to make; several processes may read it while one writes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pack(
        self,
        parcel_id: str,
        files: Sequence[Path],
        *,
        study_instance_uid: str,
        pipeline: str,
        revision: str,
        summary: Mapping[str, Any],
        inputs: Collection[str] = (),
    ) -> Parcel:
        """Copy `files`, which rest on the SOP instances `inputs`, into a new parcel; one that exists stays untouched.

        Raises
        ------
        ParcelError
            `parcel_id` cannot name a folder.
        OSError
            The disk is full or cannot be written; nothing is left behind.
        """
        folder = self._folder_of(parcel_id)
        if folder.is_dir():
            return self.read(parcel_id)
        packing = self._folder / f".packing-{parcel_id}-{uuid.uuid4().hex[:8]}"
        packing.mkdir(parents=True)
        try:
            objects = tuple(_pack_object(file, packing, number) for number, file in enumerate(files, start=1))
            parcel = Parcel(
                parcel_id, folder, study_instance_uid, pipeline, revision, objects, dict(summary), _utc_now()
            )
            durable.write(packing / _INPUTS, json.dumps(sorted(inputs)).encode())
            faults.point("outbox.before_manifest")
            durable.write(packing / _MANIFEST, _manifest(parcel))
            faults.point("outbox.before_rename")
            _rename(packing, folder)
            faults.point("outbox.renamed")
        except BaseException:
            shutil.rmtree(packing, ignore_errors=True)
            raise
        durable.sync_folder(self._folder)
        self._sweep()
        return self.read(parcel_id)

    def read(self, parcel_id: str) -> Parcel:
        """Return the parcel called `parcel_id`; raises ParcelError when there is none."""
        folder = self._folder_of(parcel_id)
        try:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
        except (OSError, ValueError) as error:
            raise ParcelError(f"the outbox holds no readable parcel {parcel_id}: {error}") from error
        objects = tuple(PackedObject(**item) for item in manifest.pop("objects"))
        return Parcel(folder=folder, objects=objects, **manifest)

    def holds(self, parcel_id: str) -> bool:
        """Tell whether there is a parcel of this name."""
        return self._folder_of(parcel_id).is_dir()

    def parcels(self, study_instance_uid: str | None = None) -> tuple[Parcel, ...]:
        """Return all parcels, or those of one study, oldest first."""
        folders = self._folder.iterdir() if self._folder.is_dir() else ()
        found = [self.read(folder.name) for folder in folders if PARCEL_ID.fullmatch(folder.name)]
        wanted = (parcel for parcel in found if study_instance_uid in (None, parcel.study_instance_uid))
        return tuple(sorted(wanted, key=lambda parcel: (parcel.packed_at, parcel.id)))

    def delivery(self, parcel_id: str) -> Delivery | None:
        """Return what the archive last answered for the parcel, None while it has not answered."""
        record = self._folder_of(parcel_id) / _RECORD
        if not record.is_file():
            return None
        said = json.loads(record.read_bytes())
        return Delivery(said["at"], tuple(Sent(**answer) for answer in said["answers"]))

    def pending(self) -> tuple[Parcel, ...]:
        """Return the parcels that no archive has answered for, oldest first."""
        return tuple(parcel for parcel in self.parcels() if self.delivery(parcel.id) is None)

    def deliver(self, parcel_id: str, archive: Archive) -> Delivery:
        """Send the parcel and keep the answers; a parcel that was taken whole before is not sent again.

        Raises
        ------
        ArchiveUnavailable
            Try again later; nothing is recorded.
        DeliveryRefused
            The archive refused some objects; the answers are recorded.
        ParcelError
            The parcel's files are not what was packed; they are not sent.
        """
        before = self.delivery(parcel_id)
        if before is not None and not before.refused:
            return before
        parcel = self.read(parcel_id)
        _check_bytes(parcel)
        faults.point("outbox.before_send")
        delivery = Delivery(_utc_now(), tuple(archive.send(parcel.paths)))
        faults.point("outbox.sent")
        durable.write(parcel.folder / _RECORD, json.dumps(asdict(delivery), indent=1).encode())
        faults.point("outbox.recorded")
        if delivery.refused:
            reasons = "; ".join(sorted({answer.detail for answer in delivery.refused}))
            raise DeliveryRefused(
                f"the archive refused {len(delivery.refused)} of {len(delivery.answers)} objects: {reasons}"
            )
        return delivery

    def send_again(self, parcel_id: str, sop_instance_uids: Collection[str], archive: Archive) -> tuple[Sent, ...]:
        """Send some objects of a delivered parcel once more and return the answers; its record stays as it is.

        Raises
        ------
        ArchiveUnavailable
            Try again later.
        ParcelError
            The parcel's files are not what was packed; they are not sent.
        """
        parcel = self.read(parcel_id)
        _check_bytes(parcel)
        wanted = [item.sop_instance_uid in sop_instance_uids for item in parcel.objects]
        return tuple(archive.send([*compress(parcel.paths, wanted)]))

    def purge(self, parcel_id: str) -> None:
        """Delete the objects of a parcel; what it was, and what the archive answered, stays."""
        folder = self._folder_of(parcel_id)
        for path in folder.glob("*.dcm"):
            path.unlink()
        faults.point("purge.results")
        durable.write(folder / _PURGED, json.dumps({"at": _utc_now()}).encode())

    def purged(self, parcel_id: str) -> bool:
        """Tell whether the objects of a parcel were deleted."""
        return (self._folder_of(parcel_id) / _PURGED).is_file()

    def inputs(self, parcel_id: str) -> frozenset[str]:
        """Return the SOP Instance UIDs of what the parcel's objects rest on."""
        path = self._folder_of(parcel_id) / _INPUTS
        return frozenset(json.loads(path.read_bytes())) if path.is_file() else frozenset()

    def withdraw(self, parcel_id: str, reason: str) -> None:
        """Mark a parcel as one that is not sent any more; the first reason stays."""
        path = self._folder_of(parcel_id) / _WITHDRAWN
        durable.write_new(path, json.dumps({"at": _utc_now(), "reason": reason}).encode())

    def withdrawn(self, parcel_id: str) -> str:
        """Return why the parcel must not be sent any more, '' where it may be."""
        path = self._folder_of(parcel_id) / _WITHDRAWN
        return str(json.loads(path.read_bytes())["reason"]) if path.is_file() else ""

    def _sweep(self) -> None:
        """Delete what was left of packings that were cut off, or came second; younger ones may still be going on."""
        for left in self._folder.glob(".packing-*"):
            with suppress(FileNotFoundError):  # another node sweeps, too
                if time.time() - left.stat().st_mtime > _CUT_OFF_S:
                    shutil.rmtree(left, ignore_errors=True)

    def _folder_of(self, parcel_id: str) -> Path:
        if not PARCEL_ID.fullmatch(parcel_id):
            raise ParcelError("a parcel id is 1-128 letters, digits, dots, dashes and underscores")
        return self._folder / parcel_id


def _rename(packing: Path, folder: Path) -> None:
    """Put a parcel in its place; one that another node has put there meanwhile is kept."""
    try:
        packing.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        shutil.rmtree(packing, ignore_errors=True)


def _pack_object(source: Path, folder: Path, number: int) -> PackedObject:
    """Copy one DICOM file into `folder` and return what parcel.json says of it."""
    data = source.read_bytes()
    header = dcmread(source, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True)
    name = f"{number:04d}.dcm"
    durable.write(folder / name, data)
    return PackedObject(name, str(header.SOPClassUID), str(header.SOPInstanceUID), hashlib.sha256(data).hexdigest())


def _manifest(parcel: Parcel) -> bytes:
    """Return parcel.json: everything but where the folder lies."""
    said = asdict(parcel)
    del said["folder"]
    return json.dumps(said, indent=1).encode()


def _check_bytes(parcel: Parcel) -> None:
    """Refuse a parcel whose files are not, byte for byte, what was packed."""
    for item, path in zip(parcel.objects, parcel.paths, strict=True):
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != item.sha256:
            raise ParcelError(f"{item.file} of parcel {parcel.id} is missing or changed on disk; it is not sent")


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
