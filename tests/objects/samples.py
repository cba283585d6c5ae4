"""A small CT series on disk and a signed result over it, for the tests of everything that writes objects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.finding import Finding, Mask, Measurement, Provenance, Result
from pacsai.objects.source import Source
from pacsai.study import Instance, Series, Study
from pacsai.volume import Volume
from tests.phantoms import instances, write_ct_series, write_enhanced_ct

SHAPE_KJI = (12, 64, 80)
SPACING_MM = (2.5, 0.8, 0.7)
ORIGIN_MM = (-30.0, -20.0, 100.0)
NOW = datetime(2026, 3, 4, 5, 6, 7, 89000)
WHO = {
    "SpecificCharacterSet": "ISO_IR 100",
    "PatientName": "Müller^Änne",
    "PatientID": "P1",
    "PatientSex": "F",
    "AccessionNumber": "A1",
    "StudyID": "1",
}
PROVENANCE = Provenance(
    pipeline="chest_ct_nodules",
    version="1.0.0",
    model_digest="a" * 64,
    inputs_digest="b" * 64,
    configuration_digest="c" * 64,
)


def ct_source(folder: Path, shape_kji: tuple[int, int, int] = SHAPE_KJI, **header: Any) -> Source:
    """Write an axial CT series of air into `folder` and return it as the source of result objects."""
    array = np.full(shape_kji, -1000, dtype=np.int16)
    return source_of(instances(write_ct_series(folder, array, affine(), **{**WHO, **header})), array)


def enhanced_ct_source(folder: Path, frames: Sequence[int]) -> Source:
    """Write the same air as one enhanced CT whose frames hold the slices `frames`, and return it as a source."""
    array = np.full((len(frames), *SHAPE_KJI[1:]), -1000, dtype=np.int16)
    return source_of(instances([write_enhanced_ct(folder / "enhanced.dcm", array, affine(), frames)]), array)


def source_of(images: tuple[Instance, ...], array: NDArray[np.int16]) -> Source:
    """Return images in slice order and their voxels as the source of result objects."""
    header = images[0].header
    series = Series(header.SeriesInstanceUID, "CT", images)
    study = Study(header.StudyInstanceUID, header.PatientID, header.get("AccessionNumber", ""), (series,))
    volume = Volume(array.astype(np.float32), affine(), header.get("FrameOfReferenceUID", ""), images)
    return Source(study=study, instances=images, volume=volume, now=NOW)


def affine() -> NDArray[np.float64]:
    """Return index (i, j, k, 1) to LPS mm of the sample series."""
    matrix = np.diag([SPACING_MM[2], SPACING_MM[1], SPACING_MM[0], 1.0])
    matrix[:3, 3] = ORIGIN_MM
    return matrix


def result(*findings: Finding, provenance: Provenance = PROVENANCE) -> Result:
    """Return the signed result of an analysis that ended with `findings`."""
    return Result.of(findings, remarks=("The lung bases are cut off.",)).signed(provenance)


def two_nodules() -> Result:
    """Return a result of a round nodule inside the volume and one cut by its first slice, row and column."""
    return result(nodule(1, (5, 30, 40)), nodule(2, (0, 0, 0), remarks=("Cut by the edge of the scan.",)))


def nodule(number: int, centre_kji: tuple[int, int, int], radius: int = 4, **changes: object) -> Finding:
    """Return a ball of `radius` voxels about `centre_kji`, clipped to the sample volume, with all a finding may say."""
    mask = ball(centre_kji, radius)
    values = {
        "kind": terms.NODULE,
        "label": f"Nodule {number}",
        "probability": 0.934,
        "centre_mm": tuple(float(x) for x in (affine() @ [*centre_kji[::-1], 1])[:3]),
        "site": terms.UPPER_LOBE,
        "laterality": terms.RIGHT,
        "mask": mask,
        "measurements": (
            Measurement(terms.LONG_AXIS, 6.4321, terms.MM),
            Measurement(terms.SHORT_AXIS, 5.6, terms.MM),
            Measurement(terms.VOLUME, mask.array.sum() * 1.4, terms.MM3, terms.SUM_OF_VOXELS),
            Measurement(terms.ATTENUATION, -23.456, terms.HU, terms.MEAN),
        ),
        "qualities": ((terms.NODULE_TYPE, terms.PART_SOLID),),
    }
    return Finding(**(values | changes))  # type: ignore[arg-type]


def ball(centre_kji: tuple[int, int, int], radius: int, shape_kji: tuple[int, int, int] = SHAPE_KJI) -> Mask:
    """Return the voxels within `radius` voxels of `centre_kji` that lie in the volume, as a tight crop."""
    k, j, i = np.ogrid[tuple(slice(0, n) for n in shape_kji)]
    distance = (k - centre_kji[0]) ** 2 + (j - centre_kji[1]) ** 2 + (i - centre_kji[2]) ** 2
    full = distance <= radius**2
    inside = np.argwhere(full)
    low, high = inside.min(axis=0), inside.max(axis=0) + 1
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Mask(full[box], (int(low[0]), int(low[1]), int(low[2])))


def unknown_codes(dataset: Dataset) -> set[terms.Code]:
    """Return the coded concepts anywhere in `dataset` that neither the dictionaries nor the reviewed table hold."""
    items = (item for element in dataset.iterall() if element.VR == "SQ" for item in element.value)
    codes = {terms.Code(i.CodeValue, i.CodingSchemeDesignator, i.CodeMeaning) for i in items if "CodeValue" in i}
    return {code for code in codes if not terms.known(code)}
