"""The receiver: C-ECHO and C-STORE as an SCP, every data set kept as it was sent.

Says who may call, what may be stored, and with which status each request ends. Does not decode images, and knows
nothing of what happens to a study later: it hands arrivals to the spool.

Statuses (PS3.4 B.2.3): 0x0000 kept, now or before; 0xB000 warning, other bytes stand under this SOP Instance UID and
are kept, these are in quarantine; 0xA700 no room, try again later; 0xA900 data set and request disagree; 0xC000 the
data set cannot be understood.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast
from weakref import WeakKeyDictionary

import structlog
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    Verification,
)
from pynetdicom.transport import ThreadedAssociationServer

from pacsai import notices
from pacsai.config import Node
from pacsai.dicom import part10
from pacsai.dicom.decoders import decodable_syntaxes
from pacsai.dicom.guard import Bounds, Guard
from pacsai.dicom.identity import CANNOT_UNDERSTAND, Refusal, agreed_identity
from pacsai.spool import Arrival, Reception, Spool
from pacsai.story import Story, utc_now

log = structlog.get_logger()

SUCCESS = 0x0000
KEPT_ANOTHER = 0xB000
NO_ROOM = 0xA700
PROCESSING_FAILURE = 0x0110
CALLING_AE_TITLE_NOT_RECOGNIZED = 3
CALLED_AE_TITLE_NOT_RECOGNIZED = 7
"""Diagnostics of A-ASSOCIATE-RJ (PS3.8 table 9-21)."""
ASSOCIATE_BYTES = 1 << 20
"""No association request is longer: 128 presentation contexts with every transfer syntax take 150 kB."""


@dataclass(slots=True)
class Visit:
    """One association: its guard, what came of its requests, and the reasons for refusal already told."""

    guard: Guard
    outcomes: Counter[str] = field(default_factory=Counter)
    told: set[str] = field(default_factory=set)


class Receiver:
    """Listens for one node and keeps what arrives in its spool.

    Parameters
    ----------
    node : Node
        AE title, address, callers and limits.
    spool : Spool
        Where arrivals go.
    clock : callable
        The present moment in UTC.
    """

    def __init__(self, node: Node, spool: Spool, clock: Callable[[], datetime] = utc_now) -> None:
        self._node = node
        self._spool = spool
        self._clock = clock
        self._callers = _addresses_by_title(node)
        self._visits: WeakKeyDictionary[Association, Visit] = WeakKeyDictionary()
        self._visits_lock = threading.Lock()
        self._ae = _application_entity(node)
        self._server: ThreadedAssociationServer | None = None

    @property
    def port(self) -> int:
        """Return the port this receiver listens on, which the system chose where the settings say 0."""
        if self._server is None:
            raise RuntimeError("the receiver has not been started")
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Listen.

        Raises
        ------
        OSError
            When the address cannot be listened on.
        """
        _config.LOG_HANDLER_LEVEL = "none"
        _config.LOG_REQUEST_IDENTIFIERS = False
        _config.LOG_RESPONSE_IDENTIFIERS = False
        _config.UNRESTRICTED_STORAGE_SERVICE = False
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_REQUESTED, self._on_request),
            (evt.EVT_REJECTED, self._on_local_limit),
            (evt.EVT_DIMSE_RECV, self._on_message),
            (evt.EVT_C_STORE, self._on_store),
            (evt.EVT_N_ACTION, self._on_notice),
            (evt.EVT_N_EVENT_REPORT, self._on_notice),
            (evt.EVT_N_CREATE, self._on_notice),
            (evt.EVT_N_SET, self._on_notice),
            (evt.EVT_ABORTED, self._on_abort),
            (evt.EVT_CONN_CLOSE, self._on_end),
        ]
        address = (self._node.host, self._node.port or 0)
        try:
            self._server = self._ae.start_server(address, block=False, evt_handlers=handlers)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on {address[0]}:{address[1]}: {error.strerror}") from None

    def stop(self, drain_s: float = 15) -> None:
        """Take no new association, give the running ones `drain_s` seconds to end, and abort those left."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.shutdown()
        deadline = time.monotonic() + drain_s
        while _established(server) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._ae.shutdown()

    # Associations

    def _on_connection(self, event: Event) -> None:
        transport = event.assoc.dul.socket
        if transport is None:
            return
        limits = self._node.limits
        bounds = Bounds(
            pdu_bytes=max(ASSOCIATE_BYTES, limits.pdu_kb * 1024),
            message_bytes=int(limits.dataset_mb * 1e6) + ASSOCIATE_BYTES,
            pdu_s=limits.network_timeout_s,
        )
        with self._visits_lock:
            self._visits[event.assoc] = Visit(Guard(transport, bounds))

    def _on_request(self, event: Event) -> None:
        association = event.assoc
        calling, called = _titles(association)
        if called != self._node.ae_title:
            self._reject(association, CALLED_AE_TITLE_NOT_RECOGNIZED, f"called AE title is not {self._node.ae_title}")
        elif self._callers is not None and association.requestor.address not in self._callers.get(calling, ()):
            reason = "calling AE title and address are not among the callers in the settings"
            self._reject(association, CALLING_AE_TITLE_NOT_RECOGNIZED, reason)

    def _reject(self, association: Association, diagnostic: int, reason: str) -> None:
        """Send A-ASSOCIATE-RJ: permanent, by the service user (PS3.8 9.3.4)."""
        association.acse.send_reject(1, 1, diagnostic)
        self._tell_rejection(association, reason)
        association.kill()

    def _on_local_limit(self, event: Event) -> None:
        """Tell of the one rejection that pynetdicom decides by itself here."""
        self._tell_rejection(event.assoc, f"there are {self._node.limits.associations} associations already")

    def _tell_rejection(self, association: Association, reason: str) -> None:
        calling, called = _titles(association)
        details = {
            "calling_ae_title": calling,
            "called_ae_title": called,
            "address": association.requestor.address,
            "reason": reason,
        }
        log.warning("association rejected", **details)
        self._spool.story.tell("association rejected", **details)

    def _on_message(self, event: Event) -> None:
        self._visit(event.assoc).guard.message_ended()

    def _on_abort(self, event: Event) -> None:
        self._visit(event.assoc).outcomes["aborted"] += 1

    def _on_end(self, event: Event) -> None:
        visit = self._visit(event.assoc)
        if visit.outcomes:
            log.info("association ended", address=event.assoc.requestor.address, **visit.outcomes)

    def _visit(self, association: Association) -> Visit:
        with self._visits_lock:
            return self._visits[association]

    # Storing

    def _on_store(self, event: Event) -> Dataset | int:
        """Answer a C-STORE request. Never raises: pynetdicom would answer with a status of its own."""
        visit = self._visit(event.assoc)
        try:
            reception = self._keep(event)
        except Refusal as refusal:
            visit.outcomes["refused"] += 1
            self._tell_refusal(visit, event, refusal)
            return _status(refusal.status, refusal.reason)
        visit.outcomes[reception] += 1
        if reception is Reception.CONFLICT:
            return _status(KEPT_ANOTHER, "other bytes are kept under this SOP Instance UID")
        return SUCCESS

    def _keep(self, event: Event) -> Reception:
        request = cast(C_STORE, event.request)
        syntax = str(event.context.transfer_syntax)
        if request.DataSet is None:
            raise Refusal(CANNOT_UNDERSTAND, "the request has no data set")
        said = agreed_identity(
            request.DataSet, syntax, str(request.AffectedSOPClassUID), str(request.AffectedSOPInstanceUID)
        )
        with request.DataSet.getbuffer() as dataset:
            if self._spool.free_bytes() < self._node.limits.free_gb * 1e9 + len(dataset):
                raise Refusal(NO_ROOM, "the data disk is nearly full", said.study_instance_uid)
            arrival = Arrival(
                study_instance_uid=said.study_instance_uid,
                sop_class_uid=said.sop_class_uid,
                sop_instance_uid=said.sop_instance_uid,
                transfer_syntax_uid=syntax,
                dataset=dataset,
            )
            return self._spooled(arrival)

    def _spooled(self, arrival: Arrival) -> Reception:
        try:
            return self._spool.receive(arrival, self._clock())
        except Exception as error:  # a full or failing disk or index: the sender should keep it and try again
            reason = getattr(error, "strerror", None) or type(error).__name__
            log.error("an instance could not be kept", reason=reason)
            raise Refusal(NO_ROOM, f"cannot be kept now: {reason}", arrival.study_instance_uid) from error

    # Notices

    def _on_notice(self, event: Event) -> Any:
        """Keep what a peer tells besides images, and only then answer success."""
        request = cast(Any, event.request)
        try:
            notices.keep(self._node.data / "notices", _notice(event, self._clock()))
        except OSError as error:
            log.error("a notice could not be kept", reason=error.strerror)
            return PROCESSING_FAILURE if isinstance(request, N_EVENT_REPORT) else (PROCESSING_FAILURE, None)
        return (SUCCESS, None)

    def _tell_refusal(self, visit: Visit, event: Event, refusal: Refusal) -> None:
        """Tell of a refusal where a person will look for it; each reason once for an association."""
        if refusal.reason in visit.told:
            return
        visit.told.add(refusal.reason)
        details = {"reason": refusal.reason, "status": f"0x{refusal.status:04X}"}
        log.warning("instance refused", **details)
        self._story(refusal.study_instance_uid).tell(
            "refused",
            **details,
            sop_instance_uid=str(cast(C_STORE, event.request).AffectedSOPInstanceUID),
            study_instance_uid=refusal.study_instance_uid,
            calling_ae_title=event.assoc.requestor.ae_title,
        )

    def _story(self, study_instance_uid: str) -> Story:
        """Return the story of the study if anything of it is here, else the node's own."""
        if self._spool.instances_folder(study_instance_uid).is_dir():
            return self._spool.story_of(study_instance_uid)
        return self._spool.story


def _notice(event: Event, now: datetime) -> notices.Notice:
    request = cast(Any, event.request)
    name = type(request).__name__.replace("_", "-", 1).replace("_", "-")
    content = {
        "N-ACTION": "ActionInformation",
        "N-EVENT-REPORT": "EventInformation",
        "N-CREATE": "AttributeList",
        "N-SET": "ModificationList",
    }[name]
    dataset = getattr(request, content)
    return notices.Notice(
        service=cast(notices.Service, name),
        sop_class_uid=str(getattr(request, "AffectedSOPClassUID", None) or request.RequestedSOPClassUID),
        sop_instance_uid=str(getattr(request, "AffectedSOPInstanceUID", None) or request.RequestedSOPInstanceUID),
        type_id=getattr(request, "ActionTypeID", None) or getattr(request, "EventTypeID", None) or 0,
        transfer_syntax_uid=str(event.context.transfer_syntax),
        dataset=dataset.getvalue() if dataset else b"",
        calling_ae_title=event.assoc.requestor.ae_title,
        address=event.assoc.requestor.address or "",
        at=now.isoformat(),
    )


def _established(server: ThreadedAssociationServer) -> list[Association]:
    """Return the associations in use; a connection that asked for none yet is nobody's loss."""
    return [association for association in server.active_associations if association.is_established]


def _application_entity(node: Node) -> AE:
    entity = AE(node.ae_title)
    entity.implementation_class_uid = UID(part10.IMPLEMENTATION_CLASS_UID)
    entity.implementation_version_name = part10.IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = node.limits.pdu_kb * 1024
    entity.maximum_associations = node.limits.associations
    entity.acse_timeout = node.limits.network_timeout_s
    entity.dimse_timeout = node.limits.network_timeout_s
    entity.network_timeout = node.limits.network_timeout_s
    entity.connection_timeout = node.limits.network_timeout_s
    entity.add_supported_context(Verification)
    for abstract_syntax in (InstanceAvailabilityNotification, ModalityPerformedProcedureStep):
        entity.add_supported_context(abstract_syntax)
    entity.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    syntaxes = list(decodable_syntaxes())
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax), syntaxes)
    return entity


def _addresses_by_title(node: Node) -> dict[str, set[str]] | None:
    """Return the addresses each calling AE title may come from, None where anybody may call."""
    if node.callers == "any":
        return None
    allowed: dict[str, set[str]] = {}
    for caller in node.callers:
        allowed.setdefault(caller.ae_title, set()).update(_resolved(caller.address))
    return allowed


def _resolved(address: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(address, None)}
    except OSError as error:
        log.error("a caller's address is unknown, it cannot call", address=address, reason=error.strerror)
        return set()


def _titles(association: Association) -> tuple[str, str]:
    """Return calling and called AE title as the peer gave them."""
    request = cast(A_ASSOCIATE, association.requestor.primitive)
    return request.calling_ae_title.strip(), request.called_ae_title.strip()


def _status(status: int, comment: str) -> Dataset:
    """Return a status with its Error Comment (0000,0902), which holds 64 characters."""
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment[:64]
    return answer
