"""Compare ways to learn and to apply byte-pair merges, on the same text in the same run.

    python benchmarks/tokens.py [--text PATH_OR_NAME] [--merges 100] [--rounds 3]

1. Learning: counts kept up to date (`llm_core`) against counting every pair again for each merge,
   on the same words and to the same number of merges; the merges must be equal. The further one
   goes the greater the ratio, so the printed one holds for this number of merges only.
2. Encoding: with the cache of words filled, with an empty one, and Hugging Face's `tokenizers`
   (Rust, one thread; its `encode` also keeps where each token stands in the text); the ids must be
   equal.
Each figure is the median of the rounds, the sides taking turns.
"""

import argparse
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from llm_core.corpus import load_text
from llm_core.tokens import BPETokenizer
from llm_core.tokens.bpe_training import count_words, learn_merges, replace_pair

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
FULL_VOCAB = 1000


def recount_merges(word_counts: dict[bytes, int], n_merges: int) -> list[tuple[bytes, bytes]]:
    """Learn merges by counting all pairs of all words again for each merge."""
    tokens = [bytes([byte]) for byte in range(256)]
    words = [list(word) for word in word_counts]
    counts = list(word_counts.values())
    merges = []
    for _ in range(n_merges):
        pairs: Counter[tuple[int, int]] = Counter()
        for word, count in zip(words, counts, strict=True):
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda p: (pairs[p], tokens[p[0]], tokens[p[1]]))
        merges.append((tokens[best[0]], tokens[best[1]]))
        tokens.append(tokens[best[0]] + tokens[best[1]])
        words = [replace_pair(word, best, len(tokens) - 1) for word in words]
    return merges


def timed(call: Callable) -> tuple[float, object]:
    """Return the seconds that `call` took, and its result."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def take_turns(sides: dict[str, Callable], rounds: int) -> dict[str, float]:
    """Time the sides in turn; return the median of each, in seconds. Their results must agree."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        results = []
        for name, call in sides.items():
            seconds, result = timed(call)
            times[name].append(seconds)
            results.append(result)
        if any(result != results[0] for result in results):
            raise SystemExit(f"the sides disagree: {list(sides)}")
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def compare_learning(text: str, n_merges: int, rounds: int) -> None:
    """Print the seconds of both ways of learning, and their ratio."""
    words = count_words([text], None)
    medians = take_turns(
        {
            "incremental": lambda: learn_merges(words, n_merges),
            "recounting": lambda: recount_merges(words, n_merges),
        },
        rounds,
    )
    print(f"learning {n_merges} merges from {len(words)} distinct words, words counted beforehand")
    for name, seconds in medians.items():
        print(f"  {name:12} {seconds:8.2f} s")
    print(f"  ratio recounting / incremental: {medians['recounting'] / medians['incremental']:.1f}")


def compare_encoding(text: str, tokenizer: BPETokenizer, rounds: int) -> None:
    """Print the speeds of encoding, and the ratios to the filled cache."""
    fast = tokenizer.to_hf()

    def encode_with_empty_cache() -> list[int]:
        tokenizer._cache.clear()
        return tokenizer.encode(text)

    medians = take_turns(
        {
            "empty cache": encode_with_empty_cache,
            "filled cache": lambda: tokenizer.encode(text),
            "Hugging Face": lambda: fast.encode(text).ids,
        },
        rounds,
    )
    megabytes = len(text.encode("utf-8")) / 1e6
    print(f"encoding with {tokenizer.vocab_size} tokens")
    for name, seconds in medians.items():
        ratio = medians["filled cache"] / seconds
        print(
            f"  {name:12} {megabytes / seconds:8.2f} MB/s, {ratio:.2f} of the filled cache's speed"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = str(SHAKESPEARE) if SHAKESPEARE.is_file() else "python-docs"
    parser.add_argument("--text", default=default, help="a text's name or the path of a file")
    parser.add_argument("--merges", type=int, default=100, help="merges that both sides learn")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side is run")
    args = parser.parse_args()
    text = load_text(args.text)
    print(f"{args.text}: {len(text.encode('utf-8')) / 1e6:.2f} MB")
    compare_learning(text, args.merges, args.rounds)
    seconds, tokenizer = timed(lambda: BPETokenizer.train(text, FULL_VOCAB))
    print(f"BPETokenizer.train to {FULL_VOCAB} tokens, counting included: {seconds:.2f} s")
    compare_encoding(text, tokenizer, args.rounds)


if __name__ == "__main__":
    main()
