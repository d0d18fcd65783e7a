"""The simplest tokenizer: every character is a token."""

from collections.abc import Iterable, Sequence
from typing import Any, Self

from llm_core.tokens.base import (
    Tokenizer,
    printable,
    require_id_list,
    require_special_tokens,
    require_unicode,
    special_pattern,
    split_special,
)


class CharTokenizer(Tokenizer):
    """One token for each character that the training text holds.

    >>> tokenizer = CharTokenizer.train("hello")
    >>> tokenizer.encode("hole")  # e h l o are 0 1 2 3
    [1, 3, 2, 0]

    Args:
        characters: the characters, in the order of their ids.
        special_tokens: texts that become one token each; their ids come after the characters'.

    Raises:
        TypeError, ValueError: characters that are not single and distinct, or special tokens that
            are not distinct texts without white space.
    """

    kind = "char"

    def __init__(self, characters: Sequence[str], special_tokens: Iterable[str] = ()) -> None:
        specials = require_special_tokens(special_tokens)
        for character in characters:
            require_unicode("characters: each entry", character)
            if len(character) != 1 or character in specials:
                raise ValueError(
                    "characters must be single characters that are no special token, "
                    f"but one of them is {character!r}"
                )
        if len(set(characters)) != len(characters):
            raise ValueError("characters holds a character twice")
        self.characters = list(characters)
        self._tokens = self.characters + specials
        self._id_of = {token: id for id, token in enumerate(self._tokens)}
        self.special_tokens = {token: self._id_of[token] for token in specials}
        self._special_pattern = special_pattern(specials)

    @classmethod
    def train(cls, text: str, special_tokens: Iterable[str] = ()) -> Self:
        """Make a tokenizer whose characters are those of `text`, in the order of their code points.

        Args:
            text: the training text.
            special_tokens: texts to keep whole, for example `["<|endoftext|>"]`.

        Raises:
            TypeError: text is not a string.
            ValueError: text is empty.
        """
        require_unicode("text", text)
        specials = require_special_tokens(special_tokens)
        parts = split_special(text, special_pattern(specials))
        characters = {
            character for part, is_special in parts if not is_special for character in part
        }
        return cls(sorted(characters), specials)

    @property
    def vocab_size(self) -> int:
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """Return one id for each character (and each special token) of `text`.

        Raises:
            TypeError: text is not a string.
            ValueError: a character that the training text did not hold; nothing is left out.
        """
        require_unicode("text", text, allow_empty=True)
        ids: list[int] = []
        for part, is_special in split_special(text, self._special_pattern):
            try:
                ids.extend(
                    [self._id_of[part]] if is_special else map(self._id_of.__getitem__, part)
                )
            except KeyError as error:
                raise self._unknown_character(text) from error
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`; `decode(encode(text)) == text` for every text.

        Raises:
            TypeError, ValueError, IndexError: see `require_id_list`.
        """
        return "".join(self._tokens[id] for id in require_id_list(ids, self.vocab_size))

    def token(self, id: int) -> str:
        return printable(self.decode([id]).encode("utf-8"))

    def _unknown_character(self, text: str) -> ValueError:
        """Return the error for the first character of `text` that has no id."""
        position = 0
        for part, is_special in split_special(text, self._special_pattern):
            for offset, character in enumerate("" if is_special else part):
                if character not in self._id_of:
                    return ValueError(
                        f"text holds the character {character!r} (U+{ord(character):04X}) at "
                        f"position {position + offset}, which is not among the "
                        f"{len(self.characters)} characters that this CharTokenizer was trained "
                        "on; train it on text that holds it, or use BPETokenizer, which encodes "
                        "any text"
                    )
            position += len(part)
        raise AssertionError("every character of the text is known")

    def _fields(self) -> dict[str, Any]:
        return {"characters": self.characters, "special_tokens": list(self.special_tokens)}

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        if not isinstance(fields["characters"], list):
            raise TypeError("characters must be a list")
        return cls(fields["characters"], fields["special_tokens"])
