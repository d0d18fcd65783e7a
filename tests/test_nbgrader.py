"""A chapter as generated is an nbgrader assignment: release, three submissions, three scores."""

import os
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from llm_core.notebooks.build import STUB, find_chapters

ASSIGNMENT = "opening"


@pytest.fixture
def chapter():
    (found,) = find_chapters(["00"])
    return found


@pytest.fixture
def course(tmp_path, chapter, monkeypatch):
    """A teacher's nbgrader course whose one assignment is the chapter, released."""
    programs = Path(sys.executable).parent  # nbgrader calls alembic by name
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("LLM_CORE_PROGRESS", str(tmp_path / "progress.json"))
    source = tmp_path / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    shutil.copy(chapter.solution, source)
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.ClearSolutions.code_stub = {"python": STUB}
    config.Execute.timeout = 120
    api = NbGraderAPI(coursedir=CourseDirectory(config=config), config=config)
    result = api.generate_assignment(ASSIGNMENT)
    assert result["success"], result["log"]
    return api, tmp_path


def exercises(notebook):
    """Return the exercise cells by nbgrader id, in the order of the notebook."""
    marked = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {cell.metadata.nbgrader.grade_id: cell for cell in marked}


def submit(root, student, chapter, answers):
    """Hand in the learner's own chapter with these answers."""
    notebook = nbformat.read(chapter.chapter, as_version=4)
    for grade_id, cell in exercises(notebook).items():
        cell.source = answers.get(grade_id, cell.source)
    folder = root / "submitted" / student / ASSIGNMENT
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / chapter.chapter.name)


def grade(api, root, student):
    result = api.autograde(ASSIGNMENT, student)
    assert result["success"], result["log"]
    with Gradebook(f"sqlite:///{root / 'gradebook.db'}") as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, student)
        return submission.score, submission.max_score


def wrong(source):
    """Return the exercise with a body that only gives back its first argument."""
    signature = source.split("\n")[0]
    argument = signature.split("(")[1].split(",")[0].split(")")[0]
    return f"{signature}\n    return {argument}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_submissions_get_the_scores_that_they_earned(course, chapter):
    api, root = course
    solved = exercises(nbformat.read(chapter.solution, as_version=4))
    right = {grade_id: cell.source for grade_id, cell in solved.items()}
    assert len(right) >= 3
    faulty, open_still, *_ = right
    part = right | {faulty: wrong(right[faulty])}
    del part[open_still]
    submit(root, "ada", chapter, right)
    submit(root, "bob", chapter, part)
    submit(root, "cyd", chapter, {})
    ada, maximum = grade(api, root, "ada")
    bob, _ = grade(api, root, "bob")
    cyd, _ = grade(api, root, "cyd")
    print(f"scores: right {ada:g}, partly {bob:g}, all open {cyd:g}, of {maximum:g}")
    assert ada == maximum == len(right)
    assert bob == maximum - 2
    assert cyd == 0


def test_what_nbgrader_releases_is_the_learners_chapter(course, chapter):
    _, root = course
    released = nbformat.read(root / "release" / ASSIGNMENT / chapter.chapter.name, as_version=4)
    learner = nbformat.read(chapter.chapter, as_version=4)
    assert [cell.source for cell in released.cells] == [cell.source for cell in learner.cells]
    assert [cell.metadata for cell in released.cells] == [cell.metadata for cell in learner.cells]
