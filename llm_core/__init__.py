"""A Transformer language model from scratch: the finished, tested components of the course.

One module a concept, in the order in which a text passes through them: corpus, tokens, data,
embeddings, positions, attention, block, model, loss, optim, training, sampling, pretrained; and
costs, which counts what a model takes.
The names that chapters and other people's code rely on can all be imported from here.
"""

from importlib import import_module
from typing import Any

_NAMES = {
    "corpus": (
        "check_stories",
        "clean_text",
        "entropy_floor",
        "load_text",
        "split_text",
        "stories",
    ),
    "tokens": ("BPETokenizer", "CharTokenizer", "WordTokenizer", "load_tokenizer"),
    "data": ("TokenFile", "get_batch"),
    "embeddings": (
        "TokenEmbedding",
        "analogy",
        "cosine_similarity",
        "load_text_vectors",
        "nearest",
        "pca",
        "train_skipgram",
    ),
    "positions": (
        "LearnedPositions",
        "alibi_bias",
        "alibi_slopes",
        "apply_rotary",
        "rotary_angles",
        "sinusoidal_encoding",
    ),
    "attention": ("MultiHeadAttention", "causal_mask", "scaled_dot_product_attention", "softmax"),
    "block": ("FeedForward", "LayerNorm", "RMSNorm", "SwiGLU", "TransformerBlock"),
    "model": ("GPT", "PRESETS", "GPTConfig", "count_parameters"),
    "loss": ("bits_per_byte", "cross_entropy", "perplexity"),
    "optim": (
        "AdamW",
        "Muon",
        "clip_grad_norm",
        "muon_groups",
        "parameter_groups",
        "warmup_cosine",
        "warmup_stable_decay",
    ),
    "training": (
        "EarlyStopping",
        "TrainConfig",
        "Trainer",
        "evaluate",
        "load_checkpoint",
        "save_checkpoint",
    ),
    "sampling": (
        "apply_repetition_penalty",
        "apply_temperature",
        "beam_search",
        "distinct_ngrams",
        "entropy",
        "generate",
        "greedy",
        "min_p_filter",
        "pad_left",
        "stream",
        "top_k_filter",
        "top_p_filter",
    ),
    "pretrained": ("load_pretrained", "save_pretrained"),
    "costs": (
        "activations_per_token",
        "flops_by_part",
        "flops_per_token",
        "parameters_by_part",
        "training_flops_per_token",
        "training_memory",
    ),
    "exercises": ("check", "hint", "predict", "progress", "quiz", "reveal"),
}
"""The public names of each module. Those of `exercises` need the packages of the notebooks."""

_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Load a module only when somebody asks for it or for one of its names.

    torch takes seconds to load, and what handles notebooks as files does without it.
    """
    if name in _NAMES:
        return import_module(f"llm_core.{name}")
    if name in _MODULE_OF:
        return getattr(import_module(f"llm_core.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'llm_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names and modules, for completion in an editor."""
    return [*__all__, *_NAMES]
