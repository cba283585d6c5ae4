"""What a start-up does to the spool: sweep unfinished files, bring the index up to the folders."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path

import structlog

from pacsai.dicom import part10
from pacsai.spool.index import Entry, SpoolIndex

log = structlog.get_logger()


_OLD_S = 3600
"""So long after the last byte no file arrives any more: limits on idle senders are far shorter."""


def sweep(folder: Path, *, shared: bool) -> int:
    """Delete the temporary files that a crash left anywhere under `folder`; return how many there were.

    Where nodes share the folder, another may still write to one that is not old: that stays for a later start.
    """
    swept = 0
    for path in folder.rglob(".*.part"):
        with suppress(FileNotFoundError):  # its owner has named or dropped it
            if not shared or time.time() - path.stat().st_mtime > _OLD_S:
                path.unlink()
                swept += 1
    return swept


def bring_up(index: SpoolIndex, studies: Path) -> int:
    """Make the index say what the study folders hold; return how many instances it did not know.

    Only files that the index does not know are read.
    """
    known = index.studies()  # asked first: a study that arrives now must not seem to have lost its folder
    folders = {folder.name: folder for folder in studies.iterdir()}
    for study_key in known.keys() - folders.keys():
        index.forget_study(study_key)
    return sum(_bring_up_study(index, folder) for folder in folders.values())


def _bring_up_study(index: SpoolIndex, folder: Path) -> int:
    try:
        about = json.loads((folder / "study.json").read_bytes())
    except (OSError, ValueError):
        log.error("a study folder without a readable study.json is left out", folder=folder.name)
        return 0
    known = {entry.sop_key for entry in index.entries(folder.name)}
    files = {path.stem: path for path in (folder / "instances").glob("*.dcm")}
    for sop_key in known - files.keys():
        index.forget(sop_key)
    unknown = files.keys() - known
    for sop_key in unknown:
        try:
            entry = Entry(folder.name, sop_key, part10.read_head(files[sop_key]).sop_instance_uid, "")
        except ValueError:
            log.error("a damaged file in the spool is left out", folder=folder.name, file=files[sop_key].name)
            continue
        index.add([(entry, about["study_instance_uid"])], files[sop_key].stat().st_mtime)
    if not files:
        index.know(folder.name, about["study_instance_uid"])  # purged: its story is told on
    if known != files.keys():  # whether that is all, its next completion finds out
        index.settle(folder.name, about["submitted_revision"], -1 if files else 0)
    return len(unknown)
