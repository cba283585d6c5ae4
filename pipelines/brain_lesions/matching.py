"""Which lesion of the earlier study is which of the current one, on one grid: one to one, merged, split, or alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

REACH_MM = 3.0
"""How near a voxel counts as being there: 1 mm of registration error, and a voxel's edge on either side."""
SHARE = 0.5
"""Part of the smaller of two lesions that must lie within reach of the larger: a neighbour is not the same lesion."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Group:
    """Lesions that belong together: labels of the current study and of the prior. Either side may be empty."""

    current: tuple[int, ...]
    prior: tuple[int, ...]


def groups(current: NDArray[np.int32], prior: NDArray[np.int32], spacing_mm: Spacing) -> tuple[Group, ...]:
    """Return every lesion of both studies in exactly one group, in the order of the current labels.

    Two lesions are linked when at least `SHARE` of the smaller one lies within `REACH_MM` of the larger; what is
    linked, also by way of a third, is a group.

    Parameters
    ----------
    current, prior : int32 [k, j, i]
        Label maps on one grid, 0 where nothing is.
    spacing_mm : (z, y, x)
    """
    sizes_now, sizes_then = np.bincount(current.ravel()), np.bincount(prior.ravel())
    now, then = (np.flatnonzero(sizes[1:]) + 1 for sizes in (sizes_now, sizes_then))
    links = set()
    for c, p, voxels in within_reach(current, prior, spacing_mm):  # voxels of p near c
        if sizes_then[p] <= sizes_now[c] and voxels >= SHARE * sizes_then[p]:
            links.add((c, p))
    for p, c, voxels in within_reach(prior, current, spacing_mm):
        if sizes_now[c] < sizes_then[p] and voxels >= SHARE * sizes_now[c]:
            links.add((c, p))
    return _components(now, then, links)


def within_reach(
    of: NDArray[np.int32], others: NDArray[np.int32], spacing_mm: Spacing
) -> Iterator[tuple[int, int, int]]:
    """Yield (label, other, voxels): how many voxels of a lesion of `others` lie within `REACH_MM` of one of `of`."""
    margin = [int(np.ceil(REACH_MM / step)) for step in spacing_mm]
    for label, box in enumerate(ndimage.find_objects(of), start=1):
        if box is None:
            continue
        wide = tuple(slice(max(0, part.start - m), part.stop + m) for part, m in zip(box, margin, strict=True))
        if not others[wide].any():
            continue
        away_mm = ndimage.distance_transform_edt(of[wide] != label, sampling=spacing_mm)
        counts = np.bincount(others[wide][away_mm <= REACH_MM])
        yield from ((label, int(other), int(counts[other])) for other in np.flatnonzero(counts) if other)


def _components(now: NDArray[np.intp], then: NDArray[np.intp], links: set[tuple[int, int]]) -> tuple[Group, ...]:
    nodes = [(0, int(c)) for c in now] + [(1, int(p)) for p in then]
    place = {node: n for n, node in enumerate(nodes)}
    rows = [place[0, c] for c, _ in links]
    columns = [place[1, p] for _, p in links]
    graph = coo_matrix((np.ones(len(links)), (rows, columns)), shape=(len(nodes), len(nodes)))
    count, which = connected_components(graph, directed=False)
    members: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for node, group in zip(nodes, which, strict=True):
        members[group].append(node)
    return tuple(
        Group(tuple(label for side, label in group if side == 0), tuple(label for side, label in group if side == 1))
        for group in members
    )
