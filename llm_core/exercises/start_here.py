"""Exercises and quiz of chapter 00: the three moves with tensors that everything else is made of.

Letters: N rows, B batch, T and S tokens, C and D widths, V vocabulary. A function that stands
under "known mistakes" is wrong on purpose, so that `check` can recognise what learners write.
"""

import torch
import torch.nn.functional as F

from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, normal, token_ids

# --- center_rows ---


def center_rows(x: torch.Tensor) -> torch.Tensor:
    """Take each row's mean off that row, for x (N, C); return (N, C)."""
    means = x.mean(dim=1, keepdim=True)  # (N, 1), so that it lines up with the rows
    return x - means


CENTER_CASES = (
    Case("two rows by hand", (torch.tensor([[1.0, 2.0, 6.0], [4.0, 4.0, 4.0]]),)),
    Case("N=3, C=5", (normal(1, 3, 5) + 2,)),
    Case("N=5, C=2", (normal(2, 5, 2) * 10,)),
    Case("a square matrix", (normal(3, 4, 4) + 1,)),
    Case("a single row", (normal(4, 1, 6) + 3,)),
    Case("a single column", (normal(5, 3, 1),)),
    Case("rows far apart", (torch.tensor([[1000.0, 1002.0], [-5.0, -6.0]]),)),
    Case("double precision", (normal(6, 2, 3, dtype=torch.float64),)),
    Case("a transposed matrix", (normal(7, 5, 3).T + 1,)),
    Case("N=40, C=30", (normal(8, 40, 30) + 1,)),
)


def _center_by_sum(x):
    return x - (x.sum(dim=-1) / x.shape[-1])[:, None]


def _center_by_loop(x):
    return torch.stack([row - row.mean() for row in x])


# Known mistakes.


def _center_columns(x):
    return x - x.mean(dim=0)


def _center_everything(x):
    return x - x.mean()


def _center_broadcast(x):
    return x - x.mean(dim=1)


def _center_standardised(x):
    centred = center_rows(x)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


def _center_sum(x):
    return x - x.sum(dim=1, keepdim=True)


def _center_median(x):
    return x - x.median(dim=1, keepdim=True).values


def _center_first(x):
    return x - x[:, :1]


def _center_by_rows(x):
    return x - x.sum(dim=1, keepdim=True) / x.shape[0]


def _center_added(x):
    return x + x.mean(dim=1, keepdim=True)


def _center_in_place(x):
    x -= x.mean(dim=1, keepdim=True)
    return x


def _center_divided_by_std(x):
    centred = center_rows(x)
    return centred / (centred.square().sum(dim=1, keepdim=True) / (x.shape[1] - 1)).sqrt()


def _center_wrong_way(x):
    return x.mean(-1, keepdim=True) - x


def _center_means(x):
    return x.mean(-1, keepdim=True)


def _center_largest(x):
    return x - x.amax(-1, keepdim=True)


def _center_columns_too(x):
    return x - x.mean(0) - x.mean(1, keepdim=True) + x.mean()


CENTER_MISTAKES = (
    Mistake(
        "centres_columns",
        _center_columns,
        "You took the mean of each column, one for all rows; a mean over dim=1, along the row, "
        "gives each row its own.",
        "that all entries together have the mean 0",
    ),
    Mistake(
        "one_mean_for_all",
        _center_everything,
        "You took one mean over the whole tensor, but each row has its own.",
        "a single row",
    ),
    Mistake(
        "keepdim_forgotten",
        _center_broadcast,
        "Your means have lost their second axis, so broadcasting lines them up with the columns: "
        "on a square x that is silently wrong, on any other it fails.",
        "only the shape on a square matrix",
    ),
    Mistake(
        "also_divides",
        _center_standardised,
        "You also divide by the spread of the row; here only the mean is taken off.",
        "only that each row has the mean 0",
    ),
    Mistake(
        "divides_by_standard_deviation",
        _center_divided_by_std,
        "You also divide by the standard deviation, which is 0 for a row of equal numbers and does "
        "not exist for a single one; here only the mean is taken off.",
        "only that each row has the mean 0",
    ),
    Mistake(
        "sum_for_mean",
        _center_sum,
        "You took off the sum of each row, not its mean.",
        "a single column",
    ),
    Mistake(
        "median_for_mean",
        _center_median,
        "You took off the median of each row, the number in the middle, not the mean.",
        "rows in which the median equals the mean",
    ),
    Mistake(
        "first_entry_for_mean",
        _center_first,
        "You took off the first entry of each row, not its mean.",
        "only that equal rows become zero",
    ),
    Mistake(
        "divides_by_rows",
        _center_by_rows,
        "You divided each row's sum by the number of rows; a mean divides by how many numbers were "
        "added, the number of columns.",
        "a square matrix",
    ),
    Mistake(
        "mean_added",
        _center_added,
        "You added the mean of each row where it must be taken off.",
        "rows that are centred already",
    ),
    Mistake(
        "changes_x_in_place",
        _center_in_place,
        "Your rows are right, but you overwrote the caller's x, so whoever uses x next gets other "
        "numbers.",
        "comparing the result without looking at x afterwards",
    ),
    Mistake(
        "subtracted_the_wrong_way",
        _center_wrong_way,
        "You took the row off its mean; it is the mean that is taken off the row.",
        "only that each row has the mean 0",
    ),
    Mistake(
        "means_alone",
        _center_means,
        "You return the means; they must still be taken off the rows.",
        "only that there is one for each row",
    ),
    Mistake(
        "largest_for_mean",
        _center_largest,
        "You took off the largest number of each row, not its mean.",
        "rows of equal numbers",
    ),
    Mistake(
        "columns_centred_too",
        _center_columns_too,
        "You also centred the columns; only the rows are to have the mean 0.",
        "only that each row has the mean 0",
    ),
)


def _center_means(answer) -> str | None:
    means = answer(normal(8, 4, 6) + 5).mean(dim=1)
    if gap_between(means, torch.zeros_like(means)) < 1e-4:
        return None
    return f"A row of your result has the mean {means[means.abs().argmax()].item():.3f}, not 0."


def _center_shift(answer) -> str | None:
    x = normal(9, 3, 5)
    gap = gap_between(answer(x.clone()), answer(x + torch.tensor([[1.0], [2.0], [3.0]])))
    if gap < 1e-4:
        return None
    return (
        "Adding a number to all entries of a row must change nothing, "
        f"but your result moves by {gap:.3f}."
    )


CENTER_ROWS = Exercise(
    id="start_here.center_rows",
    title="Centre the rows",
    reference=center_rows,
    cases=CENTER_CASES,
    mistakes=CENTER_MISTAKES,
    right=(_center_by_sum, _center_by_loop),
    properties=(
        Property("every row has the mean 0", _center_means),
        Property("shifting a row changes nothing", _center_shift),
    ),
    hints=(
        "Do it by hand for the rows (1, 2, 6) and (4, 4, 4). How many means do you need, and which "
        "numbers does each one average?",
        "Take the mean along the axis of the columns, so that one number is left for each row; "
        "keep that axis with size 1, (N, 1), so that it lines up with the rows of x.",
        "x.mean(...) takes the axis as dim and has an argument keepdim that keeps it. Subtract "
        "what comes out from x; broadcasting repeats it along each row.",
    ),
    solution=(
        "The axis that you name in mean is averaged away: dim=1 leaves one mean for each row. "
        "Broadcasting lines shapes up from the right, so (N,) would meet the columns; keepdim=True "
        "makes it (N, 1), which is repeated along each row instead."
    ),
    checked="tall, wide and square x, one row, one column, doubles, and that x itself is kept",
    atol=1e-4,
)


# --- pairwise_dots ---


def pairwise_dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return all dot products of a's rows (B, T, D) with b's rows (B, S, D): (B, T, S)."""
    return a @ b.transpose(1, 2)  # (B, T, D) @ (B, D, S) -> (B, T, S)


DOTS_CASES = (
    Case(
        "two tokens and three by hand",
        (
            torch.tensor([[[1.0, 2.0], [0.0, 1.0]]]),
            torch.tensor([[[3.0, 4.0], [1.0, 0.0], [-1.0, 1.0]]]),
        ),
    ),
    Case("B=2, T=3, S=5, D=4", (normal(11, 2, 3, 4), normal(12, 2, 5, 4))),
    Case("B=4, T=5, S=2, D=3", (normal(13, 4, 5, 3), normal(14, 4, 2, 3))),
    Case("B, T, S and D all 3", (normal(15, 3, 3, 3), normal(16, 3, 3, 3))),
    Case("one token each", (normal(17, 2, 1, 4), normal(18, 2, 1, 4))),
    Case("vectors of one number", (normal(19, 2, 3, 1), normal(20, 2, 4, 1))),
    Case(
        "a transposed a",
        (normal(23, 3, 2, 4).transpose(0, 1), normal(24, 2, 5, 4)),
    ),
    Case("B=2, T=9, S=7, D=30", (normal(27, 2, 9, 30), normal(28, 2, 7, 30))),
)


def _dots_einsum(a, b):
    return torch.einsum("btd,bsd->bts", a, b)


def _dots_broadcast(a, b):
    return (a[:, :, None, :] * b[:, None, :, :]).sum(dim=-1)


def _dots_by_loop(a, b):
    rows = [torch.stack([(t * bs).sum(-1) for t in ts]) for ts, bs in zip(a, b, strict=True)]
    return torch.stack(rows)


# Known mistakes.


def _dots_reshape(a, b):
    B, S, D = b.shape
    return a @ b.reshape(B, D, S)


def _dots_cosine(a, b):
    return pairwise_dots(F.normalize(a, dim=-1), F.normalize(b, dim=-1))


def _dots_distance(a, b):
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _dots_mean(a, b):
    return pairwise_dots(a, b) / a.shape[-1]


def _dots_scaled(a, b):
    return pairwise_dots(a, b) / a.shape[-1] ** 0.5


def _dots_first_item(a, b):
    return pairwise_dots(a, b[:1].expand_as(b))


def _dots_sums(a, b):
    return a.sum(-1)[:, :, None] * b.sum(-1)[:, None, :]


def _dots_softmax(a, b):
    return torch.softmax(pairwise_dots(a, b), dim=-1)


def _dots_summed_items(a, b):
    return pairwise_dots(a, b).sum(dim=0, keepdim=True).expand(a.shape[0], -1, -1)


def _dots_swapped(a, b):
    return pairwise_dots(b, a)


def _dots_all_axes_reversed(a, b):
    return a @ b.permute(2, 1, 0)


def _dots_with_itself(a, b):
    return a @ a.transpose(-2, -1)


def _dots_one_to_one(a, b):
    return (a * b).sum(-1)


def _dots_no_transpose(a, b):
    return a @ b


DOTS_MISTAKES = (
    Mistake(
        "reshape_for_transpose",
        _dots_reshape,
        "You reshaped b to (B, D, S) where its axes must be swapped: reshape keeps the numbers in "
        "reading order, so the vectors get torn apart.",
        "only the shape, or D=1",
    ),
    Mistake(
        "cosine",
        _dots_cosine,
        "You divided by the lengths of the vectors, which gives cosines; a plain dot product keeps "
        "the lengths.",
        "vectors of length 1",
    ),
    Mistake(
        "distance",
        _dots_distance,
        "You computed distances between the vectors, which are small where a dot product is large.",
        "only the shape",
    ),
    Mistake(
        "mean_for_sum",
        _dots_mean,
        "You averaged the products of the entries; a dot product adds them up.",
        "D=1",
    ),
    Mistake(
        "scaled",
        _dots_scaled,
        "You divided by the root of D; here the plain dot product is asked for.",
        "D=1, or only which entry is largest",
    ),
    Mistake(
        "first_item_for_all",
        _dots_first_item,
        "You compared every item of a with the first item of b; item 1 belongs with item 1, and so "
        "on.",
        "a batch of one",
    ),
    Mistake(
        "sums_before_multiplying",
        _dots_sums,
        "You added up the entries before you multiplied; multiply pair by pair first, then add.",
        "D=1",
    ),
    Mistake(
        "softmax_added",
        _dots_softmax,
        "You sent the dot products through a softmax; here they stay as they are.",
        "only the shape",
    ),
    Mistake(
        "batch_summed",
        _dots_summed_items,
        "You added up over the first axis, but its items are separate texts and stay apart.",
        "a batch of one",
    ),
    Mistake(
        "all_axes_reversed",
        _dots_all_axes_reversed,
        "You turned round all axes of b, the first included, as `b.T` does; only the last two "
        "change places.",
        "b with two axes",
    ),
    Mistake(
        "a_with_itself",
        _dots_with_itself,
        "You compared the vectors of a with each other and never used b.",
        "a and b the same tensor",
    ),
    Mistake(
        "one_to_one",
        _dots_one_to_one,
        "You multiplied vector 0 of a with vector 0 of b, 1 with 1 and so on; every vector of a "
        "meets every vector of b.",
        "one token each, up to an axis",
    ),
    Mistake(
        "not_transposed",
        _dots_no_transpose,
        "You wrote `a @ b`, but a row of a meets a column of b there; swap the last two axes of b "
        "first.",
        "vectors of one number and a single token",
    ),
)


def _dots_batch(answer) -> str | None:
    a, b = normal(25, 3, 2, 4), normal(26, 3, 5, 4)
    gap = gap_between(answer(a, b)[1:2], answer(a[1:2], b[1:2]))
    if gap < 1e-4:
        return None
    return (
        "Items mix: computed alone, the second item's dot products differ by up to "
        f"{gap:.3f} from those computed together with two others."
    )


def _dots_double(answer) -> str | None:
    a, b = normal(27, 2, 3, 4), normal(28, 2, 5, 4)
    gap = gap_between(2 * answer(a, b), answer(2 * a, b))
    if gap < 1e-4:
        return None
    return (
        "Doubling a must double every dot product, "
        f"but yours are up to {gap:.3f} away from the double."
    )


PAIRWISE_DOTS = Exercise(
    id="start_here.pairwise_dots",
    title="Pairwise dot products",
    reference=pairwise_dots,
    cases=DOTS_CASES,
    mistakes=DOTS_MISTAKES,
    conventions=(
        Mistake(
            "axes_swapped",
            _dots_swapped,
            "Your result has b's tokens as rows, (B, S, T); we agreed on a's tokens as rows, "
            "(B, T, S).",
            "as many tokens in a as in b, and only the shape",
        ),
    ),
    right=(_dots_einsum, _dots_broadcast, _dots_by_loop),
    properties=(
        Property("items do not mix", _dots_batch),
        Property("doubling a doubles the result", _dots_double),
    ),
    hints=(
        "A matrix product is made of dot products: entry (t, s) is row t of the left one with "
        "column s of the right one. What must the columns on the right be?",
        "The vectors of b are its rows, and they must become columns: swap its last two axes, "
        "(B, S, D) to (B, D, S). The first axis comes along by itself.",
        "b.transpose(1, 2) swaps the two axes, and the sign @ multiplies matrices item by item. "
        "(B, T, D) @ (B, D, S) gives (B, T, S).",
    ),
    solution=(
        "For each item, (T, D) @ (D, S) takes every row of a with every column of the transposed "
        "b, which are the rows of b. The transpose moves axes; a reshape to the same shape would "
        "only read the numbers off in a new rhythm. Chapter 04 is built on such tables."
    ),
    checked="B, T, S and D different and equal, single tokens, a transposed a",
    atol=1e-4,
)


# --- look_up ---


def look_up(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return, for every id in ids (B, T), its row of table (V, C): (B, T, C)."""
    return table[ids]  # (B, T, C)


LOOK_UP_CASES = (
    Case(
        "four rows by hand",
        (torch.arange(8.0).reshape(4, 2) * 10, torch.tensor([[0, 3, 1], [2, 2, 0]])),
    ),
    Case("V=7, C=4, B=2, T=5", (normal(31, 7, 4), token_ids(32, 7, 2, 5))),
    Case("V=5, C=3, B=4, T=2", (normal(33, 5, 3), token_ids(34, 5, 4, 2))),
    Case(
        "V, C, B and T all 3", (normal(35, 3, 3), torch.tensor([[0, 1, 1], [2, 0, 1], [2, 2, 0]]))
    ),
    Case("a single token", (normal(36, 6, 4), torch.tensor([[5]]))),
    Case("one id again and again", (normal(37, 4, 3), torch.full((2, 5), 2))),
    Case("a transposed table", (normal(40, 3, 6).T, token_ids(41, 6, 2, 4))),
    Case("V=300, B=3, T=50", (normal(43, 300, 3), token_ids(44, 300, 3, 50))),
)


def _look_up_one_hot(table, ids):
    return F.one_hot(ids, table.shape[0]).to(table.dtype) @ table


def _look_up_embedding(table, ids):
    return F.embedding(ids, table)


def _look_up_by_loop(table, ids):
    return torch.stack([torch.stack([table[int(i)] for i in row]) for row in ids])


# Known mistakes.


def _look_up_one_off(table, ids):
    return table[ids - 1]


def _look_up_reading_order(table, ids):
    B, T = ids.shape
    return table[ids.T].reshape(B, T, -1)


def _look_up_first_text(table, ids):
    return table[ids[:1].expand_as(ids)]


def _look_up_by_position(table, ids):
    return table[torch.arange(ids.shape[1]) % table.shape[0]].expand(*ids.shape, -1)


def _look_up_one_column(table, ids):
    return table[ids][:, :, :1].expand(-1, -1, table.shape[1])


def _look_up_multiplied(table, ids):
    return ids[:, :, None].to(table.dtype) * table[0]


def _look_up_sorted(table, ids):
    return table[ids.sort(dim=1).values]


def _look_up_from_the_end(table, ids):
    return table[-ids]


def _look_up_reshaped(table, ids):
    B, T = ids.shape
    return table.T[:, ids].reshape(B, T, table.shape[1])


def _look_up_time_first(table, ids):
    return table[ids].transpose(0, 1)


def _look_up_columns(table, ids):
    return table.T[ids]


def _look_up_in_one_row(table, ids):
    return table[ids.flatten()]


def _look_up_one_lower(table, ids):
    return table[ids + 1]


LOOK_UP_MISTAKES = (
    Mistake(
        "off_by_one",
        _look_up_one_off,
        "You look one row too high: ids count from 0, so id 0 belongs to the first row and needs "
        "no correction.",
        "only the shape, and no error because row -1 is the last",
    ),
    Mistake(
        "tokens_scrambled",
        _look_up_reading_order,
        "You looked up the ids in another order and reshaped, so tokens of different texts changed "
        "places.",
        "one text, or one token in each",
    ),
    Mistake(
        "first_text_for_all",
        _look_up_first_text,
        "You used the ids of the first text for all texts.",
        "a batch of one",
    ),
    Mistake(
        "position_for_id",
        _look_up_by_position,
        "You took row 0 for the first token, row 1 for the second and so on; what counts is which "
        "token stands there, its id.",
        "ids that happen to be 0, 1, 2, ...",
    ),
    Mistake(
        "one_column_only",
        _look_up_one_column,
        "You took a single number of each row and repeated it; the whole row stands for the token.",
        "a table with one column",
    ),
    Mistake(
        "multiplied",
        _look_up_multiplied,
        "You multiplied with the ids, but an id is a name, not an amount: token 6 is not twice "
        "token 3.",
        "only the shape",
    ),
    Mistake(
        "sorted_ids",
        _look_up_sorted,
        "You sorted the ids on the way, but the order of the tokens is the text.",
        "texts whose ids rise",
    ),
    Mistake(
        "counted_from_the_end",
        _look_up_from_the_end,
        "You count the rows from the end of the table; a minus sign before an index does that.",
        "only id 0",
    ),
    Mistake(
        "channels_scrambled",
        _look_up_reshaped,
        "You looked up in the transposed table and reshaped to make the shape fit, so the numbers "
        "of a row got scattered over several tokens.",
        "only the shape, or a single token",
    ),
    Mistake(
        "columns_for_rows",
        _look_up_columns,
        "You looked up columns of the table; a token's vector is a row.",
        "a symmetric table",
    ),
    Mistake(
        "texts_in_one_row",
        _look_up_in_one_row,
        "You laid all texts in one row, (B*T, C); indexing with ids as they are keeps each text "
        "apart.",
        "only the vectors themselves",
    ),
    Mistake(
        "one_too_low",
        _look_up_one_lower,
        "You look one row too low: ids count from 0, so id 0 belongs to the first row, and the "
        "last one finds nothing.",
        "a table whose rows are all equal",
    ),
)


def _look_up_rows(answer) -> str | None:
    table = normal(42, 9, 4)
    ids = token_ids(43, 9, 3, 5)
    rows = {tuple(row) for row in table.tolist()}
    found = answer(table, ids).reshape(-1, 4).tolist()
    strange = sum(tuple(row) not in rows for row in found)
    if strange == 0:
        return None
    return f"{strange} of the 15 vectors in your result are no row of the table at all."


def _look_up_same(answer) -> str | None:
    out = answer(normal(44, 9, 4), torch.tensor([[1, 7, 1], [7, 1, 7]]))
    if torch.equal(out[0], torch.stack([out[1, 1], out[1, 0], out[1, 1]])):
        return None
    return "The same id must give the same vector wherever it stands, and yours don't."


LOOK_UP = Exercise(
    id="start_here.look_up",
    title="Look up rows",
    reference=look_up,
    cases=LOOK_UP_CASES,
    mistakes=LOOK_UP_MISTAKES,
    conventions=(
        Mistake(
            "time_first",
            _look_up_time_first,
            "Your result is (T, B, C), tokens first, as some of torch's layers have it; in this "
            "course the texts come first, (B, T, C).",
            "one text with one token",
        ),
    ),
    right=(_look_up_one_hot, _look_up_embedding, _look_up_by_loop),
    properties=(
        Property("every vector is a row of the table", _look_up_rows),
        Property("the same id gives the same vector", _look_up_same),
    ),
    hints=(
        "What does table[2] give you? And table[torch.tensor([2, 0, 2])]?",
        "A tensor can be indexed with a tensor of whole numbers, of any shape: each number is "
        "replaced by the row that it names.",
        "The ids go straight between the brackets, all B times T of them at once; the result gets "
        "the shape of ids with C behind it.",
    ),
    solution=(
        "Indexing with a tensor replaces each number by the row that it names, so (B, T) whole "
        "numbers become (B, T, C). No arithmetic is done with the ids: they are names. Chapter 02 "
        "shows which matrix product this equals, and trains the table."
    ),
    checked="V, C, B and T different and equal, repeated ids, one token, transposed tables",
)


EXERCISES: tuple[Exercise, ...] = (CENTER_ROWS, PAIRWISE_DOTS, LOOK_UP)


# --- Quiz ---

RECAP = (
    Question(
        "A tensor holds 4 texts of 10 tokens, each token a vector of 32 numbers. What is its shape "
        "in this course?",
        (
            Option(
                "(32, 10, 4)",
                "No. These are the right sizes in reverse; the texts come first, the numbers last.",
            ),
            Option(
                "(40, 32)",
                "No. That lays all tokens in one row after another and loses track of which text "
                "each belongs to.",
            ),
            Option(
                "(4, 10, 32)",
                "Yes. Texts, tokens, numbers of a vector: (B, T, C).",
                right=True,
            ),
            Option(
                "1,280",
                "No. That is how many numbers it holds, x.numel(); the shape says how they lie.",
            ),
        ),
    ),
    Question(
        "x has the shape (5, 3). What is the shape of x.mean(dim=1)?",
        (
            Option(
                "(5,)",
                "Yes. The axis that you name is averaged away: axis 1, of size 3, is gone.",
                right=True,
            ),
            Option(
                "(3,)",
                "No. That is x.mean(dim=0): the axis that you name is the one that disappears.",
            ),
            Option(
                "(5, 1)",
                "No. That needs keepdim=True; without it the axis is gone.",
            ),
            Option(
                "(), a single number",
                "No. That is x.mean() with no axis, the mean of all 15 entries.",
            ),
        ),
    ),
    Question(
        "x has the shape (4, 4) and m the shape (4,). What does x - m do?",
        (
            Option(
                "It takes m[i] off every entry of row i.",
                "No. It would if m had the shape (4, 1). Shapes line up from the right, so (4,) "
                "meets the columns.",
            ),
            Option(
                "It raises an error, because the shapes differ.",
                "No. Broadcasting repeats m along the missing axis. That it raises nothing is what "
                "makes a forgotten keepdim so hard to find.",
            ),
            Option(
                "It takes m off the first row only.",
                "No. Broadcasting repeats m for every row.",
            ),
            Option(
                "It takes m[j] off every entry of column j.",
                "Yes. Shapes line up from the right, so m's only axis meets the columns.",
                right=True,
            ),
        ),
    ),
    Question(
        "What does a language model like the one in this course compute?",
        (
            Option(
                "The answer to a question, looked up in a database.",
                "No. It has no database: all it has are the numbers that training has set.",
            ),
            Option(
                "A probability for every token that it knows to be the next one.",
                "Yes. Text comes from doing this again and again: pick a token, append it, compute "
                "again.",
                right=True,
            ),
            Option(
                "The whole continuation in one go.",
                "No. It gives probabilities for one next token; longer text takes one step each.",
            ),
            Option(
                "The single token that comes next, with certainty.",
                "No. Many continuations are possible, and it says how likely each is. Picking one "
                "is a separate step.",
            ),
        ),
    ),
    Question(
        "You raise the temperature when you generate text. What changes?",
        (
            Option(
                "The numbers inside the model.",
                "No. Nothing in the model changes; temperature acts on its output.",
            ),
            Option(
                "The text gets longer.",
                "No. How many tokens are made is another setting.",
            ),
            Option(
                "Unlikely tokens get picked more often, so the text is more varied and has more "
                "slips.",
                "Yes. A high temperature evens the probabilities out, a low one sharpens them.",
                right=True,
            ),
            Option(
                "The likeliest token gets picked more often.",
                "No. That is what a low temperature does.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {"start_here.recap": RECAP}
