"""Words that people write into descriptions, in many languages, and what they mean.

The tables are patterns over text that was folded: lower case, no accents, everything but letters and digits a blank.
So "Thorax_nativ", "TÓRAX" and "CT-Thorax" are all found by one word. A site's own words belong into these tables.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from pydicom.dataset import Dataset

from pacsai.study.header import texts

DESCRIPTIONS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
    "PerformedProcedureStepDescription",
)
"""Attributes that say in words what was examined."""

BODY_PARTS: Mapping[str, str] = {
    "SPINE": (
        r"(thorac\w*|dorsal|cervical|lumbar|[ctl]) ?(spine|sp)\b|spine|spinal|wirbel|\b[bhl]ws\b|rachis|column|colonna"
        r"|wervel|lumb|lomb|thoracolumb|vertebr|kregoslup|позвон|脊"
    ),
    "CHEST": (
        r"thora|torac|torax|chest|lung|pulm|poumon|polmon|mediast|brustkorb|borstkas|bronch|pleura|klatk|\bhrct\b"
        r"|\b[ct]ap\b|\bpe ?protocol\b|\bctpa\b|(whole|total) ?body|ganzkorper|corps entier|polytrauma|грудн|легк|胸|肺"
    ),
    "HEAD": (
        r"\bhead\b|brain|cereb|crane\b|crani|skull|schadel|kopf|hirn|\btete\b|cabeza|cabeca|encefal|encephal|sinus"
        r"|orbit|\bcct\b|\bhoofd\b|голов|мозг|头|頭|脑|脳"
    ),
    "NECK": r"\bneck\b|\bhals\b|\bcou\b|cuello|\bcollo\b|pescoco|carotid|karotis|larynx|thyroid|шея|шеи|颈",
    "ABDOMEN": (
        r"abdom|bauch|oberbauch|liver|leber|\bfoie\b|higado|fegato|hepat|pancrea|pankrea|kidney|niere|\brein\b|renal"
        r"|\brenes\b|urogra|urolith|enterogra|colonogra|buik|brzuch|живот|брюшн|腹"
    ),
    "PELVIS": r"pelvi|becken|bassin|prostat|\bhips?\b|hufte|hanche|cadera|bekken|miednic|таз|骨盆",
    "EXTREMITY": (
        r"knee|ankle|\bfoot\b|\bfeet\b|wrist|\bhand\b|elbow|shoulder|femur|tibia|\barm\b|\bleg\b|knie|schulter|fuss"
        r"|ellenbogen|handgelenk|genou|epaule|cheville|poignet|rodilla|hombro|ginocchio|spalla|joelho|ombro"
    ),
}
"""Body part -> pattern. Spine stands first: its words are taken out of the text before the others are looked for."""

LOCALIZER = r"locali[sz]er|scout|topogram|\btopo\b|surview|scanogram|scano\b|\bpilot\b|localisateur|localizador"
TIMING = r"smart ?prep|bolus ?(track|timing)|test ?bolus|care ?bolus|(pre)?monitoring|sure ?start|timing"
REFORMAT = (
    r"\bmprs?\b|\bmips?\b|min ?ips?\b|\bvrt?\b|\bssd\b|volume rendering|subtract|perfusion|\biodine\b|curved|endoscop"
    r"|screen ?save|dose (report|info|summary)|patient protocol|exam summary|snapshot"
)
QUALITY_ASSURANCE = (
    r"\bqa\b|\bqc\b|quality (assurance|control)|\bdaily\b|calibration|kalibrier|konstanz|constancy|constance"
    r"|water phantom|wasserphantom|air ?cal\b|acceptance test"
)
"""Looked for in descriptions only. A patient's name is no evidence: demonstrations are called PHANTOM too."""
CONTRAST = r"contrast|kontrast|contraste|\bkm\b|\biv\b|\bce\b|\bcm\b|arterial|portal|venous|angio|\bcta\b|\bctpa\b"
NO_CONTRAST = (
    r"native?\b|nativ\b|plain|\bsans\b|without|w o\b|\bwo\b|non ?contrast|\bsenza\b|\bsin\b|\bsem\b|ohne|unenhanced"
)


def folded(text: str) -> str:
    """Return `text` in lower case, without accents, with everything but letters and digits as one blank."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return " ".join(re.sub(r"[\W_]+", " ", bare).split())


def says(pattern: str, header: Dataset, *keywords: str) -> bool:
    """Return whether the attributes' folded texts match `pattern`."""
    return re.search(pattern, folded(texts(header, *keywords))) is not None


def body_parts(text: str) -> frozenset[str]:
    """Return the parts that `text` names, among the keys of BODY_PARTS."""
    rest, found = folded(text), set()
    for part, pattern in BODY_PARTS.items():
        rest, count = re.subn(pattern, " ", rest)
        if count:
            found.add(part)
    return frozenset(found)


def other_body_part(headers: Iterable[Dataset], wanted: Iterable[str]) -> str | None:
    """Return why headers speak of another part of the body than `wanted`, None where they do not, clearly.

    Only words count: BodyPartExamined is wrong or missing in one study of six (Güld et al. 2002), so that it never
    excludes by itself, and saves where it names the wanted part.
    """
    named: set[str] = set()
    for header in headers:
        named |= body_parts(texts(header, *DESCRIPTIONS))
        named |= body_parts(texts(header, "BodyPartExamined")) & set(wanted)
    if not named or named & set(wanted):
        return None
    return f"the descriptions name {_either(named)}, and the pipeline asks for {_either(wanted)}"


def _either(names: Iterable[str]) -> str:
    return " or ".join(sorted(names))
