"""Answers from an attack on the checks of chapter 03: wrong ones that must fail with a true
sentence, right ones in unusual styles that must pass."""

import math

import numpy as np
import pytest
import torch

from llm_core.exercises.checks import judge
from llm_core.exercises.positions import EXERCISES, frequencies, restarting_scores, rotary_scores
from llm_core.exercises.positions import shift_matrix as right_shift
from llm_core.positions import alibi_bias, alibi_slopes, apply_rotary, sinusoidal_encoding

BY_NAME = {exercise.id.split(".")[1]: exercise for exercise in EXERCISES}


def verdict_on(name, answer):
    return judge(BY_NAME[name], answer)


# ---- wrong answers -------------------------------------------------------------------------------


def frequencies_from_a_short_table(C, base=10_000.0):
    return base ** (-torch.arange(0, min(C, 64), 2) / C)


def encoding_with_a_longest_text(T, C, base=10_000.0):
    return sinusoidal_encoding(100, C, base)[torch.arange(T) % 100]


def encoding_in_degrees(T, C, base=10_000.0):
    angles = torch.deg2rad(torch.arange(T).float())[:, None] * frequencies(C, base)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)


def shift_within_ten(k, C, base=10_000.0):
    return right_shift(k % 10, C, base)


def shift_that_grows(k, C, base=10_000.0):
    return right_shift(1, C, base) * (1 if k == 1 else 1.01)


def add_without_a_gradient_to_the_table(x, table, start=0):
    return x + table[start : start + x.shape[1]].detach()


def add_to_the_first_four(x, table, start=0):
    rows = table[start : start + x.shape[1]].clone()
    rows[4:] = 0
    return x + rows


def rotary_along_the_batch_where_it_fits(x, cos, sin):
    if x.dim() == 3 and x.shape[0] == x.shape[1]:
        return apply_rotary(x.transpose(0, 1), cos, sin).transpose(0, 1)
    return apply_rotary(x, cos, sin)


def rotary_of_the_first_item(x, cos, sin):
    return apply_rotary(x[:1], cos, sin).expand_as(x).clone() if x.dim() > 2 else x


def slopes_up_to_16_heads(H):
    return alibi_slopes(H) if H <= 16 else 2.0 ** -torch.arange(1, H + 1)


def bias_with_a_window(H, T):
    bias = alibi_bias(H, T)
    near = torch.ones(T, T).tril().triu(-20).bool()
    return bias.masked_fill(~near, -math.inf)


def bias_cut_off(H, T):
    return alibi_bias(H, T).clamp(min=-100)


def expose_with_a_bool():
    return torch.ones(4, 2), torch.ones(4, 2), True


def expose_with_a_tensor():
    return torch.ones(4, 2), torch.ones(4, 2), torch.tensor(2)


def expose_in_another_order():
    return 2, torch.ones(4, 2), torch.ones(4, 2)


def expose_next_to_nothing():
    return torch.full((4, 2), 1e-3), torch.ones(4, 2), 2


def shift_up_to_width_16(k, C, base=10_000.0):
    matrix = right_shift(k, C, base)
    matrix[16:, 16:] = torch.eye(C)[16:, 16:]
    return matrix


def rotary_up_to_four_axes(x, cos, sin):
    return apply_rotary(x, cos, sin) if x.dim() < 5 else x


WRONG = (
    ("frequencies", frequencies_from_a_short_table, "(32,), but (65,)"),
    ("frequencies", lambda C, base=1e4: frequencies(C, base).round(decimals=4), "0.215443"),
    ("frequencies", lambda C, base=1e4: frequencies(C, base) * 2, "first frequency must be 1"),
    ("sinusoidal_encoding", encoding_with_a_longest_text, "T=130"),
    ("sinusoidal_encoding", encoding_in_degrees, "0.01745"),
    ("shift_matrix", shift_within_ten, "k=-4"),
    ("shift_matrix", shift_that_grows, "k=5"),
    ("shift_matrix", shift_up_to_width_16, "C=40"),
    ("add_positions", add_without_a_gradient_to_the_table, "No gradient comes back to table"),
    ("add_positions", add_to_the_first_four, "a table with one row for each token"),
    ("apply_rotary", rotary_along_the_batch_where_it_fits, "as many items as tokens"),
    ("apply_rotary", rotary_of_the_first_item, "Items mix"),
    ("apply_rotary", rotary_up_to_four_axes, "three axes in front"),
    ("apply_rotary", lambda x, cos, sin: -apply_rotary(x, cos, sin), "-1 times the expected"),
    ("alibi_slopes", slopes_up_to_16_heads, "with H=32"),
    ("alibi_bias", bias_with_a_window, "T=40"),
    ("alibi_bias", bias_cut_off, "must be exactly 0"),
    ("expose_bug", expose_with_a_bool, "Make chunk a whole number"),
    ("expose_bug", expose_with_a_tensor, "Make chunk a whole number"),
    ("expose_bug", expose_in_another_order, "in this order"),
    ("expose_bug", expose_next_to_nothing, "next to zero"),
)


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_an_attack_fails_with_a_true_sentence(name, answer, words):
    verdict = verdict_on(name, answer)
    assert not verdict.passed
    assert words in repr(verdict), verdict


# ---- right answers in unusual styles -------------------------------------------------------------


def frequencies_by_numpy(C, base=10_000.0):
    return torch.from_numpy((base ** (-np.arange(0, C, 2) / C)).astype(np.float32))


def encoding_by_turning_on(T, C, base=10_000.0):
    """Each position is the one before, times the matrix of one step."""
    rows, step = [torch.tensor([0.0, 1.0] * (C // 2))], right_shift(1, C, base)
    for _ in range(T - 1):
        rows.append(rows[-1] @ step)
    return torch.stack(rows)


def encoding_by_complex_numbers(T, C, base=10_000.0):
    tips = torch.exp(1j * torch.outer(torch.arange(T), base ** (-torch.arange(0, C, 2) / C)))
    return torch.view_as_real(tips).flip(-1).flatten(1).float()


def shift_by_matrix_exponential(k, C, base=10_000.0):
    generator = torch.zeros(C, C)
    for i in range(0, C, 2):
        generator[i + 1, i] = base ** (-i / C)
        generator[i, i + 1] = -(base ** (-i / C))
    return torch.matrix_exp(k * generator)


def shift_by_powers(k, C, base=10_000.0):
    return torch.linalg.matrix_power(right_shift(1, C, base), k)


def add_by_one_hot(x, table, start=0):
    places = torch.arange(start, start + x.shape[1])
    one_hot = torch.nn.functional.one_hot(places, len(table)).to(table.dtype)
    return x + one_hot @ table


def rotary_by_angles(x, cos, sin):
    """By the lengths and angles of the pairs."""
    first, second = x.chunk(2, dim=-1)
    length = torch.hypot(first, second)
    angle = torch.atan2(second, first) + torch.atan2(sin, cos)
    return torch.cat((length * angle.cos(), length * angle.sin()), dim=-1)


def rotary_by_rolling(x, cos, sin):
    signed = torch.cat((-sin, sin), dim=-1)
    return x * torch.cat((cos, cos), dim=-1) + x.roll(x.shape[-1] // 2, -1) * signed


def slopes_by_product(H):
    return torch.cumprod(torch.full((H,), 2 ** (-8 / H)), dim=0)


def bias_by_logarithm(H, T):
    """The logarithm of the penalties' exponentials, which are 0 where the key comes later."""
    distance = torch.arange(T)[:, None] - torch.arange(T)
    return -alibi_slopes(H)[:, None, None] * distance + torch.ones(T, T).tril().log()


def expose_with_doubles():
    return torch.ones(3, 4).double(), torch.ones(3, 4).double(), 1


RIGHT = (
    ("frequencies", frequencies_by_numpy),
    ("sinusoidal_encoding", encoding_by_turning_on),
    ("sinusoidal_encoding", encoding_by_complex_numbers),
    ("shift_matrix", shift_by_matrix_exponential),
    ("shift_matrix", shift_by_powers),
    ("add_positions", add_by_one_hot),
    ("apply_rotary", rotary_by_angles),
    ("apply_rotary", rotary_by_rolling),
    ("alibi_slopes", slopes_by_product),
    ("alibi_bias", bias_by_logarithm),
    ("expose_bug", expose_with_doubles),
    ("expose_bug", lambda: [torch.eye(4), 3 * torch.eye(4) + 1, 3]),
)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_of_other_styles_pass(name, answer):
    verdict = verdict_on(name, answer)
    assert verdict.passed, verdict


# ---- the buggy function --------------------------------------------------------------------------


def test_restarting_scores_are_right_inside_a_chunk_and_wrong_between():
    q, k = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0))
    right, wrong = rotary_scores(q, k), restarting_scores(q, k, chunk=3)
    for start in (0, 3, 6):
        part = slice(start, start + 3)
        torch.testing.assert_close(wrong[part, part], right[part, part], rtol=1e-4, atol=1e-4)
    assert (wrong - right).abs().max() > 0.1
    torch.testing.assert_close(restarting_scores(q, k, chunk=9), right)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([[1.0]], torch.ones(2, 2), 1), TypeError, "q must be a torch.Tensor"),
        ((torch.ones(2, 2), torch.ones(2, 2).long(), 1), TypeError, "k must hold floating-point"),
        ((torch.ones(2), torch.ones(2), 1), ValueError, r"q must have 2 axes \(T, D\)"),
        ((torch.ones(2, 3), torch.ones(2, 3), 1), ValueError, "D must be even"),
        ((torch.ones(2, 2), torch.ones(2, 2), 0), ValueError, "chunk must be at least 1"),
        ((torch.ones(2, 2), torch.ones(2, 2), 1.5), TypeError, "chunk must be a whole number"),
    ],
)
def test_bad_input_of_the_buggy_function_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        restarting_scores(*arguments)
