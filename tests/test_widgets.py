"""The widgets as Python objects: state, numbers, saved pictures, bad input. No browser."""

import base64
import io
import re
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
import traitlets
from matplotlib.figure import Figure
from matplotlib.image import imread
from small import small_model

from llm_core.config import GPTConfig
from llm_core.model import GPT
from llm_core.sampling import generate
from llm_core.tokens import CharTokenizer, WordTokenizer
from llm_core.widgets.attention import MOST_TOKENS, STEPS, AttentionExplorer, attention_numbers
from llm_core.widgets.base import Explorer, pack
from llm_core.widgets.start_here import StoryTeller

TEXT = "Tom had a red ball. He lost the ball in the garden. Mia found it."
TOKENIZER = WordTokenizer.train(TEXT, special_tokens=["<|endoftext|>"])
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MODEL = small_model(TOKENIZER)


def explorer(text: str = TEXT) -> AttentionExplorer:
    return AttentionExplorer(MODEL, TOKENIZER, text)


def teller(**settings: Any) -> StoryTeller:
    return StoryTeller(MODEL, TOKENIZER, **{"prompt": "Tom had", "length": 12, **settings})


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])


# ---- the base class ------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [explorer, teller])
def test_a_saved_notebook_gets_view_picture_and_stable_text(make: Any) -> None:
    first, second = make(), make()
    data, metadata = first._repr_mimebundle_()
    again, _ = second._repr_mimebundle_()
    assert set(data) == {
        "application/vnd.jupyter.widget-view+json",
        "text/plain",
        "image/png",
    }
    png = base64.b64decode(data["image/png"])
    assert png.startswith(PNG_SIGNATURE)
    height, width, _ = imread(io.BytesIO(png)).shape
    assert width > 600
    assert height > 250
    assert data["image/png"] == again["image/png"], "two runs must save the same picture"
    assert data["text/plain"] == again["text/plain"]
    assert data["text/plain"] == repr(first)
    assert not re.search(r"0x[0-9a-f]{6,}", data["text/plain"]), "no object address"
    assert metadata["image/png"]["alt"] == first.describe()


def test_the_picture_follows_the_state() -> None:
    widget = explorer()
    before = widget.picture()
    widget.head = 2
    assert widget.picture() != before


def test_the_module_is_one_file_without_imports() -> None:
    for cls in (AttentionExplorer, StoryTeller):
        code = str(cls._esm)
        assert code.count("export default") == 1
        assert "const kit = " in code
        assert not re.search(r"^\s*import\b", code, re.MULTILINE)
        assert not re.search(r"https?://", code + str(cls._css)), "nothing comes from the network"


def test_an_explorer_without_a_picture_saves_text_alone() -> None:
    class Plain(Explorer):
        script = "attention.js"

        def describe(self) -> str:
            return "plain"

    data, _ = Plain()._repr_mimebundle_()
    assert "image/png" not in data
    assert data["text/plain"] == "Plain: plain"


def test_closing_twice_is_harmless_and_leaves_the_numbers() -> None:
    widget = explorer()
    widget.close()
    widget.close()
    assert widget.comm is None
    assert "looks most at" in widget.describe()


@pytest.mark.parametrize(
    "values", [torch.arange(6.0).view(2, 3).t(), np.arange(6).reshape(3, 2), [[1, 2], [3, 4]]]
)
def test_pack_keeps_shape_and_order(values: Any) -> None:
    packed = pack(values)
    np.testing.assert_array_equal(unpacked(packed), np.asarray(values, dtype=np.float32))
    assert packed["shape"] == list(np.asarray(values).shape)


# ---- the attention explorer ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "variants",
    [
        {},
        {"positions": "rotary", "n_kv_heads": 2, "qk_norm": True, "bias": False},
        {"positions": "sinusoidal", "norm_placement": "post"},
        {"positions": "none", "n_kv_heads": 1},
        {"positions": "alibi", "n_kv_heads": 2},
    ],
)
def test_its_numbers_are_the_models_and_belong_together(variants: dict[str, Any]) -> None:
    model = small_model(TOKENIZER, **variants)
    ids = torch.tensor([TOKENIZER.encode(TEXT)])
    numbers = attention_numbers(model, ids)
    with torch.no_grad():
        _, _, weights = model(ids, return_weights=True)
    torch.testing.assert_close(numbers["weights"], torch.cat(weights))
    T, D = ids.shape[1], model.config.head_dim
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    scaled = (numbers["scores"] / D**0.5).masked_fill(future, -torch.inf)
    torch.testing.assert_close(scaled.softmax(-1), numbers["weights"])
    assert numbers["values"].shape == (2, 4, T, D)


def test_its_values_are_those_that_the_model_mixes() -> None:
    model = small_model(TOKENIZER, n_kv_heads=2)
    ids = torch.tensor([TOKENIZER.encode(TEXT)])
    merged: list[torch.Tensor] = []
    for block in model.blocks:
        block.attention.out.register_forward_pre_hook(lambda _, inputs: merged.append(inputs[0]))
    with torch.no_grad():
        model(ids)
    numbers = attention_numbers(model, ids)
    mixed = numbers["weights"] @ numbers["values"]  # (L, H, T, D)
    torch.testing.assert_close(mixed.transpose(1, 2).flatten(2), torch.cat(merged[:2]))


def test_the_arrays_for_the_browser_are_those_numbers() -> None:
    widget = explorer()
    numbers = attention_numbers(MODEL, torch.tensor([TOKENIZER.encode(TEXT)]))
    for name, values in numbers.items():
        np.testing.assert_array_equal(unpacked(widget.arrays[name]), values.numpy())
    widget.layer, widget.head = 2, 3
    np.testing.assert_array_equal(widget.numbers("weights"), numbers["weights"][1, 2].numpy())


def test_looking_leaves_the_model_as_it_was() -> None:
    model = small_model(TOKENIZER, dropout=0.5).train()
    widget = AttentionExplorer(model, TOKENIZER, TEXT)
    assert model.training
    assert not any(module._forward_pre_hooks for module in model.modules())
    rows = unpacked(widget.arrays["weights"]).sum(-1)
    np.testing.assert_allclose(rows, 1, atol=1e-5, err_msg="dropout must be off")


def test_the_text_names_layer_head_and_what_is_looked_at() -> None:
    widget = explorer("Tom had a red ball")
    row = widget.numbers("weights")[4]
    best = int(row.argmax())
    start = f'Layer 1, head 1: "ball" looks most at "{widget.tokens[best]}" ({row[best]:.2f})'
    assert widget.describe().startswith(start)
    widget.query = 0
    assert '"Tom" can only look at itself' in widget.describe()
    for step, words in enumerate(STEPS):
        widget.step = step
        assert widget.describe().endswith(f"The map shows {words}.")


def test_a_repeated_token_is_told_apart_by_its_position() -> None:
    widget = explorer()
    widget.query = widget.tokens.index("ball")
    assert '"ball" at 4 ' in widget.describe()


def test_the_state_lives_in_the_widget() -> None:
    one, other = explorer(), explorer()
    one.layer, one.query, one.text = 2, 1, "Mia found it"
    assert (other.layer, other.text, len(other.tokens)) == (1, TEXT, 18)
    assert one.tokens == ["Mia", "found", "it"]
    assert one.query == 2, "a new text starts at its last token"


def test_unknown_words_are_named() -> None:
    widget = explorer("Tom had a zebra")
    assert "zebra" in widget.notice
    assert "Tom" not in widget.notice
    widget.text = "Tom had a ball"
    assert widget.notice == ""


def test_a_text_that_is_too_long_is_cut_and_says_so() -> None:
    widget = explorer(TEXT * 4)
    assert len(widget.tokens) == MOST_TOKENS
    assert f"first {MOST_TOKENS} of 72 tokens" in widget.notice
    short = AttentionExplorer(small_model(TOKENIZER, context_length=5), TOKENIZER, TEXT)
    assert len(short.tokens) == 5
    assert "first 5 of 18 tokens" in short.notice


@pytest.mark.parametrize("bad", ["", "   "])
def test_an_empty_text_from_the_page_keeps_the_picture(bad: str) -> None:
    widget = explorer()
    before = widget.arrays
    widget.text = bad
    assert "type at least one word" in widget.notice
    assert widget.arrays is before
    assert widget.picture()


def test_a_character_without_a_token_is_named() -> None:
    tokenizer = CharTokenizer.train("abc def")
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_heads=2))
    widget = AttentionExplorer(model, tokenizer, "abc")
    widget.text = "abz"
    assert "'z'" in widget.notice


def test_a_token_with_a_dollar_sign_is_drawn_as_it_is() -> None:
    tokenizer = CharTokenizer.train("a$b")
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_heads=2))
    assert AttentionExplorer(model, tokenizer, "$a$b$").picture()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"text": ""}, ValueError, "text is empty"),
        ({"text": "  "}, ValueError, "type at least one word"),
        ({"text": None}, TypeError, "text must be a string"),
        ({"text": 7}, TypeError, "text must be a string"),
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a GPT"),
        ({"model": "stories"}, TypeError, "model must be a GPT"),
        ({"model": None}, TypeError, "model must be a GPT"),
        ({"tokenizer": None}, TypeError, "tokenizer must be the model's"),
        ({"tokenizer": str}, TypeError, "tokenizer must be the model's"),
        ({"tokenizer": WordTokenizer.train(TEXT + " x y z" * 2)}, ValueError, "do not belong"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        AttentionExplorer(**{"model": MODEL, "tokenizer": TOKENIZER, "text": TEXT, **arguments})


@pytest.mark.parametrize(
    ("trait", "value"),
    [("layer", 0), ("layer", 3), ("head", 5), ("query", 18), ("query", -1), ("step", 5)],
)
def test_state_out_of_range_is_refused(trait: str, value: int) -> None:
    widget = explorer()
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=rf"{trait} must lie in .*, but it is {value}"):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


# ---- the storyteller -----------------------------------------------------------------------------


def test_its_story_is_the_one_that_generate_writes() -> None:
    widget = teller(temperature=1.3, seed=5)
    ids = torch.tensor(TOKENIZER.encode("Tom had"))
    stop_id = TOKENIZER.special_tokens["<|endoftext|>"]
    seed = torch.Generator().manual_seed(5)
    written = generate(MODEL, ids, 12, temperature=1.3, stop_id=stop_id, generator=seed)
    expected = [id for id in written.tolist() if id != stop_id]
    assert widget.beginning + widget.story == TOKENIZER.decode(expected)
    assert widget.tokens == [TOKENIZER.token(id) for id in written.tolist()[2:]]
    assert not widget.running


@pytest.mark.parametrize("place", [0, 5, 11])
def test_its_probabilities_are_the_models_for_any_token(place: int) -> None:
    widget = teller(temperature=1.3)
    widget._on_message(widget, {"kind": "look", "place": place}, [])
    ids = torch.tensor([widget._ids[: 2 + place]])
    with torch.no_grad():
        expected = (MODEL(ids)[0][0, -1] / 1.3).softmax(-1)
    torch.testing.assert_close(widget.probabilities(), expected.sort(descending=True).values)
    assert widget.place == place
    assert widget.names[widget.drawn] == widget.tokens[place]
    assert len(widget.names) <= 9


@pytest.mark.parametrize("place", [None, -1, 12, "0", 1.5, True])
def test_a_place_outside_the_story_is_named(place: Any) -> None:
    widget = teller()
    before = widget.place
    widget._on_message(widget, {"kind": "look", "place": place}, [])
    assert widget.notice.startswith("place must")
    assert widget.place == before


def test_it_first_shows_where_temperature_has_most_say() -> None:
    widget = teller()
    entropies = []
    for place in range(len(widget.tokens)):
        logits = widget._next_logits(widget._ids[: 2 + place]).double()
        near = [torch.special.entr((logits / t).softmax(-1)).sum() for t in (0.999, 1.001)]
        entropies.append(float(near[1] - near[0]))
    assert widget.place == int(np.argmax(entropies))


def test_at_temperature_0_the_likeliest_takes_all() -> None:
    widget = teller(temperature=0.0)
    assert widget.probabilities().tolist()[:2] == [1.0, 0.0]
    assert widget.drawn == 0
    assert widget.story == teller(temperature=0.0, seed=9).story


def test_the_page_drives_it_one_token_at_a_time() -> None:
    widget = teller()
    settings = {"prompt": "Mia", "temperature": 0.5, "length": 6, "seed": 3}
    widget._on_message(widget, {"kind": "generate", **settings}, [])
    assert (widget.beginning, len(widget.tokens), widget.running) == ("Mia", 1, True)
    for _ in range(9):
        widget._on_message(widget, {"kind": "more"}, [])
    assert not widget.running
    assert len(widget.tokens) <= 6
    assert widget.beginning + widget.story == teller(**settings).generate()


def test_the_story_stops_where_the_model_ends_it() -> None:
    model = small_model(TOKENIZER, tie_weights=False)
    stop_id = TOKENIZER.special_tokens["<|endoftext|>"]
    with torch.no_grad():  # a model that ends every story at once
        model.head.weight.zero_()
        model.final_norm.weight.zero_()
        model.final_norm.bias.fill_(1)
        model.head.weight[stop_id] = 9
    widget = StoryTeller(model, TOKENIZER, "Tom had")
    assert (widget.story, widget.tokens, widget.running) == ("", ["<|endoftext|>"], False)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " "}, "no token"),
        ({"prompt": None}, "prompt must be a string"),
        ({"temperature": 9}, "temperature must lie in"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"length": 10_000}, "length must lie in"),
        ({"length": 0}, "length must be at least 1"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_bad_settings_are_named_to_the_page_and_in_python(content: dict, words: str) -> None:
    settings = {"prompt": "Tom", "temperature": 1.0, "length": 5, "seed": 0, **content}
    with pytest.raises((TypeError, ValueError), match=words):
        teller(**settings)
    widget = teller()
    widget._on_message(widget, {"kind": "generate", **settings}, [])
    assert re.search(words, widget.notice)
    assert not widget.running


@pytest.mark.parametrize("content", [None, "generate", {}, {"kind": "else"}, {"kind": "more"}])
def test_messages_that_mean_nothing_change_nothing(content: Any) -> None:
    widget = teller()
    before = widget.story
    widget._on_message(widget, content, [])
    assert (widget.story, widget.notice) == (before, "")


def test_unknown_words_in_the_prompt_are_named() -> None:
    assert "zebra" in teller(prompt="Tom had a zebra").notice


def test_a_known_word_like_the_unknown_one_is_suggested() -> None:
    notice = teller(prompt="tom had a gardens").notice
    assert notice.endswith("read as <unk>: tom, gardens. It knows: Tom, garden.")
    assert "It knows" not in teller(prompt="Tom had a zebra").notice


def test_the_masked_part_of_the_picture_is_hatched_and_has_no_colour() -> None:
    figure = Figure()
    with matplotlib.rc_context({"axes.grid": True}):
        explorer().draw(figure)
    heat_map = figure.axes[0]
    assert heat_map.patch.get_hatch()
    assert not any(line.get_visible() for line in heat_map.get_xgridlines())
    shown = heat_map.images[0].get_array()
    assert np.ma.getmaskarray(np.ma.masked_invalid(shown))[0, 1:].all()
