"""Letters for the axes of a case, so that a message can say T where it sees 5."""

import inspect
import re
from functools import lru_cache
from typing import Any

import torch

from llm_core.exercises.base import Case, Exercise
from llm_core.exercises.compare import AxisNames

_SHAPE = re.compile(r"\(((?:\.\.\.|[A-Z][a-z]?)(?:, ?(?:\.\.\.|[A-Z][a-z]?))*,?)\)")


@lru_cache(maxsize=10_000)
def axis_names(exercise: Exercise, case: Case) -> AxisNames:
    """Return from size to letter, for the sizes that stand for exactly one letter in this case.

    The letters are `case.sizes` or, without them, those that the reference's docstring gives
    the arguments: "x: ..., (B, T, C)".
    """
    letters = case.sizes if case.sizes is not None else _letters_of_arguments(exercise, case)
    names: dict[int, str] = {}
    ambiguous = set()
    for letter, size in letters.items():
        if names.setdefault(size, letter) != letter:
            ambiguous.add(size)
    return {size: letter for size, letter in names.items() if size not in ambiguous and size != 1}


def _letters_of_arguments(exercise: Exercise, case: Case) -> dict[str, int]:
    """Match the shapes of the arguments with the letters in the reference's docstring."""
    doc = inspect.getdoc(exercise.reference) or ""
    letters: dict[str, int] = {}
    clashing = set()
    for name, value in named_arguments(exercise, case).items():
        if not isinstance(value, torch.Tensor):
            continue
        for letter, size in _match(_documented_shape(doc, name), tuple(value.shape)).items():
            if letters.setdefault(letter, size) != size:
                clashing.add(letter)
    return {letter: size for letter, size in letters.items() if letter not in clashing}


def named_arguments(exercise: Exercise, case: Case) -> dict[str, Any]:
    """Return the arguments of a case by the names that the reference gives them."""
    kwargs = case.kwargs or {}
    try:
        bound = inspect.signature(exercise.reference).bind(*case.args, **kwargs)
    except (TypeError, ValueError):
        return {f"argument {i + 1}": value for i, value in enumerate(case.args)} | kwargs
    return dict(bound.arguments)


def _documented_shape(doc: str, name: str) -> tuple[str, ...]:
    """Return the letters that follow an argument's name in a docstring, or nothing."""
    match = re.search(rf"(?m)(?<![\w.]){re.escape(name)}\b[^\n(]*?{_SHAPE.pattern}", doc)
    return tuple(p.strip() for p in match.group(1).split(",") if p.strip()) if match else ()


def _match(letters: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, int]:
    """Pair letters with sizes; a leading "..." stands for any axes in front."""
    if letters[:1] == ("...",):
        letters = letters[1:]
        shape = shape[len(shape) - len(letters) :] if len(letters) <= len(shape) else ()
    if "..." in letters or len(letters) != len(shape):
        return {}
    return dict(zip(letters, shape, strict=True))
