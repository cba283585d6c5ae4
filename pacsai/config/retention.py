"""How long local copies are kept."""

from __future__ import annotations

from pydantic import Field

from pacsai.config.base import Settings


class RetentionSettings(Settings):
    """When the node deletes its copies of studies that are done with. By default nothing is ever deleted.

    Only of studies whose results were all delivered and committed, the oldest first.

    Attributes
    ----------
    keep_days : float or None
        Days after its last arrival when a study goes; None for never.
    free_gb_target : float or None
        While the data disk has less free space than this (GB of 10^9 bytes), studies go whatever their age; None for
        never.
    without_commitment : bool
        Whether delivery is enough where the archive is not asked for commitment.
    although_promised : bool
        Whether images go that this node has itself committed to a peer.
    every_s : float
        Seconds between two looks.
    """

    keep_days: float | None = Field(default=None, ge=0)
    free_gb_target: float | None = Field(default=None, ge=0)
    without_commitment: bool = False
    although_promised: bool = False
    every_s: float = Field(default=600, gt=0)

    @property
    def wanted(self) -> bool:
        """Return whether anything is ever deleted."""
        return self.keep_days is not None or self.free_gb_target is not None
