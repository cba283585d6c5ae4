"""As SCP: peers that stored here ask whether their images are safe, and are told, on an association of its own.

Committed is what lies durably in the spool at the moment of answering, and stays remembered as promised. An answer is
offered with growing pauses to a peer that is down, for as long as the site says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from pacsai import durable
from pacsai.commitment import wire
from pacsai.commitment.ledger import Ledger, Owed, Reference, pause_s
from pacsai.commitment.wire import Declined, Peer, Requestor, Unreachable
from pacsai.config import Node
from pacsai.dicom import part10
from pacsai.notices import Notice
from pacsai.spool import Spool

log = structlog.get_logger()

_UID = re.compile(r"[0-9.]{1,64}")
_GRACE_S = 10.0
"""So long after the request an image that is missing may still be on its way into the spool's index."""
_LOOK_AGAIN_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 5.0, 3600.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is so of a request's references."""

    committed: tuple[Reference, ...]
    failed: dict[Reference, int]
    study_keys: frozenset[str]


class Answering:
    """Answers requests for storage commitment for one node.

    Parameters
    ----------
    leads : callable
        Whether this node answers, of those that share the spool; asked right before an answer is given.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        node: Node,
        requestor: Requestor,
        *,
        ledger: Ledger,
        spool: Spool,
        leads: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._requestor = requestor
        self._ledger = ledger
        self._spool = spool
        self._leads = leads
        self._clock = clock

    def hear(self, notice: Notice) -> None:
        """Deal with an N-ACTION: enter it, to be answered soon."""
        asked_for = notice.content()
        who = notice.calling_ae_title
        transaction_uid = str(asked_for.get("TransactionUID", ""))
        references = [
            Reference(str(item.get("ReferencedSOPClassUID", "")), str(item.get("ReferencedSOPInstanceUID", "")))
            for item in asked_for.get("ReferencedSOPSequence", ())
        ]
        reason = self._not_answerable(notice, transaction_uid, references)
        if reason:
            self._tell("commitment request ignored", who, reason=reason)
        elif self._ledger.owe(who, transaction_uid, references, self._clock()):
            self._tell("commitment requested", who, objects=len(references))

    def _not_answerable(self, notice: Notice, transaction_uid: str, references: Iterable[Reference]) -> str:
        """Return why a request cannot be answered, '' where it can."""
        if notice.type_id != wire.REQUEST_STORAGE_COMMITMENT:
            return f"there is no Action Type {notice.type_id} (PS3.4 J.3.2)"
        uids = [transaction_uid, *(uid for one in references for uid in (one.sop_class_uid, one.sop_instance_uid))]
        if not all(_UID.fullmatch(uid) for uid in uids):
            return "a UID is missing or not made of digits and dots, 64 at most"
        if len(uids) == 1:
            return "it refers to no SOP instance"
        if self._peer(notice.calling_ae_title) is None:
            return "no port is known for this AE title: node.callers needs its port, or node.commitment_peers it"
        return ""

    def round(self) -> None:
        """Give every answer whose turn it is; a peer that is down is tried once."""
        if not self._ledger.owed(self._clock()) or not self._leads():
            return
        down: set[str] = set()
        for owed in self._ledger.owed(self._clock()):
            if owed.ae_title in down:
                continue
            try:
                self._answer(owed)
            except (Unreachable, Declined) as error:
                down.add(owed.ae_title)
                self._put_off(owed, str(error))

    def _answer(self, owed: Owed) -> None:
        peer = self._peer(owed.ae_title)
        if peer is None:
            raise Unreachable("no port is known any more for this AE title")
        with self._ledger.changes():  # nothing is purged meanwhile, by this node or another
            said = self._judge(owed.references)
            if said.failed and self._clock() - owed.since < _GRACE_S:
                self._ledger.put_off(owed, self._clock() + _LOOK_AGAIN_S, attempts=owed.attempts)
                return
            self._ledger.promise(said.study_keys, owed.ae_title)
        if not self._leads():
            return
        self._requestor.report(peer, owed.transaction_uid, said.committed, said.failed)
        reasons = sorted({wire.reason_in_words(code) for code in said.failed.values()})
        self._tell(
            "commitment answered",
            owed.ae_title,
            committed=len(said.committed),
            failed=len(said.failed),
            reason="; ".join(reasons),
        )
        self._ledger.forget(owed)

    def _put_off(self, owed: Owed, reason: str) -> None:
        if self._clock() - owed.since > self._node.commitment_answer_hours * 3600:
            self._tell("commitment answer given up", owed.ae_title, objects=len(owed.references), reason=reason)
            self._ledger.forget(owed)
            return
        pause = min(pause_s(_FIRST_PAUSE_S, owed.attempts + 1), _LONGEST_PAUSE_S)
        log.warning("a commitment answer waits", reason=reason, pause_s=pause)
        self._ledger.put_off(owed, self._clock() + pause, attempts=owed.attempts + 1)

    def _judge(self, references: Iterable[Reference]) -> Judgement:
        committed: list[Reference] = []
        failed: dict[Reference, int] = {}
        folders: set[Path] = set()
        for reference in references:
            path = self._spool.find(reference.sop_instance_uid)
            reason = _why_not(reference, path)
            if reason or path is None:
                failed[reference] = reason
            else:
                committed.append(reference)
                folders.add(path.parent)
        for folder in folders:
            durable.sync_folder(folder)  # of an image whose sender has no answer yet
        return Judgement(tuple(committed), failed, frozenset(folder.parent.name for folder in folders))

    def _peer(self, ae_title: str) -> Peer | None:
        for one in self._node.commitment_peers:
            if one.ae_title == ae_title:
                return Peer(one.ae_title, one.host, one.port, one.tls)
        for caller in () if self._node.callers == "any" else self._node.callers:
            if caller.ae_title == ae_title and caller.port is not None:
                return Peer(caller.ae_title, caller.address, caller.port, caller.certificate is not None)
        return None

    def _tell(self, event: str, calling_ae_title: str, **details: object) -> None:
        self._spool.story.tell(event, calling_ae_title=calling_ae_title, **details)


def _why_not(reference: Reference, path: Path | None) -> int:
    """Return the Failure Reason (PS3.3 C.14.1.1) of a reference, 0 where its instance is safe here."""
    if path is None:
        return wire.NO_SUCH_OBJECT
    try:
        head = part10.read_head(path)
    except FileNotFoundError:
        return wire.NO_SUCH_OBJECT
    except Exception:  # a damaged file or disk can break the reading in any way
        log.exception("an image that is asked for cannot be read")
        return wire.PROCESSING_FAILURE
    if head.sop_instance_uid != reference.sop_instance_uid:
        return wire.PROCESSING_FAILURE
    return 0 if head.sop_class_uid == reference.sop_class_uid else wire.CLASS_CONFLICT
