# %% [markdown]
# # 1 · Tokens
#
# ![The course as a row of eight steps, from tokens to sampling. Step 1, tokens, is
# highlighted.](../assets/map_01.svg)
#
# A model computes with numbers, and a text is not made of numbers. This chapter is the way from the
# one to the other. A messy text is cleaned, cut into tokens and turned into a row of ids. The row
# is cut again, into small examples from which a model learns to say what comes next.
#
# **You will build** cleaning rules, three ways to cut a text into tokens and to turn tokens into
# ids, the small examples that a model learns from, and an honest way to set some of them aside.
#
# **You need** Python with its strings, lists and dicts, and the tensors of `00_start_here`.
#
# **Time:** about 90 minutes to read and solve, 35 seconds to run.

# %% [markdown]
# ## Set-up
#
# Run this cell first. It is safe to run again at any time.
#
# Every term of the course stands in the [glossary](../assets/glossary.md), with the chapter that
# explains it.

# %%
import re
import tempfile
import time
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from llm_core.corpus import clean_text, load_text, split_text, stories, strip_markup
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style
from llm_core.tokens import BPETokenizer, CharTokenizer, WordTokenizer, bpe_training

use_course_style()
_ = torch.set_printoptions(precision=2, sci_mode=False)
workspace = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # gone when the kernel ends

# %% [markdown]
# `llm_core.corpus`, `llm_core.tokens` and `llm_core.data` are the finished modules of this chapter.
# The text below uses them wherever a later step needs an earlier one, so you can skip an exercise
# and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Four questions on chapter 00. Answer from memory, then read why each option is right or wrong.

# %%
quiz("tokens.warmup")

# %% [markdown]
# ## 1. What a text is
#
# For Python, a text is a row of **code points**. The Unicode standard gives every letter, digit,
# sign and space of every script a number, its code point. `ord` returns it, and `chr` goes the
# other way.

# %%
for sign in "Aé東🦊":
    print(f"{sign}  code point {ord(sign):>6,}  {unicodedata.name(sign).lower()}")

# %% [markdown]
# There are more than 150,000 code points, and a model would have to know each of them. Most of this
# chapter is about better units. First we need a **corpus**, a collection of text to learn from. The
# course brings two that work without a network: short stories, written by a small program, and the
# documentation that is part of Python itself, written by people.

# %%
story_text = load_text("stories")
docs = load_text("python-docs")

print(f"stories: {len(story_text):,} characters, beginning with")
print(story_text[:107], "...")
print("docs: more than 400,000 characters:", len(docs) > 400_000)
print(docs[:124], "...")

# %% [markdown]
# ## 2. Cleaning
#
# **Cleaning** a text means giving one form to what means one thing. Text from the world has passed
# through web pages, word processors and several operating systems, and each left its traces. A
# model would take two spellings of one word for two words, and spend what it can learn on the
# difference.
#
# Here is a passage of the documentation, as clean as it comes.

# %%
start = docs.index("The simple form,")
passage = docs[start : docs.index("raise AssertionError\n", start) + 21]

print(passage)

# %% [markdown]
# And here it is after a hard life. We put the mess in by hand, with a sentence of our own at the
# end. `ascii` shows what the eye would miss: whatever is no plain letter becomes an escape such as
# `\xa0`.

# %%
sentence, _, first_line, second_line, _ = passage.split("\n")
messy = (
    "\ufeff<p>"
    + sentence.replace('"assert expression"', "“<b>assert</b>\u00a0expression”")
    + "</p>\r\n\r\n"
    + first_line.replace("   ", "\u00a0\u00a0\u00a0", 1)
    + "  \r"
    + second_line
    + "\n<p>It\u2019s one cafe\u0301 &mdash; or caf\u00e9?\u200b</p>\r\n"
)
for line in messy.splitlines(keepends=True):
    print(ascii(line))


# %% [markdown]
# ### Rule by rule
#
# Six rules follow. `show` prints the lines that a rule has changed, before and after.
#
# **1. Markup** is what web pages say to the browser: tags such as `<b>`, and names such as
# `&mdash;` for signs. A reader never sees it.


# %%
def show(before, after):
    """Print each line that differs between two texts of equally many lines."""
    for old, new in zip(before.splitlines(True), after.splitlines(True), strict=True):
        if old != new:
            print(f"before: {old!a}\nafter:  {new!a}")


unmarked = strip_markup(messy)
show(messy, unmarked)

# %% [markdown]
# A rule that takes out everything between `<` and `>` would be shorter, and wrong. Look at what it
# does to a line of Python:

# %%
code = "if a < b and c > d: print(a)"
show(code, re.sub("<[^>]*>", "", code))
print("strip_markup keeps it:", strip_markup(code) == code)

# %% [markdown]
# **2. Line ends.** Unix ends a line with `\n`, Windows with `\r\n`, and old Macs did with `\r`. One
# is enough.

# %%
one_end = unmarked.replace("\r\n", "\n").replace("\r", "\n")
show(unmarked, one_end)

# %% [markdown]
# **3. Odd spaces and invisible signs.** A non-breaking space `\xa0` looks like a space and is
# another character. `\ufeff` and `\u200b` show nothing at all.

# %%
one_space = re.sub("[\ufeff\u200b]", "", one_end.replace("\u00a0", " "))
show(one_end, one_space)

# %% [markdown]
# **4. Quotes and dashes.** Word processors bend quotation marks and stretch dashes. The plain forms
# of the keyboard mean the same.

# %%
plain = one_space.translate(str.maketrans("“”‘’—", "\"\"''-"))
show(one_space, plain)

# %% [markdown]
# **5. Normal form.** Unicode has two spellings for many accented letters: one code point for é, or
# an e with a second code point that puts the accent on it. They look the same and are not equal. A
# **Unicode normal form** picks one spelling: NFC joins what can be joined.

# %%
two_spellings = ["cafe\u0301", "caf\u00e9"]
print("equal:", two_spellings[0] == two_spellings[1])

normal = unicodedata.normalize("NFC", plain)
show(plain, normal)

# %% [markdown]
# **6. The ends of lines.** Spaces before a line end show nowhere. Spaces at the *beginning* of a
# line are indentation, and they stay.

# %%
clean = re.sub("[ \t]+$", "", normal, flags=re.MULTILINE)
show(normal, clean)

# %% [markdown]
# `clean_text` does all of this but the markup, and a few rarer things. The passage is whole again:

# %%
clean = clean_text(strip_markup(messy))
print(clean)
print("the passage has come back:", clean.startswith(passage))

# %% [markdown]
# ### The wrong way: a rule that destroys
#
# Older recipes also make all letters small and drop the punctuation. That was meant for counting
# words. A model that should write cannot use it:

# %%
crushed = " ".join(re.findall(r"\w+", passage.lower()))
print(crushed)

# %% [markdown]
# Where does the sentence end and the code begin? Nobody can tell any more, and the indentation
# that Python needs is gone. Small letters do harm of their own: names that differ become one.

# %%
spellings = set(re.findall(r"\w+", docs))
fallen = {name for name in spellings if name != name.lower() and name.lower() in spellings}

for name in ("None", "True", "Class"):
    print(f"{name} falls together with {name.lower()}: {name in fallen}")
print("more than 200 names do:", len(fallen) > 200)

# %% [markdown]
# A test for every rule: could a reader who sees only the result still tell what was meant? Two
# spellings of é pass. `None` and `none` do not.

# %% [markdown]
# ### Exercise 1: clean the lines
#
# Three rules in one function. The steps have their names; write a line of code for each.


# %% tags=["exercise"]
def clean_lines(text):
    r"""Give every line the same kind of end and of space.

    Args:
        text: any string.

    Returns:
        A new string, in which, in this order:
        1. each line end "\r\n" and each lone "\r" has become "\n";
        2. each non-breaking space "\u00a0" has become an ordinary space;
        3. no line has spaces or tabs at its end.
        Everything else stays: spaces and tabs at the beginning of a line or inside it, empty lines,
        other kinds of white space, and whether the text ends in "\n".

    Example:
        clean_lines("if x >\u00a00:\r\n\ty  = 1 \r") gives "if x > 0:\n\ty  = 1\n".
    """
    # Step 1: one kind of line end. The longer one first: why?
    ### BEGIN SOLUTION
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    ### END SOLUTION
    # Step 2: one kind of space.
    ### BEGIN SOLUTION
    text = text.replace("\u00a0", " ")
    ### END SOLUTION
    # Step 3: take the text apart at "\n", strip the end of each line, put the lines together again.
    ### BEGIN SOLUTION
    return "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    ### END SOLUTION


# %% tags=["check"]
check("tokens.clean_lines", clean_lines)

# %% [markdown]
# Stuck? `hint("tokens.clean_lines")` in a new cell shows one hint; run it again for the next one.
# The fourth time it shows a solution.

# %% [markdown]
# From here on, the documentation is cleaned.

# %%
docs = clean_text(docs)

# %% [markdown]
# ## 3. Characters: the smallest vocabulary
#
# A **tokenizer** cuts a text into tokens and gives each its id: it **encodes** the text. It also
# goes the other way, from ids to text: it **decodes**. The tokens that it knows are its
# **vocabulary**, and their number is $V$.
#
# The simplest tokenizer makes every character a token. Its vocabulary is all characters of the
# corpus, sorted, and a character's id is its place in that list.

# %%
text = "a cat sat"
vocabulary = sorted(set(text))
id_of = {character: id for id, character in enumerate(vocabulary)}

ids = [id_of[character] for character in text]
print("vocabulary:", vocabulary)
print("encoded:", ids)
print("decoded:", "".join(vocabulary[id] for id in ids))

# %% [markdown]
# Sorting matters. A set has no order of its own, and if the ids were others tomorrow, a model that
# was trained today would read nonsense.
#
# `CharTokenizer` is this, with a training method, a file format and error messages.

# %%
chars = CharTokenizer.train(story_text)
print("V of the stories:", chars.vocab_size)

story = stories(1, seed=1)[0]
print(f"one story: {len(story)} characters, {len(chars.encode(story))} tokens")

# %% [markdown]
# Small and simple, with two drawbacks. The rows of ids are as long as the text, and a model can
# look at a limited number of tokens at once. And a character that the corpus did not hold has no
# id:

# %%
try:
    chars.encode("the fox: 🦊")
except ValueError as error:
    print(error)

# %% [markdown]
# ## 4. Words: short rows, and a hole
#
# The other extreme makes every word and every punctuation mark a token. The rows become short.

# %%
words = WordTokenizer.train(story_text)
print("V of the stories:", words.vocab_size)
print(f"one story: {len(story)} characters, {len(words.encode(story))} tokens")
print([words.token(id) for id in words.encode(story)[:9]])

# %% [markdown]
# The stories know few words. Real text is different. We learn the words of the first nine tenths of
# the documentation and read the last tenth. A word without an id becomes the **unknown token**,
# `<unk>`, and what it was is lost.

# %%
docs_train, docs_val = split_text(docs, val_fraction=0.1)
doc_words = WordTokenizer.train(docs_train)

print("V above 3,000:", doc_words.vocab_size > 3_000)
print(doc_words.decode(doc_words.encode("A wizard may raise an exception.")))


# %%
def unknown_share(tokenizer, text):
    """Share of the tokens of `text` that are <unk>, in percent."""
    ids = tokenizer.encode(text)
    return 100 * ids.count(0) / len(ids)


for vocab_size, bound in ((500, 5), (1000, 3), (2000, 1)):
    small = WordTokenizer.train(docs_train, vocab_size)
    share = unknown_share(small, docs_val)
    print(f"V = {vocab_size:,}: more than {bound} % of the tokens unknown:", share > bound)

# %% [markdown]
# ### Why more text does not help: Zipf's law
#
# Count how often each word occurs, and sort: rank 1 is the most frequent. **Zipf's law** says that
# the word of rank $r$ occurs about $1/r$ times as often as the first. A few words make up most of
# the text, and an endless tail of words occurs once or twice.
#
# What to look for: on the left, dots near a straight line, since both axes are logarithmic. On the
# right, the number of different words as we read on: it slows down and does not stop.

# %%
doc_tokens = re.findall(r"\w+", docs.lower())
frequencies = sorted(Counter(doc_tokens).values(), reverse=True)
ranks = range(1, len(frequencies) + 1)

met, growth = set(), []
for token in doc_tokens:
    met.add(token)
    growth.append(len(met))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.loglog(ranks, frequencies, ".", label="words of the docs")
left.loglog(ranks, [frequencies[0] / rank for rank in ranks], "--", label="$1/r$")
left.set(xlabel="rank $r$", ylabel="times that it occurs", title="Zipf's law")
left.legend()
right.plot(range(len(growth)), growth)
right.set(xlabel="words read", ylabel="different words met", title="New words keep coming")
right.set_xticks(range(0, len(growth), 20_000))
right.xaxis.set_major_formatter("{x:,.0f}")
right.yaxis.set_major_formatter("{x:,.0f}")
show_figure(
    figure,
    "Left: frequency against rank, both logarithmic, close to a straight falling line. Right: the "
    "number of different words still rises at the end of the text.",
)

# %% [markdown]
# So a vocabulary of words is never complete, however much text it was made from, and most of its
# places go to words that a model sees too rarely to learn anything about.
#
# ### Take it away: what cleaning is worth
#
# What would the mess of section 2 cost? We put it into every other line of the documentation and
# count the different words, spelled as they come.


# %%
def mess_up(line):
    """A line as it may come from a web page: tags, bent quotes, another line end."""
    line = line.replace("'", "\u2019").replace(' "', " “").replace('"', "”")
    return f"<p>{line}</p>\r"


lines = docs.split("\n")
half_messy = "\n".join(mess_up(line) if i % 2 else line for i, line in enumerate(lines))


def different_words(text):
    """How many different words a text has, cut at ordinary spaces and line ends."""
    return len(set(re.split("[ \n]+", text)))


# %%
dirty = different_words(half_messy)
mended = different_words(clean_text(strip_markup(half_messy)))

print("with the mess, more than 20 % more words:", dirty > 1.2 * mended)
print("cleaned, the same within one percent:", abs(mended / different_words(docs) - 1) < 0.01)

# %% [markdown]
# ## 5. Bytes: nothing is unknown
#
# Characters make long rows, words leave holes. The way out starts below the character. On a disk
# and on the network, a text is a row of **bytes**, numbers from 0 to 255. **UTF-8** is the usual
# way to write code points as bytes: one byte for plain English letters, two to four for all others.

# %%
for sign in "Aé東🦊":
    print(f"{sign}  code point {ord(sign):>6,}  bytes {list(sign.encode('utf-8'))}")

# %% [markdown]
# **Predict:** how many bytes does `"naïve 🦊"` take in UTF-8?

# %%
my_guess = None  # a number
predict("tokens.bytes", my_guess)

# %%
reveal(
    "tokens.bytes",
    outcome=len("naïve 🦊".encode()),
    explanation="Four plain letters and a space take one byte each, ï takes two, the fox four.",
)

# %% [markdown]
# With the 256 bytes as vocabulary, any text in any script can be encoded, and any row of ids that
# came from a text can be decoded. Nothing is ever unknown. The price: rows that are even longer
# than those of characters.

# %% [markdown]
# ## 6. Byte-pair encoding: count, merge, repeat
#
# **Byte-pair encoding** (BPE) starts from bytes and makes the rows shorter. It finds the pair of
# neighbouring tokens that occurs most often, and makes one new token of it: a **merge**. Then it
# does so again. Frequent words become single tokens, rare ones stay in pieces, and a word that was
# never seen can always be spelled in bytes.
#
# By hand, on a text of four words. We write a token as the bytes that it stands for.

# %%
text = b"hat that chat cat"
tokens = [bytes([byte]) for byte in text]
print(tokens)

counts = Counter(pairwise(tokens))
for (left, right), count in counts.most_common(3):
    print(f"{left} {right}: {count} times")

# %% [markdown]
# The pair of *a* and *t* is the most frequent. It becomes the token *at*, wherever it stands.

# %% [markdown]
# ### Exercise 2: merge a pair
#
# Tokens may be byte strings, as here, or ids: the function only compares them. The pair is a tuple,
# and in Python a slice of a list never equals a tuple.


# %% tags=["exercise"]
def merge_pair(tokens, pair, new_token):
    """Replace a pair of neighbouring tokens by one new token, wherever it stands.

    Args:
        tokens: a list or tuple of tokens, ids or byte strings; it may be empty.
        pair: (left, right), the two tokens to be replaced where right directly follows left.
        new_token: what takes the place of both.

    Returns:
        A new list of tokens; `tokens` is not changed. Go from the left: a token that was part of
        one merge is used up, and cannot be part of the next.

    Example:
        merge_pair([1, 1, 1, 2], (1, 1), 9) gives [9, 1, 2].
    """
    merged, i = [], 0
    while i < len(tokens):
        # If the pair stands at i: add the new token to `merged`, and step over both.
        # Otherwise: add the token at i to `merged`, and step over it.
        ### BEGIN SOLUTION
        if i + 1 < len(tokens) and (tokens[i], tokens[i + 1]) == tuple(pair):
            merged.append(new_token)
            i += 2
        else:
            merged.append(tokens[i])
            i += 1
        ### END SOLUTION
    return merged


# %% tags=["check"]
check("tokens.merge_pair", merge_pair)

# %% [markdown]
# Three rounds of count and merge. Where two pairs are equally frequent, some rule must decide, or
# the result would hang on chance. Ours takes the greater pair, as Python compares them: the left
# bytes first, then the right ones.

# %%
for _ in range(3):
    counts = Counter(pairwise(tokens))
    best = max(counts, key=lambda pair: (counts[pair], pair))
    tokens = bpe_training.merge_pair(tokens, best, best[0] + best[1])
    print(f"{best[0]!s:>6} + {best[1]!s:<5}", " ".join(map(str, tokens)))

# %% [markdown]
# The first two merges made *at* and *hat*. The third joined *hat* with the **space behind it**.
# That is worth a closer look.

# %% [markdown]
# ## 7. Where to stop a merge: words first
#
# ### The wrong way: merges across words
#
# `recount_merges` is the loop above as a function. It takes a dict of byte strings with their
# counts. We give it a longer text as one single string, and look at the longest tokens it makes.

# %%
row = story_text[:20_000].encode()
across = bpe_training.recount_merges({row: 1}, 60)

made = [left + right for left, right in across]
print(sorted(made, key=len, reverse=True)[:6])
print("with 'to' in it:", [token for token in made if b"to" in token])

# %% [markdown]
# These tokens hold pieces of several words. The same word now has many forms: *to* with a space
# before it, with the *t* of the word before, with the word after. Each form is an id of its own,
# and a model must learn the meaning of *to* once for each. Places in the vocabulary are spent on
# what happened to stand side by side.

# %% [markdown]
# ### The right way: cut first, then merge
#
# **Pre-tokenization** cuts the text into words before BPE begins, and no merge runs across a cut.
# GPT-2, a language model of 2019 whose design many others follow, does it with one pattern:
# letters, digits or other signs, each with *one space in front* of them, and endings such as `'s`.
# The space belongs to the word behind it, so that decoding is nothing but putting pieces together.

# %%
pieces = bpe_training.words_of("Mia's 2 hats, that's all!\n   The end.")
print(pieces)
print("together again:", "".join(pieces) == "Mia's 2 hats, that's all!\n   The end.")

# %% [markdown]
# It also saves work. Words repeat, and a word that occurs 500 times need be looked at only once, if
# we remember the 500.

# %%
word_counts = bpe_training.count_words([story_text], None)

print(f"{sum(word_counts.values()):,} words, of which {len(word_counts)} are different")
print(word_counts.most_common(4))

# %% [markdown]
# ### Exercise 3: count the pairs
#
# Now pairs are counted inside words, and each word brings its pairs as often as it occurs.


# %% tags=["exercise"]
def count_pairs(words):
    """Count how often two tokens stand side by side.

    Args:
        words: a dict from each word, a tuple of its tokens, to the number of times it occurs.
            Tokens are byte strings or ids.

    Returns:
        A dict (a Counter is one) from each pair (left, right) of neighbours to the number of times
        that it occurs in all words together. Pairs may overlap: (1, 1, 1) holds the pair (1, 1)
        twice. Words do not touch each other, and a word of one token has no pair.

    Example:
        count_pairs({(b"h", b"a", b"t"): 5, (b"a", b"t"): 2})
        gives {(b"h", b"a"): 5, (b"a", b"t"): 7}.
    """
    ### BEGIN SOLUTION
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts
    ### END SOLUTION


# %% tags=["check"]
check("tokens.count_pairs", count_pairs)

# %% [markdown]
# ### Exercise 4: learn the merges
#
# Everything together: count, choose, merge, repeat. You may use `bpe_training.count_pairs` and
# `bpe_training.merge_pair`, or your own functions from above. The first line is given, because of a
# trap in Python: going through bytes gives numbers, and `bytes([number])` makes bytes of one.


# %% tags=["exercise"]
def learn_merges(word_counts, n_merges):
    """Learn the merges of byte-pair encoding.

    Args:
        word_counts: a dict from each word, as bytes, to the number of times that it occurs.
        n_merges: the most merges to learn. There may be fewer: when every word has become one
            token, no pair is left.

    Returns:
        A list of merges, the first learned first. Each is a pair (left, right) of byte strings.
        In each round the most frequent pair is merged in all words. Of equally frequent pairs,
        the greatest is taken, as Python compares pairs of bytes.

    Example:
        learn_merges({b"hat": 5, b"that": 4, b"chat": 2, b"cat": 3}, 2)
        gives [(b"a", b"t"), (b"h", b"at")].
    """
    words = {tuple(bytes([byte]) for byte in word): n for word, n in word_counts.items()}
    ### BEGIN SOLUTION
    merges = []
    for _ in range(n_merges):
        counts = bpe_training.count_pairs(words)
        if not counts:
            break
        best = max(counts, key=lambda pair: (counts[pair], pair))
        merges.append(best)
        joined = best[0] + best[1]
        words = {tuple(bpe_training.merge_pair(word, best, joined)): n for word, n in words.items()}
    return merges
    ### END SOLUTION


# %% tags=["check"]
check("tokens.learn_merges", learn_merges)

# %% [markdown]
# ### Watch it learn
#
# The first merges from a megabyte of stories, one by one, with the number of times that each pair
# occurred. The sign ␣ stands for the space in front of a word.

# %%
from llm_core.tokens.base import printable

merges = bpe_training.recount_merges(word_counts, 12)
cut_words = {tuple(bytes([byte]) for byte in word): n for word, n in word_counts.items()}

for number, (left, right) in enumerate(merges, start=1):
    count = bpe_training.count_pairs(cut_words)[left, right]
    print(f"{number:>2}  {printable(left):>3} + {printable(right):<3}{count:>8,} times")
    cut_words = {
        tuple(bpe_training.merge_pair(word, (left, right), left + right)): n
        for word, n in cut_words.items()
    }

# %% [markdown]
# Merges build on merges: *␣the* was made of *␣t* and *he*, which had been made before.
#
# **Predict:** after how many merges in all is the word *␣princess* a token of its own? (The stories
# tell of kings and queens, boys and girls, about as often.)

# %%
my_guess = None  # a number
predict("tokens.princess", my_guess)

# %%
merges = bpe_training.learn_merges(word_counts, 1000)
made = [left + right for left, right in merges]

reveal(
    "tokens.princess",
    outcome=made.index(b" princess") + 1,
    explanation="Short pieces that many words share come first. A long word has to wait for its "
    "pieces, and for every pair that is more frequent than its own.",
)

# %% [markdown]
# And this is how a sentence grows together. What to look for: which words are whole early, which
# late, and how many tokens are left.

# %%
sentence = " The princess called the old man."


def apply_merges(word, merges):
    """The tokens of one word after these merges, in the order in which they were learned."""
    tokens = [bytes([byte]) for byte in word]
    for left, right in merges:
        tokens = bpe_training.merge_pair(tokens, (left, right), left + right)
    return tokens


for n in (0, 4, 16, 64, 128, 256, len(merges)):
    cut = [apply_merges(word.encode(), merges[:n]) for word in bpe_training.words_of(sentence)]
    shown = "|".join(printable(token) for word in cut for token in word)
    print(f"{n:>3} merges, {shown.count('|') + 1:>2} tokens: {shown}")

# %% [markdown]
# We asked for 1,000 merges and got fewer. Then every word of the stories had become one token: with
# enough merges, BPE ends up as a vocabulary of words, without its hole.

# %% [markdown]
# ## 8. Encoding: replay the merges
#
# A new text is cut into words, each word into bytes, and the merges are applied **in the order in
# which they were learned**. The order matters: a merge can only use tokens that earlier merges have
# made, and where two merges want the same byte, the earlier one gets it.
#
# The ids: byte $b$ has the id $b$, from 0 to 255. The token that merge number $k$ makes has the id
# $256 + k$, with $k$ counted from 0.

# %% [markdown]
# ### Exercise 5: encode a word


# %% tags=["exercise"]
def encode_word(word, merges):
    """Cut a word into tokens by replaying the merges, and return their ids.

    Args:
        word: the word as bytes; it may be empty.
        merges: a list of pairs (left, right) of byte strings, the first learned first. Each side is
            a single byte or what an earlier merge has made, and no token is made twice.

    Returns:
        A list of ids: a single byte b has the id b, the token of merges[k] the id 256 + k. The
        merges are applied in their order, each to the whole word and, in it, from the left.

    Example:
        encode_word(b"chat", [(b"a", b"t"), (b"h", b"at")]) gives [99, 257]: c is byte 99.
    """
    ### BEGIN SOLUTION
    id_of = {bytes([byte]): byte for byte in range(256)}
    tokens = [bytes([byte]) for byte in word]
    for k, (left, right) in enumerate(merges):
        id_of[left + right] = 256 + k
        tokens = bpe_training.merge_pair(tokens, (left, right), left + right)
    return [id_of[token] for token in tokens]
    ### END SOLUTION


# %% tags=["check"]
check("tokens.encode_word", encode_word)

# %% [markdown]
# Decoding is short: look up the bytes of each id, put them together, read them as UTF-8. One care
# is needed. A model may write half a character, a row of bytes that is no UTF-8; then the sign �
# stands for what cannot be read.

# %%
fox = list("🦊".encode())
print("the fox in ids:", fox)
print("all four bytes:", bytes(fox).decode("utf-8", errors="replace"))
print("three of them: ", bytes(fox[:3]).decode("utf-8", errors="replace"))

# %% [markdown]
# ## 9. Faster: keep the counts, change what changed
#
# The loop of exercise 4 counts all pairs again for every merge, although a merge touches few words.
# A vocabulary of 50,000 tokens from a gigabyte of text would take it many days. The remedy:
#
# 1. Count once, and note for each pair **which words hold it**.
# 2. After a merge, look at those words only: take their old pairs off the counts, merge, and add
#    their new pairs.


# %%
def learn_by_update(word_counts, n_merges):
    """The merges of exercise 4, with counts that are kept up to date."""
    words = [[bytes([byte]) for byte in word] for word in word_counts]
    times = list(word_counts.values())
    counts, holders, merges = Counter(), defaultdict(set), []

    def add_pairs(i, sign):
        for pair in pairwise(words[i]):
            counts[pair] += sign * times[i]
            holders[pair].add(i)

    for i in range(len(words)):
        add_pairs(i, +1)
    while len(merges) < n_merges:
        best = max(counts, key=lambda pair: (counts[pair], pair), default=None)
        if best is None or counts[best] == 0:
            break
        merges.append(best)
        for i in holders.pop(best):
            add_pairs(i, -1)
            words[i] = bpe_training.merge_pair(words[i], best, best[0] + best[1])
            add_pairs(i, +1)
    return merges


# %%
few_words = dict(bpe_training.count_words([docs], None).most_common(2000))
slow = bpe_training.recount_merges(few_words, 100)

print("the same 100 merges:", learn_by_update(few_words, 100) == slow)
print("and those of llm_core:", bpe_training.learn_merges(few_words, 100) == slow)

# %% tags=["nbval-ignore-output"]
ways = (bpe_training.recount_merges, learn_by_update, bpe_training.learn_merges)
for learn in ways:
    start = time.perf_counter()
    learn(few_words, 100)
    print(f"{learn.__name__:>16}: {1000 * (time.perf_counter() - start):>6.0f} milliseconds")

# %% [markdown]
# `llm_core` also spares itself the search for the maximum, with a heap, a list that keeps its
# greatest entry in front. (One short run on a busy machine can show another order.) The further one
# goes, the larger the difference: on 1 MB of plays and up to 1,000 tokens, `benchmarks/tokens.py`
# measures more than twenty times the speed of the recounting loop. For encoding, a **cache**
# remembers the ids of every word that has come before, and most words have.
#
# For corpora of many gigabytes there is `tokenizers`, written in Rust. It is one of the libraries
# of Hugging Face, a company through which most open models are shared. `tokenizer.to_hf()` hands
# our tokenizer over to it, and a test holds the ids equal.

# %% [markdown]
# ## 10. Special tokens, files, and any text at all
#
# Some tokens are not text. When stories stand one after another, a model should know where one
# ends. A **special token** such as `<|endoftext|>` says so; our stories have one after each. It is
# given to the tokenizer beforehand, no merge is learned from it, and it always stays whole.

# %%
END = "<|endoftext|>"
plain_bpe = BPETokenizer.train(story_text, 500)
bpe = BPETokenizer.train(story_text, 500, special_tokens=[END])

text = f"The end.{END}Once"
print([plain_bpe.token(id) for id in plain_bpe.encode(text)])
print([bpe.token(id) for id in bpe.encode(text)], "id", bpe.special_tokens[END])

# %% [markdown]
# A warning: if strangers may type `<|endoftext|>`, they can end your text for you. Take such
# strings out of what others write before you encode it.

# %% [markdown]
# ### Files that others can read
#
# GPT-2 stores its tokenizer in two files that many programs read: `vocab.json` maps tokens to ids,
# and `merges.txt` lists the merges. JSON holds no bytes, so each byte gets a character that
# can be seen: a letter stands for itself, the space is written `Ġ`, and so on for all 256.

# %%
folder = Path(workspace.name) / "gpt2"
bpe.save_gpt2(folder)

print((folder / "merges.txt").read_text(encoding="utf-8").split("\n")[:5])
print((folder / "vocab.json").read_text(encoding="utf-8").replace("\n", " ")[-65:])

# %%
again = BPETokenizer.from_gpt2(folder / "vocab.json", folder / "merges.txt", [END])

print("the same ids:", again.encode(story + END) == bpe.encode(story + END))

# %% [markdown]
# ### Any text survives
#
# This tokenizer has seen 43 different characters in its life. What to look for: every line comes
# back, whatever it is. What it does not know costs more tokens, a byte each at worst.

# %%
samples = ["The old queen.", "naïve café", "東京タワー", "👩‍🚀🦊", "e\u0301 \t\r\n", "½ \x00"]
for sample in samples:
    ids = bpe.encode(sample)
    back = bpe.decode(ids) == sample
    print(f"{len(sample.encode()):>2} bytes, {len(ids):>2} tokens, comes back: {back}  {sample!r}")

# %% [markdown]
# ## 11. How much is gained: compression
#
# The measure of a tokenizer is its **compression**: how many bytes of text one token stands for, on
# average. More bytes per token means shorter rows: less to compute, and more text within a model's
# sight. But every token of the vocabulary costs room in the model and must be seen often enough to
# be learned, so $V$ cannot grow for ever.
#
# We compare on three texts: stories, documentation, and programs, the source code of Python's own
# library. Each tokenizer is trained on one part of a text and measured on another.

# %%
import argparse
import inspect
import textwrap

modules = (argparse, inspect, tempfile, textwrap)
programs = clean_text("\n".join(inspect.getsource(module) for module in modules))
corpora = {"stories": story_text[:300_000], "python-docs": docs[:300_000], "programs": programs}
print("more than 200,000 characters of programs:", len(programs) > 200_000)


# %%
def first_merges(tokenizer, n):
    """The tokenizer that training would have given with n merges."""
    vocab = {id: tokenizer.vocab[id] for id in range(256 + n)}
    return BPETokenizer(vocab, tokenizer.merges[:n])


def bytes_per_token(tokenizer, text):
    """Compression: bytes of text for each token."""
    return len(text.encode()) / len(tokenizer.encode(text))


# %% [markdown]
# `first_merges` saves time: the first 100 merges of a large vocabulary are the merges of a small
# one, so one training serves for every size.

# %%
import warnings

curves = {}
for name, corpus in corpora.items():
    train, val = split_text(corpus, val_fraction=0.15)
    with warnings.catch_warnings(action="ignore"):  # the stories run out of pairs early
        largest = BPETokenizer.train(train, 256 + 3000)
    sizes = [n for n in (0, 50, 100, 200, 400, 800, 1500, 3000) if n < len(largest.merges)]
    sizes.append(len(largest.merges))
    curves[name] = [(256 + n, bytes_per_token(first_merges(largest, n), val)) for n in sizes]

# %%
word_curves = {}
for name, corpus in corpora.items():
    train, val = split_text(corpus, val_fraction=0.15)
    all_words = WordTokenizer.train(train).vocab_size
    sizes = [V for V in (50, 150, 500, 1500) if all_words > V] + [all_words]
    tokenizers = [WordTokenizer.train(train, V) for V in sizes]
    word_curves[name] = [
        (tokenizer.vocab_size, bytes_per_token(tokenizer, val), unknown_share(tokenizer, val))
        for tokenizer in tokenizers
    ]

# %% [markdown]
# What to look for: characters are one point at 1 byte per token. The line of BPE starts at the same
# height, with the 256 bytes alone, and climbs with every merge, fast at first and then ever more
# slowly. Words compress well at any size, since an unknown word is one token, too. The price stands
# beside them: the share of tokens that are unknown.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9.5, 3.4), sharey=True)
for axis, (name, corpus) in zip(axes, corpora.items(), strict=True):
    chars = CharTokenizer.train(corpus)
    axis.semilogx(chars.vocab_size, bytes_per_token(chars, corpus), "s", ms=9, label="characters")
    sizes, compression, unknown = zip(*word_curves[name], strict=True)
    axis.semilogx(sizes, compression, "^--", label="words")
    for i, side, height in ((0, "left", -17), (-1, "right", 8)):
        place, shift = (sizes[i], compression[i]), (0, height)
        note = f"{unknown[i]:.0f} % unknown"
        axis.annotate(note, place, shift, "data", "offset points", ha=side)
    axis.semilogx(*zip(*curves[name], strict=True), "o-", label="byte pairs")
    axis.set(xlabel="vocabulary size $V$", title=name, xlim=(16, 6_000), ylim=(0, 5.5))
    axis.set_xticks([50, 200, 1000, 4000], ["50", "200", "1,000", "4,000"])
    axis.minorticks_off()
axes[0].set_ylabel("bytes per token")
axes[0].legend(loc="lower right")
show_figure(
    figure,
    "Three panels, one a text: bytes per token against vocabulary size. Characters stay at 1, byte "
    "pairs climb from 1 to about 4 or a little less, words lie near 4 with many unknown ones in a "
    "small vocabulary.",
)

# %% [markdown]
# A tokenizer compresses what it was trained on. What happens elsewhere? Here each of the three
# reads all three texts, with 300 merges. What to look for: the diagonal.

# %%
trained = {name: BPETokenizer.train(corpus, 256 + 300) for name, corpus in corpora.items()}
table = torch.tensor(
    [
        [bytes_per_token(tokenizer, corpus[:60_000]) for corpus in corpora.values()]
        for tokenizer in trained.values()
    ]
)

# %%
figure, axis = plt.subplots(figsize=(5.4, 3))
axis.imshow(table, vmin=0, vmax=4.5, aspect="auto")
for row, entries in enumerate(table.tolist()):
    for column, entry in enumerate(entries):
        ink = "black" if entry > 2.5 else "white"
        axis.text(column, row, f"{entry:.1f}", ha="center", va="center", color=ink)
axis.set_xticks(range(3), corpora)
axis.set_yticks(range(3), corpora)
axis.set(xlabel="read", ylabel="trained on", title="Bytes per token")
axis.grid(False)
show_figure(
    figure,
    "A three by three table of bytes per token. Each tokenizer is best on the text that it was "
    "trained on; that of the stories is poor on the other two.",
)

# %%
print("each text is read best by its own tokenizer:", table.argmax(dim=0).tolist() == [0, 1, 2])
print("programs by the stories' tokenizer, under half:", bool(table[0, 2] < table[2, 2] / 2))

# %% [markdown]
# ## 12. Move through it
#
# The explorer cuts any text in three ways. Its tokenizers are trained on the documentation, the
# byte pairs with 744 merges. The first slider position is bytes alone; move it and watch words
# assemble. A broken line marks what a tokenizer does not know. **Things to try:**
#
# 1. Move the slider to 0 and press *Next change* again and again. Which pieces of *exception* come
#    first, and after how many merges is it whole?
# 2. Type your name. Which tokenizer knows it, and in how many pieces does it come?
# 3. Type a word twice, with and without a space in front, and once with a capital letter. Do the
#    three have one id?
# 4. Type some numbers: 10, 1000, 1234. Are they cut where you would cut them?
# 5. Type something in another script, or an emoji. Why so many tokens?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.tokens import TokenExplorer

explorer = TokenExplorer(
    CharTokenizer.train(docs),
    WordTokenizer.train(docs),
    BPETokenizer.train(docs, 1000),
    text="An unbelievable exception was raised: 🦊",
)
explorer

# %% [markdown]
# Any tokenizers of the course can be looked at: pass yours in place of these three.

# %% [markdown]
# ## 13. Windows and targets
#
# The text is a row of ids now. What does a model learn from it? **Next-token prediction**: from the
# tokens so far, the **context**, it must say which token comes next, the **target**. A text is full
# of such examples. A **window** of $T$ tokens holds $T$ of them: one for each place, whose
# context is the window up to there. $T$ is the **context length**.

# %%
window_words = WordTokenizer.train(story_text)
ids = torch.tensor(window_words.encode(story))
T = 6
x, y = ids[:T], ids[1 : T + 1]

print("window: ", x.tolist())
print("targets:", y.tolist())

# %% [markdown]
# The targets are the same ids, **shifted by one**: `y[t]` is the token that follows `x[t]`. In
# words:

# %%
names = [window_words.token(id) for id in ids[: T + 1].tolist()]

for t in range(T):
    print(f"{' '.join(names[: t + 1]):<30} ->  {names[t + 1]}")

# %% [markdown]
# What to look for in the drawing: each row is one example. Its context is blue, its target orange
# and hatched, and the target moves one place on with each row. The last target lies outside the
# window, so a window of $T$ tokens needs $T + 1$ ids.


# %%
def draw_examples(axis, names, T):
    """Draw the T examples of one window: a row for each context with its target."""
    for t in range(T):
        for place in range(t + 2):
            is_target = place == t + 1
            colour, hatch = ("C1", "//") if is_target else ("C0", "")
            axis.barh(t, 0.94, left=place, height=0.8, color=colour, hatch=hatch, alpha=0.45)
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1, "alpha": 0.75}
            axis.text(place + 0.47, t, names[place], ha="center", va="center", bbox=box)
    axis.axvline(T - 0.03, linestyle="--", color="0.4")
    axis.text(T - 0.1, -0.75, "end of the window", ha="right", color="0.3")
    axis.set(xlabel="place in the text", ylabel="example", xlim=(0, T + 1), ylim=(T - 0.4, -1.1))
    axis.set_yticks(range(T))
    axis.grid(False)


figure, axis = plt.subplots(figsize=(7, 3.4))
draw_examples(axis, names, T)
axis.set_title("One window, six examples")
show_figure(
    figure,
    "A staircase: in row t the context are the first t + 1 tokens, and the target is the token "
    "after them. The target of the last row lies behind the end of the window.",
)

# %% [markdown]
# ### Stride: where the next window begins
#
# The **stride** is how far the next window begins after this one. With stride $T$ each token is a
# target once. With less, windows overlap: more windows from the same text, and later ones see a
# token with more context before it. With more, parts of the text are never used.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharey=True)
for axis, stride in zip(axes, (4, 2, 6), strict=True):
    for number, start in enumerate(range(0, 20 - 4, stride)):
        axis.barh(number, 4, left=start, height=0.75, color="C0", alpha=0.6)
        axis.barh(number, 1, left=start + 4, height=0.75, color="C1", hatch="//", alpha=0.45)
    axis.set(xlabel="place in the text", title=f"T = 4, stride {stride}", xlim=(0, 20))
    axis.set_xticks(range(0, 21, 4))
axes[0].set(ylabel="window", ylim=(7.6, -0.6))
show_figure(
    figure,
    "Windows of four tokens as bars, each with one more token as the last target. With stride 4 "
    "they touch, with stride 2 each overlaps the next by half, with stride 6 there are gaps.",
)

# %% [markdown]
# ### Exercise 6: windows and targets


# %% tags=["exercise"]
def make_windows(ids, T, stride):
    """Cut a text into windows, with the targets for each place.

    Args:
        ids: the text, an integer tensor of shape (n,) with n at least T + 1.
        T: number of tokens in a window.
        stride: the window number k begins at place k * stride, counted from 0.

    Returns:
        (x, y), two integer tensors of shape (N, T). Row k of x is the window number k; y[k, t] is
        the id that follows x[k, t] in the text. There are as many windows as fit with all their
        targets: a window that begins at place s needs the ids from s to s + T.

    Example:
        make_windows(torch.tensor([7, 8, 9, 10, 11, 12]), 2, 2)
        gives x = [[7, 8], [9, 10]] and y = [[8, 9], [10, 11]].
    """
    ### BEGIN SOLUTION
    starts = range(0, len(ids) - T, stride)
    x = torch.stack([ids[start : start + T] for start in starts])  # (N, T)
    y = torch.stack([ids[start + 1 : start + 1 + T] for start in starts])  # (N, T)
    return x, y
    ### END SOLUTION


# %% tags=["check"]
check("tokens.make_windows", make_windows)

# %% [markdown]
# ## 14. Training and validation: keep them apart
#
# Does a model learn something about language, or does it learn the text by heart? To find out, a
# part of the text is kept back. The *training* part is learned from, the **validation** part is
# only measured on. That **split** is honest as long as nothing of the validation part can be known
# from training. Where something can, there is a **leak**.
#
# ### The wrong way: cut windows, shuffle, split
#
# Here is a natural way to do it. Cut the text into overlapping windows, shuffle them, and keep a
# tenth for validation. No window is in both parts. (`torch.Generator()` is a **generator**, a
# source of random numbers; with the same seed it gives the same ones, so that your run equals
# ours.)

# %%
doc_bpe = BPETokenizer.train(docs[:180_000], 1000)  # the training part alone: see below
doc_ids = torch.tensor(doc_bpe.encode(docs[:200_000]))
T, STRIDE = 64, 16

starts = torch.arange(0, len(doc_ids) - T, STRIDE)
shuffled = starts[torch.randperm(len(starts), generator=torch.Generator().manual_seed(0))]
n_val = len(shuffled) // 10
leaky_train, leaky_val = shuffled[n_val:].tolist(), shuffled[:n_val].tolist()

# %% [markdown]
# **Predict:** of the tokens that are a target in validation, how many, in percent, are the very
# same place in the text that is a target in training?

# %%
my_guess = None  # a number from 0 to 100
predict("tokens.leak", my_guess)


# %%
def target_places(starts):
    """The places in the text that are a target in one of these windows."""
    return {start + 1 + t for start in starts for t in range(T)}


val_places = target_places(leaky_val)
seen = len(val_places & target_places(leaky_train)) / len(val_places)

reveal(
    "tokens.leak",
    outcome=round(100 * seen),
    explanation="With T = 64 and stride 16 each place is a target in four windows. For a place to "
    "be new, all four would have to land in the validation part.",
)

# %% [markdown]
# ### The right way: cut the text first
#
# Cut the row of ids in two, and make windows in each part. No id may be in both, not even as the
# last target of a window.

# %% [markdown]
# ### Exercise 7: split without a leak


# %% tags=["exercise"]
def split_starts(n_ids, T, stride, n_val):
    """Say where the windows begin, for training and for validation.

    Args:
        n_ids: number of ids in the text; places count from 0 to n_ids - 1.
        T: number of tokens in a window. A window at s needs the places s to s + T: T inputs, and
            one more for the last target.
        stride: from the start of one window to the start of the next.
        n_val: the last n_val ids are for validation, all before them for training.

    Returns:
        (train_starts, val_starts), two lists of places, from small to large. Training windows
        begin at 0, stride, 2 * stride and so on, validation windows at the first validation id and
        every stride after it. A window must lie in its own part with all that it needs. A part
        that is too short has no window, and its list is empty.

    Example:
        split_starts(12, 2, 2, 5) gives ([0, 2, 4], [7, 9]).
    """
    ### BEGIN SOLUTION
    cut = n_ids - n_val
    train_starts = list(range(0, cut - T, stride))
    val_starts = list(range(cut, n_ids - T, stride))
    return train_starts, val_starts
    ### END SOLUTION


# %% tags=["check"]
check("tokens.split_starts", split_starts)

# %% [markdown]
# ### Measured: what the leak is worth
#
# A leak matters if something can use it. The simplest thing that can is a table: it notes for every
# eight tokens in training which token came next, and answers validation from memory. It knows the
# text by heart and nothing about language.


# %%
def look_up_accuracy(train_starts, val_starts, n=8):
    """Share of validation targets that a table of the training text answers, in percent."""
    table = {}
    row = doc_ids.tolist()
    for end in target_places(train_starts):
        table[tuple(row[max(0, end - n) : end])] = row[end]
    places = target_places(val_starts)
    right = sum(table.get(tuple(row[max(0, end - n) : end])) == row[end] for end in places)
    return 100 * right / len(places)


cut = int(0.9 * len(doc_ids))
honest_train = list(range(0, cut - T, STRIDE))
honest_val = list(range(cut, len(doc_ids) - T, STRIDE))
leaky = look_up_accuracy(leaky_train, leaky_val)
honest = look_up_accuracy(honest_train, honest_val)

# %% [markdown]
# What to look for: by the leaky split, the table looks nearly perfect.

# %%
figure, axis = plt.subplots(figsize=(5.5, 2.2))
bars = axis.barh(["windows shuffled", "text cut first"], [leaky, honest], color=["C1", "C0"])
bars[0].set_hatch("//")
axis.bar_label(bars, fmt="%.0f %%", padding=3)
axis.set(xlabel="answers of the table that are right (%)", xlim=(0, 112), title="Two splits")
axis.invert_yaxis()
show_figure(
    figure,
    "Two bars: with shuffled windows the table answers nearly everything right, with the text cut "
    "first only a small part.",
)

# %%
print("shuffled windows: above 95 %:", leaky > 95)
print("text cut first: below 30 %:", honest < 30)

# %% [markdown]
# A table that has learned nothing passed as nearly perfect. Whenever a result is too good, look for
# a leak first. `split_text` cuts a text before anything else is done with it, at the end of a line
# or a story. The **tokenizer** belongs to this as well: learn its merges on the training part.

# %% [markdown]
# ## 15. Batches: random or in order
#
# Windows are learned from several at a time, in a **batch**: a tensor of shape $(B, T)$, with $B$
# the **batch size**. Going through the whole text once is an **epoch**.
#
# `get_batch` draws windows at random places, for training. `sequential_batches` goes through the
# text in order and without overlap, for validation, where each token should count exactly once.

# %%
from llm_core.data import get_batch, sequential_batches

rng = torch.Generator().manual_seed(0)
x, y = get_batch(ids, batch_size=3, context_length=6, generator=rng)

print("x:", x.tolist())
print("y:", y.tolist())
print("shapes (B, T):", tuple(x.shape), tuple(y.shape))

# %% [markdown]
# Random draws never go round: some windows come twice, others not at all. Say we draw as many
# windows at random as an epoch in order has, 300 windows of 32 tokens from a text of 9,600.
#
# **Predict:** what share of the tokens, in percent, was in none of them?

# %%
my_guess = None  # a number from 0 to 100
predict("tokens.random", my_guess)

# %%
places = torch.arange(9_633)  # each id is its own place in the text
x, _ = get_batch(places, 300, 32, generator=torch.Generator().manual_seed(1))
visits = torch.bincount(x.flatten(), minlength=len(places))
missed = (visits == 0).float().mean().item()

reveal(
    "tokens.random",
    outcome=round(100 * missed),
    explanation="Each of the 300 windows misses a place with a chance of 1 - 1/300, and all of "
    "them miss it with that to the power of 300, about 1/e or 37 percent.",
)

# %% [markdown]
# What to look for: above, how often each token was visited by random windows; below, by windows in
# order. In the long run, random drawing is even too, and its windows begin anywhere, so that a
# model does not always see the same cut.

# %%
in_order = torch.cat([x.flatten() for x, _ in sequential_batches(places, 50, 32)])
order_visits = torch.bincount(in_order, minlength=len(places))

figure, axes = plt.subplots(2, 1, figsize=(8, 3.2), sharex=True, sharey=True)
for axis, counts, title in zip(
    axes, (visits, order_visits), ("300 random windows", "one epoch in order"), strict=True
):
    axis.fill_between(places, counts, step="mid", alpha=0.7)
    axis.set(title=title, ylabel="visits")
axes[1].set_xlabel("place in the text")
axes[1].xaxis.set_major_formatter("{x:,.0f}")
show_figure(
    figure,
    "Above: visits to each place jump between 0 and 5. Below: every place is visited exactly once.",
)

# %% [markdown]
# ## 16. Texts of different length: padding and packing
#
# A tensor has rows of one length, and texts have not. Two ways out.
#
# **Padding** fills the short rows up with some id, on the right. The targets there must not count,
# or a model would mostly learn to predict padding. They get the **ignore index**, -100, which can
# be no token: whatever measures how well a model predicts leaves these places out.

# %%
from llm_core.data import IGNORE_INDEX, pack_sequences, pad_batch

x, y = pad_batch([[5, 6, 7, 8], [3, 4]], pad_id=0)

print("x:", x.tolist())
print("y:", y.tolist())

# %% [markdown]
# **Packing** lays the texts end to end, with a special token after each, and cuts the row into
# pieces of length $T$. Nothing is wasted but the very end.

# %%
x, y = pack_sequences([[5, 6, 7, 8], [3, 4]], context_length=3, separator_id=0)

print("x:", x.tolist())
print("y:", y.tolist())

# %% [markdown]
# The price of packing: a row may hold the end of one text and the beginning of the next, and a
# model must learn that they have nothing to do with each other. What to look for: twelve stories in
# both ways, each story in its own shade, and a dark bar for each special token. Hatched places are
# padding, computed and thrown away.

# %%
twelve = [window_words.encode(text) for text in stories(12, seed=3)]
numbered = [[number] * len(row) for number, row in enumerate(twelve, start=1)]
padded, padded_y = pad_batch(numbered, pad_id=0)
packed, packed_y = pack_sequences(numbered, padded.shape[1], separator_id=0)
wasted = (padded_y == IGNORE_INDEX).float().mean().item()

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 2.9), sharex=True)
for axis, rows, targets, title in zip(
    axes, (padded, packed), (padded_y, packed_y), ("padded", "packed"), strict=True
):
    style = {"facecolor": "0.92", "edgecolor": "0.6", "hatch": "////", "zorder": -1}
    axis.axhspan(-0.5, len(rows) - 0.5, **style)
    shown = torch.where(targets == IGNORE_INDEX, torch.nan, rows.float())
    axis.imshow(shown, aspect="auto", interpolation="nearest", vmin=0, vmax=12)
    axis.set(xlabel="place in the row", title=f"{title}: {len(rows)} rows", ylim=(11.5, -0.5))
    axis.grid(False)
axes[0].set_ylabel("row of the batch")
show_figure(
    figure,
    "Twelve stories as coloured bars. Padded: twelve rows, the short ones filled up with a hatched "
    "area. Packed: fewer rows, full but for the end of the last, several stories in one row.",
)

# %%
print(f"padded: {len(padded)} rows, {100 * wasted:.0f} % of the places are padding")
print(f"packed: {len(packed)} rows for the same stories")

# %% [markdown]
# ## 17. A text larger than memory
#
# The ids of a large corpus do not fit into memory. A **memory map** leaves them on the disk: the
# array looks as usual, and the operating system brings in the pages, small blocks of the file, that
# are touched.
# `TokenFile` writes ids two bytes each and reads them so. It writes piece by piece, too, from any
# source of lines:

# %%
from llm_core.data import TokenFile

path = Path(workspace.name) / "docs.bin"
lines = docs.splitlines(keepends=True)[:2000]
file = TokenFile.write(path, doc_bpe.encode_iterable(lines), doc_bpe.vocab_size)

print("two bytes an id:", path.stat().st_size == 2 * len(file))
print("the same ids:", file[:1000].tolist() == doc_bpe.encode("".join(lines))[:1000])

# %% [markdown]
# How much memory does training from such a file take? We write a file of 64 MB and draw ten batches
# of eight windows from it. Then we load the same file into a tensor, as one would without a memory
# map. `psutil` says how much of the machine's memory this notebook holds, the touched pages of the
# file included. The numbers vary a little from run to run.

# %%
import numpy as np
import psutil


def megabytes_held():
    """Memory that this process holds now, in MB."""
    return psutil.Process().memory_info().rss / 1e6


path = path.with_name("large.bin")
file = TokenFile.write(path, np.resize(doc_ids.numpy().astype(np.uint16), 32_000_000), 1000)

# %%
before = megabytes_held()
for _ in range(10):
    x, y = get_batch(file, 8, 64, generator=rng)
mapped = megabytes_held() - before

before = megabytes_held()
everything = torch.from_numpy(np.fromfile(path, dtype=np.uint16).astype(np.int64))
loaded = megabytes_held() - before
del everything

# %%
figure, axis = plt.subplots(figsize=(6, 2.4))
ways = ["file on the disk", "loaded into a tensor", "memory map, ten batches"]
bars = axis.barh(ways, [64, loaded, mapped], color=["0.7", "C1", "C0"])
axis.bar_label(bars, fmt="%.0f MB", padding=3)
axis.set(xlabel="MB", xlim=(0, 1.25 * max(loaded, 64)), title="Memory held")
axis.invert_yaxis()
show_figure(
    figure,
    "Three bars: the file takes 64 MB on the disk, the tensor several times as much memory, the "
    "memory map a small part of the file's size.",
)

# %%
print("the tensor takes more than twice the file:", loaded > 2 * 64)
print("the memory map takes less than half of it:", mapped < 64 / 2)

# %% [markdown]
# The file could be a hundred times as large: only touched pages are brought in, and the system
# takes them back when it needs the room.

# %% [markdown]
# ## 18. A test that proves too little
#
# A colleague found exercise 5 too slow and wrote `greedy_encode_word(word, merges)`: from the left,
# it always takes the longest token that fits. No merges to replay. Their test passes on every word
# of the documentation:

# %%
from llm_core.exercises.tokens import greedy_encode_word

merges = doc_bpe.merges
token_of = [bytes([byte]) for byte in range(256)] + [left + right for left, right in merges]


def comes_back(word):
    """Whether the tokens of the greedy encoding, put together, are the word again."""
    return b"".join(token_of[id] for id in greedy_encode_word(word, merges)) == word


doc_words_bytes = bpe_training.count_words([docs[:100_000]], None)
print("every word comes back:", all(comes_back(word) for word in doc_words_bytes))

# %% [markdown]
# ### Exercise 8: expose the bug
#
# And yet the function is wrong: a model that was trained on the one meets the other as a strange
# text. Find merges and a word that give different ids. Why can their test never see it?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `greedy_encode_word` from the right encoding of exercise 5.

    Returns:
        (merges, word): merges is a list of pairs (left, right) of byte strings, the first learned
        first; each side is a single byte or what an earlier merge has made, and no token is made
        twice. word is bytes. The ids of the two functions must differ.
    """
    ### BEGIN SOLUTION
    merges = [(b"b", b"c"), (b"a", b"b")]
    return merges, b"abc"
    ### END SOLUTION


# %% tags=["check"]
check("tokens.expose_bug", expose_bug)

# %% [markdown]
# ## 19. Assemble it
#
# A byte-level BPE tokenizer in one class. Each line is something that you have built above.


# %%
class Tokenizer:
    """Byte-pair encoding: train on a text, encode, decode."""

    def __init__(self, merges):
        self.merges = merges
        self.tokens = [bytes([byte]) for byte in range(256)] + [a + b for a, b in merges]
        self.id_of = {token: id for id, token in enumerate(self.tokens)}
        self.cache = {}

    @classmethod
    def train(cls, text, vocab_size):
        word_counts = bpe_training.count_words([text], None)
        return cls(learn_by_update(word_counts, vocab_size - 256))

    def encode_word(self, word):
        if word not in self.cache:
            tokens = apply_merges(word.encode("utf-8"), self.merges)
            self.cache[word] = [self.id_of[token] for token in tokens]
        return self.cache[word]

    def encode(self, text):
        return [id for word in bpe_training.words_of(text) for id in self.encode_word(word)]

    def decode(self, ids):
        return b"".join(self.tokens[id] for id in ids).decode("utf-8", errors="replace")


# %% [markdown]
# The whole way, from a messy text to batches, by hand and with `llm_core`:

# %%
cleaned = clean_text(half_messy[:150_000])
train_text, val_text = split_text(cleaned)

mine = Tokenizer.train(train_text, 600)
finished = BPETokenizer.train(train_text, 600)

print("the same merges:", mine.merges == finished.merges)
print("the same ids:", mine.encode(val_text) == finished.encode(val_text))
print("text comes back:", mine.decode(mine.encode(val_text + "🦊")) == val_text + "🦊")

# %%
val_ids = torch.tensor(mine.encode(val_text))
starts = range(0, len(val_ids) - 32, 32)
my_x = torch.stack([val_ids[start : start + 32] for start in starts])  # (N, T)
my_y = torch.stack([val_ids[start + 1 : start + 33] for start in starts])  # (N, T)

x, y = next(sequential_batches(val_ids, batch_size=len(starts), context_length=32))
print("the same windows:", torch.equal(my_x, x), torch.equal(my_y, y))

# %% [markdown]
# Later chapters import `BPETokenizer`, `WordTokenizer`, `get_batch` and `TokenFile`.
#
# ### What the numbers mean: nothing
#
# An id is a name. In the word vocabulary of the stories, neighbours in number have nothing to do
# with each other, and arithmetic with ids is as senseless as adding up house numbers:

# %%
for name in ("king", "queen", "red", "river"):
    id = window_words.encode(name)[0]
    print(f"{name:>6} is {id:>3}, between {window_words.token(id - 1)!r} and ", end="")
    print(repr(window_words.token(id + 1)))

# %% [markdown]
# A model cannot compute with names. `02_embeddings` gives each id a row of numbers, a vector, and
# lets the text itself decide which words come to lie close together.

# %% [markdown]
# ## Recap
#
# 1. **Cleaning** gives one form to what means one thing; a rule that joins two meanings destroys.
# 2. **Characters** make long rows, **words** leave unknown ones. **BPE** starts from 256 bytes and
#    merges the most frequent pair of neighbours, again and again: no text is unknown.
# 3. Merges are learned **inside words**, and replayed **in the order in which they were learned**.
# 4. A **window** of $T$ tokens holds $T$ examples; its **targets** are the ids shifted by one.
# 5. **Cut the text before the windows**, or validation measures what was learned by heart. Padding
#    does not count, packing wastes nothing, a memory map reads what does not fit.

# %% [markdown]
# ## Quiz

# %%
quiz("tokens.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 02](02_embeddings.ipynb). An id says nothing about its word; there each gets
#   numbers that do.
# - Train a tokenizer on text in another language. How many bytes per token does it reach on that
#   text, and how many on English?
# - Count to 2,000 with the tokenizer of the documentation. Which numbers are one token, and what
#   might that do to a model that should add?
# - GPT-2's pattern puts any number of digits into one word. Change it so that no token holds more
#   than three digits, as newer models do. What changes in the compression of `programs`?
# - In section 14, take stride 64. How much of the leak is left, and where does it come from?
#
# ## Papers
#
# - Sennrich et al. 2016, [Neural Machine Translation of Rare Words with Subword
#   Units](https://arxiv.org/abs/1508.07909), section 3.2: byte-pair encoding for words.
# - Radford et al. 2019, [Language Models are Unsupervised Multitask
#   Learners](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf),
#   section 2.2: byte-pair encoding on bytes, and why merges stop at words.
# - Gage 1994, [A New Algorithm for Data
#   Compression](http://www.pennelynn.com/Documents/CUJ/HTML/94HTML/19940045.HTM): where the merging
#   of pairs began.
# - Unicode Standard Annex 15, [Unicode Normalization Forms](https://unicode.org/reports/tr15/).
