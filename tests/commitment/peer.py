"""A real peer of storage commitment on 127.0.0.1, for what Orthanc cannot show: it answers when and what tests want."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, build_role, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from pacsai.commitment.ledger import Reference


@dataclass
class Asked:
    """One N-ACTION that came."""

    transaction_uid: str
    uids: tuple[str, ...]
    association: Association


@dataclass
class CommitmentPeer:
    """An archive and, with `report` and `request`, the other side of both directions."""

    ae_title: str
    port: int = 0
    status: int = 0x0000
    answers_at_once: bool = False
    refuses: Mapping[str, int] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    stored: list[str] = field(default_factory=list)
    reports: list[Dataset] = field(default_factory=list)
    events: list[int] = field(default_factory=list)

    def wait(self, what: Sequence[object], count: int, wait_s: float = 10) -> None:
        """Wait until `what`, one of the lists, holds `count` things."""
        end = time.monotonic() + wait_s
        while len(what) < count:
            assert time.monotonic() < end, f"{len(what)} instead of {count} after {wait_s:g} s"
            time.sleep(0.05)

    def report(self, port: int, asked: Asked, *, ae_title: str = "") -> int:
        """Answer on an association of its own to 127.0.0.1:`port`, in the SCP's role; return the status."""
        role = build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        association = self._association(port, ae_title, [role])
        status, _ = association.send_n_event_report(*self._answer(asked))
        association.release()
        return int(status.Status)

    def request(self, port: int, references: Collection[Reference], *, ae_title: str = "", action: int = 1) -> str:
        """Ask 127.0.0.1:`port` to commit and return the transaction's UID."""
        said = Dataset()
        said.TransactionUID = generate_uid()
        said.ReferencedSOPSequence = [_item(one.sop_instance_uid, one.sop_class_uid) for one in references]
        association = self._association(port, ae_title, [])
        status, _ = association.send_n_action(
            said, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        association.release()
        assert status.Status == 0x0000
        return str(said.TransactionUID)

    def _association(self, port: int, ae_title: str, roles: list[Any]) -> Association:
        ae = AE(ae_title=ae_title or self.ae_title)
        ae.add_requested_context(StorageCommitmentPushModel)
        association = ae.associate("127.0.0.1", port, ae_title="PACSAI", ext_neg=roles)
        assert association.is_established
        return association

    def _answer(self, asked: Asked) -> tuple[Dataset, int, str, str]:
        report = Dataset()
        report.TransactionUID = asked.transaction_uid
        failed = [uid for uid in asked.uids if uid in self.refuses]
        committed = [uid for uid in asked.uids if uid not in self.refuses]
        if committed:
            report.ReferencedSOPSequence = [_item(uid) for uid in committed]
        if failed:
            report.FailedSOPSequence = [_item(uid, reason=self.refuses[uid]) for uid in failed]
        event = 2 if failed else 1
        return report, event, StorageCommitmentPushModel, StorageCommitmentPushModelInstance

    def on_action(self, event: evt.Event) -> tuple[int, None]:
        said = event.action_information
        uids = tuple(str(item.ReferencedSOPInstanceUID) for item in said.ReferencedSOPSequence)
        self.asked.append(Asked(str(said.TransactionUID), uids, event.assoc))
        if self.answers_at_once:
            threading.Thread(target=self._answer_there, args=(self.asked[-1],), daemon=True).start()
        return self.status, None

    def _answer_there(self, asked: Asked) -> None:
        time.sleep(0.1)  # after the N-ACTION response
        status, _ = asked.association.send_n_event_report(*self._answer(asked))
        assert status.Status == 0x0000

    def on_store(self, event: evt.Event) -> int:
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def on_report(self, event: evt.Event) -> tuple[int, None]:
        self.events.append(int(cast(Any, event.request).EventTypeID))
        self.reports.append(event.event_information)
        return 0x0000, None


@contextmanager
def commitment_peer(
    ae_title: str = "ARCHIVE", *, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[CommitmentPeer]:
    """Run the peer until the block ends, over TLS where a context is given."""
    peer = CommitmentPeer(ae_title)
    ae = AE(ae_title=ae_title)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, ExplicitVRLittleEndian)
    ae.add_supported_context(StorageCommitmentPushModel, scu_role=True, scp_role=True)
    handlers: list[Any] = [
        (evt.EVT_C_STORE, peer.on_store),
        (evt.EVT_N_ACTION, peer.on_action),
        (evt.EVT_N_EVENT_REPORT, peer.on_report),
    ]
    server = ae.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers, ssl_context=tls)
    peer.port = int(server.server_address[1])
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()


def _item(uid: str, sop_class_uid: str = "1.2.840.10008.5.1.4.1.1.2", *, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = uid
    if reason is not None:
        item.FailureReason = reason
    return item
