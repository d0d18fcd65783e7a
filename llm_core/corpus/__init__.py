"""The text that the course trains on: stories from a grammar whose entropy is known, and real text.

`words` and `forms` hold the vocabulary and the sentences, `plot` what may follow what, `telling`
draws a story or reads one back with its probability, `grammar` measures, `checker` judges any text;
`loading` and `cleaning` bring in and prepare other texts.
"""

from llm_core.corpus.checker import StoriesReport, check_stories
from llm_core.corpus.cleaning import clean_text, split_text, strip_markup
from llm_core.corpus.grammar import (
    StoriesFloor,
    entropy_floor,
    stories,
    story_log_prob,
    story_vocabulary,
)
from llm_core.corpus.loading import TEXT_NAMES, load_text
from llm_core.corpus.words import STORY_END, WORD_PATTERN

__all__ = [
    "STORY_END",
    "TEXT_NAMES",
    "WORD_PATTERN",
    "StoriesFloor",
    "StoriesReport",
    "check_stories",
    "clean_text",
    "entropy_floor",
    "load_text",
    "split_text",
    "stories",
    "story_log_prob",
    "story_vocabulary",
    "strip_markup",
]
