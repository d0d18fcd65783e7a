"""Beam search: the text that is likeliest as a whole, by following several at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from llm_core.sampling.generating import StopIds, next_logits, one_prompt, stop_ids
from llm_core.validate import require_count, require_positive_int, require_range


@dataclass(frozen=True)
class Beam:
    """One continuation of the prompt.

    Attributes:
        ids: the new tokens, a stop id included.
        log_prob: ln of its probability given the prompt: the sum of its tokens' ln p.
        finished: whether it ends in a stop id.
    """

    ids: tuple[int, ...]
    log_prob: float
    finished: bool = False

    def score(self, length_penalty: float) -> float:
        """Return log_prob / length**length_penalty, by which beams of other lengths compare."""
        return self.log_prob / max(1, len(self.ids)) ** length_penalty


@dataclass(frozen=True)
class BeamStep:
    """What one step of the search did; each part is sorted by log_prob, the best first.

    Attributes:
        live: the beams that go on, at most n_beams.
        finished: those that ended at this step and are kept.
        pruned: the best of those that were dropped, at most n_beams.
    """

    live: tuple[Beam, ...]
    finished: tuple[Beam, ...]
    pruned: tuple[Beam, ...]


def beam_search(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    *,
    n_beams: int = 4,
    length_penalty: float = 1.0,
    stop_id: StopIds = None,
) -> list[Beam]:
    """Return the best continuations that `beam_steps` finds, the best first.

    Finished beams and those cut off by `max_new_tokens` compete with the same score. The search
    ends early when no live beam can overtake the finished ones any more, which changes nothing in
    the outcome. Equal to Hugging Face's beam search with `early_stopping="never"`.
    (Wu et al. 2016, section 7, https://arxiv.org/abs/1609.08144, on length normalisation.)

    Args:
        model, ids, max_new_tokens, n_beams, stop_id: see `beam_steps`.
        length_penalty: exponent α of the length in the score log_prob / length^α; 0 ranks by
            probability alone, which favours short texts, 1 by the mean per token.

    Returns:
        At most `n_beams` beams.

    Raises:
        TypeError, ValueError, IndexError: as `beam_steps`, or a length_penalty outside [0, 10].
    """
    require_range("length_penalty", length_penalty, 0.0, 10.0)
    steps = beam_steps(model, ids, max_new_tokens, n_beams=n_beams, stop_id=stop_id)
    finished: list[Beam] = []
    live: tuple[Beam, ...] = ()
    for step in steps:
        live = step.live
        finished = _best([*finished, *step.finished], n_beams, length_penalty)
        if len(finished) == n_beams and live:
            # A live beam only loses log_prob; its score is best if it loses none up to the end.
            best_possible = live[0].log_prob / max_new_tokens**length_penalty
            if finished[-1].score(length_penalty) >= best_possible:
                return finished
    return _best([*finished, *live], n_beams, length_penalty)


def beam_steps(
    model: nn.Module,
    ids: Tensor,
    max_new_tokens: int,
    *,
    n_beams: int = 4,
    stop_id: StopIds = None,
) -> Iterator[BeamStep]:
    """Yield the steps of a beam search, each one token longer.

    A step looks at every token after every live beam. Of all these candidates, the `n_beams` best
    by log_prob that do not end in a stop id live on; those that do end, and are among the
    `n_beams` best of all, are finished. Among equals, the one from the better beam comes first,
    then the one with the lower id. Candidates of probability 0 are none.

    Args:
        model: as in `generate`; read in evaluation mode.
        ids: (T,) or (1, T) ids of the prompt.
        max_new_tokens: the most tokens to add.
        n_beams: how many beams to follow; 1 is greedy.
        stop_id: an id, or several, that end a beam; None lets all run to `max_new_tokens`.

    Returns:
        An iterator over at most `max_new_tokens` steps; it ends sooner when no beam is live.

    Raises:
        TypeError, ValueError, IndexError: an argument of the wrong kind, shape or range, more
            than one row, or a model that returns NaN.
    """
    require_positive_int("n_beams", n_beams)
    require_count("max_new_tokens", max_new_tokens)
    prompt = one_prompt(model, ids, "search row by row")
    stops = set(stop_ids(model, stop_id).tolist())
    return _steps(model, prompt, max_new_tokens, n_beams, stops)


def _steps(
    model: nn.Module, prompt: Tensor, max_new_tokens: int, n_beams: int, stops: set[int]
) -> Iterator[BeamStep]:
    live: tuple[Beam, ...] = (Beam((), 0.0),)
    for _ in range(max_new_tokens):
        new = torch.tensor([beam.ids for beam in live], dtype=prompt.dtype, device=prompt.device)
        rows = torch.cat([prompt.expand(len(live), -1), new], dim=1)  # (n, T + new)
        step = _one_step(live, next_logits(model, rows).cpu().double(), n_beams, stops)
        yield step
        live = step.live
        if not live:
            return


def _one_step(live: tuple[Beam, ...], logits: Tensor, n_beams: int, stops: set[int]) -> BeamStep:
    """Extend every live beam by every token, logits (n, V), and sort the candidates out."""
    before = torch.tensor([beam.log_prob for beam in live], dtype=logits.dtype)
    log_probs = before.unsqueeze(1) + logits.log_softmax(dim=-1)  # (n, V)
    V = logits.shape[-1]
    ordered, places = log_probs.flatten().sort(descending=True, stable=True)  # (n · V,) each
    kept: dict[str, list[Beam]] = {"live": [], "finished": [], "pruned": []}
    enough = n_beams * (2 + len(stops))  # n_beams that go on are among them, and n_beams dropped
    best = zip(ordered[:enough].tolist(), places[:enough].tolist(), strict=True)
    for rank, (log_prob, place) in enumerate(best):
        if log_prob == -torch.inf:
            break
        token = place % V
        beam = Beam((*live[place // V].ids, token), log_prob, finished=token in stops)
        fate = "finished" if beam.finished else "live"
        if (rank >= n_beams) if beam.finished else (len(kept["live"]) == n_beams):
            fate = "pruned"
        kept[fate].append(beam)
    return BeamStep(tuple(kept["live"]), tuple(kept["finished"]), tuple(kept["pruned"][:n_beams]))


def _best(beams: list[Beam], n: int, length_penalty: float) -> list[Beam]:
    """Return the n best by score; among equals the earlier."""
    return sorted(beams, key=lambda beam: -beam.score(length_penalty))[:n]
