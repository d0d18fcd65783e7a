"""From token ids to batches: inputs, and targets that are the inputs shifted by one.

`get_batch` draws random windows for training, `sequential_batches` walks through a text once for
validation, `pad_batch` puts whole sequences of different lengths side by side, `pack_sequences`
lays them end to end, and `TokenFile` keeps ids on the disk when they do not fit in memory.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llm_core.files import as_path, atomic_path, existing_file, read_json, write_json
from llm_core.validate import (
    require_device,
    require_generator,
    require_ids,
    require_positive_int,
    require_whole_number,
)

IGNORE_INDEX = -100
"""The target that cross-entropy leaves out: what stands in `y` where a sequence has ended."""

Batch = tuple[torch.Tensor, torch.Tensor]

_INT_DTYPES = (torch.int64, torch.int32, torch.int16, torch.uint8)
_CHUNK = 1 << 16


class TokenFile:
    """Token ids in a file, read through the memory map: it may be larger than memory.

    The file holds nothing but ids, two bytes each (four when the vocabulary is larger than
    65,536). A small JSON file beside it, `<path>.json`, holds the id type, the number of ids, the
    vocabulary size and a CRC-32 checksum.

    >>> TokenFile.write("train.bin", tokenizer.encode_iterable(lines), tokenizer.vocab_size)
    >>> x, y = get_batch(TokenFile("train.bin"), batch_size=32, context_length=128)

    Args:
        path: the file that `TokenFile.write` wrote.
        verify: compare the checksum, which reads the whole file once.

    Attributes:
        array: the ids as a numpy array (a memory map).
        vocab_size: V of the tokenizer that made them.

    Raises:
        TypeError: the path is neither a string nor a path.
        FileNotFoundError: the file or its JSON file is not there.
        ValueError: the JSON file is damaged, or the file is cut off or changed.
    """

    def __init__(self, path: str | Path, verify: bool = True) -> None:
        self.path = existing_file(path)
        header = _read_header(self.path)
        self.vocab_size: int = header["vocab_size"]
        dtype, length = _id_dtype(self.vocab_size), header["length"]
        size = self.path.stat().st_size
        if size != length * dtype.itemsize:
            raise ValueError(
                f"{self.path} has {size} bytes, but {length} ids take {length * dtype.itemsize}; "
                "it is cut off or damaged: write it again with TokenFile.write"
            )
        self.array = np.memmap(self.path, dtype=dtype, mode="r", shape=(length,))
        if verify and _checksum(self.array) != header["crc32"]:
            raise ValueError(
                f"{self.path} was changed or damaged after it was written: its checksum is "
                "another; write it again with TokenFile.write"
            )

    @classmethod
    def write(cls, path: str | Path, ids: Iterable[int], vocab_size: int) -> "TokenFile":
        """Write ids to `path`, a few at a time, and return the open file.

        A reader sees the old file or the new one: both appear only when every id is written.

        Args:
            path: the file to write; `<path>.json` is written too.
            ids: token ids: a 1-D tensor or array, or any iterable of ints, such as
                `tokenizer.encode_iterable(lines)`.
            vocab_size: V; ids must lie in [0, V).

        Raises:
            TypeError: ids that are not whole numbers, or a path of another kind.
            ValueError: no ids at all.
            IndexError: an id outside the vocabulary.
            OSError: the file cannot be written.
        """
        require_positive_int("vocab_size", vocab_size)
        dtype, length, checksum = _id_dtype(vocab_size), 0, 0
        with atomic_path(_header_path(path)) as header, atomic_path(path) as partial:
            with partial.open("wb") as file:
                for chunk in _chunks(ids):
                    _require_in_vocab(chunk, vocab_size, length)
                    data = chunk.astype(dtype).tobytes()
                    file.write(data)
                    length, checksum = length + len(chunk), zlib.crc32(data, checksum)
            if length == 0:
                raise ValueError("ids is empty; give at least one token id")
            write_json(header, {"length": length, "vocab_size": int(vocab_size), "crc32": checksum})
        return cls(path, verify=False)

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: int | slice) -> int | torch.Tensor:
        """Return one id as an int, or a slice of them as an int64 tensor."""
        if isinstance(index, slice):
            return torch.from_numpy(self.array[index].astype(np.int64))
        if isinstance(index, bool) or not isinstance(index, int | np.integer):
            raise TypeError(f"index must be a whole number or a slice, not {index!r}")
        if not -len(self) <= index < len(self):
            raise IndexError(f"index is {index}, but {self.path} holds {len(self)} ids")
        return int(self.array[index])

    def __repr__(self) -> str:
        return f"TokenFile({str(self.path)!r}: {len(self)} ids, vocab_size={self.vocab_size})"


def get_batch(
    ids: torch.Tensor | np.ndarray | TokenFile,
    batch_size: int,
    context_length: int,
    device: str | torch.device = "cpu",
    generator: torch.Generator | None = None,
) -> Batch:
    """Draw random windows of `ids`: B inputs of T tokens, and the token after each as its target.

    Every window is equally likely; `y[b, t]` is the id that follows `x[b, t]` in the text.

    Args:
        ids: a text as one long row of ids.
        batch_size: B, number of windows.
        context_length: T, tokens in a window.
        device: where the batch goes.
        generator: source of the random starts, on the CPU; None uses torch's global one.

    Returns:
        x and y, each (B, T) of int64.

    Raises:
        TypeError: an argument of the wrong type.
        ValueError: ids is not one row or has fewer than T + 1 ids, or a size below 1.
    """
    _require_windows(ids, batch_size, context_length)
    require_device(device)
    _require_cpu_generator(generator)
    starts = torch.randint(len(ids) - context_length, (batch_size,), generator=generator)
    return windows_at(ids, starts, context_length, device)


def sequential_batches(
    ids: torch.Tensor | np.ndarray | TokenFile,
    batch_size: int,
    context_length: int,
    device: str | torch.device = "cpu",
    stride: int | None = None,
) -> Iterator[Batch]:
    """Walk through `ids` once, in order: a full validation pass, or an epoch of training.

    By default the windows do not overlap, and each id but the first is a target at most once. The
    last batch may have fewer windows, and the last ids, too few for a window of T + 1, are left
    out.

    Args:
        ids: a text as one long row of ids.
        batch_size: B, the most windows in a batch.
        context_length: T, tokens in a window.
        device: where the batches go.
        stride: from the start of one window to that of the next; None means T. With less than T
            the windows overlap, with more some ids are never a target.

    Returns:
        An iterator of (x, y), each (B, T) of int64.

    Raises:
        TypeError, ValueError: as `get_batch`, at once and not at the first batch.
    """
    _require_windows(ids, batch_size, context_length)
    require_device(device)
    if stride is not None:
        require_positive_int("stride", stride)
    last_start = len(ids) - 1 - context_length
    starts = torch.arange(0, last_start + 1, stride or context_length)
    return (windows_at(ids, part, context_length, device) for part in starts.split(batch_size))


def shuffled_batches(
    ids: torch.Tensor | np.ndarray | TokenFile,
    batch_size: int,
    context_length: int,
    device: str | torch.device = "cpu",
    generator: torch.Generator | None = None,
) -> Iterator[Batch]:
    """Walk through `ids` once, its windows in random order: an epoch of training.

    `get_batch` may draw one place three times before it draws another at all; here no id is a
    target twice. The place of the first window is drawn too, among the first T, so that the next
    epoch cuts the text elsewhere. The windows that are left over at the end, too few for a batch,
    are left out.

    Args:
        ids: a text as one long row of ids.
        batch_size: B, number of windows.
        context_length: T, tokens in a window.
        device: where the batches go.
        generator: source of the first place and of the order, on the CPU; None uses torch's
            global one.

    Returns:
        An iterator of (x, y), each (B, T) of int64.

    Raises:
        TypeError, ValueError: as `get_batch`, or fewer windows than one batch holds; at once and
            not at the first batch.
    """
    _require_windows(ids, batch_size, context_length)
    require_device(device)
    _require_cpu_generator(generator)
    n_places = len(ids) - context_length
    first = torch.randint(min(context_length, n_places), (), generator=generator)
    starts = torch.arange(int(first), n_places, context_length)
    n_batches = len(starts) // batch_size
    if n_batches == 0:
        raise ValueError(
            f"ids has {len(starts)} windows of {context_length} tokens, fewer than batch_size = "
            f"{batch_size}; lower batch_size or context_length"
        )
    order = torch.randperm(len(starts), generator=generator)[: n_batches * batch_size]
    parts = starts[order].split(batch_size)
    return (windows_at(ids, part, context_length, device) for part in parts)


def pad_batch(
    sequences: Sequence[Sequence[int] | torch.Tensor],
    pad_id: int,
    device: str | torch.device = "cpu",
) -> Batch:
    """Put whole sequences of different lengths into one batch, each read from its first token.

    `x` is filled up on the right with `pad_id`, `y` with `IGNORE_INDEX` (-100), so that the loss
    counts the sequences' own tokens and nothing else. Under a causal mask no real token can look
    at the padding, which lies to its right.

    Args:
        sequences: B sequences of at least two ids: lists, or 1-D integer tensors.
        pad_id: any id of the vocabulary; which one does not matter.
        device: where the batch goes.

    Returns:
        x and y, each (B, T) of int64, T one less than the longest sequence.

    Raises:
        TypeError: sequences that are not lists of whole numbers, or a pad_id that is none.
        ValueError: no sequences, or one with fewer than two ids.
        IndexError: a negative id.
    """
    _require_id("pad_id", pad_id)
    require_device(device)
    rows = _sequence_tensors(sequences, 2)
    T = max(len(row) for row in rows) - 1
    x = torch.full((len(rows), T), int(pad_id))
    y = torch.full((len(rows), T), IGNORE_INDEX)
    for b, row in enumerate(rows):
        x[b, : len(row) - 1] = row[:-1]
        y[b, : len(row) - 1] = row[1:]
    return x.to(device), y.to(device)


def pack_sequences(
    sequences: Sequence[Sequence[int] | torch.Tensor],
    context_length: int,
    separator_id: int,
    device: str | torch.device = "cpu",
) -> Batch:
    """Lay sequences end to end, a separator after each, and cut the row into inputs of T tokens.

    No place is lost to padding but at the very end, where `x` is filled up with the separator and
    `y` with `IGNORE_INDEX` (-100). Each token but the first is a target exactly once, separators
    included. A row may hold the end of one sequence and the beginning of the next.

    Args:
        sequences: sequences of at least one id: lists, or 1-D integer tensors.
        context_length: T, tokens in a row.
        separator_id: the id that ends each sequence, such as that of `<|endoftext|>`.
        device: where the rows go.

    Returns:
        x and y, each (N, T) of int64, with N as small as the tokens allow.

    Raises:
        TypeError: sequences that are not lists of whole numbers, or another argument that is none.
        ValueError: no sequences, an empty one, or a context_length below 1.
        IndexError: a negative id.
    """
    require_positive_int("context_length", context_length)
    _require_id("separator_id", separator_id)
    require_device(device)
    separator = torch.tensor([int(separator_id)])
    parts = [part for row in _sequence_tensors(sequences, 1) for part in (row, separator)]
    row = torch.cat(parts)
    n_targets = len(row) - 1
    shape = (-(-n_targets // context_length), context_length)
    x = torch.full(shape, int(separator_id))
    y = torch.full(shape, IGNORE_INDEX)
    x.view(-1)[:n_targets] = row[:-1]
    y.view(-1)[:n_targets] = row[1:]
    return x.to(device), y.to(device)


def windows_at(
    ids: torch.Tensor | np.ndarray | TokenFile,
    starts: torch.Tensor,
    context_length: int,
    device: str | torch.device = "cpu",
) -> Batch:
    """Return the windows of `ids` that begin at chosen places; `get_batch` draws the places.

    Args:
        ids: a text as one long row of ids.
        starts: (B,) places in `ids`, each at least T + 1 ids before the end; not checked, since
            whoever chooses them knows.
        context_length: T, tokens in a window.
        device: where the batch goes.

    Returns:
        x and y, each (B, T) of int64.
    """
    places = starts[:, None] + torch.arange(context_length + 1)  # (B, T + 1)
    if isinstance(ids, torch.Tensor):
        windows = ids[places.to(ids.device)].long()  # (B, T + 1)
    else:
        array = ids.array if isinstance(ids, TokenFile) else ids
        windows = torch.from_numpy(array[places.numpy()].astype(np.int64))  # (B, T + 1)
    windows = windows.to(device)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()  # (B, T) each


def _require_windows(ids: Any, batch_size: Any, context_length: Any) -> None:
    """Raise unless windows of `context_length` + 1 ids can be cut from `ids`."""
    require_positive_int("batch_size", batch_size)
    require_positive_int("context_length", context_length)
    if not isinstance(ids, torch.Tensor | np.ndarray | TokenFile):
        raise TypeError(
            "ids must be a 1-D tensor, a numpy array or a TokenFile, not "
            f"{type(ids).__name__}; torch.tensor(ids) makes a tensor from a list"
        )
    if not isinstance(ids, TokenFile):
        _require_int_row(ids)
    if len(ids) < context_length + 1:
        raise ValueError(
            f"ids has {len(ids)} tokens, but a window of context_length={context_length} and the "
            f"target after it need {context_length + 1}; give more text or a smaller "
            "context_length"
        )


def _require_int_row(ids: torch.Tensor | np.ndarray) -> None:
    """Raise unless `ids` is one row of integers."""
    if ids.ndim != 1:
        raise ValueError(f"ids must have one axis, but its shape is {tuple(ids.shape)}")
    is_tensor = isinstance(ids, torch.Tensor)
    if not (ids.dtype in _INT_DTYPES if is_tensor else ids.dtype.kind in "iu"):
        raise TypeError(f"ids must hold integer token ids, not {ids.dtype}; use .long()")


def _require_id(name: str, id: Any) -> None:
    """Raise unless `id` is a whole number of at least 0."""
    require_whole_number(name, id)
    if id < 0:
        raise ValueError(f"{name} must be an id of the vocabulary, at least 0, not {id}")


def _sequence_tensors(sequences: Any, least: int) -> list[torch.Tensor]:
    """Return each sequence as an int64 tensor, or raise naming the first that is no sequence.

    Each must have `least` ids: two where a sequence needs an input and a target of its own.
    """
    if isinstance(sequences, str) or not isinstance(sequences, Sequence):
        raise TypeError(f"sequences must be a list of id lists, not {type(sequences).__name__}")
    if not sequences:
        raise ValueError("sequences is empty; give at least one sequence")
    rows = []
    for b, sequence in enumerate(sequences):
        try:
            row = torch.as_tensor(sequence)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(f"sequences[{b}] must be a list of token ids: {error}") from error
        if row.dim() != 1 or len(row) < least:
            wanted = "one id" if least == 1 else "two ids, an input and its target"
            raise ValueError(
                f"sequences[{b}] must be a row of at least {wanted}, "
                f"but its shape is {tuple(row.shape)}"
            )
        require_ids(f"sequences[{b}]", row)
        if row.min() < 0:
            raise IndexError(f"sequences[{b}] holds the id {int(row.min())}; ids begin at 0")
        rows.append(row.long())
    return rows


def _chunks(ids: Any) -> Iterator[np.ndarray]:
    """Yield `ids` as 1-D numpy arrays of at most 65,536 integers."""
    if isinstance(ids, torch.Tensor):
        ids = ids.detach().cpu().numpy()
    if isinstance(ids, str) or not isinstance(ids, Iterable):
        raise TypeError(f"ids must be token ids, not {type(ids).__name__}; encode the text first")
    if isinstance(ids, np.ndarray):
        _require_int_row(ids)
        yield from (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))
        return
    iterator = iter(ids)
    while chunk := list(islice(iterator, _CHUNK)):
        try:
            array = np.array(chunk)
        except ValueError as error:
            raise TypeError(f"ids must hold whole numbers only: {error}") from error
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise TypeError(f"ids must hold whole numbers only, but some are like {chunk[0]!r}")
        yield array


def _require_in_vocab(chunk: np.ndarray, vocab_size: int, position: int) -> None:
    """Raise IndexError if an id of `chunk`, which begins at `position`, is outside [0, V)."""
    outside = np.flatnonzero((chunk < 0) | (chunk >= vocab_size))
    if len(outside):
        first = int(outside[0])
        raise IndexError(
            f"ids[{position + first}] is {chunk[first]}, outside the vocabulary 0 to "
            f"{vocab_size - 1}; is vocab_size that of the tokenizer?"
        )


def _id_dtype(vocab_size: int) -> np.dtype:
    """Return the smallest type that holds every id: uint16 or uint32, little-endian."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def _header_path(path: str | Path) -> Path:
    path = as_path("path", path)
    return path.with_name(path.name + ".json")


def _read_header(path: Path) -> dict[str, int]:
    """Return the JSON file beside `path`, checked field by field."""
    header = read_json(_header_path(path))
    for name in ("length", "vocab_size", "crc32"):
        value = header.get(name) if isinstance(header, dict) else None
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(
                f"{_header_path(path)} has no proper {name!r}: it does not describe a "
                "TokenFile; write it again with TokenFile.write"
            )
    require_positive_int(f"{_header_path(path)}: vocab_size", header["vocab_size"])
    require_positive_int(f"{_header_path(path)}: length", header["length"])
    return header


def _checksum(array: np.ndarray) -> int:
    """Return the CRC-32 of the array's bytes, read a few at a time."""
    checksum = 0
    for i in range(0, len(array), _CHUNK):
        checksum = zlib.crc32(array[i : i + _CHUNK].tobytes(), checksum)
    return checksum


def _require_cpu_generator(generator: torch.Generator | None) -> None:
    require_generator("generator", generator)
    if generator is not None and generator.device.type != "cpu":
        raise ValueError(
            f"generator must be on the CPU, not on {generator.device}; torch.Generator() is"
        )
