"""`make update` and `make reset`: a newer release, and nothing of the learner's lost."""

import shutil
import subprocess
from datetime import date
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from llm_core.notebooks import update as module
from llm_core.notebooks.answers import (
    changes,
    merge_answers,
    record_sources,
    released_from_solution,
)
from llm_core.notebooks.update import UpdateError, reset, update

STUB = "def {name}(x):\n    raise NotImplementedError"
CHAPTER = Path("chapters/04_attention.ipynb")
TODAY = date.today().isoformat()


def exercise(name, source=None):
    marks = {"solution": True, "grade": False, "grade_id": f"attention-{name}"}
    source = STUB.format(name=name) if source is None else source
    return new_code_cell(source, metadata={"nbgrader": marks})


def check(name):
    marks = {"solution": False, "grade": True, "grade_id": f"attention-{name}-check"}
    cell = new_code_cell(f'check("attention.{name}", {name})', metadata={"nbgrader": marks})
    cell.outputs = [nbformat.v4.new_output("stream", text="Not attempted yet.")]
    return cell


def released(*cells):
    """Return a notebook as a release has it: numbered ids, and the record of its cells."""
    notebook = new_notebook(cells=list(cells))
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"04_attention-{number:03d}"
    record_sources(notebook)
    return notebook


def first_release():
    text = new_markdown_cell("# Attention")
    return released(text, exercise("softmax"), check("softmax"), exercise("mask"), check("mask"))


def second_release():
    """A cell is inserted, so that every id after it moves; the mask's text is new; one is added."""
    return released(
        new_markdown_cell("# Attention"),
        new_markdown_cell("A new paragraph."),
        exercise("softmax"),
        check("softmax"),
        exercise("mask", 'def mask(x):\n    """True = may look."""\n    raise NotImplementedError'),
        check("mask"),
        exercise("heads"),
        check("heads"),
    )


def write(notebook, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def read(path):
    return nbformat.read(path, as_version=4)


def answer(path, name, source):
    notebook = read(path)
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") == f"attention-{name}":
            cell.source = source
    write(notebook, path)


def source_of(path, name):
    return next(
        cell.source
        for cell in read(path).cells
        if cell.metadata.get("nbgrader", {}).get("grade_id") == f"attention-{name}"
    )


def git(folder, *arguments):
    who = ["-c", "user.name=Course", "-c", "user.email=course@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *who, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture
def origin(tmp_path):
    """The course's own repository with its first release."""
    folder = tmp_path / "origin"
    write(first_release(), folder / CHAPTER)
    (folder / ".gitignore").write_text("my_work/\n")
    (folder / "engine.py").write_text("version = 1\n")
    git(tmp_path, "init", "--quiet", "--initial-branch=main", str(folder))
    commit(folder, "first release")
    return folder


@pytest.fixture
def clone(tmp_path, origin):
    """A learner's clone of the first release."""
    git(tmp_path, "clone", "--quiet", str(origin), "clone")
    return tmp_path / "clone"


def commit(folder, message):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def release_again(origin):
    write(second_release(), origin / CHAPTER)
    (origin / "engine.py").write_text("version = 2\n")
    commit(origin, "second release")


def run_update(clone, **options):
    return update(clone, clone / "my_work", **options)


def copies(folder):
    return sorted(path.name for path in (folder / "my_work").glob("*.ipynb"))


# What was changed?


def test_running_cells_is_no_change():
    notebook = first_release()
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="ran")]
    notebook.cells[1].execution_count = 7
    assert not changes(notebook)


def test_changes_names_edited_added_deleted_and_moved_cells():
    notebook = first_release()
    notebook.cells[1].source = "def softmax(x):\n    return x"
    notebook.cells.insert(2, new_code_cell("mine = 1"))
    del notebook.cells[5]
    found = changes(notebook)
    assert (found.edited, found.added, found.deleted) == ([2], [3], ["04_attention-005"])
    notebook = first_release()
    notebook.cells.reverse()
    assert changes(notebook).moved


def test_a_notebook_without_a_record_counts_as_changed():
    notebook = first_release()
    del notebook.metadata["llm_core"]
    assert changes(notebook).unknown
    assert changes(notebook)


# Putting answers back


def test_merge_matches_answers_by_exercise_when_cells_were_inserted():
    old = first_release()
    old.cells[1].source = "def softmax(x):\n    return x.exp()"
    merged, report = merge_answers(old, second_release())
    assert merged.cells[2].source == "def softmax(x):\n    return x.exp()"
    assert report.restored == ["attention.softmax"]
    assert report.reworded == []
    assert merged.cells[3].outputs == [], "the check's stored output is about the stub"
    assert merged.cells[5].outputs, "another exercise keeps what it had"


def test_merge_shows_the_new_text_of_a_reworded_exercise_below_the_answer():
    old = first_release()
    old.cells[3].source = "def mask(x):\n    return x > 0"
    merged, report = merge_answers(old, second_release())
    assert report.reworded == ["attention.mask"]
    assert merged.cells[4].source.startswith("def mask(x):\n    return x > 0\n")
    assert '#     """True = may look."""' in merged.cells[4].source
    compile(merged.cells[4].source, "cell", "exec")


def test_merge_lists_what_stays_in_the_copy_only():
    old = first_release()
    old.cells[0].source = "# My attention"
    old.cells.append(new_code_cell("mine = 1"))
    old.cells[3].source = "def mask(x):\n    return x"
    without_mask = released(new_markdown_cell("# Attention"), exercise("softmax"))
    merged, report = merge_answers(old, without_mask)
    assert report.homeless == ["attention.mask"]
    assert report.other == ["changed: cell 1, '# My attention'", "added: cell 6, 'mine = 1'"]
    assert merged == without_mask


def test_merge_never_replaces_an_answer_and_does_no_harm_twice():
    old, new = first_release(), second_release()
    old.cells[1].source = "old answer"
    once, _ = merge_answers(old, new)
    twice, _ = merge_answers(old, once)
    assert once == twice
    new.cells[2].source = "newer answer"
    merged, report = merge_answers(old, new)
    assert merged.cells[2].source == "newer answer"
    assert report.kept_newer == ["attention.softmax"]


def test_merge_prefers_the_released_cell_to_a_copy_of_it():
    old = first_release()
    old.cells[1].source = "the answer"
    old.cells.append(exercise("softmax", "a pasted copy"))
    merged, report = merge_answers(old, second_release())
    assert merged.cells[2].source == "the answer"
    assert report.other == ["added: cell 6, 'a pasted copy'"]


# Update in a git clone


def test_update_keeps_the_answer_and_brings_the_release(origin, clone):
    answer(clone / CHAPTER, "softmax", "def softmax(x):\n    return x.exp()")
    before = (clone / CHAPTER).read_bytes()
    release_again(origin)
    report = str(run_update(clone))
    assert source_of(clone / CHAPTER, "softmax") == "def softmax(x):\n    return x.exp()"
    assert "A new paragraph." in [cell.source for cell in read(clone / CHAPTER).cells]
    assert (clone / "engine.py").read_text() == "version = 2\n"
    assert copies(clone) == [f"04_attention-{TODAY}-1.ipynb"]
    assert (clone / "my_work" / copies(clone)[0]).read_bytes() == before
    assert "attention.softmax" in report
    assert copies(clone)[0] in report
    assert "newest release; nothing to do" in str(run_update(clone))


def test_update_twice_keeps_both_versions(origin, clone):
    answer(clone / CHAPTER, "softmax", "first answer")
    release_again(origin)
    run_update(clone)
    answer(clone / CHAPTER, "softmax", "second answer")
    write(first_release(), origin / CHAPTER)
    commit(origin, "third release")
    run_update(clone)
    assert source_of(clone / CHAPTER, "softmax") == "second answer"
    assert len(copies(clone)) == 2


def test_update_makes_no_copy_of_a_chapter_that_was_only_run(origin, clone):
    notebook = read(clone / CHAPTER)
    notebook.cells[1].execution_count = 3
    write(notebook, clone / CHAPTER)
    release_again(origin)
    run_update(clone)
    assert copies(clone) == []
    assert read(clone / CHAPTER) == second_release()


def test_update_leaves_a_changed_chapter_alone_that_the_release_does_not_touch(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    (origin / "engine.py").write_text("version = 2\n")
    commit(origin, "engine only")
    run_update(clone)
    assert (clone / CHAPTER).read_bytes() == before
    assert copies(clone) == []


def test_update_keeps_a_staged_answer(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    git(clone, "add", str(CHAPTER))
    release_again(origin)
    run_update(clone)
    assert source_of(clone / CHAPTER, "softmax") == "mine"


def test_update_keeps_a_chapter_that_the_release_deletes(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    git(origin, "rm", "--quiet", str(CHAPTER))
    commit(origin, "without the chapter")
    report = str(run_update(clone))
    assert not (clone / CHAPTER).exists()
    assert (clone / "my_work" / copies(clone)[0]).read_bytes() == before
    assert "is not in this release" in report


def test_update_copies_a_damaged_notebook_byte_for_byte(origin, clone):
    (clone / CHAPTER).write_bytes(b'{"cells": [ cut off')
    release_again(origin)
    report = str(run_update(clone))
    assert (clone / "my_work" / copies(clone)[0]).read_bytes() == b'{"cells": [ cut off'
    assert read(clone / CHAPTER) == second_release()
    assert "could not be read" in report


def test_update_keeps_a_notebook_of_the_learner_with_the_name_of_a_new_chapter(origin, clone):
    mine = new_notebook(cells=[new_code_cell("my own chapter 5")])
    write(mine, clone / "chapters/05_block.ipynb")
    write(first_release(), origin / "chapters/05_block.ipynb")
    commit(origin, "a new chapter")
    run_update(clone)
    assert read(clone / "chapters/05_block.ipynb") == first_release()
    assert read(clone / "my_work" / copies(clone)[0]).cells[0].source == "my own chapter 5"


def test_update_copies_a_changed_solution_notebook(origin, clone):
    solution = Path("solutions/04_attention.ipynb")
    write(first_release(), origin / solution)
    commit(origin, "solutions")
    run_update(clone)
    answer(clone / solution, "softmax", "tried out in the solution")
    write(second_release(), origin / solution)
    commit(origin, "newer solutions")
    run_update(clone)
    assert copies(clone) == [f"04_attention-solution-{TODAY}-1.ipynb"]
    assert read(clone / solution) == second_release()


def test_update_leaves_other_changed_files_alone(origin, clone):
    (clone / "notes.txt").write_text("mine")
    (clone / ".gitignore").write_text("my_work/\nmore\n")
    release_again(origin)
    run_update(clone)
    assert (clone / "notes.txt").read_text() == "mine"
    assert (clone / ".gitignore").read_text() == "my_work/\nmore\n"


@pytest.mark.parametrize("state", ["changed", "untracked"])
def test_update_stops_before_anything_when_another_file_would_be_overwritten(origin, clone, state):
    if state == "changed":
        (clone / "engine.py").write_text("my own engine\n")
    else:
        (clone / "added.py").write_text("my own engine\n")
        (origin / "added.py").write_text("released\n")
    answer(clone / CHAPTER, "softmax", "mine")
    files = [path for path in clone.rglob("*") if path.is_file() and ".git" not in path.parts]
    before = {path: path.read_bytes() for path in files}
    release_again(origin)
    with pytest.raises(UpdateError, match=r"(?s)(engine|added)\.py.*Nothing was changed"):
        run_update(clone)
    assert {path: path.read_bytes() for path in before} == before


def test_update_offline_says_so_and_changes_nothing(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    shutil.move(origin, origin.with_name("gone"))
    with pytest.raises(UpdateError, match="are you online"):
        run_update(clone)
    assert (clone / CHAPTER).read_bytes() == before


def test_update_with_own_commits_says_how_to_go_on_and_that_works(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    commit(clone, "my answers")
    release_again(origin)
    with pytest.raises(UpdateError, match="git branch my-commits") as caught:
        run_update(clone)
    for line in str(caught.value).splitlines():
        if line.strip().startswith("git "):
            git(clone, *line.split()[1:])
    run_update(clone)
    assert source_of(clone / CHAPTER, "softmax") == "mine"
    assert "my answers" in git(clone, "log", "my-commits", "--format=%s")


def test_update_during_a_merge_stops(origin, clone):
    release_again(origin)
    (clone / ".git" / "MERGE_HEAD").write_text(git(clone, "rev-parse", "HEAD"))
    with pytest.raises(UpdateError, match="merge or rebase is under way"):
        run_update(clone)


def test_update_on_a_detached_head_or_a_branch_of_ones_own_stops(origin, clone):
    git(clone, "switch", "--quiet", "-c", "mine")
    with pytest.raises(UpdateError, match="follows no remote branch"):
        run_update(clone)
    git(clone, "switch", "--quiet", "--detach")
    with pytest.raises(UpdateError, match="not on a branch"):
        run_update(clone)


def test_update_that_git_refuses_puts_every_notebook_back(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    release_again(origin)
    hook = clone / ".git" / "index.lock"
    hook.write_text("another git is running")
    with pytest.raises(UpdateError, match="your files are as before"):
        run_update(clone)
    assert (clone / CHAPTER).read_bytes() == before
    hook.unlink()
    run_update(clone)
    assert source_of(clone / CHAPTER, "softmax") == "mine"


def test_update_killed_half_way_is_finished_by_the_next_one(origin, clone, monkeypatch):
    answer(clone / CHAPTER, "softmax", "mine")
    release_again(origin)
    with monkeypatch.context() as patch:
        patch.setattr(module, "_put_back", lambda *_: None)  # the release is laid, then power fails
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        run_update(clone)
    assert source_of(clone / CHAPTER, "softmax") != "mine"
    report = str(run_update(clone))
    assert "interrupted" in report
    assert source_of(clone / CHAPTER, "softmax") == "mine"
    assert not (clone / "my_work" / module.JOURNAL).exists()


def test_update_with_an_unwritable_my_work_changes_nothing(origin, clone):
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    release_again(origin)
    (clone / "my_work").write_text("a file in place of the folder")
    with pytest.raises(UpdateError, match="Nothing was changed"):
        run_update(clone)
    assert (clone / CHAPTER).read_bytes() == before


# A course that came as a zip file


@pytest.fixture
def unzipped(tmp_path):
    folder = tmp_path / "old"
    write(first_release(), folder / CHAPTER)
    return folder


def test_update_without_git_says_how_to_go_on(unzipped):
    answer(unzipped / CHAPTER, "softmax", "mine")
    before = (unzipped / CHAPTER).read_bytes()
    with pytest.raises(UpdateError, match=rf"--from {unzipped}"):
        run_update(unzipped)
    assert (unzipped / CHAPTER).read_bytes() == before


def test_update_inside_another_repository_is_not_taken_for_a_clone(tmp_path, unzipped):
    git(tmp_path, "init", "--quiet")
    with pytest.raises(UpdateError, match="not a git clone"):
        run_update(unzipped)


def test_update_from_an_older_folder_brings_answers_and_progress(tmp_path, unzipped):
    answer(unzipped / CHAPTER, "softmax", "mine")
    (unzipped / "my_work").mkdir()
    (unzipped / "my_work" / "progress.json").write_text("{}")
    before = (unzipped / CHAPTER).read_bytes()
    new = tmp_path / "new"
    write(second_release(), new / CHAPTER)
    report = str(run_update(new, previous=unzipped))
    assert source_of(new / CHAPTER, "softmax") == "mine"
    assert (new / "my_work" / "progress.json").read_text() == "{}"
    assert (new / "my_work" / copies(new)[0]).read_bytes() == before
    assert (unzipped / CHAPTER).read_bytes() == before
    assert "attention.softmax" in report


@pytest.mark.parametrize("folder", ["old", "nowhere"])
def test_update_from_a_wrong_folder_says_so(tmp_path, unzipped, folder):
    with pytest.raises(UpdateError, match="folder"):
        run_update(unzipped, previous=tmp_path / folder)


# Reset


def test_reset_gives_the_released_chapter_and_keeps_the_old_one(clone):
    released_bytes = (clone / CHAPTER).read_bytes()
    answer(clone / CHAPTER, "softmax", "mine")
    before = (clone / CHAPTER).read_bytes()
    report = str(reset("04", clone, clone / "my_work"))
    assert (clone / CHAPTER).read_bytes() == released_bytes
    assert (clone / "my_work" / copies(clone)[0]).read_bytes() == before
    assert copies(clone)[0] in report
    assert "nothing to do" in str(reset("attention", clone, clone / "my_work"))


def test_reset_finds_the_release_when_the_learner_committed_answers(clone):
    answer(clone / CHAPTER, "softmax", "mine")
    commit(clone, "my answers")
    reset("04_attention", clone, clone / "my_work")
    assert read(clone / CHAPTER) == first_release()


def solved_release():
    solution = "def {name}(x):\n    ### BEGIN SOLUTION\n    return x\n    ### END SOLUTION"
    notebook = first_release()
    for number, name in ((1, "softmax"), (3, "mask")):
        notebook.cells[number].source = solution.format(name=name)
    record_sources(notebook)
    return notebook


def test_reset_without_git_makes_the_chapter_from_its_solution(unzipped):
    write(solved_release(), unzipped / "solutions" / CHAPTER.name)
    answer(unzipped / CHAPTER, "softmax", "mine")
    reset("4", unzipped, unzipped / "my_work")
    now = read(unzipped / CHAPTER)
    assert [cell.source for cell in now.cells] == [cell.source for cell in first_release().cells]
    assert now.metadata == first_release().metadata
    assert len(copies(unzipped)) == 1


def test_reset_restores_a_deleted_chapter(clone):
    write(solved_release(), clone / "solutions" / CHAPTER.name)
    (clone / CHAPTER).unlink()
    reset("04", clone, clone / "my_work")
    assert read(clone / CHAPTER) == first_release()


def test_reset_stops_when_the_release_is_nowhere(unzipped):
    answer(unzipped / CHAPTER, "softmax", "mine")
    before = (unzipped / CHAPTER).read_bytes()
    with pytest.raises(UpdateError, match="Download the release again"):
        reset("04", unzipped, unzipped / "my_work")
    assert (unzipped / CHAPTER).read_bytes() == before


@pytest.mark.parametrize("name", ["", "99", "4x", "engine.py"])
def test_reset_of_no_chapter_names_the_chapters(clone, name):
    with pytest.raises(UpdateError, match="04_attention"):
        reset(name, clone, clone / "my_work")


def test_released_from_solution_leaves_no_solution():
    notebook = released_from_solution(solved_release())
    assert all("return x" not in cell.source for cell in notebook.cells)
    assert not changes(notebook)
