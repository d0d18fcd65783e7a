"""Exercises and quizzes of chapter 08, sampling: references, inputs, known mistakes, hints.

Letters: B batch, T tokens so far, V vocabulary, N beams. A function whose name begins with an
underscore and that stands under "known mistakes" is wrong on purpose: it is what learners write,
kept so that `check` can recognise it and say what happened.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch

from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, normal, token_ids
from llm_core.sampling import apply_repetition_penalty, top_k_filter, top_p_filter
from llm_core.validate import require_float_tensor, require_range

INF = math.inf

NextLogits = Callable[[list[int]], torch.Tensor]
"""From the ids so far to the logits of the next token, (V,)."""


def unsorted_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Filter by top-p with a bug that hides well: what to drop is found, and left, in sorted order.

    Where the logits happen to fall from the first to the last, sorting changes nothing and the
    result is right. The exercise `sampling.expose_bug` asks for logits on which this and
    `llm_core.sampling.top_p_filter` differ.

    Args:
        logits: (..., V) scores.
        p: share of the probability to keep, above 0 and at most 1.

    Returns:
        (..., V) scores with -inf at the wrong places.

    Raises:
        TypeError, ValueError: not scores, or a p outside (0, 1].
    """
    require_float_tensor("logits", logits)
    require_range("p", p, 0.0, 1.0, open_low=True)
    probabilities, _ = logits.softmax(dim=-1).sort(dim=-1, descending=True)
    sum_before = probabilities.cumsum(dim=-1) - probabilities
    return logits.masked_fill(sum_before >= p, -INF)


# --- References: what a learner should write, where llm_core has no such function of its own. ---


def greedy_continue(
    next_logits: NextLogits, ids: list[int], max_new_tokens: int, stop_id: int | None = None
) -> list[int]:
    """Add the likeliest token to `ids`, again and again, at most until `stop_id` has come."""
    ids = list(ids)
    for _ in range(max_new_tokens):
        new_id = int(next_logits(ids).argmax())
        ids.append(new_id)
        if new_id == stop_id:
            break
    return ids


def draw(probabilities: torch.Tensor, u: float) -> int:
    """Return the token in whose stretch of the line from 0 to 1 the number u lies."""
    total = 0.0
    last = 0
    for token, probability in enumerate(probabilities.tolist()):
        if probability > 0:
            last = token
        total += probability
        if u < total:
            return token
    return last  # rounding has left the sum just below u


def beam_step(
    scores: torch.Tensor, log_probs: torch.Tensor, n_beams: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Extend N beams, scores (N,), by every token, log_probs (N, V); return the n_beams best."""
    V = log_probs.shape[1]
    totals = scores[:, None] + log_probs  # (N, V)
    best, places = totals.flatten().topk(n_beams)  # (n_beams,) each
    return best, places // V, places % V


def pad_left(
    prompts: list[list[int]], pad_id: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lay prompts side by side with padding on the left: ids, mask and positions, each (B, T)."""
    T = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (T - len(prompt)) + prompt for prompt in prompts])  # (B, T)
    mask = torch.tensor(
        [[False] * (T - len(prompt)) + [True] * len(prompt) for prompt in prompts]
    )  # (B, T)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
    return ids, mask, positions


def expose_bug() -> tuple[torch.Tensor, float]:
    """Return logits whose likeliest token does not stand first, and a p that keeps it alone."""
    return torch.tensor([0.0, 3.0, 1.0]), 0.5


# --- greedy_continue ---


class ToyModel:
    """A model that is a table: every text so far has a row of logits, by its length and its sum.

    It looks at all of the text, so an answer that shows it only a part is found out. Two of them
    are equal when their tables are.
    """

    def __init__(self, table: torch.Tensor) -> None:
        self.table = table

    def __call__(self, ids: Iterable[Any]) -> torch.Tensor:
        ids = [int(id) for id in ids]
        return self.table[(sum(ids) + 5 * len(ids)) % len(self.table)].clone()  # (V,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ToyModel) and torch.equal(self.table, other.table)

    __hash__ = None

    def __repr__(self) -> str:
        V = self.table.shape[1]
        return f"a model with {V} tokens whose logits depend on all ids so far"


def _counting_model(V: int) -> ToyModel:
    """Return a model that always wants the token (sum + 5·length + 1) modulo V next."""
    return ToyModel(torch.eye(V).roll(1, dims=1) * 3)


GREEDY_CASES = (
    Case("seven tokens, no stop", (ToyModel(normal(1, 11, 7)), [3, 1], 5, None)),
    Case("a prompt of one token", (ToyModel(normal(2, 13, 5)), [4], 6, None)),
    Case("it stops at a stop token", (_counting_model(8), [2, 3], 12, 3)),
    Case("the stop token has the id 0", (_counting_model(7), [1, 2], 12, 0)),
    Case("the stop token stands in the prompt", (_counting_model(9), [5, 1], 7, 5)),
    Case("the first token is the stop", (ToyModel(torch.eye(6)[[2] * 6]), [1, 5], 4, 2)),
    Case("nothing to add", (ToyModel(normal(3, 11, 7)), [3, 1, 2], 0, None)),
    Case("one token to add", (ToyModel(normal(4, 11, 7)), [6, 0], 1, 1)),
    Case("two tokens tie", (ToyModel(torch.tensor([[0.0, 2.0, 2.0, 1.0]] * 5)), [0, 3], 3, None)),
    Case("all logits are negative", (ToyModel(normal(5, 11, 7) - 50), [2, 2], 5, None)),
    Case("a longer text than prompt", (ToyModel(normal(6, 17, 9)), [8, 7, 6, 5], 15, None)),
    Case("a stop id above 256", (ToyModel(torch.eye(400)[[5, 300, 8, 9]]), [1], 9, 300)),
    Case("max_new_tokens comes before the stop token", (_counting_model(8), [2, 3], 2, 7)),
    Case("forty tokens", (ToyModel(normal(7, 19, 9)), [1, 2], 40, None)),
)


def _greedy_while(next_logits, ids, max_new_tokens, stop_id=None):
    out = ids[:]
    while len(out) < len(ids) + max_new_tokens:
        out += [next_logits(out).argmax().item()]
        if out[-1] == stop_id:
            return out
    return out


def _greedy_recursive(next_logits, ids, max_new_tokens, stop_id=None):
    if max_new_tokens == 0:
        return [*ids]
    values = next_logits(ids).tolist()
    best = values.index(max(values))
    if best == stop_id:
        return [*ids, best]
    return _greedy_recursive(next_logits, [*ids, best], max_new_tokens - 1, stop_id)


def _greedy_in_a_tensor(next_logits, ids, max_new_tokens, stop_id=None):
    row = torch.tensor(ids)
    for _ in range(max_new_tokens):
        new = torch.softmax(next_logits(row), dim=-1).argmax(dim=-1, keepdim=True)
        row = torch.cat([row, new])
        if stop_id is not None and new.item() == stop_id:
            break
    return row.tolist()


# Known mistakes.


def _greedy_new_only(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens, stop_id)[len(ids) :]


def _greedy_stop_left_out(next_logits, ids, max_new_tokens, stop_id=None):
    out = list(ids)
    for _ in range(max_new_tokens):
        new_id = int(next_logits(out).argmax())
        if new_id == stop_id:
            break
        out.append(new_id)
    return out


def _greedy_never_stops(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens)


def _greedy_stop_if_true(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens, stop_id if stop_id else None)


def _greedy_stop_anywhere(next_logits, ids, max_new_tokens, stop_id=None):
    out = list(ids)
    for _ in range(max_new_tokens):
        if stop_id in out:
            break
        out.append(int(next_logits(out).argmax()))
    return out


def _greedy_changes_ids(next_logits, ids, max_new_tokens, stop_id=None):
    for _ in range(max_new_tokens):
        ids.append(int(next_logits(ids).argmax()))
        if ids[-1] == stop_id:
            break
    return ids


def _greedy_last_token(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(lambda ids: next_logits(ids[-1:]), ids, max_new_tokens, stop_id)


def _greedy_prompt_only(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(lambda _: next_logits(ids), ids, max_new_tokens, stop_id)


def _greedy_smallest(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(lambda ids: -next_logits(ids), ids, max_new_tokens, stop_id)


def _greedy_one_too_many(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens + 1, stop_id)


def _greedy_one_too_few(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens - 1, stop_id)


def _greedy_counts_the_prompt(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens - len(ids), stop_id)


def _greedy_until_longer(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens - len(ids) + 1, stop_id)


def _greedy_asks_the_length_last(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max(max_new_tokens - len(ids), 1), stop_id)


def _greedy_cut_to_length(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, max_new_tokens, stop_id)[:max_new_tokens]


def _greedy_last_of_equals(next_logits, ids, max_new_tokens, stop_id=None):
    def turned(ids):
        logits = next_logits(ids)
        return (logits == logits.max()) * torch.arange(1, len(logits) + 1)

    return greedy_continue(turned, ids, max_new_tokens, stop_id)


def _greedy_draws(next_logits, ids, max_new_tokens, stop_id=None):
    generator = torch.Generator().manual_seed(0)
    out = list(ids)
    for _ in range(max_new_tokens):
        probabilities = next_logits(out).softmax(-1)
        out.append(int(torch.multinomial(probabilities, 1, generator=generator)))
        if out[-1] == stop_id:
            break
    return out


def _greedy_stop_twice(next_logits, ids, max_new_tokens, stop_id=None):
    out = list(ids)
    for _ in range(max_new_tokens):
        new_id = int(next_logits(out).argmax())
        out.append(new_id)
        if out[-1] == stop_id:
            return [*out, stop_id]
    return out


def _greedy_stop_by_identity(next_logits, ids, max_new_tokens, stop_id=None):
    ids = list(ids)
    for _ in range(max_new_tokens):
        new_id = next_logits(ids).argmax().item()
        ids.append(new_id)
        if new_id is stop_id:
            break
    return ids


def _greedy_logit_for_id(next_logits, ids, max_new_tokens, stop_id=None):
    ids = list(ids)
    for _ in range(max_new_tokens):
        ids.append(next_logits(ids).max().item())
        if ids[-1] == stop_id:
            break
    return ids


def _greedy_one_token(next_logits, ids, max_new_tokens, stop_id=None):
    return greedy_continue(next_logits, ids, min(max_new_tokens, 1), stop_id)


GREEDY_MISTAKES = (
    Mistake(
        "new_tokens_only",
        _greedy_new_only,
        "You return only the new tokens; the text begins with the ids that you were given.",
        "comparing what was added",
    ),
    Mistake(
        "stop_token_left_out",
        _greedy_stop_left_out,
        "You stop before the stop token is added, but it is the last token of the text, so that "
        "one can see that the text is finished.",
        "texts that never stop",
    ),
    Mistake(
        "never_stops",
        _greedy_never_stops,
        "You never look at stop_id, so the text goes on after its end.",
        "calls without stop_id",
    ),
    Mistake(
        "stop_id_0_ignored",
        _greedy_stop_if_true,
        "A stop_id of 0 counts as False in `if stop_id`; compare with it, or ask `is not None`.",
        "stop ids other than 0",
    ),
    Mistake(
        "stop_in_the_prompt",
        _greedy_stop_anywhere,
        "You look for stop_id in the whole text, so a prompt that holds it is never continued; "
        "only the new token ends the text.",
        "prompts without the stop token",
    ),
    Mistake(
        "changes_the_prompt",
        _greedy_changes_ids,
        "You append to the caller's own list, so the prompt has grown when the caller looks at it "
        "again; work on `list(ids)`.",
        "looking at the result alone",
    ),
    Mistake(
        "last_token_only",
        _greedy_last_token,
        "You show the model the last token alone, but what comes next depends on the whole text.",
        "a model that looks at one token",
    ),
    Mistake(
        "prompt_only",
        _greedy_prompt_only,
        "You show the model the prompt every time, so it says the same token again and again; "
        "show it the text with what has been added.",
        "one new token",
    ),
    Mistake(
        "smallest_logit",
        _greedy_smallest,
        "You take the token with the smallest logit, which is the unlikeliest of all.",
        "only the length of the text",
    ),
    Mistake(
        "one_too_many",
        _greedy_one_too_many,
        "You add one token more than max_new_tokens allows.",
        "texts that end with the stop token",
    ),
    Mistake(
        "one_too_few",
        _greedy_one_too_few,
        "You add one token less than max_new_tokens allows.",
        "texts that end with the stop token",
    ),
    Mistake(
        "counts_the_prompt",
        _greedy_counts_the_prompt,
        "You count the tokens of the prompt too, but max_new_tokens limits the new ones alone.",
        "an empty prompt",
        variants=(_greedy_until_longer, _greedy_asks_the_length_last, _greedy_cut_to_length),
    ),
    Mistake(
        "last_of_equals",
        _greedy_last_of_equals,
        "Among equal logits you take the last; the agreement is the lowest id, as `argmax` does.",
        "logits without ties",
    ),
    Mistake(
        "draws_by_chance",
        _greedy_draws,
        "You draw by chance, but greedy takes the token with the largest logit every time.",
        "a model that is sure of every token",
    ),
    Mistake(
        "stop_token_twice",
        _greedy_stop_twice,
        "You add the stop token twice: once with the other tokens and once more where you stop.",
        "texts that never stop",
    ),
    Mistake(
        "compared_with_is",
        _greedy_stop_by_identity,
        "`is` asks whether two things are the same object, which equal ids above 256 need not be; "
        "`==` asks whether they are equal.",
        "stop ids up to 256",
    ),
    Mistake(
        "logit_for_id",
        _greedy_logit_for_id,
        "You add the largest logit itself; the token is the place where it stands, `argmax`.",
        "only how many tokens are added",
    ),
    Mistake(
        "one_token_only",
        _greedy_one_token,
        "You add one token and return: the `return` may stand inside the loop.",
        "one token to add",
    ),
)

GREEDY_CONTINUE = Exercise(
    id="sampling.greedy_continue",
    title="Greedy, token by token",
    reference=greedy_continue,
    cases=GREEDY_CASES,
    mistakes=GREEDY_MISTAKES,
    right=(_greedy_while, _greedy_recursive, _greedy_in_a_tensor),
    hints=(
        "What does the model have to see to choose the third new token? And who owns the list "
        "that you were given?",
        "Copy the list. Repeat at most max_new_tokens times: ask for the logits of the whole text, "
        "find the place of the largest, append it, and leave the loop if it is stop_id.",
        "`ids = list(ids)`; in the loop `new_id = next_logits(ids).argmax().item()`, "
        "`ids.append(new_id)`, `if new_id == stop_id: break`; after it `return ids`.",
    ),
    solution=(
        "A language model knows one thing, the next token; a text is that question asked again and "
        "again, each time with the answer before it added. The copy leaves the caller's list "
        "alone. `new_id == stop_id` is False for None and right for 0, so it needs no other test."
    ),
    checked="texts with and without a stop, a stop of id 0, one in the prompt, ties, and no tokens",
)


# --- draw ---


def _rounded_below_one() -> torch.Tensor:
    """Return probabilities whose sum in float32 stays below the largest float below 1, then a 0."""
    shares = torch.full((7,), 1 / 7 - 2e-7)
    return torch.cat([shares, torch.zeros(1)])


DRAW_CASES = (
    Case("in the first stretch", (torch.tensor([0.5, 0.25, 0.25]), 0.3)),
    Case("in the second stretch", (torch.tensor([0.5, 0.25, 0.25]), 0.6)),
    Case("in the last stretch", (torch.tensor([0.5, 0.25, 0.25]), 0.99)),
    Case("u is 0", (torch.tensor([0.25, 0.5, 0.25]), 0.0)),
    Case("exactly where a stretch begins", (torch.tensor([0.5, 0.25, 0.25]), 0.5)),
    Case("where the last stretch begins", (torch.tensor([0.25, 0.25, 0.5]), 0.5)),
    Case("the first token is impossible", (torch.tensor([0.0, 0.5, 0.5]), 0.0)),
    Case("a token in the middle is impossible", (torch.tensor([0.5, 0.0, 0.0, 0.5]), 0.5)),
    Case("not in order of size", (torch.tensor([0.1, 0.6, 0.05, 0.25]), 0.74)),
    Case("the likeliest comes last", (torch.tensor([0.1, 0.2, 0.7]), 0.2)),
    Case("twelve tokens", (normal(11, 12).softmax(-1), 0.42)),
    Case("double precision", (normal(12, 9, dtype=torch.float64).softmax(-1), 0.87)),
    Case("one token", (torch.tensor([1.0]), 0.75)),
    Case("rounding leaves the sum below u", (_rounded_below_one(), 1 - 2**-24)),
    Case("equal shares", (torch.full((8,), 0.125), 0.625)),
    Case("fifty tokens", (normal(13, 50).softmax(-1), 0.93)),
)


def _draw_by_search(probabilities, u):
    ends = probabilities.double().cumsum(dim=0)  # (V,)
    place = int(torch.searchsorted(ends, torch.tensor(u, dtype=ends.dtype), right=True))
    return min(place, int(probabilities.nonzero().max()))


def _draw_by_subtracting(probabilities, u):
    possible = [(i, p.item()) for i, p in enumerate(probabilities) if p > 0]
    for i, p in possible:
        if u < p:
            return i
        u -= p
    return possible[-1][0]


def _draw_by_counting(probabilities, u):
    ends = torch.cumsum(probabilities.double(), dim=0)
    place = (ends <= u).sum().item()
    while place == len(probabilities) or probabilities[place] == 0:
        place -= 1
    return place


def _draw_by_mask(probabilities, u):
    past = (probabilities.double().cumsum(0) > u) & (probabilities > 0)
    if past.any():
        return past.int().argmax().item()
    return (probabilities > 0).nonzero()[-1].item()


# Known mistakes.


def _ends(probabilities):
    return probabilities.double().cumsum(dim=0)


def _possible(place, probabilities):
    """Move a place past the end back to the last token that is possible."""
    return min(int(place), int(probabilities.nonzero().max()))


def _draw_end_included(probabilities, u):
    return _possible((_ends(probabilities) < u).sum(), probabilities)


def _draw_argmax(probabilities, u):
    return probabilities.argmax().item()


def _draw_uniform(probabilities, u):
    return int(u * len(probabilities))


def _draw_sorted_place(probabilities, u):
    return draw(probabilities.sort(descending=True).values, u)


def _draw_single_probability(probabilities, u):
    larger = (probabilities > u).nonzero()
    return int(larger[0]) if len(larger) else len(probabilities) - 1


def _draw_one_after(probabilities, u):
    return min(draw(probabilities, u) + 1, len(probabilities) - 1)


def _draw_one_before(probabilities, u):
    return max(draw(probabilities, u) - 1, 0)


def _draw_past_the_end(probabilities, u):
    return int((_ends(probabilities) <= u).sum())


def _draw_from_the_right(probabilities, u):
    V = len(probabilities)
    return V - 1 - draw(probabilities.flip(0), u)


def _draw_own_chance(probabilities, u):
    generator = torch.Generator().manual_seed(0)
    return torch.multinomial(probabilities, 1, generator=generator).item()


def _draw_clamped(probabilities, u):
    return min(int((_ends(probabilities) <= u).sum()), len(probabilities) - 1)


def _draw_softmax_again(probabilities, u):
    return draw(probabilities.softmax(dim=0), u)


def _draw_nearest(probabilities, u):
    return (_ends(probabilities) - u).abs().argmin().item()


def _draw_token_of_start(probabilities, u):
    return int((_ends(probabilities) - probabilities.double() < u).sum()) - 1


def _draw_probability(probabilities, u):
    return float(probabilities[draw(probabilities, u)])


def _draw_nothing_at_the_end(probabilities, u):
    total = 0.0
    for token, probability in enumerate(probabilities.tolist()):
        total += probability
        if u < total:
            return token
    return None


def _draw_token_0_at_the_end(probabilities, u):
    return int((_ends(probabilities) > u).int().argmax())


def _draw_fails_at_the_end(probabilities, u):
    return int((_ends(probabilities) > u).nonzero()[0])


def _draw_next_fails_at_the_end(probabilities, u):
    return next(token for token, end in enumerate(_ends(probabilities)) if u < end)


DRAW_MISTAKES = (
    Mistake(
        "end_included",
        _draw_end_included,
        "Where u lies exactly on a border you take the stretch that ends there; a stretch holds "
        "its beginning and not its end, so that a token of probability 0 is never drawn.",
        "values of u that lie on no border",
    ),
    Mistake(
        "likeliest",
        _draw_argmax,
        "You return the likeliest token whatever u is; that is greedy and no draw.",
        "a token that takes nearly all",
    ),
    Mistake(
        "all_alike",
        _draw_uniform,
        "You give all tokens stretches of the same length, but a stretch is as long as the token's "
        "probability.",
        "equal probabilities",
    ),
    Mistake(
        "place_after_sorting",
        _draw_sorted_place,
        "You sort the probabilities and return the place in the sorted row, which is the rank of "
        "the token and not its id.",
        "probabilities that are sorted already",
    ),
    Mistake(
        "no_running_sum",
        _draw_single_probability,
        "You compare u with single probabilities; it must be compared with their running sum, "
        "which says where each stretch ends.",
        "a first token that is likely enough",
    ),
    Mistake(
        "one_after",
        _draw_one_after,
        "You return the token after the one in whose stretch u lies: the first stretch that ends "
        "beyond u is the one.",
        "the last stretch",
    ),
    Mistake(
        "one_before",
        _draw_one_before,
        "You return the token before the one in whose stretch u lies: count from 0 the stretches "
        "that end at or before u, and subtract nothing.",
        "the first stretch",
    ),
    Mistake(
        "past_the_end",
        _draw_past_the_end,
        "Where rounding leaves the sum of all probabilities just below u, you return an id that "
        "does not exist.",
        "probabilities whose sum is exactly 1",
    ),
    Mistake(
        "from_the_right",
        _draw_from_the_right,
        "You lay the stretches out from the last token to the first; token 0 comes first.",
        "probabilities that read the same from both ends",
    ),
    Mistake(
        "own_chance",
        _draw_own_chance,
        "You draw with chance of your own and do not use u, so nobody can say what will come.",
        "how often each token is drawn",
    ),
    Mistake(
        "impossible_last_token",
        _draw_clamped,
        "Where rounding leaves the sum just below u, you return the last token of all, even when "
        "its probability is 0; take the last one that is possible.",
        "probabilities whose last one is not 0",
    ),
    Mistake(
        "softmax_again",
        _draw_softmax_again,
        "You take the softmax of probabilities, which are no logits: it makes them nearly equal.",
        "equal probabilities",
    ),
    Mistake(
        "nearest_border",
        _draw_nearest,
        "You take the stretch whose end lies nearest to u, but u lies in one stretch only: the "
        "first that ends beyond it.",
        "values of u just below a border",
    ),
    Mistake(
        "beginning_left_out",
        _draw_token_of_start,
        "You count the stretches that begin before u; one that begins exactly at u counts too, and "
        "at u = 0 you find none.",
        "values of u that lie on no border",
    ),
    Mistake(
        "probability_for_id",
        _draw_probability,
        "You return the probability of the token; asked for is its id, the place where it stands.",
        "only which stretch is found",
    ),
    Mistake(
        "nothing_at_the_end",
        _draw_nothing_at_the_end,
        "Where rounding leaves the sum just below u, your loop ends without a token and returns "
        "None; return the last token that is possible.",
        "probabilities whose sum is exactly 1",
    ),
    Mistake(
        "token_0_at_the_end",
        _draw_token_0_at_the_end,
        "Where rounding leaves the sum just below u, no stretch ends beyond u, and the `argmax` of "
        "False alone is 0; return the last token that is possible.",
        "probabilities whose sum is exactly 1",
    ),
    Mistake(
        "fails_at_the_end",
        _draw_fails_at_the_end,
        "Where rounding leaves the sum just below u, you take the first of the stretches that end "
        "beyond u, and there is none; return the last token that is possible.",
        "probabilities whose sum is exactly 1",
        variants=(_draw_next_fails_at_the_end,),
    ),
)


def _draw_shares(answer) -> str | None:
    probabilities = torch.tensor([0.125, 0.5, 0.0, 0.3125, 0.0625])
    drawn = [answer(probabilities.clone(), n / 64) for n in range(64)]
    for token, probability in enumerate(probabilities.tolist()):
        came, wanted = drawn.count(token), round(64 * probability)
        if came != wanted:
            return (
                f"With u = 0, 1/64, 2/64 and so on to 63/64, token {token} of probability "
                f"{probability} must come {wanted} times, but it came {came} times."
            )
    return None


def _draw_possible(answer) -> str | None:
    probabilities = torch.tensor([0.0, 0.0, 0.25, 0.0, 0.75, 0.0])
    for u in (0.0, 0.25, 0.5, 1 - 2**-24):
        token = answer(probabilities.clone(), u)
        if token not in (2, 4):
            return f"With u = {u} you draw token {token}, which has the probability 0."
    return None


DRAW_PROPERTIES = (
    Property("every token comes as often as its probability says", _draw_shares),
    Property("a token of probability 0 never comes", _draw_possible),
)

DRAW = Exercise(
    id="sampling.draw",
    title="Draw a token",
    reference=draw,
    cases=DRAW_CASES,
    mistakes=DRAW_MISTAKES,
    right=(_draw_by_search, _draw_by_subtracting, _draw_by_counting, _draw_by_mask),
    properties=DRAW_PROPERTIES,
    hints=(
        "Lay the tokens out on a line, each a stretch as long as its probability. Where does each "
        "stretch end?",
        "Go from token 0 on and keep a running sum of the probabilities. The first token whose "
        "running sum is larger than u is the one. If rounding leaves no such token, it is the last "
        "one with a probability above 0.",
        "total = 0.0; for token, probability in enumerate(probabilities.tolist()): add it to "
        "total, and `if u < total: return token`. Note the last token with probability > 0 on the "
        "way, and return it after the loop.",
    ),
    solution=(
        "The stretches fill the line from 0 to 1, so a u that is equally likely anywhere falls "
        "into a stretch with the probability that is its length. `u < total` leaves the end of a "
        "stretch out: a token of probability 0 has a stretch without a single point. Floats round, "
        "and the whole sum may come out as 0.9999999; the line after the loop catches that."
    ),
    checked="borders, impossible tokens, both ends of the line, rounding, and how often each comes",
)


# --- top_k_filter ---

TOP_K_CASES = (
    Case("four tokens, k=2", (torch.tensor([1.0, 4.0, 3.0, 2.0]), 2)),
    Case("five rows of seven tokens, k=3", (normal(21, 5, 7), 3)),
    Case("as many rows as tokens", (normal(22, 4, 4), 2)),
    Case("rows far apart", (torch.tensor([[10.0, 11.0, 12.0], [-3.0, -1.0, -2.0]]), 2)),
    Case("three axes", (normal(23, 2, 3, 6), 4)),
    Case("k=1", (normal(24, 3, 5), 1)),
    Case("k is the size of the vocabulary", (normal(25, 2, 5), 5)),
    Case("k is larger than the vocabulary", (normal(26, 2, 5), 9)),
    Case("two tie for the last place", (torch.tensor([2.0, 1.0, 2.0, 3.0, 0.0]), 2)),
    Case("all tie", (torch.full((2, 4), 0.5), 1)),
    Case("logits very close to each other", (torch.tensor([1.0, 1.001, 0.999, 1.002]), 2)),
    Case("another filter was here before", (torch.tensor([[-INF, 2.0, -INF, 1.0, 0.0]]), 2)),
    Case("fewer left than k", (torch.tensor([-INF, 2.0, -INF, 1.0]), 3)),
    Case("all logits are negative", (normal(27, 3, 6) - 40, 2)),
    Case("double precision", (normal(28, 2, 6, dtype=torch.float64), 3)),
    Case("fifty tokens, k=20", (normal(29, 3, 50), 20)),
)


def _top_k_by_sort(logits, k):
    ordered = logits.sort(dim=-1, descending=True).values
    limit = ordered[..., min(k, logits.shape[-1]) - 1, None]
    return torch.where(logits >= limit, logits, torch.tensor(-INF, dtype=logits.dtype))


def _top_k_by_loop(logits, k):
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]):
        limit = sorted(row.tolist(), reverse=True)[:k][-1]
        rows.append(torch.tensor([x if x >= limit else -INF for x in row.tolist()]))
    return torch.stack(rows).reshape(logits.shape).to(logits.dtype)


def _top_k_by_rank(logits, k):
    larger = (logits.unsqueeze(-2) > logits.unsqueeze(-1)).sum(dim=-1)  # how many beat each
    return logits.masked_fill(larger >= k, -INF)


# Known mistakes.


def _kth(logits, k):
    return logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]


def _top_k_zeros(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), 0.0)


def _top_k_smallest(logits, k):
    return -top_k_filter(-logits, k).masked_fill(top_k_filter(-logits, k).isinf(), INF)


def _top_k_drops_kth(logits, k):
    return logits.masked_fill(logits <= _kth(logits, k), -INF)


def _top_k_over_the_batch(logits, k):
    limit = logits.flatten().topk(min(k, logits.numel())).values[-1]
    return logits.masked_fill(logits < limit, -INF)


def _top_k_unsorted(logits, k):
    k = min(k, logits.shape[-1])
    return logits.masked_fill(logits < logits[..., k - 1 : k], -INF)


def _top_k_one_more(logits, k):
    return top_k_filter(logits, k + 1)


def _top_k_values(logits, k):
    return logits.topk(min(k, logits.shape[-1]), dim=-1).values


def _top_k_probabilities(logits, k):
    return top_k_filter(logits, k).softmax(dim=-1)


def _top_k_too_large(logits, k):
    return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], -INF)


def _top_k_first_axis(logits, k):
    return top_k_filter(logits.transpose(0, -1), k).transpose(0, -1)


def _top_k_in_place(logits, k):
    return logits.masked_fill_(logits < _kth(logits, k), -INF)


def _top_k_first_k(logits, k):
    place = torch.arange(logits.shape[-1])
    return logits.masked_fill(place >= k, -INF)


def _top_k_of_the_first_row(logits, k):
    first = logits.reshape(-1, logits.shape[-1])[0]
    return logits.masked_fill(logits < _kth(first, k), -INF)


# Other conventions.


def _top_k_exactly(logits, k):
    places = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    kept = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, places, True)
    return logits.masked_fill(~kept, -INF)


def _top_k_low_number(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), -1e9)


def _top_k_lowest_float(logits, k):
    return logits.masked_fill(logits < _kth(logits, k), torch.finfo(logits.dtype).min)


TOP_K_MISTAKES = (
    Mistake(
        "zeros",
        _top_k_zeros,
        "You set the dropped logits to 0, but a logit of 0 has a probability; only minus infinity "
        "has none.",
        "which entries were changed",
    ),
    Mistake(
        "smallest_kept",
        _top_k_smallest,
        "You keep the k smallest logits, which belong to the unlikeliest tokens.",
        "only how many are left",
    ),
    Mistake(
        "kth_dropped",
        _top_k_drops_kth,
        "You drop the k-th largest logit too: one that equals the limit stays.",
        "only that the likeliest is kept",
    ),
    Mistake(
        "over_the_whole_batch",
        _top_k_over_the_batch,
        "You look for the k largest logits of the whole tensor, but each row keeps its own k.",
        "a single row",
    ),
    Mistake(
        "not_sorted",
        _top_k_unsorted,
        "You take the logit at place k as the limit, but the logits are not sorted: it must be the "
        "k-th largest.",
        "logits that fall from the first to the last",
    ),
    Mistake(
        "one_more",
        _top_k_one_more,
        "You keep one token more than k: counted from 0, the k-th largest has the index k - 1.",
        "k as large as the vocabulary",
    ),
    Mistake(
        "values_alone",
        _top_k_values,
        "You return the k largest values alone, so nobody knows any more which tokens they "
        "belong to; keep the shape and put minus infinity at the others.",
        "which values are kept",
    ),
    Mistake(
        "probabilities",
        _top_k_probabilities,
        "You return probabilities; a filter takes logits and returns logits, so that another "
        "filter may follow.",
        "what is drawn in the end",
    ),
    Mistake(
        "k_too_large",
        _top_k_too_large,
        "`topk` fails for a k beyond the size of the vocabulary, which should keep everything; "
        "take the smaller of the two.",
        "values of k up to V",
    ),
    Mistake(
        "first_axis",
        _top_k_first_axis,
        "You work along the first axis, over the rows; the tokens of a row lie along the last.",
        "a single row",
    ),
    Mistake(
        "in_place",
        _top_k_in_place,
        "Your result is right, but you overwrite the caller's logits: `masked_fill_` with the "
        "underscore works in place, `masked_fill` does not.",
        "looking at the result alone",
    ),
    Mistake(
        "first_k_tokens",
        _top_k_first_k,
        "You keep the first k tokens of the vocabulary; it is the k with the largest logits.",
        "logits that fall from the first to the last",
    ),
    Mistake(
        "limit_of_the_first_row",
        _top_k_of_the_first_row,
        "You measure every row by the limit of the first one; each has its own.",
        "a single row",
    ),
)
TOP_K_CONVENTIONS = (
    Mistake(
        "exactly_k",
        _top_k_exactly,
        "Where several logits tie for the last place, you keep some of them by their order in the "
        "vocabulary; the agreement here is to keep all that equal the k-th largest.",
        "logits without ties",
    ),
    Mistake(
        "a_low_number",
        _top_k_low_number,
        "You set dropped logits to -1e9; the agreement here is minus infinity, which means "
        "dropped to every later step, however low the other logits are.",
        "what is drawn in the end",
    ),
    Mistake(
        "the_lowest_float",
        _top_k_lowest_float,
        "You set dropped logits to the lowest float; the agreement here is minus infinity, which "
        "stays minus infinity when it is divided by a temperature.",
        "what is drawn in the end",
    ),
)


def _top_k_counts(answer) -> str | None:
    logits = normal(29, 4, 9)
    left = torch.isfinite(answer(logits.clone(), 4)).sum(dim=-1).tolist()
    if left == [4] * 4:
        return None
    return f"With k=4 and no ties, four tokens must be left in each row, and yours have {left}."


def _top_k_shift(answer) -> str | None:
    logits = normal(30, 3, 6)
    shifted = answer(logits + 100, 2)
    if torch.equal(torch.isfinite(shifted), torch.isfinite(answer(logits.clone(), 2))):
        return None
    return "Adding 100 to every logit must not change which tokens are kept, and yours change."


TOP_K_PROPERTIES = (
    Property("k tokens of each row are left", _top_k_counts),
    Property("only the order of the logits counts", _top_k_shift),
)

TOP_K = Exercise(
    id="sampling.top_k_filter",
    title="Top-k",
    reference=top_k_filter,
    cases=TOP_K_CASES,
    mistakes=TOP_K_MISTAKES,
    conventions=TOP_K_CONVENTIONS,
    right=(_top_k_by_sort, _top_k_by_loop, _top_k_by_rank),
    properties=TOP_K_PROPERTIES,
    hints=(
        "One number for each row decides: every logit below it goes, every other stays. Which?",
        "`logits.topk(k, dim=-1).values` are the k largest of each row, the largest first. The "
        "last of them is the limit; keep its axis, so that it lines up with the logits. And k may "
        "be larger than the vocabulary.",
        "k = min(k, logits.shape[-1]); limit = logits.topk(k, dim=-1).values[..., -1:]; then "
        "logits.masked_fill(logits < limit, float('-inf')).",
    ),
    solution=(
        "The k-th largest logit is the limit. `[..., -1:]` keeps the last axis with length 1, so "
        "that each row is compared with its own limit. `<` leaves all that equal the limit, so "
        "ties do not depend on the order of the vocabulary."
    ),
    checked="rows of their own, ties, k=1 and k beyond the vocabulary, and logits filtered before",
)


# --- top_p_filter ---


def _logits_of(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log()


TOP_P_CASES = (
    Case("four tokens, p=0.6", (_logits_of(0.1, 0.5, 0.3, 0.1), 0.6)),
    Case("p below the largest probability", (_logits_of(0.1, 0.6, 0.3), 0.4)),
    Case("p very small", (normal(31, 3, 5), 0.01)),
    Case("p=0.9 on seven tokens", (normal(32, 7), 0.9)),
    Case("five rows of seven tokens", (2 * normal(33, 5, 7), 0.72)),
    Case("as many rows as tokens", (2 * normal(34, 4, 4), 0.8)),
    Case("three axes", (normal(35, 2, 3, 6), 0.55)),
    Case("the sum is exactly p", (torch.zeros(4), 0.5)),
    Case("the sum is exactly p in each row", (torch.zeros(3, 8), 0.75)),
    Case("equal tokens, p inside one", (torch.zeros(2, 4), 0.6)),
    Case("two of three tie", (torch.tensor([0.0, 2.0, 2.0]), 0.3)),
    Case("the last token is the likeliest", (_logits_of(0.1, 0.2, 0.7), 0.75)),
    Case("another filter was here before", (torch.tensor([[-INF, 2.0, -INF, 1.0, 0.0]]), 0.8)),
    Case("p=0.98 on twenty tokens", (2 * normal(40, 20), 0.98)),
    Case("p=1", (normal(36, 2, 6), 1.0)),
    Case("p=1 and very unlikely tokens", (torch.tensor([30.0, 0.0, 5.0, -40.0, 29.0]), 1.0)),
    Case("large logits", (torch.tensor([[900.0, 901.0, 899.5], [-2.0, -1.0, -900.0]]), 0.7)),
    Case("one token", (torch.tensor([[0.3]]), 0.5)),
    Case("64 equal tokens, whose order only a stable sort keeps", (torch.zeros(64), 0.3)),
    Case("fifty tokens, p=0.85", (normal(38, 2, 50), 0.85)),
    Case("double precision", (normal(37, 3, 6, dtype=torch.float64), 0.65)),
)


def _top_p_by_loop(logits, p):
    if p == 1:
        return logits.clone()
    filtered = torch.full_like(logits, -INF)
    rows, out = logits.reshape(-1, logits.shape[-1]), filtered.view(-1, logits.shape[-1])
    for row, kept in zip(rows, out, strict=True):
        probabilities = row.softmax(0)
        total = 0.0
        for token in sorted(range(len(row)), key=lambda i: (-row[i].item(), i)):
            if total >= p:
                break
            kept[token] = row[token]
            total += probabilities[token].item()
    return filtered


def _top_p_by_gather(logits, p):
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    sums = ordered.softmax(dim=-1).cumsum(dim=-1)
    late = torch.cat([torch.zeros_like(sums[..., :1]), sums[..., :-1]], dim=-1) >= p
    if p == 1:
        late = torch.zeros_like(late)
    return logits.masked_fill(late.gather(-1, order.argsort(dim=-1)), -INF)


def _top_p_by_scatter_of_values(logits, p):
    if p >= 1.0:
        return logits
    values, order = torch.sort(logits, dim=-1, descending=True, stable=True)
    remove = values.softmax(-1).cumsum(-1) >= p
    remove[..., 1:] = remove[..., :-1].clone()
    remove[..., 0] = False
    return torch.empty_like(logits).scatter(-1, order, values.masked_fill(remove, -INF))


# Known mistakes.


def _sorted_parts(logits):
    """Return probabilities from the largest down, the sum before each, and their order."""
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    return probabilities, probabilities.cumsum(dim=-1) - probabilities, order


def _drop(logits, order, dropped, value=-INF):
    there = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, dropped)
    return logits.masked_fill(there, value)


def _top_p_crossing_dropped(logits, p):
    if p == 1:
        return logits
    probabilities, before, order = _sorted_parts(logits)
    return _drop(logits, order, before + probabilities > p)


def _top_p_reaching_dropped(logits, p):
    if p == 1:
        return logits
    probabilities, before, order = _sorted_parts(logits)
    return _drop(logits, order, before + probabilities >= p)


def _top_p_crossing_dropped_but_one(logits, p):
    if p == 1:
        return logits
    probabilities, before, order = _sorted_parts(logits)
    dropped = before + probabilities > p
    dropped[..., 0] = False
    return _drop(logits, order, dropped)


def _top_p_unsorted(logits, p):
    return logits if p == 1 else unsorted_top_p(logits, p)


def _top_p_ascending(logits, p):
    if p == 1:
        return logits
    probabilities, order = logits.softmax(dim=-1).sort(dim=-1, stable=True)
    return _drop(logits, order, probabilities.cumsum(dim=-1) - probabilities >= p)


def _top_p_no_sort(logits, p):
    if p == 1:
        return logits
    probabilities = logits.softmax(dim=-1)
    return logits.masked_fill(probabilities.cumsum(dim=-1) - probabilities >= p, -INF)


def _top_p_zeros(logits, p):
    if p == 1:
        return logits
    _, before, order = _sorted_parts(logits)
    return _drop(logits, order, before >= p, value=0.0)


def _top_p_one_more_at_p(logits, p):
    if p == 1:
        return logits
    _, before, order = _sorted_parts(logits)
    return _drop(logits, order, before > p)


def _top_p_one_more(logits, p):
    if p == 1:
        return logits
    _, before, order = _sorted_parts(logits)
    late = before >= p
    dropped = torch.cat([torch.zeros_like(late[..., :1]), late[..., :-1]], dim=-1)
    return _drop(logits, order, dropped)


def _top_p_limit_on_each(logits, p):
    return logits.masked_fill(logits.softmax(dim=-1) < p, -INF)


def _top_p_share_of_the_largest(logits, p):
    probabilities = logits.softmax(dim=-1)
    limit = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < limit, -INF)


def _top_p_other_side(logits, p):
    _, before, order = _sorted_parts(logits)
    return _drop(logits, order, before >= 1 - p)


def _top_p_over_the_batch(logits, p):
    return top_p_filter(logits.flatten(), p).reshape(logits.shape)


def _top_p_first_axis(logits, p):
    return top_p_filter(logits.transpose(0, -1), p).transpose(0, -1)


def _top_p_probabilities(logits, p):
    return top_p_filter(logits, p).softmax(dim=-1)


def _top_p_in_place(logits, p):
    if p == 1:
        return logits
    _, before, order = _sorted_parts(logits)
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill_(dropped, -INF)


def _top_p_share_of_the_tokens(logits, p):
    return top_k_filter(logits, max(1, math.ceil(p * logits.shape[-1])))


def _top_p_sum_of_logits(logits, p):
    if p == 1:
        return logits
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    return _drop(logits, order, ordered.cumsum(dim=-1) - ordered >= p)


def _top_p_one_drops_the_tail(logits, p):
    _, before, order = _sorted_parts(logits)
    return _drop(logits, order, before >= p)


def _top_p_ties_from_the_end(logits, p):
    return top_p_filter(logits.flip(-1), p).flip(-1)


def _top_p_stays_sorted(logits, p):
    ordered = logits.sort(dim=-1, descending=True, stable=True).values
    return top_p_filter(ordered, p)


def _late_in_order(logits, p):
    """Return sorted logits, their order, and which of them come after p is reached."""
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    return ordered, order, probabilities.cumsum(dim=-1) - probabilities >= p


def _top_p_unsorted_at_one_too(logits, p):
    return logits.masked_fill(_late_in_order(logits, p)[2], -INF)


def _top_p_stays_sorted_below_one(logits, p):
    return logits if p == 1 else _top_p_stays_sorted(logits, p)


def _top_p_stays_sorted_at_one_too(logits, p):
    ordered, _, late = _late_in_order(logits, p)
    return ordered.masked_fill(late, -INF)


def _late_by_shifting(logits, p):
    """Return sorted logits and which come after p is exceeded, by sums moved one place on."""
    ordered = logits.sort(dim=-1, descending=True, stable=True).values
    late = ordered.softmax(dim=-1).cumsum(dim=-1) > p
    return ordered, torch.cat([torch.zeros_like(late[..., :1]), late[..., :-1]], dim=-1)


def _top_p_unsorted_by_shifting(logits, p):
    return logits.masked_fill(_late_by_shifting(logits, p)[1], -INF)


def _top_p_stays_sorted_by_shifting(logits, p):
    ordered, late = _late_by_shifting(logits, p)
    return ordered.masked_fill(late, -INF)


def _top_p_sorted_twice(logits, p):
    if p == 1:
        return logits
    _, order, late = _late_in_order(logits, p)
    return logits.masked_fill(late.gather(-1, order), -INF)


def _top_p_values_sorted_twice(logits, p):
    if p == 1:
        return logits
    ordered, order, late = _late_in_order(logits, p)
    return ordered.masked_fill(late, -INF).gather(-1, order)


# Other conventions.


def _top_p_low_number(logits, p):
    filtered = top_p_filter(logits, p)
    return filtered.masked_fill(filtered.isinf(), -1e9)


def _top_p_keeps_all_ties(logits, p):
    kept = top_p_filter(logits, p)
    smallest = kept.masked_fill(kept.isinf(), INF).amin(dim=-1, keepdim=True)
    return logits.masked_fill(logits < smallest, -INF)


TOP_P_MISTAKES = (
    Mistake(
        "crossing_token_dropped",
        _top_p_crossing_dropped,
        "You drop the token that carries the sum across p; with it the kept ones reach p, without "
        "it they do not, and where the likeliest alone exceeds p you are left with none at all.",
        "sums that hit p exactly",
    ),
    Mistake(
        "reaching_token_dropped",
        _top_p_reaching_dropped,
        "You drop the token with which the sum reaches p, be it exactly or by crossing it; look at "
        "the sum before a token, which must be below p, and not at the sum with it.",
        "only which token is the likeliest",
    ),
    Mistake(
        "crossing_token_dropped_but_for_the_first",
        _top_p_crossing_dropped_but_one,
        "You always keep the likeliest token, but drop any other that carries the sum across p; it "
        "is kept as well, so that what is left reaches p.",
        "p below the largest probability",
    ),
    Mistake(
        "not_sorted_back",
        _top_p_unsorted,
        "You find what to drop in sorted order and apply it to the unsorted logits; send each "
        "decision back to its token, with scatter or gather and the order from sort.",
        "logits that fall from the first to the last",
        variants=(_top_p_unsorted_at_one_too, _top_p_unsorted_by_shifting),
    ),
    Mistake(
        "unlikeliest_first",
        _top_p_ascending,
        "You sort from the smallest up, so you keep the unlikeliest tokens that reach p.",
        "equal probabilities",
    ),
    Mistake(
        "not_sorted",
        _top_p_no_sort,
        "You add the probabilities up in the order of the vocabulary; the likeliest come first.",
        "logits that fall from the first to the last",
    ),
    Mistake(
        "zeros",
        _top_p_zeros,
        "You set the dropped logits to 0, but a logit of 0 has a probability; only minus infinity "
        "has none.",
        "which entries were changed",
    ),
    Mistake(
        "one_more_at_exactly_p",
        _top_p_one_more_at_p,
        "Where the sum is exactly p, you keep one token more; those that come after p is reached "
        "are dropped, so a token stays only if the sum before it is below p.",
        "sums that never hit p exactly",
    ),
    Mistake(
        "one_too_many",
        _top_p_one_more,
        "You keep one token more than it takes to reach p: the one that crosses p is the last.",
        "only that what is left reaches p",
    ),
    Mistake(
        "limit_on_each_token",
        _top_p_limit_on_each,
        "You compare each probability with p by itself, but p is what the kept ones reach "
        "together.",
        "a token that alone exceeds p",
    ),
    Mistake(
        "share_of_the_largest",
        _top_p_share_of_the_largest,
        "You measure by the largest probability, which is min-p; top-p adds the probabilities up.",
        "one token far above the others",
    ),
    Mistake(
        "one_minus_p",
        _top_p_other_side,
        "You keep 1 - p of the probability and drop p of it; it is the other way round.",
        "p = 0.5",
    ),
    Mistake(
        "over_the_whole_batch",
        _top_p_over_the_batch,
        "You treat the whole tensor as one row, but each row has its own probabilities and its "
        "own sum.",
        "a single row",
    ),
    Mistake(
        "first_axis",
        _top_p_first_axis,
        "You work along the first axis, over the rows; the tokens of a row lie along the last.",
        "a single row",
    ),
    Mistake(
        "probabilities",
        _top_p_probabilities,
        "You return probabilities; a filter takes logits and returns logits, so that another "
        "filter may follow.",
        "what is drawn in the end",
    ),
    Mistake(
        "in_place",
        _top_p_in_place,
        "Your result is right, but you overwrite the caller's logits: `masked_fill_` with the "
        "underscore works in place, `masked_fill` does not.",
        "looking at the result alone",
    ),
    Mistake(
        "share_of_the_tokens",
        _top_p_share_of_the_tokens,
        "You keep the share p of the tokens, but p is a share of the probability.",
        "equal probabilities",
    ),
    Mistake(
        "sum_of_logits",
        _top_p_sum_of_logits,
        "You add up logits, which may be negative and mean nothing as a sum; take the softmax "
        "first.",
        "only which token is kept for certain",
    ),
    Mistake(
        "one_drops_the_tail",
        _top_p_one_drops_the_tail,
        "With p = 1 you drop tokens that are so unlikely that the sum before them has been rounded "
        "to 1; p = 1 keeps everything.",
        "p = 1 with probabilities that are not very small",
    ),
    Mistake(
        "ties_from_the_end",
        _top_p_ties_from_the_end,
        "Among equal probabilities you keep the one with the higher id; the lower comes first.",
        "logits without ties",
    ),
    Mistake(
        "left_sorted",
        _top_p_stays_sorted,
        "You return the logits in sorted order, so nobody knows any more which token each belongs "
        "to; each must stay at its place.",
        "logits that fall from the first to the last",
        variants=(
            _top_p_stays_sorted_below_one,
            _top_p_stays_sorted_at_one_too,
            _top_p_stays_sorted_by_shifting,
        ),
    ),
    Mistake(
        "sorted_twice",
        _top_p_sorted_twice,
        "On the way back you read at the places in order, which sorts once more; `scatter` writes "
        "at them, or `gather` reads at `order.argsort(dim=-1)`.",
        "logits that fall from the first to the last, or two of them exchanged",
        variants=(_top_p_values_sorted_twice,),
    ),
)
TOP_P_CONVENTIONS = (
    Mistake(
        "a_low_number",
        _top_p_low_number,
        "You set dropped logits to -1e9; the agreement here is minus infinity, which means "
        "dropped to every later step, however low the other logits are.",
        "what is drawn in the end",
    ),
    Mistake(
        "all_ties_kept",
        _top_p_keeps_all_ties,
        "You keep every token that is as likely as the last one kept; the agreement here is the "
        "fewest tokens that reach p, and among equal ones those with the lower ids.",
        "logits without ties",
    ),
)


def _top_p_reaches(answer) -> str | None:
    logits = 2 * normal(38, 6, 9)
    for p in (0.2, 0.5, 0.8, 0.95):
        filtered = answer(logits.clone(), p)
        probabilities = logits.softmax(-1) * torch.isfinite(filtered)
        total = probabilities.sum(-1)
        if (total < p - 1e-4).any():
            low = total.min().item()
            return f"With p={p} the kept tokens of a row must reach it, and yours have {low:.3f}."
        smallest = probabilities.masked_fill(probabilities == 0, INF).amin(-1)
        if ((total - smallest > p + 1e-4) & torch.isfinite(smallest)).any():
            return f"With p={p} fewer tokens would be enough in one of the rows than you keep."
    return None


def _top_p_keeps_values(answer) -> str | None:
    logits = normal(39, 3, 7)
    filtered = answer(logits.clone(), 0.6)
    kept = torch.isfinite(filtered)
    if gap_between(filtered[kept], logits[kept]) == 0:
        return None
    return "A kept token must keep its logit, and one of yours has another."


TOP_P_PROPERTIES = (
    Property("the kept tokens reach p, and no fewer would", _top_p_reaches),
    Property("what is kept keeps its logit", _top_p_keeps_values),
)

TOP_P = Exercise(
    id="sampling.top_p_filter",
    title="Top-p",
    reference=top_p_filter,
    cases=TOP_P_CASES,
    mistakes=TOP_P_MISTAKES,
    conventions=TOP_P_CONVENTIONS,
    right=(_top_p_by_loop, _top_p_by_gather, _top_p_by_scatter_of_values),
    properties=TOP_P_PROPERTIES,
    hints=(
        "Sort the probabilities from the largest down. For each token, how much probability stands "
        "before it? From where on is that enough?",
        "`sort(dim=-1, descending=True, stable=True)` gives the sorted probabilities and the order "
        "they came from. `cumsum` minus the probability itself is the sum before each token; where "
        "that is p or more, the token goes. Send these decisions back with the order.",
        "dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, sum_before >= p) "
        "puts each decision at its token; then logits.masked_fill(dropped, float('-inf')). Return "
        "the logits as they are when p is 1.",
    ),
    solution=(
        "A token is needed as long as those before it have not reached p. That one sentence keeps "
        "the token that crosses p and, since nothing stands before the likeliest, always keeps "
        "that one. The decisions are made in sorted order; `scatter` writes each to the place that "
        "its token came from. Floats make the sum reach 1 before the last tokens, so p = 1 is an "
        "answer of its own."
    ),
    checked="the crossing token, exact sums, ties, p=1, rows of their own, and what other filters "
    "left",
)


# --- apply_repetition_penalty ---

PENALTY_CASES = (
    Case("both signs", (torch.tensor([[3.0, -3.0, 2.0, 0.0]]), torch.tensor([[0, 1]]), 1.5)),
    Case("a token that came three times", (normal(41, 1, 5), torch.tensor([[2, 2, 4, 2]]), 1.3)),
    Case("three rows of six tokens", (2 * normal(42, 3, 6), token_ids(43, 6, 3, 4), 1.2)),
    Case("as many rows as tokens", (2 * normal(44, 5, 5), token_ids(45, 5, 5, 3), 1.8)),
    Case("a logit of 0", (torch.tensor([[0.0, 1.0, -1.0]]), torch.tensor([[0, 2]]), 2.0)),
    Case("one token so far", (normal(46, 2, 4), torch.tensor([[3], [0]]), 1.4)),
    Case("every token has come", (normal(47, 1, 4), torch.tensor([[3, 1, 0, 2, 1]]), 1.25)),
    Case("a penalty of 1", (normal(48, 2, 5), token_ids(49, 5, 2, 3), 1.0)),
    Case("a penalty below 1", (2 * normal(50, 2, 5), token_ids(51, 5, 2, 3), 0.5)),
    Case(
        "tokens that a filter has dropped",
        (torch.tensor([[-INF, 2.0, -INF, -1.0]]), torch.tensor([[0, 1, 3]]), 1.5),
    ),
    Case("more tokens so far than the vocabulary", (normal(52, 2, 4), token_ids(53, 4, 2, 9), 1.1)),
    Case("double precision", (normal(54, 2, 6, dtype=torch.float64), token_ids(55, 6, 2, 3), 1.35)),
    Case("forty tokens so far", (2 * normal(56, 2, 30), token_ids(57, 30, 2, 40), 1.15)),
)


def _penalty_by_loop(logits, ids, penalty):
    changed = logits.clone()
    for row, seen in zip(changed, ids, strict=True):
        for token in set(seen.tolist()):
            row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    return changed


def _penalty_by_gather(logits, ids, penalty):
    seen = logits.gather(1, ids)
    return logits.scatter(1, ids, torch.where(seen < 0, seen * penalty, seen / penalty))


def _penalty_by_mask(logits, ids, penalty):
    came = torch.zeros(logits.shape, dtype=torch.bool)
    came[torch.arange(len(ids))[:, None], ids] = True
    factor = torch.where(logits > 0, 1 / penalty, penalty).to(logits.dtype)
    return torch.where(came, logits * factor, logits)


# Known mistakes.


def _on_seen(logits, ids, changed):
    """Return `changed` where a token stands in `ids`, and the logits elsewhere."""
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, True)
    return torch.where(seen, changed, logits)


def _by_sign(logits, penalty):
    return torch.where(logits > 0, logits / penalty, logits * penalty)


def _penalty_divides(logits, ids, penalty):
    return _on_seen(logits, ids, logits / penalty)


def _penalty_multiplies(logits, ids, penalty):
    return _on_seen(logits, ids, logits * penalty)


def _penalty_sign_swapped(logits, ids, penalty):
    return _on_seen(logits, ids, torch.where(logits > 0, logits * penalty, logits / penalty))


def _penalty_subtracts(logits, ids, penalty):
    return _on_seen(logits, ids, logits - penalty)


def _penalty_for_each_time(logits, ids, penalty):
    counts = torch.zeros_like(logits).scatter_add(1, ids, torch.ones_like(ids).to(logits.dtype))
    return _by_sign(logits, penalty**counts)


def _penalty_for_all(logits, ids, penalty):
    return _by_sign(logits, penalty)


def _penalty_for_the_others(logits, ids, penalty):
    return _on_seen(_by_sign(logits, penalty), ids, logits)


def _penalty_last_token(logits, ids, penalty):
    return apply_repetition_penalty(logits, ids[:, -1:], penalty)


def _penalty_rows_mixed(logits, ids, penalty):
    return _on_seen(logits, ids.flatten().expand(len(ids), -1), _by_sign(logits, penalty))


def _penalty_first_row(logits, ids, penalty):
    return _on_seen(logits, ids[:1].expand(len(ids), -1), _by_sign(logits, penalty))


def _penalty_in_place(logits, ids, penalty):
    for row, seen in zip(logits, ids, strict=True):
        for token in set(seen.tolist()):
            row[token] = row[token] / penalty if row[token] > 0 else row[token] * penalty
    return logits


def _penalty_forbids(logits, ids, penalty):
    return _on_seen(logits, ids, torch.full_like(logits, -INF))


def _penalty_on_probabilities(logits, ids, penalty):
    probabilities = logits.softmax(dim=-1)
    return _on_seen(probabilities, ids, probabilities / penalty)


def _penalty_for_all_again(logits, ids, penalty):
    return _on_seen(logits, ids, _by_sign(logits, penalty)) / penalty


def _penalty_added_up(logits, ids, penalty):
    seen = logits.gather(1, ids)
    return logits.scatter_add(1, ids, torch.where(seen > 0, seen / penalty, seen * penalty) - seen)


def _penalty_newest_left_out(logits, ids, penalty):
    return apply_repetition_penalty(logits, ids[:, :-1], penalty)


def _penalty_chosen_alone(logits, ids, penalty):
    seen = logits.gather(1, ids)
    return torch.where(seen > 0, seen / penalty, seen * penalty)


PENALTY_MISTAKES = (
    Mistake(
        "always_divides",
        _penalty_divides,
        "You divide negative logits too, which brings them nearer to 0: a token that has come "
        "becomes likelier. Multiply where the logit is negative.",
        "positive logits",
    ),
    Mistake(
        "always_multiplies",
        _penalty_multiplies,
        "You multiply positive logits too, which makes a token that has come likelier. Divide "
        "where the logit is positive.",
        "negative logits",
    ),
    Mistake(
        "signs_swapped",
        _penalty_sign_swapped,
        "You have the two cases the wrong way round, so that repetition is rewarded: a positive "
        "logit is divided, a negative one multiplied.",
        "a penalty of 1",
    ),
    Mistake(
        "subtracts",
        _penalty_subtracts,
        "You subtract the penalty; the agreement is to divide or multiply by it, so that 1 means "
        "none.",
        "only that the logits get smaller",
    ),
    Mistake(
        "once_for_each_time",
        _penalty_for_each_time,
        "You punish a token again for each time it has come; it counts once, however often it "
        "came.",
        "texts in which no token comes twice",
    ),
    Mistake(
        "every_token",
        _penalty_for_all,
        "You change the logits of all tokens; only those that stand in ids are punished.",
        "a text that holds every token",
    ),
    Mistake(
        "the_other_tokens",
        _penalty_for_the_others,
        "You punish the tokens that have not come yet; it is the others.",
        "a penalty of 1",
    ),
    Mistake(
        "last_token_alone",
        _penalty_last_token,
        "You punish the last token alone; all tokens of the text so far count.",
        "texts of one token",
    ),
    Mistake(
        "rows_mixed",
        _penalty_rows_mixed,
        "You punish each row for the tokens of all rows; every text has its own.",
        "a single row",
    ),
    Mistake(
        "first_row_for_all",
        _penalty_first_row,
        "You punish every row for the tokens of the first one; every text has its own.",
        "a single row",
    ),
    Mistake(
        "in_place",
        _penalty_in_place,
        "Your result is right, but you overwrite the caller's logits; work on `logits.clone()`.",
        "looking at the result alone",
    ),
    Mistake(
        "forbids",
        _penalty_forbids,
        "You forbid tokens that have come; a penalty makes them less likely and no more.",
        "only which tokens change",
    ),
    Mistake(
        "on_probabilities",
        _penalty_on_probabilities,
        "You work on probabilities; the penalty belongs to the logits, before the softmax.",
        "only the order of the tokens",
    ),
    Mistake(
        "everything_scaled",
        _penalty_for_all_again,
        "You divide all logits by the penalty once more at the end, which works like a "
        "temperature; tokens that have not come keep their logit.",
        "a penalty of 1",
    ),
    Mistake(
        "changes_added_up",
        _penalty_added_up,
        "`scatter_add` adds the change once for each time that a token stands in ids; it counts "
        "once, and `scatter` writes the changed logit.",
        "texts in which no token comes twice",
    ),
    Mistake(
        "newest_left_out",
        _penalty_newest_left_out,
        "You leave out the last token of the text, which has come as well.",
        "texts whose last token came before",
    ),
    Mistake(
        "chosen_alone",
        _penalty_chosen_alone,
        "You return the changed logits of the tokens in ids alone, (B, T); put them back into a "
        "copy of all the logits, (B, V).",
        "only the logits that change",
    ),
)


def _penalty_never_helps(answer) -> str | None:
    logits, ids = 3 * normal(56, 4, 7), token_ids(57, 7, 4, 3)
    changed = answer(logits.clone(), ids, 1.6)
    risen = (changed > logits + 1e-6).nonzero().tolist()
    if not risen:
        return None
    b, token = risen[0]
    return (
        f"In row {b} the logit of token {token} rose from {logits[b, token]:.3f} to "
        f"{changed[b, token]:.3f}, but a penalty above 1 makes no token likelier."
    )


def _penalty_once(answer) -> str | None:
    logits = 2 * normal(58, 1, 5)
    once = answer(logits.clone(), torch.tensor([[3, 1]]), 1.4)
    often = answer(logits.clone(), torch.tensor([[1, 3, 3, 1, 3]]), 1.4)
    if gap_between(once, often) < 1e-6:
        return None
    return "A text that holds the same tokens more often must give the same, and yours differs."


PENALTY_PROPERTIES = (
    Property("no token becomes likelier", _penalty_never_helps),
    Property("how often a token came does not matter", _penalty_once),
)

PENALTY = Exercise(
    id="sampling.apply_repetition_penalty",
    title="Repetition penalty",
    reference=apply_repetition_penalty,
    cases=PENALTY_CASES,
    mistakes=PENALTY_MISTAKES,
    right=(_penalty_by_loop, _penalty_by_gather, _penalty_by_mask),
    properties=PENALTY_PROPERTIES,
    hints=(
        "Divide -3 by 1.5. Has the token become less likely?",
        "Go through the rows, and in each through the different ids, `set(row.tolist())`. Divide "
        "a positive logit, multiply any other; work on a copy.",
        "changed = logits.clone(); for b in range(len(ids)): for token in set(ids[b].tolist()): "
        "x = logits[b, token]; changed[b, token] = x / penalty if x > 0 else x * penalty.",
    ),
    solution=(
        "Smaller means further to the left on the number line: for a positive logit nearer to 0, "
        "for a negative one further from it. A set holds each token once. Without a loop: gather "
        "the logits of the ids, change them by sign, scatter them back; where an id comes twice, "
        "the same number is written twice."
    ),
    checked="both signs, repeated tokens, rows of their own, penalties above and below 1, and 0",
)


# --- beam_step ---


def _beam_case(name: str, seed: int, N: int, V: int, n_beams: int, **kwargs: Any) -> Case:
    scores = -3 * normal(seed, N, **kwargs).abs()
    log_probs = (1.5 * normal(seed + 1, N, V, **kwargs)).log_softmax(dim=-1)
    return Case(name, (scores, log_probs, n_beams), sizes={"N": N, "V": V, "n_beams": n_beams})


BEAM_CASES = (
    Case(
        "two beams by hand",
        (
            torch.tensor([-0.5, -0.9]),
            torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.06, 0.04]]).log(),
            2,
        ),
    ),
    Case(
        "one beam has all the best",
        (torch.tensor([-0.1, -9.0, -8.0]), normal(61, 3, 5).log_softmax(-1), 3),
    ),
    _beam_case("N=3, V=5, two beams", 62, 3, 5, 2),
    _beam_case("N=4, V=4, four beams", 64, 4, 4, 4),
    _beam_case("one beam at the start", 66, 1, 7, 3),
    _beam_case("more beams than before", 68, 2, 6, 5),
    _beam_case("one beam", 70, 1, 5, 1),
    _beam_case("as many as there are candidates", 72, 2, 3, 6),
    _beam_case("more beams than tokens", 74, 5, 3, 4),
    _beam_case("double precision", 76, 3, 6, 3, dtype=torch.float64),
    Case(
        "impossible tokens",
        (
            torch.tensor([-1.0, -2.0]),
            torch.tensor([[-INF, -0.3, -1.4], [-0.1, -INF, -2.4]]),
            3,
        ),
    ),
    Case(
        "long texts with low scores",
        (torch.tensor([-250.0, -248.5, -260.0]), normal(78, 3, 4).log_softmax(-1), 2),
    ),
)


def _beam_by_loop(scores, log_probs, n_beams):
    candidates = []
    for parent in range(len(scores)):
        for token in range(log_probs.shape[1]):
            candidates.append((scores[parent] + log_probs[parent, token], parent, token))
    candidates.sort(key=lambda candidate: -candidate[0].item())
    best = candidates[:n_beams]
    return (
        torch.stack([c[0] for c in best]),
        torch.tensor([c[1] for c in best]),
        torch.tensor([c[2] for c in best]),
    )


def _beam_by_sort(scores, log_probs, n_beams):
    totals = (scores.unsqueeze(1) + log_probs).reshape(-1)
    order = torch.argsort(totals, descending=True)[:n_beams]
    V = log_probs.size(1)
    return totals[order], torch.div(order, V, rounding_mode="floor"), order.remainder(V)


def _beam_by_unravel(scores, log_probs, n_beams):
    totals = log_probs + scores.view(-1, 1)
    best = totals.flatten().topk(n_beams)
    parents, tokens = torch.unravel_index(best.indices, totals.shape)
    return best.values, parents, tokens


def _beam_two_rounds(scores, log_probs, n_beams):
    V = log_probs.shape[-1]
    own, tokens = log_probs.topk(min(n_beams, V), dim=-1)  # (N, k): no beam can give more
    totals = own + scores[:, None]
    best, places = totals.flatten().topk(n_beams)
    parents = places // totals.shape[1]
    return best, parents, tokens.flatten()[places]


# Known mistakes.


def _best_of(totals, n_beams):
    best, places = totals.flatten().topk(n_beams)
    return best, places // totals.shape[1], places % totals.shape[1]


def _beam_one_child_each(scores, log_probs, n_beams):
    own, tokens = (scores[:, None] + log_probs).max(dim=1)
    best, parents = own.topk(min(n_beams, len(own)))
    return best, parents, tokens[parents]


def _beam_forgets_the_past(scores, log_probs, n_beams):
    return _best_of(log_probs, n_beams)


def _beam_past_for_the_score_alone(scores, log_probs, n_beams):
    best, parents, tokens = _best_of(log_probs, n_beams)
    return scores[parents] + best, parents, tokens


def _beam_multiplies(scores, log_probs, n_beams):
    return _best_of(scores[:, None] * log_probs, n_beams)


def _beam_adds_probabilities(scores, log_probs, n_beams):
    return _best_of(scores[:, None] + log_probs.exp(), n_beams)


def _beam_worst(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).flatten().topk(n_beams, largest=False)
    return best, places // log_probs.shape[1], places % log_probs.shape[1]


def _beam_divides_by_n(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).flatten().topk(n_beams)
    N = len(scores)
    return best, places // N, places % N


def _beam_pair_swapped(scores, log_probs, n_beams):
    best, parents, tokens = beam_step(scores, log_probs, n_beams)
    return best, tokens, parents


def _beam_flat_tokens(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).flatten().topk(n_beams)
    return best, places // log_probs.shape[1], places


def _beam_mean(scores, log_probs, n_beams):
    return _best_of((scores[:, None] + log_probs) / 2, n_beams)


def _beam_own_log_prob(scores, log_probs, n_beams):
    _, parents, tokens = beam_step(scores, log_probs, n_beams)
    return log_probs[parents, tokens], parents, tokens


def _beam_softmax_over_all(scores, log_probs, n_beams):
    totals = scores[:, None] + log_probs
    return _best_of(totals.flatten().log_softmax(0).view_as(totals), n_beams)


def _beam_turned(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).T.flatten().topk(n_beams)
    V = log_probs.shape[1]
    return best, places // V, places % V


def _beam_by_parent(scores, log_probs, n_beams):
    best, parents, tokens = beam_step(scores, log_probs, n_beams)
    order = parents.argsort(stable=True)
    return best[order], parents[order], tokens[order]


def _beam_float_parents(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).flatten().topk(n_beams)
    V = log_probs.shape[1]
    return best, (places / V), places % V


def _beam_wrong_axis(scores, log_probs, n_beams):
    return _best_of(scores + log_probs, n_beams)


def _beam_remainder_by_beams(scores, log_probs, n_beams):
    best, places = (scores[:, None] + log_probs).flatten().topk(n_beams)
    return best, places // log_probs.shape[1], places % log_probs.shape[0]


BEAM_MISTAKES = (
    Mistake(
        "one_child_for_each_beam",
        _beam_one_child_each,
        "You take the best token of each beam; all candidates of all beams compete, and a good "
        "beam may have several of the best.",
        "one beam, or beams that are equally good",
    ),
    Mistake(
        "past_forgotten",
        _beam_forgets_the_past,
        "You compare the new tokens alone and forget what each beam has scored so far.",
        "beams with equal scores of 0",
    ),
    Mistake(
        "past_added_too_late",
        _beam_past_for_the_score_alone,
        "You choose by the new tokens alone and add the beams' scores afterwards; add them first, "
        "then choose.",
        "beams with equal scores",
    ),
    Mistake(
        "multiplies",
        _beam_multiplies,
        "You multiply logarithms. Probabilities are multiplied; their logarithms are added.",
        "only which parents are chosen",
    ),
    Mistake(
        "adds_probabilities",
        _beam_adds_probabilities,
        "You add a probability to a logarithm; log_probs are logarithms already and are added as "
        "they are.",
        "which token is chosen, for one beam",
    ),
    Mistake(
        "worst",
        _beam_worst,
        "You keep the candidates with the lowest scores: log-probabilities are negative, and the "
        "largest is the one nearest to 0.",
        "as many beams as candidates, in any order",
    ),
    Mistake(
        "divided_by_n",
        _beam_divides_by_n,
        "You divide the place in the flattened table by the number of beams; a row of the table "
        "has V entries, so divide by V.",
        "as many beams as tokens",
    ),
    Mistake(
        "parents_and_tokens_swapped",
        _beam_pair_swapped,
        "You return the tokens before the parents; the order is scores, parents, tokens.",
        "only the scores",
    ),
    Mistake(
        "flat_places_as_tokens",
        _beam_flat_tokens,
        "Your tokens are places in the flattened table; the remainder after division by V is the "
        "token's id.",
        "a single beam",
    ),
    Mistake(
        "means",
        _beam_mean,
        "You halve the sum; a score is the sum of the log-probabilities, and lengths are made fair "
        "at the end.",
        "which candidates are chosen",
    ),
    Mistake(
        "new_token_alone_as_score",
        _beam_own_log_prob,
        "You choose rightly, but return the new token's log-probability; the new score is that of "
        "the whole beam.",
        "which candidates are chosen",
    ),
    Mistake(
        "softmax_over_the_candidates",
        _beam_softmax_over_all,
        "You normalise over all candidates; a score must stay the log-probability of its text.",
        "which candidates are chosen",
    ),
    Mistake(
        "table_turned",
        _beam_turned,
        "You flatten the table column by column, but divide as if it were row by row.",
        "a single beam",
    ),
    Mistake(
        "sorted_by_parent",
        _beam_by_parent,
        "Your candidates are right, but sorted by their parents; the best score comes first.",
        "a single beam, or comparing without order",
    ),
    Mistake(
        "parents_with_fractions",
        _beam_float_parents,
        "Your parents are fractions, since `/` divides with a remainder; `//` gives the row.",
        "parents rounded down by the caller",
    ),
    Mistake(
        "scores_along_the_wrong_axis",
        _beam_wrong_axis,
        "You add the scores along the axis of the tokens; each belongs to a row, so give it an "
        "axis of length 1: `scores[:, None]`.",
        "a single beam",
    ),
    Mistake(
        "remainder_by_beams",
        _beam_remainder_by_beams,
        "Your parents are right, but you take the remainder after division by the number of beams; "
        "a row of the table has V entries.",
        "as many beams as tokens",
    ),
)


def _beam_add_up(answer) -> str | None:
    scores, log_probs = -normal(80, 4).abs(), normal(81, 4, 6).log_softmax(-1)
    best, parents, tokens = answer(scores.clone(), log_probs.clone(), 5)
    gap = gap_between(best, scores[parents.long()] + log_probs[parents.long(), tokens.long()])
    if gap < 1e-5:
        return None
    return (
        "A new score must be the parent's score plus the token's log-probability, and one of "
        f"yours is off by {gap:.3f}."
    )


def _beam_best_first(answer) -> str | None:
    best, _, _ = answer(-normal(82, 3).abs(), normal(83, 3, 7).log_softmax(-1), 6)
    if (best[:-1] >= best[1:]).all():
        return None
    return "Your scores do not fall from the first to the last; the best comes first."


BEAM_PROPERTIES = (
    Property("a score is the parent's plus the token's", _beam_add_up),
    Property("the best comes first", _beam_best_first),
)

BEAM_STEP = Exercise(
    id="sampling.beam_step",
    title="One step of beam search",
    reference=beam_step,
    cases=BEAM_CASES,
    mistakes=BEAM_MISTAKES,
    right=(_beam_by_loop, _beam_by_sort, _beam_by_unravel, _beam_two_rounds),
    properties=BEAM_PROPERTIES,
    hints=(
        "Each beam can go on in V ways, so there are N times V candidates. What is the score of "
        "one of them?",
        "scores[:, None] + log_probs is a table (N, V) of all candidates' scores. Flatten it and "
        "take topk. The place of a candidate in the flat row tells its beam and its token, since "
        "every beam takes up V places.",
        "best, places = totals.flatten().topk(n_beams); the parents are places // V and the "
        "tokens places % V, with V = log_probs.shape[1].",
    ),
    solution=(
        "ln p of a text is the sum of its tokens' ln p, so a candidate scores its beam's sum plus "
        "its own ln p. Flattened row by row, candidate (n, v) stands at n·V + v; whole division by "
        "V gives n back, and the remainder v. All candidates compete, so a good beam may have "
        "several children and a bad one none."
    ),
    checked="several sizes, beams with many children and with none, and that scores add up",
)


# --- pad_left ---


PAD_CASES = (
    Case("two prompts by hand", ([[4, 5, 6], [7]], 0)),
    Case("the pad token stands in a prompt", ([[0, 3, 0, 2], [5, 0]], 0)),
    Case("a prompt begins with the pad token", ([[9, 9, 1], [9], [2, 9]], 9)),
    Case("all equally long", ([[1, 2], [3, 4], [5, 6]], 8)),
    Case("one prompt", ([[3, 1, 2]], 7)),
    Case("four lengths", ([[1], [2, 3, 4, 5], [6, 7], [8, 9, 10]], 11)),
    Case("the longest comes last", ([[5], [6, 7], [8, 9, 10, 11, 12]], 1)),
    Case("one token each", ([[2], [1]], 3)),
    Case("a long one beside a short one", ([list(range(20)), [4, 4]], 5)),
)


def _pad_by_filling(prompts, pad_id):
    B, T = len(prompts), max(map(len, prompts))
    ids = torch.full((B, T), pad_id)
    mask = torch.zeros(B, T, dtype=torch.bool)
    positions = torch.zeros(B, T, dtype=torch.long)
    for b, prompt in enumerate(prompts):
        n = len(prompt)
        ids[b, T - n :] = torch.tensor(prompt)
        mask[b, T - n :] = True
        positions[b, T - n :] = torch.arange(n)
    return ids, mask, positions


def _pad_by_columns(prompts, pad_id):
    lengths = torch.tensor([len(prompt) for prompt in prompts])[:, None]  # (B, 1)
    T = int(lengths.max())
    column = torch.arange(T)[None, :]  # (1, T)
    mask = column >= T - lengths
    positions = torch.where(mask, column - (T - lengths), 0)
    ids = torch.full((len(prompts), T), pad_id)
    ids[mask] = torch.tensor([token for prompt in prompts for token in prompt])
    return ids, mask, positions


def _pad_by_reversing(prompts, pad_id):
    turned = [torch.tensor(prompt[::-1]) for prompt in prompts]
    ids = torch.nn.utils.rnn.pad_sequence(turned, batch_first=True, padding_value=pad_id).flip(1)
    ones = [torch.ones(len(prompt), dtype=torch.bool) for prompt in prompts]
    mask = torch.nn.utils.rnn.pad_sequence(ones, batch_first=True).flip(1)
    return ids, mask, torch.clamp(torch.cumsum(mask, dim=1) - 1, min=0)


# Known mistakes.


def _pad_right(prompts, pad_id):
    ids, mask, _ = pad_left([prompt[::-1] for prompt in prompts], pad_id)
    T = ids.shape[1]
    places = torch.arange(T).expand(len(prompts), T)
    return ids.flip(1), mask.flip(1), places.where(mask.flip(1), 0)


def _pad_mask_by_id(prompts, pad_id):
    ids, _, _ = pad_left(prompts, pad_id)
    mask = ids != pad_id
    return ids, mask, (mask.cumsum(dim=1) - 1).clamp(min=0)


def _pad_mask_by_id_alone(prompts, pad_id):
    ids, _, positions = pad_left(prompts, pad_id)
    return ids, ids != pad_id, positions


def _pad_columns_as_positions(prompts, pad_id):
    ids, mask, _ = pad_left(prompts, pad_id)
    return ids, mask, torch.arange(ids.shape[1]).expand_as(ids).clone()


def _pad_negative_positions(prompts, pad_id):
    ids, mask, _ = pad_left(prompts, pad_id)
    return ids, mask, mask.cumsum(dim=1) - 1


def _pad_positions_from_one(prompts, pad_id):
    ids, mask, _ = pad_left(prompts, pad_id)
    return ids, mask, mask.cumsum(dim=1)


def _pad_mask_turned(prompts, pad_id):
    ids, mask, positions = pad_left(prompts, pad_id)
    return ids, ~mask, positions


def _pad_reversed(prompts, pad_id):
    return pad_left([prompt[::-1] for prompt in prompts], pad_id)


def _pad_cut(prompts, pad_id):
    shortest = min(map(len, prompts))
    return pad_left([prompt[-shortest:] for prompt in prompts], pad_id)


def _pad_one_too_many(prompts, pad_id):
    ids, mask, positions = pad_left([*prompts, [0] * (max(map(len, prompts)) + 1)], pad_id)
    return ids[:-1], mask[:-1], positions[:-1]


def _pad_changes_prompts(prompts, pad_id):
    result = pad_left(prompts, pad_id)
    T = result[0].shape[1]
    for prompt in prompts:
        while len(prompt) < T:
            prompt.insert(0, pad_id)
    return result


def _pad_swapped(prompts, pad_id):
    ids, mask, positions = pad_left(prompts, pad_id)
    return ids, positions, mask


def _pad_positions_from_the_right(prompts, pad_id):
    ids, mask, _ = pad_left(prompts, pad_id)
    T = ids.shape[1]
    return ids, mask, (T - 1 - torch.arange(T)).where(mask, 0)


def _pad_with_zero(prompts, pad_id):
    return pad_left(prompts, 0)


def _pad_all_true(prompts, pad_id):
    ids, mask, positions = pad_left(prompts, pad_id)
    return ids, torch.ones_like(mask), positions


def _pad_last_mask(prompts, pad_id):
    ids, mask, positions = pad_left(prompts, pad_id)
    return ids, mask[-1].expand_as(mask).clone(), positions


def _pad_sorted(prompts, pad_id):
    return pad_left(sorted(prompts, key=len), pad_id)


def _pad_first_length(prompts, pad_id):
    T = len(prompts[0])
    ids = torch.tensor([[pad_id] * (T - len(prompt)) + prompt for prompt in prompts])
    return ids, *pad_left(prompts, pad_id)[1:]


def _pad_positions_1(prompts, pad_id):
    ids, mask, positions = pad_left(prompts, pad_id)
    return ids, mask, positions.masked_fill(~mask, 1)


PAD_MISTAKES = (
    Mistake(
        "padding_on_the_right",
        _pad_right,
        "You pad on the right. The next token is read off the last column, so every prompt must "
        "end there, with its padding on the left.",
        "prompts of equal length",
    ),
    Mistake(
        "mask_and_positions_by_id",
        _pad_mask_by_id,
        "You find the padding by its id, but a prompt may hold the same id as a real token; count "
        "the lengths instead.",
        "a pad token that no prompt holds",
    ),
    Mistake(
        "mask_by_id",
        _pad_mask_by_id_alone,
        "Your positions are right, but the mask looks for the pad token's id, and a prompt may "
        "hold the same id as a real token.",
        "a pad token that no prompt holds",
    ),
    Mistake(
        "columns_as_positions",
        _pad_columns_as_positions,
        "Your positions count the padding, so the first token of a short prompt does not stand at "
        "0, where it would stand alone.",
        "prompts of equal length",
    ),
    Mistake(
        "negative_positions",
        _pad_negative_positions,
        "Your positions are -1 at the padding, which no table of positions has; put 0 there.",
        "prompts of equal length, or positions of real tokens alone",
    ),
    Mistake(
        "positions_from_1",
        _pad_positions_from_one,
        "Your positions count from 1; the first token of a prompt stands at 0.",
        "only that they rise by one",
    ),
    Mistake(
        "mask_turned",
        _pad_mask_turned,
        "Your mask is the wrong way round: True = a token, False = padding.",
        "only the ids",
    ),
    Mistake(
        "prompts_reversed",
        _pad_reversed,
        "Your prompts run backwards; turning them round puts the padding on the left only if you "
        "turn them back.",
        "prompts of one token",
    ),
    Mistake(
        "cut_to_the_shortest",
        _pad_cut,
        "You cut the prompts to the length of the shortest; the short ones are filled up instead.",
        "prompts of equal length",
    ),
    Mistake(
        "one_column_too_many",
        _pad_one_too_many,
        "You have a column more than the longest prompt has tokens.",
        "only that prompts end in the last column",
    ),
    Mistake(
        "changes_the_prompts",
        _pad_changes_prompts,
        "Your result is right, but you fill up the caller's own lists; make new ones.",
        "looking at the result alone",
    ),
    Mistake(
        "mask_and_positions_swapped",
        _pad_swapped,
        "You return the positions before the mask; the order is ids, mask, positions.",
        "only the ids",
    ),
    Mistake(
        "positions_from_the_right",
        _pad_positions_from_the_right,
        "Your positions count from the end of the prompt; the first token stands at 0.",
        "prompts of one token",
    ),
    Mistake(
        "pad_id_ignored",
        _pad_with_zero,
        "You fill up with 0 and not with pad_id.",
        "a pad_id of 0",
    ),
    Mistake(
        "nothing_masked",
        _pad_all_true,
        "Your mask is True everywhere, so the padding would be read as text.",
        "prompts of equal length",
    ),
    Mistake(
        "one_mask_for_all",
        _pad_last_mask,
        "You use the mask of the last prompt for all; each row has its own.",
        "one prompt, or prompts of equal length",
    ),
    Mistake(
        "prompts_sorted",
        _pad_sorted,
        "You sort the prompts by their length; row b belongs to prompt b.",
        "prompts whose lengths rise",
    ),
    Mistake(
        "length_of_the_first",
        _pad_first_length,
        "You fill up to the length of the first prompt, but another may be longer, and then the "
        "rows differ in length; the longest of all decides.",
        "prompts of which the first is the longest",
    ),
    Mistake(
        "positions_1_at_padding",
        _pad_positions_1,
        "Your positions are 1 at the padding, as some libraries have it; here they are 0.",
        "positions of real tokens alone",
    ),
)


def _pad_nothing_lost(answer) -> str | None:
    prompts = [[3, 1, 4], [1, 5, 9, 2, 6], [5, 3]]
    ids, mask, _ = answer([list(prompt) for prompt in prompts], 5)
    for b, prompt in enumerate(prompts):
        found = ids[b][mask[b]].tolist()
        if found != prompt:
            return f"Where your mask is True, row {b} holds {found}, but its prompt is {prompt}."
    return None


def _pad_ends_in_the_last_column(answer) -> str | None:
    _, mask, _ = answer([[3, 1, 4], [1, 5, 9, 2, 6], [5, 3]], 7)
    short = (~mask[:, -1]).nonzero().flatten().tolist()
    if not short:
        return None
    return f"Row {short[0]} ends in padding, but the next token is read off the last column."


PAD_PROPERTIES = (
    Property("every prompt ends in the last column", _pad_ends_in_the_last_column),
    Property("where the mask is True, the prompt stands", _pad_nothing_lost),
)

PAD_LEFT = Exercise(
    id="sampling.pad_left",
    title="Prompts side by side",
    reference=pad_left,
    cases=PAD_CASES,
    mistakes=PAD_MISTAKES,
    right=(_pad_by_filling, _pad_by_columns, _pad_by_reversing),
    properties=PAD_PROPERTIES,
    hints=(
        "How many pad tokens does each prompt need, and on which side? Everything follows from the "
        "lengths alone.",
        "With T the longest length, a prompt of n tokens needs T - n pad tokens before it. The "
        "mask has T - n times False, then n times True. The positions count the True ones.",
        "ids from [pad_id] * (T - n) + prompt, mask from [False] * (T - n) + [True] * n, and "
        "positions = (mask.cumsum(dim=1) - 1).clamp(min=0).",
    ),
    solution=(
        "All prompts end in the last column, where the next token is read off. The running count "
        "of real tokens, less one, is 0 at a row's first token and rises from there: where each "
        "token would stand alone. At the padding it would be -1, and `clamp` makes that 0; nobody "
        "looks there. The mask comes from the lengths, since a prompt may hold the pad token's id."
    ),
    checked="several lengths, prompts that hold the pad token, and positions as for a prompt alone",
)


# --- expose_bug ---

_NOT_TWO = "Return two things in this order: the logits and p."
_NO_LOGITS = "The logits must be a floating-point tensor, with decimal points in its numbers."
_NO_TOKENS = "The logits need at least one token in their last axis."
_NOT_A_P = "p must be a number above 0 and at most 1: it is a share of the probability."
_NOT_FINITE = (
    "The logits must be finite numbers: with NaN or infinity it is no longer the bug that shows."
)
_SORTED = (
    "Your logits fall from the first to the last, so sorting changes nothing and the colleague's "
    "filter is right: this is what their test looks like."
)
_ALL_KEPT = "With this p every token is kept, and a filter that drops nothing cannot drop wrongly."
_SAME = (
    "Both filters keep the same tokens of these logits: the likeliest ones stand first, though the "
    "rest may be in any order."
)


def _two_things(answer) -> str | None:
    made = answer()
    if isinstance(made, (tuple, list)) and len(made) == 2 and not isinstance(made[1], torch.Tensor):
        return None
    return _NOT_TWO


def _logits_are_scores(answer) -> str | None:
    logits = answer()[0]
    if isinstance(logits, torch.Tensor) and logits.is_floating_point():
        return None
    return _NO_LOGITS


def _logits_have_tokens(answer) -> str | None:
    logits = answer()[0]
    return None if logits.dim() and logits.numel() else _NO_TOKENS


def _p_is_a_share(answer) -> str | None:
    p = answer()[1]
    number = isinstance(p, (int, float)) and not isinstance(p, bool)
    return None if number and 0 < p <= 1 else _NOT_A_P


def _logits_finite(answer) -> str | None:
    return None if answer()[0].isfinite().all() else _NOT_FINITE


def _something_dropped(answer) -> str | None:
    return None if top_p_filter(*answer()).isinf().any() else _ALL_KEPT


def _not_sorted(answer) -> str | None:
    logits = answer()[0]
    return _SORTED if (logits[..., :-1] >= logits[..., 1:]).all() else None


def _filters_differ(answer) -> str | None:
    logits, p = answer()
    kept = [torch.isfinite(f(logits, p)) for f in (top_p_filter, unsorted_top_p)]
    return _SAME if torch.equal(*kept) else None


EXPOSE_PROPERTIES = (
    Property("two things come back", _two_things),
    Property("the logits are a floating-point tensor", _logits_are_scores),
    Property("there are tokens", _logits_have_tokens),
    Property("p is a share", _p_is_a_share),
    Property("the logits are finite", _logits_finite),
    Property("the filter drops something", _something_dropped),
    Property("the logits are not sorted", _not_sorted),
    Property("the two filters keep different tokens", _filters_differ),
)


def _expose_random():
    return torch.randn(4, 10, generator=torch.Generator().manual_seed(2)), 0.5


def _expose_rising():
    logits = torch.arange(5.0)
    return logits, 0.9


# Known mistakes.


def _expose_logits_alone():
    return torch.tensor([0.0, 3.0, 1.0])


def _expose_swapped():
    return 0.5, torch.tensor([0.0, 3.0, 1.0])


def _expose_list():
    return [0.0, 3.0, 1.0], 0.5


def _expose_integers():
    return torch.tensor([0, 3, 1]), 0.5


def _expose_empty():
    return torch.empty(0), 0.5


def _expose_percent():
    return torch.tensor([0.0, 3.0, 1.0]), 90


def _expose_zero():
    return torch.tensor([0.0, 3.0, 1.0]), 0.0


def _expose_infinite():
    return torch.tensor([-INF, 3.0, 1.0]), 0.5


def _expose_everything():
    return torch.tensor([0.0, 3.0, 1.0]), 1.0


def _expose_falling():
    return torch.tensor([3.0, 1.0, 0.0]), 0.5


def _expose_all_equal():
    return torch.zeros(4), 0.5


def _expose_only_the_tail():
    return torch.tensor([9.0, 0.0, 1.0]), 0.5


EXPOSE_MISTAKES = (
    Mistake("logits_alone", _expose_logits_alone, _NOT_TWO, "only the logits"),
    Mistake("pair_swapped", _expose_swapped, _NOT_TWO + " Yours are swapped.", "both are there"),
    Mistake("a_list", _expose_list, _NO_LOGITS + " Yours is a list.", "only the numbers"),
    Mistake("whole_numbers", _expose_integers, _NO_LOGITS, "only the shape"),
    Mistake("no_tokens", _expose_empty, _NO_TOKENS, "only the type"),
    Mistake("percent", _expose_percent, _NOT_A_P + " Yours is a percentage.", "only the type of p"),
    Mistake("p_of_0", _expose_zero, _NOT_A_P, "only that p is a number"),
    Mistake("infinite_logits", _expose_infinite, _NOT_FINITE, "that the filters differ"),
    Mistake("p_of_1", _expose_everything, _ALL_KEPT, "only that the logits are not sorted"),
    Mistake("sorted", _expose_falling, _SORTED, "only that a token is dropped"),
    Mistake(
        "all_equal",
        _expose_all_equal,
        "With equal logits any order is a sorted one, and the colleague's filter is right.",
        "only that a token is dropped",
    ),
    Mistake("likeliest_first", _expose_only_the_tail, _SAME, "only that the logits are unsorted"),
)

EXPOSE_BUG = Exercise(
    id="sampling.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_random, _expose_rising),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "What does the colleague's filter do with the order that sort returns? For which logits "
        "does that not matter?",
        "The filter decides by rank and applies the decision by place. You need a likely token "
        "that does not stand among the first, and a p at which something is dropped.",
        "Three tokens are enough: the likeliest in the middle, and a p small enough that it alone "
        "is kept. Their filter keeps the first token instead.",
    ),
    solution=(
        "`sort` returns the order as its second result, and the colleague throws it away. Rank 0 "
        "is kept, and so place 0 is kept, whoever stands there. Tests with neat, falling numbers "
        "hide every mistake of order; random numbers, or at least unsorted ones, do not."
    ),
    checked="both filters run on your input and keep different tokens",
)


EXERCISES: tuple[Exercise, ...] = (
    GREEDY_CONTINUE,
    DRAW,
    TOP_K,
    TOP_P,
    PENALTY,
    BEAM_STEP,
    PAD_LEFT,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "The logits of three tokens are 2, 1 and 0. You add 5 to each. What happens to the "
        "probabilities that softmax makes of them?",
        (
            Option(
                "Nothing: only the differences between logits count.",
                "Yes. The 5 stands above and below the fraction as a factor e^5, and cancels.",
                right=True,
            ),
            Option(
                "All of them grow.",
                "No. They still add up to one, so they cannot all grow.",
            ),
            Option(
                "They become more even, since 7, 6 and 5 are closer to each other in ratio.",
                "No. Softmax looks at differences and not at ratios, and these have not changed.",
            ),
            Option(
                "The first takes nearly everything, since 7 is large.",
                "No. Large differences make one token win; large numbers alone do not.",
            ),
        ),
    ),
    Question(
        "A model reads 10 tokens and returns logits of the shape (1, 10, V). Which of the 10 rows "
        "says how the text goes on?",
        (
            Option(
                "The first.",
                "No. It belongs to the first token, which saw itself alone, and says what may come "
                "second.",
            ),
            Option(
                "The mean of all.",
                "No. The rows answer ten different questions; their mean answers none.",
            ),
            Option(
                "The last.",
                "Yes. Thanks to the causal mask row t has seen the tokens up to t, and says what "
                "comes after them. Only the last one has seen the whole text.",
                right=True,
            ),
            Option(
                "The one with the largest logit.",
                "No. That row may be sure of a token that stands in the text already.",
            ),
        ),
    ),
    Question(
        "Why is a model put into evaluation mode before it writes?",
        (
            Option(
                "It could not be run otherwise.",
                "No. It runs in either mode; the outcome differs.",
            ),
            Option(
                "So that dropout is off: nothing of what it has learned is set to zero by chance.",
                "Yes. Dropout is for training. When writing, all parts of the model take part.",
                right=True,
            ),
            Option(
                "So that it does not look ahead.",
                "No. The causal mask sees to that, in both modes.",
            ),
            Option(
                "So that its parameters stay as they are.",
                "No. Parameters change in a training step alone, whatever the mode.",
            ),
        ),
    ),
    Question(
        "What does the output head of a model make of the vector of one token?",
        (
            Option(
                "The next token's vector.",
                "No. It makes a number for each token of the vocabulary, and no vector of width C.",
            ),
            Option(
                "One id.",
                "No. Choosing an id is the subject of this chapter; the head leaves it open.",
            ),
            Option(
                "A probability between 0 and 1.",
                "No. It makes V numbers of any size; softmax turns them into probabilities.",
            ),
            Option(
                "V logits, one for each token of the vocabulary.",
                "Yes. With tied weights each is the dot product with that token's embedding.",
                right=True,
            ),
        ),
    ),
    Question(
        "A model has a loss of 0.69 nats per token, which is ln 2. What does its perplexity of 2 "
        "say?",
        (
            Option(
                "Two tokens in a hundred are wrong.",
                "No. The loss looks at the probability of the right token, not at a count of "
                "mistakes.",
            ),
            Option(
                "On average it is as surprised as by a choice between two equally likely tokens.",
                "Yes. e to the loss is the number of equally likely tokens that would surprise as "
                "much.",
                right=True,
            ),
            Option(
                "It needs two tries for each token.",
                "No. It never tries; it gives every token a probability.",
            ),
            Option(
                "It is twice as good as a model that knows nothing.",
                "No. A model that knows nothing has the perplexity V, the size of the vocabulary.",
            ),
        ),
    ),
)

RECAP = (
    Question(
        "You divide the logits by a temperature of 0.5. What happens?",
        (
            Option(
                "Likely tokens become likelier and unlikely ones unlikelier; the entropy falls.",
                "Yes. Dividing by 0.5 doubles every difference between logits.",
                right=True,
            ),
            Option(
                "All probabilities are halved.",
                "No. They still add up to one.",
            ),
            Option(
                "The distribution becomes flatter.",
                "No. That is what a temperature above 1 does.",
            ),
            Option(
                "The order of the tokens may change.",
                "No. Dividing all by one positive number keeps their order.",
            ),
        ),
    ),
    Question(
        "Three tokens have the probabilities 0.5, 0.3 and 0.2. Which does top-p keep with p = 0.6?",
        (
            Option(
                "The first alone, since with the second the sum is above 0.6.",
                "No. Then what is kept would be 0.5, which does not reach 0.6.",
            ),
            Option(
                "None: no token alone has 0.6.",
                "No. p is what the kept ones reach together, and at least one is always kept.",
            ),
            Option(
                "The first two: the second carries the sum across 0.6 and is kept.",
                "Yes. Before the second stands 0.5, which is below p; before the third 0.8.",
                right=True,
            ),
            Option(
                "All three.",
                "No. The first two already reach 0.8; the third is not needed.",
            ),
        ),
    ),
    Question(
        "At one place the model is sure of one token; at another twenty tokens are about equally "
        "likely. What does top-k with k = 5 do, compared with top-p or min-p?",
        (
            Option(
                "The same at both places: all three keep five tokens.",
                "No. Only top-k counts tokens; the other two look at their probabilities.",
            ),
            Option(
                "It keeps four unlikely tokens at the first place and drops fifteen good ones at "
                "the second; the others keep one and about twenty.",
                "Yes. A fixed number is too many for a sure model and too few for an unsure one.",
                right=True,
            ),
            Option(
                "It is the safest of the three at both places.",
                "No. At the first it leaves in four tokens that do not fit.",
            ),
            Option(
                "It keeps five at the first place and twenty at the second.",
                "No. k is k everywhere; only ties can add to it.",
            ),
        ),
    ),
    Question(
        "A token that has come before has the logit -2. The repetition penalty is 1.25. Its new "
        "logit?",
        (
            Option("-1.6", "No. -2 divided by 1.25 is nearer to 0: the token would be likelier."),
            Option("-3.25", "No. The penalty is a factor and is not subtracted."),
            Option(
                "-2.5",
                "Yes. A negative logit is multiplied, so that it falls.",
                right=True,
            ),
            Option("-2", "No. Tokens that have come are punished, whatever their sign."),
        ),
    ),
    Question(
        "Why does beam search add logarithms and not multiply probabilities?",
        (
            Option(
                "Because adding finds better texts.",
                "No. The order of the texts is the same: the logarithm grows with its argument.",
            ),
            Option(
                "Because a product of many probabilities is soon too small for a float, and 0 "
                "cannot be compared with 0.",
                "Yes. 0.01 multiplied by itself 30 times is already below the smallest float32.",
                right=True,
            ),
            Option(
                "Because logarithms make long texts and short ones comparable.",
                "No. A sum of logarithms falls with every token; the length must be divided out.",
            ),
            Option(
                "Because the model returns logarithms.",
                "No. It returns logits; log-softmax makes log-probabilities of them.",
            ),
        ),
    ),
    Question(
        "What does dividing a beam's log-probability by its length do?",
        (
            Option(
                "It makes the sum of all beams one.",
                "No. Beams are not a distribution, and a few of many texts need not add up.",
            ),
            Option(
                "It keeps the search from running too long.",
                "No. The search ends by stop tokens and by the limit; this changes the ranking.",
            ),
            Option(
                "It takes away the advantage of short texts, which add up fewer negative numbers.",
                "Yes. Every further token lowers the sum; the mean per token has no such bias.",
                right=True,
            ),
            Option(
                "It prefers beams with rarer words.",
                "No. It knows nothing of words; it changes how lengths compare.",
            ),
        ),
    ),
    Question(
        "Three prompts of 4, 7 and 9 tokens are continued as one batch. What is right?",
        (
            Option(
                "Padding on the left, masked; positions count from each prompt's first token.",
                "Yes. All end in the last column, nobody looks at padding, and each token stands "
                "where it would stand alone.",
                right=True,
            ),
            Option(
                "Padding on the right, as in training.",
                "No. Then the last column of a short prompt is padding, and the next token would "
                "be predicted from that.",
            ),
            Option(
                "Padding on the left; a mask is not needed, since the model has learned to ignore "
                "padding.",
                "No. A model that never saw padding reads it as text.",
            ),
            Option(
                "Padding on the left, masked; positions are the numbers of the columns.",
                "No. The first token of the short prompt would stand at 5. With learned positions "
                "that is another vector than the one at 0.",
            ),
        ),
    ),
    Question(
        "For which task is the likeliest text what you want?",
        (
            Option(
                "A bedtime story that differs every night.",
                "No. There is one likeliest story, and it is the same every night.",
            ),
            Option(
                "Ten different names for a new café.",
                "No. The likeliest names are near copies of each other.",
            ),
            Option(
                "All tasks: the model's favourite is its best.",
                "No. What people write is rarely the likeliest text; see the plot in section 8.",
            ),
            Option(
                "The answer to a question that has one right answer.",
                "Yes. There chance can only add mistakes, so greedy or beam search suit it.",
                right=True,
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "sampling.warmup": WARMUP,
    "sampling.recap": RECAP,
}
