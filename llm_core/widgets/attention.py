"""`AttentionExplorer`: move through every layer and head of a model and see who looks at whom."""

import math
from typing import Any

import numpy as np
import torch
import traitlets

from llm_core.attention import MultiHeadAttention, causal_mask
from llm_core.model import GPT
from llm_core.tokens import Tokenizer
from llm_core.training import evaluation_mode
from llm_core.validate import require_text
from llm_core.widgets.base import Explorer, in_range, pack
from llm_core.widgets.pair import require_pair, unknown_words

MOST_TOKENS = 40
"""More tokens than this are not drawn: their names would no longer be readable."""

DEFAULT_TEXT = "Sam found a green spoon. Later Sam lost the green spoon at the river."

STEPS = (
    "the raw scores",
    "the scaled scores",
    "the masked scores",
    "the weights",
    "the weighted values",
)
"""What the heat map shows at each step, in words; the steps are numbered from 0."""


class AttentionExplorer(Explorer):
    """Type a text, choose layer, head and token, and see where the token looks, and why.

    The browser draws the weights of one head as a heat map and as lines between tokens, and walks
    through the steps scores, scale, mask, softmax, weighted values with the numbers of one query.
    All state is in the traits below: reading and setting them in Python works too.

        explorer = AttentionExplorer(model, tokenizer, text="Tom had a ball.")
        explorer.layer, explorer.head = 2, 1

    Args:
        model: a GPT; None takes the small model that comes with the course.
        tokenizer: the model's tokenizer; None only together with `model`.
        text: what the model reads first.

    Attributes:
        text: what the model reads; setting it computes everything anew.
        tokens: the text's tokens in printable form.
        layer, head: which head is shown, counted from 1.
        query: position of the token whose row of numbers is shown, counted from 0.
        step: 0 scores, 1 scaled, 2 masked, 3 weights (softmax), 4 weighted values.
        notice: unknown words, or what was wrong with the text.

    Raises:
        TypeError: `model` is no GPT, `tokenizer` no tokenizer, or `text` no string.
        ValueError: the two do not belong together, or the text has no token.
    """

    script = "attention.js"

    text = traitlets.Unicode().tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layers = traitlets.Int(1).tag(sync=True)
    n_heads = traitlets.Int(1).tag(sync=True)
    layer = traitlets.Int(1).tag(sync=True)
    head = traitlets.Int(1).tag(sync=True)
    query = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(3).tag(sync=True)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        text: str = DEFAULT_TEXT,
    ) -> None:
        self._gpt, self._tokenizer = require_pair(model, tokenizer)
        require_text("text", text)
        state = self._read(text)
        config = self._gpt.config
        super().__init__(n_layers=config.n_layers, n_heads=config.n_heads, text=text, **state)
        self.follow_text(self._read)

    def describe(self) -> str:
        """Return where the chosen query looks; `describe` in attention.js says the same."""
        query = self.query
        row = self.numbers("weights")[query]
        if query == 0:
            where = "can only look at itself"
        else:
            order = sorted(range(query + 1), key=lambda key: -row[key])[:3]
            looks = ", ".join(f"{self._name(key)} ({row[key]:.2f})" for key in order)
            where = f"looks most at {looks}"
        return (
            f"Layer {self.layer}, head {self.head}: {self._name(query)} {where}. "
            f"The map shows {STEPS[self.step]}."
        )

    def numbers(self, name: str) -> np.ndarray:
        """Return "scores" or "weights" (T, T), or "values" (T, D), of the chosen layer and head."""
        packed = self.arrays[name]
        every_head = np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])
        return every_head[self.layer - 1, self.head - 1]

    def draw(self, figure: Any) -> None:
        """Draw the heat map of the present step, and the lines of every query."""
        left, right = figure.subplots(1, 2, width_ratios=(1.25, 1))
        self._draw_map(figure, left)
        self._draw_lines(right)
        figure.suptitle(f"Layer {self.layer}, head {self.head}", fontsize=11)

    def _read(self, text: str) -> dict[str, Any]:
        """Return the traits that follow from `text`.

        Raises:
            ValueError: no token, or characters that the tokenizer does not know.
        """
        ids = self._tokenizer.encode(text)
        if not ids:
            raise ValueError("The text holds no token; type at least one word")
        most = min(MOST_TOKENS, self._gpt.config.context_length)
        notice = unknown_words(self._tokenizer, text)
        if len(ids) > most:
            notice += f" Only the first {most} of {len(ids)} tokens are shown."
        ids = ids[:most]
        numbers = attention_numbers(self._gpt, torch.tensor([ids]))
        return {
            "tokens": [self._tokenizer.token(id) for id in ids],
            "arrays": {name: pack(value) for name, value in numbers.items()},
            "query": len(ids) - 1,
            "notice": notice.strip(),
        }

    @traitlets.validate("layer", "head", "query", "step")
    def _in_range(self, proposal: Any) -> int:
        low, high = {
            "layer": (1, self.n_layers),
            "head": (1, self.n_heads),
            "query": (0, max(0, len(self.tokens) - 1)),
            "step": (0, len(STEPS) - 1),
        }[proposal["trait"].name]
        return in_range(proposal, low, high)

    def _name(self, position: int) -> str:
        """Return a token's name in a sentence, with its position where the text repeats it."""
        token = self.tokens[position]
        return f'"{token}"' + (f" at {position}" if self.tokens.count(token) > 1 else "")

    def _map(self) -> np.ndarray:
        """Return what the heat map shows: (T, T), masked entries NaN; at the last step (T, D)."""
        scores, weights = self.numbers("scores"), self.numbers("weights")
        values = self.numbers("values")
        scaled = scores / math.sqrt(values.shape[-1])
        future = ~causal_mask(len(scores)).numpy()
        if self.step == 4:
            return weights @ values
        if self.step >= 2:
            return np.where(future, np.nan, scaled if self.step == 2 else weights)
        return scores if self.step == 0 else scaled

    def _draw_map(self, figure: Any, axes: Any) -> None:
        limits = {"vmin": 0, "vmax": 1} if self.step == 3 else {}
        shown = self._map()
        axes.grid(False)
        axes.patch.set(facecolor="0.88", edgecolor="0.68", hatch="////")  # what is masked
        image = axes.imshow(shown, cmap="viridis", aspect="auto", **limits)
        figure.colorbar(image, ax=axes, shrink=0.8)
        size = 8 if len(self.tokens) <= 20 else 5
        axes.set_yticks(range(len(self.tokens)), self._labels(), fontsize=size)
        if self.step < 4:
            names = self._labels()
            axes.set_xticks(range(len(self.tokens)), names, fontsize=size, rotation=90)
        axes.set_xlabel("key" if self.step < 4 else "channel of the output", fontsize=9)
        axes.set_ylabel("query", fontsize=9)
        axes.set_title(STEPS[self.step], fontsize=9)

    def _draw_lines(self, axes: Any) -> None:
        weights = self.numbers("weights")
        size = 8 if len(self.tokens) <= 20 else 5
        for query, row in enumerate(weights):
            chosen = query == self.query
            for key, weight in enumerate(row[: query + 1]):
                if weight >= 0.04 or (chosen and weight >= 0.005):
                    strength = (0.25 + 0.75 * weight) if chosen else 0.3 * weight
                    axes.plot(
                        (0, 1),
                        (query, key),
                        color="#1f6fc4" if chosen else "0.4",
                        alpha=float(min(1.0, strength)),
                        linewidth=1 + (5 if chosen else 1) * weight,
                    )
        for position, label in enumerate(self._labels()):
            bold = "bold" if position == self.query else "normal"
            axes.text(-0.03, position, label, ha="right", va="center", fontsize=size, weight=bold)
            axes.text(1.03, position, label, ha="left", va="center", fontsize=size)
        axes.set(xlim=(-0.45, 1.45), ylim=(len(self.tokens) - 0.5, -0.5))
        axes.set_title("query looks at key", fontsize=9)
        axes.axis("off")

    def _labels(self) -> list[str]:
        """Return the tokens short enough for a picture, with no sign that starts a formula."""
        short = [token if len(token) <= 12 else token[:11] + "…" for token in self.tokens]
        return [token.replace("$", r"\$") for token in short]


@torch.no_grad()
def attention_numbers(model: GPT, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the numbers of every attention head while the model reads one text.

    Args:
        model: a GPT; its train or eval mode stays as it was, the numbers are those of eval mode.
        ids: the text's tokens, (1, T).

    Returns:
        "scores" q·k before scaling and masking (L, H, T, T), "weights" (L, H, T, T) and "values"
        (L, H, T, D), on the CPU in float32; L counts the layers. With grouped queries the values
        of a group are repeated for each of its heads. ALiBi's bias is in the scores, times √D, so
        that the scale leaves it as it is.

    Raises:
        TypeError, ValueError, IndexError: ids that do not fit the model.
    """
    projected: list[tuple[torch.Tensor, ...]] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda attention, inputs: projected.append(attention.project(inputs[0]))
        )
        for module in model.modules()
        if isinstance(module, MultiHeadAttention)
    ]
    try:
        with evaluation_mode(model):
            _, _, weights = model(ids.to(next(model.parameters()).device), return_weights=True)
    finally:
        for hook in hooks:
            hook.remove()
    group = model.config.n_heads // model.config.n_kv_heads
    q = torch.cat([layer[0] for layer in projected])  # (L, H, T, D)
    k = torch.cat([layer[1] for layer in projected]).repeat_interleave(group, dim=1)
    v = torch.cat([layer[2] for layer in projected]).repeat_interleave(group, dim=1)
    scores = q @ k.transpose(-2, -1)  # (L, H, T, T)
    bias = model.blocks[0].attention.position_bias(ids.shape[1], ids.shape[1])
    if bias is not None:
        scores = scores + bias * math.sqrt(model.config.head_dim)
    numbers = {"scores": scores, "weights": torch.cat(weights), "values": v}
    return {name: value.float().cpu() for name, value in numbers.items()}
