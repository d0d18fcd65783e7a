"""What usually causes an error, in the learner's terms."""

import re

from llm_core.exercises.show import error_text


def usual_cause(error: BaseException) -> str:
    """Return one sentence on what usually causes `error`; it always has something to say."""
    text = error_text(error)
    for pattern, cause in _CAUSES:
        match = re.search(pattern, text, flags=re.IGNORECASE)
        if match:
            return cause.format(*match.groups())
    return _DEFAULT


_DEFAULT = (
    "Print the values on this line just before it runs (of tensors, the shapes), and compare them "
    "with what the docstring promises."
)

# The first pattern that is found in "ErrorType: message" wins, so the special ones come first.
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"sort\(\) takes from 1 to 0 positional",
        "With `stable=`, sort takes all its arguments by name: "
        "`sort(dim=-1, descending=True, stable=True)`.",
    ),
    (
        r"mat1 and mat2 shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x(\d+)\)",
        "In `A @ B` the last axis of A must be as long as the last but one of B, "
        "but here they are {1} and {2}; a transpose (`.transpose(-2, -1)`) is missing, "
        "or the two are in the wrong order.",
    ),
    (
        r"size mismatch, got input \(\d+\), mat \(\d+x(\d+)\), vec \((\d+)\)",
        "A matrix with rows of length {0} cannot be multiplied by a vector of length {1}; "
        "a transpose is missing, or the two are in the wrong order.",
    ),
    (
        r"expected size for first two dimensions of batch2 tensor|batch1|inconsistent tensor size",
        "In `A @ B` the last axis of A must be as long as the last but one of B, and the axes "
        "before them must agree; usually `.transpose(-2, -1)` is missing.",
    ),
    (
        r"size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\).*dimension (\d+)",
        "Broadcasting lines shapes up from the right, and on axis {2} it found {0} against {1}; "
        "an axis of size 1 is missing there (`keepdim=True` or `unsqueeze`), "
        "one of the two is transposed, or a slice takes too many or too few.",
    ),
    (
        r"shape '(.*?)' is invalid for input of size (\d+)",
        "The sizes given to `view` or `reshape` ({0}) must multiply to the {1} entries that the "
        "tensor has; check which sizes belong to which letter.",
    ),
    (
        r"view size is not compatible",
        "After a `transpose` the entries are no longer in order in memory, so `view` cannot be "
        "used; use `reshape`, or `.contiguous()` before `view`.",
    ),
    (
        r"expected .* to have the same dtype|expected scalar type|"
        r"must have the same (dtype|scalar type)",
        "Two tensors of different dtypes meet here; convert one, for example with "
        "`.to(x.dtype)`, or find where the other dtype comes from.",
    ),
    (
        r"not implemented for '(\w+)'",
        "This operation does not exist for tensors of type {0}; usually a `.float()` is missing, "
        "or the wrong tensor (ids or a mask in place of numbers) came here.",
    ),
    (
        r"result type (\w+) can't be cast to the desired output type (\w+)",
        "An in-place operation would have to store {0} values in a tensor of type {1}; "
        "use the ordinary operation (`x = x / n`) in place of the in-place one (`x /= n`).",
    ),
    (
        r"masked_fill.*bool|mask.*dtype.*bool|expected.*mask.*bool",
        "A mask must hold True and False; make it with a comparison or with `.bool()`.",
    ),
    (
        r"boolean value of tensor.*ambiguous",
        "`if`, `and`, `or`, `max` and `min` ask for one yes or no, but a tensor holds many; "
        "use `torch.where`, `&`, `|`, `.any()` or `.all()`.",
    ),
    (
        r"only (integer )?tensors of a single element can be converted|only one element tensors|"
        r"a tensor with \d+ elements cannot be converted to scalar",
        "A tensor with many entries stands where one number is needed; "
        "index it down to one entry, or use its `.shape` if a size was meant.",
    ),
    (
        r"tensors used as indices must be|indices must be (integers|slices)",
        "An index must be made of whole numbers or of True and False; "
        "a float tensor came here, use `.long()`.",
    ),
    (
        r"dimension out of range \(expected to be in range of \[(-?\d+), (-?\d+)\], "
        r"but got (-?\d+)",
        "Axis {2} does not exist: this tensor has axes {0} to {1}, counted from 0 or, "
        "from the end, from -1.",
    ),
    (
        r"too many indices|too many values to index",
        "There are more indices between the brackets than the tensor has axes.",
    ),
    (
        r"Class values must be (non-negative|smaller than num_classes)",
        "`one_hot` takes ids from 0 to V - 1. A mark such as -100 is no class: put a valid id in "
        "its place first, as in `targets.where(counts, 0)`.",
    ),
    (
        r"index -100 is out of bounds",
        "-100 marks what does not count and is no id: put a valid one in its place before you look "
        "anything up, as in `targets.where(counts, 0)`.",
    ),
    (
        r"grad can be implicitly created only for scalar outputs",
        "`backward()` starts from one number, the loss, and this tensor has more; a model that "
        "returns (logits, loss) has its loss in [1].",
    ),
    (
        r"does not require grad and does not have a grad_fn",
        "Nothing was recorded for the gradient: the loss was computed inside `torch.no_grad()`, or "
        "from something that `.detach()` or `.item()` had cut off.",
    ),
    (
        r"index (-?\d+) is out of bounds for (?:dimension|axis) (\d+) with size 0",
        "Axis {1} is empty here: what was looked for was not found, so there is no entry {0} to "
        "take; say what should happen then.",
    ),
    (
        r"index (-?\d+) is out of bounds for (?:dimension|axis) (\d+) with size (\d+)",
        "On axis {1} the indices go from 0 to {2} - 1, so {0} does not exist; "
        "a loop may run one step too far, or two axes are mixed up.",
    ),
    (
        r"index out of range|out of bounds|IndexError",
        "An index is as large as the axis or larger; a loop may run one step too far, "
        "or two axes are mixed up.",
    ),
    (
        r"not enough values to unpack|too many values to unpack",
        "The number of names on the left differs from the number of values on the right; "
        "a shape may have another number of axes than you think.",
    ),
    (
        r"missing (\d+) required positional argument|takes (\d+|from .*) positional argument",
        "A function was called with another number of arguments than it takes; "
        "compare the call with its `def` line, whose arguments must stay as in the stub.",
    ),
    (
        r"unexpected keyword argument '(\w+)'",
        "There is no argument called {0} here; compare the names with the `def` line. "
        "torch says `dim` and `keepdim` where NumPy says `axis` and `keepdims`.",
    ),
    (
        r"UnboundLocalError|cannot access local variable '(\w+)'",
        "A variable is used before it gets its value in this function; "
        "the line that sets it may stand inside an `if` or a loop that did not run.",
    ),
    (
        r"name '(\w+)' is not defined",
        "There is nothing called {0} here: it is misspelt, or the cell that imports or defines "
        "it has not been run in this session.",
    ),
    (
        r"NoneType",
        "A None stands where a value was expected; a function above may lack its `return`, "
        "or an optional argument (such as `mask=None`) was used without asking whether it is None.",
    ),
    (
        r"'(tuple|list)' object has no attribute",
        "This is a {0}, not a tensor; a function that returns several values must be unpacked "
        "(`output, weights = ...`), and a list becomes a tensor through `torch.stack`.",
    ),
    (
        r"'Tensor' object has no attribute '(\w+)'",
        "Tensors have no `.{0}`; look for the name in torch, which may differ from NumPy's.",
    ),
    (
        r"'Tensor' object is not callable|object is not callable",
        "Something that is not a function stands before parentheses; an operator such as `*` "
        "or `@` may be missing, or a variable has taken a function's name.",
    ),
    (
        r"Can't call numpy\(\) on Tensor that requires grad",
        "Once gradients are tracked, a tensor can't become a NumPy array, and a model could not "
        "learn through one; use torch's functions, which mostly have the same names.",
    ),
    (
        r"torch\.return_types\.(\w+)",
        "Along an axis, `{0}` returns two things, the values and where they stand; take `.values`, "
        "or use `amax` or `amin`.",
    ),
    (
        r"inplace operation: \[",
        "A line such as `e /= total` overwrites a tensor that the gradient still needs; "
        "write `e = e / total`.",
    ),
    (
        r"got multiple values for argument '(\w+)'",
        "The argument {0} was given twice, by its place and by its name.",
    ),
    (
        r"unhashable type: '(\w+)'",
        "A key of a dict must not be able to change, and a {0} can; make a tuple of it: "
        "`tuple(...)`.",
    ),
    (
        r"dictionary changed size during iteration",
        "A loop over a dict adds or removes keys of that same dict; build a new one.",
    ),
    (
        r"bytes-like object is required|can't concat|can only concatenate|expected str instance|"
        r"expected a bytes-like object|must be str, not bytes|startswith first arg",
        "Two kinds of things are joined that do not go together, such as strings and bytes, or a "
        "list and a single entry; print their types.",
    ),
    (
        r"'int' object is not (iterable|subscriptable)",
        "A single whole number stands where several things were expected; going through bytes "
        "gives whole numbers, and `bytes([number])` makes bytes of one.",
    ),
    (
        r"'(\w+)' object is not (iterable|subscriptable)",
        "A single {0} stands where several things were expected; print it.",
    ),
    (
        r"bytes must be in range",
        "A byte is a number from 0 to 255; a code point or the id of a longer token is none.",
    ),
    (
        r"non-empty TensorList",
        "The list of tensors is empty; a `range` or a slice may end a step too early, or ask first "
        "whether anything is left.",
    ),
    (
        r"(max|min)\(\).* empty|input\.numel\(\) == 0",
        "There is nothing here to take from; ask first whether anything is left.",
    ),
    (
        r"'(str|bytes|dict|int)' object has no attribute '(\w+)'",
        "A {0} has no `.{1}`; print its type, and look up what such a thing can do.",
    ),
    (
        r"unsupported operand type|can't multiply sequence|must be tensor",
        "The two sides of this operation are of kinds that do not go together; "
        "print their types, and turn lists or numbers into tensors.",
    ),
    (
        r"leaf Variable that requires grad|modified by an inplace operation",
        "An in-place operation (`+=`, `x[...] =`, or a method that ends in `_`) changes a tensor "
        "that is needed for gradients; write `x = x + ...` in its place.",
    ),
    (
        r"same device|on different devices",
        "Two tensors are on different devices; make new tensors with `device=x.device`.",
    ),
    (r"ZeroDivisionError", "A size or a count is 0 here, and something is divided by it."),
    (
        r"RecursionError",
        "The function calls itself without an end; a local helper may have the same name.",
    ),
    (r"AssertionError", "An `assert` of your own does not hold for this input."),
    (r"SystemExit", "`exit` or `quit` was called; end a function with `return`."),
    (r"MemoryError|allocate", "A tensor here is far too large; two axes may be multiplied."),
    (r"ModuleNotFoundError|ImportError", "An import failed; check the spelling of the module."),
    (r"KeyError", "A dict has no such key; print its keys."),
    (
        r"NotImplementedError",
        "A branch of your function still says `raise NotImplementedError`.",
    ),
    (
        r"TypeError",
        "A function got an argument of a type that it does not take; "
        "print the types of what you pass.",
    ),
)
