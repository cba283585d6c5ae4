"""One part of an upload: a PS3.10 file on its way to the spool, checked while it streams.

The data set is written as it comes behind a head of our own, to a file without a name, as the receiver does it; what
ends early leaves nothing. Decodes nothing, and knows nothing of HTTP.
"""

from __future__ import annotations

import structlog

from pacsai.dicom import elements, inflate
from pacsai.dicom.identity import Identity, Refusal, agreed_identity
from pacsai.spool import Reception
from pacsai.spool.intake import Incoming
from pacsai.web import filehead
from pacsai.web.answer import (
    CANNOT_UNDERSTAND,
    DOES_NOT_MATCH,
    KEPT_ANOTHER,
    NO_ROOM,
    Outcome,
)
from pacsai.web.keeper import Keeper, NoRoom

log = structlog.get_logger()


class Instance:
    """Takes one part's bytes.

    Parameters
    ----------
    keeper : Keeper
        Where it goes.
    study_instance_uid : str
        The study it must be of; '' for any.
    """

    def __init__(self, keeper: Keeper, study_instance_uid: str) -> None:
        self._keeper = keeper
        self._study_instance_uid = study_instance_uid
        self._left = int(keeper.limits.dataset_mb * 1e6)
        self._beginning = bytearray()
        self._incoming: Incoming | None = None
        self.head: filehead.FileHead | None = None
        self.refusal: Refusal | None = None

    def write(self, view: memoryview) -> None:
        """Take the next bytes. Once something is amiss, the rest is thrown away."""
        if self.refusal is not None:
            return
        try:
            if self._incoming is None:
                self._begin(view)
            else:
                self._write(self._incoming, view)
        except Exception as error:
            self.refuse(_refusal_of(error))

    def end(self) -> Outcome:
        """Return what became of the part, after its last byte."""
        reception = None
        try:
            if self._incoming is None or self.head is None:
                raise self.refusal or Refusal(CANNOT_UNDERSTAND, "a part ends before the end of its file head")
            said = self._identity(self._incoming, self.head)
            reception = self._keeper.keep(self._incoming, said)
        except Exception as error:
            self.refusal = _refusal_of(error)
        self.close()
        return Outcome(
            sop_class_uid=self.head.sop_class_uid if self.head else "",
            sop_instance_uid=self.head.sop_instance_uid if self.head else "",
            failure=self.refusal.status if self.refusal else 0,
            warning=KEPT_ANOTHER if reception is Reception.CONFLICT else 0,
            passing=isinstance(self.refusal, NoRoom),
        )

    def close(self) -> None:
        """Forget what has come and is not kept."""
        if self._incoming is not None:
            self._incoming.__exit__()
            self._incoming = None

    def refuse(self, refusal: Refusal) -> None:
        """Throw away what has come, and what will come."""
        self.refusal = refusal
        self._beginning.clear()
        self.close()

    def _begin(self, view: memoryview) -> None:
        """Gather bytes until the file head is there; a view is long, as a rule, and has it all."""
        self._beginning += view
        self.head = filehead.read(self._beginning)
        if self.head is None:
            return
        self._incoming = self._keeper.begin(self.head)
        with memoryview(self._beginning) as whole, whole[self.head.length :] as rest:
            self._write(self._incoming, rest)
        self._beginning = bytearray()

    def _write(self, incoming: Incoming, view: memoryview) -> None:
        self._left -= len(view)
        if self._left < 0:
            raise Refusal(NO_ROOM, "the data set is longer than this node takes")
        if len(view):
            incoming.write(view)

    def _identity(self, incoming: Incoming, head: filehead.FileHead) -> Identity:
        """Return who the data set is, if it is who its file head says, and of the study in the URL; raises Refusal."""
        syntax, names = head.transfer_syntax_uid, (head.sop_class_uid, head.sop_instance_uid)
        with incoming.dataset() as encoded:
            if syntax == inflate.DEFLATED:
                _check_inflated(encoded, int(self._keeper.limits.inflated_mb * 1e6))
            said = agreed_identity(encoded, syntax, *names, depth=self._keeper.limits.sequence_depth)
        if self._study_instance_uid not in ("", said.study_instance_uid):
            reason = "the data set is of another study than the one in the URL"
            raise Refusal(DOES_NOT_MATCH, reason, said.study_instance_uid)
        return said


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    reason = getattr(error, "strerror", None) or type(error).__name__
    log.error("an instance could not be kept", reason=reason)
    return NoRoom(NO_ROOM, f"cannot be kept now: {reason}")


def _check_inflated(deflated: memoryview, limit_bytes: int) -> None:
    """Refuse a deflated data set that is broken or a bomb: whoever reads the file later need not meet it."""
    try:
        inflate.check(deflated, limit_bytes)
    except elements.Malformed as error:
        raise Refusal(CANNOT_UNDERSTAND, str(error)) from error
