"""Small random models for tests, here and in the cell of a notebook."""

from typing import Any

import torch
from torch import nn

from llm_core.config import GPTConfig
from llm_core.model import GPT
from llm_core.tokens import Tokenizer


def small_model(tokenizer: Tokenizer, **variants: Any) -> GPT:
    """Return a random model that is neither sure nor indifferent, as its weights are large."""
    sizes = {"d_model": 32, "n_layers": 2, "n_heads": 4, "context_length": 64, **variants}
    config = GPTConfig(vocab_size=tokenizer.vocab_size, **sizes)
    return enlarged(GPT(config, torch.Generator().manual_seed(0)), 8)


def enlarged(model: nn.Module, factor: float) -> nn.Module:
    """Multiply the matrices of a model, so that what it looks at and says is far from even."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(factor)
    return model.eval()


def model_cell(text: str, n_layers: int) -> str:
    """Return the source of a cell that makes such a `model` and its `tokenizer` from a `text`."""
    return f"""\
import torch
from llm_core.model import GPT, GPTConfig
from llm_core.tokens import WordTokenizer

text = {text!r}
tokenizer = WordTokenizer.train(text)
config = GPTConfig(vocab_size=tokenizer.vocab_size, d_model=64, n_layers={n_layers}, n_heads=4)
model = GPT(config, torch.Generator().manual_seed(0))
for name, parameter in model.named_parameters():
    if parameter.dim() == 2:
        parameter.data *= 5
"""
