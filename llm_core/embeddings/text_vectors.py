"""Vectors that others have trained, from the text format of GloVe and word2vec."""

import io
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from llm_core.files import existing_file
from llm_core.validate import require_positive_int

TextVectors = tuple[list[str], Tensor]


def load_text_vectors(
    path: str | Path,
    limit: int | None = None,
    only: Collection[str] | None = None,
    member: str | None = None,
) -> TextVectors:
    """Read word vectors from a text file: on each line a word and its numbers, between spaces.

    This is the format of GloVe (https://nlp.stanford.edu/projects/glove/), and that of word2vec,
    which has a first line with two numbers, how many words and how wide. The lines of such files
    are sorted by how often a word occurs, so that a limit keeps the most frequent words.

    Args:
        path: the file, or a `.zip` file that holds it, which need not be unpacked.
        limit: read the first so many words only.
        only: keep these words only; they must lie within `limit`.
        member: name of the file in the `.zip` file; None takes the smallest `.txt` in it.

    Returns:
        The words in the order of the file, and their vectors, (V, C), float32. Of a word that
        occurs twice the first vector counts.

    Raises:
        TypeError: an argument of the wrong type.
        FileNotFoundError: no such file, or no such member.
        ValueError: a line with too few or too many numbers or with something else in their place
            (the message gives the line), no vectors at all, or a damaged `.zip` file.
    """
    path = existing_file(path)
    if limit is not None:
        require_positive_int("limit", limit)
    if isinstance(only, str) or (only is not None and not isinstance(only, Collection)):
        raise TypeError(f"only must be a collection of words, not {only!r}")
    found: dict[str, np.ndarray] = {}
    with _opened(path, member) as file:
        vectors = _vectors(file, path.name, limit)
        for word, numbers in tqdm(
            vectors, f"reading {path.name}", total=limit, unit="word", delay=1
        ):
            if only is None or word in only:
                found.setdefault(word, numbers)
    if not found:
        what = "vectors" if only is None else "vector of the words in only"
        raise ValueError(f"{path} holds no {what}; each line must be a word and its numbers")
    return list(found), torch.from_numpy(np.stack(list(found.values())))  # (V, C)


@contextmanager
def _opened(path: Path, member: str | None) -> Iterator[BinaryIO]:
    """Open a text file, or one inside a `.zip` file, for reading bytes."""
    if path.suffix != ".zip":
        with path.open("rb") as file:
            yield file
        return
    try:
        with (
            zipfile.ZipFile(path) as archive,
            archive.open(_member(archive, path, member)) as file,
        ):
            yield io.BufferedReader(file)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is a damaged .zip file ({error}); download it again") from error


def _member(archive: zipfile.ZipFile, path: Path, member: str | None) -> str:
    """Return the name of the file to read in an archive."""
    texts = sorted((i for i in archive.infolist() if i.filename.endswith(".txt")), key=_size)
    names = [info.filename for info in texts]
    if member is None and names:
        return names[0]
    if member is None or member not in archive.namelist():
        wanted = "no .txt file" if member is None else f"no file {member!r}"
        raise FileNotFoundError(f"{path} holds {wanted}; it holds {archive.namelist()[:8]}")
    return member


def _size(info: zipfile.ZipInfo) -> int:
    return info.file_size


def _vectors(file: BinaryIO, name: str, limit: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each word with its vector; every line must have as many numbers as the first."""
    width = None
    count = 0
    for number, line in enumerate(file, start=1):
        if limit is not None and count == limit:
            return
        parts = _text_of(line, name, number).split(" ")
        if parts == [""] or (number == 1 and _is_header(parts)):
            continue
        width = width or len(parts) - 1
        word = " ".join(parts[: len(parts) - width])
        if width < 1 or not word:
            raise ValueError(
                f"{name}, line {number}: {len(parts)} fields between spaces, but a word and "
                f"{max(width, 1)} numbers were expected; the file may be cut off or damaged"
            )
        yield word, _numbers(parts[len(parts) - width :], name, number)
        count += 1


def _text_of(line: bytes, name: str, number: int) -> str:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name}, line {number}, is not UTF-8 text; is this a file of word vectors as text?"
        ) from error
    return text.rstrip("\r\n ")


def _is_header(parts: list[str]) -> bool:
    """Say whether a first line is word2vec's: how many words, and how wide."""
    return len(parts) == 2 and all(part.isdecimal() for part in parts)


def _numbers(parts: list[str], name: str, number: int) -> np.ndarray:
    """Return the numbers of a line, or raise unless all are finite."""
    try:
        vector = np.array(parts, dtype=np.float32)
    except ValueError as error:
        raise ValueError(
            f"{name}, line {number}: {error}; a word and {len(parts)} numbers were expected"
        ) from error
    if not np.isfinite(vector).all():
        raise ValueError(f"{name}, line {number}: a number is NaN or infinite")
    return vector
