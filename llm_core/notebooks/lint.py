"""The anatomy of a notebook (design section 6), as rules that a program can check.

Each rule takes a `Page` and yields one sentence for each fault. How things are counted:

- Lines of code are the lines that hold code: blank lines, comments and docstrings do not count.
- A paragraph's lines are its source lines, and a line of more than 100 characters counts as the
  lines that it would fill. List items, quotations and table rows are paragraphs of their own.
- A picture has alternative text when its Markdown or HTML says so, or when its output carries
  `alt` in its metadata (`show_figure` does that), or is an explorer described in plain text.
"""

import ast
import io
import math
import re
import statistics
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from nbformat import NotebookNode

from llm_core.notebooks.build import PROMISE
from llm_core.notebooks.normal import WIDGET_VIEW, output_problems

MOST_LINES = 30
MEDIAN_LINES = 8
PARAGRAPH_LINES = 5
LINE_WIDTH = 100
TAGGED_SHARE = 0.2
MOST_EXERCISES = 10
IGNORED = "nbval-ignore-output"
WRITES_OUTPUT = {"print", "show_figure", "display", "check", "quiz", "progress"}

HEADING = re.compile(r"^(#{1,6})\s+(.*)$")
FENCE = re.compile(r"^\s*(```|~~~)")
MARKDOWN_IMAGE = re.compile(r"!\[([^\]]*)\]\(\s*<?([^)\s>]+)[^)]*\)")
HTML_IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE | re.DOTALL)
SVG = re.compile(r"<svg\b.*?</svg>", re.IGNORECASE | re.DOTALL)
ATTRIBUTE = r"\b{}\s*=\s*(?:\"([^\"]*)\"|'([^']*)')"
URL = re.compile(r"\b(?:https?|ftp|wss?)://", re.IGNORECASE)
REMOTE_IN_HTML = re.compile(
    r"(?:\bsrc\s*=\s*[\"']?|url\(\s*[\"']?|@import\s+[\"']|<link[^>]*href\s*=\s*[\"'])"
    r"(?:https?:)?//",
    re.IGNORECASE,
)
NETWORK_MODULES = {"ftplib", "http", "httpx", "requests", "socket", "urllib", "urllib3", "aiohttp"}
SHELL = re.compile(r"^\s*(?:!|%pip|%conda|%%bash|%%sh)", re.MULTILINE)
ABSOLUTE_PATH = re.compile(
    r"(?<![\w.:/~])/(?:home|Users|root|tmp|work|mnt|var|opt|usr|etc|private)/\w"
    r"|(?<!\w)[A-Za-z]:\\\w"
)


@dataclass(frozen=True)
class Page:
    """A notebook and where it stands.

    Attributes:
        notebook: what `nbformat.read` returned.
        path: its file, `chapters/04_attention.ipynb`; images are looked up beside it.
    """

    notebook: NotebookNode
    path: Path

    def cells(self, kind: str) -> Iterator[tuple[int, NotebookNode]]:
        """Yield (number, cell) for the cells of a kind, "code" or "markdown"; the first is 1."""
        for number, cell in enumerate(self.notebook.cells, start=1):
            if cell.cell_type == kind:
                yield number, cell


Rule = Callable[[Page], Iterator[str]]


def lint(page: Page) -> list[str]:
    """Return every fault of a notebook: "chapters/04_attention.ipynb [rule] cell 7: ..."."""
    name = f"{page.path.parent.name}/{page.path.name}"
    return [f"{name} [{rule}] {fault}" for rule, check in RULES.items() for fault in check(page)]


# Code cells


def code_length(page: Page) -> Iterator[str]:
    """No cell has more than 30 lines of code, and half of them at most 8."""
    lengths = {number: lines_of_code(cell.source) for number, cell in page.cells("code")}
    for number, length in lengths.items():
        if length > MOST_LINES:
            yield f"cell {number}: {length} lines of code, at most {MOST_LINES}; split it"
    if lengths and (median := statistics.median(lengths.values())) > MEDIAN_LINES:
        yield f"the median cell has {median:g} lines of code, at most {MEDIAN_LINES}; split some"


def lines_of_code(source: str) -> int:
    """Return how many lines hold code: not blank, not a comment, not part of a docstring."""
    tree = _parse(source)
    if tree is None:
        return sum(1 for line in source.split("\n") if line.strip())
    skip = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skip and token.type != tokenize.ENDMARKER:
            lines.update(range(token.start[0], token.end[0] + 1))
    for start, end in _docstrings(tree):
        lines.difference_update(range(start, end + 1))
    return len(lines)


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.lineno, first.end_lineno or first.lineno


def _parse(source: str) -> ast.Module | None:
    """Return the syntax tree; None for a cell with a magic or a shell line."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def semicolon(page: Page) -> Iterator[str]:
    """No cell ends in `;`: nbval sees the output that it hides."""
    for number, cell in page.cells("code"):
        if cell.source.rstrip().endswith(";"):
            yield f"cell {number}: ends in ';'; write `_ = ...`"


def network(page: Page) -> Iterator[str]:
    """No code reaches for the network or the shell."""
    for number, cell in page.cells("code"):
        if URL.search(cell.source):
            yield f"cell {number}: an address in code; chapters work offline, links go into text"
        if SHELL.search(cell.source):
            yield f"cell {number}: a shell or pip line, which is another one on each system"
        for module in sorted(_imports(cell.source) & NETWORK_MODULES):
            yield f"cell {number}: imports {module}; chapters work offline"


def _imports(source: str) -> set[str]:
    found = set()
    for node in ast.walk(_parse(source) or ast.Module([], [])):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


# Outputs


def outputs_stored(page: Page) -> Iterator[str]:
    """Every code cell was run, in order, and those that must print or show something did."""
    for expected, (number, cell) in enumerate(page.cells("code"), start=1):
        if cell.execution_count != expected:
            yield f"cell {number}: execution count {cell.execution_count}, not {expected}; build it"
        if not cell.outputs and _must_show(cell.source):
            yield f"cell {number}: shows something when run, but no output is stored"


def _must_show(source: str) -> bool:
    """Tell whether a top-level statement prints, or the last one is an expression with a value."""
    tree = _parse(source)
    calls = [
        node.value.func.id
        for node in (tree.body if tree else [])
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    ]
    if set(calls) & WRITES_OUTPUT:
        return True
    last = tree.body[-1] if tree and tree.body else None
    return isinstance(last, ast.Expr) and not isinstance(last.value, ast.Call | ast.Constant)


def outputs_clean(page: Page) -> Iterator[str]:
    """No output is an error, stands on stderr, or holds a memory address or a local path."""
    for number, cell in page.cells("code"):
        for problem in output_problems(cell):
            yield f"cell {number}: {problem}"


def tagged_share(page: Page) -> Iterator[str]:
    """At most one code cell in five is left out of the comparison of outputs."""
    cells = [cell for _, cell in page.cells("code")]
    tagged = sum(IGNORED in cell.metadata.get("tags", []) for cell in cells)
    if cells and tagged > TAGGED_SHARE * len(cells):
        yield f"{tagged} of {len(cells)} code cells are tagged {IGNORED}; at most one in five"


# Text


def headings(page: Page) -> Iterator[str]:
    """One title, in the first cell, and levels without a gap."""
    found = list(_headings(page))
    titles = [number for number, level, _ in found if level == 1]
    if titles != [1]:
        yield f"titles (#) stand in cells {titles}; there must be one, in cell 1"
    previous = 0
    for number, level, text in found:
        if level > previous + 1:
            yield f"cell {number}: '{text}' is of level {level}, but follows level {previous}"
        previous = level


def _headings(page: Page) -> Iterator[tuple[int, int, str]]:
    for number, cell in page.cells("markdown"):
        for line in _outside_fences(cell.source):
            if match := HEADING.match(line):
                yield number, len(match[1]), match[2].strip()


def _outside_fences(source: str) -> Iterator[str]:
    """Yield the lines outside code fences; a fence counts as a blank line."""
    fenced = False
    for line in source.split("\n"):
        if FENCE.match(line):
            fenced = not fenced
            yield ""
        elif not fenced:
            yield line


def paragraphs(page: Page) -> Iterator[str]:
    """No paragraph is longer than five lines."""
    for number, cell in page.cells("markdown"):
        for paragraph in _paragraphs(cell.source):
            length = sum(max(1, math.ceil(len(line) / LINE_WIDTH)) for line in paragraph)
            if length > PARAGRAPH_LINES:
                start = paragraph[0].strip()[:50]
                yield f"cell {number}: a paragraph of {length} lines ('{start} ...'), at most 5"


def _paragraphs(source: str) -> Iterator[list[str]]:
    """Yield the paragraphs of running text; headings, formulas and HTML tags are none."""
    current: list[str] = []
    formula = False
    for line in [*_outside_fences(source), ""]:
        text = line.strip()
        breaks = not text or HEADING.match(line) or text.startswith(("|", "<", "$$")) or formula
        if current and (breaks or re.match(r"\s*(?:[-*+]|\d+[.)])\s|\s*>", line)):
            yield current
            current = []
        if text.count("$$") == 1:
            formula = not formula
        if not breaks:
            current.append(text)


def no_empty_cell(page: Page) -> Iterator[str]:
    """No cell is empty."""
    for number, cell in enumerate(page.notebook.cells, start=1):
        if not cell.source.strip():
            yield f"cell {number}: empty; remove it"


# Pictures


def alt_text(page: Page) -> Iterator[str]:
    """Every picture can be read: alternative text on images, figures and drawings."""
    for number, cell in page.cells("markdown"):
        for alt, source in MARKDOWN_IMAGE.findall(cell.source):
            if not alt.strip():
                yield f"cell {number}: the image {source} has no alternative text: ![what it shows]"
        yield from _html_alt(number, cell.source)
    for number, cell in page.cells("code"):
        for output in cell.outputs:
            yield from _html_alt(number, output.get("data", {}).get("text/html", ""))
            if _is_picture(output) and not _described(output):
                yield (
                    f"cell {number}: a figure without alternative text; "
                    "show it with llm_core.notebooks.figure.show_figure(fig, alt=...)"
                )


def _html_alt(number: int, text: str) -> Iterator[str]:
    for tag in HTML_IMAGE.findall(text):
        if not _attribute(tag, "alt").strip():
            yield f"cell {number}: an <img> without alt: {tag[:60]}"
    for drawing in SVG.findall(text):
        opening = drawing[: drawing.index(">") + 1]
        hidden = _attribute(opening, "aria-hidden") == "true"
        if not (hidden or _attribute(opening, "aria-label").strip() or "<title" in drawing):
            yield f"cell {number}: an <svg> without <title> or aria-label"


def _attribute(tag: str, name: str) -> str:
    match = re.search(ATTRIBUTE.format(name), tag, re.IGNORECASE)
    return (match[1] or match[2] or "") if match else ""


def _is_picture(output: NotebookNode) -> bool:
    return any(kind.startswith("image/") for kind in output.get("data", {}))


def _described(output: NotebookNode) -> bool:
    kinds = [kind for kind in output.data if kind.startswith("image/")]
    if all(output.metadata.get(kind, {}).get("alt", "").strip() for kind in kinds):
        return True
    text = output.data.get("text/plain", "")
    return WIDGET_VIEW in output.data and " " in text.strip() and not text.startswith("<")


def pictures_local(page: Page) -> Iterator[str]:
    """Every picture is a file of the course, named relative to the notebook, and is there."""
    for number, cell in page.cells("markdown"):
        sources = [source for _, source in MARKDOWN_IMAGE.findall(cell.source)]
        sources += [_attribute(tag, "src") for tag in HTML_IMAGE.findall(cell.source)]
        for source in sources:
            if fault := _source_fault(source, page.path.parent, cell):
                yield f"cell {number}: {fault}"
    for number, cell in page.cells("code"):
        for output in cell.outputs:
            if REMOTE_IN_HTML.search(output.get("data", {}).get("text/html", "")):
                yield f"cell {number}: the output loads something from the network"


def _source_fault(source: str, folder: Path, cell: NotebookNode) -> str | None:
    if source.startswith("data:"):
        return None
    if source.startswith("attachment:"):
        name = source.removeprefix("attachment:")
        return None if name in cell.get("attachments", {}) else f"no attachment {name}"
    if re.match(r"[a-z]+:|//", source, re.IGNORECASE):
        return f"remote image {source}; put the file into assets/"
    if source.startswith("/"):
        return f"image {source} by an absolute path; write it relative to the notebook"
    return None if (folder / unquote(source)).is_file() else f"there is no image file {source}"


def absolute_paths(page: Page) -> Iterator[str]:
    """No text and no code names a folder of one machine."""
    for number, cell in enumerate(page.notebook.cells, start=1):
        texts = [cell.source]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
        for text in texts:
            if match := ABSOLUTE_PATH.search(text):
                near = text[match.start() : match.start() + 40].split("\n")[0]
                yield f"cell {number}: an absolute path: {near}"


# The course's own order


def anatomy(page: Page) -> Iterator[str]:
    """Title and promise, set-up, warm-up, exercises, recap and quiz."""
    cells = page.notebook.cells
    first = cells[0].source if cells and cells[0].cell_type == "markdown" else ""
    if not PROMISE.search(first):
        yield "cell 1 does not promise '... seconds to run'"
    if not re.search(r"\d+ minutes to read", first):
        yield "cell 1 does not say '... minutes to read'"
    number, setup = next(page.cells("code"), (0, None))
    if setup is None or number > 3 or not _imports(setup.source):
        yield "the first code cell, cell 2 or 3, must be the set-up: imports and seed"
    titles = " | ".join(text.lower() for _, _, text in _headings(page))
    opening = page.path.name.startswith("00_")  # has no earlier chapter to ask about
    for part in ("recap",) if opening else ("warm-up", "recap"):
        if part not in titles:
            yield f"no section '{part}'"
    if not any("quiz(" in cell.source for _, cell in page.cells("code")):
        yield "no quiz"


def exercise_count(page: Page) -> Iterator[str]:
    """Four to ten exercises; the opening chapter has at least three."""
    count = sum("exercise" in cell.metadata.get("tags", []) for _, cell in page.cells("code"))
    least = 3 if page.path.name.startswith("00_") else 4
    if not least <= count <= MOST_EXERCISES:
        yield f"{count} exercises; a chapter has {least} to {MOST_EXERCISES}"


RULES: dict[str, Rule] = {
    rule.__name__: rule
    for rule in (
        code_length,
        semicolon,
        network,
        outputs_stored,
        outputs_clean,
        tagged_share,
        headings,
        paragraphs,
        no_empty_cell,
        alt_text,
        pictures_local,
        absolute_paths,
        anatomy,
        exercise_count,
    )
}
