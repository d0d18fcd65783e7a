"""One token after another: for one prompt as a stream, or for many prompts side by side."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from llm_core.sampling.choosing import Choice
from llm_core.training import evaluation_mode
from llm_core.validate import require_count, require_ids, require_module, require_padding_mask

StopIds = int | Iterable[int] | None
"""One id that ends a text, or several, or None."""


def generate(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop_id: StopIds = None,
    mask: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Continue every row of `ids`, one token at a time.

    Each new token is drawn from the model's probabilities for the last position, changed as
    `Choice` says. A model with `config.context_length` sees at most that many of the last tokens:
    the window slides, and its first token stands at position 0 again. The repetition penalty
    counts all tokens of a row. Afterwards the model is in the mode it was in.

    Args:
        model: called as `model(ids)`, with `mask=` when there is one; returns logits (B, T, V),
            alone or first in a tuple.
        ids: (B, T) or (T,) token ids to continue, at least one each.
        max_new_tokens: the most tokens to add to a row; 0 adds none.
        temperature, top_k, top_p, min_p, repetition_penalty, generator: see `Choice`.
        stop_id: a row that produced this id, or one of these, is finished, and filled up with it
            while the others go on; the call ends when all rows are finished.
        mask: (B, T), False marks padding, which must stand on the left, as `pad_left` puts it;
            None for rows that are equally long.

    Returns:
        (B, T + new) or (T + new,) ids: what came in, and what was added, stop ids included.

    Raises:
        TypeError, ValueError, IndexError: an argument of the wrong kind, shape or range, or a
            model that returns NaN.
    """
    choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty, generator)
    require_prompt(model, ids, mask)
    stops = stop_ids(model, stop_id)
    require_count("max_new_tokens", max_new_tokens)
    rows = ids if ids.dim() == 2 else ids.unsqueeze(0)  # (B, T)
    if mask is not None:
        mask = mask.reshape(rows.shape)
    going = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for _ in range(max_new_tokens):
        new = rows[:, -1].clone()  # (B,) a finished row repeats its stop id
        seen, real = rows[going], None if mask is None else mask[going]  # the rest costs nothing
        new[going] = choice.choose(next_logits(model, seen, real), seen, real).to(rows.dtype)
        rows = torch.cat([rows, new.unsqueeze(1)], dim=1)  # (B, T + 1)
        if mask is not None:
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)  # (B, T + 1)
        going &= ~torch.isin(new, stops.to(new))
        if not going.any():
            break
    return rows if ids.dim() == 2 else rows[0]


def stream(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop_id: StopIds = None,
    generator: torch.Generator | None = None,
) -> Iterator[int]:
    """Yield the new ids of one row as soon as each is chosen.

    With the same arguments and generator state, these are the ids that `generate` adds; a stop id
    is the last one yielded. Arguments are checked at once, before the first token is asked for,
    and between two tokens the model is in the mode it was in.

    Args:
        ids: (T,) or (1, T) token ids to continue. All other arguments are those of `generate`.

    Returns:
        An iterator over ints.

    Raises:
        TypeError, ValueError, IndexError: as `generate`, or more than one row.
    """
    choice = Choice(temperature, top_k, top_p, min_p, repetition_penalty, generator)
    row = one_prompt(model, ids, "use generate for many")
    stops = set(stop_ids(model, stop_id).tolist())
    require_count("max_new_tokens", max_new_tokens)
    return _stream(model, choice, row, max_new_tokens, stops)


def _stream(
    model: nn.Module, choice: Choice, rows: Tensor, max_new_tokens: int, stops: set[int]
) -> Iterator[int]:
    for _ in range(max_new_tokens):
        new = choice.choose(next_logits(model, rows), rows)  # (1,)
        rows = torch.cat([rows, new.unsqueeze(1).to(rows.dtype)], dim=1)  # (1, T + 1)
        yield int(new)
        if int(new) in stops:
            return


@torch.no_grad()
def next_logits(model: nn.Module, rows: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the logits for the token after each row, in evaluation mode.

    Args:
        model: as in `generate`.
        rows: (B, T) ids; a model with `config.context_length` is shown the last ones.
        mask: (B, T), False marks padding on the left; None for none.

    Returns:
        (B, V), float32.

    Raises:
        ValueError: the model returns NaN.
    """
    limit = _of_config(model, "context_length")
    if limit is not None:
        rows = rows[:, -limit:]
        mask = None if mask is None else mask[:, -limit:]
    with evaluation_mode(model):
        output = model(rows) if mask is None else model(rows, mask=mask)
    logits = output[0] if isinstance(output, tuple) else output  # (B, T, V)
    logits = logits[:, -1].float()  # (B, V)
    if logits.isnan().any():
        raise ValueError("model returned NaN; its weights are damaged, or training blew up")
    return logits


def pad_left(prompts: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Lay prompts of different length side by side, so that all end in the last column.

    The next token of a row is read off its last column, so padding belongs on the left.

    Args:
        prompts: lists of ids, or tensors with one axis; at least one, none empty.
        pad_id: what fills the rows up; masked, so that any id of the vocabulary will do.

    Returns:
        (ids, mask), each (B, T) with T the longest prompt; mask is False at the padding.

    Raises:
        TypeError, ValueError: no prompts, an empty one, or one that holds no ids.
    """
    require_count("pad_id", pad_id)
    rows = _rows(prompts)
    ids = torch.full((len(rows), max(map(len, rows))), pad_id, dtype=rows[0].dtype)  # (B, T)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, -len(row) :] = row
        mask[i, -len(row) :] = True
    return ids.to(rows[0].device), mask.to(rows[0].device)


def _rows(prompts: Any) -> list[Tensor]:
    """Return the prompts as tensors with one axis, or raise for the first that cannot be one."""
    if isinstance(prompts, str) or not isinstance(prompts, Sequence):
        raise TypeError(f"prompts must be a list of lists of ids, not {type(prompts).__name__}")
    if not prompts:
        raise ValueError("prompts is empty; give at least one")
    rows = []
    for i, prompt in enumerate(prompts):
        try:
            row = torch.as_tensor(prompt)
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"prompts[{i}] must be a list of ids, not {prompt!r}") from None
        if row.dim() != 1 or row.numel() == 0:
            raise ValueError(
                f"prompts[{i}] must be a list of at least one id, but its shape is "
                f"{tuple(row.shape)}"
            )
        require_ids(f"prompts[{i}]", row)
        rows.append(row)
    return rows


def require_prompt(model: nn.Module, ids: Any, mask: Any) -> None:
    """Raise unless `model` can continue `ids`, and `mask`, if there is one, pads on the left."""
    require_module("model", model)
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
    if mask is None:
        return
    require_padding_mask(mask, ids.shape)
    if not mask[..., -1].all() or (mask[..., :-1] & ~mask[..., 1:]).any():
        raise ValueError(
            "mask must be True from a row's first token to its last column: padding stands on the "
            "left; pad_left(prompts) makes such rows and their mask"
        )


def one_prompt(model: nn.Module, ids: Any, advice: str) -> Tensor:
    """Return `ids` (T,) or (1, T) as (1, T); raise, with the advice, for more rows than one."""
    require_prompt(model, ids, None)
    if ids.dim() == 2 and len(ids) != 1:
        raise ValueError(f"ids must be one row, not {len(ids)}; {advice}")
    return ids.reshape(1, -1)  # (1, T)


def stop_ids(model: nn.Module, stop_id: Any) -> Tensor:
    """Return the stop ids as a tensor (n,), which may be empty."""
    ids = [] if stop_id is None else [stop_id] if not isinstance(stop_id, Iterable) else stop_id
    if isinstance(ids, str):
        raise TypeError(f"stop_id must be a token's id or several, not {stop_id!r}")
    vocab_size, ids = _of_config(model, "vocab_size"), list(ids)
    for one in ids:
        require_count("stop_id", one)
        if vocab_size is not None and one >= vocab_size:
            raise IndexError(f"stop_id {one} is outside the vocabulary 0 to {vocab_size - 1}")
    return torch.tensor([int(one) for one in ids], dtype=torch.int64)


def _of_config(model: nn.Module, name: str) -> int | None:
    """Return a field of the model's config, or None for a model without one."""
    return getattr(getattr(model, "config", None), name, None)
