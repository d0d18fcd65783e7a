"""Compare ways to learn and to apply byte-pair merges, on the same text in the same run.

    python benchmarks/tokens.py [--text PATH_OR_NAME] [--vocab-size 1000] [--rounds 3]

1. Learning: `learn_merges`, which keeps its counts up to date, against `recount_merges`, the loop
   that chapter 01 teaches first, which counts every pair again for each merge. Both get the same
   words with their counts and learn the same number of merges; the merges must be equal. The loop
   runs once, since it takes a minute or two, with the rounds of the other before and after it.
2. Encoding: with the cache of words filled, with an empty one, and Hugging Face's `tokenizers`
   (Rust, one thread; its `encode` also keeps where each token stands in the text); the ids must be
   equal.
Each other figure is the median of the rounds, the sides taking turns. All of it is one thread, and
seconds are those of the processor, so that other programs on the machine do not count. The program
ends with an error when it misses what the course promises: learning in 10 s and 20 times as fast
as the loop, encoding 0.5 MB a second with an empty cache.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from _turns import take_turns, timed

from llm_core.corpus import load_text
from llm_core.tokens import BPETokenizer
from llm_core.tokens.bpe_training import count_words, learn_merges, recount_merges

SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
MOST_SECONDS, LEAST_RATIO, LEAST_MB_PER_SECOND = 10.0, 20.0, 0.5
"""What the course promises for 1 MB of text and 1,000 tokens on two cores."""
CLOCK = time.process_time
"""Seconds that the processor was busy: nothing here uses two threads."""


def compare_learning(text: str, n_merges: int, rounds: int) -> float:
    """Print the seconds of both ways of learning, and return their ratio."""
    words = count_words([text], None)
    print(f"learning {n_merges} merges from {len(words)} distinct words, words counted beforehand")
    print("  recounting takes a minute or two ...", flush=True)
    incremental = [timed(lambda: learn_merges(words, n_merges), CLOCK) for _ in range(rounds)]
    naive_seconds, naive = timed(lambda: recount_merges(words, n_merges), CLOCK)
    incremental += [timed(lambda: learn_merges(words, n_merges), CLOCK) for _ in range(rounds)]
    seconds = statistics.median(s for s, _ in incremental)
    print(f"  incremental  {seconds:8.2f} s\n  recounting   {naive_seconds:8.2f} s")
    if naive != incremental[0][1]:
        raise SystemExit("the two ways learned different merges")
    print(f"  the same merges; ratio recounting / incremental: {naive_seconds / seconds:.1f}")
    return naive_seconds / seconds


def compare_encoding(text: str, tokenizer: BPETokenizer, rounds: int) -> float:
    """Print the speeds of encoding, and return that with an empty cache in MB a second."""
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
        CLOCK,
    )
    megabytes = len(text.encode("utf-8")) / 1e6
    print(f"encoding with {tokenizer.vocab_size} tokens")
    for name, seconds in medians.items():
        ratio = medians["filled cache"] / seconds
        print(
            f"  {name:12} {megabytes / seconds:8.2f} MB/s, {ratio:.2f} of the filled cache's speed"
        )
    return megabytes / medians["empty cache"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = str(SHAKESPEARE) if SHAKESPEARE.is_file() else "python-docs"
    parser.add_argument("--text", default=default, help="a text's name or the path of a file")
    parser.add_argument("--vocab-size", type=int, default=1000, help="V, 256 bytes and the merges")
    parser.add_argument("--rounds", type=int, default=3, help="times that each side is run")
    args = parser.parse_args()
    text = load_text(args.text)
    print(f"{args.text}: {len(text.encode('utf-8')) / 1e6:.2f} MB")
    seconds, tokenizer = timed(lambda: BPETokenizer.train(text, args.vocab_size), CLOCK)
    print(f"BPETokenizer.train to {args.vocab_size} tokens, counting included: {seconds:.2f} s")
    speed = compare_encoding(text, tokenizer, args.rounds)
    ratio = compare_learning(text, args.vocab_size - 256, args.rounds)
    if seconds > MOST_SECONDS or ratio < LEAST_RATIO or speed < LEAST_MB_PER_SECOND:
        raise SystemExit(
            f"the course promises {MOST_SECONDS:.0f} s, a ratio of {LEAST_RATIO:.0f} and "
            f"{LEAST_MB_PER_SECOND} MB/s"
        )


if __name__ == "__main__":
    main()
