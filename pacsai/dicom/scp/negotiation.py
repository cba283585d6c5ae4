"""What this node agrees to when a peer asks for an association: presentation contexts, roles, the longest PDU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    StorageCommitmentPushModel,
    Verification,
)

from pacsai.dicom import part10

STORAGE = frozenset(str(context.abstract_syntax) for context in AllStoragePresentationContexts)
"""The SOP classes that are stored here."""

_TITLES = slice(10, 42)
"""Where an A-ASSOCIATE-RQ holds the called and the calling AE title, 16 characters each (PS3.8 table 9-11)."""


@dataclass(frozen=True, slots=True)
class Context:
    """An accepted presentation context."""

    abstract_syntax: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """An A-ASSOCIATE-AC PDU, and the contexts it accepts by their ids."""

    answer: bytes
    contexts: dict[int, Context]


def titles(request: bytes) -> tuple[str, str]:
    """Return calling and called AE title of an encoded A-ASSOCIATE-RQ, whatever else it holds."""
    both = request[_TITLES].decode("ascii", errors="replace")
    return both[16:].strip(" \x00"), both[:16].strip(" \x00")


class Negotiator:
    """Answers association requests for one node.

    Parameters
    ----------
    pdu_bytes : int
        The longest PDU that peers may send.
    transfer_syntaxes : iterable of str
        Those in which images are taken, the preferred one first.
    """

    def __init__(self, pdu_bytes: int, transfer_syntaxes: Iterable[str]) -> None:
        self._pdu_bytes = pdu_bytes
        self._supported = _supported([UID(syntax) for syntax in transfer_syntaxes])

    def agree(self, request: bytes) -> Agreement:
        """Return the answer to an encoded A-ASSOCIATE-RQ; raises ValueError where it cannot be understood."""
        try:
            pdu = A_ASSOCIATE_RQ()
            pdu.decode(request)
            asked = pdu.to_primitive()
            contexts, roles = self._negotiated(asked)
            return Agreement(
                answer=self._accepted(asked, contexts, roles),
                contexts={cast(int, one.context_id): _context(one) for one in contexts if one.result == 0},
            )
        except Exception as error:  # whatever a parser makes of hostile bytes
            raise ValueError("the association request cannot be understood") from error

    def _negotiated(
        self, asked: A_ASSOCIATE
    ) -> tuple[list[PresentationContext], list[SCP_SCU_RoleSelectionNegotiation]]:
        roles = {
            cast(UID, item.sop_class_uid): (item.scu_role, item.scp_role)
            for item in asked.user_information
            if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
        }
        return negotiate_as_acceptor(asked.presentation_context_definition_list, self._supported, roles)

    def _accepted(
        self,
        asked: A_ASSOCIATE,
        contexts: list[PresentationContext],
        roles: list[SCP_SCU_RoleSelectionNegotiation],
    ) -> bytes:
        longest, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
        longest.maximum_length_received = self._pdu_bytes
        implementation.implementation_class_uid = UID(part10.IMPLEMENTATION_CLASS_UID)
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = part10.IMPLEMENTATION_VERSION_NAME
        primitive = A_ASSOCIATE()
        primitive.application_context_name = UID("1.2.840.10008.3.1.1.1")
        primitive.calling_ae_title, primitive.called_ae_title = asked.calling_ae_title, asked.called_ae_title
        primitive.result, primitive.result_source = 0, 1
        primitive.presentation_context_definition_results_list = contexts
        primitive.user_information = [longest, implementation, version, *roles]
        pdu = A_ASSOCIATE_AC()
        pdu.from_primitive(primitive)
        return pdu.encode()


def _supported(transfer_syntaxes: list[UID]) -> list[PresentationContext]:
    contexts = [build_context(uid, [*transfer_syntaxes]) for uid in sorted(STORAGE)]
    others = (Verification, InstanceAvailabilityNotification, ModalityPerformedProcedureStep)
    contexts.extend(build_context(uid) for uid in others)
    commitment = build_context(StorageCommitmentPushModel, [*build_context(Verification).transfer_syntax])
    commitment.scu_role = commitment.scp_role = True
    return [*contexts, commitment]


def _context(accepted: PresentationContext) -> Context:
    syntax = accepted.transfer_syntax[0] if accepted.transfer_syntax else ImplicitVRLittleEndian
    return Context(str(accepted.abstract_syntax), str(syntax))
