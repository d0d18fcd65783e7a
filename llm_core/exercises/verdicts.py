"""What `check` answers: a status, one sentence, and the details behind it."""

from dataclasses import dataclass, replace
from enum import StrEnum

from llm_core.exercises import markup


class Status(StrEnum):
    """Everything that `check` can find, in the order in which it looks."""

    NOT_A_FUNCTION = "not a function"
    NOT_ATTEMPTED = "not attempted"
    DID_NOT_STOP = "did not stop"
    RAISED = "raised"
    WRONG_TYPE = "wrong type"
    WRONG_SHAPE = "wrong shape"
    WRONG_DTYPE = "wrong dtype"
    CHANGED_INPUTS = "changed its inputs"
    NOT_REPEATABLE = "not repeatable"
    KNOWN_MISTAKE = "known mistake"
    CONVENTION = "different convention"
    BROKEN_PROPERTY = "broken property"
    DIFFERENT_VALUE = "different value"
    PASSED = "passed"


_HEADINGS = {
    Status.PASSED: ("good", "Passed."),
    Status.NOT_ATTEMPTED: ("note", "Not attempted yet."),
    Status.CONVENTION: ("note", "Another convention."),
}


class CheckFailed(AssertionError):  # noqa: N818 - a learner reads this name
    """Raised by `check` while nbgrader runs the notebook, so that the cell scores no points."""


@dataclass(frozen=True, repr=False)
class Verdict:
    """The outcome of one `check`.

    Its text form (`str`) and its HTML form say the same. Neither holds an address or a time.

    Attributes:
        id: the exercise, "attention.softmax".
        status: what was found, see `Status`; compares equal to its words ("known mistake").
        sentence: what was found in one or two plain sentences.
        details: (label, text) pairs: what was expected, what came, for which input.
        traceback: the learner's part of the traceback, shown folded; empty without an error.
        matched: name of the known mistake or convention that the answer equals, else None.
    """

    id: str
    status: Status
    sentence: str
    details: tuple[tuple[str, str], ...] = ()
    traceback: str = ""
    matched: str | None = None

    @property
    def passed(self) -> bool:
        """True when the answer passed everything."""
        return self.status is Status.PASSED

    def with_details(self, *details: tuple[str, str]) -> "Verdict":
        """Return this verdict with further details at the end."""
        return replace(self, details=self.details + details)

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        _, word = _HEADINGS.get(self.status, ("bad", "Not yet."))
        lines = [f"{word} {self.sentence}"]
        lines += [_text_detail(label, text) for label, text in self.details]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        kind, word = _HEADINGS.get(self.status, ("bad", "Not yet."))
        parts = [markup.labelled(label, text) for label, text in self.details]
        if self.traceback:
            parts.append(markup.folded("Traceback", markup.preformatted(self.traceback)))
        return markup.card(kind, word, self.sentence, *parts)


def _text_detail(label: str, text: str) -> str:
    """Return one detail as text; further lines are indented under the first."""
    if "\n" not in text:
        return f"  {label}: {text}"
    return f"  {label}:\n" + "\n".join(f"    {line}" for line in text.split("\n"))
