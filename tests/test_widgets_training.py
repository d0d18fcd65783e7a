"""The training dashboard and the optimizer explorer as Python objects. No browser."""

import base64
import io
import math
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from matplotlib.image import imread
from torch import nn

from llm_core.data import get_batch
from llm_core.model import GPT, GPTConfig
from llm_core.optim import AdamW
from llm_core.training import TrainConfig, Trainer, TrainingInterrupted
from llm_core.widgets import optimizers, training
from llm_core.widgets.optimizers import LANDSCAPES, METHODS, OptimizerExplorer, Settings, walk
from llm_core.widgets.training import MOST_POINTS, TrainingDashboard, thin

IDS = torch.arange(200) % 7


def make_trainer(n_steps: int = 12, **settings: Any) -> Trainer:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    config = GPTConfig(vocab_size=7, context_length=6, d_model=8, n_layers=1, n_heads=1)
    return Trainer(
        GPT(config),
        lambda: get_batch(IDS, 4, 6, generator=generator),
        TrainConfig(n_steps=n_steps, **{"eval_interval": 4, "max_lr": 0.01, **settings}),
        validation=[get_batch(IDS, 4, 6, generator=torch.Generator().manual_seed(2))],
        generators={"data": generator},
        progress=False,
    )


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])


# ---- the dashboard -------------------------------------------------------------------------------


def test_at_the_end_it_shows_every_step_and_evaluation() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer, floor=0.1, sample=lambda model: f"at {trainer.step}")
    losses, rates, norms = [], [], []
    trainer.on("step", lambda t: (losses.append(t.loss), rates.append(t.lr)))
    trainer.on("step", lambda t: norms.append(t.grad_norm))
    assert dashboard.status == "ready"
    trainer.run()
    assert (dashboard.status, dashboard.step, dashboard.n_steps) == ("finished", 12, 12)
    for name, values in {"loss": losses, "lr": rates, "grad_norm": norms}.items():
        np.testing.assert_allclose(unpacked(dashboard.arrays[name]), values, rtol=1e-6)
    assert unpacked(dashboard.arrays["steps"]).tolist() == list(range(1, 13))
    assert unpacked(dashboard.arrays["val_steps"]).tolist() == [4, 8, 12]
    expected = [line["val_loss"] for line in trainer.history]
    np.testing.assert_allclose(unpacked(dashboard.arrays["val_loss"]), expected, rtol=1e-6)
    assert [sample["text"] for sample in dashboard.samples] == ["at 4", "at 8", "at 12"]


def test_its_numbers_are_the_trainers() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer)
    trainer.run()
    numbers = dashboard.numbers
    for name in ("loss", "val_loss", "lr", "grad_norm", "tokens_per_second", "seconds_per_step"):
        assert numbers[name] == getattr(trainer, name)
    assert numbers["best_loss"] == trainer.best.loss
    assert numbers["left"] == 0
    assert numbers["elapsed"] > 0
    assert numbers["memory"] > 10e6


def test_the_text_says_step_status_and_distance_to_the_floor() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer, floor=0.5)
    assert dashboard.describe() == "Step 0 of 12, not started."
    trainer.run()
    above = trainer.val_loss - 0.5
    assert dashboard.describe() == (
        f"Step 12 of 12, finished. Validation loss {trainer.val_loss:.3f}, "
        f"{above:.3f} above the floor."
    )
    dashboard.floor = trainer.val_loss + 0.25
    assert dashboard.describe().endswith(", 0.250 below the floor.")


def test_the_saved_picture_and_text_are_there_at_any_time() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer, floor=0.1, sample=lambda model: "costs $5 and $6")
    pictures = []
    for _ in range(2):
        data, metadata = dashboard._repr_mimebundle_()
        pictures.append(base64.b64decode(data["image/png"]))
        height, width, _ = imread(io.BytesIO(pictures[-1])).shape
        assert width > 600
        assert height > 250
        assert metadata["image/png"]["alt"] == dashboard.describe()
        assert not re.search(r"0x[0-9a-f]{6,}", data["text/plain"])
        trainer.run()
    assert pictures[0] != pictures[1]


def test_the_page_is_told_only_a_few_times_a_second(monkeypatch: Any) -> None:
    trainer = make_trainer(n_steps=60, eval_interval=60)
    dashboard, told = TrainingDashboard(trainer), []
    dashboard.observe(lambda change: told.append(change["new"]), "step")
    trainer.on("step", lambda t: time.sleep(0.01))
    trainer.run()
    assert told[-1] == 60
    assert len(told) <= 3 + dashboard.numbers["elapsed"] / training.UPDATE_SECONDS


@pytest.mark.parametrize("kind", ["pause", "go_on", "stop"])
def test_a_button_sets_a_flag_and_nothing_else(kind: str) -> None:
    trainer = make_trainer()
    dashboard, called = TrainingDashboard(trainer), []
    setattr(trainer, kind, lambda: called.append(kind))
    before = dashboard.get_state()
    dashboard = TrainingDashboard(trainer)
    before = dashboard.get_state()
    dashboard._on_message(dashboard, {"kind": kind}, [])
    assert called == [kind]
    assert dashboard.get_state() == before


@pytest.mark.parametrize("content", [None, "stop", {}, {"kind": "run"}, {"kind": None}])
def test_messages_that_mean_nothing_do_nothing(content: Any) -> None:
    trainer = make_trainer()
    TrainingDashboard(trainer)._on_message(None, content, [])
    assert not trainer.stopped


def test_pause_resume_and_stop_from_another_thread() -> None:
    trainer = make_trainer(n_steps=100_000, eval_interval=100_000)
    dashboard, seen = TrainingDashboard(trainer), []
    dashboard.observe(lambda change: seen.append(change["new"]), "status")

    def press() -> None:
        for kind, status in (("pause", "paused"), ("go_on", "running"), ("stop", "stopped")):
            dashboard._on_message(dashboard, {"kind": kind}, [])
            for _ in range(400):
                if dashboard.status == status:
                    break
                time.sleep(0.02)

    thread = threading.Timer(0.2, press)
    thread.start()
    trainer.run()
    thread.join()
    assert seen == ["running", "paused", "running", "stopped"]
    assert 0 < trainer.step < 100_000
    assert dashboard.describe().startswith(f"Step {trainer.step} of 100000, stopped.")


def test_a_pause_is_no_part_of_the_time() -> None:
    trainer = make_trainer(n_steps=6, eval_interval=100)
    dashboard = TrainingDashboard(trainer)
    trainer.on("step", lambda t: t.pause() if t.step == 3 else None)
    trainer.on("pause", lambda t: (time.sleep(0.5), t.go_on()))
    started = time.perf_counter()
    trainer.run()
    assert time.perf_counter() - started >= 0.5
    assert dashboard.numbers["elapsed"] < time.perf_counter() - started - 0.4


def test_a_page_opens_a_line_of_its_own_by_the_key() -> None:
    trainers = [make_trainer(), make_trainer()]
    dashboards = [TrainingDashboard(trainer) for trainer in trainers]

    class Line:
        def on_msg(self, callback: Any) -> None:
            self.callback = callback

    line, lost = Line(), Line()
    training._on_command_line(line, {"content": {"data": {"key": dashboards[1].key}}})
    line.callback({"content": {"data": {"kind": "stop"}}})
    assert [trainer.stopped for trainer in trainers] == [False, True]
    training._on_command_line(lost, {"content": {"data": {"key": "of yesterday"}}})
    assert not hasattr(lost, "callback")


def test_training_goes_on_when_the_dashboard_is_closed_and_it_can_be_shown_again() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer)
    trainer.on("step", lambda t: dashboard.close() if t.step == 5 else None)
    trainer.run()
    assert trainer.step == 12
    assert (dashboard.status, dashboard.comm) == ("finished", None)
    dashboard._ipython_display_()
    assert dashboard.comm is not None
    data, _ = dashboard._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == dashboard.model_id


class Output:
    """What `display` returns: where an output stands, and what was put there last."""

    def update(self, data: dict, **settings: Any) -> None:
        self.data = data


@pytest.mark.parametrize("closed", [False, True])
def test_at_the_end_the_picture_of_the_end_stands_where_it_was_shown(closed: bool) -> None:
    trainer, output = make_trainer(), Output()
    dashboard = TrainingDashboard(trainer)
    dashboard._handles.append(output)
    trainer.on("step", lambda t: dashboard.close() if closed and t.step == 5 else None)
    trainer.run()
    assert output.data["text/plain"] == repr(dashboard)
    assert "finished" in output.data["text/plain"]
    assert base64.b64decode(output.data["image/png"]) == dashboard.picture()
    live = "application/vnd.jupyter.widget-view+json" in output.data
    assert live is not closed


def test_an_error_that_was_there_before_the_run_is_not_its_end() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer)
    try:
        raise OSError("the disk was full, so try again")
    except OSError:
        trainer.run()
    assert dashboard.status == "finished"
    assert dashboard.notice == ""


def interrupt(trainer: Trainer) -> None:
    if trainer.step == 5:
        raise TrainingInterrupted("by hand")


def make_nan(model: nn.Module, batch: Any) -> torch.Tensor:
    return model(batch[0], targets=batch[1])[1] * math.nan


def test_it_says_how_a_run_ended() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer)
    trainer.on("step", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert (dashboard.status, dashboard.step) == ("interrupted", 5)
    trainer.run()
    assert dashboard.status == "finished"

    early = make_trainer(n_steps=100, eval_interval=1, patience=1, max_lr=1e-9)
    shown = TrainingDashboard(early)
    early.run()
    assert shown.status == "stopped early"
    assert "no longer fell" in shown.describe()


def test_a_failed_run_shows_the_advice() -> None:
    trainer = make_trainer()
    trainer.loss_function = make_nan
    dashboard = TrainingDashboard(trainer)
    with pytest.raises(FloatingPointError):
        trainer.run()
    assert dashboard.status == "failed"
    assert "lower max_lr" in dashboard.notice


def test_a_sample_that_fails_is_named_and_training_goes_on() -> None:
    trainer = make_trainer()
    dashboard = TrainingDashboard(trainer, sample=lambda model: 1 / 0)
    trainer.run()
    assert dashboard.status == "finished"
    assert dashboard.notice == "sample raised ZeroDivisionError: division by zero"
    assert dashboard.samples == []


def test_samples_are_taken_in_evaluation_mode_and_without_gradients() -> None:
    trainer, seen = make_trainer(), []
    TrainingDashboard(trainer, sample=lambda m: seen.append((m.training, torch.is_grad_enabled())))
    trainer.run()
    assert seen == [(False, False)] * 3
    assert trainer.model.training


def test_the_newest_sample_stays_when_there_are_many() -> None:
    trainer = make_trainer(n_steps=100, eval_interval=1)
    dashboard = TrainingDashboard(trainer, sample=lambda model: "x" * 5000)
    trainer.run()
    steps = [sample["step"] for sample in dashboard.samples]
    assert len(steps) <= training.MOST_SAMPLES
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (1, 100)
    assert len(dashboard.samples[0]["text"]) == training.LONGEST_SAMPLE


def test_a_resumed_trainer_brings_its_history(tmp_path: Any) -> None:
    first = make_trainer(checkpoint_interval=4)
    first.folder = tmp_path
    first.run()
    second = make_trainer(n_steps=16)
    second.resume(tmp_path)
    dashboard = TrainingDashboard(second)
    assert dashboard.step == 12
    second.run()
    assert unpacked(dashboard.arrays["val_steps"]).tolist() == [4, 8, 12, 16]
    assert unpacked(dashboard.arrays["steps"]).tolist() == [13, 14, 15, 16]
    second.resume(tmp_path)
    second.run()
    assert unpacked(dashboard.arrays["steps"]).tolist() == [13, 14, 15, 16]


@pytest.mark.parametrize("n", [0, 1, MOST_POINTS, MOST_POINTS + 1, 1000, 12_345])
def test_thinning_keeps_the_ends_and_the_mean(n: int) -> None:
    values = np.sin(np.arange(n)).tolist()
    steps, thinned = thin(list(range(n)), values)
    assert len(steps) == len(thinned) <= MOST_POINTS
    if n:
        assert steps[-1] == n - 1
        sizes = np.diff(np.append(-1, steps))
        assert (thinned * sizes).sum() / n == pytest.approx(np.mean(values))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"trainer": "run"}, TypeError, "trainer must be a Trainer"),
        ({"trainer": None}, TypeError, "trainer must be a Trainer"),
        ({"floor": -0.1}, ValueError, "floor"),
        ({"floor": "low"}, TypeError, "floor"),
        ({"floor": math.nan}, ValueError, "floor"),
        ({"sample": "Once"}, TypeError, "sample must be a function"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        TrainingDashboard(**{"trainer": make_trainer(), **arguments})


# ---- the own text of chapter 07 ------------------------------------------------------------------


def test_the_chapters_own_text_cell_trains_on_a_file(tmp_path: Path, monkeypatch: Any) -> None:
    """The cell of section 11, with a file beside the notebook and fewer steps."""
    source = Path(__file__).parent.parent / "solutions" / "07_training.py"
    cells = source.read_text(encoding="utf-8").split("\n# %%")
    (cell,) = [cell for cell in cells if 'MY_FILE = Path("my_text.txt")' in cell]
    (tmp_path / "my_text.txt").write_text("the cat sat on the mat. the dog saw the cat. " * 80)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(
        "from pathlib import Path\nimport torch\nfrom IPython.display import display\n"
        "from llm_core.data import get_batch, sequential_batches\n"
        "from llm_core.model import GPT\nfrom llm_core.recipes import COURSE\n"
        "from llm_core.sampling import generate\nfrom llm_core.training import Trainer\n"
        "from llm_core.widgets.training import TrainingDashboard\n",
        names,
    )
    exec(cell.replace("n_steps=1000", "n_steps=3"), names)
    assert names["own_model"].config.vocab_size < 40


# ---- the optimizer explorer ----------------------------------------------------------------------


def torch_walk(
    landscape: str, make: Any, start: tuple[float, float], steps: int, noise: np.ndarray | None
) -> np.ndarray:
    """The path that an optimizer of torch or llm_core takes, gradients by autograd."""
    w = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    optimizer = make([w])
    points = [w.detach().numpy().copy()]
    for t in range(steps):
        optimizer.zero_grad()
        optimizers.height(landscape, *w).backward()
        if noise is not None:
            w.grad += torch.from_numpy(noise[t])
        optimizer.step()
        points.append(w.detach().numpy().copy())
    return np.array(points)


SETTINGS = Settings(lr=0.05, beta1=0.8, beta2=0.97, decay=0.3)


@pytest.mark.parametrize("landscape", LANDSCAPES)
@pytest.mark.parametrize(
    ("method", "make"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, 0.05, weight_decay=0.3)),
        ("adam", lambda p: torch.optim.Adam(p, 0.05, (0.8, 0.97), 1e-8, weight_decay=0.3)),
        ("adamw", lambda p: torch.optim.AdamW(p, 0.05, (0.8, 0.97), 1e-8, weight_decay=0.3)),
        ("adamw", lambda p: AdamW(p, 0.05, (0.8, 0.97), 1e-8, weight_decay=0.3)),
    ],
)
def test_its_walk_is_that_of_the_library(landscape: str, method: str, make: Any) -> None:
    noise = np.random.default_rng(0).normal(size=(40, 2))
    ours = walk(landscape, method, SETTINGS, (-2.0, 1.0), noise)
    theirs = torch_walk(landscape, make, (-2.0, 1.0), 40, noise)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_momentum_and_rmsprop_without_correction_are_torchs() -> None:
    plain = Settings(lr=0.02, beta1=0.8, beta2=0.97, correct=False)
    noise = np.zeros((30, 2))
    rmsprop = torch_walk(
        "bend", lambda p: torch.optim.RMSprop(p, 0.02, 0.97), (-2.0, 1.0), 30, None
    )
    np.testing.assert_allclose(
        walk("bend", "rmsprop", plain, (-2.0, 1.0), noise), rmsprop, atol=1e-6
    )
    momentum = torch_walk(  # torch adds gradients up; a mean of them is a fifth of that here
        "bend", lambda p: torch.optim.SGD(p, 0.2 * 0.02, momentum=0.8), (-2.0, 1.0), 30, None
    )
    np.testing.assert_allclose(
        walk("bend", "momentum", plain, (-2.0, 1.0), noise), momentum, atol=1e-6
    )


@pytest.mark.parametrize("landscape", LANDSCAPES)
def test_the_landscapes_have_the_slope_that_they_say_and_one_lowest_point(landscape: str) -> None:
    low = optimizers.lowest(landscape)
    assert optimizers.height(landscape, *low) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(-3, 3, (20, 2)):
        assert optimizers.height(landscape, x, y) > 0
        dx, dy = optimizers.slope(landscape, x, y)
        step = 1e-6
        rise = optimizers.height(landscape, x + step, y) - optimizers.height(landscape, x - step, y)
        assert dx == pytest.approx(rise / (2 * step), rel=1e-4, abs=1e-4)
        rise = optimizers.height(landscape, x, y + step) - optimizers.height(landscape, x, y - step)
        assert dy == pytest.approx(rise / (2 * step), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_comes_down_with_the_settings_of_the_start(method: str) -> None:
    explorer = OptimizerExplorer(method)
    explorer.steps = 200
    heights = [optimizers.height("valley", *point) for point in explorer.path()]
    assert heights[-1] < 0.05 * heights[0]


def test_a_rate_that_is_too_high_leaves_the_map_and_the_text_says_so() -> None:
    explorer = OptimizerExplorer("sgd")
    explorer.log_lr = 0.6
    path = explorer.path()
    assert len(path) < 20
    assert np.isfinite(path).all()
    assert explorer.describe() == (
        f"SGD in the valley, learning rate 4: it leaves the map for good, by step {len(path) - 1}."
    )
    assert explorer.picture()


def test_the_text_names_method_landscape_rate_and_end() -> None:
    explorer = OptimizerExplorer("adamw", "bend")
    explorer.log_lr, explorer.steps = -0.5, 30
    x, y = explorer.path()[-1]
    above = optimizers.height("bend", x, y)
    assert explorer.describe() == (
        "AdamW in the bent valley, learning rate 0.32: after 30 steps at "
        f"({x:.2f}, {y:.2f}), {above:.3f} above the lowest point."
    )


def test_two_explorers_save_the_same_picture_and_the_picture_follows() -> None:
    one, other = OptimizerExplorer("adam"), OptimizerExplorer("adam")
    assert one._repr_mimebundle_()[0]["image/png"] == other._repr_mimebundle_()[0]["image/png"]
    one.log_lr = -0.3
    assert one.picture() != other.picture()
    assert one.describe() != other.describe()


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("log_lr", -9.0),
        ("beta1", 1.0),
        ("beta2", 1.0),
        ("decay", -0.1),
        ("noise", 9.0),
        ("steps", 0),
        ("steps", 201),
        ("x", 5.0),
        ("y", -3.0),
        ("method", "muon"),
        ("landscape", "cliff"),
    ],
)
def test_state_out_of_range_is_refused(trait: str, value: Any) -> None:
    explorer = OptimizerExplorer()
    before = getattr(explorer, trait)
    with pytest.raises(traitlets.TraitError, match=trait):
        setattr(explorer, trait, value)
    assert getattr(explorer, trait) == before


@pytest.mark.parametrize("arguments", [{"method": "adagrad"}, {"landscape": "hill"}])
def test_an_unknown_method_or_landscape_is_named(arguments: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must be one of"):
        OptimizerExplorer(**arguments)
