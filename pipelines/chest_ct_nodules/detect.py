"""Nodules in the lungs of a CT: candidates, false-positive reduction, segmentation.

Works on plain arrays with their spacing; knows nothing of DICOM or of world coordinates.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from pipelines.chest_ct_nodules.net import Networks, scaled
from pipelines.chest_ct_nodules.phantom.fields import Array, resized
from pipelines.chest_ct_nodules.phantom.scanner import linear_matrix

THRESHOLD = 0.65
"""The shipped operating point: marks of lower probability are not reported."""
AIR_HU = -1000.0
MARGIN_MM = 12.0
TILE = 112
HALO = 12
PEAK_FLOOR = 0.03
MAX_CANDIDATES = 80
MIN_DISTANCE_MM = 4.0
SEGMENT_STEP_MM = 0.75
SEGMENT_SIZE = 64

Bools = NDArray[np.bool_]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """One nodule candidate that was kept.

    Attributes
    ----------
    centre_kji : tuple of float
        Centre in (fractional) indices of the source volume.
    probability : float
        0 to 1; what the detector and the false-positive reduction together think.
    mask : bool [k, j, i]
        The nodule's voxels, a crop of the source grid; never empty.
    offset_kji : tuple of int
        Index of the crop's first voxel in the source volume.
    """

    centre_kji: Point
    probability: float
    mask: Bools
    offset_kji: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A peak of the detector's heat map: its index on the 1 mm grid and its height, 0 to 1."""

    place: Point
    heat: float


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """The lungs on voxels of about 1 mm, and how its indices map to the source's: source = first + index * scale."""

    hu: Array
    region: Bools
    first: NDArray[np.float64]
    scale: NDArray[np.float64]


def detect(
    array_hu: NDArray[np.float32],
    spacing_mm: tuple[float, float, float],
    lungs_mask: Bools,
    networks: Networks,
    *,
    threshold: float = THRESHOLD,
) -> tuple[Mark, ...]:
    """Return the nodules of a chest CT, most probable first.

    Parameters
    ----------
    array_hu : float32 [k, j, i]
        Hounsfield units; k runs to the head, j to the back, i to the patient's left.
    spacing_mm : (z, y, x)
        Distance of neighbouring voxel centres, millimetres.
    lungs_mask : bool [k, j, i]
        Where to search: the lungs, closed by 16 mm and widened by 3-4 mm (`lungs.Lungs.closed`).
    networks : Networks
        The three trained networks (`net.load_networks`).
    threshold : float
        Marks of lower probability are left out; 0 keeps every candidate (for a FROC).
    """
    if not lungs_mask.any():
        return ()
    model = _model_grid(array_hu, spacing_mm, lungs_mask)
    candidates = find_candidates(model.hu, model.region, networks.detector)
    judged = zip(candidates, judge(model.hu, candidates, networks.reducer), strict=True)
    likely = sorted(((combined(c.heat, p), c) for c, p in judged), key=lambda pair: -pair[0])
    marks: list[Mark] = []
    for probability, candidate in likely:
        centre = model.first + np.array(candidate.place) * model.scale
        if probability < threshold or _already_in(marks, centre):
            continue
        marks.append(_segmented(array_hu, spacing_mm, centre, probability, networks.segmenter))
    return _distinct(marks)


def combined(heat: float, judged: float) -> float:
    """Return one probability from the detector's and the reducer's: their geometric mean."""
    return float(np.sqrt(heat * judged))


def _model_grid(array: NDArray[np.float32], spacing: tuple[float, float, float], lungs: Bools) -> _Model:
    """Return the box of the lungs, a margin wider, on voxels of about 1 mm."""
    box = []
    for axis, step in enumerate(spacing):
        hit = np.flatnonzero(lungs.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = int(np.ceil(MARGIN_MM / step))
        box.append(slice(max(0, int(hit[0]) - margin), min(lungs.shape[axis], int(hit[-1]) + margin + 1)))
    hu, region = array[tuple(box)], lungs[tuple(box)]
    shape = tuple(max(2, round((n - 1) * s) + 1) for n, s in zip(hu.shape, spacing, strict=True))
    scale = np.array([(n - 1) / (m - 1) for n, m in zip(hu.shape, shape, strict=True)])
    near = [np.rint(np.arange(m) * s).astype(int) for m, s in zip(shape, scale, strict=True)]
    inside = region[near[0]][:, near[1]][:, :, near[2]]
    return _Model(resized(hu, shape), inside, np.array([float(b.start) for b in box]), scale)


def find_candidates(hu: Array, region: Bools, detector: nn.Module, floor: float = PEAK_FLOOR) -> list[Candidate]:
    """Return the peaks of the detector's heat map inside `region` (1 mm voxels), highest first."""
    heat = _heat_map(hu, region, detector)
    peak = functional.max_pool3d(heat[None, None], 5, stride=1, padding=2)[0, 0]
    found = torch.nonzero((heat >= peak) & (heat > floor))
    heights = heat[found[:, 0], found[:, 1], found[:, 2]]
    kept: list[Candidate] = []
    for n in torch.argsort(heights, descending=True, stable=True).tolist():
        place = found[n].numpy().astype(np.float64)
        if all(float(np.sum((place - np.array(c.place)) ** 2)) > MIN_DISTANCE_MM**2 for c in kept):
            kept.append(Candidate((float(place[0]), float(place[1]), float(place[2])), float(heights[n])))
        if len(kept) == MAX_CANDIDATES:
            break
    return kept


def _heat_map(hu: Array, region: Bools, detector: nn.Module) -> Tensor:
    """Return the detector's heat (0 to 1) over the volume, float32 [k, j, i], 0 outside `region`."""
    heat = torch.zeros(hu.shape)
    image = scaled(torch.from_numpy(hu))
    for inner in _tiles(hu.shape):
        if not region[inner].any():
            continue
        tile = torch.full((TILE,) * 3, float(scaled(torch.tensor(AIR_HU))))
        outer = [
            slice(max(0, s.start - HALO), min(n, s.start + TILE - HALO)) for s, n in zip(inner, hu.shape, strict=True)
        ]
        at = [o.start - (s.start - HALO) for o, s in zip(outer, inner, strict=True)]
        tile[tuple(slice(a, a + o.stop - o.start) for a, o in zip(at, outer, strict=True))] = image[tuple(outer)]
        answer = _answers(detector, tile[None, None])[0, 0]
        heat[inner] = answer[tuple(slice(HALO, HALO + s.stop - s.start) for s in inner)]
    return heat * torch.from_numpy(region)


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    step = TILE - 2 * HALO
    for corner in product(*(range(0, n, step) for n in shape)):
        yield tuple(slice(c, min(c + step, n)) for c, n in zip(corner, shape, strict=True))


def _answers(network: nn.Module, x: Tensor) -> Tensor:
    """Return a network's probabilities, float32."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        logits: Tensor = network(x)
    return torch.sigmoid(logits.float())


def cubes(hu: Array, places: list[Point], size: int) -> Tensor:
    """Return scaled cubes of `size` voxels round `places`, [n, 1, size, size, size], air beyond the volume."""
    padded = np.pad(hu, size // 2, constant_values=AIR_HU)
    corners = [tuple(round(p) for p in place) for place in places]
    parts = [padded[k : k + size, j : j + size, i : i + size] for k, j, i in corners]
    return scaled(torch.from_numpy(np.stack(parts)))[:, None]


def judge(hu: Array, candidates: list[Candidate], reducer: nn.Module) -> list[float]:
    """Return the reducer's probability of each candidate, averaged over four mirrorings."""
    judged: list[float] = []
    for n in range(0, len(candidates), 16):
        crops = cubes(hu, [c.place for c in candidates[n : n + 16]], 64)
        views = (crops, crops.flip(4), crops.flip(3), crops.flip(2, 4))
        judged += torch.stack([_answers(reducer, view) for view in views]).mean(dim=0).tolist()
    return judged


def _segmented(
    array: NDArray[np.float32],
    spacing: tuple[float, float, float],
    centre: NDArray[np.float64],
    probability: float,
    segmenter: nn.Module,
) -> Mark:
    """Return the mark at `centre` (source index) with its voxels on the source grid."""
    reach = (SEGMENT_SIZE - 1) / 2 * SEGMENT_STEP_MM
    step = np.array(spacing)
    low = np.maximum(np.floor(centre - reach / step).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach / step).astype(int) + 1, array.shape)
    k, j, i = (slice(a, b) for a, b in zip(low, high, strict=True))
    wanted = (
        centre[:, None] + (np.arange(SEGMENT_SIZE) * SEGMENT_STEP_MM - reach)[None, :] / step[:, None] - low[:, None]
    )
    fine = _sampled(array[k, j, i], wanted, AIR_HU)
    share = _answers(segmenter, scaled(torch.from_numpy(fine))[None, None])[0, 0].numpy()
    back = [
        ((np.arange(a, b) - c) * s + reach) / SEGMENT_STEP_MM
        for a, b, c, s in zip(low, high, centre, spacing, strict=True)
    ]
    inside = _part_at(_sampled(share, np.array(back, dtype=object), 0.0) > 0.5, centre - low, spacing)
    kept = ndimage.find_objects(inside.astype(np.uint8))[0]
    offset = tuple(int(a) + s.start for a, s in zip(low, kept, strict=True))
    mask = inside[kept]
    middle = np.argwhere(mask).mean(axis=0) + offset
    return Mark(
        (float(middle[0]), float(middle[1]), float(middle[2])), probability, mask, (offset[0], offset[1], offset[2])
    )


def _sampled(array: Array, at: NDArray[np.generic], beyond: float) -> Array:
    """Return `array` linearly interpolated at the indices at[axis]; `beyond` outside it."""
    matrices = [
        linear_matrix(n, np.asarray(points, dtype=np.float64)) for n, points in zip(array.shape, at, strict=True)
    ]
    sampled = np.einsum("ak,kji->aji", matrices[0], array, optimize=True)
    sampled = np.matmul(matrices[1], np.matmul(sampled, matrices[2].T))
    for axis, (n, points) in enumerate(zip(array.shape, at, strict=True)):
        outside = (np.asarray(points, dtype=np.float64) < -0.5) | (np.asarray(points, dtype=np.float64) > n - 0.5)
        np.moveaxis(sampled, axis, 0)[outside] = beyond
    return np.asarray(sampled, dtype=np.float32)


def _part_at(mask: Bools, centre: NDArray[np.float64], spacing: tuple[float, float, float]) -> Bools:
    """Return the connected part nearest to `centre` (within 5 mm), or the one voxel there."""
    labels, n = ndimage.label(mask)
    at = tuple(np.clip(np.rint(centre).astype(int), 0, np.array(mask.shape) - 1))
    alone = np.zeros_like(mask)
    alone[at] = True
    if n == 0:
        return alone
    places = np.argwhere(mask)
    gaps = np.linalg.norm((places - centre) * np.array(spacing), axis=1)
    nearest = int(np.argmin(gaps))
    return alone if gaps[nearest] > 5.0 else np.asarray(labels == labels[tuple(places[nearest])])


def _already_in(marks: list[Mark], centre: NDArray[np.float64]) -> bool:
    """Return whether a source index lies in the voxels of a mark."""
    for mark in marks:
        at = np.rint(centre).astype(int) - mark.offset_kji
        if (at >= 0).all() and (at < mark.mask.shape).all() and mark.mask[tuple(at)]:
            return True
    return False


def _distinct(marks: list[Mark]) -> tuple[Mark, ...]:
    """Return the marks without those whose middle lies in a more probable one."""
    kept: list[Mark] = []
    for mark in marks:
        if not _already_in(kept, np.array(mark.centre_kji)):
            kept.append(mark)
    return tuple(kept)
