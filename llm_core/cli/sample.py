"""`sample`: text from a trained model, shown as it is written."""

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import nn

from llm_core.cli.data import STORY_START
from llm_core.cli.settings import newest_run, pick_device, require_seed
from llm_core.corpus import STORY_END
from llm_core.pretrained import load_pretrained
from llm_core.sampling import stream, text_pieces
from llm_core.tokens import Tokenizer
from llm_core.tokens.words import UNKNOWN


def add_sample(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "sample",
        help="let a trained model write",
        description="Let a trained model continue a text. Each word is shown as soon as it is "
        "chosen; Ctrl-C stops it.",
        epilog=(
            "examples:\n"
            "  python -m llm_core sample\n"
            '  python -m llm_core sample --prompt "Once there was a queen" --temperature 0.5\n'
            "  python -m llm_core sample --stop-at-end --seed 7\n"
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
        "--stop-at-end",
        action="store_true",
        help="stop where the model ends its story (default: begin another one)",
    )
    add_choice_options(parser)
    parser.set_defaults(handler=sample)


def add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a token is chosen, which `choice_options` reads."""
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
        "--min-p",
        type=float,
        metavar="P",
        help="draw from those at least P times as likely as the likeliest",
    )
    parser.add_argument(
        "--repetition-penalty",
        type=float,
        default=1.0,
        metavar="X",
        help="above 1 makes tokens that have come before less likely (default: 1, none)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another number, another text (default: 0)"
    )
    parser.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")


def choice_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return how a token is chosen, as arguments of `stream`."""
    require_seed(args.seed)
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    generator = torch.Generator().manual_seed(args.seed)
    return {**{name: getattr(args, name) for name in names}, "generator": generator}


def sample(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    device = pick_device(args.device)
    choice = choice_options(args)
    model, tokenizer = load_pretrained(chosen_checkpoint(args.checkpoint))
    ids = prompt_ids(tokenizer, args.prompt)
    if args.stop_at_end:
        choice["stop_id"] = story_end_id(tokenizer)
    if args.prompt is not None:
        print(tokenizer.decode(ids), end="", flush=True)
    write_sample(model.to(device), tokenizer, ids, args.tokens, device, **choice)


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
        return start_ids(tokenizer)
    ids = tokenizer.encode(prompt)
    if not ids:
        raise ValueError("the prompt is empty; give a word to begin with, or leave --prompt away")
    require_known_words(tokenizer, prompt, ids)
    return ids


def write_sample(
    model: nn.Module,
    tokenizer: Tokenizer,
    ids: Sequence[int],
    n_tokens: int,
    device: torch.device,
    **choice: Any,
) -> None:
    """Print what the model adds to `ids`, each piece as soon as its characters are complete.

    Args:
        choice: `temperature`, `generator`, `stop_id` and so on, as `stream` takes them.
    """
    new_ids = stream(model, torch.tensor(list(ids), device=device), n_tokens, **choice)
    for piece in text_pieces(tokenizer, ids, new_ids):
        print(piece, end="", flush=True)
    print()


def story_end_id(tokenizer: Tokenizer) -> int:
    """Return the id with which the model ends a story.

    Raises:
        ValueError: the model's text knew no such end.
    """
    if STORY_END not in tokenizer.special_tokens:
        raise ValueError(
            f"this model's text had no {STORY_END}, so it never ends; leave --stop-at-end away"
        )
    return tokenizer.special_tokens[STORY_END]


def start_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids after which the model begins a text of its own."""
    start = STORY_START if STORY_END in tokenizer.special_tokens else "\n"
    try:
        return tokenizer.encode(start)
    except ValueError:  # characters of a text without line ends
        return [0]


def require_known_words(tokenizer: Tokenizer, prompt: str, ids: Sequence[int]) -> None:
    """Raise when the prompt holds words that a word tokenizer has no token for."""
    unknown_id = tokenizer.special_tokens.get(UNKNOWN)
    if unknown_id is None or unknown_id not in ids:
        return
    unknown = [word for word in prompt.split() if unknown_id in tokenizer.encode(word)]
    known = {tokenizer.token(id).lower(): tokenizer.token(id) for id in range(tokenizer.vocab_size)}
    near = [get_close_matches(word.lower(), known, 1, 0.75) for word in unknown]
    like = ", ".join(dict.fromkeys(known[name] for names in near for name in names))
    raise ValueError(
        f"this model never saw the words {unknown}; "
        + (f"it knows {like}. " if like else "")
        + "Use words of its text, such as those that `python -m llm_core sample` shows without "
        "--prompt"
    )
