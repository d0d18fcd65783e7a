"""Times two or more ways to compute the same thing, in turns."""

import operator
import statistics
import time
from collections.abc import Callable
from typing import Any


def timed(call: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, Any]:
    """Return the seconds that `call` took by a clock of the module `time`, and its result."""
    start = clock()
    result = call()
    return clock() - start, result


def take_turns(
    sides: dict[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    agree: Callable[[Any, Any], bool] = operator.eq,
) -> dict[str, float]:
    """Time the sides in turn; return the median of each, in seconds. Their results must agree."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        results = []
        for name, call in sides.items():
            seconds, result = timed(call, clock)
            times[name].append(seconds)
            results.append(result)
        if not all(agree(result, results[0]) for result in results):
            raise SystemExit(f"the sides disagree: {list(sides)}")
    return {name: statistics.median(seconds) for name, seconds in times.items()}
