"""Reading: any file gives a study or a sentence, never an exception, and nothing unpacks without end."""

from __future__ import annotations

import os
import random
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import MRImageStorage

import pacsai.study.header
import pacsai.study.reading
from pacsai.bounds import Bounds, within
from pacsai.routing import route
from pacsai.selection import select
from pacsai.study.header import NotReadableError, Room, read_header
from pacsai.study.reading import read_folder, read_study
from tests.conftest import SHARED_DATA
from tests.headers import accepts, manifest
from tests.phantoms import axial_affine, distinct_voxels, edit, write_ct_series, write_enhanced_ct

CONFORMANCE = SHARED_DATA / "conformance"
ODD_FILES = sorted(path.relative_to(CONFORMANCE) for path in CONFORMANCE.rglob("*") if path.is_file())
DEFLATED = b"1.2.840.10008.1.2.1.99"


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    """Return one data element with a short length, Explicit VR Little Endian."""
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def part10(transfer_syntax: bytes, data_set: bytes) -> bytes:
    """Return a file with a preamble, the smallest file meta, and the data set as it is."""
    return b"\0" * 128 + b"DICM" + element(2, 0x10, b"UI", transfer_syntax.ljust(22, b"\0")) + data_set


def issue(*paths: Path) -> str:
    """Return the one sentence about the files."""
    (study,) = read_study(paths)
    (sentence,) = study.issues
    return sentence


@pytest.mark.parametrize("path", ODD_FILES or [Path("none")], ids=str)
def test_every_conformance_file_is_a_study_or_a_sentence_or_no_dicom(shared_data: Path, path: Path) -> None:
    studies = read_study([shared_data / "conformance" / path])
    assert len(studies) <= 1
    for study in studies:
        assert study.series or study.issues
        for instance in study.instances:
            assert instance.transfer_syntax_uid
            assert instance.sop_instance_uid


def test_a_folder_of_everything_is_read_at_once(shared_data: Path) -> None:
    studies = read_folder(shared_data / "conformance")
    assert len(studies) > 50
    assert all(study.series for study in studies)


def test_a_series_is_grouped_and_sorted(tmp_path: Path) -> None:
    write_ct_series(tmp_path / "b", SeriesInstanceUID="1.2.3.2", StudyInstanceUID="1.2.3", SeriesNumber=2)
    other = distinct_voxels() + np.int16(1)
    write_ct_series(tmp_path / "a", other, SeriesInstanceUID="1.2.3.1", StudyInstanceUID="1.2.3", SeriesNumber=10)
    (study,) = read_folder(tmp_path)
    assert [series.series_instance_uid for series in study.series] == ["1.2.3.2", "1.2.3.1"]
    assert [one.header.InstanceNumber for one in study.series[0].instances] == [1, 2, 3, 4, 5]
    assert study.series[0].modality == "CT"
    assert study.patient_id == "PHANTOM"
    assert study.issues == ()


def test_two_studies_in_a_folder_are_two(tmp_path: Path) -> None:
    write_ct_series(tmp_path / "a", StudyInstanceUID="1.2.4")
    write_ct_series(tmp_path / "b", StudyInstanceUID="1.2.3")
    assert [study.study_instance_uid for study in read_folder(tmp_path)] == ["1.2.3", "1.2.4"]


def test_headers_hold_no_pixels(tmp_path: Path) -> None:
    (study,) = read_study(write_ct_series(tmp_path))
    assert "PixelData" not in study.instances[0].header


def test_a_folder_without_dicom_gives_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no images today")
    (tmp_path / "empty").touch()
    assert read_folder(tmp_path) == ()


def test_a_foreign_file_among_images_is_named(tmp_path: Path) -> None:
    write_ct_series(tmp_path)
    (tmp_path / "notes.txt").write_text("no images today")
    (study,) = read_folder(tmp_path)
    assert study.issues == ("notes.txt was left out: it is not a DICOM file",)
    assert len(study.instances) == 5


def test_unprintable_characters_of_a_file_name_stay_out_of_the_sentence(tmp_path: Path) -> None:
    write_ct_series(tmp_path)
    (tmp_path / "a\x1b[31m\nred").write_text("x")
    (study,) = read_folder(tmp_path)
    assert study.issues == ("a?[31m?red was left out: it is not a DICOM file",)


def test_the_same_file_twice_is_one_instance(tmp_path: Path) -> None:
    first = write_ct_series(tmp_path)[0]
    shutil.copy(first, tmp_path / "copy.dcm")
    (study,) = read_folder(tmp_path)
    assert len(study.instances) == 5
    assert study.issues == ()


def test_one_uid_with_other_bytes_is_told_and_the_first_kept(tmp_path: Path) -> None:
    first = write_ct_series(tmp_path)[0]
    shutil.copy(first, tmp_path / "zz.dcm")
    edit(tmp_path / "zz.dcm", SeriesDescription="another")
    (study,) = read_folder(tmp_path)
    assert len(study.instances) == 5
    assert study.issues == (f"zz.dcm was left out: it has the SOP Instance UID of {first.name} and other bytes",)


def test_mixed_patients_are_told(tmp_path: Path) -> None:
    edit(write_ct_series(tmp_path)[0], PatientID="SOMEBODY", PatientName="Else^Somebody")
    (study,) = read_folder(tmp_path)
    assert study.several_patients
    assert study.issues == ("images of more than one patient carry this study's UID",)


def test_a_data_set_of_another_sop_class_than_announced_is_left_out(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    data = dcmread(path)
    data.file_meta.MediaStorageSOPClassUID = MRImageStorage
    data.save_as(path, enforce_file_format=False)
    reason = "its file header announces MR Image Storage, its data set is CT Image Storage"
    assert issue(path) == f"{path.name} was left out: {reason}"


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_instance_without_its_uids_is_left_out(tmp_path: Path, keyword: str) -> None:
    path = write_ct_series(tmp_path)[0]
    edit(path, **{keyword: None})
    assert issue(path).endswith(f"its {keyword} is missing or not readable")


def test_a_file_without_preamble_is_read_when_it_names_a_sop_class(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    path.write_bytes(path.read_bytes()[132:])
    (study,) = read_study([path])
    assert len(study.instances) == 1


def test_a_file_without_any_meta_gets_the_encoding_it_was_read_with(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    data = dcmread(path)
    path.write_bytes(path.read_bytes()[132 + 12 + data.file_meta.FileMetaInformationGroupLength :])
    (study,) = read_study([path])
    assert study.instances[0].transfer_syntax_uid == "1.2.840.10008.1.2.1"


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def peak_of_reading(path: Path) -> tuple[str, int]:
    """Return the sentence about a file, and the most memory in bytes that reading it took."""
    tracemalloc.start()
    try:
        return issue(path), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_deflated_data_set_is_read(shared_data: Path) -> None:
    path = shared_data / "conformance" / "pydicom" / "test_files" / "image_dfl.dcm"
    header = read_header(path)
    assert header.file_meta.TransferSyntaxUID == DEFLATED.decode()
    expected = dcmread(path)
    del expected.PixelData
    assert header == expected


def test_a_deflated_header_is_unpacked_with_a_cap(tmp_path: Path) -> None:
    large = struct.pack("<HH2sHL", 9, 0x1001, b"OB", 0, 2**26) + bytes(2**26)
    path = tmp_path / "bomb.dcm"
    path.write_bytes(part10(DEFLATED, deflated(large)))
    with within(Bounds(inflated_bytes=2**22)):
        sentence, peak = peak_of_reading(path)
    assert sentence.endswith("its deflated data set unpacks to 4.1943 MB before the pixel data")
    assert peak < 2**24


def test_a_header_of_endless_elements_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacsai.study.header, "MOST_ELEMENTS", 10_000)
    path = tmp_path / "bomb.dcm"
    for syntax, data in ((DEFLATED, deflated(bytes(2**20))), (b"1.2.840.10008.1.2", bytes(2**20))):
        path.write_bytes(part10(syntax, data))
        assert "its elements are more than a header has" in issue(path)


def test_headers_that_fill_a_memory_together_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacsai.study.reading, "Room", lambda: Room(bytes_left=10_000))
    for path in write_ct_series(tmp_path):
        edit(path, ImageComments="x" * 3000)
    (study,) = read_folder(tmp_path)
    assert len(study.instances) == 2
    assert len(study.issues) == 3
    assert study.issues[0].endswith("the headers of its study take more room than this node gives to one")


def test_a_length_beyond_the_file_costs_nothing(tmp_path: Path) -> None:
    path = tmp_path / "long.dcm"
    path.write_bytes(part10(b"1.2.840.10008.1.2.1", struct.pack("<HH2sHL", 8, 5, b"UT", 0, 2**32 - 2)))
    assert "claims 4294967294 bytes" in issue(path)


def test_deep_nesting_is_refused_by_name(tmp_path: Path) -> None:
    sequence = struct.pack("<HH2sHL", 8, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    path = tmp_path / "deep.dcm"
    path.write_bytes(part10(b"1.2.840.10008.1.2.1", sequence * 20_000))
    assert issue(path) == "deep.dcm was left out: its sequences nest deeper than 64 levels"


def test_a_broken_value_is_left_out_of_the_header(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    path.write_bytes(path.read_bytes().replace(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00FD"))
    header = read_header(path)
    assert "Rows" not in header
    assert "Columns" in header


def test_a_cut_header_is_told(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:400])
    assert "missing or not readable" in issue(path)


def test_a_file_that_vanished_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotReadableError, match="cannot be opened"):
        read_header(tmp_path / "gone.dcm")


@pytest.mark.parametrize("seed", range(8))
def test_flipped_bytes_never_raise(tmp_path: Path, seed: int) -> None:
    random_bytes = random.Random(seed)
    write_enhanced_ct(tmp_path / "enhanced.dcm", distinct_voxels((4, 4, 4)), axial_affine())
    for path in sorted(tmp_path.rglob("*.dcm")):
        original = bytearray(path.read_bytes())
        for _ in range(30):
            spoiled = bytearray(original)
            for _ in range(random_bytes.randint(1, 12)):
                spoiled[random_bytes.randrange(132, len(spoiled))] = random_bytes.randrange(256)
            path.write_bytes(spoiled)
            for study in read_study([path]):
                select(study, accepts(instances={"min": 1}))
                route(study, [manifest()])


def test_no_sentence_names_the_patient(tmp_path: Path) -> None:
    for number, path in enumerate(write_ct_series(tmp_path, PatientName="Secret^Name", PatientID="SECRET")):
        edit(path, SeriesInstanceUID=None if number == 1 else "1.2.3", PatientID=f"SECRET{number}")
    (study,) = read_folder(tmp_path)
    assert len(study.issues) == 2
    assert "SECRET" not in " ".join(study.issues).upper()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_told(tmp_path: Path) -> None:
    path = write_ct_series(tmp_path)[0]
    path.chmod(0)
    assert "cannot be opened (Permission denied)" in issue(path)
