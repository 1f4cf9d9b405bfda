"""The state of a model's metrics: sums that are saved, put back, and subtracted from each other.

All metrics of tasks are means, or a function of one, and keep two sums: of what they measure, and of its weights. So
what was measured between two moments is the difference of the sums, exactly and whatever the weights were, put through
the metric's own `result`.
"""

import keras
import numpy as np
import tensorflow as tf


def read(model: keras.Model) -> np.ndarray:
    """Read the variables of the model's metrics, one after another, as float64. Wait for the device."""
    return np.concatenate([np.zeros(0), *(np.ravel(np.asarray(v)).astype(np.float64) for v in model.metrics_variables)])


def assign(model: keras.Model, sums: np.ndarray) -> None:
    """Assign what `read` gave; leave what comes after it in `sums` alone."""
    start = 0
    for variable in model.metrics_variables:
        size = int(np.prod(variable.shape))
        variable.assign(sums[start : start + size].reshape(variable.shape))
        start += size


def values(model: keras.Model, sums: np.ndarray) -> dict[str, float]:
    """Return the values of the metrics with these sums, by the names that Keras gives them.

    The model does not change.
    """
    results: dict[str, tf.Tensor] = {}
    start = 0
    for metric in model.metrics:
        parts = []
        for variable in metric.variables:
            size = int(np.prod(variable.shape))
            parts.append(sums[start : start + size].reshape(variable.shape))
            start += size
        with tf.device("CPU"):  # small numbers that are on this side already
            result = metric.stateless_result(parts)
        results |= result if isinstance(result, dict) else {metric.name: result}
    return {name: float(value) for name, value in sorted(results.items())}
