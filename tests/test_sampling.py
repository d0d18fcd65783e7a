"""Filters by hand-made numbers and properties; generation and search equal to the definition."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
import transformers  # its models load when they are asked for
from hypothesis import example, given
from hypothesis import strategies as st
from small import enlarged
from torch import nn

from llm_core.config import POSITIONS, GPTConfig
from llm_core.model import GPT
from llm_core.sampling import (
    Beam,
    apply_repetition_penalty,
    apply_temperature,
    beam_search,
    beam_steps,
    distinct_ngrams,
    entropy,
    generate,
    greedy,
    min_p_filter,
    next_logits,
    pad_left,
    stream,
    text_pieces,
    top_k_filter,
    top_p_filter,
)
from llm_core.tokens import BPETokenizer, WordTokenizer

INF = math.inf


class Toy(nn.Module):
    """Scores each next id by a table's row for the last id; notes what it was shown."""

    def __init__(self, vocab_size=9, context_length=4, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(vocab_size, vocab_size, generator=generator))
        self.drop = nn.Dropout(0.5)
        self.config = SimpleNamespace(vocab_size=vocab_size, context_length=context_length)
        self.seen = []

    def forward(self, ids):
        self.seen.append((ids.shape[1], self.training, torch.is_grad_enabled()))
        return self.drop(self.table[ids]), None


def prompt(*ids):
    return torch.tensor(ids)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ------------------------------------------------------------------------------- filters


def test_greedy_takes_the_largest_and_the_lowest_of_equals():
    logits = torch.tensor([[1.0, 3.0, 2.0], [5.0, 0.0, 5.0]])
    assert greedy(logits).tolist() == [1, 0]
    assert greedy(logits[0]).item() == 1


def test_top_k_by_hand():
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
    assert top_k_filter(logits, 2).tolist() == [[-INF, 4.0, 3.0, -INF]]
    assert top_k_filter(logits, 4).tolist() == logits.tolist()
    assert top_k_filter(logits, 99).tolist() == logits.tolist()


def test_top_k_keeps_all_that_tie_with_the_kth():
    logits = torch.tensor([2.0, 1.0, 2.0, 2.0, 3.0])
    assert top_k_filter(logits, 2).tolist() == [2.0, -INF, 2.0, 2.0, 3.0]


def test_top_p_keeps_the_token_that_crosses():
    probabilities = torch.tensor([0.1, 0.5, 0.3, 0.1])
    kept = [torch.isfinite(top_p_filter(probabilities.log(), p)).tolist() for p in (0.4, 0.6, 0.85)]
    assert kept == [
        [False, True, False, False],
        [False, True, True, False],
        [True, True, True, False],  # of the two equal ones the lower id
    ]


def test_top_p_stops_where_the_sum_is_exactly_p():
    logits = torch.tensor([0.5, 0.25, 0.25]).log()
    assert torch.isfinite(top_p_filter(logits, 0.5)).tolist() == [True, False, False]


def test_filters_leave_their_input_alone_and_take_what_another_filter_left():
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0])
    before = logits.clone()
    both = top_p_filter(top_k_filter(logits, 3), 0.7)
    assert torch.equal(logits, before)
    assert torch.isfinite(both).tolist() == [True, True, False, False]


scores = st.lists(st.floats(-20, 20, width=32), min_size=1, max_size=12)


@given(scores, st.integers(1, 15), st.floats(0.01, 1.0), st.floats(0.05, 10.0))
@example([-1.5e-12, 0.0], 1, 0.25, 1.0)  # two logits, but rounding makes one probability of them
def test_filters_equal_transformers_but_for_ties(values, k, p, temperature):
    logits = torch.tensor([values])
    ours = apply_temperature(logits, temperature)
    assert torch.allclose(ours, transformers.TemperatureLogitsWarper(temperature)(None, logits))
    assert torch.equal(top_k_filter(logits, k), transformers.TopKLogitsWarper(k)(None, logits))
    shares = logits.softmax(-1).sort(descending=True).values
    close = bool(((shares.cumsum(-1) - p).abs() < 1e-4).any())
    if shares.unique().numel() == len(values) and p < 1 and not close:
        assert torch.equal(top_p_filter(logits, p), transformers.TopPLogitsWarper(p)(None, logits))


@given(scores, st.floats(0.01, 1.0))
def test_top_p_keeps_the_fewest_that_reach_p(values, p):
    logits = torch.tensor(values)
    probabilities = logits.softmax(-1)
    kept = torch.isfinite(top_p_filter(logits, p))
    assert kept.any()
    assert probabilities[kept].sum() >= p - 1e-5
    if kept.sum() > 1 and p < 1:
        assert probabilities[kept].sum() - probabilities[kept].min() < p + 1e-5
    if not kept.all():
        assert probabilities[~kept].max() <= probabilities[kept].min()


def test_min_p_measures_from_the_likeliest_and_keeps_what_is_exactly_at_the_limit():
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125], [0.125, 0.25, 0.5, 0.125]]).log()
    kept = torch.isfinite(min_p_filter(logits, 0.5))
    assert kept.tolist() == [[True, True, False, False], [False, True, True, False]]
    assert torch.isfinite(min_p_filter(logits, 1.0)).sum(-1).tolist() == [1, 1]
    assert torch.equal(min_p_filter(logits, 0), logits)


def test_the_penalty_makes_both_signs_smaller_and_counts_a_token_once():
    logits = torch.tensor([3.0, -3.0, 0.0, 2.0, -INF])
    changed = apply_repetition_penalty(logits, torch.tensor([0, 1, 1, 1, 2, 4]), 1.5)
    assert changed.tolist() == [2.0, -4.5, 0.0, 2.0, -INF]
    assert torch.equal(apply_repetition_penalty(logits, torch.tensor([0]), 1.0), logits)


def test_the_penalty_leaves_padding_out():
    logits, ids = torch.ones(2, 3), torch.tensor([[0, 0, 1], [0, 2, 2]])
    mask = torch.tensor([[False, False, True], [True, True, True]])
    changed = apply_repetition_penalty(logits, ids, 2.0, mask)
    assert changed.tolist() == [[1.0, 0.5, 1.0], [0.5, 1.0, 0.5]]


@given(scores, st.floats(0.5, 3.0), st.floats(0.0, 1.0))
def test_penalty_and_min_p_equal_transformers(values, penalty, min_p):
    logits = torch.tensor([values])
    ids = torch.tensor([[0, len(values) - 1, 0]])
    theirs = transformers.RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    assert torch.allclose(apply_repetition_penalty(logits, ids, penalty), theirs)
    assert torch.equal(
        min_p_filter(logits, min_p), transformers.MinPLogitsWarper(min_p)(None, logits)
    )


# ------------------------------------------------------------------------------ measures


def test_entropy_by_hand():
    assert entropy(torch.zeros(8)).item() == pytest.approx(math.log(8))
    assert entropy(torch.tensor([0.0, -INF])).item() == 0.0
    half = torch.tensor([[0.5, 0.25, 0.25], [1.0, 1e-30, 1e-30]]).log()
    assert entropy(half).tolist() == pytest.approx([1.5 * math.log(2), 0.0], abs=1e-6)


@given(scores, st.floats(0.1, 5.0), st.floats(1.01, 3.0))
def test_entropy_is_torchs_and_grows_with_the_temperature(values, temperature, factor):
    logits = torch.tensor(values, dtype=torch.float64)
    ours = entropy(logits / temperature)
    theirs = torch.distributions.Categorical(logits=logits / temperature).entropy()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-9)
    assert entropy(logits / (temperature * factor)) >= ours - 1e-9
    assert 0 <= ours <= math.log(len(values)) + 1e-9


def test_distinct_ngrams_by_hand():
    assert distinct_ngrams([[1, 2, 1, 2, 1]], 2) == 0.5
    assert distinct_ngrams([[1, 2], [1, 2]], 2) == 0.5
    assert distinct_ngrams([[1, 2], [2, 3]], 2) == 1.0  # (2, 2) is no run: no row holds it
    assert distinct_ngrams([[1], [1, 2, 3]], 3) == 1.0
    assert distinct_ngrams(torch.tensor([[1, 1], [1, 1]]), 1) == 0.25
    assert distinct_ngrams([["a", "b"], ["a", "c"]], 1) == 0.75


# ---------------------------------------------------------------------------- generation


def test_temperature_zero_is_greedy():
    model = Toy().eval()
    ids = generate(model, prompt(3), 5, temperature=0)
    expected = [3]
    for _ in range(5):
        expected.append(model.table[expected[-1]].argmax().item())
    assert ids.tolist() == expected


def test_the_same_generator_state_gives_the_same_text():
    model = Toy()
    first = generate(model, prompt(1, 2), 20, generator=seeded(4))
    assert torch.equal(first, generate(model, prompt(1, 2), 20, generator=seeded(4)))
    assert not torch.equal(first, generate(model, prompt(1, 2), 20, generator=seeded(5)))
    before = torch.get_rng_state()
    generate(model, prompt(1), 3, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_stream_yields_what_generate_adds():
    model = Toy()
    settings = {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "stop_id": 2}
    for seed in range(5):
        whole = generate(model, prompt(1, 2, 4), 15, generator=seeded(seed), **settings)
        pieces = stream(model, prompt(1, 2, 4), 15, generator=seeded(seed), **settings)
        assert list(pieces) == whole[3:].tolist()
    assert list(stream(model, prompt(1).unsqueeze(0), 0)) == []


def test_tokens_come_as_often_as_their_probability_says():
    model = Toy(vocab_size=4)
    rows = torch.full((4000, 1), 2)
    drawn = generate(model, rows, 1, temperature=2.0, top_k=3, generator=seeded())[:, 1]
    share = torch.bincount(drawn, minlength=4) / 4000
    expected = top_k_filter(model.table[2] / 2.0, 3).softmax(-1)
    assert torch.allclose(share, expected, atol=0.03)
    assert (share == 0).sum() == 1


def test_context_is_cropped_and_no_gradient_is_kept():
    model = Toy(context_length=4)
    generate(model, torch.tensor([[1, 2, 3]]), 4)
    assert [length for length, _, _ in model.seen] == [3, 4, 4, 4]
    assert not any(grad for _, _, grad in model.seen)


def test_mode_is_restored_even_between_streamed_tokens():
    model = Toy().train()
    pieces = stream(model, prompt(1), 5)
    next(pieces)
    assert model.training
    assert model.drop.training
    assert not any(training for _, training, _ in model.seen)
    model.eval()
    generate(model, prompt(1), 2)
    assert not model.training


def test_finished_rows_are_filled_and_all_finished_ends():
    model = Toy(vocab_size=3)
    with torch.no_grad():  # 0 is followed by 1, 1 by 2, 2 by 0
        model.table.copy_(torch.tensor([[0, 9, 0], [0, 0, 9], [9, 0, 0]]))
    ids = generate(model, torch.tensor([[0], [1]]), 10, temperature=0, stop_id=2)
    assert ids.tolist() == [[0, 1, 2], [1, 2, 2]]
    assert generate(model, torch.tensor([0, 2]), 10, temperature=0, stop_id=2).tolist() == [
        0, 2, 0, 1, 2,
    ]  # fmt: skip  # a stop id in the prompt does not count


def test_several_stop_ids_each_end_a_row():
    model = Toy(vocab_size=4)
    with torch.no_grad():  # 0 is followed by 1, 1 by 2, 2 by 0, 3 by itself
        model.table.copy_(torch.eye(4)[[1, 2, 0, 3]] * 9)
    ids = torch.tensor([[0], [1], [2]])
    out = generate(model, ids, 6, temperature=0, stop_id=(2, 1))
    assert out.tolist() == [[0, 1, 1], [1, 2, 2], [2, 0, 1]]
    assert list(stream(model, prompt(0, 2), 6, temperature=0, stop_id=[1, 3])) == [0, 1]
    assert generate(model, ids, 2, temperature=0, stop_id=[]).shape == (3, 3)


def test_the_steps_come_in_the_order_that_is_promised():
    model, ids = Toy(), torch.full((3000, 2), 3)
    settings = {"temperature": 0.7, "top_k": 6, "top_p": 0.9, "min_p": 0.1}
    drawn = generate(model, ids, 1, repetition_penalty=1.8, generator=seeded(), **settings)[:, -1]
    logits = apply_repetition_penalty(model.table[3], prompt(3, 3), 1.8) / 0.7
    expected = min_p_filter(top_p_filter(top_k_filter(logits, 6), 0.9), 0.1).softmax(-1)
    share = torch.bincount(drawn, minlength=9) / 3000
    assert 2 <= (expected > 0).sum() < 6
    assert torch.allclose(share, expected, atol=0.03)
    assert torch.equal(share > 0, expected > 0)


def test_a_penalty_breaks_a_greedy_loop():
    model = Toy(vocab_size=4)
    with torch.no_grad():
        model.table.copy_(torch.tensor([[0.0, 3.0, 2.0, 1.0]]).expand(4, 4))
    assert generate(model, prompt(0), 4, temperature=0).tolist() == [0, 1, 1, 1, 1]
    out = generate(model, prompt(0), 4, temperature=0, repetition_penalty=4.0)
    assert out.tolist() == [0, 1, 2, 3, 1]


def test_shape_dtype_and_prompt_are_kept():
    model = Toy()
    ids = torch.tensor([[1, 2], [3, 4]], dtype=torch.int32)
    out = generate(model, ids, 3)
    assert out.shape == (2, 5)
    assert out.dtype == torch.int32
    assert torch.equal(out[:, :2], ids)
    assert generate(model, prompt(1, 2), 3).shape == (5,)
    assert torch.equal(generate(model, ids, 0), ids)


def test_a_model_that_returns_logits_alone_and_has_no_config():
    model = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 5))
    assert generate(model, prompt(1, 2), 4).shape == (6,)


# ------------------------------------------------------------- prompts of different length


PROMPTS = [[5, 3, 8, 1], [2], [7, 7, 4], [1, 9, 6, 2, 3, 8, 4]]


def small_gpt(positions="rotary", context_length=12, **variants):
    """A random model whose attention is far from even, so that what it looks at matters."""
    sizes = {"vocab_size": 11, "d_model": 16, "n_layers": 2, "n_heads": 4}
    config = GPTConfig(positions=positions, context_length=context_length, **sizes, **variants)
    return enlarged(GPT(config, torch.Generator().manual_seed(3)), 12)


VARIANTS = [{"positions": positions} for positions in POSITIONS]
VARIANTS += [{"n_kv_heads": 2, "qk_norm": True}, {"norm_placement": "post", "tie_weights": False}]


def test_pad_left_by_hand():
    ids, mask = pad_left([[4, 5, 6], [7]], pad_id=9)
    assert ids.tolist() == [[4, 5, 6], [9, 9, 7]]
    assert mask.tolist() == [[True, True, True], [False, False, True]]
    again, _ = pad_left([torch.tensor([4, 5, 6], dtype=torch.int32), [7]], pad_id=9)
    assert again.tolist() == ids.tolist()
    assert again.dtype == torch.int32


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_padded_logits_are_those_of_each_prompt_alone(variant):
    model = small_gpt(**variant)
    ids, mask = pad_left(PROMPTS, pad_id=10)
    logits, _ = model(ids, mask=mask)
    assert logits.isfinite().all()
    for row, one in zip(logits, PROMPTS, strict=True):
        alone = model(torch.tensor([one]))[0][0]
        assert torch.allclose(row[-len(one) :], alone, atol=1e-5)
    other, _ = model(ids.where(mask, 3), mask=mask)
    assert torch.equal(logits[mask], other[mask]), "padding is looked at"


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_by_hand_path_masks_as_the_fused_one(variant):
    model = small_gpt(**variant)
    ids, mask = pad_left(PROMPTS)
    fused, _ = model(ids, mask=mask)
    by_hand, _, weights = model(ids, mask=mask, return_weights=True)
    assert torch.allclose(fused[mask], by_hand[mask], atol=1e-5)
    for layer in weights:  # (B, H, T, S)
        assert layer.transpose(1, 3)[~mask].abs().max() == 0
        assert torch.allclose(layer.sum(-1).transpose(1, 2)[mask], torch.ones(()), atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_padded_batch_goes_on_as_each_prompt_does_even_past_the_window(variant):
    model = small_gpt(**variant)
    ids, mask = pad_left(PROMPTS)
    settings = {"temperature": 0, "repetition_penalty": 1.3, "stop_id": 0}
    together = generate(model, ids, 20, mask=mask, **settings)
    ends = set()
    for row, real, one in zip(together, mask, PROMPTS, strict=True):
        alone = generate(model, torch.tensor(one), 20, **settings).tolist()
        row = row[real.logical_not().sum() :].tolist()
        assert row[: len(alone)] == alone
        assert set(row[len(alone) :]) <= {0}
        ends.add(len(alone))
    assert max(ends) > model.config.context_length or ends == {max(ends)}


def test_without_the_mask_padding_changes_what_comes():
    model = small_gpt()
    ids, mask = pad_left(PROMPTS)
    wrong, right = next_logits(model, ids), next_logits(model, ids, mask)
    assert torch.allclose(wrong[3], right[3], atol=1e-5)  # the longest has no padding
    assert not torch.allclose(wrong[:3], right[:3], atol=0.1)


class Cache:
    """Keeps the keys and values of one layer, as `LayerCache` asks."""

    def __init__(self):
        self.k = self.v = None

    @property
    def length(self):
        return 0 if self.k is None else self.k.shape[-2]

    def update(self, k, v):
        self.k = k if self.k is None else torch.cat([self.k, k], dim=-2)
        self.v = v if self.v is None else torch.cat([self.v, v], dim=-2)
        return self.k, self.v


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_mask_works_with_a_cache(variant):
    model = small_gpt(**variant)
    ids, mask = pad_left(PROMPTS)
    cache = [Cache() for _ in range(model.config.n_layers)]
    model(ids[:, :4], mask=mask[:, :4], cache=cache)
    rest, _ = model(ids[:, 4:6], mask=mask[:, :6], cache=cache)
    last, _ = model(ids[:, 6:], mask=mask, cache=cache)
    whole, _ = model(ids, mask=mask)
    pieces = torch.cat([rest, last], dim=1)
    assert torch.allclose(pieces[mask[:, 4:]], whole[:, 4:][mask[:, 4:]], atol=1e-5)


def test_the_window_slides_and_counts_from_zero():
    model = small_gpt(context_length=5)
    row = torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8]])
    assert torch.equal(next_logits(model, row), model(row[:, -5:])[0][:, -1])
    out = generate(model, row, 6, temperature=0)[0].tolist()
    for i in range(8, 14):
        assert out[i] == model(torch.tensor([out[i - 5 : i]]))[0][0, -1].argmax()


# ----------------------------------------------------------------------------- beam search


class Memory(nn.Module):
    """Scores the next id by all ids so far, each text in its own way; 0 may end a text."""

    def __init__(self, vocab_size=4, seed=0):
        super().__init__()
        self.config = SimpleNamespace(vocab_size=vocab_size, context_length=99)
        self.seed = seed

    def forward(self, ids):
        last = [
            torch.randn(
                self.config.vocab_size,
                generator=seeded(hash((self.seed, *row)) % 2**31),
            )
            for row in ids.tolist()
        ]
        return 2 * torch.stack(last).unsqueeze(1)  # (B, 1, V)


def every_text(model, ids, length, stop_id):
    """All continuations of at most `length` tokens, with their log_prob, without any search."""
    V, found = model.config.vocab_size, {}
    for tokens in itertools.product(range(V), repeat=length):
        if stop_id in tokens:
            tokens = tokens[: tokens.index(stop_id) + 1]
        log_prob = 0.0
        for i, token in enumerate(tokens):
            row = torch.tensor([[*ids, *tokens[:i]]])
            log_prob += model(row)[0, -1].double().log_softmax(-1)[token].item()
        found[tokens] = log_prob
    return found


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("stop_id", [0, None])
@pytest.mark.parametrize("seed", range(3))
def test_a_wide_beam_finds_what_trying_every_text_finds(seed, stop_id, length_penalty):
    model = Memory(vocab_size=3, seed=seed)
    found = every_text(model, [1], 4, stop_id)
    best = sorted(found, key=lambda t: -found[t] / len(t) ** length_penalty)
    beams = beam_search(
        model, prompt(1), 4, n_beams=81, length_penalty=length_penalty, stop_id=stop_id
    )
    assert [beam.ids for beam in beams] == best
    for beam in beams:
        assert beam.log_prob == pytest.approx(found[beam.ids], abs=1e-5)
        assert beam.finished == (stop_id is not None and beam.ids[-1] == stop_id)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 6))
def test_properties_of_every_search(seed, n_beams, length):
    model = Memory(seed=seed)
    steps = list(beam_steps(model, prompt(2, 1), length, n_beams=n_beams, stop_id=0))
    for number, step in enumerate(steps, start=1):
        assert len(step.live) <= n_beams
        assert len(step.pruned) <= n_beams
        for beams in (step.live, step.finished, step.pruned):
            values = [beam.log_prob for beam in beams]
            assert values == sorted(values, reverse=True)
            assert all(len(beam.ids) == number for beam in beams)
            assert all(beam.finished == (beam.ids[-1] == 0) for beam in beams)
        if step.pruned and step.live:
            going = [beam.log_prob for beam in step.pruned if not beam.finished]
            assert all(value <= step.live[-1].log_prob for value in going)
    best = beam_search(model, prompt(2, 1), length, n_beams=n_beams, stop_id=0)
    texts = [beam.ids for beam in best]
    scores_found = [beam.score(1.0) for beam in best]
    assert len(set(texts)) == len(texts) <= n_beams
    assert scores_found == sorted(scores_found, reverse=True)
    assert all(beam.log_prob <= 0 for beam in best)
    every = [beam for step in steps for beam in step.finished] + list(steps[-1].live)
    assert best[0].score(1.0) == max(beam.score(1.0) for beam in every)


def test_greedy_takes_the_first_step_and_beam_search_the_best_text():
    model = Toy(vocab_size=3)
    table = [[0.0, 0.6, 0.4], [0.34, 0.33, 0.33], [0.9, 0.05, 0.05]]
    with torch.no_grad():
        model.table.copy_(torch.tensor(table).log())
    (narrow,) = beam_search(model, prompt(0), 2, n_beams=1)
    wide = beam_search(model, prompt(0), 2, n_beams=2)[0]
    assert narrow.ids == (1, 0)
    assert math.exp(narrow.log_prob) == pytest.approx(0.6 * 0.34)
    assert wide.ids == (2, 0)
    assert math.exp(wide.log_prob) == pytest.approx(0.4 * 0.9)


def test_finished_beams_are_kept_and_the_length_decides_by_the_penalty():
    model = Toy(vocab_size=3)  # 0 ends; from 1: 40% end, 60% go on; from 2: on with 90%
    with torch.no_grad():
        model.table.copy_(torch.tensor([[1, 0, 0], [0.4, 0, 0.6], [0.1, 0, 0.9]]).log())
    short = Beam((0,), math.log(0.4), finished=True)
    by_probability = beam_search(model, prompt(1), 6, n_beams=2, length_penalty=0.0, stop_id=0)
    by_mean = beam_search(model, prompt(1), 6, n_beams=2, length_penalty=1.0, stop_id=0)
    assert by_probability[0].ids == short.ids
    assert by_probability[0].log_prob == pytest.approx(short.log_prob)
    assert by_mean[0].ids == (2,) * 6
    assert not by_mean[0].finished
    assert Beam((), 0.0).score(1.0) == 0.0


def test_among_equals_the_better_beam_and_the_lower_id_come_first():
    model = Toy(vocab_size=4)
    with torch.no_grad():
        model.table.zero_()
    (step,) = beam_steps(model, prompt(1), 1, n_beams=2)
    assert [beam.ids for beam in step.live] == [(0,), (1,)]
    assert [beam.ids for beam in step.pruned] == [(2,), (3,)]


def test_impossible_tokens_are_no_candidates_and_nothing_left_ends_the_search():
    model = Toy(vocab_size=3)
    with torch.no_grad():
        model.table.fill_(-INF)
        model.table[:, 0] = 0.0
    (step,) = beam_steps(model, prompt(1), 5, n_beams=4, stop_id=0)
    assert (step.live, step.pruned) == ((), ())
    assert beam_search(model, prompt(1), 5, n_beams=4, stop_id=0) == [Beam((0,), 0.0, True)]
    assert beam_search(model, prompt(1), 0) == []


@pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_beam_search_equals_transformers(seed, length_penalty):
    config = transformers.GPT2Config(
        vocab_size=6, n_positions=32, n_embd=16, n_layer=1, n_head=2,
        bos_token_id=0, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(seed)
    theirs = enlarged(transformers.GPT2LMHeadModel(config), 12)

    class Wrapped(nn.Module):
        def forward(self, ids):
            return theirs(ids).logits

    ids = torch.tensor([[2, 3, 4]])
    for n_beams in (2, 3, 5):
        sequences = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), num_beams=n_beams, do_sample=False,
            num_return_sequences=n_beams, max_new_tokens=7, length_penalty=length_penalty,
            early_stopping="never",
        )  # fmt: skip
        ours = beam_search(
            Wrapped(), ids, 7, n_beams=n_beams, length_penalty=length_penalty, stop_id=1
        )
        found = [tuple(row[: row.index(1) + 1] if 1 in row else row) for row in tails(sequences)]
        assert [beam.ids for beam in ours] == found


def tails(sequences):
    return sequences[:, 3:].tolist()


def test_the_search_leaves_the_model_in_its_mode():
    model = Toy().train()
    beam_search(model, prompt(1), 3, n_beams=2)
    assert model.training
    assert not any(training or grad for _, training, grad in model.seen)


# --------------------------------------------------------------------------------- pieces


def test_pieces_make_up_the_text_and_no_character_comes_in_halves():
    tokenizer = BPETokenizer.train("é" * 3 + "ab" * 9, 258)
    ids = tokenizer.encode("aé€b ü")
    pieces = list(text_pieces(tokenizer, ids[:1], iter(ids[1:])))
    assert "".join(pieces) == "é€b ü"
    assert "\ufffd" not in "".join(pieces)
    cut = list(text_pieces(tokenizer, ids[:1], ids[1:4]))  # ends within the €
    assert "".join(cut) == tokenizer.decode(ids[:4])[1:]


def test_pieces_of_words_bring_their_spaces():
    tokenizer = WordTokenizer.train("Tom has a cup.")
    ids = tokenizer.encode("Tom has a cup.")
    assert list(text_pieces(tokenizer, ids[:1], ids[1:])) == [" has", " a", " cup", "."]
    assert list(text_pieces(tokenizer, [], ids[:2])) == ["Tom", " has"]


# ------------------------------------------------------------------------------- bad input


def bools(*values):
    return torch.tensor(values).bool()


def broken(value):
    model = Toy()
    with torch.no_grad():
        model.table.fill_(value)
    return model


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: greedy([1.0, 2.0]), TypeError, "logits"),
        (lambda: greedy(torch.tensor([1, 2])), TypeError, "logits"),
        (lambda: greedy(torch.tensor([1.0, math.nan])), ValueError, "NaN"),
        (lambda: top_k_filter(torch.tensor([1.0, math.nan]), 1), ValueError, "NaN"),
        (lambda: top_p_filter(torch.tensor([1.0, math.nan]), 0.5), ValueError, "NaN"),
        (lambda: apply_temperature(torch.zeros(3), 1e-320), ValueError, "temperature"),
        (lambda: generate(Toy(), prompt(1), 3, temperature=1e-320), ValueError, "temperature"),
        (lambda: greedy(torch.tensor(1.0)), ValueError, "last axis"),
        (lambda: greedy(torch.zeros(3, 0)), ValueError, "last axis"),
        (lambda: apply_temperature(torch.zeros(3), 0), ValueError, "greedy"),
        (lambda: apply_temperature(torch.zeros(3), -1.0), ValueError, "temperature"),
        (lambda: apply_temperature(torch.zeros(3), math.nan), ValueError, "temperature"),
        (lambda: apply_temperature(torch.zeros(3), "hot"), TypeError, "temperature"),
        (lambda: apply_temperature(torch.zeros(3), None), TypeError, "temperature"),
        (lambda: top_k_filter(torch.zeros(3), 0), ValueError, "k must"),
        (lambda: top_k_filter(torch.zeros(3), 1.5), TypeError, "k must"),
        (lambda: top_p_filter(torch.zeros(3), 0.0), ValueError, "p must"),
        (lambda: top_p_filter(torch.zeros(3), 1.1), ValueError, "p must"),
        (lambda: top_p_filter(torch.zeros(3), "0.9"), TypeError, "p must"),
        (lambda: generate(len, prompt(1), 3), TypeError, "model"),
        (lambda: generate(Toy(), [1, 2], 3), TypeError, "ids"),
        (lambda: generate(Toy(), torch.tensor([1.0]), 3), TypeError, "ids"),
        (lambda: generate(Toy(), torch.tensor([], dtype=torch.long), 3), ValueError, "at least"),
        (lambda: generate(Toy(), torch.zeros(1, 1, 1, dtype=torch.long), 3), ValueError, "axes"),
        (lambda: generate(Toy(), prompt(9), 3), IndexError, "vocabulary"),
        (lambda: generate(Toy(), prompt(-1), 3), IndexError, "vocabulary"),
        (lambda: generate(Toy(), prompt(1), -1), ValueError, "max_new_tokens"),
        (lambda: generate(Toy(), prompt(1), 2.0), TypeError, "max_new_tokens"),
        (lambda: generate(Toy(), prompt(1), 3, temperature=-1), ValueError, "temperature"),
        (lambda: generate(Toy(), prompt(1), 3, top_k=0), ValueError, "top_k"),
        (lambda: generate(Toy(), prompt(1), 3, top_p=0.0), ValueError, "top_p"),
        (lambda: generate(Toy(), prompt(1), 3, stop_id=9), IndexError, "stop_id"),
        (lambda: generate(Toy(), prompt(1), 3, stop_id="end"), TypeError, "stop_id"),
        (lambda: generate(Toy(), prompt(1), 3, generator=42), TypeError, "generator"),
        (lambda: generate(broken(math.nan), prompt(1), 3), ValueError, "NaN"),
        (lambda: stream(Toy(), torch.tensor([[1], [2]]), 3), ValueError, "one row"),
        (lambda: stream(Toy(), prompt(1), 3, top_k=0), ValueError, "top_k"),  # before any token
        (lambda: generate(Toy(), prompt(1), 3, min_p=1.5), ValueError, "min_p"),
        (lambda: generate(Toy(), prompt(1), 3, repetition_penalty=0), ValueError, "repetition_"),
        (lambda: generate(Toy(), prompt(1), 3, repetition_penalty="a"), TypeError, "repetition_"),
        (lambda: generate(Toy(), prompt(1), 3, stop_id=[1, 9]), IndexError, "stop_id 9"),
        (lambda: generate(Toy(), prompt(1), 3, stop_id=[1, "a"]), TypeError, "stop_id"),
        (lambda: generate(Toy(), prompt(1, 2), 3, mask=[1, 1]), TypeError, "mask"),
        (lambda: generate(Toy(), prompt(1, 2), 3, mask=prompt(1, 1)), TypeError, "mask"),
        (lambda: generate(Toy(), prompt(1, 2), 3, mask=bools(1)), ValueError, "mask"),
        (lambda: generate(Toy(), prompt(1, 2), 3, mask=bools(1, 0)), ValueError, "left"),
        (lambda: generate(Toy(), prompt(1, 2, 3), 3, mask=bools(1, 0, 1)), ValueError, "left"),
        (lambda: min_p_filter(torch.zeros(3), -0.1), ValueError, "min_p"),
        (lambda: apply_repetition_penalty(torch.zeros(3), prompt(3), 2.0), IndexError, "ids"),
        (lambda: apply_repetition_penalty(torch.zeros(3), [1], 2.0), TypeError, "ids"),
        (lambda: apply_repetition_penalty(torch.zeros(2, 3), prompt(1), 2.0), ValueError, "axes"),
        (lambda: apply_repetition_penalty(torch.zeros(3), prompt(1), 0.0), ValueError, "penalty"),
        (lambda: entropy(torch.full((2, 3), -INF)), ValueError, "no token is left"),
        (lambda: entropy(torch.tensor([1, 2])), TypeError, "logits"),
        (lambda: distinct_ngrams([[1, 2]], 3), ValueError, "no run of 3"),
        (lambda: distinct_ngrams([[1, 2]], 0), ValueError, "n must"),
        (lambda: distinct_ngrams([1, 2], 1), TypeError, "rows must"),
        (lambda: distinct_ngrams("text", 1), TypeError, "rows must"),
        (lambda: pad_left([]), ValueError, "prompts is empty"),
        (lambda: pad_left("text"), TypeError, "prompts must"),
        (lambda: pad_left([[1], []]), ValueError, r"prompts\[1\]"),
        (lambda: pad_left([[1], "text"]), TypeError, r"prompts\[1\]"),
        (lambda: pad_left([[1], [0.5]]), TypeError, r"prompts\[1\]"),
        (lambda: pad_left([1, 2]), ValueError, r"prompts\[0\]"),
        (lambda: pad_left([[1]], pad_id=-1), ValueError, "pad_id"),
        (lambda: beam_search(Toy(), prompt(1), 3, n_beams=0), ValueError, "n_beams"),
        (lambda: beam_search(Toy(), prompt(1), -1), ValueError, "max_new_tokens"),
        (lambda: beam_search(Toy(), prompt(1), 3, length_penalty=-1), ValueError, "length_p"),
        (lambda: beam_search(Toy(), torch.tensor([[1], [2]]), 3), ValueError, "row by row"),
        (lambda: beam_search(Toy(), prompt(9), 3), IndexError, "vocabulary"),
        (lambda: beam_search(broken(math.nan), prompt(1), 3), ValueError, "NaN"),
        (lambda: beam_steps(Toy(), prompt(1), 3, stop_id=9), IndexError, "stop_id"),
        (lambda: small_gpt()(torch.ones(1, 2).long(), mask=bools(1, 1)), ValueError, "mask"),
        (lambda: small_gpt()(torch.ones(1, 2).long(), mask=[True]), TypeError, "mask"),
        (lambda: small_gpt()(torch.ones(1, 1).long(), mask=torch.ones(1, 1)), TypeError, "mask"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
