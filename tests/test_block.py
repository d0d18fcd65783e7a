"""The block's parts equal torch's in value and gradient; the block adds them up in order."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from llm_core.attention import MultiHeadAttention
from llm_core.block import (
    FeedForward,
    LayerNorm,
    RMSNorm,
    SwiGLU,
    TransformerBlock,
    dropout,
    gelu,
    layer_norm,
    make_norm,
    rms_norm,
)
from llm_core.config import GPTConfig


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def config(**fields):
    return GPTConfig(**{"vocab_size": 10, "d_model": 12, "n_heads": 3, "d_ff": 20, **fields})


def shaken(module):
    """Draw all parameters, so that no gain is one and no bias zero."""
    for i, parameter in enumerate(module.parameters()):
        parameter.data = 0.5 * normal(*parameter.shape, seed=i + 1)
    return module


def value_and_gradients(function, *tensors):
    """Return the output of `function` and the gradients of a weighted sum of it."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = function(*leaves)
    (output * normal(*output.shape, seed=99)).sum().backward()
    return [output, *(leaf.grad for leaf in leaves)]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------ norms


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 5, 12)])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_layer_norm_equals_torch(shape, eps):
    x, gain, bias = 3 + 2 * normal(*shape), normal(12, seed=1), normal(12, seed=2)
    assert_same(
        value_and_gradients(lambda x, g, b: layer_norm(x, g, b, eps), x, gain, bias),
        value_and_gradients(lambda x, g, b: F.layer_norm(x, (12,), g, b, eps), x, gain, bias),
    )
    assert_same(
        value_and_gradients(lambda x, g: layer_norm(x, g, eps=eps), x, gain),
        value_and_gradients(lambda x, g: F.layer_norm(x, (12,), g, None, eps), x, gain),
    )


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 5, 12)])
@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_rms_norm_equals_torch(shape, eps):
    x, gain = 3 + 2 * normal(*shape), normal(12, seed=1)
    assert_same(
        value_and_gradients(lambda x, g: rms_norm(x, g, eps), x, gain),
        value_and_gradients(lambda x, g: F.rms_norm(x, (12,), g, eps), x, gain),
    )


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_norm_layer_equals_the_formula(bias):
    norm, x = shaken(LayerNorm(12, bias=bias, eps=1e-3)), normal(2, 5, 12)
    formula = lambda x: layer_norm(x, norm.weight, norm.bias, 1e-3)  # noqa: E731
    assert_same(value_and_gradients(norm, x), value_and_gradients(formula, x))
    assert (norm.bias is None) is not bias


def test_the_rms_norm_layer_equals_the_formula():
    norm, x = shaken(RMSNorm(12, eps=1e-3)), normal(2, 5, 12)
    formula = lambda x: rms_norm(x, norm.weight, 1e-3)  # noqa: E731
    assert_same(value_and_gradients(norm, x), value_and_gradients(formula, x))


def test_what_the_norms_leave_of_a_vector():
    x = 5 + 3 * normal(4, 64)
    ones = torch.ones(64)
    normalised = layer_norm(x, ones)
    torch.testing.assert_close(normalised.mean(-1), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.var(-1, unbiased=False), torch.ones(4), rtol=1e-4, atol=0)
    torch.testing.assert_close(rms_norm(x, ones).square().mean(-1), torch.ones(4))
    torch.testing.assert_close(rms_norm(3 * x, ones), rms_norm(x, ones))
    assert layer_norm(torch.zeros(64), ones).isfinite().all()


# ------------------------------------------------------------------------------ feed-forward


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_equals_torch(approximate):
    x = torch.cat((4 * normal(200), torch.tensor([0.0, -30.0, 30.0])))
    name = "tanh" if approximate else "none"
    assert_same(
        value_and_gradients(lambda x: gelu(x, approximate), x),
        value_and_gradients(lambda x: F.gelu(x, approximate=name), x),
    )


def test_the_two_gelus_differ_by_less_than_a_thousandth():
    x = torch.linspace(-6, 6, 1001)
    difference = (gelu(x) - gelu(x, approximate=True)).abs().max().item()
    assert 1e-4 < difference < 1e-3


ACTIVATIONS = {
    "relu": torch.relu,
    "gelu": gelu,
    "gelu_tanh": lambda x: gelu(x, approximate=True),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_equals_the_formula(activation):
    layer, x = shaken(FeedForward(config(activation=activation))), normal(2, 5, 12)

    def formula(x):
        hidden = ACTIVATIONS[activation](x @ layer.up.weight.T + layer.up.bias)  # (B, T, d_ff)
        return hidden @ layer.down.weight.T + layer.down.bias

    assert_same(value_and_gradients(layer, x), value_and_gradients(formula, x))


def test_swiglu_equals_the_formula():
    layer, x = shaken(SwiGLU(config(activation="swiglu", bias=False))), normal(2, 5, 12)

    def formula(x):
        gate = x @ layer.gate.weight.T  # (B, T, d_ff)
        hidden = gate * torch.sigmoid(gate) * (x @ layer.up.weight.T)  # (B, T, d_ff)
        return hidden @ layer.down.weight.T

    assert_same(value_and_gradients(layer, x), value_and_gradients(formula, x))
    assert sum(p.numel() for p in layer.parameters()) == 3 * 12 * 20


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_feed_forward_treats_each_token_alone(activation):
    layer = SwiGLU if activation == "swiglu" else FeedForward
    layer = shaken(layer(config(activation=activation)))
    x = normal(2, 5, 12)
    torch.testing.assert_close(layer(x)[1, 3], layer(x[1, 3]))


@pytest.mark.parametrize("activation", ["relu", "swiglu"])
def test_dropout_falls_on_the_output_while_training(activation):
    layer = SwiGLU if activation == "swiglu" else FeedForward
    layer = shaken(layer(config(activation=activation, dropout=0.5)))
    x = normal(4, 50, 12)
    share_of_zeros = (layer(x) == 0).float().mean().item()
    assert share_of_zeros == pytest.approx(0.5, abs=0.05)
    torch.testing.assert_close(layer.eval()(x), layer(x))


# ------------------------------------------------------------------------------ dropout


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_is_torchs_given_the_same_entries(p, dtype):
    """Torch draws other entries; with ours left out by hand, values and gradients must agree."""
    x = 3 + normal(40, 50, dtype=dtype)
    keep = torch.rand(x.shape, generator=seeded(5)) >= p
    ours = value_and_gradients(lambda x: dropout(x, p, generator=seeded(5)), x)
    assert_same(ours, value_and_gradients(lambda x: torch.where(keep, x / (1 - p), 0), x))
    theirs = F.dropout(x, p)
    kept = theirs != 0
    torch.testing.assert_close(theirs[kept], (x / (1 - p))[kept])
    both = kept & keep
    torch.testing.assert_close(ours[0][both], theirs[both])
    spread = 4 * (p * (1 - p) / x.numel()) ** 0.5
    for dropped in (~keep, ~kept):
        assert dropped.float().mean().item() == pytest.approx(p, abs=spread + 1e-9)


def test_dropout_keeps_the_mean_and_does_nothing_in_evaluation():
    x = torch.ones(200, 100)
    assert dropout(x, 0.3, generator=seeded()).mean().item() == pytest.approx(1, abs=0.02)
    assert dropout(x, 0.3, training=False, generator=seeded()) is x
    torch.testing.assert_close(dropout(x, 0.0), x)


def test_dropout_draws_from_the_generator_alone():
    x, state = torch.ones(5, 6), torch.get_rng_state()
    first, again = (dropout(x, 0.5, generator=seeded(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, dropout(x, 0.5, generator=seeded(4)))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, torch.ones(5, 6))


# ------------------------------------------------------------------------------ the block

BLOCKS = [
    {"norm": norm, "activation": activation, "norm_placement": placement}
    for norm, activation, placement in itertools.product(
        ("layernorm", "rmsnorm"), ("gelu", "swiglu"), ("pre", "post")
    )
]


@pytest.mark.parametrize("fields", BLOCKS, ids=str)
def test_block_adds_its_parts_in_order(fields):
    block, x = shaken(TransformerBlock(config(**fields))).eval(), normal(2, 5, 12)

    def by_hand(x):
        attend, feed = block.attention, block.feed_forward
        norm_1, norm_2 = block.attention_norm, block.feed_forward_norm
        if fields["norm_placement"] == "pre":
            middle = x + attend(norm_1(x))
            return middle + feed(norm_2(middle))
        middle = norm_1(x + attend(x))
        return norm_2(middle + feed(middle))

    assert_same(value_and_gradients(block, x), value_and_gradients(by_hand, x))
    output, weights = block(x, return_weights=True)
    torch.testing.assert_close(output, block(x), rtol=1e-4, atol=1e-5)
    assert weights.shape == (2, 3, 5, 5)


def test_block_equals_torch_transformer_layer():
    for norm_first in (True, False):
        placement = "pre" if norm_first else "post"
        ours = shaken(TransformerBlock(config(norm_placement=placement, activation="relu"))).eval()
        theirs = torch.nn.TransformerEncoderLayer(
            12, 3, 20, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        parts = (ours.attention.query, ours.attention.key, ours.attention.value)
        theirs.self_attn.in_proj_weight.data = torch.cat([part.weight for part in parts])
        theirs.self_attn.in_proj_bias.data = torch.cat([part.bias for part in parts])
        theirs.self_attn.out_proj.load_state_dict(ours.attention.out.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())
        theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
        theirs.norm2.load_state_dict(ours.feed_forward_norm.state_dict())
        mask = torch.nn.Transformer.generate_square_subsequent_mask(5)
        x = normal(2, 5, 12)
        expected = theirs(x, src_mask=mask, is_causal=True)
        torch.testing.assert_close(ours(x), expected, rtol=1e-4, atol=1e-5)


def test_what_a_config_makes():
    assert isinstance(make_norm(config(norm="rmsnorm")), RMSNorm)
    assert isinstance(make_norm(config()), LayerNorm)
    assert make_norm(config(bias=False)).bias is None
    assert make_norm(config(norm_eps=0.25)).eps == 0.25
    block = TransformerBlock(config(bias=False, activation="swiglu"))
    assert isinstance(block.attention, MultiHeadAttention)
    assert isinstance(block.feed_forward, SwiGLU)
    assert not [name for name, _ in block.named_parameters() if name.endswith("bias")]


# ------------------------------------------------------------------------------ wrong input

X = torch.ones(2, 5, 12)
GAIN = torch.ones(12)
WRONG = [
    (lambda: layer_norm(X.long(), GAIN), TypeError, "x must hold floating-point"),
    (lambda: layer_norm(X, torch.ones(11)), ValueError, "gain has 11 entries"),
    (lambda: layer_norm(X, GAIN, torch.ones(2, 6)), ValueError, "bias must have 1 axes"),
    (lambda: layer_norm(torch.tensor(1.0), GAIN), ValueError, "gain has 12 entries"),
    (lambda: rms_norm(X, GAIN.tolist()), TypeError, "gain must be a torch.Tensor"),
    (lambda: rms_norm(X, torch.ones(1)), ValueError, "gain has 1 entries"),
    (lambda: gelu(3), TypeError, "x must be a torch.Tensor"),
    (lambda: gelu(X.long()), TypeError, "x must hold floating-point"),
    (lambda: dropout(X, 1.0), ValueError, "p must lie in"),
    (lambda: dropout(X, -0.1), ValueError, "p must lie in"),
    (lambda: dropout(X, "0.1"), TypeError, "p must be a number"),
    (lambda: dropout(X, 0.1, True, 7), TypeError, "generator must be a torch.Generator"),
    (lambda: dropout(X.long(), 0.1), TypeError, "x must hold floating-point"),
    (lambda: LayerNorm(0), ValueError, "d_model must be at least 1"),
    (lambda: LayerNorm(12, eps=0.0), ValueError, "eps must lie in"),
    (lambda: LayerNorm(12)(torch.ones(5, 13)), ValueError, "x must have C = 12 entries"),
    (lambda: RMSNorm("12"), TypeError, "d_model must be a whole number"),
    (lambda: RMSNorm(12, eps=2.0), ValueError, "eps must lie in"),
    (lambda: RMSNorm(12)(torch.ones(12).long()), TypeError, "x must hold floating-point"),
    (lambda: make_norm("rmsnorm"), TypeError, "config must be a GPTConfig"),
    (lambda: FeedForward(config(activation="swiglu")), ValueError, "SwiGLU"),
    (lambda: LayerNorm(12)(X.double()), TypeError, "x is torch.float64, but .* torch.float32"),
    (lambda: RMSNorm(12)(X.half()), TypeError, "x is torch.float16, but .* torch.float32"),
    (lambda: FeedForward(config())(X.double()), TypeError, "x is torch.float64"),
    (lambda: SwiGLU(config())(X.half()), TypeError, "x is torch.float16"),
    (lambda: LayerNorm(12).double()(X), TypeError, "x is torch.float32, but .* torch.float64"),
    (lambda: FeedForward(12), TypeError, "config must be a GPTConfig, not int"),
    (lambda: FeedForward(config())(torch.ones(2, 5)), ValueError, "x must have C = 12 entries"),
    (lambda: SwiGLU(None), TypeError, "config must be a GPTConfig"),
    (lambda: SwiGLU(config())(torch.ones(11)), ValueError, "x must have C = 12 entries"),
    (lambda: TransformerBlock({}), TypeError, "config must be a GPTConfig, not dict"),
    (lambda: TransformerBlock(config())(torch.ones(5, 12)), ValueError, "x must have 3 axes"),
    (lambda: TransformerBlock(config())(None), TypeError, "x must be a torch.Tensor"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
