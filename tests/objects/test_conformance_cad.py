"""The row checker of TID 4000: a good report passes, and each thing done to one is told with its place and its row."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from highdicom.sr import GraphicTypeValues
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.objects.cad_sr import items, mammography_cad_sr
from pacsai.objects.conformance import judge
from pacsai.objects.conformance.rows import INCLUDE, Row, read
from pacsai.objects.conformance.tid4000 import TEMPLATES
from pacsai.objects.conformance.values import group
from pacsai.objects.source import ResultObject, Source
from pacsai.objects.write import encoded
from pacsai.terms import Code
from tests.objects import mammograms


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return mammograms.four_views(tmp_path_factory.mktemp("mg"))


@pytest.fixture(scope="module")
def octets(source: Source) -> bytes:
    return encoded(mammography_cad_sr(mammograms.abnormal(source), mammograms.result(), source))


@pytest.fixture
def report(octets: bytes) -> Dataset:
    return dcmread(BytesIO(octets))


def complaints(report: Dataset, source: Source) -> list[str]:
    one = ResultObject("CADSR", report)
    return [str(problem) for problem in judge(one, [one], source)]


def at(report: Dataset, where: str) -> Dataset:
    """Return the item at a place such as "1.3.10"."""
    item = report
    for step in where.split(".")[1:]:
        item = item.ContentSequence[int(step) - 1]
    return item


def drop(*places: str) -> Callable[[Dataset], None]:
    """Return what drops an item after the other; a second one at the same place is the next."""

    def dropped(report: Dataset) -> None:
        for where in places:
            parent, _, number = where.rpartition(".")
            at(report, parent).ContentSequence.pop(int(number) - 1)

    return dropped


def twice(where: str) -> Callable[[Dataset], None]:
    parent, _, number = where.rpartition(".")
    return lambda report: at(report, parent).ContentSequence.insert(int(number), at(report, where))


def move_last(where: str) -> Callable[[Dataset], None]:
    parent, _, number = where.rpartition(".")

    def moved(report: Dataset) -> None:
        below = at(report, parent).ContentSequence
        below.append(below.pop(int(number) - 1))

    return moved


def say(where: str, value: Code) -> Callable[[Dataset], None]:
    return lambda report: write(at(report, where).ConceptCodeSequence[0], value)


def call(where: str, name: Code) -> Callable[[Dataset], None]:
    return lambda report: write(at(report, where).ConceptNameCodeSequence[0], name)


def write(item: Dataset, code: Code) -> None:
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code.value, code.scheme, code.meaning


def relate(where: str, relationship: str) -> Callable[[Dataset], None]:
    return lambda report: setattr(at(report, where), "RelationshipType", relationship)


def measure(where: str, value: str, unit: Code | None = None) -> Callable[[Dataset], None]:
    def measured(report: Dataset) -> None:
        number = at(report, where).MeasuredValueSequence[0]
        number.NumericValue = value
        if unit:
            write(number.MeasurementUnitsCodeSequence[0], unit)

    return measured


def refer(where: str, *identifier: int) -> Callable[[Dataset], None]:
    return lambda report: setattr(at(report, where), "ReferencedContentItemIdentifier", list(identifier))


def draw(where: str, *numbers: float, graphic_type: str = "POINT") -> Callable[[Dataset], None]:
    def drawn(report: Dataset) -> None:
        at(report, where).GraphicType, at(report, where).GraphicData = graphic_type, list(numbers)

    return drawn


def add(where: str, item: Dataset) -> Callable[[Dataset], None]:
    return lambda report: at(report, where).ContentSequence.append(item)


def add_first(where: str, item: Dataset) -> Callable[[Dataset], None]:
    return lambda report: at(report, where).ContentSequence.insert(0, item)


def as_text(where: str) -> Callable[[Dataset], None]:
    def changed(report: Dataset) -> None:
        item = at(report, where)
        del item.ConceptCodeSequence
        item.ValueType, item.TextValue = "TEXT", "words"

    return changed


def by_value(where: str) -> Callable[[Dataset], None]:
    def changed(report: Dataset) -> None:
        item = at(report, where)
        del item.ReferencedContentItemIdentifier
        item.ValueType, item.ReferencedSOPSequence = "IMAGE", at(report, "1.2.1").ReferencedSOPSequence

    return changed


def other_template(report: Dataset) -> None:
    report.ContentTemplateSequence[0].TemplateIdentifier = "1500"


def no_marks(report: Dataset) -> None:
    at(report, "1.3").ContentSequence = at(report, "1.3").ContentSequence[:8]


def one_mark(report: Dataset) -> None:
    at(report, COMPOSITE).ContentSequence.pop()


COMMENT = items.text("CONTAINS", terms.COMMENT, "words")
COMPOSITE = "1.3.9.2"
MASS = f"{COMPOSITE}.9"
CLUSTER = "1.3.10.2.9"
LONE = "1.3.13.2"
DISTORTION = "1.3.12.2"

COMPOSITION = "1.3.14.6"


def about(where: str, kind: Code, *children: Dataset) -> Callable[[Dataset], None]:
    """Return what makes a Single Image Finding one of another kind, with these below it after intent and tracking."""

    def changed(report: Dataset) -> None:
        item = at(report, where)
        write(item.ConceptCodeSequence[0], kind)
        kept = [one for one in item.ContentSequence if one.ConceptNameCodeSequence[0].CodeValue in UNDESCRIBED]
        item.ContentSequence = [*kept, *children]

    return changed


UNDESCRIBED = ("111056", "112039", "112040", "111001", "111003")
"""Intent, tracking, algorithm: what a finding of any kind has."""
GEOMETRY = Code("111100", "DCM", "Breast geometry")
NON_LESION = Code("111102", "DCM", "Non-lesion")
REGION = Code("111099", "DCM", "Selected region")
QUALITY = Code("111101", "DCM", "Image Quality")


def centre() -> Dataset:
    return items.graphic(terms.CENTER, GraphicTypeValues.POINT, [(9.5, 9.5)], (1, 2, 1))


def breast_outline() -> Dataset:
    name = Code("111007", "DCM", "Breast Outline including Pectoral Muscle Tissue")
    corners = [(1.0, 1.0), (9.0, 1.0), (9.0, 9.0), (1.0, 1.0)]
    return items.graphic(name, GraphicTypeValues.POLYLINE, corners, (1, 2, 1))


def quality() -> Dataset:
    return items.code("HAS PROPERTIES", Code("111052", "DCM", "Quality Finding"), Code("111210", "DCM", "Motion blur"))


def whole_image() -> Dataset:
    return items.reference("INFERRED FROM", (1, 2, 1))


def image_region() -> Dataset:
    name = Code("111030", "DCM", "Image Region")
    return items.graphic(name, GraphicTypeValues.POINT, [(9.5, 9.5)], (1, 2, 1))


def object_type() -> Dataset:
    return items.code("HAS PROPERTIES", Code("111039", "DCM", "Object type"), Code("77720000", "SCT", "Clip"))


def described_region() -> Dataset:
    return items.text("HAS PROPERTIES", Code("111058", "DCM", "Selected Region Description"), "fold")


def interval(months: float) -> Dataset:
    name = Code("111055", "DCM", "Recommended Follow-up Interval")
    return items.number("HAS PROPERTIES", name, months, Code("mo", "UCUM", "month"))


def both_follow_ups(report: Dataset) -> None:
    date = items.date("HAS PROPERTIES", Code("111054", "DCM", "Recommended Follow-up Date"), "20300101")
    at(report, "1.3").ContentSequence[1:1] = [interval(6), date]


def half_a_month(report: Dataset) -> None:
    at(report, "1.3").ContentSequence.insert(1, interval(0.5))


MUTATIONS: list[tuple[str, Callable[[Dataset], None], str]] = [
    # the root
    ("another template", other_template, "template: 1: the root does not name template 4000"),
    ("another title", call("1", terms.MEASUREMENT_REPORT), "template: 1: TID 4000 row 1"),
    ("no language", drop("1.1"), "template: 1: TID 4000 row 2 (TID 1204) is missing"),
    ("another language scheme", say("1.1", terms.LEFT), "TID 1204 row 1"),
    ("a language that is none", say("1.1", Code("999", "RFC5646", "nothing")), "which is no RFC 5646 language"),
    ("no summary of detections", drop("1.4"), "TID 4000 row 6 (CODE Summary of Detections) is missing"),
    ("two summaries of analyses", twice("1.5"), "TID 4000 row 8 (CODE Summary of Analyses) stands 2 times"),
    ("the analyses before the detections", move_last("1.4"), "row 6 (CODE Summary of Detections) stands after"),
    ("a comment at the root", add("1", COMMENT), "1.6: TID 4000 has no row for CONTAINS TEXT Comment here"),
    # the Image Library
    ("no image library", drop("1.2"), "TID 4000 row 3 (CONTAINER Image Library) is missing"),
    ("an image twice", lambda r: at(r, "1.2").ContentSequence.append(at(r, "1.2.1")), "1.2: image "),
    ("an empty library", lambda r: delattr(at(r, "1.2"), "ContentSequence"), "row 4 (TID 4020) is missing"),
    ("an image less", drop("1.2.4"), "refers to 1.2.4, where nothing stands"),
    ("no laterality", drop("1.2.1.1"), "1.2.1: TID 4020 row 2 (CODE Image Laterality) is missing"),
    ("a side that is no breast", say("1.2.1.1", terms.LEFT), "1.2.1.1: TID 4020 row 2"),
    ("no view", drop("1.2.2.2"), "1.2.2: TID 4020 row 3 (CODE Image View) is missing"),
    ("the side as content", relate("1.2.1.1", "CONTAINS"), "CONTAINS and must be HAS ACQ CONTEXT"),
    ("spacing in percent", measure("1.2.1.9", "10", terms.PERCENT), "1.2.1.9: TID 4020 row 11"),
    ("no study date", drop("1.2.3.5"), "TID 4020 row 7 (DATE Study Date) is missing"),
    ("another side than the image's", say("1.2.1.1", terms.LEFT_BREAST), "Laterality is not what the image says"),
    ("another view than the image's", say("1.2.1.2", Code("399368009", "SCT", "medio-lateral oblique")),
     "1.2.1: Image View is not what the image says"),
    ("another orientation", lambda r: setattr(at(r, "1.2.1.3"), "TextValue", "A"), "Row is not what the image says"),
    ("another day", lambda r: setattr(at(r, "1.2.1.5"), "Date", "19000101"), "Study Date is not what the image says"),
    ("another spacing", measure("1.2.1.9", "0.2"), "Horizontal Pixel Spacing is not what the image says"),
    # the overall impression
    ("no finding in it", no_marks, "1.3: TID 4001 row 3 (TID 4003) is missing"),
    ("without findings", say("1.3", terms.SUCCEEDED_WITHOUT_FINDINGS), "TID 4001 row 3 (TID 4003) may not stand here"),
    ("partly failed", say("1.3", terms.NOT_ALL_SUCCEEDED_WITH_FINDINGS), "the lists say that all of what was tried"),
    ("no word of it", drop("1.3.1"), "1.3: TID 4002 row 1 (CODE Assessment Category) or another of rows"),
    ("no algorithm", drop("1.3.2", "1.3.2"), "1.3: TID 4019 row 1 (TEXT Algorithm Name)"),
    ("a name without version", twice("1.3.2"), "row 11 (TID 4019): its mandatory rows stand 1 to 2 times"),
    ("density without derivation", drop("1.3.7.2"), "1.3.7: TID 4002 row 14 (CODE Derivation) is missing"),
    ("the impression as content", relate("1.3.9", "CONTAINS"), "CONTAINS and must be INFERRED FROM"),
    ("an impression of nothing", drop("1.3.9.2"), "1.3.9: TID 4003 row 4 (TID 4004) or another of rows 4 5 is missing"),
    ("an impression without intent", drop("1.3.9.1"), "1.3.9: TID 4003 row 2 (CODE Rendering Intent) is missing"),
    ("an assessment that is none", add_first("1.3", items.code(
        "HAS PROPERTIES", terms.ASSESSMENT_CATEGORY, terms.MASS
    )), "1.3.1: TID 4002 row 1 (CODE Assessment Category) says (4147007, SCT, Mass), which is not in CID 6026"),
    ("an interval and a date", both_follow_ups, "TID 4002 row 8 (NUM Recommended Follow-up Interval) may not stand"),
    ("half a month", half_a_month, "is 0.5 and must be a whole number"),
    # composite features
    ("a composite of one mark", one_mark, f"{COMPOSITE}: TID 4004 row 5 (TID 4004) and others of rows 5 6"),
    ("a composite without type", drop(f"{COMPOSITE}.4"), "TID 4005 row 1 (CODE Composite type) is missing"),
    ("a composite without scope", drop(f"{COMPOSITE}.5"), "TID 4005 row 2 (CODE Scope of Feature) is missing"),
    ("a composite that is a nodule", say(COMPOSITE, terms.NODULE), "which is not in CID 6016"),
    ("a calcification type of a mass", add(COMPOSITE, items.code(
        "HAS PROPERTIES", terms.CALCIFICATION_TYPE, mammograms.PLEOMORPHIC
    )), "TID 4005 row 22 (CODE Calcification Type) may not stand here"),
    ("an asymmetry of one breast", say("1.3.11.2.4", terms.RELATED_SPATIALLY), "related contra-laterally"),
    ("a mark that is contained", relate(MASS, "CONTAINS"), "CONTAINS and must be INFERRED FROM"),
    # single image findings
    ("no rendering intent", drop(f"{MASS}.1"), "TID 4006 row 2 (CODE Rendering Intent) is missing"),
    ("another intent", say(f"{MASS}.1", terms.SUCCEEDED), "which is not in CID 6034"),
    ("an intent in words", as_text(f"{MASS}.1"), "is a TEXT and must be a CODE"),
    ("no algorithm name", drop(f"{MASS}.4"), "TID 4019 row 1 (TEXT Algorithm Name) is missing"),
    ("two algorithm versions", twice(f"{MASS}.5"), "TID 4019 row 2 (TEXT Algorithm Version) stands 2 times"),
    ("more than certain", measure(f"{MASS}.6", "101"), "must be 0 to 100 %"),
    ("a probability in mm", measure(f"{MASS}.7", "50", terms.MM), "must be 0 to 100 %"),
    ("two probabilities", twice(f"{MASS}.7"), "TID 4006 row 7 (NUM Probability of cancer) stands 2 times"),
    ("the intent last", move_last(f"{MASS}.1"), "stands after"),
    ("the centre after the outline", move_last(f"{CLUSTER}.7"), "TID 4021 row 1 (SCOORD Center) stands after"),
    ("no centre", drop(f"{MASS}.8"), "TID 4021 row 1 (SCOORD Center) is missing"),
    ("no place at all", drop(f"{CLUSTER}.7"), f"{CLUSTER}: TID 4006 row 8 (TID 4021) is missing"),
    ("a kind that CID 6014 lacks", say(LONE, terms.BREAST_MASS), "which is not in CID 6014"),
    ("a described distortion", add(DISTORTION, items.code("HAS PROPERTIES", terms.SHAPE, mammograms.OVAL)),
     "TID 4006 row 14 (TID 4011) may not stand here"),
    ("another shape", say(f"{MASS}.11", terms.SPATIAL_COLLOCATION), "which is not in CID 6004"),
    ("the shape as modifier", relate(f"{MASS}.11", "HAS CONCEPT MOD"), "must be HAS PROPERTIES"),
    ("two shapes", twice(f"{MASS}.11"), "TID 4011 row 2 (CODE Shape) stands 2 times"),
    ("half a calcification", measure(f"{CLUSTER}.10", "3.5"), "must be a whole number"),
    ("a length in percent", measure(f"{MASS}.14", "9", terms.PERCENT), "must have CID 7460"),
    ("a finding without code", lambda r: delattr(at(r, LONE), "ConceptCodeSequence"), "has no ConceptCodeSequence"),
    ("a mark that nobody can track", drop(f"{MASS}.3"), "has no Tracking Unique Identifier"),
    ("a track with a space", lambda r: setattr(at(r, f"{MASS}.2"), "TextValue", " Mass 1"), "has spaces around"),
    ("a composite that nobody can track", drop(f"{COMPOSITE}.3"), "has no Tracking Unique Identifier"),
    ("a mark twice", twice(MASS), "stands here 2 times"),
    ("a mass below a cluster", lambda r: at(r, CLUSTER).ContentSequence.append(at(r, MASS)),
     "is about (129793001, SCT, Mammography breast density) and must be about 129770007"),
    ("a breast without outline", about(LONE, GEOMETRY), "TID 4006 row 11 (TID 4008) is missing"),
    ("a breast with a centre", about(LONE, GEOMETRY, centre(), breast_outline()), "row 8 (TID 4021) may not stand"),
    ("an object of no type", about(LONE, NON_LESION, centre()), "TID 4006 row 16 (TID 4012) is missing"),
    ("a mass that is of a type of object", add(LONE, object_type()), "TID 4006 row 16 (TID 4012) may not stand here"),
    ("an undescribed region", about(LONE, REGION, centre()), "TID 4006 row 17 (TID 4013) is missing"),
    ("image quality of no image", about(LONE, QUALITY, quality()), "TID 4006 row 18 (IMAGE) is missing"),
    ("image quality of an image and its part", about(LONE, QUALITY, whole_image(), image_region(), quality()),
     "TID 4006 row 18 (IMAGE) may not stand here"),
    ("an image of no quality", about(LONE, QUALITY, whole_image()), "TID 4006 row 21 (TID 4014) is missing"),
    ("a mass in two impressions", twice("1.3.13"), " stands in 2 places"),
    ("a margin told twice", twice(f"{MASS}.12"), "Indistinct lesion stands here 2 times"),
    ("a length below 0", measure(f"{MASS}.14", "-3"), "is -3 and must be above 0"),
    # breast composition
    ("a composition inferred from a mass",
     add(COMPOSITION, items.reference("INFERRED FROM", tuple(int(n) for n in LONE.split(".")))),
     "and must be about 111100"),
    ("a composition of nothing", drop("1.3.14.6.4", "1.3.14.6.4"), "1.3.14.6: TID 4006 row 9 (TID 4007) is missing"),
    ("a composition with a probability", add("1.3.14.6", items.number(
        "HAS PROPERTIES", terms.PROBABILITY_OF_CANCER, 5, terms.PERCENT
    )), "TID 4006 row 7 (NUM Probability of cancer) may not stand here"),
    ("a composition that CID 6000 lacks", say("1.3.14.6.4", terms.MASS), "which is not in CID 6000"),
    # graphics and what they refer to
    ("a centre of two points", draw(f"{MASS}.8", 1, 2, 3, 4), "is a POINT of 4 numbers"),
    ("a centre that is a circle", draw(f"{MASS}.8", 9, 9, 9, 12, graphic_type="CIRCLE"), "must be a POINT"),
    ("a centre outside", draw(f"{MASS}.8", 190.5, 10), "geometry: "),
    ("a centre that is no number", draw(f"{MASS}.8", float("nan"), 5), "is drawn outside its image"),
    ("an outline outside", draw(f"{MASS}.9", 1, 1, 5, -1, 1, 1, graphic_type="POLYLINE"), "is drawn outside its image"),
    ("a centre of no image", drop(f"{MASS}.8.1"), "TID 4021 row 2 (IMAGE) is missing"),
    ("a reference into the dark", refer(f"{MASS}.8.1", 1, 2, 9), "refers to 1.2.9, where nothing stands"),
    ("a reference to a code", refer(f"{MASS}.8.1", 1, 3), "must be IMAGE"),
    ("a reference from the root down", refer(f"{MASS}.8.1", 2, 2, 1), "refers to 2.2.1, where nothing stands"),
    ("an outline on another image", refer(f"{MASS}.9.1", 1, 2, 1), "are on different images"),
    ("an image by value", by_value(f"{MASS}.8.1"), "has no row for SELECTED FROM IMAGE here"),
    ("a reference of another kind", relate(f"{MASS}.8.1", "INFERRED FROM"), "must be SELECTED FROM"),
    ("a reference that says something", lambda r: setattr(at(r, f"{MASS}.8.1"), "ValueType", "IMAGE"),
     "refers to an item and may say nothing itself"),
    # what was tried
    ("the same detection twice", twice("1.4.1.1"), "stands here 2 times"),
    ("nothing was tried", say("1.4", terms.NOT_ATTEMPTED), "TID 4000 row 7 (TID 4015) may not stand here"),
    ("all failed", say("1.4", terms.FAILED), "TID 4015 row 3 (CONTAINER Failed Detections) is missing"),
    ("no list", lambda r: delattr(at(r, "1.4"), "ContentSequence"), "1.4: TID 4000 row 7 (TID 4015) is missing"),
    ("a detection of nothing known", say("1.4.1.1", terms.NODULE), "which is not in CID 6014"),
    ("a detection by nobody", drop("1.4.1.1.1"), "1.4.1.1: TID 4019 row 1 (TEXT Algorithm Name) is missing"),
    ("an image of a detection twice", twice("1.4.1.1.3"), "a reference to 1.2.1 stands here 2 times"),
    ("a detection on no image",
     lambda r: setattr(at(r, "1.4.1.1"), "ContentSequence", at(r, "1.4.1.1").ContentSequence[:2]),
     "1.4.1.1: TID 4017 row 4 (IMAGE) or another of rows 4 6 is missing"),
    ("an analysis that is a detection", call("1.5.1.1", terms.DETECTION_PERFORMED), "TID 4016 has no row for"),
    ("an analysis of nothing known", say("1.5.1.1", terms.BREAST_DENSITY), "which is not in CID 6043"),
]  # fmt: skip


def test_a_good_report_passes(report: Dataset, source: Source) -> None:
    assert complaints(report, source) == []


@pytest.mark.parametrize(("mutate", "words"), [pytest.param(m, w, id=name) for name, m, w in MUTATIONS])
def test_what_is_wrong_is_told_with_its_place_and_row(
    report: Dataset, source: Source, mutate: Callable[[Dataset], None], words: str
) -> None:
    mutate(report)
    found = complaints(report, source)
    assert any(words in complaint for complaint in found), found


def test_a_complaint_reads_like_a_sentence(report: Dataset, source: Source) -> None:
    drop(f"{MASS}.1")(report)
    assert complaints(report, source) == ["template: 1.3.9.2.9: TID 4006 row 2 (CODE Rendering Intent) is missing"]


def test_individual_calcifications_may_stand_below_a_cluster(report: Dataset, source: Source) -> None:
    calcification = dcmread(BytesIO(_copied(at(report, CLUSTER))), force=True)
    write(calcification.ConceptCodeSequence[0], Code("129770007", "SCT", "Individual Calcification"))
    calcification.ContentSequence = calcification.ContentSequence[:8]
    calcification.RelationshipType = "INFERRED FROM"
    calcification.ContentSequence[2].UID = "2.25.7"
    at(report, CLUSTER).ContentSequence.append(calcification)
    assert complaints(report, source) == []


@pytest.mark.parametrize(
    ("kind", "children"),
    [
        pytest.param(GEOMETRY, [breast_outline()], id="geometry"),
        pytest.param(NON_LESION, [centre(), object_type()], id="non-lesion"),
        pytest.param(REGION, [centre(), described_region()], id="region"),
        pytest.param(QUALITY, [whole_image(), quality()], id="quality of an image"),
        pytest.param(QUALITY, [image_region(), quality()], id="quality of a part"),
    ],
)
def test_findings_that_are_no_lesions_pass_with_what_their_template_asks_for(
    report: Dataset, source: Source, kind: Code, children: list[Dataset]
) -> None:
    about(LONE, kind, *children)(report)
    assert complaints(report, source) == []


def test_a_view_modifier_of_the_image_must_be_told(tmp_path: Path) -> None:
    cleavage = Dataset()
    cleavage.CodeValue, cleavage.CodingSchemeDesignator, cleavage.CodeMeaning = "399161006", "SCT", "Cleavage"
    view = Dataset()
    view.CodeValue, view.CodingSchemeDesignator, view.CodeMeaning = "399162004", "SCT", "cranio-caudal"
    view.ViewModifierCodeSequence = [cleavage]
    modified = mammograms.four_views(tmp_path, ViewCodeSequence=[view])
    told = mammography_cad_sr(mammograms.normal(modified), mammograms.result(), modified)
    assert complaints(told, modified) == []
    drop("1.2.1.2.1")(told)
    assert complaints(told, modified) == ["template: 1.2.1.2: TID 4020 row 4 (CODE Image View Modifier) is missing"]


def _copied(item: Dataset) -> bytes:
    octets = BytesIO()
    item.save_as(octets, implicit_vr=False, little_endian=True)
    return octets.getvalue()


def every(rows: tuple[Row, ...]) -> list[Row]:
    return [one for row in rows for one in (row, *every(row.rows))]


ROWS = [row for template in TEMPLATES.values() for row in every(template.rows)]


def test_every_concept_of_the_tables_is_a_known_code() -> None:
    assert [row.name for row in ROWS if isinstance(row.concept, Code) and not terms.known(row.concept)] == []


def test_every_template_that_is_included_is_there() -> None:
    assert [row.name for row in ROWS if row.value_type == INCLUDE and row.concept not in TEMPLATES] == []


def test_every_context_group_of_the_tables_has_codes() -> None:
    concepts = {row.concept for row in ROWS if isinstance(row.concept, int)}
    value_sets = {int(row.value.split()[-1]) for row in ROWS if "CID" in row.value}
    assert [number for number in concepts | value_sets if not group(number)] == []


def test_the_tables_keep_the_order_of_the_standard() -> None:
    for template in TEMPLATES.values():
        numbers = [int(row.number.rstrip("b")) for row in every(template.rows)]
        assert numbers == sorted(numbers), template.number


def test_a_line_that_is_no_row_is_refused() -> None:
    with pytest.raises(ValueError, match="more columns"):
        read("TID 1\n1 | | CODE | 111036 Mammography CAD Report | 1 | M | | | one more\n")
