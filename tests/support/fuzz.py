"""Sends hostile requests to an export, or to `tfssl serve`, and says what came of it.

python -m tests.support.fuzz saved_model|rest|grpc [COUNT] [SEED]: of a tiny export made for it, as JSON; see fuzz_test.
"""

import concurrent.futures
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tfssl
from tests.support.hostile import Generator, Hostile, lying_protos

SIZE, SAMPLES = 16, 400
EVERY = 40
"""Requests between two that are good."""
THREADS = 8
"""That send at once."""
CLEAN = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "400", "404", "408", "413"}
Sent = tuple[str, str]
"""What a request came to: "answered", or the code that it was refused with, and the words."""


@dataclasses.dataclass
class Report:
    """What came of it all. Memory in MiB is of the process that answered; `peak` is the most since the start."""

    target: str
    answered: int = 0
    refused: int = 0
    codes: dict[str, int] = dataclasses.field(default_factory=dict)
    unclean: list[str] = dataclasses.field(default_factory=list)
    good: int = 0
    slowest: float = 0.0
    slowest_kind: str = ""
    seconds: float = 0.0
    before: int = 0
    after: int = 0
    peak: int = 0

    def add(self, kind: str, code: str, words: str, taken: float) -> None:
        """Counts a request."""
        if taken > self.slowest:
            self.slowest, self.slowest_kind = round(taken, 3), kind
        self.codes[code] = self.codes.get(code, 0) + 1
        if code == "answered":
            self.answered += 1
            return
        self.refused += 1
        if code not in CLEAN or not words or "Traceback" in words:
            self.unclean.append(f"{kind}: {code} {words}"[:300])


def fuzz(
    target: str, send: Callable[[Hostile], Sent], good: Callable[[], None], process: int, count: int, seed: int
) -> Report:
    """Sends `count` requests, with a good one every `EVERY`, which raises where it is not answered right."""
    report, begun = Report(target), time.perf_counter()
    good()
    report.before = _memory(process, "VmRSS")
    Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak counts from here
    numbered, lock = enumerate(Generator(seed, SIZE, SAMPLES).requests(count)), threading.Lock()

    def ask(_: int) -> None:
        while True:
            with lock:
                number, request = next(numbered, (-1, None))
            if request is None:
                return
            start = time.perf_counter()
            code, words = send(request)
            with lock:
                report.add(request.kind, code, words, time.perf_counter() - start)
                if number % 500 == 0:
                    report.seconds, report.peak = round(time.perf_counter() - begun, 1), _memory(process, "VmHWM")
                    print(json.dumps(vars(report)), file=sys.stderr, flush=True)
            if number % EVERY == 0:
                good()
                with lock:
                    report.good += 1

    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    good()
    time.sleep(1.0)
    report.after, report.peak = _memory(process, "VmRSS"), _memory(process, "VmHWM")
    report.seconds = round(time.perf_counter() - begun, 1)
    return report


def saved_model(folder: Path, count: int, seed: int) -> Report:
    """Against the signatures of a SavedModel in this process."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(folder)).signatures
    pixels = np.full((2, SIZE, SIZE, 3), 51, np.uint8)

    def good() -> None:
        embedding = signatures["pixels"](pixels=tf.constant(pixels))["embedding"].numpy()
        np.testing.assert_allclose(embedding, 1.2, atol=1e-5)

    def send(request: Hostile) -> Sent:
        inputs = {"image_bytes": np.array([request.body], object)} if request.inputs is None else request.inputs
        try:
            kinds = {name: tf.string if array.dtype == object else None for name, array in inputs.items()}
            signatures[request.signature](**{name: tf.constant(inputs[name], kind) for name, kind in kinds.items()})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError, KeyError) as problem:
            return "INVALID_ARGUMENT", str(problem)
        return "answered", ""

    signatures["serving_default"](image_bytes=tf.constant([b""]))  # else each thread prepares it
    return fuzz("saved_model", send, good, os.getpid(), count, seed)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[int, str, str]]:
    """`tfssl serve` as a process of its own: its number, and its addresses over REST and gRPC."""
    command = [
        sys.executable,
        "-c",
        "from tfssl.cli.main import main; main()",
        "serve",
        str(folder),
        "--name",
        "encoder",
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(tfssl.__file__).parents[1])}
    command += ["--rest-port", "0", "--grpc-port", "0", "--timeout", "300"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(4)]
        rest, rpc = (re.search(r"127\.0\.0\.1:\d+", line)[0] for line in lines[1:3])
        yield process.pid, rest, rpc
        assert process.poll() is None, "the server died"
    finally:
        process.terminate()
        assert process.wait(60) == 0


def rest(server: tuple[int, str, str], count: int, seed: int) -> Report:
    """Against REST, of what `serving` gives."""
    import urllib3

    process, address, _ = server
    with urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=300.0) as pool:
        url = f"http://{address}/v1/models/encoder:predict"

        def send(request: Hostile) -> Sent:
            answer = pool.request("POST", url, body=request.as_json())
            found = answer.json()
            return ("answered", "") if answer.status == 200 else (str(answer.status), found["error"])

        def good() -> None:
            body = json.dumps({"signature_name": "pixels", "instances": np.full((2, SIZE, SIZE, 3), 51).tolist()})
            np.testing.assert_allclose(pool.request("POST", url, body=body).json()["predictions"], 1.2, atol=1e-5)

        return fuzz("rest", send, good, process, count, seed)


def grpc(server: tuple[int, str, str], count: int, seed: int) -> Report:
    """Against gRPC, of what `serving` gives: tensors, raw bytes, and tensors that lie."""
    import grpc as library
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    process, _, address = server
    with library.insecure_channel(address) as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        liars = lying_protos("serving_default", "image_bytes") + lying_protos("pixels", "pixels")

        def message(signature: str, inputs: dict[str, np.ndarray]) -> bytes:
            made = predict_pb2.PredictRequest(model_spec={"name": "encoder", "signature_name": signature})
            for name, array in inputs.items():
                dtype = tf.string if array.dtype == object else None
                made.inputs[name].CopyFrom(tf.make_tensor_proto(array, dtype, array.shape))
            return made.SerializeToString()

        def send(request: Hostile) -> Sent:
            if request.inputs is None:
                number = len(request.body) + sum(request.body[:50])
                data = request.body if number % 3 == 0 else liars[number % len(liars)]
            else:
                data = message(request.signature, request.inputs)
            try:
                call(data, timeout=120.0)
            except library.RpcError as problem:
                return problem.code().name, problem.details()
            return "answered", ""

        def good() -> None:
            answer = call(message("pixels", {"pixels": np.full((2, SIZE, SIZE, 3), 51, np.uint8)}), timeout=120.0)
            found = predict_pb2.PredictResponse.FromString(answer).outputs["embedding"]
            np.testing.assert_allclose(tf.make_ndarray(found), np.full((2, 3), 1.2), atol=1e-5)

        return fuzz("grpc", send, good, process, count, seed)


def _memory(process: int, field: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) // 1024


def main(target: str, count: int = 10_000, seed: int = 0) -> dict[str, Any]:
    """Makes a tiny export, and sends what is asked for."""
    from tests.support.tiny_models import write_version

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_version(folder, 1)
        if target == "saved_model":
            return vars(saved_model(folder / "1", count, seed))
        with serving(folder) as server:
            return vars({"rest": rest, "grpc": grpc}[target](server, count, seed))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], *map(int, sys.argv[2:]))))
