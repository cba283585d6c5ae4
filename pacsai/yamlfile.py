"""YAML files into frozen models, with errors a person can act on. Both the site file and manifests come through here.

Knows no key by itself: the models do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class FileError(ValueError):
    """The file cannot be used. The message has one line per problem: where, what was given, what is expected."""


def read_model(path: Path, model: type[Model]) -> Model:
    """Return the `model` that stands in the YAML file `path`; its folder is the validation context's `folder`.

    Raises
    ------
    FileError
        With one line per problem; an unknown key is told with the nearest known one.
    """
    given = _read(path, model)
    try:
        return model.model_validate(given, context={"folder": path.resolve().parent})
    except ValidationError as error:
        lines = [_sentence(dict(problem), given, model) for problem in error.errors(include_url=False)]
        raise FileError("\n".join(lines)) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _read(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    try:
        given = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 (a SafeLoader)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FileError(f"{path}: not a YAML file: {' '.join(str(error).split())}") from None
    if not isinstance(given, dict):
        raise FileError(f"{path}: expected a mapping with the keys {', '.join(model.model_fields)}")
    return given


def _sentence(problem: Mapping[str, Any], given: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return one line on a pydantic problem: where, what was given, what is expected."""
    where = _dotted_key(problem["loc"], given)
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_suggestion(problem['loc'], model)}"
    expected = re.sub(r"^(Value error, |Input )", "", problem["msg"])
    if problem["type"] == "missing":
        return f"{where}: missing; it must be given"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):  # settings that contradict each other
        return f"{where}: {expected}" if where else expected
    return f"{where}: given {_shown(problem['input'])}; {expected}"


def _dotted_key(loc: tuple[int | str, ...], given: object) -> str:
    """Return `loc` as people write it, without pydantic's names of union members, which are no keys of the file."""
    parts: list[str] = []
    for number, part in enumerate(loc, start=1):
        if isinstance(given, dict) and (part in given or number == len(loc)):
            given = given.get(part)
        elif isinstance(given, list) and isinstance(part, int):
            given = given[part]
        else:
            continue
        parts.append(str(part))
    return ".".join(parts)


def _suggestion(loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    known = _known_keys(loc[:-1], model)
    near = difflib.get_close_matches(str(loc[-1]), known, n=1, cutoff=0.5)
    listed = f"known here: {', '.join(known)}"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed


def _known_keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Return the keys of the section at `loc`; an archive's `kind`, part of the location, says which one it is."""
    models: list[type[BaseModel]] = [model]
    for part in loc:
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
        elif len(models) > 1:
            models = [model for model in models if get_args(model.model_fields["kind"].annotation) == (part,)]
    return [name for model in models for name in model.model_fields]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _shown(value: object) -> str:
    """Return `value` for an error line: short, and without the password of a URL."""
    text = re.sub(r"//[^/@]*@", "//…@", repr(value))
    return text if len(text) <= 80 else text[:79] + "…"
