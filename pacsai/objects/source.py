"""What result objects are made from and refer to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset

from pacsai.exam import View
from pacsai.study import Instance, Study
from pacsai.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The analysed images and the moment of writing.

    Attributes
    ----------
    study : Study
        As it stood when it was analysed.
    instances : tuple of Instance
        What was analysed, in slice order; of an exam what is drawn on, in hanging order. Where nothing could be
        analysed, the instances that stand for the study (its headers are copied, and it is named as evidence). Never
        empty.
    volume : Volume or None
        Their voxels, None where nothing was read.
    views : tuple of View
        The mammograms of an exam, in the order of `instances`, which are the images that results are drawn on.
    others : tuple of Instance
        Images of the study that were read beside `instances`, of whatever frame of reference: evidence of the SR.
    now : datetime
        Goes into every date and time of the objects, so that the clock is read in one place.
    previous : tuple of Dataset
        The SRs on earlier states of the study that a new one takes the place of: study, series, class, instance UID.
    """

    study: Study
    instances: tuple[Instance, ...]
    volume: Volume | None
    now: datetime
    previous: tuple[Dataset, ...] = ()
    others: tuple[Instance, ...] = ()
    views: tuple[View, ...] = ()

    @property
    def header(self) -> Dataset:
        """Return the header whose patient and study modules are copied."""
        return self.instances[0].header


@dataclass(frozen=True, slots=True, eq=False)
class ResultObject:
    """One finished object: `kind` is SEG, SR, GSPS, SC, KO, CADSR, or REJECTION (our own rejection note)."""

    kind: str
    dataset: Dataset


DOCUMENTS = ("SR", "KO", "REJECTION", "CADSR")
"""Kinds of objects that have a content tree."""
