"""Where uploads go, and what is taken: the one thing that ties the web port to the spool."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from pacsai import faults
from pacsai.config import Limits
from pacsai.dicom.decoders import decodable_syntaxes
from pacsai.dicom.identity import Identity, Refusal
from pacsai.dicom.inflate import DEFLATED
from pacsai.dicom.scp.negotiation import STORAGE
from pacsai.spool import Reception, Spool
from pacsai.spool.intake import Incoming
from pacsai.story import Story, utc_now
from pacsai.web.answer import CLASS_NOT_SUPPORTED, NO_ROOM, SYNTAX_NOT_SUPPORTED
from pacsai.web.filehead import FileHead

log = structlog.get_logger()

_RETRY_S = 10.0


class NoRoom(Refusal):
    """Not kept because of this node's state, not of the data: a later try may succeed."""


class Keeper:
    """Keeps instances within the site's limits; safe for several threads.

    Parameters
    ----------
    limits : Limits
        Of the site.
    spool : Spool
        Where instances go.
    clock : callable
        The present moment in UTC.
    """

    def __init__(self, limits: Limits, spool: Spool, clock: Callable[[], datetime] = utc_now) -> None:
        self.limits = limits
        self._spool = spool
        self._clock = clock
        self._syntaxes = frozenset({DEFLATED, *map(str, decodable_syntaxes())})
        self._ending = threading.Event()
        self._looking = threading.Lock()

    def close(self) -> None:
        """Enter nothing any more."""
        self._ending.set()

    def has_room(self) -> bool:
        """Return whether the data disk has more free space than `limits.free_gb`."""
        return self._spool.free_bytes() >= self.limits.free_gb * 1e9

    def begin(self, head: FileHead) -> Incoming:
        """Return the file that the data set goes into; raises Refusal where it is not wanted."""
        if head.sop_class_uid not in STORAGE:
            raise Refusal(CLASS_NOT_SUPPORTED, f"SOP Class {head.sop_class_uid} is not stored here")
        if head.transfer_syntax_uid not in self._syntaxes:
            raise Refusal(SYNTAX_NOT_SUPPORTED, f"transfer syntax {head.transfer_syntax_uid} is not taken here")
        if not self.has_room():
            raise NoRoom(NO_ROOM, "the data disk is nearly full")
        return self._spool.intake.begin(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax_uid)

    def keep(self, incoming: Incoming, said: Identity) -> Reception:
        """Keep what has arrived; when this returns, it survives a power cut."""
        kept = self._spool.intake.keep(incoming, said)
        faults.point("stow.kept")
        try:
            return self._spool.enter([kept], self._clock())[0]
        except Exception as error:  # a full or failing disk: the folders hold it, and are looked through later
            log.error("an instance is kept and not entered yet", reason=type(error).__name__)
            threading.Thread(target=self._look_through, name="looking through the spool", daemon=True).start()
            return kept.reception

    def story_of(self, study_instance_uid: str) -> Story:
        """Return the story of the study if anything of it is here, else the node's own."""
        if study_instance_uid and self._spool.instances_folder(study_instance_uid).is_dir():
            return self._spool.story_of(study_instance_uid)
        return self._spool.story

    def _look_through(self) -> None:
        """Enter what the folders hold, again until it works; one thread is enough, and sees what came meanwhile."""
        if not self._looking.acquire(blocking=False):
            return
        entered = False
        while not entered and not self._ending.wait(_RETRY_S):
            entered = self._looked_through()
        self._looking.release()

    def _looked_through(self) -> bool:
        try:
            log.info("spool looked through", instances_entered=self._spool.scan())
        except Exception as error:
            log.error("the spool could not be looked through; trying again", reason=type(error).__name__)
            return False
        return True
