"""How well a model does on batches that it is not trained on: the mean loss for each target."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from llm_core.data import Batch

LossFunction = Callable[[nn.Module, Batch], torch.Tensor]
"""Called as `loss(model, batch)`; returns the mean over the batch's targets."""


def model_loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Return the loss of a model that computes its own: `model(x, targets=y)[1]`."""
    x, y = batch
    return model(x, targets=y)[1]


def evaluate(model: nn.Module, batches: Sequence[Batch], loss: LossFunction = model_loss) -> float:
    """Return the mean loss per target over `batches`, in evaluation mode and without gradients.

    Batches count by their targets, so that a last, smaller one weighs no more than it should.

    Args:
        model: anything that `loss` takes; afterwards it is in the mode it was in.
        batches: pairs (x, y), on the model's device.
        loss: returns the mean loss over one batch's targets.

    Raises:
        TypeError: a batch that is no pair (x, y), or a loss that is no tensor.
        ValueError: there are no batches, or no targets in them, or a loss of several numbers.
    """
    total, n_targets = 0.0, 0
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            n = count_targets(batch)
            value = loss(model, batch)
            require_one_loss(value)
            total += value.item() * n
            n_targets += n
    if n_targets == 0:
        raise ValueError("batches hold no targets; give at least one batch to evaluate on")
    return total / n_targets


def require_one_loss(loss: Any) -> None:
    """Raise unless `loss` is a tensor with one number."""
    if not isinstance(loss, torch.Tensor):
        raise TypeError(f"the loss must be a tensor, not {type(loss).__name__}; see loss=")
    if loss.numel() != 1:
        raise ValueError(
            f"the loss must be one number, but its shape is {tuple(loss.shape)}; take its mean"
        )


def count_targets(batch: Batch) -> int:
    """Return how many targets a batch has; integer targets below 0 mark places to ignore.

    Raises:
        TypeError: `batch` is no pair (x, y) with a tensor of targets.
    """
    is_pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not is_pair or not isinstance(batch[1], torch.Tensor):
        raise TypeError(
            f"a batch must be a pair (x, y) with a tensor of targets y, not "
            f"{type(batch).__name__}; check what next_batch returns, or what validation holds"
        )
    targets = batch[1]
    if targets.is_floating_point():
        return targets.numel()
    return int((targets >= 0).sum())


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
