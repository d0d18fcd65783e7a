"""`train`: from a text to a saved model and a sample of what it writes."""

import argparse
from dataclasses import fields, replace
from pathlib import Path

import torch

from llm_core.cli.data import Data, load_data
from llm_core.cli.options import OPTIONS
from llm_core.cli.sample import prompt_ids, write_sample
from llm_core.cli.settings import (
    RECIPES,
    RUN_FILE,
    TOKENIZERS,
    Settings,
    free_folder,
    make_settings,
    newest_run,
    pick_device,
    quoted,
    read_run,
    run_name,
    write_run,
)
from llm_core.cli.story_card import write_card
from llm_core.config import POSITIONS
from llm_core.loss import bits_per_byte, perplexity
from llm_core.model import GPT, count_parameters
from llm_core.pretrained import TOKENIZER_FILE, save_pretrained, write_description
from llm_core.tokens import load_tokenizer
from llm_core.training import (
    POINTER_FILE,
    Trainer,
    TrainingInterrupted,
    checkpoint_path,
    require_writable_folder,
)

RESUMABLE = ("steps", "patience")
"""Settings that may change when a run is resumed; the others would make it another run."""

SAMPLE_TOKENS = 150


def add_train(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "train",
        help="train a model on a text",
        description=(
            "Train a small Transformer on a text and write a sample at the end. Every option has "
            "a default that suits the text and takes a few minutes on a laptop. Ctrl-C saves and "
            "says how to go on."
        ),
        epilog=(
            "examples:\n"
            "  python -m llm_core train\n"
            "  python -m llm_core train --text python-docs\n"
            "  python -m llm_core train --text my_book.txt --tokenizer char --steps 2000\n"
            "  python -m llm_core train --resume checkpoints/python-docs"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_run_options(parser.add_argument_group("the run"))
    _add_model_options(parser.add_argument_group("the model"))
    _add_training_options(parser.add_argument_group("the training"))
    parser.set_defaults(handler=train)


def train(args: argparse.Namespace) -> None:
    """Run the subcommand: train or resume, report, save, sample."""
    device = pick_device(args.device)
    if args.export is not None:
        require_writable_folder(args.export)
    given = _given_settings(args)
    if args.resume is None:
        settings = make_settings(args.preset, given)
        folder = _new_folder(args, settings)
        data = load_data(settings)
    else:
        folder = _run_to_resume(args)
        settings, data = _settings_and_data_to_resume(folder, args, given)
    trainer = make_trainer(settings, data, device, folder, progress=not args.quiet)
    if args.resume is not None:
        trainer.resume()
    require_writable_folder(folder)
    _announce(trainer, data, folder, device)
    try:
        trainer.run()
    except TrainingInterrupted as stop:
        raise TrainingInterrupted(
            f"Stopped after step {trainer.step} of {settings.steps}; saved in {folder}.\n"
            f"To go on:   python -m llm_core train --resume {quoted(folder)}\n"
            f"To sample:  python -m llm_core sample --checkpoint {quoted(folder)}"
        ) from stop
    trainer.use_best_weights()
    _report(trainer, data, folder)
    if args.export is not None:
        _export(args, trainer, data, settings)
    _show_sample(trainer, data, settings, device)


def make_trainer(
    settings: Settings, data: Data, device: torch.device, folder: Path, progress: bool
) -> Trainer:
    """Return a trainer with everything that a run needs, its chance drawn from one seed."""
    config = settings.model_config(data.tokenizer.vocab_size)
    model = GPT(config, generator=torch.Generator().manual_seed(settings.seed)).to(device)
    order = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)  # dropout draws from torch's own generator

    def write_extras(checkpoint: Path) -> None:
        write_description(checkpoint, config, data.tokenizer)
        write_run(checkpoint, settings, data.fingerprint)

    return Trainer(
        model,
        lambda: data.next_batch(order, device),
        settings.train_config(),
        validation=data.validation(device),
        generators={"order": order},
        folder=folder,
        write_extras=write_extras,
        progress=progress,
    )


def _add_run_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--text",
        metavar="NAME_OR_PATH",
        help="stories, python-docs, shakespeare, or the path of a .txt file or of a folder of "
        "them (default: stories)",
    )
    group.add_argument(
        "--preset", choices=list(RECIPES), help="a set of defaults (default: what suits the text)"
    )
    group.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to save (default: checkpoints/TEXT)"
    )
    group.add_argument(
        "--resume",
        nargs="?",
        const="newest",
        metavar="FOLDER",
        help="go on with a run that was stopped (default: the newest under checkpoints/)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace the run that --out already holds"
    )
    group.add_argument(
        "--export", type=Path, metavar="FOLDER", help="also save the model alone, in half precision"
    )
    group.add_argument("--device", help="cuda, mps or cpu (default: the best there is)")
    group.add_argument("--quiet", action="store_true", help="show no progress bar")


def _add_model_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--tokenizer", choices=TOKENIZERS, help="what a token is")
    group.add_argument("--vocab-size", type=int, metavar="V", help="tokens that bpe learns")
    group.add_argument("--context-length", type=int, metavar="T", help="tokens it can look back on")
    group.add_argument("--d-model", type=int, metavar="C", help="width of a token's vector")
    group.add_argument("--n-layers", type=int, metavar="N", help="Transformer blocks")
    group.add_argument("--n-heads", type=int, metavar="H", help="attention heads in a block")
    group.add_argument("--dropout", type=float, metavar="P", help="share of activations dropped")
    group.add_argument("--positions", choices=POSITIONS, help="how it knows where a token stands")


def _add_training_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--steps", type=int, metavar="N", help="updates of the weights")
    group.add_argument("--batch-size", type=int, metavar="B", help="windows of text in a step")
    group.add_argument("--lr", type=float, metavar="RATE", help="highest learning rate")
    group.add_argument(
        "--patience", type=int, metavar="N", help="stop after N looks without a better loss"
    )
    group.add_argument("--seed", type=int, metavar="N", help="another number, another run")
    group.add_argument("--stories", type=int, dest="n_stories", metavar="N", help="stories to draw")


def _given_settings(args: argparse.Namespace) -> dict[str, object]:
    """Return the settings that stand on the command line, None for the others."""
    return {field.name: getattr(args, field.name, None) for field in fields(Settings)}


def _new_folder(args: argparse.Namespace, settings: Settings) -> Path:
    """Return where a new run goes; never the place of another, unless asked to."""
    if args.out is None:
        return free_folder(args.preset or run_name(settings))
    if (args.out / POINTER_FILE).exists() and not args.overwrite:
        raise ValueError(
            f"{args.out} already holds a run; go on with it (--resume {quoted(args.out)}), "
            "replace it (--overwrite), or choose another folder"
        )
    return args.out


def _run_to_resume(args: argparse.Namespace) -> Path:
    if args.out is not None or args.preset is not None:
        raise ValueError("--resume goes on in the run's own folder; leave --out and --preset away")
    folder = newest_run() if args.resume == "newest" else Path(args.resume)
    if folder is None:
        raise FileNotFoundError(
            "there is no run under checkpoints/ to resume; train one first, or name its folder"
        )
    return folder


def _settings_and_data_to_resume(
    folder: Path, args: argparse.Namespace, given: dict[str, object]
) -> tuple[Settings, Data]:
    """Return what the run began with, changed where that is allowed, and the same text."""
    path = checkpoint_path(folder)
    settings, fingerprint = read_run(path)
    for name, value in given.items():
        if value is not None and name not in RESUMABLE and value != getattr(settings, name):
            raise ValueError(
                f"the run in {folder} has {OPTIONS.get(name, name)} "
                f"{getattr(settings, name)!r}, which cannot become {value!r} when it is resumed; "
                "start another run without --resume"
            )
    changes = {name: given[name] for name in RESUMABLE if given[name] is not None}
    settings = replace(settings, **changes)
    data = load_data(settings, load_tokenizer(path / TOKENIZER_FILE))
    if data.fingerprint != fingerprint:
        raise ValueError(
            f"the text {settings.text!r} is not the one that the run in {folder} began with; "
            f"bring that back, or start another run (see {path / RUN_FILE})"
        )
    return settings, data


def _announce(trainer: Trainer, data: Data, folder: Path, device: torch.device) -> None:
    config = trainer.model.config
    print(f"text: {data.summary}")
    print(
        f"model: {config.n_layers} layers, {config.n_heads} heads, d_model {config.d_model}, "
        f"context {config.context_length}: {count_parameters(trainer.model):,} parameters "
        f"on {device}"
    )
    begin = "from the start" if trainer.step == 0 else f"resumed after step {trainer.step}"
    print(f"run: {begin}, to step {trainer.config.n_steps}, saved in {folder} (Ctrl-C saves)")
    print(flush=True)


def _report(trainer: Trainer, data: Data, folder: Path) -> None:
    """Print the best validation loss, in the units that people use."""
    loss = trainer.best.loss
    bits = bits_per_byte(loss, data.n_val_tokens, data.n_val_bytes)
    print(
        f"\nvalidation loss {loss:.3f} nats per token (perplexity {perplexity(loss):.2f}, "
        f"{bits:.3f} bits per byte) at step {trainer.best.step}"
    )
    if data.floor is not None:
        print(
            f"entropy floor   {data.floor:.3f} nats per token: on these stories no model can do "
            f"better on average; {loss - data.floor:.3f} above it"
        )
    command = f"python -m llm_core sample --checkpoint {quoted(folder)}"
    print(f"saved in {folder}; more text: {command}")


def _export(args: argparse.Namespace, trainer: Trainer, data: Data, settings: Settings) -> None:
    """Save the model alone in half precision; a model of the stories with a card of figures."""
    folder = args.export
    save_pretrained(folder, trainer.model, data.tokenizer, dtype=torch.float16)
    print(f"the model alone, in half precision: {folder}")
    if settings.is_stories:
        device = next(trainer.model.parameters()).device.type
        write_card(folder, settings, args.command_line, trainer.best.step, device)
        print(f"its card, with figures measured on 200 samples: {folder / 'README.md'}")


def _show_sample(trainer: Trainer, data: Data, settings: Settings, device: torch.device) -> None:
    """Write what the model makes of a fresh start."""
    print("\na sample:\n")
    write_sample(
        trainer.model,
        data.tokenizer,
        prompt_ids(data.tokenizer, None),
        n_tokens=SAMPLE_TOKENS,
        temperature=0.8,
        generator=torch.Generator().manual_seed(settings.seed),
        device=device,
    )
