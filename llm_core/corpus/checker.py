"""Judging any text as stories: which sentences are well formed, and which facts are true."""

import re
from dataclasses import dataclass, field

from llm_core.corpus.forms import FORM_PATTERNS, split_sentences
from llm_core.corpus.grammar import story_log_prob, story_vocabulary
from llm_core.corpus.plot import QUESTIONS
from llm_core.corpus.words import (
    HEADWEAR,
    HOME,
    NUMBER_WORD,
    NUMBERS,
    PLACES,
    STORY_END,
    THING_FOR,
    WORD_PATTERN,
    Person,
    relative_kind,
)

MAX_EXAMPLES = 5
VOCABULARY = frozenset(story_vocabulary())

Values = dict[str, str]


@dataclass(frozen=True)
class StoriesReport:
    """What `check_stories` found.

    Attributes:
        n_sentences: sentences, without one that the text breaks off in.
        n_well_formed: sentences that have a form of the grammar, whatever they say.
        n_facts: well-formed sentences that say something which the text has settled before: who has
            a thing or lost it, where it is, what colour it has, who is who, what a sum comes to.
        n_true_facts: those of them that agree with what the text said before.
        n_stories: stories that STORY_END closes.
        n_legal_stories: those of them that the grammar can write, word for word.
        examples_of_errors: up to five pairs of a sentence and what is wrong with it.
    """

    n_sentences: int
    n_well_formed: int
    n_facts: int
    n_true_facts: int
    n_stories: int
    n_legal_stories: int
    examples_of_errors: tuple[tuple[str, str], ...]

    @property
    def share_well_formed(self) -> float:
        """Share of the sentences that are well formed; not a number (NaN) without sentences."""
        return _share(self.n_well_formed, self.n_sentences)

    @property
    def share_true_facts(self) -> float:
        """Share of the facts that are true; NaN without facts."""
        return _share(self.n_true_facts, self.n_facts)

    @property
    def share_legal_stories(self) -> float:
        """Share of the closed stories that the grammar can write; NaN without closed stories."""
        return _share(self.n_legal_stories, self.n_stories)


def check_stories(text: str) -> StoriesReport:
    """Judge a text, such as a model's, as stories of the grammar.

    Facts are judged by what the same story said before, so give a story from its first word on.
    A false statement counts once: what it says is then taken as said.

    Args:
        text: any string; stories end with STORY_END or where the next begins ("Once there was").
            A last sentence without its end mark is not judged.

    Raises:
        TypeError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, not {type(text).__name__}")
    *closed, rest = text.split(STORY_END)
    closed = [story.strip() for story in closed if story.strip()]
    count = _Count()
    for story in closed:
        count.read(split_sentences(story))
    sentences = split_sentences(rest)
    if sentences and sentences[-1][-1] not in ".?!":
        del sentences[-1]
    count.read(sentences)
    return StoriesReport(
        n_sentences=count.sentences,
        n_well_formed=count.well_formed,
        n_facts=count.facts,
        n_true_facts=count.true_facts,
        n_stories=len(closed),
        n_legal_stories=sum(map(_is_legal, closed)),
        examples_of_errors=tuple(count.errors[:MAX_EXAMPLES]),
    )


@dataclass
class _Count:
    sentences: int = 0
    well_formed: int = 0
    facts: int = 0
    true_facts: int = 0
    errors: list[tuple[str, str]] = field(default_factory=list)

    def read(self, sentences: list[str]) -> None:
        """Count the sentences of one piece of text."""
        world = _World()
        for sentence in sentences:
            self.sentences += 1
            found = _match(sentence)
            if found is None:
                self.errors.append((sentence, _why_malformed(sentence)))
                continue
            self.well_formed += 1
            form, values = found
            if form == "once":
                world = _World()
            fault = world.fault(form, values)
            if fault is not None:
                self.facts += 1
                self.true_facts += not fault
            if fault:
                self.errors.append((sentence, fault))
            world.learn(form, values)


def _match(sentence: str) -> tuple[str, Values] | None:
    for form, pattern in FORM_PATTERNS.items():
        match = pattern.fullmatch(sentence)
        if match:
            return form, match.groupdict()
    return None


def _why_malformed(sentence: str) -> str:
    strange = [word for word in re.findall(WORD_PATTERN, sentence) if word not in VOCABULARY]
    if strange:
        return f"{strange[0]!r} is not a word of the stories"
    return "no sentence of the stories has this form"


def _is_legal(story: str) -> bool:
    try:
        story_log_prob(story)
    except ValueError:
        return False
    return True


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


@dataclass
class _Thing:
    colour: str
    holder: str | None  # a name, or an animal
    place: str | None = None

    def where(self) -> str:
        if self.holder:
            return f"{self.holder} has it"
        return f"it was lost {PLACES[self.place][0]} the {self.place}"


class _World:
    """What a story has said so far."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.things: dict[str, _Thing] = {}
        self.animals: tuple[str, ...] = ()
        self.fruit: tuple[str, str, int] | None = None  # whose, which, how many
        self.last_actor: str | None = None  # who gave or lost something last
        self.last_receiver: str | None = None
        self.asked: str | None = None

    def fault(self, form: str, v: Values) -> str | None:
        """Return None if the sentence settles nothing, "" if it is true, else why it is false."""
        if form in ("home", "wear", "virtue", "night"):
            return self._fault_of_description(form, v)
        if form in ("relative", "friend", "pet"):
            return self._fault_of_pronoun(v.get("His") or v["He"], self._hero_name())
        if form in ("find", "then_find", "had"):
            return "" if v["name"] in self.people else f"the story has no {v['name']}"
        if form in ("gave", "took", "lost"):
            return self._fault_of_holder(v["name"], v)
        if form in ("has", "can", "beast_has", "kind_has"):
            return self._fault_of_answer(form, v)
        if form in ("refound", "brought", "kept", "is"):
            return self._fault_of_place(form, v)
        if form == "sad":
            return self._fault_of_pronoun(v["He"], self.last_actor)
        if form == "searched":
            return self._fault_of_pronoun(v["He"], self.last_actor) or self._fault_of_search(v)
        if form == "thanked":
            if v["name"] != self.last_actor:
                return f"{v['name']} has not just given anything"
            return self._fault_of_pronoun(v["He"], self.last_receiver)
        if form in ("sounds", "rest"):
            known = (v["animal"], v["young"]) == self.animals
            return "" if known else f"the story has no {v['animal']} with a {v['young']}"
        if form in ("more", "ate", "shared", "now"):
            return self._fault_of_sum(form, v)
        return None

    def learn(self, form: str, v: Values) -> None:
        """Take what the sentence says as said."""
        self._learn_people(form, v)
        self._learn_things(form, v)
        if form == "had":
            self.fruit = (v["name"], v["fruit"], NUMBERS[v["number"]])
        elif form in ("more", "ate", "shared", "now") and self.fruit:
            owner, fruit, count = self.fruit
            change = NUMBERS[v["number"]]
            after = {"more": count + change, "now": change}.get(form, count - change)
            self.fruit = (owner, fruit, after)
        self.asked = None
        if form in QUESTIONS:
            self.asked = v["thing"] if "thing" in v else THING_FOR[v["do"]]

    def _learn_people(self, form: str, v: Values) -> None:
        if form in ("once", "friend"):
            self.people[v["name"]] = Person(v["name"], v["kind"])
        elif form == "relative" and self.people:
            hero = self.people[self._hero_name()]
            self.people[v["name"]] = Person(v["name"], relative_kind(hero, v["relative"]))
        elif form == "pet":
            self.animals = (v["animal"], v["young"])

    def _learn_things(self, form: str, v: Values) -> None:
        if form in ("gave", "lost"):
            self.last_actor, self.last_receiver = v["name"], v.get("name2")
        if "thing" not in v or form in QUESTIONS or form in ("kind_has", "can", "searched"):
            return
        if form in ("lost", "is"):
            self.things[v["thing"]] = _Thing(v["colour"], None, v["place"])
        else:
            holder = v.get("name2") or v.get("name") or v["beast"]
            self.things[v["thing"]] = _Thing(v["colour"], holder)

    def _hero_name(self) -> str | None:
        return next(iter(self.people), None)

    def _fault_of_description(self, form: str, v: Values) -> str:
        if form == "night":
            known = [p for p in self.people.values() if p.name == v["name"]]
        else:
            known = [p for p in self.people.values() if p.kind == v["kind"]]
        if not known:
            return f"the story has no {v.get('name') or v['kind']}"
        person = known[-1]
        true = {
            "age": person.age,
            "home": HOME[person.rank],
            "wear": HEADWEAR[person.rank],
            "his": person.pronouns["his"],
            "He": person.pronouns["He"],
        }
        wrong = [word for slot, word in v.items() if true.get(slot, word) != word]
        return f"{wrong[0]!r} does not fit a {person.kind}" if wrong else ""

    def _fault_of_pronoun(self, pronoun: str, name: str | None) -> str:
        if name not in self.people:
            return f"the story has not said who {pronoun!r} is"
        person = self.people[name]
        fits = pronoun in person.pronouns.values()
        return "" if fits else f"{pronoun!r} does not fit {name}, a {person.kind}"

    def _fault_of_thing(self, v: Values) -> str:
        thing = self.things.get(v["thing"])
        if thing is None:
            return f"nobody has found a {v['thing']} yet"
        return "" if thing.colour == v["colour"] else f"the {v['thing']} is {thing.colour}"

    def _fault_of_holder(self, holder: str, v: Values) -> str:
        thing = self.things.get(v["thing"])
        wrong = self._fault_of_thing(v)
        return wrong or ("" if thing.holder == holder else thing.where())

    def _fault_of_place(self, form: str, v: Values) -> str:
        wrong = self._fault_of_thing(v)
        if wrong:
            return wrong
        thing = self.things[v["thing"]]
        if thing.holder:
            return thing.where()
        if form in ("brought", "kept"):
            return "" if v["beast"] in self.animals else f"the story has no {v['beast']}"
        if self.asked not in (None, v["thing"]):
            return f"the question was about the {self.asked}"
        return "" if v["place"] == thing.place else thing.where()

    def _fault_of_search(self, v: Values) -> str:
        thing = self.things.get(v["thing"])
        if thing is None:
            return f"nobody has found a {v['thing']} yet"
        return thing.where() if thing.holder else ""

    def _fault_of_answer(self, form: str, v: Values) -> str:
        if self.asked not in (None, v["thing"]):
            return f"the question was about the {self.asked}"
        if form == "can" and THING_FOR[v["do"]] != v["thing"]:
            return f"to {v['do']} takes a {THING_FOR[v['do']]}"
        if form != "kind_has":
            return self._fault_of_holder(v.get("name") or v["beast"], v)
        named = [p.name for p in self.people.values() if p.kind == v["kind"] and p.age == v["age"]]
        if not named:
            return f"the story has no {v['age']} {v['kind']}"
        faults = [self._fault_of_holder(name, v) for name in named]
        return "" if "" in faults else faults[0]

    def _fault_of_sum(self, form: str, v: Values) -> str:
        if self.fruit is None:
            return "the story has not said who had how many"
        owner, fruit, count = self.fruit
        if form == "more":
            return self._fault_of_pronoun(v["him"], owner)
        if v["name"] != owner or v["fruit"] != fruit:
            return f"it was {owner} who had {fruit}"
        if form == "now":
            true = NUMBER_WORD.get(count, str(count))
            return "" if NUMBERS[v["number"]] == count else f"{owner} had {true} {fruit}"
        return "" if NUMBERS[v["number"]] <= count else f"{owner} had only {count} {fruit}"
