"""What an exercise is: data that `check` works from. Chapters fill these classes in, no more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]


@dataclass(frozen=True, eq=False)  # compared by identity: tensors do not compare to one bool
class Case:
    """One call of the learner's function.

    Attributes:
        name: what is special about this input, in words ("B, T and D all different").
        args: positional arguments; `check` copies them before each call.
        kwargs: keyword arguments.
        sizes: the letters of this case's axes, such as {"B": 2, "T": 5}, for messages about
            shapes; without it they come from the shapes in the reference's docstring.
    """

    name: str
    args: tuple = ()
    kwargs: dict[str, Any] | None = None
    sizes: dict[str, int] | None = None


@dataclass(frozen=True)
class Made:
    """An argument made anew for each call from another one, as an optimizer is from its model.

    Attributes:
        make: called with the function's own copy of `of`.
        of: an argument that stands before this one.
    """

    make: Callable[[Any], Any]
    of: Any


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation that learners really write, or a different convention.

    Attributes:
        name: a short name, unique in its exercise ("no_max_subtraction").
        function: the wrong implementation, called like the learner's.
        sentence: one sentence to the learner that names the mistake and points at its cause.
        weak_test: the weaker test that this would have passed, for whoever edits the inputs.
        variants: the same mistake written in other ways that act otherwise on some case, such as
            one that raises where another returns nothing; they have the same sentence.
    """

    name: str
    function: Function
    sentence: str
    weak_test: str
    variants: tuple[Function, ...] = ()


@dataclass(frozen=True)
class Property:
    """Something that is true of every right answer, and tells two mistakes at once.

    Attributes:
        name: what must hold, in words ("every row sums to one").
        broken: called as `broken(answer)` with the learner's function; returns None when the
            property holds, else one sentence with the numbers that break it.
    """

    name: str
    broken: Callable[[Function], str | None]


@dataclass(frozen=True, eq=False)
class Exercise:
    """One exercise, complete.

    Attributes:
        id: "chapter.function", for example "attention.causal_mask".
        title: a few words for `progress()`.
        reference: the right implementation; where `llm_core` has one, that.
        cases: calls on which the answer is compared with the reference, entry by entry. Empty for
            an exercise with no single right output, which `properties` then judge alone.
        mistakes: at least three wrong implementations, each with its sentence.
        conventions: right ideas by another agreement than ours, each with its sentence.
        right: at least two right answers that are written differently.
        properties: invariants, checked after the known mistakes.
        hints: three, from a nudge to nearly the solution.
        solution: the reasoning behind the solution, shown with its code after the hints.
        checked: what a pass has established, in one line.
        atol: the largest difference allowed between an answer and the reference.
        time_limit: seconds for all cases together, and for each property, after which an answer
            counts as one that does not stop.
    """

    id: str
    title: str
    reference: Function
    cases: tuple[Case, ...]
    mistakes: tuple[Mistake, ...]
    right: tuple[Function, ...]
    hints: tuple[str, str, str]
    solution: str
    checked: str
    conventions: tuple[Mistake, ...] = ()
    properties: tuple[Property, ...] = ()
    atol: float = 1e-5
    time_limit: float = 10.0


@dataclass(frozen=True)
class Option:
    """One answer offered by a question, and why it is right or wrong."""

    text: str
    explanation: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """A multiple-choice question with exactly one right option and an explanation for each."""

    text: str
    options: tuple[Option, ...]
