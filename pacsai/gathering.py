"""From a study to what a pipeline's `analyse` is given: one volume, or sequences and those of the study before.

Selects by headers, reads voxels, and says why there is nothing to give. One path for every kind of input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pacsai.bodypart import recognise
from pacsai.comparison import Comparison, compared, sequence_volumes
from pacsai.pipeline import Condition, Manifest
from pacsai.selection import Selection, select
from pacsai.selection.mr_select import select_sequences
from pacsai.sequences import Sequences
from pacsai.study import Instance, Study
from pacsai.volume import GeometryError, PixelError, Volume, read_volume


@dataclass(frozen=True, slots=True, eq=False)
class Images:
    """What a pipeline is given of a study, and what it is made of.

    Attributes
    ----------
    given : Volume, Sequences or None
        The argument of `analyse`; None where there is none, and `refusal` says why.
    comparison : Comparison
        The study before, as far as it is used.
    """

    selection: Selection
    given: Volume | Sequences | None
    refusal: str = ""
    comparison: Comparison = field(default_factory=Comparison)

    @property
    def volume(self) -> Volume | None:
        """Return the voxels that results are written on: the volume, or the reference sequence's."""
        return self.given.volumes[self.given.reference] if isinstance(self.given, Sequences) else self.given

    @property
    def instances(self) -> tuple[Instance, ...]:
        """Return all that a result depends on: of every sequence, and of the study before; () for none."""
        taken = self.selection.sequences.values() or filter(None, (self.selection.taken,))
        return (*(one for candidate in taken for one in candidate.instances), *self.comparison.instances)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what a reader of the result should know of the images."""
        return (*self.selection.remarks, *self.comparison.remarks)


def chosen(study: Study, manifest: Manifest, accepts: Mapping[str, Condition]) -> Selection:
    """Return the images of `study` that the pipeline may see, by headers; see `selection`."""
    return select_sequences(study, accepts, manifest.sequences) if manifest.sequences else select(study, accepts)


def gather(study: Study, manifest: Manifest, accepts: Mapping[str, Condition], prior: Study | None = None) -> Images:
    """Return what the pipeline of `manifest` is given of `study`, read into memory.

    Parameters
    ----------
    accepts : mapping
        Acceptance rules, the manifest's or a trial's.
    prior : Study or None
        The patient's earlier study; it is looked at by pipelines of sequences, and never stands in the way.
    """
    selection = chosen(study, manifest, accepts)
    if selection.taken is None:
        return Images(selection, None, selection.reason)
    try:
        if not manifest.sequences:
            return _with_volume(selection, accepts)
        given = Sequences(sequence_volumes(selection), manifest.reference)
    except (GeometryError, PixelError) as error:
        return Images(selection, None, str(error))
    if prior is None:
        return Images(selection, given)
    comparison = compared(study, prior, manifest, accepts)
    return Images(selection, replace(given, prior=comparison.prior), comparison=comparison)


def _with_volume(selection: Selection, accepts: Mapping[str, Condition]) -> Images:
    """Return the selected volume where its voxels show the wanted part of the body."""
    assert selection.taken is not None  # noqa: S101 - asked before
    volume = read_volume(selection.taken.instances)
    wanted = accepts.get("BodyPart")
    seen = recognise(volume) if wanted else None
    if wanted and seen and seen.name not in wanted.values:
        return Images(selection, None, f"the images do not show {' or '.join(wanted.values)}: {seen.reason}")
    return Images(selection, volume)
