"""Reading text in parts, so that a file larger than memory can be tokenized."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import regex
from tqdm.auto import tqdm

from llm_core.files import existing_file
from llm_core.tokens.base import require_unicode
from llm_core.tokens.bpe_training import SECONDS_BEFORE_BAR

_BLOCK = 1 << 20
_LAST_CUT = regex.compile(r"(?s).*\S(?=\s)")


def texts_of(text_or_path: str | Path) -> Iterator[str]:
    """Yield the text, or the text of the file in parts cut between words."""
    path = _path_of(text_or_path)
    if path is None:
        require_unicode("text_or_path", text_or_path)
        yield text_or_path
    else:
        yield from cut_at_words(_blocks(path))


def _path_of(text_or_path: str | Path) -> Path | None:
    """Return the path that `text_or_path` is, or None if it is a text.

    A string is a path if a file has that name, or if it is one word that ends in ".txt".
    """
    if isinstance(text_or_path, os.PathLike):
        return existing_file(Path(text_or_path))
    if not isinstance(text_or_path, str):
        raise TypeError(
            f"text_or_path must be a text or the path of a file, not {type(text_or_path).__name__}"
        )
    if not 0 < len(text_or_path) < 1000 or "\n" in text_or_path or "\0" in text_or_path:
        return None
    try:
        is_file = Path(text_or_path).is_file()
    except (OSError, UnicodeEncodeError):  # too long for a name, or no text at all
        return None
    if is_file or regex.fullmatch(r"\S+\.txt", text_or_path):
        return existing_file(text_or_path)
    return None


def _blocks(path: Path) -> Iterator[str]:
    """Yield the text of a file in blocks of a million characters, with a bar if it takes long."""
    size = path.stat().st_size
    if size == 0:
        raise ValueError(f"text_or_path: the file {path} is empty; give a file with text in it")
    bar = tqdm(total=size, desc="reading", unit="B", unit_scale=True, delay=SECONDS_BEFORE_BAR)
    try:
        with bar, path.open(encoding="utf-8", newline="") as file:
            while block := file.read(_BLOCK):
                yield block
                bar.update(len(block.encode("utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"text_or_path: {path} is not UTF-8 text ({error}); convert it to UTF-8 first"
        ) from error


def cut_at_words(texts: Iterable[str]) -> Iterator[str]:
    """Yield the joined `texts` in parts, cut where a new word begins whatever comes next.

    Between a character that is not white space and one that is, GPT-2's pattern always begins a
    new word, and no special token has white space in it; elsewhere the cut could change the words.
    """
    held = ""
    for text in texts:
        require_unicode("lines: each entry", text, allow_empty=True)
        searched = max(0, len(held) - 1)  # held has no cut, but its last character may make one
        held += text
        cut = _LAST_CUT.match(held, searched)
        if cut:
            yield held[: cut.end()]
            held = held[cut.end() :]
    if held:
        yield held
