"""Prints the figures that tests measure, also when workers run them."""

from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Write each `record_property("figure", text)` of a passed test under the results."""
    reports = terminalreporter.stats.get("passed", [])
    figures = [
        value for report in reports for name, value in report.user_properties if name == "figure"
    ]
    for figure in figures:
        terminalreporter.write_line(f"measured: {figure}")
