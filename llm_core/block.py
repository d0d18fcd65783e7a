"""The Transformer block: attention lets tokens talk, the feed-forward part lets each one think.

Around both lie a residual sum, which keeps a straight way for the gradient, and a norm, which
keeps the numbers in range. The norms, GELU and dropout stand here as functions written out by
hand; the layers call torch's fused kernels for the same, and tests hold them equal.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core.attention import LayerCache, MultiHeadAttention
from llm_core.config import GPTConfig, require_config
from llm_core.validate import (
    require_float_tensor,
    require_generator,
    require_layer_dtype,
    require_positive_int,
    require_range,
)


def layer_norm(x: Tensor, gain: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Give each vector mean 0 and variance 1, then scale and shift each entry; by hand.

    The variance divides by C, not by C - 1. Ba et al. 2016, https://arxiv.org/abs/1607.06450.

    Args:
        x: vectors, (..., C).
        gain: (C,).
        bias: (C,), or None for no shift.
        eps: keeps the root away from zero.

    Returns:
        Like `x`.

    Raises:
        TypeError, ValueError: no tensors of floating-point numbers, or sizes that do not fit.
    """
    _require_vectors(x, gain, bias)
    centred = x - x.mean(dim=-1, keepdim=True)  # (..., C)
    variance = centred.square().mean(dim=-1, keepdim=True)  # (..., 1)
    normalised = centred / torch.sqrt(variance + eps)  # (..., C)
    return normalised * gain if bias is None else normalised * gain + bias


def rms_norm(x: Tensor, gain: Tensor, eps: float = 1e-5) -> Tensor:
    """Scale each vector to a root mean square of one, then each entry by its gain; by hand.

    A layer norm without the mean. Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467,
    section 4.

    Args:
        x: vectors, (..., C).
        gain: (C,).
        eps: keeps the root away from zero.

    Returns:
        Like `x`.

    Raises:
        TypeError, ValueError: no tensors of floating-point numbers, or sizes that do not fit.
    """
    _require_vectors(x, gain)
    root_mean_square = torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)  # (..., 1)
    return gain * (x / root_mean_square)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """Let large numbers pass and stop small ones, with a soft bend between; by hand.

    x·Φ(x), where Φ is the share of a standard normal distribution below x; or GPT-2's
    approximation of it by a tanh. Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415,
    section 2.

    Args:
        x: numbers of any shape.
        approximate: use the tanh form, which differs by less than 0.001.

    Returns:
        Like `x`.

    Raises:
        TypeError: `x` is no tensor of floating-point numbers.
    """
    require_float_tensor("x", x)
    if approximate:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + torch.tanh(inner))
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def dropout(
    x: Tensor, p: float, training: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Set each number to zero with probability `p` while training, and enlarge the rest; by hand.

    What is left is divided by 1 - p, so that each number stays the same on average and nothing
    need be done when training is over. Srivastava et al. 2014,
    https://jmlr.org/papers/v15/srivastava14a.html, section 10 (the "inverted" form).

    Args:
        x: numbers of any shape.
        p: share of the numbers to drop, from 0 to below 1.
        training: False returns `x` as it is.
        generator: source of chance; None takes torch's global one. It gives one number of
            `torch.rand(x.shape)` for each entry, which is dropped where that number is below `p`.

    Returns:
        Like `x`.

    Raises:
        TypeError, ValueError: no tensor of floating-point numbers, `p` out of range, no generator.
    """
    require_float_tensor("x", x)
    require_range("p", p, 0.0, 0.999)
    require_generator("generator", generator)
    if not training:
        return x
    keep = torch.rand(x.shape, generator=generator, device=x.device) >= p  # like x
    return x * keep / (1 - p)


class LayerNorm(nn.Module):
    """Layer norm with a learned gain and, unless `bias` is False, a learned bias.

    Args:
        d_model: C, width of the vectors.
        bias: learn a bias.
        eps: keeps the root away from zero.

    Attributes:
        weight: the gain, (C,), ones at the start.
        bias: added to each vector, (C,), zeros at the start; or None.

    Raises:
        TypeError, ValueError: a size that is no positive whole number, eps outside (0, 1].
    """

    def __init__(self, d_model: int, bias: bool = True, eps: float = 1e-5) -> None:
        super().__init__()
        require_positive_int("d_model", d_model)
        require_range("eps", eps, 0.0, 1.0, open_low=True)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))  # (C,)
        self.bias = nn.Parameter(torch.zeros(d_model)) if bias else None  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (..., C), as `layer_norm` does by hand."""
        _require_input(x, self.weight)
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, bias={self.bias is not None}, eps={self.eps}"


class RMSNorm(nn.Module):
    """RMS norm with a learned gain.

    Args:
        d_model: C, width of the vectors.
        eps: keeps the root away from zero.

    Attributes:
        weight: the gain, (C,), ones at the start.

    Raises:
        TypeError, ValueError: a size that is no positive whole number, eps outside (0, 1].
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        require_positive_int("d_model", d_model)
        require_range("eps", eps, 0.0, 1.0, open_low=True)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))  # (C,)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (..., C), as `rms_norm` does by hand."""
        _require_input(x, self.weight)
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


def make_norm(config: GPTConfig) -> LayerNorm | RMSNorm:
    """Return the norm that `config` names."""
    require_config(config)
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, eps=config.norm_eps)
    return LayerNorm(config.d_model, bias=config.bias, eps=config.norm_eps)


class FeedForward(nn.Module):
    """Two linear layers with a bend between them, the same for every token.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.3.

    Args:
        config: `d_model`, `d_ff`, `activation` ("relu", "gelu" or "gelu_tanh"), `bias`, `dropout`.

    Raises:
        TypeError: `config` is no GPTConfig.
        ValueError: its activation is "swiglu", which is a layer of its own.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        require_config(config)
        if config.activation == "swiglu":
            raise ValueError("config has activation 'swiglu'; SwiGLU(config) is its layer")
        self.activation = config.activation
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each vector of `x`, (..., C), on its own."""
        _require_input(x, self.up.weight)
        return self.dropout(self.down(self._activate(self.up(x))))  # C to d_ff and back

    def _activate(self, x: Tensor) -> Tensor:
        """Apply the activation; `gelu` has both its forms by hand."""
        if self.activation == "relu":
            return F.relu(x)
        return F.gelu(x, approximate="tanh" if self.activation == "gelu_tanh" else "none")


class SwiGLU(nn.Module):
    """A feed-forward layer with a gate: down(silu(gate(x)) · up(x)), as in Llama.

    Shazeer 2020, https://arxiv.org/abs/2002.05202, section 2. silu(g) is g·sigmoid(g).

    Args:
        config: `d_model`, `d_ff`, `bias`, `dropout`.

    Raises:
        TypeError: `config` is no GPTConfig.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        require_config(config)
        self.gate = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.up = nn.Linear(config.d_model, config.d_ff, bias=config.bias)
        self.down = nn.Linear(config.d_ff, config.d_model, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each vector of `x`, (..., C), on its own."""
        _require_input(x, self.up.weight)
        return self.dropout(self.down(F.silu(self.gate(x)) * self.up(x)))  # C to d_ff and back


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each with a residual sum around it and a norm.

    With `norm_placement="pre"` the norm stands before each part and the sum runs through the
    block untouched (GPT-2); with "post" it stands after the sum (Vaswani et al. 2017). Xiong et
    al. 2020, https://arxiv.org/abs/2002.04745, compare the two.

    Args:
        config: sizes and variants; see GPTConfig.

    Raises:
        TypeError: `config` is no GPTConfig.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        require_config(config)
        self.norm_placement = config.norm_placement
        self.attention_norm = make_norm(config)
        self.attention = MultiHeadAttention(config)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = SwiGLU(config) if config.activation == "swiglu" else FeedForward(config)

    def forward(
        self,
        x: Tensor,
        positions: Tensor | None = None,
        cache: LayerCache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return `x` (B, T, C) as it leaves the block, or (x, weights (B, H, T, S)).

        The arguments and errors are those of `MultiHeadAttention.forward`.
        """
        weights = []  # attend() puts them here when somebody asks for them

        def attend(x: Tensor) -> Tensor:
            if not return_weights:
                return self.attention(x, positions, cache)
            output, seen = self.attention(x, positions, cache, return_weights=True)
            weights.append(seen)
            return output

        if self.norm_placement == "pre":
            x = x + attend(self.attention_norm(x))
            x = x + self.feed_forward(self.feed_forward_norm(x))
        else:
            x = self.attention_norm(x + attend(x))
            x = self.feed_forward_norm(x + self.feed_forward(x))
        return (x, weights[0]) if return_weights else x


def _require_vectors(x: Tensor, gain: Tensor, bias: Tensor | None = None) -> None:
    """Raise unless `gain` and `bias` have one entry for each of the C channels of `x`."""
    require_float_tensor("x", x)
    for name, value in (("gain", gain), ("bias", bias)):
        if value is None:
            continue
        require_float_tensor(name, value, ("C",))
        if x.dim() == 0 or x.shape[-1] != value.shape[0]:
            raise ValueError(
                f"{name} has {value.shape[0]} entries, but x is of shape {tuple(x.shape)}; "
                "it needs one for each entry of x's last axis"
            )


def _require_input(x: Tensor, weight: Tensor) -> None:
    """Raise unless `x` has the dtype of the layer's `weight`, and a last axis as wide as its."""
    require_float_tensor("x", x)
    if x.dim() == 0 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(
            f"x must have C = {weight.shape[-1]} entries in its last axis, "
            f"but its shape is {tuple(x.shape)}"
        )
    require_layer_dtype("x", x, weight)
