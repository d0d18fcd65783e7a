"""Helpers that open a notebook in a real JupyterLab in headless Chromium, with no network.

Server, kernels and browser live in a network namespace of their own, in which there is nothing but
the loopback (`unshare -n`). Where the system forbids that, the browser's requests to other hosts
are blocked instead. `Lab.isolation` says which of the two it was.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_core.notebooks import recorded

ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS = 90
NAMESPACE = "network namespace with nothing but the loopback"
ROUTES = "requests to other hosts blocked in the browser"


def find_chromium() -> str | None:
    """Return the path of a Chromium on this machine, or None."""
    return next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@dataclass
class Lab:
    """A running JupyterLab.

    Attributes:
        root: the folder that it shows; a copy, free to be changed.
        url: where it listens.
        token: what a visitor must show.
        isolation: how the network is kept away.
        chromium: the program to start as the browser.
    """

    root: Path
    url: str
    token: str
    isolation: str
    chromium: str


@dataclass
class Problems:
    """What went wrong in a page: errors in the console, exceptions, requests to other hosts."""

    found: list[str] = field(default_factory=list)

    @contextmanager
    def watching(self, page: Any) -> Iterator[None]:
        """Watch a page while the block runs."""
        watched = (
            ("console", self._on_console),
            ("pageerror", self._on_exception),
            ("request", self._on_request),
        )
        for event, listener in watched:
            page.on(event, listener)
        yield
        for event, listener in watched:
            page.remove_listener(event, listener)

    def _on_console(self, message: Any) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text} ({message.location.get('url')})")

    def _on_exception(self, error: Any) -> None:
        self.found.append(f"exception: {error}")

    def _on_request(self, request: Any) -> None:
        if not is_local(request.url):
            self.found.append(f"request to another host: {request.url}")


def is_local(url: str) -> bool:
    """Return whether a request for `url` stays on this machine."""
    local = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")
    return url.startswith(local)


@contextmanager
def running_lab(root: Path) -> Iterator[Lab]:
    """Start JupyterLab on `root` with the course's own settings, and stop it afterwards.

    Raises:
        RuntimeError: the server does not start; the message ends with what it wrote.
    """
    home = Path(tempfile.mkdtemp(prefix="lab-"))
    token, port = secrets.token_hex(16), _free_port()
    separate = _namespace_command()
    command = [
        *separate,
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--LabApp.expose_app_in_browser=True",
        f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={root}",
    ]
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(home),
            cwd=root,
            start_new_session=True,
        )
    try:
        _wait_for_server(server, home / "runtime", log)
        yield Lab(
            root=root,
            url=f"http://127.0.0.1:{port}",
            token=token,
            isolation=NAMESPACE if separate else ROUTES,
            chromium=_chromium_command(home, server.pid, separate),
        )
    finally:
        _stop(server)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def open_browser(lab: Lab) -> Iterator[Any]:
    """Start Chromium, in the server's network namespace if it has one; yield Playwright's."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=lab.chromium, args=list(CHROMIUM_FLAGS), timeout=60_000
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_notebook(
    lab: Lab, browser: Any, path: str, anew: bool = False
) -> Iterator[tuple[Any, Problems]]:
    """Open the notebook `path` (relative to the root); yield JupyterLab's page and its problems.

    JupyterLab takes some seconds to load, so its page stays for the next notebook unless this one
    fails; `anew` loads it again, as on another day.
    """
    if anew:
        _lab_page(lab, browser).evaluate("window.stopped")  # no kernel is left for the new page
        _close_pages(browser)
    page, problems = _lab_page(lab, browser), Problems()
    try:
        with problems.watching(page):
            _load(lab, page)
            _open_document(page, path)
            page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=60_000)
            _wait_until_idle(page, 60)
            yield page, problems
        _close_documents(page)
        _stop_kernels(page)
    except BaseException:
        _close_pages(browser)
        raise


def run_all_cells(lab: Lab, page: Any, path: str, seconds: float) -> list[dict[str, Any]]:
    """Run every cell through the Run menu, save, and return the cells from the saved file.

    Stored outputs are cleared first: a cell that did not run can then not pass for one that did.

    Raises:
        AssertionError: a cell did not run, or raised, within `seconds`.
    """
    page.evaluate("window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    start_all_cells(page)
    started = time.monotonic()
    deadline = started + seconds
    waiting: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        _wait_until_idle(page, deadline - time.monotonic())
        try:
            notebook = saved_notebook(lab, page, path)
        except json.JSONDecodeError:  # the server is writing the file at this moment
            continue
        cells = notebook["cells"]
        code = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
        waiting = [cell for cell in code if cell["execution_count"] is None]
        if not waiting:
            assert not _errors(code), f"{path}: cells raised {_errors(code)}"
            recorded.keep(notebook, path, time.monotonic() - started)
            return cells
    raise AssertionError(f"{path}: {len(waiting)} cells had not run after {seconds:.0f} s")


def start_all_cells(page: Any) -> None:
    """Run all cells through the Run menu and do not wait for them."""
    page.locator(".lm-MenuBar-itemLabel", has_text="Run").first.click()
    page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()


def saved_notebook(lab: Lab, page: Any, path: str) -> dict[str, Any]:
    """Press Ctrl+S until JupyterLab has saved the notebook; return it from its file.

    A key that is pressed while a menu closes is lost.
    """
    page.evaluate(
        """() => {
            const { saveState } = window.jupyterapp.shell.currentWidget.context;
            window.saved = new Promise(resolve => {
                saveState.connect(function end(_, state) {
                    if (!state.startsWith("completed")) return;
                    saveState.disconnect(end);
                    resolve(true);
                });
            });
        }"""
    )
    in_a_second = "new Promise(resolve => setTimeout(() => resolve(false), 1000))"
    for _ in range(20):
        page.keyboard.press("Control+s")
        if page.evaluate(f"Promise.race([window.saved, {in_a_second}])"):
            return json.loads((lab.root / path).read_text(encoding="utf-8"))
    raise AssertionError(f"{path}: JupyterLab did not save it")


def scroll_to(page: Any, label: str) -> Any:
    """Return the widget with the accessible name `label`, scrolled into view.

    JupyterLab draws only the cells near the window, so the notebook is scrolled until the widget
    turns up. `css:light` spares the browser a search of every element for a shadow tree each time
    that the widget is asked for something.
    """
    widget = page.locator(f'css:light=section.llm[aria-label="{label}"]').first
    panel = page.locator(".jp-NotebookPanel:visible .jp-WindowedPanel-outer").first
    panel.evaluate("node => { node.scrollTop = 0; }")
    for _ in range(200):
        if widget.count() and widget.is_visible():
            widget.scroll_into_view_if_needed()
            _wait_until_still(widget)
            if widget.count() and widget.is_visible():
                return widget
        panel.evaluate("node => { node.scrollTop += 800; }")
        page.wait_for_timeout(40)
    raise AssertionError(f"no widget named {label!r} in the notebook")


def _lab_page(lab: Lab, browser: Any) -> Any:
    """Return the page that shows JupyterLab, or an empty one when there is none yet."""
    if browser.contexts:
        return browser.contexts[0].pages[0]
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    if lab.isolation == ROUTES:
        context.route(lambda url: not is_local(url), lambda route: route.abort())
    return context.new_page()


def _load(lab: Lab, page: Any) -> None:
    """Load JupyterLab into a page that is still empty."""
    if page.url == "about:blank":
        workspace = secrets.token_hex(4)
        page.goto(f"{lab.url}/lab/workspaces/{workspace}?token={lab.token}", timeout=60_000)
        page.wait_for_function("window.jupyterapp?.restored", timeout=60_000)


def _close_pages(browser: Any) -> None:
    """Close all pages; what they kept in memory is gone."""
    for context in browser.contexts:
        context.close()


def _open_document(page: Any, path: str) -> None:
    """Open a document by the command that JupyterLab's own file browser uses."""
    page.evaluate(
        """async path => {
            await window.jupyterapp.commands.execute("docmanager:open", { path });
        }""",
        path,
    )


def _close_documents(page: Any) -> None:
    """Close every document without asking whether to save it; the pointer rests on nothing."""
    page.evaluate(
        """() => [...window.jupyterapp.shell.widgets("main")].forEach(widget => widget.dispose())"""
    )
    page.mouse.move(0, 0)


def _namespace_command() -> list[str]:
    """Return what to put before a command to run it without a network; [] where forbidden."""
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return []
    launcher = [sys.executable, str(Path(__file__).resolve())]
    for flags in (["-n"], ["-r", "-n"]):
        command = ["unshare", *flags, *launcher]
        if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            return command
    return []


def _chromium_command(home: Path, server_pid: int, separate: list[str]) -> str:
    """Return a program that starts Chromium where the server is."""
    chromium = find_chromium()
    if not separate:
        return str(chromium)
    user = ["--user", "--preserve-credentials"] if "-r" in separate else []
    enter = " ".join(["nsenter", "--target", str(server_pid), "--net", *user])
    script = home / "chromium"
    script.write_text(f'#!/bin/sh\nexec {enter} -- {chromium} "$@"\n')
    script.chmod(0o755)
    return str(script)


def _environment(home: Path) -> dict[str, str]:
    """Return the environment of the server: the course's settings, and nothing of the user's."""
    own = {
        "HOME": home,
        "IPYTHONDIR": home / "ipython",
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_CONFIG_PATH": ROOT / ".jupyter",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "LLM_CORE_PROGRESS": home / "progress.json",
        "PYTHONPATH": ROOT,
    }
    return {**os.environ, **{name: str(value) for name, value in own.items()}}


def _wait_for_server(server: subprocess.Popen, runtime: Path, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        if list(runtime.glob("jpserver-*.json")) and b"is running at" in log.read_bytes():
            return
        time.sleep(0.2)
    written = log.read_text(errors="replace")[-2000:]
    raise RuntimeError(f"JupyterLab did not start within {START_SECONDS} s:\n{written}")


def _wait_until_idle(page: Any, seconds: float) -> None:
    """Wait until the notebook's kernel has had nothing to do three times in a row.

    The page looks by itself: to ask the server ten times a second would take time from the kernel.
    """
    quiet = page.evaluate(
        """async seconds => {
            const end = Date.now() + 1000 * seconds;
            for (let quiet = 0; quiet < 3; ) {
                if (Date.now() > end) return false;
                const context = window.jupyterapp.shell.currentWidget?.sessionContext;
                quiet = context?.session?.kernel?.status === "idle" ? quiet + 1 : 0;
                await new Promise(resolve => setTimeout(resolve, 100));
            }
            return true;
        }""",
        seconds,
    )
    assert quiet, "the kernel was still busy"


def _wait_until_still(widget: Any) -> None:
    """Wait until a widget has kept its place for a moment: cells above it may still be drawn."""
    widget.evaluate(
        """async node => {
            let place = null;
            for (let i = 0, still = 0; i < 100 && still < 3; i++) {
                await new Promise(resolve => setTimeout(resolve, 50));
                const { top, height } = node.getBoundingClientRect();
                still = place === `${top} ${height}` ? still + 1 : 0;
                place = `${top} ${height}`;
            }
        }"""
    )


def _stop_kernels(page: Any) -> None:
    """Shut down every kernel, as at the end of a day's work; the notebook stays as saved.

    A kernel takes a second to end, in which the next notebook can open: `window.stopped` waits.
    """
    page.evaluate(
        """async () => {
            const token = document.cookie.match(/_xsrf=([^;]+)/)[1];
            const reply = await fetch("/api/sessions");
            const sessions = reply.ok ? await reply.json() : [];
            window.stopped = Promise.all(sessions.map(({ id }) => fetch(`/api/sessions/${id}`,
                { method: "DELETE", headers: { "X-XSRFToken": token } }))).then(() => null);
        }"""
    )


def _errors(cells: list[dict[str, Any]]) -> list[str]:
    return [
        f"{output['ename']}: {output['evalue']}"
        for cell in cells
        if "raises-exception" not in cell["metadata"].get("tags", [])
        for output in cell["outputs"]
        if output["output_type"] == "error"
    ]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _stop(server: subprocess.Popen) -> None:
    """Stop the server and its kernels, which share its session."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        if server.poll() is not None:
            return
        os.killpg(server.pid, how)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            continue


def _raise_loopback() -> None:
    """Switch the loopback on; in a new network namespace it is off."""
    import fcntl
    import struct

    set_flags, up_and_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sh14x", b"lo", up_and_running))


if __name__ == "__main__":  # run inside the namespace: loopback up, then become the command
    _raise_loopback()
    os.execvp(sys.argv[1], sys.argv[1:])
