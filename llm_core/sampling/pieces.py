"""From a stream of ids to pieces of text, each shown as soon as its characters are whole."""

from collections.abc import Iterable, Iterator, Sequence

from llm_core.tokens import Tokenizer

BROKEN = "\ufffd"
"""What decoding gives for a character of which only some bytes have come."""


def text_pieces(tokenizer: Tokenizer, ids: Sequence[int], new_ids: Iterable[int]) -> Iterator[str]:
    """Yield what each of `new_ids` adds to the text of `ids`.

    A token may end in the middle of a character (a byte-pair token of an é, say) or decide whether
    a space stands before it. So the whole text is decoded each time, and what has not been shown
    is handed out once no character in it is broken; the rest comes at the end.

    Args:
        tokenizer: whose ids these are.
        ids: what stands there already and is not shown again.
        new_ids: such as `stream` yields.

    Raises:
        TypeError, IndexError: ids that the tokenizer does not know.
    """
    so_far = list(ids)
    shown = whole = tokenizer.decode(so_far)
    for new_id in new_ids:
        so_far.append(new_id)
        whole = tokenizer.decode(so_far)
        if not whole.endswith(BROKEN):
            yield whole[len(shown) :]
            shown = whole
    if whole != shown:
        yield whole[len(shown) :]
