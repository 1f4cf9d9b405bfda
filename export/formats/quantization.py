"""int8 from a TFLite file of float32, by Google's AI Edge Quantizer: some layers are left in float."""

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np

from tfssl.base.errors import UserError
from tfssl.export.quietly import quietly

WEIGHTS_ONLY = ".*(log_mel|expanded_conv_(8|9|10)_|/conv_1_bn_).*"
"""Layers whose weights alone are int8.

The front end of sound encoders: the power of a spectrum spans more than eight bits can, and with such activations
nothing was left of some embeddings (cosine 0.34, now 0.9998). The last three blocks of MobileNetV3-Small, of 11, and
the convolution behind them: each of these blocks costs more than any other (cosine 0.98 to 0.99 by one, 0.999 by
another); with all in int8 k-NN on Caltech-101 lost 1.4 points, with the three blocks in float 0.7.
"""
LENGTH_1 = ".*length_1.*"
"""The layer that brings embeddings to length 1: the sum of squares has the same trouble."""
PLACES = ".*embedding_places.*"
"""The layer that averages a map to more places than one, as `MEAN` does to one: in float it loses half as much."""


def require_quantizer() -> None:
    """Raise UserError where AI Edge Quantizer is not installed."""
    if importlib.util.find_spec("ai_edge_quantizer") is None:
        raise UserError("int8 needs ai-edge-quantizer, which is not installed; pip install 'tfssl[devices]'")


def quantise(model: bytes, signature: str, examples: Iterable[np.ndarray], input_name: str | None = None) -> bytes:
    """Quantise a model of float32: int8 weights, per channel, and int8 activations; input and output stay as they are.

    Ranges of activations are the smallest and largest values on the examples (Jacob et al. 2018, arXiv 1712.05877).
    Hard swish stays in float: LiteRT has no fast kernel of it in int8 (MobileNetV3-Small at 96 px took 0.88 ms, 0.53
    in float32, and 0.34 with that; 0.45 with its last blocks as said above).
    Means over places, of which the embedding is one, stay in float too.

    Args:
      model: bytes of a TFLite file.
      signature: its name.
      examples: batches of inputs.
      input_name: that of its input; the signature's where None.
    """
    with quietly():
        from ai_edge_quantizer import quantizer
        from ai_edge_quantizer.algorithm_manager import AlgorithmName
        from ai_edge_quantizer.qtyping import TFLOperationName

        plan = quantizer.Quantizer(bytearray(model))
        plan.add_static_config(".*", TFLOperationName.ALL_SUPPORTED, 8, 8)
        for layers, operation in (
            (".*", TFLOperationName.INPUT),
            (".*", TFLOperationName.OUTPUT),
            (".*", TFLOperationName.HARD_SWISH),
            (".*", TFLOperationName.MEAN),
            (WEIGHTS_ONLY, TFLOperationName.ALL_SUPPORTED),
            (LENGTH_1, TFLOperationName.ALL_SUPPORTED),
            (PLACES, TFLOperationName.ALL_SUPPORTED),
        ):
            plan.update_quantization_recipe(layers, operation, algorithm_key=AlgorithmName.NO_QUANTIZE)
        for name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            plan.add_weight_only_config(WEIGHTS_ONLY, TFLOperationName[name], 8)
        ranges: dict[str, Any] = {}
        for batch in examples:  # one at a time: of several the quantizer would take a moving average
            for name, extremes in plan.calibrate(
                {signature: [{input_name or signature: batch}]}, num_threads=1
            ).items():
                totals = ranges.setdefault(name, dict(extremes))
                totals["min"] = np.minimum(totals["min"], extremes["min"])
                totals["max"] = np.maximum(totals["max"], extremes["max"])
        return bytes(plan.quantize(ranges, enable_progress_report=False).quantized_model)
