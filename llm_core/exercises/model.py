"""Exercises and quizzes of chapter 06, model: references, inputs, known mistakes, hints.

Letters: B batch, T time, C = d_model, V vocabulary, L layers, F = d_ff. A function that stands
under "known mistakes" is wrong on purpose: it is what learners write, kept so that `check` can
recognise it and say what happened.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache, reduce

import torch
import torch.nn.functional as F

from llm_core.block import layer_norm
from llm_core.config import GPTConfig
from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal, token_ids, whole
from llm_core.model import GPT
from llm_core.validate import require_ids

Layer = Callable[[torch.Tensor], torch.Tensor]
"""A function (B, T, C) -> (B, T, C)."""

Model = Callable[[torch.Tensor], torch.Tensor]
"""A function from ids (B, T) to logits (B, T, V)."""


# --- References: what a learner should write. ---


def forward_stack(
    ids: torch.Tensor,
    token_table: torch.Tensor,
    position_table: torch.Tensor,
    blocks: Sequence[Layer],
    final_norm: Layer,
) -> torch.Tensor:
    """Send ids (B, T) through the stack; token_table (V, C) serves at both ends: (B, T, V)."""
    T = ids.shape[1]
    x = token_table[ids] + position_table[:T]  # (B, T, C), each position has its own row
    for block in blocks:
        x = block(x)  # (B, T, C)
    return final_norm(x) @ token_table.T  # (B, T, V)


def init_std(name: str, shape: tuple[int, ...], n_layers: int) -> float:
    """Return the standard deviation with which GPT-2 draws a parameter; 0 for a vector."""
    if len(shape) == 1:
        return 0.0  # a bias or a gain: not drawn, but set to 0 or 1
    if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
        return 0.02 / math.sqrt(2 * n_layers)
    return 0.02


def tied_gradient(
    ids: torch.Tensor, grad_vectors: torch.Tensor, outputs: torch.Tensor, grad_logits: torch.Tensor
) -> torch.Tensor:
    """Return the gradient (V, C) of a table that is both embedding and output head.

    Shapes: ids (B, T), grad_vectors (B, T, C), outputs (B, T, C), grad_logits (B, T, V).
    """
    from_head = torch.einsum("btv,btc->vc", grad_logits, outputs)  # (V, C)
    from_look_up = torch.zeros_like(from_head)  # (V, C)
    from_look_up.index_add_(0, ids.flatten(), grad_vectors.flatten(0, 1))  # repeats add up
    return from_head + from_look_up


def leaks_future(model: Model, ids: torch.Tensor, vocab_size: int) -> bool:
    """Say whether changing one token of ids (B, T) moves a logit that stands before it."""
    before = model(ids)  # (B, T, V)
    for t in range(1, ids.shape[1]):
        for other in range(vocab_size):
            changed = ids.clone()
            changed[:, t] = other
            moved = (model(changed) - before)[:, :t].abs().max().item()
            if moved > LARGEST_ROUNDING:
                return True
    return False


def parameter_count(
    vocab_size: int, context_length: int, d_model: int, n_layers: int, d_ff: int, tied: bool
) -> int:
    """Return how many parameters a model of GPT-2's layout has, biases included."""
    attention = 4 * (d_model * d_model + d_model)  # query, key, value, out
    feed_forward = d_model * d_ff + d_ff + d_ff * d_model + d_model  # up, down
    norm = 2 * d_model  # gain and shift
    block = attention + feed_forward + 2 * norm
    table = vocab_size * d_model
    total = table + context_length * d_model + n_layers * block + norm
    return total if tied else total + table


def flop_count(
    vocab_size: int, context_length: int, d_model: int, n_layers: int, d_ff: int
) -> tuple[int, int]:
    """Return the operations for one token of a full context: forward, backward."""
    projections = 2 * 4 * d_model * d_model
    attention = 2 * 2 * context_length * d_model
    feed_forward = 2 * 2 * d_model * d_ff
    head = 2 * d_model * vocab_size
    forward = n_layers * (projections + attention + feed_forward) + head
    return forward, 2 * forward


def largest_batch(
    memory_bytes: int,
    n_parameters: int,
    activations_per_token: int,
    context_length: int,
    bytes_per_number: int,
) -> int:
    """Return how many full texts fit into memory beside a model in training with AdamW."""
    fixed = 4 * n_parameters * bytes_per_number  # weights, gradients, two running means
    per_text = activations_per_token * context_length * bytes_per_number
    return max(0, (memory_bytes - fixed) // per_text)


def expose_bug() -> Model:
    """Return a model that leaks, but nothing of its last token."""

    def model(ids: torch.Tensor) -> torch.Tensor:
        logits = F.one_hot(ids, EXPOSE_VOCAB).float()  # (B, T, V)
        logits[:, 0] += logits[:, 1]  # the first position sees the second
        return logits

    return model


LARGEST_ROUNDING = 1e-4
"""Logits that move by no more have not moved: the order of a sum alone changes them as much."""

EXPOSE_VOCAB = 5
"""Size of the vocabulary in the last exercise."""


def quick_leak_test(model: Model, ids: torch.Tensor) -> bool:
    """Say whether a model leaks the future, with a bug that hides well.

    It changes the last token alone. The exercise `model.expose_bug` asks for a model that leaks
    all the same.

    Args:
        model: a function from ids (B, T) to logits (B, T, V), with V = 5.
        ids: tokens, (B, T), T at least 2.

    Returns:
        True when the change moves an earlier logit.

    Raises:
        TypeError: `model` cannot be called, or `ids` is no tensor of whole numbers.
        ValueError, IndexError: `ids` is not (B, T) with T from 2 on, or holds an id that is not 0
            to 4.
    """
    if not callable(model):
        raise TypeError(f"model must be a function of ids, not {type(model).__name__}")
    require_ids("ids", ids, EXPOSE_VOCAB)
    if ids.dim() != 2 or ids.shape[1] < 2:
        raise ValueError(
            f"ids must be (B, T) with at least 2 tokens, but its shape is {tuple(ids.shape)}"
        )
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % EXPOSE_VOCAB
    moved = (model(changed) - model(ids))[:, :-1].abs().max().item()
    return moved > LARGEST_ROUNDING


# --- forward_stack ---


def _running_mean(x: torch.Tensor) -> torch.Tensor:
    """A block in which every token hears the mean of itself and those before it."""
    counts = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]  # (T, 1)
    return x + x.cumsum(dim=1) / counts


def _bend(x: torch.Tensor) -> torch.Tensor:
    """A block that bends each number."""
    return x + torch.tanh(2 * x - 0.5)


def _swap_channels(x: torch.Tensor) -> torch.Tensor:
    """A block that adds each vector's channels in reverse order."""
    return 0.5 * x + x.flip(-1)


def _norm(x: torch.Tensor) -> torch.Tensor:
    """A layer norm whose gains and shifts all differ."""
    steps = torch.arange(x.shape[-1], dtype=x.dtype)
    return layer_norm(x, 1 + 0.3 * steps, 0.1 * steps - 0.2)


_BLOCKS = (_running_mean, _bend, _swap_channels)


def _stack_case(
    name: str, seed: int, B: int, T: int, V: int, C: int, context_length: int, n_blocks: int
) -> Case:
    """Return the case with random tables and the first `n_blocks` blocks."""
    tables = normal(seed, V, C), normal(seed + 1, context_length, C)
    args = (token_ids(seed + 2, V, B, T), *tables, list(_BLOCKS[:n_blocks]), _norm)
    return Case(name, args, sizes={"B": B, "T": T, "C": C, "V": V})


_DOUBLE = _stack_case("", 40, 2, 3, 6, 5, 9, 2).args

STACK_CASES = (
    _stack_case("B=2, T=3, V=7, C=5, a context of 8, three blocks", 0, 2, 3, 7, 5, 8, 3),
    _stack_case("a text that fills the context", 5, 3, 6, 9, 4, 6, 2),
    _stack_case("V, C and T all 4", 10, 4, 4, 4, 4, 6, 3),
    _stack_case("one token", 15, 2, 1, 5, 3, 4, 3),
    _stack_case("one text, one block", 20, 1, 5, 6, 3, 7, 1),
    _stack_case("no block at all", 25, 2, 4, 6, 3, 5, 0),
    Case(
        "the same token at every place",
        (torch.full((2, 5), 3), normal(30, 6, 4), normal(31, 7, 4), [_running_mean, _bend], _norm),
    ),
    Case(
        "double precision",
        (_DOUBLE[0], _DOUBLE[1].double(), _DOUBLE[2].double(), *_DOUBLE[3:]),
    ),
)


def _stack_by_torch(ids, token_table, position_table, blocks, final_norm):
    positions = torch.arange(ids.shape[1])
    x = F.embedding(ids, token_table) + F.embedding(positions, position_table)  # (B, T, C)
    for block in blocks:
        x = block(x)
    return F.linear(final_norm(x), token_table)


def _stack_by_one_hot(ids, token_table, position_table, blocks, final_norm):
    one_hot = F.one_hot(ids, token_table.shape[0]).to(token_table.dtype)  # (B, T, V)
    x = torch.einsum("btv,vc->btc", one_hot, token_table) + position_table[None, : ids.shape[1]]
    x = reduce(lambda x, block: block(x), blocks, x)
    return torch.einsum("btc,vc->btv", final_norm(x), token_table)


def _stack_by_recursion(ids, token_table, position_table, blocks, final_norm):
    def go_on(x, rest):
        return go_on(rest[0](x), rest[1:]) if rest else final_norm(x)

    rows = [token_table[ids[:, t]] + position_table[t] for t in range(ids.shape[1])]
    return go_on(torch.stack(rows, dim=1), blocks).matmul(token_table.t())


def _stack_with(
    embed=lambda ids, tokens, positions: tokens[ids] + positions[: ids.shape[1]],
    run=lambda x, blocks: reduce(lambda x, block: block(x), blocks, x),
    norm=lambda x, final_norm: final_norm(x),
    head=lambda x, tokens: x @ tokens.T,
):
    """Return a stack with one part changed."""

    def answer(ids, token_table, position_table, blocks, final_norm):
        x = run(embed(ids, token_table, position_table), blocks)
        return head(norm(x, final_norm), token_table)

    return answer


def _same_input_for_each_block(x, blocks):
    output = x
    for block in blocks:
        output = block(x)
    return output


def _second_residual(x, blocks):
    for block in blocks:
        x = x + block(x)
    return x


def _sum_of_blocks(x, blocks):
    return sum((block(x) for block in blocks), torch.zeros_like(x))


def _stack_norm_after_each(ids, token_table, position_table, blocks, final_norm):
    x = token_table[ids] + position_table[: ids.shape[1]]
    for block in blocks:
        x = final_norm(block(x))
    return final_norm(x) @ token_table.T


def _stack_norm_first(ids, token_table, position_table, blocks, final_norm):
    x = final_norm(token_table[ids] + position_table[: ids.shape[1]])
    return reduce(lambda x, block: block(x), blocks, x) @ token_table.T


def _stack_positions_in_each(ids, token_table, position_table, blocks, final_norm):
    x = token_table[ids]
    for block in blocks:
        x = block(x + position_table[: ids.shape[1]])
    return final_norm(x) @ token_table.T


STACK_MISTAKES = (
    Mistake(
        "no_positions",
        _stack_with(embed=lambda ids, tokens, positions: tokens[ids]),
        "You left out the position vectors, so a token looks the same wherever it stands.",
        "a table of positions that is all zero",
    ),
    Mistake(
        "positions_by_id",
        _stack_with(
            embed=lambda ids, tokens, positions: tokens[ids] + positions[ids % len(positions)]
        ),
        "You look positions up by the token's id; the row to take is where the token stands, 0 for "
        "the first.",
        "the ids 0, 1, 2, ... in order",
    ),
    Mistake(
        "positions_by_raw_id",
        _stack_with(embed=lambda ids, tokens, positions: tokens[ids] + positions[ids]),
        "You use the ids as positions, so a token of a large id asks for a row that the table of "
        "positions does not have; the row to take is where the token stands.",
        "the ids 0, 1, 2, ... in order",
    ),
    Mistake(
        "whole_position_table",
        _stack_with(embed=lambda ids, tokens, positions: tokens[ids] + positions),
        "You add the whole table of positions, which fits only a text that fills the context; take "
        "its first T rows.",
        "texts as long as the context",
    ),
    Mistake(
        "last_positions",
        _stack_with(embed=lambda ids, tokens, positions: tokens[ids] + positions[-ids.shape[1] :]),
        "You take the last T rows of the table of positions; a text starts at position 0.",
        "texts as long as the context",
    ),
    Mistake(
        "positions_backwards",
        _stack_with(
            embed=lambda ids, tokens, positions: tokens[ids] + positions[: ids.shape[1]].flip(0)
        ),
        "Your positions run backwards: the first token gets the vector of the last place.",
        "one token",
    ),
    Mistake(
        "same_position_for_all",
        _stack_with(embed=lambda ids, tokens, positions: tokens[ids] + positions[0]),
        "You add the vector of one position to all tokens, so that nobody knows where it stands.",
        "one token",
    ),
    Mistake(
        "embedding_times_root",
        _stack_with(
            embed=lambda ids, tokens, positions: (
                tokens[ids] * math.sqrt(tokens.shape[1]) + positions[: ids.shape[1]]
            )
        ),
        "You multiply the token vectors by the root of C, as the first Transformer did with its "
        "sines; with a learned table of positions nothing is multiplied.",
        "only that a later token moves no earlier logit",
    ),
    Mistake(
        "positions_in_each_block",
        _stack_positions_in_each,
        "You add the positions again before every block; they are added once, and the residual "
        "stream carries them on.",
        "a single block",
    ),
    Mistake(
        "same_input_for_each_block",
        _stack_with(run=_same_input_for_each_block),
        "Every block of yours gets the embeddings, so only the last one counts; a block takes what "
        "the block before it gave.",
        "a single block",
    ),
    Mistake(
        "sum_of_blocks",
        _stack_with(run=_sum_of_blocks),
        "You run the blocks side by side on the embeddings and add up what they give; they stand "
        "one after the other.",
        "a single block",
    ),
    Mistake(
        "second_residual",
        _stack_with(run=_second_residual),
        "You add x to what each block gives, but the residual sum is already inside the block.",
        "no block at all, or blocks without a residual sum",
    ),
    Mistake(
        "blocks_reversed",
        _stack_with(run=lambda x, blocks: reduce(lambda x, b: b(x), blocks[::-1], x)),
        "You run the blocks from the last to the first.",
        "a single block, or blocks that are all the same",
    ),
    Mistake(
        "first_block_only",
        _stack_with(run=lambda x, blocks: reduce(lambda x, b: b(x), blocks[:1], x)),
        "You run the first block and leave the others out: does the `return` stand inside the "
        "loop? It belongs after it.",
        "a single block",
    ),
    Mistake(
        "last_block_left_out",
        _stack_with(run=lambda x, blocks: reduce(lambda x, b: b(x), blocks[:-1], x)),
        "Your loop ends one block too early.",
        "a last block that changes nothing",
    ),
    Mistake(
        "no_final_norm",
        _stack_with(norm=lambda x, final_norm: x),
        "You left out the final norm, so the size of the logits grows with what the blocks have "
        "added up.",
        "a norm that changes nothing",
    ),
    Mistake(
        "norm_first",
        _stack_norm_first,
        "You use the final norm before the blocks; it stands after the last one.",
        "no block at all",
    ),
    Mistake(
        "norm_after_each_block",
        _stack_norm_after_each,
        "You use the final norm after every block; inside, the blocks have norms of their own, and "
        "this one comes once, at the end.",
        "no block at all",
    ),
    Mistake(
        "head_not_transposed",
        _stack_with(head=lambda x, tokens: x @ tokens),
        "Your head multiplies by the table as it is, so a vector of C numbers meets columns of V; "
        "each logit is the dot product with a row of the table, `x @ token_table.T`.",
        "only the shape, with V = C",
    ),
    Mistake(
        "softmax_at_the_end",
        _stack_with(head=lambda x, tokens: (x @ tokens.T).softmax(dim=-1)),
        "You return probabilities; a model returns logits, and the loss or the sampler takes the "
        "softmax.",
        "which token is the likeliest",
    ),
    Mistake(
        "log_softmax_at_the_end",
        _stack_with(head=lambda x, tokens: (x @ tokens.T).log_softmax(dim=-1)),
        "You return log-probabilities; a model returns logits, and the loss takes the softmax.",
        "the loss, which does not change",
    ),
    Mistake(
        "logits_scaled",
        _stack_with(head=lambda x, tokens: x @ tokens.T / math.sqrt(tokens.shape[1])),
        "You divide the logits by the root of C; that scale belongs to the scores of attention, "
        "not to the head.",
        "which token is the likeliest",
    ),
    Mistake(
        "cosine_logits",
        _stack_with(head=lambda x, tokens: F.normalize(x, dim=-1) @ F.normalize(tokens, dim=-1).T),
        "You compare by cosine similarity, which takes the lengths out; the head is a plain dot "
        "product.",
        "rows and vectors of length 1",
    ),
    Mistake(
        "last_token_only",
        _stack_with(head=lambda x, tokens: x[:, -1] @ tokens.T),
        "You return logits for the last token alone; training needs them at every position.",
        "writing text, which reads the last ones",
    ),
)


def _stack_of_real_blocks(answer) -> str | None:
    config = GPTConfig(vocab_size=11, context_length=6, d_model=8, n_layers=2, n_heads=2)
    model = GPT(config, torch.Generator().manual_seed(0)).eval()
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            parameter.add_(0.3 * normal(200 + n, *parameter.shape))
        ids = token_ids(60, 11, 2, 5)
        tables = model.token_embedding.weight, model.position_embedding.weight
        logits = answer(ids, *tables, list(model.blocks), model.final_norm)
        expected = model(ids)[0]
    return _first_difference(
        logits, expected, "With the tables, blocks and norm of a GPT", "that GPT gives"
    )


def _first_difference(made, expected, where: str, right: str) -> str | None:
    """Return a sentence with the first entry that differs, or None; other shapes fail elsewhere."""
    if made.shape != expected.shape or gap_between(made, expected) < 1e-3:
        return None
    at = tuple(((made - expected).abs() > 1e-3).nonzero()[0].tolist())
    return (
        f"{where}, entry {list(at)} of your result is {made[at].item():.4g}, and {right} "
        f"{expected[at].item():.4g}."
    )


def _stack_batch(answer) -> str | None:
    ids, *parts = _stack_case("", 65, 3, 4, 7, 5, 6, 3).args
    gap = gap_between(answer(ids, *parts)[1:2], answer(ids[1:2], *parts))
    if gap < 1e-4:
        return None
    return (
        "Batch items mix: computed alone, the second text's logits differ by up to "
        f"{gap:.3f} from those in a batch of three."
    )


def _stack_future(answer) -> str | None:
    ids, *parts = _stack_case("", 70, 2, 6, 7, 5, 6, 3).args
    changed = ids.clone()
    changed[:, 4] = (changed[:, 4] + 1) % 7
    gap = gap_between(answer(ids, *parts)[:, :4], answer(changed, *parts)[:, :4])
    if gap < 1e-4:
        return None
    return (
        f"I changed the token at position 4, and an earlier logit moved by {gap:.3f}, though no "
        "block looks ahead."
    )


def _stack_gradient(answer) -> str | None:
    ids, *tables, blocks, norm = _stack_case("", 75, 2, 4, 7, 5, 4, 2).args
    tables = [table.requires_grad_() for table in tables]
    logits = answer(ids, *tables, blocks, norm)
    names = ("token_table", "position_table")
    trouble = gradient_trouble(logits, dict(zip(names, tables, strict=True)))
    expected = forward_stack(ids, *tables, blocks, norm)
    if trouble is not None or gap_between(logits, expected) > 1e-3:
        return trouble
    pull = normal(79, *logits.shape)
    right = torch.autograd.grad((expected * pull).sum(), tables)
    again = answer(ids, *tables, blocks, norm)
    for name, want, have in zip(
        names, right, torch.autograd.grad((again * pull).sum(), tables), strict=True
    ):
        if gap_between(want, have) > 1e-3:
            return (
                f"Your logits are right, but the gradient of {name} is not: one of its paths is "
                "cut off; leave .detach(), .data and torch.no_grad() out."
            )
    return None


STACK = Exercise(
    id="model.forward_stack",
    title="The whole stack",
    reference=forward_stack,
    cases=STACK_CASES,
    mistakes=STACK_MISTAKES,
    conventions=(
        Mistake(
            "vocabulary_before_time",
            _stack_with(head=lambda x, tokens: (x @ tokens.T).transpose(1, 2)),
            "Your logits are (B, V, T), as torch's cross_entropy likes them; here a model returns "
            "(B, T, V), the vocabulary last.",
            "the loss after another transpose",
        ),
    ),
    right=(_stack_by_torch, _stack_by_one_hot, _stack_by_recursion),
    properties=(
        Property("with a GPT's parts it is that GPT", _stack_of_real_blocks),
        Property("batch items do not mix", _stack_batch),
        Property("a later token moves no earlier logit", _stack_future),
        Property("the gradient comes back to both tables, by every path", _stack_gradient),
    ),
    hints=(
        "Write down the shape after each of the four steps, from (B, T) to (B, T, V). Where does V "
        "come in again?",
        "Indexing the token table with ids gives (B, T, C); the first T rows of the table of "
        "positions are (T, C) and broadcast over the batch. Each block takes what the last one "
        "gave.",
        "x = token_table[ids] + position_table[:T]; then x = block(x) in a loop; then the norm, "
        "once. Row v of the token table is compared with each vector by a matrix product with the "
        "table's transpose.",
    ),
    solution=(
        "token_table[ids] is (B, T, C), and position_table[:T] is (T, C), which broadcasting "
        "repeats for every text. The loop hands x from block to block. After the final norm each "
        "vector is compared with every row of the token table, and (B, T, C) @ (C, V) gives one "
        "logit for each token of the vocabulary."
    ),
    checked="texts shorter than the context and as long, no block to three, V = C, doubles",
    atol=1e-4,
)


# --- init_std ---

INIT_CASES = tuple(
    Case(f"{name}, shape {shape}, {n_layers} layers", (name, shape, n_layers))
    for name, shape, n_layers in (
        ("token_embedding.weight", (50257, 768), 12),
        ("blocks.0.attention.out.weight", (768, 768), 12),
        ("blocks.11.attention.out.weight", (768, 768), 12),
        ("blocks.5.feed_forward.down.weight", (768, 3072), 12),
        ("blocks.5.feed_forward.up.weight", (3072, 768), 12),
        ("blocks.5.feed_forward.down.bias", (768,), 12),
        ("blocks.0.attention.out.bias", (1600,), 48),
        ("blocks.47.attention.out.weight", (1600, 1600), 48),
        ("blocks.47.feed_forward.down.weight", (1600, 6400), 48),
        ("blocks.7.attention.query.weight", (64, 64), 8),
        ("blocks.2.attention.key.weight", (16, 64), 8),
        ("blocks.2.attention.value.weight", (16, 64), 8),
        ("blocks.2.feed_forward.gate.weight", (176, 64), 8),
        ("blocks.2.attention.query_gain", (16,), 8),
        ("blocks.3.feed_forward.down.weight", (64, 64), 8),
        ("blocks.0.attention.out.weight", (8, 8), 1),
        ("blocks.0.feed_forward.down.weight", (8, 8), 1),
        ("blocks.0.attention_norm.weight", (768,), 12),
        ("final_norm.bias", (768,), 12),
        ("position_embedding.weight", (1024, 768), 12),
        ("output_head.weight", (50257, 768), 12),
    )
)


def _init_by_parts(name, shape, n_layers):
    parts = name.split(".")
    if len(shape) < 2:
        return 0.0
    on_residual = parts[-3:-1] in (["attention", "out"], ["feed_forward", "down"])
    return 0.02 * (2 * n_layers) ** -0.5 if on_residual else 0.02


def _init_by_set(name, shape, n_layers):
    std = 0.02
    if any(part in name for part in (".out.", ".down.")):
        std /= math.sqrt(n_layers) * math.sqrt(2)
    return std * (len(shape) == 2)


def _init_with(factor=lambda n_layers: 1 / math.sqrt(2 * n_layers), on=(".out.", ".down.")):
    """Return the rule with another factor, or other matrices that it applies to."""

    def answer(name, shape, n_layers):
        if len(shape) == 1:
            return 0.0
        return 0.02 * (factor(n_layers) if any(part in name for part in on) else 1.0)

    return answer


def _init_vectors_too(name, shape, n_layers):
    scaled = any(part in name for part in (".out.", ".down."))
    return 0.02 / math.sqrt(2 * n_layers) if scaled else 0.02


def _init_vectors_by_name(name, shape, n_layers):
    if name.endswith("bias") or "norm" in name:
        return 0.0
    return init_std(name, (*shape, 1), n_layers)


def _init_vectors_drawn(name, shape, n_layers):
    return init_std(name, shape, n_layers) or 0.02


def _init_gains_one(name, shape, n_layers):
    if len(shape) == 1 and name.endswith("weight"):
        return 1.0
    return init_std(name, shape, n_layers)


def _init_by_layer(name, shape, n_layers):
    if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
        layer = int(name.split(".")[1])
        return 0.02 / math.sqrt(2 * (layer + 1))
    return init_std(name, shape, n_layers)


def _init_by_width(name, shape, n_layers):
    return 0.0 if len(shape) == 1 else 1 / math.sqrt(shape[-1])


def _init_all_blocks(name, shape, n_layers):
    if len(shape) == 1:
        return 0.0
    return 0.02 / math.sqrt(2 * n_layers) if name.startswith("blocks.") else 0.02


def _init_variance(name, shape, n_layers):
    return init_std(name, shape, n_layers) ** 2


def _init_no_scale(name, shape, n_layers):
    return 0.0 if len(shape) == 1 else 0.02


def _init_everything_scaled(name, shape, n_layers):
    return 0.0 if len(shape) == 1 else 0.02 / math.sqrt(2 * n_layers)


def _init_embedding_one(name, shape, n_layers):
    return 1.0 if "embedding" in name else init_std(name, shape, n_layers)


INIT_MISTAKES = (
    Mistake(
        "no_scaling",
        _init_no_scale,
        "You give every matrix 0.02; the two matrices of a block that add to the residual stream "
        "start smaller, so that the sum does not grow with the depth.",
        "matrices that add nothing to the residual stream",
    ),
    Mistake(
        "everything_scaled",
        _init_everything_scaled,
        "You make every matrix smaller, even the tables; only the last matrix of attention and of "
        "the feed-forward part is scaled.",
        "residual projections alone",
    ),
    Mistake(
        "all_of_the_block_scaled",
        _init_all_blocks,
        "You make every matrix of a block smaller; queries, keys, values and `up` add nothing to "
        "the residual stream themselves and keep 0.02.",
        "residual projections, tables and the head",
    ),
    Mistake(
        "two_forgotten",
        _init_with(lambda n: 1 / math.sqrt(n)),
        "You divide by the root of n_layers, but each block adds to the residual stream twice, so "
        "2 * n_layers terms are summed.",
        "only that deeper models start smaller",
    ),
    Mistake(
        "no_root",
        _init_with(lambda n: 1 / (2 * n)),
        "You divide by 2 * n_layers itself; the variances of the terms add up, and the standard "
        "deviation is the root of the variance.",
        "only that deeper models start smaller",
    ),
    Mistake(
        "root_times_two",
        _init_with(lambda n: 1 / (2 * math.sqrt(n))),
        "You took the 2 out of the root as it is: the root of 2 * n_layers is not twice the root "
        "of n_layers.",
        "only that deeper models start smaller",
    ),
    Mistake(
        "upside_down",
        _init_with(lambda n: math.sqrt(2 * n)),
        "You multiply by the root of 2 * n_layers, so that a deep model starts larger still.",
        "matrices that add nothing to the residual stream",
    ),
    Mistake(
        "attention_alone",
        _init_with(on=(".out.",)),
        "You scale attention's last matrix only; `feed_forward.down` adds to the residual stream "
        "as well.",
        "names from the attention part",
    ),
    Mistake(
        "feed_forward_alone",
        _init_with(on=(".down.",)),
        "You scale `feed_forward.down` only; `attention.out` adds to the residual stream as well.",
        "names from the feed-forward part",
    ),
    Mistake(
        "any_name_with_out",
        _init_with(on=("out", "down")),
        "You scale every name that contains `out`, which `output_head.weight` does too; the head "
        "adds nothing to the residual stream.",
        "the names of a model with tied weights",
    ),
    Mistake(
        "by_layer_number",
        _init_by_layer,
        "You use the number in the name, so that each layer gets another start; what counts is how "
        "many layers there are in all.",
        "names from the last block",
    ),
    Mistake(
        "by_width",
        _init_by_width,
        "You use one over the root of the width, a rule of other networks; GPT-2 draws from 0.02 "
        "at every width.",
        "only that vectors are not drawn",
    ),
    Mistake(
        "vectors_too",
        _init_vectors_too,
        "You treat vectors like matrices; biases and gains are not drawn but set, so their "
        "standard deviation is 0.",
        "names of matrices",
    ),
    Mistake(
        "vectors_with_002",
        _init_vectors_drawn,
        "You give vectors 0.02; biases and gains are not drawn but set, so their standard "
        "deviation is 0.",
        "names of matrices",
    ),
    Mistake(
        "vectors_by_name",
        _init_vectors_by_name,
        "You tell vectors by `bias` or `norm` in their names, and miss gains with other names, "
        "such as `attention.query_gain`; ask the shape, which has one entry for a vector.",
        "the names of a model without query_gain",
    ),
    Mistake(
        "gains_one",
        _init_gains_one,
        "You return 1 for the gains: that is the value they are set to, all of them the same, so "
        "their standard deviation is 0.",
        "names of matrices and biases",
    ),
    Mistake(
        "variance",
        _init_variance,
        "You return the variance; the standard deviation is its root.",
        "only that vectors are not drawn",
    ),
    Mistake(
        "embedding_one",
        _init_embedding_one,
        "You draw the tables with standard deviation 1, torch's default for nn.Embedding; a tied "
        "head would then give enormous logits.",
        "names from the blocks",
    ),
)


def _init_sum_stays(answer) -> str | None:
    totals = []
    for L in (3, 27, 100):
        stds = [answer(f"blocks.{i}.attention.out.weight", (9, 9), L) for i in range(L)]
        stds += [answer(f"blocks.{i}.feed_forward.down.weight", (9, 36), L) for i in range(L)]
        totals.append(math.sqrt(sum(std**2 for std in stds)))
    if max(totals) - min(totals) < 1e-6:
        return None
    return (
        "Added up over all blocks, the contributions must spread as much in a deep model as in a "
        f"flat one; for 3 layers yours spread by {totals[0]:.4f}, for 100 by {totals[2]:.4f}."
    )


INIT_STD = Exercise(
    id="model.init_std",
    title="How each parameter starts",
    reference=init_std,
    cases=INIT_CASES,
    mistakes=INIT_MISTAKES,
    right=(_init_by_parts, _init_by_set),
    properties=(Property("the sum does not grow with the depth", _init_sum_stays),),
    hints=(
        "Three kinds of parameters, three answers. What tells a vector from a matrix, and what "
        "tells the two special matrices from the others?",
        "len(shape) is 1 for a vector. `name.endswith(...)` takes a tuple of endings. A block adds "
        "to the residual stream twice, so 2 * n_layers terms are added up.",
        "Return 0.0 for a vector; 0.02 / math.sqrt(2 * n_layers) when the name ends in "
        "attention.out.weight or feed_forward.down.weight; else 0.02.",
    ),
    solution=(
        "Each block adds two terms to the residual stream, one from attention and one from the "
        "feed-forward part: 2 * n_layers terms in all. Variances of independent terms add up, so a "
        "sum of n terms spreads √n times as far as one. Drawing the matrices that produce them "
        "√(2 * n_layers) times smaller cancels that. (Radford et al. 2019, section 2.3.)"
    ),
    checked="tables, heads, all parts of a block, biases and all gains, 1 to 48 layers",
    atol=1e-8,
)


# --- tied_gradient ---


def _tied_case(name: str, seed: int, B: int, T: int, V: int, C: int) -> Case:
    args = (
        token_ids(seed, V, B, T),
        normal(seed + 1, B, T, C),
        normal(seed + 2, B, T, C),
        normal(seed + 3, B, T, V),
    )
    return Case(name, args, sizes={"B": B, "T": T, "C": C, "V": V})


def _doubled(args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (args[0], *(t.double() for t in args[1:]))


TIED_CASES = (
    Case(
        "two tokens by hand, the same id twice",
        (
            torch.tensor([[1, 1]]),
            torch.tensor([[[1.0, 2.0], [10.0, 20.0]]]),
            torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]),
            torch.tensor([[[0.5, -0.5, 0.0], [0.25, 0.25, -0.5]]]),
        ),
    ),
    _tied_case("B=2, T=5, V=7, C=3", 80, 2, 5, 7, 3),
    _tied_case("many more tokens than the vocabulary has", 85, 4, 6, 3, 5),
    _tied_case("a vocabulary that is mostly unused", 90, 2, 3, 30, 4),
    _tied_case("B, T, V and C all 4", 95, 4, 4, 4, 4),
    _tied_case("one token", 100, 1, 1, 5, 3),
    Case(
        "every token the same",
        (torch.full((2, 4), 2), normal(105, 2, 4, 3), normal(106, 2, 4, 3), normal(107, 2, 4, 5)),
    ),
    Case("double precision", _doubled(_tied_case("", 110, 3, 4, 6, 5).args)),
    Case(
        "transposed inputs",
        (
            token_ids(115, 6, 5, 2).T,
            normal(116, 5, 2, 3).transpose(0, 1),
            normal(117, 5, 2, 3).transpose(0, 1),
            normal(118, 5, 2, 6).transpose(0, 1),
        ),
    ),
)


def _tied_by_one_hot(ids, grad_vectors, outputs, grad_logits):
    one_hot = F.one_hot(ids, grad_logits.shape[-1]).to(outputs.dtype)  # (B, T, V)
    both = one_hot.mT @ grad_vectors + grad_logits.mT @ outputs  # (B, V, C)
    return both.sum(dim=0)


def _tied_by_loop(ids, grad_vectors, outputs, grad_logits):
    V, C = grad_logits.shape[-1], outputs.shape[-1]
    gradient = torch.zeros(V, C, dtype=outputs.dtype)
    for b in range(ids.shape[0]):
        for t in range(ids.shape[1]):
            gradient[ids[b, t]] += grad_vectors[b, t]
            gradient += grad_logits[b, t][:, None] * outputs[b, t][None, :]
    return gradient


def _tied_by_autograd(ids, grad_vectors, outputs, grad_logits):
    shape = (grad_logits.shape[-1], outputs.shape[-1])
    table = torch.zeros(shape, dtype=outputs.dtype, requires_grad=True)
    total = (table[ids] * grad_vectors).sum() + ((outputs @ table.T) * grad_logits).sum()
    return torch.autograd.grad(total, table)[0]


def _tied_by_index_put(ids, grad_vectors, outputs, grad_logits):
    flat = grad_logits.reshape(-1, grad_logits.shape[-1])  # (B*T, V)
    gradient = flat.T @ outputs.reshape(-1, outputs.shape[-1])  # (V, C)
    return gradient.index_put((ids,), grad_vectors, accumulate=True)


def _head_part(outputs, grad_logits):
    return torch.einsum("btv,btc->vc", grad_logits, outputs)


def _look_up_part(ids, vectors, V):
    zeros = torch.zeros(V, vectors.shape[-1], dtype=vectors.dtype)
    return zeros.index_put((ids,), vectors, accumulate=True)


# Known mistakes.


def _tied_look_up_only(ids, grad_vectors, outputs, grad_logits):
    return _look_up_part(ids, grad_vectors, grad_logits.shape[-1])


def _tied_head_only(ids, grad_vectors, outputs, grad_logits):
    return _head_part(outputs, grad_logits)


def _tied_mean_of_both(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits) / 2


def _tied_difference(ids, grad_vectors, outputs, grad_logits):
    return _head_part(outputs, grad_logits) - _tied_look_up_only(
        ids, grad_vectors, outputs, grad_logits
    )


def _last_of_repeats(ids, vectors, V):
    """What `gradient[ids] += vectors` adds: one of each id's vectors, in torch the last."""
    rows = torch.zeros(V, vectors.shape[-1], dtype=vectors.dtype)
    for id, vector in zip(ids.flatten(), vectors.flatten(0, 1), strict=True):
        rows[id] = vector
    return rows


def _tied_repeats_lost(ids, grad_vectors, outputs, grad_logits):
    look_up = _last_of_repeats(ids, grad_vectors, grad_logits.shape[-1])
    return _head_part(outputs, grad_logits) + look_up


def _tied_rows_replaced(ids, grad_vectors, outputs, grad_logits):
    gradient = _head_part(outputs, grad_logits)
    for id, vector in zip(ids.flatten(), grad_vectors.flatten(0, 1), strict=True):
        gradient[id] = vector
    return gradient


def _tied_repeats_averaged(ids, grad_vectors, outputs, grad_logits):
    V = grad_logits.shape[-1]
    counts = torch.bincount(ids.flatten(), minlength=V).clamp(min=1)[:, None]
    return _head_part(outputs, grad_logits) + _look_up_part(ids, grad_vectors, V) / counts


def _tied_transposed(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits).T


def _tied_batch_kept(ids, grad_vectors, outputs, grad_logits):
    one_hot = F.one_hot(ids, grad_logits.shape[-1]).to(outputs.dtype)
    return one_hot.mT @ grad_vectors + grad_logits.mT @ outputs  # (B, V, C)


def _tied_mean_over_batch(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits) / ids.shape[0]


def _tied_mean_over_tokens(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids, grad_vectors, outputs, grad_logits) / ids.numel()


def _tied_outputs_in_look_up(ids, grad_vectors, outputs, grad_logits):
    V = grad_logits.shape[-1]
    return _head_part(outputs, grad_logits) + _look_up_part(ids, outputs, V)


def _tied_head_with_grad_vectors(ids, grad_vectors, outputs, grad_logits):
    V = grad_logits.shape[-1]
    return _head_part(grad_vectors, grad_logits) + _look_up_part(ids, grad_vectors, V)


def _tied_head_on_used_rows(ids, grad_vectors, outputs, grad_logits):
    own = grad_logits.gather(-1, ids[..., None])  # (B, T, 1)
    return _look_up_part(ids, grad_vectors + own * outputs, grad_logits.shape[-1])


def _tied_last_position(ids, grad_vectors, outputs, grad_logits):
    V = grad_logits.shape[-1]
    head = _head_part(outputs[:, -1:], grad_logits[:, -1:])
    return head + _look_up_part(ids, grad_vectors, V)


def _tied_first_item(ids, grad_vectors, outputs, grad_logits):
    return tied_gradient(ids[:1], grad_vectors[:1], outputs[:1], grad_logits[:1])


def _tied_in_float(ids, grad_vectors, outputs, grad_logits):
    gradient = torch.zeros(grad_logits.shape[-1], outputs.shape[-1])
    gradient += tied_gradient(ids, grad_vectors, outputs, grad_logits)
    return gradient


TIED_MISTAKES = (
    Mistake(
        "look_up_only",
        _tied_look_up_only,
        "You have the path through the look-up; the table is also the output head, and that path "
        "reaches every row.",
        "logits whose gradient is zero",
    ),
    Mistake(
        "head_only",
        _tied_head_only,
        "You have the path through the head; the table was also looked up, and that path adds to "
        "the rows of the tokens in the text.",
        "rows of tokens that are not in the text",
    ),
    Mistake(
        "mean_of_both",
        _tied_mean_of_both,
        "You take the mean of the two paths; gradients of several uses of one parameter add up.",
        "only the direction of the gradient",
    ),
    Mistake(
        "difference",
        _tied_difference,
        "You subtract one path from the other; gradients of several uses of one parameter add up.",
        "one path at a time",
    ),
    Mistake(
        "repeats_lost",
        _tied_repeats_lost,
        "A token that occurs several times counts only once: `g[ids] += v` writes each row a "
        "single time; `index_add_`, or `index_put_` with accumulate=True, adds every one.",
        "texts in which no token occurs twice",
    ),
    Mistake(
        "rows_replaced",
        _tied_rows_replaced,
        "`g[ids] = v` writes over what the head has left in those rows; the look-up's part has to "
        "be added.",
        "rows of tokens that are not in the text",
    ),
    Mistake(
        "repeats_averaged",
        _tied_repeats_averaged,
        "You average over the occurrences of a token; each occurrence adds its own gradient.",
        "texts in which no token occurs twice",
    ),
    Mistake(
        "transposed",
        _tied_transposed,
        "Your gradient is (C, V); it must have the shape of the table, (V, C).",
        "the sum of all entries, or V = C",
    ),
    Mistake(
        "batch_kept",
        _tied_batch_kept,
        "You keep the axis of the batch; there is one table for all texts, so sum over it.",
        "a single text, compared by broadcasting",
    ),
    Mistake(
        "mean_over_batch",
        _tied_mean_over_batch,
        "You divide by the number of texts; any mean is already in the gradients that you get, "
        "and here everything is summed.",
        "a single text",
    ),
    Mistake(
        "mean_over_tokens",
        _tied_mean_over_tokens,
        "You divide by the number of tokens; any mean is already in the gradients that you get, "
        "and here everything is summed.",
        "a single token",
    ),
    Mistake(
        "outputs_in_look_up",
        _tied_outputs_in_look_up,
        "You add the outputs themselves to the looked-up rows; what belongs there is the gradient "
        "of the looked-up vectors, grad_vectors.",
        "only the shape",
    ),
    Mistake(
        "grad_vectors_in_head",
        _tied_head_with_grad_vectors,
        "You multiply grad_logits by grad_vectors; logits = outputs @ table.T, so the table's "
        "gradient is made of grad_logits and outputs.",
        "only the shape",
    ),
    Mistake(
        "head_reaches_used_rows_only",
        _tied_head_on_used_rows,
        "Your head reaches only the rows of the tokens in the text; every logit has a gradient, so "
        "every row of the table gets one.",
        "rows of tokens that are in the text",
    ),
    Mistake(
        "last_position_only",
        _tied_last_position,
        "Your head uses the last position alone; there are logits, and gradients, at every one.",
        "a single token",
    ),
    Mistake(
        "first_text_only",
        _tied_first_item,
        "You use the first text of the batch alone.",
        "a batch of one",
    ),
    Mistake(
        "dtype_lost",
        _tied_in_float,
        "You collect in torch.zeros(V, C), which is 32-bit whatever comes in; pass "
        "dtype=outputs.dtype, or use zeros_like.",
        "32-bit inputs",
    ),
)


def _tied_equals_autograd(answer) -> str | None:
    table = normal(120, 6, 4).requires_grad_()
    ids, targets = token_ids(121, 6, 3, 5), token_ids(122, 6, 3, 5)
    vectors = table[ids]  # (B, T, C)
    vectors.retain_grad()
    outputs = torch.tanh(vectors.cumsum(dim=1))  # (B, T, C)
    logits = outputs @ table.T  # (B, T, V)
    logits.retain_grad()
    F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
    made = answer(ids, vectors.grad.clone(), outputs.detach().clone(), logits.grad.clone())
    return _first_difference(
        made, table.grad, "In a small model", "torch's backward() gives its table"
    )


TIED_GRADIENT = Exercise(
    id="model.tied_gradient",
    title="The gradient of a tied table",
    reference=tied_gradient,
    cases=TIED_CASES,
    mistakes=TIED_MISTAKES,
    right=(_tied_by_one_hot, _tied_by_loop, _tied_by_autograd, _tied_by_index_put),
    properties=(Property("it is the gradient that backward() gives", _tied_equals_autograd),),
    hints=(
        "The table is used twice: its rows are looked up, and the outputs are multiplied by it. "
        "Work out the gradient of each use alone, as if there were two tables, and add.",
        "Head: logits[b, t, v] is the dot product of outputs[b, t] with row v, so row v collects "
        "grad_logits[b, t, v] * outputs[b, t] over all b and t. Look-up: row ids[b, t] collects "
        "grad_vectors[b, t], once for every time the token occurs.",
        'torch.einsum("btv,btc->vc", grad_logits, outputs) is the head\'s part. Make zeros of the '
        "same shape, and let index_add_(0, ids.flatten(), grad_vectors.flatten(0, 1)) fill in the "
        "look-up's part.",
    ),
    solution=(
        "A parameter that is used in several places gets the sum of their gradients. The head "
        "touches every row, for every token has a logit; the look-up touches the rows of the "
        "tokens in the text, and a token that occurs three times three times. index_add_ adds "
        "repeats up, which g[ids] += v does not."
    ),
    checked="repeated and unused tokens, one token, sizes that differ and that agree, doubles",
    atol=1e-4,
)


# --- leaks_future: each case is a model. ---

_V = 4
"""Vocabulary of the models in the cases."""


def _one_hot(ids: torch.Tensor) -> torch.Tensor:
    return F.one_hot(ids, _V).float()  # (B, T, V)


def _reads_the_past(ids: torch.Tensor) -> torch.Tensor:
    """Causal: the tokens up to here, the later ones counting more."""
    return (_one_hot(ids) * torch.arange(1.0, ids.shape[1] + 1)[:, None]).cumsum(dim=1)


def _reads_itself(ids: torch.Tensor) -> torch.Tensor:
    return _one_hot(ids)


def _reads_the_one_before(ids: torch.Tensor) -> torch.Tensor:
    """Causal: each position knows the token before it and not even its own."""
    before = _one_hot(ids).roll(1, dims=1)
    before[:, 0] = 0
    return before


def _reads_nothing(ids: torch.Tensor) -> torch.Tensor:
    return torch.ones(*ids.shape, _V)


def _rounds_as_allowed(ids: torch.Tensor) -> torch.Tensor:
    """Causal but for 0.00004 in every logit, which depends on the last token."""
    return _reads_the_past(ids) + 4e-5 * (ids[:, -1:] == 2)[..., None]


def _rounds_otherwise(ids: torch.Tensor) -> torch.Tensor:
    """Causal but for the last digits, which depend on what else is computed."""
    noise = 1e-6 * ids.sum(dim=1, keepdim=True)[..., None]
    return _reads_the_past(ids) + noise


def _later(ids: torch.Tensor, by: int) -> torch.Tensor:
    """Return the one-hot token `by` places later; zeros where there is none."""
    later = _one_hot(ids).roll(-by, dims=1)
    later[:, ids.shape[1] - by :] = 0
    return later


def _sees_the_next(ids: torch.Tensor) -> torch.Tensor:
    return _reads_the_past(ids) + _later(ids, 1)


def _sees_three_ahead(ids: torch.Tensor) -> torch.Tensor:
    return _reads_the_past(ids) + _later(ids, 3)


def _sees_the_whole_text(ids: torch.Tensor) -> torch.Tensor:
    return _one_hot(ids) + _one_hot(ids).mean(dim=1, keepdim=True)


def _sees_the_last(ids: torch.Tensor) -> torch.Tensor:
    return _reads_the_past(ids) + _one_hot(ids)[:, -1:]


def _only_the_first_sees(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[:, 0] += _one_hot(ids)[:, 1]
    return logits


def _only_the_third_sees(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[:, 2] += _one_hot(ids)[:, 3]
    return logits


def _sees_later(ids: torch.Tensor, token: int) -> torch.Tensor:
    """Leaks how often one token comes later, and nothing of the others."""
    later = (ids == token).float().flip(1).cumsum(dim=1).flip(1)  # (B, T), from here on
    return _reads_the_past(ids) + later[..., None]


def _sees_token_0(ids: torch.Tensor) -> torch.Tensor:
    return _sees_later(ids, 0)


def _sees_token_2(ids: torch.Tensor) -> torch.Tensor:
    return _sees_later(ids, 2)


def _sees_token_3(ids: torch.Tensor) -> torch.Tensor:
    return _sees_later(ids, 3)


def _leaks_little(ids: torch.Tensor) -> torch.Tensor:
    return _reads_the_past(ids) + 0.002 * _later(ids, 1)


def _leaks_in_one_logit(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[..., -1] += (_later(ids, 1) * torch.arange(1.0, _V + 1)).sum(dim=-1)
    return logits


def _leaks_in_the_first_logit(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[..., 0] += (_later(ids, 1) * torch.arange(1.0, _V + 1)).sum(dim=-1)
    return logits


def _leaks_a_trace(ids: torch.Tensor) -> torch.Tensor:
    """Leaks 0.0002, in one logit of one position."""
    logits = _reads_the_past(ids)
    logits[:, 0, 1] += 2e-4 * _one_hot(ids)[:, 3, 2]
    return logits


def _leaks_in_the_first_text(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[0] += _later(ids, 1)[0]
    return logits


def _leaks_in_the_second_text(ids: torch.Tensor) -> torch.Tensor:
    logits = _reads_the_past(ids)
    logits[1] += _later(ids, 1)[1]
    return logits


def _pushed_down(ids: torch.Tensor) -> torch.Tensor:
    """Leaks by lowering all logits before a token other than 0."""
    later = (ids > 0).float().flip(1).cumsum(dim=1).flip(1) - (ids > 0).float()
    return _reads_the_past(ids) - later[..., None]


def _pushed_up(ids: torch.Tensor) -> torch.Tensor:
    later = (ids > 0).float().flip(1).cumsum(dim=1).flip(1) - (ids > 0).float()
    return _reads_the_past(ids) + later[..., None]


@cache
def _tiny_gpt() -> GPT:
    config = GPTConfig(vocab_size=_V, context_length=4, d_model=8, n_layers=1, n_heads=2)
    model = GPT(config, torch.Generator().manual_seed(3)).eval()
    with torch.no_grad():
        for n, parameter in enumerate(model.parameters()):
            parameter.add_(0.4 * normal(300 + n, *parameter.shape))
    return model


@torch.no_grad()
def _a_gpt(ids: torch.Tensor) -> torch.Tensor:
    return _tiny_gpt()(ids)[0]


def _a_gpt_read_backwards(ids: torch.Tensor) -> torch.Tensor:
    return _a_gpt(ids.flip(1)).flip(1)


_SOME_IDS = torch.tensor([[0, 2, 1, 1, 3], [2, 0, 0, 3, 1]])
_ZEROS = torch.zeros(2, 4, dtype=torch.long)

LEAK_CASES = (
    Case("a model that sees one token ahead", (_sees_the_next, _SOME_IDS, _V)),
    Case("a model that reads what came before", (_reads_the_past, _SOME_IDS, _V)),
    Case("a model that reads its own token alone", (_reads_itself, _SOME_IDS, _V)),
    Case("a model that reads the token before", (_reads_the_one_before, _SOME_IDS, _V)),
    Case("a model that reads nothing", (_reads_nothing, _SOME_IDS, _V)),
    Case("a causal model with rounding noise", (_rounds_otherwise, _SOME_IDS, _V)),
    Case("a causal model with more of it, 0.00004", (_rounds_as_allowed, _SOME_IDS, _V)),
    Case("the same model on two tokens", (_rounds_as_allowed, _SOME_IDS[:1, :2], _V)),
    Case("a model that sees three tokens ahead", (_sees_three_ahead, _SOME_IDS, _V)),
    Case("a model that takes the mean over the text", (_sees_the_whole_text, _SOME_IDS, _V)),
    Case("a model that sees the last token", (_sees_the_last, _SOME_IDS, _V)),
    Case("a model whose first position sees the second", (_only_the_first_sees, _SOME_IDS, _V)),
    Case("a model whose third position sees the fourth", (_only_the_third_sees, _SOME_IDS, _V)),
    Case("a model that leaks the last token of the vocabulary", (_sees_token_3, _ZEROS, _V)),
    Case("a model that leaks the last but one", (_sees_token_2, _ZEROS, _V)),
    Case("a model that leaks the token 0", (_sees_token_0, torch.full((2, 4), 3), _V)),
    Case("a model that leaks 0.0002 in a single logit", (_leaks_a_trace, _SOME_IDS, _V)),
    Case("a model that leaks a little, 0.002", (_leaks_little, _SOME_IDS, _V)),
    Case("a model that leaks in the last logit alone", (_leaks_in_one_logit, _SOME_IDS, _V)),
    Case("a model that leaks in the first logit alone", (_leaks_in_the_first_logit, _SOME_IDS, _V)),
    Case("a model that leaks in the first text", (_leaks_in_the_first_text, _SOME_IDS, _V)),
    Case("a model that leaks in the second text", (_leaks_in_the_second_text, _SOME_IDS, _V)),
    Case("a leak that lowers logits, all ids 0", (_pushed_down, _ZEROS, _V)),
    Case("a leak that raises logits, all ids 0", (_pushed_up, _ZEROS, _V)),
    Case("one token, which has nothing before it", (_sees_the_whole_text, _SOME_IDS[:, :1], _V)),
    Case("two tokens, of which the first sees the second", (_sees_the_next, _SOME_IDS[:, :2], _V)),
    Case("a GPT", (_a_gpt, _SOME_IDS[:1, :4], _V)),
    Case("a GPT that reads backwards", (_a_gpt_read_backwards, _SOME_IDS[:1, :4], _V)),
)


def _with_token(model, ids, t, other):
    """Return the logits (B, T, V) when the token at t is `other`."""
    changed = ids.clone()
    changed[:, t] = other
    return model(changed)


def _each_change(ids, vocab_size):
    return [(t, other) for t in range(ids.shape[1]) for other in range(vocab_size)]


def _leaks_by_rest(model, ids, vocab_size):
    """Right: change everything from t on, to every token."""
    before, T = model(ids), ids.shape[1]
    for other in range(vocab_size):
        for t in range(1, T):
            changed = torch.cat((ids[:, :t], torch.full_like(ids[:, t:], other)), dim=1)
            if not torch.allclose(model(changed)[:, :t], before[:, :t], rtol=0, atol=1e-4):
                return True
    return False


def _leaks_by_stacking(model, ids, vocab_size):
    """Right: all the texts that differ at one position, made at once."""
    worst = 0.0
    for t in range(1, ids.shape[1]):
        changed = ids.repeat(vocab_size, 1, 1)  # (V, B, T)
        changed[:, :, t] = torch.arange(vocab_size)[:, None]
        for variant in changed:
            worst = max(worst, float((model(variant) - model(ids))[:, :t].abs().amax()))
    return worst > 1e-4


def _leaks_by_any(model, ids, vocab_size):
    """Right: the last position first, one comparison for each."""
    before, T = model(ids), ids.shape[1]

    def with_token(t, other):
        return ids.index_fill(1, torch.tensor([t]), other)

    return any(
        bool(((model(with_token(t, other)) - before)[:, :t].abs() > 1e-4).any())
        for t in range(T - 1, 0, -1)
        for other in range(vocab_size)
    )


def _leaks_where(
    places=lambda T: range(T),
    others=lambda ids, t, V: range(V),
    moved=lambda difference, t: difference[:, :t].abs(),
    limit=LARGEST_ROUNDING,
):
    """Return the test with one part changed."""

    def answer(model, ids, vocab_size):
        before = model(ids)
        for t in places(ids.shape[1]):
            for other in others(ids, t, vocab_size):
                part = moved(_with_token(model, ids, t, other) - before, t)
                if part.numel() and part.max().item() > limit:
                    return True
        return False

    return answer


def _leaks_inverted(model, ids, vocab_size):
    return not leaks_future(model, ids, vocab_size)


def _leaks_exact(model, ids, vocab_size):
    before = model(ids)
    return any(
        not torch.equal(_with_token(model, ids, t, other)[:, :t], before[:, :t])
        for t, other in _each_change(ids, vocab_size)
    )


def _leaks_by_argmax(model, ids, vocab_size):
    before = model(ids).argmax(dim=-1)
    return any(
        not torch.equal(_with_token(model, ids, t, other).argmax(dim=-1)[:, :t], before[:, :t])
        for t, other in _each_change(ids, vocab_size)
    )


def _leaks_by_sum(model, ids, vocab_size):
    before = model(ids)
    return any(
        abs((_with_token(model, ids, t, other) - before)[:, :t].sum().item()) > LARGEST_ROUNDING
        for t, other in _each_change(ids, vocab_size)
    )


def _leaks_in_the_last_text_only(model, ids, vocab_size):
    before = model(ids)
    for t, other in _each_change(ids, vocab_size):
        changed = ids.clone()
        changed[-1, t] = other
        moved = (model(changed) - before)[:, :t].abs()
        if t and moved.max().item() > LARGEST_ROUNDING:
            return True
    return False


def _leaks_changing_ids(model, ids, vocab_size):
    before = model(ids)
    for t in range(1, ids.shape[1]):
        for other in range(vocab_size):
            ids[:, t] = other
            if (model(ids) - before)[:, :t].abs().max().item() > LARGEST_ROUNDING:
                return True
    return False


def _leaks_compared_with_itself(model, ids, vocab_size):
    return False


def _leaks_first_verdict(model, ids, vocab_size):
    """The `return` for a clean model stands inside the loop."""
    if ids.shape[1] == 1:
        return False
    moved = _with_token(model, ids, 1, (ids[:, 1] + 1) % vocab_size) - model(ids)
    return bool(moved[:, :1].abs().max() > LARGEST_ROUNDING)


LEAK_MISTAKES = (
    Mistake(
        "inverted",
        _leaks_inverted,
        "Your answers are upside down: True means that the model leaks.",
        "none; every model shows it",
    ),
    Mistake(
        "last_token_only",
        _leaks_where(places=lambda T: [T - 1] if T > 1 else []),
        "You change the last token alone, so a leak between earlier tokens goes unseen; every "
        "position has to be changed.",
        "a model that sees the last token, or the next one",
    ),
    Mistake(
        "second_token_only",
        _leaks_where(places=lambda T: [1] if T > 1 else []),
        "You change one early token alone, so leaks further back go unseen. Does a `return` inside "
        "your loop end it too soon? Every position has to be changed.",
        "a model that sees the next token",
    ),
    Mistake(
        "first_verdict",
        _leaks_first_verdict,
        "Your loop ends with its first change: `return False` belongs after the loop, when nothing "
        "has been found anywhere.",
        "a model that sees the next token",
    ),
    Mistake(
        "never_sees_a_leak",
        _leaks_compared_with_itself,
        "You never find a leak: either both logits that you compare were computed from the changed "
        "ids, or you change only the first token, which has nothing before it.",
        "causal models",
    ),
    Mistake(
        "changed_position_included",
        _leaks_where(moved=lambda difference, t: difference[:, : t + 1].abs()),
        "You look at the changed position itself, whose logits may move: it reads its own token; "
        "only positions before it must stand still.",
        "leaky models",
    ),
    Mistake(
        "all_positions",
        _leaks_where(moved=lambda difference, t: difference.abs()),
        "You look at every position; those from the changed one on may move, only those before it "
        "must stand still.",
        "leaky models",
    ),
    Mistake(
        "later_positions",
        _leaks_where(moved=lambda difference, t: difference[:, t + 1 :].abs()),
        "You look at the positions after the changed token, which are meant to move; the future "
        "leaks when one before it does.",
        "leaky models that also read the past",
    ),
    Mistake(
        "neighbour_only",
        _leaks_where(moved=lambda difference, t: difference[:, t - 1 : t].abs()),
        "You look only at the position just before the changed token; a leak may reach further.",
        "a model that sees the next token",
    ),
    Mistake(
        "first_position_only",
        _leaks_where(moved=lambda difference, t: difference[:, : min(t, 1)].abs()),
        "You look only at the first position; a leak may spare it.",
        "a model that sees the next token",
    ),
    Mistake(
        "to_zero_only",
        _leaks_where(others=lambda ids, t, V: [0]),
        "You change tokens to 0 alone, which is no change where a 0 stands already; try every "
        "token of the vocabulary.",
        "texts without the id 0",
    ),
    Mistake(
        "one_other_token",
        _leaks_where(others=lambda ids, t, V: [(ids[:, t] + 1) % V]),
        "You try a single other token at each position, and a leak may depend on which; try every "
        "token of the vocabulary.",
        "models whose leak shows for every token",
    ),
    Mistake(
        "last_id_left_out",
        _leaks_where(others=lambda ids, t, V: range(V - 1)),
        "You leave out the last token of the vocabulary: ids run from 0 to vocab_size - 1, which "
        "`range(vocab_size)` gives.",
        "models whose leak shows for every token",
    ),
    Mistake(
        "exact_comparison",
        _leaks_exact,
        "You ask for equality to the last digit, so rounding counts as a leak; let logits differ "
        "by 1e-4.",
        "models whose numbers are round",
    ),
    Mistake(
        "lax_comparison",
        _leaks_where(limit=0.01),
        "You overlook a small leak; training finds any it can use, so only rounding, up to 1e-4, "
        "may be forgiven.",
        "models that leak a lot",
    ),
    Mistake(
        "argmax_only",
        _leaks_by_argmax,
        "You compare only which token is the likeliest; a leak can move logits without changing "
        "their order.",
        "models that leak a lot",
    ),
    Mistake(
        "no_abs_up",
        _leaks_where(moved=lambda difference, t: difference[:, :t]),
        "You look for logits that rise; a leak may lower them just as well, so take the absolute "
        "difference.",
        "leaks that raise some logits and lower others",
    ),
    Mistake(
        "no_abs_down",
        _leaks_where(moved=lambda difference, t: -difference[:, :t]),
        "You look for logits that fall; a leak may raise them just as well, so take the absolute "
        "difference.",
        "leaks that raise some logits and lower others",
    ),
    Mistake(
        "sum_of_differences",
        _leaks_by_sum,
        "You add the differences up before you look at them, and rises and falls cancel; take the "
        "largest absolute difference.",
        "leaks that move all logits the same way",
    ),
    Mistake(
        "mean_of_differences",
        _leaks_where(moved=lambda difference, t: difference[:, :t].abs().mean()),
        "You average the differences, so a leak in one logit is lost among many that stand still; "
        "take the largest.",
        "models that leak a lot",
    ),
    Mistake(
        "norm_of_differences",
        _leaks_where(moved=lambda difference, t: difference[:, :t].norm()),
        "You take the norm of all differences, in which the rounding of many logits adds up to "
        "more than 1e-4; take the largest absolute difference.",
        "causal models whose numbers are round",
    ),
    Mistake(
        "tolerance_too_small",
        _leaks_where(limit=1e-5),
        "Your tolerance is below 1e-4, so what we agreed to call rounding counts as a leak.",
        "causal models whose numbers are round",
    ),
    Mistake(
        "zero_left_out",
        _leaks_where(others=lambda ids, t, V: range(1, V)),
        "You never put the id 0 in; ids run from 0 to vocab_size - 1, which `range(vocab_size)` "
        "gives.",
        "models whose leak shows for every token",
    ),
    Mistake(
        "last_logit_only",
        _leaks_where(moved=lambda difference, t: difference[:, :t, -1].abs()),
        "You look at one logit of each position; a leak may move any of the V.",
        "models whose leak moves all logits",
    ),
    Mistake(
        "last_text_changed_only",
        _leaks_in_the_last_text_only,
        "You change the token in the last text of the batch alone, `changed[-1, t]`; write "
        "`changed[:, t]`, for the other texts may leak too.",
        "a batch of one",
    ),
    Mistake(
        "first_text_only",
        _leaks_where(moved=lambda difference, t: difference[:1, :t].abs()),
        "You look at the first text of the batch alone.",
        "a batch of one",
    ),
    Mistake(
        "changes_ids_in_place",
        _leaks_changing_ids,
        "You write into the ids that you were given, so the caller's text is spoilt; change a "
        "`.clone()`.",
        "comparing the answer without looking at ids afterwards",
    ),
)


def _leak_anywhere(answer) -> str | None:
    """Every pair of positions, in a longer text: s sees t."""
    T = 7
    ids = token_ids(140, _V, 1, T)
    for s in range(T):
        for t in range(s + 1, T):

            def model(ids, s=s, t=t):
                logits = _reads_the_past(ids)
                logits[:, s] += _one_hot(ids)[:, t]
                return logits

            if not answer(model, ids.clone(), _V):
                return (
                    f"In a text of {T} tokens I let position {s} see the token at {t}, and your "
                    "test did not notice."
                )
    return None


def _leak_of_any_token(answer) -> str | None:
    for V in (2, 7):
        ids = torch.zeros(1, 4, dtype=torch.long)
        for token in range(1, V):

            def model(ids, token=token, V=V):
                seen = (ids[:, -1:] == token).float()[..., None]  # (B, 1, 1)
                return F.one_hot(ids, V).float() + seen

            if not answer(model, ids.clone(), V):
                return (
                    f"With a vocabulary of {V} I let a model leak the token {token} and no other, "
                    "and your test did not notice."
                )
    return None


LEAKS_FUTURE = Exercise(
    id="model.leaks_future",
    title="A test for leaks",
    reference=leaks_future,
    cases=LEAK_CASES,
    mistakes=LEAK_MISTAKES,
    right=(_leaks_by_rest, _leaks_by_stacking, _leaks_by_any),
    properties=(
        Property("a leak between any two positions is found", _leak_anywhere),
        Property("a leak of any token is found", _leak_of_any_token),
    ),
    hints=(
        "You cannot look inside the model; you can only change what goes in and watch what comes "
        "out. What must stand still when the token at position t changes?",
        "Two loops: over the positions t, and over the ids that could stand there. For each, "
        "change a clone of ids, run the model again, and compare the logits before position t, "
        "`[:, :t]`, with those of the unchanged text.",
        "before = model(ids) once. In the loops: changed = ids.clone(); changed[:, t] = other; "
        "return True as soon as (model(changed) - before)[:, :t].abs().max() > 1e-4. After the "
        "loops, return False. Position 0 has nothing before it: start at 1.",
    ),
    solution=(
        "A causal model's logits at a position depend on the tokens up to it, so nothing that "
        "comes later may move them. Trying every id at every position leaves no leak out for this "
        "text; the absolute difference catches rises and falls, and the small tolerance forgives "
        "rounding and nothing else."
    ),
    checked="28 models, causal and leaky, and a leak between every two positions of a text",
    time_limit=20.0,
)


# --- parameter_count ---

COUNT_CASES = (
    Case("small sizes, tied", (7, 5, 4, 3, 10, True)),
    Case("small sizes, untied", (7, 5, 4, 3, 10, False)),
    Case("one layer, untied", (11, 6, 3, 1, 5, False)),
    Case("d_ff is 4·d_model", (13, 8, 6, 2, 24, True)),
    Case("all sizes 1", (1, 1, 1, 1, 1, True)),
    Case("a context longer than the vocabulary", (9, 50, 8, 4, 20, True)),
    Case("GPT-2 small", (50257, 1024, 768, 12, 3072, True)),
    Case("GPT-2 XL", (50257, 1024, 1600, 48, 6400, True)),
    Case("GPT-3, untied", (50257, 2048, 12288, 96, 49152, False)),
)


def _count_by_shapes(vocab_size, context_length, d_model, n_layers, d_ff, tied):
    block = [(d_model, d_model), (d_model,)] * 4
    block += [(d_ff, d_model), (d_ff,), (d_model, d_ff), (d_model,)]
    block += [(d_model,)] * 4
    shapes = block * n_layers + [(d_model,), (d_model,), (context_length, d_model)]
    shapes += [(vocab_size, d_model)] * (1 if tied else 2)
    return sum(math.prod(shape) for shape in shapes)


def _count_in_one_line(vocab_size, context_length, d_model, n_layers, d_ff, tied):
    C, F_ = d_model, d_ff
    tables = (2 - tied) * vocab_size + context_length
    return tables * C + n_layers * (4 * C**2 + 9 * C + 2 * C * F_ + F_) + 2 * C


def _count_part_by_part(vocab_size, context_length, d_model, n_layers, d_ff, tied):
    def linear(n_in, n_out):
        return (n_in + 1) * n_out

    total = vocab_size * d_model
    total += context_length * d_model
    for _ in range(n_layers):
        total += sum(linear(d_model, d_model) for _ in ("query", "key", "value", "out"))
        total += linear(d_model, d_ff) + linear(d_ff, d_model)
        total += 2 * (d_model + d_model)
    total += d_model + d_model
    if not tied:
        total += vocab_size * d_model
    return total


def _count_with(change):
    """Return the count with `change(V, T, C, L, F, tied)` added to it."""

    def answer(vocab_size, context_length, d_model, n_layers, d_ff, tied):
        sizes = (vocab_size, context_length, d_model, n_layers, d_ff)
        return parameter_count(*sizes, tied) + change(*sizes, tied)

    return answer


COUNT_MISTAKES = (
    Mistake(
        "always_untied",
        _count_with(lambda V, T, C, L, F_, tied: V * C if tied else 0),
        "You count an output head of its own even when it is tied; the tied head is the token "
        "table, which counts once.",
        "untied models",
    ),
    Mistake(
        "always_tied",
        _count_with(lambda V, T, C, L, F_, tied: 0 if tied else -V * C),
        "You leave the output head out even when it is not tied.",
        "tied models",
    ),
    Mistake(
        "tied_upside_down",
        _count_with(lambda V, T, C, L, F_, tied: V * C if tied else -V * C),
        "You count the output head when it is tied and leave it out when it is not.",
        "none; every model shows it",
    ),
    Mistake(
        "head_with_bias",
        _count_with(lambda V, T, C, L, F_, tied: V),
        "You give the output head a bias; it has none in GPT-2.",
        "an estimate to three digits",
    ),
    Mistake(
        "no_positions",
        _count_with(lambda V, T, C, L, F_, tied: -T * C),
        "You left out the table of positions, one row for each place in the context.",
        "models with rotary positions",
    ),
    Mistake(
        "positions_of_vocabulary",
        _count_with(lambda V, T, C, L, F_, tied: (V - T) * C),
        "Your table of positions has a row for each token of the vocabulary; it has one for each "
        "place in the context.",
        "a context as long as the vocabulary is large",
    ),
    Mistake(
        "no_final_norm",
        _count_with(lambda V, T, C, L, F_, tied: -2 * C),
        "You left out the final norm, which has a gain and a shift for each channel.",
        "an estimate to three digits",
    ),
    Mistake(
        "final_norm_in_each_block",
        _count_with(lambda V, T, C, L, F_, tied: 2 * C * (L - 1)),
        "You count the final norm once for each block; there is one, after the last.",
        "a single layer",
    ),
    Mistake(
        "one_norm_a_block",
        _count_with(lambda V, T, C, L, F_, tied: -2 * C * L),
        "You count one norm in each block; there are two, before attention and before the "
        "feed-forward part.",
        "an estimate to three digits",
    ),
    Mistake(
        "no_norms",
        _count_with(lambda V, T, C, L, F_, tied: -2 * C * (2 * L + 1)),
        "You left out the norms: each has a gain and a shift for each channel.",
        "an estimate to three digits",
    ),
    Mistake(
        "norms_without_shift",
        _count_with(lambda V, T, C, L, F_, tied: -C * (2 * L + 1)),
        "You count only the gains of the norms; LayerNorm has a shift for each channel too.",
        "models with RMSNorm",
    ),
    Mistake(
        "no_biases",
        _count_with(lambda V, T, C, L, F_, tied: -L * (5 * C + F_)),
        "You left out the biases of the six linear layers in a block, one for each output.",
        "models without biases",
    ),
    Mistake(
        "matrices_alone",
        _count_with(lambda V, T, C, L, F_, tied: -L * (9 * C + F_) - 2 * C),
        "You count the matrices alone; biases, gains and shifts are parameters too.",
        "an estimate to three digits",
    ),
    Mistake(
        "four_widths_short",
        _count_with(lambda V, T, C, L, F_, tied: -4 * C * L),
        "You left out 4·C numbers in each block: the biases of query, key, value and out, or the "
        "gains and shifts of its two norms.",
        "models without biases",
    ),
    Mistake(
        "no_feed_forward_biases",
        _count_with(lambda V, T, C, L, F_, tied: -L * (C + F_)),
        "You left out the biases of the feed-forward part: d_ff for up, d_model for down.",
        "models without biases",
    ),
    Mistake(
        "equal_feed_forward_biases",
        _count_with(lambda V, T, C, L, F_, tied: L * (F_ - C)),
        "Both biases of your feed-forward part have d_ff numbers; a bias has one for each output, "
        "and down has d_model outputs.",
        "d_ff = d_model",
    ),
    Mistake(
        "no_out_projection",
        _count_with(lambda V, T, C, L, F_, tied: -L * (C * C + C)),
        "You count three linear layers in attention; the fourth, out, mixes the heads.",
        "an estimate by eye",
    ),
    Mistake(
        "no_out_matrix",
        _count_with(lambda V, T, C, L, F_, tied: -L * C * C),
        "You count three matrices in attention; the fourth, out, mixes the heads.",
        "an estimate by eye",
    ),
    Mistake(
        "one_feed_forward_matrix",
        _count_with(lambda V, T, C, L, F_, tied: -L * C * F_),
        "You count one matrix in the feed-forward part; there are two, up and down.",
        "an estimate by eye",
    ),
    Mistake(
        "d_ff_is_four_times",
        lambda V, T, C, L, F_, tied: parameter_count(V, T, C, L, 4 * C, tied),
        "You take 4·d_model for the hidden width, whatever d_ff says.",
        "d_ff = 4·d_model",
    ),
    Mistake(
        "everything_in_each_layer",
        lambda V, T, C, L, F_, tied: L * parameter_count(V, T, C, 1, F_, tied),
        "You multiply everything by n_layers; the tables and the final norm are there once.",
        "a single layer",
    ),
    Mistake(
        "one_layer_alone",
        lambda V, T, C, L, F_, tied: parameter_count(V, T, C, 1, F_, tied),
        "You count one block; there are n_layers of them.",
        "a single layer",
    ),
)

PARAMETER_COUNT = Exercise(
    id="model.parameter_count",
    title="Count the parameters",
    reference=parameter_count,
    cases=COUNT_CASES,
    mistakes=COUNT_MISTAKES,
    right=(_count_by_shapes, _count_in_one_line, _count_part_by_part),
    hints=(
        "Go through the table above, row by row. Which rows are there once, and which once for "
        "each layer?",
        "A linear layer from n to m numbers has n·m weights and m biases; a norm has 2·C. One "
        "block: four layers from C to C, one from C to d_ff, one back, two norms.",
        "block = 4 * (C * C + C) + (C * F + F) + (F * C + C) + 2 * 2 * C, with C = d_model and "
        "F = d_ff. Outside the blocks: vocab_size * C, context_length * C, the final norm's 2 * C, "
        "and vocab_size * C once more unless tied.",
    ),
    solution=(
        "Everything in a block is there n_layers times: four (C, C) matrices with biases, up and "
        "down with biases, and two norms with gain and shift, 4·C² + 2·C·F + 9·C + F in all. The "
        "two tables and the final norm are there once. An untied head is one more table without a "
        "bias."
    ),
    checked="tied and untied, one layer to 96, every bias and gain, GPT-2 to the last parameter",
)


# --- flop_count ---

FLOP_CASES = (
    Case("small sizes", (7, 5, 4, 3, 10)),
    Case("one layer", (11, 6, 3, 1, 5)),
    Case("d_ff is 4·d_model", (13, 8, 6, 2, 24)),
    Case("a long context", (9, 500, 8, 4, 20)),
    Case("a large vocabulary", (5000, 10, 8, 2, 12)),
    Case("all sizes 1", (1, 1, 1, 1, 1)),
    Case("GPT-2 small", (50257, 1024, 768, 12, 3072)),
    Case("GPT-3", (50257, 2048, 12288, 96, 49152)),
)


def _flops_by_products(vocab_size, context_length, d_model, n_layers, d_ff):
    C, T = d_model, context_length
    shapes = [(C, C)] * 4 + [(C, T), (T, C)] + [(C, d_ff), (d_ff, C)]
    shapes = shapes * n_layers + [(C, vocab_size)]
    forward = sum(2 * n * m for n, m in shapes)
    return forward, forward + forward


def _flops_in_one_line(vocab_size, context_length, d_model, n_layers, d_ff):
    inner = 2 * d_model + context_length + d_ff
    forward = 2 * d_model * (2 * n_layers * inner + vocab_size)
    return [forward, 2 * forward]


def _flops_with(change=lambda V, T, C, L, F_: 0, backward=lambda forward: 2 * forward):
    """Return the count with `change` added to the forward part, or another backward part."""

    def answer(vocab_size, context_length, d_model, n_layers, d_ff):
        sizes = (vocab_size, context_length, d_model, n_layers, d_ff)
        forward = flop_count(*sizes)[0] + change(*sizes)
        return forward, backward(forward)

    return answer


def _flops_backward_first(vocab_size, context_length, d_model, n_layers, d_ff):
    return flop_count(vocab_size, context_length, d_model, n_layers, d_ff)[::-1]


def _flops_halved(vocab_size, context_length, d_model, n_layers, d_ff):
    forward, backward = flop_count(vocab_size, context_length, d_model, n_layers, d_ff)
    return forward // 2, backward // 2


FLOP_MISTAKES = (
    Mistake(
        "no_scores",
        _flops_with(lambda V, T, C, L, F_: -4 * L * T * C),
        "You left out what attention does with the T keys: a dot product with each, and the mixing "
        "of the values.",
        "a context that is short beside d_model",
    ),
    Mistake(
        "half_of_attention",
        _flops_with(lambda V, T, C, L, F_: -2 * L * T * C),
        "You count half of what attention does with the T keys: there are two products, the scores "
        "and the mixing of the values, and here each counts all T keys, as torch's counter does, "
        "although a causal kernel may skip the later half.",
        "a context that is short beside d_model",
    ),
    Mistake(
        "scores_of_all_queries",
        _flops_with(lambda V, T, C, L, F_: 4 * L * T * C * (T - 1)),
        "You count the scores of all T queries; the figure is for one token, which asks once.",
        "a context of one token",
    ),
    Mistake(
        "no_head",
        _flops_with(lambda V, T, C, L, F_: -2 * C * V),
        "You left out the output head, 2·C·V: for a small model it is the largest part.",
        "a small vocabulary",
    ),
    Mistake(
        "head_in_each_layer",
        _flops_with(lambda V, T, C, L, F_: 2 * C * V * (L - 1)),
        "You count the output head in every layer (is everything multiplied by n_layers?); it "
        "stands once, at the end.",
        "a single layer",
    ),
    Mistake(
        "look_up_counted",
        _flops_with(lambda V, T, C, L, F_: 2 * C * V),
        "You count the look-up of a token as a product with the table; it reads one row and "
        "multiplies nothing.",
        "a small vocabulary",
    ),
    Mistake(
        "no_out_projection",
        _flops_with(lambda V, T, C, L, F_: -2 * L * C * C),
        "You count three projections in attention; the fourth, out, mixes the heads.",
        "an estimate by eye",
    ),
    Mistake(
        "one_feed_forward_matrix",
        _flops_with(lambda V, T, C, L, F_: -2 * L * C * F_),
        "You count one matrix in the feed-forward part; there are two, up and down.",
        "an estimate by eye",
    ),
    Mistake(
        "d_ff_is_four_times",
        lambda V, T, C, L, F_: flop_count(V, T, C, L, 4 * C),
        "You take 4·d_model for the hidden width, whatever d_ff says.",
        "d_ff = 4·d_model",
    ),
    Mistake(
        "biases_counted",
        _flops_with(lambda V, T, C, L, F_: L * (5 * C + F_)),
        "You add the biases' additions; we count the products alone, beside which they vanish.",
        "an estimate to three digits",
    ),
    Mistake(
        "one_layer_alone",
        lambda V, T, C, L, F_: flop_count(V, T, C, 1, F_),
        "You count one block; there are n_layers of them.",
        "a single layer",
    ),
    Mistake(
        "whole_text",
        lambda V, T, C, L, F_: tuple(T * flops for flops in flop_count(V, T, C, L, F_)),
        "You count a whole text of T tokens; the figure is for one token.",
        "a context of one token",
    ),
    Mistake(
        "backward_like_forward",
        _flops_with(backward=lambda forward: forward),
        "Your backward pass does as much as the forward pass; each product needs two on the way "
        "back, one for each of its factors.",
        "the forward pass alone",
    ),
    Mistake(
        "backward_holds_both",
        _flops_with(backward=lambda forward: 3 * forward),
        "Your second number is that of both passes together; the backward pass alone does twice "
        "the work of the forward pass.",
        "the forward pass alone",
    ),
    Mistake(
        "backward_half",
        _flops_with(backward=lambda forward: forward // 2),
        "Your backward pass does half the work of the forward pass; it does twice as much.",
        "the forward pass alone",
    ),
)

FLOP_CONVENTIONS = (
    Mistake(
        "multiply_adds",
        _flops_halved,
        "You count a multiplication and its addition as one operation (a multiply-add, MAC); a "
        "FLOP is one of the two, so each product of an (n, m) matrix takes 2·n·m.",
        "comparing models with each other",
    ),
    Mistake(
        "backward_first",
        _flops_backward_first,
        "You return the backward pass first; here the order is forward, backward.",
        "adding both up",
    ),
)

FLOP_COUNT = Exercise(
    id="model.flop_count",
    title="Count the operations",
    reference=flop_count,
    cases=FLOP_CASES,
    mistakes=FLOP_MISTAKES,
    conventions=FLOP_CONVENTIONS,
    right=(_flops_by_products, _flops_in_one_line),
    hints=(
        "List every product of a vector with a matrix that one token goes through, from the "
        "queries to the logits. Which of them are there once for each layer?",
        "An (n, m) matrix costs 2·n·m. In a layer: four of (C, C), one of (C, T) for the scores, "
        "one of (T, C) for the mixing, one of (C, F), one of (F, C). At the end one of (C, V).",
        "layer = 2 * 4 * C * C + 2 * 2 * T * C + 2 * 2 * C * F; forward = n_layers * layer + "
        "2 * C * V. The backward pass has two products for each of these.",
    ),
    solution=(
        "Only products count: four projections, the scores, the mixing, up and down in each layer, "
        "and the output head once. The look-up multiplies nothing. On the way back each product "
        "y = x·W becomes two, one for the gradient of x and one for that of W: backward is twice "
        "forward, and training three times forward. (Kaplan et al. 2020, section 2.1.)"
    ),
    checked="one layer to 96, long contexts, large vocabularies, GPT-2 and GPT-3",
)


# --- largest_batch ---

_GB = 10**9

BATCH_CASES = (
    Case("round numbers", (1000, 10, 5, 4, 2)),
    Case("32-bit floats", (5000, 20, 6, 7, 4)),
    Case("an exact fit", (4 * 10 * 4 + 3 * (6 * 5 * 4), 10, 6, 5, 4)),
    Case("one byte short of an exact fit", (4 * 10 * 4 + 3 * (6 * 5 * 4) - 1, 10, 6, 5, 4)),
    Case("the model fits, but no text", (4 * 50 * 4 + 7, 50, 3, 8, 4)),
    Case("not even the model fits", (100, 50, 3, 8, 4)),
    Case("two thirds of a text are left over", (4 * 9 * 1 + 2 * 12 + 8, 9, 4, 3, 1)),
    Case("a hundred thousand short texts", (10**6, 40, 2, 4, 1)),
    Case(
        "one byte short on a large card", (4 * 10**9 * 4 + 3 * (2**37) - 1, 10**9, 2**24, 2**11, 4)
    ),
    Case("GPT-2 small on 24 GB", (24 * _GB, 124_439_808, 210_000, 1024, 4)),
    Case("GPT-2 XL on 24 GB", (24 * _GB, 1_557_611_200, 1_300_000, 1024, 4)),
    Case("GPT-2 XL on 80 GB", (80 * _GB, 1_557_611_200, 1_300_000, 1024, 4)),
    Case("GPT-2 XL on 80 GB in 16 bits", (80 * _GB, 1_557_611_200, 1_300_000, 1024, 2)),
    Case("GPT-3 on 80 GB", (80 * _GB, 174_604_259_328, 19_000_000, 2048, 2)),
)


def _batch_by_loop(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    free = memory_bytes - (n_parameters * bytes_per_number) * (1 + 1 + 2)
    one_text = activations_per_token * context_length * bytes_per_number
    batch = 0
    while free >= one_text:
        free -= one_text
        batch += 1
    return batch


def _batch_in_numbers(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    room = memory_bytes // bytes_per_number - 4 * n_parameters
    if room < 0:
        return 0
    return int(room / (activations_per_token * context_length))


def _batch_with(
    copies=4,
    fixed_bytes=lambda b: b,
    text=lambda a, T, b: a * T * b,
    share=lambda free, one: free // one,
):
    """Return the answer with another count of what is fixed, of a text, or of how many fit."""

    def answer(memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number):
        fixed = copies * n_parameters * fixed_bytes(bytes_per_number)
        one_text = text(activations_per_token, context_length, bytes_per_number)
        return max(0, share(memory_bytes - fixed, one_text))

    return answer


def _batch_negative(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    free = memory_bytes - 4 * n_parameters * bytes_per_number
    return free // (activations_per_token * context_length * bytes_per_number)


def _batch_at_least_one(*args):
    return max(1, largest_batch(*args))


def _batch_weights_for_each(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    fixed = 4 * n_parameters * bytes_per_number
    return memory_bytes // (fixed + activations_per_token * context_length * bytes_per_number)


def _batch_no_activations(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    return memory_bytes // (4 * n_parameters * bytes_per_number)


def _batch_ignores_model(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    return memory_bytes // (activations_per_token * context_length * bytes_per_number)


def _batch_in_binary_units(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    rest = activations_per_token, context_length, bytes_per_number
    return largest_batch(memory_bytes * 2**30 // _GB, n_parameters, *rest)


BATCH_MISTAKES = (
    Mistake(
        "weights_alone",
        _batch_with(copies=1),
        "You leave room for the weights alone; training also holds a gradient and AdamW's two "
        "running means for each of them.",
        "writing text, which needs no more",
    ),
    Mistake(
        "no_optimizer_state",
        _batch_with(copies=2),
        "You leave room for weights and gradients; AdamW holds two more numbers for each weight.",
        "plain gradient descent",
    ),
    Mistake(
        "three_copies",
        _batch_with(copies=3),
        "You count three numbers for each parameter; there are four: weight, gradient, and AdamW's "
        "running means of the gradient and of its square.",
        "an optimizer with momentum alone",
    ),
    Mistake(
        "five_copies",
        _batch_with(copies=5),
        "You count five numbers for each parameter; there are four: weight, gradient, and AdamW's "
        "two running means.",
        "an estimate",
    ),
    Mistake(
        "negative",
        _batch_negative,
        "Your number of texts is negative when the model itself does not fit; no text fits then, "
        "so return 0.",
        "models that fit",
    ),
    Mistake(
        "at_least_one",
        _batch_at_least_one,
        "You return 1 where nothing fits; the answer is then 0.",
        "models that fit",
    ),
    Mistake(
        "rounds_up",
        _batch_with(share=lambda free, one: -(-free // one)),
        "You round up, so that a text too many is squeezed in; only whole texts that fit count.",
        "an exact fit",
    ),
    Mistake(
        "rounds_to_nearest",
        _batch_with(share=lambda free, one: round(free / one)),
        "You round to the nearest number; when less than a whole text is left over, it does not "
        "fit.",
        "an exact fit",
    ),
    Mistake(
        "exact_fit_refused",
        _batch_with(share=lambda free, one: (free - 1) // one),
        "You refuse a text that fits exactly: memory may be full to the last byte.",
        "sizes that leave something over",
    ),
    Mistake(
        "context_forgotten",
        _batch_with(text=lambda a, T, b: a * b),
        "You take the activations of a single token for those of a text; a text has "
        "context_length of them.",
        "a context of one token",
    ),
    Mistake(
        "bytes_forgotten_for_activations",
        _batch_with(text=lambda a, T, b: a * T),
        "You count the activations as numbers and the memory as bytes; each number takes "
        "bytes_per_number of them.",
        "one byte a number",
    ),
    Mistake(
        "bytes_forgotten_for_parameters",
        _batch_with(fixed_bytes=lambda b: 1),
        "You count the parameters as numbers and the memory as bytes; each number takes "
        "bytes_per_number of them.",
        "one byte a number",
    ),
    Mistake(
        "bytes_forgotten",
        _batch_with(fixed_bytes=lambda b: 1, text=lambda a, T, b: a * T),
        "You compare numbers with bytes: multiply by bytes_per_number.",
        "one byte a number",
    ),
    Mistake(
        "always_four_bytes",
        _batch_with(fixed_bytes=lambda b: 4, text=lambda a, T, b: a * T * 4),
        "You take 4 bytes for every number, whatever bytes_per_number says.",
        "32-bit floats",
    ),
    Mistake(
        "bits",
        _batch_with(fixed_bytes=lambda b: 8 * b, text=lambda a, T, b: a * T * 8 * b),
        "You turn bytes into bits; the memory is given in bytes, and so is the size of a number.",
        "an estimate",
    ),
    Mistake(
        "model_for_each_text",
        _batch_weights_for_each,
        "You give every text a copy of the model; weights, gradients and optimizer state are there "
        "once for the whole batch.",
        "a batch of one",
    ),
    Mistake(
        "no_activations",
        _batch_no_activations,
        "You divide the memory by the size of the model; what grows with the batch are the "
        "activations.",
        "a batch of one",
    ),
    Mistake(
        "model_forgotten",
        _batch_ignores_model,
        "You fill the whole memory with activations and leave no room for the model itself.",
        "a tiny model on a large card",
    ),
    Mistake(
        "binary_units",
        _batch_in_binary_units,
        "You convert gigabytes; memory_bytes is in bytes already.",
        "small memories",
    ),
)


def _batch_fits(answer) -> str | None:
    for seed in range(40):
        sizes = [int(n) + 11 for n in whole(150 + seed, 10, 4)]
        n_parameters, activations, context, width = sizes
        memory = 4 * n_parameters * width + int(1 + 7.3 * seed) * context * width
        batch = answer(memory, n_parameters, activations, context, width)
        used = (4 * n_parameters + batch * activations * context) * width
        next_one = used + activations * context * width
        if used > memory or next_one <= memory:
            return (
                f"With {memory:,} bytes you put in {batch} texts, which takes {used:,} bytes; one "
                f"more would take {next_one:,}."
            )
    return None


LARGEST_BATCH = Exercise(
    id="model.largest_batch",
    title="The largest batch that fits",
    reference=largest_batch,
    cases=BATCH_CASES,
    mistakes=BATCH_MISTAKES,
    right=(_batch_by_loop, _batch_in_numbers),
    properties=(Property("the batch fits, and one more text would not", _batch_fits),),
    hints=(
        "Two kinds of memory: what is there once, however large the batch, and what every text "
        "adds. Which of the four belongs to which?",
        "Once: four numbers for each parameter. For each text: activations_per_token for each of "
        "its context_length tokens. Both times bytes_per_number.",
        "fixed = 4 * n_parameters * bytes_per_number; per_text = activations_per_token * "
        "context_length * bytes_per_number; then (memory_bytes - fixed) // per_text, and "
        "max(0, ...) for a model that does not fit.",
    ),
    solution=(
        "Weight, gradient and two running means make four numbers for each parameter, whatever the "
        "batch. The rest of the memory is for activations, and // counts the whole texts that fit "
        "in. When the model itself is too large the rest is negative, and max(0, ...) says that "
        "nothing fits."
    ),
    checked="exact fits, a byte too little, models that do not fit, 1, 2 and 4 bytes a number",
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---

_EXPOSE_IDS = (
    torch.tensor([[0, 2, 1, 1, 3, 0], [2, 0, 4, 3, 1, 2]]),
    torch.tensor([[4, 4, 4, 4, 4, 4, 4, 4]]),
    torch.tensor([[3, 1, 4, 1, 0, 2, 2]]),
    torch.tensor([[1, 0, 2, 4, 3, 3, 0, 1, 2], [3, 3, 0, 0, 1, 4, 2, 1, 4], [0] * 9]),
    torch.tensor([[t * t % 5 for t in range(40)]]),
)

_NO_MODEL = (
    "Return a model, that is a function which takes ids; without calling it: `return model`, not "
    "`return model(ids)`."
)
_NO_LOGITS = (
    "Your model must return a tensor of floating-point numbers for ids of shape (B, T): its logits."
)
_WRONG_LOGITS = (
    "Your model must return logits of shape (B, T, 5), one for each token of the vocabulary at "
    "each position, whatever B and T are."
)
_INFINITE = "Your model's logits must be finite numbers, or nothing can be compared."
_CHANGES_IDS = "Your model changes the ids that it is given; work on `ids.clone()`."
_RANDOM = (
    "Your model gives other logits each time it reads the same text, so they move without any "
    "change; leave chance out of it."
)
_NO_LEAK = (
    "Your model does not leak: whichever token I change, no logit before it moves by more than "
    "1e-4."
)
_CAUGHT = (
    "quick_leak_test catches your model: its leak shows when the last token changes, the one "
    "change that this test makes."
)
_NOT_EVERYWHERE = (
    "Your model leaks in some texts and not in others; it must leak whatever the tokens of a text, "
    "and at every length from six on."
)
_NOT_IN_EACH_TEXT = (
    "In a batch of several texts your model leaks in one and not in another; it must leak in each."
)


def _is_a_model(answer) -> str | None:
    return None if callable(answer()) and not isinstance(answer(), torch.Tensor) else _NO_MODEL


def _gives_logits(answer) -> str | None:
    for ids in _EXPOSE_IDS:
        logits = answer()(ids.clone())
        if not isinstance(logits, torch.Tensor) or not logits.is_floating_point():
            return _NO_LOGITS
        if logits.shape != (*ids.shape, EXPOSE_VOCAB):
            return _WRONG_LOGITS
    return None


def _finite_logits(answer) -> str | None:
    finite = all(bool(answer()(ids.clone()).isfinite().all()) for ids in _EXPOSE_IDS)
    return None if finite else _INFINITE


def _keeps_ids(answer) -> str | None:
    for ids in _EXPOSE_IDS:
        given = ids.clone()
        answer()(given)
        if not torch.equal(given, ids):
            return _CHANGES_IDS
    return None


def _no_chance(answer) -> str | None:
    model = answer()
    for ids in _EXPOSE_IDS:
        if gap_between(model(ids.clone()), model(ids.clone())) > 1e-6:
            return _RANDOM
    return None


def _leaks_somewhere(answer) -> str | None:
    batches = [_leaky_texts(answer(), ids) for ids in _EXPOSE_IDS]
    if not any(any(leaks) for leaks in batches):
        return _NO_LEAK
    if all(all(leaks) for leaks in batches):
        return None
    mixed = any(any(leaks) and not all(leaks) for leaks in batches)
    return _NOT_IN_EACH_TEXT if mixed else _NOT_EVERYWHERE


def _leaky_texts(model: Model, ids: torch.Tensor) -> list[bool]:
    """Say for each text of the batch whether it leaks."""
    before, largest = model(ids.clone()), torch.zeros(len(ids))
    for t in range(1, ids.shape[1]):
        for other in range(EXPOSE_VOCAB):
            moved = model(ids.index_fill(1, torch.tensor([t]), other)) - before  # (B, T, V)
            largest = largest.maximum(moved[:, :t].detach().abs().amax(dim=(1, 2)).float())  # (B,)
    return (largest > LARGEST_ROUNDING).tolist()


def _not_caught(answer) -> str | None:
    caught = any(quick_leak_test(answer(), ids.clone()) for ids in _EXPOSE_IDS)
    return _CAUGHT if caught else None


EXPOSE_PROPERTIES = (
    Property("a model comes back", _is_a_model),
    Property("the model gives logits", _gives_logits),
    Property("the logits are finite", _finite_logits),
    Property("the model leaves its ids alone", _keeps_ids),
    Property("the model leaves nothing to chance", _no_chance),
    Property("the model leaks", _leaks_somewhere),
    Property("quick_leak_test does not see it", _not_caught),
)


def _expose_with(model: Model) -> Callable[[], Model]:
    """Return an answer that hands out `model`."""

    def answer() -> Model:
        return model

    return answer


def _one_hot_5(ids: torch.Tensor) -> torch.Tensor:
    return F.one_hot(ids, EXPOSE_VOCAB).float()


def _sees_all_but_the_last(ids):
    return _one_hot_5(ids) + _one_hot_5(ids[:, :-1]).sum(dim=1, keepdim=True)


class _NextUnlessLast(torch.nn.Module):
    """Each position sees the next, but nobody sees the last."""

    def forward(self, ids):
        logits = torch.zeros(*ids.shape, EXPOSE_VOCAB)
        for t in range(ids.shape[1] - 2):
            logits[:, t] = _one_hot_5(ids[:, t + 1])
        return logits


def _expose_module():
    return _NextUnlessLast()


def _expose_sum():
    return lambda ids: (ids[..., None] + ids[:, 2:3, None]) * torch.linspace(0, 1, EXPOSE_VOCAB)


# Known mistakes.


def _expose_logits():
    return _one_hot_5(_EXPOSE_IDS[0])


def _integer_logits(ids):
    return F.one_hot(ids, EXPOSE_VOCAB)


def _one_number(ids):
    return ids.float()


def _infinite_logits(ids):
    return torch.log(_one_hot_5(ids).roll(-1, dims=1))


def _overwrites_ids(ids):
    ids[:, 0] = ids[:, 1]
    return _one_hot_5(ids)


def _random_logits(ids):
    return torch.rand(*ids.shape, EXPOSE_VOCAB)


def _sees_next(ids):
    return _one_hot_5(ids) + _one_hot_5(ids).roll(-1, dims=1)


def _leaks_in_the_first_of_a_batch(ids):
    logits = _one_hot_5(ids)
    logits[:1] += _one_hot_5(ids)[:1, 1:2]
    return logits


def _leaks_in_short_texts(ids):
    logits = _one_hot_5(ids)
    if ids.shape[1] == 6:
        logits = logits + _one_hot_5(ids)[:, 1:2]
    return logits


EXPOSE_MISTAKES = (
    Mistake("logits_returned", _expose_logits, _NO_MODEL, "only that a tensor comes back"),
    Mistake("integers", _expose_with(_integer_logits), _NO_LOGITS, "only the shape"),
    Mistake("no_vocabulary", _expose_with(_one_number), _WRONG_LOGITS, "only the type"),
    Mistake("infinite", _expose_with(_infinite_logits), _INFINITE, "that logits differ, as NaN"),
    Mistake("overwrites_ids", _expose_with(_overwrites_ids), _CHANGES_IDS, "only the logits"),
    Mistake("random", _expose_with(_random_logits), _RANDOM, "that some logit moves"),
    Mistake("causal", _expose_with(_reads_the_past), _NO_LEAK, "that the quick test is passed"),
    Mistake("sees_the_next", _expose_with(_sees_next), _CAUGHT, "that the model leaks"),
    Mistake(
        "leaks_in_six_tokens", _expose_with(_leaks_in_short_texts), _NOT_EVERYWHERE, "a single text"
    ),
    Mistake(
        "leaks_in_the_first_text",
        _expose_with(_leaks_in_the_first_of_a_batch),
        _NOT_IN_EACH_TEXT,
        "a batch of one",
    ),
)

EXPOSE_BUG = Exercise(
    id="model.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_with(_sees_all_but_the_last), _expose_module, _expose_sum),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "The quick test makes a single change. Which token of the text may your model look at "
        "without being found out, and from where?",
        "Let an early position see a later one that is not the last: the first may see the second. "
        "In a text of six tokens nothing of that moves when the sixth changes.",
        "Inside expose_bug define model(ids): logits = F.one_hot(ids, 5).float(), then add "
        "logits[:, 1] to logits[:, 0], and return the logits. Return model itself.",
    ),
    solution=(
        "A test sees only the leaks that its changes can stir. This one changes the last token, so "
        "any leak among the others passes: the first position may read the second, and no number "
        "moves. A full test changes every position, to every token."
    ),
    checked="your model leaks in every text that I tried, and quick_leak_test sees none of it",
)


EXERCISES: tuple[Exercise, ...] = (
    STACK,
    INIT_STD,
    TIED_GRADIENT,
    LEAKS_FUTURE,
    PARAMETER_COUNT,
    FLOP_COUNT,
    LARGEST_BATCH,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "Embeddings (chapter 02): what does the look-up of a token's vector compute?",
        (
            Option(
                "The product of the token's one-hot vector with the table, without the "
                "multiplications by zero.",
                "Yes. It picks one row of the table, and the gradient flows back into that row "
                "alone.",
                right=True,
            ),
            Option(
                "The average of all rows, weighted by how often each token occurs.",
                "No. That would be the same vector for every token; a look-up picks one row.",
            ),
            Option(
                "A new random vector for each place at which the token stands.",
                "No. The same id always gives the same row, wherever it stands.",
            ),
            Option(
                "The dot product of the id with the table.",
                "No. An id is a name and no quantity: token 6 is not twice token 3.",
            ),
        ),
    ),
    Question(
        "Positions (chapter 03): a model adds a learned table of positions to the token vectors. "
        "What does the table's row 5 belong to?",
        (
            Option(
                "The token with the id 5.",
                "No. That is row 5 of the token table; positions know nothing of ids.",
            ),
            Option(
                "The sixth place in every text, whichever token stands there.",
                "Yes. Places count from 0, and each has one vector, for all texts and all tokens.",
                right=True,
            ),
            Option(
                "A distance of five tokens between a query and a key.",
                "No. That is what rotary positions and ALiBi work with; a learned table is about "
                "places.",
            ),
            Option(
                "The fifth text of the batch.",
                "No. All texts of a batch share the table.",
            ),
        ),
    ),
    Question(
        "Attention (chapter 04): x of shape (B, T, C) = (2, 10, 64) goes through causal "
        "self-attention with 4 heads. What does the output at position 3 depend on?",
        (
            Option(
                "On all ten tokens of the same text.",
                "No. The causal mask hides what comes after position 3.",
            ),
            Option(
                "On the token at position 3 alone.",
                "No. Then attention would carry nothing from one token to another.",
            ),
            Option(
                "On the tokens at the positions 0 to 3 of the same text.",
                "Yes. Each position sees itself and what came before, in its own text.",
                right=True,
            ),
            Option(
                "On the tokens at the positions 0 to 3 of both texts.",
                "No. Texts of a batch do not see each other.",
            ),
        ),
    ),
    Question(
        "The block (chapter 05): why is each part's output added to its input, x + f(norm(x))?",
        (
            Option(
                "So that the shape stays (B, T, C).",
                "No. f gives that shape anyway, or the two could not be added.",
            ),
            Option(
                "So that the gradient has a straight way back through any number of blocks.",
                "Yes. The sum passes the gradient on unchanged, whatever f does.",
                right=True,
            ),
            Option(
                "So that the vectors have length 1.",
                "No. It is the norm that sets the scale; a sum makes vectors longer.",
            ),
            Option(
                "So that the parameters of f count twice.",
                "No. The sum adds no parameter and shares none.",
            ),
        ),
    ),
    Question(
        "The loss of a prediction is −ln p of the token that came. A model gives the right token "
        "the probability 1/2. What is the loss?",
        (
            Option(
                "0.5 nats",
                "No. This is the probability itself; the loss is minus its logarithm.",
            ),
            Option(
                "0.69 nats",
                "Yes. −ln 0.5 = ln 2, about 0.69.",
                right=True,
            ),
            Option(
                "2 nats",
                "No. That is 1/p; the loss is its logarithm, ln 2.",
            ),
            Option(
                "−0.69 nats",
                "No. ln 0.5 is negative, and the minus sign makes the loss positive.",
            ),
        ),
    ),
)

RECAP = (
    Question(
        "A new model with a vocabulary of 50,257 tokens has a first loss of 10.9 nats. What do you "
        "conclude?",
        (
            Option(
                "It starts as it should: ln 50,257 is 10.8, the loss of one who knows nothing.",
                "Yes. A little more than ln V is what small random logits cost.",
                right=True,
            ),
            Option(
                "Something is broken: a loss should start below 1.",
                "No. Below ln V a model must know something about the text.",
            ),
            Option(
                "The learning rate is too large.",
                "No. Nothing has been learned yet: the first loss is measured before any step.",
            ),
            Option(
                "It has learned a tenth of the vocabulary.",
                "No. The loss is a logarithm of a probability and no share of tokens.",
            ),
        ),
    ),
    Question(
        "The same model starts with a loss of 35 nats. What is the likeliest cause?",
        (
            Option(
                "The text is too hard.",
                "No. Before training, the text plays no part: even a guess among all tokens costs "
                "only 10.8.",
            ),
            Option(
                "The weights start too large, so the logits spread widely and the model is sure of "
                "wrong tokens.",
                "Yes. A loss above ln V means misplaced certainty.",
                right=True,
            ),
            Option(
                "The weights start too small.",
                "No. With tiny weights all logits are near 0 and the loss is ln V.",
            ),
            Option(
                "The model sees the future.",
                "No. A leak makes the loss fall too low in training, and an untrained model could "
                "not use it.",
            ),
        ),
    ),
    Question(
        "Why do `attention.out` and `feed_forward.down` start smaller by 1/√(2·n_layers)?",
        (
            Option(
                "They are the largest matrices of a block.",
                "No. `up` is as large as `down`, and starts with 0.02.",
            ),
            Option(
                "Their gradients are larger than the others'.",
                "No. The rule is about what the forward pass adds up.",
            ),
            Option(
                "So that 2·n_layers contributions together spread as far as one.",
                "Yes. Variances add up, so a sum of n terms spreads √n times as far.",
                right=True,
            ),
            Option(
                "So that deep models have fewer parameters.",
                "No. A smaller number is still a parameter.",
            ),
        ),
    ),
    Question(
        "With tied weights, which rows of the table get a gradient from one text?",
        (
            Option(
                "Those of the tokens in the text.",
                "No. That is the look-up's path; the head computes a logit for every token, and "
                "its path reaches every row.",
            ),
            Option(
                "Those of the targets.",
                "No. Logits of wrong tokens are pushed down, so their rows move too.",
            ),
            Option(
                "Every row: the head reaches all, and the look-up adds to those in the text.",
                "Yes. The two paths add up.",
                right=True,
            ),
            Option(
                "None, since the two paths cancel.",
                "No. Nothing makes them equal and opposite.",
            ),
        ),
    ),
    Question(
        "You change token 7 of a text and the logits at position 5 move by 0.3. What do you know?",
        (
            Option(
                "The model leaks the future, whatever its loss says.",
                "Yes. Position 5 may depend on the tokens 0 to 5 only.",
                right=True,
            ),
            Option(
                "Nothing: every change of the text moves every logit a little.",
                "No. In a causal model nothing before position 7 may move beyond rounding.",
            ),
            Option(
                "The model is causal, for position 7 reads position 5.",
                "No. It is position 5 that has moved: it has read position 7.",
            ),
            Option(
                "The weights are not tied.",
                "No. Tying has nothing to do with who sees whom.",
            ),
        ),
    ),
    Question(
        "A linear layer has n inputs and m outputs. How many FLOPs does one token take, forward?",
        (
            Option(
                "n + m",
                "No. Every input meets every output.",
            ),
            Option(
                "n·m",
                "No. That is the number of multiply-adds; each is two operations.",
            ),
            Option(
                "2·n·m",
                "Yes. n·m multiplications and about as many additions.",
                right=True,
            ),
            Option(
                "6·n·m",
                "No. That is forward and backward together: the backward pass takes 4·n·m.",
            ),
        ),
    ),
    Question(
        "You train a model of 1 billion parameters with AdamW in 32-bit floats. How much memory do "
        "you need before the first activation?",
        (
            Option(
                "1 GB",
                "No. A 32-bit number takes 4 bytes, and there are four numbers for each parameter.",
            ),
            Option(
                "4 GB",
                "No. That is the weights alone; gradients and two running means come on top.",
            ),
            Option(
                "8 GB",
                "No. Weights and gradients take that; AdamW's two running means come on top.",
            ),
            Option(
                "16 GB",
                "Yes. Weight, gradient and two running means, 4 bytes each.",
                right=True,
            ),
        ),
    ),
    Question(
        "Two model shapes are trained once each. One ends at a validation loss of 0.80, the other "
        "at 0.82. Another seed moves the loss of either by 0.03. What may you say?",
        (
            Option(
                "The first shape is better.",
                "No. Chance alone moves the loss by more than the difference.",
            ),
            Option(
                "With one run each, the two cannot be told apart.",
                "Yes. Train each with several seeds, and compare the difference with the spread.",
                right=True,
            ),
            Option(
                "The two shapes are equally good at every size and for any budget.",
                "No. Neither equality nor other sizes were tested.",
            ),
            Option(
                "The seed matters more than the shape in general.",
                "No. It did here; with other shapes or a longer training it may not.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {"model.warmup": WARMUP, "model.recap": RECAP}
