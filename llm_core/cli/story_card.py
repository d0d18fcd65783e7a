"""How well a model tells stories, measured, and the card that says so beside the model."""

from dataclasses import dataclass
from pathlib import Path

import torch

from llm_core import files
from llm_core.cli.data import (
    N_VAL_STORIES,
    STORY_START,
    VAL_STORIES_SEED,
    validation_stories,
    whole_story_batches,
)
from llm_core.cli.settings import Settings
from llm_core.corpus import STORY_END, StoriesReport, check_stories, story_log_prob
from llm_core.data import IGNORE_INDEX
from llm_core.model import GPT, count_parameters
from llm_core.pretrained import load_pretrained
from llm_core.sampling import generate
from llm_core.tokens import Tokenizer
from llm_core.training import MODEL_FILE, evaluate

CARD = """\
# The storyteller

A small model that writes stories like `corpus.stories`. Chapters use it, so that the attention on
screen is real attention. Made by this repository's own code; `make model` makes it again:

    python -m llm_core {command}

| Recipe | |
|---|---|
| text | {n_stories:,} stories, `stories({n_stories}, seed={seed})` |
| tokens | words, {vocab_size} of them |
| model | {n_layers} layers, {n_heads} heads, d_model {d_model}, context {context_length}, \
{positions} positions, LayerNorm, GELU, tied weights: {parameters:,} parameters |
| training | {steps} steps of {batch_size} windows, AdamW, highest learning rate {lr}, \
warm-up and cosine; best at step {best_step} |
| seed, device | {seed}, {device}; on another device rounding differs, and figures a little too |
| file | `model.safetensors`, {n_bytes:,} bytes, float16; float32 when loaded |

| Measured on the file as it is | |
|---|---|
| validation loss, {n_val} unseen stories, each read whole from its first token | \
{loss:.3f} nats per token |
| entropy floor of the same stories | {floor:.3f} nats per token |
| above the floor | {above:.3f} |
| well-formed sentences in {n_samples} samples (temperature 1) | {well_formed:.1%} |
| true facts in them | {true_facts:.1%} |
| whole stories that the grammar could have written | {legal:.1%} |

The entropy floor is what the grammar leaves to chance; no model gets below it on average. A fact is
a statement that the story has settled before: who has a thing, where it was lost, what a sum comes
to. The validation stories are `stories({n_drawn}, seed={val_seed})` without those trained on.

For learning, not for use: it knows {vocab_size} words and nothing of the world.
Licence of the weights: Apache-2.0.
"""


@dataclass(frozen=True)
class StoryFigures:
    """What `measure_storyteller` found.

    Attributes:
        loss: nats per token on unseen stories, each read whole from its first token.
        floor: the least loss possible on these stories.
        report: the verdict on the sampled stories.
    """

    loss: float
    floor: float
    report: StoriesReport


def measure_storyteller(
    model: GPT,
    tokenizer: Tokenizer,
    n_samples: int = 200,
    n_val: int = N_VAL_STORIES,
    seed: int = 0,
) -> StoryFigures:
    """Measure a model of the stories: its loss beside the floor, and what it writes itself.

    Args:
        model: a GPT whose context holds a whole story.
        tokenizer: a tokenizer that keeps STORY_END whole.
        n_samples: stories to sample, at temperature 1.
        n_val: unseen stories for the loss.
        seed: start of the chance in the samples.
    """
    unseen = validation_stories(set())[:n_val]
    batches = whole_story_batches(unseen, tokenizer, model.config.context_length)
    n_tokens = sum(int((y != IGNORE_INDEX).sum()) for _, y in batches)
    return StoryFigures(
        loss=evaluate(model, batches),
        floor=-sum(map(story_log_prob, unseen)) / n_tokens,
        report=check_stories(sample_stories(model, tokenizer, n_samples, seed)),
    )


def sample_stories(model: GPT, tokenizer: Tokenizer, n_samples: int, seed: int = 0) -> str:
    """Return stories that the model writes at temperature 1, each up to its STORY_END."""
    start = torch.tensor([tokenizer.encode(STORY_START)] * n_samples)  # (B, T)
    n_given = start.shape[1]
    ids = generate(
        model,
        start,
        max_new_tokens=model.config.context_length - n_given,
        stop_id=tokenizer.special_tokens[STORY_END],
        generator=torch.Generator().manual_seed(seed),
    )
    told = [tokenizer.decode(row[n_given:]).split(STORY_END)[0] for row in ids]
    return "".join(story + STORY_START for story in told)


def write_card(
    folder: Path, settings: Settings, command: str, best_step: int, device: str
) -> StoryFigures:
    """Measure the model saved in `folder` and write its card, `README.md`, beside it.

    Args:
        folder: where `save_pretrained` put the model.
        settings: what it was trained with.
        command: the words after `python -m llm_core` that train it again.
        best_step: the step that its weights come from.
        device: what it was trained on, "cuda", "mps" or "cpu".
    """
    model, tokenizer = load_pretrained(folder)
    figures = measure_storyteller(model, tokenizer)
    config, report = model.config, figures.report
    card = CARD.format(
        command=command,
        n_stories=settings.n_stories,
        seed=settings.seed,
        vocab_size=tokenizer.vocab_size,
        n_layers=config.n_layers,
        n_heads=config.n_heads,
        d_model=config.d_model,
        context_length=config.context_length,
        positions=config.positions,
        parameters=count_parameters(model),
        steps=settings.steps,
        batch_size=settings.batch_size,
        lr=settings.lr,
        best_step=best_step,
        device=device,
        n_bytes=(folder / MODEL_FILE).stat().st_size,
        n_val=N_VAL_STORIES,
        loss=figures.loss,
        floor=figures.floor,
        above=figures.loss - figures.floor,
        n_samples=report.n_stories,
        well_formed=report.share_well_formed,
        true_facts=report.share_true_facts,
        legal=report.share_legal_stories,
        n_drawn=2 * N_VAL_STORIES,
        val_seed=VAL_STORIES_SEED,
    )
    files.write_text(folder / "README.md", card)
    return figures
