"""Muon: updates of a matrix that turn all its directions by the same amount."""

from collections.abc import Iterable
from typing import Any

import torch

from llm_core.optim.adamw import AdamW
from llm_core.validate import require_float_tensor, require_positive_int, require_range

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial a·s + b·s³ + c·s⁵, which pulls every s in (0, 1] to about 1 when repeated.
Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/."""


class Muon(AdamW):
    """Muon for the matrices of the blocks, AdamW for all else.

    A gradient moves a matrix far along a few strong directions and hardly along the others. Muon
    makes them all equally long before it steps (Jordan et al. 2024,
    https://kellerjordan.github.io/posts/muon/). For each matrix W with gradient G:

        M ← M + (1 - momentum) · (G - M)        running mean of the gradient
        N = G + momentum · (M - G)              look one step ahead (Nesterov)
        O = `orthogonalise`(N)                  the same directions, all of about length 1
        W ← W - lr · weight_decay · W
        W ← W - lr · √max(1, rows / columns) · O

    It gives what `torch.optim.Muon` gives, up to the rounding of its 16-bit numbers. That one
    computes in bfloat16 everywhere, which a processor without such arithmetic does many times
    slower than in 32 bits; here the dtype follows the device, and matrices of the same shape are
    taken together. Groups without `"muon": True` are updated by AdamW.

    Args:
        params: groups such as `muon_groups` returns.
        lr: learning rate of groups that name none.
        momentum: how slowly the running mean forgets, in [0, 1).
        n_iterations: times that the polynomial is applied.
        betas, eps, weight_decay: see `AdamW`.

    Raises:
        TypeError, ValueError: a setting of the wrong kind or range, no parameters, or a parameter
            under Muon that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.95,
        n_iterations: int = 5,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        require_range("momentum", momentum, 0.0, 1.0)
        if momentum == 1:
            raise ValueError("momentum must be below 1: with 1 the running mean would never move")
        require_positive_int("n_iterations", n_iterations)
        for group in self.param_groups:
            group.setdefault("muon", False)
            group["momentum"], group["n_iterations"] = float(momentum), int(n_iterations)
            for parameter in group["params"] if group["muon"] else ():
                if parameter.dim() != 2:
                    raise ValueError(
                        "Muon takes matrices only, but a parameter has shape "
                        f"{tuple(parameter.shape)}; muon_groups(model, ...) sorts them"
                    )

    def _update_group(self, group: dict[str, Any]) -> None:
        if not group["muon"]:
            super()._update_group(group)
            return
        same_shape: dict[torch.Size, list[torch.Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                same_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, parameters in same_shape.items():
            looked_ahead = torch.stack([self._look_ahead(p, group["momentum"]) for p in parameters])
            updates = orthogonalise(looked_ahead, group["n_iterations"])  # (n, rows, columns)
            step = -group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=step)

    def _look_ahead(self, parameter: torch.Tensor, momentum: float) -> torch.Tensor:
        """Move the running mean of a matrix's gradient, and return N."""
        gradient, state = parameter.grad, self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        state["mean"].lerp_(gradient, 1 - momentum)
        return gradient.lerp(state["mean"], momentum)


def orthogonalise(
    matrices: torch.Tensor, n_iterations: int = 5, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Give all directions of a matrix about the same length, between 0.7 and 1.2.

    With the singular value decomposition G = U·S·Vᵀ the aim is U·Vᵀ. An odd polynomial of G acts on
    the singular values alone, and needs nothing but matrix products:

        X ← a·X + (b·A + c·A²)·X   with   A = X·Xᵀ

    (Newton-Schulz; the first X is G divided by its Frobenius norm, so that no singular value is
    above 1).

    Args:
        matrices: one matrix (rows, columns) or several of the same shape (n, rows, columns).
        n_iterations: times that the polynomial is applied.
        dtype: what to compute in; None takes bfloat16 on a GPU and float32 elsewhere.

    Returns:
        Like `matrices`.

    Raises:
        TypeError, ValueError: no floating-point tensor with two or three axes, or a number of
            iterations that is not positive.
    """
    require_float_tensor("matrices", matrices)
    if matrices.dim() not in (2, 3):
        raise ValueError(
            "matrices must be one matrix or a stack of them, but the shape is "
            f"{tuple(matrices.shape)}"
        )
    require_positive_int("n_iterations", n_iterations)
    if dtype is None:
        dtype = torch.bfloat16 if matrices.device.type == "cuda" else torch.float32
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).to(dtype)  # the smaller side first: A is smaller
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(n_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.mT if tall else x).to(matrices.dtype)
