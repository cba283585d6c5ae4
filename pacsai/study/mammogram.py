"""What a mammogram's header says of itself: side, view and how it was taken; where attributes disagree, nothing.

Concepts come back as PS3.16 has them today (SNOMED CT), also where a modality still writes SNOMED RT, under any of the
names that SNOMED RT goes by. Side and view that the header lacks are the pixels' to tell, not guessed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DictionaryCode

from pacsai.study.header import as_number, items, texts, values
from pacsai.terms import Code

CC, MLO = Code("399162004", "SCT", "cranio-caudal"), Code("399368009", "SCT", "medio-lateral oblique")
VIEW_NAMES = {CC: "CC", MLO: "MLO"}
"""Views of a screening exam, as people call them."""
_POSITIONS = {
    "CC": CC,
    "MLO": MLO,
    "ML": Code("399260004", "SCT", "medial-lateral"),
    "LM": Code("399352003", "SCT", "latero-medial"),
    "LMO": Code("399099002", "SCT", "latero-medial oblique"),
    "FB": Code("399196006", "SCT", "caudo-cranial"),
    "XCCL": Code("399192008", "SCT", "cranio-caudal exaggerated laterally"),
    "XCCM": Code("399101009", "SCT", "cranio-caudal exaggerated medially"),
}
"""ViewPosition (0018,5101) as mammography units write it."""
_SNOMED_RT = ("SRT", "SNM3", "99SDM")
_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription")
_IN_WORDS = re.compile(r"(?:^|[\W_])([LR])[\W_]*(CC|MLO)(?:$|[\W_])", re.IGNORECASE)


def side(header: Dataset) -> str:
    """Return L, R or B (both breasts); empty where nothing is said, or ImageLaterality and Laterality disagree.

    A description such as "L-MLO" is believed where both attributes are silent.
    """
    said = {texts(header, keyword).upper() for keyword in ("ImageLaterality", "Laterality")} & {"L", "R", "B"}
    if said:
        return said.pop() if len(said) == 1 else ""
    return _in_words(header)[0]


def view(header: Dataset) -> Code | None:
    """Return the view (CID 4014); None where nothing is said, or view code and ViewPosition disagree."""
    named = items(header, "ViewCodeSequence")
    coded = in_group(named[0], codes.cid4014.concepts.values()) if named else None
    position = _POSITIONS.get(texts(header, "ViewPosition").upper())
    if coded and position:
        return coded if coded == position else None
    return coded or position or _POSITIONS.get(_in_words(header)[1])


def modifiers(header: Dataset) -> tuple[Code, ...]:
    """Return the view modifiers (CID 4015) that are known, in the order written."""
    named = items(header, "ViewCodeSequence")
    written = items(named[0], "ViewModifierCodeSequence") if named else ()
    found = (in_group(one, codes.cid4015.concepts.values()) for one in written)
    return tuple(one for one in found if one)


def spacing_mm(header: Dataset) -> tuple[float, float] | None:
    """Return ImagerPixelSpacing (0018,1164), or PixelSpacing (0028,0030): between rows, between columns."""
    for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
        found = [as_number(value) for value in values(header, keyword)]
        if len(found) == 2 and found[0] and found[1] and found[0] > 0 and found[1] > 0:
            return found[0], found[1]
    return None


def in_group(item: Dataset, group: Iterable[DictionaryCode]) -> Code | None:
    """Return the concept of a context group that a code item means, or None."""
    scheme = texts(item, "CodingSchemeDesignator")
    written = DictionaryCode(texts(item, "CodeValue"), "SRT" if scheme in _SNOMED_RT else scheme, "")
    found = next((one for one in group if one == written), None)  # pydicom compares SNOMED RT with SNOMED CT
    return Code(found.value, found.scheme_designator, found.meaning) if found else None


def _in_words(header: Dataset) -> tuple[str, str]:
    """Return side and view that descriptions name, empty where they name none or several."""
    found = {(side.upper(), view.upper()) for side, view in _IN_WORDS.findall(texts(header, *_DESCRIPTIONS))}
    return found.pop() if len(found) == 1 else ("", "")
