"""Exercises of the course: checks that say what went wrong, hints, quizzes, progress.

Every chapter's data stands in its own module here, `attention.py` for `04_attention`, made of the
classes in `base.py`; everything else works from that data.
"""

from llm_core.exercises.checks import check
from llm_core.exercises.hints import hint
from llm_core.exercises.predictions import predict, reveal
from llm_core.exercises.quizzes import quiz
from llm_core.exercises.record import progress
from llm_core.exercises.verdicts import CheckFailed, Status, Verdict

__all__ = [
    "CheckFailed",
    "Status",
    "Verdict",
    "check",
    "hint",
    "predict",
    "progress",
    "quiz",
    "reveal",
]
