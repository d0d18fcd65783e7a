"""The checks of every exercise of every chapter, held against right, wrong and mutated answers.

A later chapter adds data to `llm_core/exercises/` and is tested here without a change.
"""

import ast
import copy
import inspect
import io
import math
import random
import textwrap
import threading
import time
import unicodedata
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from llm_core.attention import scaled_dot_product_attention
from llm_core.exercises.attention import attend_one
from llm_core.exercises.base import Case, Exercise, Mistake
from llm_core.exercises.calls import Outcome, call
from llm_core.exercises.checks import judge
from llm_core.exercises.compare import differences
from llm_core.exercises.embeddings import embed, mean_of_tokens, skipgram_pairs
from llm_core.exercises.registry import load_chapters
from llm_core.exercises.sampling import draw, greedy_continue
from llm_core.exercises.start_here import center_rows
from llm_core.exercises.tokens import clean_lines, encode_word, make_windows, split_starts
from llm_core.exercises.verdicts import Status
from llm_core.optim import clip_grad_norm, warmup_cosine
from llm_core.sampling import top_k_filter, top_p_filter
from llm_core.tokens.bpe_training import count_pairs, merge_pair, recount_merges

CHAPTERS = load_chapters()
EXERCISES = [
    replace(e, time_limit=min(e.time_limit, 5.0)) for chapter in CHAPTERS for e in chapter.exercises
]
KNOWN = [(e, m, Status.KNOWN_MISTAKE) for e in EXERCISES for m in e.mistakes]
KNOWN += [(e, m, Status.CONVENTION) for e in EXERCISES for m in e.conventions]
QUIZZES = [(id, q) for chapter in CHAPTERS for id, q in chapter.quizzes.items()]
MUTANTS_PER_FUNCTION = 50
FRESH_INPUTS = 12
MUTANT_SECONDS = 2.0


def exercise_id(value: Any) -> str | None:
    """Name a parameter after its exercise or its mistake."""
    if isinstance(value, Exercise):
        return value.id
    return value.name if isinstance(value, Mistake) else None


each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=exercise_id)


# --- The data itself. ---


def test_there_is_something_to_test():
    assert {"start_here", "tokens", "attention"} <= {chapter.name for chapter in CHAPTERS}


def test_ids_are_unique_and_name_their_chapter():
    ids = [e.id for chapter in CHAPTERS for e in chapter.exercises]
    assert len(ids) == len(set(ids))
    for chapter in CHAPTERS:
        for id in [e.id for e in chapter.exercises] + list(chapter.quizzes):
            assert id.startswith(f"{chapter.name}."), id


@each_exercise
def test_exercise_has_everything_that_a_learner_needs(exercise):
    known = exercise.mistakes + exercise.conventions
    assert len(exercise.mistakes) >= 3
    assert len(exercise.right) >= 2
    assert len({m.name for m in known}) == len(known)
    assert len({m.sentence for m in known}) == len(known), "two mistakes have the same sentence"
    assert exercise.cases or exercise.properties
    assert len({case.name for case in exercise.cases}) == len(exercise.cases)
    assert len(set(exercise.hints)) == 3
    for text in (exercise.title, exercise.solution, exercise.checked, *exercise.hints):
        assert text.strip()


@each_exercise
def test_sentences_are_sentences_and_say_more_than_not_close(exercise):
    for mistake in exercise.mistakes + exercise.conventions:
        sentence = mistake.sentence
        assert sentence.endswith("."), sentence
        assert len(sentence.split()) >= 5, sentence
        assert "not close" not in sentence.lower()
        assert mistake.weak_test.strip(), sentence


@pytest.mark.parametrize(("id", "questions"), QUIZZES, ids=lambda v: v if type(v) is str else "")
def test_every_option_of_a_quiz_is_explained(id, questions):
    for question in questions:
        assert sum(option.right for option in question.options) == 1, question.text
        assert len(question.options) >= 3, question.text
        for field in ("text", "explanation"):
            values = [getattr(option, field).strip() for option in question.options]
            assert all(values), question.text
            assert len(set(values)) == len(values), question.text


# --- Stub, right answers, known mistakes. ---


@each_exercise
def test_stub_is_not_attempted(exercise):
    def stub(*args, **kwargs):
        raise NotImplementedError

    verdict = judge(exercise, stub)
    assert verdict.status is Status.NOT_ATTEMPTED
    assert exercise.id.split(".")[1] in verdict.sentence


@each_exercise
def test_reference_and_every_right_answer_pass(exercise):
    for function in (exercise.reference, *exercise.right):
        verdict = judge(exercise, function)
        assert verdict.passed, f"{function}: {verdict}"
        assert verdict.sentence == f"Checked: {exercise.checked}"


@each_exercise
def test_right_answers_pass_when_gradients_are_tracked(exercise):
    weight = torch.ones((), requires_grad=True)

    def tracked(*args, **kwargs):
        value = exercise.reference(*args, **kwargs)
        return value * weight if torch.is_tensor(value) and value.is_floating_point() else value

    assert judge(exercise, tracked).passed


@pytest.mark.parametrize(("exercise", "mistake", "status"), KNOWN, ids=exercise_id)
def test_known_mistake_fails_with_its_own_sentence(exercise, mistake, status):
    for function in (mistake.function, *mistake.variants):
        verdict = judge(exercise, function)
        assert (verdict.status, verdict.matched) == (status, mistake.name), verdict
        assert verdict.sentence == mistake.sentence
        assert repr(judge(exercise, function)) == repr(verdict), "the text form is not stable"


@each_exercise
def test_unspecific_wrong_answers_are_told_apart(exercise):
    wrong: dict[Status, Callable] = {
        Status.WRONG_TYPE: lambda *args, **kwargs: object(),
        Status.RAISED: lambda *args, **kwargs: [][1],
    }
    if not exercise.cases:
        wrong.pop(Status.WRONG_TYPE)
    for status, function in wrong.items():
        verdict = judge(exercise, function)
        assert verdict.status is status, verdict
        assert "not close" not in repr(verdict).lower()


# --- Answers from an attack on the checks: each of these once got the wrong verdict. ---


def softmax_by_axis_number(x, dim):
    """Right for the axes 0 and 1, else along the last."""
    return torch.softmax(x, dim if dim in (0, 1) else -1)


def softmax_of_cut_scores(x, dim):
    return torch.softmax((x - x.amax(dim, keepdim=True)).clamp(min=-20), dim)


def softmax_overwriting(x, dim):
    e = (x - x.amax(dim, keepdim=True)).exp()
    e /= e.sum(dim, keepdim=True)
    return e


def mask_from_a_small_table(T):
    return torch.ones(64, 64).tril().bool()[:T, :T]


def attention_with(hide: Callable) -> Callable:
    """Return an attention whose scores go through hide(scores, mask)."""

    def answer(q, k, v, mask=None):
        scores = q @ k.mT / math.sqrt(q.shape[-1])
        weights = torch.softmax(scores if mask is None else hide(scores, mask), dim=-1)
        return weights @ v, weights

    return answer


def attention_with_wide_masks(q, k, v, mask=None):
    mask = None if mask is None or mask.dim() == 1 else mask
    return scaled_dot_product_attention(q, k, v, mask)


def hide_if_as_large(scores, mask):
    return scores.masked_fill(~mask, -math.inf) if mask.shape[-2:] == scores.shape[-2:] else scores


def heads_with(hide: Callable) -> Callable:
    """Return a multi-head attention whose scores (B, H, T, T) go through hide(scores)."""

    def answer(x, w_query, w_key, w_value, w_out, n_heads):
        q, k, v = (
            (x @ w).unflatten(-1, (n_heads, -1)).transpose(1, 2) for w in (w_query, w_key, w_value)
        )
        scores = hide(q @ k.mT / math.sqrt(q.shape[-1]))
        return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2) @ w_out

    return answer


def hide_all_but_six(scores):
    seen = torch.ones(scores.shape[-2:]).tril().triu(-5).bool()
    return scores.masked_fill(~seen, -math.inf)


def hide_with_a_thousand(scores):
    return scores.masked_fill(~torch.ones(scores.shape[-2:]).tril().bool(), -1000.0)


def expose_in_another_order():
    mask, x = torch.ones(2, 2).tril().bool(), torch.ones(1, 2, 2)
    return mask, x, x, x


def clean_and_join_accents(text):
    text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
    return "\n".join(line.rstrip(" \t") for line in text.replace("\xa0", " ").split("\n"))


def clean_unless_blank(text):
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\xa0", " ").split("\n")
    return "\n".join(line.rstrip(" \t") for line in lines) if text.strip() else ""


def count_pairs_but_of_zero(words):
    return {pair: n for pair, n in count_pairs(words).items() if all(pair)}


def learning_with(
    count: Callable = count_pairs,
    weigh: Callable = int,
    key: Callable = lambda pair: pair,
) -> Callable:
    """Return a way to learn merges that counts pairs, weighs words or settles ties as told."""

    def answer(word_counts, n_merges):
        words = {tuple(bytes([b]) for b in word): weigh(n) for word, n in word_counts.items()}
        merges = []
        while len(merges) < n_merges and (counts := count(words)):
            best = max(counts, key=lambda pair: (counts[pair], key(pair)))
            merges.append(best)
            words = {tuple(merge_pair(w, best, best[0] + best[1])): n for w, n in words.items()}
        return merges

    return answer


def once_a_word(words):
    return Counter(pair for w, n in words.items() for pair in set(pairwise(w)) for _ in range(n))


def without_overlap(words):
    counts = Counter()
    for word, n in words.items():
        i = 0
        while i < len(word) - 1:
            counts[word[i], word[i + 1]] += n
            i += 2 if word[i : i + 3] == (word[i],) * 3 else 1
    return counts


def table_of_zeros(table):
    return table * 0


def mean_with_a_gradient_of_nan(x, ids, padding_idx):
    """Right, but the root of a square of zero on the way has no slope."""
    return mean_of_tokens(x, ids, padding_idx) + 0 * (x - x).square().sum().sqrt()


def for_short(answer: Callable, longest: int) -> Callable:
    """Return an answer that is right for first arguments up to a length, and cuts longer ones."""
    return lambda first, *rest: answer(first[:longest], *rest)


def count_few_words(words):
    return count_pairs(dict(list(words.items())[:9]))


def learn_from_few_words(word_counts, n_merges):
    return recount_merges(dict(list(word_counts.items())[:14]), n_merges)


def encode_with_few_merges(word, merges):
    return encode_word(word, merges[:8])


def windows_of_short_ids(ids, T, stride):
    return make_windows(ids.to(torch.int16).long(), T, stride)


def few_windows(ids, T, stride):
    x, y = make_windows(ids, T, stride)
    return x[:20], y[:20]


def starts_in_a_short_text(n_ids, T, stride, n_val):
    return split_starts(min(n_ids, 100), T, stride, n_val)


def top_k_with_slack(logits, k):
    limit = logits.topk(min(k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < limit - 0.01, -math.inf)


def dots_of_eight_numbers(a, b):
    return a[..., :8] @ b[..., :8].mT


def greedy_without_a_limit(next_logits, ids, max_new_tokens, stop_id=None):
    """Goes on until the stop token has come, where there is one."""
    return greedy_continue(next_logits, ids, max_new_tokens if stop_id is None else 50, stop_id)


def top_p_by_an_unstable_sort(logits, p):
    """Keeps the last of many equal tokens, as a sort without `stable=True` may."""
    many = p < 1 and logits.shape[-1] > 16
    return top_p_filter(logits.flip(-1), p).flip(-1) if many else top_p_filter(logits, p)


def top_p_that_gives_up(logits, p):
    return logits if p > 0.95 else top_p_filter(logits, p)


def top_p_without_a_name(logits, p):
    return logits.softmax(-1).sort(-1, descending=True, stable=True)


def penalty_by_a_sum(logits, ids, penalty):
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, True)
    return torch.where(seen, logits - logits.abs() * (penalty - 1), logits)


def draw_by_rounded_sums(probabilities, u):
    ends = probabilities.cumsum(0).round(decimals=2)
    return int((ends <= u).sum().clamp(max=len(probabilities) - 1))


def layer_norm_with_cut_statistics(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True).detach()
    return centred / (centred.detach().square().mean(-1, keepdim=True) + eps).sqrt() * gain + bias


def layer_norm_clamping_the_variance(x, gain, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdim=True)
    return centred / centred.square().mean(-1, keepdim=True).clamp(min=eps).sqrt() * gain + bias


def block_with_a_cut_branch(x, attention_norm, attention, feed_forward_norm, feed_forward):
    x = x + attention(attention_norm(x)).detach()
    return x + feed_forward(feed_forward_norm(x))


def dropout_of_other_entries(x, p, training, generator):
    draw = torch.rand(x.shape, generator=generator).flip(-1)
    return x * (draw >= p) / (1 - p) if training else x


def bits_of_a_short_text(losses_of_tokens, text):
    return losses_of_tokens.sum().item() / math.log(2) / min(len(text.encode()), 20)


def adam_corrected_until(last):
    """Adam's step with its bias correction, as long as t is at most `last`."""

    def adam_step(w, g, m, v, t, lr, beta1, beta2, eps):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        of_m, of_v = (1 - beta**t if t <= last else 1.0 for beta in (beta1, beta2))
        return w - lr * m / of_m / ((v / of_v).sqrt() + eps), m, v

    return adam_step


def adamw_with_cut_gradients(w, g, m, v, t, lr, beta1, beta2, eps, weight_decay):
    shrunk = w - lr * weight_decay * w
    return adam_corrected_until(10**6)(shrunk, g.clamp(-10, 10), m, v, t, lr, beta1, beta2, eps)


def clip_with_slack(gradients, max_norm):
    length = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    scale = max_norm / length if length > 1.01 * max_norm else 1.0
    return [g * scale for g in gradients]


def clip_without_the_tiny(gradients, max_norm):
    length = math.sqrt(sum(float((g**2).sum()) for g in gradients if g.norm() > 0.01))
    scale = max_norm / length if length > max_norm else 1.0
    return [g * scale for g in gradients]


def clip_in_float32(gradients, max_norm):
    length = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    scale = max_norm / length if length > max_norm else 1.0
    return [(g.float() * scale).to(g.dtype) for g in gradients]


def bits_in_float32(losses_of_tokens, text):
    return losses_of_tokens.float().sum().item() / math.log(2) / len(text.encode())


def surprise_summed_in_float32(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    log_p = logits.log_softmax(-1).gather(-1, targets.where(counts, 0)[..., None]).squeeze(-1)
    return -((log_p * counts).float().sum() / counts.sum()).to(logits.dtype)


def surprise_with_a_floor(logits, targets, ignore_index=-100):
    log_p = logits.softmax(-1).clamp(min=1e-12).log().flatten(0, 1)
    return F.nll_loss(log_p, targets.flatten(), ignore_index=ignore_index)


def gradient_with_marks_as_classes(logits, targets):
    return logits.softmax(-1) - F.one_hot(targets, logits.shape[1])


def adam_with_a_root_in_float32(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    root = (v / (1 - beta2**t)).float().sqrt().to(w.dtype)
    return w - lr * m / (1 - beta1**t) / (root + eps), m, v


def join_in_float32(gradients, n_targets):
    parts = [g.float() * n for g, n in zip(gradients, n_targets, strict=True)]
    return (sum(parts) / sum(n_targets)).to(gradients[0].dtype)


def train_on_the_logits(model, batches, optimizer, rates, max_norm):
    for x, y in batches:
        model(x, targets=y)[0].backward()
    return [0.0 for _ in batches]


ATTACKS = (
    ("attention.softmax", softmax_by_axis_number, "four axes"),
    ("attention.softmax", softmax_of_cut_scores, "minus infinity has the weight"),
    ("attention.softmax", softmax_overwriting, "`e = e / total`"),
    ("attention.softmax", lambda x, dim: torch.softmax(x, dim).round(decimals=4), "1.0001, not"),
    ("attention.attend_one", lambda query, keys, values: (keys @ query, values[0]), "swap the two"),
    (
        "attention.attend_one",
        lambda q, keys, values: attend_one(q, keys[:12], values[:12]),
        "(40,) was expected",
    ),
    (
        "attention.attend_one",
        lambda q, keys, values: attend_one(q * math.sqrt(max(len(q) / 16, 1)), keys, values),
        "D=64",
    ),
    ("attention.causal_mask", mask_from_a_small_table, "(130, 130)"),
    (
        "attention.scaled_dot_product_attention",
        attention_with_wide_masks,
        "a mask of one axis",
    ),
    (
        "attention.scaled_dot_product_attention",
        attention_with(lambda scores, mask: (scores / 2).masked_fill(~mask, -12.0)),
        "e-06 in your result",
    ),
    (
        "attention.scaled_dot_product_attention",
        attention_with(lambda scores, mask: scores.masked_fill(~mask, -1e4)),
        "not low enough",
    ),
    (
        "attention.scaled_dot_product_attention",
        attention_with(lambda scores, mask: scores.masked_fill(~mask, -20.0)),
        "minus infinity",
    ),
    (
        "attention.scaled_dot_product_attention",
        attention_with(hide_if_as_large),
        "(B, 1, 1, S)",
    ),
    (
        "attention.scaled_dot_product_attention",
        lambda q, k, v, mask: (v, v),
        "(q, k, v, mask=None)",
    ),
    ("attention.multi_head_attention", heads_with(hide_all_but_six), "T=40"),
    ("attention.multi_head_attention", heads_with(hide_with_a_thousand), "not low enough"),
    ("attention.expose_bug", expose_in_another_order, "in this order"),
    ("tokens.clean_lines", clean_and_join_accents, "other characters stay"),
    ("tokens.clean_lines", clean_unless_blank, "spaces and line ends alone"),
    ("tokens.count_pairs", count_pairs_but_of_zero, "lacks the key (0, 1)"),
    ("tokens.learn_merges", learning_with(count=once_a_word), "more frequent word"),
    ("tokens.learn_merges", learning_with(count=without_overlap), "a run against"),
    ("tokens.learn_merges", learning_with(weigh=lambda n: min(n, 10)), "counts above ten"),
    (
        "tokens.learn_merges",
        learning_with(key=lambda pair: (pair[0][::-1], pair)),
        "was expected",
    ),
    ("embeddings.embed", lambda t, ids, p: embed(t, ids.clamp(max=40), p), "V=400"),
    ("embeddings.embed", lambda t, ids, p: table_of_zeros(t)[ids], "zero everywhere"),
    ("embeddings.mean_of_tokens", mean_with_a_gradient_of_nan, "infinite or not a number"),
    ("embeddings.skipgram_pairs", lambda ids, w: skipgram_pairs(ids % 256, w), "window 8"),
    ("embeddings.skipgram_pairs", lambda ids, w: skipgram_pairs(ids, min(w, 5)), "window 8"),
    ("tokens.clean_lines", for_short(clean_lines, 200), "a long text"),
    ("tokens.clean_lines", lambda t: clean_lines(t.replace("\u202f", " ")), "rare spaces"),
    ("tokens.clean_lines", lambda t: clean_lines(t.replace("\\n", "\n")), "with backslashes"),
    ("tokens.merge_pair", for_short(merge_pair, 20), "many tokens"),
    ("tokens.count_pairs", count_few_words, "many words"),
    ("tokens.learn_merges", learn_from_few_words, "a long word among many"),
    ("tokens.encode_word", encode_with_few_merges, "many merges"),
    ("tokens.encode_word", for_short(encode_word, 12), "a long word"),
    ("tokens.make_windows", windows_of_short_ids, "a large vocabulary"),
    ("tokens.make_windows", few_windows, "(42, 32) was expected"),
    ("tokens.split_starts", starts_in_a_short_text, "a longer text"),
    ("tokens.expose_bug", lambda: ("bc ab", "abc"), "Make the word bytes"),
    ("start_here.center_rows", for_short(center_rows, 20), "(40, 30) was expected"),
    ("start_here.pairwise_dots", dots_of_eight_numbers, "D=30"),
    ("start_here.look_up", lambda table, ids: table[ids % 100], "V=300"),
    ("sampling.greedy_continue", greedy_without_a_limit, "comes before the stop token"),
    ("sampling.draw", lambda p, u: min(draw(p, u), 11), "fifty tokens"),
    ("sampling.top_k_filter", lambda x, k: top_k_filter(x, min(k, 9)), "k=20"),
    ("sampling.top_p_filter", top_p_by_an_unstable_sort, "only a stable sort keeps"),
    ("sampling.top_k_filter", top_k_with_slack, "very close"),
    ("sampling.top_p_filter", top_p_that_gives_up, "p=0.98"),
    ("sampling.top_p_filter", top_p_without_a_name, "by name"),
    ("sampling.apply_repetition_penalty", penalty_by_a_sum, "where 2 was expected"),
    ("sampling.draw", draw_by_rounded_sums, "must come"),
    ("training.bits_per_byte", bits_of_a_short_text, "was expected"),
    ("training.bits_per_byte", bits_in_float32, "go through float32"),
    ("training.cross_entropy", surprise_summed_in_float32, "float32 rounds"),
    ("training.cross_entropy", surprise_with_a_floor, "from becoming 0"),
    ("training.cross_entropy_gradient", gradient_with_marks_as_classes, "no class"),
    ("training.adam_step", adam_with_a_root_in_float32, "float32 rounds"),
    ("training.join_gradients", join_in_float32, "calculate in float32"),
    ("training.clip_gradients", clip_in_float32, "go through float32"),
    ("training.warmup_cosine", lambda *a: round(warmup_cosine(*a), 9), "was expected"),
    ("training.train", train_on_the_logits, "has its loss in [1]"),
    ("training.adam_step", adam_corrected_until(10), "was expected"),
    ("training.adam_step", adam_corrected_until(200), "was expected"),
    ("training.adamw_step", adamw_with_cut_gradients, "was expected"),
    ("training.clip_gradients", clip_with_slack, "was expected"),
    ("training.clip_gradients", clip_without_the_tiny, "was expected"),
    ("block.layer_norm", layer_norm_with_cut_statistics, "comes back to x is off"),
    ("block.layer_norm", layer_norm_clamping_the_variance, "was expected"),
    ("block.gelu", lambda x: x / 2, "was expected"),
    ("block.residual", lambda x, norm, sublayer: x + sublayer(norm(x)).detach(), "cut off"),
    ("block.residual", lambda x, norm, sublayer: x + sublayer(norm(norm(x))), "more than once"),
    ("block.transformer_block", block_with_a_cut_branch, "cut off"),
    ("block.dropout", dropout_of_other_entries, "other entries than we agreed"),
    ("block.dropout", lambda x, p, training, generator: F.dropout(x, p, training), "generator"),
)


@pytest.mark.parametrize(("id", "function", "words"), ATTACKS)
def test_an_attack_fails_with_a_true_sentence(id, function, words):
    exercise = next(e for e in EXERCISES if e.id == id)
    verdict = judge(exercise, function)
    assert not verdict.passed
    assert words in repr(verdict), verdict


def attention_item_by_item(q, k, v, mask=None):
    """Go through the leading axes by recursion, so q, k and v must all have them."""
    if q.dim() == 2:
        return attention_with(lambda scores, m: scores.masked_fill(~m, -1e9))(q, k, v, mask)
    if mask is not None:
        mask = mask.expand(*q.shape[:-1], k.shape[-2])
    masks = [None] * len(q) if mask is None else mask
    pairs = [attention_item_by_item(*item) for item in zip(q, k, v, masks, strict=True)]
    return tuple(torch.stack(part) for part in zip(*pairs, strict=True))


def attention_in_half_steps(q, k, v, mask=None):
    root = q.shape[-1] ** 0.25
    scores = (q / root) @ (k / root).mT
    if mask is not None:
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1)
    return torch.einsum("...ts,...se->...te", weights, v), weights


def attention_in_one_batch_axis(q, k, v, mask=None):
    q_3, k_3, v_3 = (t.reshape(-1, *t.shape[-2:]) for t in (q, k, v))
    scores = torch.bmm(q_3, k_3.mT).view(*q.shape[:-1], -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + torch.log(mask.to(scores.dtype))
    weights = scores.softmax(-1)
    output = torch.bmm(weights.reshape(-1, *weights.shape[-2:]), v_3)
    return output.view(*q.shape[:-1], -1), weights


def clean_with_universal_newlines(text):
    lines = io.StringIO(text.replace("\xa0", " "), newline=None).read().split("\n")
    return "\n".join(line.rstrip("\t ") for line in lines)


def merge_with_an_iterator(tokens, pair, new_token):
    merged, places = [], iter(range(len(tokens)))
    for i in places:
        if tuple(tokens[i : i + 2]) == tuple(pair):
            merged.append(new_token)
            next(places)
        else:
            merged.append(tokens[i])
    return merged


def learn_from_reversed_words(word_counts, n_merges):
    return tuple(learning_with()(dict(reversed(word_counts.items())), n_merges))


def encode_to_numpy_numbers(word, merges):
    ids, id_of = list(word), {bytes([byte]): byte for byte in range(256)}
    for k, (left, right) in enumerate(merges):
        ids = merge_pair(ids, (id_of[left], id_of[right]), 256 + k)
        id_of[left + right] = 256 + k
    return [np.int64(id) for id in ids]


def windows_as_views(ids, T, stride):
    return [ids[:-1].unfold(0, T, stride), ids[1:].unfold(0, T, stride)]


@pytest.mark.parametrize(
    ("id", "function"),
    [
        ("attention.scaled_dot_product_attention", attention_item_by_item),
        ("attention.scaled_dot_product_attention", attention_in_half_steps),
        ("attention.scaled_dot_product_attention", attention_in_one_batch_axis),
        ("tokens.clean_lines", clean_with_universal_newlines),
        ("tokens.merge_pair", merge_with_an_iterator),
        ("tokens.learn_merges", learn_from_reversed_words),
        ("tokens.encode_word", encode_to_numpy_numbers),
        ("tokens.make_windows", windows_as_views),
    ],
)
def test_right_answers_of_other_styles_pass(id, function):
    exercise = next(e for e in EXERCISES if e.id == id)
    verdict = judge(exercise, function)
    assert verdict.passed, verdict


def cross_entropy_with_gaps(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    of_targets = logits.log_softmax(-1).gather(-1, targets.where(counts, 0)[..., None])[..., 0]
    return -of_targets.masked_fill(~counts, math.nan).nanmean()


def cross_entropy_times_a_share(logits, targets, ignore_index=-100):
    counts = targets != ignore_index
    log_p = logits.log_softmax(-1).gather(-1, targets.where(counts, 0)[..., None]).squeeze(-1)
    return -(log_p * counts).sum() * (1 / counts.sum())  # torch makes this share in float32


def join_by_shares(gradients, n_targets):
    shares = torch.tensor(n_targets) / sum(n_targets)  # float32, as in the chapter
    return sum(share * g for share, g in zip(shares, gradients, strict=True))


def bits_with_a_constant_of_torch(losses_of_tokens, text):
    return (losses_of_tokens.sum() / torch.tensor(2.0).log()).item() / len(text.encode())


def train_clearing_before_backward(model, batches, optimizer, rates, max_norm):
    told = []
    for i, batch in enumerate(batches):
        model.train()
        loss = model(batch[0], targets=batch[1])[1]
        model.zero_grad()
        loss.backward()
        clip_grad_norm(list(model.parameters()), max_norm)
        optimizer.param_groups[:] = [group | {"lr": rates[i]} for group in optimizer.param_groups]
        optimizer.step()
        told.append(float(loss.detach()))
    model.train()
    return told


def adam_with_the_rate_corrected(w, g, m, v, t, lr, beta1, beta2, eps):
    m, v = torch.lerp(g, m, beta1), torch.addcmul(v * beta2, g, g, value=1 - beta2)
    root = math.sqrt(1 - beta2**t)
    return w - lr * root / (1 - beta1**t) * m / (v.sqrt() + eps * root), m, v


def schedule_from_a_list(step, warmup_steps, n_steps, max_lr, min_lr):
    up = [max_lr * (s + 1) / warmup_steps for s in range(warmup_steps)]
    n = n_steps - warmup_steps
    waves = [(1 + math.cos(math.pi * s / n)) / 2 for s in range(n)]
    down = [min_lr + (max_lr - min_lr) * wave for wave in waves]
    return [*up, *down, min_lr][min(step, n_steps)]


def clip_without_copies(gradients, max_norm):
    length = torch.cat([g.flatten() for g in gradients]).norm().item()
    return gradients if length <= max_norm else [g / length * max_norm for g in gradients]


def train_with_a_closure(model, batches, optimizer, rates, max_norm):
    model.train()
    told = []
    for (x, y), rate in zip(batches, rates, strict=True):

        def closure(x=x, y=y):
            optimizer.zero_grad()
            loss = model(x, targets=y)[1]
            loss.backward()
            clip_grad_norm(model.parameters(), max_norm)
            return loss

        for group in optimizer.param_groups:
            group["lr"] = rate
        told.append(optimizer.step(closure).item())
    return told


@pytest.mark.parametrize(
    ("id", "function"),
    [
        ("training.cross_entropy", cross_entropy_with_gaps),
        ("training.cross_entropy", cross_entropy_times_a_share),
        ("training.bits_per_byte", bits_with_a_constant_of_torch),
        ("training.join_gradients", join_by_shares),
        ("training.train", train_clearing_before_backward),
        ("training.adam_step", adam_with_the_rate_corrected),
        ("training.warmup_cosine", schedule_from_a_list),
        ("training.clip_gradients", clip_without_copies),
        ("training.train", train_with_a_closure),
    ],
)
def test_right_answers_of_chapter_07_in_other_styles_pass(id, function):
    exercise = next(e for e in EXERCISES if e.id == id)
    verdict = judge(exercise, function)
    assert verdict.passed, verdict


def residual_item_by_item(x, norm, sublayer):
    return torch.stack([item + sublayer(norm(item)) for item in x])


def dropout_by_a_floor(x, p, training, generator):
    keep = torch.floor(torch.rand(x.numel(), generator=generator).view(x.shape) + (1 - p))
    return keep * x / (1 - p) if training else x


@pytest.mark.parametrize(
    ("id", "function"),
    [("block.residual", residual_item_by_item), ("block.dropout", dropout_by_a_floor)],
)
def test_right_answers_of_chapter_05_in_other_styles_pass(id, function):
    exercise = next(e for e in EXERCISES if e.id == id)
    verdict = judge(exercise, function)
    assert verdict.passed, verdict


STRANGE = (
    None,
    ...,
    NotImplemented,
    math.nan,
    10**400,
    "text",
    b"bytes",
    {1, 2},
    {"a": torch.ones(1)},
    (),
    [],
    [torch.ones(2), 1],
    (torch.ones(2), torch.ones(2)),
    (torch.ones(2),) * 4,
    torch.tensor(1),
    torch.empty(0),
    torch.ones(2, 3, 4, 5, 6),
    torch.ones(2, dtype=torch.complex64),
    torch.ones(2, 2).to_sparse(),
    torch.ones(2, device="meta"),
    torch.ones(2, dtype=torch.bfloat16),
    torch.max(torch.ones(2, 2), 0),
    torch.nn.Linear(2, 2),
    np.array([None, "a"]),
    np.float32(1),
    int,
    threading.Lock(),
)


@each_exercise
def test_no_result_whatever_breaks_the_check(exercise):
    for value in STRANGE:
        verdict = judge(exercise, lambda *args, value=value, **kwargs: value)
        assert not verdict.passed
        assert "0x" not in repr(verdict)
        assert verdict._repr_html_().startswith("<div")


@pytest.mark.parametrize("exercise", [e for e in EXERCISES if e.cases], ids=exercise_id)
def test_a_nudged_answer_fails_and_the_entry_is_named(exercise):
    """Wrong by one number in one entry: whatever is found, it gives a number or a position."""

    def answer(*args, **kwargs):
        return nudged(copy.deepcopy(exercise.reference(*args, **kwargs)))

    verdict = judge(exercise, answer)
    assert verdict.status in (Status.BROKEN_PROPERTY, Status.DIFFERENT_VALUE, Status.KNOWN_MISTAKE)
    if verdict.status is Status.DIFFERENT_VALUE:
        assert "where" in verdict.sentence
        assert {"Case", "Inputs"} <= {label for label, _ in verdict.details}


def nudged(value: Any) -> Any:
    """Return a result with its last entry, or that of its first part, a little off."""
    if isinstance(value, tuple):
        return (nudged(value[0]), *value[1:])
    if isinstance(value, list):
        return [*value[:-1], nudged(value[-1])] if value else [0]
    if isinstance(value, dict):
        last = next(reversed(value), None)
        return {**value, last: nudged(value.get(last, 0))}
    if isinstance(value, str):
        return value[:-1] + ("y" if value.endswith("x") else "x")
    if isinstance(value, bytes):
        return value[:-1] + (b"y" if value.endswith(b"x") else b"x")
    if not isinstance(value, torch.Tensor):
        return not value if isinstance(value, bool) else value + 1
    value = value.contiguous()
    if value.dtype == torch.bool:
        value.view(-1)[-1] ^= True
    elif value.numel():
        value.view(-1)[-1] += 0.01 if value.is_floating_point() else 1
    return value


@pytest.mark.parametrize(
    "value",
    [
        (torch.ones(2), 5),
        torch.tensor([True]),
        torch.tensor([3, 4]),
        [b"ab", b"cx"],
        [],
        {},
        {"a": 1, "b": 2},
        "",
        "abx",
        b"ab",
        [(b"a", b"b")],
        True,
        7,
        1.5,
    ],
)
def test_a_nudge_always_changes_something(value):
    assert differences(value, nudged(copy.deepcopy(value)), atol=1e-5)


# --- Mutants: small changes to right code, none of which may slip through. ---


@pytest.mark.filterwarnings("ignore:Implicit dimension choice")  # a mutant without its `dim`
@each_exercise
def test_no_mutant_slips_through(exercise):
    killed, relatives, parts = 0, random_relatives(exercise), parts_of(exercise)
    for function in (exercise.reference, *exercise.right):
        for description, mutant in mutants_of(function, exercise.id):
            if not all(judge(part, mutant).passed for part in parts):
                killed += 1
                continue
            case = differing_case(exercise, relatives, mutant)
            assert case is None, (
                f"{exercise.id}: the mutant of {function.__name__} with {description} passes, "
                f"but differs from the reference on random inputs like {case!r}"
            )
    assert killed >= 5


def parts_of(exercise: Exercise) -> list[Exercise]:
    """Return an exercise for each case alone, then its properties: the first to fail ends it.

    Which mistake it is does not matter here.
    """
    bare = replace(exercise, mistakes=(), conventions=())
    alone = [replace(bare, cases=(case,), properties=()) for case in exercise.cases]
    return [with_a_short_limit(part) for part in (*alone, replace(bare, cases=exercise.cases[:1]))]


def with_a_short_limit(part: Exercise) -> Exercise:
    """Give a mutant 20 times what the reference takes, and half a second at the least.

    None was seen that takes longer than that and ends; many never do.
    """
    began = time.perf_counter()
    assert judge(part, part.reference).passed
    taken = time.perf_counter() - began
    return replace(part, time_limit=min(max(20 * taken, 0.5), MUTANT_SECONDS))


def doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def test_the_mutants_find_inputs_that_are_too_weak():
    """On zeros, `x * 3` passes for `x * 2`; the search must say so, and not for good inputs."""
    weak = Exercise(
        "toy.doubled",
        "t",
        doubled,
        (Case("zeros", (torch.zeros(3),)),),
        (),
        (),
        ("",) * 3,
        "s",
        "c",
    )
    good = replace(weak, cases=(Case("one to three", (torch.arange(3.0) + 1,)),))
    mutants = [mutant for _, mutant in mutants_of(doubled, weak.id)]
    slipped = [m for m in mutants if judge(weak, m).passed]
    assert len(slipped) >= 3
    relatives = random_relatives(weak)
    assert all(differing_case(weak, relatives, m) == "zeros" for m in slipped)
    assert not [m for m in mutants if judge(good, m).passed]


def mutants_of(function: Callable, salt: str) -> Iterator[tuple[str, Callable]]:
    """Yield (description, function) for small changes to the source of `function`."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        tree = ast.parse(source)
    except (OSError, TypeError, SyntaxError):
        return
    if not isinstance(tree.body[0], ast.FunctionDef) or function.__closure__:
        return
    take_annotations_away(tree)
    changes = [change for node in ast.walk(tree) for change in changes_of(node)]
    chosen = list(range(len(changes)))
    random.Random(zlib.crc32(salt.encode())).shuffle(chosen)
    for number in sorted(chosen[:MUTANTS_PER_FUNCTION]):
        made = mutant(tree, changes[number], function)
        if made is not None:
            yield changes[number].description, made


@dataclass(frozen=True)
class Change:
    """Another value for one field of a node."""

    description: str
    node: ast.AST
    field: str
    value: Any


def mutant(tree: ast.Module, change: Change, function: Callable) -> Callable | None:
    """Return `function` with one change, or None when that is no valid code; `tree` stays."""
    before, namespace = getattr(change.node, change.field), dict(function.__globals__)
    setattr(change.node, change.field, change.value)
    try:
        exec(compile(tree, "<mutant>", "exec"), namespace)
    except (SyntaxError, ValueError):
        return None
    finally:
        setattr(change.node, change.field, before)
    return namespace[function.__name__]


def take_annotations_away(tree: ast.Module) -> None:
    """Leave only what runs: a mutated annotation would be another kind of error."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None


SWAPS: dict[type, tuple[type, ...]] = {
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.FloorDiv: (ast.Mult,),
    ast.MatMult: (ast.Mult,),
    ast.Pow: (ast.Mult,),
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.GtE),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.LtE),
    ast.Eq: (ast.NotEq,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}


def changes_of(node: ast.AST) -> list[Change]:
    """Return every small change that can be made at one node."""
    found: list[Change] = []

    def offer(what: str, field: str, value: Any) -> None:
        line = getattr(node, "lineno", 0)
        found.append(Change(f"{what} in line {line}", node, field, value))

    if isinstance(node, ast.BinOp):
        for other in SWAPS.get(type(node.op), ()):
            offer(f"{other.__name__} for {type(node.op).__name__}", "op", other())
    if isinstance(node, ast.Compare):
        for other in SWAPS.get(type(node.ops[0]), ()):
            offer(f"{other.__name__} for {type(node.ops[0]).__name__}", "ops", [other()])
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        for value in (node.value + 1, node.value - 1, -node.value):
            if value != node.value:
                offer(f"{value} for {node.value}", "value", value)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        offer(f"{not node.value} for {node.value}", "value", not node.value)
    if isinstance(node, ast.Call) and len(node.args) >= 2:
        swapped = [node.args[1], node.args[0], *node.args[2:]]
        offer("two arguments swapped", "args", swapped)
    if isinstance(node, ast.Call) and node.keywords:
        offer("a keyword argument left out", "keywords", node.keywords[1:])
    if isinstance(node, ast.Tuple) and len(node.elts) == 2 and isinstance(node.ctx, ast.Load):
        offer("a pair swapped", "elts", node.elts[::-1])
    for field, child in ast.iter_fields(node):
        shorter = simpler(child)
        if shorter is not None:
            offer(f"{ast.unparse(child)} shortened", field, shorter)
    for field in ("body", "orelse"):
        block = getattr(node, field, None)
        if isinstance(block, list) and len(block) > 1 and not isinstance(node, ast.Module):
            for i, statement in enumerate(block):
                if not is_docstring(statement):
                    rest = block[:i] + block[i + 1 :]
                    offer(f"{ast.unparse(statement)[:60]!r} left out", field, rest)
    return found


def simpler(child: Any) -> ast.expr | None:
    """Return an expression without its outermost method, attribute or sign."""
    if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
        owner = child.func.value
        return None if isinstance(owner, ast.Name) and owner.id in ("torch", "math", "F") else owner
    if isinstance(child, ast.UnaryOp):
        return child.operand
    if isinstance(child, ast.Attribute) and child.attr in ("mT", "T"):
        return child.value
    return None


def is_docstring(statement: ast.stmt) -> bool:
    """Say whether a statement is a string that stands alone."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def random_relatives(exercise: Exercise) -> list[tuple[Case, Outcome]]:
    """Return cases of the exercise with other numbers in them, and what the reference does then."""
    generator = torch.Generator().manual_seed(zlib.crc32(exercise.id.encode()))
    relatives = []
    for case in exercise.cases:
        for _ in range(FRESH_INPUTS):
            args = tuple(redrawn(value, generator) for value in case.args)
            kwargs = {k: redrawn(v, generator) for k, v in (case.kwargs or {}).items()}
            given, drawn = (*case.args, *(case.kwargs or {}).values()), (*args, *kwargs.values())
            if all(old is new for old, new in zip(given, drawn, strict=True)):
                break  # nothing in it can be drawn, and `judge` has seen the case itself
            fresh = Case(case.name, args, kwargs)
            right = call(exercise.reference, fresh, exercise.time_limit)
            if right.error is None:
                relatives.append((fresh, right))
    return relatives


def differing_case(
    exercise: Exercise, relatives: list[tuple[Case, Outcome]], mutant: Callable
) -> str | None:
    """Return a case on whose random relatives a mutant differs from the reference, or None."""
    for fresh, right in relatives:
        if far_apart(right, call(mutant, fresh, MUTANT_SECONDS), exercise.atol):
            return fresh.name
    return None


def far_apart(right: Outcome, got: Outcome, atol: float) -> bool:
    """Say whether two outcomes differ by clearly more than rounding."""
    if got.error is not None or got.changed != right.changed:
        return True
    return bool(differences(right.value, got.value, atol=20 * atol, rtol=1e-3))


def redrawn(value: Any, generator: torch.Generator) -> Any:
    """Return another input of the same size and kind; what is infinite stays.

    Texts and lists of whole numbers are shuffled, the numbers in a dict drawn anew and its keys
    shuffled within. Other lists, such as merges, are left alone: their order has a meaning.
    """
    if isinstance(value, (str, bytes)):
        return shuffled(value, generator)
    if isinstance(value, list) and all(type(entry) is int for entry in value):
        return shuffled(value, generator)
    if isinstance(value, dict) and all(type(number) is int for number in value.values()):
        keys = {shuffled(key, generator) for key in value}
        return {key: int(torch.randint(1, 9, (), generator=generator)) for key in sorted(keys)}
    if isinstance(value, torch.Tensor) and value.numel():
        return redrawn_tensor(value, generator)
    return value


def shuffled(value: Any, generator: torch.Generator) -> Any:
    """Return a string, bytes, list or tuple with its parts in another order."""
    order = torch.randperm(len(value), generator=generator).tolist()
    if isinstance(value, str):
        return "".join(value[i] for i in order)
    return type(value)([value[i] for i in order])


def redrawn_tensor(value: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return other entries in a tensor of the same shape and dtype."""
    if value.dtype == torch.bool:
        return value | (torch.rand(value.shape, generator=generator) < 0.2)
    if not value.is_floating_point():
        order = torch.randperm(value.numel(), generator=generator)
        return value.flatten()[order].reshape(value.shape)  # same shape
    finite = torch.isfinite(value)
    largest = float(value[finite].abs().max()) if bool(finite.any()) else 0.0
    scale = min(largest, 3.0) or 1.0
    fresh = scale * torch.randn(value.shape, generator=generator, dtype=torch.float64)
    if bool(finite.all()) and is_distribution(value):
        fresh = fresh.masked_fill(value == 0, -math.inf).softmax(-1)
    return torch.where(finite, fresh.to(value.dtype), value)


def is_distribution(value: torch.Tensor) -> bool:
    """Say whether the last axis of a tensor holds probabilities, which add up to one."""
    sums = value.double().sum(-1)
    return bool((value >= 0).all()) and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
