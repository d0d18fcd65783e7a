"""What a training run is made of: the choices, and sensible defaults for each kind of text."""

import os
import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from llm_core import files
from llm_core.config import GPTConfig
from llm_core.training import POINTER_FILE, TrainConfig
from llm_core.validate import (
    require_choice,
    require_count,
    require_positive_int,
    require_range,
    require_text,
)

CHECKPOINTS = Path("checkpoints")
"""Where runs go, from the folder in which the command is given."""

RUN_FILE = "run.json"
"""In each checkpoint: the settings, and a fingerprint of the text."""

LARGEST_SEED = 2**63 - 1
"""What a torch generator takes."""

TOKENIZERS = ("char", "word", "bpe")


def require_seed(seed: int) -> None:
    """Raise unless `seed` can start a generator."""
    require_count("seed", seed)
    require_range("seed", seed, 0, LARGEST_SEED)


@dataclass(frozen=True)
class Settings:
    """Every choice of a run; `RECIPES` holds the defaults.

    Attributes:
        text: a name or path for `corpus.load_text`.
        n_stories: how many stories to draw, when `text` is "stories".
        tokenizer: "char", "word" or "bpe".
        vocab_size: tokens that "bpe" learns; the others take what the text holds.
        context_length, d_model, n_layers, n_heads, dropout, positions: see `GPTConfig`.
        batch_size: windows in a batch.
        steps: updates of the weights.
        lr: the highest learning rate.
        patience: evaluations without a better loss before stopping; None never stops early.
        seed: start of all chance: the weights, the order of the batches, the sample.
    """

    text: str = "stories"
    n_stories: int = 20_000
    tokenizer: str = "bpe"
    vocab_size: int = 1024
    context_length: int = 128
    d_model: int = 128
    n_layers: int = 3
    n_heads: int = 4
    dropout: float = 0.0
    positions: str = "learned"
    batch_size: int = 16
    steps: int = 1200
    lr: float = 2e-3
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        require_text("text", self.text)
        require_positive_int("stories", self.n_stories)
        require_choice("tokenizer", self.tokenizer, TOKENIZERS)
        require_seed(self.seed)
        for name in ("vocab_size", "batch_size", "steps"):
            require_positive_int(name, getattr(self, name))
        self.model_config(vocab_size=1)
        self.train_config()

    def model_config(self, vocab_size: int) -> GPTConfig:
        """Return the config of the run's model."""
        return GPTConfig(
            vocab_size=vocab_size,
            context_length=self.context_length,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            dropout=self.dropout,
            positions=self.positions,
        )

    def train_config(self) -> TrainConfig:
        """Return how to train: evaluate and save ten times, at least every 100 steps."""
        interval = min(100, max(1, self.steps // 10))
        return TrainConfig(
            n_steps=self.steps,
            max_lr=self.lr,
            eval_interval=interval,
            checkpoint_interval=interval,
            patience=self.patience,
        )

    @property
    def is_stories(self) -> bool:
        """True when the text is drawn from the grammar, so that its entropy floor is known."""
        return self.text == "stories"


STORIES = Settings(tokenizer="word", context_length=100, batch_size=24, steps=1500)
RECIPES: dict[str, Settings] = {
    "stories": STORIES,
    "text": Settings(),
    # Rotary positions let it continue a story that begins anywhere, and its heads are easy to read.
    "storyteller": replace(
        STORIES, n_stories=50_000, positions="rotary", batch_size=32, lr=3e-3, steps=6000
    ),
}
"""Defaults by name: for the stories, for any other text, and for the model in `assets/`."""


def make_settings(recipe: str | None, given: Mapping[str, Any]) -> Settings:
    """Return a recipe's settings with those that were given in their place.

    Args:
        recipe: a name of `RECIPES`; None picks the one that suits the text.
        given: settings by name; None stands for one that was not given.
    """
    given = {name: value for name, value in given.items() if value is not None}
    if recipe is None:
        recipe = "stories" if given.get("text", "stories") == "stories" else "text"
    require_choice("preset", recipe, tuple(RECIPES))
    return replace(RECIPES[recipe], **given)


def write_run(folder: Path, settings: Settings, fingerprint: str) -> None:
    """Write the settings into a checkpoint, so that `--resume` needs nothing else."""
    files.write_json(folder / RUN_FILE, {"settings": asdict(settings), "text_sha256": fingerprint})


def read_run(folder: Path) -> tuple[Settings, str]:
    """Return the settings and the text's fingerprint from a checkpoint.

    Raises:
        FileNotFoundError: the checkpoint was not written by this command.
        ValueError: the file is damaged.
    """
    run = files.read_json(folder / RUN_FILE)
    try:
        return Settings(**run["settings"]), str(run["text_sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{folder / RUN_FILE} does not hold the settings of a run ({error}); it may be "
            "damaged or of another version: train again"
        ) from error


def quoted(argument: str | Path) -> str:
    """Return `argument` as it must be typed, in quotes where it holds a space or the like."""
    if os.name == "nt":
        return subprocess.list2cmdline([str(argument)])
    return shlex.quote(str(argument))


def run_name(settings: Settings) -> str:
    """Return a folder name for a run: the text's name, or the stem of its path."""
    stem = Path(settings.text).expanduser().resolve().stem
    return re.sub(r"[^\w.-]+", "-", stem)[:80] or "run"


def free_folder(name: str) -> Path:
    """Return `checkpoints/name`, or with -2, -3 … the first that no run has taken."""
    folder, n = CHECKPOINTS / name, 1
    while (folder / POINTER_FILE).exists():
        n += 1
        folder = CHECKPOINTS / f"{name}-{n}"
    return folder


def newest_run() -> Path | None:
    """Return the run under `checkpoints/` that was saved last, or None."""
    pointers = list(CHECKPOINTS.glob(f"*/{POINTER_FILE}"))
    newest = max(pointers, key=lambda pointer: pointer.stat().st_mtime, default=None)
    return None if newest is None else newest.parent


def pick_device(name: str | None = None) -> torch.device:
    """Return the device asked for, or the best there is: cuda, then mps, then cpu.

    Raises:
        ValueError: a device that this machine does not have, or no device at all.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name is None:
        return torch.device(next(kind for kind, there in available.items() if there))
    require_choice("device", name, tuple(available))
    if not available[name]:
        usable = [kind for kind, there in available.items() if there]
        raise ValueError(f"device {name!r} is not available here; use one of {usable}")
    return torch.device(name)
