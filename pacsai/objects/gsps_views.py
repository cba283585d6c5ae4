"""GSPS of an exam: one for each view that is marked, shown as its own header asks, with marks and words on it."""

from __future__ import annotations

import numpy as np
from highdicom.content import VOILUT
from highdicom.pr import GrayscaleSoftcopyPresentationState, SoftcopyVOILUTTransformation
from pydicom.dataset import Dataset

from pacsai.exam import View
from pacsai.finding import Finding, Result
from pacsai.objects import gsps
from pacsai.objects.common import NODE, Author, evidence
from pacsai.objects.source import Source
from pacsai.objects.spots import centre, outline
from pacsai.study.header import number, texts
from pacsai.volume.pixels import read_padded

LOWEST, HIGHEST = 0.5, 99.9
"""Percentiles of the stored values that are shown black and white where the header names no window."""


def build(result: Result, source: Source, author: Author = NODE) -> list[GrayscaleSoftcopyPresentationState]:
    """Return the states of the marked views, in hanging order.

    Raises
    ------
    ValueError
        The images cannot be shown by a presentation state.
    """
    states: list[GrayscaleSoftcopyPresentationState] = []
    for view, header in zip(source.views, evidence(source), strict=True):
        marks = [
            gsps.Mark(n, finding, _drawn(finding))
            for n, finding in enumerate(result.findings, start=1)
            if finding.on is not None and finding.on.view == view.name
        ]
        if marks:
            annotation = gsps.annotation(header, None, marks)
            state = gsps.state([header], [annotation], _voi(view), result, source, author, f"GSPS {view.name}")
            state.InstanceNumber = len(states) + 1
            states.append(state)
    return states


def _drawn(finding: Finding) -> tuple[gsps.Points, ...]:
    assert finding.on is not None  # noqa: S101  # the caller asked
    return (outline(finding.on) if finding.on.outline_ji else centre(finding.on),)


def _voi(view: View) -> SoftcopyVOILUTTransformation:
    """Return what the shown image's own header asks for: its first table or window; else its range of values."""
    header = view.shown.header
    table = header.get("VOILUTSequence")
    if table:
        return SoftcopyVOILUTTransformation(voi_luts=[_table(table[0])])
    middle, width = number(header, "WindowCenter"), number(header, "WindowWidth")
    if middle is not None and width is not None and width >= 1:
        function = texts(header, "VOILUTFunction").upper()
        return SoftcopyVOILUTTransformation(middle, width, voi_lut_function=function or None)
    return SoftcopyVOILUTTransformation(*_range(view))


def _table(item: Dataset) -> VOILUT:
    """Return a table with its entries spread to 16 bits: highdicom 0.28.2 writes no other depth between 8 and 16."""
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * (entries or 2**16) else "<u2")
    full = np.rint(np.asarray(data, dtype=np.float64) * (2**16 - 1) / (2**bits - 1)).astype(np.uint16)
    return VOILUT(first, full, texts(item, "LUTExplanation") or None)


def _range(view: View) -> tuple[float, float]:
    stored, padded = read_padded(view.shown)
    values = stored[~padded] if not padded.all() else stored.ravel()
    low, high = (float(v) for v in np.percentile(values, (LOWEST, HIGHEST)))
    return (low + high) / 2, max(high - low, 1.0)
