"""The moving average of a model's weights, which its optimizer keeps: taken for a while, or for good."""

import contextlib
from collections.abc import Iterator

import keras


def averages(model: keras.Model) -> list[keras.Variable]:
    """Return the moving averages in the order of the model's trainable weights; [] where its optimizer has none."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # of Keras's LossScaleOptimizer
    return optimizer._model_variables_moving_average if optimizer.use_ema else []


def begin(model: keras.Model) -> None:
    """Give averages the weights that a run begins with. Keras has zeros there until the first update."""
    for variable, average in _pairs(model):
        average.assign(variable.numpy())


def take(model: keras.Model) -> None:
    """Give a model the averages of its weights for good."""
    for variable, average in _pairs(model):
        variable.assign(average.numpy())


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Give a model the averages of its weights within the block, and then its own back, to the bit.

    Keras's SwapEMAWeights (3.15) swaps by adding and subtracting, which rounds: a run that was looked at would not be
    the same run.
    """
    own = [(variable, variable.numpy()) for variable, _ in _pairs(model)]
    take(model)
    try:
        yield
    finally:
        for variable, value in own:
            variable.assign(value)


def _pairs(model: keras.Model) -> list[tuple[keras.Variable, keras.Variable]]:
    found = averages(model)
    return list(zip(model.trainable_variables, found, strict=True)) if found else []
