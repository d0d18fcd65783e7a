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
from llm_core.model import GPT, count_parameters
from llm_core.pretrained import load_pretrained
from llm_core.sampling import generate
from llm_core.tokens import Tokenizer
from llm_core.training import MODEL_FILE, count_targets, evaluate

CARD = """\
# The storyteller

A small model that writes stories like `corpus.stories`. Chapters use it, so that the attention on
screen is real attention. Made by this repository's own code; `make model` makes it again:

    python -m llm_core {command}

| Recipe | |
|---|---|
| text | {settings.n_stories:,} stories, `stories({settings.n_stories}, seed={settings.seed})` |
| tokens | words, {tokenizer.vocab_size} of them |
| model | {config.n_layers} layers, {config.n_heads} heads, d_model {config.d_model}, \
context {config.context_length}, {config.positions} positions, LayerNorm, GELU, tied weights: \
{parameters:,} parameters |
| training | {settings.steps} steps of {settings.batch_size} windows, AdamW, \
highest learning rate {settings.lr}, \
warm-up and cosine; best at step {best_step} |
| seed, device | {settings.seed}, {device}; \
on another device rounding differs, and figures a little too |
| file | `model.safetensors`, {n_bytes:,} bytes, float16; float32 when loaded |

| Measured on the file as it is | |
|---|---|
| validation loss, {n_val} unseen stories, each read whole from its first token | \
{figures.loss:.3f} nats per token |
| entropy floor of the same stories | {figures.floor:.3f} nats per token |
| above the floor | {figures.above_floor:.3f} |
| well-formed sentences in {report.n_stories} samples (temperature 1) | \
{report.share_well_formed:.1%} |
| true facts in them | {report.share_true_facts:.1%} |
| whole stories that the grammar could have written | {report.share_legal_stories:.1%} |

The entropy floor is what the grammar leaves to chance; no model gets below it on average. A fact is
a statement that the story has settled before: who has a thing, where it was lost, what a sum comes
to. The validation stories are `stories({n_drawn}, seed={val_seed})` without those trained on.

For learning, not for use: it knows {tokenizer.vocab_size} words and nothing of the world.
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

    @property
    def above_floor(self) -> float:
        """How much of the loss the model could still lose, in nats per token."""
        return self.loss - self.floor


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
    n_tokens = sum(map(count_targets, batches))
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
    card = CARD.format(
        command=command,
        settings=settings,
        config=model.config,
        tokenizer=tokenizer,
        parameters=count_parameters(model),
        best_step=best_step,
        device=device,
        n_bytes=(folder / MODEL_FILE).stat().st_size,
        n_val=N_VAL_STORIES,
        figures=figures,
        report=figures.report,
        n_drawn=2 * N_VAL_STORIES,
        val_seed=VAL_STORIES_SEED,
    )
    files.write_text(folder / "README.md", card)
    return figures
