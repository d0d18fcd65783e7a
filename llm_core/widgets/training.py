"""`TrainingDashboard`: watch a training run, pause it and stop it."""

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import comm
import numpy as np
import psutil
import torch
import traitlets
from torch import nn

from llm_core.training import Trainer, evaluation_mode
from llm_core.validate import require_range
from llm_core.widgets.base import Explorer, pack

UPDATE_SECONDS = 0.25
"""The page is told of steps at most this often."""

MOST_POINTS = 300
"""A longer curve is sent as means over neighbouring steps."""

MOST_SAMPLES = 40
LONGEST_SAMPLE = 600

COMMAND_LINE = "llm_core.training"
"""Name of the line over which a page sends what its buttons ask for.

JupyterLab hands messages to a busy kernel over a thread of their own (a subshell). ipykernel 7.4
takes only those lines for it that the page has opened: what comes over a widget's own line goes to
the thread that last wrote on it, which is the one that trains and has no time to read.
"""

_open_dashboards: "WeakValueDictionary[str, TrainingDashboard]" = WeakValueDictionary()
"""By key; a page says with which it wants to talk."""

STATUSES = {
    "ready": "not started",
    "running": "running",
    "paused": "paused",
    "finished": "finished",
    "stopped early": "stopped early, as the validation loss no longer fell",
    "stopped": "stopped",
    "interrupted": "interrupted",
    "failed": "failed",
}

CURVES = ("loss", "lr", "grad_norm")
"""What is drawn for every step, by the names of the trainer's attributes."""


class TrainingDashboard(Explorer):
    """A live view of a `Trainer`: curves, speed, memory, a sample, and Pause, Resume and Stop.

    It only listens: training goes on when every view is closed, and views can be opened again at
    any time. The buttons set flags that the trainer looks at after each step, so they may be
    pressed from any thread. When the run ends, the saved picture is that of its end.

        dashboard = TrainingDashboard(trainer, floor=0.24, sample=lambda model: "...")
        display(dashboard)
        trainer.run()

    Args:
        trainer: what to watch.
        floor: a loss that cannot be beaten, drawn as a line; None draws none.
        sample: called with the model, in evaluation mode, after each evaluation; returns a text
            that shows what it can do by now. None shows none.

    Attributes:
        status: "ready", "running", "paused", "finished", "stopped early", "stopped",
            "interrupted" or "failed".
        step, n_steps: where the run is.
        numbers: the last loss, lr, grad_norm, tokens_per_second and seconds_per_step, the last
            and the best validation loss (val_loss, best_loss), seconds that it has run and will
            run (elapsed, left), and bytes of memory (of the process, or of tensors on a GPU).
        samples: {"step", "text"} for every sample.
        key: tells this dashboard from others of the same kernel.

    Raises:
        TypeError: `trainer` is no Trainer, or `sample` no function.
        ValueError: a floor below 0.
    """

    script = "training.js"
    style = "training.css"

    status = traitlets.Enum(list(STATUSES), "ready").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    n_steps = traitlets.Int(1).tag(sync=True)
    floor = traitlets.Float(None, allow_none=True).tag(sync=True)
    numbers = traitlets.Dict().tag(sync=True)
    samples = traitlets.List(traitlets.Dict()).tag(sync=True)
    key = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        trainer: Trainer,
        floor: float | None = None,
        sample: Callable[[nn.Module], str] | None = None,
    ) -> None:
        _require_arguments(trainer, floor, sample)
        self._trainer, self._sample = trainer, sample
        self._steps: list[int] = []
        self._values: dict[str, list[float]] = {name: [] for name in CURVES}
        self._validation: list[tuple[int, float]] = []
        self._handles: list[Any] = []
        self._sent_at = self._started_at = 0.0
        self._elapsed = 0.0
        self._first_step = trainer.step
        self._error_before: BaseException | None = None
        super().__init__(
            floor=floor, step=trainer.step, n_steps=trainer.config.n_steps, key=uuid.uuid4().hex
        )
        self._take_history()
        for event, listener in self._listeners().items():
            trainer.on(event, listener)
        self.on_msg(self._on_message)
        _open_dashboards[self.key] = self
        comm.get_comm_manager().register_target(COMMAND_LINE, _on_command_line)

    def describe(self) -> str:
        """Return where the run is and how good; training.js says the same."""
        said = f"Step {self.step} of {self.n_steps}, {STATUSES[self.status]}."
        val_loss = self.numbers.get("val_loss")
        if val_loss is None:
            return said
        said += f" Validation loss {val_loss:.3f}"
        if self.floor is not None:
            above = val_loss - self.floor
            where = "above" if above >= 0 else "below"
            said += f", {abs(above):.3f} {where} the floor"
        return said + "."

    def draw(self, figure: Any) -> None:
        """Draw the three curves and the last sample."""
        axes = figure.subplot_mosaic(
            [["loss", "lr"], ["loss", "grad_norm"], ["sample", "sample"]],
            width_ratios=(1.6, 1),
            height_ratios=(1, 1, 0.7),
        )
        self._draw_loss(axes["loss"])
        for name, title in (("lr", "learning rate"), ("grad_norm", "length of the gradient")):
            axes[name].plot(*self._thinned(name), color="#1f6fc4")
            axes[name].set_title(title, fontsize=9)
            axes[name].tick_params(labelsize=8)
        axes["sample"].axis("off")
        if self.samples:
            last = self.samples[-1]
            text = _wrapped(f"Sample after step {last['step']}: {last['text']}", 112)
            written = axes["sample"].text(0, 1, text, va="top", fontsize=8.5)
            written.set_in_layout(False)  # a long line must not squeeze the curves
        figure.suptitle(self.describe(), fontsize=10)

    def _draw_loss(self, axes: Any) -> None:
        axes.plot(*self._thinned("loss"), color="#1f6fc4", label="training loss")
        if self._validation:
            steps, losses = zip(*self._validation, strict=True)
            axes.plot(steps, losses, "o-", color="#b8520a", markersize=4, label="validation loss")
        if self.floor is not None:
            axes.axhline(self.floor, color="0.3", linestyle="--", label="floor")
        axes.set_title("loss (nats per token)", fontsize=9)
        axes.set_ylim(bottom=0)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)

    def open(self) -> None:
        """Open the line to the page, also after `close`, which takes the live view away."""
        super().open()
        self.__dict__.pop("_repr_mimebundle_", None)  # where ipywidgets puts None on closing

    def _ipython_display_(self) -> None:
        """Show the dashboard, open it anew if it was closed, and remember where it stands."""
        from IPython.display import display

        if self.comm is None:
            self.open()
        data, metadata = self._repr_mimebundle_()
        handle = display(data, metadata=metadata, raw=True, display_id=True)
        if handle is not None:  # None outside a notebook
            self._handles.append(handle)

    # --- What the trainer tells. All of it runs where the trainer runs. ---

    def _listeners(self) -> dict[str, Callable[[Trainer], None]]:
        return {
            "start": self._on_start,
            "step": self._on_step,
            "evaluate": self._on_evaluate,
            "pause": self._on_pause,
            "end": self._on_end,
        }

    def _take_history(self) -> None:
        """Take over the evaluations that a resumed trainer has behind it."""
        self._validation = [(line["step"], line["val_loss"]) for line in self._trainer.history]

    def _on_start(self, trainer: Trainer) -> None:
        """Begin to count time; forget steps that a trainer went back over."""
        keep = sum(step <= trainer.step for step in self._steps)
        del self._steps[keep:]
        for values in self._values.values():
            del values[keep:]
        self._take_history()
        self._error_before = sys.exc_info()[1]  # of a block around the run, and no end of it
        self._first_step, self._elapsed = trainer.step, 0.0
        self._started_at = time.perf_counter()
        self._tell(trainer, status="running")

    def _on_step(self, trainer: Trainer) -> None:
        now = time.perf_counter()
        self._steps.append(trainer.step)
        for name in CURVES:
            self._values[name].append(getattr(trainer, name))
        if self.status == "paused":
            self._started_at = now - trainer.seconds_per_step
            self._tell(trainer, status="running")
        elif now - self._sent_at >= UPDATE_SECONDS:
            self._tell(trainer)

    def _on_evaluate(self, trainer: Trainer) -> None:
        self._validation.append((trainer.step, trainer.val_loss))
        if self._sample is not None:
            self._take_sample(trainer)
        self._tell(trainer)

    def _on_pause(self, trainer: Trainer) -> None:
        self._elapsed += time.perf_counter() - self._started_at
        self._tell(trainer, status="paused")

    def _on_end(self, trainer: Trainer) -> None:
        """Say how it ended, and put the picture of the end where the dashboard was shown."""
        if self.status == "running":
            self._elapsed += time.perf_counter() - self._started_at
        error = sys.exc_info()[1]  # the trainer tells of the end while an error is on its way
        if error is self._error_before:
            error = None
        if isinstance(error, KeyboardInterrupt):
            status = "interrupted"
        elif error is not None:
            status = "failed"
            self.notice = str(error)
        elif trainer.step >= trainer.config.n_steps:
            status = "finished"
        else:
            status = "stopped" if trainer.stopped else "stopped early"
        self._tell(trainer, status=status)
        for handle in self._handles:
            closed = self.comm is None
            data, metadata = self.saved_form() if closed else self._repr_mimebundle_()
            handle.update(data, metadata=metadata, raw=True)

    def _take_sample(self, trainer: Trainer) -> None:
        """Ask for a sample; one that fails is told of and does not end the training."""
        try:
            with evaluation_mode(trainer.model), torch.no_grad():
                text = self._sample(trainer.model)
        except Exception as error:
            self.notice = f"sample raised {type(error).__name__}: {error}"
            return
        new = {"step": trainer.step, "text": str(text)[:LONGEST_SAMPLE]}
        self.samples = _thin_samples([*self.samples, new])

    def _tell(self, trainer: Trainer, status: str | None = None) -> None:
        """Tell the page, in one message, what has changed."""
        self._sent_at = time.perf_counter()
        with self.hold_sync():
            if status is not None:
                self.status = status
            self.step, self.n_steps = trainer.step, trainer.config.n_steps
            self.numbers = self._measure(trainer)
            self.arrays = self._packed()

    def _measure(self, trainer: Trainer) -> dict[str, float | None]:
        running = self.status == "running"
        since = time.perf_counter() - self._started_at if running else 0.0
        elapsed, done = self._elapsed + since, trainer.step - self._first_step
        left = elapsed / done * (trainer.config.n_steps - trainer.step) if done else None
        best = trainer.best.loss
        return {
            "loss": trainer.loss,
            "lr": trainer.lr,
            "grad_norm": trainer.grad_norm,
            "tokens_per_second": trainer.tokens_per_second,
            "seconds_per_step": trainer.seconds_per_step,
            "val_loss": trainer.val_loss,
            "best_loss": best if trainer.best.weights is not None else None,
            "elapsed": elapsed,
            "left": left,
            "memory": _memory(trainer.model),
        }

    def _packed(self) -> dict[str, Any]:
        """Return the curves for the browser."""
        thinned = {name: self._thinned(name) for name in CURVES}
        val_steps, val_losses = np.array(self._validation, dtype=float).reshape(-1, 2).T
        return {
            **{name: pack(values) for name, (_, values) in thinned.items()},
            "steps": pack(thinned["loss"][0]),
            "val_steps": pack(val_steps),
            "val_loss": pack(val_losses),
        }

    def _thinned(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return steps and values of a curve, at most `MOST_POINTS` of each, as means."""
        return thin(self._steps, self._values[name])

    # --- What the page asks for. This may run in another thread while the trainer runs. ---

    def _on_message(self, _widget: Any, content: Any, _buffers: Any = None) -> None:
        """Set the trainer's flags, and nothing else."""
        kind = content.get("kind") if isinstance(content, dict) else None
        act = {
            "pause": self._trainer.pause,
            "go_on": self._trainer.go_on,
            "stop": self._trainer.stop,
        }.get(kind)
        if act is not None:
            act()


def _on_command_line(line: Any, opened: dict[str, Any]) -> None:
    """Listen to a page that has opened a line to one of the dashboards."""
    dashboard = _open_dashboards.get(opened["content"]["data"].get("key"))
    if dashboard is not None:
        line.on_msg(lambda message: dashboard._on_message(dashboard, message["content"]["data"]))


def thin(steps: list[int], values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return a curve with at most `MOST_POINTS` points: the mean of each group of neighbours.

    Args:
        steps: where the values stand, rising.
        values: as many.

    Returns:
        The last step and the mean value of each group.
    """
    xs, ys = np.array(steps, dtype=float), np.array(values, dtype=float)
    size = -(-len(xs) // MOST_POINTS)
    if size <= 1:
        return xs, ys
    starts = np.arange(0, len(xs), size)
    counts = np.diff(np.append(starts, len(xs)))
    return xs[np.append(starts[1:], len(xs)) - 1], np.add.reduceat(ys, starts) / counts


def _thin_samples(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return at most `MOST_SAMPLES` samples: the newest, and every other of the earlier ones."""
    if len(samples) <= MOST_SAMPLES:
        return samples
    return [*samples[:-1:2], samples[-1]]


def _memory(model: nn.Module) -> int:
    """Return the bytes in use: of tensors on a GPU if the model is there, else of the process."""
    device = next(model.parameters()).device
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    return psutil.Process().memory_info().rss


def _wrapped(text: str, width: int) -> str:
    """Return `text` in lines of at most `width` characters, with no sign that starts a formula."""
    import textwrap

    lines = [textwrap.fill(line, width) for line in text.split("\n")]
    return "\n".join(lines[:5]).replace("$", r"\$")


def _require_arguments(trainer: Any, floor: Any, sample: Any) -> None:
    if not isinstance(trainer, Trainer):
        raise TypeError(f"trainer must be a Trainer, not {type(trainer).__name__}")
    if floor is not None:
        require_range("floor", floor, 0.0, 1e9)
    if sample is not None and not callable(sample):
        raise TypeError(
            "sample must be a function that takes the model and returns a text, "
            f"not {type(sample).__name__}"
        )
