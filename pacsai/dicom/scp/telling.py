"""Telling what was refused, where a person will look for it, without letting a flood of refusals fill the disk."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from pacsai.story import Story

log = structlog.get_logger()

PERIOD_S = 10.0


@dataclass(slots=True)
class _Told:
    at: float
    event: str
    details: dict[str, Any]
    untold: int = 0


class Teller:
    """Tells the node's story and the log of refusals; what repeats itself within 10 s is told again with a count."""

    def __init__(self, story: Story, clock: Callable[[], float] = time.monotonic) -> None:
        self._story = story
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, str, str], _Told] = {}

    def tell(self, event: str, *, address: str, reason: str, **details: Any) -> None:
        """Tell of `event`, at once if it is the first of its address and reason, else within the period."""
        now = self._clock()
        with self._lock:
            told = self._told.get((event, address, reason))
            if told is not None:
                told.untold += 1
                return
            details = {"address": address, "reason": reason, **details}
            self._told[event, address, reason] = _Told(now, event, details)
        self._say(event, details)

    def tell_rest(self, *, at_once: bool = False) -> None:
        """Tell of what was held back longer than the period; called now and then."""
        now = self._clock()
        with self._lock:
            due = {key: told for key, told in self._told.items() if at_once or now - told.at >= PERIOD_S}
            for key in due:
                del self._told[key]
        for told in due.values():
            if told.untold:
                self._say(told.event, {**told.details, "more_times": told.untold})

    def _say(self, event: str, details: dict[str, Any]) -> None:
        log.warning(event, **details)
        self._story.tell(event, **details)
