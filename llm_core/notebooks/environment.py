"""Is this machine ready for the course? Plain answers, each with what to do about it."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from llm_core.cli.settings import pick_device
from llm_core.files import MY_WORK, ROOT

NEEDED_PACKAGES = ("anywidget", "ipywidgets", "jupyterlab", "matplotlib", "safetensors", "torch")
NEEDED_DISK_GB = 1.0


@dataclass(frozen=True)
class Finding:
    """One line of the report. `advice` is empty when all is well."""

    subject: str
    found: str
    advice: str = ""


def check_environment() -> None:
    """Print what the course found on this machine, and what to do where something is missing."""
    findings = list(_findings())
    for finding in findings:
        mark = "!" if finding.advice else "ok"
        print(f"{mark:>2}  {finding.subject}: {finding.found}")
        if finding.advice:
            print(f"      {finding.advice}")
    problems = sum(bool(finding.advice) for finding in findings)
    print()
    if problems:
        print(f"{problems} of {len(findings)} lines above need your attention (marked !).")
    else:
        print("Everything is ready.")


def _findings() -> Iterator[Finding]:
    yield _python()
    yield _packages()
    yield _processor()
    yield _disk()
    yield _writable()


def _python() -> Finding:
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        advice = "The course is tested with 3.11 to 3.13. Install one, then: make clean lab"
        return Finding("Python", version, advice)
    return Finding("Python", version)


def _packages() -> Finding:
    missing = [name for name in NEEDED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        advice = "Close JupyterLab and run: make lab (Windows: see README.md). It installs them."
        return Finding("packages", f"missing: {', '.join(missing)}", advice)
    return Finding("packages", f"all there, PyTorch {torch.__version__}")


def _processor() -> Finding:
    cores = os.cpu_count() or 1
    device = pick_device().type
    if device != "cpu":
        return Finding("processor", f"{cores} cores and a graphics processor ({device})")
    if cores < 2:
        return Finding("processor", "1 core", "Everything works; expect twice the promised times.")
    return Finding("processor", f"{cores} cores, no graphics processor (none is needed)")


def _disk() -> Finding:
    free = shutil.disk_usage(ROOT).free / 1e9
    found = f"{free:.1f} GB free"
    if free < NEEDED_DISK_GB:
        return Finding(
            "disk", found, f"Make at least {NEEDED_DISK_GB:.0f} GB free for checkpoints."
        )
    return Finding("disk", found)


def _writable() -> Finding:
    try:
        MY_WORK.mkdir(exist_ok=True)
        probe = MY_WORK / f"probe.{os.getpid()}.partial"
        probe.write_text("", encoding="utf-8")
        probe.unlink()
    except OSError as error:
        advice = "Your progress cannot be saved. Move the course to a folder that you may write in."
        return Finding("your work", f"cannot write in {MY_WORK} ({error.strerror})", advice)
    return Finding("your work", "can be saved")
