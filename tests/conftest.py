"""Prints the figures that tests measure, also when workers run them; makes Ctrl-C heard.

Browser tests find a running JupyterLab and a browser here, one of each for a worker's whole run.
"""

import shutil
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from browser import ROOT, Lab, open_browser, running_lab

# A shell starts a background job with Ctrl-C ignored, and so CI may start us. Some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put half of the browser tests first and half of them at three quarters.

    `--dist worksteal` deals the tests out in as many parts as there are workers. Of two, both begin
    their browser tests at other times, since those often wait and the others then use that time,
    and both end with short tests, which they take from each other. Of each half, what may take
    longest, by its time limit, comes first.
    """
    limits = {item: item.get_closest_marker("timeout") for item in items}
    items.sort(key=lambda item: -limits[item].args[0] if limits[item] else 0)
    in_browser = [item for item in items if item.get_closest_marker("browser")]
    others = [item for item in items if not item.get_closest_marker("browser")]
    later = 3 * len(others) // 4
    items[:] = [*in_browser[::2], *others[:later], *in_browser[1::2], *others[later:]]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write each `record_property("figure", text)` of a passed test under the results."""
    reports = terminalreporter.stats.get("passed", [])
    figures = [
        value for report in reports for name, value in report.user_properties if name == "figure"
    ]
    for figure in figures:
        terminalreporter.write_line(f"measured: {figure}")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab on copies of the chapters; tests may write further notebooks into its root."""
    root = tmp_path_factory.mktemp("course")
    for folder in ("chapters", "assets"):
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, root / folder)
    with running_lab(root) as running:
        yield running


@pytest.fixture(scope="session")
def browser(lab: Lab) -> Iterator[Any]:
    """A Chromium that sees the lab and nothing else."""
    with open_browser(lab) as running:
        yield running
