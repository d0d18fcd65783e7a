"""The glossary against the chapters: each term where it says, and no earlier than that."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

import jupytext
import pytest

from llm_core.files import ROOT

GLOSSARY = ROOT / "assets" / "glossary.md"
SOURCES = {path.stem: path for path in sorted((ROOT / "solutions").glob("[0-9][0-9]_*.py"))}
SENTENCE = (
    "Every term of the course stands in the [glossary](../assets/glossary.md), "
    "with the chapter that explains it."
)
ENTRY = re.compile(
    r"- \*\*(?P<term>[^*]+)\*\*: (?P<text>.+\.) "
    r"\[(?P<chapter>\w+)\]\(\.\./chapters/(?P<file>\w+)\.ipynb\), \*(?P<section>[^*]+)\*"
)

ALLOWED = {
    "activations": {"05_block"},  # short for activation functions
    "AdamW": {"06_model"},  # named as the optimizer at work
    "block": {"01_tokens", "03_positions"},  # of a file, of a matrix
    "gain": {"02_embeddings"},  # the verb
    "key": {"02_embeddings"},  # of the keyboard
    "module": {"01_tokens"},  # of Python
    "query": {"02_embeddings"},  # said to be the vector whose neighbours are wanted
    "tail": {"01_tokens"},  # of the list of words
    "temperature": {"00_start_here", "06_model"},  # the slider, said to be how daring the draw is
    "value": {"02_embeddings"},  # in values and in gradients
    "warm-up": {"00_start_here", "01_tokens", "02_embeddings", "03_positions", "04_attention"},
    # the section with the first quiz
}
"""Chapters that may use a word before its definition: there it means something else, or is said."""


@dataclass(frozen=True)
class Entry:
    """A term of the glossary. `word` leaves out what tells two of a name apart, in brackets."""

    term: str
    text: str
    chapter: str
    file: str
    section: str

    @property
    def word(self):
        return re.sub(r" \(.*\)$", "", self.term)

    @property
    def forms(self):
        """The word and its plural, in small letters."""
        word = self.word.lower()
        plurals = {word + "s", word + "es", re.sub("y$", "ies", word), re.sub("is$", "es", word)}
        return {word} | plurals


def read_entries():
    lines = GLOSSARY.read_text(encoding="utf-8").split("\n")
    return [Entry(**ENTRY.fullmatch(line).groupdict()) for line in lines if line.startswith("- ")]


@cache
def text_cells(stem):
    """The text cells of a chapter, without pictures and what stands under Papers."""
    notebook = jupytext.reads(SOURCES[stem].read_text(encoding="utf-8"), fmt="py:percent")
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    texts = [text.split("## Papers\n")[0] for text in texts]
    return [re.sub(r"!\[.*?\]\([^)]*\)", "", text, flags=re.DOTALL) for text in texts]


@cache
def headings_and_bold(stem):
    """Return (heading, None) for each heading and (heading above, bold words) for bold ones."""
    heading, found = "", []
    for text in text_cells(stem):
        for match in re.finditer(
            r"^#+ ([^\n]+)$|\*\*(.+?)\*\*", text, flags=re.MULTILINE | re.DOTALL
        ):
            if match[1]:
                heading = match[1]
                found.append((heading, None))
            else:
                found.append((heading, " ".join(match[2].split()).strip(".:,").lower()))
    return found


@cache
def running_text(stem):
    """What is read in a chapter, in small letters: no code, formulas, addresses, and no map."""
    texts = [text for text in text_cells(stem) if not text.startswith("## The map")]
    text = "\n\n".join(texts)
    for hidden in (r"```.*?```", r"`[^`]*`", r"\$\$.*?\$\$", r"\$[^$]*\$", r"\]\([^)]*\)"):
        text = re.sub(hidden, " … ", text, flags=re.DOTALL)
    return " ".join(text.split()).lower()


def uses(text, forms):
    """Where one of the forms stands as a whole word in a text: a few words around each."""
    found = []
    for form in forms:
        if form in text:
            matches = re.finditer(rf"(?<![\w-]){re.escape(form)}(?![\w-])", text)
            found += [text[max(0, m.start() - 40) : m.end() + 30] for m in matches]
    return found


ENTRIES = read_entries()
FIRST_OF_ITS_NAME = {e.word: e for e in sorted(ENTRIES, key=lambda e: e.chapter, reverse=True)}


def test_the_glossary_is_not_empty_and_in_alphabetical_order():
    terms = [entry.term for entry in ENTRIES]
    assert len(terms) > 150
    assert terms == sorted(terms, key=str.casefold)
    assert [term for term, times in Counter(terms).items() if times > 1] == []


def test_every_term_stands_under_its_letter():
    letter = ""
    for line in GLOSSARY.read_text(encoding="utf-8").split("\n"):
        if re.fullmatch("## [A-Z]", line):
            letter = line[-1]
        elif line.startswith("- "):
            assert line[len("- **")].upper() == letter, line


def test_every_term_has_one_sentence_and_a_link_to_its_chapter():
    for entry in ENTRIES:
        assert entry.file == entry.chapter, entry.term
        assert entry.chapter in SOURCES, f"{entry.term}: {entry.file}.ipynb is no chapter"
        assert not re.search(r"[.!?] [A-Z]", entry.text), f"{entry.term}: more than one sentence"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.term)
def test_a_term_is_in_bold_in_the_section_that_the_glossary_names(entry):
    sections = [
        heading for heading, bold in headings_and_bold(entry.chapter) if bold in entry.forms
    ]
    assert sections, f"{entry.term!r} is nowhere in bold in {entry.chapter}"
    assert entry.section in sections, f"{entry.term!r} is in bold in {sections}"


@pytest.mark.parametrize("entry", FIRST_OF_ITS_NAME.values(), ids=lambda entry: entry.term)
def test_no_earlier_chapter_defines_or_uses_a_term(entry):
    forms = {form for e in ENTRIES for form in e.forms} - entry.forms
    longer = [form for form in forms if f" {entry.word.lower()} " in f" {form} "]
    for stem in [stem for stem in SOURCES if stem < entry.chapter]:
        assert not any(bold in entry.forms for _, bold in headings_and_bold(stem)), (
            f"in bold in {stem}"
        )
        text = running_text(stem)
        for form in longer:
            text = text.replace(form, "…")
        found = uses(text, entry.forms)
        allowed = stem in ALLOWED.get(entry.term, ())
        assert allowed or not found, f"{stem} uses {entry.term!r} before {entry.chapter}: {found}"


def test_exceptions_name_terms_and_chapters():
    assert set(ALLOWED) <= {entry.term for entry in ENTRIES}
    assert set().union(*ALLOWED.values()) <= set(SOURCES)


def test_chapters_link_the_glossary_in_the_same_words_in_their_set_up():
    for stem in SOURCES:
        set_up = [text for text in text_cells(stem) if text.startswith("## Set-up")]
        assert len(set_up) == 1
        assert SENTENCE in " ".join(set_up[0].split()), stem


def test_links_out_of_the_chapters_to_the_course_resolve():
    for stem in SOURCES:
        text = "\n".join(text_cells(stem))
        for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", text):
            chapter = re.fullmatch(r"(\w+)\.ipynb", target)
            found = chapter[1] in SOURCES if chapter else (ROOT / "chapters" / target).is_file()
            assert found, f"{stem} links {target}"


def test_the_check_for_early_uses_sees_them():
    entry = next(entry for entry in ENTRIES if entry.term == "logits")
    assert uses("the logits of a model", entry.forms)
    assert not uses("the biologits of a model", entry.forms)
