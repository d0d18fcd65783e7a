"""The model explorer as a Python object: presets, counts, impossible wishes, bad input."""

import base64
import re
from typing import Any

import pytest
import traitlets

from llm_core.config import GPTConfig
from llm_core.costs import flops_by_part, parameters_by_part, training_memory
from llm_core.model import PRESETS
from llm_core.widgets.model import (
    MACHINES,
    NAMES,
    SIZES,
    WORDS,
    ModelExplorer,
    heads_in_use,
    kv_heads_in_use,
    short,
)


def same_costs(one: GPTConfig, other: GPTConfig) -> bool:
    """Say whether two configs count the same; GELU's two forms do."""
    counts = (parameters_by_part, flops_by_part, training_memory)
    return all(count(one) == count(other) for count in counts)


# ---- presets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRESETS)
def test_it_starts_from_every_preset_and_counts_that_model(name: str) -> None:
    explorer = ModelExplorer(name)
    assert same_costs(explorer.config, PRESETS[name])
    assert explorer.preset == name
    assert explorer.mended == ""
    assert explorer.describe().startswith(f"{NAMES[name]}: {PRESETS[name].n_layers} layers")


def test_every_preset_has_a_name() -> None:
    assert list(NAMES) == list(PRESETS)


def test_a_preset_can_be_chosen_later_and_is_left_by_a_change() -> None:
    explorer = ModelExplorer("gpt2", batch_size=4)
    explorer.preset = "llama-1b"
    assert explorer.config == PRESETS["llama-1b"]
    assert explorer.batch_size == 4
    explorer.n_layers = 12
    assert explorer.preset == ""
    assert explorer.describe().startswith("Your model: 12 layers, 2048 wide, 32 heads (4 for keys")
    explorer.n_layers = 22
    assert explorer.preset == "llama-1b"


def test_the_page_gets_the_settings_of_every_preset() -> None:
    explorer = ModelExplorer()
    for name, entry in explorer.presets.items():
        explorer.preset = name
        assert {key: getattr(explorer, key) for key in entry["settings"]} == entry["settings"]


# ---- counts --------------------------------------------------------------------------------------


def test_its_numbers_are_those_of_costs() -> None:
    explorer = ModelExplorer("gpt2-medium", batch_size=3)
    config = explorer.config
    expected = [
        *parameters_by_part(config).values(),
        *flops_by_part(config).values(),
        *training_memory(config, 3).values(),
    ]
    assert explorer.numbers() == expected


@pytest.mark.parametrize(
    ("trait", "value", "grown"),
    [
        ("vocab_size", 100_000, True),
        ("d_model", 1024, True),
        ("n_layers", 24, True),
        ("ff_ratio", 8.0, True),
        ("context_length", 4096, True),
        ("batch_size", 2, True),
        ("tied", False, True),
        ("n_kv_heads", 3, False),
    ],
)
def test_every_size_changes_what_it_costs(trait: str, value: Any, grown: bool) -> None:
    explorer = ModelExplorer("gpt2")
    before = sum(training_memory(explorer.config, explorer.batch_size).values())
    setattr(explorer, trait, value)
    after = sum(training_memory(explorer.config, explorer.batch_size).values())
    assert (after > before) is grown
    assert after != before


def test_what_fits_follows_the_machines() -> None:
    explorer = ModelExplorer("gpt2")
    assert "training on 1 text takes 2.81 GB and fits on all three machines" in explorer.describe()
    explorer.batch_size = 32  # 26 GB of activations on top of 2 GB
    assert "fits on the 80 GB card." in explorer.describe()
    explorer.preset = "gpt3"
    assert explorer.describe().count("none of the three machines") == 2
    assert list(MACHINES.values()) == sorted(MACHINES.values())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 "),
        (999, "999 "),
        (1000, "1.00 k"),
        (12_345, "12.3 k"),
        (124_439_808, "124 M"),
        (2_125_000, "2.13 M"),
        (1.5e9, "1.50 G"),
        (2.9e12, "2.90 T"),
        (4e15, "4000 T"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_parameters_are_counted_in_words() -> None:
    assert short(174_604_259_328, WORDS) == "175 billion"
    assert short(357_216, WORDS) == "357 thousand"


# ---- impossible wishes ---------------------------------------------------------------------------


@pytest.mark.parametrize("d_model", [8, 96, 128, 768, 1600, 12_288])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_heads_in_use_always_make_a_model(d_model: int, positions: str) -> None:
    for wished in range(1, 140):
        heads = heads_in_use(d_model, wished, positions)
        assert 1 <= heads <= wished
        config = GPTConfig(vocab_size=2, d_model=d_model, n_heads=heads, positions=positions)
        larger = range(heads + 1, wished + 1)
        step = 2 if positions == "rotary" else 1
        assert not [h for h in larger if d_model % (h * step) == 0], "a larger number would do"
        for wished_kv in (0, 1, 5, 7, heads, 200):
            kv_heads = kv_heads_in_use(config.n_heads, wished_kv)
            assert config.n_heads % kv_heads == 0
            assert kv_heads <= (wished_kv or heads)


def test_an_impossible_wish_is_mended_told_and_remembered() -> None:
    explorer = ModelExplorer("gpt2")
    explorer.n_heads = 7
    assert explorer.config.n_heads == 6
    assert explorer.mended == "A width of 768 cannot be cut into 7 equal heads: 6 are used."
    explorer.d_model = 896
    assert (explorer.config.n_heads, explorer.mended) == (7, "")
    explorer.n_kv_heads = 4
    assert explorer.config.n_kv_heads == 1
    assert explorer.mended == "4 key/value heads cannot be shared evenly by 7 heads: 1 are used."
    explorer.n_kv_heads = 0
    assert explorer.config.n_kv_heads == 7


def test_rotary_positions_need_heads_of_an_even_width() -> None:
    explorer = ModelExplorer("storyteller")
    explorer.n_heads = 128
    assert explorer.config.n_heads == 64
    assert "128 equal heads of an even width: 64 are used" in explorer.mended
    explorer.positions = "learned"
    assert (explorer.config.n_heads, explorer.mended) == (128, "")


# ---- the saved form and bad input ----------------------------------------------------------------


def test_a_saved_notebook_gets_view_picture_and_stable_text() -> None:
    first, second = ModelExplorer("gpt2"), ModelExplorer("gpt2")
    data, metadata = first._repr_mimebundle_()
    again, _ = second._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert data["image/png"] == again["image/png"]
    assert data["text/plain"] == again["text/plain"] == f"ModelExplorer: {first.describe()}"
    assert metadata["image/png"]["alt"] == first.describe()


@pytest.mark.parametrize("name", ["storyteller", "llama-1b", "gpt3"])
def test_the_picture_follows_the_state(name: str) -> None:
    explorer = ModelExplorer("gpt2")
    before = explorer.picture()
    explorer.preset = name
    assert explorer.picture() != before


def test_the_module_is_one_file_without_imports() -> None:
    code = str(ModelExplorer._esm)
    assert code.count("export default") == 1
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert not re.search(r"https?://", code + str(ModelExplorer._css))


def test_no_trait_takes_a_name_of_ipywidgets() -> None:
    """`layout` is ipywidgets' own; a trait of that name breaks the view without a word."""
    import ipywidgets

    own = set(ModelExplorer.class_own_traits())
    assert not own & set(ipywidgets.DOMWidget.class_traits())


@pytest.mark.parametrize("wrong", ["gpt4", "", None, 7])
def test_an_unknown_preset_is_named(wrong: Any) -> None:
    with pytest.raises(ValueError, match="preset must be one of 'storyteller', 'tiny', 'gpt2'"):
        ModelExplorer(wrong)


@pytest.mark.parametrize("trait", SIZES)
def test_a_size_out_of_range_is_refused(trait: str) -> None:
    explorer = ModelExplorer("gpt2")
    before = getattr(explorer, trait)
    low, high = SIZES[trait]
    for wrong in (low - 1, high + 1):
        with pytest.raises(traitlets.TraitError, match=f"{trait} must lie in .* but it is {wrong}"):
            setattr(explorer, trait, wrong)
    assert getattr(explorer, trait) == before


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("d_model", 100, "d_model must be a multiple of 8, but it is 100"),
        ("ff_ratio", 2.6, "ff_ratio must lie in .* in steps of a quarter"),
        ("ff_ratio", 99.0, "ff_ratio must lie in"),
        ("blocks", "gpt4", "blocks"),
        ("positions", "sinusoidal", "positions"),
        ("preset", "gpt4", "preset must be one of"),
        ("n_layers", 2.5, "n_layers"),
    ],
)
def test_state_that_makes_no_sense_is_refused(trait: str, value: Any, words: str) -> None:
    explorer = ModelExplorer("gpt2")
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(explorer, trait, value)
    assert same_costs(explorer.config, PRESETS["gpt2"])
