"""Two ways to train a small model: the classic one, and the course's, which learns much faster."""

from dataclasses import dataclass, field
from typing import Any

from llm_core.config import GPTConfig
from llm_core.training import TrainConfig


@dataclass(frozen=True)
class Recipe:
    """What a run is made of, but for its text and its sizes.

    Attributes:
        batch_size: windows in a batch.
        variants: the fields of `GPTConfig` that say what the model's parts are.
        settings: the fields of `TrainConfig` that say how it is trained.
        straight_down: let the rate fall in a straight line from the first step to the last,
            instead of along a cosine.
        whole_passes: read the text pass by pass (`data.shuffled_batches`), no window twice in a
            pass, instead of drawing windows anywhere; for runs of several passes.
    """

    batch_size: int
    variants: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    straight_down: bool = False
    whole_passes: bool = False

    def model_config(self, **sizes: Any) -> GPTConfig:
        """Return the config of a model of the given sizes."""
        return GPTConfig(**self.variants, **sizes)

    def train_config(self, n_steps: int, **changes: Any) -> TrainConfig:
        """Return how to train for `n_steps`; `changes` go before the recipe's own settings."""
        decay_steps = {"decay_steps": n_steps} if self.straight_down else {}
        return TrainConfig(n_steps=n_steps, **(decay_steps | self.settings | changes))


CLASSIC = Recipe(
    batch_size=12,
    variants={"positions": "learned", "norm": "layernorm", "activation": "gelu"},
    settings={
        "max_lr": 1e-3,
        "min_lr": 1e-4,
        "warmup_steps": 100,
        "betas": (0.9, 0.99),
        "weight_decay": 0.1,
    },
)
"""GPT-2's parts and AdamW with a cosine: what most small models are trained with."""

COURSE = Recipe(
    batch_size=32,
    variants={
        "positions": "rotary",
        "norm": "rmsnorm",
        "activation": "swiglu",
        "qk_norm": True,
        "bias": False,
    },
    settings={
        "max_lr": 1e-2,
        "min_lr": 0.0,
        "warmup_steps": 0,
        "muon_lr": 0.02,
        "weight_decay": 0.0,
    },
    straight_down=True,
)
"""Rotary positions, RMSNorm, SwiGLU and normalised queries and keys; Muon for the matrices of the
blocks, AdamW for the rest, and a rate that goes down straight from the first step to the last."""
