"""One version of an export, loaded as TensorFlow Serving loads it: a graph in a session, not Python objects.

Where a whole version is loaded beside one that is answering, this takes a third of the time, and its memory comes back.
"""

import dataclasses
import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tensorflow as tf

from tfssl.export.quietly import only_errors_logged
from tfssl.export.server.errors import RequestError, from_tensorflow, invalid

DEFAULT = "serving_default"
METHOD = "tensorflow/serving/predict"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What an input must be: its dtype, and its shape with None where any number of it will do."""

    name: str
    dtype: tf.DType
    shape: tuple[int | None, ...] | None

    def check(self, dtype: tf.DType, shape: Sequence[int]) -> None:
        """Raise RequestError where a tensor does not fit."""
        if dtype != self.dtype:
            raise invalid(f"input {self.name} is {dtype.name}, expected {self.dtype.name}")
        if self.shape is not None and not (
            len(shape) == len(self.shape)
            and all(want is None or have == want for have, want in zip(shape, self.shape, strict=True))
        ):
            given, expected = (str(list(of)).replace("None", "any") for of in (shape, self.shape))
            raise invalid(f"input {self.name} has the shape {given}, expected {expected}")


class Model:
    """A loaded version. May be called by several threads at once.

    Attributes:
      number: the number of the version.
      signature_def: name -> SignatureDef, as the export has them.
      inputs: name of a signature -> name of an input -> `Spec`.
    """

    def __init__(self, folder: Path, number: int):
        """Load `folder`. Raise OSError, ValueError, RuntimeError or tf.errors.OpError where it cannot."""
        self.number = number
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default(), only_errors_logged():
                loaded = tf.compat.v1.saved_model.load(self._session, [tf.saved_model.SERVING], str(folder))
            graph.finalize()
            self.signature_def = dict(loaded.signature_def)
            self.inputs: dict[str, dict[str, Spec]] = {}
            self._graph_names: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
            for name, signature in self.signature_def.items():
                if signature.method_name == METHOD:
                    self.inputs[name] = {key: _spec(key, info) for key, info in signature.inputs.items()}
                    self._graph_names[name] = (
                        {key: info.name for key, info in signature.inputs.items()},
                        {key: info.name for key, info in signature.outputs.items()},
                    )
        except BaseException:
            self._session.close()
            raise

    def specs(self, signature: str) -> dict[str, Spec]:
        """Return the inputs of a signature; raise RequestError where there is none of this name."""
        if signature not in self.inputs:
            known = ", ".join(sorted(self.inputs))
            message = f'Serving signature key "{signature}" not found. Signatures are: {known}'
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, message)
        return self.inputs[signature]

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], seconds: float | None = None
    ) -> dict[str, np.ndarray]:
        """Call a signature.

        Args:
          signature: its name.
          inputs: as its `specs` ask for; strings are arrays of objects.
          seconds: after which it is given up, at the next op; None for never.

        Returns:
          All its outputs by name.

        Raises:
          RequestError: the inputs do not fit, the graph refuses them, or the time is over.
        """
        specs = self.specs(signature)
        check_names(specs, inputs)
        given, wanted = self._graph_names[signature]
        options = tf.compat.v1.RunOptions(timeout_in_ms=0 if seconds is None else max(1, round(1000 * seconds)))
        try:
            return self._session.run(wanted, {given[name]: inputs[name] for name in specs}, options)
        except tf.errors.DeadlineExceededError:
            message = f"the answer took longer than {seconds:.3g} s; send fewer rows"
            raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None
        except tf.errors.OpError as problem:
            raise from_tensorflow(problem.error_code, problem.message) from problem

    def close(self) -> None:
        """Give the memory back. Nobody may call it then or later."""
        self._session.close()
        del self._session
        gc.collect()  # a graph's objects point at each other


def check_names(specs: Mapping[str, Spec], given: Mapping[str, Any]) -> None:
    """Raise RequestError unless exactly the inputs of a signature are given."""
    if set(specs) != set(given):
        extra, missing = (", ".join(sorted(each)) for each in (set(given) - set(specs), set(specs) - set(given)))
        difference = f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        raise invalid(f"inputs do not match the signature. {difference}")


def _spec(name: str, info: Any) -> Spec:
    shape = None
    if not info.tensor_shape.unknown_rank:
        shape = tuple(None if each.size < 0 else int(each.size) for each in info.tensor_shape.dim)
    return Spec(name, tf.as_dtype(info.dtype), shape)
