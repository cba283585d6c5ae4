"""The rules by which MR series are left where a pipeline asks for sequences: rules.py's, with MR's own in their place.

A reformat of a 3-D acquisition is not left but stands behind the acquisition (mr_select.py): some archives keep only
the reformat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial

from pacsai.selection import rules
from pacsai.selection.mr_words import WORDS, Words, own_words
from pacsai.selection.rules import Accepts, Rule, image_type
from pacsai.selection.splitting import Part
from pacsai.selection.wording import body_parts
from pacsai.study.header import number, texts

REFORMATTED = frozenset({"MPR", "CSA MPR", "REFORMATTED"})
COMPUTED = rules.DERIVED_TOKENS - REFORMATTED | {
    *("ADC", "FA", "TRACEW", "DIFFUSION", "TENSOR", "EADC", "AVG_DIR_DIFF", "SWI", "MOSAIC", "SUB", "SUBTRACT"),
    *("P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY MAP", "T1 MAP", "T2 MAP", "T2_STAR MAP"),
    *("B0 MAP", "CBF", "CBV", "RCBF", "RCBV", "MTT", "TTP", "ASL", "ANGIO", "MASK", "SYNTH", "SYNTHETIC", "FUSED"),
}
"""Values of ImageType that name what is no plain magnitude image (PS3.3 C.8.13.1, and vendors' own)."""
LEVELS = (
    ("SeriesDescription",),
    ("ProtocolName",),
    ("StudyDescription", "RequestedProcedureDescription", "PerformedProcedureStepDescription"),
)
"""Where the part of the body is looked for: what is said of the series goes before what is said of the study."""


def reformatted(part: Part) -> bool:
    """Return whether the images were cut out of an acquired volume; "t1_mpr" alone is Siemens' short for MPRAGE."""
    found = image_type(part.header)
    named = re.search(r"\bmprs?\b|reformat", own_words(part.header)) is not None
    return bool(REFORMATTED.intersection(found)) or (found[:1] == ("DERIVED",) and named)


def computed(part: Part, _: Accepts) -> str | None:
    """Leave maps, projections and post-processed images, told by ImageType."""
    found = image_type(part.header)
    if tokens := COMPUTED.intersection(found[2:]):
        return f"computed from other images (ImageType {', '.join(sorted(tokens))})"
    if found[1:2] == ("SECONDARY",) and not reformatted(part):
        return f"a secondary image (ImageType {rules.backslashed(found[:2])})"
    return None


def left_out(part: Part, _: Accepts, words: Words = WORDS) -> str | None:
    """Leave diffusion, perfusion, susceptibility, angiography and the like."""
    if number(part.header, "DiffusionBValue"):
        return "diffusion (DiffusionBValue)"
    if (number(part.header, "NumberOfTemporalPositions") or 1) > 1:
        return "perfusion or another run over time (NumberOfTemporalPositions)"
    if texts(part.header, "AngioFlag").upper() in ("Y", "YES"):
        return "an angiography (AngioFlag)"
    said = own_words(part.header)
    return next((reason for reason, pattern in words.left_out.items() if re.search(pattern, said)), None)


def body_part(part: Part, accepts: Accepts) -> str | None:
    """Leave another part of the body, by the nearest words that name one; BodyPartExamined saves no one from words."""
    wanted = accepts.get("BodyPart")
    for keywords in LEVELS if wanted else ():
        named = body_parts(texts(part.header, *keywords))
        if named and wanted and not named & set(wanted.values):
            labelled = texts(part.header, "BodyPartExamined")
            though = f", whatever BodyPartExamined says ({labelled})" if labelled else ""
            asked = rules.asked(wanted)
            return f"the descriptions name {' or '.join(sorted(named))}{though}, and the pipeline asks for {asked}"
        if named:
            return None
    return None


REPLACED: Mapping[Rule, Rule] = {rules.derived: computed, rules.body_part: body_part}


def mr_rules(words: Words = WORDS) -> tuple[Rule, ...]:
    """Return the header rules for MR sequences, in order, with the tables `words`."""
    return (*(REPLACED.get(rule, rule) for rule in rules.COMMON), partial(left_out, words=words))
