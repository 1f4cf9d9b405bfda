"""What is served equals the SavedModel, over REST and gRPC, in the shapes that TensorFlow Serving's documents show.

Runs against the server at TFSSL_SERVING=HOST:PORT (gRPC) and TFSSL_SERVING_REST=HOST:PORT, where these are set: it has
the export in the folder TFSSL_SERVING_EXPORT as its model "encoder". Else against `tensorflow_model_server`, where it
is on the PATH, and else against `tfssl serve`.
"""

import base64
import dataclasses
import gzip
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.export.limits_test import picture

NAME = "encoder"


@dataclasses.dataclass(frozen=True)
class Target:
    """A server, and the one version that it has."""

    rest: str
    grpc: str
    version: Path

    def ask(self, path: str, body: object = None) -> tuple[int, dict]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        method = "GET" if data is None else "POST"
        answer = urllib3.request(method, f"http://{self.rest}{path}", body=data, retries=False, timeout=60.0)
        return answer.status, answer.json()

    def predict(self, **body: object) -> dict:
        status, found = self.ask(f"/v1/models/{NAME}:predict", body)
        assert status == 200, found
        return found


@pytest.fixture(scope="module")
def target(toy_export, tmp_path_factory):
    if "TFSSL_SERVING" in os.environ:
        folder = Path(os.environ["TFSSL_SERVING_EXPORT"])
        newest = max((path for path in folder.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))
        yield Target(os.environ["TFSSL_SERVING_REST"], os.environ["TFSSL_SERVING"], newest)
    elif shutil.which("tensorflow_model_server"):
        rest, rpc = _free_port(), _free_port()
        command = ["tensorflow_model_server", f"--port={rpc}", f"--rest_api_port={rest}", f"--model_name={NAME}"]
        server = subprocess.Popen([*command, f"--model_base_path={toy_export}"])
        found = Target(f"127.0.0.1:{rest}", f"127.0.0.1:{rpc}", toy_export / "1")
        try:
            _wait(found)
            yield found
        finally:
            server.terminate()
            server.wait()
    else:
        from tfssl.export.config import ServeSettings
        from tfssl.export.server.serve import running

        with running(ServeSettings(folder=toy_export, rest_port=0, grpc_port=0, name=NAME)) as (addresses, _):
            yield Target(addresses.rest, addresses.grpc, toy_export / "1")


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def _wait(target: Target) -> None:
    for _ in range(300):
        try:
            if target.ask(f"/v1/models/{NAME}")[0] == 200:
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the server does not answer")


@pytest.fixture(scope="module")
def stubs(target):
    channel = grpc.insecure_channel(target.grpc)
    yield prediction_service_pb2_grpc.PredictionServiceStub(channel), model_service_pb2_grpc.ModelServiceStub(channel)
    channel.close()


@pytest.fixture(scope="module")
def signatures(target):
    return tf.saved_model.load(str(target.version)).signatures


PICTURES = [picture(), picture("JPEG", 50), b"no picture", picture("GIF", 30)]


@pytest.fixture(scope="module")
def expected(signatures):
    found = signatures["serving_default"](image_bytes=tf.constant(PICTURES))
    return {name: value.numpy() for name, value in found.items()}


@pytest.fixture(scope="module")
def pixels(signatures) -> tuple[np.ndarray, np.ndarray]:
    shape = signatures["pixels"].structured_input_signature[1]["pixels"].shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    return images, signatures["pixels"](pixels=tf.constant(images))["embedding"].numpy()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def test_rows_of_values_and_of_objects(target, expected):
    """Several outputs: a list of objects with their names."""
    for rows in ([b64(data) for data in PICTURES], [{"image_bytes": b64(data)} for data in PICTURES]):
        found = target.predict(instances=rows)
        assert list(found) == ["predictions"]
        assert [set(row) for row in found["predictions"]] == [{"embedding", "valid"}] * len(PICTURES)
        assert [row["valid"] for row in found["predictions"]] == [True, True, False, True]
        embedding = [row["embedding"] for row in found["predictions"]]
        np.testing.assert_allclose(embedding, expected["embedding"], atol=1e-5)


@pytest.mark.parametrize(
    "write", [base64.encodebytes, lambda data: b"\r\n ".join(base64.b64encode(data).partition(b"A"))]
)
def test_base64_with_line_breaks(target, expected, write):
    """As Python's `encodebytes` and MIME break lines."""
    rows = [{"b64": write(data).decode()} for data in PICTURES]
    assert any("\n" in row["b64"].strip() for row in rows)
    found = target.predict(inputs={"image_bytes": rows})["outputs"]
    assert found["valid"] == expected["valid"].tolist()
    np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=1e-5)


def test_a_request_packed_by_gzip(target, expected):
    body = gzip.compress(json.dumps({"inputs": {"image_bytes": [b64(data) for data in PICTURES]}}).encode())
    url, headers = f"http://{target.rest}/v1/models/{NAME}:predict", {"Content-Encoding": "gzip"}
    found = urllib3.request("POST", url, body=body, headers=headers, retries=False, timeout=60.0).json()["outputs"]
    np.testing.assert_allclose(found["embedding"], expected["embedding"], atol=1e-5)


def test_columns(target, expected):
    """Several outputs: an object of lists."""
    for columns in ([b64(data) for data in PICTURES], {"image_bytes": [b64(data) for data in PICTURES]}):
        found = target.predict(inputs=columns)
        assert list(found) == ["outputs"]
        assert found["outputs"]["valid"] == [True, True, False, True]
        np.testing.assert_allclose(found["outputs"]["embedding"], expected["embedding"], atol=1e-5)


def test_one_output_alone_has_no_name(target, pixels):
    images, embedding = pixels
    rows = target.predict(signature_name="pixels", instances=images.tolist())
    named = target.predict(signature_name="pixels", instances=[{"pixels": image} for image in images.tolist()])
    columns = target.predict(signature_name="pixels", inputs={"pixels": images.tolist()})
    np.testing.assert_allclose(rows["predictions"], embedding, atol=1e-5)
    np.testing.assert_allclose(named["predictions"], embedding, atol=1e-5)
    np.testing.assert_allclose(columns["outputs"], embedding, atol=1e-5)


def test_one_version(target, pixels):
    images, embedding = pixels
    path = f"/v1/models/{NAME}/versions/{target.version.name}:predict"
    status, found = target.ask(path, {"signature_name": "pixels", "instances": images.tolist()})
    assert status == 200
    np.testing.assert_allclose(found["predictions"], embedding, atol=1e-5)


def test_status(target, stubs):
    number = target.version.name
    one = {"version": number, "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    for path in (f"/v1/models/{NAME}", f"/v1/models/{NAME}/versions/{number}"):
        assert target.ask(path) == (200, {"model_version_status": [one]})
    found = stubs[1].GetModelStatus(get_model_status_pb2.GetModelStatusRequest(model_spec={"name": NAME}))
    (each,) = found.model_version_status
    assert (each.version, each.state, each.status.error_code) == (int(number), each.AVAILABLE, 0)


def test_metadata(target, stubs):
    status, found = target.ask(f"/v1/models/{NAME}/metadata")
    assert status == 200
    assert found["model_spec"] == {"name": NAME, "signature_name": "", "version": target.version.name}
    defined = found["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "pixels"} <= set(defined)
    given = defined["serving_default"]
    assert given["method_name"] == "tensorflow/serving/predict"
    assert given["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    assert given["inputs"]["image_bytes"]["tensor_shape"] == shape
    assert set(given["outputs"]) == {"embedding", "valid"}
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": NAME}, metadata_field=["signature_def"]
    )
    answer = stubs[0].GetModelMetadata(request)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == set(defined)
    assert answer.model_spec.version.value == int(target.version.name)


def message(signature: str = "", version: int | None = None, **inputs: object) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest(model_spec={"name": NAME, "signature_name": signature})
    if version is not None:
        request.model_spec.version.value = version
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def test_grpc(target, stubs, expected, pixels):
    found = stubs[0].Predict(message(image_bytes=PICTURES))
    assert (found.model_spec.name, found.model_spec.version.value) == (NAME, int(target.version.name))
    assert set(found.outputs) == {"embedding", "valid"}
    assert tf.make_ndarray(found.outputs["valid"]).tolist() == [True, True, False, True]
    np.testing.assert_allclose(tf.make_ndarray(found.outputs["embedding"]), expected["embedding"], atol=1e-5)
    # Many a client reads the field itself, as TensorFlow Serving fills it.
    np.testing.assert_allclose(found.outputs["embedding"].float_val, expected["embedding"].ravel(), atol=1e-5)
    images, embedding = pixels
    found = stubs[0].Predict(message("pixels", int(target.version.name), pixels=images))
    np.testing.assert_allclose(tf.make_ndarray(found.outputs["embedding"]), embedding, atol=1e-5)
    some = message(image_bytes=PICTURES)
    some.output_filter.append("valid")
    assert set(stubs[0].Predict(some).outputs) == {"valid"}


def test_errors_of_rest(target):
    predict = f"/v1/models/{NAME}:predict"
    good = {"instances": [b64(PICTURES[0])]}
    for path, body, status in (
        ("/v1/models/other:predict", good, 404),
        ("/v1/models/other", None, 404),
        (f"/v1/models/{NAME}/versions/77:predict", good, 404),
        (f"/v1/models/{NAME}/versions/77", None, 404),
        (f"/v1/models/{NAME}/versions/{2**63 - 1}", None, 404),
        (f"/v1/models/{NAME}/versions/{2**63}", None, 400),
        (f"/v1/models/{NAME}/versions/{'9' * 5000}", None, 400),
        (f"/v1/models/{NAME}/labels/stable:predict", good, 400),
        (f"/v1/models/{NAME}:guess", good, 400),
        (predict, b"", 400),
        (predict, b"{", 400),
        (predict, [], 400),
        (predict, {}, 400),
        (predict, {"instances": []}, 400),
        (predict, {**good, "inputs": good["instances"]}, 400),
        (predict, {**good, "signature_name": "pixel"}, 400),
        (predict, {**good, "signature_name": 3}, 400),
        (predict, {"instances": [{"b64": "!"}]}, 400),
        (predict, {"instances": [{"picture": "x"}]}, 400),
        (predict, {"inputs": {"image_bytes": 3}}, 400),
        (predict, {"instances": [b64(b"x")] * 257}, 400),
        (predict, {"signature_name": "pixels", "instances": [[[1, 2, 3]]]}, 400),
        (predict, {"signature_name": "pixels", "instances": [[[[1.5, 2, 3]]]]}, 400),
    ):
        found = target.ask(path, body)
        assert found[0] == status, (path, body, found)
        assert list(found[1]) == ["error"]
        assert found[1]["error"]


def test_errors_of_grpc(stubs, pixels):
    predict, other = stubs[0].Predict, message(image_bytes=PICTURES)
    other.model_spec.name = "other"
    label = message(image_bytes=PICTURES)
    label.model_spec.version_label = "stable"
    output = message(image_bytes=PICTURES)
    output.output_filter.append("other")
    codes = grpc.StatusCode
    for request, code in (
        (other, codes.NOT_FOUND),
        (message(version=77, image_bytes=PICTURES), codes.NOT_FOUND),
        (message("other", image_bytes=PICTURES), codes.FAILED_PRECONDITION),
        (label, codes.INVALID_ARGUMENT),
        (output, codes.INVALID_ARGUMENT),
        (predict_pb2.PredictRequest(), codes.INVALID_ARGUMENT),
        (message(), codes.INVALID_ARGUMENT),
        (message(picture=PICTURES), codes.INVALID_ARGUMENT),
        (message(image_bytes=[1.5]), codes.INVALID_ARGUMENT),
        (message(image_bytes=[[b"x"]]), codes.INVALID_ARGUMENT),
        (message(image_bytes=[b"x"] * 257), codes.INVALID_ARGUMENT),
        (message("pixels", pixels=pixels[0].astype(np.float32)), codes.INVALID_ARGUMENT),
        (message("pixels", pixels=pixels[0][:, 1:]), codes.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.RpcError) as problem:
            predict(request)
        assert problem.value.code() == code, problem.value
        assert problem.value.details()
