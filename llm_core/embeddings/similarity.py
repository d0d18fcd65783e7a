"""Which vectors point the same way: cosine similarity, nearest neighbours, analogies."""

from collections.abc import Sequence
from difflib import get_close_matches

from torch import Tensor

from llm_core.validate import require_broadcast, require_float_tensor, require_positive_int

Ranked = list[tuple[str, float]]


def cosine_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of the angle between vectors: 1 same way, 0 right angle, -1 opposite.

    Args:
        a: vectors, (..., C).
        b: vectors, (..., C); the axes before the last broadcast with those of `a`.

    Returns:
        (...): the dot product of the two after each was divided by its length. A vector of zeros
        has no direction; its similarity to every other is 0.

    Raises:
        TypeError, ValueError: not tensors of floating-point numbers, or shapes that do not fit.
    """
    for name, value in (("a", a), ("b", b)):
        require_float_tensor(name, value)
    if a.dim() == 0 or b.dim() == 0 or a.shape[-1] != b.shape[-1]:
        raise ValueError(
            f"a and b must have last axes of one length, but their shapes are {tuple(a.shape)} "
            f"and {tuple(b.shape)}"
        )
    require_broadcast("a", a.shape, "b", b.shape)
    return (unit(a) * unit(b)).sum(dim=-1)  # (...)


def unit(vectors: Tensor) -> Tensor:
    """Return each vector divided by its length, (..., C); a vector of zeros stays as it is."""
    lengths = vectors.norm(dim=-1, keepdim=True)  # (..., 1)
    return vectors / lengths.where(lengths > 0, 1.0)


def nearest(word: str, words: Sequence[str], vectors: Tensor, k: int = 5) -> Ranked:
    """Return the `k` words whose vectors point most nearly the way of `word`'s, without itself.

    Args:
        word: one of `words`.
        words: V words, all different; word i has the vector i.
        vectors: (V, C).
        k: how many neighbours; fewer come back when there are not so many words.

    Returns:
        (neighbour, cosine similarity) pairs, the nearest first; of equals the earlier word first.

    Raises:
        TypeError, ValueError: words and vectors that do not fit, or a word that is not there; the
            message names words that are spelled alike.
    """
    place = _index(words, vectors)
    chosen = _place_of("word", word, place)
    require_positive_int("k", k)
    similarities = cosine_similarity(vectors, vectors[chosen])  # (V,)
    return _best(similarities, words, {chosen}, k)


def analogy(
    a: str,
    b: str,
    c: str,
    words: Sequence[str],
    vectors: Tensor,
    k: int = 5,
    *,
    normalise: bool = True,
    exclude_inputs: bool = True,
) -> Ranked:
    """Complete "`a` is to `b` as `c` is to ...": the words nearest to b - a + c.

    `analogy("man", "king", "woman", words, vectors)` asks for king - man + woman.

    Args:
        a: the word that is taken away.
        b: the word to start from.
        c: the word that is added.
        words: V words, all different; word i has the vector i.
        vectors: (V, C).
        k: how many answers; fewer come back when there are not so many words.
        normalise: give every vector the length 1 first. False shows why: long vectors then
            outvote short ones, in the sum and in the ranking.
        exclude_inputs: leave a, b and c out of the ranking. False shows why: the sum often lies
            nearest to b or c itself.

    Returns:
        (word, score) pairs, the best first; of equals the earlier word first. The score is the
        cosine similarity with b - a + c or, without `normalise`, the plain dot product.

    Raises:
        TypeError, ValueError: words and vectors that do not fit, or a word that is not there; the
            message names words that are spelled alike.

    Source: Mikolov et al. 2013, https://arxiv.org/abs/1301.3781, section 4.
    """
    place = _index(words, vectors)
    ids = [_place_of(name, w, place) for name, w in (("a", a), ("b", b), ("c", c))]
    require_positive_int("k", k)
    rows = unit(vectors) if normalise else vectors  # (V, C)
    minus, start, plus = rows[ids]
    query = start - minus + plus  # (C,)
    scores = rows @ (unit(query) if normalise else query)  # (V,)
    return _best(scores, words, set(ids) if exclude_inputs else set(), k)


def _best(scores: Tensor, words: Sequence[str], excluded: set[int], k: int) -> Ranked:
    """Return the `k` words with the highest scores, of equals the earlier one first."""
    order = scores.sort(descending=True, stable=True).indices.tolist()
    ranked = [i for i in order if i not in excluded][:k]
    return [(words[i], scores[i].item()) for i in ranked]


def require_words_and_vectors(words: Sequence[str], vectors: Tensor) -> None:
    """Raise unless `words` are V different strings and `vectors` a float tensor (V, C), V > 0.

    Raises:
        TypeError: `words` is no list of strings, or `vectors` no tensor of floats.
        ValueError: sizes that do not fit, a word twice, NaN or infinity in the vectors.
    """
    if isinstance(words, str) or not isinstance(words, Sequence):
        raise TypeError(f"words must be a list of strings, not {type(words).__name__}")
    require_float_tensor("vectors", vectors, ("V", "C"))
    if not words or len(words) != len(vectors):
        raise ValueError(
            f"words and vectors must be as many, at least one: there are {len(words)} words and "
            f"{len(vectors)} vectors"
        )
    other = next((word for word in words if not isinstance(word, str)), None)
    if other is not None:
        raise TypeError(f"words must hold strings, but one is {other!r}")
    if len(set(words)) < len(words):
        twice = next(word for word in words if words.count(word) > 1)
        raise ValueError(f"words holds {twice!r} twice, so it has no vector of its own")
    if not bool(vectors.isfinite().all()):
        raise ValueError("vectors holds NaN or infinity; did the training diverge?")


def _index(words: Sequence[str], vectors: Tensor) -> dict[str, int]:
    """Return the place of every word, or raise unless words and vectors fit together."""
    require_words_and_vectors(words, vectors)
    return {word: i for i, word in enumerate(words)}


def _place_of(name: str, word: str, place: dict[str, int]) -> int:
    """Return the place of `word`, or raise with words that are spelled alike."""
    if not isinstance(word, str):
        raise TypeError(f"{name} must be a word, not {word!r}")
    if word not in place:
        close = get_close_matches(word, place, n=3) or get_close_matches(word.lower(), place, n=3)
        advice = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(f"{name} is {word!r}, which is not one of the {len(place)} words{advice}")
    return place[word]
