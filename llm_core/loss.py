"""How wrong a model is: cross-entropy, by hand, and two ways to say it in other units."""

import math
import numbers

import torch
from torch import Tensor

from llm_core.validate import (
    require_float_tensor,
    require_positive_int,
    require_targets,
    require_tensor,
)


def cross_entropy(logits: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    """Return the mean surprise at the targets, −ln p(target), in nats.

    p is the softmax of the logits, so −ln p(target) = ln Σ exp(logits) − logits[target]. The
    largest logit is taken out of the sum first, so that exp() cannot overflow. A model that knows
    nothing has a loss of ln V.

    Args:
        logits: one number for each of V tokens, (..., V).
        targets: ids of the tokens that came, (...).
        ignore_index: a target that does not count, for padding.

    Returns:
        A tensor with one number, the mean over all targets that count.

    Raises:
        TypeError: wrong dtypes.
        ValueError: shapes that do not fit, no targets, or none that counts.
        IndexError: a target outside 0 to V - 1 (on the CPU, as with every range check here).
    """
    _require_logits_and_targets(logits, targets, ignore_index)
    counts = targets != ignore_index  # (...)
    ids = targets.where(counts, 0).long().unsqueeze(-1)  # (..., 1)
    logit_of_target = logits.gather(-1, ids).squeeze(-1)  # (...)
    losses = log_sum_exp(logits) - logit_of_target  # (...)
    return losses.where(counts, 0.0).sum() / counts.sum()


def log_sum_exp(x: Tensor) -> Tensor:
    """Return ln Σ exp(x) over the last axis, without overflow: (..., V) to (...).

    Raises:
        TypeError, ValueError: `x` is no tensor of floating-point numbers, or its last axis is
            empty.
    """
    require_float_tensor("x", x)
    if x.dim() == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must have entries in its last axis, but its shape is {tuple(x.shape)}")
    lowest = torch.finfo(x.dtype).min
    largest = x.detach().amax(dim=-1, keepdim=True).clamp(min=lowest)  # (..., 1)
    wide = torch.promote_types(x.dtype, torch.float32)  # a long sum would overflow in float16
    total = torch.exp(x - largest).sum(dim=-1, dtype=wide)  # (...)
    return total.log().to(x.dtype) + largest.squeeze(-1)  # (...)


def perplexity(loss: float | Tensor) -> float:
    """Return exp(loss): the number of equally likely tokens that would surprise as much.

    Args:
        loss: mean cross-entropy per token, in nats.

    Raises:
        TypeError, ValueError: not one number, or below zero.
    """
    nats = _one_number("loss", loss)
    try:
        return math.exp(nats)
    except OverflowError:
        return math.inf


def bits_per_byte(loss_per_token: float | Tensor, n_tokens: int, n_bytes: int) -> float:
    """Return the loss as bits for each byte of text, which compares models across tokenizers.

    Args:
        loss_per_token: mean cross-entropy per token, in nats.
        n_tokens: tokens in the text.
        n_bytes: bytes of the text in UTF-8.

    Raises:
        TypeError, ValueError: not one number, below zero, or a count that is not positive.
    """
    require_positive_int("n_tokens", n_tokens)
    require_positive_int("n_bytes", n_bytes)
    bits_per_token = _one_number("loss_per_token", loss_per_token) / math.log(2)
    return bits_per_token * n_tokens / n_bytes


def _require_logits_and_targets(logits: Tensor, targets: Tensor, ignore_index: int) -> None:
    require_float_tensor("logits", logits)
    require_tensor("targets", targets)
    if logits.shape[-1:] == (0,):
        raise ValueError(f"logits must have entries in its last axis: shape {tuple(logits.shape)}")
    if logits.dim() == 0 or logits.shape[:-1] != targets.shape:
        raise ValueError(
            f"targets must have the shape of logits without the last axis (V), but logits is "
            f"{tuple(logits.shape)} and targets {tuple(targets.shape)}"
        )
    require_targets(targets, logits.shape[-1], ignore_index)


def _one_number(name: str, value: float | Tensor) -> float:
    """Return `value` as a float that is not below zero; NaN passes, a diverged run has it."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be one number, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} must not be below 0, but it is {value}")
    return float(value)
