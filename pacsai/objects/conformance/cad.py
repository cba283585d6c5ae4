"""A Mammography CAD SR: its templates, what the tables cannot say of it, and whether its marks lie in their images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
from pydicom.dataset import Dataset

from pacsai import terms
from pacsai.objects.conformance import tree
from pacsai.objects.conformance.cad_library import unlike
from pacsai.objects.conformance.template_walk import Walk
from pacsai.objects.conformance.tid4000 import TEMPLATES
from pacsai.objects.conformance.tree import Identifier, Tree
from pacsai.objects.source import Source

_ENDED = {
    terms.SUCCEEDED_WITHOUT_FINDINGS: "all",
    terms.SUCCEEDED_WITH_FINDINGS: "all",
    terms.NOT_ALL_SUCCEEDED_WITHOUT_FINDINGS: "some",
    terms.NOT_ALL_SUCCEEDED_WITH_FINDINGS: "some",
    terms.NONE_SUCCEEDED: "none",
}
_TRIED = (terms.DETECTION_PERFORMED, terms.ANALYSIS_PERFORMED)
_ASYMMETRIES = (terms.ASYMMETRIC_TISSUE, terms.FOCAL_ASYMMETRY)


def content(document: Dataset, source: Source) -> Tree:
    """Return the content tree of a document, with the headers of the images that were analysed or drawn on."""
    images = (*source.instances, *source.others)
    return Tree(document, {instance.sop_instance_uid: instance.header for instance in images})


def broken(document: Dataset, source: Source) -> Iterator[str]:
    """Yield how the document departs from TID 4000 and contradicts itself."""
    named = document.get("ContentTemplateSequence")
    if not named or (named[0].get("MappingResource"), named[0].get("TemplateIdentifier")) != ("DCMR", "4000"):
        yield "1: the root does not name template 4000 of DCMR"
    found = content(document, source)
    yield from Walk(TEMPLATES, found).along("4000")
    yield from _contradictions(document)
    yield from _repeated(document)
    for where, item in walked(document):
        header = found.image(item)
        amiss = (*_torn(item), *_twice(item), *_untracked(item), *(unlike(item, header) if header else ()))
        yield from (f"{tree.shown(where)}: {said}" for said in amiss)


def displaced(document: Dataset, source: Source) -> Iterator[str]:
    """Yield the graphics that reach out of the image they are selected from (PS3.3 C.18.6.1)."""
    found = content(document, source)
    for where, item in walked(document):
        image = _image_of(item, found) if item.get("ValueType") == "SCOORD" else None
        numbers = np.atleast_1d(np.asarray(item.get("GraphicData", ()), dtype=float))
        if image is None or numbers.size % 2:
            continue
        points = numbers.reshape(-1, 2)
        if not ((points >= 0) & (points <= (image.Columns, image.Rows))).all():
            yield f"{tree.shown(where)}: {tree.called(item)} is drawn outside its image"


def walked(item: Dataset, where: Identifier = (1,)) -> Iterator[tuple[Identifier, Dataset]]:
    """Yield an item and all below it, each with its place."""
    yield where, item
    for number, child in enumerate(tree.children(item), start=1):
        yield from walked(child, (*where, number))


def _image_of(graphic: Dataset, found: Tree) -> Dataset | None:
    targets = (tree.referred(child) for child in tree.children(graphic))
    entries = (found.at(target) for target in targets if target)
    return next((found.image(entry) for entry in entries if entry is not None), None)


def _contradictions(document: Dataset) -> Iterator[str]:
    """Yield where the summary says another thing than the lists of what was tried."""
    said: Mapping[terms.Code | None, terms.Code | None] = {
        tree.concept(child): tree.value(child) for child in tree.children(document)
    }
    parts = {said.get(name) for name in (terms.SUMMARY_OF_DETECTIONS, terms.SUMMARY_OF_ANALYSES)}
    tried = parts - {terms.NOT_ATTEMPTED, None}
    meant = "all" if tried == {terms.SUCCEEDED} else "none" if tried <= {terms.FAILED} else "some"
    summary = said.get(terms.PROCESSING_SUMMARY)
    if summary in _ENDED and _ENDED[summary] != meant:
        yield f"1: the summary is {summary.meaning!r}, and the lists say that {meant} of what was tried succeeded"


def _repeated(document: Dataset) -> Iterator[str]:
    """Yield the findings that stand in several places."""
    places = Counter(uid for _, item in walked(document) if (uid := _tracking_uid(item)))
    yield from (f"1: the finding {uid} stands in {count} places" for uid, count in places.items() if count > 1)


def _torn(item: Dataset) -> Iterator[str]:
    """Yield what of one finding points to several images, and an asymmetry that does not compare the breasts."""
    name = tree.concept(item)
    if name == terms.SINGLE_IMAGE_FINDING:
        graphics = [child for child in tree.children(item) if child.get("ValueType") == "SCOORD"]
        targets = {tree.referred(below) for graphic in graphics for below in tree.children(graphic)} - {None}
        if len(targets) > 1:
            yield "the graphics of a Single Image Finding are on different images (TID 4021 rows 4 and 6, 4006, 4008)"
    if name == terms.COMPOSITE_FEATURE and tree.value(item) in _ASYMMETRIES:
        types = {tree.value(child) for child in tree.children(item) if tree.concept(child) == terms.COMPOSITE_TYPE}
        if types != {terms.RELATED_CONTRALATERALLY}:
            yield "an asymmetry must be related contra-laterally (TID 4005 row 1)"


def _twice(item: Dataset) -> Iterator[str]:
    """Yield what stands in one place twice: an image in the library, a reference, a finding."""
    named = Counter(_identity(child) for child in tree.children(item))
    yield from (f"{name} stands here {count} times" for name, count in named.items() if name and count > 1)


def _identity(item: Dataset) -> str:
    """Return what must not stand twice below one item; empty for what may."""
    target = tree.referred(item)
    if target is not None:
        return f"a reference to {tree.shown(target)}"
    if item.get("ValueType") == "IMAGE" and item.get("ReferencedSOPSequence"):
        return f"image {item.ReferencedSOPSequence[0].get('ReferencedSOPInstanceUID')}"
    name = tree.concept(item)
    value = tree.value(item)
    if name in _TRIED and value:
        return f"{value.meaning} by {' '.join(_algorithm(item))}"
    if name and value and item.get("RelationshipType") == "HAS PROPERTIES":
        return f"{name.meaning} {value.meaning}"
    uid = _tracking_uid(item)
    return f"the finding {uid}" if uid else ""


def _algorithm(item: Dataset) -> Iterator[str]:
    """Yield name and version of the algorithm of an item (TID 4019)."""
    for child in tree.children(item):
        if tree.concept(child) in (terms.ALGORITHM_NAME, terms.ALGORITHM_VERSION):
            yield str(child.get("TextValue", ""))


def _untracked(item: Dataset) -> Iterator[str]:
    """Yield a mark or composite without tracking UID: an option of TID 4004 and 4006 that we always take."""
    drawn = any(child.get("ValueType") == "SCOORD" for child in tree.children(item))
    if (drawn or tree.concept(item) == terms.COMPOSITE_FEATURE) and not _tracking_uid(item):
        yield f"{tree.called(item)} has no Tracking Unique Identifier"


def _tracking_uid(item: Dataset) -> str:
    found = (child.get("UID") for child in tree.children(item) if tree.concept(child) == terms.TRACKING_UID)
    return str(next(found, ""))
