"""`Explorer`: what every widget of the course has in common.

A widget is an anywidget class: Python computes what needs a model, once, and sends arrays; the
browser does what a control changes, and draws. Its JavaScript is one ES module made of `kit.js`,
shared by all, and the widget's own file, which finds the kit under the name `kit`. Nothing is built
and nothing is fetched.

A notebook that is shown without a kernel (on GitHub, as a web page, in a fresh clone) cannot run a
widget. So each also gives a picture, drawn by matplotlib from the same numbers, and a line of text.
"""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import numpy as np
import torch
import traitlets

_HERE = Path(__file__).resolve().parent


class Explorer(anywidget.AnyWidget):
    """A widget with a shared look, a saved picture and a stable text form.

    A subclass names its files, declares its state as traits tagged `sync=True`, and says what it
    shows in `describe` and `draw`:

        class Dice(Explorer):
            script = "dice.js"          # beside base.py; ends with `export default { render }`
            style = "dice.css"          # optional, added to kit.css
            sides = traitlets.Int(6).tag(sync=True)

            def describe(self):
                return f"a die with {self.sides} sides"

    Attributes:
        script: name of the widget's JavaScript file.
        style: name of its style sheet, or "" for none.
        arrays: numbers for the browser, each packed by `pack`; in JavaScript
            `kit.array(model.get("arrays").name)`.
        notice: what went wrong or was left out, in plain words; "" when all is well. The kit shows
            it and screen readers speak it.
    """

    script: ClassVar[str] = ""
    style: ClassVar[str] = ""

    arrays = traitlets.Dict().tag(sync=True)
    notice = traitlets.Unicode("").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "script" in cls.__dict__:  # not in the copies of a class that add_traits makes
            cls._esm = _joined("kit.js", cls.script)
            cls._css = _joined("kit.css", cls.style)
        super().__init_subclass__(**kwargs)

    def follow_text(self, read: Callable[[str], dict[str, Any]]) -> None:
        """From now on set the traits that `read(text)` returns whenever the trait `text` changes.

        If the text is bad, the notice says so and all else stays.

        Args:
            read: raises TypeError or ValueError for a text that cannot be shown.
        """
        self.observe(lambda change: self._take_over(read, change["new"]), "text")

    def _take_over(self, read: Callable[[str], dict[str, Any]], text: str) -> None:
        try:
            state = read(text)
        except (TypeError, ValueError) as error:
            self.notice = f"{error}. The picture still shows the text before."
            return
        with self.hold_sync():
            for name, value in state.items():
                setattr(self, name, value)

    def describe(self) -> str:
        """Return what the widget shows, in one or two sentences with rounded numbers."""
        return ""

    def draw(self, figure: Any) -> None:
        """Draw the widget's present state on a matplotlib `Figure`, for the saved picture.

        A subclass that has no use for a picture leaves this method out.
        """

    def picture(self) -> bytes | None:
        """Return the saved picture as PNG bytes, or None for a widget that draws none."""
        if type(self).draw is Explorer.draw:
            return None
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure  # not pyplot: no state shared with the learner's plots

        figure = Figure(figsize=(8.0, 3.8), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        self.draw(figure)
        png = io.BytesIO()
        figure.savefig(png, format="png", metadata={"Software": None})
        return png.getvalue()

    def __repr__(self) -> str:
        return f"{type(self).__name__}: {self.describe()}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Add the picture and the text to the live view; a notebook saves all three."""
        live = super()._repr_mimebundle_(**kwargs)
        if live is None:
            return None
        data, metadata = live if isinstance(live, tuple) else (live, {})
        saved_data, saved_metadata = self.saved_form()
        return {**data, **saved_data}, {**metadata, **saved_metadata}

    def saved_form(self) -> tuple[dict, dict]:
        """Return what is shown where no kernel runs, the text and the picture: (data, metadata)."""
        data, metadata = {"text/plain": repr(self)}, {}
        picture = self.picture()
        if picture is not None:
            data["image/png"] = base64.b64encode(picture).decode("ascii")
            metadata["image/png"] = {"alt": self.describe()}
        return data, metadata


def pack(values: Any) -> dict[str, Any]:
    """Return numbers as bytes for the browser, where `kit.array` unpacks them.

    Args:
        values: a tensor or array of numbers, any shape.

    Returns:
        `{"shape": [...], "data": bytes}`, the bytes being float32, little end first, row by row.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    array = np.ascontiguousarray(values, dtype="<f4")
    return {"shape": list(array.shape), "data": array.tobytes()}


def in_range(proposal: Any, low: float, high: float) -> Any:
    """Return the value of a trait's proposal, or raise TraitError unless it is in [low, high]."""
    name, value = proposal["trait"].name, proposal["value"]
    if not low <= value <= high:
        raise traitlets.TraitError(f"{name} must lie in [{low}, {high}], but it is {value}")
    return value


def written(value: float, digits: int = 2) -> str:
    """Return a number as `kit.format` writes it: a true minus sign, and no minus zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "") if float(text) == 0 else text.replace("-", "−")


def _joined(*names: str) -> str:
    """Return the files `names` of this folder as one text."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names if name)
