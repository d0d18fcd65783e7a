"""Exercises and quizzes of chapter 02, embeddings: references, inputs, known mistakes, hints.

Letters: B batch, T time, C = d_model, V vocabulary, K negatives, N tokens of a text, M pairs.
A function whose name begins with an underscore and that stands under "known mistakes" is wrong on
purpose: it is what learners write, kept so that `check` can recognise it and say what happened.
"""

import math

import torch
import torch.nn.functional as F

from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal, token_ids, whole
from llm_core.exercises.show import number
from llm_core.validate import require_float_tensor

INF = math.inf


def careless_analogy(vectors: torch.Tensor, a: int, b: int, c: int) -> int:
    """Complete "a is to b as c is to ..." with a bug that hides well: nothing is normalised.

    A long vector outvotes a short one in the sum and in the ranking. The exercise
    `embeddings.expose_bug` asks for an input on which this and the right function differ.

    Args:
        vectors: (V, C).
        a: the word that is taken away, as the number of its row.
        b: the word to start from.
        c: the word that is added.

    Returns:
        The number of the row with the largest dot product, a, b and c left out.

    Raises:
        TypeError: vectors is not a float tensor.
    """
    require_float_tensor("vectors", vectors)
    scores = vectors @ (vectors[b] - vectors[a] + vectors[c])  # (V,)
    scores[[a, b, c]] = -INF
    return int(scores.argmax())


# --- embed ---


def embed(table: torch.Tensor, ids: torch.Tensor, padding_idx: int | None) -> torch.Tensor:
    """Look up the rows of ids (B, T) in table (V, C), zeros for padding: (B, T, C)."""
    x = table[ids]  # (B, T, C)
    if padding_idx is not None:  # and not `if padding_idx`: 0 is an id like any other
        is_padding = (ids == padding_idx).unsqueeze(-1)  # (B, T, 1), lines up with x
        x = x.masked_fill(is_padding, 0.0)
    return x


EMBED_CASES = (
    Case(
        "two texts by hand, padding 0",
        (
            torch.tensor([[9.0, 9.0], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
            torch.tensor([[3, 1, 2], [2, 0, 0]]),
            0,
        ),
    ),
    Case("no padding", (normal(1, 6, 4), token_ids(2, 6, 2, 5), None)),
    Case("padding 3, V=7, C=5", (normal(3, 7, 5), torch.tensor([[3, 1, 0], [6, 3, 2]]), 3)),
    Case("padding 4, the last row", (normal(4, 5, 3), torch.tensor([[0, 4], [4, 1], [2, 3]]), 4)),
    Case("V, C, B and T all 3", (normal(5, 3, 3), torch.tensor([[0, 1, 2]] * 2 + [[2, 2, 0]]), 1)),
    Case("nothing but padding", (normal(6, 4, 3), torch.full((2, 3), 2), 2)),
    Case("padding that does not occur", (normal(7, 5, 2), torch.tensor([[0, 1, 1, 3]]), 4)),
    Case("one token", (normal(8, 3, 4), torch.tensor([[1]]), 0)),
    Case("V=5, C=2, three texts", (normal(9, 5, 2), token_ids(10, 5, 3, 2), 1)),
    Case(
        "double precision",
        (normal(11, 4, 3, dtype=torch.float64), torch.tensor([[0, 3], [1, 1]]), 3),
    ),
    Case(
        "rows of zeros and of large numbers",
        (torch.tensor([[0.0, 0.0], [1e6, -1e6], [0.0, 7.0]]), torch.tensor([[0, 1, 2, 1]]), 2),
    ),
    Case("V=400, 300 tokens in five texts", (normal(14, 400, 3), token_ids(15, 400, 5, 60), 7)),
)


def _embed_one_hot(table, ids, padding_idx):
    one_hot = F.one_hot(ids.long(), len(table)).to(table.dtype)  # (B, T, V)
    if padding_idx is not None:
        one_hot[..., padding_idx] = 0
    return one_hot @ table


def _embed_zero_row(table, ids, padding_idx):
    rows = [row * 0 if i == padding_idx else row for i, row in enumerate(table)]
    return torch.stack(rows)[ids]


def _embed_where(table, ids, padding_idx):
    x = F.embedding(ids, table)
    return x if padding_idx is None else torch.where(ids[..., None] != padding_idx, x, 0 * x)


# Known mistakes.


def _embed_ignores_padding(table, ids, padding_idx):
    return table[ids]


def _embed_falsy(table, ids, padding_idx):
    return embed(table, ids, padding_idx or None)


def _embed_always_zero(table, ids, padding_idx):
    return embed(table, ids, 0)


def _embed_padding_without_being_asked(table, ids, padding_idx):
    return embed(table, ids, len(table) - 1 if padding_idx is None else padding_idx)


def _embed_writes_table(table, ids, padding_idx):
    if padding_idx is not None:
        table[padding_idx] = 0
    return table[ids]


def _embed_row_zero(table, ids, padding_idx):
    return table[ids if padding_idx is None else ids * (ids != padding_idx)]


def _embed_columns(table, ids, padding_idx):
    return embed(table.T.contiguous(), ids, padding_idx)


def _embed_from_one(table, ids, padding_idx):
    x = table[ids - 1]
    return x if padding_idx is None else x * (ids != padding_idx).unsqueeze(-1)


def _embed_inverted(table, ids, padding_idx):
    x = table[ids]
    return x if padding_idx is None else x * (ids == padding_idx).unsqueeze(-1)


def _embed_cuts_off(table, ids, padding_idx):
    x = table[ids]
    return x if padding_idx is None else x[ids != padding_idx]


def _embed_minus_infinity(table, ids, padding_idx):
    x = table[ids]
    if padding_idx is None:
        return x
    return x.masked_fill((ids == padding_idx).unsqueeze(-1), -INF)


def _embed_float_one_hot(table, ids, padding_idx):
    one_hot = F.one_hot(ids.long(), len(table)).float()
    if padding_idx is not None:
        one_hot[..., padding_idx] = 0
    return one_hot @ table


def _embed_flattens(table, ids, padding_idx):
    return embed(table, ids, padding_idx).flatten(0, 1)


def _embed_scaled(table, ids, padding_idx):
    return embed(table, ids, padding_idx) * table.shape[1] ** 0.5


def _embed_ends_at_padding(table, ids, padding_idx):
    if padding_idx is None:
        return table[ids]
    return table[ids] * ((ids == padding_idx).cumsum(1) == 0).unsqueeze(-1)


EMBED_MISTAKES = (
    Mistake(
        "padding_ignored",
        _embed_ignores_padding,
        "The padding's row finds its way into the text: set its places to zero; torch's own "
        "padding_idx only stops the gradient and relies on a row that starts at zero.",
        "a table whose padding row is zero already",
    ),
    Mistake(
        "zero_counts_as_none",
        _embed_falsy,
        "With padding_idx=0 nothing is filled with zeros: `if padding_idx` takes 0 for no, so ask "
        "`if padding_idx is not None`.",
        "a padding id other than 0",
    ),
    Mistake(
        "always_id_zero",
        _embed_always_zero,
        "You take 0 for the padding, whatever padding_idx says.",
        "padding_idx=0",
    ),
    Mistake(
        "padding_invented",
        _embed_padding_without_being_asked,
        "With padding_idx=None no token is padding, but you fill the last id of the vocabulary "
        "with zeros, as an index of -1 would.",
        "a padding id that is given, or texts without the last id",
    ),
    Mistake(
        "writes_into_the_table",
        _embed_writes_table,
        "You overwrite a row of the caller's table; set zeros in what you have looked up, not in "
        "the table.",
        "comparing the vectors without looking at the table afterwards",
    ),
    Mistake(
        "padding_becomes_token_zero",
        _embed_row_zero,
        "You turn the padding into the token 0, whose row is not zero; set the looked-up vectors "
        "to zero, not the ids.",
        "a table whose first row is zero",
    ),
    Mistake(
        "columns_for_rows",
        _embed_columns,
        "You look up columns of the table; a token's vector is a row.",
        "a symmetric table",
    ),
    Mistake(
        "counts_from_one",
        _embed_from_one,
        "You look one row too early: ids count from 0, so id 0 is the first row.",
        "a table whose rows are all equal",
    ),
    Mistake(
        "mask_inverted",
        _embed_inverted,
        "You kept the padding and set the real tokens to zero; the mask is upside down.",
        "only the shape, or texts without padding",
    ),
    Mistake(
        "cuts_padding_out",
        _embed_cuts_off,
        "You cut the padding out, so the texts no longer stand side by side in (B, T, C); keep its "
        "places and fill them with zeros.",
        "texts of equal length",
    ),
    Mistake(
        "minus_infinity",
        _embed_minus_infinity,
        "You fill the padding with minus infinity; a vector that should say nothing is zero.",
        "texts without padding",
    ),
    Mistake(
        "one_hot_of_another_dtype",
        _embed_float_one_hot,
        "Your one-hot vectors are float32 whatever the table holds, and a product needs one dtype: "
        "use .to(table.dtype).",
        "a table of float32",
    ),
    Mistake(
        "text_ends_at_padding",
        _embed_ends_at_padding,
        "You set everything behind the first padding to zero, but padding may stand in front or in "
        "the middle; ask each place for itself.",
        "padding at the end of a text",
    ),
)


def _embed_gradient(answer) -> str | None:
    ids = torch.tensor([[1, 3, 2], [1, 2, 2]])
    table = normal(12, 5, 3).requires_grad_()
    trouble = gradient_trouble(answer(table, ids, 2), {"table": table})
    if trouble:
        return trouble
    (rows,) = torch.autograd.grad(answer(table, ids, 2).sum(), table)
    used = {"that is not used": 0, "that occurs twice": 2, "of the padding": 0, "used once": 1}
    for row, (name, times) in zip(rows, used.items(), strict=False):
        if gap_between(row, torch.full((3,), float(times))) > 1e-4:
            return (
                f"When every looked-up number is added up, the row {name} must get the gradient "
                f"{times}, but yours gets {row[0].item():.4g}."
            )
    return None


def _embed_repeats(answer) -> str | None:
    x = answer(normal(13, 5, 3), torch.tensor([[4, 2, 4]]), 1)
    if torch.equal(x[0, 0], x[0, 2]):
        return None
    return "The same id at two places must give the same vector, and yours differ."


EMBED = Exercise(
    id="embeddings.embed",
    title="Look up, with padding",
    reference=embed,
    cases=EMBED_CASES,
    mistakes=EMBED_MISTAKES,
    conventions=(
        Mistake(
            "scaled_by_root_of_width",
            _embed_scaled,
            "You multiply by the root of C, as the first Transformer did (Vaswani et al. 2017, "
            "section 3.4); here the rows come out as they are.",
            "C=1",
        ),
        Mistake(
            "one_axis_for_all_tokens",
            _embed_flattens,
            "You lay all texts in one row, (B*T, C); here each text keeps its own, (B, T, C).",
            "a batch of one, up to its first axis",
        ),
    ),
    right=(_embed_one_hot, _embed_zero_row, _embed_where),
    properties=(
        Property("the same id gives the same vector", _embed_repeats),
        Property("each row gets as much gradient as it was used, padding none", _embed_gradient),
    ),
    hints=(
        "You have written the first line in chapter 00. For the second, ask of every place whether "
        "its id is the padding, and remember that None means that there is none.",
        "ids == padding_idx has the shape (B, T), the vectors have (B, T, C): the answer to the "
        "question needs a third axis of length 1 before the two line up.",
        "x = table[ids], then x.masked_fill(mask, 0.0) with mask = (ids == padding_idx)"
        ".unsqueeze(-1), but only `if padding_idx is not None`.",
    ),
    solution=(
        "Indexing picks rows, and the gradient finds its way back to the rows that were picked, "
        "once for each time. Filling the padding with zeros afterwards cuts that way off: a "
        "constant has no gradient. `is not None` matters because 0 is a common padding id, and "
        "`if 0` is no."
    ),
    checked="padding first, last, absent, None; repeats, one token, doubles, and every gradient",
)


# --- mean_of_tokens ---


def mean_of_tokens(x: torch.Tensor, ids: torch.Tensor, padding_idx: int) -> torch.Tensor:
    """Average the vectors x (B, T, C) of each text over its real tokens: (B, C)."""
    is_real = (ids != padding_idx).unsqueeze(-1)  # (B, T, 1)
    total = x.masked_fill(~is_real, 0.0).sum(dim=1)  # (B, C)
    count = is_real.sum(dim=1)  # (B, 1)
    return total / count.clamp(min=1)  # a text of padding alone: 0 / 1


_IDS_MEAN = torch.tensor([[5, 3, 2, 0], [4, 0, 0, 0]])

MEAN_CASES = (
    Case(
        "two texts by hand",
        (
            torch.tensor(
                [[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[5.0, 5.0], [8.0, 8.0], [7.0, 7]]]
            ),
            torch.tensor([[4, 2, 0], [3, 0, 0]]),
            0,
        ),
    ),
    Case("B=2, T=4, C=3", (normal(21, 2, 4, 3), _IDS_MEAN, 0)),
    Case(
        "padding 3 in front and in the middle",
        (normal(22, 3, 4, 2), torch.tensor([[3, 3, 1, 2], [0, 3, 1, 3], [3, 2, 0, 5]]), 3),
    ),
    Case(
        "B, T and C all 3", (normal(23, 3, 3, 3), torch.tensor([[1, 2, 0], [1, 0, 0], [2] * 3]), 0)
    ),
    Case("no padding at all", (normal(24, 2, 3, 4), torch.tensor([[1, 2, 3], [3, 2, 1]]), 0)),
    Case(
        "one text of padding alone", (normal(25, 2, 3, 2), torch.tensor([[0, 0, 0], [1, 2, 0]]), 0)
    ),
    Case("one token", (normal(26, 1, 1, 4), torch.tensor([[2]]), 5)),
    Case(
        "a real token with a vector of zeros",
        (
            torch.tensor(
                [[[0.0, 0.0], [4.0, 2.0], [1.0, 1.0]], [[6.0, 0.0], [0.0, 3.0], [5.0, 5.0]]]
            ),
            torch.tensor([[7, 8, 1], [6, 5, 4]]),
            1,
        ),
    ),
    Case("double precision", (normal(27, 2, 4, 3, dtype=torch.float64), _IDS_MEAN, 0)),
    Case("a transposed x", (normal(28, 4, 2, 3).transpose(0, 1), _IDS_MEAN, 0)),
    Case("B=6, T=30, C=4", (normal(29, 6, 30, 4), token_ids(30, 3, 6, 30), 1)),
)


def _mean_by_loop(x, ids, padding_idx):
    means = []
    for vectors, row in zip(x, ids, strict=True):
        real = vectors[row != padding_idx]
        means.append(real.mean(dim=0) if len(real) else torch.zeros_like(vectors[0]))
    return torch.stack(means)


def _mean_by_weights(x, ids, padding_idx):
    real = (ids != padding_idx).to(x.dtype)  # (B, T)
    weights = real / real.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("bt,btc->bc", weights, x)


def _mean_by_product(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return (x * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def _mean_by_nan(x, ids, padding_idx):
    hidden = x.masked_fill((ids == padding_idx)[:, :, None], math.nan)
    means = hidden.nanmean(dim=1)
    return means.masked_fill(means.isnan(), 0.0)


# Known mistakes.


def _mean_plain(x, ids, padding_idx):
    return x.mean(dim=1)


def _mean_over_all_places(x, ids, padding_idx):
    return x.masked_fill((ids == padding_idx).unsqueeze(-1), 0.0).mean(dim=1)


def _mean_sum(x, ids, padding_idx):
    return x.masked_fill((ids == padding_idx).unsqueeze(-1), 0.0).sum(dim=1)


def _mean_no_clamp(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1)


def _mean_counts_all_texts(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / real.sum().clamp(min=1)


def _mean_divides_by_padding(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / (~real).sum(dim=1).clamp(min=1)


def _mean_sums_padding_too(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.sum(dim=1) / real.sum(dim=1).clamp(min=1)


def _mean_one_more(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / (real.sum(dim=1) + 1)


def _mean_by_non_zero(x, ids, padding_idx):
    x = x.masked_fill((ids == padding_idx).unsqueeze(-1), 0.0)
    return x.sum(dim=1) / (x != 0).any(dim=-1, keepdim=True).sum(dim=1).clamp(min=1)


def _mean_padding_on_the_right(x, ids, padding_idx):
    lengths = (ids != padding_idx).sum(dim=1)
    means = [row[:n].sum(dim=0) / max(int(n), 1) for row, n in zip(x, lengths, strict=True)]
    return torch.stack(means)


def _mean_over_texts(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=0) / real.sum(dim=0).clamp(min=1)


def _mean_always_zero(x, ids, padding_idx):
    return mean_of_tokens(x, ids, 0)


def _mean_keepdim(x, ids, padding_idx):
    return mean_of_tokens(x, ids, padding_idx).unsqueeze(1)


def _mean_largest(x, ids, padding_idx):
    largest = x.masked_fill((ids == padding_idx).unsqueeze(-1), -INF).amax(dim=1)
    return largest.masked_fill(largest == -INF, 0.0)


def _mean_in_place(x, ids, padding_idx):
    x[ids == padding_idx] = 0
    return mean_of_tokens(x, ids, padding_idx)


def _mean_root_of_count(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1).sqrt()


def _mean_ends_at_padding(x, ids, padding_idx):
    real = ((ids == padding_idx).cumsum(dim=1) == 0).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) / real.sum(dim=1).clamp(min=1)


def _mean_of_all_texts(x, ids, padding_idx):
    return x[ids != padding_idx].mean(dim=0)


def _mean_times_ids(x, ids, padding_idx):
    return (x * ids.unsqueeze(-1)).sum(dim=1) / (ids != padding_idx).sum(dim=1)[:, None].clamp(
        min=1
    )


def _mean_whole_numbers(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return x.masked_fill(~real, 0.0).sum(dim=1) // real.sum(dim=1).clamp(min=1)


MEAN_MISTAKES = (
    Mistake(
        "plain_mean",
        _mean_plain,
        "You average over every place, the padding included, so its vectors count as if somebody "
        "had written them.",
        "texts without padding",
    ),
    Mistake(
        "divides_by_all_places",
        _mean_over_all_places,
        "You set the padding to zero but still divide by T, so a short text gets a short vector; "
        "divide by its number of real tokens.",
        "texts without padding",
    ),
    Mistake(
        "sum_without_division",
        _mean_sum,
        "You add the real tokens up and stop there; divide by how many they are.",
        "texts of one token",
    ),
    Mistake(
        "nothing_over_nothing",
        _mean_no_clamp,
        "A text of padding alone becomes 0 divided by 0, which is NaN; divide by at least 1.",
        "texts with a token each",
    ),
    Mistake(
        "counts_all_texts_together",
        _mean_counts_all_texts,
        "You divide by the real tokens of the whole batch; each text has its own count, along the "
        "axis T.",
        "a batch of one",
    ),
    Mistake(
        "divides_by_the_padding",
        _mean_divides_by_padding,
        "You divide by the number of padding places; count the places that are not padding.",
        "texts of which half is padding",
    ),
    Mistake(
        "padding_summed",
        _mean_sums_padding_too,
        "You divide by the right count, but the sum above it still holds the padding's vectors.",
        "padding whose vectors are zero",
    ),
    Mistake(
        "one_too_many",
        _mean_one_more,
        "You add 1 to every count to avoid a division by zero, which makes all means too small; "
        "only a count of 0 needs help: clamp(min=1).",
        "only that there is no NaN",
    ),
    Mistake(
        "zero_vectors_taken_for_padding",
        _mean_by_non_zero,
        "You recognise padding by its vector of zeros, but a real token may have one too; ask the "
        "ids.",
        "real tokens whose vectors are not zero",
    ),
    Mistake(
        "padding_expected_on_the_right",
        _mean_padding_on_the_right,
        "You take the first tokens of each text, but padding may stand in front or in the middle "
        "as well.",
        "padding on the right",
    ),
    Mistake(
        "averages_over_texts",
        _mean_over_texts,
        "You average over the batch, axis 0, so that texts mix; the tokens lie along axis 1.",
        "only that the padding is left out",
    ),
    Mistake(
        "always_id_zero",
        _mean_always_zero,
        "You take 0 for the padding, whatever padding_idx says.",
        "padding_idx=0",
    ),
    Mistake(
        "changes_x",
        _mean_in_place,
        "Your means are right, but you set zeros in the caller's x; use masked_fill, which makes a "
        "new tensor.",
        "comparing the means without looking at x afterwards",
    ),
    Mistake(
        "largest_for_mean",
        _mean_largest,
        "You take the largest entry of each column; a mean adds up and divides.",
        "texts of one token",
    ),
    Mistake(
        "divides_by_the_root",
        _mean_root_of_count,
        "You divide by the root of the number of real tokens; a mean divides by the number itself.",
        "texts of one token",
    ),
    Mistake(
        "text_ends_at_padding",
        _mean_ends_at_padding,
        "You stop at the first padding of a text, but real tokens may come after it; ask each "
        "place for itself.",
        "padding at the end of a text",
    ),
    Mistake(
        "texts_in_one_row",
        _mean_of_all_texts,
        "`x[mask]` lays the real tokens of all texts in one row, so you average over all of them "
        "together; each text has its own mean.",
        "a batch of one, up to its first axis",
    ),
    Mistake(
        "ids_for_mask",
        _mean_times_ids,
        "You multiply the vectors by the ids; multiply by the answer to `ids != padding_idx`, "
        "which counts as 1 or 0.",
        "ids that are 0 or 1",
    ),
    Mistake(
        "rounded_down",
        _mean_whole_numbers,
        "`//` rounds down to whole numbers; divide with `/`.",
        "means that are whole numbers",
    ),
)


def _mean_of_equals(answer) -> str | None:
    vector = normal(33, 3)
    means = answer(vector.expand(2, 4, 3).clone(), _IDS_MEAN.clone(), 0)
    for text, mean in enumerate(means):
        if gap_between(mean, vector) > 1e-4:
            i = int((mean - vector).abs().argmax())
            return (
                "When all tokens of a text have the same vector, that vector is the mean, but in "
                f"text {text} you have {mean[i].item():.3f} in place of {vector[i].item():.3f}."
            )
    return None


def _mean_ignores_padding(answer) -> str | None:
    x = normal(29, 2, 4, 3)
    changed = x + 5 * (_IDS_MEAN == 0).unsqueeze(-1)
    gap = gap_between(answer(x, _IDS_MEAN.clone(), 0), answer(changed, _IDS_MEAN.clone(), 0))
    if gap < 1e-4:
        return None
    return f"I changed the vectors of the padding alone, and your means moved by up to {gap:.3f}."


def _mean_longer_padding(answer) -> str | None:
    x = normal(30, 2, 6, 3)
    ids = torch.cat([_IDS_MEAN, torch.zeros(2, 2, dtype=torch.long)], dim=1)
    gap = gap_between(answer(x[:, :4].clone(), _IDS_MEAN.clone(), 0), answer(x, ids, 0))
    if gap < 1e-4:
        return None
    return f"Two more places of padding must change nothing, but your means move by {gap:.3f}."


def _mean_batch(answer) -> str | None:
    x = normal(31, 2, 4, 3)
    together = answer(x, _IDS_MEAN.clone(), 0)
    gap = gap_between(together[1:], answer(x[1:].clone(), _IDS_MEAN[1:].clone(), 0))
    if gap < 1e-4:
        return None
    return f"Texts mix: alone, the second text's mean differs by up to {gap:.3f}."


def _mean_gradient(answer) -> str | None:
    x = normal(32, 2, 4, 3).requires_grad_()
    return gradient_trouble(answer(x, _IDS_MEAN.clone(), 0), {"x": x})


MEAN_OF_TOKENS = Exercise(
    id="embeddings.mean_of_tokens",
    title="The mean of a text's tokens",
    reference=mean_of_tokens,
    cases=MEAN_CASES,
    mistakes=MEAN_MISTAKES,
    conventions=(
        Mistake(
            "axis_kept",
            _mean_keepdim,
            "You keep the axis T with length 1, (B, 1, C); here one vector for each text is asked "
            "for, (B, C).",
            "broadcasting the result against x",
        ),
    ),
    right=(_mean_by_loop, _mean_by_weights, _mean_by_product, _mean_by_nan),
    properties=(
        Property("the mean of equal vectors is that vector", _mean_of_equals),
        Property("the padding's vectors do not count", _mean_ignores_padding),
        Property("more padding changes nothing", _mean_longer_padding),
        Property("texts do not mix", _mean_batch),
        Property("the gradient comes back to x", _mean_gradient),
    ),
    hints=(
        "A mean is a sum over a count. Which vectors may enter the sum, and how many are they, in "
        "each text for itself?",
        "Sub-goals: True where a token is real, shape (B, T, 1); the vectors with zeros elsewhere, "
        "summed along T; the number of True along T; the one over the other.",
        "is_real = (ids != padding_idx).unsqueeze(-1). The total is x.masked_fill(~is_real, 0.0)"
        ".sum(dim=1), the count is_real.sum(dim=1), and .clamp(min=1) saves an empty text.",
    ),
    solution=(
        "The mask has an axis of length 1 at its end, so that it lines up with the C numbers of "
        "each vector. Its sum along T is the number of real tokens, (B, 1), and divides each text "
        "by its own count. clamp(min=1) turns 0/0 into 0/1. Multiplying by the mask in place of "
        "masked_fill does the same, as long as every number is finite: infinity times 0 is NaN."
    ),
    checked="padding anywhere, an empty text, vectors of zeros, one token, doubles, gradients",
)


# --- skipgram_pairs ---


def skipgram_pairs(ids: torch.Tensor, window: int) -> torch.Tensor:
    """Pair every token of ids (N,) with its company up to window places away: (M, 2)."""
    pairs = []
    for i in range(len(ids)):
        first = max(0, i - window)  # not below 0: a negative index counts from the end
        last = min(len(ids) - 1, i + window)
        for j in range(first, last + 1):
            if j != i:  # another place, which may hold the same word
                pairs.append((int(ids[i]), int(ids[j])))
    return torch.tensor(pairs)  # (M, 2)


PAIRS_CASES = (
    Case("three tokens, window 1", (torch.tensor([4, 7, 9]), 1)),
    Case("five tokens, window 2", (torch.tensor([10, 11, 12, 13, 14]), 2)),
    Case("the same word again and again", (torch.tensor([3, 3, 5, 3]), 1)),
    Case("a window wider than the text", (torch.tensor([6, 2, 8]), 5)),
    Case("two tokens", (torch.tensor([1, 0]), 1)),
    Case("nine tokens, window 3", (torch.tensor([20, 21, 22, 23, 24, 25, 26, 27, 28]), 3)),
    Case("forty tokens of four words, window 4", (token_ids(41, 4, 40), 4)),
    Case("six tokens, window 5", (torch.tensor([9, 8, 7, 6, 5, 4]), 5)),
    Case("120 tokens of a large vocabulary, window 8", (token_ids(42, 60_000, 120), 8)),
)


def _pairs_by_grid(ids, window):
    place = torch.arange(len(ids))
    apart = (place[:, None] - place).abs()
    centre, company = ((apart > 0) & (apart <= window)).nonzero(as_tuple=True)
    return torch.stack([ids[centre], ids[company]], dim=1)


def _pairs_by_slices(ids, window):
    words = ids.tolist()
    pairs = []
    for i, word in enumerate(words):
        company = words[max(0, i - window) : i] + words[i + 1 : i + 1 + window]
        pairs += [[word, other] for other in company]
    return torch.tensor(pairs, dtype=torch.long)


def _pairs_by_sorting(ids, window):
    found = []
    for step in range(1, window + 1):
        for i in range(len(ids) - step):
            found += [(i, i + step), (i + step, i)]
    return torch.stack([ids[list(pair)] for pair in sorted(found)])


# Known mistakes.


def _pairs_where(keep):
    """Return a pair maker in which keep(i, j, ids, window) decides about the places i and j."""

    def answer(ids, window):
        places = [(i, j) for i in range(len(ids)) for j in range(len(ids))]
        kept = [(i, j) for i, j in places if keep(i, j, ids, window)]
        return torch.tensor([(int(ids[i]), int(ids[j])) for i, j in kept])

    return answer


def _pairs_of(company):
    """Return a pair maker in which company(i, n, window) lists the places beside place i of n."""

    def answer(ids, window):
        n = len(ids)
        return torch.tensor(
            [(int(ids[i]), int(ids[j])) for i in range(n) for j in company(i, n, window)]
        )

    return answer


_pairs_right_only = _pairs_where(lambda i, j, ids, window: 0 < j - i <= window)
_pairs_left_only = _pairs_where(lambda i, j, ids, window: 0 < i - j <= window)
_pairs_with_itself = _pairs_where(lambda i, j, ids, window: abs(i - j) <= window)
_pairs_by_word = _pairs_where(lambda i, j, ids, window: abs(i - j) <= window and ids[i] != ids[j])
_pairs_short = _pairs_where(lambda i, j, ids, window: 0 < abs(i - j) < window)
_pairs_right_short = _pairs_where(lambda i, j, ids, window: -window <= j - i < window and i != j)
_pairs_wide = _pairs_where(lambda i, j, ids, window: 0 < abs(i - j) <= window + 1)


def _pairs_wrapping(ids, window):
    steps = [step for step in range(-window, window + 1) if step]
    places = [(i, i + step) for i in range(len(ids)) for step in steps if i + step < len(ids)]
    return torch.tensor([(int(ids[i]), int(ids[j])) for i, j in places if j >= -len(ids)])


def _pairs_full_windows_only(ids, window):
    steps = [step for step in range(-window, window + 1) if step]
    centres = range(window, len(ids) - window)
    return torch.tensor([(int(ids[i]), int(ids[i + step])) for i in centres for step in steps])


def _pairs_places(ids, window):
    return skipgram_pairs(torch.arange(len(ids)), window)


def _pairs_unique(ids, window):
    pairs = skipgram_pairs(ids, window).tolist()
    return torch.tensor(list(dict.fromkeys(map(tuple, pairs))))


def _pairs_window_of_two(ids, window):
    return skipgram_pairs(ids, 2)


def _pairs_whole_text(ids, window):
    return skipgram_pairs(ids, len(ids))


def _pairs_company_first(ids, window):
    return skipgram_pairs(ids, window).flip(1)


def _pairs_by_distance(ids, window):
    pairs = []
    for step in range(1, window + 1):
        for i in range(len(ids) - step):
            pairs += [(int(ids[i]), int(ids[i + step])), (int(ids[i + step]), int(ids[i]))]
    return torch.tensor(pairs)


def _pairs_nearest_first(ids, window):
    N = len(ids)
    pairs = []
    for i in range(N):
        for step in range(1, window + 1):
            pairs += [(int(ids[i]), int(ids[j])) for j in (i - step, i + step) if 0 <= j < N]
    return torch.tensor(pairs)


def _pairs_two_rows(ids, window):
    return skipgram_pairs(ids, window).T.contiguous()


_pairs_modulo = _pairs_of(lambda i, n, w: [j % n for j in range(i - w, i + w + 1) if j != i])
_pairs_last_missed = _pairs_of(
    lambda i, n, w: [j for j in range(max(0, i - w), min(n - 1, i + w + 1)) if j != i]
)
_pairs_first_missed = _pairs_of(
    lambda i, n, w: [j for j in range(max(1, i - w), min(n, i + w + 1)) if j != i]
)
_pairs_shared_window = _pairs_where(lambda i, j, ids, w: 0 < abs(i - j) <= w // 2)
_pairs_outermost = _pairs_where(lambda i, j, ids, w: abs(i - j) == w)
_pairs_right_first = _pairs_of(
    lambda i, n, w: [*range(i + 1, min(n, i + w + 1)), *range(max(0, i - w), i)]
)


PAIRS_MISTAKES = (
    Mistake(
        "right_side_only",
        _pairs_right_only,
        "You pair each word with what comes after it only; its company stands on both sides.",
        "counting each unordered pair once",
    ),
    Mistake(
        "left_side_only",
        _pairs_left_only,
        "You pair each word with what comes before it only; its company stands on both sides.",
        "counting each unordered pair once",
    ),
    Mistake(
        "pairs_with_itself",
        _pairs_with_itself,
        "You pair each word with itself at its own place; leave out j == i.",
        "looking only for the pairs that must be there",
    ),
    Mistake(
        "compares_words_not_places",
        _pairs_by_word,
        "You leave out every neighbour that is the same word; only the same place is left out, so "
        "compare i with j and not their ids.",
        "a text in which no word is repeated",
    ),
    Mistake(
        "window_one_short",
        _pairs_short,
        "Your window ends one place too early on both sides: range(a, b) leaves b out, and a slice "
        "does too.",
        "a window that is wider than the text",
    ),
    Mistake(
        "right_end_one_short",
        _pairs_right_short,
        "On the right your window ends one place too early: range(a, b) leaves b out, so go to "
        "i + window + 1.",
        "a window that is wider than the text",
    ),
    Mistake(
        "window_one_too_wide",
        _pairs_wide,
        "Your window reaches one place too far on both sides.",
        "a window that is wider than the text",
    ),
    Mistake(
        "wraps_around",
        _pairs_wrapping,
        "At the beginning of the text your index falls below 0, and Python then counts from the "
        "end: the first word gets the last one for company.",
        "looking only at words in the middle of a text",
    ),
    Mistake(
        "full_windows_only",
        _pairs_full_windows_only,
        "You skip the words at both ends, whose window is cut off; they have company too, only "
        "less of it.",
        "looking only at words in the middle of a text",
    ),
    Mistake(
        "places_for_ids",
        _pairs_places,
        "You return the places of the words where their ids are asked for: ids[i], not i.",
        "ids that count up from 0",
    ),
    Mistake(
        "each_pair_once",
        _pairs_unique,
        "You keep each pair once, but how often two words meet is what there is to learn.",
        "a text in which no word is repeated",
    ),
    Mistake(
        "window_ignored",
        _pairs_window_of_two,
        "Your window is always 2; use the argument window.",
        "window=2",
    ),
    Mistake(
        "whole_text",
        _pairs_whole_text,
        "You pair each word with the whole text and never look at window.",
        "a window that is wider than the text",
    ),
    Mistake(
        "wraps_at_both_ends",
        _pairs_modulo,
        "With `% n` the text becomes a ring: the first word gets the last ones for company, and "
        "the other way round.",
        "looking only at words in the middle of a text",
    ),
    Mistake(
        "last_token_missed",
        _pairs_last_missed,
        "The last token is never company: you stop at `len(ids) - 1`, and range(a, b) leaves b "
        "out.",
        "looking only at words at the beginning of a text",
    ),
    Mistake(
        "first_token_missed",
        _pairs_first_missed,
        "The first token is never company; places count from 0.",
        "looking only at words at the end of a text",
    ),
    Mistake(
        "window_shared_by_both_sides",
        _pairs_shared_window,
        "You take half of the window to each side; window counts the places on one side.",
        "only that the pairs are mutual",
    ),
    Mistake(
        "outermost_only",
        _pairs_outermost,
        "You take only the places that are exactly window away; those in between are company too.",
        "window=1",
    ),
    Mistake(
        "right_side_first",
        _pairs_right_first,
        "For each centre you list the right side first; its company comes in the order of the "
        "text, from left to right.",
        "the set of pairs",
    ),
)


def _pairs_count(answer) -> str | None:
    ids, window = torch.arange(100, 112), 3
    pairs = answer(ids, window)
    expected = 2 * sum(12 - step for step in (1, 2, 3))
    if len(pairs) == expected:
        return None
    return f"12 tokens with a window of 3 make {expected} pairs, and you return {len(pairs)}."


def _pairs_both_ways(answer) -> str | None:
    found = {tuple(pair) for pair in answer(torch.tensor([5, 8, 2, 9, 4]), 2).tolist()}
    lonely = sorted(pair for pair in found if pair[::-1] not in found)
    if not lonely:
        return None
    a, b = lonely[0]
    return f"Company is mutual: you return ({a}, {b}), but not ({b}, {a})."


SKIPGRAM_PAIRS = Exercise(
    id="embeddings.skipgram_pairs",
    title="Words and their company",
    reference=skipgram_pairs,
    cases=PAIRS_CASES,
    mistakes=PAIRS_MISTAKES,
    conventions=(
        Mistake(
            "company_first",
            _pairs_company_first,
            "Your pairs are (company, centre); we agreed on (centre, company).",
            "a set of pairs, which is the same either way",
        ),
        Mistake(
            "by_distance",
            _pairs_by_distance,
            "Your pairs are sorted by distance; we agreed to go through the centres from left to "
            "right, and for each through its company from left to right.",
            "a set of pairs",
        ),
        Mistake(
            "nearest_company_first",
            _pairs_nearest_first,
            "For each centre you name the nearest company first; we agreed on the order of the "
            "text, from left to right.",
            "a set of pairs, or window 1",
        ),
        Mistake(
            "two_rows",
            _pairs_two_rows,
            "Your result has a row of centres and a row of company, (2, M); we agreed on one row "
            "for each pair, (M, 2).",
            "two pairs, and only the shape",
        ),
    ),
    right=(_pairs_by_grid, _pairs_by_slices, _pairs_by_sorting),
    properties=(
        Property("every pair within the window is there", _pairs_count),
        Property("company is mutual", _pairs_both_ways),
    ),
    hints=(
        "Take the word at place i. Which places j are its company, and which of them lie outside "
        "the text?",
        "Two loops: i over all places, j from i - window to i + window, both ends included and cut "
        "off at the ends of the text. Leave out j == i, and append the two ids as a pair.",
        "for j in range(max(0, i - window), min(len(ids), i + window + 1)): a range leaves its end "
        "out, hence the + 1, and without max() a negative index would count from the end. Finish "
        "with torch.tensor(pairs).",
    ),
    solution=(
        "max and min cut the window off at the ends of the text, where a word has less company. "
        "The places are compared, not the words: a word that stands beside itself is its own "
        "company. Pairs that occur twice stay twice, since training learns from how often."
    ),
    checked="windows from 1 to wider than the text, repeated words, both ends, the order",
)


# --- negative_sampling_loss ---


def negative_sampling_loss(
    centre: torch.Tensor, company: torch.Tensor, negatives: torch.Tensor
) -> torch.Tensor:
    """Return one loss (B,) for each centre (B, C), company (B, C) and negatives (B, K, C)."""
    yes = (centre * company).sum(dim=-1)  # (B,) one dot product for each true pair
    no = (centre.unsqueeze(1) * negatives).sum(dim=-1)  # (B, K) and one for each random word
    return -F.logsigmoid(yes) - F.logsigmoid(-no).sum(dim=-1)  # (B,)


def _triple(seed: int, B: int, K: int, C: int, scale: float = 1.0, dtype=torch.float32) -> tuple:
    """Return random centre (B, C), company (B, C) and negatives (B, K, C)."""
    return (
        scale * normal(seed, B, C, dtype=dtype),
        scale * normal(seed + 1, B, C, dtype=dtype),
        scale * normal(seed + 2, B, K, C, dtype=dtype),
    )


_BY_HAND = (
    torch.tensor([[1.0, 0.0], [1.0, 1.0]]),
    torch.tensor([[2.0, 5.0], [0.0, 0.0]]),
    torch.tensor([[[0.0, 3.0], [-1.0, 1.0]], [[2.0, 1.0], [-1.0, -2.0]]]),
)

LOSS_CASES = (
    Case("two pairs by hand", _BY_HAND),
    Case("B=3, K=4, C=5", _triple(50, 3, 4, 5)),
    Case("B=4, K=2, C=3", _triple(53, 4, 2, 3)),
    Case("B, K and C all 3", _triple(56, 3, 3, 3)),
    Case("one negative each", _triple(59, 2, 1, 4)),
    Case("one pair", _triple(62, 1, 5, 2)),
    Case("all vectors zero", tuple(0 * t for t in _triple(65, 2, 3, 4))),
    Case("scores in the hundreds", (whole(68, 9, 4, 6), whole(69, 9, 4, 6), whole(70, 9, 4, 3, 6))),
    Case(
        "the same word drawn twice", (_BY_HAND[0], _BY_HAND[1], _BY_HAND[2][:, :1].repeat(1, 2, 1))
    ),
    Case("double precision", _triple(71, 2, 3, 4, dtype=torch.float64)),
)


def _loss_by_bce(centre, company, negatives):
    rows = torch.cat([company[:, None], negatives], dim=1)
    scores = torch.einsum("bc,bkc->bk", centre, rows)
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1
    return F.binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(dim=1)


def _loss_by_softplus(centre, company, negatives):
    scores = (negatives @ centre[:, :, None])[:, :, 0]
    return F.softplus(-torch.linalg.vecdot(centre, company)) + F.softplus(scores).sum(-1)


def _loss_by_loop(centre, company, negatives):
    losses = []
    for c, o, ns in zip(centre, company, negatives, strict=True):
        loss = torch.logaddexp(-(c @ o), torch.zeros((), dtype=c.dtype))
        for n in ns:
            loss = loss + torch.logaddexp(c @ n, torch.zeros((), dtype=c.dtype))
        losses.append(loss)
    return torch.stack(losses)


def _scores(centre, company, negatives):
    return (centre * company).sum(-1), torch.einsum("bc,bkc->bk", centre, negatives)


# Known mistakes.


def _loss_log_of_sigmoid(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -torch.log(torch.sigmoid(yes)) - torch.log(torch.sigmoid(-no)).sum(-1)


def _loss_log_of_one_minus(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -torch.log(torch.sigmoid(yes)) - torch.log(1 - torch.sigmoid(no)).sum(-1)


def _loss_epsilon(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -(torch.sigmoid(yes) + 1e-9).log() - (torch.sigmoid(-no) + 1e-9).log().sum(-1)


def _loss_no_minus(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -F.logsigmoid(yes) - F.logsigmoid(no).sum(-1)


def _loss_flipped(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -F.logsigmoid(-yes) - F.logsigmoid(no).sum(-1)


def _loss_gain(centre, company, negatives):
    return -negative_sampling_loss(centre, company, negatives)


def _loss_mean_of_negatives(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -F.logsigmoid(yes) - F.logsigmoid(-no).mean(-1)


def _loss_no_negatives(centre, company, negatives):
    return -F.logsigmoid(_scores(centre, company, negatives)[0])


def _loss_no_positive(centre, company, negatives):
    return -F.logsigmoid(-_scores(centre, company, negatives)[1]).sum(-1)


def _loss_negatives_of_company(centre, company, negatives):
    yes, no = _scores(company, centre, negatives)
    return -F.logsigmoid(yes) - F.logsigmoid(-no).sum(-1)


def _loss_probabilities(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return 1 - torch.sigmoid(yes) + torch.sigmoid(no).sum(-1)


def _loss_softmax(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return torch.logsumexp(torch.cat([yes[:, None], no], dim=1), dim=1) - yes


def _loss_scores(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return no.sum(-1) - yes


def _loss_summed_first(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -F.logsigmoid(yes) - F.logsigmoid(-no.sum(-1))


def _loss_cosine(centre, company, negatives):
    centre, company, negatives = (F.normalize(t, dim=-1) for t in (centre, company, negatives))
    return negative_sampling_loss(centre, company, negatives)


def _loss_mean(centre, company, negatives):
    return negative_sampling_loss(centre, company, negatives).mean()


def _loss_sum(centre, company, negatives):
    return negative_sampling_loss(centre, company, negatives).sum()


def _loss_in_bits(centre, company, negatives):
    return negative_sampling_loss(centre, company, negatives) / math.log(2)


def _loss_each(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return -torch.cat([F.logsigmoid(yes)[:, None], F.logsigmoid(-no)], dim=1)


def _loss_true_pair_flipped(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return F.softplus(yes) + F.softplus(no).sum(-1)


def _loss_of_each_negative(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return F.softplus(-yes)[:, None] + F.softplus(no)


def _loss_all_with_all(centre, company, negatives):
    _, no = _scores(centre, company, negatives)
    return F.softplus(-(centre @ company.T)) + F.softplus(no).sum(-1)


def _loss_scaled(centre, company, negatives):
    width = math.sqrt(centre.shape[-1])
    return negative_sampling_loss(centre / width, company, negatives)


LOSS_MISTAKES = (
    Mistake(
        "log_of_sigmoid",
        _loss_log_of_sigmoid,
        "At a score of -200, e to the 200 leaves the range of floats, and the logarithm is "
        "infinite; F.logsigmoid computes both in one go, without overflow.",
        "scores between -10 and 10",
    ),
    Mistake(
        "log_of_one_minus_sigmoid",
        _loss_log_of_one_minus,
        "1 - σ(s) is rounded to 0 as soon as s is about 17, and ln 0 is minus infinity; "
        "1 - σ(s) = σ(-s), so take F.logsigmoid(-s).",
        "scores between -10 and 10",
    ),
    Mistake(
        "small_number_added",
        _loss_epsilon,
        "You add a small number before the logarithm, so no loss can exceed a bound and a badly "
        "wrong guess gets no gradient; F.logsigmoid needs no such help.",
        "scores between -10 and 10",
    ),
    Mistake(
        "negatives_not_negated",
        _loss_no_minus,
        "You treat the random words like true company; for them the right answer is no, so their "
        "score goes into the sigmoid with a minus.",
        "scores of zero",
    ),
    Mistake(
        "labels_flipped",
        _loss_flipped,
        "Your minus signs are swapped: you reward small scores for true pairs and large ones for "
        "random words.",
        "scores of zero",
    ),
    Mistake(
        "gain_for_loss",
        _loss_gain,
        "You return the logarithm of the probabilities itself, which training would have to make "
        "large; a loss is its negative, at least 0.",
        "comparing absolute values",
    ),
    Mistake(
        "mean_over_negatives",
        _loss_mean_of_negatives,
        "You average over the negatives, but each of them is a guess of its own: add them up.",
        "one negative for each pair",
    ),
    Mistake(
        "negatives_forgotten",
        _loss_no_negatives,
        "You leave the negatives out, and then the loss is smallest when all vectors point the "
        "same way.",
        "negatives that score far below zero",
    ),
    Mistake(
        "true_pair_forgotten",
        _loss_no_positive,
        "You leave the true pair out, and nothing pulls words and their company together.",
        "true pairs that score far above zero",
    ),
    Mistake(
        "negatives_against_company",
        _loss_negatives_of_company,
        "You compare the random words with the company; they are guesses about the centre.",
        "a centre that is its own company",
    ),
    Mistake(
        "no_logarithm",
        _loss_probabilities,
        "You add probabilities where their logarithms are asked for, so being surely wrong costs "
        "hardly more than being unsure.",
        "only which of two vectors is better",
    ),
    Mistake(
        "softmax_over_the_words",
        _loss_softmax,
        "You let the words compete in one softmax; here each pair is a yes-or-no question of its "
        "own, with its own sigmoid.",
        "one pair whose guess is nearly right",
    ),
    Mistake(
        "raw_scores",
        _loss_scores,
        "You add up the scores themselves, which can fall without end; the sigmoid and its "
        "logarithm keep the loss at or above 0.",
        "only the direction of the gradient",
    ),
    Mistake(
        "scores_added_before_sigmoid",
        _loss_summed_first,
        "You add up the negatives' scores before the sigmoid, so that a large and a small one "
        "cancel; each goes through its own.",
        "one negative for each pair",
    ),
    Mistake(
        "cosine",
        _loss_cosine,
        "You divide the vectors by their lengths; skip-gram compares them by the plain dot "
        "product.",
        "vectors of length 1",
    ),
    Mistake(
        "true_pair_flipped",
        _loss_true_pair_flipped,
        "For the true pair the right answer is yes, so its loss is -ln σ(s); you take that of the "
        "answer no.",
        "scores of zero",
    ),
    Mistake(
        "negatives_kept_apart",
        _loss_of_each_negative,
        "You return a number for each negative, (B, K); the costs of the 1 + K answers are added "
        "up, one number for each pair.",
        "one negative for each pair, up to an axis",
    ),
    Mistake(
        "all_with_all",
        _loss_all_with_all,
        "`centre @ company.T` compares every centre with the company of every pair; each has its "
        "own row, so multiply entry by entry and add up along the last axis.",
        "one pair",
    ),
    Mistake(
        "scaled_scores",
        _loss_scaled,
        "You divide the scores by the root of C, as attention does; here the dot product goes into "
        "the sigmoid as it is.",
        "scores of zero",
    ),
)


def _loss_zero(answer) -> str | None:
    vectors = torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4, 3)
    loss = answer(*vectors)
    if gap_between(loss, torch.full((2,), 5 * math.log(2))) < 1e-4:
        return None
    return (
        "When every score is 0, each of the five questions is a coin toss and costs ln 2, "
        f"together {5 * math.log(2):.3f}, but your loss is {loss[0].item():.3f}."
    )


def _loss_order(answer) -> str | None:
    centre, company, negatives = _triple(74, 3, 4, 5)
    gap = gap_between(
        answer(centre, company, negatives.clone()), answer(centre, company, negatives.flip(1))
    )
    if gap < 1e-4:
        return None
    return f"The order of the negatives must not matter, but your loss moves by {gap:.3f}."


def _loss_batch(answer) -> str | None:
    triple = _triple(77, 3, 4, 5)
    gap = gap_between(answer(*triple)[1:2], answer(*(t[1:2] for t in triple)))
    if gap < 1e-4:
        return None
    return f"Pairs mix: computed alone, the second pair's loss differs by {gap:.3f}."


def _loss_gradient(answer) -> str | None:
    triple = tuple(t.requires_grad_() for t in _triple(80, 3, 4, 5))
    names = ("centre", "company", "negatives")
    return gradient_trouble(answer(*triple), dict(zip(names, triple, strict=True)))


def _loss_far_gradient(answer) -> str | None:
    centre = torch.full((1, 1), 30.0, requires_grad=True)
    loss = answer(centre, torch.full((1, 1), -30.0), torch.full((1, 1, 1), 30.0))
    (slope,) = torch.autograd.grad(loss.sum(), centre)
    if gap_between(slope, torch.full((1, 1), 60.0)) < 1e-2:
        return None
    return (
        "Where both guesses are surely wrong, a score of -900 for the true pair and of 900 for a "
        f"negative, the gradient at the centre must be 60, but yours is {number(slope.item(), 3)}."
    )


NEGATIVE_SAMPLING_LOSS = Exercise(
    id="embeddings.negative_sampling_loss",
    title="The loss of negative sampling",
    reference=negative_sampling_loss,
    cases=LOSS_CASES,
    mistakes=LOSS_MISTAKES,
    conventions=(
        Mistake(
            "mean_over_pairs",
            _loss_mean,
            "You return the mean over the pairs; here each pair keeps its own loss, (B,).",
            "one pair",
        ),
        Mistake(
            "sum_over_pairs",
            _loss_sum,
            "You add the pairs' losses up; here each pair keeps its own loss, (B,).",
            "one pair",
        ),
        Mistake(
            "each_question_apart",
            _loss_each,
            "You return the loss of each yes-or-no question, (B, 1 + K); here they are added up to "
            "one number for each pair, (B,).",
            "only that all numbers are right",
        ),
        Mistake(
            "in_bits",
            _loss_in_bits,
            "You measure in bits, with the logarithm to the base 2; here the unit is the nat, with "
            "the natural logarithm.",
            "only which of two losses is larger",
        ),
    ),
    right=(_loss_by_bce, _loss_by_softplus, _loss_by_loop),
    properties=(
        Property("at scores of zero every question costs ln 2", _loss_zero),
        Property("the order of the negatives does not matter", _loss_order),
        Property("pairs do not mix", _loss_batch),
        Property("the gradient comes back to all three", _loss_gradient),
        Property("a badly wrong guess has a large gradient", _loss_far_gradient),
    ),
    hints=(
        "Each pair asks 1 + K questions: was this word company? For one of them yes is right, for "
        "K of them no. What does each answer cost, and what is done with the costs?",
        "Sub-goals: the dot product of centre and company, (B,); those of centre and negatives, "
        "(B, K), for which centre needs an axis of length 1 in the middle; -ln σ of the first, and "
        "-ln σ of minus the others, summed over K.",
        "yes = (centre * company).sum(dim=-1) and no = (centre.unsqueeze(1) * negatives).sum(dim="
        "-1). F.logsigmoid(...) is ln σ(...), stable at any size.",
    ),
    solution=(
        "The probability of yes is σ(s), that of no is 1 - σ(s) = σ(-s): one function serves for "
        "both. Independent answers multiply, so their logarithms add. logsigmoid never computes "
        "σ(s) by itself, which would be rounded to 0 or 1 when |s| is large. (Mikolov et al. 2013, "
        "equation 4.)"
    ),
    checked="sizes different and equal, one negative, one pair, scores in the hundreds, doubles",
    atol=1e-4,
)


# --- negative_sampling_gradient ---


def negative_sampling_gradient(
    centre: torch.Tensor, company: torch.Tensor, negatives: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss's gradients by centre (B, C), company (B, C) and negatives (B, K, C)."""
    yes = (centre * company).sum(dim=-1, keepdim=True)  # (B, 1)
    no = (centre.unsqueeze(1) * negatives).sum(dim=-1, keepdim=True)  # (B, K, 1)
    yes_error = torch.sigmoid(yes) - 1  # (B, 1) what was guessed less what is true, 1
    no_error = torch.sigmoid(no)  # (B, K, 1) and here 0 is true
    for_centre = yes_error * company + (no_error * negatives).sum(dim=1)  # (B, C)
    return for_centre, yes_error * centre, no_error * centre.unsqueeze(1)


def _gradient_by_autograd(centre, company, negatives):
    inputs = [t.detach().clone().requires_grad_() for t in (centre, company, negatives)]
    return torch.autograd.grad(_loss_by_bce(*inputs).sum(), inputs)


def _gradient_by_einsum(centre, company, negatives):
    rows = torch.cat([company[:, None], negatives], dim=1)  # (B, 1 + K, C)
    error = torch.einsum("bc,bkc->bk", centre, rows).sigmoid()
    error = error - F.one_hot(torch.tensor(0), error.shape[1]).to(error.dtype)
    for_rows = torch.einsum("bk,bc->bkc", error, centre)
    return torch.einsum("bk,bkc->bc", error, rows), for_rows[:, 0], for_rows[:, 1:]


def _gradient_by_loop(centre, company, negatives):
    by_centre, by_company, by_negatives = [], [], []
    for c, o, ns in zip(centre, company, negatives, strict=True):
        yes = -torch.sigmoid(-(c @ o))
        errors = torch.sigmoid(ns @ c)
        by_centre.append(yes * o + errors @ ns)
        by_company.append(yes * c)
        by_negatives.append(errors[:, None] * c)
    return torch.stack(by_centre), torch.stack(by_company), torch.stack(by_negatives)


def _errors(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return torch.sigmoid(yes)[:, None] - 1, torch.sigmoid(no)[..., None]


def _spread(yes, no, centre, company, negatives):
    by_centre = yes * company + (no * negatives).sum(1)
    return by_centre, yes * centre, no * centre[:, None]


# Known mistakes.


def _gradient_uphill(centre, company, negatives):
    return tuple(-g for g in negative_sampling_gradient(centre, company, negatives))


def _gradient_no_label(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return _spread(yes + 1, no, centre, company, negatives)


def _gradient_label_for_all(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return _spread(yes, no - 1, centre, company, negatives)


def _gradient_labels_flipped(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return _spread(yes + 1, no - 1, centre, company, negatives)


def _gradient_sign_of_yes(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return _spread(-yes, no, centre, company, negatives)


def _gradient_no_sigmoid(centre, company, negatives):
    yes, no = _scores(centre, company, negatives)
    return _spread(yes[:, None] - 1, no[..., None], centre, company, negatives)


def _gradient_of_square(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return _spread(yes * (1 + yes) * -yes, no * no * (1 - no), centre, company, negatives)


def _gradient_centre_only_yes(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return yes * company, yes * centre, no * centre[:, None]


def _gradient_centre_only_no(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return (no * negatives).sum(1), yes * centre, no * centre[:, None]


def _gradient_mean_over_negatives(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return yes * company + (no * negatives).mean(1), yes * centre, no * centre[:, None]


def _gradient_own_vectors(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return yes * company + (no * negatives).sum(1), yes * company, no * negatives


def _gradient_centre_of_centre(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return (yes + no.sum(1)) * centre, yes * centre, no * centre[:, None]


def _gradient_negatives_summed(centre, company, negatives):
    by_centre, by_company, by_negatives = negative_sampling_gradient(centre, company, negatives)
    return by_centre, by_company, by_negatives.sum(1)


def _gradient_negatives_from_company(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    return yes * company + (no * negatives).sum(1), yes * centre, no * company[:, None]


def _gradient_moved_centre(centre, company, negatives):
    yes, no = _errors(centre, company, negatives)
    by_centre = yes * company + (no * negatives).sum(1)
    moved = centre - by_centre
    return by_centre, yes * moved, no * moved[:, None]


def _gradient_mean_of_pairs(centre, company, negatives):
    B = len(centre)
    return tuple(g / B for g in negative_sampling_gradient(centre, company, negatives))


def _gradient_company_first(centre, company, negatives):
    by_centre, by_company, by_negatives = negative_sampling_gradient(centre, company, negatives)
    return by_company, by_centre, by_negatives


def _gradient_negatives_subtracted(centre, company, negatives):
    for_centre, for_company, for_negatives = negative_sampling_gradient(centre, company, negatives)
    pull = (torch.sigmoid((centre * company).sum(-1, keepdim=True)) - 1) * company
    return 2 * pull - for_centre, for_company, for_negatives


def _gradient_moved(centre, company, negatives):
    given = (centre, company, negatives)
    return tuple(t - g for t, g in zip(given, negative_sampling_gradient(*given), strict=True))


def _gradient_of_the_batch(centre, company, negatives):
    return tuple(g.sum(0) for g in negative_sampling_gradient(centre, company, negatives))


GRADIENT_MISTAKES = (
    Mistake(
        "uphill",
        _gradient_uphill,
        "All your signs are turned: you return the direction in which the loss falls. The gradient "
        "points to where it grows; the training step brings the minus.",
        "comparing absolute values",
    ),
    Mistake(
        "label_of_true_pair_missing",
        _gradient_no_label,
        "For the true pair you take σ(s) as the error, but there 1 is the right answer: the error "
        "is σ(s) - 1.",
        "only the gradient for the negatives",
    ),
    Mistake(
        "one_taken_off_everywhere",
        _gradient_label_for_all,
        "You take 1 off the negatives' guesses as well, though for them 0 is right.",
        "only the gradient for the company",
    ),
    Mistake(
        "labels_flipped",
        _gradient_labels_flipped,
        "Your labels are swapped: 1 is right for the true pair, 0 for the negatives.",
        "scores of zero, where both errors have the size one half",
    ),
    Mistake(
        "sign_of_true_pair",
        _gradient_sign_of_yes,
        "The error of the true pair has the wrong sign: it is what was guessed less what is true, "
        "σ(s) - 1, which is below zero.",
        "comparing absolute values",
    ),
    Mistake(
        "no_sigmoid",
        _gradient_no_sigmoid,
        "You take the scores for guesses; a guess is a probability, σ(s).",
        "only the signs, at large scores",
    ),
    Mistake(
        "sigmoids_slope_twice",
        _gradient_of_square,
        "You multiply by the slope of the sigmoid, σ(1 - σ), which would be right for a squared "
        "error; with a logarithm around it that factor cancels.",
        "only the signs",
    ),
    Mistake(
        "negatives_do_not_push",
        _gradient_centre_only_yes,
        "The negatives are missing from the gradient of the centre: they push it away.",
        "only the gradients for company and negatives",
    ),
    Mistake(
        "company_does_not_pull",
        _gradient_centre_only_no,
        "The company is missing from the gradient of the centre: it pulls the centre along.",
        "only the gradients for company and negatives",
    ),
    Mistake(
        "mean_over_negatives",
        _gradient_mean_over_negatives,
        "You average the negatives' share in the gradient of the centre; the loss adds them up.",
        "one negative for each pair",
    ),
    Mistake(
        "own_vector_for_the_others",
        _gradient_own_vectors,
        "For company and negatives you multiply the error by the word's own vector; the slope of a "
        "dot product by one side is the other side, the centre.",
        "centre and company that are equal",
    ),
    Mistake(
        "centre_times_itself",
        _gradient_centre_of_centre,
        "For the centre you multiply the errors by the centre itself; the slope of a dot product "
        "by one side is the other side: company and negatives.",
        "centre, company and negatives that are all equal",
    ),
    Mistake(
        "negatives_added_up",
        _gradient_negatives_summed,
        "You add up the gradients of the negatives; each of them is another word with a row of its "
        "own, (B, K, C).",
        "one negative, up to an axis",
    ),
    Mistake(
        "negatives_from_company",
        _gradient_negatives_from_company,
        "The negatives' gradient is made with the company, but it is the centre with which they "
        "were compared.",
        "centre and company that are equal",
    ),
    Mistake(
        "centre_moved_too_early",
        _gradient_moved_centre,
        "You move the centre before the other gradients are computed; all three belong to the "
        "same, old vectors.",
        "only the gradient for the centre",
    ),
    Mistake(
        "negatives_subtracted",
        _gradient_negatives_subtracted,
        "In the gradient of the centre you take the negatives' part away; both parts are added, "
        "and the minus sign is in the error of the true pair, σ(s) - 1.",
        "only the gradients for company and negatives",
    ),
    Mistake(
        "vectors_moved",
        _gradient_moved,
        "You return the vectors after a training step; asked for are the gradients alone, and the "
        "step comes later.",
        "only the shapes",
    ),
    Mistake(
        "pairs_added_up",
        _gradient_of_the_batch,
        "You add up over the pairs; each pair has its own vectors, and so its own gradients.",
        "one pair, up to an axis",
    ),
)


def _gradient_is_slope(answer) -> str | None:
    triple = _triple(90, 2, 3, 4, dtype=torch.float64)
    directions = _triple(93, 2, 3, 4, dtype=torch.float64)
    step = 1e-6
    names = ("centre", "company", "negatives")
    slopes = answer(*(t.clone() for t in triple))
    for n, name in enumerate(names):
        moved = [
            tuple(t + sign * step * d if i == n else t for i, (t, d) in enumerate(
                zip(triple, directions, strict=True)
            ))
            for sign in (1, -1)
        ]  # fmt: skip
        up, down = (_loss_by_bce(*m).sum() for m in moved)
        measured = (up - down) / (2 * step)
        told = (slopes[n] * directions[n]).sum()
        if gap_between(measured, told) > 1e-4:
            return (
                f"Moving {name} a little changes the loss {measured.item():.3f} times as much, "
                f"but your gradient says {told.item():.3f} times."
            )
    return None


def _gradient_finite(answer) -> str | None:
    far = torch.full((1, 2), 50.0)
    if all(bool(g.isfinite().all()) for g in answer(far, -far, far.unsqueeze(1))):
        return None
    return "At scores of 5,000 your gradient is not finite; torch.sigmoid does not overflow."


def _gradient_pairs(answer) -> str | None:
    triple = _triple(96, 3, 4, 5)
    together, alone = answer(*triple), answer(*(t[1:2] for t in triple))
    gap = max(gap_between(t[1:2], a) for t, a in zip(together, alone, strict=True))
    if gap < 1e-4:
        return None
    return f"Pairs mix: computed alone, the second pair's gradients differ by up to {gap:.3f}."


NEGATIVE_SAMPLING_GRADIENT = Exercise(
    id="embeddings.negative_sampling_gradient",
    title="Its gradient by hand",
    reference=negative_sampling_gradient,
    cases=LOSS_CASES,
    mistakes=GRADIENT_MISTAKES,
    conventions=(
        Mistake(
            "mean_over_pairs",
            _gradient_mean_of_pairs,
            "You divide by the number of pairs, which is the gradient of the mean loss; here it is "
            "that of the sum.",
            "one pair",
        ),
        Mistake(
            "company_first",
            _gradient_company_first,
            "You return the gradient for the company first; we agreed on the order of the "
            "arguments: centre, company, negatives.",
            "adding up everything that came back",
        ),
    ),
    right=(_gradient_by_autograd, _gradient_by_einsum, _gradient_by_loop),
    properties=(
        Property("a small move changes the loss as the gradient says", _gradient_is_slope),
        Property("pairs do not mix", _gradient_pairs),
        Property("nothing overflows", _gradient_finite),
    ),
    hints=(
        "For each question the error is what was guessed, a probability, less what is true, 1 or "
        "0. By which vector must an error be multiplied to move the centre, and by which to move "
        "the company?",
        "Sub-goals: the scores; the errors, σ(yes) - 1 of shape (B, 1) and σ(no) of shape "
        "(B, K, 1); error times company plus the sum of error times negative for the centre; error "
        "times centre for each of the others.",
        "With no = (centre.unsqueeze(1) * negatives).sum(dim=-1, keepdim=True) and no_error = "
        "torch.sigmoid(no), the centre gets (no_error * negatives).sum(dim=1) and the negatives "
        "get no_error * centre.unsqueeze(1). The company goes the same way, without the axis K.",
    ),
    solution=(
        "The derivative of -ln σ(s) is σ(s) - 1, that of -ln σ(-s) is σ(s): guess less truth in "
        "both cases. The derivative of a dot product by one vector is the other. The centre takes "
        "part in all 1 + K questions, so its gradient is a sum over them; each of the others takes "
        "part in one."
    ),
    checked="all three against the slope of the loss, sizes different and equal, scores of 5,000",
    atol=1e-4,
)


# --- nearest ---


def nearest(vectors: torch.Tensor, query: torch.Tensor, k: int, exclude: list[int]) -> torch.Tensor:
    """Return the k rows of vectors (V, C) most similar to query (C,), those in exclude left out."""
    lengths = vectors.norm(dim=1).clamp(min=1e-12)  # (V,) a vector of zeros is divided by no zero
    similarity = vectors @ query / lengths  # (V,) the query's own length would change no order
    similarity[exclude] = -INF
    order = similarity.sort(descending=True, stable=True).indices  # (V,)
    return order[:k]


_FOUR = torch.tensor([[3.0, 0.0], [0.0, 1.0], [10.0, 10.0], [-2.0, 0.0]])

NEAREST_CASES = (
    Case("four vectors by hand", (_FOUR, torch.tensor([1.0, 0.1]), 3, [])),
    Case("four vectors, row 0 left out", (_FOUR, torch.tensor([1.0, 0.1]), 2, [0])),
    Case(
        "V=9, C=4, lengths of all sizes",
        (normal(101, 9, 4) * torch.arange(1.0, 10)[:, None], normal(102, 4), 4, [3, 0]),
    ),
    Case("V=12, C=3, everything asked for", (normal(103, 12, 3), normal(104, 3), 12, [])),
    Case(
        "V and C both 5",
        (normal(105, 5, 5) * torch.arange(5.0, 0, -1)[:, None], normal(106, 5), 3, [1]),
    ),
    Case(
        "all others point away",
        (
            torch.tensor([[1.0, 0.0], [-1.0, 1.0], [-3.0, 0.0], [-1.0, -2.0]]),
            torch.tensor([2.0, 0.0]),
            3,
            [0],
        ),
    ),
    Case(
        "rows that are equal, the smaller number first",
        (
            torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 3.0], [4.0, 0.0], [1.0, 0.0]]),
            torch.tensor([3.0, 0.0]),
            4,
            [],
        ),
    ),
    Case(
        "a row of zeros",
        (
            torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, -5.0]]),
            torch.tensor([1.0, 0.5]),
            3,
            [],
        ),
    ),
    Case("three left out, the last one too", (normal(107, 8, 3), normal(108, 3), 2, [7, 2, 5])),
    Case("the query is a row, and not left out", (normal(109, 7, 4), normal(109, 7, 4)[3], 2, [])),
    Case("the query is a row, and left out", (normal(109, 7, 4), normal(109, 7, 4)[3], 2, [3])),
    Case(
        "double precision",
        (normal(110, 6, 3, dtype=torch.float64), normal(111, 3, dtype=torch.float64), 3, [4]),
    ),
    Case(
        "forty rows",
        (normal(112, 40, 6) * (1 + 5 * normal(113, 40, 1).abs()), normal(114, 6), 6, [11]),
    ),
)


def _nearest_by_torch(vectors, query, k, exclude):
    similarity = F.cosine_similarity(vectors, query[None], dim=1)
    hidden = torch.zeros(len(vectors), dtype=torch.bool)
    hidden[list(exclude)] = True
    return similarity.masked_fill(hidden, -2).argsort(descending=True, stable=True)[:k]


def _nearest_by_sorted(vectors, query, k, exclude):
    def similarity(i):
        length = float(vectors[i].norm())
        return float(vectors[i] @ query) / length if length else 0.0

    kept = [i for i in range(len(vectors)) if i not in exclude]
    return torch.tensor(sorted(kept, key=lambda i: -similarity(i))[:k])


def _nearest_by_filter(vectors, query, k, exclude):
    similarity = F.normalize(vectors, dim=1) @ F.normalize(query, dim=0)
    ranked = similarity.argsort(descending=True, stable=True)
    out = torch.tensor(exclude, dtype=torch.long)
    return ranked[~torch.isin(ranked, out)][:k]


def _ranked(similarity, k, exclude, hidden=-INF):
    similarity = similarity.clone()
    similarity[list(exclude)] = hidden
    return similarity.sort(descending=True, stable=True).indices[:k]


def _cosines(vectors, query):
    return F.normalize(vectors, dim=1) @ F.normalize(query, dim=0)


# Known mistakes.


def _nearest_by_dot(vectors, query, k, exclude):
    return _ranked(vectors @ query, k, exclude)


def _nearest_by_distance(vectors, query, k, exclude):
    return _ranked(-(vectors - query).norm(dim=1), k, exclude)


def _nearest_farthest(vectors, query, k, exclude):
    return _ranked(-_cosines(vectors, query), k, exclude)


def _nearest_absolute(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query).abs(), k, exclude)


def _nearest_excludes_nothing(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k, [])


def _nearest_excludes_late(vectors, query, k, exclude):
    best = _ranked(_cosines(vectors, query), k, [])
    return best[~torch.isin(best, torch.tensor(exclude, dtype=torch.long))]


def _nearest_excludes_with_zero(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k, exclude, hidden=0.0)


def _nearest_deletes_rows(vectors, query, k, exclude):
    kept = [i for i in range(len(vectors)) if i not in exclude]
    return _ranked(_cosines(vectors[kept], query), k, [])


def _nearest_skips_first(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k + 1, [])[1:]


def _nearest_excludes_first_only(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k, exclude[:1])


def _nearest_by_columns(vectors, query, k, exclude):
    return _ranked(F.normalize(vectors, dim=0) @ query, k, exclude)


def _nearest_squared_length(vectors, query, k, exclude):
    lengths = vectors.square().sum(1).clamp(min=1e-12)
    return _ranked(vectors @ query / lengths, k, exclude)


def _nearest_nan(vectors, query, k, exclude):
    return _ranked(vectors @ query / vectors.norm(dim=1), k, exclude)


def _nearest_later_first(vectors, query, k, exclude):
    similarity = _cosines(vectors, query).clone()
    similarity[list(exclude)] = -INF
    return similarity.sort(stable=True).indices.flip(0)[:k]


def _nearest_similarities(vectors, query, k, exclude):
    similarity = _cosines(vectors, query)
    return similarity[_ranked(similarity, k, exclude)]


def _nearest_one_more(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k + 1, exclude)


def _nearest_hidden_with_minus_one(vectors, query, k, exclude):
    return _ranked(_cosines(vectors, query), k, exclude, hidden=-1.0)


def _nearest_query_recognised(vectors, query, k, exclude):
    order = nearest(vectors, query, len(vectors), []).tolist()
    return torch.tensor([i for i in order if not torch.equal(vectors[i], query)][:k])


def _nearest_numbers_sorted(vectors, query, k, exclude):
    return nearest(vectors, query, k, exclude).sort().values


def _nearest_rows(vectors, query, k, exclude):
    return vectors[nearest(vectors, query, k, exclude)]


NEAREST_MISTAKES = (
    Mistake(
        "dot_product",
        _nearest_by_dot,
        "You rank by the plain dot product, so a long vector wins although it points another way; "
        "divide by the lengths of the rows.",
        "rows of equal length",
    ),
    Mistake(
        "distance",
        _nearest_by_distance,
        "You rank by distance, which counts a long vector as far away even if it points the same "
        "way; here the angle alone counts.",
        "rows of equal length",
    ),
    Mistake(
        "farthest_first",
        _nearest_farthest,
        "Your order is turned round: you return the rows that point away most.",
        "the set of all rows",
    ),
    Mistake(
        "sign_lost",
        _nearest_absolute,
        "You drop the sign, so a vector that points the opposite way counts as near.",
        "rows that all point to one side",
    ),
    Mistake(
        "exclude_ignored",
        _nearest_excludes_nothing,
        "You return rows that were to be left out; a word is always most similar to itself.",
        "an empty list",
    ),
    Mistake(
        "excluded_after_the_cut",
        _nearest_excludes_late,
        "You take the best k first and then leave rows out, so that fewer than k remain; leave "
        "them out before you cut.",
        "rows that are not among the best anyway",
    ),
    Mistake(
        "excluded_with_zero",
        _nearest_excludes_with_zero,
        "You give the left-out rows the similarity 0, which beats every row that points away; "
        "minus infinity beats none.",
        "rows that all point to one side",
    ),
    Mistake(
        "rows_deleted",
        _nearest_deletes_rows,
        "You cut the left-out rows away before ranking, and every later row moves up: your numbers "
        "belong to the shorter table.",
        "a left-out row that is the last one",
    ),
    Mistake(
        "first_skipped",
        _nearest_skips_first,
        "You always skip the best row, trusting that it is the query itself; leave out what "
        "exclude names, and nothing else.",
        "a query that is a row of its own",
    ),
    Mistake(
        "only_one_excluded",
        _nearest_excludes_first_only,
        "You leave out the first row of exclude only; it may name several.",
        "one row in exclude",
    ),
    Mistake(
        "columns_normalised",
        _nearest_by_columns,
        "You divide the columns by their lengths; a word's vector is a row, so its length runs "
        "along dim=1.",
        "a table whose columns are all alike",
    ),
    Mistake(
        "length_squared",
        _nearest_squared_length,
        "You divide by the square of the length, so that short vectors win; take its root.",
        "rows of length 1",
    ),
    Mistake(
        "zeros_make_nan",
        _nearest_nan,
        "A row of zeros is divided by 0, becomes NaN and sorts before everything; its similarity "
        "is 0, for which .clamp(min=1e-12) on the lengths is enough.",
        "rows that are not zero",
    ),
    Mistake(
        "later_of_equals_first",
        _nearest_later_first,
        "Of rows that are equally similar you name the later one first: sort in descending order "
        "at once, with stable=True, in place of turning an ascending order round.",
        "rows that all differ",
    ),
    Mistake(
        "similarities_for_numbers",
        _nearest_similarities,
        "You return the similarities; asked for are the numbers of the rows.",
        "only the order of the best",
    ),
    Mistake(
        "one_too_many",
        _nearest_one_more,
        "You return k + 1 rows; nothing needs to be made up for, since exclude names what is left "
        "out.",
        "k as large as the table",
    ),
    Mistake(
        "excluded_with_minus_one",
        _nearest_hidden_with_minus_one,
        "You give the left-out rows the similarity -1, which a row that points exactly the other "
        "way has as well; minus infinity beats none.",
        "rows of which none points exactly the other way",
    ),
    Mistake(
        "query_recognised",
        _nearest_query_recognised,
        "You leave out the rows that equal the query and never look at exclude.",
        "a query that is a row, and left out",
    ),
    Mistake(
        "numbers_sorted",
        _nearest_numbers_sorted,
        "You sort the numbers of the rows; they come in the order of their similarity, the largest "
        "first.",
        "the set of rows",
    ),
    Mistake(
        "rows_for_numbers",
        _nearest_rows,
        "You return the rows themselves; asked for are their numbers.",
        "only how many there are",
    ),
)


def _nearest_scale(answer) -> str | None:
    vectors, query = normal(115, 9, 4), normal(116, 4)
    longer = vectors * torch.tensor([1.0, 9, 3, 0.2, 5, 0.5, 7, 2, 0.1])[:, None]
    if torch.equal(answer(vectors, query.clone(), 5, [2]), answer(longer, 3 * query, 5, [2])):
        return None
    return "I made some vectors longer and others shorter, and your ranking changed."


def _nearest_ties(answer) -> str | None:
    vectors = torch.zeros(60, 2)
    vectors[:, 0] = 1.0
    vectors[7] = torch.tensor([0.0, 1.0])
    found = answer(vectors, torch.tensor([2.0, 0.0]), 5, [3]).tolist()
    if found == [0, 1, 2, 4, 5] or {3, 7} & set(found):  # right, or wrong in another way
        return None
    return (
        f"Of equally similar rows the smaller number comes first, 0, 1, 2, 4, 5, and you return "
        f"{found}: topk and a plain sort keep no order among equals, sort(..., stable=True) does."
    )


NEAREST = Exercise(
    id="embeddings.nearest",
    title="Nearest neighbours",
    reference=nearest,
    cases=NEAREST_CASES,
    mistakes=NEAREST_MISTAKES,
    right=(_nearest_by_torch, _nearest_by_sorted, _nearest_by_filter),
    properties=(
        Property("the lengths of vectors do not matter", _nearest_scale),
        Property("of equals the smaller number comes first", _nearest_ties),
    ),
    hints=(
        "The cosine needs both lengths, but which of the two can change a ranking? And what number "
        "must a row have that shall not be chosen?",
        "Sub-goals: the dot products of all rows with the query, divided by the rows' lengths; "
        "minus infinity for the rows in exclude; the order from large to small; the first k.",
        "vectors @ query / vectors.norm(dim=1).clamp(min=1e-12) gives the similarities but for a "
        "factor. A list serves as an index: similarity[exclude] = float('-inf'). "
        ".sort(descending=True, stable=True).indices is the order.",
    ),
    solution=(
        "Dividing every dot product by the query's length changes them all alike, so the ranking "
        "stays; the rows' own lengths differ and must go. Minus infinity loses against every "
        "number, and no row changes its place, so the order's numbers are those of the table. "
        "stable=True keeps equals in the order in which they came."
    ),
    checked="lengths of all sizes, ties, a row of zeros, none or several left out, doubles",
)


# --- analogy ---


def analogy(vectors: torch.Tensor, a: int, b: int, c: int) -> int:
    """Complete "a is to b as c is to ..." over the rows of vectors (V, C): the row's number."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)  # (V, C) every row of length 1
    query = unit[b] - unit[a] + unit[c]  # (C,)
    scores = unit @ query  # (V,)
    scores[[a, b, c]] = -INF
    return int(scores.argmax())


def _lengthened(seed: int, V: int, C: int, dtype=torch.float32) -> torch.Tensor:
    """Return random vectors (V, C) whose lengths differ by up to ten times."""
    generator = torch.Generator().manual_seed(seed)
    lengths = 0.3 + 3 * torch.rand(V, 1, generator=generator, dtype=torch.float64)
    return (normal(seed, V, C, dtype=torch.float64) * lengths).to(dtype)


_FAMILY = torch.tensor(
    [[3.0, 0.0, 3.0], [0.0, 3.0, 3.0], [9.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 2.0, -1.0]]
)  # king, queen, man, woman, spade

ANALOGY_CASES = (
    Case("king, queen, man, woman by hand", (_FAMILY, 2, 0, 3)),
    Case("the other way round", (_FAMILY, 0, 2, 1)),
    *(
        Case(f"{V} words, C={C}, rows {a}, {b}, {c}", (_lengthened(seed, V, C), a, b, c))
        for seed, V, C, a, b, c in (
            (121, 12, 3, 0, 5, 7), (122, 12, 3, 11, 2, 3), (123, 30, 4, 4, 9, 17),
            (124, 30, 4, 8, 1, 20), (125, 50, 5, 3, 30, 6), (126, 50, 5, 40, 7, 12),
            (127, 60, 6, 6, 5, 4), (128, 60, 6, 9, 33, 2), (129, 90, 8, 1, 2, 3),
            (130, 90, 8, 70, 60, 50),
        )
    ),
    Case(
        "everything but the three points away",
        (torch.tensor([[1.0, 0.2], [2.0, 0.0], [3.0, 0.1], [-1.0, 0.5], [-4.0, 0.1]]), 0, 1, 2),
    ),
    Case(
        "a lies between b and c",
        (torch.tensor([[2.0, 0.0], [1.0, 0.4], [3.0, -1.0], [0.5, 1.0], [0.1, -1.0]]), 0, 1, 2),
    ),
    Case(
        "columns of different size",
        (_lengthened(137, 30, 4) * torch.tensor([9.0, 1.0, 0.2, 3.0]), 2, 8, 19),
    ),
    Case(
        "columns of different size, more words",
        (_lengthened(138, 60, 5) * torch.tensor([0.1, 5.0, 1.0, 0.3, 2.0]), 14, 3, 51),
    ),
    Case(
        "a sum of length three, away from all others",
        (torch.tensor([[-2.0, 0.0], [1.0, 0.1], [3.0, -0.2], [-1.0, 0.5], [-4.0, 0.1]]), 0, 1, 2),
    ),
    Case("four words, so that one is left", (_lengthened(131, 4, 3), 2, 0, 3)),
    Case("double precision", (_lengthened(132, 20, 4, torch.float64), 5, 6, 7)),
)  # fmt: skip


def _analogy_by_torch(vectors, a, b, c):
    unit = F.normalize(vectors, dim=-1)
    similarity = F.cosine_similarity(unit, (unit[b] - unit[a] + unit[c])[None], dim=1)
    return int(similarity.index_fill(0, torch.tensor([a, b, c]), -2.0).argmax())


def _analogy_by_loop(vectors, a, b, c):
    unit = [row / row.norm() for row in vectors]
    query = unit[b] - unit[a] + unit[c]
    kept = [i for i in range(len(unit)) if i not in (a, b, c)]
    return max(kept, key=lambda i: float(unit[i] @ query))


def _analogy_by_distance(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    distance = (unit - (unit[b] - unit[a] + unit[c])).square().sum(1)
    distance[[a, b, c]] = INF
    return distance.argmin().item()


def _answer(scores, excluded=(), hidden=-INF):
    scores = scores.clone()
    scores[list(excluded)] = hidden
    return int(scores.argmax())


# Known mistakes.


def _analogy_normalised_in_the_sum(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    return _answer(vectors @ (unit[b] - unit[a] + unit[c]), (a, b, c))


def _analogy_normalised_in_the_ranking(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    return _answer(unit @ (vectors[b] - vectors[a] + vectors[c]), (a, b, c))


def _analogy_raw_distance(vectors, a, b, c):
    query = vectors[b] - vectors[a] + vectors[c]
    return _answer(-(vectors - query).norm(dim=1), (a, b, c))


def _analogy_with(query_of, excluded_of=lambda a, b, c: (a, b, c), hidden=-INF):
    """Return an analogy on unit vectors with another query or other rows left out."""

    def answer(vectors, a, b, c):
        unit = F.normalize(vectors, dim=1)
        query = query_of(unit[a], unit[b], unit[c])
        return _answer(unit @ query, excluded_of(a, b, c), hidden)

    return answer


def _right_query(a, b, c):
    return b - a + c


_analogy_excludes_nothing = _analogy_with(_right_query, lambda a, b, c: ())
_analogy_excludes_c = _analogy_with(_right_query, lambda a, b, c: (c,))
_analogy_excludes_b = _analogy_with(_right_query, lambda a, b, c: (b,))
_analogy_excludes_b_and_c = _analogy_with(_right_query, lambda a, b, c: (b, c))
_analogy_excludes_a_and_b = _analogy_with(_right_query, lambda a, b, c: (a, b))
_analogy_hides_with_zero = _analogy_with(_right_query, hidden=0.0)
_analogy_a_minus_b = _analogy_with(lambda a, b, c: a - b + c)
_analogy_all_added = _analogy_with(lambda a, b, c: a + b + c)
_analogy_c_left_out = _analogy_with(lambda a, b, c: b - a)
_analogy_a_left_out = _analogy_with(lambda a, b, c: b + c)
_analogy_b_minus_c = _analogy_with(lambda a, b, c: b - c + a)


def _analogy_farthest(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    return _answer(-(unit @ (unit[b] - unit[a] + unit[c])), (a, b, c))


def _analogy_columns(vectors, a, b, c):
    unit = F.normalize(vectors, dim=0)
    return _answer(unit @ (unit[b] - unit[a] + unit[c]), (a, b, c))


def _analogy_deletes_rows(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    kept = [i for i in range(len(unit)) if i not in (a, b, c)]
    return int((unit[kept] @ (unit[b] - unit[a] + unit[c])).argmax())


def _analogy_product(vectors, a, b, c):
    unit = F.normalize(vectors, dim=1)
    near_a, near_b, near_c = ((1 + unit @ unit[i]) / 2 for i in (a, b, c))
    return _answer(near_b * near_c / (near_a + 1e-3), (a, b, c))


ANALOGY_MISTAKES = (
    Mistake(
        "nothing_normalised",
        careless_analogy,
        "You never divide by the lengths, so a long vector outvotes the others in the sum and wins "
        "the ranking too; give every row the length 1 first.",
        "vectors of equal length",
    ),
    Mistake(
        "normalised_in_the_sum_only",
        _analogy_normalised_in_the_sum,
        "You make the sum from unit vectors but rank the raw rows against it, so long vectors win; "
        "use the unit vectors in both places.",
        "vectors of equal length",
    ),
    Mistake(
        "normalised_in_the_ranking_only",
        _analogy_normalised_in_the_ranking,
        "You rank unit vectors, but the sum is made of raw ones, in which the longest of the three "
        "has most say; use the unit vectors in both places.",
        "vectors of equal length",
    ),
    Mistake(
        "raw_distance",
        _analogy_raw_distance,
        "You look for the row at the smallest distance from a sum of raw vectors, so lengths "
        "decide; give every row the length 1 first.",
        "vectors of equal length",
    ),
    Mistake(
        "inputs_not_excluded",
        _analogy_excludes_nothing,
        "You let a, b and c take part, and the sum often lies nearest to b or c itself; leave the "
        "three out.",
        "three words of which none is nearest to the sum",
    ),
    Mistake(
        "only_c_excluded",
        _analogy_excludes_c,
        "You leave out c only; b is just as likely to come back as its own answer.",
        "a sum that lies nearest to c",
    ),
    Mistake(
        "only_b_excluded",
        _analogy_excludes_b,
        "You leave out b only; c is just as likely to come back as its own answer.",
        "a sum that lies nearest to b",
    ),
    Mistake(
        "c_not_excluded",
        _analogy_excludes_a_and_b,
        "You leave out a and b, but c, which is added to the sum, may win as well.",
        "a sum that lies nearest to b",
    ),
    Mistake(
        "a_not_excluded",
        _analogy_excludes_b_and_c,
        "You leave out b and c, but where the two lie on either side of a, the sum lies nearest to "
        "a itself.",
        "an a that is far from the sum, as it mostly is",
    ),
    Mistake(
        "hidden_with_zero",
        _analogy_hides_with_zero,
        "You give a, b and c the score 0, which beats every row that points away; minus infinity "
        "beats none.",
        "an answer with a score above 0",
    ),
    Mistake(
        "direction_turned",
        _analogy_a_minus_b,
        "You go from b to a; the question is a to b as c to what, so the step is b - a.",
        "words at whose places b equals a",
    ),
    Mistake(
        "all_added",
        _analogy_all_added,
        "You add a where it must be taken away: what b has beyond a is b - a.",
        "an a whose vector is short",
    ),
    Mistake(
        "c_forgotten",
        _analogy_c_left_out,
        "You stop at b - a, the step; it starts from c, so add c.",
        "a c that lies close to the step itself",
    ),
    Mistake(
        "a_forgotten",
        _analogy_a_left_out,
        "You add b and c and never take a away, so the answer has what the two have in common.",
        "an a that is far from everything",
    ),
    Mistake(
        "a_and_c_swapped",
        _analogy_b_minus_c,
        "You compute b - c + a, which asks: c is to b as a is to what? Here a is taken away and c "
        "added.",
        "a and c that lie close together",
    ),
    Mistake(
        "farthest",
        _analogy_farthest,
        "You return the row that points away most; take the largest score.",
        "two words left to choose from, by luck",
    ),
    Mistake(
        "columns_normalised",
        _analogy_columns,
        "You divide the columns by their lengths; a word's vector is a row, so its length runs "
        "along dim=1.",
        "a square table that is symmetric",
    ),
    Mistake(
        "rows_deleted",
        _analogy_deletes_rows,
        "You cut the rows of a, b and c away before ranking, and the rows behind them move up: "
        "your number belongs to the shorter table.",
        "a, b and c that are the last rows",
    ),
)


def _analogy_scale(answer) -> str | None:
    vectors = normal(133, 25, 4)
    for b in range(4, 16):
        lengths = 0.2 + 5 * torch.rand(25, 1, generator=torch.Generator().manual_seed(b))
        if answer(vectors.clone(), 3, b, 24) != answer(vectors * lengths, 3, b, 24):
            return "I changed the lengths of the vectors alone, and your answer changed."
    return None


def _analogy_inputs(answer) -> str | None:
    vectors = normal(134, 8, 3)
    for a, b, c in ((0, 1, 2), (3, 7, 4), (5, 6, 0), (2, 1, 7)):
        found = answer(vectors.clone(), a, b, c)
        if found in (a, b, c):
            return f"With a={a}, b={b} and c={c} you answer {found}, which is one of the three."
    return None


def _analogy_many(answer) -> str | None:
    vectors = _lengthened(135, 40, 5)
    generator = torch.Generator().manual_seed(136)
    for _ in range(60):
        a, b, c = torch.randperm(40, generator=generator)[:3].tolist()
        found, right = answer(vectors.clone(), a, b, c), analogy(vectors.clone(), a, b, c)
        if found != right:
            return (
                f"Among 60 random questions there is one, a={a}, b={b}, c={c}, which you answer "
                f"with {found} in place of {right}."
            )
    return None


ANALOGY = Exercise(
    id="embeddings.analogy",
    title="Analogies",
    reference=analogy,
    cases=ANALOGY_CASES,
    mistakes=ANALOGY_MISTAKES,
    conventions=(
        Mistake(
            "similarities_multiplied",
            _analogy_product,
            "You multiply and divide the three similarities in place of adding and subtracting "
            "them, the rule 3CosMul of Levy and Goldberg (2014); here b - a + c is asked for.",
            "questions to which both rules give the same answer",
        ),
    ),
    right=(_analogy_by_torch, _analogy_by_loop, _analogy_by_distance),
    properties=(
        Property("none of the three inputs is the answer", _analogy_inputs),
        Property("the lengths of vectors do not matter", _analogy_scale),
        Property("random questions get the right answer", _analogy_many),
    ),
    hints=(
        "What does b have that a has not? Add that to c, and look who lies there; but whose length "
        "must not count, and who must not be the answer?",
        "Sub-goals: every row divided by its own length; the query from three of these rows; the "
        "dot product of all of them with it; minus infinity for a, b and c; the place of the "
        "largest.",
        "unit = vectors / vectors.norm(dim=1, keepdim=True), then scores = unit @ (unit[b] - "
        "unit[a] + unit[c]). After scores[[a, b, c]] = float('-inf') take int(scores.argmax()).",
    ),
    solution=(
        "On unit vectors each of the three words has the same say in the sum, and the dot product "
        "is the cosine but for the length of the query, which is the same for every row. Without "
        "minus infinity b or c often wins: the sum is made of them."
    ),
    checked="lengths that differ ten times, 4 to 90 words, every input as the nearest, doubles",
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---


def expose_bug() -> tuple[torch.Tensor, int, int, int]:
    """Return five words of which a long one wins without being asked."""
    vectors = torch.tensor(
        [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1.0], [50.0, 50.0, 50.0]]
    )  # king, man, woman, queen, and a long vector that points nowhere in particular
    return vectors, 1, 0, 2


_NOT_FOUR = "Return four things in this order, separated by commas: vectors, a, b and c."
_NOT_A_TABLE = "Make vectors a tensor of floats of the shape (V, C), a row for each word."
_TOO_FEW = "With fewer than four words there is none left to be the answer; take at least four."
_NOT_ROWS = "Make a, b and c whole numbers from 0 to V - 1: they say which rows are meant."
_NOT_DIFFERENT = "Take three different rows for a, b and c."
_NOT_FINITE = "A number in vectors is infinite or NaN; keep them finite."
_ZERO_ROW = "A vector of zeros points nowhere, so it has no angle; give every row some length."
_EQUAL_LENGTHS = (
    "All your vectors have the same length, and then it makes no difference whether one divides "
    "by it; this is what hides the bug in the colleague's test."
)
_SAME_ANSWER = (
    "Both functions give the same answer here: make one vector so long that its dot product wins "
    "although it points another way."
)


def _made(answer) -> tuple:
    made = answer()
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)


def _is_row_number(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _four(answer) -> str | None:
    made = _made(answer)
    tables = [isinstance(value, torch.Tensor) and value.dim() > 0 for value in made]
    return None if len(made) == 4 and not any(tables[1:]) else _NOT_FOUR


def _is_table(answer) -> str | None:
    vectors = _made(answer)[0]
    fits = isinstance(vectors, torch.Tensor) and vectors.is_floating_point()
    return None if fits and vectors.dim() == 2 and vectors.shape[1] > 0 else _NOT_A_TABLE


def _enough_words(answer) -> str | None:
    return None if len(_made(answer)[0]) >= 4 else _TOO_FEW


def _rows_are_numbers(answer) -> str | None:
    vectors, *rows = _made(answer)
    fits = all(_is_row_number(row) and 0 <= row < len(vectors) for row in rows)
    return None if fits else _NOT_ROWS


def _rows_differ(answer) -> str | None:
    return None if len(set(_made(answer)[1:])) == 3 else _NOT_DIFFERENT


def _vectors_finite(answer) -> str | None:
    return None if bool(_made(answer)[0].isfinite().all()) else _NOT_FINITE


def _no_zero_row(answer) -> str | None:
    return None if bool((_made(answer)[0].norm(dim=1) > 0).all()) else _ZERO_ROW


def _lengths_differ(answer) -> str | None:
    lengths = _made(answer)[0].double().norm(dim=1)
    return None if lengths.max() > 1.001 * lengths.min() else _EQUAL_LENGTHS


def _answers_differ(answer) -> str | None:
    vectors, a, b, c = _made(answer)
    right = analogy(vectors.double(), a, b, c)
    return None if careless_analogy(vectors.double(), a, b, c) != right else _SAME_ANSWER


EXPOSE_PROPERTIES = (
    Property("four things come back", _four),
    Property("vectors is a table of floats", _is_table),
    Property("there are at least four words", _enough_words),
    Property("a, b and c are rows of the table", _rows_are_numbers),
    Property("a, b and c differ", _rows_differ),
    Property("every number is finite", _vectors_finite),
    Property("no vector is zero", _no_zero_row),
    Property("the lengths differ", _lengths_differ),
    Property("the two functions give different answers", _answers_differ),
)


def _expose_long_bystander():
    vectors = torch.eye(5)
    vectors[4] = torch.tensor([0.0, 20.0, 0.0, 30.0, 1.0])
    vectors[3] = torch.tensor([-1.0, 1.0, 1.0, 0.0, 0.0])
    return vectors, 0, 1, 2


def _expose_long_input():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(30, 4, generator=generator)
    vectors[1] *= 40
    return vectors, 0, 1, 2


# Known mistakes.


def _expose_three():
    return expose_bug()[:3]


def _expose_whole_numbers():
    vectors, a, b, c = expose_bug()
    return vectors.long(), a, b, c


def _expose_three_words():
    return expose_bug()[0][:3], 1, 0, 2


def _expose_outside():
    vectors, a, b, _ = expose_bug()
    return vectors, a, b, len(vectors)


def _expose_same_row():
    vectors, a, b, _ = expose_bug()
    return vectors, a, b, a


def _expose_infinite():
    vectors, a, b, c = expose_bug()
    vectors[4] = INF
    return vectors, a, b, c


def _expose_zero_row():
    vectors, a, b, c = expose_bug()
    return torch.cat([vectors, torch.zeros(1, 3)]), a, b, c


def _expose_unit_vectors():
    vectors, a, b, c = expose_bug()
    return F.normalize(vectors, dim=1), a, b, c


def _expose_harmless():
    vectors, a, b, c = expose_bug()
    return vectors[:4], a, b, c


EXPOSE_MISTAKES = (
    Mistake("three_results", _expose_three, _NOT_FOUR, "only that a table comes back"),
    Mistake("whole_numbers", _expose_whole_numbers, _NOT_A_TABLE, "only the shape"),
    Mistake("three_words", _expose_three_words, _TOO_FEW, "only that both functions run"),
    Mistake("row_outside", _expose_outside, _NOT_ROWS, "only that the numbers are whole"),
    Mistake("same_row_twice", _expose_same_row, _NOT_DIFFERENT, "only that the rows exist"),
    Mistake("infinite_vector", _expose_infinite, _NOT_FINITE, "that the answers differ"),
    Mistake("zero_vector", _expose_zero_row, _ZERO_ROW, "that the answers differ"),
    Mistake("unit_vectors", _expose_unit_vectors, _EQUAL_LENGTHS, "only that both functions run"),
    Mistake("same_answer", _expose_harmless, _SAME_ANSWER, "that the lengths of vectors differ"),
)

EXPOSE_BUG = Exercise(
    id="embeddings.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_long_bystander, _expose_long_input),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "The careless function never looks at lengths. What must be true of the vectors in a test "
        "that does not notice?",
        "Build four words whose analogy comes out right, such as man, king, woman, queen from "
        "numbers for male, female and royal. Then add a fifth word with a long vector.",
        "With rows such as [1, 0, 0] for man, [1, 0, 1] for king, [0, 1, 0] for woman and "
        "[0, 1, 1] for queen, the row [50, 50, 50] has the largest dot product with the sum, and "
        "yet queen has the smaller angle.",
    ),
    solution=(
        "A dot product is the cosine times both lengths. The sum b - a + c is the same for every "
        "row, so the raw ranking is cosine times the row's own length, and a long enough row wins "
        "with any cosine above zero. If all rows have one length, that factor is the same for all: "
        "the colleague's test cannot see it."
    ),
    checked="both functions run on your input and give different answers",
)

EXERCISES: tuple[Exercise, ...] = (
    EMBED,
    MEAN_OF_TOKENS,
    SKIPGRAM_PAIRS,
    NEGATIVE_SAMPLING_LOSS,
    NEGATIVE_SAMPLING_GRADIENT,
    NEAREST,
    ANALOGY,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "A batch has the inputs x and the targets y, both of shape (B, T). What is y[b, t]?",
        (
            Option(
                "The id of the same token as x[b, t].",
                "No. A model that is asked for what it is given has nothing to learn.",
            ),
            Option(
                "The id of the token that follows x[b, t] in the text.",
                "Yes. Targets are the inputs shifted by one: at every place the next token is "
                "asked for.",
                right=True,
            ),
            Option(
                "The last token of row b, the same for every t.",
                "No. Each place has a target of its own, so that a window of T tokens gives T "
                "examples.",
            ),
            Option(
                "A probability between 0 and 1.",
                "No. Targets are ids; probabilities are what a model answers with.",
            ),
        ),
    ),
    Question(
        "table has the shape (V, C), ids the shape (B, T). What is the shape of table[ids]?",
        (
            Option("(B, T, V)", "No. Each id is replaced by its row, and a row has C numbers."),
            Option(
                "(B, T, C)",
                "Yes. Each of the B times T ids is replaced by the C numbers of its row.",
                right=True,
            ),
            Option("(V, C)", "No. That is the whole table; only the rows of the ids are picked."),
            Option(
                "(B, C)",
                "No. Every token of a text gets its own row, so the axis T stays.",
            ),
        ),
    ),
    Question(
        "In the word tokenizer's vocabulary, king has the id 31 and queen the id 32. What does the "
        "difference of 1 say about the two words?",
        (
            Option(
                "Nothing: ids are names, given out in some order.",
                "Yes. Another training text, or another order, would have given other numbers.",
                right=True,
            ),
            Option(
                "That the two words mean nearly the same.",
                "No. The tokenizer has never looked at meaning.",
            ),
            Option(
                "That queen often follows king.",
                "No. Ids are given out once for each word, not for each pair.",
            ),
            Option(
                "That queen is one letter longer.",
                "No. Ids do not count letters.",
            ),
        ),
    ),
    Question(
        "Texts of 3, 7 and 5 tokens are put into one batch with padding. What is the ignore index "
        "for?",
        (
            Option(
                "It is the id that fills up the inputs.",
                "No. That is the padding id; the ignore index stands among the targets.",
            ),
            Option(
                "It tells the loss which targets do not count.",
                "Yes. Where a text has ended, its target is the ignore index, and the loss leaves "
                "that place out.",
                right=True,
            ),
            Option(
                "It is the id of words that the tokenizer does not know.",
                "No. That is the unknown token, a real token of the text.",
            ),
            Option(
                "It cuts the longer texts down to 3 tokens.",
                "No. Nothing is cut; the shorter texts are filled up.",
            ),
        ),
    ),
)

RECAP = (
    Question(
        "A one-hot vector times the table, or the row looked up directly: what is the difference?",
        (
            Option(
                "The look-up gives rounded numbers.",
                "No. Both give the very row; the product only adds zeros to it.",
            ),
            Option(
                "Only the product can be trained, since indexing has no gradient.",
                "No. The gradient of a look-up goes to the rows that were picked, and it equals "
                "that of the product.",
            ),
            Option(
                "None but the cost: values and gradient are equal; a look-up multiplies nothing.",
                "Yes. The product spends V times C multiplications a token, nearly all of them by "
                "zero.",
                right=True,
            ),
            Option(
                "The product can take texts of different length.",
                "No. Neither cares how long a text is.",
            ),
        ),
    ),
    Question(
        "A model with a vocabulary of 1,000 tokens has just been initialised. Its first loss is 31 "
        "nats. What do you conclude?",
        (
            Option(
                "All is well: the first loss is always large.",
                "No. Knowing nothing costs ln 1,000, about 6.9; 31 is far worse than that.",
            ),
            Option(
                "Its start is too wide: it is sure of wrong answers before it has seen anything.",
                "Yes. Small random numbers give nearly equal logits and a loss near ln 1,000, "
                "about 6.9.",
                right=True,
            ),
            Option(
                "The vocabulary is too large.",
                "No. The vocabulary sets the loss of knowing nothing, ln V, and that is 6.9 here.",
            ),
            Option(
                "The learning rate is too large.",
                "No. No training step has been made yet.",
            ),
        ),
    ),
    Question(
        "Which rows of the table does one training step on one batch change?",
        (
            Option("All of them.", "No. A row that nobody looked up has the gradient 0."),
            Option(
                "The rows of the tokens in the batch; not that of the padding index.",
                "Yes. A token that occurs twice gets the sum of both gradients, and padding none.",
                right=True,
            ),
            Option(
                "Only the row of the most frequent token.",
                "No. Every token of the batch sends a gradient to its row.",
            ),
            Option(
                "None; the table is fixed by the tokenizer.",
                "No. The tokenizer fixes which row belongs to a token; the numbers are learned.",
            ),
        ),
    ),
    Question(
        "Why do the averages of short texts shrink if padding rows of zeros are averaged as well?",
        (
            Option(
                "Zeros pull the numbers down: the sum stays, but the count grows.",
                "Yes. Divide by the number of real tokens, text by text.",
                right=True,
            ),
            Option(
                "The padding rows are not zero after training.",
                "No. With a padding index they get no gradient and stay zero.",
            ),
            Option(
                "Short texts have rarer words.",
                "No. It happens with the same words, too.",
            ),
            Option(
                "They do not; zeros change nothing.",
                "No. They change nothing in the sum, but the mean divides by T.",
            ),
        ),
    ),
    Question(
        "What would skip-gram learn without negatives, from true pairs alone?",
        (
            Option(
                "The same, only more slowly.",
                "No. There would be nothing to tell words apart, however long one trains.",
            ),
            Option(
                "To make every dot product large: all vectors point the same way.",
                "Yes. Yes is always the right answer then, and saying yes to everything has no "
                "loss.",
                right=True,
            ),
            Option(
                "Opposites in place of synonyms.",
                "No. Nothing would push any two words apart.",
            ),
            Option(
                "Only frequent words.",
                "No. Every word that occurs would be pulled, all in the same direction.",
            ),
        ),
    ),
    Question(
        "You rank neighbours by the plain dot product. Which words come out too often?",
        (
            Option("Rare words.", "No. Rare words tend to have short vectors, which lose."),
            Option(
                "Words with long vectors, wherever they point.",
                "Yes. A dot product is the cosine times both lengths.",
                right=True,
            ),
            Option(
                "Words that stand first in the vocabulary.",
                "No. That decides only between equals.",
            ),
            Option(
                "The word itself.",
                "No. Without normalising, a longer vector can even beat the word itself.",
            ),
        ),
    ),
    Question(
        "king - man + woman gives queen only if king, man and woman are left out of the ranking. "
        "Why?",
        (
            Option(
                "The sum is made of king and woman and often lies nearest to one of them.",
                "Yes. That is why papers leave the inputs out, and one should know that they do.",
                right=True,
            ),
            Option(
                "Because they have the largest ids.",
                "No. Ids play no part in a ranking by cosine.",
            ),
            Option(
                "Because the rule only holds for nouns.",
                "No. It holds for whatever the text makes parallel, verbs and adjectives too.",
            ),
            Option(
                "So that the program is faster.",
                "No. Leaving three of many rows out saves nothing.",
            ),
        ),
    ),
    Question(
        "Vectors trained on a text place nurse on the side of she and pilot on the side of he. "
        "What does that show?",
        (
            Option(
                "That nurses are women.",
                "No. The vectors have seen a text and no hospital.",
            ),
            Option(
                "In whose company that text uses the two words.",
                "Yes. A vector sums up company. Whether the text is fair, or true of the world, it "
                "cannot know, and whoever uses it passes its slant on.",
                right=True,
            ),
            Option(
                "That skip-gram is unfair and another method would not do it.",
                "No. Any method that learns from the company of words learns this company.",
            ),
            Option(
                "Nothing: such distances are noise.",
                "No. They follow the counts in the text, and grow surer with more of it.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "embeddings.warmup": WARMUP,
    "embeddings.recap": RECAP,
}
