"""From a study to what a pipeline's `analyse` is given: a volume, a volume for each sequence, or an exam of images.

Selects by headers, reads pixels, and says why there is nothing to give. One path for every kind of input; what the
study before adds is comparison.py's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pacsai.bodypart import recognise
from pacsai.exam import Exam, View
from pacsai.pipeline import Condition, Manifest
from pacsai.selection import Candidate, Selection, select
from pacsai.selection.mg_select import select_views
from pacsai.selection.mr_select import select_sequences
from pacsai.sequences import Sequences
from pacsai.sighting import seen_exam
from pacsai.study import Instance, Study
from pacsai.volume import GeometryError, PixelError, Volume, read_volume


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """What a pipeline is given of a study, and what it is made of.

    Attributes
    ----------
    given : Volume, Sequences, Exam or None
        The argument of `analyse`; None where there is none, and `refusal` says why.
    used : mapping of str to Candidate
        The sequences in it; {} for a single volume.
    remarks : tuple of str
        What a reader of the result should know of the images.
    earlier : Images or None
        Those of the study that this one is compared with.
    reports : tuple of Instance
        What told the findings of that study.
    """

    selection: Selection
    given: Volume | Sequences | Exam | None
    refusal: str = ""
    used: Mapping[str, Candidate] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    earlier: Images | None = None
    reports: tuple[Instance, ...] = ()

    @property
    def volume(self) -> Volume | None:
        """Return the voxels that results are written on: the volume, or the reference sequence's; None for an exam."""
        if isinstance(self.given, Exam):
            return None
        return self.given.volumes[self.given.reference] if isinstance(self.given, Sequences) else self.given

    @property
    def views(self) -> tuple[View, ...]:
        """Return the views of an exam that was read; () for any other input."""
        return self.given.views if isinstance(self.given, Exam) else ()

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Return all that a result depends on: of every sequence, and of the study before; () for none."""
        taken = tuple(self.used.values()) or tuple(filter(None, (self.selection.taken,)))
        own = tuple(instance for candidate in taken for instance in candidate.instances)
        return (*own, *self._only_analysed, *(self.earlier.instances if self.earlier else ()), *self.reports)

    @property
    def beside(self) -> tuple[Instance, ...]:
        """Return the images of the study that were read beside those that results are written on."""
        on = self.selection.taken.instances if self.selection.taken else ()
        others = (candidate.instances for candidate in self.used.values() if candidate.instances != on)
        return (*(instance for instances in others for instance in instances), *self._only_analysed)

    @property
    def _only_analysed(self) -> tuple[Instance, ...]:
        """Return the mammograms that were analysed where results are drawn on another image of the same exposure."""
        return tuple(one.analysed for one in self.selection.views if one.analysed is not one.shown)


def chosen(study: Study, manifest: Manifest, accepts: Mapping[str, Condition]) -> Selection:
    """Return the images of `study` that the pipeline may see, by headers; see `selection`."""
    if manifest.input == "images":
        return select_views(study, accepts, manifest.prefers)
    return select_sequences(study, accepts, manifest.sequences) if manifest.sequences else select(study, accepts)


def gather(study: Study, manifest: Manifest, accepts: Mapping[str, Condition]) -> Images:
    """Return what the pipeline of `manifest` is given of `study` under the rules `accepts`, read into memory."""
    selection = chosen(study, manifest, accepts)
    if selection.taken is None and not selection.unnamed:
        return Images(selection, None, selection.reason)
    try:
        if manifest.input == "images":
            return _exam(study, manifest, accepts)
        assert selection.taken is not None  # noqa: S101  only mammograms are unnamed
        return _sequences(selection, manifest) if manifest.sequences else _volume(selection.taken, selection, accepts)
    except (GeometryError, PixelError) as error:
        return Images(selection, None, str(error))


def _exam(study: Study, manifest: Manifest, accepts: Mapping[str, Condition]) -> Images:
    """Return the views of the exam; what is missing of it, and what is to be known of a view, is said."""
    selection, exam = seen_exam(study, accepts, manifest.prefers)
    if exam is None:
        return Images(selection, None, selection.reason)
    missing = f"the exam lacks {', '.join(exam.missing)}" if exam.missing else ""
    notes = (f"{view.name}: {note}" for view in exam.views for note in view.notes)
    return Images(selection, exam, remarks=tuple(filter(None, (*selection.remarks, missing, *notes))))


def _volume(taken: Candidate, selection: Selection, accepts: Mapping[str, Condition]) -> Images:
    """Return the selected volume where its voxels show the wanted part of the body."""
    volume = read_volume(taken.instances)
    wanted = accepts.get("BodyPart")
    seen = recognise(volume) if wanted else None
    if wanted and seen and seen.name not in wanted.values:
        return Images(selection, None, f"the images do not show {' or '.join(wanted.values)}: {seen.reason}")
    return Images(selection, volume)


def _sequences(selection: Selection, manifest: Manifest) -> Images:
    """Return the sequences; an optional one whose pixels cannot be read is left out, and that is said."""
    volumes: dict[str, Volume] = {}
    remarks = list(selection.remarks)
    for name, candidate in selection.sequences.items():
        try:
            volumes[name] = read_volume(candidate.instances)
        except (GeometryError, PixelError) as error:
            if manifest.sequences[name] == "required":
                raise
            remarks.append(f"{name} was left out: {error}")
    used = {name: selection.sequences[name] for name in volumes}
    return Images(selection, Sequences(volumes, manifest.reference), used=used, remarks=tuple(remarks))
