"""The place of a lesion: known places of a made brain, and plausible ones of real lesions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from pipelines.brain_lesions.anatomy import Anatomy, Place, Region, Side, anatomy, infratentorial, places
from pipelines.brain_lesions.prepare import normalised
from pipelines.brain_lesions.registration_trials import FILES, read_nifti

SHAPE = (150, 190, 156)
MIDDLE = np.array((75.0, 95.0, 78.0))


def ball(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    axes = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    return np.asarray(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) < radius**2)


@pytest.fixture(scope="module")
def made() -> Anatomy:
    """Return the anatomy of an egg with two ventricles: 140 mm high, 176 mm long, 140 mm wide."""
    k, j, i = (np.arange(n) - c for n, c in zip(SHAPE, MIDDLE, strict=True))
    egg = (k[:, None, None] / 70) ** 2 + (j[None, :, None] / 88) ** 2 + (i[None, None, :] / 70) ** 2 < 1
    flair = np.zeros(SHAPE, np.float32)
    for side in (-1, 1):
        for along in range(-20, 25, 3):
            flair[ball((80, 95 + along, 78 + side * 12), 6)] = -5
    return anatomy(flair, egg)


@pytest.mark.parametrize(
    ("centre", "region", "side"),
    [
        ((80, 95, 99), Region.PERIVENTRICULAR, Side.LEFT),
        ((80, 95, 57), Region.PERIVENTRICULAR, Side.RIGHT),
        ((90, 95, 78 - 66), Region.JUXTACORTICAL, Side.RIGHT),
        ((105, 95, 108), Region.DEEP_WHITE_MATTER, Side.LEFT),
        ((25, 140, 98), Region.INFRATENTORIAL, Side.LEFT),
        ((30, 100, 78), Region.INFRATENTORIAL, Side.MIDLINE),
    ],
)
def test_a_lesion_is_placed(made: Anatomy, centre: tuple[int, int, int], region: Region, side: Side) -> None:
    labels = ball(centre, 4).astype(np.int32) * 7
    assert places(made, labels) == {7: Place(region, side)}


def test_an_empty_brain_has_no_places() -> None:
    assert not infratentorial(np.zeros((10, 10, 10), np.bool_)).any()


def test_real_lesions_lie_where_lesions_of_sclerosis_lie(shared_data: Path) -> None:
    folder = shared_data / "mr" / "open-ms" / "patient19"
    flair, lesions = (read_nifti(folder / name) for name in (FILES["FLAIR"], "lesions.nii.gz"))
    box = ndimage.find_objects((flair.array != 0).astype(np.uint8))[0]
    image, lesion = (np.ascontiguousarray(a.array[box][:, ::-1]) for a in (flair, lesions))  # j to the back
    brain = image != 0
    found = anatomy(normalised(image, brain), brain)
    labels, _ = ndimage.label(lesion > 0)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    told = places(found, labels.astype(np.int32))
    regions = Counter(place.region for number, place in told.items() if sizes[number] >= 100)
    assert 5 < found.ventricles.sum() / 1000 < 80
    assert 60 < found.infratentorial.sum() / 1000 < 220
    assert told[int(sizes.argmax())].region is Region.PERIVENTRICULAR  # the confluent one
    assert regions[Region.INFRATENTORIAL] < 0.2 * sum(regions.values())
