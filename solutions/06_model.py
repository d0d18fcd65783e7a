# %% [markdown]
# # 6 · Model
#
# ![The course as a row of eight steps, from tokens to sampling. Step 6, model, is
# highlighted.](../assets/map_06.svg)
#
# All the parts are built: tables of tokens and positions, attention, the block. In this chapter
# they become a **language model**: ids go in at one end, and a number for every token that could
# come next comes out at the other. Then you start it, test it from outside and count what it costs,
# from our storyteller with 0.6 million parameters to GPT-3 with 175 billion.
#
# **You will build** the stack from ids to logits, its first random numbers, the gradient of a table
# that is used at both ends, a test for leaks, and the counts of parameters, operations and memory.
#
# **You need** chapters 02 to 05: embeddings, positions, attention, the block, and the loss
# −ln p.
#
# **Time:** about 80 minutes to read and solve, 50 seconds to run.

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
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.model import GPT, GPTConfig
from llm_core.notebooks.figure import show_figure, use_course_style
from llm_core.pretrained import load_pretrained

use_course_style()
_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# `GPT` is the finished model of the course. The text uses it wherever a later step needs an earlier
# one, so you can skip an exercise and still run everything after it. Its shape is written down in a
# `GPTConfig`.

# %% [markdown]
# ## Warm-up
#
# Five questions on chapters 02 to 05. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("model.warmup")

# %% [markdown]
# ## 1. The stack: from ids to logits
#
# A language model is five parts in a row. In the middle stands the stack of blocks, each taking
# what the one before it gave.
#
# | Part | Takes | Gives | Built in |
# |---|---|---|---|
# | token table | ids (B, T) | a vector for each token, (B, T, C) | 02 |
# | position table | the places 0 to T − 1 | a vector for each place, (T, C), added | 03 |
# | blocks, L of them | (B, T, C) | (B, T, C) | 04, 05 |
# | final norm | (B, T, C) | (B, T, C), each vector at one scale | 05 |
# | **output head** | (B, T, C) | logits, (B, T, V) | here |
#
# Only the last part is new. The **output head** is a matrix with one row for each token of the
# vocabulary. The logit of a token, its score for coming next, is the dot product of the vector with
# that token's row: how well the two fit.

# %% [markdown]
# ### The head by hand
#
# Six tokens and three numbers, whose meanings we choose: *is a person*, *is a thing*, *is a verb of
# having*. After the blocks, the vector at *She* asks for a verb.

# %%
tokens = ["Mia", "has", "the", "ball", ".", "She"]
head = torch.tensor(
    [
        [2.0, 0.0, 0.0],  # Mia
        [0.0, 0.0, 2.0],  # has
        [0.0, 0.5, 0.0],  # the
        [0.0, 2.0, 0.0],  # ball
        [0.0, 0.0, 0.0],  # .
        [1.0, 0.0, 0.0],  # She
    ]
)
vector_at_she = torch.tensor([0.1, 0.2, 1.5])

# %%
for token, row in zip(tokens, head, strict=True):
    logit = (row * vector_at_she).sum().item()
    print(f"{token:>5}: logit {logit:.1f}")

# %% [markdown]
# One matrix product computes all six, and softmax turns them into probabilities.

# %%
logits = head @ vector_at_she  # (V, C) @ (C,) -> (V,)
print("probabilities:", logits.softmax(dim=0))

# %% [markdown]
# *has* gets most of the probability. For a whole batch, `x @ head.T` does the same at every place
# of every text: (B, T, C) times (C, V) gives (B, T, V).

# %% [markdown]
# ### One sentence, every shape
#
# Now the real parts, small and not trained yet. The tokenizer is that of the course's stories: it
# knows 168 words and signs.

# %%
storyteller, tokenizer = load_pretrained("stories")
config = GPTConfig(vocab_size=168, context_length=16, d_model=32, n_layers=2, n_heads=4)
model = GPT(config, torch.Generator().manual_seed(0)).eval()

ids = torch.tensor([tokenizer.encode("Mia has the ball. Mia")])
words = [tokenizer.token(i) for i in ids[0].tolist()]
print("tokens:", words)
print("ids:   ", ids.tolist())

# %% [markdown]
# Step by step, with the shape of everything that comes out. We keep each stage for the picture
# below.

# %%
stages = {}
stages["token vectors"] = model.token_embedding(ids)  # (B, T, C)
places = model.position_embedding(torch.arange(ids.shape[1]))  # (T, C)
x = stages["token vectors"] + places  # (B, T, C), the places broadcast over the batch
stages["with positions"] = x
for number, block in enumerate(model.blocks, start=1):
    x = block(x)  # (B, T, C)
    stages[f"after block {number}"] = x
stages["after the final norm"] = model.final_norm(x)  # (B, T, C)
stages["logits"] = stages["after the final norm"] @ model.output_weight.T  # (B, T, V)

# %%
print(f"{'ids':<22}{tuple(ids.shape)}")
for name, stage in stages.items():
    print(f"{name:<22}{tuple(stage.shape)}")

print("equal to the model's own:", torch.allclose(stages["logits"], model(ids)[0], atol=1e-6))

# %% [markdown]
# And drawn: one row for each token, one column for each number. Each picture has its own colours,
# from its smallest number to its largest. What to look for: the two rows of *Mia* in the first
# picture and in the second; and the one picture that is wider than the others.


# %%
def draw_stages(stages, names):
    """Draw each stage (1, T, ...) as a table of colours, with its shape above it."""
    widths = [1.0 if stage.shape[-1] < 100 else 2.2 for stage in stages.values()]
    figure, axes = plt.subplots(1, len(stages), figsize=(11, 2.6), width_ratios=widths)
    for axis, (name, stage) in zip(axes, stages.items(), strict=True):
        axis.imshow(stage[0].detach(), aspect="auto", interpolation="nearest")
        axis.set_title(f"{name}\n{tuple(stage.shape)}", fontsize=8)
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    axes[0].set_yticks(range(len(names)), names, fontsize=9)
    return figure


show_figure(
    draw_stages(stages, words),
    "Six tables of colours in a row, from the token vectors to the logits, each with six rows. The "
    "first five have 32 columns, the logits 168. The first and last row are alike in the first "
    "table only.",
)

# %% [markdown]
# *Mia* and *Mia* are one vector until the positions are added. The residual stream then runs from
# left to right: each block adds to it, and its width never changes. The head alone opens it up to
# the size of the vocabulary.

# %% [markdown]
# ### Exercise 1: the whole stack
#
# The four steps are named; write a line or two for each. The blocks and the norm come as functions
# that take (B, T, C) and give (B, T, C). Here one table of tokens serves at both ends: its rows are
# looked up at the start and are the rows of the head at the end. Section 4 says why.


# %% tags=["exercise"]
def forward_stack(ids, token_table, position_table, blocks, final_norm):
    """Send ids through the whole stack.

    Args:
        ids: tokens, integers of shape (B, T).
        token_table: shape (V, C), one row for each token; also the rows of the output head.
        position_table: shape (context_length, C), one row for each place, the first for place 0.
            T is at most context_length, and every text starts at place 0.
        blocks: a list of functions (B, T, C) -> (B, T, C), from the first to the last. Their
            residual sums are inside them. The list may be empty.
        final_norm: a function (B, T, C) -> (B, T, C).

    Returns:
        Logits of shape (B, T, V). Entry [b, t, v] is the dot product of the vector at place t of
        text b with row v of the token table. No softmax. No input is changed.
    """
    # Step 1: the token vectors, (B, T, C), plus the vectors of the first T places, (T, C).
    ### BEGIN SOLUTION
    x = token_table[ids] + position_table[: ids.shape[1]]  # (B, T, C)
    ### END SOLUTION
    # Step 2: the blocks, one after the other.
    ### BEGIN SOLUTION
    for block in blocks:
        x = block(x)  # (B, T, C)
    ### END SOLUTION
    # Step 3: the final norm.
    ### BEGIN SOLUTION
    x = final_norm(x)  # (B, T, C)
    ### END SOLUTION
    # Step 4: the head, a dot product with every row of the token table.
    ### BEGIN SOLUTION
    return x @ token_table.T  # (B, T, C) @ (C, V) -> (B, T, V)
    ### END SOLUTION


# %% tags=["check"]
check("model.forward_stack", forward_stack)

# %% [markdown]
# Stuck? `hint("model.forward_stack")` in a new cell shows one hint; run it again for the next one.
# The fourth time it shows a solution.

# %% [markdown]
# ## 2. The first loss is ln V
#
# A model that has learned nothing should say so: every token is as likely as any other, with the
# probability $1/V$. Its loss at every place is then
#
# $$-\ln \frac{1}{V} = \ln V$$
#
# $V$ is the size of the vocabulary. This is the cheapest test there is: one forward pass, before
# any training, and one number to compare with.
#
# **Predict:** what is the first loss of our model with its 168 tokens, in nats? ($e^5$ is about
# 148.)

# %%
my_guess = None  # a number
predict("model.first_loss", my_guess)

# %%
from llm_core.corpus import stories
from llm_core.data import get_batch

story_ids = torch.tensor(tokenizer.encode("\n".join(stories(300, seed=6))))
rng = torch.Generator().manual_seed(0)
inputs, targets = get_batch(story_ids, 32, 16, generator=rng)  # each (B, T)
_, loss = model(inputs, targets)  # the mean of -ln p over all places

reveal(
    "model.first_loss",
    outcome=round(loss.item(), 1),
    explanation="ln 168 = 5.12. The model knows nothing, and says so.",
)

# %% [markdown]
# For GPT-2, with 50,257 tokens, it is ln 50,257 = 10.8. A first loss far above ln V says that the
# start is wrong: the model is sure of something, and mistaken. Far below ln V, it has been told
# something that it should not know.

# %% [markdown]
# ## 3. The first numbers: why 0.02
#
# Where does that even ignorance come from? From the initialisation, the random numbers that a model
# starts with. GPT-2 draws every matrix from a normal distribution with mean 0 and standard
# deviation 0.02, and sets biases to 0 and gains to 1. (Its first code took 0.01 for the table of
# positions; we take 0.02 for that one, too, as most do today.)
#
# ### The wrong way: too large
#
# `torch.nn.Embedding` by itself draws with standard deviation 1. The helpers below draw all
# matrices of a model anew, with another standard deviation.


# %%
@torch.no_grad()
def redraw(model, std):
    """Draw all matrices of a model with standard deviation `std`, and return it."""
    rng = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=std, generator=rng)
    return model


def model_with_std(std, **sizes):
    """A new model whose matrices are all drawn with standard deviation `std`."""
    fields = {"vocab_size": 168, "context_length": 16, "n_layers": 2, "n_heads": 4, **sizes}
    return redraw(GPT(GPTConfig(**fields)), std)


@torch.no_grad()
def first_loss(model):
    return model(inputs, targets)[1].item()


# %%
print(f"ln V:     {math.log(168):.1f}")
for std in (0.02, 1.0):
    print(f"std {std:<4}: first loss {first_loss(model_with_std(std, d_model=128)):.0f}")

# %% [markdown]
# A loss of about 30 means that the right token had the probability $e^{-30}$. The model has learned
# nothing and is as good as certain, nearly always of a wrong token. Much of the training would go
# into taking that back.

# %% [markdown]
# ### Where it comes from
#
# The final norm gives each vector a mean square of 1. A logit is the dot product of that vector
# with a row of $C$ random numbers of standard deviation $\sigma$: a sum of $C$ terms, whose
# variances add up, as in `04_attention`. So the logits have the standard deviation $\sigma
# \sqrt{C}$.
#
# Spread costs loss, for softmax divides by the sum of all $e^{\text{logit}}$, and large logits add
# more to it than small ones take away. As long as the spread is moderate, the first loss is near
#
# $$\ln V + \frac{\sigma^2 C}{2}$$
#
# At GPT-2's width, $C = 768$, $\sigma = 0.02$ gives logits of standard deviation 0.55, and 0.15
# nats more than ln V. At $\sigma = 1$ the standard deviation is 28.
#
# What to look for: the dots on the dashed curve of their width, as long as it is near the line
# ln V; and where $\sigma = 0.02$ lies for each width.

# %%
stds = [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32]
figure, axis = plt.subplots(figsize=(6.4, 3.4))
for number, width in enumerate((64, 256, 768)):
    fresh = model_with_std(0.02, d_model=width, n_layers=1)
    losses = [first_loss(redraw(fresh, std)) for std in stds]
    theory = [math.log(168) + std**2 * width / 2 for std in stds]
    axis.loglog(stds, losses, "os^"[number], color=f"C{number}", label=f"C = {width}")
    axis.loglog(stds, theory, "--", color=f"C{number}", linewidth=1)
axis.axhline(math.log(168), color="0.4", linewidth=1)
axis.axvline(0.02, color="0.4", linewidth=1, linestyle=":")
axis.set(
    xlabel=r"standard deviation $\sigma$ (dotted: 0.02)", ylabel="first loss (nats)", ylim=(4, 30)
)
axis.set_xticks(stds, [str(std) for std in stds])
axis.set_yticks([5, 10, 20], ["5", "10", "20"])
axis.minorticks_off()
axis.legend(title="line: ln V")
show_figure(
    figure,
    "First loss against the standard deviation of the start, for three widths. Up to 0.02 all lie "
    "at ln V; then they rise along the dashed curves, the wide model first.",
)

# %% [markdown]
# Why not 0, where the loss is exactly ln V? Because then nothing can move:

# %%
dead = model_with_std(0.0, d_model=32)
_, loss = dead(inputs, targets)
loss.backward()

largest = max(p.grad.abs().max().item() for p in dead.parameters() if p.grad is not None)
print(f"first loss {loss.item():.2f}, largest gradient of any parameter: {largest:.2f}")

# %% [markdown]
# All vectors are zero, so no product passes a gradient on, and a hundred steps later it is the same
# model. 0.02 is small enough for an even start and large enough for every channel to be different.
# It suits widths of a few hundred to a few thousand; models that are much wider take less.

# %% [markdown]
# ### Deeper: why the residual projections start smaller
#
# Each block adds to the residual stream twice, once from attention and once from the feed-forward
# part. With $L$ blocks these are $2L$ random terms, and a sum of $2L$ independent terms spreads
# $\sqrt{2L}$ times as far as one. In a deep model, what the first blocks wrote would be a whisper
# under all the rest.
#
# GPT-2 therefore starts the two matrices that write into the stream, `attention.out` and
# `feed_forward.down` (the **residual projections**), smaller by $1/\sqrt{2L}$.
#
# What to look for: how the two curves grow from the first block to the last.


# %%
@torch.no_grad()
def spread_by_layer(model):
    """Standard deviation of the residual stream before the first block and after each."""
    stream = model.embed(inputs)  # (B, T, C)
    spreads = [stream.std().item()]
    for block in model.blocks:
        stream = block(stream)
        spreads.append(stream.std().item())
    return spreads


deep = GPTConfig(vocab_size=168, context_length=16, d_model=128, n_layers=48, n_heads=4)
scaled = GPT(deep, torch.Generator().manual_seed(0))
unscaled = GPT(deep, torch.Generator().manual_seed(0))
with torch.no_grad():
    for block in unscaled.blocks:
        for layer in (block.attention.out, block.feed_forward.down):
            layer.weight.mul_(math.sqrt(2 * deep.n_layers))  # take the scaling back

# %%
spreads = {"all 0.02": spread_by_layer(unscaled), r"with $1/\sqrt{2L}$": spread_by_layer(scaled)}

figure, axis = plt.subplots(figsize=(6, 3))
for style, (name, spread) in zip(("s-", "o-"), spreads.items(), strict=True):
    axis.plot(spread, style, label=name, markevery=6)
axis.set(xlabel="blocks passed", ylabel="standard deviation", title="The residual stream")
axis.set(ylim=(0, None))
axis.legend()
show_figure(
    figure,
    "Spread of the residual stream over 48 blocks: without scaling it grows to many times its "
    "start, with scaling it hardly grows.",
)

# %%
growth = [spread[-1] / spread[0] for spread in spreads.values()]
print("without scaling it grows more than 8 times:", growth[0] > 8)
print("with scaling, less than twice:             ", growth[1] < 2)

# %% [markdown]
# ### Exercise 2: how each parameter starts
#
# Write GPT-2's rule as a function of a parameter's name and shape.


# %% tags=["exercise"]
def init_std(name, shape, n_layers):
    """Say with which standard deviation GPT-2 draws a parameter at the start.

    Args:
        name: the parameter's name, such as "blocks.3.attention.out.weight".
        shape: its shape, a tuple: (n,) for a vector, (n, m) for a matrix.
        n_layers: number of blocks in the model.

    Returns:
        A float. 0.0 for a vector: a bias or a gain is set to 0 or 1, not drawn. For a residual
        projection, whose name ends in "attention.out.weight" or "feed_forward.down.weight":
        0.02 divided by the root of 2 * n_layers. For every other matrix: 0.02.

    Example:
        init_std("blocks.3.attention.out.weight", (64, 64), 8) is 0.02 / 4 = 0.005.
    """
    # A vector.
    ### BEGIN SOLUTION
    if len(shape) == 1:
        return 0.0
    ### END SOLUTION
    # A residual projection. (name.endswith takes a tuple of endings, too.)
    ### BEGIN SOLUTION
    if name.endswith(("attention.out.weight", "feed_forward.down.weight")):
        return 0.02 / math.sqrt(2 * n_layers)
    ### END SOLUTION
    # Any other matrix.
    ### BEGIN SOLUTION
    return 0.02
    ### END SOLUTION


# %% tags=["check"]
check("model.init_std", init_std)

# %% [markdown]
# ### Take it away: what a good start is worth
#
# Two models, equal but for the standard deviation, trained for 60 steps. `Trainer` is the course's
# training loop; `07_training` takes it apart, here it is a tool. The optimizer inside, AdamW,
# is the rule that turns gradients into steps. `trainer.on("step", f)` asks the loop to call `f`
# after every step, with the trainer itself; our `f` notes the loss.

# %%
from llm_core.training import TrainConfig, Trainer

torch.set_num_threads(1)  # so small a model gains nothing from two cores


def losses_from_start(std, n_steps=60):
    """Train a small model from this standard deviation; return the loss at every step."""
    model, losses = model_with_std(std, d_model=32), []
    rng = torch.Generator().manual_seed(2)
    trainer = Trainer(
        model,
        lambda: get_batch(story_ids, 8, 16, generator=rng),
        TrainConfig(n_steps=n_steps, max_lr=0.01),
        progress=False,
    )
    trainer.on("step", lambda t: losses.append(t.loss))
    trainer.run()
    return losses


curves = {std: losses_from_start(std) for std in (0.02, 1.0)}

# %% [markdown]
# What to look for: where each curve begins, and how long the upper one needs to get to where the
# lower one starts.

# %%
figure, axis = plt.subplots(figsize=(6, 3))
for style, (std, losses) in zip(("-", "--"), curves.items(), strict=True):
    axis.plot(losses, style, label=f"start with {std}")
axis.axhline(math.log(168), color="0.4", linewidth=1, label="ln V")
axis.set(xlabel="training step", ylabel="loss (nats per token)", ylim=(0, None))
axis.legend()
show_figure(
    figure,
    "Loss against step from two starts. From 0.02 it begins at ln V and falls at once; from 1 it "
    "begins far above, needs many steps to reach ln V, and stays above the other curve.",
)

# %%
print("the good start is ahead at the end:", curves[0.02][-1] < curves[1.0][-1])
late = next(step for step, loss in enumerate(curves[1.0]) if loss < math.log(168))
print("the bad one needs more than 5 steps to reach ln V:", late > 5)

# %% [markdown]
# ## 4. One table for both ends: weight tying
#
# The token table holds a row for each token: what the token means when it comes in. The output head
# holds a row for each token as well: what to look for when it should come out. **Weight tying**
# uses one and the same matrix for both (Press and Wolf 2017). GPT-2 does, and so does `GPT` unless
# you say `tie_weights=False`.
#
# ### What it saves
#
# A matrix of $V \cdot C$ numbers. For a small model with a large vocabulary that is a good part of
# everything. A **preset** is the config of a known model under its name; `PRESETS` holds the
# course's. On torch's **meta device** a model has shapes and no numbers, so that even a huge one
# can be built and counted.

# %%
from dataclasses import replace
from functools import cache

from llm_core.model import PRESETS, count_parameters


@cache  # each config is built once, however often we ask
def size_of(config):
    """Number of parameters of a model, which is built without its numbers."""
    with torch.device("meta"):
        return count_parameters(GPT(config))


for name in ("storyteller", "gpt2", "gpt2-xl"):
    tied, untied = (size_of(replace(PRESETS[name], tie_weights=tie)) for tie in (True, False))
    print(f"{name:<12} tied {tied / 1e6:>8,.1f} million, untied {untied / 1e6:>8,.1f} million")

# %% [markdown]
# GPT-2 small would be almost a third larger. For large models the table is a small share, and many,
# such as Llama, keep two.

# %% [markdown]
# ### Two paths for the gradient
#
# A parameter that is used twice gets two gradients, and they **add up**. To see both, here is a
# model with two tables that hold the same numbers.

# %%
tied = GPT(config, torch.Generator().manual_seed(0))
untied = GPT(replace(config, tie_weights=False))
same = {**tied.state_dict(), "head.weight": tied.token_embedding.weight}
_ = untied.load_state_dict(same)

for each in (tied, untied):
    each(inputs, targets)[1].backward()

from_look_up = untied.token_embedding.weight.grad  # (V, C)
from_head = untied.head.weight.grad  # (V, C)
print("the tied gradient is the sum:", end=" ")
print(torch.allclose(tied.token_embedding.weight.grad, from_look_up + from_head, atol=1e-6))

# %% [markdown]
# The two reach different rows. The look-up sends a gradient to the rows of the tokens in the text
# and to no other. The head computes a logit for every token, so every row gets one.

# %%
print("tokens in the batch:         ", len(inputs.unique()))
print("rows reached by the look-up: ", int((from_look_up != 0).any(dim=1).sum()))
print("rows reached by the head:    ", int((from_head != 0).any(dim=1).sum()))

# %% [markdown]
# ### Exercise 3: the gradient of a tied table
#
# Compute both parts by hand and add them. The gradients of the two uses are given; what is left is
# to bring them to the right rows. Mind the tokens that occur more than once.


# %% tags=["exercise"]
def tied_gradient(ids, grad_vectors, outputs, grad_logits):
    """Add up the two gradients that reach a table of tokens used at both ends.

    The table has shape (V, C). It was used as vectors = table[ids] at the start and as
    logits = outputs @ table.T at the end.

    Args:
        ids: tokens, integers of shape (B, T).
        grad_vectors: gradient of the loss for each looked-up vector, shape (B, T, C).
        outputs: what the head was given, shape (B, T, C).
        grad_logits: gradient of the loss for each logit, shape (B, T, V).

    Returns:
        The gradient of the table, shape (V, C), in the dtype of `outputs`. Row v is the sum, over
        all b and t, of grad_logits[b, t, v] * outputs[b, t], plus the sum of grad_vectors[b, t]
        over all b and t with ids[b, t] == v. Nothing is averaged, and no input is changed.
    """
    # Part 1: the head. Every place of every text adds to every row.
    ### BEGIN SOLUTION
    gradient = torch.einsum("btv,btc->vc", grad_logits, outputs)  # (V, C)
    ### END SOLUTION
    # Part 2: the look-up. Each token adds to its own row, as often as it occurs.
    ### BEGIN SOLUTION
    flat_ids, flat_vectors = ids.flatten(), grad_vectors.flatten(0, 1)  # (B*T,), (B*T, C)
    return gradient.index_add(0, flat_ids, flat_vectors)
    ### END SOLUTION


# %% tags=["check"]
check("model.tied_gradient", tied_gradient)

# %% [markdown]
# ### What an untrained tied model says
#
# At the end of the stack, the vector of a place is compared with every row of the table, among them
# the row of the token that stands there. The residual stream has carried that very row to the end,
# with a little noise from the blocks.
#
# **Predict:** at which share of the places does an untrained, tied model give the highest logit to
# the token that it has just read? (0 is never, 1 is always.)

# %%
my_guess = None  # from 0 to 1
predict("model.repeats", my_guess)

# %%
fresh = GPT(PRESETS["storyteller"], torch.Generator().manual_seed(0)).eval()
logits, _ = fresh(inputs)
repeats = (logits.argmax(dim=-1) == inputs).float().mean().item()

reveal(
    "model.repeats",
    outcome=round(repeats, 1),
    explanation="Each vector still points towards its own row, so an untrained tied model repeats "
    "what it reads. With two tables it would do so as rarely as chance.",
)

# %% [markdown]
# It is a weak preference, and costs next to nothing: the first loss stays near ln V. Training
# undoes it in a few steps.

# %% [markdown]
# ## 5. Nothing from the future, tested from outside
#
# The mask of `04_attention` forbids each token to look ahead. But does the whole model obey?
# Between ids and logits there are norms, sums and reshapes, and one wrong axis anywhere lets the
# future in, as `05_block` showed for one part. The loss would only look better for it.
#
# So we test from **outside**, as a stranger who sees ids go in and logits come out: change one
# token, and watch which logits move. Before the changed token, none may.

# %%
text = "One day Mia found a red ball. Then Mia gave the red ball to Tom."
ids = torch.tensor([tokenizer.encode(text)])
words = [tokenizer.token(i) for i in ids[0].tolist()]


@torch.no_grad()
def moved_logits(model, ids):
    """(T, T): how far the logits at place s move at most when the token at place t changes."""
    T = ids.shape[1]
    before = model(ids)  # (1, T, V)
    table = torch.zeros(T, T)
    for t in range(T):
        changed = ids.clone()
        changed[0, t] = (ids[0, t] + 1) % 168  # any other token
        table[t] = (model(changed) - before)[0].abs().amax(dim=-1)  # (T,)
    return table


# %% [markdown]
# ### The wrong way: one wrong axis
#
# For comparison, a model with a bug that is easy to write: its final norm takes mean and variance
# over the **text** in place of the vector, `dim=1` for `dim=-1`. Shapes agree, nothing is raised,
# and it trains.


# %%
def ours(ids):
    return storyteller(ids)[0]


def leaky(ids):
    """The same model with a final norm over the wrong axis."""
    x = storyteller.embed(ids)  # (B, T, C)
    for block in storyteller.blocks:
        x = block(x)
    centred = x - x.mean(dim=1, keepdim=True)  # over the text
    x = centred / centred.square().mean(dim=1, keepdim=True).add(1e-5).sqrt()
    return x @ storyteller.output_weight.T  # (B, T, V)


# %% [markdown]
# What to look for: the half to the left of the diagonal, where a place comes **before** the changed
# token. Hatched means that no logit moved there.

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.6, 4.6))
for axis, model_, title in zip(axes, (ours, leaky), ("ours", "norm over the text"), strict=True):
    moved = moved_logits(model_, ids)
    shown = moved.clamp(min=1e-4).log10().masked_fill(moved <= 1e-4, float("nan"))
    axis.patch.set(facecolor="0.9", edgecolor="0.6", hatch="////")
    image = axis.imshow(shown, vmin=-2, vmax=1)
    axis.set_xticks(range(len(words)), words, rotation=90, fontsize=8)
    axis.set_yticks(range(len(words)), words, fontsize=8)
    axis.set(xlabel="logits at this place", ylabel="changed token", title=title)
    axis.grid(False)
bar = figure.colorbar(image, ax=axes, shrink=0.8)
bar.set_ticks([-2, -1, 0, 1], labels=["0.01", "0.1", "1", "10"])
bar.set_label("largest move of a logit")
show_figure(
    figure,
    "Two tables of how far logits move. Ours: everything left of the diagonal, before the changed "
    "token, is hatched. With the norm over the text, every place moves, earlier ones too.",
)

# %%
for name, model_ in (("ours", ours), ("norm over the text", leaky)):
    earlier = moved_logits(model_, ids).tril(-1).max().item()
    print(f"{name:<20} an earlier logit moves: {earlier > 1e-4}")

# %% [markdown]
# ### Exercise 4: a test for leaks
#
# Write the test so that no model gets past it: every position, every token that could stand there.


# %% tags=["exercise"]
def leaks_future(model, ids, vocab_size):
    """Say whether a model lets a later token move an earlier logit.

    Args:
        model: a function from ids (B, T) to logits (B, T, V). It is the same on every call.
        ids: a text for the test, integers of shape (B, T). They may be all the same, and T may
            be 1, where nothing can leak.
        vocab_size: V; ids run from 0 to V - 1.

    Returns:
        True if, for some position t and some id, putting that id at position t (of all B texts)
        moves any logit at any position before t by more than 1e-4, up or down; else False.
        Smaller moves are rounding. `ids` itself is not changed.
    """
    ### BEGIN SOLUTION
    before = model(ids)  # (B, T, V)
    for t in range(1, ids.shape[1]):
        for other in range(vocab_size):
            changed = ids.clone()
            changed[:, t] = other
            moved = (model(changed) - before)[:, :t].abs().max().item()
            if moved > 1e-4:
                return True
    return False
    ### END SOLUTION


# %% tags=["check"]
check("model.leaks_future", leaks_future)

# %% [markdown]
# ## 6. The same class, other weights
#
# A new model speaks noise. Here it begins where the storyteller of `00_start_here` begins: the same
# class, the same config, other numbers.

# %%
from llm_core.sampling import generate

beginning = torch.tensor([tokenizer.encode("Once there was a")])
for name, speaker in (("untrained", fresh), ("trained", storyteller)):
    rng = torch.Generator().manual_seed(1)
    story = generate(speaker, beginning, 26, temperature=0.8, generator=rng)
    print(textwrap.fill(f"{name}: {tokenizer.decode(story[0].tolist())}", width=80) + "\n")

# %% [markdown]
# And at temperature 0, where the likeliest token is always taken, the untrained one does what
# section 4 found:

# %%
stuck = generate(fresh, beginning, 8, temperature=0)
print(tokenizer.decode(stuck[0].tolist()))

# %% [markdown]
# ### All that was learned: names and tensors
#
# Everything that training changed is in the model's **state dict**, a dictionary from names to
# tensors. What is *not* in it is the code.

# %%
weights = storyteller.state_dict()
print(len(weights), "tensors, among them")
for name in list(weights)[:3] + list(weights)[-2:]:
    print(f"  {name:<36}{tuple(weights[name].shape)}")

# %% [markdown]
# So a model on disk is three files: the **config** (which shape), the **weights** (which numbers)
# and the **tokenizer** (which text an id stands for). Weights without the other two are useless.

# %%
from llm_core.pretrained import save_pretrained

scratch = tempfile.TemporaryDirectory()  # gone when this notebook's kernel ends
folder = Path(scratch.name)
save_pretrained(folder, storyteller, tokenizer)
for file in sorted(folder.iterdir()):
    print(f"{file.name:<20}{file.stat().st_size:>10,} bytes")

# %% [markdown]
# The numbers are in **safetensors**, a format that holds tensors and nothing else. Python's own
# way, `pickle`, can run any code that somebody has put into the file; never open a stranger's.
# Loading gives back the same model:

# %%
loaded, _ = load_pretrained(folder)
print("same logits:", torch.equal(loaded(ids)[0], storyteller(ids)[0]))

# %% [markdown]
# With another config the numbers do not fit, and the loader says so before anything is changed.

# %%
from llm_core import files

files.write_json(folder / "config.json", {**storyteller.config.to_dict(), "d_model": 64})
try:
    load_pretrained(folder)
except ValueError as error:
    print(str(error).replace(str(folder), "folder"))

# %% [markdown]
# ## 7. How large is it? Counting parameters
#
# Now the costs. First the parameters of GPT-2's layout, part by part; $F$ = `d_ff` is the hidden
# width of the feed-forward part.
#
# | Part | Shapes | How often |
# |---|---|---|
# | token table | (V, C) | once |
# | position table | (context_length, C) | once |
# | query, key, value, out | (C, C) and a bias (C,), four times | in each block |
# | up | (F, C) and a bias (F,) | in each block |
# | down | (C, F) and a bias (C,) | in each block |
# | two norms | gain (C,) and shift (C,), twice | in each block |
# | final norm | gain (C,) and shift (C,) | once |
# | output head | (V, C), no bias, unless it is tied | once |

# %% [markdown]
# ### Exercise 5: count the parameters
#
# To the last one. A count that is right to three digits hides a forgotten bias, and a forgotten
# bias is a model that does not load.


# %% tags=["exercise"]
def parameter_count(vocab_size, context_length, d_model, n_layers, d_ff, tied):
    """Count the parameters of a model of GPT-2's layout, as in the table above.

    Args:
        vocab_size, context_length, d_model, n_layers, d_ff: the sizes, whole numbers.
        tied: True when the output head is the token table, False when it has a matrix of its own.

    Returns:
        The number of parameters, an int. A tied table counts once.

    Example:
        With all sizes 1 and tied: the tables 2, attention 8, up and down 4, the norms of the block
        4 and the final norm 2, together 20.
    """
    ### BEGIN SOLUTION
    attention = 4 * (d_model * d_model + d_model)
    feed_forward = (d_ff * d_model + d_ff) + (d_model * d_ff + d_model)
    norm = 2 * d_model
    block = attention + feed_forward + 2 * norm
    table = vocab_size * d_model
    total = table + context_length * d_model + n_layers * block + norm
    return total if tied else total + table
    ### END SOLUTION


# %% tags=["check"]
check("model.parameter_count", parameter_count)

# %% [markdown]
# `llm_core` counts by part for every variant, Llama's too. The count by hand must equal torch's to
# the last parameter.

# %%
from llm_core.costs import parameters_by_part

names = [name for name in PRESETS if name != "tiny"]
for name in names:
    by_hand = sum(parameters_by_part(PRESETS[name]).values())
    print(f"{name:<12} {by_hand:>15,}  equal to torch's: {by_hand == size_of(PRESETS[name])}")

# %% [markdown]
# What to look for: the largest part of each bar, and what becomes of the token table from GPT-2
# small to GPT-3.


# %%
def draw_shares(count, title):
    """Draw, for each preset, the share of each part that `count` returns."""
    figure, axis = plt.subplots(figsize=(8, 3.2))
    left = [0.0] * len(names)
    parts = count(PRESETS[names[0]])
    hatches = ["", "//", "..", "xx", "--", "\\\\"]
    for part, hatch in zip(parts, hatches, strict=False):
        counts = [count(PRESETS[name]) for name in names]
        shares = [c[part] / sum(c.values()) for c in counts]
        axis.barh(names, shares, left=left, label=part, hatch=hatch, edgecolor="white")
        left = [a + b for a, b in zip(left, shares, strict=True)]
    axis.invert_yaxis()
    axis.set(xlabel=f"share of all {title}", xlim=(0, 1))
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


show_figure(
    draw_shares(parameters_by_part, "parameters"),
    "Shares of the parameters by part. The feed-forward parts are the largest everywhere. The "
    "token table is almost a third of GPT-2 small and vanishes in GPT-3; norms never show.",
)

# %% [markdown]
# ## 8. How much work is it? Counting operations
#
# A **FLOP** is one floating-point operation: one addition or one multiplication. (FLOPs is the
# plural. FLOP/s, per second, is the speed of a machine.) A matrix of shape $(m, n)$ times a vector
# takes $m \cdot n$ multiplications and as many additions, up to $m$. A multiplication with its
# addition is a **multiply-add**; it counts as two FLOPs.
#
# By hand, for a matrix of shape (2, 3):

# %%
matrix, vector = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [1.0, 0.0, 2.0]
flops, product = 0, []
for row in matrix:
    total = 0.0
    for a, b in zip(row, vector, strict=True):
        total = total + a * b  # one multiplication, one addition
        flops += 2
    product.append(total)

print(product, "with", flops, "FLOPs = 2 · 2 · 3")

# %% [markdown]
# torch can count by itself: `FlopCounterMode` watches every product that runs. On the way back each
# product $y = Wx$ becomes two: one for the gradient of $x$, one for the gradient of $W$. So the
# backward pass takes twice the work of the forward pass.

# %%
from torch.utils.flop_counter import FlopCounterMode

layer = nn.Linear(300, 200)
one_token = torch.randn(1, 300, requires_grad=True)
with FlopCounterMode(display=False) as forward:
    output = layer(one_token)
with FlopCounterMode(display=False) as backward:
    output.sum().backward()

print("forward: ", forward.get_total_flops(), "= 2 · 300 · 200")
print("backward:", backward.get_total_flops(), "= twice that")

# %% [markdown]
# For one token, with the whole context of $T$ tokens before it, a layer multiplies
#
# - with four (C, C) matrices: query, key, value and out,
# - the query with T keys, and the T weights with T values: two products of size $T \cdot C$,
# - with up and down, $C \cdot F$ each.
#
# At the end stands the head, $C \cdot V$. The look-up multiplies nothing. Norms, activations,
# biases and softmax are small beside it and left out. **The convention:** every query counts all T
# keys, as torch's counter does; a causal kernel that skips the future does half of that part.

# %% [markdown]
# ### Exercise 6: count the operations


# %% tags=["exercise"]
def flop_count(vocab_size, context_length, d_model, n_layers, d_ff):
    """Count the FLOPs for one token in a model of GPT-2's layout, forward and backward.

    Args:
        vocab_size, context_length, d_model, n_layers, d_ff: the sizes, whole numbers. The token
            looks at context_length keys.

    Returns:
        (forward, backward), two ints, in this order. Only the products of the list above count,
        each (n, m) matrix 2 * n * m. The backward pass does two products for each of the forward
        pass.
    """
    ### BEGIN SOLUTION
    projections = 2 * 4 * d_model * d_model
    attention = 2 * 2 * context_length * d_model
    feed_forward = 2 * 2 * d_model * d_ff
    head = 2 * d_model * vocab_size
    forward = n_layers * (projections + attention + feed_forward) + head
    return forward, 2 * forward
    ### END SOLUTION


# %% tags=["check"]
check("model.flop_count", flop_count)

# %% [markdown]
# **Predict:** in GPT-2 small (12 layers, C = 768, F = 4·C, T = 1,024, V = 50,257), which share of
# the forward pass are the scores and the mixing of attention, the part that grows with the length
# of the text?

# %%
my_guess = None  # from 0 to 1
predict("model.scores_share", my_guess)

# %%
from llm_core.costs import flops_by_part, flops_per_token, training_flops_per_token

parts = flops_by_part(PRESETS["gpt2"])
reveal(
    "model.scores_share",
    outcome=round(parts["scores and mixing"] / sum(parts.values()), 2),
    explanation="T is only a little larger than C here, and a layer has 12·C² for the matrices "
    "against 2·T·C for the scores. At 100 times the length it would be nearly everything.",
)

# %% [markdown]
# In a layer alone it is 0.18; the head, which counts in the whole, makes it less.
#
# And now against torch, for every preset and a text that fills the context. (On the meta device it
# computes no number, but goes through all the products.) The blocks of a model are all alike: torch
# counts one block and two, and the difference is what each further block costs.


# %%
@torch.no_grad()
def counted_flops(config):
    """FLOPs of a forward pass over one full text, as torch counts them, for each token."""
    with torch.device("meta"):
        model = GPT(config)
        ids = torch.zeros(1, config.context_length, dtype=torch.long)
    with FlopCounterMode(display=False) as counter:
        model(ids)
    return counter.get_total_flops() / config.context_length


def measured_flops(config):
    """The same for a model of any depth, from one block and from two."""
    one, two = (counted_flops(replace(config, n_layers=n)) for n in (1, 2))
    return one + (config.n_layers - 1) * (two - one)


# %%
measured = {name: measured_flops(PRESETS[name]) for name in names}

# %%
for name in names:
    ratio = flops_per_token(PRESETS[name]) / measured[name]
    print(f"{name:<12} {flops_per_token(PRESETS[name]) / 1e9:>9,.3f} GFLOPs, ratio {ratio:.3f}")

# %% [markdown]
# A GFLOP is a billion. The backward pass, on a model with numbers in it:

# %%
storyteller_copy = GPT(PRESETS["storyteller"])
full = story_ids[:100][None]  # (1, T), a text that fills the context
with FlopCounterMode(display=False) as both:
    # Asked for its weights, attention takes the path by hand, whose products the counter sees.
    storyteller_copy(full, targets=full, return_weights=True)[1].backward()

by_hand = training_flops_per_token(PRESETS["storyteller"]) * full.numel()
print(f"forward and backward, by hand and measured: ratio {by_hand / both.get_total_flops():.3f}")

# %% [markdown]
# What to look for: compare with the shares of the parameters. Which part works harder than its
# size?

# %%
show_figure(
    draw_shares(flops_by_part, "operations"),
    "Shares of the operations by part. The output head takes a fourth or more of GPT-2 small and "
    "next to nothing of GPT-3; scores and mixing take about a tenth, least in GPT-3.",
)

# %% [markdown]
# ### A rule of thumb, and where it fails
#
# In a large model nearly every parameter is used once for each token, 2 FLOPs forward and 4
# backward: **6 FLOPs a parameter and token** for training. What to look for below: where the ratio
# is near 1, and where not.

# %%
for name in names:
    exact = training_flops_per_token(PRESETS[name])
    rule = 6 * size_of(PRESETS[name])
    print(f"{name:<12} rule / exact = {rule / exact:.2f}")

# %% [markdown]
# The rule forgets the scores, which have no parameters, and counts tables that are only looked up.
# For GPT-3 it is off by 3 %, which is why people use it. With 300 billion tokens of training, it
# says $6 \cdot 175 \cdot 10^9 \cdot 300 \cdot 10^9 \approx 3 \cdot 10^{23}$ FLOPs. A laptop with
# $10^{11}$ FLOP/s would need a hundred thousand years.

# %% [markdown]
# ## 9. Does it fit? Counting memory
#
# Training holds four things in memory:
#
# - the **weights**, N numbers;
# - their **gradients**, N numbers;
# - the **optimizer state**: AdamW keeps a running mean of each gradient and one of its square, 2·N
#   numbers;
# - the **activations**: what the forward pass computes and the backward pass needs again. They grow
#   with the number of tokens in the batch.
#
# A 32-bit float takes 4 bytes. Measured on the storyteller after one step:

# %%
trained = GPT(PRESETS["storyteller"])
optimizer = torch.optim.AdamW(trained.parameters())
x8, y8 = get_batch(story_ids, 8, 100, generator=torch.Generator().manual_seed(0))
trained(x8, targets=y8)[1].backward()
optimizer.step()

parameters = list(trained.parameters())
moments = [s[key] for s in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
measured_bytes = {
    "weights": sum(p.nbytes for p in parameters),
    "gradients": sum(p.grad.nbytes for p in parameters),
    "optimizer state": sum(m.nbytes for m in moments),
}

# %%
from llm_core.costs import measure_saved_bytes, training_memory

by_hand = training_memory(PRESETS["storyteller"], batch_size=8, bytes_per_number=4)
for name, n_bytes in measured_bytes.items():
    print(f"{name:<16} {n_bytes:>12,} bytes, equal to by hand: {n_bytes == by_hand[name]}")

# %% [markdown]
# ### What the backward pass needs again
#
# The gradient of $W$ in $y = Wx$ needs $x$. So torch keeps $x$ until the backward pass has used it,
# and so for every step. A **hook** is a function of ours that torch calls at such a moment. Here it
# tells us the shape of everything that is kept, for a feed-forward part alone.

# %%
from llm_core.block import FeedForward

part = FeedForward(GPTConfig(vocab_size=5, d_model=8))
own = {parameter.data_ptr() for parameter in part.parameters()}  # where the weights lie


def tell(tensor):
    if tensor.data_ptr() not in own:
        print("kept:", tuple(tensor.shape))
    return tensor


with torch.autograd.graph.saved_tensors_hooks(tell, lambda tensor: tensor):
    _ = part(torch.randn(6, 8))  # six tokens

# %% [markdown]
# The input of `up` (8 numbers a token), the input of GELU (32), and its output, which is the input
# of `down` (32). Weights are needed again too, but they are there anyway. Add this up for every
# part of a layer of GPT-2, and you have $16\,C$ numbers a token, and a few small ones.

# %%
kept = measure_saved_bytes(trained, lambda: trained(x8, targets=y8))
ratio = by_hand["activations"] / kept
print(f"activations: {kept:,} bytes kept by torch, by hand / measured = {ratio:.2f}")

# %% [markdown]
# The rest is the ids themselves. Now for the presets, training with one text at a time (a batch of
# 1), in 32-bit floats. A gigabyte, GB, is a billion bytes.

# %%
columns = ("weights", "gradients", "optimizer", "activations", "all")
print(" " * 12 + "".join(f"{column:>13}" for column in columns))
for name in names:
    memory = training_memory(PRESETS[name], batch_size=1)
    gigabytes = [n_bytes / 1e9 for n_bytes in (*memory.values(), sum(memory.values()))]
    print(f"{name:<12}" + "".join(f"{number:>13,.3f}" for number in gigabytes), "GB")

# %% [markdown]
# GPT-3 takes almost 3,000 GB for one text at a time: 37 cards of 80 GB. How such models are spread
# over many cards is the subject of a later chapter.

# %% [markdown]
# ### Exercise 7: the largest batch that fits


# %% tags=["exercise"]
def largest_batch(
    memory_bytes, n_parameters, activations_per_token, context_length, bytes_per_number
):
    """Say how many texts can be trained on at once with AdamW.

    Args:
        memory_bytes: what the machine has, in bytes.
        n_parameters: parameters of the model.
        activations_per_token: numbers that the forward pass keeps for each token.
        context_length: tokens in each text; every text is this long.
        bytes_per_number: bytes that one number takes, the same for all four kinds of memory.

    Returns:
        The largest number of texts, an int, for which weights, gradients, the two running means
        of AdamW and the activations of all texts together fit into memory_bytes (which may be
        filled to the last byte). 0 when not even one fits.

    Example:
        largest_batch(1000, 10, 5, 4, 2): the model takes 4 · 10 · 2 = 80 bytes, a text
        5 · 4 · 2 = 40, and (1000 - 80) / 40 = 23.
    """
    ### BEGIN SOLUTION
    fixed = 4 * n_parameters * bytes_per_number  # weights, gradients, two running means
    per_text = activations_per_token * context_length * bytes_per_number
    return max(0, (memory_bytes - fixed) // per_text)
    ### END SOLUTION


# %% tags=["check"]
check("model.largest_batch", largest_batch)

# %% [markdown]
# ### Move through the sizes
#
# The explorer below counts as you have: parameters and memory by part, operations, and what fits on
# a laptop and on two graphics cards. **Things to try:**
#
# 1. Start from *GPT-2 small* and double the width, then the layers. Which quadruples the blocks?
# 2. Find the largest width that a 24 GB card can train with 12 layers. What stops you, weights or
#    activations?
# 3. Stretch the context to its end. Which bars grow, and which do not move?
# 4. Take *Llama 1B* and give it as many key/value heads as heads. What does it cost?
# 5. Choose 7 heads. What happens, and why?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.model import ModelExplorer

ModelExplorer("gpt2")

# %% [markdown]
# ## 10. Capacity: wide, deep, or many heads?
#
# The **capacity** of a model is how much it can hold, and parameters are its usual measure. But the
# same number can be spent in many ways: on width, on depth, or cut into more heads. We train five
# shapes of about 31,000 parameters on the same stories, for the same number of tokens, and compare
# the loss on stories that none has seen. Each shape three times, with three **seeds** (starts of
# the random numbers), to see how much is chance.

# %%
SHAPES = {  # layers, width, heads, d_ff
    "1 layer, 48 wide, 4 heads": (1, 48, 4, 134),
    "2 layers, 32 wide, 4 heads": (2, 32, 4, 128),
    "4 layers, 24 wide, 4 heads": (4, 24, 4, 85),
    "2 layers, 32 wide, 1 head": (2, 32, 1, 128),
    "2 layers, 32 wide, 8 heads": (2, 32, 8, 128),
}
STEPS, BATCH, CONTEXT, SEEDS = 60, 8, 32, 3


def config_of(layers, width, heads, d_ff):
    sizes = {"n_layers": layers, "d_model": width, "n_heads": heads, "d_ff": d_ff}
    return GPTConfig(vocab_size=168, context_length=CONTEXT, positions="rotary", **sizes)


# %%
for name, shape in SHAPES.items():
    n_parameters = size_of(config_of(*shape))
    print(f"{name:<28} {n_parameters:,} parameters")

# %% [markdown]
# `d_ff` was chosen so that all come out nearly equal. **Predict:** after 15,000 tokens, which depth
# has the lowest loss, 1, 2 or 4 layers?

# %%
my_guess = None  # 1, 2 or 4
predict("model.depth", my_guess)

# %%
train_ids = torch.tensor(tokenizer.encode("\n".join(stories(1500, seed=1))))
val_ids = torch.tensor(tokenizer.encode("\n".join(stories(300, seed=2))))
val_batch = get_batch(val_ids, 128, CONTEXT, generator=torch.Generator().manual_seed(0))


def validation_loss(shape, seed):
    """Train a model of this shape from this seed; return its loss on unseen stories."""
    model = GPT(config_of(*shape), torch.Generator().manual_seed(seed))
    rng = torch.Generator().manual_seed(100 + seed)
    trainer = Trainer(
        model,
        lambda: get_batch(train_ids, BATCH, CONTEXT, generator=rng),
        TrainConfig(n_steps=STEPS, max_lr=0.01, eval_interval=STEPS),
        validation=[val_batch],
        progress=False,
    )
    trainer.run()
    return trainer.val_loss


# %% tags=["nbval-ignore-output"]
runs = [(name, seed) for name in SHAPES for seed in range(SEEDS)]
losses = {name: [] for name in SHAPES}
for name, seed in tqdm(runs, desc="training", file=sys.stdout):
    losses[name].append(validation_loss(SHAPES[name], seed))

# %%
means = {name: sum(values) / len(values) for name, values in losses.items()}
best = min(list(SHAPES)[:3], key=means.get)
reveal(
    "model.depth",
    outcome=SHAPES[best][0],
    explanation="In so short a training the shallow, wide model learns fastest. Read on before you "
    "conclude anything from it.",
)

# %% [markdown]
# What to look for: each dot is one seed. Compare the distance between shapes with the distance
# between dots of one shape.

# %%
figure, axis = plt.subplots(figsize=(8, 3.6))
for place, values in enumerate(losses.values()):
    beside = [place + 0.08 * (seed - 1) for seed in range(SEEDS)]  # so that no dot hides another
    axis.plot(beside, values, "oC0" if place < 3 else "sC1")
axis.set_xticks(range(len(SHAPES)), [name.replace(", ", "\n") for name in SHAPES])
axis.axvline(2.5, color="0.6", linewidth=1)
axis.set(ylabel="validation loss (nats per token)", xlim=(-0.5, 4.5))
axis.set_title("Equal parameters, equal tokens, three seeds each")
show_figure(
    figure,
    "Validation loss of five shapes, three dots each. Left: the loss rises from one layer to two "
    "and to four, each step larger than the spread of the dots. Right: one and eight heads lie "
    "close to four heads.",
)

# %%
spread = max(max(values) - min(values) for values in losses.values())
depths = [means[name] for name in list(SHAPES)[:3]]
heads = [means[name] for name in SHAPES if name.startswith("2 layers")]
print("deeper is worse here, by more than the seeds differ:", depths[2] - depths[0] > spread)
print("1, 4 and 8 heads lie within 0.1 of each other:      ", max(heads) - min(heads) < 0.1)

# %% [markdown]
# **What to conclude.** At equal parameters the shape mattered here, and its effect is larger than
# chance: we know because every shape was run three times. The number of heads mattered little.
#
# **What not to conclude.** That depth is useless. All shapes had the same learning rate, which may
# suit one better than another. All had seen 15,000 tokens, a sprint, and lie more than half a nat
# apart; after 1.5 million (see *Go further*), the same three depths lie within a tenth of a nat.
#
# And what a model of 31,000 parameters does says little about one of a billion. Kaplan et al. 2020
# found that for large models the shape matters little within wide limits, and size, data and
# computation matter a lot.

# %% [markdown]
# ## 11. A test that is too weak
#
# A test is worth as much as the bugs that it can see. A colleague wrote a quick test for leaks: it
# changes the last token and looks whether an earlier logit moves. It passes a causal model, and
# catches one that takes the mean over the text.

# %%
from llm_core.exercises.model import quick_leak_test

five = torch.tensor([[0, 3, 1, 4, 2, 0]])  # a text over five tokens


def causal(ids):
    return F.one_hot(ids, 5).float().cumsum(dim=1)  # what came up to here


def mean_of_text(ids):
    return F.one_hot(ids, 5).float().mean(dim=1, keepdim=True).expand(-1, ids.shape[1], -1)


print("quick test finds a leak in the causal model:      ", quick_leak_test(causal, five))
print("quick test finds a leak in the mean over the text:", quick_leak_test(mean_of_text, five))

# %% [markdown]
# ### Exercise 8: expose the bug
#
# Write a model that leaks the future, and that the quick test takes for causal.


# %% tags=["exercise"]
def expose_bug():
    """Return a leaky model that `quick_leak_test` does not catch.

    Returns:
        A function `model(ids)` that takes ids (B, T), whole numbers from 0 to 4, and returns
        logits (B, T, 5): floating-point and finite, the same on every call, for any B and any T
        from 6 on. It does not change ids. In every text, changing some token moves a logit before
        it by more than 1e-4; and changing the last token moves no logit before the last.
    """
    ### BEGIN SOLUTION

    def model(ids):
        logits = F.one_hot(ids, 5).float()  # (B, T, V)
        logits[:, 0] += logits[:, 1]  # the first place sees the second
        return logits

    return model
    ### END SOLUTION


# %% tags=["check"]
check("model.expose_bug", expose_bug)

# %% [markdown]
# ## 12. Assemble it
#
# The whole model as a class. Each line is something that this chapter has shown.

# %%
from llm_core.block import LayerNorm, TransformerBlock
from llm_core.embeddings import TokenEmbedding
from llm_core.positions import LearnedPositions


# %%
class MyGPT(nn.Module):
    """A GPT with learned positions and a tied head: ids (B, T) -> logits (B, T, V)."""

    def __init__(self, config):
        super().__init__()
        self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model)
        self.position_embedding = LearnedPositions(config.context_length, config.d_model)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.final_norm = LayerNorm(config.d_model)
        self.initialise(config.n_layers)

    @torch.no_grad()
    def initialise(self, n_layers):
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                writes = name.endswith(("attention.out.weight", "feed_forward.down.weight"))
                parameter.normal_(std=0.02 / math.sqrt(2 * n_layers) if writes else 0.02)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)

    def forward(self, ids, targets=None):
        places = torch.arange(ids.shape[1])
        x = self.token_embedding(ids) + self.position_embedding(places)  # (B, T, C)
        for block in self.blocks:
            x = block(x)
        logits = self.final_norm(x) @ self.token_embedding.weight.T  # (B, T, V)
        loss = None
        if targets is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())  # (B*T, V), (B*T,)
        return logits, loss


# %% [markdown]
# With the same parameters it gives the same logits and the same loss as `llm_core`'s, and it passes
# the tests of this chapter: the first loss, the leak test, the count.

# %%
torch.manual_seed(0)  # the class draws from torch's own generator
mine = MyGPT(config)
print(f"first loss {mine(inputs, targets)[1].item():.1f}, ln V {math.log(168):.1f}")

finished = GPT(config, torch.Generator().manual_seed(0))
_ = mine.load_state_dict(finished.state_dict())
mine_logits, mine_loss = mine(inputs, targets)
logits, loss = finished(inputs, targets)
print("same logits:", torch.allclose(mine_logits, logits, atol=1e-6))
print("same loss:  ", torch.allclose(mine_loss, loss, atol=1e-6))
print("same count: ", count_parameters(mine) == count_parameters(finished))

# %% [markdown]
# The finished `GPT` in `llm_core/model.py` knows the variants of `GPTConfig` on top of it. Later
# chapters import it.
#
# What it lacks are good weights. From outside, the model that speaks noise and the one that tells
# stories are the same: same class, same shapes, same cost. What sets them apart are six thousand
# steps along the gradient, taken by a `Trainer` into which nobody has looked yet. `07_training`
# takes it apart and builds it: loss, optimizer, learning rate, and how to see that a training goes
# well.

# %% [markdown]
# ## Recap
#
# 1. A model is a **stack**: token table, positions, blocks, final norm, output head; (B, T) ids in,
#    (B, T, V) logits out.
# 2. It starts at a loss of **ln V**. Matrices are drawn with 0.02, residual projections smaller by
#    $1/\sqrt{2L}$.
# 3. **Weight tying** uses the token table as output head; its two gradients add up.
# 4. Test causality from **outside**: change any token, and no logit before it may move.
# 5. Costs follow from the config alone: a forward pass takes 2 FLOPs for each weight it multiplies
#    with, training three times as much, and 16 bytes a parameter before the first activation.

# %% [markdown]
# ## Quiz

# %%
quiz("model.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 07](07_training.ipynb). The model is built and knows next to nothing; there it
#   learns.
# - In section 10, set `STEPS = 3000` and train the three depths with one seed each (a few minutes).
#   What has become of the differences? Then give each depth its own best learning rate.
# - Untie the weights of the storyteller and train both for 150 steps. Does the one with more
#   parameters do better?
# - How many FLOPs did it take to train the model in `assets/`? Its card gives the number of steps,
#   texts and tokens.
#
# ## Papers
#
# - Radford et al. 2019, [Language Models are Unsupervised Multitask
#   Learners](https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf),
#   section 2.3: GPT-2's layout and its initialisation.
# - Press and Wolf 2017, [Using the Output Embedding to Improve Language
#   Models](https://arxiv.org/abs/1608.05859): weight tying.
# - Brown et al. 2020, [Language Models are Few-Shot Learners](https://arxiv.org/abs/2005.14165),
#   table 2.1 and appendix D: GPT-3's shape and what it cost.
# - Kaplan et al. 2020, [Scaling Laws for Neural Language
#   Models](https://arxiv.org/abs/2001.08361), section 2.1: counting operations; section 3.1: how
#   little the shape matters.
# - Korthikanti et al. 2022, [Reducing Activation Recomputation in Large Transformer
#   Models](https://arxiv.org/abs/2205.05198), section 4: counting activations.
