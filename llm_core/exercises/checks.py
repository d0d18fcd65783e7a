"""`check`: runs an answer on every input of its exercise and says what it finds.

`judge` looks in the order of `Status` and returns at the first finding. Before it says that an
answer raises or has a wrong shape, it asks whether the answer behaves exactly like a known mistake;
that sentence says more.
"""

import dis
import inspect
import os
import re
import time
from collections.abc import Callable
from functools import cached_property, lru_cache
from itertools import islice
from types import CodeType
from typing import Any

import torch

from llm_core.exercises.base import Case, Exercise, Function, Property
from llm_core.exercises.calls import Outcome, call, captured_print, kept_torch_state
from llm_core.exercises.causes import usual_cause
from llm_core.exercises.compare import Difference, differences
from llm_core.exercises.frames import (
    deepest_is_own,
    full_traceback,
    own_line,
    own_traceback,
    raised_by_the_course,
)
from llm_core.exercises.limit import TimeUpError, run_limited
from llm_core.exercises.record import remember_pass
from llm_core.exercises.registry import find_exercise
from llm_core.exercises.shapes import axis_names, named_arguments
from llm_core.exercises.show import (
    clean,
    describe,
    error_text,
    index_text,
    number,
    safe_repr,
    type_name,
)
from llm_core.exercises.verdicts import CheckFailed, Status, Verdict

_KINDS = (Status.WRONG_TYPE, Status.WRONG_SHAPE, Status.WRONG_DTYPE)
_ONLY_CALL = Case("the call without arguments")


def check(id: str, answer: Function) -> Verdict:
    """Check your answer to an exercise and say what it finds.

    Args:
        id: the exercise, such as "attention.softmax".
        answer: your function itself, not its result.

    Returns:
        A verdict that shows itself at the end of a cell. Whatever your code does, `check` returns
        one; it raises only for a wrong `id` and, while nbgrader grades, for a failed check.

    Raises:
        TypeError, ValueError: there is no such exercise.
        CheckFailed: the answer does not pass, and nbgrader is running the notebook.
    """
    exercise = find_exercise(id)
    verdict = judge(exercise, answer)
    if _nbgrader_runs():
        if not verdict.passed:
            print(verdict)
            raise CheckFailed(verdict.sentence)
        return verdict
    if verdict.passed:
        trouble = remember_pass(id)
        if trouble:
            verdict = verdict.with_details(("Progress", trouble))
    return verdict


def judge(exercise: Exercise, answer: Any) -> Verdict:
    """Return the verdict on an answer; nothing is remembered and nothing raised.

    Args:
        exercise: what was asked.
        answer: what came, normally a function.

    Raises:
        KeyboardInterrupt: the learner interrupted the kernel.
        RuntimeError: the reference itself fails on a case, a fault of the exercise's data.
    """
    wrong = _not_a_function(exercise, answer)
    if wrong is not None:
        return wrong
    attempt = Attempt(exercise, answer)
    _ = attempt.expected  # a fault in the exercise's data is raised here, outside the net below
    try:
        return _first_finding(attempt)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a result whose own methods misbehave
        sentence = f"{exercise_name(exercise)} returned something that cannot be looked at."
        details = (("Error", error_text(error)),)
        return Verdict(exercise.id, Status.WRONG_TYPE, sentence, details, full_traceback(error))


class Attempt:
    """One answer and its outcomes on all cases, each computed when it is first asked for."""

    def __init__(self, exercise: Exercise, answer: Function) -> None:
        self.exercise = exercise
        self.answer = answer
        self.name = exercise_name(exercise)
        self.compares = bool(exercise.cases)
        self.cases = exercise.cases or (_ONLY_CALL,)

    @cached_property
    def expected(self) -> list[Outcome]:
        """What the reference does on every case; it must not fail."""
        outcomes = [_known_outcome(self.exercise.reference, case, None) for case in self.cases]
        for case, outcome in zip(self.cases, outcomes, strict=True):
            if outcome.error is not None:
                raise RuntimeError(
                    f"the reference of {self.exercise.id} fails on the case {case.name!r}"
                ) from outcome.error
        return outcomes

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What the answer does on every case, up to the first that does not stop."""
        return self.run(self.exercise.time_limit)

    def run(self, seconds: float) -> list[Outcome]:
        """Call the answer on every case, all within `seconds`; stop at the first that goes on."""
        deadline = time.monotonic() + seconds
        outcomes = []
        for case in self.cases:
            left = max(deadline - time.monotonic(), 0.01)
            outcomes.append(call(self.answer, case, left))
            if isinstance(outcomes[-1].error, TimeUpError):
                break
        return outcomes

    def verdict(
        self,
        status: Status,
        sentence: str,
        details: tuple[tuple[str, str], ...] = (),
        *,
        error: BaseException | None = None,
        matched: str | None = None,
    ) -> Verdict:
        """Return a verdict, with what the function printed and the learner's part of the error."""
        printed = next((o.printed for o in self.outcomes if o.printed), "")
        if printed:
            details = (*details, ("Your function printed", printed))
        trace = own_traceback(error, self.answer) if error is not None else ""
        return Verdict(self.exercise.id, status, sentence, details, trace, matched)


@lru_cache(maxsize=10_000)
def _known_outcome(function: Function, case: Case, seconds: float | None) -> Outcome:
    """Return what the reference or a known mistake does on a case, called the first time only."""
    return call(function, case, seconds)


def exercise_name(exercise: Exercise) -> str:
    """Return the name of the function that an exercise asks for."""
    return exercise.id.split(".", 1)[-1]


def _first_finding(attempt: Attempt) -> Verdict:
    """Go through the steps in order and return the first verdict."""
    for step in _STEPS:
        verdict = step(attempt)
        if verdict is not None:
            return verdict
    return attempt.verdict(Status.PASSED, f"Checked: {attempt.exercise.checked}")


def _nbgrader_runs() -> bool:
    """Say whether nbgrader is grading or validating (it sets this variable, nbgrader 0.9.6)."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


# --- The steps, in the order of `Status`. Each returns a verdict, or None to go on. ---


def _not_a_function(exercise: Exercise, answer: Any) -> Verdict | None:
    """Say so when something else than the learner's function was passed."""
    name = exercise_name(exercise)
    call_it = f"pass the function itself, without parentheses: `check({exercise.id!r}, {name})`"
    if inspect.isclass(answer):
        sentence = f"This is the class {answer.__name__}, not a function; {call_it}."
    elif answer is ...:
        sentence = f"`...` was passed; {call_it}."
    elif isinstance(answer, torch.nn.Module) or callable(answer):
        return None
    elif answer is None:
        sentence = f"None was passed, which may be a result of {name}; {call_it}."
    elif isinstance(answer, str):
        sentence = f"A string was passed, not a function; {call_it}."
    else:
        sentence = f"This is {type_name(answer)}, perhaps a result of {name}; {call_it}."
    return Verdict(exercise.id, Status.NOT_A_FUNCTION, sentence)


def _not_attempted(attempt: Attempt) -> Verdict | None:
    """Recognise the stub, and a body of nothing but `...` or `pass`."""
    stub = f"{attempt.name} is still the stub: write its body"
    run = "then run its cell and this one."
    if _is_empty(attempt.answer):
        return attempt.verdict(Status.NOT_ATTEMPTED, f"{stub}, {run}")
    error = attempt.outcomes[0].error
    if isinstance(error, NotImplementedError) and _is_stub_error(error, attempt.answer):
        sentence = f"{stub} in place of `raise NotImplementedError`, {run}"
        if _has_own_variables(attempt.answer):
            sentence = (
                f"{attempt.name} still says `raise NotImplementedError`: delete that line, "
                f"so that your own lines count, {run}"
            )
        return attempt.verdict(Status.NOT_ATTEMPTED, sentence)
    return None


def _did_not_stop(attempt: Attempt) -> Verdict | None:
    """Report a call that ran past the time limit, and where it was then."""
    outcome, case = attempt.outcomes[-1], attempt.cases[len(attempt.outcomes) - 1]
    if not isinstance(outcome.error, TimeUpError):
        return None
    return _time_up(attempt, outcome.error, (("Case", case.name), *_inputs(attempt, case)))


def _known_mistake(attempt: Attempt) -> Verdict | None:
    """Report the known mistake or the other convention that the answer equals on every case."""
    for status, known in (
        (Status.KNOWN_MISTAKE, attempt.exercise.mistakes),
        (Status.CONVENTION, attempt.exercise.conventions),
    ):
        for mistake in known:
            ways = (mistake.function, *mistake.variants)
            if any(_behaves_like(attempt, wrong) for wrong in ways):
                shown = _how_it_shows(attempt)
                return attempt.verdict(status, mistake.sentence, shown, matched=mistake.name)
    return None


def _raised(attempt: Attempt) -> Verdict | None:
    """Report the first case on which the answer raises."""
    for case, outcome in zip(attempt.cases, attempt.outcomes, strict=True):
        if outcome.error is not None:
            return _raised_on(
                attempt, outcome.error, (("Case", case.name), *_inputs(attempt, case))
            )
    return None


def _wrong_kind(attempt: Attempt) -> Verdict | None:
    """Report a wrong type, then a wrong shape, then a wrong dtype, on the first case with it."""
    returned = [outcome.value for outcome in attempt.outcomes]
    if returned[0] is None and attempt.expected[0].value is not None:
        sentence = f"{attempt.name} returned nothing (None): is a `return` missing at its end?"
        return attempt.verdict(Status.WRONG_TYPE, sentence)
    if inspect.isgenerator(returned[0]) or inspect.isasyncgen(returned[0]):
        sentence = f"{attempt.name} returned a generator: use `return` where it says `yield`."
        return attempt.verdict(Status.WRONG_TYPE, sentence)
    if inspect.iscoroutine(returned[0]):
        for coroutine in filter(inspect.iscoroutine, returned):
            coroutine.close()
        sentence = f"{attempt.name} returned a coroutine: write `def` in place of `async def`."
        return attempt.verdict(Status.WRONG_TYPE, sentence)
    return _worst_difference(attempt, _KINDS)


def _changed_inputs(attempt: Attempt) -> Verdict | None:
    """Report an answer that writes into what it was given."""
    for case, outcome in zip(attempt.cases, attempt.outcomes, strict=True):
        if outcome.changed:
            key = outcome.changed[0]
            arguments = named_arguments(attempt.exercise, case)
            names = list(arguments)
            name = names[key] if isinstance(key, int) and key < len(names) else key
            sentence = (
                f"{attempt.name} changed its input {name}, which belongs to the caller: "
                f"{_how_to_leave_alone(name, arguments.get(name))}"
            )
            return attempt.verdict(Status.CHANGED_INPUTS, sentence, (("Case", case.name),))
    return None


def _how_to_leave_alone(name: Any, value: Any) -> str:
    """Say how to work with an input without changing it."""
    if isinstance(value, (list, dict)):
        kind = type(value).__name__
        return f"build a new {kind}, or begin with a copy, `{name} = {kind}({name})`."
    return (
        f"use `{name} = {name} + ...` in place of `{name} += ...`, and `masked_fill` in place "
        "of `masked_fill_`; or work on `.clone()`."
    )


def _not_repeatable(attempt: Attempt) -> Verdict | None:
    """Report an answer that gives something else when it is called again with the same input."""
    if not attempt.compares:
        return None  # such an exercise may well be answered at random
    again = attempt.run(2 * attempt.exercise.time_limit)  # a slow machine may be slower now
    if isinstance(again[-1].error, TimeUpError):
        return _time_up(attempt, again[-1].error, (("Case", attempt.cases[len(again) - 1].name),))
    for case, first, second in zip(attempt.cases, attempt.outcomes, again, strict=True):
        if not _same(first, second, attempt.exercise.atol):
            given = named_arguments(attempt.exercise, case).values()
            from_it = any(isinstance(value, torch.Generator) for value in given)
            sentence = (
                f"{attempt.name} gives another result when it is called again with the same input: "
                f"does it draw random numbers{' without the generator that it gets' * from_it}, or "
                "keep something between calls (a global variable, a list as default argument)?"
            )
            details = (("Case", case.name), ("First call", _told(first)))
            details += (("Second call", _told(second)),)
            return attempt.verdict(
                Status.NOT_REPEATABLE, sentence, details, error=second.error or first.error
            )
    return None


def _not_a_number(attempt: Attempt) -> Verdict | None:
    """Report NaN where a number was expected; it would break every property as well."""
    return _worst_difference(attempt, (Status.DIFFERENT_VALUE,), only_nan=True)


def _broken_property(attempt: Attempt) -> Verdict | None:
    """Report the first property that does not hold."""
    for prop in attempt.exercise.properties:
        verdict = _test_property(attempt, prop)
        if verdict is not None:
            return verdict
    return None


def _different_value(attempt: Attempt) -> Verdict | None:
    """Report the first entry that differs."""
    return _worst_difference(attempt, (Status.DIFFERENT_VALUE,))


_STEPS: tuple[Callable[[Attempt], Verdict | None], ...] = (
    _not_attempted,
    _did_not_stop,
    _known_mistake,
    _raised,
    _wrong_kind,
    _changed_inputs,
    _not_repeatable,
    _not_a_number,
    _broken_property,
    _different_value,
)


# --- What the steps are made of. ---


def _is_empty(answer: Function) -> bool:
    """Say whether the body of a function is only a docstring, `...` or `pass`."""
    code = getattr(answer, "__code__", None)
    if not isinstance(code, CodeType) or answer.__name__ == "<lambda>":
        return False
    steps = (i for i in dis.get_instructions(code) if i.opname not in ("RESUME", "NOP", "CACHE"))
    steps = list(islice(steps, 3))  # more is not empty, however long
    if [i.opname for i in steps] == ["LOAD_CONST", "RETURN_VALUE"]:
        return steps[0].argval is None and not _says_return(answer)
    if [i.opname for i in steps] == ["RETURN_CONST"]:
        return steps[0].argval is None and not _says_return(answer)
    return False


def _says_return(answer: Function) -> bool:
    """Say whether the source of a function spells out a `return`."""
    try:
        return "return" in inspect.getsource(answer).replace(inspect.getdoc(answer) or "\0", "")
    except (OSError, TypeError):
        return False


def _has_own_variables(answer: Function) -> bool:
    """Say whether a function uses variables beside its arguments, so that it is no bare stub."""
    code = getattr(answer, "__code__", None)
    if not isinstance(code, CodeType):
        return False
    stars = sum(bool(code.co_flags & f) for f in (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS))
    return code.co_nlocals > code.co_argcount + code.co_kwonlyargcount + stars


def _is_stub_error(error: NotImplementedError, answer: Function) -> bool:
    """Tell `raise NotImplementedError` in the answer from one that comes out of torch."""
    line = own_line(error, answer)
    if line is None or not deepest_is_own(error, answer):
        return False
    return "raise NotImplementedError" in line.source if line.source else not str(error)


def _time_up(attempt: Attempt, error: TimeUpError, details: tuple[tuple[str, str], ...]) -> Verdict:
    """Report an answer that was interrupted."""
    sentence = (
        f"{attempt.name} had not finished after {number(float(attempt.exercise.time_limit))} "
        "seconds and was stopped: does a loop never end?"
    )
    line = own_line(error, attempt.answer)
    if line is not None:
        details = (("It was then at", str(line)), *details)
    return attempt.verdict(Status.DID_NOT_STOP, sentence, details)


def _raised_on(
    attempt: Attempt, error: BaseException, details: tuple[tuple[str, str], ...]
) -> Verdict:
    """Report an error with the learner's own line and what usually causes it."""
    line = own_line(error, attempt.answer)
    if line is None:
        return _never_ran(attempt, error, details)
    sentence = f"{attempt.name} raised {type(error).__name__} at {line}."
    shown = [("Error", error_text(error))]
    if line.shapes:
        shown.append(("Tensors on this line", line.shapes))
    if not raised_by_the_course(error):
        shown.append(("Usual cause", usual_cause(error)))
    return attempt.verdict(Status.RAISED, sentence, (*shown, *details), error=error)


def _never_ran(
    attempt: Attempt, error: BaseException, details: tuple[tuple[str, str], ...]
) -> Verdict:
    """Report an error that arose before the first line of the answer, or after its last."""
    wanted = _signature(attempt.exercise.reference)
    have = _signature(attempt.answer)
    if isinstance(error, TypeError) and have != wanted:
        sentence = (
            f"{attempt.name} cannot be called as `{attempt.name}{wanted}`: its arguments are "
            f"`{have}`; keep the `def` line of the stub."
        )
    else:
        sentence = f"Calling {attempt.name} raised {type(error).__name__}."
    shown = (("Error", error_text(error)), ("Usual cause", usual_cause(error)))
    return attempt.verdict(Status.RAISED, sentence, (*shown, *details))


def _signature(function: Function) -> str:
    """Return a function's arguments without their annotations, "(x, mask=None)"."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return "(...)"
    empty = inspect.Parameter.empty
    bare = [p.replace(annotation=empty) for p in parameters]
    return clean(str(inspect.Signature(bare)))


def _behaves_like(attempt: Attempt, mistake: Function) -> bool:
    """Say whether the answer does on every case what the mistake does, and not what is right.

    Errors say little, so when every case raises, the messages must agree as well.
    """
    atol = attempt.exercise.atol
    wrong = []
    for case, outcome in zip(attempt.cases, attempt.outcomes, strict=True):
        wrong.append(_known_outcome(mistake, case, attempt.exercise.time_limit))
        if not _same(wrong[-1], outcome, atol):
            return False
    if all(o.error is not None for o in wrong):
        pairs = zip(wrong, attempt.outcomes, strict=True)
        return all(error_text(a.error) == error_text(b.error) for a, b in pairs)
    if not attempt.compares:
        return True
    return not all(_same(right, o, atol) for right, o in zip(attempt.expected, wrong, strict=True))


def _same(expected: Outcome, got: Outcome, atol: float) -> bool:
    """Say whether two calls did the same: result, kind of error, changed inputs."""
    if expected.error is not None or got.error is not None:
        return type(expected.error) is type(got.error)
    if expected.changed != got.changed:
        return False
    if type(expected.value).__repr__ is object.__repr__ and type(expected.value) is type(got.value):
        return True  # plain objects, such as generators, hold nothing to compare
    return not differences(expected.value, got.value, atol)


def _how_it_shows(attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """Return the details for a known mistake: the first case on which it shows, and how."""
    triples = zip(attempt.cases, attempt.expected, attempt.outcomes, strict=True)
    for case, right, outcome in triples:
        if outcome.error is not None:
            line = own_line(outcome.error, attempt.answer)
            where = (("Your line", str(line)),) if line else ()
            return (("Case", case.name), ("Error", error_text(outcome.error)), *where)
        found = _case_differences(attempt, case, right, outcome) if attempt.compares else []
        if found:
            return _difference_details(attempt, case, found[0], with_sentence=True)
        if outcome.changed:
            return (("Case", case.name),)
    return ()


def _worst_difference(
    attempt: Attempt, statuses: tuple[Status, ...], only_nan: bool = False
) -> Verdict | None:
    """Report the most basic difference of these kinds, on the first case that has it."""
    if not attempt.compares:
        return None
    found: list[tuple[int, Case, Difference]] = []
    triples = zip(attempt.cases, attempt.expected, attempt.outcomes, strict=True)
    for case, right, outcome in triples:
        for difference in _case_differences(attempt, case, right, outcome):
            if difference.status in statuses and (difference.is_nan or not only_nan):
                found.append((statuses.index(difference.status), case, difference))
    if not found:
        return None
    _, case, difference = min(found, key=lambda item: item[0])
    details = _difference_details(attempt, case, difference)
    return attempt.verdict(difference.status, difference.sentence, details)


def _case_differences(
    attempt: Attempt, case: Case, right: Outcome, outcome: Outcome
) -> list[Difference]:
    """Compare one outcome with the reference's."""
    names = axis_names(attempt.exercise, case)
    return differences(right.value, outcome.value, attempt.exercise.atol, names=names)


def _difference_details(
    attempt: Attempt, case: Case, difference: Difference, with_sentence: bool = False
) -> tuple[tuple[str, str], ...]:
    """Return the details of a difference: the case, both sides, the inputs."""
    seen = (("What shows it", difference.sentence),) if with_sentence else ()
    pattern = _lasting_pattern(attempt, difference)
    told = (("Pattern", pattern),) if pattern else ()
    return (*seen, ("Case", case.name), *difference.details, *told, *_inputs(attempt, case))


def _lasting_pattern(attempt: Attempt, difference: Difference) -> str | None:
    """Return the first pattern of a difference whose kind every case shows: no accident of one."""
    if not difference.patterns:
        return None
    triples = zip(attempt.cases, attempt.expected, attempt.outcomes, strict=True)
    others = [
        {_without_numbers(pattern) for pattern in other.patterns}
        for case, right, outcome in triples
        if outcome.error is None
        for other in _case_differences(attempt, case, right, outcome)
        if int(dict(other.details).get("Differ", "0").split()[0]) > 1
    ]
    for pattern in difference.patterns:
        if all(_without_numbers(pattern) in kinds for kinds in others):
            return pattern
    return None


def _without_numbers(text: str) -> str:
    return re.sub(r"-?\d[\d.e+-]*", "#", text)


def _inputs(attempt: Attempt, case: Case) -> tuple[tuple[str, str], ...]:
    """Return the inputs of a case as one detail, a line for each."""
    arguments = named_arguments(attempt.exercise, case)
    if not arguments:
        return ()
    lines = [f"{name} = {describe(value)}" for name, value in arguments.items()]
    return (("Inputs", "\n".join(lines)),)


def _test_property(attempt: Attempt, prop: Property) -> Verdict | None:
    """Test one property; an error in the learner's code on its inputs is reported as such."""
    details = (("What must hold", prop.name),)
    seconds = attempt.exercise.time_limit
    try:
        with kept_torch_state(), captured_print():
            sentence = run_limited(lambda: prop.broken(attempt.answer), seconds)
    except KeyboardInterrupt:
        raise
    except TimeUpError as error:
        return _time_up(attempt, error, details)
    except BaseException as error:
        if own_line(error, attempt.answer) is not None:
            return _raised_on(attempt, error, details)
        sentence = (
            f"On another input {attempt.name} returned something that could not be used "
            f"to test that {prop.name} ({error_text(error)})."
        )
    if sentence is None:
        return None
    return attempt.verdict(Status.BROKEN_PROPERTY, sentence, details)


def _told(outcome: Outcome) -> str:
    """Return the result of a call in short."""
    if outcome.error is not None:
        return error_text(outcome.error)
    value = outcome.value
    if isinstance(value, torch.Tensor) and value.numel() > 24:
        first = value.flatten()[0].item()
        index = index_text((0,) * value.dim())
        return f"{describe(value)}, entry {index} = {number(first)}"
    return describe(value) if isinstance(value, (torch.Tensor, tuple, list)) else safe_repr(value)
