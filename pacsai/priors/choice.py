"""What was chosen for one analysis to compare with, written down once.

A step that is repeated after a crash compares with the same, whatever came in between: its results have the same UIDs.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pacsai import durable
from pacsai.priors.wanted import Wanted
from pacsai.spool import Spool
from pacsai.spool.intake import make_folder

_FOLDER = "priors"
NONE = "No earlier study was found to compare with."
NOT_FETCHED = "An earlier study to compare with could not be fetched from the archive."
NOT_ASKABLE = (
    "No earlier study was found here to compare with; the archive is of a kind (folder) that cannot be asked for one."
)
_GONE = "The earlier study to compare with is no longer here."


@dataclass(frozen=True, slots=True)
class Choice:
    """The earlier study that is compared with; without a UID, that there is none.

    Attributes
    ----------
    study_date : str
        YYYY-MM-DD.
    series : int
        How many series of images.
    source : str
        Where it was found, in words.
    files : tuple of str
        Its images and this node's own results on it, relative to the data folder.
    reasons : tuple of str
        Why others were not chosen, for the study's story.
    remarks : tuple of str
        Sentences that the result must say.
    """

    study_instance_uid: str = ""
    study_date: str = ""
    series: int = 0
    source: str = ""
    files: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def read(spool: Spool, wanted: Wanted) -> Choice | None:
    """Return what was chosen, None where nothing was yet."""
    try:
        said: dict[str, Any] = json.loads(_path(spool, wanted).read_bytes())
    except (OSError, ValueError):
        return None
    lists = {key: tuple(said[key]) for key in ("files", "reasons", "remarks")}
    return Choice(**{**said, **lists})


def settle(spool: Spool, wanted: Wanted, choice: Choice) -> Choice:
    """Write a choice down and tell it in the study's story; the first, here or on another node, decides.

    Returns
    -------
    Choice
        The one that stands.
    """
    path = _path(spool, wanted)
    make_folder(path.parent)
    if durable.write_new(path, json.dumps(asdict(choice)).encode()):
        _tell(spool, wanted, choice)
        return choice
    return read(spool, wanted) or choice


def laid_out(choice: Choice, data: Path, folder: Path) -> tuple[str, tuple[str, ...]]:
    """Put the chosen files into `folder`; return it ('' where there are none) and what the result must say.

    They are linked: whatever is deleted meanwhile, the analysis has them.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if not choice.files:
        return "", choice.remarks
    folder.mkdir(parents=True)
    try:
        for number, name in enumerate(choice.files):
            _link(data / name, folder / f"{number:05d}.dcm")
    except FileNotFoundError:
        shutil.rmtree(folder, ignore_errors=True)
        return "", (*choice.remarks, _GONE)
    return str(folder), choice.remarks


def of_another(reason: str) -> Choice:
    """Return that a study under the Patient ID may be another patient's."""
    return Choice(
        reasons=(reason,),
        remarks=(f"An earlier study under the same Patient ID is not compared with: {reason}.",),
    )


def or_none(choice: Choice) -> Choice:
    """Return `choice`, which says that nothing was found where it says nothing else."""
    return choice if choice.study_instance_uid or choice.remarks else replace(choice, remarks=(NONE,))


def with_reasons(choice: Choice, others: Choice) -> Choice:
    """Return `choice` with what is to be said of those that were looked at before."""
    reasons, remarks = (*others.reasons, *choice.reasons), (*others.remarks, *choice.remarks)
    return replace(choice, reasons=reasons, remarks=tuple(dict.fromkeys(remarks)))


def _tell(spool: Spool, wanted: Wanted, choice: Choice) -> None:
    story, pipeline = spool.story_of(wanted.study_instance_uid), wanted.manifest.name
    for reason in choice.reasons:
        story.tell("prior not used", pipeline=pipeline, reason=reason)
    if not choice.study_instance_uid:
        story.tell("no prior", pipeline=pipeline, reason=" ".join(choice.remarks))
        return
    found = f"study of {choice.study_date}, {choice.series} series, {choice.source}"
    story.tell("prior found", pipeline=pipeline, detail=found, prior=choice.study_instance_uid)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:  # parts of the data folder on file systems of their own
        shutil.copyfile(source, target)


def _path(spool: Spool, wanted: Wanted) -> Path:
    return spool.instances_folder(wanted.study_instance_uid).parent / _FOLDER / f"{wanted.asker}.json"
