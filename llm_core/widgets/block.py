"""`BlockExplorer`: switch the parts of a block off or swap them, and see what a deep stack does."""

import functools
import itertools
import math
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from llm_core.attention import MultiHeadAttention
from llm_core.block import FeedForward, LayerNorm, RMSNorm, SwiGLU
from llm_core.config import GPTConfig
from llm_core.validate import require_count, require_positive_int, require_range
from llm_core.widgets.base import Explorer, in_range, pack, written

NORMS = {"layernorm": "LayerNorm", "rmsnorm": "RMSNorm", "none": "no norm"}
PLACEMENTS = {"pre": "pre-norm", "post": "post-norm"}
ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "swiglu": "SwiGLU", "none": "no activation"}
RESIDUALS = (True, False)

DEPTH = 24
"""The deepest stack; every depth from 1 to it can be chosen."""

TOKENS = 8
"""Tokens in the text that runs through the stack."""

WIDEST = 128
"""A wider block would take minutes to measure in all its forms."""

State = tuple[str, str, str, bool]
"""A norm, where it stands, an activation, and whether there are residual connections."""

STANDARD: State = ("layernorm", "pre", "gelu", True)
STANDARD_NAME = "pre-norm, LayerNorm, GELU, residual"

Numbers = dict[str, np.ndarray]


class BlockExplorer(Explorer):
    """One block as a diagram whose parts can be switched, and what a stack of such blocks does.

    All combinations are measured once, on random weights and eight random tokens, and sent to the
    browser, so that every switch answers at once. State is in the traits below.

        explorer = BlockExplorer()
        explorer.residual, explorer.norm = False, "none"

    Args:
        d_model: C, width of the block, at most 128.
        n_heads: H, attention heads.
        seed: where the random weights start.

    Attributes:
        norm: "layernorm", "rmsnorm" or "none".
        placement: "pre" or "post"; without a norm it plays no part.
        activation: "relu", "gelu", "swiglu" or "none".
        residual: whether the residual connections are there.
        depth: number of blocks in the stack, 1 to 24.
        sizes: "T", "C", "H", and in "F" the width of the hidden layer for each activation.
        parameters: of "attention", and of "feed_forward" and "norm" for each of their kinds.

    Raises:
        TypeError, ValueError: a size that is no positive whole number, or sizes that do not fit.
    """

    script = "block.js"
    style = "block.css"

    norm = traitlets.Enum(list(NORMS), "layernorm").tag(sync=True)
    placement = traitlets.Enum(list(PLACEMENTS), "pre").tag(sync=True)
    activation = traitlets.Enum(list(ACTIVATIONS), "gelu").tag(sync=True)
    residual = traitlets.Bool(True).tag(sync=True)
    depth = traitlets.Int(DEPTH).tag(sync=True)
    sizes = traitlets.Dict().tag(sync=True)
    parameters = traitlets.Dict().tag(sync=True)

    def __init__(self, d_model: int = 32, n_heads: int = 4, seed: int = 0) -> None:
        require_positive_int("d_model", d_model)
        require_range("d_model", d_model, 1, WIDEST)
        require_count("seed", seed)
        self._numbers = measure(d_model, n_heads, seed)
        config = _config(d_model, n_heads)
        super().__init__(
            arrays={name: pack(values) for name, values in self._numbers.items()},
            sizes=_sizes(config),
            parameters=_parameters(config),
        )

    def curves(self) -> Numbers:
        """Return what the charts show, each (depth + 1,): before the first block, then after each.

        "gradient" is the norm of the gradient as a multiple of that at the end of the stack, and
        "size" the root mean square of the numbers, both as powers of ten; "alike" is the mean
        cosine between the vectors of different tokens.
        """
        return _curves(self._numbers, self._state(), self.depth)

    def describe(self) -> str:
        """Return the parts and where the curves begin and end; block.js says the same."""
        gradient, size, alike = self.curves().values()
        return (
            f"{_name(*self._state())}, {self._blocks()}. "
            f"The gradient that reaches the first block is {quantity(gradient[0])} times that at "
            f"the end. The size of the numbers goes from {quantity(size[0])} to "
            f"{quantity(size[-1])}, and the likeness of the tokens from {written(alike[0])} to "
            f"{written(alike[-1])}."
        )

    def draw(self, figure: Any) -> None:
        """Draw the block's parts in their order, and the three curves."""
        left, *charts = figure.subplot_mosaic(
            [["block", "gradient"], ["block", "size"], ["block", "alike"]], width_ratios=(1, 1.5)
        ).values()
        self._draw_block(left)
        titles = ("gradient, multiple of the end's", "size of the numbers", "likeness of tokens")
        mine, standard = self.curves(), _curves(self._numbers, STANDARD, self.depth)
        for axes, name, title in zip(charts, mine, titles, strict=True):
            axes.plot(mine[name], color="#1f6fc4", linewidth=2, label="this block")
            if self._state() != STANDARD:
                axes.plot(standard[name], "--", color="0.4", linewidth=1.2, label=STANDARD_NAME)
            axes.set_title(title, fontsize=9, loc="left")
            axes.tick_params(labelsize=8)
            axes.set_xticks(range(0, self.depth + 1, max(1, self.depth // 6)))
            if name != "alike":
                _power_axis(axes, [*mine[name], *standard[name]])
        charts[-1].set(ylim=(-0.1, 1.1))
        charts[-1].set_xlabel("after block (0: before the first)", fontsize=9)
        left.legend(*charts[0].get_legend_handles_labels(), fontsize=7, loc="lower center")
        figure.suptitle(f"{_name(*self._state())}; {self._blocks()}", fontsize=10)

    def _state(self) -> State:
        return self.norm, self.placement, self.activation, self.residual

    def _blocks(self) -> str:
        return f"{self.depth} block{'s' * (self.depth > 1)}"

    @traitlets.validate("depth")
    def _in_range(self, proposal: Any) -> int:
        return in_range(proposal, 1, DEPTH)

    def _draw_block(self, axes: Any) -> None:
        """Draw the parts from top to bottom; what is switched off has a dashed edge."""
        norm = (NORMS[self.norm], self.norm == "none")
        halves = [("attention", False), (f"feed-forward, {ACTIVATIONS[self.activation]}", False)]
        total = ("+ residual" if self.residual else "no residual", not self.residual)
        order = []
        for half in halves:
            order += [norm, half, total] if self.placement == "pre" else [half, total, norm]
        for place, (text, off) in enumerate(order):
            edge = {"edgecolor": "0.6" if off else "0.2", "linestyle": "--" if off else "-"}
            box = {"boxstyle": "round,pad=0.4", "facecolor": "white" if off else "0.93", **edge}
            axes.text(0.5, -place, text, ha="center", va="center", fontsize=8, bbox=box)
            if place:
                arrow = {"arrowstyle": "-", "color": "0.4"}
                axes.annotate("", (0.5, -place + 0.3), (0.5, -place + 0.7), arrowprops=arrow)
        axes.set(xlim=(0, 1), ylim=(-len(order) - 0.8, 0.6))
        axes.axis("off")


def quantity(exponent: float) -> str:
    """Return ten to the power `exponent` in words: "1.88", or "10⁻³⁰" when far from one."""
    if -2 <= exponent < 3:
        return written(10 ** float(exponent))
    digits = str(math.floor(exponent + 0.5)).translate(_SUPERSCRIPTS)
    return f"10{digits}"


_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _name(norm: str, placement: str, activation: str, residual: bool) -> str:
    """Return a combination as it stands at the start of a sentence."""
    first = "No norm" if norm == "none" else f"{PLACEMENTS[placement].capitalize()} {NORMS[norm]}"
    with_or_without = "with" if residual else "without"
    return f"{first}, {ACTIVATIONS[activation]}, {with_or_without} residual connections"


def _power_axis(axes: Any, exponents: list[float]) -> None:
    """Label an axis of exponents as powers of ten."""
    low, high = min(-1, math.floor(min(exponents))), max(1, math.ceil(max(exponents)))
    step = max(1, (high - low) // 4)
    ticks = [tick for tick in range(low, high + 1) if tick % step == 0]
    axes.set_yticks(ticks, [f"$10^{{{tick}}}$" for tick in ticks])
    axes.set_ylim(low - 0.1 * step, high + 0.1 * step)


# ---- the numbers ---------------------------------------------------------------------------------


def combinations() -> list[State]:
    """Return every combination of parts, in the order in which `measure` keeps their numbers."""
    return list(itertools.product(NORMS, PLACEMENTS, ACTIVATIONS, RESIDUALS))


def _curves(numbers: Numbers, state: State, depth: int) -> Numbers:
    row, levels = combinations().index(state), slice(depth + 1)
    return {
        "gradient": numbers["gradient"][row, depth - 1, levels],
        "size": numbers["size"][row, levels],
        "alike": numbers["alike"][row, levels],
    }


@functools.lru_cache(maxsize=4)
def measure(d_model: int, n_heads: int, seed: int) -> Numbers:
    """Return what a stack does, for every combination of parts and every depth.

    All combinations share their random weights, torch's default ones, and the random input.

    Args:
        d_model: C.
        n_heads: H.
        seed: of weights and input.

    Returns:
        "gradient" (combinations, depths, levels), "size" and "alike" (combinations, levels), as in
        `BlockExplorer.curves`; level 0 is before the first block. NaN above the end of a stack.

    Raises:
        TypeError, ValueError: sizes that do not fit.
    """
    layers, x, reader = _random_stack(d_model, n_heads, seed)
    rows = []
    for norm, placement, activation, residual in combinations():
        if norm == "none" and placement == "post":
            rows.append(rows[-len(ACTIVATIONS) * len(RESIDUALS)])  # where no norm stands: the same
            continue
        wiring = Wiring(_NORM_LAYERS[norm](d_model), placement, activation, residual)
        rows.append(_measure_one(wiring, layers, x, reader))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class Wiring:
    """How the parts of a block are joined; a block of llm_core where nothing is switched off.

    Args:
        norm: the layer that stands at every norm's place.
        placement: "pre" or "post".
        activation: a key of ACTIVATIONS.
        residual: whether each part's output is added to its input.
    """

    def __init__(self, norm: nn.Module, placement: str, activation: str, residual: bool) -> None:
        self.norm, self.placement = norm.double(), placement
        self.activation, self.residual = activation, residual

    def block(self, x: Tensor, layer: nn.ModuleDict) -> Tensor:
        """Send x (B, T, C) through the attention and the feed-forward of one layer."""
        for part in (layer["attention"], lambda y: self._feed(y, layer)):
            y = part(self.norm(x) if self.placement == "pre" else x)
            y = x + y if self.residual else y
            x = self.norm(y) if self.placement == "post" else y
        return x

    def end(self, x: Tensor) -> Tensor:
        """Return what leaves the stack: pre-norm models have one more norm there."""
        return self.norm(x) if self.placement == "pre" else x

    def _feed(self, x: Tensor, layer: nn.ModuleDict) -> Tensor:
        if self.activation == "none":
            return layer["gelu"].down(layer["gelu"].up(x))
        return layer[self.activation](x)


_NORM_LAYERS = {"layernorm": LayerNorm, "rmsnorm": RMSNorm, "none": nn.Identity}


def _measure_one(wiring: Wiring, layers: list, x: Tensor, reader: Tensor) -> Numbers:
    """Run one combination at every depth at once.

    A batch holds a copy of the text for each depth, and copy d is read off after d blocks, where it
    ends. Copies do not mix, so one backward pass gives the gradients of all depths.
    """
    streams = [x.expand(DEPTH, -1, -1).clone().requires_grad_()]  # (copies that go on, T, C) each
    going = streams[0]
    for layer in layers:
        streams.append(wiring.block(going, layer))
        going = streams[-1][1:]  # the first is read off here
    read = [wiring.end(stream[0]) * reader for stream in streams[1:]]
    gradients = torch.autograd.grad(torch.stack(read).sum(), streams)
    norms = torch.full((DEPTH, DEPTH + 1), math.nan, dtype=x.dtype)  # NaN where a copy has ended
    for level, gradient in enumerate(gradients):
        norms[DEPTH - len(gradient) :, level] = gradient.flatten(1).norm(dim=1)
    at_end = norms.gather(1, torch.arange(1, DEPTH + 1)[:, None])  # (DEPTH, 1)
    ratio = (norms / at_end).log10()
    levels = torch.stack([stream[-1].detach() for stream in streams])  # (DEPTH + 1, T, C)
    return {
        "gradient": ratio.float().numpy(),
        "size": levels.square().mean(dim=(1, 2)).sqrt().log10().float().numpy(),
        "alike": _likeness(levels).float().numpy(),
    }


def _likeness(x: Tensor) -> Tensor:
    """Return the mean cosine between different tokens of x (N, T, C): (N,)."""
    T = x.shape[1]
    unit = nn.functional.normalize(x, dim=-1)
    total = (unit @ unit.mT).sum(dim=(1, 2))  # (N,); the T tokens with themselves give T
    return (total - T) / (T * (T - 1))


def _random_stack(d_model: int, n_heads: int, seed: int) -> tuple[list, Tensor, Tensor]:
    """Return the layers' parts, an input (T, C), and what the output is multiplied by (T, C)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # torch's layers draw from the global generator
        layers = [_random_layer(d_model, n_heads) for _ in range(DEPTH)]
        x, reader = torch.randn(2, TOKENS, d_model, dtype=torch.float64)
    return layers, x, reader


def _random_layer(d_model: int, n_heads: int) -> nn.ModuleDict:
    """Return the attention of a layer, and its feed-forward for each activation."""
    parts = {"attention": MultiHeadAttention(_config(d_model, n_heads))}
    gelu = FeedForward(_config(d_model, n_heads))
    relu = FeedForward(_config(d_model, n_heads, activation="relu"))
    relu.load_state_dict(gelu.state_dict())
    swiglu = SwiGLU(_config(d_model, n_heads, activation="swiglu"))
    return nn.ModuleDict({**parts, "gelu": gelu, "relu": relu, "swiglu": swiglu}).double()


def _config(d_model: int, n_heads: int, **variants: Any) -> GPTConfig:
    return GPTConfig(vocab_size=1, d_model=d_model, n_heads=n_heads, **variants)


def _sizes(config: GPTConfig) -> dict[str, Any]:
    """Return the letters of the diagram: T, C, H, and F for each activation."""
    swiglu = _config(config.d_model, config.n_heads, activation="swiglu")
    hidden = dict.fromkeys(ACTIVATIONS, config.d_ff) | {"swiglu": swiglu.d_ff}
    return {"T": TOKENS, "C": config.d_model, "H": config.n_heads, "F": hidden}


def _parameters(config: GPTConfig) -> dict[str, Any]:
    """Return how many parameters each part has, for each of its kinds."""
    with torch.device("meta"):  # sizes alone, without a draw from torch's global generator
        layer = _random_layer(config.d_model, config.n_heads)

    def count(module: nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    feed = {name: count(layer["gelu" if name == "none" else name]) for name in ACTIVATIONS}
    norms = {name: count(make(config.d_model)) for name, make in _NORM_LAYERS.items()}
    return {"attention": count(layer["attention"]), "feed_forward": feed, "norm": norms}
