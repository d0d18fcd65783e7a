"""How fast every explorer follows the hand, at the size in which the chapters show it, or larger.

Kernel, server, browser and other tests share the machine's cores, and what is measured grows with
their load. So the quickest tenth of the redraws, which says what the redraw itself needs, is held
to the limit, in one of up to five rounds; the median says what the machine made of it.
"""

from typing import Any

import pytest
from browser import Lab, run_all_cells
from hand import NEEDS_BROWSER, Hand, hand_on, open_built, write_notebook

from llm_core.notebooks.normal import WIDGET_VIEW

pytestmark = NEEDS_BROWSER

PATH = "redraw.ipynb"
SHOW = f"""\
from IPython.display import display

def show(explorer):  # without the picture that a saved notebook gets
    display({{"{WIDGET_VIEW}": {{"model_id": explorer.model_id}}}}, raw=True)
"""
EXPLORERS = {
    "Storyteller": "from llm_core.widgets.start_here import StoryTeller\nshow(StoryTeller())",
    "Token explorer": "from llm_core.widgets.tokens import TokenExplorer\nshow(TokenExplorer())",
    "Embedding explorer": """\
import torch
from llm_core.widgets.embeddings import EmbeddingExplorer

words = [f"word{i}" for i in range(300)]
vectors = torch.randn(300, 24, generator=torch.Generator().manual_seed(0))
show(EmbeddingExplorer(words, vectors))""",
    "Training map": """\
from llm_core.widgets.embeddings import TrainingMap

live = TrainingMap(words)
show(live)
for moment in range(20):
    live.add(moment / 20, vectors * (moment + 1))""",
    "Position explorer": """\
from llm_core.widgets.positions import PositionExplorer
positions = PositionExplorer()
positions.d_model, positions.length = 64, 128
show(positions)""",
    "Attention explorer": """\
from llm_core.widgets.attention import AttentionExplorer
text = (
    "One day Zoe went to the forest to climb and found a yellow rope. "
    "Zoe gave the yellow rope to Sam. Who has the rope now? Sam has the yellow rope."
)
show(AttentionExplorer(text=text))""",
    "Block explorer": "from llm_core.widgets.block import BlockExplorer\nshow(BlockExplorer())",
    "Model explorer": "from llm_core.widgets.model import ModelExplorer\nshow(ModelExplorer())",
    "Optimizer explorer": """\
from llm_core.widgets.optimizers import OptimizerExplorer
show(OptimizerExplorer())""",
    "Next-token explorer": """\
from llm_core.widgets.sampling import BeamExplorer, NextTokenExplorer
show(NextTokenExplorer())""",
    "Beam explorer": "show(BeamExplorer())",
}
CONTROLS = (
    "input[type=range]:enabled",
    "[role=radio][tabindex='0']",
    "input[type=radio]:checked:enabled",
)
"""What the arrow keys move: the first of these that an explorer has."""

LIMIT_MS = 50
"""The slowest redraw of an explorer that still follows the hand."""


@pytest.mark.timeout(300)
def test_every_explorer_follows_the_hand(lab: Lab, browser: Any, record_property: Any) -> None:
    write_notebook(lab.root / PATH, (SHOW, *EXPLORERS.values()))
    undisturbed = {}
    with open_built(lab, browser, PATH) as (page, problems):
        run_all_cells(lab, page, PATH, 120)
        for label in EXPLORERS:
            median, undisturbed[label] = measured_redraws(hand_on(page, label))
            record_property(
                "figure",
                f"{label}: redraw {median:.1f} ms (median), {undisturbed[label]:.1f} ms "
                f"(quickest tenth), {lab.isolation}",
            )
        assert problems.found == []
    assert {label: ms for label, ms in undisturbed.items() if ms > LIMIT_MS} == {}


def measured_redraws(hand: Hand) -> tuple[float, float]:
    """Return median and quickest tenth of the redraws, in ms, of the first round within the limit.

    If none of five is, they are those of the last.
    """
    for _ in range(5):
        times = redraw_times(hand)
        assert len(times) >= 10, "the keys moved nothing"
        median, undisturbed = times[len(times) // 2], times[len(times) // 10]
        if undisturbed <= LIMIT_MS:
            break
    return median, undisturbed


def redraw_times(hand: Hand) -> list[float]:
    """Move a control there and back, again and again; return each drawing's ms, quickest first."""
    found = [hand.widget.locator(control) for control in CONTROLS]
    control = next(locator for locator in found if locator.count()).first
    hand.settle()
    control.focus()
    hand.page.wait_for_timeout(100)
    hand.page.evaluate("performance.clearMeasures()")
    for key in ("ArrowRight", "ArrowLeft") * 10:
        hand.page.keyboard.press(key)
        hand.page.wait_for_timeout(40)
    redraws = "performance.getEntriesByName('llm:redraw').map(entry => entry.duration)"
    return sorted(hand.page.evaluate(redraws))
