"""What was found out about each revision of a study, beside its images: evidence.json, so that it is found out once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pacsai import durable
from pacsai.spool import Spool

_FILE = "evidence.json"


@dataclass(frozen=True, slots=True)
class Found:
    """How many images the archive lists of a study, and how many of them are not here; 0 of 0 where it told nothing."""

    listed: int
    missing: int


def read(spool: Spool, study_instance_uid: str, revision: str) -> Found | None:
    """Return what was found out for a revision, None where that goes on or was never begun."""
    said = _all(spool, study_instance_uid).get(revision)
    return None if said is None else Found(**said)


def write(spool: Spool, study_instance_uid: str, revision: str, found: Found) -> None:
    """Keep what was found out; one thread of one node does so."""
    said = _all(spool, study_instance_uid) | {revision: asdict(found)}
    path = spool.instances_folder(study_instance_uid).parent / _FILE
    durable.write(path, json.dumps(said).encode())


def remarks(spool: Spool, study_instance_uid: str, revision: str) -> tuple[str, ...]:
    """Return what the result of a revision must say of its completeness."""
    found = read(spool, study_instance_uid, revision)
    if found is None or not found.missing:
        return ()
    images = f"{found.missing} of {found.listed} images"
    return (f"{images} that the archive lists had not arrived when this was analysed.",)


def _all(spool: Spool, study_instance_uid: str) -> dict[str, dict[str, int]]:
    path = spool.instances_folder(study_instance_uid).parent / _FILE
    try:
        said: dict[str, dict[str, int]] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said
