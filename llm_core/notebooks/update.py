"""A newer release without losing anything of the learner's: `make update` and `make reset`.

Whatever is replaced was copied to `my_work/` before. In a git clone, `update` fetches the newest
release and moves the files that belong to the course forward; in a course that came as a zip file,
it brings the answers over from the folder of the older release.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from llm_core.files import MY_WORK, ROOT, atomic_path, read_json, write_json, write_text
from llm_core.notebooks.answers import (
    MergeReport,
    changes,
    merge_answers,
    released_from_solution,
)

JOURNAL = "unfinished-update.json"
FETCH_SECONDS = 120

ZIP_ADVICE = """This folder is not a git clone of the course, so nothing can be fetched into it.
Nothing was changed. To go on with a newer release:
  1. Download the newest release as a zip file and unpack it beside this folder.
  2. In the new folder, run:  python -m llm_core update --from {root}
Your answers and your progress are copied over; this folder stays as it is."""


class UpdateError(ValueError):
    """The update or reset did not happen; the message says why and what to do."""


class GitError(UpdateError):
    """Git refused; the message is git's own."""


@dataclass
class Report:
    """What an update or a reset did, in lines for the learner; `str(report)` joins them."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def __str__(self) -> str:
        return "\n".join(self.lines)


def update(
    root: Path = ROOT, my_work: Path = MY_WORK, previous: str | Path | None = None
) -> Report:
    """Bring the newest release and put the learner's answers into it.

    Args:
        root: the course's folder.
        my_work: where copies of changed chapters go.
        previous: the folder of an older release to bring answers from; None fetches with git.

    Returns:
        What was done, to be printed.

    Raises:
        UpdateError: nothing was changed; the message says why and what to do.
    """
    root, my_work, report = Path(root), Path(my_work), Report()
    _require_writable(my_work)
    _finish_interrupted(root, my_work, report)
    if previous is not None:
        _bring_over(Path(previous), root, my_work, report)
    elif not _is_clone(root):
        raise UpdateError(ZIP_ADVICE.format(root=root))
    else:
        _fast_forward(root, my_work, report)
    return report


def reset(chapter: str, root: Path = ROOT, my_work: Path = MY_WORK) -> Report:
    """Put back `chapter` as it was released; the learner's version goes to `my_work`.

    Args:
        chapter: "04", "4", "attention" or "04_attention".

    Raises:
        UpdateError: no such chapter, or its released form is nowhere to be found.
    """
    root, my_work, report = Path(root), Path(my_work), Report()
    path = root / "chapters" / f"{_find_stem(chapter, root)}.ipynb"
    released = _released_text(path, root)
    old = path.read_bytes() if path.is_file() else None
    if old is not None and old.replace(b"\r\n", b"\n") == released.encode("utf-8"):
        report.add(f"chapters/{path.name} is as released; nothing to do.")
        return report
    if old is not None:
        _require_writable(my_work)
        report.add(f"Your version is kept as {_save(path, old, my_work)}.")
    write_text(path, released)
    report.add(f"chapters/{path.name} is as released again. If it is open: File, Reload from Disk.")
    return report


# Copies


def _require_writable(my_work: Path) -> None:
    probe = my_work / f"probe.{os.getpid()}.partial"
    try:
        my_work.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UpdateError(
            f"Cannot write in {my_work} ({error.strerror or error}), where your answers would be "
            "kept. Nothing was changed. Make that folder writable and try again."
        ) from error


def _save(path: Path, content: bytes, my_work: Path) -> str:
    """Copy a notebook byte for byte to `my_work`, never over another file; return its name."""
    name = path.stem + ("-solution" if path.parent.name == "solutions" else "")
    number = 1
    while (copy := my_work / f"{name}-{date.today().isoformat()}-{number}.ipynb").exists():
        if copy.read_bytes() == content:
            return f"{my_work.name}/{copy.name}"
        number += 1
    with atomic_path(copy) as partial:
        partial.write_bytes(content)
    return f"{my_work.name}/{copy.name}"


def _put_back(path: Path, old: bytes, copy: str, report: Report) -> None:
    """Merge the answers of `old` into the notebook at `path`, and say what became of them."""
    name = f"chapters/{path.name}"
    old_notebook = _read(old)
    if not path.is_file():
        report.add(f"{name} is not in this release. Your version is kept as {copy}.")
        return
    new_notebook = _read(path.read_bytes())
    if old_notebook is None or new_notebook is None:
        report.add(f"{name}: your version could not be read as a notebook; it is kept as {copy}.")
        return
    merged, merge = merge_answers(old_notebook, new_notebook)
    if merged != new_notebook:
        write_text(path, nbformat.writes(merged).rstrip("\n") + "\n")
    _tell(name, copy, merge, report)


def _tell(name: str, copy: str, merge: MergeReport, report: Report) -> None:
    report.add(f"{name}: your version is kept as {copy}.")
    for line, exercises in (
        ("your answers are in the new version", merge.restored),
        ("the exercise has a new text, which stands below your answer", merge.reworded),
        ("an answer stood there already, so yours is only in the copy", merge.kept_newer),
        ("the exercise is gone, so your answer is only in the copy", merge.homeless),
    ):
        if exercises:
            report.add(f"  {line}: {', '.join(exercises)}")
    if merge.other:
        report.add("  only in the copy:")
        report.lines.extend(f"    {line}" for line in merge.other)


def _is_changed(content: bytes) -> bool:
    notebook = _read(content)
    return notebook is None or bool(changes(notebook))


def _read(content: bytes) -> NotebookNode | None:
    """Return the notebook, or None when the bytes are not a valid one."""
    try:
        notebook = nbformat.reads(content.decode("utf-8"), as_version=4)
        nbformat.validate(notebook)
    except Exception:  # nbformat raises many kinds for damaged files; each means "not readable"
        return None
    return notebook


# Interruption: the journal says whose answers are still to be put back


def _finish_interrupted(root: Path, my_work: Path, report: Report) -> None:
    journal = my_work / JOURNAL
    if not journal.is_file():
        return
    report.add("An earlier update was interrupted; finishing it.")
    for chapter, copy in read_json(journal).items():
        saved = my_work.parent / copy
        if saved.is_file():
            _put_back(root / chapter, saved.read_bytes(), copy, report)
    journal.unlink()


# A git clone


def _is_clone(root: Path) -> bool:
    """Tell whether `root` itself is a git work tree, not merely inside one."""
    if shutil.which("git") is None:
        return False
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
    except GitError as error:
        if "dubious ownership" in str(error):
            raise
        return False
    return Path(top).samefile(root)


def _git(root: Path, *arguments: str, seconds: float | None = None) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("GIT_DIR", "GIT_WORK_TREE")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            env=environment,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise GitError(f"git {arguments[0]} gave no answer in {seconds:.0f} seconds") from error
    if done.returncode:
        raise GitError(done.stderr.decode("utf-8", "replace").strip() or f"git {arguments} failed")
    return done.stdout.decode("utf-8")


def _fast_forward(root: Path, my_work: Path, report: Report) -> None:
    upstream = _fetch(root)
    if _is_ancestor(root, upstream, "HEAD"):
        report.add("You have the newest release; nothing to do.")
        return
    _require_forward(root, upstream)
    released = _released_paths(root, upstream)
    dirty = _dirty_paths(root)
    _require_no_clash(dirty, released)
    notebooks = sorted(path for path in dirty if path in released)
    contents = {path: (root / path).read_bytes() for path in notebooks if (root / path).is_file()}
    copies = {
        path: _save(root / path, content, my_work)
        for path, content in contents.items()
        if _is_changed(content)
    }
    answers = {path: copy for path, copy in copies.items() if path.startswith("chapters/")}
    if answers:
        write_json(my_work / JOURNAL, answers)
    try:
        _lay_release(root, upstream, notebooks, contents)
    except BaseException:
        (my_work / JOURNAL).unlink(missing_ok=True)  # every notebook is as it was
        raise
    report.add(f"The newest release is here: {len(released)} files are new or changed.")
    for path, copy in copies.items():
        if path in answers:
            _put_back(root / path, contents[path], copy, report)
        else:
            report.add(f"{path} was changed; your version is kept as {copy}.")
    (my_work / JOURNAL).unlink(missing_ok=True)
    _last_words(released, report)


def _fetch(root: Path) -> str:
    """Fetch, and return the name of the branch that this one follows."""
    try:
        branch = _git(root, "symbolic-ref", "--short", "HEAD").strip()
    except GitError as error:
        raise UpdateError(
            "This clone is not on a branch (git: detached HEAD). Nothing was changed. "
            "Go back to the course's branch with: git switch main"
        ) from error
    try:
        upstream = _git(root, "rev-parse", "--abbrev-ref", f"{branch}@{{upstream}}").strip()
        remote = _git(root, "config", f"branch.{branch}.remote").strip()
    except GitError as error:
        raise UpdateError(
            f"The branch {branch!r} follows no remote branch, so there is nowhere to fetch from. "
            f"Nothing was changed. Set it with: git branch --set-upstream-to=origin/main {branch}"
        ) from error
    try:
        _git(root, "fetch", "--quiet", remote, seconds=FETCH_SECONDS)
    except GitError as error:
        raise UpdateError(
            f"The newest release could not be fetched; are you online? Nothing was changed.\n"
            f"git says: {error}"
        ) from error
    return upstream


def _is_ancestor(root: Path, earlier: str, later: str) -> bool:
    missing = _git(root, "rev-list", "--count", f"{later}..{earlier}")
    return int(missing) == 0


def _require_forward(root: Path, upstream: str) -> None:
    for state in ("MERGE_HEAD", "rebase-merge", "rebase-apply", "CHERRY_PICK_HEAD"):
        if (root / _git(root, "rev-parse", "--git-path", state).strip()).exists():
            raise UpdateError(
                "A git merge or rebase is under way in this clone. Nothing was changed. "
                "Finish it, or give it up with: git merge --abort (or git rebase --abort)"
            )
    own = int(_git(root, "rev-list", "--count", f"{upstream}..HEAD"))
    if own:
        base = _git(root, "merge-base", "HEAD", upstream).strip()[:10]
        raise UpdateError(
            f"You have made {own} commit(s) of your own, and the release has others. Nothing was "
            "changed. To keep your commits on a branch and your files as they are, and then "
            f"update:\n  git branch my-commits\n  git reset {base}\n  make update"
        )


def _released_paths(root: Path, upstream: str) -> set[str]:
    out = _git(root, "diff", "--name-only", "--no-renames", "-z", "HEAD", upstream)
    return {path for path in out.split("\0") if path}


def _dirty_paths(root: Path) -> set[str]:
    """Return the files that differ from HEAD, and those that git does not know."""
    out = _git(root, "status", "--porcelain", "--no-renames", "-z", "--untracked-files=all")
    return {entry[3:] for entry in out.split("\0") if entry}


def _require_no_clash(dirty: set[str], released: set[str]) -> None:
    clash = sorted(path for path in dirty & released if not _is_course_notebook(path))
    if clash:
        raise UpdateError(
            "You have changed files that the new release changes too, and that are not chapters:\n"
            + "".join(f"  {path}\n" for path in clash)
            + "Nothing was changed. Keep your versions under another name, put the released ones "
            "back with\n"
            f"  git checkout HEAD -- {clash[0]}\n"
            "(a file that git does not know: move it away), and update again."
        )


def _is_course_notebook(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.suffix == ".ipynb" and str(parts.parent) in ("chapters", "solutions")


def _lay_release(
    root: Path, upstream: str, notebooks: list[str], contents: dict[str, bytes]
) -> None:
    """Move HEAD and the files forward; when git refuses, put every notebook back as it was."""
    try:
        for path in notebooks:
            _clear_the_way(root, path)
        _git(root, "merge", "--ff-only", "--quiet", upstream)
    except BaseException as error:
        for path, content in contents.items():
            with atomic_path(root / path) as partial:
                partial.write_bytes(content)
        if isinstance(error, GitError):
            raise UpdateError(
                f"git could not lay the new release; your files are as before.\ngit says: {error}"
            ) from error
        raise


def _clear_the_way(root: Path, path: str) -> None:
    """Make one notebook as it is in HEAD; one that HEAD does not know is taken away."""
    known = _git(root, "ls-tree", "-r", "--name-only", "HEAD", "--", path)
    if known.strip():
        _git(root, "checkout", "--quiet", "HEAD", "--", path)
    else:
        _git(root, "rm", "--quiet", "--cached", "--ignore-unmatch", "--", path)
        (root / path).unlink(missing_ok=True)


def _last_words(released: set[str], report: Report) -> None:
    if released & {"constraints.txt", "pyproject.toml"}:
        report.add("The packages changed as well: close JupyterLab; 'make lab' installs them.")
    report.add("If JupyterLab is open: File, Reload from Disk, and restart the kernels.")


# A course that came as a zip file


def _bring_over(previous: Path, root: Path, my_work: Path, report: Report) -> None:
    """Put the answers of an older release's folder into this one; the older folder is only read."""
    if not (previous / "chapters").is_dir():
        raise UpdateError(f"{previous} is not a folder of the course: it has no folder chapters/.")
    if previous.samefile(root):
        raise UpdateError("--from must name the folder of the older release, not this one.")
    _copy_work(previous / my_work.name, my_work, report)
    for old in sorted((previous / "chapters").glob("*.ipynb")):
        content, path = old.read_bytes(), root / "chapters" / old.name
        if not _is_changed(content):
            continue
        if path.is_file() and _is_changed(current := path.read_bytes()):
            _save(path, current, my_work)
        _put_back(path, content, _save(old, content, my_work), report)
    if not report.lines:
        report.add(f"No changed chapter in {previous}; nothing to bring over.")


def _copy_work(old: Path, my_work: Path, report: Report) -> None:
    """Copy what `my_work/` of the older folder holds and this one does not."""
    for source in sorted(old.rglob("*")) if old.is_dir() else []:
        target = my_work / source.relative_to(old)
        if source.is_file() and not target.exists():
            with atomic_path(target) as partial:
                partial.write_bytes(source.read_bytes())
            report.add(f"Copied {my_work.name}/{source.relative_to(old).as_posix()}.")


# The released form of a chapter


def _find_stem(chapter: str, root: Path) -> str:
    folders = (root / "chapters", root / "solutions")
    stems = sorted({path.stem for folder in folders for path in folder.glob("[0-9][0-9]_*.ipynb")})
    wanted = Path(str(chapter).strip()).name.removesuffix(".ipynb")
    fits = [s for s in stems if wanted in (s, s[3:]) or (wanted and wanted.zfill(2) == s[:2])]
    if len(fits) != 1:
        raise UpdateError(
            f"There is no chapter {chapter!r}. Name one of {', '.join(stems) or 'none'}, "
            "for example: make reset CHAPTER=04"
        )
    return fits[0]


def _released_text(path: Path, root: Path) -> str:
    """Return the text of the released chapter: from git, else made from its solution."""
    if _is_clone(root):
        for revision in ("HEAD", "@{upstream}"):
            try:
                text = _git(root, "show", f"{revision}:chapters/{path.name}")
            except GitError:
                continue
            if not _is_changed(text.encode("utf-8")):
                return text
    solution = root / "solutions" / path.name
    notebook = _read(solution.read_bytes()) if solution.is_file() else None
    if notebook is None or changes(notebook):
        raise UpdateError(
            f"The released form of {path.name} is not here: {path.parent.name}/ and solutions/ "
            "hold changed versions only. Nothing was changed. Download the release again and copy "
            "the chapter from it."
        )
    return nbformat.writes(released_from_solution(notebook)).rstrip("\n") + "\n"
