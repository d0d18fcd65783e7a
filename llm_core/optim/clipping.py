"""Gradient clipping: one step too long can undo a thousand good ones."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from llm_core.validate import require_range


@torch.no_grad()
def clip_grad_norm(
    parameters: torch.Tensor | Iterable[torch.Tensor], max_norm: float
) -> torch.Tensor:
    """Scale all gradients down together when their joint length is above `max_norm`.

    The length is the square root of the sum of squares over every entry of every gradient, as if
    they were one long vector; its direction is kept (Pascanu et al. 2013, section 3.2,
    https://arxiv.org/abs/1211.5063). Equal to `torch.nn.utils.clip_grad_norm_` while the length is
    finite. When it is infinite or NaN no scale helps: the gradients are left as they are, and the
    caller can tell by the length, as `Trainer` does.

    Args:
        parameters: one parameter or many; those without a gradient are skipped.
        max_norm: the longest length allowed, above 0; `float("inf")` only measures.

    Returns:
        The length before clipping, a tensor without axes (0 when there is no gradient).

    Raises:
        TypeError, ValueError: not tensors, or a `max_norm` that is not above 0.
    """
    require_range("max_norm", max_norm, 0.0, math.inf, open_low=True)
    if isinstance(parameters, nn.Module) or not isinstance(parameters, Iterable):
        raise TypeError(
            f"parameters must be tensors, not {type(parameters).__name__}; pass model.parameters()"
        )
    parameters = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    for parameter in parameters:
        if not isinstance(parameter, torch.Tensor):
            raise TypeError(
                f"parameters must hold tensors, not {type(parameter).__name__}; "
                "pass model.parameters()"
            )
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.tensor(0.0)
    device = gradients[0].device  # a model may be spread over several
    lengths = [torch.linalg.vector_norm(gradient).to(device) for gradient in gradients]
    norm = torch.linalg.vector_norm(torch.stack(lengths))
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    scale = scale.where(norm.isfinite(), 1.0)
    for gradient in gradients:
        gradient.mul_(scale.to(gradient.device))
    return norm
