"""What became of each lesion since the earlier study: new, enlarging, stable, shrinking or gone.

Pure: two label maps on one grid in, frozen values out. A change is called only where it is larger than what lying
differently in the scanner and another run of the network can make of the same lesion (see `followed`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pacsai.changes import Change
from pacsai.sequences import Known
from pipelines.brain_lesions.followed import Followed, Measure, Pair, changed, measures, resolution_on
from pipelines.brain_lesions.matching import REACH_MM, Group, groups
from pipelines.brain_lesions.naming import keeping, moved, named, recognised

__all__ = ["Followed", "Pair", "changed", "follow", "moved", "resolution_on", "with_still_there"]

SMALLEST_MM = 4.0
"""Diameter of the least ball that is called changed: the least lesion (3 mm, MAGNIMS 2016) and a voxel, since small
ones flicker. On real masks drawn twice (7 patients, 1 and 3 mm), all that was called falsely was below 50 mm3."""
SLICE_MARGIN_MM = 1.0
"""The same for coarse images: so much more than a slice, as what is thinner may vanish between two."""

WITNESS = 0.4
"""Spreads of the brain's brightness by which FLAIR must have become brighter, on average, where a lesion is new or
grew, and darker where it shrank or is gone. Half of that of a faint lesion, as a border is half as high."""
UNWITNESSED = "the outlines differ, but FLAIR there is as bright as before: called stable"


def follow(pair: Pair, known: Sequence[Known] = ()) -> tuple[Followed, ...]:
    """Return what became of every lesion: those of the current study by their labels, then those that are gone.

    Parameters
    ----------
    known : sequence of Known
        What the prior's own report said, centres in the frame of `pair.affine` (see `moved`). A lesion of the prior
        takes the tracking UID of the known one nearest to it within `REACH_MM`; what it became keeps it.
    """
    now, then = measures(pair.current, pair), measures(pair.prior, pair)
    names, others = named(pair, then, known)
    found: list[Followed] = []
    for group in groups(pair.current, pair.prior, pair.spacing_mm):
        found += _group(group, pair, now, then)
    found = recognised(keeping(found, pair, names), pair, others)
    present = sorted((one for one in found if one.label), key=lambda one: one.label)
    gone = sorted((one for one in found if not one.label), key=lambda one: one.prior_labels)
    return (*present, *gone)


def with_still_there(pair: Pair) -> Pair:
    """Return the pair with the earlier lesions that the current study misses though FLAIR shows them as it did before.

    They keep their earlier outline. Without `pair.gained` nothing is known of that.
    """
    if pair.gained is None:
        return pair
    labels = pair.current.copy()
    for group in groups(pair.current, pair.prior, pair.spacing_mm):
        for label in () if group.current else group.prior:
            mask = pair.prior == label
            if _seen(mask, pair) and (_mostly(pair.suspected_now, mask) or not _witnessed(mask, pair, Change.GONE)):
                labels[mask & (labels == 0)] = labels.max() + 1
    return replace(pair, current=labels)


def _group(group: Group, pair: Pair, now: dict[int, Measure], then: dict[int, Measure]) -> Iterator[Followed]:
    if not group.prior:
        yield from (_unmatched(label, now[label], pair) for label in group.current)
        return
    if not group.current:
        yield from (_vanished(label, then[label]) for label in group.prior if _is_gone(label, then[label], pair))
        return
    volume, before = (
        sum(of[n].volume_mm3 for n in labels) for of, labels in ((now, group.current), (then, group.prior))
    )
    shells = [sum(of[n].shell_mm3 for n in labels) for of, labels in ((now, group.current), (then, group.prior))]
    change, remarks = changed(volume, before, max(shells)), _structure(group)
    if max(volume, before) < _smallest_mm3(pair):
        change = Change.STABLE
    elif change is not Change.STABLE and not _witnessed(_difference(group, pair, change), pair, change):
        change, remarks = Change.STABLE, (*remarks, UNWITNESSED)
    elif change is Change.STABLE and (part_mm3 := _outgrowth_mm3(group, pair)) >= _smallest_mm3(pair):
        change, remarks = Change.ENLARGING, (*remarks, f"a part of {part_mm3:.0f} mm3 lies where nothing was")
    for label in group.current:
        one = now[label]
        yield Followed(
            label=label,
            change=change if _seen(pair.current == label, pair) else None,
            volume_mm3=one.volume_mm3,
            centre_mm=one.centre_mm,
            prior_labels=group.prior,
            prior_volume_mm3=before * one.volume_mm3 / volume,
            remarks=remarks,
        )


def _outgrowth_mm3(group: Group, pair: Pair) -> float:
    """Return the volume of the largest part of a group that lies away from all that the earlier study shows.

    New lesions grow into confluent ones, whose border alone is worth more than they are.
    """
    now = np.isin(pair.current, group.current)
    (box,) = ndimage.find_objects((now | np.isin(pair.prior, group.prior)).astype(np.uint8))
    away_mm = ndimage.distance_transform_edt(pair.prior[box] == 0, sampling=pair.spacing_mm)
    parts, _ = ndimage.label(now[box] & (away_mm > max(REACH_MM, max(pair.resolution_mm))))
    return float(np.bincount(parts.ravel())[1:].max(initial=0)) * pair.voxel_mm3


def _difference(group: Group, pair: Pair, change: Change) -> NDArray[np.bool_]:
    """Return what one study's outline has and the other's has not, of a group that grew or shrank."""
    now, then = np.isin(pair.current, group.current), np.isin(pair.prior, group.prior)
    return now & ~then if change is Change.ENLARGING else then & ~now


def _witnessed(mask: NDArray[np.bool_], pair: Pair, change: Change) -> bool:
    """Tell whether FLAIR became as much brighter (or darker) within the mask as a change of that kind makes it."""
    if pair.gained is None:
        return True
    gained = float(pair.gained[mask].mean()) if mask.any() else 0.0
    return (gained if change in (Change.NEW, Change.ENLARGING) else -gained) >= WITNESS


def _structure(group: Group) -> tuple[str, ...]:
    if len(group.prior) > 1 and len(group.current) > 1:
        return (f"{len(group.prior)} lesions of the earlier study are {len(group.current)} now, compared together",)
    if len(group.prior) > 1:
        return (f"merged from {len(group.prior)} lesions of the earlier study",)
    if len(group.current) > 1:
        return (f"one of {len(group.current)} pieces of one lesion of the earlier study, compared together",)
    return ()


def _unmatched(label: int, one: Measure, pair: Pair) -> Followed:
    mask = pair.current == label
    change: Change | None = Change.NEW
    remarks: tuple[str, ...] = ()
    if not _seen(mask, pair):
        change, remarks = None, ("not shown by the earlier study",)
    elif _mostly(pair.suspected_then, mask):
        change, remarks = Change.STABLE, ("faintly there in the earlier study",)
    elif not _witnessed(mask, pair, Change.NEW):
        change, remarks = Change.STABLE, ("not outlined in the earlier study, but FLAIR was as bright there",)
    elif one.volume_mm3 < _smallest_mm3(pair):
        change, remarks = None, ("too small to be called new",)
    return Followed(label=label, change=change, volume_mm3=one.volume_mm3, centre_mm=one.centre_mm, remarks=remarks)


def _is_gone(label: int, one: Measure, pair: Pair) -> bool:
    mask = pair.prior == label
    told = one.volume_mm3 >= _smallest_mm3(pair) and _seen(mask, pair) and not _mostly(pair.suspected_now, mask)
    return told and _witnessed(mask, pair, Change.GONE)


def _vanished(label: int, one: Measure) -> Followed:
    return Followed(
        label=0,
        change=Change.GONE,
        volume_mm3=0.0,
        centre_mm=one.centre_mm,
        prior_labels=(label,),
        prior_volume_mm3=one.volume_mm3,
    )


def _smallest_mm3(pair: Pair) -> float:
    """Return the least volume that is called new, gone, enlarging or shrinking."""
    return np.pi / 6 * max(SMALLEST_MM, max(pair.resolution_mm) + SLICE_MARGIN_MM) ** 3


def _seen(mask: NDArray[np.bool_], pair: Pair) -> bool:
    return pair.comparable is None or _mostly(pair.comparable, mask)


def _mostly(where: NDArray[np.bool_] | None, mask: NDArray[np.bool_]) -> bool:
    return where is not None and bool(where[mask].mean() >= 0.5)
