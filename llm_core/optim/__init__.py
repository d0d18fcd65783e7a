"""Optimisation by hand: AdamW and Muon, gradient clipping, and the learning-rate schedules."""

from llm_core.optim.adamw import AdamW
from llm_core.optim.clipping import clip_grad_norm
from llm_core.optim.groups import hidden_matrices, muon_groups, parameter_groups
from llm_core.optim.muon import Muon, orthogonalise
from llm_core.optim.schedules import LARGEST_LR, warmup_cosine, warmup_stable_decay

__all__ = [
    "LARGEST_LR",
    "AdamW",
    "Muon",
    "clip_grad_norm",
    "hidden_matrices",
    "muon_groups",
    "orthogonalise",
    "parameter_groups",
    "warmup_cosine",
    "warmup_stable_decay",
]
