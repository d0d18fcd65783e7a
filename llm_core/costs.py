"""What a model costs, worked out from its config alone: parameters, operations, memory.

No model has to be built: the sizes of GPT-3 are as quick to count as those of the smallest. Tests
hold every figure against what torch counts and keeps.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from llm_core.config import GPTConfig, require_config
from llm_core.validate import require_module, require_positive_int

BACKWARD_PER_FORWARD = 2
"""A product y = x·W is one product forward and two backward: one for x's gradient, one for W's."""

MATRICES = {"swiglu": 3}
"""Matrices of a feed-forward part by activation; two where it is not named: up and down."""

KEPT_OF_FEED_FORWARD = {"relu": 1, "swiglu": 4}
"""Vectors of width d_ff that a feed-forward part keeps for the backward pass; GELU keeps 2.

ReLU's gradient needs its output alone, which `down` keeps anyway. GELU keeps its input and its
output. SwiGLU keeps gate, silu(gate), up and their product.
"""


def parameters_by_part(config: GPTConfig) -> dict[str, int]:
    """Return how many parameters each part of the model has, all layers together.

    With C = d_model, K = n_kv_heads·head_dim, F = d_ff, a layer has

        2·C·C + 2·C·K       query and out, key and value; with biases 2·C + 2·K more
        2·C·F               up and down, or 3·C·F with the gate of SwiGLU; with biases F + C
                            more, or 2·F + C
        2·C                 the gains of its two norms; with biases (LayerNorm's shifts) 2·C more

    Outside the layers stand the token table V·C, the table of learned positions
    context_length·C, the final norm (pre-norm only), and V·C for an output head of its own.

    Returns:
        "token embedding", "positions", "attention", "feed-forward", "norms" and "output head"; a
        part that the config does not have counts 0. The sum is that of `count_parameters`.

    Raises:
        TypeError: `config` is no GPTConfig.
    """
    require_config(config)
    C, F, kv_width = config.d_model, config.d_ff, config.n_kv_heads * config.head_dim
    matrices = MATRICES.get(config.activation, 2)
    attention = 2 * C * C + 2 * C * kv_width
    feed_forward = matrices * C * F
    norm = C
    if config.bias:
        attention += 2 * C + 2 * kv_width
        feed_forward += (matrices - 1) * F + C
        norm += C if config.norm == "layernorm" else 0
    n_norms = 2 * config.n_layers + (config.norm_placement == "pre")
    gains_of_heads = 2 * config.head_dim * config.n_layers if config.qk_norm else 0
    table = config.vocab_size * C
    return {
        "token embedding": table,
        "positions": config.context_length * C if config.positions == "learned" else 0,
        "attention": config.n_layers * attention,
        "feed-forward": config.n_layers * feed_forward,
        "norms": n_norms * norm + gains_of_heads,
        "output head": 0 if config.tie_weights else table,
    }


def flops_by_part(config: GPTConfig) -> dict[str, int]:
    """Return the floating-point operations of a forward pass for one token of a full context.

    Multiplying a vector by an (n, m) matrix takes n·m multiplications and as many additions, 2·n·m
    operations. With T = context_length, C = d_model, K = n_kv_heads·head_dim, F = d_ff, a layer has

        2·(2·C·C + 2·C·K)   query and out, key and value
        2·2·T·C             scores q·kᵀ and mixing the values
        2·2·C·F             up and down; 2·3·C·F with the gate of SwiGLU

    and the logits take 2·C·V. Attention counts all T keys for each query, as torch's counter and
    most papers do; a causal kernel that skips the future does about half of that part. Look-ups,
    norms, activations and softmax are left out: they are small beside it.
    Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1.

    Returns:
        "projections", "scores and mixing", "feed-forward" and "output head", all layers together.

    Raises:
        TypeError: `config` is no GPTConfig.
    """
    require_config(config)
    T, C, kv_width = config.context_length, config.d_model, config.n_kv_heads * config.head_dim
    matrices = MATRICES.get(config.activation, 2)
    return {
        "projections": config.n_layers * 2 * (2 * C * C + 2 * C * kv_width),
        "scores and mixing": config.n_layers * 2 * 2 * T * C,
        "feed-forward": config.n_layers * 2 * matrices * C * config.d_ff,
        "output head": 2 * C * config.vocab_size,
    }


def flops_per_token(config: GPTConfig) -> int:
    """Return the operations of a forward pass for one token: the sum of `flops_by_part`.

    Raises:
        TypeError: `config` is no GPTConfig.
    """
    return sum(flops_by_part(config).values())


def training_flops_per_token(config: GPTConfig) -> int:
    """Return the operations of a forward and a backward pass for one token: three times as many.

    Every product of the forward pass needs two in the backward pass, one for the gradient of each
    of its two factors. (A fused attention kernel computes the scores a second time on top of it.)

    Raises:
        TypeError: `config` is no GPTConfig.
    """
    return (1 + BACKWARD_PER_FORWARD) * flops_per_token(config)


def activations_per_token(config: GPTConfig) -> int:
    """Return how many numbers a forward pass keeps for the backward pass, for each token.

    With K = n_kv_heads·head_dim, F = d_ff, a layer keeps

        2·C + 2             what goes into its two LayerNorms, and each one's mean and spread
        2·C + 2·K           what goes into query, key and value, and what comes out of them
        C + H               what attention returns, and one sum of exponentials for each head
        C + 2·F             what goes into `up`, what comes out of it, and the same after GELU

    (ReLU keeps F, SwiGLU 4·F. RMSNorm keeps its input and the scaled input, as torch does on a CPU.
    qk-norm keeps queries and keys before it and scaled. After it, and after rotary positions, the
    heads lie in memory one after the other, so that what attention returns is kept once more when
    they are merged: C.) At the end come the input and output of the final norm, and one number for
    each of the V tokens. Weights of attention, T for each head and token, are not kept: the fused
    kernel computes them anew. Left out are the ids, dropout's masks, and ALiBi's penalties, one
    table (H, T, T) a layer for the whole batch.
    Korthikanti et al. 2022, https://arxiv.org/abs/2205.05198, section 4.1.

    Raises:
        TypeError: `config` is no GPTConfig.
    """
    require_config(config)
    C, H, kv_width = config.d_model, config.n_heads, config.n_kv_heads * config.head_dim
    norm = C + 2 if config.norm == "layernorm" else 2 * C + 1
    attention = C + C + 2 * kv_width + C + H
    if config.qk_norm or config.positions == "rotary":
        attention += C
    if config.qk_norm:
        attention += 2 * (C + kv_width) + H + config.n_kv_heads
    feed_forward = C + KEPT_OF_FEED_FORWARD.get(config.activation, 2) * config.d_ff
    final_norm = norm if config.norm_placement == "pre" else 0
    return (
        config.n_layers * (2 * norm + attention + feed_forward) + final_norm + C + config.vocab_size
    )


def training_memory(
    config: GPTConfig, batch_size: int = 1, bytes_per_number: int = 4
) -> dict[str, int]:
    """Return the bytes that training with AdamW holds at the end of a forward pass, by what for.

    Args:
        config: sizes and variants; each of the batch's texts fills the context.
        batch_size: B, texts in a batch.
        bytes_per_number: 4 for 32-bit floats, 2 for 16-bit ones.

    Returns:
        "weights", "gradients" (as many numbers as weights), "optimizer state" (twice as many: the
        running means of the gradient and of its square) and "activations" (see
        `activations_per_token`). What a step needs for a moment only comes on top.

    Raises:
        TypeError, ValueError: `config` is no GPTConfig, or a size that is no positive whole number.
    """
    require_positive_int("batch_size", batch_size)
    require_positive_int("bytes_per_number", bytes_per_number)
    weights = sum(parameters_by_part(config).values()) * bytes_per_number
    n_tokens = batch_size * config.context_length
    return {
        "weights": weights,
        "gradients": weights,
        "optimizer state": 2 * weights,
        "activations": n_tokens * activations_per_token(config) * bytes_per_number,
    }


def measure_saved_bytes(model: nn.Module, run: Callable[[], Any]) -> int:
    """Return the bytes that torch keeps for the backward pass while `run()` computes a loss.

    Tensors that share memory count once; the model's weights and buffers, which are there anyway,
    do not count.

    Args:
        model: whose weights and buffers to leave out.
        run: computes something with gradients, for example `lambda: model(ids, targets)`.

    Raises:
        TypeError: `model` is no torch module, or `run` cannot be called.
    """
    require_module("model", model)
    if not callable(run):
        raise TypeError(
            "run must be a function without arguments, such as lambda: model(ids, targets), "
            f"not {type(run).__name__}"
        )
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that its place is not used again
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()
    del result
    return sum(storage.nbytes() for storage in kept.values())
