"""Exercises and quizzes of chapter 03, positions: references, inputs, known mistakes, hints.

Letters: B batch, T time (number of positions), C = d_model, H heads, D width of a head, N rows of a
table of positions; t and k are positions or distances, i counts pairs of dimensions from 0.
A function whose name begins with an underscore and that stands under "known mistakes" is wrong on
purpose: it is what learners write, kept so that `check` can recognise it and say what happened.
"""

import math

import torch

from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal
from llm_core.exercises.show import number
from llm_core.positions import (
    alibi_bias,
    alibi_slopes,
    apply_rotary,
    rotary_angles,
    sinusoidal_encoding,
)
from llm_core.validate import require_float_tensor, require_positive_int

INF = math.inf
BASE = 10_000.0


def rotary_scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    """Return the dot products of turned queries with turned keys, each at its own position.

    Args:
        q: queries (T, D), D even; row t stands at position t.
        k: keys (T, D).

    Returns:
        (T, T); entry [t, s] belongs to the query at t and the key at s.

    Raises:
        TypeError: q or k is no tensor of floating-point numbers.
        ValueError: another number of axes, or an odd D.
    """
    return restarting_scores(q, k, chunk=len(q))


def restarting_scores(q: torch.Tensor, k: torch.Tensor, chunk: int) -> torch.Tensor:
    """Return `rotary_scores` with a bug: the text is read in chunks, and each starts at position 0.

    The exercise `positions.expose_bug` asks for an input on which the two differ.

    Args:
        q: queries (T, D), D even.
        k: keys (T, D).
        chunk: how many tokens are read at a time.

    Returns:
        (T, T), wrong where query and key stand in different chunks.

    Raises:
        TypeError: q or k is no tensor of floating-point numbers, or chunk no whole number.
        ValueError: another number of axes, an odd D, or a chunk below 1.
    """
    for name, value in (("q", q), ("k", k)):
        require_float_tensor(name, value, ("T", "D"))
    require_positive_int("chunk", chunk)
    T, D = q.shape
    cos, sin = rotary_angles(T, D)
    positions = torch.arange(T) % chunk  # (T,), back to 0 at the start of each chunk
    cos, sin = cos[positions], sin[positions]
    return apply_rotary(q, cos, sin) @ apply_rotary(k, cos, sin).T  # (T, T)


# --- References: what a learner should write, where llm_core has no such function of its own. ---


def frequencies(C: int, base: float = BASE) -> torch.Tensor:
    """Return by how much each pair of C dimensions turns from token to token: (C/2,)."""
    evens = torch.arange(0, C, 2)  # (C/2,) 0, 2, 4, ...
    return base ** (-evens / C)


def shift_matrix(k: int, C: int, base: float = BASE) -> torch.Tensor:
    """Return the (C, C) matrix with encoding[t] @ matrix = encoding[t + k] for every t."""
    angles = k * frequencies(C, base)  # (C/2,)
    cos, sin = angles.cos(), angles.sin()
    sines, cosines = torch.arange(0, C, 2), torch.arange(1, C, 2)  # the dimensions of each kind
    matrix = torch.zeros(C, C)
    matrix[sines, sines], matrix[sines, cosines] = cos, -sin
    matrix[cosines, sines], matrix[cosines, cosines] = sin, cos
    return matrix


def add_positions(x: torch.Tensor, table: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Add to tokens x (B, T, C) the rows of table (N, C) from `start` on, for each item alike."""
    T = x.shape[1]
    return x + table[start : start + T]  # (B, T, C) + (T, C)


def expose_bug() -> tuple[torch.Tensor, torch.Tensor, int]:
    """Return four equal tokens that are read two at a time: the third stands at 0 again."""
    q = torch.ones(4, 2)
    return q, q.clone(), 2


# --- Inputs. Every size differs from every other, except where a case says otherwise. ---


def _angles_case(name: str, seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Case:
    """Return a case of apply_rotary: x of this shape (..., T, D), and cosines and sines (T, D/2).

    The angles are random, so that position 0 turns too and nothing can be guessed from a formula.
    """
    angles = 2 * normal(seed + 1, shape[-2], shape[-1] // 2, dtype=dtype)
    sizes = dict(zip("ABHTD"[-len(shape) :], shape, strict=True))
    return Case(name, (normal(seed, *shape, dtype=dtype), angles.cos(), angles.sin()), sizes=sizes)


def _turned(answer, x: torch.Tensor, base: float = 30.0) -> torch.Tensor:
    """Return x (T, D) as the answer turns it, by rotary angles."""
    cos, sin = rotary_angles(*x.shape, base)
    return answer(x, cos, sin)


# --- Properties: what holds for every right answer. ---


def _starts_at_one(answer) -> str | None:
    first = answer(10, 30.0)[0].item()
    if abs(first - 1) < 1e-5:
        return None
    return f"The first frequency must be 1, whatever the base, and yours is {number(first)}."


def _falls_evenly(answer) -> str | None:
    w = answer(10, 30.0)
    ratios = w[1:] / w[:-1]
    if gap_between(ratios, ratios[:1].expand_as(ratios)) < 1e-4:
        return None
    return (
        "From pair to pair the frequencies must fall by one and the same factor, but yours fall "
        f"by {number(ratios[0].item())} first and by {number(ratios[-1].item())} last."
    )


FREQUENCY_PROPERTIES = (
    Property("the first frequency is 1", _starts_at_one),
    Property("the frequencies fall by one factor", _falls_evenly),
)


def _encoding_start(answer) -> str | None:
    row = answer(3, 6)[0]
    if gap_between(row, torch.tensor([0.0, 1.0] * 3)) < 1e-5:
        return None
    return (
        "Position 0 has the angle 0 everywhere, so its row must be sin 0 = 0 and cos 0 = 1 in "
        f"turn, but yours begins with {number(row[0].item())} and {number(row[1].item())}."
    )


def _encoding_circle(answer) -> str | None:
    pairs = answer(40, 6).unflatten(1, (3, 2))  # (T, C/2, 2)
    lengths = pairs.norm(dim=-1)
    if gap_between(lengths, torch.ones_like(lengths)) < 1e-3:
        return None
    return (
        "A sine and a cosine of one angle are a point on the circle of radius 1, but one of your "
        "pairs (columns 2i and 2i + 1) is not: do the two have the same angle?"
    )


def _encoding_distance(answer) -> str | None:
    encoding = answer(60, 8)
    near, far = (encoding[t] @ encoding[t + 7] for t in (3, 50))
    if abs(near - far) < 1e-2:
        return None
    return (
        "The dot product of two positions may depend only on their distance, but at distance 7 "
        f"yours is {number(near.item())} from position 3 and {number(far.item())} from 50."
    )


ENCODING_PROPERTIES = (
    Property("position 0 is 0, 1, 0, 1, ...", _encoding_start),
    Property("each pair lies on a circle", _encoding_circle),
    Property("dot products depend on the distance", _encoding_distance),
)


def _shift_moves(answer) -> str | None:
    encoding = sinusoidal_encoding(60, 6, 50.0)
    for k in (1, 5, -4):
        moved = encoding[10:50] @ answer(k, 6, 50.0)
        if not gap_between(moved, encoding[10 + k : 50 + k]) < 1e-3:
            return (
                f"With k={k} your matrix must turn row 10 of the encoding into row {10 + k}, and "
                "so for every row, but it does not."
            )
    return None


def _shift_adds_up(answer) -> str | None:
    gap = gap_between(answer(2, 6) @ answer(3, 6), answer(5, 6))
    if gap < 1e-4:
        return None
    return (
        "Moving by 2 and then by 3 must be the same as moving by 5, but the two matrices differ "
        f"by up to {number(gap)}."
    )


SHIFT_PROPERTIES = (
    Property("it moves every row of the encoding by k", _shift_moves),
    Property("shifts add up", _shift_adds_up),
)


def _adds_for_each_item(answer) -> str | None:
    x, table = normal(300, 3, 4, 5), normal(301, 9, 5)
    together, alone = answer(x, table, 2), answer(x[1:2], table, 2)
    gap = gap_between(together[1:2], alone)
    if gap < 1e-5:
        return None
    return (
        "Batch items mix: alone, the second item's result differs by up to "
        f"{number(gap)} from its result in a batch of three."
    )


def _adds_rows(answer) -> str | None:
    added = answer(torch.zeros(2, 3, 4), torch.arange(28.0).view(7, 4), 2)
    for t in range(3):
        row = added[0, t].tolist()
        if row != [4.0 * (t + 2) + c for c in range(4)]:
            return (
                f"With start=2, token {t} stands at position {t + 2} and must get that row of the "
                "table, but it gets other numbers."
            )
    return None


def _adds_gradient(answer) -> str | None:
    x = normal(302, 2, 3, 4).requires_grad_()
    table = normal(303, 6, 4).requires_grad_()
    return gradient_trouble(answer(x, table, 1), {"x": x, "table": table})


ADD_PROPERTIES = (
    Property("token t gets row start + t", _adds_rows),
    Property("batch items do not mix", _adds_for_each_item),
    Property("the gradient comes back to x and to the table", _adds_gradient),
)


def _rotary_lengths(answer) -> str | None:
    x = normal(310, 7, 6)
    before, after = x.norm(dim=-1), _turned(answer, x).norm(dim=-1)
    if gap_between(before, after) < 1e-4:
        return None
    return "Turning must leave the length of every vector as it is, and yours changes one."


def _rotary_relative(answer) -> str | None:
    q, k = normal(311, 6).expand(30, 6), normal(312, 6).expand(30, 6)
    scores = _turned(answer, q) @ _turned(answer, k).T  # (T, T)
    near, far = scores[2, 5].item(), scores[22, 25].item()
    if abs(near - far) < 1e-3:
        return None
    return (
        "A turned query and a turned key 3 tokens apart must have the same dot product anywhere, "
        f"but yours is {number(near)} at positions 2 and 5 and {number(far)} at 22 and 25."
    )


def _rotary_each_token(answer) -> str | None:
    x, (cos, sin) = normal(313, 2, 3, 5, 4), rotary_angles(5, 4, 10.0)
    together, alone = answer(x, cos, sin), answer(x[1:, :1], cos, sin)
    gap = gap_between(together[1:, :1], alone)
    if gap < 1e-5:
        return None
    return (
        "Items mix: alone, one head's result differs by up to "
        f"{number(gap)} from its result beside the others."
    )


def _rotary_gradient(answer) -> str | None:
    x, (cos, sin) = normal(314, 3, 4).requires_grad_(), rotary_angles(3, 4)
    return gradient_trouble(answer(x, cos, sin), {"x": x})


ROTARY_PROPERTIES = (
    Property("lengths stay as they are", _rotary_lengths),
    Property("products depend only on the distance", _rotary_relative),
    Property("heads and batch items do not mix", _rotary_each_token),
    Property("the gradient comes back to x", _rotary_gradient),
)


def _slopes_fall(answer) -> str | None:
    slopes = answer(16)
    ratios = slopes[1:] / slopes[:-1]
    if gap_between(ratios, ratios[:1].expand_as(ratios)) < 1e-4:
        return None
    return "From head to head the slopes must fall by one and the same factor, and yours do not."


def _slopes_end(answer) -> str | None:
    for H in (1, 4, 32):
        last = answer(H)[-1].item()
        if abs(last - 2**-8) > 1e-6:
            return (
                f"The last slope is 2^-8 = 0.003906 for any number of heads, but with H={H} yours "
                f"is {number(last)}."
            )
    return None


SLOPE_PROPERTIES = (
    Property("the slopes fall by one factor", _slopes_fall),
    Property("the last slope is 2^-8", _slopes_end),
)


def _bias_itself(answer) -> str | None:
    own = answer(4, 6).diagonal(dim1=-2, dim2=-1)
    if bool((own == 0).all()):
        return None
    return "A token is at distance 0 from itself, so its own bias must be 0, and yours is not."


def _bias_future(answer) -> str | None:
    shares = answer(4, 6).softmax(dim=-1)
    if bool(shares.isnan().any()):
        return (
            "Softmax of your bias gives NaN; it may hold minus infinity, but no other such number."
        )
    leaked = shares.triu(1).max().item()
    if leaked == 0:
        return None
    return (
        "The future leaks: added to equal scores, your bias gives a later token the weight "
        f"{number(leaked)}, where it must be exactly 0."
    )


def _bias_grows(answer) -> str | None:
    bias = answer(4, 6)
    steps = (bias[:, 5, 1:] - bias[:, 5, :-1]).nan_to_num(nan=INF)  # (H, T - 1)
    if gap_between(steps, alibi_slopes(4)[:, None].expand_as(steps)) < 1e-5:
        return None
    return (
        "From one key to the next, nearer one the bias must rise by the slope of the head, "
        "and yours does not."
    )


BIAS_PROPERTIES = (
    Property("a token's own bias is 0", _bias_itself),
    Property("the future leaks nothing", _bias_future),
    Property("the bias rises by the slope from key to key", _bias_grows),
)


# --- frequencies ---

FREQUENCY_CASES = (
    Case("C=4 and the paper's base", (4,)),
    Case("C=6, base=100", (6, 100.0)),
    Case("a single pair", (2, 50.0)),
    Case("C=10, base=30", (10, 30.0)),
    Case("C=130", (130, BASE)),
    Case("C=16, base=500,000", (16, 500_000.0)),
    Case("a base that is a whole number", (8, 3)),
)


def _frequencies_by_log(C, base=BASE):
    return torch.exp(-math.log(base) * torch.arange(0, C, 2) / C)


def _frequencies_by_list(C, base=BASE):
    return torch.tensor([1 / base ** (2 * i / C) for i in range(C // 2)])


def _frequencies_by_steps(C, base=BASE):
    found, w = [], 1.0
    for _ in range(C // 2):
        found.append(w)
        w = w * base ** (-2 / C)
    return torch.tensor(found)


# Known mistakes.


def _frequencies_from_one(C, base=BASE):
    return base ** (-torch.arange(2, C + 2, 2) / C)


def _frequencies_no_two(C, base=BASE):
    return base ** (-torch.arange(C // 2) / C)


def _frequencies_doubled(C, base=BASE):
    return base ** (-2 * torch.arange(0, C, 2) / C)


def _frequencies_rising(C, base=BASE):
    return base ** (torch.arange(0, C, 2) / C)


def _frequencies_each_dimension(C, base=BASE):
    return base ** (-torch.arange(C) / C)


def _frequencies_each_column_index(C, base=BASE):
    return base ** (-2 * torch.arange(C) / C)


def _frequencies_twice(C, base=BASE):
    return frequencies(C, base).repeat_interleave(2)


def _frequencies_fixed_base(C, base=BASE):
    return frequencies(C)


def _frequencies_wavelengths(C, base=BASE):
    return 2 * math.pi / frequencies(C, base)


def _frequencies_in_turns(C, base=BASE):
    return 2 * math.pi * frequencies(C, base)


def _frequencies_whole_exponents(C, base=BASE):
    return base ** (-(torch.arange(0, C, 2) // C)).float()


def _frequencies_linear(C, base=BASE):
    return torch.linspace(1, 1 / base, C // 2)


def _frequencies_reversed(C, base=BASE):
    return frequencies(C, base).flip(0)


def _frequencies_natural(C, base=BASE):
    return torch.exp(-torch.arange(0, C, 2) / C)


def _frequencies_divided(C, base=BASE):
    return 1 / (base * torch.arange(0, C, 2) / C)


def _frequencies_exponent(C, base=BASE):
    return -torch.arange(0, C, 2) / C


def _frequencies_to_the_end(C, base=BASE):
    return base ** -torch.linspace(0, 1, C // 2)


def _frequency_minus_in_front(C, base=BASE):
    return -(base ** (torch.arange(0, C, 2) / C))


def _frequency_common_logarithm(C, base=BASE):
    return torch.exp(-torch.arange(0, C, 2) / C * math.log10(base))


FREQUENCY_MISTAKES = (
    Mistake(
        "counts_from_one",
        _frequencies_from_one,
        "Your i starts at 1, so the quickest pair is missing and one too slow is added; pairs are "
        "counted from 0.",
        "that the frequencies fall by the right factor",
    ),
    Mistake(
        "factor_2_forgotten",
        _frequencies_no_two,
        "Your exponent is -i/C where it must be -2i/C, so all your pairs are too quick.",
        "a single pair, or only the first frequency",
    ),
    Mistake(
        "factor_2_twice",
        _frequencies_doubled,
        "You multiply by 2 a number that already counts in steps of 2, so your exponent is -4i/C.",
        "a single pair, or only the first frequency",
    ),
    Mistake(
        "rising",
        _frequencies_rising,
        "Your exponent lacks its minus sign, so your frequencies rise where they must fall.",
        "a single pair",
    ),
    Mistake(
        "one_for_each_dimension",
        _frequencies_each_dimension,
        "You return C frequencies, one for each dimension; the two dimensions of a pair share one, "
        "so there are C/2.",
        "only the first and how they fall",
    ),
    Mistake(
        "i_counts_dimensions",
        _frequencies_each_column_index,
        "Your i runs over all C dimensions; it counts the pairs, from 0 to C/2 - 1.",
        "only the first and how they fall",
    ),
    Mistake(
        "each_twice",
        _frequencies_twice,
        "You return each frequency twice, once for the sine and once for the cosine; here each "
        "pair has one.",
        "only the set of values",
    ),
    Mistake(
        "base_ignored",
        _frequencies_fixed_base,
        "You always use 10,000 and never the argument base.",
        "only calls without a base",
    ),
    Mistake(
        "wavelengths",
        _frequencies_wavelengths,
        "These are wavelengths, 2π/w: how many tokens a whole turn takes; the exercise asks for "
        "the frequencies w.",
        "only that there are C/2 of them",
    ),
    Mistake(
        "factor_2_pi",
        _frequencies_in_turns,
        "Yours are 2π times too large: the formula has no 2π, the angle of a token is plain t·w "
        "in radians.",
        "only how they fall",
    ),
    Mistake(
        "whole_exponents",
        _frequencies_whole_exponents,
        "You divide with //, which throws the fraction away, so every exponent is 0 and every "
        "frequency 1.",
        "a single pair",
    ),
    Mistake(
        "evenly_spaced",
        _frequencies_linear,
        "Your frequencies fall by equal steps; they must fall by equal factors, as powers do.",
        "only the first and the last of many",
    ),
    Mistake(
        "reversed",
        _frequencies_reversed,
        "Your frequencies are in reverse order: the first pair must be the quickest.",
        "only the set of values, or a single pair",
    ),
    Mistake(
        "power_of_e",
        _frequencies_natural,
        "You take powers of e in place of powers of the base; with exp, the exponent needs the "
        "factor ln(base).",
        "a single pair, or only the first frequency",
    ),
    Mistake(
        "product_for_power",
        _frequencies_divided,
        "You multiply the base by 2i/C where it must be raised to that power, and the first pair "
        "becomes 1 divided by 0.",
        "only that the frequencies fall",
    ),
    Mistake(
        "exponent_alone",
        _frequencies_exponent,
        "You return the exponents; the base must still be raised to them.",
        "only that the frequencies fall",
    ),
    Mistake(
        "minus_in_front",
        _frequency_minus_in_front,
        "`-base ** x` is -(base ** x), since the power comes before the minus; the minus belongs "
        "into the exponent, in brackets.",
        "the absolute value of the first frequency",
    ),
    Mistake(
        "logarithm_to_base_10",
        _frequency_common_logarithm,
        "You take the logarithm to the base 10; exp undoes the natural one, `math.log`.",
        "a single pair, or only the first frequency",
    ),
)

FREQUENCIES = Exercise(
    id="positions.frequencies",
    title="The frequencies",
    reference=frequencies,
    cases=FREQUENCY_CASES,
    mistakes=FREQUENCY_MISTAKES,
    conventions=(
        Mistake(
            "last_is_one_over_base",
            _frequencies_to_the_end,
            "You spread the exponents from 0 to -1, both ends included, as the authors' first "
            "library did; the paper's formula, which we follow, ends one step before -1.",
            "only the first, or that they fall by one factor",
        ),
    ),
    right=(_frequencies_by_log, _frequencies_by_list, _frequencies_by_steps),
    properties=FREQUENCY_PROPERTIES,
    hints=(
        "How many pairs do C dimensions make, and which numbers 2i stand in the exponents?",
        "torch.arange(0, C, 2) gives 0, 2, 4, ...: the numbers 2i. Divide them by C, change the "
        "sign, and raise the base to that power.",
        "A number to the power of a tensor is a tensor: base ** (-torch.arange(0, C, 2) / C).",
    ),
    solution=(
        "The exponents -2i/C run from 0 to just above -1, in equal steps. Equal steps in the "
        "exponent are equal factors in the power, so the frequencies fall from 1 to almost 1/base "
        "like the marks of a logarithmic scale: each pair is slower than the one before by the "
        "same factor. (Vaswani et al. 2017, section 3.5.)"
    ),
    checked="one pair to 65, bases from 3 to 500,000, the first, the factor, the last",
    atol=1e-7,
)


# --- sinusoidal_encoding ---

ENCODING_CASES = (
    Case("T=5, C=4", (5, 4)),
    Case("T=12, C=6, base=100", (12, 6, 100.0)),
    Case("T=3, C=8", (3, 8)),
    Case("as many positions as dimensions", (6, 6, 20.0)),
    Case("one position", (1, 4)),
    Case("a single pair", (7, 2)),
    Case("T=130, C=10", (130, 10)),
    Case("a base that is a whole number", (9, 6, 50)),
)


def _encoding_by_loop(T, C, base=BASE):
    encoding = torch.zeros(T, C)
    for t in range(T):
        for i in range(C // 2):
            angle = t / base ** (2 * i / C)
            encoding[t, 2 * i] = math.sin(angle)
            encoding[t, 2 * i + 1] = math.cos(angle)
    return encoding


def _encoding_by_slices(T, C, base=BASE):
    angles = torch.arange(T)[:, None] * torch.exp(-math.log(base) * torch.arange(0, C, 2) / C)
    encoding = torch.empty(T, C)
    encoding[:, 0::2] = angles.sin()
    encoding[:, 1::2] = angles.cos()
    return encoding


def _encoding_by_phase(T, C, base=BASE):
    columns = torch.arange(C)
    angles = torch.arange(T).double()[:, None] * base ** (-(columns - columns % 2).double() / C)
    return torch.sin(angles + math.pi / 2 * (columns % 2)).float()


# Known mistakes.


def _stacked(T, C, w, first=torch.sin, second=torch.cos, positions=None):
    """Return sines and cosines in turn for the frequencies w (C/2,)."""
    positions = torch.arange(T).float() if positions is None else positions
    angles = torch.outer(positions, w)  # (T, C/2)
    return torch.stack((first(angles), second(angles)), dim=-1).flatten(1)


def _encoding_from_one(T, C, base=BASE):
    return _stacked(T, C, frequencies(C, base), positions=torch.arange(1, T + 1).float())


def _encoding_own_angles(T, C, base=BASE):
    angles = torch.outer(torch.arange(T).float(), base ** (-torch.arange(C) / C))  # (T, C)
    return torch.where(torch.arange(C) % 2 == 0, angles.sin(), angles.cos())


def _encoding_doubled_exponent(T, C, base=BASE):
    return _stacked(T, C, base ** (-2 * torch.arange(0, C, 2) / C))


def _encoding_no_two(T, C, base=BASE):
    return _stacked(T, C, base ** (-torch.arange(C // 2) / C))


def _encoding_frequencies_from_one(T, C, base=BASE):
    return _stacked(T, C, base ** (-torch.arange(2, C + 2, 2) / C))


def _encoding_rising(T, C, base=BASE):
    return _stacked(T, C, base ** (torch.arange(0, C, 2) / C))


def _encoding_sines_only(T, C, base=BASE):
    return _stacked(T, C, frequencies(C, base), second=torch.sin)


def _encoding_cosines_only(T, C, base=BASE):
    return _stacked(T, C, frequencies(C, base), first=torch.cos)


def _encoding_transposed(T, C, base=BASE):
    return sinusoidal_encoding(T, C, base).T


def _encoding_fixed_base(T, C, base=BASE):
    return sinusoidal_encoding(T, C)


def _encoding_relative_to_length(T, C, base=BASE):
    return _stacked(T, C, frequencies(C, base), positions=torch.arange(T) / T)


def _encoding_in_turns(T, C, base=BASE):
    return _stacked(T, C, 2 * math.pi * frequencies(C, base))


def _encoding_one_frequency(T, C, base=BASE):
    return _stacked(T, C, torch.ones(C // 2))


def _encoding_unit_length(T, C, base=BASE):
    return torch.nn.functional.normalize(sinusoidal_encoding(T, C, base), dim=1)


def _encoding_angles(T, C, base=BASE):
    return torch.outer(torch.arange(T).float(), frequencies(C, base)).repeat_interleave(2, dim=1)


def _encoding_mixed_up(T, C, base=BASE):
    angles = torch.outer(torch.arange(T).float(), frequencies(C, base))  # (T, C/2)
    return torch.cat((angles.sin(), angles.cos())).reshape(T, C)


def _encoding_halves(T, C, base=BASE):
    angles = torch.outer(torch.arange(T).float(), frequencies(C, base))
    return torch.cat((angles.sin(), angles.cos()), dim=1)


def _encoding_cosine_first(T, C, base=BASE):
    return _stacked(T, C, frequencies(C, base), first=torch.cos, second=torch.sin)


ENCODING_MISTAKES = (
    Mistake(
        "positions_from_one",
        _encoding_from_one,
        "Your positions start at 1, so every row is the one that belongs to the next token; they "
        "count from 0.",
        "that dot products depend on the distance",
    ),
    Mistake(
        "each_column_its_own_frequency",
        _encoding_own_angles,
        "Your cosine columns have frequencies of their own, -(2i + 1)/C in the exponent; the two "
        "columns of a pair share one frequency, or they are no point on a circle.",
        "the sine columns, or position 0",
    ),
    Mistake(
        "exponent_doubled",
        _encoding_doubled_exponent,
        "Your exponent is -4i/C: the column number 2i was multiplied by 2 once more.",
        "a single pair, or position 0",
    ),
    Mistake(
        "factor_2_forgotten",
        _encoding_no_two,
        "Your exponent is -i/C where it must be -2i/C, so your waves are all too quick.",
        "a single pair, or position 0",
    ),
    Mistake(
        "pairs_from_one",
        _encoding_frequencies_from_one,
        "Your pairs are counted from 1, so the quickest wave, with frequency 1, is missing.",
        "position 0, or that dot products depend on the distance",
    ),
    Mistake(
        "frequencies_rise",
        _encoding_rising,
        "Your frequencies rise from pair to pair: the minus sign of the exponent is missing.",
        "a single pair, or position 0",
    ),
    Mistake(
        "sines_only",
        _encoding_sines_only,
        "Both columns of your pairs hold the sine; the second must hold the cosine.",
        "the even columns",
    ),
    Mistake(
        "cosines_only",
        _encoding_cosines_only,
        "Both columns of your pairs hold the cosine; the first must hold the sine.",
        "the odd columns",
    ),
    Mistake(
        "transposed",
        _encoding_transposed,
        "You have positions and dimensions the wrong way round: each row must be one position.",
        "looking at the heat map, or one position of one pair",
    ),
    Mistake(
        "base_ignored",
        _encoding_fixed_base,
        "You always use 10,000 and never the argument base.",
        "only calls without a base",
    ),
    Mistake(
        "positions_divided_by_length",
        _encoding_relative_to_length,
        "You divide the positions by T, so the same position looks different in a longer text.",
        "one position",
    ),
    Mistake(
        "factor_2_pi",
        _encoding_in_turns,
        "You multiply the angles by 2π; they are plain t·w, in radians.",
        "position 0, or that pairs lie on a circle",
    ),
    Mistake(
        "one_frequency",
        _encoding_one_frequency,
        "All your pairs have the frequency 1, so positions a turn apart can't be told from each "
        "other.",
        "a single pair",
    ),
    Mistake(
        "unit_length",
        _encoding_unit_length,
        "You scale every row to length 1; each pair has length 1 by itself, and a row the root of "
        "C/2.",
        "the angle between two positions",
    ),
    Mistake(
        "angles_alone",
        _encoding_angles,
        "You return the angles t·w themselves, without sine and cosine, and they grow without end.",
        "only the shape",
    ),
    Mistake(
        "joined_along_positions",
        _encoding_mixed_up,
        "You join sines and cosines along the axis of the positions and then reshape, so a row "
        "holds numbers of several positions.",
        "one position, or only the shape",
    ),
)

ENCODING = Exercise(
    id="positions.sinusoidal_encoding",
    title="Sinusoidal encoding",
    reference=sinusoidal_encoding,
    cases=ENCODING_CASES,
    mistakes=ENCODING_MISTAKES,
    conventions=(
        Mistake(
            "halves",
            _encoding_halves,
            "You put all sines first and then all cosines, as several libraries do; here sine and "
            "cosine of a pair stand side by side, in columns 2i and 2i + 1.",
            "the dot product of two positions, which does not see the order of the columns",
        ),
        Mistake(
            "cosine_first",
            _encoding_cosine_first,
            "Your pairs begin with the cosine; here the sine stands in column 2i and the cosine in "
            "column 2i + 1, as in the paper.",
            "the dot product of two positions, which does not see the order of the columns",
        ),
    ),
    right=(_encoding_by_loop, _encoding_by_slices, _encoding_by_phase),
    properties=ENCODING_PROPERTIES,
    hints=(
        "There is one angle for each position and each pair: how do T positions and C/2 "
        "frequencies make a table of angles?",
        "torch.arange(T)[:, None] * frequencies makes the table (T, C/2), by broadcasting. The "
        "result has twice as many columns: the sines go to columns 0, 2, 4, ..., the cosines to 1, "
        "3, 5, ....",
        "Make encoding = torch.zeros(T, C), then set encoding[:, 0::2] = angles.sin() and "
        "encoding[:, 1::2] = angles.cos().",
    ),
    solution=(
        "Position t turns the hand of pair i by the angle t·w_i. Its tip has the coordinates "
        "(sin, cos), the two numbers of the pair. A column against a row, (T, 1) * (C/2,), gives "
        "all angles at once, and slices with a step of 2 place the columns. (Vaswani et al. 2017, "
        "section 3.5.)"
    ),
    checked="1 to 130 positions, 1 to 5 pairs, T = C, three bases, order of columns, the circle",
    atol=1e-4,
)


# --- shift_matrix ---

SHIFT_CASES = (
    Case("k=1, C=2", (1, 2)),
    Case("k=3, C=4, base=100", (3, 4, 100.0)),
    Case("k=7, C=6", (7, 6)),
    Case("two back", (-2, 6, 30.0)),
    Case("no shift at all", (0, 4)),
    Case("k=25, C=10, base=50", (25, 10, 50.0)),
    Case("k=90, C=40", (90, 40)),
    Case("far back, C=18, base=200", (-64, 18, 200.0)),
)


def _shift_by_blocks(k, C, base=BASE):
    blocks = []
    for i in range(C // 2):
        angle = k / base ** (2 * i / C)
        c, s = math.cos(angle), math.sin(angle)
        blocks.append(torch.tensor([[c, -s], [s, c]]))
    return torch.block_diag(*blocks)


def _shift_by_loop(k, C, base=BASE):
    matrix = torch.zeros(C, C)
    for i in range(0, C, 2):
        angle = torch.tensor(k * base ** (-i / C))
        matrix[i, i] = matrix[i + 1, i + 1] = angle.cos()
        matrix[i, i + 1] = -angle.sin()
        matrix[i + 1, i] = angle.sin()
    return matrix


def _shift_by_solving(k, C, base=BASE):
    """Two positions pin a pair's matrix down, one pair at a time."""
    matrix = torch.zeros(C, C, dtype=torch.float64)
    for i in range(0, C, 2):
        w = base ** (-i / C)
        here, there = (
            torch.tensor([[math.sin(a), math.cos(a)] for a in angles], dtype=torch.float64)
            for angles in ((0.0, 1.0), (k * w, 1.0 + k * w))
        )
        matrix[i : i + 2, i : i + 2] = torch.linalg.solve(here, there)
    return matrix.float()


def _blocks(k, C, base, block):
    """Return a block-diagonal matrix from block(cos, sin) of each pair's angle k·w."""
    parts = []
    for w in frequencies(C, base).tolist():
        parts.append(torch.tensor(block(math.cos(k * w), math.sin(k * w))))
    return torch.block_diag(*parts)


# Known mistakes.


def _shift_no_minus(k, C, base=BASE):
    return _blocks(k, C, base, lambda c, s: [[c, s], [s, c]])


def _shift_sin_on_diagonal(k, C, base=BASE):
    return _blocks(k, C, base, lambda c, s: [[s, c], [-c, s]])


def _shift_diagonal_only(k, C, base=BASE):
    return _blocks(k, C, base, lambda c, s: [[c, 0.0], [0.0, c]])


def _shift_one_frequency(k, C, base=BASE):
    c, s = math.cos(k), math.sin(k)
    return torch.block_diag(*(torch.tensor([[c, -s], [s, c]]) for _ in range(C // 2)))


def _shift_by_one(k, C, base=BASE):
    return shift_matrix(1, C, base)


def _shift_forward_only(k, C, base=BASE):
    return shift_matrix(abs(k), C, base)


def _shift_one_too_far(k, C, base=BASE):
    return shift_matrix(k + 1, C, base)


def _shift_fixed_base(k, C, base=BASE):
    return shift_matrix(k, C)


def _shift_column_frequencies(k, C, base=BASE):
    matrix = torch.zeros(C, C)
    for i in range(0, C, 2):
        angle = torch.tensor(k * base ** (-2 * i / C))
        matrix[i, i] = matrix[i + 1, i + 1] = angle.cos()
        matrix[i, i + 1], matrix[i + 1, i] = -angle.sin(), angle.sin()
    return matrix


def _shift_divided(k, C, base=BASE):
    return _blocks(1, C, base, lambda c, s: [[c, -s], [s, c]]) * k


def _shift_first_block(k, C, base=BASE):
    matrix = torch.eye(C)
    matrix[:2, :2] = shift_matrix(k, C, base)[:2, :2]
    return matrix


def _shift_rows(k, C, base=BASE):
    return torch.eye(C).roll(k, dims=1)


def _shift_halves(k, C, base=BASE):
    angles = k * frequencies(C, base)
    c, s = torch.diag(angles.cos()), torch.diag(angles.sin())
    return torch.cat((torch.cat((c, -s), dim=1), torch.cat((s, c), dim=1)))


def _shift_transposed(k, C, base=BASE):
    return shift_matrix(k, C, base).T


def _shift_by(k, w):
    """Return the matrix that moves by k with the frequencies w (C/2,)."""
    return torch.block_diag(*(_block(float(k * rate)) for rate in w))


def _block(angle):
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]])


def _shift_pairs_from_one(k, C, base=BASE):
    return _shift_by(k, base ** (-torch.arange(2, C + 2, 2) / C))


def _shift_frequencies_rise(k, C, base=BASE):
    return _shift_by(k, base ** (torch.arange(0, C, 2) / C))


def _shift_factor_2_forgotten(k, C, base=BASE):
    return _shift_by(k, base ** (-torch.arange(C // 2) / C))


SHIFT_MISTAKES = (
    Mistake(
        "no_minus",
        _shift_no_minus,
        "Both sines of your blocks have the same sign; in a rotation one of them is negative.",
        "no shift at all, or only the diagonal",
    ),
    Mistake(
        "sine_on_the_diagonal",
        _shift_sin_on_diagonal,
        "Sine and cosine have changed places: without a shift, sin 0 = 0 would stand on your "
        "diagonal, and nothing would be left of the vector.",
        "only that the blocks are rotations",
    ),
    Mistake(
        "diagonal_only",
        _shift_diagonal_only,
        "Your matrix has nothing beside its diagonal, so sine and cosine of a pair can't mix, and "
        "that is what turning does.",
        "no shift at all",
    ),
    Mistake(
        "one_frequency",
        _shift_one_frequency,
        "All your blocks turn by the same angle; pair i turns by k times its own frequency.",
        "a single pair",
    ),
    Mistake(
        "always_one_step",
        _shift_by_one,
        "Your angles do not depend on k: you always move by one position.",
        "k=1",
    ),
    Mistake(
        "only_forwards",
        _shift_forward_only,
        "You move forwards by 2 when k is -2; keep the sign of k.",
        "positive shifts",
    ),
    Mistake(
        "one_too_far",
        _shift_one_too_far,
        "You move by k + 1: no shift at all, k=0, must be the identity matrix.",
        "only that the blocks are rotations",
    ),
    Mistake(
        "base_ignored",
        _shift_fixed_base,
        "You always use the frequencies of base 10,000 and never the argument base.",
        "only calls without a base, or a single pair",
    ),
    Mistake(
        "exponent_doubled",
        _shift_column_frequencies,
        "Your exponent is -4i/C: the column number 2i was multiplied by 2 once more.",
        "a single pair",
    ),
    Mistake(
        "matrix_times_k",
        _shift_divided,
        "You multiply the whole matrix by k, which makes vectors longer; it is the angle inside "
        "sine and cosine that grows with k.",
        "k=1",
    ),
    Mistake(
        "only_the_first_pair",
        _shift_first_block,
        "Only your first pair turns; every pair needs its own block on the diagonal.",
        "a single pair",
    ),
    Mistake(
        "moves_dimensions",
        _shift_rows,
        "You move the dimensions of a vector round; the shift goes along the positions and turns "
        "each pair in its place.",
        "no shift at all",
    ),
    Mistake(
        "pairs_from_one",
        _shift_pairs_from_one,
        "Your pairs are counted from 1, so the quickest, with frequency 1, is missing.",
        "no shift at all, or only that the blocks are rotations",
    ),
    Mistake(
        "frequencies_rise",
        _shift_frequencies_rise,
        "Your frequencies rise from pair to pair: the minus sign of the exponent is missing.",
        "a single pair",
    ),
    Mistake(
        "factor_2_forgotten",
        _shift_factor_2_forgotten,
        "Your exponent is -i/C where it must be -2i/C, so your pairs turn too quickly.",
        "a single pair",
    ),
)

SHIFT = Exercise(
    id="positions.shift_matrix",
    title="The matrix of a shift",
    reference=shift_matrix,
    cases=SHIFT_CASES,
    mistakes=SHIFT_MISTAKES,
    conventions=(
        Mistake(
            "transposed",
            _shift_transposed,
            "This is the transpose: it does what we want as matrix @ vector, but as "
            "vector @ matrix it moves backwards; here a position is a row, in front of the matrix.",
            "no shift at all, or only the diagonal",
        ),
        Mistake(
            "halves",
            _shift_halves,
            "Your matrix is for an encoding with all sines first and then all cosines; ours has "
            "them side by side, so the blocks are 2 by 2.",
            "a single pair",
        ),
    ),
    right=(_shift_by_blocks, _shift_by_loop, _shift_by_solving),
    properties=SHIFT_PROPERTIES,
    hints=(
        "Take a single pair first: how do sin(a + b) and cos(a + b) follow from sin a, cos a, "
        "sin b and cos b?",
        "With the row (sin a, cos a) on the left, the first column of the block makes "
        "sin(a + b) = sin a · cos b + cos a · sin b, and the second makes cos(a + b). Pair i has "
        "b = k·w_i and stands in rows and columns 2i and 2i + 1.",
        "Loop over the pairs: with angle = k * base ** (-2 * i / C), set the entries "
        "[2i, 2i] and [2i+1, 2i+1] to the cosine, [2i, 2i+1] to minus the sine, and [2i+1, 2i] to "
        "the sine.",
    ),
    solution=(
        "sin(a + b) = sin a · cos b + cos a · sin b fills the first column of a block, "
        "cos(a + b) = cos a · cos b - sin a · sin b the second. The angle b = k·w_i depends on the "
        "shift and not on the position, so one matrix serves every position. It is a rotation, and "
        "two shifts after one another add their angles."
    ),
    checked="shifts forwards, backwards and by 0, one to five pairs, four bases, sums of shifts",
    atol=1e-4,
)


# --- add_positions ---

ADD_CASES = (
    Case("B=2, T=3, C=4, N=8", (normal(320, 2, 3, 4), normal(321, 8, 4))),
    Case("from position 2 on", (normal(322, 3, 4, 5), normal(323, 9, 5), 2)),
    Case("the last rows of the table", (normal(324, 1, 3, 2), normal(325, 7, 2), 4)),
    Case("B, T and C all 3", (normal(326, 3, 3, 3), normal(327, 6, 3), 1)),
    Case("as many items as tokens", (normal(328, 4, 4, 2), normal(329, 5, 2))),
    Case("one token, later in the text", (normal(330, 2, 1, 4), normal(331, 8, 4), 5)),
    Case("a table with one row for each token", (normal(332, 2, 5, 3), normal(333, 5, 3))),
    Case(
        "double precision",
        (normal(334, 2, 3, 4, dtype=torch.float64), normal(335, 6, 4, dtype=torch.float64), 3),
    ),
    Case("a transposed x", (normal(336, 4, 2, 3).transpose(0, 1), normal(337, 7, 3))),
)


def _add_by_index(x, table, start=0):
    positions = torch.arange(start, start + x.shape[1])
    return x + table[positions][None]


def _add_by_loop(x, table, start=0):
    tokens = [x[:, t] + table[start + t] for t in range(x.shape[1])]
    return torch.stack(tokens, dim=1)


def _add_by_narrow(x, table, start=0):
    return torch.add(x, table.narrow(0, start, x.size(1)).expand(x.size(0), -1, -1))


# Known mistakes.


def _add_from_zero(x, table, start=0):
    return x + table[: x.shape[1]]


def _add_one_row(x, table, start=0):
    return x + table[start]


def _add_last_rows(x, table, start=0):
    return x + table[-x.shape[1] :]


def _add_from_one(x, table, start=0):
    rows = (torch.arange(x.shape[1]) + start + 1) % len(table)
    return x + table[rows]


def _add_along_batch(x, table, start=0):
    return x + table[start : start + x.shape[0]][:, None]


def _add_short_slice(x, table, start=0):
    return x + table[start : x.shape[1]]


def _add_reversed(x, table, start=0):
    return x + table[start : start + x.shape[1]].flip(0)


def _add_product(x, table, start=0):
    return x * table[start : start + x.shape[1]]


def _add_joined(x, table, start=0):
    rows = table[start : start + x.shape[1]].expand(len(x), -1, -1)
    return torch.cat((x, rows), dim=-1)


def _add_in_place(x, table, start=0):
    x += table[start : start + x.shape[1]]
    return x


def _add_mean(x, table, start=0):
    return (x + table[start : start + x.shape[1]]) / 2


def _add_runs_on(x, table, start=0):
    B, T, C = x.shape
    rows = (torch.arange(B * T) + start) % len(table)
    return x + table[rows].view(B, T, C)


def _add_whole_table(x, table, start=0):
    return x + table


def _add_positions_alone(x, table, start=0):
    return table[start : start + x.shape[1]].expand_as(x).clone()


def _add_width_for_time(x, table, start=0):
    rows = torch.arange(start, start + x.shape[-1]) % len(table)
    return x + table[rows][: x.shape[1]]


def _add_scaled(x, table, start=0):
    return x * math.sqrt(x.shape[-1]) + table[start : start + x.shape[1]]


ADD_MISTAKES = (
    Mistake(
        "start_ignored",
        _add_from_zero,
        "You always begin with row 0 and never use start, so a text that goes on is placed at the "
        "beginning again.",
        "calls without start",
    ),
    Mistake(
        "one_row_for_all",
        _add_one_row,
        "You add the one row `start` to every token, so no token can be told from another by its "
        "position.",
        "one token",
    ),
    Mistake(
        "last_rows",
        _add_last_rows,
        "You take the last T rows of the table; the text begins at the row start.",
        "a table with one row for each token",
    ),
    Mistake(
        "one_row_too_far",
        _add_from_one,
        "You begin one row too late: the first token stands at position start itself.",
        "only the shape",
    ),
    Mistake(
        "along_the_batch",
        _add_along_batch,
        "Your rows run along the batch axis: each text gets one position for all its tokens.",
        "only the shape, or one text with one token",
    ),
    Mistake(
        "slice_ends_at_T",
        _add_short_slice,
        "Your slice ends at T; it must end at start + T.",
        "calls without start",
    ),
    Mistake(
        "reversed",
        _add_reversed,
        "You add the rows in reverse order, so the last token gets the first position.",
        "one token",
    ),
    Mistake(
        "multiplies",
        _add_product,
        "You multiply tokens and positions where they must be added.",
        "only the shape",
    ),
    Mistake(
        "side_by_side",
        _add_joined,
        "You put the positions beside the tokens, which doubles the width; here they are added.",
        "that both can be found in the result",
    ),
    Mistake(
        "changes_x_in_place",
        _add_in_place,
        "Your sum is right, but `+=` writes it into the caller's x, which then holds the positions "
        "too.",
        "comparing the result without looking at x afterwards",
    ),
    Mistake(
        "mean",
        _add_mean,
        "You return the mean of token and position; it is their sum that goes into the model.",
        "only the direction of the result",
    ),
    Mistake(
        "runs_on_over_the_batch",
        _add_runs_on,
        "Your positions run on from one text of the batch to the next; each text begins at start.",
        "a batch of one",
    ),
    Mistake(
        "whole_table",
        _add_whole_table,
        "You add the whole table, which fits only a text as long as the table.",
        "a table with one row for each token",
    ),
    Mistake(
        "positions_alone",
        _add_positions_alone,
        "You return the positions without the tokens.",
        "x of zeros",
    ),
    Mistake(
        "width_for_time",
        _add_width_for_time,
        "You count as many rows as x has columns: the tokens are on axis 1 of x, the width on the "
        "last one.",
        "as many tokens as dimensions",
    ),
    Mistake(
        "scales_x",
        _add_scaled,
        "You multiply x by the root of C first; the paper does, but this function only adds.",
        "vectors of width 1",
    ),
)

ADD = Exercise(
    id="positions.add_positions",
    title="Add positions",
    reference=add_positions,
    cases=ADD_CASES,
    mistakes=ADD_MISTAKES,
    right=(_add_by_index, _add_by_loop, _add_by_narrow),
    properties=ADD_PROPERTIES,
    hints=(
        "Which rows of the table belong to T tokens of which the first stands at start? Write them "
        "down for start=2 and T=3.",
        "The rows start, start + 1, ..., start + T - 1 have the shape (T, C). Broadcasting adds "
        "them to every item of x (B, T, C).",
        "x + table[start : start + T], with T = x.shape[1].",
    ),
    solution=(
        "From the right, (T, C) fits (B, T, C), so the same rows are added to each text of the "
        "batch. A slice stops before its end, so start + T is the first row that is not taken. "
        "With start, a text can go on where an earlier part ended."
    ),
    checked="sizes different and equal, starts up to the table's end, one token, doubles, x kept",
)


# --- apply_rotary ---

ROTARY_CASES = (
    _angles_case("one pair, T=3", 340, 3, 2),
    _angles_case("T=5, D=6", 342, 5, 6),
    _angles_case("B=2, H=3, T=5, D=8", 344, 2, 3, 5, 8),
    _angles_case("B=3, T=4, D=6", 346, 3, 4, 6),
    _angles_case("as many tokens as pairs", 348, 2, 3, 3, 6),
    _angles_case("B, H, T and D all 4", 350, 4, 4, 4, 4),
    _angles_case("as many items as tokens", 358, 3, 3, 4),
    _angles_case("one token", 352, 2, 3, 1, 4),
    _angles_case("double precision", 354, 2, 3, 5, 4, dtype=torch.float64),
    Case(
        "transposed heads",
        (normal(356, 2, 5, 3, 4).transpose(1, 2), *rotary_angles(5, 4, 10.0)),
        sizes={"B": 2, "H": 3, "T": 5, "D": 4},
    ),
    _angles_case("three axes in front, T=30, D=32", 362, 2, 1, 3, 30, 32),
)


def _rotary_by_complex(x, cos, sin):
    half = x.shape[-1] // 2
    hands = torch.complex(x[..., :half], x[..., half:].contiguous()) * torch.complex(cos, sin)
    return torch.cat((hands.real, hands.imag), dim=-1)


def _rotary_by_half_turn(x, cos, sin):
    half = x.shape[-1] // 2
    quarter_turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * torch.cat((cos, cos), dim=-1) + quarter_turned * torch.cat((sin, sin), dim=-1)


def _rotary_by_loop(x, cos, sin):
    half = x.shape[-1] // 2
    result = torch.empty_like(x)
    for i in range(half):
        a, b = x[..., i], x[..., i + half]
        result[..., i] = a * cos[:, i] - b * sin[:, i]
        result[..., i + half] = a * sin[:, i] + b * cos[:, i]
    return result


# Known mistakes.


def _halves_of(x):
    return x.chunk(2, dim=-1)


def _rotary_backwards(x, cos, sin):
    return apply_rotary(x, cos, -sin)


def _rotary_no_minus(x, cos, sin):
    first, second = _halves_of(x)
    return torch.cat((first * cos + second * sin, second * cos + first * sin), dim=-1)


def _rotary_both_minus(x, cos, sin):
    first, second = _halves_of(x)
    return torch.cat((first * cos - second * sin, second * cos - first * sin), dim=-1)


def _rotary_turned_already(x, cos, sin):
    first, second = _halves_of(x)
    first = first * cos - second * sin
    second = second * cos + first * sin
    return torch.cat((first, second), dim=-1)


def _rotary_cosine_only(x, cos, sin):
    return x * torch.cat((cos, cos), dim=-1)


def _rotary_swapped(x, cos, sin):
    return apply_rotary(x, sin, cos)


def _rotary_halves_swapped(x, cos, sin):
    first, second = apply_rotary(x, cos, sin).chunk(2, dim=-1)
    return torch.cat((second, first), dim=-1)


def _rotary_mixed_order(x, cos, sin):
    first, second = apply_rotary(x, cos, sin).chunk(2, dim=-1)
    return torch.stack((first, second), dim=-1).flatten(-2)


def _rotary_first_half_only(x, cos, sin):
    first, second = _halves_of(x)
    return torch.cat((first * cos - second * sin, second), dim=-1)


def _rotary_one_angle(x, cos, sin):
    return apply_rotary(x, cos[:1].expand_as(cos), sin[:1].expand_as(sin))


def _rotary_one_pair_angle(x, cos, sin):
    return apply_rotary(x, cos[:, :1].expand_as(cos), sin[:, :1].expand_as(sin))


def _rotary_adds(x, cos, sin):
    return x + torch.cat((cos, sin), dim=-1)


def _rotary_mirror_pairs(x, cos, sin):
    first, second = _halves_of(x)
    second = second.flip(-1)
    turned = torch.cat((first * cos - second * sin, (second * cos + first * sin).flip(-1)), dim=-1)
    return turned


def _rotary_wrong_axis(x, cos, sin):
    """Position along axis 1, as if x were (B, T, ...)."""
    if x.dim() < 4:
        return apply_rotary(x, cos, sin)
    return apply_rotary(x.transpose(1, 2), cos, sin).transpose(1, 2)


def _rotary_transposed_angles(x, cos, sin):
    return apply_rotary(x, cos.T, sin.T)


def _rotary_angles_interleaved(x, cos, sin):
    first, second = _halves_of(x)
    quarter_turned = torch.cat((-second, first), dim=-1)
    return x * cos.repeat_interleave(2, -1) + quarter_turned * sin.repeat_interleave(2, -1)


def _rotary_in_place(x, cos, sin):
    x.copy_(apply_rotary(x, cos, sin))
    return x


def _rotary_values_lost(x, cos, sin):
    first, second = _halves_of(x)
    return first * cos - second * sin


def _rotary_interleaved(x, cos, sin):
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


def _rotary_interleaved_in_halves_out(x, cos, sin):
    first, second = x[..., 0::2], x[..., 1::2]
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


ROTARY_MISTAKES = (
    Mistake(
        "turns_backwards",
        _rotary_backwards,
        "You turn the other way: the minus sign belongs to the first number of the new pair.",
        "lengths, or that products depend only on the distance",
    ),
    Mistake(
        "no_minus",
        _rotary_no_minus,
        "Both sums of your pair have a plus; the first needs a minus, or lengths change.",
        "position 0",
    ),
    Mistake(
        "minus_twice",
        _rotary_both_minus,
        "Both sums of your pair have a minus; the second needs a plus, or lengths change.",
        "position 0",
    ),
    Mistake(
        "uses_the_turned_number",
        _rotary_turned_already,
        "You overwrite the first half and then use it, turned already, for the second half; both "
        "must come from the old pair.",
        "position 0, or the first half of the result",
    ),
    Mistake(
        "cosine_only",
        _rotary_cosine_only,
        "You multiply by the cosines alone, so the numbers of a pair never mix.",
        "position 0",
    ),
    Mistake(
        "cos_and_sin_swapped",
        _rotary_swapped,
        "Cosine and sine have changed places, so that you turn by a right angle minus the angle.",
        "lengths",
    ),
    Mistake(
        "halves_swapped",
        _rotary_halves_swapped,
        "Your halves come back in the wrong order: first the new first numbers, then the second.",
        "dot products of turned vectors, which do not see the order",
    ),
    Mistake(
        "halves_in_interleaved_out",
        _rotary_mixed_order,
        "You take the pairs from the two halves but put them back side by side, so dimensions "
        "change their place.",
        "dot products of turned vectors, which do not see the order",
    ),
    Mistake(
        "second_half_unturned",
        _rotary_first_half_only,
        "Your second half comes back unchanged; both numbers of a pair must turn.",
        "the first half of the result",
    ),
    Mistake(
        "one_angle_for_all_positions",
        _rotary_one_angle,
        "You use the angles of the first row for every token, so positions make no difference.",
        "one token, or lengths",
    ),
    Mistake(
        "one_angle_for_all_pairs",
        _rotary_one_pair_angle,
        "You turn every pair by the angle of the first; each pair has its own column of cos and "
        "sin.",
        "one pair",
    ),
    Mistake(
        "adds",
        _rotary_adds,
        "You add cosines and sines to x, as sinusoidal positions do; rotary positions multiply.",
        "only the shape",
    ),
    Mistake(
        "pairs_from_the_ends",
        _rotary_mirror_pairs,
        "You pair the first dimension with the last, the second with the last but one; dimension i "
        "belongs to i + D/2.",
        "one pair, or lengths",
    ),
    Mistake(
        "position_along_the_heads",
        _rotary_wrong_axis,
        "You let the angles run along axis 1, which holds the heads; positions are on the last "
        "axis but one.",
        "x without an axis for heads",
    ),
    Mistake(
        "angles_side_by_side",
        _rotary_angles_interleaved,
        "You pair x by halves but repeat each angle side by side, as for interleaved pairs, so the "
        "two numbers of a pair turn by different angles; repeat the whole row with torch.cat.",
        "one pair",
    ),
    Mistake(
        "angles_transposed",
        _rotary_transposed_angles,
        "You transpose cos and sin: their rows are positions and their columns pairs already.",
        "as many tokens as pairs, checked only for the shape",
    ),
    Mistake(
        "changes_x_in_place",
        _rotary_in_place,
        "Your numbers are right, but you write them into the caller's x.",
        "comparing the result without looking at x afterwards",
    ),
    Mistake(
        "half_the_result",
        _rotary_values_lost,
        "You return only the first number of each pair; the second ones are missing.",
        "the first half of the result",
    ),
    Mistake(
        "interleaved_in_halves_out",
        _rotary_interleaved_in_halves_out,
        "You take neighbours for pairs but put them back as two halves, so dimensions change their "
        "place; dimension i is paired with i + D/2 on both ways.",
        "dot products of turned vectors, which do not see the order",
    ),
)

ROTARY = Exercise(
    id="positions.apply_rotary",
    title="Rotary positions",
    reference=apply_rotary,
    cases=ROTARY_CASES,
    mistakes=ROTARY_MISTAKES,
    conventions=(
        Mistake(
            "interleaved",
            _rotary_interleaved,
            "You pair dimension 2i with 2i + 1, as the paper does; here dimension i is paired with "
            "i + D/2, as in Hugging Face's Llama.",
            "lengths, or that products depend only on the distance",
        ),
    ),
    right=(_rotary_by_complex, _rotary_by_half_turn, _rotary_by_loop),
    properties=ROTARY_PROPERTIES,
    hints=(
        "Cut x into its two halves. Number i of the first and number i of the second are the pair "
        "(a, b) that turns by one angle. What is the turned pair?",
        "The turned pair is (a·cos - b·sin, b·cos + a·sin). With halves of the shape "
        "(..., T, D/2), cos and sin of the shape (T, D/2) broadcast by themselves.",
        "first, second = x.chunk(2, dim=-1); then torch.cat joins first * cos - second * sin and "
        "second * cos + first * sin along the last axis.",
    ),
    solution=(
        "Each half has one number of every pair, so four products of whole tensors turn all pairs "
        "of all tokens at once. Both new halves are made from the old ones. The angle of a query "
        "and that of a key meet in the dot product as their difference, which is why only the "
        "distance counts. (Su et al. 2021, section 3.4.)"
    ),
    checked="none to two leading axes, sizes different and equal, doubles, x kept, relative",
)


# --- alibi_slopes ---

SLOPE_CASES = tuple(Case(f"H={H}" if H > 1 else "one head", (H,)) for H in (8, 4, 1, 2, 16, 32, 64))


def _slopes_by_list(H):
    return torch.tensor([2 ** (-8 * (h + 1) / H) for h in range(H)])


def _slopes_by_steps(H):
    ratio, slopes = 2 ** (-8 / H), []
    for h in range(H):
        slopes.append(ratio if h == 0 else slopes[-1] * ratio)
    return torch.tensor(slopes)


def _slopes_by_exp2(H):
    return torch.exp2(-torch.linspace(8 / H, 8, H))


# Known mistakes.


def _slopes_from_zero(H):
    return 2.0 ** (-8 * torch.arange(H) / H)


def _slopes_halves(H):
    return 0.5 ** torch.arange(1, H + 1)


def _slopes_linear(H):
    return torch.arange(H, 0, -1) / H


def _slopes_reversed(H):
    return alibi_slopes(H).flip(0)


def _slopes_rising(H):
    return 2.0 ** (8 * torch.arange(1, H + 1) / H)


def _slopes_whole(H):
    return 2.0 ** -(8 * torch.arange(1, H + 1) // H)


def _slopes_one(H):
    return torch.full((H,), 2 ** (-8 / H))


def _slopes_no_eight(H):
    return 2.0 ** (-torch.arange(1, H + 1) / H)


def _slopes_natural(H):
    return torch.exp(-8 * torch.arange(1, H + 1) / H)


def _slopes_exponents(H):
    return 8 * torch.arange(1, H + 1) / H


def _slopes_squared_h(H):
    return 2.0 ** (-8 / H) * torch.arange(1, H + 1)


def _slopes_heads_times(H):
    return 2.0 ** (-torch.arange(1, H + 1) * H / 8)


def _slopes_negative(H):
    return -alibi_slopes(H)


def _slopes_column(H):
    return alibi_slopes(H)[:, None, None]


SLOPE_MISTAKES = (
    Mistake(
        "counts_from_zero",
        _slopes_from_zero,
        "Your first slope is 2^0 = 1: heads are counted from 0 here, but the exponent has h + 1.",
        "that the slopes fall by the right factor",
    ),
    Mistake(
        "always_halves",
        _slopes_halves,
        "You halve the slope from head to head, which is right for 8 heads only; the factor is "
        "2^(-8/H).",
        "8 heads",
    ),
    Mistake(
        "evenly_spaced",
        _slopes_linear,
        "Your slopes fall by equal steps; they must fall by equal factors.",
        "only that the slopes fall",
    ),
    Mistake(
        "reversed",
        _slopes_reversed,
        "Your slopes are in reverse order: head 0 has the steepest.",
        "the set of slopes, or one head",
    ),
    Mistake(
        "no_minus",
        _slopes_rising,
        "The minus sign of your exponent is missing, so your slopes are above 1 and rise.",
        "that neighbours differ by the right factor or its inverse",
    ),
    Mistake(
        "whole_exponents",
        _slopes_whole,
        "You divide with //, which throws the fraction away, so with more than 8 heads several "
        "share one slope.",
        "up to 8 heads",
    ),
    Mistake(
        "one_slope",
        _slopes_one,
        "All your heads have the same slope; head h takes the power h + 1 of that factor.",
        "one head",
    ),
    Mistake(
        "factor_8_forgotten",
        _slopes_no_eight,
        "The 8 of the exponent is missing, so that all your slopes lie between 1/2 and 1.",
        "only that the slopes fall by one factor",
    ),
    Mistake(
        "power_of_e",
        _slopes_natural,
        "You take powers of e; the slopes are powers of 2.",
        "only that the slopes fall by one factor",
    ),
    Mistake(
        "exponents",
        _slopes_exponents,
        "You return the exponents, without the power of 2 and the minus sign.",
        "only the shape",
    ),
    Mistake(
        "product_for_power",
        _slopes_squared_h,
        "You multiply the first slope by h + 1; it must be raised to that power.",
        "one head, or the first slope",
    ),
    Mistake(
        "H_upside_down",
        _slopes_heads_times,
        "Your exponent has H/8 where 8/H belongs, so many heads get steeper slopes than few.",
        "8 heads",
    ),
)

SLOPES = Exercise(
    id="positions.alibi_slopes",
    title="ALiBi's slopes",
    reference=alibi_slopes,
    cases=SLOPE_CASES,
    mistakes=SLOPE_MISTAKES,
    conventions=(
        Mistake(
            "negative",
            _slopes_negative,
            "Your slopes carry the minus sign of the penalty; here slopes are positive, and the "
            "bias has the sign.",
            "the size of the slopes",
        ),
        Mistake(
            "with_axes_for_tokens",
            _slopes_column,
            "Your slopes have the shape (H, 1, 1), ready for broadcasting; here the shape is (H,), "
            "and whoever needs the axes adds them.",
            "multiplying them with a table of distances",
        ),
    ),
    right=(_slopes_by_list, _slopes_by_steps, _slopes_by_exp2),
    properties=SLOPE_PROPERTIES,
    hints=(
        "Write the exponents down for 4 heads: the last is always -8, and they are evenly spaced.",
        "The exponents are -8·1/H, -8·2/H, ..., -8·H/H. torch.arange(1, H + 1) gives the numbers 1 "
        "to H.",
        "A number to the power of a tensor is a tensor: 2.0 ** (-8 * torch.arange(1, H + 1) / H).",
    ),
    solution=(
        "2^(-8/H) is the first slope and also the factor from one head to the next, so head h, "
        "counted from 0, has it to the power h + 1, and the last head 2^-8 = 1/256 however many "
        "there are. Steep heads see the nearest tokens, flat ones far back. (Press et al. 2022, "
        "section 3.)"
    ),
    checked="1 to 64 heads: the first slope, the factor, the last",
    atol=1e-6,
)


# --- alibi_bias ---

BIAS_CASES = (
    Case("H=2, T=3", (2, 3)),
    Case("H=8, T=5", (8, 5)),
    Case("H=4, T=7", (4, 7)),
    Case("as many heads as tokens", (4, 4)),
    Case("one head", (1, 6)),
    Case("one token", (4, 1)),
    Case("H=2, T=40", (2, 40)),
    Case("H=16, T=3", (16, 3)),
)


def _distances(T):
    """Return i - j for query i and key j: (T, T)."""
    position = torch.arange(T)
    return position[:, None] - position[None, :]


def _future(T):
    return _distances(T) < 0


def _bias_by_loop(H, T):
    bias = torch.full((H, T, T), -INF)
    for h, slope in enumerate(alibi_slopes(H).tolist()):
        for i in range(T):
            for j in range(i + 1):
                bias[h, i, j] = -slope * (i - j)
    return bias


def _bias_by_where(H, T):
    distances = _distances(T)
    past = -alibi_slopes(H).view(H, 1, 1) * distances
    return torch.where(distances >= 0, past, -INF)


def _bias_by_outer(H, T):
    bias = torch.einsum("h,ij->hij", alibi_slopes(H), -_distances(T).float())
    return bias + torch.full((T, T), -INF).triu(1)


# Known mistakes.


def _penalty(H, T):
    return -alibi_slopes(H)[:, None, None] * _distances(T)


def _bias_sign(H, T):
    return (-_penalty(H, T)).masked_fill(_future(T), -INF)


def _bias_negated(H, T):
    return -alibi_bias(H, T)


def _bias_no_mask(H, T):
    return _penalty(H, T)


def _bias_zero_future(H, T):
    return _penalty(H, T).masked_fill(_future(T), 0.0)


def _bias_hides_itself(H, T):
    return _penalty(H, T).masked_fill(_distances(T) <= 0, -INF)


def _bias_looks_ahead(H, T):
    return alibi_bias(H, T).transpose(-2, -1)


def _bias_one_slope(H, T):
    return alibi_bias(H, T)[:1].expand(H, T, T).clone()


def _bias_slope_for_rows(H, T):
    """Slopes along the queries: fits only as many heads as tokens, else repeated."""
    slopes = alibi_slopes(H)[torch.arange(T) % H]
    bias = (-slopes[:, None] * _distances(T)).masked_fill(_future(T), -INF)
    return bias.expand(H, T, T).clone()


def _bias_one_too_far(H, T):
    bias = -alibi_slopes(H)[:, None, None] * (_distances(T) + 1)
    return bias.masked_fill(_future(T), -INF)


def _bias_squared(H, T):
    bias = -alibi_slopes(H)[:, None, None] * _distances(T) ** 2
    return bias.masked_fill(_future(T), -INF)


def _bias_no_slope(H, T):
    return (-_distances(T).float()).masked_fill(_future(T), -INF).expand(H, T, T).clone()


def _bias_weights(H, T):
    return alibi_bias(H, T).softmax(dim=-1)


def _bias_exponentials(H, T):
    return alibi_bias(H, T).exp()


def _bias_relative_to_length(H, T):
    return alibi_bias(H, T) / T


def _bias_divides(H, T):
    bias = -_distances(T) / alibi_slopes(H)[:, None, None]
    return bias.masked_fill(_future(T), -INF)


def _bias_mask_only(H, T):
    return torch.zeros(H, T, T).masked_fill(_future(T), -INF)


def _bias_heads_last(H, T):
    return alibi_bias(H, T).permute(1, 2, 0)


def _bias_symmetric(H, T):
    return -alibi_slopes(H)[:, None, None] * _distances(T).abs()


def _bias_by_key(H, T):
    bias = alibi_slopes(H)[:, None, None] * torch.arange(T)
    return bias.expand(H, T, T).masked_fill(_future(T), -INF)


def _bias_low_number(H, T):
    return alibi_bias(H, T).clamp(min=-1e9)


def _bias_infinity_times_zero(H, T):
    future = torch.ones(T, T).triu(1)
    return -alibi_slopes(H)[:, None, None] * _distances(T) + future * -math.inf


BIAS_MISTAKES = (
    Mistake(
        "sign_flipped",
        _bias_sign,
        "Your sign is flipped: the bias rises with the distance, so that far tokens count more.",
        "the diagonal and the future",
    ),
    Mistake(
        "all_negated",
        _bias_negated,
        "Your minus sign has reached the infinities too: later tokens get plus infinity, which "
        "softmax turns into NaN, and far ones a bonus.",
        "where the infinities stand",
    ),
    Mistake(
        "future_not_hidden",
        _bias_no_mask,
        "You do not hide the future: there i - j is negative, so later tokens even get a bonus.",
        "the entries on and below the diagonal",
    ),
    Mistake(
        "future_zero",
        _bias_zero_future,
        "Your bias is 0 for later tokens, which changes nothing in their scores; only minus "
        "infinity hides them.",
        "the entries on and below the diagonal",
    ),
    Mistake(
        "hides_itself",
        _bias_hides_itself,
        "Your bias hides a token from itself, and the first one then has nothing to look at; the "
        "diagonal is 0.",
        "the entries below the diagonal",
    ),
    Mistake(
        "looks_ahead",
        _bias_looks_ahead,
        "Queries and keys have changed places: in your table a token sees the future and not its "
        "past. Rows are queries.",
        "the diagonal, or one token",
    ),
    Mistake(
        "one_slope",
        _bias_one_slope,
        "All your heads have the slope of the first; each has its own.",
        "one head",
    ),
    Mistake(
        "slope_along_the_queries",
        _bias_slope_for_rows,
        "Your slopes run along the queries, so the heads are all alike; give the slopes the shape "
        "(H, 1, 1).",
        "as many heads as tokens, checked only for the shape",
    ),
    Mistake(
        "distance_from_one",
        _bias_one_too_far,
        "Your distances start at 1: a token is at distance 0 from itself.",
        "what softmax makes of it, which does not see a number added to a whole row",
    ),
    Mistake(
        "distance_squared",
        _bias_squared,
        "You square the distance; the L in ALiBi stands for linear.",
        "distances 0 and 1",
    ),
    Mistake(
        "slopes_ignored",
        _bias_no_slope,
        "Your bias is the plain distance in every head; it must be multiplied by the head's slope.",
        "only that far tokens get less",
    ),
    Mistake(
        "softmax_already",
        _bias_weights,
        "You return weights; the bias is what is added to the scores, before softmax.",
        "that the rows favour near tokens",
    ),
    Mistake(
        "exponentials",
        _bias_exponentials,
        "You return exponentials of the bias; softmax takes them itself.",
        "that the rows favour near tokens",
    ),
    Mistake(
        "divided_by_length",
        _bias_relative_to_length,
        "You divide by T, so the same distance costs less in a longer text.",
        "one token",
    ),
    Mistake(
        "divides_by_slope",
        _bias_divides,
        "You divide the distance by the slope where it must be multiplied.",
        "the diagonal and the future",
    ),
    Mistake(
        "mask_only",
        _bias_mask_only,
        "Your bias hides the future but does not depend on the distance.",
        "the diagonal and the future",
    ),
    Mistake(
        "heads_last",
        _bias_heads_last,
        "Your heads are on the last axis; the shape is (H, T, T), heads first.",
        "only the set of values",
    ),
    Mistake(
        "infinity_times_zero",
        _bias_infinity_times_zero,
        "You multiply minus infinity by 0 where a token may look, and that is NaN, not 0; put it "
        "in place with `masked_fill` or `torch.where`.",
        "the entries above the diagonal",
    ),
)

BIAS = Exercise(
    id="positions.alibi_bias",
    title="ALiBi's bias",
    reference=alibi_bias,
    cases=BIAS_CASES,
    mistakes=BIAS_MISTAKES,
    conventions=(
        Mistake(
            "symmetric",
            _bias_symmetric,
            "Your bias treats future and past alike and leaves the hiding to a mask, as models "
            "that read a whole text do; here the bias hides the future itself.",
            "the entries on and below the diagonal",
        ),
        Mistake(
            "by_key_alone",
            _bias_by_key,
            "Yours is slope·j, as in BLOOM: it differs from ours by one number in each row, which "
            "softmax cancels. Here the bias is -slope·(i - j), 0 on the diagonal.",
            "what softmax makes of it",
        ),
        Mistake(
            "large_negative_number",
            _bias_low_number,
            "You hide the future with a large negative number; here it is minus infinity, which "
            "leaves no weight at all, whatever the scores.",
            "what softmax makes of it",
        ),
    ),
    right=(_bias_by_loop, _bias_by_where, _bias_by_outer),
    properties=BIAS_PROPERTIES,
    hints=(
        "Make the table of distances i - j first, with rows for the queries i and columns for the "
        "keys j. Where is it negative?",
        "position[:, None] - position[None, :] is that table, (T, T). Slopes of the shape "
        "(H, 1, 1) multiply it for every head. Later keys are where j > i.",
        "bias = -slopes[:, None, None] * distances; then bias.masked_fill(distances < 0, "
        "-math.inf).",
    ),
    solution=(
        "A column of positions minus a row of positions is the table of distances, and (H, 1, 1) "
        "times (T, T) makes one table for each head. Minus infinity above the diagonal leaves "
        "later tokens the weight e^(-inf) = 0. Nothing here is learned, and nothing ends at a "
        "longest text. (Press et al. 2022, section 3.)"
    ),
    checked="1 to 16 heads, 1 to 40 tokens, H = T, the sign, the slope, the diagonal, the future",
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---

_NOT_THREE = "Return three things in this order, separated by commas: q, k and chunk."
_NOT_FLOAT = (
    "Make q and k tensors of floats, both of one dtype, for example by writing 1.0 for 1; whole "
    "numbers can't be turned."
)
_NOT_TABLES = "Give q and k two axes each, (T, D): a row for every token, and no batch."
_NOT_ALIKE = "Give q and k the same shape: every token has one query and one key."
_ODD_WIDTH = "Make the width D even and at least 2, since the dimensions turn in pairs."
_NOT_A_COUNT = "Make chunk a whole number of tokens, at least 1, such as 2."
_ONE_CHUNK = (
    "All your tokens fit into one chunk, and in the first chunk the positions are right; take more "
    "tokens than that."
)
_NOT_FINITE = (
    "A score is infinite or NaN, and such numbers can't be compared; keep q and k finite and of "
    "ordinary size."
)
_NEXT_TO_ZERO = (
    "The scores between your chunks are next to zero, turned or not: give a query in one chunk and "
    "a key in another numbers that are not."
)
_TOO_SLOW = (
    "The scores agree because only slow pairs of your vectors are filled, and they hardly turn "
    "from chunk to chunk: the first pair, dimensions 0 and D/2, is the quickest."
)


def _three(answer) -> str | None:
    made = answer()
    if not isinstance(made, (tuple, list)) or len(made) != 3:
        return _NOT_THREE
    tensors = [isinstance(part, torch.Tensor) and part.dim() > 0 for part in made]
    return _NOT_THREE if tensors[2] and not all(tensors[:2]) else None


def _both_floats(answer) -> str | None:
    q, k, _ = answer()
    floats = all(isinstance(t, torch.Tensor) and t.is_floating_point() for t in (q, k))
    return None if floats and q.dtype == k.dtype else _NOT_FLOAT


def _both_tables(answer) -> str | None:
    q, k, _ = answer()
    return None if q.dim() == k.dim() == 2 and q.numel() and k.numel() else _NOT_TABLES


def _both_alike(answer) -> str | None:
    q, k, _ = answer()
    return None if q.shape == k.shape else _NOT_ALIKE


def _even_width(answer) -> str | None:
    return _ODD_WIDTH if answer()[0].shape[1] % 2 else None


def _chunk_is_a_count(answer) -> str | None:
    chunk = answer()[2]
    return None if type(chunk) is int and chunk >= 1 else _NOT_A_COUNT


def _several_chunks(answer) -> str | None:
    q, _, chunk = answer()
    return None if len(q) > chunk else _ONE_CHUNK


def _scores_finite(answer) -> str | None:
    q, k, chunk = answer()
    finite = (
        rotary_scores(q, k).isfinite().all() and restarting_scores(q, k, chunk).isfinite().all()
    )
    return None if finite else _NOT_FINITE


def _scores_differ(answer) -> str | None:
    q, k, chunk = answer()
    right = rotary_scores(q, k)
    if gap_between(right, restarting_scores(q, k, chunk)) > 1e-2:
        return None
    number_of_chunk = torch.arange(len(q)) // chunk
    between = number_of_chunk[:, None] != number_of_chunk
    lengths = q.norm(dim=1)[:, None] * k.norm(dim=1)  # (T, T), the largest score that there can be
    return _NEXT_TO_ZERO if lengths[between].max() <= 1e-2 else _TOO_SLOW


EXPOSE_PROPERTIES = (
    Property("three things come back", _three),
    Property("q and k hold floats", _both_floats),
    Property("q and k have two axes", _both_tables),
    Property("q and k have the same shape", _both_alike),
    Property("the width is even", _even_width),
    Property("chunk is a whole number", _chunk_is_a_count),
    Property("the text has more than one chunk", _several_chunks),
    Property("the scores are finite", _scores_finite),
    Property("the scores of the two functions differ by more than 0.01", _scores_differ),
)


def _expose_random():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(7, 6, generator=generator), torch.randn(7, 6, generator=generator), 3


def _expose_one_key():
    q, k = torch.zeros(3, 4), torch.zeros(3, 4)
    k[0, 0], q[2, 0] = 1.0, 1.0
    return q, k, 1


# Known mistakes.


def _expose_pair():
    return expose_bug()[:2]


def _expose_whole_numbers():
    q, k, chunk = expose_bug()
    return q.long(), k.long(), chunk


def _expose_batch():
    q, k, chunk = expose_bug()
    return q[None], k[None], chunk


def _expose_short_keys():
    q, k, chunk = expose_bug()
    return q, k[:3], chunk


def _expose_odd():
    return torch.ones(4, 3), torch.ones(4, 3), 2


def _expose_half_a_chunk():
    q, k, _ = expose_bug()
    return q, k, 1.5


def _expose_one_chunk():
    q, k, _ = expose_bug()
    return q, k, 4


def _expose_infinite():
    q, k, chunk = expose_bug()
    return q * INF, k, chunk


def _expose_zeros():
    q, k, chunk = expose_bug()
    return torch.zeros_like(q), k, chunk


def _expose_slow():
    q = torch.zeros(4, 64)
    q[:, 31] = 1.0
    return q, q.clone(), 2


EXPOSE_MISTAKES = (
    Mistake("two_results", _expose_pair, _NOT_THREE, "only that tensors come back"),
    Mistake("integers", _expose_whole_numbers, _NOT_FLOAT, "only the shapes"),
    Mistake("with_a_batch", _expose_batch, _NOT_TABLES, "only the types"),
    Mistake("fewer_keys", _expose_short_keys, _NOT_ALIKE, "only that both have the same width"),
    Mistake("odd_width", _expose_odd, _ODD_WIDTH, "only that both have the same shape"),
    Mistake("chunk_no_integer", _expose_half_a_chunk, _NOT_A_COUNT, "that chunk is above 0"),
    Mistake("one_chunk", _expose_one_chunk, _ONE_CHUNK, "only that both functions run"),
    Mistake("infinite", _expose_infinite, _NOT_FINITE, "that scores differ, as NaN does"),
    Mistake("zeros", _expose_zeros, _NEXT_TO_ZERO, "that there are several chunks"),
    Mistake("slow_pairs", _expose_slow, _TOO_SLOW, "that queries and keys are not zero"),
)

EXPOSE_BUG = Exercise(
    id="positions.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_random, _expose_one_key),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "At which position does the buggy function place the first token of the second chunk, and "
        "at which does it stand?",
        "Inside a chunk all distances are right, and rotary scores know only distances. So you "
        "need a query and a key in different chunks, and neither may be zero.",
        "Four tokens, chunk 2, and ones everywhere are enough: q = k = torch.ones(4, 2).",
    ),
    solution=(
        "Rotary scores depend on the distance alone, so a test inside one chunk can't see where it "
        "starts. Between chunks the distance is wrong: token 2 is read as position 0, and its "
        "distance to token 0 becomes 0 in place of 2. The same bug hides in models that keep old "
        "keys in a cache and forget how many there are."
    ),
    checked="both functions run on your input and their scores differ by more than 0.01",
)


EXERCISES: tuple[Exercise, ...] = (
    FREQUENCIES,
    ENCODING,
    SHIFT,
    ADD,
    ROTARY,
    SLOPES,
    BIAS,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "In the text 'the dog bites the man', which token is the target of 'bites' when a model "
        "learns to predict the next token?",
        (
            Option(
                "'dog'",
                "No. That comes before it; the model is to say what comes after.",
            ),
            Option(
                "'the'",
                "Yes. Targets are the inputs shifted by one: after 'bites' comes 'the'.",
                right=True,
            ),
            Option(
                "'man'",
                "No. That is two tokens on; the target is the very next one.",
            ),
            Option(
                "'bites'",
                "No. A model that repeats its input would learn nothing about what follows.",
            ),
        ),
    ),
    Question(
        "'dog' stands at the beginning of one text and at the end of another. How do its two "
        "vectors from the embedding compare?",
        (
            Option(
                "They differ a little, since the places differ.",
                "No. An embedding is given the id and nothing else, not where the token stands.",
            ),
            Option(
                "They differ, since the words around it differ.",
                "No. A look-up does not see the neighbours.",
            ),
            Option(
                "They are the same row of the same table.",
                "Yes. One id, one row, wherever the token stands; this chapter adds the where.",
                right=True,
            ),
            Option(
                "They are the same before training and differ after it.",
                "No. Training moves the row, but there is one for each id at any time.",
            ),
        ),
    ),
    Question(
        "x has the shape (2, 5, 8) and p the shape (5, 8). What is x + p?",
        (
            Option(
                "An error: one has three axes, the other two.",
                "No. A missing axis on the left is filled in by broadcasting.",
            ),
            Option(
                "A tensor (2, 5, 8) in which p is added to both items of x.",
                "Yes. From the right 8 meets 8 and 5 meets 5; the missing axis is repeated.",
                right=True,
            ),
            Option(
                "A tensor (2, 5, 8) in which p is added to the first item only.",
                "No. Broadcasting repeats p for every item along the missing axis.",
            ),
            Option(
                "A tensor (2, 10, 8).",
                "No. That would be joining along an axis; a sum adds number to number.",
            ),
        ),
    ),
    Question(
        "The dot product of two vectors of length 1 is 0. What does that say?",
        (
            Option(
                "They point the same way.",
                "No. Then it would be 1, the product of their lengths.",
            ),
            Option(
                "They point opposite ways.",
                "No. Then it would be -1.",
            ),
            Option(
                "One of them is zero.",
                "No. Both have length 1.",
            ),
            Option(
                "They are at right angles: their cosine similarity is 0.",
                "Yes. Between vectors of length 1 the dot product is the cosine of the angle.",
                right=True,
            ),
        ),
    ),
    Question(
        "What does softmax make of the scores (0, 0, 0, 0)?",
        (
            Option(
                "(1/4, 1/4, 1/4, 1/4)",
                "Yes. Equal scores share the whole evenly.",
                right=True,
            ),
            Option(
                "(0, 0, 0, 0)",
                "No. The results must add up to one.",
            ),
            Option(
                "(1, 0, 0, 0)",
                "No. Nothing distinguishes the first score from the others.",
            ),
            Option(
                "(1, 1, 1, 1)",
                "No. These are the exponentials; they are still divided by their total.",
            ),
        ),
    ),
)

RECAP = (
    Question(
        "Without positions, what does attention make of 'man bites dog' after 'dog bites man'?",
        (
            Option(
                "The same three vectors, in the other order.",
                "Yes. Each output depends on which vectors are there, not on where they stand.",
                right=True,
            ),
            Option(
                "Three other vectors, since the order is reversed.",
                "No. Weights depend on pairs of tokens, and a sum does not depend on the order.",
            ),
            Option(
                "An error, since the order was never given.",
                "No. It runs as well as ever; that is why the mistake is easy to overlook.",
            ),
            Option(
                "Nearly the same vectors, with small differences.",
                "No. They are exactly the same, up to the rounding of a sum.",
            ),
        ),
    ),
    Question(
        "Why do models not add the number t of the position to every entry?",
        (
            Option(
                "Whole numbers can't be added to fractions.",
                "No. They can; what comes out is of no use.",
            ),
            Option(
                "It grows without end, and soon drowns the token.",
                "Yes. At position 300 any two tokens look alike, and 300 may never have been seen.",
                right=True,
            ),
            Option(
                "Two positions would get the same number.",
                "No. Each t is unique; it is their size that does harm.",
            ),
            Option(
                "Training could not change it.",
                "No. Sinusoidal positions are fixed as well, and work.",
            ),
        ),
    ),
    Question(
        "Why does a sinusoidal encoding have many frequencies?",
        (
            Option(
                "To fill the width of the vector; one would do.",
                "No. A single hand comes round again, and positions a whole turn apart are alike.",
            ),
            Option(
                "So that each token of the vocabulary has its own.",
                "No. Frequencies belong to pairs of dimensions, whatever the token.",
            ),
            Option(
                "Quick ones tell neighbours apart, slow ones tell in which turn they are.",
                "Yes. As with the hands of a clock; together they make every position unique.",
                right=True,
            ),
            Option(
                "So that the numbers stay between -1 and 1.",
                "No. One sine does that already.",
            ),
        ),
    ),
    Question(
        "The sinusoidal vectors of positions 10 and 15 have the dot product 9. What about those of "
        "110 and 115?",
        (
            Option(
                "Less, since they are further from the beginning.",
                "No. The beginning plays no part: both pairs are 5 apart.",
            ),
            Option(
                "More, since the positions are larger numbers.",
                "No. Sines and cosines do not grow with the position.",
            ),
            Option(
                "That depends on the tokens at those places.",
                "No. These are the vectors of the positions alone.",
            ),
            Option(
                "9 as well.",
                "Yes. It is the sum of cos(w·5) over the frequencies: only the distance is in it.",
                right=True,
            ),
        ),
    ),
    Question(
        "A model with learned positions was trained on texts of 1,024 tokens. What if it is given "
        "token 1,025?",
        (
            Option(
                "There is no row for it, or one that was never trained.",
                "Yes. Either the look-up fails or it returns the random numbers of the start.",
                right=True,
            ),
            Option(
                "The last row is used again.",
                "No. Nothing in a look-up does that, and two tokens would then share a place.",
            ),
            Option(
                "The row is worked out from its neighbours.",
                "No. Rows are independent of one another; only training makes neighbours alike.",
            ),
            Option(
                "It works as well as before, since texts are similar everywhere.",
                "No. In section 8 the loss jumped at the first place that was never trained.",
            ),
        ),
    ),
    Question(
        "Rotary positions turn a query and a key by 90 degrees more each, since both moved 30 "
        "tokens on. What happens to their dot product?",
        (
            Option(
                "It becomes 0: they are at right angles now.",
                "No. Each is at right angles to where it was, but not to the other.",
            ),
            Option(
                "It changes its sign.",
                "No. Turning both by the same angle leaves the angle between them as it was.",
            ),
            Option(
                "Nothing: lengths and the angle between them are as before.",
                "Yes. Only a change of their distance would turn one against the other.",
                right=True,
            ),
            Option(
                "It grows, since the vectors get longer.",
                "No. Turning keeps lengths.",
            ),
        ),
    ),
    Question(
        "Weights of a model with interleaved pairs are run with code that pairs halves. What do "
        "you see?",
        (
            Option(
                "An error about shapes.",
                "No. Every shape is the same, which is what makes this mistake so treacherous.",
            ),
            Option(
                "Nonsense, without an error, until the dimensions are put in the other order.",
                "Yes. Each pair is torn apart; a permutation of the dimensions mends it.",
                right=True,
            ),
            Option(
                "The same output, since dot products ignore the order of dimensions.",
                "No. They would, if all dimensions moved together; here other ones form a pair.",
            ),
            Option(
                "A slightly higher loss.",
                "No. Nearly every pair is a wrong one, so the distances mean nothing any more.",
            ),
        ),
    ),
    Question(
        "Head 0 of 8 has ALiBi's slope 1/2. What is added to the score of the query at position 10 "
        "with the key at position 6?",
        (
            Option(
                "+2",
                "No. A bonus would make far tokens count more than near ones.",
            ),
            Option(
                "-4",
                "No. That is the distance; it is still multiplied by the slope.",
            ),
            Option(
                "-2",
                "Yes. The slope 1/2 times the distance 4, taken away.",
                right=True,
            ),
            Option(
                "-3",
                "No. That would be half the position of the key; what counts is the distance.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "positions.warmup": WARMUP,
    "positions.recap": RECAP,
}
