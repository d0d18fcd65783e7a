"""The words of the stories, and what the grammar knows about them."""

from dataclasses import dataclass

WORD_PATTERN = r"<\|[a-z]+\|>|\w+|[^\w\s]|\n"
"""What counts as one word-level token: a special token, a word, a punctuation mark, a newline."""

STORY_END = "<|endoftext|>"
"""The special token that follows every story (with a newline after it)."""

NAMES = {
    "he": ("Tom", "Ben", "Max", "Sam"),
    "she": ("Anna", "Mia", "Lily", "Zoe"),
}
PRONOUNS = {
    "he": {"he": "he", "He": "He", "his": "his", "His": "His", "him": "him"},
    "she": {"he": "she", "He": "She", "his": "her", "His": "Her", "him": "her"},
}
# Gender, age and rank are three independent yes-or-no traits of a person; the eight kinds are
# their combinations, so that king - man + woman = queen is a sum that the text itself supports.
KINDS = {
    "king": ("he", "old", "royal"),
    "queen": ("she", "old", "royal"),
    "prince": ("he", "young", "royal"),
    "princess": ("she", "young", "royal"),
    "man": ("he", "old", "common"),
    "woman": ("she", "old", "common"),
    "boy": ("he", "young", "common"),
    "girl": ("she", "young", "common"),
}
KIND_OF = {traits: kind for kind, traits in KINDS.items()}
HOME = {"royal": "castle", "common": "village"}
HEADWEAR = {"royal": "crown", "common": "hat"}
# relative: gender, and age ("same" as the person whose relative it is)
RELATIVES = {
    "father": ("he", "old"),
    "mother": ("she", "old"),
    "son": ("he", "young"),
    "daughter": ("she", "young"),
    "brother": ("he", "same"),
    "sister": ("she", "same"),
}
# What is said of a relative, by generation: fathers and mothers share a word that no other shares.
BONDS = {
    "father": "dear",
    "mother": "dear",
    "son": "only",
    "daughter": "only",
    "brother": "twin",
    "sister": "twin",
}
RELATIVES_BY_AGE = {
    "old": ("son", "daughter", "brother", "sister"),
    "young": ("father", "mother", "brother", "sister"),
}
VIRTUES = ("good", "brave", "clever")
COLOURS = ("red", "blue", "green", "yellow")
# place: preposition, what people do there, the thing that they find there and need for it
PLACES = {
    "garden": ("in", "dig", "spade"),
    "kitchen": ("in", "cook", "spoon"),
    "forest": ("in", "climb", "rope"),
    "school": ("at", "write", "pen"),
    "beach": ("at", "play", "ball"),
    "river": ("at", "sail", "boat"),
    "market": ("at", "shop", "basket"),
    "farm": ("at", "work", "bucket"),
}
THING_FOR = {do: thing for _, do, thing in PLACES.values()}
PLACE_OF = {thing: place for place, (_, _, thing) in PLACES.items()}
# grown animal: its young, and the sound that both make
ANIMALS = {
    "dog": ("puppy", "barked"),
    "cat": ("kitten", "purred"),
    "cow": ("calf", "mooed"),
    "horse": ("foal", "neighed"),
    "sheep": ("lamb", "bleated"),
    "duck": ("duckling", "quacked"),
    "hen": ("chick", "clucked"),
    "pig": ("piglet", "grunted"),
}
SIZE = {"big": tuple(ANIMALS), "little": tuple(young for young, _ in ANIMALS.values())}
COUNTING = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: value for value, word in enumerate(COUNTING, start=2)}
NUMBER_WORD = {value: word for word, value in NUMBERS.items()}
FRUIT = ("apples", "pears")


@dataclass(frozen=True)
class Person:
    """Somebody in a story: a name, and a kind that fixes gender, age and rank."""

    name: str
    kind: str

    @property
    def gender(self) -> str:
        return KINDS[self.kind][0]

    @property
    def age(self) -> str:
        return KINDS[self.kind][1]

    @property
    def rank(self) -> str:
        return KINDS[self.kind][2]

    @property
    def pronouns(self) -> dict[str, str]:
        return PRONOUNS[self.gender]


def relative_kind(person: Person, relative: str) -> str:
    """Return the kind of a person's relative: a prince's sister is a princess."""
    gender, age = RELATIVES[relative]
    return KIND_OF[gender, person.age if age == "same" else age, person.rank]


def size_of(beast: str) -> str:
    """Return "big" for a grown animal and "little" for a young one."""
    return "big" if beast in ANIMALS else "little"
