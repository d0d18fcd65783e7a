"""`OptimizerExplorer`: optimizers walk down a valley of two parameters, step by step."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import traitlets

from llm_core.validate import require_choice
from llm_core.widgets.base import Explorer, in_range, pack, written

LANDSCAPES = {"valley": "valley", "turned": "turned valley", "bend": "bent valley"}
METHODS = {
    "sgd": "SGD",
    "momentum": "Momentum",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "adamw": "AdamW",
}

STEEPNESS = 25.0
"""Of the valley's walls, as a multiple of that of its floor."""

MOST_STEPS = 200
EDGE = 1e3
"""A path that is further out than this is drawn no further."""

EPS = 1e-8
WIDTH, HEIGHT = 4.0, 2.5
"""Half the width and height of what the map shows."""

RANGES = {
    "log_lr": (-3.0, 0.6),
    "beta1": (0.0, 0.99),
    "beta2": (0.5, 0.999),
    "decay": (0.0, 1.0),
    "noise": (0.0, 5.0),
    "steps": (1, MOST_STEPS),
    "x": (-WIDTH, WIDTH),
    "y": (-HEIGHT, HEIGHT),
}
"""The lowest and the highest value of each number that can be set."""


class OptimizerExplorer(Explorer):
    """Choose an optimizer and its settings, and see the path that it takes down a valley.

    The browser walks and draws; `path` walks the same way here. State is in the traits below.

        explorer = OptimizerExplorer()
        explorer.method, explorer.log_lr = "adam", -0.5

    Args:
        method: "sgd", "momentum", "rmsprop", "adam" or "adamw".
        landscape: "valley" (walls along the axes), "turned" (the same, turned by 45 degrees) or
            "bend" (its floor is a curve).

    Attributes:
        method, landscape: as above.
        log_lr: the learning rate as a power of ten, -3 to 0.6.
        beta1: how slowly the mean of the gradient forgets, 0 to 0.99.
        beta2: how slowly the mean of its square forgets, 0.5 to 0.999.
        correct: whether the means are corrected for starting at 0.
        decay: weight decay, 0 to 1; AdamW applies it to the weights, all others to the gradient.
        noise: spread of the noise in the gradient, as from a small batch, 0 to 5.
        steps: how many steps are taken, 1 to 200.
        x, y: where the path begins.

    Raises:
        ValueError: no such method or landscape.
    """

    script = "optimizers.js"

    landscape = traitlets.Enum(list(LANDSCAPES), "valley").tag(sync=True)
    method = traitlets.Enum(list(METHODS), "sgd").tag(sync=True)
    log_lr = traitlets.Float(-1.2).tag(sync=True)
    beta1 = traitlets.Float(0.9).tag(sync=True)
    beta2 = traitlets.Float(0.99).tag(sync=True)
    correct = traitlets.Bool(True).tag(sync=True)
    decay = traitlets.Float(0.0).tag(sync=True)
    noise = traitlets.Float(0.0).tag(sync=True)
    steps = traitlets.Int(60).tag(sync=True)
    x = traitlets.Float(-3.0).tag(sync=True)
    y = traitlets.Float(1.5).tag(sync=True)

    def __init__(self, method: str = "sgd", landscape: str = "valley") -> None:
        require_choice("method", method, tuple(METHODS))
        require_choice("landscape", landscape, tuple(LANDSCAPES))
        generator = torch.Generator().manual_seed(0)
        table = torch.randn(MOST_STEPS, 2, generator=generator)
        self._noise = table.double().numpy()
        super().__init__(method=method, landscape=landscape, arrays={"noise": pack(table)})

    def path(self) -> np.ndarray:
        """Return the points of the path, (n + 1, 2), the start first; n = steps inside the map."""
        settings = Settings(
            lr=10**self.log_lr,
            beta1=self.beta1,
            beta2=self.beta2,
            correct=self.correct,
            decay=self.decay,
        )
        noise = self.noise * self._noise[: self.steps]
        return walk(self.landscape, self.method, settings, (self.x, self.y), noise)

    def describe(self) -> str:
        """Return the settings and where the path ends; optimizers.js says the same."""
        path = self.path()
        x, y = path[-1]
        said = (
            f"{METHODS[self.method]} in the {LANDSCAPES[self.landscape]}, "
            f"learning rate {_rate(self.log_lr)}: "
        )
        if outside(x, y):
            return said + f"it leaves the map for good, by step {len(path) - 1}."
        above = height(self.landscape, x, y)
        how_far = f"{above:.3f}" if above >= 0.001 else "less than 0.001"
        return said + (
            f"after {self.steps} steps at ({written(x)}, {written(y)}), "
            f"{how_far} above the lowest point."
        )

    def draw(self, figure: Any) -> None:
        """Draw the map with the path, and the height at every step."""
        left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
        path = self.path()
        xs, ys = np.meshgrid(np.linspace(-WIDTH, WIDTH, 200), np.linspace(-HEIGHT, HEIGHT, 125))
        heights = np.vectorize(lambda x, y: height(self.landscape, x, y))(xs, ys)
        left.contourf(xs, ys, np.log2(1 + 4 * heights), levels=14, cmap="Blues")
        left.plot(*path.T, ".-", color="#b8520a", linewidth=1.2, markersize=3)
        left.plot(*path[0], "o", color="black", markersize=6)
        left.plot(*lowest(self.landscape), "+", color="black", markersize=11)
        left.set(xlim=(-WIDTH, WIDTH), ylim=(-HEIGHT, HEIGHT))
        left.set_xlabel("first parameter", fontsize=9)
        left.set_ylabel("second parameter", fontsize=9)
        left.grid(False)
        right.semilogy([max(height(self.landscape, *point), 1e-8) for point in path])
        right.set_xlabel("step", fontsize=9)
        right.set_title("height (loss)", fontsize=9)
        name = f"{METHODS[self.method]}, learning rate {_rate(self.log_lr)}"
        figure.suptitle(name, fontsize=11)

    @traitlets.validate(*RANGES)
    def _in_range(self, proposal: Any) -> float:
        return in_range(proposal, *RANGES[proposal["trait"].name])


@dataclass(frozen=True)
class Settings:
    """How an optimizer steps: see the attributes of `OptimizerExplorer`."""

    lr: float
    beta1: float = 0.9
    beta2: float = 0.99
    correct: bool = True
    decay: float = 0.0


def height(landscape: str, x: float, y: float) -> float:
    """Return the loss at a point; it is 0 at `lowest(landscape)` and above 0 everywhere else."""
    if landscape == "bend":
        return 0.5 * (x - 2) ** 2 + 8 * (y - x * x / 8) ** 2
    along, across = _along_and_across(landscape, x, y)
    return 0.5 * (along**2 + STEEPNESS * across**2)


def slope(landscape: str, x: float, y: float) -> tuple[float, float]:
    """Return the gradient of `height` at a point."""
    if landscape == "bend":
        off = y - x * x / 8
        return (x - 2) - 4 * x * off, 16 * off
    along, across = _along_and_across(landscape, x, y)
    if landscape == "valley":
        return along, STEEPNESS * across
    root = math.sqrt(0.5)
    return root * (along - STEEPNESS * across), root * (along + STEEPNESS * across)


def lowest(landscape: str) -> tuple[float, float]:
    """Return the point where the loss is 0."""
    return (2.0, 0.5) if landscape == "bend" else (1.0, 0.5)


def _along_and_across(landscape: str, x: float, y: float) -> tuple[float, float]:
    """Return how far a point is from the lowest one, along the valley's floor and across it."""
    dx, dy = x - 1, y - 0.5
    if landscape == "valley":
        return dx, dy
    root = math.sqrt(0.5)
    return root * (dx + dy), root * (dy - dx)


def outside(x: float, y: float) -> bool:
    """Say whether a path that has come here has left the map for good."""
    return not (abs(x) <= EDGE and abs(y) <= EDGE)


def walk(
    landscape: str,
    method: str,
    settings: Settings,
    start: tuple[float, float],
    noise: np.ndarray,
) -> np.ndarray:
    """Return the path of an optimizer, (n + 1, 2) with the start first.

    Args:
        landscape, method: see `OptimizerExplorer`.
        settings: the learning rate and the rest.
        start: where it begins.
        noise: added to the gradient of each step, (n, 2); its length is the number of steps. The
            path ends early when it has left the map.
    """
    w, m, v = np.array(start, dtype=float), np.zeros(2), np.zeros(2)
    points = [w]
    averages = method in ("momentum", "adam", "adamw")
    scales = method in ("rmsprop", "adam", "adamw")
    for t, shake in enumerate(noise, start=1):
        g = np.array(slope(landscape, *w)) + shake
        if method == "adamw":
            w = w - settings.lr * settings.decay * w
        else:
            g = g + settings.decay * w
        m = settings.beta1 * m + (1 - settings.beta1) * g
        v = settings.beta2 * v + (1 - settings.beta2) * g * g
        m_hat = m / (1 - settings.beta1**t) if settings.correct else m
        v_hat = v / (1 - settings.beta2**t) if settings.correct else v
        step = m_hat if averages else g
        w = w - settings.lr * (step / (np.sqrt(v_hat) + EPS) if scales else step)
        points.append(w)
        if outside(*w):
            break
    return np.array(points)


def _rate(log_lr: float) -> str:
    """Return a learning rate with two significant digits."""
    return f"{float(f'{10**log_lr:.2g}'):g}"
