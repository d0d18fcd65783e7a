"""The token table: one row for each token, and look-up."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llm_core.validate import require_ids, require_positive_int


class TokenEmbedding(nn.Module):
    """A table of vectors: row i stands for token i, and training moves the rows.

    Looking up row i is the same as multiplying the one-hot vector of i by the table, without the
    V - 1 multiplications by zero.

    Args:
        vocab_size: V, number of rows.
        d_model: C, width of a row.
        padding_idx: id that only fills up short sequences. Its row starts at zero, and looking it
            up sends no gradient into it, so that it stays zero.
        generator: source of the random start; None takes torch's global one.

    Attributes:
        weight: the table, (V, C), drawn from a normal distribution with standard deviation 0.02
            as in GPT-2.

    Raises:
        TypeError, ValueError: a size that is no positive whole number.
        IndexError: `padding_idx` outside the vocabulary.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        padding_idx: int | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        require_positive_int("vocab_size", vocab_size)
        require_positive_int("d_model", d_model)
        _require_padding_idx(padding_idx, vocab_size)
        self.vocab_size = vocab_size
        self.padding_idx = padding_idx
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))  # (V, C)
        self.initialise(generator)

    @torch.no_grad()
    def initialise(self, generator: torch.Generator | None = None) -> None:
        """Draw every row anew, and set the padding row to zero."""
        self.weight.normal_(std=0.02, generator=generator)
        if self.padding_idx is not None:
            self.weight[self.padding_idx] = 0.0

    def forward(self, ids: Tensor) -> Tensor:
        """Return the rows of `ids`.

        Args:
            ids: integers of any shape (...), usually (B, T).

        Returns:
            Vectors, (..., C).

        Raises:
            TypeError: `ids` is no tensor of whole numbers.
            IndexError: an id outside the vocabulary (on the CPU; a GPU reports it its own way).
        """
        require_ids("ids", ids, self.vocab_size)
        return F.embedding(ids, self.weight, self.padding_idx)  # (..., C)

    def extra_repr(self) -> str:
        return f"{self.vocab_size}, {self.weight.shape[1]}, padding_idx={self.padding_idx}"


def _require_padding_idx(padding_idx: int | None, vocab_size: int) -> None:
    """Raise unless `padding_idx` is None or an id of the vocabulary."""
    if padding_idx is None:
        return
    if isinstance(padding_idx, bool) or not isinstance(padding_idx, int):
        raise TypeError(f"padding_idx must be a token id or None, not {padding_idx!r}")
    if not 0 <= padding_idx < vocab_size:
        raise IndexError(
            f"padding_idx is {padding_idx}, outside the vocabulary 0 to {vocab_size - 1}"
        )
