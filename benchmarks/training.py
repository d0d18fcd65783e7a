"""Train the classic way and the course's way on the same text, in the same run.

    python benchmarks/training.py [--text PATH] [--speed-only] [--save FILE]
    python benchmarks/training.py --large [--text PATH] [--save FILE]

1. Recipes. A model of about 0.8 million parameters reads characters of tiny Shakespeare in windows
   of 64; the last tenth is held out, and the loss is measured over all of it. The classic recipe
   takes 2,000 steps. The course's recipe is run twice: to where the classic one ends (1.90 nats per
   character), and for the same time as the classic one. Seconds are those of training alone,
   without validation.
2. Speed. Steps of training at the classic architecture: `llm_core` against torch's own
   `nn.TransformerEncoderLayer` with a causal mask, with the same optimizer, the sides taking turns.

`--large` is for a GPU: both recipes with a model of about 10.6 million parameters and windows of
256, compiled, in bfloat16 and with the text on the device. The classic recipe takes 5,000 steps,
long past its best; the course's is run twice, to the loss that the classic one is known for at its
best (1.455), and to its own best.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from llm_core.corpus import load_text
from llm_core.data import Batch, get_batch, sequential_batches, shuffled_batches
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

LARGE_SIZES = {"context_length": 256, "d_model": 384, "n_layers": 6, "n_heads": 6}
LARGE_CLASSIC_STEPS, LARGE_TARGET = 5000, 1.455
LARGE_DROPOUT = {450: 0.15, 1500: 0.25}
"""Steps of the course's two runs, and their dropout: the more passes over the text, the more."""

LARGE_CLASSIC = replace(
    CLASSIC,
    batch_size=64,
    variants=CLASSIC.variants | {"dropout": 0.2, "bias": False},
    settings=CLASSIC.settings | {"precision": "bfloat16"},
)
LARGE_COURSE = replace(
    COURSE,
    batch_size=64,
    settings=COURSE.settings | {"muon_lr": 0.05, "weight_decay": 0.2, "precision": "bfloat16"},
    whole_passes=True,
)


@dataclass
class Curve:
    """The course of one run: seconds of training, and the validation loss then."""

    seconds: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)


def run(recipe: Recipe, n_steps: int, data: dict, eval_interval: int, seed: int = 1) -> Curve:
    """Train a model by a recipe; return its curve. The last entry is the end of the run."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # for dropout
    model = GPT(recipe.model_config(vocab_size=data["vocab_size"], **data["sizes"]), generator)
    device = data["train"].device
    model.to(device)
    if device.type == "cuda":
        compile_model(model, data)
    trainer = Trainer(
        model,
        partial(next, training_batches(recipe, data, generator)),
        recipe.train_config(n_steps, eval_interval=eval_interval),
        validation=data["validation"],
        progress=True,
    )
    curve, clock = Curve(), {"spent": 0.0, "since": 0.0}

    def start(_: Trainer) -> None:
        clock["since"] = now_on(device)

    def step(_: Trainer) -> None:
        now = now_on(device)
        clock["spent"] += now - clock["since"]
        clock["since"] = now

    def evaluated(trainer: Trainer) -> None:
        curve.seconds.append(round(clock["spent"], 2))
        curve.val_loss.append(round(trainer.val_loss, 4))
        clock["since"] = now_on(device)  # validation does not count

    trainer.on("start", start)
    trainer.on("step", step)
    trainer.on("evaluate", evaluated)
    trainer.run()
    return curve


def training_batches(recipe: Recipe, data: dict, generator: torch.Generator) -> Iterator[Batch]:
    """Give batches without end, drawn as the recipe says."""
    where = {"context_length": data["sizes"]["context_length"], "device": data["train"].device}
    while True:
        if recipe.whole_passes:
            yield from shuffled_batches(
                data["train"], recipe.batch_size, **where, generator=generator
            )
        else:
            yield get_batch(data["train"], recipe.batch_size, **where, generator=generator)


def compile_model(model: GPT, data: dict) -> None:
    """Compile a model for training and for validation; that takes seconds, which do not count."""
    model.compile(mode="reduce-overhead")
    x, y = data["validation"][0]
    with torch.autocast("cuda", torch.bfloat16):
        model(x, targets=y)[1].backward()
        with torch.no_grad():
            model.eval()(x, targets=y)
    model.zero_grad(set_to_none=True)


def now_on(device: torch.device) -> float:
    """Return the time in seconds at which everything given to the device so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


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


def compare_large(data: dict, seed: int) -> dict:
    """Run both recipes in the large setting, and compare their best and their times to it."""
    classic = run(LARGE_CLASSIC, LARGE_CLASSIC_STEPS, data, eval_interval=100, seed=seed)
    show(f"classic recipe, {LARGE_CLASSIC_STEPS} steps", classic)
    courses = {}
    for n_steps, dropout in LARGE_DROPOUT.items():
        recipe = replace(LARGE_COURSE, variants=LARGE_COURSE.variants | {"dropout": dropout})
        courses[n_steps] = run(recipe, n_steps, data, eval_interval=50, seed=seed)
        show(f"course's recipe, {n_steps} steps", courses[n_steps])

    best = min(classic.val_loss)
    seconds = classic.seconds[classic.val_loss.index(best)]
    print(f"classic recipe: best {best:.3f} after {seconds:.1f} s")
    for n_steps, course in courses.items():
        print(f"course's recipe, {n_steps} steps: best {min(course.val_loss):.3f}")
        for target in (best, LARGE_TARGET):
            reached = seconds_to(target, course)
            if reached is not None:
                share = reached / seconds
                print(f"  {target:.3f} after {reached:.1f} s, {share:.2f} of the classic's time")
    short, long = courses.values()
    return {
        "machine": f"{torch.cuda.get_device_name()}, torch {torch.__version__}",
        "classic": vars(classic),
        "course_short": vars(short),
        "course": vars(long),
        "target": LARGE_TARGET,
    }


def seconds_to(target: float, curve: Curve) -> float | None:
    """Return the seconds until the loss was first at or below `target`; None if it never was."""
    pairs = zip(curve.seconds, curve.val_loss, strict=True)
    return next((seconds for seconds, loss in pairs if loss <= target), None)


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


def load_data(text: str, sizes: dict, batch_size: int, device: str) -> dict:
    """Return ids to train on, batches over all of the last tenth, and the model's sizes."""
    tokenizer = CharTokenizer.train(text)
    ids = torch.tensor(tokenizer.encode(text), device=device)
    cut = int(0.9 * len(ids))
    held_out = sequential_batches(ids[cut:], batch_size, sizes["context_length"], device)
    return {
        "train": ids[:cut],
        "validation": list(held_out),
        "vocab_size": tokenizer.vocab_size,
        "sizes": sizes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = str(SHAKESPEARE) if SHAKESPEARE.is_file() else "shakespeare"
    parser.add_argument("--text", default=default, help="a text's name or the path of a file")
    parser.add_argument("--speed-only", action="store_true", help="leave the recipes out")
    parser.add_argument("--large", action="store_true", help="the larger setting; needs a GPU")
    parser.add_argument("--seed", type=int, default=1, help="of the large setting's runs")
    parser.add_argument("--save", type=Path, help="write the curves to this JSON file")
    args = parser.parse_args()
    text = load_text(args.text)
    result = measure_large(text, args.seed) if args.large else measure(text, args.speed_only)
    if args.save and result:
        write_json(args.save, result)


def measure(text: str, speed_only: bool) -> dict | None:
    """Measure speed and, unless it is left out, the recipes; return the recipes' curves."""
    torch.set_num_threads(N_THREADS)
    data = load_data(text, SIZES, 256, "cpu")
    print(f"training steps at the classic architecture, {N_THREADS} threads")
    compare_speed(data)
    return None if speed_only else compare_recipes(data)


def measure_large(text: str, seed: int) -> dict | None:
    """Measure both recipes in the large setting, if there is a GPU; return their curves."""
    if not torch.cuda.is_available():
        print("--large needs a GPU; there is none here, so nothing was measured")
        return None
    torch.set_float32_matmul_precision("high")
    return compare_large(load_data(text, LARGE_SIZES, 64, "cuda"), seed)


if __name__ == "__main__":
    main()
