"""Data sets and files of any bytes: a named error or a reading that pydicom agrees with, never anything else."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacsai.dicom import inflate, part10
from pacsai.dicom.elements import UNDEFINED, Malformed, TooDeep, check_depth, identity_elements, walk
from pacsai.dicom.identity import Refusal, read_identity
from pacsai.selection import select
from pacsai.study.header import NotReadableError, read_header
from pacsai.study.reading import read_instance, read_study
from pacsai.volume import GeometryError, PixelError, read_volume
from pacsai.volume.encoded import check_streams, data_set, pixel_data, stated_size
from tests.dicom.test_elements import encoded
from tests.fuzz.data import datasets, depth, spoiled
from tests.headers import accepts
from tests.phantoms import axial_affine, compress, distinct_voxels, write_ct_series, write_enhanced_ct

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
ANY_SYNTAX = st.sampled_from([*SYNTAXES, inflate.DEFLATED])
JPEG_LS, JPEG_2000 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of what it makes of nonsense
        yield


@given(datasets(), st.sampled_from(SYNTAXES))
def test_the_walker_finds_what_pydicom_finds(ran: list[int], dataset: Dataset, syntax: str) -> None:
    ran.append(1)
    data = encoded(dataset, syntax)
    read = read_dataset(BytesIO(data), syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    found = {element.tag: element for element in walk(data, syntax)}
    assert list(found) == list(map(int, read.keys()))
    for tag, element in found.items():
        raw = read.get_item(tag)
        if element.length != UNDEFINED and raw.VR != "SQ" and not hasattr(raw, "is_undefined_length"):
            assert data[element.start : element.start + element.length] == (raw.value or b"")
    said = {0x00080016: dataset.SOPClassUID, 0x00080018: dataset.SOPInstanceUID, 0x0020000D: "1.2"}
    assert {tag: value.rstrip(b"\0").decode() for tag, value in identity_elements(data, syntax).items()} == said


@given(datasets(), st.sampled_from(SYNTAXES))
def test_depth_is_what_it_is(ran: list[int], dataset: Dataset, syntax: str) -> None:
    ran.append(1)
    data, levels = encoded(dataset, syntax), depth(dataset)
    check_depth(data, syntax, levels)
    if levels > 1:
        with pytest.raises(TooDeep):
            check_depth(data, syntax, levels - 1)


@given(st.data(), ANY_SYNTAX)
def test_any_bytes_are_walked_or_malformed(ran: list[int], drawn: st.DataObject, syntax: str) -> None:
    ran.append(1)
    valid = encoded(drawn.draw(datasets()), syntax if syntax in SYNTAXES else ExplicitVRLittleEndian)
    data = drawn.draw(st.one_of(spoiled(valid), st.binary(max_size=300)))
    for start in (0, 3):
        with suppress(Malformed):
            for element in walk(data, syntax, start=start):
                assert element.start <= len(data) + 8
        with suppress(Malformed):
            check_depth(data, syntax)
    with suppress(Malformed):
        inflate.inflated(data, 1 << 20)
    with suppress(Malformed):
        assert len(inflate.beginning(data, 100)) <= 100
    with suppress(Refusal):
        read_identity(memoryview(data), syntax)


@given(st.data(), st.sampled_from(SYNTAXES))
def test_an_identity_that_is_read_is_the_one_pydicom_reads(ran: list[int], drawn: st.DataObject, syntax: str) -> None:
    """Two programs must not see two identities in one file."""
    ran.append(1)
    data = drawn.draw(spoiled(encoded(drawn.draw(datasets()), syntax)))
    try:
        said = read_identity(memoryview(data), syntax)
    except Refusal:
        return
    little = syntax != ExplicitVRBigEndian
    with suppress(Exception):
        read = read_dataset(
            BytesIO(data), syntax == ImplicitVRLittleEndian, little, stop_when=lambda tag, *_: tag > 0x0020000D
        )
        raw = {tag: read.get_item(tag).value.rstrip(b"\0 ").decode() for tag in (0x00080018, 0x0020000D)}
        if said.sop_instance_uid not in raw[0x00080018]:
            pytest.fail(f"{said} here, {raw} there")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return small valid files of several kinds."""
    folder = tmp_path_factory.mktemp("files")
    native = write_ct_series(folder / "native", distinct_voxels((1, 8, 8)))
    ls = write_ct_series(folder / "ls", distinct_voxels((1, 64, 64)))
    j2k = write_ct_series(folder / "j2k", distinct_voxels((1, 64, 64)))
    compress(ls, JPEG_LS)
    compress(j2k, JPEG_2000)
    enhanced = write_enhanced_ct(folder / "enhanced.dcm", distinct_voxels((3, 4, 4)), axial_affine())
    return [*native, *ls, *j2k, enhanced]


@given(drawn=st.data())
def test_any_file_is_a_study_or_a_sentence(
    ran: list[int], files: list[Path], tmp_path: Path, drawn: st.DataObject
) -> None:
    ran.append(1)
    valid = drawn.draw(st.sampled_from(files)).read_bytes()
    path = tmp_path / "spoiled.dcm"
    path.write_bytes(drawn.draw(spoiled(valid)))
    part10.locate(path.read_bytes())
    with suppress(NotReadableError):
        read_header(path)
    for study in read_study([path]):
        select(study, accepts(instances={"min": 1}))
    with suppress(Malformed, ValueError), data_set(path) as (data, syntax, start):
        pixels = pixel_data(data, syntax, start)
        if pixels is not None:
            check_streams(data, pixels, 64, 64)


@given(st.data())
def test_any_file_meta_is_located_or_refused(
    ran: list[int], files: list[Path], tmp_path: Path, drawn: st.DataObject
) -> None:
    ran.append(1)
    head = part10.head("1.2.3", "1.2.3.4", ExplicitVRLittleEndian)
    data = drawn.draw(st.one_of(spoiled(head), st.binary(max_size=200)))
    syntax, start = part10.locate(data)
    assert len(syntax) <= 64
    assert start >= 0
    path = tmp_path / "head.dcm"
    path.write_bytes(data + files[0].read_bytes()[-300:])
    with suppress(ValueError):
        part10.read_head(path)
    with suppress(NotReadableError):
        read_header(path)


@given(st.binary(max_size=200))
def test_any_stream_says_a_size_or_none(ran: list[int], tail: bytes) -> None:
    ran.append(1)
    for magic in (b"", b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  "):
        stated_size(magic + tail)


@given(drawn=st.data())
def test_any_uncompressed_series_is_a_volume_or_a_reason(
    ran: list[int], files: list[Path], tmp_path: Path, drawn: st.DataObject
) -> None:
    """Compressed ones are left to the child process: a decoder written in C may crash, and only the child with it."""
    ran.append(1)
    valid = drawn.draw(st.sampled_from([files[0], files[-1]])).read_bytes()
    path = tmp_path / "spoiled.dcm"
    path.write_bytes(drawn.draw(spoiled(valid)))
    with suppress(NotReadableError, GeometryError, PixelError):
        instance = read_instance(path)
        if instance.transfer_syntax_uid in SYNTAXES:
            read_volume((instance,), allow_single=True)
