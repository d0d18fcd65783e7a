"""Filters by hand-made numbers and properties; generation equal to the definition."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from llm_core.sampling import (
    apply_temperature,
    generate,
    greedy,
    stream,
    top_k_filter,
    top_p_filter,
)

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
def test_filters_equal_transformers_but_for_ties(values, k, p, temperature):
    logits = torch.tensor([values])
    ours = apply_temperature(logits, temperature)
    assert torch.allclose(ours, TemperatureLogitsWarper(temperature)(None, logits))
    assert torch.equal(top_k_filter(logits, k), TopKLogitsWarper(k)(None, logits))
    sums = logits.softmax(-1).sort(descending=True).values.cumsum(-1)
    close = bool(((sums - p).abs() < 1e-4).any())
    if len(set(values)) == len(values) and p < 1 and not close:
        assert torch.equal(top_p_filter(logits, p), TopPLogitsWarper(p)(None, logits))


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
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()
