"""Marks, composite features and breast composition as content items (PS3.16 TID 4002 to 4007, 4010, 4011, 4021)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from highdicom.sr import GraphicTypeValues
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.objects.cad_sr import items
from pacsai.objects.cad_sr.items import (
    CONTAINS,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    INFERRED_FROM,
    Identifier,
)
from pacsai.objects.cad_sr.model import Composite, Composition, Intent, Kind, Mark, Point
from pacsai.terms import Code

CORNER = 0.5
"""An index is a pixel's centre; SCOORD counts from the pixel's corner."""


@dataclass(frozen=True, slots=True)
class Signature:
    """The pipeline as every finding names it (TID 4019): `names` has the parts that found something, by their code."""

    title: str
    version: str
    names: Mapping[Code, str]

    def items(self, kind: Code | None = None, relationship: str = HAS_PROPERTIES) -> list[Dataset]:
        """Return name and version of what found `kind`, or of the pipeline."""
        name = self.names.get(kind, self.title) if kind else self.title
        return [
            items.text(relationship, terms.ALGORITHM_NAME, name),
            items.text(relationship, terms.ALGORITHM_VERSION, self.version),
        ]


def impression(
    finding: Mark | Composite, places: Mapping[str, Identifier], total: int, signature: Signature
) -> Dataset:
    """Return the container of one finding (TID 4003).

    Parameters
    ----------
    places : mapping of str to Identifier
        Where the Image Library entry of each image stands, by SOP Instance UID.
    total : int
        How many images the exam has.
    """
    if isinstance(finding, Composite):
        item = composite(finding, places, total, signature)
    else:
        item = mark(finding, CONTAINS, places, signature)
    return items.container(INFERRED_FROM, terms.INDIVIDUAL_IMPRESSION, [_intent(finding.intent), item])


def composition(found: Composition, signature: Signature) -> Dataset:
    """Return what is thought of one breast's density: an impression with a coded finding (TID 4003, 4002, 4007).

    A coded composition is a Single Image Finding, so that it stands only in reports that have findings (CID 6047); the
    overall impression has it in words and percent in any case.
    """
    described = [
        _intent(Intent.OPTIONAL),
        *signature.items(terms.BREAST_COMPOSITION),
        items.code(HAS_PROPERTIES, terms.BREAST_COMPOSITION, found.category),
    ]
    children = [
        _intent(Intent.OPTIONAL),
        items.text(CONTAINS, terms.IMPRESSION_DESCRIPTION, composition_in_words(found)),
        *signature.items(terms.BREAST_COMPOSITION, CONTAINS),
    ]
    if found.percent is not None:
        described.append(_percent(terms.PERCENT_FIBROGLANDULAR, found.percent / 100))
        children.append(density(CONTAINS, found))
    children.append(items.code(CONTAINS, terms.SINGLE_IMAGE_FINDING, terms.BREAST_COMPOSITION, described))
    return items.container(INFERRED_FROM, terms.INDIVIDUAL_IMPRESSION, children)


def composition_in_words(found: Composition) -> str:
    """Return breast, category and percent as a sentence."""
    share = "" if found.percent is None else f" ({found.percent:.0f} percent of the area)"
    return f"{found.laterality.meaning}: {found.category.meaning.lower()}{share}."


def density(relationship: str, found: Composition) -> Dataset:
    """Return the percent density of one breast (TID 4002 rows 12 to 14)."""
    modifiers = [
        items.code(HAS_CONCEPT_MOD, terms.LATERALITY, found.laterality),
        items.code(HAS_CONCEPT_MOD, terms.DERIVATION, terms.TWO_DIMENSIONAL_METHOD),
    ]
    percent = round(float(found.percent or 0), 1)
    return items.number(relationship, terms.BREAST_TISSUE_DENSITY, percent, terms.PERCENT, modifiers)


def composite(found: Composite, places: Mapping[str, Identifier], total: int, signature: Signature) -> Dataset:
    """Return a Composite Feature (TID 4004, 4005) inferred from its marks."""
    seen = len({one.image for one in found.marks})
    on_one = terms.ON_THE_ONLY_IMAGE if total == 1 else terms.ON_ONE_OF_THE_IMAGES
    children = [
        _intent(found.intent),
        *_tracking(found.label, found.tracking_uid),
        items.code(HAS_PROPERTIES, terms.COMPOSITE_TYPE, found.relation.value),
        items.code(HAS_PROPERTIES, terms.SCOPE_OF_FEATURE, terms.ON_MULTIPLE_IMAGES if seen > 1 else on_one),
        *signature.items(),
        _percent(terms.PROBABILITY_OF_CANCER, found.probability),
        *(mark(one, INFERRED_FROM, places, signature) for one in found.marks),
    ]
    return items.code(CONTAINS, terms.COMPOSITE_FEATURE, found.kind, children)


def mark(found: Mark, relationship: str, places: Mapping[str, Identifier], signature: Signature) -> Dataset:
    """Return a Single Image Finding (TID 4006) with its place and what is said of it."""
    children = [
        _intent(found.intent),
        *_tracking(found.label, found.tracking_uid),
        *signature.items(found.kind.code),
        *([] if found.certainty is None else [_percent(terms.CERTAINTY, found.certainty)]),
        _percent(terms.PROBABILITY_OF_CANCER, found.probability),
        *_geometry(found, places[found.image]),
        *_described(found),
    ]
    return items.code(relationship, terms.SINGLE_IMAGE_FINDING, found.kind.code, children)


def corner(point: Point) -> Point:
    """Return a place given in pixel indices as SCOORD counts it."""
    return point[0] + CORNER, point[1] + CORNER


def _geometry(found: Mark, where: Identifier) -> Iterator[Dataset]:
    """Yield centre and outline (TID 4021); the outline is closed."""
    yield items.graphic(terms.CENTER, GraphicTypeValues.POINT, [corner(found.centre)], where)
    if found.outline:
        closed = [corner(point) for point in (*found.outline, found.outline[0])]
        yield items.graphic(terms.OUTLINE, GraphicTypeValues.POLYLINE, closed, where)


def _described(found: Mark) -> Iterator[Dataset]:
    """Yield the details in the order of TID 4010 (calcifications) or 4011 (density); other kinds have none."""
    if found.kind is Kind.CALCIFICATIONS:
        for morphology in found.morphologies:
            yield items.code(HAS_PROPERTIES, terms.CALCIFICATION_TYPE, morphology)
        if found.distribution:
            yield items.code(HAS_PROPERTIES, terms.CALCIFICATION_DISTRIBUTION, found.distribution)
        if found.count:
            yield items.number(HAS_PROPERTIES, terms.NUMBER_OF_CALCIFICATIONS, found.count, terms.NO_UNITS)
    if found.kind is Kind.MASS:
        for name, value in ((terms.LESION_DENSITY, found.density), (terms.SHAPE, found.shape)):
            if value:
                yield items.code(HAS_PROPERTIES, name, value)
        for margin in found.margins:
            yield items.code(HAS_PROPERTIES, terms.MARGIN, margin)
    if found.size_mm is not None and found.kind is not Kind.DISTORTION:
        yield items.number(HAS_PROPERTIES, terms.LONG_AXIS, round(found.size_mm, 1), terms.MM)


def _tracking(label: str, uid: str) -> list[Dataset]:
    """Return label and tracking UID (TID 4108)."""
    return [
        items.text(HAS_OBS_CONTEXT, terms.TRACKING_IDENTIFIER, label),
        items.uid(HAS_OBS_CONTEXT, terms.TRACKING_UID, uid),
    ]


def _intent(intent: Intent) -> Dataset:
    return items.code(HAS_CONCEPT_MOD, terms.RENDERING_INTENT, intent.value)


def _percent(name: Code, share: float) -> Dataset:
    return items.number(HAS_PROPERTIES, name, round(100 * share, 1), terms.PERCENT)
