"""Which studies are urgent and overtake the queue: told by headers of their images and the site's rules.

Requested Procedure Priority (0040,1003) is an attribute of the order; scanners copy it into images, at the top or into
an item of the Request Attributes Sequence (PS3.3 10.6), or they do not. What else tells a site's emergencies apart (a
station name, a referring service) is a rule of that site.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pacsai.config import PriorityRule
from pacsai.study.header import NotReadableError, items, read_header

_LOOKED_AT = 32
"""How many images of a study are asked, evenly chosen: all of a large study would take a while."""


def is_urgent(files: Sequence[Path], rules: Sequence[PriorityRule]) -> bool:
    """Tell whether an image of a study fits one of the rules; a file that cannot be read fits none."""
    wanted = {rule.attribute: {value.upper() for value in rule.values} for rule in rules}
    chosen = files[:: max(1, len(files) // _LOOKED_AT)]
    return bool(wanted) and any(_fits(header, wanted) for header in _headers(chosen))


def _headers(files: Sequence[Path]) -> Iterator[Dataset]:
    for file in files:
        with suppress(NotReadableError):
            header = read_header(file)
            yield header
            yield from items(header, "RequestAttributesSequence")


def _fits(header: Dataset, wanted: dict[str, set[str]]) -> bool:
    return any(not values.isdisjoint(_texts(header.get(attribute))) for attribute, values in wanted.items())


def _texts(value: object) -> set[str]:
    values = value if isinstance(value, MultiValue) else [value]
    return {str(one).strip().upper() for one in values if one is not None}
