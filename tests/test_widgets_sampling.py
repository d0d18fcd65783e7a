"""The explorers of chapter 08 as Python objects: state, numbers, saved pictures, bad input."""

import base64
import re
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from small import small_model

from llm_core.config import GPTConfig
from llm_core.model import GPT
from llm_core.sampling import (
    beam_search,
    beam_steps,
    entropy,
    min_p_filter,
    next_logits,
    top_k_filter,
    top_p_filter,
)
from llm_core.tokens import CharTokenizer, WordTokenizer
from llm_core.widgets.sampling import (
    CANDIDATES,
    HIGHEST_ALPHA,
    MOST_BEAMS,
    BeamExplorer,
    NextTokenExplorer,
)

TEXT = "Tom had a red ball. He lost the ball in the garden. Mia found it there!"
TOKENIZER = WordTokenizer.train(TEXT, special_tokens=["<|endoftext|>"])
MODEL = small_model(TOKENIZER, context_length=32)


def tokens(**settings: Any) -> NextTokenExplorer:
    return NextTokenExplorer(MODEL, TOKENIZER, **{"prompt": "Tom had", **settings})


def beams(**settings: Any) -> BeamExplorer:
    return BeamExplorer(MODEL, TOKENIZER, **{"prompt": "Tom had", **settings})


def tell(widget: NextTokenExplorer, **content: Any) -> None:
    widget._on_message(widget, content, [])


# ---- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [tokens, beams])
def test_a_saved_notebook_gets_view_picture_and_stable_text(make: Any) -> None:
    data, metadata = make()._repr_mimebundle_()
    again, _ = make()._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG\r\n\x1a\n")
    assert data["image/png"] == again["image/png"]
    assert data["text/plain"] == again["text/plain"]
    assert not re.search(r"0x[0-9a-f]{6,}", data["text/plain"])
    assert metadata["image/png"]["alt"] in data["text/plain"]


@pytest.mark.parametrize("cls", [NextTokenExplorer, BeamExplorer])
def test_the_module_is_one_file_without_imports(cls: Any) -> None:
    code = str(cls._esm)
    assert code.count("export default") == 1
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert not re.search(r"https?://", code + str(cls._css))


@pytest.mark.parametrize("make", [tokens, beams])
def test_looking_leaves_the_model_as_it_was(make: Any) -> None:
    MODEL.train()
    try:
        make()
        assert MODEL.training
    finally:
        MODEL.eval()


@pytest.mark.parametrize("cls", [NextTokenExplorer, BeamExplorer])
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"prompt": ""}, ValueError, "prompt is empty"),
        ({"prompt": "  "}, ValueError, "type at least one word"),
        ({"prompt": 7}, TypeError, "prompt must be a string"),
        ({"model": None}, TypeError, "model must be a GPT"),
        ({"tokenizer": str}, TypeError, "tokenizer must be the model's"),
    ],
)
def test_bad_arguments_are_named(cls: Any, arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        cls(**{"model": MODEL, "tokenizer": TOKENIZER, "prompt": "Tom", **arguments})


@pytest.mark.parametrize("make", [tokens, beams])
def test_a_bad_text_from_the_page_keeps_the_picture_and_says_why(make: Any) -> None:
    widget = make()
    before = widget.describe()
    widget.prompt = "  "
    assert "type at least one word" in widget.notice
    assert widget.describe() == before
    assert widget.picture()
    widget.prompt = "Mia found"
    assert widget.notice == ""
    widget.prompt = "Mia found a zebra"
    assert "zebra" in widget.notice


@pytest.mark.parametrize("cls", [NextTokenExplorer, BeamExplorer])
def test_tokens_with_a_dollar_sign_are_drawn_as_they_are(cls: Any) -> None:
    tokenizer = CharTokenizer.train("a$b")
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_heads=2))
    assert cls(model, tokenizer, "$a$").picture()


# ---- the next token ------------------------------------------------------------------------------


def test_its_logits_are_the_models_sorted() -> None:
    widget = tokens()
    logits = next_logits(MODEL, torch.tensor([TOKENIZER.encode("Tom had")]))[0]
    ordered, order = logits.sort(descending=True)
    torch.testing.assert_close(widget.logits(), ordered)
    assert widget.names == [TOKENIZER.token(int(id)) for id in order[:CANDIDATES]]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.4},
        {"temperature": 2.5, "top_k": 5},
        {"top_p": 0.6},
        {"temperature": 1.8, "min_p": 0.3},
        {"temperature": 1.5, "top_k": 9, "top_p": 0.8, "min_p": 0.1},
    ],
)
def test_its_probabilities_are_those_of_the_filters_in_order(settings: dict) -> None:
    widget = tokens(**settings)
    logits = widget.logits() / settings.get("temperature", 1.0)
    logits = top_k_filter(logits, settings.get("top_k", 99))
    logits = top_p_filter(logits, settings.get("top_p", 1.0))
    logits = min_p_filter(logits, settings.get("min_p", 0.0))
    torch.testing.assert_close(widget.probabilities(), logits.softmax(-1))
    left = int(logits.isfinite().sum())
    assert f": {left} of {TOKENIZER.vocab_size} tokens left" in widget.describe()
    assert f"entropy {entropy(logits):.2f} nats" in widget.describe()
    assert widget.describe().count("(") == min(3, left)


def test_choosing_goes_on_and_undo_goes_back() -> None:
    widget = tokens()
    first, start = widget.names[2], widget.describe()
    widget.choose(2)
    assert (widget.path, widget.last) == ([first], first)
    ids = torch.tensor([[*TOKENIZER.encode("Tom had"), TOKENIZER.encode(first)[0]]])
    expected = next_logits(MODEL, ids)[0]
    torch.testing.assert_close(widget.logits(), expected.sort(descending=True).values)
    second = widget.names[0]
    widget.choose(0)
    assert widget.path == [first, second]
    for _ in range(4):
        widget.undo()
    assert widget.path == []
    assert widget.describe() == start


def test_the_surprise_is_that_of_the_path_by_the_model_itself() -> None:
    widget = tokens(temperature=2.0, top_k=1)
    total = 0.0
    for place in (3, 0, 1):
        total -= float(widget.logits().log_softmax(-1)[place])
        widget.choose(place)
    assert widget.surprise == pytest.approx(total, abs=1e-5)
    assert f"Path: 3 tokens, surprise {total:.2f} nats" in widget.describe()


def test_draws_follow_the_settings_and_the_seed() -> None:
    one, same, other = tokens(seed=1), tokens(seed=1), tokens(seed=2)
    for widget in (one, same, other):
        for _ in range(8):
            widget.draw_one()
    assert one.path == same.path != other.path
    sure = tokens(top_k=1, temperature=3.0)
    for _ in range(4):
        likeliest = sure.names[0]
        sure.draw_one()
        assert sure.path[-1] == likeliest


def test_a_drawn_token_need_not_be_among_the_bars() -> None:
    widget = tokens(temperature=3.0, seed=5)
    seen = set()
    for _ in range(60):
        names = widget.names
        widget.draw_one()
        seen.add(widget.path[-1] in names)
    assert seen == {True, False}


def test_the_window_slides_under_a_long_path() -> None:
    widget = tokens()
    for _ in range(40):
        widget.choose(1)
    assert len(widget.path) == 40
    assert widget.picture()


def test_the_page_drives_it_by_messages() -> None:
    widget = tokens()
    name = widget.names[1]
    tell(widget, kind="choose", place=1)
    assert widget.path == [name]
    tell(widget, kind="draw", temperature=0.3, top_k=1, top_p=0.9, min_p=0.0)
    assert (widget.temperature, widget.top_k, len(widget.path)) == (0.3, 1, 2)
    tell(widget, kind="undo")
    tell(widget, kind="undo")
    tell(widget, kind="undo")
    assert (widget.path, widget.notice) == ([], "")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "choose", "place": 12}, "place must lie in"),
        ({"kind": "choose", "place": -1}, "place must lie in"),
        ({"kind": "choose", "place": "0"}, "place must be a whole number"),
        ({"kind": "choose"}, "place must be a whole number"),
        ({"kind": "draw"}, "temperature must be a number"),
        (
            {"kind": "draw", "temperature": 9, "top_k": 0, "top_p": 1.0, "min_p": 0},
            "temperature must lie in",
        ),
        (
            {"kind": "draw", "temperature": 1, "top_k": 1.5, "top_p": 1.0, "min_p": 0},
            "top_k must be a whole number",
        ),
    ],
)
def test_a_bad_message_changes_nothing_and_says_why(content: dict, words: str) -> None:
    widget = tokens()
    before = widget.describe()
    tell(widget, **content)
    assert re.search(words, widget.notice)
    assert widget.describe() == before


@pytest.mark.parametrize("content", [None, "choose", {}, {"kind": "else"}])
def test_messages_that_mean_nothing_change_nothing(content: Any) -> None:
    widget = tokens()
    before = widget.describe()
    widget._on_message(widget, content, [])
    assert (widget.describe(), widget.notice) == (before, "")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0}, "temperature must lie in"),
        ({"temperature": "hot"}, "temperature must be a number"),
        ({"top_k": 21}, "top_k must lie in"),
        ({"top_k": 2.5}, "top_k must be a whole number"),
        ({"top_p": 0}, "top_p must lie in"),
        ({"min_p": 0.6}, "min_p must lie in"),
    ],
)
def test_bad_settings_are_named(settings: dict, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        tokens(**settings)


# ---- the beams -----------------------------------------------------------------------------------


def ends() -> list[int]:
    return [TOKENIZER.encode(mark)[0] for mark in (".", "!", "<|endoftext|>")]


@pytest.mark.parametrize("n_beams", [1, 2, 5])
def test_its_tree_is_that_of_the_search(n_beams: int) -> None:
    widget = beams(n_beams=n_beams, length=7)
    ids = torch.tensor(TOKENIZER.encode("Tom had"))
    steps = list(beam_steps(MODEL, ids, 7, n_beams=n_beams, stop_id=ends()))
    assert 1 <= widget.n_steps <= len(steps)
    for number, step in enumerate(steps[: widget.n_steps], start=1):
        here = [node for node in widget.nodes if node["step"] == number]
        for fate in ("live", "finished", "pruned"):
            found = [node["log_prob"] for node in here if node["fate"] == fate]
            assert found == [beam.log_prob for beam in getattr(step, fate)]
        values = [node["log_prob"] for node in here]
        assert values == sorted(values, reverse=True)


def test_every_node_hangs_on_a_live_one_and_spells_its_text() -> None:
    widget = beams(n_beams=4, length=6)
    for i, node in enumerate(widget.nodes[1:], start=1):
        parent = widget.nodes[node["parent"]]
        assert parent["step"] == node["step"] - 1
        assert parent["fate"] == "live"
        assert node["log_prob"] <= parent["log_prob"] + 1e-9
        words = [widget.nodes[j]["token"] for j in widget._line_of(i)[-2::-1]]
        assert node["text"].replace(" ", "") == "".join(words)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0, 2.0])
def test_its_ranking_at_the_end_is_beam_search(alpha: float) -> None:
    widget = beams(n_beams=3, alpha=alpha, length=9)
    widget.step = widget.n_steps
    ids = torch.tensor(TOKENIZER.encode("Tom had"))
    found = beam_search(MODEL, ids, 9, n_beams=3, length_penalty=alpha, stop_id=ends())
    best = widget.ranking()[0]
    assert best[0] == pytest.approx(found[0].score(alpha))
    assert widget.nodes[best[1]]["log_prob"] == pytest.approx(found[0].log_prob)


def test_it_stops_when_nothing_can_change_any_more() -> None:
    tokenizer = WordTokenizer.train("a b .")
    model = GPT(GPTConfig(vocab_size=tokenizer.vocab_size, d_model=16, n_heads=2, n_layers=1))
    with torch.no_grad():  # ends at once, nearly certainly
        model.final_norm.weight.zero_()
        model.final_norm.bias.copy_(2000 * model.token_embedding.weight[tokenizer.encode(".")[0]])
        model.token_embedding.weight.mul_(30)
    widget = BeamExplorer(model, tokenizer, "a", n_beams=1, length=12)
    assert widget.n_steps == 1
    assert widget.ranking()[0][0] == pytest.approx(0.0, abs=0.01)


def test_describe_follows_step_and_alpha() -> None:
    widget = beams(n_beams=2)
    widget.step = 0
    assert widget.describe().startswith(f"Step 0 of {widget.n_steps}: the search begins")
    widget.step = 1
    score, best = widget.ranking()[0]
    node = widget.nodes[best]
    assert f'Best so far: "{node["text"]}"' in widget.describe()
    assert f"{-score:.2f}" in widget.describe()
    assert "1 token," in widget.describe()
    before = widget.describe()
    widget.step, widget.alpha = 3, 0.3
    assert widget.describe() != before
    assert "α = 0.3" in widget.describe()
    assert "-" not in widget.describe(), "a number needs a true minus sign"


def test_a_new_text_or_width_searches_anew_and_keeps_the_step_where_it_can() -> None:
    widget = beams(n_beams=2, length=6)
    widget.step, widget.picked = 4, 9
    before = widget.nodes
    widget.n_beams = 4
    assert widget.nodes != before
    assert (widget.step, widget.picked) == (min(4, widget.n_steps), 0)
    widget.prompt = "Mia found"
    assert widget.nodes[0]["token"] == "found"
    assert widget.beginning == "Mia found"


@pytest.mark.parametrize(
    ("trait", "value"),
    [
        ("n_beams", 0),
        ("n_beams", MOST_BEAMS + 1),
        ("alpha", -0.1),
        ("alpha", HIGHEST_ALPHA + 0.1),
        ("step", -1),
        ("step", 99),
        ("picked", -1),
        ("picked", 9999),
    ],
)
def test_state_out_of_range_is_refused(trait: str, value: float) -> None:
    widget = beams()
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=f"{trait} must lie in"):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_beams": 6}, "n_beams must lie in"),
        ({"n_beams": 2.5}, "n_beams must be a whole number"),
        ({"alpha": 3}, "alpha must lie in"),
        ({"alpha": None}, "alpha must be a number"),
        ({"length": 0}, "length must be at least 1"),
        ({"length": 17}, "length must lie in"),
    ],
)
def test_bad_beam_settings_are_named(settings: dict, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        beams(**settings)


def test_every_step_can_be_drawn() -> None:
    widget = beams(n_beams=5, length=10)
    pictures = []
    for step in range(widget.n_steps + 1):
        widget.step = step
        pictures.append(widget.picture())
    assert len(set(pictures)) == widget.n_steps + 1


def test_the_course_model_shows_what_the_chapter_says() -> None:
    widget = BeamExplorer()
    widget.step = widget.n_steps
    by_alpha = {}
    for alpha in (0.0, 2.0):
        widget.alpha = alpha
        by_alpha[alpha] = widget.nodes[widget.ranking()[0][1]]["text"]
    assert len(by_alpha[0.0].split()) < len(by_alpha[2.0].split())
    np.testing.assert_allclose(widget.score(0), 0.0)
