# %% [markdown]
# # 7 · Training
#
# ![The course as a row of eight steps, from tokens to sampling. Step 7, training, is
# highlighted.](../assets/map_07.svg)
#
# The model of chapter 06 has all its parts and knows nothing: its parameters are random numbers.
# **Training** changes them, a little at a time, until the model is no longer surprised by the text.
# In this chapter you build every part of that, and then train a model from scratch and watch it
# learn to tell stories.
#
# **You will build** the loss and its gradient, the optimizers from plain descent to AdamW, the
# schedule of the learning rate, clipping, and the training loop.
#
# **You need** chapters 04 to 06: softmax, the block, the model and its logits.
#
# **Time:** about 120 minutes to read and solve, 110 seconds to run.

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
import tempfile
import textwrap
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import llm_core
from llm_core import optim
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style

use_course_style()
torch.set_num_threads(1)  # models as small as ours gain nothing from several cores
_ = torch.set_printoptions(precision=3, sci_mode=False)

# %% [markdown]
# `llm_core` and its module `optim` hold the finished parts of the course. The text uses them
# wherever a later step needs an earlier one, so you can skip an exercise and still run everything
# after it.

# %% [markdown]
# ## Warm-up
#
# Five questions on chapters 04 to 06. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("training.warmup")

# %% [markdown]
# ## 1. How wrong? Cross-entropy
#
# A model gives every token a probability of coming next. Then the real text says which one came.
# The loss of chapter 02, $-\ln p$, says how surprised the model was, in nats: it looks at the
# probability $p$ of the token that came, and at nothing else.

# %%
for p in (1.0, 0.5, 0.1, 0.01, 0.0001):
    print(f"p = {p:<6}  surprise {math.log(1 / p):.2f} nats")  # ln(1/p) is -ln p

# %% [markdown]
# Sure and right costs nothing. Half as probable always costs the same, $\ln 2 = 0.69$ more. And
# there is no upper limit: a model that says *impossible* to what then happens pays without end.
# This is why it learns to keep an open mind.
#
# **Cross-entropy** is the mean of this surprise over many tokens. It is the loss of every language
# model.

# %% [markdown]
# ### From logits to surprise
#
# The model does not hand out probabilities but logits. With softmax from chapter 04, for the token
# $y$ that came:
#
# $$-\ln p_y = -\ln \frac{e^{z_y}}{\sum_j e^{z_j}} = \ln \sum_j e^{z_j} \; - \; z_y$$
#
# $z_j$ is the logit of token $j$. The first term, the logarithm of the sum of the exponentials, has
# a name: **log-sum-exp**. So the surprise is log-sum-exp minus the logit of the token that came.

# %%
words = ["Mia", "has", "the", "ball", "."]
logits = torch.tensor([-1.0, 0.0, 0.5, 2.0, -2.0])  # after "Mia has the"
came = words.index("ball")

p = logits.softmax(dim=0)
print("probabilities:", p)
print(f"surprise by probability: {-p[came].log().item():.3f}")
print(f"log-sum-exp minus logit: {(logits.exp().sum().log() - logits[came]).item():.3f}")

# %% [markdown]
# ### The wrong way, twice
#
# On paper both lines are the same. On a computer both break, each in its own way. Logits of 1,000
# overflow, as in chapter 04. And a probability that is too small for a float is rounded to 0, whose
# logarithm is minus infinity.

# %%
large = torch.tensor([1000.0, 998.0])
unlikely = torch.tensor([0.0, 200.0])  # and token 0 came

print("log-sum-exp of large logits: ", large.exp().sum().log().item())
print("surprise by way of p:        ", -unlikely.softmax(dim=0)[0].log().item())

# %% [markdown]
# The way out is that of chapter 04: take the largest logit $m$ out of the sum first. Now the
# largest exponent is 0, and nothing that matters is rounded away.
#
# $$\ln \sum_j e^{z_j} = m + \ln \sum_j e^{z_j - m}$$


# %%
def log_sum_exp(row):
    """ln of the sum of exp(row), for a row of logits of any size."""
    m = row.max()
    return m + (row - m).exp().sum().log()


print(f"log-sum-exp of large logits: {log_sum_exp(large).item():.3f}")
print(f"surprise at the unlikely:    {(log_sum_exp(unlikely) - unlikely[0]).item():.3f}")

# %% [markdown]
# ### What does not count
#
# Texts of different length are filled up with padding, and its targets are marked with the ignore
# index, −100 (chapter 01). They must stay out of the mean twice: above the line, in the sum, and
# below it, in the count.

# %%
surprises = torch.tensor([[0.5, 1.5, 1.0], [3.0, 0.0, 0.0]])  # the second text has one token
targets = torch.tensor([[4, 2, 0], [3, -100, -100]])
counts = targets != -100

print(f"divided by all 6: {surprises.sum().item() / 6:.2f}")
print(f"divided by the 4 that count: {surprises[counts].mean().item():.2f}")

# %% [markdown]
# With the first line a batch with more padding would look better, although the model is the same.

# %% [markdown]
# ### Exercise 1: cross-entropy
#
# The three steps have their names; write the code for each. Two tools: `x.gather(-1, ids)` picks
# from the last axis the entries that `ids` names (both need the same number of axes:
# `ids[..., None]` adds one, and `.squeeze(-1)` takes it off the result), and
# `a.where(condition, b)` takes `a` where the condition holds and `b` elsewhere.


# %% tags=["exercise"]
def cross_entropy(logits, targets, ignore_index=-100):
    """Return the mean surprise at the targets, in nats.

    Args:
        logits: shape (B, T, V), any size: 1,000 and -1,000 must work.
        targets: ids of the tokens that came, shape (B, T). They are shifted already: targets[b, t]
            is what came after position t. Where one equals `ignore_index`, it does not count; at
            least one does.
        ignore_index: the mark of what does not count; it may also be a valid id, such as 0.

    Returns:
        A tensor without axes: the mean of -ln p(target) over the targets that count, with the
        natural logarithm. It has the dtype of the logits, and gradients flow back to them.

    Example:
        Two equal logits everywhere give ln 2 = 0.693, whatever the targets.
    """
    # Step 1: log-sum-exp of every row, with its largest logit taken out first.
    ### BEGIN SOLUTION
    largest = logits.amax(dim=-1, keepdim=True)  # (B, T, 1)
    log_sums = (logits - largest).exp().sum(dim=-1).log() + largest[..., 0]  # (B, T)
    ### END SOLUTION
    # Step 2: the logit of every target, with a valid id in place of those that do not count.
    ### BEGIN SOLUTION
    counts = targets != ignore_index
    ids = targets.where(counts, 0)[..., None]  # (B, T, 1)
    of_target = logits.gather(-1, ids)[..., 0]  # (B, T)
    ### END SOLUTION
    # Step 3: the mean of the difference, over the targets that count.
    ### BEGIN SOLUTION
    surprises = (log_sums - of_target).where(counts, 0.0)
    return surprises.sum() / counts.sum()
    ### END SOLUTION


# %% tags=["check"]
check("training.cross_entropy", cross_entropy)

# %% [markdown]
# Stuck? `hint("training.cross_entropy")` in a new cell shows one hint; run it again for the next
# one. The fourth time it shows a solution.

# %% [markdown]
# ## 2. What is a good loss?
#
# A loss of 1.4 says little by itself. Three numbers give it a scale: where a model starts, how that
# compares across tokenizers, and where no model can go.

# %% [markdown]
# ### The start: ln V
#
# Our stories have a vocabulary of $V = 168$ words and signs. A new model knows nothing and gives
# each of them about the same probability.
#
# **Predict:** what is its loss, in nats?

# %%
my_guess = None  # a number, for example 2.5
predict("training.start", my_guess)

# %%
from llm_core.corpus import STORY_END, stories, story_vocabulary
from llm_core.data import get_batch
from llm_core.model import GPT, GPTConfig
from llm_core.tokens import WordTokenizer

text = "".join(story + STORY_END + "\n" for story in stories(1500, seed=3))
tokenizer = WordTokenizer.train(text + " ".join(story_vocabulary()), special_tokens=[STORY_END])
ids = torch.tensor(tokenizer.encode(text))


# %%
def new_model(**variants):
    """A small model of 66,000 parameters for the experiments; always the same first numbers."""
    sizes = {"context_length": 32, "d_model": 48, "n_layers": 2, "n_heads": 2}
    config = GPTConfig(vocab_size=tokenizer.vocab_size, **sizes, **variants)
    return GPT(config, torch.Generator().manual_seed(0))


x, y = get_batch(ids, 64, 32, generator=torch.Generator().manual_seed(0))
logits, first_loss = new_model()(x, targets=y)

reveal(
    "training.start",
    outcome=round(first_loss.item(), 2),
    explanation="With equal probabilities p is 1/168, and -ln(1/168) = ln 168 = 5.12. The model's "
    "first random numbers make them a little unequal, which costs the rest.",
)

# %% [markdown]
# $\ln V$ is the first thing to look at in a new run. A loss well above it means that the model is
# sure of wrong things before it has seen any text: something in its initialisation is broken.
#
# **Perplexity** turns the loss into a number of choices: $e^{\text{loss}}$ is the number of equally
# probable tokens that would surprise as much.

# %%
for nats in (math.log(168), 2.0, 1.0, 0.25):
    print(f"loss {nats:.2f}: as if choosing among {math.exp(nats):.1f} tokens")

# %% [markdown]
# ### Across tokenizers: bits per byte
#
# Loss per token cannot be compared between models that cut the text in different ways: fewer,
# longer tokens are harder to guess, one by one. Here are two models that know nothing, one of
# characters and one of words.

# %%
sample = stories(1, seed=5)[0]
n_words, n_characters = len(tokenizer.encode(sample)), len(sample)
nats_of_words, nats_of_characters = math.log(168), math.log(len(set(text)))

print(f"words:      {nats_of_words:.2f} nats per token, {n_words} tokens")
print(f"characters: {nats_of_characters:.2f} nats per token, {n_characters} tokens")

# %% [markdown]
# Per token the model of characters looks better. Over the whole text it is far worse, because it
# needs so many more tokens. What both share is the text itself. **Bits per byte** divides the
# surprise at the whole text by its bytes, which no tokenizer can change, and says it in bits, the
# surprise of a fair coin: 1 bit = $\ln 2$ = 0.69 nats.

# %%
for name, nats, n in (
    ("words", nats_of_words, n_words),
    ("characters", nats_of_characters, n_characters),
):
    per_byte = llm_core.bits_per_byte(nats, n, len(sample.encode()))
    print(f"{name}: {per_byte:.2f} bits per byte")

# %% [markdown]
# ### Exercise 2: bits per byte


# %% tags=["exercise"]
def bits_per_byte(losses_of_tokens, text):
    """Return how many bits a model spends on each byte of a text.

    Args:
        losses_of_tokens: the surprise at each of the text's tokens, in nats, shape (N,).
        text: the text itself, a string. Its bytes are those of UTF-8, in which "é" has two and
            an emoji four.

    Returns:
        A float: the surprise at the whole text, in bits, divided by its number of bytes.

    Example:
        Two tokens of ln 2 and 3 ln 2 nats over the text "abcd" are 4 bits over 4 bytes: 1.0.
    """
    ### BEGIN SOLUTION
    bits = losses_of_tokens.sum().item() / math.log(2)
    return bits / len(text.encode("utf-8"))
    ### END SOLUTION


# %% tags=["check"]
check("training.bits_per_byte", bits_per_byte)

# %% [markdown]
# ### The end: a line that no model can cross
#
# A fair coin surprises with 0.69 nats at every throw, and the best prediction cannot change that.
# Text is the same: some of it is decided by chance. Suppose that three words follow with the true
# probabilities 0.5, 0.3 and 0.2. What to look for: the model's probability of the first word is
# moved from 0 to 1, the other two share the rest in their true proportion. Where is the mean
# surprise lowest?

# %%
truth = torch.tensor([0.5, 0.3, 0.2])
said = torch.linspace(0.02, 0.98, 97)
mean_surprise = [
    -(truth * torch.stack([q, (1 - q) * 0.6, (1 - q) * 0.4]).log()).sum().item() for q in said
]
entropy = -(truth * truth.log()).sum().item()

# %%
figure, axis = plt.subplots(figsize=(6, 2.8))
axis.plot(said, mean_surprise, label="mean surprise")
axis.axhline(entropy, color="C1", linestyle="--", label=f"entropy, {entropy:.2f}")
axis.plot(0.5, entropy, "ko", label="the truth, 0.5")
axis.set(xlabel="probability that the model gives to the first word", ylabel="nats", ylim=(0.8, 2))
axis.legend(loc="upper center")
show_figure(
    figure,
    "The mean surprise against the model's probability: a bowl whose lowest point, 1.03 nats, lies "
    "at the true probability 0.5 and touches the dashed line of the entropy.",
)

# %% [markdown]
# The best that a model can do is to say the truth, and then it still pays the **entropy** of the
# truth: its own mean surprise. This is the **entropy floor** of a text. For real text nobody knows
# it. Our stories are written by a small program whose every choice has a known probability, so
# that we can work it out. It is a mean over all tokens of many whole stories.

# %%
from llm_core.corpus import entropy_floor, story_log_prob

floor = entropy_floor(500)
print(f"this story is told with a surprise of {-story_log_prob(sample):.1f} nats")
print(f"a story on average: {floor.per_story:.0f} nats, {floor.tokens_per_story:.0f} tokens")
print(f"floor: {floor.per_token:.2f} nats per token")

# %% [markdown]
# Out of 5.12 nats per token at the start, 0.24 will remain for ever. Whoever measures less has a
# leak, or has measured something else. Section 10 trains a model down to this line.

# %% [markdown]
# ## 3. Which way? The gradient
#
# To improve, the model must know how the loss moves when a logit moves. The **gradient** says it
# for every logit. Log-sum-exp has a simple slope, softmax itself; the logit of the target is
# subtracted, so its slope is −1. Together:
#
# $$\frac{\partial}{\partial z_j}\Big(\ln \sum_i e^{z_i} - z_y\Big) = p_j - [j = y]$$
#
# $[j = y]$ is 1 for the token that came and 0 for all others: a one-hot row (chapter 02). The
# gradient of cross-entropy is **softmax minus one-hot**. Autograd, torch's machinery for gradients,
# finds the same.

# %%
row = torch.tensor([[-1.0, 0.0, 0.5, 2.0, -2.0]], requires_grad=True)
target = torch.tensor([3])  # "ball"
llm_core.cross_entropy(row, target).backward()

by_hand = row.detach().softmax(dim=-1) - F.one_hot(target, 5)
print("by hand: ", by_hand[0])
print("autograd:", row.grad[0])

# %% [markdown]
# A step against the gradient lowers every wrong logit by as much as that token's probability, and
# raises the right one by 1 minus its probability. What the target gains, the others lose: the row
# adds up to 0. Who was sure and right gets hardly any gradient; who was sure and wrong gets the
# most.

# %%
figure, axis = plt.subplots(figsize=(6, 2.6))
bars = axis.bar(words, -by_hand[0], color=["C0", "C0", "C0", "C1", "C0"])
bars[3].set_hatch("//")
axis.bar_label(bars, fmt="%.2f", padding=2)
axis.axhline(0, color="grey", linewidth=0.8)
axis.set(ylabel="push on the logit", ylim=(-0.4, 0.5), title='After "Mia has the" came "ball"')
show_figure(
    figure,
    "Bars for five words: the logit of ball is pushed up, those of all other words are pushed "
    "down, the more the more probable they were.",
)

# %% [markdown]
# ### Exercise 3: the gradient of cross-entropy
#
# For a whole batch. The loss is a mean, so each row's gradient is divided by the number of targets
# that count.


# %% tags=["exercise"]
def cross_entropy_gradient(logits, targets):
    """Return the gradient of the mean cross-entropy for the logits, by the formula.

    Args:
        logits: shape (N, V).
        targets: ids from 0 to V - 1, shape (N,); -100 marks one that does not count.

    Returns:
        Shape (N, V), dtype of the logits: softmax minus one-hot, divided by the number of targets
        that count. The rows of targets that do not count are 0. No input is changed.

    Example:
        logits [[0.0, 0.0]] with target [1] give [[0.5, -0.5]].
    """
    ### BEGIN SOLUTION
    counts = targets != -100  # (N,)
    right = F.one_hot(targets.where(counts, 0), logits.shape[1])  # (N, V)
    difference = logits.softmax(dim=-1) - right
    return difference * counts[:, None] / counts.sum()
    ### END SOLUTION


# %% tags=["check"]
check("training.cross_entropy_gradient", cross_entropy_gradient)

# %% [markdown]
# From here the gradient runs back through the head, the blocks and the tables, to every parameter.
# Autograd does this with `loss.backward()`, and leaves in each parameter's `.grad` the slope of the
# loss for every one of its numbers.

# %% [markdown]
# ## 4. Down the valley: from plain descent to AdamW
#
# An optimizer is the rule that turns gradients into steps. To see what the rules do, we look at
# a model with two parameters. Its loss is a valley: flat along the first parameter, 25 times as
# steep across, along the second. Real losses are like that in millions of directions.


# %%
LOWEST = torch.tensor([1.0, 0.5])
CURVATURE = torch.tensor([1.0, 25.0])


def height(w):
    """The loss at w, shape (..., 2): 0 at LOWEST."""
    return 0.5 * (CURVATURE * (w - LOWEST) ** 2).sum(dim=-1)


def slope(w):
    """The gradient of the loss at w."""
    return CURVATURE * (w - LOWEST)


START = torch.tensor([-3.0, 1.5])
print("gradient at the start:", slope(START))


# %%
def draw_paths(axis, paths, title):
    """Draw paths, {name: (n, 2)}, on a map of the valley."""
    first, second = torch.linspace(-4, 4, 120), torch.linspace(-1.5, 2.5, 80)
    grid = torch.stack(torch.meshgrid(first, second, indexing="xy"), dim=-1)  # (80, 120, 2)
    axis.contourf(first, second, (1 + 4 * height(grid)).log2(), levels=12, cmap="Greys", alpha=0.6)
    for (name, path), mark in zip(paths.items(), "osD^v", strict=False):
        axis.plot(*torch.stack(path).T, marker=mark, markersize=3, linewidth=1.3, label=name)
    axis.plot(*LOWEST, "k+", markersize=12)
    axis.set(xlim=(-4, 4), ylim=(-1.5, 2.5), title=title, xlabel="first parameter")
    axis.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.9)
    axis.grid(False)


# %% [markdown]
# ### SGD: a step against the slope
#
# The oldest rule: subtract the gradient, times the learning rate $\eta$.
#
# $$w \leftarrow w - \eta \, g$$
#
# With gradients from random batches it is called **SGD**, stochastic gradient descent.


# %%
def sgd(lr, steps=30):
    w, path = START, [START]
    for _ in range(steps):
        w = w - lr * slope(w)
        path.append(w)
    return path


figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True)
draw_paths(left, {"rate 0.01": sgd(0.01), "rate 0.07": sgd(0.07)}, "SGD, 30 steps")
draw_paths(right, {"rate 0.082": sgd(0.082)}, "SGD, a little faster")
left.set_ylabel("second parameter")
show_figure(
    figure,
    "Left: with a low rate the path reaches the floor of the valley and creeps; with rate 0.07 it "
    "swings from wall to wall. Right: with rate 0.082 each swing is wider than the last.",
)

# %% [markdown]
# One rate must serve both directions. What is right along the floor is too much for the walls: the
# step across overshoots and lands on the other side.
#
# **Predict:** up to which learning rate do the swings still get smaller? (Across, the gradient is
# 25 times the distance.)

# %%
my_guess = None  # a number between 0.05 and 0.1
predict("training.largest_rate", my_guess)

# %%
rates = torch.arange(0.0700, 0.0900, 0.0005)
smaller = [rate for rate in rates.tolist() if height(sgd(rate, 400)[-1]) < height(START)]

reveal(
    "training.largest_rate",
    outcome=round(smaller[-1], 3),
    explanation="A step takes away lr · 25 times the distance across. More than twice the distance "
    "lands further out on the other side than it began: lr must stay below 2/25 = 0.08.",
)

# %% [markdown]
# ### Momentum: average the gradients
#
# Across the valley the gradient changes its sign at every step, along the floor it always points
# the same way. An average over the last gradients cancels the first and keeps the second.
# **Momentum** keeps a running mean $m$, which forgets slowly: $\beta$ = 0.9 of the old, 0.1 of the
# new.
#
# $$m \leftarrow \beta\, m + (1 - \beta)\, g \qquad w \leftarrow w - \eta\, m$$
#
# (`torch.optim.SGD` adds up without the factor $1 - \beta$; its rate is then ten times smaller.)


# %%
def momentum(lr, beta=0.9, steps=30):
    w, m, path = START, torch.zeros(2), [START]
    for _ in range(steps):
        m = beta * m + (1 - beta) * slope(w)
        w = w - lr * m
        path.append(w)
    return path


# %% [markdown]
# ### RMSProp: a rate for each parameter
#
# Another idea: let each parameter have steps of the same size, whatever the size of its gradient.
# **RMSProp** keeps a running mean $v$ of the *squared* gradient and divides by its root. Where
# gradients are large, the step is shortened, where they are small, it is lengthened.
#
# $$v \leftarrow \beta_2\, v + (1 - \beta_2)\, g^2 \qquad
# w \leftarrow w - \eta\, \frac{g}{\sqrt{v} + \varepsilon}$$
#
# Everything is done number by number. The tiny $\varepsilon$ is there so that nothing is divided by
# 0.


# %%
def rmsprop(lr, beta2=0.9, steps=30):
    w, v, path = START, torch.zeros(2), [START]
    for _ in range(steps):
        g = slope(w)
        v = beta2 * v + (1 - beta2) * g**2
        w = w - lr * g / (v.sqrt() + 1e-8)
        path.append(w)
    return path


# %% [markdown]
# ### Adam: both
#
# **Adam** divides the mean of the gradient by the root of the mean square. Where a gradient keeps
# its sign, the ratio is near 1 and the step as long as the learning rate; where it swings, the
# ratio is near 0.
#
# What to look for: how each path deals with the walls, and how far it has come after 30 steps.
# (So short a walk needs a short memory: the mean of the gradient keeps 0.7 of the old here.)


# %%
def adam(lr, beta1=0.9, beta2=0.99, steps=30, correct=True):
    w, m, v, path = START, torch.zeros(2), torch.zeros(2), [START]
    for t in range(1, steps + 1):
        g = slope(w)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t) if correct else m  # explained next
        v_hat = v / (1 - beta2**t) if correct else v
        w = w - lr * m_hat / (v_hat.sqrt() + 1e-8)
        path.append(w)
    return path


# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3.4), sharey=True)
averaging = {"SGD 0.07": sgd(0.07), "momentum 0.15": momentum(0.15, beta=0.7)}
scaling = {"RMSProp 0.2": rmsprop(0.2), "Adam 0.25": adam(0.25, beta1=0.7)}
draw_paths(left, averaging, "Averaging")
draw_paths(right, scaling, "Scaling")
left.set_ylabel("second parameter")
show_figure(
    figure,
    "Left: SGD swings between the walls and stops short of the lowest point, momentum swings "
    "less and reaches it. Right: RMSProp and Adam start diagonally, since both parameters "
    "get steps of equal length, and then run along the floor to the lowest point.",
)

# %% [markdown]
# ### Take it away: bias correction
#
# Both means start at 0, so at first they are too small: after one step $m$ is $0.1\,g$ and $v$ is
# $0.001\,g^2$ (with the usual $\beta_2$ = 0.999). Adam divides them by the share that is filled by
# now, $1 - \beta^t$ at step $t$. What is lost without it? We feed Adam the same gradient at every
# step. Then each step should be as long as the learning rate.

# %%
steps = torch.arange(1, 301)
for t in (1, 10, 100):
    print(f"step {t}: without correction {(1 - 0.9**t) / (1 - 0.999**t) ** 0.5:.1f} times as long")

# %%
figure, axis = plt.subplots(figsize=(6, 2.7))
ratio = (1 - 0.9**steps) / (1 - 0.999**steps).sqrt()
axis.plot(steps, ratio, label="without bias correction")
axis.plot(steps, torch.ones(300), "--", label="with")
axis.set(xlabel="step", ylabel="length ÷ learning rate", ylim=(0, 7))
axis.legend()
show_figure(
    figure,
    "Length of Adam's steps for a constant gradient: with bias correction always 1, without it "
    "more than 6 near step 10, and still almost 2 at step 300.",
)

# %% [markdown]
# Without it, the first dozen steps of a model that knows nothing are three to six times too long.
# The correction costs one division.

# %% [markdown]
# ### Exercise 4: a step of Adam
#
# One update of one tensor. The state, $m$ and $v$, comes in and goes out, and $t$ counts from 1.


# %% tags=["exercise"]
def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
    """Make update number t of Adam.

    Args:
        w, g: the parameter and its gradient, any shape.
        m, v: the running means of the gradient and of its square, of the same shape, as the
            update before returned them; 0 before the first.
        t: number of this update, 1 for the first.
        lr, beta1, beta2, eps: learning rate, the shares of the old m and of the old v that are
            kept, and the number that is added to the root of the corrected v.

    Returns:
        (w, m, v): the new parameter, and the new means, NOT corrected, for the next update. All
        three are new tensors; the inputs are not changed.

    Example:
        w = 1, g = 0.5, m = v = 0, t = 1, lr = 0.1 gives w = 0.9: the first step is as long as lr.
    """
    # Step 1: the running means, with the share beta of the old and 1 - beta of the new.
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    ### END SOLUTION
    # Step 2: both corrected for having started at 0.
    ### BEGIN SOLUTION
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    ### END SOLUTION
    # Step 3: the step.
    ### BEGIN SOLUTION
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v
    ### END SOLUTION


# %% tags=["check"]
check("training.adam_step", adam_step)

# %% [markdown]
# ### AdamW: let the weights decay
#
# Large parameters make a model touchy: a small change at its input makes a large one at its output.
# **Weight decay** pulls every weight towards 0, a little at every step, so that only those stay
# large that the gradient keeps large.
#
# The obvious way is to add $\lambda w$ to the gradient, $\lambda$ being the strength of the decay.
# With SGD that works. With Adam it does not: the added part is divided by $\sqrt{v}$ like
# everything else. **AdamW** takes the decay out of the gradient and shrinks the weight itself. It
# is **decoupled**:
#
# $$w \leftarrow w - \eta\,\lambda\, w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \varepsilon}$$
#
# ($\hat m$ and $\hat v$ are the corrected means.)

# %% [markdown]
# ### The wrong way: decay in the gradient
#
# Four weights of 1. Two have gradients of 10, two of 0.01, with a sign that changes at every step,
# so that the gradient itself wants nothing. All should decay alike.


# %%
def decay_of(size, decoupled, lr=0.01, decay=0.5, steps=150):
    """How a weight of 1 shrinks under gradients of +size, -size, +size, ..."""
    w, m, v, values = torch.ones(1), torch.zeros(1), torch.zeros(1), [1.0]
    for t in range(1, steps + 1):
        g = torch.tensor([size if t % 2 else -size])
        if decoupled:
            w = w - lr * decay * w
        else:
            g = g + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        w = w - lr * (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
        values.append(w.item())
    return values


# %%
figure, axis = plt.subplots(figsize=(6, 3))
axis.plot(decay_of(10.0, True), color="C0", linewidth=5, alpha=0.4, label="AdamW, gradients of 10")
axis.plot(decay_of(0.01, True), "-.", color="C0", label="AdamW, 0.01")
axis.plot(decay_of(10.0, False), color="C1", label="in the gradient, 10")
axis.plot(decay_of(0.01, False), "--", color="C1", label="in the gradient, 0.01")
axis.set(xlabel="step", ylabel="weight", ylim=(0, 1.1), xlim=(0, 150), title="Who decays?")
axis.legend(fontsize=8, loc="lower left")
show_figure(
    figure,
    "A weight under four rules. With AdamW it shrinks in the same way for large and for small "
    "gradients. With the decay in the gradient it hardly shrinks when gradients are large, and "
    "drops almost to 0 within 150 steps when they are small.",
)

# %% [markdown]
# In the gradient, decay spares the weights with large gradients and wipes out those with small
# ones.

# %% [markdown]
# ### Exercise 5: a step of AdamW


# %% tags=["exercise"]
def adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    """Make update number t of AdamW: Adam with decoupled weight decay.

    Args:
        w, g, m, v, t, lr, beta1, beta2, eps: as in adam_step.
        weight_decay: w loses lr · weight_decay · w. It is the weight that came in that decays,
            and the step comes on top.

    Returns:
        (w, m, v) as in adam_step. m and v know nothing of the decay. No input is changed.

    Example:
        Without any gradient so far, w = 100 with lr = 0.1 and weight_decay = 0.5 becomes 95.
    """
    ### BEGIN SOLUTION
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g**2
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    step = lr * m_hat / (v_hat.sqrt() + eps)
    return w - lr * weight_decay * w - step, m, v
    ### END SOLUTION


# %% tags=["check"]
check("training.adamw_step", adamw_step)

# %% [markdown]
# The finished version, `optim.AdamW`, does this for every parameter of a model. Is it the same as
# torch's? We give both the same 300 random gradients.

# %%
rng = torch.Generator().manual_seed(1)
first = torch.randn(20, 30, generator=rng)
ours, theirs = nn.Parameter(first.clone()), nn.Parameter(first.clone())
settings = {"lr": 1e-2, "betas": (0.9, 0.95), "weight_decay": 0.1}
pair = [(ours, optim.AdamW([ours], **settings)), (theirs, torch.optim.AdamW([theirs], **settings))]

for _ in range(300):
    g = torch.randn(20, 30, generator=rng)
    for parameter, optimizer in pair:
        parameter.grad = g.clone()
        optimizer.step()

print("largest difference at most 0.000001:", (ours - theirs).abs().max().item() <= 1e-6)

# %% [markdown]
# ### Move through it
#
# In the explorer every rule can walk down three valleys. **Things to try:**
#
# 1. SGD: find the largest learning rate at which it does not run away. Then *Momentum* at the same
#    rate and at a higher one.
# 2. RMSProp with bias correction off: look at its first step. Then switch it on.
# 3. Adam in the *turned valley*: scaling each parameter by itself no longer helps, since the walls
#    do not stand along the axes. (Section 5 comes back to this.)
# 4. AdamW with weight decay 0.5: where does it come to rest, and why not at the lowest point?
# 5. Noise 3, as from small batches: which rules are shaken, and what does a lower rate do?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.optimizers import OptimizerExplorer

OptimizerExplorer("momentum")

# %% [markdown]
# ## 5. The same on a model
#
# Now 66,000 parameters in place of two. The function below is the training loop, which section 8
# takes apart. For now it is a tool: it takes a batch of text, asks for the gradient and lets the
# optimizer step.

# %%
STEPS = 100


def train_with(model, optimizer, rate_at=None, max_norm=math.inf, name="", spoil=None):
    """Train for STEPS batches of 8 windows; return the loss at every step."""
    rng, losses = torch.Generator().manual_seed(1), []
    for step in tqdm(range(STEPS), desc=name, file=sys.stdout):
        for group in optimizer.param_groups:  # its parameters, in one group or more
            group["lr"] = rate_at(step) if rate_at else group["lr"]  # may change (section 6)
        x, y = get_batch(ids, 8, 32, generator=rng)
        loss = model(x, targets=y)[1]
        losses.append(loss.item())
        optimizer.zero_grad()  # forgets the gradients of the step before (section 8)
        (loss * 1000 if step == spoil else loss).backward()  # a bad batch (section 6)
        optim.clip_grad_norm(model.parameters(), max_norm)  # no step too long (section 6)
        optimizer.step()
    return losses


# %% [markdown]
# Each optimizer gets a rate of its own. (The rates of different rules mean different things and
# cannot be compared.)

# %%
OPTIMIZERS = {
    "SGD": lambda m: torch.optim.SGD(m.parameters(), lr=0.3),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.9),
    "RMSProp": lambda m: torch.optim.RMSprop(m.parameters(), lr=1e-3),
    "AdamW": lambda m: optim.AdamW(m.parameters(), lr=3e-3, weight_decay=0.1),
}

# %% tags=["nbval-ignore-output"]
curves = {}
for name, make in OPTIMIZERS.items():
    model = new_model()
    curves[name] = train_with(model, make(model), name=f"{name:>8}")


# %%
def smooth(losses, n=10):
    """Mean over n neighbouring steps, so that curves can be told apart."""
    return torch.tensor(losses).unfold(0, n, 1).mean(dim=-1)


def draw_curves(axis, curves, **settings):
    """Draw smoothed losses, each in its own colour and style."""
    styles = ["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1))]
    for (name, losses), style in zip(curves.items(), styles, strict=False):
        axis.plot(range(5, 5 + len(smooth(losses))), smooth(losses), linestyle=style, label=name)
    axis.set(xlabel="step", ylabel="loss (nats per token)", **settings)
    axis.legend()


figure, axis = plt.subplots(figsize=(6.5, 3.4))
draw_curves(axis, curves, ylim=(0, 5.5), title="Four rules, one model")
show_figure(
    figure,
    "Training loss of the small model under four optimizers: SGD is slowest, momentum and RMSProp "
    "are faster, AdamW is fastest.",
)

# %%
order = sorted(curves, key=lambda name: sum(curves[name][-20:]))
print("AdamW ends lowest:", order[0] == "AdamW")
print("SGD ends highest:", order[-1] == "SGD")

# %% [markdown]
# ### Which parameters decay, and which do not
#
# Decay makes sense for matrices, whose rows should not grow without need. Gains of a norm and
# biases are single numbers with a job: a gain pulled to 0 switches its channel off. So a model's
# parameters go to the optimizer in two **parameter groups**, each with its own settings.

# %%
model = new_model()
decays, keeps = optim.parameter_groups(model, weight_decay=0.1)
for name, parameter in list(model.named_parameters())[2:8]:
    kind = "decays" if parameter.dim() >= 2 else "does not"
    print(f"{name:<28} {tuple(parameter.shape)!s:<10} {kind}")

# %%
for group in (decays, keeps):
    n = sum(parameter.numel() for parameter in group["params"])
    print(f"weight decay {group['weight_decay']}: {len(group['params'])} tensors, {n:,} numbers")

# %% [markdown]
# ### Muon: matrices as a whole
#
# Adam looks at every number by itself. But the matrix of a layer is one thing: it stretches space,
# in some directions much and in others little. These stretches are its **singular values**. The
# gradient is a matrix too, and usually most of its strength lies in a few directions.
#
# `optim.orthogonalise` makes all stretches of a matrix about equal. What to look for: how fast the
# bars fall before it, and what is left of that after it.

# %%
x, y = get_batch(ids, 16, 32, generator=torch.Generator().manual_seed(0))
model(x, targets=y)[1].backward()
gradient = model.blocks[0].feed_forward.up.weight.grad

before = torch.linalg.svdvals(gradient)
after = torch.linalg.svdvals(optim.orthogonalise(gradient))

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
left.bar(range(1, len(before) + 1), before / before[0])
left.set(title="Gradient", xlabel="direction", ylabel="stretch ÷ largest")
right.bar(range(1, len(after) + 1), after, color="C1")
right.set(title="After Muon's step", xlabel="direction", ylim=(0, 1.4))
show_figure(
    figure,
    "Singular values of the gradient of a matrix. Left: a few directions are strong, and the bars "
    "fall almost to 0. Right: after orthogonalisation all lie between 0.6 and 1.2.",
)

# %% [markdown]
# A step along this gradient turns the strong directions and hardly touches the others. **Muon**
# first makes all directions about equally long, with a handful of matrix products, and steps along
# that. It is what you wished for in the turned valley: it does not matter along which axes the
# walls stand.
#
# Muon is made for the matrices inside the blocks. The tables, the head and all vectors stay with
# AdamW; `optim.muon_groups` sorts them.

# %% tags=["nbval-ignore-output"]
model = new_model()
groups = optim.muon_groups(model, weight_decay=0.1)
muon = optim.Muon(groups, lr=1e-2, momentum=0.9)
curves["Muon"] = train_with(model, muon, name="    Muon")

# %%
figure, axis = plt.subplots(figsize=(6.5, 3.2))
draw_curves(axis, {name: curves[name] for name in ("AdamW", "Muon")}, ylim=(0, 5.5))
show_figure(figure, "Training loss with AdamW and with Muon: Muon's curve falls faster throughout.")

# %%
print("Muon ends below AdamW:", sum(curves["Muon"][-20:]) < sum(curves["AdamW"][-20:]))

# %% [markdown]
# The same loss comes after about half the steps. But a step needs more arithmetic than one of
# AdamW: on a model as small as this one it takes about twice as long. On larger ones the difference
# is far smaller. `Trainer`, below, uses Muon when it is given a `muon_lr`.

# %% [markdown]
# ## 6. How long a step? The learning rate
#
# No other number matters as much as the learning rate. Too low, and the run takes ten times as
# long; too high, and it never learns. And the right value changes during a run.

# %% [markdown]
# ### Find it: the range test
#
# The **learning-rate range test** is one short run in which the rate rises from far too low to far
# too high. What to look for: where the loss falls fastest, and where it turns up again. A good
# highest rate lies between the two, well to the left of the turn.


# %%
def rising(step):
    """From 0.00001 to 1, by the same factor at every step."""
    return 1e-5 * (1e5 ** (step / (STEPS - 1)))


model = new_model()
optimizer = optim.AdamW(optim.parameter_groups(model, 0.1), betas=(0.9, 0.95))

# %% tags=["nbval-ignore-output"]
range_test = train_with(model, optimizer, rising, name="range test")

# %%
figure, axis = plt.subplots(figsize=(6, 2.9))
axis.semilogx([rising(step) for step in range(STEPS)], range_test)
axis.set(xlabel="learning rate", ylabel="loss", ylim=(0, 7), title="Range test")
show_figure(
    figure,
    "Loss against a learning rate that rises from 0.00001 to 1: level at first, falling from about "
    "0.001 to 0.04, and shooting up at about 0.1.",
)

# %% [markdown]
# ### Change it: warm-up and decay
#
# At the start the gradients are large and point anywhere, and Adam's means are filled with little;
# long steps now do harm that takes long to undo. So the rate climbs from near 0 to its highest
# value in the first few percent of the run: the **warm-up**. At the end the model should settle,
# and the noise of the batches keeps it from doing so, as long as the steps are long. So the rate
# falls.
#
# Two curves are common. **Cosine decay** falls along half a cosine wave, slowly at first, fast in
# the middle, slowly at the end. **Warm-up, stable, decay** (WSD) stays at the top for most of the
# run and falls in a straight line at its end. With WSD one need not know beforehand how long the
# run will be.

# %%
steps = range(200)
cosine = [optim.warmup_cosine(step, 20, 200, 1.0, 0.1) for step in steps]
stable = [optim.warmup_stable_decay(step, 20, 200, 60, 1.0, 0.1) for step in steps]

figure, axis = plt.subplots(figsize=(6, 2.6))
axis.plot(steps, cosine, label="warm-up and cosine")
axis.plot(steps, stable, "--", label="warm-up, stable, decay")
axis.set(xlabel="step", ylabel="rate ÷ highest", ylim=(0, 1.1))
axis.legend(loc="lower center")
show_figure(
    figure,
    "Two schedules over 200 steps. Both climb for 20 steps. The cosine then falls in an S to a "
    "tenth, the other stays level until step 140 and falls in a straight line.",
)

# %% [markdown]
# ### Exercise 6: warm-up and cosine
#
# Steps $s$ count from 0, a run has $S$ of them (`n_steps`), the first $W$ (`warmup_steps`) are
# the climb. $\eta_{\max}$ and $\eta_{\min}$ are the highest and the lowest rate.
#
# $$\eta(s) = \begin{cases} \eta_{\max} \cdot (s + 1) / W & s < W \\
# \eta_{\min} + (\eta_{\max} - \eta_{\min}) \cdot \tfrac{1}{2}(1 + \cos \pi u) & W \le s < S
# \end{cases} \qquad u = \frac{s - W}{S - W}$$
#
# $u$ is the progress, from 0 at the end of the climb to 1 after the last step.


# %% tags=["exercise"]
def warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr):
    """Return the learning rate of one step.

    Args:
        step: number of the step that is about to be made, from 0.
        warmup_steps: steps of the climb from 0; 0 for none. At most n_steps.
        n_steps: length of the run, at least 1.
        max_lr: the highest rate. Steps warmup_steps - 1 and warmup_steps both have it (if
            0 < warmup_steps < n_steps).
        min_lr: what the step after the last would have, and every later one.

    Returns:
        A float. For step >= n_steps it is min_lr.

    Example:
        With warmup_steps=4, n_steps=20, max_lr=1.0 and min_lr=0.0 the steps 0, 1, 2, 3 and 4
        have 0.25, 0.5, 0.75, 1.0 and 1.0, and step 12, half-way down, has 0.5.
    """
    ### BEGIN SOLUTION
    if step >= n_steps:
        return min_lr
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    done = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * done)) / 2
    ### END SOLUTION


# %% tags=["check"]
check("training.warmup_cosine", warmup_cosine)

# %% [markdown]
# ### Take it away: no warm-up
#
# Two runs with a high rate, equal but for the first 20 steps. (The model here is post-norm, chapter
# 05, whose start is the most delicate.)

# %%
HIGH = 0.04


def high_rate_run(warmup_steps, name):
    model = new_model(norm_placement="post")
    optimizer = optim.AdamW(optim.parameter_groups(model, 0.1), betas=(0.9, 0.95))

    def rate_at(step):
        return optim.warmup_cosine(step, warmup_steps, STEPS, HIGH, HIGH / 10)

    return train_with(model, optimizer, rate_at, name=name)


# %% tags=["nbval-ignore-output"]
with_warmup = high_rate_run(20, "with warm-up")
without_warmup = high_rate_run(0, "without")

# %%
figure, axis = plt.subplots(figsize=(6.5, 3.2))
draw_curves(axis, {"with warm-up": with_warmup, "without": without_warmup}, ylim=(0, 6))
axis.axhline(math.log(168), color="grey", linestyle=":", linewidth=1)
axis.text(99, math.log(168) + 0.08, "knows nothing", ha="right", fontsize=8)
share = ids.bincount() / len(ids)
word_entropy = -share.xlogy(share).sum().item()
axis.axhline(word_entropy, color="grey", linestyle=":", linewidth=1)
axis.text(99, word_entropy - 0.3, "knows how frequent words are", ha="right", fontsize=8)
show_figure(
    figure,
    "Two runs at a learning rate of 0.04. With a warm-up the loss falls below 1.5. Without, it "
    "stays above 4, at the line of a model that knows how frequent words are and nothing else.",
)

# %%
print("with warm-up, below 2:", sum(with_warmup[-10:]) / 10 < 2)
print("without, above 4:", sum(without_warmup[-10:]) / 10 > 4)

# %% [markdown]
# The run without warm-up has **diverged**: its first steps threw the parameters so far that no
# gradient leads back. Its loss stays near the lower dotted line, the entropy of single words: which
# of them are frequent is about all that it still knows.

# %% [markdown]
# ### Clip it: no step too long
#
# Now and then a batch is odd, and its gradient ten or a hundred times as long as usual. One such
# step can undo a thousand good ones. **Gradient clipping** looks at all gradients together, as if
# they were one long vector, and shortens that vector when it is longer than `max_norm`. Its
# direction stays.
#
# The length of a vector is the root of the sum of the squares of all its numbers. It is also called
# the norm of the gradient.

# %%
gradients = [torch.tensor([3.0, 4.0]), torch.tensor([12.0])]
length = math.sqrt(sum((g**2).sum().item() for g in gradients))

print("joint length:", length)
print("clipped to 6.5:", [g * (6.5 / length) for g in gradients])

# %% [markdown]
# ### Exercise 7: clipping


# %% tags=["exercise"]
def clip_gradients(gradients, max_norm):
    """Shorten gradients together when their joint length is above max_norm.

    Args:
        gradients: a list of tensors of any shapes.
        max_norm: the longest joint length allowed, above 0.

    Returns:
        A list or tuple of tensors: all gradients times the same factor, so that their joint length
        is max_norm; or as they are when it is not longer than that. The inputs are not changed.

    Example:
        [[3.0, 4.0], [12.0]] have the joint length 13. With max_norm=6.5 all are halved.
    """
    ### BEGIN SOLUTION
    length = math.sqrt(sum((g**2).sum().item() for g in gradients))
    scale = max_norm / length if length > max_norm else 1.0
    return [g * scale for g in gradients]
    ### END SOLUTION


# %% tags=["check"]
check("training.clip_gradients", clip_gradients)

# %% [markdown]
# What is it worth? In two runs with SGD we spoil one batch: at step 60 the gradient arrives a
# thousand times too long.

# %% tags=["nbval-ignore-output"]
spoiled = {}
for name, max_norm in (("clipped at 1", 1.0), ("not clipped", math.inf)):
    model = new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    spoiled[name] = train_with(model, optimizer, max_norm=max_norm, name=name, spoil=60)

# %%
figure, axis = plt.subplots(figsize=(6.5, 3))
for (name, losses), style in zip(spoiled.items(), ("-", "--"), strict=True):
    axis.plot(losses, style, label=name)
axis.axvline(60, color="grey", linestyle=":", linewidth=1)
axis.set(xlabel="step", ylabel="loss", ylim=(0, 12), title="One spoiled batch at step 60")
axis.legend()
show_figure(
    figure,
    "Two training curves that meet a spoiled batch at step 60. Clipped, the loss goes on falling. "
    "Not clipped, it jumps and does not come back.",
)

# %%
recovered = [sum(losses[-10:]) / 10 < sum(losses[50:60]) / 10 for losses in spoiled.values()]
print("clipped: lower at the end than before it:", recovered[0])
print("not clipped:", recovered[1])

# %% [markdown]
# ## 7. How much text in a step? Batches
#
# The gradient of a batch is an estimate: other windows would have given another one. How far off is
# it? We compare the gradient of $B$ windows with that of a thousand.
#
# **Predict:** from $B = 4$ to $B = 64$, how many times smaller does the error of the gradient
# become? (Chapter 04: variances add up.)

# %%
my_guess = None  # a number, for example 16
predict("training.noise", my_guess)


# %%
def gradient_of(model, x, y):
    """The gradient of the loss for all parameters, as one long vector."""
    gradients = torch.autograd.grad(model(x, targets=y)[1], list(model.parameters()))
    return torch.cat([g.flatten() for g in gradients])


model, rng = new_model(), torch.Generator().manual_seed(2)
best_known = gradient_of(model, *get_batch(ids, 1024, 32, generator=rng))


def error_at(B, tries=12):
    """Typical distance of the gradient of B windows from that of a thousand."""
    gradients = [gradient_of(model, *get_batch(ids, B, 32, generator=rng)) for _ in range(tries)]
    return torch.stack([(g - best_known).square().sum() for g in gradients]).mean().sqrt().item()


# %%
sizes = [1, 2, 4, 8, 16, 32, 64]
errors = [error_at(B) for B in sizes]

reveal(
    "training.noise",
    outcome=round(errors[2] / errors[6]),
    explanation="Errors of independent windows average out like 1/√B: 16 times the text, a quarter "
    "of the error.",
)

# %%
figure, axis = plt.subplots(figsize=(5.5, 2.9))
axis.loglog(sizes, errors, "o", base=2, label="measured")
axis.loglog(sizes, [errors[0] / math.sqrt(B) for B in sizes], "--", base=2, label=r"$1/\sqrt{B}$")
axis.set_xticks(sizes, [str(B) for B in sizes])
axis.set(xlabel="B, windows in a batch", ylabel="error of the gradient")
axis.set_yticks([])
axis.legend()
show_figure(
    figure,
    "Error of the gradient against batch size, both logarithmic: the dots follow the line one over "
    "the square root of B.",
)

# %% [markdown]
# Twice the text costs twice the time and makes the error only 1.4 times smaller. Small batches
# make more steps out of the same text; large ones allow higher rates and use a large machine
# better. Ours has two cores, so we take small ones.

# %% [markdown]
# ### A large batch in small pieces
#
# When a batch does not fit into memory, cut it into **micro-batches**, compute their gradients one
# after the other, and add them up before the optimizer steps: **gradient accumulation**. Done
# right, the result is that of the large batch. But the pieces may differ in how many targets count.

# %%
x, y = get_batch(ids, 16, 32, generator=torch.Generator().manual_seed(3))
y[0, 4:] = -100  # the first text is short, the rest is padding
pieces = [slice(0, 1), slice(1, 5), slice(5, 16)]  # 1, 4 and 11 texts

whole = gradient_of(model, x, y)
parts = [gradient_of(model, x[piece], y[piece]) for piece in pieces]
n_targets = [(y[piece] != -100).sum().item() for piece in pieces]
print("targets in the pieces:", n_targets)

# %% [markdown]
# ### The wrong way: the mean of means
#
# Each part is the gradient of a mean over its own targets. To average the three parts alike gives
# the four targets of the first piece as much weight as the 352 of the last.

# %%
mean_of_means = torch.stack(parts).mean(dim=0)
shares = torch.tensor(n_targets) / sum(n_targets)
by_targets = sum(share * part for share, part in zip(shares, parts, strict=True))

for name, joined in (("mean of means", mean_of_means), ("by targets", by_targets)):
    error = (joined - whole).norm() / whole.norm()
    print(f"{name:>13}: off by {error:.0%} of the gradient's length")
print("largest difference at most 0.000001:", (by_targets - whole).abs().max().item() <= 1e-6)

# %% [markdown]
# ### Exercise 8: join uneven pieces


# %% tags=["exercise"]
def join_gradients(gradients, n_targets):
    """Return the gradient of the whole batch from those of its pieces.

    Args:
        gradients: one tensor for each piece, all of the same shape: the gradient of the mean loss
            over that piece's own targets.
        n_targets: how many targets count in each piece, whole numbers; a piece may have none
            (its gradient is 0 then), but not all.

    Returns:
        The gradient of the mean loss over all targets of all pieces. The inputs are not changed.

    Example:
        Gradients [4.0, 0.0] of 1 target and [0.0, 8.0] of 3 targets give [1.0, 6.0].
    """
    ### BEGIN SOLUTION
    total = sum(n_targets)
    joined = torch.zeros_like(gradients[0])
    for g, n in zip(gradients, n_targets, strict=True):
        joined = joined + g * (n / total)
    return joined
    ### END SOLUTION


# %% tags=["check"]
check("training.join_gradients", join_gradients)

# %% [markdown]
# ## 8. The loop, line by line
#
# Everything is there. One step of training is five lines, and their order matters. We go through
# them with one number in sight: the first entry of one matrix, and its gradient.

# %%
model = new_model().train()
optimizer = optim.AdamW(optim.parameter_groups(model, 0.1), lr=3e-3)
weight = model.blocks[0].attention.out.weight
rng = torch.Generator().manual_seed(1)

x, y = get_batch(ids, 16, 32, generator=rng)
print(f"weight {weight[0, 0].item():+.3f}, gradient {weight.grad}")

# %% [markdown]
# **Line 1: clear.** `backward()` *adds* to the gradients that are there. So they are cleared first.
# **Line 2: forward.** The model reads the batch and says how surprised it is.

# %%
optimizer.zero_grad()
_, loss = model(x, targets=y)
print(f"loss {loss.item():.1f}, gradient {weight.grad}")

# %% [markdown]
# **Line 3: backward.** Now every parameter has a gradient. **Line 4: clip.** The joint length of
# all gradients is held at 1.

# %%
loss.backward()
print(f"length before clipping: {optim.clip_grad_norm(model.parameters(), 1.0).item():.1f}")
print("length after:", round(sum((p.grad**2).sum().item() for p in model.parameters()) ** 0.5, 2))

# %% [markdown]
# **Line 5: step.** The optimizer moves every parameter, with the rate that the schedule gives for
# this step. The same batch then surprises less.

# %%
for group in optimizer.param_groups:
    group["lr"] = optim.warmup_cosine(0, 10, 100, 3e-2, 0.0)
optimizer.step()

print(f"weight {weight[0, 0].item():+.3f}")
print("the same batch has a lower loss now:", model(x, targets=y)[1].item() < loss.item())

# %% [markdown]
# ### The wrong way: nothing is cleared
#
# Leave line 1 out, and the gradients of all batches so far pile up: an average that never forgets.
# Nothing raises an error, and the loss even falls for a while.


# %%
def without_clearing():
    model = new_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    optimizer.zero_grad = lambda: None  # the bug
    return train_with(model, optimizer, name="not cleared")


# %% tags=["nbval-ignore-output"]
not_cleared = without_clearing()

# %%
figure, axis = plt.subplots(figsize=(6.5, 2.9))
draw_curves(axis, {"cleared": curves["SGD"], "not cleared": not_cleared}, ylim=(0, 9))
show_figure(
    figure,
    "SGD with and without clearing the gradients. Cleared, the loss falls. Not cleared, it falls "
    "for a while, then climbs out of the picture.",
)

# %% [markdown]
# ### Exercise 9: the training loop
#
# Now all of it. The learning rate of each step is handed over in a list; for clipping use
# `optim.clip_grad_norm(parameters, max_norm)`, which changes the gradients in place.


# %% tags=["exercise"]
def train(model, batches, optimizer, rates, max_norm):
    """Train a model on each batch once, and tell its losses.

    Args:
        model: called as model(x, targets=y); returns (logits, loss), the loss a tensor with one
            number. It may come in evaluation mode; it is to be trained in training mode, and left
            in it. Its parameters may hold gradients of an earlier use, which do not count.
        batches: a list of pairs (x, y).
        optimizer: holds all parameters of the model, in one group or several. Its rate is
            group["lr"], for every group in optimizer.param_groups.
        rates: a list with the learning rate of each step, as long as batches.
        max_norm: the longest joint length of the gradients of all parameters.

    Returns:
        A list of floats: for each batch its loss before the update. Every batch, the last one too,
        moves the parameters once.
    """
    losses = []
    ### BEGIN SOLUTION
    model.train()
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        _, loss = model(x, targets=y)
        loss.backward()
        optim.clip_grad_norm(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
    ### END SOLUTION
    return losses


# %% tags=["check"]
check("training.train", train)

# %% [markdown]
# ## 9. What a long run needs
#
# A run that takes longer than a minute needs more than the loop: measurements on text that it does
# not train on, a copy of its best state, a way to stop and go on. The course's `Trainer` has that.
# It knows nothing of language models. Here it fits a straight line.

# %%
from llm_core.training import TrainConfig, Trainer

line = nn.Linear(1, 1)
x_line = torch.linspace(-1, 1, 16)[:, None]
batch = (x_line, 3 * x_line + 2)

trainer = Trainer(
    line,
    next_batch=lambda: batch,
    config=TrainConfig(n_steps=300, max_lr=0.1, weight_decay=0.0),
    loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
    progress=False,
)
trainer.run()
print(f"slope {line.weight.item():.1f}, intercept {line.bias.item():.1f}")

# %% [markdown]
# What happens beside the updates hangs on events: `on(event, function)` calls your function, a
# **callback**, whenever the event occurs. The events are `start`, `step`, `evaluate`, `checkpoint`,
# `pause` and `end`.

# %%
told = []
trainer = Trainer(line, lambda: batch, trainer.config, loss=trainer.loss_function, progress=False)
trainer.on("step", lambda t: told.append(t.lr) if t.step % 100 == 1 else None)
trainer.run()
print("learning rate at steps 1, 101 and 201:", [round(rate, 3) for rate in told])

# %% [markdown]
# ### Validation: a fixed set, in evaluation mode
#
# The training loss is measured on text from which the model is learning. What counts is the loss on
# text that it does not learn from, the **validation loss** (the split is that of chapter 01). Two
# rules: it is measured on the same batches each time, so that two numbers can be compared, and in
# evaluation mode, so that dropout is off (chapter 05).

# %%
from llm_core.data import sequential_batches
from llm_core.training import evaluate

val_text = "".join(story + STORY_END + "\n" for story in stories(40, seed=4))
validation = list(sequential_batches(torch.tensor(tokenizer.encode(val_text)), 32, 32))

model = new_model(dropout=0.3)
print("twice the same number:", evaluate(model, validation) == evaluate(model, validation))
print("afterwards in training mode again:", model.training)

# %% [markdown]
# ### Exercise 10: expose the bug
#
# A colleague wrote `careless_evaluate(model, batches)`, which leaves the model in training mode
# while it measures. Their test passes:

# %%
from llm_core.exercises.training import careless_evaluate

config = GPTConfig(vocab_size=10, context_length=8, d_model=16, n_heads=2)
some_ids = torch.randint(10, (4, 9), generator=torch.Generator().manual_seed(0))
batches = [(some_ids[:, :-1], some_ids[:, 1:])]

model = GPT(config)
print("the colleague's test passes:", careless_evaluate(model, batches) == evaluate(model, batches))

# %% [markdown]
# Write a config and batches on which the two functions return different losses. What in the
# colleague's test hides the bug?


# %% tags=["exercise"]
def expose_bug():
    """Return an input that tells `careless_evaluate` from the right `evaluate`.

    Returns:
        (config, batches): a GPTConfig, from which the check makes a new model in training mode
        (its fields are those above and `norm`, `activation`, `dropout`, `bias` and others),
        and a list of pairs (x, y) of integer tensors of the shape (B, T), T at most the
        context_length, with ids below the vocab_size. The two losses must differ.
    """
    ### BEGIN SOLUTION
    config = GPTConfig(vocab_size=10, context_length=8, d_model=16, n_heads=2, dropout=0.5)
    ids = torch.randint(10, (4, 9), generator=torch.Generator().manual_seed(0))
    return config, [(ids[:, :-1], ids[:, 1:])]
    ### END SOLUTION


# %% tags=["check"]
check("training.expose_bug", expose_bug)

# %% [markdown]
# ### Too little text
#
# Now we provoke what validation is for. The model trains on 10 stories only, again and again.
#
# **Predict:** the training loss will come close to 0. What will the validation loss do: `"fall"`
# all the way, fall and then `"rise"`, or stay `"level"`?

# %%
my_guess = None  # "fall", "rise" or "level"
predict("training.overfit", my_guess)

# %%
few = torch.tensor(tokenizer.encode(text[: text.index(STORY_END, 3000)]))
few_rng = torch.Generator().manual_seed(5)


def overfitting_trainer(**changes):
    """A trainer on 10 stories; `changes` go to its config."""
    config = TrainConfig(n_steps=400, max_lr=1e-2, eval_interval=20, **changes)
    return Trainer(
        new_model(),
        lambda: get_batch(few, 8, 32, generator=few_rng),
        config,
        validation=validation,
        progress=False,
    )


# %% tags=["nbval-ignore-output"]
trainer = overfitting_trainer()
bar = tqdm(total=trainer.config.n_steps, desc="10 stories", file=sys.stdout)
trainer.on("step", lambda t: bar.update())
trainer.run()
bar.close()

# %%
steps = [entry["step"] for entry in trainer.history]
on_few = [entry["loss"] for entry in trainer.history]
on_new = [entry["val_loss"] for entry in trainer.history]

rises = on_new[-1] > 1.2 * min(on_new)
reveal(
    "training.overfit",
    outcome="rise" if rises else "level",
    explanation="First the model learns what all stories share, then it learns its 10 stories by "
    "heart. What it knows by heart makes it too sure about new ones.",
)

# %%
figure, axis = plt.subplots(figsize=(6.5, 3.2))
axis.plot(steps, on_few, "-", label="training loss, 10 stories")
axis.plot(steps, on_new, "o--", markersize=4, label="validation loss, new stories")
axis.axvline(trainer.best.step, color="grey", linestyle=":", label="best")
axis.set(xlabel="step", ylabel="loss (nats per token)", ylim=(0, 6))
axis.legend()
show_figure(
    figure,
    "Training on 10 stories: the training loss falls to near 0. The validation loss falls, has its "
    "lowest point early, and then rises steadily.",
)

# %% [markdown]
# This is **over-fitting**: the training loss falls while the validation loss rises. More text is
# the best remedy, dropout and weight decay are others, and the cheapest is to stop in time. **Early
# stopping** keeps a copy of the weights with the best validation loss, and ends the run when it has
# not been beaten for a number of evaluations, the `patience`.

# %%
few_rng = torch.Generator().manual_seed(5)
stopped = overfitting_trainer(patience=3)
stopped.run()
stopped.use_best_weights()

print("stopped before the last step:", stopped.step < stopped.config.n_steps)
print("has the best weights:", evaluate(stopped.model, validation) == stopped.best.loss)

# %% [markdown]
# ### Checkpoints: stop and go on exactly
#
# A **checkpoint** is everything that a run needs to go on later as if nothing had happened: the
# model, the optimizer's means, the step (and with it the schedule), and the state of every random
# generator, so that the next batch is the one that would have come. We train 40 steps in one go,
# and 40 steps with a break after 25.


# %%
def checkpointed_trainer(folder):
    """A trainer for 40 steps that saves every 10."""
    rng = torch.Generator().manual_seed(6)
    return Trainer(
        new_model(dropout=0.1),
        lambda: get_batch(ids, 8, 32, generator=rng),
        TrainConfig(n_steps=40, checkpoint_interval=10),
        generators={"data": rng},
        folder=folder,
        progress=False,
    )


folder = Path(tempfile.mkdtemp())
torch.manual_seed(7)  # dropout draws from torch's own generator
in_one_go = checkpointed_trainer(folder / "one")
in_one_go.run()

# %%
torch.manual_seed(7)
first_half = checkpointed_trainer(folder / "two")
first_half.on("step", lambda t: t.stop() if t.step == 25 else None)  # as the Stop button does
first_half.run()

second_half = checkpointed_trainer(folder / "two")  # a new trainer, as after a restart
second_half.resume()
print("goes on from step", second_half.step)
second_half.run()

# %%
same = [
    torch.equal(a, b)
    for a, b in zip(in_one_go.model.parameters(), second_half.model.parameters(), strict=True)
]
print("every weight is the same, to the last bit:", all(same))

# %% [markdown]
# A checkpoint appears under its name only when it is complete, and the one before it is kept. If
# one is damaged, on a disk with a fault for example, loading says so and offers the other.

# %%
damaged = folder / "two" / "step-000040" / "training.safetensors"
data = bytearray(damaged.read_bytes())
data[-1] ^= 1  # one bit
_ = damaged.write_bytes(data)

try:
    checkpointed_trainer(folder / "two").resume()
except ValueError as error:
    print(str(error).replace(str(folder), "...").replace(". ", ".\n"))

# %% [markdown]
# ### When it goes wrong: NaN
#
# A rate that is far too high, or a bad number in the data, turns the loss into NaN. One step with
# it would turn every weight into NaN. `Trainer` looks before it steps.


# %%
def bad_loss(model, batch):
    """A loss that is NaN from the sixth step on."""
    x, y = batch
    return model(x, targets=y)[1] * (math.nan if trainer.step == 5 else 1.0)


trainer = Trainer(
    new_model(),
    lambda: get_batch(ids, 8, 32, generator=few_rng),
    TrainConfig(n_steps=10),
    loss=bad_loss,
    progress=False,
)
try:
    trainer.run()
except FloatingPointError as error:
    print(str(error).replace(". ", ".\n"))

# %%
weights = [parameter.isfinite().all().item() for parameter in trainer.model.parameters()]
print("all weights are numbers:", all(weights))

# %% [markdown]
# ### Interrupted: Ctrl-C
#
# *Kernel → Interrupt*, or Ctrl-C in a terminal, is taken at the end of a step. What was trained is
# saved first. Here a callback plays the hand that presses it.

# %%
import signal

interrupted = checkpointed_trainer(folder / "three")
interrupted.on("step", lambda t: signal.raise_signal(signal.SIGINT) if t.step == 12 else None)
try:
    interrupted.run()
except KeyboardInterrupt as error:
    print(str(error).replace(str(folder), "..."))

# %% [markdown]
# ### Memory and time
#
# A run holds four things: the weights, a gradient for each, Adam's two means for each, and the
# activations that the backward pass needs (chapter 06). The first three follow from the number of
# parameters.

# %%
trainer = in_one_go
n_bytes = {
    "weights": sum(p.numel() * 4 for p in trainer.model.parameters()),
    "gradients": sum(p.grad.numel() * 4 for p in trainer.model.parameters()),
    "optimizer": sum(
        value.numel() * 4
        for state in trainer.optimizer.state.values()
        for value in state.values()
        if torch.is_tensor(value)
    ),
}
for name, n in n_bytes.items():
    print(f"{name:>9}: {n / 1e6:.2f} MB")

# %% tags=["nbval-ignore-output"]
print(f"{1000 * trainer.seconds_per_step:.0f} milliseconds per step")
print(f"{trainer.tokens_per_second:,.0f} tokens per second")

# %% [markdown]
# ## 10. The full run
#
# Now train a model that tells stories, from scratch, down to the entropy floor. It has 3 layers, 4
# heads and `d_model` 96: 365,000 parameters. The parts and the settings are those of the course's
# own recipe: rotary positions, RMSNorm, SwiGLU, Muon for the matrices. Its rate begins at the top
# and falls in a straight line: this model is pre-norm and small, and does without a warm-up. (A
# later chapter takes the recipe apart.)
#
# Each window begins with a story's first token, so that everything that the story tells later can
# be looked up.

# %%
from llm_core.data import windows_at

CONTEXT = 96
told = stories(4000, seed=0)
story_ids = torch.tensor(tokenizer.encode("".join(story + STORY_END + "\n" for story in told)))
end_id = tokenizer.special_tokens[STORY_END]
starts = (story_ids == end_id).nonzero().flatten()  # a story begins two tokens after this
starts = starts[starts + CONTEXT + 3 < len(story_ids)]
data_rng = torch.Generator().manual_seed(1)


def next_batch():
    chosen = starts[torch.randint(len(starts), (16,), generator=data_rng)]
    return windows_at(story_ids, chosen, CONTEXT)


# %% [markdown]
# For validation we take 50 other stories, each read whole from its first token. Their own floor is
# known exactly.

# %%
from llm_core.data import pad_batch

trained_on = set(told)
new_stories = [story for story in stories(80, seed=99) if story not in trained_on][:50]
begin = tokenizer.encode(STORY_END + "\n")
rows = [begin + tokenizer.encode(story + STORY_END + "\n") for story in new_stories]
whole_stories = []
for i in range(0, 50, 25):
    x, y = pad_batch(rows[i : i + 25], pad_id=0)
    y[:, : len(begin) - 1] = -100  # what is given is not to be guessed
    whole_stories.append((x, y))

n_tokens = sum((y != -100).sum().item() for _, y in whole_stories)
story_floor = -sum(story_log_prob(story) for story in new_stories) / n_tokens
print(f"floor of these stories: {story_floor:.2f} nats per token")

# %%
from llm_core.recipes import COURSE
from llm_core.sampling import generate

sizes = {"vocab_size": tokenizer.vocab_size, "context_length": 100, "d_model": 96, "n_layers": 3}
config = COURSE.model_config(**sizes, tie_weights=False)
model = GPT(config, torch.Generator().manual_seed(0))


def write_stories(model, n):
    """Let the model tell n stories, from nothing; the same draws of chance each time."""
    start, chance = torch.tensor([begin] * n), torch.Generator().manual_seed(1)
    written = generate(model, start, 90, stop_id=end_id, generator=chance)  # (n, T)
    texts = [tokenizer.decode(row[len(begin) :].tolist()) for row in written]
    return [one.split(STORY_END)[0] for one in texts]


print(textwrap.fill(f"before training: {write_stories(model, 1)[0][:150]} ...", width=80))

# %% [markdown]
# ### What comes first?
#
# A good story needs two things: sentences that follow the grammar, and facts that stay true
# (whoever has the ball must have it later too). `check_stories` counts both. We let the model tell
# 20 stories after each evaluation.
#
# **Predict:** which does it learn first, the `"grammar"` or the `"facts"`, or `"both"` at once?

# %%
my_guess = None  # "grammar", "facts" or "both"
predict("training.first", my_guess)

# %%
from llm_core.corpus import check_stories

reports, examples = {}, []


def report_on_stories(trainer):
    """Let the model tell 20 stories, keep the first, and count what is right in all of them."""
    written = write_stories(trainer.model, 20)
    examples.append(written[0])
    reports[trainer.step] = check_stories("".join(story + STORY_END + "\n" for story in written))


# %% [markdown]
# ### Watch it learn
#
# The dashboard shows what the trainer tells it: the loss and the floor, the learning rate, the
# length of the gradient, speed, time left and memory, and after each evaluation the first of the 20
# stories. **Things to try:**
#
# 1. Watch the stories: words first, then sentences, then facts that agree with each other. The
#    slider takes you back to earlier ones.
# 2. *Pause*, look, *Resume*. *Stop* ends the run after the present step. (Where these buttons are
#    not heard while the cell runs, as outside JupyterLab, use *Kernel → Interrupt*.)
# 3. Close the view: right click on it, *Clear Cell Output*. The training goes on. Run
#    `display(dashboard)` afterwards to see it again.

# %% tags=["nbval-ignore-output"]
from IPython.display import display

from llm_core.widgets.training import TrainingDashboard

trainer = Trainer(
    model,
    next_batch,
    COURSE.train_config(110, eval_interval=22),
    validation=whole_stories,
    generators={"data": data_rng},
    progress=False,
)
trainer.on("evaluate", report_on_stories)
dashboard = TrainingDashboard(trainer, floor=story_floor, sample=lambda model: examples[-1])
display(dashboard)
trainer.run()

# %%
above = evaluate(model, whole_stories) - story_floor
print("trained to the last step:", trainer.step == trainer.config.n_steps)
print("at most 0.10 nats per token above the floor:", above <= 0.10)

# %% [markdown]
# From 5.12 nats to within a tenth of what is possible, in less than a minute. What does it write
# now?

# %% tags=["nbval-ignore-output"]
print(textwrap.fill(write_stories(model, 1)[0], width=80))

# %% [markdown]
# The sentences are sentences. The facts still slip now and then: count the pears, or check the
# names.

# %%
grammar = [report.share_well_formed for report in reports.values()]
facts = [report.share_true_facts for report in reports.values()]
first_good = [next((i for i, share in enumerate(s) if share > 0.8), 99) for s in (grammar, facts)]

reveal(
    "training.first",
    outcome="grammar" if first_good[0] < first_good[1] else "both",
    explanation="A few words are enough to see which word may follow. Who has the ball must be "
    "looked up in the right place, and that takes attention that knows where to look.",
)

# %%
figure, axis = plt.subplots(figsize=(6.5, 3))
axis.plot(list(reports), grammar, "o-", label="sentences that follow the grammar")
axis.plot(list(reports), facts, "s--", label="facts that stay true")
axis.set(xlabel="step", ylabel="share", ylim=(0, 1.05), title="20 stories after each evaluation")
axis.legend(loc="lower right")
show_figure(
    figure,
    "Shares of well-formed sentences and of true facts during training. The sentences become right "
    "early, the facts follow later.",
)

# %% [markdown]
# ### What the recipe is worth
#
# Is the course's recipe better than the classic one: GPT-2's parts, AdamW, warm-up and cosine?
# `benchmarks/training.py` trained models of about 0.8 million parameters both ways, on the
# characters of Shakespeare's plays, and wrote down the loss on the last tenth, which was held
# out: not trained on, like the text of a validation loss. In the picture the time is that of
# training alone, and 1 is the whole classic run.
#
# What to look for: where the course's curve crosses the dotted line, at which the classic run ends,
# and how far below it comes in the same time.

# %%
from llm_core.files import ASSETS, read_json

measured = read_json(ASSETS / "training_benchmark.json")
whole_run = measured["classic"]["seconds"][-1]
short_share = measured["course_short"]["seconds"][-1] / whole_run
ends = {name: measured[name]["val_loss"][-1] for name in ("classic", "course_short", "course")}

print(f"classic recipe: {ends['classic']:.2f} nats per character")
print(f"course's, in {short_share:.2f} of the time: {ends['course_short']:.2f}")
share = measured["course"]["seconds"][-1] / whole_run
print(f"course's, in {share:.2f} of the time: {ends['course']:.2f}")


# %%
def plot_runs(axis, measured, whole, styles):
    """Plot the loss of each run against its time, as a share of `whole`."""
    for name, (style, label) in styles.items():
        run = measured[name]
        axis.plot([s / whole for s in run["seconds"]], run["val_loss"], style, ms=4, label=label)
    axis.set(xlim=(0, None), ylabel="held-out loss (nats per character)")


figure, axis = plt.subplots(figsize=(6.5, 3.2))
plot_runs(axis, measured, whole_run, {"classic": ("s--", "classic"), "course": ("o-", "course")})
axis.plot(short_share, ends["course_short"], "k*", ms=11, label="course, a run of its own")
axis.axhline(ends["classic"], color="grey", linestyle=":")
axis.set(xlabel="training time ÷ that of the classic run")
axis.set(title="Two recipes, the same text and size")
axis.legend()
show_figure(
    figure,
    f"Held-out loss against training time for two recipes. The classic curve ends at "
    f"{ends['classic']:.2f}. The course's curve lies below it and ends at {ends['course']:.2f}; a "
    f"short run ends at {ends['course_short']:.2f} after {short_share:.2f} of the time.",
)

# %% [markdown]
# The short run is one of its own, and not the beginning of the long one: its rate had to come down
# to 0 by its end.

# %% [markdown]
# ### On a GPU
#
# A GPU works out thousands of products at the same time. With a small model it mostly waits to be
# told what comes next, so the art is to keep it busy:
#
# - The text lies on it, and the batches are cut there: `get_batch(ids, 64, 256, "cuda")` with `ids`
#   on the GPU.
# - `TrainConfig(precision="bfloat16")` takes the matrix products in **bfloat16**: numbers of 16
#   bits, as large and as small as those of 32 bits, but with two to three digits only. The weights
#   and their updates stay in 32 bits.
# - `model.compile(mode="reduce-overhead")` lets torch translate the model into a few large programs
#   and record their order, so that a step is a handful of commands instead of hundreds.
#
# `python benchmarks/training.py --large` does all three. It compares the two recipes on one GPU (an
# H100), with 10.6 million parameters and windows of 256 characters. The text is read many times: 7
# times in the 450 steps of the course's short run, 24 times in the 1,500 of the long one, and 82
# times in the 5,000 of the classic recipe. So the course's takes every window once before it takes
# any again (`shuffled_batches`), and the more passes, the more dropout.
#
# What to look for: the classic curve turns up again, because the model learns the text by heart;
# and where the short run crosses the dotted line at 1.455, the best that is known of the classic
# recipe.

# %%
large = read_json(ASSETS / "training_benchmark_large.json")
best = {name: min(large[name]["val_loss"]) for name in ("classic", "course_short", "course")}
to_best = large["classic"]["seconds"][large["classic"]["val_loss"].index(best["classic"])]
pairs = zip(large["course_short"]["seconds"], large["course_short"]["val_loss"], strict=True)
reached = next(seconds for seconds, loss in pairs if loss <= large["target"]) / to_best

print("measured on:", large["machine"])
print(f"classic recipe, at its best: {best['classic']:.3f} nats per character")
print(f"course's, 450 steps: {large['target']} in {reached:.2f} of the time to that best")
print(f"course's, 1,500 steps: {best['course']:.3f}")

# %%
figure, axis = plt.subplots(figsize=(6.5, 3.2))
styles = {
    "classic": ("s--", "classic"),
    "course_short": ("^-", "course, 450 steps"),
    "course": ("o-", "course, 1,500 steps"),
}
plot_runs(axis, large, to_best, styles)
axis.axhline(large["target"], color="grey", linestyle=":")
axis.set(xlabel="training time ÷ that of the classic run to its best", xlim=(0, 2.5))
axis.set(ylim=(1.35, 1.85), title="A larger model, on a GPU")
axis.legend()
show_figure(
    figure,
    f"Held-out loss against training time on a GPU. The classic curve falls to "
    f"{best['classic']:.2f} and rises again. The course's short run is below 1.455 after "
    f"{reached:.2f} of that time, and its long run falls to {best['course']:.2f}.",
)

# %% [markdown]
# About twenty settings of the course's recipe were tried on this same held-out text, so its loss
# flatters it a little; a third part of the text, used once at the very end, would say by how much.

# %% [markdown]
# ## 11. Your own text
#
# Put a text file named `my_text.txt` beside this notebook, a few hundred kilobytes in any language,
# and run the cell below. It takes the text's characters as tokens and trains for a few minutes.
# Nobody knows the floor of your text, so there is no line to reach; Stop whenever you like.

# %%
from llm_core import CharTokenizer, clean_text, load_text, split_text

MY_FILE = Path("my_text.txt")


def train_on(path, n_steps=1000):
    """Train a small model on the characters of a text file, and show it in a dashboard."""
    own_text = clean_text(load_text(path))
    own = CharTokenizer.train(own_text)
    train_ids, val_ids = (torch.tensor(own.encode(part)) for part in split_text(own_text, 0.1))
    sizes = {"vocab_size": own.vocab_size, "context_length": 96, "d_model": 96, "n_layers": 3}
    own_model = GPT(COURSE.model_config(**sizes, tie_weights=False))

    def write(model):
        return own.decode(generate(model, train_ids[:1], 300).tolist())

    own_trainer = Trainer(
        own_model,
        lambda: get_batch(train_ids, 16, 96),
        COURSE.train_config(n_steps, eval_interval=50),
        validation=list(sequential_batches(val_ids, 32, 96))[:10],
        progress=False,
    )
    display(TrainingDashboard(own_trainer, sample=write))
    own_trainer.run()
    return own_model


if MY_FILE.exists():
    own_model = train_on(MY_FILE)
else:
    print("There is no my_text.txt beside this notebook, so nothing was trained.")

# %% [markdown]
# ## 12. Assemble it
#
# The whole of training once more, from the formulas of this chapter, on one page: the optimizer,
# then the loop.


# %%
class AdamWByHand:
    """AdamW for the parameters of a model: matrices decay, vectors do not."""

    def __init__(self, parameters, weight_decay):
        self.parameters, self.t = list(parameters), 0
        self.means = [(torch.zeros_like(p), torch.zeros_like(p)) for p in self.parameters]
        self.decays = [weight_decay if p.dim() >= 2 else 0.0 for p in self.parameters]

    @torch.no_grad()
    def step(self, lr, beta1=0.9, beta2=0.95, eps=1e-8):
        self.t += 1
        for w, (m, v), decay in zip(self.parameters, self.means, self.decays, strict=True):
            m.copy_(beta1 * m + (1 - beta1) * w.grad)
            v.copy_(beta2 * v + (1 - beta2) * w.grad**2)
            m_hat, v_hat = m / (1 - beta1**self.t), v / (1 - beta2**self.t)
            w.copy_(w - lr * decay * w - lr * m_hat / (v_hat.sqrt() + eps))


# %%
def train_by_hand(model, n_steps, max_lr, rng, max_norm=1.0):
    """Train on random windows of the stories, with nothing but this chapter's formulas."""
    optimizer = AdamWByHand(model.parameters(), weight_decay=0.1)
    for step in range(n_steps):
        x, y = get_batch(ids, 16, 32, generator=rng)
        logits, _ = model(x)
        loss = llm_core.cross_entropy(logits, y)
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        length = sum((p.grad**2).sum() for p in model.parameters()).sqrt()
        for parameter in model.parameters():
            parameter.grad *= (max_norm / length).clamp(max=1.0)
        optimizer.step(optim.warmup_cosine(step, 2, n_steps, max_lr, max_lr / 10))


# %% [markdown]
# The finished `Trainer`, with the same settings and the same batches, gives the same model. The two
# add up in different orders, which differs by rounding. A key's bias cancels in softmax, so its
# gradient should be 0 and is nothing but rounding; Adam makes full steps of it all the same. So we
# compare in doubles, whose rounding is far below Adam's $\varepsilon$.

# %%
mine, finished = new_model().double(), new_model().double()
train_by_hand(mine, 10, 3e-3, torch.Generator().manual_seed(8))

rng = torch.Generator().manual_seed(8)
config = TrainConfig(n_steps=10, max_lr=3e-3, warmup_steps=2)
Trainer(finished, lambda: get_batch(ids, 16, 32, generator=rng), config, progress=False).run()

pairs = zip(mine.parameters(), finished.parameters(), strict=True)
print("equal to llm_core's:", all(torch.allclose(a, b, atol=1e-5) for a, b in pairs))

# %% [markdown]
# Later chapters import `Trainer` and `TrainConfig` from `llm_core.training`. In a terminal,
# `python -m llm_core train` runs the same loop on a text file.
#
# The model can now say how probable every next token is. How to make it speak, daring or careful,
# with or without repeating itself, is chapter `08_sampling`.

# %% [markdown]
# ## Recap
#
# 1. **Cross-entropy** is the mean of −ln p of what came: log-sum-exp minus the target's logit. It
#    starts at ln V and cannot go below the **entropy** of the text.
# 2. Its gradient is **softmax minus one-hot**; the optimizer turns gradients into steps.
# 3. **AdamW** averages the gradient, divides by its usual size, corrects both for starting at 0,
#    and lets weights decay apart from that. **Muon** does it for matrices as a whole.
# 4. The rate **warms up** and **decays**; **clipping** shortens odd steps; uneven pieces of a batch
#    count by their targets.
# 5. Clear, forward, backward, clip, step. **Validation** in evaluation mode, on a fixed set, says
#    when to stop; a **checkpoint** lets you go on exactly.

# %% [markdown]
# ## Quiz

# %%
quiz("training.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 08](08_sampling.ipynb). The model gives probabilities; there you turn them into
#   text.
# - Train the model of section 10 without Muon (`COURSE.train_config(110, muon_lr=None)`). How many
#   steps does it need to come as far?
# - Give the over-fitting model of section 9 `dropout=0.3`, then more stories. Which helps more?
# - Add a callback that saves the length of the gradient of each layer. Where does it grow first
#   when a run diverges?
#
# ## Papers
#
# - Kingma and Ba 2014, [Adam: A Method for Stochastic
#   Optimization](https://arxiv.org/abs/1412.6980): algorithm 1 and the bias correction.
# - Loshchilov and Hutter 2017, [Decoupled Weight Decay
#   Regularization](https://arxiv.org/abs/1711.05101): AdamW; and 2016,
#   [SGDR](https://arxiv.org/abs/1608.03983): the cosine.
# - Jordan et al. 2024, [Muon](https://kellerjordan.github.io/posts/muon/): an optimizer for the
#   hidden layers of networks.
# - Hu et al. 2024, [MiniCPM](https://arxiv.org/abs/2404.06395), section 4: warm-up, stable, decay.
# - Pascanu et al. 2013, [On the difficulty of training recurrent neural
#   networks](https://arxiv.org/abs/1211.5063), section 3.2: clipping.
# - Smith 2017, [Cyclical Learning Rates for Training Neural
#   Networks](https://arxiv.org/abs/1506.01186), section 3.3: the range test.
# - McCandlish et al. 2018, [An Empirical Model of Large-Batch
#   Training](https://arxiv.org/abs/1812.06162): batch size and noise.
