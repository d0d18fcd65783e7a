"""Which parameters an optimizer treats in which way."""

from typing import Any

from torch import nn

from llm_core.validate import require_module, require_range


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


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the matrices of the stacked blocks, which Muon is made for.

    They turn vectors of the model's width into vectors of the model. The tables at both ends do
    not: an embedding is looked up row by row, and the output head scores one token a row. So only
    what lies in an `nn.ModuleList`, as the blocks of a stack do, counts.

    Raises:
        TypeError: `model` is not a module.
    """
    require_module("model", model)
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    found = {id(p): p for stack in stacks for p in stack.parameters()}  # nested stacks count once
    return [p for p in found.values() if p.dim() == 2 and p.requires_grad]


def muon_groups(
    model: nn.Module, weight_decay: float, lr_scale: float = 1.0
) -> list[dict[str, Any]]:
    """Split a model's parameters for `Muon`: the matrices of the blocks, and the rest for AdamW.

    Args:
        model: its parameters that require a gradient are used, tied ones once.
        weight_decay: the decay of every matrix; vectors never decay.
        lr_scale: the learning rate of Muon's group as a multiple of the others'; a schedule that
            sets the rates multiplies by it.

    Returns:
        Groups for `Muon`, the first with `"muon": True`.

    Raises:
        TypeError: `model` is not a module.
        ValueError: a negative decay or scale, or no matrix in a stack of blocks.
    """
    require_range("lr_scale", lr_scale, 0.0, 1e6, open_low=True)
    hidden = hidden_matrices(model)
    if not hidden:
        raise ValueError(
            "model has no matrices in a stack of blocks (nn.ModuleList), so there is nothing for "
            "Muon; use AdamW"
        )
    taken = {id(parameter) for parameter in hidden}
    groups = [{"params": hidden, "weight_decay": weight_decay, "muon": True, "lr_scale": lr_scale}]
    for group in parameter_groups(model, weight_decay):
        rest = [parameter for parameter in group["params"] if id(parameter) not in taken]
        if rest:
            groups.append({**group, "params": rest})
    return groups
