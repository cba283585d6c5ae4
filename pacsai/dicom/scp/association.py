"""One association after its request: messages taken apart, requests served, answers sent, by one thread.

Images go a short way: each fragment is written from the buffer it was read into. Everything else is small, and waits in
memory for its last fragment.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import structlog

from pacsai import notices
from pacsai.dicom.scp import commands, wire
from pacsai.dicom.scp.commands import PROCESSING_FAILURE, SUCCESS, UNRECOGNIZED_OPERATION, Command
from pacsai.dicom.scp.negotiation import STORAGE, Context
from pacsai.dicom.scp.storing import Answer, Store, Visit
from pacsai.dicom.scp.wire import PduReader, Violation, Wire
from pacsai.story import utc_now

log = structlog.get_logger()

COMMAND_BYTES = 1 << 16
NOTICE_BYTES = 1 << 24
"""The longest command set, and data set of a request other than C-STORE, that are taken."""

NOTICES: dict[int, notices.Service] = {
    commands.N_EVENT_REPORT_RQ: "N-EVENT-REPORT",
    commands.N_SET_RQ: "N-SET",
    commands.N_ACTION_RQ: "N-ACTION",
    commands.N_CREATE_RQ: "N-CREATE",
}

_PDV = struct.Struct(">LBB")
_COMMAND, _LAST = 0x01, 0x02
"""Bits of a message control header (PS3.8 E.2)."""


class Sink(Protocol):
    """Takes the data set of one request."""

    def write(self, view: memoryview) -> None:
        """Take the next fragment."""

    def end(self) -> Answer:
        """Return the answer to the request, after the last fragment."""

    def answered(self) -> None:
        """Do what may be done while the peer makes up its next request."""

    def close(self) -> None:
        """Let go, where the association ends in between."""


@dataclass(frozen=True, slots=True)
class Services:
    """What requests are served with: images are stored, notices kept."""

    store: Store
    keep_notice: Callable[[notices.Notice], object]


class Conversation:
    """The messages of one association.

    Parameters
    ----------
    contexts : dict
        The accepted presentation contexts by their ids.
    """

    def __init__(
        self, line: Wire, reader: PduReader, contexts: dict[int, Context], services: Services, visit: Visit
    ) -> None:
        self._line = line
        self._reader = reader
        self._contexts = contexts
        self._services = services
        self._visit = visit
        self._command = bytearray()
        self._request: Command | None = None
        self._context_id = 0
        self._sink: Sink | None = None

    def hold(self) -> None:
        """Serve until the peer releases or aborts.

        Raises
        ------
        Violation
            The peer does what the protocol or a limit forbids.
        Gone, TimeoutError
            The peer left without a word, or says nothing.
        """
        try:
            while True:
                kind, length = self._reader.head()
                if kind == wire.P_DATA:
                    self._take(length)
                elif kind == wire.RELEASE_RQ:
                    self._reader.whole(4)  # closing on unread bytes would take the reply back
                    self._line.send(wire.RELEASE_REPLY)
                    return
                elif kind == wire.ABORT:
                    self._visit.outcomes["aborted"] += 1
                    return
                else:
                    known = wire.ASSOCIATE_RQ <= kind <= wire.ABORT
                    reason = wire.UNEXPECTED_PDU if known else wire.UNRECOGNIZED_PDU
                    raise Violation(f"a PDU of type {kind} has no place in an association", reason)
        finally:
            if self._sink is not None:
                self._sink.close()

    def _take(self, left: int) -> None:
        """Take the presentation data values of one P-DATA-TF PDU (PS3.8 9.3.5), as they come."""
        while left:
            if left < _PDV.size:
                raise Violation("a presentation data value is cut off", wire.INVALID_PARAMETER)
            length, context_id, control = _PDV.unpack(self._reader.whole(_PDV.size))
            left -= 4 + length
            if length < 2 or left < 0:
                raise Violation("a presentation data value is longer than its PDU", wire.INVALID_PARAMETER)
            if control & _COMMAND:
                self._take_command(length - 2, context_id, last=bool(control & _LAST))
            else:
                self._take_data(length - 2, context_id, last=bool(control & _LAST))

    def _take_command(self, length: int, context_id: int, *, last: bool) -> None:
        if self._request is not None or context_id not in self._contexts:
            raise Violation("a command comes where none is due, or in no accepted context", wire.UNEXPECTED_PDU)
        if len(self._command) + length > COMMAND_BYTES:
            raise Violation("a command set is longer than this node takes")
        self._command += self._reader.whole(length)
        if not last:
            return
        try:
            request = commands.decoded(self._command)
        except ValueError as error:
            raise Violation(str(error), wire.INVALID_PARAMETER) from None
        self._command.clear()
        self._context_id = context_id
        self._begin(request)

    def _begin(self, request: Command) -> None:
        if request.field == commands.C_CANCEL_RQ:
            return  # nothing here takes long enough to be cancelled
        if request.field & 0x8000:
            raise Violation("a response comes where none was asked for", wire.UNEXPECTED_PDU)
        sink = self._sink_for(request)
        if not request.has_data_set:
            self._answer(request, sink)
            return
        self._request, self._sink = request, sink

    def _sink_for(self, request: Command) -> Sink:
        context = self._contexts[self._context_id]
        if request.field == commands.C_ECHO_RQ:
            return Ignoring(Answer(SUCCESS))
        if request.field == commands.C_STORE_RQ and context.abstract_syntax in STORAGE:
            return self._services.store.begin(self._visit, request, context.transfer_syntax)
        service = NOTICES.get(request.field)
        if service and context.abstract_syntax not in STORAGE:
            return NoticeSink(service, request, context, self._visit, self._services.keep_notice)
        return Ignoring(Answer(UNRECOGNIZED_OPERATION, "this is not served here"))

    def _take_data(self, length: int, context_id: int, *, last: bool) -> None:
        if self._sink is None or self._request is None or context_id != self._context_id:
            raise Violation("a data set comes where none is due", wire.UNEXPECTED_PDU)
        while length:
            piece = self._reader.some(length)
            self._sink.write(piece)
            length -= len(piece)
        if last:
            request, sink = self._request, self._sink
            self._request = self._sink = None
            self._answer(request, sink)

    def _answer(self, request: Command, sink: Sink) -> None:
        answer = sink.end()
        encoded = commands.response(request, answer.status, answer.comment)
        value = _PDV.pack(len(encoded) + 2, self._context_id, _COMMAND | _LAST) + encoded
        self._line.send(struct.pack(">BxL", wire.P_DATA, len(value)) + value)
        sink.answered()


class Ignoring:
    """Takes a data set that nobody wants, and has the answer already."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def write(self, view: memoryview) -> None:
        """See `Sink`."""

    def end(self) -> Answer:
        """See `Sink`."""
        return self._answer

    def answered(self) -> None:
        """See `Sink`."""

    def close(self) -> None:
        """See `Sink`."""


class NoticeSink:
    """Takes the data set of a DIMSE-N request, and keeps it as a notice before success is answered."""

    def __init__(
        self,
        service: notices.Service,
        request: Command,
        context: Context,
        visit: Visit,
        keep: Callable[[notices.Notice], object],
    ) -> None:
        self._service = service
        self._request = request
        self._context = context
        self._visit = visit
        self._keep = keep
        self._dataset = bytearray()

    def write(self, view: memoryview) -> None:
        """See `Sink`; raises Violation beyond what is taken."""
        self._dataset += view
        if len(self._dataset) > NOTICE_BYTES:
            raise Violation("a data set besides images is longer than this node takes")

    def end(self) -> Answer:
        """See `Sink`."""
        notice = notices.Notice(
            service=self._service,
            sop_class_uid=self._request.sop_class_uid or self._context.abstract_syntax,
            sop_instance_uid=self._request.sop_instance_uid,
            type_id=self._request.type_id,
            transfer_syntax_uid=self._context.transfer_syntax,
            dataset=bytes(self._dataset),
            calling_ae_title=self._visit.calling_ae_title,
            address=self._visit.address,
            at=utc_now().isoformat(),
        )
        try:
            self._keep(notice)
        except OSError as error:
            log.error("a notice could not be kept", reason=error.strerror)
            return Answer(PROCESSING_FAILURE, "cannot be kept now")
        self._visit.outcomes[cast(str, self._service)] += 1
        return Answer(SUCCESS)

    def answered(self) -> None:
        """See `Sink`."""

    def close(self) -> None:
        """See `Sink`."""
