"""Embeddings: the token table, skip-gram, neighbours and analogies, the map, files of vectors."""

import io
import itertools
import math
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from llm_core.corpus import stories
from llm_core.corpus.words import ANIMALS, PLACES
from llm_core.embeddings import (
    TokenEmbedding,
    analogy,
    cosine_similarity,
    keep_probability,
    load_text_vectors,
    nearest,
    negative_sampling_gradient,
    negative_sampling_loss,
    noise_distribution,
    pca,
    skipgram_pairs,
    train_skipgram,
)
from llm_core.embeddings.skipgram import skipgram_step, start_vectors
from llm_core.tokens import WordTokenizer


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- The token table. ---


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_lookup_is_a_one_hot_product(generator, dtype):
    embedding = TokenEmbedding(7, 3, generator=generator)
    ids = torch.tensor([[0, 6, 2, 2], [5, 1, 6, 0]], dtype=dtype)
    one_hot = F.one_hot(ids.long(), 7).float()  # (B, T, V)
    torch.testing.assert_close(embedding(ids), one_hot @ embedding.weight)


def test_value_and_gradient_equal_torch(generator):
    ours = TokenEmbedding(7, 3, padding_idx=2, generator=generator)
    theirs = torch.nn.Embedding(7, 3, padding_idx=2)
    theirs.weight.data.copy_(ours.weight.data)
    ids = torch.tensor([[0, 6, 2, 2], [5, 1, 6, 0]])
    weighting = torch.randn(2, 4, 3, generator=generator)
    (ours(ids) * weighting).sum().backward()
    (theirs(ids) * weighting).sum().backward()
    torch.testing.assert_close(ours(ids), theirs(ids))
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)


def test_padding_row_stays_zero_through_training(generator):
    embedding = TokenEmbedding(7, 3, padding_idx=2, generator=generator)
    ids = torch.tensor([[0, 2, 2], [5, 2, 6]])
    optimizer = torch.optim.SGD(embedding.parameters(), lr=0.5)
    for _ in range(2):
        optimizer.zero_grad()
        (embedding(ids) - 1).square().sum().backward()
        optimizer.step()
    assert torch.equal(embedding.weight[2], torch.zeros(3))
    assert embedding.weight[5].abs().min() > 0.1


def test_start_is_normal_and_reproducible():
    first, again, other = (
        TokenEmbedding(500, 64, generator=torch.Generator().manual_seed(seed)).weight.detach()
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std().item() == pytest.approx(0.02, rel=0.02)
    assert first.mean().item() == pytest.approx(0.0, abs=0.001)


def test_any_shape_of_ids(generator):
    embedding = TokenEmbedding(7, 3, generator=generator)
    assert embedding(torch.tensor(4)).shape == (3,)
    assert embedding(torch.zeros(2, 3, 4, dtype=torch.long)).shape == (2, 3, 4, 3)
    assert embedding(torch.zeros(2, 0, dtype=torch.long)).shape == (2, 0, 3)


WRONG_IDS = [
    (torch.tensor([1, 7]), IndexError, "ids holds the id 7, outside the vocabulary 0 to 6"),
    (torch.tensor([1, -1]), IndexError, "ids holds the id -1"),
    (torch.tensor([1.0]), TypeError, "ids must hold integer token ids"),
    (torch.tensor([True]), TypeError, "ids must hold integer token ids"),
    ([1, 2], TypeError, "ids must be a torch.Tensor, not list"),
    (None, TypeError, "ids must be a torch.Tensor, not NoneType"),
]


@pytest.mark.parametrize(("ids", "error", "message"), WRONG_IDS)
def test_wrong_ids(ids, error, message):
    with pytest.raises(error, match=message):
        TokenEmbedding(7, 3)(ids)


WRONG_SIZES = [
    ((0, 3), ValueError, "vocab_size"),
    ((7, -1), ValueError, "d_model"),
    ((7.0, 3), TypeError, "vocab_size"),
    ((7, True), TypeError, "d_model"),
    ((7, 3, 7), IndexError, "padding_idx is 7"),
    ((7, 3, -1), IndexError, "padding_idx is -1"),
    ((7, 3, "pad"), TypeError, "padding_idx"),
]


@pytest.mark.parametrize(("args", "error", "message"), WRONG_SIZES)
def test_wrong_sizes(args, error, message):
    with pytest.raises(error, match=message):
        TokenEmbedding(*args)


# --- Pairs of a word and its company. ---


def pairs_by_loop(ids: list[int], window: int) -> list[list[int]]:
    found = []
    for i, centre in enumerate(ids):
        for j in range(max(0, i - window), min(len(ids), i + window + 1)):
            if j != i:
                found.append([centre, ids[j]])
    return found


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 15))
def test_pairs_are_those_of_two_loops(ids, window):
    pairs = skipgram_pairs(torch.tensor(ids, dtype=torch.long), window)
    assert pairs.dtype == torch.int64
    assert pairs.tolist() == pairs_by_loop(ids, window)


@given(st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=6), min_size=1, max_size=4))
def test_no_pair_joins_two_texts(texts):
    ids = torch.tensor([id for text in texts for id in text])
    text_of = torch.tensor([i for i, text in enumerate(texts) for _ in text])
    together = skipgram_pairs(ids, 2, text_of)
    assert together.tolist() == [pair for text in texts for pair in pairs_by_loop(text, 2)]


# --- Negative sampling: loss, gradient, chances. ---


def three(seed: int, B: int = 3, K: int = 4, C: int = 5) -> tuple[torch.Tensor, ...]:
    shapes = ((B, C), (B, C), (B, K, C))
    generator = seeded(seed)
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


@pytest.mark.parametrize("K", [0, 1, 4])
def test_loss_is_binary_cross_entropy(K):
    centre, company, negatives = three(0, K=K)
    rows = torch.cat([company.unsqueeze(1), negatives], dim=1)  # (B, 1 + K, C)
    scores = torch.einsum("bc,bkc->bk", centre, rows)
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1
    expected = F.binary_cross_entropy_with_logits(scores, labels, reduction="none").sum(dim=1)
    torch.testing.assert_close(negative_sampling_loss(centre, company, negatives), expected)


@pytest.mark.parametrize("K", [0, 1, 4])
def test_gradient_by_hand_is_autograds(K):
    inputs = [t.requires_grad_() for t in three(1, K=K)]
    expected = torch.autograd.grad(negative_sampling_loss(*inputs).sum(), inputs)
    by_hand = negative_sampling_gradient(*(t.detach() for t in inputs))
    for ours, theirs in zip(by_hand, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradcheck(negative_sampling_loss, inputs)


def test_large_scores_do_not_overflow():
    far = torch.full((1, 1), 100.0)
    loss = negative_sampling_loss(far, -far, far.unsqueeze(1))
    assert loss.item() == pytest.approx(20_000.0)
    assert negative_sampling_loss(far, far, -far.unsqueeze(1)).item() == 0
    assert all(g.isfinite().all() for g in negative_sampling_gradient(far, -far, far[None]))


def test_a_step_moves_every_row_against_its_summed_gradient():
    generator = seeded(2)
    vectors = torch.randn(6, 3, generator=generator).requires_grad_()
    companies = torch.randn(6, 3, generator=generator).requires_grad_()
    pairs = torch.tensor([[0, 1], [0, 1], [2, 0], [5, 5]])  # rows that occur twice
    negatives = torch.tensor([[1, 1], [3, 4], [0, 0], [5, 1]])
    loss = negative_sampling_loss(
        vectors[pairs[:, 0]], companies[pairs[:, 1]], companies[negatives]
    )
    slopes = torch.autograd.grad(loss.sum(), [vectors, companies])
    moved = [vectors.detach().clone(), companies.detach().clone()]
    skipgram_step(*moved, pairs, negatives, rate=0.1)
    for now, before, slope in zip(moved, (vectors, companies), slopes, strict=True):
        torch.testing.assert_close(now, (before - 0.1 * slope).detach())


def test_noise_is_a_power_of_the_counts():
    noise = noise_distribution(torch.tensor([16, 0, 1, 81]))
    torch.testing.assert_close(noise, torch.tensor([8.0, 0, 1, 27]) / 36)
    assert noise_distribution(torch.tensor([3, 0, 1]), power=0.0).tolist() == [0.5, 0, 0.5]
    torch.testing.assert_close(
        noise_distribution(torch.tensor([3, 0, 1]), power=1.0), torch.tensor([0.75, 0, 0.25])
    )


def test_frequent_words_are_thinned_out():
    counts = torch.tensor([900, 99, 1, 0])
    keep = keep_probability(counts, threshold=0.009)
    torch.testing.assert_close(keep, torch.tensor([0.1, math.sqrt(0.009 / 0.099), 1, 1]))
    assert keep_probability(counts, threshold=None).tolist() == [1, 1, 1, 1]


# --- Training. ---

TEXTS = [[0, 1, 2, 3], [0, 1, 4], [5], [], [2, 3, 2, 3]]


def test_the_same_seed_gives_the_same_vectors():
    first, again, other = (
        train_skipgram(TEXTS, 7, 4, threshold=None, generator=seeded(seed), progress=False)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (7, 4)
    torch.testing.assert_close(first[6], start_vectors(7, 4, seeded(1))[0][6])


def test_two_words_with_the_same_company_come_to_lie_together():
    rng = torch.Generator().manual_seed(0)
    draw = torch.randint(0, 2, (300,), generator=rng).tolist()
    texts = [[0, 2 + d, 4, 6] if i % 2 else [1, 2 + d, 5, 6] for i, d in enumerate(draw)]
    vectors = train_skipgram(
        texts, 7, 8, threshold=None, epochs=30, generator=seeded(3), progress=False
    )
    alike = cosine_similarity(vectors[2], vectors[3])
    unlike = cosine_similarity(vectors[0], vectors[1])
    assert alike > 0.9 > unlike


def test_training_reports_its_progress_and_its_table():
    seen = []
    vectors = train_skipgram(
        TEXTS,
        7,
        4,
        epochs=2,
        batch_size=8,
        threshold=None,
        on_step=lambda done, table: seen.append((done, table)),
        progress=False,
    )
    shares = [done for done, _ in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert 0.5 in shares, "the end of the first epoch"
    assert all(table is vectors for _, table in seen)


def test_every_pair_of_an_epoch_is_used_once(monkeypatch):
    used: Counter[tuple[int, ...]] = Counter()

    def count(vectors, companies, pairs, negatives, rate):
        used.update(map(tuple, pairs.tolist()))
        assert negatives.shape == (len(pairs), 5)

    monkeypatch.setattr("llm_core.embeddings.skipgram.skipgram_step", count)
    monkeypatch.setattr("llm_core.embeddings.skipgram._CHUNK", 8)  # cuts the last text in two
    train_skipgram(TEXTS, 7, 4, threshold=None, epochs=1, batch_size=3, progress=False)
    parts = [[0, 1, 2, 3], [0, 1, 4], [5], [2, 3, 2, 3]]
    assert used == Counter(tuple(p) for part in parts for p in pairs_by_loop(part, 5))


def test_training_that_runs_away_says_what_to_lower():
    texts = [[0, 1] * 200]
    with pytest.raises(ValueError, match=r"lower learning_rate, which is 50.*batch_size"):
        train_skipgram(texts, 2, 4, threshold=None, learning_rate=50.0, progress=False)


def test_training_on_nothing_left_says_so():
    with pytest.raises(ValueError, match=r"threshold=1e-09 has thinned the texts out"):
        train_skipgram(TEXTS, 7, 4, threshold=1e-9, progress=False)


@pytest.mark.parametrize("V", [2, 5, 20, 100])
def test_the_defaults_hold_for_small_vocabularies(V):
    text = torch.randint(0, V, (4000,), generator=seeded(0))
    vectors = train_skipgram([text], V, threshold=None, generator=seeded(1), progress=False)
    assert vectors.abs().max() < 20


def test_training_can_be_interrupted():
    def interrupt(done, table):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_skipgram(TEXTS, 7, 4, threshold=None, on_step=interrupt, progress=False)


def pairs_of(table: dict[str, str]) -> list[tuple[str, str, str, str]]:
    return [(a, b, c, d) for (a, b), (c, d) in itertools.permutations(table.items(), 2)]


FAMILIES = {
    "royalty": pairs_of({"man": "king", "woman": "queen", "boy": "prince", "girl": "princess"}),
    "gender": pairs_of({"king": "queen", "man": "woman", "prince": "princess", "boy": "girl"}),
    "animal and young": pairs_of({animal: young for animal, (young, _) in ANIMALS.items()}),
    "place and thing": pairs_of({place: thing for place, (_, _, thing) in PLACES.items()}),
}


@pytest.fixture(scope="module")
def words_and_ids():
    """Return the vocabulary of 3200 stories, and the stories as rows of ids."""
    texts = stories(3200)
    tokenizer = WordTokenizer.train(" ".join(texts))
    words = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
    return words, [torch.tensor(tokenizer.encode(text)) for text in texts]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_analogies_that_the_stories_support(words_and_ids, seed, record_property):
    """The issue's figure: at least 20 analogies, at least 90 % right, inputs excluded."""
    words, ids = words_and_ids
    vectors = train_skipgram(ids, len(words), generator=seeded(seed), progress=False)
    right = {
        family: [analogy(a, b, c, words, vectors, 1)[0][0] == d for a, b, c, d in asked]
        for family, asked in FAMILIES.items()
    }
    every = [answer for answers in right.values() for answer in answers]
    told = ", ".join(f"{family} {sum(r)}/{len(r)}" for family, r in right.items())
    record_property("figure", f"analogies, seed {seed}: {sum(every)}/{len(every)}: {told}")
    assert len(every) >= 20
    assert sum(every) / len(every) >= 0.9
    assert all(sum(r) / len(r) >= 0.75 for r in right.values())


WRONG_TRAINING = [
    ({"texts": torch.tensor([1, 2])}, TypeError, r"put a single row into a list"),
    ({"texts": "a text"}, TypeError, r"texts must be a list"),
    ({"texts": []}, ValueError, r"no pair of words"),
    ({"texts": [[1], []]}, ValueError, r"no pair of words"),
    ({"texts": [["a", "b"]]}, TypeError, r"texts\[0\] must be a row of token ids"),
    ({"texts": [[1, 2], [0.5, 1.0]]}, TypeError, r"texts\[1\] must hold integer token ids"),
    ({"texts": [[[1, 2], [3, 4]]]}, ValueError, r"texts\[0\] must have 1 axes"),
    ({"texts": [[1, 7]]}, IndexError, r"texts\[0\] holds the id 7"),
    ({"vocab_size": 0}, ValueError, r"vocab_size must be at least 1"),
    ({"d_model": 2.0}, TypeError, r"d_model must be a whole number"),
    ({"window": 0}, ValueError, r"window must be at least 1"),
    ({"n_negatives": -1}, ValueError, r"n_negatives must be at least 0"),
    ({"epochs": 0}, ValueError, r"epochs must be at least 1"),
    ({"batch_size": True}, TypeError, r"batch_size"),
    ({"learning_rate": 0}, ValueError, r"learning_rate must lie in"),
    ({"learning_rate": math.nan}, ValueError, r"learning_rate must lie in"),
    ({"threshold": 2.0}, ValueError, r"threshold must lie in"),
    ({"generator": 3}, TypeError, r"generator must be a torch.Generator"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG_TRAINING)
def test_wrong_training(arguments, error, message):
    with pytest.raises(error, match=message):
        train_skipgram(**{"texts": TEXTS, "vocab_size": 7, "progress": False, **arguments})


WRONG_CALLS = [
    (skipgram_pairs, ([1, 2], 2), TypeError, "ids must be a torch.Tensor"),
    (skipgram_pairs, (torch.ones(2, 2, dtype=torch.long), 2), ValueError, "ids must have 1 axes"),
    (skipgram_pairs, (torch.arange(3), 2, torch.zeros(2).long()), ValueError, "text_of has 2"),
    (negative_sampling_loss, (torch.ones(2, 3), torch.ones(2, 4), torch.ones(2, 1, 3)), ValueError,
     "company must have the shape"),
    (negative_sampling_loss, (torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 3)), ValueError,
     "negatives must have 3 axes"),
    (negative_sampling_gradient, (torch.ones(2, 3), torch.ones(2, 3), torch.ones(1, 4, 3)),
     ValueError, "their shapes are"),
    (negative_sampling_loss, (torch.ones(2, 3).long(), torch.ones(2, 3), torch.ones(2, 1, 3)),
     TypeError, "centre must hold floating-point numbers"),
    (noise_distribution, ([1, 2],), TypeError, "counts must be a 1-D tensor"),
    (noise_distribution, (torch.zeros(3),), ValueError, "at least one must be above zero"),
    (noise_distribution, (torch.ones(3), 1.5), ValueError, "power must lie in"),
    (keep_probability, (torch.tensor([1, -1]),), ValueError, "must not be negative"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "error", "message"), WRONG_CALLS)
def test_wrong_calls(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


# --- Neighbours and analogies. ---

WORDS = ["king", "queen", "man", "woman", "spade"]
VECTORS = torch.tensor([[3.0, 0, 3, 0], [0, 3, 3, 0], [9.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])


def test_cosine_is_torchs_and_has_no_scale():
    a, b = torch.randn(5, 4, generator=seeded(0)), torch.randn(5, 4, generator=seeded(1))
    torch.testing.assert_close(cosine_similarity(a, b), F.cosine_similarity(a, b, dim=-1))
    torch.testing.assert_close(cosine_similarity(3 * a, 0.1 * b), cosine_similarity(a, b))
    table = cosine_similarity(a[:, None], b)  # (5, 1, 4) and (5, 4) -> (5, 5)
    torch.testing.assert_close(table, F.cosine_similarity(a[:, None], b[None], dim=-1))
    assert cosine_similarity(torch.zeros(4), a[0]) == 0


def test_nearest_leaves_the_word_out_and_sorts():
    found = nearest("king", WORDS, VECTORS, k=10)
    assert [word for word, _ in found] == ["man", "queen", "woman", "spade"]
    assert found[0][1] == pytest.approx(math.sqrt(0.5))
    assert nearest("king", WORDS, VECTORS, 1) == found[:1]


def test_of_equals_the_earlier_word_comes_first():
    words = ["d", "b", "c", "a"]
    vectors = torch.tensor([[1.0, 0], [0, 1], [0, 2], [0, 3]])
    assert [word for word, _ in nearest("d", words, vectors)] == ["b", "c", "a"]


def test_analogy_on_vectors_made_by_hand():
    (word, score), *_ = analogy("man", "king", "woman", WORDS, VECTORS)
    unit = F.normalize(VECTORS, dim=1)
    expected = F.cosine_similarity(unit[0] - unit[2] + unit[3], unit[1], dim=0)
    assert word == "queen"
    assert score == pytest.approx(expected.item())
    answers = [w for w, _ in analogy("man", "king", "woman", WORDS, VECTORS, 9)]
    assert sorted(answers) == ["queen", "spade"]


def test_both_wrong_ways_of_the_chapter_go_wrong():
    everything = analogy("man", "king", "woman", WORDS, VECTORS, 9, exclude_inputs=False)
    assert len(everything) == 5
    raw = analogy("man", "king", "woman", WORDS, VECTORS, 9, normalise=False)
    query = VECTORS[0] - VECTORS[2] + VECTORS[3]
    assert dict(raw)["queen"] == pytest.approx((query @ VECTORS[1]).item())


WRONG_WORDS = [
    (("kin", WORDS, VECTORS), ValueError, "word is 'kin'.*did you mean 'king'"),
    (("King", WORDS, VECTORS), ValueError, "did you mean 'king'"),
    (("zzz", WORDS, VECTORS), ValueError, "not one of the 5 words$"),
    ((3, WORDS, VECTORS), TypeError, "word must be a word, not 3"),
    (("king", "king", VECTORS), TypeError, "words must be a list of strings"),
    (("king", WORDS[:4], VECTORS), ValueError, "4 words and 5 vectors"),
    (("king", [*WORDS[:4], 7], VECTORS), TypeError, "one is 7"),
    (("king", [*WORDS[:4], "king"], VECTORS), ValueError, "holds 'king' twice"),
    (("king", WORDS, VECTORS.long()), TypeError, "vectors must hold floating-point"),
    (("king", WORDS, VECTORS * math.nan), ValueError, "NaN or infinity"),
    (("king", WORDS, VECTORS, 0), ValueError, "k must be at least 1"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), WRONG_WORDS)
def test_wrong_words(arguments, error, message):
    with pytest.raises(error, match=message):
        nearest(*arguments)


def test_a_wrong_word_in_an_analogy_is_named_by_its_place():
    with pytest.raises(ValueError, match=r"c is 'womann'.*'woman'"):
        analogy("man", "king", "womann", WORDS, VECTORS)


# --- The map. ---


def test_pca_equals_the_singular_value_decomposition():
    x = torch.randn(40, 6, generator=seeded(0)) * torch.tensor([5.0, 3, 2, 1, 0.5, 0.2]) + 7
    points, directions = pca(x, 3)
    _, _, rows = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    signs = (rows[:3] * directions).sum(dim=1).sign()
    torch.testing.assert_close(directions, rows[:3] * signs[:, None], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(points, (x - x.mean(dim=0)) @ directions.T, atol=1e-4, rtol=1e-4)
    assert points.var(dim=0).tolist() == sorted(points.var(dim=0).tolist(), reverse=True)
    assert points.mean(dim=0).abs().max() < 1e-5


def test_pca_has_one_sign_and_keeps_the_dtype():
    x = torch.randn(9, 4, generator=seeded(1))
    torch.testing.assert_close(pca(x)[1], pca(-x)[1])
    assert (pca(x)[1].amax(dim=1) == pca(x)[1].abs().amax(dim=1)).all()
    assert pca(x.double())[0].dtype == torch.float64
    assert pca(torch.ones(1, 3), 3)[0].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("x", "n", "error", "message"),
    [
        (torch.ones(3), 2, ValueError, "x must have 2 axes"),
        (torch.ones(3, 2).long(), 2, TypeError, "floating-point"),
        (torch.ones(3, 2), 3, ValueError, "3 directions need"),
        (torch.ones(0, 2), 2, ValueError, "at least one point"),
        (torch.ones(3, 2), 0, ValueError, "n_directions must be at least 1"),
        (torch.tensor([[math.nan, 1.0]]), 1, ValueError, "NaN or infinity"),
    ],
)
def test_wrong_points(x, n, error, message):
    with pytest.raises(error, match=message):
        pca(x, n)


# --- Files of vectors. ---

GLOVE = "the 0.1 -0.2 0.3\nking 1 2e-1 3\n. . 4 5 6\nKönigin 7 8 9\n"


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.txt"
    path.write_text(GLOVE, encoding="utf-8")
    return path


def test_a_file_of_vectors_is_read(glove):
    words, vectors = load_text_vectors(glove)
    assert words == ["the", "king", ". .", "Königin"]
    expected = [[0.1, -0.2, 0.3], [1, 0.2, 3], [4, 5, 6], [7, 8, 9]]
    torch.testing.assert_close(vectors, torch.tensor(expected))
    assert nearest("king", words, vectors, 1)


def test_limit_and_choice(glove):
    assert load_text_vectors(glove, limit=2)[0] == ["the", "king"]
    assert load_text_vectors(str(glove), only={"Königin", "the"})[0] == ["the", "Königin"]
    with pytest.raises(ValueError, match="no vector of the words in only"):
        load_text_vectors(glove, limit=2, only=["Königin"])


@pytest.mark.parametrize(
    "text",
    [
        "2 3\nthe 1 2 3\nking 4 5 6",
        "the 1 2 3\r\nking 4 5 6 \r\n\r\n",
        "\ufeffthe 1 2 3\nking 4 5 6",
        "the 1 2 3\nking 4 5 6\nthe 7 8 9\n",
    ],
)
def test_headers_line_ends_marks_and_repeats(tmp_path, text):
    path = tmp_path / "vectors.txt"
    path.write_bytes(text.encode("utf-8"))
    words, vectors = load_text_vectors(path)
    assert words == ["the", "king"]
    assert vectors.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no vectors"),
        ("\n\n", "holds no vectors"),
        ("the 1 2 3\nking 4 5\n", "line 2: 3 fields between spaces, but a word and 3 numbers"),
        ("the 1 2 3\nking\n", "line 2: 1 fields"),
        ("the\n", "line 1: 1 fields"),
        ("the 1 2 3\nking 4 x 6\n", "line 2: could not convert"),
        ("the 1 2 3\nking 4 nan 6\n", "line 2: a number is NaN or infinite"),
        ("the 1 2 inf\n", "line 1: a number is NaN or infinite"),
        ("<html>\n<body>not found</body>\n", "line 1"),
    ],
)
def test_broken_files_name_the_line(tmp_path, text, message):
    path = tmp_path / "vectors.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_text_vectors(path)


def test_other_broken_files(tmp_path, glove):
    path = tmp_path / "binary.txt"
    path.write_bytes(b"the 1 2\n\xff\xfe\x00\n")
    with pytest.raises(ValueError, match="line 2, is not UTF-8"):
        load_text_vectors(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_text_vectors(tmp_path / "absent.txt")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_text_vectors(tmp_path)
    with pytest.raises(TypeError, match="only must be a collection"):
        load_text_vectors(glove, only="the")
    with pytest.raises(ValueError, match="limit must be at least 1"):
        load_text_vectors(glove, limit=0)


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.txt", text)
    return path


def test_a_zip_file_need_not_be_unpacked(tmp_path):
    path = zipped(tmp_path / "glove.zip", wide="the 1 2 3 4 5 6\n", narrow="the 1 2\n")
    assert load_text_vectors(path)[1].tolist() == [[1, 2]]
    assert load_text_vectors(path, member="wide.txt")[1].shape == (1, 6)
    with pytest.raises(FileNotFoundError, match=r"no file 'else.txt'; it holds \['wide.txt'"):
        load_text_vectors(path, member="else.txt")


def test_broken_zip_files_say_so(tmp_path):
    cut = tmp_path / "cut.zip"
    whole = zipped(tmp_path / "whole.zip", a="".join(f"w{i} {i} {i}\n" for i in range(500)))
    cut.write_bytes(whole.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"damaged \.zip file"):
        load_text_vectors(cut)
    changed = bytearray(whole.read_bytes())
    changed[200] ^= 0xFF
    cut.write_bytes(changed)
    with pytest.raises(ValueError, match=r"damaged .zip file|line \d+"):
        load_text_vectors(cut)
    empty = tmp_path / "empty.zip"
    with zipfile.ZipFile(io.FileIO(empty, "w"), "w") as archive:
        archive.writestr("readme.md", "nothing")
    with pytest.raises(FileNotFoundError, match=r"no \.txt file"):
        load_text_vectors(empty)


# --- The exercises' references are the module's own functions. ---


def test_the_references_of_the_exercises_are_the_modules(generator):
    from llm_core.exercises import embeddings as exercises

    ids = torch.randint(0, 5, (20,), generator=generator)
    assert torch.equal(exercises.skipgram_pairs(ids, 3), skipgram_pairs(ids, 3))
    inputs = three(5)
    torch.testing.assert_close(
        exercises.negative_sampling_loss(*inputs), negative_sampling_loss(*inputs)
    )
    pairs = zip(
        exercises.negative_sampling_gradient(*inputs),
        negative_sampling_gradient(*inputs),
        strict=True,
    )
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


def test_the_rankings_of_the_exercises_are_the_modules(generator):
    from llm_core.exercises import embeddings as exercises

    vectors = torch.randn(30, 4, generator=generator)
    words = [f"w{i}" for i in range(30)]
    for a in range(8):
        found = exercises.nearest(vectors, vectors[a], 5, [a])
        assert [words[i] for i in found] == [word for word, _ in nearest(words[a], words, vectors)]
        b, c = a + 9, a + 20
        right = analogy(words[a], words[b], words[c], words, vectors, 1)[0][0]
        assert words[exercises.analogy(vectors, a, b, c)] == right
        raw = analogy(words[a], words[b], words[c], words, vectors, 1, normalise=False)[0][0]
        assert words[exercises.careless_analogy(vectors, a, b, c)] == raw


def test_looking_up_with_padding_is_the_layers(generator):
    from llm_core.exercises import embeddings as exercises

    layer = TokenEmbedding(7, 3, padding_idx=2, generator=generator)
    ids = torch.tensor([[0, 6, 2, 2], [5, 1, 6, 0]])
    torch.testing.assert_close(exercises.embed(layer.weight, ids, 2), layer(ids))


# --- Answers from an attack on the exercises: each must get the right verdict. ---


def pads_only_at_the_end(table, ids, padding_idx):
    x = table[ids]
    if padding_idx is None:
        return x
    trailing = (ids.flip(1) == padding_idx).cumprod(dim=1).flip(1).bool()
    return x.masked_fill(trailing.unsqueeze(-1), 0.0)


def mean_that_counts_two_at_least(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(-1)
    return (x * real).sum(dim=1) / real.sum(dim=1).clamp(min=2)


def loss_of_cut_scores(centre, company, negatives):
    yes = (centre * company).sum(-1).clamp(-50, 50)
    no = torch.einsum("bc,bkc->bk", centre, negatives).clamp(-50, 50)
    return -F.logsigmoid(yes) - F.logsigmoid(-no).sum(-1)


def gradient_of_the_last_pair_for_all(centre, company, negatives):
    by_centre, by_company, by_negatives = negative_sampling_gradient(centre, company, negatives)
    return by_centre[-1:].expand_as(by_centre), by_company, by_negatives


def analogy_that_only_hides_below_minus_one(vectors, a, b, c):
    rows = F.normalize(vectors, dim=1)
    scores = rows @ (rows[b] - rows[a] + rows[c])
    scores[[a, b, c]] = -1.0
    return int(scores.argmax())


ATTACKS = [
    ("embed", pads_only_at_the_end, "Entry"),
    ("embed", lambda table, ids, padding_idx: table.detach()[ids], "padding"),
    ("mean_of_tokens", mean_that_counts_two_at_least, "all tokens of a text have the same vector"),
    ("skipgram_pairs", lambda ids, window: skipgram_pairs(ids, window)[:-1], "(3, 2)"),
    ("skipgram_pairs", lambda ids, window: skipgram_pairs(ids, min(window, 3)), "(228, 2)"),
    ("negative_sampling_loss", loss_of_cut_scores, "the gradient at the centre must be 60"),
    ("negative_sampling_gradient", gradient_of_the_last_pair_for_all, "your gradient says"),
    (
        "nearest",
        lambda vectors, query, k, exclude: (vectors @ query).topk(k).indices,
        "your ranking changed",
    ),
    ("analogy", analogy_that_only_hides_below_minus_one, "where 3 was expected"),
    ("analogy", lambda vectors, a, b, c: torch.tensor(b), ".item()"),
    ("expose_bug", lambda: (torch.eye(5), 0, 1, 2), "the same length"),
    ("expose_bug", lambda: (torch.randn(6, 3), 0.0, 1.0, 2.0), "whole numbers"),
]


@pytest.mark.parametrize(("name", "function", "words"), ATTACKS)
def test_an_attack_on_the_exercises_fails_with_a_true_sentence(name, function, words):
    from llm_core.exercises.checks import judge
    from llm_core.exercises.registry import find_exercise

    verdict = judge(find_exercise(f"embeddings.{name}"), function)
    assert not verdict.passed
    assert words in repr(verdict), verdict


def embed_in_place(table, ids, padding_idx):
    x = table[ids]
    x[ids == padding_idx] = 0
    return x


def embed_with_a_row_of_zeros(table, ids, padding_idx):
    if padding_idx is None:
        return table[ids]
    longer = torch.cat([table, torch.zeros_like(table[:1])])
    return longer[torch.where(ids == padding_idx, len(table), ids)]


def mean_by_nan_to_num(x, ids, padding_idx):
    real = (ids != padding_idx).unsqueeze(2)
    return torch.nan_to_num((x * real).sum(1) / real.sum(1))


def loss_by_softmax_of_two(centre, company, negatives):
    scores = torch.cat([company[:, None], -negatives], dim=1) @ centre[:, :, None]  # (B, 1 + K, 1)
    both = torch.cat([scores, torch.zeros_like(scores)], dim=2)  # (B, 1 + K, 2)
    return -both.log_softmax(dim=2)[..., 0].sum(dim=1)


def nearest_one_after_the_other(vectors, query, k, exclude):
    similarity = F.cosine_similarity(vectors, query[None])
    similarity[exclude] = -math.inf
    found = []
    for _ in range(k):
        found.append(int(similarity.argmax()))
        similarity[found[-1]] = -math.inf
    return torch.tensor(found)


def analogy_from_three_similarities(vectors, a, b, c):
    rows = F.normalize(vectors, dim=1)
    similarity = rows @ rows.T
    scores = similarity[b] - similarity[a] + similarity[c]
    return next(i for i in scores.argsort(descending=True).tolist() if i not in (a, b, c))


UNUSUAL = [
    ("embed", embed_in_place),
    ("embed", embed_with_a_row_of_zeros),
    ("mean_of_tokens", mean_by_nan_to_num),
    ("skipgram_pairs", skipgram_pairs),
    ("negative_sampling_loss", negative_sampling_loss),
    ("negative_sampling_loss", loss_by_softmax_of_two),
    ("negative_sampling_gradient", negative_sampling_gradient),
    ("nearest", nearest_one_after_the_other),
    ("analogy", analogy_from_three_similarities),
]


@pytest.mark.parametrize(("name", "function"), UNUSUAL)
def test_right_answers_in_an_unusual_style_pass(name, function):
    from llm_core.exercises.checks import judge
    from llm_core.exercises.registry import find_exercise

    verdict = judge(find_exercise(f"embeddings.{name}"), function)
    assert verdict.passed, verdict
