# %% [markdown]
# # Start here
#
# ![The course as a row of eight steps, from tokens to sampling. You are at the start, before
# the first.](../assets/map_00.svg)
#
# In this course you build a **language model**, a program that continues a text, from its smallest
# parts to one that writes stories. Yours is a **Transformer**, a model in which the words of a text
# look at each other; nearly all the large ones of today are of this kind. Nothing is taken on
# trust: every part is written by hand, checked, and looked at while it works.
#
# **You will** check your machine, let a finished model write a story, and warm up with tensors, the
# arrays of numbers that everything here is made of.
#
# **You need** Python, and a little linear algebra: you know what a vector and a matrix are.
#
# **Time:** about 25 minutes to read and solve, 10 seconds to run.

# %% [markdown]
# ## Set-up
#
# This page is a **notebook**: text, and cells of Python. Click the cell below and press
# **Shift + Enter**. The cell runs, its output appears under it, and the next cell is chosen.
# (*Run → Run All Cells* runs the whole page.) The Python behind a page is its **kernel**. It keeps
# your variables from cell to cell, and *Kernel → Restart Kernel* makes it begin anew.
#
# Every term of the course stands in the [glossary](../assets/glossary.md), with the chapter that
# explains it.

# %%
import torch

from llm_core.exercises import check, hint, predict, progress, quiz, reveal

_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# ### Your machine
#
# The next cell looks at your machine and says what to do if something is missing. Two processor
# cores and 4 GB of memory are enough for the whole course; a graphics card is not needed.

# %% tags=["nbval-ignore-output"]
from llm_core.notebooks.environment import check_environment

check_environment()

# %% [markdown]
# ## A taste of the end
#
# A **model** is a computation with many adjustable numbers. **Training** adjusts them, on many
# examples, until the model does its task well. The course comes with a small model that was trained
# on short stories, by the code that you are going to write. We call it the storyteller.
#
# For a model, a text is a row of **tokens**: here, words and signs such as the full stop. Each
# token that the model knows has a number, its **id**.
#
# The model reads a beginning and says, for each token that it knows, how likely that token is to
# come next. One is drawn, added to the text, and the model is asked again.
#
# Until its cell has run, all you see is a saved picture. So run the cell below; the buttons appear.
#
# **Things to try:** press *Generate*. Then move *temperature*, which says how daring the draw is,
# to 0, and to 2. What happens to the story, and to the bars of likely next tokens? (The **seed** is
# the number from which the random draws start: the same seed draws the same story again.)

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.start_here import StoryTeller

StoryTeller()

# %% [markdown]
# At temperature 0 the likeliest token is always taken: correct, and the same every time. At 2,
# unlikely tokens are drawn often, and the story falls apart. What you want lies in between. Chapter
# 08 builds these draws.
#
# The same in Python: a model, a beginning, a continuation.

# %%
import textwrap

from llm_core.pretrained import load_pretrained
from llm_core.sampling import generate

model, tokenizer = load_pretrained("stories")

# %%
beginning = "Once there was a queen called"
ids = torch.tensor([tokenizer.encode(beginning)])
story = generate(model, ids, max_new_tokens=49, temperature=0)

print(textwrap.fill(tokenizer.decode(story[0].tolist()), width=80))

# %% [markdown]
# A model this small knows 168 words and signs, and no world. The large ones that you have met work
# in the same way, with the same parts.

# %% [markdown]
# ## The map
#
# Each chapter builds one part, in the order in which a text passes through them.
#
# | Chapter | What it builds |
# |---|---|
# | 01 tokens | from a text to numbers, and to examples that a model can learn from |
# | 02 embeddings | from a number to a vector with a meaning |
# | 03 positions | telling the model what comes first |
# | 04 attention | tokens that look at each other |
# | 05 block | attention with what it takes to pile up many of them |
# | 06 model | the whole stack, counted and measured |
# | 07 training | making it learn, and watching it do so |
# | 08 sampling | making it speak |
#
# This release ends with chapter 08. Work through the chapters in order: each uses the words that
# the ones before it have explained.

# %% [markdown]
# ## How the exercises work
#
# An exercise is a function with a description and no body. You replace the line
# `raise NotImplementedError` with your code, run the cell, and run the **check** under it. It says
# in one sentence whether your function is right, and if not, what is wrong. Where an exercise is
# cut into steps, each step has such a line.
#
# - `hint("start_here.center_rows")` in a new cell shows a hint; run it again for the next one.
# - Nothing that comes later needs your answer. Skip what you like.
# - What you have passed is remembered on this machine; `progress()` shows it.
#
# Before some results you are asked to **predict** them. Write down a guess, even a bad one: people
# remember what surprised them.

# %% [markdown]
# ## Warm-up: tensors
#
# A **tensor** is an array of numbers. Each direction in which they are counted is an **axis**: a
# vector has one axis, a matrix two, and there may be more. The **shape** says how long each axis
# is. Most mistakes in this field are about shapes, so we write them down all the time.
#
# Tensors come from PyTorch, the library that Python knows as `torch`. What kind of numbers a tensor
# holds is its **dtype**: `float32` for floats, unless you ask for others, and `int64` for whole
# numbers.

# %%
x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]])

print(x)
print("shape:", tuple(x.shape))

# %% [markdown]
# Axes are counted from 0, and torch calls them `dim`; `dim=-1` is the last one. A sum along an axis
# makes that axis disappear. The same holds for `x.mean(dim=...)`, the mean, and `x.amax(dim=...)`,
# the largest entry.

# %%
print("down the columns, dim=0: ", x.sum(dim=0))
print("along the rows, dim=-1:  ", x.sum(dim=-1))

# %% [markdown]
# ### Broadcasting
#
# Two tensors of different shapes can be added when their axes fit: compared *from the right*, two
# axes fit if they are equally long, or one of them has length 1 or is missing. The short one is
# repeated. This is **broadcasting**.

# %%
column = torch.tensor([[10.0], [20.0]])  # (2, 1)
print("(2, 3) + (2, 1):")
print(x + column)

# %% [markdown]
# **Predict:** `x` has the shape (2, 3). What shape does `x.sum(dim=-1)` have, and can it be
# subtracted from `x`? Answer `"yes"` or `"no"`.

# %%
my_guess = None  # "yes" or "no"
predict("start_here.broadcast", my_guess)

# %%
try:
    x - x.sum(dim=-1)
    outcome = "yes"
except RuntimeError as error:
    outcome = "no"
    print(error)

reveal(
    "start_here.broadcast",
    outcome=outcome,
    explanation="The sum has the shape (2,). From the right, 2 meets 3, and they do not fit.",
)

# %% [markdown]
# `keepdim=True` keeps the axis with length 1, and then it fits. Beware of the square case: with
# shape (3, 3), the sum of shape (3,) **does** fit, along the wrong axis, and no error is raised.

# %%
print("with keepdim:", tuple(x.sum(dim=-1, keepdim=True).shape))

# %% [markdown]
# ### Exercise 1: centre the rows
#
# The two steps are named; write a line of code for each.


# %% tags=["exercise"]
def center_rows(x):
    """Subtract from each row its own mean.

    Args:
        x: floating-point tensor of shape (N, C), N rows of C numbers.

    Returns:
        A new tensor of shape (N, C) in which every row has the mean 0. x is not changed.

    Example:
        center_rows(torch.tensor([[1.0, 3.0], [10.0, 30.0]])) gives [[-1, 1], [-10, 10]].
    """
    # Step 1: the mean of each row, with an axis of length 1 kept: shape (N, 1).
    ### BEGIN SOLUTION
    means = x.mean(dim=-1, keepdim=True)  # (N, 1)
    ### END SOLUTION
    # Step 2: subtract; broadcasting repeats each mean along its row.
    ### BEGIN SOLUTION
    return x - means
    ### END SOLUTION


# %% tags=["check"]
check("start_here.center_rows", center_rows)

# %% [markdown]
# ### Many dot products at once
#
# The **dot product** of two vectors multiplies them number by number and adds up. It is large when
# they point the same way, 0 when they are at right angles. A **matrix product** `A @ B` is a table
# of dot products: of every row of `A` with every *column* of `B`.

# %%
a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])  # three vectors
b = torch.tensor([[3.0, 4.0], [5.0, 0.0]])  # two vectors

print("one:", (a[2] * b[0]).sum().item())
print("all, shape (3, 2):")
print(a @ b.T)

# %% [markdown]
# `b.T` turns the rows of `b` into columns. With more than two axes, `@` works on the last two, once
# for each item of the others, and `b.transpose(-2, -1)` swaps the last two. In the exercise the
# first axis counts the items: item 0 of `a` meets item 0 of `b`, and so on.

# %% [markdown]
# ### Exercise 2: pairwise dot products


# %% tags=["exercise"]
def pairwise_dots(a, b):
    """Dot products of every vector of a with every vector of b, for each of B items.

    Args:
        a: shape (B, T, D): B items, each with T vectors of D numbers.
        b: shape (B, S, D): the same B items, each with S vectors.

    Returns:
        Shape (B, T, S). Entry [n, i, j] is the dot product of a[n, i] and b[n, j].
    """
    ### BEGIN SOLUTION
    return a @ b.transpose(-2, -1)  # (B, T, D) @ (B, D, S) -> (B, T, S)
    ### END SOLUTION


# %% tags=["check"]
check("start_here.pairwise_dots", pairwise_dots)

# %% [markdown]
# ### Rows of a table
#
# A model keeps one vector for each token in a table, and a text is a list of row numbers, the ids.
# Indexing with a tensor of numbers picks those rows, in that order, with repeats: a **row
# look-up**. A plain list does the same, which makes two pairs of brackets: in `table[[2, 0, 2]]`
# the outer pair asks for rows, and the inner one is the list.

# %%
table = torch.tensor([[0.0, 0.1], [1.0, 1.1], [2.0, 2.1]])
rows = torch.tensor([2, 0, 2])

print(table[rows])

# %% [markdown]
# ### Exercise 3: look up rows
#
# No steps this time: the whole function is yours.


# %% tags=["exercise"]
def look_up(table, ids):
    """Replace each id by its row of the table.

    Args:
        table: shape (V, C): V rows of C numbers.
        ids: int64 tensor of shape (B, T), B texts of T tokens, with numbers from 0 to V - 1.

    Returns:
        Shape (B, T, C). Entry [n, t] is the row table[ids[n, t]].
    """
    ### BEGIN SOLUTION
    return table[ids]  # (B, T, C)
    ### END SOLUTION


# %% tags=["check"]
check("start_here.look_up", look_up)

# %% [markdown]
# A model is a row of **layers**, computations of which each takes the tensor that the one before it
# has made. You have written the first layer of a language model; chapter 02 gives it its name. What
# is missing is what comes before it, the way from a text to its ids. That is chapter 01.

# %% [markdown]
# ## Recap
#
# 1. A language model says how likely each token is to come next; a text is written one draw at a
#    time.
# 2. A tensor has a shape; a sum along an axis removes that axis, unless `keepdim=True`.
# 3. Broadcasting compares shapes from the right and repeats axes of length 1.
# 4. `a @ b.transpose(-2, -1)` is a table of dot products.
# 5. Indexing with integers picks rows.

# %% [markdown]
# ## Quiz

# %%
quiz("start_here.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 01](01_tokens.ipynb). A model reads numbers; there you make them out of text.
# - Write `pairwise_dots` with `torch.einsum`. Which letters disappear, and why?
# - Give the storyteller the beginning *Once there was a girl called Mia. She had a*. Which tokens
#   can follow, and which does the model rule out?
