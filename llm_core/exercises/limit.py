"""Stops a function that does not stop by itself, in a notebook on Linux, macOS and Windows."""

import ctypes
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

_REPEAT = 0.005
"""Seconds between two interruptions, for code that swallows one (`except:` inside a loop)."""

_POLL = 0.02
"""Seconds after which the watchdog thread of a call that has ended notices it."""

_PATIENCE = 20
"""Interruptions that a call may swallow before it is interrupted between its lines as well."""


class TimeUpError(BaseException):
    """The time limit has passed. Not an `Exception`: `except Exception` must not swallow it."""


def run_limited(function: Callable[[], Any], seconds: float) -> Any:
    """Call `function()` and return its result; interrupt it after `seconds`.

    In the main thread of Linux and macOS an interval timer (`signal.setitimer`) interrupts Python
    code and sleeping alike. Elsewhere (Windows, other threads) a watchdog thread plants the
    exception in the calling thread, where it surfaces at the next Python instruction. Either
    repeats until the call ends. The caller's own timer and handler are put back.
    A single long call into C, such as one huge matrix product, is interrupted when it returns.
    Code that sleeps inside `try` and swallows everything is stopped by the timer only.

    Raises:
        TimeUpError: the limit passed.
        BaseException: whatever `function` raises.
    """
    limit = _SignalLimit() if _signals_work_here() else _ThreadLimit()
    reporter = sys.unraisablehook
    sys.unraisablehook = functools.partial(_report_unraisable, reporter)
    try:
        return _run(limit, function, seconds)
    finally:
        sys.unraisablehook = reporter


def _run(limit: "_SignalLimit | _ThreadLimit", function: Callable[[], Any], seconds: float) -> Any:
    """Call `function()` under `limit`, which is off when this returns or raises."""
    try:
        try:
            limit.start(seconds)
            return function()
        finally:
            limit.stop()
    except TimeUpError:
        _stop_surely(limit)
        raise


def _report_unraisable(reporter: Callable[[Any], Any], unraisable: Any) -> None:
    """Report an error that Python could not raise, unless it is an interruption.

    An interruption that surfaces in a finalizer or a weak reference's callback is swallowed there;
    the next one stops the function, so that the learner need not read about this one.
    """
    if not isinstance(unraisable.exc_value, TimeUpError):
        reporter(unraisable)


def _signals_work_here() -> bool:
    """Say whether this is a main thread on a system that has interval timers."""
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and hasattr(signal, "setitimer")


def _stop_surely(limit: "_SignalLimit | _ThreadLimit") -> None:
    """Stop `limit` although a repeated interruption may arrive while it stops."""
    while True:
        try:
            limit.stop()
            return
        except TimeUpError:
            continue


def _reporting(frame: Any) -> bool:
    """Say whether `_report_unraisable` is at work: an error raised there would be printed."""
    while frame is not None:
        if frame.f_code is _report_unraisable.__code__:
            return True
        frame = frame.f_back
    return False


class _SignalLimit:
    """Interrupts the main thread through SIGALRM."""

    def start(self, seconds: float) -> None:
        self._began = time.monotonic()
        self._timer = (0.0, 0.0)
        self._stopped = False
        self._interruptions = 0
        self._caller = sys._getframe(1)
        self._trace = sys.gettrace()
        self._handler = signal.signal(signal.SIGALRM, self._interrupt)
        self._timer = signal.setitimer(signal.ITIMER_REAL, seconds, _REPEAT)

    def stop(self) -> None:
        """Put the earlier handler and timer back, less the time that has passed; once."""
        if self._stopped:
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler or signal.SIG_DFL)
        if self._interruptions > _PATIENCE:
            sys.settrace(self._trace)
        self._stopped = True
        left, interval = self._timer
        if left:
            left = max(left - (time.monotonic() - self._began), 0.001)
            signal.setitimer(signal.ITIMER_REAL, left, interval)

    def _interrupt(self, number: int, frame: Any) -> None:
        if _reporting(frame):
            return
        self._interruptions += 1
        if self._interruptions > _PATIENCE:
            self._interrupt_a_line(frame, self._interruptions % 7)
        raise TimeUpError

    def _interrupt_a_line(self, frame: Any, later: int) -> None:
        """Raise again some lines later, where no `try` may stand around the code."""
        lines = iter(range(later))

        def trace(frame: Any, event: str, _: Any) -> Any:
            if event == "line" and next(lines, None) is None:
                raise TimeUpError
            return trace

        while frame is not None and frame is not self._caller:
            if frame.f_code.co_filename != __file__:  # `stop` must come to its end
                frame.f_trace = trace
            frame = frame.f_back
        sys.settrace(lambda *_: None)  # without one, a frame's own is not called


class _ThreadLimit:
    """Interrupts the calling thread from a second one."""

    def start(self, seconds: float) -> None:
        self._target = ctypes.c_ulong(threading.get_ident())
        self._deadline = time.monotonic() + seconds
        self._over = False
        # Re-entrant: an interruption may surface while `stop` holds it, and `stop` runs again.
        self._lock = threading.RLock()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """End the watchdog, and take back an interruption that has not surfaced yet."""
        self._over = True
        with self._lock:  # the watchdog is not between looking at `_over` and interrupting
            ctypes.pythonapi.PyThreadState_SetAsyncExc(self._target, None)

    def _watch(self) -> None:
        while not self._over:
            left = self._deadline - time.monotonic()
            if left > 0:
                time.sleep(min(left, _POLL))
                continue
            self._interrupt()
            time.sleep(_REPEAT)

    def _interrupt(self) -> None:
        if not self._lock.acquire(timeout=_POLL):
            return
        try:
            if not self._over:
                error = ctypes.py_object(TimeUpError)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(self._target, error)
        finally:
            self._lock.release()
