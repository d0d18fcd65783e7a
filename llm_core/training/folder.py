"""A run's folder: a folder of its own for each checkpoint, and a pointer to the latest.

`latest.json` names the latest complete one, such as `step-000200`; the one before it is kept too.
"""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from llm_core.files import as_path, read_json, write_json

MODEL_FILE, TRAINING_FILE, STATE_FILE = "model.safetensors", "training.json", "training.safetensors"
"""In a checkpoint: the best weights, what describes it, and the state to go on from."""

POINTER_FILE = "latest.json"
"""Beside the checkpoints: which is the latest."""

_STEP_FOLDER = re.compile(r"step-\d+(-\d+)?(\.partial)?")
_LEFT_BEHIND = re.compile(r"(latest\.json|write-test)\.\d+\.partial")  # by a run that was killed


def checkpoint_path(folder: str | Path) -> Path:
    """Return the folder of one checkpoint: `folder` itself, or the latest in it.

    Raises:
        TypeError: neither a string nor a path.
        FileNotFoundError: there is none.
        ValueError: `latest.json` is damaged.
    """
    folder = as_path("folder", folder)
    if (folder / TRAINING_FILE).is_file():
        return folder
    if not (folder / POINTER_FILE).is_file():
        raise FileNotFoundError(
            f"there is no checkpoint in {folder} (no {POINTER_FILE}). Check the path, or train "
            "first: python -m llm_core train --help"
        )
    path = folder / _latest_name(folder)
    if not path.is_dir():
        others = sorted(p.name for p in folder.glob("step-*") if not p.name.endswith(".partial"))
        raise FileNotFoundError(
            f"{folder / POINTER_FILE} names {path.name}, which is not there. "
            f"Complete checkpoints in {folder}: {others or 'none'}; give the path of one of them."
        )
    return path


def previous_path(folder: Path, path: Path) -> Path | None:
    """Return the complete checkpoint before `path`, or None when there is none."""
    run = path.parent if folder == path else folder
    complete = [p for p in run.glob("step-*") if not p.name.endswith(".partial")]
    earlier = [p for p in complete if p.name < path.name]
    return max(earlier, key=lambda p: p.name, default=None)


def publish(partial: Path, folder: Path, step: int) -> Path:
    """Give a complete checkpoint its name, point to it, and remove those before the last two."""
    path, n = folder / f"step-{step:06d}", 1
    while path.exists():
        n += 1
        path = folder / f"step-{step:06d}-{n}"
    previous = None
    with suppress(FileNotFoundError, ValueError):  # no pointer yet, or a damaged one to replace
        previous = _latest_name(folder)
    os.rename(partial, path)
    write_json(folder / POINTER_FILE, {"format": 1, "latest": path.name, "previous": previous})
    for old in folder.iterdir():
        if _STEP_FOLDER.fullmatch(old.name) and old.name not in (path.name, previous):
            shutil.rmtree(old, ignore_errors=True)
        elif _LEFT_BEHIND.fullmatch(old.name):
            old.unlink(missing_ok=True)
    return path


def _latest_name(folder: Path) -> str:
    """Return the name of the checkpoint that the pointer names, or raise when it names none."""
    pointer = read_json(folder / POINTER_FILE)
    latest = pointer.get("latest") if isinstance(pointer, dict) else None
    if not isinstance(latest, str) or not _STEP_FOLDER.fullmatch(latest):
        raise ValueError(
            f"{folder / POINTER_FILE} does not name a checkpoint; it may be damaged. "
            "Give the path of one of the step-… folders beside it."
        )
    return latest


def require_writable_folder(folder: str | Path) -> None:
    """Make `folder` and try to write in it, so that a bad path shows before the work, not after.

    Raises:
        OSError: it cannot be made or written.
    """
    folder = as_path("folder", folder)
    make_folder(folder)
    probe = folder / f"write-test.{os.getpid()}.partial"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(_cannot_write(folder, error)) from error


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it where they are missing; an OSError says what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(_cannot_write(folder, error)) from error


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"cannot write in {folder}: {error.strerror or error}. "
        "Choose a folder in which you may write, on a disk with space."
    )
