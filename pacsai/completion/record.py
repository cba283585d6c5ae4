"""What was found out about each revision of a study, in files beside its images, so that it is found out once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pacsai import durable
from pacsai.spool import Spool

LISTED, ANNOUNCED = "evidence.json", "announced.json"
"""What the archive lists, and what modalities and archives announced; each revision has its own entry."""


@dataclass(frozen=True, slots=True)
class Found:
    """How many images are listed or announced of a study, and how many are not here; 0 of 0 where nothing was told."""

    listed: int
    missing: int


def read(spool: Spool, study_instance_uid: str, revision: str, file: str = LISTED) -> Found | None:
    """Return what was found out for a revision, None where that goes on or was never begun."""
    said = _all(spool, study_instance_uid, file).get(revision)
    return None if said is None else Found(**said)


def write(spool: Spool, study_instance_uid: str, revision: str, found: Found, file: str = LISTED) -> None:
    """Keep what was found out; one thread of one node does so."""
    said = _all(spool, study_instance_uid, file) | {revision: asdict(found)}
    path = spool.instances_folder(study_instance_uid).parent / file
    durable.write(path, json.dumps(said).encode())


def remarks(spool: Spool, study_instance_uid: str, revision: str) -> tuple[str, ...]:
    """Return what the result of a revision must say of its completeness."""
    sources = {LISTED: "that the archive lists", ANNOUNCED: "that were announced"}
    found = ((read(spool, study_instance_uid, revision, file), words) for file, words in sources.items())
    return tuple(
        f"{one.missing} of {one.listed} images {words} had not arrived when this was analysed."
        for one, words in found
        if one is not None and one.missing
    )


def _all(spool: Spool, study_instance_uid: str, file: str) -> dict[str, dict[str, int]]:
    path = spool.instances_folder(study_instance_uid).parent / file
    try:
        said: dict[str, dict[str, int]] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said
