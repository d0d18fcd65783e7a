"""What is done to the logits of the next token before one is chosen; a dropped token gets -inf."""

import math
from typing import Any

import torch
from torch import Tensor

from llm_core.validate import (
    require_float_tensor,
    require_ids,
    require_padding_mask,
    require_positive_int,
    require_range,
)

LOWEST_TEMPERATURE = 1e-6
"""Below this the logits divided by it may overflow; from far above on it chooses as greedy does."""

HIGHEST_TEMPERATURE = 1e4
"""Far above any use: from about 100 on, every token is as likely as any other."""

HIGHEST_PENALTY = 100.0
"""Far above any use of a repetition penalty, which is 1.2 in the paper."""


def greedy(logits: Tensor) -> Tensor:
    """Return the id of the largest logit, the lowest id among equals.

    Args:
        logits: (..., V) scores.

    Returns:
        (...) ids, int64.

    Raises:
        TypeError, ValueError: not a floating-point tensor with an axis of scores, or NaN in it.
    """
    require_logits(logits)
    return logits.argmax(dim=-1)


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide the logits by a temperature: below 1 the likely gets likelier, above 1 less so.

    Args:
        logits: (..., V) scores.
        temperature: at least `LOWEST_TEMPERATURE`. What happens as it nears 0 is `greedy`;
            `generate` takes 0 for that.

    Returns:
        (..., V) scores.

    Raises:
        TypeError, ValueError: not scores, or a temperature out of range.
    """
    require_logits(logits)
    if temperature == 0 and not isinstance(temperature, bool):
        raise ValueError("temperature must be above 0, since logits are divided by it; use greedy")
    require_range("temperature", temperature, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
    return logits / temperature


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest logits and set all others to -inf, so that softmax gives them 0.

    Logits equal to the k-th largest are all kept: with ties there may be more than k left, and
    the result does not depend on the order of the vocabulary. k of V or more keeps everything.
    (Fan et al. 2018, section 5.1, https://arxiv.org/abs/1805.04833.)

    Args:
        logits: (..., V) scores.
        k: how many to keep, at least 1.

    Returns:
        (..., V) scores.

    Raises:
        TypeError, ValueError: not scores, or a k below 1.
    """
    require_logits(logits)
    require_positive_int("k", k)
    k = min(int(k), logits.shape[-1])
    kth_largest = logits.topk(k, dim=-1).values[..., -1:]  # (..., 1)
    return logits.masked_fill(logits < kth_largest, -math.inf)


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the fewest most likely tokens whose probabilities reach p together; others get -inf.

    The token that carries the sum to p or across it is kept, so at least one always is. Among
    equal probabilities the lower id comes first. 1 keeps everything.
    (Holtzman et al. 2020, section 3.1, https://arxiv.org/abs/1904.09751.)

    Args:
        logits: (..., V) scores.
        p: share of the probability to keep, above 0 and at most 1.

    Returns:
        (..., V) scores.

    Raises:
        TypeError, ValueError: not scores, or a p outside (0, 1].
    """
    require_logits(logits)
    require_range("p", p, 0.0, 1.0, open_low=True)
    if p == 1:
        return logits
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    sum_before = probabilities.cumsum(dim=-1) - probabilities
    dropped = torch.zeros_like(logits, dtype=torch.bool)
    dropped.scatter_(-1, order, sum_before >= p)
    return logits.masked_fill(dropped, -math.inf)


def min_p_filter(logits: Tensor, min_p: float) -> Tensor:
    """Keep the tokens at least `min_p` times as likely as the likeliest; others get -inf.

    A sure model keeps few tokens and an unsure one many. The likeliest is always kept.
    (Nguyen et al. 2024, section 3, https://arxiv.org/abs/2407.01082.)

    Args:
        logits: (..., V) scores.
        min_p: share of the largest probability, from 0, which keeps everything, to 1.

    Returns:
        (..., V) scores.

    Raises:
        TypeError, ValueError: not scores, or a min_p outside [0, 1].
    """
    require_logits(logits)
    require_range("min_p", min_p, 0.0, 1.0)
    probabilities = logits.softmax(dim=-1)
    limit = min_p * probabilities.amax(dim=-1, keepdim=True)  # (..., 1)
    return logits.masked_fill(probabilities < limit, -math.inf)


def apply_repetition_penalty(
    logits: Tensor, ids: Tensor, penalty: float, mask: Tensor | None = None
) -> Tensor:
    """Make every token that stands in `ids` less likely, however often it stands there.

    A positive logit is divided by the penalty and a negative one multiplied: both get smaller.
    (Keskar et al. 2019, section 4.1, https://arxiv.org/abs/1909.05858, divide all of them, which
    makes tokens with negative logits likelier; the form by sign is the one in use since.)

    Args:
        logits: (..., V) scores.
        ids: (..., T) ids that have come so far, of any number T.
        penalty: above 1 against repetition, 1 for none, below 1 in its favour.
        mask: (..., T), False marks padding, which does not count; None counts all.

    Returns:
        (..., V) scores.

    Raises:
        TypeError, ValueError, IndexError: an argument of the wrong kind, shape or range.
    """
    require_logits(logits)
    require_range("penalty", penalty, 0.0, HIGHEST_PENALTY, open_low=True)
    require_ids("ids", ids, logits.shape[-1])
    if ids.dim() != logits.dim() or ids.shape[:-1] != logits.shape[:-1]:
        raise ValueError(
            f"ids must have the axes of logits but for the last, but ids is {tuple(ids.shape)} "
            f"and logits {tuple(logits.shape)}"
        )
    counted = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    require_padding_mask(counted, ids.shape)
    counts = torch.zeros_like(logits).scatter_add_(-1, ids.long(), counted.to(logits.dtype))
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(counts > 0, penalised, logits)


def require_logits(logits: Any) -> None:
    """Raise unless `logits` are scores (..., V) without NaN."""
    require_float_tensor("logits", logits)
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"logits must have one score for each token in their last axis, "
            f"but their shape is {tuple(logits.shape)}"
        )
    if logits.isnan().any():
        raise ValueError("logits hold NaN; the model's weights are damaged, or training blew up")
