"""Train the classic way and the course's way on the same text, in the same run.

    python benchmarks/training.py [--text PATH] [--speed-only] [--save FILE]

1. Recipes. A model of about 0.8 million parameters reads characters of tiny Shakespeare in windows
   of 64; the last tenth is held out, and the loss is measured over all of it. The classic recipe
   takes 2,000 steps. The course's recipe is run twice: to where the classic one ends (1.90 nats per
   character), and for the same time as the classic one. Seconds are those of training alone,
   without validation.
2. Speed. Steps of training at the classic architecture: `llm_core` against torch's own
   `nn.TransformerEncoderLayer` with a causal mask, with the same optimizer, the sides taking turns.
"""

import argparse
import platform
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from llm_core.corpus import load_text
from llm_core.data import get_batch, sequential_batches
from llm_core.files import write_json
from llm_core.model import GPT, count_parameters
from llm_core.optim import AdamW, parameter_groups
from llm_core.recipes import CLASSIC, COURSE, Recipe
from llm_core.tokens import CharTokenizer
from llm_core.training import Trainer

N_THREADS = 2
SHAKESPEARE = Path(__file__).parents[2] / "shared" / "data" / "tinyshakespeare.txt"
CONTEXT = 64
SIZES = {"context_length": CONTEXT, "d_model": 128, "n_layers": 4, "n_heads": 4}
CLASSIC_STEPS, TARGET = 2000, 1.90
SHORT_STEPS = 150
"""Steps in which the course's recipe reaches `TARGET`."""


@dataclass
class Curve:
    """The course of one run: seconds of training, and the validation loss then."""

    seconds: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)


def run(recipe: Recipe, n_steps: int, data: dict, eval_interval: int, seed: int = 1) -> Curve:
    """Train a model by a recipe; return its curve. The last entry is the end of the run."""
    generator = torch.Generator().manual_seed(seed)
    model = GPT(recipe.model_config(vocab_size=data["vocab_size"], **SIZES), generator)
    trainer = Trainer(
        model,
        lambda: get_batch(data["train"], recipe.batch_size, CONTEXT, generator=generator),
        recipe.train_config(n_steps, eval_interval=eval_interval),
        validation=data["validation"],
        progress=True,
    )
    curve, clock = Curve(), {"spent": 0.0, "since": 0.0}

    def start(_: Trainer) -> None:
        clock["since"] = time.perf_counter()

    def step(_: Trainer) -> None:
        now = time.perf_counter()
        clock["spent"] += now - clock["since"]
        clock["since"] = now

    def evaluated(trainer: Trainer) -> None:
        curve.seconds.append(round(clock["spent"], 2))
        curve.val_loss.append(round(trainer.val_loss, 4))
        clock["since"] = time.perf_counter()  # validation does not count

    trainer.on("start", start)
    trainer.on("step", step)
    trainer.on("evaluate", evaluated)
    trainer.run()
    return curve


def compare_recipes(data: dict) -> dict:
    """Run the classic recipe, and the course's to the same loss and for the same time."""
    classic = run(CLASSIC, CLASSIC_STEPS, data, eval_interval=100)
    show("classic recipe", classic)
    short = run(COURSE, SHORT_STEPS, data, eval_interval=10)
    show(f"course's recipe, {SHORT_STEPS} steps", short)
    steps_in_equal_time = int(SHORT_STEPS * classic.seconds[-1] / short.seconds[-1])
    long = run(COURSE, steps_in_equal_time, data, eval_interval=max(1, steps_in_equal_time // 20))
    show(f"course's recipe, {steps_in_equal_time} steps", long)

    ratio = short.seconds[-1] / classic.seconds[-1]
    print(f"classic ends at {classic.val_loss[-1]:.3f} nats per character")
    print(
        f"course's recipe ends at {short.val_loss[-1]:.3f} (wanted: {TARGET}) in {ratio:.2f} of "
        "the classic run's time"
    )
    print(
        f"course's recipe ends at {long.val_loss[-1]:.3f} in "
        f"{long.seconds[-1] / classic.seconds[-1]:.2f} of the classic run's time"
    )
    return {
        "machine": f"{platform.machine()}, {N_THREADS} threads, torch {torch.__version__}",
        "classic": vars(classic),
        "course_short": vars(short),
        "course": vars(long),
        "ratio_to_target": round(ratio, 3),
        "target": TARGET,
    }


def show(name: str, curve: Curve) -> None:
    """Print a curve at about ten places."""
    print(name)
    every = max(1, len(curve.seconds) // 10)
    for seconds, loss in list(zip(curve.seconds, curve.val_loss, strict=True))[every - 1 :: every]:
        print(f"  {seconds:8.1f} s  {loss:.3f} nats per character")


class TorchModel(nn.Module):
    """The classic architecture out of torch's own modules."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        width = SIZES["d_model"]
        self.tokens, self.positions = nn.Embedding(vocab_size, width), nn.Embedding(CONTEXT, width)
        layer = nn.TransformerEncoderLayer(
            width, SIZES["n_heads"], 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, SIZES["n_layers"], nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> tuple:
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]  # (B, T, C)
        x = self.layers(x, mask=self.mask, is_causal=True)
        logits = x @ self.tokens.weight.T  # (B, T, V)
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def steps_per_second(model: nn.Module, data: dict, n_steps: int) -> float:
    """Return how many full steps of training a model makes in a second."""
    optimizer = AdamW(parameter_groups(model, 0.1), betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    for _ in range(n_steps):
        x, y = get_batch(data["train"], CLASSIC.batch_size, CONTEXT, generator=generator)
        loss = model(x, targets=y)[1]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return n_steps / (time.perf_counter() - started)


def compare_speed(data: dict, rounds: int = 7, n_steps: int = 30) -> None:
    """Print tokens per second of both sides, and their ratio."""
    sides = {
        "llm_core": GPT(CLASSIC.model_config(vocab_size=data["vocab_size"], **SIZES)),
        "torch modules": TorchModel(data["vocab_size"]),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, model in sides.items():
            rate = steps_per_second(model, data, n_steps)
            if number > 0:  # the first round warms up
                rates[name].append(rate)
    tokens = CLASSIC.batch_size * CONTEXT
    for name, values in rates.items():
        n = count_parameters(sides[name])
        print(f"  {name:14} {tokens * statistics.median(values):10,.0f} tokens/s, {n:,} parameters")
    ratios = [a / b for a, b in zip(*rates.values(), strict=True)]
    print(f"  ratio llm_core / torch modules: {statistics.median(ratios):.2f} (median of rounds)")


def load_data(text: str) -> dict:
    """Return ids to train on, batches over all of the last tenth, and the vocabulary's size."""
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(text))
    cut = int(0.9 * len(ids))
    return {
        "train": ids[:cut],
        "validation": list(sequential_batches(ids[cut:], 256, CONTEXT)),
        "vocab_size": tokenizer.vocab_size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = str(SHAKESPEARE) if SHAKESPEARE.is_file() else "shakespeare"
    parser.add_argument("--text", default=default, help="a text's name or the path of a file")
    parser.add_argument("--speed-only", action="store_true", help="leave the recipes out")
    parser.add_argument("--save", type=Path, help="write the curves to this JSON file")
    args = parser.parse_args()
    torch.set_num_threads(N_THREADS)
    data = load_data(load_text(args.text))
    print(f"training steps at the classic architecture, {N_THREADS} threads")
    compare_speed(data)
    if not args.speed_only:
        result = compare_recipes(data)
        if args.save:
            write_json(args.save, result)


if __name__ == "__main__":
    main()
