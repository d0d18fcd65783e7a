"""AdamW, the optimizer that most language models are trained with."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from llm_core.optim.schedules import LARGEST_LR
from llm_core.validate import require_range


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2,
    https://arxiv.org/abs/1711.05101).

    For each parameter w with gradient g, at its t-th update (t counts from 1):

        w ← w - lr · weight_decay · w           decay, apart from the gradient
        m ← beta1 · m + (1 - beta1) · g         running mean of the gradient
        v ← beta2 · v + (1 - beta2) · g²        running mean of its square
        m̂ = m / (1 - beta1^t)                   both start at 0: correct that bias
        v̂ = v / (1 - beta2^t)
        w ← w - lr · m̂ / (√v̂ + eps)

    It gives the same numbers as `torch.optim.AdamW`; being a `torch.optim.Optimizer`, it has
    `zero_grad`, `state_dict` and `load_state_dict`, and takes parameter groups with their own
    settings. Parameters without a gradient are left alone, decay included.

    Args:
        params: parameters, or a list of groups such as `parameter_groups` returns.
        lr: learning rate.
        betas: how slowly the two running means forget, each in [0, 1).
        eps: added to the root, so that it never divides by zero.
        weight_decay: share of a weight taken away in a step, before `lr` scales it.

    Raises:
        TypeError, ValueError: a setting of the wrong kind or range, or no parameters.
    """

    def __init__(
        self,
        params: Iterable[torch.Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        if isinstance(params, nn.Module) or not isinstance(params, Iterable):
            raise TypeError(
                "params must be parameters or groups of them, such as model.parameters() or "
                f"parameter_groups(model, 0.1), not {type(params).__name__}"
            )
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, settings)
        for group in self.param_groups:
            _require_adamw_settings(group)
            numbers = {name: float(group[name]) for name in ("lr", "eps", "weight_decay")}
            group.update(numbers, betas=tuple(map(float, group["betas"])))  # no numpy: for JSON

    @torch.no_grad()
    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again with gradients, and returns it; rarely needed.

        Returns:
            What `closure` returned, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update_group(group)
        return loss

    def _update_group(self, group: dict[str, Any]) -> None:
        """Make one update of every parameter of a group that has a gradient."""
        for parameter in group["params"]:
            if parameter.grad is not None:
                self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        """Make one update of one parameter, in place, as the class's formulas say."""
        gradient, state = parameter.grad, self.state[parameter]
        if not state:
            state["step"] = 0
            state["mean"] = torch.zeros_like(parameter)
            state["mean_square"] = torch.zeros_like(parameter)
        state["step"] += 1
        mean, mean_square, t = state["mean"], state["mean_square"], state["step"]
        lr, (beta1, beta2) = group["lr"], group["betas"]

        parameter.mul_(1 - lr * group["weight_decay"])
        mean.lerp_(gradient, 1 - beta1)
        mean_square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        root = mean_square.sqrt().div_(math.sqrt(1 - beta2**t)).add_(group["eps"])
        parameter.addcdiv_(mean, root, value=-lr / (1 - beta1**t))


def _require_adamw_settings(group: dict[str, Any]) -> None:
    """Raise unless the settings of one parameter group can be used."""
    require_range("lr", group["lr"], 0.0, LARGEST_LR)
    require_range("eps", group["eps"], 0.0, 1.0)
    require_range("weight_decay", group["weight_decay"], 0.0, 1e3)
    betas = group["betas"]
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise TypeError(f"betas must be two numbers such as (0.9, 0.999), not {betas!r}")
    for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
        require_range(name, beta, 0.0, 1.0)
        if beta == 1:
            raise ValueError(f"{name} must be below 1: with 1 the running mean would never move")
