"""What a checkpoint holds to go on from: weights, optimizer and random generators, as tensors."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llm_core.training.weights import get_weights


def state_tensors(
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    generators: Mapping[str, torch.Generator],
) -> dict[str, torch.Tensor]:
    """Return every tensor that going on needs, under "model.", "optimizer." and "generator."."""
    tensors = {f"model.{name}": tensor for name, tensor in get_weights(model).items()}
    states = {} if optimizer is None else optimizer.state_dict()["state"]
    for index, state in states.items():
        for key, value in state.items():
            tensors[f"optimizer.{index}.{key}"] = torch.as_tensor(value)
    for name, generator in generators.items():
        tensors[f"generator.{name}"] = generator.get_state()
    for device, (get_state, _) in _torch_generators().items():
        tensors[f"torch_generator.{device}"] = get_state()
    return tensors


def optimizer_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return what JSON can hold of an optimizer: its groups, and which states are plain numbers."""
    saved = optimizer.state_dict()
    numbers = {
        key: type(value).__name__
        for state in saved["state"].values()
        for key, value in state.items()
        if isinstance(value, (int, float))
    }
    return {"groups": saved["param_groups"], "numbers": numbers}


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    description: dict[str, Any],
    tensors: dict[str, torch.Tensor],
    path: Path,
) -> None:
    """Put the saved state into `optimizer`, or raise ValueError when it does not fit."""
    advice = f"{path} does not fit the optimizer; make it with the same parameter groups"
    try:
        groups = description["optimizer"]["groups"]
        numbers = description["optimizer"]["numbers"]
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in with_prefix(tensors, "optimizer.").items():
            index, key = name.split(".", 1)
            state.setdefault(int(index), {})[key] = tensor.item() if key in numbers else tensor
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{advice} ({type(error).__name__}: {error})") from error


def generator_states(
    tensors: dict[str, torch.Tensor], generators: Mapping[str, torch.Generator], path: Path
) -> dict[str, torch.Tensor]:
    """Return the saved state of each generator, or raise ValueError when one has none."""
    states = with_prefix(tensors, "generator.")
    missing = sorted(set(generators) - set(states))
    if missing:
        raise ValueError(
            f"{path} holds no state for the generators {missing}, only for {sorted(states)}; "
            "resume with the generators that the run began with"
        )
    return states


def restore_torch_generators(tensors: dict[str, torch.Tensor]) -> None:
    """Set torch's own generators, on the devices there are, as they were when it was saved."""
    saved = with_prefix(tensors, "torch_generator.")
    for device, (_, set_state) in _torch_generators().items():
        if device in saved:
            set_state(saved[device])


def _torch_generators() -> dict[str, tuple[Callable[[], torch.Tensor], Callable[..., None]]]:
    """Return how to read and set the state of torch's own generator on each device there is."""
    generators = {"cpu": (torch.get_rng_state, torch.set_rng_state)}
    if torch.cuda.is_available():
        generators["cuda"] = (torch.cuda.get_rng_state, torch.cuda.set_rng_state)
    if torch.backends.mps.is_available():
        generators["mps"] = (torch.mps.get_rng_state, torch.mps.set_rng_state)
    return generators


def with_prefix(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
