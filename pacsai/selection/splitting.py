"""Parts of a series that belong together: one series may hold several volumes, and odd images beside them.

Images belong together when they agree in what makes them comparable (STANDARDS rule: orientation, matrix, pixel size,
frame of reference, kernel, echo, image type). Knows nothing of what a pipeline wants.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from pacsai.study import Instance, Series
from pacsai.study.header import as_number, number, texts, values

EXACT = (
    "SOPClassUID",
    "Rows",
    "Columns",
    "FrameOfReferenceUID",
    "SamplesPerPixel",
    "ImageType",
    "ConvolutionKernel",
    "EchoTime",
    "InversionTime",
    "TemporalPositionIdentifier",
    "DiffusionBValue",
)
CLOSE = ("ImageOrientationPatient", "PixelSpacing")
TOLERANCE = 1e-3
"""For CLOSE: cosines, and millimetres; scanners write the same plane with different last digits."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Images of one series that may make one volume."""

    series: Series
    instances: tuple[Instance, ...]

    @property
    def header(self) -> Dataset:
        """Return the first image's header, for what the part has in common."""
        return self.instances[0].header

    @property
    def modality(self) -> str:
        """Return the images' own modality; a series may hold a report beside them."""
        return texts(self.header, "Modality").upper()

    @property
    def count(self) -> int:
        """Return the number of slices: images, or frames where there are enhanced multi-frame ones."""
        return sum(max(1, int(number(instance.header, "NumberOfFrames") or 1)) for instance in self.instances)


def split(series: Series, instances: Sequence[Instance]) -> tuple[Part, ...]:
    """Return the parts of `instances`, which are of `series`, the one with most slices first.

    Acquisitions are told apart only where they doubled a position: scanners that step from slice to slice give each
    its own AcquisitionNumber.
    """
    groups = [group for alike in _alike(instances) for group in _close(alike)]
    groups = [group for mixed in groups for group in (_acquisitions(mixed) if _doubled(mixed) else [mixed])]
    parts = [Part(series, tuple(group)) for group in groups]
    return tuple(sorted(parts, key=lambda part: (-part.count, part.instances[0].sop_instance_uid)))


def differences(part: Part, other: Part) -> tuple[str, ...]:
    """Return the attributes in which two parts of a series differ."""
    pairs = ((keyword, texts(part.header, keyword), texts(other.header, keyword)) for keyword in (*EXACT, *CLOSE))
    return tuple(keyword for keyword, one, two in pairs if one != two) or ("AcquisitionNumber",)


def _alike(instances: Iterable[Instance]) -> list[list[Instance]]:
    groups: dict[Hashable, list[Instance]] = defaultdict(list)
    for instance in instances:
        multi_frame = instance.sop_instance_uid if "PerFrameFunctionalGroupsSequence" in instance.header else ""
        key = (texts(instance.header, keyword) for keyword in EXACT)
        groups[(multi_frame, *key)].append(instance)
    return list(groups.values())


def _close(instances: Iterable[Instance]) -> list[list[Instance]]:
    groups: list[tuple[tuple[float, ...], list[Instance]]] = []
    for instance in instances:
        place = tuple(as_number(value) or 0.0 for keyword in CLOSE for value in values(instance.header, keyword))
        for middle, group in groups:
            if len(place) == len(middle) and all(abs(a - b) <= TOLERANCE for a, b in zip(place, middle, strict=True)):
                group.append(instance)
                break
        else:
            groups.append((place, [instance]))
    return [group for _, group in groups]


def _doubled(instances: Sequence[Instance]) -> bool:
    positions = [texts(instance.header, "ImagePositionPatient") for instance in instances]
    return len(set(positions)) < len(positions)


def _acquisitions(instances: Iterable[Instance]) -> list[list[Instance]]:
    groups: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        groups[texts(instance.header, "AcquisitionNumber")].append(instance)
    return list(groups.values())
