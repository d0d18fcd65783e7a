"""The token explorer as a Python object: state, ids, saved picture, bad input. No browser."""

import base64
import io
import re
from typing import Any

import numpy as np
import pytest
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer
from llm_core.widgets.tokens import (
    DEFAULT_VOCAB_SIZE,
    MOST_CHARACTERS,
    UNKNOWN_ID,
    TokenExplorer,
    merge_table,
)

END = "<|endoftext|>"
CORPUS = "Tom had a hat. That cat had the hat. The chat of the cats that had hats. " * 3
CHARS = CharTokenizer.train(CORPUS, [END])
WORDS = WordTokenizer.train(CORPUS, special_tokens=[END])
BPE = BPETokenizer.train(CORPUS, 281, [END])
TEXT = "The cat had a hat."


def explorer(text: str = TEXT, **settings: Any) -> TokenExplorer:
    return TokenExplorer(CHARS, WORDS, BPE, text, **settings)


def table_of(widget: TokenExplorer) -> np.ndarray:
    packed = widget.arrays["merges"]
    return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])


def test_it_saves_view_picture_and_stable_text() -> None:
    data, metadata = explorer()._repr_mimebundle_()
    again, _ = explorer()._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain", "image/png"}
    assert data["image/png"] == again["image/png"], "two runs must save the same picture"
    assert data["text/plain"] == again["text/plain"] == repr(explorer())
    height, width, _ = imread(io.BytesIO(base64.b64decode(data["image/png"]))).shape
    assert width > 600
    assert height > 250
    assert metadata["image/png"]["alt"] == explorer().describe()


def test_the_module_is_one_file_without_imports() -> None:
    code = str(TokenExplorer._esm)
    assert code.count("export default") == 1
    assert "const kit = " in code
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert not re.search(r"https?://", code + str(TokenExplorer._css))


def test_all_merges_give_the_ids_of_encode() -> None:
    widget = explorer()
    assert widget.merges == widget.n_merges == len(BPE.merges)
    assert widget.ids() == BPE.encode(TEXT)
    assert widget.char_ids == CHARS.encode(TEXT)
    assert widget.word_ids == WORDS.encode(TEXT)
    assert widget.char_names[3] == "␣"
    assert widget.word_names == ["The", "cat", "had", "a", "hat", "."]
    assert [widget.names[id] for id in widget.ids()] == [BPE.token(id) for id in BPE.encode(TEXT)]
    assert widget.n_bytes == len(TEXT)
    assert widget.sizes == [CHARS.vocab_size, WORDS.vocab_size]


def test_no_merges_give_bytes_and_some_give_a_smaller_tokenizer() -> None:
    widget = explorer(merges=0)
    assert widget.ids() == list(TEXT.encode())
    for n in (1, 5, 12):
        widget.merges = n
        small = BPETokenizer({id: BPE.vocab[id] for id in range(256 + n)}, BPE.merges[:n])
        assert widget.ids() == small.encode(TEXT)


def by_table(pieces: list[list[int]], table: np.ndarray, n: int) -> list[int]:
    """What the browser does with the pieces and the merges that were sent."""
    merge_of = {(int(a), int(b)): (rank, int(c)) for rank, (a, b, c) in enumerate(table[:n])}
    ids: list[int] = []
    for piece in pieces:
        piece = list(piece)
        while True:
            found = [
                (*merge_of[pair], i)
                for i, pair in enumerate(zip(piece, piece[1:], strict=False))  # noqa: RUF007
                if pair in merge_of
            ]
            if not found:
                break
            _, new_id, i = min(found, key=lambda entry: (entry[0], entry[2]))
            piece[i : i + 2] = [new_id]
        ids += piece
    return ids


@settings(deadline=None, max_examples=50)
@given(st.text(alphabet="That cthe. hé🦊\n", min_size=1, max_size=30), st.integers(0, 24))
def test_what_is_sent_is_enough_to_encode_any_text(text: str, n: int) -> None:
    widget = explorer(text, merges=n)
    assert by_table(widget.pieces, table_of(widget), n) == widget.ids()
    assert [b for piece in explorer(text).pieces for b in piece] == list(text.encode())


def test_the_table_names_the_tokens_of_each_merge() -> None:
    for (left, right), row in zip(BPE.merges, merge_table(BPE).tolist(), strict=True):
        assert [BPE.vocab[id] for id in row] == [left, right, left + right]
    assert merge_table(BPETokenizer(BPE.vocab, [], BPE.special_tokens)).shape == (0, 3)


def test_special_tokens_stay_whole_in_all_three() -> None:
    widget = explorer(f"Tom{END}The")
    for ids, tokenizer in (
        (widget.char_ids, CHARS),
        (widget.word_ids, WORDS),
        (widget.ids(), BPE),
    ):
        assert tokenizer.special_tokens[END] in ids
    assert widget.char_names[3] == END
    assert [BPE.special_tokens[END]] in widget.pieces


def test_what_is_unknown_is_marked_and_counted() -> None:
    widget = explorer("The zebra! 🦊")
    assert widget.char_ids.count(UNKNOWN_ID) == 5, "z b r ! and the fox"
    assert widget.word_ids == [*WORDS.encode("The"), 0, 0, 0]
    assert widget.word_names[1] == "zebra", "the word itself is shown, not <unk>"
    text = widget.describe()
    assert "Characters: 12 tokens, 1.25 bytes per token, 5 unknown." in text
    assert "Words: 4 tokens, 3.75 bytes per token, 3 unknown." in text
    assert re.search(r"Byte pairs: \d+ tokens, [\d.]+ bytes per token\. \d", text)


def test_the_text_says_what_the_last_merge_makes() -> None:
    widget = explorer(merges=0)
    assert widget.describe().endswith(
        f"0 of {widget.n_merges} merges applied; every byte is a token."
    )
    widget.merges = 1
    left, right = BPE.merges[0]
    assert f'merge 1 makes "{(left + right).decode()}"' in widget.describe().replace("␣", " ")


def test_halves_are_rounded_as_in_the_browser() -> None:
    assert "1.13 bytes per token" in explorer("aaaaaaaé").describe(), "9 bytes for 8 characters"


def test_the_state_lives_in_the_widget() -> None:
    one, other = explorer(), explorer()
    one.text, one.merges = "chat", 3
    assert (other.text, other.merges) == (TEXT, len(BPE.merges))
    assert one.n_bytes == 4
    assert one.picture() != other.picture()


def test_without_tokenizers_it_takes_the_stories() -> None:
    widget = TokenExplorer(text="The queen")
    assert len(widget.ids()) <= 3
    assert widget.n_merges <= DEFAULT_VOCAB_SIZE - 256
    assert TokenExplorer().picture()


def test_a_long_text_is_cut_and_says_so() -> None:
    widget = explorer("hat " * 100)
    assert len(widget.char_ids) == MOST_CHARACTERS
    assert f"first {MOST_CHARACTERS} of 400 characters" in widget.notice
    assert len(widget.ids()) == len(BPE.encode("hat " * 50))
    widget.text = "hat"
    assert widget.notice == ""
    assert widget.picture()


@pytest.mark.parametrize("bad", ["", "a\ud800"])
def test_a_bad_text_from_the_page_keeps_the_picture(bad: str) -> None:
    widget = explorer()
    before = widget.pieces
    widget.text = bad
    assert "text" in widget.notice
    assert "still shows the text before" in widget.notice
    assert widget.pieces is before


@pytest.mark.parametrize("text", ["$x$ and $\\alpha$", "\n\t\x00", "東京 👩‍🚀", " ", "a" * 200])
def test_any_text_can_be_drawn(text: str, recwarn: pytest.WarningsRecorder) -> None:
    assert explorer(text).picture()
    assert not [w for w in recwarn if "Glyph" in str(w.message)], "a sign that the font lacks"


def test_unknown_tokens_are_drawn_with_a_broken_line_and_a_question_mark() -> None:
    figure = Figure()
    explorer("Tom 🦊").draw(figure)
    characters = figure.axes[0]
    assert [patch.get_linestyle() for patch in characters.patches][-1] == "--"
    assert "?" in [text.get_text() for text in characters.texts]
    assert all(patch.get_linestyle() == "-" for patch in figure.axes[2].patches)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"text": ""}, ValueError, "text is empty"),
        ({"text": None}, TypeError, "text must be a string"),
        ({"text": b"abc"}, TypeError, "text must be a string"),
        ({"chars": None}, ValueError, "chars is missing; give all three"),
        ({"bpe": WORDS}, TypeError, "bpe must be a BPETokenizer, not WordTokenizer"),
        ({"words": "words"}, TypeError, "words must be a WordTokenizer, not str"),
        ({"merges": -1}, traitlets.TraitError, r"merges must lie in \[0, 24\], but it is -1"),
        ({"merges": 25}, traitlets.TraitError, "merges must lie in"),
        ({"merges": "all"}, traitlets.TraitError, "merges"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    given_ = {"chars": CHARS, "words": WORDS, "bpe": BPE, "text": TEXT, **arguments}
    with pytest.raises(error, match=words):
        TokenExplorer(**given_)


def test_too_many_merges_are_refused_and_change_nothing() -> None:
    widget = explorer(merges=5)
    with pytest.raises(traitlets.TraitError, match="merges must lie in"):
        widget.merges = 1000
    assert widget.merges == 5
