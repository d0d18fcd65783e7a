"""What the learner has passed, in one small JSON file, and the table that shows it."""

import contextlib
import copy
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from llm_core import files
from llm_core.exercises import markup
from llm_core.exercises.registry import Chapter, load_chapters
from llm_core.exercises.show import counted

_IN_PROCESS = threading.Lock()
_LOCK_WAIT = 2.0
"""Seconds to wait for another kernel that is writing; then its lock is taken for left behind."""


def progress_path() -> Path:
    """Return the file that remembers progress: `my_work/progress.json`, or `LLM_CORE_PROGRESS`."""
    return Path(os.environ.get("LLM_CORE_PROGRESS") or files.MY_WORK / "progress.json")


def remember_pass(id: str) -> str | None:
    """Remember that an exercise was passed. The first day stays; a later failure changes nothing.

    Returns:
        None, or a sentence on what went wrong; it never raises.
    """
    return _update({"passed": {id: date.today().isoformat()}})


def remember_answer(id: str, question: int, right: bool) -> str | None:
    """Remember whether a quiz question (from 0) was answered rightly the first time.

    Returns:
        None, or a sentence on what went wrong; it never raises.
    """
    return _update({"quizzes": {id: {str(question): bool(right)}}})


@dataclass(frozen=True, repr=False)
class Progress:
    """Which exercises are passed; shows itself as a table.

    A chapter that has not been begun is one line; its exercises appear with the first that is
    passed, or the first quiz question that is answered.

    Attributes:
        chapters: all chapters of this release.
        passed: ids of the exercises that are passed.
        quizzes: from quiz id to question number to whether its first answer was right.
        trouble: what went wrong with the file, or "".
    """

    chapters: tuple[Chapter, ...]
    passed: frozenset[str]
    quizzes: dict[str, dict[str, bool]]
    trouble: str = ""

    def __repr__(self) -> str:
        lines = [self._summary()]
        for chapter in self.chapters:
            lines.append(f"Chapter {chapter.number} {chapter.name}: {self._count(chapter)}")
            lines += [f"  {state}: {title}" for state, title, _ in self._rows(chapter)]
        return "\n".join(lines + ([self.trouble] if self.trouble else []))

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="{_CELL}">{h}</th>' for h in _COLUMNS)
        body = "".join(self._html_rows(chapter) for chapter in self.chapters)
        trouble = f"<p>{escape(self.trouble)}</p>" if self.trouble else ""
        return (
            f'<table style="border-collapse: collapse"><caption style="{_CAPTION}">'
            f"{escape(self._summary())}</caption><thead><tr>{head}</tr></thead>{body}</table>"
            f"{trouble}"
        )

    def _html_rows(self, chapter: Chapter) -> str:
        """Return one body of the table: a heading row for the chapter, then its rows."""
        title = f"{chapter.number} {chapter.name}: {self._count(chapter)}"
        rows = f'<tr><th colspan="3" scope="rowgroup" style="{_CELL}">{escape(title)}</th></tr>'
        for state, name, id in self._rows(chapter):
            kind = "good" if state == "passed" else "note"
            icon = f'<span aria-hidden="true" style="color: {markup.COLOURS[kind]}">'
            icon += f"{markup.ICONS[kind]}</span>"
            rows += (
                f'<tr><td style="{_CELL}">{icon} {escape(state)}</td>'
                f'<td style="{_CELL}">{escape(name)}</td>'
                f'<td style="{_CELL}"><code>{escape(id)}</code></td></tr>'
            )
        return f"<tbody>{rows}</tbody>"

    def _rows(self, chapter: Chapter) -> list[tuple[str, str, str]]:
        """Return (state, title, id) of every exercise and quiz of a chapter that is begun."""
        rows: list[tuple[str, str, str]] = []
        if not self._is_begun(chapter):
            return rows
        for exercise in chapter.exercises:
            state = "passed" if exercise.id in self.passed else "open"
            rows.append((state, exercise.title, exercise.id))
        for id, questions in chapter.quizzes.items():
            answers = self.quizzes.get(id, {})
            known = [answers[str(i)] for i in range(len(questions)) if str(i) in answers]
            state = "passed" if len(known) == len(questions) else "open"
            rows.append((state, f"quiz, {sum(known)} of {len(questions)} right at first", id))
        return rows

    def _is_begun(self, chapter: Chapter) -> bool:
        passed = any(exercise.id in self.passed for exercise in chapter.exercises)
        return passed or any(self.quizzes.get(id) for id in chapter.quizzes)

    def _count(self, chapter: Chapter) -> str:
        """Return "2 of 8 passed"."""
        done = sum(e.id in self.passed for e in chapter.exercises)
        return f"{done} of {len(chapter.exercises)} passed"

    def _summary(self) -> str:
        """Return one sentence on the whole course."""
        ids = [e.id for chapter in self.chapters for e in chapter.exercises]
        done = sum(id in self.passed for id in ids)
        return f"Your progress: {done} of {counted(len(ids), 'exercise')} passed."


_COLUMNS = ("State", "Exercise", "Id")
_CELL = "text-align: left; padding: 0.15em 0.9em 0.15em 0"
_CAPTION = "caption-side: top; text-align: left; font-weight: bold; padding-bottom: 0.3em"


def progress() -> Progress:
    """Show which exercises of every chapter you have passed.

    Returns:
        A table by chapter, as text or HTML; it never raises on account of the progress file.
    """
    data, trouble = _read(progress_path())
    chapters = tuple(load_chapters())
    return Progress(chapters, frozenset(data["passed"]), data["quizzes"], trouble)


def _update(news: dict[str, Any]) -> str | None:
    """Merge `news` into the file, which another kernel may be writing as well."""
    path = progress_path()
    try:
        with _IN_PROCESS, _locked(path):
            data, trouble = _read(path)
            before = copy.deepcopy(data)
            _merge(data, news)
            if data != before:
                files.write_json(path, data)
    except OSError as error:
        return f"Your progress could not be saved in {path}: {error.strerror or error}."
    return trouble or None


def _merge(data: dict[str, Any], news: dict[str, Any]) -> None:
    """Add what is new; what is there already stays."""
    for id, day in news.get("passed", {}).items():
        data["passed"].setdefault(id, day)
    for id, answers in news.get("quizzes", {}).items():
        data["quizzes"][id] = answers | data["quizzes"].get(id, {})


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Return what the file holds, in good form, and a sentence on any trouble with it."""
    empty: dict[str, Any] = {"version": 1, "passed": {}, "quizzes": {}}
    if not path.exists():
        return empty, ""
    try:
        return _well_formed(files.read_json(path)), ""
    except ValueError:
        return empty, _set_aside(path)
    except OSError as error:
        return empty, f"Your progress file {path} cannot be read ({error.strerror or error})."


def _well_formed(data: Any) -> dict[str, Any]:
    """Return the parts that we know of a progress file, or raise ValueError."""
    if not isinstance(data, dict) or not isinstance(data.get("passed"), dict):
        raise ValueError("not a progress file")
    quizzes = data.get("quizzes", {})
    if not isinstance(quizzes, dict) or not all(isinstance(a, dict) for a in quizzes.values()):
        raise ValueError("not a progress file")
    return data | {"quizzes": quizzes}


def _set_aside(path: Path) -> str:
    """Rename a damaged file, so that nothing in it is lost, and say so."""
    kept = next(
        p
        for n in range(1, 1000)
        if not (p := path.with_name(f"{path.stem}.damaged-{n}{path.suffix}")).exists()
    )
    try:
        os.replace(path, kept)
    except OSError:
        return f"Your progress file {path} is damaged and could not be set aside."
    return f"Your progress file was damaged. It is kept as {kept}, and a new one has been begun."


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file beside `path`; one that is left behind is taken over after a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        except PermissionError:
            # Windows says so while the other kernel is removing the file; elsewhere it is final.
            if os.name != "nt" or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
