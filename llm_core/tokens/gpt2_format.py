"""GPT-2's files for a BPE tokenizer: `vocab.json` and `merges.txt`, bytes written as characters."""

import re
from collections.abc import Iterable
from pathlib import Path

from llm_core.files import existing_file, read_json, write_json, write_text

VOCAB_FILE, MERGES_FILE = "vocab.json", "merges.txt"


def _byte_alphabet() -> list[str]:
    """Return the character that stands for each byte, as in `bytes_to_unicode` of GPT-2.

    A byte whose Latin-1 character can be seen stands for itself; the 68 others, the space among
    them, take the characters from U+0100 on, in order. So a space shows as Ġ.
    Source: `encoder.py` of https://github.com/openai/gpt-2.
    """
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)}
    visible |= set(range(ord("®"), ord("ÿ") + 1))
    hidden = [byte for byte in range(256) if byte not in visible]
    return [chr(b) if b in visible else chr(256 + hidden.index(b)) for b in range(256)]


BYTE_TO_CHARACTER = _byte_alphabet()
CHARACTER_TO_BYTE = {character: byte for byte, character in enumerate(BYTE_TO_CHARACTER)}


def spell(token: bytes) -> str:
    """Write a token's bytes as characters.

    >>> spell(b" the")
    'Ġthe'
    """
    return "".join(BYTE_TO_CHARACTER[byte] for byte in token)


def unspell(name: str) -> bytes:
    """Return the bytes that `spell` wrote.

    Raises:
        ValueError: a character that stands for no byte.
    """
    try:
        return bytes(CHARACTER_TO_BYTE[character] for character in name)
    except KeyError as error:
        raise ValueError(
            f"the token {name!r} holds {error}, which stands for no byte in GPT-2's alphabet; "
            "if it is a special token, name it in special_tokens"
        ) from error


def spell_vocab(vocab: dict[int, bytes], special_tokens: dict[str, int]) -> dict[str, int]:
    """Return token name -> id, in the order of the ids; special tokens are named as they are.

    Raises:
        ValueError: a special token has the name of another token.
    """
    text_of = {id: text for text, id in special_tokens.items()}
    names = {text_of.get(id) or spell(vocab[id]): id for id in sorted(vocab)}
    if len(names) != len(vocab):
        raise ValueError(
            f"one of the special tokens {list(special_tokens)} is written like another token; "
            "choose another text for it, such as '<|name|>'"
        )
    return names


def unspell_vocab(names: dict[str, int], special_tokens: Iterable[str]) -> dict[int, bytes]:
    """Return id -> bytes from `spell_vocab`'s form; `special_tokens` are named as they are.

    Raises:
        TypeError, ValueError: not a dictionary of names and ids, or an id twice.
    """
    if not isinstance(names, dict):
        raise TypeError(f"the vocabulary must be a JSON object, not {type(names).__name__}")
    specials = set(special_tokens)
    vocab = {
        id: name.encode("utf-8") if name in specials else unspell(name)
        for name, id in names.items()
    }
    if len(vocab) != len(names):
        raise ValueError("the vocabulary gives one id to two tokens")
    return vocab


def spell_merges(merges: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Return each merge as its two tokens with a space between them."""
    return [f"{spell(left)} {spell(right)}" for left, right in merges]


def unspell_merges(lines: Iterable[str]) -> list[tuple[bytes, bytes]]:
    """Return the merges from `spell_merges`' form.

    Raises:
        TypeError, ValueError: a line that is not two tokens with a space between them.
    """
    merges = []
    for number, line in enumerate(lines):
        parts = line.split(" ") if isinstance(line, str) else []
        if len(parts) != 2 or not all(parts):
            raise ValueError(f"merge {number} must be two tokens and a space, not {line!r}")
        merges.append((unspell(parts[0]), unspell(parts[1])))
    return merges


def read_vocab_file(path: str | Path) -> dict[str, int]:
    """Read a `vocab.json`: token name -> id.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not JSON, or not names with ids.
    """
    names = read_json(path)
    if not isinstance(names, dict) or not all(type(id) is int for id in names.values()):
        raise ValueError(
            f"{path} must map token names to ids, as GPT-2's vocab.json does; "
            "did you mix it up with another file?"
        )
    return names


def read_merges_file(path: str | Path) -> list[str]:
    """Read the lines of a `merges.txt` without its version line.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8.
    """
    try:
        text = existing_file(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text ({error}); it may be damaged or another file"
        ) from error
    return [line for line in re.sub(r"\A#version.*\n", "", text).split("\n") if line]


def write_files(folder: str | Path, names: dict[str, int], merge_lines: list[str]) -> None:
    """Write `vocab.json` and `merges.txt` into `folder`, each atomically."""
    write_json(Path(folder) / VOCAB_FILE, names)
    write_text(Path(folder) / MERGES_FILE, "\n".join(["#version: 0.2", *merge_lines, ""]))
