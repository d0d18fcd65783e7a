"""The training loop and its checkpoints. Nothing here knows what kind of model is trained."""

import math
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from llm_core.files import read_json, read_tensors, write_json, write_tensors
from llm_core.optim import LARGEST_LR, AdamW, clip_grad_norm, parameter_groups, warmup_cosine
from llm_core.validate import require_positive_int, require_range

Batch = tuple[torch.Tensor, torch.Tensor]
LossFunction = Callable[[nn.Module, Batch], torch.Tensor]

EVENTS = ("start", "step", "evaluate", "checkpoint", "end")
"""What `Trainer.on` can wait for."""

MODEL_FILE, TRAINING_FILE, STATE_FILE = "model.safetensors", "training.json", "training.safetensors"
POINTER_FILE = "latest.json"
_STEP_FOLDER = re.compile(r"step-\d+(-\d+)?(\.partial)?")


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped the training after a whole step; the message says what was saved where."""


# ------------------------------------------------------------------------------ the loop


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Attributes:
        n_steps: updates of the weights, in all.
        max_lr: the highest learning rate, reached after the warm-up.
        min_lr: the lowest, reached at the end; None means a tenth of `max_lr`.
        warmup_steps: steps in which the rate climbs; None means a twentieth of `n_steps`.
        weight_decay: decay of the matrices, see `optim.parameter_groups`.
        betas: see `optim.AdamW`. 0.95 rather than 0.999 forgets an outlier sooner.
        max_norm: the longest gradient, see `optim.clip_grad_norm`.
        accumulation_steps: batches whose gradients are joined into one update; they count by
            their number of targets, so that uneven batches give the same as one large one.
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
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    max_norm: float = 1.0
    accumulation_steps: int = 1
    eval_interval: int = 100
    checkpoint_interval: int = 100
    patience: int | None = None

    def __post_init__(self) -> None:
        counts = ("n_steps", "accumulation_steps", "eval_interval", "checkpoint_interval")
        for name in counts:
            require_positive_int(name, getattr(self, name))
        require_range("max_lr", self.max_lr, 0.0, LARGEST_LR, open_low=True)
        if self.min_lr is None:
            object.__setattr__(self, "min_lr", self.max_lr / 10)
        if self.warmup_steps is None:
            object.__setattr__(self, "warmup_steps", self.n_steps // 20)
        warmup_cosine(0, self.warmup_steps, self.n_steps, self.max_lr, self.min_lr)  # validates
        require_range("weight_decay", self.weight_decay, 0.0, 1e3)
        require_range("max_norm", self.max_norm, 0.0, math.inf, open_low=True)
        if self.patience is not None:
            require_positive_int("patience", self.patience)


def model_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the loss of a model that computes its own: `model(x, targets=y)[1]`."""
    x, y = batch
    return model(x, targets=y)[1]


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
        best: an `EarlyStopping`; `best.loss`, `best.step` and `best.weights` are the best so far.
        history: one dictionary for each evaluation: step, loss, val_loss, lr.

    Args:
        model: what to train, already on its device.
        next_batch: called without arguments for each batch; returns (x, y).
        config: how to train.
        validation: the same batches for each evaluation; none means no validation.
        loss: called as `loss(model, batch)`; returns the mean over the batch's targets.
        optimizer: by default `AdamW` on `parameter_groups`.
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
        self.folder = None if folder is None else Path(folder)
        self.write_extras, self.progress = write_extras, progress
        self.best = EarlyStopping(self.config.patience)
        self.step = 0
        self.loss = self.val_loss = self.lr = self.grad_norm = None
        self.tokens_per_second = 0.0
        self.history: list[dict[str, Any]] = []
        self._callbacks: dict[str, list[Callable[[Trainer], None]]] = {name: [] for name in EVENTS}
        self._saved_step: int | None = None

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
        second Ctrl-C stops at once, without saving.

        Raises:
            TrainingInterrupted: Ctrl-C; says what was saved.
            FloatingPointError: the loss or the gradient became NaN or infinite; the weights are
                those before that step, and the last checkpoint stays.
            OSError: a checkpoint could not be written; the one before stays.
        """
        if self.folder is not None:
            require_writable_folder(self.folder)
        self._emit("start")
        with _ctrl_c_as_flag() as interrupted, self._progress_bar() as bar:
            while self.step < self.config.n_steps and not self.best.should_stop:
                self.train_step()
                if self._due(self.config.eval_interval) and self.validation:
                    self.evaluate()
                if self._due(self.config.checkpoint_interval):
                    self.save()
                self._show(bar)
                if interrupted.is_set():
                    self._stop_for_interrupt()
        self.save()
        self._emit("end")

    def train_step(self) -> None:
        """Make one update of the weights, from `accumulation_steps` batches."""
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
        self._measure_speed(n_targets / (time.perf_counter() - started))
        self._emit("step")

    def evaluate(self) -> float:
        """Measure the validation loss, remember the weights if it is the best, and return it."""
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
        groups = parameter_groups(self.model, self.config.weight_decay)
        return AdamW(groups, lr=self.config.max_lr, betas=self.config.betas)

    def _set_lr(self) -> float:
        """Give every parameter group the rate of this step, and return it."""
        config = self.config
        lr = warmup_cosine(
            self.step, config.warmup_steps, config.n_steps, config.max_lr, config.min_lr
        )
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        return lr

    def _backward(self, batch: Batch, n_targets: int) -> float:
        """Add one batch's share of the gradient, and return its share of the mean loss."""
        loss = self.loss_function(self.model, batch) * (count_targets(batch) / n_targets)
        loss.backward()
        return loss.item()

    def _due(self, interval: int) -> bool:
        return self.step % interval == 0 or self.step == self.config.n_steps

    def _emit(self, event: str) -> None:
        for callback in self._callbacks[event]:
            callback(self)

    def _measure_speed(self, rate: float) -> None:
        """Keep a running mean of the speed, so that the bar does not jump."""
        before = self.tokens_per_second or rate
        self.tokens_per_second = 0.9 * before + 0.1 * rate

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


class EarlyStopping:
    """Keeps the weights with the best validation loss, and says when to give up waiting.

    Attributes:
        loss: the best validation loss so far, infinite before the first.
        step: the step it was measured at.
        weights: the model's weights then, copied; None before the first.
        waited: evaluations since.

    Args:
        patience: give up after this many evaluations in a row without a better one; None never.
        min_delta: how much lower a loss must be to count as better.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range.
    """

    def __init__(self, patience: int | None = None, min_delta: float = 0.0) -> None:
        if patience is not None:
            require_positive_int("patience", patience)
        require_range("min_delta", min_delta, 0.0, 1e9)
        self.patience, self.min_delta = patience, min_delta
        self.loss, self.step, self.waited = math.inf, 0, 0
        self.weights: dict[str, torch.Tensor] | None = None

    @property
    def should_stop(self) -> bool:
        """True once `patience` evaluations in a row were no better."""
        return self.patience is not None and self.waited >= self.patience

    def update(self, loss: float, step: int, model: nn.Module) -> bool:
        """Take note of a validation loss; return True, and copy the weights, if it is the best."""
        if loss < self.loss - self.min_delta:
            self.loss, self.step, self.waited = loss, step, 0
            self.weights = {name: w.detach().clone() for name, w in get_weights(model).items()}
            return True
        self.waited += 1
        return False

    def state(self) -> dict[str, Any]:
        """Return what JSON can hold of it; the weights are saved as tensors."""
        loss = self.loss if math.isfinite(self.loss) else None
        return {"loss": loss, "step": self.step, "waited": self.waited}

    def restore_state(
        self, state: Mapping[str, Any], weights: dict[str, torch.Tensor] | None
    ) -> None:
        """Go back to a state that `state()` returned, with the weights that belong to it."""
        loss = state.get("loss")
        self.loss = math.inf if loss is None else loss
        self.step, self.waited = state.get("step", 0), state.get("waited", 0)
        self.weights = None if loss is None else weights


def evaluate(model: nn.Module, batches: Sequence[Batch], loss: LossFunction = model_loss) -> float:
    """Return the mean loss per target over `batches`, in evaluation mode and without gradients.

    Raises:
        ValueError: there are no batches, or no targets in them.
    """
    total, n_targets = 0.0, 0
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            n = count_targets(batch)
            total += loss(model, batch).item() * n
            n_targets += n
    if n_targets == 0:
        raise ValueError("batches hold no targets; give at least one batch to evaluate on")
    return total / n_targets


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch dropout and the like off inside the block; afterwards every module is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def count_targets(batch: Batch) -> int:
    """Return how many targets a batch has; integer targets below 0 mark places to ignore."""
    targets = batch[1]
    if targets.is_floating_point():
        return targets.numel()
    return int((targets >= 0).sum())


# --------------------------------------------------------------------------- checkpoints


@dataclass(frozen=True)
class Checkpoint:
    """What `load_checkpoint` read besides the weights, which are already in the model.

    Attributes:
        path: the folder it was read from.
        step: updates made before it was saved.
        best_weights: the weights in its `model.safetensors`: the best so far.
        extra: what the caller of `save_checkpoint` added.
    """

    path: Path
    step: int
    best_weights: dict[str, torch.Tensor]
    extra: dict[str, Any]


def save_checkpoint(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    step: int,
    generators: Mapping[str, torch.Generator] | None = None,
    best_weights: Mapping[str, torch.Tensor] | None = None,
    extra: dict[str, Any] | None = None,
    write_extras: Callable[[Path], None] | None = None,
) -> Path:
    """Write a checkpoint: all of it, or nothing.

    Each checkpoint is a folder of its own, `folder/step-000100`, written under another name and
    renamed when complete; only then does the small file `folder/latest.json` point to it. A crash
    or a full disk at any moment leaves the checkpoint before it in place, which is also kept until
    the next but one. In it:

    - `model.safetensors`: the model to use (`best_weights`, else the weights of now),
    - `training.safetensors`: the state to go on from: weights, optimizer, generators. Torch's own
      generator is among them, since dropout draws from it,
    - `training.json`: the step, the optimizer's settings and `extra`,
    - and what `write_extras` wrote.

    Args:
        folder: one training run's checkpoints; made when missing.
        model, optimizer, generators: what to save.
        step: updates made so far, from 0.
        best_weights: as `get_weights` returns them.
        extra: anything that JSON can hold.
        write_extras: called with the unfinished folder, to write further files there.

    Returns:
        The checkpoint's folder.

    Raises:
        TypeError, ValueError: an argument of the wrong kind or range.
        OSError: the folder cannot be written or the disk is full; earlier checkpoints stay.
    """
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise ValueError(f"step must be a whole number from 0, not {step!r}")
    folder = Path(folder)
    tensors = _state_tensors(model, optimizer, generators or {})
    description = {"format": 1, "step": step, "extra": extra or {}}
    if optimizer is not None:
        description["optimizer"] = _optimizer_settings(optimizer)
    partial = folder / f"step-{step:06d}.partial"
    try:
        _make_folder(partial)
        write_tensors(partial / MODEL_FILE, dict(best_weights or get_weights(model)))
        write_tensors(partial / STATE_FILE, tensors)
        write_json(partial / TRAINING_FILE, description)
        if write_extras is not None:
            write_extras(partial)
        return _publish(partial, folder, step)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_checkpoint(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None = None,
    *,
    generators: Mapping[str, torch.Generator] | None = None,
) -> Checkpoint:
    """Read a checkpoint into `model`, `optimizer` and `generators`; change none if it does not fit.

    Torch's own generator is set too, as it was when the checkpoint was saved.

    Args:
        folder: a run's folder (its latest checkpoint is read) or one `step-…` folder in it.
        model: made with the same config as the saved one.
        optimizer: with the same groups; None leaves its state unread.
        generators: the same names as were saved; None leaves them unread.

    Returns:
        The step, the best weights and what else was saved.

    Raises:
        FileNotFoundError: there is no checkpoint, or a file of it is missing.
        ValueError: a file is damaged, or the checkpoint is of another model or optimizer.
    """
    path = checkpoint_path(folder)
    description = _read_description(path)
    tensors = read_tensors(path / STATE_FILE)
    best_weights = read_tensors(path / MODEL_FILE)
    weights = _with_prefix(tensors, "model.")
    require_matching_weights(model, weights, path / STATE_FILE)
    require_matching_weights(model, best_weights, path / MODEL_FILE)
    states = _generator_states(tensors, generators or {}, path)
    if optimizer is not None:
        _restore_optimizer(optimizer, description, tensors, path)
    set_weights(model, weights, path / STATE_FILE)
    for name, generator in (generators or {}).items():
        generator.set_state(states[name])
    _restore_torch_generators(tensors)
    return Checkpoint(path, description["step"], best_weights, description["extra"])


def checkpoint_path(folder: str | Path) -> Path:
    """Return the folder of one checkpoint: `folder` itself, or the latest in it.

    Raises:
        FileNotFoundError: there is none.
        ValueError: `latest.json` is damaged.
    """
    folder = Path(folder)
    if (folder / TRAINING_FILE).is_file():
        return folder
    if not (folder / POINTER_FILE).is_file():
        raise FileNotFoundError(
            f"there is no checkpoint in {folder} (no {POINTER_FILE}). Check the path, or train "
            "first: python -m llm_core train --help"
        )
    path = folder / _read_pointer(folder)["latest"]
    if not path.is_dir():
        others = sorted(p.name for p in folder.glob("step-*") if not p.name.endswith(".partial"))
        raise FileNotFoundError(
            f"{folder / POINTER_FILE} names {path.name}, which is not there. "
            f"Complete checkpoints in {folder}: {others or 'none'}; give the path of one of them."
        )
    return path


def get_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's weights and buffers by name; tied weights once, under the first name."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    unique: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        unique.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in unique.values()}


def set_weights(
    model: nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path = "weights"
) -> None:
    """Copy `weights`, as `get_weights` returns them, into the model, in the model's dtype.

    Raises:
        ValueError: names or shapes differ from the model's; nothing is changed then.
    """
    require_matching_weights(model, weights, source)
    with torch.no_grad():
        for name, tensor in get_weights(model).items():
            tensor.copy_(weights[name])


def require_matching_weights(
    model: nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path
) -> None:
    """Raise ValueError, naming `source`, unless `weights` has the model's names and shapes."""
    own = get_weights(model)
    missing, surplus = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or surplus:
        raise ValueError(
            f"{source} does not fit the model: it lacks {missing[:3] or 'nothing'} and has "
            f"{surplus[:3] or 'nothing'} too many ({len(missing)} and {len(surplus)} in all). "
            "Make the model with the config that was saved beside the weights."
        )
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"{source} does not fit the model: {name} has shape "
                f"{tuple(weights[name].shape)}, the model's has {tuple(tensor.shape)}. "
                "Make the model with the config that was saved beside the weights."
            )


def require_writable_folder(folder: str | Path) -> None:
    """Make `folder` and try to write in it, so that a bad path shows before the work, not after.

    Raises:
        OSError: it cannot be made or written.
    """
    folder = Path(folder)
    _make_folder(folder)
    probe = folder / f"write-test.{os.getpid()}.partial"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(_cannot_write(folder, error)) from error


# ------------------------------------------------------------------------------ details


def _require_trainer_arguments(model: Any, next_batch: Any, config: Any, loss: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, not {type(model).__name__}")
    if not callable(next_batch):
        raise TypeError(
            "next_batch must be a function that returns (x, y), for example "
            f"lambda: get_batch(ids, 16, 64), not {type(next_batch).__name__}"
        )
    if config is not None and not isinstance(config, TrainConfig):
        raise TypeError(f"config must be a TrainConfig, not {type(config).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be a function of (model, batch), not {type(loss).__name__}")


@contextmanager
def _ctrl_c_as_flag() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C in the block into a flag; the second raises as usual.

    An exception in the middle of an update would leave some weights new and some old. Only the
    main thread can handle signals; elsewhere the flag is never set.
    """
    flag = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before in (None, signal.SIG_IGN):
        yield flag
        return

    def set_flag(signum: int, frame: Any) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    signal.signal(signal.SIGINT, set_flag)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(_cannot_write(folder, error)) from error


def _cannot_write(folder: Path, error: OSError) -> str:
    return (
        f"cannot write in {folder}: {error.strerror or error}. "
        "Choose a folder in which you may write, on a disk with space."
    )


def _publish(partial: Path, folder: Path, step: int) -> Path:
    """Give a complete checkpoint its name, point to it, and remove those before the last two."""
    path, n = folder / f"step-{step:06d}", 1
    while path.exists():
        n += 1
        path = folder / f"step-{step:06d}-{n}"
    previous = None
    if (folder / POINTER_FILE).is_file():
        try:
            previous = _read_pointer(folder)["latest"]
        except ValueError:
            previous = None  # a damaged pointer is about to be replaced
    os.rename(partial, path)
    write_json(folder / POINTER_FILE, {"format": 1, "latest": path.name, "previous": previous})
    for old in folder.iterdir():
        if _STEP_FOLDER.fullmatch(old.name) and old.name not in (path.name, previous):
            shutil.rmtree(old, ignore_errors=True)
    return path


def _read_pointer(folder: Path) -> dict[str, Any]:
    pointer = read_json(folder / POINTER_FILE)
    latest = pointer.get("latest") if isinstance(pointer, dict) else None
    if not isinstance(latest, str) or not _STEP_FOLDER.fullmatch(latest):
        raise ValueError(
            f"{folder / POINTER_FILE} does not name a checkpoint; it may be damaged. "
            "Give the path of one of the step-… folders beside it."
        )
    return pointer


def _read_description(path: Path) -> dict[str, Any]:
    description = read_json(path / TRAINING_FILE)
    good = isinstance(description, dict) and isinstance(description.get("step"), int)
    if not good or not isinstance(description.get("extra"), dict):
        raise ValueError(
            f"{path / TRAINING_FILE} is not the description of a checkpoint; it may be damaged. "
            "Use an earlier checkpoint, or train again."
        )
    return description


def _state_tensors(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    generators: Mapping[str, torch.Generator],
) -> dict[str, torch.Tensor]:
    """Return every tensor that going on needs, under "model.", "optimizer." and "generator."."""
    tensors = {f"model.{name}": tensor for name, tensor in get_weights(model).items()}
    states = {} if optimizer is None else optimizer.state_dict()["state"]
    for index, state in states.items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    for name, generator in generators.items():
        tensors[f"generator.{name}"] = generator.get_state()
    for device, (get_state, _) in _torch_generators().items():
        tensors[f"torch_generator.{device}"] = get_state()
    return tensors


def _torch_generators() -> dict[str, tuple[Callable[[], torch.Tensor], Callable[..., None]]]:
    """Return how to read and set the state of torch's own generator on each device there is."""
    generators = {"cpu": (torch.get_rng_state, torch.set_rng_state)}
    if torch.cuda.is_available():
        generators["cuda"] = (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
    if torch.backends.mps.is_available():
        generators["mps"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return generators


def _optimizer_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what JSON can hold of an optimizer: its groups, and which states are plain numbers."""
    saved = optimizer.state_dict()
    numbers = {
        key: type(value).__name__
        for state in saved["state"].values()
        for key, value in state.items()
        if isinstance(value, (int, float))
    }
    return {"groups": saved["param_groups"], "numbers": numbers}


def _restore_optimizer(
    optimizer: torch.optim.Optimizer,
    description: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    path: Path,
) -> None:
    """Put the saved state into `optimizer`, or raise ValueError when it does not fit."""
    advice = f"{path} does not fit the optimizer; make it with the same parameter groups"
    try:
        groups = description["optimizer"]["groups"]
        numbers = description["optimizer"]["numbers"]
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in _with_prefix(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor.item() if key in numbers else tensor
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{advice} ({type(error).__name__}: {error})") from error


def _generator_states(
    tensors: dict[str, torch.Tensor], generators: Mapping[str, torch.Generator], path: Path
) -> dict[str, torch.Tensor]:
    states = _with_prefix(tensors, "generator.")
    missing = sorted(set(generators) - set(states))
    if missing:
        raise ValueError(
            f"{path} holds no state for the generators {missing}, only for {sorted(states)}; "
            "resume with the generators that the run began with"
        )
    return states


def _restore_torch_generators(tensors: dict[str, torch.Tensor]) -> None:
    saved = _with_prefix(tensors, "torch_generator.")
    for device, (_, set_state) in _torch_generators().items():
        if device in saved:
            set_state(saved[device])


def _with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
