"""Asks a server over gRPC, by the stubs of tensorflow-serving-api, which import TensorFlow."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.export.client.answers import Model, ServingError, no_encryption, one_line, read_model


class Rpc:
    """The model `name` at `host:port`."""

    def __init__(self, address: str, name: str, encrypted: bool, certificates: Path | None):
        import grpc
        from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

        self._name = name
        options = [
            ("grpc.max_receive_message_length", -1),  # by default 4 MiB; coloured pictures are more
            ("grpc.enable_retries", 0),  # the client's own count towards its deadline
            # By default a channel that was refused waits up to two minutes and fails all requests meanwhile.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        if encrypted:
            known = grpc.ssl_channel_credentials(None if certificates is None else certificates.read_bytes())
            self._channel = grpc.secure_channel(address, known, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        self._error = grpc.RpcError
        self._prediction = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def metadata(self, version: int | None, seconds: float) -> Model:
        from google.protobuf.json_format import MessageToDict
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        answer = self._ask(self._prediction.GetModelMetadata, request, version, seconds)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(signatures)
        as_json = MessageToDict(signatures, preserving_proto_field_name=True)
        return read_model(answer.model_spec.version.value, as_json.get("signature_def", {}))

    def versions(self, seconds: float) -> list[int]:
        from tensorflow_serving.apis import get_model_status_pb2

        answer = self._ask(self._models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest(), None, seconds)
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        return sorted(one.version for one in answer.model_version_status if one.state == available)

    def predict(
        self, signature: str, inputs: Mapping[str, Any], version: int | None, model: Model, seconds: float
    ) -> dict[str, np.ndarray]:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        for name, rows in inputs.items():
            numbers = isinstance(rows, np.ndarray) and rows.dtype != object
            # Lists of bytes with their type said: NumPy would cut zeros off their ends.
            tensor = tf.make_tensor_proto(rows) if numbers else tf.make_tensor_proto(list(rows), tf.string, [len(rows)])
            request.inputs[name].CopyFrom(tensor)
        answer = self._ask(self._prediction.Predict, request, version, seconds)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def close(self) -> None:
        self._channel.close()

    def _ask(self, method: Callable[..., Any], request: Any, version: int | None, seconds: float) -> Any:
        request.model_spec.name = self._name
        if version is not None:
            request.model_spec.version.value = version
        try:
            return method(request, timeout=seconds)
        except self._error as problem:
            status, words = problem.code().name, problem.details() or ""
            if status == "RESOURCE_EXHAUSTED" and "larger than max" in words:
                status = "INVALID_ARGUMENT"  # the request is too long, and will be the next time
            if "Failed parsing HTTP/2" in words:
                status, words = "UNIMPLEMENTED", "what answers there speaks no gRPC; for REST, give http://host:port"
            if "CERTIFICATE_VERIFY_FAILED" in words or "handshake" in words.lower():
                status, words = "UNAUTHENTICATED", no_encryption(words)
            raise ServingError(one_line(words), status) from problem
