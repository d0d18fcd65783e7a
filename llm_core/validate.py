"""Checks of arguments. Each error names the argument, what came, and what to do."""

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn


def require_tensor(name: str, value: Any, dims: Sequence[str] | None = None) -> None:
    """Raise unless `value` is a tensor with one axis for each name in `dims`.

    Args:
        name: the argument's name, for the message.
        value: what the caller passed.
        dims: axis names such as `("B", "T", "C")`; None accepts any number of axes.

    Raises:
        TypeError: not a tensor.
        ValueError: another number of axes.
    """
    if not isinstance(value, torch.Tensor):
        raise TypeError(
            f"{name} must be a torch.Tensor, not {type(value).__name__}; "
            "torch.tensor(...) makes one from a list"
        )
    if dims is not None and value.dim() != len(dims):
        raise ValueError(
            f"{name} must have {len(dims)} axes ({', '.join(dims)}), "
            f"but it has {value.dim()}: shape {tuple(value.shape)}"
        )


def require_float_tensor(name: str, value: Any, dims: Sequence[str] | None = None) -> None:
    """Raise unless `value` is a floating-point tensor with the axes `dims`."""
    require_tensor(name, value, dims)
    if not value.is_floating_point():
        raise TypeError(f"{name} must hold floating-point numbers, not {value.dtype}; use .float()")


def require_broadcast(
    name: str, shape: Sequence[int], other_name: str, other: Sequence[int]
) -> tuple[int, ...]:
    """Return the shape that two shapes broadcast to, or raise ValueError naming both.

    NumPy's function, because torch's is slow and every layer asks this several times a step.
    """
    try:
        return np.broadcast_shapes(tuple(shape), tuple(other))
    except ValueError:
        raise ValueError(
            f"{name} and {other_name} do not fit together: {tuple(shape)} and {tuple(other)} "
            "cannot be broadcast"
        ) from None


def require_padding_mask(mask: Any, shape: Sequence[int]) -> None:
    """Raise unless `mask` says for each token of `shape` whether it is one, or padding."""
    require_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must hold True (token) and False (padding), not {mask.dtype}")
    if mask.shape != torch.Size(shape):
        raise ValueError(
            f"mask must have one entry for each token, {tuple(shape)}, "
            f"but its shape is {tuple(mask.shape)}"
        )


def require_ids(
    name: str, ids: Any, vocab_size: int | None = None, dims: Sequence[str] | None = None
) -> None:
    """Raise unless `ids` is an integer tensor, with every id in [0, vocab_size) if that is given.

    Raises:
        TypeError: not a tensor, or not of an integer type.
        ValueError: another number of axes.
        IndexError: an id outside the vocabulary.
    """
    require_tensor(name, ids, dims)
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} must hold integer token ids, not {ids.dtype}; use .long()")
    if vocab_size is None or ids.numel() == 0 or not _cheap_to_look_at(ids):
        return
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        wrong = low if low < 0 else high
        raise IndexError(
            f"{name} holds the id {wrong}, outside the vocabulary 0 to {vocab_size - 1}; "
            "were these ids made by another tokenizer?"
        )


def require_targets(targets: Any, vocab_size: int, ignore_index: int = -100) -> None:
    """Raise unless `targets` are ids below `vocab_size` or `ignore_index`, and one counts.

    Raises:
        TypeError: no tensor, or not of an integer type.
        ValueError: none at all, or all of them ignored.
        IndexError: a target outside the vocabulary.
    """
    require_ids("targets", targets)
    if targets.numel() == 0:
        raise ValueError(f"targets is empty: shape {tuple(targets.shape)}")
    if not _cheap_to_look_at(targets):
        return
    counted = targets[targets != ignore_index]
    if counted.numel() == 0:
        raise ValueError(f"targets holds only {ignore_index} (ignored); no target counts")
    low, high = int(counted.min()), int(counted.max())
    if low < 0 or high >= vocab_size:
        raise IndexError(
            f"targets holds the id {low if low < 0 else high}, outside the vocabulary "
            f"0 to {vocab_size - 1}; only {ignore_index} (ignored) may stand outside"
        )


def require_whole_number(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is an int, numpy's included (True and False do not count)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {value!r}")


def require_count(name: str, value: Any) -> None:
    """Raise unless `value` is an int of at least 0 (True and False do not count)."""
    require_whole_number(name, value)
    if value < 0:
        raise ValueError(f"{name} must be at least 0, not {value}")


def require_positive_int(name: str, value: Any) -> None:
    """Raise unless `value` is an int of at least 1 (True and False do not count)."""
    require_whole_number(name, value)
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def require_range(
    name: str, value: Any, low: float, high: float, *, open_low: bool = False
) -> None:
    """Raise unless `value` is a number in [low, high], or in (low, high] with `open_low`.

    Raises:
        TypeError: not a number.
        ValueError: outside the range, or not a number at all (NaN).
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    inside = low < value <= high if open_low else low <= value <= high
    if not inside:
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} must lie in {bracket}{low}, {high}], but it is {value}")


def require_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def require_text(name: str, value: Any) -> None:
    """Raise unless `value` is a string with at least one character."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{name} is empty; give at least one character")


def require_module(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a torch module."""
    if not isinstance(value, nn.Module):
        raise TypeError(f"{name} must be a torch.nn.Module, not {type(value).__name__}")


def require_layer_dtype(name: str, value: torch.Tensor, weight: torch.Tensor) -> None:
    """Raise TypeError unless `value` has the dtype of a layer's `weight`; autocast may differ."""
    if value.dtype != weight.dtype and not torch.is_autocast_enabled(value.device.type):
        raise TypeError(
            f"{name} is {value.dtype}, but the parameters of the layer are {weight.dtype}; "
            f"use {name}.to({weight.dtype})"
        )


def require_device(device: Any) -> None:
    """Raise ValueError unless torch knows `device` and this machine has it."""
    try:
        kind = torch.device(device).type
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be such as 'cpu', 'cuda' or 'mps', not {device!r}"
        ) from error
    is_there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if kind in is_there and not is_there[kind]():
        raise ValueError(f"device is {kind!r}, which this machine does not have; use 'cpu'")


def require_generator(name: str, value: Any) -> None:
    """Raise TypeError unless `value` is a torch generator, or None for torch's own."""
    if value is not None and not isinstance(value, torch.Generator):
        raise TypeError(
            f"{name} must be a torch.Generator, not {value!r}; "
            "torch.Generator().manual_seed(0) makes one"
        )


def unwrap_numpy_numbers(config: Any) -> None:
    """Turn numpy scalars in the fields of a frozen dataclass into Python's, which JSON can hold."""
    for name in config.__dataclass_fields__:
        value = getattr(config, name)
        if isinstance(value, np.generic):
            object.__setattr__(config, name, value.item())


def _cheap_to_look_at(ids: torch.Tensor) -> bool:
    """Whether reading numbers out of `ids` costs nothing.

    On a GPU the comparison would wait for the device at every step, and torch.compile would have
    to cut the program in two there.
    """
    return ids.device.type == "cpu" and not torch.compiler.is_compiling()
