"""Positions: the formulas entry by entry, rotation is relative and keeps lengths."""

import math

import pytest
import torch

from llm_core.positions import (
    LearnedPositions,
    alibi_bias,
    alibi_slopes,
    apply_rotary,
    distance_penalty,
    rotary_angles,
    sinusoidal_encoding,
)


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


# ------------------------------------------------------------------------------ sinusoidal


@pytest.mark.parametrize("base", [10_000.0, 30.0])
def test_sinusoidal_follows_the_paper_entry_by_entry(base):
    encoding = sinusoidal_encoding(9, 6, base)
    assert encoding.shape == (9, 6)
    for t in range(9):
        for i in range(3):
            angle = t / base ** (2 * i / 6)
            assert encoding[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert encoding[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_sinusoidal_takes_the_papers_base_by_default():
    assert torch.equal(sinusoidal_encoding(9, 6), sinusoidal_encoding(9, 6, 10_000.0))


def test_sinusoidal_positions_are_unique():
    encoding = sinusoidal_encoding(T=2000, C=16)
    gaps = torch.cdist(encoding, encoding) + 9 * torch.eye(2000)
    assert gaps.min() > 0.5


def test_a_shift_of_sinusoidal_positions_is_a_rotation_of_each_pair():
    encoding, k = sinusoidal_encoding(T=50, C=8), 7
    angles = k * 10_000.0 ** (-torch.arange(0, 8, 2) / 8)  # (C/2,)
    sines, cosines = encoding[:-k, 0::2], encoding[:-k, 1::2]
    shifted = torch.stack(
        (
            sines * angles.cos() + cosines * angles.sin(),
            cosines * angles.cos() - sines * angles.sin(),
        ),
        dim=-1,
    )
    torch.testing.assert_close(shifted.flatten(1), encoding[k:], rtol=0, atol=1e-5)


def test_sinusoidal_products_depend_only_on_the_distance():
    encoding = sinusoidal_encoding(T=40, C=16)
    products = encoding @ encoding.T  # (T, T)
    for distance in (0, 1, 7):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------ learned


def test_learned_positions_look_up_rows():
    positions = LearnedPositions(8, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(positions(torch.arange(3)), positions.weight[:3])
    wanted = torch.tensor([[7, 0], [3, 3]])
    torch.testing.assert_close(positions(wanted), positions.weight[wanted])


def test_learned_positions_start_is_reproducible():
    first, again = (
        LearnedPositions(64, 64, generator=torch.Generator().manual_seed(3)).weight
        for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.std().item() == pytest.approx(0.02, rel=0.05)


# ------------------------------------------------------------------------------ rotary


def test_rotary_by_hand():
    """Position 1 turns pair (0, 2) by 1 radian, and pair (1, 3) by 1/100."""
    cos, sin = rotary_angles(T=2, D=4)
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]])
    turned = apply_rotary(x, cos, sin)
    c, s, c2, s2 = math.cos(1), math.sin(1), math.cos(0.01), math.sin(0.01)
    by_hand = torch.tensor([c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2])
    torch.testing.assert_close(turned[0], x[0])
    torch.testing.assert_close(turned[1], by_hand)


@pytest.mark.parametrize("base", [10_000.0, 500_000.0])
def test_rotary_equals_hugging_face_llama(base):
    from transformers.models.llama import modeling_llama as llama  # seconds to load

    B, H, T, D = 2, 3, 11, 8
    q, k = normal(B, H, T, D), normal(B, H, T, D, seed=1)
    hf = llama.LlamaRotaryEmbedding(
        llama.LlamaConfig(
            hidden_size=H * D,
            num_attention_heads=H,
            rope_parameters={"rope_type": "default", "rope_theta": base},
        )
    )
    hf_q, hf_k = llama.apply_rotary_pos_emb(q, k, *hf(q, torch.arange(T).unsqueeze(0)))
    cos, sin = rotary_angles(T, D, base)
    torch.testing.assert_close(apply_rotary(q, cos, sin), hf_q, rtol=0, atol=1e-5)
    torch.testing.assert_close(apply_rotary(k, cos, sin), hf_k, rtol=0, atol=1e-5)


def test_rotary_is_relative():
    """A query at t and a key at s meet in the same product wherever both are moved together."""
    T, D = 30, 8
    cos, sin = rotary_angles(T, D)
    q, k = normal(D).expand(T, D), normal(D, seed=1).expand(T, D)
    products = apply_rotary(q, cos, sin) @ apply_rotary(k, cos, sin).T  # (T, T)
    for distance in (-7, 0, 1, 12):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-4)
    assert not torch.allclose(products.diagonal(1)[:1], products.diagonal(5)[:1], atol=1e-2)


def test_rotary_keeps_lengths_and_gradients():
    x = normal(2, 3, 10, 6, dtype=torch.float64).requires_grad_()
    cos, sin = (angles.double() for angles in rotary_angles(10, 6))
    turned = apply_rotary(x, cos, sin)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.autograd.gradcheck(lambda x: apply_rotary(x, cos, sin), x)


def test_rotary_keeps_the_dtype():
    cos, sin = rotary_angles(4, 6)
    assert apply_rotary(normal(2, 4, 6).bfloat16(), cos, sin).dtype == torch.bfloat16


def test_the_papers_pairing_is_ours_in_another_order():
    """Su et al. pair 2i with 2i + 1; put all first entries first and it is ours."""
    T, D = 7, 8
    x, (cos, sin) = normal(2, T, D), rotary_angles(T, D)
    even, odd = x[..., 0::2], x[..., 1::2]
    interleaved = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)
    order = torch.cat((torch.arange(0, D, 2), torch.arange(1, D, 2)))
    torch.testing.assert_close(apply_rotary(x[..., order], cos, sin), interleaved[..., order])


# ------------------------------------------------------------------------------ ALiBi


@pytest.mark.parametrize("H", [1, 2, 4, 8, 16, 32, 64])
def test_slopes_follow_the_paper_for_powers_of_two(H):
    slopes = alibi_slopes(H)
    assert slopes.tolist() == pytest.approx([2 ** (-8 * (h + 1) / H) for h in range(H)], rel=1e-6)


def test_slopes_of_eight_heads():
    assert alibi_slopes(8).tolist() == [1 / 2**n for n in range(1, 9)]


@pytest.mark.parametrize(
    ("H", "exponents"),
    [
        (3, [4, 8, 2]),
        (5, [2, 4, 6, 8, 1]),
        (6, [2, 4, 6, 8, 1, 3]),
        (12, [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5]),
    ],
)
def test_slopes_in_between_fill_the_gaps(H, exponents):
    assert alibi_slopes(H).tolist() == pytest.approx([2**-e for e in exponents], rel=1e-6)


@pytest.mark.parametrize("H", range(1, 41))
def test_alibi_equals_hugging_face_bloom(H):
    """BLOOM adds slope·j to key j: for one query all keys differ by the same number from ours."""
    from transformers.models.bloom.modeling_bloom import build_alibi_tensor  # seconds to load

    T = 9
    theirs = build_alibi_tensor(torch.ones(1, T), H, torch.float32)  # (H, 1, T)
    bias, scores = alibi_bias(H, T), normal(H, T, T)
    past = torch.ones(T, T, dtype=torch.bool).tril()
    expected = (scores + theirs).masked_fill(~past, -math.inf).softmax(-1)
    torch.testing.assert_close((scores + bias).softmax(-1), expected)


def test_alibi_bias_entry_by_entry():
    H, T = 6, 5
    bias, slopes = alibi_bias(H, T), alibi_slopes(H)
    assert bias.shape == (H, T, T)
    for h in range(H):
        for i in range(T):
            for j in range(T):
                expected = -slopes[h].item() * (i - j) if j <= i else -math.inf
                assert bias[h, i, j].item() == pytest.approx(expected)


def test_penalties_of_given_positions():
    slopes = alibi_slopes(4)
    rows = torch.tensor([[0, 1, 2], [0, 5, 9]])
    penalty = distance_penalty(slopes, rows, rows)
    assert penalty.shape == (2, 4, 3, 3)
    torch.testing.assert_close(penalty[1, 2, 2], -slopes[2] * torch.tensor([9.0, 4.0, 0.0]))
    assert (penalty.triu(1) == 0).all()
    new = distance_penalty(slopes, torch.tensor([9]), torch.arange(10))
    torch.testing.assert_close(new[:, 0], alibi_bias(4, 10)[:, 9])


# ------------------------------------------------------------------------------ wrong input

COS, SIN = rotary_angles(4, 6)
WRONG = [
    (lambda: sinusoidal_encoding(4, 5), ValueError, "C must be even"),
    (lambda: sinusoidal_encoding(0, 4), ValueError, "T must be at least 1"),
    (lambda: sinusoidal_encoding(2.5, 4), TypeError, "T must be a whole number"),
    (lambda: sinusoidal_encoding(4, None), TypeError, "C must be a whole number"),
    (lambda: sinusoidal_encoding(4, 4, base=0.5), ValueError, "base must lie in"),
    (lambda: sinusoidal_encoding(4, 4, base=None), TypeError, "base must be a number"),
    (lambda: alibi_slopes(0), ValueError, "H must be at least 1"),
    (lambda: alibi_slopes(2.0), TypeError, "H must be a whole number"),
    (lambda: alibi_bias(0, 4), ValueError, "H must be at least 1"),
    (lambda: alibi_bias(4, 0), ValueError, "T must be at least 1"),
    (lambda: alibi_bias(4, "4"), TypeError, "T must be a whole number"),
    (lambda: rotary_angles(4, 7), ValueError, "D must be even"),
    (lambda: rotary_angles(-1, 6), ValueError, "T must be at least 1"),
    (lambda: rotary_angles(4, 6, base=1.0), ValueError, "base must lie in"),
    (lambda: rotary_angles(4, 6, base="big"), TypeError, "base must be a number"),
    (lambda: apply_rotary(torch.ones(4, 5), COS, SIN), ValueError, "x must have an even last axis"),
    (lambda: apply_rotary(torch.ones(6), COS, SIN), ValueError, "x must have at least 2 axes"),
    (lambda: apply_rotary(torch.ones(5, 6), COS, SIN), ValueError, "cos must end in"),
    (lambda: apply_rotary(torch.ones(4, 6), COS, SIN[:, :2]), ValueError, "sin must end in"),
    (lambda: apply_rotary(torch.ones(4, 6).long(), COS, SIN), TypeError, "x must hold floating"),
    (lambda: apply_rotary(torch.ones(4, 6), COS, None), TypeError, "sin must be a torch.Tensor"),
    (
        lambda: apply_rotary(torch.ones(2, 4, 6), COS.expand(3, 4, 3), SIN),
        ValueError,
        "cos and x do not fit together",
    ),
    (lambda: LearnedPositions(0, 4), ValueError, "context_length must be at least 1"),
    (lambda: LearnedPositions(4, "4"), TypeError, "d_model must be a whole number"),
    (lambda: LearnedPositions(4, 4)(torch.arange(5)), IndexError, "positions run from 0 to 4"),
    (lambda: LearnedPositions(4, 4)(torch.tensor([-1])), IndexError, "positions run from -1"),
    (lambda: LearnedPositions(4, 4)(torch.ones(2)), TypeError, "positions must hold integer"),
    (lambda: LearnedPositions(4, 4)([0, 1]), TypeError, "positions must be a torch.Tensor"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
