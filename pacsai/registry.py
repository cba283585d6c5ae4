"""Which pipelines there are: finding their folders, reading manifests, verifying weights, loading, checking.

Reading manifests loads no pipeline code and no torch, so that it can be asked in milliseconds.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import cast

import pacsai
from pacsai.finding import Result
from pacsai.pipeline import ExamPhantom, Manifest, Phantom, Pipeline, Weights
from pacsai.yamlfile import FileError, read_model

BUILT_IN = Path(pacsai.__file__).resolve().parents[1] / "pipelines"
ENTRY_POINTS = "pacsai.pipelines"


class PipelineError(Exception):
    """A pipeline that cannot be used; the message names it and says why."""


@dataclass(frozen=True)
class Package:
    """A pipeline folder and its manifest, code not yet loaded."""

    folder: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """Return the pipeline's name."""
        return self.manifest.name

    @cached_property
    def model_digest(self) -> str:
        """Return the SHA-256 of the weights, or of pipeline.py where a pipeline has no weights.

        Several files have the digest of their digests, one after another.
        """
        digests = [weights.sha256 for weights in self.manifest.all_weights]
        if len(digests) > 1:
            return hashlib.sha256("".join(digests).encode()).hexdigest()
        return digests[0] if digests else _sha256(self.folder / "pipeline.py")

    def verified_weights(self) -> Path | None:
        """Return the weights file, after the bytes of every such file were found to have the manifest's digest.

        Raises
        ------
        PipelineError
            A file is missing or is another one.
        """
        paths = [self._verified(weights) for weights in self.manifest.all_weights]
        return paths[0] if paths else None

    def _verified(self, weights: Weights) -> Path:
        path = self.folder / weights.file
        if not path.is_file():
            raise PipelineError(f"{self.name}: the weights file {weights.file} is missing")
        if (found := _sha256(path)) != weights.sha256:
            raise PipelineError(
                f"{self.name}: {weights.file} has the SHA-256 {found}, and the manifest pins {weights.sha256}"
            )
        return path

    def load(self) -> Pipeline:
        """Return the pipeline, ready to analyse.

        Raises
        ------
        PipelineError
            The weights or the code do not keep the contract.
        """
        path = self.verified_weights()
        factory = getattr(self.module(), "load", None)
        if not callable(factory):
            raise PipelineError(f"{self.name}: pipeline.py has no function load(weights)")
        try:
            loaded = factory(path)
        except Exception as error:
            raise PipelineError(f"{self.name}: load failed, {_first_line(error)}") from error
        _check_signature(self.manifest, loaded)
        return cast(Pipeline, loaded)

    def phantom(self, seed: int = 0, *, full: bool = False) -> Phantom | ExamPhantom:
        """Return a generated case of the pipeline's: a small one for checks, or one of the size of a real study."""
        maker = getattr(self.module(), "phantom", None)
        if not callable(maker):
            raise PipelineError(f"{self.name}: pipeline.py has no function phantom(seed, full)")
        return cast(Phantom | ExamPhantom, maker(seed, full=full))

    def module(self) -> ModuleType:
        """Return the folder's `pipeline` module; relative imports inside the folder work."""
        if self.folder.parent == BUILT_IN:
            return importlib.import_module(f"pipelines.{self.folder.name}.pipeline")
        parent = f"pacsai_pipelines_{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"
        if parent not in sys.modules:
            package = ModuleType(parent)
            package.__path__ = [str(self.folder)]
            sys.modules[parent] = package
        try:
            return importlib.import_module(f"{parent}.pipeline")
        except Exception as error:
            raise PipelineError(f"{self.name}: pipeline.py cannot be imported, {_first_line(error)}") from error


def read_package(folder: Path) -> Package:
    """Return the pipeline in `folder`.

    Raises
    ------
    PipelineError
        No manifest, or one that is not valid; one line for each problem.
    """
    path = folder / "manifest.yaml"
    if not path.is_file():
        raise PipelineError(f"{folder.name}: no manifest.yaml in the folder")
    try:
        manifest = read_model(path, Manifest)
    except FileError as error:
        raise PipelineError(f"{folder.name}: {error}") from error
    if manifest.name != folder.name:
        raise PipelineError(f"{folder.name}: the manifest calls it {manifest.name}; folder and name must agree")
    return Package(folder.resolve(), manifest)


def folders() -> tuple[Path, ...]:
    """Return the pipeline folders: those that came with pacsai, and those of installed packages' entry points."""
    built_in = sorted(path.parent for path in BUILT_IN.glob("*/manifest.yaml"))
    named = (Path(str(point.load().__file__)).parent for point in entry_points(group=ENTRY_POINTS))
    return (*built_in, *named)


def discover(extra: Iterable[Path] = ()) -> tuple[Package, ...]:
    """Return every pipeline, by name; raises PipelineError for the first unusable one or a name used twice."""
    packages: dict[str, Package] = {}
    for folder in (*folders(), *extra):
        package = read_package(folder)
        if package.name in packages:
            raise PipelineError(f"{package.name}: two folders carry this name")
        packages[package.name] = package
    return tuple(packages[name] for name in sorted(packages))


def find(name: str) -> Package:
    """Return the pipeline called `name`, or the one in the folder `name` where it is a path."""
    if "/" in name:
        return read_package(Path(name).resolve())
    packages = {package.name: package for package in discover()}
    if name not in packages:
        raise PipelineError(f"{name}: no such pipeline; there are {', '.join(packages) or 'none'}")
    return packages[name]


def check(folder: Path) -> tuple[str, ...]:
    """Return what is wrong with the pipeline in `folder`, nothing when it keeps the contract.

    Validates the manifest, the weights' digest and shapes, the signature, and runs the pipeline's phantom through it.
    """
    try:
        package = read_package(folder)
        result: object = package.load().analyse(package.phantom().images)
    except PipelineError as error:
        return (str(error),)
    except Exception as error:
        return (f"{folder.name}: the phantom could not be analysed, {_first_line(error)}",)
    if not isinstance(result, Result):
        return (f"{package.name}: analyse returned {type(result).__name__}, not a Result",)
    return ()


def _check_signature(manifest: Manifest, loaded: object) -> None:
    name, wanted = manifest.name, manifest.parameter
    method = getattr(loaded, "analyse", None)
    if not callable(method):
        raise PipelineError(f"{name}: what load returned has no method analyse({wanted})")
    parameters = list(inspect.signature(method).parameters)
    if parameters != [wanted]:
        given = ", ".join(parameters)
        raise PipelineError(f"{name}: analyse takes ({given}), and input: {manifest.input} asks for ({wanted})")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
