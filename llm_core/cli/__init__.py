"""The command line: `python -m llm_core train | sample | chat | info | update | reset`.

`settings` holds the choices and defaults of a run, `options` what they are called on the command
line, `data` makes batches of a text, and each subcommand has a module of its own.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any, NoReturn

import torch

from llm_core.cli.chat import add_chat
from llm_core.cli.info import add_info
from llm_core.cli.options import with_option_names
from llm_core.cli.sample import add_sample
from llm_core.cli.settings import quoted
from llm_core.cli.train import add_train

USER_ERRORS = (OSError, ValueError, TypeError, IndexError)
"""What bad input raises: shown as one line. Anything else is a fault of ours and shows it all."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0 done, 2 an error, 130 Ctrl-C.

    Args:
        arguments: the words after `python -m llm_core`; None takes them from `sys.argv`.
    """
    args = make_parser().parse_args(arguments)
    args.command_line = " ".join(map(quoted, sys.argv[1:] if arguments is None else arguments))
    if hasattr(sys.stdout, "reconfigure"):  # a terminal without é must not stop a sample
        sys.stdout.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_note
            args.handler(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader had enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except torch.OutOfMemoryError:
        return _fail(
            "the device has too little memory; try a smaller --batch-size, or --device cpu"
        )
    except FloatingPointError as error:  # its advice names settings of a Trainer
        return _fail(str(error).replace("max_lr, a longer warm-up or a smaller max_norm", "--lr"))
    except USER_ERRORS as error:
        return _fail(with_option_names(str(error)))
    except KeyboardInterrupt as interrupt:
        print(f"\n{str(interrupt) or 'Stopped; nothing was lost.'}", file=sys.stderr)
        return INTERRUPTED
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands."""
    parser = _Parser(
        prog="python -m llm_core",
        description="Train a small language model on a text, and let it write.",
        epilog="Begin with: python -m llm_core sample",
    )
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=_Parser
    )
    add_train(subparsers)
    add_sample(subparsers)
    add_chat(subparsers)
    add_info(subparsers)
    _add_update(subparsers)
    _add_reset(subparsers)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with an option in one line, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _add_update(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "update",
        help="bring the newest release of the course, keeping your answers",
        description="Bring the newest release of the course. Your answers are kept.",
    )
    parser.add_argument(
        "--from",
        dest="previous",
        metavar="FOLDER",
        help="bring your answers over from the folder of an older release",
    )
    parser.set_defaults(handler=_update)


def _add_reset(subparsers: argparse._SubParsersAction) -> None:
    parser = subparsers.add_parser(
        "reset",
        help="bring a chapter back as released, keeping a copy of yours",
        description="Bring a chapter back as it was released; yours is kept in my_work/.",
    )
    parser.add_argument("--chapter", required=True, metavar="NN", help="its number, such as 04")
    parser.set_defaults(handler=_reset)


def _update(args: argparse.Namespace) -> None:
    from llm_core.notebooks import update  # the engine does not need the notebooks otherwise

    print(update.update(previous=args.previous))


def _reset(args: argparse.Namespace) -> None:
    from llm_core.notebooks import update

    print(update.reset(args.chapter))


def _show_note(message: Warning | str, *_: Any, **__: Any) -> None:
    """Show a warning as a line for people, without the place in the code."""
    print(f"note: {message}", file=sys.stderr)


def _fail(message: str) -> int:
    print(f"llm_core: error: {message}", file=sys.stderr)
    return 2
