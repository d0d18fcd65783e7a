"""Where a text comes from: the grammar, Python's own documentation, a download, or a file."""

import hashlib
import http.client
import importlib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from llm_core import files
from llm_core.corpus.grammar import stories
from llm_core.corpus.words import STORY_END

TEXT_NAMES = ("stories", "python-docs", "shakespeare")
STORIES_IN_TEXT = 3200
"""How many stories `load_text("stories")` holds: about 1 MB."""

SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
SHAKESPEARE_BYTES = 1_115_394
SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TIMEOUT = 20.0  # seconds that the download waits for an answer

Opener = Callable[..., Any]


def load_text(name_or_path: str | Path) -> str:
    """Return a text to train on.

    Args:
        name_or_path: one of
            "stories": about 1 MB of stories from the grammar, always the same, each followed by
            STORY_END and a newline;
            "python-docs": the help topics that come with this Python, about 0.5 MB;
            "shakespeare": 1.1 MB of plays, downloaded once and kept in `.cache/`;
            or the path of a text file (UTF-8), or of a folder whose `.txt` files are joined in
            the order of their names.

    Raises:
        TypeError: neither a string nor a path.
        FileNotFoundError: no such name, file or folder, or a folder without `.txt` files.
        ValueError: an empty name or text, a file that is not UTF-8, or a damaged download.
        OSError: "shakespeare" is not here yet and cannot be downloaded.
    """
    if not isinstance(name_or_path, (str, Path)):
        raise TypeError(f"name_or_path must be a string or a path, not {name_or_path!r}")
    if name_or_path == "":
        raise ValueError(f"name_or_path is empty; give {_names()} or a path")
    if name_or_path == "stories":
        return "".join(story + STORY_END + "\n" for story in stories(STORIES_IN_TEXT))
    if name_or_path == "python-docs":
        return _python_docs()
    if name_or_path == "shakespeare":
        return _shakespeare()
    return _read_path(name_or_path)


def _names() -> str:
    return ", ".join(map(repr, TEXT_NAMES))


def _read_path(name_or_path: str | Path) -> str:
    path = Path(name_or_path).expanduser()
    try:
        is_folder = path.is_dir()
    except OSError as error:  # longer than a path can be
        raise ValueError(
            f"name_or_path has {len(str(name_or_path))} characters, too many for a path; "
            f"give {_names()} or a path, not the text itself"
        ) from error
    if is_folder:
        parts = sorted(path.glob("*.txt"))
        if not parts:
            raise FileNotFoundError(
                f"the folder {path} holds no .txt file; put your texts there with that ending, "
                f"or give {_names()}"
            )
        return "\n".join(_read_file(part) for part in parts)
    if not path.exists() and len(path.parts) == 1 and not path.suffix:
        raise FileNotFoundError(
            f"there is no text {str(name_or_path)!r}: give {_names()}, "
            "or the path of a text file or folder"
        )
    return _read_file(files.existing_file(path))


def _read_file(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it as UTF-8, or give another file"
        ) from error
    if not text.strip():
        raise ValueError(f"{path} is empty; give a file with some text in it")
    return text


def _python_docs() -> str:
    """Return the help topics of the running Python, sorted by name."""
    try:
        topics = importlib.import_module("pydoc_data.topics").topics
    except ImportError as error:
        raise FileNotFoundError(
            "this Python comes without its help topics (pydoc_data); "
            "use 'stories', 'shakespeare' or a text file of your own"
        ) from error
    return "\n".join(topics[name] for name in sorted(topics))


def _shakespeare() -> str:
    path = files.ROOT / ".cache" / "tinyshakespeare.txt"
    if not path.is_file() or _fault(path.read_bytes()):
        _download(SHAKESPEARE_URL, path, SHAKESPEARE_BYTES)
    return path.read_text(encoding="utf-8")


def _download(url: str, path: Path, n_bytes: int, opener: Opener = urllib.request.urlopen) -> None:
    """Fetch `url` to `path` with a progress bar; nothing is kept unless it is the right text."""
    try:
        data = _fetch(url, n_bytes, opener)
    except (OSError, http.client.HTTPException) as error:  # urllib's errors are OSErrors
        raise OSError(_no_download(url, path, f"cannot be downloaded: {error}")) from error
    fault = _fault(data)
    if fault:
        raise ValueError(_no_download(url, path, f"did not arrive as it should: {fault}"))
    with files.atomic_path(path) as partial:
        partial.write_bytes(data)


def _fetch(url: str, n_bytes: int, opener: Opener) -> bytes:
    chunks: list[bytes] = []
    received = 0
    with (
        opener(url, timeout=TIMEOUT) as response,
        tqdm(total=n_bytes, unit="B", unit_scale=True, desc=f"downloading {url}") as bar,
    ):
        while received <= n_bytes and (chunk := response.read(1 << 16)):
            chunks.append(chunk)
            received += len(chunk)
            bar.update(len(chunk))
    return b"".join(chunks)


def _fault(data: bytes) -> str | None:
    """Return what is wrong with a copy of the Shakespeare text, or None."""
    if len(data) < SHAKESPEARE_BYTES:
        return f"cut off, {len(data)} of {SHAKESPEARE_BYTES} bytes"
    if len(data) > SHAKESPEARE_BYTES:
        return f"too long, more than {SHAKESPEARE_BYTES} bytes"
    digest = hashlib.sha256(data).hexdigest()
    return None if digest == SHAKESPEARE_SHA256 else f"another text, SHA-256 {digest[:12]}..."


def _no_download(url: str, path: Path, why: str) -> str:
    return (
        f"'shakespeare' {why}. Without a network use 'stories' or 'python-docs', which need none; "
        f"or fetch {url} on another machine and give its path in place of the name, "
        f"or put it at {path}"
    )
