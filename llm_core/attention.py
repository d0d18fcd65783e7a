"""Attention: every token asks a question, and gathers what the tokens before it answer.

The formula, softmax(q·kᵀ/√D)·v, is written out by hand in `attention_weights` and
`scaled_dot_product_attention`. `MultiHeadAttention` goes this way when somebody asks for the
weights. Otherwise it calls torch's fused kernel, which computes the same without ever storing
them; a test holds the two equal.

Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.2.
"""

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core.config import GPTConfig, require_config
from llm_core.positions import (
    alibi_slopes,
    apply_rotary,
    distance_penalty,
    require_positions,
    rotary_angles,
)
from llm_core.validate import (
    require_broadcast,
    require_device,
    require_float_tensor,
    require_layer_dtype,
    require_padding_mask,
    require_positive_int,
    require_tensor,
)


def softmax(x: Tensor, dim: int) -> Tensor:
    """Turn numbers into shares: positive, adding up to one, larger for larger numbers.

    The largest number of each slice is taken off first. That changes nothing in the result
    (it cancels), but exp() can then no longer overflow.

    An entry of -inf gets the share 0. A slice that holds nothing but -inf has nothing to share
    out: all of it is 0 and nothing is NaN, as in torch's fused attention.

    Args:
        x: numbers of any shape.
        dim: the axis along which the shares add up to one.

    Returns:
        Like `x`.

    Raises:
        TypeError: `x` is no tensor of floating-point numbers.
        IndexError: `x` has no axis `dim`.
        ValueError: that axis is empty.
    """
    _require_axis(x, dim)
    lowest = torch.finfo(x.dtype).min  # -inf - lowest is still -inf, but -inf - -inf is NaN
    largest = x.detach().amax(dim, keepdim=True).clamp(min=lowest)
    exps = torch.exp(x - largest)
    wide = torch.promote_types(x.dtype, torch.float32)  # a long sum would overflow in float16
    total = exps.sum(dim, keepdim=True, dtype=wide)  # at least exp(0) = 1; 0 where all are -inf
    return (exps / total.clamp(min=1)).to(x.dtype)


def causal_mask(T: int, device: torch.device | str | None = None) -> Tensor:
    """Return who may look at whom when nobody sees the future.

    Returns:
        (T, T), bool; entry [t, s] is True when position t may look at position s, s ≤ t.

    Raises:
        TypeError, ValueError: `T` is no positive whole number, or there is no such device.
    """
    require_positive_int("T", T)
    if device is not None:
        require_device(device)
    return torch.ones(T, T, dtype=torch.bool, device=device).tril()


def attention_weights(
    q: Tensor, k: Tensor, mask: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Return how much each query looks at each key: softmax(q·kᵀ/√D + bias).

    Without the √D the scores of wide heads have a variance of D, softmax puts nearly all weight
    on one key, and its gradient vanishes (Vaswani et al. 2017, section 3.2.1).

    Args:
        q, k, mask: as in `scaled_dot_product_attention`.
        bias: numbers added to the scaled scores, broadcastable to (..., T, S), such as ALiBi's;
            None adds nothing.

    Raises: as in `scaled_dot_product_attention`.

    Returns:
        (..., T, S); each row adds up to one, or is all zero where the mask allows no key.
    """
    _require_queries_and_keys(q, k, mask)
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if bias is not None:
        _require_bias(bias, scores)
        scores = scores + bias
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return softmax(scores, dim=-1)


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Mix the values, each query in its own proportions: softmax(q·kᵀ/√D)·v, by hand.

    Args:
        q: queries, (..., T, D).
        k: keys, (..., S, D).
        v: values, (..., S, Dv).
        mask: bool, broadcastable to (..., T, S); True = may look. None: all may look at all.

    Returns:
        (output (..., T, Dv), weights (..., T, S)).

    Raises:
        TypeError: no tensor of floating-point numbers, or a mask that is not bool.
        ValueError: shapes that do not fit together.
    """
    weights = attention_weights(q, k, mask)  # (..., T, S)
    _require_values(k, v)
    require_broadcast("v", v.shape[:-2], "the weights of q and k", weights.shape[:-2])
    return weights @ v, weights  # (..., T, Dv), (..., T, S)


class LayerCache(Protocol):
    """What attention asks of a cache: the keys and values of one layer, token after token."""

    length: int
    """Number of tokens whose keys and values it holds."""

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of T new tokens, (B, n_kv_heads, T, D); return all S."""


def require_layer_cache(cache: Any) -> None:
    """Raise TypeError unless `cache` has what `LayerCache` asks for."""
    if not hasattr(cache, "length") or not callable(getattr(cache, "update", None)):
        raise TypeError(
            "cache must hold the keys and values of one layer, with `length` and `update(k, v)` "
            f"(see LayerCache), but it is {type(cache).__name__}"
        )


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each on its own slice of the channels.

    Head h takes channels h·D to (h+1)·D of the queries. With fewer key/value heads than query
    heads, neighbouring query heads share one (grouped queries, Ainslie et al. 2023,
    https://arxiv.org/abs/2305.13245). With `config.qk_norm` the queries and keys of each head are
    RMS-normalised (Henry et al. 2020, https://arxiv.org/abs/2010.04245). With
    `positions="rotary"` they are turned by their position, with "alibi" each score loses a penalty
    that grows with the distance.

    Args:
        config: sizes and variants; see GPTConfig.

    Attributes:
        query, key, value, out: the linear layers.
        query_gain, key_gain: gains of the qk-norm, (D,), or None.

    Raises:
        TypeError: `config` is no GPTConfig.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        require_config(config)
        self.config = config
        C, D, kv_width = config.d_model, config.head_dim, config.n_kv_heads * config.head_dim
        self.query = nn.Linear(C, C, bias=config.bias)
        self.key = nn.Linear(C, kv_width, bias=config.bias)
        self.value = nn.Linear(C, kv_width, bias=config.bias)
        self.out = nn.Linear(C, C, bias=config.bias)
        self.weight_dropout = nn.Dropout(config.dropout)
        self.out_dropout = nn.Dropout(config.dropout)
        self.query_gain = nn.Parameter(torch.ones(D)) if config.qk_norm else None
        self.key_gain = nn.Parameter(torch.ones(D)) if config.qk_norm else None
        if config.positions == "rotary":
            cos, sin = rotary_angles(config.context_length, D, config.rope_base)
            self.register_buffer("cos", cos, persistent=False)  # (context_length, D/2)
            self.register_buffer("sin", sin, persistent=False)  # (context_length, D/2)
        if config.positions == "alibi":
            self.register_buffer("slopes", alibi_slopes(config.n_heads), persistent=False)  # (H,)

    def forward(
        self,
        x: Tensor,
        positions: Tensor | None = None,
        cache: LayerCache | None = None,
        return_weights: bool = False,
        mask: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Let each token of `x` look at itself and at the tokens before it.

        Args:
            x: (B, T, C).
            positions: where the T tokens stand, integers (T,) or (B, T), for rotary positions
                and ALiBi; None counts on from the tokens in the cache, or from 0. ALiBi takes them
                only without a cache, which holds no positions to measure distances from.
            cache: keys and values of earlier tokens; the new ones are added to it.
            return_weights: also return the weights, before dropout.
            mask: (B, S), False marks padding, which nobody looks at; None for none. Padding
                that sees no token at all mixes nothing: its output is that of a zero vector.

        Returns:
            The output (B, T, C), or (output, weights (B, H, T, S)), where S counts the tokens in
            the cache too; S = T without one.

        Raises:
            TypeError, ValueError, IndexError: an `x` or `positions` that does not fit the config,
                or a cache of another kind.
        """
        q, k, v = self.project(x, positions, cache)  # (B, H, T, D), (B, n_kv_heads, T, D) twice
        if cache is not None:
            k, v = cache.update(k, v)  # (B, n_kv_heads, S, D)
        if mask is not None:
            require_padding_mask(mask, (x.shape[0], k.shape[-2]))
        bias = self.position_bias(q.shape[-2], k.shape[-2], positions)
        if return_weights:
            mixed, weights = self._attend_by_hand(q, k, v, bias, mask)
        else:
            mixed = self._attend_fused(q, k, v, bias, mask)  # (B, H, T, D)
        merged = mixed.transpose(1, 2).flatten(2)  # (B, T, C)
        output = self.out_dropout(self.out(merged))
        return (output, weights) if return_weights else output

    def project(
        self, x: Tensor, positions: Tensor | None = None, cache: LayerCache | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of `x` as they meet: normalised and turned.

        Args, Raises: as in `forward`; nothing is added to the cache.

        Returns:
            q (B, H, T, D), and k and v, both (B, n_kv_heads, T, D).
        """
        self._require_input(x)
        if cache is not None:
            require_layer_cache(cache)
        q, k, v = self._heads(x)  # (B, H, T, D), (B, n_kv_heads, T, D) twice
        if self.config.qk_norm:
            q, k = self._normalise(q, self.query_gain), self._normalise(k, self.key_gain)
        if self.config.positions in ("rotary", "alibi"):
            self._require_places(positions, x, cache)
        if self.config.positions == "rotary":
            start = 0 if cache is None else cache.length
            where = slice(start, start + x.shape[1]) if positions is None else positions
            cos, sin = self.cos[where].unsqueeze(-3), self.sin[where].unsqueeze(-3)  # an axis for H
            q, k = apply_rotary(q, cos, sin), apply_rotary(k, cos, sin)
        return q, k, v

    def position_bias(self, T: int, S: int, positions: Tensor | None = None) -> Tensor | None:
        """Return what ALiBi adds to the scores of the last T of S tokens; None for other kinds.

        Args:
            T: number of queries.
            S: number of keys, those in the cache included.
            positions: where the tokens stand, (T,) or (B, T) with T = S; None counts from 0.

        Returns:
            (H, T, S), or (B, H, T, S) where each sequence has its own positions; 0 for later keys.
        """
        if self.config.positions != "alibi":
            return None
        keys = torch.arange(S, device=self.slopes.device) if positions is None else positions
        return distance_penalty(self.slopes, keys[..., S - T :], keys)

    def _heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values, split into heads."""
        B, T, _ = x.shape
        D = self.config.head_dim
        q = self.query(x).view(B, T, -1, D).transpose(1, 2)  # (B, H, T, D)
        k = self.key(x).view(B, T, -1, D).transpose(1, 2)  # (B, n_kv_heads, T, D)
        v = self.value(x).view(B, T, -1, D).transpose(1, 2)  # (B, n_kv_heads, T, D)
        return q, k, v

    def _normalise(self, heads: Tensor, gain: Tensor) -> Tensor:
        """RMS-normalise queries or keys (..., D); `block.rms_norm` has the same by hand."""
        return F.rms_norm(heads, (self.config.head_dim,), gain, self.config.norm_eps)

    def _require_places(
        self, positions: Tensor | None, x: Tensor, cache: LayerCache | None
    ) -> None:
        """Raise unless the tokens of `x` stand where this layer knows positions."""
        T, limit = x.shape[1], self.config.context_length
        start = 0 if cache is None else cache.length
        if positions is not None:
            require_positions(positions, limit, x.shape[:2])
            if self.config.positions == "alibi" and cache is not None:
                raise ValueError(
                    "positions must be None when there is a cache and the kind of positions is "
                    "'alibi': it counts the tokens in between, and the cache holds no positions"
                )
        elif start + T > limit:
            raise ValueError(
                f"x has T = {T} tokens after {start} in the cache, more than context_length {limit}"
            )

    def _attend_by_hand(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the mixed values (B, H, T, D) and the weights (B, H, T, S)."""
        T, S = q.shape[-2], k.shape[-2]
        queries_per_key = self.config.n_heads // self.config.n_kv_heads
        k = k.repeat_interleave(queries_per_key, dim=1)  # (B, H, S, D)
        v = v.repeat_interleave(queries_per_key, dim=1)  # (B, H, S, D)
        weights = attention_weights(q, k, _may_look(T, S, mask, q.device), bias)  # (B, H, T, S)
        return self.weight_dropout(weights) @ v, weights

    def _attend_fused(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        """Return the same mixed values (B, H, T, D), from torch's kernel."""
        T, S = q.shape[-2], k.shape[-2]
        allowed = None
        if mask is not None or bias is not None or T not in (1, S):  # more than the kernel knows
            allowed = _may_look(T, S, mask, q.device)  # (T, S) or (B, 1, T, S)
        if bias is not None:
            bias = bias.view(-1, *bias.shape[-3:])  # (1 or B, H, T, S): fused with 4 axes only
            allowed = torch.where(allowed, bias, -math.inf).to(q.dtype)  # (1 or B, H, T, S)
        return F.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=allowed,
            is_causal=allowed is None and T == S,
            dropout_p=self.config.dropout if self.training else 0.0,
            enable_gqa=self.config.n_kv_heads < self.config.n_heads,
        )

    def _require_input(self, x: Tensor) -> None:
        require_float_tensor("x", x, ("B", "T", "C"))
        if x.shape[-1] != self.config.d_model:
            raise ValueError(
                f"x must have C = d_model = {self.config.d_model} channels, "
                f"but its shape is {tuple(x.shape)}"
            )
        if x.numel() == 0:
            raise ValueError(f"x holds no token: shape {tuple(x.shape)}")
        require_layer_dtype("x", x, self.query.weight)


def _may_look(T: int, S: int, mask: Tensor | None, device: torch.device) -> Tensor:
    """Return which of S keys the last T tokens may look at, (T, S), or (B, 1, T, S) with a mask."""
    allowed = causal_mask(S, device)[S - T :]  # (T, S), the rows of the new tokens
    return allowed if mask is None else allowed & mask[:, None, None, :]  # (B, 1, T, S)


def _require_axis(x: Tensor, dim: int) -> None:
    require_float_tensor("x", x)
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"dim must be the number of an axis, not {dim!r}")
    if not -x.dim() <= dim < x.dim():
        raise IndexError(f"dim is {dim}, but x has {x.dim()} axes: shape {tuple(x.shape)}")
    if x.shape[dim] == 0:
        raise ValueError(f"x has no entries along dim {dim}: shape {tuple(x.shape)}")


def _require_queries_and_keys(q: Tensor, k: Tensor, mask: Tensor | None) -> None:
    for name, value in (("q", q), ("k", k)):
        require_float_tensor(name, value)
        if value.dim() < 2:
            raise ValueError(
                f"{name} must have at least 2 axes (tokens, D), "
                f"but its shape is {tuple(value.shape)}"
            )
    _require_one_dtype("q", q, "k", k)
    if q.shape[-1] != k.shape[-1] or q.shape[-1] == 0:
        raise ValueError(
            f"q and k must have the same width D, at least 1, but q is {tuple(q.shape)} "
            f"and k is {tuple(k.shape)}"
        )
    if k.shape[-2] == 0:
        raise ValueError(f"k must hold at least one key, but its shape is {tuple(k.shape)}")
    batch = require_broadcast("q", q.shape[:-2], "k", k.shape[:-2])
    if mask is not None:
        _require_mask(mask, (*batch, q.shape[-2], k.shape[-2]))


def _require_mask(mask: Tensor, scores_shape: tuple[int, ...]) -> None:
    require_tensor("mask", mask)
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask must be of dtype bool (True = may look), not {mask.dtype}; "
            "compare or use .bool() to make one"
        )
    if require_broadcast("mask", mask.shape, "the scores", scores_shape) != scores_shape:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)} has more entries than the scores, "
            f"(..., T, S) = {scores_shape}"
        )


def _require_bias(bias: Tensor, scores: Tensor) -> None:
    require_float_tensor("bias", bias)
    if require_broadcast("bias", bias.shape, "the scores", scores.shape) != scores.shape:
        raise ValueError(
            f"bias of shape {tuple(bias.shape)} has more entries than the scores, "
            f"(..., T, S) = {tuple(scores.shape)}"
        )


def _require_values(k: Tensor, v: Tensor) -> None:
    require_float_tensor("v", v)
    _require_one_dtype("k", k, "v", v)
    if v.dim() < 2 or v.shape[-2] != k.shape[-2]:
        raise ValueError(
            f"v must hold one value for each of the S = {k.shape[-2]} keys, shape (..., S, Dv), "
            f"but its shape is {tuple(v.shape)}"
        )


def _require_one_dtype(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    if value.dtype != other.dtype:
        raise TypeError(
            f"{name} and {other_name} must be of one dtype, but {name} is {value.dtype} "
            f"and {other_name} is {other.dtype}; use .to({name}.dtype)"
        )
