"""Storage commitment on the wire (PS3.4 annex J, Storage Commitment Push Model): one association for each message.

Speaks to one peer once and tells what came of it; remembers nothing.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from pacsai.commitment.ledger import Reference
from pacsai.dicom.tls import Call
from pacsai.notices import Notice
from pacsai.story import utc_now

SOP_CLASS_UID = str(StorageCommitmentPushModel)
REQUEST_STORAGE_COMMITMENT = 1
"""The only Action Type ID of the service (PS3.4 J.3.2)."""
ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 J.3.3)."""
NO_SUCH_OBJECT, CLASS_CONFLICT, PROCESSING_FAILURE = 0x0112, 0x0119, 0x0110

REASONS = {
    PROCESSING_FAILURE: "processing failure",
    NO_SUCH_OBJECT: "no such object instance",
    0x0213: "resource limitation",
    0x0122: "referenced SOP class not supported",
    CLASS_CONFLICT: "class / instance conflict",
    0x0131: "duplicate transaction UID",
}
"""Failure Reasons (0008,1197), PS3.3 C.14.1.1."""

_STATUSES = {**REASONS, 0x0122: "SOP class not supported", 0x0124: "not authorised", 0x0211: "unrecognised operation"}
_TAKEN = (0x0000, 0x0107, 0x0116)
"""Success and the warnings of PS3.7 annex C."""
_SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
_TICK_S = 0.05


class Unreachable(Exception):  # noqa: N818  the name says what to do: try again later
    """The peer cannot be reached, or does not hold the association; the message is the reason, for a person."""


class Declined(Exception):  # noqa: N818  an answer of the peer, not a fault of this node
    """The peer answered and does not want the message; the reason, for a person."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Where a peer listens, and whether it speaks TLS there; with `certificate`, a name that its own must carry."""

    ae_title: str
    host: str
    port: int
    tls: bool = False
    certificate: str | None = None

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Requestor:
    """Who speaks: this node's AE title; and how long it waits for a connection and for each answer, in seconds.

    `tls` is how it calls peers that speak TLS.
    """

    ae_title: str
    tls: ssl.SSLContext | None = None
    connect_s: float = 10
    answer_s: float = 60

    @contextmanager
    def question(self, peer: Peer, keep: Callable[[Notice], object]) -> Iterator[Question]:
        """Give an association on which `peer` can be asked, and may answer: what it answers is given to `keep`.

        Raises
        ------
        Unreachable
            There is no association.
        Declined
            The peer does not know storage commitment.
        """
        question = Question(peer, keep)
        with self._association(peer, question.on_answer, scu_role=True) as association:
            question.association = association
            yield question

    def report(
        self, peer: Peer, transaction_uid: str, committed: Sequence[Reference], failed: Mapping[Reference, int]
    ) -> None:
        """Send N-EVENT-REPORT on an association of its own, in the SCP's role (PS3.4 J.3.3).

        Raises
        ------
        Unreachable, Declined
            The peer has not taken it.
        """
        report = Dataset()
        report.TransactionUID = transaction_uid
        if committed:
            report.ReferencedSOPSequence = Items([_item(one) for one in committed])
        if failed:
            report.FailedSOPSequence = Items([_item(one, reason) for one, reason in failed.items()])
        with self._association(peer, None, scu_role=False) as association:
            event = SOME_FAILED if failed else ALL_COMMITTED
            status, _ = association.send_n_event_report(
                report, event, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
            )
        _check(peer, status)

    @contextmanager
    def _association(
        self, peer: Peer, on_report: Callable[[evt.Event], Any] | None, *, scu_role: bool
    ) -> Iterator[Association]:
        ae = AE(ae_title=self.ae_title)
        ae.connection_timeout, ae.acse_timeout = self.connect_s, self.connect_s
        ae.dimse_timeout, ae.network_timeout = self.answer_s, self.answer_s
        ae.add_requested_context(StorageCommitmentPushModel, _SYNTAXES)
        role = build_role(StorageCommitmentPushModel, scu_role=scu_role, scp_role=not scu_role)
        handlers: list[evt.EventHandlerType] = [(evt.EVT_N_EVENT_REPORT, on_report)] if on_report else []
        if peer.tls and self.tls is None:
            raise Unreachable(f"{peer} is to be called by TLS, and node.tls is not set")
        call = Call(self.tls) if peer.tls and self.tls else None
        association = ae.associate(
            peer.host,
            peer.port,
            ae_title=peer.ae_title,
            ext_neg=[role],
            evt_handlers=handlers,
            tls_args=(cast(ssl.SSLContext, call), peer.certificate or peer.host) if call else None,
        )
        if not association.is_established:
            if association.rejected_contexts:
                raise Declined(f"{peer} does not know storage commitment")
            words = "rejects the association" if association.is_rejected else "cannot be reached"
            raise Unreachable(f"{peer} {(call.failure if call else '') or words}")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()


class Question:
    """An association on which an archive is asked to commit."""

    association: Association

    def __init__(self, peer: Peer, keep: Callable[[Notice], object]) -> None:
        self._peer = peer
        self._keep = keep
        self._answered = threading.Event()

    def put(self, transaction_uid: str, references: Sequence[Reference]) -> None:
        """Send N-ACTION (PS3.4 J.3.2).

        Raises
        ------
        Unreachable, Declined
            The archive has not taken the request.
        """
        action = Dataset()
        action.TransactionUID = transaction_uid
        action.ReferencedSOPSequence = Items([_item(one) for one in references])
        status, _ = self.association.send_n_action(
            action, REQUEST_STORAGE_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        _check(self._peer, status)

    def wait(self, wait_s: float) -> bool:
        """Wait for an answer on this association; tell whether one came."""
        end = time.monotonic() + wait_s
        while self.association.is_established and time.monotonic() < end:
            if self._answered.wait(_TICK_S):
                return True
        return self._answered.is_set()

    def on_answer(self, event: evt.Event) -> tuple[int, None]:
        """Keep an N-EVENT-REPORT of the archive; success is answered only once it is durable."""
        request: Any = event.request
        dataset = request.EventInformation
        notice = Notice(
            service="N-EVENT-REPORT",
            sop_class_uid=str(request.AffectedSOPClassUID),
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            type_id=int(request.EventTypeID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            dataset=dataset.getvalue() if dataset else b"",
            calling_ae_title=self._peer.ae_title,
            address=self._peer.host,
            at=utc_now().isoformat(),
        )
        try:
            self._keep(notice)
        except OSError:
            return PROCESSING_FAILURE, None
        self._answered.set()
        return 0x0000, None


def reason_in_words(code: int) -> str:
    """Return what a Failure Reason means."""
    return f"0x{code:04X} {REASONS.get(code, 'reason unknown to PS3.3')}"


def _item(reference: Reference, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _check(peer: Peer, status: Dataset) -> None:
    """Raise what a response other than success means."""
    if "Status" not in status:
        # Orthanc 1.10.1 closes the connection so where it does not know our AE title.
        raise Declined(f"{peer} closed the connection or did not answer; it may not know our AE title")
    code = int(status.Status)
    if code in _TAKEN:
        return
    comment = f" ({status.ErrorComment})" if status.get("ErrorComment") else ""
    raise Declined(f"{peer} answered 0x{code:04X} {_STATUSES.get(code, 'status unknown to PS3.7')}{comment}")
