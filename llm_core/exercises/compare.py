"""Compares what was expected with what came, and says how they differ."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from llm_core.exercises.show import counted, describe, entry_pair, index_text, type_name
from llm_core.exercises.verdicts import Status

RTOL = 1e-5
"""Difference allowed relative to the size of the expected entry, beside the absolute one."""

_ORDER = list(Status)
"""From the most basic difference to the least."""

_SHORT_TEXT = 16
"""Characters up to which two texts are shown whole; of longer ones, where they part."""


@dataclass(frozen=True)
class Difference:
    """One way in which a result is not what was expected.

    Attributes:
        status: WRONG_TYPE, WRONG_SHAPE, WRONG_DTYPE or DIFFERENT_VALUE.
        sentence: the difference in words.
        details: (label, text) pairs with both sides.
        is_nan: the result has NaN where a number was expected.
        both: the two tensors, expected and got, where it is their entries that differ.
    """

    status: Status
    sentence: str
    details: tuple[tuple[str, str], ...] = ()
    is_nan: bool = False
    both: tuple[torch.Tensor, torch.Tensor] | None = None

    @cached_property
    def patterns(self) -> tuple[str, ...]:
        """Simple relations that hold between all entries of both sides."""
        return () if self.both is None else tuple(_patterns(*self.both))


AxisNames = dict[int, str]
"""From the size of an axis to its letter, where the size tells it."""


def differences(
    expected: Any,
    got: Any,
    atol: float,
    rtol: float = RTOL,
    names: AxisNames | None = None,
    what: str = "your result",
) -> list[Difference]:
    """Return how `got` differs from `expected`, most basic first; empty when it does not.

    NaN equals only NaN, an infinity only itself, a whole number only itself. Whether gradients are
    tracked plays no part.

    Args:
        expected: tensor, number, bool, string, bytes, array, or a tuple, list or dict of them. A
            tuple is what a function returns together; a list or a dict is data of any length.
        got: anything.
        atol: largest absolute difference of two numbers that still counts as equal.
        rtol: the same, relative to the expected number.
        names: letters for axis sizes, used in messages about shapes.
        what: what to call `got` in the sentence.
    """
    found = _compare(expected, got, (atol, rtol), names or {}, what)
    return sorted(found, key=lambda d: _ORDER.index(d.status))


def _compare(
    expected: Any, got: Any, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Pick the comparison that fits the type of `expected`."""
    if isinstance(expected, tuple):
        return _compare_tuples(expected, got, tolerance, names, what)
    if isinstance(expected, list):
        return _compare_lists(expected, got, tolerance, names, what)
    if isinstance(expected, (str, bytes)):
        return _compare_texts(expected, got, what)
    if isinstance(expected, torch.Tensor):
        return _compare_tensors(expected, got, tolerance, names, what)
    if isinstance(expected, np.ndarray):
        return _compare_arrays(expected, got, tolerance, names, what)
    if isinstance(expected, dict):
        return _compare_dicts(expected, got, tolerance, names, what)
    if isinstance(expected, (bool, int, float)):
        return _compare_numbers(expected, got, tolerance, what)
    return _compare_objects(expected, got, what)


def _compare_tuples(
    expected: tuple, got: Any, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Compare the values that a function returns part by part; a list may stand for a tuple."""
    if not isinstance(got, (tuple, list)):
        return [_wrong_type(expected, got, what)]
    if len(expected) != len(got):
        return [
            Difference(Status.WRONG_TYPE, _other_length(expected, got, what), _both(expected, got))
        ]
    if _other_order(expected, got):
        sentence = f"{_start(what)} holds the right shapes in another order: swap the two values."
        return [Difference(Status.WRONG_SHAPE, sentence, _both(expected, got))]
    found = []
    for i, (e, g) in enumerate(zip(expected, got, strict=True)):
        part = f"value {i + 1} of the {len(expected)} in {what}" if len(expected) > 1 else what
        found += _compare(e, g, tolerance, names, part)
    return found


def _other_order(expected: Sequence, got: Sequence) -> bool:
    """Say whether two tensors have each other's shape."""
    if len(expected) != 2 or not all(isinstance(t, torch.Tensor) for t in (*expected, *got)):
        return False
    shapes = [t.shape for t in expected]
    return shapes[0] != shapes[1] and shapes == [t.shape for t in got][::-1]


def _compare_lists(
    expected: list, got: Any, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Compare a list entry by entry, and report the first that differs; a tuple may stand for it.

    Unlike that of a tuple, the length of a list is a result: another one is a wrong value.
    """
    if not isinstance(got, (tuple, list)):
        return [_wrong_type(expected, got, what)]
    first = _first_entry(expected, got, tolerance, names, what)
    if len(expected) == len(got):
        return first
    tail = "as far as both go, they agree"
    if first:
        tail = _uncapped(first[0].sentence.removesuffix("."))
    sentence = _ended(f"{_other_length(expected, got, what).removesuffix('.')}; {tail}")
    return [Difference(Status.DIFFERENT_VALUE, sentence, _both(expected, got))]


def _first_entry(
    expected: list, got: Sequence, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Return how the first differing entry of two lists differs, as far as both go."""
    for i, (e, g) in enumerate(zip(expected, got, strict=False)):
        found = _compare(e, g, tolerance, names, f"entry [{i}] of {what}")
        if found and _is_plain_tuple(e) and _is_plain_tuple(g):
            sentence = f"Entry [{i}] of {what} is {describe(g)} where {describe(e)} was expected."
            return [Difference(found[0].status, sentence, _both(expected, got))]
        if found:
            return found
    return []


def _is_plain_tuple(value: Any) -> bool:
    """Say whether a value is a short tuple of numbers and texts, best shown as a whole."""
    plain = (bool, int, float, str, bytes)
    return (
        isinstance(value, (tuple, list))
        and len(value) <= 4
        and all(isinstance(part, plain) for part in value)
    )


def _other_length(expected: Sequence, got: Sequence, what: str) -> str:
    """Return a sentence on two sequences of different length."""
    were = "was" if len(expected) == 1 else "were"
    return (
        f"{_start(what)} holds {counted(len(got), 'value')}, "
        f"but {counted(len(expected), 'value')} {were} expected."
    )


def _compare_dicts(
    expected: dict, got: Any, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Compare a dict key by key; the order of the keys does not count."""
    if not isinstance(got, dict):
        return [_wrong_type(expected, got, what)]
    missing = [key for key in expected if key not in got]
    extra = [key for key in got if key not in expected]
    if missing or extra:
        parts = [f"lacks the key {describe(missing[0])}"] if missing else []
        parts += [f"has the key {describe(extra[0])}, which was not expected"] if extra else []
        sentence = f"{_start(what)} {' and '.join(parts)}."
        details = (("Expected keys", describe(list(expected))), ("Your keys", describe(list(got))))
        return [Difference(Status.DIFFERENT_VALUE, sentence, details)]
    found = []
    for key, value in expected.items():
        part = f"entry [{describe(key)}] of {what}"
        found += _compare(value, got[key], tolerance, names, part)
    return found


def _compare_texts(expected: str | bytes, got: Any, what: str) -> list[Difference]:
    """Compare a string with a string or bytes with bytes, and report where they part."""
    if type(expected) is not type(got):
        return [_wrong_type(expected, got, what)]
    if expected == got:
        return []
    if max(len(expected), len(got)) <= _SHORT_TEXT:
        sentence = f"{_start(what)} is {describe(got)} where {describe(expected)} was expected."
        return [Difference(Status.DIFFERENT_VALUE, sentence)]
    unit = "character" if isinstance(expected, str) else "byte"
    place = next(
        (i for i, (e, g) in enumerate(zip(expected, got, strict=False)) if e != g),
        min(len(expected), len(got)),
    )
    want, have = _piece(expected, place), _piece(got, place)
    sentence = (
        f"{_start(what)} differs from {unit} {place} on, counted from 0: "
        f"{have} came where {want} was expected."
    )
    return [Difference(Status.DIFFERENT_VALUE, sentence, _both(expected, got))]


def _piece(text: str | bytes, place: int) -> str:
    """Return a few characters of `text` from `place` on, as they are written in code."""
    return describe(text[place : place + _SHORT_TEXT]) if place < len(text) else "its end"


def _compare_numbers(
    expected: float, got: Any, tolerance: tuple[float, float], what: str
) -> list[Difference]:
    """Compare a bool, an int or a float with what came."""
    if isinstance(got, np.generic):
        got = got.item()
    fits = isinstance(got, (int, float)) and isinstance(expected, bool) == isinstance(got, bool)
    if not fits or (isinstance(expected, int) and isinstance(got, float)):
        return [_wrong_type(expected, got, what)]
    wrong = expected != got  # for whole numbers this is exact, however large they are
    if wrong and isinstance(expected, float):
        left = torch.tensor(expected, dtype=torch.float64)
        right = torch.tensor(got, dtype=torch.float64)
        wrong = bool(_wrong_entries(left, right, tolerance))
    if not wrong:
        return []
    want, have = entry_pair(expected, got)
    return [
        Difference(
            Status.DIFFERENT_VALUE,
            f"{_start(what)} is {have} where {want} was expected.",
            (("Expected", want), ("Got", have)),
        )
    ]


def _compare_arrays(
    expected: np.ndarray, got: Any, tolerance: tuple[float, float], names: AxisNames, what: str
) -> list[Difference]:
    """Compare a NumPy array with what came."""
    if not isinstance(got, np.ndarray) or got.dtype.kind not in "biuf":
        return [_wrong_type(expected, got, what)]
    left, right = (torch.as_tensor(np.array(a)) for a in (expected, got))
    return _compare_tensors(left, right, tolerance, names, what)


def _compare_objects(expected: Any, got: Any, what: str) -> list[Difference]:
    """Compare None and everything else through `==`."""
    if type(expected) is not type(got):
        return [_wrong_type(expected, got, what)]
    try:
        if expected is got or bool(expected == got):
            return []
    except Exception:
        pass  # a comparison that fails is a difference
    sentence = f"{_start(what)} is not what was expected."
    return [Difference(Status.DIFFERENT_VALUE, sentence, _both(expected, got))]


def _compare_tensors(
    expected: torch.Tensor,
    got: Any,
    tolerance: tuple[float, float],
    names: AxisNames,
    what: str,
) -> list[Difference]:
    """Compare two tensors: type, shape, dtype, device, then every entry."""
    if not isinstance(got, torch.Tensor) or got.layout is not torch.strided:
        return [_wrong_type(expected, got, what)]
    if expected.shape != got.shape:
        return [_wrong_shape(tuple(expected.shape), tuple(got.shape), names, what)]
    if expected.dtype != got.dtype:
        return [_wrong_dtype(expected.dtype, got.dtype, what)]
    if expected.device != got.device:
        sentence = (
            f"{_start(what)} is on the device {got.device}, but {expected.device}, "
            "where the inputs are, was expected: make new tensors with `device=x.device`."
        )
        return [Difference(Status.WRONG_DTYPE, sentence)]
    expected, got = expected.detach(), got.detach().as_subclass(torch.Tensor)
    if torch.equal(expected, got):
        return []
    wrong = _wrong_entries(expected, got, tolerance)
    if not bool(wrong.any()):
        return []
    return [_wrong_value(expected, got, wrong, what)]


def _wrong_entries(
    expected: torch.Tensor, got: torch.Tensor, tolerance: tuple[float, float]
) -> torch.Tensor:
    """Return True where two tensors differ by more than the tolerance; whole numbers at all."""
    if not expected.is_floating_point():
        return expected != got
    atol, rtol = tolerance
    return ~torch.isclose(got.double(), expected.double(), rtol=rtol, atol=atol, equal_nan=True)


def _wrong_type(expected: Any, got: Any, what: str) -> Difference:
    """Describe a result of another type, with what to do about it."""
    want, have = type_name(expected), type_name(got)
    advice = _type_advice(expected, got)
    sentence = _ended(f"{_start(what)} is {have}, but {want} was expected{advice}")
    return Difference(Status.WRONG_TYPE, sentence)


def _type_advice(expected: Any, got: Any) -> str:
    """Return what usually turns a result of the wrong type into the right one."""
    if isinstance(got, torch.Tensor) and got.layout is not torch.strided:
        return "; `.to_dense()` makes an ordinary tensor of it"
    for expected_types, got_types, advice in _TYPE_ADVICE:
        if isinstance(expected, expected_types) and isinstance(got, got_types):
            return advice
    return ""


_TYPE_ADVICE: tuple[tuple[Any, Any, str], ...] = (
    (torch.Tensor, type(None), " here; does a branch of your function lack its `return`?"),
    (torch.Tensor, np.ndarray, "; stay with torch's functions, or end with `torch.from_numpy`"),
    (torch.Tensor, tuple, "; return one tensor, alone or joined by `torch.stack`"),
    (
        torch.Tensor,
        list,
        "; `torch.stack` joins a list of tensors, `torch.tensor` makes one from numbers",
    ),
    (torch.Tensor, (int, float), "; does `.item()` or a sum over every axis take the axes away?"),
    (tuple, torch.Tensor, "; return all the values, separated by commas"),
    (list, (torch.Tensor, np.ndarray), "; `.tolist()` makes a list of it"),
    (list, (str, bytes), "; return the parts in a list, not joined to one"),
    (list, (set, frozenset), "; a set has no order and holds nothing twice"),
    (list, Iterable, "; `list(...)` makes a list of it"),
    (str, bytes, '; `.decode("utf-8")` makes a string of bytes'),
    (bytes, str, '; `.encode("utf-8")` makes bytes of a string'),
    ((str, bytes), (list, tuple), "; `.join(...)` makes one text of many"),
    (dict, (list, tuple), "; `dict(...)` makes a dict of a list of pairs"),
    (bool, torch.Tensor, "; `bool(...)` or `.item()` makes one of a tensor with one entry"),
    ((int, float), torch.Tensor, "; `.item()` makes a number of a tensor with one entry"),
    (np.ndarray, torch.Tensor, "; `.numpy()` makes an array of a tensor"),
    (bool, int, "; a comparison such as `a == b` gives True or False"),
    (int, float, "; `//` divides without a remainder"),
)


def _wrong_dtype(expected: torch.dtype, got: torch.dtype, what: str) -> Difference:
    """Describe a tensor of the right shape that holds another kind of number."""
    want, have = _short(expected), _short(got)
    if expected == torch.bool:
        advice = ": a comparison such as `a >= b` gives True and False, or end with `.bool()`"
    elif expected.is_floating_point and got.is_floating_point:
        advice = ": keep the dtype of the input, for example with `dtype=x.dtype`"
        if expected == torch.float32:
            advice += "; where no tensor comes in, `.float()` makes it so"
    elif expected.is_floating_point:
        advice = ": is a division or a `.float()` missing, or a comparison where weights belong?"
    else:
        advice = f": `.to(torch.{want})` converts, but first look where the {have} comes from"
    sentence = f"{_start(what)} holds {have} values, but {want} was expected{advice}"
    sentence = _ended(sentence)
    return Difference(Status.WRONG_DTYPE, sentence)


def _wrong_shape(
    expected: tuple[int, ...], got: tuple[int, ...], names: AxisNames, what: str
) -> Difference:
    """Describe a wrong shape axis by axis, with the letters that the sizes tell."""
    sentence = f"{_start(what)} has shape {got}, but {expected} was expected: "
    sentence = _ended(sentence + _shape_story(expected, got, names))
    details = (
        ("Expected shape", _named_shape(expected, names)),
        ("Your shape", _named_shape(got, names)),
    )
    return Difference(Status.WRONG_SHAPE, sentence, details)


def _shape_story(expected: tuple[int, ...], got: tuple[int, ...], names: AxisNames) -> str:
    """Say in words what has happened to the axes."""
    if len(expected) == len(got):
        wrong = [i for i, (e, g) in enumerate(zip(expected, got, strict=True)) if e != g]
        if sorted(expected) == sorted(got):
            if len(wrong) == 2:
                return f"axes {wrong[0]} and {wrong[1]} are swapped"
            return "the axes are right but in another order"
        return "; ".join(
            f"axis {i} is {_named(got[i], names)} in place of {_named(expected[i], names)}"
            for i in wrong
        )
    count = f"{counted(len(got), 'axis', 'axes')} in place of {len(expected)}"
    if [s for s in expected if s != 1] == [s for s in got if s != 1]:
        word = "missing" if len(got) < len(expected) else "too many"
        return f"{count}, an axis of size 1 is {word} (`keepdim`, `squeeze` or `unsqueeze`)"
    if int(np.prod(expected)) == int(np.prod(got)):
        return f"{count}; the entries are as many, is a `reshape` missing?"
    missing = [s for s in expected if s not in got]
    if len(got) < len(expected) and missing:
        gone = f"the axis of size {_named(missing[0], names)} is gone"
        return f"{count}; {gone}, was it summed or indexed away?"
    return count


def _named(size: int, names: AxisNames) -> str:
    """Return "5 (T)" where the size tells the letter, else "5"."""
    return f"{size} ({names[size]})" if size in names else str(size)


def _named_shape(shape: tuple[int, ...], names: AxisNames) -> str:
    """Return a shape with the letters that its sizes tell, such as (2, 5 = T, 6 = C)."""
    parts = [f"{s} = {names[s]}" if s in names else str(s) for s in shape]
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _wrong_value(
    expected: torch.Tensor, got: torch.Tensor, wrong: torch.Tensor, what: str
) -> Difference:
    """Describe the first entry that differs, and any simple pattern in all of them."""
    if expected.is_floating_point():
        appeared = torch.isnan(got) & ~torch.isnan(expected)
        if bool(appeared.any()):
            return _has_nan(appeared, what)
    index = tuple(wrong.nonzero()[0].tolist())
    want, have = entry_pair(expected[index].item(), got[index].item())
    where = f"entry {index_text(index)} of {what}" if index else what
    details = []
    if expected.numel() > 1:
        details.append(("Differ", f"{int(wrong.sum())} of {expected.numel()} entries"))
    if 1 < expected.numel() <= 12:
        details += _both(expected, got)
    return Difference(
        Status.DIFFERENT_VALUE,
        f"{_start(where)} is {have} where {want} was expected.",
        tuple(details),
        both=(expected, got) if expected.numel() > 1 else None,
    )


def _has_nan(appeared: torch.Tensor, what: str) -> Difference:
    """Describe a result with NaN where a number was expected."""
    index = tuple(appeared.nonzero()[0].tolist())
    where = "is NaN (not a number)"
    if index:
        count = f"{int(appeared.sum())} of {appeared.numel()} entries"
        where = f"has NaN (not a number) in {count}, first at {index_text(index)},"
    cause = "0/0, inf - inf, 0 * inf, or exp of a large number divided by itself"
    return Difference(
        Status.DIFFERENT_VALUE,
        f"{_start(what)} {where} where a number was expected.",
        (("Usual cause", cause),),
        is_nan=True,
    )


def _patterns(expected: torch.Tensor, got: torch.Tensor) -> Iterator[str]:
    """Yield the simple relations that hold between all entries of two tensors."""
    if expected.dtype == torch.bool:
        if _close(got, ~expected):
            yield "every entry is the opposite of what was expected"
        return
    for relation, transformed in _transformations(expected):
        if transformed.shape == got.shape and _close(got, transformed):
            yield f"your values are the expected ones {relation}"
    if not expected.is_floating_point() or not bool(torch.isfinite(got).all()):
        return
    shift = (got - expected).flatten()
    if _close(shift, shift[:1].expand_as(shift)):
        yield f"every entry is off by the same {shift[0].item():.4g}"
    large = expected.abs() > 1e-3
    if int(large.sum()) > 1:
        ratio = got[large] / expected[large]
        if _close(ratio, ratio[:1].expand_as(ratio)) and f"{ratio[0]:.4g}" not in ("0", "1"):
            yield f"every entry is {ratio[0].item():.4g} times the expected one"


def _transformations(expected: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """Return rearrangements of `expected` that a learner's result may equal."""
    found: list[tuple[str, Callable[[], torch.Tensor]]] = []
    if expected.dim() >= 2:
        found.append(("with the last two axes swapped", lambda: expected.transpose(-1, -2)))
    for axis in range(expected.dim()):
        if expected.shape[axis] > 1:
            found.append((f"in reverse order along axis {axis}", lambda a=axis: expected.flip(a)))
    pairs = [(name, make()) for name, make in found]
    return [(name, value) for name, value in pairs if not _close(value, expected)]


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Say whether two tensors are equal up to rounding."""
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6)


def _both(expected: Any, got: Any) -> tuple[tuple[str, str], ...]:
    """Return expected and got as details."""
    return (("Expected", describe(expected)), ("Got", describe(got)))


def _start(text: str) -> str:
    """Return `text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def _uncapped(text: str) -> str:
    """Return `text` with a small first letter, for the middle of a sentence."""
    return text[:1].lower() + text[1:]


def _ended(text: str) -> str:
    """Return `text` with a full stop, unless it ends in a question."""
    return text if text.endswith("?") else text + "."


def _short(dtype: torch.dtype) -> str:
    """Return "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")
