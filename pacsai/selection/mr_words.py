"""Words of MR series and what they mean: tables over folded text (see wording.py), a site's own words belong here.

"+" and "*" mean something in names of MR sequences ("T1+C", "T2*"), so `read` writes them out before folding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.selection.wording import NO_CONTRAST, folded
from pacsai.study.header import texts

SEQUENCES: Mapping[str, str] = {
    "T2*": r"[tт]2 ?w? ?star|\bhemo|\bmedic\b|\bmerge\b|\bt2 ?(w ?)?(ffe|gre)\b",
    "short-tau inversion recovery": r"\bstir\b|\btirm\b(?!.*dark)",
    "double inversion recovery": r"\bdir\b|double inversion|doppelinversion|double ir\b",
    "phase-sensitive inversion recovery": r"\bpsir\b",
    "a balanced steady-state sequence": r"\bciss\b|fiesta|\btrufi|true ?fisp|\bbssfp\b|\bbffe\b|\bb ffe\b",
    "an inversion image of MP2RAGE": r"\binv ?[12]\b",
    "proton density": r"\bpd(?![a-z]{3})|proton|\bdp\b|densite|densidad|densita|densidade",
    "T1 FLAIR": r"[tт]1 ?w? ?flair|flair ?[tт]1",
    "FLAIR": r"flair|dark ?fluid|\bda fl\b|fluid atten|tirm dark|liquorunter|fluide? atten|spcir|压水|水抑制",
    "T1": r"(?<!par)[tт]1(?!\d)|mp ?rage|mp2rage|\bt?fspgr|\bspgr|\bbravo\b|\btfl3d|\bvibe\b",
    "T2": r"[tт]2(?!\d)",
}
"""Kind -> pattern, in order: the words of one are taken out of the text before the next is looked for."""

CONTRAST = (
    r"contrast|kontrast|контраст|增强|造影|\bkm\b|\bgad|\bgd\b|gadol|gadov|dotarem|clariscan|magnevist|prohance"
    r"|multihance|\bpost(?! ?(op|proc))|\bpk\b|apres inj|inject|injet|iniett|\bmdc\b|\bciv\b|\benhanced|\bce\b|\bcm\b"
    r"|\bplus ?(c|ce|gd|gad\w*|km|k)\b|\bc plus\b|t1 ?w? ?(c|ce|gd|gad|km|kmt|ks|post)\b"
)
WITHOUT = rf"{NO_CONTRAST}|\bpre\b|\bvor\b|\bavant\b|\bprima\b|\bantes\b|\bvoor\b|без"

LEFT_OUT: Mapping[str, str] = {
    "a localizer": r"locali[sz]|\bloc\b|3 ?pl|three ?plane|scout|survey|\bplan ?scan|smart ?brain|localiza|reperage",
    "diffusion": (
        r"\bdwi|diff?us|\bdiff\b|\badc\b|\bdti\b|tensor|trace ?w?\b|\bivim\b|\bb ?\d{3,4}\b|\bresolve\b|\bfa\b"
    ),
    "perfusion": (
        r"perf|\bdsc\b|\bdce\b|\bp?c?asl\b|\br?cbf\b|\br?cbv\b|\bmtt\b|\bttp\b|\btmax\b|dynam|dinam|\btwist\b|\btricks\b"
        r"|ktrans"
    ),
    "a susceptibility image": r"\bswi\b|swip?\b|\bswan\b|suscept|suszept|venobold|\bqsm\b|\bmin ?ips?\b",
    "an angiography": r"\bmra\b|\btof\b|angio|\bpca\b|time of flight|venogra|\bmrv\b|\bmrav\b|willis",
    "a functional, spectroscopic or calibration run": (
        r"\bbold\b|fmri|resting|\brest ?state|field ?map|\bb[01] ?map|spectro|\bcsi\b|\bsvs\b|\bmrs\b|calib|asset ?cal"
        r"|\bref ?scan|coil ?(survey|sens)|phase ?contrast|csf flow|\bflow\b(?! comp)"
    ),
    "a map or a reformat by its description": (
        r"\bmaps?\b|karte\b|subtr|\bsub\b(?! (?!t[12])\w*\d)|\bmips?\b|synth|colou?r|fused|fusion|overlay|\bvrt\b"
        r"|volume rendering|screen ?save|report|snapshot|curved|segmentation|quantif"
    ),
}
"""What no pipeline of sequences reads -> pattern; the first that fits is the reason."""


@dataclass(frozen=True, slots=True)
class Words:
    """The tables in force; a site's may take the place of these."""

    sequences: Mapping[str, str]
    contrast: str
    without: str
    left_out: Mapping[str, str]


WORDS = Words(SEQUENCES, CONTRAST, WITHOUT, LEFT_OUT)


def read(header: Dataset, *keywords: str) -> str:
    """Return the attributes' folded text, with "*" and "+" as the words star and plus."""
    return folded(texts(header, *keywords).replace("*", " star ").replace("+", " plus "))


def own_words(header: Dataset) -> str:
    """Return what the series says of itself: its description, else its protocol, which may be the whole exam's."""
    return read(header, "SeriesDescription") or read(header, "ProtocolName")


def contrast(text: str, words: Words = WORDS) -> bool | None:
    """Return whether a folded text says with (True) or without (False) contrast medium, None where it is silent."""
    rest = re.sub(r"\b(w ?o|without|ohne|sans|sin|senza|sem) (fs|fat\w*|fett\w*)", " ", text)
    if re.search(words.without, rest):
        return False
    return True if re.search(words.contrast, rest) else None


def kinds(text: str, words: Words = WORDS) -> frozenset[str]:
    """Return the kinds of sequences that a folded text names, among the keys of `words.sequences`."""
    rest, found = text, set()
    for kind, pattern in words.sequences.items():
        rest, count = re.subn(pattern, " ", rest)
        if count:
            found.add(kind)
    return frozenset(found)
