"""The token table: lookup equals a one-hot product, padding stays zero, wrong ids are named."""

import pytest
import torch
import torch.nn.functional as F

from llm_core.embeddings import TokenEmbedding


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
