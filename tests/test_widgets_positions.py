"""The position explorer as a Python object: numbers, words, picture, bad input. No browser."""

import base64
import itertools
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
import traitlets

from llm_core.positions import LearnedPositions, alibi_slopes, apply_rotary, rotary_angles
from llm_core.widgets.positions import BASES, HEADS, KINDS, LONGEST, PositionExplorer

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def a_table(N: int = 20, C: int = 6) -> torch.Tensor:
    return torch.randn(N, C, generator=torch.Generator().manual_seed(0))


def explorer(**state: Any) -> PositionExplorer:
    """Return an explorer with a table of 20 rows, 12 of them trained, in this state."""
    widget = PositionExplorer(learned=a_table(), trained=12)
    for name, value in state.items():
        setattr(widget, name, value)
    return widget


# ---- the numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("d_model", "base", "position"), [(8, 100, 5), (2, 10, 0), (64, 3_000, 63)]
)
def test_sinusoidal_rows_follow_the_formula(d_model: int, base: int, position: int) -> None:
    widget = explorer(d_model=d_model, base=base, position=position)
    rows, hands = widget.rows(), widget.hands()
    assert rows.shape == (d_model, 64)
    for t, i in itertools.product((0, 1, 40), range(d_model // 2)):
        angle = t / base ** (2 * i / d_model)
        assert rows[2 * i, t] == pytest.approx(math.sin(angle), abs=1e-5)
        assert rows[2 * i + 1, t] == pytest.approx(math.cos(angle), abs=1e-5)
    np.testing.assert_array_equal(hands, rows[:, position].reshape(-1, 2))


def test_sinusoidal_and_rotary_are_alike_at_the_same_distance() -> None:
    widget = explorer(d_model=12, base=300, position=20)
    sinusoidal = widget.similarity()
    widget.kind = "rotary"
    np.testing.assert_allclose(widget.similarity(), sinusoidal, atol=1e-5)
    assert sinusoidal.shape == (1, 64)
    assert sinusoidal[0, 20] == pytest.approx(1)
    np.testing.assert_allclose(sinusoidal[0, 10:20], sinusoidal[0, 30:20:-1], atol=1e-5)


def test_rotary_similarity_is_the_score_of_equal_pairs() -> None:
    widget = explorer(kind="rotary", d_model=8, base=30, position=11, length=40)
    x = torch.full((40, 8), 0.5)  # each pair has length √½, all four together √2
    turned = apply_rotary(x, *rotary_angles(40, 8, 30.0))
    scores = turned @ turned[11] / 2
    np.testing.assert_allclose(widget.similarity()[0], scores.numpy(), atol=1e-5)
    np.testing.assert_allclose(widget.rows()[3], np.cos(np.arange(40) * 30 ** (-6 / 8)), atol=1e-5)
    assert widget.hands()[0] == pytest.approx((math.sin(11), math.cos(11)), abs=1e-5)


def test_learned_shows_the_table_and_nothing_beyond_it() -> None:
    widget = explorer(kind="learned", position=7, length=32)
    rows, table = widget.rows(), a_table().numpy()
    np.testing.assert_array_equal(rows[:, :20], table.T)
    assert np.isnan(rows[:, 20:]).all()
    expected = torch.cosine_similarity(a_table(), a_table()[7], dim=1).numpy()
    np.testing.assert_allclose(widget.similarity()[0, :20], expected, atol=1e-5)
    assert np.isnan(widget.similarity()[0, 20:]).all()
    lengths = np.linalg.norm(table.reshape(20, 3, 2), axis=2)
    shares = lengths[7] / lengths.max()
    np.testing.assert_allclose(np.linalg.norm(widget.hands(), axis=1), shares, rtol=1e-5)
    widget.position = 25
    assert np.isnan(widget.hands()).all()
    assert "The table has no row for position 25." in widget.describe()


def test_a_row_of_zeros_is_like_no_other() -> None:
    table = a_table()
    table[3] = 0
    widget = PositionExplorer(table)
    widget.kind, widget.position = "learned", 3
    assert (widget.similarity()[0, :20] == 0).all()
    assert "1 before 0.00" in widget.describe()


@pytest.mark.parametrize("n_heads", HEADS)
def test_alibi_shows_the_bias_of_the_chosen_query(n_heads: int) -> None:
    widget = explorer(kind="alibi", n_heads=n_heads, position=9, length=16, first=1, second=63)
    rows, slopes = widget.rows(), alibi_slopes(n_heads).numpy()
    np.testing.assert_allclose(rows[:, :10], -slopes[:, None] * (9 - np.arange(10)), rtol=1e-6)
    assert np.isnan(rows[:, 10:]).all()
    assert widget.chosen() == (1, n_heads - 1)
    weights = widget.similarity()
    assert weights.shape == (2, 16)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights[:, 10:] == 0).all()
    ratio = weights[0, 9] / weights[0, 8]
    assert ratio == pytest.approx(math.exp(slopes[1]), rel=1e-5)
    assert widget.hands().shape == (0, 2)


# ---- words and picture ---------------------------------------------------------------------------


def test_the_text_names_kind_sizes_position_and_likeness() -> None:
    widget = explorer(position=20)
    near = widget.similarity()[0, 19]
    assert widget.describe() == (
        "Sinusoidal, width 32, base 10,000: position 20 of 64. Similarity with the position "
        f"1 before {near:.2f}, 4 before 0.73, 16 before 0.50. Curves: dimensions 0 and 6."
    )
    widget.position = 0
    assert "It is the first position." in widget.describe()
    widget.position = 3
    assert re.search(r"1 before \S+\. Curves", widget.describe()), "only what there is"
    widget.kind = "learned"
    assert widget.describe().startswith("Learned, width 6, 12 of 20 rows trained: position 3 of 64")
    widget.kind, widget.n_heads = "alibi", 16
    assert "in head 1 (slope 2^-0.5) and" in widget.describe()
    assert widget.describe().endswith("Curves: heads 1 and 7.")


def test_negative_likeness_is_written_as_the_page_writes_it() -> None:
    table = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1e-4, 1.0]])
    widget = PositionExplorer(table)
    widget.kind, widget.position = "learned", 1
    assert "1 before −1.00" in widget.describe()
    widget.position = 2
    assert "1 before 0.00" in widget.describe()
    table = torch.tensor([[1.0, 0.0], [-1e-4, 1.0]])
    widget = PositionExplorer(table)
    widget.kind, widget.position = "learned", 1
    assert "1 before 0.00" in widget.describe(), "no minus in front of zero"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_notebook_gets_view_picture_and_stable_text(kind: str) -> None:
    first, second = explorer(kind=kind), explorer(kind=kind)
    data, metadata = first._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(PNG_SIGNATURE)
    assert data["image/png"] == second._repr_mimebundle_()[0]["image/png"]
    assert data["text/plain"] == f"PositionExplorer: {first.describe()}"
    assert metadata["image/png"]["alt"] == first.describe()


@pytest.mark.parametrize(
    "state",
    [
        {"d_model": 2, "length": 8, "position": 0},
        {"d_model": 64, "length": LONGEST, "position": LONGEST - 1, "first": 63},
        {"kind": "learned", "length": 8},
        {"kind": "learned", "length": LONGEST, "position": 100},
        {"kind": "alibi", "n_heads": 2, "position": 0},
        {"kind": "rotary", "d_model": 2, "base": BASES[0]},
    ],
    ids=str,
)
def test_the_ends_of_every_range_can_be_drawn(state: dict[str, Any]) -> None:
    widget = explorer(**state)
    assert widget.picture().startswith(PNG_SIGNATURE)
    assert "nan" not in widget.describe()


def test_every_control_changes_the_picture() -> None:
    widget = explorer()
    picture, words = widget.picture(), widget.describe()
    for name, value in {
        "position": 30,
        "base": 100,
        "d_model": 16,
        "length": 40,
        "first": 3,
        "second": 9,
        "kind": "rotary",
    }.items():
        before = picture, words
        setattr(widget, name, value)
        picture, words = widget.picture(), widget.describe()
        assert picture != before[0], name
        assert words != before[1], name


def test_the_module_is_one_file_without_imports() -> None:
    code = str(PositionExplorer._esm)
    assert code.count("export default") == 1
    assert not re.search(r"^\s*import\b", code, re.MULTILINE)
    assert not re.search(r"https?://", code + str(PositionExplorer._css))


def test_its_lists_are_those_of_the_page() -> None:
    code = str(PositionExplorer._esm)
    assert f"const BASES = [{', '.join(map(str, BASES))}];" in code
    assert f"values: [{', '.join(map(str, HEADS))}]" in code


# ---- state and bad input -------------------------------------------------------------------------


def test_without_a_table_there_are_three_kinds() -> None:
    widget = PositionExplorer()
    assert widget.kinds == ["sinusoidal", "rotary", "alibi"]
    with pytest.raises(traitlets.TraitError, match=r"pass learned=\.\.\. to show it"):
        widget.kind = "learned"
    assert widget.picture()


def test_a_module_is_taken_for_its_table() -> None:
    module = LearnedPositions(10, 4, torch.Generator().manual_seed(0))
    widget = PositionExplorer(module)
    widget.kind, widget.length = "learned", 10
    np.testing.assert_allclose(widget.rows().T, module.weight.detach().numpy())
    assert widget.trained == 10


@pytest.mark.parametrize("make", [PositionExplorer, explorer])
def test_a_shorter_text_keeps_a_position_in_it(make: Any) -> None:
    widget = make()
    widget.position, widget.length = 50, 20
    assert widget.position == 19
    widget.length = 100
    assert widget.position == 19


def test_the_state_lives_in_the_widget() -> None:
    one, other = explorer(), explorer()
    one.kind, one.position, one.base = "rotary", 3, 30
    assert (other.kind, other.position, other.base) == ("sinusoidal", 24, 10_000)


@pytest.mark.parametrize(
    ("trait", "value", "words"),
    [
        ("kind", "rope", "kind must be one of"),
        ("base", 5, "base must be one of"),
        ("n_heads", 3, "n_heads must be one of"),
        ("d_model", 7, "d_model must be one of 2 to 64 in steps of 2, not 7"),
        ("d_model", 66, "d_model must be one of"),
        ("length", 7, "length must be one of 8 to 128, not 7"),
        ("length", 129, "length must be one of"),
        ("position", 64, r"position must lie in \[0, 63\], but it is 64"),
        ("position", -1, "position must lie in"),
        ("first", 64, "first must lie in"),
        ("second", -1, "second must lie in"),
    ],
)
def test_state_out_of_range_is_refused(trait: str, value: Any, words: str) -> None:
    widget = explorer()
    before = getattr(widget, trait)
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(widget, trait, value)
    assert getattr(widget, trait) == before


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"learned": [[1.0, 2.0]]}, TypeError, "learned must be a torch.Tensor, not list"),
        ({"learned": torch.ones(3, 4).long()}, TypeError, "learned must hold floating-point"),
        ({"learned": torch.ones(4)}, ValueError, "learned must have 2 axes"),
        ({"learned": torch.ones(4, 3)}, ValueError, "an even width C from 2 to 64"),
        ({"learned": torch.ones(4, 66)}, ValueError, "an even width C from 2 to 64"),
        ({"learned": torch.ones(0, 4)}, ValueError, "at least one row"),
        ({"learned": torch.full((2, 4), math.nan)}, ValueError, "finite numbers"),
        ({"learned": torch.ones(4, 4), "trained": 5}, ValueError, "trained must be at most 4"),
        ({"learned": torch.ones(4, 4), "trained": -1}, ValueError, "trained must be at least 0"),
        ({"learned": torch.ones(4, 4), "trained": 1.5}, TypeError, "trained must be a whole"),
        ({"trained": 3}, ValueError, "trained must be None without a learned table"),
    ],
    ids=str,
)
def test_bad_arguments_are_named(arguments: dict, error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        PositionExplorer(**arguments)
