"""Chapter 02's explorers in a real JupyterLab: every control, by keyboard and by mouse, offline."""

import json
import math
from typing import Any

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

pytestmark = NEEDS_BROWSER

EXPLORER, MAP = "Embedding explorer", "Training map"

SMALL = """\
import torch
from llm_core.embeddings import train_skipgram
from llm_core.widgets.embeddings import EmbeddingExplorer, TrainingMap

words = ["king", "queen", "man", "woman", "prince", "spade", "rope", "boat"]
groups = {"people": words[:5], "things": words[5:]}
rng = torch.Generator().manual_seed(0)
vectors = torch.randn(8, 5, generator=rng) * torch.rand(8, 1, generator=rng) * 4
texts = [torch.randint(0, 8, (40,), generator=rng) for _ in range(40)]
"""
SMALL_CELLS = (
    SMALL,
    "explorer = EmbeddingExplorer(words, vectors, groups)\nexplorer",
    "live = TrainingMap(words, groups)\nlive.show()\n"
    "_ = train_skipgram(texts, 8, 4, threshold=None, generator=rng, on_step=live.add)",
)


def small_explorer() -> Any:
    names = names_of(SMALL)
    return names["EmbeddingExplorer"](names["words"], names["vectors"], names["groups"])


def ranking(hand: Hand, name: str) -> list[tuple[str, float]]:
    """Return what the browser worked out last: "neighbours" or "answers"."""
    return [tuple(pair) for pair in json.loads(hand.widget.get_attribute(f"data-{name}"))]


def same_as_python(hand: Hand, expected: Any) -> None:
    """The browser's rankings and sentence must be Python's."""
    hand.page.mouse.move(2, 2)
    hand.settle()
    for name in ("neighbours", "answers"):
        got, wanted = ranking(hand, name), getattr(expected, name)()
        assert [word for word, _ in got] == [word for word, _ in wanted]
        assert [score for _, score in got] == pytest.approx([s for _, s in wanted], abs=1e-4)
    assert hand.summary() == expected.describe()


def choose(hand: Hand, label: str, word: str) -> None:
    """Choose a word by typing it into a list, as a keyboard user does; once in each list."""
    control = hand.control("combobox", label)
    control.focus()
    hand.page.keyboard.type(word)


def drive_explorer(hand: Hand, expected: Any) -> None:
    """Work the explorer; `expected` is the same one in this process, in the same state."""
    stops = ["Word", "Start with", "Take away", "Add", "Look at", "Lengths", "The three inputs"]
    assert hand.tab_stops() == stops
    assert hand.shielded()
    same_as_python(hand, expected)
    pickers = {"Word": "word", "Start with": "b", "Take away": "a", "Add": "c"}
    for label, trait in pickers.items():
        control = hand.control("combobox", label)
        hand.must_change(f"{label} by keyboard", lambda c=control: hand.press(c, "ArrowUp"))
        setattr(expected, trait, control.evaluate("node => node.selectedOptions[0].text"))
        same_as_python(hand, expected)
    for label, trait in pickers.items():
        control = hand.control("combobox", label)
        other = expected.words[(expected.words.index(getattr(expected, trait)) + 2) % 8]
        hand.must_change(f"{label} by mouse", lambda c=control, o=other: c.select_option(label=o))
        setattr(expected, trait, other)
        same_as_python(hand, expected)
    switch = {"normalise": (True, False), "exclude_inputs": (True, False)}
    for trait, (first, second) in switch.items():
        hand.press(hand.chosen(trait), "ArrowRight")
        setattr(expected, trait, second)
        same_as_python(hand, expected)
        option(hand, trait, 1).click()
        setattr(expected, trait, first)
        same_as_python(hand, expected)
    plane = 2 if expected.plane == "all" else 1
    for number in (plane, 3 - plane):
        hand.must_change(
            "plane by mouse", lambda n=number: option(hand, "plane", n).click(), only_picture=True
        )
    hand.must_change(
        "plane by keyboard",
        lambda: hand.press(hand.chosen("plane"), "ArrowRight"),
        only_picture=True,
    )
    option(hand, "plane", 3 - plane).click()
    point_at_words(hand)


def point_at_words(hand: Hand) -> None:
    """Pointing at the map shows another word's neighbours; a click keeps it chosen."""
    picture = hand.widget.locator("canvas").first
    before, seen = hand.summary(), set()
    for across in range(2, 19, 2):
        for down in (0.2, 0.35, 0.5, 0.65):
            point(picture, across / 20, down)
            hand.page.wait_for_timeout(25)
            seen.add(hand.summary())
    assert len(seen - {before}) >= 2, "pointing at the map must show neighbours of other words"
    hand.page.mouse.move(2, 2)
    hand.settle()
    assert hand.summary() == before, "when the pointer has left, the chosen word is back"
    for across in range(1, 20):
        point(picture, across / 20, 0.5, click=True)
        hand.page.mouse.move(2, 2)
        hand.settle()
        if hand.summary() != before:
            return
    raise AssertionError("no click on the map chose a word")


def drive_map(hand: Hand, n_words: int) -> None:
    """Work the map of the training, which is over."""
    assert hand.tab_stops() == ["Training done"]
    assert hand.shielded()
    assert hand.summary() == f"{n_words} words after 100 % of the training."
    slider = hand.control("slider", "Training done")
    hand.must_change("moment by keyboard", lambda: hand.press(slider, "Home"))
    assert hand.summary() == f"{n_words} words after 0 % of the training."
    hand.must_change("moment by mouse", lambda: point(slider, 0.5, 0.5, click=True))
    hand.must_change("moment by key", lambda: hand.press(slider, "PageUp"))
    hand.must_change("pointing", lambda: point_until_it_changes(hand), only_picture=True)
    hand.page.mouse.move(2, 2)


def point_until_it_changes(hand: Hand) -> None:
    """Go over the map, from its middle outwards, until a word is under the pointer."""
    picture, before = hand.widget.locator("canvas").first, hand.state()["picture"]
    places = [(across / 40, down / 40) for across in range(2, 39) for down in range(4, 34)]
    for across, down in sorted(places, key=lambda place: math.dist(place, (0.5, 0.5))):
        point(picture, across, down)
        if hand.state()["picture"] != before:
            return


@pytest.mark.timeout(240)
def test_the_explorers_on_small_vectors(lab: Lab, browser: Any) -> None:
    path = "embeddings.ipynb"
    write_notebook(lab.root / path, SMALL_CELLS)
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 60)
        drive_explorer(hand_on(page, EXPLORER), small_explorer())
        drive_map(hand_on(page, MAP), 8)
        assert problems.found == []
    shown = explorers_in(cells)
    assert list(shown) == ["EmbeddingExplorer", "TrainingMap"]
    assert shown["TrainingMap"] == "8 words after 100 % of the training."


@pytest.mark.timeout(400)
def test_chapter_02(lab: Lab, browser: Any) -> None:
    path = "chapters/02_embeddings.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        run_all_cells(lab, page, path, 300)
        for part in ("warmup", "recap"):
            drive_quiz(hand_on(page, f"{QUIZ}embeddings.{part}"))
        drive_map(hand_on(page, MAP), 54)
        drive_chapter_explorer(hand_on(page, EXPLORER))
        assert problems.found == []


def drive_chapter_explorer(hand: Hand) -> None:
    """Build analogies from the trained vectors; they are those of the chapter's text."""
    assert hand.shielded()
    assert ranking(hand, "answers")[0][0] == "queen"
    for label, word in (("Start with", "spade"), ("Take away", "garden"), ("Add", "river")):
        hand.must_change(label, lambda w=word, name=label: choose(hand, name, w))
    assert ranking(hand, "answers")[0][0] == "boat"
    hand.must_change(
        "plane", lambda: hand.press(hand.chosen("plane"), "ArrowLeft"), only_picture=True
    )
    point_at_words(hand)
