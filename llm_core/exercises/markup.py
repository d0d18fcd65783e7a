"""The few HTML pieces that verdicts, hints and tables are made of.

Colours come from JupyterLab's theme variables, with a fallback that reads well on white and on
black, so that the same bytes serve the light and the dark theme and a static page.
"""

from html import escape

COLOURS = {
    "good": "var(--jp-success-color1, #2e8540)",
    "bad": "var(--jp-error-color1, #d64545)",
    "note": "var(--jp-info-color1, #2f7fb8)",
}
ICONS = {"good": "✓", "bad": "✗", "note": "○"}

_CARD = (
    "border-left: 4px solid {colour}; padding: 0.4em 0.9em; margin: 0.3em 0; "
    "color: var(--jp-content-font-color1, inherit); background: transparent; "
    "font-family: var(--jp-content-font-family, sans-serif); line-height: 1.5; max-width: 60em"
)
_PRE = (
    "white-space: pre-wrap; margin: 0.2em 0 0.4em 0; padding: 0.3em 0.6em; "
    "color: inherit; background: var(--jp-layout-color2, rgba(128, 128, 128, 0.12)); "
    "font-family: var(--jp-code-font-family, monospace); font-size: 0.92em"
)


def card(kind: str, word: str, sentence: str, *parts: str) -> str:
    """Return a box: an icon and a word for its kind, a sentence, then parts that are HTML.

    Args:
        kind: "good", "bad" or "note"; picks colour and icon.
        word: says in text what the colour says.
        sentence: plain text, escaped here.
        parts: further HTML.
    """
    head = (
        f'<div><strong><span aria-hidden="true">{ICONS[kind]}</span> {escape(word)}</strong> '
        f"{paragraph_text(sentence)}</div>"
    )
    return f'<div style="{_CARD.format(colour=COLOURS[kind])}">{head}{"".join(parts)}</div>'


def paragraph_text(text: str) -> str:
    """Escape `text`; what stands between backticks becomes code."""
    pieces = escape(text).split("`")
    if len(pieces) % 2 == 0:  # an odd number of backticks: leave them as they are
        return "`".join(pieces)
    return "".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces))


def labelled(label: str, text: str) -> str:
    """Return one line "label: text", with the text in a block when it has several lines."""
    if "\n" in text:
        return f"<div><b>{escape(label)}:</b>{preformatted(text)}</div>"
    return f"<div><b>{escape(label)}:</b> {paragraph_text(text)}</div>"


def preformatted(text: str) -> str:
    """Return `text` in a block that keeps its line ends."""
    return f'<pre style="{_PRE}">{escape(text)}</pre>'


def folded(summary: str, html: str) -> str:
    """Return HTML behind a line that opens it, by mouse or by keyboard."""
    return f"<details><summary>{escape(summary)}</summary>{html}</details>"
