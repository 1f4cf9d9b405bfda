"""`tfssl serve` as a user starts and ends it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import urllib3

import tfssl


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from tfssl.cli.main import main; main()", "serve", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(tfssl.__file__).parents[1])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_it_tells_where_it_listens_and_ends_cleanly(toy_export, number):
    """A request that is under way when the signal comes is answered."""
    server = start(str(toy_export), "--name", "mine", "--rest-port", "0", "--grpc-port", "0")
    lines = [server.stdout.readline() for _ in range(4)]
    assert lines[0] == f"mine, version 1 of {toy_export}\n"
    host, port, path = re.fullmatch(r"REST  http://(.+):(\d+)(/.+)\n", lines[1]).groups()
    assert (host, path) == ("127.0.0.1", "/v1/models/mine")
    assert re.fullmatch(r"gRPC  127\.0\.0\.1:\d+\n", lines[2])
    assert "TensorFlow Serving" in lines[3]
    body = json.dumps({"inputs": {"image_bytes": [""] * 256}}).encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST {path}:predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body[:-1])
        assert urllib3.request("GET", f"http://{host}:{port}{path}", timeout=60.0).status == 200
        server.send_signal(number)
        threading.Timer(0.5, connection.sendall, [body[-1:]]).start()
        answer = b""
        while chunk := connection.recv(2**16):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(json.loads(answer.split(b"\r\n\r\n", 1)[1])["outputs"]["valid"]) == 256
    output, errors = server.communicate(timeout=60)
    assert server.returncode == 0
    assert output.splitlines()[-1] == "mine: 2 requests answered, 0 refused; versions 1"
    assert errors == ""


def test_json_and_rest_alone(toy_export):
    server = start(str(toy_export), "--rest-port", "0", "--no-grpc", "--json")
    lines = [server.stderr.readline() for _ in range(4)]
    assert lines[2] == "gRPC  off\n"
    address = lines[1].split()[1]
    body = json.dumps({"instances": [{"b64": "!"}]}).encode()
    assert urllib3.request("POST", f"{address}:predict", body=body, timeout=60.0).status == 400
    server.terminate()
    output, _ = server.communicate(timeout=60)
    assert server.returncode == 0
    assert json.loads(output) == {"model": toy_export.name, "versions": [1], "answered": 0, "refused": 1}


def test_a_port_in_use(toy_export):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["--rest-port", port, "--grpc-port", "0"], ["--rest-port", "0", "--grpc-port", port]):
            server = start(str(toy_export), *arguments)
            output, errors = server.communicate(timeout=120)
            assert (server.returncode, output) == (2, "")
            (told,) = errors.splitlines()
            assert f"cannot listen on 127.0.0.1:{port}" in told
