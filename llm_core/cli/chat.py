"""`chat`: write a text together with a model, by turns."""

import argparse
import contextlib
from typing import Any

import torch

from llm_core.cli.sample import (
    add_checkpoint_option,
    add_choice_options,
    choice_options,
    chosen_checkpoint,
    require_known_words,
    start_ids,
)
from llm_core.cli.settings import pick_device
from llm_core.corpus import STORY_END
from llm_core.model import GPT
from llm_core.pretrained import load_pretrained
from llm_core.sampling import stream, text_pieces
from llm_core.tokens import Tokenizer
from llm_core.validate import require_positive_int

TURN = "> "
"""What stands where you write."""

HELP = """\
Write a beginning and press Enter: the model goes on. Then write on, or press Enter alone and it
goes on by itself.

  /again   let it try its last turn anew
  /new     begin a new text
  /help    show this
  /quit    end (so does Ctrl-D, and Ctrl-C where you write; while it writes, Ctrl-C stops it)
"""

NO_SPACE_BEFORE = tuple(",.?!;:'")


def add_chat(subparsers: argparse._SubParsersAction) -> None:
    """Add the subcommand and its options."""
    parser = subparsers.add_parser(
        "chat",
        help="write a text together with a model, by turns",
        description=HELP,
        epilog=(
            "The models of this course continue texts; they have not learned to answer.\n\n"
            "examples:\n"
            "  python -m llm_core chat\n"
            "  python -m llm_core chat --temperature 1.2 --tokens 20\n"
            "  python -m llm_core chat --checkpoint checkpoints/python-docs"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_checkpoint_option(parser)
    parser.add_argument(
        "--tokens",
        type=int,
        default=60,
        metavar="N",
        help="the most tokens that the model writes in a turn (default: 60)",
    )
    add_choice_options(parser)
    parser.set_defaults(handler=chat)


def chat(args: argparse.Namespace) -> None:
    """Run the subcommand."""
    device = pick_device(args.device)
    choice = choice_options(args)
    require_positive_int("max_new_tokens", args.tokens)
    model, tokenizer = load_pretrained(chosen_checkpoint(args.checkpoint))
    talk = Talk(model.to(device), tokenizer, args.tokens, choice)
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401 - arrow keys and earlier lines, where the system has it
    print(HELP)
    while True:
        try:
            line = input(TURN).strip()
        except (EOFError, KeyboardInterrupt):
            print("\nGoodbye.")
            return
        if line == "/quit":
            print("Goodbye.")
            return
        _turn(talk, line)


def _turn(talk: "Talk", line: str) -> None:
    """Do what one line asks for."""
    if line == "/help":
        print(HELP)
    elif line == "/new":
        talk.begin_anew()
        print("A new text. Write its beginning, or press Enter and the model begins.")
    elif line == "/again":
        if talk.take_back():
            talk.write()
        else:
            print("Nothing to try anew: the model has not written yet.")
    elif line.startswith("/"):
        print(f"There is no {line.split()[0]}; /help shows what there is.")
    else:
        try:
            talk.hear(line)
        except ValueError as error:
            print(f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return
        talk.write()


class Talk:
    """A text that a person and a model write by turns.

    Args:
        model: a GPT.
        tokenizer: the model's.
        n_tokens: the most that the model writes in a turn.
        choice: `temperature`, `generator` and so on, as `stream` takes them.

    Attributes:
        ids: the text so far.
    """

    def __init__(
        self, model: GPT, tokenizer: Tokenizer, n_tokens: int, choice: dict[str, Any]
    ) -> None:
        # Checked here, before the first line is asked for.
        stream(model, torch.tensor([0], device=_device(model)), n_tokens, **choice)
        self.model, self.tokenizer, self.n_tokens, self.choice = model, tokenizer, n_tokens, choice
        self.end_id = tokenizer.special_tokens.get(STORY_END)
        self.ids: list[int] = []
        self._before: list[int] | None = None  # the text before the model's last turn

    def begin_anew(self) -> None:
        """Forget the text."""
        self.ids, self._before = [], None

    def take_back(self) -> bool:
        """Take the model's last turn back; say whether there was one."""
        if self._before is None:
            return False
        self.ids = self._before
        return True

    def hear(self, line: str) -> None:
        """Add a person's line to the text; after the end of a story it begins a new one.

        Raises:
            ValueError: words or characters that the tokenizer does not know.
        """
        if self.ended:
            self.begin_anew()
        if not line:
            return
        shown = self.tokenizer.decode(self.ids)
        joined = not shown or shown[-1].isspace() or line.startswith(NO_SPACE_BEFORE)
        new = self.tokenizer.encode(line if joined else f" {line}")
        require_known_words(self.tokenizer, line, new)
        self.ids = self.ids + new

    def write(self) -> None:
        """Let the model write its turn, and show it piece by piece; Ctrl-C cuts it short."""
        self._before = list(self.ids)
        given = self.ids or start_ids(self.tokenizer)
        written: list[int] = []
        try:
            for piece in text_pieces(self.tokenizer, given, self._new_ids(given, written)):
                print(piece, end="", flush=True)
            print()
        except KeyboardInterrupt:
            print(" ... stopped.")
        self.ids = [*(self.ids or given), *written]
        if self.ended:
            print("The story has ended. Write another beginning, or press Enter for one.")

    @property
    def ended(self) -> bool:
        """Whether the text ends with the end of a story."""
        return self.end_id is not None and self.ids[-1:] == [self.end_id]

    def _new_ids(self, given: list[int], written: list[int]) -> Any:
        """Yield what the model adds, but for the end of the story, and note all of it."""
        ids = torch.tensor(given, device=_device(self.model))
        for new_id in stream(self.model, ids, self.n_tokens, stop_id=self.end_id, **self.choice):
            written.append(new_id)
            if new_id != self.end_id:
                yield new_id


def _device(model: GPT) -> torch.device:
    return next(model.parameters()).device
