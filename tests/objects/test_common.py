"""What all objects say alike: series, maker, moment, and headers that are not as they should be."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY
from pacsai.finding import Result
from pacsai.objects import common, seg, sr
from pacsai.objects.common import Author
from pacsai.objects.source import Source
from tests.objects import samples

CLOCK = {"InstanceCreationDate", "InstanceCreationTime", "ContentDate", "ContentTime", "SeriesDate", "SeriesTime"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


def both(result: Result, source: Source, author: Author = common.NODE) -> tuple[Dataset, Dataset]:
    segmentation = seg.build(result, source, author)
    return segmentation, sr.build(result, source, segmentation, author=author)


def encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_the_same_result_at_the_same_moment_gives_the_same_bytes(source: Source) -> None:
    first = [encoded(made) for made in both(samples.two_nodules(), source)]
    second = [encoded(made) for made in both(samples.two_nodules(), source)]
    assert first == second


def test_another_moment_changes_dates_and_times_alone(source: Source) -> None:
    later = Source(
        study=source.study, instances=source.instances, volume=source.volume, now=samples.NOW + timedelta(days=1.1)
    )
    for before, after in zip(both(samples.two_nodules(), source), both(samples.two_nodules(), later), strict=True):
        differing = {element.keyword for element in after if element != before.get(element.tag)}
        assert differing == CLOCK | {"ContributingEquipmentSequence"}


def test_another_model_gives_other_series_and_instances(source: Source) -> None:
    other = replace(samples.PROVENANCE, model_digest="d" * 64)
    nodule = samples.nodule(1, (5, 30, 40))
    first = both(samples.result(nodule), source)
    second = both(samples.result(nodule, provenance=other), source)
    for before, after in zip(first, second, strict=True):
        assert before.SOPInstanceUID != after.SOPInstanceUID
        assert before.SeriesInstanceUID != after.SeriesInstanceUID
        assert before.StudyInstanceUID == after.StudyInstanceUID


def test_each_kind_of_object_is_a_series_of_its_own_in_the_reserved_block(source: Source) -> None:
    segmentation, report = both(samples.two_nodules(), source)
    assert (segmentation.SeriesNumber, report.SeriesNumber) == (9001, 9002)
    assert segmentation.SeriesInstanceUID != report.SeriesInstanceUID
    assert common.series_number("SEG", Author(order=1)) == 9011


def test_a_reader_sees_the_title_and_that_it_is_for_research(source: Source) -> None:
    segmentation, report = both(samples.two_nodules(), source, Author(title="Chest CT nodules"))
    assert segmentation.SeriesDescription == "AI Chest CT nodules: SEG (Research use only)"
    assert report.SeriesDescription == "AI Chest CT nodules: SR (Research use only)"
    assert RESEARCH_USE_ONLY in segmentation.ContentDescription


def test_a_long_title_is_cut_and_the_warning_is_not() -> None:
    text = common.description(samples.PROVENANCE, Author(title="A very long title " * 10), "GSPS")
    assert len(text) <= 64
    assert text.endswith(": GSPS (Research use only)")


def test_the_algorithm_is_among_the_contributing_equipment_with_version_and_device(source: Source) -> None:
    author = Author(installation="NODE-A")
    for made in both(samples.two_nodules(), source, author):
        ours = next(item for item in made.ContributingEquipmentSequence if item.Manufacturer == "pacsai")
        assert ours.DeviceUID == author.device_uid != Author(installation="NODE-B").device_uid
        assert "chest_ct_nodules 1.0.0" in ours.SoftwareVersions
        assert ours.DeviceSerialNumber == made.DeviceSerialNumber == "NODE-A"


def test_patient_and_study_are_those_of_the_images(source: Source) -> None:
    for made in both(samples.two_nodules(), source):
        for keyword in ("PatientName", "PatientID", "PatientSex", "StudyInstanceUID", "AccessionNumber", "StudyDate"):
            assert made[keyword].value == source.header[keyword].value


def test_missing_and_unreadable_patient_data_become_empty_and_the_headers_stay(tmp_path: Path) -> None:
    odd = samples.ct_source(tmp_path, (2, 8, 8), PatientBirthDate=None, StudyID=None, PatientSex=None, StudyTime=None)
    odd.header.add_new("PatientSex", "CS", "UNKNOWN")
    report = sr.build(Result.not_analysed("too few slices").signed(samples.PROVENANCE), odd)
    for keyword in ("PatientBirthDate", "StudyID", "PatientSex", "StudyTime"):
        assert keyword in report
        assert not report[keyword].value
    assert odd.header.PatientSex == "UNKNOWN"
    assert "StudyID" not in odd.header


def test_a_character_set_with_escapes_becomes_utf_8(tmp_path: Path) -> None:
    japanese = samples.ct_source(
        tmp_path, (2, 8, 8), SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎"
    )
    report = sr.build(Result.not_analysed("too few slices").signed(samples.PROVENANCE), japanese)
    assert report.SpecificCharacterSet == "ISO_IR 192"
    assert str(report.PatientName) == "Yamada^Tarou=山田^太郎"
    assert "山田^太郎".encode() in encoded(report)
    assert japanese.header.SpecificCharacterSet == ["", "ISO 2022 IR 87"]


def test_the_images_character_set_stays_until_a_text_does_not_fit_it(source: Source) -> None:
    plain = sr.build(Result.not_analysed("slices of 5 mm").signed(samples.PROVENANCE), source)
    wide = sr.build(Result.not_analysed("slices of ≥ 5 mm").signed(samples.PROVENANCE), source)
    assert plain.SpecificCharacterSet == "ISO_IR 100"
    assert wide.SpecificCharacterSet == "ISO_IR 192"
    assert "Müller^Änne".encode() in encoded(wide)


def test_images_of_no_study_are_refused(tmp_path: Path) -> None:
    homeless = samples.ct_source(tmp_path, (2, 8, 8))
    del homeless.header.StudyInstanceUID
    with pytest.raises(ValueError, match="no StudyInstanceUID"):
        common.evidence(homeless)


def test_images_of_an_unknown_sop_class_are_refused(tmp_path: Path) -> None:
    private = samples.ct_source(tmp_path, (2, 8, 8))
    private.header.SOPClassUID = "1.2.3.4"
    with pytest.raises(ValueError, match=r"SOP class 1\.2\.3\.4"):
        common.evidence(private)


def test_an_unsigned_result_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="not signed"):
        sr.build(Result.of(()), source)
