"""Runs of chapters that JupyterLab has already made, for nbval to judge.

The browser tests run every chapter in a real JupyterLab. `keep` puts the notebook aside as it was
saved there; `RecordedRun` then stands in for nbval's kernel and hands out those outputs, so that
nbval compares all of them with the stored ones and the chapter need not run once more.
"""

import os
from collections import deque
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat

from llm_core.files import write_json

FOLDER = "LLM_CORE_RECORDED_RUNS"
"""The environment variable that names the folder of the runs; none are kept where it is not set."""


def keep(notebook: dict[str, Any], name: str, seconds: float) -> None:
    """Put a notebook aside as JupyterLab saved it after running all its cells.

    Args:
        notebook: the notebook, read as JSON.
        name: its path, such as "chapters/04_attention.ipynb"; folder and file name count.
        seconds: what the run took.
    """
    if FOLDER in os.environ:
        path = _place_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, notebook | {"metadata": notebook["metadata"] | {"seconds": seconds}})


def find(name: str | Path) -> "RecordedRun | None":
    """Return the kept run of the notebook at this path, or None."""
    return RecordedRun(_place_of(name)) if is_kept(name) else None


def is_kept(name: str | Path) -> bool:
    """Say whether there is a kept run of the notebook at this path."""
    return FOLDER in os.environ and _place_of(name).is_file()


def _place_of(name: str | Path) -> Path:
    return Path(os.environ[FOLDER], *Path(name).parts[-2:])


class RecordedRun:
    """What nbval asks of a kernel, answered from a notebook that has run.

    Args:
        path: the notebook, as `keep` put it aside.

    Attributes:
        seconds: what the run took.
    """

    def __init__(self, path: Path) -> None:
        notebook = nbformat.read(path, as_version=4)
        self.seconds: float = notebook.metadata["seconds"]
        self._cells = deque(cell for cell in notebook.cells if cell.cell_type == "code")
        self._messages: deque[dict[str, Any]] = deque()
        self._count = 0

    def execute_cell_input(self, source: str, allow_stdin: bool | None = None) -> str:
        """Take the next cell's outputs as this source's; return the number of the message.

        Raises:
            RuntimeError: JupyterLab ran another source, or did not run this one.
        """
        self._count += 1
        cell = self._cells.popleft() if self._cells else None
        if cell is None or cell.source != source:
            raise RuntimeError("JupyterLab ran another version of this notebook")
        if source.strip() and cell.execution_count is None:
            raise RuntimeError("JupyterLab did not run this cell")
        contents = [(output.output_type, output) for output in cell.outputs]
        contents.append(("status", {"execution_state": "idle"}))
        self._messages = deque(
            {"msg_type": kind, "content": content, "parent_header": {"msg_id": str(self._count)}}
            for kind, content in contents
        )
        return str(self._count)

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Return at once: the cell has run."""

    def await_idle(self, parent_id: str, timeout: float) -> None:
        """Leave out what else the cell put out."""
        self._messages.clear()

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Return the next output; raise Empty when there are no more."""
        if not self._messages:
            raise Empty
        return self._messages.popleft()

    def is_alive(self) -> bool:
        return True

    def interrupt(self) -> None:
        """Do nothing: nothing runs."""

    def stop(self) -> None:
        """Do nothing: nothing runs."""
