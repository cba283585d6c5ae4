"""What data may ask of the process that reads it; the limits of the site's settings that reach past the network.

They are in force for a block of code, as a decimal context is, because they concern every reader of files and no
caller in between. Outside any block the defaults hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from pacsai.config.node import Limits

_DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Bounds:
    """The bounds on one file's structure and pixels.

    Attributes
    ----------
    sequence_depth : int
        How deep sequences may nest.
    inflated_bytes, pixels_bytes : int
        What deflated data may unpack to; Rows x Columns x Frames x Samples x bytes of the images decoded together.
    """

    sequence_depth: int = _DEFAULT.sequence_depth
    inflated_bytes: int = int(_DEFAULT.inflated_mb * 1e6)
    pixels_bytes: int = int(_DEFAULT.pixels_mb * 1e6)

    @classmethod
    def of(cls, limits: Limits) -> Bounds:
        """Return the bounds that a site's limits mean."""
        return cls(limits.sequence_depth, int(limits.inflated_mb * 1e6), int(limits.pixels_mb * 1e6))


_BOUNDS = Bounds()
_in_force: ContextVar[Bounds] = ContextVar("bounds")


def in_force() -> Bounds:
    """Return the bounds that hold here."""
    return _in_force.get(_BOUNDS)


@contextmanager
def within(bounds: Bounds) -> Iterator[None]:
    """Let `bounds` hold in the block (in this thread)."""
    token = _in_force.set(bounds)
    try:
        yield
    finally:
        _in_force.reset(token)
