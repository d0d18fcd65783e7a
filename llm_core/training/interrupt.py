"""Ctrl-C taken at the end of a step, so that no update is left half made."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C stopped the training after a whole step; the message says what was saved where."""


@contextmanager
def ctrl_c_as_flag() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C in the block into a flag; the second raises as usual.

    An exception in the middle of an update would leave some weights new and some old. Only the
    main thread can handle signals; elsewhere the flag is never set.
    """
    flag = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before in (None, signal.SIG_IGN):
        yield flag
        return

    def set_flag(signum: int, frame: Any) -> None:
        if flag.is_set():
            raise KeyboardInterrupt
        flag.set()

    signal.signal(signal.SIGINT, set_flag)
    try:
        yield flag
    finally:
        signal.signal(signal.SIGINT, before)
