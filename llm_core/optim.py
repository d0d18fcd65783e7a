"""Optimisation by hand: AdamW, gradient clipping, and the learning-rate schedule."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from llm_core.validate import require_count, require_module, require_positive_int, require_range

LARGEST_LR = 1e4
"""Above this a learning rate is a slip of the hand, not a choice."""


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
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

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


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split a model's parameters into those that decay and those that do not.

    Matrices (two axes or more: linear layers, embeddings) decay; vectors (biases, the gains of a
    norm) do not, because pulling them to zero would switch parts off rather than simplify them.

    Args:
        model: its parameters that require a gradient are used, tied ones once.
        weight_decay: the decay of the first group; the second has 0.

    Returns:
        Groups for an optimizer: `[{"params", "weight_decay"}, {"params", "weight_decay"}]`;
        a group without members is left out.

    Raises:
        TypeError: `model` is not a module.
        ValueError: a negative decay, or nothing to train.
    """
    require_module("model", model)
    require_range("weight_decay", weight_decay, 0.0, 1e3)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("model has no parameters that require a gradient; nothing to train")
    matrices = [parameter for parameter in trained if parameter.dim() >= 2]
    vectors = [parameter for parameter in trained if parameter.dim() < 2]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


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


def warmup_cosine(
    step: int, warmup_steps: int, total_steps: int, max_lr: float, min_lr: float = 0.0
) -> float:
    """Return the learning rate of one step: a straight climb, then half a cosine down.

    Steps count from 0, so a run uses step 0 to `total_steps - 1`:

        step < warmup_steps:  max_lr · (step + 1) / warmup_steps
        otherwise:            min_lr + (max_lr - min_lr) · (1 + cos(π · progress)) / 2
                              with progress = (step - warmup_steps) / (total_steps - warmup_steps)
        step ≥ total_steps:   min_lr

    Step 0 therefore already learns, steps `warmup_steps - 1` and `warmup_steps` both have
    `max_lr`, and `min_lr` is what the step after the last would have
    (Loshchilov and Hutter 2017, section 3, https://arxiv.org/abs/1608.03983).

    Args:
        step: the step that is about to be taken, from 0.
        warmup_steps: number of climbing steps; 0 for none.
        total_steps: length of the run, at least 1 and at least `warmup_steps`.
        max_lr: the highest rate.
        min_lr: the lowest rate, at most `max_lr`.

    Returns:
        The learning rate.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range.
    """
    require_count("step", step)
    require_count("warmup_steps", warmup_steps)
    require_positive_int("total_steps", total_steps)
    require_range("max_lr", max_lr, 0.0, LARGEST_LR)
    require_range("min_lr", min_lr, 0.0, max_lr)
    if warmup_steps > total_steps:
        raise ValueError(
            f"warmup_steps must be at most total_steps ({total_steps}), but it is {warmup_steps}"
        )
    if step >= total_steps:
        return min_lr
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2


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
