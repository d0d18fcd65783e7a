"""Vectors from the company that words keep: skip-gram with negative sampling, by hand.

Two tables are trained: one vector for each word as a centre, and one for each as company. A pair
that occurs in the text shall have a large dot product, a pair with a random word a small one.

Source: Mikolov et al. 2013, https://arxiv.org/abs/1310.4546, sections 2.2 and 2.3.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm.auto import tqdm

from llm_core.validate import (
    require_count,
    require_float_tensor,
    require_generator,
    require_ids,
    require_positive_int,
    require_range,
)

OnStep = Callable[[float, Tensor], Any]

_CHUNK = 1 << 18
"""Tokens whose pairs are made at once, so that a long text need not fit in memory as pairs."""


def skipgram_pairs(ids: Tensor, window: int, text_of: Tensor | None = None) -> Tensor:
    """Return every word with each word of its company, at most `window` places away.

    Args:
        ids: one row of token ids, (N,).
        window: how many places to the left and to the right count as company.
        text_of: for each token the number of its text, (N,); no pair joins two texts. None means
            that all is one text.

    Returns:
        (centre, company) pairs of ids, (M, 2) of int64, in the order of the centres' places, and
        for one centre in the order of the company's places. No word is its own company, but the
        same word at another place is.

    Raises:
        TypeError, ValueError, IndexError: arguments of the wrong kind, or shapes that do not fit.
    """
    require_ids("ids", ids, dims=("N",))
    require_positive_int("window", window)
    if text_of is not None:
        require_ids("text_of", text_of, dims=("N",))
        if text_of.shape != ids.shape:
            raise ValueError(f"text_of has {len(text_of)} entries, but ids has {len(ids)}")
    N = len(ids)
    reach = min(window, max(N - 1, 0))
    steps = torch.tensor([s for s in range(-reach, reach + 1) if s != 0], dtype=torch.long)
    places = torch.arange(N)[:, None] + steps  # (N, 2 * reach)
    inside = (places >= 0) & (places < N)
    places = places.clamp(0, max(N - 1, 0))
    if text_of is not None:
        inside &= text_of[places] == text_of[:, None]
    centres, _ = inside.nonzero(as_tuple=True)  # (M,)
    return torch.stack([ids[centres], ids[places[inside]]], dim=1).long()  # (M, 2)


def negative_sampling_loss(centre: Tensor, company: Tensor, negatives: Tensor) -> Tensor:
    """Return how wrong the guesses "was this pair in the text?" are, for each centre.

    The probability of "yes" is the sigmoid of the dot product. The loss of a centre is
    -ln σ(centre · company) - Σ ln σ(-centre · negative), computed without overflow.

    Args:
        centre: vectors of the words in the middle, (B, C).
        company: vectors of the words that stood beside them, (B, C).
        negatives: vectors of K random words for each, (B, K, C).

    Returns:
        One loss for each centre, (B,), in nats.

    Raises:
        TypeError, ValueError: not tensors of floating-point numbers, or shapes that do not fit.
    """
    _require_vectors(centre, company, negatives)
    yes = (centre * company).sum(dim=-1)  # (B,)
    no = (negatives @ centre.unsqueeze(-1)).squeeze(-1)  # (B, K, C) @ (B, C, 1) -> (B, K)
    return -F.logsigmoid(yes) - F.logsigmoid(-no).sum(dim=-1)  # (B,)


def negative_sampling_gradient(
    centre: Tensor, company: Tensor, negatives: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of the sum of `negative_sampling_loss` for each of its three arguments.

    For every pair the gradient by the dot product is σ(dot product) - 1 where the pair was in the
    text and σ(dot product) where it was not: what was guessed less what was true.

    Args:
        centre: (B, C).
        company: (B, C).
        negatives: (B, K, C).

    Returns:
        Gradients of the same shapes: (B, C), (B, C), (B, K, C).

    Raises:
        TypeError, ValueError: as `negative_sampling_loss`.
    """
    _require_vectors(centre, company, negatives)
    yes = torch.sigmoid((centre * company).sum(dim=-1, keepdim=True)) - 1  # (B, 1)
    no = torch.sigmoid(negatives @ centre.unsqueeze(-1))  # (B, K, 1)
    for_centre = yes * company + (no * negatives).sum(dim=1)  # (B, C)
    return for_centre, yes * centre, no * centre.unsqueeze(1)  # (B, C), (B, C), (B, K, C)


def noise_distribution(counts: Tensor, power: float = 0.75) -> Tensor:
    """Return the probability with which each word is drawn as a negative: counts ** power.

    A power below 1 lifts rare words: they are drawn more often than they occur.

    Args:
        counts: how often each word occurs, (V,).
        power: 1 draws words as often as they occur, 0 all equally often.

    Returns:
        Probabilities, (V,), float32; 0 for a word that does not occur.

    Raises:
        TypeError, ValueError: no row of counts, or none above zero.
    """
    _require_counts(counts)
    require_range("power", power, 0.0, 1.0)
    weights = counts.double().pow(power).where(counts > 0, 0.0)
    return (weights / weights.sum()).float()  # (V,)


def keep_probability(counts: Tensor, threshold: float | None = 1e-3) -> Tensor:
    """Return the probability with which each occurrence of a word is kept: √(threshold / share).

    Frequent words such as "the" say little about their company. Words whose share of the text is
    below `threshold` are always kept.

    Args:
        counts: how often each word occurs, (V,).
        threshold: share of the text from which on words are thinned out; None keeps everything.

    Returns:
        Probabilities, (V,), float32, each in (0, 1].

    Raises:
        TypeError, ValueError: no row of counts, or a threshold outside (0, 1].
    """
    _require_counts(counts)
    if threshold is None:
        return torch.ones(len(counts))
    require_range("threshold", threshold, 0.0, 1.0, open_low=True)
    share = counts.double() / counts.sum()
    return (threshold / share.clamp(min=1e-12)).sqrt().clamp(max=1.0).float()  # (V,)


def train_skipgram(
    texts: Sequence[Sequence[int] | Tensor],
    vocab_size: int,
    d_model: int = 24,
    *,
    window: int = 5,
    n_negatives: int = 5,
    epochs: int = 3,
    batch_size: int | None = None,
    learning_rate: float = 0.05,
    threshold: float | None = 1e-3,
    generator: torch.Generator | None = None,
    on_step: OnStep | None = None,
    progress: bool = True,
) -> Tensor:
    """Train one vector for each word of a vocabulary from the company that it keeps.

    Plain gradient descent: each batch of pairs moves the rows that it touches by the learning rate
    times the gradient of the batch's summed loss. The learning rate falls evenly to a hundredth.
    The defaults suit a vocabulary of some hundred words
    and a text of some hundred thousand; the same generator gives the same vectors.

    Args:
        texts: rows of token ids, such as one for each story; no pair joins two of them.
        vocab_size: V.
        d_model: C, width of a vector.
        window: places to each side that count as company.
        n_negatives: K, random words for each pair.
        epochs: how often the texts are gone through, thinned out anew each time.
        batch_size: pairs in a step; None takes three for each word of the vocabulary, at most 512.
            The more often a row occurs in a batch, the further one step moves it.
        learning_rate: size of the first steps.
        threshold: as for `keep_probability`; None for texts of few different words.
        generator: source of all chance, on the CPU; None takes torch's global one.
        on_step: called as on_step(done, vectors) after each step, `done` from 0 to 1; `vectors` is
            the table itself, to be copied by whoever keeps it.
        progress: show a progress bar.

    Returns:
        The vectors of the words as centres, (V, C), float32. The row of a word that does not occur
        is the small random one that it started with.

    Raises:
        TypeError, ValueError, IndexError: an argument of the wrong kind, an id outside the
            vocabulary, or no pair in all the texts, perhaps because they were thinned out.
        ValueError: the numbers have grown without bound; the message says what to lower.
    """
    ids, text_of = _joined(texts, vocab_size)
    if batch_size is None:
        batch_size = min(3 * vocab_size, 512)
    _require_sizes(d_model=d_model, window=window, epochs=epochs, batch_size=batch_size)
    require_count("n_negatives", n_negatives)
    require_range("learning_rate", learning_rate, 0.0, float("inf"), open_low=True)
    require_generator("generator", generator)
    counts = torch.bincount(ids, minlength=vocab_size)  # (V,)
    keep, noise = keep_probability(counts, threshold), noise_distribution(counts)
    vectors, companies = start_vectors(vocab_size, d_model, generator)

    with tqdm(total=epochs, desc="skip-gram", bar_format=_BAR, disable=not progress) as bar:
        for epoch in range(epochs):
            share = None
            for share, pairs in _batches(ids, text_of, keep, window, batch_size, generator):
                done = (epoch + share) / epochs
                negatives = draw_negatives(noise, len(pairs), n_negatives, generator)  # (B, K)
                rate = learning_rate * max(1 - done, 0.01)
                skipgram_step(vectors, companies, pairs, negatives, rate)
                bar.update(epoch + share - bar.n)
                if on_step is not None:
                    on_step(done, vectors)
            _require_trained(share, threshold)
            _require_finite(vectors, learning_rate, batch_size)
    return vectors


_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"


def start_vectors(
    vocab_size: int, d_model: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return the tables to start from, (V, C) each: small random vectors, and zeros as company."""
    vectors = (torch.rand(vocab_size, d_model, generator=generator) - 0.5) / d_model
    return vectors, torch.zeros(vocab_size, d_model)


def draw_negatives(
    noise: Tensor, n_pairs: int, n_negatives: int, generator: torch.Generator | None = None
) -> Tensor:
    """Return ids of K random words for each pair, (B, K), drawn with the probabilities `noise`."""
    if n_negatives == 0:
        return torch.empty(n_pairs, 0, dtype=torch.long)
    drawn = torch.multinomial(noise, n_pairs * n_negatives, replacement=True, generator=generator)
    return drawn.view(n_pairs, n_negatives)  # (B, K)


def skipgram_step(
    vectors: Tensor, companies: Tensor, pairs: Tensor, negatives: Tensor, rate: float
) -> None:
    """Move both tables, (V, C) each, one step down the summed loss of a batch, in place.

    Args:
        vectors: the words as centres.
        companies: the words as company.
        pairs: ids of centres and company, (B, 2).
        negatives: ids of random words for each centre, (B, K).
        rate: the learning rate.
    """
    centre_ids, company_ids = pairs.unbind(dim=1)  # (B,), (B,)
    for_centre, for_company, for_negatives = negative_sampling_gradient(
        vectors[centre_ids], companies[company_ids], companies[negatives]
    )
    vectors.index_add_(0, centre_ids, for_centre, alpha=-rate)
    companies.index_add_(0, company_ids, for_company, alpha=-rate)
    flat = for_negatives.flatten(0, 1)  # (B * K, C)
    companies.index_add_(0, negatives.flatten(), flat, alpha=-rate)


def _batches(
    ids: Tensor,
    text_of: Tensor,
    keep: Tensor,
    window: int,
    batch_size: int,
    generator: torch.Generator | None,
) -> Iterator[tuple[float, Tensor]]:
    """Yield one epoch: (share of the text that is done, pairs (B, 2)), the pairs in random order.

    Frequent words are thinned out before the windows are laid, so that a window reaches further
    where words are missing.
    """
    for start in range(0, len(ids), _CHUNK):
        part = ids[start : start + _CHUNK]
        kept = torch.rand(len(part), generator=generator) < keep[part]
        pairs = skipgram_pairs(part[kept], window, text_of[start : start + _CHUNK][kept])
        pairs = pairs[torch.randperm(len(pairs), generator=generator)]
        for first in range(0, len(pairs), batch_size):
            batch = pairs[first : first + batch_size]
            within = (first + len(batch)) / len(pairs)
            yield (start + within * len(part)) / len(ids), batch


def _joined(texts: Any, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Return all ids in one row, and for each the number of its text; raise unless pairs exist."""
    require_positive_int("vocab_size", vocab_size)
    if isinstance(texts, (str, Tensor)) or not isinstance(texts, Sequence):
        raise TypeError(
            f"texts must be a list of rows of token ids, not {type(texts).__name__}; "
            "put a single row into a list: [ids]"
        )
    rows = []
    for i, text in enumerate(texts):
        try:
            row = torch.as_tensor(text)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"texts[{i}] must be a row of token ids: {error}") from error
        if row.numel():
            require_ids(f"texts[{i}]", row, vocab_size, dims=("N",))
            rows.append(row.long())
    if not any(len(row) > 1 for row in rows):
        raise ValueError("texts hold no pair of words; give at least one text of two tokens")
    numbers = torch.arange(len(rows)).repeat_interleave(torch.tensor([len(r) for r in rows]))
    return torch.cat(rows), numbers


def _require_vectors(centre: Any, company: Any, negatives: Any) -> None:
    """Raise unless the three fit together: (B, C), (B, C), (B, K, C)."""
    require_float_tensor("centre", centre, ("B", "C"))
    require_float_tensor("company", company, ("B", "C"))
    require_float_tensor("negatives", negatives, ("B", "K", "C"))
    B, C = centre.shape
    if company.shape != centre.shape or (negatives.shape[0], negatives.shape[2]) != (B, C):
        raise ValueError(
            f"company must have the shape {(B, C)} of centre and negatives (B, K, C), but their "
            f"shapes are {tuple(company.shape)} and {tuple(negatives.shape)}"
        )


def _require_sizes(**sizes: Any) -> None:
    """Raise unless every argument that is given by name is a positive whole number."""
    for name, value in sizes.items():
        require_positive_int(name, value)


def _require_counts(counts: Any) -> None:
    """Raise unless `counts` is a row of numbers of which none is negative and one positive."""
    if not isinstance(counts, Tensor) or counts.dim() != 1:
        raise TypeError(f"counts must be a 1-D tensor with a count for each word, not {counts!r}")
    if not bool((counts >= 0).all()) or not bool((counts > 0).any()):
        raise ValueError("counts must not be negative, and at least one must be above zero")


def _require_trained(share: float | None, threshold: float | None) -> None:
    """Raise unless an epoch had at least one batch, so that a share of it could be reported."""
    if share is None:
        raise ValueError(
            f"threshold={threshold} has thinned the texts out until no pair of words was left; "
            "raise it, or give None to keep every word"
        )


def _require_finite(vectors: Tensor, learning_rate: float, batch_size: int) -> None:
    """Raise unless training has stayed within bounds."""
    if not bool(vectors.isfinite().all()):
        raise ValueError(
            "the vectors have grown without bound: lower learning_rate, which is "
            f"{learning_rate}, or batch_size, which is {batch_size}"
        )
