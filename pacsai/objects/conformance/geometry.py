"""Geometry: a segmentation lies on the grid of its images, and marks lie inside the images they are drawn on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset

from pacsai.objects.conformance import cad
from pacsai.objects.conformance.walk import items, sequence_of
from pacsai.objects.frames import SAME_PLACE_MM, holder, position_mm
from pacsai.objects.source import ResultObject, Source

SAME_SPACING = 1e-4
"""How far a spacing in mm or a direction cosine may be from the source's: both are decimal strings."""


def displaced(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield where an object lies elsewhere than its images."""
    frame_of_reference = one.dataset.get("FrameOfReferenceUID")
    if frame_of_reference and frame_of_reference != source.header.get("FrameOfReferenceUID"):
        yield "FrameOfReferenceUID is not the source's"
    if one.kind == "SEG":
        yield from _segmentation(one.dataset, source)
    if one.kind in ("GSPS", "SR"):
        yield from _marks(one, source)
    if one.kind == "CADSR":
        yield from cad.displaced(one.dataset, source)


def _segmentation(seg: Dataset, source: Source) -> Iterator[str]:
    image = source.header
    for keyword in ("Rows", "Columns"):
        if seg.get(keyword) != image.get(keyword):
            yield f"{keyword} is {seg.get(keyword)}, the source's is {image.get(keyword)}"
    count = int(seg.get("NumberOfFrames") or 0)
    if len(seg.get("PerFrameFunctionalGroupsSequence", ())) != count:
        yield f"NumberOfFrames is {count}, and PerFrameFunctionalGroupsSequence says otherwise"
        return
    bits = count * int(seg.get("Rows") or 0) * int(seg.get("Columns") or 0)
    if len(seg.get("PixelData", b"")) != (bits + 15) // 16 * 2:
        yield f"PixelData does not hold {count} frames of one bit a pixel"
    yield from _planes(seg, image, count)
    yield from _positions(seg, source, count)


def _planes(seg: Dataset, image: Dataset, count: int) -> Iterator[str]:
    for sequence, keyword in (
        ("PlaneOrientationSequence", "ImageOrientationPatient"),
        ("PixelMeasuresSequence", "PixelSpacing"),
    ):
        wanted = _macro_value(image, 1, sequence, keyword)
        for frame in range(1, count + 1):
            found = _macro_value(seg, frame, sequence, keyword)
            if wanted is None or found is None or not np.allclose(found, wanted, atol=SAME_SPACING):
                yield f"frame {frame}: {keyword} is {found}, the source's is {wanted}"
                break


def _macro_value(image: Dataset, frame: int, sequence: str, keyword: str) -> list[float] | None:
    try:
        return [float(value) for value in holder(image, frame, keyword, sequence)[keyword].value]
    except (KeyError, TypeError):
        return None


def _positions(seg: Dataset, source: Source, count: int) -> Iterator[str]:
    places = np.array(
        [
            position_mm(instance.header, frame)
            for instance in source.instances
            for frame in range(1, int(instance.header.get("NumberOfFrames") or 1) + 1)
        ]
    )
    for frame in range(1, count + 1):
        try:
            away_mm = np.linalg.norm(places - position_mm(seg, frame), axis=1).min()
        except KeyError:
            yield f"frame {frame} has no ImagePositionPatient"
            continue
        if away_mm > SAME_PLACE_MM:
            yield f"frame {frame} lies {away_mm:.2f} mm from the nearest source image"


def _marks(one: ResultObject, source: Source) -> Iterator[str]:
    """Yield the graphics in PIXEL units that reach out of their image; PS3.3 C.10.5 ends them at Columns and Rows."""
    headers = {instance.sop_instance_uid: instance.header for instance in source.instances}
    for path, item, named in _drawn(one.dataset):
        if item.get("GraphicData") is None or item.get("ValueType") == "SCOORD3D":
            continue
        if item.get("GraphicAnnotationUnits", "PIXEL") != "PIXEL":
            continue
        numbers = np.asarray(item.GraphicData, dtype=float)
        if numbers.size % 2:
            yield f"{path} has a coordinate without its partner"
            continue
        points = numbers.reshape(-1, 2)
        for image in [headers[uid] for uid in named if uid in headers] or [source.header]:
            if (points < 0).any() or (points > (image.Columns, image.Rows)).any():
                yield f"{path} is drawn outside the image"


def _drawn(dataset: Dataset) -> Iterator[tuple[str, Dataset, list[str]]]:
    """Yield every item with its path and the images it is drawn on: an annotation's, or those it is selected from."""
    of_annotation: list[str] = []
    for path, item in items(dataset):
        if sequence_of(path) == "GraphicAnnotationSequence":
            of_annotation = _named(item)
        selected = [uid for child in item.get("ContentSequence", ()) for uid in _named(child)]
        yield path, item, selected or of_annotation


def _named(item: Dataset) -> list[str]:
    references = item.get("ReferencedImageSequence") or item.get("ReferencedSOPSequence") or ()
    return [str(reference.ReferencedSOPInstanceUID) for reference in references]
