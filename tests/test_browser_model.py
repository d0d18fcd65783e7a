"""Chapter 06 and its explorer in a real JupyterLab: every control, by keyboard and mouse, offline.

The explorer counts in the browser; here its counts and its sentence are held against Python's.
"""

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
    open_built,
    option,
    point,
)

from llm_core.widgets.model import NAMES, ModelExplorer

pytestmark = NEEDS_BROWSER

MODEL = "Model explorer"
CONTROLS = ("Start from", "Blocks as in", "Positions", "Output head")
SLIDERS = (
    "Vocabulary",
    "Width (d_model)",
    "Layers",
    "Heads",
    "Key/value heads",
    "Feed-forward",
    "Context",
    "Batch",
)


def drive_model(hand: Hand) -> None:
    """Work the explorer, which starts from GPT-2 small."""
    names = [*CONTROLS, *SLIDERS, "What fits"]
    assert hand.tab_stops()[: len(names)] == names
    assert hand.shielded()
    _same_as_python(hand, ModelExplorer("gpt2"))
    _every_control_moves(hand)
    _presets_count_as_python(hand)
    _impossible_heads_are_mended(hand)


def _every_control_moves(hand: Hand) -> None:
    """Picture and summary must follow each control, moved by keyboard and by mouse."""
    _start_from(hand, "gpt2")
    start = hand.control("combobox", "Start from")
    hand.must_change("preset by keyboard", lambda: hand.press(start, "ArrowDown"))
    hand.must_change("preset by choosing", lambda: start.select_option(NAMES["gpt2"]))
    for trait in ("blocks", "positions", "tied"):
        chosen, first = hand.chosen(trait), option(hand, trait, 1)
        hand.must_change(f"{trait} by keyboard", lambda c=chosen: hand.press(c, "ArrowRight"))
        hand.must_change(f"{trait} by mouse", lambda f=first: f.click())
    for label in SLIDERS:
        slider, key = hand.control("slider", label), "End" if label == "Batch" else "Home"
        hand.must_change(f"{label} by keyboard", lambda s=slider, k=key: hand.press(s, k))
        hand.must_change(f"{label} by mouse", lambda s=slider: point(s, 0.3, 0.5, click=True))
        _start_from(hand, "gpt2")


def _presets_count_as_python(hand: Hand) -> None:
    """For every preset the browser's counts, in all 14 parts, must be those of `llm_core.costs`."""
    for name in NAMES:
        _start_from(hand, name)
        _same_as_python(hand, ModelExplorer(name))
    explorer = ModelExplorer("llama-1b", batch_size=8)
    explorer.positions, explorer.n_heads, explorer.context_length = "learned", 20, 4096
    _start_from(hand, "llama-1b")
    option(hand, "positions", 1).click()
    _move_to(hand, "Heads", explorer, "n_heads")
    _move_to(hand, "Context", explorer, "context_length")
    _move_to(hand, "Batch", explorer, "batch_size")
    _same_as_python(hand, explorer)
    _start_from(hand, "gpt2")


def _move_to(hand: Hand, label: str, explorer: ModelExplorer, trait: str) -> None:
    """Move a slider with the arrow keys until its words begin with the trait's value."""
    slider, wanted = hand.control("slider", label), f"{getattr(explorer, trait):,}"
    hand.press(slider, "Home")
    for _ in range(30):
        words = slider.get_attribute("aria-valuetext")
        if words.split()[0] == wanted:
            return
        hand.press(slider, "ArrowRight")
        hand.page.wait_for_timeout(60)
    raise AssertionError(f"{label} never came to {wanted}")


def _impossible_heads_are_mended(hand: Hand) -> None:
    """Seven heads do not divide 768: six are used, the page says so, and the wish is kept."""
    explorer = ModelExplorer("gpt2")
    explorer.n_heads = 7
    _start_from(hand, "gpt2")
    heads, said = hand.control("slider", "Heads"), hand.widget.locator(".llm-reading")
    assert said.inner_text() == ""
    _move_to(hand, "Heads", explorer, "n_heads")
    _same_as_python(hand, explorer)
    assert said.inner_text() == explorer.mended
    assert heads.get_attribute("aria-valuetext") == "7 → 6"
    place = heads.bounding_box()
    _start_from(hand, "gpt2")
    hand.settle()
    assert said.inner_text() == ""
    assert heads.bounding_box() == place, "the sliders must not move under the hand"


def _start_from(hand: Hand, name: str) -> None:
    """Choose a preset, and a batch of one text."""
    hand.control("combobox", "Start from").select_option(NAMES[name])
    hand.press(hand.control("slider", "Batch"), "Home")
    hand.settle()


def _same_as_python(hand: Hand, expected: ModelExplorer) -> None:
    """The browser's counts and its sentence must be Python's."""
    hand.settle()
    np.testing.assert_array_equal(hand.row(), np.array(expected.numbers(), dtype=np.float64))
    assert hand.summary() == expected.describe()


@pytest.mark.timeout(500)
def test_chapter_06(lab: Lab, browser: Any) -> None:
    path = "chapters/06_model.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 300)
        assert list(explorers_in(cells)) == ["ModelExplorer"]
        drive_model(hand_on(page, MODEL))
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}model.{part}"))
        assert problems.found == []
