"""Checkpoints: everything that a run needs to go on exactly, saved whole or not at all.

`folder` knows where checkpoints lie and which is the latest, `state` what must be in them.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llm_core.files import as_path, checksum, read_json, write_json
from llm_core.tensors import read_tensors, write_tensors
from llm_core.training.folder import (
    MODEL_FILE,
    STATE_FILE,
    TRAINING_FILE,
    checkpoint_path,
    make_folder,
    previous_path,
    publish,
)
from llm_core.training.state import (
    generator_states,
    optimizer_settings,
    restore_optimizer,
    restore_torch_generators,
    state_tensors,
    with_prefix,
)
from llm_core.training.weights import get_weights, require_matching_weights, set_weights
from llm_core.validate import require_count


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read besides the weights, which are already in the model.

    Attributes:
        path: the folder it was read from.
        step: updates made before it was saved.
        best_weights: the weights in its `model.safetensors`: the best so far.
        extra: what the caller of `save_checkpoint` added.
    """

    path: Path
    step: int
    best_weights: dict[str, torch.Tensor]
    extra: dict[str, Any]


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    step: int,
    generators: Mapping[str, torch.Generator] | None = None,
    best_weights: Mapping[str, torch.Tensor] | None = None,
    extra: dict[str, Any] | None = None,
    write_extras: Callable[[Path], None] | None = None,
) -> Path:
    """Write a checkpoint: all of it, or nothing.

    Each checkpoint is a folder of its own, `folder/step-000100`, written under another name and
    renamed when complete; only then does the small file `folder/latest.json` point to it. A crash
    or a full disk at any moment leaves the checkpoint before it in place, which is also kept until
    the next but one. In it:

    - `model.safetensors`: the model to use (`best_weights`, else the weights of now),
    - `training.safetensors`: the state to go on from: weights, optimizer, generators. Torch's own
      generator is among them, since dropout draws from it,
    - `training.json`: the step, the optimizer's settings, the checksums of both files and `extra`,
    - and what `write_extras` wrote.

    Args:
        folder: one training run's checkpoints; made when missing.
        model, optimizer, generators: what to save.
        step: updates made so far, from 0.
        best_weights: as `get_weights` returns them.
        extra: anything that JSON can hold.
        write_extras: called with the unfinished folder, to write further files there.

    Returns:
        The checkpoint's folder.

    Raises:
        TypeError, ValueError: an argument of the wrong kind or range.
        OSError: the folder cannot be written or the disk is full; earlier checkpoints stay.
    """
    require_count("step", step)
    folder = as_path("folder", folder)
    tensors = state_tensors(model, optimizer, generators or {})
    description = {"format": 1, "step": int(step), "extra": extra or {}}
    if optimizer is not None:
        description["optimizer"] = optimizer_settings(optimizer)
    partial = folder / f"step-{step:06d}.partial"
    try:
        make_folder(partial)
        write_tensors(partial / MODEL_FILE, dict(best_weights or get_weights(model)))
        write_tensors(partial / STATE_FILE, tensors)
        files = (MODEL_FILE, STATE_FILE)
        description["checksums"] = {name: checksum(partial / name) for name in files}
        write_json(partial / TRAINING_FILE, description)
        if write_extras is not None:
            write_extras(partial)
        return publish(partial, folder, step)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_checkpoint(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    generators: Mapping[str, torch.Generator] | None = None,
) -> Checkpoint:
    """Read a checkpoint into `model`, `optimizer` and `generators`; change none if it does not fit.

    Torch's own generator is set too, as it was when the checkpoint was saved.

    Args:
        folder: a run's folder (its latest checkpoint is read) or one `step-…` folder in it.
        model: made with the same config as the saved one.
        optimizer: with the same groups; None leaves its state unread.
        generators: the same names as were saved; None leaves them unread.

    Returns:
        The step, the best weights and what else was saved.

    Raises:
        TypeError: an argument of the wrong kind.
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: a file is damaged, or the checkpoint is of another model or optimizer.
            For a missing or damaged file the message names the checkpoint before it.
    """
    path = checkpoint_path(folder)
    with _offering_previous(folder, path):
        description = _read_description(path)
        tensors, best_weights = (
            _read_whole(path / name, description) for name in (STATE_FILE, MODEL_FILE)
        )
    weights = with_prefix(tensors, "model.")
    require_matching_weights(model, weights, path / STATE_FILE)
    require_matching_weights(model, best_weights, path / MODEL_FILE)
    states = generator_states(tensors, generators or {}, path)
    if optimizer is not None:
        restore_optimizer(optimizer, description, tensors, path)
    set_weights(model, weights, path / STATE_FILE)
    for name, generator in (generators or {}).items():
        generator.set_state(states[name])
    restore_torch_generators(tensors)
    return Checkpoint(path, description["step"], best_weights, description["extra"])


def _read_description(path: Path) -> dict[str, Any]:
    description = read_json(path / TRAINING_FILE)
    good = isinstance(description, dict) and isinstance(description.get("step"), int)
    if not good or not isinstance(description.get("extra"), dict):
        raise ValueError(
            f"{path / TRAINING_FILE} is not the description of a checkpoint; it may be damaged. "
            "Use an earlier checkpoint, or train again."
        )
    return description


def _read_whole(path: Path, description: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return a file's tensors, or raise when it is not, byte for byte, as it was written."""
    tensors = read_tensors(path)
    written = description.get("checksums", {}).get(path.name)  # none in an older checkpoint
    if written is not None and checksum(path) != written:
        raise ValueError(
            f"{path} was changed or damaged after it was written: its checksum is another. "
            "Use an earlier checkpoint, or train again."
        )
    return tensors


@contextmanager
def _offering_previous(folder: str | Path, path: Path) -> Iterator[None]:
    """Add to an error about the files in `path` which checkpoint can be used in their place."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        previous = previous_path(as_path("folder", folder), path)
        if previous is None:
            raise
        raise type(error)(
            f"{error} The checkpoint before it is still there: resume from {previous}"
        ) from error
