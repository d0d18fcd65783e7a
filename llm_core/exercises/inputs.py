"""What the exercises of every chapter share: seeded inputs, and questions about gradients."""

import math
from collections.abc import Sequence

import torch


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return standard normal numbers that are the same on every call."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def whole(seed: int, largest: int, *shape: int) -> torch.Tensor:
    """Return whole numbers from -largest to largest as floats: sums of them are exact."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-largest, largest + 1, shape, generator=generator).float()


def token_ids(seed: int, vocab_size: int, *shape: int) -> torch.Tensor:
    """Return token ids from 0 to vocab_size - 1 that are the same on every call."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(vocab_size, shape, generator=generator)


def gap_between(a: torch.Tensor, b: torch.Tensor) -> float:
    """Return the largest difference between two tensors; NaN counts as infinitely far."""
    return torch.nan_to_num((a - b).abs().double(), nan=math.inf).max().item()


def gradient_trouble(output: torch.Tensor, inputs: dict[str, torch.Tensor]) -> str | None:
    """Say to which input no gradient comes back, or one that is not finite or zero everywhere."""
    found: Sequence[torch.Tensor | None] = [None] * len(inputs)
    if output.requires_grad:
        loss = (output * normal(99, *output.shape)).sum()
        try:
            found = torch.autograd.grad(loss, tuple(inputs.values()), allow_unused=True)
        except RuntimeError as error:
            if "inplace operation" in str(error):
                return _OVERWRITTEN
            raise
    for name, g in zip(inputs, found, strict=True):
        if g is None:
            return no_gradient(name)
        if not bool(g.isfinite().all()):
            return _not_finite(name)
        if not bool((g != 0).any()):
            return _all_zero(name)
    return None


_OVERWRITTEN = (
    "No model could learn through your function: a line such as "
    "`e /= total` overwrites a tensor that the gradient still needs; write `e = e / total`."
)


def no_gradient(what: str) -> str:
    return (
        f"No gradient comes back to {what}, so a model could not learn through your function; "
        "stay in torch operations, without .detach(), .item(), NumPy or torch.no_grad()."
    )


def _not_finite(what: str) -> str:
    return (
        f"The gradient that comes back to {what} is infinite or not a number, so a model could not "
        "learn through your function; a division by 0, or a root or logarithm of 0, on the way "
        "does that even where its result is not used."
    )


def _all_zero(what: str) -> str:
    return (
        f"The gradient that comes back to {what} is zero everywhere, so a model could not learn "
        "through your function: does your result depend on it at all, other than by rounding or a "
        "comparison?"
    )
