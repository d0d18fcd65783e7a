"""Early stopping: when the validation loss no longer falls, go back to where it was lowest."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from llm_core.training.weights import get_weights
from llm_core.validate import require_positive_int, require_range


class EarlyStopping:
    """Keeps the weights with the best validation loss, and says when to give up waiting.

    Prechelt 1998, "Early Stopping – But When?", https://doi.org/10.1007/3-540-49430-8_3.

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
