"""Warm-up records: requests that TensorFlow Serving answers to itself before a new version gets any from outside.

See https://www.tensorflow.org/tfx/serving/saved_model_warmup.
"""

from pathlib import Path

import tensorflow as tf

from tfssl.export.deployment.examples import example, input_specs

FILE = "tf_serving_warmup_requests"
ROWS = (1, 4, 16)
"""Rows of the requests for each signature."""

PICTURE = (120, 160)
"""Pixels of their pictures: few, as some signatures work at a picture's own size, and loading waits for them all."""


def write_warm_up(folder: Path, name: str) -> None:
    """Write `assets.extra/tf_serving_warmup_requests` of a version: PredictionLog protos, one a request.

    Args:
      folder: the folder of a SavedModel.
      name: the name of the model.
    """
    from tensorflow_serving.apis import prediction_log_pb2

    with tf.io.TFRecordWriter(str(folder / "assets.extra" / FILE)) as writer:
        for signature, specs in input_specs(folder).items():
            for rows in ROWS:
                log = prediction_log_pb2.PredictionLog()
                request = log.predict_log.request
                request.model_spec.name = name
                request.model_spec.signature_name = signature
                for key, value in example(specs, rows, PICTURE).items():
                    request.inputs[key].CopyFrom(tf.make_tensor_proto(value, specs[key].dtype))
                writer.write(log.SerializeToString())
