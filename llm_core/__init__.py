"""A Transformer language model from scratch: the finished, tested components of the course.

One module a concept, in the order in which a text passes through them: corpus, tokens, data,
embeddings, positions, attention, block, model, loss, optim, training, sampling, pretrained; and
costs, which counts what a model takes.
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
from llm_core.costs import (
    activations_per_token,
    flops_by_part,
    flops_per_token,
    parameters_by_part,
    training_flops_per_token,
    training_memory,
)
from llm_core.data import TokenFile, get_batch
from llm_core.embeddings import (
    TokenEmbedding,
    analogy,
    cosine_similarity,
    load_text_vectors,
    nearest,
    pca,
    train_skipgram,
)
from llm_core.loss import bits_per_byte, cross_entropy, perplexity
from llm_core.model import GPT, PRESETS, GPTConfig, count_parameters
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
    alibi_bias,
    alibi_slopes,
    apply_rotary,
    rotary_angles,
    sinusoidal_encoding,
)
from llm_core.pretrained import load_pretrained, save_pretrained
from llm_core.sampling import (
    apply_repetition_penalty,
    apply_temperature,
    beam_search,
    distinct_ngrams,
    entropy,
    generate,
    greedy,
    min_p_filter,
    pad_left,
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
    "activations_per_token",
    "alibi_bias",
    "alibi_slopes",
    "analogy",
    "apply_repetition_penalty",
    "apply_rotary",
    "apply_temperature",
    "beam_search",
    "bits_per_byte",
    "causal_mask",
    "check",
    "check_stories",
    "clean_text",
    "clip_grad_norm",
    "cosine_similarity",
    "count_parameters",
    "cross_entropy",
    "distinct_ngrams",
    "entropy",
    "entropy_floor",
    "evaluate",
    "flops_by_part",
    "flops_per_token",
    "generate",
    "get_batch",
    "greedy",
    "hint",
    "load_checkpoint",
    "load_pretrained",
    "load_text",
    "load_text_vectors",
    "load_tokenizer",
    "min_p_filter",
    "muon_groups",
    "nearest",
    "pad_left",
    "parameter_groups",
    "parameters_by_part",
    "pca",
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
    "train_skipgram",
    "training_flops_per_token",
    "training_memory",
    "warmup_cosine",
    "warmup_stable_decay",
]


def __getattr__(name: str) -> Any:
    """Load what learners call only when somebody asks for it: the core stands without it."""
    if name in _FOR_LEARNERS:
        from llm_core import exercises

        return getattr(exercises, name)
    raise AttributeError(f"module 'llm_core' has no attribute {name!r}")
