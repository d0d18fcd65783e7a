"""Pictures in the chapters: one style, and words for everybody who cannot see them."""

import html
import io

import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.figure import Figure

from llm_core.files import ASSETS

STYLE = ASSETS / "course.mplstyle"
"""The course's matplotlib style: quiet axes, colours that colour-blind readers tell apart."""


def use_course_style() -> None:
    """Draw every later figure in the course's style (`assets/course.mplstyle`)."""
    plt.style.use(STYLE)


def show_figure(fig: Figure, alt: str) -> None:
    """Show `fig` under the cell, with its description, and close it.

    The picture carries `alt` as its alternative text, and the same words stand folded under it,
    because JupyterLab 4 does not hand a picture's alternative text to screen readers. Only the
    words are compared when the notebooks are tested: keep digits that vary out of them.

    Args:
        fig: a matplotlib figure.
        alt: one or two sentences that say what the picture shows, not how it looks.

    Raises:
        TypeError: `fig` is not a figure or `alt` not text.
        ValueError: `alt` is empty.
    """
    if not isinstance(fig, Figure):
        raise TypeError(
            f"fig must be a matplotlib Figure, not {type(fig).__name__}; "
            "use the first result of `fig, ax = plt.subplots()`"
        )
    if not isinstance(alt, str):
        raise TypeError(f"alt must be text that says what the figure shows, not {alt!r}")
    alt = " ".join(alt.split())
    if not alt:
        raise ValueError("alt is empty; say in a sentence what the figure shows")
    png, size = _png(fig)
    plt.close(fig)
    display(
        {"image/png": png, "text/plain": alt}, raw=True, metadata={"image/png": size | {"alt": alt}}
    )
    display({"text/html": _folded(alt), "text/plain": alt}, raw=True)


def _png(fig: Figure) -> tuple[bytes, dict[str, int]]:
    """Return the figure as PNG without its program's name, and its size on screen in pixels."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", metadata={"Software": None})
    png = buffer.getvalue()
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    scale = fig.dpi / _saved_dpi(fig)
    return png, {"width": round(width * scale), "height": round(height * scale)}


def _saved_dpi(fig: Figure) -> float:
    dpi = plt.rcParams["savefig.dpi"]
    return fig.dpi if dpi == "figure" else dpi


def _folded(alt: str) -> str:
    return f"<details><summary>The figure in words</summary>{html.escape(alt)}</details>"
