"""AdamW, clipping and the schedule: equal to torch, and clear about bad input."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from llm_core.model import GPT, GPTConfig
from llm_core.optim import (
    AdamW,
    Muon,
    clip_grad_norm,
    hidden_matrices,
    muon_groups,
    orthogonalise,
    parameter_groups,
    warmup_cosine,
    warmup_stable_decay,
)


def small_model(seed: int = 0) -> nn.Module:
    """Return a network with matrices, biases and a norm."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Tanh(), nn.Linear(7, 3))


def step_both(ours, theirs, make_ours, make_theirs, n_steps, generator):
    """Train two equal models on the same noisy batches with two optimizers."""
    optimizers = (make_ours(ours), make_theirs(theirs))
    for step in range(n_steps):
        x, y = torch.randn(4, 5, generator=generator), torch.randn(4, 3, generator=generator)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = 1e-2 * (1 + math.cos(step / 50))
            optimizer.zero_grad()
            ((model(x) - y) ** 2).mean().backward()
            optimizer.step()
    return optimizers


def largest_difference(a: nn.Module, b: nn.Module) -> float:
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max((p - q).abs().max().item() for p, q in pairs)


@pytest.mark.parametrize(
    "settings",
    [
        {"betas": (0.9, 0.999), "weight_decay": 0.01},
        {"betas": (0.8, 0.95), "weight_decay": 0.3, "eps": 1e-6},
        {"betas": (0.0, 0.9), "weight_decay": 0.0},
    ],
)
def test_adamw_equals_torch_after_1000_steps(settings):
    """A matrix and a bias will do here; the next test has a whole network."""
    torch.manual_seed(0)
    start = nn.Linear(5, 3)
    ours, theirs = copy.deepcopy(start), copy.deepcopy(start)
    step_both(
        ours,
        theirs,
        lambda m: AdamW(m.parameters(), **settings),
        lambda m: torch.optim.AdamW(m.parameters(), **settings),
        1000,
        torch.Generator().manual_seed(1),
    )
    assert largest_difference(ours, theirs) <= 1e-6
    assert largest_difference(ours, start) > 0.1  # it did move


def test_adamw_equals_torch_with_several_groups():
    ours, theirs = small_model(), small_model()

    def groups(model):
        first, *rest = parameter_groups(model, 0.2)
        return [{**first, "betas": (0.7, 0.9)}, *rest]

    step_both(
        ours,
        theirs,
        lambda m: AdamW(groups(m)),
        lambda m: torch.optim.AdamW(groups(m)),
        1000,
        torch.Generator().manual_seed(2),
    )
    assert largest_difference(ours, theirs) <= 1e-6


def test_decay_is_decoupled_from_the_gradient():
    weight = nn.Parameter(torch.tensor([[2.0]]))
    weight.grad = torch.zeros_like(weight)
    AdamW([weight], lr=0.1, weight_decay=0.5).step()
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5))


def test_parameter_without_gradient_is_left_alone():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    used.grad = torch.ones(2, 2)
    optimizer = AdamW([used, unused], lr=0.1, weight_decay=0.5)
    optimizer.step()
    assert torch.equal(unused, torch.ones(2, 2))
    assert unused not in optimizer.state


def test_state_dict_resumes_exactly():
    def gradients(model, seed):
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)

    model = small_model()
    optimizer = AdamW(model.parameters(), lr=0.01)
    for seed in range(5):
        gradients(model, seed)
        optimizer.step()
    other = copy.deepcopy(model)
    restored = AdamW(other.parameters(), lr=0.5)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in range(5, 10):
        for current, step in ((model, optimizer.step), (other, restored.step)):
            gradients(current, seed)
            step()
    assert largest_difference(model, other) == 0.0


def test_closure_is_called_with_gradients():
    weight = nn.Parameter(torch.tensor([3.0]))
    optimizer = AdamW([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(9.0)
    assert weight.item() < 3.0


def test_parameter_groups_decay_only_matrices_and_count_tied_weights_once():
    model = nn.ModuleDict({"embed": nn.Embedding(6, 4), "norm": nn.LayerNorm(4)})
    model["head"] = nn.Linear(4, 6)
    model["head"].weight = model["embed"].weight
    decayed, kept = parameter_groups(model, 0.1)
    assert [p.dim() for p in decayed["params"]] == [2]
    assert decayed["weight_decay"] == 0.1
    assert len(kept["params"]) == 3
    assert kept["weight_decay"] == 0.0


def test_parameter_groups_skip_frozen_parameters():
    model = small_model()
    model[0].weight.requires_grad_(False)
    params = [p for group in parameter_groups(model, 0.1) for p in group["params"]]
    assert all(p is not model[0].weight for p in params)


@pytest.mark.parametrize("max_norm", [1e-3, 1.0, 100.0, math.inf])
def test_clipping_equals_torch(max_norm):
    generator = torch.Generator().manual_seed(0)
    ours = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 4), (5,), (2, 2))]
    for parameter in ours[:2]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    theirs = copy.deepcopy(ours)
    for a, b in zip(ours, theirs, strict=True):
        b.grad = None if a.grad is None else a.grad.clone()
    norm = clip_grad_norm(ours, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    assert torch.equal(norm, expected)
    for a, b in zip(ours[:2], theirs[:2], strict=True):
        assert torch.equal(a.grad, b.grad)


def test_clipping_one_tensor_and_no_gradients():
    weight = nn.Parameter(torch.zeros(2))
    assert clip_grad_norm(weight, 1.0).item() == 0.0
    weight.grad = torch.tensor([3.0, 4.0])
    assert clip_grad_norm(weight, 1.0).item() == pytest.approx(5.0)
    assert weight.grad.norm().item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_clipping_leaves_gradients_as_they_are_when_their_length_is_not_finite(bad):
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, bad]), torch.tensor([4.0])
    assert not clip_grad_norm([a, b], 1.0).isfinite()
    assert a.grad[0] == 3
    assert b.grad == 4


def test_numpy_numbers_are_numbers():
    optimizer = AdamW([nn.Parameter(torch.ones(1))], lr=np.float32(0.5), betas=(np.float64(0.9), 0))
    json.dumps(optimizer.state_dict()["param_groups"])
    assert warmup_cosine(np.int64(0), np.int64(0), np.int64(4), np.float32(1.0)) == 1
    with pytest.raises(TypeError, match="step"):
        warmup_cosine(np.bool_(True), 0, 4, 1.0)


def test_schedule_by_hand():
    rates = [warmup_cosine(step, 2, 6, 1.0, 0.2) for step in range(8)]
    middle = [0.2 + 0.4 * (1 + math.cos(math.pi * k / 4)) for k in range(4)]
    assert rates == pytest.approx([0.5, 1.0, *middle, 0.2, 0.2])


@pytest.mark.parametrize(
    ("step", "warmup", "total", "expected"),
    [
        (0, 0, 1, 1.0),  # one step without warm-up learns at the full rate
        (0, 1, 1, 1.0),
        (1, 1, 1, 0.1),
        (3, 4, 4, 1.0),  # nothing but warm-up
        (4, 4, 4, 0.1),
        (10**9, 4, 8, 0.1),
    ],
)
def test_schedule_at_its_edges(step, warmup, total, expected):
    assert warmup_cosine(step, warmup, total, 1.0, 0.1) == pytest.approx(expected)


def test_schedule_climbs_then_falls():
    rates = [warmup_cosine(step, 10, 100, 3e-3, 3e-4) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert min(rates[10:]) > 3e-4


ONE = [nn.Parameter(torch.ones(1))]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: AdamW([]), ValueError, "empty parameter list"),
        (lambda: AdamW(None), TypeError, "params must be .* not NoneType"),
        (lambda: AdamW(small_model()), TypeError, "model.parameters"),
        (lambda: clip_grad_norm(None, 1.0), TypeError, "parameters must be tensors, not NoneType"),
        (lambda: clip_grad_norm(small_model(), 1.0), TypeError, "model.parameters"),
        (lambda: AdamW(ONE, lr=-1.0), ValueError, "lr"),
        (lambda: AdamW(ONE, lr=math.nan), ValueError, "lr"),
        (lambda: AdamW(ONE, lr="fast"), TypeError, "lr"),
        (lambda: AdamW(ONE, betas=(0.9, 1.0)), ValueError, r"betas\[1\]"),
        (lambda: AdamW(ONE, betas=(-0.1, 0.9)), ValueError, r"betas\[0\]"),
        (lambda: AdamW(ONE, betas=0.9), TypeError, "betas"),
        (lambda: AdamW(ONE, eps=-1e-8), ValueError, "eps"),
        (lambda: AdamW(ONE, weight_decay=-0.1), ValueError, "weight_decay"),
        (lambda: AdamW([{"params": ONE, "lr": -1.0}]), ValueError, "lr"),
        (lambda: parameter_groups([torch.ones(2)], 0.1), TypeError, "model"),
        (lambda: parameter_groups(nn.ReLU(), 0.1), ValueError, "nothing to train"),
        (lambda: parameter_groups(small_model(), -1), ValueError, "weight_decay"),
        (lambda: clip_grad_norm(ONE, 0.0), ValueError, "max_norm"),
        (lambda: clip_grad_norm(ONE, math.nan), ValueError, "max_norm"),
        (lambda: clip_grad_norm(["w"], 1.0), TypeError, "model.parameters"),
        (lambda: warmup_cosine(-1, 0, 10, 1.0), ValueError, "step"),
        (lambda: warmup_cosine(0.5, 0, 10, 1.0), TypeError, "step"),
        (lambda: warmup_cosine(0, 11, 10, 1.0), ValueError, "warmup_steps"),
        (lambda: warmup_cosine(0, -1, 10, 1.0), ValueError, "warmup_steps"),
        (lambda: warmup_cosine(0, 0, 0, 1.0), ValueError, "n_steps"),
        (lambda: warmup_cosine(0, 0, 10, 1.0, 2.0), ValueError, "min_lr"),
        (lambda: warmup_cosine(0, 0, 10, -1.0), ValueError, "max_lr"),
    ],
)
def test_bad_input(call, error, words):
    with pytest.raises(error, match=words):
        call()


# --- Muon ---


def stacked_model(seed: int = 0) -> nn.Module:
    """Return a network with a table, a stack of two blocks (wide and tall matrices), and a head."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        blocks = (nn.Sequential(nn.Linear(6, 10), nn.Tanh(), nn.Linear(10, 6)) for _ in range(2))
        return nn.ModuleDict(
            {
                "table": nn.Embedding(5, 6),
                "blocks": nn.ModuleList(blocks),
                "head": nn.Linear(6, 5, bias=False),
            }
        )


def give_gradients(model: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize("shape", [(4, 4), (3, 7), (7, 3), (1, 5), (2, 6, 4), (3, 4, 6)])
def test_orthogonalise_makes_all_directions_about_equally_long(shape):
    matrices = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    before = matrices.clone()
    result = orthogonalise(matrices)
    assert result.shape == matrices.shape
    assert torch.equal(matrices, before)
    singular = torch.linalg.svdvals(result)
    assert singular.min() > 0.3
    assert singular.max() < 1.3
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(result.flatten(), (u @ vh).flatten(), dim=0) > (
        0.95
    )


def test_orthogonalise_of_a_stack_is_that_of_each_matrix_and_zero_stays_zero():
    matrices = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(2))
    alone = torch.stack([orthogonalise(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), alone)
    assert torch.equal(orthogonalise(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_orthogonalise_in_bfloat16_is_torchs():
    from torch.optim._muon import _zeropower_via_newtonschulz as torchs

    for shape in ((16, 16), (8, 24), (24, 8)):
        matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(3))
        expected = torchs(matrix, (3.4445, -4.7750, 2.0315), 5, 1e-7).float()
        for dtype in (torch.bfloat16, torch.float32):
            error = (orthogonalise(matrix, dtype=dtype) - expected).norm() / expected.norm()
            assert error < 0.06, (shape, dtype)  # bfloat16 has three digits


def test_muon_moves_as_torchs_muon_and_adamw_do():
    ours, theirs = stacked_model(), stacked_model()
    optimizer = Muon(muon_groups(ours, 0.1, lr_scale=4.0), betas=(0.9, 0.95))
    hidden = hidden_matrices(theirs)
    others = [p for p in theirs.parameters() if all(p is not h for h in hidden)]
    muon = torch.optim.Muon(hidden, lr=0.04, weight_decay=0.1, momentum=0.95)
    matrices = [p for p in others if p.dim() == 2]
    vectors = [p for p in others if p.dim() < 2]
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=0.01,
        betas=(0.9, 0.95),
    )
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group.get("lr_scale", 1.0)
    for seed in range(20):
        for model in (ours, theirs):
            give_gradients(model, seed)
        optimizer.step()
        muon.step()
        adamw.step()
    moved = largest_difference(ours, stacked_model())
    assert moved > 0.1
    assert largest_difference(ours, theirs) < 0.05 * moved  # torch's computes in bfloat16


def test_muon_groups_sort_a_gpts_parameters():
    model = GPT(GPTConfig(vocab_size=11, d_model=8, n_layers=2, n_heads=2, tie_weights=False))
    groups = muon_groups(model, 0.2, lr_scale=3.0)
    assert [group.get("muon", False) for group in groups] == [True, False, False]
    assert [group["weight_decay"] for group in groups] == [0.2, 0.2, 0.0]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    hidden = [names[id(p)] for p in groups[0]["params"]]
    assert all(name.startswith("blocks.") for name in hidden)
    assert len(hidden) == 2 * 6
    rest = {names[id(p)] for p in groups[1]["params"]}
    assert rest == {"token_embedding.weight", "position_embedding.weight", "head.weight"}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_muon_resumes_exactly():
    model = stacked_model()
    optimizer = Muon(muon_groups(model, 0.1))
    for seed in range(4):
        give_gradients(model, seed)
        optimizer.step()
    other = copy.deepcopy(model)
    restored = Muon(muon_groups(other, 0.1))
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    json.dumps(optimizer.state_dict()["param_groups"])
    for seed in range(4, 8):
        for current, step in ((model, optimizer.step), (other, restored.step)):
            give_gradients(current, seed)
            step()
    assert largest_difference(model, other) == 0.0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: muon_groups(nn.Linear(3, 3), 0.1), ValueError, "nothing for Muon"),
        (lambda: muon_groups("model", 0.1), TypeError, "model"),
        (lambda: muon_groups(stacked_model(), -1.0), ValueError, "weight_decay"),
        (lambda: muon_groups(stacked_model(), 0.1, 0.0), ValueError, "lr_scale"),
        (
            lambda: Muon([{"params": [nn.Parameter(torch.ones(3))], "muon": True}]),
            ValueError,
            "matrices only",
        ),
        (lambda: Muon(muon_groups(stacked_model(), 0.1), momentum=1.0), ValueError, "momentum"),
        (lambda: Muon(muon_groups(stacked_model(), 0.1), n_iterations=0), ValueError, "n_iter"),
        (lambda: orthogonalise(torch.ones(3)), ValueError, "matrices"),
        (lambda: orthogonalise([[1.0]]), TypeError, "matrices"),
        (lambda: orthogonalise(torch.ones(2, 2), 0), ValueError, "n_iterations"),
    ],
)
def test_bad_input_to_muon_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


# --- warm-up, level, down ---


def test_warmup_stable_decay_by_hand():
    rates = [warmup_stable_decay(step, 2, 10, 4, max_lr=1.0, min_lr=0.2) for step in range(12)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_a_longer_plan_changes_nothing_before_the_way_down():
    short = [warmup_stable_decay(step, 5, 50, 10, 1e-3) for step in range(41)]
    long = [warmup_stable_decay(step, 5, 500, 10, 1e-3) for step in range(41)]
    assert short == long
    assert warmup_cosine(30, 5, 50, 1e-3) != warmup_cosine(30, 5, 500, 1e-3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 5, 10, 6, 1.0), "warmup_steps \\+ decay_steps must be at most n_steps"),
        ((0, 5, 10, -1, 1.0), "decay_steps"),
        ((0, 5, 10, 2, 1.0, 2.0), "min_lr"),
        ((-1, 5, 10, 2, 1.0), "step"),
    ],
)
def test_bad_plans_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        warmup_stable_decay(*arguments)
