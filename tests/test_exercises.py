"""The exercise system itself: verdicts, time limit, own lines, hints, predictions, progress."""

import importlib.machinery
import json
import math
import multiprocessing
import os
import signal
import sys
import textwrap
import threading
import time
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from browser import ROOT, find_chromium

import llm_core
from llm_core.exercises import (
    CheckFailed,
    Status,
    check,
    hint,
    predict,
    progress,
    quiz,
    record,
    registry,
    reveal,
)
from llm_core.exercises import hints as hints_module
from llm_core.exercises import limit as limit_module
from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.calls import call, copy_value
from llm_core.exercises.causes import usual_cause
from llm_core.exercises.checks import judge
from llm_core.exercises.compare import differences
from llm_core.exercises.limit import TimeUpError, run_limited
from llm_core.exercises.show import describe, entry_pair, number

# --- A toy chapter, so that nothing here depends on what a real one says. ---


def scale_rows(x, by):
    """Multiply row i of a matrix by number i.

    Args:
        x: rows (N, C).
        by: numbers (N,).
    """
    return x * by[:, None]


def twin_by_column(x, by):
    return x * by


def twice(x, by):
    return x * by[:, None] * by[:, None]


def added(x, by):
    return x + by[:, None]


def by_sorted(x, by):
    return x * by.sort().values[:, None]


def counted_in_place(words, counts):
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def emptied(words, counts):
    counts = dict(counts)
    while words:
        word = words.pop()
        counts[word] = counts.get(word, 0) + 1
    return counts


def no_negative_sum(answer):
    x = torch.ones(2, 3)
    total = float(answer(x, torch.tensor([1.0, 2.0])).sum())
    return None if total > 0 else f"Positive rows gave the sum {total:.1f}."


X = torch.arange(6.0).reshape(3, 2) + 1
BY = torch.tensor([2.0, 1.0, 3.0])
SCALE = Exercise(
    id="toy.scale_rows",
    title="Scale the rows",
    reference=scale_rows,
    cases=(
        Case("a small matrix", (X, BY)),
        Case("doubles", (X.double().repeat(1, 2), BY.double())),
        Case("infinity", (torch.tensor([[math.inf, 1.0]]), torch.tensor([2.0]))),
    ),
    mistakes=(
        Mistake("columns", twin_by_column, "You scale the columns and not the rows.", "square"),
        Mistake("twice", twice, "Each row is scaled twice, once too often.", "ones"),
        Mistake("added", added, "You add the number in place of scaling by it.", "zeros"),
    ),
    conventions=(
        Mistake("sorted", by_sorted, "You sort the numbers first; we agreed not to.", "sorted"),
    ),
    properties=(Property("positive stays positive", no_negative_sum),),
    right=(lambda x, by: (x.T * by).T, lambda x, by: torch.einsum("nc,n->nc", x, by)),
    hints=("Nudge.", "Look at `by[:, None]`.", "Multiply."),
    solution="An axis of length 1 makes the numbers a column.",
    checked="sizes, doubles, infinity",
    time_limit=1.0,
)
PAIR = Exercise(
    id="toy.pair",
    title="A pair",
    reference=lambda x: (x.sum(), [1, 2.5, True, "a"]),
    cases=(Case("three", (torch.arange(3),)),),
    mistakes=(),
    right=(),
    hints=("a", "b", "c"),
    solution="s",
    checked="c",
)
QUIZ = (
    Question(
        "One `plus` one?", (Option("2", "Yes, two.", right=True), Option("3", "No. One more."))
    ),
    Question("Is <b> escaped?", (Option("no", "It is."), Option("yes", "It is.", right=True))),
)


@pytest.fixture(autouse=True)
def toy_chapter(monkeypatch, tmp_path):
    """Make the toy chapter the only one, with an empty progress file."""
    module = types.ModuleType("llm_core.exercises.toy")
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, None)
    module.EXERCISES = (SCALE, PAIR)
    module.QUIZZES = {"toy.recap": QUIZ}
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(registry, "CHAPTERS", ("99_toy", "98_not_written"))
    monkeypatch.setattr(hints_module, "_shown", {})
    monkeypatch.setenv("LLM_CORE_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)


def scaled(x, by):
    return x * by.unsqueeze(1)


# --- Verdicts. ---


def test_right_answer_passes_and_is_remembered():
    verdict = check("toy.scale_rows", scaled)
    assert verdict.passed
    assert bool(verdict) is True
    assert repr(verdict) == "Passed. Checked: sizes, doubles, infinity"
    assert progress().passed == {"toy.scale_rows"}
    check("toy.scale_rows", twice)
    assert progress().passed == {"toy.scale_rows"}, "a later failure does not take a pass back"


def stub(x, by):
    raise NotImplementedError


def stub_with_words(x, by):
    raise NotImplementedError("write me")


def only_dots(x, by):
    """Say something."""
    ...  # noqa: PIE790 - what is tested


def only_pass(x, by):
    pass


def stub_on_one_line(x, by): raise NotImplementedError  # fmt: skip


def test_code_around_the_raise_of_the_stub_is_seen():
    def begun(x, by):
        result = x * by[:, None]
        raise NotImplementedError
        return result

    verdict = check("toy.scale_rows", begun)
    assert verdict.status is Status.NOT_ATTEMPTED
    assert "delete that line" in verdict.sentence


@pytest.mark.parametrize("answer", [stub, stub_with_words, stub_on_one_line, only_dots, only_pass])
def test_not_attempted(answer):
    verdict = check("toy.scale_rows", answer)
    assert verdict.status is Status.NOT_ATTEMPTED
    assert verdict.status == "not attempted"
    assert "scale_rows is still the stub" in verdict.sentence


def nothing_returned(x, by):
    _ = x * by[:, None]


def explicit_none(x, by):
    return None


def generator(x, by):
    yield x


async def coroutine(x, by):
    return x


def halves(x, by):
    return x.long() * by[:, None].long()


def changed(x, by):
    x *= by[:, None]
    return x


def forgetful_random(x, by):
    return x * by[:, None] + torch.rand(1)


calls_so_far = []


def stateful(x, by):
    calls_so_far.append(1)
    return x * by[:, None] + (1.0 if len(calls_so_far) > 3 else 0.0)


def hands_in_an_unprintable(x, by):
    class Unprintable:
        def __repr__(self):
            raise RuntimeError("no")

        def __eq__(self, other):
            raise RuntimeError("no")

        __hash__ = None

    return Unprintable()


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (nothing_returned, "wrong type", "is a `return` missing"),
        (explicit_none, "wrong type", "returned nothing"),
        (generator, "wrong type", "`yield`"),
        (coroutine, "wrong type", "`async def`"),
        (lambda x, by: (x * by[:, None]).numpy(), "wrong type", "NumPy array"),
        (lambda x, by: (x * by[:, None]).tolist(), "wrong type", "list of"),
        (lambda x, by: (x * by[:, None], 1), "wrong type", "tuple of 2 values"),
        (lambda x, by: 3.0, "wrong type", "a float, but a tensor"),
        (lambda x, by: (x * by[:, None]).to_sparse(), "wrong type", "to_dense"),
        (hands_in_an_unprintable, "wrong type", "Unprintable"),
        (lambda x, by: (x * by[:, None]).T, "wrong shape", "axes 0 and 1 are swapped"),
        (lambda x, by: (x * by[:, None])[:, :1], "wrong shape", "axis 1 is 1 in place of 2 (C)"),
        (lambda x, by: (x * by[:, None])[None], "wrong shape", "an axis of size 1 is too many"),
        (lambda x, by: (x * by[:, None]).flatten(), "wrong shape", "reshape"),
        (lambda x, by: (x * by[:, None]).sum(1), "wrong shape", "2 (C) is gone"),
        (lambda x, by: (x * by[:, None]).double(), "wrong dtype", "float64"),
        (lambda x, by: x > by[:, None], "wrong dtype", "bool values"),
        (lambda x, by: torch.empty(x.shape, device="meta"), "wrong dtype", "device"),
        (changed, "changed its inputs", "input x"),
        (forgetful_random, "not repeatable", "random"),
        (stateful, "not repeatable", "between calls"),
        (twin_by_column, "known mistake", "scale the columns"),
        (twice, "known mistake", "scaled twice"),
        (added, "known mistake", "add the number"),
        (by_sorted, "different convention", "agreed not to"),
        (lambda x, by: -x * by[:, None], "broken property", "gave the sum -9.0"),
        (lambda x, by: x * by[:, None] * math.nan, "different value", "has NaN"),
        (lambda x, by: x * by[:, None] * 2, "different value", "is 4 where 2 was expected"),
        (lambda x, by: x * by[:, None] + 1, "different value", "[0, 0]"),
        (lambda x, by: x.flip(0) * by.flip(0)[:, None], "different value", "reverse order"),
    ],
)
def test_wrong_answers_are_told_apart(answer, status, words):
    calls_so_far.clear()
    verdict = check("toy.scale_rows", answer)
    text = repr(verdict)
    assert verdict.status == status, text
    assert words in text, text
    assert not verdict.passed
    assert verdict.sentence[-1] in ".?"
    assert "0x" not in text
    assert not progress().passed


def test_a_known_mistake_that_raises_is_known_only_where_it_also_returns():
    """`columns` fits by accident on the third case alone, so its sentence wins over the error."""
    verdict = judge(SCALE, lambda x, by: torch.mul(x, by))
    assert (verdict.status, verdict.matched) == (Status.KNOWN_MISTAKE, "columns")
    always = judge(SCALE, lambda x, by: torch.mul(x, torch.ones(7)))
    assert always.status is Status.RAISED


def test_differing_entry_shows_index_both_values_case_and_inputs():
    def wrong(x, by):
        result = x * by[:, None]
        result[-1, 1] += 0.25
        return result

    text = repr(check("toy.scale_rows", wrong))
    assert "Entry [2, 1] of your result is 18.25 where 18 was expected." in text
    assert "Case: a small matrix" in text
    assert "Differ: 1 of 6 entries" in text
    assert "x = [[1, 2], [3, 4], [5, 6]]" in text


@pytest.mark.parametrize(
    ("wrong", "pattern"),
    [
        (lambda x, by: 2.5 * x * by[:, None], "every entry is 2.5 times the expected one"),
        (lambda x, by: x * by[:, None] + (x if x.dtype == torch.float64 else 1), None),
    ],
    ids=["on every case", "on one case only"],
)
def test_a_pattern_is_told_only_if_every_case_shows_it(wrong, pattern):
    verdict = check("toy.scale_rows", wrong)
    assert verdict.status is Status.DIFFERENT_VALUE, verdict
    assert dict(verdict.details).get("Pattern") == pattern


@pytest.mark.parametrize(
    ("passed", "words"),
    [
        (None, "None was passed"),
        (torch.ones(2), "a tensor, perhaps a result of scale_rows"),
        (3, "an int"),
        ("scale_rows", "A string"),
        (..., "`...`"),
        (int, "the class int"),
        ([scaled], "a list of 1 value"),
    ],
)
def test_something_else_than_a_function(passed, words):
    verdict = check("toy.scale_rows", passed)
    assert verdict.status is Status.NOT_A_FUNCTION
    assert words in verdict.sentence
    assert "check('toy.scale_rows', scale_rows)" in verdict.sentence


def test_callable_objects_and_modules_are_answers_too():
    class Scale(torch.nn.Module):
        def forward(self, x, by):
            return x * by[:, None]

    assert check("toy.scale_rows", Scale()).passed


def test_a_fault_of_the_data_is_not_blamed_on_the_learner():
    broken = Exercise(**{**vars(SCALE), "reference": lambda x, by: 1 / 0})
    with pytest.raises(RuntimeError, match=r"the reference of toy\.scale_rows fails"):
        judge(broken, scaled)


def test_unknown_id_lists_the_chapter_and_the_nearest():
    with pytest.raises(ValueError, match=r"Did you mean 'toy\.scale_rows'.*toy\.pair"):
        check("toy.scale_row", scaled)
    with pytest.raises(ValueError, match=r"Did you mean 'toy\.scale_rows'"):
        check("scale_rows", scaled)
    with pytest.raises(TypeError, match="order of the arguments"):
        check(scaled, "toy.scale_rows")
    with pytest.raises(ValueError, match="no quiz"):
        quiz("toy.scale_rows")
    with pytest.raises(ValueError, match="no exercise"):
        hint("")


def test_tuples_lists_and_plain_values():
    right = (torch.tensor(3), [1, 2.5, True, "a"])
    assert judge(PAIR, lambda x: right).passed
    assert judge(PAIR, lambda x: [torch.tensor(3), (1, 2.5, True, "a")]).passed
    for wrong, words in (
        ((torch.tensor(3), [1, 2.5, True]), "holds 3 values, but 4 values"),
        ((torch.tensor(3), [1, 2.5, True, "b"]), "Entry [3]"),
        ((torch.tensor(3), [1.0, 2.5, True, "a"]), "is a float, but an int"),
        ((torch.tensor(3), [1, 2.5, 1, "a"]), "is an int, but a bool"),
        ((torch.tensor(4), [1, 2.5, True, "a"]), "is 4 where 3"),
        (torch.tensor(3), "a tensor, but a tuple of 2 values"),
    ):
        text = repr(judge(PAIR, lambda x, wrong=wrong: wrong))
        assert words in text, text


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        (counted_in_place, "`counts = dict(counts)`"),
        (emptied, "`words = list(words)`"),
    ],
)
def test_a_changed_list_or_dict_is_named_with_a_way_out(wrong, advice):
    counting = replace(
        PAIR,
        id="toy.count",
        reference=lambda words, counts: counted_in_place(words, dict(counts)),
        cases=(Case("two words", (["a", "b"], {"a": 1})),),
    )
    verdict = judge(counting, wrong)
    assert verdict.status is Status.CHANGED_INPUTS
    assert advice in verdict.sentence


def test_nbgrader_makes_a_failed_check_raise(monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(CheckFailed, match="scaled twice"):
        check("toy.scale_rows", twice)
    assert "scaled twice" in capsys.readouterr().out
    assert check("toy.scale_rows", scaled).passed
    assert not progress().passed, "grading is not the learner's progress"


# --- Errors in the learner's code. ---


def failing_deep_in_torch(x, by):
    wide = torch.cat(
        [x, x[:1, :1]],
    )
    return wide * by


def helper(x):
    return x[99]


def fails_in_a_helper(x, by):
    return helper(x)


class UnprintableError(Exception):
    def __str__(self):
        raise ValueError("no")

    __repr__ = __str__


def raises_unprintable(x, by):
    raise UnprintableError


def endless_recursion(x, by):
    return endless_recursion(x, by)


def leaves(x, by):
    sys.exit(3)


def raises_base(x, by):
    raise GeneratorExit


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (failing_deep_in_torch, ["`wide = torch.cat( [x, x[:1, :1]], )`", "x (3, 2) float32"]),
        (fails_in_a_helper, ["in helper: `return x[99]`", "0 to 3 - 1"]),
        (raises_unprintable, ["UnprintableError", "cannot be shown"]),
        (endless_recursion, ["RecursionError", "calls itself"]),
        (leaves, ["SystemExit: 3", "`exit` or `quit`"]),
        (raises_base, ["GeneratorExit"]),
        (lambda x: x, ["cannot be called as `scale_rows(x, by)`", "`(x)`"]),
        (lambda x, by: torch.softmax(x.long(), 0), ["not implemented for 'Long'", "float()"]),
    ],
)
def test_own_line_and_usual_cause(answer, words):
    verdict = check("toy.scale_rows", answer)
    text = repr(verdict)
    assert verdict.status is Status.RAISED, text
    for word in words:
        assert word in text, text
    assert "site-packages" not in text + verdict.traceback


def test_an_error_of_the_course_that_names_the_fix_needs_no_usual_cause():
    verdict = check("toy.scale_rows", lambda x, by: llm_core.cross_entropy(x, by))
    assert verdict.status is Status.RAISED
    assert "Usual cause" not in dict(verdict.details)
    assert "Usual cause" in dict(check("toy.scale_rows", lambda x, by: x[99]).details)


def test_folded_traceback_is_short_escaped_and_without_paths():
    def wrong(x, by):
        raise ValueError("<script>alert(1)</script> at 0x7fffdeadbeef")

    verdict = check("toy.scale_rows", wrong)
    html = verdict._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<details><summary>Traceback</summary>" in html
    assert "0x7fff" not in html + repr(verdict)
    assert os.sep + "tests" not in html
    recursion = check("toy.scale_rows", endless_recursion)
    assert len(recursion.traceback.splitlines()) <= 12


def test_html_says_the_same_in_words_and_works_in_both_themes():
    for answer, word in ((scaled, "Passed."), (twice, "Not yet."), (by_sorted, "Another")):
        html = check("toy.scale_rows", answer)._repr_html_()
        assert word in html
        assert 'aria-hidden="true"' in html
        assert "var(--jp-" in html
        assert "http" not in html


TORCH_ERRORS = [
    (lambda: torch.ones(2, 3) @ torch.ones(2, 3), "but here they are 3 and 2"),
    (lambda: torch.ones(2, 3) @ torch.ones(2), "rows of length 3"),
    (lambda: torch.ones(2, 3, 4) @ torch.ones(2, 3, 4), "transpose"),
    (lambda: torch.ones(2, 3) + torch.ones(2), "3 against 2"),
    (lambda: torch.ones(2, 3).reshape(2, 2), "multiply to the 6"),
    (lambda: torch.ones(2, 3).T.view(6), "reshape"),
    (lambda: torch.ones(2, 3) @ torch.ones(3, 2).double(), "dtypes"),
    (lambda: torch.ones(2).sum(dim=3), "Axis 3 does not exist"),
    (lambda: torch.ones(2)[5], "5 does not exist"),
    (lambda: torch.ones(2)[:0][0], "Axis 0 is empty"),
    (lambda: torch.zeros(2).index_add_(0, torch.tensor([0]), torch.ones(1).double()), "dtypes"),
    (lambda: torch.ones(2)[:0].max(), "whether anything is left"),
    (lambda: torch.ones(2)[0, 0], "more indices"),
    (lambda: torch.ones(2)[torch.ones(2)], "long()"),
    (lambda: torch.embedding(torch.ones(2, 2), torch.tensor([5])), "as large as the axis"),
    (lambda: 1 if torch.ones(2) else 0, "torch.where"),
    (lambda: int(torch.ones(2)), "one number is needed"),
    (lambda: torch.arange(3).div_(2), "in-place"),
    (lambda: torch.ones(2).masked_fill(torch.ones(2), 0.0), "True and False"),
    (lambda: torch.ones(2).sums(), "`.sums`"),
    (lambda: (1, 2).sum(), "This is a tuple"),
    (lambda: {} + torch.ones(2), "kinds that do not go together"),
    (lambda: None + torch.ones(2), "A None stands"),
    (lambda: ~None, "A None stands"),
    (lambda: torch.ones(2) - torch.ones(2, 2).max(0), "`.values`"),
    (lambda: torch.ones(2, requires_grad=True).numpy(), "can't become a NumPy array"),
    (lambda: (lambda a: a)(1, a=2), "given twice"),
    (lambda: None.shape, "A None stands"),
    (lambda: torch.ones(2)(3), "not a function"),
    (lambda: torch.ones(2).sum(axes=1), "keyword|types"),
    (lambda: undefined_name, "nothing called undefined_name"),  # noqa: F821
    (lambda: (lambda a: a)(), "another number of arguments"),
    (lambda: (lambda a: a)(b=1), "no argument called b"),
    (lambda: 1 / 0, "is 0 here"),
    (lambda: [a for a, b in [(1, 2, 3)]], "number of names"),
    (lambda: {[1]: 2}, "make a tuple of it"),
    (lambda: [d.pop(k) for d in [{1: 2, 3: 4}] for k in d], "that same dict"),
    (lambda: b"a" + "b", "strings and bytes"),
    (lambda: "".join([b"a"]), "strings and bytes"),
    (lambda: [1] + 2, "a single entry"),
    (lambda: list(b"a"[0]), "going through bytes"),
    (lambda: list(1.5), "single float"),
    (lambda: bytes([300]), "from 0 to 255"),
    (lambda: max([]), "whether anything is left"),
    (lambda: torch.stack([]), "a step too early"),
    (lambda: {}.append(1), "A dict has no `.append`"),
    (lambda: None + 1, "A None stands where a value"),
    (lambda: torch.ones(2).sort(-1, descending=True, stable=True), "by name"),
    (lambda: F.one_hot(torch.tensor([1, -100]), 3), "is no class"),
    (lambda: F.one_hot(torch.tensor([1, 3]), 3), "from 0 to V - 1"),
    (lambda: torch.ones(1, 3).gather(1, torch.tensor([[-100]])), "and is no id"),
    (lambda: torch.ones(2, requires_grad=True).backward(), "has its loss in [1]"),
    (lambda: torch.ones(2).sum().backward(), "Nothing was recorded"),
]


@pytest.mark.parametrize(("fail", "words"), TORCH_ERRORS, ids=[w for _, w in TORCH_ERRORS])
def test_usual_causes_fit_the_messages_of_this_torch(fail, words):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - each line has its own error
        fail()
    cause = usual_cause(caught.value)
    assert any(word in cause for word in words.split("|")), f"{caught.value!r} -> {cause}"
    assert cause.endswith(".")


# --- In a notebook cell. ---


@pytest.fixture
def run_cell():
    """Run cells in one IPython session; each call returns the last value of its cell."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell(config=config)
    shell.run_cell("import torch\nfrom llm_core.exercises import check")

    def run(code):
        result = shell.run_cell(textwrap.dedent(code).lstrip("\n"))
        result.raise_error()
        return result.result

    return run


CELLS = {
    "not attempted": """
        def scale_rows(x, by):
            \"\"\"Scale.\"\"\"
            raise NotImplementedError
    """,
    "passed": """
        def scale_rows(x, by):
            return x * by[:, None]
    """,
    "wrong type": """
        def scale_rows(x, by):
            y = x * by[:, None]
    """,
    "wrong shape": """
        def scale_rows(x, by):
            return x.sum(0)
    """,
    "changed its inputs": """
        def scale_rows(x, by):
            x.mul_(by[:, None])
            return x
    """,
    "did not stop": """
        def scale_rows(x, by):
            i = 0
            while i < 1:
                try:
                    i = 0
                except:
                    pass
    """,
    "raised": """
        # a comment

        def scale_rows(x, by):
            middle = x.sum(1)
            return middle @ x.T @ by
    """,
}


@pytest.mark.parametrize("status", CELLS)
def test_in_a_notebook_cell(run_cell, status):
    run_cell(CELLS[status])
    verdict = run_cell("check('toy.scale_rows', scale_rows)")
    assert verdict.status == status, verdict
    if status == "raised":
        assert "line 5 of your cell, in scale_rows: `return middle @ x.T @ by`" in verdict.sentence
        assert "middle (3,) float32, x (3, 2) float32" in repr(verdict)
    if status == "did not stop":
        assert "of your cell, in scale_rows" in repr(verdict)


def test_helper_of_another_cell_is_the_learners_own_code(run_cell):
    run_cell("def part(x):\n    return x[0, 0, 0]")
    run_cell("def scale_rows(x, by):\n    return part(x)")
    verdict = run_cell("check('toy.scale_rows', scale_rows)")
    assert "line 2 of your cell, in part: `return x[0, 0, 0]`" in verdict.sentence


def test_changed_cell_is_shown_as_it_is_now(run_cell):
    for line in ("return x[7, 7]", "return x[8, 8]"):
        run_cell(f"def scale_rows(x, by):\n    {line}")
        assert line in run_cell("check('toy.scale_rows', scale_rows)").sentence


@pytest.mark.slow
def test_in_a_real_kernel(tmp_path):
    """A kernel of its own: the loop is stopped there, and the verdict is saved as text and HTML."""
    import nbformat
    from nbclient import NotebookClient

    setup = """
    import dataclasses
    import torch
    from llm_core.exercises import check, checks, registry
    find = registry.find_exercise
    checks.find_exercise = lambda id: dataclasses.replace(find(id), time_limit=0.5)
    """
    loop = "def center_rows(x):\n    while True:\n        pass"
    wrong = "def center_rows(x):\n    return x - x.mean(7)"
    ask = "check('start_here.center_rows', center_rows)"
    sources = [textwrap.dedent(setup), loop, ask, wrong, ask]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    stopped, raised = (notebook.cells[i].outputs[0]["data"] for i in (2, 4))
    assert "had not finished after 0.5 seconds" in stopped["text/plain"]
    assert "line 2 of your cell, in center_rows: `return x - x.mean(7)`" in raised["text/plain"]
    assert "<code>return x - x.mean(7)</code>" in raised["text/html"]
    assert "ipykernel" not in raised["text/plain"] + raised["text/html"]


# --- The time limit. ---


def loop_for_ever():
    while True:
        pass


def swallow_everything():
    while True:
        try:
            for _ in range(10):
                pass
        except BaseException:
            pass


def swallow_while_asleep():
    while True:
        try:
            try:  # noqa: SIM105 - what a learner writes
                time.sleep(1)
            except BaseException:
                pass
        except BaseException:
            pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="Windows has no interval timers")
@pytest.mark.parametrize(
    "function",
    [loop_for_ever, swallow_everything, swallow_while_asleep, lambda: time.sleep(30)],
)
def test_main_thread_is_interrupted_and_the_timer_given_back(function):
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    timer = signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        began = time.monotonic()
        with pytest.raises(TimeUpError):
            run_limited(function, 0.2)
        assert time.monotonic() - began < 10
        assert 45 < signal.getitimer(signal.ITIMER_REAL)[0] < 60
        signal.raise_signal(signal.SIGALRM)
        assert seen == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, *timer)
        signal.signal(signal.SIGALRM, before)


class SlowToFree:
    def __del__(self):
        for _ in range(2_000):
            pass


def free_for_ever():
    while True:
        SlowToFree()


@pytest.fixture
def often(monkeypatch):
    """Interrupt, and change threads, ten times as often: as many interruptions in less time."""
    monkeypatch.setattr(limit_module, "_REPEAT", limit_module._REPEAT / 10)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(interval / 10)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("signals", [True, False])
def test_an_interruption_that_a_finalizer_swallows_is_not_reported(signals, monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    if not signals:
        monkeypatch.setattr(limit_module, "_signals_work_here", lambda: False)
    for _ in range(20):
        with pytest.raises(TimeUpError):
            run_limited(free_for_ever, 0.02)
    assert reported == []
    assert sys.unraisablehook == reported.append


def test_other_errors_in_finalizers_are_reported(monkeypatch):
    class Fails:
        def __del__(self):
            raise ValueError("in a finalizer")

    reported = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: reported.append(found.exc_value))
    run_limited(lambda: Fails() and None, 1)
    assert [str(error) for error in reported] == ["in a finalizer"]


@pytest.mark.parametrize("function", [loop_for_ever, swallow_everything])
def test_windows_way_interrupts_the_main_thread(function, monkeypatch):
    monkeypatch.setattr(limit_module, "_signals_work_here", lambda: False)
    with pytest.raises(TimeUpError):
        run_limited(function, 0.2)
    for _ in range(200):  # an interruption that comes too late must not surface here
        with pytest.raises((TimeUpError, StopIteration)):
            run_limited(lambda: next(iter([])) if sum(range(20_000)) else None, 0.001)
    assert sum(range(1_000_000)) > 0


def test_other_threads_are_interrupted_too():
    found = []

    def work():
        verdict = judge(SCALE, lambda x, by: loop_for_ever())
        found.append(verdict.status)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert found == ["did not stop"]


def test_a_property_that_hangs_is_stopped():
    def hangs_on_two_rows(x, by):
        while len(x) == 2:
            pass
        return x * by[:, None]

    verdict = check("toy.scale_rows", hangs_on_two_rows)
    assert verdict.status is Status.DID_NOT_STOP
    assert "positive stays positive" in repr(verdict)


def test_the_learners_interrupt_passes_through():
    def interrupted(x, by):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("toy.scale_rows", interrupted)


# --- What an answer may do besides. ---


def test_printing_is_kept_short(capsys):
    def chatty(x, by):
        for i in range(500):
            print("row", i)
        return x * by[:, None]

    verdict = check("toy.scale_rows", chatty)
    assert verdict.passed
    assert capsys.readouterr().out == ""
    assert "row 7\n    ... and 492 more lines" in repr(verdict)
    assert len(repr(verdict).splitlines()) < 15


def test_global_state_of_torch_is_left_alone():
    state = torch.get_rng_state()

    def meddles(x, by):
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        result = x * by[:, None]
        torch.set_default_device("meta")
        return result

    assert check("toy.scale_rows", meddles).passed
    assert torch.get_default_device() == torch.device("cpu")
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), state)


def test_inputs_are_copied_with_layout_generators_and_lists():
    generator = torch.Generator().manual_seed(1)
    value = {"x": [torch.ones(2, 3).T, (1, None)], "g": generator}
    copied = copy_value(value)
    assert copied["x"][0].stride() == value["x"][0].stride()
    assert copied["x"][0].data_ptr() != value["x"][0].data_ptr()
    first = torch.rand(1, generator=copied["g"])
    assert torch.equal(first, torch.rand(1, generator=generator))
    outcome = call(lambda x: x["x"].append(1), Case("list", ({"x": []},)), 1.0)
    assert outcome.changed == (0,)


def test_a_model_is_copied_with_its_gradients():
    model = torch.nn.Linear(2, 3)
    model.weight.grad = torch.ones(3, 2)
    copied = copy_value(model)
    assert torch.equal(copied.weight.grad, model.weight.grad)
    assert copied.weight.grad.data_ptr() != model.weight.grad.data_ptr()
    assert copied.bias.grad is None


def noisy(x, generator):
    """Add noise to x (N,), drawn from the generator."""
    return x + torch.rand(x.shape, generator=generator)


def test_drawing_from_a_generator_changes_no_input_and_starts_anew_each_time():
    case = Case("three", (torch.ones(3), torch.Generator().manual_seed(1)))
    exercise = Exercise("toy.noisy", "n", noisy, (case,), (), (), ("a", "b", "c"), "s", "c")
    assert judge(exercise, noisy).passed
    verdict = judge(exercise, lambda x, generator: x + torch.rand(x.shape))
    assert verdict.status is Status.NOT_REPEATABLE
    assert "without the generator that it gets" in verdict.sentence
    verdict = judge(exercise, lambda x, generator: noisy(x, generator) + 1)
    assert "generator = a torch.Generator" in repr(verdict)


def trained(model, optimizer):
    """Train a model for one step; return what its weight then is."""
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    return model.weight.detach().clone()


def test_a_model_and_its_optimizer_are_copied_together_and_may_be_trained():
    model = torch.nn.Linear(2, 1)
    before = model.weight.detach().clone()
    case = Case("a line", (model, torch.optim.SGD(model.parameters(), lr=0.5)))
    exercise = Exercise("toy.trained", "t", trained, (case,), (), (), ("a", "b", "c"), "s", "c")
    assert judge(exercise, trained).passed
    assert torch.equal(model.weight, before)
    verdict = judge(exercise, lambda model, optimizer: model.weight.detach().clone())
    assert verdict.status is Status.DIFFERENT_VALUE
    assert "model = a model of the class Linear" in repr(verdict)
    assert "optimizer = the optimizer SGD" in repr(verdict)


# --- Comparing and showing values. ---


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, math.nan]), True),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, math.nan]), False),
        (torch.tensor([math.inf]), torch.tensor([math.inf]), True),
        (torch.tensor([math.inf]), torch.tensor([-math.inf]), False),
        (torch.tensor([1.0]), torch.tensor([math.inf]), False),
        (torch.tensor([1e6]), torch.tensor([1e6 + 1]), True),
        (torch.tensor([1.0]), torch.tensor([1.0 + 5e-5]), False),
        (torch.zeros(0, 3), torch.zeros(0, 3), True),
        (torch.zeros(0, 3), torch.zeros(3, 0), False),
        (torch.tensor(True), torch.tensor(False), False),
        (torch.tensor([1j]), torch.tensor([1j]), True),
        (torch.ones(2), torch.ones(2, requires_grad=True), True),
        (torch.tensor([10**9]), torch.tensor([10**9 + 1]), False),
        (torch.tensor([1, 2]), torch.tensor([1, 2]), True),
        (2**60, 2**60, True),
        (124_439_808, 124_439_809, False),
        (1e9, 1e9 + 1, True),
        (1.5, np.float32(1.5), True),
        (1.5, 1.4, False),
        (2.0, 2, True),
        (2, 2.0, False),
        (True, 1, False),
        (math.nan, math.nan, True),
        (np.ones(2), np.ones(2), True),
        (np.ones(2), np.array(["a", "b"]), False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": 1}, {"a": 2}, False),
        ("a", "a", True),
        ("a", "b", False),
        (None, None, True),
    ],
)
def test_differences(expected, got, same):
    assert (not differences(expected, got, atol=1e-5)) == same


@pytest.mark.parametrize(
    ("expected", "got", "status", "words"),
    [
        ([1, 2], (1, 2), None, ""),
        ([(b"a", b"b")], [[b"a", b"b"]], None, ""),
        ({1: "a", 2: "b"}, {2: "b", 1: "a"}, None, ""),
        ([1, 2], [np.int64(1), np.int32(2)], None, ""),
        ([5, 6, 7], [5, 9, 7], "different value", "Entry [1] of your result is 9 where 6 was"),
        ([5, 6], [5, 6, 7], "different value", "holds 3 values, but 2 values were expected; as"),
        (
            [5, 6, 7],
            [5, 9],
            "different value",
            "holds 2 values, but 3 values were expected; entry [1] of your result is 9 where",
        ),
        ([5, 6], [], "different value", "holds 0 values, but 2 values were expected; as far"),
        ([], [5], "different value", "holds 1 value, but 0 values were expected"),
        ([5, 6], [5, 6.0], "wrong type", "Entry [1] of your result is a float, but an int"),
        (
            [5],
            torch.tensor([5]),
            "wrong type",
            "a tensor, but a list of 1 value was expected; `.to",
        ),
        ([5], [torch.tensor(5)], "wrong type", "`.item()` makes a number"),
        ([5], {5}, "wrong type", "a set has no order"),
        ([5], map(int, "5"), "wrong type", "`list(...)` makes a list of it"),
        (
            [b"a"],
            b"a",
            "wrong type",
            "object, but a list of 1 value was expected; return the parts",
        ),
        (
            [(1, 2), (3, 4)],
            [(1, 2), (3, 5)],
            "different value",
            "Entry [1] of your result is (3, 5)",
        ),
        ("abc", b"abc", "wrong type", "`.decode"),
        (b"abc", "abc", "wrong type", "is a string, but a bytes object was"),
        ("abc", ["a", "b", "c"], "wrong type", "`.join(...)`"),
        ("a", "b", "different value", "Your result is 'b' where 'a' was expected."),
        (b"a", b"b", "different value", "Your result is b'b' where b'a' was expected."),
        (
            "a long line\r\nand another",
            "a long line\nand another",
            "different value",
            "from character 11 on, counted from 0: '\\nand another' came where '\\r\\nand another'",
        ),
        (
            b"x" * 20 + b"y",
            b"x" * 20,
            "different value",
            "from byte 20 on, counted from 0: its end",
        ),
        ({"a": 1}, {"b": 1}, "different value", "lacks the key 'a' and has the key 'b', which"),
        ({"a": 1}, {}, "different value", "lacks the key 'a'."),
        ({}, {(1, 2): 3}, "different value", "has the key (1, 2), which was not expected."),
        ({(1, 2): 3}, {(1, 2): 4}, "different value", "Entry [(1, 2)] of your result is 4 where 3"),
        ({1: 2}, [(1, 2)], "wrong type", "`dict(...)` makes a dict"),
    ],
)
def test_texts_lists_and_dicts_are_compared_part_by_part(expected, got, status, words):
    found = differences(expected, got, atol=1e-5)
    if status is None:
        assert found == []
        return
    assert found[0].status == status
    text = f"{found[0].sentence} {found[0].details}"
    assert any(word in text for word in words.split("|")), text
    assert found[0].sentence.endswith(".")


def test_nan_is_named():
    found = differences(torch.ones(2, 2), torch.tensor([[1.0, 1.0], [math.nan, 1.0]]), 1e-5)
    assert "has NaN (not a number) in 1 of 4 entries, first at [1, 0]," in found[0].sentence
    assert differences(torch.tensor(1.0), torch.tensor(math.nan), 0.1)[0].is_nan


def test_an_answer_that_is_slow_on_every_case_is_stopped_once():
    def slow(x, by):
        time.sleep(0.6)
        return x * by[:, None]

    began = time.monotonic()
    assert check("toy.scale_rows", slow).status is Status.DID_NOT_STOP
    assert time.monotonic() - began < 5


def test_quiz_without_the_notebook_packages_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    for name in ("llm_core.widgets.base", "llm_core.widgets.quiz"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ModuleNotFoundError, match="course"):
        quiz("toy.recap")


def test_numbers_are_rounded_but_told_apart():
    assert number(1 / 3) == "0.3333"
    assert number(-0.0) == "0"
    assert number(math.nan) == "NaN"
    assert entry_pair(0.333333, 0.333334) == ("0.333333", "0.333334")
    assert describe(torch.tensor([[0.123456, 1.0]])) == "[[0.1235, 1]]"
    assert describe(torch.zeros(5, 7)) == "tensor of shape (5, 7), float32"
    assert "0x" not in describe([object()])
    assert describe((1,)) == "(1,)"
    assert describe((twice, torch.Generator())) == "(the function twice, a torch.Generator)"


# --- Hints. ---


def test_hints_come_one_at_a_time_then_the_solution():
    texts = [repr(hint("toy.scale_rows")) for _ in range(5)]
    assert texts[0].startswith("Hint 1 of 3: Nudge.")
    assert "Run this cell again for the next hint." in texts[0]
    assert texts[1].startswith("Hint 2 of 3: Look at")
    assert "for the solution" in texts[2]
    assert texts[3].startswith("Solution: An axis of length 1")
    assert "return x * by[:, None]" in texts[3]
    assert texts[4] == texts[3]
    html = hint("toy.scale_rows")._repr_html_()
    assert "<details><summary>" in html
    assert "<details open" not in html
    assert "<code>by[:, None]</code>" in hints_module.Hint("i", 2, SCALE.hints[1])._repr_html_()
    assert repr(hint("toy.pair")).startswith("Hint 1 of 3"), "each exercise counts for itself"


# --- Predictions. ---


@pytest.mark.parametrize(
    ("guess", "outcome", "words"),
    [
        (16.0, 8, "the guess is 8 above the outcome, 2 times as large"),
        (2, 8.0, "the guess is 6 below the outcome, 4 times smaller"),
        (8, torch.tensor(8.0), "the guess is right"),
        (math.log(168), 5.1, "the guess is close, 0.024 above the outcome"),
        (0.67, 0.66, "the guess is close, 0.01 above the outcome"),
        (5.0, 5.12, "the guess is 0.12 below the outcome, 1.02 times smaller"),
        (0.5, 0.0, "the guess is 0.5 above the outcome"),
        (-1, 1, "the guess is 2 below the outcome"),
        (-4.0, -2.0, "the guess is 2 below the outcome, 2 times as large"),
        ("Yes ", "yes", "the same"),
        ("no", "yes", "not the same"),
        (True, False, "the opposite"),
        ([1, 2], [1, 3], "[1, 3]"),
        (math.inf, 3.0, "inf"),
    ],
)
def test_reveal_puts_guess_and_outcome_together(guess, outcome, words):
    assert "Your guess" in repr(predict("toy.p", guess))
    text = repr(reveal("toy.p", outcome, "Because."))
    assert words in text
    assert "Why: Because." in text


def test_predictions_without_a_guess_are_stable_and_friendly():
    predict("toy.p", 3)
    assert repr(predict("toy.p", None)).startswith("No guess yet.")
    text = repr(reveal("toy.p", 1 / 3))
    assert text == "Guess and outcome.\n  Your guess: none\n  What came: 0.333"
    assert "&lt;b&gt;" in reveal("toy.p", "<b>", "x")._repr_html_()
    with pytest.raises(TypeError, match="order of the arguments"):
        predict(3.0, "toy.p")
    with pytest.raises(TypeError, match="explanation"):
        reveal("toy.p", 3.0, 4.0)


# --- Progress. ---


def test_progress_shows_chapters_in_text_and_html():
    check("toy.scale_rows", scaled)
    lines = repr(progress()).splitlines()
    assert lines[0] == "Your progress: 1 of 2 exercises passed."
    assert lines[1] == "Chapter 99 toy: 1 of 2 passed"
    assert "  passed: Scale the rows" in lines
    assert "  open: A pair" in lines
    html = progress()._repr_html_()
    assert html.count('scope="col"') == 3
    assert "<caption" in html
    assert "<td" in html


def test_progress_lists_the_exercises_of_chapters_that_are_begun():
    assert repr(progress()).splitlines()[1:] == ["Chapter 99 toy: 0 of 2 passed"]
    html = progress()._repr_html_()
    assert "99 toy: 0 of 2 passed" in html
    assert "<td" not in html
    record.remember_answer("toy.recap", 0, right=False)
    assert "  open: A pair" in repr(progress()).splitlines()


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", '{"passed": 3}', '{"passed": {}, "quizzes": 1}']
)
def test_damaged_file_is_set_aside_and_said_so(content, tmp_path):
    path = tmp_path / "progress.json"
    path.write_text(content)
    verdict = check("toy.scale_rows", scaled)
    assert verdict.passed
    assert "was damaged" in repr(verdict)
    assert (tmp_path / "progress.damaged-1.json").read_text() == content
    assert progress().passed == {"toy.scale_rows"}
    path.write_text(content)
    assert "damaged-2" in repr(progress())


def test_unwritable_folder_does_not_stop_the_check(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LLM_CORE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    verdict = check("toy.scale_rows", scaled)
    assert verdict.passed
    assert "Your progress could not be saved" in repr(verdict)
    assert not progress().passed


def test_unknown_entries_of_a_newer_release_are_kept(tmp_path):
    path = tmp_path / "progress.json"
    path.write_text(json.dumps({"passed": {"later.thing": "2030-01-01"}, "notes": [1]}))
    check("toy.scale_rows", scaled)
    data = json.loads(path.read_text())
    assert data["notes"] == [1]
    assert set(data["passed"]) == {"later.thing", "toy.scale_rows"}


def test_lock_left_behind_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "_LOCK_WAIT", 0.1)
    (tmp_path / "progress.json.lock").touch()
    assert record.remember_pass("toy.pair") is None
    assert progress().passed == {"toy.pair"}
    assert not (tmp_path / "progress.json.lock").exists()


def _remember_many(path, name):
    os.environ["LLM_CORE_PROGRESS"] = path
    for i in range(15):
        record.remember_pass(f"toy.{name}{i}")


def test_two_kernels_lose_nothing(tmp_path):
    path = str(tmp_path / "progress.json")
    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    workers = [context.Process(target=_remember_many, args=(path, n)) for n in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert len(json.loads((tmp_path / "progress.json").read_text())["passed"]) == 30


# --- Quiz. ---


def test_quiz_text_is_stable_and_gives_nothing_away():
    first, second = quiz("toy.recap"), quiz("toy.recap")
    data, _ = first._repr_mimebundle_()
    again, _ = second._repr_mimebundle_()
    for form in ("text/plain", "text/html"):
        assert data[form] == again[form]
    assert "Question 1. One `plus` one?" in data["text/plain"]
    assert "  B. 3" in data["text/plain"]
    assert "Yes, two." not in data["text/plain"]
    assert "<code>plus</code>" in data["text/html"]
    assert "&lt;b&gt;" in data["text/html"]
    assert "<details>" in data["text/html"]
    assert "image/png" not in data


def test_first_answers_of_a_quiz_count():
    widget = quiz("toy.recap")
    widget.choices = {"0": 1}
    widget.choices = {"0": 0}
    widget.choices = {"0": 0, "1": 1}
    assert progress().quizzes == {"toy.recap": {"0": False, "1": True}}
    assert "  passed: quiz, 1 of 2 right at first" in repr(progress())
    quiz("toy.recap").choices = {"0": 0}
    assert progress().quizzes["toy.recap"]["0"] is False


def test_quiz_says_when_an_answer_cannot_be_recorded(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LLM_CORE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    widget = quiz("toy.recap")
    widget.choices = {"0": 0}
    assert "could not be saved" in widget.notice


@pytest.mark.parametrize("choices", [{"0": 9}, {"9": 0}, {"a": 0}, {"0": None}])
def test_quiz_ignores_choices_that_cannot_be(choices):
    quiz("toy.recap").choices = choices
    assert progress().quizzes == {}


QUIZ_PAGE = """<!doctype html><meta charset="utf-8"><title>quiz</title><body><script type="module">
SCRIPT
const state = STATE;
window.state = state;
const listeners = {};
const model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; listeners[`change:${name}`]?.map((f) => f()); },
  save_changes() {},
  on: (name, f) => (listeners[name] ||= []).push(f),
  off() {},
};
render({ model, el: document.body });
</script>"""


def quiz_page() -> str:
    """Return a page that shows the toy quiz without a kernel and keeps its state in `state`."""
    widgets = ROOT / "llm_core" / "widgets"
    script = "".join((widgets / name).read_text(encoding="utf-8") for name in ("kit.js", "quiz.js"))
    widget = quiz("toy.recap")
    state = {"questions": widget.questions, "quiz_id": "toy.recap", "choices": {}, "notice": ""}
    page = QUIZ_PAGE.replace("SCRIPT", script.replace("export default", "const widget ="))
    return page.replace("STATE", json.dumps(state))


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="there is no Chromium on this machine")
def test_quiz_in_a_browser_by_keyboard_and_by_mouse(tmp_path, browser):
    """Chooses by arrow keys, checks by Enter, then by mouse; hears both explanations."""
    (tmp_path / "quiz.html").write_text(quiz_page(), "utf-8")
    problems = []
    page = browser.new_page()
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto((tmp_path / "quiz.html").as_uri())
    first, second = (page.get_by_role("group", name=f"Question {i} of 2") for i in (1, 2))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert "Choose an option first" in first.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("state.choices") == {}, "moving is not answering"
    assert "not checked yet" in first.inner_text()
    page.keyboard.press("Enter")
    assert "Not this one. One more." in first.inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.ariaLabel") == "Check question 1"
    page.keyboard.press("Space")
    assert "Right. Yes, two." in first.inner_text()
    assert first.locator("code").inner_text() == "plus"
    assert "Is <b> escaped?" in second.inner_text()
    second.get_by_label("yes").click()
    second.get_by_role("button", name="Check question 2").click()
    assert page.evaluate("state.choices") == {"0": 0, "1": 1}
    assert "2 of 2 questions answered, 2 right." in page.locator(".llm-summary").inner_text()
    kept = page.locator("input, button").evaluate_all(
        "nodes => nodes.every((n) => n.dataset.lmSuppressShortcuts === 'true')"
    )
    assert kept, "JupyterLab would take the arrow keys"
    page.close()
    assert problems == []
