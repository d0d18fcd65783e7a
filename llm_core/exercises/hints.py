"""`hint`: one hint at a time, then the solution with its reasoning."""

import inspect
import textwrap
from dataclasses import dataclass

from llm_core.exercises import markup
from llm_core.exercises.base import Exercise, Function
from llm_core.exercises.registry import find_exercise

_shown: dict[str, int] = {}
"""How many hints this session has shown, by exercise."""


@dataclass(frozen=True, repr=False)
class Hint:
    """A hint, or the solution after the last hint; shows itself at the end of a cell.

    Attributes:
        id: the exercise.
        number: 1, 2 or 3 for a hint, 4 for the solution.
        text: the hint, or the reasoning behind the solution.
        code: the solution's code; empty for a hint.
    """

    id: str
    number: int
    text: str
    code: str = ""

    def __repr__(self) -> str:
        if self.code or self.number > 3:
            return "\n\n".join(part for part in (f"Solution: {self.text}", self.code) if part)
        return f"Hint {self.number} of 3: {self.text}\n{self._next()}"

    def _repr_html_(self) -> str:
        if self.number > 3:
            code = markup.preformatted(self.code) if self.code else ""
            solution = f"<p>{markup.paragraph_text(self.text)}</p>{code}"
            return markup.card(
                "note",
                "Solution.",
                "Try once more before you open it.",
                markup.folded("Show the solution and its reasoning", solution),
            )
        after = f'<div style="opacity: 0.8">{markup.paragraph_text(self._next())}</div>'
        return markup.card("note", f"Hint {self.number} of 3.", self.text, after)

    def _next(self) -> str:
        """Say how to go on."""
        what = "the solution" if self.number == 3 else "the next hint"
        return f"Run this cell again for {what}."


def hint(id: str) -> Hint:
    """Show the next hint of an exercise; after the third, its solution.

    Args:
        id: the exercise, such as "attention.softmax".

    Raises:
        TypeError, ValueError: there is no such exercise.
    """
    exercise = find_exercise(id)
    number = min(_shown.get(id, 0) + 1, 4)
    _shown[id] = number
    if number <= 3:
        return Hint(id, number, exercise.hints[number - 1])
    return _solution(exercise)


def _solution(exercise: Exercise) -> Hint:
    """Return the reference's code with the reasoning behind it."""
    return Hint(exercise.id, 4, exercise.solution, source_of(exercise.reference))


def source_of(function: Function) -> str:
    """Return the source of a function, or an empty string when there is none to be had."""
    try:
        return textwrap.dedent(inspect.getsource(function)).rstrip()
    except (OSError, TypeError):
        return ""
