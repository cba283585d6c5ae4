"""Small MR studies of a head and a followed result over them, in any orientation, for the tests of result objects."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pacsai import terms
from pacsai.changes import Change, Earlier
from pacsai.finding import Finding, Mask, Measurement, Provenance, Result
from pacsai.objects.source import Source
from pacsai.study import Instance, Series, Study
from pacsai.volume import read_volume
from tests.objects.samples import NOW, WHO, ball
from tests.phantoms import edit, instances, write_ct_series

SHAPE_KJI = (14, 60, 72)
SPACING_MM = (2.5, 0.9, 0.8)
ORIENTATIONS = {
    "axial": np.eye(3),
    "sagittal": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]),
    "coronal": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]),
}
PROVENANCE = Provenance(
    pipeline="brain_lesions",
    version="1.0.0",
    model_digest="a" * 64,
    inputs_digest="b" * 64,
    configuration_digest="c" * 64,
)
EARLIER = Earlier(
    study_instance_uid="2.25.77", study_date=date(2025, 8, 6), current_date=date(2026, 3, 4), volume_mm3=640.0
)


def turned(first_deg: float = 17.0, second_deg: float = -23.0) -> NDArray[np.float64]:
    """Return the axes of an oblique acquisition: turned about x, then about z."""
    a, b = np.deg2rad([first_deg, second_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(about_z @ about_x)


def affine(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return index (i, j, k) to LPS mm of a head scanned along `axes` (columns: along i, j and k)."""
    matrix = np.eye(4)
    matrix[:3, :3] = axes * SPACING_MM[::-1]
    matrix[:3, 3] = (-31.7, -28.3, 12.9)
    return matrix


def series(folder: Path, axes: NDArray[np.float64], number: int, **header: str) -> tuple[Instance, ...]:
    """Write an MR series of a bright ball in the dark and return its instances in slice order."""
    head = np.full(SHAPE_KJI, 20, dtype=np.int16)
    head[ball((7, 30, 36), 26, SHAPE_KJI).box] += 300
    head[0, 0, 0] = number  # other content, other UIDs
    paths = write_ct_series(folder, head, affine(axes), **{**WHO, "BodyPartExamined": "BRAIN", **header})
    for path in paths:
        edit(path, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4", ScanningSequence="SE", SequenceVariant="SK",
             ScanOptions="", MRAcquisitionType="2D", EchoTime=90.0, RepetitionTime=9000.0, EchoTrainLength=9,
             ImageType=["ORIGINAL", "PRIMARY", "OTHER"], StudyInstanceUID="2.25.42", RescaleType=None)  # fmt: skip
    return read_volume(instances(paths)).source


def source(folder: Path, axes: NDArray[np.float64] | None = None) -> Source:
    """Return a FLAIR as the reference, with a T1 of another frame of reference and orientation beside it."""
    flair = series(folder / "flair", ORIENTATIONS["axial"] if axes is None else axes, 1)
    t1 = series(folder / "t1", ORIENTATIONS["sagittal"], 2, FrameOfReferenceUID="2.25.4711")
    header = flair[0].header
    both = tuple(Series(one[0].header.SeriesInstanceUID, "MR", one) for one in (flair, t1))
    study = Study("2.25.42", header.PatientID, "", both)
    return Source(study=study, instances=flair, volume=read_volume(flair), now=NOW, others=t1)


def lesion(
    number: int, change: Change | None, mask: Mask | None, before: float | None = None, uid: str = ""
) -> Finding:
    volume = () if mask is None else (_volume(mask),)
    return Finding(
        kind=terms.LESION_OF_BRAIN,
        label=f"Lesion {number}",
        probability=None if mask is None else 0.876,
        centre_mm=(-5.0, -10.0, 30.0),
        site=terms.BRAIN,
        laterality=terms.LEFT,
        mask=mask,
        measurements=volume,
        change=change,
        prior_volume_mm3=before,
        remarks=("periventricular",),
        tracking_uid=uid,
    )


def followed() -> Result:
    """Return one lesion of each change; the gone one has no mask, and all of them together are a total."""
    masks = [ball(place, radius, SHAPE_KJI) for place, radius in _PLACES]
    findings = (
        lesion(1, Change.NEW, masks[0]),
        lesion(2, Change.ENLARGING, masks[1], 120.0, "2.25.1001"),
        lesion(3, Change.STABLE, masks[2], 60.0, "2.25.1002"),
        lesion(4, Change.SHRINKING, masks[3], 400.0),
        lesion(5, Change.GONE, None, 60.0, "2.25.1003"),
    )
    whole = np.any([mask.paste(SHAPE_KJI) for mask in masks], axis=0)
    return Result(
        outcome=Result.of(findings).outcome, findings=findings, totals=(_total(whole),), earlier=EARLIER
    ).signed(PROVENANCE)


_PLACES = (((4, 20, 20), 3), ((7, 30, 40), 4), ((7, 18, 50), 2), ((10, 42, 30), 3))


def _total(whole: NDArray[np.bool_]) -> Finding:
    mask = Mask(whole, (0, 0, 0))
    return Finding(
        kind=terms.LESION_OF_BRAIN,
        label="All lesions",
        probability=None,
        centre_mm=(0.0, 0.0, 0.0),
        site=terms.BRAIN,
        mask=mask,
        measurements=(Measurement(terms.LESION_COUNT, 4, terms.NO_UNITS), _volume(mask)),
        prior_volume_mm3=640.0,
    )


def _volume(mask: Mask) -> Measurement:
    volume_mm3 = float(mask.array.sum() * np.prod(SPACING_MM))
    return Measurement(terms.VOLUME, volume_mm3, terms.MM3, terms.SUM_OF_VOXELS)
