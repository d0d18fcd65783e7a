"""Short, stable text for values: rounded numbers, no addresses, no surprises from `repr`."""

import inspect
import math
import re
from typing import Any

import numpy as np
import torch

from llm_core.exercises.base import Made

_SMALL = 24
"""Entries up to which a tensor is written out."""

_LONG = 200
"""Characters up to which the text of any other value is written out."""


def number(value: float, digits: int = 4) -> str:
    """Return a number in words or with at most `digits` significant digits."""
    if isinstance(value, (bool, int)) or not isinstance(value, float):
        return safe_repr(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = f"{value:.{digits}g}"
    return "0" if float(text) == 0 else text


def entry_pair(expected: float, got: float) -> tuple[str, str]:
    """Return two different numbers with as many digits as it takes to tell them apart."""
    for digits in (4, 6, 9, 17):
        want, have = number(expected, digits), number(got, digits)
        if want != have:
            break
    return want, have


def describe(value: Any) -> str:
    """Return a short text for any value: small tensors in full, larger ones by their shape."""
    if isinstance(value, torch.Tensor):
        return _describe_tensor(value)
    if isinstance(value, np.ndarray):
        return f"array of shape {value.shape}, {value.dtype}"
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        inner = ", ".join(describe(v) for v in value[:8]) + (", ..." if len(value) > 8 else "")
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, torch.Generator):
        return "a torch.Generator"
    if isinstance(value, torch.nn.Module):
        return f"a model of the class {type(value).__name__}"
    if isinstance(value, Made):
        return describe(value.make(value.of))
    if isinstance(value, torch.optim.Optimizer):
        return f"the optimizer {type(value).__name__}"
    if inspect.isfunction(value):
        return f"the function {value.__name__}"
    return _described_number(value)


def _described_number(value: Any) -> str:
    """Write one number rounded, but no fraction as if it were whole: 1 - 2**-24 is not 1."""
    for digits in (4, 6, 9, 17):
        text = number(value, digits)
        fraction = isinstance(value, float) and math.isfinite(value) and not value.is_integer()
        if not fraction or not float(text).is_integer():
            break
    return text


def _describe_tensor(value: torch.Tensor) -> str:
    """Write a small tensor as nested lists of rounded numbers, a larger one by shape and dtype."""
    dtype = str(value.dtype).removeprefix("torch.")
    if value.numel() > _SMALL or value.numel() == 0 or value.layout is not torch.strided:
        return f"tensor of shape {tuple(value.shape)}, {dtype}"
    return _nested(value.detach().cpu().tolist())


def _nested(value: Any) -> str:
    """Write nested lists of numbers, each rounded."""
    if isinstance(value, list):
        return f"[{', '.join(_nested(v) for v in value)}]"
    return number(value)


def type_name(value: Any) -> str:
    """Return what a value is, with its article, as a learner would say it."""
    if value is None:
        return "None"
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    if isinstance(value, (tuple, list)):
        kind = "tuple" if isinstance(value, tuple) else "list"
        return f"a {kind} of {counted(len(value), 'value')}"
    return f"an object of type {type(value).__name__}"


_TYPE_NAMES: tuple[tuple[Any, str], ...] = (
    (torch.Tensor, "a tensor"),
    (np.ndarray, "a NumPy array"),
    ((bool, np.bool_), "a bool (True or False)"),
    ((int, np.integer), "an int"),
    ((float, np.floating), "a float"),
    (str, "a string"),
    (bytes, "a bytes object"),
    (dict, "a dict"),
)


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return "1 value" or "3 values"."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def index_text(index: tuple[int, ...]) -> str:
    """Return an index as it is written in code, [0, 2]."""
    return f"[{', '.join(map(str, index))}]"


def safe_repr(value: Any) -> str:
    """Return `repr(value)` without addresses, cut to a readable length; never raises."""
    try:
        text = repr(value)
    except Exception:
        return f"<{type(value).__name__} whose repr fails>"
    return clean(text)


def clean(text: str) -> str:
    """Take memory addresses out of `text` and cut it to a readable length."""
    text = re.sub(r"( at )?0x[0-9a-fA-F]{4,}", "", text)
    return text if len(text) <= _LONG else text[:_LONG] + " ..."


def error_text(error: BaseException) -> str:
    """Return "TypeError: message" with the message cleaned; never raises."""
    try:
        message = str(error)
    except Exception:
        message = "(its message cannot be shown)"
    lines = message.strip().splitlines()
    message = clean(lines[0]) if lines else ""
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
