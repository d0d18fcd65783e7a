"""`make notebooks`: one source, two notebooks.

`solutions/NN_name.py` (jupytext's percent format) becomes `solutions/NN_name.ipynb`, and that, with
its solutions taken out by nbgrader's own preprocessors, becomes `chapters/NN_name.ipynb`. Both are
executed. Nothing in them depends on when, where or how often they were built, but for the cells
tagged `nbval-ignore-output`.
"""

import copy
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from ipykernel.kernelspec import RESOURCES, get_kernel_dict
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from tqdm import tqdm
from traitlets import default

from llm_core.files import ROOT, atomic_path
from llm_core.notebooks.answers import record_sources
from llm_core.notebooks.course_map import write_map
from llm_core.notebooks.normal import normalise_outputs, output_problems

STUB = "raise NotImplementedError"
TAGS = {"exercise", "check", "nbval-ignore-output"}
CELL_TIMEOUT = 600  # seconds; a chapter promises to run in 90, 07 in 180

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE_INFO = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
}

CHECK_LINE = re.compile(r'^check\("([a-z0-9_]+\.[a-z0-9_]+)", ([A-Za-z_][A-Za-z0-9_]*)\)$')
PROMISE = re.compile(r"(\d+) seconds to run")


class BuildError(Exception):
    """A source that cannot become a notebook; the message names the chapter and the cell."""


@dataclass(frozen=True)
class Chapter:
    """The three files of one chapter.

    Attributes:
        source: `solutions/NN_name.py`, which people edit.
        solution: `solutions/NN_name.ipynb`, generated.
        chapter: `chapters/NN_name.ipynb`, generated.
    """

    source: Path

    @property
    def stem(self) -> str:
        return self.source.stem

    @property
    def number(self) -> str:
        return self.stem[:2]

    @property
    def solution(self) -> Path:
        return self.source.with_suffix(".ipynb")

    @property
    def chapter(self) -> Path:
        return self.source.parent.parent / "chapters" / f"{self.stem}.ipynb"


def find_chapters(names: list[str] | None = None, root: Path = ROOT) -> list[Chapter]:
    """Return the chapters named, or all of them, in order.

    Args:
        names: each "04", "4", "attention" or "04_attention"; None or empty means all.
        root: the repository.

    Raises:
        BuildError: no source fits a name.
    """
    sources = sorted((root / "solutions").glob("[0-9][0-9]_*.py"))
    if not names:
        return [Chapter(source) for source in sources]
    found = []
    for name in names:
        stem = Path(name).stem
        fits = [s for s in sources if stem in (s.stem, s.stem[3:]) or stem.zfill(2) == s.stem[:2]]
        if not fits:
            known = ", ".join(s.stem for s in sources) or "none yet"
            raise BuildError(f"no chapter {name!r} in {root / 'solutions'} (there: {known})")
        found.extend(Chapter(source) for source in fits)
    return found


# From the source to the two notebooks, before anything runs


def make_notebooks(chapter: Chapter) -> tuple[NotebookNode, NotebookNode]:
    """Return the solution notebook and the learner's, not executed.

    Raises:
        BuildError: the markers in the source do not fit together.
    """
    solution = _read_source(chapter)
    _mark_exercises(solution, chapter.stem)
    learner = _clear_solutions(solution, chapter.stem)
    record_sources(solution)
    record_sources(learner)
    return solution, learner


def _read_source(chapter: Chapter) -> NotebookNode:
    text = chapter.source.read_text(encoding="utf-8")
    notebook = jupytext.reads(text, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": dict(KERNELSPEC), "language_info": copy.deepcopy(LANGUAGE_INFO)}
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for index, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"{chapter.stem}-{index:03d}"
        cell.metadata.pop("lines_to_next_cell", None)  # jupytext's note on blank lines
        unknown = set(cell.metadata.get("tags", [])) - TAGS
        if unknown:
            raise BuildError(
                f"{_where(chapter.stem, index, cell)}: unknown tag {sorted(unknown)}; "
                f"known are {sorted(TAGS)}"
            )
    return notebook


def _mark_exercises(notebook: NotebookNode, stem: str) -> None:
    """Give exercise and check cells nbgrader's metadata, from their tags and the check's id."""
    code = [(i, c) for i, c in enumerate(notebook.cells, start=1) if c.cell_type == "code"]
    seen: set[str] = set()
    for position, (index, cell) in enumerate(code):
        tags = cell.metadata.get("tags", [])
        before = code[position - 1][1] if position else None
        after = code[position + 1][1] if position + 1 < len(code) else None
        if "exercise" in tags and (after is None or "check" not in after.metadata.get("tags", [])):
            raise BuildError(
                f"{_where(stem, index, cell)}: the next code cell after an exercise must be its "
                'check, tagged "check"'
            )
        if "check" in tags:
            if before is None or "exercise" not in before.metadata.get("tags", []):
                raise BuildError(f"{_where(stem, index, cell)}: no exercise cell stands before it")
            exercise_id = _exercise_id(cell, before, f"{_where(stem, index, cell)}")
            if exercise_id in seen:
                raise BuildError(f"{_where(stem, index, cell)}: {exercise_id} is checked twice")
            seen.add(exercise_id)
            grade_id = exercise_id.replace(".", "-")
            before.metadata["nbgrader"] = _nbgrader(grade_id, solution=True)
            cell.metadata["nbgrader"] = _nbgrader(f"{grade_id}-check", grade=True)


def _exercise_id(check: NotebookNode, exercise: NotebookNode, where: str) -> str:
    """Return the id in the check cell's last line, having held it against the exercise cell."""
    line = check.source.rstrip().rsplit("\n", 1)[-1]
    match = CHECK_LINE.match(line)
    if match is None:
        raise BuildError(
            f'{where}: the last line must read check("chapter.function", function), not {line!r}'
        )
    exercise_id, name = match.groups()
    if not re.search(rf"^def {name}\(", exercise.source, re.MULTILINE):
        raise BuildError(f"{where}: the exercise cell before it defines no function {name}")
    marks = re.findall("### (BEGIN|END) SOLUTION", exercise.source)
    if not marks or marks != ["BEGIN", "END"] * (len(marks) // 2):
        raise BuildError(
            f"{where}: its exercise cell needs '### BEGIN SOLUTION' and '### END SOLUTION' in "
            "turn, once for each gap that the learner fills"
        )
    return exercise_id


def _nbgrader(grade_id: str, *, grade: bool = False, solution: bool = False) -> NotebookNode:
    fields = {
        "grade": grade,
        "grade_id": grade_id,
        "locked": grade,
        "schema_version": 3,
        "solution": solution,
        "task": False,
    }
    return nbformat.from_dict(fields | ({"points": 1} if grade else {}))


def _clear_solutions(solution: NotebookNode, stem: str) -> NotebookNode:
    """Return the learner's form: what `nbgrader generate_assignment` does, in its order."""
    from nbgrader import preprocessors as nbgrader  # a second to load; only building needs it

    notebook = copy.deepcopy(solution)
    steps = [
        nbgrader.LockCells(),
        nbgrader.ClearSolutions(code_stub={"python": STUB}),
        nbgrader.ClearOutput(),
        nbgrader.CheckCellMetadata(),
        nbgrader.ComputeChecksums(),
        nbgrader.ClearHiddenTests(),
        nbgrader.ClearMarkScheme(),
        nbgrader.ComputeChecksums(),
        nbgrader.CheckCellMetadata(),
    ]
    for step in steps:
        try:
            notebook, _ = step.preprocess(notebook, {})
        except Exception as error:  # nbgrader raises plain RuntimeError and its own kinds
            raise BuildError(f"{stem}: nbgrader's {type(step).__name__}: {error}") from error
    return notebook


def _where(stem: str, index: int, cell: NotebookNode) -> str:
    first = cell.source.strip().split("\n", 1)[0][:60]
    return f"{stem}, cell {index} ({first!r})"


# Execution


class _ThisPython(KernelSpecManager):
    """Every kernel is the Python that builds, whatever kernels the machine has installed."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return KernelSpec(resource_dir=RESOURCES, **get_kernel_dict())


class _ThisKernel(AsyncKernelManager):
    @default("kernel_spec_manager")
    def _this_python(self) -> KernelSpecManager:
        return _ThisPython(parent=self)


def execute(
    notebook: NotebookNode,
    folder: Path,
    name: str,
    on_cell: Callable[[int], None] = lambda index: None,
) -> float:
    """Run every cell of `notebook` in `folder`, in place; return the seconds that its cells took.

    Args:
        notebook: changed in place: outputs and execution counts.
        folder: working directory of the kernel, `chapters/` or `solutions/`.
        name: for messages, "chapters/04_attention".
        on_cell: called with the number of the cell that starts, from 1.

    Raises:
        BuildError: a cell raised, took too long, or left what must not be stored.
    """
    current = {"index": 0}

    def start(cell: NotebookNode, cell_index: int) -> None:
        current["index"] = cell_index + 1
        on_cell(cell_index + 1)

    with tempfile.TemporaryDirectory(prefix="llm_core_build_") as scratch:
        client = NotebookClient(
            notebook,
            kernel_manager_class=_ThisKernel,
            kernel_name="python3",
            timeout=CELL_TIMEOUT,
            coalesce_streams=True,
            store_widget_state=False,
            record_timing=False,
            on_cell_start=start,
            resources={"metadata": {"path": str(folder)}},
        )
        started = time.perf_counter()
        try:
            client.execute(env=kernel_environment(Path(scratch)), stderr=subprocess.DEVNULL)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            cell = notebook.cells[current["index"] - 1]
            raise BuildError(_failure(name, current["index"], cell, error)) from None
        seconds = time.perf_counter() - started
    _tidy(notebook, name)
    return seconds


def kernel_environment(scratch: Path) -> dict[str, str]:
    """Return the kernel's environment: one thread, no GPU, nothing of the builder's own."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("NBGRADER_", "PYTEST_"))}
    return env | {
        "CUDA_VISIBLE_DEVICES": "",
        "IPYTHONDIR": str(scratch / "ipython"),
        "LLM_CORE_PROGRESS": str(scratch / "progress.json"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "OMP_NUM_THREADS": "1",
    }


def _failure(name: str, index: int, cell: NotebookNode, error: Exception) -> str:
    trace = re.sub(r"\x1b\[[0-9;]*m", "", getattr(error, "traceback", "") or str(error))
    rule = "-" * 60
    return f"{name}, cell {index} failed\n{rule}\n{cell.source}\n{rule}\n{trace.rstrip()}"


def _tidy(notebook: NotebookNode, name: str) -> None:
    """Take out of the executed notebook what would differ next time; refuse what must not stay."""
    notebook.metadata["kernelspec"] = nbformat.from_dict(dict(KERNELSPEC))
    notebook.metadata["language_info"] = nbformat.from_dict(copy.deepcopy(LANGUAGE_INFO))
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    normalise_outputs(notebook)
    problems = [
        f"{_where(name, index, cell)}: {problem}"
        for index, cell in enumerate(notebook.cells, start=1)
        for problem in output_problems(cell)
    ]
    if problems:
        raise BuildError("\n".join(problems))


# The whole build


def build(chapter: Chapter) -> None:
    """Make both notebooks of `chapter`. When anything fails, neither file is touched.

    Raises:
        BuildError: the message names the chapter, the cell, and what to change.
        OSError: a file cannot be written.
    """
    solution, learner = make_notebooks(chapter)
    if chapter.source.parent.parent == ROOT:
        write_map(chapter.number)
    for notebook, path in ((solution, chapter.solution), (learner, chapter.chapter)):
        path.parent.mkdir(exist_ok=True)
        _execute_with_progress(notebook, path)
    with atomic_path(chapter.solution) as first, atomic_path(chapter.chapter) as second:
        first.write_text(to_text(solution), encoding="utf-8", newline="\n")
        second.write_text(to_text(learner), encoding="utf-8", newline="\n")


def to_text(notebook: NotebookNode) -> str:
    """Return the notebook as the text of its file.

    Raises:
        BuildError: it is not a valid notebook.
    """
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise BuildError(f"not a valid notebook: {error}") from error
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def _execute_with_progress(notebook: NotebookNode, path: Path) -> None:
    name = f"{path.parent.name}/{path.stem}"
    with tqdm(total=len(notebook.cells), desc=name, unit="cell", file=sys.stderr) as bar:
        seconds = execute(notebook, path.parent, name, lambda index: bar.update(index - bar.n))
        bar.update(bar.total - bar.n)
    promised = promised_seconds(notebook)
    print(f"{name}: ran in {seconds:.0f} s", end="")
    print(f" (promises {promised})" if promised else "", flush=True)
    if promised and seconds > promised:
        print(f"{name}: WARNING: slower than its first cell promises", file=sys.stderr)


def promised_seconds(notebook: NotebookNode) -> int | None:
    """Return the number in "... seconds to run" of the first cell, or None."""
    match = PROMISE.search(notebook.cells[0].source) if notebook.cells else None
    return int(match.group(1)) if match else None


# Out of step?


def out_of_step(chapter: Chapter) -> str | None:
    """Return why the stored notebooks do not follow from the source, or None when they do.

    Nothing is executed: sources and metadata are compared, outputs and execution counts are not.
    """
    mend = f"run: make notebooks CHAPTER={chapter.number}"
    solution, learner = make_notebooks(chapter)
    for made, path in ((solution, chapter.solution), (learner, chapter.chapter)):
        name = f"{path.parent.name}/{path.name}"
        if not path.is_file():
            return f"{name} is missing; {mend}"
        try:
            stored = nbformat.read(path, as_version=nbformat.NO_CONVERT)
        except Exception as error:  # nbformat raises many kinds for a damaged file
            return f"{name} is not a readable notebook ({error}); {mend}"
        difference = _difference(_without_outputs(made), _without_outputs(stored))
        if difference:
            return f"{name} is out of step with {chapter.source.name}: {difference}; {mend}"
    return None


def _without_outputs(notebook: NotebookNode) -> dict:
    plain = json.loads(json.dumps(notebook))
    for cell in plain["cells"]:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return plain


def _difference(made: dict, stored: dict) -> str | None:
    """Return the first difference between two notebooks in words."""
    for index, (new, old) in enumerate(zip(made["cells"], stored["cells"]), start=1):  # noqa: B905
        for key in sorted(set(new) | set(old)):
            if new.get(key) != old.get(key):
                return f"{key} of cell {index} differs"
    if len(made["cells"]) != len(stored["cells"]):
        return f"{len(stored['cells'])} cells stored, {len(made['cells'])} in the source"
    return None if made == stored else "notebook metadata differs"
