"""`Hand`: works a widget in a browser as a learner does, by keyboard and by mouse.

`test_browser.py` and the chapters' own `test_browser_name.py` drive explorers and quizzes with it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from browser import Lab, find_chromium, open_notebook, scroll_to

from llm_core.notebooks.normal import WIDGET_VIEW

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(
        find_chromium() is None,
        reason="no Chromium on this machine; on Debian: apt-get install chromium",
    ),
]
"""The marks of a test module that drives a browser: `pytestmark = NEEDS_BROWSER`."""

QUIZ = "Quiz "
"""What the accessible name of every quiz begins with; its id follows."""

DRAWN = """
const drawn = async node => {
    await new Promise(resolve => setTimeout(resolve, 60));
    await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
    return [JSON.parse(node.dataset.row), node.querySelector(".llm-summary").textContent];
};"""
"""JavaScript for code that works a widget from within the page: `await drawn(node)` waits until its
picture has followed, and gives what `Hand.row` and `Hand.summary` do."""


def write_notebook(path: Path, sources: Sequence[str]) -> None:
    """Write a notebook of code cells that have not run."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def names_of(source: str) -> dict[str, Any]:
    """Return what a cell with this source defines, made here by the same lines."""
    names: dict[str, Any] = {}
    exec(source, names)
    return names


@dataclass
class Hand:
    """Works one widget and watches what it does."""

    page: Any
    widget: Any

    def state(self) -> dict[str, str]:
        """Return the picture (digests of canvases, and `data-picture` elements) and the summary."""
        return self.widget.evaluate(
            """node => {
                const digest = canvas => {
                    const { width, height } = canvas;
                    const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                    return new Uint32Array(data.buffer)
                        .reduce((sum, pixel) => Math.imul(sum ^ pixel, 0x01000193), width);
                };
                return {
                    picture: [...node.querySelectorAll("canvas")].map(digest).join()
                        + [...node.querySelectorAll("[data-picture]")].map(e => e.innerHTML).join(),
                    summary: node.querySelector(".llm-summary").textContent,
                };
            }"""
        )

    def must_change(self, what: str, act: Callable[[], Any], only_picture: bool = False) -> None:
        """Do `act`; picture and summary must then differ from before, within five seconds."""
        self.settle()
        before = self.state()
        act()
        same: list[str] = []
        for _ in range(100):
            after = self.state()
            same = [part for part in before if before[part] == after[part]]
            if not same or (only_picture and same == ["summary"]):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{what}: unchanged {' and '.join(same)}")

    def settle(self) -> None:
        """Wait until a story that is being written is finished."""
        finished = self.widget.evaluate(
            """async node => {
                for (let i = 0; i < 300; i++) {
                    await new Promise(resolve => setTimeout(resolve, 60));
                    if (!node.querySelector("[aria-busy=true]")) return true;
                }
                return false;
            }"""
        )
        assert finished, "the story was still being written after 18 seconds"

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
        return self.widget.locator(".llm-summary").text_content()


def hand_on(page: Any, label: str) -> Hand:
    """Return a hand on the widget with this accessible name, scrolled into view."""
    return Hand(page, scroll_to(page, label))


def option(hand: Hand, trait: str, number: int) -> Any:
    """Return option `number`, counted from 1, of a row of options."""
    return hand.widget.locator(f'[data-trait="{trait}"] label').nth(number - 1)


def point(node: Any, across: float, down: float, click: bool = False) -> None:
    """Put the pointer at a share of the width and height of an element.

    JupyterLab's menu and toolbars cover the first 100 pixels of the window.
    """
    left, top, width, height = node.evaluate(
        """node => {
            const seen = node.getBoundingClientRect();
            const whole = seen.top >= 100 && seen.bottom <= innerHeight;
            if (!whole) node.scrollIntoView({ block: "center" });
            const { left, top, width, height } = node.getBoundingClientRect();
            return [left, top, width, height];
        }"""
    )
    mouse = node.page.mouse
    (mouse.click if click else mouse.move)(left + width * across, top + height * down)


def drive_quiz(hand: Hand) -> None:
    """Answer the first question by keyboard and the second by mouse: choose, then check."""
    assert hand.shielded()
    questions = hand.widget.locator("fieldset")
    total = questions.count()
    assert total >= 2

    def by_keyboard(question: Any) -> None:
        hand.press(question.locator("input").first, "Space")
        must_say(hand, question, "not checked yet")
        hand.press(question.locator("input:checked"), "Enter")

    def by_mouse(question: Any) -> None:
        question.locator("label").nth(1).click()
        must_say(hand, question, "not checked yet")
        question.get_by_role("button").click()

    for number, answer in enumerate((by_keyboard, by_mouse)):
        question = questions.nth(number)
        answer(question)
        right = "llm-quiz-right" in must_say(hand, question, "Right.", "Not this one.")
        assert right == ("Right." in question.locator(".llm-quiz-verdict").inner_text())
        must_say(hand, hand.widget, f"{number + 1} of {total} questions answered")


def must_say(hand: Hand, node: Any, *texts: str) -> str:
    """Wait until one of `texts` stands in a part of the page; return the part's classes."""
    hand.page.wait_for_function(
        "([node, texts]) => texts.some(text => node.textContent.includes(text))",
        arg=[node.element_handle(), list(texts)],
        timeout=5000,
    )
    return node.get_attribute("class")


def open_built(lab: Lab, browser: Any, path: str, anew: bool = False) -> Any:
    """Open a notebook of the lab as `open_notebook` does; skip the test when it is not built."""
    if not (lab.root / path).is_file():
        pytest.skip(f"{path} is not built; make notebooks")
    return open_notebook(lab, browser, path, anew)


def explorers_in(cells: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the words of each explorer that a saved notebook shows as a picture, by its class."""
    forms = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    shown = [data for data in forms if {"image/png", WIDGET_VIEW} <= set(data)]
    return dict("".join(data["text/plain"]).split(": ", 1) for data in shown)
