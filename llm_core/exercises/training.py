"""Exercises and quizzes of chapter 07, training: references, inputs, known mistakes, hints.

Letters: B batch, T time, V vocabulary, N targets. A function whose name begins with an underscore
and that stands under "known mistakes" is wrong on purpose: it is what learners write, kept so that
`check` can recognise it and say what happened.
"""

import math
import unicodedata
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core import loss as losses
from llm_core.config import GPTConfig
from llm_core.data import Batch
from llm_core.exercises.base import Case, Exercise, Made, Mistake, Option, Property, Question
from llm_core.exercises.calls import copy_value
from llm_core.exercises.compare import differences
from llm_core.exercises.inputs import gap_between, gradient_trouble, normal, token_ids
from llm_core.loss import cross_entropy
from llm_core.model import GPT
from llm_core.optim import clip_grad_norm, warmup_cosine
from llm_core.training import evaluate, model_loss
from llm_core.validate import require_module

INF = math.inf
LN_2 = math.log(2)


def careless_evaluate(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Return the mean loss per target over `batches`, with a bug that hides well.

    The model stays in whatever mode it is in, which after a training step is training mode: dropout
    goes on. The exercise `training.expose_bug` asks for a model and batches on which this and
    `llm_core.training.evaluate` differ.

    Args:
        model: called as `model(x, targets=y)`; returns the logits and the loss.
        batches: pairs (x, y); a target of -100 does not count.

    Raises:
        TypeError: `model` is not a module.
        ValueError: there are no batches.
    """
    require_module("model", model)
    if not batches:
        raise ValueError("batches is empty; give at least one pair (x, y)")
    total, n_targets = 0.0, 0
    with torch.no_grad():
        for x, y in batches:
            n = int((y != -100).sum())
            total += model_loss(model, (x, y)).item() * n
            n_targets += n
    return total / n_targets


# --- References: what a learner should write, where llm_core has no such function of its own. ---


def bits_per_byte(losses_of_tokens: Tensor, text: str) -> float:
    """Return the bits that a model spends on each byte of a text, from its losses (N,)."""
    n_bytes = len(text.encode("utf-8"))
    mean = losses_of_tokens.double().mean().item()
    return losses.bits_per_byte(mean, len(losses_of_tokens), n_bytes)


def cross_entropy_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the gradient of the mean loss for logits (N, V) and targets (N,): (N, V)."""
    counts = targets != -100  # (N,)
    right = F.one_hot(targets.where(counts, 0), logits.shape[1]).to(logits.dtype)  # (N, V)
    gradient = (torch.softmax(logits, dim=-1) - right) / counts.sum()  # (N, V)
    return gradient * counts[:, None]


def adam_step(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make update number t (from 1) of w with gradient g; return the new w, m and v."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)
    w = w - lr * m_hat / (v_hat.sqrt() + eps)
    return w, m, v


def adamw_step(
    w: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Make update number t (from 1) of w with decoupled decay; return the new w, m and v."""
    shrunk = w - lr * weight_decay * w
    return adam_step(shrunk, g, m, v, t, lr, beta1, beta2, eps)


def clip_gradients(gradients: list[Tensor], max_norm: float) -> list[Tensor]:
    """Return the gradients, scaled down together when their joint length is above max_norm."""
    length = math.sqrt(sum(float((g.double() ** 2).sum()) for g in gradients))
    scale = max_norm / length if length > max_norm else 1.0
    return [g * scale for g in gradients]


def join_gradients(gradients: list[Tensor], n_targets: list[int]) -> Tensor:
    """Return the gradient of the mean over all targets, from those of the pieces' means."""
    total = sum(n_targets)
    joined = torch.zeros_like(gradients[0])
    for g, n in zip(gradients, n_targets, strict=True):
        joined = joined + g * (n / total)
    return joined


def train(
    model: nn.Module,
    batches: list[Batch],
    optimizer: torch.optim.Optimizer,
    rates: list[float],
    max_norm: float,
) -> list[float]:
    """Train `model` on each batch once, at its own learning rate; return the losses."""
    told = []
    model.train()
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        _, loss = model(x, targets=y)
        loss.backward()
        clip_grad_norm(model.parameters(), max_norm)
        optimizer.step()
        told.append(loss.item())
    return told


def expose_bug() -> tuple[GPTConfig, list[Batch]]:
    """Return a config with dropout, which the careless function leaves on, and one batch."""
    config = GPTConfig(vocab_size=10, context_length=8, d_model=16, n_heads=2, dropout=0.5)
    ids = torch.randint(10, (4, 9), generator=torch.Generator().manual_seed(0))
    return config, [(ids[:, :-1], ids[:, 1:])]


# --- Inputs. Every size differs from every other, except where a case says otherwise. ---


def _with_ignored(targets: Tensor, *places: tuple[int, ...]) -> Tensor:
    """Return the targets with -100 at some places."""
    targets = targets.clone()
    for place in places:
        targets[place] = -100
    return targets


def _by_hand_logits() -> Tensor:
    """Return logits (1, 3, 4) whose probabilities are tenths."""
    p = torch.tensor([[[0.7, 0.1, 0.1, 0.1], [0.2, 0.5, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]]])
    return p.log()


FAR = 1e8
"""So large that float32 rounds all numbers less than 4 away from it to it; doubles do not."""


def _positive(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers from 0.1 up, as a running mean of squares holds them."""
    return normal(seed, *shape, dtype=dtype).square() + 0.1


def _case_named(cases: Sequence[Case], name: str) -> Case:
    """Return the case of that name."""
    return next(case for case in cases if case.name == name)


def _doubles_kept(reference: Callable, cases: Sequence[Case]) -> Callable:
    """Return a test that on the case "double precision" no step goes through float32.

    The plain numbers in that case are exact in float32 too, so that a share such as
    `1 / counts.sum()`, which torch makes in float32, does no harm.
    """
    case = _case_named(cases, "double precision")

    def broken(answer) -> str | None:
        right, got = (f(*copy_value(case.args)) for f in (reference, answer))
        if differences(right, got, 1e-5) or not differences(right, got, 1e-11, 1e-11):
            return None  # what is further off the case itself shows
        pairs = [(right, got)] if isinstance(right, Tensor) else zip(right, got, strict=True)
        gap = max(gap_between(a, b) for a, b in pairs)
        return (
            f"With doubles your result is off by up to {gap:.2g}, as much as float32 rounds; does "
            "a step go through it, by .float() or by a new tensor without dtype=?"
        )

    return broken


def _in_float32(function: Callable, inputs: str) -> Mistake:
    """Return the known mistake of calculating in float32; `inputs` are what says the dtype."""
    return Mistake(
        "in_float32",
        function,
        "You calculate in float32 when doubles come in, and lose their last digits; let every step "
        f"keep the dtype of the {inputs}.",
        "doubles that float32 can hold",
    )


# --- cross_entropy ---

CROSS_ENTROPY_CASES = (
    Case("three tokens by hand", (_by_hand_logits(), torch.tensor([[0, 1, 3]]))),
    Case("B=2, T=3, V=5", (2 * normal(1, 2, 3, 5), token_ids(2, 5, 2, 3))),
    Case("B, T and V all 4", (3 * normal(3, 4, 4, 4), token_ids(4, 4, 4, 4))),
    Case(
        "no logits between the likely and the unlikely",
        (_by_hand_logits() * 9, torch.tensor([[3, 0, 2]])),
    ),
    Case(
        "padding at the end of one text",
        (2 * normal(5, 2, 4, 6), _with_ignored(token_ids(6, 6, 2, 4), (1, 1), (1, 2), (1, 3))),
    ),
    Case(
        "all but one target ignored",
        (2 * normal(7, 2, 3, 5), _with_ignored(token_ids(8, 5, 2, 3), (0,), (1, 0), (1, 1))),
    ),
    Case(
        "the id 2 stands for padding",
        (2 * normal(9, 2, 3, 4), torch.tensor([[0, 3, 2], [1, 2, 2]]), 2),
    ),
    Case(
        "logits near 1,000",
        (torch.tensor([[[1000.0, 998.0, 999.0], [0.0, 1.0, 3.0]]]), torch.tensor([[1, 0]])),
    ),
    Case(
        "one row far below the other",
        (torch.tensor([[[-500.0, -501.0], [400.0, 402.0]]]), torch.tensor([[1, 0]])),
    ),
    Case(
        "a target that the model holds for impossible",
        (torch.tensor([[[0.0, 300.0, 1.0], [2.0, 0.0, -250.0]]]), torch.tensor([[0, 2]])),
    ),
    Case(
        "a token of which the model is sure, and rightly",
        (torch.tensor([[[1000.0, 0.0], [0.0, 0.0]]]), torch.tensor([[0, 1]])),
    ),
    Case("equal logits", (torch.full((2, 2, 7), 0.3), token_ids(10, 7, 2, 2))),
    Case("one token", (normal(11, 1, 1, 5), torch.tensor([[4]]))),
    Case("double precision", (normal(12, 2, 2, 5, dtype=torch.float64), token_ids(13, 5, 2, 2))),
    Case(
        "doubles that float32 cannot tell apart",
        (FAR + normal(16, 2, 2, 5, dtype=torch.float64), token_ids(17, 5, 2, 2)),
    ),
    Case(
        "transposed logits",
        (2 * normal(14, 5, 3, 2).transpose(0, 2), token_ids(15, 5, 2, 3)),
    ),
)


def _ce_torch(logits, targets, ignore_index=-100):
    return F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=ignore_index
    )


def _ce_kept_rows(logits, targets, ignore_index=-100):
    kept = targets != ignore_index
    log_p = torch.log_softmax(logits[kept], dim=-1)
    return -log_p[torch.arange(len(log_p)), targets[kept]].mean()


def _ce_by_loop(logits, targets, ignore_index=-100):
    total, count = 0.0, 0
    for row, target in zip(logits.flatten(0, 1), targets.flatten().tolist(), strict=True):
        if target != ignore_index:
            largest = row.max()
            total = total + largest + (row - largest).exp().sum().log() - row[target]
            count += 1
    return total / count


def _ce_one_hot(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    right = F.one_hot(targets.masked_fill(~counts, 0), logits.shape[-1])
    losses_ = torch.logsumexp(logits, -1) - (logits * right).sum(-1)
    return (losses_ * counts).sum() / counts.sum()


# Known mistakes.


def _picked(values, targets, ignore_index):
    ids = targets.masked_fill(targets == ignore_index, 0)
    return values.gather(-1, ids[..., None])[..., 0]


def _mean_counted(values, targets, ignore_index):
    counts = targets != ignore_index
    return values.masked_fill(~counts, 0.0).sum() / counts.sum()


def _ce_overflow(logits, targets, ignore_index=-100):
    per_token = logits.exp().sum(-1).log() - _picked(logits, targets, ignore_index)
    return _mean_counted(per_token, targets, ignore_index)


def _ce_log_of_softmax(logits, targets, ignore_index=-100):
    p = _picked(torch.softmax(logits, -1), targets, ignore_index)
    return _mean_counted(-p.log(), targets, ignore_index)


def _ce_small_number(logits, targets, ignore_index=-100):
    p = _picked(torch.softmax(logits, -1), targets, ignore_index)
    return _mean_counted(-(p + 1e-9).log(), targets, ignore_index)


def _ce_clamped(logits, targets, ignore_index=-100):
    p = _picked(torch.softmax(logits, -1), targets, ignore_index)
    return _mean_counted(-p.clamp(min=1e-9).log(), targets, ignore_index)


def _ce_whole_tensor_max(logits, targets, ignore_index=-100):
    largest = logits.max()
    totals = (logits - largest).exp().sum(-1).log() + largest
    return _mean_counted(totals - _picked(logits, targets, ignore_index), targets, ignore_index)


def _ce_max_not_put_back(logits, targets, ignore_index=-100):
    totals = (logits - logits.amax(-1, keepdim=True)).exp().sum(-1).log()
    return _mean_counted(totals - _picked(logits, targets, ignore_index), targets, ignore_index)


def _ce_sum(logits, targets, ignore_index=-100):
    return cross_entropy(logits, targets, ignore_index) * (targets != ignore_index).sum()


def _ce_mean_of_all(logits, targets, ignore_index=-100):
    return _ce_sum(logits, targets, ignore_index) / targets.numel()


def _ce_mean_over_texts(logits, targets, ignore_index=-100):
    return _ce_sum(logits, targets, ignore_index) / len(targets)


def _ce_mean_of_means(logits, targets, ignore_index=-100):
    pairs = zip(logits, targets, strict=True)
    means = [cross_entropy(x, y, ignore_index) for x, y in pairs if (y != ignore_index).any()]
    return torch.stack(means).mean()


def _ce_each_text(logits, targets, ignore_index):
    counts = (targets != ignore_index).sum(-1)
    return _ce_each(logits, targets, ignore_index).sum(-1), counts


def _ce_mean_of_means_with_0(logits, targets, ignore_index=-100):
    totals, counts = _ce_each_text(logits, targets, ignore_index)
    return (totals / counts.clamp(min=1)).mean()


def _ce_mean_of_means_with_nan(logits, targets, ignore_index=-100):
    totals, counts = _ce_each_text(logits, targets, ignore_index)
    return (totals / counts).mean()


def _ce_without_the_sure(logits, targets, ignore_index=-100):
    surprises = _ce_each(logits, targets, ignore_index)
    return surprises[surprises > 0].mean()


def _ce_without_id_0(logits, targets, ignore_index=-100):
    ids = targets.clamp(min=0)
    return _mean_counted(torch.logsumexp(logits, -1) - _picked(logits, ids, 0), ids, 0)


def _ce_in_float32(logits, targets, ignore_index=-100):
    return cross_entropy(logits.float(), targets, ignore_index).to(logits.dtype)


def _ce_padding_as_zero(logits, targets, ignore_index=-100):
    log_p = torch.log_softmax(logits, -1)
    return -_picked(log_p, targets, ignore_index).mean()


def _ce_not_ignored(logits, targets, ignore_index=-100):
    log_p = torch.log_softmax(logits, -1)
    return -log_p.gather(-1, targets[..., None]).mean()


def _ce_always_100(logits, targets, ignore_index=-100):
    return cross_entropy(logits, targets)


def _ce_negative(logits, targets, ignore_index=-100):
    return -cross_entropy(logits, targets, ignore_index)


def _ce_probability(logits, targets, ignore_index=-100):
    p = _picked(torch.softmax(logits, -1), targets, ignore_index)
    return _mean_counted(1 - p, targets, ignore_index)


def _ce_log_of_mean(logits, targets, ignore_index=-100):
    p = _picked(torch.softmax(logits, -1), targets, ignore_index)
    return -_mean_counted(p, targets, ignore_index).log()


def _ce_logit_alone(logits, targets, ignore_index=-100):
    return _mean_counted(-_picked(logits, targets, ignore_index), targets, ignore_index)


def _ce_over_time(logits, targets, ignore_index=-100):
    log_p = torch.log_softmax(logits, dim=1)
    return _mean_counted(-_picked(log_p, targets, ignore_index), targets, ignore_index)


def _ce_likeliest(logits, targets, ignore_index=-100):
    best = -torch.log_softmax(logits, -1).amax(-1)
    return _mean_counted(best, targets, ignore_index)


def _ce_entropy(logits, targets, ignore_index=-100):
    log_p = torch.log_softmax(logits, -1)
    return _mean_counted(-(log_p.exp() * log_p).sum(-1), targets, ignore_index)


def _ce_shifted(logits, targets, ignore_index=-100):
    later = targets[:, 1:]
    return _mean_counted(_ce_each(logits[:, :-1], later, ignore_index), later, ignore_index)


def _ce_softmax_twice(logits, targets, ignore_index=-100):
    return cross_entropy(torch.softmax(logits, -1), targets, ignore_index)


def _ce_bits(logits, targets, ignore_index=-100):
    return cross_entropy(logits, targets, ignore_index) / LN_2


def _ce_perplexity(logits, targets, ignore_index=-100):
    return cross_entropy(logits, targets, ignore_index).exp()


def _ce_each(logits, targets, ignore_index=-100):
    per_token = torch.logsumexp(logits, -1) - _picked(logits, targets, ignore_index)
    return per_token.masked_fill(targets == ignore_index, 0.0)


CROSS_ENTROPY_MISTAKES = (
    Mistake(
        "overflow",
        _ce_overflow,
        "You take e to the power of the raw logits, and e to the 1,000 is larger than any float; "
        "take the largest logit of each row out of the sum first.",
        "logits between -10 and 10",
    ),
    Mistake(
        "log_of_softmax",
        _ce_log_of_softmax,
        "You take the logarithm of a probability, which is rounded to 0 when the model holds the "
        "target for impossible; work out ln p from the logits, without p in between.",
        "logits between -10 and 10",
    ),
    Mistake(
        "small_number_added",
        _ce_small_number,
        "You add a small number to each probability, so that no surprise can be larger than that "
        "number allows; from the logits ln p is exact, however small p is.",
        "targets that are not too improbable",
    ),
    Mistake(
        "probability_clamped",
        _ce_clamped,
        "You hold each probability above a small number, so that no surprise can be larger than "
        "that number allows; from the logits ln p is exact, however small p is.",
        "targets that are not too improbable",
    ),
    Mistake(
        "max_over_whole_tensor",
        _ce_whole_tensor_max,
        "You subtract the largest logit of the whole tensor, so the sum of a row far below it is "
        "rounded to 0; each row has its own largest logit.",
        "rows of about the same size",
    ),
    Mistake(
        "max_not_put_back",
        _ce_max_not_put_back,
        "You take the largest logit out of the sum and forget to add it again after the logarithm, "
        "so every loss is too small by it.",
        "rows whose largest logit is 0",
    ),
    Mistake(
        "sum_not_mean",
        _ce_sum,
        "You add the losses up where their mean was asked for, so a larger batch would have a "
        "larger loss.",
        "a single target",
    ),
    Mistake(
        "mean_over_ignored_too",
        _ce_mean_of_all,
        "You divide by the number of all targets, so padding counts as a loss of 0 and makes the "
        "mean too small; divide by the number of those that count.",
        "targets without padding",
    ),
    Mistake(
        "divided_by_texts",
        _ce_mean_over_texts,
        "You divide by the number of texts, B; the mean is over the targets that count.",
        "texts of one token",
    ),
    Mistake(
        "mean_of_means",
        _ce_mean_of_means,
        "You average each text first and then those means, so a token of a short text counts more "
        "than one of a long text.",
        "targets without padding",
    ),
    Mistake(
        "mean_of_means_with_0",
        _ce_mean_of_means_with_0,
        "You average each text first and then those means, so a token of a short text counts more "
        "than one of a long text, and a text of nothing but padding as a loss of 0.",
        "targets without padding",
    ),
    Mistake(
        "mean_of_means_with_nan",
        _ce_mean_of_means_with_nan,
        "You average each text first and then those means: a text of nothing but padding is 0 "
        "divided by 0, and a token of a short text counts more than one of a long text; add up "
        "over all texts, and divide once.",
        "targets without padding",
    ),
    Mistake(
        "sure_answers_left_out",
        _ce_without_the_sure,
        "You leave out targets whose surprise is 0, but a sure, right answer counts in the mean; "
        "only the targets themselves say what is ignored.",
        "a model that is never quite sure",
    ),
    Mistake(
        "id_0_ignored",
        _ce_without_id_0,
        "You leave out the targets that are not above 0, but id 0 is a valid token; only what "
        "equals ignore_index does not count.",
        "targets from 1 up",
    ),
    _in_float32(_ce_in_float32, "logits"),
    Mistake(
        "padding_as_token_0",
        _ce_padding_as_zero,
        "You let padding count as if token 0 had been asked for there.",
        "targets without padding",
    ),
    Mistake(
        "ignored_not_taken_out",
        _ce_not_ignored,
        "You look up the logit of target -100, which does not exist; replace the ignored targets "
        "by some valid id first, and leave their losses out of the mean.",
        "targets without padding",
    ),
    Mistake(
        "ignore_index_unused",
        _ce_always_100,
        "You leave out the targets that are -100 and never use the argument ignore_index.",
        "only calls with the default",
    ),
    Mistake(
        "sign_forgotten",
        _ce_negative,
        "Your loss is negative: ln p is below 0 for every p below 1, and the surprise is -ln p.",
        "only the size of the number",
    ),
    Mistake(
        "one_minus_p",
        _ce_probability,
        "You average 1 - p, which is never above 1 however sure and wrong the model is; the "
        "surprise is -ln p, without a limit.",
        "that a better model has a smaller loss",
    ),
    Mistake(
        "log_of_mean",
        _ce_log_of_mean,
        "You average the probabilities and then take the logarithm; take it of each one first, "
        "so that a single bad miss shows.",
        "a single target, or equal logits",
    ),
    Mistake(
        "no_log_sum_exp",
        _ce_logit_alone,
        "You return minus the target's logit alone; without ln of the sum of the exponentials a "
        "model could lower its loss by making every logit large.",
        "that a larger logit for the target lowers the loss",
    ),
    Mistake(
        "softmax_over_time",
        _ce_over_time,
        "Your softmax runs over the axis T, so positions compete with each other; the V logits "
        "of one position must.",
        "only that the loss is positive, or a symmetric table",
    ),
    Mistake(
        "likeliest_token",
        _ce_likeliest,
        "You take the probability of the likeliest token, where that of the token that came "
        "was asked for.",
        "a model that is always right",
    ),
    Mistake(
        "entropy",
        _ce_entropy,
        "You compute the surprise that the model expects, its entropy, and never look at what "
        "really came.",
        "equal logits",
    ),
    Mistake(
        "shifted_again",
        _ce_shifted,
        "You shift the targets by one, but they are shifted already: targets[b, t] is the token "
        "that came after position t.",
        "only the shape of the result",
    ),
    Mistake(
        "softmax_twice",
        _ce_softmax_twice,
        "You apply softmax to the logits and then once more inside the loss, so even a perfect "
        "model would have a loss well above 0.",
        "equal logits",
    ),
    Mistake(
        "perplexity",
        _ce_perplexity,
        "You return e to the power of the loss, which is the perplexity; the loss itself was "
        "asked for.",
        "that a better model has a smaller number",
    ),
)


def _ce_ln_v(answer) -> str | None:
    for V in (2, 50):
        got = answer(torch.zeros(2, 3, V), token_ids(20, V, 2, 3)).item()
        if abs(got - math.log(V)) > 1e-4:
            return (
                f"With {V} equal logits each token has the probability 1/{V}, so the loss is "
                f"ln {V} = {math.log(V):.3f}, but yours is {got:.3f}."
            )
    return None


def _ce_shift(answer) -> str | None:
    logits, targets = normal(21, 2, 3, 5), token_ids(22, 5, 2, 3)
    gap = gap_between(answer(logits.clone(), targets), answer(logits + 7, targets))
    if gap < 1e-4:
        return None
    return (
        f"After adding 7 to every logit your loss changes by {gap:.3g}, but softmax looks at the "
        "differences between logits alone."
    )


def _ce_ignored(answer) -> str | None:
    logits, targets = normal(23, 2, 4, 5), _with_ignored(token_ids(24, 5, 2, 4), (0, 3), (1, 2))
    changed = logits.clone()
    changed[0, 3], changed[1, 2] = 50.0, normal(25, 5) * 9
    gap = gap_between(answer(logits, targets.clone()), answer(changed, targets.clone()))
    if gap < 1e-4:
        return None
    return (
        f"I changed the logits at two places whose target is ignored, and your loss moved by "
        f"{gap:.3g}; they must play no part."
    )


def _ce_order(answer) -> str | None:
    logits, targets = normal(26, 3, 4, 5), _with_ignored(token_ids(27, 5, 3, 4), (2, 0), (2, 1))
    order = torch.tensor([2, 0, 1])
    gap = gap_between(answer(logits, targets), answer(logits[order], targets[order]))
    if gap < 1e-4:
        return None
    return f"With the texts in another order your loss changes by {gap:.3g}; a mean must not."


def _ce_no_floor(answer) -> str | None:
    got = answer(torch.tensor([[[0.0, 200.0]]]), torch.tensor([[0]])).item()
    if not math.isfinite(got) or abs(got - 200) < 1e-2:
        return None  # infinite: the cases show it
    return (
        f"A target with the logit 0, beside another of 200, surprises with 200 nats, but yours is "
        f"{got:.4g}; does something keep p from becoming 0? Work ln p out of the logits, without p."
    )


def _ce_gradient(answer) -> str | None:
    case = _case_named(CROSS_ENTROPY_CASES, "padding at the end of one text")
    logits, targets = case.args[0].clone().requires_grad_(), case.args[1].clone()
    loss = answer(logits, targets)
    if gap_between(loss.detach(), cross_entropy(*case.args)) > 1e-4:
        return None  # the case itself shows that the loss is wrong, which comes first
    trouble = gradient_trouble(loss, {"logits": logits})
    if trouble:
        return trouble
    (got,) = torch.autograd.grad(answer(logits, targets), logits)
    right = cross_entropy_gradient(logits.detach().flatten(0, 1), targets.flatten())
    gap = gap_between(got.flatten(0, 1), right)
    if gap < 1e-4:
        return None
    return f"The gradient that flows back through your loss is off by up to {gap:.3g}."


CROSS_ENTROPY = Exercise(
    id="training.cross_entropy",
    title="Cross-entropy",
    reference=cross_entropy,
    cases=CROSS_ENTROPY_CASES,
    mistakes=CROSS_ENTROPY_MISTAKES,
    conventions=(
        Mistake(
            "bits",
            _ce_bits,
            "Your loss is in bits, with the logarithm to base 2; here losses are in nats, with the "
            "natural logarithm.",
            "comparing two models",
        ),
        Mistake(
            "one_for_each_token",
            _ce_each,
            "You return the loss of each token; here it is their mean, one number.",
            "calling .mean() on the result",
        ),
    ),
    right=(_ce_torch, _ce_kept_rows, _ce_by_loop, _ce_one_hot),
    properties=(
        Property("a model that knows nothing loses ln V", _ce_ln_v),
        Property("adding one number to every logit changes nothing", _ce_shift),
        Property("what is ignored plays no part", _ce_ignored),
        Property("the order of the texts does not matter", _ce_order),
        Property("there is no limit to a surprise", _ce_no_floor),
        Property("the right gradient comes back to the logits", _ce_gradient),
        Property("doubles stay doubles", _doubles_kept(cross_entropy, CROSS_ENTROPY_CASES)),
    ),
    hints=(
        "For one token: -ln p(target) = ln(sum of all exp(logits)) - logit of the target. How do "
        "you find these two numbers for all tokens at once?",
        "Sub-goals: the log-sum-exp of each row, with its largest logit taken out and added again; "
        "the logit at the target's place (gather), with ignored targets replaced by any valid id; "
        "the sum of the losses that count, divided by how many count.",
        "counts = targets != ignore_index; ids = targets.where(counts, 0)[..., None]; the logit of "
        "the target is logits.gather(-1, ids)[..., 0]. With per_token = log_sum_exp - that, return "
        "per_token.where(counts, 0.0).sum() / counts.sum().",
    ),
    solution=(
        "p(target) is exp(logit of the target) divided by the sum of all exponentials, so its "
        "negative logarithm is a difference of two numbers that never overflow and never become "
        "the logarithm of 0. Only targets that count are in the sum, and only they are in the "
        "number that it is divided by."
    ),
    checked="logits of 1,000, impossible and sure targets, padding, another ignore_index, doubles, "
    "the gradient",
)


# --- bits_per_byte ---

BITS_PER_BYTE_CASES = (
    Case("two tokens by hand", (torch.tensor([LN_2, 3 * LN_2]), "abcd")),
    Case("plain letters", (_positive(30, 5), "The cat sat.")),
    Case("letters of two bytes", (_positive(31, 4), "Größe über Maß")),
    Case("an emoji and a sign of three bytes", (_positive(32, 3), "5 € 🙂!")),
    Case("more tokens than characters", (_positive(33, 9), "naïve")),
    Case("a single token", (torch.tensor([1.7]), "to")),
    Case("a sure model", (torch.zeros(3), "one two")),
    Case("double precision", (_positive(34, 6, dtype=torch.float64), "déjà vu")),
    Case("accents of their own, as in e + ´", (_positive(35, 4), "cafe\u0301 a\u0300")),
    Case(
        "empty lines around and between", (_positive(36, 7), "\n  One line,\n\nand another.  \n\n")
    ),
    Case("capitals whose small form is longer", (_positive(37, 3), "İ and İ")),
    Case("a long text", (_positive(38, 41), "Mia has the ball. " * 9)),
)


def _bpb_plain(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / math.log(2) / len(text.encode())


def _bpb_log2(losses_of_tokens, text):
    bits = float((losses_of_tokens * math.log2(math.e)).sum())
    return bits / len(bytes(text, "utf-8"))


# Known mistakes.


def _n_bytes(text):
    return len(text.encode())


def _bpb_mean(losses_of_tokens, text):
    return losses_of_tokens.mean().item() / LN_2 / _n_bytes(text)


def _bpb_per_token(losses_of_tokens, text):
    return losses_of_tokens.mean().item() / LN_2


def _bpb_upside_down(losses_of_tokens, text):
    return losses_of_tokens.mean().item() / LN_2 * _n_bytes(text) / len(losses_of_tokens)


def _bpb_times_ln2(losses_of_tokens, text):
    return losses_of_tokens.sum().item() * LN_2 / _n_bytes(text)


def _bpb_log_of_loss(losses_of_tokens, text):
    return losses_of_tokens.log2().sum().item() / _n_bytes(text)


def _bpb_log_of_sum(losses_of_tokens, text):
    return math.log2(losses_of_tokens.sum().item() or 1.0) / _n_bytes(text)


def _bpb_exp(losses_of_tokens, text):
    return losses_of_tokens.mean().exp().item() / _n_bytes(text)


def _bpb_eight(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / LN_2 / (8 * _n_bytes(text))


def _bpb_base_10(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / math.log(10) / _n_bytes(text)


def _bpb_words(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / LN_2 / len(text.split())


def _bpb_whole_text(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / LN_2


def _bpb_utf16(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / LN_2 / len(text.encode("utf-16-le"))


def _bpb_nats(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / _n_bytes(text)


def _bpb_characters(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / LN_2 / len(text)


def _bpb_stripped(losses_of_tokens, text):
    return _bpb_plain(losses_of_tokens, text.strip())


def _bpb_without_line_ends(losses_of_tokens, text):
    return _bpb_plain(losses_of_tokens, "".join(text.splitlines()))


def _bpb_small_letters(losses_of_tokens, text):
    return _bpb_plain(losses_of_tokens, text.lower())


def _bpb_normalised(losses_of_tokens, text):
    return _bpb_plain(losses_of_tokens, unicodedata.normalize("NFC", text))


BITS_PER_BYTE_MISTAKES = (
    Mistake(
        "stripped",
        _bpb_stripped,
        "You leave out the spaces and line ends around the text, but the model paid for them too.",
        "a text that begins and ends with a letter",
    ),
    Mistake(
        "line_ends_left_out",
        _bpb_without_line_ends,
        "You leave out the line ends, which are bytes like all others.",
        "a text of one line",
    ),
    Mistake(
        "small_letters",
        _bpb_small_letters,
        "You count the bytes of the text in small letters, which may be more or fewer; count those "
        "of the text as it is.",
        "letters whose two forms have the same number of bytes",
    ),
    Mistake(
        "normalised",
        _bpb_normalised,
        "You put the text into another Unicode form before you count its bytes; count those of the "
        "text as it is.",
        "a text without accents of their own",
    ),
    Mistake(
        "mean_and_divided_again",
        _bpb_mean,
        "You divide the mean loss by the number of bytes, so the losses are divided twice, once "
        "by tokens and once by bytes; add them up in place of the mean.",
        "a single token",
    ),
    Mistake(
        "per_token",
        _bpb_per_token,
        "You return bits for each token; a tokenizer with longer tokens would look worse, though "
        "it needs fewer of them for the same text.",
        "as many tokens as bytes",
    ),
    Mistake(
        "ratio_upside_down",
        _bpb_upside_down,
        "You multiply by bytes per token where tokens per byte were needed.",
        "as many tokens as bytes",
    ),
    Mistake(
        "times_ln_2",
        _bpb_times_ln2,
        "You multiply by ln 2 where you must divide by it: a bit is the smaller unit, 0.69 nats, "
        "so the same surprise is more bits than nats.",
        "only that the number falls with the loss",
    ),
    Mistake(
        "log_of_the_losses",
        _bpb_log_of_loss,
        "You take log2 of the losses, but a loss is a logarithm already; only its unit changes, by "
        "a constant factor.",
        "losses of 2 nats",
    ),
    Mistake(
        "log_of_the_sum",
        _bpb_log_of_sum,
        "You take log2 of the summed loss, but it is a logarithm already; only its unit changes, "
        "by a constant factor.",
        "a single token with a loss of 2",
    ),
    Mistake(
        "perplexity",
        _bpb_exp,
        "You turn the loss into a perplexity first; bits come straight from nats, by a constant "
        "factor.",
        "that a better model has a smaller number",
    ),
    Mistake(
        "divided_by_eight",
        _bpb_eight,
        "You divide by 8 because a byte has 8 bits, which gives bits for each bit of text; the "
        "bits that the model spends are compared with whole bytes.",
        "that tokenizers are put in the right order",
    ),
    Mistake(
        "base_ten",
        _bpb_base_10,
        "You divide by ln 10, which turns nats into decimal digits; for bits divide by ln 2.",
        "that tokenizers are put in the right order",
    ),
    Mistake(
        "per_word",
        _bpb_words,
        "You divide by the number of words; texts in other languages, or code, have no such thing, "
        "and bytes were asked for.",
        "words of one letter",
    ),
    Mistake(
        "whole_text",
        _bpb_whole_text,
        "You return the bits of the whole text, so a longer text looks worse; divide by its bytes.",
        "a text of one byte",
    ),
    Mistake(
        "another_encoding",
        _bpb_utf16,
        "You count the bytes of UTF-16, two or four for each character; files and the web hold "
        "UTF-8.",
        "that tokenizers are put in the right order",
    ),
)


def _bpb_same_for_any_tokenizer(answer) -> str | None:
    text, total = "one small text", 6.0
    few, many = answer(torch.full((2,), total / 2), text), answer(torch.full((8,), total / 8), text)
    if abs(few - many) < 1e-5:
        return None
    return (
        f"Two tokens of 3 nats and eight tokens of 0.75 nats surprise equally over the same text, "
        f"but you return {few:.3f} and {many:.3f}."
    )


def _bpb_doubles(answer) -> str | None:
    for nats in (1 + 5.9e-8, 1 - 2.9e-8):  # as float32 both are 1
        got = answer(torch.full((4,), nats, dtype=torch.float64), "abc")
        right = 4 * nats / LN_2 / 3
        if 2e-8 < abs(got / right - 1) < 1e-5:  # further off: no matter of rounding
            return (
                f"Four doubles of {nats:.9f} nats over three bytes are {right:.9f} bits per byte, "
                f"but you return {got:.9f}; does a step, such as .float(), go through float32?"
            )
    return None


BITS_PER_BYTE = Exercise(
    id="training.bits_per_byte",
    title="Bits per byte",
    reference=bits_per_byte,
    cases=BITS_PER_BYTE_CASES,
    mistakes=BITS_PER_BYTE_MISTAKES,
    conventions=(
        Mistake(
            "nats",
            _bpb_nats,
            "Your number is in nats for each byte; the agreement here is bits, so divide by ln 2.",
            "comparing two tokenizers",
        ),
        Mistake(
            "per_character",
            _bpb_characters,
            "You divide by the number of characters, which is the same in English but not in a "
            "text with accents or emoji; here it is bytes of UTF-8.",
            "English texts",
        ),
    ),
    right=(_bpb_plain, _bpb_log2),
    properties=(
        Property("the cut of the text does not matter", _bpb_same_for_any_tokenizer),
        Property("doubles stay doubles", _bpb_doubles),
    ),
    hints=(
        "How many nats does the whole text cost? That does not depend on how it was cut.",
        "Add up the losses of all tokens, turn nats into bits (one bit is ln 2 nats), and share "
        "the bits out over the bytes of the text in UTF-8.",
        'len(text.encode("utf-8")) counts the bytes. Return losses_of_tokens.sum().item() / '
        "math.log(2) divided by that count.",
    ),
    solution=(
        "The sum of the losses is -ln of the probability of the whole text, and it is the same "
        "text however it is cut. A bit is the surprise of a fair coin, ln 2 nats. Divided by the "
        "bytes, which no tokenizer can change, it compares models of characters, words and pieces."
    ),
    checked="characters of one to four bytes, more and fewer tokens than bytes, doubles",
)


# --- cross_entropy_gradient ---

GRADIENT_CASES = (
    Case("two tokens by hand", (_by_hand_logits()[0, :2], torch.tensor([0, 2]))),
    Case("N=3, V=5", (2 * normal(40, 3, 5), torch.tensor([4, 0, 2]))),
    Case("N and V both 4", (2 * normal(41, 4, 4), torch.tensor([1, 3, 0, 1]))),
    Case("two targets of five ignored", (normal(42, 5, 4), torch.tensor([2, -100, 0, -100, 1]))),
    Case("all but one ignored", (normal(43, 3, 4), torch.tensor([-100, -100, 3]))),
    Case(
        "logits near 1,000",
        (torch.tensor([[1000.0, 1001.0, 999.0], [0.0, -1.0, 2.0]]), torch.tensor([0, 1])),
    ),
    Case("one token", (normal(44, 1, 6), torch.tensor([5]))),
    Case("equal logits", (torch.full((2, 4), 0.5), torch.tensor([3, 0]))),
    Case("a model that is right and sure", (20.0 * torch.eye(3), torch.tensor([0, 1, 2]))),
    Case("double precision", (normal(45, 4, 3, dtype=torch.float64), torch.tensor([0, 2, 2, 1]))),
    Case(
        "doubles that float32 cannot tell apart",
        (FAR + normal(48, 4, 5, dtype=torch.float64), torch.tensor([0, 4, 2, 1])),
    ),
)


def _grad_autograd(logits, targets):
    x = logits.detach().clone().requires_grad_()
    F.cross_entropy(x, targets, ignore_index=-100).backward()
    return x.grad


def _grad_subtract_in_place(logits, targets):
    gradient = torch.softmax(logits, dim=1)
    rows = torch.arange(len(targets))
    kept = targets != -100
    gradient[rows[kept], targets[kept]] -= 1
    gradient[~kept] = 0
    return gradient / kept.sum()


def _grad_by_loop(logits, targets):
    gradient = torch.zeros_like(logits)
    kept = [i for i, target in enumerate(targets.tolist()) if target >= 0]
    for i in kept:
        e = (logits[i] - logits[i].max()).exp()
        gradient[i] = e / e.sum()
        gradient[i, targets[i]] -= 1
    return gradient / len(kept)


# Known mistakes.


def _one_hot(logits, targets):
    return F.one_hot(targets.clamp(min=0), logits.shape[1]).to(logits.dtype)


def _counted(targets):
    return (targets != -100)[:, None]


def _grad_sum(logits, targets):
    return (torch.softmax(logits, 1) - _one_hot(logits, targets)) * _counted(targets)


def _grad_all_rows(logits, targets):
    return _grad_sum(logits, targets) / len(targets)


def _grad_all_entries(logits, targets):
    return cross_entropy_gradient(logits, targets) / logits.shape[1]


def _grad_sign(logits, targets):
    return -cross_entropy_gradient(logits, targets)


def _grad_no_one_hot(logits, targets):
    counted = _counted(targets)
    return torch.softmax(logits, 1) * counted / counted.sum()


def _grad_ignored_kept(logits, targets):
    difference = torch.softmax(logits, 1) - _one_hot(logits, targets)
    return difference / _counted(targets).sum()


def _grad_ignored_pushed(logits, targets):
    one_hot = _one_hot(logits, targets) * _counted(targets)
    return (torch.softmax(logits, 1) - one_hot) / _counted(targets).sum()


def _grad_other_axis(logits, targets):
    counted = _counted(targets)
    return (torch.softmax(logits, 0) - _one_hot(logits, targets)) * counted / counted.sum()


def _grad_overflow(logits, targets):
    e = logits.exp()
    counted = _counted(targets)
    return (e / e.sum(1, keepdim=True) - _one_hot(logits, targets)) * counted / counted.sum()


def _grad_raw_logits(logits, targets):
    counted = _counted(targets)
    return (logits - _one_hot(logits, targets)) * counted / counted.sum()


def _grad_log_softmax(logits, targets):
    counted = _counted(targets)
    difference = torch.log_softmax(logits, 1) - _one_hot(logits, targets)
    return difference * counted / counted.sum()


def _grad_target_alone(logits, targets):
    return cross_entropy_gradient(logits, targets) * _one_hot(logits, targets)


def _grad_of_p(logits, targets):
    counted = _counted(targets)
    p = torch.softmax(logits, 1)
    return -_one_hot(logits, targets) / p * counted / counted.sum()


def _grad_likeliest(logits, targets):
    counted = _counted(targets)
    best = F.one_hot(logits.argmax(1), logits.shape[1]).to(logits.dtype)
    return (torch.softmax(logits, 1) - best) * counted / counted.sum()


def _grad_rows_dropped(logits, targets):
    return cross_entropy_gradient(logits, targets)[targets != -100]


def _grad_without_id_0(logits, targets):
    return cross_entropy_gradient(logits, targets.masked_fill(targets == 0, -100))


def _grad_in_float32(logits, targets):
    return cross_entropy_gradient(logits.float(), targets).to(logits.dtype)


GRADIENT_MISTAKES = (
    Mistake(
        "gradient_of_the_sum",
        _grad_sum,
        "You forget to divide by the number of targets that count, so this is the gradient of "
        "the sum of the losses and not of their mean.",
        "a single target",
    ),
    Mistake(
        "divided_by_all_targets",
        _grad_all_rows,
        "You divide by the number of all targets, ignored ones included; the mean is over those "
        "that count.",
        "targets without padding",
    ),
    Mistake(
        "divided_by_all_entries",
        _grad_all_entries,
        "You divide by V too, as a mean over all entries would; the loss is a mean over targets, "
        "and each has one loss and not V.",
        "only the direction of the gradient",
    ),
    Mistake(
        "sign_flipped",
        _grad_sign,
        "Your gradient points the other way: it is the probabilities minus the one-hot rows, so "
        "that a step against it raises the target's logit.",
        "only the sizes of the entries",
    ),
    Mistake(
        "one_hot_forgotten",
        _grad_no_one_hot,
        "You return the probabilities alone; without the 1 taken off at the target, a step would "
        "lower the right token's logit too.",
        "looking at the columns of wrong tokens",
    ),
    Mistake(
        "ignored_rows_as_token_0",
        _grad_ignored_kept,
        "The rows of ignored targets must be 0, but yours pull towards token 0.",
        "targets without padding",
    ),
    Mistake(
        "ignored_rows_keep_softmax",
        _grad_ignored_pushed,
        "The rows of ignored targets must be 0, but yours still hold their probabilities, which "
        "would push down every token there.",
        "targets without padding",
    ),
    Mistake(
        "softmax_over_the_rows",
        _grad_other_axis,
        "Your softmax runs down the columns, so tokens of different positions compete; each row "
        "must add up to one.",
        "a symmetric table of logits",
    ),
    Mistake(
        "overflow",
        _grad_overflow,
        "You take e to the power of the raw logits, which overflows at 1,000 and gives NaN; use "
        "torch.softmax or take the largest logit off first.",
        "logits between -10 and 10",
    ),
    Mistake(
        "logits_for_probabilities",
        _grad_raw_logits,
        "You subtract the one-hot rows from the logits; they must be turned into probabilities "
        "first.",
        "only the sign at the target",
    ),
    Mistake(
        "log_softmax",
        _grad_log_softmax,
        "You subtract the one-hot rows from the logarithms of the probabilities; the probabilities "
        "themselves are needed.",
        "only the sign at the target",
    ),
    Mistake(
        "target_column_alone",
        _grad_target_alone,
        "You keep the entry at the target and drop the others, but the loss also falls when the "
        "logits of wrong tokens go down.",
        "looking only at the target's column",
    ),
    Mistake(
        "gradient_for_p",
        _grad_of_p,
        "This is the gradient for the probabilities, -1/p at the target; go one step further "
        "back, through softmax, to the logits.",
        "only the sign at the target",
    ),
    Mistake(
        "likeliest_token",
        _grad_likeliest,
        "You take the 1 off at the likeliest token, where it belongs to the token that came.",
        "a model that is always right",
    ),
    Mistake(
        "ignored_rows_dropped",
        _grad_rows_dropped,
        "You leave the rows of ignored targets out, but every row of the logits has a gradient; "
        "theirs is 0.",
        "targets without padding",
    ),
    Mistake(
        "id_0_ignored",
        _grad_without_id_0,
        "You treat token 0 as padding, but id 0 is a valid token; only -100 does not count.",
        "targets from 1 up",
    ),
    _in_float32(_grad_in_float32, "logits"),
)


def _grad_rows(answer) -> str | None:
    sums = answer(2 * normal(46, 5, 7), torch.tensor([0, 6, -100, 3, 3])).sum(dim=1)
    worst = sums.abs().max().item()
    if worst < 1e-5:
        return None
    return (
        f"The entries of one row add up to {worst:.3g}, not to 0: what the target gains, the other "
        "tokens lose."
    )


def _grad_finite_difference(answer) -> str | None:
    logits = normal(47, 3, 4, dtype=torch.float64)
    targets = torch.tensor([1, -100, 3])
    gradient, step = answer(logits.clone(), targets), 1e-5
    for place in ((0, 1), (0, 2), (2, 0), (1, 3)):
        nudge = torch.zeros_like(logits)
        nudge[place] = step
        up, down = (cross_entropy(logits + sign * nudge, targets).item() for sign in (1, -1))
        slope, got = (up - down) / (2 * step), gradient[place].item()
        if abs(slope - got) > 1e-4:
            return (
                f"I nudged logit [{place[0]}, {place[1]}] and the loss moved {slope:.4f} times as "
                f"far, but your gradient says {got:.4f}."
            )
    return None


GRADIENT = Exercise(
    id="training.cross_entropy_gradient",
    title="The gradient of cross-entropy",
    reference=cross_entropy_gradient,
    cases=GRADIENT_CASES,
    mistakes=GRADIENT_MISTAKES,
    right=(_grad_autograd, _grad_subtract_in_place, _grad_by_loop),
    properties=(
        Property("each row adds up to 0", _grad_rows),
        Property("it says how the loss moves when a logit does", _grad_finite_difference),
        Property("doubles stay doubles", _doubles_kept(cross_entropy_gradient, GRADIENT_CASES)),
    ),
    hints=(
        "For one token the gradient is softmax minus one-hot. What does taking the mean over the "
        "targets do to it, and what must stand where a target is ignored?",
        "Sub-goals: the probabilities, a softmax along the last axis; the one-hot rows, with "
        "ignored targets replaced by any valid id; the difference, set to 0 in ignored rows; "
        "divided by how many targets count.",
        "counts = targets != -100; F.one_hot is torch.nn.functional.one_hot and wants ids from 0 "
        "to V - 1, so give it targets.where(counts, 0). Multiply the difference by "
        "counts[:, None] and divide by counts.sum().",
    ),
    solution=(
        "The loss of a row is log-sum-exp minus the target's logit. The derivative of log-sum-exp "
        "is softmax, that of the logit is 1 at the target and 0 elsewhere. A mean over n targets "
        "divides by n, and a row that is not in the mean has the gradient 0."
    ),
    checked="ignored targets, logits of 1,000, ties, a sure model, doubles, slopes by nudging",
)


# --- adam_step ---


def _moments(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Return w, g, m and v of one shape, as they may be in the middle of a run."""
    w, g, m = (normal(seed + i, *shape, dtype=dtype) for i in range(3))
    return w, g, 0.5 * m, _positive(seed + 3, *shape, dtype=dtype)


def _first(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
    """Return w, g, m and v before the first update: m and v are 0."""
    w, g = normal(seed, *shape, dtype=dtype), normal(seed + 1, *shape, dtype=dtype)
    return w, g, torch.zeros_like(w), torch.zeros_like(w)


_BY_HAND = (torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0]), torch.zeros(2), torch.zeros(2))

_FAR_APART = (
    normal(92, 3, dtype=torch.float64),
    normal(93, 3, dtype=torch.float64) - FAR,
    normal(94, 3, dtype=torch.float64) + FAR,
    normal(95, 3, dtype=torch.float64).square() + FAR,
)

ADAM_INPUTS = (
    ("the first update of two numbers", (*_BY_HAND, 1, 0.1, 0.9, 0.99, 1e-8)),
    ("the second update", (*_moments(50, 3), 2, 0.2, 0.9, 0.999, 1e-8)),
    ("the seventh update of a matrix", (*_moments(54, 2, 3), 7, 0.3, 0.8, 0.95, 1e-6)),
    ("the thousandth update", (*_moments(58, 4), 1000, 0.1, 0.9, 0.99, 1e-8)),
    ("a large eps", (*_moments(62, 3), 3, 0.5, 0.7, 0.9, 0.3)),
    (
        "no gradient, but a running mean",
        (torch.ones(2), torch.zeros(2), *_moments(66, 2)[2:], 4, 0.2, 0.9, 0.95, 1e-8),
    ),
    (
        "a gradient of a millionth",
        (
            torch.ones(3),
            1e-6 * normal(70, 3),
            torch.zeros(3),
            torch.zeros(3),
            1,
            0.1,
            0.9,
            0.99,
            1e-6,
        ),
    ),
    ("beta1 is 0", (*_moments(71, 3), 2, 0.1, 0.0, 0.9, 1e-8)),
    (
        "a gradient of zero at the start",
        (
            torch.ones(2),
            torch.tensor([0.0, 1.0]),
            torch.zeros(2),
            torch.zeros(2),
            1,
            0.1,
            0.9,
            0.999,
            1e-8,
        ),
    ),
    ("double precision", (*_moments(75, 2, 2, dtype=torch.float64), 2, 0.25, 0.5, 0.75, 1e-8)),
    ("a single number", (*_first(79), 1, 0.4, 0.9, 0.999, 1e-8)),
    ("the fifteenth update", (*_moments(80, 3), 15, 0.2, 0.9, 0.999, 1e-8)),
    ("the six-hundredth update", (*_moments(84, 2), 600, 0.3, 0.9, 0.999, 1e-8)),
    (
        "gradients of some hundreds",
        (
            normal(88, 3),
            300 * normal(89, 3),
            300 * normal(90, 3),
            1e5 * _positive(91, 3),
            3,
            0.2,
            0.9,
            0.99,
            1e-8,
        ),
    ),
    (
        "a gradient against its mean, in doubles that float32 cannot tell apart",
        (*_FAR_APART, 2, 0.25, 0.5, 0.75, 1e-8),
    ),
)

ADAM_CASES = tuple(Case(name, args) for name, args in ADAM_INPUTS)


def _adam_lerp(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = m.lerp(g, 1 - beta1), v.lerp(g.square(), 1 - beta2)
    root = (v / (1 - beta2**t)).sqrt()
    return w - lr / (1 - beta1**t) * m / (root + eps), m, v


def _adam_torch(w, g, m, v, t, lr, beta1, beta2, eps):
    m = m * beta1 + g * (1 - beta1)
    v = v * beta2 + (1 - beta2) * g**2
    step_size, root_of_bias = lr / (1 - beta1**t), (1 - beta2**t) ** 0.5
    return w - step_size * (m / (v**0.5 / root_of_bias + eps)), m, v


# Known mistakes.


def _adam_parts(g, m, v, beta1, beta2):
    return beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g


def _adam_no_correction(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * m / (v.sqrt() + eps), m, v


def _adam_m_alone(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * m / (1 - beta1**t) / (v.sqrt() + eps), m, v


def _adam_v_alone(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * m / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_corrected_state(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return w, m / (1 - beta1**t), v / (1 - beta2**t)


def _adam_t_from_0(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1 ** (t + 1)), v / (1 - beta2 ** (t + 1))
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def _adam_times_t(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1 * t), v / (1 - beta2 * t)
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def _adam_corrected_once(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1), v / (1 - beta2)
    return w - lr * m_hat / (v_hat.sqrt() + eps), m, v


def _adam_no_root(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps), m, v


def _adam_eps_inside(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * m / (1 - beta1**t) / (v / (1 - beta2**t) + eps).sqrt(), m, v


def _adam_no_eps(w, g, m, v, t, lr, beta1, beta2, eps):
    return adam_step(w, g, m, v, t, lr, beta1, beta2, 0.0)


def _adam_betas_swapped(w, g, m, v, t, lr, beta1, beta2, eps):
    return adam_step(w, g, m, v, t, lr, beta2, beta1, eps)


def _adam_shares_swapped(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = (1 - beta1) * m + beta1 * g, (1 - beta2) * v + beta2 * g * g
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_sum_not_mean(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + g, beta2 * v + g * g
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_v_of_g(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_v_of_m(w, g, m, v, t, lr, beta1, beta2, eps):
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * m * m
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_uphill(w, g, m, v, t, lr, beta1, beta2, eps):
    return adam_step(w, g, m, v, t, -lr, beta1, beta2, eps)


def _adam_without_m(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    return w - lr * g / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_old_means(w, g, m, v, t, lr, beta1, beta2, eps):
    new_m, new_v = _adam_parts(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - lr * m_hat / (v_hat.sqrt() + eps), new_m, new_v


def _adam_means_not_kept(w, g, m, v, t, lr, beta1, beta2, eps):
    return adam_step(w, g, m, v, t, lr, beta1, beta2, eps)[0], m, v


def _adam_step_alone(w, g, m, v, t, lr, beta1, beta2, eps):
    new, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return w - new, m, v


def _adam_in_place(w, g, m, v, t, lr, beta1, beta2, eps):
    m.mul_(beta1).add_((1 - beta1) * g)
    v.mul_(beta2).add_((1 - beta2) * g * g)
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_state_first(w, g, m, v, t, lr, beta1, beta2, eps):
    w, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return m, v, w


def _adam_eps_hat(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    rate = lr * (1 - beta2**t) ** 0.5 / (1 - beta1**t)
    return w - rate * m / (v.sqrt() + eps), m, v


def _adam_betas_swapped_in_means(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = _adam_parts(g, m, v, beta2, beta1)
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adam_corrected_by(first, second):
    """Return Adam's step with the powers of two betas, 0 or 1, in the corrections."""

    def step(w, g, m, v, t, lr, beta1, beta2, eps):
        m, v = _adam_parts(g, m, v, beta1, beta2)
        of_m, of_v = ((beta1, beta2)[i] for i in (first, second))
        m_hat, v_hat = m / (1 - of_m**t), v / (1 - of_v**t)
        return w - lr * m_hat / (v_hat.sqrt() + eps), m, v

    return step


def _step_in_float32(step):
    """Return an optimizer's step that takes and gives back any dtype, and rounds to float32."""

    def rounded(w, g, m, v, *rest):
        singles = (x.float() for x in (w, g, m, v))
        return tuple(x.to(w.dtype) for x in step(*singles, *rest))

    return rounded


ADAM_MISTAKES = (
    Mistake(
        "no_bias_correction",
        _adam_no_correction,
        "You use m and v as they are, but both start at 0 and are too small at first; divide them "
        "by 1 - beta1^t and 1 - beta2^t.",
        "the thousandth update",
    ),
    Mistake(
        "only_m_corrected",
        _adam_m_alone,
        "You correct m and leave v as it is; v is still far too small, so the first steps are too "
        "long.",
        "the thousandth update",
    ),
    Mistake(
        "only_v_corrected",
        _adam_v_alone,
        "You correct v and leave m as it is, so the first steps are too short.",
        "the thousandth update",
    ),
    Mistake(
        "corrected_values_kept",
        _adam_corrected_state,
        "You return the corrected means to be carried on, so the next update corrects them a "
        "second time; m and v themselves must be kept.",
        "a single update, looking at w alone",
    ),
    Mistake(
        "counts_one_too_many",
        _adam_t_from_0,
        "You take the power t + 1, but t counts from 1 already: in the first update it is 1.",
        "the thousandth update",
    ),
    Mistake(
        "times_t",
        _adam_times_t,
        "You multiply beta by t where it must be raised to the power t: beta1 ** t.",
        "the first update",
    ),
    Mistake(
        "same_correction_always",
        _adam_corrected_once,
        "You divide by 1 - beta at every update, which is right at the first alone; the "
        "correction fades as t grows, 1 - beta ** t.",
        "the first update",
    ),
    Mistake(
        "root_forgotten",
        _adam_no_root,
        "You divide by v without its square root, so a gradient twice as large gives half the "
        "step, where the size of the gradient should cancel.",
        "gradients of 1",
    ),
    Mistake(
        "eps_inside_the_root",
        _adam_eps_inside,
        "You add eps inside the square root; it is added after it, to the root.",
        "a tiny eps",
    ),
    Mistake(
        "no_eps",
        _adam_no_eps,
        "You leave eps out, so a weight that never had a gradient becomes 0 divided by 0.",
        "gradients that are not 0",
    ),
    Mistake(
        "betas_swapped",
        _adam_betas_swapped,
        "You have swapped the betas: beta1 belongs to the mean m, beta2 to the mean square v.",
        "equal betas",
    ),
    Mistake(
        "betas_swapped_in_the_means",
        _adam_betas_swapped_in_means,
        "You have swapped the betas in the means and not in the corrections: beta1 belongs to m, "
        "beta2 to v.",
        "equal betas",
    ),
    Mistake(
        "betas_swapped_in_the_corrections",
        _adam_corrected_by(1, 0),
        "Your means are right, but you have swapped the betas in the corrections: m is divided by "
        "1 - beta1 ** t, v by 1 - beta2 ** t.",
        "equal betas",
    ),
    Mistake(
        "beta1_for_both",
        _adam_corrected_by(0, 0),
        "You correct both means with beta1, but v was averaged with beta2; divide it by "
        "1 - beta2 ** t.",
        "equal betas",
    ),
    Mistake(
        "beta2_for_both",
        _adam_corrected_by(1, 1),
        "You correct both means with beta2, but m was averaged with beta1; divide it by "
        "1 - beta1 ** t.",
        "equal betas",
    ),
    _in_float32(_step_in_float32(adam_step), "inputs"),
    Mistake(
        "shares_swapped",
        _adam_shares_swapped,
        "You give the old mean the share 1 - beta and the new gradient the share beta; it is the "
        "other way round, so that the mean remembers.",
        "betas of 0.5",
    ),
    Mistake(
        "sum_in_place_of_mean",
        _adam_sum_not_mean,
        "You add the whole gradient to the old mean, without the factor 1 - beta, so m and v are "
        "sums and no averages.",
        "looking at the direction of the step alone",
    ),
    Mistake(
        "mean_not_of_squares",
        _adam_v_of_g,
        "Your v averages the gradient and not its square, so it can be negative, and its root NaN.",
        "gradients of 0 and 1",
    ),
    Mistake(
        "square_of_the_mean",
        _adam_v_of_m,
        "Your v averages the square of m; it must average the square of the gradient, else a "
        "gradient that swings back and forth looks small.",
        "the gradient equal to its running mean",
    ),
    Mistake(
        "uphill",
        _adam_uphill,
        "You add the step, which makes the loss larger; the gradient points uphill, so subtract.",
        "only the length of the step",
    ),
    Mistake(
        "step_by_the_gradient",
        _adam_without_m,
        "You step along the gradient itself and never use m; that is RMSProp, without momentum.",
        "the first update, where both are the same",
    ),
    Mistake(
        "means_of_before",
        _adam_old_means,
        "You step by the means from before this gradient; update m and v first.",
        "that m and v are right",
    ),
    Mistake(
        "means_not_returned",
        _adam_means_not_kept,
        "Your w is right, but you return the m and v that came in; the next update needs the new "
        "ones.",
        "looking at w alone",
    ),
    Mistake(
        "step_returned",
        _adam_step_alone,
        "You return the step in place of the new w; subtract it from w.",
        "weights of 0",
    ),
    Mistake(
        "overwrites_its_inputs",
        _adam_in_place,
        "Your numbers are right, but you overwrite the caller's m and v; here new tensors are "
        "returned.",
        "comparing the outputs without looking at the inputs afterwards",
    ),
)


def _adam_rule(weight_decay: float | None) -> Callable:
    """Return how to call an answer, with the decay as a last argument unless that is None."""

    def call(answer, *args):
        return answer(*args) if weight_decay is None else answer(*args, weight_decay)

    return call


def _adam_first_step(answer) -> str | None:
    return _first_step_trouble(_adam_rule(None), answer)


def _first_step_trouble(call: Callable, answer: Callable) -> str | None:
    w, g, zero, _ = _first(84, 6)
    new, _, _ = call(answer, w.clone(), g, zero, zero.clone(), 1, 0.01, 0.9, 0.999, 1e-12)
    moved = (new - w).abs()
    if gap_between(moved, torch.full_like(moved, 0.01)) < 1e-5:
        return None
    worst = moved[(moved - 0.01).abs().argmax()].item()
    return (
        "In the first update every weight moves by the learning rate, however large its gradient "
        f"is: 0.01 here, but one of yours moves by {worst:.4g}."
    )


def _adam_scale(answer) -> str | None:
    return _scale_trouble(_adam_rule(None), answer)


def _scale_trouble(call: Callable, answer: Callable) -> str | None:
    gradients = [normal(86 + i, 5) for i in range(3)]
    ends = []
    for factor in (1.0, 100.0):
        w, m, v = torch.ones(5), torch.zeros(5), torch.zeros(5)
        for t, g in enumerate(gradients, start=1):
            w, m, v = call(answer, w, factor * g, m, v, t, 0.1, 0.9, 0.99, 1e-12)
        ends.append(w)
    gap = gap_between(*ends)
    if gap < 1e-4:
        return None
    return (
        f"With all gradients 100 times as large the weights end {gap:.3g} away after three "
        "updates; the size of the gradients should cancel."
    )


ADAM_STEP = Exercise(
    id="training.adam_step",
    title="A step of Adam",
    reference=adam_step,
    cases=ADAM_CASES,
    mistakes=ADAM_MISTAKES,
    conventions=(
        Mistake(
            "state_first",
            _adam_state_first,
            "You return m and v first; here the order is w, m, v.",
            "adding up everything that came back",
        ),
        Mistake(
            "eps_before_correction",
            _adam_eps_hat,
            "You add eps to the root of v before it is corrected, a shortcut of the paper; here, "
            "as in torch, it is added to the root of the corrected v.",
            "a tiny eps",
        ),
    ),
    right=(_adam_lerp, _adam_torch),
    properties=(
        Property("the first step is as long as the learning rate", _adam_first_step),
        Property("the size of the gradients cancels", _adam_scale),
        Property("doubles stay doubles", _doubles_kept(adam_step, ADAM_CASES)),
    ),
    hints=(
        "m averages the gradient, v its square. Both start at 0: by what must they be divided so "
        "that after one update m is the gradient itself?",
        "Sub-goals: the new m and v, each beta of the old and 1 - beta of the new; m_hat and "
        "v_hat, divided by 1 - beta ** t; w minus lr times m_hat over (root of v_hat plus eps); "
        "return w and the m and v that were not corrected.",
        "m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g * g; "
        "m_hat = m / (1 - beta1**t); v_hat = v / (1 - beta2**t). The step is "
        "lr * m_hat / (v_hat.sqrt() + eps).",
    ),
    solution=(
        "After t updates with a constant gradient g, m is (1 - beta1^t)·g, since the missing share "
        "still belongs to the 0 it began with; the division gives g back. The same holds for v. "
        "The ratio m_hat / root of v_hat is about 1 where the gradient keeps its sign and near 0 "
        "where it swings, whatever its size. (Kingma and Ba 2014, algorithm 1.)"
    ),
    checked="updates 1 to 1,000, a large eps, gradients of 0 and of a millionth, doubles",
)


# --- adamw_step ---

_DECAYS = (0.5, 0.1, 0.4, 0.3, 0.2, 0.5, 0.1, 0.6, 0.5, 0.2, 0.8, 0.3, 0.4, 0.7, 0.5)

ADAMW_CASES = (
    *(Case(name, (*args, decay)) for (name, args), decay in zip(ADAM_INPUTS, _DECAYS, strict=True)),
    Case("no decay", (*_moments(90, 3), 2, 0.1, 0.9, 0.99, 1e-8, 0.0)),
    Case(
        "no gradient yet: decay alone",
        (10 * normal(94, 3), *(torch.zeros(3) for _ in range(3)), 1, 0.5, 0.9, 0.99, 1e-8, 0.2),
    ),
    Case(
        "large weights", (100 * normal(95, 4), *_moments(96, 4)[1:], 3, 0.2, 0.9, 0.95, 1e-8, 0.3)
    ),
)


def _adamw_one_line(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    direction = m / (1 - beta1**t) / (torch.sqrt(v / (1 - beta2**t)) + eps)
    return w - lr * (direction + weight_decay * w), m, v


def _adamw_shrink_first(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w = w * (1 - lr * weight_decay)
    return _adam_lerp(w, g, m, v, t, lr, beta1, beta2, eps)


# Known mistakes.


def _adamw_l2(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w, g + weight_decay * w, m, v, t, lr, beta1, beta2, eps)


def _adamw_no_decay(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w, g, m, v, t, lr, beta1, beta2, eps)


def _adamw_grows(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, -weight_decay)


def _adamw_squared_rate(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, lr * weight_decay)


def _adamw_under_the_root(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    m, v = _adam_parts(g, m, v, beta1, beta2)
    m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
    return w - lr * (m_hat + weight_decay * w) / (v_hat.sqrt() + eps), m, v


def _adamw_in_m(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    m = m + weight_decay * w
    return w - lr * m / (1 - beta1**t) / ((v / (1 - beta2**t)).sqrt() + eps), m, v


def _adamw_to_the_sign(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adam_step(w - lr * weight_decay * w.sign(), g, m, v, t, lr, beta1, beta2, eps)
    return w, m, v


def _adamw_replaces(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    _, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return w * (1 - lr * weight_decay), m, v


def _adamw_share_left(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w * lr * weight_decay, g, m, v, t, lr, beta1, beta2, eps)


def _adamw_no_correction(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return _adam_no_correction(w * (1 - lr * weight_decay), g, m, v, t, lr, beta1, beta2, eps)


def _adamw_step_decays(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    new, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return w + (new - w) * (1 - lr * weight_decay), m, v


def _adamw_by_the_square(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w - lr * weight_decay * w * w, g, m, v, t, lr, beta1, beta2, eps)


def _adamw_means_not_kept(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay)[0], m, v


def _adamw_eps_inside(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return _adam_eps_inside(w * (1 - lr * weight_decay), g, m, v, t, lr, beta1, beta2, eps)


def _adamw_uphill(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w * (1 - lr * weight_decay), g, m, v, t, -lr, beta1, beta2, eps)


def _adamw_after(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    w, m, v = adam_step(w, g, m, v, t, lr, beta1, beta2, eps)
    return w * (1 - lr * weight_decay), m, v


def _adamw_without_rate(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w * (1 - weight_decay), g, m, v, t, lr, beta1, beta2, eps)


def _adamw_by_the_size(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w - lr * weight_decay * w.abs(), g, m, v, t, lr, beta1, beta2, eps)


def _adamw_by_the_length(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    return adam_step(w - lr * weight_decay * w.norm(), g, m, v, t, lr, beta1, beta2, eps)


def _adamw_matrices_alone(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    decay = weight_decay if w.dim() >= 2 else 0.0
    return adamw_step(w, g, m, v, t, lr, beta1, beta2, eps, decay)


ADAMW_MISTAKES = (
    Mistake(
        "decay_in_the_gradient",
        _adamw_l2,
        "You add the decay to the gradient, so Adam divides it by the root of v like everything "
        "else, and weights with large gradients hardly decay; shrink w itself.",
        "no decay, or plain SGD",
    ),
    Mistake(
        "no_decay",
        _adamw_no_decay,
        "Your step is Adam's, and weight_decay plays no part in it.",
        "a weight decay of 0",
    ),
    Mistake(
        "weights_grow",
        _adamw_grows,
        "Your weights grow: the decay is subtracted, w - lr · weight_decay · w.",
        "a weight decay of 0",
    ),
    Mistake(
        "rate_squared",
        _adamw_squared_rate,
        "You multiply the decay by the learning rate twice.",
        "a learning rate of 1",
    ),
    Mistake(
        "decay_divided_by_the_root",
        _adamw_under_the_root,
        "You put the decay over the root of v too, so weights with large gradients decay less; "
        "decoupled means that only lr and weight_decay decide.",
        "gradients of 1",
    ),
    Mistake(
        "decay_in_m",
        _adamw_in_m,
        "You add the decay to m, from where it goes into all later steps and is divided by the "
        "root of v; m knows the gradient alone.",
        "a weight decay of 0",
    ),
    Mistake(
        "decay_by_the_sign",
        _adamw_to_the_sign,
        "You take the same amount off every weight; decay takes a share, so that large weights "
        "lose more than small ones.",
        "weights of 1 and -1",
    ),
    Mistake(
        "decay_by_the_square",
        _adamw_by_the_square,
        "You take off the square of the weight, which pushes negative weights further away; the "
        "square belongs to the penalty, and its slope, the weight itself, to the step.",
        "weights of 1",
    ),
    Mistake(
        "decay_by_the_size",
        _adamw_by_the_size,
        "You take off a share of the weight's size, abs, which pushes negative weights further "
        "away from 0; take it off the weight with its sign.",
        "positive weights",
    ),
    Mistake(
        "decay_by_the_length",
        _adamw_by_the_length,
        "You take a share of the length of the whole tensor, norm, off every weight; each loses a "
        "share of itself.",
        "a single positive weight",
    ),
    Mistake(
        "only_matrices_decay",
        _adamw_matrices_alone,
        "Your vectors do not decay; which parameters decay is settled outside, by the parameter "
        "groups, and here whatever comes in decays.",
        "matrices",
    ),
    _in_float32(_step_in_float32(adamw_step), "inputs"),
    Mistake(
        "step_left_out",
        _adamw_replaces,
        "Your weights only decay; the step of Adam is left out.",
        "a gradient of 0 at the start",
    ),
    Mistake(
        "share_left_over",
        _adamw_share_left,
        "You keep the share lr · weight_decay of each weight, where that share must be taken away.",
        "weights of 0",
    ),
    Mistake(
        "step_decays",
        _adamw_step_decays,
        "You shorten the step and leave the weight as it is; it is the weight that decays.",
        "a weight decay of 0",
    ),
    Mistake(
        "no_bias_correction",
        _adamw_no_correction,
        "Your decay is right, but m and v are not corrected for starting at 0.",
        "the thousandth update",
    ),
    Mistake(
        "eps_inside_the_root",
        _adamw_eps_inside,
        "Your decay is right, but eps stands inside the square root; it is added to the root.",
        "a tiny eps",
    ),
    Mistake(
        "uphill",
        _adamw_uphill,
        "Your decay is right, but the step goes uphill; subtract it.",
        "only the length of the step",
    ),
    Mistake(
        "means_not_returned",
        _adamw_means_not_kept,
        "Your w is right, but you return the m and v that came in; the next update needs the new "
        "ones.",
        "looking at w alone",
    ),
)


def _decay_alone(answer) -> str | None:
    w = torch.tensor([4.0, -2.0, 0.0, 100.0])
    zero = torch.zeros(4)
    moved = answer(w.clone(), zero, zero.clone(), zero + 3.0, 5, 0.1, 0.9, 0.99, 1e-8, 0.5)[0]
    if gap_between(moved, 0.95 * w) < 1e-4:
        return None
    worst = (moved - 0.95 * w).abs().nan_to_num(math.inf).argmax()
    return (
        "Without any gradient a weight must lose lr · weight_decay = 5% of itself, but "
        f"{w[worst].item():.4g} becomes {moved[worst].item():.4g} in yours."
    )


def _decay_same_for_all(answer) -> str | None:
    left = []
    for size in (0.001, 1.0, 1000.0):
        args = (torch.ones(1) * size, torch.zeros(1), torch.full((1,), size**2), 9)
        ends = [
            answer(torch.tensor([w]), *args, 0.1, 0.9, 0.99, 1e-8, 0.5)[0].item()
            for w in (1.0, 3.0)
        ]
        left.append(ends[1] - ends[0])
    if max(abs(gap - 2 * 0.95) for gap in left) < 1e-3:
        return None
    return (
        "Two weights, 1 and 3, with the same gradient must come 5% closer to each other, whether "
        f"that gradient is 0.001 or 1,000; in yours the gap of 2 becomes {left[0]:.3f}, "
        f"{left[1]:.3f} and {left[2]:.3f}."
    )


ADAMW_STEP = Exercise(
    id="training.adamw_step",
    title="A step of AdamW",
    reference=adamw_step,
    cases=ADAMW_CASES,
    mistakes=ADAMW_MISTAKES,
    conventions=(
        Mistake(
            "decay_after_the_step",
            _adamw_after,
            "You shrink the weight after it has moved; here, as in torch, the weight that came in "
            "decays and the step comes on top.",
            "a small learning rate",
        ),
        Mistake(
            "decay_without_the_rate",
            _adamw_without_rate,
            "You take off weight_decay · w without the learning rate; here the rate scales the "
            "decay too, so that both shrink together at the end of a run.",
            "a learning rate of 1",
        ),
    ),
    right=(_adamw_one_line, _adamw_shrink_first),
    properties=(
        Property("without a gradient a weight loses lr · weight_decay of itself", _decay_alone),
        Property("decay does not depend on the size of the gradient", _decay_same_for_all),
        Property("doubles stay doubles", _doubles_kept(adamw_step, ADAMW_CASES)),
    ),
    hints=(
        "Which of Adam's numbers may know of the decay? If m and v see it, it is no longer "
        "decoupled.",
        "Two separate things happen to w: it loses the share lr · weight_decay of itself, and it "
        "takes Adam's step, computed from the gradient alone.",
        "Begin with w = w - lr * weight_decay * w, then go on exactly as in adam_step.",
    ),
    solution=(
        "With the decay in the gradient, Adam divides it by the root of v: a weight with large "
        "gradients decays little, one with small gradients a lot, and nobody meant that. Taken "
        "off the weight itself it is the same share for all. (Loshchilov and Hutter 2017, "
        "algorithm 2.)"
    ),
    checked="updates 1 to 1,000, decay with and without gradients, large weights, doubles",
)


# --- clip_gradients ---

CLIP_CASES = (
    Case("3, 4 and 12 by hand", ([torch.tensor([3.0, 4.0]), torch.tensor([12.0])], 6.5)),
    Case("short enough already", ([torch.tensor([0.3, -0.4]), torch.tensor([[0.5]])], 1.0)),
    Case("matrices and vectors", ([normal(100, 2, 3), normal(101, 4), normal(102, 1, 2)], 1.0)),
    Case(
        "one far larger than the rest",
        ([normal(103, 3), 1000 * normal(104, 2), normal(105, 4)], 5.0),
    ),
    Case(
        "each shorter than max_norm, together longer",
        ([torch.full((4,), 0.5) for _ in range(9)], 2.0),
    ),
    Case("exactly max_norm", ([torch.tensor([3.0]), torch.tensor([-4.0])], 5.0)),
    Case("all zero", ([torch.zeros(3), torch.zeros(2, 2)], 1.0)),
    Case("a single gradient", ([10 * normal(106, 5)], 0.5)),
    Case("longer by a hair", ([torch.tensor([3.0]), torch.tensor([-4.0])], 4.97)),
    Case("a hundred tiny ones", ([torch.full((2,), 0.003) for _ in range(100)], 0.01)),
    Case("a large max_norm", ([5 * normal(107, 3), normal(108, 2)], 100.0)),
    Case(
        "double precision",
        ([normal(109, 3, dtype=torch.float64), normal(110, 2, 2, dtype=torch.float64)], 0.25),
    ),
)


def _clip_min(gradients, max_norm):
    flat = torch.cat([g.flatten() for g in gradients])
    scale = min(1.0, max_norm / (flat.norm().item() + 1e-12))
    return [scale * g for g in gradients]


def _clip_torch(gradients, max_norm):
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, g in zip(parameters, gradients, strict=True):
        parameter.grad = g.clone()
    torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    return [parameter.grad for parameter in parameters]


def _clip_norm_of_norms(gradients, max_norm):
    lengths = torch.stack([torch.linalg.vector_norm(g) for g in gradients])
    length = torch.linalg.vector_norm(lengths)
    if length <= max_norm:
        return [g.clone() for g in gradients]
    return [g / length * max_norm for g in gradients]


# Known mistakes.


def _length(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm().item()


def _scaled(gradients, scale):
    return [g * scale for g in gradients]


def _clip_each(gradients, max_norm):
    return [_clip_min([g], max_norm)[0] for g in gradients]


def _clip_entries(gradients, max_norm):
    return [g.clamp(-max_norm, max_norm) for g in gradients]


def _clip_always(gradients, max_norm):
    return _scaled(gradients, max_norm / max(_length(gradients), 1e-12))


def _clip_to_one(gradients, max_norm):
    length = _length(gradients)
    return _scaled(gradients, 1 / length if length > max_norm else 1.0)


def _clip_upside_down(gradients, max_norm):
    length = _length(gradients)
    return _scaled(gradients, length / max_norm if length > max_norm else 1.0)


def _clip_squared(gradients, max_norm):
    squared = _length(gradients) ** 2
    return _scaled(gradients, max_norm / squared if squared > max_norm else 1.0)


def _clip_sum_of_lengths(gradients, max_norm):
    total = sum(g.norm().item() for g in gradients)
    return _scaled(gradients, max_norm / total if total > max_norm else 1.0)


def _clip_largest_entry(gradients, max_norm):
    largest = max(g.abs().max().item() for g in gradients)
    return _scaled(gradients, max_norm / largest if largest > max_norm else 1.0)


def _clip_sum_of_entries(gradients, max_norm):
    total = sum(g.abs().sum().item() for g in gradients)
    return _scaled(gradients, max_norm / total if total > max_norm else 1.0)


def _clip_mean_square(gradients, max_norm):
    flat = torch.cat([g.flatten() for g in gradients])
    root = flat.square().mean().sqrt().item()
    return _scaled(gradients, max_norm / root if root > max_norm else 1.0)


def _clip_longest_alone(gradients, max_norm):
    length = max(g.norm().item() for g in gradients)
    return _scaled(gradients, max_norm / length if length > max_norm else 1.0)


def _clip_only_long_ones(gradients, max_norm):
    length = _length(gradients)
    scale = max_norm / length if length > max_norm else 1.0
    return [g * scale if g.norm() > max_norm else g.clone() for g in gradients]


def _clip_dropped(gradients, max_norm):
    keep = _length(gradients) <= max_norm
    return [g.clone() if keep else torch.zeros_like(g) for g in gradients]


def _clip_swapped(gradients, max_norm):
    length = _length(gradients)
    return _scaled(gradients, max_norm / length if 0 < length < max_norm else 1.0)


def _clip_in_place(gradients, max_norm):
    length = _length(gradients)
    for g in gradients:
        g.mul_(max_norm / length if length > max_norm else 1.0)
    return gradients


def _clip_with_length(gradients, max_norm):
    return clip_gradients(gradients, max_norm), _length(gradients)


def _clip_always_by_numbers(gradients, max_norm):
    return _scaled(gradients, max_norm / _length(gradients))


def _clip_always_by_tensors(gradients, max_norm):
    length = torch.cat([g.flatten() for g in gradients]).norm()
    return [g * (max_norm / length) for g in gradients]


def _clip_spectral(gradients, max_norm):
    length = math.sqrt(sum(torch.linalg.norm(g, 2).item() ** 2 for g in gradients))
    return _scaled(gradients, max_norm / length if length > max_norm else 1.0)


CLIP_MISTAKES = (
    Mistake(
        "each_on_its_own",
        _clip_each,
        "You clip each gradient on its own, which turns the direction of the whole step; the "
        "length that counts is that of all of them as one long vector.",
        "a single gradient",
    ),
    Mistake(
        "entries_cut_off",
        _clip_entries,
        "You cut each entry off at max_norm, which changes the direction; all entries must shrink "
        "by the same factor.",
        "gradients with one entry",
    ),
    Mistake(
        "short_ones_stretched",
        _clip_always,
        "You also stretch gradients that are short enough; clipping only shortens.",
        "gradients that are too long",
    ),
    Mistake(
        "short_ones_stretched_and_an_error_at_0",
        _clip_always_by_numbers,
        "You also stretch gradients that are short enough, and where all are 0 you divide by 0; "
        "clipping only shortens.",
        "gradients that are too long",
    ),
    Mistake(
        "short_ones_stretched_and_nan_at_0",
        _clip_always_by_tensors,
        "You also stretch gradients that are short enough, and where all are 0 you make NaN of "
        "them; clipping only shortens.",
        "gradients that are too long",
    ),
    Mistake(
        "spectral_norm",
        _clip_spectral,
        "Your length of a matrix is its largest singular value, which is what "
        "torch.linalg.norm(g, 2) means there; the root of the sum of all its squares is "
        "torch.linalg.vector_norm(g).",
        "vectors",
    ),
    Mistake(
        "length_one",
        _clip_to_one,
        "You shorten to the length 1 whatever max_norm is.",
        "a max_norm of 1",
    ),
    Mistake(
        "scale_upside_down",
        _clip_upside_down,
        "Your scale is upside down: you make long gradients longer still.",
        "gradients that are short enough",
    ),
    Mistake(
        "root_forgotten",
        _clip_squared,
        "You take the sum of the squares for the length; its square root is the length.",
        "gradients of length 1",
    ),
    Mistake(
        "lengths_added",
        _clip_sum_of_lengths,
        "You add the lengths of the gradients; the length of the whole is the root of the sum of "
        "their squares, as in Pythagoras.",
        "a single gradient",
    ),
    Mistake(
        "largest_entry",
        _clip_largest_entry,
        "You take the largest entry for the length; a million small entries can be long together.",
        "gradients with one entry",
    ),
    Mistake(
        "entries_added",
        _clip_sum_of_entries,
        "You add the absolute entries; the length is the root of the sum of their squares.",
        "gradients with one entry",
    ),
    Mistake(
        "mean_in_place_of_sum",
        _clip_mean_square,
        "You average the squares where they must be added up, so a larger model would be clipped "
        "less.",
        "gradients with one entry",
    ),
    Mistake(
        "longest_alone",
        _clip_longest_alone,
        "You measure the longest gradient alone; the others count too.",
        "a single gradient",
    ),
    Mistake(
        "only_long_ones_scaled",
        _clip_only_long_ones,
        "You find the right scale and apply it to the long gradients only, which turns the "
        "direction; all shrink together.",
        "gradients that are all long",
    ),
    Mistake(
        "dropped",
        _clip_dropped,
        "You throw long gradients away; clipping keeps their direction and shortens them.",
        "that the result is short enough",
    ),
    Mistake(
        "comparison_swapped",
        _clip_swapped,
        "Your comparison is the wrong way round: short gradients are stretched and long ones left "
        "alone.",
        "gradients of exactly max_norm",
    ),
    Mistake(
        "overwrites_its_inputs",
        _clip_in_place,
        "Your numbers are right, but you overwrite the caller's gradients; here new tensors are "
        "returned.",
        "comparing the outputs without looking at the inputs afterwards",
    ),
)


def _clip_length_property(answer) -> str | None:
    gradients = [3 * normal(111, 4, 5), normal(112, 7)]
    for max_norm in (0.1, 1.0, 3.0):
        length = _length(answer([g.clone() for g in gradients], max_norm))
        if abs(length - max_norm) > 1e-3 * max_norm:
            return f"With max_norm={max_norm} the joint length of your result is {length:.4g}."
    return None


def _clip_direction(answer) -> str | None:
    gradients = [3 * normal(113, 4), 9 * normal(114, 3)]
    ratios = torch.cat(
        [a / b for a, b in zip(answer([g.clone() for g in gradients], 2.0), gradients, strict=True)]
    )
    if gap_between(ratios, ratios[:1].expand_as(ratios)) < 1e-4:
        return None
    return (
        f"Your entries shrink by different factors, from {ratios.min().item():.3f} to "
        f"{ratios.max().item():.3f}, so the direction changes."
    )


def _clip_doubles(answer) -> str | None:
    gradients = [normal(115, 3, dtype=torch.float64), normal(116, 2, 4, dtype=torch.float64)]
    got = answer([g.clone() for g in gradients], 100.0)
    gap = max(gap_between(a, b) for a, b in zip(got, gradients, strict=True))
    if gap < 1e-12:
        return None
    return (
        f"Gradients that are short enough must come back as they are, but these doubles are off by "
        f"up to {gap:.3g}; does a step, such as .float(), go through float32?"
    )


CLIP = Exercise(
    id="training.clip_gradients",
    title="Clipping by the joint length",
    reference=clip_gradients,
    cases=CLIP_CASES,
    mistakes=CLIP_MISTAKES,
    conventions=(
        Mistake(
            "length_returned_too",
            _clip_with_length,
            "You return the length as well, as a trainer would like to have it; here the list of "
            "gradients alone was agreed.",
            "looking at the first thing that came back",
        ),
    ),
    right=(_clip_min, _clip_torch, _clip_norm_of_norms),
    properties=(
        Property("what was too long has the length max_norm", _clip_length_property),
        Property("the direction is kept", _clip_direction),
        Property("doubles that are short enough stay as they are", _clip_doubles),
    ),
    hints=(
        "Imagine all gradients written one after the other as one long vector. How long is it?",
        "Sub-goals: the sum of the squares of every entry of every gradient; its root, the length; "
        "the factor, max_norm divided by the length if that is longer, else 1; every gradient "
        "times this factor.",
        "length = math.sqrt(sum((g**2).sum().item() for g in gradients)). With scale = max_norm / "
        "length if length > max_norm else 1.0, return [g * scale for g in gradients].",
    ),
    solution=(
        "One factor for everything keeps the direction of the step and changes its length alone. "
        "The length is that of the whole, since it is the whole step that can be too long. "
        "(Pascanu et al. 2013, section 3.2.)"
    ),
    checked="long, short, exactly max_norm and all zero; many small ones; doubles",
    atol=1e-5,
)


# --- warmup_cosine ---

SCHEDULE_CASES = tuple(
    Case(name, args)
    for name, args in (
        ("the very first step", (0, 4, 20, 1.0, 0.1)),
        ("in the warm-up", (2, 4, 20, 1.0, 0.1)),
        ("in the warm-up, below min_lr", (1, 8, 20, 1.0, 0.6)),
        ("the last step of the warm-up", (3, 4, 20, 1.0, 0.1)),
        ("the first step after it", (4, 4, 20, 1.0, 0.1)),
        ("half-way down", (12, 4, 20, 1.0, 0.1)),
        ("a quarter down", (8, 4, 20, 2.0, 0.5)),
        ("three quarters down", (16, 4, 20, 2.0, 0.5)),
        ("the last step", (19, 4, 20, 1.0, 0.1)),
        ("the step after the last", (20, 4, 20, 1.0, 0.1)),
        ("long after the end", (45, 4, 20, 1.0, 0.1)),
        ("no warm-up, first step", (0, 0, 10, 3.0, 1.0)),
        ("no warm-up, later", (7, 0, 10, 3.0, 1.0)),
        ("warm-up alone", (5, 10, 10, 2.0, 0.5)),
        ("warm-up alone, at its end", (10, 10, 10, 2.0, 0.5)),
        ("down to 0", (30, 10, 50, 0.006, 0.0)),
        ("a level rate", (7, 2, 10, 0.5, 0.5)),
        ("a run of a thousand steps", (637, 100, 1000, 3.0, 0.3)),
        ("a tiny rate", (7, 4, 20, 3e-7, 1e-8)),
        ("a tiny rate, in the warm-up", (0, 3, 20, 2e-8, 0.0)),
    )
)


def _schedule_by_parts(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr / warmup_steps * (step + 1)
    if step >= n_steps:
        return min_lr
    share = 0.5 + 0.5 * math.cos(math.pi * (step - warmup_steps) / (n_steps - warmup_steps))
    return share * max_lr + (1 - share) * min_lr


def _schedule_half_angle(step, warmup_steps, n_steps, max_lr, min_lr):
    if warmup_steps > 0 and step + 1 <= warmup_steps:
        return (step + 1) / warmup_steps * max_lr
    length = max(n_steps - warmup_steps, 1)
    progress = min((step - warmup_steps) / length, 1.0) if step < n_steps else 1.0
    return min_lr + (max_lr - min_lr) * math.cos(math.pi / 2 * progress) ** 2


# Known mistakes.


def _sched_from_zero(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)


def _sched_from_min(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return min_lr + (max_lr - min_lr) * (step + 1) / warmup_steps
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)


def _sched_never_arrives(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr * (step + 1) / (warmup_steps + 1)
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)


def _sched_no_warmup(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)


def _cosine(progress, max_lr, min_lr):
    return min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2


def _sched_over_all(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    return _cosine(min(step / n_steps, 1.0), max_lr, min_lr)


def _sched_not_shifted(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    if step >= n_steps:
        return min_lr
    return _cosine(step / (n_steps - warmup_steps), max_lr, min_lr)


def _sched_goes_up_again(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    return _cosine((step - warmup_steps) / (n_steps - warmup_steps), max_lr, min_lr)


def _sched_zero_after(step, warmup_steps, n_steps, max_lr, min_lr):
    if step >= n_steps:
        return 0.0
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)


def _sched_whole_turn(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return _cosine(2 * progress, max_lr, min_lr)


def _sched_quarter_turn(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * math.cos(math.pi / 2 * progress)


def _sched_linear(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return max_lr - (max_lr - min_lr) * progress


def _sched_not_halved(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * math.cos(math.pi * progress)


def _sched_min_on_top(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + max_lr * (1 + math.cos(math.pi * progress)) / 2


def _sched_warmup_not_below_min(step, warmup_steps, n_steps, max_lr, min_lr):
    return max(min_lr, warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr))


def _sched_min_unused(step, warmup_steps, n_steps, max_lr, min_lr):
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, 0.0)


def _sched_floor(step, warmup_steps, n_steps, max_lr, min_lr):
    return max(min_lr, warmup_cosine(step, warmup_steps, n_steps, max_lr, 0.0))


def _sched_degrees(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return min_lr + (max_lr - min_lr) * (1 + math.cos(180 * progress)) / 2


def _sched_max_forgotten(step, warmup_steps, n_steps, max_lr, min_lr):
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr) / max_lr


def _sched_reaches_min(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / max(n_steps - 1 - warmup_steps, 1)
    return _cosine(progress, max_lr, min_lr)


def _sched_min_at_the_end_alone(step, warmup_steps, n_steps, max_lr, min_lr):
    low = min_lr if step >= n_steps else 0.0
    return warmup_cosine(step, warmup_steps, n_steps, max_lr, low)


def _sched_upside_down(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step >= n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    progress = (step - warmup_steps) / (n_steps - warmup_steps)
    return _cosine(1 - progress, max_lr, min_lr)


def _sched_one_ahead(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    return warmup_cosine(step + 1, warmup_steps, n_steps, max_lr, min_lr)


def _sched_end_not_asked_for(step, warmup_steps, n_steps, max_lr, min_lr):
    if step < warmup_steps or step > n_steps:
        return warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr)
    return _cosine((step - warmup_steps) / (n_steps - warmup_steps), max_lr, min_lr)


def _sched_rounded(step, warmup_steps, n_steps, max_lr, min_lr):
    return round(warmup_cosine(step, warmup_steps, n_steps, max_lr, min_lr), 6)


SCHEDULE_MISTAKES = (
    Mistake(
        "warmup_never_arrives",
        _sched_never_arrives,
        "Your warm-up ends just below max_lr; its last step, warmup_steps - 1, has all of it.",
        "any step after the warm-up",
    ),
    Mistake(
        "no_warmup",
        _sched_no_warmup,
        "There is no climb in your warm-up: it has max_lr from the first step on.",
        "warmup_steps of 0",
    ),
    Mistake(
        "progress_over_the_whole_run",
        _sched_over_all,
        "Your progress is step / n_steps, so the rate jumps down where the warm-up ends; it "
        "counts from the end of the warm-up.",
        "warmup_steps of 0",
    ),
    Mistake(
        "warmup_not_subtracted",
        _sched_not_shifted,
        "You divide by the steps after the warm-up but count the step from the start of the run; "
        "subtract warmup_steps above too.",
        "warmup_steps of 0",
    ),
    Mistake(
        "goes_up_again",
        _sched_goes_up_again,
        "After the last step your cosine turns and climbs again, or divides by 0; from n_steps "
        "on the rate is min_lr.",
        "steps of the run alone",
    ),
    Mistake(
        "zero_after_the_end",
        _sched_zero_after,
        "After the last step your rate is 0; the agreement is min_lr.",
        "steps of the run alone",
    ),
    Mistake(
        "whole_turn",
        _sched_whole_turn,
        "Your cosine makes a whole turn: down by the middle of the run and up again at its end; "
        "half a turn, pi, is enough.",
        "the first and the last step",
    ),
    Mistake(
        "quarter_turn",
        _sched_quarter_turn,
        "You use a quarter of a cosine, from 1 to 0, which drops steeply at the end; the agreement "
        "is half of one, from 1 to -1, moved up and halved.",
        "the first and the last step",
    ),
    Mistake(
        "straight_line",
        _sched_linear,
        "You go down in a straight line, which meets the cosine at both ends and in the middle "
        "alone.",
        "the two ends and the middle",
    ),
    Mistake(
        "not_moved_up",
        _sched_not_halved,
        "Your cosine still runs from 1 to -1, so the rate becomes negative; add 1 and divide by 2.",
        "the first step after the warm-up",
    ),
    Mistake(
        "min_added_on_top",
        _sched_min_on_top,
        "You add min_lr to a cosine of the full height, so the rate begins above max_lr; the "
        "height is max_lr - min_lr.",
        "a min_lr of 0",
    ),
    Mistake(
        "warmup_cut_off_at_min",
        _sched_warmup_not_below_min,
        "Your warm-up never goes below min_lr, but it climbs from 0; min_lr is where the run ends.",
        "a min_lr below the first rate",
    ),
    Mistake(
        "min_unused",
        _sched_min_unused,
        "Your rate goes down to 0 whatever min_lr is.",
        "a min_lr of 0",
    ),
    Mistake(
        "min_at_the_end_alone",
        _sched_min_at_the_end_alone,
        "Your cosine goes down to 0, and the rate jumps up to min_lr after the last step; the "
        "cosine itself must arrive at min_lr.",
        "a min_lr of 0",
    ),
    Mistake(
        "cosine_upside_down",
        _sched_upside_down,
        "Your cosine is upside down: after the warm-up the rate drops to min_lr and climbs from "
        "there; it is 1 + cos, and not 1 - cos.",
        "the middle of the way down",
    ),
    Mistake(
        "one_step_ahead",
        _sched_one_ahead,
        "Your progress is one step ahead after the warm-up: it is (step - warmup_steps) / "
        "(n_steps - warmup_steps), so step warmup_steps still has max_lr.",
        "steps of the warm-up",
    ),
    Mistake(
        "end_not_asked_for",
        _sched_end_not_asked_for,
        "You ask for step > n_steps, but step = n_steps belongs to min_lr too; when the "
        "warm-up is the whole run, you divide by 0 there.",
        "a run that is longer than its warm-up",
    ),
    Mistake(
        "rounded",
        _sched_rounded,
        "You round the rate to six decimals, so a rate below a millionth becomes 0; return it as "
        "it is.",
        "rates above a thousandth",
    ),
    Mistake(
        "cut_off_at_min",
        _sched_floor,
        "You go down towards 0 and cut the curve off at min_lr; it must bend so that it arrives "
        "there at the end.",
        "a min_lr of 0, or the two ends",
    ),
    Mistake(
        "degrees",
        _sched_degrees,
        "You give math.cos an angle in degrees; it wants radians, where half a turn is math.pi.",
        "the first step after the warm-up",
    ),
    Mistake(
        "height_of_one",
        _sched_max_forgotten,
        "Your curve is right in shape, but its height is 1 and not max_lr.",
        "a max_lr of 1",
    ),
)


def _sched_whole_curve(answer) -> str | None:
    rates = [answer(step, 5, 30, 2.0, 0.5) for step in range(35)]
    if sorted(set(rates[:5])) != rates[:5]:
        return "In the warm-up the rate must rise at every step, and yours does not."
    for step in range(5, 34):
        if rates[step + 1] > rates[step] + 1e-9:
            return f"After the warm-up the rate must never rise, but yours does at step {step + 1}."
    if not all(0 < rate <= 2.0 + 1e-9 for rate in rates):
        worst = max(rates, key=lambda rate: abs(rate - 1.25))
        return (
            f"The rate must stay above 0 and at most max_lr = 2, but one of yours is {worst:.4g}."
        )
    return None


def _sched_against_reference(answer) -> str | None:
    for warmup, total, low in ((0, 7, 0.0), (3, 11, 0.2), (10, 10, 0.1), (1, 40, 0.9)):
        for step in range(total + 3):
            right = warmup_cosine(step, warmup, total, 1.5, low)
            got = answer(step, warmup, total, 1.5, low)
            if abs(got - right) > 1e-6:
                return (
                    f"At step {step} of {total}, with warmup_steps={warmup}, max_lr=1.5 and "
                    f"min_lr={low}, the rate must be {right:.4f}, but yours is {got:.4f}."
                )
    return None


SCHEDULE = Exercise(
    id="training.warmup_cosine",
    title="Warm-up and cosine",
    reference=warmup_cosine,
    cases=SCHEDULE_CASES,
    mistakes=SCHEDULE_MISTAKES,
    conventions=(
        Mistake(
            "first_step_has_0",
            _sched_from_zero,
            "Your first step has the learning rate 0, as in some libraries, and learns nothing; "
            "here the climb is (step + 1) / warmup_steps, with steps counted from 0.",
            "any step after the warm-up",
        ),
        Mistake(
            "climbs_from_min",
            _sched_from_min,
            "Your warm-up climbs from min_lr; here it climbs from 0.",
            "a min_lr of 0",
        ),
        Mistake(
            "last_step_has_min",
            _sched_reaches_min,
            "Your last step has exactly min_lr; here the step after the last would have it, so "
            "that the last one still learns when min_lr is 0.",
            "the middle of a long run",
        ),
    ),
    right=(_schedule_by_parts, _schedule_half_angle),
    properties=(
        Property("up, then down, between 0 and max_lr", _sched_whole_curve),
        Property("every step of four runs", _sched_against_reference),
    ),
    hints=(
        "Draw the curve: which three stretches does it have, and at which steps do they begin?",
        "Sub-goals: step < warmup_steps, a straight climb; step >= n_steps, min_lr; between "
        "them the progress from 0 to below 1, and half a cosine over it.",
        "progress = (step - warmup_steps) / (n_steps - warmup_steps), and the rate is "
        "min_lr + (max_lr - min_lr) * (1 + math.cos(math.pi * progress)) / 2. Ask for "
        "step >= n_steps before you divide.",
    ),
    solution=(
        "Steps count from 0, so step + 1 of warmup_steps parts are climbed in step. The cosine "
        "falls from 1 to -1 while its angle goes from 0 to pi; plus 1 and halved it falls from 1 "
        "to 0, and that share of the height stands on min_lr. (Loshchilov and Hutter 2016, "
        "section 3.)"
    ),
    checked="every stretch and every border, no warm-up, warm-up alone, steps after the end, tiny "
    "rates",
    atol=1e-12,
)


# --- join_gradients ---

JOIN_CASES = (
    Case("1 and 3 targets by hand", ([torch.tensor([4.0, 0.0]), torch.tensor([0.0, 8.0])], [1, 3])),
    Case(
        "three uneven pieces",
        ([normal(120, 2, 3), normal(121, 2, 3), normal(122, 2, 3)], [5, 2, 9]),
    ),
    Case("equal pieces", ([normal(123, 4), normal(124, 4)], [6, 6])),
    Case("a single piece", ([normal(125, 3)], [7])),
    Case("a piece without targets", ([normal(126, 3), torch.zeros(3), normal(127, 3)], [4, 0, 1])),
    Case("one piece far larger", ([normal(128, 5), normal(129, 5)], [1, 999])),
    Case("five pieces", ([normal(130 + i, 2, 2) for i in range(5)], [1, 2, 3, 4, 5])),
    Case(
        "double precision",
        ([normal(136, 3, dtype=torch.float64), normal(137, 3, dtype=torch.float64)], [3, 5]),
    ),
    Case(
        "doubles that float32 cannot tell apart",
        (
            [
                side * FAR + normal(141 + i, 3, dtype=torch.float64)
                for i, side in enumerate((1, -1, -1))
            ],
            [2, 1, 1],
        ),
    ),
)


def _join_weighted_sum(gradients, n_targets):
    weighted = [n * g for g, n in zip(gradients, n_targets, strict=True)]
    return torch.stack(weighted).sum(dim=0) / sum(n_targets)


def _join_running_mean(gradients, n_targets):
    joined, seen = torch.zeros_like(gradients[0]), 0
    for g, n in zip(gradients, n_targets, strict=True):
        if n:
            seen += n
            joined = joined + (g - joined) * (n / seen)
    return joined


def _join_tensordot(gradients, n_targets):
    shares = torch.tensor(n_targets, dtype=gradients[0].dtype)
    return torch.tensordot(shares / shares.sum(), torch.stack(gradients), dims=1)


# Known mistakes.


def _join_mean(gradients, n_targets):
    return torch.stack(gradients).mean(dim=0)


def _join_sum(gradients, n_targets):
    return torch.stack(gradients).sum(dim=0)


def _join_times_counts(gradients, n_targets):
    return _join_weighted_sum(gradients, n_targets) * sum(n_targets)


def _join_by_pieces(gradients, n_targets):
    return _join_times_counts(gradients, n_targets) / len(gradients)


def _join_twice(gradients, n_targets):
    return _join_weighted_sum(gradients, n_targets) / len(gradients)


def _join_divided_by_counts(gradients, n_targets):
    parts = [g / max(n, 1) for g, n in zip(gradients, n_targets, strict=True)]
    return torch.stack(parts).sum(dim=0)


def _join_sum_over_total(gradients, n_targets):
    return torch.stack(gradients).sum(dim=0) / sum(n_targets)


def _join_last(gradients, n_targets):
    return gradients[-1].clone()


def _join_last_missing(gradients, n_targets):
    total = sum(n_targets)
    joined = torch.zeros_like(gradients[0])
    for g, n in zip(gradients[:-1], n_targets[:-1], strict=True):
        joined = joined + g * (n / total)
    return joined


def _join_first_size(gradients, n_targets):
    return sum(g * n for g, n in zip(gradients, n_targets, strict=True)) / (
        max(n_targets[0], 1) * len(gradients)
    )


def _join_largest_size(gradients, n_targets):
    return sum(g * n for g, n in zip(gradients, n_targets, strict=True)) / max(n_targets)


def _join_shares_reversed(gradients, n_targets):
    return _join_weighted_sum(gradients, n_targets[::-1])


def _join_whole_shares(gradients, n_targets):
    total = sum(n_targets)
    return sum(g * (n // total) for g, n in zip(gradients, n_targets, strict=True))


def _join_in_place(gradients, n_targets):
    total = sum(n_targets)
    joined = gradients[0].mul_(n_targets[0] / total)
    for g, n in zip(gradients[1:], n_targets[1:], strict=True):
        joined += g * (n / total)
    return joined


def _join_list(gradients, n_targets):
    total = sum(n_targets)
    return [g * (n / total) for g, n in zip(gradients, n_targets, strict=True)]


def _join_mean_of_full(gradients, n_targets):
    full = [g for g, n in zip(gradients, n_targets, strict=True) if n]
    return torch.stack(full).mean(dim=0)


def _join_divided_by_0(gradients, n_targets):
    return sum(g / n for g, n in zip(gradients, n_targets, strict=True))


def _join_last_left_out(gradients, n_targets):
    total = sum(n_targets[:-1])
    joined = torch.zeros_like(gradients[0])
    for g, n in zip(gradients[:-1], n_targets[:-1], strict=True):
        joined = joined + g * (n / total)
    return joined


def _join_in_float32(gradients, n_targets):
    return join_gradients([g.float() for g in gradients], n_targets).to(gradients[0].dtype)


JOIN_MISTAKES = (
    Mistake(
        "mean_of_means",
        _join_mean,
        "You average the pieces as if they were equally large, so a target in a small piece "
        "counts more than one in a large piece.",
        "pieces of equal size",
    ),
    Mistake(
        "mean_of_those_with_targets",
        _join_mean_of_full,
        "You average the pieces that have targets as if they were equally large; weigh each by how "
        "many it has.",
        "pieces of equal size",
    ),
    Mistake(
        "added_up",
        _join_sum,
        "You add the gradients up as they are, as backward() does when nothing scales the losses; "
        "with four pieces the step would be four times too long.",
        "a single piece",
    ),
    Mistake(
        "never_divided",
        _join_times_counts,
        "You multiply each gradient by its number of targets and never divide by the number of "
        "all targets.",
        "a single piece of one target",
    ),
    Mistake(
        "divided_by_pieces",
        _join_by_pieces,
        "You divide by the number of pieces after you have multiplied by targets; divide by the "
        "number of all targets.",
        "pieces of one target",
    ),
    Mistake(
        "divided_twice",
        _join_twice,
        "Your shares add up to one already; do not divide by the number of pieces on top of it.",
        "a single piece",
    ),
    Mistake(
        "divided_by_own_targets",
        _join_divided_by_counts,
        "You divide each gradient by its number of targets, but each is a mean already; the large "
        "pieces must count more, not less.",
        "pieces of one target",
    ),
    Mistake(
        "divided_by_own_targets_even_0",
        _join_divided_by_0,
        "You divide each gradient by its number of targets, which may be 0; each is a mean "
        "already, and must be multiplied by its share of all targets.",
        "pieces of one target",
    ),
    Mistake(
        "sum_over_all_targets",
        _join_sum_over_total,
        "You divide the plain sum by the number of all targets; each gradient is a mean and must "
        "first be multiplied by its own number of targets.",
        "pieces of one target",
    ),
    Mistake(
        "last_piece_alone",
        _join_last,
        "You return the gradient of the last piece, as happens when zero_grad() stands inside the "
        "loop over the pieces.",
        "a single piece",
    ),
    Mistake(
        "last_piece_missing",
        _join_last_missing,
        "The last piece is missing from your sum: the loop ends one too early.",
        "a last piece without targets",
    ),
    Mistake(
        "last_piece_left_out",
        _join_last_left_out,
        "You leave the last piece out, both its gradient and its targets: the loop ends one too "
        "early.",
        "a last piece without targets",
    ),
    _in_float32(_join_in_float32, "gradients"),
    Mistake(
        "size_of_the_first",
        _join_first_size,
        "You divide as if every piece had as many targets as the first.",
        "pieces of equal size",
    ),
    Mistake(
        "size_of_the_largest",
        _join_largest_size,
        "You divide by the number of targets of the largest piece; divide by that of all pieces "
        "together.",
        "a single piece",
    ),
    Mistake(
        "shares_reversed",
        _join_shares_reversed,
        "Your shares stand in the reverse order: the first piece gets that of the last.",
        "pieces of equal size, or a single piece",
    ),
    Mistake(
        "whole_number_division",
        _join_whole_shares,
        "You compute the shares with //, which drops what is behind the point, so each share is 0.",
        "a single piece",
    ),
    Mistake(
        "overwrites_its_inputs",
        _join_in_place,
        "Your numbers are right, but you overwrite the caller's first gradient; here a new tensor "
        "is returned.",
        "comparing the output without looking at the inputs afterwards",
    ),
)


def _join_large_batch(answer) -> str | None:
    w = normal(138, 3, dtype=torch.float64).requires_grad_()
    x, y = normal(139, 10, 3, dtype=torch.float64), normal(140, 10, dtype=torch.float64)

    def gradient_of(rows: slice) -> Tensor:
        return torch.autograd.grad(((x[rows] @ w - y[rows]) ** 2).mean(), w)[0]

    pieces = [slice(0, 1), slice(1, 4), slice(4, 10)]
    joined = answer([gradient_of(piece) for piece in pieces], [1, 3, 6])
    gap = gap_between(joined, gradient_of(slice(0, 10)))
    if gap < 1e-6:
        return None
    return (
        f"Ten examples in pieces of 1, 3 and 6 must give the gradient of all ten at once, but "
        f"yours is off by up to {gap:.3g}."
    )


JOIN = Exercise(
    id="training.join_gradients",
    title="Joining uneven pieces",
    reference=join_gradients,
    cases=JOIN_CASES,
    mistakes=JOIN_MISTAKES,
    conventions=(
        Mistake(
            "one_for_each_piece",
            _join_list,
            "You return the share of each piece in a list, ready to be added; here their sum was "
            "agreed, one tensor.",
            "calling sum() on the result",
        ),
    ),
    right=(_join_weighted_sum, _join_running_mean, _join_tensordot),
    properties=(
        Property("the pieces give what the whole batch gives", _join_large_batch),
        Property("doubles stay doubles", _doubles_kept(join_gradients, JOIN_CASES)),
    ),
    hints=(
        "Each gradient is a mean over its own targets. How do you turn a mean back into a sum?",
        "The mean over all targets is the sum over all targets, divided by how many there are; a "
        "piece's part of that sum is its mean times its number of targets.",
        "total = sum(n_targets). Add up g * (n / total) for each pair (g, n), starting from "
        "torch.zeros_like(gradients[0]).",
    ),
    solution=(
        "Piece i contributes n_i · g_i to the sum over all targets, and the number of all targets "
        "divides that sum. So each gradient has the share n_i / total, and the shares add up to "
        "one. Averaging the pieces alike is right only when all are equally large."
    ),
    checked="uneven pieces, one without targets, a single one, doubles, and a real large batch",
)


# --- train ---


class _Toy(nn.Module):
    """A small next-token model whose training mode shows: it halves what dropout would drop."""

    def __init__(self, vocab_size: int, width: int, seed: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.table = nn.Parameter(normal(seed, vocab_size, width, dtype=dtype))
        self.head = nn.Parameter(normal(seed + 1, width, vocab_size, dtype=dtype))

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        vectors = self.table[ids]  # (B, T, C)
        if self.training:
            vectors = torch.cat([vectors[..., :1] / 2, vectors[..., 1:]], dim=-1)  # (B, T, C)
        logits = vectors @ self.head  # (B, T, V)
        return logits, None if targets is None else cross_entropy(logits, targets)


def _train_case(
    name: str,
    rates: list[float],
    max_norm: float,
    make: Callable = torch.optim.SGD,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Return a case: a fresh model in evaluation mode, a batch for each rate, an optimizer."""
    seed = 150 + 7 * len(name)
    model = _Toy(6, 3, seed, dtype).eval()
    batches = []
    for i in range(len(rates)):
        x, y = token_ids(seed + 2 * i, 6, 2, 4), token_ids(seed + 2 * i + 1, 6, 2, 4)
        batches.append((x, _with_ignored(y, (0, i % 4))))
    optimizer = Made(lambda model: make(model.parameters(), lr=0.123), model)
    return Case(name, (model, batches, optimizer, rates, max_norm))


def _with_gradients(case: Case) -> Case:
    """Return the case with gradients left over in its model from an earlier use."""
    for i, parameter in enumerate(case.args[0].parameters()):
        parameter.grad = normal(170 + i, *parameter.shape, dtype=parameter.dtype)
    return case


def _momentum(parameters, lr):
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)


def _two_groups(parameters, lr):
    table, head = parameters
    return torch.optim.SGD([{"params": [table]}, {"params": [head]}], lr=lr)


TRAIN_CASES = (
    _train_case("four batches, one rate", [0.8, 0.8, 0.8, 0.8], 100.0),
    _train_case("another rate at each step", [0.2, 1.5, 0.6, 2.0, 0.4], 100.0),
    _train_case("gradients far longer than max_norm", [4.0, 2.0, 3.0], 0.1),
    _train_case("an optimizer with momentum", [0.5, 1.0, 0.2, 0.8], 0.5, _momentum),
    _train_case("AdamW, four batches", [0.3, 0.1, 0.2, 0.3], 100.0, torch.optim.AdamW),
    _train_case("AdamW, clipped hard", [0.3, 0.1, 0.2], 0.05, torch.optim.AdamW),
    _train_case("two parameter groups", [0.4, 1.0, 0.7], 100.0, _two_groups),
    _train_case("two parameter groups, clipped", [2.0, 1.0, 3.0], 0.2, _two_groups),
    _with_gradients(_train_case("gradients left over from before", [0.5, 1.5, 0.7], 100.0)),
    _train_case("one batch", [0.5], 1.0),
    _train_case("no batches at all", [], 1.0),
    _train_case("doubles", [0.5, 1.0, 0.5], 0.7, _momentum, torch.float64),
)


def _train_zero_once_more(model, batches, optimizer, rates, max_norm):
    model.train()
    optimizer.zero_grad()
    told = []
    for i in range(len(batches)):
        x, y = batches[i]
        loss = model(x, y)[1]
        told.append(float(loss.detach()))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        for group in optimizer.param_groups:
            group["lr"] = rates[i]
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    return told


def _train_by_autograd(model, batches, optimizer, rates, max_norm):
    model.train(True)
    told = []
    parameters = list(model.parameters())
    for batch, rate in zip(batches, rates, strict=True):
        loss = model_loss(model, batch)
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, g in zip(parameters, clip_gradients(list(gradients), max_norm), strict=True):
            parameter.grad = g
        for group in optimizer.param_groups:
            group.update(lr=rate)
        optimizer.step()
        told.append(loss.detach().item())
    return told


# Known mistakes. Each is the loop with one line changed.


def _loop(
    *,
    mode: Callable = nn.Module.train,
    zero: str = "first",
    clip: str = "before",
    rate_of: Callable = lambda rates, i: rates[i],
    batch_of: Callable = lambda batches, i: batches[i],
    measure: str = "before",
    clip_by: Callable = clip_grad_norm,
    groups_of: Callable = lambda optimizer: optimizer.param_groups,
    mode_after: Callable = lambda model: None,
    start: int = 0,
) -> Callable:
    """Return a training loop that differs from the right one in what is named here."""

    def train(model, batches, optimizer, rates, max_norm):
        told = []
        mode(model)
        for i in range(start, len(batches)):
            x, y = batch_of(batches, i)
            for group in groups_of(optimizer):
                group["lr"] = group["lr"] if (rate := rate_of(rates, i)) is None else rate
            if zero == "first":
                optimizer.zero_grad()
            _, loss = model(x, targets=y)
            loss.backward()
            if clip == "before":
                clip_by(model.parameters(), max_norm)
            if zero == "before step":
                optimizer.zero_grad()
            optimizer.step()
            if zero == "last":
                optimizer.zero_grad()
            if clip == "after":
                clip_by(model.parameters(), max_norm)
            if measure == "after":
                with torch.no_grad():
                    _, loss = model(x, targets=y)
            told.append(loss.item())
            mode_after(model)
        return told

    return train


def _step_before_backward(model, batches, optimizer, rates, max_norm):
    told = []
    model.train()
    for (x, y), rate in zip(batches, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = model(x, targets=y)[1]
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()
        clip_grad_norm(model.parameters(), max_norm)
        told.append(loss.item())
    return told


def _clip_each_parameter(parameters, max_norm):
    for parameter in parameters:
        clip_grad_norm(parameter, max_norm)


def _clip_every_entry(parameters, max_norm):
    nn.utils.clip_grad_value_(parameters, max_norm)


def _clip_by_group(model, batches, optimizer, rates, max_norm):
    def clip_groups(_, longest):
        for group in optimizer.param_groups:
            clip_grad_norm(group["params"], longest)

    return _loop(clip_by=clip_groups)(model, batches, optimizer, rates, max_norm)


def _clip_first_group(model, batches, optimizer, rates, max_norm):
    def clip_first(_, longest):
        clip_grad_norm(optimizer.param_groups[0]["params"], longest)

    return _loop(clip_by=clip_first)(model, batches, optimizer, rates, max_norm)


def _accumulated_loss(model, batches, optimizer, rates, max_norm):
    total, told = 0.0, []
    for loss in train(model, batches, optimizer, rates, max_norm):
        total += loss
        told.append(total)
    return told


def _mean_so_far(model, batches, optimizer, rates, max_norm):
    sums = _accumulated_loss(model, batches, optimizer, rates, max_norm)
    return [total / (i + 1) for i, total in enumerate(sums)]


def _new_optimizer_each_step(model, batches, optimizer, rates, max_norm):
    told = []
    for batch, rate in zip(batches, rates, strict=True):
        settings = {name: value for name, value in optimizer.defaults.items() if name != "lr"}
        fresh = type(optimizer)(model.parameters(), lr=0.1, **settings)
        told += train(model, [batch], fresh, [rate], max_norm)
    return told


def _rates_multiplied(model, batches, optimizer, rates, max_norm):
    product, products = optimizer.param_groups[0]["lr"], []
    for rate in rates:
        product *= rate
        products.append(product)
    return train(model, batches, optimizer, products, max_norm)


def _every_pair(model, batches, optimizer, rates, max_norm):
    pairs = [(batch, rate) for batch in batches for rate in rates]
    return train(model, [b for b, _ in pairs], optimizer, [r for _, r in pairs], max_norm)


def _every_pair_by_rate(model, batches, optimizer, rates, max_norm):
    pairs = [(batch, rate) for rate in rates for batch in batches]
    return train(model, [b for b, _ in pairs], optimizer, [r for _, r in pairs], max_norm)


def _first_batch_alone(model, batches, optimizer, rates, max_norm):
    return train(model, batches[:1], optimizer, rates[:1], max_norm)


def _only_last_loss(model, batches, optimizer, rates, max_norm):
    told = train(model, batches, optimizer, rates, max_norm)
    return told[-1] if told else 0.0


TRAIN_MISTAKES = (
    Mistake(
        "gradients_pile_up",
        _loop(zero="never"),
        "Your gradients pile up: backward() adds to what is there, so optimizer.zero_grad() must "
        "be called for every batch, and not once before the first.",
        "a single batch",
    ),
    Mistake(
        "cleared_after_the_step",
        _loop(zero="last"),
        "You clear the gradients after each step and not before the first backward(), so what an "
        "earlier use of the model left in .grad goes into your first update; clear first.",
        "a model that has just been made",
    ),
    Mistake(
        "model_never_changes",
        _loop(zero="before step"),
        "Your model never changes: either optimizer.step() is not called, or zero_grad() stands "
        "between backward() and step(), so that the optimizer finds no gradients.",
        "the loss of the first batch",
    ),
    Mistake(
        "step_before_backward",
        _step_before_backward,
        "You step before backward() has computed the gradients, so every update uses those of the "
        "batch before.",
        "the loss of the first batch",
    ),
    Mistake(
        "not_clipped",
        _loop(clip="after"),
        "Your gradients reach the optimizer unclipped: clipping must stand after backward(), which "
        "makes them, and before step(), which uses them.",
        "gradients shorter than max_norm",
    ),
    Mistake(
        "clipped_one_by_one",
        _loop(clip_by=_clip_each_parameter),
        "You clip every parameter on its own, which turns the direction of the step; hand all of "
        "them over in one call.",
        "gradients shorter than max_norm",
    ),
    Mistake(
        "entries_clipped",
        _loop(clip_by=_clip_every_entry),
        "You cut off single entries of the gradients; max_norm is for their joint length.",
        "gradients shorter than max_norm",
    ),
    Mistake(
        "clipped_group_by_group",
        _clip_by_group,
        "You clip each parameter group on its own, which turns the direction of the step; hand the "
        "parameters of all groups over in one call.",
        "an optimizer with one parameter group",
    ),
    Mistake(
        "only_first_group_clipped",
        _clip_first_group,
        "You clip the first parameter group alone; max_norm is for the gradients of all "
        "parameters.",
        "an optimizer with one parameter group",
    ),
    Mistake(
        "rate_in_first_group_alone",
        _loop(groups_of=lambda optimizer: optimizer.param_groups[:1]),
        "You set the rate in the first parameter group alone; every group has one of its own.",
        "an optimizer with one parameter group",
    ),
    Mistake(
        "rate_never_set",
        _loop(rate_of=lambda rates, i: None),
        'You never put the rates into the optimizer: set group["lr"] for each group of '
        "optimizer.param_groups.",
        "rates equal to the optimizer's own",
    ),
    Mistake(
        "first_rate_always",
        _loop(rate_of=lambda rates, i: rates[0]),
        "You use the first rate at every step.",
        "equal rates",
    ),
    Mistake(
        "rate_of_the_step_before",
        _loop(rate_of=lambda rates, i: rates[i - 1] if i else None),
        "You set the rate after the step, so each update is made with the rate of the one before.",
        "equal rates",
    ),
    Mistake(
        "rate_of_the_next_step",
        _loop(rate_of=lambda rates, i: rates[min(i + 1, len(rates) - 1)]),
        "You are one rate ahead: batch 0 is trained with rates[1]; each has the rate of its own "
        "number.",
        "equal rates",
    ),
    Mistake(
        "rates_multiplied",
        _rates_multiplied,
        'You multiply the rate that stands in the optimizer by each new one; group["lr"] must '
        "become the rate of this step.",
        "rates of 1",
    ),
    Mistake(
        "length_one",
        _loop(clip_by=lambda parameters, _: clip_grad_norm(parameters, 1.0)),
        "You clip to the length 1 whatever max_norm is.",
        "a max_norm of 1",
    ),
    Mistake(
        "every_rate_for_every_batch",
        _every_pair,
        "Your two loops stand one inside the other, so each batch is trained on with every rate; "
        "walk through both together, with zip.",
        "a single batch",
    ),
    Mistake(
        "every_batch_at_every_rate",
        _every_pair_by_rate,
        "Your two loops stand one inside the other, so at each rate all batches are trained on; "
        "walk through both together, with zip.",
        "a single batch",
    ),
    Mistake(
        "return_in_the_loop",
        _first_batch_alone,
        "You stop after the first batch: does `return losses` stand inside the loop? It belongs "
        "after it, as far left as the `for`.",
        "a single batch",
    ),
    Mistake(
        "same_batch_always",
        _loop(batch_of=lambda batches, i: batches[0]),
        "You train on the first batch at every step.",
        "a single batch",
    ),
    Mistake(
        "loss_after_the_update",
        _loop(measure="after"),
        "You report the loss after the update, on a batch that was just trained on; the loss "
        "before it was asked for.",
        "that the losses fall",
    ),
    Mistake(
        "evaluation_mode",
        _loop(mode=lambda model: None),
        "You leave the model in the mode in which it came, here evaluation mode, so dropout is off "
        "while it trains; begin with model.train().",
        "a model that has just been made",
    ),
    Mistake(
        "evaluation_mode_after_the_first",
        _loop(mode_after=nn.Module.eval),
        "You switch to evaluation mode after each batch and never back, so only the first is "
        "trained with dropout; call model.train() once, before the loop, and model.eval() nowhere.",
        "a single batch",
    ),
    Mistake(
        "first_batch_skipped",
        _loop(start=1),
        "You skip the first batch; it is number 0.",
        "that the losses fall",
    ),
    Mistake(
        "losses_added_up",
        _accumulated_loss,
        "You report the sum of the losses so far; one loss for each batch was asked for.",
        "a single batch",
    ),
    Mistake(
        "mean_so_far",
        _mean_so_far,
        "You report the mean of the losses so far, which hides what happens now; one loss for each "
        "batch was asked for.",
        "a single batch",
    ),
    Mistake(
        "optimizer_made_anew",
        _new_optimizer_each_step,
        "You make a new optimizer at each step, which forgets its running means; use the one that "
        "you are given.",
        "plain SGD, which remembers nothing",
    ),
    Mistake(
        "last_loss_alone",
        _only_last_loss,
        "You return the loss of the last batch alone; a list with one loss for each batch was "
        "asked for.",
        "only that the loss is small",
    ),
)


TRAIN_ATOL = 1e-5


def _train_tensors(model, batches, optimizer, rates, max_norm):
    return torch.tensor(train(model, batches, optimizer, rates, max_norm))


def _fresh_case() -> tuple[nn.Module, list[Batch], torch.optim.Optimizer]:
    model = _Toy(6, 3, 900, torch.float32).eval()
    batches = [(token_ids(901 + i, 6, 2, 4), token_ids(911 + i, 6, 2, 4)) for i in range(3)]
    return model, batches, torch.optim.SGD(model.parameters(), lr=0.1)


def _train_last_update(answer) -> str | None:
    case = _case_named(TRAIN_CASES, "gradients far longer than max_norm")
    inputs, twins = copy_value(case.args, {}), copy_value(case.args, {})
    told, right = answer(*inputs), train(*twins)
    if differences(right, told, TRAIN_ATOL):
        return None  # the case itself shows that the losses are wrong, which comes first
    pairs = zip(inputs[0].parameters(), twins[0].parameters(), strict=True)
    gap = max(gap_between(a, b) for a, b in pairs)
    if gap < 1e-4:
        return None
    return (
        "Your losses are right, but after the last batch the parameters of your model are off by "
        f"up to {gap:.3g}; is the last update made, and once only?"
    )


def _train_leaves_mode(answer) -> str | None:
    model, batches, optimizer = _fresh_case()
    answer(model, batches, optimizer, [0.1] * 3, 1.0)
    return None if model.training else "After your function the model is in evaluation mode."


TRAIN = Exercise(
    id="training.train",
    title="The training loop",
    reference=train,
    cases=TRAIN_CASES,
    mistakes=TRAIN_MISTAKES,
    conventions=(
        Mistake(
            "one_tensor",
            _train_tensors,
            "You return the losses as a tensor; here they are a list of floats.",
            "plotting the result",
        ),
    ),
    right=(_train_zero_once_more, _train_by_autograd),
    properties=(
        Property("every batch moves the parameters, the last one too", _train_last_update),
        Property("the model is left in training mode", _train_leaves_mode),
    ),
    hints=(
        "Five things happen for each batch, in this order: clear, forward, backward, clip, step. "
        "Where does the learning rate go, and what must happen once before the loop?",
        "Sub-goals: training mode; for each batch and rate: the rate into every group of the "
        "optimizer, zero_grad, the model's loss, backward, clipping, step, the loss as a float "
        "into a list.",
        'model.train(); then for (x, y), rate in zip(batches, rates): group["lr"] = rate for each '
        "group in optimizer.param_groups; optimizer.zero_grad(); _, loss = model(x, targets=y); "
        "loss.backward(); optim.clip_grad_norm(model.parameters(), max_norm); optimizer.step(); "
        "losses.append(loss.item()).",
    ),
    solution=(
        "backward() adds the new gradients to the old, so they are cleared first. Clipping needs "
        "the gradients and must come before the step that uses them. The rate must be there when "
        "step() runs. .item() takes the number out of the loss, so that the memory of the forward "
        "pass can be given back."
    ),
    checked="SGD, momentum and AdamW, two groups, other rates at each step, hard clipping, old "
    "gradients",
    atol=TRAIN_ATOL,
)


# --- expose_bug: the input that tells `careless_evaluate` from `evaluate` ---

_NOT_TWO = (
    "Your function must return two things, (config, batches), in this order: a GPTConfig and a "
    "list of pairs (x, y)."
)
_NO_CONFIG = "The first of your two must be a GPTConfig; the check makes the model from it."
_NO_BATCHES = "Your list of batches is empty, so there is nothing to evaluate on."
_NOT_PAIRS = "Each of your batches must be a pair (x, y) of integer tensors of the shape (B, T)."
_OTHER_SHAPES = "In one of your batches x and y differ in shape, but each input has one target."
_TOO_LONG = "Your x has more tokens than the context_length of your config."
_OUTSIDE = "Your ids must lie between 0 and vocab_size - 1 (a target may also be -100)."
_NO_TARGETS = "Every target in your batches is -100, so none counts."
_NO_DROPOUT = (
    "Your config has no dropout (it is 0 unless you ask for it), so the model does the same in "
    "both modes; that is what hides the bug in the colleague's test."
)
_SAME = (
    "Both functions return the same loss on your input, so it does not show the bug; which part of "
    "a model does something else while it trains?"
)


def _two(answer) -> str | None:
    got = answer()
    return None if isinstance(got, (tuple, list)) and len(got) == 2 else _NOT_TWO


def _a_config(answer) -> str | None:
    return None if isinstance(answer()[0], GPTConfig) else _NO_CONFIG


def _some_batches(answer) -> str | None:
    batches = answer()[1]
    if not isinstance(batches, (list, tuple)):
        return _NOT_PAIRS
    return None if len(batches) else _NO_BATCHES


def _all_pairs(answer) -> str | None:
    for batch in answer()[1]:
        if not isinstance(batch, (list, tuple)) or len(batch) != 2:
            return _NOT_PAIRS
        for ids in batch:
            whole = isinstance(ids, Tensor) and ids.dtype in (torch.int64, torch.int32)
            if not whole or ids.dim() != 2 or ids.numel() == 0:
                return _NOT_PAIRS
    return None


def _same_shapes(answer) -> str | None:
    return None if all(x.shape == y.shape for x, y in answer()[1]) else _OTHER_SHAPES


def _fits_context(answer) -> str | None:
    config, batches = answer()
    return None if all(x.shape[1] <= config.context_length for x, _ in batches) else _TOO_LONG


def _known_ids(answer) -> str | None:
    config, batches = answer()
    for x, y in batches:
        for ids in (x, y[y != -100]):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < config.vocab_size:
                return _OUTSIDE
    return None


def _some_targets(answer) -> str | None:
    return None if any(bool((y != -100).any()) for _, y in answer()[1]) else _NO_TARGETS


def _has_dropout(answer) -> str | None:
    return None if answer()[0].dropout > 0 else _NO_DROPOUT


def _losses_differ(answer) -> str | None:
    config, batches = answer()
    model = GPT(config, torch.Generator().manual_seed(0)).train()
    right = evaluate(model, batches)
    tries = [careless_evaluate(model, batches) for _ in range(3)]  # a single one may drop nothing
    return None if max(abs(got - right) for got in tries) > 1e-6 else _SAME


EXPOSE_PROPERTIES = (
    Property("two things come back", _two),
    Property("the first is a config", _a_config),
    Property("there are batches", _some_batches),
    Property("each batch is a pair of id tensors", _all_pairs),
    Property("inputs and targets have the same shape", _same_shapes),
    Property("the inputs fit in the context", _fits_context),
    Property("the ids are known to the model", _known_ids),
    Property("some targets count", _some_targets),
    Property("something in the model depends on the mode", _has_dropout),
    Property("the two losses differ", _losses_differ),
)


def _expose_small():
    config = GPTConfig(2, context_length=3, d_model=4, n_layers=1, n_heads=1, dropout=0.1)
    return config, [(torch.tensor([[0, 1]]), torch.tensor([[1, 1]]))]


def _expose_uneven():
    config = GPTConfig(
        vocab_size=20, context_length=16, d_model=8, n_heads=2, dropout=0.3, norm="rmsnorm"
    )
    x, y = token_ids(1, 20, 3, 16), token_ids(2, 20, 3, 16)
    return config, ((x, _with_ignored(y, (0,))), (x[:1, :4], y[:1, :4]))


# Known mistakes.


def _expose_three():
    config, batches = expose_bug()
    return config, batches[0][0], batches[0][1]


def _expose_batches_first():
    return expose_bug()[::-1]


def _expose_none():
    return expose_bug()[0], []


def _expose_bare_pair():
    config, batches = expose_bug()
    return config, batches[0]


def _expose_floats():
    config, batches = expose_bug()
    return config, [(x.float(), y.float()) for x, y in batches]


def _expose_short_targets():
    config, batches = expose_bug()
    return config, [(x, y[:, 1:]) for x, y in batches]


def _expose_long():
    config, batches = expose_bug()
    return config, [(torch.cat([x, x], 1), torch.cat([y, y], 1)) for x, y in batches]


def _expose_unknown_ids():
    config, batches = expose_bug()
    return config, [(x + 5, y + 5) for x, y in batches]


def _expose_all_ignored():
    config, batches = expose_bug()
    return config, [(x, torch.full_like(y, -100)) for x, y in batches]


def _expose_no_dropout():
    _, batches = expose_bug()
    return GPTConfig(vocab_size=10, context_length=8, d_model=16, n_heads=2), batches


EXPOSE_MISTAKES = (
    Mistake("three_results", _expose_three, _NOT_TWO, "only that tensors come back"),
    Mistake("batches_first", _expose_batches_first, _NO_CONFIG, "only that two things come back"),
    Mistake("no_batches", _expose_none, _NO_BATCHES, "only that a list comes back"),
    Mistake("bare_pair", _expose_bare_pair, _NOT_PAIRS, "only that there are two tensors"),
    Mistake("floats", _expose_floats, _NOT_PAIRS + " Yours hold floats.", "only the shapes"),
    Mistake("short_targets", _expose_short_targets, _OTHER_SHAPES, "only the types"),
    Mistake("too_long", _expose_long, _TOO_LONG, "only that the shapes agree"),
    Mistake("unknown_ids", _expose_unknown_ids, _OUTSIDE, "only the shapes"),
    Mistake("all_ignored", _expose_all_ignored, _NO_TARGETS, "only that both functions run"),
    Mistake("no_dropout", _expose_no_dropout, _NO_DROPOUT, "that both functions run"),
)

EXPOSE_BUG = Exercise(
    id="training.expose_bug",
    title="Expose the bug",
    reference=expose_bug,
    cases=(),
    mistakes=EXPOSE_MISTAKES,
    right=(_expose_small, _expose_uneven),
    properties=EXPOSE_PROPERTIES,
    hints=(
        "Put the two functions side by side. What does `evaluate` do to the model before it "
        "measures, and what does a model do otherwise in training mode?",
        "Only dropout acts differently in training and evaluation. Which config did the colleague "
        "test with, and how much dropout has it?",
        "Take the colleague's config and add dropout=0.5. For the batch, ids = torch.randint(10, "
        "(4, 9)) gives x = ids[:, :-1] and y = ids[:, 1:].",
    ),
    solution=(
        "Without model.eval() dropout goes on, so the measured loss belongs to a model from which "
        "parts are missing, and it differs from call to call. With dropout=0, the default, both "
        "modes are the same, and no test can see the bug."
    ),
    checked="both functions run on your input and return different losses",
)


EXERCISES: tuple[Exercise, ...] = (
    CROSS_ENTROPY,
    BITS_PER_BYTE,
    GRADIENT,
    ADAM_STEP,
    ADAMW_STEP,
    SCHEDULE,
    CLIP,
    JOIN,
    TRAIN,
    EXPOSE_BUG,
)


# --- Quizzes ---

WARMUP = (
    Question(
        "Why does a stable softmax subtract the largest score of a row first?",
        (
            Option(
                "So that the largest weight is exactly 1.",
                "No. The largest exponential is 1; after the division the weight is smaller.",
            ),
            Option(
                "So that no exponential overflows; the weights stay the same.",
                "Yes. Only differences between scores count, so a shift changes nothing, and with "
                "the largest at 0 every exponential is at most 1.",
                right=True,
            ),
            Option(
                "So that negative scores become positive.",
                "No. After the subtraction all scores are 0 or below; the exponential makes them "
                "positive.",
            ),
            Option(
                "So that the weights add up to one.",
                "No. The division by their sum does that.",
            ),
        ),
    ),
    Question(
        "What does the causal mask make possible in training?",
        (
            Option(
                "One text gives a prediction to learn from at every position at once.",
                "Yes. No position sees what comes after it, so all T predictions are honest, and "
                "one forward pass computes them all.",
                right=True,
            ),
            Option(
                "The model can skip positions that are padding.",
                "No. That is the work of the ignore index, in the loss.",
            ),
            Option(
                "The model looks at later tokens while it trains, and not when it writes.",
                "No. That would be a leak: what it learned would be gone when it writes.",
            ),
            Option(
                "Long texts fit into memory.",
                "No. A masked table of weights is as large as one without a mask.",
            ),
        ),
    ),
    Question(
        "What does dropout do in evaluation mode?",
        (
            Option(
                "It drops the same activations as in the last training step.",
                "No. Nothing of an earlier step is kept.",
            ),
            Option(
                "It drops each activation with half the probability.",
                "No. In evaluation mode nothing is dropped.",
            ),
            Option(
                "Nothing: all activations pass as they are.",
                "Yes. Dropping is for training alone; there the rest is made larger, so that the "
                "mean is the same in both modes.",
                right=True,
            ),
            Option(
                "It raises an error, as a warning.",
                "No. It is silent in both modes, which is why a forgotten model.eval() is hard to "
                "notice.",
            ),
        ),
    ),
    Question(
        "Why can a stack of 24 blocks with residual connections be trained, and one without not?",
        (
            Option(
                "The residual connections make the model smaller.",
                "No. They have no parameters at all.",
            ),
            Option(
                "They carry the gradient past each block unchanged, so that it reaches the first.",
                "Yes. A sum hands its gradient on to both terms; without it the gradient is "
                "multiplied 24 times over, and vanishes or explodes.",
                right=True,
            ),
            Option(
                "They keep the attention weights from reaching 0.",
                "No. They have nothing to do with the weights of attention.",
            ),
            Option(
                "They let the blocks be computed at the same time.",
                "No. Each block still needs the result of the one before.",
            ),
        ),
    ),
    Question(
        "A model returns logits of the shape (B, T, V). What stands in logits[b, t]?",
        (
            Option(
                "The probabilities of the V tokens at position t.",
                "No. Logits are not probabilities yet: they can be negative and need not add up "
                "to one. Softmax turns them into probabilities.",
            ),
            Option(
                "The vector of token t of text b.",
                "No. That has C numbers and went into the output head.",
            ),
            Option(
                "How much token t looks at each token of the vocabulary.",
                "No. Attention looks at tokens of the text; this is about what comes next.",
            ),
            Option(
                "One score for every token of the vocabulary, for what comes after position t.",
                "Yes. The head turns the vector at position t into V scores.",
                right=True,
            ),
        ),
    ),
)

RECAP = (
    Question(
        "A new model with a vocabulary of 1,000 tokens has a loss of 6.9 before its first step, "
        "and ln 1,000 = 6.9. What does that say?",
        (
            Option(
                "Nothing: the loss before training means nothing.",
                "No. It is a cheap test of the initialisation, and of the loss itself.",
            ),
            Option(
                "It gives all tokens about the same probability, as a new model should.",
                "Yes. Much more would mean that it is sure of something before it has seen a text.",
                right=True,
            ),
            Option(
                "It is right in 1 of 6.9 cases.",
                "No. e to the 6.9 is 1,000: it is as unsure as among 1,000 equal choices.",
            ),
            Option(
                "Its learning rate is too high.",
                "No. No step has been made yet.",
            ),
        ),
    ),
    Question(
        "Model A cuts a text into words and has 4 nats per token, model B cuts it into characters "
        "and has 1 nat per token. Which is better?",
        (
            Option(
                "B, since 1 is less than 4.",
                "No. B pays its 1 nat far more often: for every character.",
            ),
            Option(
                "A, since words are harder.",
                "No. That depends on how long the words are; with words of three characters B "
                "would be better.",
            ),
            Option(
                "One must first divide the loss over the whole text by its bytes.",
                "Yes. Both have read the same bytes. With five characters to a word, A pays 0.8 "
                "and B 1 nat for each.",
                right=True,
            ),
            Option(
                "That can never be said of two tokenizers.",
                "No. Bits per byte compares them: the text is the same for both.",
            ),
        ),
    ),
    Question(
        "Your model's loss on unseen stories is 0.20 nats per token, and their entropy floor 0.24. "
        "What has happened?",
        (
            Option(
                "The model is better than the program that wrote the stories.",
                "No. On average over many stories nobody can be: what chance decides cannot be "
                "known.",
            ),
            Option(
                "It was trained for long enough.",
                "No. However long it trains, it comes close to the floor and stays above it.",
            ),
            Option(
                "Perplexity has been mixed up with loss.",
                "No. A perplexity is never below 1.",
            ),
            Option(
                "There is a leak, or the loss is not measured on what the floor counts.",
                "Yes. The stories may be among those trained on, the mask may be missing, or the "
                "mean may count padding as right.",
                right=True,
            ),
        ),
    ),
    Question(
        "A model gives the token that came the probability 0.75. What is the gradient at its "
        "logit, for the loss of this token alone?",
        (
            Option(
                "-0.25",
                "Yes. Softmax minus one-hot: 0.75 - 1. A step against it raises the logit.",
                right=True,
            ),
            Option(
                "0.75",
                "No. That is the gradient that a wrong token with this probability would have.",
            ),
            Option(
                "-0.29",
                "No. That is ln 0.75: minus the loss, not its slope.",
            ),
            Option(
                "-1.33",
                "No. That is -1/p, the slope for the probability; through softmax it becomes "
                "p - 1 for the logit.",
            ),
        ),
    ),
    Question(
        "Without bias correction, with β1 = 0.9 and β2 = 0.999, Adam's first step is ...",
        (
            Option(
                "a tenth of what it should be, because m is a tenth of the gradient.",
                "No. v is too small as well, and its root stands below the line.",
            ),
            Option(
                "as long as with it: the corrections cancel.",
                "No. They would only if m and the root of v were too small by the same factor.",
            ),
            Option(
                "about three times too long: 0.1 divided by the root of 0.001.",
                "Yes. m is a tenth of what it should be, but the root of v is 0.03 of it.",
                right=True,
            ),
            Option(
                "a thousand times too long, because v is a thousandth of the squared gradient.",
                "No. The root of v is what counts, and m is too small at the same time.",
            ),
        ),
    ),
    Question(
        "What does decoupled mean in AdamW?",
        (
            Option(
                "Each parameter has its own learning rate.",
                "No. That is the division by the root of v, which Adam has too.",
            ),
            Option(
                "The decay shrinks the weight itself and does not pass through m and v.",
                "Yes. So all weights lose the same share, whatever their gradients.",
                right=True,
            ),
            Option(
                "The decay is switched off during the warm-up.",
                "No. It is scaled by the learning rate, so it is small then, but it is there.",
            ),
            Option(
                "Only matrices decay.",
                "No. That is a choice of parameter groups, possible with any optimizer.",
            ),
        ),
    ),
    Question(
        "Four micro-batches have 100, 100, 100 and 20 targets. You average their four gradients. "
        "What is wrong?",
        (
            Option(
                "Nothing, an average is an average.",
                "No. Each is an average over another number of targets.",
            ),
            Option(
                "The step is four times too long.",
                "No. That happens when the gradients are added up without any division.",
            ),
            Option(
                "The memory of four batches is needed at once.",
                "No. Only the sum of the gradients is kept, piece by piece.",
            ),
            Option(
                "The 20 targets of the last count five times as much as each of the others.",
                "Yes. Weighted by their numbers of targets, the four give the gradient of the "
                "large batch.",
                right=True,
            ),
        ),
    ),
    Question(
        "In which order stand the lines of a training step?",
        (
            Option(
                "forward, backward, clear, clip, step",
                "No. Then the optimizer finds no gradients, and the model never changes.",
            ),
            Option(
                "clear, forward, backward, clip, step",
                "Yes. The old gradients go first, and clipping stands between making and using the "
                "new ones.",
                right=True,
            ),
            Option(
                "clear, forward, clip, backward, step",
                "No. Before backward() there is nothing to clip.",
            ),
            Option(
                "clear, forward, backward, step, clip",
                "No. The long step has been made before anything is shortened.",
            ),
        ),
    ),
    Question(
        "The training loss still falls, the validation loss has been rising for a while. What do "
        "you do?",
        (
            Option(
                "Take the weights from when the validation loss was lowest.",
                "Yes. From there on the model has only learned its training text by heart. More "
                "text, or dropout, lets it go further.",
                right=True,
            ),
            Option(
                "Train on, since the training loss has not settled.",
                "No. It may go down to 0; what is learned on that way does not help with new text.",
            ),
            Option(
                "Raise the learning rate.",
                "No. The model fits its training text too well already.",
            ),
            Option(
                "Validate on training text, so that both losses agree.",
                "No. Then you would no longer see it, but it would still be there.",
            ),
        ),
    ),
    Question(
        "A checkpoint holds the model's weights and nothing else. You go on training from it. What "
        "is lost?",
        (
            Option(
                "Nothing that matters: the weights are the model.",
                "No. They are all that is needed to use it, but not to go on as if nothing had "
                "happened.",
            ),
            Option(
                "Only a little time, until the data is read again.",
                "No. The numbers themselves will be others.",
            ),
            Option(
                "Adam's means, the place in the schedule, and the next batches.",
                "Yes. The means begin at 0 again, the rate warms up anew, and other batches come: "
                "often seen as a bump in the loss.",
                right=True,
            ),
            Option(
                "The validation loss, which must be below that of the training.",
                "No. It can be measured again at any time.",
            ),
        ),
    ),
)

QUIZZES: dict[str, tuple[Question, ...]] = {
    "training.warmup": WARMUP,
    "training.recap": RECAP,
}
