"""Chapter 07 in a real JupyterLab: the dashboard while a cell trains, the optimizer explorer."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Lab, run_all_cells, saved_notebook, start_all_cells
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
    write_notebook,
)

pytestmark = NEEDS_BROWSER

DASHBOARD, OPTIMIZERS = "Training dashboard", "Optimizer explorer"

SLOW_TRAINER = """\
import time
from pathlib import Path
import torch
from IPython.display import display
from llm_core.data import get_batch
from llm_core.model import GPT, GPTConfig
from llm_core.training import TrainConfig, Trainer
from llm_core.widgets.training import TrainingDashboard

ids = torch.arange(400) % 11
generator = torch.Generator().manual_seed(1)
config = GPTConfig(vocab_size=11, context_length=8, d_model=16, n_layers=1, n_heads=2)

def next_batch():
    if not Path("hurry").exists():  # until then the test has time to press buttons
        time.sleep(0.05)
    return get_batch(ids, 4, 8, generator=generator)

trainer = Trainer(
    GPT(config, generator), next_batch,
    TrainConfig(n_steps=100_000, eval_interval=15, max_lr=1e-2, warmup_steps=10),
    validation=[get_batch(ids, 4, 8, generator=generator)], progress=False,
)
dashboard = TrainingDashboard(trainer, floor=0.0, sample=lambda m: f"sample {trainer.step}")
"""
RUN = "display(dashboard)\ntrainer.run()"
AFTER = "print('ended at step', trainer.step, 'stopped:', trainer.stopped)"


def numbers_of(widget: Any) -> dict[str, Any]:
    """Return the dashboard's status, step and figures as the page has them."""
    return json.loads(widget.get_attribute("data-numbers") or "{}")


def wait_for(page: Any, what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.1)):
        if true():
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def wait_for_status(page: Any, widget: Any, status: str) -> dict[str, Any]:
    wait_for(page, f"status {status}", lambda: numbers_of(widget).get("status") == status)
    return numbers_of(widget)


def choose(page: Any, widget: Any, entry: str) -> None:
    """Choose an entry of the menu that a right click on the widget opens."""
    widget.locator(".llm-title").click(button="right")
    page.locator(".lm-Menu-itemLabel", has_text=entry).click()


def read_page(page: Any) -> str:
    return page.inner_text("body")


def press_key(page: Any, button: Any, key: str) -> None:
    button.focus()
    page.keyboard.press(key)


@pytest.fixture
def hurry(lab: Lab) -> Iterator[Path]:
    """A file that ends the slow trainer's pauses once a test makes it; gone after the test."""
    path = lab.root / "hurry"
    yield path
    path.unlink(missing_ok=True)


@pytest.mark.timeout(300)
def test_pause_resume_and_stop_are_heard_while_the_cell_runs(lab: Lab, browser: Any) -> None:
    path = "dashboard.ipynb"
    write_notebook(lab.root / path, (SLOW_TRAINER, RUN, AFTER))
    with open_built(lab, browser, path) as (page, problems):
        start_all_cells(page)
        widget = page.locator(f'section.llm[aria-label="{DASHBOARD}"]').first
        widget.wait_for(timeout=90_000)
        wait_for(page, "two samples", lambda: "(2 of 2)" in widget.inner_text())
        pause, stop = (widget.get_by_role("button", name=name) for name in ("Pause", "Stop"))
        resume = widget.get_by_role("button", name="Resume")

        pause.click()
        paused = wait_for_status(page, widget, "paused")
        page.wait_for_timeout(1500)
        assert numbers_of(widget)["step"] == paused["step"]
        resume.click()
        wait_for_status(page, widget, "running")
        wait_for(page, "steps", lambda: numbers_of(widget)["step"] > paused["step"] + 3)

        press_key(page, pause, "Enter")
        wait_for_status(page, widget, "paused")
        press_key(page, resume, "Space")
        wait_for_status(page, widget, "running")
        press_key(page, stop, "Enter")
        stopped = wait_for_status(page, widget, "stopped")
        assert pause.is_disabled()
        assert stop.is_disabled()
        assert (
            widget.locator(".llm-summary")
            .inner_text()
            .startswith(f"Step {stopped['step']} of 100000, stopped.")
        )
        said = f"ended at step {stopped['step']} stopped: True"
        wait_for(page, "the cell after it", lambda: said in read_page(page))
        cells = saved_notebook(lab, page, path)["cells"]
        assert problems.found == []
    assert cells[2]["outputs"][0]["text"] == [said + "\n"]
    picture = cells[1]["outputs"][0]["data"]
    assert {"image/png", "text/plain"} < set(picture)
    assert f"Step {stopped['step']} of 100000, stopped." in "".join(picture["text/plain"])


@pytest.mark.timeout(300)
def test_it_goes_on_when_closed_and_another_view_works(lab: Lab, browser: Any, hurry: Path) -> None:
    path = "closed.ipynb"
    setup = SLOW_TRAINER.replace("100_000", "300")
    write_notebook(lab.root / path, (setup, RUN, AFTER, "display(dashboard)"))
    with open_built(lab, browser, path) as (page, problems):
        start_all_cells(page)
        widgets = page.locator(f'section.llm[aria-label="{DASHBOARD}"]')
        widgets.first.wait_for(timeout=90_000)
        wait_for(page, "first steps", lambda: numbers_of(widgets.first).get("step", 0) > 3)
        in_cell = page.locator(".jp-NotebookPanel").locator(f'[aria-label="{DASHBOARD}"]')
        choose(page, in_cell.first, "Create New View for Cell Output")
        wait_for(page, "a second view", lambda: widgets.count() == 2)
        other = page.locator(".jp-LinkedOutputView").locator(f'[aria-label="{DASHBOARD}"]')
        other.get_by_role("button", name="Pause").click()
        for view in (other, in_cell.first):
            wait_for_status(page, view, "paused")
        other.get_by_role("button", name="Resume").click()
        before = wait_for_status(page, in_cell.first, "running")["step"]

        choose(page, in_cell.first, "Clear Cell Output")
        wait_for(page, "both views gone", lambda: widgets.count() == 0)
        assert before < 300
        hurry.touch()
        wait_for(page, "the end", lambda: "ended at step 300 stopped: False" in read_page(page))
        wait_for(page, "shown again", lambda: in_cell.count() == 1)
        shown = wait_for_status(page, in_cell.first, "finished")
        assert shown["step"] == 300
        assert problems.found == []


# ---- the optimizer explorer ----------------------------------------------------------------------


def state_of(hand: Hand) -> dict[str, Any]:
    """Return the state that the explorer's controls show."""
    state = hand.widget.evaluate(
        """node => ({
            ...Object.fromEntries([...node.querySelectorAll("input[type=range]")]
                .map(input => [input.name, Number(input.value)])),
            ...Object.fromEntries([...node.querySelectorAll("fieldset")]
                .map(group => [group.dataset.trait, group.querySelector("input:checked").value])),
        })"""
    )
    return {**state, "correct": state["correct"] == "true", "steps": int(state["steps"])}


def same_as_python(hand: Hand) -> None:
    """The browser's path and sentence must be those of Python for the same state."""
    from llm_core.widgets.optimizers import OptimizerExplorer

    hand.settle()
    expected = OptimizerExplorer()
    for name, value in state_of(hand).items():
        setattr(expected, name, value)
    path = expected.path()
    row = hand.row().reshape(-1, 2)
    assert row.shape == path.shape
    np.testing.assert_allclose(row, path, rtol=1e-6, atol=1e-9)
    assert hand.summary() == expected.describe()


def _optimizer_moves(hand: Hand, slider: dict[str, Any]) -> dict[str, Callable[[], None]]:
    """Return what each move is called and how it is made, in an order in which each shows."""
    return {
        "optimizer by keyboard": lambda: hand.press(hand.chosen("method"), "ArrowRight"),
        "steps by keyboard": lambda: hand.press(slider["Steps"], "ArrowLeft"),
        "steps by mouse": lambda: point(slider["Steps"], 0.1, 0.5, click=True),
        "optimizer by mouse": lambda: option(hand, "method", 5).click(),
        "weight decay by mouse": lambda: point(slider["Weight decay"], 0.6, 0.5, click=True),
        "weight decay by keyboard": lambda: hand.press(slider["Weight decay"], "ArrowRight"),
        "noise by keyboard": lambda: hand.press(slider["Noise of the gradient"], "ArrowRight"),
        "noise by mouse": lambda: point(slider["Noise of the gradient"], 0.8, 0.5, click=True),
        "learning rate by keyboard": lambda: hand.press(slider["Learning rate"], "ArrowRight"),
        "learning rate by mouse": lambda: point(slider["Learning rate"], 0.6, 0.5, click=True),
        "landscape by keyboard": lambda: hand.press(hand.chosen("landscape"), "ArrowRight"),
        "landscape by mouse": lambda: option(hand, "landscape", 3).click(),
        "correction by keyboard": lambda: hand.press(hand.chosen("correct"), "ArrowRight"),
        "correction by mouse": lambda: option(hand, "correct", 1).click(),
        "β1 by mouse": lambda: point(slider["Momentum, β1"], 0.3, 0.5, click=True),
        "β2 by mouse": lambda: point(slider["β2"], 0.2, 0.5, click=True),
        "start by keyboard": lambda: hand.press(slider["Start, first parameter"], "ArrowRight"),
        "start by mouse": lambda: point(slider["Start, second parameter"], 0.3, 0.5, click=True),
        "the map by mouse": lambda: point(hand.widget.locator("canvas").first, 0.2, 0.2, True),
    }


def drive_optimizers(hand: Hand) -> None:
    """Work every control of the explorer."""
    names = ["Optimizer", "Landscape", "Bias correction", "Learning rate", "Momentum, β1", "β2"]
    names += ["Weight decay", "Noise of the gradient", "Steps"]
    names += ["Start, first parameter", "Start, second parameter"]
    option(hand, "method", 1).click()  # from one that is not chosen Tab would go to the chosen one
    assert hand.tab_stops()[: len(names)] == names
    assert hand.shielded()
    same_as_python(hand)
    slider = {name: hand.control("slider", name) for name in names[3:]}
    for what, act in _optimizer_moves(hand, slider).items():
        hand.must_change(what, act)
        same_as_python(hand)
    for name in ("Momentum, β1", "β2", "Start, second parameter"):
        hand.must_change(
            f"{name} by keyboard",
            lambda name=name: hand.press(slider[name], "ArrowLeft"),
            only_picture=True,
        )
    option(hand, "method", 1).click()
    hand.press(slider["Learning rate"], "End")
    same_as_python(hand)
    assert "leaves the map" in hand.summary()


@pytest.mark.timeout(900)
def test_chapter_07(lab: Lab, browser: Any) -> None:
    path = "chapters/07_training.ipynb"
    with open_built(lab, browser, path) as (page, problems):
        cells = run_all_cells(lab, page, path, 600)
        drive_quiz(hand_on(page, f"{QUIZ}training.warmup"))
        drive_optimizers(hand_on(page, OPTIMIZERS))
        dashboard = hand_on(page, DASHBOARD)
        assert numbers_of(dashboard.widget)["status"] == "finished"
        sample = dashboard.widget.locator("input[type=range]")
        for what, act in {
            "sample by keyboard": lambda: dashboard.press(sample, "Home"),
            "sample by mouse": lambda: point(sample, 0.98, 0.5, click=True),
        }.items():
            dashboard.must_change(what, act, only_picture=True)
        assert dashboard.shielded()
        drive_quiz(hand_on(page, f"{QUIZ}training.recap"))
        assert problems.found == []
    shown = explorers_in(cells)
    assert list(shown) == ["OptimizerExplorer", "TrainingDashboard"]
    assert shown["TrainingDashboard"].startswith("Step 110 of 110, finished")
