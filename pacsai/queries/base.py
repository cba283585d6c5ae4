"""What the node asks of an archive that answers queries, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_RESULT_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture, and its multi-frame kin
    "1.2.840.10008.5.1.4.1.1.11",  # presentation states
    "1.2.840.10008.5.1.4.1.1.66",  # raw data, registrations, segmentations
    "1.2.840.10008.5.1.4.1.1.88",  # structured reports and key objects
)
_RESULT_MODALITIES = frozenset({"SEG", "SR", "PR", "KO"})

STUDY_ATTRIBUTES = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "ModalitiesInStudy",
)
"""What is asked of a study besides its UID."""


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study that the archive says it holds; `attributes` is what it tells of STUDY_ATTRIBUTES, as text.

    Several values stand with a backslash between them.
    """

    study_instance_uid: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ListedSeries:
    """A series that the archive says it holds; what it does not tell is ''."""

    series_instance_uid: str
    modality: str = ""
    description: str = ""


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
    """An archive that tells what it holds of a study, and gives it. Safe for several threads."""

    def studies(self, keys: Mapping[str, str], wait_s: float) -> tuple[ListedStudy, ...]:
        """Return the studies that match `keys` (DICOM keywords; a range of dates as 20260101-20260131).

        The archive may match loosely, and `*` and `?` in a key match anything: the caller judges what comes.

        Raises
        ------
        ArchiveUnavailable
            It does not answer.
        """

    def series(self, study_instance_uid: str, wait_s: float) -> tuple[ListedSeries, ...]:
        """Return the series of a study, within `wait_s`. Raises ArchiveUnavailable."""

    def instances(self, study_instance_uid: str, series: Sequence[ListedSeries], wait_s: float) -> tuple[Listed, ...]:
        """Return what the archive holds of these series, whatever it is, within `wait_s`. Raises ArchiveUnavailable."""

    def listed(self, study_instance_uid: str, wait_s: float) -> tuple[Listed, ...]:
        """Return what the archive holds of the study, within `wait_s`; none of a study that it does not know.

        Results (`Listed.is_result`) are left out.

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
