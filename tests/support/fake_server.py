"""A small server of TensorFlow Serving's two protocols, whose answers are known and which fails as it is told to."""

import base64
import contextlib
import http.server
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent import futures

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import ParseDict
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

SHAPES = {"serving_default": ("image_bytes", "DT_STRING", [-1])}
SHAPES |= {"pixels": ("pixels", "DT_UINT8", [-1, 8, 8, 3]), "waveform": ("waveform", "DT_FLOAT", [-1, 16])}
HTTP = {"UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429, "INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "INTERNAL": 500}


class RefusedError(Exception):
    """A status code and words."""


class Fake:
    """A model whose embeddings are [version, rows of the request, facts of the row (2)].

    Attributes:
      versions: those that are loaded.
      faults: status codes that requests for predictions end with, the first first.
      asked: rows of each request.
    """

    def __init__(self):
        self.versions, self.faults, self.asked, self.seconds = [1], [], [], 0.0
        self.loads = {}  # after so many predictions these versions are there
        self._lock = threading.Lock()

    def version(self, wanted, name="encoder"):
        if name != "encoder" or (wanted and wanted not in self.versions):
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {wanted or 'Latest'}({name})")
        return wanted or max(self.versions)

    def predict(self, signature, batch, wanted):
        time.sleep(self.seconds)
        with self._lock:
            version = self.version(wanted)
            self.asked.append(len(batch))
            self.versions = self.loads.pop(len(self.asked), self.versions)
            if self.faults:
                fault = self.faults.pop(0)
                if fault:
                    raise RefusedError(fault, "as it was\ntold to")
        if signature == "serving_default":
            facts = [(len(row), row[-1] if row else 0) for row in batch]
            valid = np.array([row[:1] == b"\xff" for row in batch])
        else:
            facts = [(row.reshape(-1)[0], row.reshape(-1)[-1]) for row in batch]
            valid = np.array([np.isfinite(row).all() for row in batch])
        embedding = np.array([[version, len(batch), *fact] for fact in facts], np.float32)
        embedding[~valid] = 0
        found = {"embedding": embedding, "valid": valid}
        return {"embedding": embedding} if signature == "pixels" else found

    @staticmethod
    def signatures():
        def info(dtype, sizes):
            return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size), "name": ""} for size in sizes]}}

        outputs = {"embedding": info("DT_FLOAT", [-1, 4])}
        return {
            name: {
                "inputs": {key: info(dtype, shape)},
                "outputs": outputs | ({} if name == "pixels" else {"valid": info("DT_BOOL", [-1])}),
            }
            for name, (key, dtype, shape) in SHAPES.items()
        }


class Servicer(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """gRPC of a fake."""

    def __init__(self, fake):
        self.fake = fake

    def _answer(self, context, function):
        try:
            return function()
        except RefusedError as problem:
            context.abort(getattr(grpc.StatusCode, problem.args[0]), problem.args[1])

    def Predict(self, request, context):  # noqa: N802
        def answer():
            name = request.model_spec.signature_name
            batch = list(tf.make_ndarray(request.inputs[SHAPES[name][0]]))
            found = self.fake.predict(name, batch, request.model_spec.version.value)
            return predict_pb2.PredictResponse(outputs={key: tf.make_tensor_proto(rows) for key, rows in found.items()})

        return self._answer(context, answer)

    def GetModelMetadata(self, request, context):  # noqa: N802
        def answer():
            version = self.fake.version(request.model_spec.version.value, request.model_spec.name)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.version.value = version
            signatures = get_model_metadata_pb2.SignatureDefMap()
            ParseDict({"signature_def": self.fake.signatures()}, signatures)
            response.metadata["signature_def"].Pack(signatures)
            return response

        return self._answer(context, answer)

    def GetModelStatus(self, request, context):  # noqa: N802
        def answer():
            self.fake.version(0, request.model_spec.name)
            return get_model_status_pb2.GetModelStatusResponse(
                model_version_status=[{"version": each, "state": 30} for each in self.fake.versions]
            )

        return self._answer(context, answer)


def handler(fake):
    """A class for REST of a fake."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.answer(lambda name, wanted, what: self.about(name, wanted, what))

        def about(self, name, wanted, what):
            version = fake.version(wanted, name)
            if what == "metadata":
                spec = {"name": name, "signature_name": "", "version": str(version)}
                return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": fake.signatures()}}}
            status = {"error_code": "OK", "error_message": ""}
            states = [{"version": str(each), "state": "AVAILABLE", "status": status} for each in fake.versions]
            return {"model_version_status": states}

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            key, dtype, _ = SHAPES[asked["signature_name"]]
            batch = asked["inputs"][key]
            if dtype == "DT_STRING":
                batch = [base64.b64decode(row["b64"]) for row in batch]
            else:
                batch = [np.array(row, {"DT_UINT8": np.uint8}.get(dtype, np.float32)) for row in batch]

            def answer(name, wanted, what):
                assert what == "predict"
                found = fake.predict(asked["signature_name"], batch, wanted)
                found = {key: rows.tolist() for key, rows in found.items()}
                return {"outputs": found if len(found) > 1 else found["embedding"]}

            self.answer(answer)

        def answer(self, function):
            _, _, _, name, *rest = self.path.replace(":", "/").split("/")
            wanted = int(rest[1]) if rest[:1] == ["versions"] else 0
            try:
                status, found = 200, function(name, wanted, rest[-1] if rest else "")
            except RefusedError as problem:
                status, found = HTTP[problem.args[0]], {"error": problem.args[1]}
            body = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            """Says nothing."""

    return Handler


@contextlib.contextmanager
def rest(fake, port=0, certificate=None) -> Iterator[str]:
    """The address of a fake that answers REST; encrypted with a certificate of trustme."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler(fake))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def rpc(fake, certificate=None) -> Iterator[str]:
    """The address of a fake that answers gRPC; encrypted with a certificate of trustme."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Servicer(fake), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Servicer(fake), server)
    if certificate is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        key, chain = certificate.private_key_pem.bytes(), b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
    server.start()
    try:
        yield f"{'grpcs://' if certificate else ''}127.0.0.1:{port}"
    finally:
        server.stop(None)
