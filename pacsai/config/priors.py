"""Where earlier studies of a patient are looked for, and what that may take."""

from __future__ import annotations

from pydantic import Field

from pacsai.config.base import Settings


class PriorSettings(Settings):
    """How pipelines that compare (`prior: true` in their manifest) get the patient's earlier study.

    Attributes
    ----------
    archive : bool
        Whether the archive is asked where this node has none; for archives of kind dimse, which must know this node as
        a C-MOVE destination, dicomweb, and orthanc with its DICOMweb plug-in. A folder is never asked; results say so.
    max_age_days : float
        How much older than the current study it may be.
    max_studies : int
        How many earlier studies are looked at in the archive, newest first, until one fits.
    max_instances : int
        Most instances that are taken of one study; of more, its largest series are left out.
    wait_s : float
        How long an analysis is held up by that, counted from when the study was handed on; then it goes on without.
    """

    archive: bool = True
    max_age_days: float = Field(default=3650, gt=0)
    max_studies: int = Field(default=3, ge=1, le=20)
    max_instances: int = Field(default=2000, ge=1)
    wait_s: float = Field(default=60, gt=0)
