"""BI-RADS words and their codes."""

from __future__ import annotations

from collections.abc import Mapping

from pacsai import terms
from pacsai.terms import Code

KINDS: Mapping[str, Code] = {
    "mass": terms.BREAST_MASS,
    "distortion": terms.ARCHITECTURAL_DISTORTION,
    "asymmetry": terms.FOCAL_ASYMMETRY,
    "calcifications": terms.CALCIFICATION_CLUSTER,
}
LABELS = {
    "mass": "Mass",
    "distortion": "Distortion",
    "asymmetry": "Asymmetry",
    "calcifications": "Calcifications",
}
CONCEPTS: Mapping[str, Code] = {
    "shape": terms.SHAPE,
    "margin": terms.MARGIN,
    "density": terms.LESION_DENSITY,
    "morphology": terms.CALCIFICATION_TYPE,
    "distribution": terms.CALCIFICATION_DISTRIBUTION,
}
SAID_OF = {
    "mass": ("shape", "margin", "density"),
    "calcifications": ("morphology", "distribution"),
    "distortion": (),
    "asymmetry": (),
}
"""The lists that are told of each kind."""
CODES: Mapping[str, Code] = {
    "round": terms.ROUND_SHAPE,
    "oval": terms.OVAL_SHAPE,
    "irregular": terms.IRREGULAR_SHAPE,
    "circumscribed": terms.CIRCUMSCRIBED,
    "microlobulated": terms.MICROLOBULATED,
    "obscured": terms.OBSCURED,
    "indistinct": terms.INDISTINCT,
    "spiculated": terms.SPICULATED,
    "high": terms.HIGH_DENSITY,
    "equal": terms.EQUAL_DENSITY,
    "low": terms.LOW_DENSITY,
    "punctate": terms.PUNCTATE,
    "amorphous": terms.AMORPHOUS,
    "coarse heterogeneous": terms.COARSE_HETEROGENEOUS,
    "fine pleomorphic": terms.FINE_PLEOMORPHIC,
    "fine linear branching": terms.FINE_LINEAR_BRANCHING,
    "grouped": terms.GROUPED,
    "linear": terms.LINEAR,
    "segmental": terms.SEGMENTAL,
    "regional": terms.REGIONAL,
    "diffuse": terms.DIFFUSE,
}
DENSITY_CLASSES: Mapping[str, Code] = {
    "A": terms.ALMOST_ENTIRELY_FAT,
    "B": terms.SCATTERED_DENSITIES,
    "C": terms.HETEROGENEOUSLY_DENSE,
    "D": terms.EXTREMELY_DENSE,
}
