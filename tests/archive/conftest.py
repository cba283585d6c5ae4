"""Three small CT images, as a parcel holds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.phantoms import write_ct_series


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    array = np.full((3, 64, 64), -1000, dtype=np.int16)
    return write_ct_series(tmp_path / "images", array, np.eye(4))
