"""Where the course keeps its files, and how it writes them so that nothing is ever half-written."""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
"""The repository: the folder that holds `llm_core/`, `chapters/` and `assets/`."""

ASSETS = ROOT / "assets"
"""Figures, plot style and the small trained model that come with the course."""

MY_WORK = ROOT / "my_work"
"""What belongs to the learner: progress and saved copies of chapters. Git ignores it."""


class _CannotWriteError(OSError):
    """A file could not be written; the message says which and what to do."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it onto `path` only when the block succeeds.

    A reader sees the old file or the new one, never a part. When the block raises, or the disk is
    full, the old file stays as it was and the temporary one is removed.

    Raises:
        OSError: the folder cannot be made or written; the message names it.
    """
    path = as_path("path", path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        _flush_to_disk(partial)
        os.replace(partial, path)
    except _CannotWriteError:  # of a file written inside the block, and well said already
        raise
    except OSError as error:
        raise _CannotWriteError(
            f"cannot write {path}: {error.strerror or error}. "
            "Check that the folder exists, that you may write in it and that the disk has space."
        ) from error
    finally:
        with suppress(OSError):  # such as a "folder" that is a file: not to hide the error above
            partial.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with `\\n` line ends, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read JSON from `path`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, for example cut off or of another kind.
    """
    path = existing_file(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not readable JSON ({error}). It may be cut off or damaged; "
            "make it again or restore it from a copy."
        ) from error


def checksum(path: str | Path) -> int:
    """Return the CRC-32 of a file's bytes, which any change of them changes."""
    crc = 0
    with existing_file(path).open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
    return crc


def as_path(name: str, value: Any) -> Path:
    """Return `value` as a Path, or raise TypeError unless it is a string or a path."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a string or a path, not {value!r}")
    return Path(value)


def existing_file(path: str | Path) -> Path:
    """Return `path` as a Path, or raise FileNotFoundError saying what is in its folder."""
    path = as_path("path", path)
    if path.is_file():
        return path
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; give the path of a file in it")
    found = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else None
    where = f"{path.parent} holds {found[:8]}" if found is not None else f"no folder {path.parent}"
    raise FileNotFoundError(f"there is no file {path} ({where}). Check the spelling of the path.")


def _flush_to_disk(path: Path) -> None:
    """Make sure that the file's bytes are on the disk before its name is."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
