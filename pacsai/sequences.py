"""Sequences: what a pipeline with `input: volumes` analyses, one volume for each MR sequence, and the earlier study.

Values only. Which series is which sequence is selection/mr.py's; bringing them onto one grid is the pipeline's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # manifests are read in milliseconds; voxels bring scipy with them
    from pacsai.volume import Volume

NAMES = ("FLAIR", "T1", "T1C", "T2")
"""Names of sequences: T1C is T1 with contrast medium."""


@dataclass(frozen=True, slots=True)
class Known:
    """A finding that the report of an earlier study told.

    Attributes
    ----------
    centre_mm : (x, y, z)
        World position, LPS millimetres, in the frame of the earlier study's reference.
    volume_mm3 : float or None
        As the report has it; None where it gives none.
    """

    tracking_uid: str
    label: str
    centre_mm: tuple[float, float, float]
    volume_mm3: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Prior:
    """The same patient's earlier study.

    Attributes
    ----------
    volumes : mapping of str to Volume
        By name, as in `Sequences`.
    reference : str
        The sequence in whose frame `known` lies.
    study_date : date or None
        None where the headers give none.
    known : tuple of Known
        What the earlier study's own report said; () where it has none of this pipeline's.
    """

    volumes: Mapping[str, Volume]
    reference: str
    study_instance_uid: str
    study_date: date | None
    known: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """The sequences of one study of one patient.

    Attributes
    ----------
    volumes : mapping of str to Volume
        By name (`NAMES`), those that the study has. Each lies on its own grid, in LPS mm of its own frame of reference.
    reference : str
        The sequence on whose grid the masks of findings lie; always among `volumes`.
    prior : Prior or None
        The earlier study to compare with.
    """

    volumes: Mapping[str, Volume]
    reference: str
    prior: Prior | None = None
