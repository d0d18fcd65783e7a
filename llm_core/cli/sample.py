"""`sample`: text from a trained model, shown as it is written."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from llm_core.cli.data import STORY_START
from llm_core.cli.settings import newest_run, pick_device, require_seed
from llm_core.corpus import STORY_END
from llm_core.pretrained import load_pretrained
from llm_core.sampling import stream
from llm_core.tokens import Tokenizer
from llm_core.tokens.words import UNKNOWN

BROKEN = "\ufffd"
"""What decoding gives for a character of which only some bytes have come."""


def add_sample(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "sample",
        help="let a trained model write",
        description="Let a trained model continue a text, one token at a time.",
        epilog=(
            "examples:\n"
            "  python -m llm_core sample\n"
            '  python -m llm_core sample --prompt "Once there was a queen" --temperature 0.5\n'
            "  python -m llm_core sample --checkpoint checkpoints/python-docs --tokens 300"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_checkpoint_option(parser)
    parser.add_argument("--prompt", help="the text to continue (default: a fresh start)")
    parser.add_argument(
        "--tokens", type=int, default=200, metavar="N", help="the most tokens to add (default: 200)"
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.8,
        metavar="X",
        help="0 is the likeliest token every time, 1 what the model believes, more is wilder "
        "(default: 0.8)",
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest only")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="draw from the likeliest that reach P together"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another number, another text (default: 0)"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    parser.set_defaults(handler=sample)


def sample(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    device = pick_device(args.device)
    require_seed(args.seed)
    model, tokenizer = load_pretrained(chosen_checkpoint(args.checkpoint))
    ids = prompt_ids(tokenizer, args.prompt)
    if args.prompt is not None:
        print(tokenizer.decode(ids), end="")
    write_sample(
        model.to(device),
        tokenizer,
        ids,
        n_tokens=args.tokens,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        generator=torch.Generator().manual_seed(args.seed),
        device=device,
    )


def add_checkpoint_option(parser: argparse.ArgumentParser) -> None:
    """Add `--checkpoint`, which `chosen_checkpoint` reads."""
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="a run's folder, or stories for the model that comes with the course (default: the "
        "newest under checkpoints/, else stories)",
    )


def chosen_checkpoint(given: str | None) -> str | Path:
    """Return the checkpoint asked for, else the newest run, else the course's own model."""
    return given or newest_run() or "stories"


def prompt_ids(tokenizer: Tokenizer, prompt: str | None) -> list[int]:
    """Return the ids to continue.

    Without a prompt, those of a fresh start: the end of a story where the text had stories, else
    the end of a line, or the first token of all.

    Raises:
        ValueError: an empty prompt, or words that the tokenizer does not know.
    """
    if prompt is None:
        return _start_ids(tokenizer)
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ValueError("the prompt is empty; give a word to begin with, or leave --prompt away")
    _require_known_words(tokenizer, prompt, ids)
    return ids


def write_sample(
    model: nn.Module,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    *,
    n_tokens: int,
    temperature: float,
    generator: torch.Generator,
    device: torch.device,
    top_k: int | None = None,
    top_p: float | None = None,
) -> None:
    """Print what the model adds to `ids`, each piece as soon as its characters are complete."""
    shown = tokenizer.decode(list(ids))
    all_ids = list(ids)
    for id in stream(
        model,
        torch.tensor(all_ids, device=device),
        n_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        generator=generator,
    ):
        all_ids.append(id)
        text = tokenizer.decode(all_ids)
        if not text.endswith(BROKEN):
            print(text[len(shown) :], end="", flush=True)
            shown = text
    print()


def _start_ids(tokenizer: Tokenizer) -> list[int]:
    start = STORY_START if STORY_END in tokenizer.special_tokens else "\n"
    try:
        return tokenizer.encode(start)
    except ValueError:  # characters of a text without line ends
        return [0]


def _require_known_words(tokenizer: Tokenizer, prompt: str, ids: Sequence[int]) -> None:
    """Raise when the prompt holds words that a word tokenizer has no token for."""
    unknown_id = tokenizer.special_tokens.get(UNKNOWN)
    if unknown_id is None or unknown_id not in ids:
        return
    unknown = [w for w in prompt.split() if unknown_id in tokenizer.encode(w)]
    raise ValueError(
        f"this model never saw the words {unknown}; use words of its text, such as those that "
        "`python -m llm_core sample` shows without --prompt"
    )
