"""What a CAD says of an exam beside its findings: where on which view, what belongs together, and the exam as a whole.

Frozen values that a pipeline with `input: images` puts into its Result. Knows nothing of DICOM.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pacsai.terms import Code

Place = tuple[float, float]
"""(row j, column i) in the pixels of one view; whole numbers are pixel centres."""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a finding lies on one view.

    Attributes
    ----------
    view : str
        Name of the view, such as "L CC".
    centre_ji : (row, column)
    outline_ji : tuple of (row, column)
        A polygon about it, not closed; () where only the centre is known.
    image : str
        SOP Instance UID of the image that results are drawn on. Empty until the node fills it in.
    """

    view: str
    centre_ji: Place
    outline_ji: tuple[Place, ...] = ()
    image: str = ""

    @property
    def radius(self) -> float:
        """Return the radius in pixels of the circle about the centre that holds the outline; 0 without one."""
        return max((math.dist(self.centre_ji, corner) for corner in self.outline_ji), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Findings that are one thing: the same lesion on two views, or a difference between left and right.

    Attributes
    ----------
    kind : Code
        CID 6016, such as a breast mass or asymmetric breast tissue.
    members : tuple of int
        Places of the findings in `Result.findings`, from 0; two at least. A finding belongs to one of these at most.
    probability : float
        Of cancer, 0 to 1.
    contralateral : bool
        The members are compared, left with right; else they are the same thing.
    tracking_uid : str
        Empty until the node signs the result.
    """

    kind: Code
    members: tuple[int, ...]
    probability: float
    label: str
    contralateral: bool = False
    tracking_uid: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreastDensity:
    """How dense one breast is: `category` of CID 6000, `percent` of its area (0 to 100) where it was measured."""

    laterality: str
    category: Code
    percent: float | None = None

    @property
    def sentence(self) -> str:
        """Return breast, category and percent for a reader."""
        share = "" if self.percent is None else f" ({self.percent:.0f} percent of the area)"
        side = {"L": "Left breast", "R": "Right breast"}[self.laterality]
        return f"{side}: {self.category.meaning.lower()}{share}."


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One detection (`kind` of CID 6014) or analysis (CID 6043) that was tried.

    Attributes
    ----------
    views : tuple of str
        Names of the views it was tried on; () for all.
    failed : bool
        It did not come to an end; whatever was found is not of it.
    algorithm : str
        Name of the part of the pipeline that did it; empty: the pipeline as a whole.
    """

    kind: Code
    views: tuple[str, ...] = ()
    failed: bool = False
    algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The exam as a whole.

    Attributes
    ----------
    detections, analyses : tuple of Attempt
        What was tried. One detection at least: a report says what was looked for, above all where nothing was found.
    joined : tuple of Joined
        Findings that belong together across views.
    densities : tuple of BreastDensity
        One for each breast at most.
    case_score : float or None
        Probability of cancer in the exam, 0 to 1.
    assessment : Code or None
        A suggestion of CID 6026, such as BI-RADS 4, and no more than that.
    """

    detections: tuple[Attempt, ...]
    analyses: tuple[Attempt, ...] = ()
    joined: tuple[Joined, ...] = ()
    densities: tuple[BreastDensity, ...] = ()
    case_score: float | None = None
    assessment: Code | None = None

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return score, suggestion and densities for a reader."""
        score = "" if self.case_score is None else f"Case score {self.case_score:.2f} (0 to 1)."
        meaning = self.assessment.meaning if self.assessment else ""
        suggested = f"Assessment suggested by the software, for a radiologist to judge: {meaning}." if meaning else ""
        return tuple(filter(None, (score, suggested, *(density.sentence for density in self.densities))))
