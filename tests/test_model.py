"""The model from outside: no variant sees the future, each starts at ln V and trains, ties hold."""

import dataclasses
import itertools
import math

import pytest
import torch
from variants import other_choices

from llm_core import costs
from llm_core import model as model_module
from llm_core.config import NORM_PLACEMENTS, POSITIONS, GPTConfig
from llm_core.loss import cross_entropy
from llm_core.model import GPT, PRESETS, count_parameters
from llm_core.pretrained import load_pretrained

SMALL = {"vocab_size": 17, "context_length": 8, "d_model": 8, "n_layers": 2, "n_heads": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def make(seed=0, **fields):
    return GPT(GPTConfig(**{**SMALL, **fields}), seeded(seed)).eval()


@torch.no_grad()
def shaken(model, seed=1):
    """Draw large weights, so that whatever can have an influence has a visible one."""
    generator = seeded(seed)
    for parameter in model.parameters():
        parameter.normal_(0.0 if parameter.dim() == 2 else 1.0, 0.3, generator=generator)
    return model


def some_ids(B=2, T=8, vocab_size=17, seed=0):
    return torch.randint(vocab_size, (B, T), generator=seeded(seed))


class ListCache:
    """The smallest cache: the keys and values of one layer, grown by concatenation."""

    def __init__(self):
        self.length, self.held = 0, []

    def update(self, k, v):
        self.held.append((k, v))
        self.length += k.shape[2]
        return tuple(torch.cat(parts, dim=2) for parts in zip(*self.held, strict=True))


# ------------------------------------------------------------------------------ every variant


def variants(positions, norm_placement, n_kv_heads):
    """Yield the models of all other choices."""
    fields = {"positions": positions, "norm_placement": norm_placement, "n_kv_heads": n_kv_heads}
    for others in other_choices():
        yield make(**fields, **others)


GRID = list(itertools.product(POSITIONS, NORM_PLACEMENTS, (1, 2)))


CHANGED_TOKEN = 5


def three_texts():
    """Return ids (3, 8): two texts, and the first once more with one other token."""
    ids = some_ids()
    changed = ids[:1].clone()
    changed[0, CHANGED_TOKEN] = (changed[0, CHANGED_TOKEN] + 1) % 17
    return torch.cat([ids, changed])


def require_no_view_of_the_future(logits, config):
    """Token t differs in the last text: no logit before t moved, the ones at t and after did."""
    moved = (logits[0] - logits[2]).abs().amax(dim=1)  # (T,)
    assert moved[:CHANGED_TOKEN].max() < 1e-5, config
    assert moved[CHANGED_TOKEN:].min() > 1e-4, config


def require_gradients(model):
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, (name, model.config)
        # The same number added to all scores of a query changes no weight, so that the key
        # bias has no effect of its own unless a norm or a rotation follows.
        if "key.bias" not in name:
            assert parameter.grad.abs().max() > 0, (name, model.config)


def require_agreement(fused, by_hand, config):
    """Compare (logits, loss) with (logits, loss, weights)."""
    *by_hand, weights = by_hand
    for one, other in zip(fused, by_hand, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-4, atol=1e-4, msg=lambda text: f"{text}\n{config}"
        )
    assert [w.shape for w in weights] == [(3, 2, 8, 8)] * 2, config
    sums = torch.stack(weights).sum(-1)
    torch.testing.assert_close(sums, torch.ones(2, 3, 2, 8), msg=lambda text: f"{text}\n{config}")


@pytest.mark.parametrize(("positions", "norm_placement", "n_kv_heads"), GRID)
def test_every_variant_starts_right_trains_whole_and_sees_no_future_on_both_paths(
    positions, norm_placement, n_kv_heads
):
    """The loss starts at ln V, every parameter gets a gradient, and both paths agree.

    One test, because building a model costs more than running it.
    """
    ids, targets = three_texts(), some_ids(B=3, seed=1)
    for model in variants(positions, norm_placement, n_kv_heads):
        with torch.no_grad():
            start = model(ids, targets)[1].item()
            assert start == pytest.approx(math.log(17), abs=0.1), model.config
            by_hand = shaken(model)(ids, targets, return_weights=True)
        logits, loss = model(ids, targets)
        loss.backward()
        require_gradients(model)
        fused = logits.detach(), loss.detach()
        for path in (fused, by_hand):
            require_no_view_of_the_future(path[0], model.config)
        require_agreement(fused, by_hand, model.config)


@pytest.mark.parametrize(("positions", "norm_placement", "n_kv_heads"), GRID)
@torch.no_grad()
def test_a_cache_changes_no_logit(positions, norm_placement, n_kv_heads):
    """Three tokens at once, then one, then two, then two: as all eight together."""
    ids = some_ids()
    for qk_norm in (False, True):
        model = shaken(
            make(
                positions=positions,
                norm_placement=norm_placement,
                n_kv_heads=n_kv_heads,
                qk_norm=qk_norm,
            )
        )
        cache = [ListCache() for _ in model.blocks]
        parts = [model(part, cache=cache)[0] for part in ids.split([3, 1, 2, 2], dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(ids)[0], rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------------ the whole


def test_loss_equals_the_one_by_hand():
    model, ids, targets = shaken(make()), some_ids(), some_ids(seed=1)
    targets[0, :3] = -100
    logits, loss = model(ids, targets)
    torch.testing.assert_close(loss, cross_entropy(logits, targets))
    torch.testing.assert_close(model(ids, targets.int())[1], loss)
    assert model(ids)[1] is None


def test_batch_rows_do_not_mix():
    model, ids = shaken(make()), some_ids(B=3)
    together = model(ids)[0]
    for b in range(3):
        torch.testing.assert_close(together[b], model(ids[b : b + 1])[0][0], rtol=1e-4, atol=1e-5)


def test_without_positions_the_order_of_the_past_does_not_matter():
    """One layer, no positions: the last token sees its past as a set. With positions, an order."""
    ids = some_ids(B=1)
    shuffled = ids[:, [3, 1, 6, 0, 5, 2, 4, 7]]
    for positions in POSITIONS:
        model = shaken(make(n_layers=1, positions=positions))
        moved = (model(ids)[0][0, -1] - model(shuffled)[0][0, -1]).abs().max().item()
        assert (moved < 1e-5) is (positions == "none"), positions


@torch.no_grad()
def test_positions_can_be_given():
    ids = some_ids(T=4)
    for positions in ("learned", "sinusoidal", "alibi", "rotary"):
        model = shaken(make(positions=positions))
        here = model(ids)[0]
        torch.testing.assert_close(model(ids, positions=torch.arange(4))[0], here)
        rows = torch.tensor([[0, 1, 2, 3], [0, 2, 4, 7]])
        both = model(ids, positions=rows)[0]
        torch.testing.assert_close(both[0], here[0])
        assert (both[1] - here[1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("positions", "relative"),
    [("learned", False), ("sinusoidal", False), ("rotary", True), ("alibi", True)],
)
@torch.no_grad()
def test_only_distances_count_for_rotary_and_alibi(positions, relative):
    ids, model = some_ids(T=4), shaken(make(positions=positions))
    moved = model(ids, positions=torch.arange(2, 6))[0] - model(ids)[0]
    assert (moved.abs().max().item() < 1e-4) is relative


def test_dropout_only_while_training():
    model, ids = shaken(make(dropout=0.3)), some_ids()
    torch.testing.assert_close(model(ids)[0], model(ids)[0])
    model.train()
    assert (model(ids)[0] - model(ids)[0]).abs().max() > 1e-2
    zeros = (model.embed(some_ids(B=50)) == 0).float().mean().item()
    assert zeros == pytest.approx(0.3, abs=0.05)


def test_it_learns_a_sequence_by_heart():
    model, ids = make(d_model=16), some_ids(B=4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(150):
        loss = model(ids[:, :-1], ids[:, 1:])[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5


# ------------------------------------------------------------------------------ the start


def test_the_start_is_gpt2s():
    model = make(vocab_size=200, d_model=64, n_layers=8, tie_weights=False, activation="swiglu")
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            wanted = 0.0 if name.endswith("bias") else 1.0
            assert (parameter == wanted).all(), name
        else:
            on_residual = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
            wanted = 0.02 / math.sqrt(2 * 8) if on_residual else 0.02
            assert parameter.std().item() == pytest.approx(wanted, rel=0.1), name


def test_the_start_comes_from_the_generator_alone():
    first, again, other = make(seed=3), make(seed=3), make(seed=4)
    for name, parameter in first.state_dict().items():
        assert torch.equal(parameter, again.state_dict()[name]), name
    assert not torch.equal(first.output_weight, other.output_weight)


def test_tied_weights_share_storage_and_gradient():
    tied, untied = make(tie_weights=True), make(tie_weights=False)
    assert tied.output_weight.data_ptr() == tied.token_embedding.weight.data_ptr()
    assert untied.output_weight.data_ptr() != untied.token_embedding.weight.data_ptr()
    assert count_parameters(untied) - count_parameters(tied) == 17 * 8
    untied.load_state_dict({**tied.state_dict(), "head.weight": tied.output_weight})
    ids, targets = some_ids(), some_ids(seed=1)
    for model in (tied, untied):
        model(ids, targets)[1].backward()
    both = untied.token_embedding.weight.grad + untied.head.weight.grad
    torch.testing.assert_close(tied.token_embedding.weight.grad, both)


def test_saved_weights_hold_each_number_once():
    """No buffers, no second name for a tied matrix: safetensors refuses shared memory."""
    for positions in POSITIONS:
        model = make(positions=positions)
        assert sum(t.numel() for t in model.state_dict().values()) == count_parameters(model)


def test_post_norm_has_no_final_norm():
    assert isinstance(make(norm_placement="post").final_norm, torch.nn.Identity)
    assert any("final_norm" in name for name in make().state_dict())


def test_the_middle_can_be_read_off():
    """embed, the blocks and to_logits, one by one, are the model."""
    model, ids = shaken(make()), some_ids()
    x = model.embed(ids)
    for block in model.blocks:
        x = block(x)
    torch.testing.assert_close(model.to_logits(x), model(ids)[0])


def test_sinusoidal_embeddings_are_scaled():
    model = make(positions="sinusoidal")
    ids = some_ids(B=1)
    expected = model.token_embedding.weight[ids] * math.sqrt(8) + model.sinusoids
    torch.testing.assert_close(model.embed(ids), expected)


def test_in_double_and_half_precision():
    for dtype in (torch.float64, torch.bfloat16):
        for positions in POSITIONS:
            model = make(positions=positions, qk_norm=True, n_kv_heads=1).to(dtype)
            logits, loss, _ = model(some_ids(), some_ids(seed=1), return_weights=True)
            assert model(some_ids())[0].dtype == logits.dtype == loss.dtype == dtype
            assert loss.isfinite()


def test_autocast():
    for positions in POSITIONS:
        model = make(positions=positions, qk_norm=True, n_kv_heads=1)
        for path in (False, True):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = model(some_ids(), some_ids(seed=1), return_weights=path)[1]
            assert loss.item() == pytest.approx(math.log(17), abs=0.2)


@pytest.mark.parametrize("positions", POSITIONS)
def test_compiles_without_a_break(positions):
    model = shaken(make(positions=positions, qk_norm=True, n_kv_heads=1, activation="swiglu"))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    ids, targets = some_ids(), some_ids(seed=1)
    torch.testing.assert_close(compiled(ids, targets)[1], model(ids, targets)[1])


def test_sampling_is_not_the_models_business():
    assert not hasattr(GPT, "generate")
    assert model_module.GPTConfig is GPTConfig


# ------------------------------------------------------------------------------ sizes

PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "llama-1b": 1_100_048_384,
    "gpt3": 174_604_259_328,  # "175 billion" in the paper, whose layout has a few vectors more
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_presets_have_the_published_sizes(name):
    with torch.device("meta"):
        assert count_parameters(GPT(PRESETS[name])) == PUBLISHED[name]


def test_tiny_preset_runs():
    model = GPT(PRESETS["tiny"], seeded())
    assert count_parameters(model) < 1_000_000
    assert model(some_ids(vocab_size=PRESETS["tiny"].vocab_size))[0].shape == (2, 8, 96)


def test_the_storytellers_preset_is_the_model_in_assets():
    assert load_pretrained("stories")[0].config == PRESETS["storyteller"]


def test_costs_can_be_had_from_here():
    assert model_module.flops_per_token is costs.flops_per_token


# ------------------------------------------------------------------------------ wrong input

IDS = some_ids()


def call(ids=IDS, targets=None, config=None, **arguments):
    return make(**(config or {}))(ids, targets, **arguments)


def caches(n):
    return [ListCache() for _ in range(n)]


def a_full_cache():
    cache = caches(2)
    call(IDS[:, :6], cache=cache)
    return cache


WRONG = [
    (lambda: GPT({"vocab_size": 5}), TypeError, "config must be a GPTConfig, not dict"),
    (lambda: GPT(None), TypeError, "config must be a GPTConfig, not NoneType"),
    (lambda: make(positions="sinusoidal", d_model=9, n_heads=3), ValueError, "C must be even"),
    (lambda: make(positions="rotary", d_model=6), ValueError, "head_dim .* must be\\s+even"),
    (lambda: make(d_model=9), ValueError, "d_model must be a multiple of n_heads"),
    (lambda: make(norm="batchnorm"), ValueError, "norm must be one of"),
    (lambda: call([[1, 2]]), TypeError, "ids must be a torch.Tensor, not list"),
    (lambda: call(None), TypeError, "ids must be a torch.Tensor, not NoneType"),
    (lambda: call(IDS[0]), ValueError, r"ids must have 2 axes \(B, T\), but it has 1"),
    (lambda: call(IDS[None]), ValueError, "ids must have 2 axes"),
    (lambda: call(IDS.float()), TypeError, "ids must hold integer token ids, not torch.float32"),
    (lambda: call(IDS > 3), TypeError, "ids must hold integer token ids, not torch.bool"),
    (lambda: call(IDS[:, :0]), ValueError, "ids is empty"),
    (lambda: call(IDS[:0]), ValueError, "ids is empty"),
    (lambda: call(IDS + 17), IndexError, "ids holds the id .* outside the vocabulary 0 to 16"),
    (lambda: call(-IDS - 1), IndexError, "ids holds the id -"),
    (
        lambda: call(some_ids(T=9)),
        ValueError,
        r"T = 9 tokens, but the model's context_length is 8; pass the last 8 tokens",
    ),
    (lambda: call(targets=IDS[:, 1:]), ValueError, "targets must have the shape of ids"),
    (lambda: call(targets=IDS.flatten()), ValueError, "targets must have the shape of ids"),
    (lambda: call(targets=IDS.float()), TypeError, "targets must hold integer token ids"),
    (lambda: call(targets=IDS.tolist()), TypeError, "targets must be a torch.Tensor"),
    (lambda: call(targets=IDS + 17), IndexError, "targets holds the id"),
    (lambda: call(targets=IDS * 0 - 1), IndexError, "targets holds the id -1"),
    (lambda: call(targets=IDS * 0 - 100), ValueError, "targets holds only -100"),
    (lambda: call(positions=torch.arange(7)), ValueError, "positions must be"),
    (lambda: call(positions=torch.arange(1, 9)), IndexError, "positions run from 1 to 8"),
    (lambda: call(positions=torch.ones(8)), TypeError, "positions must hold integer"),
    (
        lambda: call(config={"positions": "alibi"}, positions=torch.arange(8), cache=caches(2)),
        ValueError,
        "positions must be None when there is a cache",
    ),
    (lambda: call(cache=caches(3)), ValueError, "cache must hold one LayerCache for each of 2"),
    (lambda: call(cache=7), TypeError, "cache must be a list with one LayerCache .*, not int"),
    (lambda: call(cache=[None, None]), TypeError, "cache must hold .* but it is NoneType"),
    (lambda: call(cache=[]), ValueError, "cache must hold one LayerCache for each of 2"),
    (
        lambda: call(IDS[:, :3], cache=a_full_cache()),
        ValueError,
        "T = 3 tokens after 6 in the cache",
    ),
    (lambda: count_parameters([1, 2]), TypeError, "model must be a torch.nn.Module, not list"),
]


@pytest.mark.parametrize(("call", "error", "message"), WRONG)
def test_wrong_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_wrong_id_leaves_the_cache_as_it_was():
    model, cache = make(), caches(2)
    with pytest.raises(IndexError):
        model(IDS + 17, cache=cache)
    assert [layer.length for layer in cache] == [0, 0]


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        make().config.d_model = 16
