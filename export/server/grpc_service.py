"""TensorFlow Serving's gRPC: PredictionService (Predict, GetModelMetadata) and ModelService (GetModelStatus).

Requests are read as streams of one message, which on the wire is the same: so a client that is slow to send its request
has its time limit, and no thread waits for it. They are parsed in the threads that compute.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tfssl.export.server.errors import RequestError, invalid
from tfssl.export.server.executor import Work
from tfssl.export.server.model import DEFAULT
from tfssl.export.server.service import metadata, status, version_of
from tfssl.export.server.tensors import to_proto
from tfssl.export.server.warm_up import request_arrays

UNIMPLEMENTED = ("Classify", "Regress", "MultiInference")


async def open_grpc(work: Work, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """Make a server that listens; return it and its port. Raise RuntimeError or OSError where it cannot."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", work.limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # or two servers would share a port without a word
        ],
        maximum_concurrent_rpcs=work.limits.waiting,
    )
    services = {
        "tensorflow.serving.PredictionService": {
            "Predict": _handler(work, predict_pb2.PredictRequest, predict),
            "GetModelMetadata": _handler(work, get_model_metadata_pb2.GetModelMetadataRequest, metadata),
            **{name: _handler(work, predict_pb2.PredictRequest, _refuse(name)) for name in UNIMPLEMENTED},
        },
        "tensorflow.serving.ModelService": {
            "GetModelStatus": _handler(work, get_model_status_pb2.GetModelStatusRequest, status),
        },
    }
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]
    )
    bound = server.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{port}")
    if not bound:
        raise OSError(f"cannot listen on {host}:{port}")
    await server.start()
    return server, bound


def predict(work: Work, request: predict_pb2.PredictRequest, seconds: float) -> predict_pb2.PredictResponse:
    """Answer Predict. Raise RequestError."""
    with work.versions.use(version_of(work, request.model_spec)) as model:
        signature = request.model_spec.signature_name or DEFAULT
        outputs = model.predict(signature, request_arrays(model, request, work.limits.request_bytes), seconds)
        wanted = request.output_filter or outputs
        answer = predict_pb2.PredictResponse(outputs={name: to_proto(outputs[name]) for name in wanted})
        answer.model_spec.name, answer.model_spec.signature_name = work.versions.name, signature
        answer.model_spec.version.value = model.number
    return answer


def _refuse(name: str) -> Callable[[Work, Any, float], NoReturn]:
    def refuse(work: Work, request: Any, seconds: float) -> NoReturn:
        raise RequestError(grpc.StatusCode.UNIMPLEMENTED, f"{name} is not there; encoders have Predict")

    return refuse


def _handler(work: Work, kind: type, function: Callable[[Work, Any, float], Any]) -> grpc.RpcMethodHandler:
    def answered(data: bytes, seconds: float) -> bytes:
        try:
            request = kind.FromString(data)  # type: ignore[attr-defined]
        except DecodeError:
            raise invalid(f"the request is no {kind.__name__}") from None
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        return function(work, request, seconds).SerializeToString()

    async def call(_: Any, context: grpc.aio.ServicerContext) -> bytes:
        try:
            with work.count_request():
                data = await _one_message(context, work.limits.timeout)
                return await work.run(len(data), functools.partial(answered, data), context.time_remaining())
        except RequestError as problem:
            await context.abort(problem.code, problem.message)
            raise  # not reached: abort raises

    return grpc.stream_unary_rpc_method_handler(call)


async def _one_message(context: grpc.aio.ServicerContext, timeout: float) -> bytes:
    read: Awaitable[Any] = context.read()
    try:
        data = await asyncio.wait_for(read, timeout)
    except TimeoutError:
        message = f"the request was not sent within {timeout:g} s"
        raise RequestError(grpc.StatusCode.DEADLINE_EXCEEDED, message) from None
    if data is grpc.aio.EOF:
        raise invalid("the request is empty")
    return data
