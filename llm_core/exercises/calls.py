"""Calls a function on fresh copies of a case's inputs and keeps everything that happened."""

import contextlib
import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from llm_core.exercises.base import Case, Function, Made
from llm_core.exercises.compare import differences
from llm_core.exercises.limit import run_limited

_PRINTED_LINES = 8
"""Lines kept of what a function prints."""

_PRINTED_CHARACTERS = 2000
"""Characters kept of what a function prints."""

_UNCHANGEABLE = (int, float, str, bytes, bool, type(None))
"""Types whose values need no copy."""


@dataclass
class Outcome:
    """What one call did.

    Attributes:
        value: what it returned, tensors detached and copied.
        error: what it raised, or None.
        changed: which positional (by index) or keyword (by name) arguments it changed.
        printed: the beginning of what it printed.
    """

    value: Any = None
    error: BaseException | None = None
    changed: tuple[int | str, ...] = ()
    printed: str = ""


def call(function: Function, case: Case, seconds: float | None) -> Outcome:
    """Call `function` on copies of the inputs of `case`, for at most `seconds` (None: no limit).

    Only KeyboardInterrupt, the learner's own, comes out; every other error is in the outcome, an
    answer that does not stop as a TimeUpError.
    """
    together: dict[int, Any] = {}  # what holds another argument must hold that argument's copy
    args, kwargs = copy_value(case.args, together), copy_value(case.kwargs or {}, together)
    with kept_torch_state(), captured_print() as printed:
        try:
            if seconds is None:
                value = function(*args, **kwargs)
            else:
                value = run_limited(lambda: function(*args, **kwargs), seconds)
            value = copy_value(value)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return Outcome(error=error, printed=printed.text())
    return Outcome(value, None, _changed(case, args, kwargs), printed.text())


def copy_value(value: Any, together: dict[int, Any] | None = None) -> Any:
    """Copy tensors, and lists, tuples and dicts of them, so that nobody else can change them.

    Args:
        value: what to copy.
        together: what was copied before, by identity: things that hold each other, such as a model
            and its optimizer, must be copied with one such dict. It is added to.
    """
    together = {} if together is None else together
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad and value.is_leaf)
    if type(value) in (list, tuple):
        return type(value)([copy_value(v, together) for v in value])
    if type(value) is dict:
        return {key: copy_value(v, together) for key, v in value.items()}
    if type(value) in _UNCHANGEABLE:
        return value
    if isinstance(value, Made):
        return value.make(together[id(value.of)])
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    try:
        copied = copy.deepcopy(value, together)
        if isinstance(value, torch.nn.Module):
            _copy_gradients(value, copied)
        return copied
    except Exception:
        return value  # a generator, a lock: whoever compares it says what it is


def _copy_gradients(model: torch.nn.Module, copied: torch.nn.Module) -> None:
    """Give the copy of a model copies of its gradients, which `deepcopy` leaves out."""
    for old, new in zip(model.parameters(), copied.parameters(), strict=True):
        new.grad = None if old.grad is None else old.grad.clone()


class Printed(io.TextIOBase):
    """A stand-in for standard output that keeps the beginning and counts the rest."""

    def __init__(self) -> None:
        self._kept = ""
        self._lines = 0

    def write(self, text: str) -> int:
        self._kept += text[: _PRINTED_CHARACTERS - len(self._kept)]
        self._lines += text.count("\n")
        return len(text)

    def text(self) -> str:
        """Return the first lines, with one that says how many were left out."""
        lines = self._kept.rstrip().splitlines()[:_PRINTED_LINES]
        left_out = self._lines - len(lines)
        return "\n".join([*lines, f"... and {left_out} more lines"] if left_out > 0 else lines)


@contextlib.contextmanager
def captured_print() -> Iterator[Printed]:
    """Collect what is printed inside the block."""
    printed = Printed()
    with contextlib.redirect_stdout(printed):
        yield printed


@contextlib.contextmanager
def kept_torch_state() -> Iterator[None]:
    """Put torch's default dtype, device and gradient mode back, whatever the block does."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    device = torch.get_default_device()
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


def _changed(case: Case, args: tuple, kwargs: dict[str, Any]) -> tuple[int | str, ...]:
    """Return the arguments that differ from those of `case`."""
    pairs: list[tuple[int | str, Any, Any]] = [
        (i, *pair) for i, pair in enumerate(zip(case.args, args, strict=True))
    ]
    pairs += [(k, v, kwargs[k]) for k, v in (case.kwargs or {}).items()]
    return tuple(name for name, before, after in pairs if _differs(before, after))


_TO_BE_CHANGED = (torch.Generator, torch.nn.Module, torch.optim.Optimizer, Made)
"""What is handed over to be drawn from or trained."""


def _differs(before: Any, after: Any) -> bool:
    """Say whether an argument was changed that should not be."""
    if before is after or isinstance(before, _TO_BE_CHANGED):
        return False
    return bool(differences(before, after, atol=0.0, rtol=0.0))
