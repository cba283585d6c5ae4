"""From a result to files: builds the objects asked for, judges each, writes the good and sets the bad apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacsai import durable
from pacsai.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsai.finding import Outcome, Result
from pacsai.objects import gsps, ko, sc, seg, sr
from pacsai.objects.common import KINDS, NODE, Author
from pacsai.objects.conformance import judge
from pacsai.objects.source import ResultObject, Source

REFUSED = "refused"
"""Folder, below the one of the good objects, of those that must not be sent."""


@dataclass(frozen=True, slots=True)
class Written:
    """One object on disk.

    Attributes
    ----------
    kind : str
        SEG, SR, GSPS, SC or KO.
    path : Path
        The DICOM file; where the object could not even be built, a text file with the reason.
    sop_class_uid, sop_instance_uid : str
        Empty where it could not be built.
    problems : tuple of str
        Why it must not be sent; empty for a good one.
    series_instance_uid : str
        Empty where it could not be built.
    """

    kind: str
    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    problems: tuple[str, ...] = ()
    series_instance_uid: str = ""


def write(
    result: Result, source: Source, kinds: Sequence[str], folder: Path, author: Author = NODE
) -> tuple[Written, ...]:
    """Write the objects of a signed result.

    A kind is left out where the outcome gives it nothing to say; an SR is written for *no finding* and *not analysed*
    even when it was not asked for, since silence never means either. An object that does not pass the conformance
    gate goes to the folder "refused", and the others are made as if it did not exist.

    Parameters
    ----------
    kinds : sequence of str
        What the site wants: SEG, SR, GSPS, SC, KO.
    folder : Path
        Takes seg.dcm, sr.dcm and so on; made when missing.

    Returns
    -------
    tuple of Written
        In the order SEG, SR, GSPS, SC, KO.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {*kinds, *(("SR",) if result.outcome is not Outcome.FINDINGS else ())}
    good: dict[str, Dataset] = {}
    written = [_write_one(kind, result, source, good, folder, author) for kind in KINDS if kind in wanted]
    return tuple(one for one in written if one is not None)


def _write_one(
    kind: str, result: Result, source: Source, good: dict[str, Dataset], folder: Path, author: Author
) -> Written | None:
    """Build, judge and write one object, and add it to the `good` ones if it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom 0.28.2 warns of a one-word patient name by quoting it
            dataset = _BUILDERS[kind](result, source, good, author)
    except ValueError as error:
        return _unbuilt(kind, str(error), folder)
    if dataset is None:
        return None
    siblings = [ResultObject(name, other) for name, other in good.items()]
    problems = tuple(str(problem) for problem in judge(ResultObject(kind, dataset), siblings, source))
    if not problems:
        good[kind] = dataset
    path = _place(folder, f"{kind.lower()}.dcm", refused=bool(problems))
    durable.write(path, encoded(dataset))
    uids = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    return Written(kind, path, *uids, problems, str(dataset.SeriesInstanceUID))


def _unbuilt(kind: str, reason: str, folder: Path) -> Written:
    path = _place(folder, f"{kind.lower()}.txt", refused=True)
    durable.write(path, f"{reason}\n".encode())
    return Written(kind, path, "", "", (f"not made: {reason}",))


def _place(folder: Path, name: str, *, refused: bool) -> Path:
    """Return where a file goes, and take away what an earlier run left of that kind."""
    for old in (folder / name, *(folder / REFUSED).glob(f"{Path(name).stem}.*")):
        old.unlink(missing_ok=True)
    place = folder / REFUSED if refused else folder
    place.mkdir(exist_ok=True)
    return place / name


def encoded(dataset: Dataset) -> bytes:
    """Return a data set as the bytes of a DICOM file (PS3.10) in Explicit VR Little Endian."""
    meta = dataset.file_meta
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


_BUILDERS: dict[str, Callable[[Result, Source, dict[str, Dataset], Author], Dataset | None]] = {
    "SEG": lambda result, source, _, author: seg.build(result, source, author) if seg.segmented(result) else None,
    "SR": lambda result, source, good, author: sr.build(result, source, good.get("SEG"), source.previous, author),
    "GSPS": lambda result, source, _, author: gsps.build(result, source, author),
    "SC": lambda result, source, _, author: sc.build(result, source, author),
    "KO": lambda result, source, good, author: ko.build(
        result, source, [good[kind] for kind in ("SEG", "SR") if kind in good], author
    ),
}
