"""Compare look-up with the one-hot product, and measure skip-gram and its analogies.

    python benchmarks/embeddings.py [--tokens 1024] [--width 64] [--rounds 5] [--seeds 3]

1. Look-up against one-hot times table, values alone and with the gradient of the table, for several
   sizes of vocabulary. Both sides run on the same ids and table, in turns; their results must be
   equal. Each figure is the median of the rounds.
2. `train_skipgram` on the stories with its defaults: seconds, and how many analogies have the right
   answer as the best of all tokens, for several seeds. Two threads at most.
"""

import argparse
import itertools
import time
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from _turns import take_turns, timed

from llm_core.corpus import stories
from llm_core.corpus.words import ANIMALS, PLACES
from llm_core.embeddings import analogy, train_skipgram
from llm_core.tokens import WordTokenizer

SIZES = (1_000, 10_000, 50_000)
FAMILIES = {
    "royalty": {"man": "king", "woman": "queen", "boy": "prince", "girl": "princess"},
    "gender": {"king": "queen", "man": "woman", "prince": "princess", "boy": "girl"},
    "relatives": {"father": "mother", "son": "daughter", "brother": "sister"},
    "animal and young": {animal: young for animal, (young, _) in ANIMALS.items()},
    "place and thing": {place: thing for place, (_, _, thing) in PLACES.items()},
}


def by_look_up(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return F.embedding(ids, table)


def by_product(table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    return F.one_hot(ids, len(table)).to(table.dtype) @ table


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.allclose(one, other, atol=1e-4)


def with_gradient(look_up: Callable, table: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Return the gradient of the table for the sum of the squares of what is looked up."""
    table.grad = None
    look_up(table, ids).square().sum().backward()
    return table.grad


def compare_look_up(n_tokens: int, width: int, rounds: int) -> None:
    """Print the milliseconds of both sides and their ratio, for every size of vocabulary."""
    print(f"{n_tokens} tokens, C = {width}")
    print(f"{'V':>8}  {'':14} {'look-up':>10} {'product':>10}  product / look-up")
    for size in SIZES:
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(size, width, generator=generator, requires_grad=True)
        ids = torch.randint(size, (n_tokens,), generator=generator)
        ways = {
            "values": lambda look_up, *inputs: look_up(*inputs).detach(),
            "with gradient": with_gradient,
        }
        for way, run in ways.items():
            sides = {f.__name__: partial(run, f, table, ids) for f in (by_look_up, by_product)}
            fast, slow = take_turns(sides, rounds, agree=close).values()
            told = f"{1000 * fast:>7.2f} ms {1000 * slow:>7.1f} ms  {slow / fast:.0f}"
            print(f"{size:>8,}  {way:14} {told}")


def share_right(words: list[str], vectors: torch.Tensor) -> dict[str, tuple[int, int]]:
    """Return for each family how many analogies are right, and how many were asked."""
    right = {}
    for family, pairs in FAMILIES.items():
        asked = [(*p, *q) for p, q in itertools.permutations(pairs.items(), 2)]
        found = [analogy(a, b, c, words, vectors, 1)[0][0] == d for a, b, c, d in asked]
        right[family] = (sum(found), len(found))
    return right


def measure_skipgram(n_seeds: int) -> None:
    """Print seconds and analogies for every seed."""
    texts = stories(3200)
    tokenizer = WordTokenizer.train(" ".join(texts))
    words = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
    ids = [tokenizer.encode(text) for text in texts]
    print(f"skip-gram on {sum(map(len, ids)):,} tokens, {len(words)} different")
    for seed in range(n_seeds):
        generator = torch.Generator().manual_seed(seed)
        train = partial(train_skipgram, ids, len(words), generator=generator, progress=False)
        seconds, vectors = timed(train, time.perf_counter)
        right = share_right(words, vectors)
        total = sum(n for n, _ in right.values()), sum(n for _, n in right.values())
        told = ", ".join(f"{family} {n}/{of}" for family, (n, of) in right.items())
        print(f"  seed {seed}: {seconds:.1f} s, analogies {total[0]}/{total[1]}: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tokens", type=int, default=1024, help="tokens that are looked up")
    parser.add_argument("--width", type=int, default=64, help="C, width of a row")
    parser.add_argument("--rounds", type=int, default=5, help="times that each side is run")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of skip-gram")
    args = parser.parse_args()
    torch.set_num_threads(min(2, torch.get_num_threads()))
    compare_look_up(args.tokens, args.width, args.rounds)
    measure_skipgram(args.seeds)


if __name__ == "__main__":
    main()
