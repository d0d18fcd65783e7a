"""Stories drawn from the grammar, their exact probability, and the entropy floor of their text."""

import math
import random
import re
from dataclasses import dataclass

from llm_core.corpus.forms import FORMS, SLOT_WORDS
from llm_core.corpus.plot import tell_story
from llm_core.corpus.telling import Reader, Writer
from llm_core.corpus.words import STORY_END, WORD_PATTERN
from llm_core.validate import require_positive_int, require_text


def stories(n_stories: int, seed: int = 0) -> list[str]:
    """Return `n_stories` stories; the same seed gives the same ones, and a longer list begins
    with the shorter one.

    Args:
        n_stories: how many, at least 1. A story has about 300 bytes.
        seed: any whole number.

    Returns:
        The stories, each one line of text without STORY_END.

    Raises:
        TypeError, ValueError: `n_stories` or `seed` is no such number.
    """
    return [story for story, _ in _draw(n_stories, seed)]


def story_log_prob(story: str) -> float:
    """Return ln p(story), in nats: the exact probability that the grammar writes this story.

    Args:
        story: one story without STORY_END, as `stories` gives it.

    Raises:
        TypeError: `story` is not a string.
        ValueError: the grammar cannot write it; the message says which sentence is wrong and why.
    """
    require_text("story", story)
    reader = Reader(story)
    tell_story(reader)
    reader.finish()
    return reader.log_prob


@dataclass(frozen=True)
class StoriesFloor:
    """The least loss that any model of the stories can reach, in nats, and its precision.

    A model meets this loss on average over whole stories that it reads from their first token, each
    with the STORY_END and the newline after it, if it has seen only finished stories before.

    Attributes:
        per_story: the entropy of a story, estimated as the mean of -ln p(story).
        per_token: `per_story` over the mean number of word-level tokens (WORD_PATTERN) of a story,
            its STORY_END and newline included.
        per_byte: `per_story` over the mean number of bytes, counted in the same way.
        standard_error: of `per_story`, from the spread between stories.
        standard_error_per_token: the same for `per_token`.
        tokens_per_story: mean number of word-level tokens.
        bytes_per_story: mean number of bytes.
        n_stories: how many stories the means are over.
    """

    per_story: float
    per_token: float
    per_byte: float
    standard_error: float
    standard_error_per_token: float
    tokens_per_story: float
    bytes_per_story: float
    n_stories: int


def entropy_floor(n_stories: int = 2000, seed: int = 1) -> StoriesFloor:
    """Estimate the entropy of the stories per story, per word-level token and per byte, in nats.

    The grammar is unambiguous, so -ln p(story) is exact; only the mean over stories is an estimate.

    Args:
        n_stories: how many stories to draw, at least 2.
        seed: which stories; any whole number.

    Raises:
        TypeError, ValueError: `n_stories` or `seed` is no such number.
    """
    drawn = _draw(n_stories, seed)
    if n_stories < 2:
        raise ValueError("n_stories must be at least 2, so that the spread can be measured, not 1")
    surprises = [-log_prob for _, log_prob in drawn]
    ends = [story + STORY_END + "\n" for story, _ in drawn]
    tokens = [len(re.findall(WORD_PATTERN, text)) for text in ends]
    per_story, n_tokens = _mean(surprises), _mean(tokens)
    n_bytes = _mean([len(text.encode()) for text in ends])
    per_token = per_story / n_tokens
    # The error of a ratio of means comes from the spread of (surprise - ratio * tokens).
    rests = [s - per_token * n for s, n in zip(surprises, tokens, strict=True)]
    return StoriesFloor(
        per_story=per_story,
        per_token=per_token,
        per_byte=per_story / n_bytes,
        standard_error=_standard_error(surprises),
        standard_error_per_token=_standard_error(rests) / n_tokens,
        tokens_per_story=n_tokens,
        bytes_per_story=n_bytes,
        n_stories=n_stories,
    )


def story_vocabulary() -> list[str]:
    """Return every word and punctuation mark that a story can hold, sorted, without STORY_END."""
    words = {word for options in SLOT_WORDS.values() for word in options}
    for template in FORMS.values():
        words.update(re.findall(WORD_PATTERN, re.sub(r"{\w+}", " ", template)))
    return sorted(words)


def _draw(n_stories: int, seed: int) -> list[tuple[str, float]]:
    """Return stories with the ln p that accumulated while they were drawn."""
    require_positive_int("n_stories", n_stories)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be a whole number, not {seed!r}")
    rng = random.Random(seed)
    drawn = []
    for _ in range(n_stories):
        writer = Writer(rng)
        tell_story(writer)
        drawn.append((" ".join(writer.sentences), writer.log_prob))
    return drawn


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def _standard_error(values: list[float]) -> float:
    mean, n = _mean(values), len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
