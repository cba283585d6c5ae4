"""The walker over encoded data sets: what pydicom finds, found without it; and what stops it in hostile data."""

from __future__ import annotations

import mmap
import time
from pathlib import Path
from struct import pack

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pacsai.dicom.elements import (
    UNDEFINED,
    CutShort,
    Malformed,
    TooDeep,
    check_depth,
    identity_elements,
    walk,
)
from pacsai.dicom.identity import Refusal, read_identity
from tests.phantoms import write_ct_series

SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
IDENTITY = {0x00080016: CTImageStorage, 0x00080018: "1.2.3.4", 0x0020000D: "1.2.3"}


def encoded(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return the data set as pydicom encodes it."""
    out = DicomBytesIO()
    out.is_implicit_VR = syntax == ImplicitVRLittleEndian
    out.is_little_endian = syntax != ExplicitVRBigEndian
    write_dataset(out, dataset)
    return out.getvalue()


def identified(**others: object) -> Dataset:
    """Return a data set with an identity, and what else is given."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = IDENTITY.values()
    for keyword, value in others.items():
        setattr(dataset, keyword, value)
    return dataset


def nested(levels: int, *, undefined: bool) -> Dataset:
    """Return sequences one in another, before the Study Instance UID."""
    dataset = identified()
    for _ in range(levels):
        outer = identified(ReferencedStudySequence=Sequence([dataset]))
        outer["ReferencedStudySequence"].is_undefined_length = undefined
        dataset.is_undefined_length_sequence_item = undefined
        dataset = outer
    return dataset


def bomb(levels: int, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Return a data set of `levels` sequences that only begin, after its SOP Instance UID."""
    dataset = identified()
    del dataset.StudyInstanceUID
    head = b"" if syntax == ImplicitVRLittleEndian else b"SQ\0\0"
    level = pack("<HH", 0x0008, 0x1110) + head + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4
    return encoded(dataset, syntax) + level * levels


def values(data: bytes, syntax: str) -> dict[int, str]:
    return {tag: value.decode().rstrip("\0") for tag, value in identity_elements(data, syntax).items()}


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_identity_is_found_behind_sequences(syntax: str, undefined: bool) -> None:
    dataset = nested(5, undefined=undefined)
    dataset.PixelData = b"\0" * 100
    dataset["PixelData"].VR = "OW"
    assert values(encoded(dataset, syntax), syntax) == IDENTITY


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_top_level_element_stands_where_pydicom_finds_it(syntax: str) -> None:
    dataset = nested(3, undefined=True)
    dataset.PatientName = "A^B"
    dataset.Rows = 5
    dataset.EncapsulatedDocument = b"\1\2"
    data = encoded(dataset, syntax)
    found = {element.tag: data[element.start :][: element.length] for element in walk(data, syntax)}
    assert list(found) == sorted(dataset.keys())
    assert found[0x00100010].rstrip() == b"A^B"
    assert len(found[0x00280010]) == 2


def test_encapsulated_pixels_are_stepped_over_whatever_stands_in_a_fragment() -> None:
    delimiter = b"\xfe\xff\xdd\xe0\0\0\0\0"
    fragment = b"\xfe\xff\x00\xe0" + pack("<L", len(delimiter)) + delimiter
    pixels = b"\xe0\x7f\x10\x00OB\0\0" + b"\xff" * 4 + b"\xfe\xff\x00\xe0\0\0\0\0" + fragment + delimiter
    after = b"\xfc\xff\xfc\xffOB\0\0\2\0\0\0\0\0"
    data = encoded(identified()) + pixels + after
    last, before = list(walk(data, ExplicitVRLittleEndian))[:-3:-1]
    assert (before.tag, before.length) == (0x7FE00010, UNDEFINED)
    assert (last.tag, last.length) == (0xFFFCFFFC, 2)


def test_un_of_undefined_length_holds_implicit_vr() -> None:
    inner = pack("<HHL", 0x0010, 0x0010, 2) + b"AB"
    item = b"\xfe\xff\x00\xe0" + b"\xff" * 4 + inner + b"\xfe\xff\x0d\xe0\0\0\0\0"
    sequence = b"\x09\x00\x01\x10UN\0\0" + b"\xff" * 4 + item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    dataset = identified()
    data = encoded(dataset)
    at = data.index(b"\x20\x00\x0d\x00")
    assert values(data[:at] + sequence + data[at:], ExplicitVRLittleEndian) == IDENTITY


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
def test_the_encoding_is_told_by_the_first_element(syntax: str) -> None:
    other = ({*SYNTAXES[:2]} - {syntax}).pop()
    assert values(encoded(identified(), syntax), other) == IDENTITY


@pytest.mark.parametrize("syntax", SYNTAXES[:2])
def test_a_hundred_thousand_levels_are_a_reason_and_no_crash(syntax: str) -> None:
    data = bomb(100_000, syntax)
    with pytest.raises(TooDeep, match="deeper than 64 levels"):
        identity_elements(data, syntax)
    with pytest.raises(Refusal, match="deeper than 64 levels"):
        read_identity(data, syntax)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_depth_is_counted_in_sequences(syntax: str, undefined: bool) -> None:
    data = encoded(nested(8, undefined=undefined), syntax)
    check_depth(data, syntax, 8)
    with pytest.raises(TooDeep):
        check_depth(data, syntax, 7)


def test_lengths_that_lie_are_malformed() -> None:
    data = encoded(identified(ReferencedStudySequence=[identified()]))
    at = data.index(b"\xfe\xff\x00\xe0") + 4
    lying = data[:at] + pack("<L", 5) + data[at + 4 :]
    with pytest.raises(Malformed):
        check_depth(lying, ExplicitVRLittleEndian)


def test_an_item_that_claims_more_than_there_is_is_cut_short() -> None:
    """Found by fuzzing: the fast way through an item ran past the end of the data."""
    data = encoded(identified(ReferencedStudySequence=[identified()]))
    at = data.index(b"\xfe\xff\x00\xe0") + 4
    lying = (data[: at - 8] + b"\xff" * 4 + data[at - 4 : at] + b"\xff\xff\xff\x7f" + data[at + 4 :])[: at + 38]
    with pytest.raises(CutShort):
        check_depth(lying, ExplicitVRLittleEndian)


@pytest.mark.parametrize("length", [1, 10, 44, 60])
def test_data_that_ends_too_soon_is_cut_short(length: int) -> None:
    data = encoded(identified())[:length]
    if length > 1:
        with pytest.raises(CutShort):
            list(walk(data, ExplicitVRLittleEndian))
    with pytest.raises(Refusal):
        read_identity(memoryview(data), ExplicitVRLittleEndian)


def test_an_identity_that_stands_twice_is_refused() -> None:
    data = encoded(identified())
    second = data[: data.index(b"\x20\x00\x0d\x00")].replace(b"1.2.3.4", b"6.6.6.6")
    with pytest.raises(Malformed, match="SOP Class UID stands there twice"):
        identity_elements(second + data, ExplicitVRLittleEndian)


def test_endless_small_elements_before_the_identity_end_soon() -> None:
    data = pack("<HHL", 0x0008, 0x0001, 0) * 2_000_000
    began = time.process_time()
    with pytest.raises(Malformed, match="elements are more than a header has"):
        identity_elements(data, ImplicitVRLittleEndian)
    assert time.process_time() - began < 1


def test_a_mapped_file_is_walked(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(encoded(identified()))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert identity_elements(mapped, ExplicitVRLittleEndian)[0x00080018] == b"1.2.3.4\0"


def test_the_identity_of_a_slice_takes_no_time(tmp_path: Path) -> None:
    dataset = dcmread(write_ct_series(tmp_path)[0])
    for number in range(40):
        dataset.add_new(0x00091000 + number, "LO", f"private {number}")
    view = memoryview(encoded(dataset))
    best = 1.0
    for _ in range(50):
        began = time.perf_counter()
        identity_elements(view, ExplicitVRLittleEndian)
        best = min(best, time.perf_counter() - began)
    assert best < 200e-6
