"""The patient's earlier study: read by the same network, brought onto the current one's grid, compared with it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pacsai.registration import Registration, register
from pacsai.sequences import Prior, Sequences
from pacsai.volume import Grid
from pacsai.volume.itk import onto
from pipelines.brain_lesions.change import Followed, Pair, follow, moved, resolution_on, with_still_there
from pipelines.brain_lesions.followed import measures
from pipelines.brain_lesions.gain import gain, with_appeared
from pipelines.brain_lesions.net import LesionNet
from pipelines.brain_lesions.prepare import THREADS, Unfit, back_onto, labels_back_onto
from pipelines.brain_lesions.study import SUSPECTED, Read, read

APPEARED = "found by comparison alone: FLAIR is brighter here than in the earlier study"
STILL_THERE = "outlined as in the earlier study: FLAIR is as bright here as it was then"


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What became of the lesions of the earlier study.

    Attributes
    ----------
    labels : int32 [k, j, i]
        The lesions of the current study, with those that the earlier one brings to light.
    followed : tuple of Followed
        Those of the current study, then those that are gone.
    prior_mm3 : float
        Volume of all lesions of the earlier study.
    remarks : tuple of str
    """

    labels: NDArray[np.int32]
    followed: tuple[Followed, ...]
    prior_mm3: float
    remarks: tuple[str, ...]


def compared(current: Read, prior: Prior, network: LesionNet, without: NDArray[np.bool_] | None = None) -> Comparison:
    """Return what became of each lesion since `prior`.

    Parameters
    ----------
    without : bool [k, j, i], optional
        Where nothing is compared (a tumour), on the current model grid.

    Raises
    ------
    Unfit
        The prior cannot be prepared or not be registered to the current study.
    """
    before = read(Sequences(prior.volumes, prior.reference), network, current.rule)
    found = _registered(current, before)
    pair = _pair(current, before, found)
    if without is not None:
        there, here = (np.where(without, 0, labels).astype(np.int32) for labels in (pair.prior, pair.current))
        pair = replace(pair, prior=there, current=here)
    known = moved(prior.known, np.asarray(np.linalg.inv(found.matrix), np.float64))
    prior_mm3 = sum(one.volume_mm3 for one in measures(pair.prior, pair).values())
    remarks = tuple(f"earlier study: {remark}" for remark in before.prepared.remarks)
    whole = with_still_there(pair)
    followed = explained(follow(whole, known), int(current.labels.max()), int(pair.current.max()))
    return Comparison(whole.current, followed, prior_mm3, remarks)


def explained(followed: tuple[Followed, ...], alone: int, appeared: int) -> tuple[Followed, ...]:
    """Return the lesions with a remark on those that the comparison added.

    Parameters
    ----------
    alone, appeared : int
        The last label that the current study shows alone, and the last with those that appeared; what is still there
        comes after.
    """
    return tuple(
        replace(one, remarks=(*one.remarks, STILL_THERE if one.label > appeared else APPEARED))
        if one.label > min(alone, appeared)
        else one
        for one in followed
    )


def _registered(current: Read, before: Read) -> Registration:
    """Return where the places of the current brain lie in the earlier study; jaw and neck do not count."""
    reference, prepared = current.reference, current.prepared
    brain = onto(Grid(prepared.brain.astype(np.float32), prepared.affine), reference.affine, reference.shape_kji)
    found = register(reference, before.reference, region=brain.array > 0.5, threads=THREADS)
    if not found.accepted:
        raise Unfit(f"registration failed ({found.reason})")
    return found


def _pair(current: Read, before: Read, found: Registration) -> Pair:
    """Return both studies on the current model grid."""
    now, then = current.prepared, before.prepared
    # the current model grid, told in the frame of the earlier study: one resampling for both steps
    there = Grid(current.probability, found.matrix @ now.affine)
    comparable = now.brain & (back_onto(there, then.brain.astype(np.float32), then.affine) > 0.5)
    gained = gain(now.images["FLAIR"], back_onto(there, then.images["FLAIR"], then.affine), comparable)
    return Pair(
        current=with_appeared(current.labels, current.probability, gained),
        prior=labels_back_onto(there, before.labels, then.affine),
        affine=now.affine,
        resolution_mm=resolution_on(now.affine, current.reference.affine, _in_current(before.reference.affine, found)),
        comparable=comparable,
        suspected_then=back_onto(there, before.probability, then.affine) > SUSPECTED * before.rule.threshold,
        suspected_now=current.suspected,
        gained=gained,
    )


def _in_current(affine: NDArray[np.float64], found: Registration) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(found.matrix) @ affine)
