"""Real chest CTs for training and validation: DICOM folders in, one .npz each out, which `train` reads without DICOM.

    python -m pipelines.chest_ct_nodules.prepare --out DIR FOLDER [FOLDER ...] [--lesion NAME:K,J,I ...]

Each .npz holds hu (int16 [k, j, i], k to the head), closed (bool, where nodules are searched), spacing_mm (z, y, x),
ignored_kji ([n, 2, 3]: first and last index of a box of 40 mm round each lesion, never trained on) and, where a folder
has LIDC contours, consensus (bool: voxels that at least half of the readers drew).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from pipelines.chest_ct_nodules.lungs import segment_lungs

BOX_MM = 40.0
_NIH = "{http://www.nih.gov}"

Point = tuple[float, float, float]


def main(arguments: list[str] | None = None) -> None:
    """Read every folder and write its .npz."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--lesion", action="append", default=[], metavar="NAME:K,J,I", help="a known lesion's middle")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in options.folders:
        known = [_place(text) for text in options.lesion if text.split(":")[0] == folder.name]
        prepared = prepare(folder, known)
        np.savez_compressed(options.out / f"{folder.name}.npz", **prepared)  # type: ignore[arg-type]
        told = f"{folder.name}: {prepared['hu'].shape}, {len(prepared['ignored_kji'])} lesions left out"
        print(told, file=sys.stderr)  # noqa: T201


def _place(text: str) -> Point:
    k, j, i = (float(part) for part in text.split(":")[1].split(","))
    return k, j, i


def prepare(folder: Path, lesions: list[Point]) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of one series that lies in `folder`; `lesions` are indices (k, j, i) of its grid."""
    slices = sorted(
        (pydicom.dcmread(path) for path in folder.glob("*.dcm")), key=lambda item: float(item.ImagePositionPatient[2])
    )
    hu = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices]).astype(
        np.float32
    )
    hu = np.clip(hu, -1024, 3071)
    distance = float(slices[1].ImagePositionPatient[2]) - float(slices[0].ImagePositionPatient[2])
    spacing = (distance, float(slices[0].PixelSpacing[0]), float(slices[0].PixelSpacing[1]))
    out: dict[str, NDArray[np.generic]] = {
        "hu": np.rint(hu).astype(np.int16),
        "closed": segment_lungs(hu, spacing).closed,
        "spacing_mm": np.array(spacing),
    }
    contours = next(iter(folder.glob("*.xml")), None)
    if contours is not None:
        out["consensus"] = readers_consensus(contours, [float(s.ImagePositionPatient[2]) for s in slices], hu.shape[1:])
        lesions = lesions + _middles(out["consensus"])
    half = BOX_MM / 2 / np.array(spacing)
    boxes = [np.stack([np.array(m) - half, np.array(m) + half]) for m in lesions]
    out["ignored_kji"] = np.array(boxes).reshape(-1, 2, 3)
    return out


def readers_consensus(xml: Path, z_mm: list[float], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the voxels that at least half of the readers outlined, bool [k, j, i].

    LIDC's edge maps run along the first pixels outside the nodule, so the outline itself is not part of it.
    """
    votes = np.zeros((len(z_mm), *shape), dtype=np.int8)
    sessions = ElementTree.parse(xml).getroot().findall(f"{_NIH}readingSession")  # noqa: S314 (a file of the data set)
    for session in sessions:
        drawn = np.zeros(votes.shape, dtype=np.bool_)
        for roi in session.iter(f"{_NIH}roi"):
            k = int(np.argmin(np.abs(np.array(z_mm) - float(roi.findtext(f"{_NIH}imageZposition", "nan")))))
            if abs(z_mm[k] - float(roi.findtext(f"{_NIH}imageZposition", "nan"))) < 0.1:
                drawn[k] ^= _filled(roi, shape)
        votes += drawn
    return np.asarray(votes * 2 >= len(sessions))


def _filled(roi: ElementTree.Element, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    points = [
        (int(edge.findtext(f"{_NIH}xCoord", "0")), int(edge.findtext(f"{_NIH}yCoord", "0")))
        for edge in roi.iter(f"{_NIH}edgeMap")
    ]
    canvas = Image.new("1", (shape[1], shape[0]))
    if len(points) > 2:
        ImageDraw.Draw(canvas).polygon(points, fill=1, outline=1)
        ImageDraw.Draw(canvas).line([*points, points[0]], fill=0)
    return np.array(canvas, dtype=np.bool_)


def _middles(mask: NDArray[np.generic]) -> list[Point]:
    labels, n = ndimage.label(mask)
    return [(float(k), float(j), float(i)) for k, j, i in ndimage.center_of_mass(mask, labels, range(1, n + 1))]


if __name__ == "__main__":
    main()
