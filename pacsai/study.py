"""Study, Series, Instance: what the headers say, and nothing of pixels.

Frozen values over pydicom headers (pixel data left on disk). Reading pixels and judging geometry is volume.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset


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
