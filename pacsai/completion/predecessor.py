"""Which SR a later revision's SR takes the place of: the last one of the same pipeline on the same study.

It is chosen once and written down: a step that is repeated after a crash names the same predecessor, whatever was
packed in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pacsai import durable
from pacsai.outbox import Outbox, ParcelError
from pacsai.spool import Spool

_FOLDER = "predecessors"


def predecessors(
    spool: Spool, outbox: Outbox, study_instance_uid: str, revision: str, pipeline: str
) -> tuple[dict[str, str], ...]:
    """Return the SR before that of this revision, if any, by the DICOM keywords of its four UIDs."""
    folder = spool.instances_folder(study_instance_uid).parent / _FOLDER
    chosen = folder / f"{revision[:32]}-{pipeline}.json"
    if not chosen.is_file():
        folder.mkdir(exist_ok=True)
        durable.sync_folder(folder.parent)
        last = _last(spool, outbox, study_instance_uid, revision, pipeline)
        durable.write_new(chosen, json.dumps(last).encode())  # the first to choose, here or on another node, decides
    return tuple(json.loads(chosen.read_bytes()))


def _last(spool: Spool, outbox: Outbox, study_instance_uid: str, revision: str, pipeline: str) -> list[dict[str, str]]:
    """Look through the study's story, which names its parcels: the outbox has those of all studies."""
    for event in reversed(spool.story_of(study_instance_uid).read()):
        if event["event"] != "analysed" or event.get("pipeline") != pipeline:
            continue
        try:
            parcel = outbox.read(str(event["parcel"]))
        except ParcelError:
            continue
        reports = [_reference(study_instance_uid, one) for one in parcel.summary["objects"] if _is_report(one)]
        if parcel.revision != revision and reports:
            return reports
    return []


def _is_report(one: Mapping[str, Any]) -> bool:
    """Tell whether an object is an SR that was sent; parcels of earlier versions do not say in which series."""
    return one["kind"] == "SR" and not one["problems"] and bool(one.get("series_instance_uid"))


def _reference(study_instance_uid: str, one: Mapping[str, Any]) -> dict[str, str]:
    return {
        "StudyInstanceUID": study_instance_uid,
        "SeriesInstanceUID": one["series_instance_uid"],
        "SOPClassUID": one["sop_class_uid"],
        "SOPInstanceUID": one["sop_instance_uid"],
    }
