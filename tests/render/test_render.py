"""The renderer: pictures that agree with the standard, with DCMTK's grey values, and with the masks they come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai.objects import gsps, seg
from pacsai.objects.source import Source
from pacsai.render import render
from pacsai.render.draw import MARK, grey, plain
from pacsai.render.views import three_views
from pacsai.volume import Volume
from tests.conftest import needs
from tests.objects import samples
from tests.objects.tools import saved


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


def ramp(source: Source, k: int = 5) -> Dataset:
    """Return an image of the sample series whose pixels run from -1024 to 1023."""
    image = dcmread(source.instances[k].path)
    image.PixelData = np.linspace(-1024, 1023, image.Rows * image.Columns).astype("<i2").tobytes()
    return image


def presentation(*graphics: Dataset, texts: tuple[Dataset, ...] = (), colour: tuple[int, int, int] = MARK) -> Dataset:
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder = "L", 1
    layer.GraphicLayerRecommendedDisplayCIELabValue = list(CIELabColor.from_rgb(*colour).value)
    annotation = Dataset()
    annotation.GraphicLayer = "L"
    annotation.GraphicObjectSequence, annotation.TextObjectSequence = list(graphics), list(texts)
    state = Dataset()
    state.GraphicLayerSequence, state.GraphicAnnotationSequence = [layer], [annotation]
    return state


def graphic(kind: str, *points: float, units: str = "PIXEL", filled: str = "N") -> Dataset:
    item = Dataset()
    item.GraphicType, item.GraphicAnnotationUnits, item.GraphicFilled = kind, units, filled
    item.GraphicData, item.NumberOfGraphicPoints, item.GraphicDimensions = list(points), len(points) // 2, 2
    return item


def marks(picture: Image.Image, colour: tuple[int, int, int] = MARK) -> NDArray[np.bool_]:
    return np.asarray((np.asarray(picture) == colour).all(axis=2))


def test_the_window_follows_the_linear_function_of_the_standard() -> None:
    shades = grey(np.array([-1350.0, -1349.5, -600.5, 149.0, 150.0]), (-600, 1500))
    assert shades.tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("window", [(-600.0, 1500.0), (40.0, 400.0)])
def test_grey_values_are_those_of_dcmtk(source: Source, tmp_path: Path, window: tuple[float, float]) -> None:
    needs("dcmp2pgm")
    image = ramp(source)
    state = gsps.build(samples.two_nodules(), source, window=window)
    assert state is not None
    del state.GraphicAnnotationSequence, state.GraphicLayerSequence
    paths = saved(image, tmp_path / "ct.dcm"), saved(state, tmp_path / "pr.dcm"), tmp_path / "out.pgm"
    subprocess.run(["dcmp2pgm", "-p", str(paths[1]), str(paths[0]), str(paths[2])], check=True, timeout=60)
    theirs = np.asarray(Image.open(paths[2]), dtype=int)
    state.DisplayedAreaSelectionSequence[0].PresentationPixelSpacing = [1, 1]
    ours = np.asarray(render(image, state).convert("L"), dtype=int)
    assert np.abs(ours - theirs).max() <= 1


def test_an_image_of_monochrome1_is_turned(source: Source) -> None:
    image = ramp(source)
    image.PixelSpacing = [1, 1]
    bright = np.asarray(render(image))
    image.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(np.asarray(render(image)), 255 - bright)


def test_the_picture_has_the_true_shape_of_the_pixels(source: Source) -> None:
    assert render(ramp(source), zoom=7).size == (560, 512)


def test_only_the_displayed_area_is_shown_and_graphics_move_with_it(source: Source) -> None:
    image = ramp(source)
    image.PixelSpacing = [1, 1]
    state = presentation(graphic("POLYLINE", 20, 30, 24, 30, 24, 34, 20, 34, 20, 30))
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner, area.DisplayedAreaBottomRightHandCorner = [11, 21], [50, 60]
    area.PresentationPixelAspectRatio = [1, 1]
    state.DisplayedAreaSelectionSequence = [area]
    picture = render(image, state, zoom=4)
    assert picture.size == (160, 160)
    rows, columns = np.nonzero(marks(picture))
    assert (columns.min(), columns.max(), rows.min(), rows.max()) == (40, 56, 40, 56)


@pytest.mark.parametrize(
    ("kind", "points"),
    [
        pytest.param("CIRCLE", (40, 30, 50, 30), id="circle"),
        pytest.param("ELLIPSE", (30, 30, 50, 30, 40, 20, 40, 40), id="ellipse"),
    ],
)
def test_round_graphics_lie_round_their_centre(source: Source, kind: str, points: tuple[float, ...]) -> None:
    image = ramp(source)
    image.PixelSpacing = [1, 1]
    rows, columns = np.nonzero(marks(render(image, presentation(graphic(kind, *points)), zoom=8)))
    radii = np.hypot(columns + 0.5 - 320, rows + 0.5 - 240)
    assert np.abs(radii - 80).max() < 1.5


def test_a_filled_graphic_covers_its_pixels(source: Source) -> None:
    image = ramp(source)
    image.PixelSpacing = [1, 1]
    square = graphic("INTERPOLATED", 10, 10, 20, 10, 20, 20, 10, 20, 10, 10, filled="Y")
    assert marks(render(image, presentation(square), zoom=4))[41:79, 41:79].all()


def test_a_point_is_marked_at_the_middle_of_its_pixel(source: Source) -> None:
    image = ramp(source)
    image.PixelSpacing = [1, 1]
    rows, columns = np.nonzero(marks(render(image, presentation(graphic("POINT", 40.5, 30.5)), zoom=9)))
    assert (columns.mean(), rows.mean()) == (364, 274)


def test_display_units_are_parts_of_the_picture_and_layers_have_their_colour(source: Source) -> None:
    line = graphic("POLYLINE", 0, 0.5, 1, 0.5, units="DISPLAY")
    picture = marks(render(ramp(source), presentation(line, colour=(0, 255, 0)), zoom=4), (0, 255, 0))
    assert np.unique(np.nonzero(picture)[0]).tolist() == [picture.shape[0] // 2]


def test_text_starts_where_its_box_starts(source: Source) -> None:
    text = Dataset()
    text.UnformattedTextValue, text.BoundingBoxAnnotationUnits = "MMM", "PIXEL"
    text.BoundingBoxTopLeftHandCorner, text.BoundingBoxBottomRightHandCorner = [10, 20], [60, 30]
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    rows, columns = np.nonzero(marks(render(ramp(source), presentation(texts=(text,)), zoom=8)))
    assert 80 <= columns.min() < 90
    assert 180 <= rows.min() < 200


def test_graphics_of_another_image_are_not_drawn(source: Source) -> None:
    state = gsps.build(samples.result(samples.nodule(1, (2, 30, 40), radius=1)), source)
    assert marks(render(dcmread(source.instances[2].path), state, zoom=4)).any()
    assert not marks(render(dcmread(source.instances[9].path), state, zoom=4)).any()


def test_segments_are_outlined_on_their_own_slice(source: Source) -> None:
    segmentation = seg.build(samples.result(samples.nodule(1, (5, 30, 40), radius=2)), source)
    drawn = [
        bool(marks(render(dcmread(instance.path), seg=segmentation, zoom=2)).any()) for instance in source.instances
    ]
    assert drawn == [3 <= k <= 7 for k in range(12)]


def turned(volume: Volume) -> Volume:
    """Return the same world with every index axis reversed."""
    affine = volume.affine.copy()
    corner = affine @ [*(n - 1 for n in volume.array.shape[::-1]), 1]
    affine[:3, :3] *= -1
    affine[:, 3] = corner
    return Volume(volume.array[::-1, ::-1, ::-1].copy(), affine, volume.frame_of_reference_uid, volume.source)


def test_three_views_are_upright_whatever_way_the_axes_run(source: Source) -> None:
    assert source.volume is not None
    array = np.random.default_rng(1).uniform(-1000, 200, samples.SHAPE_KJI).astype(np.float32)
    volume = Volume(array, source.volume.affine, "1.2", source.instances)
    centre_mm = samples.nodule(1, (5, 30, 40)).centre_mm
    first, second = (np.asarray(three_views(one, (), centre_mm)) for one in (volume, turned(volume)))
    assert np.array_equal(first, second)


def test_three_views_show_a_millimetre_alike_and_outline_the_finding_in_each(source: Source) -> None:
    assert source.volume is not None
    finding = samples.nodule(1, (5, 30, 40))
    picture = three_views(source.volume, [finding], finding.centre_mm, zoom=10)
    axial, coronal, sagittal = (560, 512), (560, 300), (512, 300)
    assert picture.width == axial[0] + coronal[0] + sagittal[0] + 4 * 10
    found = marks(picture)
    starts = np.cumsum([10, axial[0] + 10, coronal[0] + 10])
    for start, size in zip(starts, (axial, coronal, sagittal), strict=True):
        rows, columns = np.nonzero(found[10 : 10 + size[1], start : start + size[0]])
        assert len(rows) > 100
        assert 0 < columns.min() < columns.max() < size[0] - 1


def test_words_are_written_in_letters_that_the_font_has() -> None:
    assert plain("6 × 5 mm³ – Größe ≥ 3…") == "6 x 5 mm3 - Grosse >= 3..."
    assert plain("胸部") == "??"
