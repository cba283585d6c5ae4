"""Storing: what becomes of each C-STORE request, and with which status it ends (PS3.4 B.2.3).

0x0000 kept, now or before; 0xB000 warning, other bytes stand under this SOP Instance UID and are kept, these are in
quarantine; 0xA700 no room, try again later; 0xA900 data set and request disagree; 0xC000 the data set cannot be
understood. Whatever it will be, the data set is read to its end first: the association goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from pacsai import faults
from pacsai.config import Limits
from pacsai.dicom.identity import Identity, Refusal, agreed_identity
from pacsai.dicom.scp.commands import SUCCESS, Command
from pacsai.spool.intake import Incoming, Intake, Kept, Reception
from pacsai.story import Story

log = structlog.get_logger()

KEPT_ANOTHER = 0xB000
NO_ROOM = 0xA700

_BEGINNING_BYTES = 1 << 14
"""Where the UIDs of an image are, as a rule. They are looked for while the rest is still on its way."""


@dataclass(slots=True)
class Visit:
    """One association: who calls, what came of its requests, and the reasons for refusal already told."""

    calling_ae_title: str
    address: str
    outcomes: Counter[str] = field(default_factory=Counter)
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and its Error Comment."""

    status: int
    comment: str = ""


class Store:
    """Keeps what one process of the receiver is sent.

    Parameters
    ----------
    limits : Limits
        Of the site.
    intake : Intake
        Where instances go.
    report : callable
        Told of each instance that is durable.
    story_of : callable
        The story in which a refusal of something of this Study Instance UID is told.
    """

    def __init__(
        self, limits: Limits, intake: Intake, report: Callable[[Kept], None], story_of: Callable[[str], Story]
    ) -> None:
        self._dataset_bytes = int(limits.dataset_mb * 1e6)
        self._free_bytes = limits.free_gb * 1e9
        self.sequence_depth = limits.sequence_depth
        self._intake = intake
        self._report = report
        self._story_of = story_of

    def begin(self, visit: Visit, request: Command, transfer_syntax_uid: str) -> StoreSink:
        """Return what takes the data set of `request`."""
        sink = StoreSink(self, visit, request, self._dataset_bytes)
        try:
            if self._intake.free_bytes() < self._free_bytes:
                raise Refusal(NO_ROOM, "the data disk is nearly full")
            sink.incoming = self._intake.begin(request.sop_class_uid, request.sop_instance_uid, transfer_syntax_uid)
        except Refusal as refusal:
            sink.refusal = refusal
        except OSError as error:
            sink.refusal = _no_room(error)
        return sink

    def get_ready(self) -> None:
        """Do ahead what the next instance will need."""
        self._intake.get_ready()

    def keep(self, incoming: Incoming, said: Identity) -> Reception:
        """Keep what has arrived; raises Refusal."""
        try:
            kept = self._intake.keep(incoming, said)
        except Exception as error:  # a full or failing disk or index: the sender should keep it and try again
            raise _no_room(error, said.study_instance_uid) from error
        self._report(kept)
        return kept.reception

    def tell(self, visit: Visit, request: Command, refusal: Refusal) -> None:
        """Tell of a refusal where a person will look for it; each reason once for an association."""
        visit.outcomes["refused"] += 1
        if refusal.reason in visit.told:
            return
        visit.told.add(refusal.reason)
        details = {"reason": refusal.reason, "status": f"0x{refusal.status:04X}"}
        log.warning("instance refused", **details)
        self._story_of(refusal.study_instance_uid).tell(
            "refused",
            **details,
            sop_instance_uid=request.sop_instance_uid[:64],
            study_instance_uid=refusal.study_instance_uid,
            calling_ae_title=visit.calling_ae_title,
        )


class StoreSink:
    """Takes the data set of one C-STORE request, fragment by fragment, straight into its file."""

    def __init__(self, store: Store, visit: Visit, request: Command, longest: int) -> None:
        self._store = store
        self._visit = visit
        self._request = request
        self._left = longest
        self._begun = False
        self._said: Identity | None = None
        self.incoming: Incoming | None = None
        self.refusal: Refusal | None = None

    def write(self, view: memoryview) -> None:
        """Take the next fragment. Once something is amiss, the rest is thrown away."""
        self._left -= len(view)
        if self.incoming is None:
            return
        if self._left < 0:
            self._refuse(Refusal(NO_ROOM, "the data set is longer than this node takes"))
            return
        if not self._begun:
            self._begun = True
            with suppress(Refusal):  # it may be all there at the end
                self._said = self._identity(view[:_BEGINNING_BYTES], self.incoming)
        try:
            self.incoming.write(view)
        except OSError as error:
            self._refuse(_no_room(error))

    def end(self) -> Answer:
        """Return the answer to the request, after its last fragment."""
        try:
            if self.incoming is None:
                raise self.refusal or Refusal(NO_ROOM, "cannot be kept now")
            with self.incoming as incoming:
                self.incoming = None
                reception = self._store.keep(incoming, self._said or self._identity_of_all(incoming))
                faults.point("receiver.before_answer")
        except Refusal as refusal:
            self._store.tell(self._visit, self._request, refusal)
            return Answer(refusal.status, refusal.reason)
        self._visit.outcomes[reception] += 1
        if reception is Reception.CONFLICT:
            return Answer(KEPT_ANOTHER, "other bytes are kept under this SOP Instance UID")
        return Answer(SUCCESS)

    def answered(self) -> None:
        """Make the next file ahead."""
        self._store.get_ready()

    def close(self) -> None:
        """Throw away what has come, where the association ended before the data set did."""
        if self.incoming is not None:
            self.incoming.__exit__()
            self.incoming = None

    def _identity_of_all(self, incoming: Incoming) -> Identity:
        with incoming.dataset() as dataset:
            return self._identity(dataset, incoming)

    def _identity(self, encoded: memoryview, incoming: Incoming) -> Identity:
        """Return who the data set is, if it is who the request says; raises Refusal."""
        asked = (incoming.transfer_syntax_uid, self._request.sop_class_uid, self._request.sop_instance_uid)
        return agreed_identity(encoded, *asked, depth=self._store.sequence_depth)

    def _refuse(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.close()


def _no_room(error: Exception, study_instance_uid: str = "") -> Refusal:
    reason = getattr(error, "strerror", None) or type(error).__name__
    log.error("an instance could not be kept", reason=reason)
    return Refusal(NO_ROOM, f"cannot be kept now: {reason}", study_instance_uid)
