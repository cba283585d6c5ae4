"""Rows of SR templates as data: how a table like those of PS3.16 annex A is written down here, and read.

One line is one row, its columns parted by "|":

    row | relationship, ">" for each level of nesting | value type | concept | VM | requirement | value | condition

A relationship that begins with "R-" is by reference. In place of a value type, "INCLUDE" has the number of a template
as its concept. A concept is a code value with an optional scheme (DCM where none is given) and its meaning, or "CID n".
Value and condition are in the small language of `values.py` and `template_walk.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from pacsai.terms import Code

INCLUDE = "INCLUDE"
_COLUMNS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One row of a template; a row is itself, since each is read once.

    Attributes
    ----------
    template, number : str
        The template and the row's number in PS3.16.
    relationship : str
        As PS3.3 C.17.3 writes it; empty where the including row gives it.
    by_reference : bool
        The item is elsewhere in the tree, and only referred to.
    value_type : str
        Of PS3.3, or INCLUDE.
    concept : Code, int or None
        The concept name, the context group it is of, or nothing where the item has none. Of an INCLUDE: the template.
    least, most : int and int or None
        How many there may be where there are any; None is "n".
    required : str
        M, MC, U or UC.
    value, condition : str
        See `values.py` and `template_walk.py`; empty where any value, and no condition.
    rows : tuple of Row
        What stands below it.
    """

    template: str
    number: str
    relationship: str
    by_reference: bool
    value_type: str
    concept: Code | int | str | None
    least: int
    most: int | None
    required: str
    value: str = ""
    condition: str = ""
    rows: tuple[Row, ...] = ()

    @property
    def name(self) -> str:
        """Return what a person would call the row."""
        said = f"TID {self.concept}" if self.value_type == INCLUDE else self.value_type
        if isinstance(self.concept, Code):
            said = f"{self.value_type} {self.concept.meaning}"
        return f"TID {self.template} row {self.number} ({said})"


@dataclass(frozen=True, slots=True)
class Template:
    """A template: `extensible` where items that no row names may stand in it."""

    number: str
    extensible: bool
    rows: tuple[Row, ...]


def read(tables: str) -> dict[str, Template]:
    """Return the templates of a text in which each begins with a line "TID number [extensible]".

    Raises
    ------
    ValueError
        A line that is no row.
    """
    templates = {}
    for block in re.split(r"(?m)^TID ", tables)[1:]:
        head, *lines = block.splitlines()
        number, *rest = head.split()
        levels = [_row(number, line) for line in lines if line.strip()]
        templates[number] = Template(number, rest == ["extensible"], _nested(levels, 0))
    return templates


def _row(template: str, line: str) -> tuple[int, Row]:
    columns = [column.strip() for column in line.split("|")]
    if len(columns) > _COLUMNS:
        raise ValueError(f"TID {template}: more columns than a row has: {line}")
    columns += [""] * (_COLUMNS - len(columns))
    number, nesting, value_type, concept, multiplicity, required, value, condition = columns
    relationship = nesting.lstrip("> ")
    least, _, most = multiplicity.partition("-")
    row = Row(
        template,
        number,
        relationship.removeprefix("R-"),
        relationship.startswith("R-"),
        value_type,
        concept if value_type == INCLUDE else _concept(concept),
        int(least),
        None if most == "n" else int(most or least),
        required,
        value,
        condition,
    )
    return nesting.count(">"), row


def _concept(column: str) -> Code | int | None:
    if not column:
        return None
    if column.startswith("CID "):
        return int(column[4:])
    value, meaning = column.split(" ", 1)
    scheme, _, value = value.rpartition(":")
    return Code(value, scheme or "DCM", meaning)


def _nested(levels: list[tuple[int, Row]], level: int) -> tuple[Row, ...]:
    """Return the rows of one level with those below them."""
    starts = [index for index, (at, _) in enumerate(levels) if at == level]
    rows = []
    for start, end in zip(starts, [*starts[1:], len(levels)], strict=False):
        row = levels[start][1]
        below = _nested(levels[start + 1 : end], level + 1)
        rows.append(replace(row, rows=below))
    return tuple(rows)
