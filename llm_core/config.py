"""`GPTConfig`: every choice that makes one model differ from another, in one place."""

from dataclasses import asdict, dataclass
from typing import Any

from llm_core.validate import (
    require_choice,
    require_positive_int,
    require_range,
    unwrap_numpy_numbers,
)

NORMS = ("layernorm", "rmsnorm")
ACTIVATIONS = ("relu", "gelu", "gelu_tanh", "swiglu")
POSITIONS = ("learned", "sinusoidal", "rotary", "alibi", "none")
NORM_PLACEMENTS = ("pre", "post")


@dataclass(frozen=True)
class GPTConfig:
    """The shape and the variants of a decoder-only Transformer.

    The defaults are GPT-2's layout (Radford et al. 2019) at a small size. Llama's layout
    (Touvron et al. 2023) is `norm="rmsnorm", activation="swiglu", positions="rotary",
    bias=False, tie_weights=False`, with `n_kv_heads` below `n_heads` for grouped queries.

    Attributes:
        vocab_size: V, number of tokens in the vocabulary.
        context_length: the most tokens that the model can look at, T at the largest.
        d_model: C, width of the vector that stands for one token.
        n_layers: number of Transformer blocks.
        n_heads: H, attention heads in a block; each is `head_dim` = C/H wide.
        n_kv_heads: heads that carry keys and values; None means `n_heads`. Fewer is
            grouped-query attention (Ainslie et al. 2023).
        d_ff: width of the hidden layer of the feed-forward part; None means 4·C, and for
            "swiglu", which has three matrices in place of two, 8/3·C rounded up to a multiple of 8.
        dropout: share of activations set to zero while training, from 0 to below 1.
        norm: "layernorm" or "rmsnorm".
        activation: "relu", "gelu", "gelu_tanh" or "swiglu".
        positions: "learned", "sinusoidal", "rotary", "alibi" or "none".
        norm_placement: "pre" (norm before each sub-layer) or "post" (after the residual sum).
        qk_norm: RMS-normalise the queries and keys of each head.
        bias: add a bias in the linear layers and in LayerNorm.
        tie_weights: use one matrix for the token embedding and the output head.
        rope_base: base of the rotary angles.
        norm_eps: number added inside the root of a norm, so that it never divides by zero.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range, or sizes that do not fit.
    """

    vocab_size: int
    context_length: int = 128
    d_model: int = 128
    n_layers: int = 4
    n_heads: int = 4
    n_kv_heads: int | None = None
    d_ff: int | None = None
    dropout: float = 0.0
    norm: str = "layernorm"
    activation: str = "gelu"
    positions: str = "learned"
    norm_placement: str = "pre"
    qk_norm: bool = False
    bias: bool = True
    tie_weights: bool = True
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        unwrap_numpy_numbers(self)
        for name in ("vocab_size", "context_length", "d_model", "n_layers", "n_heads"):
            require_positive_int(name, getattr(self, name))
        if self.n_kv_heads is None:
            object.__setattr__(self, "n_kv_heads", self.n_heads)
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", self._default_d_ff())
        require_positive_int("n_kv_heads", self.n_kv_heads)
        require_positive_int("d_ff", self.d_ff)
        require_range("dropout", self.dropout, 0.0, 0.999)
        require_choice("norm", self.norm, NORMS)
        require_choice("activation", self.activation, ACTIVATIONS)
        require_choice("positions", self.positions, POSITIONS)
        require_choice("norm_placement", self.norm_placement, NORM_PLACEMENTS)
        require_range("rope_base", self.rope_base, 1.0, 1e9, open_low=True)
        require_range("norm_eps", self.norm_eps, 0.0, 1.0, open_low=True)
        for name in ("qk_norm", "bias", "tie_weights"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        self._require_sizes_that_fit()

    @property
    def head_dim(self) -> int:
        """D, the width of one head."""
        return self.d_model // self.n_heads

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "GPTConfig":
        """Make a config from `to_dict`'s form.

        Raises:
            ValueError: a field that GPTConfig does not know, or one missing that it needs.
        """
        if not isinstance(fields, dict):
            raise ValueError(f"a config must be a JSON object, not {type(fields).__name__}")
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(
                f"the config has fields that GPTConfig does not know: {unknown}; "
                "was it written by a newer version of the course?"
            )
        if "vocab_size" not in fields:
            raise ValueError("the config has no field 'vocab_size'")
        return cls(**fields)

    def _default_d_ff(self) -> int:
        if self.activation == "swiglu":
            return -(-8 * self.d_model // 24) * 8  # 8/3 of d_model, up to a multiple of 8
        return 4 * self.d_model

    def _require_sizes_that_fit(self) -> None:
        if self.d_model % self.n_heads:
            raise ValueError(
                f"d_model must be a multiple of n_heads, but {self.d_model} is not "
                f"a multiple of {self.n_heads}"
            )
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads must be a multiple of n_kv_heads, but {self.n_heads} is not "
                f"a multiple of {self.n_kv_heads}"
            )
        if self.positions == "rotary" and self.head_dim % 2:
            raise ValueError(
                "rotary positions turn pairs of numbers, so head_dim = d_model / n_heads must be "
                f"even, but it is {self.head_dim}"
            )


def require_config(config: GPTConfig) -> None:
    """Raise TypeError unless `config` is a GPTConfig."""
    if not isinstance(config, GPTConfig):
        raise TypeError(
            f"config must be a GPTConfig, not {type(config).__name__}; "
            "GPTConfig.from_dict(...) makes one from a dictionary"
        )
