"""The code as a whole: public names, which module may import which, and the length of functions."""

import ast
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import llm_core
from llm_core.files import ROOT
from llm_core.notebooks.lint import lines_of_code

ORDER = [
    "files",
    "validate",
    "tensors",
    "config",
    "costs",
    "corpus",
    "tokens",
    "data",
    "embeddings",
    "positions",
    "attention",
    "block",
    "model",
    "loss",
    "optim",
    "training",
    "recipes",
    "sampling",
    "pretrained",
    "cli",
]
ON_TOP = {"exercises", "widgets", "notebooks", "__init__", "__main__"}
"""These stand on the core and may use all of it."""

CORE = sorted((ROOT / "llm_core").rglob("*.py"))
OTHER_CODE = sorted(
    path for name in ("benchmarks", "tests") for path in (ROOT / name).rglob("*.py")
)
LONGEST = 40
"""Lines of a function that fits on a screen, without its docstring, comments and blank lines."""


def module_of(path: Path) -> str:
    """The concept that a file belongs to: its module, or the package that it is a part of."""
    return path.relative_to(ROOT / "llm_core").parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """The concepts of llm_core that a file imports at its top level."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module != "llm_core":
            names.add(node.module)
        elif isinstance(node, ast.ImportFrom) and node.module == "llm_core":
            names.update(f"llm_core.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
    return {name.split(".")[1] for name in names if name.startswith("llm_core.")}


def test_every_public_name_is_there():
    assert [name for name in llm_core.__all__ if not hasattr(llm_core, name)] == []
    assert sum(map(len, llm_core._NAMES.values())) == len(llm_core.__all__), "a name stands twice"


def test_names_and_modules_can_be_had_from_the_package_alone():
    code = "import llm_core as c\nprint(c.optim.AdamW is c.AdamW, len(c.corpus.stories(2)))"
    assert printed_by(code) == "True 2\n"
    assert {*llm_core.__all__, "optim"} <= set(dir(llm_core))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'atention'"):
        _ = llm_core.atention


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_only_downwards(path):
    name = module_of(path)
    if name in ON_TOP:
        return
    assert name in ORDER, f"{name} is new: give it a place in ORDER"
    above = set(ORDER[ORDER.index(name) + 1 :]) | ON_TOP
    assert not imports_of(path) & above


def printed_by(code: str) -> str:
    """Return what a Python that has imported nothing yet prints when it runs `code`."""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_core_runs_without_the_packages_of_the_notebooks():
    code = (
        "import sys\n"
        "for name in ('IPython', 'anywidget', 'ipywidgets', 'jupyterlab', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import llm_core\n"
        "print(llm_core.GPT.__name__)"
    )
    assert printed_by(code) == "GPT\n"


def test_what_every_chapter_begins_with_leaves_the_compiler_alone(tmp_path, monkeypatch):
    """torch's compiler takes a second or more to import, and nothing here compiles."""
    code = (
        "import sys\n"
        "from llm_core.exercises import progress, quiz\n"
        "from llm_core.pretrained import load_pretrained\n"
        "quiz('tokens.warmup'), progress(), load_pretrained('stories')\n"
        "print('torch._dynamo' in sys.modules)"
    )
    monkeypatch.setenv("LLM_CORE_PROGRESS", str(tmp_path / "progress.json"))
    assert printed_by(code) == "False\n"


def test_what_handles_notebooks_as_files_does_not_wait_for_torch():
    code = (
        "import sys\n"
        "from llm_core.notebooks import figure, lint, nbval_run, update\n"
        "print('torch' in sys.modules)"
    )
    assert printed_by(code) == "False\n"


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Count a function's lines of code, of the `source` that it stands in."""
    lines = source[function.lineno - 1 : function.end_lineno]
    return lines_of_code(textwrap.dedent("\n".join(lines)))


@pytest.mark.parametrize("path", [*CORE, *OTHER_CODE], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_function_fits_on_a_screen(path):
    source = path.read_text(encoding="utf-8")
    lines, functions = source.splitlines(), (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        # Few are long with all their lines; only of those it matters which lines are code.
        if isinstance(node, functions) and node.end_lineno - node.lineno >= LONGEST:
            length = lines_of(node, lines)
            assert length <= LONGEST, f"{node.name} has {length} lines; split it"


def test_a_long_function_is_found():
    body = '    """Text,\n\n    more text."""\n\n    # why\n' + "    x = 1\n" * LONGEST
    source = f"def long():\n{body}"
    assert lines_of(ast.parse(source).body[0], source.splitlines()) == LONGEST + 1
