# %% [markdown]
# # 4 · Attention
#
# ![The course as a row of eight steps, from tokens to sampling. Step 4, attention, is
# highlighted.](../assets/map_04.svg)
#
# After chapters 02 and 03 every token of a text has a vector that says which token it is and where
# it stands. It knows nothing yet of the tokens around it. **Attention** is the part of a
# Transformer in which tokens look at each other and carry information from one place in the text
# to another. Chapter 03 used it as a finished tool; here you build it.
#
# **You will build** softmax, the causal mask, scaled dot-product attention and multi-head
# attention, each first with six tokens and numbers that you can check by hand.
#
# **You need** the tensors of `00_start_here`, and from `01_tokens` to `03_positions`: windows and
# targets, the vector of a token, the gradient and the loss, positions.
#
# **Time:** about 75 minutes to read and solve, 35 seconds to run.

# %% [markdown]
# ## Set-up
#
# Run this cell first. It is safe to run again at any time.
#
# Every term of the course stands in the [glossary](../assets/glossary.md), with the chapter that
# explains it.

# %%
import math
import sys
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from llm_core import attention
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style

use_course_style()
_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# `attention` is the finished module of the course. The text below uses it wherever a later step
# needs an earlier one, so you can skip an exercise and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Four questions on chapters 00 to 03. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("attention.warmup")

# %% [markdown]
# ## 1. The problem: a word that means nothing alone
#
# Read this beginning of a story:
#
# > Mia has the ball. She ...
#
# To continue, you look back from *She* to *Mia*. You do not give every earlier word the same
# weight: *Mia* matters, the full stop hardly at all. **Attention** does this with numbers. For one
# token it works out a **weight** for every token that it may look at, and returns the weighted
# average of what those tokens have to say.
#
# Three vectors for each token make that possible. All three are computed from the token's own
# vector.
#
# | Vector | Question it answers | In the example |
# |---|---|---|
# | **query** | What am I looking for? | *She*: "a person, named earlier" |
# | **key** | What do I offer to those who look? | *Mia*: "a person, with a name" |
# | **value** | What do I hand over when looked at? | *Mia*: "this is about Mia" |
#
# A query is compared with every key. Where they match, much of that token's value flows.

# %% [markdown]
# ### Six tokens, three numbers
#
# Here are keys for six tokens, written by hand. Each key has three numbers, and each number has a
# meaning that we chose: *is a person*, *is a thing*, *is a small word or sign*.

# %%
tokens = ["Mia", "has", "the", "ball", ".", "She"]
keys = torch.tensor(
    [
        [2.0, 0.0, 0.0],  # Mia: certainly a person
        [0.0, 0.0, 1.0],  # has
        [0.0, 0.0, 1.0],  # the
        [0.0, 2.0, 0.0],  # ball: certainly a thing
        [0.0, 0.0, 1.0],  # .
        [1.0, 0.0, 0.0],  # She: a person, but one without a name
    ]
)

# %% [markdown]
# The query of *She* asks for a person, so its first number is large. A **score** is the dot product
# of the query with one key: multiply number by number, then add. The better they match, the higher
# the score.

# %%
query_of_she = torch.tensor([2.0, 0.0, 0.0])

for token, key in zip(tokens, keys, strict=True):
    score = (query_of_she * key).sum().item()
    print(f"{token:>5}: score {score:.0f}")

# %% [markdown]
# *Mia* scores 4, *She* itself 2, all others 0. We cannot average with these numbers yet: they do
# not add up to one. Section 2 turns scores into weights.

# %% [markdown]
# ## 2. From scores to weights: softmax
#
# **Weights** must not be negative, and must add up to one. **Softmax**, a tool until now, gets
# there with the exponential, which makes every number positive and lets high scores stand out, and
# by dividing by the total, which makes them add up to one.
#
# $$\text{softmax}(x)_i = \frac{e^{x_i}}{\sum_j e^{x_j}}$$
#
# $x$ is the row of scores, $x_i$ the score of token $i$, and $j$ runs over all tokens in the row.
# Here it is with its steps labelled.

# %%
scores = torch.tensor([4.0, 0.0, 0.0, 0.0, 0.0, 2.0])

exponentials = scores.exp()  # step 1: make every score positive
total = exponentials.sum()  # step 2: add them up
weights = exponentials / total  # step 3: divide, so that they add up to one

print("weights:", weights)
print(f"sum: {weights.sum().item():.2f}")

# %% [markdown]
# ### The wrong way: overflow
#
# The formula is right on paper and breaks on a computer. Scores of a model that trains badly can
# reach the hundreds. A 32-bit float ends near $3.4 \cdot 10^{38}$, which is about $e^{88}$.

# %%
large_scores = torch.tensor([1000.0, 998.0])
exponentials = large_scores.exp()

print("exponentials:", exponentials)
print("weights:", exponentials / exponentials.sum())

# %% [markdown]
# Infinity divided by infinity is NaN, *not a number* (`nan`). One such entry spreads through the
# whole model, and training is lost.
#
# The way out: subtract the same number $m$ from every score. Top and bottom of the fraction are
# both divided by $e^m$, so the weights do not change. With $m$ = the largest score, the largest
# exponential is $e^0 = 1$, and nothing can overflow.

# %%
shifted = large_scores - large_scores.max()
exponentials = shifted.exp()

print("shifted scores:", shifted)
print("weights:", exponentials / exponentials.sum())

# %% [markdown]
# ### Exercise 1: softmax
#
# Write softmax for a tensor of any shape. `dim` says along which axis the weights add up to one.
# Each slice along `dim` has its own largest entry: `x.amax(dim=..., keepdim=True)` finds them.
# (`x.max(dim=...)` returns a pair: the values, and where they stood.)


# %% tags=["exercise"]
def softmax(x, dim):
    """Turn scores into weights that are positive and add up to one along `dim`.

    Args:
        x: floating-point tensor of any shape. An entry may be -inf; it gets exactly the weight 0.
            Every slice along `dim` has at least one finite entry.
        dim: the axis along which the weights add up to one, 0 for the first, -1 for the last.

    Returns:
        A new tensor with the shape and dtype of `x`. `x` itself is not changed, and gradients
        flow back to it: use torch operations only.

    Example:
        softmax(torch.tensor([[0.0, 0.0], [1000.0, 1000.0]]), dim=1)
        gives [[0.5, 0.5], [0.5, 0.5]].
    """
    ### BEGIN SOLUTION
    largest = x.amax(dim=dim, keepdim=True)
    exponentials = (x - largest).exp()
    return exponentials / exponentials.sum(dim=dim, keepdim=True)
    ### END SOLUTION


# %% tags=["check"]
check("attention.softmax", softmax)

# %% [markdown]
# Stuck? `hint("attention.softmax")` in a new cell shows one hint; run it again for the next one.
# The fourth time it shows a solution.

# %% [markdown]
# ## 3. One query looks at six tokens
#
# We have weights for *She*. Now each token hands over its value, as much of it as its weight says.
# Our hand-written values have two numbers: *is about Mia*, *is about the ball*.

# %%
values = torch.tensor(
    [
        [1.0, 0.0],  # Mia
        [0.0, 0.0],  # has
        [0.0, 0.0],  # the
        [0.0, 1.0],  # ball
        [0.0, 0.0],  # .
        [0.0, 0.0],  # She: knows no name yet
    ]
)
weights = attention.softmax(keys @ query_of_she / math.sqrt(3), dim=0)

# %% [markdown]
# `keys @ query_of_she` computes all six dot products at once. The division by $\sqrt{3}$ is new:
# 3 is the width of the query, how many numbers it has, and section 4 shows why it is there.
#
# What to look for in the plot: how much of the weight sits on *Mia*, and what is left for the words
# that do not match at all.

# %%
figure, axis = plt.subplots(figsize=(6, 2.4))
bars = axis.bar(tokens, weights)
axis.bar_label(bars, fmt="%.2f", padding=2)
axis.set(ylabel="weight", ylim=(0, 0.75), title='Where "She" looks')
show_figure(figure, "Bar chart of six weights: Mia 0.58, She 0.18, every other token 0.06.")

# %% [markdown]
# No weight is zero. Softmax never rules a token out; it makes it count little. The **output** of
# attention is the weighted average of the values.

# %%
output = torch.zeros(2)
for weight, value in zip(weights, values, strict=True):
    output = output + weight * value

print("token by token:", output)
print("at once:       ", weights @ values)

# %% [markdown]
# Before, the vector of *She* knew nothing of Mia. Now it carries 0.58 of "is about Mia". That is
# all of attention for one query:
#
# $$\text{output} = \sum_j w_j \, v_j \qquad w = \text{softmax}\!\left(\frac{K q}{\sqrt{D}}\right)$$
#
# $q$ is the query, the rows of $K$ are the keys, $v_j$ is the value of token $j$, $w_j$ its weight,
# and $D$ the width of the query and of each key.

# %% [markdown]
# ### Exercise 2: one query attends
#
# The three steps have their names; write a line of code for each.


# %% tags=["exercise"]
def attend_one(query, keys, values):
    """Let one query look at T tokens.

    Args:
        query: shape (D,).
        keys: shape (T, D), one key for each token.
        values: shape (T, Dv), one value for each token. Dv may differ from D.

    Returns:
        (output, weights), in this order: the weighted average of the values, shape (Dv,), and
        the weights, shape (T,), which add up to one. Both have the dtype of the inputs, and no
        input is changed.

    Example:
        With one token there is nothing to choose: its weight is 1 and the output is its value.
    """
    # Step 1: one score for each token, divided by the square root of D.
    ### BEGIN SOLUTION
    scores = keys @ query / math.sqrt(query.shape[0])  # (T,)
    ### END SOLUTION
    # Step 2: from scores to weights.
    ### BEGIN SOLUTION
    weights = attention.softmax(scores, dim=0)  # (T,)
    ### END SOLUTION
    # Step 3: the weighted average of the values.
    ### BEGIN SOLUTION
    return weights @ values, weights
    ### END SOLUTION


# %% tags=["check"]
check("attention.attend_one", attend_one)

# %% [markdown]
# ### Where queries, keys and values come from
#
# Nobody writes them by hand. A model holds three matrices of **weights to be learned** and
# multiplies each token's vector by them. (These are parameters; the attention weights above are
# computed anew for every text.) In a model, $C$ = `d_model` is the width of a token's vector, $T$
# the number of tokens.

# %%
T, C, D = 6, 8, 3
rng = torch.Generator().manual_seed(0)
x = torch.randn(T, C, generator=rng)  # one vector for each token
w_query, w_key, w_value = (torch.randn(C, D, generator=rng) for _ in range(3))

query, key, value = x @ w_query, x @ w_key, x @ w_value
print("query:", tuple(query.shape), " key:", tuple(key.shape), " value:", tuple(value.shape))

# %% [markdown]
# Training finds matrices whose queries and keys match where looking is useful. Section 8 shows
# what they found in a real model.

# %% [markdown]
# ## 4. Why divide by √D
#
# A dot product of $D$ numbers is a sum of $D$ terms. The more terms, the further it strays from
# zero. Take queries and keys of independent random numbers with mean 0 and **variance** 1 (the
# variance is the mean square of the distance from the mean; its root is the standard deviation).
# The product of two such numbers also has mean 0 and variance 1. At $D = 4$ the scores have a
# standard deviation of about 2.
#
# **Predict:** what is the standard deviation of the scores at $D = 64$?

# %%
my_guess = None  # put your guess in place of None, for example 4
predict("attention.spread", my_guess)

# %%
rng = torch.Generator().manual_seed(1)


def spread_of_scores(D):
    """Standard deviation of the dot products of 20,000 random queries and keys."""
    query = torch.randn(20_000, D, generator=rng)
    key = torch.randn(20_000, D, generator=rng)
    return (query * key).sum(dim=1).std().item()


reveal(
    "attention.spread",
    outcome=round(spread_of_scores(64)),
    explanation="Variances add up: 64 terms of variance 1 have variance 64, and its root is 8.",
)

# %% [markdown]
# So the spread grows like $\sqrt{D}$, and dividing by $\sqrt{D}$ should undo it at every width.
# What to look for: the dots against the line $\sqrt{D}$ on the left; on the right, how large the
# largest of 16 softmax weights is, without and with the division.

# %%
widths = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
spreads = [spread_of_scores(D) for D in widths]


def largest_weight(D, scale):
    """Mean over 500 queries of the largest softmax weight among 16 keys."""
    query = torch.randn(500, 1, D, generator=rng)
    key = torch.randn(500, 16, D, generator=rng)
    scores = (query * key).sum(dim=-1) * scale  # (500, 16)
    return attention.softmax(scores, dim=-1).max(dim=-1).values.mean().item()


unscaled = [largest_weight(D, 1.0) for D in widths]
scaled = [largest_weight(D, 1 / math.sqrt(D)) for D in widths]

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2))
left.loglog(widths, spreads, "o", base=2, label="measured")
left.loglog(widths, [math.sqrt(D) for D in widths], "--", base=2, label=r"$\sqrt{D}$")
left.set(xlabel="D", ylabel="standard deviation", title="Spread of the scores")
left.set_yticks([2, 8, 32], ["2", "8", "32"])
left.legend()
right.semilogx(widths, unscaled, "s-", base=2, label="without scale")
right.semilogx(widths, scaled, "o-", base=2, label=r"with $1/\sqrt{D}$")
right.set(xlabel="D", ylabel="largest of 16 weights", ylim=(0, 1.05), title="After softmax")
right.legend(loc="center right")
for axis in (left, right):
    axis.set_xticks(widths[::2], [str(D) for D in widths[::2]])
show_figure(
    figure,
    "Left: the spread of the scores follows the line square root of D from 4 to 1024. Right: "
    "without the scale the largest weight rises to almost 1, with it it stays near 0.25.",
)

# %% [markdown]
# Without the division, a wide model puts nearly all weight on one token, chosen by chance, before
# it has learned anything. What is worse, it can hardly learn from there. Look at the gradient of a
# weight, which tells training which way to move each score:

# %%
for factor in (1, 8, 32):
    scores = (torch.tensor([1.0, 0.5, -0.5]) * factor).requires_grad_()
    weights = attention.softmax(scores, dim=0)
    weights[0].backward()
    print(f"scores × {factor:>2}: weights {weights.detach()}, gradient {scores.grad}")

# %% [markdown]
# When one weight is almost 1 and the others almost 0 (rounded here to 1 and 0), the gradient is
# almost 0: a small change of the scores changes nothing, so training gets no signal. Dividing by
# $\sqrt{D}$ keeps the spread of the scores near 1 at the start, where softmax still reacts.

# %% [markdown]
# ## 5. All queries at once
#
# Every token asks, not only *She*. Put the six queries into a matrix, one row for each token. We
# could call the exercise of section 3 in a loop.

# %%
queries = torch.tensor(
    [
        [0.0, 0.0, 0.0],  # Mia looks for nothing
        [2.0, 0.0, 0.0],  # has: who has it?
        [0.0, 2.0, 0.0],  # the: which thing?
        [0.0, 0.0, 1.0],  # ball
        [1.0, 1.0, 0.0],  # .
        [2.0, 0.0, 0.0],  # She: a person
    ]
)

rows = []
for query in queries:
    rows.append(attention.softmax(keys @ query / math.sqrt(3), dim=0))
weights_by_loop = torch.stack(rows)  # (T, T)

# %% [markdown]
# One matrix product does the same. Row $i$ of `queries @ keys.T` holds the scores of query $i$ with
# every key. Softmax then runs along the last axis, so that each **row** adds up to one.

# %%
scores = queries @ keys.T / math.sqrt(3)  # (T, D) @ (D, T) -> (T, T)
weights = attention.softmax(scores, dim=-1)
outputs = weights @ values  # (T, T) @ (T, Dv) -> (T, Dv)

print("same weights as the loop:", torch.allclose(weights, weights_by_loop))
print("shape of the outputs:", tuple(outputs.shape))

# %% [markdown]
# What to look for in the table: read along a row. The row is the token that asks, the column the
# token that is looked at. Find the row of *the*: where does it look?


# %%
def draw_weights(axis, weights, title):
    """Draw a (T, T) table of weights, with its numbers."""
    axis.imshow(weights.masked_fill(weights == 0, float("nan")), vmin=0, vmax=1)
    axis.set_facecolor("lightgrey")  # where the weight is exactly 0
    for i, row in enumerate(weights.tolist()):
        for j, weight in enumerate(row):
            colour = "black" if weight > 0.5 else "white"
            number = f"{weight:.2f}" if weight > 0 else ""
            axis.text(j, i, number, ha="center", va="center", color=colour, fontsize=8)
    axis.set_xticks(range(len(tokens)), tokens)
    axis.set_yticks(range(len(tokens)), tokens)
    axis.set(xlabel="is looked at (key)", ylabel="looks (query)", title=title)
    axis.grid(False)


figure, axis = plt.subplots(figsize=(4.6, 4.4))
draw_weights(axis, weights, "Everybody looks everywhere")
show_figure(
    figure,
    "A six by six table of weights. The row of 'the' puts 0.67 on 'ball', which comes after it.",
)

# %% [markdown]
# *the* looks at *ball*, the word that comes next. In reading this is harmless. In a language model
# it is cheating.

# %% [markdown]
# ## 6. Not looking ahead: the causal mask
#
# A language model learns to say which token comes next, at every position of a text at once. If
# position 2 (*the*) may look at position 3 (*ball*), it need not learn anything: the answer is in
# front of it. When the model later writes a text, the next token does not exist yet.
#
# So token $i$ may look at tokens $0$ to $i$, itself included, and at nothing after it. The **causal
# mask** is a table of these permissions: `True` = may look.

# %% [markdown]
# ### Exercise 3: the causal mask


# %% tags=["exercise"]
def causal_mask(T):
    """Make the table that says which token may look at which.

    Args:
        T: number of tokens, at least 1.

    Returns:
        A boolean tensor of shape (T, T). Entry [i, j] is True where query i may look at key j,
        that is where j <= i, and False where j comes later. Positions count from 0.

    Example:
        causal_mask(3) is [[True, False, False],
                           [True, True,  False],
                           [True, True,  True]].
    """
    ### BEGIN SOLUTION
    position = torch.arange(T)
    return position[None, :] <= position[:, None]  # (1, T) against (T, 1) -> (T, T)
    ### END SOLUTION


# %% tags=["check"]
check("attention.causal_mask", causal_mask)

# %% [markdown]
# ### How to apply it
#
# Where looking is forbidden, the score is set to minus infinity **before** softmax. Since
# $e^{-\infty} = 0$, that token gets the weight 0 and takes no part in the total.

# %%
mask = attention.causal_mask(6)
masked_scores = scores.masked_fill(~mask, float("-inf"))  # ~ swaps True and False

print(masked_scores)

# %%
causal_weights = attention.softmax(masked_scores, dim=-1)

figure, axis = plt.subplots(figsize=(4.6, 4.4))
draw_weights(axis, causal_weights, "Nobody looks ahead")
show_figure(
    figure,
    "The same table with a causal mask: entries above the diagonal are 0 and grey, 'Mia' "
    "puts weight 1 on itself, and 'the' spreads its weight over Mia, has and itself.",
)

# %% [markdown]
# *Mia* is the first token and has only itself to look at, so its weight is 1. Each row still adds
# up to one, over fewer tokens.

# %% [markdown]
# ### The wrong way: mask after softmax
#
# Why minus infinity before softmax, and not zeros after it? Here is the other order. It looks
# right: the forbidden weights are 0.

# %%
late = attention.softmax(scores, dim=-1) * mask

print("weights of 'the':", late[2])
print("sum of each row:", late.sum(dim=-1))

# %% [markdown]
# Two things are wrong. The rows no longer add up to one, so early tokens get small outputs. And the
# future still leaks in. Softmax has already divided by a total over **all** tokens, later ones
# included. Change the last token's key, and an earlier row changes.

# %%
changed_keys = keys.clone()
changed_keys[5] = torch.tensor([0.0, 3.0, 0.0])  # another last token
changed_scores = queries @ changed_keys.T / math.sqrt(3)

late_changed = attention.softmax(changed_scores, dim=-1) * mask
right_changed = attention.softmax(changed_scores.masked_fill(~mask, float("-inf")), dim=-1)

print("weights of 'the', mask after softmax: ", late[2])
print("  with another last token:            ", late_changed[2])
print("weights of 'the', mask before softmax:", causal_weights[2])
print("  with another last token:            ", right_changed[2])

# %% [markdown]
# A token that comes three places later moved the weights of *the*. A model could use such a leak to
# guess what comes. Set the scores to minus infinity first, and nothing leaks.
#
# Dividing each row by its sum afterwards would repair both faults on paper: the total cancels. On a
# computer it fails when a later score is so large that the earlier weights have already been
# rounded to 0, and the row becomes 0/0.

# %%
extreme = torch.tensor([1.0, 2.0, 200.0])  # the third token is in the future
weights = attention.softmax(extreme, dim=0) * torch.tensor([1.0, 1.0, 0.0])

print("zeroed afterwards, then divided:", weights / weights.sum())
print("masked before softmax:          ", attention.softmax(extreme[:2], dim=0))

# %% [markdown]
# ### Exercise 4: scaled dot-product attention
#
# All the pieces in one function: scores, scale, mask, softmax, average. It works on the last two
# axes, so that any number of texts can be treated at once: with shapes such as $(B, T, D)$, where
# $B$ is the batch size, the number of texts. `transpose(-2, -1)` swaps the last two axes.
#
# In the shapes below, `...` stands for any axes before the last two, none or several. There may be
# another number of keys, $S$, than of queries, $T$, as when one text looks at another.


# %% tags=["exercise"]
def scaled_dot_product_attention(q, k, v, mask=None):
    """Let T queries look at S keys and average the S values.

    Args:
        q: queries, shape (..., T, D).
        k: keys, shape (..., S, D), with the same leading axes as q.
        v: values, shape (..., S, Dv), with the same leading axes again.
        mask: None, or a boolean tensor that broadcasts to (..., T, S): it may have fewer axes, or
            axes of length 1. True = may look. Every row has at least one True.

    Returns:
        (output, weights): shapes (..., T, Dv) and (..., T, S). Each row of the weights adds up
        to one, and where looking is forbidden the weight is 0, however low the other scores are.
        Both have the dtype of the inputs, gradients flow back, and no input is changed.

    Scores are divided by the square root of D, the last axis of q.
    """
    ### BEGIN SOLUTION
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = attention.softmax(scores, dim=-1)
    return weights @ v, weights
    ### END SOLUTION


# %% tags=["check"]
check("attention.scaled_dot_product_attention", scaled_dot_product_attention)

# %% [markdown]
# ## 7. Several heads: several look-ups at once
#
# Suppose that *She* needs two things: who she is, and what she holds. One query can ask for both,
# but the answer is **one** average.

# %%
query_for_both = torch.tensor([[2.0, 2.0, 0.0]])
output, weights = attention.scaled_dot_product_attention(query_for_both, keys, values)

print("weights:", weights[0])
print("output: ", output[0])

# %% [markdown]
# The two look-ups share one budget of weight, and their answers are mixed into one vector. The
# remedy is to run attention several times side by side, each with its own small query, key and
# value. Each is a **head**. Their outputs are placed one after the other, and a last matrix,
# `w_out`, mixes them.
#
# With $H$ heads, each works on $D = C / H$ numbers (`head_dim`), so that all heads together cost
# about as much as one wide one. One head may learn to find the person, another the thing.

# %% [markdown]
# ### By a loop
#
# A small batch: $B = 2$ texts, $T = 6$ tokens, $C = 8$ numbers, $H = 2$ heads. Head $h$ takes the
# columns from $hD$ up to, but not including, $(h+1)D$ of the queries, keys and values, as in a
# Python slice. (Such a column, one of the $C$ places of every vector, is also called a **channel**;
# chapter 03 said *dimension*.)

# %%
B, T, C, H = 2, 6, 8, 2
D = C // H
rng = torch.Generator().manual_seed(2)
x = torch.randn(B, T, C, generator=rng)
w_query, w_key, w_value, w_out = (torch.randn(C, C, generator=rng) / C**0.5 for _ in range(4))

# %%
query, key, value = x @ w_query, x @ w_key, x @ w_value  # (B, T, C) each
mask = attention.causal_mask(T)

outputs = []
for h in range(H):
    part = slice(h * D, (h + 1) * D)
    output, _ = attention.scaled_dot_product_attention(
        query[..., part], key[..., part], value[..., part], mask
    )
    outputs.append(output)  # (B, T, D)

by_loop = torch.cat(outputs, dim=-1) @ w_out  # (B, T, C)
print("shape:", tuple(by_loop.shape))

# %% [markdown]
# ### By reshaping
#
# The loop runs the heads one after the other. A tensor with an axis for the heads, of shape
# $(B, H, T, D)$, lets one call do them all: attention works on the last two axes and repeats itself
# over the others.
#
# Two steps lead there. `view` cuts the last axis $C$ into $H$ pieces of $D$: the numbers stay where
# they are. `transpose(1, 2)` then swaps the axes of tokens and heads.

# %%
numbers = torch.arange(16).view(1, 2, 8)  # (B=1, T=2, C=8)
heads = numbers.view(1, 2, 2, 4).transpose(1, 2)  # (B=1, H=2, T=2, D=4)

print("two tokens:", numbers[0].tolist())
print("head 0 sees:", heads[0, 0].tolist())
print("head 1 sees:", heads[0, 1].tolist())

# %% [markdown]
# ### The wrong way: one step in place of two
#
# `view(B, H, T, D)` gives the right shape at once, raises no error, and is wrong. It cuts the
# numbers in the order in which they lie in memory, so that a head gets pieces of one token in place
# of a piece of each token.

# %%
wrong = numbers.view(1, 2, 2, 4)  # (B, H, T, D) without the transpose

print("head 0 sees:", wrong[0, 0].tolist(), "which is all of token 0 and nothing of token 1")

# %% [markdown]
# Models with this mistake run, and even train. The loss goes down, more slowly than it could, and
# no error ever points at the line. This is why the checks compare numbers and not shapes.

# %% [markdown]
# ### Exercise 5: split the heads


# %% tags=["exercise"]
def split_heads(x, n_heads):
    """Cut the last axis into heads and give the heads an axis of their own.

    Args:
        x: shape (B, T, C), with C a multiple of n_heads.
        n_heads: H, number of heads; each is D = C / H wide.

    Returns:
        Shape (B, H, T, D). Head h holds the columns x[..., h*D : (h+1)*D], for every token.
        x is not changed.

    Example:
        x = torch.arange(8).view(1, 2, 4) with 2 heads gives
        [[[[0, 1], [4, 5]], [[2, 3], [6, 7]]]].
    """
    ### BEGIN SOLUTION
    B, T, C = x.shape
    x = x.view(B, T, n_heads, C // n_heads)  # (B, T, H, D)
    return x.transpose(1, 2)  # (B, H, T, D)
    ### END SOLUTION


# %% tags=["check"]
check("attention.split_heads", split_heads)

# %% [markdown]
# ### Exercise 6: merge the heads
#
# The way back. After a `transpose`, the numbers no longer lie in memory in the order of the axes,
# and `view` refuses. `reshape` copies when it must.


# %% tags=["exercise"]
def merge_heads(x):
    """Put the outputs of the heads side by side again: the inverse of split_heads.

    Args:
        x: shape (B, H, T, D).

    Returns:
        Shape (B, T, C) with C = H * D. For each token: head 0's numbers, then head 1's, and so on.
        x is not changed.
    """
    ### BEGIN SOLUTION
    B, H, T, D = x.shape
    x = x.transpose(1, 2)  # (B, T, H, D)
    return x.reshape(B, T, H * D)  # (B, T, C)
    ### END SOLUTION


# %% tags=["check"]
check("attention.merge_heads", merge_heads)

# %% [markdown]
# ### Exercise 7: multi-head attention
#
# Everything together, with a loop over the heads or, shorter, without. You may use
# `attention.softmax`, `attention.causal_mask`, `attention.scaled_dot_product_attention`, and your
# own functions from above.
#
# It is called **self-attention** where the queries, keys and values all come from the same text, as
# here. *Without biases* means that nothing is added to the products with the four matrices.


# %% tags=["exercise"]
def multi_head_attention(x, w_query, w_key, w_value, w_out, n_heads):
    """Causal multi-head self-attention, without biases.

    Args:
        x: token vectors, shape (B, T, C).
        w_query, w_key, w_value, w_out: matrices of shape (C, C), applied as x @ w.
        n_heads: H; head h uses the columns [h*D : (h+1)*D] of query, key and value, D = C / H.

    Returns:
        Shape (B, T, C): the heads side by side in order, times w_out. No token looks ahead. The
        result has the dtype of x, gradients flow back, and no input is changed.
    """
    ### BEGIN SOLUTION
    B, T, C = x.shape
    query, key, value = (
        (x @ w).view(B, T, n_heads, C // n_heads).transpose(1, 2)  # (B, H, T, D)
        for w in (w_query, w_key, w_value)
    )
    mask = attention.causal_mask(T)
    output, _ = attention.scaled_dot_product_attention(query, key, value, mask)  # (B, H, T, D)
    merged = output.transpose(1, 2).reshape(B, T, C)  # (B, T, C)
    return merged @ w_out
    ### END SOLUTION


# %% tags=["check"]
check("attention.multi_head_attention", multi_head_attention)

# %% [markdown]
# The reshaped form equals the loop, number for number:


# %%
def heads_of(x):
    """(B, T, C) -> (B, H, T, D), for the sizes of this section."""
    return x.view(B, T, H, D).transpose(1, 2)  # (B, H, T, D)


output, _ = attention.scaled_dot_product_attention(
    heads_of(query), heads_of(key), heads_of(value), mask
)
by_reshape = output.transpose(1, 2).reshape(B, T, C) @ w_out  # (B, T, C)

print("equal to the loop:", torch.allclose(by_reshape, by_loop, atol=1e-6))

# %% [markdown]
# ## 8. What the heads of a trained model look at
#
# So far the queries and keys were written by hand or random. The course comes with a small model
# that was trained on short stories, by the code that you are learning to write.

# %%
from llm_core.pretrained import load_pretrained

model, tokenizer = load_pretrained("stories")
print(f"{model.config.n_layers} layers with {model.config.n_heads} heads each")

# %% [markdown]
# Here is a piece of a story in its style. The last sentence cannot be guessed: to write *Sam* and
# *yellow*, the model must look them up.

# %%
story = (
    "One day Zoe went to the forest to climb and found a yellow rope. "
    "Zoe gave the yellow rope to Sam. Who has the rope now? Sam has the yellow rope."
)

# %% [markdown]
# ### Move through it
#
# The explorer below shows the weights of one head, as a table and as lines. A token's row says what
# it looks at while the model predicts the token **after** it. **Things to try:**
#
# 1. Choose the last *the* with the arrow keys; *yellow* comes next. Go through the layers and
#    heads. Which one looks at an earlier *yellow*?
# 2. Choose the question mark; *Sam* comes next. Which heads look for a name?
# 3. Walk through the steps *scores → scale → mask → softmax → weighted values* and watch one row of
#    numbers change. (Each head is 32 numbers wide, hence the √32.)
# 4. Change the story: another colour (red, blue, green, yellow), another name (Tom, Ben, Max, Sam,
#    Anna, Mia, Lily, Zoe), or nobody gives anything away. 40 tokens fit.

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.attention import AttentionExplorer

explorer = AttentionExplorer(model, tokenizer, text=story)
explorer.query = 31  # the last "the", counted from 0
explorer

# %% [markdown]
# Any model of the course can be looked at: pass yours in place of `model`, with its tokenizer.

# %% [markdown]
# ### All heads at a glance
#
# Rows are queries, columns keys; grey is the masked future. What to look for: most of each table is
# dark and even. There the head found nothing to look for and spread its weight thinly. A bright
# spot is a look-up: at this token, nearly all weight goes to one other token.

# %%
ids = torch.tensor([tokenizer.encode(story)])
_, _, layers = model(ids, return_weights=True)  # for each layer (B, H, T, T)

# %%
config = model.config
figure, axes = plt.subplots(config.n_layers, config.n_heads, figsize=(9, 7.2))
future = ~attention.causal_mask(ids.shape[1])
for layer, weights in enumerate(layers):
    for head in range(config.n_heads):
        shown = weights[0, head].detach().masked_fill(future, float("nan"))
        axes[layer, head].imshow(shown, vmin=0, vmax=1)
        axes[layer, head].set_facecolor("lightgrey")
        axes[layer, head].set_title(f"layer {layer + 1}, head {head + 1}", fontsize=10)
        axes[layer, head].set(xticks=[], yticks=[])
        axes[layer, head].grid(False)
show_figure(
    figure,
    "A grid of attention tables, one for each head of each layer: scattered bright spots, at other "
    "places in each table, on a dark and even ground.",
)

# %% [markdown]
# ### Measured: who looks up the answer?
#
# One picture can mislead. So we read 60 other stories and collect the places where the next token
# is a colour that the story has named before. How much weight does each head put on those earlier
# mentions? The same for names.


# %%
def weight_on_earlier(words):
    """Mean weight of each head on earlier mentions of the next token, if that is in `words`."""
    found = []
    for text in stories(60, seed=8):
        told = [tokenizer.token(i) for i in tokenizer.encode(text)]
        _, _, layers = model(torch.tensor([tokenizer.encode(text)]), return_weights=True)
        weights = torch.cat(layers).detach()  # (n_layers, H, T, T)
        for t, next_token in enumerate(told[1:]):
            earlier = [s for s in range(t + 1) if told[s] == next_token]
            if next_token in words and earlier:
                found.append(weights[:, :, t, earlier].sum(dim=-1))  # (n_layers, H)
    return torch.stack(found).mean(dim=0).flatten()  # (n_layers * H,)


# %%
from llm_core.corpus import stories

on_colours = weight_on_earlier({"red", "blue", "green", "yellow"})
on_names = weight_on_earlier({"Tom", "Ben", "Max", "Sam", "Anna", "Mia", "Lily", "Zoe"})

# %%
figure, axis = plt.subplots(figsize=(8, 3))
place = torch.arange(len(on_colours))
axis.bar(place - 0.2, on_colours, width=0.4, label="next token is a colour")
axis.bar(place + 0.2, on_names, width=0.4, hatch="//", label="next token is a name")
heads = [
    (layer + 1, head + 1) for layer in range(config.n_layers) for head in range(config.n_heads)
]
axis.set_xticks(place, [f"{layer}.{head}" for layer, head in heads])
axis.set(xlabel="layer.head", ylabel="weight on earlier mentions", ylim=(0, 1))
axis.legend()
show_figure(
    figure,
    "Bars for each head. One head of the first layer puts most of its weight on the earlier "
    "mention, of a colour and of a name alike; the others put little there.",
)

# %%
print("One head looks up colours and names:", bool(on_names.argmax() == on_colours.argmax()))
print("with more than half of its weight:", bool(min(on_names.max(), on_colours.max()) > 0.5))

# %% [markdown]
# Nobody told this head to look up what comes next; training found it. This is the picture of
# section 1, *She* looking for *Mia*, in a model that nobody wrote by hand.

# %% [markdown]
# ## 9. Attention sees a bag, not a row
#
# Does attention know where in the text a token stands? We shuffle six random token vectors, without
# a mask, and compare each token's output with its output before.
#
# **Predict:** by how much does the largest number differ?

# %%
my_guess = None  # a number, for example 0.5
predict("attention.shuffle", my_guess)

# %%
rng = torch.Generator().manual_seed(3)
x = torch.randn(6, 8, generator=rng)
order = torch.randperm(6, generator=rng)

straight, _ = attention.scaled_dot_product_attention(x, x, x)
shuffled, _ = attention.scaled_dot_product_attention(x[order], x[order], x[order])
difference = (shuffled - straight[order]).abs().max().item()

reveal(
    "attention.shuffle",
    outcome=round(difference, 3),
    explanation="Each score depends on two tokens alone, and a sum does not depend on the order of "
    "its terms. Shuffling the tokens shuffles the outputs and changes nothing else.",
)

# %% [markdown]
# For attention alone, *dog bites man* and *man bites dog* are the same bag of words. This is why
# chapter 03 came first: without positions in the vectors, nothing in this chapter could tell the
# two apart. (The causal mask gives away a little: the first token sees one token, the second two.)

# %% [markdown]
# ## 10. Take it away: what the mask is worth
#
# What happens without the mask? We train two tiny models on stories, equal but for the mask, and
# watch the loss of chapter 02: how surprised a model is, on average, by the token that really comes
# next, in nats. Training moves the parameters, step by step, to where the loss is smaller; the
# optimizer is `AdamW`, as in chapter 03.
#
# The layers stand in an `nn.ModuleList`: a list whose modules torch knows of. In a plain list,
# training would not find their parameters. `chunk(3, dim=-1)` cuts the last axis into three equal
# parts, as it cut two halves in chapter 03.


# %%
class TinyModel(nn.Module):
    """Token and position vectors, two layers of attention with one head, an output layer."""

    def __init__(self, vocab_size, context_length, d_model, masked):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(context_length, d_model)
        self.projections = nn.ModuleList(nn.Linear(d_model, 3 * d_model) for _ in range(2))
        self.output = nn.Linear(d_model, vocab_size)
        self.masked = masked

    def forward(self, ids):
        T = ids.shape[1]
        x = self.tokens(ids) + self.positions(torch.arange(T))  # (B, T, C)
        mask = attention.causal_mask(T) if self.masked else None
        for projection in self.projections:
            query, key, value = projection(x).chunk(3, dim=-1)  # (B, T, C) each
            x = x + attention.scaled_dot_product_attention(query, key, value, mask)[0]
        return self.output(x)  # (B, T, V)


# %% [markdown]
# The training loop draws 32 windows of 32 tokens at a time, with their targets. `07_training` takes
# this loop apart; here it is a tool.

# %%
from llm_core.data import get_batch
from llm_core.loss import cross_entropy

text_ids = torch.tensor(tokenizer.encode("\n".join(stories(1000, seed=9))))
STEPS, CONTEXT = 200, 32


def train(masked):
    """Train a TinyModel; return it and its loss at every step."""
    torch.set_num_threads(1)  # so small a model gains nothing from two cores
    torch.manual_seed(0)  # both models start from the same numbers
    model = TinyModel(tokenizer.vocab_size, CONTEXT, d_model=64, masked=masked)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)  # fused: faster
    rng, losses = torch.Generator().manual_seed(1), []
    name = "with mask" if masked else "without mask"
    for _ in tqdm(range(STEPS), desc=name, file=sys.stdout):
        x, y = get_batch(text_ids, 32, CONTEXT, generator=rng)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


# %% [markdown]
# **Predict:** which model will have the lower loss while training, the one `"with"` or the one
# `"without"` the mask?

# %%
my_guess = None  # "with" or "without"
predict("attention.mask_ablation", my_guess)

# %% tags=["nbval-ignore-output"]
with_mask, losses_with = train(masked=True)
without_mask, losses_without = train(masked=False)

# %%
lower = "without" if losses_without[-1] < losses_with[-1] else "with"
reveal(
    "attention.mask_ablation",
    outcome=lower,
    explanation="Without a mask, position i reads its target off position i + 1.",
)

# %% [markdown]
# The model that may look ahead wins by far, and has learned to copy. Now the honest test, the
# situation in which the model writes: it gets the beginning of a text only, and the next token does
# not exist yet.


# %%
other_ids = torch.tensor(tokenizer.encode("\n".join(stories(200, seed=10))))


@torch.no_grad()
def honest_loss(model):
    """Loss of the prediction after 5, 10, 15, ... 30 tokens of texts that were not trained on."""
    x, _ = get_batch(other_ids, 200, CONTEXT, generator=torch.Generator().manual_seed(2))
    losses = [cross_entropy(model(x[:, :t])[:, -1], x[:, t]).item() for t in range(5, CONTEXT, 5)]
    return sum(losses) / len(losses)


honest = [honest_loss(with_mask), honest_loss(without_mask)]

# %% [markdown]
# What to look for: compare the end of each curve with the bar of the same model.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), width_ratios=[2, 1], sharey=True)
left.plot(losses_with, label="with mask")
left.plot(losses_without, "--", label="without mask")
left.set(
    xlabel="training step", ylabel="loss (nats per token)", title="While training", ylim=(0, 6)
)
left.legend()
bars = right.bar(["with mask", "without mask"], honest, color=["C0", "C1"])
bars[1].set_hatch("//")
right.bar_label(bars, fmt="%.1f", padding=2)
right.set(title="Next token hidden")
show_figure(
    figure,
    "Left: the loss without mask falls to near 0, with mask it levels off above 0.5. Right: when "
    "the next token is hidden, the model with mask keeps its loss, the one without is far worse.",
)

# %%
print("With mask, honest loss below 1.5:", honest[0] < 1.5)
print("Without mask, honest loss above 3:", honest[1] > 3)

# %% [markdown]
# A falling loss proves nothing by itself. Whenever a language model trains suspiciously well, look
# for a leak first.

# %% [markdown]
# ### Exercise 8: expose the bug
#
# A colleague wrote `leaky_attention(q, k, v, mask)`: it masks **after** softmax. Their test passes:

# %%
from llm_core.exercises.attention import leaky_attention

q = k = v = torch.ones(1, 3, 2)
everything = torch.ones(3, 3, dtype=torch.bool)
output, _ = leaky_attention(q, k, v, everything)
expected, _ = attention.scaled_dot_product_attention(q, k, v, everything)

print("the colleague's test passes:", torch.allclose(output, expected))

# %% [markdown]
# Write an input on which it gives another output than the right function. What in their test hides
# the bug?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `leaky_attention` from the right attention.

    Returns:
        (q, k, v, mask): q, k and v are floating-point tensors of shape (B, T, D), mask is a
        boolean tensor of shape (T, T), True = may look, with at least one True in each row.
        The outputs of the two functions must differ by more than 0.01 somewhere.
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 4, 3, generator=generator) for _ in range(3))
    return q, k, v, attention.causal_mask(4)
    ### END SOLUTION


# %% tags=["check"]
check("attention.expose_bug", expose_bug)

# %% [markdown]
# ## 11. What attention costs
#
# Every token looks at every earlier token: $T$ rows of up to $T$ scores. Twice the text, four times
# the work. What to look for: both axes are logarithmic, so growth with $T^2$ is a straight line
# with the slope of the dashed one. At the long end the dots may lie two or three times above it:
# the table of weights no longer fits into the processor's fast memory. (A busy machine adds bumps.)


# %%
def seconds_for(T):
    """Shortest of three runs of attention over T tokens, one head of width 64."""
    q = k = v = torch.randn(1, T, 64, generator=torch.Generator().manual_seed(0))
    mask, times = attention.causal_mask(T), []
    for _ in range(3):
        start = time.perf_counter()
        attention.scaled_dot_product_attention(q, k, v, mask)
        times.append(time.perf_counter() - start)
    return min(times)


lengths = [256, 512, 1024, 2048, 4096]
milliseconds = [1000 * seconds_for(T) for T in lengths]

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(5.5, 3.2))
axis.loglog(lengths, milliseconds, "o-", label="measured")
per_pair = sorted(ms / T**2 for ms, T in zip(milliseconds, lengths, strict=True))[2]  # median
guide = [per_pair * T**2 for T in lengths]
axis.loglog(lengths, guide, "--", label=r"slope of $T^2$")
axis.set(xlabel="T, number of tokens", ylabel="milliseconds", title="Time for one head")
axis.set_xticks(lengths, [f"{T:,}" for T in lengths])
axis.minorticks_off()
axis.legend()
show_figure(
    figure,
    "Time against number of tokens, both logarithmic: the dots rise about as fast as T squared, "
    "and somewhat faster at the long end.",
)

# %% [markdown]
# Memory grows in the same way when the table of weights is kept. For one layer of 12 heads, in
# 32-bit floats:

# %%
for T in (1_000, 10_000, 100_000):
    gigabytes = 12 * T * T * 4 / 1e9
    print(f"{T:>7,} tokens: {gigabytes:>8,.2f} GB")

# %% [markdown]
# A **fused kernel** is a program for the processor or the graphics card that does all steps in one
# pass over the numbers. One such as
# [FlashAttention](https://arxiv.org/abs/2205.14135) never stores the whole table; the memory then
# grows with $T$, the work still with $T^2$. `llm_core` uses torch's fused kernel whenever nobody
# asks for the weights.

# %% [markdown]
# ## 12. Assemble it
#
# As a module with parameters to be learned, multi-head attention is a page of code. Each line is
# something that you have built above.


# %%
class MultiHeadAttention(nn.Module):
    """Causal multi-head self-attention: (B, T, C) -> (B, T, C)."""

    def __init__(self, d_model, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.out = nn.Linear(d_model, d_model)

    def split(self, x):
        B, T, C = x.shape
        return x.view(B, T, self.n_heads, C // self.n_heads).transpose(1, 2)  # (B, H, T, D)

    def forward(self, x):
        query, key, value = (
            self.split(self.query(x)),
            self.split(self.key(x)),
            self.split(self.value(x)),
        )
        mask = attention.causal_mask(x.shape[1])
        output, _ = attention.scaled_dot_product_attention(query, key, value, mask)  # (B, H, T, D)
        return self.out(output.transpose(1, 2).reshape(x.shape))  # (B, T, C)


# %% [markdown]
# The finished version in `llm_core/attention.py` has the same parts, and options for later
# chapters. With the same parameters, the two give the same output.

# %%
from llm_core.config import GPTConfig

config = GPTConfig(vocab_size=100, d_model=64, n_heads=4)
finished = attention.MultiHeadAttention(config)
mine = MultiHeadAttention(64, 4)
_ = mine.load_state_dict(finished.state_dict())

x = torch.randn(2, 10, 64, generator=torch.Generator().manual_seed(5))
print("equal to llm_core's:", torch.allclose(mine(x), finished(x), atol=1e-6))

# %% [markdown]
# Later chapters import `MultiHeadAttention` from `llm_core.attention`. Attention only mixes what
# the tokens hold; chapter 05 gives each token room to work on what it has gathered.

# %% [markdown]
# ## Recap
#
# 1. A **query** is compared with every **key**; the matches become weights, and the **values** are
#    averaged with them.
# 2. **Softmax** makes weights that are not negative and add up to one; subtract the largest score
#    first.
# 3. Dividing by $\sqrt{D}$ keeps the scores where softmax still passes gradients on.
# 4. The **causal mask** sets scores of later tokens to minus infinity, *before* softmax.
# 5. **Heads** are several small look-ups side by side; attention alone knows no order, and its cost
#    grows with $T^2$.

# %% [markdown]
# ## Quiz

# %%
quiz("attention.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 05](05_block.ipynb). The tokens have looked at each other; there each works on
#   what it has found, many times over.
# - In section 10, give both models the mask and take the scale away from one. At `d_model=64` the
#   difference is small. At which width does it show?
# - Make a head that always looks exactly two tokens back. Which queries and keys do it, if every
#   token's vector holds its position?
# - Give the explorer a story in which two people have things of different colours. Does the head of
#   section 8 still look at the right one?
#
# ## Papers
#
# - Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762), sections 3.2
#   and 3.2.1: scaled dot-product and multi-head attention.
# - Bahdanau et al. 2014, [Neural Machine Translation by Jointly Learning to Align and
#   Translate](https://arxiv.org/abs/1409.0473): where attention over a text began.
# - Radford et al. 2019, [Language Models are Unsupervised Multitask
#   Learners](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf):
#   GPT-2, whose layout our default model has.
