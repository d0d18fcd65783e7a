"""Exercises and quizzes of chapter 05, the block: references, inputs, known mistakes, hints.

Letters: B batch, T time, C = d_model, F = d_ff, the width between the two layers of feed-forward.
A function whose name begins with an underscore and that stands under "known mistakes" is wrong on
purpose: it is what learners write, kept so that `check` can recognise it and say what happened.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from llm_core.block import dropout, gelu, layer_norm, rms_norm
from llm_core.exercises.base import Case, Exercise, Function, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal, whole
from llm_core.exercises.show import number
from llm_core.validate import require_float_tensor

INF = math.inf
Layer = Callable[[torch.Tensor], torch.Tensor]


def leaky_layer_norm(x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    """Normalise with a bug that hides well: one mean and one variance for all tokens of a text.

    The right layer norm takes them for each token alone. The exercise `block.expose_bug` asks for
    two texts that show what the difference does.

    Args:
        x: one vector for each token of a text, (T, C).
        eps: keeps the root away from zero.

    Returns:
        Like `x`, without gain and bias.

    Raises:
        TypeError, ValueError: `x` is no float tensor with two axes.
    """
    require_float_tensor("x", x, ("T", "C"))
    centred = x - x.mean()
    return centred / torch.sqrt(centred.square().mean() + eps)


# --- References: what a learner should write, where llm_core has no such function of its own. ---


def feed_forward(
    x: torch.Tensor,
    w_up: torch.Tensor,
    b_up: torch.Tensor,
    w_down: torch.Tensor,
    b_down: torch.Tensor,
) -> torch.Tensor:
    """Widen x (B, T, C) with w_up (C, F), bend it, and bring it back with w_down (F, C)."""
    hidden = gelu(x @ w_up + b_up)  # (B, T, F)
    return hidden @ w_down + b_down  # (B, T, C)


def residual(x: torch.Tensor, norm: Layer, sublayer: Layer) -> torch.Tensor:
    """Add to x (B, T, C) what the sub-layer makes of its normalised form."""
    return x + sublayer(norm(x))


def transformer_block(
    x: torch.Tensor,
    attention_norm: Layer,
    attention: Layer,
    feed_forward_norm: Layer,
    feed_forward: Layer,
) -> torch.Tensor:
    """Send x (B, T, C) through attention, then feed-forward, each with a norm and a residual."""
    x = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(x))


def expose_bug() -> tuple[torch.Tensor, torch.Tensor]:
    """Return two texts with the same first token, the second text with a large second one."""
    x = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    changed = torch.tensor([[1.0, 3.0], [20.0, 40.0]])
    return x, changed


# --- Gradients: equal not only in value. ---


def _gradients(function: Function, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """Return the gradient of a weighted sum of the output for each input."""
    leaves = [value.clone().requires_grad_() for value in inputs.values()]
    output = function(*leaves)
    return torch.autograd.grad((output * normal(98, *output.shape)).sum(), leaves)


def _gradient_differs(
    answer: Function, reference: Function, inputs: dict[str, torch.Tensor]
) -> str | None:
    """Say where the gradients of a right output differ from those of the reference, if they do."""
    leaves = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    output = answer(*leaves.values())
    if not gap_between(output.detach(), reference(*inputs.values())) < 1e-4:
        return None  # another step has more to say about wrong numbers
    trouble = gradient_trouble(output, leaves)
    if trouble is not None:
        return trouble
    pairs = zip(_gradients(reference, inputs), _gradients(answer, inputs), strict=True)
    for name, (expected, got) in zip(inputs, pairs, strict=True):
        gap = gap_between(expected, got)
        if not gap < 1e-3:
            return (
                f"The output is right, but the gradient that comes back to {name} is off by up to "
                f"{number(gap, 2)}: is a part that depends on {name} cut off, by .detach(), "
                "torch.no_grad() or .item()?"
            )
    return None


def _called_once(answer: Function, x: torch.Tensor, parts: dict[str, Layer]) -> str | None:
    """Say which part did not see all of x exactly once; item by item is once as well."""
    seen = dict.fromkeys(parts, 0)

    def counting(name: str, part: Layer) -> Layer:
        def call(value: torch.Tensor) -> torch.Tensor:
            seen[name] += value.numel()
            return part(value)

        return call

    answer(x.clone(), *(counting(name, part) for name, part in parts.items()))
    for name, count in seen.items():
        if count == 0:
            return f"{name} is never called."
        if count > x.numel():
            return (
                f"{name} is called more than once; each part has its turn once, and one with "
                "dropout would answer differently the second time."
            )
    return None


# --- layer_norm ---


def _norm_inputs(seed: int, *shape: int, eps: float = 1e-5) -> tuple:
    """Return x with mean 3 and spread 2, a gain, a bias (C,) and eps."""
    C = shape[-1]
    return 3 + 2 * normal(seed, *shape), normal(seed + 1, C), normal(seed + 2, C), eps


def _plain(x: torch.Tensor, eps: float = 1e-5) -> tuple:
    """Return x with a gain of ones and a bias of zeros."""
    C = x.shape[-1]
    return x, torch.ones(C, dtype=x.dtype), torch.zeros(C, dtype=x.dtype), eps


_STEPS = torch.tensor([0.001, 1.0, 100.0])[:, None]
_FAR_OUT = 4096 + torch.tensor([[0.0, 2.0, -1.0, 3.0], [1.0, -1.0, 5.0, -5.0]])

LAYER_NORM_CASES = (
    Case("the row of the text", _plain(torch.tensor([[9.0, 3.0, 3.0, 1.0]]))),
    Case("T=3, C=5", _norm_inputs(1, 3, 5)),
    Case("B=2, T=3, C=4", _norm_inputs(4, 2, 3, 4)),
    Case("B, T and C all 4", _norm_inputs(7, 4, 4, 4)),
    Case("eps=0.5", _norm_inputs(10, 2, 3, 5, eps=0.5)),
    Case("rows of very different size", _plain(_STEPS * normal(13, 3, 6))),
    Case("a row of equal entries", _plain(torch.tensor([[2.0, 2.0, 2.0], [1.0, 2.0, 4.0]]))),
    Case("a nearly constant row", _plain(5 + 0.01 * whole(14, 3, 2, 4), eps=0.01)),
    Case("entries near 4,096", _plain(_FAR_OUT)),
    Case("two channels", _norm_inputs(15, 3, 2)),
    Case("one vector, one axis", _norm_inputs(18, 7)),
    Case("four axes", _norm_inputs(21, 2, 3, 2, 5)),
    Case("double precision", (*(t.double() for t in _norm_inputs(24, 3, 4)[:3]), 1e-3)),
    Case("a transposed x", (normal(27, 5, 3).T, normal(28, 5), normal(29, 5), 0.1)),
)


def _layer_norm_torch(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, gain.shape, gain, bias, eps)


def _layer_norm_var(x, gain, bias, eps=1e-5):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(var + eps) * gain + bias


def _layer_norm_by_loop(x, gain, bias, eps=1e-5):
    rows = []
    for row in x.reshape(-1, x.shape[-1]):
        centred = row - row.sum() / len(row)
        rows.append(centred / ((centred**2).sum() / len(row) + eps) ** 0.5)
    return torch.stack(rows).reshape(x.shape) * gain + bias


# Known mistakes.


def _moments(x, dim=-1, **kwargs):
    return x.mean(dim, keepdim=True), x.var(dim, keepdim=True, **{"correction": 0, **kwargs})


def _layer_norm_over(x, gain, bias, eps, dim):
    mean, var = _moments(x, dim)
    return (x - mean) / (var + eps).sqrt() * gain + bias


def _layer_norm_unbiased(x, gain, bias, eps=1e-5):
    mean, var = _moments(x, correction=1)
    return (x - mean) / (var + eps).sqrt() * gain + bias


def _layer_norm_eps_outside(x, gain, bias, eps=1e-5):
    mean, var = _moments(x)
    return (x - mean) / (var.sqrt() + eps) * gain + bias


def _layer_norm_unbiased_eps_outside(x, gain, bias, eps=1e-5):
    mean, var = _moments(x, correction=1)
    return (x - mean) / (var.sqrt() + eps) * gain + bias


def _layer_norm_no_eps(x, gain, bias, eps=1e-5):
    mean, var = _moments(x)
    return (x - mean) / var.sqrt() * gain + bias


def _layer_norm_unbiased_no_eps(x, gain, bias, eps=1e-5):
    mean, var = _moments(x, correction=1)
    return (x - mean) / var.sqrt() * gain + bias


def _layer_norm_fixed_eps(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, bias, 1e-5)


def _layer_norm_eps_squared(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, bias, eps**2)


def _layer_norm_by_variance(x, gain, bias, eps=1e-5):
    mean, var = _moments(x)
    return (x - mean) / (var + eps) * gain + bias


def _layer_norm_over_everything(x, gain, bias, eps=1e-5):
    return _layer_norm_over(x, gain, bias, eps, tuple(range(x.dim())))


def _layer_norm_over_batch(x, gain, bias, eps=1e-5):
    return _layer_norm_over(x, gain, bias, eps, 0)


def _layer_norm_over_tokens(x, gain, bias, eps=1e-5):
    return _layer_norm_over(x, gain, bias, eps, -2)


def _layer_norm_over_text(x, gain, bias, eps=1e-5):
    return _layer_norm_over(x, gain, bias, eps, (-2, -1))


def _layer_norm_keepdim(x, gain, bias, eps=1e-5):
    return (x - x.mean(-1)) / (x.var(-1, correction=0) + eps).sqrt() * gain + bias


def _layer_norm_not_centred(x, gain, bias, eps=1e-5):
    _, var = _moments(x)
    return x / (var + eps).sqrt() * gain + bias


def _layer_norm_rms(x, gain, bias, eps=1e-5):
    return rms_norm(x, gain, eps) + bias


def _layer_norm_only_centred(x, gain, bias, eps=1e-5):
    return (x - x.mean(-1, keepdim=True)) * gain + bias


def _layer_norm_no_gain(x, gain, bias, eps=1e-5):
    return layer_norm(x, torch.ones_like(gain), bias, eps)


def _layer_norm_no_bias(x, gain, bias, eps=1e-5):
    return layer_norm(x, gain, None, eps)


def _layer_norm_neither(x, gain, bias, eps=1e-5):
    return layer_norm(x, torch.ones_like(gain), None, eps)


def _layer_norm_bias_first(x, gain, bias, eps=1e-5):
    return (layer_norm(x, torch.ones_like(gain), None, eps) + bias) * gain


def _layer_norm_swapped(x, gain, bias, eps=1e-5):
    return layer_norm(x, bias, gain, eps)


def _layer_norm_gain_before(x, gain, bias, eps=1e-5):
    return layer_norm(x * gain, torch.ones_like(gain), bias, eps)


def _layer_norm_mean_square(x, gain, bias, eps=1e-5):
    mean = x.mean(-1, keepdim=True)
    var = x.square().mean(-1, keepdim=True) - mean.square()
    return (x - mean) / (var + eps).sqrt() * gain + bias


def _layer_norm_absolute(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.abs().mean(-1, keepdim=True) + eps) * gain + bias


def _layer_norm_sum(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().sum(-1, keepdim=True) + eps).sqrt() * gain + bias


def _layer_norm_by_norm(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.norm(dim=-1, keepdim=True) + eps) * gain + bias


def _layer_norm_mean_square_of_x(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


def _layer_norm_root_mean_square_of_x(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.square().mean(-1, keepdim=True).sqrt() + eps) * gain + bias


def _layer_norm_mean_square_of_x_no_eps(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / x.square().mean(-1, keepdim=True).sqrt() * gain + bias


def _layer_norm_in_place(x, gain, bias, eps=1e-5):
    x -= x.mean(-1, keepdim=True)
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


def _layer_norm_one_plus_gain(x, gain, bias, eps=1e-5):
    return layer_norm(x, 1 + gain, bias, eps)


LAYER_NORM_MISTAKES = (
    Mistake(
        "unbiased_variance",
        _layer_norm_unbiased,
        "You divide the squares by C - 1, which is what `var` and `std` do unless told otherwise; "
        "layer norm divides by C (`correction=0`).",
        "only that each row has the mean 0",
    ),
    Mistake(
        "eps_outside_root",
        _layer_norm_eps_outside,
        "You add eps after the root; it belongs inside, to the variance, or else a nearly constant "
        "row has its noise blown up to full size.",
        "rows with a spread near 1 and eps=1e-5",
    ),
    Mistake(
        "unbiased_and_eps_outside",
        _layer_norm_unbiased_eps_outside,
        "Two things at once, both from dividing by `x.std() + eps`: the squares are divided by "
        "C - 1 in place of C, and eps stands outside the root.",
        "only that each row has the mean 0",
    ),
    Mistake(
        "no_eps",
        _layer_norm_no_eps,
        "You never use eps, so a row of equal entries becomes 0 divided by 0.",
        "random rows and eps=1e-5",
    ),
    Mistake(
        "unbiased_and_no_eps",
        _layer_norm_unbiased_no_eps,
        "Two things at once, both from dividing by `x.std()`: the squares are divided by C - 1 in "
        "place of C, and eps is missing.",
        "only that each row has the mean 0",
    ),
    Mistake(
        "eps_written_out",
        _layer_norm_fixed_eps,
        "You always take 1e-5 and never use the argument eps.",
        "only calls with the default eps",
    ),
    Mistake(
        "eps_squared",
        _layer_norm_eps_squared,
        "Your eps is squared: it was added to the spread before that was squared, and it must be "
        "added to the variance as it is.",
        "rows with a spread near 1 and eps=1e-5",
    ),
    Mistake(
        "divides_by_variance",
        _layer_norm_by_variance,
        "You divide by the variance, not by its root, so a row that is twice as large comes out "
        "half as large.",
        "rows with a variance of 1",
    ),
    Mistake(
        "over_everything",
        _layer_norm_over_everything,
        "Your mean and variance run over all entries of x; each vector must be normalised alone, "
        "along the last axis.",
        "a single vector",
    ),
    Mistake(
        "over_the_batch",
        _layer_norm_over_batch,
        "You normalise along the first axis, so that what comes out for one text depends on the "
        "other texts in its batch; the axis is the last.",
        "only the shape",
    ),
    Mistake(
        "over_the_tokens",
        _layer_norm_over_tokens,
        "You normalise each channel over the tokens, which lets later tokens change earlier ones; "
        "the axis is the last.",
        "only the shape",
    ),
    Mistake(
        "over_the_text",
        _layer_norm_over_text,
        "You normalise a whole text at once, over tokens and channels; every token has a mean and "
        "a variance of its own.",
        "one token",
    ),
    Mistake(
        "keepdim_forgotten",
        _layer_norm_keepdim,
        "Your mean and variance have lost their axis, so broadcasting lines them up with the wrong "
        "axis of x or does not fit at all; keepdim=True keeps it.",
        "one vector, or only the shape of a square x",
    ),
    Mistake(
        "not_centred",
        _layer_norm_not_centred,
        "You divide by the spread but never subtract the mean.",
        "rows with the mean 0",
    ),
    Mistake(
        "rms_norm",
        _layer_norm_rms,
        "You take the mean of the squares of x itself and subtract no mean: that is RMS norm, the "
        "next exercise.",
        "rows with the mean 0",
    ),
    Mistake(
        "only_centred",
        _layer_norm_only_centred,
        "You subtract the mean but never divide by the spread, so large rows stay large.",
        "rows with a variance of 1",
    ),
    Mistake(
        "no_gain",
        _layer_norm_no_gain,
        "You never use the gain, which scales each channel after the normalisation.",
        "a gain of ones",
    ),
    Mistake(
        "no_bias",
        _layer_norm_no_bias,
        "You never add the bias.",
        "a bias of zeros",
    ),
    Mistake(
        "no_gain_and_bias",
        _layer_norm_neither,
        "You stop after the normalisation: gain and bias are still to come.",
        "a gain of ones and a bias of zeros",
    ),
    Mistake(
        "bias_before_gain",
        _layer_norm_bias_first,
        "You add the bias before you multiply by the gain, which scales the bias too; multiply "
        "first.",
        "a gain of ones or a bias of zeros",
    ),
    Mistake(
        "gain_and_bias_swapped",
        _layer_norm_swapped,
        "Gain and bias are swapped: you multiply by the bias and add the gain.",
        "the shape, as both are (C,)",
    ),
    Mistake(
        "gain_on_the_input",
        _layer_norm_gain_before,
        "You multiply x by the gain before it is normalised, and the normalisation takes most of "
        "the gain away again.",
        "a gain of ones",
    ),
    Mistake(
        "mean_of_squares_minus_square",
        _layer_norm_mean_square,
        "You compute the variance as the mean of the squares minus the square of the mean: right "
        "on paper, but for entries near 4,096 it is a difference of two huge rounded numbers.",
        "entries near 0",
    ),
    Mistake(
        "absolute_distance",
        _layer_norm_absolute,
        "You average the absolute distances from the mean; the variance averages their squares.",
        "rows with two different entries",
    ),
    Mistake(
        "sum_of_squares",
        _layer_norm_sum,
        "You add up the squares and do not divide by C, so the rows come out too small, the more "
        "so the wider they are.",
        "only that each row has the mean 0",
        variants=(_layer_norm_by_norm,),
    ),
    Mistake(
        "mean_square_of_x",
        _layer_norm_mean_square_of_x,
        "You subtract the mean, but divide by the root of the mean of x²; the variance is the mean "
        "square of what is left once the mean has been subtracted.",
        "rows with the mean 0, or only that each row has the mean 0",
        variants=(_layer_norm_root_mean_square_of_x, _layer_norm_mean_square_of_x_no_eps),
    ),
    Mistake(
        "changes_x_in_place",
        _layer_norm_in_place,
        "Your numbers are right, but you subtract the mean from the caller's own x, which the "
        "residual connection will still need.",
        "comparing the output without looking at x afterwards",
    ),
)


def _rows_normalised(answer) -> str | None:
    x = 7 + 3 * normal(30, 4, 6)
    rows = answer(x, torch.ones(6), torch.zeros(6), 1e-8)
    mean = rows.mean(-1).abs().max().item()
    if not mean < 1e-4:
        return f"With gain 1 and bias 0, one row has the mean {number(mean, 3)} in place of 0."
    spread = rows.var(-1, correction=0)
    worst = spread[(spread - 1).abs().argmax()].item()
    if not abs(worst - 1) < 1e-4:
        return f"With gain 1 and bias 0, one row has the variance {number(worst, 3)} in place of 1."
    return None


def _rows_alone(answer) -> str | None:
    x, gain, bias, eps = _norm_inputs(31, 2, 4, 6)
    changed = x.clone()
    changed[1], changed[0, 2:] = 9 * normal(34, 4, 6), 5 * normal(35, 2, 6)
    before, after = answer(x, gain, bias, eps), answer(changed, gain, bias, eps)
    gap = gap_between(before[0, :2], after[0, :2])
    if gap < 1e-4:
        return None
    return (
        "I changed other tokens and the other text, and a token that I left alone came out "
        f"different by up to {number(gap, 3)}: each vector must be normalised on its own."
    )


def _rows_scale(answer) -> str | None:
    x, gain, bias, _ = _norm_inputs(36, 3, 6)
    gap = gap_between(answer(x, gain, bias, 1e-8), answer(10 * x + 7, gain, bias, 1e-8))
    if gap < 1e-3:
        return None
    return (
        "Ten times x plus 7 must give the same result, since mean and spread are taken out, but "
        f"yours moves by {number(gap, 3)}."
    )


def _rows_gradient(answer) -> str | None:
    x, gain, bias, eps = _norm_inputs(39, 2, 3, 5, eps=0.01)
    inputs = {"x": x, "gain": gain, "bias": bias}
    return _gradient_differs(lambda *t: answer(*t, eps), lambda *t: layer_norm(*t, eps), inputs)


LAYER_NORM_PROPERTIES = (
    Property("every row gets the mean 0 and the variance 1", _rows_normalised),
    Property("every vector is normalised on its own", _rows_alone),
    Property("the size of a row and a shift of it play no part", _rows_scale),
    Property("the gradient is right for x, gain and bias", _rows_gradient),
)

LAYER_NORM = Exercise(
    id="block.layer_norm",
    title="Layer norm",
    reference=layer_norm,
    cases=LAYER_NORM_CASES,
    mistakes=LAYER_NORM_MISTAKES,
    conventions=(
        Mistake(
            "one_plus_gain",
            _layer_norm_one_plus_gain,
            "You multiply by 1 + gain, as models do that store how far the gain is from 1; here "
            "the gain itself is the factor.",
            "a gain of zeros",
        ),
    ),
    right=(_layer_norm_torch, _layer_norm_var, _layer_norm_by_loop),
    properties=LAYER_NORM_PROPERTIES,
    hints=(
        "Write the four steps of the text with a batch in mind: which axis holds the numbers of "
        "one vector, and what shape must mean and variance have to line up with x?",
        "Sub-goals: the mean of each vector, with its axis kept; x minus that; the mean of the "
        "squares of the result, again with its axis kept; divide by the root of that plus eps; "
        "times gain, plus bias.",
        "centred = x - x.mean(dim=-1, keepdim=True). The variance is "
        "centred.square().mean(dim=-1, keepdim=True), which divides by C. Then centred / "
        "torch.sqrt(variance + eps), times gain, plus bias.",
    ),
    solution=(
        "Mean and variance are taken along the last axis, so that each token's vector is on its "
        "own: nothing passes from one token or text to another. keepdim leaves shape (..., 1), "
        "which broadcasts along the vector. The variance is the mean of the squares, so it divides "
        "by C. gain and bias, shape (C,), broadcast over all axes in front. (Ba et al. 2016.)"
    ),
    checked="every axis, constant and huge rows, eps, doubles, gain, bias, and the gradient",
    atol=1e-4,
)


# --- rms_norm ---

RMS_NORM_CASES = (
    Case("a row by hand", (torch.tensor([[3.0, 4.0, 0.0, 0.0]]), torch.ones(4), 1e-5)),
    Case("T=3, C=5", (*_norm_inputs(51, 3, 5)[:2], 1e-5)),
    Case("B=2, T=3, C=4", (*_norm_inputs(54, 2, 3, 4)[:2], 1e-5)),
    Case("B, T and C all 4", (*_norm_inputs(57, 4, 4, 4)[:2], 1e-5)),
    Case("eps=0.5", (*_norm_inputs(60, 2, 3, 5)[:2], 0.5)),
    Case("rows of very different size", (_STEPS * normal(63, 3, 6), normal(64, 6), 1e-5)),
    Case("a row of zeros", (torch.tensor([[0.0, 0.0], [1.0, -3.0]]), torch.ones(2), 1e-5)),
    Case("a row of equal entries", (torch.full((2, 3), -2.0), normal(65, 3), 1e-5)),
    Case("small numbers and eps=0.01", (0.1 * normal(66, 2, 4), normal(67, 4), 0.01)),
    Case("one channel", (3 * normal(68, 3, 1), torch.tensor([0.5]), 0.1)),
    Case("one vector, one axis", (normal(69, 7), normal(70, 7), 1e-5)),
    Case("double precision", (normal(71, 3, 4).double(), normal(72, 4).double(), 1e-3)),
    Case("a transposed x", (normal(73, 5, 3).T, normal(74, 5), 0.1)),
)


def _rms_norm_torch(x, gain, eps=1e-5):
    return F.rms_norm(x, gain.shape, gain, eps)


def _rms_norm_rsqrt(x, gain, eps=1e-5):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def _rms_norm_from_length(x, gain, eps=1e-5):
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return gain * x / (length**2 / x.shape[-1] + eps) ** 0.5


# Known mistakes.


def _rms_over(x, gain, eps, dim):
    return x / (x.square().mean(dim, keepdim=True) + eps).sqrt() * gain


def _rms_layer_norm(x, gain, eps=1e-5):
    return layer_norm(x, gain, None, eps)


def _rms_spread(x, gain, eps=1e-5):
    _, var = _moments(x)
    return x / (var + eps).sqrt() * gain


def _rms_sum(x, gain, eps=1e-5):
    return x / (x.square().sum(-1, keepdim=True) + eps).sqrt() * gain


def _rms_normalize(x, gain, eps=1e-5):
    return F.normalize(x, dim=-1) * gain


def _rms_norm_plus_eps(x, gain, eps=1e-5):
    return x / (x.norm(dim=-1, keepdim=True) + eps) * gain


def _rms_norm_alone(x, gain, eps=1e-5):
    return x / x.norm(dim=-1, keepdim=True) * gain


def _rms_norm_of_everything(x, gain, eps=1e-5):
    return x / (x.norm() + eps) * gain


def _rms_norm_of_everything_alone(x, gain, eps=1e-5):
    return x / x.norm() * gain


def _rms_norm_by_width(x, gain, eps=1e-5):
    return x / (x.norm(dim=-1, keepdim=True) / x.shape[-1] + eps) * gain


def _rms_root_width_over_norm(x, gain, eps=1e-5):
    return x / (x.norm(dim=-1, keepdim=True) + eps) * math.sqrt(x.shape[-1]) * gain


def _rms_std(x, gain, eps=1e-5):
    return x / (x.std(-1, keepdim=True, correction=0) + eps) * gain


def _rms_no_root(x, gain, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True) + eps) * gain


def _rms_eps_outside(x, gain, eps=1e-5):
    return x / (x.square().mean(-1, keepdim=True).sqrt() + eps) * gain


def _rms_no_eps(x, gain, eps=1e-5):
    return x / x.square().mean(-1, keepdim=True).sqrt() * gain


def _rms_fixed_eps(x, gain, eps=1e-5):
    return rms_norm(x, gain, 1e-5)


def _rms_one_less(x, gain, eps=1e-5):
    squares = x.square().sum(-1, keepdim=True) / (x.shape[-1] - 1)
    return x / (squares + eps).sqrt() * gain


def _rms_over_everything(x, gain, eps=1e-5):
    return _rms_over(x, gain, eps, tuple(range(x.dim())))


def _rms_over_batch(x, gain, eps=1e-5):
    return _rms_over(x, gain, eps, 0)


def _rms_over_tokens(x, gain, eps=1e-5):
    return _rms_over(x, gain, eps, -2)


def _rms_keepdim(x, gain, eps=1e-5):
    return x / (x.square().mean(-1) + eps).sqrt() * gain


def _rms_no_gain(x, gain, eps=1e-5):
    return rms_norm(x, torch.ones_like(gain), eps)


def _rms_gain_before(x, gain, eps=1e-5):
    return rms_norm(x * gain, torch.ones_like(gain), eps)


def _rms_square_of_mean(x, gain, eps=1e-5):
    return x / (x.mean(-1, keepdim=True).square() + eps).sqrt() * gain


def _rms_mean_of_absolute(x, gain, eps=1e-5):
    return x / (x.abs().mean(-1, keepdim=True) + eps) * gain


def _rms_multiplies(x, gain, eps=1e-5):
    return x * (x.square().mean(-1, keepdim=True) + eps).sqrt() * gain


def _rms_in_place(x, gain, eps=1e-5):
    x /= (x.square().mean(-1, keepdim=True) + eps).sqrt()
    return x * gain


def _rms_one_plus_gain(x, gain, eps=1e-5):
    return rms_norm(x, 1 + gain, eps)


RMS_NORM_MISTAKES = (
    Mistake(
        "subtracts_the_mean",
        _rms_layer_norm,
        "You subtract the mean first, which makes this layer norm without a bias; RMS norm leaves "
        "the mean where it is.",
        "rows with the mean 0",
    ),
    Mistake(
        "divides_by_spread",
        _rms_spread,
        "You divide by the spread around the mean; RMS norm squares the entries as they are.",
        "rows with the mean 0",
        variants=(_rms_std,),
    ),
    Mistake(
        "sum_of_squares",
        _rms_sum,
        "You add up the squares where their mean is needed, so wide rows come out too small.",
        "one channel",
    ),
    Mistake(
        "unit_length",
        _rms_normalize,
        "You scale each vector to the length 1; a root mean square of 1 means the length √C, and "
        "eps has its place inside the root.",
        "one channel, or only the direction of the result",
        variants=(_rms_norm_plus_eps, _rms_norm_alone),
    ),
    Mistake(
        "norm_of_everything",
        _rms_norm_of_everything,
        "`x.norm()` is the root of the sum of all squares in x, one number for all tokens; each "
        "vector needs the root of the mean of its own squares, along the last axis.",
        "only the direction of a single vector",
        variants=(_rms_norm_of_everything_alone,),
    ),
    Mistake(
        "norm_divided_by_width",
        _rms_norm_by_width,
        "You divide the norm by C; the mean is taken inside the root, so it is the sum of the "
        "squares that is divided by C.",
        "one channel, or only the direction of the result",
    ),
    Mistake(
        "no_root",
        _rms_no_root,
        "You divide by the mean of the squares and forgot the root.",
        "rows with a mean square of 1",
    ),
    Mistake(
        "eps_outside_root",
        _rms_eps_outside,
        "You add eps after the root; it belongs inside, to the mean of the squares.",
        "rows of ordinary size and eps=1e-5",
        variants=(_rms_root_width_over_norm,),
    ),
    Mistake(
        "no_eps",
        _rms_no_eps,
        "You never use eps, so a row of zeros becomes 0 divided by 0.",
        "random rows and eps=1e-5",
    ),
    Mistake(
        "eps_written_out",
        _rms_fixed_eps,
        "You always take 1e-5 and never use the argument eps.",
        "only calls with the default eps",
    ),
    Mistake(
        "one_less",
        _rms_one_less,
        "You divide the squares by C - 1; no mean was taken out here, and the mean square divides "
        "by C.",
        "only the direction of the result",
    ),
    Mistake(
        "over_everything",
        _rms_over_everything,
        "Your mean square runs over all entries of x; each vector has its own.",
        "a single vector",
    ),
    Mistake(
        "over_the_batch",
        _rms_over_batch,
        "You take the mean square along the first axis, over the texts of the batch; the axis is "
        "the last.",
        "only the shape",
    ),
    Mistake(
        "over_the_tokens",
        _rms_over_tokens,
        "You take the mean square over the tokens of a text; the axis is the last, over the "
        "channels of one token.",
        "only the shape",
    ),
    Mistake(
        "keepdim_forgotten",
        _rms_keepdim,
        "Your mean square has lost its axis, so broadcasting lines it up with the wrong axis of x "
        "or does not fit at all; keepdim=True keeps it.",
        "one vector, or only the shape of a square x",
    ),
    Mistake(
        "no_gain",
        _rms_no_gain,
        "You never use the gain, which scales each channel at the end.",
        "a gain of ones",
    ),
    Mistake(
        "gain_on_the_input",
        _rms_gain_before,
        "You multiply x by the gain before its size is measured, and the division takes most of "
        "the gain away again.",
        "a gain of ones",
    ),
    Mistake(
        "square_of_the_mean",
        _rms_square_of_mean,
        "You square the mean; take the mean of the squares, in this order, so that positive and "
        "negative entries do not cancel.",
        "rows of equal entries",
    ),
    Mistake(
        "mean_of_absolute_values",
        _rms_mean_of_absolute,
        "You take the mean of the absolute values; a root mean square squares, averages and then "
        "takes the root.",
        "rows whose entries are all of one size",
    ),
    Mistake(
        "multiplies",
        _rms_multiplies,
        "You multiply by the root mean square where you should divide, so large rows grow.",
        "rows with a mean square of 1",
    ),
    Mistake(
        "changes_x_in_place",
        _rms_in_place,
        "Your numbers are right, but you scale the caller's own x, which the residual connection "
        "will still need.",
        "comparing the output without looking at x afterwards",
    ),
)


def _rms_is_one(answer) -> str | None:
    rows = answer(7 + 3 * normal(75, 4, 6), torch.ones(6), 1e-8)
    size = rows.square().mean(-1).sqrt()
    worst = size[(size - 1).abs().argmax()].item()
    if abs(worst - 1) < 1e-4:
        return None
    return f"With gain 1, one row has the root mean square {number(worst, 3)} in place of 1."


def _rms_alone(answer) -> str | None:
    x, gain = normal(76, 2, 4, 6), normal(77, 6)
    changed = x.clone()
    changed[1], changed[0, 2:] = 9 * normal(78, 4, 6), 5 * normal(79, 2, 6)
    gap = gap_between(answer(x, gain, 1e-5)[0, :2], answer(changed, gain, 1e-5)[0, :2])
    if gap < 1e-4:
        return None
    return (
        "I changed other tokens and the other text, and a token that I left alone came out "
        f"different by up to {number(gap, 3)}: each vector must be scaled on its own."
    )


def _rms_gradient(answer) -> str | None:
    inputs = {"x": normal(80, 2, 3, 5), "gain": normal(81, 5)}
    return _gradient_differs(
        lambda x, gain: answer(x, gain, 0.01), lambda x, gain: rms_norm(x, gain, 0.01), inputs
    )


RMS_NORM = Exercise(
    id="block.rms_norm",
    title="RMS norm",
    reference=rms_norm,
    cases=RMS_NORM_CASES,
    mistakes=RMS_NORM_MISTAKES,
    conventions=(
        Mistake(
            "one_plus_gain",
            _rms_one_plus_gain,
            "You multiply by 1 + gain, as models do that store how far the gain is from 1; here "
            "the gain itself is the factor.",
            "a gain of zeros",
        ),
    ),
    right=(_rms_norm_torch, _rms_norm_rsqrt, _rms_norm_from_length),
    properties=(
        Property("every row gets the root mean square 1", _rms_is_one),
        Property("every vector is scaled on its own", _rms_alone),
        Property("the gradient is right for x and gain", _rms_gradient),
    ),
    hints=(
        "Read the name from right to left: square, then mean, then root. It is your layer norm "
        "with fewer steps.",
        "Sub-goals: the mean of the squares of each vector, with its axis kept; the root of that "
        "plus eps; x divided by it; times gain.",
        "mean_square = x.square().mean(dim=-1, keepdim=True). Divide x by "
        "torch.sqrt(mean_square + eps) and multiply by gain.",
    ),
    solution=(
        "Without the mean there is one pass over the numbers less, and no bias: the vector keeps "
        "its direction and only its length becomes √C. In practice models train as well with it. "
        "(Zhang and Sennrich 2019.)"
    ),
    checked="every axis, rows of zeros, eps, doubles, the gain, and the gradient",
    atol=1e-4,
)


# --- gelu ---

GELU_CASES = (
    Case("five numbers", (torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]),)),
    Case("a fine grid from -6 to 6", (torch.linspace(-6, 6, 241),)),
    Case("B=2, T=3, F=4", (2 * normal(90, 2, 3, 4),)),
    Case("far out", (torch.tensor([-1e4, -30.0, 30.0, 1e4]),)),
    Case("near zero", (torch.tensor([-1e-3, 1e-3, -0.02, 0.02]),)),
    Case("a single number without an axis", (torch.tensor(0.7),)),
    Case("double precision", (3 * normal(91, 4, 5, dtype=torch.float64),)),
    Case("a transposed matrix", (normal(92, 5, 3).T,)),
)


def _gelu_torch(x):
    return F.gelu(x)


def _gelu_normal(x):
    return x * torch.distributions.Normal(0.0, 1.0).cdf(x)


def _gelu_ndtr(x):
    return torch.special.ndtr(x).mul(x)


def _gelu_erfc(x):
    return x - 0.5 * x * torch.erfc(x / 2**0.5)


# Known mistakes.


def _phi(x):
    return 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def _gelu_no_root_2(x):
    return 0.5 * x * (1 + torch.erf(x))


def _gelu_times_root_2(x):
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(2)))


def _gelu_by_2(x):
    return 0.5 * x * (1 + torch.erf(x / 2))


def _gelu_no_half(x):
    return x * (1 + torch.erf(x / math.sqrt(2)))


def _gelu_no_one(x):
    return 0.5 * x * torch.erf(x / math.sqrt(2))


def _gelu_erf_alone(x):
    return x * torch.erf(x / math.sqrt(2))


def _gelu_share_alone(x):
    return _phi(x)


def _gelu_density(x):
    return x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _gelu_flipped(x):
    return x * _phi(-x)


def _gelu_relu(x):
    return F.relu(x)


def _gelu_silu(x):
    return F.silu(x)


def _gelu_softplus(x):
    return F.softplus(x)


def _gelu_cut(x):
    return F.relu(x) * _phi(x)


def _gelu_squared(x):
    return x.square() * _phi(x)


def _gelu_tanh_no_cube(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x))


def _gelu_tanh_no_root(x):
    return 0.5 * x * (1 + torch.tanh(2 / math.pi * (x + 0.044715 * x**3)))


def _gelu_in_place(x):
    x *= _phi(x)
    return x


def _gelu_tanh(x):
    return gelu(x, approximate=True)


def _gelu_quick(x):
    return x * torch.sigmoid(1.702 * x)


GELU_MISTAKES = (
    Mistake(
        "no_root_of_2",
        _gelu_no_root_2,
        "You hand x to erf as it is; erf is scaled differently from Φ, and x must be divided by √2 "
        "first.",
        "the value at 0 and far out",
    ),
    Mistake(
        "times_root_of_2",
        _gelu_times_root_2,
        "You multiply by √2 inside erf where you should divide.",
        "the value at 0 and far out",
    ),
    Mistake(
        "divided_by_2",
        _gelu_by_2,
        "You divide by 2 inside erf; it is the root of 2.",
        "the value at 0 and far out",
    ),
    Mistake(
        "no_half",
        _gelu_no_half,
        "You forgot the half: 1 + erf runs from 0 to 2, and a share runs from 0 to 1.",
        "only where the result is zero",
    ),
    Mistake(
        "no_one",
        _gelu_no_one,
        "You forgot to add 1 to erf, so large negative numbers come out positive.",
        "positive numbers, checked for their order only",
    ),
    Mistake(
        "erf_alone",
        _gelu_erf_alone,
        "You multiply x by erf itself, which runs from -1 to 1; Φ is half of 1 + erf.",
        "large positive numbers",
    ),
    Mistake(
        "share_alone",
        _gelu_share_alone,
        "You return Φ(x), the share alone; GELU multiplies x by it.",
        "the value at 1, checked to be near 0.84",
    ),
    Mistake(
        "density",
        _gelu_density,
        "You multiply by the height of the bell curve at x; Φ is the area under the curve to the "
        "left of x.",
        "only the value at 0",
    ),
    Mistake(
        "sign_flipped",
        _gelu_flipped,
        "Your sign is flipped inside Φ: small numbers pass and large ones are stopped.",
        "only the value at 0",
    ),
    Mistake(
        "relu",
        _gelu_relu,
        "You wrote ReLU, which has a sharp corner at 0; GELU bends softly.",
        "numbers far from 0",
    ),
    Mistake(
        "silu",
        _gelu_silu,
        "You multiply by the sigmoid of x; that is SiLU, which has a similar curve.",
        "numbers far from 0",
    ),
    Mistake(
        "softplus",
        _gelu_softplus,
        "You wrote the softplus, ln(1 + e^x), which is never negative; GELU dips below 0.",
        "numbers far from 0",
    ),
    Mistake(
        "negative_cut",
        _gelu_cut,
        "You set the result of every negative number to 0; GELU lets a little of them through.",
        "numbers of at least 0",
    ),
    Mistake(
        "x_squared",
        _gelu_squared,
        "You multiply by x twice.",
        "the values at 0 and 1",
    ),
    Mistake(
        "tanh_without_cube",
        _gelu_tanh_no_cube,
        "You wrote the tanh form without its cubic term, and this exercise asks for the exact form "
        "with erf anyway.",
        "numbers near 0",
    ),
    Mistake(
        "tanh_without_root",
        _gelu_tanh_no_root,
        "You wrote the tanh form with 2/π in place of its root, and this exercise asks for the "
        "exact form with erf anyway.",
        "the value at 0 and far out",
    ),
    Mistake(
        "changes_x_in_place",
        _gelu_in_place,
        "Your numbers are right, but you overwrite the caller's x.",
        "comparing the output without looking at x afterwards",
    ),
)


def _gelu_mirror(answer) -> str | None:
    x = torch.linspace(0.1, 5, 50)
    gap = gap_between(answer(x.clone()) - answer(-x), x)
    if gap < 1e-4:
        return None
    return (
        "gelu(x) - gelu(-x) must be x, because the shares below x and below -x make up 1, but "
        f"yours is off by up to {number(gap, 3)}."
    )


def _gelu_entry_by_entry(answer) -> str | None:
    x = 2 * normal(93, 3, 4)
    alone = torch.stack([answer(entry.clone()) for entry in x.flatten()]).reshape(3, 4)
    gap = gap_between(answer(x.clone()), alone)
    if gap < 1e-5:
        return None
    return (
        f"An entry comes out different by {number(gap, 3)} when it stands alone; each must be "
        "treated on its own."
    )


def _gelu_gradient(answer) -> str | None:
    return _gradient_differs(answer, gelu, {"x": 2 * normal(94, 4, 5)})


GELU = Exercise(
    id="block.gelu",
    title="GELU",
    reference=gelu,
    cases=GELU_CASES,
    mistakes=GELU_MISTAKES,
    conventions=(
        Mistake(
            "tanh_form",
            _gelu_tanh,
            "You wrote GPT-2's form with tanh, which differs from the exact one by less than "
            "0.001; here the exact form with erf is agreed.",
            "comparing with two decimals",
        ),
        Mistake(
            "sigmoid_form",
            _gelu_quick,
            "You wrote the approximation x·sigmoid(1.702x), which some models use; here the exact "
            "form with erf is agreed.",
            "comparing with one decimal",
        ),
    ),
    right=(_gelu_torch, _gelu_normal, _gelu_ndtr, _gelu_erfc),
    properties=(
        Property("gelu(x) - gelu(-x) is x", _gelu_mirror),
        Property("every entry is treated on its own", _gelu_entry_by_entry),
        Property("the gradient is right", _gelu_gradient),
    ),
    hints=(
        "Two factors: the number itself, and the share of a standard normal distribution below it.",
        "torch has no function named after Φ, but it has erf. The formula above turns one into "
        "the other; mind the √2 and the half.",
        "share = 0.5 * (1 + torch.erf(x / math.sqrt(2))), and the result is x times share.",
    ),
    solution=(
        "Φ(x) is near 1 for large x, which pass unchanged, near 0 for very negative x, which are "
        "stopped, and 1/2 at 0. Between them the curve is smooth and dips to -0.17 near -0.75. "
        "(Hendrycks and Gimpel 2016.)"
    ),
    checked="a fine grid, far out, near zero, doubles, no axis, and the gradient",
)


# --- feed_forward ---


def _ff_inputs(seed: int, B: int, T: int, C: int, width: int) -> tuple[torch.Tensor, ...]:
    """Return x (B, T, C) and the weights and biases of two layers, (C, F), (F,), (F, C), (C,)."""
    return (
        normal(seed, B, T, C),
        normal(seed + 1, C, width),
        normal(seed + 2, width),
        normal(seed + 3, width, C) / math.sqrt(width),
        normal(seed + 4, C),
    )


def _ff_case(name: str, *tensors: torch.Tensor) -> Case:
    B, T, C = tensors[0].shape
    return Case(name, tensors, sizes={"B": B, "T": T, "C": C, "F": tensors[1].shape[1]})


_BY_HAND = (
    torch.tensor([[[1.0, -1.0]]]),
    torch.tensor([[1.0, 0.0, -2.0], [0.0, 1.0, 1.0]]),
    torch.tensor([0.0, 0.5, 1.0]),
    torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
    torch.tensor([10.0, 20.0]),
)

FEED_FORWARD_CASES = (
    _ff_case("one token by hand", *_BY_HAND),
    _ff_case("B=2, T=3, C=4, F=7", *_ff_inputs(100, 2, 3, 4, 7)),
    _ff_case("B=3, T=2, C=5, F=20", *_ff_inputs(105, 3, 2, 5, 20)),
    _ff_case("C and F both 4", *_ff_inputs(110, 2, 3, 4, 4)),
    _ff_case("B, T, C and F all 3", *_ff_inputs(115, 3, 3, 3, 3)),
    _ff_case("F smaller than C", *_ff_inputs(120, 2, 4, 6, 2)),
    _ff_case("one channel", *_ff_inputs(125, 2, 3, 1, 4)),
    _ff_case("one token", *_ff_inputs(130, 1, 1, 4, 6)),
    _ff_case("double precision", *(t.double() for t in _ff_inputs(135, 2, 3, 4, 5))),
    _ff_case(
        "a transposed x",
        normal(140, 5, 2, 3).transpose(0, 1),
        *_ff_inputs(141, 2, 5, 3, 4)[1:],
    ),
)


def _ff_einsum(x, w_up, b_up, w_down, b_down):
    hidden = F.gelu(torch.einsum("btc,cf->btf", x, w_up) + b_up)
    return torch.einsum("btf,fc->btc", hidden, w_down) + b_down


def _ff_linear(x, w_up, b_up, w_down, b_down):
    return F.linear(F.gelu(F.linear(x, w_up.T, b_up)), w_down.T, b_down)


def _ff_by_token(x, w_up, b_up, w_down, b_down):
    rows = [torch.addmv(b_down, w_down.T, gelu(b_up + row @ w_up)) for row in x.flatten(0, 1)]
    return torch.stack(rows).view(x.shape)


# Known mistakes.


def _ff_no_activation(x, w_up, b_up, w_down, b_down):
    return (x @ w_up + b_up) @ w_down + b_down


def _ff_activation_last(x, w_up, b_up, w_down, b_down):
    return gelu(_ff_no_activation(x, w_up, b_up, w_down, b_down))


def _ff_activation_twice(x, w_up, b_up, w_down, b_down):
    return gelu(feed_forward(x, w_up, b_up, w_down, b_down))


def _ff_activation_first(x, w_up, b_up, w_down, b_down):
    return _ff_no_activation(gelu(x), w_up, b_up, w_down, b_down)


def _ff_relu(x, w_up, b_up, w_down, b_down):
    return F.relu(x @ w_up + b_up) @ w_down + b_down


def _ff_silu(x, w_up, b_up, w_down, b_down):
    return F.silu(x @ w_up + b_up) @ w_down + b_down


def _ff_no_biases(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up) @ w_down


def _ff_no_b_up(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up) @ w_down + b_down


def _ff_no_b_down(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up + b_up) @ w_down


def _ff_b_up_late(x, w_up, b_up, w_down, b_down):
    return (gelu(x @ w_up) + b_up) @ w_down + b_down


def _ff_only_up(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up + b_up)


def _ff_residual(x, w_up, b_up, w_down, b_down):
    return x + feed_forward(x, w_up, b_up, w_down, b_down)


def _ff_normalised(x, w_up, b_up, w_down, b_down):
    x = F.layer_norm(x, x.shape[-1:])
    return feed_forward(x, w_up, b_up, w_down, b_down)


def _ff_over_tokens(x, w_up, b_up, w_down, b_down):
    mixed = x.mean(dim=1, keepdim=True).expand_as(x)
    return feed_forward(mixed, w_up, b_up, w_down, b_down)


def _ff_softmax(x, w_up, b_up, w_down, b_down):
    return (x @ w_up + b_up).softmax(-1) @ w_down + b_down


def _ff_gate(x, w_up, b_up, w_down, b_down):
    hidden = x @ w_up + b_up
    return (hidden * gelu(hidden)) @ w_down + b_down


def _ff_tanh_form(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up + b_up, approximate=True) @ w_down + b_down


def _ff_transposed(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_up.T + b_up) @ w_down.T + b_down


def _ff_weights_swapped(x, w_up, b_up, w_down, b_down):
    return gelu(x @ w_down + b_down) @ w_up + b_up


FEED_FORWARD_MISTAKES = (
    Mistake(
        "no_activation",
        _ff_no_activation,
        "There is no activation between your two layers, so they are worth no more than one; put "
        "GELU on the wide vectors.",
        "only the shape",
    ),
    Mistake(
        "activation_last",
        _ff_activation_last,
        "Your GELU comes after the second layer; between the two layers nothing bends, and they "
        "collapse into one.",
        "that the result is not linear",
    ),
    Mistake(
        "activation_twice",
        _ff_activation_twice,
        "You apply GELU once more at the end, which would keep the result from ever being much "
        "below 0.",
        "large positive results",
    ),
    Mistake(
        "activation_first",
        _ff_activation_first,
        "You apply GELU to x before the first layer; it belongs between the two layers.",
        "that the result is not linear",
    ),
    Mistake(
        "relu",
        _ff_relu,
        "You use ReLU; this exercise asks for GELU.",
        "hidden numbers far from 0",
    ),
    Mistake(
        "silu",
        _ff_silu,
        "You use SiLU; this exercise asks for GELU.",
        "hidden numbers far from 0",
    ),
    Mistake(
        "no_biases",
        _ff_no_biases,
        "You never add the two biases.",
        "biases of zeros",
    ),
    Mistake(
        "no_b_up",
        _ff_no_b_up,
        "You never add b_up, the bias of the first layer.",
        "a bias of zeros",
    ),
    Mistake(
        "no_b_down",
        _ff_no_b_down,
        "You never add b_down, the bias of the second layer.",
        "a bias of zeros",
    ),
    Mistake(
        "b_up_after_activation",
        _ff_b_up_late,
        "You add b_up after GELU; it is part of the first layer, and decides where each hidden "
        "number bends.",
        "a bias of zeros",
    ),
    Mistake(
        "stops_half_way",
        _ff_only_up,
        "You return the wide vectors; the second layer, which brings them back to C channels, is "
        "missing.",
        "F equal to C, checked only for the shape",
    ),
    Mistake(
        "adds_the_input",
        _ff_residual,
        "You add x to the result; that residual connection is put around feed-forward later, by "
        "the block.",
        "only that training works",
    ),
    Mistake(
        "normalises_first",
        _ff_normalised,
        "You normalise x first; the norm is a part of its own, which the block puts in front.",
        "inputs that are normalised already",
    ),
    Mistake(
        "mixes_tokens",
        _ff_over_tokens,
        "You average over the tokens; feed-forward works on each token by itself.",
        "one token",
    ),
    Mistake(
        "softmax",
        _ff_softmax,
        "You put a softmax between the layers; an activation treats each hidden number on its own.",
        "only the shape",
    ),
    Mistake(
        "gated_by_itself",
        _ff_gate,
        "You multiply the hidden numbers by their own GELU; the activation replaces them.",
        "only the shape",
    ),
    Mistake(
        "layers_swapped",
        _ff_weights_swapped,
        "You use the second layer first; w_up widens, w_down brings back.",
        "F equal to C, checked only for the shape",
    ),
)


def _ff_tokens_alone(answer) -> str | None:
    x, *weights = _ff_inputs(145, 2, 4, 3, 6)
    gap = gap_between(answer(x, *weights)[1:, 2:3], answer(x[1:, 2:3], *weights))
    if gap < 1e-4:
        return None
    return (
        f"A token alone comes out different by up to {number(gap, 3)} from the same token among "
        "others; feed-forward works on each token by itself."
    )


def _ff_hidden_off(answer) -> str | None:
    x, w_up, _, w_down, b_down = _ff_inputs(150, 2, 3, 4, 6)
    off = answer(x, w_up, torch.full((6,), -1000.0), w_down, b_down)
    gap = gap_between(off, b_down.expand(2, 3, 4))
    if gap < 1e-4:
        return None
    return (
        "With b_up = -1000 every hidden number is switched off by GELU and only b_down is left, "
        f"but your result differs from b_down by up to {number(gap, 3)}."
    )


def _ff_gradient(answer) -> str | None:
    names = ("x", "w_up", "b_up", "w_down", "b_down")
    inputs = dict(zip(names, _ff_inputs(155, 2, 3, 4, 5), strict=True))
    return _gradient_differs(answer, feed_forward, inputs)


FEED_FORWARD = Exercise(
    id="block.feed_forward",
    title="Feed-forward",
    reference=feed_forward,
    cases=FEED_FORWARD_CASES,
    mistakes=FEED_FORWARD_MISTAKES,
    conventions=(
        Mistake(
            "weights_transposed",
            _ff_transposed,
            "You apply each weight transposed, as torch.nn.Linear stores it, (out, in); here a "
            "weight is (in, out) and used as x @ w.",
            "symmetric weights, or only the shape",
        ),
        Mistake(
            "tanh_form",
            _ff_tanh_form,
            "You use GELU's tanh form, as GPT-2 does; here the exact form, block.gelu(x), is "
            "agreed.",
            "comparing with two decimals",
        ),
    ),
    right=(_ff_einsum, _ff_linear, _ff_by_token),
    properties=(
        Property("every token is worked on by itself", _ff_tokens_alone),
        Property("hidden numbers that are switched off leave only b_down", _ff_hidden_off),
        Property("the gradient is right for x and all weights", _ff_gradient),
    ),
    hints=(
        "Three verbs: expand, activate, project. Write the shape after each.",
        "A linear layer is x @ w + b. The first makes (B, T, F) of (B, T, C), GELU leaves the "
        "shape alone, the second makes (B, T, C) again.",
        "hidden = block.gelu(x @ w_up + b_up). Then hidden @ w_down + b_down.",
    ),
    solution=(
        "x @ w_up multiplies the last axis only, so each token is treated alone and by the same "
        "weights. GELU between the layers is what keeps them from being one layer. "
        "(Vaswani et al. 2017, section 3.3, there with ReLU.)"
    ),
    checked="sizes different and equal, one token, doubles, switched-off units, the gradient",
    atol=1e-4,
)


# --- residual ---
# Its inputs are functions. Each does something that no other does, so that none can be mistaken.


def unit_rows(x: torch.Tensor) -> torch.Tensor:
    """Normalise each vector, with a gain that is not one, as a trained norm does."""
    C = x.shape[-1]
    return F.layer_norm(x, (C,)) * torch.linspace(0.5, 1.5, C, dtype=x.dtype) + 0.25


def halved_rows(x: torch.Tensor) -> torch.Tensor:
    """Stand in for another norm: another size, another direction."""
    return 0.5 * F.layer_norm(x, x.shape[-1:]) - 0.125


def same(x: torch.Tensor) -> torch.Tensor:
    """Do nothing."""
    return x.clone()


def nothing(x: torch.Tensor) -> torch.Tensor:
    """Answer with zeros."""
    return torch.zeros_like(x)


def bent(x: torch.Tensor) -> torch.Tensor:
    """Stand in for feed-forward: bend each number and mix the channels of a token."""
    return torch.tanh(2 * x) + 0.5 * x.roll(1, dims=-1) + 0.25


def carried(x: torch.Tensor) -> torch.Tensor:
    """Stand in for attention: each token gets the mean of itself and all earlier ones."""
    counts = torch.arange(1, x.shape[-2] + 1, dtype=x.dtype)[:, None]  # (T, 1)
    return 1.5 * x.cumsum(dim=-2) / counts + 0.1 * x.square()


RESIDUAL_CASES = (
    Case("T=2, C=3", (3 + normal(170, 1, 2, 3), unit_rows, bent)),
    Case("B=2, T=3, C=4", (3 + 2 * normal(171, 2, 3, 4), unit_rows, bent)),
    Case("a sub-layer that looks back", (3 + 2 * normal(172, 2, 5, 4), unit_rows, carried)),
    Case("a norm that shrinks", (normal(173, 2, 3, 4), halved_rows, bent)),
    Case("a sub-layer that gives zeros", (normal(174, 2, 3, 4), unit_rows, nothing)),
    Case("a sub-layer that does nothing", (3 + normal(175, 2, 3, 4), unit_rows, same)),
    Case("a norm that does nothing", (3 + normal(176, 2, 3, 4), same, carried)),
    Case("large numbers", (100 * normal(177, 2, 3, 4), unit_rows, bent)),
    Case("one token", (normal(178, 1, 1, 5), halved_rows, carried)),
    Case("double precision", (normal(179, 2, 3, 4).double(), unit_rows, bent)),
)


def _residual_steps(x, norm, sublayer):
    change = sublayer(norm(x))
    return change + x


def _residual_torch(x, norm, sublayer):
    return torch.add(x, sublayer(norm(x.clone())))


# Known mistakes.


def _residual_none(x, norm, sublayer):
    return sublayer(norm(x))


def _residual_normed(x, norm, sublayer):
    x = norm(x)
    return x + sublayer(x)


def _residual_no_norm(x, norm, sublayer):
    return x + sublayer(x)


def _residual_norm_beside(x, norm, sublayer):
    return norm(x) + sublayer(x)


def _residual_no_sublayer(x, norm, sublayer):
    return x + norm(x)


def _residual_minus(x, norm, sublayer):
    return x - sublayer(norm(x))


def _residual_half(x, norm, sublayer):
    return (x + sublayer(norm(x))) / 2


def _residual_product(x, norm, sublayer):
    return x * sublayer(norm(x))


def _residual_twice(x, norm, sublayer):
    return 2 * x + sublayer(norm(x))


def _residual_norm_everywhere(x, norm, sublayer):
    return norm(x + sublayer(norm(x)))


def _residual_sublayer_of_sum(x, norm, sublayer):
    return sublayer(x + norm(x))


def _residual_again(x, norm, sublayer):
    return x + sublayer(norm(sublayer(norm(x))))


def _residual_in_place(x, norm, sublayer):
    x += sublayer(norm(x))
    return x


def _residual_post(x, norm, sublayer):
    return norm(x + sublayer(x))


def _residual_branch_norm(x, norm, sublayer):
    return x + norm(sublayer(x))


RESIDUAL_MISTAKES = (
    Mistake(
        "no_residual",
        _residual_none,
        "You return what the sub-layer says and forgot to add x, so the straight path for the "
        "gradient is gone.",
        "only the shape",
    ),
    Mistake(
        "adds_the_normed",
        _residual_normed,
        "You add the normalised x, not x itself: with a line such as `x = norm(x)` the stream is "
        "lost, and a norm lies on the straight path.",
        "inputs that are normalised already",
    ),
    Mistake(
        "no_norm",
        _residual_no_norm,
        "You never use the norm: the sub-layer must get norm(x).",
        "inputs that are normalised already",
    ),
    Mistake(
        "norm_on_the_wrong_branch",
        _residual_norm_beside,
        "Your norm is on the wrong branch: you add norm(x) and give the sub-layer x itself.",
        "inputs that are normalised already",
    ),
    Mistake(
        "no_sublayer",
        _residual_no_sublayer,
        "You add norm(x) to x, and the sub-layer is never called.",
        "a sub-layer that does nothing",
    ),
    Mistake(
        "subtracts",
        _residual_minus,
        "You subtract the sub-layer's output; it is added.",
        "a sub-layer that gives zeros",
    ),
    Mistake(
        "averages",
        _residual_half,
        "You take the average of x and the sub-layer's output; the half would shrink the stream, "
        "and the gradient, at each layer.",
        "only the direction of the gradient",
    ),
    Mistake(
        "multiplies",
        _residual_product,
        "You multiply x by the sub-layer's output; a residual connection adds.",
        "only the shape",
    ),
    Mistake(
        "adds_x_twice",
        _residual_twice,
        "You add x twice; once is enough, since the norm and the sub-layer stand on their own "
        "branch.",
        "that a gradient comes back",
    ),
    Mistake(
        "norm_before_and_after",
        _residual_norm_everywhere,
        "You normalise before the sub-layer and once more after the sum; the sum must leave as it "
        "is.",
        "that the sub-layer gets normalised vectors",
    ),
    Mistake(
        "sublayer_of_the_sum",
        _residual_sublayer_of_sum,
        "You add x before the sub-layer, so everything passes through it; x must be added to what "
        "comes out.",
        "a sub-layer that does nothing",
    ),
    Mistake(
        "twice_through",
        _residual_again,
        "You send x through norm and sub-layer twice before you add.",
        "a sub-layer that gives zeros",
    ),
    Mistake(
        "changes_x_in_place",
        _residual_in_place,
        "Your numbers are right, but `x += ...` writes into the caller's own x; write x + ... in "
        "its place.",
        "comparing the output without looking at x afterwards",
    ),
)


def _residual_keeps_x(answer) -> str | None:
    x = 5 * normal(180, 2, 3, 4)
    gap = gap_between(answer(x.clone(), unit_rows, nothing), x)
    if gap < 1e-6:
        return None
    return (
        "With a sub-layer that gives zeros, x must come out as it went in, but it moves by up to "
        f"{number(gap, 3)}."
    )


def _residual_straight_path(answer) -> str | None:
    x = normal(181, 2, 3, 4).requires_grad_()
    output = answer(x, unit_rows, lambda y: torch.zeros_like(y))
    if not output.requires_grad:
        return "No gradient comes back to x; was it detached on the way?"
    (gradient,) = torch.autograd.grad(output.sum(), x)
    gap = gap_between(gradient, torch.ones_like(gradient))
    if gap < 1e-6:
        return None
    return (
        "Along the straight path the derivative must be exactly 1, but yours is off by up to "
        f"{number(gap, 3)}."
    )


def _residual_gradient(answer) -> str | None:
    return _gradient_differs(
        lambda x: answer(x, unit_rows, carried),
        lambda x: residual(x, unit_rows, carried),
        {"x": normal(183, 2, 3, 4)},
    )


def _residual_calls(answer) -> str | None:
    x = normal(182, 2, 3, 4)
    return _called_once(answer, x, {"norm": unit_rows, "sublayer": bent})


RESIDUAL = Exercise(
    id="block.residual",
    title="A residual connection with a norm in front",
    reference=residual,
    cases=RESIDUAL_CASES,
    mistakes=RESIDUAL_MISTAKES,
    conventions=(
        Mistake(
            "post_norm",
            _residual_post,
            "You put the norm after the sum, norm(x + sublayer(x)): that is post-norm, as in the "
            "first Transformer; here it is pre-norm, with the norm in front of the sub-layer.",
            "only the shape",
        ),
        Mistake(
            "norm_on_the_output",
            _residual_branch_norm,
            "You normalise what the sub-layer gives, x + norm(sublayer(x)), as some models do; "
            "here the norm stands in front of the sub-layer.",
            "only the shape",
        ),
    ),
    right=(_residual_steps, _residual_torch),
    properties=(
        Property("a sub-layer that gives zeros changes nothing", _residual_keeps_x),
        Property("the straight path has the derivative 1", _residual_straight_path),
        Property("the gradient is right along both branches", _residual_gradient),
        Property("norm and sublayer are each called once", _residual_calls),
    ),
    hints=(
        "Two branches leave x. One goes straight on. What stands on the other, in which order?",
        "The branch: first the norm, then the sub-layer. Call them like functions. At the end the "
        "two branches are added.",
        "sublayer(norm(x)) is the branch. Add it to x, in a new tensor.",
    ),
    solution=(
        "x itself, not its normalised form, goes straight on: that is the stream, and the "
        "derivative along it is exactly 1. The norm sees to it that the sub-layer gets numbers of "
        "the same size however large the stream has grown. (He et al. 2015 for the sum, Xiong et "
        "al. 2020 for the place of the norm.)"
    ),
    checked="several norms and sub-layers, zeros, large numbers, doubles, and the straight path",
    atol=1e-4,
)


# --- dropout ---


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


DROPOUT_CASES = (
    Case("six numbers, p=0.5", (torch.arange(1.0, 7.0), 0.5, True, _seeded(1))),
    Case("B=2, T=3, C=4, p=0.2", (normal(200, 2, 3, 4), 0.2, True, _seeded(2))),
    Case("B, T and C all 4, p=0.3", (normal(201, 4, 4, 4), 0.3, True, _seeded(3))),
    Case("p=0.9", (3 + normal(202, 5, 8), 0.9, True, _seeded(4))),
    Case("p=0", (normal(203, 3, 4), 0.0, True, _seeded(5))),
    Case("evaluation, p=0.5", (normal(204, 3, 4), 0.5, False, _seeded(6))),
    Case("evaluation, p=0.1", (normal(205, 2, 3, 4), 0.1, False, _seeded(7))),
    Case("zeros among the numbers", (whole(206, 1, 4, 6), 0.4, True, _seeded(8))),
    Case("a thousand numbers", (normal(207, 40, 25), 0.1, True, _seeded(9))),
)


def _dropout_where(x, p, training, generator):
    if not training:
        return x
    draw = torch.rand(x.shape, generator=generator)
    return torch.where(draw < p, 0.0, x / (1 - p))


def _dropout_mask(x, p, training, generator):
    if training:
        mask = (torch.rand(*x.shape, generator=generator) > p).to(x.dtype) / (1 - p)
        x = x * mask
    return x


def _dropout_filled(x, p, training, generator):
    if not training or p == 0:
        return x.clone()
    dropped = torch.empty(x.shape).uniform_(generator=generator) < p
    return x.masked_fill(dropped, 0) * (1 / (1 - p))


def _dropout_bernoulli(x, p, training, generator):
    if training:
        x = x * (1 - torch.bernoulli(torch.full(x.shape, p), generator=generator)) / (1 - p)
    return x


# Known mistakes.


def _keep(x, p, generator):
    return torch.rand(x.shape, generator=generator) >= p


def _dropout_no_scale(x, p, training, generator):
    return x * _keep(x, p, generator) if training else x


def _dropout_by_p(x, p, training, generator):
    return x * _keep(x, p, generator) / p if training else x


def _dropout_times(x, p, training, generator):
    return x * _keep(x, p, generator) * (1 - p) if training else x


def _dropout_plus(x, p, training, generator):
    return x * _keep(x, p, generator) * (1 + p) if training else x


def _dropout_always(x, p, training, generator):
    return dropout(x, p, True, generator)


def _dropout_never(x, p, training, generator):
    return x


def _dropout_inverted_flag(x, p, training, generator):
    return dropout(x, p, not training, generator)


def _dropout_keeps_p(x, p, training, generator):
    return x * (torch.rand(x.shape, generator=generator) < p) / (1 - p) if training else x


def _dropout_scales_all(x, p, training, generator):
    return x * _keep(x, p, generator) / (1 - p) if training else x / (1 - p)


def _dropout_tokens(x, p, training, generator):
    draw = torch.rand((*x.shape[:-1], 1), generator=generator)
    return x * (draw >= p) / (1 - p) if training else x


def _dropout_channels(x, p, training, generator):
    draw = torch.rand(x.shape[-1:], generator=generator)
    return x * (draw >= p) / (1 - p) if training else x


def _dropout_one_number(x, p, training, generator):
    draw = torch.rand(1, generator=generator)
    return x * (draw >= p) / (1 - p) if training else x


def _dropout_exact_count(x, p, training, generator):
    if not training:
        return x
    keep = torch.ones(x.numel())
    keep[torch.randperm(x.numel(), generator=generator)[: round(p * x.numel())]] = 0
    return x * keep.reshape(x.shape) / (1 - p)  # the shape of x


def _dropout_own_generator(x, p, training, generator):
    return dropout(x, p, training, torch.Generator().manual_seed(0))


def _dropout_by_size(x, p, training, generator):
    return x * (x.abs() >= p) / (1 - p) if training else x


def _dropout_in_place(x, p, training, generator):
    if training:
        x[torch.rand(x.shape, generator=generator) < p] = 0
        x = x / (1 - p)
    return x


def _dropout_original(x, p, training, generator):
    return x * _keep(x, p, generator) if training else x * (1 - p)


def _dropout_p_keeps(x, p, training, generator):
    return x * (torch.rand(x.shape, generator=generator) < p) / p if training else x


def _dropout_other_end(x, p, training, generator):
    return x * (torch.rand(x.shape, generator=generator) < 1 - p) / (1 - p) if training else x


DROPOUT_MISTAKES = (
    Mistake(
        "no_scaling",
        _dropout_no_scale,
        "You drop the right entries but leave the others as they are, so that while training the "
        "sum of many is too small by the factor 1 - p; divide by 1 - p.",
        "only which entries are zero",
    ),
    Mistake(
        "divides_by_p",
        _dropout_by_p,
        "You divide by p, the share that is dropped; divide by 1 - p, the share that is left.",
        "p=0.5",
    ),
    Mistake(
        "multiplies_by_1_minus_p",
        _dropout_times,
        "You multiply by 1 - p where you should divide: what is left must grow to make up for "
        "what is gone.",
        "only which entries are zero",
    ),
    Mistake(
        "multiplies_by_1_plus_p",
        _dropout_plus,
        "You enlarge what is left by 1 + p; to keep the mean the factor must be 1 / (1 - p).",
        "a small p, comparing with one decimal",
    ),
    Mistake(
        "ignores_training",
        _dropout_always,
        "You drop in evaluation too, and never look at the argument training.",
        "only calls with training=True",
    ),
    Mistake(
        "never_drops",
        _dropout_never,
        "You return x as it is, in training too.",
        "p=0, or evaluation",
    ),
    Mistake(
        "flag_upside_down",
        _dropout_inverted_flag,
        "Your flag is upside down: you drop in evaluation and not in training.",
        "p=0",
    ),
    Mistake(
        "keeps_the_share_p",
        _dropout_keeps_p,
        "You keep where the draw is below p and so drop the share 1 - p; below p is what goes.",
        "p=0.5, checked only for the share of zeros",
    ),
    Mistake(
        "scales_in_evaluation",
        _dropout_scales_all,
        "You divide by 1 - p in evaluation as well; nothing is missing there, so x stays as it is.",
        "only calls with training=True",
    ),
    Mistake(
        "whole_tokens",
        _dropout_tokens,
        "You draw one number for each vector and drop whole vectors; draw one for each entry of x.",
        "the share of zeros over many tokens",
    ),
    Mistake(
        "the_same_everywhere",
        _dropout_channels,
        "You draw one number for each channel and drop it for all tokens and texts alike; draw one "
        "for each entry of x.",
        "a single vector",
    ),
    Mistake(
        "all_or_nothing",
        _dropout_one_number,
        "You draw a single number for all of x, so that all of it is dropped or nothing; draw one "
        "for each entry.",
        "a single entry",
    ),
    Mistake(
        "exact_count",
        _dropout_exact_count,
        "You shuffle and drop exactly the share p; each entry falls by a draw of its own, so the "
        "share varies from call to call.",
        "the share of zeros",
    ),
    Mistake(
        "generator_of_its_own",
        _dropout_own_generator,
        "You make a generator of your own with a fixed seed, so the same entries are dropped at "
        "every call; draw from the one that you are given.",
        "a single call",
    ),
    Mistake(
        "drops_small_entries",
        _dropout_by_size,
        "You drop the entries that are smaller than p; chance decides, not size.",
        "that some entries are zero",
    ),
    Mistake(
        "changes_x_in_place",
        _dropout_in_place,
        "Your numbers are right, but you write zeros into the caller's own x.",
        "comparing the output without looking at x afterwards",
    ),
)

DROPOUT_CONVENTIONS = (
    Mistake(
        "scales_later",
        _dropout_original,
        "You leave the scale for evaluation, x * (1 - p), as dropout was first written; here it is "
        "inverted: divide by 1 - p while training, and leave x alone in evaluation.",
        "the mean over training and evaluation apart",
    ),
    Mistake(
        "p_is_kept",
        _dropout_p_keeps,
        "Your p is the share that is kept; here, as in torch, p is the share that is dropped.",
        "p=0.5",
    ),
    Mistake(
        "other_end",
        _dropout_other_end,
        "You keep where the draw is below 1 - p, as torch.bernoulli does with 1 - p, which drops "
        "as many, but others; we agreed to drop where the draw is below p.",
        "the share of zeros",
    ),
)


def _dropout_evaluation(answer) -> str | None:
    x = normal(210, 3, 5)
    gap = gap_between(answer(x.clone(), 0.4, False, _seeded(1)), x)
    if gap < 1e-6:
        return None
    return f"In evaluation x must come out as it is, but yours moves by up to {number(gap, 3)}."


def _dropout_two_values(answer) -> str | None:
    x = 1 + normal(211, 20, 30, dtype=torch.float64).abs()
    output = answer(x.clone(), 0.25, True, _seeded(2))
    scaled = x / 0.75
    wrong = (output.abs() > 1e-6) & ((output - scaled).abs() > 1e-5)
    if not wrong.any():
        return None
    i, j = wrong.nonzero()[0].tolist()
    return (
        f"With p=0.25 an entry of {number(x[i, j].item())} became {number(output[i, j].item())}; "
        f"it may only become 0 or {number(scaled[i, j].item())}, itself divided by 1 - p."
    )


def _dropout_mean(answer) -> str | None:
    output = answer(torch.ones(200, 100), 0.3, True, _seeded(3))
    mean = output.mean().item()
    if abs(mean - 1) < 0.03:
        return None
    return (
        f"The mean of 20,000 ones became {number(mean, 3)}; on average each number must stay as "
        "it is."
    )


def _dropout_by_entry(answer) -> str | None:
    output = answer(torch.ones(6, 30, 40), 0.5, True, _seeded(4)) == 0
    for axis, words in ((0, "text"), (1, "token"), (2, "channel")):
        share = output.float().mean(dim=axis)
        if ((share < 1e-6) | (share > 1 - 1e-6)).float().mean() > 0.5:
            return f"What you drop is the same for every {words}; draw for each entry."
    return None


def _dropout_varies(answer) -> str | None:
    x = torch.ones(50)
    counts = {int((answer(x.clone(), 0.5, True, _seeded(s)) == 0).sum()) for s in range(12)}
    if len(counts) > 1:
        return None
    return (
        f"Of 50 entries you dropped {counts.pop()} each of twelve times; each entry has its own "
        "draw, so the number must vary."
    )


def _dropout_generator(answer) -> str | None:
    x = torch.ones(40, 5)
    one, other = (answer(x.clone(), 0.5, True, _seeded(s)) for s in (5, 6))
    if gap_between(one, other) > 1e-6:
        return None
    return "Two generators with different seeds gave the same result; draw from the generator."


def _dropout_gradient(answer) -> str | None:
    x = (1 + normal(212, 8, 9).abs()).requires_grad_()
    output = answer(x, 0.5, True, _seeded(7))
    trouble = gradient_trouble(output, {"x": x})
    if trouble is not None:
        return trouble
    output = answer(x, 0.5, True, _seeded(7))
    (gradient,) = torch.autograd.grad(output.sum(), x)
    gap = gap_between(gradient, (output.detach() != 0) * 2.0)
    if gap < 1e-5:
        return None
    return (
        "The gradient must be 0 where an entry was dropped and 1 / (1 - p) elsewhere, but yours "
        f"is off by up to {number(gap, 3)}."
    )


def _dropout_agreed(answer) -> str | None:
    x = 1 + normal(213, 12, 10).abs()
    ours = answer(x.clone(), 0.4, True, _seeded(8)) != 0
    if torch.equal(ours, _keep(x, 0.4, _seeded(8))):
        return None
    return (
        "Your dropout works, but it drops other entries than we agreed: draw "
        "torch.rand(x.shape, generator=generator) once, and drop where it is below p."
    )


DROPOUT = Exercise(
    id="block.dropout",
    title="Dropout",
    reference=dropout,
    cases=DROPOUT_CASES,
    mistakes=DROPOUT_MISTAKES,
    conventions=DROPOUT_CONVENTIONS,
    right=(_dropout_where, _dropout_mask, _dropout_filled, _dropout_bernoulli),
    properties=(
        Property("evaluation leaves x alone", _dropout_evaluation),
        Property("an entry becomes 0 or grows by 1 / (1 - p)", _dropout_two_values),
        Property("the mean stays", _dropout_mean),
        Property("each entry has its own draw", _dropout_by_entry),
        Property("the number of dropped entries varies", _dropout_varies),
        Property("chance comes from the generator", _dropout_generator),
        Property("the gradient passes where the entry passed", _dropout_gradient),
        Property("the dropped entries are those that we agreed on", _dropout_agreed),
    ),
    hints=(
        "What must happen when training is False? Settle that first; it is one line.",
        "Sub-goals in training: one draw from 0 to 1 for each entry; True where the entry is kept; "
        "x times that, divided by the share that is kept.",
        "keep = torch.rand(x.shape, generator=generator) >= p is True with probability 1 - p. "
        "Return x * keep / (1 - p), and x itself when not training.",
    ),
    solution=(
        "Each entry is kept with probability 1 - p and then divided by 1 - p, so that its mean "
        "over many draws is x again. That is why nothing needs to be done in evaluation. True and "
        "False count as 1 and 0 in the product, and the gradient passes exactly where the entry "
        "did. (Srivastava et al. 2014.)"
    ),
    checked="which entries fall, the scale, evaluation, p=0 and 0.9, the mean, and the gradient",
)


# --- transformer_block ---

_PARTS = (unit_rows, carried, halved_rows, bent)

BLOCK_CASES = (
    Case("T=2, C=3", (3 + normal(220, 1, 2, 3), *_PARTS)),
    Case("B=2, T=3, C=4", (3 + 2 * normal(221, 2, 3, 4), *_PARTS)),
    Case("B, T and C all 4", (normal(222, 4, 4, 4), *_PARTS)),
    Case("the two norms exchanged", (normal(223, 2, 3, 4), halved_rows, carried, unit_rows, bent)),
    Case("attention gives zeros", (normal(224, 2, 3, 4), unit_rows, nothing, halved_rows, bent)),
    Case(
        "feed-forward gives zeros",
        (normal(225, 2, 3, 4), unit_rows, carried, halved_rows, nothing),
    ),
    Case("norms that do nothing", (3 + normal(226, 2, 3, 4), same, carried, same, bent)),
    Case("large numbers", (50 * normal(227, 2, 3, 4), *_PARTS)),
    Case("one token", (normal(228, 1, 1, 5), *_PARTS)),
    Case("double precision", (normal(229, 2, 3, 4).double(), *_PARTS)),
)


def _block_by_residual(x, attention_norm, attention, feed_forward_norm, feed_forward):
    pairs = ((attention_norm, attention), (feed_forward_norm, feed_forward))
    for norm, sublayer in pairs:
        x = residual(x, norm, sublayer)
    return x


def _block_in_steps(x, attention_norm, attention, feed_forward_norm, feed_forward):
    gathered = attention(attention_norm(x))
    middle = torch.add(x, gathered)
    worked_out = feed_forward(feed_forward_norm(middle))
    return torch.stack((x, gathered, worked_out)).sum(dim=0)


# Known mistakes.


def _block_no_first_residual(x, n_1, attend, n_2, feed):
    x = attend(n_1(x))
    return x + feed(n_2(x))


def _block_no_second_residual(x, n_1, attend, n_2, feed):
    x = x + attend(n_1(x))
    return feed(n_2(x))


def _block_no_residuals(x, n_1, attend, n_2, feed):
    return feed(n_2(attend(n_1(x))))


def _block_one_long_residual(x, n_1, attend, n_2, feed):
    return x + feed(n_2(attend(n_1(x))))


def _block_old_x_added(x, n_1, attend, n_2, feed):
    middle = x + attend(n_1(x))
    return x + feed(n_2(middle))


def _block_norms_swapped(x, n_1, attend, n_2, feed):
    return transformer_block(x, n_2, attend, n_1, feed)


def _block_one_norm(x, n_1, attend, n_2, feed):
    return transformer_block(x, n_1, attend, n_1, feed)


def _block_no_first_norm(x, n_1, attend, n_2, feed):
    return transformer_block(x, same, attend, n_2, feed)


def _block_no_second_norm(x, n_1, attend, n_2, feed):
    return transformer_block(x, n_1, attend, same, feed)


def _block_no_norms(x, n_1, attend, n_2, feed):
    return transformer_block(x, same, attend, same, feed)


def _block_feed_first(x, n_1, attend, n_2, feed):
    return transformer_block(x, n_2, feed, n_1, attend)


def _block_sublayers_exchanged(x, n_1, attend, n_2, feed):
    return transformer_block(x, n_1, feed, n_2, attend)


def _block_only_attention(x, n_1, attend, n_2, feed):
    return x + attend(n_1(x))


def _block_only_feed(x, n_1, attend, n_2, feed):
    return x + feed(n_2(x))


def _block_normed_stream(x, n_1, attend, n_2, feed):
    x = n_1(x)
    x = x + attend(x)
    x = n_2(x)
    return x + feed(x)


def _block_norm_after_sum(x, n_1, attend, n_2, feed):
    x = x + attend(n_1(x))
    x = n_2(x)
    return x + feed(x)


def _block_norm_at_end(x, n_1, attend, n_2, feed):
    return n_2(x + attend(n_1(x)) + feed(n_2(x + attend(n_1(x)))))


def _block_in_place(x, n_1, attend, n_2, feed):
    x += attend(n_1(x))
    x += feed(n_2(x))
    return x


def _block_post(x, n_1, attend, n_2, feed):
    x = n_1(x + attend(x))
    return n_2(x + feed(x))


def _block_parallel(x, n_1, attend, n_2, feed):
    return x + attend(n_1(x)) + feed(n_2(x))


def _block_output_norms(x, n_1, attend, n_2, feed):
    x = x + n_1(attend(x))
    return x + n_2(feed(x))


BLOCK_MISTAKES = (
    Mistake(
        "no_residual_around_attention",
        _block_no_first_residual,
        "There is no residual connection around attention: its output replaces x in place of "
        "being added to it.",
        "only the shape",
    ),
    Mistake(
        "no_residual_around_feed_forward",
        _block_no_second_residual,
        "There is no residual connection around feed-forward: its output replaces the stream in "
        "place of being added to it.",
        "only the shape",
    ),
    Mistake(
        "no_residuals",
        _block_no_residuals,
        "There is no residual connection at all: everything passes through attention and then "
        "through feed-forward.",
        "only the shape",
    ),
    Mistake(
        "one_residual_for_both",
        _block_one_long_residual,
        "You add x once, around both sub-layers together; each needs a residual connection of its "
        "own.",
        "attention that gives zeros, with norms that do nothing",
    ),
    Mistake(
        "adds_the_first_x",
        _block_old_x_added,
        "Around feed-forward you add the x from the start, so what attention found is lost from "
        "the stream; add the sum that attention left.",
        "attention that gives zeros",
    ),
    Mistake(
        "norms_swapped",
        _block_norms_swapped,
        "The two norms are swapped: each belongs in front of the sub-layer whose name it carries.",
        "norms that are still as they were made, with gain 1 and bias 0",
    ),
    Mistake(
        "one_norm_for_both",
        _block_one_norm,
        "You use attention_norm twice; feed_forward_norm has its own gain and bias.",
        "norms that are still as they were made, with gain 1 and bias 0",
    ),
    Mistake(
        "no_norm_before_attention",
        _block_no_first_norm,
        "The norm in front of attention is missing.",
        "inputs that are normalised already",
    ),
    Mistake(
        "no_norm_before_feed_forward",
        _block_no_second_norm,
        "The norm in front of feed-forward is missing.",
        "feed-forward that gives zeros",
    ),
    Mistake(
        "no_norms",
        _block_no_norms,
        "Neither norm is used: each sub-layer must get normalised vectors.",
        "norms that do nothing",
    ),
    Mistake(
        "feed_forward_first",
        _block_feed_first,
        "Feed-forward comes first in your block; attention gathers, then feed-forward works on "
        "what was gathered.",
        "only the shape",
    ),
    Mistake(
        "sublayers_exchanged",
        _block_sublayers_exchanged,
        "Attention and feed-forward are exchanged, each behind the norm of the other.",
        "only the shape",
    ),
    Mistake(
        "only_attention",
        _block_only_attention,
        "You stop after attention; feed-forward is still to come.",
        "feed-forward that gives zeros",
    ),
    Mistake(
        "only_feed_forward",
        _block_only_feed,
        "Attention is missing, so that no token learns anything of the others.",
        "attention that gives zeros",
    ),
    Mistake(
        "stream_normalised",
        _block_normed_stream,
        "You normalise the stream itself (`x = norm(x)`) and add to that; the stream must go on as "
        "it is, and only the branch is normalised.",
        "that each sub-layer gets normalised vectors",
    ),
    Mistake(
        "second_stream_normalised",
        _block_norm_after_sum,
        "Your second half normalises the stream itself and adds to that; only what feed-forward "
        "gets is normalised.",
        "that each sub-layer gets normalised vectors",
    ),
    Mistake(
        "extra_norm_at_the_end",
        _block_norm_at_end,
        "You normalise once more at the end; in a pre-norm model that happens once, after the last "
        "block.",
        "that each sub-layer gets normalised vectors",
    ),
    Mistake(
        "changes_x_in_place",
        _block_in_place,
        "Your numbers are right, but `x += ...` writes into the caller's own x; write "
        "`x = x + ...` in its place.",
        "comparing the output without looking at x afterwards",
    ),
)


def _block_keeps_x(answer) -> str | None:
    x = 5 * normal(230, 2, 3, 4)
    gap = gap_between(answer(x.clone(), unit_rows, nothing, halved_rows, nothing), x)
    if gap < 1e-6:
        return None
    return (
        "When both sub-layers give zeros, x must come out as it went in, but it moves by up to "
        f"{number(gap, 3)}."
    )


def _block_straight_path(answer) -> str | None:
    x = normal(231, 2, 3, 4).requires_grad_()
    zeros = lambda y: torch.zeros_like(y)  # noqa: E731
    output = answer(x, unit_rows, zeros, halved_rows, zeros)
    if not output.requires_grad:
        return "No gradient comes back to x; was it detached on the way?"
    (gradient,) = torch.autograd.grad(output.sum(), x)
    gap = gap_between(gradient, torch.ones_like(gradient))
    if gap < 1e-6:
        return None
    return (
        "Along the straight path through the block the derivative must be exactly 1, but yours is "
        f"off by up to {number(gap, 3)}."
    )


def _block_gradient(answer) -> str | None:
    return _gradient_differs(
        lambda x: answer(x, *_PARTS),
        lambda x: transformer_block(x, *_PARTS),
        {"x": normal(233, 2, 3, 4)},
    )


def _block_calls(answer) -> str | None:
    names = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")
    return _called_once(answer, normal(232, 2, 3, 4), dict(zip(names, _PARTS, strict=True)))


BLOCK = Exercise(
    id="block.transformer_block",
    title="The whole block",
    reference=transformer_block,
    cases=BLOCK_CASES,
    mistakes=BLOCK_MISTAKES,
    conventions=(
        Mistake(
            "post_norm",
            _block_post,
            "You put each norm after its sum: that is post-norm, as in the first Transformer; "
            "here it is pre-norm, with each norm in front of its sub-layer.",
            "only the shape",
        ),
        Mistake(
            "parallel",
            _block_parallel,
            "Your two sub-layers work side by side on the same x, as in some large models; here "
            "feed-forward works on what attention has left.",
            "attention that gives zeros",
        ),
        Mistake(
            "norms_on_the_outputs",
            _block_output_norms,
            "You normalise what each sub-layer gives, as some models do; here each norm stands in "
            "front of its sub-layer.",
            "only the shape",
        ),
    ),
    right=(_block_by_residual, _block_in_steps),
    properties=(
        Property("sub-layers that give zeros change nothing", _block_keeps_x),
        Property("the straight path has the derivative 1", _block_straight_path),
        Property("the gradient is right along every branch", _block_gradient),
        Property("each part is called once", _block_calls),
    ),
    hints=(
        "A block is your `residual` twice. What does the second half get as its x?",
        "First half: x plus what attention makes of the normalised x. Second half: that sum, plus "
        "what feed-forward makes of the normalised sum.",
        "x = x + attention(attention_norm(x)), then the same with feed_forward and its own norm.",
    ),
    solution=(
        "Attention first gathers from other tokens; feed-forward then works on what was gathered. "
        "Both add to one stream, which itself is never normalised inside the block. Assigning "
        "x = x + ... makes a new tensor and leaves the caller's alone. (Xiong et al. 2020, "
        "figure 1b.)"
    ),
    checked="parts that differ, zeros, exchanged norms, large numbers, and the straight path",
    atol=1e-4,
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---

_NOT_TWO = "Return two things, separated by a comma: x and changed."
_NOT_FLOAT = (
    "Make both tensors of floats of one dtype, for example by writing 1.0 for 1; a norm cannot "
    "average whole numbers."
)
_BAD_SHAPES = "Both must have the shape (T, C), a row for each token, and the same T and C."
_ONE_TOKEN = "With a single token there is no later one that could leak; take at least two."
_NOT_FINITE = "Some of your numbers are infinite or NaN; keep them finite and of ordinary size."
_FIRST_CHANGED = (
    "Row 0 must be the same in both, number for number; else it is no wonder that its output "
    "changes."
)
_NOTHING_CHANGED = "The two are the same everywhere; change a later row."
_SAME_SUMS = (
    "The first token comes out the same, because mean and variance over all numbers are the same "
    "in both: reordering the later numbers, or changing their signs around the mean, keeps them."
)
_TOO_LITTLE = "The first token's output moves by {}, but by more than 0.01 was asked."


def _two(answer) -> str | None:
    made = answer()
    return None if isinstance(made, (tuple, list)) and len(made) == 2 else _NOT_TWO


def _both_floats(answer) -> str | None:
    made = answer()
    floats = all(isinstance(t, torch.Tensor) and t.is_floating_point() for t in made)
    return None if floats and made[0].dtype == made[1].dtype else _NOT_FLOAT


def _same_shapes(answer) -> str | None:
    x, changed = answer()
    fits = x.shape == changed.shape and x.dim() == 2 and x.numel() > 0
    return None if fits and x.device.type == changed.device.type == "cpu" else _BAD_SHAPES


def _several_tokens(answer) -> str | None:
    return None if answer()[0].shape[0] > 1 else _ONE_TOKEN


def _all_finite(answer) -> str | None:
    made = [t.detach().double() for t in answer()]
    outputs = [leaky_layer_norm(t) for t in answer()]
    ordinary = all(t.isfinite().all() and t.abs().max() < 1e6 for t in made)
    return None if ordinary and all(t.isfinite().all() for t in outputs) else _NOT_FINITE


def _first_kept(answer) -> str | None:
    x, changed = answer()
    return None if torch.equal(x[0], changed[0]) else _FIRST_CHANGED


def _later_changed(answer) -> str | None:
    x, changed = answer()
    return _NOTHING_CHANGED if torch.equal(x, changed) else None


def _first_moves(answer) -> str | None:
    x, changed = (t.detach().double() for t in answer())
    gap = gap_between(leaky_layer_norm(x)[0], leaky_layer_norm(changed)[0])
    if gap > 0.01:
        return None
    return _SAME_SUMS if gap < 1e-5 else _TOO_LITTLE.format(number(gap, 2))


EXPOSE_PROPERTIES = (
    Property("two things come back", _two),
    Property("both hold floats", _both_floats),
    Property("both have the shape (T, C)", _same_shapes),
    Property("there is a later token", _several_tokens),
    Property("all numbers are finite", _all_finite),
    Property("the first token is the same in both", _first_kept),
    Property("a later token differs", _later_changed),
    Property("the first token's output moves by more than 0.01", _first_moves),
)


def _expose_random():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 8, generator=generator)
    changed = x.clone()
    changed[-1] = changed[-1] + 5
    return x, changed


def _expose_doubles():
    x = torch.zeros(3, 2, dtype=torch.float64)
    x[0] = torch.tensor([1.0, -1.0])
    return [x, torch.cat((x[:1], x[1:] + 1))]


# Known mistakes.


def _expose_one():
    return expose_bug()[0]


def _expose_whole_numbers():
    x, changed = expose_bug()
    return x.long(), changed.long()


def _expose_batch():
    x, changed = expose_bug()
    return x[None], changed[None]


def _expose_one_token():
    x, changed = expose_bug()
    return x[:1], changed[:1]


def _expose_infinite():
    x, changed = expose_bug()
    return x, torch.cat((changed[:1], torch.full((1, 2), INF)))


def _expose_first_changed():
    x, changed = expose_bug()
    return x, changed.flip(0)


def _expose_unchanged():
    x, _ = expose_bug()
    return x, x.clone()


def _expose_reordered():
    x = torch.tensor([[1.0, 3.0], [2.0, 4.0], [7.0, 5.0]])
    return x, x[[0, 2, 1]]


def _expose_tiny():
    x, _ = expose_bug()
    return x, torch.cat((x[:1], x[1:] + 0.005))


EXPOSE_MISTAKES = (
    Mistake("one_result", _expose_one, _NOT_TWO, "only that a tensor comes back"),
    Mistake("whole_numbers", _expose_whole_numbers, _NOT_FLOAT, "only the shapes"),
    Mistake("batch_axis", _expose_batch, _BAD_SHAPES, "only the types"),
    Mistake("one_token", _expose_one_token, _ONE_TOKEN, "only that the function runs"),
    Mistake("infinite", _expose_infinite, _NOT_FINITE, "that outputs differ, as NaN does"),
    Mistake("first_changed", _expose_first_changed, _FIRST_CHANGED, "that outputs differ"),
    Mistake("unchanged", _expose_unchanged, _NOTHING_CHANGED, "only that the function runs"),
    Mistake("reordered", _expose_reordered, _SAME_SUMS, "that a later row differs"),
    Mistake(
        "tiny_change", _expose_tiny, _TOO_LITTLE.format("0.0034"), "that outputs differ at all"
    ),
)

EXPOSE_BUG = Exercise(
    id="block.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_random, _expose_doubles),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "In the leaky function, which numbers does the output of token 0 depend on, beside its "
        "own?",
        "All tokens share one mean and one variance. Leave row 0 alone and change a later row so "
        "that one of the two changes.",
        "Two rows are enough: x = [[1, 3], [2, 4]] as floats, and the same with much larger "
        "numbers in row 1.",
    ),
    solution=(
        "The second row moves the shared mean and variance, and with them the output of the first "
        "row, which comes earlier in the text. In training the model would see a trace of what it "
        "has to predict; when it writes, the later tokens do not exist yet. The colleague's test "
        "had one token, and there the two norms agree."
    ),
    checked="row 0 is the same in both texts, and the leaky norm's output for it is not",
)


EXERCISES: tuple[Exercise, ...] = (
    LAYER_NORM,
    RMS_NORM,
    GELU,
    FEED_FORWARD,
    RESIDUAL,
    DROPOUT,
    BLOCK,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "A batch for training holds the ids x and the targets y. What is the target of the token "
        "at position t?",
        (
            Option(
                "The token at position t itself.",
                "No. Then the model would only have to copy what it reads.",
            ),
            Option(
                "The token at position t + 1.",
                "Yes. The targets are the same text, one step further: each token is asked what "
                "comes next.",
                right=True,
            ),
            Option(
                "The last token of the text.",
                "No. Every position has a target of its own, so that one text gives T lessons.",
            ),
            Option(
                "The token at position t - 1.",
                "No. That one has been read already; the model predicts forward.",
            ),
        ),
    ),
    Question(
        "A model gives the token that really comes next the probability 1. What is its loss there?",
        (
            Option("1", "No. The loss is -ln of the probability, and ln 1 is 0."),
            Option(
                "0",
                "Yes. -ln 1 = 0: no surprise. The lower the probability, the larger the loss.",
                right=True,
            ),
            Option("Infinity", "No. That is the loss for the probability 0."),
            Option(
                "ln V, with V tokens in the vocabulary",
                "No. That is the loss of a model that finds all tokens equally likely.",
            ),
        ),
    ),
    Question(
        "Attention without a mask and without positions reads a text, and then the same tokens in "
        "another order. What changes?",
        (
            Option(
                "Nothing but the order of its outputs.",
                "Yes. A weighted sum does not depend on the order of its terms, so positions must "
                "be told to the model in another way.",
                right=True,
            ),
            Option(
                "All outputs, since each token has other neighbours.",
                "No. Attention compares tokens by their vectors, and knows no neighbours.",
            ),
            Option(
                "Only the output of the first token.",
                "No. The first place is nothing special without a mask.",
            ),
            Option(
                "The weights no longer add up to one.",
                "No. Softmax sees to that, whatever it gets.",
            ),
        ),
    ),
    Question(
        "What does one attention head give back for a token?",
        (
            Option(
                "The value of the one token that fits best.",
                "No. Softmax is soft: every token that may be seen counts a little.",
            ),
            Option(
                "An average of the values of the tokens that it may see, by their weights.",
                "Yes. The weights are positive and add up to one, so it can mix, and never get "
                "outside what the values span.",
                right=True,
            ),
            Option(
                "The sum of all keys.",
                "No. Keys decide how much each token counts; what is mixed is the values.",
            ),
            Option(
                "A table of T by T weights.",
                "No. The weights are on the way; the output is a vector for each token.",
            ),
        ),
    ),
    Question(
        "Dot products of vectors with D random entries of variance 1 have the variance D. What "
        "keeps the scores of attention at a variance of 1?",
        (
            Option(
                "Subtracting the largest score.",
                "No. That protects the exponential from overflow and leaves the spread as it is.",
            ),
            Option(
                "The causal mask.",
                "No. It hides scores and changes none of the others.",
            ),
            Option(
                "Dividing by D.",
                "No. That would make the variance 1/D: a number divided by D has its variance "
                "divided by D squared.",
            ),
            Option(
                "Dividing by the root of D.",
                "Yes. Keeping numbers near a spread of 1 is also what this chapter is about, for "
                "all the rest of the network.",
                right=True,
            ),
        ),
    ),
)

RECAP = (
    Question(
        "x has the shape (B, T, C). Over how many numbers does layer norm take one mean?",
        (
            Option(
                "C: one mean for each token of each text.",
                "Yes. There are B·T means, and no token learns anything of another.",
                right=True,
            ),
            Option(
                "B: one mean for each token and channel, over the batch.",
                "No. Then a text would come out differently in other company.",
            ),
            Option(
                "T·C: one mean for each text.",
                "No. Then later tokens would change what comes out for earlier ones.",
            ),
            Option(
                "B·T·C: one mean for all.",
                "No. That mixes both texts and tokens.",
            ),
        ),
    ),
    Question(
        "A row of x is multiplied by 10. What happens to its layer norm (eps is tiny)?",
        (
            Option("It is ten times as large.", "No. The division by the spread takes that away."),
            Option(
                "It stays the same.",
                "Yes. The spread is ten times as large too. This is how the size of the stream "
                "stays out of the sub-layers.",
                right=True,
            ),
            Option(
                "It is a tenth.",
                "No. That happens when you divide by the variance and not by its root.",
            ),
            Option(
                "Its mean is ten times as large.",
                "No. The mean of a normalised row is 0, before gain and bias.",
            ),
        ),
    ),
    Question(
        "Why does eps stand inside the root?",
        (
            Option(
                "It is only a habit; outside gives the same.",
                "No. For a row with a variance far below eps the two differ by far.",
            ),
            Option(
                "So that the mean becomes exactly 0.",
                "No. The mean has been subtracted before; eps has no part in it.",
            ),
            Option(
                "So that a nearly constant row stays small, and the root is never taken of 0.",
                "Yes. Its tiny differences may be rounding noise; outside the root they would be "
                "blown up to full size.",
                right=True,
            ),
            Option(
                "So that the variance divides by C and not by C - 1.",
                "No. That is a choice of its own, made when the squares are averaged.",
            ),
        ),
    ),
    Question(
        "You take the activation out of feed-forward. What is left?",
        (
            Option(
                "A single linear layer, written in two steps.",
                "Yes. x·W₁·W₂ is x times one matrix. With d_ff = 4·d_model it even has eight times "
                "as many parameters as it needs.",
                right=True,
            ),
            Option(
                "Nothing: the output is always 0.",
                "No. The two matrices still act.",
            ),
            Option(
                "Attention.",
                "No. Feed-forward works on each token alone, with or without an activation.",
            ),
            Option(
                "A stronger network, since no number is stopped.",
                "No. All that it could still do, one matrix can do.",
            ),
        ),
    ),
    Question(
        "What is the derivative of x + f(x), and why does that matter in a deep stack?",
        (
            Option(
                "f'(x): the gradient must pass through every layer.",
                "No. That is the derivative without the residual connection, and a product of 24 "
                "small numbers is next to nothing.",
            ),
            Option(
                "1: the layer has no influence on the gradient.",
                "No. The layer takes part; else it could not learn.",
            ),
            Option(
                "1 + f'(x): however small f' is, the gradient finds a straight path.",
                "Yes. Multiplied out over many layers, one term is the 1 that passes by all of "
                "them.",
                right=True,
            ),
            Option(
                "x + f'(x): it grows with the input.",
                "No. The derivative of x is 1.",
            ),
        ),
    ),
    Question(
        "24 blocks with norms but without residual connections: the gradient that reaches the "
        "first block was not small, and yet the model learned next to nothing. Why?",
        (
            Option(
                "The gradient was not a number.",
                "No. It was an ordinary number; the plot shows it.",
            ),
            Option(
                "The norms had no gain.",
                "No. They had one, and the same norms worked well with residual connections.",
            ),
            Option(
                "It had fewer parameters.",
                "No. A residual connection is an addition and has no parameter.",
            ),
            Option(
                "After 24 averagings all tokens had nearly the same vector, so there was nothing "
                "left to tell them apart by.",
                "Yes. The norm keeps numbers in range, but it cannot bring back what has been "
                "averaged away; the residual stream never loses it.",
                right=True,
            ),
        ),
    ),
    Question(
        "You load a trained model with dropout and forget model.eval(). What do you see?",
        (
            Option(
                "An error.",
                "No. Nothing complains, which is why this mistake is so common.",
            ),
            Option(
                "Other results for the same text at each call, and a worse loss.",
                "Yes. Part of the numbers is still set to 0 by chance. Evaluate twice: if the "
                "results differ, dropout is on.",
                right=True,
            ),
            Option(
                "The same results, only slower.",
                "No. Dropout changes the numbers, not only the time.",
            ),
            Option(
                "Results that are too large by the factor 1 / (1 - p).",
                "No. The scale keeps the mean right; it is chance that remains.",
            ),
        ),
    ),
    Question(
        "In a block with d_ff = 4·d_model, where are most of the parameters?",
        (
            Option(
                "In attention: it has four matrices, feed-forward two.",
                "No. Count their sizes: four of C by C against two of C by 4C.",
            ),
            Option(
                "In the norms, since there are two.",
                "No. A norm has 2·C parameters; a matrix has C times C and more.",
            ),
            Option(
                "In feed-forward: about two thirds.",
                "Yes. 8·C² against the 4·C² of attention.",
                right=True,
            ),
            Option(
                "In the residual connections.",
                "No. An addition has no parameters.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "block.warmup": WARMUP,
    "block.recap": RECAP,
}
