"""The word tokenizer: words, punctuation marks and line ends are tokens."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Self

import regex

from llm_core.corpus import WORD_PATTERN
from llm_core.tokens.base import (
    Tokenizer,
    printable,
    require_id_list,
    require_special_tokens,
    require_unicode,
)
from llm_core.validate import require_positive_int

UNKNOWN = "<unk>"
"""The special token, id 0, that stands for every word that the training text did not hold."""

_WORD = regex.compile(WORD_PATTERN)
_SPECIAL = regex.compile(r"<\|[a-z]+\|>")
_NO_SPACE_BEFORE = frozenset(",.?!;:")
_NO_SPACE_AROUND = frozenset("'\n")


class WordTokenizer(Tokenizer):
    """One token for each word, punctuation mark, line end and special token.

    Single spaces between words are implied, so text with other spacing does not come back exactly;
    every story of `corpus.stories` does. A word that was not in the training text becomes
    `<unk>`: what BPE is there to avoid.

    >>> tokenizer = WordTokenizer.train("Tom has a cup. Ann has a hat.")
    >>> tokenizer.decode(tokenizer.encode("Ann has a dog."))
    'Ann has a <unk>.'

    Args:
        tokens: every token in the order of its id; the first is `<unk>`.

    Raises:
        TypeError, ValueError: tokens that are not distinct strings beginning with `<unk>`.
    """

    kind = "word"

    def __init__(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            require_unicode("tokens: each entry", token)
        if not tokens or tokens[0] != UNKNOWN:
            raise ValueError(f"tokens must begin with {UNKNOWN!r}")
        if len(set(tokens)) != len(tokens):
            raise ValueError("tokens holds a token twice")
        self._tokens = list(tokens)
        self._id_of = {token: id for id, token in enumerate(tokens)}
        self.special_tokens = {
            token: id for id, token in enumerate(tokens) if id == 0 or _SPECIAL.fullmatch(token)
        }
        self._no_space_around = _NO_SPACE_AROUND.union(self.special_tokens) - {UNKNOWN}

    @classmethod
    def train(
        cls, text: str, vocab_size: int | None = None, special_tokens: Iterable[str] = ()
    ) -> Self:
        """Make a tokenizer of the words of `text`.

        Ids: `<unk>` 0, then the special tokens (those asked for, then those of the form
        `<|name|>` that the text holds), then the words, the most frequent first and equally
        frequent ones in alphabetical order.

        Args:
            text: the training text.
            vocab_size: keep at most this many tokens, `<unk>` counted; None keeps every word.
            special_tokens: special tokens to have although the text may not hold them; each of
                the form `<|name|>` in small letters.

        Raises:
            TypeError: an argument of the wrong type.
            ValueError: empty text, a special token of another form, or a vocab_size that has no
                room for a word.
        """
        require_unicode("text", text)
        counts = Counter(_WORD.findall(text))
        found = sorted(token for token in counts if _SPECIAL.fullmatch(token))
        asked = [t for t in require_special_tokens(special_tokens) if t != UNKNOWN]
        for token in asked:
            if not _SPECIAL.fullmatch(token):
                raise ValueError(
                    f"special_tokens: {token!r} must have the form '<|name|>' in small letters"
                )
        specials = [UNKNOWN, *dict.fromkeys(asked + found)]
        words = sorted(set(counts) - set(specials), key=lambda word: (-counts[word], word))
        if vocab_size is not None:
            require_positive_int("vocab_size", vocab_size)
            if vocab_size <= len(specials):
                raise ValueError(
                    f"vocab_size is {vocab_size}, but the special tokens {specials} leave no room "
                    f"for words; give at least {len(specials) + 1}"
                )
            words = words[: vocab_size - len(specials)]
        return cls(specials + words)

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Return one id for each word, punctuation mark, line end and special token of `text`.

        Words without an id become `<unk>`, id 0.

        Raises:
            TypeError: text is not a string.
        """
        require_unicode("text", text, allow_empty=True)
        return [self._id_of.get(word, 0) for word in _WORD.findall(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words with single spaces between them.

        There is no space before any of `, . ? ! ; :`, nor on either side of an apostrophe, a
        line end or a special token of the form `<|name|>`.

        Raises:
            TypeError, ValueError, IndexError: see `require_id_list`.
        """
        parts: list[str] = []
        previous = "\n"
        for id in require_id_list(ids, self.vocab_size):
            token = self._tokens[id]
            joined = token in _NO_SPACE_BEFORE or {token, previous} & self._no_space_around
            if not joined:
                parts.append(" ")
            parts.append(token)
            previous = token
        return "".join(parts)

    def token(self, id: int) -> str:
        return printable(self._tokens[require_id_list([id], self.vocab_size)[0]].encode("utf-8"))

    def _fields(self) -> dict[str, Any]:
        return {"tokens": self._tokens}

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        if not isinstance(fields["tokens"], list):
            raise TypeError("tokens must be a list")
        return cls(fields["tokens"])
