"""From logits to text.

`filters` changes the logits of the next token (temperature, top-k, top-p, min-p, repetition
penalty), `choosing` draws a token from them, `generating` repeats that for one prompt or for many,
`beam` looks for the text that is likeliest as a whole, `measures` says how varied the outcome is,
and `pieces` turns a stream of ids into text that can be shown as it comes.
"""

from llm_core.sampling.beam import Beam, BeamStep, beam_search, beam_steps
from llm_core.sampling.choosing import Choice
from llm_core.sampling.filters import (
    HIGHEST_TEMPERATURE,
    LOWEST_TEMPERATURE,
    apply_repetition_penalty,
    apply_temperature,
    greedy,
    min_p_filter,
    top_k_filter,
    top_p_filter,
)
from llm_core.sampling.generating import generate, next_logits, pad_left, stream
from llm_core.sampling.measures import distinct_ngrams, entropy
from llm_core.sampling.pieces import text_pieces

__all__ = [
    "HIGHEST_TEMPERATURE",
    "LOWEST_TEMPERATURE",
    "Beam",
    "BeamStep",
    "Choice",
    "apply_repetition_penalty",
    "apply_temperature",
    "beam_search",
    "beam_steps",
    "distinct_ngrams",
    "entropy",
    "generate",
    "greedy",
    "min_p_filter",
    "next_logits",
    "pad_left",
    "stream",
    "text_pieces",
    "top_k_filter",
    "top_p_filter",
]
