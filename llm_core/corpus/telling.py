"""Telling a story: one description of it serves to write stories and to score them.

A story is a row of sentences. Before each one, the plot offers a few `Line`s, each a sentence form
with a weight and with the words that its slots may take. A `Writer` draws one; a `Reader` finds out
which one stands in a given text. Both add up ln p of what was chosen, so sampling and scoring
cannot drift apart.

A text has at most one derivation: no sentence matches two forms (tested), every slot is one word of
its own, and what the plot offers next depends on the sentences so far alone. The sum of ln p
over the choices is therefore the exact ln p(story).
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field

from llm_core.corpus.forms import FORM_PATTERNS, FORMS, split_sentences

MAX_SENTENCES = 9

Values = dict[str, str]
Options = str | tuple[str, ...] | Callable[[Values], str | tuple[str, ...]]


@dataclass(frozen=True)
class Line:
    """One sentence that a plot may tell next.

    Attributes:
        form: a key of FORMS, or None for "the story ends here".
        weight: the line's share among the lines offered with it.
        slots: for each slot one word, a tuple of equally likely words, or a function that gives
            either from the slots before it, in the order of this dictionary.
    """

    form: str | None
    weight: float = 1.0
    slots: dict[str, Options] = field(default_factory=dict)


STOP = Line(None)


class Teller(ABC):
    """Goes through a plot, sentence by sentence, and adds up ln p of the choices."""

    def __init__(self) -> None:
        self.log_prob = 0.0
        self.n_sentences = 0

    def tell(self, *lines: Line) -> tuple[str | None, Values]:
        """Choose one of the lines and the words of its slots; return its form and those words."""
        line = self._line(lines)
        if len(lines) > 1:
            self.log_prob += math.log(line.weight / sum(offered.weight for offered in lines))
        values: Values = {}
        for slot, options in line.slots.items():
            if callable(options):
                options = options(values)
            if isinstance(options, str):
                options = (options,)
            values[slot] = self._word(slot, options)
            self.log_prob -= math.log(len(options))
        if line.form is not None:
            self.n_sentences += 1
            self._told(line.form, values)
        return line.form, values

    @property
    def room(self) -> int:
        """How many sentences still fit before a question and its answer."""
        return MAX_SENTENCES - 2 - self.n_sentences

    @abstractmethod
    def _line(self, lines: tuple[Line, ...]) -> Line:
        """Return one of the lines."""

    @abstractmethod
    def _word(self, slot: str, options: tuple[str, ...]) -> str:
        """Return one of the options."""

    @abstractmethod
    def _told(self, form: str, values: Values) -> None:
        """Take note that a sentence is complete."""


class Writer(Teller):
    """Draws every choice at random and keeps the sentences."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self.rng = rng
        self.sentences: list[str] = []

    def _line(self, lines: tuple[Line, ...]) -> Line:
        if len(lines) == 1:
            return lines[0]
        return self.rng.choices(lines, [line.weight for line in lines])[0]

    def _word(self, slot: str, options: tuple[str, ...]) -> str:
        return options[0] if len(options) == 1 else self.rng.choice(options)

    def _told(self, form: str, values: Values) -> None:
        self.sentences.append(FORMS[form].format(**values))


class Reader(Teller):
    """Recovers every choice from a text.

    Raises (from `tell` and `finish`):
        ValueError: the text leaves the grammar; the message says where.
    """

    def __init__(self, story: str) -> None:
        super().__init__()
        self.sentences = split_sentences(story)
        if " ".join(self.sentences) != story:
            raise ValueError(
                "this is not a story of the grammar: sentences must end with . or ? and be "
                "separated by one space, with nothing before the first or after the last"
            )
        self.found: Values = {}

    def _line(self, lines: tuple[Line, ...]) -> Line:
        sentence = self._sentence()
        for line in lines:
            if line.form is None and sentence is None:
                return line
            if line.form is None or sentence is None:
                continue
            match = FORM_PATTERNS[line.form].fullmatch(sentence)
            if match:
                self.found = match.groupdict()
                return line
        forms = [FORMS[line.form] if line.form else "the end" for line in lines]
        raise self._error(f"here the grammar allows only: {' '.join(forms)}")

    def _word(self, slot: str, options: tuple[str, ...]) -> str:
        word = self.found[slot]
        if word not in options:
            raise self._error(f"here {word!r} cannot be: only {', '.join(options)}")
        return word

    def _told(self, form: str, values: Values) -> None:
        pass

    def finish(self) -> None:
        """Raise unless every sentence has been read."""
        if self._sentence() is not None:
            raise self._error("the story was complete before this sentence")

    def _sentence(self) -> str | None:
        left = self.sentences[self.n_sentences :]
        return left[0] if left else None

    def _error(self, why: str) -> ValueError:
        return ValueError(
            f"this is not a story of the grammar: sentence {self.n_sentences + 1}, "
            f"{self._sentence()!r}: {why}"
        )
