"""ONNX files of an export, for others' runtimes: pixels or waveform in, embedding out; no decoding, no limits.

DIR/<version>/onnx/pixels.onnx      pixels uint8 [N, S, S, 3] -> embedding float32 [N, D]
DIR/<version>/onnx/waveform.onnx    waveform float32 [N, samples] -> embedding
DIR/<version>/onnx/classify_pixels.onnx    pixels -> probabilities float32 [N, C]; metadata "classes" has their names
"""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.export.quietly import quietly
from tfssl.export.signatures.classifier import PIXELS, tensors_of

FOLDER = "onnx"
OPSET = 18


def require_onnx() -> None:
    """Raise UserError where a package of the extra is missing."""
    for name in ("onnx", "tf2onnx", "onnxruntime"):
        if importlib.util.find_spec(name) is None:
            raise UserError(f"ONNX needs {name}, which is not installed; pip install 'tfssl[onnx]'")


def write_onnx(folder: Path, encoders: Mapping[str, keras.Model], classes: Sequence[str] = ()) -> None:
    """Convert encoders to files in `folder`/onnx; N is open.

    Args:
      folder: the folder of one version.
      encoders: "pixels" and, where there is one, "waveform"; of a classifier "classify_pixels" too.
      classes: of a classifier.

    Raises:
      UserError: tf2onnx is missing, or does not know an op.
    """
    require_onnx()
    import onnx
    import tf2onnx

    (folder / FOLDER).mkdir()
    for kind, encoder in encoders.items():
        input_name, output_name = tensors_of(kind)
        spec = [tf.TensorSpec(encoder.input_shape, encoder.inputs[0].dtype, name=input_name)]
        function = tf.function(
            lambda rows, encoder=encoder, output=output_name: {output: encoder(rows, training=False)},
            input_signature=spec,
        )
        try:
            with quietly():
                model, _ = tf2onnx.convert.from_function(function, spec, opset=OPSET)
                onnx.checker.check_model(model)  # tf2onnx leaves ops in it that ONNX has not, and says so in its log
        except Exception as problem:  # tf2onnx has no kinds of its own
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]
            raise UserError(
                f"{kind} cannot be converted to ONNX ({reason[:200]}); choose another trunk, or leave out --onnx"
            ) from problem
        if kind == PIXELS:
            onnx.helper.set_model_props(model, {"classes": json.dumps(list(classes), ensure_ascii=False)})
        (folder / FOLDER / f"{kind}.onnx").write_bytes(model.SerializeToString())


def onnx_files(version: Path) -> list[str]:
    """Return the names of the ONNX files of a version."""
    return sorted(path.name for path in (version / FOLDER).glob("*.onnx"))


class OnnxEncoder:
    """An ONNX file as a function: input [N, ...] -> its output, float32 [N, D]. UserError where it cannot be read."""

    def __init__(self, path: Path):
        require_onnx()
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as problem:  # onnxruntime has a dozen kinds of its own, without a common one
            reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
            raise UserError(f"{path} cannot be replayed ({reason[:200]}); export the run again") from problem
        (self._input,) = (each.name for each in self._session.get_inputs())
        (self._output,) = (each.name for each in self._session.get_outputs())

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return self._session.run([self._output], {self._input: rows})[0]
