"""One study read by the network: prepared, lesions numbered on the model grid, and what may be one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pacsai.sequences import Sequences
from pacsai.volume import Volume
from pipelines.brain_lesions.detect import SHIPPED, Rule, lesions, probabilities
from pipelines.brain_lesions.net import LesionNet
from pipelines.brain_lesions.prepare import Image, Mask, Prepared, prepare

SUSPECTED = 0.5
"""Part of the rule's threshold from which on a voxel is suspected to be lesion."""


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """A study that was read.

    Attributes
    ----------
    reference : Volume
    prepared : Prepared
    probability : float32 [k, j, i]
        Of lesion, on the model grid.
    labels : int32 [k, j, i]
        The lesions, on the model grid.
    rule : Rule
    """

    reference: Volume
    prepared: Prepared
    probability: Image
    labels: NDArray[np.int32]
    rule: Rule

    @property
    def suspected(self) -> Mask:
        """Return what a lower threshold would have called lesion."""
        return np.asarray(self.probability > SUSPECTED * self.rule.threshold)


def read(sequences: Sequences, network: LesionNet, rule: Rule = SHIPPED) -> Read:
    """Return the lesions of a study; raises `prepare.Unfit` where it cannot be prepared."""
    prepared = prepare(sequences)
    probability = probabilities(prepared.images, prepared.brain, network)["lesion"]
    labels = lesions(probability, prepared.images, prepared.brain, rule)
    return Read(sequences.volumes[sequences.reference], prepared, probability, labels, rule)
