"""How byte-pair encoding learns its merges.

`recount_merges` is the plain way, to read: it counts every pair again after each merge.
`learn_merges` keeps the counts up to date and gives the same merges, about a hundred times faster.

Source: Sennrich, Haddow and Birch 2016, https://arxiv.org/abs/1508.07909, section 3.2; on bytes as
in GPT-2 (Radford et al. 2019, section 2.2).
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

import regex
from tqdm.auto import tqdm

from llm_core.tokens.base import split_special

GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What GPT-2 cuts text into before BPE, so that no token runs across words: English clitics,
letters, digits and other signs, each with one space before it, and runs of white space.
From `encoder.py` of https://github.com/openai/gpt-2."""

SECONDS_BEFORE_BAR = 5
"""A progress bar appears when learning takes longer than this."""

Pair = tuple[int, int]
Token = TypeVar("Token", bound=Hashable)
"""An id, or the token's bytes."""

_WORD = regex.compile(GPT2_PATTERN)


def words_of(text: str) -> list[str]:
    """Cut `text` into GPT-2's words; put together, they are the text."""
    return _WORD.findall(text)


def count_words(texts: Iterable[str], special: regex.Pattern | None) -> Counter[bytes]:
    """Count each word of `texts`, as UTF-8 bytes; special tokens are cut out."""
    counts: Counter[str] = Counter()
    for text in texts:
        for part, is_special in split_special(text, special):
            if not is_special:
                counts.update(words_of(part))
    return Counter({word.encode("utf-8"): count for word, count in counts.items()})


def count_pairs(words: Mapping[Sequence[Token], int]) -> Counter[tuple[Token, Token]]:
    """Count how often two tokens stand side by side.

    Args:
        words: each word, as a tuple of its tokens, with the number of times that it occurs.

    Returns:
        Each pair of neighbours with its count; in (a, a, a) the pair (a, a) counts twice.

    >>> count_pairs({("h", "a", "t"): 5, ("a", "t"): 2})
    Counter({('a', 't'): 7, ('h', 'a'): 5})
    """
    counts: Counter[tuple[Token, Token]] = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def merge_pair(tokens: Sequence[Token], pair: tuple[Token, Token], new_token: Token) -> list[Token]:
    """Replace each occurrence of `pair` in `tokens`, from the left, by `new_token`.

    >>> merge_pair([1, 1, 1, 2], (1, 1), 9)
    [9, 1, 2]
    """
    left, right = pair
    merged: list[Token] = []
    i, last = 0, len(tokens) - 1
    while i <= last:
        if i < last and tokens[i] == left and tokens[i + 1] == right:
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def recount_merges(word_counts: Mapping[bytes, int], n_merges: int) -> list[tuple[bytes, bytes]]:
    """Merge the most frequent pair of neighbouring tokens, again and again, counting all anew.

    Args:
        word_counts: each word with the number of times that it occurs.
        n_merges: the most merges to learn; fewer when every word has become one token.

    Returns:
        The merges in the order in which they were learned, as pairs of byte strings. Of equally
        frequent pairs the one with the greatest bytes comes first.
    """
    words = {tuple(bytes([b]) for b in word): count for word, count in word_counts.items()}
    merges: list[tuple[bytes, bytes]] = []
    for _ in range(n_merges):
        counts = count_pairs(words)
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        joined = best[0] + best[1]
        words = {tuple(merge_pair(word, best, joined)): count for word, count in words.items()}
    return merges


def learn_merges(word_counts: Mapping[bytes, int], n_merges: int) -> list[tuple[bytes, bytes]]:
    """Merge the most frequent pair of neighbouring tokens into one token, again and again.

    Among equally frequent pairs the one with the greatest bytes comes first, so that the result
    does not depend on the order of the words. Only the words that hold the merged pair are looked
    at again.

    Args:
        word_counts: each word with the number of times that it occurs.
        n_merges: the most merges to learn; fewer when every word has become one token.

    Returns:
        The merges in the order in which they were learned, as pairs of byte strings.
    """
    tokens = [bytes([byte]) for byte in range(256)]
    words = [list(word) for word in word_counts]
    counts = list(word_counts.values())
    pairs = _PairCounts(tokens)
    for number, word in enumerate(words):
        pairs.add_word(number, word, counts[number])
    pairs.push(pairs.count)

    merges: list[tuple[bytes, bytes]] = []
    for _ in tqdm(range(n_merges), desc="learning merges", delay=SECONDS_BEFORE_BAR, leave=False):
        pair = pairs.pop_most_frequent()
        if pair is None:
            break
        left, right = tokens[pair[0]], tokens[pair[1]]
        merges.append((left, right))
        tokens.append(left + right)
        new_pairs: set[Pair] = set()
        for number in pairs.words_with.pop(pair):
            pairs.remove_word(words[number], counts[number])
            words[number] = merge_pair(words[number], pair, len(tokens) - 1)
            new_pairs |= pairs.add_word(number, words[number], counts[number])
        pairs.push(new_pairs)
    return merges


class _PairCounts:
    """How often each pair of neighbours occurs, and which words hold it.

    Attributes:
        count: pair -> occurrences in all words.
        words_with: pair -> numbers of the words that hold it, or once did.
    """

    def __init__(self, tokens: list[bytes]) -> None:
        self.count: defaultdict[Pair, int] = defaultdict(int)
        self.words_with: defaultdict[Pair, set[int]] = defaultdict(set)
        self._tokens = tokens
        self._heap: list[tuple[int, str, str, Pair]] = []

    def add_word(self, number: int, word: list[int], count: int) -> set[Pair]:
        """Count the pairs of a word that occurs `count` times; return those not in the heap yet."""
        newest = len(self._tokens) - 1
        fresh = set()
        for pair in pairwise(word):
            self.count[pair] += count
            self.words_with[pair].add(number)
            if newest in pair:
                fresh.add(pair)
        return fresh

    def remove_word(self, word: list[int], count: int) -> None:
        """Take back what `add_word` counted; `words_with` may keep the word, which does no harm."""
        for pair in pairwise(word):
            self.count[pair] -= count

    def push(self, pairs: Iterable[Pair]) -> None:
        """Put pairs into the heap with the counts that they have now."""
        for pair in pairs:
            left, right = self._tokens[pair[0]], self._tokens[pair[1]]
            entry = (-self.count[pair], _descending(left), _descending(right), pair)
            heapq.heappush(self._heap, entry)

    def pop_most_frequent(self) -> Pair | None:
        """Return the most frequent pair, the greatest among equals, or None when none is left.

        Counts in the heap may be out of date, but only too high: after a pair has been pushed it
        can only lose occurrences. So an entry that is out of date goes back with the true count.
        """
        while self._heap:
            negative_count, _, _, pair = heapq.heappop(self._heap)
            if self.count[pair] == -negative_count:
                return pair
            if self.count[pair] > 0:
                self.push([pair])
        return None


def _descending(token: bytes) -> str:
    """Return a key that sorts in the opposite order of `token`, for a heap that pops the smallest.

    The last character is greater than any other, so that "a" comes after "ab".
    """
    return "".join(chr(255 - byte) for byte in token) + chr(256)
