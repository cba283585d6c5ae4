"""KO: a Key Object Selection "Of Interest" (PS3.16 TID 2010) that points at what a reader should open first."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
from pydicom.dataset import Dataset

from pacsai import RESEARCH_USE_ONLY, terms
from pacsai.finding import Finding, Result
from pacsai.objects.common import (
    NODE,
    Author,
    coded,
    contributing_equipment,
    device_observer,
    evidence,
    finish,
    identity,
)
from pacsai.objects.contour import largest_section
from pacsai.objects.frames import image_of_slice
from pacsai.objects.source import Source


def build(result: Result, source: Source, made: Sequence[Dataset] = (), author: Author = NODE) -> Dataset | None:
    """Return the selection: the largest section of each finding, or each marked view, then objects of the same result.

    Parameters
    ----------
    made : sequence of Dataset
        The objects of the same result that belong beside the images.

    Returns
    -------
    Dataset or None
        None where no finding has a section to point at.
    """
    headers = evidence(source)
    images = _marked_views(result, headers) if source.views else _largest_sections(result, source, headers)
    if not images:
        return None
    what = "Views with findings" if source.views else "Largest section of each finding"
    content = hd.ko.KeyObjectSelection(
        document_title=coded(terms.OF_INTEREST),
        referenced_objects=[*(image for image, _ in images), *made],
        observer_device_context=device_observer(author),
        description=f"{what}. {RESEARCH_USE_ONLY}.",
    )
    _name_frames(content, [frame for _, frame in images])
    selection = hd.ko.KeyObjectSelectionDocument(
        evidence=[*{image.SOPInstanceUID: image for image, _ in images}.values(), *made],
        content=content,
        contributing_equipment=[contributing_equipment(source, result, author)],
        **identity("KO", result, author),
    )
    selection.copy_patient_and_study_information(headers[0])
    return finish(selection, source)


_Images = list[tuple[Dataset, int | None]]


def _marked_views(result: Result, headers: Sequence[Dataset]) -> _Images:
    """Return the marked images of an exam, in hanging order."""
    marked = {finding.on.image for finding in result.findings if finding.on}
    return [(header, None) for header in headers if header.SOPInstanceUID in marked]


def _largest_sections(result: Result, source: Source, headers: Sequence[Dataset]) -> _Images:
    """Return the image, and the frame where it has frames, of each finding's largest section."""
    places = dict.fromkeys(largest_slice(finding) for finding in result.findings if finding.mask is not None)
    return [image_of_slice(source, headers, k) for k in places]


def largest_slice(finding: Finding) -> int:
    """Return the slice k of the source volume with the finding's largest section."""
    assert finding.mask is not None  # noqa: S101  # the caller asked
    return finding.mask.offset_kji[0] + largest_section(finding.mask.array)


def _name_frames(content: hd.ko.KeyObjectSelection, frames: Sequence[int | None]) -> None:
    """Let the references to images of many frames name the frame, which highdicom 0.28.2 cannot be told."""
    references = [item for item in content[0].ContentSequence if item.ValueType == "IMAGE"]
    for item, frame in zip(references, frames, strict=False):
        if frame is not None:
            item.ReferencedSOPSequence[0].ReferencedFrameNumber = frame
