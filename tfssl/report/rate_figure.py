"""The report's figure of the range test that chose a learning rate."""

from collections.abc import Mapping
from typing import Any

from tfssl.report.drawn import Drawn, new_figure
from tfssl.report.palette import GRID, QUIET, RANDOM, TRAINED


def rate_figure(found: Mapping[str, Any]) -> Drawn:
    """Draw the loss of each update by its learning rate, smoothed too, and the rate that was chosen.

    Args:
      found: "rates", "losses", "chosen", as `Run.prepared["learning_rate"]` has them.
    """
    from tfssl.multitask.rate_range import smoothed

    figure, axes = new_figure()
    losses = found["losses"]
    rates, means = found["rates"][: len(losses)], smoothed(losses)
    axes.plot(rates, losses, color=RANDOM, linewidth=1)
    axes.plot(rates, means, color=TRAINED, linewidth=1.6)
    axes.axvline(found["chosen"], color=QUIET, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    if len(losses):
        # A loss that explodes would press the rest flat.
        low, first = float(means.min()), float(means[0])
        room = max(first - low, 0.05 * abs(first))
        axes.set_ylim(low - 0.5 * room, first + room)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss")
    axes.grid(axis="y", color=GRID)
    said = f"Loss by learning rate; {found['chosen']:.3g} was chosen"
    rows = list(zip(rates, losses, means.tolist(), strict=True))
    return Drawn(figure, said, ("learning rate", "loss", "mean of losses"), rows)
