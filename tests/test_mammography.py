"""Pixels of mammograms: whatever way they are stored, dense tissue is bright, air is 0 and the breast spans 0 to 1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from pacsai.exam import View
from pacsai.mammography import normalised, read_exam, spacing_at_breast
from pacsai.selection.mg import FOR_PROCESSING, mammograms
from tests import exams
from tests.phantoms import compress, edit


def view_of(folder: Path, prefer: str = "FOR PRESENTATION") -> View:
    """Return the one view of a folder as it is analysed."""
    chosen = mammograms(exams.study_in(folder), prefer)
    (view,) = read_exam(chosen.chosen, chosen.missing).views
    return view


def written(folder: Path, **header: Any) -> Path:
    return exams.write_view(folder, "L CC", exams.breast("L CC", ((100, 60, 6),)), **header)


@pytest.fixture
def plain(tmp_path: Path) -> View:
    written(tmp_path / "plain")
    return view_of(tmp_path / "plain")


def test_air_is_0_and_the_breast_spans_0_to_1(plain: View) -> None:
    assert plain.array.dtype == np.float32
    assert plain.array[100, 60] == 1
    assert plain.array[5, 180] == 0
    assert np.percentile(plain.array[plain.array > 0], 1) == pytest.approx(0, abs=0.02)
    assert (plain.name, plain.laterality, plain.view, plain.for_processing) == ("L CC", "L", "CC", False)


def test_monochrome1_is_turned_over(plain: View, tmp_path: Path) -> None:
    path = written(tmp_path / "one", PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    data = dcmread(path)
    data.PixelData = (4095 - data.pixel_array).astype(np.uint16).tobytes()
    data.save_as(path)
    np.testing.assert_allclose(view_of(tmp_path / "one").array, plain.array, atol=1e-6)


def test_raw_values_are_turned_by_their_sign_whatever_they_are_shown_as(plain: View, tmp_path: Path) -> None:
    path = written(tmp_path / "raw", IrradiationEventUID="2.25.7")
    raw = exams.for_processing(path)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        edit(raw, PhotometricInterpretation=photometric)
        view = view_of(tmp_path / "raw", FOR_PROCESSING)
        assert view.for_processing
        np.testing.assert_allclose(view.array, plain.array, atol=1e-6)
        assert view.shown.sop_class_uid != view.analysed.sop_class_uid


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_compressed_images_are_the_same(syntax: str, plain: View, tmp_path: Path) -> None:
    compress([written(tmp_path / "compressed")], syntax)
    assert np.array_equal(view_of(tmp_path / "compressed").array, plain.array)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_air_and_no_part_of_the_range(photometric: str, tmp_path: Path) -> None:
    path = written(tmp_path / "padded", PhotometricInterpretation=photometric, PixelPaddingValue=4095)
    data = dcmread(path)
    pixels = data.pixel_array.copy()
    if photometric == "MONOCHROME1":
        pixels = (4095 - pixels).astype(np.uint16)
    pixels[:, 150:] = 4095
    data.PixelData = pixels.tobytes()
    data.save_as(path)
    array = view_of(tmp_path / "padded").array
    assert array[:, 150:].max() == 0
    assert array[100, 60] == 1


def test_a_voi_table_is_applied_before_the_range_is_found(plain: View, tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 16], (np.arange(4096) // 2).astype("<u2").tobytes()
    path = written(tmp_path / "table")
    data = dcmread(path)
    data.VOILUTSequence = [table]
    data.save_as(path)
    np.testing.assert_allclose(view_of(tmp_path / "table").array, plain.array, atol=2e-3)


def test_a_sigmoid_window_bends_and_a_linear_one_cuts_nothing(plain: View, tmp_path: Path) -> None:
    written(tmp_path / "narrow", WindowCenter=1500, WindowWidth=10)
    assert np.array_equal(view_of(tmp_path / "narrow").array, plain.array)
    written(tmp_path / "sigmoid", WindowCenter=2500, WindowWidth=2000, VOILUTFunction="SIGMOID")
    bent = view_of(tmp_path / "sigmoid").array
    assert (bent >= 0).all()
    assert bent[100, 60] == pytest.approx(1)
    assert not np.allclose(bent, plain.array, atol=0.05)
    rows = np.argsort(plain.array[120, :60], kind="stable")
    assert (np.diff(bent[120, :60][rows]) >= 0).all()


def test_a_burned_in_marker_does_not_set_the_range(tmp_path: Path) -> None:
    array = exams.breast("L CC")
    without = normalised(array.astype(np.float32), np.zeros(array.shape, bool), darker=False)
    array[10:40, 150:180] = 4095
    marked = normalised(array.astype(np.float32), np.zeros(array.shape, bool), darker=False)
    assert np.array_equal(marked[:, :140], without[:, :140])
    assert marked[20, 160] > 1


@pytest.mark.parametrize(
    ("header", "spacing_mm"),
    [
        ({"ImagerPixelSpacing": [0.1, 0.08]}, (0.1, 0.08)),
        ({"ImagerPixelSpacing": [0.105, 0.105], "EstimatedRadiographicMagnificationFactor": 1.05}, (0.1, 0.1)),
        ({"ImagerPixelSpacing": [0.1, 0.1], "EstimatedRadiographicMagnificationFactor": 0}, (0.1, 0.1)),
        ({"PixelSpacing": [0.05, 0.05], "EstimatedRadiographicMagnificationFactor": 1.1}, (0.05, 0.05)),
        (
            {
                "ImagerPixelSpacing": [0.1, 0.1],
                "PixelSpacing": [0.09, 0.09],
                "PixelSpacingCalibrationType": "GEOMETRY",
                "EstimatedRadiographicMagnificationFactor": 1.1,
            },
            (0.09, 0.09),
        ),
        ({}, None),
        ({"ImagerPixelSpacing": [0, 0]}, None),
    ],
)
def test_spacing_is_that_at_the_breast(header: dict[str, Any], spacing_mm: tuple[float, float] | None) -> None:
    data = Dataset()
    for keyword, value in header.items():
        setattr(data, keyword, value)
    found = spacing_at_breast(data)
    assert found == (spacing_mm if spacing_mm is None else pytest.approx(spacing_mm))
