"""The variants of `GPTConfig`, for tests that hold for all of them."""

import itertools
from collections.abc import Iterator
from typing import Any

from llm_core.config import ACTIVATIONS, NORMS


def other_choices() -> Iterator[dict[str, Any]]:
    """Yield all choices but positions, place of the norm and key/value heads: 2·4·2·2·2 = 64."""
    switches = (False, True)
    for norm, activation, qk_norm, bias, tie_weights in itertools.product(
        NORMS, ACTIVATIONS, switches, switches, switches
    ):
        yield {
            "norm": norm,
            "activation": activation,
            "qk_norm": qk_norm,
            "bias": bias,
            "tie_weights": tie_weights,
        }
