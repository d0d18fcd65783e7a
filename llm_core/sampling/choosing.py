"""How one token is chosen from the logits: the steps, their order, and the draw."""

from dataclasses import dataclass

import torch
from torch import Tensor

from llm_core.sampling.filters import (
    HIGHEST_PENALTY,
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    apply_repetition_penalty,
    apply_temperature,
    greedy,
    min_p_filter,
    top_k_filter,
    top_p_filter,
)
from llm_core.validate import require_generator, require_positive_int, require_range


@dataclass(frozen=True)
class Choice:
    """How the next token is chosen, checked once for a whole generation.

    Repetition penalty, temperature, top-k, top-p, min-p, in this order; then a draw.

    Attributes:
        temperature: see `apply_temperature`; 0 takes the likeliest token every time.
        top_k, top_p, min_p: see the filters; None keeps all.
        repetition_penalty: see `apply_repetition_penalty`; 1 is none.
        generator: where chance comes from; torch's own when None.

    Raises:
        TypeError, ValueError: a value of the wrong kind or out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    generator: torch.Generator | None = None

    def __post_init__(self) -> None:
        if isinstance(self.temperature, bool) or self.temperature != 0:
            low, high = LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE
            require_range("temperature", self.temperature, low, high)
        if self.top_k is not None:
            require_positive_int("top_k", self.top_k)
        if self.top_p is not None:
            require_range("top_p", self.top_p, 0.0, 1.0, open_low=True)
        if self.min_p is not None:
            require_range("min_p", self.min_p, 0.0, 1.0)
        penalty = self.repetition_penalty
        require_range("repetition_penalty", penalty, 0.0, HIGHEST_PENALTY, open_low=True)
        require_generator("generator", self.generator)

    def change(self, logits: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the logits from which the token is drawn; at temperature 0, the penalised ones.

        Args:
            logits: (B, V) scores of the next token.
            ids: (B, T) tokens so far.
            mask: (B, T), False marks padding.
        """
        if self.repetition_penalty != 1:
            logits = apply_repetition_penalty(logits, ids, self.repetition_penalty, mask)
        if self.temperature == 0:
            return logits
        logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k_filter(logits, self.top_k)
        if self.top_p is not None:
            logits = top_p_filter(logits, self.top_p)
        if self.min_p is not None:
            logits = min_p_filter(logits, self.min_p)
        return logits

    def choose(self, logits: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return one id for each row, (B,); the arguments are those of `change`."""
        logits = self.change(logits, ids, mask)
        if self.temperature == 0:
            return greedy(logits)
        probabilities = logits.softmax(dim=-1)
        if self.generator is not None:  # draw where the generator lives: one seed, any device
            probabilities = probabilities.to(self.generator.device)
        drawn = torch.multinomial(probabilities, 1, generator=self.generator)  # (B, 1)
        return drawn.squeeze(1).to(logits.device)  # (B,)
