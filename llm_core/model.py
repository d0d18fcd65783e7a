"""The whole model: embed the tokens, stack the blocks, read off the logits.

GPT-2 and Llama are configurations of one class, not two classes.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core.attention import LayerCache, require_layer_cache
from llm_core.block import TransformerBlock, make_norm
from llm_core.config import GPTConfig, require_config
from llm_core.costs import flops_per_token
from llm_core.embeddings import TokenEmbedding
from llm_core.positions import LearnedPositions, require_positions, sinusoidal_encoding
from llm_core.validate import (
    require_ids,
    require_module,
    require_padding_mask,
    require_targets,
)

__all__ = ["GPT", "PRESETS", "GPTConfig", "count_parameters", "flops_per_token"]


class GPT(nn.Module):
    """A decoder-only Transformer: from token ids to logits for the token that comes next.

    Radford et al. 2019 ("Language Models are Unsupervised Multitask Learners"), section 2.3, with
    the variants that GPTConfig lists.

    Args:
        config: sizes and variants.
        generator: source of the random start; None takes torch's global one.

    Attributes:
        config: as given.
        token_embedding: the table of token vectors.
        position_embedding: the table of learned positions, or None.
        blocks: the TransformerBlocks, from the first to the last.
        final_norm: the norm before the logits; does nothing after post-norm blocks, which end in
            a norm already.
        head: the linear layer to the logits, or None when it shares the embedding's weights.

    Raises:
        TypeError: `config` is no GPTConfig.
    """

    def __init__(self, config: GPTConfig, generator: torch.Generator | None = None) -> None:
        super().__init__()
        require_config(config)
        self.config = config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model)
        self.position_embedding = None
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        if config.positions == "sinusoidal":
            sinusoids = sinusoidal_encoding(config.context_length, config.d_model)
            self.register_buffer("sinusoids", sinusoids, persistent=False)  # (context_length, C)
        self.embedding_dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config) if config.norm_placement == "pre" else nn.Identity()
        self.head = None
        if not config.tie_weights:
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.initialise(generator)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw all weights anew, as GPT-2 does.

        Matrices come from a normal distribution with standard deviation 0.02, biases are zero,
        gains one. The two layers of a block that add to the residual sum start smaller, by
        1/√(2·n_layers), so that the sum does not grow with the depth.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                parameter.normal_(std=0.02, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        for block in self.blocks:
            for layer in (block.attention.out, block.feed_forward.down):
                layer.weight.mul_(1 / math.sqrt(2 * self.config.n_layers))

    @property
    def output_weight(self) -> Tensor:
        """The matrix (V, C) that turns vectors into logits; the embedding's own when tied."""
        return self.token_embedding.weight if self.head is None else self.head.weight

    def forward(
        self,
        ids: Tensor,
        targets: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        cache: Sequence[LayerCache] | None = None,
        return_weights: bool = False,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None] | tuple[Tensor, Tensor | None, list[Tensor]]:
        """Return the logits for the token after each token, and the loss when targets are given.

        Args:
            ids: tokens, (B, T) integers, T at most `context_length`.
            targets: the tokens that came next, (B, T); -100 marks one that does not count.
            positions: where the tokens stand, integers (T,) or (B, T); None counts on from the
                tokens in the cache, or from 0, and leaves padding out of the count.
            cache: one LayerCache a layer, with the keys and values of earlier tokens; the new ones
                are added.
            return_weights: also return what each head looked at.
            mask: (B, S), False marks padding, which no token looks at; S counts the tokens in the
                cache too. None for no padding. The logits at padding mean nothing.

        Returns:
            (logits (B, T, V), loss or None), and with `return_weights` a third entry, a list over
            the layers of weights (B, H, T, S); S = T without a cache.

        Raises:
            TypeError: not integers, or a cache of another kind.
            ValueError: wrong shapes, no token, more tokens than `context_length`.
            IndexError: an id outside the vocabulary.
        """
        self._require_ids_and_targets(ids, targets)
        start = 0 if cache is None else self._length_of(cache)
        self._require_that_it_fits(ids, positions, start)
        if mask is not None:
            require_padding_mask(mask, (ids.shape[0], start + ids.shape[1]))
            # ALiBi with a cache counts columns; padding on the left changes no distance.
            if positions is None and (cache is None or self.config.positions != "alibi"):
                positions = _count_tokens(mask)[:, start:]  # (B, T)
        x = self.embed(ids, positions, start)  # (B, T, C)
        layer_caches = [None] * self.config.n_layers if cache is None else cache
        all_weights = []
        for block, layer_cache in zip(self.blocks, layer_caches, strict=True):
            x = block(x, positions, layer_cache, return_weights, mask)
            if return_weights:
                x, weights = x  # (B, T, C), (B, H, T, S)
                all_weights.append(weights)
        logits = self.to_logits(x)  # (B, T, V)
        loss = None if targets is None else self._loss(logits, targets)
        return (logits, loss, all_weights) if return_weights else (logits, loss)

    def embed(self, ids: Tensor, positions: Tensor | None = None, start: int = 0) -> Tensor:
        """Return what enters the first block, (B, T, C): token vectors with their positions.

        With sinusoidal positions the token vectors are first multiplied by √C, as in Vaswani et
        al. 2017, section 3.4; the sines would drown them otherwise.

        Args:
            ids: tokens, (B, T).
            positions: where they stand, (T,) or (B, T); None counts on from `start`.
            start: position of the first token.
        """
        if positions is None:
            positions = torch.arange(start, start + ids.shape[1], device=ids.device)  # (T,)
        x = self.token_embedding(ids)  # (B, T, C)
        if self.config.positions == "learned":
            x = x + self.position_embedding(positions)
        if self.config.positions == "sinusoidal":
            x = x * math.sqrt(self.config.d_model) + self.sinusoids[positions]
        return self.embedding_dropout(x)

    def to_logits(self, x: Tensor) -> Tensor:
        """Return the logits (..., V) for vectors `x` (..., C) as they leave a block."""
        return F.linear(self.final_norm(x), self.output_weight)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy; torch's, fast, and equal to `loss.cross_entropy`."""
        return F.cross_entropy(logits.flatten(0, 1), targets.long().flatten())

    def _length_of(self, cache: Sequence[LayerCache]) -> int:
        """Return how many tokens the cache holds; raise unless it has one part for each layer."""
        if not isinstance(cache, Sequence):
            raise TypeError(
                "cache must be a list with one LayerCache for each layer, "
                f"not {type(cache).__name__}"
            )
        if len(cache) != self.config.n_layers:
            raise ValueError(
                f"cache must hold one LayerCache for each of {self.config.n_layers} layers, "
                f"but it holds {len(cache)}"
            )
        require_layer_cache(cache[0])
        return cache[0].length

    def _require_that_it_fits(self, ids: Tensor, positions: Tensor | None, start: int) -> None:
        """Raise unless the tokens, after `start` in the cache, fit in the context."""
        T, limit = ids.shape[1], self.config.context_length
        if start + T > limit:
            held = f" after {start} in the cache" if start else ""
            raise ValueError(
                f"ids has T = {T} tokens{held}, but the model's context_length is {limit}; "
                f"pass the last {limit} tokens, ids[:, -{limit}:], or make a model with a longer "
                "context"
            )
        if positions is not None:
            require_positions(positions, limit, ids.shape)

    def _require_ids_and_targets(self, ids: Tensor, targets: Tensor | None) -> None:
        """Check types and shapes; the embedding checks that the ids are in the vocabulary."""
        require_ids("ids", ids, dims=("B", "T"))
        if ids.numel() == 0:
            raise ValueError(f"ids is empty: shape {tuple(ids.shape)}; give at least one token")
        if targets is None:
            return
        require_targets(targets, self.config.vocab_size)
        if targets.shape != ids.shape:
            raise ValueError(
                f"targets must have the shape of ids, {tuple(ids.shape)}, "
                f"but its shape is {tuple(targets.shape)}"
            )


def _count_tokens(mask: Tensor) -> Tensor:
    """Return the position of each token when padding takes up none: (B, S); padding gets any."""
    return (mask.long().cumsum(dim=-1) - 1).clamp(min=0)


def count_parameters(model: nn.Module) -> int:
    """Return how many numbers the weights hold; a matrix that is shared counts once.

    Raises:
        TypeError: `model` is no torch module.
    """
    require_module("model", model)
    return sum(parameter.numel() for parameter in model.parameters())


def _gpt2(d_model: int, n_layers: int, n_heads: int, context_length: int = 1024) -> GPTConfig:
    """Return GPT-2's layout (Radford et al. 2019, table 2) at one of its sizes, or GPT-3's."""
    return GPTConfig(
        vocab_size=50_257,
        context_length=context_length,
        d_model=d_model,
        n_layers=n_layers,
        n_heads=n_heads,
        activation="gelu_tanh",
    )


PRESETS: dict[str, GPTConfig] = {
    "storyteller": GPTConfig(
        vocab_size=168,
        context_length=100,
        d_model=128,
        n_layers=3,
        n_heads=4,
        positions="rotary",
    ),
    "tiny": GPTConfig(vocab_size=96, context_length=128, d_model=96, n_layers=3, n_heads=4),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    "llama-1b": GPTConfig(
        vocab_size=32_000,
        context_length=2048,
        d_model=2048,
        n_layers=22,
        n_heads=32,
        n_kv_heads=4,
        d_ff=5632,
        norm="rmsnorm",
        activation="swiglu",
        positions="rotary",
        bias=False,
        tie_weights=False,
    ),
    "gpt3": _gpt2(12_288, 96, 96, context_length=2048),
}
"""Known shapes: the model in `assets/`; one that trains on a laptop in minutes; GPT-2's four; a
Llama of 1.1 billion parameters (TinyLlama, Zhang et al. 2024, https://arxiv.org/abs/2401.02385,
table 2); and GPT-3 (Brown et al. 2020, https://arxiv.org/abs/2005.14165, table 2.1). Here all of
GPT-3's layers look at the whole text; in the original every other one looks at a band of it.
"""
