"""Exercises and quizzes of chapter 04, attention: references, inputs, known mistakes, hints.

Letters: B batch, T queries (time), S keys, C = d_model, H heads, D = C/H, Dv width of a value.
A function whose name begins with an underscore and that stands under "known mistakes" is wrong on
purpose: it is what learners write, kept so that `check` can recognise it and say what happened.
"""

import math

import torch
import torch.nn.functional as F

from llm_core.attention import causal_mask, scaled_dot_product_attention, softmax
from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal, whole
from llm_core.exercises.show import entry_pair
from llm_core.validate import require_float_tensor, require_tensor

INF = math.inf


def leaky_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attend with a bug that hides well: the mask comes after the softmax, as a plain zero.

    A hidden key gets the weight 0, but it has already taken its share in the softmax, so the
    weights of a row no longer sum to one. The exercise `attention.expose_bug` asks for an input
    on which this and `llm_core.attention.scaled_dot_product_attention` differ.

    Args:
        q: queries (..., T, D).
        k: keys (..., S, D).
        v: values (..., S, Dv).
        mask: booleans that broadcast to (..., T, S), True = may look; None hides nothing.

    Returns:
        The output (..., T, Dv) and the weights (..., T, S), both wrong where the mask hides a key.

    Raises:
        TypeError: q, k or v is not a float tensor, or mask is not a tensor.
    """
    for name, value in (("q", q), ("k", k), ("v", v)):
        require_float_tensor(name, value)
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), dim=-1)  # (..., T, S)
    if mask is not None:
        require_tensor("mask", mask)
        weights = weights * mask
    return weights @ v, weights


# --- References: what a learner should write, where llm_core has no such function of its own. ---


def attend_one(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Let query (D,) look at keys (T, D), mix values (T, Dv): output (Dv,), weights (T,)."""
    scores = keys @ query / math.sqrt(query.shape[0])  # (T,) how well each key fits the query
    weights = softmax(scores, dim=0)  # (T,) shares that sum to one
    output = weights @ values  # (Dv,) the values, mixed in these shares
    return output, weights


def split_heads(x: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Cut the channels of x (B, T, C) into heads: (B, H, T, D), head h from h*D to (h+1)*D."""
    B, T, C = x.shape
    x = x.reshape(B, T, n_heads, C // n_heads)  # (B, T, H, D)
    return x.transpose(1, 2)  # (B, H, T, D)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """Lay the heads of x (B, H, T, D) side by side again, as channels: (B, T, C)."""
    B, H, T, D = x.shape
    x = x.transpose(1, 2)  # (B, T, H, D)
    return x.reshape(B, T, H * D)  # (B, T, C)


def multi_head_attention(
    x: torch.Tensor,
    w_query: torch.Tensor,
    w_key: torch.Tensor,
    w_value: torch.Tensor,
    w_out: torch.Tensor,
    n_heads: int,
) -> torch.Tensor:
    """Attend causally over x (B, T, C) with H heads; every weight is (C, C), used as x @ W."""
    q = split_heads(x @ w_query, n_heads)  # (B, H, T, D)
    k = split_heads(x @ w_key, n_heads)  # (B, H, T, D)
    v = split_heads(x @ w_value, n_heads)  # (B, H, T, D)
    mask = causal_mask(x.shape[1])  # (T, T), the same for every item and head
    output, _ = scaled_dot_product_attention(q, k, v, mask)  # (B, H, T, D)
    return merge_heads(output) @ w_out  # (B, T, C)


def expose_bug() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return two tokens that attend evenly, the first of which may not see the second."""
    q = torch.zeros(2, 1)  # all scores are 0, so each key takes half of the softmax
    k = torch.zeros(2, 1)
    v = torch.ones(2, 1)
    mask = torch.tensor([[True, False], [True, True]])  # row 0: right gives 1, leaky gives 0.5
    return q, k, v, mask


# --- Inputs. Every size differs from every other, except where a case says otherwise. ---


def _random_mask(seed: int, *shape: int) -> torch.Tensor:
    """Return a random mask (..., T, S), at least 2 by 2, that settles what it need not leave open.

    Every row has a True and a False and every column a True. So a softmax over queries and an
    inverted mask have something to share out too, and are recognised however they fill the rest.
    """
    T, S = shape[-2:]
    generator = torch.Generator().manual_seed(seed)
    step = (torch.arange(S) - torch.arange(T)[:, None]) % min(T, S)  # (T, S)
    return (torch.rand(*shape, generator=generator) < 0.5) & (step != 1) | (step == 0)


def _qkv(seed: int, lead: tuple[int, ...], T: int, S: int, D: int, Dv: int) -> tuple:
    """Return random q (*lead, T, D), k (*lead, S, D) and v (*lead, S, Dv)."""
    return (
        2 * normal(seed, *lead, T, D),
        2 * normal(seed + 1, *lead, S, D),
        normal(seed + 2, *lead, S, Dv),
    )


def _heads_case(name: str, x: torch.Tensor, *args, n_heads: int) -> Case:
    """Return the case (x, *args, n_heads) for x (B, T, C), with its letters for messages."""
    B, T, C = x.shape
    sizes = {"B": B, "T": T, "C": C, "H": n_heads, "D": C // n_heads}
    return Case(name, (x, *args, n_heads), sizes=sizes)


def _merge_case(name: str, x: torch.Tensor) -> Case:
    """Return the case (x,) for x (B, H, T, D), with its letters for messages."""
    B, H, T, D = x.shape
    return Case(name, (x,), sizes={"B": B, "T": T, "C": H * D, "H": H, "D": D})


def _doubles(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.double() for tensor in tensors)


def _block_inputs(seed: int, B: int, T: int, C: int) -> tuple[torch.Tensor, ...]:
    """Return x (B, T, C) and four weights (C, C), of a size at which the scores matter."""
    weights = (1.5 / math.sqrt(C) * normal(seed + n, C, C) for n in range(1, 5))
    return normal(seed, B, T, C), *weights


# --- Properties: what holds for every right answer. ---


def _sum_of_slice(sums: torch.Tensor) -> str:
    """Return the sum that is furthest from 1, with enough digits to tell it from 1."""
    worst = sums.flatten()[(sums - 1).abs().argmax()].item()
    return entry_pair(1.0, worst)[1]


def _softmax_sums(answer) -> str | None:
    x = 3 * normal(1, 3, 4, 5)
    for dim in (0, 1, 2, -1):
        sums = answer(x.clone(), dim).sum(dim)
        if not gap_between(sums, torch.ones_like(sums)) < 1e-4:
            total = _sum_of_slice(sums)
            return f"With dim={dim} the weights of one slice sum to {total}, not to 1."
    return None


def _softmax_sign(answer) -> str | None:
    lowest = answer(3 * normal(2, 4, 6), 1).min().item()
    if lowest >= 0:
        return None
    return f"One weight is {lowest:.3f}, and a share can't be negative."


def _softmax_hidden(answer) -> str | None:
    weight = answer(torch.tensor([0.5, -INF, 1.0]), 0)[1].item()
    if weight == 0:
        return None
    return f"An entry of minus infinity has the weight {weight:.2g}; it must be exactly 0."


def _softmax_shift(answer) -> str | None:
    x = normal(3, 4, 6)
    gap = gap_between(answer(x.clone(), -1), answer(x + 7, -1))
    if gap < 1e-4:
        return None
    return (
        f"After adding 7 to every entry your weights change by up to {gap:.2g}, "
        "but only the differences between entries may count."
    )


def _softmax_order(answer) -> str | None:
    x = normal(4, 6)
    order = torch.tensor([3, 5, 0, 2, 4, 1])
    if gap_between(answer(x.clone(), 0)[order], answer(x[order], 0)) < 1e-5:
        return None
    return "Reordering the entries must reorder the weights in the same way, and yours differ."


def _softmax_gradient(answer) -> str | None:
    x = normal(5, 3, 4).requires_grad_()
    return gradient_trouble(answer(x, -1), {"x": x})


SOFTMAX_PROPERTIES = (
    Property("every slice sums to one", _softmax_sums),
    Property("no weight is negative", _softmax_sign),
    Property("an entry of minus infinity has the weight 0", _softmax_hidden),
    Property("adding one number to every entry changes nothing", _softmax_shift),
    Property("reordering the entries reorders the weights", _softmax_order),
    Property("the gradient comes back to x", _softmax_gradient),
)


def _one_example() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return normal(11, 3), normal(12, 5, 3), normal(13, 5, 4)


def _one_sums(answer) -> str | None:
    _, weights = answer(*_one_example())
    total = weights.sum()
    if gap_between(total, torch.ones_like(total)) < 1e-4:
        return None
    return (
        f"Your weights sum to {_sum_of_slice(total)}, but the query has exactly one whole to "
        "share out."
    )


def _one_mixes(answer) -> str | None:
    query, keys, values = _one_example()
    output, weights = answer(query, keys, values.clone())
    if gap_between(output, weights @ values) < 1e-4:
        return None
    return "Your output is not the sum of the values, each times the weight that you return for it."


def _one_inside(answer) -> str | None:
    query, keys, values = _one_example()
    output, _ = answer(query, keys, values.clone())
    low, high = values.min(dim=0).values - 1e-4, values.max(dim=0).values + 1e-4
    outside = ~((output >= low) & (output <= high))
    if not outside.any():
        return None
    i = int(outside.nonzero()[0])
    return (
        f"Entry {i} of your output is {output[i].item():.3f}, outside the values' range "
        f"{low[i].item():.3f} to {high[i].item():.3f}, which no average can leave."
    )


def _one_order(answer) -> str | None:
    query, keys, values = _one_example()
    order = torch.tensor([4, 2, 0, 1, 3])
    output, weights = answer(query, keys, values)
    output_2, weights_2 = answer(query, keys[order], values[order])
    if gap_between(output, output_2) < 1e-4 and gap_between(weights[order], weights_2) < 1e-4:
        return None
    return (
        "Handing over the tokens in another order changes your result, "
        "but this query knows nothing about where a token stands."
    )


ATTEND_ONE_PROPERTIES = (
    Property("the weights sum to one", _one_sums),
    Property("the output is the values mixed by the weights", _one_mixes),
    Property("the output lies between the values", _one_inside),
    Property("the order of the tokens does not matter", _one_order),
)


def _mask_itself(answer) -> str | None:
    blind = (~answer(6).diagonal()).nonzero().flatten().tolist()
    if not blind:
        return None
    return f"Token {blind[0]} may not look at itself in your mask, but it may."


def _mask_future(answer) -> str | None:
    seen = answer(6).triu(1).nonzero().tolist()
    if not seen:
        return None
    i, j = seen[0]
    return f"Token {i} may look at token {j} in your mask, which comes after it."


def _mask_past(answer) -> str | None:
    hidden = (~answer(6)).tril().nonzero().tolist()
    if not hidden:
        return None
    i, j = hidden[0]
    return f"Token {i} may not look at token {j} in your mask, which came before it."


CAUSAL_MASK_PROPERTIES = (
    Property("every token may look at itself", _mask_itself),
    Property("no token may look at a later one", _mask_future),
    Property("every token may look at all earlier ones", _mask_past),
)


def _attention_sums(answer) -> str | None:
    mask = _random_mask(21, 4, 6)
    _, weights = answer(*_qkv(20, (2, 3), 4, 6, 5, 7), mask)
    sums = weights.sum(-1)
    if gap_between(sums, torch.ones_like(sums)) < 1e-4:
        return None
    return f"One query's weights sum to {_sum_of_slice(sums)}, not to 1."


def _attention_hides(answer) -> str | None:
    mask = _random_mask(22, 4, 6)
    _, weights = answer(*_qkv(23, (2,), 4, 6, 5, 7), mask.clone())
    leaked = weights.masked_fill(mask, 0.0).abs().max().item()
    if leaked < 1e-6:
        return None
    return f"A key that the mask hides has the weight {leaked:.2g} in your result; it must be 0."


def _attention_hides_all(answer) -> str | None:
    q, k = torch.full((1, 4), 4000.0), torch.tensor([[-40.0], [40.0]]).expand(2, 4)
    _, weights = answer(q, k, torch.eye(2), torch.tensor([[True, False]]))
    leaked = weights[0, 1].item()
    if abs(leaked) < 1e-6:
        return None
    return (
        f"Where the allowed score is very low, a key that the mask hides has the weight "
        f"{leaked:.3f}: no number is low enough, fill hidden scores with minus infinity."
    )


def _attention_padding(answer) -> str | None:
    q, k, v = _qkv(29, (2, 3), 4, 6, 5, 7)
    mask = _random_mask(30, 2, 6)[:, None, None]  # (B, 1, 1, S), the same for all queries
    short, _ = answer(q, k, v, mask.clone())
    full, _ = answer(q, k, v, mask.expand(2, 3, 4, 6).clone())
    gap = gap_between(short, full)
    if gap < 1e-4:
        return None
    return (
        "A mask of shape (B, 1, 1, S), which hides the same keys from all queries, must do the "
        f"same as that mask written out to (B, H, T, S), but your output moves by {gap:.2g}."
    )


def _attention_future(answer) -> str | None:
    q, k, v = _qkv(24, (2,), 5, 5, 3, 4)
    mask = torch.ones(5, 5).tril().bool()
    before, _ = answer(q, k, v, mask)
    k_2, v_2 = k.clone(), v.clone()
    k_2[:, -1], v_2[:, -1] = k_2[:, -1] + 5, v_2[:, -1] - 5
    after, _ = answer(q, k_2, v_2, mask)
    gap = gap_between(before[:, :-1], after[:, :-1])
    if gap < 1e-4:
        return None
    return (
        "The future leaks: I changed the last token's key and value under a causal mask, "
        f"and an earlier token's output moved by {gap:.3f}."
    )


def _attention_batch(answer) -> str | None:
    q, k, v = _qkv(25, (3,), 4, 5, 6, 2)
    together, _ = answer(q, k, v)
    alone, _ = answer(q[1:2], k[1:2], v[1:2])
    gap = gap_between(together[1:2], alone)
    if gap < 1e-4:
        return None
    return (
        "Batch items mix: computed alone, the second item's output differs by up to "
        f"{gap:.3f} from its output in a batch of three."
    )


def _attention_inside(answer) -> str | None:
    q, k, v = _qkv(26, (), 4, 6, 3, 5)
    output, _ = answer(q, k, v.clone())
    low, high = v.min(dim=0).values - 1e-4, v.max(dim=0).values + 1e-4
    if ((output >= low) & (output <= high)).all():
        return None
    return "An entry of your output lies outside the range of the values, which no average can do."


def _attention_order(answer) -> str | None:
    q, k, v = _qkv(27, (), 4, 6, 3, 5)
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    before, _ = answer(q, k, v)
    after, _ = answer(q, k[order], v[order])
    gap = gap_between(before, after)
    if gap < 1e-4:
        return None
    return (
        "Without a mask, reordering keys and values together must not change the output, "
        f"but yours moves by {gap:.3f}."
    )


def _attention_gradient(answer) -> str | None:
    inputs = tuple(t.requires_grad_() for t in _qkv(28, (2,), 3, 4, 5, 2))
    output, _ = answer(*inputs)
    return gradient_trouble(output, dict(zip("qkv", inputs, strict=True)))


ATTENTION_PROPERTIES = (
    Property("every query's weights sum to one", _attention_sums),
    Property("a hidden key has the weight 0", _attention_hides),
    Property("a hidden key has the weight 0, whatever its score", _attention_hides_all),
    Property("a mask with axes of size 1 broadcasts", _attention_padding),
    Property("the future leaks nothing", _attention_future),
    Property("batch items do not mix", _attention_batch),
    Property("the output lies between the values", _attention_inside),
    Property("the order of the keys does not matter", _attention_order),
    Property("the gradient comes back to q, k and v", _attention_gradient),
)


def _split_slices(answer) -> str | None:
    x = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    heads = answer(x.clone(), 3)
    for h in range(3):
        if not torch.equal(heads[:, h], x[:, :, 2 * h : 2 * h + 2]):
            return (
                f"With C=6 and three heads, head {h} must hold the channels "
                f"{2 * h} and {2 * h + 1} of every token, and yours does not."
            )
    return None


def _split_any_layout(answer) -> str | None:
    x = normal(32, 5, 2, 12).transpose(0, 1)
    if torch.equal(answer(x, 3), answer(x.contiguous(), 3)):
        return None
    return "Your result depends on how x lies in memory, but only its entries may count."


def _split_keeps(answer) -> str | None:
    x = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    missing = sorted(set(x.flatten().tolist()) - set(answer(x.clone(), 3).flatten().tolist()))
    if not missing:
        return None
    return (
        f"{len(missing)} of 48 numbers get lost on the way, but splitting only moves them "
        "to another place."
    )


SPLIT_PROPERTIES = (
    Property("no number gets lost", _split_keeps),
    Property("each head is a slice of the channels", _split_slices),
    Property("a transposed x is no different", _split_any_layout),
)


def _merge_undoes(answer) -> str | None:
    x = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6)
    back = answer(split_heads(x, 3))
    if torch.equal(back, x):
        return None
    b, t, c = (back != x).nonzero()[0].tolist()
    return (
        "Splitting and then merging must give x back, but at "
        f"(item {b}, token {t}, channel {c}) there is {back[b, t, c].item():.0f} "
        f"in place of {x[b, t, c].item():.0f}."
    )


def _merge_tokens(answer) -> str | None:
    x = normal(31, 2, 3, 4, 5)
    changed = x.clone()
    changed[:, :, 2] += 1
    moved = (answer(x) != answer(changed)).any(dim=2).any(dim=0).nonzero().flatten().tolist()
    if moved == [2]:
        return None
    return f"I changed token 2 in every head, and in your result the tokens {moved} changed."


MERGE_PROPERTIES = (
    Property("tokens do not mix", _merge_tokens),
    Property("splitting and then merging changes nothing", _merge_undoes),
)


def _block_future(answer) -> str | None:
    x, *weights = _block_inputs(40, 2, 6, 8)
    before = answer(x.clone(), *weights, 4)
    changed = x.clone()
    changed[:, 4:] += 3
    gap = gap_between(before[:, :4], answer(changed, *weights, 4)[:, :4])
    if gap < 1e-4:
        return None
    return (
        "The future leaks: I changed the tokens from 4 on, and your output for an earlier token "
        f"moved by {gap:.3f}."
    )


def _block_batch(answer) -> str | None:
    x, *weights = _block_inputs(41, 3, 4, 6)
    gap = gap_between(answer(x, *weights, 2)[1:2], answer(x[1:2], *weights, 2))
    if gap < 1e-4:
        return None
    return (
        "Batch items mix: computed alone, the second item's output differs by up to "
        f"{gap:.3f} from its output among three."
    )


def _block_first(answer) -> str | None:
    x, *weights = _block_inputs(42, 2, 5, 12)
    gap = gap_between(answer(x, *weights, 3)[:, 0], x[:, 0] @ weights[2] @ weights[3])
    if gap < 1e-4:
        return None
    return (
        "The first token sees only itself, so its output must be its own value sent through "
        f"w_out, but yours is up to {gap:.3f} off."
    )


def _block_gradient(answer) -> str | None:
    inputs = tuple(t.requires_grad_() for t in _block_inputs(43, 2, 4, 6))
    names = ("x", "w_query", "w_key", "w_value", "w_out")
    return gradient_trouble(answer(*inputs, 2), dict(zip(names, inputs, strict=True)))


BLOCK_PROPERTIES = (
    Property("the future leaks nothing", _block_future),
    Property("batch items do not mix", _block_batch),
    Property("the first token keeps its own value", _block_first),
    Property("the gradient comes back to x and to all four weights", _block_gradient),
)


# --- softmax ---

SOFTMAX_CASES = (
    Case("three numbers", (torch.tensor([1.0, 2.0, 3.0]), 0)),
    Case("rows of a 3 by 5 matrix", (normal(50, 3, 5), -1)),
    Case("three axes, dim=0", (normal(51, 2, 3, 4), 0)),
    Case("three axes, dim=1", (normal(52, 2, 3, 4), 1)),
    Case("a square matrix, dim=1", (normal(53, 4, 4), 1)),
    Case("four axes, dim=2", (normal(57, 2, 3, 4, 5), 2)),
    Case("four axes, dim=-3", (normal(58, 2, 3, 4, 5), -3)),
    Case("entries near 1,000", (torch.tensor([[1000.0, 1001.0, 999.0], [0.0, 1.0, 2.0]]), 1)),
    Case("one row far below the other", (torch.tensor([[3.0, 1.0], [-300.0, -301.0]]), 1)),
    Case("one high peak", (torch.tensor([[400.0, 0.0, 0.0, 0.0], [0.5, 1.0, 0.0, -1.0]]), 1)),
    Case("entries of minus infinity", (torch.tensor([[1.0, -INF, 2.0], [-INF, -INF, 0.5]]), 1)),
    Case("equal entries", (torch.full((2, 4), 0.7), 1)),
    Case("one entry in a slice", (normal(54, 3, 1), 1)),
    Case("double precision", (normal(55, 3, 4, dtype=torch.float64), -1)),
    Case("a transposed matrix", (normal(56, 5, 3).T, 1)),
    Case("one entry far below the others", (torch.tensor([[-50.0, 45.0, 45.5, 45.0]]), 1)),
)


def _softmax_torch(x, dim):
    return torch.softmax(x, dim=dim)


def _softmax_by_logsumexp(x, dim):
    return (x - torch.logsumexp(x, dim, keepdim=True)).exp()


def _softmax_by_loop(x, dim):
    slices = []
    for row in x.movedim(dim, -1).reshape(-1, x.shape[dim]):
        shares = (row - row.max()).exp()
        slices.append(shares / shares.sum())
    return torch.stack(slices).reshape(x.movedim(dim, -1).shape).movedim(-1, dim)


# Known mistakes.


def _softmax_no_max(x, dim):
    return x.exp() / x.exp().sum(dim, keepdim=True)


def _softmax_global_max(x, dim):
    shares = (x - x.max()).exp()
    return shares / shares.sum(dim, keepdim=True)


def _softmax_last_dim(x, dim):
    return softmax(x, -1)


def _softmax_first_dim(x, dim):
    return softmax(x, 0)


def _softmax_all_entries(x, dim):
    shares = (x - x.amax(dim, keepdim=True)).exp()
    return shares / shares.sum()


def _softmax_keepdim(x, dim):
    shares = (x - x.amax(dim, keepdim=True)).exp()
    return shares / shares.sum(dim)


def _softmax_keepdim_twice(x, dim):
    shares = (x - x.amax(dim)).exp()
    return shares / shares.sum(dim)


def _softmax_no_division(x, dim):
    return (x - x.amax(dim, keepdim=True)).exp()


def _softmax_divides_by_max(x, dim):
    shares = (x / x.amax(dim, keepdim=True)).exp()
    return shares / shares.sum(dim, keepdim=True)


def _softmax_no_exp(x, dim):
    return x / x.sum(dim, keepdim=True)


def _softmax_sum_of_x(x, dim):
    return (x - x.amax(dim, keepdim=True)).exp() / x.sum(dim, keepdim=True)


def _softmax_log(x, dim):
    return torch.log_softmax(x, dim)


def _softmax_in_place(x, dim):
    x -= x.amax(dim, keepdim=True)
    return x.exp() / x.exp().sum(dim, keepdim=True)


def _softmax_minus_mean(x, dim):
    return _softmax_no_max(x - x.mean(dim, keepdim=True), dim)


def _softmax_clamped(x, dim):
    return _softmax_no_max(x.clamp(max=80), dim)


def _softmax_hard(x, dim):
    return F.one_hot(x.argmax(dim), x.shape[dim]).movedim(-1, dim).to(x.dtype)


def _softmax_sign_flipped(x, dim):
    return _softmax_no_max(x.amax(dim, keepdim=True) - x, dim)


def _softmax_minus_smallest(x, dim):
    return _softmax_no_max(x - x.amin(dim, keepdim=True), dim)


def _softmax_nan_to_zero(x, dim):
    return torch.nan_to_num(_softmax_no_max(x, dim))


SOFTMAX_MISTAKES = (
    Mistake(
        "no_max_subtraction",
        _softmax_no_max,
        "You take e to the power of the raw numbers, and e to the 1,000 is larger than any float, "
        "so inf divided by inf gives NaN.",
        "random entries between -3 and 3",
    ),
    Mistake(
        "max_over_whole_tensor",
        _softmax_global_max,
        "You subtract the largest entry of the whole tensor, so a slice that lies far below it "
        "becomes 0 divided by 0.",
        "large entries in a single row",
    ),
    Mistake(
        "always_last_dim",
        _softmax_last_dim,
        "You always work along the last axis and never use the argument dim.",
        "only calls with dim=-1",
    ),
    Mistake(
        "always_first_dim",
        _softmax_first_dim,
        "You always work along the first axis, whatever dim says.",
        "a single vector with dim=0",
    ),
    Mistake(
        "normalises_over_all_entries",
        _softmax_all_entries,
        "Your total runs over the whole tensor, so all slices together sum to one in place of "
        "each one alone.",
        "a single vector",
    ),
    Mistake(
        "keepdim_forgotten",
        _softmax_keepdim,
        "Your sum has lost its axis, so broadcasting divides each row by the totals of other rows "
        "or does not fit at all.",
        "a vector, or only the shape on a square matrix",
    ),
    Mistake(
        "keepdim_forgotten_twice",
        _softmax_keepdim_twice,
        "Neither your largest entries nor your totals have kept their axis, so broadcasting lines "
        "them up with the wrong axis of x.",
        "a vector, or only the shape on a square matrix",
    ),
    Mistake(
        "no_division",
        _softmax_no_division,
        "You stop after the exponentials, so the largest weight of a slice is always exactly 1 "
        "and the weights don't sum to one.",
        "only the order of the entries, or one entry in each slice",
    ),
    Mistake(
        "divides_by_max",
        _softmax_divides_by_max,
        "You divide the entries by the largest one where they must be shifted by it: division "
        "changes the differences between them.",
        "rows whose largest entry is 1",
    ),
    Mistake(
        "no_exp",
        _softmax_no_exp,
        "You divide the entries by their sum without the exponential, so negative entries give "
        "negative weights.",
        "only that each row sums to one",
    ),
    Mistake(
        "sum_of_x",
        _softmax_sum_of_x,
        "You divide by the sum of the entries, but the total must run over their exponentials.",
        "only the order of the entries in a row with a positive sum",
    ),
    Mistake(
        "log_softmax",
        _softmax_log,
        "You return the logarithms of the weights, so all your numbers are zero or negative.",
        "only which entry is largest",
    ),
    Mistake(
        "changes_x_in_place",
        _softmax_in_place,
        "Your weights are right, but you overwrite the caller's x on the way, "
        "so whoever uses x next gets other numbers.",
        "comparing the output without looking at x afterwards",
    ),
    Mistake(
        "subtracts_mean",
        _softmax_minus_mean,
        "You subtract the mean of a slice, which is minus infinity as soon as one entry is, "
        "and does not keep a single high peak from overflowing.",
        "finite entries, even large ones that lie close together",
    ),
    Mistake(
        "clamps_large_entries",
        _softmax_clamped,
        "You cut large entries off to keep e from overflowing, so entries that differ above the "
        "cut come out equal.",
        "large entries, checked only for NaN",
    ),
    Mistake(
        "hard_choice",
        _softmax_hard,
        "You give the largest entry the whole weight; softmax is soft, each entry gets a share.",
        "one entry far above the others",
    ),
    Mistake(
        "sign_flipped",
        _softmax_sign_flipped,
        "Your sign is flipped: the smallest entry of a slice gets the largest weight.",
        "only that each row sums to one",
    ),
    Mistake(
        "subtracts_smallest",
        _softmax_minus_smallest,
        "You subtract the smallest entry of a slice, so the others lie above 0 and their "
        "exponentials can overflow; subtract the largest.",
        "finite entries that lie close together",
    ),
    Mistake(
        "nan_set_to_zero",
        _softmax_nan_to_zero,
        "You set the NaN to 0 once the exponentials have overflowed, so the largest entry of a "
        "slice gets no weight; keep them from overflowing.",
        "large entries, checked only for NaN",
    ),
)

SOFTMAX = Exercise(
    id="attention.softmax",
    title="Softmax",
    reference=softmax,
    cases=SOFTMAX_CASES,
    mistakes=SOFTMAX_MISTAKES,
    right=(_softmax_torch, _softmax_by_logsumexp, _softmax_by_loop),
    properties=SOFTMAX_PROPERTIES,
    hints=(
        "What happens to the weights of a slice when you add the same number to all its entries? "
        "Choose that number so that no exponential can overflow.",
        "Three steps: find the largest entry of each slice, take the exponential of how far each "
        "entry lies below it, divide by the total of the slice. The largest entries and the totals "
        "must keep the axis dim with size 1 so that they line up with x.",
        "x.amax(dim, keepdim=True) gives the largest entries. With e = (x - those).exp(), "
        "the answer is e divided by e.sum(...), taken along dim with keepdim=True.",
    ),
    solution=(
        "e^(x - m) = e^x / e^m, so a shift by m appears above and below the fraction and cancels. "
        "With m the largest entry of the slice every exponent is at most 0, nothing overflows, and "
        "the largest entry contributes e^0 = 1, so the total is never 0. An entry of minus "
        "infinity gets e^(-inf) = 0, which is what a mask needs."
    ),
    checked="every axis, entries of 1,000 and of minus infinity, ties, doubles, and that x is kept",
)


# --- attend_one ---

ATTEND_ONE_CASES = (
    Case(
        "three tokens by hand",
        (
            torch.tensor([1.0, 0.0, 1.0, 0.0]),
            torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 1.0], [1.0, 1.0, 0.0, 0.0]]),
            torch.tensor([[10.0, 0.0], [0.0, 10.0], [5.0, 5.0]]),
        ),
    ),
    Case("T=4, D=3, Dv=5", (2 * normal(60, 3), 2 * normal(61, 4, 3), normal(62, 4, 5))),
    Case("T=3, D=5, Dv=2", (normal(63, 5), normal(64, 3, 5), normal(65, 3, 2))),
    Case("T, D and Dv all 3", (2 * normal(66, 3), 2 * normal(67, 3, 3), normal(68, 3, 3))),
    Case("one token", (normal(69, 4), normal(70, 1, 4), normal(71, 1, 3))),
    Case("four equal keys", (normal(72, 3), torch.ones(4, 3), normal(73, 4, 2))),
    Case("scores in the thousands", (whole(74, 40, 16), whole(75, 40, 5, 16), whole(76, 9, 5, 3))),
    Case(
        "two winners tie", (torch.tensor([2.0]), torch.tensor([[3.0], [3.0], [-1.0]]), torch.eye(3))
    ),
    Case("double precision", _doubles(normal(77, 3), normal(78, 5, 3), normal(79, 5, 2))),
    Case("transposed keys", (normal(80, 3), normal(81, 3, 5).T, normal(82, 5, 4))),
    Case("T=40, D=64, Dv=20", (normal(83, 64), normal(84, 40, 64), normal(85, 40, 20))),
)


def _one_torch(query, keys, values):
    weights = F.softmax(torch.einsum("d,td->t", query, keys) * query.shape[0] ** -0.5, dim=0)
    return torch.einsum("t,te->e", weights, values), weights


def _one_by_loop(query, keys, values):
    scores = torch.stack([(query * key).sum() / len(query) ** 0.5 for key in keys])
    shares = (scores - scores.max()).exp()
    weights = shares / shares.sum()
    output = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return output, weights


def _one_from_scores(scores, values):
    weights = torch.softmax(scores, dim=0)
    return weights @ values, weights


# Known mistakes.


def _one_no_scale(query, keys, values):
    return _one_from_scores(keys @ query, values)


def _one_scale_by_width(query, keys, values):
    return _one_from_scores(keys @ query / len(query), values)


def _one_scale_of_the_example(query, keys, values):
    return _one_from_scores(keys @ query / math.sqrt(3), values)


def _one_scale_by_tokens(query, keys, values):
    return _one_from_scores(keys @ query / math.sqrt(len(keys)), values)


def _one_scale_by_value_width(query, keys, values):
    return _one_from_scores(keys @ query / math.sqrt(values.shape[1]), values)


def _one_scale_upside_down(query, keys, values):
    return _one_from_scores(keys @ query * math.sqrt(len(query)), values)


def _one_scale_after_softmax(query, keys, values):
    weights = torch.softmax(keys @ query, dim=0) / math.sqrt(len(query))
    return weights @ values, weights


def _one_cosine(query, keys, values):
    return _one_from_scores(F.cosine_similarity(keys, query[None], dim=1), values)


def _one_distance(query, keys, values):
    return _one_from_scores((keys - query).square().sum(1) / math.sqrt(len(query)), values)


def _one_no_softmax(query, keys, values):
    weights = keys @ query / math.sqrt(len(query))
    return weights @ values, weights


def _one_no_exp(query, keys, values):
    weights = keys @ query / (keys @ query).sum()
    return weights @ values, weights


def _one_weighted(weigh):
    """Return an attention whose weights are weigh(scores), in place of their softmax."""

    def answer(query, keys, values):
        weights = weigh(keys @ query / math.sqrt(len(query)))
        return weights @ values, weights

    return answer


def _exponentials(scores):
    return (scores - scores.max()).exp()


def _one_overflow(query, keys, values):
    shares = (keys @ query / math.sqrt(len(query))).exp()
    weights = shares / shares.sum()
    return weights @ values, weights


def _one_hard(query, keys, values):
    weights = F.one_hot((keys @ query).argmax(), len(keys)).to(values.dtype)
    return weights @ values, weights


def _one_mean(query, keys, values):
    output, weights = attend_one(query, keys, values)
    return output / len(keys), weights


def _one_scores_for_output(query, keys, values):
    scores = keys @ query / math.sqrt(len(query))
    return scores @ values, torch.softmax(scores, dim=0)


def _one_scores_from_values(query, keys, values):
    return _one_from_scores(values @ query / math.sqrt(len(query)), values)


def _one_averages_keys(query, keys, values):
    return attend_one(query, keys, keys)


def _one_order_swapped(query, keys, values):
    return attend_one(query, keys, values)[::-1]


def _one_scale_by_length(query, keys, values):
    return _one_from_scores(keys @ query / query.norm(), values)


def _one_returns_scores(query, keys, values):
    return attend_one(query, keys, values)[0], keys @ query / math.sqrt(len(query))


def _one_products_not_added(query, keys, values):
    weights = torch.softmax(keys * query / math.sqrt(len(query)), dim=0)
    return weights @ values, weights


def _one_values_not_added(query, keys, values):
    _, weights = attend_one(query, keys, values)
    return weights[:, None] * values, weights


def _one_even_average(query, keys, values):
    return values.mean(0), attend_one(query, keys, values)[1]


ATTEND_ONE_MISTAKES = (
    Mistake(
        "scale_of_the_example",
        _one_scale_of_the_example,
        "You divide by the root of 3, which was the width of the queries in the example; take the "
        "width of the query that you are given.",
        "queries of width 3",
    ),
    Mistake(
        "no_scale",
        _one_no_scale,
        "You left out the scale, so the scores grow with the width of the query and the softmax "
        "gets too sharp.",
        "D=1, or only that the weights sum to one",
    ),
    Mistake(
        "scale_by_width",
        _one_scale_by_width,
        "You divide the scores by the width itself, not by its square root, so the weights come "
        "out too even.",
        "D=1, or only that the weights sum to one",
    ),
    Mistake(
        "scale_by_tokens",
        _one_scale_by_tokens,
        "You scale by the number of tokens, but the spread of a dot product depends on how many "
        "numbers it adds up, which is the width of the query.",
        "as many tokens as the query has entries",
    ),
    Mistake(
        "scale_by_value_width",
        _one_scale_by_value_width,
        "You scale by the width of the values, which take no part in the scores.",
        "values as wide as the keys",
    ),
    Mistake(
        "scale_upside_down",
        _one_scale_upside_down,
        "Your scale is upside down: you multiply by the root of the width and make large scores "
        "larger still.",
        "D=1",
    ),
    Mistake(
        "scale_after_softmax",
        _one_scale_after_softmax,
        "You scale after the softmax, so the weights shrink and no longer sum to one; the scale "
        "belongs to the scores.",
        "only which token gets the largest weight",
    ),
    Mistake(
        "cosine_similarity",
        _one_cosine,
        "You divide each score by the lengths of the two vectors, so a long key counts no more "
        "than a short one; attention takes the plain dot product.",
        "unit vectors of width 1",
    ),
    Mistake(
        "distance_as_score",
        _one_distance,
        "You score a key by its squared distance from the query, so the keys that differ most get "
        "the largest weights.",
        "equal keys, or only that the weights sum to one",
    ),
    Mistake(
        "no_softmax",
        _one_no_softmax,
        "You mix the values with the raw scores; without the softmax they don't sum to one and "
        "can be negative.",
        "only the shapes",
    ),
    Mistake(
        "divides_without_exp",
        _one_no_exp,
        "You divide the scores by their sum without the exponential, so a negative score gives a "
        "negative weight.",
        "equal keys, or only that the weights sum to one",
    ),
    Mistake(
        "divides_by_norm",
        _one_weighted(lambda scores: scores / scores.norm()),
        "You divide by the length of the row as a vector, its norm; weights that sum to one come "
        "from dividing the exponentials of the scores by their sum.",
        "only which token gets the largest weight",
        variants=(
            _one_weighted(lambda scores: scores.exp() / scores.exp().norm()),
            _one_weighted(lambda scores: F.normalize(_exponentials(scores), dim=0)),
        ),
    ),
    Mistake(
        "divides_by_count",
        _one_weighted(lambda scores: scores / len(scores)),
        "You divide the weights by the number of tokens; weights that sum to one come from "
        "dividing the exponentials of the scores by their sum.",
        "only which token gets the largest weight",
        variants=(
            _one_weighted(lambda scores: scores.exp() / len(scores)),
            _one_weighted(lambda scores: _exponentials(scores) / len(scores)),
            _one_weighted(lambda scores: scores.softmax(0) / len(scores)),
        ),
    ),
    Mistake(
        "not_divided",
        _one_weighted(torch.exp),
        "You take the exponentials of the scores but never divide them by their sum, so the "
        "weights do not sum to one.",
        "only which token gets the largest weight",
        variants=(_one_weighted(_exponentials),),
    ),
    Mistake(
        "unstable_softmax",
        _one_overflow,
        "Your exponentials overflow when a score is in the hundreds; use the stable softmax that "
        "you have already built.",
        "scores between -10 and 10",
    ),
    Mistake(
        "hard_choice",
        _one_hard,
        "You pick the best token and ignore the rest; attention is soft, each token gets a share.",
        "one token whose score is far above the others",
    ),
    Mistake(
        "divides_by_tokens",
        _one_mean,
        "You divide the mixture by the number of tokens once more, but the weights already sum "
        "to one.",
        "checking only the weights, or a single token",
    ),
    Mistake(
        "mixes_with_scores",
        _one_scores_for_output,
        "Your weights are right, but you mix the values with the scores from before the softmax.",
        "checking only the weights",
    ),
    Mistake(
        "scores_from_values",
        _one_scores_from_values,
        "You compare the query with the values; it is the keys that say how well a token fits, and "
        "values need not even have the same width.",
        "an example in which keys and values are the same tensor",
    ),
    Mistake(
        "averages_keys",
        _one_averages_keys,
        "You mix the keys, but keys only decide how much each token counts; what gets mixed is "
        "the values.",
        "an example in which keys and values are the same tensor",
    ),
    Mistake(
        "scale_by_length",
        _one_scale_by_length,
        "You divide by the length of the query as a vector, its norm; the scale is the root of its "
        "width, the number of its entries, whatever they are.",
        "a query whose entries are all 1 or -1",
    ),
    Mistake(
        "returns_scores",
        _one_returns_scores,
        "Your output is right, but you return the scores where the weights belong.",
        "checking only the output",
    ),
    Mistake(
        "products_not_added",
        _one_products_not_added,
        "You multiply query and keys entry by entry and do not add up; a score is the sum of these "
        "products, one number for each token.",
        "keys of width 1",
    ),
    Mistake(
        "values_not_added",
        _one_values_not_added,
        "You multiply each value by its weight, but do not add them up over the tokens.",
        "a single token, and only the entries",
    ),
    Mistake(
        "even_average",
        _one_even_average,
        "Your weights are right, but your output is the plain average of the values, in which "
        "every token counts the same.",
        "checking only the weights, or equal keys",
    ),
)

ATTEND_ONE = Exercise(
    id="attention.attend_one",
    title="One query attends",
    reference=attend_one,
    cases=ATTEND_ONE_CASES,
    mistakes=ATTEND_ONE_MISTAKES,
    conventions=(
        Mistake(
            "weights_first",
            _one_order_swapped,
            "You return the weights first; here the order is the output, then the weights.",
            "adding up everything that came back",
        ),
    ),
    right=(_one_torch, _one_by_loop),
    properties=ATTEND_ONE_PROPERTIES,
    hints=(
        "Attention answers two questions one after the other: how much does each token count for "
        "this query, and what comes out when the tokens' values are mixed in these shares?",
        "Sub-goals: a score for each token (dot product of query and key, divided by the root of "
        "the width D), the scores turned into shares, the values added up, each times its share.",
        "keys @ query gives all T dot products at once. Divide by math.sqrt(query.shape[0]), send "
        "that through softmax along dim=0, and let weights @ values do the mixing.",
    ),
    solution=(
        "keys @ query multiplies each row of keys with the query and adds up: one score for each "
        "token. A dot product of D numbers of variance 1 has variance D, so dividing by its root "
        "keeps the scores near 1 and the softmax soft. weights @ values is the sum over tokens of "
        "weight times value. (Vaswani et al. 2017, section 3.2.1.)"
    ),
    checked="sizes that all differ, one token, ties, scores in the thousands, the token order",
)


# --- causal_mask ---

CAUSAL_MASK_CASES = tuple(
    Case(f"T={T}" if T > 1 else "one token", (T,)) for T in (4, 1, 2, 3, 7, 130)
)


def _mask_by_positions(T):
    position = torch.arange(T)
    return position[None, :] <= position[:, None]


def _mask_by_loop(T):
    return torch.tensor([[j <= i for j in range(T)] for i in range(T)])


def _mask_by_triu(T):
    return ~torch.ones(T, T, dtype=torch.bool).triu(1)


# Known mistakes.


def _mask_all(T):
    return torch.ones(T, T, dtype=torch.bool)


def _mask_upper(T):
    return _mask_all(T).triu()


def _mask_not_itself(T):
    return _mask_all(T).tril(-1)


def _mask_one_ahead(T):
    return _mask_all(T).tril(1)


def _mask_only_itself(T):
    return torch.eye(T, dtype=torch.bool)


def _mask_two_tokens(T):
    return causal_mask(T) & _mask_all(T).triu(-1)


def _mask_rows_reversed(T):
    return causal_mask(T).flip(0)


def _mask_columns_reversed(T):
    return causal_mask(T).flip(1)


def _mask_skips_first(T):
    mask = causal_mask(T)
    mask[1:, 0] = False
    return mask


def _mask_float(T):
    return torch.ones(T, T).tril()


def _mask_blocked(T):
    return _mask_all(T).triu(1)


def _mask_additive(T):
    return torch.full((T, T), -INF).triu(1)


def _mask_four_axes(T):
    return causal_mask(T)[None, None]


CAUSAL_MASK_MISTAKES = (
    Mistake(
        "all_true",
        _mask_all,
        "Your mask hides nothing, so every token still sees the whole future.",
        "only the shape and the type, or T=1",
    ),
    Mistake(
        "upper_triangle",
        _mask_upper,
        "You kept the wrong triangle: in your mask each token sees itself and the future, "
        "and its past is hidden.",
        "counting the True entries",
    ),
    Mistake(
        "not_itself",
        _mask_not_itself,
        "A token can't see itself in your mask, and the first token sees nothing at all, which "
        "makes its softmax NaN; the diagonal belongs to what may be seen.",
        "looking only above the diagonal",
    ),
    Mistake(
        "one_ahead",
        _mask_one_ahead,
        "Each token sees one step ahead in your mask: the next token, which is the very one the "
        "model shall predict.",
        "looking only at the first column and the last row",
    ),
    Mistake(
        "only_itself",
        _mask_only_itself,
        "Each token sees nothing but itself in your mask, so attention can't carry anything from "
        "one token to another.",
        "looking only at the diagonal and above it",
    ),
    Mistake(
        "only_two_tokens",
        _mask_two_tokens,
        "Your mask shows each token only itself and the one before, but all of the past may be "
        "seen.",
        "T=2",
    ),
    Mistake(
        "rows_reversed",
        _mask_rows_reversed,
        "Your rows run backwards: row 0 sees everything and the last row sees only token 0, as if "
        "the last token came first.",
        "counting the True entries of the whole mask",
    ),
    Mistake(
        "columns_reversed",
        _mask_columns_reversed,
        "Your columns run backwards: row 0 sees only the last token, as if keys were counted from "
        "the end.",
        "counting the True entries of each row",
    ),
    Mistake(
        "skips_first_token",
        _mask_skips_first,
        "Your mask hides token 0 from all later tokens; positions count from 0, and the first one "
        "is part of the past like any other.",
        "looking only above the diagonal and at row 0",
    ),
    Mistake(
        "float_mask",
        _mask_float,
        "Your mask holds the numbers 0 and 1; the agreement is True and False, so that nobody "
        "multiplies or adds it by accident.",
        "comparing with == in place of the type",
    ),
)

CAUSAL_MASK = Exercise(
    id="attention.causal_mask",
    title="The causal mask",
    reference=causal_mask,
    cases=CAUSAL_MASK_CASES,
    mistakes=CAUSAL_MASK_MISTAKES,
    conventions=(
        Mistake(
            "true_means_blocked",
            _mask_blocked,
            "True means 'may not look' in your mask, as in torch.nn.MultiheadAttention; here True "
            "means 'may look', as in torch's scaled_dot_product_attention.",
            "printing the mask and seeing a triangle",
        ),
        Mistake(
            "additive_mask",
            _mask_additive,
            "Your mask is one to add to the scores, 0 where a token may look and minus infinity "
            "where not; here a mask is boolean, True where a token may look.",
            "running attention that adds its mask",
        ),
        Mistake(
            "four_axes",
            _mask_four_axes,
            "Your mask has axes for batch and heads already; here it is (T, T), and broadcasting "
            "adds those when they are needed.",
            "running it through attention, where it broadcasts",
        ),
    ),
    right=(_mask_by_positions, _mask_by_loop, _mask_by_triu),
    properties=CAUSAL_MASK_PROPERTIES,
    hints=(
        "Draw the mask for four tokens on paper. The row is who looks, the column is who is looked "
        "at. Which cells may be True?",
        "Row i may be True in the columns 0 to i, itself included. That is a triangle; torch can "
        "cut one out of a matrix, or you can compare row and column numbers.",
        "Start from torch.ones(T, T, dtype=torch.bool) and keep the lower triangle with its "
        "diagonal; tensors have a method for it whose name joins 'tri' and the first letter of "
        "'lower'.",
    ),
    solution=(
        "Token i predicts token i+1, so it may look at the tokens 0 to i and no further: True "
        "where the column is at most the row, which is the lower triangle with the diagonal. "
        "Row 0 has one True, the last row has T."
    ),
    checked="T from 1 to 130: itself seen, the past seen, the future hidden, type bool",
)


# --- scaled_dot_product_attention ---

_HEADS = normal(93, 2, 5, 3, 4)  # (B, T, H, D): transposed below, so not contiguous

_BY_HAND = (
    torch.tensor([[2.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]]),  # the second query likes all keys
    torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]]),
    torch.tensor([[10.0], [20.0], [30.0]]),
)

ATTENTION_CASES = (
    Case("two queries and three keys by hand", _BY_HAND),
    Case(
        "by hand, with a mask",
        (*_BY_HAND, torch.tensor([[True, False, True], [True, True, False]])),
    ),
    Case("no mask, T=3, S=5, D=4, Dv=2", _qkv(90, (), 3, 5, 4, 2)),
    Case(
        "B=2, H=3 and a mask over all of them",
        (*_qkv(100, (2, 3), 4, 5, 6, 7), _random_mask(103, 4, 5)),
    ),
    Case(
        "each token sees itself and the two before it",
        (*_qkv(110, (2,), 5, 5, 6, 3), torch.ones(5, 5).tril().triu(-2).bool()),
    ),
    Case("B, T, S, D and Dv all 4", (*_qkv(120, (4,), 4, 4, 4, 4), _random_mask(123, 4, 4))),
    Case(
        "a mask for each item, the same for all heads",
        (*_qkv(130, (2, 3), 4, 5, 6, 2), _random_mask(133, 2, 1, 4, 5)),
    ),
    Case(
        "another mask for every item and head",
        (*_qkv(140, (3, 2), 5, 4, 3, 6), _random_mask(143, 3, 2, 5, 4)),
    ),
    Case(
        "one key allowed for each query",
        (*_qkv(150, (), 4, 3, 2, 5), F.one_hot(torch.tensor([2, 0, 1, 0])).bool()),
    ),
    Case(
        "hidden scores far above the allowed",
        (
            torch.full((2, 3, 4), 4000.0),
            torch.tensor([-40.0, -39.9375, 40.0, 39.0])[:, None].expand(2, 4, 4),
            whole(160, 9, 2, 4, 3),
            torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]]).bool(),
        ),
    ),
    Case("all scores equal", (torch.zeros(2, 3), torch.ones(4, 3), normal(161, 4, 5))),
    Case("one token", _qkv(170, (2,), 1, 1, 3, 4)),
    Case(
        "double precision",
        (*_doubles(*_qkv(180, (2,), 3, 4, 5, 6)), _random_mask(183, 3, 4)),
    ),
    Case(
        "transposed heads",
        (
            _HEADS.transpose(1, 2),
            _HEADS.flip(1).transpose(1, 2),
            (_HEADS + 1).transpose(1, 2),
            _random_mask(190, 5, 5),
        ),
    ),
    Case(
        "a mask of one axis, the same for all queries",
        (*_qkv(200, (2,), 4, 5, 3, 6), torch.tensor([True, False, True, True, False])),
    ),
    Case(
        "T=20, S=40, D=80, Dv=9",
        (normal(210, 20, 80), normal(211, 40, 80), normal(212, 40, 9), _random_mask(213, 20, 40)),
    ),
)


def _scores(q, k):
    return q @ k.mT / math.sqrt(q.shape[-1])


def _hide(scores, mask, fill=-INF):
    return scores if mask is None else scores.masked_fill(~mask, fill)


def _mix(scores, v):
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


def _attention_einsum(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-1e9, dtype=scores.dtype))
    weights = F.softmax(scores, dim=-1)
    return torch.einsum("...ts,...se->...te", weights, v), weights


def _attention_fused(q, k, v, mask=None):
    S = k.shape[-2]
    eye = torch.eye(S, dtype=q.dtype).expand(*k.shape[:-2], S, S)
    weights = F.scaled_dot_product_attention(q, k, eye, attn_mask=mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask), weights


def _attention_additive(q, k, v, mask=None):
    scores = (q / q.shape[-1] ** 0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + torch.zeros(mask.shape, dtype=q.dtype).masked_fill(~mask, -INF)
    shares = (scores - scores.amax(-1, keepdim=True)).exp()
    weights = shares / shares.sum(-1, keepdim=True)
    return weights @ v, weights


# Known mistakes.


def _attention_no_scale(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT, mask), v)


def _attention_scale_by_width(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT / q.shape[-1], mask), v)


def _attention_scale_by_keys(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT / math.sqrt(k.shape[-2]), mask), v)


def _attention_scale_by_queries(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT / math.sqrt(q.shape[-2]), mask), v)


def _attention_scale_by_value_width(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT / math.sqrt(v.shape[-1]), mask), v)


def _attention_scale_upside_down(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT * math.sqrt(q.shape[-1]), mask), v)


def _attention_scale_after_softmax(q, k, v, mask=None):
    weights = torch.softmax(_hide(q @ k.mT, mask), dim=-1) / math.sqrt(q.shape[-1])
    return weights @ v, weights


def _attention_scales_output(q, k, v, mask=None):
    output, weights = _attention_no_scale(q, k, v, mask)
    return output / math.sqrt(q.shape[-1]), weights


def _attention_renormalised(q, k, v, mask=None):
    _, weights = leaky_attention(q, k, v, mask)
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v, weights


def _attention_zero_fill(q, k, v, mask=None):
    return _mix(_hide(_scores(q, k), mask, 0.0), v)


def _attention_small_fill(q, k, v, mask=None):
    return _mix(_hide(_scores(q, k), mask, -10.0), v)


def _attention_low_fill(q, k, v, mask=None):
    return _mix(_hide(_scores(q, k), mask, -1000.0), v)


def _attention_adds_mask(q, k, v, mask=None):
    scores = _scores(q, k)
    return _mix(scores if mask is None else scores + mask, v)


def _attention_ignores_mask(q, k, v, mask=None):
    return _mix(_scores(q, k), v)


def _attention_ignores_wide_mask(q, k, v, mask=None):
    return _mix(_hide(_scores(q, k), mask if mask is None or mask.dim() == 2 else None), v)


def _attention_first_mask(q, k, v, mask=None):
    if mask is not None and mask.dim() == 4:
        mask = mask[0, 0]
    return _mix(_hide(_scores(q, k), mask), v)


def _attention_always_causal(q, k, v, mask=None):
    scores = _scores(q, k)
    return _mix(_hide(scores, torch.ones_like(scores).tril().bool()), v)


def _attention_over_queries(q, k, v, mask=None):
    weights = torch.softmax(_hide(_scores(q, k), mask), dim=-2)
    return weights @ v, weights


def _attention_over_axis_1(q, k, v, mask=None):
    weights = torch.softmax(_hide(_scores(q, k), mask), dim=1)
    return weights @ v, weights


def _attention_over_everything(q, k, v, mask=None):
    scores = _hide(_scores(q, k), mask)
    weights = torch.softmax(scores.flatten(-2), dim=-1).view_as(scores)
    return weights @ v, weights


def _attention_no_softmax(q, k, v, mask=None):
    weights = _hide(_scores(q, k), mask, 0.0)
    return weights @ v, weights


def _attention_overflow(q, k, v, mask=None):
    shares = _hide(_scores(q, k), mask).exp()
    weights = shares / shares.sum(-1, keepdim=True)
    return weights @ v, weights


def _attention_unmasked_weights(q, k, v, mask=None):
    scores = _scores(q, k)
    return _mix(_hide(scores, mask), v)[0], torch.softmax(scores, dim=-1)


def _attention_returns_scores(q, k, v, mask=None):
    scores = _hide(_scores(q, k), mask)
    return _mix(scores, v)[0], scores


def _attention_queries_only(q, k, v, mask=None):
    return _mix(_hide(_scores(q, q), mask), v)


def _attention_first_axes(q, k, v, mask=None):
    return _mix(_hide(q @ k.transpose(0, 1) / math.sqrt(q.shape[-1]), mask), v)


def _attention_all_axes_reversed(q, k, v, mask=None):
    reversed_k = k.permute(*range(k.dim() - 1, -1, -1))  # what k.T does
    return _mix(_hide(q @ reversed_k / math.sqrt(q.shape[-1]), mask), v)


def _attention_reshaped_keys(q, k, v, mask=None):
    swapped = k.reshape(*k.shape[:-2], k.shape[-1], k.shape[-2])  # (..., D, S)
    return _mix(_hide(q @ swapped / math.sqrt(q.shape[-1]), mask), v)


def _attention_mask_inverted(q, k, v, mask=None):
    return _mix(_hide(_scores(q, k), None if mask is None else ~mask), v)


def _attention_weights_first(q, k, v, mask=None):
    return scaled_dot_product_attention(q, k, v, mask)[::-1]


def _attention_truth_of_mask(q, k, v, mask=None):
    if mask:
        return scaled_dot_product_attention(q, k, v, mask)
    return scaled_dot_product_attention(q, k, v)


def _attention_infinity_times_zero(q, k, v, mask=None):
    return _mix(_scores(q, k) if mask is None else _scores(q, k) + ~mask * -INF, v)


def _attention_scale_by_axis_1(q, k, v, mask=None):
    return _mix(_hide(q @ k.mT / math.sqrt(q.shape[1]), mask), v)


ATTENTION_MISTAKES = (
    Mistake(
        "no_scale",
        _attention_no_scale,
        "You left out the scale, so the wider the queries, the closer the softmax comes to picking "
        "a single key.",
        "D=1, or only that the weights sum to one",
    ),
    Mistake(
        "scale_by_width",
        _attention_scale_by_width,
        "You divide by D where its square root belongs, which flattens the weights.",
        "D=1, or only that the weights sum to one",
    ),
    Mistake(
        "scale_by_keys",
        _attention_scale_by_keys,
        "You scale by the number of keys; what counts is how many products each score adds up, "
        "the width of a query.",
        "as many keys as a query has entries",
    ),
    Mistake(
        "scale_by_queries",
        _attention_scale_by_queries,
        "You scale by the number of queries: you took the size of the wrong axis of q.",
        "as many queries as each has entries, or a single query of width 1",
    ),
    Mistake(
        "scale_by_value_width",
        _attention_scale_by_value_width,
        "You take the width for the scale from v, but only q and k take part in the scores.",
        "values as wide as the keys, as in most models",
    ),
    Mistake(
        "scale_upside_down",
        _attention_scale_upside_down,
        "You multiply by the root of D where you should divide, so your weights are far too sharp.",
        "D=1",
    ),
    Mistake(
        "scale_after_softmax",
        _attention_scale_after_softmax,
        "You divide by the root of D after the softmax, where it shrinks the result and leaves the "
        "weights too sharp; it is the scores that are scaled, before the softmax.",
        "D=1, or only which key gets the largest weight",
        variants=(_attention_scales_output,),
    ),
    Mistake(
        "mask_after_softmax",
        leaky_attention,
        "You mask after the softmax: the hidden keys have already taken their share of the total, "
        "so the rest of a row sums to less than one.",
        "that hidden keys get the weight 0, or calls without a mask",
    ),
    Mistake(
        "mask_after_softmax_renormalised",
        _attention_renormalised,
        "You mask after the softmax and then divide again, which works until a hidden score towers "
        "above the allowed ones: those have already vanished and you get 0 divided by 0.",
        "scores of ordinary size",
    ),
    Mistake(
        "hidden_score_zero",
        _attention_zero_fill,
        "You set hidden scores to 0, but e to the 0 is 1, so hidden keys still get a share.",
        "calls without a mask",
    ),
    Mistake(
        "hidden_score_small",
        _attention_small_fill,
        "You fill hidden scores with a number around -10, and e to the -10 is small but not zero: "
        "hidden keys keep a trace of weight.",
        "weights compared to three decimals",
    ),
    Mistake(
        "hidden_score_not_lowest",
        _attention_low_fill,
        "You fill hidden scores with a number that is low but not low enough: when the allowed "
        "scores are lower still, the hidden key wins.",
        "scores of ordinary size",
    ),
    Mistake(
        "adds_boolean_mask",
        _attention_adds_mask,
        "You add the mask to the scores, and True counts as 1 and False as 0, so allowed keys are "
        "favoured a little and nothing is hidden.",
        "calls without a mask, or with one that allows everything",
    ),
    Mistake(
        "mask_ignored",
        _attention_ignores_mask,
        "You never use the mask.",
        "calls without a mask",
    ),
    Mistake(
        "wide_mask_ignored",
        _attention_ignores_wide_mask,
        "You use the mask only when it has two axes, but it may come with axes for batch and "
        "heads.",
        "masks of shape (T, T) only",
    ),
    Mistake(
        "first_mask_for_all",
        _attention_first_mask,
        "You apply the mask of the first item and head to all of them.",
        "masks that are the same for every item",
    ),
    Mistake(
        "always_causal",
        _attention_always_causal,
        "You always hide the future, whatever mask comes in; here the caller decides what is "
        "hidden.",
        "calls with a causal mask only",
    ),
    Mistake(
        "softmax_over_queries",
        _attention_over_queries,
        "Your softmax runs over the queries, so the columns sum to one; each query must share out "
        "one whole over the keys.",
        "only that the weights are positive and sum to T when T equals S",
    ),
    Mistake(
        "softmax_over_axis_1",
        _attention_over_axis_1,
        "Your softmax runs along axis 1, which holds the keys only when there is no batch; count "
        "from the end, dim=-1.",
        "inputs without batch axes",
    ),
    Mistake(
        "softmax_over_everything",
        _attention_over_everything,
        "Your softmax runs over queries and keys at once, so all queries together share a single "
        "whole.",
        "a single query",
    ),
    Mistake(
        "no_softmax",
        _attention_no_softmax,
        "You mix the values with the scores themselves; the softmax is missing.",
        "only the shapes and that hidden keys get 0",
    ),
    Mistake(
        "unstable_softmax",
        _attention_overflow,
        "Your exponentials leave the range of floats on scores in the thousands, up to inf or "
        "down to 0, and the division gives NaN; use the stable softmax.",
        "scores between -10 and 10",
    ),
    Mistake(
        "queries_with_queries",
        _attention_queries_only,
        "You compare the queries with each other; the keys play no part in your scores.",
        "q and k the same tensor",
    ),
    Mistake(
        "swaps_the_first_axes",
        _attention_first_axes,
        "You swap the first two axes of k, which are the right ones only without a batch; count "
        "axes from the end.",
        "inputs without batch axes",
    ),
    Mistake(
        "all_axes_reversed",
        _attention_all_axes_reversed,
        "You turn round all axes of k, the batch included; only the last two change places.",
        "inputs without batch axes",
    ),
    Mistake(
        "reshape_for_transpose",
        _attention_reshaped_keys,
        "You reshape k to (..., D, S) where its last two axes must change places: reshape keeps "
        "the reading order, so the keys get torn apart.",
        "only the shapes, or a single key",
    ),
    Mistake(
        "weights_before_the_mask",
        _attention_unmasked_weights,
        "Your output is right, but the weights that you return come from before the mask.",
        "checking only the output",
    ),
    Mistake(
        "returns_scores",
        _attention_returns_scores,
        "Your output is right, but you return the scores where the weights belong.",
        "checking only the output",
    ),
    Mistake(
        "truth_of_a_mask",
        _attention_truth_of_mask,
        "A mask holds many True and False, so `if mask:` cannot decide; ask "
        "`if mask is not None:`.",
        "calls without a mask",
    ),
    Mistake(
        "infinity_times_zero",
        _attention_infinity_times_zero,
        "You multiply minus infinity by 0 where a key is allowed, and that is NaN, not 0; put it "
        "in place with `masked_fill` or `torch.where`.",
        "calls without a mask",
    ),
    Mistake(
        "scale_by_axis_1",
        _attention_scale_by_axis_1,
        "You take the width from axis 1, which is D only when there is no batch; count from the "
        "end, `q.shape[-1]`.",
        "inputs without batch axes",
    ),
)

ATTENTION = Exercise(
    id="attention.scaled_dot_product_attention",
    title="Scaled dot-product attention",
    reference=scaled_dot_product_attention,
    cases=ATTENTION_CASES,
    mistakes=ATTENTION_MISTAKES,
    conventions=(
        Mistake(
            "true_means_blocked",
            _attention_mask_inverted,
            "You read True as 'may not look', which is how torch.nn.MultiheadAttention has it; "
            "here True means 'may look'.",
            "calls without a mask",
        ),
        Mistake(
            "weights_first",
            _attention_weights_first,
            "You return the weights and then the output; we agreed on the output first.",
            "only that two tensors come back",
        ),
    ),
    right=(_attention_einsum, _attention_fused, _attention_additive),
    properties=ATTENTION_PROPERTIES,
    hints=(
        "It is attend_one for T queries at once. Every step works on the last two axes only; any "
        "axes before them come along by themselves.",
        "Sub-goals: scores (..., T, S) from queries and keys, divided by the root of D; hide what "
        "the mask forbids before the softmax, so that hidden keys take no share; softmax over the "
        "keys; mix the values.",
        "q @ k.transpose(-2, -1) gives the scores. If there is a mask, scores.masked_fill(~mask, "
        "...) with a number whose exponential is exactly 0. Then softmax along dim=-1, "
        "and weights @ v.",
    ),
    solution=(
        "Swapping the last two axes of k turns all T times S dot products into one matrix product. "
        "A hidden score becomes minus infinity before the softmax, so its exponential is 0 and the "
        "allowed keys share the whole. The softmax runs along the last axis, the keys, since each "
        "query has one whole to give away. (Vaswani et al. 2017, equation 1.)"
    ),
    checked="none to two batch axes, five kinds of mask, scores in the thousands, doubles, no leak",
)


# --- split_heads ---

SPLIT_CASES = (
    _heads_case("the numbers 0 to 23", torch.arange(24.0).reshape(1, 4, 6), n_heads=3),
    _heads_case("B=2, T=5, H=3, D=4", normal(200, 2, 5, 12), n_heads=3),
    _heads_case("B=3, T=2, H=4, D=5", normal(201, 3, 2, 20), n_heads=4),
    _heads_case("B, T, H and D all 3", normal(202, 3, 3, 9), n_heads=3),
    _heads_case("a single head", normal(203, 2, 3, 4), n_heads=1),
    _heads_case("heads of width 1", normal(204, 2, 3, 4), n_heads=4),
    _heads_case("one token", normal(205, 2, 1, 6), n_heads=3),
    _heads_case("double precision", normal(206, 2, 3, 8, dtype=torch.float64), n_heads=2),
)


def _split_by_chunks(x, n_heads):
    return torch.stack(x.chunk(n_heads, dim=-1), dim=1)


def _split_by_slices(x, n_heads):
    D = x.shape[-1] // n_heads
    heads = [x[:, :, h * D : (h + 1) * D] for h in range(n_heads)]
    return torch.stack(heads, dim=1)


def _split_by_unflatten(x, n_heads):
    return x.unflatten(-1, (n_heads, -1)).permute(0, 2, 1, 3)


def _split_channels_first(x, n_heads):
    B, T, C = x.shape
    return x.transpose(1, 2).reshape(B, n_heads, C // n_heads, T).transpose(2, 3)


# Known mistakes.


def _split_no_transpose(x, n_heads):
    B, T, C = x.shape
    return x.reshape(B, n_heads, T, C // n_heads)


def _split_transposed_first(x, n_heads):
    B, T, C = x.shape
    return x.transpose(1, 2).reshape(B, n_heads, T, C // n_heads)


def _split_on_batch(x, n_heads):
    B, T, C = x.shape
    return torch.cat(x.chunk(n_heads, dim=-1)).reshape(B, n_heads, T, C // n_heads)


def _split_time_first(x, n_heads):
    B, T, C = x.shape
    return x.reshape(T, B, n_heads, C // n_heads).permute(1, 2, 0, 3)


def _split_same_slice(x, n_heads):
    return split_heads(x, n_heads)[:, :1].expand(-1, n_heads, -1, -1)


def _split_overlapping(x, n_heads):
    D = x.shape[-1] // n_heads
    return torch.stack([x[:, :, h : h + D] for h in range(n_heads)], dim=1)


def _split_reversed(x, n_heads):
    return split_heads(x, n_heads).flip(1)


def _split_sizes_swapped(x, n_heads):
    B, T, C = x.shape
    return x.reshape(B, T, C // n_heads, n_heads).transpose(1, 2)


def _split_swapped_axes(x, n_heads):
    return split_heads(x, n_heads).transpose(1, 2)


def _split_interleaved(x, n_heads):
    B, T, C = x.shape
    return x.reshape(B, T, C // n_heads, n_heads).permute(0, 3, 1, 2)


SPLIT_MISTAKES = (
    Mistake(
        "reshape_without_transpose",
        _split_no_transpose,
        "You reshape straight to (B, H, T, D): the shape is right, but reshape reads the numbers "
        "in order, so each head gets whole tokens in place of a part of every token.",
        "only the shape, or a single token",
    ),
    Mistake(
        "transpose_too_early",
        _split_transposed_first,
        "You move the channels in front of time and then reshape until the shape fits, so time "
        "and channels get scrambled within each head.",
        "only the shape, or T=1",
    ),
    Mistake(
        "heads_on_the_batch_axis",
        _split_on_batch,
        "You lay the heads one after the other along the batch axis, so heads and batch items get "
        "mixed up.",
        "a batch of one item",
    ),
    Mistake(
        "time_before_batch",
        _split_time_first,
        "You read x as if time came before the batch, so tokens of different items get mixed.",
        "a batch of one item",
    ),
    Mistake(
        "one_slice_for_all",
        _split_same_slice,
        "All your heads hold the first D channels, so the other channels are lost.",
        "only the shape, or a single head",
    ),
    Mistake(
        "overlapping_slices",
        _split_overlapping,
        "Your slices overlap: head h begins at channel h, but each head must begin where the one "
        "before it ended.",
        "a single head, or heads of width 1",
    ),
    Mistake(
        "heads_reversed",
        _split_reversed,
        "Your heads come in reverse order: head 0 must take the first channels.",
        "only that no number gets lost",
    ),
    Mistake(
        "sizes_swapped",
        _split_sizes_swapped,
        "You cut the channels into D heads of width H; it must be H heads of width D.",
        "as many heads as each is wide",
    ),
)

SPLIT_HEADS = Exercise(
    id="attention.split_heads",
    title="Split the heads",
    reference=split_heads,
    cases=SPLIT_CASES,
    mistakes=SPLIT_MISTAKES,
    conventions=(
        Mistake(
            "heads_after_time",
            _split_swapped_axes,
            "Your axes are (B, T, H, D), as some attention kernels want them; here heads come "
            "before time, (B, H, T, D), so that the last two axes are ready for attention.",
            "merging again with the same layout",
        ),
        Mistake(
            "interleaved_channels",
            _split_interleaved,
            "You deal the channels out like cards, head h taking the channels h, h+H, h+2H; we "
            "agreed that each head takes D neighbouring channels.",
            "splitting and merging again with the same layout",
        ),
    ),
    right=(_split_by_chunks, _split_by_slices, _split_by_unflatten, _split_channels_first),
    properties=SPLIT_PROPERTIES,
    hints=(
        "Take a single token with six channels and three heads. Which channels does each head get? "
        "Nothing is computed here, numbers only move.",
        "Two moves: first cut the last axis in two, channels into (heads, D), which leaves time "
        "where it is; then bring the heads in front of time.",
        "x.reshape(B, T, n_heads, C // n_heads) makes the cut. Then swap the axes 1 and 2; "
        "a second reshape in place of the swap would scramble the numbers.",
    ),
    solution=(
        "A reshape keeps the numbers in reading order, so cutting C into (H, D) puts the channels "
        "h*D to (h+1)*D under head h. The transpose then moves the heads in front of time, so that "
        "attention, which works on the last two axes, treats every head as an item of its own."
    ),
    checked="B, T, H and D different and equal, one head, width 1, a transposed x, doubles",
    atol=0.0,
)


# --- merge_heads ---

MERGE_CASES = (
    _merge_case("the numbers 0 to 23", torch.arange(24.0).reshape(1, 3, 4, 2)),
    _merge_case("B=2, H=3, T=5, D=4", normal(210, 2, 3, 5, 4)),
    _merge_case("B=3, H=4, T=2, D=5", normal(211, 3, 4, 2, 5)),
    _merge_case("B, H, T and D all 3", normal(212, 3, 3, 3, 3)),
    _merge_case("a single head", normal(213, 2, 1, 3, 4)),
    _merge_case("heads of width 1", normal(214, 2, 4, 3, 1)),
    _merge_case("one token", normal(215, 2, 3, 1, 2)),
    _merge_case("double precision", normal(216, 2, 3, 4, 5, dtype=torch.float64)),
)


def _merge_by_cat(x):
    return torch.cat([x[:, h] for h in range(x.shape[1])], dim=-1)


def _merge_by_flatten(x):
    return x.permute(0, 2, 1, 3).flatten(2)


def _merge_by_einsum(x):
    return torch.einsum("bhtd->bthd", x).contiguous().view(x.shape[0], x.shape[2], -1)


# Known mistakes.


def _shape_merged(x):
    B, H, T, D = x.shape
    return B, T, H * D


def _merge_no_transpose(x):
    return x.reshape(_shape_merged(x))


def _merge_time_and_width(x):
    return x.transpose(2, 3).reshape(_shape_merged(x))


def _merge_heads_and_width(x):
    return x.transpose(1, 3).reshape(_shape_merged(x))


def _merge_time_first(x):
    return x.permute(2, 0, 1, 3).reshape(_shape_merged(x))


def _merge_late_transpose(x):
    B, H, T, D = x.shape
    return x.reshape(B, H * D, T).transpose(1, 2)


def _merge_first_head(x):
    return x[:, 0].repeat(1, 1, x.shape[1])


def _merge_mean_head(x):
    return x.mean(dim=1).repeat(1, 1, x.shape[1])


def _merge_reversed(x):
    return merge_heads(x.flip(1))


def _merge_interleaved(x):
    return x.permute(0, 2, 3, 1).flatten(2)


def _merge_sum(x):
    return x.sum(dim=1)


MERGE_MISTAKES = (
    Mistake(
        "reshape_without_transpose",
        _merge_no_transpose,
        "You reshape straight from (B, H, T, D), so what ends up in one token's row are several "
        "tokens of the same head; time must stand in front of the heads first.",
        "only the shape, a single head or a single token",
    ),
    Mistake(
        "swaps_time_and_width",
        _merge_time_and_width,
        "You swap the last two axes, time and D, but the two that stand in the wrong order are "
        "heads and time.",
        "only the shape",
    ),
    Mistake(
        "swaps_heads_and_width",
        _merge_heads_and_width,
        "You swap heads and D, so time still does not come right after the batch.",
        "only the shape",
    ),
    Mistake(
        "time_before_batch",
        _merge_time_first,
        "You move time in front of the batch, and the reshape then mixes tokens of different "
        "items.",
        "a batch of one item",
    ),
    Mistake(
        "transpose_too_late",
        _merge_late_transpose,
        "You reshape first and swap axes afterwards, but by then tokens and channels are already "
        "scrambled.",
        "only the shape, or a single token",
    ),
    Mistake(
        "first_head_only",
        _merge_first_head,
        "You repeat head 0 and drop all the others.",
        "only the shape, or a single head",
    ),
    Mistake(
        "averages_heads",
        _merge_mean_head,
        "You average the heads and repeat the result, but each head must keep its own channels.",
        "only the shape, or a single head",
    ),
    Mistake(
        "heads_reversed",
        _merge_reversed,
        "You lay the heads down in reverse order: head 0 belongs in the first channels.",
        "only that no number gets lost",
    ),
    Mistake(
        "sums_heads",
        _merge_sum,
        "You add the heads up, which leaves D channels in place of C and makes it impossible to "
        "tell them apart.",
        "a single head",
    ),
)

MERGE_HEADS = Exercise(
    id="attention.merge_heads",
    title="Merge the heads",
    reference=merge_heads,
    cases=MERGE_CASES,
    mistakes=MERGE_MISTAKES,
    conventions=(
        Mistake(
            "interleaved_channels",
            _merge_interleaved,
            "You interleave the heads, one channel from each in turn; we agreed that each head's D "
            "channels stay together.",
            "splitting and merging again with the same layout",
        ),
    ),
    right=(_merge_by_cat, _merge_by_flatten, _merge_by_einsum),
    properties=MERGE_PROPERTIES,
    hints=(
        "Merging undoes splitting. Walk the two moves of split_heads backwards: what was its last "
        "one?",
        "First bring time back in front of the heads, (B, T, H, D); then join the last two axes "
        "into one of H * D channels.",
        "Swap the axes 1 and 2, then reshape to (B, T, H * D). view would complain after a "
        "transpose; reshape copies when it has to.",
    ),
    solution=(
        "The transpose puts, for each token, its heads next to each other; the reshape then reads "
        "head 0's D numbers, head 1's and so on as C channels. Without the transpose the reshape "
        "reads along time within one head, and the shape would still be right."
    ),
    checked="B, H, T and D different and equal, one head, width 1, heads that split_heads made",
    atol=0.0,
)


# --- multi_head_attention ---

_X_BLOCK = _block_inputs(230, 2, 5, 12)

BLOCK_CASES = (
    _heads_case("B=2, T=5, H=3, D=4", *_X_BLOCK, n_heads=3),
    _heads_case("B=3, T=4, H=2, D=5", *_block_inputs(240, 3, 4, 10), n_heads=2),
    _heads_case("B, T, H and D all 2", *_block_inputs(250, 2, 2, 4), n_heads=2),
    _heads_case("T, H and D all 4", *_block_inputs(260, 3, 4, 16), n_heads=4),
    _heads_case("a single head", *_block_inputs(270, 2, 3, 6), n_heads=1),
    _heads_case("heads of width 1", *_block_inputs(280, 2, 3, 4), n_heads=4),
    _heads_case("one token", *_block_inputs(290, 2, 1, 6), n_heads=3),
    _heads_case(
        "every token the same", _X_BLOCK[0][:, :1].expand(2, 5, 12), *_X_BLOCK[1:], n_heads=3
    ),
    _heads_case(
        "scores in the hundreds",
        whole(300, 3, 2, 4, 8),
        *(whole(300 + n, 2, 8, 8) for n in range(1, 5)),
        n_heads=2,
    ),
    _heads_case(
        "scores in the hundreds of thousands",
        whole(301, 30, 2, 5, 8),
        *(whole(301 + n, 3, 8, 8) for n in range(1, 5)),
        n_heads=2,
    ),
    _heads_case("T=40, many tokens", *_block_inputs(330, 2, 40, 6), n_heads=2),
    _heads_case("C=96, heads of width 48", *_block_inputs(340, 1, 5, 96), n_heads=2),
    _heads_case("double precision", *_doubles(*_block_inputs(310, 2, 3, 8)), n_heads=2),
    _heads_case(
        "transposed x",
        normal(320, 5, 2, 12).transpose(0, 1),
        *_block_inputs(321, 1, 1, 12)[1:],
        n_heads=3,
    ),
)


def _block_by_loop(x, w_query, w_key, w_value, w_out, n_heads):
    T, C = x.shape[1:]
    D = C // n_heads
    outputs = []
    for h in range(n_heads):
        part = slice(h * D, (h + 1) * D)
        scores = (x @ w_query[:, part]) @ (x @ w_key[:, part]).transpose(1, 2) / D**0.5
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), -INF)
        outputs.append(torch.softmax(scores, dim=-1) @ (x @ w_value[:, part]))
    return torch.cat(outputs, dim=-1) @ w_out


def _block_fused(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (
        (x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_query, w_key, w_value)
    )
    output = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return output.transpose(1, 2).flatten(2) @ w_out


def _block_einsum(x, w_query, w_key, w_value, w_out, n_heads):
    C, T = x.shape[-1], x.shape[1]
    q, k, v = (
        torch.einsum("btc,chd->bhtd", x, w.reshape(C, n_heads, -1))
        for w in (w_query, w_key, w_value)
    )
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(C / n_heads)
    scores = torch.where(torch.ones(T, T).tril().bool(), scores, torch.tensor(-INF).to(scores))
    mixed = torch.einsum("bhts,bhsd->bthd", scores.softmax(-1), v)
    return torch.einsum("bthd,hdc->btc", mixed, w_out.reshape(n_heads, -1, C))


# Known mistakes. Most are the reference with other arguments.


def _projections(x, w_query, w_key, w_value):
    return x @ w_query, x @ w_key, x @ w_value


def _attend_causally(q, k, v):
    return scaled_dot_product_attention(q, k, v, causal_mask(q.shape[-2]))[0]


def _block_one_head(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_key, w_value, w_out, 1)


def _block_scale_by_model_width(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query / math.sqrt(n_heads), w_key, w_value, w_out, n_heads)


def _block_scale_by_width(x, w_query, w_key, w_value, w_out, n_heads):
    D = x.shape[-1] // n_heads
    return multi_head_attention(x, w_query / math.sqrt(D), w_key, w_value, w_out, n_heads)


def _block_low_fill(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (split_heads(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    scores = _hide(_scores(q, k), causal_mask(x.shape[1]), -1000.0)
    return merge_heads(_mix(scores, v)[0]) @ w_out


def _block_no_scale(x, w_query, w_key, w_value, w_out, n_heads):
    D = x.shape[-1] // n_heads
    return multi_head_attention(x, w_query * math.sqrt(D), w_key, w_value, w_out, n_heads)


def _block_no_output(x, w_query, w_key, w_value, w_out, n_heads):
    eye = torch.eye(x.shape[-1], dtype=x.dtype)
    return multi_head_attention(x, w_query, w_key, w_value, eye, n_heads)


def _block_no_mask(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (split_heads(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return merge_heads(scaled_dot_product_attention(q, k, v)[0]) @ w_out


def _block_mask_inverted(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (split_heads(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    output, _ = scaled_dot_product_attention(q, k, v, ~causal_mask(x.shape[1]))
    return merge_heads(output) @ w_out


def _block_leaky(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (split_heads(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return merge_heads(leaky_attention(q, k, v, causal_mask(x.shape[1]))[0]) @ w_out


def _block_keys_as_values(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_key, w_key, w_out, n_heads)


def _block_plain_values(x, w_query, w_key, w_value, w_out, n_heads):
    eye = torch.eye(x.shape[-1], dtype=x.dtype)
    return multi_head_attention(x, w_query, w_key, eye, w_out, n_heads)


def _block_queries_as_keys(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_query, w_value, w_out, n_heads)


def _block_query_key_swapped(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_key, w_query, w_value, w_out, n_heads)


def _block_scrambled_merge(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (split_heads(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return _merge_no_transpose(_attend_causally(q, k, v)) @ w_out


def _block_scrambled_split(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (_split_no_transpose(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return merge_heads(_attend_causally(q, k, v)) @ w_out


def _block_scrambled_twice(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (_split_no_transpose(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return _merge_no_transpose(_attend_causally(q, k, v)) @ w_out


def _block_same_head(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (_split_same_slice(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return merge_heads(_attend_causally(q, k, v)) @ w_out


def _block_over_heads(x, w_query, w_key, w_value, w_out, n_heads):
    projections = _projections(x, w_query, w_key, w_value)
    q, k, v = (t.unflatten(-1, (n_heads, -1)) for t in projections)  # (B, T, H, D)
    return _attend_causally(q, k, v).flatten(2) @ w_out


def _block_residual(x, w_query, w_key, w_value, w_out, n_heads):
    return x + multi_head_attention(x, w_query, w_key, w_value, w_out, n_heads)


def _block_transposed_weights(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query.T, w_key.T, w_value.T, w_out.T, n_heads)


def _block_interleaved(x, w_query, w_key, w_value, w_out, n_heads):
    q, k, v = (_split_interleaved(t, n_heads) for t in _projections(x, w_query, w_key, w_value))
    return _merge_interleaved(_attend_causally(q, k, v)) @ w_out


def _block_scale_by_tokens(x, w_query, w_key, w_value, w_out, n_heads):
    scale = math.sqrt(x.shape[2] // n_heads / x.shape[1])
    return multi_head_attention(x, scale * w_query, w_key, w_value, w_out, n_heads)


def _block_scale_by_heads(x, w_query, w_key, w_value, w_out, n_heads):
    scale = math.sqrt(x.shape[2] // n_heads / n_heads)
    return multi_head_attention(x, scale * w_query, w_key, w_value, w_out, n_heads)


def _block_one_weight(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_query, w_query, w_out, n_heads)


def _block_key_value_swapped(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_value, w_key, w_out, n_heads)


def _block_output_transposed(x, w_query, w_key, w_value, w_out, n_heads):
    return multi_head_attention(x, w_query, w_key, w_value, w_out.T, n_heads)


BLOCK_MISTAKES = (
    Mistake(
        "one_big_head",
        _block_one_head,
        "You attend once with all C channels: n_heads plays no part in your answer.",
        "n_heads=1, or only the shape",
    ),
    Mistake(
        "scale_by_model_width",
        _block_scale_by_model_width,
        "Your scale uses the width of the whole model, but a score adds up only the D channels of "
        "one head.",
        "n_heads=1",
    ),
    Mistake(
        "scale_by_head_width",
        _block_scale_by_width,
        "You divide the scores by the width of a head, not by its square root.",
        "heads of width 1",
    ),
    Mistake(
        "hidden_score_not_lowest",
        _block_low_fill,
        "You fill the scores of the future with a number that is not low enough: where the other "
        "scores are lower still, the future wins; minus infinity is lower than any score.",
        "scores of ordinary size",
    ),
    Mistake(
        "no_scale",
        _block_no_scale,
        "The scale is missing from your scores; with D channels in a head they grow like the root "
        "of D.",
        "heads of width 1",
    ),
    Mistake(
        "no_output_projection",
        _block_no_output,
        "You stop after merging and never use w_out, so the heads stay side by side and are not "
        "mixed.",
        "only the shape, or w_out as the identity",
    ),
    Mistake(
        "no_mask",
        _block_no_mask,
        "You forgot the causal mask, so tokens look into the future.",
        "one token, or only the last token's output",
    ),
    Mistake(
        "mask_inverted",
        _block_mask_inverted,
        "You turned the mask round before you passed it on, so each token sees only its future and "
        "the last one sees nothing.",
        "only the shape",
    ),
    Mistake(
        "mask_after_softmax",
        _block_leaky,
        "You hide the future only after the softmax, so early tokens, which have the most future "
        "to hide, are left with small weights.",
        "that changing a late token's value leaves earlier outputs alone, or the last token only",
    ),
    Mistake(
        "keys_as_values",
        _block_keys_as_values,
        "You mix the keys where the values belong; w_value plays no part.",
        "w_key and w_value equal",
    ),
    Mistake(
        "plain_values",
        _block_plain_values,
        "You mix the tokens x themselves; the values must come from x through w_value.",
        "w_value as the identity",
    ),
    Mistake(
        "queries_as_keys",
        _block_queries_as_keys,
        "You compare the queries with themselves: your keys come from w_query, and w_key plays no "
        "part.",
        "w_query and w_key equal, or one token",
    ),
    Mistake(
        "query_and_key_swapped",
        _block_query_key_swapped,
        "You swapped w_query and w_key, so each token asks with what it should answer with.",
        "w_query and w_key equal, or one token",
    ),
    Mistake(
        "merged_without_transpose",
        _block_scrambled_merge,
        "Your heads attend correctly, but you merge them without moving time back in front of the "
        "heads, so tokens get scrambled at the end.",
        "n_heads=1, or only the shape",
    ),
    Mistake(
        "split_without_transpose",
        _block_scrambled_split,
        "You split into heads by reshaping alone, so a head gets whole tokens in place of a part "
        "of every token.",
        "n_heads=1, or only the shape",
    ),
    Mistake(
        "no_transpose_at_all",
        _block_scrambled_twice,
        "You split and merge by reshaping alone: every number comes back to its place, but in "
        "between attention ran over the wrong groups.",
        "splitting and merging without attention in between",
    ),
    Mistake(
        "same_head_repeated",
        _block_same_head,
        "All your heads work on the first D channels, so they all see the same thing.",
        "n_heads=1, or only the shape",
    ),
    Mistake(
        "attends_over_heads",
        _block_over_heads,
        "Your attention runs over the heads of one token in place of over the tokens of one head, "
        "so tokens never exchange anything.",
        "as many tokens as heads, checked only for the shape",
    ),
    Mistake(
        "adds_the_input",
        _block_residual,
        "You add x to the result; that sum belongs to the block around attention, which chapter 05 "
        "builds.",
        "only that training works",
    ),
    Mistake(
        "scale_by_tokens",
        _block_scale_by_tokens,
        "You scale by the number of tokens: after the transpose axis 2 is time, and the width of a "
        "head is the last axis.",
        "as many tokens as a head is wide",
    ),
    Mistake(
        "scale_by_heads",
        _block_scale_by_heads,
        "You scale by the number of heads; a score adds up the D channels of one head.",
        "as many heads as each is wide",
    ),
    Mistake(
        "one_weight_for_all",
        _block_one_weight,
        "Your keys and values come from w_query too; each of the three has a matrix of its own.",
        "weights that are equal",
    ),
    Mistake(
        "key_and_value_swapped",
        _block_key_value_swapped,
        "You swapped w_key and w_value: the keys decide how much a token counts, the values are "
        "what is mixed.",
        "w_key and w_value equal",
    ),
    Mistake(
        "output_weight_transposed",
        _block_output_transposed,
        "You apply w_out transposed, as `F.linear` would; here every weight is used as `x @ w`.",
        "w_out as the identity",
    ),
)

MULTI_HEAD = Exercise(
    id="attention.multi_head_attention",
    title="Multi-head attention",
    reference=multi_head_attention,
    cases=BLOCK_CASES,
    mistakes=BLOCK_MISTAKES,
    conventions=(
        Mistake(
            "weights_transposed",
            _block_transposed_weights,
            "You apply each weight transposed, as torch.nn.Linear stores it, (out, in); here a "
            "weight is (in, out) and used as x @ W.",
            "symmetric weights, or only the shape",
        ),
        Mistake(
            "interleaved_channels",
            _block_interleaved,
            "You deal the channels out to the heads in turn, which would train just as well; we "
            "agreed that head h takes the D neighbouring channels from h*D on.",
            "n_heads=1, or only that training works",
        ),
    ),
    right=(_block_by_loop, _block_fused, _block_einsum),
    properties=BLOCK_PROPERTIES,
    hints=(
        "Everything is built already. Write down the shapes from (B, T, C) in to (B, T, C) out and "
        "put each function that you know between two of them.",
        "Sub-goals: project x three times; split each of the three into heads; attend with a "
        "causal mask, which works on the last two axes; merge the heads; project once more.",
        "q = split_heads(x @ w_query, n_heads), and so for k and v. Then "
        "scaled_dot_product_attention(q, k, v, causal_mask(T)) returns two things, of which you "
        "need the first; merge it and multiply by w_out.",
    ),
    solution=(
        "One product with a (C, C) matrix makes the queries of all heads at once; the split gives "
        "each head its D channels and moves the heads to where attention treats them like batch "
        "items. The scale is then the root of D, not of C. w_out lets the heads' results mix. "
        "(Vaswani et al. 2017, section 3.2.2.)"
    ),
    checked="sizes different and equal, one head, width 1, one token, ties, doubles, no leak",
    atol=1e-4,
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---

_NOT_FOUR = "Return four things in this order, separated by commas: q, k, v and mask."
_NO_MASK = "Your mask is None, and where nothing is hidden the two functions agree."
_NOT_FLOAT = (
    "Make q, k and v tensors of floats, all of one dtype, for example by writing 1.0 for 1; "
    "attention can't take a softmax of whole numbers."
)
_BAD_SHAPES = (
    "Your shapes don't fit: q and k need the same last axis D, and v needs one row for each key."
)
_NOT_BOOL = "Make mask a tensor of True and False, where True means 'may look'."
_BAD_MASK_SHAPE = (
    "Your mask does not fit the scores: it needs a row for each query and a column for each key."
)
_ROW_EMPTY = (
    "One of your queries may look at nothing at all, so there is nothing to compare; leave each "
    "query at least one key."
)
_ONE_KEY = "With a single key there is nothing to hide; take at least two."
_HIDES_NOTHING = "Your mask hides nothing, and the bug lives in how hidden keys are treated."
_ZERO_OUTPUT = (
    "The two outputs agree because they are next to zero where a key is hidden: the bug makes "
    "outputs too small, and zero stays zero, so give the visible values other numbers."
)
_NOT_FINITE = (
    "An output is infinite or NaN, and such numbers can't be compared; keep your inputs finite and "
    "of ordinary size."
)
_BURIED = (
    "The two outputs agree because your hidden keys score so low that the softmax gives them "
    "nothing anyway; let a hidden key have a score like the others."
)


def _four(answer) -> str | None:
    made = answer()
    if not isinstance(made, (tuple, list)) or len(made) != 4:
        return _NOT_FOUR
    masks = [isinstance(t, torch.Tensor) and t.dtype == torch.bool for t in made]
    return _NOT_FOUR if any(masks[:3]) and not masks[3] else None


def _masked_at_all(answer) -> str | None:
    return _NO_MASK if answer()[3] is None else None


def _all_floats(answer) -> str | None:
    made = answer()[:3]
    floats = all(isinstance(t, torch.Tensor) and t.is_floating_point() for t in made)
    return None if floats and len({t.dtype for t in made}) == 1 else _NOT_FLOAT


def _shapes_fit(answer) -> str | None:
    q, k, v = answer()[:3]
    if min(q.dim(), k.dim(), v.dim()) < 2 or min(q.numel(), k.numel(), v.numel()) == 0:
        return _BAD_SHAPES
    same_lead = q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    fits = same_lead and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]
    return None if fits else _BAD_SHAPES


def _mask_is_bool(answer) -> str | None:
    mask = answer()[3]
    return None if isinstance(mask, torch.Tensor) and mask.dtype == torch.bool else _NOT_BOOL


def _mask_fits(answer) -> str | None:
    q, k, _, mask = answer()
    scores_shape = torch.Size((*q.shape[:-1], k.shape[-2]))
    try:
        fits = torch.broadcast_shapes(mask.shape, scores_shape) == scores_shape
    except RuntimeError:
        fits = False
    return None if fits else _BAD_MASK_SHAPE


def _rows_not_empty(answer) -> str | None:
    q, k, _, mask = answer()
    seen = mask.expand(*q.shape[:-1], k.shape[-2]).any(dim=-1)
    return None if seen.all() else _ROW_EMPTY


def _hides_something(answer) -> str | None:
    _, k, _, mask = answer()
    if not mask.all():
        return None
    return _ONE_KEY if k.shape[-2] == 1 else _HIDES_NOTHING


def _outputs_finite(answer) -> str | None:
    outputs = (scaled_dot_product_attention(*answer())[0], leaky_attention(*answer())[0])
    return None if all(output.isfinite().all() for output in outputs) else _NOT_FINITE


def _outputs_differ(answer) -> str | None:
    q, k, v, mask = answer()
    right, _ = scaled_dot_product_attention(q, k, v, mask)
    leaky, weights = leaky_attention(q, k, v, mask)
    lost_share = (1 - weights.sum(dim=-1)).max().item()
    if (
        gap_between(right, leaky) > 1e-2 and lost_share > 1e-6
    ):  # more than a rounding of huge values
        return None
    return _ZERO_OUTPUT if lost_share > 1e-2 else _BURIED


EXPOSE_PROPERTIES = (
    Property("four things come back", _four),
    Property("there is a mask", _masked_at_all),
    Property("q, k and v hold floats", _all_floats),
    Property("the shapes fit together", _shapes_fit),
    Property("the mask is boolean", _mask_is_bool),
    Property("the mask fits the scores", _mask_fits),
    Property("every query may look at something", _rows_not_empty),
    Property("the mask hides something", _hides_something),
    Property("the outputs of both functions are finite", _outputs_finite),
    Property("the outputs of the two functions differ by more than 0.01", _outputs_differ),
)


def _expose_causal():
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 4, 3, generator=generator) for _ in range(3))
    return q, k, v, torch.ones(4, 4).tril().bool()


def _expose_one_query():
    q, k = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 1.0], [2.0, 1.0], [1.0, 0.0]])
    return q, k, torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([[False, True, True]])


# Known mistakes.


def _expose_three():
    return expose_bug()[:3]


def _expose_no_mask():
    return (*expose_bug()[:3], None)


def _expose_integers():
    q, k, v, mask = expose_bug()
    return q.long(), k.long(), v.long(), mask


def _expose_values_short():
    q, k, v, mask = expose_bug()
    return q, k, v[:1], mask


def _expose_float_mask():
    q, k, v, mask = expose_bug()
    return q, k, v, mask.float()


def _expose_small_mask():
    q, k, v, _ = _expose_causal()
    return q, k, v, torch.ones(3, 3).tril().bool()


def _expose_not_itself():
    q, k, v, _ = expose_bug()
    return q, k, v, torch.tensor([[False, False], [True, False]])


def _expose_one_token():
    return torch.ones(1, 2), torch.ones(1, 2), torch.ones(1, 2), torch.tensor([[True]])


def _expose_all_allowed():
    q, k, v, mask = expose_bug()
    return q, k, v, torch.ones_like(mask)


def _expose_zero_values():
    q, k, v, mask = expose_bug()
    return q, k, torch.zeros_like(v), mask


def _expose_infinite():
    q, k, v, mask = expose_bug()
    return q, k, v * INF, mask


def _expose_buried():
    q, k = torch.tensor([[30.0], [30.0]]), torch.tensor([[1.0], [-1.0]])
    return q, k, torch.tensor([[1.0], [2.0]]), torch.tensor([[True, False], [True, False]])


EXPOSE_MISTAKES = (
    Mistake("three_results", _expose_three, _NOT_FOUR, "only that tensors come back"),
    Mistake("no_mask", _expose_no_mask, _NO_MASK, "only that both functions run"),
    Mistake("integers", _expose_integers, _NOT_FLOAT, "only the shapes"),
    Mistake("values_too_short", _expose_values_short, _BAD_SHAPES, "only the types"),
    Mistake("float_mask", _expose_float_mask, _NOT_BOOL, "running the leaky function alone"),
    Mistake("mask_too_small", _expose_small_mask, _BAD_MASK_SHAPE, "only the mask's triangle"),
    Mistake("empty_row", _expose_not_itself, _ROW_EMPTY, "only that the mask hides something"),
    Mistake("one_token", _expose_one_token, _ONE_KEY, "only that both functions run"),
    Mistake("nothing_hidden", _expose_all_allowed, _HIDES_NOTHING, "only that a mask is there"),
    Mistake("zero_values", _expose_zero_values, _ZERO_OUTPUT, "that the weights differ"),
    Mistake("infinite_values", _expose_infinite, _NOT_FINITE, "that outputs differ, as NaN does"),
    Mistake("buried_scores", _expose_buried, _BURIED, "that there is a mask with a False in it"),
)

EXPOSE_BUG = Exercise(
    id="attention.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_causal, _expose_one_query),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "Where does a hidden key leave its trace in the leaky function? Follow one row of weights "
        "through it and add the row up.",
        "You need a key that is hidden but has a score that matters, so that it takes a share in "
        "the softmax, and a visible value that isn't zero, so that the missing share shows.",
        "Two tokens are enough. With q and k all zeros each key takes half of the softmax; with "
        "values of 1.0 the right output is 1 everywhere. Now hide one key from one query.",
    ),
    solution=(
        "The leaky function loses the share of the hidden keys, so its output is the right one "
        "times the share that the visible keys got. With two equal scores and one key hidden that "
        "share is a half: 0.5 comes out in place of 1. Values that are all equal to 1 are a handy "
        "probe, since any average of them must be 1."
    ),
    checked="both functions run on your input and their outputs differ by more than 0.01",
)


EXERCISES: tuple[Exercise, ...] = (
    SOFTMAX,
    ATTEND_ONE,
    CAUSAL_MASK,
    ATTENTION,
    SPLIT_HEADS,
    MERGE_HEADS,
    MULTI_HEAD,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "A training window has the inputs 'the queen found the'. What are its targets?",
        (
            Option(
                "'the queen found the' again.",
                "No. A model that must repeat what it reads learns nothing about what comes next.",
            ),
            Option(
                "'queen found the ring', one token further on.",
                "Yes. The targets are the inputs shifted by one: for each token, the one after it "
                "(chapter 01).",
                right=True,
            ),
            Option(
                "'ring' alone.",
                "No. Each of the four inputs has a target of its own, so that one window gives "
                "four examples.",
            ),
            Option(
                "'the found queen the', the inputs read backwards.",
                "No. The order stays; only the place shifts by one.",
            ),
        ),
    ),
    Question(
        "Each token gets a vector, a row of a table, as in the exercise look_up. In 'the queen "
        "found the ring', 'the' occurs twice. How do its two vectors compare?",
        (
            Option(
                "They are equal, since both come from the same row of the table.",
                "Yes. A look-up knows the id and nothing else: neither neighbours nor place.",
                right=True,
            ),
            Option(
                "They differ, because the words around them differ.",
                "No. Taking in the words around is the job of attention, which comes later.",
            ),
            Option(
                "They differ, because the second comes later.",
                "No. A look-up knows the id and nothing else, not even where the token stands.",
            ),
            Option(
                "They are random and change with each call.",
                "No. The table is random only before training, and even then the same id always "
                "gives the same row.",
            ),
        ),
    ),
    Question(
        "Chapter 03 gave each token's vector its position. What would a model be without it?",
        (
            Option(
                "Blind to order: 'dog bites man' and 'man bites dog' would look alike.",
                "Yes. The same vectors in another order give the same sums.",
                right=True,
            ),
            Option(
                "Unable to tell which token is which.",
                "No. Which token stands there is what the embedding says; it needs no position.",
            ),
            Option(
                "Slower, because it would have to count the tokens.",
                "No. Nothing counts them; the information would not be there at all.",
            ),
        ),
    ),
    Question(
        "What is the dot product of (1, 2, 0) and (3, -1, 5)?",
        (
            Option(
                "(3, -2, 0)",
                "No. These are the products of the pairs; the dot product adds them up.",
            ),
            Option(
                "10",
                "No. This is the sum of all entries; multiply the pairs first.",
            ),
            Option(
                "5",
                "No. This is what comes out when the minus sign of -1 is dropped.",
            ),
            Option(
                "1",
                "Yes. 1·3 + 2·(-1) + 0·5 = 3 - 2 + 0 = 1.",
                right=True,
            ),
        ),
    ),
)

RECAP = (
    Question(
        "Queries, keys and values: which two decide how much one token looks at another?",
        (
            Option(
                "The key of the one that looks and the value of the other.",
                "No. The value is what is handed over once it is settled how much each counts.",
            ),
            Option(
                "The query of the one that looks and the key of the other.",
                "Yes. Their dot product is the score; the value plays no part in it.",
                right=True,
            ),
            Option(
                "The queries of both.",
                "No. Then a's score for b would always equal b's score for a; keys exist so that "
                "asking and answering can differ.",
            ),
            Option(
                "Their distance in the text.",
                "No. Attention as built here does not know where a token stands at all.",
            ),
        ),
    ),
    Question(
        "Why are the scores divided by √D?",
        (
            Option(
                "So that the weights of a query sum to one.",
                "No. The softmax sees to that with or without the scale.",
            ),
            Option(
                "So that the exponentials do not overflow.",
                "No. A stable softmax does not overflow at any size of score: it subtracts the "
                "largest first.",
            ),
            Option(
                "Because there are D tokens to share between.",
                "No. D is the width of a query and a key; the number of tokens is T.",
            ),
            Option(
                "Because a dot product of D numbers spreads like √D, and a softmax of widely "
                "spread scores puts nearly all on one key and hardly learns.",
                "Yes. Divided by its own spread the score stays near 1 for every width, and the "
                "gradient stays alive.",
                right=True,
            ),
        ),
    ),
    Question(
        "All scores of a row are 1,000, 1,001 and 999. What does a stable softmax give?",
        (
            Option(
                "The same weights as for 1, 2 and 0.",
                "Yes. Only the differences between entries count; 999 less in each entry cancels.",
                right=True,
            ),
            Option(
                "NaN, since e to the 1,000 is too large.",
                "No. That is what the plain formula gives; subtracting the largest entry first "
                "leaves exponents of 0 and below.",
            ),
            Option(
                "Three weights of almost exactly 1/3, since 1,000 and 1,001 are nearly the same.",
                "No. Softmax looks at differences, not ratios: 1,001 gets e times the weight of "
                "1,000.",
            ),
            Option(
                "All the weight for 1,001, since the numbers are so large.",
                "No. Large gaps make a softmax sharp, large numbers alone do not.",
            ),
        ),
    ),
    Question(
        "What goes wrong if the causal mask is applied after the softmax, as a zero?",
        (
            Option(
                "Nothing, hidden keys get the weight 0 either way.",
                "No. They do, but look at what is left: the visible weights no longer sum to one.",
            ),
            Option(
                "The first tokens see the future's values in full.",
                "No. The hidden weights are 0, so no value of the future is mixed in directly.",
            ),
            Option(
                "The hidden keys have already taken a share, so visible weights are too small and "
                "depend on the future's keys.",
                "Yes. Something of the future shows in how much is missing, and early rows, with "
                "the most hidden, shrink the most.",
                right=True,
            ),
            Option(
                "The softmax gives NaN.",
                "No. It runs on ordinary scores and its numbers look fine, which is what makes "
                "this mistake hard to see.",
            ),
        ),
    ),
    Question(
        "Which row of a causal mask has a single True?",
        (
            Option(
                "The last, since it predicts the next token alone.",
                "No. The last token may look at everything: its row is all True.",
            ),
            Option(
                "The first, since the first token can see nothing but itself.",
                "Yes. Row i has i + 1 of them, counted from row 0.",
                right=True,
            ),
            Option(
                "Each row: a token looks at exactly one other.",
                "No. That is a hard choice; attention spreads over all that may be seen.",
            ),
            Option(
                "None, since a token may not look at itself.",
                "No. It may. Without itself the first token would have nothing to look at.",
            ),
        ),
    ),
    Question(
        "A model has d_model = 64. You go from 1 head to 8. What happens to the number of weights "
        "in w_query, w_key, w_value and w_out together?",
        (
            Option(
                "It grows eightfold, one set for each head.",
                "No. The heads divide the 64 channels between them; each is only 8 wide.",
            ),
            Option(
                "It falls to an eighth, since each head is smaller.",
                "No. Each head is smaller, but there are eight of them.",
            ),
            Option(
                "It grows a little, since w_out is needed only with several heads.",
                "No. w_out is there with one head too, with the same 64 by 64 entries.",
            ),
            Option(
                "It stays the same, 4 times 64 times 64.",
                "Yes. Heads are a way of reading the same channels in groups; what changes is that "
                "there are eight sets of attention weights in place of one.",
                right=True,
            ),
        ),
    ),
    Question(
        "You reshape (B, T, C) straight to (B, H, T, D) and the code runs. What do you have?",
        (
            Option(
                "The heads, correctly split: the shape is right.",
                "No. Two tensors of one shape can hold their numbers in different places.",
            ),
            Option(
                "An error, since the numbers do not fit.",
                "No. B·T·C is the same as B·H·T·D, so reshape has no reason to complain.",
            ),
            Option(
                "Heads that hold whole tokens, or pieces of several, in place of a part of every "
                "token.",
                "Yes. Reshape deals numbers out in reading order; only a transpose moves axes.",
                right=True,
            ),
            Option(
                "The right heads in the wrong order.",
                "No. Then a reorder would mend it; here the content of each head is wrong.",
            ),
        ),
    ),
    Question(
        "The text becomes twice as long. How many attention weights does a head compute?",
        (
            Option(
                "Four times as many, since each of twice as many queries has twice as many keys.",
                "Yes. T by T weights: this is why long texts are expensive.",
                right=True,
            ),
            Option(
                "Twice as many, one for each token.",
                "No. Each token has a whole row of weights, and the rows get longer too.",
            ),
            Option(
                "As many as before, since the weights are learned and fixed.",
                "No. What is learned are the matrices w_query and so on; attention weights are "
                "computed afresh for each text.",
            ),
            Option(
                "Half as many for each token, since a whole is shared between more.",
                "No. Each share may get smaller, but there are more of them.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "attention.warmup": WARMUP,
    "attention.recap": RECAP,
}
