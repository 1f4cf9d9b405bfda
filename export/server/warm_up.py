"""Warm-up: the requests that an export brings along, so that the first user of a new version does not wait."""

from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfssl.export.server.errors import invalid
from tfssl.export.server.model import DEFAULT, Model, check_names
from tfssl.export.server.tensors import to_array

RECORDS = Path("assets.extra") / "tf_serving_warmup_requests"
MOST = 1000
"""Records, as in TensorFlow Serving."""
LARGEST = 2**26


def warm_up(model: Model, folder: Path) -> None:
    """Replay the records of a version, TFRecord of PredictionLog, where it has some.

    Raises:
      RequestError: a record that the model refuses.
      tf.errors.OpError: a file that cannot be read.
    """
    path = folder / RECORDS
    if not path.is_file():
        return
    for record in tf.data.TFRecordDataset(str(path)).take(MOST):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        if log.HasField("predict_log"):
            request = log.predict_log.request
            signature = request.model_spec.signature_name or DEFAULT
            model.predict(signature, request_arrays(model, request, LARGEST))


def request_arrays(model: Model, request: predict_pb2.PredictRequest, most: int) -> dict:
    """Return the inputs of a request as arrays; `most` bytes of each. Raise RequestError where they do not fit."""
    specs = model.specs(request.model_spec.signature_name or DEFAULT)
    check_names(specs, request.inputs)
    for name in request.output_filter:
        if name not in model.signature_def[request.model_spec.signature_name or DEFAULT].outputs:
            raise invalid(f"output tensor alias not found in signature: {name}")
    return {name: to_array(request.inputs[name], spec, most) for name, spec in specs.items()}
