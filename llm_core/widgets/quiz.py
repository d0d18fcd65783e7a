"""`QuizWidget`: a quiz of native radio buttons, answered in the browser, recorded by Python."""

from collections.abc import Callable
from typing import Any, ClassVar

import traitlets

from llm_core.widgets.base import Explorer


class QuizWidget(Explorer):
    """Multiple-choice questions; a checked choice shows at once why it is right or wrong.

    Everything is in the browser, so that a quiz answers without waiting for the kernel; only the
    choice comes back. `llm_core.exercises.quiz` makes it.

    Attributes:
        quiz_id: the quiz's id, shown to screen readers.
        questions: `{"text", "options": [{"text", "explanation", "right"}, ...]}` each.
        choices: the option checked last, by question number (from 0) as a string.
    """

    script: ClassVar[str] = "quiz.js"
    style: ClassVar[str] = "quiz.css"

    quiz_id = traitlets.Unicode().tag(sync=True)
    questions = traitlets.List().tag(sync=True)
    choices = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        *,
        quiz_id: str,
        questions: list[dict[str, Any]],
        static_html: str = "",
        on_first_answer: Callable[[int, bool], str | None] | None = None,
    ) -> None:
        """Make the widget.

        Args:
            quiz_id: the quiz's id.
            questions: as in the attribute.
            static_html: what a page without a kernel shows.
            on_first_answer: called once for each question with its number (from 0) and whether
                the first choice was right; what it returns is shown as a notice.
        """
        super().__init__(quiz_id=quiz_id, questions=questions)
        self._static_html = static_html
        self._on_first_answer = on_first_answer
        self._answered: set[int] = set()
        self.observe(self._record, names="choices")

    def describe(self) -> str:
        """Return the questions and options as lines of text, without the answers."""
        lines = [f"a quiz of {len(self.questions)} questions"]
        for i, question in enumerate(self.questions):
            lines.append(f"Question {i + 1}. {question['text']}")
            lines += [f"  {_letter(j)}. {o['text']}" for j, o in enumerate(question["options"])]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"Quiz: {self.describe()}"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict, dict] | None:
        """Add the questions as HTML, for a notebook that is shown without a kernel."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None or not self._static_html:
            return bundle
        data, metadata = bundle
        return {**data, "text/html": self._static_html}, metadata

    def _record(self, change: Any) -> None:
        """Report the first choice of each question; later ones are for trying out."""
        for i, question in enumerate(self.questions):
            choice = change["new"].get(str(i))
            if i in self._answered or choice not in range(len(question["options"])):
                continue
            self._answered.add(i)
            right = bool(question["options"][choice]["right"])
            if self._on_first_answer is not None:
                self.notice = self._on_first_answer(i, right) or self.notice


def _letter(j: int) -> str:
    """Return A for the first option, B for the second."""
    return chr(ord("A") + j)
