"""The sentence forms of the stories: each a template whose slots take words of one class."""

import re

from llm_core.corpus.words import (
    ANIMALS,
    BONDS,
    COLOURS,
    FRUIT,
    HEADWEAR,
    HOME,
    KINDS,
    NAMES,
    NUMBERS,
    PLACES,
    RELATIVES,
    SIZE,
    VIRTUES,
)

SLOT_WORDS = {
    "age": ("old", "young"),
    "animal": tuple(ANIMALS),
    "beast": SIZE["big"] + SIZE["little"],
    "bond": tuple(dict.fromkeys(BONDS.values())),
    "colour": COLOURS,
    "do": tuple(do for _, do, _ in PLACES.values()),
    "fruit": FRUIT,
    "he": ("he", "she"),
    "He": ("He", "She"),
    "him": ("him", "her"),
    "his": ("his", "her"),
    "His": ("His", "Her"),
    "home": tuple(HOME.values()),
    "kind": tuple(KINDS),
    "name": NAMES["he"] + NAMES["she"],
    "number": tuple(NUMBERS),
    "place": tuple(PLACES),
    "prep": ("in", "at"),
    "relative": tuple(RELATIVES),
    "size": tuple(SIZE),
    "sound": tuple(sound for _, sound in ANIMALS.values()),
    "thing": tuple(thing for _, _, thing in PLACES.values()),
    "virtue": VIRTUES,
    "wear": tuple(HEADWEAR.values()),
    "young": SIZE["little"],
}
"""The words that a slot of a sentence form can hold; `name2` takes the words of `name`."""

FORMS = {
    # people
    "once": "Once there was a {kind} called {name}.",
    "home": "The {age} {kind} lived in the {home}.",
    "wear": "The {age} {kind} wore a {wear} on {his} head.",
    "virtue": "{He} was a {virtue} {age} {kind}.",
    "relative": "{His} {bond} {relative} was called {name}.",
    "friend": "{He} had a friend, a {kind} called {name}.",
    # things lost and found
    "find": "One day {name} went to the {place} to {do} and found a {colour} {thing}.",
    "then_find": "Then {name} went to the {place} to {do} and found a {colour} {thing}.",
    "gave": "{name} gave the {colour} {thing} to {name2}.",
    "thanked": "{He} thanked {name} and smiled.",
    "took": "{name} took the {colour} {thing} to the {place} to {do}.",
    "lost": "Later {name} lost the {colour} {thing} {prep} the {place}.",
    "sad": "{He} was sad.",
    "searched": "{He} looked for the {thing}, but {he} did not find it.",
    "refound": "{name} went to the {place} and found the {colour} {thing}.",
    "brought": "The {size} {beast} {sound}, found the {colour} {thing} and brought it to {name}.",
    "kept": "The {size} {beast} {sound}, found the {colour} {thing} and kept it.",
    "who": "Who has the {thing} now?",
    "where": "Where is the {thing} now?",
    "who_can": "Who can {do} now?",
    "has": "{name} has the {colour} {thing}.",
    "can": "{name} can {do} with the {colour} {thing}.",
    "kind_has": "The {age} {kind} has the {colour} {thing}.",
    "beast_has": "The {size} {beast} has the {colour} {thing}.",
    "is": "The {colour} {thing} is {prep} the {place}.",
    # animals and their young
    "pet": "{He} had a big {animal} and a little {young}.",
    "sounds": "The big {animal} {sound} and the little {young} {sound2} too.",
    "rest": "The big {animal} slept and the little {young} played.",
    # sums
    "had": "One day {name} had {number} {fruit}.",
    "more": "{name} gave {him} {number} more.",
    "ate": "{name} ate {number} {fruit}.",
    "shared": "{name} gave {number} {fruit} to {name2}.",
    "now": "Now {name} had {number} {fruit}.",
    "night": "At night {name} went home to the {home}.",
}
"""Every sentence form, by name. Braces hold slots."""


def _form_pattern(template: str) -> re.Pattern[str]:
    """Return the regular expression that matches a form, with one named group per slot."""

    def group(slot: re.Match[str]) -> str:
        words = SLOT_WORDS[slot[1].rstrip("2")]
        return f"(?P<{slot[1]}>{'|'.join(words)})"

    literal = template.replace(".", r"\.").replace("?", r"\?")
    return re.compile(re.sub(r"{(\w+)}", group, literal))


FORM_PATTERNS = {form: _form_pattern(template) for form, template in FORMS.items()}


def split_sentences(text: str) -> list[str]:
    """Return the sentences of `text`, each with its end mark; a rest without one comes last."""
    return [part.strip() for part in re.findall(r"[^.?!]+[.?!]?|[.?!]", text) if part.strip()]
