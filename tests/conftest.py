"""Prints the figures that tests measure, also when workers run them; makes Ctrl-C heard."""

import signal
from typing import Any

# A shell starts a background job with Ctrl-C ignored, and so CI may start us. Some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write each `record_property("figure", text)` of a passed test under the results."""
    reports = terminalreporter.stats.get("passed", [])
    figures = [
        value for report in reports for name, value in report.user_properties if name == "figure"
    ]
    for figure in figures:
        terminalreporter.write_line(f"measured: {figure}")
