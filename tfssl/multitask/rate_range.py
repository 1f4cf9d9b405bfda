"""A range test: which learning rate does a network take? (Smith 2017, arXiv 1506.01186.)

The learning rate rises from update to update on a network that is thrown away. Too low, the loss stays; then it falls;
then it rises. A rate is chosen that lies a factor below the lowest loss before it rises. Not the lowest of all, since
networks with batch norm come down again at rates that wreck them when training begins with these. (Rotation on
CIFAR-10, resnet10(width=8), 32 pictures a step: the loss fell to 1.35 at 0.3, rose to 1.41 at 0.6, and fell to 1.26 at
4. In 150 steps at a peak of 1.3, a third of that, nothing was learned.)
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

UPDATES = 100
BELOW, ABOVE = 1e-3, 1e2
"""The lowest and the highest rate, in parts of the one that the optimizer has where none is given."""
WINDOW = 9
"""Updates that a smoothed loss is the mean of: four before, four after."""
MARGIN = 3.0
"""The rate that is chosen is so many times lower than that of the lowest loss, where training is about to fail."""
CLEAR_ERRORS, CLEAR_SHARE = 3.0, 0.01
"""What a fall or a rise must be more than: standard errors, and part of the loss at first."""


def rates(usual: float) -> list[float]:
    """List the rates, in equal ratios."""
    return [usual * BELOW * (ABOVE / BELOW) ** (update / (UPDATES - 1)) for update in range(UPDATES)]


def losses(
    model: keras.Model, dataset: tf.data.Dataset, rates: Sequence[float], accumulate: int, tell: Callable[[int], None]
) -> list[float]:
    """Train a compiled model, an update at each rate; return the loss before each, until one is not finite.

    Args:
      model: used for nothing else.
      dataset: endless batches of (puzzles, answers, weights).
      accumulate: batches that make an update.
      tell: is called with 1 after each update.
    """
    found: list[float] = []
    batches = iter(dataset)
    for rate in rates:
        model.optimizer.learning_rate = rate
        model.reset_metrics()
        logs: dict[str, Any] = {}
        for _ in range(accumulate):
            logs = model.train_on_batch(*next(batches), return_dict=True)
        if not math.isfinite(float(logs["loss"])):
            break
        found.append(float(logs["loss"]))
        tell(1)
    return found


def smoothed(losses: Sequence[float]) -> np.ndarray:
    """Return means over `WINDOW` updates around each, over those that there are at both ends, float64."""
    values, half = np.asarray(losses, np.float64), WINDOW // 2
    return np.array([values[max(0, place - half) : place + half + 1].mean() for place in range(len(values))])


def choose(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Choose a rate: a third (`MARGIN`) of that of the lowest smoothed loss, before it clearly rises from there.

    A fall or a rise is clear where it is more than three standard errors of the smoothed losses, and one per cent of
    the loss at first. As long as the loss has not clearly fallen below that of the first updates, whose rates change
    next to nothing, no rise counts; None where it never does.
    """
    if len(losses) <= WINDOW:
        return None
    curve, error = smoothed(losses), _errors(losses)
    lowest = start = WINDOW // 2

    def is_below(one: int, other: int) -> bool:
        noise = math.hypot(error[one], error[other])
        return bool(curve[other] - curve[one] > max(CLEAR_ERRORS * noise, CLEAR_SHARE * abs(curve[start])))

    for place in range(start, len(curve)):
        if is_below(lowest, start) and is_below(lowest, place):
            break
        if curve[place] < curve[lowest]:
            lowest = place
    return rates[lowest] / MARGIN if is_below(lowest, start) else None


def _errors(losses: Sequence[float]) -> np.ndarray:
    """Return standard errors of `smoothed`, by the differences of neighbours, to which a trend adds little."""
    values, half = np.asarray(losses, np.float64), WINDOW // 2
    found = []
    for place in range(len(values)):
        around = values[max(0, place - half) : place + half + 1]
        found.append(math.sqrt(float(np.mean(np.diff(around) ** 2)) / 2 / len(around)))
    return np.array(found)


def sentence(found: Mapping[str, Any]) -> str:
    """Say what a range test chose, of what `find_learning_rate` in `tfssl.training.learning` returns."""
    updates = f"a range test of {len(found['rates'])} updates"
    if not found["found"]:
        return f"learning rate {found['chosen']:.3g}, the optimizer's own: the loss fell at no rate in {updates}"
    lowest = MARGIN * found["chosen"]
    return (
        f"learning rate {found['chosen']:.3g}, a third of the {lowest:.3g} at which the loss was lowest before it rose"
        f" in {updates}"
    )
