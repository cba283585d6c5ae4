"""The structured report: read by highdicom and DCMTK, it says what the result says."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Finding, Measurement, Result
from pacsai.objects import seg, sr
from pacsai.objects.contour import area
from pacsai.objects.source import Source
from tests.conftest import needs
from tests.objects import samples, tools

NO_UNITS = terms.Code("1", "UCUM", "no units")
NOT_ANALYSED = Result.not_analysed("no series with slices of 3 mm or less").signed(samples.PROVENANCE)
OUTCOMES = {
    "findings": (samples.two_nodules(), terms.SUCCEEDED_WITH_FINDINGS, "2 findings."),
    "no finding": (samples.result(), terms.SUCCEEDED_WITHOUT_FINDINGS, "No finding."),
    "not analysed": (NOT_ANALYSED, terms.NONE_SUCCEEDED, "Not analysed: no series with slices of 3 mm or less"),
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return samples.ct_source(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def written(source: Source, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of each outcome as a file, by the outcome's name."""
    folder = tmp_path_factory.mktemp("sr")
    return {
        name: tools.saved(sr.build(result, source, segmentation_of(result, source)), folder / f"{name}.dcm")
        for name, (result, _, _) in OUTCOMES.items()
    }


@pytest.fixture
def report(written: dict[str, Path]) -> hd.sr.MeasurementReport:
    return hd.sr.srread(written["findings"]).content


def segmentation_of(result: Result, source: Source) -> Dataset | None:
    return seg.build(result, source) if seg.segmented(result) else None


def container(dataset: Dataset, name: terms.Code) -> Dataset:
    return next(i for i in dataset.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == name.value)


def sentences(dataset: Dataset) -> list[str]:
    items = container(dataset, terms.QUALITATIVE_EVALUATIONS).ContentSequence
    return [item.TextValue for item in items if item.ValueType == "TEXT"]


def volumetric(
    report: hd.sr.MeasurementReport, finding: Finding
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    (group,) = report.get_volumetric_roi_measurement_groups(tracking_uid=finding.tracking_uid)
    return group


def planar(report: hd.sr.MeasurementReport, finding: Finding) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    (group,) = report.get_planar_roi_measurement_groups(tracking_uid=finding.tracking_uid)
    return group


def planar_of(made: Dataset, finding: Finding) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    return planar(hd.sr.Comprehensive3DSR.from_dataset(made).content, finding)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_report_says_how_the_analysis_ended(written: dict[str, Path], outcome: str) -> None:
    _, code, sentence = OUTCOMES[outcome]
    made = dcmread(written[outcome])
    summary = container(made, terms.QUALITATIVE_EVALUATIONS).ContentSequence[0]
    assert summary.ConceptNameCodeSequence[0].CodeValue == terms.PROCESSING_SUMMARY.value
    assert summary.ConceptCodeSequence[0].CodeValue == code.value
    assert sentence in sentences(made)
    assert f"{RESEARCH_USE_ONLY}." in sentences(made)


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_it_is_a_preliminary_unverified_complete_report(written: dict[str, Path], outcome: str) -> None:
    made = dcmread(written[outcome])
    assert made.SOPClassUID.name == "Comprehensive 3D SR Storage"
    assert (made.CompletionFlag, made.PreliminaryFlag, made.VerificationFlag) == (
        "COMPLETE",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert made.ConceptNameCodeSequence[0].CodeValue == terms.MEASUREMENT_REPORT.value


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_the_checkers_have_nothing_to_say(written: dict[str, Path], outcome: str) -> None:
    assert tools.dciodvfy(written[outcome]) == []
    assert tools.dsrdump(written[outcome]) == []


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_it_is_readable_as_a_page(written: dict[str, Path], outcome: str) -> None:
    needs("dsr2html")
    done = subprocess.run(["dsr2html", str(written[outcome])], capture_output=True, timeout=60, check=True)
    page = done.stdout.decode("latin-1")
    assert done.stderr == b""
    assert OUTCOMES[outcome][2] in page
    assert "Müller" in page or "M&uuml;ller" in page


@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_code_in_it_is_known(written: dict[str, Path], outcome: str) -> None:
    assert samples.unknown_codes(dcmread(written[outcome])) == set()


@pytest.mark.parametrize("outcome", ["no finding", "not analysed"])
def test_without_findings_there_is_no_measurement_group(written: dict[str, Path], outcome: str) -> None:
    report = hd.sr.srread(written[outcome]).content
    assert report.get_planar_roi_measurement_groups() == []
    assert report.get_volumetric_roi_measurement_groups() == []
    assert report.get_image_measurement_groups() == []


def test_remarks_on_the_scan_are_told(written: dict[str, Path]) -> None:
    assert "The lung bases are cut off." in sentences(dcmread(written["no finding"]))


def test_numbers_come_back_under_the_tracking_uid_of_the_finding(report: hd.sr.MeasurementReport) -> None:
    for finding in samples.two_nodules().findings:
        group = volumetric(report, finding)
        numbers = {(m.name.value, m.unit.value): m.value for m in group.get_measurements()}
        expected = {(m.name.value, m.unit.value): m.value for m in finding.measurements}
        assert group.tracking_identifier == finding.label
        assert numbers.pop((terms.CERTAINTY.value, "%")) == pytest.approx(100 * finding.probability, abs=0.05)
        assert numbers == pytest.approx(expected, abs=0.05)


def test_a_mean_is_a_derivation_and_a_way_of_measuring_is_a_method(report: hd.sr.MeasurementReport) -> None:
    group = volumetric(report, samples.two_nodules().findings[0])
    (attenuation,) = group.get_measurements(codes.DCM.AttenuationCoefficient)
    (volume,) = group.get_measurements(codes.SCT.Volume)
    assert (attenuation.derivation, attenuation.method) == (codes.SCT.Mean, None)
    assert (volume.derivation, volume.method) == (None, codes.DCM.SumOfSegmentedVoxelMethodForVolume)


def test_a_finding_says_what_it_is_where_and_of_what_kind(report: hd.sr.MeasurementReport) -> None:
    for finding in samples.two_nodules().findings:
        for group in (volumetric(report, finding), planar(report, finding)):
            (site,) = group.finding_sites
            assert group.finding_type == codes.SCT.Nodule
            assert site.value == codes.SCT.UpperLobeOfLung
            assert site.laterality == codes.SCT.Right
        (quality,) = volumetric(report, finding).get_qualitative_evaluations()
        assert (quality.name.value, quality.value.value) == (terms.NODULE_TYPE.value, terms.PART_SOLID.value)


def test_the_volumetric_group_points_at_the_segment_of_the_finding(
    report: hd.sr.MeasurementReport, source: Source
) -> None:
    made = seg.build(samples.two_nodules(), source)
    uids = [segment.TrackingUID for segment in made.SegmentSequence]
    for finding in samples.two_nodules().findings:
        reference = volumetric(report, finding).referenced_segment[0]
        assert reference.referenced_sop_instance_uid == made.SOPInstanceUID
        (number,) = reference.referenced_segment_numbers
        assert uids[number - 1] == finding.tracking_uid


def test_the_outline_takes_in_the_mask_on_the_slice_where_it_is_largest(
    report: hd.sr.MeasurementReport, source: Source
) -> None:
    for finding in samples.two_nodules().findings:
        assert finding.mask
        sizes = finding.mask.paste(samples.SHAPE_KJI).sum(axis=(1, 2))
        region = planar(report, finding).roi
        image = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        assert region.graphic_type.value == "POLYLINE"
        assert image == source.instances[int(np.argmax(sizes))].sop_instance_uid
        assert area(region.value) == sizes.max()
        assert np.array_equal(region.value[0], region.value[-1])


def test_the_tracking_uid_is_the_first_uid_of_every_group(written: dict[str, Path]) -> None:
    groups = container(dcmread(written["findings"]), terms.IMAGING_MEASUREMENTS).ContentSequence
    assert len(groups) == 4
    for group in groups:
        first = next(item for item in group.ContentSequence if item.ValueType == "UIDREF")
        assert first.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Unique Identifier"


def test_remarks_on_a_finding_stand_once_in_its_group(written: dict[str, Path]) -> None:
    groups = container(dcmread(written["findings"]), terms.IMAGING_MEASUREMENTS).ContentSequence
    remarks = [i.TextValue for g in groups for i in g.ContentSequence if i.get("TextValue", "").startswith("Cut by")]
    assert remarks == ["Cut by the edge of the scan."]


def test_every_analysed_image_and_the_segmentation_are_evidence(written: dict[str, Path], source: Source) -> None:
    evidence = {str(uid) for _, _, uid, _ in hd.sr.srread(written["findings"]).get_evidence(True)}
    images = {instance.sop_instance_uid for instance in source.instances}
    assert evidence == images | {samples.PROVENANCE.uid("SEG")}


def test_the_images_of_what_could_not_be_analysed_are_evidence_too(written: dict[str, Path], source: Source) -> None:
    evidence = {str(uid) for _, _, uid, _ in hd.sr.srread(written["not analysed"]).get_evidence(True)}
    assert evidence == {instance.sop_instance_uid for instance in source.instances}


def test_the_library_holds_the_images_that_findings_are_drawn_on(written: dict[str, Path], source: Source) -> None:
    library = next(
        item
        for item in dcmread(written["findings"]).ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Image Library"
    )
    images = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in library.ContentSequence[0].ContentSequence]
    assert images == [source.instances[k].sop_instance_uid for k in (0, 5)]


@pytest.mark.parametrize("thickness", [None, ""])
def test_images_of_unknown_thickness_are_reported_on_all_the_same(tmp_path: Path, thickness: str | None) -> None:
    unknown = samples.ct_source(tmp_path, SliceThickness=thickness)
    result = samples.two_nodules()
    made = sr.build(result, unknown, seg.build(result, unknown))
    assert tools.dciodvfy(tools.saved(made, tmp_path / "sr.dcm")) == []


def test_a_finding_without_a_mask_is_a_point_at_its_centre_with_its_numbers(source: Source) -> None:
    result = samples.result(samples.nodule(1, (3, 10, 12), mask=None))
    group = planar_of(sr.build(result, source), result.findings[0])
    region = group.roi
    image = region.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert region.graphic_type.value == "POINT"
    assert region.value == pytest.approx(np.array([[12.5, 10.5]]), abs=1e-4)
    assert image == source.instances[3].sop_instance_uid
    assert len(group.get_measurements()) == 5


def test_without_a_segmentation_the_planar_group_holds_the_numbers(source: Source) -> None:
    result = samples.two_nodules()
    made = sr.build(result, source)
    assert len(planar_of(made, result.findings[0]).get_measurements()) == 5
    assert hd.sr.Comprehensive3DSR.from_dataset(made).content.get_volumetric_roi_measurement_groups() == []


def test_a_lone_segment_is_referenced(source: Source) -> None:
    result = samples.result(samples.nodule(1, (5, 30, 40)))
    made = sr.build(result, source, seg.build(result, source))
    assert len(hd.sr.Comprehensive3DSR.from_dataset(made).content.get_volumetric_roi_measurement_groups()) == 1


def test_an_outline_on_an_enhanced_ct_names_its_frame(tmp_path: Path) -> None:
    shuffled = [3, 1, 0, 2, 4]
    enhanced = samples.enhanced_ct_source(tmp_path, shuffled)
    result = samples.result(samples.nodule(1, (2, 30, 40), mask=samples.ball((2, 30, 40), 2)))
    made = sr.build(result, enhanced, seg.build(result, enhanced))
    image = planar_of(made, result.findings[0]).roi.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedFrameNumber == shuffled.index(2) + 1


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (6.4321, terms.MM, 6.4),
        (359.843, terms.MM3, 359.8),
        (-23.456, terms.HU, -23.5),
        (123456.789, NO_UNITS, 123457.0),
        (1 / 3e9, NO_UNITS, 3.33333e-10),
    ],
)
def test_numbers_carry_the_digits_that_a_measurement_has(
    source: Source, value: float, unit: terms.Code, told: float
) -> None:
    nodule = samples.nodule(1, (5, 30, 40), measurements=(Measurement(terms.LONG_AXIS, value, unit),))
    result = samples.result(nodule)
    measured = planar_of(sr.build(result, source), result.findings[0]).get_measurements()[0]
    number = measured[0].MeasuredValueSequence[0].NumericValue
    assert float(number) == told
    assert len(str(number)) <= 16


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(source: Source, value: float) -> None:
    nodule = samples.nodule(1, (5, 30, 40), measurements=(Measurement(terms.LONG_AXIS, value, terms.MM),))
    with pytest.raises(ValueError, match=r"Long axis is (nan|inf)"):
        sr.build(samples.result(nodule), source)


def test_a_finding_that_nothing_places_is_refused(source: Source) -> None:
    with pytest.raises(ValueError, match="no volume"):
        sr.build(samples.result(samples.nodule(1, (5, 30, 40), mask=None)), replace(source, volume=None))


def test_an_earlier_report_is_named_as_predecessor(source: Source) -> None:
    earlier = sr.build(samples.result(provenance=replace(samples.PROVENANCE, model_digest="d" * 64)), source)
    made = sr.build(samples.result(), source, previous=[earlier])
    reference = made.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID == earlier.SOPInstanceUID


def test_the_observer_is_this_node(report: hd.sr.MeasurementReport) -> None:
    (observer,) = report.get_observer_contexts(observer_type=codes.DCM.Device)
    assert observer.observer_identifying_attributes.model_name == "pacsai node"


def test_the_model_is_named_by_its_digest(written: dict[str, Path]) -> None:
    summary = container(dcmread(written["no finding"]), terms.QUALITATIVE_EVALUATIONS).ContentSequence[0]
    texts = [item.TextValue for item in summary.ContentSequence]
    assert f"model sha256 {samples.PROVENANCE.model_digest}" in texts
