"""Named tensors in files of the safetensors format: numbers and names, nothing that could run."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from llm_core.files import atomic_path, existing_file


def write_tensors(path: str | Path, tensors: dict[str, torch.Tensor]) -> None:
    """Write named tensors to `path` in the safetensors format, atomically."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as partial:
        # Not save_file: that leaves a file which its owner alone may read.
        partial.write_bytes(save(contiguous))


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read named tensors from a safetensors file. Nothing in the file is ever executed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not safetensors, for example cut off.
    """
    path = existing_file(path)
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a readable safetensors file ({error}). It may be cut off or damaged; "
            "train or download it again, or use an earlier checkpoint."
        ) from error
