"""What the node asks of an archive that answers queries, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pacsai.archive import open_archive

if TYPE_CHECKING:
    from pacsai.config import Site
    from pacsai.spool import Spool

_RESULT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture, and its multi-frame kin
    "1.2.840.10008.5.1.4.1.1.11",  # presentation states
    "1.2.840.10008.5.1.4.1.1.66",  # raw data, registrations, segmentations
    "1.2.840.10008.5.1.4.1.1.88",  # structured reports and key objects
)
_RESULT_MODALITIES = frozenset({"SEG", "SR", "PR", "KO"})


@dataclass(frozen=True, slots=True)
class Listed:
    """An instance that the archive says it holds; class and modality are '' where it does not tell them."""

    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    modality: str = ""

    @property
    def is_result(self) -> bool:
        """Tell whether it is of a kind that this and other nodes make of images: such are never missing."""
        branches = tuple(f"{one}." for one in _RESULT_CLASSES)
        of_class = self.sop_class_uid in _RESULT_CLASSES or self.sop_class_uid.startswith(branches)
        return of_class or self.modality in _RESULT_MODALITIES


class Holdings(Protocol):
    """An archive that tells what it holds of a study, and gives it."""

    def listed(self, study_instance_uid: str, wait_s: float) -> tuple[Listed, ...]:
        """Return what the archive holds of the study, within `wait_s`; none of a study that it does not know.

        Raises
        ------
        ArchiveUnavailable
            It does not answer.
        """

    def fetch(self, study_instance_uid: str, wanted: Sequence[Listed], wait_s: float) -> bool:
        """Let the wanted instances come into the spool, and return whether the archive says it has sent them all.

        It may do so before they are here.

        Raises
        ------
        ArchiveUnavailable
            It does not answer, or was not done within `wait_s`.
        """

    def close(self) -> None:
        """Break off what goes on."""


def open_holdings(site: Site, spool: Spool) -> Holdings:
    """Return the site's archive as one that answers queries; the site's settings see to its kind."""
    from pacsai.archive.dicomweb import StowArchive
    from pacsai.archive.dimse import CStoreArchive

    archive = open_archive(site)
    if isinstance(archive, CStoreArchive):
        from pacsai.completion.dimse import QueryRetrieve

        return QueryRetrieve(archive)
    assert isinstance(archive, StowArchive)  # noqa: S101 - the site's settings see to it
    from pacsai.completion.dicomweb import QidoWado

    return QidoWado(archive, site.node.limits, spool)
