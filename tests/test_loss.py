"""Cross-entropy by hand equals torch's in value and gradient, and stays finite."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_core.loss import bits_per_byte, cross_entropy, log_sum_exp, perplexity


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def ids(vocab_size, *shape, seed=0):
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(), (5,), (2, 5), (2, 3, 4)])
@pytest.mark.parametrize("scale", [1.0, 50.0])
def test_value_and_gradient_equal_torch(shape, scale):
    ours = (scale * normal(*shape, 7)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = ids(7, *shape)
    loss = cross_entropy(ours, targets)
    expected = F.cross_entropy(theirs.reshape(-1, 7), targets.reshape(-1))
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_ignored_targets_count_neither_above_nor_below_the_line():
    ours = normal(2, 5, 7).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = ids(7, 2, 5)
    targets[0, 1:4] = -100
    loss = cross_entropy(ours, targets)
    expected = F.cross_entropy(theirs.flatten(0, 1), targets.flatten())
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(ours.grad[0, 1:4], torch.zeros(3, 7))
    another = targets.masked_fill(targets == -100, 3)
    same = F.cross_entropy(theirs.flatten(0, 1), another.flatten(), ignore_index=3)
    torch.testing.assert_close(cross_entropy(ours, another, ignore_index=3), same)


def test_stable_at_logits_of_a_thousand():
    logits = torch.tensor([[1000.0, 0.0, -1000.0], [-1000.0, -1000.0, -1001.0]])
    logits.requires_grad_()
    loss = cross_entropy(logits, torch.tensor([1, 0]))
    loss.backward()
    assert loss.item() == pytest.approx((1000 + math.log(2 + math.exp(-1))) / 2, rel=1e-6)
    assert logits.grad.isfinite().all()


def test_a_model_that_knows_nothing_loses_ln_v():
    assert cross_entropy(torch.zeros(4, 50), ids(50, 4)).item() == pytest.approx(math.log(50))


def test_impossible_tokens():
    """A logit of -inf takes no probability; a target there is infinitely surprising."""
    logits = torch.tensor([[0.0, -math.inf, 0.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([0]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad.isfinite().all()
    assert cross_entropy(logits, torch.tensor([1])).item() == math.inf


def test_an_ignored_infinity_does_not_spoil_the_mean():
    logits = torch.tensor([[0.0, -math.inf], [1.0, 1.0]], requires_grad=True)
    loss = cross_entropy(logits, torch.tensor([-100, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert logits.grad.isfinite().all()


def test_gradcheck():
    logits = normal(3, 4, 6, dtype=torch.float64).requires_grad_()
    targets = ids(6, 3, 4)
    targets[1, 2] = -100
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, targets), logits)


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=8),
    st.floats(-1e4, 1e4, width=32),
)
@settings(max_examples=50, deadline=None)
def test_log_sum_exp_moves_with_its_input(numbers, shift):
    x = torch.tensor(numbers, dtype=torch.float64)
    torch.testing.assert_close(log_sum_exp(x + shift), log_sum_exp(x) + shift)
    torch.testing.assert_close(log_sum_exp(x), torch.logsumexp(x, dim=-1))


def test_log_sum_exp_of_nothing_but_minus_infinity():
    assert log_sum_exp(torch.full((2, 3), -math.inf)).tolist() == [-math.inf, -math.inf]


def test_perplexity():
    assert perplexity(math.log(50)) == pytest.approx(50)
    assert perplexity(torch.tensor(0.0)) == 1.0
    assert perplexity(1e6) == math.inf
    assert math.isnan(perplexity(math.nan))


def test_bits_per_byte():
    assert bits_per_byte(math.log(2), n_tokens=10, n_bytes=10) == pytest.approx(1.0)
    assert bits_per_byte(torch.tensor(math.log(256)), 5, 20) == pytest.approx(2.0)


def test_bits_per_byte_do_not_depend_on_the_tokenizer():
    """A uniform model over 4-byte tokens says the same as one over single bytes."""
    by_byte = bits_per_byte(math.log(2), n_tokens=40, n_bytes=40)
    by_word = bits_per_byte(math.log(16), n_tokens=10, n_bytes=40)
    assert by_byte == pytest.approx(by_word)


X = torch.zeros(2, 3, 5)
Y = torch.zeros(2, 3, dtype=torch.long)
WRONG = [
    (lambda: cross_entropy(X, Y[:, :2]), ValueError, "targets must have the shape of logits"),
    (lambda: cross_entropy(X, Y.unsqueeze(-1)), ValueError, "targets must have the shape"),
    (lambda: cross_entropy(torch.tensor(1.0), Y), ValueError, "targets must have the shape"),
    (lambda: cross_entropy(X.long(), Y), TypeError, "logits must hold floating-point"),
    (lambda: cross_entropy(X, Y.float()), TypeError, "targets must hold integer"),
    (lambda: cross_entropy(X, Y.bool()), TypeError, "targets must hold integer"),
    (lambda: cross_entropy(X.tolist(), Y), TypeError, "logits must be a torch.Tensor"),
    (lambda: cross_entropy(X, None), TypeError, "targets must be a torch.Tensor"),
    (lambda: cross_entropy(X, Y + 5), IndexError, "targets holds the id 5"),
    (lambda: cross_entropy(X, Y - 1), IndexError, "targets holds the id -1"),
    (lambda: cross_entropy(X, Y - 100), ValueError, "targets holds only -100"),
    (lambda: cross_entropy(X[:0], Y[:0]), ValueError, "targets is empty"),
    (lambda: cross_entropy(X[..., :0], Y), ValueError, "logits must have entries in its last axis"),
    (lambda: log_sum_exp(torch.zeros(2, 0)), ValueError, "x must have entries in its last axis"),
    (lambda: perplexity("low"), TypeError, "loss must be one number"),
    (lambda: perplexity(torch.ones(2)), TypeError, "loss must be one number"),
    (lambda: perplexity(-0.1), ValueError, "loss must not be below 0"),
    (lambda: bits_per_byte(1.0, 0, 5), ValueError, "n_tokens must be at least 1"),
    (lambda: bits_per_byte(1.0, 5, 1.5), TypeError, "n_bytes must be a whole number"),
    (lambda: bits_per_byte(None, 5, 5), TypeError, "loss_per_token must be one number"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_log_sum_exp_of_many_half_precision_numbers():
    value = log_sum_exp(torch.zeros(70_000, dtype=torch.float16))  # 70,000 is above its range
    assert value.dtype == torch.float16
    assert value.item() == pytest.approx(math.log(70_000), abs=0.01)


def test_the_gradient_is_softmax_minus_one_hot_over_the_targets_that_count():
    logits = (3 * normal(2, 4, 7)).requires_grad_()
    targets = ids(7, 2, 4)
    targets[1, 2:] = -100
    cross_entropy(logits, targets).backward()
    counts = targets != -100
    one_hot = F.one_hot(targets.where(counts, 0), 7)
    expected = (logits.detach().softmax(-1) - one_hot) * counts[..., None] / counts.sum()
    torch.testing.assert_close(logits.grad, expected)
    torch.testing.assert_close(logits.grad.sum(-1), torch.zeros(2, 4))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 5.0))
def test_no_model_gets_below_the_entropy_of_what_it_predicts(seed, scale):
    """Over all tokens in their true proportions, the loss is lowest for the true logits."""
    truth = (scale * normal(1, 6, seed=seed, dtype=torch.float64)).softmax(-1)
    said = normal(1, 6, seed=seed + 1, dtype=torch.float64)
    every_token = torch.arange(6)

    def expected_loss(logits):
        each = [cross_entropy(logits, token[None]) for token in every_token]
        return (truth[0] * torch.stack(each)).sum()

    entropy = -(truth * truth.log()).sum()
    torch.testing.assert_close(expected_loss(truth.log()), entropy)
    assert expected_loss(said) >= entropy - 1e-12


def test_bits_per_byte_do_not_depend_on_the_cut():
    few, many = bits_per_byte(6.0, 2, 14), bits_per_byte(1.5, 8, 14)
    assert few == pytest.approx(many)
    assert bits_per_byte(math.log(2), 3, 3) == pytest.approx(1.0)
