"""Ctrl-C taken at the end of a step, so that no update is left half made."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PATIENCE = 1.0
"""Seconds after a Ctrl-C in which another changes nothing."""


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped the training after a whole step; the message says what was saved where."""


@contextmanager
def ctrl_c_as_flag() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C in the block into a flag; one after `PATIENCE` seconds raises as usual.

    People press it twice by habit; the second must not stop the step that the first waits for. An
    exception in the middle of an update would leave some weights new and some old. Only the main
    thread can handle signals; elsewhere the flag is never set.
    """
    flag, pressed_at = threading.Event(), 0.0

    def set_flag(signum: int, frame: Any) -> None:
        nonlocal pressed_at
        if not flag.is_set():
            pressed_at = time.monotonic()
            flag.set()
        elif time.monotonic() - pressed_at > PATIENCE:
            raise KeyboardInterrupt

    with _handler(set_flag):
        yield flag


@contextmanager
def ctrl_c_held(drop: bool = False) -> Iterator[None]:
    """Let the block finish: a Ctrl-C in it counts once, after it; with `drop`, not at all."""
    pressed = threading.Event()
    with _handler(lambda *_: pressed.set()):
        yield
    if pressed.is_set() and not drop:
        signal.raise_signal(signal.SIGINT)


@contextmanager
def _handler(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """Take Ctrl-C with `handle` in the block, where that is possible."""
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before in (None, signal.SIG_IGN):
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
