"""Stored pixels to values: bits, signs, padding, rescale, codecs, and broken pixel data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, dcmwrite
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pacsai.bounds import Bounds, within
from pacsai.dicom.elements import Malformed
from pacsai.volume import read_volume
from pacsai.volume.encoded import check_streams, data_set, pixel_data
from pacsai.volume.pixels import AIR_HU, PixelError, read_image
from tests.phantoms import axial_affine, compress, distinct_voxels, edit, instances, write_ct_series, write_enhanced_ct


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return write_ct_series(tmp_path, distinct_voxels((2, 7, 6)))


def store(path: Path, stored: NDArray[Any], **header: Any) -> None:
    """Put these stored values [j, i] into a file, and set keywords that go with them."""
    octets = stored.tobytes()
    bits = stored.dtype.itemsize * 8
    fitting = {
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
    }
    edit(path, **{**fitting, "PixelData": octets + b"\0" * (len(octets) % 2), **header})


def voxels(paths: list[Path]) -> NDArray[np.float32]:
    return read_volume(instances(paths)).array


def refused(paths: list[Path]) -> str:
    with pytest.raises(PixelError) as error:
        voxels(paths)
    return str(error.value)


# --- bits, signs, rescale ---


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32])
def test_signed_and_unsigned_of_every_width(series: list[Path], dtype: type[np.generic]) -> None:
    info = np.iinfo(dtype)  # type: ignore[type-var]
    stored = np.array([[info.min, 0, 1], [7, 100, info.max]], dtype=dtype)
    for path in series:
        store(path, stored)
    np.testing.assert_array_equal(voxels(series)[1], stored.astype(np.float32))


def test_an_odd_number_of_bytes(series: list[Path]) -> None:
    for path in series:
        store(path, np.arange(15, dtype=np.uint8).reshape(3, 5))
    np.testing.assert_array_equal(voxels(series)[0], np.arange(15).reshape(3, 5))


def test_twelve_signed_bits_carry_their_sign_and_lose_what_lies_above(series: list[Path]) -> None:
    stored = np.array([[0x0FFF, 0x0800], [0x07FF, 0xF001]], dtype=np.uint16)
    for path in series:
        store(path, stored, BitsStored=12, HighBit=11, PixelRepresentation=1)
    np.testing.assert_array_equal(voxels(series)[0], [[-1, -2048], [2047, 1]])


def test_twelve_bits_at_the_upper_end(series: list[Path]) -> None:
    for path in series:
        store(path, np.array([[0xFFF5, 0x0010]], dtype=np.uint16), BitsStored=12, HighBit=15)
    np.testing.assert_array_equal(voxels(series)[0], [[0xFFF, 1]])


def test_each_slice_has_its_own_rescale(series: list[Path]) -> None:
    stored = distinct_voxels((2, 7, 6)).astype(np.float32)
    edit(series[0], RescaleSlope=0.5, RescaleIntercept=-1000)
    edit(series[1], RescaleSlope=2, RescaleIntercept=3)
    np.testing.assert_array_equal(voxels(series), [stored[0] * 0.5 - 1000, stored[1] * 2 + 3])


def test_ct_without_rescale_has_no_hounsfield_units(series: list[Path]) -> None:
    edit(series[1], RescaleIntercept=None)
    assert "Hounsfield units are not known" in refused(series)


def test_mr_needs_no_rescale(series: list[Path]) -> None:
    for path in series:
        edit(path, Modality="MR", RescaleIntercept=None, RescaleSlope=None)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


@pytest.mark.parametrize("slope", ["0", "inf"])
def test_a_slope_that_is_none(series: list[Path], slope: str) -> None:
    data = series[0].read_bytes()
    element = b"\x28\x00\x53\x10DS\x02\x00"
    at = data.index(element) + 6
    padded = slope + " " * (len(slope) % 2)
    series[0].write_bytes(data[:at] + bytes([len(padded), 0]) + padded.encode() + data[at + 4 :])
    assert "Rescale" in refused(series)


# --- padding ---


def padded_ct(series: list[Path], **header: Any) -> NDArray[np.float32]:
    for path in series:
        store(path, np.array([[-2000, -1500], [-1000, 40]], dtype=np.int16), RescaleIntercept=-24, **header)
    first: NDArray[np.float32] = voxels(series)[0]
    return first


def test_padding_becomes_air(series: list[Path]) -> None:
    np.testing.assert_array_equal(padded_ct(series, PixelPaddingValue=-2000), [[AIR_HU, -1524], [-1024, 16]])


def test_a_range_of_padding_becomes_air(series: list[Path]) -> None:
    found = padded_ct(series, PixelPaddingValue=-1500, PixelPaddingRangeLimit=-2000)
    np.testing.assert_array_equal(found, [[AIR_HU, AIR_HU], [-1024, 16]])


def test_padding_of_signed_pixels_written_as_unsigned(series: list[Path]) -> None:
    """As in LIDC-IDRI: PixelRepresentation 1, PixelPaddingValue US 63536."""
    padded_ct(series, PixelPaddingValue=-2000)
    for path in series:
        data = path.read_bytes()
        assert b"\x28\x00\x20\x01SS" in data
        path.write_bytes(data.replace(b"\x28\x00\x20\x01SS", b"\x28\x00\x20\x01US"))
    assert voxels(series)[0, 0, 0] == AIR_HU


def test_padding_in_implicit_syntax_where_its_vr_is_ambiguous(series: list[Path]) -> None:
    padded_ct(series, PixelPaddingValue=-2000)
    to_implicit(series)
    assert voxels(series)[0, 0, 0] == AIR_HU


def test_padding_elsewhere_than_ct_becomes_the_lowest_real_value(series: list[Path]) -> None:
    found = padded_ct(series, PixelPaddingValue=-2000, Modality="MR")
    np.testing.assert_array_equal(found, [[-1524, -1524], [-1024, 16]])


def test_nothing_but_padding(series: list[Path]) -> None:
    for path in series:
        store(path, np.full((2, 2), 9, dtype=np.int16), PixelPaddingValue=9, Modality="MR")
    np.testing.assert_array_equal(voxels(series), np.zeros((2, 2, 2)))


# --- images ---


def test_monochrome1_is_turned_over_as_an_image_and_not_as_a_volume(series: list[Path]) -> None:
    plain = read_image(instances(series)[0])
    for path in series:
        edit(path, PhotometricInterpretation="MONOCHROME1")
    image = read_image(instances(series)[0])
    np.testing.assert_array_equal(image, plain.max() + plain.min() - plain)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


def test_one_frame_of_many_as_an_image(tmp_path: Path) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(), axial_affine())
    np.testing.assert_array_equal(read_image(instances([path])[0], frame=3), distinct_voxels()[3])
    with pytest.raises(PixelError, match="frame 6"):
        read_image(instances([path])[0], frame=5)


def test_a_huge_image_is_refused_before_it_is_read(series: list[Path]) -> None:
    edit(series[0], Rows=65535, Columns=65535)
    with pytest.raises(PixelError, match="65535 x 65535"):
        read_image(instances(series)[0])


def test_colour_is_refused(series: list[Path]) -> None:
    for path in series:
        store(path, np.zeros((2, 6), np.uint8), Columns=2, SamplesPerPixel=3, PhotometricInterpretation="RGB")
    assert refused(series) == "not a grey image (PhotometricInterpretation RGB)"


@pytest.mark.parametrize(
    "header",
    [
        {"BitsAllocated": 12},
        {"BitsStored": 17},
        {"BitsStored": 0},
        {"HighBit": 16},
        {"HighBit": 3},
        {"BitsStored": None},
    ],
)
def test_an_odd_depth_is_refused(series: list[Path], header: dict[str, Any]) -> None:
    edit(series[0], **header)
    assert "bit" in refused(series).lower()


def test_a_modality_lut_is_refused(series: list[Path]) -> None:
    table = dcmread(series[0])
    table.clear()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "HU", b"\0\0\1\0"
    edit(series[0], ModalityLUTSequence=[table])
    assert "Modality LUT" in refused(series)


# --- transfer syntaxes ---


LOSSLESS = (RLELossless, JPEGLSLossless, JPEG2000Lossless)
ROOMY = (3, 40, 40)
"""The smallest images are too small for JPEG 2000's five resolutions."""


def to_implicit(paths: list[Path]) -> None:
    for path in paths:
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        data.save_as(path, implicit_vr=True, little_endian=True)


def test_implicit_little_endian(series: list[Path]) -> None:
    to_implicit(series)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


def test_big_endian(series: list[Path]) -> None:
    for path in series:
        data = dcmread(path)
        data.decode()
        data.PixelData = np.frombuffer(data.PixelData, "<i2").astype(">i2").tobytes()
        data.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dcmwrite(path, data, implicit_vr=False, little_endian=False, force_encoding=True)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_compressed_without_loss(tmp_path: Path, syntax: str) -> None:
    series = write_ct_series(tmp_path, distinct_voxels(ROOMY))
    compress(series, syntax)
    np.testing.assert_array_equal(voxels(series), distinct_voxels(ROOMY))


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_compressed_multi_frame_out_of_order(tmp_path: Path, syntax: str) -> None:
    path = write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels(ROOMY), axial_affine(), frames=(2, 0, 1))
    compress([path], syntax)
    np.testing.assert_array_equal(voxels([path]), distinct_voxels(ROOMY))


def deflate(series: list[Path]) -> None:
    for path in series:
        data = dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path, enforce_file_format=True)


def test_deflated(series: list[Path]) -> None:
    deflate(series)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


def test_deflated_data_above_the_cap_is_refused_by_name(series: list[Path]) -> None:
    for path in series:
        edit(path, PixelData=bytes(5_000_000))
    deflate(series)
    found = instances(series)
    with within(Bounds(inflated_bytes=1_000_000)), pytest.raises(PixelError, match="unpacks to more than 1 MB"):
        read_volume(found)


def test_images_above_the_limit_are_refused_before_they_are_decoded(series: list[Path]) -> None:
    found = instances(series)
    with within(Bounds(pixels_bytes=84)), pytest.raises(PixelError, match="more than the 0 MB of the limit"):
        read_volume(found)
    with within(Bounds(pixels_bytes=83)), pytest.raises(PixelError, match="of the limit"):
        read_image(found[0])


@pytest.mark.parametrize("name", ["JPEG2000", "JPEGLSNearLossless_16", "SC_rgb_jpeg_dcmtk", "examples_ybr_color"])
def test_streams_say_the_size_of_their_images(shared_data: Path, name: str) -> None:
    path = shared_data / "conformance" / "pydicom" / "test_files" / f"{name}.dcm"
    header = dcmread(path)
    with data_set(path) as (data, syntax, start):
        pixels = pixel_data(data, syntax, start)
        assert pixels is not None
        check_streams(data, pixels, header.Rows, header.Columns)
        with pytest.raises(Malformed, match=f"stream is {header.Rows} x {header.Columns} pixels, the header says 5"):
            check_streams(data, pixels, 5, header.Columns)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_of_another_size_is_refused_before_it_is_decoded(tmp_path: Path, syntax: str) -> None:
    series = write_ct_series(tmp_path, distinct_voxels(ROOMY))
    compress(series, syntax)
    data = bytearray(series[1].read_bytes())
    mark, to_rows = (b"\xff\x51", 10) if syntax == JPEG2000Lossless else (b"\xff\xf7", 5)
    at = data.rindex(mark) + to_rows
    data[at : at + 2] = b"\x7f\xff"
    series[1].write_bytes(data)
    assert "the header says" in refused(series)


def test_a_stream_without_a_size_is_refused(tmp_path: Path) -> None:
    series = write_ct_series(tmp_path, distinct_voxels(ROOMY))
    compress(series, JPEGLSLossless)
    edit(series[1], PixelData=encapsulate([b"\xff\xd8\xff\xd9"]))
    assert refused(series) == "the compressed stream does not say how large the image is"


def test_an_unknown_syntax_is_refused(series: list[Path]) -> None:
    found = instances(series)
    found[0].header.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.55")
    for path in series:
        data = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0")
        path.write_bytes(data)
    with pytest.raises(PixelError, match="cannot be decoded"):
        read_volume(found)


# --- broken pixel data ---


def test_pixel_data_that_is_not_the_last_element(series: list[Path]) -> None:
    for path in series:
        data = dcmread(path)
        data.add_new(0xFFFCFFFC, "OB", b"\0" * 64)  # DataSetTrailingPadding
        data.save_as(path)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


def test_pixel_data_longer_than_the_image(series: list[Path]) -> None:
    for path in series:
        edit(path, PixelData=dcmread(path).PixelData + b"\0" * 10)
    np.testing.assert_array_equal(voxels(series), distinct_voxels((2, 7, 6)))


def test_a_file_cut_short(series: list[Path]) -> None:
    series[1].write_bytes(series[1].read_bytes()[:-20])
    assert refused(series) == "the pixel data is cut short: frame 1 of 84 bytes is not whole"


def test_pixel_data_shorter_than_the_image(series: list[Path]) -> None:
    edit(series[1], PixelData=b"\0" * 40)
    assert "cut short" in refused(series)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_compressed_file_cut_short(tmp_path: Path, syntax: str) -> None:
    series = write_ct_series(tmp_path, distinct_voxels(ROOMY))
    compress(series, syntax)
    data = series[1].read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00")
    series[1].write_bytes(data[: start + (len(data) - start) // 2])
    assert refused(series) == "the pixel data is cut short: a compressed fragment is not whole"


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_compressed_stream_cut_short_in_a_whole_file(tmp_path: Path, syntax: str) -> None:
    series = write_ct_series(tmp_path, distinct_voxels(ROOMY))
    compress(series, syntax)
    stream = next(generate_frames(dcmread(series[1]).PixelData, number_of_frames=1))
    data = dcmread(series[1])
    data.PixelData = encapsulate([stream[: len(stream) // 4 * 2]])
    data.save_as(series[1])
    assert "cannot be decoded" in refused(series)


def test_no_pixel_data_at_all(series: list[Path]) -> None:
    edit(series[1], PixelData=None)
    assert refused(series) == "there is no pixel data"


def test_a_file_that_has_gone(series: list[Path]) -> None:
    found = instances(series)
    series[1].unlink()
    with pytest.raises(PixelError, match="cannot be decoded"):
        read_volume(found)


# --- real data ---


def test_every_codec_gives_the_same_ct(shared_data: Path) -> None:
    """One image in eight lossless transfer syntaxes of the conformance folder."""
    lossless = ("1.2.1", "1.2", "1.2.2", "1.2.4.57", "1.2.4.70", "1.2.4.80", "1.2.4.90", "1.2.5")
    copies = sorted((shared_data / "conformance").rglob("CTImage.dcm_*.dcm"))
    chosen = [path for path in copies if path.stem.split("_1.2.840.10008.")[-1] in lossless]
    images = [read_image(instance) for instance in instances(chosen)]
    assert len(images) == len(lossless)
    for image in images:
        np.testing.assert_array_equal(image, images[0])


@pytest.mark.parametrize("folder", ["c3n-00247", "lidc-0001", "lidc-0003"])
def test_pydicom_reads_the_same_values(shared_data: Path, folder: str) -> None:
    """An oracle that shares no code, on native files of 12 bits unsigned and 16 bits signed."""
    path = min((shared_data / "ct" / folder).rglob("*.dcm"))
    data = dcmread(path)
    theirs = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
    if "PixelPaddingValue" in data:
        theirs[data.pixel_array == -2000] = AIR_HU
    np.testing.assert_array_equal(read_image(instances([path])[0]), theirs)
