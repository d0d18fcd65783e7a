"""Batches: targets are inputs shifted by one; token files: what is read is what was written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_core.data import (
    IGNORE_INDEX,
    TokenFile,
    get_batch,
    pack_sequences,
    pad_batch,
    sequential_batches,
    shuffled_batches,
)

IDS = torch.arange(100)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def token_file(tmp_path) -> TokenFile:
    return TokenFile.write(tmp_path / "train.bin", range(100), vocab_size=100)


@pytest.fixture
def token_path(tmp_path) -> Path:
    """A token file that nobody has open: Windows lets nobody change one that is."""
    return TokenFile.write(tmp_path / "train.bin", range(100), vocab_size=100).path


# --- get_batch --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_targets_are_the_inputs_shifted_by_one(dtype):
    x, y = get_batch(IDS.to(dtype), batch_size=7, context_length=5, generator=seeded())
    assert x.shape == y.shape == (7, 5)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, x + 1)  # the text counts upwards
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert x.is_contiguous()
    assert y.is_contiguous()


def test_tensor_array_and_file_give_the_same_batch(token_file):
    sources = (IDS, IDS.numpy(), IDS.numpy().astype(np.uint16), token_file)
    batches = [get_batch(source, 4, 8, generator=seeded(3)) for source in sources]
    for x, y in batches[1:]:
        assert torch.equal(x, batches[0][0])
        assert torch.equal(y, batches[0][1])
        assert x.dtype == torch.int64


def test_every_window_is_drawn_and_no_other():
    x, y = get_batch(torch.arange(10), batch_size=2000, context_length=7, generator=seeded())
    starts = torch.bincount(x[:, 0])
    assert len(starts) == 3  # windows begin at 0, 1 and 2
    assert starts.min() > 550  # 667 each, six standard deviations is 126
    assert int(y.max()) == 9


def test_the_shortest_text_that_works():
    x, y = get_batch(torch.tensor([4, 5, 6]), batch_size=2, context_length=2)
    assert x.tolist() == [[4, 5], [4, 5]]
    assert y.tolist() == [[5, 6], [5, 6]]


def test_the_seed_decides():
    first, again, other = (get_batch(IDS, 8, 4, generator=seeded(s))[0] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_is_a_copy():
    ids = torch.arange(10)
    x, _ = get_batch(ids, 2, 4)
    x.zero_()
    assert torch.equal(ids, torch.arange(10))


# --- sequential_batches -----------------------------------------------------------------------


@settings(deadline=None)
@given(n=st.integers(2, 60), batch_size=st.integers(1, 5), T=st.integers(1, 9))
def test_a_full_pass_has_each_target_once_and_in_order(n, batch_size, T):
    if n < T + 1:
        return
    batches = list(sequential_batches(torch.arange(n), batch_size, T))
    x = torch.cat([x.flatten() for x, _ in batches])
    y = torch.cat([y.flatten() for _, y in batches])
    n_windows = (n - 1) // T
    assert x.tolist() == list(range(n_windows * T))
    assert y.tolist() == list(range(1, n_windows * T + 1))
    assert all(x.shape[0] == batch_size for x, _ in batches[:-1])
    assert 1 <= batches[-1][0].shape[0] <= batch_size


def test_a_full_pass_reads_files_and_arrays_alike(token_file):
    expected = list(sequential_batches(IDS, 3, 8))
    for source in (IDS.numpy(), token_file):
        for (x, y), (x0, y0) in zip(sequential_batches(source, 3, 8), expected, strict=True):
            assert torch.equal(x, x0)
            assert torch.equal(y, y0)


@settings(deadline=None)
@given(n=st.integers(2, 40), T=st.integers(1, 9), stride=st.integers(1, 12))
def test_a_stride_moves_the_windows_on(n, T, stride):
    if n < T + 1:
        return
    batches = list(sequential_batches(torch.arange(n), 3, T, stride=stride))
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    assert x[:, 0].tolist() == list(range(0, n - T, stride))
    assert torch.equal(x, x[:, :1] + torch.arange(T))
    assert torch.equal(y, x + 1)


# --- shuffled_batches -------------------------------------------------------------------------


@settings(deadline=None)
@given(
    n=st.integers(2, 60),
    batch_size=st.integers(1, 5),
    T=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_a_shuffled_pass_takes_no_target_twice(n, batch_size, T, seed):
    if (n - 1) // T <= batch_size:  # with a drawn beginning there may be one window less
        return
    generator = torch.Generator().manual_seed(seed)
    batches = list(shuffled_batches(torch.arange(n), batch_size, T, generator=generator))
    x, y = (torch.cat(part) for part in zip(*batches, strict=True))
    assert all(batch.shape == (batch_size, T) for batch, _ in batches)
    assert torch.equal(y, x + 1)
    assert len(set(y.flatten().tolist())) == y.numel()
    assert n - 1 - y.numel() < 2 * T + batch_size * T  # no more is left out than said


def test_shuffled_passes_differ_and_a_seed_repeats_them(token_file):
    def passes(source):
        generator = torch.Generator().manual_seed(3)
        return [
            torch.cat([x for x, _ in shuffled_batches(source, 2, 8, generator=generator)])
            for _ in range(3)
        ]

    first, second, third = passes(IDS)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    for source in (IDS, IDS.numpy(), token_file):
        assert all(map(torch.equal, passes(source), (first, second, third)))


def test_the_first_window_of_a_pass_may_begin_at_each_of_t_places():
    generator = torch.Generator().manual_seed(0)
    draws = [shuffled_batches(torch.arange(40), 1, 4, generator=generator) for _ in range(200)]
    assert {int(torch.cat([x for x, _ in draw]).min()) for draw in draws} == {0, 1, 2, 3}


# --- pad_batch --------------------------------------------------------------------------------


def test_padding_by_hand():
    x, y = pad_batch([[5, 6, 7, 8], torch.tensor([3, 4])], pad_id=0)
    assert x.tolist() == [[5, 6, 7], [3, 0, 0]]
    assert y.tolist() == [[6, 7, 8], [4, IGNORE_INDEX, IGNORE_INDEX]]
    assert x.dtype == y.dtype == torch.int64


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=8), min_size=1, max_size=5))
def test_padding_counts_each_token_of_each_sequence_once(sequences):
    x, y = pad_batch(sequences, pad_id=3)
    for row_x, row_y, sequence in zip(x, y, sequences, strict=True):
        real = row_y != IGNORE_INDEX
        assert row_x[real].tolist() == sequence[:-1]
        assert row_y[real].tolist() == sequence[1:]
        assert (row_x[~real] == 3).all()


def test_the_loss_of_a_padded_batch_is_that_of_its_sequences():
    table = torch.randn(10, 10, generator=seeded())
    sequences = [[1, 2, 3, 4, 5], [7, 8], [9, 9, 1]]
    x, y = pad_batch(sequences, pad_id=0)
    together = torch.nn.functional.cross_entropy(table[x].flatten(0, 1), y.flatten())
    losses = [
        torch.nn.functional.cross_entropy(table[s[:-1]], torch.tensor(s[1:]), reduction="sum")
        for s in sequences
    ]
    assert torch.allclose(together, sum(losses) / 7)


# --- pack_sequences ---------------------------------------------------------------------------


def test_packing_by_hand():
    x, y = pack_sequences([[1, 2, 3], torch.tensor([4]), [5, 6]], 4, separator_id=0)
    assert x.tolist() == [[1, 2, 3, 0], [4, 0, 5, 6]]
    assert y.tolist() == [[2, 3, 0, 4], [0, 5, 6, 0]]
    x, y = pack_sequences([[1, 2, 3], [4]], 4, separator_id=9)
    assert x.tolist() == [[1, 2, 3, 9], [4, 9, 9, 9]]
    assert y.tolist() == [[2, 3, 9, 4], [9, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]]
    assert x.dtype == y.dtype == torch.int64


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=8), min_size=1, max_size=6),
    st.integers(1, 7),
)
def test_packing_keeps_every_token_once_and_in_order(sequences, T):
    x, y = pack_sequences(sequences, T, separator_id=7)
    row = [id for sequence in sequences for id in (*sequence, 7)]
    real = y != IGNORE_INDEX
    assert x[real].tolist() == row[:-1]
    assert y[real].tolist() == row[1:]
    assert x.shape[1] == T
    assert (~real).sum() < T, "only the last row may be filled up"
    assert (x[~real] == 7).all()


def test_packing_wastes_less_than_padding():
    sequences = [[1] * n for n in (3, 40, 5, 8, 17, 2, 31, 6)]
    padded, _ = pad_batch(sequences, 0)
    packed, _ = pack_sequences(sequences, 16, separator_id=0)
    assert packed.numel() < padded.numel() / 2


# --- TokenFile --------------------------------------------------------------------------------


@pytest.mark.parametrize(("vocab_size", "width"), [(65_536, 2), (65_537, 4)])
def test_ids_come_back_and_take_two_or_four_bytes(tmp_path, vocab_size, width):
    ids = [0, 1, vocab_size - 1, 7]
    path = tmp_path / "folder" / "ids.bin"
    file = TokenFile.write(path, iter(ids), vocab_size)
    assert path.stat().st_size == len(ids) * width
    assert len(file) == 4
    assert file.vocab_size == vocab_size
    assert file[:].tolist() == ids
    assert file[1:3].tolist() == ids[1:3]
    assert file[:].dtype == torch.int64
    assert (file[2], file[-1]) == (vocab_size - 1, 7)
    assert TokenFile(path)[:].tolist() == ids
    assert sorted(p.name for p in path.parent.iterdir()) == ["ids.bin", "ids.bin.json"]


def test_long_input_is_written_piece_by_piece_from_any_source(tmp_path):
    n = 150_000  # more than two pieces
    expected = np.arange(n) % 1000
    for i, source in enumerate((iter(expected.tolist()), expected, torch.from_numpy(expected))):
        file = TokenFile.write(tmp_path / f"{i}.bin", source, 1000)
        assert np.array_equal(file.array, expected)
        assert TokenFile(file.path).vocab_size == 1000  # the checksum holds


def test_a_failure_while_writing_leaves_the_old_file(tmp_path, token_path):
    def broken():
        yield from range(5)
        raise RuntimeError("the text could not be read")

    with pytest.raises(RuntimeError, match="could not be read"):
        TokenFile.write(token_path, broken(), 100)
    assert len(TokenFile(token_path)) == 100
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_that_was_cut_off_is_refused(token_path):
    token_path.write_bytes(token_path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"train.bin has 197 bytes, but 100 ids take 200.*again"):
        TokenFile(token_path)


def test_a_file_that_was_changed_is_refused_unless_unchecked(token_path):
    data = bytearray(token_path.read_bytes())
    data[50] ^= 1
    token_path.write_bytes(data)
    with pytest.raises(ValueError, match=r"train.bin was changed or damaged"):
        TokenFile(token_path)
    assert len(TokenFile(token_path, verify=False)) == 100


GOOD_HEADER = {"length": 100, "vocab_size": 100, "crc32": 0}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "no proper 'length'"),
        (json.dumps(GOOD_HEADER | {"length": "100"}), "no proper 'length'"),
        (json.dumps(GOOD_HEADER | {"length": 0}), "length must be at least 1"),
        (json.dumps(GOOD_HEADER | {"vocab_size": -1}), "no proper 'vocab_size'"),
        (json.dumps(GOOD_HEADER | {"crc32": None}), "no proper 'crc32'"),
        (json.dumps(GOOD_HEADER | {"vocab_size": 100_000}), "200 bytes, but 100 ids take 400"),
    ],
)
def test_a_damaged_header_is_refused(token_path, header, message):
    token_path.with_name("train.bin.json").write_text(header)
    with pytest.raises(ValueError, match=message):
        TokenFile(token_path)


def test_a_missing_header_is_named(token_path):
    token_path.with_name("train.bin.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.bin\.json"):
        TokenFile(token_path)


# --- bad input --------------------------------------------------------------------------------

BAD_CALLS = {
    "batch: list": (lambda d: get_batch([1, 2, 3], 1, 1), TypeError, "ids must be.*torch.tensor"),
    "batch: None": (lambda d: get_batch(None, 1, 1), TypeError, "ids must be"),
    "batch: two axes": (lambda d: get_batch(IDS[None], 1, 1), ValueError, r"one axis.*\(1, 100\)"),
    "batch: no axis": (lambda d: get_batch(torch.tensor(3), 1, 1), ValueError, "ids must have one"),
    "batch: floats": (lambda d: get_batch(IDS.float(), 1, 1), TypeError, r"float32; use .long\(\)"),
    "batch: bools": (lambda d: get_batch(IDS > 3, 1, 1), TypeError, "torch.bool"),
    "batch: array of floats": (lambda d: get_batch(np.ones(9), 1, 1), TypeError, "float64"),
    "batch: short text": (
        lambda d: get_batch(IDS[:8], 1, 8),
        ValueError,
        "ids has 8 tokens.*context_length=8.*need 9; give more text",
    ),
    "batch: empty text": (lambda d: get_batch(IDS[:0], 1, 8), ValueError, "ids has 0 tokens"),
    "batch: no windows": (
        lambda d: get_batch(IDS, 0, 8),
        ValueError,
        "batch_size must be at least 1",
    ),
    "batch: size float": (
        lambda d: get_batch(IDS, 2.0, 8),
        TypeError,
        "batch_size must be a whole",
    ),
    "batch: context 0": (lambda d: get_batch(IDS, 1, 0), ValueError, "context_length must be at"),
    "batch: context text": (lambda d: get_batch(IDS, 1, "8"), TypeError, "context_length must be"),
    "batch: generator": (
        lambda d: get_batch(IDS, 1, 8, generator=0),
        TypeError,
        "generator must be a torch.Generator, not 0",
    ),
    "batch: device": (lambda d: get_batch(IDS, 1, 8, "gpu"), ValueError, "device must be.*'gpu'"),
    "sequential: short": (
        lambda d: sequential_batches(IDS[:3], 1, 8),
        ValueError,
        "ids has 3 tokens",
    ),
    "sequential: list": (lambda d: sequential_batches([1, 2], 1, 1), TypeError, "ids must be"),
    "sequential: size": (lambda d: sequential_batches(IDS, -1, 8), ValueError, "batch_size"),
    "sequential: device": (lambda d: sequential_batches(IDS, 1, 8, 1.5), ValueError, "device"),
    "sequential: stride 0": (
        lambda d: sequential_batches(IDS, 1, 8, stride=0),
        ValueError,
        "stride must be at least 1",
    ),
    "sequential: stride text": (
        lambda d: sequential_batches(IDS, 1, 8, stride="4"),
        TypeError,
        "stride must be a whole",
    ),
    "shuffled: short": (lambda d: shuffled_batches(IDS[:3], 1, 8), ValueError, "ids has 3 tokens"),
    "shuffled: few windows": (
        lambda d: shuffled_batches(torch.arange(20), 9, 8),
        ValueError,
        "fewer than batch_size = 9",
    ),
    "shuffled: size": (lambda d: shuffled_batches(IDS, 0, 8), ValueError, "batch_size"),
    "shuffled: device": (lambda d: shuffled_batches(IDS, 1, 8, "gpu"), ValueError, "device"),
    "shuffled: generator": (
        lambda d: shuffled_batches(IDS, 1, 8, generator=0),
        TypeError,
        "generator must be a torch.Generator, not 0",
    ),
    "pack: nothing": (lambda d: pack_sequences([], 4, 0), ValueError, "sequences is empty"),
    "pack: an empty one": (
        lambda d: pack_sequences([[1], []], 4, 0),
        ValueError,
        r"sequences\[1\].*at least one id",
    ),
    "pack: text": (lambda d: pack_sequences("ab", 4, 0), TypeError, "sequences must be a list"),
    "pack: floats": (
        lambda d: pack_sequences([[0.5]], 4, 0),
        TypeError,
        r"sequences\[0\].*integer",
    ),
    "pack: negative": (lambda d: pack_sequences([[-1]], 4, 0), IndexError, r"sequences\[0\].*-1"),
    "pack: T 0": (lambda d: pack_sequences([[1]], 0, 0), ValueError, "context_length must be"),
    "pack: separator": (
        lambda d: pack_sequences([[1]], 4, "<|end|>"),
        TypeError,
        "separator_id must be a whole",
    ),
    "pack: separator -1": (
        lambda d: pack_sequences([[1]], 4, -1),
        ValueError,
        "separator_id must be an id",
    ),
    "pack: device": (lambda d: pack_sequences([[1]], 4, 0, 1.5), ValueError, "device must be"),
    "pad: nothing": (lambda d: pad_batch([], 0), ValueError, "sequences is empty"),
    "pad: text": (lambda d: pad_batch("ab", 0), TypeError, "sequences must be a list"),
    "pad: one token": (
        lambda d: pad_batch([[1, 2], [3]], 0),
        ValueError,
        r"sequences\[1\].*two ids",
    ),
    "pad: flat": (lambda d: pad_batch([1, 2], 0), ValueError, r"sequences\[0\] must be a row"),
    "pad: words": (
        lambda d: pad_batch([["a", "b"]], 0),
        TypeError,
        r"sequences\[0\] must be a list",
    ),
    "pad: floats": (lambda d: pad_batch([[1.0, 2.0]], 0), TypeError, r"sequences\[0\].*integer"),
    "pad: negative": (lambda d: pad_batch([[1, -100]], 0), IndexError, r"sequences\[0\].*-100"),
    "pad: pad_id": (lambda d: pad_batch([[1, 2]], None), TypeError, "pad_id must be a whole"),
    "pad: pad_id -1": (lambda d: pad_batch([[1, 2]], -1), ValueError, "pad_id must be an id"),
    "file: not there": (lambda d: TokenFile(d / "no.bin"), FileNotFoundError, "no.bin"),
    "file: folder": (lambda d: TokenFile(d), FileNotFoundError, "is a folder"),
    "file: None": (
        lambda d: TokenFile(None),
        TypeError,
        "path must be a string or a path, not None",
    ),
    "file: 3": (lambda d: TokenFile(3), TypeError, "path must be a string or a path, not 3"),
    "write: path": (lambda d: TokenFile.write(None, [1], 9), TypeError, "path must be a string"),
    "write: nothing": (lambda d: TokenFile.write(d / "a", [], 9), ValueError, "ids is empty"),
    "write: text": (
        lambda d: TokenFile.write(d / "a", "abc", 9),
        TypeError,
        "encode the text first",
    ),
    "write: None": (
        lambda d: TokenFile.write(d / "a", None, 9),
        TypeError,
        "ids must be token ids",
    ),
    "write: words": (lambda d: TokenFile.write(d / "a", ["a"], 9), TypeError, "whole numbers only"),
    "write: floats": (
        lambda d: TokenFile.write(d / "a", [0.5], 9),
        TypeError,
        "whole numbers only",
    ),
    "write: rows": (
        lambda d: TokenFile.write(d / "a", [[1], [2, 3]], 9),
        TypeError,
        "whole numbers",
    ),
    "write: id too large": (
        lambda d: TokenFile.write(d / "a", [1, 9], 9),
        IndexError,
        r"ids\[1\] is 9, outside the vocabulary 0 to 8",
    ),
    "write: negative": (lambda d: TokenFile.write(d / "a", [-1], 9), IndexError, r"ids\[0\] is -1"),
    "write: vocab_size": (
        lambda d: TokenFile.write(d / "a", [1], 0),
        ValueError,
        "vocab_size must be",
    ),
    "write: below a file": (
        lambda d: TokenFile.write(d / "old.bin" / "a", [1], 9),
        OSError,
        "cannot write",
    ),
    "index: too large": (lambda d: TokenFile(d / "old.bin")[3], IndexError, "index is 3.*3 ids"),
    "index: text": (lambda d: TokenFile(d / "old.bin")["a"], TypeError, "index must be"),
}


def test_a_place_that_cannot_be_written_is_named_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write") as caught:
        TokenFile.write(tmp_path / "file" / "a", [1], 9)
    assert str(caught.value).count("cannot write") == 1


def test_numpy_numbers_are_numbers(tmp_path):
    TokenFile.write(tmp_path / "a", [1, 2, 3], np.int64(9))
    assert get_batch(TokenFile(tmp_path / "a"), np.int64(2), np.int32(2))[0].shape == (2, 2)


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_calls_say_what_came_and_what_to_do(name, tmp_path):
    TokenFile.write(tmp_path / "old.bin", [1, 2, 3], 9)
    call, error, message = BAD_CALLS[name]
    with pytest.raises(error, match=f"(?s){message}"):
        call(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.bin", "old.bin.json"]
