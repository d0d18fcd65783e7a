"""Attention: each piece equals torch's in value and gradient, and the fused path the readable."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_core.attention import (
    MultiHeadAttention,
    attention_weights,
    causal_mask,
    scaled_dot_product_attention,
    softmax,
)
from llm_core.block import rms_norm
from llm_core.config import GPTConfig
from llm_core.positions import alibi_bias, apply_rotary, rotary_angles

INF = math.inf


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make(seed=0, **fields):
    """Return an attention layer, C = 24 and H = 6, in which no parameter has a special value."""
    fields = {"vocab_size": 10, "context_length": 16, "d_model": 24, "n_heads": 6, **fields}
    attention = MultiHeadAttention(GPTConfig(**fields)).eval()
    for i, parameter in enumerate(attention.parameters()):
        parameter.data = 0.4 + 0.3 * normal(*parameter.shape, seed=seed + i)
        if parameter.dim() == 2:
            parameter.data -= 0.4
    return attention


class ListCache:
    """The smallest cache: the keys and values of one layer, grown by concatenation."""

    length = 0

    def update(self, k, v):
        self.k, self.v = (
            (k, v)
            if not self.length
            else (
                torch.cat((self.k, k), dim=2),
                torch.cat((self.v, v), dim=2),
            )
        )
        self.length = self.k.shape[2]
        return self.k, self.v


# ------------------------------------------------------------------------------ softmax


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_softmax_equals_torch_in_value_and_gradient(dim, scale):
    ours = (scale * normal(3, 4, 5)).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    weighting = normal(3, 4, 5, seed=1)
    (softmax(ours, dim) * weighting).sum().backward()
    (torch.softmax(theirs, dim) * weighting).sum().backward()
    torch.testing.assert_close(softmax(ours, dim), torch.softmax(theirs, dim))
    torch.testing.assert_close(ours.grad, theirs.grad)


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=9), st.floats(-1e4, 1e4))
@settings(max_examples=50, deadline=None)
def test_softmax_shares_add_up_and_a_shift_cancels(numbers, shift):
    x = torch.tensor(numbers, dtype=torch.float64)
    shares = softmax(x, 0)
    assert shares.sum().item() == pytest.approx(1)
    assert (shares >= 0).all()
    torch.testing.assert_close(softmax(x + shift, 0), shares, rtol=1e-6, atol=1e-9)


def test_softmax_with_minus_infinity():
    x = torch.tensor([[0.0, -INF, math.log(3)], [-INF, -INF, -INF]], requires_grad=True)
    shares = softmax(x, -1)
    (shares * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    torch.testing.assert_close(shares, torch.tensor([[0.25, 0.0, 0.75], [0.0, 0.0, 0.0]]))
    assert x.grad.isfinite().all()
    torch.testing.assert_close(x.grad[1], torch.zeros(3))


def test_softmax_where_one_entry_takes_all():
    x = torch.tensor([1000.0, 0.0, -1000.0], requires_grad=True)
    shares = softmax(x, 0)
    shares[0].backward()
    assert shares.tolist() == [1.0, 0.0, 0.0]
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_softmax_keeps_the_dtype(dtype):
    shares = softmax(torch.tensor([1.0, 2.0, -INF], dtype=dtype), 0)
    assert shares.dtype == dtype
    assert shares.isfinite().all()


# ------------------------------------------------------------------------------ the formula


def test_causal_mask():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True] * 3]
    assert causal_mask(1).tolist() == [[True]]
    assert causal_mask(4).dtype == torch.bool


MASKS = {
    "none": None,
    "causal": torch.ones(5, 7, dtype=torch.bool).tril(2),
    "one row for all": torch.tensor([True, True, False, True, False, True, True]),
    "per sequence": (normal(2, 1, 5, 7, seed=9) > -0.5).index_fill(3, torch.tensor([0]), True),
}


@pytest.mark.parametrize("name", MASKS)
def test_value_and_gradient_equal_torch(name):
    """T, S, D, Dv, B and H all differ."""
    mask = MASKS[name]
    ours = [normal(2, 3, n, w, seed=i) for i, (n, w) in enumerate([(5, 4), (7, 4), (7, 6)])]
    theirs = [tensor.clone().requires_grad_() for tensor in ours]
    ours = [tensor.requires_grad_() for tensor in ours]
    output, weights = scaled_dot_product_attention(*ours, mask=mask)
    full_mask = None if mask is None else mask.expand(2, 3, 5, 7)
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=full_mask)
    weighting = normal(2, 3, 5, 6, seed=8)
    (output * weighting).sum().backward()
    (expected * weighting).sum().backward()
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 5))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-5)


def test_gradcheck():
    tensors = [normal(2, 4, 3, seed=i, dtype=torch.float64).requires_grad_() for i in range(3)]
    assert torch.autograd.gradcheck(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, causal_mask(4)), tensors
    )


def test_a_worked_example():
    """Scores 0 and ln 3, scaled by √4: weights 1/4 and 3/4."""
    q = torch.tensor([[1.0, 0, 0, 0]])
    k = torch.tensor([[0.0, 0, 0, 0], [2 * math.log(3), 0, 0, 0]])
    v = torch.tensor([[8.0], [4.0]])
    output, weights = scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(output, torch.tensor([[5.0]]))


def test_a_query_that_may_look_at_nothing_gets_nothing():
    q, k, v = (normal(3, 4, seed=i).requires_grad_() for i in range(3))
    mask = torch.tensor([[True] * 3, [False] * 3, [True, False, True]])
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    output.sum().backward()
    assert torch.equal(output[1], torch.zeros(4))
    assert torch.equal(weights[1], torch.zeros(3))
    assert weights[2, 1] == 0
    assert all(tensor.grad.isfinite().all() for tensor in (q, k, v))
    torch.testing.assert_close(output, F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def test_permuting_tokens_permutes_the_output_without_mask_and_positions():
    x = normal(6, 4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    output, weights = scaled_dot_product_attention(x, x, x)
    permuted, permuted_weights = scaled_dot_product_attention(x[order], x[order], x[order])
    torch.testing.assert_close(permuted, output[order])
    torch.testing.assert_close(permuted_weights, weights[order][:, order])


def test_inputs_stay_as_they_are():
    tensors = [normal(2, 4, 3, seed=i) for i in range(3)]
    copies = [tensor.clone() for tensor in tensors]
    mask = causal_mask(4)
    scaled_dot_product_attention(*tensors, mask)
    assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))
    assert torch.equal(mask, causal_mask(4))


# ------------------------------------------------------------------------------ the layer

VARIANTS = [
    {"n_kv_heads": n_kv_heads, "qk_norm": qk_norm, "positions": positions, "bias": bias}
    for n_kv_heads, qk_norm, positions, bias in itertools.product(
        (6, 3, 1), (False, True), ("rotary", "alibi", "learned"), (False, True)
    )
]


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
def test_fused_path_equals_the_path_by_hand(fields):
    results = []
    for return_weights in (False, True):
        attention = make(**fields)
        x = normal(2, 9, 24, seed=5).requires_grad_()
        output = attention(x, return_weights=return_weights)
        output = output[0] if return_weights else output
        (output * normal(2, 9, 24, seed=6)).sum().backward()
        results.append([output, x.grad, *(p.grad for p in attention.parameters())])
    for fused, by_hand in zip(*results, strict=True):
        torch.testing.assert_close(fused, by_hand, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("fields", VARIANTS, ids=str)
@pytest.mark.parametrize("chunks", [(4, 1, 1, 3), (1,) * 9, (2, 7)], ids=str)
@torch.no_grad()
def test_with_a_cache_step_by_step_equals_all_at_once(fields, chunks):
    attention, x = make(**fields), normal(2, 9, 24)
    whole, weights = attention(x, return_weights=True)
    for return_weights in (False, True):
        cache, done = ListCache(), 0
        for n in chunks:
            part = attention(x[:, done : done + n], cache=cache, return_weights=return_weights)
            if return_weights:
                part, part_weights = part
                expected = weights[:, :, done : done + n, : done + n]
                torch.testing.assert_close(part_weights, expected)
            torch.testing.assert_close(part, whole[:, done : done + n], rtol=1e-4, atol=1e-5)
            done += n
        assert cache.length == 9
        assert cache.k.shape == (2, fields["n_kv_heads"], 9, 4)


def test_equals_torch_multihead_attention():
    ours = make(positions="none")
    theirs = torch.nn.MultiheadAttention(24, 6, batch_first=True)
    parts = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.data = torch.cat([part.weight for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias for part in parts])
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = ours.out.weight, ours.out.bias
    x = normal(2, 9, 24)
    output, weights = ours(x, return_weights=True)
    expected, expected_weights = theirs(
        x, x, x, attn_mask=~causal_mask(9), average_attn_weights=False
    )
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-5)


def test_weights_are_shares_of_the_past():
    _, weights = make(n_kv_heads=2, positions="rotary")(normal(2, 9, 24), return_weights=True)
    assert weights.shape == (2, 6, 9, 9)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6, 9))
    assert torch.equal(weights.triu(1), torch.zeros_like(weights))


def test_grouped_heads_equal_full_heads_with_repeated_keys_and_values():
    grouped, full = make(n_kv_heads=2), make(n_kv_heads=6)
    full.query, full.out = grouped.query, grouped.out
    for name in ("key", "value"):
        small, large = getattr(grouped, name), getattr(full, name)
        weight = small.weight.unflatten(0, (2, 4))  # (n_kv_heads, D, C)
        large.weight.data = weight.repeat_interleave(3, dim=0).flatten(0, 1)  # (C, C)
        large.bias.data = small.bias.unflatten(0, (2, 4)).repeat_interleave(3, dim=0).flatten()
    x = normal(2, 9, 24)
    torch.testing.assert_close(grouped(x), full(x))


def test_project_normalises_then_turns():
    attention = make(qk_norm=True, positions="rotary", n_kv_heads=3, rope_base=500.0)
    x = normal(2, 9, 24)
    q, k, v = attention.project(x)
    cos, sin = rotary_angles(9, 4, 500.0)
    for made, layer, gain, n_heads in (
        (q, attention.query, attention.query_gain, 6),
        (k, attention.key, attention.key_gain, 3),
    ):
        for head in range(n_heads):
            raw = layer(x)[:, :, head * 4 : (head + 1) * 4]  # (B, T, D)
            expected = apply_rotary(rms_norm(raw, gain, 1e-5), cos, sin)
            torch.testing.assert_close(made[:, head], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(v[:, 1], attention.value(x)[:, :, 4:8])


@torch.no_grad()
def test_alibi_adds_its_bias_to_the_scaled_scores():
    """By hand: softmax(q·kᵀ/√D + bias)·v for each head, without a mask: the bias is one."""
    attention, x = make(positions="alibi", n_kv_heads=3), normal(2, 9, 24)
    q, k, v = attention.project(x)
    bias, heads = alibi_bias(6, 9), []
    for head in range(6):
        scores = q[:, head] @ k[:, head // 2].mT / math.sqrt(4) + bias[head]  # (B, T, T)
        heads.append(scores.softmax(-1) @ v[:, head // 2])  # (B, T, D)
    torch.testing.assert_close(attention(x), attention.out(torch.cat(heads, dim=-1)))


@torch.no_grad()
def test_alibi_does_not_touch_queries_and_keys():
    x = normal(2, 9, 24)
    for ours, plain in zip(
        make(positions="alibi").project(x), make(positions="none").project(x), strict=True
    ):
        assert torch.equal(ours, plain)


@pytest.mark.parametrize("positions", ["rotary", "alibi"])
@torch.no_grad()
def test_rotary_and_alibi_count_only_by_distance(positions):
    attention, x = make(positions=positions), normal(2, 5, 24)
    here = attention(x)
    torch.testing.assert_close(attention(x, positions=torch.arange(5)), here)
    torch.testing.assert_close(attention(x, positions=torch.arange(9, 14)), here, atol=1e-5, rtol=0)
    spread = attention(x, positions=torch.arange(0, 10, 2))
    assert (spread - here).abs().max() > 1e-3


@pytest.mark.parametrize("positions", ["rotary", "alibi"])
@torch.no_grad()
def test_positions_for_each_sequence(positions):
    attention, x = make(positions=positions), normal(2, 4, 24)
    rows = torch.tensor([[0, 1, 2, 3], [0, 3, 4, 9]])
    both = attention(x, positions=rows)
    by_hand, _ = attention(x, positions=rows, return_weights=True)
    torch.testing.assert_close(by_hand, both, rtol=1e-4, atol=1e-5)
    for b in range(2):
        alone = attention(x[b : b + 1], positions=rows[b])
        torch.testing.assert_close(both[b : b + 1], alone, rtol=1e-4, atol=1e-5)


def test_a_bias_is_added_after_the_scale():
    q, k, bias = normal(2, 5, 4), normal(2, 7, 4, seed=1), normal(5, 7, seed=2)
    expected = (q @ k.mT / 2 + bias).softmax(-1)
    torch.testing.assert_close(attention_weights(q, k, bias=bias), expected)


@pytest.mark.parametrize("positions", ["learned", "alibi"])
@pytest.mark.parametrize("return_weights", [False, True])
def test_dropout_only_while_training(return_weights, positions):
    attention, x = make(dropout=0.5, positions=positions), normal(2, 9, 24)

    def run():
        output = attention(x, return_weights=return_weights)
        return output[0] if return_weights else output

    still = run()
    torch.testing.assert_close(run(), still)
    torch.testing.assert_close(make(dropout=0.0, positions=positions)(x), still)
    attention.train()
    attention.out_dropout.p = 0.0  # what is left falls on the weights
    assert (run() - still).abs().max() > 1e-2
    mean = torch.stack([run() for _ in range(600)]).mean(0)
    assert (mean - still).abs().mean() < 0.1 * still.abs().mean()
    attention.out_dropout.p = 0.5
    assert 0.3 < (run() == 0).float().mean() < 0.7


def test_returned_weights_are_those_before_dropout():
    attention = make(dropout=0.5).train()
    _, weights = attention(normal(2, 9, 24), return_weights=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6, 9))


@pytest.mark.parametrize("positions", ["rotary", "alibi"])
def test_half_precision(positions):
    attention = make(positions=positions, qk_norm=True, n_kv_heads=2).bfloat16()
    x = normal(2, 9, 24).bfloat16()
    output, weights = attention(x, return_weights=True)
    assert attention(x).dtype == output.dtype == weights.dtype == torch.bfloat16


def test_softmax_over_many_half_precision_numbers():
    weights = softmax(torch.zeros(70_000, dtype=torch.float16), dim=0)  # 70,000 is above its range
    assert weights.dtype == torch.float16
    assert weights.float().sum().item() == pytest.approx(1, abs=0.01)


# ------------------------------------------------------------------------------ wrong input

Q, K, V = torch.ones(2, 5, 4), torch.ones(2, 7, 4), torch.ones(2, 7, 3)


def sdpa(q=Q, k=K, v=V, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)


def attend(x, positions=None, kind="rotary", **arguments):
    return make(positions=kind)(x, positions, **arguments)


X = torch.ones(2, 9, 24)
WRONG = [
    (lambda: softmax([1.0, 2.0], 0), TypeError, "x must be a torch.Tensor, not list"),
    (lambda: softmax(torch.tensor([1, 2]), 0), TypeError, "x must hold floating-point numbers"),
    (lambda: softmax(Q, 3), IndexError, "dim is 3, but x has 3 axes"),
    (lambda: softmax(Q, -4), IndexError, "dim is -4"),
    (lambda: softmax(Q, None), TypeError, "dim must be the number of an axis"),
    (lambda: softmax(Q[:, :0], 1), ValueError, "x has no entries along dim 1"),
    (lambda: softmax(torch.tensor(1.0), 0), IndexError, "dim is 0, but x has 0 axes"),
    (lambda: causal_mask(0), ValueError, "T must be at least 1"),
    (lambda: causal_mask(2.0), TypeError, "T must be a whole number"),
    (lambda: sdpa(q=torch.ones(4)), ValueError, "q must have at least 2 axes"),
    (lambda: sdpa(q=Q.long()), TypeError, "q must hold floating-point numbers"),
    (lambda: sdpa(k=torch.ones(2, 7, 5)), ValueError, "q and k must have the same width D"),
    (lambda: sdpa(k=torch.ones(3, 7, 4)), ValueError, "q and k do not fit together"),
    (lambda: sdpa(k=None), TypeError, "k must be a torch.Tensor"),
    (lambda: sdpa(k=K[:, :0], v=V[:, :0]), ValueError, "k must hold at least one key"),
    (lambda: sdpa(q=Q[..., :0], k=K[..., :0]), ValueError, "the same width D, at least 1"),
    (
        lambda: sdpa(v=torch.ones(2, 6, 3)),
        ValueError,
        "v must hold one value for each of the S = 7",
    ),
    (lambda: sdpa(v=torch.ones(3, 7, 3)), ValueError, "v and the weights of q and k do not fit"),
    (lambda: sdpa(v=torch.ones(7)), ValueError, "v must hold one value for each"),
    (lambda: sdpa(v=V.tolist()), TypeError, "v must be a torch.Tensor"),
    (lambda: sdpa(v=V.double()), TypeError, "k and v must be of one dtype"),
    (lambda: sdpa(mask=torch.ones(5, 7)), TypeError, "mask must be of dtype bool"),
    (lambda: sdpa(mask=causal_mask(5)), ValueError, "mask and the scores do not fit together"),
    (lambda: sdpa(mask=torch.ones(3, 2, 5, 7).bool()), ValueError, "mask of shape .* has more"),
    (lambda: sdpa(mask=[[True]]), TypeError, "mask must be a torch.Tensor"),
    (lambda: attention_weights(Q, K.double()), TypeError, "q and k must be of one dtype"),
    (lambda: MultiHeadAttention({"d_model": 4}), TypeError, "config must be a GPTConfig, not dict"),
    (lambda: attend(torch.ones(9, 24)), ValueError, r"x must have 3 axes \(B, T, C\)"),
    (lambda: attend(torch.ones(2, 9, 23)), ValueError, "x must have C = d_model = 24"),
    (lambda: attend(X.long()), TypeError, "x must hold floating-point numbers"),
    (lambda: attend(torch.ones(2, 0, 24)), ValueError, "x holds no token"),
    (lambda: attend(torch.ones(2, 17, 24)), ValueError, "more than context_length 16"),
    (lambda: causal_mask(3, device="foo"), ValueError, "device must be such as 'cpu'"),
    (lambda: attend(X.double()), TypeError, "x is torch.float64, but .* are torch.float32"),
    (lambda: attend(X.half()), TypeError, "x is torch.float16, but .* are torch.float32"),
    (lambda: attend(X, cache={}), TypeError, "cache must hold .* but it is dict"),
    (lambda: attend(X, cache=[]), TypeError, "cache must hold .* but it is list"),
    (lambda: attend(X, positions=torch.arange(8)), ValueError, "positions must be"),
    (lambda: attend(X, positions=torch.arange(8, 17)), IndexError, "positions run from 8 to 16"),
    (lambda: attend(X, positions=torch.ones(9)), TypeError, "positions must hold integer"),
    (lambda: attend(torch.ones(2, 17, 24), kind="alibi"), ValueError, "more than context_length"),
    (
        lambda: attend(X, torch.arange(9), kind="alibi", cache=ListCache()),
        ValueError,
        "positions must be None when there is a cache",
    ),
    (
        lambda: attend(X, torch.arange(8, 17), kind="alibi"),
        IndexError,
        "positions run from 8 to 16",
    ),
    (lambda: attention_weights(Q, K, bias=[0.0]), TypeError, "bias must be a torch.Tensor"),
    (
        lambda: attention_weights(Q, K, bias=torch.ones(5, 6)),
        ValueError,
        "bias and the scores do not fit together",
    ),
    (
        lambda: attention_weights(Q, K, bias=torch.ones(3, 2, 5, 7)),
        ValueError,
        "bias of shape .* has more entries",
    ),
    (lambda: make(d_model=18, positions="rotary"), ValueError, "head_dim .* must be even"),
    (lambda: make(n_kv_heads=4), ValueError, "n_heads must be a multiple of n_kv_heads"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
