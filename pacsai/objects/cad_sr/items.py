"""SR content items as plain data sets: highdicom's value types where they serve, raw items where it has none.

highdicom 0.28.2 knows no by-reference relationship, and wants a concept name for an image, which the CAD templates
do not give. Each function makes one item; children are attached in the order given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from highdicom.sr import GraphicTypeValues, value_types
from pydicom.dataset import Dataset

from pacsai.objects.common import coded
from pacsai.terms import Code

CONTAINS = "CONTAINS"
HAS_PROPERTIES = "HAS PROPERTIES"
HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
INFERRED_FROM = "INFERRED FROM"
SELECTED_FROM = "SELECTED FROM"

Identifier = tuple[int, ...]
"""Where an item stands in the tree: (1, 2, 3) is the third child of the second child of the root (PS3.3 C.17.3.2.4)."""


def code(relationship: str, name: Code, value: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a CODE item."""
    return _plain(value_types.CodeContentItem(coded(name), coded(value), relationship), children)


def text(relationship: str, name: Code, value: str) -> Dataset:
    """Return a TEXT item."""
    return _plain(value_types.TextContentItem(coded(name), value, relationship))


def number(relationship: str, name: Code, value: float, unit: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a NUM item; `value` is taken as it is, so round before."""
    item = value_types.NumContentItem(coded(name), value, coded(unit), relationship_type=relationship)
    if isinstance(value, int):  # highdicom 0.28.2 writes 12 as "12.0", and a count is an integer
        item.MeasuredValueSequence[0].NumericValue = str(value)
    return _plain(item, children)


def date(relationship: str, name: Code, value: str) -> Dataset:
    """Return a DATE item; `value` is YYYYMMDD."""
    return _plain(value_types.DateContentItem(coded(name), value, relationship))


def time(relationship: str, name: Code, value: str) -> Dataset:
    """Return a TIME item; `value` is HHMMSS and fractions."""
    return _plain(value_types.TimeContentItem(coded(name), value, relationship))


def uid(relationship: str, name: Code, value: str) -> Dataset:
    """Return a UIDREF item."""
    return _plain(value_types.UIDRefContentItem(coded(name), value, relationship))


def container(relationship: str | None, name: Code, children: Iterable[Dataset] = ()) -> Dataset:
    """Return a CONTAINER item; without a relationship it is a root."""
    item = value_types.ContainerContentItem(coded(name), is_content_continuous=False, relationship_type=relationship)
    return _plain(item, children)


def image(relationship: str, sop_class_uid: str, sop_instance_uid: str, children: Iterable[Dataset] = ()) -> Dataset:
    """Return an IMAGE item without a concept name."""
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ReferencedSOPSequence = relationship, "IMAGE", [reference]
    return _plain(item, children)


def graphic(
    name: Code, graphic_type: GraphicTypeValues, corners: Sequence[tuple[float, float]], where: Identifier
) -> Dataset:
    """Return a SCOORD item that is a property of its parent and selected from the image at `where`.

    `corners` are (column, row) counted from the top left corner of the top left pixel (PS3.3 C.18.6.1.1).
    """
    points = np.asarray(corners, dtype=np.float64)
    item = value_types.ScoordContentItem(coded(name), graphic_type, points, relationship_type=HAS_PROPERTIES)
    return _plain(item, [reference(SELECTED_FROM, where)])


def reference(relationship: str, where: Identifier) -> Dataset:
    """Return a by-reference relationship to the item at `where` (PS3.3 C.17.3.2.4)."""
    item = Dataset()
    item.RelationshipType = relationship
    item.ReferencedContentItemIdentifier = list(where)
    return item


def _plain(item: Dataset, children: Iterable[Dataset] = ()) -> Dataset:
    """Return the item as a plain data set, since highdicom's takes no by-reference children."""
    plain = Dataset()
    plain.update(item)
    found = list(children)
    if found:
        plain.ContentSequence = found
    return plain
