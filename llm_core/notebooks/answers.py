"""What a learner changed in a chapter, and how it gets into a newer release. Pure functions.

A released notebook carries a record of its cells (a hash of each source) in its metadata, so that a
change is seen without git, also in a course that came as a zip file. Running cells is no change.
"""

import copy
import hashlib
import re
from dataclasses import dataclass, field

from nbformat import NotebookNode, from_dict

RECORD = "llm_core"
"""Key of the notebook metadata under which a release records its cells."""

STUB = "raise NotImplementedError"
NEW_TEXT = "# The exercise changed in a newer release. Its new text:"


@dataclass
class Changes:
    """What differs from the release, by number of the cell in the notebook, from 1.

    Attributes:
        edited: cells whose source is another one.
        added: cells that the release does not have.
        deleted: ids of released cells that are gone.
        moved: the released cells stand in another order.
        unknown: the notebook has no record; everything counts as changed.
    """

    edited: list[int] = field(default_factory=list)
    added: list[int] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    moved: bool = False
    unknown: bool = False

    def __bool__(self) -> bool:
        return bool(self.edited or self.added or self.deleted or self.moved or self.unknown)


@dataclass
class MergeReport:
    """What happened to a learner's changes; exercises by id, "attention.causal_mask".

    Attributes:
        restored: answers that stand in the newer release.
        reworded: those among them whose exercise has a new text, which stands below the answer.
        kept_newer: answers not put back, because the newer notebook has one there already.
        homeless: answers to exercises that the newer release no longer has.
        other: other cells that were changed or added, a line each.
    """

    restored: list[str] = field(default_factory=list)
    reworded: list[str] = field(default_factory=list)
    kept_newer: list[str] = field(default_factory=list)
    homeless: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)


def record_sources(notebook: NotebookNode) -> None:
    """Write into the notebook's metadata what each cell is at its release."""
    sources = {cell.id: cell_hash(cell) for cell in notebook.cells}
    notebook.metadata[RECORD] = from_dict({"sources": sources})


def cell_hash(cell: NotebookNode) -> str:
    """Return a short hash of a cell's kind and source; what was run or printed does not count."""
    source = cell.source.replace("\r\n", "\n").rstrip()
    return hashlib.sha256(f"{cell.cell_type}\n{source}".encode()).hexdigest()[:16]


def changes(notebook: NotebookNode) -> Changes:
    """Return what a learner changed since the notebook was released."""
    record = _record(notebook)
    if record is None:
        return Changes(unknown=True)
    found, order = Changes(), []
    for number, cell in enumerate(notebook.cells, start=1):
        cell_id = cell.get("id")
        if cell_id not in record:
            found.added.append(number)
            continue
        order.append(cell_id)
        if cell_hash(cell) != record[cell_id]:
            found.edited.append(number)
    found.deleted = sorted(set(record) - set(order))
    found.moved = order != sorted(order)  # ids are stem-001, stem-002, ...
    return found


def merge_answers(old: NotebookNode, new: NotebookNode) -> tuple[NotebookNode, MergeReport]:
    """Put the answers in `old` into a copy of `new`, exercise by exercise.

    Exercises are matched by their nbgrader id, which stays when cells are inserted. A cell of `new`
    is only replaced when it is as released, so that merging twice does no harm.

    Args:
        old: the learner's notebook, of any release.
        new: the notebook of the newer release.

    Returns:
        The merged notebook, and what became of each change in `old`.
    """
    merged, report = copy.deepcopy(new), MergeReport()
    targets = _exercises(merged)
    answers = _answers(old)
    for grade_id, answer in answers.items():
        name = grade_id.replace("-", ".", 1)
        target = targets.get(grade_id)
        if target is None:
            report.homeless.append(name)
        elif target.source.rstrip() == answer.source.rstrip():
            report.restored.append(name)
        elif not _as_released(target, merged):
            report.kept_newer.append(name)
        else:
            report.restored.append(name)
            if _reworded(answer, old, target, merged):
                report.reworded.append(name)
                target.source = f"{answer.source.rstrip()}\n\n{_commented(target.source)}"
            else:
                target.source = answer.source
            _forget_outputs(merged, grade_id)
    report.other = _other_changes(old, {id(cell) for cell in answers.values()})
    return merged, report


def released_from_solution(solution: NotebookNode) -> NotebookNode:
    """Return the learner's chapter, made from its solution, without the checks' outputs.

    For a course without git, when the chapter itself is no longer as released.
    """
    notebook = copy.deepcopy(solution)
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        if not marks:
            continue
        cell.outputs, cell.execution_count = [], None
        cell.metadata["deletable"] = False
        if marks.get("solution"):
            cell.source = _without_solution(cell.source)
        else:
            cell.metadata["editable"] = False
    record_sources(notebook)
    return notebook


def _without_solution(source: str) -> str:
    region = re.compile(r"^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION[^\n]*", re.M | re.S)
    return region.sub(lambda match: match[1] + STUB, source)


def _record(notebook: NotebookNode) -> dict[str, str] | None:
    record = notebook.metadata.get(RECORD, {}).get("sources")
    return record if isinstance(record, dict) and record else None


def _exercises(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the exercise cells by nbgrader id; of two copies, the one with the released id."""
    record = _record(notebook) or {}
    found: dict[str, NotebookNode] = {}
    for cell in notebook.cells:
        marks = cell.metadata.get("nbgrader", {})
        grade_id = marks.get("grade_id")
        if cell.cell_type != "code" or not marks.get("solution") or not grade_id:
            continue
        if grade_id not in found or cell.get("id") in record:
            found[grade_id] = cell
    return found


def _answers(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """Return the exercise cells that are no longer as released."""
    exercises = _exercises(notebook).items()
    return {grade_id: cell for grade_id, cell in exercises if not _as_released(cell, notebook)}


def _as_released(cell: NotebookNode, notebook: NotebookNode) -> bool:
    return (_record(notebook) or {}).get(cell.get("id")) == cell_hash(cell)


def _reworded(
    answer: NotebookNode, old: NotebookNode, target: NotebookNode, new: NotebookNode
) -> bool:
    before = (_record(old) or {}).get(answer.get("id"))
    return before is not None and before != (_record(new) or {}).get(target.get("id"))


def _commented(source: str) -> str:
    lines = [NEW_TEXT, *source.rstrip().split("\n")]
    return "\n".join(line if line.startswith("#") else f"# {line}".rstrip() for line in lines)


def _forget_outputs(notebook: NotebookNode, grade_id: str) -> None:
    """Drop what the released exercise and its check had printed: it is not about this answer."""
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in (grade_id, f"{grade_id}-check"):
            cell.outputs, cell.execution_count = [], None


def _other_changes(notebook: NotebookNode, answers: set[int]) -> list[str]:
    found = changes(notebook)
    if found.unknown:
        return ["the notebook has no record of its release, so its other cells were not compared"]
    lines = []
    for kind, numbers in (("changed", found.edited), ("added", found.added)):
        for number in numbers:
            cell = notebook.cells[number - 1]
            if id(cell) not in answers and cell.source.strip():
                first = cell.source.strip().split("\n")[0][:60]
                lines.append(f"{kind}: cell {number}, {first!r}")
    return lines
