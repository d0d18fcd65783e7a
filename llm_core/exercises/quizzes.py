"""`quiz`: multiple-choice questions with an explanation for every option.

Why this is not a library (looked at in November 2026): each of these lacks something that design
sections 7 and 8 ask for.

- jupyterquiz 2.9 (and nbgrader-jupyterquiz, built on it) injects JavaScript through HTML output,
  which does not run in an untrusted notebook; its ids are random, so outputs change at every run;
  answers do not reach Python; its README says that maths is broken in JupyterLab 4.
- ipyquizjb 0.3 needs `requests`, has no explanation for each option and draws in Output widgets,
  which leak into saved outputs.
- nbautoeval 1.8 explains options, but answers only after a whole quiz is submitted, with ipywidgets
  check boxes (no fieldset, arrow keys go to JupyterLab), nothing in a static page, and needs
  myst-parser.
- nbquiz 0.0.1 has no explanations and writes into the learner's namespace.
"""

from typing import Any

from llm_core.exercises import markup
from llm_core.exercises.base import Option, Question
from llm_core.exercises.record import remember_answer
from llm_core.exercises.registry import find_quiz


def quiz(id: str) -> Any:
    """Show a quiz: choose an option and read why it is right or wrong.

    The first answer to each question counts in `progress()`; after that, try every option.

    Args:
        id: the quiz, such as "attention.recap".

    Returns:
        A widget; its saved form is the questions and options as text, with the answers folded.

    Raises:
        TypeError, ValueError: there is no such quiz.
        ModuleNotFoundError: the packages for notebooks are not installed.
    """
    questions = find_quiz(id)
    try:  # here, because the checks work without widgets
        from llm_core.widgets.quiz import QuizWidget
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"a quiz needs {error.name}: pip install 'llm_core[course]'", name=error.name
        ) from error

    return QuizWidget(
        quiz_id=id,
        questions=[_as_data(question) for question in questions],
        static_html=static_html(questions),
        on_first_answer=lambda i, right: remember_answer(id, i, right),
    )


def static_html(questions: tuple[Question, ...]) -> str:
    """Return a quiz as plain HTML, explanations folded, for where no widget can run."""
    return "".join(_question_html(i, question) for i, question in enumerate(questions))


def _question_html(i: int, question: Question) -> str:
    """Return one question with its options and, folded, what each of them is worth."""
    options = "".join(f"<li>{markup.paragraph_text(o.text)}</li>" for o in question.options)
    answers = "".join(
        f"<li><b>{'Right' if o.right else 'Wrong'}.</b> {markup.paragraph_text(_reason(o))}</li>"
        for o in question.options
    )
    style = 'style="list-style-type: upper-alpha"'
    return (
        f"<p><b>Question {i + 1}.</b> {markup.paragraph_text(question.text)}</p>"
        f"<ol {style}>{options}</ol>"
        + markup.folded("Answers and explanations", f"<ol {style}>{answers}</ol>")
    )


def _as_data(question: Question) -> dict[str, Any]:
    """Return a question as JSON for the browser."""
    options = [
        {"text": o.text, "explanation": _reason(o), "right": o.right} for o in question.options
    ]
    return {"text": question.text, "options": options}


def _reason(option: Option) -> str:
    """Return an explanation without the "Yes." or "No." in front, which the quiz itself says."""
    return option.explanation.removeprefix("Yes. ").removeprefix("No. ")
