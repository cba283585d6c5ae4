"""Which of several usable volumes is the best for a pipeline: criteria as data, compared in order.

Knows nothing of why others were left; selection.py does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pacsai.selection.splitting import Part
from pacsai.selection.wording import CONTRAST, DESCRIPTIONS, NO_CONTRAST, folded, says
from pacsai.study.header import number, texts
from pacsai.volume import Geometry

SHORT = 0.7
"""A volume that covers less than this part of the tallest one comes after those that cover more."""

KERNELS: tuple[tuple[str, str], ...] = (
    (r"[bhuiqt][a-z]{0,2}[5-9]\d", "sharp"),  # Siemens B70f, Br59d, Bl57, I70f
    (r"[bhuiqt][a-z]{0,2}[0-4]\d", "soft"),  # Siemens B30f, Br40d, I31f
    (r"lung|bone(plus)?|edge|ultra", "sharp"),  # GE
    (r"standard|soft|detail|chst|stnd", "soft"),  # GE
    (r"fc(3|5|8)\d", "sharp"),  # Toshiba, Canon
    (r"fc[012]?\d", "soft"),
    (r"l|d|e|f|y[a-d]|lung enhanced", "sharp"),  # Philips
    (r"a|b|c|s[a-c]|u[ab]", "soft"),
)
"""Patterns of whole kernel names (folded to lower case) and what they are; the first that fits decides."""


Criterion = Callable[["Usable", "Preference"], float]


@dataclass(frozen=True, slots=True)
class Preference:
    """What a pipeline would rather have.

    Attributes
    ----------
    kernels : tuple of str
        Kinds of kernel, best first; what is not named, "unknown" among it, comes last. Soft first by default: less
        noise, so fewer false marks and steadier volumes (QIBA lung nodule profile).
    thickness_mm : tuple of float
        Preferred distance of slices, from and to.
    contrast : bool or None
        With (True) or without (False) contrast medium; None where it does not matter.
    criteria : tuple of (str, callable)
        What decides, in order, and the words for it; lower is better.
    """

    kernels: tuple[str, ...] = ("soft", "sharp")
    thickness_mm: tuple[float, float] = (0.6, 1.5)
    contrast: bool | None = None
    criteria: tuple[tuple[str, Criterion], ...] = field(default_factory=lambda: CRITERIA)


@dataclass(frozen=True, slots=True, eq=False)
class Usable:
    """A part without any reason against it, and its grid."""

    part: Part
    grid: Geometry

    @property
    def extent_mm(self) -> float:
        """Return how much of the patient the slices cover."""
        return self.grid.spacing_mm[0] * self.grid.shape_kji[0]


def _off_thickness(one: Usable, preference: Preference) -> float:
    low, high = preference.thickness_mm
    return float(not low <= round(one.grid.spacing_mm[0], 3) <= high)


def _kernel(one: Usable, preference: Preference) -> float:
    kind = kernel_kind(kernel(one.part))
    return preference.kernels.index(kind) if kind in preference.kernels else len(preference.kernels)


def _contrast(one: Usable, preference: Preference) -> float:
    return float(preference.contrast is not None and has_contrast(one.part) is not preference.contrast)


def _spacing(one: Usable, _: Preference) -> float:
    return round(one.grid.spacing_mm[0], 3)


def series_number(one: Usable, _: Preference) -> float:
    """Return the series number; a series without one comes last."""
    found = number(one.part.header, "SeriesNumber")
    return float("inf") if found is None else found


CRITERIA: tuple[tuple[str, Criterion], ...] = (
    ("for the distance of its slices", _off_thickness),
    ("for its kernel", _kernel),
    ("for its contrast phase", _contrast),
    ("for its thinner slices", _spacing),
    ("for its lower series number", series_number),
)
"""What decides where a pipeline does not say otherwise."""


def best(usable: Sequence[Usable], preference: Preference) -> Usable:
    """Return the best one; the order in which they are given does not matter."""
    return min(usable, key=lambda one: _rank(one, usable, preference))


def why_better(winner: Usable, other: Usable, usable: Sequence[Usable], preference: Preference) -> str:
    """Return what decided between two of `usable`, in words."""
    ranks = _rank(winner, usable, preference), _rank(other, usable, preference)
    words = ("for covering more of the patient", *(words for words, _ in preference.criteria), "for its UID")
    return next((word for word, one, two in zip(words, *ranks, strict=False) if one != two), words[-1])


def kernel(part: Part) -> str:
    """Return the reconstruction kernel as the header has it: its values, a blank between them."""
    return texts(part.header, "ConvolutionKernel")


def kernel_kind(name: str) -> str:
    """Return sharp, soft or unknown for a kernel's name; vendors' settings after it ("Br40d 3") do not count."""
    bare = re.sub(r"( \d+)+$", "", folded(name))
    return next((kind for pattern, kind in KERNELS if re.fullmatch(rf"({pattern})[a-z]?", bare)), "unknown")


def has_contrast(part: Part) -> bool:
    """Return whether contrast medium was given, by ContrastBolusAgent, else by the descriptions."""
    if agent := folded(texts(part.header, "ContrastBolusAgent")):
        return agent not in ("no", "none", "nein", "non")
    without = says(NO_CONTRAST, part.header, *DESCRIPTIONS)
    return says(CONTRAST, part.header, *DESCRIPTIONS) and not without


def _rank(one: Usable, usable: Sequence[Usable], preference: Preference) -> tuple[float | str, ...]:
    tallest = max(other.extent_mm for other in usable)
    short = float(one.extent_mm < SHORT * tallest)
    first = one.part.instances[0].sop_instance_uid
    return (
        short,
        *(criterion(one, preference) for _, criterion in preference.criteria),
        one.part.series.series_instance_uid,
        first,
    )
