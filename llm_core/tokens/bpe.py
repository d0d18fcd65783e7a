"""Byte-level byte-pair encoding, the tokenizer of GPT-2 and, in essence, of its successors."""

import heapq
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from llm_core.tokens import gpt2_format
from llm_core.tokens.base import (
    Tokenizer,
    printable,
    require_id_list,
    require_special_tokens,
    require_unicode,
    special_pattern,
    split_special,
)
from llm_core.tokens.bpe_training import (
    Pair,
    count_words,
    learn_merges,
    merge_pair,
    words_of,
)
from llm_core.tokens.reading import cut_at_words, texts_of
from llm_core.validate import require_positive_int

if TYPE_CHECKING:
    import tokenizers

MAX_CACHED_WORDS = 1 << 16
LONG_WORD = 64
"""Words of more bytes than this are encoded by a heap, in n log n steps, and are not cached."""


class BPETokenizer(Tokenizer):
    """Byte-level byte-pair encoding: bytes, and merges of pairs of tokens learned from a text.

    Any text can be encoded, since any text is bytes, and `decode(encode(text)) == text`. Text is
    first cut into words (`GPT2_PATTERN`), and no token runs across two. A special token in the
    text always becomes its own id: take care with text that strangers write.

    >>> tokenizer = BPETokenizer.train("low low lower lowest", vocab_size=259)
    >>> tokenizer.merges
    [(b'o', b'w'), (b'l', b'ow'), (b' ', b'low')]
    >>> [tokenizer.token(id) for id in tokenizer.encode("lower low")]
    ['low', 'e', 'r', '␣low']

    Args:
        vocab: id -> the token's bytes, for the ids 0 to V - 1, special tokens included.
        merges: pairs of tokens to join, the first learned first.
        special_tokens: text of each special token -> its id.

    Attributes:
        vocab: as given.
        merges: as given.

    Raises:
        TypeError, ValueError: parts of the wrong type, or that do not fit together.
    """

    kind = "bpe"

    def __init__(
        self,
        vocab: dict[int, bytes],
        merges: list[tuple[bytes, bytes]],
        special_tokens: dict[str, int] | None = None,
    ) -> None:
        self.vocab = dict(vocab)
        self.merges = [(left, right) for left, right in merges]
        self.special_tokens = dict(special_tokens or {})
        require_special_tokens(self.special_tokens)
        id_of = _ordinary_ids(self.vocab, self.special_tokens)
        _require_consistent_merges(self.merges, id_of)
        self._byte_ids = [id_of[bytes([byte])] for byte in range(256)]
        # pair of ids -> (rank, id of the merged token); the lowest rank is merged first
        self._merge_of: dict[Pair, Pair] = {
            (id_of[left], id_of[right]): (rank, id_of[left + right])
            for rank, (left, right) in enumerate(self.merges)
        }
        self._special_pattern = special_pattern(self.special_tokens)
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls, text_or_path: str | Path, vocab_size: int, special_tokens: Iterable[str] = ()
    ) -> Self:
        """Learn merges from a text until the vocabulary has `vocab_size` tokens.

        Ids: the 256 bytes are 0 to 255, then come the merged tokens in the order in which they
        were learned, then the special tokens. Of equally frequent pairs, the one with the
        greatest bytes is merged first. A progress bar shows when it takes longer than 5 seconds.

        Args:
            text_or_path: the text, or a UTF-8 file of it: a Path, or a string that names a file
                that is there. A file is read in parts and may be larger than memory.
            vocab_size: V, 256 bytes and the special tokens counted. When the text is too short
                for so many merges, the vocabulary stays smaller, with a warning.
            special_tokens: texts to keep whole, for example `["<|endoftext|>"]`; no merge is
                learned from them or across them.

        Raises:
            TypeError: an argument of the wrong type.
            ValueError: empty text, a file that is not UTF-8, or a vocab_size without room for the
                bytes and the special tokens.
            FileNotFoundError: a path to a file that is not there.
        """
        specials = require_special_tokens(special_tokens)
        require_positive_int("vocab_size", vocab_size)
        n_merges = vocab_size - 256 - len(specials)
        if n_merges < 0:
            raise ValueError(
                f"vocab_size is {vocab_size}, but the 256 bytes and {len(specials)} special tokens "
                f"already need {256 + len(specials)}; give at least that, and more for merges"
            )
        counts = count_words(texts_of(text_or_path), special_pattern(specials))
        merges = learn_merges(counts, n_merges)
        if len(merges) < n_merges:
            warnings.warn(
                f"the text gave only {len(merges)} merges: the vocabulary has "
                f"{256 + len(merges) + len(specials)} tokens, not {vocab_size}; give more text",
                stacklevel=2,
            )
        tokens = [bytes([byte]) for byte in range(256)]
        tokens += [left + right for left, right in merges]
        tokens += [special.encode("utf-8") for special in specials]
        first_special = len(tokens) - len(specials)
        special_ids = {text: first_special + i for i, text in enumerate(specials)}
        return cls(dict(enumerate(tokens)), merges, special_ids)

    @classmethod
    def from_gpt2(
        cls, vocab_path: str | Path, merges_path: str | Path, special_tokens: Iterable[str] = ()
    ) -> Self:
        """Read a tokenizer from files in GPT-2's format.

        Args:
            vocab_path: a `vocab.json`.
            merges_path: a `merges.txt`.
            special_tokens: texts to keep whole. One that is in the vocabulary keeps its id; the
                others come after it. Tokens of the vocabulary that are not named here and that
                no merge makes, such as GPT-2's `<|endoftext|>`, can be decoded only.

        Raises:
            FileNotFoundError: one of the files is not there.
            ValueError: a file is damaged, or the two do not fit together.
        """
        specials = require_special_tokens(special_tokens)
        names = gpt2_format.read_vocab_file(vocab_path)
        lines = gpt2_format.read_merges_file(merges_path)
        try:
            vocab = gpt2_format.unspell_vocab(names, specials)
            special_ids = {text: names[text] for text in specials if text in names}
            for text in specials:
                if text not in special_ids:
                    special_ids[text] = len(vocab)
                    vocab[len(vocab)] = text.encode("utf-8")
            return cls(vocab, gpt2_format.unspell_merges(lines), special_ids)
        except ValueError as error:
            raise ValueError(
                f"{vocab_path} and {merges_path} are no whole GPT-2 tokenizer: {error}"
            ) from error

    @property
    def vocab_size(self) -> int:
        return len(self.vocab)

    def encode(self, text: str) -> list[int]:
        """Return the ids of the tokens of `text`.

        Raises:
            TypeError: text is not a string.
            ValueError: text holds a lone surrogate, which is no character.
        """
        require_unicode("text", text, allow_empty=True)
        ids: list[int] = []
        for part, is_special in split_special(text, self._special_pattern):
            if is_special:
                ids.append(self.special_tokens[part])
                continue
            for word in words_of(part):
                ids.extend(self._cache.get(word) or self._encode_word(word))
        return ids

    def encode_iterable(self, lines: Iterable[str]) -> Iterator[int]:
        """Yield the ids of a long text piece by piece, for example from an open file.

        The ids are those of `encode("".join(lines))`; no more than a few lines are in memory.

        Args:
            lines: strings, in order; where they are cut does not matter.

        Raises:
            TypeError: lines is one string, or holds something else than strings.
        """
        if isinstance(lines, str) or not isinstance(lines, Iterable):
            raise TypeError(
                "lines must be an iterable of strings, such as an open file, not "
                f"{type(lines).__name__}; for one string call encode(text)"
            )
        return (id for text in cut_at_words(lines) for id in self.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids`.

        Ids in an order that `encode` would not give may not be valid UTF-8 (half a character, for
        example, as a model may sample it); such bytes become the replacement character �.

        Raises:
            TypeError, ValueError, IndexError: see `require_id_list`.
        """
        known = require_id_list(ids, self.vocab_size)
        return b"".join(self.vocab[id] for id in known).decode("utf-8", errors="replace")

    def token(self, id: int) -> str:
        return printable(self.vocab[require_id_list([id], self.vocab_size)[0]])

    def save_gpt2(self, folder: str | Path) -> None:
        """Write `vocab.json` and `merges.txt` in GPT-2's format into `folder`.

        Which tokens are special is not part of the format: name them again in `from_gpt2`.

        Raises:
            OSError: the folder cannot be written.
            ValueError: a special token is written like another token of the vocabulary.
        """
        names = gpt2_format.spell_vocab(self.vocab, self.special_tokens)
        gpt2_format.write_files(folder, names, gpt2_format.spell_merges(self.merges))

    def to_hf(self) -> "tokenizers.Tokenizer":
        """Return the same tokenizer as a fast one of Hugging Face's `tokenizers`, with equal ids.

        The two may differ on characters that are newer than the Unicode tables of either library.

        Raises:
            ImportError: `tokenizers` is not installed.
            ValueError: a special token is written like another token of the vocabulary.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise ImportError(
                "to_hf() needs the package tokenizers; install it with 'pip install tokenizers'"
            ) from error
        merges = [(gpt2_format.spell(a), gpt2_format.spell(b)) for a, b in self.merges]
        names = gpt2_format.spell_vocab(self.vocab, self.special_tokens)
        fast = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=names, merges=merges))
        fast.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        fast.decoder = tokenizers.decoders.ByteLevel()
        fast.add_special_tokens(
            [tokenizers.AddedToken(t, normalized=False, special=True) for t in self.special_tokens]
        )
        return fast

    def _encode_word(self, word: str) -> list[int]:
        """Return the ids of one word, and remember them if the word is short."""
        ids = [self._byte_ids[byte] for byte in word.encode("utf-8")]
        if len(ids) > LONG_WORD:
            return self._merge_by_heap(ids)
        ids = self._merge(ids)
        if len(self._cache) >= MAX_CACHED_WORDS:
            self._cache.clear()
        self._cache[word] = ids
        return ids

    def _merge(self, ids: list[int]) -> list[int]:
        """Apply to `ids` the merges in the order in which they were learned."""
        never = (len(self.merges), 0)
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda p: self._merge_of.get(p, never))
            if pair not in self._merge_of:
                break
            ids = merge_pair(ids, pair, self._merge_of[pair][1])
        return ids

    def _merge_by_heap(self, ids: list[int]) -> list[int]:
        """Do the same as `_merge` in n log n steps, for a "word" such as a million spaces.

        A heap holds every pair that can be merged, the lowest rank and then the leftmost first.
        Tokens form a linked list, in which a merged token takes the place of its left part.
        """
        following = [*range(1, len(ids)), -1]
        preceding = list(range(-1, len(ids) - 1))
        heap: list[tuple[int, int, Pair]] = []

        def push(i: int) -> None:
            j = following[i]
            if j >= 0 and (ids[i], ids[j]) in self._merge_of:
                pair = (ids[i], ids[j])
                heapq.heappush(heap, (self._merge_of[pair][0], i, pair))

        ids = list(ids)
        for i in range(len(ids)):
            push(i)
        while heap:
            _, i, pair = heapq.heappop(heap)
            j = following[i]
            if j < 0 or (ids[i], ids[j]) != pair:
                continue  # one of the two has been merged in the meantime
            ids[i], ids[j] = self._merge_of[pair][1], -1
            following[i] = following[j]
            if following[i] >= 0:
                preceding[following[i]] = i
            push(i)
            if preceding[i] >= 0:
                push(preceding[i])
        return [id for id in ids if id >= 0]

    def _fields(self) -> dict[str, Any]:
        ordinary = {id: t for id, t in self.vocab.items() if id not in self.special_tokens.values()}
        return {
            "special_tokens": self.special_tokens,
            "vocab": gpt2_format.spell_vocab(ordinary, {}),
            "merges": gpt2_format.spell_merges(self.merges),
        }

    @classmethod
    def _from_fields(cls, fields: dict[str, Any]) -> Self:
        vocab = gpt2_format.unspell_vocab(fields["vocab"], ())
        for text, id in fields["special_tokens"].items():
            if id in vocab:
                raise ValueError(f"the special token {text!r} has the id {id} of another token")
            vocab[id] = text.encode("utf-8")
        return cls(vocab, gpt2_format.unspell_merges(fields["merges"]), fields["special_tokens"])


def _ordinary_ids(vocab: dict[int, bytes], special_tokens: dict[str, int]) -> dict[bytes, int]:
    """Return token -> id without the special tokens, or raise if the vocabulary is not sound."""
    if not all(type(id) is int for id in [*vocab, *special_tokens.values()]):
        raise TypeError("vocab must map whole numbers, the ids, to bytes")
    if not all(isinstance(token, bytes) for token in vocab.values()):
        raise TypeError("vocab must map ids to bytes objects, such as b'the'")
    missing = next((id for id in range(len(vocab)) if id not in vocab), None)
    if missing is not None:
        raise ValueError(f"vocab must have the ids 0 to {len(vocab) - 1}, but {missing} is missing")
    for text, id in special_tokens.items():
        if vocab.get(id) != text.encode("utf-8"):
            raise ValueError(f"vocab[{id}] is not the special token {text!r}")
    ids = set(special_tokens.values())
    ordinary = {token: id for id, token in vocab.items() if id not in ids}
    if len(ordinary) != len(vocab) - len(ids):
        raise ValueError("vocab holds a token twice")
    for byte in range(256):
        if bytes([byte]) not in ordinary:
            raise ValueError(
                f"vocab lacks the byte 0x{byte:02x}; a byte-level vocabulary has all 256 as tokens"
            )
    for text in special_tokens:
        if text.encode("utf-8") in ordinary:
            raise ValueError(
                f"the special token {text!r} is also an ordinary token; choose a text that other "
                "text does not hold, such as '<|name|>'"
            )
    return ordinary


def _require_consistent_merges(merges: list[tuple[bytes, bytes]], id_of: dict[bytes, int]) -> None:
    """Raise unless each merge joins bytes or results of earlier merges to a token of the vocab."""
    made = {bytes([byte]) for byte in range(256)}
    for rank, (left, right) in enumerate(merges):
        if left not in made or right not in made:
            part = right if left in made else left
            raise ValueError(
                f"merges are inconsistent: merge {rank} joins {part!r}, which is no byte and no "
                "result of an earlier merge; was the file sorted or cut?"
            )
        if left + right not in id_of:
            raise ValueError(
                f"merges are inconsistent: merge {rank} makes {left + right!r}, which is not in "
                "the vocabulary; do the vocabulary and the merges belong together?"
            )
        made.add(left + right)
    if len(set(merges)) != len(merges):
        raise ValueError("merges are inconsistent: a pair is merged twice")
