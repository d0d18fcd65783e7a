"""A trained model as a folder: its config, its weights and its tokenizer."""

from pathlib import Path
from typing import Any

import torch

from llm_core import files
from llm_core.config import GPTConfig
from llm_core.costs import parameters_by_part
from llm_core.model import GPT
from llm_core.tensors import read_tensors, write_tensors
from llm_core.tokens import Tokenizer, load_tokenizer
from llm_core.training import (
    MODEL_FILE,
    POINTER_FILE,
    checkpoint_path,
    get_weights,
    require_matching_weights,
    require_writable_folder,
    set_weights,
)

CONFIG_FILE, TOKENIZER_FILE = "config.json", "tokenizer.json"

PRETRAINED = {"stories": files.ASSETS / "stories_model"}
"""Models that come with the course, by name."""

LONGEST_CONTEXT = 1 << 20
"""A saved config that asks for more is damaged: tables of positions are made as long as this."""

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
"""What weights may be stored as."""


def save_pretrained(
    folder: str | Path, model: GPT, tokenizer: Tokenizer, dtype: torch.dtype = torch.float32
) -> None:
    """Write `config.json`, `tokenizer.json` and `model.safetensors` into `folder`.

    Tied weights are stored once. The weights come last: a folder that has them is complete.

    Args:
        folder: made when missing; files of these names in it are replaced, others stay.
        model: a GPT.
        tokenizer: the one whose ids the model was trained on.
        dtype: what to store weights as; `torch.float16` halves the size.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: the tokenizer has more tokens than the model, or weights that float16 cannot
            hold.
        OSError: the folder cannot be written.
    """
    _require_model_and_tokenizer(model, tokenizer)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(map(str, DTYPES))}, not {dtype!r}")
    weights = {name: _stored(name, tensor, dtype) for name, tensor in get_weights(model).items()}
    require_writable_folder(folder)
    write_description(folder, model.config, tokenizer)
    write_tensors(Path(folder) / MODEL_FILE, weights)


def write_description(folder: str | Path, config: GPTConfig, tokenizer: Tokenizer) -> None:
    """Write what a saved model has beside its weights: `config.json` and `tokenizer.json`."""
    files.write_json(Path(folder) / CONFIG_FILE, config.to_dict())
    tokenizer.save(Path(folder) / TOKENIZER_FILE)


def load_pretrained(folder_or_name: str | Path) -> tuple[GPT, Tokenizer]:
    """Read a saved model, in float32 and evaluation mode, with its tokenizer.

    Args:
        folder_or_name: "stories" for the model that comes with the course; a folder that
            `save_pretrained` wrote; or a training run's folder, whose best weights are taken.

    Returns:
        The model and the tokenizer.

    Raises:
        FileNotFoundError: no such folder, or a file of it is missing.
        ValueError: a file is damaged, or config, weights and tokenizer do not fit together.
    """
    folder = pretrained_folder(folder_or_name)
    config = _read_config(folder / CONFIG_FILE)
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE)
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"{folder / TOKENIZER_FILE} has {tokenizer.vocab_size} tokens, but the model in "
            f"{folder / CONFIG_FILE} knows {config.vocab_size}; they are not of one model"
        )
    weights = read_tensors(folder / MODEL_FILE)
    _require_fit(config, weights, folder / MODEL_FILE)
    with torch.random.fork_rng(devices=[]):  # the start that set_weights replaces costs no chance
        model = GPT(config)
    set_weights(model, weights, folder / MODEL_FILE)
    return model.eval(), tokenizer


def pretrained_folder(folder_or_name: str | Path) -> Path:
    """Return the folder that holds a saved model's files.

    Raises:
        TypeError: neither a string nor a path.
        FileNotFoundError: no such folder or name.
    """
    if not isinstance(folder_or_name, (str, Path)) or folder_or_name == "":
        raise TypeError(
            f"folder_or_name must be a folder or one of {sorted(PRETRAINED)}, "
            f"not {folder_or_name!r}"
        )
    if folder_or_name in PRETRAINED:
        return PRETRAINED[folder_or_name]
    folder = Path(folder_or_name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}. Give a folder that holds {CONFIG_FILE}, {MODEL_FILE} "
            f"and {TOKENIZER_FILE}, or one of the names {sorted(PRETRAINED)}."
        )
    return checkpoint_path(folder) if (folder / POINTER_FILE).is_file() else folder


def _read_config(path: Path) -> GPTConfig:
    """Return the config in `path`; an error names the file."""
    fields = files.read_json(path)
    try:
        return GPTConfig.from_dict(fields)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is not the config of a model: {error}. Restore it from a copy, or train again."
        ) from error


def _require_fit(config: GPTConfig, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Raise ValueError unless `weights` are as many as `config` asks for, before memory is taken.

    If they are, the model is as large as its file, and `set_weights` compares name by name.
    """
    if config.n_layers > len(weights) or config.context_length > LONGEST_CONTEXT:
        raise ValueError(
            f"{path} does not fit the model: it lacks weights for the {config.n_layers} layers and "
            f"the context_length {config.context_length} that {CONFIG_FILE} asks for. Restore "
            "that file from a copy, or train again."
        )
    if sum(parameters_by_part(config).values()) == sum(t.numel() for t in weights.values()):
        return
    try:
        with torch.device("meta"):  # shapes without numbers
            model = GPT(config)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit the model: {CONFIG_FILE} asks for sizes that no machine can hold "
            f"({error}). Restore that file from a copy, or train again."
        ) from error
    require_matching_weights(model, weights, path)


def _stored(name: str, tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return `tensor` as it goes to the disk; only floating-point tensors change their type."""
    if not tensor.is_floating_point():
        return tensor
    stored = tensor.to(dtype)
    if tensor.isfinite().all() and not stored.isfinite().all():
        raise ValueError(
            f"{name} holds numbers beyond {torch.finfo(dtype).max:.0f}, the largest of {dtype}; "
            "store it as torch.float32 or torch.bfloat16"
        )
    return stored


def _require_model_and_tokenizer(model: Any, tokenizer: Any) -> None:
    if not isinstance(model, GPT):
        raise TypeError(f"model must be a GPT, not {type(model).__name__}")
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(f"tokenizer must be a Tokenizer, not {type(tokenizer).__name__}")
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"tokenizer has {tokenizer.vocab_size} tokens, but the model knows "
            f"{model.config.vocab_size}; they are not of one model"
        )
