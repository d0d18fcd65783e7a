"""`info`: what a model is made of, how it did, and what runs it."""

import argparse
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors
import torch

from llm_core.cli.sample import add_checkpoint_option, chosen_checkpoint
from llm_core.cli.settings import RUN_FILE, pick_device, read_run
from llm_core.costs import flops_per_token
from llm_core.files import read_json
from llm_core.loss import perplexity
from llm_core.model import count_parameters
from llm_core.pretrained import load_pretrained, pretrained_folder
from llm_core.training import TRAINING_FILE


def add_info(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "info",
        help="describe a trained model and this machine",
        description="Print a model's config, size, tokenizer and losses, and the versions here.",
    )
    add_checkpoint_option(parser)
    parser.set_defaults(handler=info)


def info(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    chosen = chosen_checkpoint(args.checkpoint)
    folder = pretrained_folder(chosen)
    model, tokenizer = load_pretrained(chosen)
    _print_table("this machine", _machine())
    _print_table(f"model in {folder}", {**model.config.to_dict(), **_size(model)})
    specials = ", ".join(tokenizer.special_tokens) or "none"
    about = {
        "kind": tokenizer.kind,
        "vocabulary": f"{tokenizer.vocab_size:,}",
        "special tokens": specials,
    }
    _print_table("tokenizer", about)
    if (folder / TRAINING_FILE).is_file():
        _print_table("training", _training(folder))


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "safetensors": safetensors.__version__,
        "llm_core": version("llm_core"),
        "device": pick_device(),
        "threads": torch.get_num_threads(),
    }


def _size(model: torch.nn.Module) -> dict[str, Any]:
    return {
        "parameters": f"{count_parameters(model):,}",
        "FLOPs per token": f"{flops_per_token(model.config):,} (forward)",
    }


def _training(folder: Path) -> dict[str, Any]:
    """Return the state of a run, as its checkpoint describes it."""
    description = read_json(folder / TRAINING_FILE)
    extra, config = description["extra"], description["extra"].get("config", {})
    rows = {"steps": f"{description['step']} of {config.get('n_steps', '?')}"}
    if (folder / RUN_FILE).is_file():
        settings, _ = read_run(folder)
        rows |= {"text": settings.text, "seed": settings.seed, "batch size": settings.batch_size}
    rows["highest learning rate"] = config.get("max_lr", "?")
    if extra.get("loss") is not None:
        rows["training loss"] = f"{extra['loss']:.3f} (last step)"
    best = extra.get("best", {})
    if best.get("loss") is not None:
        loss = best["loss"]
        rows["validation loss"] = (
            f"{loss:.3f} nats per token at step {best['step']} (perplexity {perplexity(loss):.2f})"
        )
    return rows


def _print_table(title: str, rows: dict[str, Any]) -> None:
    width = max(map(len, rows))
    print(title)
    for name, value in rows.items():
        print(f"  {name:<{width}}  {value}")
    print()
