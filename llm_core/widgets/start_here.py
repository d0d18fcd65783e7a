"""`StoryTeller`: a trained model writes stories, and temperature says how daring it is."""

from collections.abc import Iterator
from typing import Any

import torch
import traitlets

from llm_core.model import GPT
from llm_core.sampling import HIGHEST_TEMPERATURE, apply_temperature, stream
from llm_core.tokens import Tokenizer
from llm_core.training import evaluation_mode
from llm_core.validate import require_positive_int, require_range, require_text
from llm_core.widgets.base import Explorer, pack
from llm_core.widgets.pair import require_pair, unknown_words

DEFAULT_PROMPT = "Once there was a"
STORY_END = "<|endoftext|>"
CANDIDATES = 8
"""How many of the likeliest next tokens are drawn as bars."""

LONGEST = 120
"""The most tokens that one story may take."""


class StoryTeller(Explorer):
    """Type a beginning and let the model go on, one token at a time.

    Beside the story stand the likeliest candidates for one of its tokens, with their
    probabilities: for the last one while it grows, then for the one on which temperature has most
    say, and for any other that is chosen. They follow the temperature slider at once: the browser
    itself divides the logits by the temperature and takes the softmax. A new story is drawn when
    the slider is let go.

    Args:
        model: a GPT; None takes the small model that comes with the course.
        tokenizer: the model's tokenizer; None only together with `model`.
        prompt: how the story begins.
        temperature: from 0, always the likeliest token, to 2.
        length: the most tokens to add, 1 to 120.
        seed: where chance starts, 0 to 9999; the same seed draws the same story.

    Attributes:
        beginning: the prompt as the model reads it.
        story: what the model has added so far.
        tokens: what it has added, token by token in printable form.
        running: whether more tokens are on their way.
        place: which of `tokens` the candidates are for, counted from 0.
        names: candidates for that token, the likeliest first, and last the one drawn if it is
            not among the likeliest.
        ranks: where each candidate stands in the logits, which are sorted from the largest down.
        drawn: index in `names` of the token that was drawn.

    Raises:
        TypeError: `model` is no GPT, `tokenizer` no tokenizer, `prompt` no string, or another
            argument no number.
        ValueError: the two do not belong together, or an argument out of its range.
    """

    script = "start_here.js"
    style = "start_here.css"

    prompt = traitlets.Unicode().tag(sync=True)
    temperature = traitlets.Float(0.8).tag(sync=True)
    length = traitlets.Int(45).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    beginning = traitlets.Unicode().tag(sync=True)
    story = traitlets.Unicode().tag(sync=True)
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    place = traitlets.Int(0).tag(sync=True)
    running = traitlets.Bool(False).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ranks = traitlets.List(traitlets.Int()).tag(sync=True)
    drawn = traitlets.Int(-1).tag(sync=True)

    def __init__(
        self,
        model: GPT | None = None,
        tokenizer: Tokenizer | None = None,
        prompt: str = DEFAULT_PROMPT,
        temperature: float = 0.8,
        length: int = 45,
        seed: int = 1,
    ) -> None:
        self._gpt, self._tokenizer = require_pair(model, tokenizer)
        _require_settings(prompt, temperature, length, seed)
        self._stop_id = self._tokenizer.special_tokens.get(STORY_END)
        self._ids: list[int] = []
        self._prompt_length = 0
        self._say: list[float] = []
        self._stream: Iterator[int] = iter(())
        super().__init__(prompt=prompt, temperature=float(temperature), length=length, seed=seed)
        self.on_msg(self._on_message)
        self.generate()

    def generate(self) -> str:
        """Write a story to its end with the present settings, and return all of its text.

        Raises:
            ValueError: a prompt that the tokenizer cannot read or that holds no token.
        """
        self._begin()
        while self.running:
            self._write_token()
        return self.beginning + self.story

    def probabilities(self) -> torch.Tensor:
        """Return the probability of every token at `place`, the largest first: (V,)."""
        logits = torch.frombuffer(bytearray(self.arrays["logits"]["data"]), dtype=torch.float32)
        if self.temperature == 0:
            return torch.nn.functional.one_hot(torch.tensor(0), len(logits)).float()
        return apply_temperature(logits, self.temperature).softmax(dim=-1)

    def describe(self) -> str:
        """Return the story's size and the likeliest tokens; start_here.js says the same."""
        shares = self.probabilities()
        likeliest = ", ".join(
            f'"{name}" ({shares[rank]:.2f})'
            for name, rank in list(zip(self.names, self.ranks, strict=True))[:3]
        )
        return (
            f"Seed {self.seed}, temperature {self.temperature:.1f}, {len(self.tokens)} tokens "
            f"written. Likeliest candidates for token {self.place + 1}, "
            f'"{self.tokens[self.place]}": {likeliest}.'
        )

    def draw(self, figure: Any) -> None:
        """Draw the story as text beside the bars of one draw."""
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        left.axis("off")
        text = _wrapped(self.beginning + self.story, 54)
        left.text(0, 1, text, va="top", fontsize=9, transform=left.transAxes)
        left.set_title("A story by the model", fontsize=9, loc="left")
        shares = [float(self.probabilities()[rank]) for rank in self.ranks]
        colours = ["#b8520a" if i == self.drawn else "#1f6fc4" for i in range(len(shares))]
        bars = right.barh(range(len(shares)), shares, color=colours)
        right.bar_label(bars, fmt="%.2f", fontsize=8, padding=3)
        right.set_yticks(range(len(shares)), [n.replace("$", r"\$") for n in self.names])
        right.invert_yaxis()
        right.set_xlim(0, 1.15)
        drawn = self.tokens[self.place].replace("$", r"\$")
        right.set_title(f'Candidates for "{drawn}", temperature {self.temperature:.1f}', fontsize=9)

    def _on_message(self, _widget: Any, content: Any, _buffers: Any) -> None:
        """Answer the page: begin a story with its settings, go on, or look at a token."""
        kind = content.get("kind") if isinstance(content, dict) else None
        try:
            if kind == "generate":
                self._take_settings(content)
                self._begin()
                self._write_token()
            elif kind == "more" and self.running:
                self._write_token()
            elif kind == "look" and not self.running:
                self._look_at(content.get("place"))
        except (TypeError, ValueError, IndexError) as error:
            self.running = False
            self.notice = f"{error}."

    def _take_settings(self, content: dict[str, Any]) -> None:
        settings = {name: content.get(name) for name in ("prompt", "temperature", "length", "seed")}
        _require_settings(**settings)
        for name, value in settings.items():
            setattr(self, name, value)

    def _begin(self) -> None:
        """Read the prompt, and get ready to go on from it."""
        _require_settings(self.prompt, self.temperature, self.length, self.seed)
        ids = self._tokenizer.encode(self.prompt)
        if not ids:
            raise ValueError("prompt holds no token; type at least one word")
        self._stream = stream(
            self._gpt,
            torch.tensor(ids, device=next(self._gpt.parameters()).device),
            self.length,
            temperature=self.temperature,
            stop_id=self._stop_id,
            generator=torch.Generator().manual_seed(self.seed),
        )
        self._ids, self._prompt_length, self._say = ids, len(ids), []
        with self.hold_sync():
            self.notice = unknown_words(self._tokenizer, self.prompt)
            self.beginning = self._tokenizer.decode(ids)
            self.story, self.tokens, self.place, self.running = "", [], 0, True

    def _write_token(self) -> None:
        """Add one token to the story; when finished, look where temperature has most say."""
        logits = self._next_logits(self._ids)  # (V,)
        self._say.append(_say_of_temperature(logits))
        new_id = next(self._stream)
        self._ids.append(new_id)
        ended = new_id == self._stop_id
        text = self._tokenizer.decode(self._ids[:-1] if ended else self._ids)
        with self.hold_sync():
            self.story = text.removeprefix(self.beginning)
            self.tokens = [*self.tokens, self._tokenizer.token(new_id)]
            self.running = not ended and len(self.tokens) < self.length
            if self.running:
                self._show_candidates(len(self.tokens) - 1, logits)
            else:
                self._look_at(self._say.index(max(self._say)))

    def _look_at(self, place: Any) -> None:
        """Show the candidates for the token at `place`."""
        if isinstance(place, bool) or not isinstance(place, int):
            raise TypeError(f"place must be a whole number, not {place!r}")
        require_range("place", place, 0, len(self.tokens) - 1)
        self._show_candidates(place, self._next_logits(self._ids[: self._prompt_length + place]))

    @torch.no_grad()
    def _next_logits(self, ids: list[int]) -> torch.Tensor:
        """Return the logits (V,) for the token that comes after `ids`."""
        seen = ids[-self._gpt.config.context_length :]
        device = next(self._gpt.parameters()).device
        with evaluation_mode(self._gpt):
            return self._gpt(torch.tensor([seen], device=device))[0][0, -1].float().cpu()

    def _show_candidates(self, place: int, logits: torch.Tensor) -> None:
        """Sort the candidates for the token at `place` and send them to the page."""
        ordered, ids = logits.sort(descending=True, stable=True)  # (V,), (V,)
        rank = int((ids == self._ids[self._prompt_length + place]).nonzero())
        ranks = list(range(min(CANDIDATES, len(ids))))
        if rank not in ranks:
            ranks.append(rank)
        with self.hold_sync():
            self.names = [self._tokenizer.token(int(ids[r])) for r in ranks]
            self.ranks, self.drawn, self.place = ranks, ranks.index(rank), place
            self.arrays = {"logits": pack(ordered)}


def _say_of_temperature(logits: torch.Tensor) -> float:
    """Return how fast the entropy of softmax(logits / temperature) grows with it, at 1.

    That derivative is the variance of ln p under p: 0 for a sure token and for an even choice.
    """
    log_p = logits.log_softmax(-1)
    p = log_p.exp()
    return float((p * (log_p - (p * log_p).sum()).square()).sum())


def _require_settings(prompt: Any, temperature: Any, length: Any, seed: Any) -> None:
    require_text("prompt", prompt)
    require_range("temperature", temperature, 0.0, min(2.0, HIGHEST_TEMPERATURE))
    require_positive_int("length", length)
    require_range("length", length, 1, LONGEST)
    require_range("seed", seed, 0, 9999)
    if not isinstance(seed, int):
        raise TypeError(f"seed must be a whole number, not {seed!r}")


def _wrapped(text: str, width: int) -> str:
    """Return `text` in lines of at most `width` characters, with no sign that starts a formula."""
    import textwrap

    lines = [textwrap.fill(line, width) for line in text.split("\n")]
    return "\n".join(lines).replace("$", r"\$")
