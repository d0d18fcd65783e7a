"""`predict` and `reveal`: a guess before the next cell runs, shown beside what came of it."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from llm_core.exercises import markup
from llm_core.exercises.show import clean, describe, number

_guesses: dict[str, Any] = {}
"""The guesses of this session, by id."""
_CLOSE = 0.02
"""The share of the outcome by which a guess may miss it and is still called close."""


@dataclass(frozen=True, repr=False)
class Note:
    """A sentence with details under it, as text and as HTML."""

    word: str
    sentence: str
    details: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        lines = [f"{self.word} {self.sentence}".strip()]
        return "\n".join(lines + [f"  {label}: {text}" for label, text in self.details])

    def _repr_html_(self) -> str:
        parts = [markup.labelled(label, text) for label, text in self.details]
        return markup.card("note", self.word, self.sentence, *parts)


def predict(id: str, guess: Any = None) -> Note:
    """Record your guess of what the next cell will show.

    Args:
        id: what is guessed, such as "attention.spread".
        guess: a number, a word, anything; None when you have not guessed yet.

    Returns:
        A note that shows itself at the end of a cell.

    Raises:
        TypeError: `id` is not a string.
    """
    _require_id(id)
    if guess is None:
        _guesses.pop(id, None)
        return Note("No guess yet.", "Put yours in place of None before you run the next cell.")
    _guesses[id] = guess
    return Note("Noted.", f"Your guess: {_text(guess)}. Now run the next cell.")


def reveal(id: str, outcome: Any, explanation: str = "") -> Note:
    """Show what came, beside your guess.

    Args:
        id: as given to `predict`.
        outcome: what came; with a number, the guess is compared with it.
        explanation: why, in a sentence or two.

    Returns:
        A note that shows itself at the end of a cell.

    Raises:
        TypeError: `id` or `explanation` is not a string.
    """
    _require_id(id)
    if not isinstance(explanation, str):
        raise TypeError(f"explanation must be a string, not {type(explanation).__name__}")
    guess = _guesses.get(id)
    details = [("Your guess", "none" if guess is None else _text(guess))]
    details.append(("What came", _text(outcome)))
    if guess is not None:
        compared = _compare(guess, outcome)
        if compared:
            details.append(("Compared", compared))
    if explanation:
        details.append(("Why", explanation))
    return Note("Guess and outcome.", "", tuple(details))


def _compare(guess: Any, outcome: Any) -> str:
    """Put the guess in relation to the outcome, or return an empty string."""
    a, b = _number(guess), _number(outcome)
    if a is not None and b is not None:
        return _compare_numbers(a, b)
    if isinstance(guess, str) and isinstance(outcome, str):
        same = guess.strip().casefold() == outcome.strip().casefold()
        return "the same" if same else "not the same"
    if isinstance(guess, bool) and isinstance(outcome, bool):
        return "the same" if guess is outcome else "the opposite"
    return ""


def _compare_numbers(guess: float, outcome: float) -> str:
    """Return difference and ratio of two numbers in words."""
    if not (math.isfinite(guess) and math.isfinite(outcome)):
        return "the same" if guess == outcome else ""
    if math.isclose(guess, outcome, rel_tol=1e-3, abs_tol=1e-9):
        return "the guess is right"
    gap = abs(guess - outcome)
    side = "above" if guess > outcome else "below"
    if gap <= _CLOSE * abs(outcome):
        return f"the guess is close, {number(gap, 3)} {side} the outcome"
    text = f"the guess is {number(gap, 3)} {side} the outcome"
    if guess * outcome > 0:
        larger, smaller = max(abs(guess), abs(outcome)), min(abs(guess), abs(outcome))
        which = "as large" if abs(guess) > abs(outcome) else "smaller"
        text += f", {number(larger / smaller, 3)} times {which}"
    return text


def _number(value: Any) -> float | None:
    """Return a number, or a tensor or array with one entry, as a float; else None."""
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        one = value.numel() if isinstance(value, torch.Tensor) else value.size
        value = value.item() if one == 1 else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _text(value: Any) -> str:
    """Return a value as the learner would write it down, numbers with three digits."""
    as_number = _number(value)
    if as_number is not None and not isinstance(value, int):
        return number(as_number, 3)
    return clean(value) if isinstance(value, str) else describe(value)


def _require_id(id: Any) -> None:
    """Raise unless `id` is a string."""
    if not isinstance(id, str) or not id:
        raise TypeError(
            f"the id of a prediction must be a string such as 'attention.spread', not {id!r}; "
            "is the order of the arguments right?"
        )
