"""How unsure a distribution is, and how varied a text."""

from collections.abc import Sequence

from torch import Tensor

from llm_core.sampling.filters import require_logits
from llm_core.validate import require_positive_int


def entropy(logits: Tensor) -> Tensor:
    """Return the mean surprise Σ p·(−ln p) of the tokens that softmax(logits) draws, in nats.

    0 when one token is certain, ln V when all V are equally likely. A dropped token (-inf) adds
    nothing. (Shannon 1948, section 6.)

    Args:
        logits: (..., V) scores, at least one of each row finite.

    Returns:
        (...) nats.

    Raises:
        TypeError, ValueError: not scores, NaN in them, or a row with nothing but -inf.
    """
    require_logits(logits)
    if logits.isinf().all(dim=-1).any():
        raise ValueError("logits have a row without a finite score: no token is left to choose")
    log_p = logits.log_softmax(dim=-1)  # (..., V)
    surprise = -log_p.exp() * log_p  # NaN where 0 · -inf
    return surprise.masked_fill(log_p.isinf(), 0.0).sum(dim=-1)  # (...)


def distinct_ngrams(rows: Sequence[Sequence[int]], n: int) -> float:
    """Return the share of different ones among all runs of n tokens; 1 when none comes twice.

    No run reaches from one row into the next. Compare only texts of about the same size: the longer
    a text, the more of its runs have been there before. (Li et al. 2016, section 5.3,
    https://arxiv.org/abs/1510.03055, call it distinct-n.)

    Args:
        rows: texts as lists of tokens, ids or strings.
        n: length of a run, at least 1.

    Raises:
        TypeError, ValueError: rows that are no lists of tokens, an n below 1, or no row of n
            tokens.
    """
    require_positive_int("n", n)
    runs = [tuple(row[i : i + n]) for row in _lists(rows) for i in range(len(row) - n + 1)]
    if not runs:
        raise ValueError(f"rows hold no run of {n} tokens; give longer texts or a smaller n")
    return len(set(runs)) / len(runs)


def _lists(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the rows as lists; a tensor's numbers as Python's, which are equal when they should.

    Raises:
        TypeError: no sequence of sequences.
    """
    if isinstance(rows, str):
        raise TypeError("rows must be a list of texts, each a list of tokens, not one string")
    try:
        return [row.tolist() if isinstance(row, Tensor) else list(row) for row in rows]
    except TypeError as error:
        raise TypeError(
            "rows must be a list of texts, each a list of tokens; for one text write [tokens]"
        ) from error
