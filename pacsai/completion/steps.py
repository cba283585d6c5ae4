"""Completion by what is announced: a study waits for a modality at work, and is complete once all it made is here.

Deals with the notices of MPPS and IAN, and judges studies by them. Every wait is bounded by `study.mpps_wait_s` without
a new image; after it the study is analysed as it is, and what was announced and is missing is told in the result.
"""

from __future__ import annotations

import hashlib
import time

from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when imported
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
)

from pacsai import notices
from pacsai.completion import record
from pacsai.completion.announced import (
    COMPLETED,
    DISCONTINUED,
    IN_PROGRESS,
    Announcement,
    Board,
    made_available,
    step_begun,
    step_changed,
)
from pacsai.completion.record import Found
from pacsai.config import Site
from pacsai.notices import Notice
from pacsai.spool import Spool
from pacsai.story import Story


class Steps:
    """What is announced of the node's studies. For the watcher's thread."""

    def __init__(self, site: Site, spool: Spool) -> None:
        self._spool = spool
        self._wait_s = site.study.mpps_wait_s
        self._board = Board(site.node.data / "announced")
        self._waiting: dict[str, tuple[str, float]] = {}

    def start(self) -> None:
        """Take up what was announced before."""
        self._board.load()

    def handlers(self) -> dict[tuple[notices.Service, str], notices.Handler]:
        """Return who deals with which notice."""
        step, notification = str(ModalityPerformedProcedureStep), str(InstanceAvailabilityNotification)
        return {
            ("N-CREATE", step): self._begun,
            ("N-SET", step): self._changed,
            ("N-CREATE", notification): self._available,
        }

    def complete(self) -> frozenset[str]:
        """Return the studies whose steps are all completed, and all their images here: no quiet time is needed."""
        return frozenset(uid for uid in self._board.studies() if self._is_complete(uid))

    def running(self, study_instance_uid: str, revision: str) -> bool:
        """Return whether a quiet study waits for a modality that is at work."""
        at_work = any(one.state == IN_PROGRESS for one in self._board.of(study_instance_uid))
        return at_work and not self._waited(study_instance_uid, revision, "a procedure step is in progress")

    def settled(self, study_instance_uid: str, revision: str) -> bool:
        """Return whether a quiet study's revision has what was announced of it, or has waited for it long enough."""
        expected = self._expected(study_instance_uid)
        missing = self._missing(study_instance_uid, expected)
        if missing and not self._waited(study_instance_uid, revision, f"{missing} announced images are not here yet"):
            return False
        if missing and record.read(self._spool, study_instance_uid, revision, record.ANNOUNCED) is None:
            self._story(study_instance_uid).tell("incomplete", announced=len(expected), missing=missing)
            record.write(self._spool, study_instance_uid, revision, Found(len(expected), missing), record.ANNOUNCED)
        return True

    def submitted(self, study_instance_uid: str) -> None:
        """Forget what was announced of a study that was handed on with all of it."""
        self._waiting.pop(study_instance_uid, None)
        if not self._missing(study_instance_uid, self._expected(study_instance_uid)):
            self._board.forget(study_instance_uid)

    def _is_complete(self, study_instance_uid: str) -> bool:
        expected = self._expected(study_instance_uid)
        done = all(one.state == COMPLETED and one.images for one in self._board.of(study_instance_uid))
        return done and not self._missing(study_instance_uid, expected)

    def _expected(self, study_instance_uid: str) -> set[str]:
        """Return the images to expect; a step that was broken off promises none."""
        announced = self._board.of(study_instance_uid)
        return {image for one in announced if one.state != DISCONTINUED for image in one.images}

    def _missing(self, study_instance_uid: str, expected: set[str]) -> int:
        if not expected:
            return 0
        here = {path.stem for path in self._spool.instances(study_instance_uid)}
        return sum(self._spool.key(image) not in here for image in expected)

    def _waited(self, study_instance_uid: str, revision: str, reason: str) -> bool:
        """Return whether this revision has waited for as long as it may; tells when it begins to."""
        known, since = self._waiting.get(study_instance_uid, ("", 0.0))
        if known == revision:
            return time.monotonic() - since > self._wait_s
        self._waiting[study_instance_uid] = (revision, time.monotonic())
        self._story(study_instance_uid).tell("waits for images", reason=reason, at_most_s=self._wait_s)
        return False

    def _story(self, study_instance_uid: str) -> Story:
        """Return the story of a study or, while none of its images are here, the node's."""
        here = self._spool.instances_folder(study_instance_uid).is_dir()
        return self._spool.story_of(study_instance_uid) if here else self._spool.story

    def _begun(self, notice: Notice) -> None:
        key = self._spool.key(notice.sop_instance_uid)
        announced = step_begun(notice.content())
        if not announced:
            self._spool.story.tell("notice refused", reason="the procedure step names no study")
        known = {one.study_instance_uid for one in self._board.under(key)}  # a request may be dealt with twice
        for one in announced:
            if one.study_instance_uid not in known:
                self._keep(key, one)

    def _changed(self, notice: Notice) -> None:
        key = self._spool.key(notice.sop_instance_uid)
        known = self._board.under(key)
        if not known:
            self._spool.story.tell("notice ignored", reason="the procedure step is unknown or done with")
        step = notice.content()
        for one in known:
            self._keep(key, step_changed(one, step, alone=len(known) == 1))

    def _available(self, notice: Notice) -> None:
        name = notice.sop_instance_uid or hashlib.sha256(notice.dataset).hexdigest()
        self._keep(self._spool.key(name), made_available(notice.content()))

    def _keep(self, key: str, announced: Announcement) -> None:
        self._board.put(key, announced)
        story = self._story(announced.study_instance_uid)
        story.tell(
            "announced",
            state=announced.state,
            images=len(announced.images),
            study_instance_uid=announced.study_instance_uid,
        )
