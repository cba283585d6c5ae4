"""An archive that takes C-STORE (PS3.4 annex B), over one association per call."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

from pacsai.archive.base import ArchiveUnavailable, Sent
from pacsai.dicom.tls import Call

# Send a file's bytes as they are; without it pynetdicom decodes the data set and writes it anew.
_config.STORE_SEND_CHUNKED_DATASET = True

DUPLICATE_SOP_INSTANCE = 0x0111


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    @property
    def context(self) -> tuple[str, str]:
        return self.sop_class_uid, self.transfer_syntax_uid


@dataclass(frozen=True, slots=True)
class CStoreArchive:
    """An archive by its AE title and address; `calling_ae_title` is who we say we are.

    With `tls` it is called over TLS, and its certificate must carry `certificate`, or its host where that is None.

    The time-outs are seconds: to connect, for the association to be answered, and for each C-STORE response.
    """

    calling_ae_title: str
    ae_title: str
    host: str
    port: int
    tls: ssl.SSLContext | None = None
    certificate: str | None = None
    connect_s: float = 10
    associate_s: float = 30
    response_s: float = 120

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Send the files, as `Archive.send` says. Only what they need is proposed, in the syntax they are kept in."""
        files = [_read(path) for path in paths]
        if not files:
            return ()
        with self.association({file.context for file in files}) as association:
            accepted = {(item.abstract_syntax, item.transfer_syntax[0]) for item in association.accepted_contexts}
            return tuple(
                self._store(association, file) if file.context in accepted else self._not_negotiated(file)
                for file in files
            )

    @contextmanager
    def association(self, contexts: set[tuple[str, str]]) -> Iterator[Association]:
        """Associate for these SOP classes, each in one transfer syntax, and release when the block ends.

        An association without any accepted context is given closed; raises ArchiveUnavailable where there is none.
        """
        call = Call(self.tls) if self.tls else None
        association = self._associate(contexts, call)
        if not association.is_established and not association.rejected_contexts:
            _close(association)
            raise ArchiveUnavailable(f"{self.name} {_why_not(association, call)}")
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _associate(self, contexts: set[tuple[str, str]], call: Call | None) -> Association:
        ae = AE(ae_title=self.calling_ae_title)
        ae.connection_timeout = self.connect_s
        ae.acse_timeout = self.associate_s
        ae.dimse_timeout = self.response_s
        ae.network_timeout = self.response_s
        ae.maximum_pdu_size = 131072
        return ae.associate(
            self.host,
            self.port,
            [build_context(sop_class, syntax) for sop_class, syntax in sorted(contexts)],
            ae_title=self.ae_title,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
            tls_args=(cast(ssl.SSLContext, call), self.certificate or self.host) if call else None,
        )

    def _store(self, association: Association, file: _File) -> Sent:
        if not association.is_established:
            raise ArchiveUnavailable(f"{self.name} ended the association before all objects were sent")
        status = association.send_c_store(file.path)
        if "Status" not in status:
            raise ArchiveUnavailable(f"{self.name} did not answer a C-STORE request, or closed the connection")
        return self._judge(file, int(status.Status), str(status.get("ErrorComment", "")))

    def _judge(self, file: _File, status: int, comment: str) -> Sent:
        """Turn a C-STORE status (PS3.4 B.2.3) into an answer; out of resources (A7xx) means later."""
        words = _words(status, comment)
        if status >> 8 == 0xA7:
            raise ArchiveUnavailable(f"{self.name} answered {words}")
        if status == 0:
            return Sent(file.sop_instance_uid, accepted=True)
        taken = code_to_category(status) == "Warning" or status == DUPLICATE_SOP_INSTANCE
        return Sent(file.sop_instance_uid, taken, words)

    def _not_negotiated(self, file: _File) -> Sent:
        sop_class, syntax = UID(file.sop_class_uid).name, UID(file.transfer_syntax_uid).name
        return Sent(file.sop_instance_uid, accepted=False, detail=f"{self.name} does not take {sop_class} in {syntax}")

    @property
    def name(self) -> str:
        """Return what the archive is called in messages."""
        return f"the archive {self.ae_title} at {self.host}:{self.port}"


def _read(path: Path) -> _File:
    meta = read_file_meta_info(path)
    return _File(path, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)


def _send_at_once(event: evt.Event) -> None:
    """Turn Nagle's algorithm off: with it each request waits some 40 ms for the answer to the one before."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close(association: Association) -> None:
    """Close the socket of an association that failed: pynetdicom forgets it where the peer hung up."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.close()


def _why_not(association: Association, call: Call | None) -> str:
    answer = association.acceptor.primitive
    if call and call.failure:
        return call.failure
    if call and call.shaken and answer is None:
        return "hung up after the TLS handshake; does it know the authority of this node's certificate?"
    if association.is_rejected and answer is not None:
        return f"rejected the association of {association.requestor.ae_title}: {answer.reason_str.lower()}"
    return "cannot be reached" if answer is None else "aborted the association"


def _words(status: int, comment: str) -> str:
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", "status unknown to PS3.4"))[1]
    return f"0x{status:04X} {meaning}" + (f" ({comment})" if comment else "")
