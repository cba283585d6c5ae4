"""The pipeline contract: a manifest (data) and a class with `analyse` (code), in one folder.

A pipeline folder holds `manifest.yaml`, and `pipeline.py` with two functions::

    def load(weights: Path | None) -> Pipeline: ...   # the class, with its networks
    def phantom(seed: int, full: bool = False) -> Phantom: ...   # a generated case with known lesions

Registration is that the folder exists. Knows nothing of the network, of jobs or of how results are encoded; finding
and checking folders is registry.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydicom.datadict import tag_for_keyword

from pacsai.finding import Result
from pacsai.sequences import NAMES, Sequences

if TYPE_CHECKING:  # manifests are read in milliseconds; voxels bring scipy with them
    from pacsai.exam import Exam
    from pacsai.volume import Volume

NODE_TERMS = ("BodyPart", "instances")
"""Acceptance keys of the node's own: the recognised body part, the number of images. Others are DICOM keywords."""
PARAMETERS = {"volumes": "sequences", "images": "exam"}
"""What the parameter of `analyse` is called where it is not called like the input."""


class Condition(BaseModel):
    """What one acceptance rule asks: one of `values`, or a number from `min` to `max`, both included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        if isinstance(value, str | int | float):
            return {"values": (str(value),)}
        if isinstance(value, list):
            return {"values": tuple(str(item) for item in value)}
        return value

    @model_validator(mode="after")
    def _asks_something(self) -> Condition:
        if not self.values and self.min is None and self.max is None:
            raise ValueError("asks nothing: give a value, a list of values, or {min: …, max: …}")
        return self


class Resources(BaseModel):
    """Limits an analysis runs under."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: Literal["none", "optional", "required"] = "none"
    memory_gb: float = Field(default=4, gt=0)
    timeout_s: float = Field(default=900, gt=0)


class Weights(BaseModel):
    """A weights file of the pipeline's folder, pinned by its digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.(safetensors|onnx)$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture: str


class Manifest(BaseModel):
    """manifest.yaml: everything the node must know of a pipeline without loading its code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    title: str
    accepts: dict[str, Condition]
    input: Literal["volume", "volumes", "images", "study"]
    sequences: dict[str, Literal["required", "optional"]] = {}
    weights: Weights | None = None
    more_weights: tuple[Weights, ...] = ()
    """Further files, pinned likewise, that `load` finds beside the one it is given."""
    resources: Resources = Resources()
    writes: tuple[Literal["SEG", "SR", "GSPS", "SC", "KO", "CADSR"], ...]
    intended_use: Literal["research"]
    prefers: Literal["FOR PRESENTATION", "FOR PROCESSING"] = "FOR PRESENTATION"
    """What is analysed of a mammogram that a study holds in both forms; results are drawn on the one for people."""
    prior: bool = False
    """Whether it compares with the patient's earlier study, which the node then looks for."""

    @model_validator(mode="after")
    def _accepts_known_keywords(self) -> Manifest:
        for keyword in self.accepts:
            if keyword not in NODE_TERMS and tag_for_keyword(keyword) is None:
                raise ValueError(f"accepts: {keyword!r} is no DICOM keyword and none of {', '.join(NODE_TERMS)}")
        return self

    @model_validator(mode="after")
    def _names_its_sequences(self) -> Manifest:
        if (self.input == "volumes") != bool(self.sequences):
            raise ValueError(
                "sequences: they belong to input: volumes, which names at least one, and to no other input"
            )
        if unknown := [name for name in self.sequences if name not in NAMES]:
            raise ValueError(f"sequences: {unknown[0]!r} is none of {', '.join(NAMES)}")
        if self.sequences and self.sequences[self.reference] != "required":
            raise ValueError(f"sequences: {self.reference} stands first, so it is the reference: it must be required")
        return self

    @model_validator(mode="after")
    def _has_weights_before_more(self) -> Manifest:
        if self.more_weights and self.weights is None:
            raise ValueError("more_weights: they belong beside weights, which the manifest does not name")
        return self

    @property
    def all_weights(self) -> tuple[Weights, ...]:
        """Return every file of weights, the one that `load` is given first."""
        return (self.weights, *self.more_weights) if self.weights else ()

    @property
    def reference(self) -> str:
        """Return the sequence on whose grid results are written, the first one; "" where there are no sequences."""
        return next(iter(self.sequences), "")

    @property
    def parameter(self) -> str:
        """Return what the one parameter of the pipeline's `analyse` is called."""
        return PARAMETERS.get(self.input, self.input)


class Pipeline(Protocol):
    """What every pipeline has, whatever it reads."""

    def analyse(self, images: Any, /) -> Result:
        """Return what was found. Pure: no files, no network, no clock; the same images give the same result."""


class VolumePipeline(Protocol):
    """A pipeline that reads one volume (`input: volume`)."""

    def analyse(self, volume: Volume, /) -> Result:
        """Return what was found in the volume; see `Pipeline`."""


class SequencesPipeline(Protocol):
    """A pipeline that reads several sequences of a study and of the one before it (`input: volumes`)."""

    def analyse(self, sequences: Sequences, /) -> Result:
        """Return what was found, masks on the grid of the reference; see `Pipeline`."""


class ExamPipeline(Protocol):
    """A pipeline that reads the mammograms of an exam (`input: images`); its result has a `Reading`."""

    def analyse(self, exam: Exam, /) -> Result:
        """Return what was found, each finding `on` a view; see `Pipeline`.

        What no header tells is the pipeline's to see: an image that shows no breast, or two, ends in *not analysed*.
        """


@dataclass(frozen=True, slots=True)
class Lesion:
    """What a phantom holds: a lesion of known place and size, `kind` in plain words ("solid, wall-attached")."""

    centre_mm: tuple[float, float, float]
    diameter_mm: float
    kind: str


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """A generated case and its truth: one volume, or sequences of which `volume` is the reference."""

    volume: Volume
    lesions: tuple[Lesion, ...]
    sequences: Sequences | None = None

    @property
    def images(self) -> Volume | Sequences:
        """Return what `analyse` is given."""
        return self.sequences or self.volume


@dataclass(frozen=True, slots=True)
class ExamLesion:
    """What a generated exam holds: a lesion on one view, place and radius in its pixels, `kind` in plain words."""

    view: str
    centre_ji: tuple[float, float]
    radius: float
    kind: str
    malignant: bool


@dataclass(frozen=True, slots=True, eq=False)
class ExamPhantom:
    """A generated exam and its truth."""

    images: Exam
    lesions: tuple[ExamLesion, ...]
