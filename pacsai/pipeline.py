"""The pipeline contract: a manifest (data) and a class with `analyse` (code), in one folder.

Registration is that the folder exists. Knows nothing of the network, of jobs or of how results are encoded.
"""

from __future__ import annotations

from typing import Protocol

from pacsai.finding import Result
from pacsai.volume import Volume


class VolumePipeline(Protocol):
    """A pipeline that reads one volume."""

    def analyse(self, volume: Volume) -> Result:
        """Return what was found. Pure: no files, no network, no clock; the same volume gives the same result."""
