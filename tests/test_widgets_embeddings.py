"""The explorers of chapter 02 as Python objects: state, numbers, saved pictures, bad input."""

import re
from typing import Any

import numpy as np
import pytest
import torch
import traitlets
from matplotlib.figure import Figure
from torch import Tensor

from llm_core.embeddings import analogy, nearest, pca, train_skipgram
from llm_core.embeddings.similarity import unit
from llm_core.widgets.embeddings import (
    MOST_WORDS,
    EmbeddingExplorer,
    TrainingMap,
    plane_of,
)

WORDS = ["king", "queen", "man", "woman", "spade", "$5"]
GROUPS = {"people": ["king", "queen", "man", "woman"], "things": ["spade"]}


def vectors_of(V: int = 6, C: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    lengths = 0.5 + 3 * torch.rand(V, 1, generator=generator)
    return torch.randn(V, C, generator=generator) * lengths


VECTORS = vectors_of()


def explorer(**settings: Any) -> EmbeddingExplorer:
    return EmbeddingExplorer(WORDS, VECTORS, GROUPS, **settings)


def trained_map() -> TrainingMap:
    live = TrainingMap(WORDS, GROUPS)
    for step in range(11):
        live.add(step / 10, VECTORS * (step + 1) / 10)
    return live


def unpacked(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])


# --- The explorer. ---


@pytest.mark.parametrize("make", [explorer, trained_map, lambda: TrainingMap(WORDS)])
def test_a_saved_notebook_gets_view_picture_and_stable_text(make: Any) -> None:
    data, metadata = make()._repr_mimebundle_()
    again, _ = make()._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/plain", "image/png"}
    assert data["image/png"] == again["image/png"], "two runs must save the same picture"
    assert data["text/plain"] == again["text/plain"]
    assert not re.search(r"0x[0-9a-f]{6,}", data["text/plain"])
    assert metadata["image/png"]["alt"]


def test_the_modules_are_one_file_without_imports() -> None:
    for cls in (EmbeddingExplorer, TrainingMap):
        code = str(cls._esm)
        assert code.count("export default") == 1
        assert not re.search(r"^\s*import\b", code, re.MULTILINE)
        assert not re.search(r"https?://", code + str(cls._css)), "nothing comes from the network"


def test_its_rankings_are_the_modules() -> None:
    widget = explorer(inputs=("man", "king", "woman"))
    assert widget.neighbours() == nearest("king", WORDS, VECTORS, 8)
    assert widget.answers() == analogy("man", "king", "woman", WORDS, VECTORS, 8)
    widget.normalise = widget.exclude_inputs = False
    careless = analogy(
        *("man", "king", "woman", WORDS, VECTORS, 8), normalise=False, exclude_inputs=False
    )
    assert widget.answers() == careless


def test_the_browser_gets_the_vectors_and_their_map() -> None:
    widget = explorer()
    np.testing.assert_array_equal(unpacked(widget.arrays["vectors"]), VECTORS.numpy())
    points, _ = pca(unit(VECTORS))
    np.testing.assert_array_equal(unpacked(widget.arrays["points"]), points.numpy())
    rows = unit(VECTORS)
    spread = (rows - rows.mean(dim=0)).square().sum()
    assert widget.share == pytest.approx((points.square().sum() / spread).item())
    assert widget.groups == [0, 0, 0, 0, 1, -1]
    assert widget.legend == ["people", "things"]


def test_in_the_analogys_plane_the_parallelogram_is_true() -> None:
    seen = plane_of(VECTORS, 2, 0, 3)
    rows = unit(VECTORS)
    for i, j in ((2, 0), (2, 3), (0, 3)):  # distances within the plane are the real ones
        torch.testing.assert_close((seen[i] - seen[j]).norm(), (rows[i] - rows[j]).norm())
    torch.testing.assert_close(seen[2], torch.zeros(2), atol=1e-6, rtol=0)
    assert seen[0, 1].abs() < 1e-6
    widget = explorer(inputs=("man", "king", "woman"))
    widget.plane = "analogy"
    np.testing.assert_array_equal(widget.points(), seen.numpy())


def test_the_text_names_both_rankings() -> None:
    widget = explorer(inputs=("man", "king", "woman"))
    (near, cosine), *_ = widget.neighbours()
    (best, score), *_ = widget.answers()
    text = widget.describe()
    assert text.startswith(f"Nearest to king: {near} ({cosine:.2f})".replace("(-", "(−"))
    assert f"king − man + woman: {best} ({score:.2f})".replace("(-", "(−") in text


def test_the_picture_follows_the_state() -> None:
    widget = explorer()
    pictures = [widget.picture()]
    for trait, value in (
        ("plane", "analogy"),
        ("c", "spade"),
        ("word", "$5"),
        ("normalise", False),
    ):
        setattr(widget, trait, value)
        pictures.append(widget.picture())
    assert len(set(pictures)) == len(pictures)


def test_the_picture_has_arrows_names_and_a_legend() -> None:
    figure = Figure()
    explorer().draw(figure)
    left = figure.axes[0]
    assert sum(bool(text.arrow_patch) for text in left.texts if hasattr(text, "arrow_patch")) == 2
    assert {"king", "queen", "man", "woman"} <= {text.get_text() for text in left.texts}
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["people", "things"]


def test_many_words_are_cut_and_said_so() -> None:
    words = [f"w{i}" for i in range(MOST_WORDS + 7)]
    widget = EmbeddingExplorer(words, vectors_of(len(words), 3))
    assert len(widget.words) == MOST_WORDS
    assert widget.notice == "The first 2,000 words are shown, 7 are left out."
    assert (widget.a, widget.b, widget.c) == ("w0", "w1", "w2")


def test_vectors_of_one_number_and_equal_vectors_can_be_drawn() -> None:
    assert EmbeddingExplorer(WORDS, vectors_of(C=1)).picture()
    widget = EmbeddingExplorer(WORDS, torch.ones(6, 3))
    assert widget.share == 1
    assert widget.picture()


def test_the_vectors_stay_as_they_were_and_may_be_parameters() -> None:
    parameter = torch.nn.Parameter(VECTORS.double())
    widget = EmbeddingExplorer(WORDS, parameter)
    with torch.no_grad():
        parameter.zero_()
    assert widget.neighbours()[0][1] > 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"words": "king"}, TypeError, "words must be a list of strings"),
        ({"words": WORDS[:5]}, ValueError, "5 words and 6 vectors"),
        ({"words": WORDS[:3], "vectors": VECTORS[:3]}, ValueError, "at least four"),
        ({"words": ["a"] * 6}, ValueError, "words holds 'a' twice"),
        ({"vectors": VECTORS.tolist()}, TypeError, "vectors must be a torch.Tensor"),
        ({"vectors": VECTORS * torch.nan}, ValueError, "NaN or infinity"),
        ({"groups": ["king"]}, TypeError, "groups must be a dict"),
        ({"groups": {"people": "king"}}, TypeError, r"groups\['people'\] must be a list"),
        ({"groups": {"people": ["kink"]}}, ValueError, "'kink', which is not one of the words"),
        ({"inputs": ("king", "queen")}, TypeError, "inputs must be three words"),
        ({"inputs": "kin"}, TypeError, "inputs must be three words"),
        ({"inputs": ("king", "queen", "x")}, ValueError, "c is 'x'"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        EmbeddingExplorer(**{"words": WORDS, "vectors": VECTORS, "groups": GROUPS, **arguments})


@pytest.mark.parametrize(
    ("trait", "value"), [("word", "x"), ("a", ""), ("b", "King"), ("plane", "side"), ("c", None)]
)
def test_state_out_of_range_is_refused(trait: str, value: Any) -> None:
    widget = explorer()
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=trait):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


# --- The map that moves. ---


def test_every_moment_is_seen_from_the_side_of_the_newest() -> None:
    live = TrainingMap(WORDS)
    first, second = vectors_of(seed=1), vectors_of(seed=2)
    live.add(0.0, first)
    live.add(1.0, second)
    points, directions = pca(second)
    seen = unpacked(live.arrays["moments"])
    np.testing.assert_allclose(seen[1], points, atol=1e-5)
    np.testing.assert_allclose(seen[0], (first - second.mean(dim=0)) @ directions.T, atol=1e-5)


def test_the_map_does_not_turn_between_two_moments() -> None:
    """A turned copy of the same vectors has other main directions, but must lie as before."""
    flat = vectors_of(C=2, seed=3)
    live = TrainingMap(WORDS)
    live.add(0.0, flat)
    before = unpacked(live.arrays["moments"])[0]
    live.add(0.5, flat * torch.tensor([1.0, 1.0001]))
    np.testing.assert_allclose(unpacked(live.arrays["moments"])[1], before, atol=1e-2)


def test_only_grouped_words_are_drawn() -> None:
    live = trained_map()
    assert live.words == ["king", "queen", "man", "woman", "spade"]
    assert unpacked(live.arrays["moments"]).shape == (11, 5, 2)
    assert TrainingMap(WORDS).words == WORDS


def test_moments_are_at_least_two_percent_apart_and_the_last_is_kept() -> None:
    live = TrainingMap(WORDS)
    for step in range(1001):
        live.add(step / 1000, VECTORS)
    assert live.times == list(range(0, 101, 2))
    live.add(0.5, VECTORS)
    assert live.times[-1] == 100, "a training that is over"
    late = TrainingMap(WORDS)
    for done in (0.0, 0.99, 0.999, 1.0):
        late.add(done, VECTORS)
    assert late.times == [0, 99, 100]


def test_it_copies_what_it_is_shown() -> None:
    live, table = TrainingMap(WORDS), VECTORS.clone()
    live.add(0.0, table)
    table.zero_()
    assert unpacked(live.arrays["moments"]).any()


def test_the_slider_goes_back_in_time() -> None:
    live = trained_map()
    assert live.describe() == "5 words after 100 % of the training."
    last = live.picture()
    live.moment = 35
    assert live.describe() == "5 words after 30 % of the training."
    assert live.picture() != last
    with pytest.raises(traitlets.TraitError, match="moment must lie in"):
        live.moment = 101


def test_before_the_training_it_says_so() -> None:
    live = TrainingMap(WORDS)
    assert live.describe() == "No vectors yet: the training has not begun."
    assert live.picture()


def test_it_follows_train_skipgram_and_its_saved_picture_is_the_last(monkeypatch: Any) -> None:
    shown: list[Any] = []

    class Handle:
        def update(self, widget: Any) -> None:
            shown.append(widget.describe())

    def display(widget: Any, display_id: bool) -> Handle:
        shown.append(widget.describe())
        return Handle()

    monkeypatch.setattr("llm_core.widgets.embeddings.display", display)
    live = TrainingMap(WORDS)
    live.show()
    texts = [[0, 1, 2, 3, 4, 5, 0, 2], [1, 3, 5]] * 20
    train_skipgram(texts, 6, 4, threshold=None, on_step=live.add, progress=False)
    assert shown == [
        "No vectors yet: the training has not begun.",
        "6 words after 100 % of the training.",
    ]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((1.5, VECTORS), ValueError, "done must lie in"),
        (("half", VECTORS), TypeError, "done must be a number"),
        ((0.5, VECTORS[:3]), ValueError, "a row for each of 6 words"),
        ((0.5, VECTORS.tolist()), ValueError, "a row for each of 6 words"),
        ((0.5, VECTORS[:, 0]), ValueError, "a row for each of 6 words"),
    ],
)
def test_bad_moments_are_named(arguments: tuple, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        TrainingMap(WORDS).add(*arguments)


@pytest.mark.parametrize(
    ("words", "groups", "error"),
    [
        ("king", None, TypeError),
        ([], None, ValueError),
        (["a", "b", "a"], None, ValueError),
        (WORDS, {"x": ["y"]}, ValueError),
    ],
)
def test_a_map_of_bad_words_is_refused(words: Any, groups: Any, error: type) -> None:
    with pytest.raises(error):
        TrainingMap(words, groups)
