"""What others announce of studies: procedure steps (MPPS, PS3.4 annex F) and available instances (IAN, annex R).

An announcement is a file of its own, which may come long before the first image: `announced/<study key>/<key>.json`.
It says whether a modality is at work, and which images to expect. Knows nothing of quiet times and of jobs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog
from pydicom.dataset import Dataset

from pacsai import durable
from pacsai.queries import Listed
from pacsai.spool import Spool
from pacsai.spool.intake import make_folder

log = structlog.get_logger()

IN_PROGRESS, COMPLETED, DISCONTINUED, AVAILABLE = "IN PROGRESS", "COMPLETED", "DISCONTINUED", "AVAILABLE"
_STATES = (IN_PROGRESS, COMPLETED, DISCONTINUED)
_TO_BE_HAD = ("ONLINE", "NEARLINE")
_KEPT_S = 7 * 86400
"""Announcements that nothing came of are forgotten after this long."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One procedure step or one notification, as far as it concerns one study.

    Attributes
    ----------
    state : str
        Performed Procedure Step Status (0040,0252), or AVAILABLE for a notification.
    images : tuple of str
        SOP Instance UIDs of the images to expect; results that nodes make are left out.
    heard : float
        When it was first heard of, in seconds of the epoch.
    """

    study_instance_uid: str
    state: str
    images: tuple[str, ...]
    heard: float


class Board:
    """The announcements that are open, on disk and in memory. For one thread, after `load`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, dict[Path, Announcement]] = {}

    def load(self) -> None:
        """Read what earlier runs kept; a damaged file stops no start."""
        for path in self._folder.glob("*/*.json"):
            try:
                said = json.loads(path.read_bytes())
                self._enter(path, Announcement(**said | {"images": tuple(said["images"])}))
            except (OSError, ValueError, KeyError, TypeError):
                log.warning("an announcement cannot be read; it is left out", file=path.name)

    def put(self, key: str, announcement: Announcement) -> None:
        """Keep an announcement; when this returns it survives a power cut. One that stands already is replaced."""
        self._forget_old()
        path = self._folder / Spool.key(announcement.study_instance_uid) / f"{key}.json"
        make_folder(path.parent)
        durable.write(path, json.dumps(asdict(announcement)).encode())
        self._enter(path, announcement)

    def under(self, key: str) -> list[Announcement]:
        """Return what was announced under `key`, one for each study that it concerns."""
        return [one for of in self._open.values() for path, one in of.items() if path.stem == key]

    def of(self, study_instance_uid: str) -> list[Announcement]:
        """Return what was announced of a study."""
        return list(self._open.get(study_instance_uid, {}).values())

    def studies(self) -> set[str]:
        """Return the Study Instance UIDs of which something was announced."""
        return set(self._open)

    def forget(self, study_instance_uid: str) -> None:
        """Forget what was announced of a study, but for steps that go on: their end is still to come."""
        for path, one in list(self._open.get(study_instance_uid, {}).items()):
            if one.state != IN_PROGRESS:
                self._drop(path, one)

    def _forget_old(self) -> None:
        for path, one in [item for of in self._open.values() for item in of.items()]:
            if time.time() - one.heard > _KEPT_S:
                self._drop(path, one)

    def _enter(self, path: Path, announcement: Announcement) -> None:
        self._open.setdefault(announcement.study_instance_uid, {})[path] = announcement

    def _drop(self, path: Path, announcement: Announcement) -> None:
        path.unlink(missing_ok=True)
        of_study = self._open[announcement.study_instance_uid]
        del of_study[path]
        if not of_study:
            del self._open[announcement.study_instance_uid]


def step_begun(step: Dataset) -> list[Announcement]:
    """Return what the N-CREATE of a procedure step says (PS3.3 C.4.13 to C.4.15), one for each study it names."""
    studies = {uid for item in step.get("ScheduledStepAttributesSequence", ()) if (uid := _uid(item, "Study"))}
    images = _made(step) if len(studies) == 1 else ()  # nothing says which image is of which study
    return [Announcement(uid, _state(step, IN_PROGRESS), images, time.time()) for uid in sorted(studies)]


def step_changed(known: Announcement, step: Dataset, *, alone: bool) -> Announcement:
    """Return a step as its N-SET leaves it; a final state stays (PS3.4 F.7.2.2). `alone`: it is of one study."""
    if known.state in (COMPLETED, DISCONTINUED):
        return known
    images = _made(step) if alone and "PerformedSeriesSequence" in step else known.images
    return replace(known, state=_state(step, known.state), images=images)


def made_available(notification: Dataset) -> Announcement:
    """Return what an Instance Availability Notification says (PS3.3 C.4.23). Raises ValueError where it is empty."""
    study_instance_uid = _uid(notification, "Study")
    if not study_instance_uid:
        raise ValueError("the notification names no study")
    images = _images(notification, "ReferencedSeriesSequence", "ReferencedSOPSequence")
    return Announcement(study_instance_uid, AVAILABLE, images, time.time())


def _state(step: Dataset, otherwise: str) -> str:
    state = str(step.get("PerformedProcedureStepStatus") or otherwise)
    if state not in _STATES:
        raise ValueError("the status of the procedure step is unknown to PS3.3 C.4.14")
    return state


def _made(step: Dataset) -> tuple[str, ...]:
    return _images(step, "PerformedSeriesSequence", "ReferencedImageSequence")


def _images(dataset: Dataset, series: str, references: str) -> tuple[str, ...]:
    found = (item for one in dataset.get(series) or () for item in _listed(one, references))
    return tuple(sorted({one.sop_instance_uid for one in found if one.sop_instance_uid and not one.is_result}))


def _listed(series: Dataset, references: str) -> Iterator[Listed]:
    for item in series.get(references) or ():
        if str(item.get("InstanceAvailability") or "ONLINE") in _TO_BE_HAD:
            image, sop_class = item.get("ReferencedSOPInstanceUID"), item.get("ReferencedSOPClassUID")
            yield Listed(_uid(series, "Series"), str(image or ""), str(sop_class or ""))


def _uid(dataset: Dataset, level: str) -> str:
    return str(dataset.get(f"{level}InstanceUID") or "")
