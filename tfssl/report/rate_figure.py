"""The report's figure of the range test that chose a learning rate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfssl.report.figures import QUIET, RANDOM, TRAINED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def rate_figure(found: Mapping[str, Any]) -> "Figure":
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
    axes.grid(axis="y", color="#e4eaec")
    return figure
