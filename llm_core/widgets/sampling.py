"""`NextTokenExplorer` and `BeamExplorer`: choose the next token yourself; watch a search."""

from typing import Any

import numpy as np
import torch
import traitlets

from llm_core.corpus import STORY_END
from llm_core.model import GPT
from llm_core.sampling import Beam, Choice, beam_steps, entropy, next_logits
from llm_core.tokens import Tokenizer
from llm_core.validate import require_positive_int, require_range, require_text
from llm_core.widgets.base import Explorer, in_range, pack, written
from llm_core.widgets.pair import require_pair, unknown_words

CANDIDATES = 12
"""How many of the likeliest next tokens are shown as bars."""

RANGES = {"temperature": (0.1, 3.0), "top_k": (0, 20), "top_p": (0.05, 1.0), "min_p": (0.0, 0.5)}
"""From where to where each slider goes; a top_k of 0 keeps all."""

MOST_BEAMS = 5
LONGEST_SEARCH = 16
"""The most steps of a search: more columns are hard to follow."""

HIGHEST_ALPHA = 2.0
MOST_COLUMNS = 7
"""Columns of the tree in the saved picture, the last ones; the page scrolls."""

SIGNS = {"live": "", "finished": "■ ", "pruned": "× "}
"""What tells the fate of a candidate beside its frame."""


class NextTokenExplorer(Explorer):
    """See what may come next, change the odds, and choose.

    The browser applies temperature, top-k, top-p and min-p to the logits while a slider moves.
    Python works out the logits for the text and for each token that is chosen.

        explorer = NextTokenExplorer(model, tokenizer, prompt="Tom had a")
        explorer.choose(0)      # go on with the likeliest
        explorer.undo()

    Args:
        model: a GPT; None takes the small model that comes with the course.
        tokenizer: the model's tokenizer; None only together with `model`.
        prompt: what the model reads first.
        temperature, top_k, top_p, min_p: where the sliders stand; see `RANGES`.
        seed: where the chance of *Draw one* starts.

    Attributes:
        prompt: setting it begins anew.
        beginning: the prompt as the model reads it.
        path: the tokens chosen since, in printable form.
        names: the likeliest candidates for the next token, the likeliest first.
        chosen: index in `names` of the bar with the focus.
        last: the token before the next one.
        surprise: what the path's tokens surprised the model by together, in nats.
        notice: unknown words, or what was wrong.

    Raises:
        TypeError, ValueError: a model and tokenizer that do not belong together, an empty prompt,
            or a setting out of its range.
    """

    script = "sampling_tokens.js"
    style = "sampling.css"

    prompt = traitlets.Unicode().tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    top_k = traitlets.Int(0).tag(sync=True)
    top_p = traitlets.Float(1.0).tag(sync=True)
    min_p = traitlets.Float(0.0).tag(sync=True)
    beginning = traitlets.Unicode().tag(sync=True)
    path = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)
    last = traitlets.Unicode().tag(sync=True)
    surprise = traitlets.Float(0.0).tag(sync=True)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        prompt: str = "Once there was a",
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int = 0,
    ) -> None:
        self._gpt, self._tokenizer = require_pair(model, tokenizer)
        require_text("prompt", prompt)
        settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        _require_settings(settings)
        self._generator = torch.Generator().manual_seed(seed)
        self._given: list[int] = []
        self._chosen_ids: list[int] = []
        self._surprises: list[float] = []
        self._order = torch.empty(0, dtype=torch.long)
        super().__init__(prompt=prompt, **settings)
        self._begin(prompt)
        self.observe(self._on_prompt, "prompt")
        self.on_msg(self._on_message)

    def choose(self, place: int) -> None:
        """Go on with candidate `place` of `names`, 0 for the likeliest.

        Raises:
            TypeError, ValueError: there is no such candidate.
        """
        if isinstance(place, bool) or not isinstance(place, int):
            raise TypeError(f"place must be a whole number, not {place!r}")
        require_range("place", place, 0, len(self.names) - 1)
        self._take(place)

    def draw_one(self) -> None:
        """Go on with a token drawn by the present settings; any of the vocabulary may come."""
        self._take(int(torch.multinomial(self.probabilities(), 1, generator=self._generator)))

    def undo(self) -> None:
        """Take the last chosen token back; do nothing when there is none."""
        if self._chosen_ids:
            self._chosen_ids.pop()
            self._surprises.pop()
            self._show()

    def logits(self) -> torch.Tensor:
        """Return the model's logits for the next token, the largest first: (V,)."""
        return torch.frombuffer(bytearray(self.arrays["logits"]["data"]), dtype=torch.float32)

    def changed_logits(self) -> torch.Tensor:
        """Return what the settings make of them, in the same order: (V,)."""
        choice = Choice(self.temperature, self.top_k or None, self.top_p, self.min_p)
        none = torch.empty(1, 0, dtype=torch.long)  # no penalty, so no tokens so far
        return choice.change(self.logits().unsqueeze(0), none)[0]

    def probabilities(self) -> torch.Tensor:
        """Return the probability of each token under the settings, in the same order: (V,)."""
        return self.changed_logits().softmax(dim=-1)

    def describe(self) -> str:
        """Return what is left and likeliest; `describe` in sampling_tokens.js says the same."""
        changed = self.changed_logits()
        shares = changed.softmax(dim=-1).tolist()
        likeliest = ", ".join(
            f'"{name}" ({written(share)})'
            for name, share in list(zip(self.names, shares, strict=False))[:3]
            if share > 0
        )
        return (
            f'After "{self.last}": {int(changed.isfinite().sum())} of {len(shares)} tokens left, '
            f"entropy {written(float(entropy(changed)))} nats. Likeliest: {likeliest}. "
            f"Path: {_tokens(len(self.path))}, surprise {written(self.surprise)} nats."
        )

    def draw(self, figure: Any) -> None:
        """Draw the text beside the candidates' bars, before and after the settings."""
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
        left.axis("off")
        text = f"{self.beginning}\n\n{' '.join(self.path)}".replace("$", r"\$")
        left.text(0, 1, text, va="top", fontsize=9, wrap=True, transform=left.transAxes)
        left.set_title("The text, and the path chosen", fontsize=9, loc="left")
        places = np.arange(len(self.names))
        before = self.logits().softmax(dim=-1)[: len(places)].numpy()
        after = self.probabilities()[: len(places)].numpy()
        right.barh(places, before, 0.8, fill=False, edgecolor="0.45", label="the model")
        bars = right.barh(places, after, 0.5, color="#1f6fc4", label="with your settings")
        right.bar_label(bars, fmt="%.2f", fontsize=8, padding=3)
        right.set_yticks(places, [name.replace("$", r"\$") for name in self.names], fontsize=8)
        right.invert_yaxis()
        right.set_xlim(0, max(0.2, float(max(before.max(), after.max())) * 1.15))
        right.legend(fontsize=8, loc="lower right")
        settings = f"temperature {self.temperature:.1f}, top-k {self.top_k or 'off'}"
        right.set_title(f"{settings}, top-p {self.top_p:.2f}, min-p {self.min_p:.2f}", fontsize=9)

    def _on_prompt(self, change: Any) -> None:
        """Begin anew with a text that came from the page; keep the old picture if it is bad."""
        try:
            self._begin(change["new"])
        except (TypeError, ValueError) as error:
            self.notice = f"{error}. The picture still shows the text before."

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Answer the page: choose, draw with its settings, or undo."""
        kind = content.get("kind") if isinstance(content, dict) else None
        try:
            if kind == "choose":
                self.choose(content.get("place"))
            elif kind == "draw":
                settings = {name: content.get(name) for name in RANGES}
                _require_settings(settings)
                self.set_trait_values(settings)
                self.draw_one()
            elif kind == "undo":
                self.undo()
        except (TypeError, ValueError) as error:
            self.notice = f"{error}."

    def set_trait_values(self, settings: dict[str, Any]) -> None:
        """Set several traits, and send them together."""
        with self.hold_sync():
            for name, value in settings.items():
                setattr(self, name, value)

    def _begin(self, prompt: str) -> None:
        """Read a prompt, with no token chosen yet."""
        ids = self._tokenizer.encode(prompt)
        if not ids:
            raise ValueError("The text holds no token; type at least one word")
        self._given, self._chosen_ids, self._surprises = ids, [], []
        self._show()
        self.notice = unknown_words(self._tokenizer, prompt)

    def _take(self, rank: int) -> None:
        """Go on with the token at `rank` in the sorted logits."""
        self._surprises.append(-float(self.logits().log_softmax(dim=-1)[rank]))
        self._chosen_ids.append(int(self._order[rank]))
        self._show()

    def _show(self) -> None:
        """Work out the logits after the text, and send them sorted."""
        ids = self._given + self._chosen_ids
        device = next(self._gpt.parameters()).device
        logits = next_logits(self._gpt, torch.tensor([ids], device=device))[0].cpu()  # (V,)
        ordered, self._order = logits.sort(descending=True, stable=True)
        named = self._order[:CANDIDATES].tolist()
        self.set_trait_values(
            {
                "beginning": self._tokenizer.decode(self._given),
                "path": [self._tokenizer.token(id) for id in self._chosen_ids],
                "names": [self._tokenizer.token(id) for id in named],
                "chosen": 0,
                "last": self._tokenizer.token(ids[-1]),
                "surprise": sum(self._surprises),
                "arrays": {"logits": pack(ordered)},
                "notice": "",
            }
        )


class BeamExplorer(Explorer):
    """Watch beam search follow several texts at once, step by step.

    Python runs the whole search and sends its tree; the browser grows it, and works out the scores
    for any length penalty. A beam is finished at the end of a sentence or of a story. The search
    ends when no live beam can overtake the finished ones any more, whatever the length penalty.

        explorer = BeamExplorer(model, tokenizer, prompt="Tom had a", n_beams=2)
        explorer.step = 4

    Args:
        model: a GPT; None takes the small model that comes with the course.
        tokenizer: the model's tokenizer; None only together with `model`.
        prompt: what the model reads first.
        n_beams: how many beams to follow, 1 to 5.
        alpha: exponent of the length in the score, 0 to 2.
        length: the most steps, 1 to 16.

    Attributes:
        prompt, n_beams: setting one searches anew.
        nodes: the tree, the prompt first. Each node has "step", "parent" (its index, -1 for
            none), "token", "text" (all of the continuation), "log_prob" and "fate": "live",
            "finished" or "pruned".
        n_steps: how many steps the search took.
        step: up to which step the tree is shown.
        picked: index of the node whose numbers are shown.
        notice: unknown words, or what was wrong.

    Raises:
        TypeError, ValueError: a model and tokenizer that do not belong together, an empty prompt,
            or an argument out of its range.
    """

    script = "sampling_beams.js"
    style = "sampling.css"

    prompt = traitlets.Unicode().tag(sync=True)
    n_beams = traitlets.Int(3).tag(sync=True)
    alpha = traitlets.Float(1.0).tag(sync=True)
    beginning = traitlets.Unicode().tag(sync=True)
    nodes = traitlets.List(traitlets.Dict()).tag(sync=True)
    n_steps = traitlets.Int(0).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    picked = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        prompt: str = "Once there was a queen called Mia.",
        n_beams: int = 3,
        alpha: float = 1.0,
        length: int = 12,
    ) -> None:
        self._gpt, self._tokenizer = require_pair(model, tokenizer)
        require_text("prompt", prompt)
        require_positive_int("n_beams", n_beams)
        require_range("n_beams", n_beams, 1, MOST_BEAMS)
        require_range("alpha", alpha, 0.0, HIGHEST_ALPHA)
        require_positive_int("length", length)
        require_range("length", length, 1, LONGEST_SEARCH)
        self._length = length
        state = self._search(prompt, n_beams)
        super().__init__(prompt=prompt, n_beams=n_beams, alpha=float(alpha), **state)
        self.step = min(3, self.n_steps)
        self.observe(self._on_change, ["prompt", "n_beams"])

    def ranking(self) -> list[tuple[float, int]]:
        """Return (score, node) of the finished and live beams at `step`, the best first."""
        found = [
            (self.score(i), i)
            for i, node in enumerate(self.nodes)
            if (node["fate"] == "finished" and node["step"] <= self.step)
            or (node["fate"] == "live" and node["step"] == self.step > 0)
        ]
        return sorted(found, key=lambda pair: -pair[0])[: self.n_beams]

    def score(self, node: int) -> float:
        """Return log_prob / length^alpha of a node."""
        return self.nodes[node]["log_prob"] / max(1, self.nodes[node]["step"]) ** self.alpha

    def describe(self) -> str:
        """Return what the step did and which beam leads; sampling_beams.js says the same."""
        if self.step == 0:
            return f"Step 0 of {self.n_steps}: the search begins with one beam, the prompt."
        now = [node["fate"] for node in self.nodes if node["step"] == self.step]
        counts = ", ".join(f"{now.count(fate)} {fate}" for fate in ("live", "finished", "pruned"))
        score, best = self.ranking()[0]
        node = self.nodes[best]
        return (
            f"Step {self.step} of {self.n_steps}: {counts}. Best so far: "
            f'"{node["text"]}" with score {written(score)} (ln p {written(node["log_prob"])}, '
            f"{_tokens(node['step'])}, α = {written(self.alpha, 1)})."
        )

    def draw(self, figure: Any) -> None:
        """Draw the tree up to the present step."""
        axes = figure.subplots()
        axes.axis("off")
        first = max(0, self.step - MOST_COLUMNS + 1)
        places = {i: place for i, place in self._places().items() if place[0] >= first}
        best = set(self._line_of(self.ranking()[0][1])) if self.step else set()
        for i, (x, y) in places.items():
            node, on_best = self.nodes[i], i in best
            pruned = node["fate"] == "pruned"
            ink = "#b8520a" if on_best else "0.6" if pruned else "0.2"
            if node["parent"] in places:
                from_x, from_y = places[node["parent"]]
                line = {"color": ink, "linestyle": ":" if pruned else "-", "zorder": 1}
                axes.plot((from_x, x), (from_y, y), linewidth=2.5 if on_best else 1, **line)
            box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": ink}
            box |= {"linestyle": "--" if pruned else "-"}
            box |= {"linewidth": 2.4 if node["fate"] == "finished" else 1}
            colour = "0.5" if pruned else "black"
            axes.text(
                x, y, self._label(i), ha="center", va="center", size=7, bbox=box, color=colour
            )
        axes.set_xlim(first - 0.5, first + max(4, min(self.step, MOST_COLUMNS - 1)) + 0.5)
        axes.set_ylim(max(y for _, y in places.values()) + 0.7, -0.7)
        title = f"{self.n_beams} beams, step {self.step}: solid lives, dashed × pruned, ■ finished"
        axes.set_title(title, fontsize=9)

    def _label(self, i: int) -> str:
        """Return what stands in the box of a node, with no sign that starts a formula."""
        node = self.nodes[i]
        token = node["token"] if len(node["token"]) <= 9 else node["token"][:8] + "…"
        number = f" {written(node['log_prob'], 1)}" if i else ""
        return (SIGNS[node["fate"]] + token + number).replace("$", r"\$")

    def _places(self) -> dict[int, tuple[int, int]]:
        """Return column and row of every node up to the present step; each column is sorted."""
        rows: dict[int, int] = {}
        places = {}
        for i, node in enumerate(self.nodes):
            if node["step"] <= self.step:
                places[i] = (node["step"], rows.get(node["step"], 0))
                rows[node["step"]] = places[i][1] + 1
        return places

    def _line_of(self, node: int) -> list[int]:
        """Return a node and all before it, back to the prompt."""
        line = []
        while node >= 0:
            line.append(node)
            node = self.nodes[node]["parent"]
        return line

    def _on_change(self, _change: Any) -> None:
        """Search anew for what came from the page; keep the old tree if it is bad."""
        try:
            state = self._search(self.prompt, self.n_beams)
        except (TypeError, ValueError) as error:
            self.notice = f"{error}. The picture still shows the search before."
            return
        step = min(self.step, state["n_steps"])
        with self.hold_sync():
            for name in ("picked", "step"):  # 0 fits both the old tree and the new
                setattr(self, name, 0)
            for name, value in state.items():
                setattr(self, name, value)
            self.step = step

    def _search(self, prompt: str, n_beams: int) -> dict[str, Any]:
        """Return the traits that follow from a search.

        Raises:
            ValueError: no token, or characters that the tokenizer does not know.
        """
        given = self._tokenizer.encode(prompt)
        if not given:
            raise ValueError("The text holds no token; type at least one word")
        device = next(self._gpt.parameters()).device
        steps = beam_steps(
            self._gpt,
            torch.tensor(given, device=device),
            self._length,
            n_beams=n_beams,
            stop_id=_ends(self._tokenizer),
        )
        last = self._tokenizer.token(given[-1])
        root = {"step": 0, "parent": -1, "token": last, "text": "", "log_prob": 0.0, "fate": "live"}
        nodes, index, finished = [root], {(): 0}, []
        for number, step in enumerate(steps, start=1):
            fates = {"live": step.live, "finished": step.finished, "pruned": step.pruned}
            beams = [(beam, fate) for fate, beams in fates.items() for beam in beams]
            for beam, fate in sorted(beams, key=lambda pair: -pair[0].log_prob):
                index[beam.ids] = len(nodes)
                node = {"step": number, "parent": index[beam.ids[:-1]], "fate": fate}
                node |= {"token": self._tokenizer.token(beam.ids[-1]), "log_prob": beam.log_prob}
                nodes.append(node | {"text": self._continuation(given, beam.ids)})
            finished += step.finished
            if self._is_decided(finished, step.live, n_beams):
                break
        return {
            "beginning": self._tokenizer.decode(given),
            "nodes": nodes,
            "n_steps": nodes[-1]["step"],
            "notice": unknown_words(self._tokenizer, prompt),
        }

    def _is_decided(self, finished: list[Beam], live: tuple[Beam, ...], n_beams: int) -> bool:
        """Say whether no live beam can get among the best n_beams, for any length penalty.

        ln(log_prob / length^α) is a straight line in α, so two lines that keep their order at both
        ends keep it in between.
        """
        if len(finished) < n_beams or not live:
            return False
        return all(
            sorted((beam.score(alpha) for beam in finished), reverse=True)[n_beams - 1]
            >= live[0].log_prob / self._length**alpha
            for alpha in (0.0, HIGHEST_ALPHA)
        )

    def _continuation(self, given: list[int], ids: tuple[int, ...]) -> str:
        """Return the text that the ids add to the prompt."""
        whole = self._tokenizer.decode([*given, *ids])
        return whole.removeprefix(self._tokenizer.decode(given)).strip()

    @traitlets.validate("n_beams", "alpha", "step", "picked")
    def _in_range(self, proposal: Any) -> Any:
        low, high = {
            "n_beams": (1, MOST_BEAMS),
            "alpha": (0.0, HIGHEST_ALPHA),
            "step": (0, self.n_steps),
            "picked": (0, max(0, len(self.nodes) - 1)),
        }[proposal["trait"].name]
        return in_range(proposal, low, high)


def _ends(tokenizer: Tokenizer) -> list[int]:
    """Return the ids at which a sentence or a story ends, as far as they are single tokens."""
    ends = [STORY_END] if STORY_END in tokenizer.special_tokens else []
    names = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
    return [names[mark] for mark in (".", "?", "!", *ends) if mark in names]


def _tokens(n: int) -> str:
    return f"{n} token{'' if n == 1 else 's'}"


def _require_settings(settings: dict[str, Any]) -> None:
    """Raise unless every setting lies where its slider goes."""
    for name, value in settings.items():
        require_range(name, value, *RANGES[name])
    if not isinstance(settings["top_k"], int):
        raise TypeError(f"top_k must be a whole number, not {settings['top_k']!r}")
