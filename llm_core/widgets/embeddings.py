"""`EmbeddingExplorer`, a map of word vectors, and `TrainingMap`, which shows vectors moving.

Both work on any words and vectors, such as those of `train_skipgram` or `load_text_vectors`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import DisplayHandle, display
from torch import Tensor

from llm_core.embeddings import analogy, nearest, pca
from llm_core.embeddings.similarity import Ranked, require_words_and_vectors, unit
from llm_core.validate import require_range
from llm_core.widgets.base import Explorer, in_range, pack

MOST_WORDS = 2000
"""More words than this are not sent to the browser: the first ones are."""

SHOWN = 8
"""Rows of a ranking."""

Groups = Mapping[str, Sequence[str]]

_INKS = ("#3b8fd6", "#d98b00", "#1fa37a", "#c86fa4", "#8a7bdc", "#d9603b", "#7d9b26", "#3f97a5")
_MARKS = "os^Dv_|h"
"""Colours and marks of groups, as in kit.js; the marks tell groups apart without colour."""


class EmbeddingExplorer(Explorer):
    """Move over a map of word vectors, read a word's neighbours, and build analogies.

    The map shows the two directions in which the vectors, made equally long, vary most (`pca`), or
    the plane in which the three words of the analogy lie. The browser works out every ranking
    itself, as `nearest` and `analogy` do. All state is in the traits below.

        explorer = EmbeddingExplorer(words, vectors, {"people": ["king", "queen"]})
        explorer.a, explorer.b, explorer.c = "man", "king", "woman"

    Args:
        words: V words, all different.
        vectors: (V, C), floating-point numbers.
        groups: names of groups and the words in each, for colours and marks on the map.
        inputs: (a, b, c), for "a is to b as c is to ..."; None takes three of the words.

    Attributes:
        words: those that can be chosen, at most 2,000.
        word: whose neighbours are shown.
        a, b, c: the analogy b - a + c.
        plane: "all" for the map of all words, "analogy" for the plane of a, b and c.
        normalise, exclude_inputs: as in `llm_core.embeddings.analogy`.
        share: part of the spread that the map of all words holds, from 0 to 1.
        notice: how many words were left out, if any.

    Raises:
        TypeError, ValueError: words and vectors that do not fit together, fewer than four words,
            or a group or an input that is not among them.
    """

    script = "embeddings.js"

    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    groups = traitlets.List(traitlets.Int()).tag(sync=True)
    legend = traitlets.List(traitlets.Unicode()).tag(sync=True)
    word = traitlets.Unicode().tag(sync=True)
    a = traitlets.Unicode().tag(sync=True)
    b = traitlets.Unicode().tag(sync=True)
    c = traitlets.Unicode().tag(sync=True)
    plane = traitlets.Enum(("all", "analogy"), "all").tag(sync=True)
    normalise = traitlets.Bool(True).tag(sync=True)
    exclude_inputs = traitlets.Bool(True).tag(sync=True)
    share = traitlets.Float(0.0).tag(sync=True)

    def __init__(
        self,
        words: Sequence[str],
        vectors: Tensor,
        groups: Groups | None = None,
        inputs: tuple[str, str, str] | None = None,
    ) -> None:
        require_words_and_vectors(words, vectors)
        left_out = max(0, len(words) - MOST_WORDS)
        words = list(words)[:MOST_WORDS]
        if len(words) < 4:
            raise ValueError(f"words must be at least four, for an analogy; there are {len(words)}")
        vectors = vectors[: len(words)].detach().float().cpu()
        self._vectors = vectors
        points = flat_map(vectors)
        spread = (unit(vectors) - unit(vectors).mean(dim=0)).square().sum()
        chosen = _inputs_among(words, inputs)
        super().__init__(
            words=words,
            groups=_group_numbers(words, groups),
            legend=list(groups or {}),
            word=chosen[1],
            share=float(points.square().sum() / spread) if spread > 1e-9 else 1.0,
            arrays={"vectors": pack(vectors), "points": pack(points)},
            **dict(zip("abc", chosen, strict=True)),
        )
        if left_out:
            self.notice = f"The first {MOST_WORDS:,} words are shown, {left_out:,} are left out."

    def neighbours(self) -> Ranked:
        """Return the nearest neighbours of `word`, with their cosine similarities."""
        return nearest(self.word, self.words, self._vectors, SHOWN)

    def answers(self) -> Ranked:
        """Return the ranked answers to b - a + c under the present settings."""
        return analogy(
            *(self.a, self.b, self.c, self.words, self._vectors, SHOWN),
            normalise=self.normalise,
            exclude_inputs=self.exclude_inputs,
        )

    def describe(self) -> str:
        """Return both rankings in short; `describe` in embeddings.js says the same."""
        return (
            f"Nearest to {self.word}: {_told(self.neighbours())}. "
            f"{self.b} − {self.a} + {self.c}: {_told(self.answers())}."
        )

    def points(self) -> np.ndarray:
        """Return where every word is on the map that is shown, (V, 2)."""
        if self.plane == "analogy":
            place = {word: i for i, word in enumerate(self.words)}
            return plane_of(self._vectors, *(place[w] for w in (self.a, self.b, self.c))).numpy()
        packed = self.arrays["points"]
        return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])

    def draw(self, figure: Any) -> None:
        """Draw the map with the two arrows, and the ranked answers."""
        left, right = figure.subplots(1, 2, width_ratios=(1.9, 1))
        answers = self.answers()
        points = self.points()
        place = {word: i for i, word in enumerate(self.words)}
        a, b, c = (points[place[word]] for word in (self.a, self.b, self.c))
        for start, end, style in ((a, b, "-"), (c, b - a + c, "--")):
            arrow = {"arrowstyle": "->", "color": "#1f6fc4", "lw": 1.6, "ls": style}
            left.annotate("", end, start, arrowprops=arrow)
        left.plot(*(b - a + c), "x", color="#b8520a", ms=8, mew=2)
        near = [word for word, _ in self.neighbours()[:3]]
        strong = dict.fromkeys((self.word, self.a, self.b, self.c, answers[0][0], *near))
        draw_points(left, self.words, points, self.groups, self.legend, list(strong))
        bars = right.barh(range(len(answers)), [score for _, score in answers], color="#1f6fc4")
        right.bar_label(bars, fmt="%.2f", fontsize=8, padding=3)
        right.set_yticks(range(len(answers)), [_plain(word) for word, _ in answers])
        right.invert_yaxis()
        right.grid(False)
        right.margins(x=0.25)
        right.set_title(_plain(f"{self.b} − {self.a} + {self.c} ="), fontsize=10)

    @traitlets.validate("word", "a", "b", "c")
    def _known(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        if self.words and value not in self.words:
            raise traitlets.TraitError(f"{name} must be one of the words, not {value!r}")
        return value


class TrainingMap(Explorer):
    """Watch vectors move while they are trained, and afterwards with a slider.

        live = TrainingMap(words, groups)
        live.show()
        train_skipgram(ids, len(words), on_step=live.add)

    Every moment is seen from the same side: that from which the newest vectors lie furthest apart
    (`pca`), turned so that the map does not jump from one moment to the next; only the last one
    lies as PCA gives it, the widest direction across.

    Args:
        words: V words, all different, in the order of the vectors' rows.
        groups: names of groups and the words in each; only these words are drawn. None draws all.

    Attributes:
        words: the words that are drawn.
        times: how much of the training was done at each recorded moment, in percent.
        moment: which of them is shown, in percent of the training.

    Raises:
        TypeError, ValueError: no list of different words, or a group with other words.
    """

    script = "training_map.js"

    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    groups = traitlets.List(traitlets.Int()).tag(sync=True)
    legend = traitlets.List(traitlets.Unicode()).tag(sync=True)
    times = traitlets.List(traitlets.Int()).tag(sync=True)
    moment = traitlets.Int(0).tag(sync=True)

    def __init__(self, words: Sequence[str], groups: Groups | None = None) -> None:
        require_words_and_vectors(words, torch.zeros(len(words), 1))
        numbers = _group_numbers(words, groups)
        self._rows = [i for i, n in enumerate(numbers) if n >= 0 or not groups]
        self._n_words = len(words)
        self._history: list[Tensor] = []
        self._directions: Tensor | None = None
        self._handle: DisplayHandle | None = None
        super().__init__(
            words=[words[i] for i in self._rows],
            groups=[numbers[i] for i in self._rows],
            legend=list(groups or {}),
            arrays={"moments": pack(np.zeros((0, len(self._rows), 2)))},
        )

    def show(self) -> None:
        """Show the map under the running cell; its saved picture is that of the last moment."""
        self._handle = display(self, display_id=True)

    def add(self, done: float, vectors: Tensor) -> None:
        """Record where the words are now, at most once for every two percent of the training.

        Args:
            done: how much of the training is done, from 0 to 1.
            vectors: (V, C), a row for each word.

        Raises:
            TypeError, ValueError: a share outside 0 to 1, or vectors that do not fit the words.
        """
        require_range("done", done, 0.0, 1.0)
        percent = int(100 * done)
        if self.times and (percent < min(100, self.times[-1] + 2) or self.times[-1] == 100):
            return
        if not isinstance(vectors, Tensor) or vectors.dim() != 2 or len(vectors) != self._n_words:
            raise ValueError(
                f"vectors must be a tensor with a row for each of {self._n_words} words"
            )
        self._history.append(vectors[self._rows].detach().float().cpu().clone())
        with self.hold_sync():
            self.arrays = {"moments": pack(self._seen_from_one_side(percent == 100))}
            self.times = [*self.times, percent]
            self.moment = percent
        if percent == 100 and self._handle is not None:
            self._handle.update(self)

    def _seen_from_one_side(self, last: bool) -> Tensor:
        """Return every moment on the plane of the newest one, (F, V, 2)."""
        newest = self._history[-1]
        _, directions = pca(newest, 2)  # (2, C)
        if self._directions is not None and not last:  # turn it so that it lies like the one before
            left, _, right = torch.linalg.svd(self._directions @ directions.T)
            directions = left @ right @ directions  # (2, 2) @ (2, C)
        self._directions = directions
        return (torch.stack(self._history) - newest.mean(dim=0)) @ directions.T  # (F, V, 2)

    def _moments(self) -> np.ndarray:
        packed = self.arrays["moments"]
        return np.frombuffer(packed["data"], dtype="<f4").reshape(packed["shape"])

    def _now(self) -> int:
        """Return the number of the moment that is shown."""
        return max(0, sum(time <= self.moment for time in self.times) - 1)

    def describe(self) -> str:
        """Return how far the training shown is; `draw` in training_map.js says the same."""
        if not self.times:
            return "No vectors yet: the training has not begun."
        return f"{len(self.words)} words after {self.times[self._now()]} % of the training."

    def draw(self, figure: Any) -> None:
        """Draw where the words are at the present moment, and the ways that they came."""
        axes = figure.subplots()
        if not self.times:
            axes.text(0.5, 0.5, self.describe(), ha="center", transform=axes.transAxes)
            axes.axis("off")
            return
        moments = self._moments()[: self._now() + 1]  # (F, V, 2)
        for word in range(len(self.words)):
            axes.plot(*moments[:, word].T, color="0.86", linewidth=0.5, zorder=0)
        draw_points(axes, self.words, moments[-1], self.groups, self.legend, [])
        axes.set_title(self.describe(), fontsize=10)

    @traitlets.validate("moment")
    def _in_range(self, proposal: Any) -> int:
        return in_range(proposal, 0, 100)


def flat_map(vectors: Tensor) -> Tensor:
    """Return all vectors, made equally long, along the two directions of most spread: (V, 2)."""
    rows = unit(vectors)
    points, _ = pca(rows, min(2, rows.shape[1]))
    return torch.nn.functional.pad(points, (0, 2 - points.shape[1]))  # (V, 2), a line of (V, 1) too


def plane_of(vectors: Tensor, a: int, b: int, c: int) -> Tensor:
    """Return all vectors, made equally long, seen from the plane of three of them: (V, 2).

    Row `a` is the origin and b - a points to the right, so that a, b, c and b - a + c form a true
    parallelogram. `planeOf` in embeddings.js does the same.
    """
    rows = unit(vectors)
    across = unit(rows[b] - rows[a])  # (C,)
    step = rows[c] - rows[a]
    up = unit(step - (step @ across) * across)  # (C,)
    return (rows - rows[a]) @ torch.stack([across, up], dim=1)  # (V, C) @ (C, 2)


def draw_points(
    axes: Any,
    words: Sequence[str],
    points: np.ndarray,
    groups: Sequence[int],
    legend: Sequence[str],
    strong: Sequence[str],
) -> None:
    """Draw points with their groups' colours and marks, and names where there is room."""
    for number in sorted(set(groups)):
        rows = [i for i, group in enumerate(groups) if group == number]
        mark, ink = (".", "0.6") if number < 0 else (_MARKS[number % 8], _INKS[number % 8])
        label = legend[number] if number >= 0 else None
        axes.plot(*points[rows].T, mark, color=ink, ms=4, label=label)
    axes.set_aspect("equal", "datalim")
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.margins(0.1)
    if legend:
        axes.legend(
            fontsize=7, ncols=4, loc="upper center", bbox_to_anchor=(0.5, 0.0), frameon=False
        )
    _write_names(axes, words, points, strong)


def _write_names(
    axes: Any, words: Sequence[str], points: np.ndarray, strong: Sequence[str]
) -> None:
    """Write the points' names, those of `strong` first and in bold, others where there is room."""
    wide, high = np.ptp(points, axis=0)
    letter = max(0.0115 * wide, 0.02 * high)  # about the width of a letter on the map
    taken: list[tuple[float, float, float, float]] = []
    first = [i for i, word in enumerate(words) if word in strong]
    for i in first + [i for i in range(len(words)) if i not in first]:
        bold = i in first
        width, height = len(words[i]) * letter * (1.3 if bold else 1), 1.9 * letter
        x, y = points[i]
        corners = [(x + letter, y), (x - letter - width, y), (x - width / 2, y + height)]
        corners.append((x - width / 2, y - height))
        free = [
            (left, middle)
            for left, middle in corners
            if not any(
                left < right and left + width > start and abs(middle - other) < (height + h) / 2
                for start, right, other, h in taken
            )
        ]
        if not free and not bold:
            continue
        left, middle = (free or corners)[0]
        taken.append((left, left + width, middle, height))
        size, weight, ink = (8, "bold", "black") if bold else (6.5, "normal", "0.35")
        name = _plain(words[i])
        axes.text(left, middle, name, fontsize=size, weight=weight, color=ink, va="center")


def _group_numbers(words: Sequence[str], groups: Groups | None) -> list[int]:
    """Return for every word the number of its group, or -1.

    Raises:
        TypeError: groups is no dict of word lists.
        ValueError: a group holds a word that is not there.
    """
    numbers = dict.fromkeys(words, -1)
    if groups is not None and not isinstance(groups, Mapping):
        raise TypeError(f"groups must be a dict of word lists, not {type(groups).__name__}")
    for number, (name, members) in enumerate((groups or {}).items()):
        if isinstance(members, str):
            raise TypeError(f"groups[{name!r}] must be a list of words, not the string {members!r}")
        for word in members:
            if word not in numbers:
                raise ValueError(f"groups[{name!r}] holds {word!r}, which is not one of the words")
            numbers[word] = number
    return list(numbers.values())


def _inputs_among(words: list[str], inputs: Any) -> tuple[str, str, str]:
    """Return three of the words for an analogy: those asked for, or man, king, woman, or any."""
    if inputs is None:
        usual = ("man", "king", "woman")
        return usual if set(usual) <= set(words) else tuple(words[:3])
    if isinstance(inputs, str) or not isinstance(inputs, Sequence) or len(inputs) != 3:
        raise TypeError(f"inputs must be three words (a, b, c), not {inputs!r}")
    for name, word in zip("abc", inputs, strict=True):
        if word not in words:
            raise ValueError(f"inputs: {name} is {word!r}, which is not one of the words")
    return tuple(inputs)


def _told(ranked: Ranked) -> str:
    return ", ".join(f"{word} ({score:.2f})".replace("(-", "(−") for word, score in ranked[:3])


def _plain(text: str) -> str:
    """Return a text with no sign that starts a formula in matplotlib."""
    return text.replace("$", r"\$")
