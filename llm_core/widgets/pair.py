"""What every explorer of a language model asks of the model and the tokenizer that it is given."""

from difflib import get_close_matches
from typing import Any

import regex

from llm_core.model import GPT
from llm_core.tokens import Tokenizer


def require_pair(model: Any, tokenizer: Any) -> tuple[GPT, Tokenizer]:
    """Return a model and its tokenizer; those that come with the course when both are None.

    Raises:
        TypeError: `model` is no GPT, or `tokenizer` no tokenizer.
        ValueError: the tokenizer has tokens that the model does not know.
        FileNotFoundError: the course's own model is not there.
    """
    if model is None and tokenizer is None:
        from llm_core.pretrained import load_pretrained

        model, tokenizer = load_pretrained("stories")
    if not isinstance(model, GPT):
        raise TypeError(
            f"model must be a GPT from llm_core.model, not {type(model).__name__}; "
            "leave out model and tokenizer to take the course's own"
        )
    if not isinstance(tokenizer, Tokenizer):
        raise TypeError(
            f"tokenizer must be the model's tokenizer, not {type(tokenizer).__name__}; "
            "load_pretrained(...) returns both"
        )
    if tokenizer.vocab_size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, but the model knows "
            f"{model.config.vocab_size}; they do not belong together"
        )
    return model, tokenizer


def unknown_words(tokenizer: Tokenizer, text: str) -> str:
    """Return a sentence on the words of `text` that have no token, or "" when there are none."""
    unknown_id = tokenizer.special_tokens.get("<unk>")
    if unknown_id is None:
        return ""
    words = dict.fromkeys(regex.findall(r"\w+|[^\w\s]", text.replace("<unk>", " ")))
    unknown = [word for word in words if tokenizer.encode(word) == [unknown_id]]
    if not unknown:
        return ""
    names = [tokenizer.token(id) for id in range(tokenizer.vocab_size)]
    known = {name.lower(): name for name in names}
    close = dict.fromkeys(
        known[like] for word in unknown for like in get_close_matches(word.lower(), known, 1, 0.75)
    )
    advice = f" It knows: {', '.join(list(close)[:3])}." if close else ""
    return f"Words that the model does not know, read as <unk>: {', '.join(unknown)}.{advice}"
