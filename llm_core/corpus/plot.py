"""The plots: which sentence forms may come next in a story, and with which words."""

from dataclasses import dataclass

from llm_core.corpus.telling import MAX_SENTENCES, STOP, Line, Teller, Values
from llm_core.corpus.words import (
    ANIMALS,
    BONDS,
    COLOURS,
    FRUIT,
    HEADWEAR,
    HOME,
    KINDS,
    NAMES,
    NUMBER_WORD,
    NUMBERS,
    PLACE_OF,
    PLACES,
    RELATIVES,
    RELATIVES_BY_AGE,
    THING_FOR,
    VIRTUES,
    Person,
    relative_kind,
    size_of,
)

QUESTIONS = ("who", "who_can", "where")


@dataclass
class Thing:
    """Something found: its colour, and who holds it (a person or an animal) or where it is lost."""

    name: str
    colour: str
    holder: Person | str | None = None
    place: str | None = None


def tell_story(teller: Teller) -> None:
    """Tell one story: somebody, and then things, animals or sums."""
    form, values = teller.tell(Line("once", 1, {"kind": tuple(KINDS), "name": _name_for_kind}))
    hero = Person(values["name"], values["kind"])
    teller.tell(*_description_lines(hero))
    form, values = teller.tell(_relative_line(hero), _friend_line(hero), _pet_line(hero))
    if form == "pet":
        _tell_pets(teller, hero, values)
        return
    kind = values["kind"] if form == "friend" else relative_kind(hero, values["relative"])
    other = Person(values["name"], kind)
    starts = [_find_line("find", hero, 3), _had_line(hero)]
    about_other = _description_lines(other, 0.5) if other.kind != hero.kind else []
    form, values = teller.tell(*starts, *about_other)
    if form not in ("find", "had"):
        form, values = teller.tell(*starts)
    if form == "find":
        _tell_things(teller, hero, other, values)
    else:
        _tell_sums(teller, hero, other, values)


def _name_for_kind(values: Values) -> tuple[str, ...]:
    return NAMES[KINDS[values["kind"]][0]]


def _without(names: tuple[str, ...], *taken: str) -> tuple[str, ...]:
    return tuple(name for name in names if name not in taken)


# People --------------------------------------------------------------------------------------


def _description_lines(person: Person, weight: float = 1) -> list[Line]:
    kind = {"age": person.age, "kind": person.kind}
    his = person.pronouns["his"]
    return [
        Line("home", weight, {**kind, "home": HOME[person.rank]}),
        Line("wear", weight, {**kind, "wear": HEADWEAR[person.rank], "his": his}),
        Line("virtue", weight, {"He": person.pronouns["He"], "virtue": VIRTUES, **kind}),
    ]


def _relative_line(hero: Person) -> Line:
    def names(values: Values) -> tuple[str, ...]:
        return _without(NAMES[RELATIVES[values["relative"]][0]], hero.name)

    slots = {
        "His": hero.pronouns["His"],
        "relative": RELATIVES_BY_AGE[hero.age],
        "bond": lambda values: BONDS[values["relative"]],
        "name": names,
    }
    return Line("relative", 4, slots)


def _friend_line(hero: Person) -> Line:
    def names(values: Values) -> tuple[str, ...]:
        return _without(_name_for_kind(values), hero.name)

    return Line("friend", 3, {"He": hero.pronouns["He"], "kind": tuple(KINDS), "name": names})


def _night_line(hero: Person) -> Line:
    return Line("night", 1, {"name": hero.name, "home": HOME[hero.rank]})


# Things lost and found -----------------------------------------------------------------------


def _find_line(form: str, finder: Person, weight: float, taken: tuple[str, ...] = ()) -> Line:
    slots = {
        "name": finder.name,
        "place": tuple(place for thing, place in PLACE_OF.items() if thing not in taken),
        "do": lambda values: PLACES[values["place"]][1],
        "colour": COLOURS,
        "thing": lambda values: PLACES[values["place"]][2],
    }
    return Line(form, weight, slots)


def _tell_things(teller: Teller, hero: Person, other: Person, found: Values) -> None:
    """One or two things are found, given away or lost; then comes a question about one."""
    people, last_holder = (hero, other), hero
    thing = Thing(found["thing"], found["colour"], holder=hero)
    things = {thing.name: thing}
    second = _find_line("then_find", other, 2, taken=(thing.name,))
    form, values = teller.tell(second, *_event_lines(things, people))
    if form == "then_find":
        things[values["thing"]] = Thing(values["thing"], values["colour"], holder=other)
        form, values = teller.tell(*_event_lines(things, people))
    while form not in QUESTIONS:
        if "thing" in values:
            thing = things[values["thing"]]
        last_holder = _apply_event(form, thing, values, people) or last_holder
        lines = _question_lines(things)
        if teller.room > 0:
            lines += _reaction_lines(form, thing, last_holder, things, people)
        form, values = teller.tell(*lines)
    _answer(teller, form, values, things, people)


def _apply_event(
    form: str, thing: Thing, values: Values, people: tuple[Person, Person]
) -> Person | None:
    """Note what a sentence did to `thing`; return who gave or lost it, if somebody did."""
    before = thing.holder
    if form == "gave":
        thing.holder = _partner(before, people)
    elif form == "lost":
        thing.holder, thing.place = None, values["place"]
    elif form == "refound":
        thing.holder = next(person for person in people if person.name == values["name"])
    return before if form in ("gave", "lost") else None


def _reaction_lines(
    form: str,
    thing: Thing,
    last_holder: Person,
    things: dict[str, Thing],
    people: tuple[Person, Person],
) -> list[Line]:
    """Return what may follow a sentence about `thing`, which `last_holder` gave away or lost."""
    if form == "gave":
        he = thing.holder.pronouns["He"]
        return [Line("thanked", 4, {"He": he, "name": last_holder.name}), _took_line(thing)]
    if form == "thanked":
        return [_took_line(thing), *_event_lines(things, people, just_given=thing)]
    if form == "took":
        return _event_lines(things, people)
    if form == "refound":
        return [_gave_line([thing], people), _took_line(thing)]
    if form == "searched":
        return []
    finder = _partner(last_holder, people)
    refound = {
        "name": finder.name,
        "place": thing.place,
        "colour": thing.colour,
        "thing": thing.name,
    }
    lines = [Line("refound", 5, refound), _searched_line(last_holder, thing)]
    return lines if form == "sad" else [Line("sad", 4, {"He": last_holder.pronouns["He"]}), *lines]


def _event_lines(
    things: dict[str, Thing], people: tuple[Person, Person], just_given: Thing | None = None
) -> list[Line]:
    held = [thing for thing in things.values() if thing.holder]
    givable = [thing for thing in held if thing is not just_given]
    lines = [_lost_line(held)]
    return [_gave_line(givable, people), *lines] if givable else lines


def _gave_line(things: list[Thing], people: tuple[Person, Person]) -> Line:
    by_name = {thing.name: thing for thing in things}
    slots = {
        "thing": tuple(by_name),
        "name": lambda values: by_name[values["thing"]].holder.name,
        "colour": lambda values: by_name[values["thing"]].colour,
        "name2": lambda values: _partner(by_name[values["thing"]].holder, people).name,
    }
    return Line("gave", 3, slots)


def _lost_line(things: list[Thing]) -> Line:
    by_name = {thing.name: thing for thing in things}

    def elsewhere(values: Values) -> tuple[str, ...]:
        return tuple(place for thing, place in PLACE_OF.items() if thing != values["thing"])

    slots = {
        "thing": tuple(by_name),
        "name": lambda values: by_name[values["thing"]].holder.name,
        "colour": lambda values: by_name[values["thing"]].colour,
        "place": elsewhere,
        "prep": lambda values: PLACES[values["place"]][0],
    }
    return Line("lost", 2, slots)


def _took_line(thing: Thing) -> Line:
    place = PLACE_OF[thing.name]
    slots = {
        "name": thing.holder.name,
        "colour": thing.colour,
        "thing": thing.name,
        "place": place,
        "do": PLACES[place][1],
    }
    return Line("took", 4, slots)


def _searched_line(person: Person, thing: Thing) -> Line:
    slots = {"He": person.pronouns["He"], "thing": thing.name, "he": person.pronouns["he"]}
    return Line("searched", 2, slots)


def _question_lines(things: dict[str, Thing]) -> list[Line]:
    """Return the questions that can be answered: who has a thing, who can use one, where one is."""
    held = tuple(name for name, thing in things.items() if thing.holder)
    used = tuple(name for name in held if isinstance(things[name].holder, Person))
    lost = tuple(name for name, thing in things.items() if not thing.holder)
    lines = [
        Line("who", len(held), {"thing": held}),
        Line("who_can", len(used), {"do": tuple(PLACES[PLACE_OF[name]][1] for name in used)}),
        Line("where", 2 * len(lost), {"thing": lost}),
    ]
    return [line for line in lines if line.weight]


def _answer(
    teller: Teller,
    form: str,
    asked: Values,
    things: dict[str, Thing],
    people: tuple[Person, ...],
) -> None:
    """Tell the one true answer to a question; a person may be named by name or by kind."""
    thing = things[asked["thing"] if "thing" in asked else THING_FOR[asked["do"]]]
    holder = thing.holder
    slots = {"colour": thing.colour, "thing": thing.name}
    if form == "where":
        prep = PLACES[thing.place][0]
        teller.tell(Line("is", 1, {**slots, "prep": prep, "place": thing.place}))
    elif form == "who_can":
        teller.tell(Line("can", 1, {"name": holder.name, "do": asked["do"], **slots}))
    elif isinstance(holder, str):
        beast = {"size": size_of(holder), "beast": holder}
        teller.tell(Line("beast_has", 1, {**beast, **slots}))
    else:
        lines = [Line("has", 1, {"name": holder.name, **slots})]
        if sum(person.kind == holder.kind for person in people) == 1:
            lines.append(Line("kind_has", 1, {"age": holder.age, "kind": holder.kind, **slots}))
        teller.tell(*lines)


def _partner(person: Person, people: tuple[Person, Person]) -> Person:
    return people[1] if person is people[0] else people[0]


# Animals and their young ---------------------------------------------------------------------


def _pet_line(hero: Person) -> Line:
    young = {"young": lambda values: ANIMALS[values["animal"]][0]}
    return Line("pet", 3, {"He": hero.pronouns["He"], "animal": tuple(ANIMALS), **young})


def _tell_pets(teller: Teller, hero: Person, pets: Values) -> None:
    """The animals make themselves heard; perhaps one of them finds what its owner loses."""
    animals = {"animal": pets["animal"], "young": pets["young"]}
    sound = ANIMALS[pets["animal"]][1]
    sounds = Line("sounds", 1, {**animals, "sound": sound, "sound2": sound})
    rest = Line("rest", 1, animals)
    form, _ = teller.tell(sounds, rest)
    ends = (_find_line("find", hero, 3), _night_line(hero))
    form, values = teller.tell(*ends, rest if form == "sounds" else sounds)
    if form in ("sounds", "rest"):
        form, values = teller.tell(*ends)
    if form == "night":
        return
    thing = Thing(values["thing"], values["colour"], holder=hero)
    _, values = teller.tell(_lost_line([thing]))
    thing.holder, thing.place = None, values["place"]
    things = {thing.name: thing}
    lines = _question_lines(things)
    if teller.room > 0:
        lines += [*_beast_lines(thing, hero, animals), _searched_line(hero, thing)]
    form, values = teller.tell(*lines)
    if form in ("brought", "kept"):
        thing.holder = hero if form == "brought" else values["beast"]
    if form == "brought" and teller.room > 0:
        form, values = teller.tell(_took_line(thing), *_question_lines(things))
    if form not in QUESTIONS:
        form, values = teller.tell(*_question_lines(things))
    _answer(teller, form, values, things, (hero,))


def _beast_lines(thing: Thing, hero: Person, animals: Values) -> list[Line]:
    slots = {
        "beast": tuple(animals.values()),
        "size": lambda values: size_of(values["beast"]),
        "sound": ANIMALS[animals["animal"]][1],
        "colour": thing.colour,
        "thing": thing.name,
    }
    return [Line("brought", 3, {**slots, "name": hero.name}), Line("kept", 3, slots)]


# Sums ----------------------------------------------------------------------------------------


def _had_line(hero: Person) -> Line:
    numbers = ("three", "four", "five", "six")
    return Line("had", 2, {"name": hero.name, "number": numbers, "fruit": FRUIT})


def _tell_sums(teller: Teller, hero: Person, other: Person, had: Values) -> None:
    """One or two times something is added or taken away; each time the story says what is left."""
    count, fruit = NUMBERS[had["number"]], had["fruit"]
    form, values = teller.tell(*_sum_lines(hero, other, count, fruit))
    for turn in (1, 2):
        change = NUMBERS[values["number"]]
        count += change if form == "more" else -change
        now = {"name": hero.name, "number": NUMBER_WORD[count], "fruit": fruit}
        teller.tell(Line("now", 1, now))
        ends = [STOP] if teller.n_sentences == MAX_SENTENCES else [STOP, _night_line(hero)]
        again = turn == 1 and teller.n_sentences + 2 <= MAX_SENTENCES
        form, values = teller.tell(*ends, *(_sum_lines(hero, other, count, fruit) if again else ()))
        if form in (None, "night"):
            return


def _sum_lines(hero: Person, other: Person, count: int, fruit: str) -> list[Line]:
    """Return the ways in which `count` pieces can grow (to ten at most) or shrink (to two)."""
    add = tuple(NUMBER_WORD[n] for n in range(2, min(4, 10 - count) + 1))
    take = tuple(NUMBER_WORD[n] for n in range(2, min(4, count - 2) + 1))
    lines = []
    if add:
        more = {"name": other.name, "him": hero.pronouns["him"], "number": add}
        lines.append(Line("more", 2, more))
    if take:
        ate = {"name": hero.name, "number": take, "fruit": fruit}
        lines += [Line("ate", 1, ate), Line("shared", 1, {**ate, "name2": other.name})]
    return lines
