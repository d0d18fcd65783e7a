"""Finds the exercises and quizzes of every chapter by id."""

import importlib
import importlib.util
from dataclasses import dataclass
from difflib import get_close_matches

from llm_core.exercises.base import Exercise, Question

CHAPTERS = (
    "00_start_here",
    "01_tokens",
    "02_embeddings",
    "03_positions",
    "04_attention",
    "05_block",
    "06_model",
    "07_training",
    "08_sampling",
    "09_inference",
    "10_modern",
    "11_scaling",
    "12_finetuning",
    "13_interpretability",
    "14_alignment",
)
"""Every chapter of the course in order; `04_attention` keeps its data in `attention.py` here."""


@dataclass(frozen=True)
class Chapter:
    """The exercises and quizzes of one chapter.

    Attributes:
        number: its number as in the file name, "04".
        name: the first part of its ids, "attention".
        exercises: in the order of the notebook.
        quizzes: from id to questions.
    """

    number: str
    name: str
    exercises: tuple[Exercise, ...]
    quizzes: dict[str, tuple[Question, ...]]


def load_chapters() -> list[Chapter]:
    """Return the chapters that this release holds, in course order."""
    found = []
    for stem in CHAPTERS:
        number, name = stem.split("_", 1)
        module_name = f"llm_core.exercises.{name}"
        if importlib.util.find_spec(module_name) is None:
            continue
        module = importlib.import_module(module_name)
        quizzes = dict(getattr(module, "QUIZZES", {}))
        found.append(Chapter(number, name, tuple(module.EXERCISES), quizzes))
    return found


def find_exercise(id: str) -> Exercise:
    """Return the exercise with this id, such as "attention.softmax".

    Raises:
        TypeError: `id` is not a string.
        ValueError: there is no such exercise; the message lists those of its chapter.
    """
    exercises = {e.id: e for chapter in load_chapters() for e in chapter.exercises}
    _require_known("exercise", id, list(exercises))
    return exercises[id]


def find_quiz(id: str) -> tuple[Question, ...]:
    """Return the questions of the quiz with this id, such as "attention.recap".

    Raises:
        TypeError: `id` is not a string.
        ValueError: there is no such quiz; the message lists those of its chapter.
    """
    quizzes = {key: q for chapter in load_chapters() for key, q in chapter.quizzes.items()}
    _require_known("quiz", id, list(quizzes))
    return quizzes[id]


def _require_known(kind: str, id: str, known: list[str]) -> None:
    """Raise unless `id` is one of `known`; suggest the nearest and list the chapter's own."""
    if not isinstance(id, str):
        raise TypeError(
            f"the id of the {kind} must be a string such as 'attention.softmax', "
            f"not {type(id).__name__}; is the order of the arguments right?"
        )
    if id in known:
        return
    nearest = get_close_matches(id, known, n=1, cutoff=0.4)
    nearest = nearest or [k for k in known if k.endswith(f".{id}")][:1]
    chapter = (nearest[0] if nearest else id).split(".")[0]
    own = [k for k in known if k.split(".")[0] == chapter]
    suggestion = f" Did you mean {nearest[0]!r}?" if nearest else ""
    listing = f"chapter {chapter!r} has {', '.join(own)}" if own else f"there are {known}"
    raise ValueError(f"there is no {kind} {id!r}.{suggestion} ({listing})")
