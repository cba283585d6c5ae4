"""Readers' contours of LIDC-IDRI as masks: what real nodules are compared with."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pacsai.volume import Volume

Mask = NDArray[np.bool_]
MIN_POINTS = 4
"""Findings under 3 mm are marked by one point each; they have no contour."""


def consensus(xml: Path, volume: Volume, *, readers: int = 2) -> tuple[Mask, ...]:
    """Return the nodules that at least `readers` of the four drew, bool [k, j, i] of the volume, largest first.

    A voxel belongs to a nodule when so many readers' contours hold it. Contours are found by SOP Instance UID, so that
    those outside a slab are left out.
    """
    slices = {instance.sop_instance_uid: k for k, instance in enumerate(volume.source)}
    sessions = ElementTree.parse(xml).getroot().findall("{*}readingSession")
    votes = sum(_reader_mask(session, slices, volume.shape_kji).astype(np.uint8) for session in sessions)
    labels, n = ndimage.label(np.asarray(votes) >= readers)
    masks = [labels == number for number in range(1, n + 1)]
    return tuple(sorted(masks, key=np.count_nonzero, reverse=True))


def dice(one: Mask, other: Mask) -> float:
    """Return the overlap of two masks, 0 to 1."""
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def _reader_mask(session: ElementTree.Element, slices: dict[str, int], shape_kji: tuple[int, int, int]) -> Mask:
    mask = np.zeros(shape_kji, dtype=np.bool_)
    for roi in session.findall("{*}unblindedReadNodule/{*}roi"):
        k = slices.get(roi.findtext("{*}imageSOP_UID", "").strip())
        points = [_point(edge) for edge in roi.findall("{*}edgeMap")]
        if k is not None and len(points) >= MIN_POINTS:
            mask[k] = mask[k] | _inside(points, shape_kji) if _included(roi) else mask[k] & ~_inside(points, shape_kji)
    return mask


def _included(roi: ElementTree.Element) -> bool:
    return roi.findtext("{*}inclusion", "").strip() == "TRUE"


def _point(edge: ElementTree.Element) -> tuple[int, int]:
    return int(edge.findtext("{*}xCoord", "")), int(edge.findtext("{*}yCoord", ""))


def _inside(points: list[tuple[int, int]], shape_kji: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return the pixels within a contour; LIDC's edge pixels are the first ones outside the nodule."""
    canvas = Image.new("1", (shape_kji[2], shape_kji[1]))
    ImageDraw.Draw(canvas).polygon(points, fill=1, outline=0)
    return np.asarray(canvas, dtype=np.bool_)
