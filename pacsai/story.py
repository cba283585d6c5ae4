"""Stories: what happened to a study, or to the node, one line of JSON for each event, only ever added to.

A story holds UIDs, counts and reasons, and no patient data. Knows nothing of what the events mean.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

log = structlog.get_logger()


def utc_now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Story:
    """One story, in the file `path` (JSON lines); several threads and processes may tell it at once."""

    def __init__(self, path: Path, clock: Callable[[], datetime] = utc_now) -> None:
        self._path = path
        self._clock = clock

    def tell(self, event: str, **details: Any) -> None:
        """Add an event with its details (JSON values).

        A story that cannot be written, as on a full disk, never stops what it tells of: the log says so instead.
        """
        line = json.dumps({"at": self._clock().isoformat(), "event": event, **details}, ensure_ascii=False)
        try:
            self._append(line.encode() + b"\n")
        except OSError as error:
            log.error("a story could not be told", told=event, file=str(self._path), reason=error.strerror)

    def read(self) -> list[dict[str, Any]]:
        """Return the events in the order they were told; a line torn by a power cut is left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        events = (_event(line) for line in lines)
        return [event for event in events if event is not None]

    def _append(self, line: bytes) -> None:
        """Write the line in one call, so that tellers do not mix; a torn line before it is ended first."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, b"\n" + line if torn else line)
        finally:
            os.close(descriptor)


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
