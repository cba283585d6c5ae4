"""An SR's content tree to ask questions of: what an item is, what it says, what a reference in it leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.terms import Code

Identifier = tuple[int, ...]
"""(1,) is the root, (1, 2) its second child (PS3.3 C.17.3.2.4)."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A document's content tree, and the headers of the images it refers to, by SOP Instance UID."""

    root: Dataset
    images: Mapping[str, Dataset]

    def at(self, identifier: Identifier) -> Dataset | None:
        """Return the item that stands there, or None."""
        if identifier[:1] != (1,):
            return None
        item = self.root
        for number in identifier[1:]:
            below = children(item)
            if not 1 <= number <= len(below):
                return None
            item = below[number - 1]
        return item

    def image(self, item: Dataset) -> Dataset | None:
        """Return the header of the image that an IMAGE item names, or None."""
        named = item.get("ReferencedSOPSequence")
        return self.images.get(str(named[0].get("ReferencedSOPInstanceUID"))) if named else None


def children(item: Dataset) -> Sequence[Dataset]:
    """Return the items below one."""
    return item.get("ContentSequence") or ()


def referred(item: Dataset) -> Identifier | None:
    """Return what a by-reference item refers to; None for one by value."""
    if "ReferencedContentItemIdentifier" not in item:
        return None
    written = item.ReferencedContentItemIdentifier
    return tuple(int(number) for number in ([written] if isinstance(written, int) else written or ()))


def concept(item: Dataset) -> Code | None:
    """Return the concept name of an item."""
    return _code(item, "ConceptNameCodeSequence")


def value(item: Dataset) -> Code | None:
    """Return what a CODE item says."""
    return _code(item, "ConceptCodeSequence")


def unit(item: Dataset) -> Code | None:
    """Return the unit of a NUM item."""
    measured = item.get("MeasuredValueSequence")
    return _code(measured[0], "MeasurementUnitsCodeSequence") if measured else None


def called(item: Dataset) -> str:
    """Return what a person would call the item."""
    name = concept(item)
    target = referred(item)
    kind = "a reference to " + shown(target) if target is not None else str(item.get("ValueType", "nothing"))
    return f"{item.get('RelationshipType', 'the root')} {kind}{f' {name.meaning}' if name else ''}"


def shown(identifier: Identifier) -> str:
    """Return an identifier as text, "1.2.3"."""
    return ".".join(map(str, identifier))


def _code(item: Dataset, keyword: str) -> Code | None:
    named = item.get(keyword)
    if not named:
        return None
    return Code(*(str(named[0].get(part, "")) for part in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")))
