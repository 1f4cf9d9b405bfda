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
from tests.support.tiny_models import write_version
from tfssl.cli.main import main


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from tfssl.cli.main import main; main()", "serve", *arguments]
    environment = os.environ | {"PYTHONPATH": str(Path(tfssl.__file__).parents[1])}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended_with_a_request_under_way(server: subprocess.Popen[str], number: int, url: str) -> None:
    """A request that is under way when the signal comes is answered."""
    host, port, path = re.fullmatch(r"http://(.+):(\d+)(/.+)", url).groups()
    body = json.dumps({"inputs": {"image_bytes": [""] * 256}}).encode()
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        head = f"POST {path}:predict HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        connection.sendall(head + body[:-1])
        assert urllib3.request("GET", url, timeout=60.0).status == 200
        server.send_signal(number)
        threading.Timer(0.5, connection.sendall, [body[-1:]]).start()
        answer = b""
        while chunk := connection.recv(2**16):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(json.loads(answer.split(b"\r\n\r\n", 1)[1])["outputs"]["valid"]) == 256


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A version that is loaded at once."""
    folder = tmp_path_factory.mktemp("served") / "tiny"
    write_version(folder, 1)
    return folder


def test_it_tells_where_it_listens_and_ends_cleanly_on_ctrl_c(folder):
    server = start(str(folder), "--name", "mine", "--rest-port", "0", "--grpc-port", "0")
    lines = [server.stdout.readline() for _ in range(4)]
    assert lines[0] == f"mine, version 1 of {folder}\n"
    (url,) = re.fullmatch(r"REST  (http://127\.0\.0\.1:\d+/v1/models/mine)\n", lines[1]).groups()
    assert re.fullmatch(r"gRPC  127\.0\.0\.1:\d+\n", lines[2])
    assert "TensorFlow Serving" in lines[3]
    ended_with_a_request_under_way(server, signal.SIGINT, url)
    output, errors = server.communicate(timeout=60)
    assert server.returncode == 0
    assert output.splitlines()[-1] == "mine: 2 requests answered, 0 refused; versions 1"
    assert errors == ""


def test_json_and_rest_alone_and_a_clean_end_on_sigterm(folder):
    server = start(str(folder), "--rest-port", "0", "--no-grpc", "--json")
    lines = [server.stderr.readline() for _ in range(4)]
    assert lines[2] == "gRPC  off\n"
    url = lines[1].split()[1]
    body = json.dumps({"instances": [{"b64": "!"}]}).encode()
    assert urllib3.request("POST", f"{url}:predict", body=body, timeout=60.0).status == 400
    ended_with_a_request_under_way(server, signal.SIGTERM, url)
    output, errors = server.communicate(timeout=60)
    assert server.returncode == 0
    assert json.loads(output) == {"model": "tiny", "versions": [1], "answered": 2, "refused": 1}
    assert errors == "ending: requests under way are still answered\n"


def test_a_port_in_use(folder, capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (["--rest-port", port, "--grpc-port", "0"], ["--rest-port", "0", "--grpc-port", port]):
            with pytest.raises(SystemExit) as end:
                main(["serve", str(folder), *arguments])
            output, errors = capfd.readouterr()
            assert (end.value.code, output) == (2, "")
            (told,) = errors.splitlines()
            assert f"cannot listen on 127.0.0.1:{port}" in told
