"""`TokenExplorer`: type a text and see it cut by three tokenizers; watch merges build its words."""

from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from typing import Any

import numpy as np
import regex
import traitlets

from llm_core.corpus import WORD_PATTERN, load_text
from llm_core.tokens import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer
from llm_core.tokens.base import printable, require_unicode, special_pattern, split_special
from llm_core.tokens.bpe_training import words_of
from llm_core.widgets.base import Explorer, in_range, pack

MOST_CHARACTERS = 200
"""More characters than this are cut off: their tokens would no longer fit side by side."""

DEFAULT_TEXT = "The queen has an unbelievable golden ring! 🦊"
DEFAULT_VOCAB_SIZE = 600

UNKNOWN_ID = -1
"""Stands in `char_ids` for a character without an id; the page writes "unknown" under it."""

LINE = 88
"""Width of a line of tokens in the saved picture, in characters."""


class TokenExplorer(Explorer):
    """Type a text and see its tokens: characters, words and byte pairs side by side.

    A slider says how many merges of the byte-pair tokenizer are applied, from none, when every
    byte is a token, to all. The browser applies them itself, as `BPETokenizer.encode` does. What a
    tokenizer does not know is marked by a broken line and in words.

        explorer = TokenExplorer(chars, words, bpe, text="the cat sat")
        explorer.merges = 40

    Args:
        chars, words, bpe: trained tokenizers; None trains all three on the stories of the course.
        text: what is cut first.
        merges: how many merges are applied first; None applies all.

    Attributes:
        text: what is cut; setting it cuts anew.
        merges: number of merges that are applied, 0 to `n_merges`.
        char_names, word_names: the text's tokens in printable form.
        char_ids, word_ids: their ids; `UNKNOWN_ID` for a character that has none, 0 for a word.
        pieces: the bytes of each word (and the id of each special token) before any merge, as ids.
        names: every byte-pair token in printable form, by id.
        n_bytes: length of the text in UTF-8.
        notice: what was left out or refused.

    Raises:
        TypeError: something else than the tokenizers named, or a text that is no string.
        ValueError: an empty text, or some tokenizers given and others not.
    """

    script = "tokens.js"
    style = "tokens.css"

    text = traitlets.Unicode().tag(sync=True)
    merges = traitlets.Int(0).tag(sync=True)
    n_merges = traitlets.Int(0).tag(sync=True)
    char_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    char_ids = traitlets.List(traitlets.Int()).tag(sync=True)
    word_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    word_ids = traitlets.List(traitlets.Int()).tag(sync=True)
    pieces = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sizes = traitlets.List(traitlets.Int()).tag(sync=True)
    n_bytes = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        chars: CharTokenizer | None = None,
        words: WordTokenizer | None = None,
        bpe: BPETokenizer | None = None,
        text: str = DEFAULT_TEXT,
        merges: int | None = None,
    ) -> None:
        self._chars, self._words, self._bpe = _require_tokenizers(chars, words, bpe)
        total = len(self._bpe.merges)
        super().__init__(
            n_merges=total,
            merges=total if merges is None else merges,
            names=[self._bpe.token(id) for id in range(self._bpe.vocab_size)],
            sizes=[self._chars.vocab_size, self._words.vocab_size],
            arrays={"merges": pack(merge_table(self._bpe))},
            text=text,
            **self._read(text),
        )
        self.follow_text(self._read)

    def ids(self) -> list[int]:
        """Return the ids of the text with the present number of merges, as `encode` gives them."""
        return self._with_merges().encode(self._shown_text())

    def describe(self) -> str:
        """Return how many tokens each tokenizer makes; `describe` in tokens.js says the same."""
        parts = [
            self._count("Characters", len(self.char_ids), self.char_ids.count(UNKNOWN_ID)),
            self._count("Words", len(self.word_ids), self.word_ids.count(0)),
            self._count("Byte pairs", len(self.ids()), 0),
        ]
        return (
            f"{self.n_bytes} bytes. {' '.join(parts)} "
            f"{self.merges} of {self.n_merges} merges applied; {self._last_merge()}."
        )

    def draw(self, figure: Any) -> None:
        """Draw the three rows of tokens as boxes with their ids."""
        rows = (
            (f"Characters, V = {self.sizes[0]}", self.char_names, self.char_ids, UNKNOWN_ID),
            (f"Words, V = {self.sizes[1]}", self.word_names, self.word_ids, 0),
            (
                f"Byte pairs, {self.merges} of {self.n_merges} merges applied",
                [self.names[id] for id in self.ids()],
                self.ids(),
                None,
            ),
        )
        lines = [_lines_of(names, ids, unknown) for _, names, ids, unknown in rows]
        axes = figure.subplots(3, 1, height_ratios=[len(line) + 0.6 for line in lines])
        for axis, (title, *_), boxes in zip(axes, rows, lines, strict=True):
            _draw_boxes(axis, boxes)
            axis.set_title(title, fontsize=9, loc="left")

    def _with_merges(self) -> BPETokenizer:
        """Return the byte-pair tokenizer with its first merges alone, under the same ids."""
        bpe = self._bpe
        return BPETokenizer(bpe.vocab, bpe.merges[: self.merges], bpe.special_tokens)

    def _shown_text(self) -> str:
        return self.text[:MOST_CHARACTERS]

    def _count(self, name: str, n_tokens: int, n_unknown: int) -> str:
        unknown = f", {n_unknown} unknown" if n_unknown else ""
        return (
            f"{name}: {n_tokens} tokens, {_ratio(self.n_bytes, n_tokens)} bytes per token{unknown}."
        )

    def _last_merge(self) -> str:
        """Return what the last applied merge makes."""
        if self.merges == 0:
            return "every byte is a token"
        left, right = self._bpe.merges[self.merges - 1]
        made = printable(left + right)
        return f'merge {self.merges} makes "{made}" of "{printable(left)}" and "{printable(right)}"'

    def _read(self, text: str) -> dict[str, Any]:
        """Return the traits that follow from `text`.

        Raises:
            TypeError, ValueError: no string, or an empty one.
        """
        require_unicode("text", text)
        shown = text[:MOST_CHARACTERS]
        char_names, char_ids = _characters(self._chars, shown)
        words = regex.findall(WORD_PATTERN, shown)
        cut = f"Only the first {MOST_CHARACTERS} of {len(text)} characters are shown."
        return {
            "char_names": char_names,
            "char_ids": char_ids,
            "word_names": [printable(word.encode("utf-8")) for word in words],
            "word_ids": self._words.encode(shown),
            "pieces": _pieces(self._bpe, shown),
            "n_bytes": len(shown.encode("utf-8")),
            "notice": cut if len(text) > MOST_CHARACTERS else "",
        }

    @traitlets.validate("merges")
    def _in_range(self, proposal: Any) -> int:
        return in_range(proposal, 0, self.n_merges)


def merge_table(bpe: BPETokenizer) -> np.ndarray:
    """Return (n, 3): for each merge in order the ids of its two tokens and of the one it makes."""
    specials = set(bpe.special_tokens.values())
    id_of = {token: id for id, token in bpe.vocab.items() if id not in specials}
    rows = [(id_of[left], id_of[right], id_of[left + right]) for left, right in bpe.merges]
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _require_tokenizers(
    chars: Any, words: Any, bpe: Any
) -> tuple[CharTokenizer, WordTokenizer, BPETokenizer]:
    """Return the three tokenizers, or those of the course when all are None."""
    if chars is None and words is None and bpe is None:
        return _default_tokenizers()
    wanted: dict[str, tuple[Any, type[Tokenizer]]] = {
        "chars": (chars, CharTokenizer),
        "words": (words, WordTokenizer),
        "bpe": (bpe, BPETokenizer),
    }
    for name, (value, kind) in wanted.items():
        if value is None:
            raise ValueError(f"{name} is missing; give all three tokenizers, or none of them")
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, not {type(value).__name__}")
    return chars, words, bpe


@cache
def _default_tokenizers() -> tuple[CharTokenizer, WordTokenizer, BPETokenizer]:
    """Return the three tokenizers, trained on the stories of the course."""
    stories = load_text("stories")
    end = ["<|endoftext|>"]
    return (
        CharTokenizer.train(stories, end),
        WordTokenizer.train(stories, special_tokens=end),
        BPETokenizer.train(stories, DEFAULT_VOCAB_SIZE, end),
    )


def _ratio(bytes_: int, tokens: int) -> str:
    """Return a ratio with two decimals; halves go up, as in JavaScript."""
    exact = Decimal(bytes_ / tokens if tokens else 0.0)
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def _characters(chars: CharTokenizer, text: str) -> tuple[list[str], list[int]]:
    """Return the printable form and the id of each character and special token of `text`."""
    names: list[str] = []
    ids: list[int] = []
    id_of = {character: id for id, character in enumerate(chars.characters)}
    for part, is_special in split_special(text, special_pattern(chars.special_tokens)):
        if is_special:
            names.append(part)
            ids.append(chars.special_tokens[part])
            continue
        names += [printable(character.encode("utf-8")) for character in part]
        ids += [id_of.get(character, UNKNOWN_ID) for character in part]
    return names, ids


def _pieces(bpe: BPETokenizer, text: str) -> list[list[int]]:
    """Return the ids of the bytes of each word of `text`; a special token is a piece of one id."""
    without_merges = BPETokenizer(bpe.vocab, [], bpe.special_tokens)
    pieces: list[list[int]] = []
    for part, is_special in split_special(text, special_pattern(bpe.special_tokens)):
        words = [part] if is_special else words_of(part)
        pieces += [without_merges.encode(word) for word in words]
    return pieces


def _lines_of(
    names: list[str], ids: list[int], unknown: int | None
) -> list[list[tuple[float, float, str, str, int]]]:
    """Lay tokens out in lines of boxes: (left, width, name, label, id) for each."""
    lines: list[list[tuple[float, float, str, str, int]]] = [[]]
    left = 0.0
    for name, id in zip(names, ids, strict=True):
        label = "?" if id == unknown else str(id)
        width = max(len(name), 0.75 * len(label)) + 0.9
        if left + width > LINE and lines[-1]:
            lines.append([])
            left = 0.0
        lines[-1].append((left, width, name, label, id))
        left += width + 0.25
    return lines


def _draw_boxes(axis: Any, lines: list[list[tuple[float, float, str, str, int]]]) -> None:
    """Draw lines of boxes; a broken line and a question mark stand for what is unknown."""
    from matplotlib.patches import Rectangle

    colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
    for row, boxes in enumerate(lines):
        for left, width, name, label, id in boxes:
            style = {"facecolor": "white", "linestyle": "--"}
            if label != "?":
                style = {"facecolor": (colours[id % len(colours)], 0.25), "linestyle": "-"}
            axis.add_patch(Rectangle((left, row), width, 0.86, edgecolor="0.45", **style))
            middle = left + width / 2
            shown = _drawable(name)
            mono = {"family": "DejaVu Sans Mono", "ha": "center", "va": "center"}
            axis.text(middle, row + 0.29, shown, fontsize=8, **mono)
            axis.text(middle, row + 0.67, label, fontsize=5.5, color="0.35", **mono)
    axis.set(xlim=(-0.2, LINE + 0.4), ylim=(len(lines), -0.05))
    axis.axis("off")


def _drawable(name: str) -> str:
    """Return a token's name with signs that matplotlib's font lacks as boxes."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = get_font(findfont(FontProperties(family="DejaVu Sans Mono")))
    seen = "".join(sign if font.get_char_index(ord(sign)) else "□" for sign in name)
    return seen.replace("$", r"\$")
