"""A Transformer language model from scratch: the finished, tested components of the course.

One module a concept, in the order in which a text passes through them: corpus, tokens, data,
embeddings, positions, attention, block, model, loss, optim, training, sampling, pretrained.
The names that chapters and other people's code rely on can all be imported from here.
"""

from typing import Any

from llm_core.attention import (
    MultiHeadAttention,
    causal_mask,
    scaled_dot_product_attention,
    softmax,
)
from llm_core.block import FeedForward, LayerNorm, RMSNorm, SwiGLU, TransformerBlock
from llm_core.corpus import (
    check_stories,
    clean_text,
    entropy_floor,
    load_text,
    split_text,
    stories,
)
from llm_core.data import TokenFile, get_batch
from llm_core.embeddings import TokenEmbedding
from llm_core.loss import bits_per_byte, cross_entropy, perplexity
from llm_core.model import GPT, PRESETS, GPTConfig, count_parameters, flops_per_token
from llm_core.optim import (
    AdamW,
    Muon,
    clip_grad_norm,
    muon_groups,
    parameter_groups,
    warmup_cosine,
    warmup_stable_decay,
)
from llm_core.positions import (
    LearnedPositions,
    apply_rotary,
    rotary_angles,
    sinusoidal_encoding,
)
from llm_core.pretrained import load_pretrained, save_pretrained
from llm_core.sampling import (
    apply_temperature,
    generate,
    greedy,
    stream,
    top_k_filter,
    top_p_filter,
)
from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer, load_tokenizer
from llm_core.training import (
    EarlyStopping,
    TrainConfig,
    Trainer,
    evaluate,
    load_checkpoint,
    save_checkpoint,
)

_FOR_LEARNERS = ("check", "hint", "predict", "progress", "quiz", "reveal")
"""From `llm_core.exercises`, which needs the packages of the notebooks and is loaded on demand."""

__all__ = [
    "GPT",
    "PRESETS",
    "AdamW",
    "BPETokenizer",
    "CharTokenizer",
    "EarlyStopping",
    "FeedForward",
    "GPTConfig",
    "LayerNorm",
    "LearnedPositions",
    "MultiHeadAttention",
    "Muon",
    "RMSNorm",
    "SwiGLU",
    "TokenEmbedding",
    "TokenFile",
    "TrainConfig",
    "Trainer",
    "TransformerBlock",
    "WordTokenizer",
    "apply_rotary",
    "apply_temperature",
    "bits_per_byte",
    "causal_mask",
    "check",
    "check_stories",
    "clean_text",
    "clip_grad_norm",
    "count_parameters",
    "cross_entropy",
    "entropy_floor",
    "evaluate",
    "flops_per_token",
    "generate",
    "get_batch",
    "greedy",
    "hint",
    "load_checkpoint",
    "load_pretrained",
    "load_text",
    "load_tokenizer",
    "muon_groups",
    "parameter_groups",
    "perplexity",
    "predict",
    "progress",
    "quiz",
    "reveal",
    "rotary_angles",
    "save_checkpoint",
    "save_pretrained",
    "scaled_dot_product_attention",
    "sinusoidal_encoding",
    "softmax",
    "split_text",
    "stories",
    "stream",
    "top_k_filter",
    "top_p_filter",
    "warmup_cosine",
    "warmup_stable_decay",
]


def __getattr__(name: str) -> Any:
    """Load what learners call only when somebody asks for it: the core stands without it."""
    if name in _FOR_LEARNERS:
        from llm_core import exercises

        return getattr(exercises, name)
    raise AttributeError(f"module 'llm_core' has no attribute {name!r}")
