"""TFLite files of an export, for phones and small machines: one a modality and precision, of built-in ops only.

DIR/<version>/tflite/pixels_float32.tflite    uint8 [N, S, S, 3] -> embedding float32 [N, D]
DIR/<version>/tflite/waveform_int8.tflite     float32 [N, samples] -> embedding
DIR/<version>/tflite/classify_pixels_float32.tflite    uint8 [N, S, S, 3] -> probabilities float32 [N, C]
DIR/<version>/tflite/files.json               of each: input, its shape, type and range, stage, size in bytes
"""

import io
import json
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.export.formats.quantization import quantise, require_quantizer
from tfssl.export.formats.samples import sample
from tfssl.export.quietly import quietly
from tfssl.export.signatures.classifier import PIXELS, tensors_of
from tfssl.export.signatures.encoder import Signature
from tfssl.export.signatures.saving import write_saved_model
from tfssl.pipelines.sources.any_source import AnySource, open_source

PRECISIONS = ("float32", "float16", "int8")
FOLDER, INDEX = "tflite", "files.json"
REPRESENTATIVE = 128
"""Pictures, or windows of sound, of the run's own source from which int8 learns the ranges of its layers."""
BATCH = 8
"""Examples at a time, as all that the layers give is held in memory."""


def check_precisions(given: str | Sequence[str]) -> tuple[str, ...]:
    """Parse 'float32, int8' or a sequence as the precisions, in order.

    Raises:
      UserError: an unknown one, or int8 without the extra that makes it.
    """
    names = [each.strip() for each in given.split(",")] if isinstance(given, str) else list(given)
    names = [name for name in names if name]
    for name in names:
        if name not in PRECISIONS:
            raise UserError(f"--tflite {name} is given, expected some of {','.join(PRECISIONS)}")
    if "int8" in names:
        require_quantizer()
    return tuple(dict.fromkeys(names))


def write_tflite(
    folder: Path,
    encoders: Mapping[str, keras.Model],
    precisions: Sequence[str],
    source: AnySource | None,
    facts: Mapping[str, Any],
    attached: tuple[str, bytes] | None = None,
) -> None:
    """Convert encoders to files in `folder`/tflite, without the limits of requests that a SavedModel has.

    float32 computes as TensorFlow does. float16 has weights of half the size. int8 computes with whole numbers, its
    ranges learned from the run's own data, but for some layers: see `export.quantising`.

    Args:
      folder: the folder of one version.
      encoders: "pixels" and, where there is one, "waveform"; of a classifier "classify_pixels" too.
      precisions: some of `PRECISIONS`.
      source: the source of the pictures and sounds from which int8 learns; the toy world where None.
      facts: kept in files.json with each file; "classes" is attached to that of a classifier.
      attached: a file to attach to each: its name, and what is in it.

    Raises:
      UserError: ops that TFLite has not built in; int8 without its extra.
    """
    to, index = folder / FOLDER, {}
    to.mkdir()
    for kind, encoder in encoders.items():
        input_name, output_name = tensors_of(kind)
        plain = _convert(encoder, kind, precisions)
        for precision in precisions:
            name = f"{kind}_{precision}.tflite"
            if precision == "int8":
                made = quantise(plain["float32"], kind, _examples(input_name, source, encoder), input_name)
            else:
                made = plain[precision]
            if kind == PIXELS:
                made = _with_file(made, "labels.txt", "".join(f"{name}\n" for name in facts["classes"]).encode())
            if attached:
                made = _with_file(made, *attached)
            (to / name).write_bytes(made)
            index[name] = {
                "signature": kind,
                "precision": precision,
                "input": {
                    "name": input_name,
                    "shape": list(encoder.input_shape),
                    "dtype": encoder.inputs[0].dtype,
                    "range": _range(input_name, encoder),
                },
                "output": output_name,
                "bytes": len(made),
                **facts,
            }
    (to / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def tflite_files(version: Path) -> dict[str, dict[str, Any]]:
    """Read what files.json of a version says, name -> facts; {} where it has no TFLite files."""
    path = version / FOLDER / INDEX
    return json.loads(path.read_text()) if path.is_file() else {}


class TFLiteEncoder:
    """A TFLite file as a function: input [N, ...] -> embedding float32 [N, D].

    Raises:
      UserError: LiteRT is not installed.
    """

    def __init__(self, path: Path, threads: int = 1):
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as problem:
            raise UserError("TFLite files are run by LiteRT; pip install 'tfssl[devices]'") from problem
        with quietly():  # it tells which delegate it made
            self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        self._rows = -1

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) != self._rows:  # memory is laid out anew for another count of rows
            self._interpreter.resize_tensor_input(self._input["index"], rows.shape)
            with quietly():
                self._interpreter.allocate_tensors()
            self._rows = len(rows)
        self._interpreter.set_tensor(self._input["index"], rows)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output["index"])


def _with_file(model: bytes, name: str, content: bytes) -> bytes:
    """Attach a file, where TFLite's own tools attach it: a zip behind the model, which interpreters pass over."""
    file = io.BytesIO(model)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _range(input_name: str, encoder: keras.Model) -> list[float]:
    if input_name == "numbers":
        return [0, encoder.layers[-1].input_dim - 1]
    return [0, 255] if input_name == "pixels" else [-1.0, 1.0]


def _convert(encoder: keras.Model, kind: str, precisions: Sequence[str]) -> dict[str, bytes]:
    """Convert to each precision: precision -> the file. In place of int8 it is float32, from which int8 is made."""
    input_name, output_name = tensors_of(kind)
    spec = tf.TensorSpec(encoder.input_shape, encoder.inputs[0].dtype, name=input_name)
    signature = Signature(kind, (spec,), lambda rows: {output_name: encoder(rows, training=False)})
    with tempfile.TemporaryDirectory() as plain:
        write_saved_model([signature], Path(plain))
        needed = {"float32" if precision == "int8" else precision for precision in precisions}
        return {precision: _convert_saved(plain, kind, precision) for precision in needed}


def _convert_saved(folder: str, kind: str, precision: str) -> bytes:
    try:
        with quietly():
            converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[kind])
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            if precision == "float16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            return converter.convert()
    except Exception as problem:  # the converter raises several kinds, bare Exception among them
        text = str(problem)
        ops = text.rpartition("Flex ops: ")[2].split("\n")[0] if "Flex ops: " in text else text.strip().split("\n")[-1]
        raise UserError(
            f"{kind} cannot be converted to TFLite of {precision} with built-in ops only ({ops[:200]});"
            " choose another trunk, or leave out --tflite"
        ) from problem


def _examples(kind: str, source: AnySource | None, encoder: keras.Model) -> Iterator[np.ndarray]:
    """Make small batches of what an encoder takes, for the ranges of int8."""
    if source is None:
        toy = "toy:images(count={})" if kind == "pixels" else "toy:clips(count={}, size=16)"
        source = open_source(toy.format(REPRESENTATIVE))
    return sample(kind, source, int(encoder.input_shape[1]), REPRESENTATIVE, BATCH)
