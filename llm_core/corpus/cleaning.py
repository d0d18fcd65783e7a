"""Cleaning a text, and splitting it into a part to train on and a part to validate on."""

import html
import re
import unicodedata
from typing import Any

from llm_core.corpus.words import STORY_END
from llm_core.validate import require_text

# Marks that print alike and mean the same: one plain form each.
PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212", "-"),
        "\u2026": "...",
        **dict.fromkeys("\u2028\u2029\u0085\v\f", "\n"),
        "\ufeff": None,
    }
)
KEPT = frozenset("\n\t\u200c\u200d")

_TAGS = (
    "a|abbr|b|blockquote|br|code|dd|div|dl|dt|em|font|h[1-6]|hr|i|img|li|ol|p|pre|q|small|span|"
    "strong|sub|sup|table|tbody|td|th|thead|tr|tt|u|ul"
)
_ATTRIBUTE = r"""\s+[\w:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>=]+)"""
_TAG = re.compile(rf"</?(?:{_TAGS})(?:{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)


def clean_text(text: str) -> str:
    """Return `text` with what carries no meaning made uniform; cleaning twice changes nothing more.

    Unicode form NFC; line ends `\\n`; curly quotes, long dashes, the ellipsis and odd spaces in
    their plain form; control characters and invisible marks removed (but tabs stay, and the joiners
    that emoji and some scripts need); no spaces at the ends of lines; at most two blank lines in a
    row.

    Args:
        text: any string; the empty one stays empty.

    Raises:
        TypeError: `text` is not a string.
    """
    _require_string(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(PLAIN)
    text = "".join(filter(None, map(_plain_character, text)))
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    return re.sub(r"(\A|\n)\n{3,}", r"\1\n\n", text)


def strip_markup(text: str) -> str:
    """Return `text` without HTML tags, and with entities such as `&amp;` written out.

    Only what has the name and the form of a real tag is taken for one, so that
    `if a < b and b > c` stays as it is. For whole web pages, with scripts and menus, take a library
    such as trafilatura.

    Args:
        text: any string.

    Raises:
        TypeError: `text` is not a string.
    """
    _require_string(text)
    return html.unescape(_TAG.sub("", text))


def _require_string(text: Any) -> None:
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, not {type(text).__name__}")


def _plain_character(character: str) -> str:
    if character in KEPT:
        return character
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    return "" if category in ("Cc", "Cf", "Cs") else character


def split_text(text: str, val_fraction: float = 0.1) -> tuple[str, str]:
    """Return `(train, val)`: the last part of the text is for validation, and nothing is in both.

    The cut falls on the end of the story (STORY_END) nearest to the fraction asked for, so that
    no story is in both parts; in a text without stories on the nearest end of a line; in a text
    of one line exactly where asked. `train + val == text`.

    Args:
        text: at least two characters.
        val_fraction: share of the characters for validation, above 0 and below 1.

    Raises:
        TypeError: an argument of the wrong kind.
        ValueError: `val_fraction` outside (0, 1), or a text too short to give both parts some.
    """
    require_text("text", text)
    if isinstance(val_fraction, bool) or not isinstance(val_fraction, (int, float)):
        raise TypeError(f"val_fraction must be a number, not {val_fraction!r}")
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie above 0 and below 1, but it is {val_fraction}")
    if len(text) < 2:
        raise ValueError("text is too short to split: give at least two characters")
    wanted = min(max(round(len(text) * (1 - val_fraction)), 1), len(text) - 1)
    if STORY_END in text:
        cut = _nearest_cut(text, wanted, re.escape(STORY_END) + "\n?")
        if cut is None:
            raise ValueError("text holds one story only, too short to split: give two or more")
    else:
        cut = _nearest_cut(text, wanted, "\n") or wanted
    return text[:cut], text[cut:]


def _nearest_cut(text: str, wanted: int, mark: str) -> int | None:
    """Return the end of a `mark` nearest to `wanted` that leaves words on both sides, if any."""
    first = len(text) - len(text.lstrip())
    last = len(text.rstrip())
    ends = [match.end() for match in re.finditer(mark, text)]
    return min(
        (end for end in ends if first < end < last),
        key=lambda end: abs(end - wanted),
        default=None,
    )
