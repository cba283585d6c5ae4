"""From a result to files: builds the objects asked for, judges each, writes the good and sets the bad apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from pacsai import durable
from pacsai.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from pacsai.finding import Outcome, Result
from pacsai.objects import gsps, gsps_views, ko, sc, seg, sr
from pacsai.objects.cad_sr.of_result import cad_report
from pacsai.objects.common import NODE, Author
from pacsai.objects.conformance import judge
from pacsai.objects.source import ResultObject, Source

ORDER = ("SEG", "SR", "CADSR", "GSPS", "SC", "KO")
"""Kinds in the order in which they are made: what refers to others comes after them."""
REFUSED = "refused"
"""Folder, below the one of the good objects, of those that must not be sent."""


@dataclass(frozen=True, slots=True)
class Written:
    """One object on disk.

    Attributes
    ----------
    kind : str
        SEG, SR, CADSR, GSPS, SC or KO.
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


Made = Mapping[str, Sequence[Dataset]]
"""Objects that passed the gate, by kind."""


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
        What the site wants: SEG, SR, CADSR, GSPS, SC, KO.
    folder : Path
        Takes seg.dcm, sr.dcm and so on, further ones of a kind as gsps-2.dcm; made when missing.

    Returns
    -------
    tuple of Written
        In the order of `ORDER`.

    Raises
    ------
    OSError
        The disk is full or the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {*kinds, *(("SR",) if result.outcome is not Outcome.FINDINGS else ())}
    made: dict[str, list[Dataset]] = {kind: [] for kind in ORDER}
    written: list[Written] = []
    for kind in (one for one in ORDER if one in wanted):
        _take_away(folder, kind)
        written += _write_kind(kind, result, source, made, folder, author)
    return tuple(written)


def _write_kind(
    kind: str, result: Result, source: Source, made: dict[str, list[Dataset]], folder: Path, author: Author
) -> Iterator[Written]:
    """Build, judge and write the objects of one kind, and add the good ones to those `made`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # highdicom 0.28.2 warns of a one-word patient name by quoting it
            built = [one for one in _BUILDERS[kind](result, source, made, author) if one is not None]
    except ValueError as error:
        yield _unbuilt(kind, str(error), folder)
        return
    for number, dataset in enumerate(built, start=1):
        siblings = [ResultObject(name, other) for name, others in made.items() for other in others]
        problems = tuple(str(problem) for problem in judge(ResultObject(kind, dataset), siblings, source))
        if not problems:
            made[kind].append(dataset)
        name = f"{kind.lower()}{f'-{number}' if number > 1 else ''}.dcm"
        path = _place(folder, name, refused=bool(problems))
        durable.write(path, encoded(dataset))
        uids = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
        yield Written(kind, path, *uids, problems, str(dataset.SeriesInstanceUID))


def _unbuilt(kind: str, reason: str, folder: Path) -> Written:
    path = _place(folder, f"{kind.lower()}.txt", refused=True)
    durable.write(path, f"{reason}\n".encode())
    return Written(kind, path, "", "", (f"not made: {reason}",))


def _take_away(folder: Path, kind: str) -> None:
    """Delete what an earlier run left of a kind."""
    for place in (folder, folder / REFUSED):
        for pattern in (f"{kind.lower()}.*", f"{kind.lower()}-*.dcm"):
            for old in place.glob(pattern):
                old.unlink()


def _place(folder: Path, name: str, *, refused: bool) -> Path:
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


def _states(result: Result, source: Source, _: Made, author: Author) -> Sequence[Dataset | None]:
    """Return a presentation state for each view of an exam, or the one of a volume."""
    return gsps_views.build(result, source, author) if source.views else [gsps.build(result, source, author)]


def _first(datasets: Sequence[Dataset]) -> Dataset | None:
    return next(iter(datasets), None)


_Builder = Callable[[Result, Source, Made, Author], Sequence[Dataset | None]]
_BUILDERS: dict[str, _Builder] = {
    "SEG": lambda result, source, _, author: [seg.build(result, source, author) if seg.segmented(result) else None],
    "SR": lambda result, source, made, author: [sr.build(result, source, _first(made["SEG"]), source.previous, author)],
    "CADSR": lambda result, source, _, author: [cad_report(result, source, author)],
    "GSPS": _states,
    "SC": lambda result, source, _, author: [sc.build(result, source, author)],
    "KO": lambda result, source, made, author: [
        ko.build(result, source, [*made["SEG"], *made["SR"], *made["CADSR"]], author)
    ],
}
