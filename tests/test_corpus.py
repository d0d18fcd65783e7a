"""The texts: the grammar of the stories, its probabilities, the checker, loading and cleaning."""

import contextlib
import http.server
import itertools
import math
import random
import re
import threading
import unicodedata
import urllib.error
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_core import corpus, files
from llm_core.corpus import (
    STORY_END,
    WORD_PATTERN,
    check_stories,
    clean_text,
    entropy_floor,
    load_text,
    loading,
    split_text,
    stories,
    story_log_prob,
    story_vocabulary,
    strip_markup,
)
from llm_core.corpus.forms import FORM_PATTERNS, FORMS, SLOT_WORDS, split_sentences
from llm_core.corpus.grammar import _draw
from llm_core.corpus.plot import tell_story
from llm_core.corpus.telling import Writer
from llm_core.corpus.words import ANIMALS, KINDS, NAMES, PLACES

SHAKESPEARE = Path(__file__).resolve().parents[2] / "shared" / "data" / "tinyshakespeare.txt"

# The grammar --------------------------------------------------------------------------------


def words_at_each_place(form):
    """The set of words that each token of a form can be: one word for a literal token."""
    tokens = re.findall(r"{\w+}|\w+|[^\w\s]", FORMS[form])
    return [
        set(SLOT_WORDS[token[1:-1].rstrip("2")]) if token[0] == "{" else {token} for token in tokens
    ]


def test_no_sentence_has_two_forms():
    # Forms are rows of one-word places: two can share a sentence only if all their places can.
    for a, b in itertools.combinations(FORMS, 2):
        places_a, places_b = words_at_each_place(a), words_at_each_place(b)
        shared = len(places_a) == len(places_b) and all(map(set.intersection, places_a, places_b))
        assert not shared, (a, b)


def test_slot_words_are_single_tokens_without_doubles():
    for slot, words in SLOT_WORDS.items():
        assert len(set(words)) == len(words), slot
        assert all(re.findall(WORD_PATTERN, word) == [word] for word in words), slot


def test_stories_are_reproducible_and_differ_by_seed():
    assert stories(20, seed=3) == stories(20, seed=3)
    assert stories(50, seed=3)[:20] == stories(20, seed=3)
    assert stories(20, seed=3) != stories(20, seed=4)


def test_stories_have_the_promised_size():
    drawn = stories(1000)
    sentences = [len(split_sentences(story)) for story in drawn]
    words = [len(re.findall(r"\w+", story)) for story in drawn]
    assert 4 <= min(sentences) <= 6
    assert max(sentences) == 9
    assert 45 <= sum(words) / len(words) <= 80
    assert all("\n" not in story and STORY_END not in story for story in drawn)


def test_every_form_and_every_word_occurs():
    text = " ".join(stories(2000))
    seen = {form for s in split_sentences(text) for form, p in FORM_PATTERNS.items() if p.match(s)}
    assert seen == set(FORMS)
    assert set(re.findall(WORD_PATTERN, text)) == set(story_vocabulary())


def test_vocabulary_is_small_and_sorted():
    vocabulary = story_vocabulary()
    assert vocabulary == sorted(set(vocabulary))
    assert 70 <= len(vocabulary) <= 165


def test_parsed_probability_equals_the_accumulated_one():
    for story, log_prob in _draw(1000, seed=11):
        assert story_log_prob(story) == pytest.approx(log_prob, abs=1e-9)


class RecordingWriter(Writer):
    def __init__(self, rng):
        super().__init__(rng)
        self.choices = []

    def _line(self, lines):
        line = super()._line(lines)
        self.choices.append(line.form)
        return line

    def _word(self, slot, options):
        word = super()._word(slot, options)
        self.choices.append((slot, word))
        return word


def test_different_choices_give_different_texts():
    rng = random.Random(5)
    choices_of = {}
    for _ in range(3000):
        writer = RecordingWriter(rng)
        tell_story(writer)
        choices = choices_of.setdefault(" ".join(writer.sentences), writer.choices)
        assert choices == writer.choices
    assert len(choices_of) == len({tuple(choices) for choices in choices_of.values()})


class ExhaustiveWriter(Writer):
    """Follows a given row of choices by number, then takes the first of each, and notes widths."""

    def __init__(self, path):
        super().__init__(random.Random(0))
        self.path, self.widths = path, []

    def _take(self, options):
        at = len(self.widths)
        self.widths.append(len(options))
        return options[self.path[at] if at < len(self.path) else 0]

    def _line(self, lines):
        if self.n_sentences == 3:
            raise StopIteration
        return self._take(lines)

    def _word(self, slot, options):
        return self._take(options)


def every_opening(first_choices):
    """Yield (text, ln p) of every way to tell the first three sentences, depth first."""
    path = list(first_choices)
    while True:
        writer = ExhaustiveWriter(path)
        with contextlib.suppress(StopIteration):
            tell_story(writer)
        yield " ".join(writer.sentences), writer.log_prob
        path += [0] * (len(writer.widths) - len(path))
        while path and path[-1] + 1 >= writer.widths[len(path) - 1]:
            path.pop()
        if len(path) <= len(first_choices):
            return
        path[-1] += 1


def test_probabilities_of_all_openings_sum_to_one():
    # One kind of hero and one name fixed; every continuation over two more sentences enumerated.
    openings = list(every_opening([0, 0, 0]))
    texts = [text for text, _ in openings]
    assert len(set(texts)) == len(texts) > 100
    share_of_hero = 1 / len(KINDS) / len(NAMES["he"])
    assert math.fsum(math.exp(p) for _, p in openings) == pytest.approx(share_of_hero)


def test_frequencies_agree_with_the_probabilities():
    n = 4000
    firsts = Counter(split_sentences(story)[0] for story in stories(n, seed=8))
    p = 1 / len(KINDS) / len(NAMES["he"])
    assert len(firsts) == 1 / p
    spread = math.sqrt(n * p * (1 - p))
    assert all(abs(count - n * p) < 4.5 * spread for count in firsts.values())
    third = Counter("friend" in split_sentences(story)[2] for story in stories(n, seed=8))
    assert third[True] / n == pytest.approx(0.3, abs=4.5 * math.sqrt(0.21 / n))


STORY = (
    "Once there was a king called Tom. The old king lived in the castle. "
    "His only son was called Ben. One day Tom went to the garden to dig and found a red spade. "
    "Tom gave the red spade to Ben. He thanked Tom and smiled. "
    "Who has the spade now? The young prince has the red spade."
)


def test_one_probability_by_hand():
    factors = [
        (1, 8, 4),  # kind, name
        (1, 3),  # of three descriptions
        (4, 10),  # relative, friend or pet
        (1, 4, 3),  # son, of four relatives; Ben, of three names left
        (3, 6.5),  # find, had, or one of three about Ben with half a weight each
        (1, 8, 4),  # place, colour
        (3, 7),  # gave, then_find (2), lost (2)
        (4, 10),  # thanked, took (4), who, who_can
        (1, 8),  # who, among took (4), lost (2), who (1), who_can (1)
        (1, 2),  # answered by the kind
    ]
    expected = sum(math.log(top) - sum(map(math.log, below)) for top, *below in factors)
    assert story_log_prob(STORY) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Once", "once", "sentence 1"),
        ("called Tom", "called Anna", "'Anna' cannot be"),
        ("The old king", "The young king", "'young' cannot be"),
        ("His only son", "Her only son", "'Her' cannot be"),
        ("His only son was", "His only uncle was", "allows only"),
        ("His only son", "His dear son", "'dear' cannot be"),
        ("to dig", "to cook", "'cook' cannot be"),
        ("The young prince has the red", "Tom has the red", "'Tom' cannot be"),
        ("The young prince has the red", "Ben has the blue", "'blue' cannot be"),
        ("He thanked", " He thanked", "one space"),
        ("red spade.", "red spade. ", "one space"),
        (" Who has the spade now? The young prince has the red spade.", "", "None"),
        ("prince has the red spade.", "prince has the red spade. Ben was sad.", "complete"),
        ("prince has the red spade.", "prince has the red", "allows only"),
    ],
)
def test_texts_outside_the_grammar_are_refused(old, new, message):
    with pytest.raises(ValueError, match=message):
        story_log_prob(STORY.replace(old, new))


# The floor ----------------------------------------------------------------------------------


def test_floor_is_the_mean_surprise_and_its_error_is_right():
    floor = entropy_floor(500, seed=2)
    log_probs = [story_log_prob(story) for story in stories(500, seed=2)]
    assert floor.per_story == pytest.approx(-sum(log_probs) / 500)
    text = "".join(story + STORY_END + "\n" for story in stories(500, seed=2))
    tokens = re.findall(WORD_PATTERN, text)
    assert tokens.count(STORY_END) == 500
    assert floor.per_token == pytest.approx(-sum(log_probs) / len(tokens))
    assert floor.per_byte == pytest.approx(-sum(log_probs) / len(text.encode()))
    others = [entropy_floor(500, seed=seed).per_story for seed in range(10, 22)]
    mean = sum(others) / len(others)
    spread = math.sqrt(sum((other - mean) ** 2 for other in others) / (len(others) - 1))
    assert 0.5 < spread / floor.standard_error < 2
    assert abs(mean - floor.per_story) < 4 * floor.standard_error


def test_floor_is_low():
    assert 0.15 < entropy_floor(500).per_token < 0.6


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stories(0), ValueError, "n_stories"),
        (lambda: stories(2.5), TypeError, "n_stories"),
        (lambda: stories(None), TypeError, "n_stories"),
        (lambda: stories(True), TypeError, "n_stories"),
        (lambda: stories(3, seed="a"), TypeError, "seed"),
        (lambda: stories(3, seed=None), TypeError, "seed"),
        (lambda: entropy_floor(1), ValueError, "n_stories"),
        (lambda: entropy_floor(-5), ValueError, "n_stories"),
        (lambda: story_log_prob(""), ValueError, "story"),
        (lambda: story_log_prob(None), TypeError, "story"),
        (lambda: story_log_prob(["a"]), TypeError, "story"),
        (lambda: check_stories(None), TypeError, "text"),
        (lambda: check_stories(b"Tom"), TypeError, "text"),
        (lambda: clean_text(None), TypeError, "text"),
        (lambda: split_text(3), TypeError, "text"),
        (lambda: split_text(""), ValueError, "text"),
        (lambda: split_text("a"), ValueError, "too short"),
        (lambda: split_text("a b", 0), ValueError, "val_fraction"),
        (lambda: split_text("a b", 1.0), ValueError, "val_fraction"),
        (lambda: split_text("a b", -0.1), ValueError, "val_fraction"),
        (lambda: split_text("a b", float("nan")), ValueError, "val_fraction"),
        (lambda: split_text("a b", "0.1"), TypeError, "val_fraction"),
        (lambda: split_text("a b", True), TypeError, "val_fraction"),
        (lambda: split_text("One." + STORY_END + "\n"), ValueError, "one story only"),
        (lambda: load_text(""), ValueError, "'stories', 'python-docs', 'shakespeare'"),
        (lambda: load_text("a" * 5000), ValueError, "5000 characters, too many for a path"),
        (lambda: load_text(None), TypeError, "name_or_path"),
        (lambda: load_text(7), TypeError, "name_or_path"),
        (lambda: load_text("storys"), FileNotFoundError, "'stories', 'python-docs'"),
        (lambda: load_text("no/such/file.txt"), FileNotFoundError, "no file"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


# The checker --------------------------------------------------------------------------------


def test_our_own_stories_are_without_fault():
    text = "".join(story + STORY_END + "\n" for story in stories(300, seed=21))
    report = check_stories(text)
    assert report.n_sentences == report.n_well_formed > 1500
    assert report.n_facts == report.n_true_facts > 1000
    assert report.n_stories == report.n_legal_stories == 300
    assert report.examples_of_errors == ()
    shares = (report.share_well_formed, report.share_true_facts, report.share_legal_stories)
    assert shares == (1, 1, 1)
    without_ends = check_stories("\n".join(stories(300, seed=21)))
    assert without_ends.n_true_facts == report.n_true_facts
    assert without_ends.n_facts == report.n_facts


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("The old king lived", "The old queen lived", "no queen"),
        ("The old king lived", "The young king lived", "'young' does not fit"),
        ("in the castle", "in the village", "'village' does not fit"),
        ("His only son", "Her only son", "'Her' does not fit Tom"),
        ("Tom gave", "Ben gave", "Tom has it"),
        ("gave the red spade", "gave the red ball", "nobody has found a ball"),
        ("gave the red spade", "gave the blue spade", "the spade is red"),
        ("He thanked Tom", "She thanked Tom", "'She' does not fit Ben"),
        ("He thanked Tom", "He thanked Ben", "not just given"),
        ("The young prince has", "The old king has", "Ben has it"),
        ("The young prince has", "The young queen has", "no young queen"),
        ("The young prince has", "Tom has", "Ben has it"),
        ("has the red spade", "has the green spade", "the spade is red"),
        ("Who has the spade", "Who has the ball", "the question was about the ball"),
    ],
)
def test_a_false_fact_is_counted_once_and_explained(old, new, why):
    right, wrong = check_stories(STORY), check_stories(STORY.replace(old, new))
    assert right.n_true_facts == right.n_facts
    assert wrong.n_well_formed == wrong.n_sentences == right.n_sentences
    assert why in " ".join(reason for _, reason in wrong.examples_of_errors)
    assert 1 <= wrong.n_facts - wrong.n_true_facts <= 2


SUMS = (
    "Once there was a girl called Mia. She was a good young girl. Her twin brother was called Max. "
    "One day Mia had five pears. Max gave her two more. Now Mia had seven pears. "
    "Mia ate four pears. Now Mia had three pears. At night Mia went home to the village."
)
LOST = (
    "Once there was a man called Sam. He was a good old man. He had a big dog and a little puppy. "
    "The big dog slept and the little puppy played. "
    "One day Sam went to the river to sail and found a blue boat. "
    "Later Sam lost the blue boat in the forest. Where is the boat now? "
    "The blue boat is in the forest."
)


@pytest.mark.parametrize(
    ("story", "old", "new", "why"),
    [
        (SUMS, "had seven", "had eight", "Mia had seven pears"),
        (SUMS, "gave her", "gave him", "'him' does not fit Mia"),
        (SUMS, "had three pears", "had three apples", "it was Mia who had pears"),
        (SUMS, "Now Mia had three", "Now Max had three", "it was Mia who had pears"),
        (SUMS, "ate four", "ate nine", "Mia had only 7 pears"),
        (SUMS, "home to the village", "home to the castle", "'castle' does not fit a girl"),
        (SUMS, "One day Mia", "One day Zoe", "no Zoe"),
        (LOST, "boat is in the forest", "boat is at the beach", "lost in the forest"),
        (LOST, "blue boat is", "red boat is", "the boat is blue"),
        (
            LOST,
            "Where is the boat now?",
            "He looked for the ball, but he did not find it.",
            "a ball",
        ),
        (
            LOST,
            "Where is the boat now?",
            "She looked for the boat, but she did not find it.",
            "Sam",
        ),
        (
            LOST,
            "Where is the boat now?",
            "The little calf mooed, found the blue boat and kept it.",
            "calf",
        ),
        (LOST, "Where is the boat now?", "Who has the spade now?", "about the spade"),
        (LOST, "the little puppy", "the little calf", "no dog with a calf"),
        (
            LOST,
            "The blue boat is in the forest.",
            "The big dog has the blue boat.",
            "lost in the forest",
        ),
    ],
)
def test_sums_places_and_animals_are_judged(story, old, new, why):
    assert story_log_prob(story) < 0
    assert check_stories(story).examples_of_errors == ()
    report = check_stories(story.replace(old, new))
    assert report.n_true_facts < report.n_facts
    assert why in report.examples_of_errors[0][1]


def test_a_text_that_breaks_off_and_garbage():
    cut = check_stories(STORY[:-8])
    assert cut.n_sentences == check_stories(STORY).n_sentences - 1
    assert cut.share_well_formed == 1
    closed = check_stories(STORY[:-8] + STORY_END)  # a closed story has no excuse
    assert closed.n_sentences - closed.n_well_formed == 1
    assert (closed.n_stories, closed.n_legal_stories) == (1, 0)
    garbage = check_stories("Call me Ishmael. Tom red the ball. \x00!? 12.5")
    assert garbage.n_well_formed == 0
    assert garbage.share_well_formed == 0
    assert math.isnan(garbage.share_true_facts)
    assert "'Call' is not a word" in garbage.examples_of_errors[0][1]
    assert "has this form" in garbage.examples_of_errors[1][1]
    assert check_stories("").n_sentences == 0
    assert math.isnan(check_stories("").share_well_formed)


@given(st.text(alphabet=st.sampled_from("aT .?!\n\x00é<|>"), max_size=60))
def test_checker_takes_any_text(text):
    report = check_stories(text)
    assert 0 <= report.n_true_facts <= report.n_facts <= report.n_well_formed <= report.n_sentences


@given(st.integers(0, 10**9))
def test_checker_takes_any_row_of_sentences(seed):
    rng = random.Random(seed)
    sentences = []
    for _ in range(12):
        template = FORMS[rng.choice(list(FORMS))]
        words = {slot: rng.choice(options) for slot, options in SLOT_WORDS.items()}
        again = {slot + "2": rng.choice(options) for slot, options in SLOT_WORDS.items()}
        sentences.append(template.format(**words, **again))
    report = check_stories(" ".join(sentences))
    assert report.n_well_formed == report.n_sentences == 12


# What the text supports -----------------------------------------------------------------------


def test_traits_have_symmetric_company():
    """Each kind meets its pronoun, age and rank words alone, and equally often across genders."""
    text = load_text("stories")
    sentences = split_sentences(text.replace(STORY_END, ""))
    home, wear = Counter(), Counter()
    for sentence in sentences:
        if match := FORM_PATTERNS["home"].fullmatch(sentence):
            home[match["kind"], match["home"], match["age"]] += 1
        if match := FORM_PATTERNS["wear"].fullmatch(sentence):
            wear[match["kind"], match["wear"], match["his"]] += 1
    assert len(home) == len(wear) == len(KINDS)
    for pair in (("king", "queen"), ("prince", "princess"), ("man", "woman"), ("boy", "girl")):
        one, other = (sum(n for key, n in home.items() if key[0] == kind) for kind in pair)
        assert abs(one - other) < 5 * math.sqrt(one + other)
    for place, (_, do, thing) in PLACES.items():
        assert text.count(f"to the {place} to {do}") > 100
        assert re.search(f"{place} to {do} and found a \\w+ {thing}", text)
    for animal, (young, sound) in ANIMALS.items():
        assert text.count(f"The big {animal} {sound} and the little {young} {sound}") > 20


# Loading ------------------------------------------------------------------------------------


def test_stories_text_is_a_megabyte_of_closed_stories():
    text = load_text("stories")
    assert 950_000 < len(text) < 1_050_000
    assert text == load_text("stories")
    parts = text.split(STORY_END + "\n")
    assert parts.pop() == ""
    assert parts == stories(len(parts))


def test_python_docs_are_real_text():
    text = load_text("python-docs")
    assert len(text) > 300_000
    assert "iterator" in text


def test_files_and_folders(tmp_path):
    (tmp_path / "b.txt").write_text("second", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes("\ufefffirst é\r\n".encode())
    (tmp_path / "c.md").write_text("not this", encoding="utf-8")
    assert load_text(tmp_path / "b.txt") == "second"
    assert load_text(str(tmp_path / "a.txt")) == "first é\n"
    assert load_text(tmp_path) == "first é\n\nsecond"


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no \.txt file"):
        load_text(tmp_path)
    (tmp_path / "empty.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"empty\.txt is empty"):
        load_text(tmp_path / "empty.txt")
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8 text \(byte 3 is 0xe9\)"):
        load_text(tmp_path / "latin.txt")
    with pytest.raises(FileNotFoundError, match=r"holds .*latin\.txt"):
        load_text(tmp_path / "latn.txt")


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve `served.body` as the Shakespeare text from this machine; cache under tmp_path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.n_requests += 1
            self.send_response(self.server.status)
            self.send_header("Content-Length", str(self.server.length or len(self.server.body)))
            self.end_headers()
            self.wfile.write(self.server.body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.status, server.body, server.length, server.n_requests = 200, b"", None, 0
    server.cache = tmp_path / ".cache" / "tinyshakespeare.txt"
    monkeypatch.setattr(loading, "SHAKESPEARE_URL", f"http://127.0.0.1:{server.server_port}/a.txt")
    monkeypatch.setattr(files, "ROOT", tmp_path)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def small_play(monkeypatch):
    """Let a small text stand for the play, so that these tests need no copy of it."""
    play = b"First Citizen: speak, speak.\n" * 5000
    monkeypatch.setattr(loading, "SHAKESPEARE_BYTES", len(play))
    digest = loading.hashlib.sha256(play).hexdigest()
    monkeypatch.setattr(loading, "SHAKESPEARE_SHA256", digest)
    return play


def test_download_once_with_a_progress_bar(served, small_play, capsys):
    served.body = small_play
    assert load_text("shakespeare") == small_play.decode()
    assert "100%" in capsys.readouterr().err
    assert load_text("shakespeare") == small_play.decode()
    assert served.n_requests == 1
    served.cache.write_bytes(small_play[:100])  # a damaged copy is fetched again
    assert load_text("shakespeare") == small_play.decode()
    assert served.n_requests == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda play: play[:-7], "cut off, 144993 of 145000 bytes"),
        (lambda play: b"X" + play[1:], "another text, SHA-256"),
        (lambda play: play + b"more", "too long"),
        (lambda play: b"", "cut off, 0 of"),
    ],
)
def test_a_damaged_download_is_not_kept(served, small_play, change, message):
    served.body = change(small_play)
    with pytest.raises(ValueError, match=message):
        load_text("shakespeare")
    assert not served.cache.exists()
    assert not list(served.cache.parent.glob("*")) if served.cache.parent.exists() else True


def test_a_connection_that_breaks_is_not_kept(served, small_play):
    served.body, served.length = small_play[:1000], len(small_play)
    with pytest.raises((ValueError, OSError), match="'shakespeare'"):
        load_text("shakespeare")
    assert not served.cache.exists()


def test_a_server_that_refuses(served):
    served.status = 404
    with pytest.raises(OSError, match="404"):
        load_text("shakespeare")


def test_offline_names_an_alternative(tmp_path, monkeypatch):
    def offline(url, timeout):
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(files, "ROOT", tmp_path)
    path = tmp_path / "play.txt"
    with pytest.raises(OSError, match="unreachable") as caught:
        loading._download(loading.SHAKESPEARE_URL, path, 10, opener=offline)
    for part in ("'stories' or 'python-docs'", "give its path", str(path)):
        assert part in str(caught.value)


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="no local copy of the play")
def test_the_real_play_has_the_size_and_hash_that_we_expect():
    assert loading._fault(SHAKESPEARE.read_bytes()) is None
    assert load_text(SHAKESPEARE).startswith("First Citizen:")


# Cleaning and splitting ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messy", "clean"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("\u201cso\u201d \u2018it\u2019 \u2013 is\u2026", "\"so\" 'it' - is..."),
        ("e\u0301", "é"),
        ("a\u00a0b\u2003c", "a b c"),
        ("a\x00b\x1b[0m\u200bc\ufeff", "ab[0mc"),
        ("a  \nb\t\n", "a\nb\n"),
        ("a\n\n\n\n\n\nb", "a\n\n\nb"),
        ("\n \n \n\nb", "\n\nb"),
        ("a\tb", "a\tb"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("a\ud800b", "ab"),
        ("", ""),
    ],
)
def test_clean_text(messy, clean):
    assert clean_text(messy) == clean


MESSY = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from(" \t\r\n\n\u2028\u00a0\u0301\u200b\u200d\u2019\u2026ae\u1100\u1161"),
    )
)


@given(MESSY)
def test_cleaning_twice_changes_nothing_more(text):
    once = clean_text(text)
    assert clean_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once
    assert "\n\n\n\n" not in once
    assert not re.search(r"[ \t]\n|[ \t]$", once)


@pytest.mark.parametrize(
    ("marked_up", "plain"),
    [
        ("<p>One <b>word</b>.</p>", "One word."),
        ('<P class="a b" id=c><BR/>x</p >', "x"),
        ("a &amp; b &lt;c&gt; &#233; &nbsp;", "a & b <c> é \u00a0"),
        ("&amp;lt;", "&lt;"),
        ("if a < b and b > c: pass", "if a < b and b > c: pass"),
        ("while i<p and p>q: i<<= 2", "while i<p and p>q: i<<= 2"),
        ("List<T> and <unknown>", "List<T> and <unknown>"),
        ("<|endoftext|>", "<|endoftext|>"),
        ("x &unknown; AT&T", "x &unknown; AT&T"),
        ("", ""),
    ],
)
def test_strip_markup(marked_up, plain):
    assert strip_markup(marked_up) == plain


@given(st.text())
def test_stripping_leaves_text_without_markup_alone(text):
    plain = text.replace("<", "(").replace("&", "+")
    assert strip_markup(plain) == plain


@pytest.mark.parametrize("piece", ["<p ", "<p a=", " a=b", "<p a", "<"])
def test_stripping_takes_no_longer_for_broken_markup(piece):
    """A pattern that tries every way to read these would take minutes."""
    assert strip_markup("<p" + piece * 20_000) == "<p" + piece * 20_000


def test_only_a_string_can_be_stripped_of_markup():
    with pytest.raises(TypeError, match="text must be a string, not NoneType"):
        strip_markup(None)


def test_cleaning_leaves_stories_alone():
    text = load_text("stories")[:50_000]
    assert clean_text(text) == text


def test_split_cuts_between_stories():
    text = load_text("stories")
    train, val = split_text(text, 0.1)
    assert train + val == text
    assert train.endswith(STORY_END + "\n")
    assert val.startswith("Once there was")
    assert len(val) / len(text) == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize("val_fraction", [0.001, 0.3, 0.5, 0.999])
def test_split_gives_both_parts_a_story(val_fraction):
    text = f"One.{STORY_END}\nTwo.{STORY_END}\nThree.{STORY_END}\n"
    train, val = split_text(text, val_fraction)
    assert train + val == text
    assert train.endswith(STORY_END + "\n")
    assert val.count(STORY_END) >= 1


def test_split_cuts_between_lines_or_where_asked():
    lines = "".join(f"line {i}\n" for i in range(100))
    train, val = split_text(lines, 0.25)
    assert train + val == lines
    assert train.endswith("\n")
    assert val.count("\n") == pytest.approx(25, abs=1)
    assert split_text("abcdefghij", 0.2) == ("abcdefgh", "ij")
    assert split_text("ab", 0.01) == ("a", "b")


@given(st.text(min_size=2), st.floats(0.01, 0.99))
def test_split_loses_nothing(text, val_fraction):
    train, val = split_text(text, val_fraction)
    assert train + val == text
    assert train
    assert val


def test_public_names():
    for name in corpus.__all__:
        assert hasattr(corpus, name)
