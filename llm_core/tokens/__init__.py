"""Tokenizers by hand: from text to token ids and back.

Three kinds, from the simplest to the one that language models use: `CharTokenizer` (short
vocabulary, long sequences), `WordTokenizer` (short sequences, but unknown words) and
`BPETokenizer` (in between, and no text is unknown).
"""

from pathlib import Path

from llm_core.tokens.base import Tokenizer, read_fields
from llm_core.tokens.bpe import BPETokenizer
from llm_core.tokens.chars import CharTokenizer
from llm_core.tokens.words import WordTokenizer
from llm_core.validate import require_choice

__all__ = ["BPETokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer", "load_tokenizer"]

_KINDS: dict[str, type[Tokenizer]] = {
    tokenizer.kind: tokenizer for tokenizer in (CharTokenizer, WordTokenizer, BPETokenizer)
}


def load_tokenizer(path: str | Path) -> Tokenizer:
    """Read a tokenizer of any kind from the JSON file that its `save` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, not a tokenizer, or damaged.
    """
    kind = read_fields(path)["kind"]
    require_choice(f"{path}: kind", kind, list(_KINDS))
    return _KINDS[kind].load(path)
