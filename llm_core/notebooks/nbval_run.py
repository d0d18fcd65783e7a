"""Strict nbval: run the stored notebooks again and compare every output with the stored one.

`run` starts pytest with nbval; this module is also the pytest plugin that it loads, which gives
each notebook the same environment as the build did (an empty progress file, one thread, no GPU)
and holds its running time against the limit of design section 6. Chapters that the browser tests
have just run in JupyterLab are not run again: nbval compares what that run put out (`recorded`).
"""

import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import nbformat
import nbval.plugin
import pytest
from nbval.kernel import RunningKernel

from llm_core.files import ROOT
from llm_core.notebooks import recorded
from llm_core.notebooks.build import kernel_environment, promised_seconds

SANITIZE = ROOT / "tests" / "nbval_sanitize.cfg"
SCRATCH = "LLM_CORE_NBVAL_SCRATCH"
LONGEST = {"07": 180}
LONGEST_ELSE = 90  # seconds on two cores, design section 6
LONGEST_CELL = max(LONGEST.values())  # on a busy machine one cell may take as long as a chapter


def run(paths: Sequence[Path], processes: int = 2, extra: Sequence[str] = ()) -> int:
    """Run strict nbval on the notebooks; return pytest's exit status, 0 when all outputs agree.

    Args:
        paths: notebooks; each runs in its own kernel, in its own folder.
        processes: how many run at the same time.
        extra: further arguments for pytest.
    """
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        print(f"no notebook to test: {missing or 'none was named'}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="llm_core_nbval_") as scratch:
        environment = kernel_environment(Path(scratch)) | {SCRATCH: scratch}
        _build_font_cache(environment)
        arguments = command(longest_first(paths), processes, extra)
        finished = subprocess.run(arguments, cwd=ROOT, env=environment)
    return finished.returncode


def command(paths: Sequence[Path], processes: int = 2, extra: Sequence[str] = ()) -> list[str]:
    """Return the command line that `run` starts."""
    return [
        *(sys.executable, "-m", "pytest", "-p", __name__, "-p", "no:cacheprovider"),
        *("--nbval", "--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}"),
        *(f"--nbval-cell-timeout={LONGEST_CELL}", "--nbval-kernel-startup-timeout=120"),
        *("-n", str(processes), "--dist", "loadfile", "--no-loadscope-reorder", "-q", *extra),
        *(str(path) for path in paths),
    ]


def longest_first(paths: Sequence[Path]) -> list[Path]:
    """Return the notebooks by what they promise to take, recorded runs last: all end together."""
    promises = {path: promised_seconds(nbformat.read(path, 4)) or 0 for path in paths}
    return sorted(paths, key=lambda path: (recorded.is_kept(path), -promises[path]))


def _build_font_cache(environment: dict[str, str]) -> None:
    """Import matplotlib once: on a fresh machine it says on stderr that this takes a moment."""
    code = "import matplotlib.font_manager"
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)


# The plugin

_seconds: dict[str, float] = defaultdict(float)
_recorded: set[str] = set()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before a notebook's kernel starts: give it an environment, or a run that is over."""
    first_cell = getattr(item.parent, "kernel", "not a notebook") is None
    if first_cell and SCRATCH in os.environ:
        own = Path(os.environ[SCRATCH]) / f"{item.path.parent.name}-{item.path.stem}"
        own.mkdir(parents=True, exist_ok=True)
        os.environ.update(kernel_environment(own))
        run = recorded.find(item.path)
        nbval.plugin.RunningKernel = RunningKernel if run is None else lambda *_, **__: run
        if run is not None:
            item.user_properties.append((recorded.FOLDER, run.seconds))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up what the cells of each notebook took, here or in the recorded run."""
    if report.when == "call":
        name = report.nodeid.split("::")[0]
        _seconds[name] += report.duration
        for _, seconds in report.user_properties:
            _recorded.add(name)
            _seconds[name] += seconds


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail when a notebook took longer than the course allows."""
    in_worker = hasattr(session.config, "workerinput")
    if not in_worker and any(_too_slow(name) for name in _seconds):
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each notebook's seconds beside what its first cell promises."""
    for name, seconds in sorted(_seconds.items()):
        promise = promised_seconds(nbformat.read(_path(name, terminalreporter.config), 4))
        line = f"{name}: {seconds:.0f} s" + (f", promises {promise} s" if promise else "")
        if name in _recorded:
            line += " (in JupyterLab, beside other tests)"
        if _too_slow(name):
            line += f"  FAILED: longer than the {_limit(name)} s that a chapter may take"
        elif promise and seconds > promise and name not in _recorded:
            line += "  slower than promised"
        terminalreporter.write_line(line)


def _path(name: str, config: pytest.Config) -> Path:
    return config.rootpath / name


def _limit(name: str) -> int:
    return LONGEST.get(Path(name).name[:2], LONGEST_ELSE)


def _too_slow(name: str) -> bool:
    return _seconds[name] > _limit(name)
