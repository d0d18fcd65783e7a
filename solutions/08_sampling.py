# %% [markdown]
# # 8 · Sampling
#
# ![The course as a row of eight steps, from tokens to sampling. Step 8, sampling, is
# highlighted.](../assets/map_08.svg)
#
# A trained model does not write. It reads a text and says, for every token, how likely that token
# is to come next. **Sampling** is what turns these probabilities into a text: choose one token, add
# it, ask again. How you choose decides whether the text is dull, lively, or nonsense.
#
# **You will build** greedy choice, the draw by chance, temperature, four ways to hold chance in
# check (top-k, top-p, min-p and a penalty for repeating), beam search, and batches of **prompts**
# (the texts to be continued) of different length.
#
# **You need** the chapters before this one: softmax and the causal mask (04), the whole model (06),
# entropy and perplexity (07).
#
# **Time:** about 100 minutes to read and solve, 50 seconds to run.

# %% [markdown]
# ## Set-up
#
# Run this cell first. It is safe to run again at any time.
#
# Every term of the course stands in the [glossary](../assets/glossary.md), with the chapter that
# explains it.

# %%
import re
import sys
import textwrap
from collections import Counter
from itertools import pairwise

import matplotlib.pyplot as plt
import torch
from tqdm import tqdm

from llm_core import sampling
from llm_core.corpus import check_stories, stories
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style
from llm_core.pretrained import load_pretrained

use_course_style()
_ = torch.set_printoptions(precision=3, sci_mode=False)

# %% [markdown]
# `sampling` is the finished module of the course. The text below uses it wherever a later step
# needs an earlier one, so you can skip an exercise and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Five questions on chapters 04 to 07. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("sampling.warmup")

# %% [markdown]
# ## 1. From logits to a choice
#
# The model of this chapter was trained on short stories. It gives logits, one number for each of
# the $V$ tokens that it knows, and softmax turns them into a distribution, one probability for
# each. Only the logits of the **last** position matter here: they say what comes after the text.

# %%
model, tokenizer = load_pretrained("stories")
V, WINDOW = model.config.vocab_size, model.config.context_length


@torch.no_grad()
def next_logits(ids):
    """From a list of ids to the logits of the token that comes next: shape (V,)."""
    logits, _ = model(torch.tensor([ids[-WINDOW:]]))  # (1, T, V)
    return logits[0, -1]  # (V,)


# %% [markdown]
# `ids[-WINDOW:]` shows the model at most as many tokens as it can look at. Section 10 says what
# that means.
#
# What to look for in the plot: the stories were written by a program that lets a queen have one of
# four names, each as likely as the others. What has the model made of that?


# %%
def draw_bars(axis, logits, title, n_bars=8):
    """Draw the probabilities of the likeliest tokens."""
    probabilities, ids = logits.softmax(dim=-1).topk(n_bars)
    names = [tokenizer.token(i) for i in ids.tolist()]
    bars = axis.barh(names[::-1], probabilities.flip(0))
    axis.bar_label(bars, fmt="%.2f", padding=3)
    axis.set(xlabel="probability", xlim=(0, 1.12), title=title)


text = "Once there was a queen called"
figure, axis = plt.subplots(figsize=(6, 2.8))
draw_bars(axis, next_logits(tokenizer.encode(text)), f'After "{text}"')
show_figure(figure, "Four names of women share nearly all of the probability; the rest is near 0.")

# %% [markdown]
# ### Greedy: always the likeliest
#
# The first idea is to take the token with the largest logit, every time. This is **greedy** choice.
# Softmax is not needed for it: it keeps the order of the numbers.

# %%
ids = tokenizer.encode(text)
for _ in range(7):
    ids.append(next_logits(ids).argmax().item())

print(tokenizer.decode(ids))

# %% [markdown]
# ### Exercise 1: greedy, token by token
#
# The same with an end. A **stop token** says that the text is finished; in the stories it is
# `<|endoftext|>`. The text may also end because enough tokens have been added.


# %% tags=["exercise"]
def greedy_continue(next_logits, ids, max_new_tokens, stop_id=None):
    """Continue a text with the likeliest token, again and again.

    Args:
        next_logits: function that takes a list of ids and returns the logits of the token that
            comes after them, shape (V,). Show it the whole text so far.
        ids: list of ids, the text to continue. This list is not changed.
        max_new_tokens: the most tokens to add, 0 or more.
        stop_id: the text ends when this id has been added; None for no such id. It may be 0. An
            id that stands in the text already ends nothing.

    Returns:
        A new list of ints: ids, and what was added, the stop token included. Among equal logits
        the lowest id is taken, as argmax does.
    """
    # Step 1: a list of your own, so that the caller's stays as it is.
    ### BEGIN SOLUTION
    ids = list(ids)
    ### END SOLUTION
    # Step 2: at most max_new_tokens times, find the likeliest token and add it;
    # step 3: leave the loop when it was the stop token.
    ### BEGIN SOLUTION
    for _ in range(max_new_tokens):
        new_id = next_logits(ids).argmax().item()
        ids.append(new_id)
        if new_id == stop_id:
            break
    ### END SOLUTION
    # Step 4: hand the list back.
    ### BEGIN SOLUTION
    return ids
    ### END SOLUTION


# %% tags=["check"]
check("sampling.greedy_continue", greedy_continue)

# %% [markdown]
# Stuck? `hint("sampling.greedy_continue")` in a new cell shows one hint; run it again for the next
# one. The fourth time it shows a solution.

# %% [markdown]
# ### What is wrong with it: loops
#
# Greedy repeats itself. The reason is easiest to see in a model that looks at one token only. It
# counts, in 500 stories, which token follows which, and always takes the most frequent one.

# %%
words = re.findall(r"\w+|[^\w\s]", " ".join(stories(500, seed=0)))
pairs = Counter(pairwise(words))
follower = {first: second for (first, second), _ in reversed(pairs.most_common())}

told = ["Once"]
for _ in range(20):
    told.append(follower[told[-1]])
print(" ".join(told))

# %% [markdown]
# As soon as a word comes back, all that follows comes back: the same input gives the same output.
# The model of this course looks at 100 tokens, so it takes longer. We let it write on past the end
# of the story, 300 tokens in all.
#
# **Predict:** how many **different** stories will it write?

# %%
my_guess = None  # a number, for example 4
predict("sampling.loop", my_guess)

# %%
prompt = torch.tensor(tokenizer.encode("Once there was a"))
long_text = sampling.generate(model, prompt, 300, temperature=0)
finished = tokenizer.decode(long_text.tolist()).split("<|endoftext|>\n")[:-1]

for story in finished:
    print(story[:72], "...")
reveal(
    "sampling.loop",
    outcome=len(set(finished)),
    explanation="Once the same story stands in the window again, everything after it must repeat.",
)

# %% [markdown]
# `temperature=0` is how `generate` is told to be greedy. Large models fall into such loops too, the
# more so the longer they write greedily.

# %% [markdown]
# ## 2. Drawing by chance
#
# The stories have four names for a queen, and a good writer uses them all. So let chance decide,
# with each token as likely as the model says. To **draw** a token, lay the tokens side by side on a
# line of length 1, each a stretch as long as its probability, and throw a dart.

# %%
probabilities = torch.tensor([0.5, 0.2, 0.25, 0.05])
names = ["Mia", "Zoe", "Lily", "Anna"]

figure, axis = plt.subplots(figsize=(7, 1.5))
start = 0.0
for name, p, hatch in zip(names, probabilities.tolist(), ["", "//", "..", "xx"], strict=True):
    axis.barh(0, p, left=start, color="white", edgecolor="C0", hatch=hatch)
    axis.text(start + p / 2, 0.62, name, ha="center", va="bottom")
    start += p
axis.plot([0.83], [0], "v", color="C5", markersize=11)
axis.text(0.83, -0.62, "u = 0.83", ha="center", va="top", color="C5")
axis.set(xlim=(0, 1), ylim=(-1.15, 1.05), yticks=[])
axis.grid(False)
show_figure(figure, "A line from 0 to 1 cut into four stretches; u = 0.83 falls into that of Lily.")

# %% [markdown]
# The dart is a random number $u$, equally likely anywhere from 0 up to, but not including, 1. It
# falls into a stretch with the probability that is the length of the stretch. The stretch of token
# $i$ ends where the running sum $p_0 + p_1 + \dots + p_i$ stands.

# %%
print("ends of the stretches:", probabilities.cumsum(dim=0))

# %% [markdown]
# ### Exercise 2: draw a token
#
# Each stretch holds its beginning and not its end. So a token of probability 0 has a stretch
# without a single point and never comes.


# %% tags=["exercise"]
def draw(probabilities, u):
    """Return the token in whose stretch of the line from 0 to 1 the number u lies.

    Args:
        probabilities: shape (V,), not negative, adding up to 1 but for rounding. Token 0 comes
            first on the line, then token 1, and so on.
        u: a float with 0 <= u < 1.

    Returns:
        The id of the token as an int: the first whose stretch ends beyond u. Where rounding leaves
        the sum of all probabilities at or below u, the last token with a probability above 0.

    Example:
        probabilities [0.5, 0.25, 0.25] and u = 0.5 give 1: the stretch of token 0 ends there.
    """
    ### BEGIN SOLUTION
    total, last = 0.0, 0
    for token, probability in enumerate(probabilities.tolist()):
        if probability > 0:
            last = token
        total += probability
        if u < total:
            return token
    return last
    ### END SOLUTION


# %% tags=["check"]
check("sampling.draw", draw)

# %% [markdown]
# `torch.multinomial` does the same for many rows at once. Its chance comes from a generator, whose
# start, the seed, fixes everything that it will ever give. The same seed writes the same
# text; this is what makes an experiment with chance repeatable.


# %%
def story_from(seed):
    """Draw the beginning of a story, 12 tokens long, with the chance of one seed."""
    generator = torch.Generator().manual_seed(seed)
    return sampling.generate(model, prompt, 12, generator=generator).tolist()


print("seed 1 twice gives the same:", story_from(1) == story_from(1))
print("seed 2 gives the same as seed 1:", story_from(2) == story_from(1))

# %% [markdown]
# ## 3. Temperature
#
# Greedy and the plain draw are two ends of a scale. Between them lies a number, the
# **temperature** $\tau$: divide all logits $z_i$ by it before the softmax.
#
# $$p_i = \text{softmax}\!\left(\frac{z}{\tau}\right)_i = \frac{e^{z_i/\tau}}{\sum_j e^{z_j/\tau}}$$
#
# Below 1 the differences between logits grow and the likely becomes likelier; above 1 they shrink.

# %%
logits = torch.tensor([3.0, 2.0, 1.0, -1.0])

for temperature in (0.25, 0.5, 1.0, 2.0, 100.0):
    print(f"temperature {temperature:>6}: {(logits / temperature).softmax(dim=-1)}")

# %% [markdown]
# Near 0 the largest takes all, as in greedy choice; at 100 all four are almost alike. The order of
# the tokens never changes.

# %% [markdown]
# ### The wrong way: divide the probabilities
#
# It seems simpler to divide the probabilities themselves, and then make them add up to one again.

# %%
probabilities = logits.softmax(dim=-1)
divided = probabilities / 0.5

print("before:", probabilities)
print("after: ", divided / divided.sum())

# %% [markdown]
# Nothing happens: the factor stands above and below the fraction and cancels. The logits are the
# place, since there a factor becomes a power: $p_i$ turns into $p_i^{1/\tau}$, made to add up to
# one.

# %%
powers = probabilities ** (1 / 0.5)
print("by powers:", powers / powers.sum())
print("by logits:", (logits / 0.5).softmax(dim=-1))

# %% [markdown]
# ### How unsure is a distribution? Entropy
#
# One number says how spread out a distribution is. A token of probability $p$ comes with a surprise
# of $-\ln p$ (chapter 02). The entropy, met in chapter 07 as the floor under every loss, is the
# surprise to be expected on average, when the tokens come with these very probabilities:
#
# $$H(p) = \sum_i p_i \cdot (-\ln p_i)$$
#
# It is measured in nats. A token of probability 0 never surprises anybody and counts as 0. ($H$
# here is entropy, not the number of heads.)


# %%
def entropy(probabilities):
    """Mean surprise, in nats, of tokens drawn from a row of probabilities."""
    possible = probabilities[probabilities > 0]
    return (possible * -possible.log()).sum().item()


for p in ([1.0, 0.0, 0.0, 0.0], [0.7, 0.1, 0.1, 0.1]):
    print(f"{p}: {entropy(torch.tensor(p)):.3f}")

# %% [markdown]
# **Predict:** what is the entropy when all four are equally likely? (The surprise of each is
# $-\ln \frac14$.)

# %%
my_guess = None  # a number, for example 0.5
predict("sampling.entropy", my_guess)

# %%
reveal(
    "sampling.entropy",
    outcome=round(entropy(torch.full((4,), 0.25)), 3),
    explanation="The mean of four equal surprises is that surprise, ln 4 = 1.386. Four tokens "
    "cannot have more, and V tokens at most ln V.",
)

# %% [markdown]
# Turned round, $e^H$ is the number of equally likely tokens that would be just as unsure. (Chapter
# 07 called $e^{\text{loss}}$ the perplexity; there the surprise was at the tokens of a real text.)
#
# What to look for in the plot: three places in a story. At one, eight words may come, at one, four,
# and at one, a single word. Where are the curves flat, and where do they leave the dashed lines?

# %%
PLACES = {"Once there was a": 8, "Once there was a queen called": 4, "Once there": 1}
temperatures = torch.linspace(0.2, 3.0, 57)

figure, axis = plt.subplots(figsize=(7, 3.4))
for (text, allowed), style in zip(PLACES.items(), ["-", "--", ":"], strict=True):
    logits = next_logits(tokenizer.encode(text))
    rows = sampling.entropy(logits / temperatures[:, None])  # (57,)
    (line,) = axis.plot(temperatures, rows.exp(), style, label=f'"{text} ..."')
    axis.axhline(allowed, color=line.get_color(), linewidth=0.8, linestyle=(0, (2, 4)))
axis.set(xlabel="temperature", ylabel=r"$e^H$, tokens", yscale="log", ylim=(0.8, 200))
axis.set_yticks([1, 4, 8, 30, 100], ["1", "4", "8", "30", "100"])
axis.legend(loc="upper left")
show_figure(
    figure,
    "Tokens' worth of choice against temperature, on a logarithmic scale: up to about 1 the curves "
    "stay near 8, 4 and 1, from 2 on all three rise steeply towards the whole vocabulary.",
)

# %% [markdown]
# Up to about 1 the model chooses among the words that the stories allow there. Beyond, one
# curve after the other rises: the choice is now between good words and **any** words.

# %% [markdown]
# ## 4. Cutting off the tail
#
# A model never says 0. A small probability is left for each token that does not fit, and there are
# many of them: this is the **tail** of the distribution. One draw rarely falls into it. A text is
# many draws. Suppose that the tail holds one hundredth:

# %%
for n_tokens in (10, 60, 300):
    print(f"{n_tokens:>3} tokens: no draw from the tail with probability {0.99**n_tokens:.2f}")

# %% [markdown]
# And one token that does not fit spoils those after it, because the model reads what it wrote. So
# we cut the tail off before the draw. A dropped token gets the logit minus infinity, and softmax
# gives it exactly 0, as with the causal mask.

# %% [markdown]
# ### Top-k: keep the k likeliest
#
# The simplest cut counts. **Top-k** keeps the $k$ tokens with the largest logits. The $k$-th
# largest is the limit, and all below it goes.

# %%
logits = torch.tensor([1.0, 4.0, 3.0, 2.0])
limit = logits.topk(2).values[-1]  # the second largest
kept = logits.masked_fill(logits < limit, float("-inf"))

print("limit:", limit.item(), " kept:", kept)
print("probabilities:", kept.softmax(dim=-1))

# %% [markdown]
# What if several logits **tie** for the last place? Here all of them are kept, even if that makes
# more than $k$: which token is kept must not depend on the order of the vocabulary. (Some libraries
# keep exactly $k$; Hugging Face does as we do.)

# %% [markdown]
# ### Exercise 3: top-k
#
# Several rows at once now: `...` stands for any axes before the last one.


# %% tags=["exercise"]
def top_k_filter(logits, k):
    """Keep the k largest logits of each row, and set all others to minus infinity.

    Args:
        logits: shape (..., V); each row along the last axis is a distribution of its own. Some may
            be -inf already.
        k: how many to keep, at least 1. A k of V or more keeps everything.

    Returns:
        A new tensor (..., V): logits that are smaller than the k-th largest of their row are -inf,
        all others unchanged. Logits equal to the k-th largest are all kept. The dtype is that of
        logits, which is not changed itself.
    """
    # Step 1: k must not be larger than the vocabulary.
    k = min(k, logits.shape[-1])
    # Step 2: the k-th largest logit of each row, with an axis of length 1 kept.
    ### BEGIN SOLUTION
    limit = logits.topk(k, dim=-1).values[..., -1:]  # (..., 1)
    ### END SOLUTION
    # Step 3: minus infinity where a logit is below the limit of its row.
    ### BEGIN SOLUTION
    return logits.masked_fill(logits < limit, float("-inf"))
    ### END SOLUTION


# %% tags=["check"]
check("sampling.top_k_filter", top_k_filter)

# %% [markdown]
# ### Where counting fails
#
# No number is right everywhere. What to look for: the dashed line is where $k = 5$ cuts. Which good
# tokens does it drop on the left, and what does it keep on the right?

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
for axis, text in zip(axes, ("Once there was a", "Once there"), strict=True):
    draw_bars(axis, next_logits(tokenizer.encode(text)) / 1.5, f'"{text} ..."', n_bars=9)
    axis.axhline(3.5, color="C5", linestyle="--")  # between the fifth and the sixth
    axis.text(1.1, 3.6, "k = 5", color="C5", ha="right", va="bottom")
show_figure(
    figure,
    "Two bar charts at temperature 1.5. Left: eight equally likely tokens, of which the line at "
    "k = 5 keeps five. Right: one token takes all; the line keeps four more that are near 0.",
)

# %% [markdown]
# ### Top-p: keep what it takes to reach p
#
# **Top-p** counts probability in place of tokens. Go through the tokens from the likeliest down,
# and stop when their probabilities add up to $p$. What is kept is called the **nucleus**, hence the
# other name, nucleus sampling. By hand, with $p = 0.7$:

# %%
probabilities = torch.tensor([0.1, 0.5, 0.1, 0.3])
ordered, order = probabilities.sort(descending=True, stable=True)
sum_before = ordered.cumsum(dim=0) - ordered

for token, p, before in zip(order.tolist(), ordered.tolist(), sum_before.tolist(), strict=True):
    print(f"token {token}: {p:.1f}, before it {before:.1f}, kept: {before < 0.7}")

# %% [markdown]
# Three rules are hidden in `before < p`:
#
# - **The token that crosses is kept.** Token 3 carries the sum from 0.5 across 0.7 to 0.8. Without
#   it, what is kept would not reach $p$.
# - **At least one is kept**, since nothing stands before the likeliest.
# - **Where the sum is exactly $p$**, it has been reached, and the next token goes.
#
# And if two are equally likely, the one with the lower id comes first: `stable=True` keeps their
# order.

# %% [markdown]
# ### The wrong way: drop the token that crosses
#
# `cumsum <= p` looks just as good. Then the sure model is punished: if the likeliest token alone
# has more than $p$, nothing at all is kept.

# %%
logits = torch.tensor([0.1, 0.8, 0.1]).log()
ordered, order = logits.softmax(dim=-1).sort(descending=True, stable=True)
kept = torch.zeros(3, dtype=torch.bool).scatter(0, order, ordered.cumsum(dim=0) <= 0.7)

print("kept:", kept)
print("probabilities:", logits.masked_fill(~kept, float("-inf")).softmax(dim=-1))

# %% [markdown]
# `scatter(0, order, decision)` sends each decision back to the place that its token came from:
# entry `i` of the decisions goes to place `order[i]`. You will need it.

# %% [markdown]
# ### Exercise 4: top-p
#
# No steps this time: the whole function is yours.


# %% tags=["exercise"]
def top_p_filter(logits, p):
    """Keep the fewest likeliest tokens of each row whose probabilities reach p together.

    Args:
        logits: shape (..., V); each row along the last axis is a distribution of its own. Some may
            be -inf already.
        p: share of the probability to keep, 0 < p <= 1. p = 1 keeps everything, however unlikely.

    Returns:
        A new tensor (..., V): -inf where a token is dropped, all others unchanged. A token is kept
        if the probabilities of those before it, sorted from the largest down, add up to less than
        p. Among equal probabilities the lower id comes first. The dtype is that of logits, which
        is not changed itself.

    Example:
        Probabilities 0.1, 0.5, 0.1, 0.3 and p = 0.7 keep the tokens 1 and 3.
    """
    ### BEGIN SOLUTION
    if p == 1:
        return logits.clone()
    ordered, order = logits.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    sum_before = ordered.cumsum(dim=-1) - ordered
    dropped = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, sum_before >= p)
    return logits.masked_fill(dropped, float("-inf"))
    ### END SOLUTION


# %% tags=["check"]
check("sampling.top_p_filter", top_p_filter)

# %% [markdown]
# ### Exercise 5: expose the bug
#
# A colleague wrote `unsorted_top_p(logits, p)`. Their test passes:

# %%
from llm_core.exercises.sampling import unsorted_top_p

logits = torch.tensor([4.0, 3.0, 1.0, 0.0])
same = torch.equal(unsorted_top_p(logits, 0.9), sampling.top_p_filter(logits, 0.9))

print("the colleague's test passes:", same)

# %% [markdown]
# Write an input on which it keeps other tokens than the right function. What in their test hides
# the bug?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `unsorted_top_p` from the right top-p.

    Returns:
        (logits, p): logits is a floating-point tensor of finite numbers, of shape (V,) or with
        axes before it; p is a number with 0 < p <= 1. The two functions must keep different
        tokens.
    """
    ### BEGIN SOLUTION
    return torch.tensor([0.0, 3.0, 1.0]), 0.5
    ### END SOLUTION


# %% tags=["check"]
check("sampling.expose_bug", expose_bug)

# %% [markdown]
# ### Min-p: measure from the likeliest
#
# Top-p has a weakness of its own. At a high temperature the tail is so heavy that $p$ reaches deep
# into it. **Min-p** sets a limit for each token: it must be at least, say, a tenth as likely as the
# likeliest.

# %%
probabilities = torch.tensor([0.1, 0.5, 0.04, 0.3, 0.06])
limit = 0.1 * probabilities.max()

print(f"limit: {limit.item():.2f}, kept: {(probabilities >= limit).tolist()}")

# %% [markdown]
# ### All three side by side
#
# We know how many tokens the stories allow at a place, so we can count how well each cut hits that
# number. Temperature 2 makes the tail heavy.

# %%
print(f"{'text':<32}{'allowed':>8}{'k = 5':>7}{'p = 0.9':>9}{'min-p 0.1':>11}")
for text, allowed in PLACES.items():
    logits = next_logits(tokenizer.encode(text)) / 2.0
    cuts = (
        sampling.top_k_filter(logits, 5),
        sampling.top_p_filter(logits, 0.9),
        sampling.min_p_filter(logits, 0.1),
    )
    k, p, min_p = (int(torch.isfinite(cut).sum()) for cut in cuts)
    print(f"{text:<32}{allowed:>8}{k:>7}{p:>9}{min_p:>11}")

# %% [markdown]
# Min-p hits all three here. It is no law: a place at which one word is likely and many others are
# rare but good is cut too hard. In practice one cut is used, not all; top-p near 0.9 and min-p near
# 0.1 are common.
#
# A test of the course holds all these filters equal to those of Hugging Face's `transformers`, but
# for ties in top-p, which that library breaks by the order of its sort.

# %% [markdown]
# ## 5. A penalty for repeating
#
# Another remedy for loops works on tokens that have come before. The **repetition penalty**
# $\theta$ makes them less likely. The paper that proposed it
# ([Keskar et al. 2019](https://arxiv.org/abs/1909.05858)) divides their logits by $\theta$.

# %% [markdown]
# ### The wrong way: divide every logit

# %%
logits = torch.tensor([3.0, 1.0, -2.0, -3.0])
divided = logits.clone()
divided[3] = divided[3] / 1.5  # token 3 has come before

print(f"token 3 before: {logits.softmax(dim=-1)[3].item():.4f}")
print(f"token 3 after:  {divided.softmax(dim=-1)[3].item():.4f}")

# %% [markdown]
# The token has become **likelier**. Dividing −3 by 1.5 gives −2, which is larger. So the sign
# decides: a positive logit is divided, a negative one multiplied, and both become smaller.

# %% [markdown]
# ### Exercise 6: the repetition penalty


# %% tags=["exercise"]
def apply_repetition_penalty(logits, ids, penalty):
    """Make the tokens that stand in ids less likely.

    Args:
        logits: shape (B, V), scores of the next token of B texts.
        ids: shape (B, T), the tokens of each text so far, ids from 0 to V - 1. A token may stand
            there several times.
        penalty: a number above 0; above 1 it works against repetition.

    Returns:
        A new tensor (B, V). Where a token stands in its own row of ids, a positive logit is divided
        by the penalty and any other multiplied by it, once, however often the token stands there.
        All other logits are unchanged. The dtype is that of logits, and no input is changed.

    Example:
        logits [[3.0, -3.0, 2.0]], ids [[0, 1, 1]] and penalty 1.5 give [[2.0, -4.5, 2.0]].
    """
    ### BEGIN SOLUTION
    seen = logits.gather(1, ids)  # (B, T) the logits of the tokens so far
    changed = torch.where(seen > 0, seen / penalty, seen * penalty)
    return logits.scatter(1, ids, changed)
    ### END SOLUTION


# %% tags=["check"]
check("sampling.apply_repetition_penalty", apply_repetition_penalty)

# %% [markdown]
# ### What it costs
#
# The penalty knows nothing of meaning. Good texts repeat names, colours and full stops, and a story
# must. To measure this, we take 16 stories up to a question in them, such as *Who has the ball
# now?*, let the model answer, and count how many answers are true. `check_stories` can tell: it
# keeps account of who has what.

# %%
told = [story for story in stories(120, seed=77) if "?" in story][:16]
questions = [story[: story.index("?") + 1] for story in told]
FULL_STOP = tokenizer.encode(".")[0]


def share_of_true(answers):
    """Share of the questions to which the answer, one sentence for each, is true."""
    n_true = 0
    for question, answer in zip(questions, answers, strict=True):
        before, after = check_stories(question), check_stories(f"{question} {answer}")
        n_true += after.n_true_facts - before.n_true_facts
    return n_true / len(questions)


# %% [markdown]
# The 16 questions have different lengths. Section 10 shows how a batch of them is made; here it is
# a tool.


# %%
def answers_by(**choice):
    """Let the model answer all questions at once, each up to its full stop."""
    ids, mask = sampling.pad_left([tokenizer.encode(question) for question in questions])
    rows = sampling.generate(model, ids, 10, mask=mask, stop_id=FULL_STOP, **choice)
    answers = [tokenizer.decode(row[ids.shape[1] :].tolist()) for row in rows]
    return [answer.split(".")[0].strip() + "." for answer in answers]


print(textwrap.fill(f"{questions[0]} -> {answers_by(temperature=0)[0]}", width=80))

# %%
penalties = [1.0, 1.3, 2.0, 3.0]
true_shares = [
    share_of_true(answers_by(temperature=0, repetition_penalty=penalty)) for penalty in penalties
]

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(penalties, true_shares, "o-")
axis.set(xlabel="repetition penalty", ylabel="share of true answers", ylim=(0, 1.05))
show_figure(
    figure,
    "The share of true answers against the penalty: nearly all without one, falling steeply as it "
    "grows.",
)

# %%
print("Without a penalty, more than 0.8 are true:", true_shares[0] > 0.8)
print("With a penalty of 3, less than half of that:", true_shares[-1] < true_shares[0] / 2)

# %% [markdown]
# To answer, the model must repeat what stands in the story, and that is what the penalty forbids.
# Use it lightly, near 1.1, and where loops are a greater evil than slips.

# %% [markdown]
# ## 6. All of it under your hand
#
# The explorer below shows the next token's distribution after any beginning. The outline of a bar
# is what the model says; the filled part is what your settings make of it. **Things to try:**
#
# 1. Move the temperature to 2 and back to 0.2. Watch the entropy in the summary.
# 2. Leave the temperature at 2 and move top-p down from 1, then put it back and move min-p up.
#    Which cuts off the words that do not fit, and keeps the eight that do?
# 3. Click a bar, or move to one with the arrow keys and press Enter: the text goes on with it.
#    Take an unlikely one. How does the model recover? Undo, and take another.
# 4. Type *Once there was a queen called Mia. She had a friend, a king called*. Which names are
#    left, and why?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.sampling import NextTokenExplorer

NextTokenExplorer(model, tokenizer, prompt="Once there was a", temperature=1.0)

# %% [markdown]
# ## 7. The trade-off, measured
#
# Now the question of this chapter in numbers: what does daring buy, and what does it cost? For each
# temperature we draw nine stories, break them off at 60 tokens (three in four real stories are
# longer), and measure
#
# - the **entropy** of the choices, averaged over all tokens;
# - the share of **well-formed sentences**, which the grammar of the stories could have written;
# - the share of **distinct 4-grams**. An **n-gram** is a run of $n$ tokens; where texts say the
#   same things again, fewer of their n-grams are different.


# %%
START = tokenizer.encode("<|endoftext|>\n")  # what stands before a story
STORY_END = START[0]


def write_stories(n_stories, **choice):
    """Draw stories as lists of ids, without their end, broken off at 60 tokens."""
    starts, rng = torch.tensor([START] * n_stories), torch.Generator().manual_seed(0)
    rows = sampling.generate(model, starts, 60, stop_id=STORY_END, generator=rng, **choice)
    return [[id for id in row[len(START) :].tolist() if id != STORY_END] for row in rows]


def share_well_formed(rows):
    """Share of well-formed ones among the sentences; a last one that breaks off does not count."""
    texts = [re.sub(r"[^.?!]*$", "", tokenizer.decode(row)) for row in rows]
    return check_stories("<|endoftext|>\n".join(texts)).share_well_formed


# %%
@torch.no_grad()
def mean_entropy(rows, temperature, min_p):
    """Mean entropy, over all tokens of the stories, of the distribution each was drawn from."""
    ids, mask = sampling.pad_left([[*START, *row] for row in rows])
    logits, _ = model(ids, mask=mask)  # (B, T, V)
    changed = sampling.min_p_filter(logits / temperature, min_p)
    return sampling.entropy(changed)[:, :-1][mask[:, 1:]].mean().item()


# %% tags=["nbval-ignore-output"]
TEMPERATURES = [0.3, 1.0, 1.5, 2.0]
measured = {}
for min_p in (0.0, 0.1):
    for temperature in tqdm(TEMPERATURES, desc=f"min-p {min_p}", file=sys.stdout):
        rows = write_stories(9, temperature=temperature, min_p=min_p)
        quality, variety = share_well_formed(rows), sampling.distinct_ngrams(rows, 4)
        measured[min_p, temperature] = mean_entropy(rows, temperature, min_p), quality, variety

# %% [markdown]
# What to look for on the left: which curve falls as the others rise, and where. On the right each
# point is one temperature (its number stands beside those of the plain draw): further right is more
# varied, higher up better formed. Where would you like to be, and which line leads there?

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
hot, quality, variety = zip(*(measured[0.0, t] for t in TEMPERATURES), strict=True)
left.plot(TEMPERATURES, quality, "o-", label="well-formed sentences")
left.plot(TEMPERATURES, variety, "s--", label="distinct 4-grams")
left.plot(TEMPERATURES, hot, "^:", label="entropy (nats)")
left.set(xlabel="temperature", title="Plain draw", ylim=(0, None))
left.legend()
for min_p, style, colour in ((0.0, "o-", "C0"), (0.1, "D--", "C2")):
    _, quality, variety = zip(*(measured[min_p, t] for t in TEMPERATURES), strict=True)
    right.plot(variety, quality, style, color=colour, label=f"min-p {min_p}" if min_p else "plain")
    if min_p == 0:
        for t, x, y in zip(TEMPERATURES, variety, quality, strict=True):
            right.annotate(f"{t}", (x, y), (3, -13), textcoords="offset points", size=9)
right.set(xlabel="distinct 4-grams", ylabel="well-formed sentences", title="The trade-off")
right.set(ylim=(0, 1.12))
right.legend(loc="lower left")
show_figure(
    figure,
    "Left, against temperature: the share of well-formed sentences is high up to 1 and then falls, "
    "while distinct 4-grams and entropy rise. Right: the plain draw runs from well formed and "
    "repetitive to varied and broken; with min-p all temperatures stay well formed.",
)

# %%
worst, best = measured[0.0, 2.0][1], measured[0.1, 2.0][1]
print("At temperature 2, plain: less than 0.7 well formed:", worst < 0.7)
print("At temperature 2 with min-p 0.1: more than 0.8:", best > 0.8)

# %% [markdown]
# Temperature alone buys variety with mistakes. A cut takes most of the mistakes away and keeps
# about half of what was won, because it drops the tail and not the choice among good words.
# There is no best setting; there is a best one for a purpose. (Nine stories are few: expect the
# points to wobble by a few hundredths.)

# %% [markdown]
# ## 8. Beam search: the likeliest text as a whole
#
# Greedy takes the likeliest **token** each time. Does that give the likeliest **text**? Here is a
# model of two steps. After *red* it is unsure, after *blue* it is sure.

# %%
first = {"red": 0.6, "blue": 0.4}
second = {"red": {"ball": 0.4, "boat": 0.3, "pen": 0.3}, "blue": {"rope": 0.9, "pen": 0.1}}

for a, p in first.items():
    for b, q in second[a].items():
        print(f"{a + ' ' + b:<10} {p} × {q} = {p * q:.2f}")

# %% [markdown]
# Greedy takes *red*, then *ball*: 0.24. The likeliest text is *blue rope*, 0.36, but it begins with
# the less likely token. To find it, one must keep *blue* in mind for a while.
#
# Trying every text is out of the question: with $V$ tokens there are $V^n$ texts of $n$ tokens.
# **Beam search** follows the few best beginnings, the **beams**, and drops the rest at each step.

# %% [markdown]
# ### Add logarithms
#
# The probability of a text is the product of its tokens' probabilities. A product of many small
# numbers soon leaves what a float can hold.

# %%
probabilities = torch.full((60,), 0.01)

print("product:", probabilities.prod().item())
print("sum of logarithms:", round(probabilities.log().sum().item(), 1))

# %% [markdown]
# With 0, no two texts can be compared any more. The logarithm turns the product into a sum and
# keeps the order: the larger the product, the larger the sum. So a beam's **score** is the sum of
# its tokens' $\ln p$, a negative number; nearer to 0 is better.

# %% [markdown]
# ### Exercise 7: one step of beam search
#
# $N$ beams can each go on in $V$ ways. All $N \cdot V$ candidates compete for the places.
#
# `flatten()` lays a table out row by row, so entry `[n, v]` comes to place `n * V + v`. For whole
# numbers, `place // V` and `place % V` bring `n` and `v` back.


# %% tags=["exercise"]
def beam_step(scores, log_probs, n_beams):
    """Extend every beam by every token and keep the best candidates.

    Args:
        scores: shape (N,), the sum of ln p of each beam so far.
        log_probs: shape (N, V), ln p of each token as the next one of each beam.
        n_beams: how many candidates to keep, at most N * V.

    Returns:
        (best, parents, tokens), each of shape (n_beams,), the best candidate first. `best` holds
        the new scores, in the dtype of scores; `parents` says which beam each candidate extends,
        0 to N - 1, and `tokens` by which token, both int64. (No two candidates tie.)

    Example:
        scores [0.0, -1.0], log_probs [[-1.0, -3.0], [-0.5, -4.0]] and 2 beams give
        best [-1.0, -1.5], parents [0, 1], tokens [0, 0].
    """
    ### BEGIN SOLUTION
    V = log_probs.shape[1]
    totals = scores[:, None] + log_probs  # (N, V)
    best, places = totals.flatten().topk(n_beams)
    return best, places // V, places % V
    ### END SOLUTION


# %% tags=["check"]
check("sampling.beam_step", beam_step)

# %% [markdown]
# ### Beams that end
#
# Some beams reach the stop token. They are **finished**: they are set aside with their score, and
# the search goes on with others. When is it over, and who wins? Compare a short text with a long
# one:

# %%
short = [-1.0, -1.0]  # ln p of its tokens
long = [-0.6, -0.3, -0.4, -0.5, -0.4]

print(f"sums:  short {sum(short):.2f}, long {sum(long):.2f}")
print(f"means: short {sum(short) / 2:.2f}, long {sum(long) / 5:.2f}")

# %% [markdown]
# By the sum the short text wins, although the model is less sure of each of its tokens. Every
# further token adds a negative number, so a sum favours texts that end soon. **Length
# normalisation** divides it by a power of the number of tokens $n$:
#
# $$\text{score} = \frac{\sum_{t=1}^{n} \ln p_t}{n^{\alpha}}$$
#
# $\alpha = 0$ is the plain sum, $\alpha = 1$ the mean per token. (Libraries call $\alpha$ the
# length penalty, though a larger one favours long texts.)

# %% [markdown]
# ### The whole search
#
# At each step the candidates are sorted. Of the best `n_beams`, those that end are finished; the
# best `n_beams` that do not end live on. Twice as many candidates as beams are enough to look at.


# %%
def beam_search(next_log_probs, n_tokens, n_beams, stop_id, alpha=1.0):
    """Return [(score, ids), ...] with the best first; a text's score is its sum over n^alpha."""
    live, finished = [(0.0, [])], []
    for _ in range(n_tokens):
        scores = torch.tensor([total for total, _ in live])
        log_probs = torch.stack([next_log_probs(ids) for _, ids in live])  # (N, V)
        twice = min(2 * n_beams, log_probs.numel())
        best, places = (scores[:, None] + log_probs).flatten().topk(twice)
        before, live = live, []
        for rank, (total, place) in enumerate(zip(best.tolist(), places.tolist(), strict=True)):
            parent, token = divmod(place, log_probs.shape[1])
            ids = [*before[parent][1], token]
            if token == stop_id and rank < n_beams:
                finished.append((total / len(ids) ** alpha, ids))
            elif token != stop_id and len(live) < n_beams:
                live.append((total, ids))
        if not live:
            break
    finished += [(total / len(ids) ** alpha, ids) for total, ids in live]
    return sorted(finished, reverse=True)[:n_beams]


# %% [markdown]
# On a vocabulary of three tokens one can try every text, and see what the search misses. What to
# look for: one beam, two, and so on; how much of the best score does each reach?

# %%
rng = torch.Generator().manual_seed(134)
table = (3 * torch.randn(40, 3, generator=rng)).log_softmax(dim=-1)


def toy_log_probs(ids):
    """ln p of the next of three tokens; a row of the table for each beginning."""
    return table[sum((3**i) * (id + 1) for i, id in enumerate(ids)) % 40]


def log_prob(ids):
    """Sum of the tokens' ln p."""
    return sum(toy_log_probs(ids[:i])[id].item() for i, id in enumerate(ids))


# %%
every_text = [[i // 27, i // 9 % 3, i // 3 % 3, i % 3] for i in range(81)]
print(f"best of all 81 texts: {max(map(log_prob, every_text)):.3f}")
for n_beams in (1, 2, 3, 9):
    (score, ids), *_ = beam_search(toy_log_probs, 4, n_beams, stop_id=None, alpha=0.0)
    print(f"{n_beams} beams: {ids} with {score:.3f}")

# %% [markdown]
# One beam is greedy. More beams find more; with enough of them, nothing is dropped and the search
# is complete. In between it may miss the best: a text whose beginning was dropped is lost for good.

# %% [markdown]
# ### Where it helps: answers
#
# Back to the 16 questions, each of which has a true answer. We let the model answer by drawing at
# temperature 1.5 (three times, and take the mean), greedily, and by beam search with three beams.

# %% tags=["nbval-ignore-output"]
by_beams = []
for question in tqdm(questions, desc="beam search", file=sys.stdout):
    ids = torch.tensor(tokenizer.encode(question))
    best = sampling.beam_search(model, ids, 10, n_beams=3, stop_id=FULL_STOP)[0]
    by_beams.append(tokenizer.decode(list(best.ids)))

# %%
drawn = []
for seed in (1, 2, 3):
    rng = torch.Generator().manual_seed(seed)
    drawn.append(share_of_true(answers_by(temperature=1.5, generator=rng)))
shares = [sum(drawn) / 3, share_of_true(answers_by(temperature=0)), share_of_true(by_beams)]

figure, axis = plt.subplots(figsize=(6, 2.2))
bars = axis.barh(["draw, temperature 1.5", "greedy", "3 beams"], shares, color=["C0", "C1", "C2"])
axis.bar_label(bars, fmt="%.2f", padding=3)
axis.invert_yaxis()
axis.set(xlabel="share of true answers", xlim=(0, 1.12))
show_figure(
    figure,
    "Bars of true answers: the draw has fewer than greedy and beam search, which are alike.",
)

# %%
print("greedy answers are true at least as often as drawn ones:", shares[1] >= shares[0])
print("beam search is within 0.1 of greedy:", abs(shares[2] - shares[1]) <= 0.1)

# %% [markdown]
# A question with one right answer wants the likeliest text, and chance can only add mistakes. That
# greedy does as well as the beams says something about this model: it is sure of every token of
# its answers, so the first choice is the right one. Beams pay where a good text begins with an
# unlikely token, as *blue* did; translation is the classic case.

# %% [markdown]
# ### Where it is dull: stories
#
# **Predict:** ten stories drawn by chance are ten different ones. How many different stories do ten
# runs of beam search give?

# %%
my_guess = None  # a number, for example 3
predict("sampling.beam_stories", my_guess)

# %%
start = torch.tensor(START)
runs = [sampling.beam_search(model, start, 90, n_beams=3, stop_id=STORY_END) for _ in range(2)]
texts = [run[0].ids for run in runs]

reveal(
    "sampling.beam_stories",
    outcome=len(set(texts)),
    explanation="There is no chance in it: two runs gave the same story, and so would ten.",
)

# %% [markdown]
# It is one story, the same every time, and it is more probable than real stories. What to look for
# in the plot: how surprised is the model, token by token, by its beam's story and by a real one?


# %%
@torch.no_grad()
def surprises(ids):
    """Surprise of the model at each token of a story, in nats."""
    row = torch.tensor([[*START, *ids]])
    log_probs = model(row)[0][0].log_softmax(dim=-1)  # (T, V)
    return [-log_probs[t, id].item() for t, id in enumerate(row[0, 1:].tolist())][1:]


beam_story = [id for id in texts[0] if id != STORY_END]
real_story = tokenizer.encode(stories(1, seed=5)[0])

figure, axis = plt.subplots(figsize=(9, 3))
axis.plot(surprises(real_story), "-", label="a real story", drawstyle="steps-mid")
axis.plot(surprises(beam_story), ":", label="beam search", drawstyle="steps-mid", color="C5")
axis.set(xlabel="token of the story", ylabel="surprise (nats)")
axis.legend()
show_figure(
    figure,
    "Surprise along two stories: the real one has high peaks, where it chooses a name or a place; "
    "the beam's story has lower and fewer ones.",
)

# %%
print(textwrap.fill(tokenizer.decode(beam_story), width=80))
real, beam = surprises(real_story), surprises(beam_story)
print("less surprising, on average:", sum(beam) / len(beam) < sum(real) / len(real))

# %% [markdown]
# A real story chooses: one of four names, of eight places, of four colours. The beams take the
# choices that cost least, and always the same ones. Real texts surprise now and then, and that is
# what makes them worth reading. So for open-ended writing, draw. (Holtzman et al. found the same in
# large models and real prose.)

# %% [markdown]
# ### Watch it search
#
# The tree grows from left to right, a column for each token, the best candidate of a step on top.
# Solid boxes live on, dashed grey ones with a × were pruned, double ones with a ■ are finished:
# here a full stop ends a beam. **Things to try:**
#
# 1. Press *Step* until the end. Does the winner always stand on top?
# 2. Set one beam: this is greedy. Set five: which beginnings are now kept alive?
# 3. Stand at the last step and move $\alpha$ from 0 to 2. Which sentence wins at each end, and why?
# 4. Move through the tree with the arrow keys and read the numbers of a candidate.

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.sampling import BeamExplorer

BeamExplorer(model, tokenizer, prompt="Once there was a queen called Mia.")

# %% [markdown]
# ## 9. Streaming
#
# **Streaming** shows each token as soon as it is chosen. In Python a function that says `yield`
# hands out one value at a time and goes on when asked for the next.


# %%
def stream(ids, max_new_tokens, temperature, stop_id, generator):
    """Yield the new ids one at a time, the stop token included."""
    ids = list(ids)
    for _ in range(max_new_tokens):
        probabilities = (next_logits(ids) / temperature).softmax(dim=-1)
        ids.append(torch.multinomial(probabilities, 1, generator=generator).item())
        yield ids[-1]
        if ids[-1] == stop_id:
            return


# %%
for new_id in stream(prompt.tolist(), 80, 0.8, STORY_END, torch.Generator().manual_seed(4)):
    print(tokenizer.token(new_id), end=" ", flush=True)

# %% [markdown]
# `flush=True` sends each piece to the screen at once. The loop ends with the story, because the
# stop token came. Two details are left to `sampling.text_pieces`: the space before a word and none
# before a full stop, and characters such as é, of which a byte-pair token may hold only a part.

# %%
ids = prompt.tolist()
generator = torch.Generator().manual_seed(4)
new_ids = sampling.stream(
    model, prompt, 80, temperature=0.8, stop_id=STORY_END, generator=generator
)
for piece in sampling.text_pieces(tokenizer, ids, new_ids):
    print(piece, end="", flush=True)

# %% [markdown]
# In a terminal, `python -m llm_core sample` and `python -m llm_core chat` write in this way.

# %% [markdown]
# ## 10. Many prompts, and long texts
#
# A model works faster on several texts at once. But prompts differ in length, and a tensor does
# not. The short ones are filled up with **padding**. On which side?
#
# In training it stands on the right (chapter 01). When writing, the next token is read off the
# **last column**. With padding on the right, a short prompt would be continued after its padding.
# So here it stands on the **left**.

# %%
prompts = [tokenizer.encode(t) for t in ("Once there was a queen called", "Once there")]
ids, mask = sampling.pad_left(prompts, pad_id=0)

print(ids)
print(mask)

# %% [markdown]
# ### The wrong way: padding that is read as text
#
# Filling up is not enough. The model would look at the padding as at any token, and take the first
# word of the short prompt for the fifth. Compare with the short prompt alone:

# %%
alone, _ = model(torch.tensor([prompts[1]]))
careless, _ = model(ids)
masked, _ = model(ids, mask=mask)

for name, logits in (("padded, no mask", careless), ("padded and masked", masked)):
    difference = (logits[1, -1] - alone[0, -1]).abs().max().item()
    print(f"{name:<18} logits as for the prompt alone: {difference < 1e-4}")

# %% [markdown]
# Two things repair it. A **mask** keeps every token from looking at padding, as the causal mask
# keeps it from looking ahead: the score becomes minus infinity before the softmax. And
# **positions** count from the first real token of each row. The model's `mask=` does both.

# %% [markdown]
# ### Exercise 8: prompts side by side


# %% tags=["exercise"]
def pad_left(prompts, pad_id):
    """Lay prompts of different length side by side, so that all end in the last column.

    Args:
        prompts: list of B lists of ids, none empty. They are not changed.
        pad_id: what fills the rows up. A prompt may hold this id as a token of its own.

    Returns:
        (ids, mask, positions), each of shape (B, T), where T is the longest prompt's length.
        `ids` (int64) has each prompt in the last columns of its row, pad_id before it. `mask`
        (bool) is True at tokens of the prompt and False at padding. `positions` (int64) is 0 at a
        prompt's first token, 1 at its second, and so on, and 0 at padding.

    Example:
        pad_left([[4, 5, 6], [7]], pad_id=0) gives ids [[4, 5, 6], [0, 0, 7]], mask
        [[True, True, True], [False, False, True]], positions [[0, 1, 2], [0, 0, 0]].
    """
    ### BEGIN SOLUTION
    T = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad_id] * (T - len(prompt)) + prompt for prompt in prompts])  # (B, T)
    real = [[False] * (T - len(prompt)) + [True] * len(prompt) for prompt in prompts]
    mask = torch.tensor(real)  # (B, T)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (B, T)
    return ids, mask, positions
    ### END SOLUTION


# %% tags=["check"]
check("sampling.pad_left", pad_left)

# %% [markdown]
# With that, a batch writes what each prompt would write alone. Rows that have reached their stop
# token wait for the others; `generate` fills them up with it and spends no work on them.

# %%
together = sampling.generate(model, ids, 12, temperature=0, mask=mask)
one_by_one = [sampling.generate(model, torch.tensor(p), 12, temperature=0) for p in prompts]

for row, real, one in zip(together, mask, one_by_one, strict=True):
    n_padding = int((~real).sum())
    print("same as alone:", torch.equal(row[n_padding:], one), "|", tokenizer.decode(one.tolist()))

# %% [markdown]
# ### Longer than the window
#
# The model can look at `context_length` tokens, here 100. A longer text does not fit:

# %%
too_long = torch.ones(1, WINDOW + 1, dtype=torch.long)
try:
    model(too_long)
except ValueError as error:
    print(str(error)[:78], "...")

# %% [markdown]
# So it is shown the last 100 tokens only: `ids[-WINDOW:]` in section 1. The window **slides**. The
# first token in it stands at position 0 again, wherever it stood before: positions count within the
# window, and none is larger than the model has learned. What has left the window is forgotten.
#
# How much does it matter? We shrink the window and ask the 16 questions again.

# %%
ids, mask = sampling.pad_left([tokenizer.encode(question) for question in questions])


def answers_with_window(window):
    """Answer all questions greedily, with only the last `window` tokens in sight."""
    rows, real, more = ids, mask, torch.ones(len(ids), 1, dtype=torch.bool)
    for _ in range(10):
        logits = sampling.next_logits(model, rows[:, -window:], real[:, -window:])
        rows = torch.cat([rows, sampling.greedy(logits)[:, None]], dim=1)  # (B, T + 1)
        real = torch.cat([real, more], dim=1)  # (B, T + 1)
    answers = [tokenizer.decode(row.tolist()) for row in rows[:, ids.shape[1] :]]
    return [answer.split(".")[0].strip() + "." for answer in answers]


windows = [8, 16, 32, 64, 100]
seen_shares = [share_of_true(answers_with_window(window)) for window in windows]

# %% [markdown]
# What to look for: from which window on is the model as good as it can be? A story has about 75
# tokens.

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.semilogx(windows, seen_shares, "o-", base=2)
axis.set_xticks(windows, [str(window) for window in windows])
axis.minorticks_off()
axis.set(xlabel="window (tokens)", ylabel="share of true answers", ylim=(0, 1.05))
show_figure(
    figure,
    "The share of true answers against the window: near 0 with 8 tokens, rising steeply up to 32 "
    "and slowly from there to 100, where the window holds a whole story.",
)

# %%
print("With 8 tokens fewer than a third are true:", seen_shares[0] < 1 / 3)
print("With 64 tokens at least 0.8:", seen_shares[3] >= 0.8)

# %% [markdown]
# A model has no memory but its window. Whoever chats with one for long should know: the beginning
# of the talk is not remembered dimly, it is gone.

# %% [markdown]
# ## 11. Assemble it
#
# All steps in one function, in the usual order: penalty, temperature, cuts, draw. Each line is
# something that you have built above.


# %%
@torch.no_grad()
def generate(model, ids, max_new_tokens, temperature, top_k, top_p, min_p, penalty, generator):
    """Continue each row of ids (B, T) by max_new_tokens: shape (B, T + max_new_tokens)."""
    for _ in range(max_new_tokens):
        logits = model(ids[:, -model.config.context_length :])[0][:, -1]  # (B, V)
        logits = sampling.apply_repetition_penalty(logits, ids, penalty)
        logits = logits / temperature
        logits = sampling.top_k_filter(logits, top_k)
        logits = sampling.top_p_filter(logits, top_p)
        logits = sampling.min_p_filter(logits, min_p)
        new_ids = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)  # (B, 1)
        ids = torch.cat([ids, new_ids], dim=1)  # (B, T + 1)
    return ids


# %% [markdown]
# The finished version in `llm_core/sampling/` has the same parts, and stop tokens, padding and
# checks of its arguments around them. With the same settings and the same seed, the two write the
# same text.

# %%
ids = torch.tensor([tokenizer.encode("Once there was a")] * 3)
seeds = [torch.Generator().manual_seed(6) for _ in range(2)]
mine = generate(model, ids, 25, 1.2, 40, 0.95, 0.02, 1.05, seeds[0])
finished = sampling.generate(
    model, ids, 25, temperature=1.2, top_k=40, top_p=0.95, min_p=0.02, repetition_penalty=1.05,
    generator=seeds[1],
)  # fmt: skip

print("equal to llm_core's:", torch.equal(mine, finished))

# %% [markdown]
# And the beam search of section 8, on the model of the stories:


# %%
def story_log_probs(ids):
    """ln p of the token after the prompt and the ids of a beam."""
    return next_logits([*prompt.tolist(), *ids]).log_softmax(dim=-1)


mine = beam_search(story_log_probs, 8, n_beams=3, stop_id=STORY_END)
finished = sampling.beam_search(model, prompt, 8, n_beams=3, stop_id=STORY_END)

print("equal to llm_core's:", [tuple(ids) for _, ids in mine] == [beam.ids for beam in finished])

# %% [markdown]
# ## Recap
#
# 1. **Greedy** takes the largest logit and falls into loops; a **draw** takes each token as often
#    as its probability says, and the same seed gives the same text.
# 2. **Temperature** divides the logits: below 1 safer, above 1 more daring. **Entropy**, the mean
#    surprise, says how unsure a distribution is.
# 3. **Top-k** keeps a number of tokens, **top-p** an amount of probability with the token that
#    crosses, **min-p** all that are near the likeliest; the penalty divides or multiplies by sign.
# 4. **Beam search** adds up $\ln p$, keeps finished beams and divides by the length. Use it, or
#    greedy, where one answer is right; draw where many are.
# 5. Prompts of different length are padded on the **left**, masked, and counted from their own
#    first token; beyond the window nothing is seen.

# %% [markdown]
# ## Quiz

# %%
quiz("sampling.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## What you have built
#
# From a text to tokens (01), to vectors (02) with places (03), through attention (04) and blocks
# (05) to a whole model (06); you have trained it (07), and now it writes. Nothing in between is a
# black box any more. A large language model has the same parts, more of them and larger.
#
# What comes later in the course: writing without computing everything anew for each token, modern
# variants of every part, training on many devices, training published models further for a task of
# your own, looking inside, and teaching a model what people prefer.

# %% [markdown]
# ## Go further
#
# - Talk to the model: `python -m llm_core chat` in a terminal. `--help` lists the settings of this
#   chapter.
# - In section 7, add curves for top-p 0.9 and for top-k 5. Which comes near min-p?
# - Change `beam_search` so that it draws candidates in place of taking the best. Does the story
#   become livelier?
# - Cut with entropy: keep tokens whose surprise is near the entropy of the distribution. (This is
#   locally typical sampling, [Meister et al. 2022](https://arxiv.org/abs/2202.00666).)
#
# ## Papers
#
# - Holtzman et al. 2020, [The Curious Case of Neural Text
#   Degeneration](https://arxiv.org/abs/1904.09751): why likely texts are dull, and top-p.
# - Fan et al. 2018, [Hierarchical Neural Story Generation](https://arxiv.org/abs/1805.04833),
#   section 5.1: top-k.
# - Nguyen et al. 2024, [Min-p Sampling](https://arxiv.org/abs/2407.01082).
# - Keskar et al. 2019, [CTRL](https://arxiv.org/abs/1909.05858), section 4.1: the repetition
#   penalty.
# - Wu et al. 2016, [Google's Neural Machine Translation
#   System](https://arxiv.org/abs/1609.08144), section 7: length normalisation in beam search.
# - Li et al. 2016, [A Diversity-Promoting Objective Function](https://arxiv.org/abs/1510.03055):
#   distinct n-grams.
