"""Single calcifications at full resolution (0.1 mm), and the groups they form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull, QhullError, cKDTree
from torch.nn import functional

from pipelines.mammography_cad.look import SPECK_MM, Array, Mask, speck_contrast
from pipelines.mammography_cad.net import Finder

STRIP = 512
MARGIN = 32
"""Rows of a strip that is read at once, and rows that it is read beyond its ends."""
FLOOR = 0.6
"""Least probability of a single calcification: at 0.3 six times as many false ones join true groups to noise."""
LINK_MM, LEAST = 5.0, 3
"""Specks nearer than this belong together; so many make a group."""
MOST_SPECKS, MOST_GROUPS = 4000, 10


@dataclass(frozen=True, slots=True, eq=False)
class Specks:
    """Single calcifications of one view, pixels of 0.1 mm.

    Attributes
    ----------
    places : float [n, 2]
        (row, column).
    scores, contrast, size_mm : float [n]
        The network's 0 to 1; `speck_contrast` at the top; diameter of a disk as large.
    """

    places: NDArray[np.float64]
    scores: NDArray[np.float64]
    contrast: NDArray[np.float64]
    size_mm: NDArray[np.float64]

    def taken(self, which: NDArray[np.intp]) -> Specks:
        """Return some of them."""
        return Specks(self.places[which], self.scores[which], self.contrast[which], self.size_mm[which])


def find_specks(image: Array, mask: Mask, finder: Finder) -> tuple[Specks, Array]:
    """Return the calcifications of an image at 0.1 mm, and its contrast."""
    contrast = speck_contrast(image, mask)
    answer = speck_answers(contrast, mask, finder)
    large = ndimage.maximum_filter(answer, size=3)
    top = np.argwhere((answer == large) & (answer > FLOOR))
    scores = np.asarray(answer[top[:, 0], top[:, 1]], dtype=np.float64)
    order = np.argsort(-scores)[:MOST_SPECKS]
    places = np.asarray(2.0 * top[order] + 0.5, dtype=np.float64)
    scores = scores[order]
    heights, sizes = _measured(contrast, places)
    return Specks(places, scores, heights, sizes), contrast


def speck_answers(contrast: Array, mask: Mask, finder: Finder) -> Array:
    """Return how probably each pixel of 0.2 mm is a calcification; read in strips, without the columns of air."""
    rows, columns = contrast.shape
    out = np.zeros(((rows + 1) // 2, (columns + 1) // 2), dtype=np.float32)
    unit = finder.multiple
    for first in range(0, rows, STRIP):
        used = np.flatnonzero(mask[first : first + STRIP].any(axis=0))
        if not used.size:
            continue
        left, right = (max(0, int(used[0]) - MARGIN) // unit * unit, min(columns, int(used[-1]) + MARGIN))
        above = min(first, MARGIN)
        part = contrast[first - above : first + STRIP + MARGIN, left:right]
        tensor = torch.from_numpy(np.ascontiguousarray(part))[None, None]
        tensor = functional.pad(tensor, (0, -part.shape[1] % unit, 0, -part.shape[0] % unit))
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            logits = finder(tensor.to(memory_format=torch.channels_last))
        found = torch.sigmoid(logits.float())[0, 0].numpy()
        kept = found[above // 2 : above // 2 + STRIP // 2, : (part.shape[1] + 1) // 2]
        place = out[first // 2 : first // 2 + STRIP // 2, left // 2 : left // 2 + kept.shape[1]]
        place[...] = kept[: place.shape[0], : place.shape[1]]
    return np.asarray(out * mask[::2, ::2], dtype=np.float32)


def _measured(contrast: Array, places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the height of each speck and its diameter in mm: what lies above half its height within 1 mm."""
    heights, sizes = np.zeros(len(places)), np.zeros(len(places))
    for k, (row, column) in enumerate(places.astype(np.intp)):
        part = contrast[max(0, row - 5) : row + 6, max(0, column - 5) : column + 6]
        heights[k] = contrast[max(0, row - 1) : row + 3, max(0, column - 1) : column + 3].max()
        labels, _ = ndimage.label(part > 0.5 * max(heights[k], 1.0))
        middle = labels[min(5, row), min(5, column)]
        area = int((labels == middle).sum()) if middle else 1
        sizes[k] = 2 * np.sqrt(area / np.pi) * SPECK_MM
    return heights, sizes


def groups(specks: Specks) -> tuple[Specks, ...]:
    """Return the groups of three or more specks, each within LINK_MM of another, surest first."""
    if len(specks.places) < LEAST:
        return ()
    pairs = cKDTree(specks.places * SPECK_MM).query_pairs(LINK_MM, output_type="ndarray")
    n = len(specks.places)
    links = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    count, label = connected_components(links, directed=False)
    members = [np.flatnonzero(label == k) for k in range(count)]
    found = [specks.taken(which) for which in members if len(which) >= LEAST]
    return tuple(sorted(found, key=lambda group: -float(np.sort(group.scores)[-8:].sum())))[:MOST_GROUPS]


def hull(group: Specks, beyond_mm: float = 1.0) -> NDArray[np.float64]:
    """Return the corners (row, column) of the polygon about a group, a little outside of it, pixels of 0.1 mm."""
    theta = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    ring = np.stack([np.sin(theta), np.cos(theta)], axis=1) * beyond_mm / SPECK_MM
    points = (group.places[:, None] + ring[None]).reshape(-1, 2)
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        return np.asarray(ring + group.places.mean(axis=0))
