"""Flaws of the images: torn slices and cavities are seen, sound brains raise no alarm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from pipelines.brain_lesions.flaws import Image, Mask, cavity_ml, odd_slices, remarks
from pipelines.brain_lesions.prepare import normalised
from pipelines.brain_lesions.registration_trials import FILES, read_nifti


@pytest.fixture(scope="module", params=["patient19", "patient26"])
def flair(request: pytest.FixtureRequest, shared_data: Path) -> Image:
    return read_nifti(shared_data / "mr" / "open-ms" / request.param / FILES["FLAIR"]).array


def thick(image: Image, n: int) -> Image:
    whole = image[: len(image) // n * n]
    return np.asarray(whole.reshape(-1, n, *image.shape[1:]).mean(axis=1), np.float32)


@pytest.mark.parametrize("thickness", [1, 3, 5])
def test_a_sound_brain_has_no_odd_slices(flair: Image, thickness: int) -> None:
    image = thick(flair, thickness)
    assert odd_slices(image, image != 0) == []
    assert remarks(image, image != 0, "FLAIR") == []


@pytest.mark.parametrize(
    ("what", "thickness"),
    [("shifted", 1), ("shifted", 3), ("turned", 1), ("turned", 3), ("dark", 1), ("dark", 3), ("dark", 5)],
)
def test_a_torn_slice_is_named(flair: Image, what: str, thickness: int) -> None:
    image = thick(flair, thickness).copy()
    k = len(image) // 2
    torn = {
        "shifted": np.roll(image[k], (6, 5), axis=(0, 1)),
        "turned": ndimage.rotate(image[k], 12, reshape=False, order=1),
        "dark": 0.7 * image[k],
    }
    brain = image != 0
    image[k] = torn[what]
    assert k in odd_slices(image, brain)
    assert "as by motion" in remarks(image, brain, "FLAIR")[0]


def ready(image: Image) -> tuple[Image, Mask]:
    brain = np.asarray(ndimage.binary_fill_holes(image != 0))
    return normalised(image, brain), brain


def test_a_cavity_on_one_side_is_seen_and_the_ventricles_are_not(flair: Image) -> None:
    image, brain = ready(flair)
    assert cavity_ml(image, brain) == 0
    k, j, i = (int(one.mean()) for one in np.nonzero(brain))
    places = np.indices(brain.shape).reshape(3, -1).T
    void = np.linalg.norm(places - (k + 20, j + 15, i + 32), axis=1).reshape(brain.shape) < 15
    assert cavity_ml(np.where(void & brain, np.float32(-5), image), brain) == pytest.approx(14, rel=0.3)
