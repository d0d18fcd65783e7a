"""A flat map of vectors: principal component analysis."""

import torch
from torch import Tensor

from llm_core.validate import require_float_tensor, require_positive_int


def pca(x: Tensor, n_directions: int = 2) -> tuple[Tensor, Tensor]:
    """Look at points from the side from which they lie furthest apart.

    The directions are those along which the points vary most, each at right angles to those before
    it: the eigenvectors of the covariance matrix with the largest eigenvalues. A direction and its
    opposite serve alike; here the entry that is largest in absolute value is positive.

    Args:
        x: N points of C numbers, (N, C).
        n_directions: how many numbers shall stand for each point, at most C.

    Returns:
        The points' coordinates along the directions, (N, n_directions), with the mean 0, and the
        directions as rows, (n_directions, C). Both have the dtype of `x`; no gradient flows.

    Raises:
        TypeError: `x` is no tensor of floating-point numbers, or `n_directions` no whole number.
        ValueError: another number of axes, no points, too many directions, NaN or infinity.

    Source: Pearson 1901, https://doi.org/10.1080/14786440109462720
    """
    require_float_tensor("x", x, ("N", "C"))
    require_positive_int("n_directions", n_directions)
    N, C = x.shape
    if N == 0 or n_directions > C:
        raise ValueError(
            f"x has the shape {(N, C)}; {n_directions} directions need at least one point and "
            f"{n_directions} columns"
        )
    if not bool(x.isfinite().all()):
        raise ValueError("x holds NaN or infinity; leave those points out")
    points = x.detach().double()
    centred = points - points.mean(dim=0)
    covariance = centred.T @ centred / N  # (C, N) @ (N, C) -> (C, C)
    _, columns = torch.linalg.eigh(covariance)  # (C, C), the smallest variance first
    directions = columns.flip(1)[:, :n_directions].T  # (n_directions, C), the largest first
    largest = directions.abs().argmax(dim=1, keepdim=True)  # (n_directions, 1)
    directions = directions * directions.gather(1, largest).sign()
    return (centred @ directions.T).to(x.dtype), directions.to(x.dtype)
