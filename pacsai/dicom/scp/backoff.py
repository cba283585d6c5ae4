"""When to try again what has failed: after 1 s, 2 s, 4 s, up to a minute."""

from __future__ import annotations

import time
from dataclasses import dataclass

FIRST_S, LONGEST_S = 1.0, 60.0


@dataclass(slots=True)
class Backoff:
    """The next try of one thing that fails again and again.

    Attributes
    ----------
    pause_s : float
        How long to wait after the next failure.
    """

    pause_s: float = FIRST_S
    _at: float = 0.0

    def is_due(self) -> bool:
        """Tell whether the pause is over; at once where nothing has failed."""
        return time.monotonic() >= self._at

    def failed(self) -> None:
        """Wait, twice as long as the last time."""
        self._at = time.monotonic() + self.pause_s
        self.pause_s = min(self.pause_s * 2, LONGEST_S)

    def worked(self) -> None:
        """Begin anew: the next failure is the first."""
        self.pause_s, self._at = FIRST_S, 0.0
