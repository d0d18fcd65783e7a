# %% [markdown]
# # 2 · Embeddings
#
# ![The course as a row of eight steps, from tokens to sampling. Step 2, embeddings, is
# highlighted.](../assets/map_02.svg)
#
# A tokenizer turns a text into ids. An id is a name and nothing more. This chapter gives every
# token a **vector** that training can move, first so that it helps to predict the next token, then
# so that words with a like meaning lie close together.
#
# **You will build** the first layer of a language model with its padding, a first model that
# learns, word vectors by skip-gram with negative sampling, and the sum *king − man + woman*.
#
# **You need** Python, the tensors of `00_start_here`, and the ids, batches and targets of
# `01_tokens`.
#
# **Time:** about 100 minutes to read and solve, 30 seconds to run.

# %% [markdown]
# ## Set-up
#
# Run this cell first. It is safe to run again at any time.
#
# Every term of the course stands in the [glossary](../assets/glossary.md), with the chapter that
# explains it.

# %%
import math
import random
import sys
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from llm_core import embeddings
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style

use_course_style()
torch.set_num_threads(1)  # tables this small gain nothing from several cores
_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# `embeddings` is the finished module of the course. The text below uses it wherever a later step
# needs an earlier one, so you can skip an exercise and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Four questions on chapters 00 and 01. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("embeddings.warmup")

# %% [markdown]
# ## 1. An id is a name, not an amount
#
# We take the stories of the course and the word tokenizer of chapter 01. It has counted before it
# gave out its ids: the more often a token occurs, the smaller its id.

# %%
from llm_core.corpus import STORY_END, load_text
from llm_core.tokens import WordTokenizer

text = load_text("stories")
tokenizer = WordTokenizer.train(text, special_tokens=[STORY_END])
words = [tokenizer.token(i) for i in range(tokenizer.vocab_size)]
ids = torch.tensor(tokenizer.encode(text))
V = tokenizer.vocab_size

print(f"{len(ids):,} tokens, of which {V} are different")

# %% [markdown]
# ### The wrong way: the id as a number
#
# A model computes with numbers, and an id is a number. Why not feed it in as it is? Look at which
# words stand beside *king*, and how far *queen* and *prince* are.

# %%
king = words.index("king")
print("beside king:", words[king - 2 : king + 3])

for word in ("queen", "prince", "boat"):
    print(f"from king to {word}: {words.index(word) - king}")

# %% [markdown]
# In ids, *king* lies closer to *boat* than to *prince*. The numbers say how frequent a word is, and
# nothing about meaning. A model that multiplied them would have to unlearn an order that is not
# there.

# %% [markdown]
# ### One-hot vectors: no word is closer to another
#
# A **one-hot** vector has one entry for every token of the vocabulary, 1 at the place of its own id
# and 0 everywhere else. Here it is with its steps labelled, for a vocabulary of five tokens.

# %%
n_words = 5
some_ids = torch.tensor([3, 0, 3])

one_hot = torch.zeros(len(some_ids), n_words)  # step 1: zeros, a row for each token of the text
places = torch.arange(len(some_ids))  # step 2: rows 0, 1, 2 ...
one_hot[places, some_ids] = 1.0  # step 3: a 1 in the column of its id

print(one_hot)
print("distance between two tokens:", (one_hot[0] - one_hot[1]).norm())

# %% [markdown]
# Any two different tokens are equally far apart, $\sqrt{2}$. That is honest: we know nothing about
# them yet. But the vector is as long as the vocabulary, and no token can come to lie near another.

# %% [markdown]
# ### A table of short vectors
#
# So we multiply by a table $W$ with a row of $C$ numbers for each of the $V$ tokens. The row is the
# token's **embedding**, and $C$ is called `d_model`, the width of the model.

# %%
table = torch.tensor(
    [[0.0, 0.1, 0.2], [1.0, 1.1, 1.2], [2.0, 2.1, 2.2], [3.0, 3.1, 3.2], [4.0, 4.1, 4.2]]
)  # (V, C) = (5, 3)

print(one_hot @ table)  # (3, V) @ (V, C) -> (3, C)

# %% [markdown]
# The zeros of a one-hot vector cross out every row but one. What is left is row 3, row 0, row 3:
# the rows of the ids. Indexing gets there without a multiplication.

# %%
print("equal:", torch.equal(one_hot @ table, table[some_ids]))

# %% [markdown]
# ### What the look-up saves
#
# For each token the product does $V \cdot C$ multiplications, nearly all of them by zero. What to
# look for: both axes are logarithmic. How do the two lines grow with the vocabulary?


# %%
def by_product(table, ids):
    return F.one_hot(ids, len(table)).float() @ table  # (256, V) @ (V, C) -> (256, C)


def by_look_up(table, ids):
    return table[ids]  # (256, C)


def milliseconds(function, *inputs):
    """Shortest of five runs."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        function(*inputs)
        times.append(1000 * (time.perf_counter() - start))
    return min(times)


sizes = [100, 1_000, 10_000, 50_000]
inputs = [(torch.ones(size, 64), torch.arange(256) % size) for size in sizes]
product_times = [milliseconds(by_product, *pair) for pair in inputs]
look_up_times = [milliseconds(by_look_up, *pair) for pair in inputs]

# %% tags=["nbval-ignore-output"]
figure, axis = plt.subplots(figsize=(5.5, 3.2))
axis.loglog(sizes, product_times, "s-", label="one-hot times table")
axis.loglog(sizes, look_up_times, "o-", label="look-up")
axis.set(xlabel="V, size of the vocabulary", ylabel="milliseconds", title="256 tokens, C = 64")
axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
axis.minorticks_off()
axis.legend()
show_figure(
    figure,
    "Time against vocabulary, both logarithmic: the product's time rises with V, the look-up's "
    "stays nearly the same.",
)

# %% [markdown]
# The product grows with the vocabulary, the look-up does not: it reads 256 rows, however many there
# are. `benchmarks/embeddings.py` measures both, training included, and prints the ratio.

# %% [markdown]
# ## 2. Numbers that learn
#
# Who writes the table? Nobody. It starts with random numbers, and training moves them. A number
# that training may move is a **parameter**. Here is training with a single one, $w$.
#
# We need a **loss**: one number that says how wrong the model is, 0 when it could not be better.
# Ours is the squared distance of $w$ from 3.


# %%
def loss_of(w):
    return (w - 3.0) ** 2


for w in (0.0, 2.0, 3.0):
    print(f"w = {w:.0f}: loss {loss_of(w):.0f}")

# %% [markdown]
# Which way should $w$ move? Nudge it, and see what the loss does. The change of the loss for each
# unit of the nudge is the **gradient**. It is the slope of the loss at this place.

# %%
nudge = 0.001
slope = (loss_of(0.0 + nudge) - loss_of(0.0)) / nudge

print(f"gradient at w = 0: {slope:.1f}")

# %% [markdown]
# The gradient is −6: the loss falls by 6 for each unit that $w$ grows. With millions of parameters
# nobody nudges each of them. torch keeps a record of the operations and works out all gradients
# at once, when asked by `backward()`. `requires_grad` marks a parameter.

# %%
w = torch.tensor(0.0, requires_grad=True)
loss_of(w).backward()

print("gradient:", w.grad)

# %% [markdown]
# A **training step** moves every parameter a little against its gradient, downhill:
#
# $$w \leftarrow w - \eta \cdot \text{gradient}$$
#
# $\eta$ is the **learning rate**, a small positive number that we choose.
#
# **Predict:** $w = 0$, the gradient is −6, and the learning rate 0.1. What is $w$ after one step?

# %%
my_guess = None  # a number
predict("embeddings.one_step", my_guess)

# %%
after_one_step = w.item() - 0.1 * w.grad.item()

reveal(
    "embeddings.one_step",
    outcome=round(after_one_step, 2),
    explanation="0 − 0.1 · (−6) = 0.6: against a negative gradient means up, towards 3.",
)

# %% [markdown]
# Repeat it, and $w$ arrives. `backward()` adds to what `.grad` holds already, so it is emptied
# before each step. The step itself is no part of what torch should record, hence `no_grad`. What to
# look for in the numbers: the steps get shorter by themselves, because the slope gets flatter.

# %%
w = torch.tensor(0.0, requires_grad=True)
for step in range(1, 21):
    w.grad = None
    loss_of(w).backward()
    with torch.no_grad():
        w -= 0.1 * w.grad
    if step in (1, 2, 5, 20):
        print(f"after step {step:>2}: w = {w.item():.2f}, loss {loss_of(w).item():.3f}")

# %% [markdown]
# ### The gradient of a look-up
#
# Now the parameters are a table. We look up rows 3, 0 and 3 and take as loss, for once, the sum of
# all the numbers that come out. Each number that was looked up once has the gradient 1 then.
#
# **Predict:** what gradient do the numbers of row 3 get, which was looked up twice?

# %%
my_guess = None  # a number
predict("embeddings.twice", my_guess)

# %%
parameters = table.clone().requires_grad_()
parameters[some_ids].sum().backward()
reveal(
    "embeddings.twice",
    outcome=parameters.grad[3, 0].item(),
    explanation="A row that is used twice changes the loss in two places, and the two add up.",
)

# %%
print("one row of gradients for each token:")
print(parameters.grad)

# %% [markdown]
# Rows that nobody looked up have the gradient 0 and stay where they are. A training step moves the
# words that it has seen, and no other. The one-hot product has the very same gradient:

# %%
again = table.clone().requires_grad_()
(one_hot @ again).sum().backward()

print("equal gradients:", torch.equal(parameters.grad, again.grad))

# %% [markdown]
# ## 3. Texts of different length
#
# In chapter 01, texts of different length were filled up with padding, so that they fit into one
# batch. The loss leaves padding out by the ignore index. But what vector does padding get?
#
# The id that fills up is the **padding index**. We take 0, the id of the unknown word, which no
# story needs, and look the texts up.

# %%
sentences = ["Tom has the ball", "Mia smiled", "Who has it now"]
rows = [torch.tensor(tokenizer.encode(sentence)) for sentence in sentences]
padded = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)  # (B, T)

print(padded)

# %% [markdown]
# Padding says nothing, so its vector should be zero and stay zero. Two things are needed for that:
# zeros in its places, and no gradient into its row. If the row learned, it would come to mean
# "a text ends here", and the same text would read differently in another batch.

# %% [markdown]
# ### Exercise 1: look up, with padding
#
# The two steps are named; write the code for each. A **mask** is a tensor of `True` and `False`
# that marks places: `x.masked_fill(mask, 0.0)` puts 0 wherever it is `True`, and sends no gradient
# through those places.


# %% tags=["exercise"]
def embed(table, ids, padding_idx):
    """Replace each id by its row of the table, and padding by zeros.

    Args:
        table: floating-point tensor of shape (V, C), a row of C numbers for each token.
        ids: int64 tensor of shape (B, T) with numbers from 0 to V - 1.
        padding_idx: the id of the padding, or None if no token is padding. 0 is an id like any
            other.

    Returns:
        A new tensor of shape (B, T, C) with the dtype of the table. Where ids is padding_idx, the
        vector is zero, whatever the table holds there. Gradients flow back to the rows that were
        used, and none to the row of the padding. The table is not changed.

    Example:
        With the table [[9, 9], [1, 2], [3, 4]] and padding_idx=0, the ids [[2, 1, 0]] give
        [[[3, 4], [1, 2], [0, 0]]].
    """
    # Step 1: the rows of the ids, (B, T, C).
    ### BEGIN SOLUTION
    x = table[ids]  # (B, T, C)
    ### END SOLUTION
    # Step 2: zeros in the places of padding, if there is any. The mask needs the shape (B, T, 1).
    ### BEGIN SOLUTION
    if padding_idx is not None:
        x = x.masked_fill((ids == padding_idx).unsqueeze(-1), 0.0)
    return x
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.embed", embed)

# %% [markdown]
# Stuck? `hint("embeddings.embed")` in a new cell shows one hint; run it again for the next one. The
# fourth time it shows a solution.

# %% [markdown]
# `TokenEmbedding`, the course's layer, is this look-up with a table of its own. Its padding row
# starts at zero and gets no gradient.

# %%
rng = torch.Generator().manual_seed(0)
layer = embeddings.TokenEmbedding(V, d_model=4, padding_idx=0, generator=rng)
layer(padded).sum().backward()

print("gradient of the padding row:", layer.weight.grad[0])
print("gradient of 'has', used twice:", layer.weight.grad[words.index("has")])

# %% [markdown]
# ### The wrong way: averaging padding
#
# To stand for a whole text, one can average the vectors of its tokens. `x.mean(dim=1)` divides by
# the length of the **batch**. Watch what happens to the same text in a longer batch.

# %%
row_of_ones = torch.ones(1, 2, 4)  # a text of two tokens, all numbers 1
longer = F.pad(row_of_ones, (0, 0, 0, 6))  # the same text with six places of padding

print("mean:", row_of_ones.mean(dim=1)[0])
print("mean, in a batch of longer texts:", longer.mean(dim=1)[0])

# %% [markdown]
# The text has not changed, and its mean has shrunk to a quarter. Divide by the number of *real*
# tokens, for each text its own. A text without any would be 0 divided by 0, which for a computer is
# **NaN**, *not a number*.

# %% [markdown]
# ### Exercise 2: the mean of a text's tokens


# %% tags=["exercise"]
def mean_of_tokens(x, ids, padding_idx):
    """Average the vectors of each text over its real tokens.

    Args:
        x: floating-point tensor of shape (B, T, C), the vectors of all places. Those in places of
            padding may be any numbers.
        ids: int64 tensor of shape (B, T).
        padding_idx: the id of the padding. It may stand anywhere in a row, not only at its end.

    Returns:
        A new tensor of shape (B, C) with the dtype of x: for each text the mean of the vectors
        whose id is not padding_idx. For a text of padding alone it is zero, and not NaN. x is not
        changed, and gradients flow back to it.
    """
    # Step 1: True where a token is real, with an axis for broadcasting: (B, T, 1).
    ### BEGIN SOLUTION
    is_real = (ids != padding_idx).unsqueeze(-1)  # (B, T, 1)
    ### END SOLUTION
    # Step 2: the sum of the real tokens' vectors, (B, C), and how many they are, (B, 1).
    ### BEGIN SOLUTION
    total = x.masked_fill(~is_real, 0.0).sum(dim=1)  # (B, C)
    count = is_real.sum(dim=1)  # (B, 1)
    ### END SOLUTION
    # Step 3: divide, by 1 at least.
    ### BEGIN SOLUTION
    return total / count.clamp(min=1)
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.mean_of_tokens", mean_of_tokens)

# %% [markdown]
# ## 4. A first model: the next token from one token
#
# Now a table learns something useful. The task is that of every language model: given the tokens so
# far, say how likely each token is to come next. Our first model sees one token only, which makes
# it a **bigram model**: a bigram is a pair of neighbours. It needs a table with $V$ rows and $V$
# columns: the row is the token that it sees, the columns are the tokens that may follow.

# %% [markdown]
# ### From logits to probabilities
#
# The **probability of the next token** is a share between 0 and 1 for each token of the vocabulary;
# together they make 1. Such a row of shares is called a **distribution**. A row of our table holds
# any numbers, called **logits**: the larger, the likelier. **Softmax** turns logits into
# probabilities. Here it is a tool; chapter 04 takes it apart.

# %%
candidates = ["king", "ball", "the"]
logits = torch.tensor([2.0, 1.0, -1.0])
probabilities = logits.softmax(dim=-1)

for token, logit, p in zip(candidates, logits, probabilities, strict=True):
    print(f"{token:>5}: logit {logit:>4.1f}, probability {p:.2f}")
print(f"sum: {probabilities.sum():.2f}")

# %% [markdown]
# ### How wrong is that?
#
# Suppose the next token is *king*. The model gave it the probability 0.71. Its loss is the negative
# logarithm of that:
#
# $$\text{loss} = -\ln p(\text{token that came})$$
#
# A token that was certain costs 0. The less it was expected, the more it costs, without a limit:
# $-\ln p$ is the model's **surprise** at the token. The unit of a natural logarithm is the **nat**.

# %%
for p in (1.0, 0.71, 0.5, 0.1, 0.001):
    print(f"p = {p:<5}: loss {0 - math.log(p):.2f} nats")

# %% [markdown]
# The loss of a batch is the mean over all its targets. It is called **cross-entropy**, and
# `cross_entropy(logits, targets)` computes it straight from the logits.
#
# **Predict:** a model that knows nothing gives each of the 168 tokens the same probability. What is
# its loss? ($\ln 10 \approx 2.3$.)

# %%
my_guess = None  # a number of nats
predict("embeddings.know_nothing", my_guess)

# %%
from llm_core.loss import cross_entropy

logits = torch.zeros(1, V)  # all equal
loss = cross_entropy(logits, torch.tensor([king]))

reveal(
    "embeddings.know_nothing",
    outcome=round(loss.item(), 2),
    explanation="Every token has p = 1/168, and −ln(1/168) = ln 168. Whatever the target is.",
)

# %% [markdown]
# Keep this number in mind for every model: **knowing nothing costs** $\ln V$. A loss below it means
# that something was learned.

# %% [markdown]
# ### Train it
#
# The loop is that of section 2: loss, gradient, step. `get_batch` draws windows from the text and
# their targets, the next tokens (chapter 01). Looking up the rows of the inputs gives the logits
# for every place at once.

# %%
from llm_core.data import get_batch


def train_table(table, steps=300, learning_rate=30.0):
    """Train a (V, V) table of logits on the stories; return the loss at every step."""
    rng, losses = torch.Generator().manual_seed(1), []
    for _ in range(steps):
        x, y = get_batch(ids, 32, 32, generator=rng)  # (B, T) each
        loss = cross_entropy(table[x], y)  # (B, T, V) against (B, T)
        table.grad = None
        loss.backward()
        with torch.no_grad():
            table -= learning_rate * table.grad
        losses.append(loss.item())
    return losses


# %%
rng = torch.Generator().manual_seed(0)
next_token = (0.02 * torch.randn(V, V, generator=rng)).requires_grad_()
losses = train_table(next_token)

# %% [markdown]
# How good can it get? A model that sees one token only can do no better than the true shares, which
# we can count: how often does each token follow each other one in the text? Their loss is a floor
# under every such model.
#
# `index_put_(..., accumulate=True)` does the counting. For every pair of neighbours it adds 1 to
# the table, in the row of the first token and the column of the second.

# %%
pairs = torch.zeros(V, V).index_put_((ids[:-1], ids[1:]), torch.tensor(1.0), accumulate=True)
shares = pairs / pairs.sum(dim=1, keepdim=True).clamp(min=1)  # each row sums to one
cost = -torch.where(pairs > 0, shares.log(), 0.0)
floor = ((pairs * cost).sum() / pairs.sum()).item()

# %% [markdown]
# What to look for: where the curve begins, and what it approaches.

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(losses, label="our table")
axis.axhline(math.log(V), color="C1", linestyle=":", label=r"knowing nothing, $\ln V$")
axis.axhline(floor, color="C2", linestyle="--", label="counting the text")
axis.set(xlabel="training step", ylabel="loss (nats per token)", ylim=(0, 6))
axis.legend(loc="upper right", bbox_to_anchor=(1, 0.85))
show_figure(
    figure,
    "The loss starts on the line of knowing nothing, at about 5, falls fast and then slowly "
    "approaches the line of counting, at about 1.5.",
)

# %%
for word in ("Once", "One", "went"):
    likeliest = next_token[words.index(word)].argmax()
    print(f"after {word}: likeliest {words[likeliest]}")

# %% [markdown]
# A table of logits, trained by gradients alone, has found what counting would have found. Counting
# ends here, since nobody can count all texts of a hundred tokens. The gradient goes on: the rest of
# the course puts better models in place of this table, and keeps the loop.

# %% [markdown]
# ### From one table to two
#
# A table of $V \cdot V$ numbers does not scale, and its rows share nothing: what it learns about
# *king* does not help with *queen*. So a language model looks up a short vector of $C$ numbers, and
# a second table of $C \cdot V$ numbers turns it into logits.

# %%
for size, C in ((168, 24), (50_257, 768)):
    print(
        f"V = {size:>6,}: one table {size * size:>13,} numbers, two of width {C}: {2 * size * C:,}"
    )

# %% [markdown]
# Both small tables have a row of $C$ numbers for each token. Why not use the same one twice? The
# vector that stands for *king* as input would also decide how likely *king* is as output. This is
# **weight tying**. It halves the numbers, and GPT-2 does it. Chapter 06 tells the full story.

# %%
rng = torch.Generator().manual_seed(0)
tied = embeddings.TokenEmbedding(V, 24, generator=rng)
x, y = get_batch(ids, 2, 5, generator=rng)
logits = tied(x) @ tied.weight.T  # (B, T, C) @ (C, V) -> (B, T, V)
cross_entropy(logits, y).backward()
rows = (tied.weight.grad.abs().sum(dim=1) > 0).sum().item()

print(f"{len(x.unique())} different tokens in the batch, {rows} rows with a gradient")

# %% [markdown]
# As an output layer the table gets a gradient in **every** row: each token that did not come is
# told so. As input, only the rows that were looked up get one.

# %% [markdown]
# ## 5. Where to start
#
# Before training, the table holds random numbers around 0. How large should they be? We say it with
# the **standard deviation**, the typical distance from the mean: square the distances, take their
# mean, then its root. This choice is the **initialisation**.
#
# What to look for: the first loss, before any training, of a tied model with $C = 64$, for standard
# deviations from 0.001 to 2. The dotted line is $\ln V$.

# %%
deviations = [0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0, 2.0]
first_losses = []
for deviation in deviations:
    rng = torch.Generator().manual_seed(1)
    start = deviation * torch.randn(V, 64, generator=rng)
    x, y = get_batch(ids, 32, 32, generator=rng)
    first_losses.append(cross_entropy(start[x] @ start.T, y).item())

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.loglog(deviations, first_losses, "o-", label="first loss")
axis.axhline(math.log(V), color="C1", linestyle=":", label=r"$\ln V$")
axis.set(xlabel="standard deviation of the start", ylabel="loss (nats per token)")
axis.set_xticks([0.001, 0.02, 0.1, 1.0], ["0.001", "0.02", "0.1", "1"])
axis.set_yticks([5, 10, 50, 200], ["5", "10", "50", "200"])
axis.minorticks_off()
axis.legend()
show_figure(
    figure,
    "The first loss lies on the line of ln V up to a standard deviation of about 0.2 and then "
    "climbs steeply, to far above 50 at a standard deviation of 1.",
)

# %%
print("at 0.02 within 0.1 of ln V:", abs(first_losses[2] - math.log(V)) < 0.1)
print("at 1 more than ten times ln V:", first_losses[8] > 10 * math.log(V))

# %% [markdown]
# At 1, which is the default of `nn.Embedding`, the untrained model is **sure**, and wrong. A
# vector's product with itself is then about $C = 64$: every token predicts itself. GPT-2 starts at
# 0.02, where all logits are nearly equal. So does `TokenEmbedding`.
#
# What does a bad start cost? The table of section 4 again, from 0.02 and from 3.

# %%
rng = torch.Generator().manual_seed(0)
wide = (3.0 * torch.randn(V, V, generator=rng)).requires_grad_()
losses_wide = train_table(wide)

# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(losses, label="start at 0.02")
axis.plot(losses_wide, "--", label="start at 3")
axis.axhline(math.log(V), color="0.5", linestyle=":", label=r"$\ln V$")
axis.set(xlabel="training step", ylabel="loss (nats per token)", ylim=(0, 10))
axis.legend()
show_figure(
    figure,
    "The curve from the wide start begins near 9, far above ln V, and stays above the other one "
    "to the end.",
)

# %% [markdown]
# The first steps are spent on unlearning what nobody taught. So look at the very first loss of any
# model: far above $\ln V$, and the initialisation is wrong.

# %% [markdown]
# ## 6. Meaning from company
#
# The table of section 4 learned which word comes next. For *meaning* we ask more loosely: in whose
# **company** does a word occur, a few places before or after? Words that keep the same company are
# used alike, and often mean something alike.

# %%
story_lists = [tokenizer.encode(story) for story in text.split(STORY_END + "\n") if story]
text_of = torch.arange(len(story_lists)).repeat_interleave(
    torch.tensor([len(story) for story in story_lists])
)
story_ids = torch.tensor([i for story in story_lists for i in story])  # no end tokens

near = embeddings.skipgram_pairs(story_ids, window=4, text_of=text_of)  # (M, 2)
together = torch.zeros(V, V).index_put_(near.unbind(dim=1), torch.tensor(1.0), accumulate=True)

# %% [markdown]
# `together` counts how often two words meet within four places. `text_of` numbers the stories: no
# pair reaches from one story into the next. We compare three words by the
# company of eight others. What to look for: which two rows look alike?

# %%
company = ["crown", "hat", "castle", "village", "sail", "dig", "red", "found"]
shown = ["king", "prince", "spade"]
part = together[[words.index(w) for w in shown]]
part = 100 * part / part.sum(dim=1, keepdim=True)  # percent of all the company of a word
part = part[:, [words.index(w) for w in company]]

figure, axis = plt.subplots(figsize=(6.5, 2.2))
axis.imshow(part, aspect="auto")
cells = torch.cartesian_prod(torch.arange(3), torch.arange(8)).tolist()
for (i, j), percent in zip(cells, part.flatten().tolist(), strict=True):
    ink = "black" if percent > part.max() / 2 else "white"
    axis.text(j, i, f"{percent:.1f}", ha="center", va="center", color=ink, fontsize=9)
axis.set_xticks(range(len(company)), company)
axis.set_yticks(range(len(shown)), shown)
axis.set(title="Percent of a word's company")
axis.grid(False)
show_figure(
    figure,
    "A table of three rows. The rows of king and prince are bright at crown and castle, the row "
    "of spade at dig, red and found.",
)

# %% [markdown]
# *king* and *prince* never stand within four places of each other, yet they keep the same company.
# Skip-gram packs such a row of $V$ counts into a short vector.

# %% [markdown]
# ### Exercise 3: words and their company
#
# **Skip-gram** learns from pairs: a word in the middle, the centre, and one word of its company.
# The **window** says how many places to each side count.


# %% tags=["exercise"]
def skipgram_pairs(ids, window):
    """List every token with each token of its company.

    Args:
        ids: int64 tensor of shape (N,), the tokens of one text, at least two.
        window: how many places to the left and to the right are company, at least 1.

    Returns:
        An int64 tensor of shape (M, 2) of ids, a row (centre, company) for each pair. The centres
        come in the order of the text, and for one centre its company does too, from left to
        right. A place is not company of itself, but the same word at another place is. At the
        ends of the text there is less company; nothing wraps around.

    Example:
        skipgram_pairs(torch.tensor([4, 7, 9]), window=1) gives
        [[4, 7], [7, 4], [7, 9], [9, 7]].
    """
    ### BEGIN SOLUTION
    pairs = []
    for i in range(len(ids)):
        first, last = max(0, i - window), min(len(ids) - 1, i + window)
        for j in range(first, last + 1):
            if j != i:
                pairs.append((int(ids[i]), int(ids[j])))
    return torch.tensor(pairs)  # (M, 2)
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.skipgram_pairs", skipgram_pairs)

# %% [markdown]
# ### Was this pair in the text?
#
# One could predict the company with a softmax over all $V$ words, at the price of $V$ products for
# each pair. **Negative sampling** asks a cheaper question: here is a pair, was it in the text? Yes
# for true pairs; no for pairs with a word drawn at random, a **negative**.
#
# The **score** of a pair is the dot product of its two vectors. The **sigmoid** turns a score into
# the probability of yes:
#
# $$\sigma(s) = \frac{1}{1 + e^{-s}}$$

# %%
scores = torch.tensor([-4.0, -1.0, 0.0, 1.0, 4.0])
print("score:      ", scores)
print("sigmoid:    ", torch.sigmoid(scores))
print("and its no: ", 1 - torch.sigmoid(scores))

# %% [markdown]
# Read the last row backwards: the probability of no is the sigmoid of **minus** the score,
# $1 - \sigma(s) = \sigma(-s)$. With the centre $c$, its company $o$ and $K$ negatives $n_k$, each a
# vector, the loss of a pair adds up what every answer costs:
#
# $$\text{loss} = -\ln \sigma(c \cdot o) - \sum_{k=1}^{K} \ln \sigma(-c \cdot n_k)$$

# %% [markdown]
# ### The wrong way: logarithm of a rounded number
#
# Written down as it stands, the formula fails where the model is badly wrong, which is where it
# matters most.

# %%
score = torch.tensor(-200.0)

print("sigmoid, then logarithm:", torch.sigmoid(score).log())
print("both at once:           ", F.logsigmoid(score))

# %% [markdown]
# $\sigma(-200)$ is smaller than any 32-bit float and is rounded to 0, and $\ln 0 = -\infty$.
# `F.logsigmoid` never makes the small number: for large $-s$, $\ln \sigma(s)$ is nearly $s$ itself.

# %% [markdown]
# ### Exercise 4: the loss of negative sampling


# %% tags=["exercise"]
def negative_sampling_loss(centre, company, negatives):
    """Say how wrong the answers to "was this pair in the text?" are, for B pairs.

    Args:
        centre: shape (B, C), the vectors of the words in the middle.
        company: shape (B, C), the vectors of the words that stood beside them.
        negatives: shape (B, K, C), the vectors of K random words for each centre.

    Returns:
        Shape (B,), the dtype of the inputs: for each pair -ln σ(centre · company) minus the sum
        over its K negatives of ln σ(-centre · negative), in nats. It must hold for scores in the
        hundreds. Gradients flow back to all three, and no input is changed.

    Example:
        When all vectors are zero and K = 1, each of the two questions costs ln 2, together 1.39.
    """
    # Step 1: the score of each true pair, (B,).
    ### BEGIN SOLUTION
    yes = (centre * company).sum(dim=-1)  # (B,)
    ### END SOLUTION
    # Step 2: the scores of each centre with its K negatives, (B, K).
    ### BEGIN SOLUTION
    no = (centre.unsqueeze(1) * negatives).sum(dim=-1)  # (B, K)
    ### END SOLUTION
    # Step 3: what the 1 + K answers cost, added up.
    ### BEGIN SOLUTION
    return -F.logsigmoid(yes) - F.logsigmoid(-no).sum(dim=-1)  # (B,)
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.negative_sampling_loss", negative_sampling_loss)

# %% [markdown]
# ### The gradient by hand
#
# `backward()` could find the gradient. By hand it is short, and tells what skip-gram does. The
# slope of $-\ln \sigma(s)$ at a score $s$ is $\sigma(s) - 1$, that of $-\ln \sigma(-s)$ is
# $\sigma(s)$. Both say:
#
# $$\text{error} = \text{what was guessed} - \text{what is true}$$
#
# The slope of a dot product by one vector is the other vector. So the centre's gradient is error
# times company, plus error times negative for each of them. Its step goes the other way:
# **towards** its company, **away** from random words.

# %% [markdown]
# ### Exercise 5: the gradient of negative sampling
#
# No steps this time. Do it without `backward()`.


# %% tags=["exercise"]
def negative_sampling_gradient(centre, company, negatives):
    """Work out the gradients of the loss of exercise 4, summed over the B pairs.

    Args:
        centre: shape (B, C).
        company: shape (B, C).
        negatives: shape (B, K, C).

    Returns:
        (for_centre, for_company, for_negatives), in this order, with the shapes and the dtype of
        the three arguments. They point uphill: a training step subtracts them. No input is
        changed.

    Formulas: with the errors e = σ(centre · company) - 1 and e_k = σ(centre · negative_k),
        for_centre = e * company + sum over k of e_k * negative_k,
        for_company = e * centre, and for_negatives[k] = e_k * centre.
    """
    ### BEGIN SOLUTION
    yes = (centre * company).sum(dim=-1, keepdim=True)  # (B, 1)
    no = (centre.unsqueeze(1) * negatives).sum(dim=-1, keepdim=True)  # (B, K, 1)
    yes_error, no_error = torch.sigmoid(yes) - 1, torch.sigmoid(no)
    for_centre = yes_error * company + (no_error * negatives).sum(dim=1)  # (B, C)
    return for_centre, yes_error * centre, no_error * centre.unsqueeze(1)
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.negative_sampling_gradient", negative_sampling_gradient)

# %% [markdown]
# torch agrees with the formulas:

# %%
rng = torch.Generator().manual_seed(0)
shapes = ((2, 3), (2, 3), (2, 4, 3))
three = [torch.randn(shape, generator=rng).requires_grad_() for shape in shapes]
embeddings.negative_sampling_loss(*three).sum().backward()
by_hand = embeddings.negative_sampling_gradient(*(t.detach() for t in three))

print("equal:", all(torch.allclose(t.grad, g) for t, g in zip(three, by_hand, strict=True)))

# %% [markdown]
# ### Which words, and how often
#
# *the* and the full stop stand beside everything, so they say little. Each occurrence of a word is
# therefore kept with the probability $\sqrt{t / \text{share}}$, where *share* is its part of the
# text and $t$ a threshold, here 0.001. A word whose share is below $t$ is always kept.
#
# Negatives are drawn in proportion to $\text{count}^{0.75}$: frequent words more often, but less so
# than they occur. Both rules are those of the paper.

# %%
counts = torch.bincount(story_ids, minlength=V)  # (V,)
keep = embeddings.keep_probability(counts, threshold=1e-3)
noise = embeddings.noise_distribution(counts)

for word in (".", "the", "king", "spade"):
    i = words.index(word)
    share = counts[i] / counts.sum()
    print(f"{word:>6}: {share:.3f} of the text, kept {keep[i]:.2f}, drawn {noise[i]:.3f}")

# %% [markdown]
# ### One step, and a trap
#
# A step subtracts the gradients from the rows. Many pairs of a batch share a word, so its row gets
# several. Here is the trap, with a table of three numbers and the row 1 named twice.

# %%
wrong, right = torch.zeros(3), torch.zeros(3)
twice = torch.tensor([1, 1])

wrong[twice] += 1.0
right.index_add_(0, twice, torch.ones(2))

print("with [...] +=:  ", wrong)
print("with index_add_:", right)

# %% [markdown]
# `wrong[twice] += 1` reads the row, adds 1, and writes it back twice: one gradient is lost, without
# an error. `index_add_` adds up everything that goes to the same row.


# %%
def skipgram_step(vectors, companies, pairs, negatives, rate):
    """Move both tables one step, for pairs (B, 2) of ids and negatives (B, K)."""
    centre, company = pairs.unbind(dim=1)  # (B,) each
    for_centre, for_company, for_negatives = embeddings.negative_sampling_gradient(
        vectors[centre], companies[company], companies[negatives]
    )
    vectors.index_add_(0, centre, for_centre, alpha=-rate)  # alpha: a factor
    companies.index_add_(0, company, for_company, alpha=-rate)
    flat = for_negatives.flatten(0, 1)  # (B * K, C)
    companies.index_add_(0, negatives.flatten(), flat, alpha=-rate)


# %% [markdown]
# There are two tables: a word has one vector as a centre and another one as company. With a single
# table, a word would be pushed to be its own company, since its product with itself is large. At
# the end, the first table is kept.

# %%
K, WINDOW, BATCH, RATE = 5, 5, 512, 0.05


def train(ids, text_of, C, epochs, rng, on_step):
    """Train vectors of width C on texts that lie one after the other in ids: (V, C)."""
    counts = torch.bincount(ids, minlength=V)
    keep, noise = embeddings.keep_probability(counts), embeddings.noise_distribution(counts)
    vectors, companies = (torch.rand(V, C, generator=rng) - 0.5) / C, torch.zeros(V, C)
    with tqdm(total=100, desc="skip-gram", unit="%", file=sys.stdout) as bar:
        for epoch in range(epochs):
            kept = torch.rand(len(ids), generator=rng) < keep[ids]
            pairs = embeddings.skipgram_pairs(ids[kept], WINDOW, text_of[kept])  # (M, 2)
            pairs = pairs[torch.randperm(len(pairs), generator=rng)]
            for first in range(0, len(pairs), BATCH):
                batch = pairs[first : first + BATCH]
                drawn = torch.multinomial(noise, len(batch) * K, replacement=True, generator=rng)
                done = (epoch + (first + len(batch)) / len(pairs)) / epochs
                rate = RATE * max(1 - done, 0.01)
                skipgram_step(vectors, companies, batch, drawn.view(-1, K), rate)
                bar.update(int(done * bar.total) - bar.n)
                on_step(done, vectors)
    return vectors


# %% [markdown]
# The learning rate falls from 0.05 to nearly 0 on the way, so that the vectors come to rest. The
# whole text is gone through three times, in about two million pairs.

# %% [markdown]
# ### Watch the vectors move
#
# The map below is drawn anew while the training runs. At the start all vectors are tiny and random,
# a knot in the middle. What to look for: which groups part first, and which late? Afterwards,
# move the slider to see it again, and point at a word to see its way.

# %%
from llm_core.corpus.words import ANIMALS, KINDS, NAMES, PLACES, RELATIVES

groups = {
    "people": [*KINDS, *RELATIVES],
    "names": [*NAMES["he"], *NAMES["she"]],
    "animals": list(ANIMALS),
    "young": [young for young, _ in ANIMALS.values()],
    "places": list(PLACES),
    "things": [thing for _, _, thing in PLACES.values()],
}

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.embeddings import TrainingMap

live = TrainingMap(words, groups)
live.show()
rng = torch.Generator().manual_seed(0)
vectors = train(story_ids, text_of, C=24, epochs=3, rng=rng, on_step=live.add)

# %% [markdown]
# Animals, people, places and things part within the first moments: their company differs in nearly
# every sentence. The finer differences, such as that between a king and a queen, take longer.
# (The groups only colour the map. The training has never seen them.)

# %% [markdown]
# ## 7. Who is near whom
#
# To compare two vectors, the dot product is not enough: it grows with their lengths. The **cosine
# similarity** divides by them. It is the cosine of the angle: 1 for the same direction, 0 for a
# right angle, −1 for opposite directions.
#
# $$\cos(a, b) = \frac{a \cdot b}{\lVert a \rVert \, \lVert b \rVert}$$

# %%
a, b = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
long_b = 100 * b

for name, other in (("b", b), ("100 b", long_b)):
    cosine = embeddings.cosine_similarity(a, other)
    print(f"a and {name}: dot product {a @ other:.0f}, cosine {cosine:.2f}")

# %% [markdown]
# The **nearest neighbours** of a word are the words with the largest cosine to it. What to look for
# in the plot: the three words have different kinds of neighbours.

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), sharex=True)
for axis, word in zip(axes, ("queen", "puppy", "river"), strict=True):
    neighbours = embeddings.nearest(word, words, vectors, k=6)
    axis.barh([name for name, _ in neighbours], [cosine for _, cosine in neighbours])
    axis.invert_yaxis()
    axis.set(title=f"near {word}", xlabel="cosine", xlim=(0, 1))
show_figure(
    figure,
    "Three bar charts of nearest neighbours: people near queen, animals and sounds near puppy, "
    "places and what belongs to them near river.",
)

# %% [markdown]
# Near means: in the same company. Some neighbours could take the word's place in a sentence, others
# stand beside it. Words of opposite meaning keep nearly the same company, too: nothing here tells a
# synonym from an antonym.

# %% [markdown]
# ### Exercise 6: nearest neighbours
#
# The query is the vector whose neighbours are wanted.


# %% tags=["exercise"]
def nearest(vectors, query, k, exclude):
    """Find the rows that point most nearly the way of a query.

    Args:
        vectors: shape (V, C). A row of zeros (padding) has the cosine 0 with everything.
        query: shape (C,), not zero.
        k: how many rows to return, at most V less the excluded ones.
        exclude: list of row numbers that must not be returned; it may be empty.

    Returns:
        An int64 tensor of shape (k,): the numbers of the rows with the largest cosine similarity
        to the query, the largest first. Of rows with equal cosines the smaller number comes first:
        `.sort(descending=True, stable=True)` keeps equals in order. No input is changed.

    Example:
        vectors = [[3, 0], [0, 1], [10, 10]], query = [1, 0.1], k = 2, exclude = [0] gives [2, 1].
    """
    ### BEGIN SOLUTION
    lengths = vectors.norm(dim=1).clamp(min=1e-12)  # (V,)
    similarity = vectors @ query / lengths  # (V,) but for the query's length, the same for all
    similarity[exclude] = float("-inf")
    return similarity.sort(descending=True, stable=True).indices[:k]
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.nearest", nearest)

# %% [markdown]
# ## 8. Sums of words
#
# What does *king* have that *man* has not? Subtract the vectors: *king − man* is the step from a
# common man to a royal one. Add that step to *woman*. An **analogy** is such a question: *man* is
# to *king* as *woman* is to what?

# %%
unit = vectors / vectors.norm(dim=1, keepdim=True)  # every vector of length 1
three_ids = [words.index(w) for w in ("king", "man", "woman")]
a_king, a_man, a_woman = unit[three_ids]
cosines = embeddings.cosine_similarity(unit, a_king - a_man + a_woman)  # (V,)
cosines[three_ids] = float("-inf")  # the three inputs do not count
print("king − man + woman =", words[cosines.argmax()])

# %% [markdown]
# Two habits of everybody who shows this sum are easy to miss. All vectors were given the length 1
# first. And the inputs were left out of the ranking, because the sum lies near *king* and *woman*
# anyway. Below we see what happens without either.

# %% [markdown]
# ### Exercise 7: analogies


# %% tags=["exercise"]
def analogy(vectors, a, b, c):
    """Complete "a is to b as c is to ...", for words given as row numbers.

    Args:
        vectors: shape (V, C), no row of zeros. Their lengths differ.
        a, b, c: three different row numbers.

    Returns:
        An int: the number of the row that is most similar, by cosine, to b - a + c. Every row is
        divided by its length first, in the sum and in the ranking. a, b and c themselves never
        count. vectors is not changed.

    Example:
        With the rows king, queen, man and woman, analogy(vectors, man, king, woman) is queen.
    """
    ### BEGIN SOLUTION
    unit = vectors / vectors.norm(dim=1, keepdim=True)  # (V, C)
    scores = unit @ (unit[b] - unit[a] + unit[c])  # (V,)
    scores[[a, b, c]] = float("-inf")
    return int(scores.argmax())
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.analogy", analogy)

# %% [markdown]
# ### Measured: how often is it right?
#
# One sum that works proves little. The stories support five families of analogies. Each family is a
# list of pairs, and every two pairs make a question.

# %%
families = {
    "royalty": [("man", "king"), ("woman", "queen"), ("boy", "prince"), ("girl", "princess")],
    "gender": [("king", "queen"), ("man", "woman"), ("prince", "princess"), ("boy", "girl")],
    "relatives": [("father", "mother"), ("son", "daughter"), ("brother", "sister")],
    "animal and young": [(animal, young) for animal, (young, _) in ANIMALS.items()],
    "place and thing": [(place, thing) for place, (_, _, thing) in PLACES.items()],
}


def questions_of(pairs):
    """Every (a, b, c, d) with a : b = c : d, from two different pairs."""
    return [(*first, *second) for first in pairs for second in pairs if first != second]


total = sum(len(questions_of(pairs)) for pairs in families.values())
print(f"{total} questions, such as", questions_of(families["place and thing"])[0])


# %%
def share_right(pairs, **settings):
    """How many of a family's analogies come out right, from 0 to 1."""
    asked = questions_of(pairs)
    best = [
        embeddings.analogy(a, b, c, words, vectors, 1, **settings)[0][0] for a, b, c, _ in asked
    ]
    return sum(found == d for found, (*_, d) in zip(best, asked, strict=True)) / len(asked)


ways = {
    "as it should be": {},
    "lengths kept": {"normalise": False},
    "inputs may win": {"exclude_inputs": False},
    "both mistakes": {"normalise": False, "exclude_inputs": False},
}
right = {way: [share_right(p, **kw) for p in families.values()] for way, kw in ways.items()}

# %% [markdown]
# What to look for: the first bar of each family, and what the two careless ways make of it. An
# answer counts only if it is the best of all 168 tokens.

# %%
figure, axis = plt.subplots(figsize=(9, 3.2))
place = torch.arange(len(families))
for number, (way, hatch) in enumerate(zip(ways, ("", "//", "..", "xx"), strict=True)):
    axis.bar(place + 0.2 * (number - 1.5), right[way], width=0.2, hatch=hatch, label=way)
axis.set_xticks(place, families)
axis.set(ylabel="share right", ylim=(0, 1.05), title="Analogies, best answer of all tokens")
axis.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12))
show_figure(
    figure,
    "Four bars for each of five families. Done properly, nearly all analogies are right. With "
    "lengths kept or inputs allowed to win, some families fall; with both, most of the animals "
    "fail.",
)

# %%
sizes = [len(questions_of(pairs)) for pairs in families.values()]
overall = {
    way: sum(n * r for n, r in zip(sizes, shares, strict=True)) / total
    for way, shares in right.items()
}
print("at least 90 % right:", overall["as it should be"] >= 0.9)
print("each careless way is worse:", max(list(overall.values())[1:]) < overall["as it should be"])
print("both together, below 75 %:", overall["both mistakes"] < 0.75)

# %% [markdown]
# Why does it work? Because the stories are built that way: gender shows in pronouns and names,
# royalty in crowns and castles, and a king's company is a man's with the royal part exchanged. **A
# sum of words works where the text draws parallels**, and no further. On real texts, a test
# of this kind gives 60 to 75 percent (table 2 of the GloVe paper, below).

# %% [markdown]
# ### Exercise 8: expose the bug
#
# A colleague wrote `careless_analogy(vectors, a, b, c)`: it never divides by the lengths. Their
# test passes:

# %%
from llm_core.exercises.embeddings import careless_analogy

six = ["r0", "r1", "r2", "r3", "r4", "r5"]
tidy = torch.tensor(
    [[0.6, 0.8, 0], [0.6, 0, 0.8], [0, 0.8, 0.6], [0, 0.6, 0.8], [0.8, 0.6, 0], [0.8, 0, 0.6]]
)
expected, _ = embeddings.analogy("r0", "r1", "r2", six, tidy, k=1)[0]

print("the colleague's test passes:", six[careless_analogy(tidy, 0, 1, 2)] == expected)

# %% [markdown]
# Write an input on which it gives another answer than the right function. What in their test hides
# the bug?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `careless_analogy` from the right function.

    Returns:
        (vectors, a, b, c): a floating-point tensor of shape (V, C) with at least four rows, none of
        them zero, and three different row numbers. The right answer to "a is to b as c is to ..."
        and the careless one must differ.
    """
    ### BEGIN SOLUTION
    man, king, woman, queen = [1.0, 0, 0], [1.0, 0, 1], [0.0, 1, 0], [0.0, 1, 1]
    loud = [50.0, 50, 50]  # points nowhere in particular, but is long
    return torch.tensor([man, king, woman, queen, loud]), 0, 1, 2
    ### END SOLUTION


# %% tags=["check"]
check("embeddings.expose_bug", expose_bug)

# %% [markdown]
# ## 9. A map of the vectors
#
# A vector of 24 numbers cannot be drawn. **PCA**, principal component analysis, looks at the cloud
# of vectors from the side from which it is widest. In steps: move the cloud's mean to 0. Compute
# the **covariance**, a $C \times C$ table that says how the columns vary together. The directions
# of the largest spread are its eigenvectors, the vectors that it only stretches.
# `torch.linalg.eigh` finds them, the smallest spread first.


# %%
def widest_directions(x, n):
    """Coordinates of the rows of x (N, C) along n directions, the widest first: (N, n)."""
    centred = x - x.mean(dim=0)
    covariance = centred.T @ centred / len(x)  # (C, N) @ (N, C) -> (C, C)
    _, columns = torch.linalg.eigh(covariance)  # (C, C), a direction in each column
    return centred @ columns.flip(1)[:, :n]  # (N, C) @ (C, n) -> (N, n)


def share_of_spread(points, x):
    """How much of the spread of x is left in its map, from 0 to 1."""
    return (points.square().sum() / (x - x.mean(dim=0)).square().sum()).item()


points = widest_directions(unit, 2)
theirs, _ = embeddings.pca(unit, 2)
print("equal to llm_core's, up to signs:", torch.allclose(points.abs(), theirs.abs(), atol=1e-4))
print("two directions hold less than half:", share_of_spread(points, unit) < 0.5)

# %% [markdown]
# So words that look close on a flat map of everything may be apart in truth. For a few words, a map
# of their own shows more. We take the eight kinds of people and three directions. What to look for:
# what separates left from right, and what up from down, in each of the two views?

# %%
people = unit[[words.index(kind) for kind in KINDS]]  # (8, C)
points = widest_directions(people, 3)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
for axis, up in zip(axes, (1, 2), strict=True):
    across_and_up = points[:, [0, up]].tolist()
    axis.scatter(*zip(*across_and_up, strict=True))
    for place, (kind, traits) in zip(across_and_up, KINDS.items(), strict=True):
        lift = -12 if "royal" in traits else 4  # neighbours' names, one below the other
        axis.annotate(kind, place, xytext=(6, lift), textcoords="offset points")
    axis.set(xlabel="first direction", ylabel=f"direction {up + 1}", xticks=[], yticks=[])
    axis.margins(0.25)
show_figure(
    figure,
    "Two views of eight points. In both, men and women stand on different sides. Up and down in "
    "one view separates the old from the young, in the other royal from common people.",
)

# %%
print("three directions hold more than 90 %:", share_of_spread(points, people) > 0.9)

# %% [markdown]
# The grammar of the stories gives every kind of person three traits: gender, age and rank. Nobody
# told skip-gram or PCA, and yet three directions hold nearly all that tells the eight apart, and
# they are these traits. (Where two of them are about equally wide, PCA may mix them.) This is why
# the sums of section 8 work: a step along one trait is nearly the same for all.

# %% [markdown]
# ### Move through it
#
# **Things to try:**
#
# 1. The map shows the plane in which *king*, *man* and *woman* lie. How near does *queen* come to
#    the cross? Which words lie on the left and on the right, above and below?
# 2. Set *Look at* to *all words*, and point at words to read their neighbours. (By keyboard: go
#    through the list *Word* with the arrow keys.)
# 3. Build an analogy with a place and its thing: *spade − garden + river*.
# 4. Build *puppy − dog + cat*, then set the lengths to *as they are* and let the inputs win. Try
#    other animals and their young. Which answers break?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.embeddings import EmbeddingExplorer

only_words = [i for i, word in enumerate(words) if word.isalpha()]
explorer = EmbeddingExplorer([words[i] for i in only_words], vectors[only_words], groups)
explorer.plane = "analogy"
explorer

# %% [markdown]
# Any words and vectors can be looked at: pass yours in place of these.

# %% [markdown]
# ## 10. What else the vectors have learned
#
# Vectors sum up company, also where we would rather they did not. We measure it with a direction:
# *he* minus *she*. The cosine of a word with this direction says on whose side it lies. First the
# stories, in which a fair draw decides everything but the words for people.


# %%
def side(word, words, vectors):
    """Cosine of a word with he − she: above 0 on his side, below 0 on hers."""
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    axis = unit[words.index("he")] - unit[words.index("she")]
    return embeddings.cosine_similarity(unit[words.index(word)], axis).item()


for word in ("king", "queen", "spade", "clever"):
    value = side(word, words, vectors)
    print(f"{word:>6}:", "neither" if abs(value) < 0.15 else "his side" if value > 0 else "hers")

# %% [markdown]
# *king* is a man by definition; *spade* and *clever* lie on neither side. Now a text that is not
# fair. We write one: six jobs, and for each a share of sentences with *he*.

# %%
jobs = {"pilot": 0.9, "doctor": 0.75, "farmer": 0.6, "baker": 0.4, "teacher": 0.25, "nurse": 0.1}
rng, unfair = random.Random(0), []
for _ in range(600):
    job = rng.choice(list(jobs))
    is_man = rng.random() < jobs[job]
    name = rng.choice(NAMES["he" if is_man else "she"])
    he, his = ("he", "his") if is_man else ("she", "her")
    unfair.append(f"{name} is a {job} . {he} likes {his} work , and {he} is good at it .")

print(unfair[0])

# %%
small = WordTokenizer.train(" ".join(unfair))
small_words = [small.token(i) for i in range(small.vocab_size)]
small_vectors = embeddings.train_skipgram(
    [small.encode(sentence) for sentence in unfair],
    small.vocab_size,
    d_model=16,
    epochs=10,
    threshold=0.02,
    generator=torch.Generator().manual_seed(0),
    progress=False,
)

# %% [markdown]
# What to look for: across is what we wrote, up is what the vectors say.

# %%
sides = [side(job, small_words, small_vectors) for job in jobs]
figure, axis = plt.subplots(figsize=(5.5, 3.4))
axis.axhline(0, color="0.6", linewidth=1)
axis.plot(list(jobs.values()), sides, "o")
for x, y, job in zip(jobs.values(), sides, jobs, strict=True):
    axis.annotate(job, (x, y), xytext=(8, -4), textcoords="offset points")
axis.set(xlabel='share of sentences with "he"', ylabel="cosine with he − she", xlim=(0, 1.1))
axis.margins(y=0.15)
show_figure(
    figure,
    "Six jobs: the larger the share of sentences with 'he', the further up the job's vector lies "
    "on his side. Nurse is far on hers, pilot far on his, farmer and baker lie near the middle.",
)

# %%
answer, _ = embeddings.analogy("he", "pilot", "she", small_words, small_vectors, 1)[0]
print("he is to pilot as she is to", answer)

# %% [markdown]
# This is a **bias**: a slant that the vectors carry from the text into everything that is built on
# them, such as a program that sorts applications. What it shows: how our text uses these words.
# What it does **not** show: anything about pilots or nurses, or that the method is malicious.
#
# Vectors from news texts show the same slant, as Bolukbasi and others measured. Taking the
# direction *he − she* out of all vectors hides it from this very measurement and leaves much of it
# in place: the words of one side still have each other for neighbours (Gonen and Goldberg). Better
# to know what is in the text, to measure, and to say so.

# %% [markdown]
# ## 11. Take it away: what the negatives are worth
#
# Negatives cost $K$ extra products a pair. What if we leave them out, and train on true pairs
# alone?
#
# **Predict:** what will the **smallest** cosine between any two frequent words be?

# %%
my_guess = None  # a number from -1 to 1
predict("embeddings.no_negatives", my_guess)


# %%
def smallest_cosine(n_negatives):
    """Smallest cosine between two frequent words, after a short training."""
    rng = torch.Generator().manual_seed(0)
    few = embeddings.train_skipgram(
        story_lists[:800], V, n_negatives=n_negatives, epochs=1, generator=rng, progress=False
    )
    frequent = few[counts > 400]
    return embeddings.cosine_similarity(frequent[:, None], frequent).min().item()


without, with_five = smallest_cosine(0), smallest_cosine(5)
reveal(
    "embeddings.no_negatives",
    outcome=round(without, 1),
    explanation="If yes is always right, it is best to say yes to everything: all one way.",
)

# %%
print("with five negatives, below 0.2:", with_five < 0.2)

# %% [markdown]
# All vectors have fallen into one direction. The loss is near 0, and nothing has been learned.
# Words get a place of their own only by what they are **not** seen with.

# %% [markdown]
# ## 12. Vectors from outside
#
# Others have trained vectors on billions of words and give them away.
# [GloVe](https://nlp.stanford.edu/projects/glove/) is the classic set. This section is optional and
# needs a file: download `glove.6B.zip` (862 MB) from that page into the folder `.cache` of the
# course, and run the cell below. It need not be unpacked. Without the file, the cell says so and
# does nothing.

# %%
from llm_core.files import ROOT

glove = ROOT / ".cache" / "glove.6B.zip"
if glove.is_file():
    glove_words, glove_vectors = embeddings.load_text_vectors(glove, limit=50_000)
    print("king − man + woman =", end=" ")
    print(embeddings.analogy("man", "king", "woman", glove_words, glove_vectors, 3))
else:
    print("No GloVe file in .cache/glove.6B.zip: skipped. Nothing below needs it.")

# %% [markdown]
# `load_text_vectors` reads the format of GloVe and word2vec: on each line a word and its numbers.
# It checks every line and names the first that is broken. Give what it returns to
# `EmbeddingExplorer`, or measure the bias of section 10 on real texts.

# %% [markdown]
# ## 13. Assemble it
#
# The first layer of a language model, as a **module**. That is torch's form of a layer or a model:
# a class that makes its parameters in `__init__` and computes in `forward`. Each line is something
# that you have met above.


# %%
class TokenEmbedding(nn.Module):
    """A table of vectors: ids (B, T) -> (B, T, C)."""

    def __init__(self, vocab_size, d_model, padding_idx=None, generator=None):
        super().__init__()
        self.padding_idx = padding_idx
        self.weight = nn.Parameter(0.02 * torch.randn(vocab_size, d_model, generator=generator))
        if padding_idx is not None:
            with torch.no_grad():
                self.weight[padding_idx] = 0.0

    def forward(self, ids):
        x = self.weight[ids]  # (B, T, C)
        if self.padding_idx is None:
            return x
        return x.masked_fill((ids == self.padding_idx).unsqueeze(-1), 0.0)


# %% [markdown]
# The finished version in `llm_core/embeddings/` also says what is wrong with bad ids. The two agree
# in values and in gradients.

# %%
sizes = {"vocab_size": V, "d_model": 24, "padding_idx": 0}
mine = TokenEmbedding(**sizes, generator=torch.Generator().manual_seed(5))
finished = embeddings.TokenEmbedding(**sizes, generator=torch.Generator().manual_seed(5))
for layer in (mine, finished):
    (layer(padded) ** 2).sum().backward()

print("equal values:   ", torch.allclose(mine(padded), finished(padded)))
print("equal gradients:", torch.allclose(mine.weight.grad, finished.weight.grad))

# %% [markdown]
# The same for the training of section 6. From the same seed, on some of the stories, your loop and
# `train_skipgram` arrive at the same vectors.

# %% tags=["nbval-ignore-output"]
some = text_of < 300  # the tokens of the first 300 stories
rng = torch.Generator().manual_seed(7)
by_loop = train(story_ids[some], text_of[some], 24, epochs=1, rng=rng, on_step=lambda *_: None)

rng = torch.Generator().manual_seed(7)
by_module = embeddings.train_skipgram(
    story_lists[:300], V, d_model=24, epochs=1, batch_size=BATCH, generator=rng, progress=False
)

# %%
print("equal to llm_core's:", torch.allclose(by_loop, by_module, atol=1e-5))

# %% [markdown]
# Later chapters import `TokenEmbedding` from `llm_core.embeddings`.

# %% [markdown]
# ## 14. A bag of vectors has no order
#
# One thing is missing. Put the vectors of a sentence together by averaging them, as in section 3,
# and compare two sentences.

# %%
rng = torch.Generator().manual_seed(0)
lexicon = {word: torch.randn(4, generator=rng) for word in ("dog", "bites", "man")}


def bag(sentence):
    """The mean of the words' vectors: (C,)."""
    return torch.stack([lexicon[word] for word in sentence.split()]).mean(dim=0)


print("same vector:", torch.allclose(bag("dog bites man"), bag("man bites dog")))

# %% [markdown]
# A vector says *what* a token is, and not *where* it stands. A model that sees nothing but these
# vectors cannot tell who was bitten. `03_positions` tells it where.

# %% [markdown]
# ## Recap
#
# 1. An **embedding** is a row of a table. Looking it up equals one-hot times table, in values and
#    in gradients, and saves nearly all the work.
# 2. A **training step** moves parameters against the gradient of the loss; only rows that were used
#    move, and padding never does.
# 3. Knowing nothing costs $\ln V$. A first loss far above it means a start that is too wide.
# 4. **Skip-gram** pulls words towards their company and away from random words. Neighbours by
#    cosine keep the same company, and sums work where the text draws parallels.
# 5. The vectors carry whatever the text carries, its slant too, and they know no order.

# %% [markdown]
# ## Quiz

# %%
quiz("embeddings.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 03](03_positions.ipynb). Two orders of the same words hold the same vectors;
#   there their places begin to count.
# - Train with a window of 2, and of 10. Which neighbours does *river* have then? A narrow window
#   finds words that can take each other's place, a wide one words of the same topic.
# - Use `vectors + companies`, or `companies` alone, for the analogies. Which family gains?
# - In section 5, train two tables of width 24, `start[x] @ out`, from standard deviations 0.001 and
#   0.1. Why does the very small start stand still at first?
# - Train on `load_text("python-docs")`. What are the neighbours of *list*?
#
# ## Papers
#
# - Bengio et al. 2003, [A Neural Probabilistic Language
#   Model](https://www.jmlr.org/papers/v3/bengio03a.html): the table of word vectors as a part of a
#   language model.
# - Mikolov et al. 2013, [Efficient Estimation of Word Representations in Vector
#   Space](https://arxiv.org/abs/1301.3781): skip-gram and the test with analogies.
# - Mikolov et al. 2013, [Distributed Representations of Words and Phrases and their
#   Compositionality](https://arxiv.org/abs/1310.4546), sections 2.2 and 2.3: negative sampling and
#   the thinning out of frequent words.
# - Pennington et al. 2014, [GloVe: Global Vectors for Word
#   Representation](https://aclanthology.org/D14-1162/).
# - Press and Wolf 2017, [Using the Output Embedding to Improve Language
#   Models](https://arxiv.org/abs/1608.05859): weight tying.
# - Bolukbasi et al. 2016, [Man is to Computer Programmer as Woman is to
#   Homemaker?](https://arxiv.org/abs/1607.06520), and Gonen and Goldberg 2019, [Lipstick on a
#   Pig](https://arxiv.org/abs/1903.03862): bias, and why it is hard to remove.
