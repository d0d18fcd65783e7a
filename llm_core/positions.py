"""Where a token stands: attention by itself does not see order, so order has to be put in.

Four ways: add a fixed pattern of sines (`sinusoidal_encoding`), add a learned vector
(`LearnedPositions`), turn queries and keys by an angle that grows with the position
(`rotary_angles`, `apply_rotary`), or take from each score a penalty that grows with the distance
(`alibi_slopes`, `alibi_bias`).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core.validate import (
    require_broadcast,
    require_float_tensor,
    require_ids,
    require_positive_int,
    require_range,
)


def sinusoidal_encoding(T: int, C: int, base: float = 10_000.0) -> Tensor:
    """Return the fixed position vectors of the first Transformer.

    Position t has sin(t·w_i) in column 2i and cos(t·w_i) in column 2i + 1, with the frequency
    w_i = base^(-2i/C): quick waves in the first columns, slow ones in the last.
    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5.

    Args:
        T: number of positions, from 0 to T - 1.
        C: width of a vector, even.
        base: the larger, the slower the slowest wave; 10,000 in the paper.

    Returns:
        (T, C), every entry in [-1, 1].

    Raises:
        TypeError, ValueError: a size that is no positive whole number, an odd C, base ≤ 1.
    """
    require_positive_int("T", T)
    _require_even("C", C)
    _require_base(base)
    angles = _angles(T, C, base)  # (T, C/2)
    pairs = torch.stack((angles.sin(), angles.cos()), dim=-1)  # (T, C/2, 2)
    return pairs.flatten(1)  # (T, C), sine and cosine in turn


class LearnedPositions(nn.Module):
    """One learned vector for each position, as in GPT-2; there is none beyond the last.

    Args:
        context_length: number of positions.
        d_model: C, width of a vector.
        generator: source of the random start; None takes torch's global one.

    Attributes:
        weight: the table, (context_length, C), drawn with standard deviation 0.02.

    Raises:
        TypeError, ValueError: a size that is no positive whole number.
    """

    def __init__(
        self, context_length: int, d_model: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        require_positive_int("context_length", context_length)
        require_positive_int("d_model", d_model)
        self.context_length = context_length
        self.weight = nn.Parameter(torch.empty(context_length, d_model))
        self.initialise(generator)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw every row anew."""
        self.weight.normal_(std=0.02, generator=generator)

    def forward(self, positions: Tensor) -> Tensor:
        """Return the vectors of `positions`, integers of any shape (...): (..., C).

        Raises:
            TypeError: `positions` is no tensor of whole numbers.
            IndexError: a position outside 0 to context_length - 1.
        """
        require_positions(positions, self.context_length)
        return F.embedding(positions, self.weight)  # (..., C)

    def extra_repr(self) -> str:
        return f"{self.context_length}, {self.weight.shape[1]}"


def rotary_angles(T: int, D: int, base: float = 10_000.0) -> tuple[Tensor, Tensor]:
    """Return cosine and sine of the angles by which rotary positions turn.

    At position t, pair i of a head is turned by the angle t·base^(-2i/D).
    Su et al. 2021, https://arxiv.org/abs/2104.09864, section 3.2.2.

    Args:
        T: number of positions, from 0 to T - 1.
        D: width of a head, even; it has D/2 pairs.
        base: the larger, the slower the slowest pair turns.

    Returns:
        (cos, sin), each (T, D/2).

    Raises:
        TypeError, ValueError: a size that is no positive whole number, an odd D, base ≤ 1.
    """
    require_positive_int("T", T)
    _require_even("D", D)
    _require_base(base)
    angles = _angles(T, D, base)  # (T, D/2)
    return angles.cos(), angles.sin()


def apply_rotary(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn each pair of numbers in `x` by the angle of its position.

    Dimension i pairs with dimension i + D/2, as in Hugging Face's Llama (the paper pairs 2i with
    2i + 1; both are the same up to the order of the dimensions). Lengths stay as they are, and
    the product of a turned query with a turned key depends only on how far apart they stand.

    Args:
        x: queries or keys, (..., T, D).
        cos, sin: from `rotary_angles`, (T, D/2), or with axes in front that broadcast with x's.

    Returns:
        Like `x`.

    Raises:
        TypeError: `x`, `cos` or `sin` is no tensor of floating-point numbers.
        ValueError: shapes that do not fit together.
    """
    _require_rotary_shapes(x, cos, sin)
    first, second = x.chunk(2, dim=-1)  # each (..., T, D/2)
    turned = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
    return turned.to(x.dtype)  # (..., T, D)


def alibi_slopes(H: int) -> Tensor:
    """Return how steeply ALiBi's penalty grows with the distance, for each head.

    Head h of H takes the slope 2^(-8·(h+1)/H), when H is a power of two: with 8 heads 1/2, 1/4, …,
    1/256. Press et al. 2022, https://arxiv.org/abs/2108.12409, section 3. For another H the
    authors' code, and BLOOM's, takes the slopes of the next lower power of two, and fills up with
    every second slope of the next higher one, from its first.

    Args:
        H: number of heads.

    Returns:
        (H,), every slope in (0, 1).

    Raises:
        TypeError, ValueError: `H` is no positive whole number.
    """
    require_positive_int("H", H)
    lower = 2 ** int(math.log2(H))  # the largest power of two that is not above H
    between = _geometric_slopes(2 * lower)[::2]  # (lower,), halfway between those of `lower` heads
    return torch.cat((_geometric_slopes(lower), between[: H - lower]))  # (H,)


def alibi_bias(H: int, T: int) -> Tensor:
    """Return what ALiBi adds to the scores of T tokens, after the scale and before softmax.

    The score of query i and key j loses slope·(i - j), the distance times the head's own slope.
    Queries and keys themselves know no position.
    Press et al. 2022, https://arxiv.org/abs/2108.12409, section 3.

    Args:
        H: number of heads.
        T: number of tokens.

    Returns:
        (H, T, T): 0 on the diagonal, below 0 for earlier keys, -inf for later ones, so that the
        bias is a causal mask too.

    Raises:
        TypeError, ValueError: a size that is no positive whole number.
    """
    slopes = alibi_slopes(H)
    require_positive_int("T", T)
    positions = torch.arange(T)
    future = positions > positions[:, None]  # (T, T)
    return distance_penalty(slopes, positions, positions).masked_fill(future, -math.inf)


def distance_penalty(slopes: Tensor, query_positions: Tensor, key_positions: Tensor) -> Tensor:
    """Return -slope·distance for each head, and 0 for keys that stand later than the query.

    Args:
        slopes: (H,).
        query_positions: integers (..., T).
        key_positions: integers (..., S).

    Returns:
        (..., H, T, S).
    """
    distance = query_positions.unsqueeze(-1) - key_positions.unsqueeze(-2)  # (..., T, S)
    return -slopes[:, None, None] * distance.clamp(min=0).unsqueeze(-3)  # (..., H, T, S)


def require_positions(
    positions: Tensor, context_length: int, ids_shape: tuple[int, int] | None = None
) -> None:
    """Raise unless `positions` are integers that a model with `context_length` knows.

    Args:
        positions: what the caller passed.
        context_length: the number of positions that the model knows.
        ids_shape: (B, T) of the tokens; `positions` must then be (T,) or (B, T).
    """
    require_ids("positions", positions)
    if ids_shape is not None and positions.shape not in (ids_shape, ids_shape[1:]):
        raise ValueError(
            f"positions must be (T,) or (B, T) with (B, T) = {tuple(ids_shape)}, "
            f"but its shape is {tuple(positions.shape)}"
        )
    try:
        require_ids("positions", positions, context_length)
    except IndexError:
        raise IndexError(
            f"positions run from {int(positions.min())} to {int(positions.max())}, but this model "
            f"knows 0 to {context_length - 1} (context_length {context_length})"
        ) from None


def _angles(T: int, width: int, base: float) -> Tensor:
    """Return position times frequency: (T, width/2)."""
    frequencies = base ** (-torch.arange(0, width, 2) / width)  # (width/2,)
    return torch.outer(torch.arange(T).float(), frequencies)  # (T, width/2)


def _geometric_slopes(H: int) -> Tensor:
    """Return the slopes of H heads, a power of two: 2^(-8/H), and on by the same factor."""
    return 2.0 ** (-8 * torch.arange(1, H + 1) / H)  # (H,)


def _require_base(base: float) -> None:
    require_range("base", base, 1.0, 1e9, open_low=True)


def _require_even(name: str, value: int) -> None:
    require_positive_int(name, value)
    if value % 2:
        raise ValueError(f"{name} must be even, because its entries form pairs, not {value}")


def _require_rotary_shapes(x: Tensor, cos: Tensor, sin: Tensor) -> None:
    for name, value in (("x", x), ("cos", cos), ("sin", sin)):
        require_float_tensor(name, value)
        if value.dim() < 2:
            raise ValueError(
                f"{name} must have at least 2 axes, but its shape is {tuple(value.shape)}"
            )
    T, D = x.shape[-2:]
    if D % 2:
        raise ValueError(f"x must have an even last axis (pairs of numbers), not D = {D}")
    for name, value in (("cos", cos), ("sin", sin)):
        if value.shape[-2:] != (T, D // 2):
            raise ValueError(
                f"{name} must end in (T, D/2) = {(T, D // 2)} to fit x of shape {tuple(x.shape)}, "
                f"but its shape is {tuple(value.shape)}; rotary_angles(T, D) makes it"
            )
        require_broadcast(name, value.shape[:-2], "x", x.shape[:-2])
