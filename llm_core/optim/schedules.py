"""The learning rate of every step: up at first, down at the end."""

import math

from llm_core.validate import require_count, require_positive_int, require_range

LARGEST_LR = 1e4
"""Above this a learning rate is a slip of the hand, not a choice."""


def warmup_cosine(
    step: int, warmup_steps: int, n_steps: int, max_lr: float, min_lr: float = 0.0
) -> float:
    """Return the learning rate of one step: a straight climb, then half a cosine down.

    Steps count from 0, so a run uses step 0 to `n_steps - 1`:

        step < warmup_steps:  max_lr · (step + 1) / warmup_steps
        otherwise:            min_lr + (max_lr - min_lr) · (1 + cos(π · progress)) / 2
                              with progress = (step - warmup_steps) / (n_steps - warmup_steps)
        step ≥ n_steps:       min_lr

    Step 0 therefore already learns, steps `warmup_steps - 1` and `warmup_steps` both have
    `max_lr`, and `min_lr` is what the step after the last would have
    (Loshchilov and Hutter 2017, section 3, https://arxiv.org/abs/1608.03983).

    Args:
        step: the step that is about to be taken, from 0.
        warmup_steps: number of climbing steps; 0 for none.
        n_steps: length of the run, at least 1 and at least `warmup_steps`.
        max_lr: the highest rate.
        min_lr: the lowest rate, at most `max_lr`.

    Returns:
        The learning rate.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range.
    """
    _require_schedule(step, warmup_steps, n_steps, max_lr, min_lr)
    if step >= n_steps:
        return min_lr
    if step < warmup_steps:
        return _climb(step, warmup_steps, max_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2


def warmup_stable_decay(
    step: int,
    warmup_steps: int,
    n_steps: int,
    decay_steps: int,
    max_lr: float,
    min_lr: float = 0.0,
) -> float:
    """Return the learning rate of one step: a climb, a level stretch, a straight line down.

    Steps count from 0:

        step < warmup_steps:           max_lr · (step + 1) / warmup_steps
        step ≤ n_steps - decay_steps:  max_lr
        otherwise:                     min_lr + (max_lr - min_lr) · left / decay_steps
                                       with left = n_steps - step
        step ≥ n_steps:                min_lr

    The level stretch needs no plan: a run can go on as long as it likes and decay when it is told
    to, which a cosine cannot (Hu et al. 2024, section 4, https://arxiv.org/abs/2404.06395).

    Args:
        step: the step that is about to be taken, from 0.
        warmup_steps: number of climbing steps; 0 for none.
        n_steps: length of the run, at least 1.
        decay_steps: number of steps down, the last of the run; with `warmup_steps` at most
            `n_steps`. 0 never goes down, `n_steps - warmup_steps` goes down all the way.
        max_lr: the highest rate.
        min_lr: the lowest rate, at most `max_lr`.

    Returns:
        The learning rate.

    Raises:
        TypeError, ValueError: a value of the wrong kind or range.
    """
    _require_schedule(step, warmup_steps, n_steps, max_lr, min_lr)
    require_count("decay_steps", decay_steps)
    if warmup_steps + decay_steps > n_steps:
        raise ValueError(
            f"warmup_steps + decay_steps must be at most n_steps ({n_steps}), "
            f"but they are {warmup_steps} + {decay_steps}"
        )
    if step >= n_steps:
        return min_lr if decay_steps else max_lr
    if step < warmup_steps:
        return _climb(step, warmup_steps, max_lr)
    left = n_steps - step
    if left >= decay_steps:
        return max_lr
    return min_lr + (max_lr - min_lr) * left / decay_steps


def _climb(step: int, warmup_steps: int, max_lr: float) -> float:
    """Return the rate of a step of the warm-up, whose last already has `max_lr`."""
    return max_lr * (step + 1) / warmup_steps


def _require_schedule(
    step: int, warmup_steps: int, n_steps: int, max_lr: float, min_lr: float
) -> None:
    """Raise unless the values that every schedule takes can be used."""
    require_count("step", step)
    require_count("warmup_steps", warmup_steps)
    require_positive_int("n_steps", n_steps)
    require_range("max_lr", max_lr, 0.0, LARGEST_LR)
    require_range("min_lr", min_lr, 0.0, max_lr)
    if warmup_steps > n_steps:
        raise ValueError(
            f"warmup_steps must be at most n_steps ({n_steps}), but it is {warmup_steps}"
        )
