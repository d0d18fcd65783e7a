"""From logits to text: greedy choice, temperature, top-k and top-p, one token at a time."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from llm_core.training import evaluation_mode
from llm_core.validate import (
    require_count,
    require_float_tensor,
    require_generator,
    require_ids,
    require_module,
    require_positive_int,
    require_range,
)

LOWEST_TEMPERATURE = 1e-6
"""Below this the logits divided by it may overflow; from far above on it chooses as greedy does."""

HIGHEST_TEMPERATURE = 1e4
"""Far above any use: from about 100 on, every token is as likely as any other."""


def greedy(logits: torch.Tensor) -> torch.Tensor:
    """Return the id of the largest logit, the lowest id among equals.

    Args:
        logits: (..., V) scores.

    Returns:
        (...) ids, int64.

    Raises:
        TypeError, ValueError: not a floating-point tensor with an axis of scores, or NaN in it.
    """
    _require_logits(logits)
    return logits.argmax(dim=-1)


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
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
    _require_logits(logits)
    if temperature == 0 and not isinstance(temperature, bool):
        raise ValueError("temperature must be above 0, since logits are divided by it; use greedy")
    require_range("temperature", temperature, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
    return logits / temperature


def top_k_filter(logits: torch.Tensor, k: int) -> torch.Tensor:
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
    _require_logits(logits)
    require_positive_int("k", k)
    k = min(int(k), logits.shape[-1])
    kth_largest = logits.topk(k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth_largest, -math.inf)


def top_p_filter(logits: torch.Tensor, p: float) -> torch.Tensor:
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
    _require_logits(logits)
    require_range("p", p, 0.0, 1.0, open_low=True)
    if p == 1:
        return logits
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    sum_before = probabilities.cumsum(dim=-1) - probabilities
    dropped = torch.zeros_like(logits, dtype=torch.bool)
    dropped.scatter_(-1, order, sum_before >= p)
    return logits.masked_fill(dropped, -math.inf)


def generate(
    model: nn.Module,
    ids: torch.Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_id: int | None = None,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Continue every row of `ids`, one token at a time.

    Each new token is drawn from the model's probabilities for the last position, changed by
    temperature, then top-k, then top-p, in this order. A model with `config.context_length` sees
    at most that many of the last tokens. Afterwards the model is in the mode it was in.

    Args:
        model: called as `model(ids)`; returns logits (B, T, V), alone or first in a tuple.
        ids: (B, T) or (T,) token ids to continue, at least one each.
        max_new_tokens: the most tokens to add to a row; 0 adds none.
        temperature: see `apply_temperature`; 0 takes the likeliest token every time.
        top_k: see `top_k_filter`; None keeps all.
        top_p: see `top_p_filter`; None keeps all.
        stop_id: a row that produced this id is finished, and filled up with it while the others
            go on; the call ends when all rows are finished.
        generator: where chance comes from; torch's own when None.

    Returns:
        (B, T + new) or (T + new,) ids: what came in, and what was added, `stop_id` included.

    Raises:
        TypeError, ValueError, IndexError: an argument of the wrong kind, shape or range, or a
            model that returns NaN.
    """
    choose = _Choice(model, temperature, top_k, top_p, generator)
    _require_prompt(model, ids)
    _require_limits(model, max_new_tokens, stop_id)
    rows = ids if ids.dim() == 2 else ids.unsqueeze(0)  # (B, T)
    finished = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(max_new_tokens):
        new = torch.full((len(rows),), int(stop_id or 0), device=rows.device)  # (B,)
        new[~finished] = choose.next_ids(rows[~finished])  # finished rows cost nothing more
        rows = torch.cat([rows, new.unsqueeze(1).to(rows.dtype)], dim=1)  # (B, T + 1)
        if stop_id is not None:
            finished |= new == stop_id
            if finished.all():
                break
    return rows if ids.dim() == 2 else rows[0]


def stream(
    model: nn.Module,
    ids: torch.Tensor,
    max_new_tokens: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    stop_id: int | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Yield the new ids of one row as soon as each is chosen.

    With the same arguments and generator state, these are the ids that `generate` adds; `stop_id`
    is the last one yielded. Arguments are checked at once, before the first token is asked for,
    and between two tokens the model is in the mode it was in.

    Args:
        ids: (T,) or (1, T) token ids to continue. All other arguments are those of `generate`.

    Returns:
        An iterator over ints.

    Raises:
        TypeError, ValueError, IndexError: as `generate`, or more than one row.
    """
    choose = _Choice(model, temperature, top_k, top_p, generator)
    _require_prompt(model, ids)
    _require_limits(model, max_new_tokens, stop_id)
    if ids.dim() == 2 and len(ids) != 1:
        raise ValueError(f"ids must be one row to stream, not {len(ids)}; use generate for many")
    return _stream(choose, ids.reshape(1, -1), max_new_tokens, stop_id)


def _stream(
    choose: "_Choice", rows: torch.Tensor, max_new_tokens: int, stop_id: int | None
) -> Iterator[int]:
    for _ in range(max_new_tokens):
        new = choose.next_ids(rows)
        rows = torch.cat([rows, new.unsqueeze(1).to(rows.dtype)], dim=1)  # (1, T + 1)
        yield int(new)
        if int(new) == stop_id:
            return


class _Choice:
    """How the next token is chosen, checked once for a whole generation."""

    def __init__(
        self,
        model: nn.Module,
        temperature: float,
        top_k: int | None,
        top_p: float | None,
        generator: torch.Generator | None,
    ) -> None:
        require_module("model", model)
        if isinstance(temperature, bool) or temperature != 0:
            require_range("temperature", temperature, LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE)
        if top_k is not None:
            require_positive_int("top_k", top_k)
        if top_p is not None:
            require_range("top_p", top_p, 0.0, 1.0, open_low=True)
        require_generator("generator", generator)
        self.model, self.generator = model, generator
        self.temperature, self.top_k, self.top_p = temperature, top_k, top_p
        self.context_length = _of_config(model, "context_length")

    @torch.no_grad()
    def next_ids(self, rows: torch.Tensor) -> torch.Tensor:
        """Return one new id for each of the rows (B, T): (B,)."""
        if self.context_length is not None:
            rows = rows[:, -self.context_length :]
        with evaluation_mode(self.model):
            output = self.model(rows)
        logits = output[0] if isinstance(output, tuple) else output
        logits = logits[:, -1].float()  # (B, V)
        if logits.isnan().any():
            raise ValueError("model returned NaN; its weights are damaged, or training blew up")
        return self._choose(logits)

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Return one id for each row of logits (B, V)."""
        if self.temperature == 0:
            return greedy(logits)
        logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k_filter(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p_filter(logits, self.top_p)
        probabilities = logits.softmax(dim=-1)
        if self.generator is not None:  # draw where the generator lives: one seed, any device
            probabilities = probabilities.to(self.generator.device)
        drawn = torch.multinomial(probabilities, 1, generator=self.generator)  # (B, 1)
        return drawn.squeeze(1).to(logits.device)  # (B,)


def _require_logits(logits: Any) -> None:
    require_float_tensor("logits", logits)
    if logits.dim() == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"logits must have one score for each token in their last axis, "
            f"but their shape is {tuple(logits.shape)}"
        )
    if logits.isnan().any():
        raise ValueError("logits hold NaN; the model's weights are damaged, or training blew up")


def _require_prompt(model: nn.Module, ids: Any) -> None:
    require_ids("ids", ids, _of_config(model, "vocab_size"))
    if ids.dim() not in (1, 2):
        raise ValueError(
            f"ids must have the axes (B, T) or (T,), but their shape is {tuple(ids.shape)}"
        )
    if ids.numel() == 0:
        raise ValueError(
            f"ids must hold at least one token to continue, but their shape is "
            f"{tuple(ids.shape)}; begin with a newline or the end-of-text token"
        )


def _require_limits(model: nn.Module, max_new_tokens: Any, stop_id: Any) -> None:
    require_count("max_new_tokens", max_new_tokens)
    if stop_id is None:
        return
    require_count("stop_id", stop_id)
    vocab_size = _of_config(model, "vocab_size")
    if vocab_size is not None and stop_id >= vocab_size:
        raise IndexError(f"stop_id {stop_id} is outside the vocabulary 0 to {vocab_size - 1}")


def _of_config(model: nn.Module, name: str) -> int | None:
    """Return a field of the model's config, or None for a model without one."""
    return getattr(getattr(model, "config", None), name, None)
