"""What is no request at all, too large a one, or a slow one: `tfssl serve` refuses it and goes on."""

import contextlib
import gzip
import json
import socket
import threading
import time
import urllib.parse
import zlib

import grpc
import numpy as np
import pytest
import tensorflow as tf
import urllib3
from tensorflow_serving.apis import predict_pb2

from tests.support.hostile import lying_protos
from tests.support.tiny_models import write_version
from tfssl.export.checking.server_replay import client_of
from tfssl.export.config import ServeSettings
from tfssl.export.server.serve import running

PATH = "/v1/models/encoder:predict"
START = f"POST {PATH} HTTP/1.1\r\nHost: a\r\n".encode()
MIB = 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One that takes a MiB a request, four requests at once, and two seconds for each."""
    folder = tmp_path_factory.mktemp("served") / "encoder"
    write_version(folder, 1)
    with running(ServeSettings(folder=folder, rest_port=0, grpc_port=0, max_request=1, max_waiting=4, timeout=2.0)) as (
        addresses,
        _,
    ):
        yield addresses


@pytest.fixture(autouse=True)
def answers_afterwards(server):
    yield
    body = json.dumps({"signature_name": "pixels", "instances": np.full((1, 16, 16, 3), 51).tolist()})
    deadline = time.monotonic() + 30
    while True:
        answer = urllib3.request("POST", f"http://{server.rest}{PATH}", body=body, timeout=60.0)
        if answer.status != 503 or time.monotonic() > deadline:  # others may still be waiting for their end
            break
        time.sleep(0.1)
    np.testing.assert_allclose(answer.json()["predictions"], [[1.2] * 3], atol=1e-5)


def connected(server) -> socket.socket:
    host, port = server.rest.split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def told(server, *pieces: bytes) -> bytes:
    """What comes back when these are sent."""
    with connected(server) as connection:
        for piece in pieces:
            try:
                connection.sendall(piece)
            except OSError:  # it was refused before all was sent
                break
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(2**16):
                answer += chunk
        return answer


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET\r\n\r\n",
        b"POST " + PATH.encode() + b" HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        START + b"Content-Length: -5\r\n\r\n",
        START + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        bytes(range(256)) * 40,
    ],
    ids=["tls", "half", "version", "headers", "long", "negative", "two lengths", "chunk", "bytes"],
)
def test_what_is_no_http_is_refused(server, data):
    assert b"400 Bad Request" in told(server, data).split(b"\r\n", 1)[0]


def test_a_large_request_is_refused_before_it_is_read(server):
    head = START
    answer = told(server, head + b"Content-Length: %d\r\n\r\n" % (2**40))  # not a byte of it need come
    assert answer.startswith(b"HTTP/1.1 413")
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"].startswith("the request is larger than 1,048,576 bytes")
    chunk = b"%x\r\n" % (MIB // 4) + b" " * (MIB // 4) + b"\r\n"
    answer = told(server, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 40)
    assert not answer or answer.startswith(b"HTTP/1.1 413")


def test_what_gzip_unpacks_to_is_limited(server):
    """200 MiB of spaces are 200 KiB; a request that breaks off, and one with something behind it, are none."""
    body = json.dumps({"signature_name": "pixels", "instances": np.full((1, 16, 16, 3), 51).tolist()}).encode()
    packed, most = gzip.compress(body), gzip.compress(body + b" " * (MIB - len(body)))
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join([packer.compress(b" " * MIB) for _ in range(200)] + [packer.flush()])
    assert len(bomb) < MIB
    none = "the request is not what gzip makes: "
    for encoding, sent, status, error in (
        ("gzip", packed, 200, ""),
        ("X-GZIP", most, 200, ""),
        ("identity", body, 200, ""),
        ("gzip", gzip.compress(body + b" " * (MIB + 1 - len(body))), 413, "the request is larger than 1,048,576 bytes"),
        ("gzip", bomb, 413, "the request is larger than 1,048,576 bytes"),
        ("gzip", packed[:-9], 400, f"{none}it breaks off"),
        ("gzip", packed + b"x", 400, f"{none}it has bytes behind its end"),
        ("gzip", packed[:-8] + bytes(8), 400, f"{none}Error -3"),
        ("gzip", body, 400, f"{none}Error -3"),
        ("gzip", b"", 400, f"{none}it breaks off"),
        ("gzip", gzip.compress(b"{"), 400, "JSON Parse error"),
        ("deflate", zlib.compress(body), 415, "Content-Encoding deflate is not there; send the request uncompressed"),
        ("gzip, gzip", gzip.compress(packed), 415, "Content-Encoding gzip, gzip is not there"),
    ):
        headers = {"Content-Encoding": encoding}
        answer = urllib3.request("POST", f"http://{server.rest}{PATH}", body=sent, headers=headers, timeout=60.0)
        assert (answer.status, answer.json().get("error", "")[: len(error)]) == (status, error)
        if status == 200:
            np.testing.assert_allclose(answer.json()["predictions"], [[1.2] * 3], atol=1e-5)


def test_slow_clients_have_an_end(server):
    """One that sends no header, one that breaks off within it, one that trickles its body."""
    start = time.monotonic()
    with connected(server) as silent, connected(server) as half:
        half.sendall(b"POST / HTTP/1.1\r\nHost:")
        body = told(server, START + b"Content-Length: 10\r\n\r\n", b"{")
        assert body.startswith(b"HTTP/1.1 408")
        assert json.loads(body.split(b"\r\n\r\n", 1)[1]) == {"error": "the request was not sent within 2 s"}
        for connection in (silent, half):
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(100) == b""
    assert time.monotonic() - start < 25


def test_too_many_at_once_are_told_to_come_later(server):
    head = START + b"Content-Length: 10\r\n\r\n"
    waiting = [connected(server) for _ in range(4)]
    for connection in waiting:
        connection.sendall(head)
    time.sleep(0.5)
    answer = urllib3.request("GET", f"http://{server.rest}/v1/models/encoder", retries=False)
    assert answer.status == 503
    assert "try again later" in answer.json()["error"]
    for connection in waiting:
        connection.close()


@pytest.fixture(scope="module")
def call(server):
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel.unary_unary("/tensorflow.serving.PredictionService/Predict")


def test_grpc_refuses_what_is_too_large_and_what_is_none(call):
    codes = grpc.StatusCode
    for data, code in ((b" " * (2 * MIB), codes.RESOURCE_EXHAUSTED), (b"\xff" * 50, codes.INVALID_ARGUMENT)):
        with pytest.raises(grpc.RpcError) as problem:
            call(data, timeout=60)
        assert problem.value.code() == code


SIGNATURES = [("serving_default", "image_bytes"), ("pixels", "pixels"), ("waveform", "waveform")]


@pytest.mark.parametrize("signature", SIGNATURES)
def test_tensors_that_lie_are_refused(call, signature):
    """Shapes of 40 GB in ten bytes, content of another length, dtypes that do not exist."""
    for data in lying_protos(*signature):
        with pytest.raises(grpc.RpcError) as problem:
            call(data, timeout=60)
        assert problem.value.code() == grpc.StatusCode.INVALID_ARGUMENT, problem.value.details()


def test_a_client_that_never_sends_its_message(server):
    """Over gRPC: it has its end, and others are answered meanwhile."""
    go_on = threading.Event()

    def nothing():
        go_on.wait(60)
        yield b""

    with grpc.insecure_channel(server.grpc) as channel:
        silent = channel.stream_unary("/tensorflow.serving.PredictionService/Predict").future(nothing())
        request = predict_pb2.PredictRequest(model_spec={"name": "encoder", "signature_name": "pixels"})
        request.inputs["pixels"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 16, 16, 3), np.uint8)))
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        assert call(request.SerializeToString(), timeout=60)
        assert silent.exception(60).code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert silent.details() == "the request was not sent within 2 s"
        go_on.set()


def test_a_request_that_takes_too_long_is_given_up(server, call):
    """Of pictures that are decoded one after another."""
    from tests.export.limits_test import png_bomb

    request = predict_pb2.PredictRequest(model_spec={"name": "encoder"})
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([png_bomb(4096)] * 250))
    start = time.monotonic()
    with pytest.raises(grpc.RpcError) as problem:
        call(request.SerializeToString(), timeout=60)
    assert problem.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 30


def test_a_model_is_named_after_its_folder(tmp_path):
    """Whatever the name is, both protocols and the client know it; a colon is the one thing that no path can have."""
    folder = "my_encoder, Photös 100%, 10:30"  # some seconds: a version is written, loaded, and asked four times
    write_version(tmp_path / folder, 1)
    name = folder.replace(":", "-")
    with running(ServeSettings(folder=tmp_path / folder, rest_port=0, grpc_port=0)) as (addresses, _):
        assert addresses.model == name
        url = f"http://{addresses.rest}/v1/models/"
        assert urllib3.request("GET", url + urllib.parse.quote(name)).status == 200
        assert urllib3.request("GET", f"{url}encoder").status == 404
        for address in (addresses.grpc, f"http://{addresses.rest}"):
            with client_of(tmp_path / folder / "1", address) as client:
                assert client.model().version == 1
                np.testing.assert_allclose(client.embed(np.full((1, 16, 16, 3), 51, np.uint8)), [[1.2] * 3], atol=1e-5)
