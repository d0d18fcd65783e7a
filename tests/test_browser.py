"""The first two explorers in a real JupyterLab: every control, by keyboard and by mouse, offline.

Each test opens a chapter in a copy of the course, runs all its cells, works every control of its
widgets, and asks that picture and summary change, that the browser's numbers are Python's,
and that nothing is written to the console as an error.
"""

from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import test_browser_tokens as tokens
from browser import ROOT, Lab, run_all_cells
from hand import (
    DRAWN,
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

ATTENTION, STORY = "Attention explorer", "Storyteller"

SMALL_TEXT = "Tom had a red ball. He lost the ball in the garden. Mia found it."
SMALL_MODEL = f"""\
{model_cell(SMALL_TEXT, n_layers=3)}
from llm_core.widgets.attention import AttentionExplorer
from llm_core.widgets.start_here import StoryTeller
"""
SMALL_CELLS = (
    SMALL_MODEL,
    "explorer = AttentionExplorer(model, tokenizer, text)\nexplorer",
    "teller = StoryTeller(model, tokenizer, 'Tom had')\nteller",
)


def small_explorer() -> Any:
    names = names_of(SMALL_MODEL)
    return names["AttentionExplorer"](names["model"], names["tokenizer"], names["text"])


def course_explorer(hand: "Hand") -> Any:
    """The explorer of the trained model, in this process, on the text and query of the page."""
    from llm_core.widgets.attention import AttentionExplorer

    explorer = AttentionExplorer(text=hand.control("textbox", "Text").input_value())
    chips = hand.widget.locator("[role=radio].llm-token").all()
    explorer.query = [chip.get_attribute("tabindex") for chip in chips].index("0")
    return explorer


def small_teller() -> Any:
    names = names_of(SMALL_MODEL)
    return names["StoryTeller"](names["model"], names["tokenizer"], "Tom had")


def course_teller() -> Any:
    from llm_core.widgets.start_here import StoryTeller

    return StoryTeller()


# ---- the widgets, as a learner meets them --------------------------------------------------------


def drive_attention(hand: Hand, expected: Any) -> None:
    """Work the attention explorer; `expected` is the same explorer in this process."""
    names = ["Text", "Apply", "Layer", "Head", "Step", "Query token"]
    assert hand.tab_stops()[: len(names)] == names
    assert hand.shielded()
    _same_attention(hand, expected)

    text, chip = hand.control("textbox", "Text"), hand.widget.locator("[role=radio][tabindex='0']")
    half = " ".join(expected.tokens[:6])
    for what, act in {
        "layer by keyboard": lambda: hand.press(hand.chosen("layer"), "ArrowRight"),
        "head by keyboard": lambda: hand.press(hand.chosen("head"), "ArrowRight"),
        "step by keyboard": lambda: hand.press(hand.chosen("step"), "ArrowRight"),
        "query by keyboard": lambda: hand.press(chip, "ArrowLeft"),
        "text by keyboard": lambda: hand.type(text, half),
        "layer by mouse": lambda: option(hand, "layer", 1).click(),
        "head by mouse": lambda: option(hand, "head", 1).click(),
        "query by mouse": lambda: hand.widget.locator("[role=radio].llm-token").nth(2).click(),
    }.items():
        hand.must_change(what, act)
    _every_step_fills_the_table(hand)

    def apply() -> None:
        text.fill(expected.text)
        hand.control("button", "Apply").click()

    hand.must_change("text by mouse", apply)
    _pictures_answer_the_pointer(hand)

    expected.layer = expected.head = 1
    expected.query = len(expected.tokens) - 1
    hand.page.mouse.move(2, 2)
    chip.focus()
    hand.page.keyboard.press("End")
    hand.settle()
    _same_attention(hand, expected)
    _shows_the_heaviest_key(hand)
    _refuses_empty_text(hand, text, expected.text)
    hand.press(chip, "End")


def _every_step_fills_the_table(hand: Hand) -> None:
    """Each step must show more of the table, which keeps its height."""
    heights = set()
    for number in range(5):
        hand.must_change(f"step {number + 1} by mouse", lambda n=number: _step(hand, n))
        heights.add(hand.widget.locator(".llm-table-box").bounding_box()["height"])
        assert hand.widget.locator("tr:not(.llm-to-come) > td:last-child").count() >= number + 1
    assert len(heights) == 1, "the table must not grow from step to step"
    _step(hand, 3)


def _pictures_answer_the_pointer(hand: Hand) -> None:
    """Pointing at heat map and lines must change them, and a click must choose a row."""
    heat_map, lines = hand.widget.locator("canvas").nth(0), hand.widget.locator("canvas").nth(1)
    hand.must_change("pointing at the heat map", lambda: point(heat_map, 0.5, 0.55))
    assert "→" in hand.widget.locator(".llm-reading").inner_text()
    hand.must_change("pointing at the lines", lambda: point(lines, 0.5, 0.8))
    _stays_chosen(hand, heat_map, 0.35)
    _stays_chosen(hand, lines, 0.8)


def _same_attention(hand: Hand, expected: Any) -> None:
    """The browser's softmax and sentence must be Python's."""
    row = expected.numbers("weights")[expected.query]
    assert np.abs(hand.row() - row).max() <= 1e-5
    assert hand.summary() == expected.describe()


def _shows_the_heaviest_key(hand: Hand) -> None:
    """For every query the heaviest key's column must be in sight, beside the rows' names.

    The page clicks and measures by itself; that the mouse chooses a query was seen before.
    """
    seen = hand.widget.evaluate(
        "async node => {"
        + DRAWN
        + """
            const box = node.querySelector(".llm-table-box"), seen = [];
            for (const chip of node.querySelectorAll("[role=radio].llm-token")) {
                chip.click();
                const [row] = await drawn(node);
                const cell = node.querySelector("tbody tr:nth-child(4) .llm-heaviest");
                const at = cell.getBoundingClientRect(), ends = box.getBoundingClientRect().right;
                const name = cell.parentElement.firstChild.getBoundingClientRect().right;
                const heaviest = Math.max(...row);
                const shown = Number(cell.textContent);
                seen.push([shown, heaviest, name, at.left, at.right, ends]);
            }
            return seen;
        }"""
    )
    assert len(seen) == hand.widget.locator("[role=radio].llm-token").count() > 5
    for weight, heaviest, name_ends, left, right, box_ends in seen:
        assert abs(weight - heaviest) <= 0.006
        assert name_ends - 1 <= left <= right <= box_ends + 1
    assert len({heaviest for _, heaviest, *_ in seen}) > 5, "the clicks must choose"


def _refuses_empty_text(hand: Hand, text: Any, good: str) -> None:
    notice = hand.widget.locator(".llm-notice")
    for bad in ("", "   "):
        hand.type(text, bad)
        hand.page.wait_for_function(
            "node => node.textContent.includes('type at least one word')",
            arg=notice.element_handle(),
            timeout=5000,
        )
    hand.type(text, good)
    hand.page.wait_for_function(
        "node => !node.textContent", arg=notice.element_handle(), timeout=5000
    )


def _stays_chosen(hand: Hand, picture: Any, down: float) -> None:
    """A click on a picture must choose its row; it stays chosen when the pointer has left."""
    hand.page.mouse.move(2, 2)
    hand.settle()
    before = hand.state()
    point(picture, 0.5, down, click=True)
    hand.page.mouse.move(2, 2)
    hand.settle()
    after = hand.state()
    assert after["picture"] != before["picture"]
    assert after["summary"] != before["summary"]


def _step(hand: Hand, number: int) -> None:
    hand.widget.locator('[data-trait="step"] label').nth(number).click()


def drive_story(hand: Hand, expected: Any) -> None:
    """Work the storyteller; `expected` is the same one in this process."""
    stops = hand.tab_stops()
    assert stops == [
        "Beginning",
        "Temperature",
        "Length",
        "Seed",
        "Generate",
        "Tokens of the story",
    ]
    assert hand.shielded()
    _same_story(hand, expected)

    temperature, length = hand.control("slider", "Temperature"), hand.control("slider", "Length")
    seed, button = hand.control("spinbutton", "Seed"), hand.control("button", "Generate")
    chip = hand.widget.locator("[role=radio][tabindex='0']")
    for what, act in {
        "token by keyboard": lambda: hand.press(chip, "ArrowLeft"),
        "token by mouse": lambda: hand.widget.locator("[role=radio]").first.click(),
        "length by keyboard": lambda: hand.press(length, "Home"),  # the stories are short from here
        "temperature by keyboard": lambda: hand.press(temperature, "ArrowRight"),
        "seed by keyboard": lambda: hand.press(seed, "ArrowUp"),
        "generate by keyboard": lambda: hand.press(button, "Enter"),
        "temperature by mouse": lambda: point(temperature, 0.9, 0.5, click=True),
        "generate by mouse": button.click,
        "seed by typing": lambda: hand.type(seed, "77"),
        "length by mouse": lambda: point(length, 0.3, 0.5, click=True),
    }.items():
        hand.must_change(what, act)
    hand.settle()
    _says_that_it_writes(hand, expected.beginning.split()[0])


def _same_story(hand: Hand, expected: Any) -> None:
    """The browser's shares of the likeliest tokens and its sentence must be Python's."""
    hand.settle()
    shares = expected.probabilities()
    assert np.abs(hand.row() - shares[expected.ranks].numpy()).max() <= 1e-5
    assert hand.summary() == expected.describe()


def _says_that_it_writes(hand: Hand, word: str) -> None:
    """While a story with this beginning is written, the summary must not be the old story's."""
    beginning = hand.control("textbox", "Beginning")
    hand.widget.evaluate(
        """node => {
            const summary = node.querySelector(".llm-summary");
            window.said = [];
            new MutationObserver(() => window.said.push(summary.textContent))
                .observe(summary, { childList: true });
        }"""
    )
    hand.must_change("beginning by keyboard", lambda: hand.type(beginning, word), only_picture=True)
    hand.settle()
    first, last = hand.page.evaluate("[window.said[0], window.said.at(-1)]")
    assert first.startswith("Writing a new story"), "the old story's summary stood on"
    assert last.startswith("Seed 77")


# ---- the tests -----------------------------------------------------------------------------------


@pytest.mark.timeout(180)
def test_saved_explorers_still_move_when_their_kernel_is_gone(lab: Lab, browser: Any) -> None:
    """On other models than the course's; every control is worked in the chapters."""
    path = "tomorrow.ipynb"
    write_notebook(lab.root / path, (*SMALL_CELLS, tokens.SMALL, "explorer"))
    with open_built(lab, browser, path) as (page, _):
        cells = run_all_cells(lab, page, path, 60)
        _same_attention(hand_on(page, ATTENTION), small_explorer())
        _same_story(hand_on(page, STORY), small_teller())
        tokens.same_as_python(hand_on(page, tokens.EXPLORER), tokens.small_explorer())
    assert list(explorers_in(cells)) == ["AttentionExplorer", "StoryTeller", "TokenExplorer"]
    with open_built(lab, browser, path, anew=True) as (page, problems):
        hand = hand_on(page, ATTENTION)
        hand.must_change(
            "layer by keyboard", lambda: hand.press(hand.chosen("layer"), "ArrowRight")
        )
        hand.must_change("step by mouse", lambda: _step(hand, 1))
        hand = hand_on(page, tokens.EXPLORER)
        slider = hand.control("slider", "Merges applied")
        hand.must_change("merges by keyboard", lambda: hand.press(slider, "Home"))
        assert problems.found == []


@pytest.mark.timeout(120)
def test_stored_outputs_are_not_taken_for_those_of_a_run(
    lab: Lab, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the kernel seems to have finished before its first cell began."""
    path = "stored.ipynb"
    write_notebook(lab.root / path, ["import time\ntime.sleep(3)\nprint('made by the run')"])
    notebook = nbformat.read(lab.root / path, as_version=4)
    stored = nbformat.v4.new_output("stream", text="stored\n")
    notebook.cells[0].update(execution_count=1, outputs=[stored])
    nbformat.write(notebook, lab.root / path)
    with open_built(lab, browser, path) as (page, _):
        monkeypatch.setattr("browser._wait_until_idle", lambda page, seconds: None)
        cells = run_all_cells(lab, page, path, 60)
    assert [output["text"] for output in cells[0]["outputs"]] == [["made by the run\n"]]


@pytest.mark.timeout(300)
def test_chapter_00(lab: Lab, browser: Any) -> None:
    path = "chapters/00_start_here.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 120)
        assert list(explorers_in(cells)) == ["StoryTeller"]
        drive_story(hand_on(page, STORY), course_teller())
        drive_quiz(hand_on(page, QUIZ + "start_here.recap"))
        assert problems.found == []


@pytest.mark.timeout(400)
def test_chapter_04(lab: Lab, browser: Any) -> None:
    path = "chapters/04_attention.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 200)
        assert list(explorers_in(cells)) == ["AttentionExplorer"]
        hand = hand_on(page, ATTENTION)
        drive_attention(hand, course_explorer(hand))
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}attention.{part}"))
        assert problems.found == []


def test_the_copies_are_not_the_originals(lab: Lab) -> None:
    assert ROOT not in [lab.root, *Path(lab.root).parents]
