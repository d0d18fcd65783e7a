"""The real notebooks in a real JupyterLab: every control, by keyboard and by mouse, offline.

Each test opens a notebook from a copy of the repository's, runs all its cells, works every control
of its widgets, and asks that picture and summary change, that the browser's numbers are Python's,
and that nothing is written to the console as an error.
"""

import hashlib
import json
import shutil
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from browser import (
    ROOT,
    Lab,
    find_chromium,
    open_browser,
    open_notebook,
    run_all_cells,
    running_lab,
    scroll_to,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_chromium() is None,
        reason="no Chromium on this machine; on Debian: apt-get install chromium",
    ),
]

REDRAW_LIMIT_MS = 50
ATTENTION, STORY, QUIZ = "Attention explorer", "Story teller", "Quiz "

SMALL_MODEL = """\
import torch
from llm_core.model import GPT, GPTConfig
from llm_core.tokens import WordTokenizer
from llm_core.widgets.attention import AttentionExplorer
from llm_core.widgets.start_here import StoryTeller
from llm_core.exercises import quiz

text = "Tom had a red ball. He lost the ball in the garden. Mia found it."
tokenizer = WordTokenizer.train(text)
config = GPTConfig(vocab_size=tokenizer.vocab_size, d_model=64, n_layers=3, n_heads=4)
model = GPT(config, torch.Generator().manual_seed(0))
for name, parameter in model.named_parameters():
    if parameter.dim() == 2:
        parameter.data *= 5
"""
SMALL_CELLS = (
    SMALL_MODEL,
    "explorer = AttentionExplorer(model, tokenizer, text)\nexplorer",
    "teller = StoryTeller(model, tokenizer, 'Tom had')\nteller",
    "quiz('attention.recap')",
)


# ---- what is opened ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab on copies of the chapters, and on a small notebook with every widget."""
    root = tmp_path_factory.mktemp("course")
    for folder in ("chapters", "assets"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, root / folder)
    write_notebook(root / "widgets.ipynb", SMALL_CELLS)
    write_notebook(root / "tomorrow.ipynb", SMALL_CELLS[:2])
    with running_lab(root) as running:
        yield running


def write_notebook(path: Path, sources: Sequence[str]) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture(scope="module")
def browser(lab: Lab) -> Iterator[Any]:
    with open_browser(lab) as running:
        yield running


def small_names() -> dict[str, Any]:
    """Return what the small notebook's cells define, made here by the same lines."""
    names: dict[str, Any] = {}
    exec(SMALL_MODEL, names)
    return names


def small_explorer() -> Any:
    names = small_names()
    return names["AttentionExplorer"](names["model"], names["tokenizer"], names["text"])


def course_explorer(hand: "Hand") -> Any:
    """The explorer of the trained model, in this process, on the text and query of the page."""
    from llm_core.widgets.attention import AttentionExplorer

    explorer = AttentionExplorer(text=hand.control("textbox", "Text").input_value())
    chips = hand.widget.locator("[role=radio].llm-token").all()
    explorer.query = [chip.get_attribute("tabindex") for chip in chips].index("0")
    return explorer


def small_teller() -> Any:
    names = small_names()
    return names["StoryTeller"](names["model"], names["tokenizer"], "Tom had")


def course_teller() -> Any:
    from llm_core.widgets.start_here import StoryTeller

    return StoryTeller()


# ---- the widgets, as a learner meets them --------------------------------------------------------


@dataclass
class Hand:
    """Works one widget and watches what it does."""

    page: Any
    widget: Any

    def state(self) -> dict[str, str]:
        """Return the picture (a digest of its pixels and the story) and the summary."""
        state = self.widget.evaluate(
            """node => ({
                picture: [...node.querySelectorAll("canvas")].map(c => c.toDataURL()).join()
                    + (node.querySelector(".llm-story")?.textContent ?? ""),
                summary: node.querySelector(".llm-summary").textContent,
            })"""
        )
        return {**state, "picture": hashlib.sha256(state["picture"].encode()).hexdigest()}

    def must_change(self, what: str, act: Callable[[], Any], only_picture: bool = False) -> None:
        """Do `act`; picture and summary must then differ from before, within five seconds."""
        self.settle()
        before = self.state()
        act()
        same: list[str] = []
        for _ in range(50):
            after = self.state()
            same = [part for part in before if before[part] == after[part]]
            if not same or (only_picture and same == ["summary"]):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"{what}: unchanged {' and '.join(same)}")

    def settle(self) -> None:
        """Wait until a story that is being written is finished."""
        busy = self.widget.locator("[aria-busy=true]")
        for _ in range(300):
            self.page.wait_for_timeout(60)
            if busy.count() == 0:
                return
        raise AssertionError("the story was still being written after 18 seconds")

    def control(self, role: str, name: str) -> Any:
        return self.widget.get_by_role(role, name=name, exact=True)

    def chosen(self, trait: str) -> Any:
        """Return the option that is checked in a row of options."""
        return self.widget.locator(f'[data-trait="{trait}"] input:checked')

    def press(self, control: Any, key: str) -> None:
        """Press a key on a control; the focus must stay in the widget."""
        control.focus()
        self.page.keyboard.press(key)
        inside = self.widget.evaluate("node => node.contains(document.activeElement)")
        assert inside, f"{key} took the focus out of the widget"

    def type(self, control: Any, text: str) -> None:
        """Replace what stands in a control, key by key, and press Enter."""
        self.press(control, "Control+a")
        self.page.keyboard.press("Delete")
        self.page.keyboard.type(text)
        self.press(control, "Enter")

    def tab_stops(self) -> list[str]:
        """Return the names of the controls that Tab reaches, from the first to the last."""
        first = self.widget.locator("input, button, select").first
        first.focus()
        stops: list[str] = []
        for _ in range(60):
            name = self.widget.evaluate(
                """node => {
                    const at = document.activeElement;
                    if (!node.contains(at)) return null;
                    const group = at.closest("fieldset, [role=radiogroup]");
                    const words = group?.querySelector("legend")?.textContent
                        ?? group?.getAttribute("aria-label")
                        ?? at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent;
                    return words ?? at.textContent;
                }"""
            )
            if name is None:
                return stops
            stops.append(name)
            self.page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not leave the widget: {stops}")

    def shielded(self) -> bool:
        """Return whether all that can take the focus keeps its keys from JupyterLab."""
        return self.widget.evaluate(
            """node => [...node.querySelectorAll("input, select, button, textarea, [tabindex]")]
                .every(e => e.dataset.lmSuppressShortcuts === "true")"""
        )

    def row(self) -> np.ndarray:
        """Return the shares that the browser worked out last."""
        return np.array(json.loads(self.widget.get_attribute("data-row")))

    def summary(self) -> str:
        return self.state()["summary"]


def drive_attention(hand: Hand, expected: Any) -> list[float]:
    """Work the attention explorer; `expected` is the same explorer in this process.

    Returns:
        Milliseconds from a key to the end of the drawing, one for each key.
    """
    names = ["Text", "Apply", "Layer", "Head", "Step", "Query token"]
    assert hand.tab_stops()[: len(names)] == names
    assert hand.shielded()
    _same_as_python(hand, expected)

    text, chip = hand.control("textbox", "Text"), hand.widget.locator("[role=radio][tabindex='0']")
    shorter = expected.tokens[:6]
    half = " ".join(shorter)
    for what, act in {
        "layer by keyboard": lambda: hand.press(hand.chosen("layer"), "ArrowRight"),
        "head by keyboard": lambda: hand.press(hand.chosen("head"), "ArrowRight"),
        "step by keyboard": lambda: hand.press(hand.chosen("step"), "ArrowRight"),
        "query by keyboard": lambda: hand.press(chip, "ArrowLeft"),
        "text by keyboard": lambda: hand.type(text, half),
        "layer by mouse": lambda: _option(hand, "layer", 1).click(),
        "head by mouse": lambda: _option(hand, "head", 1).click(),
        "query by mouse": lambda: hand.widget.locator("[role=radio].llm-token").nth(2).click(),
    }.items():
        hand.must_change(what, act)
    heights = set()
    for number in range(5):
        hand.must_change(f"step {number + 1} by mouse", lambda n=number: _step(hand, n))
        heights.add(hand.widget.locator(".llm-table-box").bounding_box()["height"])
        assert hand.widget.locator("tr:not(.llm-to-come) > td:last-child").count() >= number + 1
    assert len(heights) == 1, "the table must not grow from step to step"
    _step(hand, 3)

    def apply() -> None:
        text.fill(expected.text)
        hand.control("button", "Apply").click()

    hand.must_change("text by mouse", apply)
    heat_map, lines = hand.widget.locator("canvas").nth(0), hand.widget.locator("canvas").nth(1)
    hand.must_change("pointing at the heat map", lambda: _point(heat_map, 0.5, 0.55))
    assert "→" in hand.widget.locator(".llm-reading").inner_text()
    hand.must_change("pointing at the lines", lambda: _point(lines, 0.5, 0.8))
    _stays_chosen(hand, heat_map, 0.35)
    _stays_chosen(hand, lines, 0.8)

    expected.layer = expected.head = 1
    expected.query = len(expected.tokens) - 1
    hand.page.mouse.move(2, 2)
    chip.focus()
    hand.page.keyboard.press("End")
    hand.settle()
    _same_as_python(hand, expected)
    _shows_the_heaviest_key(hand)
    _refuses_empty_text(hand, text, expected.text)
    return _redraw_times(hand, chip)


def _same_as_python(hand: Hand, expected: Any) -> None:
    """The browser's softmax and sentence must be Python's."""
    row = expected.numbers("weights")[expected.query]
    assert np.abs(hand.row() - row).max() <= 1e-5
    assert hand.summary() == expected.describe()


def _shows_the_heaviest_key(hand: Hand) -> None:
    """For every query the heaviest key's column must be in sight, beside the rows' names."""
    for chip in hand.widget.locator("[role=radio].llm-token").all():
        chip.click()
        hand.page.mouse.move(2, 2)
        hand.page.wait_for_timeout(60)
        weight, left, right, name_ends, box_ends = hand.widget.evaluate(
            """node => {
                const box = node.querySelector(".llm-table-box").getBoundingClientRect();
                const cell = node.querySelector("tbody tr:nth-child(4) .llm-heaviest");
                const at = cell.getBoundingClientRect();
                const name = cell.parentElement.firstChild.getBoundingClientRect();
                return [Number(cell.textContent), at.left, at.right, name.right, box.right];
            }"""
        )
        assert abs(weight - hand.row().max()) <= 0.006
        assert name_ends - 1 <= left <= right <= box_ends + 1


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


def _redraw_times(hand: Hand, chip: Any) -> list[float]:
    chip.focus()
    hand.page.keyboard.press("End")
    hand.page.wait_for_timeout(100)
    hand.page.evaluate("performance.clearMeasures()")
    for key in ["ArrowLeft", "ArrowLeft", "ArrowRight"] * 10:
        hand.page.keyboard.press(key)
        hand.page.wait_for_timeout(40)
    return hand.page.evaluate("performance.getEntriesByName('llm:redraw').map(e => e.duration)")


def _stays_chosen(hand: Hand, picture: Any, down: float) -> None:
    """A click on a picture must choose its row; it stays chosen when the pointer has left."""
    hand.page.mouse.move(2, 2)
    hand.settle()
    before = hand.state()
    _point(picture, 0.5, down, click=True)
    hand.page.mouse.move(2, 2)
    hand.settle()
    after = hand.state()
    assert after["picture"] != before["picture"]
    assert after["summary"] != before["summary"]


def _option(hand: Hand, trait: str, number: int) -> Any:
    return hand.widget.locator(f'[data-trait="{trait}"] label').nth(number - 1)


def _step(hand: Hand, number: int) -> None:
    hand.widget.locator('[data-trait="step"] label').nth(number).click()


def _point(node: Any, across: float, down: float, click: bool = False) -> None:
    """Put the pointer at a share of the width and height of an element."""
    node.scroll_into_view_if_needed()
    box = node.bounding_box()
    place = {"x": box["width"] * across, "y": box["height"] * down}
    (node.click if click else node.hover)(position=place)


def drive_story(hand: Hand, expected: Any) -> list[float]:
    """Work the story teller; `expected` is the same one in this process."""
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
    hand.settle()
    shares = expected.probabilities()
    assert np.abs(hand.row() - shares[expected.ranks].numpy()).max() <= 1e-5
    assert hand.summary() == expected.describe()

    temperature, length = hand.control("slider", "Temperature"), hand.control("slider", "Length")
    seed, button = hand.control("spinbutton", "Seed"), hand.control("button", "Generate")
    beginning = hand.control("textbox", "Beginning")
    chip = hand.widget.locator("[role=radio][tabindex='0']")
    for what, act in {
        "token by keyboard": lambda: hand.press(chip, "ArrowLeft"),
        "token by mouse": lambda: hand.widget.locator("[role=radio]").first.click(),
        "temperature by keyboard": lambda: hand.press(temperature, "ArrowRight"),
        "length by keyboard": lambda: hand.press(length, "Home"),
        "seed by keyboard": lambda: hand.press(seed, "ArrowUp"),
        "generate by keyboard": lambda: hand.press(button, "Enter"),
        "temperature by mouse": lambda: _point(temperature, 0.9, 0.5, click=True),
        "length by mouse": lambda: _point(length, 0.3, 0.5, click=True),
        "generate by mouse": button.click,
        "seed by typing": lambda: hand.type(seed, "77"),
    }.items():
        hand.must_change(what, act)
    hand.settle()
    hand.widget.evaluate(
        """node => {
            const summary = node.querySelector(".llm-summary");
            window.said = [];
            new MutationObserver(() => window.said.push(summary.textContent))
                .observe(summary, { childList: true });
        }"""
    )
    words = expected.beginning.split()
    hand.must_change(
        "beginning by keyboard", lambda: hand.type(beginning, words[0]), only_picture=True
    )
    hand.settle()
    first, last = hand.page.evaluate("[window.said[0], window.said.at(-1)]")
    assert first.startswith("Writing a new story"), "the old story's summary stood on"
    assert last.startswith("Seed 77")

    temperature.focus()
    hand.page.evaluate("performance.clearMeasures()")
    hand.page.keyboard.press("ArrowLeft")
    hand.settle()
    return hand.page.evaluate("performance.getEntriesByName('llm:redraw').map(e => e.duration)")


def drive_quiz(hand: Hand) -> None:
    """Answer the first question by keyboard and the second by mouse: choose, then check."""
    assert hand.shielded()
    questions = hand.widget.locator("fieldset")
    total = questions.count()
    assert total >= 2

    def by_keyboard(question: Any) -> None:
        hand.press(question.locator("input").first, "Space")
        _must_say(hand, question, "not checked yet")
        hand.press(question.locator("input:checked"), "Enter")

    def by_mouse(question: Any) -> None:
        question.locator("label").nth(1).click()
        _must_say(hand, question, "not checked yet")
        question.get_by_role("button").click()

    for number, answer in enumerate((by_keyboard, by_mouse)):
        question = questions.nth(number)
        answer(question)
        right = "llm-quiz-right" in _must_say(hand, question, "Right.", "Not this one.")
        assert right == ("Right." in question.locator(".llm-quiz-verdict").inner_text())
        _must_say(hand, hand.widget, f"{number + 1} of {total} questions answered")


def _must_say(hand: Hand, node: Any, *texts: str) -> str:
    """Wait until one of `texts` stands in a part of the page; return the part's classes."""
    hand.page.wait_for_function(
        "([node, texts]) => texts.some(text => node.textContent.includes(text))",
        arg=[node.element_handle(), list(texts)],
        timeout=5000,
    )
    return node.get_attribute("class")


# ---- the tests -----------------------------------------------------------------------------------


def _open_and_run(lab: Lab, browser: Any, path: str) -> Any:
    if not (lab.root / path).is_file():
        pytest.skip(f"{path} is not built; make notebooks")
    return open_notebook(lab, browser, path)


def _hand(page: Any, label: str) -> Hand:
    return Hand(page, scroll_to(page, label))


def _report(record_property: Any, where: str, lab: Lab, times: list[float]) -> None:
    median = statistics.median(times)
    record_property("figure", f"{where}: redraw {median:.1f} ms (median), {lab.isolation}")
    assert median <= REDRAW_LIMIT_MS


@pytest.mark.timeout(240)
def test_every_widget_on_a_small_model(lab: Lab, browser: Any, record_property: Any) -> None:
    path = "widgets.ipynb"
    with _open_and_run(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 60)
        times = drive_attention(_hand(page, ATTENTION), small_explorer())
        drive_story(_hand(page, STORY), small_teller())
        drive_quiz(_hand(page, QUIZ + "attention.recap"))
        assert problems.found == []
        _report(record_property, "attention explorer, small model", lab, times)
    pictures = [o["data"] for c in cells for o in c["outputs"] if "image/png" in o.get("data", {})]
    assert len(pictures) == 2, "a saved notebook must show both explorers as pictures"


@pytest.mark.timeout(120)
def test_a_saved_explorer_still_moves_when_its_kernel_is_gone(lab: Lab, browser: Any) -> None:
    path = "tomorrow.ipynb"
    with _open_and_run(lab, browser, path) as (page, _):
        run_all_cells(lab, page, path, 60)
        scroll_to(page, ATTENTION)
    with open_notebook(lab, browser, path) as (page, problems):
        hand = _hand(page, ATTENTION)
        hand.must_change(
            "layer by keyboard", lambda: hand.press(hand.chosen("layer"), "ArrowRight")
        )
        hand.must_change("step by mouse", lambda: _step(hand, 1))
        assert problems.found == []


@pytest.mark.timeout(300)
def test_chapter_00(lab: Lab, browser: Any, record_property: Any) -> None:
    path = "chapters/00_start_here.ipynb"
    with _open_and_run(lab, browser, path) as (page, problems):
        run_all_cells(lab, page, path, 120)
        times = drive_story(_hand(page, STORY), course_teller())
        drive_quiz(_hand(page, QUIZ + "start_here.recap"))
        assert problems.found == []
        _report(record_property, "story teller, chapter 00", lab, times)


@pytest.mark.timeout(400)
def test_chapter_04(lab: Lab, browser: Any, record_property: Any) -> None:
    path = "chapters/04_attention.ipynb"
    with _open_and_run(lab, browser, path) as (page, problems):
        run_all_cells(lab, page, path, 200)
        hand = _hand(page, ATTENTION)
        times = drive_attention(hand, course_explorer(hand))
        for part in ("warmup", "recap"):
            drive_quiz(_hand(page, f"{QUIZ}attention.{part}"))
        assert problems.found == []
        _report(record_property, "attention explorer, chapter 04", lab, times)


def test_the_copies_are_not_the_originals(lab: Lab) -> None:
    assert ROOT not in [lab.root, *Path(lab.root).parents]
