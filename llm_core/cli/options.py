"""What people type for what the library calls by a name of its own."""

import re

OPTIONS = {
    "batch_size": "--batch-size",
    "context_length": "--context-length",
    "d_model": "--d-model",
    "device": "--device",
    "dropout": "--dropout",
    "folder_or_name": "--checkpoint",
    "lr": "--lr",
    "max_lr": "--lr",
    "max_new_tokens": "--tokens",
    "min_p": "--min-p",
    "n_heads": "--n-heads",
    "n_layers": "--n-layers",
    "n_steps": "--steps",
    "n_stories": "--stories",
    "name_or_path": "--text",
    "patience": "--patience",
    "repetition_penalty": "--repetition-penalty",
    "seed": "--seed",
    "steps": "--steps",
    "stories": "--stories",
    "temperature": "--temperature",
    "text": "--text",
    "tokenizer": "--tokenizer",
    "top_k": "--top-k",
    "top_p": "--top-p",
    "vocab_size": "--vocab-size",
}
"""The option of `train`, `sample` or `chat` for each argument that an error may name."""

ABOUT_AN_ARGUMENT = re.compile(rf"({'|'.join(OPTIONS)}) (must|has|is)\b")
WITH_UNDERSCORE = re.compile(rf"\b({'|'.join(name for name in OPTIONS if '_' in name)})\b")


def with_option_names(message: str) -> str:
    """Return an error's message with options in the place of the arguments that it names.

    Only a message that begins with an argument is about what was typed; the others, such as one
    about a damaged config, mean the names as they stand. After the first, names that are also
    plain words stay as they are.
    """
    if not ABOUT_AN_ARGUMENT.match(message):
        return message
    first, rest = message.split(" ", 1)
    return f"{OPTIONS[first]} {WITH_UNDERSCORE.sub(lambda name: OPTIONS[name[0]], rest)}"
