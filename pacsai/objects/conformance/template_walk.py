"""Walks a content tree along the rows of its templates and tells every departure, in words and with its place.

The condition column of the tables:

    iff PREDICATE    must be there where it holds, and only there
    if PREDICATE     must be there where it holds
    only PREDICATE   may be there only where it holds
    any 1 2 3        one at least of these rows of the template must be there
    two 5 6          two items at least of these rows together
    with 1 3         may be there only where one of these rows is
    without 1 3      may be there only where none of these rows is

Conditions parted by ";" hold together. The predicates: "parent = A B" and "parent != A B", by the code that the item
above says; "image KEYWORD ...", where the header of the image above tells one of these attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.objects.cad_sr import library
from pacsai.objects.conformance import tree, values
from pacsai.objects.conformance.rows import INCLUDE, Row, Template
from pacsai.objects.conformance.tree import Identifier, Tree
from pacsai.terms import Code

_REFERENCE = {"RelationshipType", "ReferencedContentItemIdentifier"}
"""All that an item by reference has."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for items below another: a row that is no INCLUDE, reached through `includes`, the outermost first."""

    row: Row
    relationship: str
    includes: tuple[Row, ...]

    @property
    def most(self) -> int | None:
        """Return how many items may stand here; None is "n"."""
        product = 1
        for row in (self.row, *self.includes):
            if row.most is None:
                return None
            product *= row.most
        return product


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk: the tables and the tree."""

    templates: Mapping[str, Template]
    content: Tree

    def along(self, root: str) -> Iterator[str]:
        """Yield how the document departs from the template `root`."""
        (row,) = self.templates[root].rows
        item = self.content.root
        if item.get("ValueType") != row.value_type or tree.concept(item) != row.concept:
            yield f"1: {row.name} is {tree.called(item)}"
        yield from self._below(item, row, (1,), None)

    def _below(self, item: Dataset, row: Row, where: Identifier, image: Dataset | None) -> Iterator[str]:
        """Yield how the children of an item depart from the rows below its own; `image` is the image above them."""
        slots = list(self._slots(row.rows))
        image = self.content.image(item) or image
        taken = [self._slot_of(child, _Here(item, Counter(), image), slots) for child in tree.children(item)]
        found = Counter(slot for slot in taken if slot)
        here = _Here(item, found, image)
        for number, (child, slot) in enumerate(zip(tree.children(item), taken, strict=True), start=1):
            place = (*where, number)
            if slot is None:
                if not self.templates[row.template].extensible:
                    yield f"{tree.shown(place)}: TID {row.template} has no row for {tree.called(child)} here"
                continue
            yield from (f"{tree.shown(place)}: {slot.row.name} {said}" for said in self._departures(child, slot, place))
            if not slot.row.by_reference:
                yield from self._below(child, slot.row, place, image)
        at = tree.shown(where)
        yield from (f"{at}: {said}" for said in _out_of_order([slot for slot in taken if slot], slots))
        yield from (f"{at}: {said}" for said in (*_too_many(found), *_uneven(found, slots)))
        yield from (f"{at}: {said}" for said in here.missing(slots))
        yield from (f"{at}: {said}" for said in here.unwanted())

    def _slots(self, rows: Sequence[Row], relationship: str = "", includes: tuple[Row, ...] = ()) -> Iterator[Slot]:
        for row in rows:
            says = row.relationship or relationship
            if row.value_type == INCLUDE:
                yield from self._slots(self.templates[str(row.concept)].rows, says, (*includes, row))
            else:
                yield Slot(row, says, includes)

    def _slot_of(self, child: Dataset, here: _Here, slots: Sequence[Slot]) -> Slot | None:
        """Return the slot an item is meant for: that of its concept, and of these the one it departs from least."""
        meant = [slot for slot in slots if _is_meant(slot.row, child)]
        return min(
            meant,
            key=lambda slot: (
                slot.row.value_type != child.get("ValueType", slot.row.value_type),
                any(here.forbids(row) for row in (*slot.includes, slot.row)),
                slot.relationship != child.get("RelationshipType"),
            ),
            default=None,
        )

    def _departures(self, child: Dataset, slot: Slot, place: Identifier) -> Iterator[str]:
        if child.get("RelationshipType") != slot.relationship:
            yield f"is related as {child.get('RelationshipType')} and must be {slot.relationship}"
        target = tree.referred(child)
        if target is not None:
            yield from values.wrong_target(target, slot.row.value, slot.row.value_type, self.content)
            if set(child.dir()) - _REFERENCE:
                yield "refers to an item and may say nothing itself (PS3.3 C.17.3.2.2)"
            if place[: len(target)] == target:
                yield f"refers to {tree.shown(target)}, which it stands below"
        elif child.get("ValueType") != slot.row.value_type:
            yield f"is a {child.get('ValueType')} and must be a {slot.row.value_type}"
        else:
            yield from values.wrong(child, slot.row.value)
            yield from values.wrong(child, self._narrowed(slot)) if self._narrowed(slot) else ()

    def _narrowed(self, slot: Slot) -> str:
        """Return what the innermost include says of the first row of its template; mostly nothing."""
        include = slot.includes[-1] if slot.includes else None
        first = include is not None and self.templates[str(include.concept)].rows[0] is slot.row
        return include.value if include is not None and first else ""


@dataclass(frozen=True, slots=True)
class _Here:
    """What stands below one item, for the conditions of the rows there."""

    parent: Dataset
    found: Counter[Slot]
    image: Dataset | None

    def missing(self, slots: Sequence[Slot]) -> Iterator[str]:
        """Yield the rows that must be there and are not; of an include that is wholly missing only its name."""
        told: set[Row] = set()
        for slot in slots:
            if self.found[slot]:
                continue
            absent = next(row for row in (*slot.includes, slot.row) if not self._stands(row))
            if absent not in told and self._must_stand(absent):
                told.add(absent)
                yield f"{absent.name} {self._words(absent)}"

    def unwanted(self) -> Iterator[str]:
        """Yield the rows that are there though their condition forbids them."""
        rows = dict.fromkeys(row for slot in self.found for row in (*slot.includes, slot.row))
        for row in rows:
            if self.forbids(row):
                yield f"{row.name} may not stand here: {row.condition}"

    def forbids(self, row: Row) -> bool:
        """Tell whether a condition of a row forbids it."""
        return any(self._forbidden(row, *clause) for clause in _clauses(row))

    def _forbidden(self, row: Row, word: str, rest: str) -> bool:
        if word in ("iff", "only"):
            return not self._holds(rest)
        if word == "without":
            return bool(self._count(row.template, rest))
        return word == "with" and bool(self.found) and not self._count(row.template, rest)

    def _must_stand(self, row: Row) -> bool:
        if row.required != "MC":
            return row.required == "M"
        return not self.forbids(row) and any(self._is_due(row, *clause) for clause in _clauses(row))

    def _is_due(self, row: Row, word: str, rest: str) -> bool:
        if word in ("any", "two"):
            return rest.split()[0] == row.number and self._count(row.template, rest) < (2 if word == "two" else 1)
        return word in ("iff", "if") and self._holds(rest)

    def _words(self, row: Row) -> str:
        word, rest = next(_clauses(row), ("", ""))
        if word == "any":
            return f"or another of rows {rest} is missing"
        if word == "two":
            return f"and others of rows {rest} stand fewer than two times"
        return "is missing"

    def _stands(self, row: Row) -> bool:
        return any(row in (*slot.includes, slot.row) for slot in self.found)

    def _count(self, template: str, numbers: str) -> int:
        """Return how many items stand in rows of these numbers of a template."""
        wanted = set(numbers.split())
        return sum(
            count
            for slot, count in self.found.items()
            if any(row.template == template and row.number in wanted for row in (*slot.includes, slot.row))
        )

    def _holds(self, predicate: str) -> bool:
        subject, *words = predicate.split()
        if subject == "image":
            return self.image is not None and any(library.tells(self.image, keyword) for keyword in words)
        said = tree.value(self.parent)
        listed = said is not None and said.value in words[1:]
        return listed if words[0] == "=" else not listed


def _clauses(row: Row) -> Iterator[tuple[str, str]]:
    """Yield the word and the rest of each condition of a row."""
    for clause in filter(None, map(str.strip, row.condition.split(";"))):
        word, _, rest = clause.partition(" ")
        yield word, rest


def _is_meant(row: Row, child: Dataset) -> bool:
    """Tell whether an item is meant for a row: by its concept, or where the row has none by its value type."""
    if row.by_reference or tree.referred(child) is not None:
        return row.by_reference and tree.referred(child) is not None
    if isinstance(row.concept, Code):
        return tree.concept(child) == row.concept
    if isinstance(row.concept, int):
        return tree.concept(child) in values.group(row.concept)
    return str(child.get("ValueType")) == row.value_type


def _out_of_order(taken: Sequence[Slot], slots: Sequence[Slot]) -> Iterator[str]:
    """Yield the items that stand after one of a later row; rows of one repeated include may alternate."""
    latest: Slot | None = None
    for slot in taken:
        if latest is None or slots.index(slot) >= slots.index(latest):
            latest = slot
        elif not any(row.most is None and row in latest.includes for row in slot.includes):
            yield f"{slot.row.name} stands after {latest.row.name}"


def _too_many(found: Mapping[Slot, int]) -> Iterator[str]:
    for slot, count in found.items():
        if slot.most is not None and count > slot.most:
            yield f"{slot.row.name} stands {count} times and may stand {slot.most}"


def _uneven(found: Mapping[Slot, int], slots: Sequence[Slot]) -> Iterator[str]:
    """Yield the includes that may be repeated whose mandatory rows do not stand equally often."""
    for include in dict.fromkeys(row for slot in slots for row in slot.includes if row.most is None):
        members = [slot for slot in slots if slot.includes[-1:] == (include,) and slot.row.required == "M"]
        counts = {found.get(slot, 0) for slot in members if slot.most is None and slot.row.most == 1}
        if len(counts) > 1 and min(counts):
            yield f"{include.name}: its mandatory rows stand {min(counts)} to {max(counts)} times"
