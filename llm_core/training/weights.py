"""A model's weights as named tensors: read out, compared and put back, tied ones once."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from llm_core.validate import require_module


def get_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the model's weights and buffers by name; tied weights once, under the first name."""
    require_module("model", model)
    unique: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        unique.setdefault(id(tensor), (name, tensor))
    return {name: tensor.detach() for name, tensor in unique.values()}


def set_weights(
    model: nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path = "weights"
) -> None:
    """Copy `weights`, as `get_weights` returns them, into the model, in the model's dtype.

    Raises:
        ValueError: names or shapes differ from the model's; nothing is changed then.
    """
    require_matching_weights(model, weights, source)
    with torch.no_grad():
        for name, tensor in get_weights(model).items():
            tensor.copy_(weights[name])


def require_matching_weights(
    model: nn.Module, weights: Mapping[str, torch.Tensor], source: str | Path
) -> None:
    """Raise ValueError, naming `source`, unless `weights` has the model's names and shapes."""
    own = get_weights(model)
    missing, surplus = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or surplus:
        raise ValueError(
            f"{source} does not fit the model: it lacks {missing[:3] or 'nothing'} and has "
            f"{surplus[:3] or 'nothing'} too many ({len(missing)} and {len(surplus)} in all). "
            "Make the model with the config that was saved beside the weights."
        )
    for name, tensor in own.items():
        if weights[name].shape != tensor.shape:
            raise ValueError(
                f"{source} does not fit the model: {name} has shape "
                f"{tuple(weights[name].shape)}, the model's has {tuple(tensor.shape)}. "
                "Make the model with the config that was saved beside the weights."
            )
