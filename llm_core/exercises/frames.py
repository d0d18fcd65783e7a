"""Finds the learner's own line behind an error, in a notebook cell or in a file."""

import inspect
import linecache
import os
import re
import sysconfig
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import torch

from llm_core.exercises.base import Function
from llm_core.exercises.show import clean, error_text


def _folder(path: str) -> str:
    """Return a folder as the names of files in it begin."""
    return os.path.normcase(os.path.join(path, ""))


_COURSE = _folder(str(Path(__file__).resolve().parent.parent))
"""This package."""
_LIBRARIES = ("stdlib", "platstdlib", "purelib", "platlib")
_NOT_OWN = (_COURSE, *(_folder(sysconfig.get_path(name)) for name in _LIBRARIES))
"""This package, Python's library and what is installed beside it."""


@dataclass(frozen=True)
class OwnLine:
    """A place in the learner's code.

    Attributes:
        function: name of the function it is in.
        line: line number in the cell or file, from 1.
        place: "your cell" or the file's name.
        source: the text of the statement, without indentation.
        shapes: the tensors that the statement names, as "x (2, 3), w (4, 3)".
    """

    function: str
    line: int
    place: str
    source: str
    shapes: str

    def __str__(self) -> str:
        code = f": `{self.source}`" if self.source and "`" not in self.source else ""
        return f"line {self.line} of {self.place}, in {self.function}{code}"


def own_line(error: BaseException, answer: Function) -> OwnLine | None:
    """Return the deepest line of the learner's code that `error` came through, or None."""
    own_file = _own_file(answer)
    found = None
    for step in _steps(error.__traceback__):
        if _is_own(step.tb_frame.f_code, own_file):
            found = step
    return _describe(found) if found else None


def deepest_is_own(error: BaseException, answer: Function) -> bool:
    """Say whether the learner's own code, not a function it called, was last to run."""
    steps = list(_steps(error.__traceback__))
    return bool(steps) and _is_own(steps[-1].tb_frame.f_code, _own_file(answer))


def raised_by_the_course(error: BaseException) -> bool:
    """Say whether a `raise` of this package made the error: its message says what to do."""
    steps = list(_steps(error.__traceback__))
    if not steps:
        return False
    filename = os.path.normcase(steps[-1].tb_frame.f_code.co_filename)
    return filename.startswith(_COURSE) and _describe(steps[-1]).source.startswith("raise ")


def own_traceback(error: BaseException, answer: Function) -> str:
    """Return the traceback from the learner's function on, without paths and addresses."""
    own_file = _own_file(answer)
    steps = list(_steps(error.__traceback__))
    first = next((i for i, s in enumerate(steps) if _is_own(s.tb_frame.f_code, own_file)), None)
    if first is None:
        return ""
    lines = [f"  {_describe(step)}" for step in steps[first:]]
    if len(lines) > 12:  # a recursion without end
        lines = [*lines[:6], f"  ... {len(lines) - 9} more ...", *lines[-3:]]
    return "\n".join([*lines, error_text(error)])


def _own_file(answer: Function) -> str | None:
    """Return the file or cell in which `answer` is defined."""
    try:
        return inspect.unwrap(answer).__code__.co_filename
    except Exception:  # a callable object, or one whose attributes misbehave
        return None


def _is_own(code: CodeType, own_file: str | None) -> bool:
    """Say whether `code` is the learner's: not torch, not Python's library, not this package."""
    filename = code.co_filename
    if filename == own_file:
        return True
    if filename.startswith(("<frozen", "<string", "<__array")):
        return False
    return not os.path.normcase(filename).startswith(_NOT_OWN) and not any(
        folder in Path(filename).parts for folder in ("site-packages", "dist-packages")
    )


def _steps(step: TracebackType | None) -> Iterator[TracebackType]:
    """Go through a traceback from the outermost call to the innermost."""
    while step is not None:
        yield step
        step = step.tb_next


def _describe(step: TracebackType) -> OwnLine:
    """Describe the statement at which a traceback step stands."""
    frame = step.tb_frame
    filename = frame.f_code.co_filename
    first, last = _statement_lines(step)
    source = " ".join(linecache.getline(filename, n).strip() for n in range(first, last + 1))
    place = "your cell" if _is_cell(filename) else Path(filename).name
    return OwnLine(
        frame.f_code.co_name, step.tb_lineno, place, clean(source), _shapes(source, frame)
    )


def _statement_lines(step: TracebackType) -> tuple[int, int]:
    """Return the first and last line of what was running."""
    positions = step.tb_frame.f_code.co_positions()
    first, last, *_ = next(islice(positions, step.tb_lasti // 2, None), (None, None))
    first = min(first or step.tb_lineno, step.tb_lineno)
    return first, max(first, min(last or first, first + 4))


def _is_cell(filename: str) -> bool:
    """Say whether a code object comes from a notebook cell and not from a file."""
    if filename.startswith("<"):
        return True
    return "ipykernel_" in filename or not Path(filename).is_file()


def _shapes(source: str, frame: FrameType) -> str:
    """List the shapes of the tensors that a statement names."""
    names = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", source))
    found = []
    for name in names:
        value: Any = frame.f_locals.get(name)
        if isinstance(value, torch.Tensor):
            dtype = str(value.dtype).removeprefix("torch.")
            found.append(f"{name} {tuple(value.shape)} {dtype}")
    return ", ".join(found)


def full_traceback(error: BaseException) -> str:
    """Return Python's own traceback, for an error that is not the learner's."""
    return "".join(traceback.format_exception(error))
