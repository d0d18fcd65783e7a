"""From a text's name to batches: what `train` feeds its model, and what it is judged on."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from llm_core.cli.settings import Settings
from llm_core.corpus import (
    STORY_END,
    clean_text,
    load_text,
    split_text,
    stories,
    story_log_prob,
    story_vocabulary,
)
from llm_core.data import IGNORE_INDEX, Batch, get_batch, pad_batch, sequential_batches, windows_at
from llm_core.tokens import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from llm_core.training import count_targets

STORY_START = STORY_END + "\n"
"""What stands before a story: the end of the one before."""

N_VAL_STORIES = 400
"""Stories to validate on; the same for every run, and never among the training stories."""

VAL_STORIES_SEED = 1_000_003
SHARE_ELSEWHERE = 0.25
"""Share of the windows over stories that begin anywhere, as a text that somebody types may."""

MOST_VAL_BYTES = 200_000
"""Validation takes at most this much of a text, so that it stays quick."""


@dataclass(frozen=True)
class Data:
    """A text, ready to train on.

    Attributes:
        tokenizer: trained on the training part.
        next_batch: called with a generator and a device; draws a batch.
        validation: called with a device; the fixed validation batches.
        n_val_tokens, n_val_bytes: size of the validation part.
        summary: one line about the text.
        fingerprint: SHA-256 of the text, to tell a resumed run that it is another.
        floor: least loss possible on the validation part in nats per token, if that is known.
    """

    tokenizer: Tokenizer
    next_batch: Callable[[torch.Generator, torch.device], Batch]
    validation: Callable[[torch.device], list[Batch]]
    n_val_tokens: int
    n_val_bytes: int
    summary: str
    fingerprint: str
    floor: float | None = None


def load_data(settings: Settings, tokenizer: Tokenizer | None = None) -> Data:
    """Load the text, split it, and train a tokenizer on it unless one is given.

    Raises:
        FileNotFoundError, ValueError: there is no such text, or it is too short.
    """
    if settings.is_stories:
        return _stories_data(settings, tokenizer)
    return _text_data(settings, tokenizer)


def _text_data(settings: Settings, tokenizer: Tokenizer | None) -> Data:
    """Random windows of the cleaned text; its last tenth is for validation."""
    text = clean_text(load_text(settings.text))
    train_text, val_text = split_text(text, 0.1)
    val_text = val_text.encode()[:MOST_VAL_BYTES].decode(errors="ignore")
    tokenizer = tokenizer or train_tokenizer(settings, text, train_text)
    ids, val_ids = torch.tensor(tokenizer.encode(train_text)), tokenizer.encode(val_text)
    T = _context_that_fits(settings, len(val_ids), len(text))
    val_row = torch.tensor(val_ids)
    return Data(
        tokenizer=tokenizer,
        next_batch=lambda generator, device: get_batch(
            ids, settings.batch_size, T, device, generator
        ),
        validation=lambda device: list(sequential_batches(val_row, settings.batch_size, T, device)),
        n_val_tokens=len(val_ids),
        n_val_bytes=len(val_text.encode()),
        summary=_summary(settings.text, text, len(ids), tokenizer),
        fingerprint=_fingerprint(text),
    )


def _stories_data(settings: Settings, tokenizer: Tokenizer | None) -> Data:
    """Windows that begin with a story; validation on other stories, each read whole."""
    told = stories(settings.n_stories, seed=settings.seed)
    text = STORY_START + "".join(story + STORY_START for story in told)
    every_word = text + " ".join(story_vocabulary())  # few stories may lack a rare word
    tokenizer = tokenizer or train_tokenizer(settings, every_word, every_word)
    ids = torch.tensor(tokenizer.encode(text))
    starts = story_starts(ids, tokenizer, settings.context_length)
    val_stories = validation_stories(set(told))
    batches = whole_story_batches(val_stories, tokenizer, settings.context_length)
    n_val_tokens = sum(map(count_targets, batches))

    def next_batch(generator: torch.Generator, device: torch.device) -> Batch:
        return story_windows(
            ids, starts, settings.batch_size, settings.context_length, device, generator
        )

    return Data(
        tokenizer=tokenizer,
        next_batch=next_batch,
        validation=lambda device: [(x.to(device), y.to(device)) for x, y in batches],
        n_val_tokens=n_val_tokens,
        n_val_bytes=sum(len((story + STORY_START).encode()) for story in val_stories),
        summary=_summary(f"{len(told):,} stories", text, len(ids), tokenizer),
        fingerprint=_fingerprint(text),
        floor=-sum(map(story_log_prob, val_stories)) / n_val_tokens,
    )


def train_tokenizer(settings: Settings, text: str, train_text: str) -> Tokenizer:
    """Return the kind of tokenizer asked for, trained.

    Characters are taken from the whole text, so that every one in the validation part is known.
    """
    special_tokens = [STORY_END] if STORY_END in train_text else []
    if settings.tokenizer == "char":
        return CharTokenizer.train(text, special_tokens)
    if settings.tokenizer == "word":
        return WordTokenizer.train(train_text, special_tokens=special_tokens)
    return BPETokenizer.train(train_text, settings.vocab_size, special_tokens)


def validation_stories(trained_on: set[str]) -> list[str]:
    """Return stories that are not among those trained on."""
    fresh = [s for s in stories(2 * N_VAL_STORIES, VAL_STORIES_SEED) if s not in trained_on]
    return fresh[:N_VAL_STORIES]


def whole_story_batches(
    whole: Sequence[str], tokenizer: Tokenizer, context_length: int, batch_size: int = 50
) -> list[Batch]:
    """Return batches in which each row is one story, read from its first token to its end.

    The model is given the end of a story before it, and judged on every token of the story, its
    STORY_END and the newline after it: what `corpus.entropy_floor` counts.

    Raises:
        ValueError: a story is longer than the context.
    """
    given = len(tokenizer.encode(STORY_START))
    rows = [tokenizer.encode(STORY_START + story + STORY_START) for story in whole]
    longest = max(map(len, rows)) - 1
    if longest > context_length:
        raise ValueError(
            f"context_length must be at least {longest}, so that a whole story fits, "
            f"but it is {context_length}"
        )
    batches = []
    for i in range(0, len(rows), batch_size):
        x, y = pad_batch(rows[i : i + batch_size], pad_id=0)
        y[:, : given - 1] = IGNORE_INDEX  # what was given is no part of the story
        batches.append((x, y))
    return batches


def story_starts(ids: torch.Tensor, tokenizer: Tokenizer, context_length: int) -> torch.Tensor:
    """Return the places in `ids` where a window of whole length can begin with a story's start.

    Raises:
        ValueError: too few stories to fill one window.
    """
    marks = torch.tensor(tokenizer.encode(STORY_END))
    found = (ids.unfold(0, len(marks), 1) == marks).all(dim=1).nonzero().flatten()
    starts = found[found + context_length + len(marks) + 2 <= len(ids)]
    if len(starts) == 0:
        raise ValueError(
            f"the stories hold {len(ids)} tokens, too few for a window of {context_length}; "
            "give more stories or a smaller context length"
        )
    return starts


def story_windows(
    ids: torch.Tensor,
    starts: torch.Tensor,
    batch_size: int,
    context_length: int,
    device: torch.device,
    generator: torch.Generator,
) -> Batch:
    """Draw windows of stories, (B, T) each: most begin with a story, some anywhere.

    A model that sees a story from its start learns to look things up sooner than one whose windows
    begin in the middle, where what it should look up may be missing. Such a window begins with the
    STORY_END before the story, the newline after that, or the story's first token, so that the
    model later takes a text in any of these forms. The others let it continue any piece of a story.
    """
    first = starts[torch.randint(len(starts), (batch_size,), generator=generator)]  # (B,)
    first = first + torch.randint(3, (batch_size,), generator=generator)
    elsewhere = torch.randint(len(ids) - context_length, (batch_size,), generator=generator)
    chance = torch.rand(batch_size, generator=generator)
    picked = torch.where(chance < SHARE_ELSEWHERE, elsewhere, first)
    return windows_at(ids, picked, context_length, device)


def _context_that_fits(settings: Settings, n_val_tokens: int, n_characters: int) -> int:
    """Return the context length, or raise when the text is too short for it."""
    if n_val_tokens > settings.context_length:
        return settings.context_length
    raise ValueError(
        f"the text {settings.text!r} is too short: with {n_characters} characters its last tenth, "
        f"which is kept for validation, has {n_val_tokens} tokens, and the context length of "
        f"{settings.context_length} needs {settings.context_length + 1}. Give a longer text or a "
        "smaller --context-length."
    )


def _summary(name: str, text: str, n_train_tokens: int, tokenizer: Tokenizer) -> str:
    return (
        f"{name}: {len(text.encode()):,} bytes, {n_train_tokens:,} training tokens "
        f"({tokenizer.kind}, vocabulary {tokenizer.vocab_size:,})"
    )


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
