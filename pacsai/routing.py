"""Which pipelines a study is for: study and manifests in, a reason for each pipeline out. Pure, headers only.

Deliberately generous: whatever headers do not clearly rule out goes to selection.py, and then to the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pacsai.header import texts
from pacsai.pipeline import Manifest
from pacsai.selection_rules import made_here, no_image
from pacsai.splitting import Part
from pacsai.study import Series, Study
from pacsai.wording import DESCRIPTIONS, body_parts, other_body_part


@dataclass(frozen=True, slots=True)
class Route:
    """Whether a pipeline gets the study, and why."""

    pipeline: str
    taken: bool
    reason: str


def route(study: Study, manifests: Sequence[Manifest]) -> tuple[Route, ...]:
    """Return a route for each pipeline, in the order of `manifests`."""
    return tuple(_route(study, manifest) for manifest in manifests)


def _route(study: Study, manifest: Manifest) -> Route:
    modalities = manifest.accepts["Modality"].values if "Modality" in manifest.accepts else ()
    fitting = [series for series in study.series if _acquired(series) and _fits(series, modalities)]
    kinds = " or ".join(modalities) or "source"
    if not fitting:
        return Route(manifest.name, False, f"the study has no {kinds} images")
    if "BodyPart" not in manifest.accepts:
        return Route(manifest.name, True, f"the study has {kinds} images")
    wanted = manifest.accepts["BodyPart"].values
    headers = [series.header for series in fitting]
    if reason := other_body_part(headers, wanted):
        return Route(manifest.name, False, reason)
    named = {part for header in headers for part in body_parts(texts(header, *DESCRIPTIONS, "BodyPartExamined"))}
    if found := named & set(wanted):
        return Route(manifest.name, True, f"{kinds} images whose headers name {' or '.join(sorted(found))}")
    return Route(manifest.name, True, f"{kinds} images; the body part is to be checked from the pixels")


def _fits(series: Series, modalities: Sequence[str]) -> bool:
    return not modalities or series.modality in modalities


def _acquired(series: Series) -> bool:
    part = Part(series, series.instances)
    return not made_here(part, {}) and not no_image(part, {})
