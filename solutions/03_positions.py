# %% [markdown]
# # 3 · Positions
#
# ![The course as a row of eight steps, from tokens to sampling. Step 3, positions, is
# highlighted.](../assets/map_03.svg)
#
# After chapter 02 every token is a vector that says **which** token it is. Nothing in it says
# **where** the token stands. This chapter puts that in, in four ways that models use, and measures
# what each is good for.
#
# **You will build** sinusoidal and learned positions, which are added to a token's vector, rotary
# positions, which turn it, and ALiBi, which makes far tokens count less.
#
# **You need** chapters 00 to 02: dot products, broadcasting, embeddings, gradients; and sine
# and cosine from school.
#
# **Time:** about 75 minutes to read and solve, 50 seconds to run.

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

import matplotlib.pyplot as plt
import torch
from torch import nn
from tqdm import tqdm

from llm_core import positions
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style

use_course_style()
_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# `positions` is the finished module of the course. The text below uses it wherever a later step
# needs an earlier one, so you can skip an exercise and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Five questions on chapters 00 to 02. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("positions.warmup")

# %% [markdown]
# ## 1. Who bites whom?
#
# > Dog bites man.
# >
# > Man bites dog.
#
# The same tokens in another **order**. Such a rearrangement is called a **permutation**. To us it
# makes all the difference. Does a model see it?
#
# In a Transformer, tokens exchange information through **attention**. Chapter 04 builds it; here it
# is a tool. Each token's new vector is a weighted average of the vectors of all tokens. The
# **weights** come from dot products, so that a token takes most from the tokens like it. Softmax
# makes them positive and lets them add up to one.


# %%
def attend(x):
    """Give every token, a row of x (T, C), a weighted average of all rows."""
    weights = torch.softmax(x @ x.T, dim=-1)  # (T, T), each row adds up to one
    return weights @ x  # (T, C)


# %% [markdown]
# Four tokens get random vectors, as an embedding has before training. A text is a list of rows.

# %%
rng = torch.Generator().manual_seed(8)
table = torch.randn(4, 5, generator=rng)  # (V, C)
names = ["dog", "bites", "man", "."]


def embed(text):
    """Look up the vectors of a text: (T, C)."""
    return table[[names.index(word) for word in text.split()]]


# %% [markdown]
# **Predict:** *bites* is the second token of both texts. How far apart are the numbers of its new
# vector in the two, at most?

# %%
my_guess = None  # a number, for example 0.5
predict("positions.order", my_guess)

# %%
one = attend(embed("dog bites man ."))
other = attend(embed("man bites dog ."))
difference = (one[1] - other[1]).abs().max().item()

reveal(
    "positions.order",
    outcome=round(difference, 3),
    explanation="Each weight depends on two tokens alone, and a sum does not depend on the order "
    "of its terms. Only the vectors go in, and they are the same four.",
)

# %% [markdown]
# A language model predicts the next token from the new vector of the last one, here the full stop.
# It is the same in both texts, so the prediction is too.

# %%
print("dog bites man . ->", one[3])
print("man bites dog . ->", other[3])

# %% [markdown]
# For attention a text is a bag of tokens. The remedy: put into each vector where the token stands.
# To see that it helps, any four different vectors will do. We add one to each place.

# %%
places = torch.randn(4, 5, generator=rng)  # (T, C), one for each position

print("dog bites man . ->", attend(embed("dog bites man .") + places)[3])
print("man bites dog . ->", attend(embed("man bites dog .") + places)[3])

# %% [markdown]
# Now the two differ: *dog* in the first place is another vector than *dog* in the third. **Position
# 0** is the first token, position 1 the second, and so on.
#
# (The attention of a language model is **causal**: a token looks at itself and at earlier tokens
# only. That gives a little of the order away, as section 12 will show.)

# %% [markdown]
# ## 2. Two ideas that fail
#
# Why not take the number of the position itself? We try it: add $t$ to every entry of the vector at
# position $t$. What to look for: the cosine similarity of *dog* and *man*, two words with nothing
# in common, when both stand at position $t$.

# %%
dog, man = table[0], table[2]
for t in (0, 3, 30, 300):
    similarity = torch.cosine_similarity(dog + t, man + t, dim=0).item()
    print(f"position {t:>3}: similarity of dog and man {similarity:.3f}")

# %% [markdown]
# The number grows without end and drowns the word: at position 300 every token looks like every
# other. And a model that has read texts of 100 tokens has never met the number 300.
#
# The second idea: divide by the length, so that the numbers stay between 0 and 1.

# %%
for T in (5, 50, 500):
    share = torch.arange(T) / (T - 1)
    print(f"{T:>3} tokens: neighbours are {share[1] - share[0]:.3f} apart")

# %% [markdown]
# Now "the token before" means another number in every text. From these failures comes a list of
# wishes for the vector of a position:
#
# 1. its numbers stay small, however long the text;
# 2. no two positions have the same vector;
# 3. "three tokens back" looks the same everywhere in a text, and in every text;
# 4. it works in texts longer than those of the training.

# %% [markdown]
# ## 3. The hands of a clock
#
# Take a hand that turns by a fixed angle with every token. Its tip stays on a circle, so its
# numbers stay small. This angle is the **frequency** $w$, in radians: a whole turn is $2\pi$. The
# number of tokens for a whole turn is the **wavelength**, $2\pi / w$.
#
# The hand starts upright and turns like that of a clock. After $t$ tokens its tip is
# $(\sin tw, \cos tw)$.

# %%
w = 2 * math.pi / 12  # a whole turn in 12 tokens
for t in (0, 2, 4, 8, 12):
    angle = torch.tensor(t * w)
    print(f"position {t:>2}: sine {angle.sin():>5.2f}, cosine {angle.cos():>5.2f}")

# %% [markdown]
# ### The wrong way: one hand
#
# Position 12 looks like position 0: one frequency is not enough. A slow hand, with a wavelength of
# 12,000, does not come round, but neighbours can hardly be told apart. We measure it: among 1,000
# positions, how close are the closest two?


# %%
def closest(*wavelengths):
    """Smallest distance between two of 1,000 positions, each shown by hands of these kinds."""
    w = 2 * math.pi / torch.tensor(wavelengths, dtype=torch.float64)
    angles = torch.arange(1000)[:, None] * w  # (1000, number of hands)
    tips = torch.cat((angles.sin(), angles.cos()), dim=1)
    apart = torch.cdist(tips, tips).fill_diagonal_(math.inf)  # (1000, 1000)
    return apart.min().item()


print(f"one quick hand:       {closest(12.0):.3f}")
print(f"one slow hand:        {closest(12_000.0):.3f}")
print(f"both:                 {closest(12.0, 12_000.0):.3f}")
print(f"quick, middle, slow:  {closest(12.0, 144.0, 1_728.0):.3f}")

# %% [markdown]
# With a ladder of hands, each somewhat slower than the one before, every position is unique and far
# from all others. A clock has three for the same reason: the second hand tells neighbours apart,
# the hour hand says which turn it is.

# %% [markdown]
# ### Which frequencies?
#
# Each hand takes two numbers, so a vector of $C$ numbers has room for $C/2$ hands. Hand $i$,
# counted from 0, gets the frequency
#
# $$w_i = \text{base}^{-2i/C} \qquad i = 0, 1, \ldots, C/2 - 1$$
#
# The **base** is 10,000 in the paper. The first hand turns by $w_0 = 1$ with every token, and each
# next one is slower by the same factor.

# %% [markdown]
# ### Exercise 1: the frequencies
#
# The two steps have their names; write a line of code for each.


# %% tags=["exercise"]
def frequencies(C, base=10_000.0):
    """By how much each pair of numbers turns from one token to the next.

    Args:
        C: width of a vector, even; it has C/2 pairs.
        base: a number above 1.

    Returns:
        A float32 tensor of shape (C/2,). Entry i, counted from 0, is base to the power of -2i/C.

    Example:
        frequencies(4, base=100.0) is [1.0, 0.1]: the exponents are 0 and -2/4.
    """
    # Step 1: the exponents -2i/C, for i = 0, 1, ... C/2 - 1.
    ### BEGIN SOLUTION
    exponents = -torch.arange(0, C, 2) / C  # (C/2,)
    ### END SOLUTION
    # Step 2: the base, raised to each of them.
    ### BEGIN SOLUTION
    return base**exponents
    ### END SOLUTION


# %% tags=["check"]
check("positions.frequencies", frequencies)

# %% [markdown]
# Stuck? `hint("positions.frequencies")` in a new cell shows one hint; run it again for the next
# one. The fourth time it shows a solution.

# %% [markdown]
# What to look for in the picture: four hands, for $C = 8$, at three positions. Which hands tell
# position 0 from 1? Which tell 1 from 100?


# %%
def draw_clock(axis, angle):
    """Draw one hand, turned by `angle` from the upright."""
    axis.add_patch(plt.Circle((0, 0), 1, fill=False, color="lightgrey", linewidth=2))
    axis.annotate(
        "", (math.sin(angle), math.cos(angle)), (0, 0), arrowprops={"width": 2, "headwidth": 8}
    )
    axis.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)
    axis.grid(False)


w = 10_000.0 ** (-torch.arange(0, 8, 2) / 8)  # 1, 0.1, 0.01, 0.001
figure, axes = plt.subplots(3, 4, figsize=(6, 4.8))
for row, t in zip(axes, (0, 1, 100), strict=True):
    row[0].set_ylabel(f"position {t}")
    for axis, frequency in zip(row, w.tolist(), strict=True):
        draw_clock(axis, t * frequency)
for axis, frequency in zip(axes[0], w.tolist(), strict=True):
    axis.set_title(f"w = {frequency:g}", fontsize=11)
show_figure(
    figure,
    "Three rows of four clocks. At position 0 all hands are upright. At 1 only the first has "
    "turned visibly, at 100 all but the last stand elsewhere, and the last has begun to move.",
)

# %% [markdown]
# ## 4. All hands in one vector
#
# Write the tips of all hands one after the other, and you have the **sinusoidal encoding** of a
# position:
#
# $$p_{t,\,2i} = \sin(t\,w_i) \qquad p_{t,\,2i+1} = \cos(t\,w_i)$$
#
# $t$ is the position, $i$ counts the pairs, and the second index is the dimension: sine and cosine
# of one pair stand side by side. The slow, plain code:

# %%
T, C = 4, 6
by_loop = torch.zeros(T, C)
for t in range(T):
    for i in range(C // 2):
        angle = t / 10_000 ** (2 * i / C)
        by_loop[t, 2 * i] = math.sin(angle)
        by_loop[t, 2 * i + 1] = math.cos(angle)

print(by_loop)

# %% [markdown]
# ### Exercise 2: sinusoidal encoding
#
# Now without a loop: all positions and all pairs at once. The frequencies are those of exercise 1.


# %% tags=["exercise"]
def sinusoidal_encoding(T, C, base=10_000.0):
    """Make the vectors of the positions 0 to T - 1.

    Args:
        T: number of positions, at least 1.
        C: width of a vector, even.
        base: a number above 1.

    Returns:
        A float32 tensor of shape (T, C). With w_i = base ** (-2i / C), row t holds sin(t * w_i) in
        column 2i and cos(t * w_i) in column 2i + 1, for i = 0, 1, ... C/2 - 1.

    Example:
        Row 0 is [0, 1, 0, 1, ...] for every C.
    """
    # Step 1: the frequencies, shape (C/2,).
    ### BEGIN SOLUTION
    w = base ** (-torch.arange(0, C, 2) / C)  # (C/2,)
    ### END SOLUTION
    # Step 2: the angle of every pair at every position, shape (T, C/2).
    ### BEGIN SOLUTION
    angles = torch.arange(T)[:, None] * w  # (T, 1) * (C/2,) -> (T, C/2)
    ### END SOLUTION
    # Step 3: sines into the even columns, cosines into the odd ones.
    ### BEGIN SOLUTION
    encoding = torch.empty(T, C)
    encoding[:, 0::2] = angles.sin()
    encoding[:, 1::2] = angles.cos()
    return encoding
    ### END SOLUTION


# %% tags=["check"]
check("positions.sinusoidal_encoding", sinusoidal_encoding)

# %%
print("equal to the loop:", torch.allclose(positions.sinusoidal_encoding(4, 6), by_loop))

# %% [markdown]
# What to look for: above, each column is the vector of one position, from top to bottom. The first
# dimensions change with every token, the last hardly at all. Below are three of the rows as curves.

# %%
encoding = positions.sinusoidal_encoding(100, 32)  # (T, C)

figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 5.4), sharex=True, height_ratios=[1.4, 1])
image = top.imshow(encoding.T, aspect="auto", vmin=-1, vmax=1)
top.set(ylabel="dimension", title="Sinusoidal encoding, C = 32")
top.grid(False)
figure.colorbar(image, ax=top, shrink=0.9)
for dimension, style in ((0, "-"), (8, "--"), (16, "-.")):
    bottom.plot(encoding[:, dimension], style, label=f"dimension {dimension}")
bottom.set(xlabel="position", ylabel="value", ylim=(-1.9, 1.1), yticks=[-1, 0, 1])
bottom.legend(loc="lower left", ncols=3)
show_figure(
    figure,
    "A heat map of 32 dimensions against 100 positions: quick stripes at the top become wider "
    "downwards until nothing changes any more. Below, three sine waves, each slower than the last.",
)

# %% [markdown]
# Are all positions unique, and far enough apart? Among 1,000 positions, with the 16 hands of
# $C = 32$:

# %%
wavelengths = [2 * math.pi * 10_000 ** (2 * i / 32) for i in range(16)]
print(f"the closest two positions are {closest(*wavelengths):.2f} apart")
print(f"length of each vector: {encoding[7].norm().item():.2f}")

# %% [markdown]
# ## 5. Distance without subtraction
#
# The third wish was that the same distance looks the same everywhere. Attention compares vectors by
# dot products, so look at the dot product of two positions.
#
# **Predict:** with $C = 32$, the vectors of positions 5 and 8 have the dot product 12.3. And those
# of 85 and 88?

# %%
my_guess = None  # a number
predict("positions.distance", my_guess)

# %%
print(f"positions 5 and 8: {(encoding[5] @ encoding[8]).item():.1f}")

reveal(
    "positions.distance",
    outcome=round((encoding[85] @ encoding[88]).item(), 1),
    explanation="Both pairs are 3 apart, and the dot product of two positions depends on nothing "
    "else.",
)

# %% [markdown]
# For one pair of numbers, a rule from school says so:
#
# $$\sin a \sin b + \cos a \cos b = \cos(a - b)$$
#
# The angles are $t w_i$ and $s w_i$, and adding up over all pairs gives
#
# $$p_t \cdot p_s = \sum_i \cos\big(w_i\,(t - s)\big)$$
#
# Only the difference $t - s$ is left: the **relative position** of the two. What to look for: on
# the left, equal colours along every diagonal; on the right, curves from three starts that fall on
# one another.

# %%
products = encoding @ encoding.T  # (T, T)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
image = left.imshow(products)
left.set(xlabel="position s", ylabel="position t", title="Dot products")
left.grid(False)
figure.colorbar(image, ax=left, shrink=0.8)
for start, style, width in ((0, "-", 5), (20, "--", 3), (40, ":", 2)):
    right.plot(products[start, start : start + 50], style, linewidth=width, label=f"from {start}")
right.set(xlabel="distance", ylabel="dot product", title="The same from everywhere")
right.legend()
show_figure(
    figure,
    "Left: a square heat map with one bright diagonal and stripes parallel to it. Right: three "
    "curves, from positions 0, 20 and 40, lie on one another: 16 at distance 0, falling in waves.",
)

# %% [markdown]
# Close positions are alike, far ones less. A wave remains, because the quick hands come round
# again.

# %% [markdown]
# ## 6. A shift is a matrix
#
# "Three tokens back" should be something that a model can *do*. A layer of a model multiplies by a
# matrix. Is there one matrix that moves **every** position by $k$, so that $p_t M = p_{t+k}$ for
# all $t$?
#
# We let the numbers answer. **Least squares** finds the matrix that comes closest for 40 positions;
# we then try it on positions that it has not seen.

# %%
k = 3
encoding = positions.sinusoidal_encoding(200, 8, base=100.0)
here, there = encoding[:40], encoding[k : 40 + k]
found = torch.linalg.lstsq(here, there).solution  # (C, C), with here @ found ≈ there

error = (encoding[100:150] @ found - encoding[100 + k : 150 + k]).abs().max().item()
print(f"largest error at positions 100 to 149: {error:.3f}")

# %% [markdown]
# It fits where it was never tried. What to look for in the matrix: which entries are not zero?

# %%
figure, axis = plt.subplots(figsize=(4.4, 3.8))
image = axis.imshow(found, cmap="PuOr", vmin=-1, vmax=1)
for i, row in enumerate(found.tolist()):
    for j, value in enumerate(row):
        if abs(value) > 0.01:
            ink = "white" if abs(value) > 0.7 else "black"
            axis.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=8)
axis.set(xlabel="dimension", ylabel="dimension", title="The matrix that moves by 3")
axis.grid(False)
figure.colorbar(image, ax=axis, shrink=0.8)
show_figure(
    figure,
    "An eight by eight matrix that is zero but for four blocks of two by two on the diagonal. Each "
    "has two equal numbers on its diagonal and two of opposite sign beside it.",
)

# %% [markdown]
# Every pair keeps to itself, in a block of $2 \times 2$. Each block is a **rotation**: it turns the
# hand of its pair by $k\,w_i$, the way that it goes in $k$ tokens. That angle does not depend on
# $t$, and so one matrix serves all positions.
#
# $$\begin{pmatrix} \sin a & \cos a \end{pmatrix}
# \begin{pmatrix} \cos b & -\sin b \\ \sin b & \cos b \end{pmatrix}
# = \begin{pmatrix} \sin(a + b) & \cos(a + b) \end{pmatrix}$$

# %% [markdown]
# ### Exercise 3: the matrix of a shift
#
# No steps this time: the whole function is yours.


# %% tags=["exercise"]
def shift_matrix(k, C, base=10_000.0):
    """Make the matrix that moves a sinusoidal position by k.

    Args:
        k: how far to move, a whole number; negative moves back.
        C: width of a position's vector, even.
        base: a number above 1.

    Returns:
        A float32 tensor M of shape (C, C) with encoding[t] @ M = encoding[t + k] for every t: the
        position is a row, in front of the matrix. Sine and cosine of pair i are in the dimensions
        2i and 2i + 1.

    Example:
        shift_matrix(0, C) is the identity matrix.
    """
    ### BEGIN SOLUTION
    matrix = torch.zeros(C, C)
    for i in range(C // 2):
        angle = torch.tensor(k * base ** (-2 * i / C))
        matrix[2 * i, 2 * i] = matrix[2 * i + 1, 2 * i + 1] = angle.cos()
        matrix[2 * i, 2 * i + 1] = -angle.sin()
        matrix[2 * i + 1, 2 * i] = angle.sin()
    return matrix
    ### END SOLUTION


# %% tags=["check"]
check("positions.shift_matrix", shift_matrix)

# %% [markdown]
# The matrix that least squares found is the rotation of the formula, block by block:

# %%
angles = k * 100.0 ** (-torch.arange(0, 8, 2) / 8)
blocks = [
    torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) for a in angles.tolist()
]

print("found = rotation:", torch.allclose(found, torch.block_diag(*blocks), atol=1e-4))

# %% [markdown]
# ## 7. Adding positions to tokens
#
# The vector of the token and that of its position are added, number by number. With a batch of $B$
# texts, $x$ has the shape $(B, T, C)$ and the positions $(T, C)$: broadcasting gives every text the
# same ones.
#
# A text may also go on where an earlier part of it ended. Its first token then stands not at
# position 0 but at a later **start**.

# %% [markdown]
# ### Exercise 4: add positions


# %% tags=["exercise"]
def add_positions(x, table, start=0):
    """Add to every token the vector of its position.

    Args:
        x: token vectors, shape (B, T, C).
        table: one row for each position, shape (N, C), with N at least start + T.
        start: position of the first token of each text.

    Returns:
        Shape (B, T, C): to token t of every text, counted from 0, row start + t is added. Gradients
        flow back to x and to the table, and neither is changed.

    Example:
        With T = 3 and start = 2, the rows 2, 3 and 4 are added.
    """
    ### BEGIN SOLUTION
    T = x.shape[1]
    return x + table[start : start + T]  # (B, T, C) + (T, C)
    ### END SOLUTION


# %% tags=["check"]
check("positions.add_positions", add_positions)

# %% [markdown]
# ### The wrong way: a position that drowns the token
#
# An embedding starts with small numbers, with a standard deviation of 0.02 in our models. Sines and
# cosines are not small. Compare the lengths of the two vectors, and the cosine similarity of two
# unlike tokens at the same position.

# %%
rng = torch.Generator().manual_seed(1)
dog, man = 0.02 * torch.randn(2, 64, generator=rng)  # two rows of a fresh embedding
place = positions.sinusoidal_encoding(10, 64)[9]

print(f"length of a token {dog.norm():.2f}, of a position {place.norm():.2f}")
similarity = torch.cosine_similarity(dog + place, man + place, dim=0)
print(f"similarity of two unlike tokens in one place: {similarity:.3f}")

# %% [markdown]
# As in section 2, the token is lost in its position. The authors of the sinusoidal encoding
# multiply the token's vector by $\sqrt{C}$ first. It is the same for every token, and training does
# the rest.

# %%
scale = math.sqrt(64)
similarity = torch.cosine_similarity(scale * dog + place, scale * man + place, dim=0)
print(f"length of a scaled token {scale * dog.norm():.2f}")
print(f"similarity of two unlike tokens in one place: {similarity:.3f}")

# %% [markdown]
# ## 8. Learned positions
#
# Why think up a pattern at all? GPT-2 keeps a second table, with a row for each position, and lets
# training find the numbers: **learned positions**. `positions.LearnedPositions` is such a table;
# its rows are parameters like those of the embedding.
#
# We train one on a game in which only the place matters. 16 letters come in random order. After
# each letter, one of the **last six** is drawn, and the model has to guess which. A blind guess
# costs $\ln 16 = 2.77$ nats.

# %%
from llm_core.attention import attention_weights, causal_mask

N_LETTERS, TRAINED, LONGEST = 16, 32, 64


def draw_game(B, T, generator):
    """B rounds of the game: letters (B, T), and what was drawn after each letter (B, T)."""
    ids = torch.randint(N_LETTERS, (B, T), generator=generator)
    so_far = (torch.arange(T) + 1).clamp(max=6)  # at the start there are fewer than six
    back = (torch.rand(B, T, generator=generator) * so_far).long()  # 0 is the letter itself
    return ids, ids.gather(1, torch.arange(T) - back)


# %% [markdown]
# The player is the smallest model that can do it: one attention that looks by position alone. Two
# matrices turn the vector of a position into a **query**, the vector that asks, and a **key**, the
# vector that is asked. Their dot products, the scores, go through softmax and give the weights.
# `causal_mask` leaves only a token itself and earlier ones to look at. `nn.Embedding` is torch's
# table of vectors, and `nn.Linear` its product with a matrix of parameters.


# %%
class Player(nn.Module):
    """Averages the letters by weights that depend on positions alone: (B, T) -> (B, T, V)."""

    def __init__(self, C=16):
        super().__init__()
        self.letters = nn.Embedding(N_LETTERS, C)
        self.places = positions.LearnedPositions(LONGEST, C)
        self.query = nn.Linear(C, C, bias=False)
        self.key = nn.Linear(C, C, bias=False)
        self.output = nn.Linear(C, N_LETTERS)

    def forward(self, ids):
        T = ids.shape[1]
        places = self.places(torch.arange(T))  # (T, C)
        weights = attention_weights(self.query(places), self.key(places), causal_mask(T))  # (T, T)
        return self.output(weights @ self.letters(ids))


# %% [markdown]
# The table has 64 rows, but in training the games last 32 letters. The last 32 rows are never used,
# so they keep the random numbers that they started with. A second player shows what is lost without
# positions: its table is zero and stays so.
#
# The loop repeats the training step of chapter 02. `cross_entropy` is the loss that you know from
# there, the mean of $-\ln$ of the target's probability. An **optimizer** is the rule that turns
# gradients into steps; `AdamW` is a common one, which chapter 07 builds. (`weight_decay=0` switches
# off a part of it that is not needed here, and `fused=True` makes the same steps in less time.)


# %%
def play(with_positions):
    """Train a player on games of 32 letters."""
    torch.manual_seed(3)
    player, rng = Player(), torch.Generator().manual_seed(1)
    if not with_positions:
        player.places.weight.requires_grad_(False).zero_()
    optimizer = torch.optim.AdamW(player.parameters(), lr=1e-2, weight_decay=0, fused=True)
    name = "with positions" if with_positions else "without positions"
    for _ in tqdm(range(400), desc=name, file=sys.stdout):
        ids, targets = draw_game(64, TRAINED, rng)
        loss = nn.functional.cross_entropy(player(ids).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return player


# %% tags=["nbval-ignore-output"]
torch.set_num_threads(1)  # so small a model gains nothing from two cores
player, blindfolded = play(with_positions=True), play(with_positions=False)

# %% [markdown]
# Now games of 64 letters. What to look for: the loss at each place, left and right of the dashed
# line.


# %%
@torch.no_grad()
def loss_by_place(player):
    """Mean loss at each of 64 places, over 1,000 games."""
    ids, targets = draw_game(1000, LONGEST, torch.Generator().manual_seed(2))
    logits = player(ids).transpose(1, 2)  # (B, V, T)
    return nn.functional.cross_entropy(logits, targets, reduction="none").mean(dim=0)  # (T,)


with_places, without = loss_by_place(player), loss_by_place(blindfolded)

# %%
figure, axis = plt.subplots(figsize=(7, 3.2))
axis.plot(with_places, label="learned positions")
axis.plot(without, "--", label="no positions")
axis.axhline(math.log(16), color="grey", linestyle=":", label="blind guess")
axis.axvline(31.5, color="black", linestyle="--", linewidth=1)
axis.text(31, 0.15, "trained up to here", ha="right")
axis.set(xlabel="position", ylabel="loss (nats)", ylim=(0, 3.2))
axis.legend(loc="lower right")
show_figure(
    figure,
    "With learned positions the loss stays level up to position 31 and jumps at 32 to just below "
    "a blind guess. Without positions it rises with the position, soon far above the other.",
)

# %%
print("trained places, loss below 2.1:", bool(with_places[10:32].mean() < 2.1))
print("places never trained, above 2.5:", bool(with_places[32:].mean() > 2.5))

# %% [markdown]
# Up to position 31 the player looks at the last six letters. Beyond, its rows are noise, and it
# does no better than the one without positions, which averages all letters so far. Past the end of
# its table a model cannot even be asked:

# %%
try:
    player.places(torch.arange(70))
except IndexError as error:
    print(error)

# %% [markdown]
# ### What the table has learned
#
# What to look for on the left: the cosine similarity of each row with each other. Nobody told the
# player that 7 comes next to 8. On the right, the same for three rows, as curves.

# %%
rows = nn.functional.normalize(player.places.weight.detach(), dim=1)  # every row of length 1
similarities = rows @ rows.T  # (64, 64)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8))
image = left.imshow(similarities, vmin=-1, vmax=1)
left.axvline(31.5, color="white", linestyle="--", linewidth=1)
left.axhline(31.5, color="white", linestyle="--", linewidth=1)
left.set(xlabel="position", ylabel="position", title="Similarity of the rows")
left.grid(False)
figure.colorbar(image, ax=left, shrink=0.8)
for start, style in ((8, "-"), (16, "--"), (24, "-.")):
    right.plot(similarities[start, :TRAINED], style, label=f"of position {start}")
right.set(xlabel="position", ylabel="cosine similarity", ylim=(-1.7, 1.05), yticks=[-1, 0, 1])
right.legend(loc="lower left", fontsize=9, ncols=2)
show_figure(
    figure,
    "Left: up to position 31 a broad bright band runs along the diagonal; beyond, only the "
    "diagonal is bright and the rest is noise. Right: three curves, each with its peak at its own "
    "position.",
)

# %%
trained = similarities[:TRAINED, :TRAINED]
near, far = trained.diagonal(1).mean(), trained.diagonal(12).mean()
print("neighbours are more alike than positions 12 apart:", bool(near > far + 0.3))

# %% [markdown]
# Neighbours have become alike, as in section 5: to look at the last six letters from everywhere,
# the player had to learn what "near" is. But it has learned it row by row, and for 32 rows only.

# %% [markdown]
# ## 9. Rotary positions: turn, do not add
#
# What happens when the dot product of two sums is taken, token plus position?
#
# $$(x + p) \cdot (y + q) = x \cdot y \;+\; x \cdot q \;+\; p \cdot y \;+\; p \cdot q$$
#
# Of the four terms, one is about the tokens and one about the distance; the other two mix a token
# with a position that has nothing to do with it. **Rotary** positions add nothing. They **turn**
# the query and the key, each by the angle of its own position, just before the two are compared.

# %% [markdown]
# ### Two numbers


# %%
def turn(pair, angle):
    """Turn the point (a, b) by an angle, against the clock."""
    a, b = pair
    c, s = math.cos(angle), math.sin(angle)
    return torch.stack((a * c - b * s, b * c + a * s))


query, key = torch.tensor([2.0, 1.0]), torch.tensor([1.0, 0.5])
w = 0.3  # radians for each token

for t, s in ((5, 2), (25, 22), (105, 102), (5, 4)):
    score = turn(query, t * w) @ turn(key, s * w)
    print(f"query at {t:>3}, key at {s:>3}, distance {t - s}: score {score:.3f}")

# %% [markdown]
# Turning keeps lengths, and the dot product of two vectors depends on their lengths and on the
# angle **between** them. If the query is turned by $tw$ and the key by $sw$, the angle between them
# changes by $(t - s)\,w$. The score is relative by construction: for any query, any key, any place.
#
# What is averaged later, with the weights, is not turned; a position changes only who looks at
# whom.

# %% [markdown]
# ### Many numbers: which ones form a pair?
#
# A vector of $D$ numbers is cut into $D/2$ pairs, and pair $i$ turns with the frequency
# $w_i = \text{base}^{-2i/D}$, as before. Which dimensions form a pair is a matter of agreement, and
# there are two (Llama is a family of models that anybody may download):
#
# | Name | Pair $i$ | Used by |
# |---|---|---|
# | **interleaved** | dimensions $2i$ and $2i + 1$ | the paper |
# | **halves** | dimensions $i$ and $i + D/2$ | Llama models in Hugging Face's library, `llm_core` |
#
# `positions.rotary_angles(T, D)` returns cosine and sine of the angles, each of shape $(T, D/2)$.
# And `x.chunk(2, dim=-1)` cuts `x` into two equal parts along its last axis, the two halves.

# %% [markdown]
# ### Exercise 5: rotary positions


# %% tags=["exercise"]
def apply_rotary(x, cos, sin):
    """Turn each pair of numbers in x by the angle of its position.

    Args:
        x: queries or keys, shape (..., T, D), D even; `...` stands for none or several axes.
        cos, sin: cosine and sine of the angles, each of shape (T, D/2): row t is position t, column
            i is pair i. They have the dtype of x.

    Returns:
        Shape (..., T, D). Dimension i of x is paired with dimension i + D/2 (the convention
        "halves"). A pair (a, b) becomes (a*cos - b*sin, b*cos + a*sin), in the same two places.
        Gradients flow back to x, and x is not changed.

    Example:
        With D = 2 and an angle of 90 degrees, [1, 0] becomes [0, 1].
    """
    # Step 1: the two halves, with the first and the second number of every pair.
    ### BEGIN SOLUTION
    first, second = x.chunk(2, dim=-1)  # (..., T, D/2) each
    ### END SOLUTION
    # Step 2: turn all pairs at once.
    ### BEGIN SOLUTION
    new_first = first * cos - second * sin
    new_second = second * cos + first * sin
    ### END SOLUTION
    # Step 3: the halves side by side again.
    ### BEGIN SOLUTION
    return torch.cat((new_first, new_second), dim=-1)  # (..., T, D)
    ### END SOLUTION


# %% tags=["check"]
check("positions.apply_rotary", apply_rotary)

# %% [markdown]
# ### Relative, verified
#
# One random query and one random key, placed at all of 50 positions. Along each diagonal of the
# table of scores the distance is the same. How much do the scores differ there?

# %%
rng = torch.Generator().manual_seed(4)
query, key = torch.randn(2, 8, generator=rng)
cos, sin = positions.rotary_angles(50, 8)

queries = positions.apply_rotary(query.expand(50, 8), cos, sin)
keys = positions.apply_rotary(key.expand(50, 8), cos, sin)
scores = queries @ keys.T  # (T, T)

spread = max((d := scores.diagonal(n)).max() - d.min() for n in range(-49, 50)).item()
print(f"at one distance, scores differ by at most {spread:.3f}")
print(f"at different distances, by up to {scores.max() - scores.min():.3f}")

# %% [markdown]
# ### Both pairings are one
#
# Here is the paper's pairing, and a permutation of the dimensions that leads from one to the other:
# all even dimensions first, then all odd ones.


# %%
def apply_interleaved(x, cos, sin):
    """Turn the pairs (2i, 2i + 1), as the paper does."""
    even, odd = x[..., 0::2], x[..., 1::2]  # (..., T, D/2) each
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


x = torch.randn(50, 8, generator=rng)
order = torch.tensor([0, 2, 4, 6, 1, 3, 5, 7])

interleaved = apply_interleaved(x, cos, sin)
halves = positions.apply_rotary(x[:, order], cos, sin)
print(
    "equal as they stand:       ", torch.allclose(interleaved, positions.apply_rotary(x, cos, sin))
)
print("equal after a permutation: ", torch.allclose(interleaved[:, order], halves))

# %% [markdown]
# A dot product does not see the order of the dimensions, so neither is better. But a model that was
# trained with one and is run with the other gives nonsense, without any error. Whoever loads a
# trained model must know which it is.

# %% [markdown]
# ## 10. ALiBi: a penalty for distance
#
# The fourth way needs no vectors and no angles. **ALiBi** (*attention with linear biases*) leaves
# queries and keys alone and takes from each score a penalty: the distance times a **slope** $m$.
#
# $$\text{score of query } i \text{ and key } j \;=\; \text{match} \;-\; m \cdot (i - j)
# \qquad j \le i$$
#
# Suppose that all matches are equal. What to look for: how far back do the weights reach, for a
# steep slope and for a flat one?

# %%
distance = torch.arange(16, -1, -1)  # 16 back, ..., 1 back, the token itself

figure, axis = plt.subplots(figsize=(7, 3))
for slope, marker in ((1 / 2, "o-"), (1 / 8, "s--"), (1 / 256, "^:")):
    weights = torch.softmax(-slope * distance, dim=0)
    axis.plot(-distance, weights, marker, label=f"slope 1/{1 / slope:.0f}")
axis.set(xlabel="position of the key, seen from the query", ylabel="weight")
axis.legend()
show_figure(
    figure,
    "Three curves of weights over 17 keys: with slope 1/2 nearly all weight is on the last few, "
    "with slope 1/8 it falls off slowly, with slope 1/256 it is spread evenly.",
)

# %% [markdown]
# A model has several attentions side by side, called **heads**. Each gets a slope of its own, so
# that some look at what is near and others far back. With $H$ heads, $H$ a power of two, head $h$,
# counted from 0, has
#
# $$m_h = 2^{-8(h+1)/H}$$
#
# The slopes are fixed and not learned. (For other $H$, `llm_core` fills the gaps in the way of the
# authors' code.)

# %% [markdown]
# ### Exercise 6: the slopes


# %% tags=["exercise"]
def alibi_slopes(H):
    """The slope of each head.

    Args:
        H: number of heads, a power of two.

    Returns:
        A float32 tensor of shape (H,). Entry h, counted from 0, is 2 to the power of -8(h + 1)/H.

    Example:
        alibi_slopes(4) is [1/4, 1/16, 1/64, 1/256].
    """
    ### BEGIN SOLUTION
    return 2.0 ** (-8 * torch.arange(1, H + 1) / H)
    ### END SOLUTION


# %% tags=["check"]
check("positions.alibi_slopes", alibi_slopes)

# %% [markdown]
# ### Exercise 7: the bias
#
# All penalties in one table for each head: a **bias**, ready to be added to the scores. It also
# sees to it that nobody looks ahead. Where the key comes later, the bias is minus infinity; since
# $e^{-\infty} = 0$, softmax gives that token the weight 0.
#
# You may use `positions.alibi_slopes(H)`.


# %% tags=["exercise"]
def alibi_bias(H, T):
    """What ALiBi adds to the scores of T tokens, for each head.

    Args:
        H: number of heads, a power of two.
        T: number of tokens.

    Returns:
        A float32 tensor of shape (H, T, T). Entry [h, i, j] belongs to query i and key j in head h:
        -slope_h * (i - j) where j <= i, and minus infinity where j > i. Positions count from 0.

    Example:
        alibi_bias(8, 3)[0], with the slope 1/2, is [[ 0.0, -inf, -inf],
                                                     [-0.5,  0.0, -inf],
                                                     [-1.0, -0.5,  0.0]].
    """
    ### BEGIN SOLUTION
    position = torch.arange(T)
    distance = position[:, None] - position[None, :]  # (T, T), i - j
    bias = -positions.alibi_slopes(H)[:, None, None] * distance  # (H, 1, 1) * (T, T) -> (H, T, T)
    return bias.masked_fill(distance < 0, -math.inf)
    ### END SOLUTION


# %% tags=["check"]
check("positions.alibi_bias", alibi_bias)

# %% [markdown]
# What to look for: all four tables have the same stripes. What differs is how dark they get.

# %%
bias = positions.alibi_bias(4, 24)  # (H, T, T)

figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), sharey=True)
for h, axis in enumerate(axes):
    image = axis.imshow(bias[h].masked_fill(bias[h].isinf(), math.nan), vmin=-4, vmax=0)
    axis.set_facecolor("lightgrey")  # minus infinity
    axis.set(xlabel="key", title=f"slope 1/{4 ** (h + 1)}")
    axis.grid(False)
axes[0].set_ylabel("query")
figure.colorbar(image, ax=axes, shrink=0.8)
show_figure(
    figure,
    "Four triangular tables of biases, grey where the key comes later. The steepest head darkens "
    "quickly away from the diagonal, the flattest one hardly at all.",
)

# %% [markdown]
# ## 11. Move through them
#
# All four kinds under your hand; "learned" is the player's table from section 8. Position runs from
# left to right in each picture, and the line marks the chosen one. **Things to try:**
#
# 1. Sinusoidal: hold the right arrow key on **position** and watch the clocks. Which hands have
#    come round at position 50?
# 2. Lower the **base** to 10. What happens to the similarity far from the chosen position?
# 3. Lower **d_model** to 4: two hands. Which other positions does position 0 now resemble?
# 4. Learned: move past position 31. What do rows look like that were never trained?
# 5. Rotary: compare its curve of similarity with the sinusoidal one, at the same width and base.
# 6. ALiBi: choose the heads 1 and 8. How far back does each look?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.positions import PositionExplorer

explorer = PositionExplorer(learned=player.places.weight, trained=TRAINED)
explorer.position = 24
explorer

# %% [markdown]
# The explorer takes the table of any model: `PositionExplorer(learned=...)`.

# %% [markdown]
# ## 12. Longer than in training
#
# The fourth wish is the hardest: texts longer than those of the training, called **length
# extrapolation**. We train the four kinds on the same stories, and a model with no positions at
# all. Each reads 32 tokens at a time, and is then asked to predict with up to 128.
#
# `GPT` is the finished model of the course, here with two layers of attention; chapters 04 to 06
# take it apart. The models differ in one word. (`model.eval()` tells a model that its training is
# over; chapter 05 says what that changes.)

# %%
from llm_core.config import GPTConfig
from llm_core.corpus import stories
from llm_core.data import get_batch
from llm_core.model import GPT
from llm_core.pretrained import load_pretrained

_, tokenizer = load_pretrained("stories")
text = torch.tensor(tokenizer.encode("\n".join(stories(1500, seed=9))))
unseen = torch.tensor(tokenizer.encode("\n".join(stories(400, seed=10))))

# %%
KINDS, WINDOW, FURTHEST = ("sinusoidal", "learned", "rotary", "alibi", "none"), 32, 128


def train(kind):
    """Train a small model on windows of 32 tokens."""
    config = GPTConfig(
        tokenizer.vocab_size, FURTHEST, d_model=48, n_layers=2, n_heads=4, positions=kind
    )
    model, rng = GPT(config, torch.Generator().manual_seed(0)), torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    for _ in tqdm(range(240), desc=f"{kind:>10}", file=sys.stdout):
        x, y = get_batch(text, 8, WINDOW, generator=rng)  # (B, T) each
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


# %% [markdown]
# The test is fair: all models predict the same 8 tokens of the same 100 pieces of unseen text. Only
# how much they may read changes: the last 8 tokens, the last 16, up to the last 128. More text can
# only help, as long as the positions do not confuse the model.
#
# The learned table has 128 rows here, of which 96 are never trained. The alternative, a table of 32
# rows, would end in the error of section 8.


# %%
@torch.no_grad()
def loss_after(model, n):
    """Loss on the last 8 tokens of 100 pieces of text, of which the model reads the last n."""
    x, y = get_batch(unseen, 100, FURTHEST, generator=torch.Generator().manual_seed(2))
    logits, _ = model(x[:, -n:])  # (B, n, V)
    return nn.functional.cross_entropy(logits[:, -8:].flatten(0, 1), y[:, -8:].flatten()).item()


# %% [markdown]
# **Predict:** with 128 tokens to read, four times as many as in training, which kind will have the
# lowest loss?

# %%
my_guess = None  # "sinusoidal", "learned", "rotary", "alibi" or "none"
predict("positions.extrapolation", my_guess)

# %% tags=["nbval-ignore-output"]
models = {kind: train(kind) for kind in KINDS}

# %%
lengths = [8, 16, 32, 40, 48, 64, 96, 128]
losses = {kind: [loss_after(model, n) for n in lengths] for kind, model in models.items()}

reveal(
    "positions.extrapolation",
    outcome=min(KINDS, key=lambda kind: losses[kind][-1]),
    explanation="Its penalty grows in a straight line, with no row, angle or wave that was never "
    "seen in training, and far tokens count for little.",
)

# %% [markdown]
# What to look for: left of the dashed line all kinds do about as well. Follow each curve to the
# right of it.

# %%
figure, axis = plt.subplots(figsize=(8, 4))
for kind, style in zip(KINDS, ("o-", "s--", "D-.", "^-", "x:"), strict=True):
    axis.plot(lengths, losses[kind], style, label="ALiBi" if kind == "alibi" else kind)
axis.axvline(WINDOW, color="black", linestyle="--", linewidth=1)
axis.text(WINDOW - 1, 2.6, "trained\nup to here", ha="right", va="top")
axis.set(xlabel="tokens read", ylabel="loss (nats per token)", ylim=(0.5, 3.2))
axis.set_xticks([8, 16, 32, 48, 64, 96, 128])
axis.legend(ncols=2)
show_figure(
    figure,
    "Loss against tokens read. Up to 32 all five curves fall together, to below 1. Beyond, "
    "sinusoidal rises steeply above 2, learned to about 2, none more slowly, rotary rises late, "
    "ALiBi stays level.",
)


# %%
def rise(kind):
    """How much the loss grows from 32 to 128 tokens."""
    return losses[kind][-1] - losses[kind][lengths.index(WINDOW)]


others = ("sinusoidal", "learned", "none")
print("ALiBi rises by less than 0.2:     ", rise("alibi") < 0.2)
print("rotary rises by 0.2 to 1.1:       ", 0.2 < rise("rotary") < 1.1)
print("the others rise by more than 0.8: ", all(rise(kind) > 0.8 for kind in others))

# %% [markdown]
# ### What the papers claim, and what is seen here
#
# - Vaswani et al. chose sines because they *may* extrapolate to longer texts (2017, section 3.5).
#   Here they do not: the wave goes on, but the model has never met these combinations of hands.
# - Learned rows end where training ended. As expected, their curve breaks at once.
# - Su et al. (2021) claim that with rotary positions far tokens count less. They hold here up to
#   about twice the trained length; then angles tell that were never seen.
# - Press et al. (2022) claim that with ALiBi a model trained on short texts does as well on longer
#   ones, and so it does. But its curve does not *fall* either: the longer text brings it nothing,
#   since what is far away hardly counts.
# - The model without positions is not blind: with a causal attention, the first token sees one
#   token, the second two, and a second layer can count. Kazemnejad et al. (2023) found that on
#   tasks of reasoning such a model extrapolates best of all. Here it breaks earlier than rotary
#   positions and ALiBi, though more gently than the two kinds that are added.
#
# Most large models of today use rotary positions, with a larger base, and are trained on long texts
# at the end. A small experiment cannot replace that.
#
# And the wishes of section 2?
#
# | | Small numbers | All unique | Distance looks the same everywhere | Longer texts |
# |---|---|---|---|---|
# | sinusoidal | yes | yes | between two positions; tokens are mixed in | no |
# | learned | by training | by training | roughly, by training | no |
# | rotary | yes, lengths stay | by distance | yes, by construction | for a while |
# | ALiBi | nothing is added | by distance | yes, by construction | yes, but far tokens fade |

# %% [markdown]
# ### Exercise 8: expose the bug
#
# To save memory, a colleague reads long texts in chunks. `restarting_scores(q, k, chunk)` turns
# queries and keys, but each chunk starts at position 0 again. Their test passes:

# %%
from llm_core.exercises.positions import restarting_scores, rotary_scores

rng = torch.Generator().manual_seed(5)
q, k = torch.randn(2, 8, 6, generator=rng)  # 8 tokens
ours, theirs = rotary_scores(q, k), restarting_scores(q, k, chunk=4)

print("first chunk equal: ", torch.allclose(ours[:4, :4], theirs[:4, :4], atol=1e-4))
print("second chunk equal:", torch.allclose(ours[4:, 4:], theirs[4:, 4:], atol=1e-4))

# %% [markdown]
# Each chunk is right even where its positions are wrong. Write an input on which the two functions
# give different scores. Where does their test not look?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `restarting_scores` from `rotary_scores`.

    Returns:
        (q, k, chunk): q and k are floating-point tensors of one shape (T, D), D even; chunk is a
        whole number, at least 1. Somewhere the scores of the two functions must differ by more
        than 0.01.
    """
    ### BEGIN SOLUTION
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 6, 4, generator=generator)
    return q, k, 3
    ### END SOLUTION


# %% tags=["check"]
check("positions.expose_bug", expose_bug)

# %% [markdown]
# ## 13. Assemble it
#
# The four kinds, each in a line or two of what you have seen above, against the finished ones in
# `llm_core/positions.py`:

# %%
T, C, H = 20, 8, 4
angles = torch.arange(T)[:, None] * 10_000.0 ** (-torch.arange(0, C, 2) / C)  # (T, C/2)
x = torch.randn(2, T, C, generator=torch.Generator().manual_seed(6))
learned = positions.LearnedPositions(T, C)
distance = torch.arange(T)[:, None] - torch.arange(T)  # (T, T)

# %%
sinusoidal = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # (T, C)
first, second = x.chunk(2, dim=-1)
cos, sin = angles.cos(), angles.sin()
rotary = torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
slopes = 2.0 ** (-8 * torch.arange(1, H + 1) / H)
alibi = (-slopes[:, None, None] * distance).masked_fill(distance < 0, -math.inf)

# %%
finished = positions.apply_rotary(x, *positions.rotary_angles(T, C))
pairs = {
    "sinusoidal": (sinusoidal, positions.sinusoidal_encoding(T, C)),
    "learned": (learned.weight[5:9], learned(torch.arange(5, 9))),
    "rotary": (rotary, finished),
    "ALiBi": (alibi, positions.alibi_bias(H, T)),
}
for name, (mine, theirs) in pairs.items():
    print(f"{name:>10} equal to llm_core's: {torch.allclose(mine, theirs, atol=1e-6)}")

# %% [markdown]
# From here on, one word chooses among them: `GPTConfig(..., positions="rotary")`.
#
# With its place in each vector, a token can ask for what stands before it. In chapter
# [04](04_attention.ipynb) the tokens begin to look at each other.

# %% [markdown]
# ## Recap
#
# 1. Attention sees a **bag** of tokens; where each stands has to be put in.
# 2. **Sinusoidal** positions are the hands of many clocks: small numbers, every position unique,
#    dot products that depend on the distance, and a shift is a rotation.
# 3. **Learned** positions are a table found by training; past its trained rows they fail.
# 4. **Rotary** positions turn queries and keys, pair by pair, so that only the distance counts.
# 5. **ALiBi** takes from each score the distance times a slope; of the four it holds best in longer
#    texts.

# %% [markdown]
# ## Quiz

# %%
quiz("positions.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 04](04_attention.ipynb). The tokens know where they stand; there they look at
#   each other.
# - In section 12, train rotary models with `rope_base=1_000_000` and with `rope_base=100`. Which
#   holds longer?
# - In the trained rotary model, replace `cos` and `sin` of every `block.attention` by those of the
#   positions 0, 1/4, 2/4, …, so that 128 tokens get the angles of 32. Does it hold better? (Chen et
#   al. 2023, [position interpolation](https://arxiv.org/abs/2306.15595).)
# - Add a constant vector to every row of the player's table. Does its play change?
# - `python -m llm_core train --positions alibi` trains a storyteller with ALiBi; compare its loss
#   with that of `--positions learned`.
#
# ## Papers
#
# - Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762), section 3.5:
#   sinusoidal positions; section 3.4: the scale.
# - Radford et al. 2019, [Language Models are Unsupervised Multitask
#   Learners](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf):
#   GPT-2, whose positions are learned.
# - Su et al. 2021, [RoFormer: Enhanced Transformer with Rotary Position
#   Embedding](https://arxiv.org/abs/2104.09864), sections 3.2 and 3.4.
# - Press et al. 2022, [Train Short, Test Long: Attention with Linear Biases Enables Input Length
#   Extrapolation](https://arxiv.org/abs/2108.12409), section 3.
# - Kazemnejad et al. 2023, [The Impact of Positional Encoding on Length Generalization in
#   Transformers](https://arxiv.org/abs/2305.19466).
