"""Which MR sequence a series is, told from its header: by its words and by the times of its pulses.

Words are what people typed, numbers what the scanner did. Where they agree, or one is silent, that is the answer;
where they contradict each other or both are silent, the answer stays open, for the pixels (mr_pixels.py).
Times: Bitar et al., RadioGraphics 2006;26:513-537 (TR, TE, TI of the usual weightings), widened to what 1.5 to 7 T
scanners and 3-D turbo spin echo write.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.selection.mr_words import WORDS, Words, contrast, kinds, own_words, read
from pacsai.sequences import NAMES
from pacsai.study.header import items, number, texts, values

PLAIN = ("FLAIR", "T1", "T2")
"""What the pixels can tell apart; contrast medium they cannot."""
FREE_WORDS = ("ProtocolName", "SequenceName", "PulseSequenceName")
PAIRED = frozenset({"FLAIR", "T1", "T2", "proton density"})
"""Kinds that stand beside others in one description ("PD/T2 TSE"); any other kind decides by itself."""

SHORTEST_SPIN_ECHO = 5.0
"""A shorter echo, in ms, is a gradient's, whether ScanningSequence says so or not."""


@dataclass(frozen=True, slots=True)
class Naming:
    """Which sequence a header names.

    Attributes
    ----------
    name : str
        One of `sequences.NAMES`; "" where it is none of them or open.
    reason : str
        How that is known, or what it is instead, or why it is open.
    options : tuple of str
        Among which the pixels may decide; () where the header has decided.
    """

    name: str
    reason: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Times:
    """What the scanner did, in milliseconds; None where the header does not say."""

    echo: float | None
    repetition: float | None
    inversion: float | None
    inverted: bool
    gradient: bool
    echo_planar: bool
    steady_state: bool

    def __str__(self) -> str:
        named = (("EchoTime", self.echo), ("RepetitionTime", self.repetition), ("InversionTime", self.inversion))
        return ", ".join(f"{name} {value:g} ms" for name, value in named if value is not None)


def name(header: Dataset, words: Words = WORDS) -> Naming:
    """Return the sequence that `header` names, T1C where T1 has evidence of contrast medium."""
    found = _plain(header, words)
    return with_contrast(found, header, words) if found.name == "T1" else found


def with_contrast(found: Naming, header: Dataset, words: Words = WORDS) -> Naming:
    """Return T1 as T1 or T1C, or as neither where the header says both."""
    agent, said = _agent(header), contrast(own_words(header), words)
    if agent is not None and said is not None and agent is not said:
        told = "with contrast medium, the description without" if agent else "no contrast medium, the description some"
        return Naming("", f"T1, but whether with contrast medium is open: ContrastBolusAgent says {told}")
    if agent or said:
        return Naming("T1C", f"{found.reason}, contrast medium by {'ContrastBolusAgent' if agent else 'description'}")
    return found


def _plain(header: Dataset, words: Words) -> Naming:
    named, times = _named(header, words), _times(header)
    measured = by_times(times)
    if alone := sorted(named - PAIRED - {"T1 FLAIR"}):
        return Naming("", f"{alone[0]} by its description")
    named = frozenset("T1" if kind == "T1 FLAIR" else kind for kind in named)
    if {"FLAIR", "T2"} <= named:  # T2 FLAIR is what FLAIR is
        named -= {"T2"}
    if measured and measured not in NAMES and measured not in named:
        return Naming("", f"{measured} by its times ({times})" if str(times) else measured)
    if measured and (not named or measured in named):
        chosen = measured if measured in NAMES else ""
        return Naming(chosen, f"{'' if chosen else f'{measured} '}by {'words and ' if named else ''}times ({times})")
    if len(named) == 1 and not measured:
        (only,) = named
        return Naming(only, "by its description") if only in NAMES else Naming("", f"{only} by its description")
    return _open(named, measured, times)


def _open(named: frozenset[str], measured: str, times: Times) -> Naming:
    """Return what the pixels have to decide."""
    options = tuple(kind for kind in PLAIN if kind in named | {measured}) if named or measured else PLAIN
    if measured:
        return Naming("", f"the description says {' or '.join(sorted(named))}, its times {measured} ({times})", options)
    if named:
        return Naming("", f"the description says {' and '.join(sorted(named))}, its times do not decide", options)
    return Naming("", "neither its description nor its times name a sequence", options)


def by_times(times: Times) -> str:
    """Return the kind of sequence that the times make, "" where they do not decide."""
    te, tr, ti = times.echo, times.repetition, times.inversion
    if times.echo_planar:
        return "an echo-planar image"
    if te is None or tr is None:
        return ""
    if ti is not None and tr >= 2000 and 80 <= ti <= 300:
        return "short-tau inversion recovery"
    if times.inverted and te >= 60 and tr >= 3500 and (ti or 2000) >= 1400:
        return "FLAIR"
    if times.inverted and te <= 35 and (ti or 900) <= 1600:
        return "T1"
    if times.inverted:
        return ""
    if times.gradient or te < SHORTEST_SPIN_ECHO:
        return _gradient(te, tr, times.steady_state)
    if te <= 35 and tr <= 1400:
        return "T1"
    if te <= 45 and tr >= 1800:
        return "proton density"
    return "T2" if te >= 60 and tr >= 1800 else ""


def _gradient(te: float, tr: float, steady_state: bool) -> str:
    if steady_state:
        return ""
    if te >= 12:
        return "T2*"
    return "T1" if tr <= 3000 else ""


def _named(header: Dataset, words: Words) -> frozenset[str]:
    """Return the kinds that the series' words name: its description's, else those of protocol and sequence."""
    coded = kinds(read(header, "AcquisitionContrast"), words)
    return kinds(read(header, "SeriesDescription"), words) or coded or kinds(read(header, *FREE_WORDS), words)


def _times(header: Dataset) -> Times:
    sequence = {str(value).strip().upper() for value in values(header, "ScanningSequence")}
    variant = {str(value).strip().upper() for value in values(header, "SequenceVariant")}
    pulse = texts(header, "EchoPulseSequence").upper()
    inversion = number(header, "InversionTime") or number(header, "InversionTimes") or None
    return Times(
        echo=number(header, "EchoTime") or number(header, "EffectiveEchoTime") or None,
        repetition=number(header, "RepetitionTime") or None,
        inversion=inversion,
        inverted="IR" in sequence or texts(header, "InversionRecovery").upper() == "YES" or inversion is not None,
        gradient=("GR" in sequence and "SE" not in sequence) or pulse == "GRADIENT",
        echo_planar="EP" in sequence,
        steady_state="SS" in variant and "SP" not in variant,
    )


def _agent(header: Dataset) -> bool | None:
    """Return whether contrast medium was given by its attributes, None where they are silent."""
    if items(header, "ContrastBolusAgentSequence"):
        return True
    agent = read(header, "ContrastBolusAgent")
    return agent not in ("no", "none", "nein", "non", "without", "ohne", "0") if agent else None
