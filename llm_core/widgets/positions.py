"""`PositionExplorer`: four ways to say where a token stands, with the same controls for each."""

from typing import Any

import numpy as np
import torch
import traitlets

from llm_core.positions import (
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    rotary_angles,
    sinusoidal_encoding,
)
from llm_core.validate import require_count, require_float_tensor
from llm_core.widgets.base import Explorer, in_range, pack, written

KINDS = ("sinusoidal", "learned", "rotary", "alibi")
BASES = (10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
HEADS = (2, 4, 8, 16)
WIDTHS = range(2, 66, 2)
SHORTEST, LONGEST = 8, 128
"""The fewest and the most positions that are drawn."""

MOST_ROWS = 64
"""Rows of the heat map; the widest vector, too."""

DISTANCES = (1, 4, 16)
"""How far back the summary looks."""

LOWEST_BIAS = -8.0
"""Where the colours of ALiBi's bias end: e^-8 leaves next to no weight."""

NAMES = {
    "sinusoidal": "Sinusoidal",
    "learned": "Learned",
    "rotary": "Rotary",
    "alibi": "ALiBi",
}
ROWS = {"sinusoidal": "dimension", "learned": "dimension", "rotary": "pair", "alibi": "head"}
"""What a row of the heat map is; heads are counted from 1, the others from 0."""


class PositionExplorer(Explorer):
    """Move through positions and see what each kind makes of them.

    A heat map shows the vectors of all positions (rotary: the cosine of each pair's angle; ALiBi:
    the bias of the chosen position's query, for each head), two curves pick rows out of it, a third
    picture says how like the chosen position all others are (ALiBi: which weights the bias gives
    when all scores are equal), and clocks show the angle of every pair. The browser works all of
    it out from the sliders; only a learned table comes from Python.

        explorer = PositionExplorer(learned=model.position_embedding.weight)
        explorer.kind, explorer.position = "learned", 12

    Args:
        learned: a table of learned positions, (N, C) with C from 2 to 64 and even, or a
            LearnedPositions; None leaves that kind out.
        trained: how many of its rows, from the first on, were trained; None means all.

    Attributes:
        kind: "sinusoidal", "learned", "rotary" or "alibi".
        d_model: width of a vector, even, 2 to 64; for rotary positions that of a head. A learned
            table has its own.
        base: base of the frequencies, one of 10, 30, 100, ... 100,000.
        n_heads: heads of ALiBi: 2, 4, 8 or 16.
        length: number of positions, 8 to 128.
        position: the chosen one, from 0 to length - 1.
        first, second: rows of the heat map that are drawn as curves, counted from 0; beyond the
            last row, the last is taken.

    Raises:
        TypeError: `learned` is no tensor of floating-point numbers, or `trained` no whole number.
        ValueError: another shape, or a number of trained rows outside the table.
    """

    script = "positions.js"
    style = "positions.css"

    kinds = traitlets.List(traitlets.Unicode()).tag(sync=True)
    kind = traitlets.Unicode("sinusoidal").tag(sync=True)
    d_model = traitlets.Int(32).tag(sync=True)
    base = traitlets.Int(10_000).tag(sync=True)
    n_heads = traitlets.Int(8).tag(sync=True)
    length = traitlets.Int(64).tag(sync=True)
    position = traitlets.Int(24).tag(sync=True)
    first = traitlets.Int(0).tag(sync=True)
    second = traitlets.Int(6).tag(sync=True)
    trained = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, learned: torch.Tensor | LearnedPositions | None = None, trained: int | None = None
    ) -> None:
        if isinstance(learned, LearnedPositions):
            learned = learned.weight
        _require_table(learned, trained)
        if learned is None:
            state = {"kinds": [kind for kind in KINDS if kind != "learned"]}
        else:
            state = {
                "kinds": list(KINDS),
                "trained": len(learned) if trained is None else trained,
                "arrays": {"learned": pack(learned)},
            }
        super().__init__(**state)
        self.observe(self._keep_position, "length")

    def rows(self) -> np.ndarray:
        """Return what the heat map shows, (rows, length); NaN where there is nothing."""
        T = self.length
        if self.kind == "sinusoidal":
            return sinusoidal_encoding(T, self.d_model, float(self.base)).T.double().numpy()
        if self.kind == "rotary":
            return rotary_angles(T, self.d_model, float(self.base))[0].T.double().numpy()
        if self.kind == "alibi":
            bias = alibi_bias(self.n_heads, T)[:, self.position].double().numpy()  # (H, T)
            return np.where(np.isinf(bias), np.nan, bias)
        table = self._table()[:T]
        shown = np.full((table.shape[1], T), np.nan)
        shown[:, : len(table)] = table.T
        return shown

    def similarity(self) -> np.ndarray:
        """Return how like the chosen position the others are, (1, length); NaN where none is.

        Sinusoidal and learned: cosine similarity. Rotary: mean cosine of the angle between. ALiBi,
        (2, length): the weights of the two chosen heads when all scores are equal.
        """
        if self.kind == "rotary":
            cos, sin = rotary_angles(self.length, self.d_model, float(self.base))
            tips = torch.cat((sin, cos), dim=1).double().numpy()  # (T, D)
            return (tips @ tips[self.position] / (self.d_model / 2))[None]
        if self.kind == "alibi":
            bias = alibi_bias(self.n_heads, self.length)[list(self.chosen()), self.position]
            return bias.double().softmax(dim=-1).numpy()
        vectors = self.rows().T  # (T, C)
        chosen = vectors[self.position]
        lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(chosen)
        return (vectors @ chosen / np.where(lengths == 0, 1, lengths))[None]

    def chosen(self) -> tuple[int, int]:
        """Return the rows of the heat map that are drawn as curves."""
        last = len(self.rows()) - 1
        return min(self.first, last), min(self.second, last)

    def describe(self) -> str:
        """Return what the pictures show; `describe` in positions.js says the same."""
        first, second = self.chosen()
        shift = 1 if self.kind == "alibi" else 0
        where = "query at position" if self.kind == "alibi" else "position"
        return (
            f"{self._what()}: {where} {self.position} of {self.length}. {self._likeness()} "
            f"Curves: {ROWS[self.kind]}s {first + shift} and {second + shift}."
        )

    def draw(self, figure: Any) -> None:
        """Draw heat map, curves and similarity under one another, and the clocks beside them."""
        left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
        top, middle, bottom = left.subplots(3, 1, sharex=True, height_ratios=(1.3, 1, 1))
        self._draw_map(left, top)
        self._draw_curves(middle)
        self._draw_similarity(bottom)
        if self.kind == "alibi":
            self._draw_slopes(right.subplots())
        else:
            self._draw_clocks(right.subplots())
        figure.suptitle(f"{self._what()}: position {self.position}", fontsize=11)

    def _keep_position(self, _change: Any) -> None:
        """Choose the last position when the chosen one is no longer there."""
        self.position = min(self.position, self.length - 1)

    @traitlets.validate("kind", "base", "n_heads", "d_model", "length")
    def _one_of(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        choices = {
            "kind": self.kinds,
            "base": BASES,
            "n_heads": HEADS,
            "d_model": WIDTHS,
            "length": range(SHORTEST, LONGEST + 1),
        }[name]
        if value not in choices:
            advice = "; pass learned=... to show it" if value == "learned" else ""
            known = choices if not isinstance(choices, range) else _range_text(choices)
            raise traitlets.TraitError(f"{name} must be one of {known}, not {value!r}{advice}")
        return value

    @traitlets.validate("position", "first", "second")
    def _in_range(self, proposal: Any) -> int:
        rows = self.length if proposal["trait"].name == "position" else MOST_ROWS
        return in_range(proposal, 0, rows - 1)

    def _table(self) -> np.ndarray:
        """Return the learned table, (N, C)."""
        packed = self.arrays["learned"]
        return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"]).astype(float)

    def _what(self) -> str:
        """Return the kind with its sizes, in words."""
        name = NAMES[self.kind]
        if self.kind == "alibi":
            return f"{name}, {self.n_heads} heads"
        if self.kind == "learned":
            N, C = self._table().shape
            return f"{name}, width {C}, {self.trained} of {N} rows trained"
        return f"{name}, width {self.d_model}, base {self.base:,}"

    def _likeness(self) -> str:
        """Return a sentence on the third picture."""
        values, t = self.similarity(), self.position
        if self.kind == "alibi":
            told = " and ".join(
                f"{weights[t]:.2f} in head {head + 1} (slope 2^-{8 * (head + 1) / self.n_heads:g})"
                for head, weights in zip(self.chosen(), values, strict=True)
            )
            return f"With equal scores a token keeps for itself the weight {told}."
        if np.isnan(values[0, t]):
            return f"The table has no row for position {t}."
        told = ", ".join(f"{d} before {written(values[0, t - d])}" for d in DISTANCES if d <= t)
        return f"Similarity with the position {told}." if told else "It is the first position."

    def _draw_map(self, figure: Any, axes: Any) -> None:
        shown = self.rows()
        low, high = self._limits(shown)
        axes.grid(False)
        axes.patch.set(facecolor="0.88", edgecolor="0.68", hatch="////")  # where there is nothing
        image = axes.imshow(shown, aspect="auto", cmap="viridis", vmin=low, vmax=high)
        figure.colorbar(image, ax=axes)
        axes.axvline(self.position, color="#b8520a", linewidth=1.5)
        axes.set_ylabel(ROWS[self.kind], fontsize=8)
        axes.tick_params(labelsize=7)
        if self.kind == "alibi":
            axes.set_yticks(range(self.n_heads), range(1, self.n_heads + 1))

    def _limits(self, shown: np.ndarray) -> tuple[float, float]:
        """Return the ends of the colours."""
        if self.kind == "alibi":
            return LOWEST_BIAS, 0.0
        if self.kind == "learned":
            largest = float(np.abs(self._table()).max())
            return -largest, largest
        return -1.0, 1.0

    def _draw_curves(self, axes: Any) -> None:
        shown, shift = self.rows(), 1 if self.kind == "alibi" else 0
        for row, style in zip(self.chosen(), ("-", "--"), strict=True):
            axes.plot(shown[row], style, linewidth=1.5)
        axes.axvline(self.position, color="#b8520a", linewidth=1.5)
        axes.set_ylabel("bias" if self.kind == "alibi" else "value", fontsize=8)
        axes.tick_params(labelsize=7)
        first, second = (row + shift for row in self.chosen())
        name = ROWS[self.kind]
        axes.set_title(f"{name} {first} (solid), {name} {second} (dashed)", fontsize=7, loc="left")

    def _draw_similarity(self, axes: Any) -> None:
        shown = self.position + 1 if self.kind == "alibi" else self.length
        for values, style in zip(self.similarity(), ("-", "--"), strict=False):
            axes.plot(values[:shown], style, linewidth=1.5)
        axes.axvline(self.position, color="#b8520a", linewidth=1.5)
        axes.set_ylabel("weight" if self.kind == "alibi" else "similarity", fontsize=8)
        axes.set_xlabel("key" if self.kind == "alibi" else "position", fontsize=8)
        axes.tick_params(labelsize=7)

    def _draw_clocks(self, axes: Any) -> None:
        tips = self.hands()
        columns = int(np.ceil(np.sqrt(len(tips))))
        size = 8 if columns <= 4 else 5
        circle = np.linspace(0, 2 * np.pi, 60)
        for i, (right, up) in enumerate(tips):
            x, y = 2.4 * (i % columns), -3.0 * (i // columns)
            axes.plot(x + np.sin(circle), y + np.cos(circle), color="0.75", linewidth=1)
            axes.plot((x, x + right), (y, y + up), color="#1f6fc4", linewidth=1.5)
            axes.text(x, y + 1.1, str(i), fontsize=size, weight="bold", ha="center", va="bottom")
        axes.margins(0.01)
        axes.set_aspect("equal")
        axes.axis("off")

    def hands(self) -> np.ndarray:
        """Return the tip of each pair's hand at the chosen position, (pairs, 2): right, up.

        The hands of a learned table are as long as its longest allows, at most 1; NaN where it has
        no row. ALiBi has no hands: (0, 2).
        """
        if self.kind == "alibi":
            return np.empty((0, 2))
        if self.kind == "rotary":
            cos, sin = rotary_angles(self.length, self.d_model, float(self.base))
            return torch.stack((sin, cos), dim=-1)[self.position].double().numpy()
        pairs = self.rows()[:, self.position].reshape(-1, 2)
        if self.kind == "sinusoidal":
            return pairs
        longest = np.linalg.norm(self._table().reshape(-1, 2), axis=1).max()
        return pairs / (longest or 1.0)

    def _draw_slopes(self, axes: Any) -> None:
        slopes = alibi_slopes(self.n_heads).numpy()
        bars = axes.barh(range(1, self.n_heads + 1), slopes, color="#1f6fc4")
        axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
        axes.set_yticks(range(1, self.n_heads + 1))
        axes.set(xlim=(0, 1.25 * slopes.max()), ylabel="head")
        axes.invert_yaxis()
        axes.tick_params(labelsize=7)
        axes.set_title("slopes", fontsize=9)


def _require_table(learned: torch.Tensor | None, trained: int | None) -> None:
    """Raise unless `learned` is None or a table that can be shown, with `trained` of its rows."""
    if learned is None:
        if trained is not None:
            raise ValueError("trained must be None without a learned table; pass learned=...")
        return
    require_float_tensor("learned", learned, ("N", "C"))
    N, C = learned.shape
    if N == 0 or C not in WIDTHS:
        raise ValueError(
            f"learned must have at least one row and an even width C from 2 to {MOST_ROWS}, "
            f"but its shape is {(N, C)}"
        )
    if not bool(learned.isfinite().all()):
        raise ValueError("learned must hold finite numbers, but some are infinite or NaN")
    if trained is not None:
        require_count("trained", trained)
        if trained > N:
            raise ValueError(f"trained must be at most {N}, the rows of learned, not {trained}")


def _range_text(choices: range) -> str:
    """Return a range as a learner would say it."""
    step = f" in steps of {choices.step}" if choices.step > 1 else ""
    return f"{choices.start} to {choices[-1]}{step}"
