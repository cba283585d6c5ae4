"""An archive behind a fence: asked right before each sending whether it may still be done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pacsai.archive.base import Archive, Sent


class Fenced:
    """Sends to `archive` only after `check` has returned; what that raises, `send` raises, and nothing is sent.

    What is done before a sending (reading and hashing a large parcel) takes its time, in which a lease may be lost.
    """

    def __init__(self, archive: Archive, check: Callable[[], None]) -> None:
        self._archive = archive
        self._check = check

    def send(self, paths: Sequence[Path]) -> tuple[Sent, ...]:
        """Send as `Archive.send` does."""
        self._check()
        return self._archive.send(paths)
