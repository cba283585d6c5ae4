"""From files to studies: headers read and grouped, and what could not be read told in sentences.

Never raises for a file, whatever is in it, and never writes. The sentences name files, never patients.
"""

from __future__ import annotations

import filecmp
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from pydicom.dataset import Dataset

from pacsai.dicom.part10 import read_head
from pacsai.study import Instance, Series, Study
from pacsai.study.header import NotDicomError, NotReadableError, Room, as_number, read_header, texts, uid
from pacsai.study.rejection import KEY_OBJECT_SELECTION, Note, notes, without_rejected


def read_folder(folder: Path) -> tuple[Study, ...]:
    """Return the studies of the files in `folder` and its sub-folders."""
    return read_study(path for path in folder.rglob("*") if path.is_file())


def read_study(paths: Iterable[Path]) -> tuple[Study, ...]:
    """Return the studies that the files hold, one for each Study Instance UID, in its order.

    A file that cannot be used becomes a sentence in `issues` of each study. Where no file can be used, but one at
    least is DICOM, that is one Study without UID and series; where none is DICOM, ().
    """
    instances: list[Instance] = []
    issues: list[str] = []
    foreign = 0
    room = Room()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's warnings quote values, and values may name patients
        for path in sorted(paths):
            try:
                instances.append(read_instance(path, room))
            except NotReadableError as error:
                foreign += isinstance(error, NotDicomError)
                issues.append(f"{_shown(path)} was left out: {error}")
        studies = _studies(instances, tuple(issues))
    if studies or len(issues) == foreign:
        return studies
    return (Study("", "", "", series=(), issues=tuple(issues)),)


def read_instance(path: Path, room: Room | None = None) -> Instance:
    """Return the SOP instance in the file; see `read_header`. Raises NotReadableError."""
    header = read_header(path, room)
    return Instance(uid(header, "SOPInstanceUID"), uid(header, "SOPClassUID"), path, header)


def read_notes(paths: Iterable[Path]) -> tuple[Note, ...]:
    """Return the rejection notes among files of the spool, whose heads tell their class; unreadable ones are none."""
    found: list[Instance] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        for path in paths:
            with suppress(ValueError, FileNotFoundError):  # of another's head, unreadable, or purged meanwhile
                if read_head(path).sop_class_uid == KEY_OBJECT_SELECTION:
                    found.append(read_instance(path))
    return tuple(notes(found))


def _studies(instances: Sequence[Instance], issues: tuple[str, ...]) -> tuple[Study, ...]:
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[uid(instance.header, "StudyInstanceUID")].append(instance)
    return tuple(_study(key, group, issues) for key, group in sorted(groups.items()))


def _study(study_instance_uid: str, instances: Sequence[Instance], issues: tuple[str, ...]) -> Study:
    once, doubles = _without_doubles(instances)
    kept, rejected = without_rejected(once)
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in kept:
        groups[uid(instance.header, "SeriesInstanceUID")].append(instance)
    study = Study(
        study_instance_uid=study_instance_uid,
        patient_id=_first(kept, "PatientID"),
        accession_number=_first(kept, "AccessionNumber"),
        series=tuple(sorted((_series(key, group) for key, group in groups.items()), key=_series_order)),
        issues=(*issues, *doubles, *rejected),
    )
    if study.several_patients:
        study = study.with_issue("images of more than one patient carry this study's UID")
    return study


def _without_doubles(instances: Sequence[Instance]) -> tuple[list[Instance], list[str]]:
    """Return each SOP instance once, the first file's, and a sentence for each file that differs from it."""
    kept: dict[str, Instance] = {}
    issues: list[str] = []
    for instance in instances:
        first = kept.setdefault(instance.sop_instance_uid, instance)
        if first is not instance and not filecmp.cmp(first.path, instance.path, shallow=False):
            names = _shown(instance.path), _shown(first.path)
            issues.append(f"{names[0]} was left out: it has the SOP Instance UID of {names[1]} and other bytes")
    return list(kept.values()), issues


def _series(series_instance_uid: str, instances: Sequence[Instance]) -> Series:
    ordered = tuple(sorted(instances, key=lambda one: (_order(one.header, "InstanceNumber"), one.sop_instance_uid)))
    return Series(series_instance_uid, texts(ordered[0].header, "Modality").upper(), ordered)


def _series_order(series: Series) -> tuple[float, str]:
    return _order(series.header, "SeriesNumber"), series.series_instance_uid


def _order(header: Dataset, keyword: str) -> float:
    number = as_number(texts(header, keyword))
    return float("inf") if number is None else number


def _first(instances: Sequence[Instance], keyword: str) -> str:
    return next((text for one in instances if (text := texts(one.header, keyword))), "")


def _shown(path: Path) -> str:
    """Return the file's name, fit for a log line: nothing unprintable, which a peer could have put there."""
    return "".join(character if character.isprintable() else "?" for character in path.name)
