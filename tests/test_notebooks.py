"""The notebooks as stored, and the pipeline that makes and checks them."""

import base64
import copy
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from llm_core.corpus import check_stories
from llm_core.files import ROOT, read_json
from llm_core.notebooks import build as module
from llm_core.notebooks import nbval_run, recorded
from llm_core.notebooks.__main__ import main
from llm_core.notebooks.answers import changes, released_from_solution
from llm_core.notebooks.build import (
    BuildError,
    Chapter,
    build,
    execute,
    find_chapters,
    make_notebooks,
    out_of_step,
)
from llm_core.notebooks.figure import show_figure, use_course_style
from llm_core.notebooks.lint import RULES, Page, lines_of_code, lint
from llm_core.notebooks.normal import normalise_outputs, output_problems

CHAPTERS = find_chapters()
STORED = [path for chapter in CHAPTERS for path in (chapter.chapter, chapter.solution)]


def name_of(path):
    return f"{path.parent.name}/{path.name}"


# The course's notebooks as they are stored


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_stored_notebooks_follow_from_their_source(chapter):
    assert out_of_step(chapter) is None


@pytest.mark.parametrize("path", STORED, ids=name_of)
def test_stored_notebook_has_the_anatomy_of_a_chapter(path):
    faults = lint(Page(nbformat.read(path, as_version=4), path))
    assert not faults, "\n".join(faults)


def test_no_notebook_is_without_a_source():
    stored = [*(ROOT / "chapters").glob("*.ipynb"), *(ROOT / "solutions").glob("*.ipynb")]
    assert set(stored) == set(STORED)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)
def test_reset_without_git_gives_the_sources_of_the_chapter(chapter):
    solution, learner = make_notebooks(chapter)
    rebuilt = released_from_solution(solution)
    assert [cell.source for cell in rebuilt.cells] == [cell.source for cell in learner.cells]
    assert not changes(learner)


# Making notebooks from a source

SOURCE = '''# %% [markdown]
# # Tiny
#
# 1 minutes to read, 5 seconds to run.

# %%
import ipywidgets
import matplotlib.pyplot as plt

from llm_core.notebooks.figure import show_figure

# %%
fig, ax = plt.subplots()
_ = ax.plot([1, 2])
show_figure(fig, alt="A rising line")

# %%
ipywidgets.IntSlider()

# %% tags=["exercise"]
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION


# %% tags=["check"]
check = "{} {.__name__}".format
check("tiny.double", double)
'''

EXERCISE = """# %% tags=["exercise"]
def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION
"""
CHECK = """
# %% tags=["check"]
check("tiny.double", double)
"""


def write_source(root, text, stem="00_tiny"):
    source = root / "solutions" / f"{stem}.py"
    source.parent.mkdir(exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return Chapter(source)


def test_learner_gets_a_stub_and_nbgrader_metadata(tmp_path):
    solution, learner = make_notebooks(write_source(tmp_path, SOURCE))
    assert [cell.id for cell in learner.cells] == [f"00_tiny-{n:03d}" for n in range(1, 7)]
    assert "return 2 * x" in solution.cells[4].source
    stub = 'def double(x):\n    """Twice x."""\n    raise NotImplementedError'
    assert learner.cells[4].source == stub
    exercise, check = (cell.metadata["nbgrader"] for cell in learner.cells[4:])
    assert (exercise.grade_id, exercise.solution, exercise.grade) == ("tiny-double", True, False)
    assert (check.grade_id, check.grade, check.locked) == ("tiny-double-check", True, True)
    assert check.points == 1
    assert len(exercise.checksum) == len(check.checksum) == 32
    assert learner.cells[5].metadata["editable"] is False
    assert "editable" not in learner.cells[4].metadata
    assert not changes(learner)
    assert not changes(solution)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EXERCISE, "must be its check"),
        (EXERCISE + "# %%\nx = 1\n" + CHECK, "must be its check"),
        (CHECK, "no exercise cell stands before it"),
        (EXERCISE + CHECK.replace("double)", "triple)"), "defines no function triple"),
        (EXERCISE + CHECK.replace("check(", "checks("), "the last line must read"),
        (
            EXERCISE.replace("### BEGIN SOLUTION", "#") + CHECK,
            "BEGIN SOLUTION' and '### END SOLUTION' in turn",
        ),
        (EXERCISE + CHECK + EXERCISE + CHECK, "checked twice"),
        ('# %% tags=["exercize"]\nx = 1\n', "unknown tag"),
        ("# %%\n### BEGIN SOLUTION\nx = 1\n### END SOLUTION\n", "ClearSolutions"),
        ("# %%\n### BEGIN SOLUTION\nx = 1\n", "no end solution"),
    ],
)
def test_markers_that_do_not_fit_are_named(tmp_path, text, message):
    with pytest.raises(BuildError, match=message) as caught:
        make_notebooks(write_source(tmp_path, text))
    assert "00_tiny" in str(caught.value)


def test_find_chapters_by_number_name_and_stem():
    fake = ROOT / "tests"
    assert find_chapters(root=fake) == []
    with pytest.raises(BuildError, match="no chapter '99'"):
        find_chapters(["99"])
    for chapter in CHAPTERS:
        for name in (chapter.number, chapter.stem, chapter.stem[3:], f"{chapter.stem}.py"):
            assert find_chapters([name]) == [chapter]


# Building


@pytest.mark.slow
def test_building_twice_gives_the_same_bytes(tmp_path, capsys):
    chapter = write_source(tmp_path, SOURCE)
    build(chapter)
    first = [path.read_bytes() for path in (chapter.solution, chapter.chapter)]
    build(chapter)
    assert [path.read_bytes() for path in (chapter.solution, chapter.chapter)] == first
    assert "chapters/00_tiny: ran in" in capsys.readouterr().out
    assert out_of_step(chapter) is None

    learner = nbformat.read(chapter.chapter, as_version=4)
    nbformat.validate(learner)
    code = [cell for cell in learner.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5]
    assert "execution" not in code[0].metadata
    assert "version" not in learner.metadata.language_info
    assert "widgets" not in learner.metadata
    view = code[2].outputs[0].data["application/vnd.jupyter.widget-view+json"]
    assert view["model_id"] == f"{1:032x}"
    assert code[1].outputs[0].metadata["image/png"]["alt"] == "A rising line"


def test_a_failing_cell_aborts_and_writes_nothing(tmp_path):
    chapter = write_source(tmp_path, "# %%\nx = 1\n\n# %%\nprint(x / 0)  # here\n")
    chapter.solution.write_text("as it was")
    with pytest.raises(BuildError) as caught:
        build(chapter)
    message = str(caught.value)
    assert "solutions/00_tiny, cell 2 failed" in message
    assert "print(x / 0)  # here" in message
    assert "ZeroDivisionError: division by zero" in message
    assert "\x1b" not in message
    assert chapter.solution.read_text() == "as it was"
    assert not chapter.chapter.exists()


def test_a_kernel_that_dies_is_reported(tmp_path):
    notebook = new_notebook(cells=[new_code_cell("import os; os._exit(1)")])
    with pytest.raises(BuildError, match=r"solutions/x, cell 1 failed"):
        execute(notebook, tmp_path, "solutions/x")


def test_execution_is_apart_from_the_learners_progress(tmp_path):
    code = "import os\nprint(os.getcwd(), os.environ['OMP_NUM_THREADS'])\n"
    code += "assert 'my_work' not in os.environ['LLM_CORE_PROGRESS']"
    notebook = new_notebook(cells=[new_code_cell(code)])
    execute(notebook, tmp_path, "x")
    assert notebook.cells[0].outputs[0].text == f"{tmp_path} 1\n"


def test_kernel_is_this_python_whatever_is_installed():
    spec = module._ThisKernel(kernel_name="python3").kernel_spec
    assert spec.argv[0] == sys.executable


# Out of step


@pytest.fixture
def built(tmp_path):
    """A chapter whose notebooks were written without executing them."""
    chapter = write_source(tmp_path, SOURCE)
    chapter.chapter.parent.mkdir()
    made = make_notebooks(chapter)
    for notebook, path in zip(made, (chapter.solution, chapter.chapter), strict=True):
        path.write_text(module.to_text(notebook), encoding="utf-8")
    return chapter


def test_outputs_and_execution_counts_are_not_compared(built):
    notebook = nbformat.read(built.chapter, as_version=4)
    notebook.cells[1].execution_count = 5
    notebook.cells[1].outputs = [new_output("stream", text="hello")]
    nbformat.write(notebook, built.chapter)
    assert out_of_step(built) is None


def tamper(path, change):
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


@pytest.mark.parametrize(
    "change",
    [
        lambda nb: nb.cells[0].update(source="# Other"),
        lambda nb: nb.cells.pop(),
        lambda nb: nb.cells[4].metadata["nbgrader"].update(grade_id="tiny-triple"),
        lambda nb: nb.cells[2].metadata.update(tags=["nbval-ignore-output"]),
        lambda nb: nb.metadata.language_info.update(version="3.13.1"),
    ],
    ids=["source", "cell", "nbgrader", "tags", "metadata"],
)
@pytest.mark.parametrize("which", ["solution", "chapter"])
def test_out_of_step_names_the_file_and_the_command(built, which, change):
    path = getattr(built, which)
    tamper(path, change)
    reason = out_of_step(built)
    assert name_of(path) in reason
    assert "make notebooks CHAPTER=00" in reason


def test_out_of_step_when_source_changed_or_a_notebook_is_missing_or_damaged(built):
    built.source.write_text(SOURCE.replace("Twice x", "Two times x"))
    assert "source of cell 5 differs" in out_of_step(built)
    built.source.write_text(SOURCE)
    built.chapter.write_text("{")
    assert "not a readable notebook" in out_of_step(built)
    built.chapter.unlink()
    assert "chapters/00_tiny.ipynb is missing" in out_of_step(built)


# Outputs


def png_with_date():
    info = PngInfo()
    info.add_text("Software", "Matplotlib 3.11")
    info.add_text("Date", "2026-11-23")
    buffer = io.BytesIO()
    Image.new("RGB", (2, 3), "red").save(buffer, "png", pnginfo=info)
    return base64.b64encode(buffer.getvalue()).decode()


def test_pictures_lose_dates_and_programs_but_not_pixels():
    cell = new_code_cell("x", outputs=[new_output("display_data", {"image/png": png_with_date()})])
    normalise_outputs(new_notebook(cells=[cell]))
    png = base64.b64decode(cell.outputs[0].data["image/png"])
    assert b"Matplotlib" not in png
    assert b"2026" not in png
    assert Image.open(io.BytesIO(png)).getpixel((1, 2)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (new_output("stream", text="<object at 0x7f31c0de77a0>"), "memory address"),
        (new_output("display_data", {"text/html": "<b>0x7f31c0de77a0</b>"}), "memory address"),
        (new_output("stream", name="stderr", text="Warning"), "stderr"),
        (new_output("error", ename="ValueError", evalue="", traceback=[]), "ValueError"),
        (new_output("stream", text=f"saved in {ROOT}/my_work"), "path of this machine"),
        (new_output("stream", text="a colour: 0xff00ff"), None),
    ],
)
def test_what_must_not_stand_in_an_output(output, message):
    problems = output_problems(new_code_cell("x", outputs=[output]))
    assert [message in problem for problem in problems] == ([True] if message else [])


def test_show_figure_describes_and_closes_the_figure(capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(
        "llm_core.notebooks.figure.display",
        lambda data, raw, metadata=None: shown.append((data, metadata)),
    )
    with plt.rc_context():
        use_course_style()
        fig, ax = plt.subplots()
        ax.plot([1, 2])
        show_figure(fig, alt="A line <that>\n  rises")
    picture, words = shown
    assert picture[0]["text/plain"] == words[0]["text/plain"] == "A line <that> rises"
    assert picture[1]["image/png"]["alt"] == "A line <that> rises"
    assert 500 < picture[1]["image/png"]["width"] < 700
    assert b"Matplotlib" not in picture[0]["image/png"]
    assert "A line &lt;that&gt; rises" in words[0]["text/html"]
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize(
    ("fig", "alt", "error"),
    [("no figure", "text", TypeError), (None, "", ValueError), (None, None, TypeError)],
)
def test_show_figure_refuses_what_cannot_be_shown(fig, alt, error):
    with pytest.raises(error, match=r"fig|alt"):
        show_figure(fig or plt.Figure(), alt)


# Strict nbval

IGNORE_THIRD = ([], [], ["nbval-ignore-output"])


def stored_notebook(path, *cells):
    """Write a notebook of (source, stored text, tags) cells as if it had been executed."""
    notebook = new_notebook()
    for count, (source, text, tags) in enumerate(cells, start=1):
        outputs = [new_output("stream", text=text)] if text else []
        cell = new_code_cell(source, outputs=outputs, execution_count=count)
        cell.metadata["tags"] = tags
        notebook.cells.append(cell)
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)
    return path


@pytest.mark.slow
def test_strict_nbval_fails_on_a_changed_output_only(tmp_path, capfd, monkeypatch):
    run_now = stored_notebook(
        tmp_path / "chapters" / "now.ipynb",
        ("import os\nprint('my_work' in os.environ['LLM_CORE_PROGRESS'])", "False\n", []),
        ("import time\nprint(time.time())", "12:00\n", ["nbval-ignore-output"]),
        ("print('-0.000', '[ 0.5, -0.]', '-0.25')", "0.000 [ 0.5,  0.] -0.25\n", []),
        ("print(1 + 1)", "3\n", []),
        ("_ = 1", "1\n", []),
        ("print(0.5)", "-0.5\n", []),
    )
    sources = ("print(1)", "print(2)", "import time\nprint(time.time())")
    earlier = tmp_path / "chapters" / "earlier.ipynb"
    stored_notebook(earlier, *zip(sources, ("1\n", "2\n", "3\n"), IGNORE_THIRD, strict=True))
    monkeypatch.setenv(recorded.FOLDER, str(tmp_path / "runs"))
    run = stored_notebook(
        tmp_path / "run" / "earlier.ipynb",
        *zip(sources, ("1\n", "two\n", "9\n"), IGNORE_THIRD, strict=True),
    )
    recorded.keep(read_json(run), "chapters/earlier.ipynb", 91)
    status = nbval_run.run([run_now, earlier], processes=0, extra=["--color=no"])
    said = capfd.readouterr().out
    assert status == 1
    assert "4 failed, 5 passed" in said
    assert all(f"now.ipynb::Cell {number}" in said for number in (3, 4, 5))
    assert "earlier.ipynb::Cell 1" in said
    assert "earlier.ipynb: 91 s (in JupyterLab, beside other tests)  FAILED: longer than" in said
    assert not (tmp_path / "my_work").exists()


def test_a_recorded_run_answers_for_the_cells_that_ran_only(tmp_path, monkeypatch):
    assert recorded.find("chapters/x.ipynb") is None
    path = stored_notebook(tmp_path / "x.ipynb", ("print(1)", "1\n", []), ("print(2)", "2\n", []))
    notebook = read_json(path)
    recorded.keep(notebook, "chapters/x.ipynb", 1.0)
    monkeypatch.setenv(recorded.FOLDER, str(tmp_path / "runs"))
    assert recorded.find("chapters/x.ipynb") is None, "nothing is kept where no folder is named"
    notebook["cells"][1]["execution_count"] = None
    recorded.keep(notebook, "chapters/x.ipynb", 1.5)
    assert recorded.find("solutions/x.ipynb") is None
    run = recorded.find("chapters/x.ipynb")
    assert run.seconds == 1.5
    number = run.execute_cell_input("print(1)")
    messages = [run.get_message("iopub") for _ in range(2)]
    assert [message["msg_type"] for message in messages] == ["stream", "status"]
    assert {message["parent_header"]["msg_id"] for message in messages} == {number}
    assert messages[0]["content"]["text"] == "1\n"
    with pytest.raises(RuntimeError, match="did not run this cell"):
        run.execute_cell_input("print(2)")
    with pytest.raises(RuntimeError, match="another version"):
        run.execute_cell_input("print(3)")
    with pytest.raises(RuntimeError, match="another version"):
        recorded.find("chapters/x.ipynb").execute_cell_input("print(9)")


def test_nbval_command_is_the_designs():
    command = " ".join(nbval_run.command([Path("chapters/x.ipynb")]))
    for part in (
        "--nbval --nbval-current-env --nbval-sanitize-with=",
        "--nbval-cell-timeout=180 --nbval-kernel-startup-timeout=120",
        "-n 2 --dist loadfile",
    ):
        assert part in command


@pytest.mark.parametrize(
    ("name", "seconds", "fails"),
    [("04_attention", 89, False), ("04_attention", 91, True), ("07_training", 179, False)],
)
def test_a_chapter_that_takes_too_long_fails_the_nbval_run(monkeypatch, name, seconds, fails):
    monkeypatch.setattr(nbval_run, "_seconds", {f"chapters/{name}.ipynb": seconds})
    session = SimpleNamespace(config=object(), exitstatus=0)
    nbval_run.pytest_sessionfinish(session)
    assert bool(session.exitstatus) == fails


def test_check_command_names_faults_and_build_command_names_the_chapter(built, monkeypatch, capsys):
    monkeypatch.setattr(module, "find_chapters", lambda names: [built])
    assert main(["check"]) == 1
    assert "[outputs_stored] cell 2" in capsys.readouterr().out
    built.source.write_text("# %%\n1 / 0\n")
    assert main(["check"]) == 1
    assert "make notebooks CHAPTER=00" in capsys.readouterr().out
    assert main(["build", "--chapter", "00"]) == 1
    assert "solutions/00_tiny, cell 1 failed" in capsys.readouterr().err


def test_nbval_without_a_notebook_fails(capsys):
    assert nbval_run.run([]) == 2
    assert nbval_run.run([Path("nowhere.ipynb")]) == 2
    assert "nowhere.ipynb" in capsys.readouterr().err


# The linter, rule by rule, on a small notebook without a fault

GOOD_TITLE = "# Tiny\n\n**Time:** 5 minutes to read, 20 seconds to run."


def good_notebook():
    cells = [
        new_markdown_cell(GOOD_TITLE),
        new_code_cell("import torch"),
        new_markdown_cell("## Warm-up\n\n### A question\n\n![A map](../assets/map.svg)"),
        new_code_cell('quiz("tiny.warmup")', outputs=[new_output("stream", text="A question")]),
    ]
    for number in range(4):
        source = f"def f{number}(x):\n    raise NotImplementedError"
        cells.append(new_code_cell(source, metadata={"tags": ["exercise"]}))
    cells.append(new_markdown_cell("## Recap\n\nOne line.\n\n- an item\n- another"))
    notebook = new_notebook(cells=cells)
    for count, cell in enumerate((c for c in cells if c.cell_type == "code"), start=1):
        cell.execution_count = count
    return notebook


@pytest.fixture
def page_of(tmp_path):
    """Return a function that makes a Page of a notebook in a folder with one picture."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "map.svg").write_text("<svg/>")
    (tmp_path / "chapters").mkdir()
    return lambda notebook: Page(notebook, tmp_path / "chapters" / "04_tiny.ipynb")


def code(source="x = 1", output=None, **more):
    return new_code_cell(source, outputs=[output] if output else [], execution_count=99, **more)


def html(text):
    return code(output=new_output("display_data", {"text/html": text}))


def picture(**metadata):
    data = {"image/png": png_with_date(), "text/plain": "<Figure size 640x480>"}
    return code(output=new_output("display_data", data, metadata=metadata))


BAD_CELLS = {
    "code_length": [code("\n".join(f"x{n} = {n}" for n in range(31)))],
    "semicolon": [code("x = 1;")],
    "network": [
        code("address = 'https://example.org/data.txt'"),
        code("import urllib.request"),
        code("from requests import get"),
        code("!pip install torch"),
        code("%pip install torch"),
    ],
    "outputs_stored": [code("x"), code("print(1)"), code('x = 2\ncheck("tiny.f", f)')],
    "outputs_clean": [
        code(output=new_output("stream", name="stderr", text="Warning")),
        code(output=new_output("error", ename="ValueError", evalue="", traceback=[])),
        code(output=new_output("stream", text="<f at 0x7f31c0de77a0>")),
    ],
    "headings": [new_markdown_cell("# A second title"), new_markdown_cell("#### Too deep")],
    "paragraphs": [
        new_markdown_cell("\n".join(["line"] * 6)),
        new_markdown_cell("word " * 110),
        new_markdown_cell("- " + "\n  ".join(["item"] * 6)),
    ],
    "no_empty_cell": [code(" \n"), new_markdown_cell("")],
    "alt_text": [
        new_markdown_cell("![](../assets/map.svg)"),
        new_markdown_cell('<img src="../assets/map.svg">'),
        new_markdown_cell("<img src='../assets/map.svg' alt=' '>"),
        new_markdown_cell("<svg><circle r='3'/></svg>"),
        html('<img src="data:image/png;base64,AAAA">'),
        html("<svg viewBox='0 0 1 1'></svg>"),
        picture(),
        picture(**{"image/png": {"alt": ""}}),
    ],
    "pictures_local": [
        new_markdown_cell("![A](https://example.org/a.png)"),
        new_markdown_cell("![A](//example.org/a.png)"),
        new_markdown_cell("![A](../assets/missing.png)"),
        new_markdown_cell("![A](/assets/map.svg)"),
        new_markdown_cell("![A](attachment:gone.png)"),
        html('<script src="https://example.org/d3.js"></script>'),
    ],
    "absolute_paths": [
        new_markdown_cell("Look into `/home/ada/course`."),
        code("folder = '/tmp/model'"),
        code("folder = r'C:\\Users\\ada'"),
        code(output=new_output("stream", text="saved in /Users/ada/x")),
    ],
}
CASES = [(rule, cell) for rule, cells in BAD_CELLS.items() for cell in cells]


def faults_of(page):
    return {fault.split("[")[1].split("]")[0] for fault in lint(page)}


def test_a_notebook_without_a_fault_passes(page_of):
    assert lint(page_of(good_notebook())) == []


@pytest.mark.parametrize(
    ("rule", "cell"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_rule_finds_its_fault_and_no_other_rule_does(page_of, rule, cell):
    notebook = good_notebook()
    cell = copy.deepcopy(cell)
    if cell.cell_type == "code":
        cell.execution_count = 7
    notebook.cells.append(cell)
    page = page_of(notebook)
    assert faults_of(page) == {rule}
    assert all(fault.startswith("chapters/04_tiny.ipynb [") for fault in lint(page))
    assert any("10" in fault for fault in lint(page))


def set_source(number, source):
    def change(notebook):
        notebook.cells[number - 1].source = source

    return change


def drop_exercises(notebook):
    notebook.cells[6:8] = []
    for count, cell in enumerate((c for c in notebook.cells if c.cell_type == "code"), start=1):
        cell.execution_count = count


def long_cells(notebook):
    for cell in notebook.cells[4:8]:
        cell.source = "\n".join(f"x{n} = {n}" for n in range(9))


def tag_three_of_six(notebook):
    for cell in notebook.cells[4:7]:
        cell.metadata["tags"].append("nbval-ignore-output")


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("anatomy", set_source(1, "# Tiny\n\n5 minutes to read.")),
        ("anatomy", set_source(1, "# Tiny\n\n20 seconds to run.")),
        ("anatomy", set_source(2, "x = 1")),
        ("anatomy", set_source(3, "## Start")),
        ("anatomy", set_source(9, "## End")),
        ("anatomy", set_source(4, "test(1)")),
        ("exercise_count", drop_exercises),
        ("tagged_share", tag_three_of_six),
        ("code_length", long_cells),
        ("headings", set_source(1, GOOD_TITLE.replace("#", "##"))),
        ("outputs_stored", lambda nb: nb.cells[3].update(execution_count=None)),
        ("outputs_stored", lambda nb: nb.cells[3].update(execution_count=9)),
    ],
)
def test_rule_on_the_whole_notebook(page_of, rule, change):
    notebook = good_notebook()
    change(notebook)
    assert faults_of(page_of(notebook)) == {rule}


def test_every_rule_has_a_notebook_that_breaks_it():
    assert set(BAD_CELLS) | {"anatomy", "exercise_count", "tagged_share"} == set(RULES)


@pytest.mark.parametrize(
    "cell",
    [
        new_markdown_cell("```python\n# not a heading\n```"),
        new_markdown_cell('<img src="../assets/map.svg" alt="A map">'),
        new_markdown_cell("\n".join(f"- item {n}" for n in range(9))),
        new_markdown_cell("\n".join(f"| {n} | row |" for n in range(9))),
        new_markdown_cell("$$\n" + "\n".join(["x + 1"] * 8) + "\n$$"),
        new_markdown_cell("Read [the paper](https://arxiv.org/abs/1706.03762)."),
        html("<svg role='img' aria-label='A map'></svg>"),
        picture(**{"image/png": {"alt": "A line that rises"}}),
        code('def f(x):\n    """' + "Many\n    lines\n    " * 20 + '"""\n    # and\n    return x'),
    ],
)
def test_what_is_no_fault(page_of, cell):
    notebook = good_notebook()
    cell = copy.deepcopy(cell)
    if cell.cell_type == "code":
        cell.execution_count = 7
    notebook.cells.append(cell)
    assert lint(page_of(notebook)) == []


def test_lines_of_code_are_counted_without_comments_blanks_and_docstrings():
    assert lines_of_code("# a\n\nx = 1\ny = [\n    1,\n]\n") == 4
    assert lines_of_code('def f():\n    """One.\n\n    Two.\n    """\n    return """a\nb"""\n') == 3
    assert lines_of_code("%timeit x\n\ny") == 2


def test_stored_text_is_json_with_one_newline_at_its_end():
    text = module.to_text(new_notebook(cells=[]))
    assert text.endswith("}\n")
    assert json.loads(text)["nbformat"] == 4


def test_the_story_that_chapter_00_prints_obeys_the_grammar():
    notebook = nbformat.read(ROOT / "chapters" / "00_start_here.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "generate(model" in cell.source)
    report = check_stories(" ".join(cell.outputs[0].text.split()))
    assert report.n_sentences >= 4
    assert report.share_well_formed == report.share_true_facts == 1
