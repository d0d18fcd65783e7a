# %% [markdown]
# # 5 · The block
#
# ![The course as a row of eight steps, from tokens to sampling. Step 5, the block, is
# highlighted.](../assets/map_05.svg)
#
# Attention carries information from token to token. A model needs two things more: somebody has to
# work with what was gathered, and many such layers, one on top of the other, must be able to learn.
# The **block** is attention with the three parts that make this possible.
#
# **You will build** layer norm, GELU, the feed-forward layer, the residual connection and dropout,
# and join them to the block that every model of this course is a stack of. You will measure what
# each part is worth in a stack of 24.
#
# **You need** chapters 00 to 04: tensors, gradients, the loss, and multi-head attention.
#
# **Time:** about 90 minutes to read and solve, 50 seconds to run.

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
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from llm_core import block
from llm_core.exercises import check, hint, predict, progress, quiz, reveal
from llm_core.notebooks.figure import show_figure, use_course_style

use_course_style()
_ = torch.set_printoptions(precision=2, sci_mode=False)

# %% [markdown]
# `block` is the finished module of the course. The text uses it wherever a later step needs an
# earlier one, so you can skip an exercise and still run everything after it.

# %% [markdown]
# ## Warm-up
#
# Five questions on chapters 01 to 04. Answer from memory, then read why each option is right or
# wrong.

# %%
quiz("block.warmup")

# %% [markdown]
# ## 1. What attention leaves open
#
# The output of attention is an average of values. It can bring *Mia* to *She*, but it works nothing
# out: an average never leaves the range of what it averages. And if you put attention on attention,
# 24 layers deep, you get averages of averages, and training hardly moves them.
#
# | Part | What it is for | Section |
# |---|---|---|
# | **norm** | keeps the numbers at one size | 2 |
# | **feed-forward** | works on each token with what attention has gathered | 3 |
# | **residual connection** | a straight path for information, and for the gradient | 4 |
#
# Here is the whole block. Each token's vector runs along the blue line, and two **sub-layers**,
# attention and feed-forward, add something to it.
#
# ![A blue line runs from x in to x out: the residual stream. Two branches leave it and come back
# with a plus: the first passes a norm and attention, the second a norm and
# feed-forward.](../assets/block.svg)
#
# Its output has the shape of its input, $(B, T, C)$, so blocks can be stacked like bricks. GPT-2
# stacks 12 to 48 of them; such a pile of equal blocks is a **stack**.

# %% [markdown]
# ## 2. Layer norm: one size for every vector
#
# ### Numbers that drift
#
# A matrix whose entries are a little too large makes every vector a little larger. One layer does
# no harm. In a stack, the factors multiply.

# %%
rng = torch.Generator().manual_seed(0)
x = torch.randn(64, generator=rng)

for layer in range(1, 7):
    matrix = 2 * torch.randn(64, 64, generator=rng) / math.sqrt(64)
    x = matrix @ x
    print(f"after layer {layer}: the largest number is {x.abs().max():.0f}")

# %% [markdown]
# Each layer doubles the size, more or less. After 24 layers that would be a factor of 16 million.
# With entries a little too small, everything shrinks to nothing instead. So the size of each vector
# is put right again and again. That is **normalisation**.

# %% [markdown]
# ### One row by hand
#
# **Layer norm** takes the vector of one token, its $C$ numbers, and gives it the mean 0 and the
# variance 1. Four steps:

# %%
row = torch.tensor([9.0, 3.0, 3.0, 1.0])

mean = row.mean()  # step 1: the mean, 4
centred = row - mean  # step 2: subtract it
variance = centred.square().mean()  # step 3: the mean of the squares, 36 / 4
normalised = centred / variance.sqrt()  # step 4: divide by the root

print("centred:   ", centred)
print(f"variance: {variance:.0f}, its root: {variance.sqrt():.0f}")
print("normalised:", normalised)

# %% [markdown]
# What was large stays large, what was small stays small. Only the common offset and the common size
# are gone. As a formula, with additions that are explained below:
#
# $$\text{LayerNorm}(x)_i = g_i \, \frac{x_i - \mu}{\sqrt{\sigma^2 + \varepsilon}} + b_i \qquad
# \mu = \frac{1}{C}\sum_j x_j \qquad \sigma^2 = \frac{1}{C}\sum_j (x_j - \mu)^2$$
#
# $x_i$ is entry $i$ of the vector, $\mu$ its mean, $\sigma^2$ its variance, $\varepsilon$ (*eps*) a
# tiny number such as 0.00001. $g$ is the **gain** and $b$ the **bias**: one number each for every
# **channel**, which is one of the $C$ places of a vector.

# %% [markdown]
# What to look for: five vectors of 40 numbers, one to a line. On the left some are tight, some
# wide, some far off. On the right they all sit in the same place.

# %%
rng = torch.Generator().manual_seed(1)
spreads = torch.tensor([0.2, 1.0, 4.0, 2.0, 8.0])[:, None]
offsets = torch.tensor([0.0, 12.0, -20.0, 25.0, 5.0])[:, None]
vectors = offsets + spreads * torch.randn(5, 40, generator=rng)  # (5, 1) with (5, 40)

figure, axes = plt.subplots(1, 2, figsize=(9, 2.8), sharey=True)
for axis, rows, title in (
    (axes[0], vectors, "Before"),
    (axes[1], block.layer_norm(vectors, torch.ones(40)), "After layer norm"),
):
    for i, numbers in enumerate(rows):
        axis.plot(numbers, torch.full((40,), i + 1), "o", alpha=0.4)
    axis.set(xlabel="numbers of the vector", title=title, yticks=range(1, 6))
axes[0].set_ylabel("vector")
show_figure(
    figure,
    "Left: five rows of dots at very different places and of very different widths. Right: after "
    "layer norm all five lie around 0, between about -3 and 3.",
)

# %% [markdown]
# **Predict:** take a row, multiply it by 10 and add 100. Does its layer norm come out `"the same"`
# or `"different"`?

# %%
my_guess = None  # "the same" or "different"
predict("block.scaled_row", my_guess)

# %%
before = block.layer_norm(row, torch.ones(4))
after = block.layer_norm(10 * row + 100, torch.ones(4))

reveal(
    "block.scaled_row",
    outcome="the same" if torch.allclose(before, after, atol=1e-4) else "different",
    explanation="Adding 100 moves the mean by 100, which is subtracted. Multiplying by 10 makes "
    "the spread 10 times as large, by which is divided.",
)

# %% [markdown]
# ### Divide by C, not by C - 1
#
# The variance of layer norm divides the sum of squares by $C$. This is the **biased** variance.
# `torch.var` and `torch.std` divide by $C - 1$ unless told otherwise, as is right for a sample from
# something larger. Here nothing is sampled: the vector is all there is.

# %%
print(f"divided by C:     {row.var(correction=0):.0f}")
print(f"divided by C - 1: {row.var():.0f}")

# %% [markdown]
# A model with the wrong one trains, and nobody notices, until it loads the weights of somebody
# who used the right one.

# %% [markdown]
# ### What eps is for
#
# If all numbers of a row are equal, its variance is 0, and step 4 divides 0 by 0. One *nan*, "not a
# number", spoils everything that comes after. A tiny number under the root prevents it.

# %%
constant = torch.tensor([2.0, 2.0, 2.0, 2.0])
centred = constant - constant.mean()
variance = centred.square().mean()

print("without eps:", centred / variance.sqrt())
print("with eps:   ", centred / (variance + 1e-5).sqrt())

# %% [markdown]
# It stands **inside** the root. Outside would also prevent the division by 0, but look at a row
# that is nearly constant. Its tiny differences may be rounding errors, and outside the root they
# are blown up to full size:

# %%
nearly = torch.tensor([2.0, 2.0, 2.0, 2.002])
centred = nearly - nearly.mean()
variance = centred.square().mean()

print("eps outside the root:", centred / (variance.sqrt() + 1e-5))
print("eps inside the root: ", centred / (variance + 1e-5).sqrt())

# %% [markdown]
# ### Gain and bias
#
# A layer that can only pass on rows of mean 0 and variance 1 may be too narrow. So each channel
# gets a gain and a bias, parameters that training may move. At the start all gains are 1 and all
# biases 0, and they do nothing. The order is fixed: first multiply by the gain, then add the bias.

# %% [markdown]
# ### Exercise 1: layer norm
#
# The steps have their names; write a line or two for each. `keepdim=True` keeps an axis of length
# 1, so that the result still lines up with `x`.


# %% tags=["exercise"]
def layer_norm(x, gain, bias, eps=1e-5):
    """Give each vector the mean 0 and the variance 1, then apply gain and bias.

    Args:
        x: floating-point tensor of shape (..., C): any number of axes, vectors along the last.
        gain: shape (C,), multiplied entry by entry after the normalisation.
        bias: shape (C,), added after the gain.
        eps: added to the variance, inside the root.

    Returns:
        A new tensor with the shape and dtype of x. The variance divides by C. x is not changed,
        and gradients flow back to x, gain and bias: use torch operations only.

    Example:
        layer_norm(torch.tensor([9.0, 3.0, 3.0, 1.0]), torch.ones(4), torch.zeros(4))
        gives about [1.67, -0.33, -0.33, -1.00].
    """
    # Step 1: the mean of each vector, shape (..., 1).
    ### BEGIN SOLUTION
    mean = x.mean(dim=-1, keepdim=True)  # (..., 1)
    ### END SOLUTION
    # Step 2: x minus its mean.
    ### BEGIN SOLUTION
    centred = x - mean
    ### END SOLUTION
    # Step 3: the variance, the mean of the squares, shape (..., 1).
    ### BEGIN SOLUTION
    variance = centred.square().mean(dim=-1, keepdim=True)  # (..., 1)
    ### END SOLUTION
    # Step 4: divide by the root of variance plus eps; then gain and bias.
    ### BEGIN SOLUTION
    return centred / torch.sqrt(variance + eps) * gain + bias
    ### END SOLUTION


# %% tags=["check"]
check("block.layer_norm", layer_norm)

# %% [markdown]
# Stuck? `hint("block.layer_norm")` in a new cell shows one hint; run it again for the next one. The
# fourth time it shows a solution.

# %% [markdown]
# ### Equal to torch's, in value and gradient
#
# torch has a layer norm of its own, which our modules call. Two functions that agree in value
# could still send different gradients back, and a model learns from gradients. So we compare both.

# %%
rng = torch.Generator().manual_seed(2)
inputs = [torch.randn(*shape, generator=rng) for shape in ((2, 4, 8), (8,), (8,))]
weights = torch.randn(2, 4, 8, generator=rng)  # makes one number of the output, for backward


def value_and_gradients(norm):
    """Return the output of norm(x, gain, bias), and the gradients of x, gain and bias."""
    x, gain, bias = (tensor.clone().requires_grad_() for tensor in inputs)
    output = norm(x, gain, bias)
    (output * weights).sum().backward()
    return output, x.grad, gain.grad, bias.grad


ours = value_and_gradients(block.layer_norm)
torchs = value_and_gradients(lambda x, gain, bias: F.layer_norm(x, (8,), gain, bias))
for name, a, b in zip(("value", "x.grad", "gain.grad", "bias.grad"), ours, torchs, strict=True):
    print(f"{name:>9} equal: {torch.allclose(a, b, atol=1e-5)}")

# %% [markdown]
# ### The wrong way: normalise over the batch
#
# Why along the last axis? **Batch normalisation**, well known from models for pictures, goes
# along the first: it takes each channel and normalises it over the items of the batch.


# %%
def batch_norm(x):
    """Normalise each channel over the texts of a batch; x has the shape (B, T, C)."""
    centred = x - x.mean(dim=0, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(dim=0, keepdim=True) + 1e-5)


batch = torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(3))
ones = torch.ones(8)

print("one text in a batch of 3:", batch_norm(batch)[0, 0, :4])
print("the same text alone:     ", batch_norm(batch[:1])[0, 0, :4])
print("layer norm, batch of 3:  ", block.layer_norm(batch, ones)[0, 0, :4])
print("layer norm, alone:       ", block.layer_norm(batch[:1], ones)[0, 0, :4])

# %% [markdown]
# With batch normalisation, what comes out for a text depends on the other texts in its batch.
# Alone, it turns into zeros. A model that writes is usually alone with its text.
#
# Along the tokens would be worse: then the mean, and so every output, would depend on later tokens.
# That is a leak from the future, and the last exercise of this chapter. Along the last axis each
# token has only itself.

# %% [markdown]
# ### RMS norm: the same with less
#
# Do we need the mean at all? **RMS norm** leaves it where it is and divides by the **root mean
# square**, the root of the mean of the squares. It has a gain and no bias:
#
# $$\text{RMSNorm}(x)_i = g_i \, \frac{x_i}{\sqrt{\frac{1}{C}\sum_j x_j^2 + \varepsilon}}$$
#
# Its authors found that models learn as well with it. Llama and most models since use it; GPT-2 has
# layer norm. A later chapter compares the two.

# %% [markdown]
# ### Exercise 2: RMS norm


# %% tags=["exercise"]
def rms_norm(x, gain, eps=1e-5):
    """Scale each vector to the root mean square 1, then each channel by its gain.

    Args:
        x: floating-point tensor of shape (..., C).
        gain: shape (C,).
        eps: added to the mean of the squares, inside the root.

    Returns:
        A new tensor like x. The mean is not subtracted. x is not changed, and gradients flow back.

    Example:
        rms_norm(torch.tensor([3.0, 4.0, 0.0, 0.0]), torch.ones(4)) gives about
        [1.2, 1.6, 0, 0]: the mean of the squares is 25/4, its root 2.5.
    """
    # The mean of the squares of each vector, shape (..., 1).
    ### BEGIN SOLUTION
    mean_square = x.square().mean(dim=-1, keepdim=True)  # (..., 1)
    ### END SOLUTION
    # Divide x by the root of that, eps inside; then the gain.
    ### BEGIN SOLUTION
    return x / torch.sqrt(mean_square + eps) * gain
    ### END SOLUTION


# %% tags=["check"]
check("block.rms_norm", rms_norm)

# %% [markdown]
# ## 3. Feed-forward: each token works by itself
#
# After attention, the vector of *She* holds something about *Mia* and something about the *ball*.
# Somebody now has to draw a conclusion from the two. **Feed-forward** is a small network, a few
# layers in a row, that does this, for each token by itself, with the same parameters for all.

# %% [markdown]
# ### The wrong way: two linear layers in a row
#
# A **linear layer** multiplies by a matrix and adds a bias: $x W + b$. Surely two of them can do
# more than one? Multiply them out.

# %%
w_1 = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]])  # (2, 3)
w_2 = torch.tensor([[1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])  # (3, 2)
x = torch.tensor([[1.0, 2.0]])

print("two layers:", (x @ w_1) @ w_2)
print("one layer: ", x @ (w_1 @ w_2), "with the matrix", (w_1 @ w_2).tolist())

# %% [markdown]
# They **collapse** into one, with biases as well:
#
# $$(x W_1 + b_1)\, W_2 + b_2 = x\,(W_1 W_2) + (b_1 W_2 + b_2)$$
#
# The right side is a single linear layer. A hundred layers in a row would still be one. And they
# waste room: from 64 channels to 256 and back, two matrices hold 32,768 numbers, where the one that
# they are worth holds 4,096.

# %% [markdown]
# ### A bend between them
#
# The way out is to put something between the layers that is not linear. An **activation function**
# is applied to each number by itself. The simplest is **ReLU**: negative numbers become 0, positive
# ones pass. Two **hidden** numbers, as those between the layers are called, are then enough for
# something that no linear layer can do, the absolute value:

# %%
x = torch.tensor([[-3.0], [-1.0], [0.5], [2.0]])
w_up = torch.tensor([[1.0, -1.0]])  # (1, 2): one hidden number gets x, the other -x
w_down = torch.tensor([[1.0], [1.0]])  # (2, 1): add the two

hidden = torch.relu(x @ w_up)
print("hidden:", hidden.tolist())
print("|x|:   ", (hidden @ w_down).flatten().tolist())

# %% [markdown]
# A linear layer draws a straight line, and $|x|$ has a bend. With many hidden numbers, each with a
# bend elsewhere, a network can come close to any curve.

# %% [markdown]
# ### GELU: a soft bend
#
# ReLU has a sharp corner, and left of it the gradient is 0: a hidden number that is negative for
# every token can never learn again. **GELU** bends softly. It multiplies $x$ by $\Phi(x)$ (*Phi*),
# the share of the **standard normal distribution**, a bell curve of mean 0 and variance 1, that
# lies to the left of $x$:
#
# $$\text{GELU}(x) = x \, \Phi(x) \qquad
# \Phi(x) = \frac{1}{2}\left(1 + \text{erf}\!\left(\frac{x}{\sqrt{2}}\right)\right)$$
#
# erf is the **error function**, which torch has as `torch.erf`. At $x = 1$, 84 % of the curve lie
# to the left, so GELU lets 0.84 through. At $x = -1$ it is 16 %, and $-0.16$ comes out.

# %% [markdown]
# ### Exercise 3: GELU


# %% tags=["exercise"]
def gelu(x):
    """Multiply each number by the share of a standard normal distribution below it.

    Args:
        x: floating-point tensor of any shape.

    Returns:
        A new tensor like x: x·Φ(x), in the exact form with erf. x is not changed, and gradients
        flow back.

    Example:
        gelu(torch.tensor([-1.0, 0.0, 1.0])) gives about [-0.159, 0, 0.841].
    """
    ### BEGIN SOLUTION
    share = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    return x * share
    ### END SOLUTION


# %% tags=["check"]
check("block.gelu", gelu)

# %% [markdown]
# The paper also gives an approximation by **tanh**, a curve in the shape of an S that runs from -1
# to 1, and GPT-2 uses that:
#
# $$\text{GELU}(x) \approx \frac{x}{2}
# \left(1 + \tanh\!\left(\sqrt{2/\pi}\,(x + 0.044715\,x^3)\right)\right)$$
#
# torch's own `F.gelu` has both forms.

# %%
x = torch.linspace(-4, 4, 401)
exact = block.gelu(x)
by_tanh = x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))

print("exact equal:", torch.allclose(exact, F.gelu(x), atol=1e-6))
print("tanh equal: ", torch.allclose(by_tanh, F.gelu(x, approximate="tanh"), atol=1e-6))

# %% [markdown]
# What to look for: left, where GELU and ReLU differ; right, how far the two forms of GELU are
# apart, in thousandths.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
left.plot(x, torch.relu(x), "--", label="ReLU")
left.plot(x, exact, label="GELU")
left.set(xlabel="x", title="Two activation functions")
left.legend()
right.plot(x, 1000 * (by_tanh - exact), color="C2")
right.set(xlabel="x", ylabel="thousandths", title="tanh form minus exact form")
show_figure(
    figure,
    "Left: ReLU with a corner at 0; GELU dips to about -0.17 near -0.75 and joins ReLU further "
    "out. Right: the tanh form differs from the exact one by less than half a thousandth.",
)

# %% [markdown]
# Small as the difference is, whoever loads GPT-2's weights takes GPT-2's form. In `GPTConfig` they
# are two activations, `"gelu"` and `"gelu_tanh"`.

# %% [markdown]
# ### Expand, activate, project
#
# The feed-forward layer has three steps. **Expand** the $C$ channels of a token to $F$ = `d_ff`
# hidden numbers, usually $F = 4C$. **Activate**: bend each of them. **Project** back to $C$.
#
# $$\text{FeedForward}(x)
# = \text{GELU}(x W_\text{up} + b_\text{up})\, W_\text{down} + b_\text{down}$$

# %% [markdown]
# ### Exercise 4: feed-forward
#
# No steps this time. You may use `block.gelu`.


# %% tags=["exercise"]
def feed_forward(x, w_up, b_up, w_down, b_down):
    """Expand each token's vector, bend the hidden numbers with GELU, and project back.

    Args:
        x: token vectors, shape (B, T, C).
        w_up: shape (C, F), applied as x @ w_up.
        b_up: shape (F,).
        w_down: shape (F, C), applied in the same way.
        b_down: shape (C,).

    Returns:
        Shape (B, T, C), with the dtype of x. GELU is the exact form, applied once, between the
        layers. No token has a part in another's result; nothing is added around it.
    """
    ### BEGIN SOLUTION
    hidden = block.gelu(x @ w_up + b_up)  # (B, T, F)
    return hidden @ w_down + b_down  # (B, T, C)
    ### END SOLUTION


# %% tags=["check"]
check("block.feed_forward", feed_forward)

# %% [markdown]
# As a module with parameters of its own, this is `block.FeedForward`. Each token is really alone:

# %%
from llm_core.config import GPTConfig

config = GPTConfig(vocab_size=100, d_model=8, n_heads=2)
feed = block.FeedForward(config)
x = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(4))

print("hidden numbers of a token:", feed.up(x).shape[-1])
print("token 3 alone comes out the same:", torch.allclose(feed(x)[:, 3], feed(x[:, 3]), atol=1e-6))

# %% [markdown]
# A variant named **SwiGLU** has three matrices: a **gate** is computed beside the hidden numbers
# and multiplied with them, `down(silu(gate(x)) * up(x))`, where silu$(g) = g \cdot$ sigmoid$(g)$.
# To keep the number of parameters, $F$ is then $8/3 \cdot C$. Llama has it. `block.SwiGLU` is ours,
# and a later chapter measures it.

# %% [markdown]
# ## 4. The residual connection: a straight path
#
# ### 24 layers in a row
#
# A gradient travels from the loss back through every layer, and each layer multiplies it by its own
# derivative: how much its output moves for a small move of its input. Take the simplest stack there
# is: one number, and each layer multiplies it by 0.5.
#
# **Predict:** how large is the derivative of the last number with respect to the first, after 24
# layers?

# %%
my_guess = None  # a number, for example 0.02
predict("block.chain", my_guess)

# %%
reveal(
    "block.chain",
    outcome=0.5**24,
    explanation="0.5 times itself, 24 times: one in 16 million. The first layer gets next to "
    "nothing to learn from.",
)

# %% [markdown]
# This is the **vanishing gradient**. With a factor above 1 it grows in the same way, the
# **exploding gradient**. Now one change: each layer **adds** its result to what came in.


# %%
def derivative(depth, factor, residual):
    """Derivative of a stack of layers y = factor * x, or y = x + factor * x, at x = 1."""
    x = torch.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(depth):
        y = y + factor * y if residual else factor * y
    y.backward()
    return x.grad.item()


print("depth   0.05 without residual   0.05 with residual")
for depth in (1, 6, 12, 24):
    plain, added = (derivative(depth, 0.05, residual) for residual in (False, True))
    print(f"{depth:>5}   {plain:>21.0e}   {added:>18.2f}")

# %% [markdown]
# The same small factor, 0.05, the same 24 layers: without the addition next to nothing arrives;
# with it the gradient even grows a little. Adding the input to the output of a layer is a
# **residual connection**.

# %% [markdown]
# ### Why it works
#
# $$y = x + f(x) \qquad \frac{dy}{dx} = 1 + f'(x)$$
#
# However small $f'$ is, the 1 remains. Two such layers with the derivatives $a$ and $b$ multiply to
# $(1 + a)(1 + b) = 1 + a + b + ab$. Each term is a path: through neither layer, through the first,
# through the second, through both. Without the residual connection only the last is left:

# %%
a, b = 0.1, 0.2
print(f"with:    (1 + a)(1 + b) = {(1 + a) * (1 + b):.2f} = 1 + {a} + {b} + {a * b:.2f}")
print(f"without: a * b = {a * b:.2f}")

# %% [markdown]
# For vectors it is the same, with the matrix of derivatives in place of $f'$ and the identity
# matrix in place of 1. Seen forwards, the vector that runs through the whole stack is never
# replaced, only added to. It is called the **residual stream**. Each sub-layer reads from it, and
# writes its own small change into it.

# %% [markdown]
# ### Where the norm stands
#
# The first Transformer put the norm after the sum, **post-norm**: $x \leftarrow \text{norm}(x +
# f(x))$. Then every gradient has to pass through every norm. GPT-2 and nearly all models since put
# it in front of the sub-layer, **pre-norm**:
#
# $$x \leftarrow x + f(\text{norm}(x))$$
#
# Now the norm is on the branch, and nothing stands in the straight path. The sub-layer gets vectors
# of one size, however large the stream has grown.

# %% [markdown]
# ### Exercise 5: a residual connection with pre-norm
#
# `norm` and `sublayer` are functions here: you call them.


# %% tags=["exercise"]
def residual(x, norm, sublayer):
    """Add to x what a sub-layer makes of its normalised form (pre-norm).

    Args:
        x: the residual stream, shape (B, T, C).
        norm: a function from a tensor to one of the same shape, called as norm(x).
        sublayer: a function from a tensor to one of the same shape, such as attention.

    Returns:
        A new tensor of shape (B, T, C). norm and sublayer are each called once. x is not changed,
        and gradients flow back along both branches.

    Example:
        With a sublayer that returns zeros, the result equals x.
    """
    ### BEGIN SOLUTION
    return x + sublayer(norm(x))
    ### END SOLUTION


# %% tags=["check"]
check("block.residual", residual)

# %% [markdown]
# ## 5. Measured: 24 blocks
#
# Toy numbers are one thing. Does the same happen in a real stack? Here is a block in which norm and
# residual can be switched off. It is made of our own parts.

# %%
from llm_core.attention import MultiHeadAttention


class AnyBlock(nn.Module):
    """Attention and feed-forward; `norm` is "pre", "post" or "none"."""

    def __init__(self, config, residual, norm):
        super().__init__()
        self.residual, self.norm = residual, norm
        self.sublayers = nn.ModuleList([MultiHeadAttention(config), block.FeedForward(config)])
        self.norms = nn.ModuleList([block.LayerNorm(config.d_model) for _ in range(2)])

    def forward(self, x):
        for sublayer, norm in zip(self.sublayers, self.norms, strict=True):
            y = sublayer(norm(x) if self.norm == "pre" else x)
            y = x + y if self.residual else y
            x = norm(y) if self.norm == "post" else y
        return x  # (B, T, C)


# %% [markdown]
# Around it a small language model: vectors for tokens and positions, 24 blocks, and a linear layer
# that gives the logits. A pre-norm model has one more norm before that layer, because its stream
# has never been normalised. `streams` keeps the stream at every step, for the pictures below.

# %%
from llm_core.pretrained import load_pretrained

storyteller, tokenizer = load_pretrained("stories")
CONTEXT, DEPTH = 16, 24
config = GPTConfig(tokenizer.vocab_size, context_length=CONTEXT, d_model=32, n_heads=4)


class DeepModel(nn.Module):
    """A language model of 24 blocks, with residual and norm as chosen."""

    def __init__(self, residual, norm):
        super().__init__()
        C, V = config.d_model, config.vocab_size
        self.tokens, self.positions = nn.Embedding(V, C), nn.Embedding(CONTEXT, C)
        self.blocks = nn.ModuleList(AnyBlock(config, residual, norm) for _ in range(DEPTH))
        self.final_norm = block.LayerNorm(C) if norm == "pre" else nn.Identity()
        self.output = nn.Linear(C, V)

    def streams(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        found = [x]  # before the first block, then after each
        for layer in self.blocks:
            found.append(layer(found[-1]))  # (B, T, C)
        return found

    def forward(self, ids):
        return self.output(self.final_norm(self.streams(ids)[-1]))  # (B, T, V)


# %% [markdown]
# Five variants. Every one starts from the same random numbers, torch's own for linear layers, so
# that only the wiring differs.

# %%
VARIANTS = {
    "residual, pre-norm": (True, "pre"),
    "residual, post-norm": (True, "post"),
    "residual, no norm": (True, "none"),
    "norm, no residual": (False, "pre"),
    "neither": (False, "none"),
}
STYLES = ["-", "--", "-.", ":", (0, (4, 1, 1, 1, 1, 1))]  # lines are told apart without colour, too


def new_model(name):
    torch.manual_seed(0)
    return DeepModel(*VARIANTS[name])


# %% [markdown]
# ### The gradient at every block
#
# One batch of stories, one `backward()`. For each block we take all its parameters and ask how
# large their gradient is: the **norm** of the gradient, the root of the sum of all its squares. (A
# second meaning of the word.) Nothing is trained yet.

# %%
from llm_core.corpus import stories
from llm_core.data import get_batch
from llm_core.loss import cross_entropy

text_ids = torch.tensor(tokenizer.encode("\n".join(stories(1000, seed=9))))


def gradient_norms(model):
    """Norm of the gradient of each block's parameters, from the first block to the last."""
    x, y = get_batch(text_ids, 16, CONTEXT, generator=torch.Generator().manual_seed(1))
    cross_entropy(model(x), y).backward()
    squares = [
        sum(p.grad.double().square().sum() for p in layer.parameters() if p.grad is not None)
        for layer in model.blocks
    ]
    return torch.stack(squares).sqrt()  # (DEPTH,)


# %% [markdown]
# **Predict:** a norm in front of every sub-layer gives back the size that the numbers have lost. Is
# a norm alone, without residual connections, enough to keep the gradient from vanishing, `"yes"` or
# `"no"`?

# %%
my_guess = None  # "yes" or "no"
predict("block.norm_alone", my_guess)

# %%
gradients = {name: gradient_norms(new_model(name)) for name in VARIANTS}
ratios = {name: (norms[0] / norms[-1]).item() for name, norms in gradients.items()}

reveal(
    "block.norm_alone",
    outcome="yes" if ratios["norm, no residual"] > 1e-3 else "no",
    explanation="Dividing by a small spread multiplies the gradient by a large number on its way "
    "back. The size is saved. Whether something useful arrives is another question.",
)

# %% [markdown]
# What to look for: the loss is at the right end of each plot, behind block 24, and the gradient
# travels from there to the left. Both plots have a logarithmic axis; the right one looks closer at
# the four lines that lie together in the left one.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4), width_ratios=[1.3, 1])
lines = []
for (name, norms), style in zip(gradients.items(), STYLES, strict=True):
    for axis in axes:
        lines += axis.semilogy(range(1, DEPTH + 1), norms, linestyle=style, label=name)
for axis, title in zip(axes, ("The gradient at each of 24 blocks", "Closer"), strict=True):
    axis.set(xlabel="block", title=title, xticks=range(4, DEPTH + 1, 4))
axes[0].set_ylabel("norm of the gradient")
axes[1].set_ylim(0.05, 100)
figure.legend(handles=lines[::2], loc="outside lower center", ncols=5, fontsize=9)
show_figure(
    figure,
    "Gradient norm against block, logarithmic. With neither norm nor residual it falls from the "
    "last block to the first by almost thirty powers of ten; the four other lines stay level.",
)

# %%
print("neither: the first block gets less than 10^-20 of the last:", ratios["neither"] < 1e-20)
for name in list(VARIANTS)[:3]:
    print(f"{name}: within a factor of 10:", 0.1 < ratios[name] < 10)

# %% [markdown]
# With residual connections, the first of 24 blocks gets about as much gradient as the last, with a
# norm or without. With neither, it gets less than a billionth of a billionth of it.

# %% [markdown]
# ### Which of them learns?
#
# Now the same five, trained: 45 steps on stories, with the loop of the last chapter. Guessing each
# token by how often it occurs, and nothing else, costs about 4.4 nats; a model that has learned
# anything about order is below that. (`fused=True` makes the same steps in less time.)
#
# **Predict:** how many of the five get below 4.2 nats in 45 steps?

# %%
my_guess = None  # a number from 0 to 5
predict("block.how_many_learn", my_guess)

# %%
STEPS = 45


def train(name, learning_rate=3e-3):
    """Train a new model of this variant and return its loss at every step."""
    torch.set_num_threads(1)  # so small a model gains nothing from two cores
    model, rng, losses = new_model(name), torch.Generator().manual_seed(1), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, fused=True)
    for _ in tqdm(range(STEPS), desc=name, file=sys.stdout):
        x, y = get_batch(text_ids, 8, CONTEXT, generator=rng)
        loss = cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


# %% tags=["nbval-ignore-output"]
losses = {name: train(name) for name in VARIANTS}

# %%
final = {name: sum(values[-10:]) / 10 for name, values in losses.items()}

reveal(
    "block.how_many_learn",
    outcome=sum(loss < 4.2 for loss in final.values()),
    explanation="Two of the three with residual connections. The others stop at the frequencies "
    "of the tokens, which the last layer can learn without any help from the blocks.",
)

# %% [markdown]
# What to look for: which curves leave the dotted line, and which of those is ahead. Three of them
# lie on one another. (Each point is the mean of ten steps.)

# %%
counts = torch.bincount(text_ids).double()
share = counts[counts > 0] / counts.sum()
frequencies_alone = -(share * share.log()).sum().item()

figure, axis = plt.subplots(figsize=(8, 4))
for (name, values), style in zip(losses.items(), STYLES, strict=True):
    smooth = torch.tensor(values).unfold(0, 10, 1).mean(dim=1)  # (STEPS - 9,)
    axis.plot(range(10, STEPS + 1), smooth, linestyle=style, label=name)
axis.axhline(frequencies_alone, color="0.4", linestyle=(0, (1, 3)), label="frequencies alone")
axis.set(xlabel="step", ylabel="loss (nats per token)", ylim=(2, 7), title="24 blocks, training")
axis.legend(loc="lower left", fontsize=9)
show_figure(
    figure,
    "Loss against training step. With residual and pre-norm it falls fastest; with residual and "
    "no norm it starts higher and follows; the other three level off at the frequencies of the "
    "tokens.",
)

# %%
print("ahead of all:", min(final, key=final.get))
print("below 4.2 nats:", "; ".join(name for name, loss in final.items() if loss < 4.2))

# %% [markdown]
# Other random starts give the same order. Three remarks, to be fair to the losers:
#
# 1. *Residual, no norm* learns, later. torch's random start is small enough for it here; at the
#    beginning its stream has grown and its loss is far too high. Start with larger numbers and it
#    explodes.
# 2. *Residual, post-norm* is stuck at this learning rate, not for ever. With a third of it, it
#    learns, if later than the two above. The first Transformer therefore began with a tiny learning
#    rate and raised it slowly, a **warm-up**; chapter 07 builds one.
# 3. *Norm, no residual* had a healthy gradient, and learned nothing. Why?

# %% [markdown]
# ### A gradient is not enough
#
# We follow the untrained stream forwards. Its size is the root mean square of its numbers. The
# **likeness** of its tokens is the mean cosine similarity between the vectors of different tokens:
# 1 means that they all point the same way.


# %%
@torch.no_grad()
def size_and_likeness(model):
    """Size of the stream and likeness of its tokens, before the first block and after each."""
    x, _ = get_batch(text_ids, 16, CONTEXT, generator=torch.Generator().manual_seed(1))
    streams = torch.stack(model.streams(x))  # (DEPTH + 1, B, T, C)
    unit = F.normalize(streams, dim=-1)
    cosines = unit @ unit.mT  # (DEPTH + 1, B, T, T)
    different = ~torch.eye(CONTEXT, dtype=torch.bool)
    return streams.square().mean(dim=(1, 2, 3)).sqrt(), cosines[..., different].mean(dim=(1, 2))


# %% [markdown]
# What to look for: on the right, how soon the two variants without residual connections reach 1.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
lines = []
for name, style in zip(VARIANTS, STYLES, strict=True):
    stream_size, likeness = size_and_likeness(new_model(name))
    lines += left.semilogy(stream_size, linestyle=style, label=name)
    right.plot(likeness, linestyle=style)
left.set(xlabel="after block", ylabel="root mean square", title="Size of the stream")
right.set(xlabel="after block", ylabel="mean cosine", title="Likeness of tokens")
figure.legend(handles=lines, loc="outside lower center", ncols=5, fontsize=9)
show_figure(
    figure,
    "Left: with residual connections the stream grows, most without a norm; with post-norm it "
    "stays at 1, and without residual connections it shrinks. Right: without residual connections "
    "the likeness reaches 1 within a few blocks; with them it rises slowly.",
)

# %% [markdown]
# Each block averages over tokens. Without the stream, which keeps what each token was, 24
# averagings leave one and the same vector at every position. The norm keeps that vector at a good
# size, and the gradient passes, but there is nothing left to tell *Mia* from *ball* by. Norms save
# the numbers; residual connections save the information.

# %% [markdown]
# ## 6. Switch the parts yourself
#
# One block as a diagram, and a stack of such blocks, with random weights and eight random tokens.
# The solid curve is the block that you have chosen, the dashed one the usual block, to compare.
# **Things to try:**
#
# 1. Switch the residual off, then the norm as well. Watch the axis of the gradient.
# 2. Residual off, norm on: which of the three curves shows why it cannot learn?
# 3. With the residual on, move the norm from *before* to *after*. What happens to the size of the
#    numbers? And where in the diagram does the norm now stand?
# 4. Take the activation away. Which curves hardly change? What would still be lost?
# 5. Make the stack shallow, then deep. From which depth on do the parts begin to matter?

# %% tags=["nbval-ignore-output"]
from llm_core.widgets.block import BlockExplorer

BlockExplorer()

# %% [markdown]
# The curves do not show everything. Without an activation the gradient flows well, but each
# feed-forward layer, with its 8,352 parameters, can do no more than one linear layer with 1,056.

# %% [markdown]
# ## 7. What training makes of the stream
#
# The storyteller has three pre-norm blocks and was trained on stories. It reads 20 texts of 100
# tokens, and we write down how large the stream is at each step, how much each sub-layer adds, and
# what share of the hidden numbers is above 0, so that GELU lets them pass.


# %%
def size(x):
    """Root mean square of all numbers."""
    return x.square().mean().sqrt().item()


@torch.no_grad()
def read_stream(model, ids):
    """Sizes along the stream, sizes of what is added, shares of hidden numbers above 0."""
    x = model.embed(ids)  # (B, T, C)
    along, added, above = [size(x)], [], []
    for layer in model.blocks:
        x_1 = x + layer.attention(layer.attention_norm(x))
        normed = layer.feed_forward_norm(x_1)
        x_2 = x_1 + layer.feed_forward(normed)
        above.append((layer.feed_forward.up(normed) > 0).double().mean().item())
        along += [size(x_1), size(x_2)]
        added += [size(x_1 - x), size(x_2 - x_1)]
        x = x_2
    return along, added, above


# %% [markdown]
# For comparison, the same model untrained. What to look for: how the stream grows, which sub-layers
# write most into it, and how few hidden numbers are active after training.

# %%
from llm_core.model import GPT

texts = [torch.tensor(tokenizer.encode("\n".join(stories(9, seed=s)))[:100]) for s in range(20)]
untrained = GPT(storyteller.config, torch.Generator().manual_seed(0)).eval()
readings = {
    "trained": read_stream(storyteller, torch.stack(texts)),
    "untrained": read_stream(untrained, torch.stack(texts)),
}

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.4))
parts = ["start", *(f"{kind} {n}" for n in (1, 2, 3) for kind in ("att", "ff"))]
titles = ("Size of the stream", "Size of what is added", "Hidden numbers above 0")
for i, (axis, ticks) in enumerate(zip(axes, (parts, parts[1:], parts[2::2]), strict=True)):
    for n, (name, reading) in enumerate(readings.items()):
        place = torch.arange(len(ticks)) + (n - 0.5) * 0.4
        axis.bar(place, reading[i], width=0.4, label=name, hatch=["", "//"][n])
    axis.set_xticks(range(len(ticks)), ticks, rotation=60)
    axis.set_title(titles[i])
for axis in axes[:2]:
    axis.set(yscale="log", ylabel="root mean square")
axes[0].legend()
axes[2].set(ylabel="share", ylim=(0, 0.6))
show_figure(
    figure,
    "Bars for the trained and the untrained model. The trained stream grows from step to step and "
    "ends more than fifty times as large. Feed-forward adds more than attention. Half of the "
    "untrained hidden numbers are above 0, and less than a fifth of the trained ones.",
)

# %% [markdown]
# In the trained model the stream grows from block to block, and attention and feed-forward write
# into it more loudly each time, feed-forward the most. Pre-norm allows that: what a sub-layer reads
# is always of one size.
# And training has made feed-forward **sparse**: for any token, most hidden numbers are silent.

# %% [markdown]
# ## 8. Dropout: learning not to rely on one number
#
# A large network can learn its training text by heart. **Dropout** makes that harder: while
# training, each number is set to 0 with the probability $p$, drawn anew at each step. No part can
# rely on another one always being there.

# %%
rng = torch.Generator().manual_seed(5)
x = torch.ones(100_000)
keep = torch.rand(100_000, generator=rng) >= 0.2  # True with probability 0.8

print(f"mean before:                    {x.mean():.2f}")
print(f"mean after dropping a fifth:    {(x * keep).mean():.2f}")
print(f"mean after dividing by 1 - 0.2: {(x * keep / (1 - 0.2)).mean():.2f}")

# %% [markdown]
# Dropping a fifth makes every later sum a fifth too small. So what is left is divided by $1 - p$,
# and the mean stays. Then nothing need be done when training is over: in **evaluation mode**
# dropout hands on its input as it is. (The first paper left training alone and made the numbers
# smaller in evaluation. This form is called **inverted** dropout.)

# %% [markdown]
# ### Exercise 6: dropout


# %% tags=["exercise"]
def dropout(x, p, training, generator):
    """Set each number to 0 with probability p while training, and enlarge the rest.

    Args:
        x: floating-point tensor of any shape.
        p: share of the numbers to drop, 0 <= p < 1.
        training: True in training; False in evaluation, where x is returned as it is.
        generator: a torch.Generator. Draw torch.rand(x.shape, generator=generator) once; an entry
            is dropped where its own number of the draw is below p.

    Returns:
        A tensor like x. Entries that are kept are divided by 1 - p. x is not changed, and
        gradients flow back through the entries that were kept.
    """
    ### BEGIN SOLUTION
    if not training:
        return x
    keep = torch.rand(x.shape, generator=generator) >= p
    return x * keep / (1 - p)
    ### END SOLUTION


# %% tags=["check"]
check("block.dropout", dropout)

# %% [markdown]
# ### The forgotten `eval()`
#
# `nn.Dropout` asks its module in which mode it is: `model.train()` and `model.eval()` switch all
# parts at once, and a new model starts in **training mode**. Here is the storyteller with dropout
# of 0.2 in every block. Somebody has loaded the trained weights and forgotten `eval()`.

# %%
from dataclasses import replace

forgetful = GPT(replace(storyteller.config, dropout=0.2))
_ = forgetful.load_state_dict(storyteller.state_dict())
test_ids = torch.stack(texts)


@torch.no_grad()
def loss_of(model):
    return model(test_ids[:, :-1], targets=test_ids[:, 1:])[1].item()


torch.manual_seed(0)
wrong = [loss_of(forgetful) for _ in range(3)]
_ = forgetful.eval()
right = [loss_of(forgetful) for _ in range(3)]

# %% [markdown]
# What to look for: three evaluations in each mode, of the same model on the same text.

# %%
figure, axis = plt.subplots(figsize=(6.4, 3))
axis.bar([0, 1, 2], wrong, color="C1", hatch="//", label="eval() forgotten")
axis.bar([3.5, 4.5, 5.5], right, color="C0", label="after eval()")
axis.set_xticks([0, 1, 2, 3.5, 4.5, 5.5], ["1st", "2nd", "3rd"] * 2)
axis.set(ylabel="loss (nats per token)", title="The same text, evaluated three times")
axis.legend(loc="upper right")
show_figure(
    figure,
    "Six bars. Without eval() the three losses are different and nearly twice as high; after "
    "eval() they are low and all the same.",
)

# %%
print("without eval(), the same each time:", len(set(wrong)) == 1)
print("with eval(), the same each time:   ", len(set(right)) == 1)
print("without eval(), the loss is at least half as high again:", min(wrong) > 1.5 * max(right))

# %% [markdown]
# No error, no warning, only a model that seems worse than it is. The test is simple: evaluate
# twice. If the results differ, something is still drawing lots. The opposite mistake, `eval()` left
# on while training goes on, is as silent: dropout then never acts.

# %% [markdown]
# ## 9. Where the parameters are
#
# Attention has four matrices of $C \times C$, feed-forward two of $C \times 4C$. (Plus biases; a
# layer norm has $2C$.)
#
# **Predict:** what share of a block's parameters belongs to feed-forward? A number from 0 to 1.

# %%
my_guess = None  # for example 0.5
predict("block.share", my_guess)

# %%
from llm_core.model import count_parameters

first = storyteller.blocks[0]
norms = first.attention_norm, first.feed_forward_norm
sizes = {
    "attention": count_parameters(first.attention),
    "feed-forward": count_parameters(first.feed_forward),
    "norms": sum(count_parameters(norm) for norm in norms),
}
C, hidden = storyteller.config.d_model, storyteller.config.d_ff
by_hand = [4 * (C * C + C), C * hidden + hidden + hidden * C + C, 2 * 2 * C]
print("counted:", sizes)
print("by hand:", by_hand)

reveal(
    "block.share",
    outcome=round(sizes["feed-forward"] / sum(sizes.values()), 2),
    explanation="8·C² against 4·C², so about two thirds, whatever the width.",
)

# %% [markdown]
# Every matrix of the block, drawn to scale: one square unit of area is one parameter. What to look
# for: the two large ones on the right, and how little room biases and norms, the thin lines, need.

# %%
figure, axis = plt.subplots(figsize=(9, 3.4))
left = 0
for name, parameter in first.named_parameters():
    height, width = (parameter.shape[0], 1) if parameter.dim() == 1 else parameter.shape
    colour, hatch = ("C1", "//") if "feed_forward." in name else ("C0", "")
    axis.add_patch(
        plt.Rectangle((left, 0), width, height, facecolor=colour, hatch=hatch, alpha=0.6)
    )
    if parameter.dim() == 2:
        axis.text(left + width / 2, height + 12, name.split(".")[1], ha="center", fontsize=9)
    left += width + 14
axis.set(xlim=(-10, left), ylim=(-20, hidden + 60), title="Attention plain, feed-forward hatched")
axis.set_aspect("equal")
axis.axis("off")
show_figure(
    figure,
    "The matrices of a block to scale: query, key, value and out are squares of 128 by 128; up and "
    "down are rectangles of 512 by 128 and 128 by 512, four times as large. Biases and "
    "norms are thin lines.",
)

# %% [markdown]
# Two thirds of a block's parameters work on single tokens; one third fetches from other tokens.

# %% [markdown]
# ## 10. Assemble it
#
# ### Exercise 7: the whole block
#
# Everything is there. The four parts are functions, as in exercise 5.


# %% tags=["exercise"]
def transformer_block(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """Send x through attention, then feed-forward, each with pre-norm and a residual connection.

    Args:
        x: the residual stream, shape (B, T, C).
        attention_norm: the norm in front of attention, called as attention_norm(x).
        attention: a function from (B, T, C) to (B, T, C).
        feed_forward_norm: the norm in front of feed-forward, with parameters of its own.
        feed_forward: a function from (B, T, C) to (B, T, C).

    Returns:
        A new tensor of shape (B, T, C). Feed-forward works on what attention has left in the
        stream. Each part is called once. x is not changed.
    """
    ### BEGIN SOLUTION
    x = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(x))
    ### END SOLUTION


# %% tags=["check"]
check("block.transformer_block", transformer_block)

# %% [markdown]
# ### As modules
#
# Now with parameters of their own, and with every choice that `GPTConfig` offers. The norms and the
# activations are the functions that you have written above; attention is that of chapter 04.


# %%
class Norm(nn.Module):
    """Layer norm or RMS norm, as the config says."""

    def __init__(self, config):
        super().__init__()
        self.kind, self.eps = config.norm, config.norm_eps
        self.weight = nn.Parameter(torch.ones(config.d_model))  # the gain
        with_bias = config.bias and self.kind == "layernorm"
        self.bias = nn.Parameter(torch.zeros(config.d_model)) if with_bias else None

    def forward(self, x):
        if self.kind == "rmsnorm":
            return block.rms_norm(x, self.weight, self.eps)
        return block.layer_norm(x, self.weight, self.bias, self.eps)


# %%
ACTIVATE = {
    "relu": torch.relu,
    "gelu": block.gelu,
    "gelu_tanh": lambda x: block.gelu(x, approximate=True),
    "swiglu": lambda x: x * torch.sigmoid(x),  # silu, for the gate
}


class FeedForward(nn.Module):
    """Expand, activate, project; with a gate when the activation is SwiGLU."""

    def __init__(self, config):
        super().__init__()
        C, hidden = config.d_model, config.d_ff
        self.activate = ACTIVATE[config.activation]
        self.gate = nn.Linear(C, hidden, config.bias) if config.activation == "swiglu" else None
        self.up = nn.Linear(C, hidden, config.bias)
        self.down = nn.Linear(hidden, C, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x):
        hidden = self.activate(self.up(x) if self.gate is None else self.gate(x))  # (B, T, F)
        if self.gate is not None:
            hidden = hidden * self.up(x)
        return self.dropout(self.down(hidden))  # (B, T, C)


# %%
class TransformerBlock(nn.Module):
    """Attention and feed-forward, each with a norm and a residual connection."""

    def __init__(self, config):
        super().__init__()
        self.norm_placement = config.norm_placement
        self.attention_norm = Norm(config)
        self.attention = MultiHeadAttention(config)
        self.feed_forward_norm = Norm(config)
        self.feed_forward = FeedForward(config)

    def forward(self, x):
        if self.norm_placement == "pre":
            x = x + self.attention(self.attention_norm(x))
            return x + self.feed_forward(self.feed_forward_norm(x))
        x = self.attention_norm(x + self.attention(x))
        return self.feed_forward_norm(x + self.feed_forward(x))


# %% [markdown]
# ### Equal to llm_core's, in every combination
#
# Norms, activations, positions, placements, biases, and two options of attention that a later
# chapter explains: all combinations, each with random parameters, so that no gain is 1 and no bias
# 0. Output and gradient must agree.

# %%
import itertools

from llm_core.config import ACTIVATIONS, NORM_PLACEMENTS, NORMS, POSITIONS

OPTIONS = {
    "norm": NORMS,
    "activation": ACTIVATIONS,
    "positions": POSITIONS,
    "norm_placement": NORM_PLACEMENTS,
    "bias": (True, False),
    "qk_norm": (True, False),
    "n_kv_heads": (1, 2),
}
rng = torch.Generator().manual_seed(6)
x = torch.randn(2, 5, 16, generator=rng)


def output_and_gradient(layer):
    leaf = x.clone().requires_grad_()
    output = layer(leaf)
    output.square().sum().backward()
    return torch.stack((output, leaf.grad))


# %%
def agree(**choice):
    """Say whether my block and llm_core's do the same with this config."""
    config = GPTConfig(100, d_model=16, n_heads=2, norm_eps=1e-3, **choice)
    mine, finished = TransformerBlock(config), block.TransformerBlock(config)
    for parameter in finished.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=rng)
    mine.load_state_dict(finished.state_dict())
    both = output_and_gradient(mine), output_and_gradient(finished)
    return torch.allclose(*both, rtol=1e-3, atol=1e-4)


combinations = [
    dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())
]

# %% tags=["nbval-ignore-output"]
agreed = [agree(**choice) for choice in tqdm(combinations, desc="combinations", file=sys.stdout)]
print(f"equal to llm_core's: {sum(agreed)} of {len(agreed)}")

# %%
print("equal in every combination:", all(agreed))

# %% [markdown]
# From here on the course uses `TransformerBlock` from `llm_core.block`. It calls torch's own
# norms and GELU, and can hand out attention weights.

# %% [markdown]
# ### Exercise 8: expose the bug
#
# A colleague wrote `leaky_layer_norm(x)` for the vectors of one text, shape $(T, C)$. It takes one
# mean and one variance over **all** tokens of the text. Their test passes:

# %%
from llm_core.exercises.block import leaky_layer_norm

x = torch.randn(1, 8, generator=torch.Generator().manual_seed(7))

print("the colleague's test passes:", torch.allclose(leaky_layer_norm(x), F.layer_norm(x, (8,))))

# %% [markdown]
# Show what is wrong, without a look at the right function: write two texts whose first token is the
# same, and for which the leaky norm still gives the first token two different outputs.


# %% tags=["exercise"]
def expose_bug():
    """Return two texts that show how `leaky_layer_norm` leaks the future.

    Returns:
        (x, changed): two floating-point tensors of the same shape (T, C). Row 0 is the same in
        both; later rows may differ. Row 0 of leaky_layer_norm(x) and of
        leaky_layer_norm(changed) must differ by more than 0.01 somewhere.
    """
    ### BEGIN SOLUTION
    x = torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    changed = torch.tensor([[1.0, 3.0], [20.0, 40.0]])
    return x, changed
    ### END SOLUTION


# %% tags=["check"]
check("block.expose_bug", expose_bug)

# %% [markdown]
# A causal mask guards attention alone. Any other part that mixes tokens, be it a mean, can let the
# future through. Chapter 06 tests whole models in this way: change a late token, and no earlier
# output may move.
#
# A stack of blocks is not a language model yet: it takes vectors and returns vectors, so it can
# neither read an id nor name the next token. Chapter 06 puts embeddings in front and logits behind,
# chooses the random numbers to start from, and counts what the whole costs.

# %% [markdown]
# ## Recap
#
# 1. **Layer norm** gives each vector the mean 0 and the variance 1, along its channels and never
#    over batch or tokens; eps stands inside the root, gain and bias come last. **RMS norm** leaves
#    the mean out.
# 2. **Feed-forward** expands, activates and projects, for each token by itself. Without an
#    activation two linear layers are one.
# 3. A **residual connection** adds the input to the output: the derivative is $1 + f'$, and the
#    stream keeps what averaging would lose.
# 4. **Pre-norm** keeps the straight path free. Of 24 blocks, the first gets about as much gradient
#    as the last; with neither norm nor residual, next to nothing.
# 5. **Dropout** acts in training alone; forgetting `eval()` makes a model worse without a word.

# %% [markdown]
# ## Quiz

# %%
quiz("block.recap")

# %% [markdown]
# ## Your progress

# %% tags=["nbval-ignore-output"]
progress()

# %% [markdown]
# ## Go further
#
# - Next: [chapter 06](06_model.ipynb). You have one part of the stack; there you build the whole,
#   and it writes.
# - Train *residual, post-norm* with a third of the learning rate: `train("residual, post-norm",
#   1e-3)`. How does it compare now? And pre-norm with three times as much?
# - In `AnyBlock`, divide every sub-layer's output by $\sqrt{48}$ (there are 48 of them). What does
#   that do to the size of the stream without a norm? Chapter 06 does something like it.
# - Walk through the trained storyteller as `read_stream` does, and take the likeness after each
#   block. Do its tokens become more alike?
# - Write layer norm's backward pass by hand and compare it with `x.grad`.
#
# ## Papers
#
# - Ba et al. 2016, [Layer Normalization](https://arxiv.org/abs/1607.06450).
# - Zhang and Sennrich 2019, [Root Mean Square Layer
#   Normalization](https://arxiv.org/abs/1910.07467).
# - Hendrycks and Gimpel 2016, [Gaussian Error Linear Units](https://arxiv.org/abs/1606.08415).
# - He et al. 2015, [Deep Residual Learning for Image
#   Recognition](https://arxiv.org/abs/1512.03385): where residual connections come from.
# - Vaswani et al. 2017, [Attention Is All You Need](https://arxiv.org/abs/1706.03762), sections 3.1
#   and 3.3: the first block, with post-norm and ReLU.
# - Xiong et al. 2020, [On Layer Normalization in the Transformer
#   Architecture](https://arxiv.org/abs/2002.04745): pre-norm against post-norm.
# - Dong et al. 2021, [Attention is not all you need](https://arxiv.org/abs/2103.03404): attention
#   alone makes all tokens alike.
# - Srivastava et al. 2014, [Dropout](https://jmlr.org/papers/v15/srivastava14a.html).
# - Shazeer 2020, [GLU Variants Improve Transformer](https://arxiv.org/abs/2002.05202): SwiGLU.
