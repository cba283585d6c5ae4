"""Study, Series, Instance: what the headers say, and nothing of pixels.

Frozen values over pydicom headers (pixel data left on disk). Reading pixels and judging geometry is volume.py's.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset

NO_SOURCE_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
    "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.481.2",  # RT Dose
)
"""SOP classes that have rows and columns, and are results on other images."""


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One SOP instance on disk.

    Attributes
    ----------
    path : Path
        The file, as it arrived.
    header : Dataset
        The data set up to the pixel data, with `file_meta`; read it, never change it.
    """

    sop_instance_uid: str
    sop_class_uid: str
    path: Path
    header: Dataset

    @property
    def transfer_syntax_uid(self) -> str:
        """Return the transfer syntax of the file meta information."""
        return str(self.header.file_meta.TransferSyntaxUID)


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Instances of one series; as many as arrived, in the order (InstanceNumber, SOP Instance UID)."""

    series_instance_uid: str
    modality: str
    instances: tuple[Instance, ...]

    @property
    def header(self) -> Dataset:
        """Return the first instance's header, for what a series has in common."""
        return self.instances[0].header

    @property
    def is_image(self) -> bool:
        """Return whether these are images a reader looks at, not reports, presentations or results on other images."""
        return bool(self.header.get("Rows")) and self.instances[0].sop_class_uid not in NO_SOURCE_IMAGES


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """One study: what arrived for one Study Instance UID.

    `issues` are sentences about the study as a whole that a reader should know: files that could not be read,
    patients that differ, an instance left out.
    """

    study_instance_uid: str
    patient_id: str
    accession_number: str
    series: tuple[Series, ...]
    issues: tuple[str, ...] = ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Return the instances of all series."""
        return tuple(instance for series in self.series for instance in series.instances)

    @property
    def several_patients(self) -> bool:
        """Return whether the instances name different patients, by ID, name or birth date; what is empty names none."""
        headers = [instance.header for instance in self.instances]
        return any(_differ(header.get(name) for header in headers) for name in _IDENTITY)

    def with_issue(self, sentence: str) -> Study:
        """Return the study with one more issue."""
        return replace(self, issues=(*self.issues, sentence))


_IDENTITY = ("PatientID", "PatientName", "PatientBirthDate")


def _differ(values: Iterable[object]) -> bool:
    return len({plain(value) for value in values} - {""}) > 1


def plain(value: object) -> str:
    """Return an identifier without what systems change at will: case, blanks, empty name components, other scripts."""
    alphabetic = unicodedata.normalize("NFKC", str(value or "")).partition("=")[0]
    return " ".join(alphabetic.replace("^", " ").casefold().split())
