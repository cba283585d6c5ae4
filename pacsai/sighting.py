"""The exam of a study once its pixels were looked at: no image that shows no breast, and views that no header named.

Headers choose (selection/mg_select.py), pixels have a say on what was chosen and on what no header names, and headers
choose again: an exposure that shows no breast leaves its place to an earlier one of the same view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pacsai.exam import Exam, View
from pacsai.mammography import read_array, read_view
from pacsai.pipeline import Condition
from pacsai.selection import Selection
from pacsai.selection.mg_pixels import Seen, coincide, look
from pacsai.selection.mg_select import select_views
from pacsai.study import Instance, Study, mammogram
from pacsai.study.mammogram import VIEW_NAMES
from pacsai.volume import PixelError


def seen_exam(study: Study, accepts: Mapping[str, Condition], prefer: str) -> tuple[Selection, Exam | None]:
    """Return what was chosen, and the exam with its pixels; None where nothing is left to analyse.

    Raises
    ------
    PixelError
        The pixels of a view that a header names cannot be read; the message names the view.
    """
    seen: dict[str, Seen] = {}
    read: dict[str, View] = {}
    while True:
        selection = select_views(study, accepts, prefer, seen)
        unnamed = [image for image in selection.unnamed if image.sop_instance_uid not in seen]
        new = [one for one in selection.views if one.analysed.sop_instance_uid not in read]
        if not unnamed and not new:
            break
        seen |= {image.sop_instance_uid: _seen_unnamed(image) for image in unnamed}
        for one in new:
            view = read[one.analysed.sop_instance_uid] = read_view(one)
            seen.setdefault(one.analysed.sop_instance_uid, look(view.array, one.analysed.header))
            if one.shown is not one.analysed:
                seen[one.shown.sop_instance_uid] = _seen_beside(view)
    told = replace(selection, remarks=(*selection.remarks, *_left_out(study, seen)))
    views = [replace(read[one.analysed.sop_instance_uid], shown=one.shown, notes=one.notes) for one in selection.views]
    return told, Exam(tuple(views), selection.missing_views) if views else None


def _seen_unnamed(image: Instance) -> Seen:
    try:
        return look(read_array(image), image.header)
    except PixelError as error:
        return Seen(reason=str(error))


def _seen_beside(view: View) -> Seen:
    """Return whether the image that results are to be drawn on shows every place at the same pixel."""
    try:
        return Seen(elsewhere=not coincide(view.array, read_array(view.shown)))
    except PixelError:
        return Seen(elsewhere=True)


def _left_out(study: Study, seen: Mapping[str, Seen]) -> Iterator[str]:
    """Yield a sentence for each image that was left out for its pixels."""
    for image in study.instances:
        found = seen.get(image.sop_instance_uid, Seen())
        if found.reason:
            view = mammogram.view(image.header)
            name = f"{mammogram.side(image.header)} {VIEW_NAMES.get(view, '') if view else ''}".strip()
            yield f"{name or 'an image that names no side and view'} was left out: {found.reason}"
