"""From one view to its marks: anatomy, both scales of candidates, the judges, the operating point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pacsai.exam import View
from pacsai.reading import Place
from pipelines.mammography_cad.anatomy import BreastAnatomy, find_anatomy
from pipelines.mammography_cad.judging import Opinion, judge, show_masses, show_specks
from pipelines.mammography_cad.look import MIDDLE_MM, SPECK_MM, Look, halved, look_at, resized, spacing_of
from pipelines.mammography_cad.masses import MassCandidate, find_masses
from pipelines.mammography_cad.net import Networks
from pipelines.mammography_cad.specks import Specks, find_specks, groups, hull

COARSEST_MM = 0.15
"""Pixels larger than this show no calcifications: they are not looked for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The operating point: the least certainty of marks of either scale, and how many a view has at most."""

    mass: float = 0.75
    calcifications: float = 0.3
    most: int = 3

    def keeps(self, mark: Mark) -> bool:
        """Tell whether a mark is certain enough."""
        return mark.certainty >= (self.calcifications if mark.kind == "calcifications" else self.mass)


SHIPPED = Rule()
EVERYTHING = Rule(0.0, 0.0, 30)


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A candidate of one view, in the view's pixels.

    Attributes
    ----------
    view : str
    kind : str
        mass, distortion, asymmetry or calcifications.
    certainty, malignant : float
        That there is a lesion, and that it is cancer if there is one.
    words : mapping of str to str
        BI-RADS words by list.
    long_mm, short_mm : float
        On the spacing that was used, be it told or assumed.
    count : int
        Calcifications; 0 of others.
    nipple_mm : float
        Distance to the nipple.
    """

    view: str
    kind: str
    centre: Place
    outline: tuple[Place, ...]
    certainty: float
    malignant: float
    words: Mapping[str, str]
    long_mm: float
    short_mm: float
    count: int
    nipple_mm: float

    @property
    def probability(self) -> float:
        """Return the probability of cancer."""
        return self.certainty * self.malignant


@dataclass(frozen=True, slots=True, eq=False)
class ReadView:
    """A view as it was read.

    Attributes
    ----------
    marks : tuple of Mark
        Every candidate, surest first; the operating point is applied later.
    specks_sought : bool
        False where the pixels are too coarse to show calcifications.
    """

    view: View
    anatomy: BreastAnatomy
    look: Look
    marks: tuple[Mark, ...]
    specks_sought: bool


def read_view(view: View, networks: Networks) -> ReadView:
    """Return the view with every candidate on it.

    Raises
    ------
    NotOneBreastError
        The image does not show one breast.
    """
    anatomy = find_anatomy(view.array, oblique=view.view != "CC")
    spacing_mm = spacing_of(view.array.shape, view.spacing_mm)
    look = look_at(view.array, anatomy.breast, spacing_mm)
    sought = view.spacing_mm is not None and max(spacing_mm) <= COARSEST_MM
    marks = list(_mass_marks(view, anatomy, look, networks))
    if sought:
        marks += _speck_marks(view, anatomy, spacing_mm, networks)
    return ReadView(view, anatomy, look, tuple(sorted(marks, key=lambda mark: -mark.certainty)), sought)


def kept(marks: Iterable[Mark], rule: Rule) -> list[Mark]:
    """Return the marks of one view that the rule keeps; a mark within a surer one of its kind is left out."""
    chosen: list[Mark] = []
    for mark in sorted(filter(rule.keeps, marks), key=lambda mark: -mark.certainty):
        if not any(_same(mark, other) for other in chosen):
            chosen.append(mark)
    return chosen[: rule.most]


def _same(mark: Mark, other: Mark) -> bool:
    """Tell whether a mark's middle lies within a surer one of the same scale."""
    alike = (mark.kind == "calcifications") == (other.kind == "calcifications")
    reach = max((float(np.hypot(*np.subtract(p, other.centre))) for p in other.outline), default=0.0)
    return alike and float(np.hypot(*np.subtract(mark.centre, other.centre))) < 0.7 * reach


def _mass_marks(view: View, anatomy: BreastAnatomy, look: Look, networks: Networks) -> Iterable[Mark]:
    candidates = find_masses(look, networks.masses)
    opinions = judge(networks.mass_judge, show_masses(look, candidates))
    nipple = look.from_view(anatomy.nipple)
    for candidate, opinion in zip(candidates, opinions, strict=True):
        yield _mass_mark(view, candidate, opinion, look, nipple)


def _mass_mark(view: View, candidate: MassCandidate, opinion: Opinion, look: Look, nipple: Place) -> Mark:
    long, short = candidate.axes_mm
    rows, columns = view.array.shape
    outline = (look.to_view((float(j), float(i))) for j, i in candidate.outline)
    return Mark(
        view=view.name,
        kind=opinion.word("kind"),
        centre=look.to_view(candidate.place),
        outline=tuple((min(max(0.0, j), rows - 1.0), min(max(0.0, i), columns - 1.0)) for j, i in outline),
        certainty=opinion.lesion,
        malignant=opinion.malignant,
        words={name: opinion.word(name) for name in ("shape", "margin", "density")},
        long_mm=long,
        short_mm=short,
        count=0,
        nipple_mm=float(np.hypot(*np.subtract(candidate.place, nipple))) * MIDDLE_MM,
    )


def _speck_marks(
    view: View, anatomy: BreastAnatomy, spacing_mm: tuple[float, float], networks: Networks
) -> Iterable[Mark]:
    image = resized(view.array, spacing_mm, SPECK_MM, even=True)
    mask = resized(anatomy.breast.astype(np.float32), spacing_mm, SPECK_MM, even=True) > 0.5
    specks, contrast = find_specks(image, mask, networks.specks)
    scale = (view.array.shape[0] / image.shape[0], view.array.shape[1] / image.shape[1])
    nipple: Place = ((anatomy.nipple[0] + 0.5) / scale[0] - 0.5, (anatomy.nipple[1] + 0.5) / scale[1] - 0.5)
    rows, columns = (n // 4 * 4 for n in image.shape)
    grey = halved(halved(image[:rows, :columns]))
    found = groups(specks)
    opinions = judge(networks.speck_judge, [show_specks(contrast, grey, specks, one, nipple) for one in found])
    for group, opinion in zip(found, opinions, strict=True):
        yield _speck_mark(view, group, opinion, scale, nipple)


def _speck_mark(view: View, group: Specks, opinion: Opinion, scale: tuple[float, float], nipple: Place) -> Mark:
    corners = hull(group)
    middle = group.places.mean(axis=0)
    top = np.array(view.array.shape) - 1.0
    outline = np.clip((corners + 0.5) * scale - 0.5, 0, top)
    gaps = np.hypot(*(corners[:, None] - corners[None]).transpose(2, 0, 1))
    a, b = np.unravel_index(int(gaps.argmax()), gaps.shape)
    way = (corners[a] - corners[b]) / max(float(gaps[a, b]), 1e-6)
    centre = (middle + 0.5) * scale - 0.5
    return Mark(
        view=view.name,
        kind="calcifications",
        centre=(float(centre[0]), float(centre[1])),
        outline=tuple((float(j), float(i)) for j, i in outline),
        certainty=opinion.lesion,
        malignant=opinion.malignant,
        words={name: opinion.word(name) for name in ("morphology", "distribution")},
        long_mm=max(0.1, float(gaps.max()) * SPECK_MM - 2.0),
        short_mm=max(0.1, float(np.ptp(corners @ np.array([way[1], -way[0]]))) * SPECK_MM - 2.0),
        count=len(group.places),
        nipple_mm=float(np.hypot(*(middle - nipple))) * SPECK_MM,
    )
