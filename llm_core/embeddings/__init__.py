"""From token ids to vectors, and what the vectors of words can tell.

`table` holds the layer of a language model that looks a vector up, `skipgram` trains vectors from
the company that words keep, `similarity` finds neighbours and analogies, `projection` makes a map,
and `text_vectors` reads vectors that others have trained.
"""

from llm_core.embeddings.projection import pca
from llm_core.embeddings.similarity import analogy, cosine_similarity, nearest
from llm_core.embeddings.skipgram import (
    keep_probability,
    negative_sampling_gradient,
    negative_sampling_loss,
    noise_distribution,
    skipgram_pairs,
    train_skipgram,
)
from llm_core.embeddings.table import TokenEmbedding
from llm_core.embeddings.text_vectors import load_text_vectors

__all__ = [
    "TokenEmbedding",
    "analogy",
    "cosine_similarity",
    "keep_probability",
    "load_text_vectors",
    "nearest",
    "negative_sampling_gradient",
    "negative_sampling_loss",
    "noise_distribution",
    "pca",
    "skipgram_pairs",
    "train_skipgram",
]
