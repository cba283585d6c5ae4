"""KO: what a reader should open first."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from pacsai.finding import Result
from pacsai.objects import ko, seg, sr
from pacsai.objects.source import Source
from tests.objects import samples
from tests.objects.tools import dciodvfy, saved


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


def selection_of(result: Result, source: Source, *made: Dataset) -> Dataset:
    selection = ko.build(result, source, made)
    assert selection is not None
    return selection


def references(selection: Dataset) -> list[str]:
    items = [item for item in selection.ContentSequence if item.ValueType in ("IMAGE", "COMPOSITE")]
    return [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in items]


def test_it_points_at_the_largest_section_of_each_finding(source: Source) -> None:
    selection = selection_of(samples.two_nodules(), source)
    assert references(selection) == [source.instances[k].sop_instance_uid for k in (5, 0)]


def test_a_slice_with_two_findings_is_named_once(source: Source) -> None:
    result = samples.result(samples.nodule(1, (5, 30, 40)), samples.nodule(2, (5, 10, 10)))
    assert references(selection_of(result, source)) == [source.instances[5].sop_instance_uid]


def test_it_names_the_objects_of_the_same_result(source: Source) -> None:
    result = samples.two_nodules()
    segmentation = seg.build(result, source)
    report = sr.build(result, source, segmentation)
    selection = selection_of(result, source, segmentation, report)
    assert references(selection)[2:] == [segmentation.SOPInstanceUID, report.SOPInstanceUID]


def test_its_title_is_of_interest_and_never_a_rejection(source: Source) -> None:
    (title,) = selection_of(samples.two_nodules(), source).ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113000", "DCM")


def test_it_says_research_use_only(source: Source) -> None:
    texts = [i.TextValue for i in selection_of(samples.two_nodules(), source).ContentSequence if i.ValueType == "TEXT"]
    assert any("Research use only" in text for text in texts)


def test_without_a_section_there_is_nothing_to_point_at(source: Source) -> None:
    assert ko.build(Result.of(()).signed(samples.PROVENANCE), source) is None


def test_the_checker_has_nothing_to_say(source: Source, tmp_path: Path) -> None:
    assert dciodvfy(saved(selection_of(samples.two_nodules(), source), tmp_path / "ko.dcm")) == []


def test_of_an_enhanced_image_it_names_the_frame(tmp_path: Path) -> None:
    shuffled = [3, 1, 0, 2, 4]
    source = samples.enhanced_ct_source(tmp_path, shuffled)
    selection = selection_of(samples.result(samples.nodule(1, (2, 30, 40), radius=1)), source)
    (reference,) = [item for item in selection.ContentSequence if item.ValueType == "IMAGE"]
    assert reference.ReferencedSOPSequence[0].ReferencedFrameNumber == shuffled.index(2) + 1
