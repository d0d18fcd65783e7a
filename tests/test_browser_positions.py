"""The position explorer in a real JupyterLab: every control, by keyboard and by mouse, offline.

The browser works out sines, rotations and slopes itself; here its numbers are held equal to
Python's for every kind, at states from one end of the ranges to the other.
"""

import json
from typing import Any

import numpy as np
import pytest
import torch
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

from llm_core.widgets.positions import BASES, HEADS, PositionExplorer

pytestmark = NEEDS_BROWSER

EXPLORER = "Position explorer"
SMALL = """\
import torch
from llm_core.widgets.positions import PositionExplorer

table = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
explorer = PositionExplorer(learned=table, trained=30)
"""
MOVES = """\
explorer.kind, explorer.position = "rotary", 60
explorer.length, explorer.base = 20, 100
"""
STOPS = {
    "sinusoidal": ["Width (d_model)", "Base", "Length", "Position", "Solid curve", "Dashed curve"],
    "learned": ["Length", "Position", "Solid curve", "Dashed curve"],
    "rotary": ["Width (d_model)", "Base", "Length", "Position", "Solid curve", "Dashed curve"],
    "alibi": ["Heads", "Length", "Position", "Solid curve", "Dashed curve"],
}
KEYS = {
    "d_model": ("Width (d_model)", ("End", "Home", "ArrowRight", "ArrowRight", "ArrowRight")),
    "base": ("Base", ("Home", "End", "ArrowLeft", "ArrowLeft")),
    "n_heads": ("Heads", ("Home", "End", "ArrowLeft")),
    "length": ("Length", ("Home", "End", "ArrowLeft")),
    "position": ("Position", ("Home", "End", "ArrowLeft")),
    "first": ("Solid curve", ("End", "Home", "ArrowRight")),
    "second": ("Dashed curve", ("Home", "End", "ArrowLeft")),
}
"""For each trait its slider, and keys that each change it from where the one before left it."""


def small_explorer() -> PositionExplorer:
    return names_of(SMALL)["explorer"]


# ---- the widget, as a learner meets it -----------------------------------------------------------


def drive(hand: Hand, expected: PositionExplorer) -> None:
    """Work the explorer; `expected` is the same one in this process, and is moved along."""
    assert hand.shielded()
    _same_as_python(hand, expected)
    for number, kind in enumerate(expected.kinds, start=1):
        if kind != expected.kind:
            hand.must_change(f"{kind} by mouse", lambda n=number: option(hand, "kind", n).click())
            expected.kind = kind
        assert [stop for stop in hand.tab_stops() if stop != "Kind"] == STOPS[kind]
        _same_as_python(hand, expected)
        _sliders_by_keyboard(hand, expected)
    _kinds_by_keyboard(hand, expected)
    _sliders_by_mouse(hand, expected)
    _pictures_by_mouse(hand, expected)
    _hold_an_arrow_key(hand)


def _number_of(hand: Hand, name: str) -> Any:
    """Return numbers that the widget left in the page, NaN for those that JSON cannot hold."""
    return np.array(json.loads(hand.widget.get_attribute(f"data-{name}")), dtype=float)


def _same_as_python(hand: Hand, expected: PositionExplorer) -> None:
    """The browser's numbers and words must be Python's."""
    hand.settle()
    column = expected.rows()[:, expected.position]
    for name, wanted in {
        "row": expected.similarity().flatten(),
        "column": column,
        "hands": expected.hands(),
    }.items():
        got = _number_of(hand, name)
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=1e-4, err_msg=name)
    assert hand.summary() == expected.describe()


def _slider_value(hand: Hand, trait: str) -> int:
    return int(hand.widget.locator(f'input[name="{trait}"]').input_value())


def _take_over(hand: Hand, expected: PositionExplorer, trait: str) -> None:
    """Set in Python what the slider shows, as the page says it in numbers."""
    value = _slider_value(hand, trait)
    lists = {"base": BASES, "n_heads": HEADS}
    setattr(expected, trait, lists[trait][value] if trait in lists else value)
    if trait == "length":
        assert _slider_value(hand, "position") == expected.position, "it must stay in the text"


def _sliders_by_keyboard(hand: Hand, expected: PositionExplorer) -> None:
    """Move every slider of the present kind by keys, and compare after each."""
    for trait, (label, keys) in KEYS.items():
        if label not in STOPS[expected.kind]:
            continue
        slider = hand.control("slider", label)
        for key in keys:
            before = _slider_value(hand, trait)
            hand.press(slider, key)
            hand.page.wait_for_timeout(60)
            assert _slider_value(hand, trait) != before, f"{key} must move {label}"
            _take_over(hand, expected, trait)
            _same_as_python(hand, expected)


def _kinds_by_keyboard(hand: Hand, expected: PositionExplorer) -> None:
    hand.must_change("kind by keyboard", lambda: hand.press(hand.chosen("kind"), "ArrowLeft"))
    expected.kind = expected.kinds[expected.kinds.index(expected.kind) - 1]
    _same_as_python(hand, expected)
    hand.must_change("kind by mouse", lambda: option(hand, "kind", 1).click())
    expected.kind = expected.kinds[0]


def _sliders_by_mouse(hand: Hand, expected: PositionExplorer) -> None:
    for trait, label in (
        ("d_model", "Width (d_model)"),
        ("base", "Base"),
        ("length", "Length"),
        ("position", "Position"),
        ("first", "Solid curve"),
        ("second", "Dashed curve"),
    ):
        slider = hand.control("slider", label)
        for share in (0.35, 0.6):
            hand.must_change(
                f"{label} by mouse", lambda s=slider, x=share: point(s, x, 0.5, click=True)
            )
            _take_over(hand, expected, trait)
            _same_as_python(hand, expected)


def _pictures_by_mouse(hand: Hand, expected: PositionExplorer) -> None:
    """A click on any of the three pictures over positions chooses the one under the pointer."""
    for number in range(3):
        picture = hand.widget.locator("canvas").nth(number)
        hand.must_change(
            f"picture {number}",
            lambda p=picture, n=number: point(p, 0.3 + 0.2 * n, 0.4, click=True),
        )
        _take_over(hand, expected, "position")
        width = picture.bounding_box()["width"]
        share = ((0.3 + 0.2 * number) * width - 52) / (width - 62)  # the margins beside the plot
        assert abs(expected.position - share * expected.length) <= 1.5
        _same_as_python(hand, expected)


def _hold_an_arrow_key(hand: Hand) -> None:
    """Move the position through the largest table; no press may be lost."""
    for label in ("Width (d_model)", "Length"):
        hand.press(hand.control("slider", label), "End")
    slider = hand.control("slider", "Position")
    hand.press(slider, "Home")
    for _ in range(30):
        hand.page.keyboard.press("ArrowRight")
    assert _slider_value(hand, "position") == 30


# ---- the tests -----------------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_the_explorer_on_a_small_table(lab: Lab, browser: Any) -> None:
    """A cell after the explorer's moves it: the page must have followed before the hand does."""
    path = "positions.ipynb"
    write_notebook(lab.root / path, (SMALL, "explorer", MOVES))
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 60)
        hand, expected = hand_on(page, EXPLORER), small_explorer()
        exec(MOVES, {"explorer": expected})
        assert expected.position == 19, "it must stay in the text"
        drive(hand, expected)
        assert problems.found == []
    assert list(explorers_in(cells)) == ["PositionExplorer"]


@pytest.mark.timeout(400)
def test_chapter_03(lab: Lab, browser: Any) -> None:
    """Its table comes out of training, so only the fixed kinds can be compared in numbers.

    Every control is worked on the small table.
    """
    path = "chapters/03_positions.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        run_all_cells(lab, page, path, 300)
        hand, expected = hand_on(page, EXPLORER), PositionExplorer(torch.ones(64, 16), 32)
        _same_as_python(hand, expected)
        hand.must_change("learned by mouse", lambda: option(hand, "kind", 2).click())
        assert hand.summary().startswith("Learned, width 16, 32 of 64 rows trained: position 24")
        hand.must_change("to rotary", lambda: option(hand, "kind", 3).click())
        expected.kind = "rotary"
        _same_as_python(hand, expected)
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}positions.{part}"))
        assert problems.found == []
