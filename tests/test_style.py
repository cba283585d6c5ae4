"""The figures that keep the house liveable: short functions, small modules, everything said once in a docstring."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*ROOT.glob("pacsai/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


def function_lengths() -> list[int]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    return [(function.end_lineno or 0) - function.lineno + 1 for function in functions]


def module_lengths() -> dict[str, int]:
    return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in SOURCES}


def test_functions_are_short() -> None:
    lengths = sorted(function_lengths())
    assert statistics.median(lengths) <= 12
    assert lengths[int(0.9 * len(lengths))] <= 35
    assert lengths[-1] <= 60


def test_modules_are_small() -> None:
    lengths = module_lengths()
    assert {name: length for name, length in lengths.items() if length > 400} == {}
    assert sum(length > 300 for length in lengths.values()) <= 0.05 * len(lengths)


def test_every_module_says_what_it_is_for() -> None:
    silent = [path.name for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert silent == []
