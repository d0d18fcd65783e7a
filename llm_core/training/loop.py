"""The training loop. Nothing here knows what kind of model is trained.

`TrainConfig` says how to train and `Trainer.run` is the loop; `Trainer.train_step` makes one update
of the weights. Validation, early stopping and checkpoints are in the modules beside this one.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from llm_core.files import as_path
from llm_core.optim import (
    LARGEST_LR,
    AdamW,
    Muon,
    clip_grad_norm,
    muon_groups,
    parameter_groups,
    warmup_cosine,
    warmup_stable_decay,
)
from llm_core.training.checkpoints import load_checkpoint, save_checkpoint
from llm_core.training.evaluation import (
    Batch,
    LossFunction,
    count_targets,
    evaluate,
    model_loss,
    require_one_loss,
)
from llm_core.training.folder import require_writable_folder
from llm_core.training.interrupt import TrainingInterrupted, ctrl_c_as_flag, ctrl_c_held
from llm_core.training.stopping import EarlyStopping
from llm_core.training.weights import set_weights
from llm_core.validate import (
    require_choice,
    require_module,
    require_positive_int,
    require_range,
    unwrap_numpy_numbers,
)

PRECISIONS = ("float32", "bfloat16")
"""What the model can compute in while it trains; weights and updates stay in float32."""

EVENTS = ("start", "step", "evaluate", "checkpoint", "pause", "end")
"""What `Trainer.on` can wait for; "end" comes also when Ctrl-C or an error ends the run."""

PAUSE_POLL = 0.05
"""Seconds between two looks at whether a paused run shall go on."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        n_steps: updates of the weights, in all.
        max_lr: the highest learning rate, reached after the warm-up.
        min_lr: the lowest, reached at the end; None means a tenth of `max_lr`.
        warmup_steps: steps in which the rate climbs; None means a twentieth of `n_steps`.
        decay_steps: None takes half a cosine down, see `optim.warmup_cosine`; a number keeps the
            rate level and then goes down straight in that many steps at the end, see
            `optim.warmup_stable_decay`.
        muon_lr: the highest learning rate of `optim.Muon` for the matrices of the blocks, about
            0.02; None trains everything with AdamW.
        muon_momentum: see `optim.Muon`; 0.9 suits short runs.
        weight_decay: decay of the matrices, see `optim.parameter_groups`.
        betas: see `optim.AdamW`. 0.95 rather than 0.999 forgets an outlier sooner.
        max_norm: the longest gradient, see `optim.clip_grad_norm`.
        accumulation_steps: batches whose gradients are joined into one update; they count by
            their number of targets, so that uneven batches give the same as one large one.
        precision: "float32", or "bfloat16" for the matrix products of the forward and backward
            pass, which a GPU does several times faster; weights and updates stay in float32.
        eval_interval: steps between two looks at the validation set.
        checkpoint_interval: steps between two checkpoints.
        patience: stop after this many evaluations in a row without a better validation loss;
            None never stops early.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range.
    """

    n_steps: int = 1000
    max_lr: float = 1e-3
    min_lr: float | None = None
    warmup_steps: int | None = None
    decay_steps: int | None = None
    muon_lr: float | None = None
    muon_momentum: float = 0.9
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float = 1.0
    accumulation_steps: int = 1
    precision: str = "float32"
    eval_interval: int = 100
    checkpoint_interval: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        unwrap_numpy_numbers(self)
        counts = ("n_steps", "accumulation_steps", "eval_interval", "checkpoint_interval")
        for name in counts:
            require_positive_int(name, getattr(self, name))
        require_range("max_lr", self.max_lr, 0.0, LARGEST_LR, open_low=True)
        if self.min_lr is None:
            object.__setattr__(self, "min_lr", self.max_lr / 10)
        if self.warmup_steps is None:
            object.__setattr__(self, "warmup_steps", self.n_steps // 20)
        self.lr_at(0)  # validates the schedule
        if self.muon_lr is not None:
            require_range("muon_lr", self.muon_lr, 0.0, LARGEST_LR, open_low=True)
        require_range("muon_momentum", self.muon_momentum, 0.0, 0.9999)
        require_choice("precision", self.precision, PRECISIONS)
        require_range("weight_decay", self.weight_decay, 0.0, 1e3)
        require_range("max_norm", self.max_norm, 0.0, math.inf, open_low=True)
        if self.patience is not None:
            require_positive_int("patience", self.patience)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        plan = (step, self.warmup_steps, self.n_steps)
        if self.decay_steps is None:
            return warmup_cosine(*plan, self.max_lr, self.min_lr)
        return warmup_stable_decay(*plan, self.decay_steps, self.max_lr, self.min_lr)


class Trainer:
    """A loop that trains any model, tells whoever listens, and can stop and go on exactly.

    The model is anything with `model(x, targets=y) -> (_, loss)`, or anything at all with a `loss`
    function of your own. What happens besides the update hangs on events:

        trainer = Trainer(model, lambda: get_batch(ids, 16, 64), TrainConfig(n_steps=500))
        trainer.on("evaluate", lambda t: print(t.step, t.val_loss))
        trainer.run()

    Attributes:
        step: updates made so far.
        loss: mean training loss of the last step, before its update.
        val_loss: the last validation loss, None before the first.
        lr: learning rate of the last step.
        grad_norm: length of the last gradient before clipping.
        tokens_per_second: targets trained on in a second, over the last few steps.
        seconds_per_step: time that a step takes, over the last few steps.
        best: an `EarlyStopping`; `best.loss`, `best.step` and `best.weights` are the best so far.
        history: one dictionary for each evaluation: step, loss, val_loss, lr.

    Args:
        model: what to train, already on its device.
        next_batch: called without arguments for each batch; returns (x, y).
        config: how to train.
        validation: the same batches for each evaluation; none means no validation.
        loss: called as `loss(model, batch)`; returns the mean over the batch's targets.
        optimizer: by default `AdamW` on `parameter_groups`, or with `config.muon_lr` `Muon` on
            `muon_groups`. A group's rate is the schedule's, times its "lr_scale" if it has one.
        generators: the random generators that `next_batch` draws from, by name. A checkpoint
            holds their states, so that a resumed run sees the same batches.
        folder: where checkpoints go; None keeps none.
        write_extras: called with a checkpoint's folder, to write what else belongs in it
            (a config, a tokenizer) before it counts as complete.
        progress: show a progress bar on stderr.

    Raises:
        TypeError: an argument of the wrong kind.
    """

    def __init__(
        self,
        model: nn.Module,
        next_batch: Callable[[], Batch],
        config: TrainConfig | None = None,
        *,
        validation: Sequence[Batch] = (),
        loss: LossFunction = model_loss,
        optimizer: torch.optim.Optimizer | None = None,
        generators: Mapping[str, torch.Generator] | None = None,
        folder: str | Path | None = None,
        write_extras: Callable[[Path], None] | None = None,
        progress: bool = True,
    ) -> None:
        _require_trainer_arguments(model, next_batch, config, loss)
        self.model, self.next_batch, self.loss_function = model, next_batch, loss
        self.config = config or TrainConfig()
        self.validation = list(validation)
        self.optimizer = optimizer or self._default_optimizer()
        self.generators = dict(generators or {})
        self.folder = None if folder is None else as_path("folder", folder)
        self.write_extras, self.progress = write_extras, progress
        self.best = EarlyStopping(self.config.patience)
        self.step = 0
        self.loss = self.val_loss = self.lr = self.grad_norm = None
        self.tokens_per_second = self.seconds_per_step = 0.0
        self.history: list[dict[str, Any]] = []
        self._callbacks: dict[str, list[Callable[[Trainer], None]]] = {name: [] for name in EVENTS}
        self._saved_step: int | None = None
        self._paused, self._stopped = threading.Event(), threading.Event()

    def on(self, event: str, callback: Callable[["Trainer"], None]) -> None:
        """Call `callback(trainer)` at each `event`, one of `EVENTS`.

        Raises:
            ValueError: no such event.
            TypeError: the callback cannot be called.
        """
        if event not in EVENTS:
            raise ValueError(f"event must be one of {', '.join(EVENTS)}, not {event!r}")
        if not callable(callback):
            raise TypeError(f"callback must be a function, not {type(callback).__name__}")
        self._callbacks[event].append(callback)

    def run(self) -> None:
        """Train until `n_steps`, or until `best` says to stop; save at intervals and at the end.

        Ctrl-C is taken at the end of a step: what was trained is saved, then it goes on up. A
        second one, a second or more later, stops in the middle of the step without saving; while
        a checkpoint is written, none does. `stop` ends the run without an error; called again,
        `run` goes on from there.

        Raises:
            TrainingInterrupted: Ctrl-C; says what was saved.
            FloatingPointError: the loss or the gradient became NaN or infinite; the weights are
                those before that step, and the last checkpoint stays.
            OSError: a checkpoint could not be written; the one before stays.
        """
        if self.folder is not None:
            require_writable_folder(self.folder)
        self._paused.clear()
        self._stopped.clear()
        self._emit("start")
        try:
            with ctrl_c_as_flag() as interrupted, self._progress_bar() as bar:
                while not self._finished():
                    self._take_turn()
                    self._show(bar)
                    self._wait_while_paused(interrupted)
                    if interrupted.is_set():
                        self._stop_for_interrupt()
                self.save()
                if interrupted.is_set():
                    self._stop_for_interrupt()
        finally:
            self._emit("end")

    def pause(self) -> None:
        """Hold the run after the present step until `go_on` or `stop`; from any thread."""
        self._paused.set()

    def go_on(self) -> None:
        """Let a paused run go on; from any thread."""
        self._paused.clear()

    def stop(self) -> None:
        """End the run after the present step and save, as at its last step; from any thread."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """True from `stop` until the next run."""
        return self._stopped.is_set()

    def train_step(self) -> None:
        """Make one update of the weights, from `accumulation_steps` batches.

        Raises:
            TypeError, ValueError: `next_batch` returned no batch, or `loss` no number to derive.
            FloatingPointError: the loss or the gradient is NaN or infinite; nothing is updated.
        """
        started = time.perf_counter()
        self.model.train()
        self.lr = self._set_lr()
        batches = [self.next_batch() for _ in range(self.config.accumulation_steps)]
        n_targets = sum(count_targets(batch) for batch in batches)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss = sum(self._backward(batch, n_targets) for batch in batches)
        self._require_finite("loss", self.loss)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.grad_norm = clip_grad_norm(parameters, self.config.max_norm).item()
        self._require_finite("gradient's length", self.grad_norm)
        self.optimizer.step()
        self.step += 1
        self._measure_speed(n_targets, time.perf_counter() - started)
        self._emit("step")

    def evaluate(self) -> float:
        """Measure the validation loss, remember the weights if it is the best, and return it.

        Raises:
            ValueError: the trainer has no validation batches.
            FloatingPointError: the loss is NaN or infinite.
        """
        with self._precision():
            self.val_loss = evaluate(self.model, self.validation, self.loss_function)
        self._require_finite("validation loss", self.val_loss)
        self.best.update(self.val_loss, self.step, self.model)
        self.history.append(
            {"step": self.step, "loss": self.loss, "val_loss": self.val_loss, "lr": self.lr}
        )
        self._emit("evaluate")
        return self.val_loss

    def save(self) -> None:
        """Write a checkpoint of this moment, unless there is no folder or it was just written."""
        if self.folder is None or self._saved_step == self.step:
            return
        with ctrl_c_held():
            save_checkpoint(
                self.folder,
                self.model,
                self.optimizer,
                step=self.step,
                generators=self.generators,
                best_weights=self.best.weights,
                extra={
                    "config": asdict(self.config),
                    "loss": self.loss,
                    "val_loss": self.val_loss,
                    "best": self.best.state(),
                    "history": self.history,
                },
                write_extras=self.write_extras,
            )
            self._saved_step = self.step
        self._emit("checkpoint")

    def resume(self, folder: str | Path | None = None) -> None:
        """Go back to where a checkpoint was: weights, optimizer, generators, best, history.

        A run that is resumed ends with the same weights, bit for bit, as one that never stopped.

        Args:
            folder: where the checkpoints are; by default the trainer's own folder.

        Raises:
            FileNotFoundError, ValueError: no checkpoint there, damaged, or of another model.
        """
        folder = folder if folder is not None else self.folder
        if folder is None:
            raise ValueError("this trainer keeps no checkpoints; give resume() a folder")
        saved = load_checkpoint(folder, self.model, self.optimizer, generators=self.generators)
        self.step = self._saved_step = saved.step
        self.loss, self.val_loss = saved.extra.get("loss"), saved.extra.get("val_loss")
        self.history = list(saved.extra.get("history", []))
        self.best.restore_state(saved.extra.get("best", {}), saved.best_weights)
        if self.folder is None or Path(folder).resolve() != self.folder.resolve():
            self._saved_step = None

    def use_best_weights(self) -> None:
        """Put the weights of the best evaluation into the model; without any, change nothing."""
        if self.best.weights is not None:
            set_weights(self.model, self.best.weights)

    def _default_optimizer(self) -> AdamW:
        config = self.config
        settings = {"lr": config.max_lr, "betas": config.betas}
        if config.muon_lr is None:
            return AdamW(parameter_groups(self.model, config.weight_decay), **settings)
        lr_scale = config.muon_lr / config.max_lr
        groups = muon_groups(self.model, config.weight_decay, lr_scale)
        return Muon(groups, momentum=config.muon_momentum, **settings)

    def _set_lr(self) -> float:
        """Give every parameter group the rate of this step, and return the schedule's."""
        lr = self.config.lr_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        return lr

    def _backward(self, batch: Batch, n_targets: int) -> float:
        """Add one batch's share of the gradient, and return its share of the mean loss."""
        with self._precision():
            loss = self.loss_function(self.model, batch)
        require_one_loss(loss)
        if not loss.requires_grad:
            raise ValueError(
                "the loss has no gradient; compute it from the model's outputs, without .detach(), "
                ".item() or torch.no_grad()"
            )
        loss = loss * (count_targets(batch) / n_targets)
        loss.backward()
        return loss.item()

    def _precision(self) -> torch.autocast:
        """Return a block in which matrix products are in the config's precision."""
        device = next(self.model.parameters()).device.type
        lower = self.config.precision == "bfloat16"
        return torch.autocast(device, torch.bfloat16, enabled=lower)

    def _take_turn(self) -> None:
        """Make one update, and evaluate and save when it is time."""
        self.train_step()
        if self._due(self.config.eval_interval) and self.validation:
            self.evaluate()
        if self._due(self.config.checkpoint_interval):
            self.save()

    def _finished(self) -> bool:
        """Say whether the run is at its end: the last step, early stopping, or `stop`."""
        stopped = self.best.should_stop or self.stopped
        return stopped or self.step >= self.config.n_steps

    def _wait_while_paused(self, interrupted: threading.Event) -> None:
        if not self._paused.is_set() or self._finished():
            return
        self._emit("pause")
        while self._paused.is_set() and not self.stopped and not interrupted.is_set():
            time.sleep(PAUSE_POLL)

    def _due(self, interval: int) -> bool:
        return self.step % interval == 0 or self.step == self.config.n_steps

    def _emit(self, event: str) -> None:
        for callback in self._callbacks[event]:
            callback(self)

    def _measure_speed(self, n_targets: int, seconds: float) -> None:
        """Keep running means of speed and time, so that the bar does not jump."""
        rate = n_targets / seconds
        self.tokens_per_second = 0.9 * (self.tokens_per_second or rate) + 0.1 * rate
        self.seconds_per_step = 0.9 * (self.seconds_per_step or seconds) + 0.1 * seconds

    def _progress_bar(self) -> tqdm:
        return tqdm(
            total=self.config.n_steps,
            initial=self.step,
            unit="step",
            desc="training",
            disable=not self.progress,
            dynamic_ncols=True,
        )

    def _show(self, bar: tqdm) -> None:
        """Advance the bar by one step and write the figures beside it."""
        parts = [f"loss {self.loss:.3f}"]
        if self.val_loss is not None:
            parts.append(f"val {self.val_loss:.3f}")
        parts += [f"lr {self.lr:.1e}", f"{self.tokens_per_second:,.0f} tokens/s"]
        bar.set_postfix_str(", ".join(parts), refresh=False)
        bar.update()

    def _stop_for_interrupt(self) -> None:
        with ctrl_c_held(drop=True):
            self.save()
        where = "nothing was saved, as the trainer has no folder"
        if self.folder is not None:
            where = f"saved in {self.folder}; to go on, make the same Trainer and call resume()"
        raise TrainingInterrupted(f"stopped after step {self.step}: {where}")

    def _require_finite(self, what: str, value: float) -> None:
        """Raise with advice when a number shows that training has blown up."""
        if math.isfinite(value):
            return
        kept = "No checkpoint was written yet."
        if self.folder is not None and self._saved_step is not None:
            kept = f"The checkpoint of step {self._saved_step} in {self.folder} is untouched."
        raise FloatingPointError(
            f"the {what} is {value} at step {self.step} (learning rate {self.lr:.1e}), so training "
            f"stopped before it could spoil the weights. {kept} "
            "Try a lower max_lr, a longer warm-up or a smaller max_norm; if it happens at step 0, "
            "look for NaN in the input."
        )


def _require_trainer_arguments(model: Any, next_batch: Any, config: Any, loss: Any) -> None:
    require_module("model", model)
    if not callable(next_batch):
        raise TypeError(
            "next_batch must be a function that returns (x, y), for example "
            f"lambda: get_batch(ids, 16, 64), not {type(next_batch).__name__}"
        )
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, not {type(config).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be a function of (model, batch), not {type(loss).__name__}")
