"""Chapter 01 in a real JupyterLab: every control of its explorer by keyboard and by mouse, quizzes.

The browser applies the merges itself; here its ids are held equal to Python's `encode` for every
number of merges and for texts of many kinds.
"""

from typing import Any

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
    names_of,
    open_built,
    point,
)

pytestmark = NEEDS_BROWSER

EXPLORER = "Token explorer"

SMALL = """\
from llm_core.corpus import load_text
from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer
from llm_core.widgets.tokens import TokenExplorer

END = ["<|endoftext|>"]
text = load_text("stories")[:20_000]
explorer = TokenExplorer(
    CharTokenizer.train(text, END),
    WordTokenizer.train(text, special_tokens=END),
    BPETokenizer.train(text, 420, END),
    text="The queen lost the ring.",
)
"""

TEXTS = (
    "Tom",
    "the the the",
    "naïve café 東京 🦊👩‍🚀",
    "aaaaaaaaaaaa bbbb",
    "One day.<|endoftext|>Once there was a queen",
    "   two  spaces, it's 1234!",
    "queenqueen",
)


def small_explorer() -> Any:
    return names_of(SMALL)["explorer"]


def chapter_explorer(hand: Hand) -> Any:
    """The explorer of the chapter in this process, on the text of the page."""
    from llm_core.corpus import clean_text, load_text
    from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer
    from llm_core.widgets.tokens import TokenExplorer

    docs = clean_text(load_text("python-docs"))
    return TokenExplorer(
        CharTokenizer.train(docs),
        WordTokenizer.train(docs),
        BPETokenizer.train(docs, 1000),
        text=hand.control("textbox", "Text").input_value(),
    )


def same_as_python(hand: Hand, expected: Any) -> None:
    """The browser's ids and sentence must be Python's."""
    hand.page.wait_for_function(
        "([node, text]) => node.querySelector('.llm-summary').textContent === text",
        arg=[hand.widget.element_handle(), expected.describe()],
        timeout=5000,
    )
    assert hand.row().astype(int).tolist() == expected.ids()


def drive(hand: Hand, expected: Any) -> None:
    """Work every control."""
    assert hand.tab_stops() == ["Text", "Merges applied", "Previous change", "Next change"]
    assert hand.shielded()
    same_as_python(hand, expected)

    text, merges = hand.control("textbox", "Text"), hand.control("slider", "Merges applied")
    previous = hand.control("button", "Previous change")
    following = hand.control("button", "Next change")
    for what, act in {
        "merges by keyboard": lambda: hand.press(merges, "Home"),
        "next change by keyboard": lambda: hand.press(following, "Enter"),
        "next change by mouse": following.click,
        "previous change by keyboard": lambda: hand.press(previous, "Space"),
        "previous change by mouse": previous.click,
        "merges by mouse": lambda: point(merges, 0.6, 0.5, click=True),
        "text by keyboard, without Enter": lambda: type_text(hand, text, "Tom has the ring"),
    }.items():
        hand.must_change(what, act)
    expected.text, expected.merges = "Tom has the ring", int(merges.input_value())
    same_as_python(hand, expected)

    encodes_like_python(hand, expected, text, merges)
    marks_what_is_unknown(hand, text)
    refuses_an_empty_text(hand, text)
    hand.press(merges, "Home")


def type_text(hand: Hand, control: Any, text: str) -> None:
    """Replace what stands in the text field, key by key, and press nothing after it."""
    hand.press(control, "Control+a")
    hand.page.keyboard.type(text)


def encodes_like_python(hand: Hand, expected: Any, text: Any, merges: Any) -> None:
    """For each text, walk up the changes: the browser's ids must be those of `encode`."""
    n_clicks = 0
    for sample in TEXTS:
        text.fill(sample)
        expected.text = sample
        hand.press(merges, "Home")
        shown = walk_up(hand)
        for merges_applied, ids, summary in shown:
            expected.merges = merges_applied
            assert summary == expected.describe()
            assert ids == expected.ids()
        n_clicks += len(shown) - 1
        hand.press(merges, "End")
        expected.merges = expected.n_merges
        same_as_python(hand, expected)
    assert n_clicks > 3 * len(TEXTS)


def walk_up(hand: Hand, changes: int = 6) -> list[tuple[int, list[int], str]]:
    """Click to the next change, and again, within the page, up to the last that this text sees.

    Returns:
        (merges applied, ids, summary) before the first click and after each.
    """
    return hand.widget.evaluate(
        "async (node, changes) => {"
        + DRAWN
        + """
            const slider = node.querySelector("input[type=range]");
            const next = [...node.querySelectorAll("button")]
                .find(button => button.textContent === "Next change");
            const shown = [];
            for (;;) {
                const [ids, summary] = await drawn(node);
                shown.push([Number(slider.value), ids, summary]);
                if (shown.length > changes || next.ariaDisabled === "true") return shown;
                next.click();
            }
        }""",
        changes,
    )


def marks_what_is_unknown(hand: Hand, text: Any) -> None:
    """An unknown character and an unknown word carry the word "unknown", not a colour alone."""
    text.fill("Tom🦊")
    hand.page.wait_for_function(
        "node => node.querySelectorAll('.llm-piece-unknown').length >= 2",
        arg=hand.widget.element_handle(),
        timeout=5000,
    )
    notes = hand.widget.locator(".llm-piece-unknown small").all_inner_texts()
    assert notes
    assert all("unknown" in note for note in notes)
    borders = hand.widget.locator(".llm-piece-unknown").evaluate_all(
        "nodes => nodes.map(node => getComputedStyle(node).borderTopStyle)"
    )
    assert set(borders) == {"dashed"}


def refuses_an_empty_text(hand: Hand, text: Any) -> None:
    notice = hand.widget.locator(".llm-notice")
    text.fill("")
    hand.page.wait_for_function(
        "node => node.textContent.includes('text is empty')",
        arg=notice.element_handle(),
        timeout=5000,
    )
    text.fill("The queen lost the golden ring in the garden by the river.")
    hand.page.wait_for_function(
        "node => !node.textContent", arg=notice.element_handle(), timeout=5000
    )


def keeps_its_width_in_another_theme(hand: Hand) -> None:
    """While the theme changes the page has no layout for a moment; the picture must recover."""
    canvas = hand.widget.locator("canvas")
    before = canvas.bounding_box()["width"]
    picture = hand.state()["picture"]
    hand.page.locator(".lm-MenuBar-itemLabel", has_text="Settings").first.click()
    hand.page.locator(".lm-Menu-itemLabel", has_text="Theme").first.hover()
    hand.page.locator(".lm-Menu-itemLabel", has_text="JupyterLab Dark").first.click()
    hand.page.wait_for_timeout(1500)
    assert canvas.bounding_box()["width"] == before
    assert hand.state()["picture"] != picture, "the colours must follow the theme"


@pytest.mark.timeout(400)
def test_chapter_01(lab: Lab, browser: Any) -> None:
    path = "chapters/01_tokens.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 240)
        assert list(explorers_in(cells)) == ["TokenExplorer"]
        hand = hand_on(page, EXPLORER)
        drive(hand, chapter_explorer(hand))
        keeps_its_width_in_another_theme(hand)
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}tokens.{part}"))
        assert problems.found == []
