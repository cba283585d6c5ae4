"""SR templates as tables: the rows of PS3.16 TID 1500, 1410, 1411 and 2010 that we write, and what they ask of an item.

The templates are extensible, so items that no row names are let pass; dciodvfy, dsrdump and highdicom check none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.objects.conformance import cad
from pacsai.objects.source import ResultObject, Source
from pacsai.terms import IMAGING_MEASUREMENTS, MEASUREMENT_REPORT, OF_INTEREST, PROCEDURE_REPORTED, REJECTIONS, Code


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a template.

    Attributes
    ----------
    relationship, value_type : str
        As PS3.3 C.17.3 writes them.
    concept : Code
        The concept name that the row is known by.
    least, most : int or None
        How often it may stand under its parent; None is "n".
    rows : tuple of Row
        What stands below it.
    """

    relationship: str
    value_type: str
    concept: Code
    least: int = 0
    most: int | None = 1
    rows: tuple[Row, ...] = ()


def _dcm(value: str, meaning: str) -> Code:
    return Code(value, "DCM", meaning)


TRACKING_UID = _dcm("112040", "Tracking Unique Identifier")
MEASUREMENT_GROUP = _dcm("125007", "Measurement Group")
REFERENCED_SEGMENT = _dcm("121191", "Referenced Segment")
SOURCE = Code("260753009", "SCT", "Source")
SOURCE_IMAGE, SOURCE_SERIES = (
    _dcm("121233", "Source image for segmentation"),
    _dcm("121232", "Source Series for Segmentation"),
)
IMAGE_REGION = _dcm("111030", "Image Region")

_OBSERVER = (
    Row("HAS OBS CONTEXT", "CODE", _dcm("121005", "Observer Type"), 1),
    Row("HAS OBS CONTEXT", "UIDREF", _dcm("121012", "Device Observer UID"), 1),
    Row("HAS OBS CONTEXT", "TEXT", _dcm("121013", "Device Observer Name")),
)
_GROUP = (
    Row("HAS OBS CONTEXT", "TEXT", _dcm("112039", "Tracking Identifier"), 1),
    Row("HAS OBS CONTEXT", "UIDREF", TRACKING_UID, 1),
    Row("CONTAINS", "CODE", _dcm("121071", "Finding"), 1),
    Row(
        "HAS CONCEPT MOD",
        "CODE",
        Code("363698007", "SCT", "Finding Site"),
        0,
        None,
        (Row("HAS CONCEPT MOD", "CODE", Code("272741003", "SCT", "Laterality")),),
    ),
    Row("HAS CONCEPT MOD", "TEXT", _dcm("111001", "Algorithm Name")),
    Row("HAS CONCEPT MOD", "TEXT", _dcm("111003", "Algorithm Version")),
)
_GROUPS_ROW = Row("CONTAINS", "CONTAINER", MEASUREMENT_GROUP, 0, None)
GROUPS: dict[str, tuple[Row, ...]] = {
    "1411": (
        *_GROUP,
        Row("CONTAINS", "IMAGE", REFERENCED_SEGMENT, 1),
        Row("CONTAINS", "IMAGE", SOURCE_IMAGE, 0, None),
        Row("CONTAINS", "UIDREF", SOURCE_SERIES),
    ),
    "1410": (
        *_GROUP,
        Row("CONTAINS", "SCOORD", IMAGE_REGION, 1, 1, (Row("SELECTED FROM", "IMAGE", SOURCE, 1),)),
    ),
}
"""Rows of a measurement group by its template."""
REPORT = (
    Row("HAS CONCEPT MOD", "CODE", _dcm("121049", "Language of Content Item and Descendants"), 1),
    *_OBSERVER,
    Row("HAS CONCEPT MOD", "CODE", PROCEDURE_REPORTED, 1, None),
    Row("CONTAINS", "CONTAINER", _dcm("111028", "Image Library")),
    Row(
        "CONTAINS", "CONTAINER", IMAGING_MEASUREMENTS, 1, 1, (Row("CONTAINS", "CONTAINER", MEASUREMENT_GROUP, 0, None),)
    ),
    Row("CONTAINS", "CONTAINER", Code("C0034375", "UMLS", "Qualitative Evaluations")),
)
SELECTION = (*_OBSERVER, Row("CONTAINS", "TEXT", _dcm("113012", "Key Object Description")))


def broken(one: ResultObject, _: Sequence[ResultObject], source: Source) -> Iterator[str]:
    """Yield where an SR, KO or CAD SR departs from its template."""
    if one.kind == "CADSR":
        yield from cad.broken(one.dataset, source)
    if one.kind == "SR":
        yield from _root(one.dataset, "1500", MEASUREMENT_REPORT)
        yield from _rows(one.dataset, REPORT, "TID 1500")
        yield from _measurement_groups(one.dataset)
        yield from _numbers(one.dataset)
    if one.kind in ("KO", "REJECTION"):
        titles = (OF_INTEREST,) if one.kind == "KO" else tuple(REJECTIONS.values())
        yield from _root(one.dataset, "2010", *titles)
        yield from _rows(one.dataset, SELECTION, "TID 2010")
        if not any(item.get("ValueType") in ("IMAGE", "COMPOSITE") for item in _children(one.dataset)):
            yield "TID 2010: nothing is selected"


def _root(document: Dataset, template: str, *titles: Code) -> Iterator[str]:
    if _template(document) != template:
        yield f"TID {template}: the root names template {_template(document) or 'none'}"
    if _concept(document) not in titles:
        yield f"TID {template}: the title is not {' or '.join(title.meaning for title in titles)}"


def _rows(parent: Dataset, rows: Sequence[Row], where: str) -> Iterator[str]:
    """Yield where the children of an item do not keep to the rows below it."""
    for row in rows:
        found = [child for child in _children(parent) if _concept(child) == row.concept]
        if len(found) < row.least:
            yield f"{where}: {row.concept.meaning} is missing"
        if row.most is not None and len(found) > row.most:
            yield f"{where}: {row.concept.meaning} stands {len(found)} times and may stand {row.most}"
        for child in found:
            is_a = f"{child.get('RelationshipType')} {child.get('ValueType')}"
            must_be = f"{row.relationship} {row.value_type}"
            if is_a != must_be:
                yield f"{where}: {row.concept.meaning} is {is_a} and must be {must_be}"
            yield from _rows(child, row.rows, f"{where}, {row.concept.meaning}")


def _measurement_groups(document: Dataset) -> Iterator[str]:
    measurements = [child for child in _children(document) if _concept(child) == IMAGING_MEASUREMENTS]
    groups = [c for parent in measurements for c in _children(parent) if c.get("ValueType") == "CONTAINER"]
    for number, group in enumerate(groups, start=1):
        if _concept(group) != MEASUREMENT_GROUP:
            yield f"group {number} is not called {MEASUREMENT_GROUP.meaning}"
        template = _template(group)
        where = f"TID {template}, group {number}"
        if template not in GROUPS:
            yield f"group {number} names template {template or 'none'}, not one of {', '.join(GROUPS)}"
            continue
        yield from _rows(group, GROUPS[template], where)
        yield from _tracking_first(group, where)
        if template == "1411" and not any(_concept(c) in (SOURCE_IMAGE, SOURCE_SERIES) for c in _children(group)):
            yield f"{where}: neither a source image nor a source series of the segment is named"
    yield from _undrawn(groups)


def _tracking_first(group: Dataset, where: str) -> Iterator[str]:
    """Yield where another UIDREF stands before the tracking UID: OHIF 3.13 takes the first for it."""
    first = next((child for child in _children(group) if child.get("ValueType") == "UIDREF"), None)
    if first is not None and _concept(first) != TRACKING_UID:
        yield f"{where}: the first UIDREF is not the tracking UID"


def _undrawn(groups: Sequence[Dataset]) -> Iterator[str]:
    """Yield the volumetric groups without a planar one beside them, which OHIF 3.13 lists over a black picture."""
    tracked: dict[str, set[str]] = {}
    for group in groups:
        uid = next((str(child.get("UID")) for child in _children(group) if _concept(child) == TRACKING_UID), "")
        tracked.setdefault(_template(group), set()).add(uid)
    for uid in sorted(tracked.get("1411", set()) - tracked.get("1410", set())):
        yield f"TID 1411: the finding {uid} has no TID 1410 group beside it"


def _numbers(item: Dataset) -> Iterator[str]:
    """Yield the NUM items, at any depth, that hold no single value with a unit."""
    for child in _children(item):
        if child.get("ValueType") == "NUM":
            values = child.get("MeasuredValueSequence", ())
            if len(values) != 1 or not values[0].get("MeasurementUnitsCodeSequence"):
                concept = _concept(child)
                yield f"{concept.meaning if concept else 'a NUM item'} has no single value with a unit"
        yield from _numbers(child)


def _children(item: Dataset) -> Sequence[Dataset]:
    return item.get("ContentSequence", ())  # type: ignore[no-any-return]


def _template(item: Dataset) -> str:
    named = item.get("ContentTemplateSequence")
    return str(named[0].get("TemplateIdentifier", "")) if named else ""


def _concept(item: Dataset) -> Code | None:
    named = item.get("ConceptNameCodeSequence")
    if not named:
        return None
    return Code(
        str(named[0].get("CodeValue", "")),
        str(named[0].get("CodingSchemeDesignator", "")),
        str(named[0].get("CodeMeaning", "")),
    )
