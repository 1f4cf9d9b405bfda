"""What a run learns with: its optimizer, and the learning rate that a range test found for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfssl.multitask import rate_range
from tfssl.multitask.encoders import Plans
from tfssl.multitask.model import compile_model, make_model
from tfssl.multitask.optimizers import make_optimizer
from tfssl.multitask.puzzle_stream import stream
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources.any_source import AnySource
from tfssl.runs.config import Training
from tfssl.tasks.base import PretextTask
from tfssl.training.config import Complete


def optimizer_of(settings: Training) -> keras.optimizers.Optimizer:
    """Make the optimizer of a run; it is not built yet."""
    return make_optimizer(
        settings.momentum,
        settings.weight_decay,
        settings.optimizer,
        settings.clip_norm,
        settings.accumulate,
        settings.ema,
    )


def find_learning_rate(
    settings: Complete,
    tasks: Sequence[PretextTask],
    plans: Plans,
    source: AnySource,
    scales: Mapping[str, float],
) -> dict[str, Any]:
    """Choose the peak of the learning rate by a range test, on a network that is thrown away: see `rate_range`.

    In float32 and on one device. The seed decides on the network and the puzzles, which are the first ones of the run.

    Args:
      scales: what the tasks' losses are divided by.

    Returns:
      "rates" and "losses" of each update (of a loss that was not finite and those after it, none), "chosen", and
      "found": whether the loss fell at all. Where it did not, the optimizer's own rate is chosen.
    """
    keras.utils.set_random_seed(settings.seed)
    dataset = stream(source, tasks, settings.size, settings.batch_size, settings.seed, verbose=settings.verbose)
    encoders = plans.make()
    model = make_model(tasks, encoders, dataset.element_spec)
    compile_model(model, tasks, encoders, optimizer_of(settings), mixing=settings.mixing, scales=scales)
    tried = rate_range.rates(settings.peak)
    with Progress("learning rates tried", settings.tasks, len(tried), settings.verbose) as progress:
        losses = rate_range.losses(model, dataset, tried, settings.accumulate, progress.add)
    chosen = rate_range.choose(tried, losses)
    return {
        "rates": [float(f"{rate:.6g}") for rate in tried],
        "losses": [float(f"{loss:.6g}") for loss in losses],
        "chosen": float(f"{chosen or settings.peak:.6g}"),
        "found": chosen is not None,
    }
