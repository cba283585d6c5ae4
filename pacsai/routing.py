"""Which pipelines a study is for: study and manifests in, a reason for each pipeline out. Pure, headers only.

Deliberately generous: whatever headers do not clearly rule out goes to selection.py, and then to the pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.pipeline import Manifest
from pacsai.selection.rules import made_here, no_image
from pacsai.selection.splitting import Part, split
from pacsai.selection.wording import DESCRIPTIONS, body_parts, other_body_part
from pacsai.study import Study
from pacsai.study.header import texts


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
    kinds = " or ".join(modalities) or "source"
    headers = [
        part.header for series in study.series for part in split(series, series.instances) if _fits(part, modalities)
    ]
    if not headers:
        return Route(manifest.name, False, f"the study has no {kinds} images")
    if "BodyPart" not in manifest.accepts:
        return Route(manifest.name, True, f"the study has {kinds} images")
    return _by_body_part(manifest, kinds, headers)


def _by_body_part(manifest: Manifest, kinds: str, headers: Sequence[Dataset]) -> Route:
    wanted = manifest.accepts["BodyPart"].values
    if reason := other_body_part(headers, wanted):
        return Route(manifest.name, False, reason)
    named = {part for header in headers for part in body_parts(texts(header, *DESCRIPTIONS, "BodyPartExamined"))}
    if found := named & set(wanted):
        return Route(manifest.name, True, f"{kinds} images whose headers name {' or '.join(sorted(found))}")
    return Route(manifest.name, True, f"{kinds} images; the body part is to be checked from the pixels")


def _fits(part: Part, modalities: Sequence[str]) -> bool:
    if made_here(part, {}) or no_image(part, {}):
        return False
    return not modalities or part.modality in modalities
