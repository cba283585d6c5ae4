"""Rejection: a Key Object Selection (PS3.16 TID 2010) by which this node takes objects of its own out of use.

Its title is one of `terms.REJECTIONS`, which an archive that keeps to IHE Imaging Object Change Management obeys. It
names results of this node alone, never an image. Knows nothing of why.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
from pydicom.dataset import Dataset

from pacsai import MANUFACTURER, MODEL_NAME, RESEARCH_USE_ONLY, __version__, durable
from pacsai.objects.common import FIRST_SERIES_NUMBER, NODE, Author, coded, device_observer, evidence, finish
from pacsai.objects.conformance import judge
from pacsai.objects.source import ResultObject, Source
from pacsai.objects.uids import derived_uid
from pacsai.objects.write import Written, encoded
from pacsai.terms import Code

KIND = "REJECTION"
_IMAGES = ("SEG", "SC")
"""Kinds of results that a content item of type IMAGE refers to; the others are COMPOSITE (PS3.3 C.17.3)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One object of this node that is rejected: its `kind` (SEG, SR, ...) and its UIDs."""

    kind: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def build(
    title: Code, rejected: Sequence[Rejected], source: Source, *, because_of: str, author: Author = NODE
) -> Dataset:
    """Return the rejection note.

    Parameters
    ----------
    title : Code
        One of `terms.REJECTIONS`.
    rejected : sequence of Rejected
        At least one.
    source : Source
        An object of the study whose patient and study it carries, and the moment of writing.
    because_of : str
        SOP Instance UID of the note that it follows. The UIDs derive from this, the title and what is rejected.

    Raises
    ------
    ValueError
        Nothing is rejected, or no document can be filed with the source.
    """
    header = evidence(source)[0]
    parts = because_of, title.value, *sorted(one.sop_instance_uid for one in rejected)
    targets = [_target(one, header) for one in rejected]
    content = hd.ko.KeyObjectSelection(
        document_title=coded(title),
        referenced_objects=targets,
        observer_device_context=device_observer(author),
        description=f"Results that rest on rejected images. {RESEARCH_USE_ONLY}.",
    )
    note = hd.ko.KeyObjectSelectionDocument(
        evidence=targets,
        content=content,
        series_instance_uid=derived_uid("rejection series", *parts),
        series_number=FIRST_SERIES_NUMBER,
        sop_instance_uid=derived_uid("rejection", *parts),
        instance_number=1,
        series_description=f"AI results rejected ({RESEARCH_USE_ONLY})",
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=[f"pacsai {__version__}"],
        device_serial_number=author.installation,
    )
    note.copy_patient_and_study_information(header)
    return finish(note, source)


def write(
    title: Code, rejected: Sequence[Rejected], source: Source, path: Path, *, because_of: str, author: Author = NODE
) -> Written:
    """Build a note and write it to `path`; where the conformance gate has `problems` with it, it must not be sent.

    Raises
    ------
    ValueError
        As `build`.
    OSError
        The disk is full or the folder cannot be written.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # highdicom 0.28.2 warns of a one-word patient name by quoting it
        note = build(title, rejected, source, because_of=because_of, author=author)
    siblings = [ResultObject(one.kind, _target(one, source.header)) for one in rejected]
    problems = tuple(str(problem) for problem in judge(ResultObject(KIND, note), siblings, source))
    durable.write(path, encoded(note))
    uids = str(note.SOPClassUID), str(note.SOPInstanceUID)
    return Written(KIND, path, *uids, problems, str(note.SeriesInstanceUID))


def _target(one: Rejected, header: Dataset) -> Dataset:
    """Return what highdicom reads of an object that a document refers to, filed with `header`'s patient and study."""
    target = Dataset()
    for keyword in _FILED_BY:
        if keyword in header:
            target[keyword] = header[keyword]
    target.SeriesInstanceUID = one.series_instance_uid
    target.SOPClassUID, target.SOPInstanceUID = one.sop_class_uid, one.sop_instance_uid
    if one.kind in _IMAGES:
        target.Rows = target.Columns = 1  # by these highdicom 0.28.2 knows an image
    return target


_FILED_BY = (
    "SpecificCharacterSet",
    "StudyInstanceUID",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
