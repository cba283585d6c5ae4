"""Chests to set nodules into: phantoms made here, and real ones that `prepare.py` read.

A background is kept as two files, so that worker processes share it by memory mapping.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipelines.chest_ct_nodules.patches import AIR_HU, Background
from pipelines.chest_ct_nodules.phantom.anatomy import build_anatomy
from pipelines.chest_ct_nodules.phantom.fields import Array, along_slices, blurred_in_plane, resized
from pipelines.chest_ct_nodules.phantom.placing import find_sites
from pipelines.chest_ct_nodules.phantom.scanner import (
    Scan,
    in_plane_matrix,
    linear_matrix,
    noise,
    random_scan,
    slice_matrix,
)

VESSEL_HU = -450
CLOSED_MARGIN_MM = 3.5
"""How far `lungs.Lungs.closed` reaches beyond the closed lungs."""
BIG = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
"""Keeps glibc from giving every large array's pages back at once; a third of the time of making a phantom."""


def phantom_backgrounds(folder: Path, seeds: list[int], workers: int = 2) -> list[Background]:
    """Return one generated chest per seed, made by `workers` processes into `folder`."""
    before = {name: os.environ.get(name) for name in (*BIG, "OMP_NUM_THREADS")}
    os.environ.update(BIG, OMP_NUM_THREADS="1")
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            list(pool.map(_make_phantom, [folder] * len(seeds), seeds))
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    return [_opened(folder, f"phantom-{seed}", seed) for seed in seeds]


def _make_phantom(folder: Path, seed: int) -> None:
    if (folder / f"phantom-{seed}.depth.npy").exists():
        return
    rng = np.random.default_rng([seed, 10])
    anatomy = build_anatomy(rng, (320.0, 300.0, 380.0), 1.0, tight=True)
    _write(folder, f"phantom-{seed}", anatomy.hu, anatomy.depth_mm)


def _write(folder: Path, name: str, hu: Array, depth: Array) -> None:
    np.save(folder / f"{name}.hu.npy", np.clip(np.rint(hu), AIR_HU, 3071).astype(np.int16))
    np.save(folder / f"{name}.depth.npy", np.clip(np.rint(depth), -30, 100).astype(np.int8))


def _opened(folder: Path, name: str, seed: int, scan: Scan | None = None, soft_hu: int = VESSEL_HU) -> Background:
    hu = np.load(folder / f"{name}.hu.npy", mmap_mode="r")
    depth = np.load(folder / f"{name}.depth.npy", mmap_mode="r")
    sites = find_sites(np.random.default_rng([seed, 11]), depth, np.asarray(hu) > soft_hu)
    return Background(hu, depth, sites, scan)


def real_backgrounds(source: Path, folder: Path) -> list[Background]:
    """Return the real chests that lie as .npz in `source`, resampled to 1 mm, with their lesions' boxes ignored."""
    found = []
    for number, path in enumerate(sorted(source.glob("*.npz"))):
        with np.load(path, allow_pickle=False) as data:
            hu, closed, spacing, boxes = data["hu"], data["closed"], data["spacing_mm"], data["ignored_kji"]
        first, hu, closed = _cropped(hu, closed, spacing)
        shape = tuple(round((n - 1) * s) + 1 for n, s in zip(hu.shape, spacing, strict=True))
        fine = resized(hu.astype(np.float32), shape)
        _write(folder, path.stem, fine, _depth(resized(closed.astype(np.float32), shape) > 0.5))
        background = _opened(folder, path.stem, 1000 + number, _measured_scan(fine, shape, float(spacing[0])))
        background.ignored.extend(_fine_box(box - first, spacing) for box in boxes)
        found.append(background)
    return found


def _cropped(
    hu: NDArray[np.int16], closed: NDArray[np.bool_], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.int_], NDArray[np.int16], NDArray[np.bool_]]:
    """Return the first index of the lungs' box, 14 mm wider, and both arrays cropped to it."""
    box = ndimage.find_objects(closed.astype(np.uint8))[0]
    margin = [int(14 / s) + 1 for s in spacing]
    k, j, i = (slice(max(0, b.start - m), b.stop + m) for b, m in zip(box, margin, strict=True))
    return np.array([k.start, j.start, i.start]), hu[k, j, i], closed[k, j, i]


def _depth(closed: NDArray[np.bool_]) -> Array:
    """Return the depth in the lungs of a search region; the ends of a slab do not count as wall."""
    padded = np.pad(closed, ((20, 20), (1, 1), (1, 1)), mode="edge")
    inside = ndimage.distance_transform_edt(padded)
    outside = ndimage.distance_transform_edt(~padded)
    return np.asarray((inside - outside - CLOSED_MARGIN_MM)[20:-20, 1:-1, 1:-1], dtype=np.float32)


def _fine_box(
    box: NDArray[np.float64], spacing: NDArray[np.float64]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    low, high = (np.rint(corner * spacing).astype(int) for corner in box)
    return (int(low[0]), int(low[1]), int(low[2])), (int(high[0]), int(high[1]), int(high[2]))


def _measured_scan(hu: Array, shape: tuple[int, ...], slice_mm: float) -> Scan:
    """Return the settings of a real scan: noise from the pixels, the point spread assumed."""
    middle = hu[shape[0] // 4 : -shape[0] // 4 or None : 3]
    rough = middle - ndimage.uniform_filter(middle, (1, 3, 3))
    lung = (middle < -700) & (middle > -950)
    level = float(np.median(np.abs(rough[lung]))) / 0.6745 if lung.any() else 20.0
    return Scan(slice_mm, slice_mm * 1.1, 0.45, 0.3, level * 1.1, 0.4)


def as_scanned(rng: np.random.Generator, background: Background) -> Array:
    """Return a background's whole volume as a scanner shows it, float32 on 1 mm voxels; a real one as it is."""
    hu = np.asarray(background.hu, dtype=np.float32)
    if background.scan is not None:
        return hu
    scan = random_scan(rng)
    n = hu.shape[0]
    z = np.arange(0, n, scan.spacing_mm)
    slices = along_slices(slice_matrix(n, 1.0, z, scan.thickness_mm), hu)
    rows, columns = (in_plane_matrix(m, 1.0, np.arange(m, dtype=np.float64), scan) for m in hu.shape[1:])
    slices = blurred_in_plane(slices, rows, columns)
    slices += noise(rng, (slices.shape[0], slices.shape[1], slices.shape[2]), 1.0, scan)
    return along_slices(linear_matrix(len(z), np.arange(n) / scan.spacing_mm), slices)
