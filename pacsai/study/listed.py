"""What lists of values cost: two bytes of encoded text can become 400 of memory once pydicom makes numbers of them."""

from __future__ import annotations

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import VR

MOST_LISTED = 2**28
"""Memory for the values of a study's headers beyond the first of each element, as estimated: half a million texts, or
some millions of numbers. A 60 MB header of short numbers in text would take 12 GB and minutes."""

_LISTS = {
    **dict.fromkeys(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"), (0, 512)),
    **dict.fromkeys(("SS", "US"), (2, 40)),
    **dict.fromkeys(("AT", "FL", "SL", "UL"), (4, 40)),
    **dict.fromkeys(("FD", "SV", "UV"), (8, 40)),
}
"""VRs of which lists are made: bytes of one encoded value, 0 where backslashes part them; bytes of memory for one."""


def listed(raw: RawDataElement) -> int:
    """Return how much memory the values of an element beyond its first will take once decoded, about."""
    named = raw.VR not in (None, VR.UN)
    vr = str(raw.VR) if named or not dictionary_has_tag(raw.tag) else dictionary_VR(raw.tag)
    size, memory = _LISTS.get(vr, (0, 0))
    data = raw.value if memory and raw.value else b""
    further = len(data) // size - 1 if size else data.count(b"\\")
    return max(further, 0) * memory
