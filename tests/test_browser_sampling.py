"""Chapter 08 in a real JupyterLab: both explorers, every control, by keyboard and by mouse."""

from typing import Any

import numpy as np
import pytest
from browser import Lab, run_all_cells
from hand import (
    NEEDS_BROWSER,
    QUIZ,
    Hand,
    drive_quiz,
    explorers_in,
    hand_on,
    names_of,
    open_built,
    option,
    point,
    write_notebook,
)
from small import model_cell

pytestmark = NEEDS_BROWSER

TOKENS, BEAMS = "Next-token explorer", "Beam explorer"

SMALL_TEXT = "Tom had a red ball. He lost the ball in the garden. Mia found it there!"
SMALL_MODEL = f"""\
{model_cell(SMALL_TEXT, n_layers=2)}
from llm_core.widgets.sampling import BeamExplorer, NextTokenExplorer
"""
SMALL_CELLS = (
    SMALL_MODEL,
    "NextTokenExplorer(model, tokenizer, 'Tom had', seed=3)",
    "BeamExplorer(model, tokenizer, 'Tom had')",
)


def small_tokens() -> Any:
    names = names_of(SMALL_MODEL)
    return names["NextTokenExplorer"](names["model"], names["tokenizer"], "Tom had", seed=3)


def small_beams() -> Any:
    names = names_of(SMALL_MODEL)
    return names["BeamExplorer"](names["model"], names["tokenizer"], "Tom had")


# ---- the next-token explorer ---------------------------------------------------------------------


def drive_tokens(hand: Hand, expected: Any) -> None:
    """Work the explorer; `expected` is the same one in this process."""
    sliders = ["Temperature", "Top-k", "Top-p", "Min-p"]
    assert hand.tab_stops() == ["Beginning", "Begin", "Draw one", *sliders, "Candidates"]
    assert hand.shielded()
    _same_tokens(hand, expected)
    _settings_equal_pythons(hand, expected)

    text, undo = hand.control("textbox", "Beginning"), hand.control("button", "Undo")
    draw, begin = hand.control("button", "Draw one"), hand.control("button", "Begin")
    bars = hand.widget.locator("[role=radio].llm-candidate")
    focused = hand.widget.locator("[role=radio][tabindex='0']")
    hand.must_change("bar by keyboard", lambda: hand.press(focused, "ArrowDown"), only_picture=True)
    second = bars.nth(1).locator(".llm-name").inner_text()
    hand.must_change("choosing by keyboard", lambda: hand.press(focused, "Enter"))
    _path_is(hand, [second])
    third = bars.nth(2).locator(".llm-name").inner_text()
    hand.must_change("choosing by mouse", bars.nth(2).click)
    _path_is(hand, [second, third])
    hand.must_change("undo by keyboard", lambda: hand.press(undo, "Enter"))
    _path_is(hand, [second])
    hand.must_change("undo by mouse", undo.click)
    _path_is(hand, [])
    assert undo.is_disabled()
    hand.must_change("drawing by keyboard", lambda: hand.press(draw, "Enter"))
    hand.must_change("drawing by mouse", draw.click)
    assert len(_path(hand)) == 2

    words = expected.beginning.split()
    hand.must_change("text by keyboard", lambda: hand.type(text, words[0]))
    _path_is(hand, [])
    text.fill(expected.beginning)
    hand.must_change("text by mouse", begin.click)
    expected.undo()
    _same_tokens(hand, expected)
    _refuses_empty_text(hand, text, expected.beginning)


def _path(hand: Hand) -> list[str]:
    return hand.widget.locator(".llm-path b").all_inner_texts()


def _path_is(hand: Hand, names: list[str]) -> None:
    """The path must come to hold these tokens within five seconds."""
    for _ in range(50):
        if _path(hand) == names:
            return
        hand.page.wait_for_timeout(100)
    raise AssertionError(f"the path is {_path(hand)}, not {names}")


def _same_tokens(hand: Hand, expected: Any) -> None:
    """The browser's filters, softmax and sentence must be Python's."""
    hand.settle()
    shares = expected.probabilities()[: len(expected.names)].numpy()
    assert np.abs(hand.row() - shares).max() <= 1e-5
    assert hand.summary() == expected.describe()
    names = hand.widget.locator(".llm-candidate .llm-name").all_inner_texts()
    assert [name.strip() for name in names] == [name.strip() for name in expected.names]


SLIDERS = {
    "temperature": ("Temperature", "ArrowRight", 6, 0.2),
    "top_k": ("Top-k", "ArrowRight", 7, 0.3),
    "top_p": ("Top-p", "ArrowLeft", 3, 0.3),
    "min_p": ("Min-p", "ArrowRight", 5, 0.95),
}
"""For each trait: its slider, the key that moves it, how often, and where the mouse clicks it."""

NEUTRAL = {"top_k": ("Home", 0), "top_p": ("End", 1.0), "min_p": ("Home", 0.0)}


def _settings_equal_pythons(hand: Hand, expected: Any) -> None:
    """Move each slider by keyboard and by mouse; the numbers must stay Python's."""
    for trait, (name, key, times, _) in SLIDERS.items():
        for _ in range(times):
            hand.press(hand.control("slider", name), key)
        _take_over(hand, expected, trait)
        _same_tokens(hand, expected)
    for trait in NEUTRAL:
        _make_neutral(hand, expected, trait)
    for trait, (name, _, _, across) in SLIDERS.items():
        slider = hand.control("slider", name)
        hand.must_change(f"{trait} by mouse", lambda s=slider, a=across: point(s, a, 0.5, True))
        _take_over(hand, expected, trait)
        _same_tokens(hand, expected)
        _make_neutral(hand, expected, trait)
    dropped = hand.widget.locator(".llm-out")
    assert dropped.count() == 0
    hand.press(hand.control("slider", "Top-k"), "ArrowRight")
    hand.settle()
    assert dropped.count() == len(expected.names) - 1
    assert "out: top-k" in dropped.first.inner_text()
    hand.press(hand.control("slider", "Top-k"), "Home")


def _take_over(hand: Hand, expected: Any, trait: str) -> None:
    """Set the value of a slider in Python, too."""
    value = float(hand.control("slider", SLIDERS[trait][0]).input_value())
    setattr(expected, trait, int(value) if trait == "top_k" else value)


def _make_neutral(hand: Hand, expected: Any, trait: str) -> None:
    """Switch a cut off, in the page and in Python."""
    if trait in NEUTRAL:
        key, value = NEUTRAL[trait]
        hand.press(hand.control("slider", SLIDERS[trait][0]), key)
        setattr(expected, trait, value)


def _refuses_empty_text(hand: Hand, text: Any, good: str) -> None:
    notice = hand.widget.locator(".llm-notice")
    hand.type(text, "   ")
    hand.page.wait_for_function(
        "node => node.textContent.includes('type at least one word')",
        arg=notice.element_handle(),
        timeout=5000,
    )
    hand.type(text, good)
    hand.page.wait_for_function(
        "node => !node.textContent", arg=notice.element_handle(), timeout=5000
    )


# ---- the beam explorer ---------------------------------------------------------------------------


def drive_beams(hand: Hand, expected: Any) -> None:
    """Work the explorer; `expected` is the same one in this process."""
    names = ["Beginning", "Search", "Beams", "Length penalty α", "Step", "Back", "Step"]
    assert hand.tab_stops() == [*names, "Beam tree", "Best so far"]
    assert hand.shielded()
    _same_beams(hand, expected)

    step, back = hand.control("slider", "Step"), hand.control("button", "Back")
    forward, alpha = hand.control("button", "Step"), hand.control("slider", "Length penalty α")
    tree = hand.control("group", "Beam tree")
    chosen = hand.chosen("n_beams")
    for what, act, change in (
        ("step by mouse", forward.click, {"step": 4}),
        ("step by keyboard", lambda: hand.press(forward, "Enter"), {"step": 5}),
        ("back by mouse", back.click, {"step": 4}),
        ("back by keyboard", lambda: hand.press(back, "Enter"), {"step": 3}),
        ("slider by keyboard", lambda: hand.press(step, "ArrowRight"), {"step": 4}),
        ("α by keyboard", lambda: hand.press(alpha, "ArrowLeft"), {"alpha": 0.9}),
        ("α by mouse", lambda: point(alpha, 0.02, 0.5, True), {"alpha": None}),
        ("beams by keyboard", lambda: hand.press(chosen, "ArrowLeft"), {"n_beams": 2}),
        ("beams by mouse", option(hand, "n_beams", 4).click, {"n_beams": 4}),
    ):
        hand.must_change(what, act)
        for trait, value in change.items():
            setattr(expected, trait, float(alpha.input_value()) if value is None else value)
        _same_beams(hand, expected)
    for key in ("ArrowRight", "ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft", "Home"):
        hand.must_change(f"tree by {key}", lambda k=key: hand.press(tree, k), only_picture=True)
    _reads_what_is_clicked(hand, expected)
    hand.must_change("slider by mouse", lambda: point(step, 0.02, 0.5, True))
    hand.press(step, "End")
    expected.step = expected.n_steps
    _same_beams(hand, expected)
    assert forward.is_disabled()

    text, search = hand.control("textbox", "Beginning"), hand.control("button", "Search")
    first = expected.prompt.split()[0]
    hand.must_change("text by keyboard", lambda: hand.type(text, first))
    text.fill(expected.prompt)
    hand.must_change("text by mouse", search.click)
    _refuses_empty_text(hand, text, expected.prompt)


def _same_beams(hand: Hand, expected: Any) -> None:
    """The browser's scores, ranking and sentence must be Python's."""
    for _ in range(50):
        hand.settle()
        if hand.summary() == expected.describe():
            break
    assert hand.summary() == expected.describe()
    scores = np.array([score for score, _ in expected.ranking()])
    assert np.abs(hand.row() - scores).max() <= 1e-5


def _reads_what_is_clicked(hand: Hand, expected: Any) -> None:
    """A click on the first candidate of the first step must show its numbers."""
    canvas = hand.widget.locator("canvas")
    hand.widget.locator(".llm-tree").evaluate("node => { node.scrollLeft = 0; }")
    canvas.click(position={"x": 1.5 * 144, "y": 19})
    hand.settle()
    reading = hand.widget.locator(".llm-reading").inner_text()
    assert reading.startswith(f'"{expected.nodes[1]["text"]}" ')


# ---- the tests -----------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_both_explorers_on_a_small_model(lab: Lab, browser: Any) -> None:
    """Another model and vocabulary than the course's; every control is worked in the chapter."""
    path = "sampling_widgets.ipynb"
    write_notebook(lab.root / path, SMALL_CELLS)
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 90)
        _same_tokens(hand_on(page, TOKENS), small_tokens())
        _same_beams(hand_on(page, BEAMS), small_beams())
        assert problems.found == []
    assert list(explorers_in(cells)) == ["NextTokenExplorer", "BeamExplorer"]


@pytest.mark.timeout(900)
def test_chapter_08(lab: Lab, browser: Any) -> None:
    from llm_core.widgets.sampling import BeamExplorer, NextTokenExplorer

    path = "chapters/08_sampling.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 600)
        assert list(explorers_in(cells)) == ["NextTokenExplorer", "BeamExplorer"]
        drive_tokens(hand_on(page, TOKENS), NextTokenExplorer())
        drive_beams(hand_on(page, BEAMS), BeamExplorer())
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}sampling.{part}"))
        assert problems.found == []
