"""The anatomy of generated mammograms is found, and what is not one breast is refused with the reason."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.mammography_cad.anatomy import NotOneBreastError, find_anatomy
from pipelines.mammography_cad.phantom import exam


def test_wall_and_nipple_are_found() -> None:
    for view in exam(4, spacing_mm=0.8):
        found = find_anatomy(view.array, oblique=view.name.endswith("MLO"))
        assert found.chest_wall == ("left" if view.name[0] == "L" else "right")
        assert np.hypot(*np.subtract(found.nipple, view.nipple)) * 0.8 < 12
        assert found.breast.shape == view.array.shape
        assert found.pectoral.any() == view.name.endswith("MLO")


def test_what_is_not_one_breast_is_refused() -> None:
    right, left = (v.array for v in exam(4, spacing_mm=1.6, views=("R CC", "L CC")))
    ruler = np.zeros((300, 240), dtype=np.float32)
    ruler[20:280, 100:115] = 1
    images = {
        "empty": np.zeros((300, 240), dtype=np.float32),
        "both": np.hstack([right, left]),
        "two": np.hstack([left, right]),
        "ruler": ruler,
        "fills": np.random.default_rng(1).uniform(0.3, 1, (300, 240)).astype(np.float32),
    }
    for image in images.values():
        with pytest.raises(NotOneBreastError):
            find_anatomy(image, oblique=False)
