"""Answers from an attack on the checks of chapter 06: wrong ones that must fail with a true
sentence, right ones in unusual styles that must pass."""

import math
import re
from functools import reduce

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from llm_core.config import GPTConfig
from llm_core.costs import flops_per_token
from llm_core.exercises.checks import judge
from llm_core.exercises.model import (
    EXERCISES,
    flop_count,
    forward_stack,
    init_std,
    largest_batch,
    leaks_future,
    parameter_count,
    quick_leak_test,
    tied_gradient,
)
from llm_core.model import GPT, count_parameters

BY_NAME = {exercise.id.split(".")[1]: exercise for exercise in EXERCISES}


def verdict_on(name, answer):
    return judge(BY_NAME[name], answer)


def one_hot(ids):
    return F.one_hot(ids, 5).float()


# ---- wrong answers -------------------------------------------------------------------------------


def stack_with_positions_from_a_short_table(ids, token_table, position_table, blocks, final_norm):
    places = torch.arange(ids.shape[1]) % 4
    return forward_stack(ids, token_table, position_table[places], blocks, final_norm)


def stack_with_a_cut_head(ids, token_table, position_table, blocks, final_norm):
    x = reduce(lambda x, block: block(x), blocks, token_table[ids] + position_table[: ids.shape[1]])
    return final_norm(x) @ token_table.T.detach()


def stack_that_uses_up_its_blocks(ids, token_table, position_table, blocks, final_norm):
    x = token_table[ids] + position_table[: ids.shape[1]]
    while blocks:
        x = blocks.pop(0)(x)
    return final_norm(x) @ token_table.T


def std_by_bias_alone(name, shape, n_layers):
    return 0.0 if name.endswith("bias") else init_std(name, (*shape, 1), n_layers)


def std_with_small_values(name, shape, n_layers):
    return init_std(name.replace("value", "out"), shape, n_layers)


def std_with_a_small_gate(name, shape, n_layers):
    return init_std(name.replace("gate", "down"), shape, n_layers)


def gradient_cut_to_three(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits).clamp(-3, 3)


def gradient_of_rows_that_occur(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits)[: int(ids.max()) + 1]


def leaks_where(edit, moved, limit=1e-4):
    """Return a leak test with another change of the text, or another measure of the move."""

    def answer(model, ids, vocab_size):
        before = model(ids)
        for t in range(1, ids.shape[1]):
            for other in range(vocab_size):
                changed = ids.clone()
                edit(changed, t, other)
                if moved((model(changed) - before)[:, :t]).item() > limit:
                    return True
        return False

    return answer


def put(changed, t, other):
    changed[:, t] = other


def put_in_the_last_text(changed, t, other):
    changed[-1, t] = other


def put_all_but_zero(changed, t, other):
    changed[:, t] = other or changed[:, t]


def largest_move(difference):
    return difference.abs().max()


def leaks_by_one_random_text(model, ids, vocab_size):
    other = torch.randint(0, vocab_size, ids.shape, generator=torch.Generator().manual_seed(0))
    moved = [
        (model(torch.cat((ids[:, :t], other[:, t:]), dim=1)) - model(ids))[:, :t].abs().max()
        for t in range(1, ids.shape[1])
    ]
    return any(m.item() > 1e-4 for m in moved)


def count_in_floats(*args):
    return int(torch.tensor(parameter_count(*args), dtype=torch.float32))


def flops_in_floats(*args):
    return tuple(int(torch.tensor(n, dtype=torch.float32)) for n in flop_count(*args))


def batch_up_to_512(*args):
    return min(512, largest_batch(*args))


def batch_with_a_little_slack(memory, n_parameters, activations, context, width):
    free = memory - 4 * n_parameters * width
    return max(0, int(free / (activations * context * width) + 1e-9))


def expose_with(model):
    return lambda: model


def leak_in_two_texts(ids):
    logits = one_hot(ids)
    logits[:2] += one_hot(ids)[:2, 1:2]
    return logits


def leak_up_to_twenty(ids):
    return one_hot(ids) + one_hot(ids)[:, 1:2] * (ids.shape[1] <= 20)


def infinite_from_nine(ids):
    return (one_hot(ids) + one_hot(ids)[:, 1:2]) * (1 if ids.shape[1] < 9 else math.inf)


WRONG = (
    ("forward_stack", stack_with_positions_from_a_short_table, "With the tables, blocks and norm"),
    ("forward_stack", stack_with_a_cut_head, "one of its paths is cut off"),
    ("forward_stack", stack_that_uses_up_its_blocks, "changed its input blocks"),
    ("forward_stack", lambda *args: forward_stack(*args).float(), "float64 was expected"),
    ("init_std", std_by_bias_alone, "where 0 was expected"),
    ("init_std", std_with_small_values, "where 0.02 was expected"),
    ("init_std", std_with_a_small_gate, "where 0.02 was expected"),
    ("init_std", lambda *args: round(init_std(*args), 5), "for 3 layers yours spread by"),
    ("tied_gradient", gradient_cut_to_three, "is 3 where 10.5 was expected"),
    ("tied_gradient", gradient_of_rows_that_occur, "2 in place of 3 (V)"),
    ("tied_gradient", lambda *args: -tied_gradient(*args), "torch's backward() gives its table"),
    ("leaks_future", leaks_where(put, lambda d: d.square().mean(), 1e-8), "leaks 0.0002"),
    ("leaks_future", leaks_where(put, lambda d: d[..., 0].abs().max()), "0.0002"),
    ("leaks_future", leaks_where(put, lambda d: d.abs().amax((1, 2)).min()), "first text"),
    ("leaks_future", leaks_where(put, largest_move, 1e-3), "0.0002"),
    ("leaks_future", leaks_where(put, largest_move, 2e-5), "tolerance is below 1e-4"),
    ("leaks_future", leaks_where(put_in_the_last_text, largest_move), "last text"),
    ("leaks_future", leaks_where(put_all_but_zero, largest_move), "never put the id 0 in"),
    ("leaks_future", leaks_by_one_random_text, "your test did not notice"),
    ("parameter_count", count_in_floats, "1557611200 was expected"),
    ("flop_count", flops_in_floats, "was expected"),
    ("largest_batch", batch_up_to_512, "where 124980 was expected"),
    ("largest_batch", batch_with_a_little_slack, "is 3 where 2 was expected"),
    ("expose_bug", expose_with(leak_in_two_texts), "in one and not in another"),
    ("expose_bug", expose_with(leak_up_to_twenty), "at every length from six on"),
    ("expose_bug", expose_with(infinite_from_nine), "finite numbers"),
)


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_an_attack_fails_with_a_true_sentence(name, answer, words):
    verdict = verdict_on(name, answer)
    assert not verdict.passed
    assert words in repr(verdict), verdict


# ---- right answers in other styles ---------------------------------------------------------------


def stack_text_by_text(ids, token_table, position_table, blocks, final_norm):
    texts = []
    for row in ids:
        x = (token_table[row] + position_table[: len(row)])[None]  # (1, T, C)
        for block in blocks:
            x = block(x)
        texts.append(final_norm(x) @ token_table.t())
    return torch.cat(texts)


def stack_by_broadcasting(ids, token_table, position_table, blocks, final_norm):
    x = F.embedding(ids, token_table)
    x += position_table[: ids.shape[1]]
    for layer in [*blocks, final_norm]:
        x = layer(x)
    return (x[:, :, None, :] * token_table).sum(dim=-1)


def std_by_pattern(name, shape, n_layers):
    residual = re.search(r"(attention\.out|feed_forward\.down)\.weight$", name)
    return (0.02 / math.sqrt(n_layers * 2) if residual else 0.02) if shape[1:] else 0


def gradient_row_by_row(ids, grad_vectors, outputs, grad_logits):
    return torch.stack(
        [
            (grad_logits[..., v, None] * outputs).sum((0, 1)) + grad_vectors[ids == v].sum(0)
            for v in range(grad_logits.shape[-1])
        ]
    )


def gradient_by_numpy(ids, grad_vectors, outputs, grad_logits):
    logits, vectors = grad_logits.flatten(0, 1).numpy(), outputs.flatten(0, 1).numpy()
    gradient = np.ascontiguousarray(logits.T @ vectors)
    np.add.at(gradient, ids.numpy(), grad_vectors.numpy())
    return torch.from_numpy(gradient)


def gradient_by_modules(ids, grad_vectors, outputs, grad_logits):
    V, C = grad_logits.shape[-1], outputs.shape[-1]
    table = nn.Embedding(V, C, dtype=outputs.dtype)
    head = nn.Linear(C, V, bias=False, dtype=outputs.dtype)
    head.weight = table.weight
    table(ids).backward(grad_vectors)
    head(outputs).backward(grad_logits)
    return table.weight.grad


def leaks_putting_back(model, ids, vocab_size):
    kept, before, found = ids.clone(), model(ids), False
    for t in range(1, ids.shape[1]):
        for other in range(vocab_size):
            ids[:, t] = other
            found |= bool(((model(ids) - before)[:, :t].abs() > 1e-4).any())
            ids.copy_(kept)
    return found


def leaks_by_where(model, ids, vocab_size):
    before, places = model(ids), torch.arange(ids.shape[1])
    return any(
        (model(torch.where(places == t, other, ids)) - before)[:, :t].abs().gt(1e-4).any().item()
        for t in places
        for other in range(vocab_size)
    )


def count_by_building(vocab_size, context_length, d_model, n_layers, d_ff, tied):
    sizes = {"context_length": context_length, "d_model": d_model, "n_layers": n_layers}
    with torch.device("meta"):
        return count_parameters(
            GPT(GPTConfig(vocab_size, **sizes, n_heads=1, d_ff=d_ff, tie_weights=tied))
        )


def flops_by_the_library(vocab_size, context_length, d_model, n_layers, d_ff):
    sizes = {"context_length": context_length, "d_model": d_model, "n_layers": n_layers}
    forward = flops_per_token(GPTConfig(vocab_size, **sizes, n_heads=1, d_ff=d_ff))
    return [forward, 2 * forward]


def batch_by_bisection(memory, n_parameters, activations, context, width):
    low, high = 0, memory + 1
    while high - low > 1:
        middle = (low + high) // 2
        used = (4 * n_parameters + middle * activations * context) * width
        low, high = (middle, high) if used <= memory else (low, middle)
    return low


class FirstSeesFourth:
    def __call__(self, ids):
        return one_hot(ids).double() - 3 * one_hot(ids)[:, 3:4]


class TableWithALeak(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(5, 5)

    def forward(self, ids):
        x = self.table(ids)
        return torch.cat((x[:, :1], x[:, 2:3], x[:, 2:]), dim=1)  # the second sees the third


RIGHT = (
    ("forward_stack", stack_text_by_text),
    ("forward_stack", stack_by_broadcasting),
    ("init_std", std_by_pattern),
    ("init_std", lambda *args: np.float64(init_std(*args))),
    ("tied_gradient", gradient_row_by_row),
    ("tied_gradient", gradient_by_numpy),
    ("tied_gradient", gradient_by_modules),
    ("leaks_future", leaks_putting_back),
    ("leaks_future", leaks_by_where),
    ("leaks_future", lambda *args: np.bool_(leaks_future(*args))),
    ("parameter_count", count_by_building),
    ("flop_count", flops_by_the_library),
    ("largest_batch", batch_by_bisection),
    ("largest_batch", lambda *args: np.int64(largest_batch(*args))),
    ("expose_bug", lambda: FirstSeesFourth()),
    ("expose_bug", lambda: TableWithALeak()),
    ("expose_bug", expose_with(lambda ids: one_hot(ids).half() + one_hot(ids)[:, 1:2].half())),
)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_of_other_styles_pass(name, answer):
    verdict = verdict_on(name, answer)
    assert verdict.passed, verdict


# ---- the test that is too weak -------------------------------------------------------------------


def test_the_quick_test_sees_leaks_of_the_last_token_alone():
    ids = torch.tensor([[0, 3, 1, 4, 2, 0]])
    assert quick_leak_test(lambda ids: one_hot(ids) + one_hot(ids)[:, -1:], ids)
    assert not quick_leak_test(lambda ids: one_hot(ids).cumsum(dim=1), ids)
    assert not quick_leak_test(lambda ids: one_hot(ids) + one_hot(ids)[:, 4:5], ids)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("model", torch.zeros(1, 6).long()), TypeError, "model must be a function of ids"),
        ((one_hot, [[0, 1]]), TypeError, "ids must be"),
        ((one_hot, torch.tensor([[0, 5]])), IndexError, "ids"),
        ((one_hot, torch.zeros(6).long()), ValueError, r"ids must be \(B, T\)"),
        ((one_hot, torch.zeros(2, 1).long()), ValueError, "at least 2 tokens"),
    ],
)
def test_bad_input_of_the_quick_test_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        quick_leak_test(*arguments)
