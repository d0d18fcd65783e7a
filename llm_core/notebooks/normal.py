"""Outputs that are the same bytes at every build, and what must never stand in one."""

import base64
import json
import re
import struct
from pathlib import Path

from nbformat import NotebookNode, from_dict

from llm_core.files import ROOT

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{7,}\b")
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"pHYs", b"gAMA", b"sRGB"}


def normalise_outputs(notebook: NotebookNode) -> None:
    """Renumber execution counts and widget views, and strip pictures of dates and programs."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
            data = output.get("data", {})
            if "image/png" in data:
                data["image/png"] = _plain_png(data["image/png"])
    _renumber_views(notebook)


def output_problems(cell: NotebookNode) -> list[str]:
    """Return what must not be stored in this cell's outputs, one sentence each."""
    if cell.cell_type != "code":
        return []
    found = []
    for output in cell.outputs:
        if output.output_type == "error":
            found.append(
                f"the output is an error, {output.ename}; show the wrong way in try/except"
            )
        if output.output_type == "stream" and output.name == "stderr":
            found.append(
                f"writes to stderr: {output.text.strip()[:80]!r}; silence or mend its cause"
            )
        text = _visible_text(output)
        if address := ADDRESS.search(text):
            found.append(
                f"the output holds a memory address ({address[0]}), which changes at every run; "
                "print what the object holds"
            )
        if path := next((p for p in _own_paths() if p in text), None):
            found.append(f"the output holds a path of this machine ({path}); print a relative one")
    return found


def _visible_text(output: NotebookNode) -> str:
    data = {k: v for k, v in output.get("data", {}).items() if not k.startswith("image/")}
    return output.get("text", "") + json.dumps(data, ensure_ascii=False)


def _own_paths() -> list[str]:
    return [str(p) for p in (ROOT, Path.home()) if len(p.parts) > 2 or p == ROOT]


def _renumber_views(notebook: NotebookNode) -> None:
    """Replace each widget's random id by its number, wherever it stands in the outputs."""
    ids: dict[str, str] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view:
                ids.setdefault(view["model_id"], f"{len(ids) + 1:032x}")
    for cell in notebook.cells if ids else []:
        if cell.get("outputs"):
            text = json.dumps(cell.outputs)
            for old, new in ids.items():
                text = text.replace(old, new)
            cell.outputs = [from_dict(output) for output in json.loads(text)]


def _plain_png(encoded: str) -> str:
    """Return the base64 PNG without text and time chunks; anything else comes back as it was."""
    data = base64.b64decode(encoded)
    if not data.startswith(PNG_START):
        return encoded
    kept, at = [PNG_START], len(PNG_START)
    while at + 8 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] in PNG_CHUNKS:
            kept.append(data[at : at + length + 12])
        at += length + 12  # length, kind and checksum take four bytes each
    return base64.b64encode(b"".join(kept)).decode("ascii")
