"""Costs counted from a config are those of the model: torch counts, builds and keeps the same."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from variants import other_choices

from llm_core.config import NORM_PLACEMENTS, POSITIONS, GPTConfig
from llm_core.costs import (
    activations_per_token,
    flops_by_part,
    flops_per_token,
    measure_saved_bytes,
    parameters_by_part,
    training_flops_per_token,
    training_memory,
)
from llm_core.model import GPT, PRESETS, count_parameters
from llm_core.optim import AdamW

SMALL = {
    "vocab_size": 50,
    "context_length": 16,
    "d_model": 24,
    "n_layers": 2,
    "n_heads": 4,
    "d_ff": 70,
}
LLAMA = {
    "norm": "rmsnorm",
    "activation": "swiglu",
    "positions": "rotary",
    "bias": False,
    "tie_weights": False,
    "n_kv_heads": 2,
}
GRID = list(itertools.product(POSITIONS, NORM_PLACEMENTS, (4, 2, 1)))
"""Positions, placement of the norm, key/value heads."""


def small(**fields):
    return GPTConfig(**{**SMALL, **fields})


def variants(positions, norm_placement, n_kv_heads):
    """Yield the configs of all other choices."""
    fields = {"positions": positions, "norm_placement": norm_placement, "n_kv_heads": n_kv_heads}
    for others in other_choices():
        yield small(**fields, **others)


def on_meta(config):
    """Return the model with shapes and without numbers: GPT-3's fits into any machine."""
    with torch.device("meta"):
        return GPT(config)


def ids_for(config, B=1, device="cpu"):
    return torch.zeros(B, config.context_length, dtype=torch.long, device=device)


# ------------------------------------------------------------------------------ parameters


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_the_models_for_every_preset(name):
    counted = parameters_by_part(PRESETS[name])
    assert sum(counted.values()) == count_parameters(on_meta(PRESETS[name]))


@pytest.mark.parametrize("fields", [{}, LLAMA, {"qk_norm": True}], ids=str)
def test_each_part_is_that_of_the_modules(fields):
    config = small(**fields)
    model = on_meta(config)
    attention = sum(
        count_parameters(layer)
        for block in model.blocks
        for layer in (
            block.attention.query,
            block.attention.key,
            block.attention.value,
            block.attention.out,
        )
    )
    expected = {
        "token embedding": count_parameters(model.token_embedding),
        "positions": count_parameters(model.position_embedding) if model.position_embedding else 0,
        "attention": attention,
        "feed-forward": sum(count_parameters(block.feed_forward) for block in model.blocks),
        "output head": count_parameters(model.head) if model.head else 0,
    }
    counted = parameters_by_part(config)
    assert {name: counted[name] for name in expected} == expected
    assert counted["norms"] == count_parameters(model) - sum(expected.values())


# ------------------------------------------------------------------------------ operations


def flops_that_torch_counts(config, by_hand=False):
    """Return what torch counts for one text of a full context: forward, and backward."""
    model, ids = on_meta(config), ids_for(config, device="meta")
    with FlopCounterMode(display=False) as forward:
        loss = model(ids, ids, return_weights=by_hand)[1]
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize("by_hand", [False, True], ids=["fused", "by hand"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        LLAMA,
        {"n_kv_heads": 1, "tie_weights": False, "activation": "relu", "positions": "alibi"},
    ],
    ids=str,
)
def test_flops_are_what_torch_counts(fields, by_hand):
    config = small(**fields)
    forward, backward = flops_that_torch_counts(config, by_hand)
    assert forward == flops_per_token(config) * config.context_length
    assert forward + backward == training_flops_per_token(config) * config.context_length


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.slow
def test_flops_of_a_preset_are_what_torch_counts(name):
    config = PRESETS[name]
    forward, backward = flops_that_torch_counts(config)
    assert forward == flops_per_token(config) * config.context_length
    assert forward + backward == training_flops_per_token(config) * config.context_length


def test_flops_on_real_numbers_are_the_same():
    """On the path by hand: on a CPU torch's counter leaves the fused kernel out."""
    config = small()
    model, ids = GPT(config).eval(), ids_for(config, B=2)
    with FlopCounterMode(display=False) as counter:
        model(ids, return_weights=True)
    assert counter.get_total_flops() == flops_per_token(config) * ids.numel()


def test_flops_are_the_sum_of_their_parts():
    config = small(**LLAMA)
    parts = flops_by_part(config)
    assert sum(parts.values()) == flops_per_token(config)
    assert parts["output head"] == 2 * 24 * 50
    longer = flops_by_part(replace(config, context_length=2 * config.context_length))
    grown = {name for name in parts if longer[name] != parts[name]}
    assert grown == {"scores and mixing"}
    assert longer["scores and mixing"] == 2 * parts["scores and mixing"]


@pytest.mark.parametrize("name", ["gpt2-xl", "llama-1b", "gpt3"])
def test_two_flops_a_parameter_is_a_fair_rule_for_large_models(name):
    """Twice the parameters, without look-up tables: short by the scores, by a fifth at most."""
    config = PRESETS[name]
    parts = parameters_by_part(config)
    rule = 2 * (sum(parts.values()) - parts["positions"])
    if not config.tie_weights:
        rule -= 2 * parts["token embedding"]
    assert 0.8 < rule / flops_per_token(config) < 1


# ------------------------------------------------------------------------------ memory


def bytes_left_out(config, B):
    """What `activations_per_token` does not count.

    Ids and targets of 8 bytes, positions for a learned table, the count of targets, and ALiBi's
    penalties, a table (H, T, T) in each layer.
    """
    T = config.context_length
    positions = 8 * T if config.positions == "learned" else 0
    penalties = 4 * config.n_layers * config.n_heads * T * T if config.positions == "alibi" else 0
    return 2 * 8 * B * T + positions + 4 + penalties


@pytest.mark.parametrize(("positions", "norm_placement", "n_kv_heads"), GRID)
def test_parameters_and_activations_are_torchs_for_every_variant(
    positions, norm_placement, n_kv_heads
):
    """Both in one test, because building the models costs the most."""
    B = 2
    for config in variants(positions, norm_placement, n_kv_heads):
        model, ids = GPT(config), ids_for(config, B)
        assert sum(parameters_by_part(config).values()) == count_parameters(model), config
        kept = measure_saved_bytes(model, lambda m=model, i=ids: m(i, i.clone()))
        counted = training_memory(config, batch_size=B)["activations"]
        assert kept - bytes_left_out(config, B) == counted, config


def test_activations_in_half_precision_take_half():
    config = small()
    model, ids = GPT(config).to(torch.bfloat16), ids_for(config)
    kept = measure_saved_bytes(model, lambda: model(ids, ids))
    counted = training_memory(config, bytes_per_number=2)["activations"]
    assert kept == pytest.approx(counted, rel=0.05)  # some sums stay in 32 bits


@pytest.mark.parametrize("fields", [{}, LLAMA], ids=str)
def test_weights_gradients_and_optimizer_state_are_torchs(fields):
    config = small(**fields)
    model, ids = GPT(config), ids_for(config)
    for make in (AdamW, torch.optim.AdamW):
        optimizer = make(model.parameters())
        model(ids, ids)[1].backward()
        optimizer.step()
        state = [
            value
            for entry in optimizer.state.values()
            for value in entry.values()
            if torch.is_tensor(value) and value.dim() > 0  # not the count of steps
        ]
        measured = {
            "weights": sum(p.nbytes for p in model.parameters()),
            "gradients": sum(p.grad.nbytes for p in model.parameters()),
            "optimizer state": sum(tensor.nbytes for tensor in state),
        }
        counted = training_memory(config)
        assert {name: counted[name] for name in measured} == measured


def test_memory_grows_with_the_batch_in_activations_alone():
    one, eight = training_memory(small()), training_memory(small(), batch_size=8)
    assert eight["activations"] == 8 * one["activations"]
    assert {**eight, "activations": 0} == {**one, "activations": 0}


def test_gpt3_takes_terabytes():
    memory = training_memory(PRESETS["gpt3"])
    assert sum(memory.values()) > 2.7e12
    assert math.isclose(memory["weights"], 4 * 174.6e9, rel_tol=1e-3)


def test_measuring_counts_shared_memory_once_and_leaves_weights_out():
    layer = torch.nn.Linear(3, 5)
    x = torch.ones(7, 3)

    def run():
        hidden = layer(x)  # keeps x; the weight is the layer's own
        return (hidden.exp() + hidden.view(35).exp().view(7, 5)).sum()  # keeps both results

    assert measure_saved_bytes(layer, run) == 4 * (7 * 3 + 2 * 7 * 5)
    assert measure_saved_bytes(layer, lambda: None) == 0


# ------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    "count",
    [
        parameters_by_part,
        flops_by_part,
        flops_per_token,
        training_flops_per_token,
        activations_per_token,
        training_memory,
    ],
)
@pytest.mark.parametrize("wrong", ["gpt2", None, {"vocab_size": 5}])
def test_a_config_is_asked_for(count, wrong):
    with pytest.raises(TypeError, match="config must be a GPTConfig, not"):
        count(wrong)


WRONG = [
    (lambda: training_memory(small(), 0), ValueError, "batch_size must be at least 1, not 0"),
    (lambda: training_memory(small(), 1.5), TypeError, "batch_size must be a whole number"),
    (lambda: training_memory(small(), 1, 0), ValueError, "bytes_per_number must be at least 1"),
    (lambda: measure_saved_bytes("model", print), TypeError, "model must be a torch.nn.Module"),
    (
        lambda: measure_saved_bytes(torch.nn.Linear(1, 1), 7),
        TypeError,
        "run must be a function without arguments",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
