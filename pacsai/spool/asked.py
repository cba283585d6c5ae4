"""Images that came because this node asked an archive for them: which they are, and until when they may still come.

Beside a study's images there is a file for each who asked, `asked/<asker>.json`, written before the archive is asked.
What came in this way is held for comparison and starts no analysis. An image that arrives after the time is a
sender's own, and the study a study like any other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from pacsai import durable
from pacsai.spool.intake import make_folder

_FOLDER = "asked"


def note(study: Path, asker: str, sop_keys: Iterable[str], until_s: float) -> None:
    """Write down that these are asked for; `asker` is a file name, `until_s` in seconds of the epoch."""
    make_folder(study / _FOLDER)
    content = json.dumps({"instances": sorted(sop_keys), "until": until_s}).encode()
    durable.write(study / _FOLDER / f"{asker}.json", content)


def arrived(study: Path, asker: str, until_s: float) -> None:
    """Write down that all that `asker` asked for has been sent: from `until_s` on, arrivals are a sender's own."""
    note(study, asker, _read(study / _FOLDER / f"{asker}.json").get("instances", ()), until_s)


def sop_keys(study: Path) -> frozenset[str]:
    """Return the keys of the instances that were asked for."""
    return frozenset(one for said in _all(study) for one in said.get("instances", ()))


def is_over(study: Path, now_s: float) -> bool:
    """Tell whether something was asked for, and the time is over in which it may come."""
    if not (study / _FOLDER).is_dir():  # asked of every arrival
        return False
    return all(said.get("until", 0) < now_s for said in _all(study))


def forget(study: Path) -> bool:
    """Forget that anything was asked for; tell whether something was."""
    if not (study / _FOLDER).is_dir():
        return False
    shutil.rmtree(study / _FOLDER, ignore_errors=True)
    return True


def _all(study: Path) -> Collection[dict[str, Any]]:
    return [_read(path) for path in (study / _FOLDER).glob("*.json")]


def _read(path: Path) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return said
