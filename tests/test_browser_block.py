"""Chapter 05 in a real JupyterLab: the block explorer by keyboard and by mouse, and the quizzes."""

from typing import Any

import numpy as np
import pytest
from browser import Lab, run_all_cells
from hand import (
    DRAWN,
    NEEDS_BROWSER,
    QUIZ,
    Hand,
    drive_quiz,
    explorers_in,
    hand_on,
    open_built,
    option,
    point,
    write_notebook,
)

from llm_core.widgets.block import BlockExplorer, combinations

pytestmark = NEEDS_BROWSER

BLOCK = "Block explorer"
CONTROLS = ["Norm", "Where the norm stands", "Activation", "Residual", "Depth"]
TRAITS = ("norm", "placement", "activation", "residual")
CHAPTER = "chapters/05_block.ipynb"


def drive_block(hand: Hand, expected: BlockExplorer) -> None:
    """Work the block explorer; `expected` is the same explorer in this process."""
    assert hand.tab_stops() == CONTROLS
    assert hand.shielded()
    same_as_python(hand, expected)
    depth = hand.control("slider", "Depth")
    for what, act in {
        "norm by keyboard": lambda: hand.press(hand.chosen("norm"), "ArrowRight"),
        "placement by keyboard": lambda: hand.press(hand.chosen("placement"), "ArrowRight"),
        "activation by keyboard": lambda: hand.press(hand.chosen("activation"), "ArrowRight"),
        "residual by keyboard": lambda: hand.press(hand.chosen("residual"), "ArrowRight"),
        "depth by keyboard": lambda: hand.press(depth, "ArrowLeft"),
        "norm by mouse": lambda: option(hand, "norm", 3).click(),
        "activation by mouse": lambda: option(hand, "activation", 4).click(),
        "residual by mouse": lambda: option(hand, "residual", 1).click(),
        "norm back by mouse": lambda: option(hand, "norm", 1).click(),
        "placement by mouse": lambda: option(hand, "placement", 1).click(),
        "depth by mouse": lambda: point(depth, 0.3, 0.5, click=True),
    }.items():
        hand.must_change(what, act)
    expected.norm, expected.placement, expected.activation = "layernorm", "pre", "none"
    expected.depth = int(depth.input_value())
    same_as_python(hand, expected)
    drive_pictures(hand)
    hand.must_change("depth to the end", lambda: hand.press(depth, "End"))


def drive_pictures(hand: Hand) -> None:
    """Click the parts of the diagram, and point at each chart."""
    pictures = hand.widget.locator("canvas")
    diagram = pictures.nth(0)
    assert diagram.get_attribute("aria-label").startswith("Diagram of one block, from top to")
    for what, across, down in (
        ("norm in the diagram", 0.6, 0.15),
        ("feed-forward in the diagram", 0.6, 0.72),
        ("stream in the diagram", 0.07, 0.25),
        ("stream in the diagram again", 0.07, 0.25),
    ):
        hand.must_change(what, lambda a=across, d=down: point(diagram, a, d, click=True))
    hand.page.mouse.move(2, 2)
    reading = hand.widget.locator(".llm-charts .llm-reading")
    for number in (1, 2, 3):
        chart = pictures.nth(number)
        assert chart.get_attribute("aria-label").startswith(f"Curve {number} of 3.")
        hand.must_change(
            f"pointing at chart {number}", lambda c=chart: point(c, 0.5, 0.5), only_picture=True
        )
        assert reading.inner_text().startswith("After block")
        hand.page.mouse.move(2, 2)
        hand.page.wait_for_timeout(60)
    assert reading.inner_text().startswith("Point at a curve")


def same_as_python(hand: Hand, expected: BlockExplorer) -> None:
    """The curve that is drawn and the sentence must be Python's."""
    hand.settle()
    assert np.abs(hand.row() - expected.curves()["gradient"]).max() <= 1e-5
    assert hand.summary() == expected.describe()


def _shown_for(hand: Hand, states: list[tuple]) -> list[tuple[list[float], str]]:
    """Set the explorer to each state from within the page; return the curve and the sentence."""
    wanted = [[*(str(value).lower() for value in parts), depth] for *parts, depth in states]
    return hand.widget.evaluate(
        "async (node, { traits, wanted }) => {"
        + DRAWN
        + """
            const shown = [], depth = node.querySelector("input[type=range]");
            for (const state of wanted) {
                traits.forEach((trait, i) => {
                    const group = node.querySelector(`[data-trait="${trait}"]`);
                    group.querySelector(`input[value="${state[i]}"]`).click();
                });
                depth.value = state.at(-1);
                depth.dispatchEvent(new Event("input", { bubbles: true }));
                shown.push(await drawn(node));
            }
            return shown;
        }""",
        {"traits": TRAITS, "wanted": wanted},
    )


@pytest.mark.timeout(240)
def test_every_combination_says_what_python_says(lab: Lab, browser: Any) -> None:
    path = "block.ipynb"
    source = "from llm_core.widgets.block import BlockExplorer\nBlockExplorer(16, 2, seed=3)"
    write_notebook(lab.root / path, [source])
    expected = BlockExplorer(16, 2, seed=3)
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 120)
        hand = hand_on(page, BLOCK)
        states = [(*state, 1 + 7 * i % 24) for i, state in enumerate(combinations())]
        for state, (row, summary) in zip(states, _shown_for(hand, states), strict=True):
            for trait, value in zip((*TRAITS, "depth"), state, strict=True):
                setattr(expected, trait, value)
            assert np.abs(np.array(row) - expected.curves()["gradient"]).max() <= 1e-5, state
            assert summary == expected.describe()
        assert problems.found == []
    assert list(explorers_in(cells)) == ["BlockExplorer"]


@pytest.mark.timeout(600)
def test_chapter_05(lab: Lab, browser: Any) -> None:
    with open_built(lab, browser, CHAPTER) as (page, problems):
        run_all_cells(lab, page, CHAPTER, 400)
        drive_block(hand_on(page, BLOCK), BlockExplorer())
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}block.{part}"))
        assert problems.found == []
