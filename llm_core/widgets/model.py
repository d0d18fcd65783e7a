"""`ModelExplorer`: turn the sizes of a model and see what it costs and where it fits."""

import math
from typing import Any

import traitlets

from llm_core.config import GPTConfig
from llm_core.costs import (
    flops_by_part,
    flops_per_token,
    parameters_by_part,
    training_memory,
)
from llm_core.model import PRESETS
from llm_core.validate import require_choice
from llm_core.widgets.base import Explorer, in_range

NAMES = {
    "storyteller": "Storyteller",
    "tiny": "Tiny",
    "gpt2": "GPT-2 small",
    "gpt2-medium": "GPT-2 medium",
    "gpt2-large": "GPT-2 large",
    "gpt2-xl": "GPT-2 XL",
    "llama-1b": "Llama 1B",
    "gpt3": "GPT-3",
}
"""What the presets are called on the page."""

BLOCKS: dict[str, dict[str, Any]] = {
    "gpt2": {"norm": "layernorm", "activation": "gelu", "bias": True},
    "llama": {"norm": "rmsnorm", "activation": "swiglu", "bias": False},
}
"""What the two kinds of block are made of."""

MACHINES = {"16 GB laptop": 16e9, "24 GB card": 24e9, "80 GB card": 80e9}
"""Machines by name, and their memory in bytes."""

SIZES = {
    "vocab_size": (1, 1_000_000),
    "d_model": (8, 65_536),
    "n_layers": (1, 1_000),
    "n_heads": (1, 1_024),
    "n_kv_heads": (0, 1_024),
    "context_length": (1, 1 << 20),
    "batch_size": (1, 4_096),
}
"""The smallest and the largest value of each whole-number trait."""

PREFIXES = ("T", "G", "M", "k")
WORDS = ("trillion", "billion", "million", "thousand")
"""What bytes and FLOPs, and what parameters are counted in; model.js has the same."""


class ModelExplorer(Explorer):
    """Start from a known model, change its sizes, and watch parameters, operations and memory.

    The browser counts by itself, with the formulas of `llm_core.costs`. Some choices are
    impossible: heads must divide the width, and key/value heads the heads. Then the next smaller
    number that does is used, and the page says so; what was wished for comes back when the other
    sizes allow it.

        explorer = ModelExplorer("gpt2")
        explorer.d_model = 1024
        explorer.config  # the GPTConfig that is counted

    Args:
        preset: the name of a preset to start from, such as "gpt2".
        batch_size: texts in a training batch.

    Attributes:
        preset: name of the preset whose sizes are shown, or "" when they are nobody's.
        vocab_size, context_length, n_layers: see GPTConfig.
        d_model: width, a multiple of 8.
        n_heads: heads that are wished for; see `config` for those in use.
        n_kv_heads: key/value heads that are wished for; 0 means as many as heads.
        ff_ratio: width of the feed-forward part as a multiple of `d_model`, in quarters.
        blocks: "gpt2" (LayerNorm, GELU, biases) or "llama" (RMSNorm, SwiGLU, no biases).
        positions: "learned" or "rotary".
        tied: the output head is the token table.
        batch_size: texts in a training batch, each as long as the context.

    Raises:
        ValueError: there is no such preset.
        traitlets.TraitError: a size out of range.
    """

    script = "model.js"

    presets = traitlets.Dict().tag(sync=True)
    preset = traitlets.Unicode().tag(sync=True)
    vocab_size = traitlets.Int(1).tag(sync=True)
    d_model = traitlets.Int(8).tag(sync=True)
    n_layers = traitlets.Int(1).tag(sync=True)
    n_heads = traitlets.Int(1).tag(sync=True)
    n_kv_heads = traitlets.Int(0).tag(sync=True)
    ff_ratio = traitlets.Float(4.0).tag(sync=True)
    context_length = traitlets.Int(1).tag(sync=True)
    blocks = traitlets.Enum(tuple(BLOCKS), "gpt2").tag(sync=True)
    positions = traitlets.Enum(("learned", "rotary"), "learned").tag(sync=True)
    tied = traitlets.Bool(True).tag(sync=True)
    batch_size = traitlets.Int(1).tag(sync=True)

    def __init__(self, preset: str = "gpt2", batch_size: int = 1) -> None:
        require_choice("preset", preset, tuple(PRESETS))
        settings = {name: settings_of(config) for name, config in PRESETS.items()}
        presets = {name: {"name": NAMES[name], "settings": settings[name]} for name in PRESETS}
        super().__init__(presets=presets, preset=preset, batch_size=batch_size, **settings[preset])
        self.observe(self._on_preset, "preset")
        self.observe(self._on_setting, list(settings[preset]))
        self._on_setting()

    @property
    def config(self) -> GPTConfig:
        """The model that is counted, after impossible wishes have been mended."""
        heads = heads_in_use(self.d_model, self.n_heads, self.positions)
        return GPTConfig(
            vocab_size=self.vocab_size,
            context_length=self.context_length,
            d_model=self.d_model,
            n_layers=self.n_layers,
            n_heads=heads,
            n_kv_heads=kv_heads_in_use(heads, self.n_kv_heads),
            d_ff=int(self.ff_ratio * self.d_model),
            positions=self.positions,
            tie_weights=self.tied,
            **BLOCKS[self.blocks],
        )

    @property
    def mended(self) -> str:
        """Which wishes are impossible and what is used in their place; "" when all are possible."""
        heads = heads_in_use(self.d_model, self.n_heads, self.positions)
        kv_heads = kv_heads_in_use(heads, self.n_kv_heads)
        said = []
        if heads != self.n_heads:
            even = " of an even width" if self.positions == "rotary" else ""
            said.append(
                f"A width of {self.d_model} cannot be cut into {self.n_heads} equal heads{even}: "
                f"{heads} are used."
            )
        if self.n_kv_heads and kv_heads != self.n_kv_heads:
            said.append(
                f"{self.n_kv_heads} key/value heads cannot be shared evenly by {heads} heads: "
                f"{kv_heads} are used."
            )
        return " ".join(said)

    def describe(self) -> str:
        """Return the model, its costs and where it fits; `describe` in model.js says the same."""
        config, memory = self.config, sum(self._memory().values())
        heads = f"{config.n_heads} head{'s' if config.n_heads > 1 else ''}"
        if config.n_kv_heads < config.n_heads:
            heads += f" ({config.n_kv_heads} for keys and values)"
        layers = f"{config.n_layers} layer{'s' if config.n_layers > 1 else ''}"
        texts = f"{self.batch_size} text{'s' if self.batch_size > 1 else ''}"
        return (
            f"{NAMES.get(self.preset, 'Your model')}: {layers}, {config.d_model} wide, {heads}: "
            f"{short(sum(parameters_by_part(config).values()), WORDS)} parameters, "
            f"{short(flops_per_token(config))}FLOPs for a token forward. "
            f"Running it takes {short(self._weights_16_bit())}B and fits on {self._where_run()}; "
            f"training on {texts} takes {short(memory)}B and fits on {_listed(memory)}."
        )

    def draw(self, figure: Any) -> None:
        """Draw parameters, operations and memory by part, and where the model fits."""
        axes = figure.subplots(2, 2)
        memory = self._memory()
        _draw_bars(axes[0, 0], "Parameters", parameters_by_part(self.config))
        _draw_bars(
            axes[0, 1], "Operations for a token, forward", flops_by_part(self.config), "FLOPs"
        )
        _draw_bars(axes[1, 0], "Memory in training", memory, "B")
        needs = {"run": self._weights_16_bit(), "train": sum(memory.values())}
        _draw_fit(axes[1, 1], needs)
        name = NAMES.get(self.preset, "Your model")
        figure.suptitle(f"{name}: {self.config.d_model} wide, {self.n_layers} layers", fontsize=11)

    def numbers(self) -> list[int]:
        """Return all counts in the order of the page: parameters, operations, memory by part."""
        counts = (parameters_by_part(self.config), flops_by_part(self.config), self._memory())
        return [number for count in counts for number in count.values()]

    def _memory(self) -> dict[str, int]:
        return training_memory(self.config, self.batch_size)

    def _weights_16_bit(self) -> int:
        return 2 * sum(parameters_by_part(self.config).values())

    def _where_run(self) -> str:
        return _listed(self._weights_16_bit())

    def _on_preset(self, change: Any) -> None:
        """Take a preset's sizes over."""
        if change["new"]:
            with self.hold_sync():
                for name, value in settings_of(PRESETS[change["new"]]).items():
                    setattr(self, name, value)

    def _on_setting(self, _change: Any = None) -> None:
        """Say which preset these sizes are."""
        settings = {name: getattr(self, name) for name in settings_of(PRESETS["gpt2"])}
        self.preset = next(
            (n for n, config in PRESETS.items() if settings_of(config) == settings), ""
        )

    @traitlets.validate("preset")
    def _known_preset(self, proposal: Any) -> str:
        if proposal["value"] not in ("", *PRESETS):
            raise traitlets.TraitError(
                f"preset must be one of {', '.join(PRESETS)}, not {proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate(*SIZES)
    def _in_range(self, proposal: Any) -> int:
        name = proposal["trait"].name
        value = in_range(proposal, *SIZES[name])
        if name == "d_model" and value % 8:
            raise traitlets.TraitError(f"d_model must be a multiple of 8, but it is {value}")
        return value

    @traitlets.validate("ff_ratio")
    def _in_quarters(self, proposal: Any) -> float:
        value = proposal["value"]
        if not 0.25 <= value <= 16 or (4 * value) % 1:
            raise traitlets.TraitError(
                f"ff_ratio must lie in [0.25, 16] in steps of a quarter, but it is {value}"
            )
        return value


def settings_of(config: GPTConfig) -> dict[str, Any]:
    """Return the explorer's traits for a config: key/value heads 0 for as many as heads."""
    return {
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "n_layers": config.n_layers,
        "n_heads": config.n_heads,
        "n_kv_heads": 0 if config.n_kv_heads == config.n_heads else config.n_kv_heads,
        "ff_ratio": config.d_ff / config.d_model,
        "context_length": config.context_length,
        "blocks": "llama" if config.activation == "swiglu" else "gpt2",
        "positions": config.positions,
        "tied": config.tie_weights,
    }


def heads_in_use(d_model: int, wished: int, positions: str) -> int:
    """Return the largest number of heads up to `wished` that divides the width.

    Rotary positions turn pairs of numbers, so there each head must be of an even width.
    """
    step = 2 if positions == "rotary" else 1
    heads = min(wished, d_model // step)
    while d_model % (heads * step):
        heads -= 1
    return heads


def kv_heads_in_use(n_heads: int, wished: int) -> int:
    """Return the largest number of key/value heads up to `wished` that divides the heads."""
    kv_heads = min(wished or n_heads, n_heads)
    while n_heads % kv_heads:
        kv_heads -= 1
    return kv_heads


def short(value: float, units: tuple[str, ...] = PREFIXES) -> str:
    """Return a number with three digits or so and its unit, such as "124 M"; halves go up."""
    sizes = zip((1e12, 1e9, 1e6, 1e3), units, strict=True)
    size, unit = next(((size, unit) for size, unit in sizes if value >= size), (1, ""))
    scaled = value / size
    digits = 0 if scaled >= 100 or size == 1 else 1 if scaled >= 10 else 2
    rounded = math.floor(scaled * 10**digits + 0.5) / 10**digits
    return f"{rounded:.{digits}f} {unit}"


def _listed(n_bytes: float) -> str:
    """Return the machines that hold so many bytes, in words."""
    fits = [name for name, memory in MACHINES.items() if n_bytes <= memory]
    if not fits:
        return "none of the three machines"
    return "all three machines" if len(fits) == len(MACHINES) else "the " + " and the ".join(fits)


def _draw_bars(axes: Any, title: str, counts: dict[str, int], unit: str = "") -> None:
    """Draw each part as a share of the whole; without a `unit` the counts stand in words."""

    def text(count: int) -> str:
        return short(count, PREFIXES if unit else WORDS) + unit

    total = sum(counts.values())
    shares = [count / total for count in counts.values()]
    bars = axes.barh(list(counts), shares, color="#1f6fc4")
    axes.bar_label(bars, [text(count) for count in counts.values()], fontsize=7, padding=3)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.4), xticks=[])
    axes.tick_params(labelsize=7)
    axes.grid(False)
    axes.set_title(f"{title}: {text(total)}", fontsize=9)


def _draw_fit(axes: Any, needs: dict[str, int]) -> None:
    """Draw what running and training need, on a logarithmic scale with a line for each machine."""
    bars = axes.barh(list(needs), list(needs.values()), color="#1f6fc4", height=0.6)
    for (name, memory), style in zip(MACHINES.items(), ("-", "--", ":"), strict=True):
        axes.axvline(memory, color="#b8520a", linestyle=style, linewidth=1.2, label=name)
    texts = axes.bar_label(bars, [f"{short(n)}B" for n in needs.values()], fontsize=7, padding=3)
    for text in texts:
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    axes.set_xscale("log")
    axes.set(xlim=(1e5, 1e15), ylim=(1.5, -1.0), xticks=[1e6, 1e9, 1e12])
    axes.set_xticklabels(["1 MB", "1 GB", "1 TB"])
    axes.minorticks_off()
    axes.tick_params(labelsize=7)
    axes.grid(False)
    axes.legend(fontsize=6, loc="upper right", frameon=False)
    axes.set_title("What fits: run (16 bits), train (32 bits)", fontsize=9)
