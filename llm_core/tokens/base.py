"""What every tokenizer shares: checks, special tokens, and the JSON file."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import regex
import torch

from llm_core.files import read_json, write_json
from llm_core.validate import require_text


class Tokenizer(ABC):
    """Turns text into token ids and back.

    Attributes:
        kind: the name in the "kind" field of a saved tokenizer.
        special_tokens: text of each special token -> its id. Special tokens stay whole: no other
            token is ever made from a part of one.
    """

    kind: ClassVar[str]
    special_tokens: dict[str, int]

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """V, the number of tokens; ids run from 0 to V - 1."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of the tokens of `text`; no ids for the empty text."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that `ids` stand for."""

    @abstractmethod
    def token(self, id: int) -> str:
        """Return one token in a printable form: a space shows as ␣, a line end as \\n."""

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """Return what the JSON file holds beside "kind"."""

    @classmethod
    @abstractmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        """Make the tokenizer from what `_fields` returned."""

    def save(self, path: str | Path) -> None:
        """Write the tokenizer to a JSON file, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_json(path, {"kind": self.kind, **self._fields()})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a tokenizer that `save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: not JSON, another kind of tokenizer, or contents that do not fit together.
        """
        fields = read_fields(path)
        if fields["kind"] != cls.kind:
            raise ValueError(
                f"{path} holds a tokenizer of kind {fields['kind']!r}, and {cls.__name__} reads "
                f"{cls.kind!r}; load_tokenizer(path) reads every kind"
            )
        try:
            return cls._from_fields(fields)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problem = f"no field {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(
                f"{path} is not a whole {cls.kind} tokenizer: {problem}. "
                "Train and save it again, or restore it from a copy."
            ) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}(vocab_size={self.vocab_size})"


def read_fields(path: str | Path) -> dict[str, Any]:
    """Return the contents of a tokenizer file: a dictionary with at least a "kind".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not JSON, or JSON of something else.
    """
    fields = read_json(path)
    if not isinstance(fields, dict) or "kind" not in fields:
        raise ValueError(
            f"{path} is JSON, but not a tokenizer: it has no field 'kind'. "
            "Give a file that a tokenizer's save(path) wrote."
        )
    return fields


def require_unicode(name: str, text: Any, *, allow_empty: bool = False) -> None:
    """Raise unless `text` is a string that UTF-8 can hold (no half of a surrogate pair).

    Raises:
        TypeError: not a string.
        ValueError: empty (unless allowed), or with a lone surrogate; the message says where.
    """
    if not (allow_empty and text == ""):
        require_text(name, text)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds half of a surrogate pair at position {error.start}, which is no "
            "character; read the file with errors='replace'"
        ) from error


def require_special_tokens(special_tokens: Any) -> list[str]:
    """Return `special_tokens` as a list, or raise unless they are distinct texts without spaces.

    Raises:
        TypeError: not a collection of strings.
        ValueError: an empty one, one with white space, or one twice.
    """
    if isinstance(special_tokens, str) or not isinstance(special_tokens, Iterable):
        raise TypeError(
            "special_tokens must be a list of strings such as ['<|endoftext|>'], "
            f"not {special_tokens!r}"
        )
    tokens = list(special_tokens)
    for token in tokens:
        require_unicode("special_tokens: each token", token)
        if regex.search(r"\s", token):
            raise ValueError(
                f"special_tokens: {token!r} contains white space; write it like '<|name|>'"
            )
    if len(set(tokens)) != len(tokens):
        raise ValueError(f"special_tokens holds a token twice: {tokens}")
    return tokens


def special_pattern(special_tokens: Iterable[str]) -> regex.Pattern | None:
    """Return a pattern that finds special tokens, the longest first; None if there are none."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    if not longest_first:
        return None
    return regex.compile("(" + "|".join(map(regex.escape, longest_first)) + ")")


def split_special(text: str, pattern: regex.Pattern | None) -> Iterator[tuple[str, bool]]:
    """Yield the parts of `text` in order, each with whether it is a special token."""
    parts = pattern.split(text) if pattern else [text]
    for i, part in enumerate(parts):  # split() puts what the group caught at odd places
        if part:
            yield part, i % 2 == 1


def require_id_list(ids: Any, vocab_size: int) -> list[int]:
    """Return `ids` as a list of Python ints, each in [0, vocab_size).

    Args:
        ids: a list, a tuple or a range of whole numbers, or a 1-D tensor or array of them.
        vocab_size: V.

    Raises:
        TypeError: something else, or an entry that is not a whole number.
        ValueError: a tensor or array with more than one axis.
        IndexError: an id outside the vocabulary.
    """
    if isinstance(ids, torch.Tensor | np.ndarray):
        if ids.ndim != 1:
            raise ValueError(
                f"ids must have one axis, but its shape is {tuple(ids.shape)}; "
                "decode one row at a time, for example ids[0]"
            )
        ids = ids.tolist()
    if not isinstance(ids, list | tuple | range):
        raise TypeError(
            f"ids must be a list of token ids, not {type(ids).__name__}; "
            "for one token write decode([id])"
        )
    for position, id in enumerate(ids):
        if isinstance(id, bool) or not isinstance(id, int | np.integer):
            raise TypeError(f"ids must hold whole numbers, but ids[{position}] is {id!r}")
        if not 0 <= id < vocab_size:
            raise IndexError(
                f"ids[{position}] is {id}, outside the vocabulary 0 to {vocab_size - 1}; "
                "were these ids made by another tokenizer?"
            )
    return list(ids)


def printable(token: bytes) -> str:
    """Return a token's bytes in a form that shows what is there.

    A space becomes ␣, a line end \\n; bytes that are no character by themselves, and characters
    that cannot be seen, become escapes such as \\xe2.
    """
    text = token.decode("utf-8", errors="backslashreplace").replace(" ", "␣")
    seen = (c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return "".join(seen)
