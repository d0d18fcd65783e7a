"""The block explorer as a Python object: its numbers, its words, its picture, bad input."""

import base64
import functools
import itertools
import re
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from torch import nn

from llm_core.block import TransformerBlock, make_norm
from llm_core.config import GPTConfig
from llm_core.widgets.base import Explorer
from llm_core.widgets.block import (
    ACTIVATIONS,
    DEPTH,
    NORMS,
    PLACEMENTS,
    STANDARD,
    TOKENS,
    BlockExplorer,
    _random_stack,
    combinations,
    measure,
    quantity,
)

C, H = 16, 2
ALLOWED = list(
    itertools.product(("layernorm", "rmsnorm"), ("pre", "post"), ("relu", "gelu", "swiglu"))
)


def explorer(**state: Any) -> BlockExplorer:
    widget = BlockExplorer(d_model=C, n_heads=H)
    for name, value in state.items():
        setattr(widget, name, value)
    return widget


@functools.cache
def random_stack() -> tuple[list, torch.Tensor, torch.Tensor]:
    """Return the explorer's layers, input and reader, drawn once; nothing here changes them."""
    return _random_stack(C, H, seed=0)


def blocks_of_the_course(
    norm: str, placement: str, activation: str, depth: int
) -> tuple[list, GPTConfig]:
    """Return `depth` of llm_core's own blocks with the explorer's random weights."""
    config = GPTConfig(1, d_model=C, n_heads=H, norm=norm, norm_placement=placement)
    config = GPTConfig.from_dict(config.to_dict() | {"activation": activation, "d_ff": None})
    layers, _, _ = random_stack()
    blocks = []
    for layer in layers[:depth]:
        block = TransformerBlock(config).double()
        block.attention.load_state_dict(layer["attention"].state_dict())
        block.feed_forward.load_state_dict(layer[activation].state_dict())
        blocks.append(block)
    return blocks, config


def measured_plainly(blocks: list, end: nn.Module, depth: int) -> dict[str, np.ndarray]:
    """Return the explorer's curves for one depth by one plain forward and backward pass."""
    _, x, reader = random_stack()
    streams = [x.clone().requires_grad_()]
    for block in blocks[:depth]:
        streams.append(block(streams[-1][None])[0])
    gradients = torch.autograd.grad((end(streams[-1]) * reader).sum(), streams)
    norms = torch.stack([g.norm() for g in gradients])
    table = torch.stack(  # (levels, T, T), each token with each
        [nn.functional.cosine_similarity(s[:, None], s[None], dim=-1).detach() for s in streams]
    )
    others = ~torch.eye(TOKENS, dtype=torch.bool)
    return {
        "gradient": (norms / norms[-1]).log10().numpy(),
        "size": torch.stack([s.square().mean().sqrt().log10() for s in streams]).detach().numpy(),
        "alike": table[:, others].mean(dim=1).numpy(),
    }


@pytest.mark.parametrize(("norm", "placement", "activation"), ALLOWED)
@pytest.mark.parametrize("depth", [1, 5, DEPTH])
def test_its_curves_are_those_of_llm_cores_blocks(
    norm: str, placement: str, activation: str, depth: int
) -> None:
    blocks, config = blocks_of_the_course(norm, placement, activation, depth)
    end = make_norm(config).double() if placement == "pre" else nn.Identity()
    expected = measured_plainly(blocks, end, depth)
    widget = explorer(norm=norm, placement=placement, activation=activation, depth=depth)
    for name, curve in widget.curves().items():
        assert curve.shape == (depth + 1,)
        np.testing.assert_allclose(curve, expected[name], atol=1e-4, err_msg=name)


class Bare(nn.Module):
    """A block with neither norm nor residual, with a linear or a GELU feed-forward."""

    def __init__(self, layer: nn.ModuleDict, linear: bool) -> None:
        super().__init__()
        self.layer, self.linear = layer, linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, feed = self.layer["attention"](x), self.layer["gelu"]
        return feed.down(feed.up(x)) if self.linear else feed(x)


@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("placement", ["pre", "post"])
def test_what_is_switched_off_is_gone(activation: str, placement: str) -> None:
    layers, _, _ = random_stack()
    bare = [Bare(layer, linear=activation == "none") for layer in layers]
    expected = measured_plainly(bare, nn.Identity(), depth=7)
    widget = explorer(
        norm="none", placement=placement, activation=activation, residual=False, depth=7
    )
    for name, curve in widget.curves().items():
        np.testing.assert_allclose(curve, expected[name], atol=1e-4, err_msg=name)


def test_the_phenomena_that_the_chapter_tells_of() -> None:
    """Not exact numbers: that they are there for the explorer that the chapter shows."""
    widget = BlockExplorer()
    start = {state: [] for state in ("standard", "neither", "norm alone")}
    for name, state in (
        ("standard", {}),
        ("neither", {"norm": "none", "residual": False}),
        ("norm alone", {"norm": "layernorm"}),
    ):
        for trait, value in state.items():
            setattr(widget, trait, value)
        curves = widget.curves()
        start[name] = [curves["gradient"][0], curves["alike"][-1]]
    assert abs(start["standard"][0]) < 1
    assert start["neither"][0] < -20
    assert start["norm alone"][0] > -5
    assert start["standard"][1] < 0.6
    assert start["norm alone"][1] > 0.99


def test_every_combination_has_its_row_and_nothing_above_its_depth() -> None:
    numbers = measure(C, H, 0)
    rows = len(NORMS) * len(PLACEMENTS) * len(ACTIVATIONS) * 2
    assert len(combinations()) == len(set(combinations())) == rows
    assert numbers["gradient"].shape == (rows, DEPTH, DEPTH + 1)
    assert numbers["size"].shape == numbers["alike"].shape == (rows, DEPTH + 1)
    for depth in range(1, DEPTH + 1):
        gradients = numbers["gradient"][:, depth - 1]
        np.testing.assert_allclose(gradients[:, depth], 0, atol=1e-6)  # itself, as a power of ten
        assert np.isfinite(gradients[:, : depth + 1]).all()
        assert np.isnan(gradients[:, depth + 1 :]).all()


def test_it_measures_once_and_leaves_chance_alone() -> None:
    state = torch.get_rng_state()
    first, second = explorer(), explorer()
    assert first._numbers is second._numbers
    assert measure(C, H, 1)["size"][0, 0] != measure(C, H, 0)["size"][0, 0]
    assert torch.equal(torch.get_rng_state(), state)


def test_shapes_and_parameters_are_those_of_the_modules() -> None:
    widget = BlockExplorer(d_model=24, n_heads=3)
    assert widget.sizes == {
        "T": TOKENS,
        "C": 24,
        "H": 3,
        "F": {"relu": 96, "gelu": 96, "swiglu": 64, "none": 96},
    }
    for norm, activation in itertools.product(("layernorm", "rmsnorm"), ("gelu", "swiglu")):
        config = GPTConfig(1, d_model=24, n_heads=3, norm=norm, activation=activation)
        expected = sum(p.numel() for p in TransformerBlock(config).parameters())
        parts = widget.parameters
        total = parts["attention"] + parts["feed_forward"][activation] + 2 * parts["norm"][norm]
        assert total == expected
    assert widget.parameters["norm"]["none"] == 0
    assert widget.parameters["feed_forward"]["none"] == widget.parameters["feed_forward"]["relu"]


def test_its_words_name_the_parts_and_the_ends_of_the_curves() -> None:
    widget = explorer(depth=3)
    gradient, size, alike = widget.curves().values()
    words = widget.describe()
    assert words.startswith("Pre-norm LayerNorm, GELU, with residual connections, 3 blocks. ")
    assert f"is {10 ** float(gradient[0]):.2f} times that at the end" in words
    assert f"from {10 ** float(size[0]):.2f} to {10 ** float(size[-1]):.2f}" in words
    assert f"to {alike[-1]:.2f}." in words.replace("−", "-")
    widget.norm, widget.activation, widget.residual, widget.depth = "none", "none", False, 1
    assert widget.describe().startswith(
        "No norm, no activation, without residual connections, 1 block. "
    )
    widget.norm, widget.placement = "rmsnorm", "post"
    assert widget.describe().startswith("Post-norm RMSNorm, ")


@pytest.mark.parametrize(
    ("exponent", "words"),
    [(0, "1.00"), (0.25, "1.78"), (-2, "0.01"), (2.5, "316.23"), (3, "10³"), (-29.6, "10⁻³⁰")],
)
def test_far_numbers_become_powers_of_ten(exponent: float, words: str) -> None:
    assert quantity(exponent) == words


def test_a_saved_notebook_gets_view_picture_and_stable_text() -> None:
    first, second = explorer(), explorer()
    data, metadata = first._repr_mimebundle_()
    again, _ = second._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain", "image/png"}
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert data["image/png"] == again["image/png"]
    assert data["text/plain"] == again["text/plain"] == repr(first)
    assert metadata["image/png"]["alt"] == first.describe()


@pytest.fixture(scope="module")
def standard() -> tuple[bytes | None, str]:
    """Return the picture and the words of an explorer that nobody has touched."""
    widget = explorer()
    return widget.picture(), widget.describe()


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("norm", "rmsnorm"),
        ("norm", "none"),
        ("placement", "post"),
        ("activation", "swiglu"),
        ("residual", False),
        ("depth", 5),
    ],
)
def test_every_switch_changes_picture_and_words(
    standard: tuple[bytes | None, str], trait: str, value: Any
) -> None:
    widget = explorer(**{trait: value})
    assert widget.picture() != standard[0]
    assert widget.describe() != standard[1]


@pytest.mark.parametrize("depth", [1, 2, DEPTH])
def test_every_combination_can_be_drawn(depth: int) -> None:
    widget = explorer(depth=depth)
    for state in combinations()[::11]:
        widget.norm, widget.placement, widget.activation, widget.residual = state
        assert widget.picture()
    assert STANDARD in combinations()


def test_the_module_is_one_file_without_imports() -> None:
    code = str(BlockExplorer._esm)
    assert issubclass(BlockExplorer, Explorer)
    assert code.count("export default") == 1
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert not re.search(r"https?://", code + str(BlockExplorer._css))


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("norm", "batchnorm", "norm"),
        ("placement", "both", "placement"),
        ("activation", "gelu_tanh", "activation"),
        ("residual", "yes", "residual"),
        ("depth", 0, r"depth must lie in \[1, 24\], but it is 0"),
        ("depth", 25, "depth must lie in"),
        ("depth", 2.5, "depth"),
    ],
)
def test_state_that_does_not_exist_is_refused(trait: str, value: Any, words: str) -> None:
    widget = explorer()
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"d_model": 0}, ValueError, "d_model must be at least 1"),
        ({"d_model": "32"}, TypeError, "d_model must be a whole number"),
        ({"d_model": 256}, ValueError, "d_model must lie in"),
        ({"d_model": 32, "n_heads": 5}, ValueError, "multiple of n_heads"),
        ({"n_heads": 0}, ValueError, "n_heads must be at least 1"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 1.5}, TypeError, "seed must be a whole number"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        BlockExplorer(**arguments)
