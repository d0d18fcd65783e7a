"""Exercises and quizzes of chapter 01, tokens: references, inputs, known mistakes, hints.

Letters: T = context_length, N number of windows. A token is an id or a byte string. A function
whose name begins with an underscore and that stands under "known mistakes" is wrong on purpose: it
is what learners write, kept so that `check` can recognise it and say what happened.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import torch

from llm_core.corpus import clean_text
from llm_core.exercises.base import Case, Exercise, Mistake, Option, Property, Question
from llm_core.exercises.inputs import token_ids
from llm_core.exercises.show import describe
from llm_core.tokens.bpe_training import count_pairs, merge_pair, recount_merges

Merge = tuple[bytes, bytes]

STOP_AFTER = 3.0
"""Seconds for an exercise whose answers take milliseconds: an endless loop also fills memory."""

# --- References: what a learner should write, where llm_core has no such function of its own. ---


def clean_lines(text: str) -> str:
    """Make line ends and spaces of a text uniform: "\\n", " ", and no space before a line end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\u00a0", " ")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def encode_word(word: bytes, merges: Sequence[Merge]) -> list[int]:
    """Apply to a word the merges in the order in which they were learned; return the ids."""
    id_of = {bytes([byte]): byte for byte in range(256)}
    tokens = [bytes([byte]) for byte in word]
    for k, (left, right) in enumerate(merges):
        id_of[left + right] = 256 + k
        tokens = merge_pair(tokens, (left, right), left + right)
    return [id_of[token] for token in tokens]


def make_windows(ids: torch.Tensor, T: int, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut ids (n,) into windows x (N, T), one every `stride` ids, and targets y (N, T)."""
    starts = range(0, len(ids) - T, stride)
    x = torch.stack([ids[start : start + T] for start in starts])  # (N, T)
    y = torch.stack([ids[start + 1 : start + T + 1] for start in starts])  # (N, T)
    return x, y


def split_starts(n_ids: int, T: int, stride: int, n_val: int) -> tuple[list[int], list[int]]:
    """Return where training windows and validation windows start, so that no id is in both."""
    cut = n_ids - n_val
    train = list(range(0, cut - T, stride))
    val = list(range(cut, n_ids - T, stride))
    return train, val


def greedy_encode_word(word: bytes, merges: Sequence[Merge]) -> list[int]:
    """Encode with a bug that hides well: take the longest token that fits, from the left.

    The pieces put together are the word, so a round trip through it is always right. But they are
    not those that the merges make, and a model that was trained on the one meets the other as
    other text. The exercise `tokens.expose_bug` asks for an input on which the two differ.

    Args:
        word: the bytes of a word.
        merges: pairs of tokens to join, the first learned first.

    Returns:
        The ids: byte b has the id b, the token of merges[k] the id 256 + k.
    """
    id_of = {bytes([byte]): byte for byte in range(256)}
    id_of |= {left + right: 256 + k for k, (left, right) in enumerate(merges)}
    ids, start = [], 0
    while start < len(word):
        end = max(e for e in range(start + 1, len(word) + 1) if word[start:e] in id_of)
        ids.append(id_of[word[start:end]])
        start = end
    return ids


def expose_bug() -> tuple[list[Merge], bytes]:
    """Return merges and a word of which the longest token first takes what an earlier merge needs.

    In "abc", b and c are joined first, and a stays alone: a, bc. Longest first finds ab, and c.
    """
    return [(b"b", b"c"), (b"a", b"b")], b"abc"


# --- clean_lines ---


def _long_text() -> str:
    """Return a text of 300 lines with every kind of line end, and runs of empty lines."""
    ends = ("\n", " \r\n", "\r", "\t\n" + 7 * "\n")
    return "".join(f"\tline {n}\u00a0of many{ends[n % 4]}" for n in range(300))


CLEAN_CASES = (
    Case("the example", ("if x >\u00a00:\r\n\ty  = 1 \r",)),
    Case("three kinds of line end", ("a\r\nb\rc\nd",)),
    Case("several line ends in a row", ("\r\r\n\n\r a\n\r\nb",)),
    Case("indentation", ("  def f():\r\n\treturn 1\n\t  # end\r",)),
    Case("spaces and tabs inside a line", ("a  =\t1,  2 \u00a0 3\n",)),
    Case("spaces before a line end of two signs", ("one \r\ntwo\t\r\nthree  ",)),
    Case("non-breaking spaces at the ends of lines", ("one\u00a0\ntwo \u00a0\t\r\u00a0three",)),
    Case("a non-breaking space between words", ("10\u00a0km",)),
    Case("a line of spaces alone", ("a\n \t \n\nb",)),
    Case("no line end at the end", ("a\nb",)),
    Case("a line end at the end", ("a\nb\n",)),
    Case("empty lines at both ends", ("\n\n a \n\n",)),
    Case("other characters stay", ("“Nó” — 東\u3000京… cafe\u0301\n",)),
    Case("a form feed and a line separator", ("a\x0cb \u2028c\x0c\n",)),
    Case("other rare spaces and signs", ("\ufeffa\u202fb\u200b c\u2009d\x0be\x85f\x0b\n",)),
    Case("code with backslashes", ('print("\\n\\r\\t")\t\r\nnot \\ \nnot',)),
    Case("a long text", (_long_text(),)),
    Case("the empty text", ("",)),
    Case("spaces alone", ("  \t",)),
    Case("spaces and line ends alone", (" \n\t\r\n\r",)),
    Case("capital letters and signs", ("Is It SO? (Yes!)\r\n",)),
)


def _clean_by_regex(text):
    text = re.sub(r"\r\n?", "\n", text).replace("\xa0", " ")
    return re.sub(r"[ \t]+(?=\n|\Z)", "", text)


def _clean_by_hand(text):
    out, pending, i = [], "", 0
    while i < len(text):
        sign = " " if text[i] == "\u00a0" else text[i]
        if sign in "\r\n":
            i += text[i : i + 2] == "\r\n"
            out.append("\n")
            pending = ""
        elif sign in " \t":
            pending += sign
        else:
            out.append(pending + sign)
            pending = ""
        i += 1
    return "".join(out)


# Known mistakes.


def _clean_double_ends(text):
    return clean_lines(text.replace("\r", "\n"))


def _clean_lone_kept(text):
    text = text.replace("\r\n", "\n").replace("\u00a0", " ")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def _clean_lone_removed(text):
    return clean_lines(text.replace("\r", ""))


def _clean_nbsp_kept(text):
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def _clean_nbsp_removed(text):
    return clean_lines(text.replace("\u00a0", ""))


def _clean_nbsp_late(text):
    return _clean_nbsp_kept(text).replace("\u00a0", " ")


def _clean_ends_late(text):
    text = text.replace("\u00a0", " ")
    text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _clean_both_sides(text):
    return "\n".join(line.strip(" \t") for line in clean_lines(text).split("\n"))


def _clean_runs(text):
    return "\n".join(" ".join(line.split()) for line in clean_lines(text).split("\n"))


def _clean_inner_runs(text):
    return re.sub(r"(?<=\S)[ \t]+", " ", clean_lines(text))


def _clean_tabs_expanded(text):
    return clean_lines(text).expandtabs(4)


def _clean_tabs_to_one_space(text):
    return clean_lines(text.replace("\t", " "))


def _clean_splitlines(text):
    return "\n".join(line.rstrip(" \t") for line in text.replace("\u00a0", " ").splitlines())


def _clean_rstrip_everything(text):
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    return "\n".join(line.rstrip() for line in text.split("\n"))


def _clean_end_of_text_only(text):
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")
    return text.rstrip(" \t")


def _clean_no_strip(text):
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\u00a0", " ")


def _clean_spaces_only(text):
    return "\n".join(line.rstrip(" ") for line in _clean_no_strip(text).split("\n"))


def _clean_one_space_only(text):
    return "\n".join(line.removesuffix(" ") for line in _clean_no_strip(text).split("\n"))


def _clean_empty_lines_lost(text):
    return "\n".join(line for line in clean_lines(text).split("\n") if line)


def _clean_end_added(text):
    return "".join(line + "\n" for line in clean_lines(text).split("\n"))


def _clean_end_lost(text):
    return clean_lines(text).rstrip("\n")


def _clean_text_stripped(text):
    return clean_lines(text).strip()


def _clean_lower(text):
    return clean_lines(text).lower()


def _clean_nothing_kept(text):
    text.replace("\r\n", "\n").replace("\r", "\n")
    text.replace("\u00a0", " ")
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))


def _clean_raw_string(text):
    return "\n".join(line.rstrip(r" \t") for line in _clean_no_strip(text).split("\n"))


def _clean_only_before_line_ends(text):
    return re.sub(r"[ \t]+\n", "\n", _clean_no_strip(text))


def _clean_lines_run_together(text):
    return clean_lines(text).replace("\n", "")


def _clean_lines_joined_by_spaces(text):
    return clean_lines(text).replace("\n", " ")


def _clean_left_side(text):
    return "\n".join(line.lstrip(" \t") for line in _clean_no_strip(text).split("\n"))


def _clean_compatibility_form(text):
    return clean_lines(unicodedata.normalize("NFKC", text))


def _clean_composed_form(text):
    return clean_lines(unicodedata.normalize("NFC", text))


CLEAN_MISTAKES = (
    Mistake(
        "two_line_ends_from_one",
        _clean_double_ends,
        'You replace "\\r" first, so each "\\r\\n" becomes two line ends; replace the pair '
        '"\\r\\n" before the lone "\\r".',
        'texts with lone "\\r" only, or only that no "\\r" is left',
    ),
    Mistake(
        "lone_return_kept",
        _clean_lone_kept,
        'A lone "\\r", without a "\\n" behind it, is still there; old files end their lines so.',
        'texts whose lines end in "\\r\\n"',
    ),
    Mistake(
        "return_removed",
        _clean_lone_removed,
        'You delete every "\\r", so where it stood alone two lines grow together to one.',
        'texts whose lines end in "\\r\\n"',
    ),
    Mistake(
        "non_breaking_space_kept",
        _clean_nbsp_kept,
        'A non-breaking space "\\u00a0" looks like a space and is another character; yours are '
        "still there.",
        "texts typed on a keyboard",
    ),
    Mistake(
        "non_breaking_space_removed",
        _clean_nbsp_removed,
        "You delete the non-breaking spaces, so the words on both sides grow together; each must "
        "become an ordinary space.",
        "non-breaking spaces at the end of a line",
    ),
    Mistake(
        "ends_stripped_before_the_spaces",
        _clean_nbsp_late,
        "You strip the ends of the lines before the non-breaking spaces have become spaces, so "
        "those that stood at an end remain.",
        "non-breaking spaces between words",
    ),
    Mistake(
        "ends_stripped_before_the_line_ends",
        _clean_ends_late,
        'You strip the ends of the lines while some still end in "\\r", so spaces before it '
        "remain; the line ends come first.",
        'texts whose lines end in "\\n"',
    ),
    Mistake(
        "indentation_lost",
        _clean_both_sides,
        "You strip both sides of each line, so the indentation is gone, and with it the meaning of "
        "Python code.",
        "lines that are not indented",
    ),
    Mistake(
        "runs_of_spaces_joined",
        _clean_runs,
        "You split each line and join it with single spaces, so indentation, tabs and columns are "
        "gone; only the ends of lines lose their spaces.",
        "prose without indentation",
    ),
    Mistake(
        "inner_runs_joined",
        _clean_inner_runs,
        "You make one space of several inside a line; spaces inside a line must stay as they are.",
        "single spaces between words",
    ),
    Mistake(
        "tabs_expanded",
        _clean_tabs_expanded,
        "You turn tabs into spaces; tabs at the beginning of a line or inside it must stay.",
        "texts without tabs",
    ),
    Mistake(
        "tabs_to_one_space",
        _clean_tabs_to_one_space,
        "You replace each tab by a space; tabs at the beginning of a line or inside it must stay.",
        "texts without tabs",
    ),
    Mistake(
        "splitlines",
        _clean_splitlines,
        "`splitlines` also cuts at form feeds and other rare signs, and forgets whether the text "
        'ended in a line end; `split("\\n")` keeps both.',
        "ordinary characters, and no line end at the end",
    ),
    Mistake(
        "rstrip_without_argument",
        _clean_rstrip_everything,
        "`rstrip()` without an argument takes every kind of white space, a form feed as well; "
        '`rstrip(" \\t")` takes spaces and tabs alone.',
        "lines that end in spaces and tabs",
    ),
    Mistake(
        "only_the_end_of_the_text",
        _clean_end_of_text_only,
        "You strip the end of the whole text, but every line has an end: take the text apart at "
        '"\\n" first.',
        "a text of one line",
    ),
    Mistake(
        "ends_not_stripped",
        _clean_no_strip,
        "Spaces and tabs at the ends of lines are still there; step 3 is missing.",
        "lines without spaces at their ends",
    ),
    Mistake(
        "only_spaces_stripped",
        _clean_spaces_only,
        "You strip spaces from the ends of lines, but not tabs.",
        "lines that end in spaces",
    ),
    Mistake(
        "only_one_space_stripped",
        _clean_one_space_only,
        "You take one space off the end of each line; there may be several, and tabs among them.",
        "lines that end in one space",
    ),
    Mistake(
        "empty_lines_lost",
        _clean_empty_lines_lost,
        "You drop the empty lines, which separate paragraphs; they must stay.",
        "texts without empty lines",
    ),
    Mistake(
        "line_end_added",
        _clean_end_added,
        'You put a "\\n" after every line, so the text ends in one more than before; put them '
        'between the lines, with `"\\n".join(...)`.',
        "counting the words",
    ),
    Mistake(
        "last_line_end_lost",
        _clean_end_lost,
        'A "\\n" at the end of the text is lost; it belongs to what must stay.',
        "texts that do not end in a line end",
    ),
    Mistake(
        "whole_text_stripped",
        _clean_text_stripped,
        "You strip the whole text, so empty lines and indentation at its beginning or a line end "
        "at its end are lost.",
        "texts that begin and end with a letter",
    ),
    Mistake(
        "letters_lowered",
        _clean_lower,
        "You turn capitals into small letters; a cleaning rule may only change what carries no "
        "meaning.",
        "texts in small letters",
    ),
    Mistake(
        "results_dropped",
        _clean_nothing_kept,
        "`text.replace(...)` returns a new string and leaves `text` as it was; keep what it "
        "returns: `text = text.replace(...)`.",
        "texts with nothing to replace",
    ),
    Mistake(
        "raw_string",
        _clean_raw_string,
        'In the raw string `r" \\t"` the tab is a backslash and a letter t, so lines lose a t at '
        'their end and keep their tabs; write `" \\t"` without the r.',
        "lines that end in spaces",
    ),
    Mistake(
        "last_line_missed",
        _clean_only_before_line_ends,
        'You take spaces away where a "\\n" follows, but the last line may end without one, and '
        "its spaces remain.",
        "texts that end in a line end",
    ),
    Mistake(
        "lines_run_together",
        _clean_lines_run_together,
        'You put the lines together with nothing between them; `"\\n".join(...)` puts the line '
        "ends back.",
        "a text of one line",
    ),
    Mistake(
        "lines_joined_by_spaces",
        _clean_lines_joined_by_spaces,
        'You put the lines together with spaces between them; `"\\n".join(...)` puts the line '
        "ends back.",
        "a text of one line",
    ),
    Mistake(
        "left_side_stripped",
        _clean_left_side,
        "`lstrip` takes the spaces at the beginning of each line, which must stay; those at its "
        "end go with `rstrip`.",
        "lines without spaces at either side",
    ),
    Mistake(
        "compatibility_form",
        _clean_compatibility_form,
        "The normal form NFKC makes ordinary spaces of the non-breaking ones, but changes many "
        "other characters too, which must stay; replace that one character.",
        "texts of ordinary letters and non-breaking spaces",
    ),
    Mistake(
        "composed_form",
        _clean_composed_form,
        "You also bring the text into the normal form NFC, which rewrites accents; the three steps "
        "here leave them as they are.",
        "texts without combining accents",
    ),
)

CLEAN_LINES = Exercise(
    id="tokens.clean_lines",
    title="Clean the lines",
    reference=clean_lines,
    cases=CLEAN_CASES,
    mistakes=CLEAN_MISTAKES,
    conventions=(
        Mistake(
            "clean_text_of_the_course",
            clean_text,
            "You call the course's clean_text, which does more: it also straightens quotes and "
            "drops invisible signs; here only line ends and spaces change.",
            "ordinary characters",
        ),
    ),
    right=(_clean_by_regex, _clean_by_hand),
    hints=(
        "Do the three steps in the order of the description, one line of code for each. Which of "
        "the steps could spoil another if the order were different?",
        '`text.replace(old, new)` returns a new string. Replace "\\r\\n" before "\\r", or a pair '
        'becomes two line ends. For the ends of lines, take the text apart with `split("\\n")`.',
        'For step 3: `"\\n".join(line.rstrip(" \\t") for line in text.split("\\n"))`.',
    ),
    solution=(
        'The pair "\\r\\n" is one line end, so it is replaced before the lone "\\r". The '
        "non-breaking spaces become spaces before the ends are stripped, so that they go too. "
        '`split("\\n")` and `"\\n".join` are inverse to each other and lose nothing, not even a '
        "line end at the end of the text."
    ),
    checked="every kind of line end, indentation, tabs, spaces at both sides, and what must stay",
    time_limit=STOP_AFTER,
)


# --- merge_pair ---


def _fresh(number: int) -> int:
    """Return an equal number that is another object, as ids that were read or computed are."""
    return int(str(number))


MERGE_CASES = (
    Case("the example", ([1, 1, 1, 2], (1, 1), 9)),
    Case("one pair in the middle", ([5, 3, 4, 7], (3, 4), 256)),
    Case("the pair at both ends", ([3, 4, 5, 3, 4], (3, 4), 256)),
    Case("a run of five", ([1, 1, 1, 1, 1], (1, 1), 300)),
    Case("a run of four", ([2, 1, 1, 1, 1, 2], (1, 1), 300)),
    Case("the pair in reverse", ([4, 3, 4, 3, 3], (3, 4), 256)),
    Case("the left token again and again", ([3, 3, 4, 3, 5, 3], (3, 4), 256)),
    Case("the right token again and again", ([4, 4, 3, 4, 4], (3, 4), 256)),
    Case("not there", ([3, 5, 4], (3, 4), 256)),
    Case("one token", ([3], (3, 4), 256)),
    Case("no tokens", ([], (3, 4), 256)),
    Case("ids of several digits", ([1, 11, 1, 1, 12, 1], (1, 1), 99)),
    Case("zeros", ([0, 0, 1, 0], (0, 0), 2)),
    Case("byte strings", ([b"t", b"h", b"a", b"t"], (b"a", b"t"), b"at")),
    Case(
        "byte strings of another cut",
        ([b"ab", b"c", b"a", b"bc", b"ab", b"c"], (b"ab", b"c"), b"abc"),
    ),
    Case("a tuple of tokens", ((7, 8, 9, 7, 8), (7, 8), 70)),
    Case("ids above 256 that are equal", ([_fresh(300), _fresh(301), 7, 300], (300, 301), 302)),
    Case("many tokens", (token_ids(60, 3, 400).tolist(), (2, 1), 5000)),
    Case("a new token that is no sum", ([40, 60, 40], (60, 40), 1000)),
)


def _merge_by_result(tokens, pair, new_token):
    merged = []
    was_merged = False
    for previous, token in pairwise([None, *tokens]):
        if merged and not was_merged and (previous, token) == tuple(pair):
            merged[-1] = new_token
            was_merged = True
        else:
            merged.append(token)
            was_merged = False
    return merged


def _merge_by_recursion(tokens, pair, new_token):
    rest, merged = list(tokens), []
    while rest:
        if tuple(rest[:2]) == tuple(pair):
            merged, rest = [*merged, new_token], rest[2:]
        else:
            merged, rest = [*merged, rest[0]], rest[1:]
    return merged


# Known mistakes.


def _merge_one_step(tokens, pair, new_token):
    merged = []
    for i in range(len(tokens)):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged.append(new_token)
        else:
            merged.append(tokens[i])
    return merged


def _merge_overlapping(tokens, pair, new_token):
    places = {i for i, p in enumerate(pairwise(tokens)) if p == tuple(pair)}
    merged = []
    for i, token in enumerate(tokens):
        if i in places:
            merged.append(new_token)
        elif i - 1 not in places:
            merged.append(token)
    return merged


def _merge_from_the_right(tokens, pair, new_token):
    return merge_pair(tokens[::-1], tuple(pair)[::-1], new_token)[::-1]


def _merge_last_lost(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens) - 1:
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_beyond_the_end(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tokens[i] == pair[0] and tokens[i + 1] == pair[1]:
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_last_pair_missed(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if i < len(tokens) - 2 and tuple(tokens[i : i + 2]) == tuple(pair):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_first_only(tokens, pair, new_token):
    tokens = list(tokens)
    for i in range(len(tokens) - 1):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            return [*tokens[:i], new_token, *tokens[i + 2 :]]
    return tokens


def _merge_either_order(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if len(tokens[i : i + 2]) == 2 and set(tokens[i : i + 2]) == set(pair):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_reversed_order(tokens, pair, new_token):
    return merge_pair(tokens, tuple(pair)[::-1], new_token)


def _merge_keeps_left(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged += [tokens[i], new_token]
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_left_alone(tokens, pair, new_token):
    return [new_token if token == pair[0] else token for token in tokens]


def _merge_left_decides(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tokens[i] == pair[0] and i + 1 < len(tokens):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_both_replaced(tokens, pair, new_token):
    return [new_token if token in tuple(pair) else token for token in tokens]


def _merge_skips_two_always(tokens, pair, new_token):
    merged = []
    for i in range(0, len(tokens), 2):
        two = tuple(tokens[i : i + 2])
        merged += [new_token] if two == tuple(pair) else list(two)
    return merged


def _merge_pair_for_token(tokens, pair, new_token):
    return merge_pair(tokens, pair, tuple(pair))


def _merge_pair_deleted(tokens, pair, new_token):
    marker = object()
    return [token for token in merge_pair(tokens, pair, marker) if token is not marker]


def _merge_by_text(tokens, pair, new_token):
    if not all(isinstance(token, int) for token in tokens):
        return merge_pair(tokens, pair, new_token)
    text = " ".join(map(str, tokens)).replace(" ".join(map(str, pair)), str(new_token))
    return [int(part) for part in text.split()]


def _merge_by_join(tokens, pair, new_token):
    if not tokens or not isinstance(tokens[0], bytes):
        return merge_pair(tokens, pair, new_token)
    joined, merged, i = b"".join(tokens), [], 0
    while i < len(joined):
        step = len(new_token) if joined.startswith(new_token, i) else 1
        merged.append(joined[i : i + step])
        i += step
    return merged


def _merge_in_place(tokens, pair, new_token):
    if isinstance(tokens, tuple):
        return merge_pair(tokens, pair, new_token)
    i = 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) == tuple(pair):
            tokens[i : i + 2] = [new_token]
        i += 1
    return tokens


def _merge_list_against_tuple(tokens, pair, new_token):
    return list(tokens) if isinstance(tokens, list) else merge_pair(tokens, pair, new_token)


def _merge_lists_only(tokens, pair, new_token):
    return merge_pair(tokens, pair, new_token) if isinstance(tokens, list) else list(tokens)


def _merge_three_steps(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
        i += 1
    return merged


def _merge_added(tokens, pair, new_token):
    return merge_pair(tokens, pair, pair[0] + pair[1])


def _merge_keeps_right(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged += [new_token, tokens[i + 1]]
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_two_for_two(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged += [new_token, new_token]
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


def _merge_by_identity(tokens, pair, new_token):
    merged, i = [], 0
    while i < len(tokens):
        if i + 1 < len(tokens) and tokens[i] is pair[0] and tokens[i + 1] is pair[1]:
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
    return merged


MERGE_MISTAKES = (
    Mistake(
        "steps_over_one",
        _merge_one_step,
        "After a merge you go on with the right token of the pair, which is used up already; step "
        "over both.",
        "only that the new token is there",
    ),
    Mistake(
        "overlapping_merges",
        _merge_overlapping,
        "In a run such as 1, 1, 1 you merge the middle token twice, with its left and with its "
        "right neighbour; a token can be used up only once.",
        "pairs of two different tokens",
    ),
    Mistake(
        "from_the_right",
        _merge_from_the_right,
        "You merge from the right, so in a run of an odd number of equal tokens another one stays "
        "alone; here merging begins at the left.",
        "pairs of two different tokens",
    ),
    Mistake(
        "last_token_lost",
        _merge_last_lost,
        "The last token gets lost when it is not part of a pair: your loop stops one token early.",
        "tokens that end with the pair",
    ),
    Mistake(
        "beyond_the_end",
        _merge_beyond_the_end,
        "You look at the token after the last one, which is not there, when the tokens end with "
        "the left token of the pair.",
        "tokens that do not end with the left token",
    ),
    Mistake(
        "last_pair_missed",
        _merge_last_pair_missed,
        "A pair at the very end is not merged: the last place where a pair can begin is the last "
        "but one token, `len(tokens) - 2`.",
        "tokens that do not end with the pair",
    ),
    Mistake(
        "first_pair_only",
        _merge_first_only,
        "You merge the first occurrence of the pair and leave the others.",
        "a pair that occurs once",
    ),
    Mistake(
        "either_order",
        _merge_either_order,
        "You merge the two tokens in either order, but (3, 4) and (4, 3) are different pairs.",
        "tokens in which the pair stands in its own order",
    ),
    Mistake(
        "order_reversed",
        _merge_reversed_order,
        "You look for the right token of the pair first and the left one behind it.",
        "pairs of two equal tokens",
    ),
    Mistake(
        "left_token_kept",
        _merge_keeps_left,
        "You put the left token of the pair into the result as well; the new token stands for "
        "both.",
        "only that the new token is there",
    ),
    Mistake(
        "left_token_replaced",
        _merge_left_alone,
        "You replace each left token of the pair, whatever comes after it, and keep the right one.",
        "only that the new token is there",
    ),
    Mistake(
        "left_token_decides",
        _merge_left_decides,
        "You compare only the left token of the pair, so what comes after it disappears whatever "
        "it is.",
        "tokens in which the left one is always followed by the right one",
    ),
    Mistake(
        "each_token_replaced",
        _merge_both_replaced,
        "You replace each of the two tokens wherever it stands; only where they stand side by side "
        "does the new token take the place of both.",
        "only that the new token is there",
    ),
    Mistake(
        "two_by_two",
        _merge_skips_two_always,
        "You go through the tokens two by two, so a pair that begins at an odd place is missed; "
        "step over two tokens only after a merge.",
        "pairs that begin at places 0, 2, 4, ...",
    ),
    Mistake(
        "pair_for_new_token",
        _merge_pair_for_token,
        "You put the pair itself into the result and never use new_token.",
        "only the number of tokens",
    ),
    Mistake(
        "pair_deleted",
        _merge_pair_deleted,
        "You take the pair out and put nothing in its place.",
        "tokens without the pair",
    ),
    Mistake(
        "merged_as_text",
        _merge_by_text,
        "You write the ids as text and replace there, where the end of 11 and a 1 behind it look "
        "like the pair 1 1; compare whole ids.",
        "ids of one digit",
    ),
    Mistake(
        "merged_as_bytes",
        _merge_by_join,
        "You join the tokens and search in the bytes, where the borders between tokens are gone: "
        "a, bc is not the pair ab, c.",
        "tokens of one byte each",
    ),
    Mistake(
        "changes_the_list",
        _merge_in_place,
        "Your tokens are right, but you change the caller's list on the way; build a new one.",
        "comparing the result without looking at the input afterwards",
    ),
    Mistake(
        "list_against_tuple",
        _merge_list_against_tuple,
        "Nothing is merged: `tokens[i : i + 2]` is a list and pair is a tuple, and a list never "
        "equals a tuple; compare `tuple(tokens[i : i + 2])`, or the two tokens one by one.",
        "tokens without the pair",
    ),
    Mistake(
        "lists_only",
        _merge_lists_only,
        "When tokens is a tuple nothing is merged, since a slice of it is a tuple and never equals "
        "a list; compare the two tokens one by one.",
        "tokens in a list",
    ),
    Mistake(
        "three_steps",
        _merge_three_steps,
        "After a merge you step over three tokens, two and then the one of every round; the token "
        "after the pair gets lost.",
        "tokens that end with their only pair",
    ),
    Mistake(
        "pair_added",
        _merge_added,
        "You add the two tokens of the pair with `+`; what takes their place is new_token.",
        "byte strings",
    ),
    Mistake(
        "right_token_kept",
        _merge_keeps_right,
        "You put the right token of the pair into the result as well; the new token stands for "
        "both.",
        "only that the new token is there",
    ),
    Mistake(
        "new_token_twice",
        _merge_two_for_two,
        "You put the new token twice where the pair was; one takes the place of both.",
        "only that the new token is there",
    ),
    Mistake(
        "compared_with_is",
        _merge_by_identity,
        "`is` asks whether two things are the same object, which equal ids above 256 need not be; "
        "`==` asks whether they are equal.",
        "ids up to 256 and single bytes",
    ),
)

MERGE_PAIR = Exercise(
    id="tokens.merge_pair",
    title="Merge a pair",
    reference=merge_pair,
    cases=MERGE_CASES,
    mistakes=MERGE_MISTAKES,
    right=(_merge_by_result, _merge_by_recursion),
    hints=(
        "Go through 1, 1, 1, 2 with a finger and the pair (1, 1). After the first merge, on which "
        "token does the finger land?",
        "A `while` loop lets you step by one or by two. At the last token there is no pair any "
        "more: `tokens[i : i + 2]` is then one token long and raises nothing.",
        "If `tuple(tokens[i : i + 2]) == tuple(pair)`: append new_token and add 2 to i. Otherwise "
        "append tokens[i] and add 1.",
    ),
    solution=(
        "The loop looks at two neighbours at a time. Where they are the pair, one new token is "
        "written and both are stepped over, so that no token is used twice; elsewhere one token is "
        "copied. In a run of three equal tokens the first two are merged and the third stays."
    ),
    checked="runs, both ends, the pair in reverse, ids and byte strings, and that tokens is kept",
    time_limit=STOP_AFTER,
)


# --- count_pairs ---


def _words_of_ids() -> dict[tuple[int, ...], int]:
    """Return 60 random words of up to 20 ids above 255, only four of which are different."""
    rows, counts = token_ids(61, 4, 60, 20).tolist(), token_ids(62, 9, 60).tolist()
    lengths = (token_ids(63, 20, 60) + 1).tolist()
    words = (tuple(300 * n + 299 for n in row[:m]) for row, m in zip(rows, lengths, strict=True))
    return {word: count + 1 for word, count in zip(words, counts, strict=True)}


COUNT_CASES = (
    Case("the example", ({(b"h", b"a", b"t"): 5, (b"a", b"t"): 2},)),
    Case("a run of three", ({(1, 1, 1): 4},)),
    Case("a run of four, and one of two", ({(1, 1, 1, 1): 2, (2, 1, 1): 3},)),
    Case("both orders of a pair", ({(1, 2, 1): 3, (2, 1): 10},)),
    Case("a pair twice in one word", ({(1, 2, 3, 1, 2): 7, (3, 1, 2): 1},)),
    Case("the end of one word and the beginning of the next", ({(1, 2): 1, (3, 4): 1, (2, 3): 2},)),
    Case("one word that occurs once", ({(5, 6, 7): 1},)),
    Case("words of one token", ({(5,): 3, (6, 7): 2, (8,): 1},)),
    Case("nothing but words of one token", ({(5,): 3},)),
    Case("no words", ({},)),
    Case("large counts", ({(9, 8): 1000, (9, 8, 7): 20, (8, 7): 300},)),
    Case("tokens of several bytes", ({(b"t", b"hat"): 4, (b"th", b"at"): 6, (b"hat",): 9},)),
    Case("the id 0", ({(0, 1, 0, 0): 3, (2, 0): 2},)),
    Case("five tokens", ({(1, 2, 3, 4, 5): 2, (1, 3, 5): 1},)),
    Case("the first token again at the end", ({(1, 2, 3, 1): 2, (3, 2): 1},)),
    Case("many words", (_words_of_ids(),)),
    Case("a count above a hundred thousand", ({(1, 2): 123_456, (2, 1, 2): 1},)),
)


def _count_by_place(words):
    counts = {}
    for word, times in words.items():
        for i in range(len(word) - 1):
            counts[word[i], word[i + 1]] = counts.get((word[i], word[i + 1]), 0) + times
    return counts


def _count_by_list(words):
    all_pairs = [p for word, times in words.items() for p in list(pairwise(word)) * times]
    return {p: all_pairs.count(p) for p in set(all_pairs)}


# Known mistakes.


def _count_unweighted(words):
    return Counter(pair for word in words for pair in pairwise(word))


def _count_without_overlap(words):
    counts = Counter()
    for word, times in words.items():
        i = 0
        while i < len(word) - 1:
            counts[word[i], word[i + 1]] += times
            i += 2 if word[i : i + 3] == (word[i],) * 3 else 1
    return counts


def _count_two_by_two(words):
    counts = Counter()
    for word, times in words.items():
        for i in range(0, len(word) - 1, 2):
            counts[word[i], word[i + 1]] += times
    return counts


def _count_unordered(words):
    counts = Counter()
    for pair, times in count_pairs(words).items():
        counts[tuple(sorted(pair))] += times
    return counts


def _count_reversed(words):
    return {(right, left): times for (left, right), times in count_pairs(words).items()}


def _count_once_a_word(words):
    counts = Counter()
    for word, times in words.items():
        for pair in set(pairwise(word)):
            counts[pair] += times
    return counts


def _count_across(words):
    row = [token for word, times in words.items() for _ in range(times) for token in word]
    return Counter(pairwise(row))


def _count_across_distinct(words):
    counts = Counter(count_pairs(words))
    for one, other in pairwise(words):
        counts[one[-1], other[0]] += 1
    return counts


def _count_tokens(words):
    counts = Counter()
    for word, times in words.items():
        for token in word:
            counts[token] += times
    return counts


def _count_last_missed(words):
    return count_pairs({word[:-1]: times for word, times in words.items()})


def _count_first_missed(words):
    return count_pairs({word[1:]: times for word, times in words.items()})


def _count_all_ordered(words):
    counts = Counter()
    for word, times in words.items():
        for i, left in enumerate(word):
            for right in word[i + 1 :]:
                counts[left, right] += times
    return counts


def _count_last_wins(words):
    return {pair: times for word, times in words.items() for pair in pairwise(word)}


def _count_wraps(words):
    counts = Counter(count_pairs(words))
    for word, times in words.items():
        if len(word) > 1:
            counts[word[-1], word[0]] += times
    return counts


def _count_joined(words):
    return {left + right: times for (left, right), times in count_pairs(words).items()}


def _count_length_times(words):
    counts = Counter()
    for word in words:
        for pair in pairwise(word):
            counts[pair] += len(word)
    return counts


def _count_only_several(words):
    return {pair: times for pair, times in count_pairs(words).items() if times > 1}


def _count_list(words):
    return Counter(count_pairs(words)).most_common()


def _count_first_time_one(words):
    counts = {}
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] = counts[pair] + times if pair in counts else 1
    return counts


def _count_first_time_lost(words):
    counts = {}
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] = counts[pair] + times if pair in counts else 0
    return counts


def _count_one_added(words):
    counts = {}
    for word, times in words.items():
        for pair in pairwise(word):
            counts[pair] = counts.get(pair, 1) + times
    return counts


def _count_first_word(words):
    return count_pairs(dict(list(words.items())[:1]))


def _count_slices(words):
    counts = Counter()
    for word, times in words.items():
        for i in range(len(word)):
            counts[word[i : i + 2]] += times
    return counts


def _count_no_equal_pairs(words):
    return {pair: times for pair, times in count_pairs(words).items() if pair[0] != pair[1]}


def _count_one_apart(words):
    counts = Counter()
    for word, times in words.items():
        for pair in zip(word, word[2:], strict=False):
            counts[pair] += times
    return counts


COUNT_MISTAKES = (
    Mistake(
        "word_counts_ignored",
        _count_unweighted,
        "You count each distinct word once, but a word that occurs 5 times brings each of its "
        "pairs 5 times.",
        "words that occur once",
    ),
    Mistake(
        "no_overlap",
        _count_without_overlap,
        "In a run such as 1, 1, 1 you count one pair; there are two, places 0 and 1 and places 1 "
        "and 2, although only one of them can be merged.",
        "words without equal neighbours",
    ),
    Mistake(
        "two_by_two",
        _count_two_by_two,
        "You go through a word two tokens at a time, so you miss every second pair of neighbours.",
        "words of two tokens",
    ),
    Mistake(
        "order_ignored",
        _count_unordered,
        "You count (a, b) and (b, a) together, but the order of the two tokens matters.",
        "pairs that occur in one order only",
    ),
    Mistake(
        "right_token_first",
        _count_reversed,
        "Your pairs have the right token first; a pair is (left, right), in reading order.",
        "the counts alone",
    ),
    Mistake(
        "once_a_word",
        _count_once_a_word,
        "You count a pair once for each word that holds it, but it may stand in a word several "
        "times.",
        "words in which no pair occurs twice",
    ),
    Mistake(
        "across_words",
        _count_across,
        "You put all words into one row, so the end of one and the beginning of the next look like "
        "neighbours; pairs are counted within a word.",
        "a single word that occurs once",
    ),
    Mistake(
        "last_and_first_of_next",
        _count_across_distinct,
        "You also count the last token of each word with the first of the next; words in a dict "
        "are not neighbours.",
        "a single word",
    ),
    Mistake(
        "tokens_counted",
        _count_tokens,
        "You count single tokens; what is asked is how often two stand side by side.",
        "words without tokens",
    ),
    Mistake(
        "last_pair_missed",
        _count_last_missed,
        "The last pair of each word is missing: a word of n tokens has n - 1 pairs, which begin at "
        "the places 0 to n - 2.",
        "words of one token",
    ),
    Mistake(
        "first_pair_missed",
        _count_first_missed,
        "The first pair of each word is missing; places count from 0.",
        "words of one token",
    ),
    Mistake(
        "all_later_tokens",
        _count_all_ordered,
        "You pair each token with all that come later in the word; only direct neighbours count.",
        "words of two tokens",
    ),
    Mistake(
        "last_word_wins",
        _count_last_wins,
        "You set the count of a pair anew for each word; the counts of several words must add up.",
        "pairs that occur in one word only, and once",
    ),
    Mistake(
        "wraps_around",
        _count_wraps,
        "You count the last token of a word together with its first, as if the word were a ring.",
        "words of one token",
    ),
    Mistake(
        "tokens_joined",
        _count_joined,
        "Your keys are joined or added tokens; a key is the pair itself, `(left, right)`, which "
        "also says where the border was.",
        "the counts alone",
    ),
    Mistake(
        "length_for_count",
        _count_length_times,
        "You add the length of the word; what must be added is the number of times that it occurs, "
        "the value in the dict.",
        "words that occur as often as they are long",
    ),
    Mistake(
        "rare_pairs_left_out",
        _count_only_several,
        "Pairs that occur once are missing in your result; every pair counts.",
        "words that occur several times",
    ),
    Mistake(
        "list_of_counts",
        _count_list,
        "You return a list of pairs and counts; return the dict itself (a Counter is one).",
        "printing the result and reading it",
    ),
    Mistake(
        "first_time_counts_one",
        _count_first_time_one,
        "Where a pair is met for the first time you set its count to 1; the word brings it as "
        "often as it occurs, there too.",
        "words that occur once",
    ),
    Mistake(
        "first_time_lost",
        _count_first_time_lost,
        "Where a pair is met for the first time you set its count to 0 and add nothing, so the "
        "first word that holds it is not counted.",
        "the keys alone",
    ),
    Mistake(
        "begins_at_one",
        _count_one_added,
        "Every count is one too high: a pair that was not met yet has been counted 0 times, "
        "`counts.get(pair, 0)`.",
        "the keys alone",
    ),
    Mistake(
        "first_word_only",
        _count_first_word,
        "You count the pairs of the first word only: the `return` may stand inside the loop over "
        "the words.",
        "a single word",
    ),
    Mistake(
        "single_token_counted",
        _count_slices,
        "Your last key of each word holds one token: at the last place the slice "
        "`word[i : i + 2]` has nothing to the right, so stop at `len(word) - 1`.",
        "looking up pairs that are there",
    ),
    Mistake(
        "equal_neighbours_left_out",
        _count_no_equal_pairs,
        "You leave out pairs of two equal tokens; (1, 1) is a pair like any other.",
        "words without equal neighbours",
    ),
    Mistake(
        "one_apart",
        _count_one_apart,
        "You pair each token with the next but one; a pair is two direct neighbours.",
        "words of one token",
    ),
)

COUNT_PAIRS = Exercise(
    id="tokens.count_pairs",
    title="Count the pairs",
    reference=count_pairs,
    cases=COUNT_CASES,
    mistakes=COUNT_MISTAKES,
    right=(_count_by_place, _count_by_list),
    hints=(
        "Count by hand for {(h, a, t): 5, (a, t): 2}. How much does one occurrence of a pair in "
        "the first word add, and how much in the second?",
        "Two loops: over `words.items()`, which gives each word with its count, and over the pairs "
        "of neighbours in the word. `pairwise(word)` from itertools gives those, overlapping ones "
        "too.",
        "Start with `counts = Counter()`. In the inner loop: `counts[pair] += count`.",
    ),
    solution=(
        "A word that occurs 5 times brings each of its pairs 5 times, so its count is added once "
        "for every place where a pair stands. Nothing is counted between two words, and a word of "
        "one token has no pair. A Counter starts every new key at 0."
    ),
    checked="runs, both orders, repeated pairs, short words, and that words do not touch",
    time_limit=STOP_AFTER,
)


# --- learn_merges ---

_HATS = {b"hat": 5, b"that": 4, b"chat": 2, b"cat": 3}


def _many_words(n: int) -> dict[bytes, int]:
    """Return n random words of three to six letters, each with a small count, so that many tie."""
    letters, lengths = token_ids(1, 3, n, 6).tolist(), token_ids(2, 4, n).tolist()
    words = [bytes(97 + n for n in row[: 3 + m]) for row, m in zip(letters, lengths, strict=True)]
    return {word: 1 + number % 2 for number, word in enumerate(words)}


LEARN_CASES = (
    Case("the example", (_HATS, 2)),
    Case("all five merges", (_HATS, 5)),
    Case("more merges than there are", (_HATS, 99)),
    Case("no merges", (_HATS, 0)),
    Case("no words", ({}, 3)),
    Case("words of one byte", ({b"a": 9, b"b": 2}, 3)),
    Case("pairs that occur once", ({b"ab": 1, b"cd": 1}, 2)),
    Case("three pairs that tie", ({b"ab": 2, b"cd": 2, b"ce": 2}, 3)),
    Case("a tie of a short and a longer token", ({b"xa": 5, b"xab": 4, b"xaq": 1, b"xabq": 1}, 3)),
    Case("a tie with the same letters", ({b"abc": 3, b"ab": 1, b"bc": 1, b"bca": 2}, 3)),
    Case("a tie of a long and a greater token", ({b"abc": 3, b"xy": 3, b"ab": 1}, 3)),
    Case("a tie of zab and az", ({b"zab": 4, b"az": 4, b"q": 1}, 3)),
    Case("counts above ten", ({b"ab": 30, b"cd": 12, b"ef": 200}, 3)),
    Case("a run against a more frequent word", ({b"aaa": 3, b"bc": 5}, 2)),
    Case("a pair twice in a word against a more frequent word", ({b"abab": 3, b"cd": 5}, 3)),
    Case("many words of three letters", (_many_words(14), 14)),
    Case("runs of one letter", ({b"aaaa": 3, b"aab": 2, b"aaaaa": 1}, 4)),
    Case("a rare long word and a frequent short one", ({b"abcdefgh": 1, b"ij": 50}, 3)),
    Case("a frequent word of pairs that repeat", ({b"banana": 6, b"ban": 5, b"nab": 8}, 6)),
    Case("words with a space in front", ({b" the": 9, b" then": 4, b"the": 3, b" hen": 2}, 6)),
    Case("bytes of an umlaut", ({"über".encode(): 4, "für".encode(): 5, "fünf".encode(): 2}, 4)),
    Case(
        "counts that fall while merging",
        ({b"abab": 4, b"abx": 3, b"bay": 6, b"bax": 2, b"aby": 1}, 5),
    ),
    Case("bytes 0 and 255", ({b"\x00\xff": 3, b"\xff\x00\xff": 2, b"\xfe\xff": 4}, 4)),
    Case("a long word among many", (_many_words(70) | {bytes(range(97, 123)): 3}, 60)),
)


def _tokens_of(word):
    return tuple(bytes([byte]) for byte in word)


def _learn(word_counts, n_merges, choose, merge=merge_pair, weigh=lambda count: count):
    """Learn merges with one step exchanged: how a pair is chosen, merged, or a word weighed."""
    words = {_tokens_of(word): weigh(count) for word, count in word_counts.items()}
    merges = []
    for _ in range(n_merges):
        counts = count_pairs(words)
        if not counts:
            break
        best = choose(counts)
        merges.append(best)
        words = {tuple(merge(word, best, best[0] + best[1])): c for word, c in words.items()}
    return merges


def _greatest(counts):
    return max(counts, key=lambda pair: (counts[pair], pair))


def _learn_by_sorting(word_counts, n_merges):
    words = [[_tokens_of(word), count] for word, count in word_counts.items()]
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word, count in words:
            for pair in pairwise(word):
                counts[pair] += count
        ordered = sorted((count, pair) for pair, count in counts.items())
        if not ordered:
            return merges
        merges.append(ordered[-1][1])
        left, right = merges[-1]
        for entry in words:
            entry[0] = merge_pair(entry[0], (left, right), left + right)
    return merges


def _learn_by_ids(word_counts, n_merges):
    token_of = {byte: bytes([byte]) for byte in range(256)}
    words = [(list(word), count) for word, count in word_counts.items()]
    merges = []
    for new_id in range(256, 256 + n_merges):
        counts = {}
        for ids, count in words:
            for pair in pairwise(ids):
                counts[pair] = counts.get(pair, 0) + count
        if not counts:
            break
        best = max(counts, key=lambda p: (counts[p], token_of[p[0]], token_of[p[1]]))
        merges.append([token_of[best[0]], token_of[best[1]]])
        token_of[new_id] = token_of[best[0]] + token_of[best[1]]
        words = [(merge_pair(ids, best, new_id), count) for ids, count in words]
    return merges


# Known mistakes.


def _learn_smallest_tie(word_counts, n_merges):
    def choose(counts):
        return min(counts, key=lambda pair: (-counts[pair], pair))

    return _learn(word_counts, n_merges, choose)


def _learn_first_tie(word_counts, n_merges):
    return _learn(word_counts, n_merges, lambda counts: max(counts, key=counts.get))


def _learn_last_tie(word_counts, n_merges):
    return _learn(word_counts, n_merges, lambda counts: max(reversed(counts), key=counts.get))


def _learn_tie_by_joined(word_counts, n_merges):
    def choose(counts):
        return max(counts, key=lambda pair: (counts[pair], pair[0] + pair[1], pair))

    return _learn(word_counts, n_merges, choose)


def _learn_tie_by_right(word_counts, n_merges):
    def choose(counts):
        return max(counts, key=lambda pair: (counts[pair], pair[1], pair[0]))

    return _learn(word_counts, n_merges, choose)


def _learn_tie_by_length(word_counts, n_merges):
    def choose(counts):
        return max(counts, key=lambda pair: (counts[pair], len(pair[0] + pair[1]), pair))

    return _learn(word_counts, n_merges, choose)


def _learn_greatest_pair(word_counts, n_merges):
    return _learn(word_counts, n_merges, max)


def _learn_rarest(word_counts, n_merges):
    def choose(counts):
        return min(counts, key=lambda pair: (counts[pair], pair))

    return _learn(word_counts, n_merges, choose)


def _learn_unweighted(word_counts, n_merges):
    return _learn(word_counts, n_merges, _greatest, weigh=lambda count: 1)


def _learn_counted_once(word_counts, n_merges):
    counts = count_pairs({_tokens_of(word): count for word, count in word_counts.items()})
    return sorted(counts, key=lambda pair: (counts[pair], pair), reverse=True)[:n_merges]


def _learn_never_merged(word_counts, n_merges):
    return _learn(word_counts, n_merges, _greatest, merge=lambda word, pair, new: word)


def _learn_stale_counts(word_counts, n_merges):
    words = {_tokens_of(word): count for word, count in word_counts.items()}
    counts, merges = Counter(count_pairs(words)), []
    for _ in range(n_merges):
        if not counts:
            break
        best = _greatest(counts)
        merges.append(best)
        del counts[best]
        words = {tuple(merge_pair(w, best, best[0] + best[1])): c for w, c in words.items()}
        counts.update({p: c for p, c in count_pairs(words).items() if p not in counts})
    return merges


def _learn_first_occurrence(word_counts, n_merges):
    return _learn(word_counts, n_merges, _greatest, merge=_merge_first_only)


def _learn_one_too_few(word_counts, n_merges):
    return recount_merges(word_counts, n_merges - 1)


def _learn_one_too_many(word_counts, n_merges):
    return recount_merges(word_counts, n_merges + 1)


def _learn_without_an_end(word_counts, n_merges):
    words = {_tokens_of(word): count for word, count in word_counts.items()}
    merges = []
    for _ in range(n_merges):
        counts = count_pairs(words)
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = {tuple(merge_pair(w, best, best[0] + best[1])): c for w, c in words.items()}
    return merges


def _learn_tokens(word_counts, n_merges):
    return [left + right for left, right in recount_merges(word_counts, n_merges)]


def _learn_numbers(word_counts, n_merges):
    words = {tuple(word): count for word, count in word_counts.items()}
    merges = []
    for k in range(n_merges):
        counts = count_pairs(words)
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        words = {tuple(merge_pair(word, best, 256 + k)): c for word, c in words.items()}
    return merges


def _learn_across_words(word_counts, n_merges):
    text = b" ".join(word for word, count in word_counts.items() for _ in range(count))
    return recount_merges({text: 1}, n_merges)


def _learn_in_reverse(word_counts, n_merges):
    return recount_merges(word_counts, n_merges)[::-1]


def _learn_with_counts(word_counts, n_merges):
    words, merges = {_tokens_of(word): count for word, count in word_counts.items()}, []
    for best in recount_merges(word_counts, n_merges):
        merges.append((best, count_pairs(words)[best]))
        words = {tuple(merge_pair(w, best, best[0] + best[1])): c for w, c in words.items()}
    return merges


def _learn_by_letters_times(word_counts, n_merges):
    words = {_tokens_of(word): count for word, count in word_counts.items()}
    merges = []
    for _ in range(n_merges):
        counts = count_pairs(words)
        if not counts:
            break
        best = max(counts, key=lambda p: (counts[p] * len(p[0] + p[1]), p))
        merges.append(best)
        words = {tuple(merge_pair(w, best, best[0] + best[1])): c for w, c in words.items()}
    return merges


def _learn_until_singles(word_counts, n_merges):
    words = {_tokens_of(word): count for word, count in word_counts.items()}
    merges = []
    for _ in range(n_merges):
        counts = count_pairs(words)
        if not counts or max(counts.values()) < 2:
            break
        best = _greatest(counts)
        merges.append(best)
        words = {tuple(merge_pair(w, best, best[0] + best[1])): c for w, c in words.items()}
    return merges


def _learn_complete(answer) -> str | None:
    merges = answer(dict(_HATS), 99)
    made = {bytes([byte]) for word in _HATS for byte in word}
    for place, (left, right) in enumerate(merges):
        if left not in made or right not in made:
            part = right if left in made else left
            return (
                f"Merge {place} joins {describe(part)}, which is no byte and no result of an "
                "earlier merge of yours."
            )
        made.add(left + right)
    missing = [word for word in _HATS if word not in made]
    if missing:
        return (
            f"After 99 merges every word should be one token, but no merge of yours makes "
            f"{describe(missing[0])}."
        )
    return None


LEARN_MISTAKES = (
    Mistake(
        "smallest_of_a_tie",
        _learn_smallest_tie,
        "Of equally frequent pairs you take the smallest; the agreement is the greatest, "
        "`max(counts, key=lambda pair: (counts[pair], pair))`.",
        "words without ties",
    ),
    Mistake(
        "first_of_a_tie",
        _learn_first_tie,
        "Of equally frequent pairs you take the one that was counted first, so the result depends "
        "on the order of the words; take the greatest: compare `(counts[pair], pair)`.",
        "words without ties",
    ),
    Mistake(
        "last_of_a_tie",
        _learn_last_tie,
        "Of equally frequent pairs you take the one that was counted last; take the greatest: "
        "compare `(counts[pair], pair)`.",
        "words without ties",
    ),
    Mistake(
        "tie_by_the_new_token",
        _learn_tie_by_joined,
        "You settle ties by the joined token; compare the pairs themselves, left token first.",
        "ties between pairs of single bytes",
    ),
    Mistake(
        "tie_by_the_right_token",
        _learn_tie_by_right,
        "You settle ties by the right token of a pair first; Python compares the left one first.",
        "ties between pairs that begin alike",
    ),
    Mistake(
        "tie_by_length",
        _learn_tie_by_length,
        "Of equally frequent pairs you take the one that makes the longest token; the agreement is "
        "the greatest pair.",
        "ties between pairs of single bytes",
    ),
    Mistake(
        "greatest_pair",
        _learn_greatest_pair,
        "`max(counts)` takes the greatest pair and does not look at the counts; they come first.",
        "words with one pair",
    ),
    Mistake(
        "rarest_pair",
        _learn_rarest,
        "You merge the rarest pair first; the most frequent one saves most tokens.",
        "words with one pair",
    ),
    Mistake(
        "word_counts_ignored",
        _learn_unweighted,
        "You count each distinct word once, whatever the dict says about how often it occurs.",
        "words that all occur equally often",
    ),
    Mistake(
        "counted_once",
        _learn_counted_once,
        "You count once at the beginning and take the most frequent pairs of that count; after "
        "each merge there are new tokens, and the pairs must be counted again.",
        "a single merge",
    ),
    Mistake(
        "words_not_merged",
        _learn_never_merged,
        "You find the best pair and leave the words as they were, so the same pair is found again "
        "and again.",
        "a single merge",
    ),
    Mistake(
        "old_counts_kept",
        _learn_stale_counts,
        "You add the new pairs to the old counts, but a merge also makes other pairs rarer; count "
        "all of them again.",
        "words in which merged pairs have no neighbours",
    ),
    Mistake(
        "first_occurrence_only",
        _learn_first_occurrence,
        "In each word you merge only the first occurrence of the pair.",
        "words in which no pair occurs twice",
    ),
    Mistake(
        "one_merge_too_few",
        _learn_one_too_few,
        "You return one merge too few: n_merges counts the merges themselves.",
        "n_merges larger than the number of merges that there are",
    ),
    Mistake(
        "one_merge_too_many",
        _learn_one_too_many,
        "You return one merge too many: n_merges counts the merges themselves.",
        "n_merges larger than the number of merges that there are",
    ),
    Mistake(
        "no_pair_left",
        _learn_without_an_end,
        "When every word has become one token there is no pair left, and `max` of nothing raises "
        "an error; stop there and return the merges so far.",
        "texts with more pairs than merges",
    ),
    Mistake(
        "tokens_for_pairs",
        _learn_tokens,
        "You return the new tokens; return the pairs, which also say how each token is made.",
        "the number of merges",
    ),
    Mistake(
        "numbers_for_bytes",
        _learn_numbers,
        "Your merges hold numbers: going through bytes gives whole numbers, and `bytes([number])` "
        "turns one back into bytes.",
        "the number of merges",
    ),
    Mistake(
        "across_words",
        _learn_across_words,
        "You put the words into one text, so merges run across the spaces between them.",
        "a single word that occurs once",
    ),
    Mistake(
        "last_merge_first",
        _learn_in_reverse,
        "Your merges stand in reverse; the one that was learned first comes first.",
        "the set of merges",
    ),
    Mistake(
        "counts_returned_too",
        _learn_with_counts,
        "You return each pair together with its count; return the pairs alone.",
        "printing the result and reading it",
    ),
    Mistake(
        "long_tokens_preferred",
        _learn_by_letters_times,
        "You multiply the count by the length of the new token; the most frequent pair is chosen "
        "by its count alone.",
        "a single merge",
    ),
)

LEARN_MERGES = Exercise(
    id="tokens.learn_merges",
    title="Learn the merges",
    reference=recount_merges,
    cases=LEARN_CASES,
    mistakes=LEARN_MISTAKES,
    conventions=(
        Mistake(
            "stops_at_pairs_that_occur_once",
            _learn_until_singles,
            "You stop when no pair occurs twice, as some programs do to keep rare tokens out; here "
            "merging goes on while there is a pair.",
            "texts with more frequent pairs than merges",
        ),
    ),
    right=(_learn_by_sorting, _learn_by_ids),
    properties=(Property("merges build on bytes and earlier merges", _learn_complete),),
    hints=(
        "One round has three steps: count, choose, merge. Which of them need the result of the "
        "round before?",
        "Choose with `max(counts, key=lambda pair: (counts[pair], pair))`: it compares the counts "
        "first and the pairs only where counts are equal. Stop when `counts` is empty.",
        "After choosing `best`, make the words anew: a dict whose keys are "
        "`tuple(merge_pair(word, best, best[0] + best[1]))`, with the same counts.",
    ),
    solution=(
        "Counting runs over the words as they are cut now, so it must come again after each merge. "
        "Comparing `(count, pair)` makes the choice independent of the order of the words. When "
        "every word is one token there is no pair left, and the loop ends early. (Sennrich et al. "
        "2016, section 3.2.)"
    ),
    checked="weights, ties of every kind, runs, repeated pairs, and what comes when none is left",
    time_limit=STOP_AFTER,
)


# --- encode_word ---

_THAT = [(b"a", b"t"), (b"h", b"at"), (b"t", b"hat"), (b"t", b"h")]
_RUNS = [(b"a", b"a"), (b"aa", b"a"), (b"aa", b"aa")]
_LATE = [(b"b", b"c"), (b"a", b"b"), (b"a", b"bc"), (b"ab", b"d")]
_LONG = [(b"i", b"n"), (b"in", b"g"), (b"s", b"t"), (b"r", b"in"), (b"st", b"r"), (b"st", b"rin")]
_MANY = recount_merges({b"mathematics": 5, b"thematic": 4, b"the_maths": 7, b"of_the_": 9}, 30)

ENCODE_CASES = (
    Case("the example", (b"chat", _THAT)),
    Case("a whole word", (b"that", _THAT)),
    Case("the earlier of two merges that compete", (b"abc", [(b"b", b"c"), (b"a", b"b")])),
    Case("the same two in the other order", (b"abc", [(b"a", b"b"), (b"b", b"c")])),
    Case("a merge that is no use here", (b"bath", _THAT)),
    Case("a later merge would make fewer tokens", (b"abd", _LATE)),
    Case("a pair three times", (b"xatatbat", _THAT)),
    Case("a run of five", (b"aaaaa", _RUNS)),
    Case("a run of seven", (b"baaaaaaab", _RUNS)),
    Case("the longest token first would win", (b"string", _LONG)),
    Case("one byte", (b"h", _THAT)),
    Case("no bytes", (b"", _THAT)),
    Case("no merges", (b"hat", [])),
    Case("bytes above 127", ("hät".encode(), [*_THAT, (b"\xc3", b"\xa4"), (b"h", b"\xc3\xa4")])),
    Case("bytes 0 and 255", (b"\x00\xff\x00a\xff", [(b"\xff", b"\x00"), (b"\x00", b"\xff")])),
    Case("a space in front", (b" that", [*_THAT, (b" ", b"that"), (b" ", b"th")])),
    Case("the last merges alone", (b"th t", [*_THAT, (b" ", b"t")])),
    Case("a merge of two merged tokens", (b"hathat", [*_THAT, (b"hat", b"hat")])),
    Case(
        "a token that another merge makes",
        (b"abcab", [(b"b", b"c"), (b"a", b"b"), (b"ab", b"c")]),
    ),
    Case("two merges at different places", (b"abxcd", [(b"c", b"d"), (b"a", b"b")])),
    Case("made of three merges", (b"abcabd", _LATE)),
    Case(
        "the longest token from the right would lose",
        (b"abcde", [(b"b", b"c"), (b"a", b"bc"), (b"d", b"e"), (b"c", b"de")]),
    ),
    Case("a long word and many merges", (b"the_mathematics_of_thematic_maths" * 3, _MANY)),
)


def _encode_lowest_rank(word, merges):
    rank = {tuple(pair): k for k, pair in enumerate(merges)}
    ids = list(word)
    names = {byte: bytes([byte]) for byte in range(256)}
    while True:
        found = [(rank.get((names[a], names[b]), len(merges)), (a, b)) for a, b in pairwise(ids)]
        if not found or min(found)[0] == len(merges):
            return ids
        k, pair = min(found)
        names[256 + k] = names[pair[0]] + names[pair[1]]
        ids = merge_pair(ids, pair, 256 + k)


def _encode_ids(word, merges):
    ids, id_of = list(word), {bytes([byte]): byte for byte in range(256)}
    for number, (left, right) in enumerate(merges, start=256):
        out, fresh = [], False
        for id in ids:
            if out and not fresh and (out[-1], id) == (id_of[left], id_of[right]):
                out[-1], fresh = number, True
            else:
                out.append(id)
                fresh = False
        id_of[left + right] = number
        ids = out
    return ids


# Known mistakes.


def _ids_of(tokens, merges):
    id_of = {bytes([byte]): byte for byte in range(256)}
    id_of |= {left + right: 256 + k for k, (left, right) in enumerate(merges)}
    return [id_of[token] for token in tokens]


def _encode_first_from_left(word, merges):
    tokens, known = list(_tokens_of(word)), {tuple(pair) for pair in merges}
    i = 0
    while i < len(tokens) - 1:
        if (tokens[i], tokens[i + 1]) in known:
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
            i = 0
        else:
            i += 1
    return _ids_of(tokens, merges)


def _encode_one_sweep(word, merges):
    tokens, known = [], {tuple(pair) for pair in merges}
    for token in _tokens_of(word):
        if tokens and (tokens[-1], token) in known:
            tokens[-1] += token
        else:
            tokens.append(token)
    return _ids_of(tokens, merges)


def _encode_last_first(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in reversed(merges):
        tokens = merge_pair(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


def _encode_highest_rank(word, merges):
    rank = {tuple(pair): k for k, pair in enumerate(merges)}
    tokens = list(_tokens_of(word))
    while True:
        found = [rank.get(pair, -1) for pair in pairwise(tokens)]
        if not found or max(found) < 0:
            return _ids_of(tokens, merges)
        left, right = merges[max(found)]
        tokens = merge_pair(tokens, (left, right), left + right)


def _encode_off_by_one(word, merges):
    return [id if id < 256 else id + 1 for id in encode_word(word, merges)]


def _encode_from_255(word, merges):
    return [id if id < 256 else id - 1 for id in encode_word(word, merges)]


def _encode_ranks(word, merges):
    return [id if id < 256 else id - 256 for id in encode_word(word, merges)]


def _encode_tokens(word, merges):
    token_of = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]
    return [token_of[id] for id in encode_word(word, merges)]


def _encode_single_merge(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in merges:
        tokens = _merge_first_only(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


def _encode_bytes(word, merges):
    return list(word)


def _encode_stops_early(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in merges:
        merged = merge_pair(tokens, (left, right), left + right)
        if merged == tokens:
            break
        tokens = merged
    return _ids_of(tokens, merges)


def _encode_first_merge_only(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in merges:
        merged = merge_pair(tokens, (left, right), left + right)
        if merged != tokens:
            return _ids_of(merged, merges)
    return _ids_of(tokens, merges)


def _encode_from_the_right(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in merges:
        tokens = _merge_from_the_right(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


def _encode_fewest(word, merges):
    known = {bytes([byte]) for byte in range(256)} | {left + right for left, right in merges}
    best = {0: []}
    for end in range(1, len(word) + 1):
        ways = [[*best[s], word[s:end]] for s in range(end) if word[s:end] in known]
        best[end] = min(ways, key=len)
    return _ids_of(best[len(word)], merges)


def _encode_whole_or_bytes(word, merges):
    made = {left + right: 256 + k for k, (left, right) in enumerate(merges)}
    return [made[word]] if word in made else list(word)


def _encode_greedy_from_right(word, merges):
    known = {bytes([byte]) for byte in range(256)} | {left + right for left, right in merges}
    tokens, end = [], len(word)
    while end > 0:
        start = min(s for s in range(end) if word[s:end] in known)
        tokens.insert(0, word[start:end])
        end = start
    return _ids_of(tokens, merges)


def _encode_by_result(word, merges):
    rank = {left + right: k for k, (left, right) in enumerate(merges)}
    tokens = list(_tokens_of(word))
    while True:
        found = [(rank.get(a + b, len(merges)), i) for i, (a, b) in enumerate(pairwise(tokens))]
        if not found or min(found)[0] == len(merges):
            return _ids_of(tokens, merges)
        i = min(found)[1]
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


def _encode_either_order(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in merges:
        tokens = _merge_either_order(tokens, (left, right), left + right)
    id_of = {bytes([byte]): byte for byte in range(256)}
    id_of |= {left + right: 256 + k for k, (left, right) in enumerate(merges)}
    return [id_of[token] for token in tokens]


def _encode_round_trip(answer) -> str | None:
    token_of = [bytes([byte]) for byte in range(256)] + [left + right for left, right in _LONG]
    for word in (b"string", b"rings", b"strstring", b"inging"):
        ids = answer(word, list(_LONG))
        outside = [id for id in ids if not 0 <= id < len(token_of)]
        if outside:
            return (
                f"Your ids of {describe(word)} hold {outside[0]}, but with {len(_LONG)} merges ids "
                f"run from 0 to {len(token_of) - 1}."
            )
        back = b"".join(token_of[id] for id in ids)
        if back != word:
            return (
                f"The tokens of your ids, put together, are {describe(back)}, not {describe(word)}."
            )
    return None


def _encode_counts_used(word, merges):
    id_of = {bytes([byte]): byte for byte in range(256)}
    tokens = list(_tokens_of(word))
    for left, right in merges:
        merged = merge_pair(tokens, (left, right), left + right)
        if merged != tokens:
            id_of[left + right] = len(id_of)
        tokens = merged
    return [id_of[token] for token in tokens]


def _encode_in_order_of_bytes(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in sorted(merges):
        tokens = merge_pair(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


def _encode_longest_merge_first(word, merges):
    tokens = list(_tokens_of(word))
    for left, right in sorted(merges, key=lambda pair: -len(pair[0] + pair[1])):
        tokens = merge_pair(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


def _encode_characters(word, merges):
    tokens = [sign.encode() for sign in word.decode()]
    for left, right in merges:
        tokens = merge_pair(tokens, (left, right), left + right)
    return _ids_of(tokens, merges)


ENCODE_MISTAKES = (
    Mistake(
        "longest_token_first",
        greedy_encode_word,
        "You take the longest token that fits, from the left; BPE replays the merges in the order "
        "in which they were learned, and then an earlier merge may need a byte that you used up.",
        "that the tokens put together are the word",
    ),
    Mistake(
        "longest_token_from_the_right",
        _encode_greedy_from_right,
        "You take the longest token that fits, from the right end; BPE replays the merges in the "
        "order in which they were learned.",
        "that the tokens put together are the word",
    ),
    Mistake(
        "fewest_tokens",
        _encode_fewest,
        "You look for the fewest tokens; BPE replays the merges in the order in which they were "
        "learned, even where another cut would be shorter.",
        "that the tokens put together are the word",
    ),
    Mistake(
        "leftmost_pair_first",
        _encode_first_from_left,
        "You merge the leftmost pair that has a merge; the merge that was learned first comes "
        "first, wherever in the word its pair stands.",
        "words in which no two merges compete",
    ),
    Mistake(
        "one_sweep",
        _encode_one_sweep,
        "You go through the word once and join each byte to the token before it; the merges must "
        "be applied one after another, each to the whole word.",
        "words of two bytes",
    ),
    Mistake(
        "last_merge_first",
        _encode_last_first,
        "You apply the merges from the last to the first, but the later ones need tokens that the "
        "earlier ones make.",
        "words for which one merge is enough",
    ),
    Mistake(
        "latest_merge_first",
        _encode_highest_rank,
        "Of the merges that fit you take the one that was learned last; take the one that was "
        "learned first.",
        "words in which no two merges compete",
    ),
    Mistake(
        "ids_one_too_high",
        _encode_off_by_one,
        "Your ids of merged tokens are one too high: the token of merges[0] has the id 256, since "
        "bytes take 0 to 255.",
        "words without merges",
    ),
    Mistake(
        "ids_one_too_low",
        _encode_from_255,
        "Your ids of merged tokens are one too low: 255 is the id of the last byte, so the token "
        "of merges[0] has the id 256.",
        "words without merges",
    ),
    Mistake(
        "merge_number_for_id",
        _encode_ranks,
        "You give a merged token the number of its merge; the ids 0 to 255 belong to the bytes, so "
        "add 256.",
        "words without merges",
    ),
    Mistake(
        "tokens_for_ids",
        _encode_tokens,
        "You return the tokens as bytes; return their ids: byte b has the id b, the token of "
        "merges[k] the id 256 + k.",
        "the number of tokens",
    ),
    Mistake(
        "each_merge_once",
        _encode_single_merge,
        "You apply each merge to the first place only; it joins its pair wherever it stands in the "
        "word.",
        "words in which no pair occurs twice",
    ),
    Mistake(
        "no_merge",
        _encode_bytes,
        "No merge was applied, so your ids are the bytes of the word. Going through bytes gives "
        "numbers, which never equal the byte strings of a merge; `bytes([number])` makes one.",
        "words without merges",
    ),
    Mistake(
        "stops_at_a_useless_merge",
        _encode_stops_early,
        "You stop at the first merge that finds nothing in the word; later ones may still apply.",
        "words in which every merge applies",
    ),
    Mistake(
        "one_merge_only",
        _encode_first_merge_only,
        "You return after the first merge that applies; go on with the others.",
        "words for which one merge is enough",
    ),
    Mistake(
        "runs_from_the_right",
        _encode_from_the_right,
        "In a run such as aaaaa you join from the right; the tokens are merged from the left.",
        "words without runs of one letter",
    ),
    Mistake(
        "whole_word_or_bytes",
        _encode_whole_or_bytes,
        "You use a merged token only when it is the whole word; parts of a word are merged too.",
        "words that are one token",
    ),
    Mistake(
        "either_order",
        _encode_either_order,
        "You join a pair in either order; (a, t) is a merge, (t, a) is another one.",
        "words in which each pair stands in its own order",
    ),
    Mistake(
        "ids_counted_when_used",
        _encode_counts_used,
        "You give the next id only to merges that apply in this word, so a token has another id in "
        "every word; the token of merges[k] is always 256 + k.",
        "words in which every merge applies",
    ),
    Mistake(
        "merges_sorted",
        _encode_in_order_of_bytes,
        "You apply the merges in the order of their bytes; they must come in the order in which "
        "they were learned, as the list has them.",
        "merges that happen to be sorted",
    ),
    Mistake(
        "longest_merge_first",
        _encode_longest_merge_first,
        "You apply the merges that make the longest tokens first, but they need tokens that the "
        "shorter ones make; take the merges in the order in which they were learned.",
        "words for which one merge is enough",
    ),
    Mistake(
        "characters_for_bytes",
        _encode_characters,
        "You turn the bytes into characters first; not every row of bytes is valid UTF-8, and the "
        "merges join bytes.",
        "words of the letters a to z",
    ),
)

ENCODE_WORD = Exercise(
    id="tokens.encode_word",
    title="Encode a word",
    reference=encode_word,
    cases=ENCODE_CASES,
    mistakes=ENCODE_MISTAKES,
    conventions=(
        Mistake(
            "joined_by_the_result",
            _encode_by_result,
            "You join two neighbours whose bytes together are a token, as the library tiktoken "
            "does; here a merge joins only the very pair that was learned.",
            "merges of which each token can be made in one way",
        ),
    ),
    right=(_encode_lowest_rank, _encode_ids),
    properties=(Property("the tokens put together are the word", _encode_round_trip),),
    hints=(
        "New words are cut by replaying what was learned. In which order did the merges happen in "
        "training?",
        "Start from the bytes of the word. For each merge in turn, join its pair wherever it "
        "stands; `bpe_training.merge_pair` does that. At the end look up the ids.",
        "for k, (left, right) in enumerate(merges): tokens = merge_pair(tokens, (left, right), "
        "left + right). Keep a dict from token to id: bytes([b]) has b, left + right has 256 + k.",
    ),
    solution=(
        "A merge can only use tokens that earlier merges have made, so replaying them in order "
        "cuts a word exactly as training would have cut it. The longest token that fits, taken "
        "from the left, can use up a byte that an earlier merge needs. Merge k made the token "
        "number k after the 256 bytes, hence the id 256 + k."
    ),
    checked="competing merges, runs, useless merges, bytes of every size, and the ids",
    time_limit=STOP_AFTER,
)


# --- make_windows ---


def _windows_case(name: str, n: int, T: int, stride: int) -> Case:
    """Return the case of n random ids, with its letters for messages."""
    sizes = {"n": n, "T": T, "N": len(range(0, n - T, stride))}
    return Case(name, (token_ids(n + T, 1000, n), T, stride), sizes=sizes)


WINDOWS_CASES = (
    Case(
        "the example",
        (torch.tensor([7, 8, 9, 10, 11, 12]), 2, 2),
        sizes={"n": 6, "T": 2, "N": 2},
    ),
    _windows_case("13 ids, T=4, stride=4, nothing left over", 13, 4, 4),
    _windows_case("15 ids, T=4, stride=4, two ids left over", 15, 4, 4),
    _windows_case("16 ids, T=4, stride=4, one id short of a window", 16, 4, 4),
    _windows_case("20 ids, T=5, stride=2, windows that overlap", 20, 5, 2),
    _windows_case("19 ids, T=6, stride=1", 19, 6, 1),
    _windows_case("30 ids, T=3, stride=7, with gaps", 30, 3, 7),
    _windows_case("as few ids as a window needs", 6, 5, 3),
    _windows_case("T=1, stride=1", 8, 1, 1),
    _windows_case("T=1, stride=3", 8, 1, 3),
    _windows_case("T and stride and N all 4", 17, 4, 4),
    Case(
        "ids that repeat",
        (torch.tensor([1, 1, 2, 1, 1, 2, 1, 1]), 3, 2),
        sizes={"n": 8, "T": 3, "N": 3},
    ),
    Case(
        "ids of a large vocabulary",
        (token_ids(71, 200_000, 11), 3, 2),
        sizes={"n": 11, "T": 3, "N": 4},
    ),
    _windows_case("700 ids, T=32, stride=16", 700, 32, 16),
)


def _windows_by_unfold(ids, T, stride):
    both = ids.unfold(0, T + 1, stride)  # (N, T + 1)
    return both[:, :-1], both[:, 1:]


def _windows_by_index(ids, T, stride):
    starts = torch.arange(0, ids.shape[0] - T, stride)
    places = starts[:, None] + torch.arange(T)  # (N, T)
    return ids[places], ids[places + 1]


def _windows_by_lists(ids, T, stride):
    row, x, y, start = ids.tolist(), [], [], 0
    while start + T < len(row):
        x.append(row[start : start + T])
        y.append(row[start + 1 : start + 1 + T])
        start += stride
    return [torch.tensor(x), torch.tensor(y)]


# Known mistakes.


def _windows_of(ids, starts, T, shift=1):
    """Return windows at `starts` and their targets, `shift` places further on."""
    starts = torch.as_tensor(list(starts), dtype=torch.long)
    places = starts[:, None] + torch.arange(T)  # (N, T)
    return ids[places], ids[places + shift]


def _windows_no_shift(ids, T, stride):
    return _windows_of(ids, range(0, len(ids) - T, stride), T, shift=0)


def _windows_shift_by_window(ids, T, stride):
    return _windows_of(ids, range(0, len(ids) - 2 * T + 1, stride), T, shift=T)


def _windows_shift_back(ids, T, stride):
    y, x = make_windows(ids, T, stride)
    return x, y


def _windows_shift_by_two(ids, T, stride):
    return _windows_of(ids, range(0, len(ids) - T - 1, stride), T, shift=2)


def _windows_stacked(ids, starts, T, shift=1):
    """Return the same by slices, as most people write it; without a single start it raises."""
    x = torch.stack([ids[start : start + T] for start in starts])  # (N, T)
    y = torch.stack([ids[start + shift : start + shift + T] for start in starts])  # (N, T)
    return x, y


def _windows_shift_by_window_stacked(ids, T, stride):
    return _windows_stacked(ids, range(0, len(ids) - 2 * T + 1, stride), T, shift=T)


def _windows_shift_by_two_stacked(ids, T, stride):
    return _windows_stacked(ids, range(0, len(ids) - T - 1, stride), T, shift=2)


def _windows_rolled(ids, T, stride):
    x, _ = make_windows(ids, T, stride)
    return x, x.roll(-1, dims=1)


def _windows_stride_ignored(ids, T, stride):
    return make_windows(ids, T, T)


def _windows_stride_one(ids, T, stride):
    return make_windows(ids, T, 1)


def _windows_stride_one_last_missed(ids, T, stride):
    return _windows_stacked(ids, range(len(ids) - T - 1), T)


def _windows_last_missed(ids, T, stride):
    return _windows_of(ids, range(0, len(ids) - T - 1, stride), T)


def _windows_last_missed_stacked(ids, T, stride):
    return _windows_stacked(ids, range(0, len(ids) - T - 1, stride), T)


def _windows_one_dropped(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x[:-1], y[:-1]


def _windows_one_too_many(ids, T, stride):
    return _windows_stacked(ids, range(0, len(ids) - T + 1, stride), T)


def _windows_wrapped(ids, T, stride):
    starts = range(0, len(ids) - T + 1, stride)
    ring = torch.cat([ids, ids[:1]])
    return _windows_of(ring, starts, T)


def _windows_ragged(ids, T, stride):
    return _windows_stacked(ids, range(0, len(ids), stride), T)


def _windows_start_at_one(ids, T, stride):
    return make_windows(ids[1:], T, stride)


def _windows_last_target_only(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x, y[:, -1]


def _windows_too_wide(ids, T, stride):
    both = ids.unfold(0, T + 1, stride)
    return both, both[:, 1:]


def _windows_transposed(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x.T, y.T


def _windows_in_reverse(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x.flip(0), y.flip(0)


def _windows_float(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x.float(), y.float()


def _windows_added(ids, T, stride):
    x, _ = make_windows(ids, T, stride)
    return x, x + 1


def _windows_overlap_for_stride(ids, T, stride):
    return _windows_of(ids, range(0, len(ids) - T, max(1, T - stride)), T)


def _windows_target_follows(answer) -> str | None:
    ids = token_ids(70, 1000, 24)
    x, y = answer(ids.clone(), 5, 3)
    wrong = (x[:, 1:] != y[:, :-1]).nonzero().tolist()
    if not wrong:
        return None
    n, t = wrong[0]
    return (
        f"In window {n} the target at place {t} is {int(y[n, t])}, but the window itself goes on "
        f"with {int(x[n, t + 1])} there."
    )


def _windows_counted_short(ids, T, stride):
    return _windows_of(ids, [k * stride for k in range((len(ids) - T) // stride)], T)


def _windows_counted_short_stacked(ids, T, stride):
    return _windows_stacked(ids, [k * stride for k in range((len(ids) - T) // stride)], T)


def _windows_unfolded_apart(ids, T, stride):
    return ids.unfold(0, T, stride), ids[1:].unfold(0, T, stride)


def _windows_stride_as_gap(ids, T, stride):
    return make_windows(ids, T, T + stride)


def _windows_joined(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x.flatten(), y.flatten()


WINDOWS_MISTAKES = (
    Mistake(
        "no_shift",
        _windows_no_shift,
        "Your targets are the inputs themselves, so a model would only have to copy; the target at "
        "each place is the token after it.",
        "only the shapes",
    ),
    Mistake(
        "shifted_by_a_window",
        _windows_shift_by_window,
        "Your targets are the window after this one; the target at each place is the very next "
        "token, one place further on.",
        "T=1",
        variants=(_windows_shift_by_window_stacked,),
    ),
    Mistake(
        "shifted_back",
        _windows_shift_back,
        "Your x and y are exchanged, so that each target is the token before; the inputs come "
        "first, and the targets lie one place further on.",
        "only the shapes",
    ),
    Mistake(
        "shifted_by_two",
        _windows_shift_by_two,
        "Your targets lie two places further on; it must be one.",
        "only the shapes",
        variants=(_windows_shift_by_two_stacked,),
    ),
    Mistake(
        "target_from_the_window_itself",
        _windows_rolled,
        "You shift inside the window, so its last target is its own first token; that target is "
        "the token after the window.",
        "all targets but the last",
    ),
    Mistake(
        "added_one",
        _windows_added,
        "You add 1 to the ids; the target is the id that stands one place further on, whatever its "
        "number.",
        "a text whose ids count upwards",
    ),
    Mistake(
        "stride_ignored",
        _windows_stride_ignored,
        "Your windows follow one another without overlap and without gap, whatever stride says; "
        "each begins stride places after the one before.",
        "stride equal to T",
    ),
    Mistake(
        "stride_one",
        _windows_stride_one,
        "Your windows begin at every place, whatever stride says.",
        "stride 1",
        variants=(_windows_stride_one_last_missed,),
    ),
    Mistake(
        "overlap_for_stride",
        _windows_overlap_for_stride,
        "You take stride for the number of tokens that two windows share; it is how far the next "
        "window begins after this one.",
        "stride half of T",
    ),
    Mistake(
        "last_window_missed",
        _windows_last_missed,
        "You leave out a window that just fits: the last start is `len(ids) - T - 1`, and a range "
        "ends before its second number.",
        "texts with ids left over",
        variants=(_windows_last_missed_stacked,),
    ),
    Mistake(
        "last_window_dropped",
        _windows_one_dropped,
        "You always leave out the last window, although its targets are there.",
        "texts that end with half a window, looked at by eye",
    ),
    Mistake(
        "one_window_too_many",
        _windows_one_too_many,
        "The last token of the text has no token after it, so a window must end before it: the "
        "last start is `len(ids) - T - 1`.",
        "texts in which the windows do not reach the last token",
    ),
    Mistake(
        "first_token_as_last_target",
        _windows_wrapped,
        "You take the first token of the text for the target of the last; no token follows the "
        "last, so its window is left out.",
        "texts in which the windows do not reach the last token",
    ),
    Mistake(
        "windows_cut_off",
        _windows_ragged,
        "Your loop goes on to the end of the text, where the slices get shorter than T and cannot "
        "be stacked; stop at the last window that fits.",
        "one window only",
    ),
    Mistake(
        "first_token_skipped",
        _windows_start_at_one,
        "Your windows begin at place 1; the first one begins at 0.",
        "only the shapes",
    ),
    Mistake(
        "last_target_only",
        _windows_last_target_only,
        "You keep one target for each window; every place has its own, so y has the shape of x.",
        "T=1, and only the number of entries",
    ),
    Mistake(
        "inputs_too_wide",
        _windows_too_wide,
        "Your inputs hold T + 1 tokens, the last target included; x has T.",
        "only the targets",
    ),
    Mistake(
        "transposed",
        _windows_transposed,
        "Your windows stand in columns; each is a row, so the shape is (N, T).",
        "as many windows as tokens in one, and only the shape",
    ),
    Mistake(
        "in_reverse",
        _windows_in_reverse,
        "Your windows stand in reverse; the first row is the one that begins at place 0.",
        "the set of windows",
    ),
    Mistake(
        "floats",
        _windows_float,
        "Your ids are floats; they are names of tokens, whole numbers, and a table is indexed with "
        "them.",
        "comparing with ==",
    ),
    Mistake(
        "windows_counted_short",
        _windows_counted_short,
        "You make (n - T) // stride windows, which forgets the one that begins at 0 unless n - T "
        "is a multiple of stride; there are (n - T - 1) // stride + 1.",
        "texts of T plus a multiple of stride ids",
        variants=(_windows_counted_short_stacked,),
    ),
    Mistake(
        "window_without_targets",
        _windows_unfolded_apart,
        "x can have one window more than y, the one that ends with the last token, which has no "
        "target; cut x from `ids[:-1]`.",
        "texts in which the windows do not reach the last token",
    ),
    Mistake(
        "stride_as_gap",
        _windows_stride_as_gap,
        "You leave stride tokens between two windows; stride is how far the next window begins "
        "after the beginning of this one.",
        "one window only",
    ),
    Mistake(
        "one_long_row",
        _windows_joined,
        "You put all windows into one long row; `torch.stack` gives each a row of its own, "
        "`torch.cat` joins them end to end.",
        "only the entries",
    ),
)

MAKE_WINDOWS = Exercise(
    id="tokens.make_windows",
    title="Windows and targets",
    reference=make_windows,
    cases=WINDOWS_CASES,
    mistakes=WINDOWS_MISTAKES,
    right=(_windows_by_unfold, _windows_by_index, _windows_by_lists),
    properties=(Property("each target is the token after its place", _windows_target_follows),),
    hints=(
        "Write the numbers 7 to 12 on paper and mark the windows for T=2 and stride=2. Which is "
        "the last place at which a window can begin, so that its last target is still there?",
        "The starts are 0, stride, 2 * stride and so on, below `len(ids) - T`. For each start, one "
        "slice gives the inputs, and the same slice moved by one gives the targets.",
        "`torch.stack([ids[s : s + T] for s in range(0, len(ids) - T, stride)])` is x; for y, add "
        "1 to both ends of the slice.",
    ),
    solution=(
        "A window that begins at s needs the ids from s to s + T: T inputs, and one more as the "
        "target of the last. So s + T must be at most n - 1, the last place, and the starts run "
        "below n - T. The targets are the same slice moved by one."
    ),
    checked="overlap, gaps, ids left over, the last window that fits, T=1, repeated ids",
    time_limit=STOP_AFTER,
)


# --- split_starts ---

SPLIT_CASES = tuple(
    Case(name, args)
    for name, args in (
        ("the example", (12, 2, 2, 5)),
        ("windows that fill both parts", (18, 4, 4, 9)),
        ("one id short of a window on both sides", (16, 4, 4, 8)),
        ("windows that overlap", (20, 4, 3, 8)),
        ("a window at every place", (20, 3, 1, 6)),
        ("gaps between the windows", (50, 5, 7, 20)),
        ("a cut that is no multiple of the stride", (41, 6, 4, 17)),
        ("most ids for validation", (40, 4, 5, 27)),
        ("too few ids for a validation window", (20, 5, 5, 5)),
        ("too few ids for a training window", (20, 5, 5, 15)),
        ("nothing for validation", (13, 3, 3, 0)),
        ("everything for validation", (13, 3, 3, 13)),
        ("T=1", (9, 1, 1, 4)),
        ("T=1, stride=2", (14, 1, 2, 6)),
        ("a longer text", (5000, 64, 48, 700)),
    )
)


def _split_by_loop(n_ids, T, stride, n_val):
    first_val = n_ids - n_val
    train, val = [], []
    for starts, begin, end in ((train, 0, first_val), (val, first_val, n_ids)):
        while begin + T + 1 <= end:
            starts.append(begin)
            begin += stride
    return train, val


def _split_by_filter(n_ids, T, stride, n_val):
    cut = n_ids - n_val
    train = [s for s in range(0, n_ids, stride) if s + T < cut]
    val = [cut + s for s in range(0, n_ids, stride) if cut + s + T < n_ids]
    return [train, val]


# Known mistakes.


def _split_straddles(n_ids, T, stride, n_val):
    cut = n_ids - n_val
    return list(range(0, min(cut, n_ids - T), stride)), split_starts(n_ids, T, stride, n_val)[1]


def _split_target_forgotten(n_ids, T, stride, n_val):
    cut = n_ids - n_val
    val = split_starts(n_ids, T, stride, n_val)[1]
    return list(range(0, min(cut - T + 1, n_ids - T), stride)), val


def _split_both_targets_forgotten(n_ids, T, stride, n_val):
    cut = n_ids - n_val
    return list(range(0, cut - T + 1, stride)), list(range(cut, n_ids - T + 1, stride))


def _split_last_missed(n_ids, T, stride, n_val):
    cut = n_ids - n_val
    return list(range(0, cut - T - 1, stride)), list(range(cut, n_ids - T - 1, stride))


def _split_common_grid(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    cut = n_ids - n_val
    return train, [s for s in range(0, n_ids - T, stride) if s >= cut]


def _split_windows_first(n_ids, T, stride, n_val):
    starts, cut = list(range(0, n_ids - T, stride)), n_ids - n_val
    return [s for s in starts if s < cut], [s for s in starts if s >= cut]


def _split_val_from_zero(n_ids, T, stride, n_val):
    train, val = split_starts(n_ids, T, stride, n_val)
    return train, [s - (n_ids - n_val) for s in val]


def _split_val_looks_back(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    return train, list(range(max(0, n_ids - n_val - T), n_ids - T, stride))


def _split_stride_ignored(n_ids, T, stride, n_val):
    return split_starts(n_ids, T, T, n_val)


def _split_stride_one(n_ids, T, stride, n_val):
    return split_starts(n_ids, T, 1, n_val)


def _split_first_part(n_ids, T, stride, n_val):
    val = list(range(0, n_val - T, stride))
    return list(range(n_val, n_ids - T, stride)), val


def _split_cut_at_n_val(n_ids, T, stride, n_val):
    return split_starts(n_ids, T, stride, n_ids - n_val)


def _split_counts_windows(n_ids, T, stride, n_val):
    starts = list(range(0, n_ids - T, stride))
    cut = max(0, len(starts) - n_val)
    return starts[:cut], starts[cut:]


def _split_alternating(n_ids, T, stride, n_val):
    starts = list(range(0, n_ids - T, stride))
    share = max(2, n_ids // max(1, n_val))
    return [s for i, s in enumerate(starts) if (i + 1) % share], starts[share - 1 :: share]


def _split_nothing_kept(n_ids, T, stride, n_val):
    starts = list(range(0, n_ids - T, stride))
    return starts, split_starts(n_ids, T, stride, n_val)[1]


def _split_swapped(n_ids, T, stride, n_val):
    return split_starts(n_ids, T, stride, n_val)[::-1]


def _split_keeps_apart(answer) -> str | None:
    for n_ids, T, stride, n_val in ((60, 6, 3, 24), (47, 5, 5, 20), (31, 4, 2, 12)):
        train, val = answer(n_ids, T, stride, n_val)
        trained = {place for start in train for place in range(start, start + T + 1)}
        for start in val:
            shared = sorted(trained & set(range(start, start + T + 1)))
            if shared:
                return (
                    f"With n_ids={n_ids}, T={T}, stride={stride}, n_val={n_val}, the id at place "
                    f"{shared[0]} is in the validation window at {start} and in a training window."
                )
    return None


def _split_fits(answer) -> str | None:
    for n_ids, T, stride, n_val in ((60, 6, 3, 24), (47, 5, 5, 20), (31, 4, 2, 12)):
        for start in (start for part in answer(n_ids, T, stride, n_val) for start in part):
            if start < 0 or start + T >= n_ids:
                return (
                    f"With n_ids={n_ids} and T={T}, the window at {start} needs the id at place "
                    f"{start + T}, but the places run from 0 to {n_ids - 1}."
                )
    return None


def _split_minus_zero(n_ids, T, stride, n_val):
    parts = range(n_ids)[:-n_val], range(n_ids)[-n_val:]
    return tuple([s for s in part[::stride] if s + T in part] for part in parts)


def _split_val_target_forgotten(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    return train, list(range(n_ids - n_val, n_ids - T + 1, stride))


def _split_train_missed(n_ids, T, stride, n_val):
    _, val = split_starts(n_ids, T, stride, n_val)
    return list(range(0, n_ids - n_val - T - 1, stride)), val


def _split_val_missed(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    return train, list(range(n_ids - n_val, n_ids - T - 1, stride))


def _split_gap(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    return train, list(range(n_ids - n_val + T, n_ids - T, stride))


def _split_val_one_late(n_ids, T, stride, n_val):
    train, _ = split_starts(n_ids, T, stride, n_val)
    return train, list(range(n_ids - n_val + 1, n_ids - T, stride))


def _split_whole_windows(n_ids, T, stride, n_val):
    parts = split_starts(n_ids, T, stride, n_val)
    return tuple([list(range(start, start + T)) for start in part] for part in parts)


SPLIT_MISTAKES = (
    Mistake(
        "training_windows_reach_over",
        _split_straddles,
        "Your last training windows begin before the cut and end behind it, in the validation "
        "part; a training window must end before the cut, its last target included.",
        "that every start lies on its own side of the cut",
    ),
    Mistake(
        "windows_before_the_split",
        _split_windows_first,
        "You cut windows from the whole text and then sort them by where they begin, so those that "
        "begin just before the cut reach into the validation part; cut the text first.",
        "that no window is in both lists",
    ),
    Mistake(
        "target_forgotten",
        _split_target_forgotten,
        "Your last training window ends at the cut, but its last target is the id behind it, the "
        "first of the validation part: a window needs T + 1 ids.",
        "that the inputs of training and validation have no id in common",
    ),
    Mistake(
        "target_forgotten_twice",
        _split_both_targets_forgotten,
        "A window needs T + 1 ids, the last as the target of its last input; yours take T, so they "
        "reach one id into what follows, at the end into nothing.",
        "that the inputs of training and validation have no id in common",
    ),
    Mistake(
        "last_windows_missed",
        _split_last_missed,
        "You leave out windows that just fit: the last start is the end of the part minus T + 1, "
        "and a range ends before its second number.",
        "that no id is in both parts",
    ),
    Mistake(
        "one_grid_for_both",
        _split_common_grid,
        "Your validation windows stand where the training windows would have gone on; they begin "
        "at the cut itself, the first id of the validation part.",
        "cuts that are a multiple of the stride",
    ),
    Mistake(
        "validation_counted_from_zero",
        _split_val_from_zero,
        "You count the validation starts from the cut; all starts are places in the whole text, so "
        "add the cut to them.",
        "the number of windows",
    ),
    Mistake(
        "validation_looks_back",
        _split_val_looks_back,
        "Your first validation windows begin before the cut, so their inputs were trained on; the "
        "first one begins at the cut.",
        "that no target is in both parts",
    ),
    Mistake(
        "stride_ignored",
        _split_stride_ignored,
        "Your windows follow one another without overlap and without gap, whatever stride says.",
        "stride equal to T",
    ),
    Mistake(
        "stride_one",
        _split_stride_one,
        "Your windows begin at every place, whatever stride says.",
        "stride 1",
    ),
    Mistake(
        "validation_first",
        _split_first_part,
        "You take the first ids for validation; the agreement is the last n_val ids.",
        "the number of windows",
    ),
    Mistake(
        "n_val_for_training",
        _split_cut_at_n_val,
        "You take the first n_val ids for training; n_val is how many ids, the last ones, are kept "
        "for validation.",
        "halves",
    ),
    Mistake(
        "n_val_counts_windows",
        _split_counts_windows,
        "You keep the last n_val windows; n_val counts ids.",
        "T=1 and stride=1",
    ),
    Mistake(
        "every_few_windows",
        _split_alternating,
        "You pick validation windows from all over the text, so their neighbours, which overlap "
        "them or touch them, are trained on; take one piece at the end.",
        "that no window is in both lists",
    ),
    Mistake(
        "trains_on_everything",
        _split_nothing_kept,
        "Your training windows cover the whole text, validation part included.",
        "the validation windows alone",
    ),
    Mistake(
        "minus_zero",
        _split_minus_zero,
        "With n_val=0 the slice `[:-n_val]` is `[:0]`, which is empty, and `[-n_val:]` is "
        "everything; cut at `n_ids - n_val`.",
        "n_val above 0",
    ),
    Mistake(
        "validation_target_forgotten",
        _split_val_target_forgotten,
        "Your last validation window can end with the last id of the text, and its last target "
        "lies beyond it: a window needs T + 1 ids.",
        "texts in which the windows do not reach the last id",
    ),
    Mistake(
        "last_training_window_missed",
        _split_train_missed,
        "You leave out a training window that just fits: its last start is `cut - T - 1`, and a "
        "range ends before its second number.",
        "that no id is in both parts",
    ),
    Mistake(
        "last_validation_window_missed",
        _split_val_missed,
        "You leave out a validation window that just fits: its last start is `n_ids - T - 1`, and "
        "a range ends before its second number.",
        "that no id is in both parts",
    ),
    Mistake(
        "gap_before_validation",
        _split_gap,
        "You leave T ids between the two parts; once no window reaches over the cut no gap is "
        "needed, and validation begins at the cut itself.",
        "that no id is in both parts",
    ),
    Mistake(
        "validation_one_late",
        _split_val_one_late,
        "Your first validation window begins one id late: the last n_val ids begin at "
        "`n_ids - n_val`.",
        "that no id is in both parts",
    ),
    Mistake(
        "windows_for_starts",
        _split_whole_windows,
        "You return all places of each window; what is asked is where it starts, one number for "
        "each.",
        "the number of windows",
    ),
)

SPLIT_STARTS = Exercise(
    id="tokens.split_starts",
    title="Split without a leak",
    reference=split_starts,
    cases=SPLIT_CASES,
    mistakes=SPLIT_MISTAKES,
    conventions=(
        Mistake(
            "validation_returned_first",
            _split_swapped,
            "You return the validation starts first; here the order is training, then validation.",
            "looking at both lists by eye",
        ),
    ),
    right=(_split_by_loop, _split_by_filter),
    properties=(
        Property("no id is in both parts", _split_keeps_apart),
        Property("every window lies inside the text", _split_fits),
    ),
    hints=(
        "Draw 12 places in a row and a line before the last 5. Where may a window of 2 inputs and "
        "one more target begin, on each side of the line?",
        "The cut lies at `n_ids - n_val`. A window at s needs the places s to s + T. In training "
        "s + T must lie before the cut, in validation before n_ids.",
        "Two ranges with the step `stride`: training from 0 to below `cut - T`, validation from "
        "cut to below `n_ids - T`. `list(range(...))` makes a list.",
    ),
    solution=(
        "The text is cut first, and each part gets its own windows. A window takes T + 1 ids, T "
        "inputs and the target of the last, so that its last place, s + T, must still lie in its "
        "own part. Cutting windows first would leave some that reach over the cut, or overlap."
    ),
    checked="overlap, gaps, uneven cuts, parts too short for a window, and no id in both parts",
    time_limit=STOP_AFTER,
)


# --- expose_bug: judged by properties alone, so each mistake has its property's sentence. ---

_NOT_TWO = "Return two things in this order, separated by a comma: merges and word."
_EXCHANGED = "You return the word first; here the order is merges, then word."
_NOT_BYTES_WORD = "Make the word bytes, with a b in front of the quotation mark: b'abc'."
_EMPTY_WORD = "Your word is empty, and both functions cut nothing into no tokens."
_NOT_PAIRS = (
    "Make merges a list of pairs of bytes, such as [(b'a', b'b'), (b'ab', b'c')]; each of the two "
    "needs at least one byte."
)
_NO_MERGES = "Without merges every byte stays alone in both functions; give some."
_NOT_MADE = (
    "One of your merges joins a token that is not there yet: each side must be a single byte or "
    "what an earlier merge has made."
)
_TWICE = "Two of your merges make the same token; each merge must make a new one."
_UNUSED = (
    "None of your merges applies to your word, so both functions leave it in bytes; take a word "
    "that holds a pair of yours."
)
_SAME = (
    "Both functions cut your word in the same way. You need two merges that want the same byte, "
    "and the one that was learned later must win when the longest token is taken from the left."
)


def _exposes_two(answer) -> str | None:
    made = answer()
    if not isinstance(made, (tuple, list)) or len(made) != 2:
        return _NOT_TWO
    word_first = isinstance(made[0], (bytes, str)) and not isinstance(made[1], (bytes, str))
    return _EXCHANGED if word_first else None


def _exposes_bytes(answer) -> str | None:
    word = answer()[1]
    if not isinstance(word, bytes):
        return _NOT_BYTES_WORD
    return None if word else _EMPTY_WORD


def _exposes_pairs(answer) -> str | None:
    merges = answer()[0]
    if not isinstance(merges, (list, tuple)):
        return _NOT_PAIRS
    if not merges:
        return _NO_MERGES
    fits = all(
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(isinstance(side, bytes) and side for side in pair)
        for pair in merges
    )
    return None if fits else _NOT_PAIRS


def _exposes_order(answer) -> str | None:
    made = {bytes([byte]) for byte in range(256)}
    for left, right in answer()[0]:
        if left not in made or right not in made:
            return _NOT_MADE
        if left + right in made:
            return _TWICE
        made.add(left + right)
    return None


def _exposes_difference(answer) -> str | None:
    merges, word = answer()
    right = encode_word(word, merges)
    if right != greedy_encode_word(word, merges):
        return None
    return _UNUSED if right == list(word) else _SAME


EXPOSE_PROPERTIES = (
    Property("two things come back", _exposes_two),
    Property("the word is bytes", _exposes_bytes),
    Property("the merges are pairs of bytes", _exposes_pairs),
    Property("the merges build on one another", _exposes_order),
    Property("the two functions give different ids", _exposes_difference),
)


def _expose_three_letters():
    return [(b"n", b"g"), (b"i", b"n"), (b"s", b"in")], b"sing"


def _expose_long_token():
    merges = [(b"c", b"d"), (b"a", b"b"), (b"ab", b"c")]
    return merges, b"abcd"


def _expose_as_lists():
    return [[[b"t", b"h"], [b"a", b"t"]], b"path"]


# Known mistakes.


def _expose_word_alone():
    return b"abc"


def _expose_exchanged():
    return b"abc", [(b"b", b"c"), (b"a", b"b")]


def _expose_string():
    return [(b"b", b"c"), (b"a", b"b")], "abc"


def _expose_empty():
    return [(b"b", b"c"), (b"a", b"b")], b""


def _expose_string_merges():
    return [("b", "c"), ("a", "b")], b"abc"


def _expose_no_merges():
    return [], b"abc"


def _expose_not_made():
    return [(b"bc", b"d"), (b"a", b"b")], b"abcd"


def _expose_twice():
    return [(b"a", b"b"), (b"b", b"c"), (b"ab", b"c"), (b"a", b"bc")], b"abc"


def _expose_unused():
    return [(b"b", b"c"), (b"a", b"b")], b"xyz"


def _expose_agreeing():
    return [(b"a", b"b"), (b"b", b"c")], b"abc"


EXPOSE_MISTAKES = (
    Mistake("word_alone", _expose_word_alone, _NOT_TWO, "that something comes back"),
    Mistake("order_exchanged", _expose_exchanged, _EXCHANGED, "that two things come back"),
    Mistake("word_is_a_string", _expose_string, _NOT_BYTES_WORD, "how the word looks"),
    Mistake("empty_word", _expose_empty, _EMPTY_WORD, "only the types"),
    Mistake("merges_of_strings", _expose_string_merges, _NOT_PAIRS, "how the merges look"),
    Mistake("no_merges", _expose_no_merges, _NO_MERGES, "only the types"),
    Mistake("part_not_made", _expose_not_made, _NOT_MADE, "that the outputs differ"),
    Mistake("token_made_twice", _expose_twice, _TWICE, "that each merge builds on earlier ones"),
    Mistake("merges_unused", _expose_unused, _UNUSED, "that both functions run"),
    Mistake("same_tokens", _expose_agreeing, _SAME, "that two merges want the same byte"),
)

EXPOSE_BUG = Exercise(
    id="tokens.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_three_letters, _expose_long_token, _expose_as_lists),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "Both functions only use tokens that the merges make. When can the longest token from the "
        "left be one that BPE does not make in this word?",
        "Take three letters and two merges: one wants the first and the second letter, the other "
        "the second and the third. Which of the two must have been learned first?",
        "With the word abc: the merge of b and c first, that of a and b second. BPE joins bc and "
        "leaves a alone; what does the longest token from the left take?",
    ),
    solution=(
        "In abc both merges want the b. BPE gives it to the merge that was learned first, (b, c), "
        "and a stays alone. From the left, ab is the longest token that fits, and c stays alone. "
        "Put together, both give abc, so a round trip can never tell them apart."
    ),
    checked="both functions take your input, and their ids differ",
)


EXERCISES: tuple[Exercise, ...] = (
    CLEAN_LINES,
    MERGE_PAIR,
    COUNT_PAIRS,
    LEARN_MERGES,
    ENCODE_WORD,
    MAKE_WINDOWS,
    SPLIT_STARTS,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "In chapter 00, 'queen' had an id. What is an id?",
        (
            Option(
                "The place of the word in the text.",
                "No. The same word has the same id wherever it stands.",
            ),
            Option(
                "The number by which the model knows a token.",
                "Yes. Each token that the model knows has its own number, and a text becomes a row "
                "of them.",
                right=True,
            ),
            Option(
                "How often the word occurs.",
                "No. An id counts nothing; it is a name that happens to be a number.",
            ),
            Option(
                "The meaning of the word, in one number.",
                "No. A meaning takes more than one number; the id only says which token it is.",
            ),
        ),
    ),
    Question(
        "How does a language model write a story?",
        (
            Option(
                "It picks one that it has stored.",
                "No. It stores no stories, only the numbers that training has found.",
            ),
            Option(
                "It writes all tokens at once, and then corrects them.",
                "No. Each token depends on those before it, so they come one after another.",
            ),
            Option(
                "It says how likely each token is to come next, one is drawn and added, and it is "
                "asked again.",
                "Yes. One token at a time; the text so far is what it is asked with.",
                right=True,
            ),
            Option(
                "It looks the next word up in a dictionary.",
                "No. A dictionary holds words and no stories; the model compares all tokens that "
                "it knows.",
            ),
        ),
    ),
    Question(
        "table has the shape (168, 64), ids the shape (2, 5), with numbers from 0 to 167. What is "
        "the shape of table[ids]?",
        (
            Option(
                "(2, 5, 64)",
                "Yes. Each of the 2 times 5 numbers is replaced by its row of 64.",
                right=True,
            ),
            Option(
                "(2, 5)",
                "No. Each number becomes a whole row, so an axis of 64 is added.",
            ),
            Option(
                "(168, 2, 5)",
                "No. The first axis is looked up and gone; the shape of ids takes its place.",
            ),
            Option(
                "(10, 64)",
                "No. The right numbers, but indexing keeps the axes of ids.",
            ),
        ),
    ),
    Question(
        "x has the shape (3, 4), b the shape (4,). What does x + b do?",
        (
            Option(
                "It fails, since the shapes differ.",
                "No. Compared from the right, 4 meets 4, and the missing axis is no obstacle.",
            ),
            Option(
                "It adds b to each of the three rows.",
                "Yes. Broadcasting repeats b along the axis that it lacks.",
                right=True,
            ),
            Option(
                "It adds b to the first row.",
                "No. The short tensor is repeated; every row gets it.",
            ),
            Option(
                "It adds b[i] to row i.",
                "No. For that b would need the shape (3, 1); shapes are compared from the right.",
            ),
        ),
    ),
)

RECAP = (
    Question(
        "Which cleaning rule may be used on the Python documentation?",
        (
            Option(
                "Make all letters small.",
                "No. In Python, None and none are different names, and a reader could never tell "
                "which it was.",
            ),
            Option(
                "Strip the spaces at the beginning of every line.",
                "No. Indentation is part of the program: without it the examples mean nothing.",
            ),
            Option(
                "Write each accented letter as one code point, normal form NFC.",
                "Yes. Both spellings look and mean the same; one of them is enough.",
                right=True,
            ),
            Option(
                "Drop all punctuation.",
                "No. A full stop, a bracket or a colon is often all the difference there is.",
            ),
        ),
    ),
    Question(
        "A word tokenizer meets a word that its training text did not hold. What happens?",
        (
            Option(
                "It becomes the unknown token, and what it was is lost.",
                "Yes. Decoding gives <unk>; every unknown word becomes the same one.",
                right=True,
            ),
            Option(
                "It gets the next free id.",
                "No. The vocabulary is fixed when training begins: the model has no vector for a "
                "new id.",
            ),
            Option(
                "It is cut into letters.",
                "No. Its vocabulary holds words; the tokenizer that falls back on small pieces is "
                "BPE.",
            ),
            Option(
                "The nearest known word takes its place.",
                "No. Nothing measures nearness here; all unknown words look alike to it.",
            ),
        ),
    ),
    Question(
        "Why can byte-level BPE encode any text, even in a script that it was not trained on?",
        (
            Option(
                "Because its vocabulary is large.",
                "No. It works with the 256 bytes alone; merges make the text shorter, no more.",
            ),
            Option(
                "Because it skips what it does not know.",
                "No. Nothing is skipped: decoding gives back every character.",
            ),
            Option(
                "Because it translates other scripts.",
                "No. It knows nothing of languages; it sees bytes.",
            ),
            Option(
                "Because any text is a row of bytes, and each of the 256 bytes is a token.",
                "Yes. Where no merge applies, the bytes themselves are left.",
                right=True,
            ),
        ),
    ),
    Question(
        "What does cutting the text into words before BPE prevent?",
        (
            Option(
                "Tokens that are shorter than a word.",
                "No. Many tokens are parts of words, and that is as it should be.",
            ),
            Option(
                "Tokens that run across words, such as 'dog.' and 'dog?' beside 'dog'.",
                "Yes. Such tokens take up places in the vocabulary and hide that it is the same "
                "word.",
                right=True,
            ),
            Option(
                "Unknown words.",
                "No. There are none in either case, since the bytes are tokens.",
            ),
            Option(
                "Merges of rare pairs.",
                "No. The rarest pairs come last in either case; how many merges there are decides.",
            ),
        ),
    ),
    Question(
        "The merges are, in this order, (b, c), (a, b), (ab, c). How is abc cut?",
        (
            Option(
                "abc",
                "No. That would need ab, and the b went to bc, which was learned first.",
            ),
            Option(
                "ab, c",
                "No. That takes the longest token from the left, but (b, c) was learned first.",
            ),
            Option(
                "a, bc",
                "Yes. (b, c) comes first and uses up the b, and no merge joins a and bc.",
                right=True,
            ),
            Option(
                "a, b, c",
                "No. (b, c) applies.",
            ),
        ),
    ),
    Question(
        "A window holds the ids 5, 9, 2, 7, and the text goes on with 4. What are its targets?",
        (
            Option(
                "9, 2, 7, 4",
                "Yes. At each place the target is the token after it: four examples in one window.",
                right=True,
            ),
            Option(
                "5, 9, 2, 7",
                "No. Then a model would only have to copy its input.",
            ),
            Option(
                "4",
                "No. That is the target of the last place alone; the other three have theirs.",
            ),
            Option(
                "6, 10, 3, 8",
                "No. These are the ids plus one; the target stands one place further on.",
            ),
        ),
    ),
    Question(
        "You cut a text into overlapping windows, shuffle them, and keep a tenth for validation. "
        "What is wrong?",
        (
            Option(
                "A tenth is too little.",
                "No. How much is needed is another question; here the kind of the cut is wrong.",
            ),
            Option(
                "Shuffling loses the order inside the windows.",
                "No. The windows are shuffled, not what stands in them.",
            ),
            Option(
                "Nothing, since no window is in both parts.",
                "No. No window is, but nearly all of their tokens are: the neighbours overlap.",
            ),
            Option(
                "Nearly every validation token was also trained on, in a window that overlaps.",
                "Yes. Cut the text first, then each part into windows.",
                right=True,
            ),
        ),
    ),
    Question(
        "Texts of different length are padded to one batch. What stands in the targets where a "
        "text has ended?",
        (
            Option(
                "The id of the padding token, to be predicted like any other.",
                "No. Then a model would mostly learn to predict padding.",
            ),
            Option(
                "A number that says: do not count this place.",
                "Yes. The ignore index, -100 in torch, keeps the place out of the reckoning.",
                right=True,
            ),
            Option(
                "The beginning of the next text.",
                "No. That is packing, where texts lie end to end and nothing is padded.",
            ),
            Option(
                "Nothing; the rows have different lengths.",
                "No. A tensor has rows of one length; that is why padding is needed.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "tokens.warmup": WARMUP,
    "tokens.recap": RECAP,
}
