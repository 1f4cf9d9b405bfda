"""Clients that load a server, in a process without TensorFlow: `python -m tfssl.export.server.load FOLDER`.

FOLDER holds plan.json, which `write_plan` wrote. Every answer is compared with what is expected; prints JSON.
"""

import concurrent.futures
import dataclasses
import json
import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-4
"""Largest difference of a number, times the largest of all where this is over 1."""
PREDICT = "/tensorflow.serving.PredictionService/Predict"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Requests of one kind.

    Attributes:
      name: for people.
      protocol: "grpc" or "rest".
      request: its bytes, ready to be sent.
      embedding: that is expected, float32 [N, D].
    """

    name: str
    protocol: str
    request: bytes
    embedding: np.ndarray


def write_plan(
    folder: Path, rest: str, grpc: str, model: str, kinds: Sequence[Kind], clients: int, seconds: float, count: int = 0
) -> None:
    """Write what `main` reads. Import TensorFlow, for the stubs.

    Args:
      folder: an empty one.
      rest, grpc: addresses, "host:port".
      model: its name.
      kinds: the kinds of requests, of which each client sends one after another.
      clients: that ask at once.
      seconds: for which they do.
      count: number of all requests, in place of seconds, where it is not 0.
    """
    from tensorflow_serving.apis import predict_pb2

    files: dict[str, bytes] = {}

    def collect(file: Any) -> None:
        for needed in file.dependencies:
            collect(needed)
        files.setdefault(file.name, file.serialized_pb)

    collect(predict_pb2.PredictResponse.DESCRIPTOR.file)
    for number, data in enumerate(files.values()):
        (folder / f"{number}.descriptor").write_bytes(data)
    for number, kind in enumerate(kinds):
        (folder / f"{number}.request").write_bytes(kind.request)
        np.save(folder / f"{number}.npy", kind.embedding)
    plan = {
        "rest": f"http://{rest}/v1/models/{model}:predict",
        "grpc": grpc,
        "kinds": [[kind.name, kind.protocol] for kind in kinds],
        "descriptors": len(files),
        "clients": clients,
        "seconds": seconds,
        "count": count,
    }
    (folder / "plan.json").write_text(json.dumps(plan))


def main(folder: Path) -> dict[str, Any]:
    """Load as planned: return seconds of each request by kind, what was lost, the versions that answered over gRPC."""
    plan = json.loads((folder / "plan.json").read_text())
    kinds = [
        Kind(name, protocol, (folder / f"{number}.request").read_bytes(), np.load(folder / f"{number}.npy"))
        for number, (name, protocol) in enumerate(plan["kinds"])
    ]
    ask_grpc, versions = _grpc(plan["grpc"], _response(folder, plan["descriptors"]))
    ask = {"grpc": ask_grpc, "rest": _rest(plan["rest"], plan["clients"])}
    for kind in kinds:  # connects
        ask[kind.protocol](kind.request)
    begun = time.perf_counter()
    numbers, lock = iter(range(plan["count"] or sys.maxsize)), threading.Lock()

    def client(seed: int) -> tuple[dict[str, list[float]], list[str]]:
        taken: dict[str, list[float]] = {kind.name: [] for kind in kinds}
        lost, order = [], random.Random(seed)
        while plan["count"] or time.perf_counter() - begun < plan["seconds"]:
            with lock:
                if next(numbers, None) is None:
                    break
            kind = order.choice(kinds)
            start = time.perf_counter()
            try:
                embedding = ask[kind.protocol](kind.request)
                taken[kind.name].append(time.perf_counter() - start)
                largest = max(1.0, float(np.abs(kind.embedding).max()))
                np.testing.assert_allclose(embedding, kind.embedding, rtol=0, atol=TOLERANCE * largest)
            except Exception as problem:
                lost.append(f"{kind.name}: {problem}"[:300])
        return taken, lost

    with concurrent.futures.ThreadPoolExecutor(plan["clients"]) as pool:
        results = list(pool.map(client, range(plan["clients"])))
    return {
        "seconds": time.perf_counter() - begun,
        "taken": {kind.name: [each for taken, _ in results for each in taken[kind.name]] for kind in kinds},
        "lost": [each for _, lost in results for each in lost],
        "versions": sorted(versions),
    }


def _response(folder: Path, count: int) -> Any:
    """Make the class PredictResponse, from descriptors: its stub would import TensorFlow."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for number in range(count):
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString((folder / f"{number}.descriptor").read_bytes()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.PredictResponse"))


def _grpc(address: str, response: Any) -> tuple[Callable[[bytes], np.ndarray], set[int]]:
    import grpc

    channel = grpc.insecure_channel(address, [("grpc.max_receive_message_length", -1)])
    call = channel.unary_unary(PREDICT)
    versions: set[int] = set()

    def ask(request: bytes) -> np.ndarray:
        answer = response.FromString(call(request, timeout=120.0))
        versions.add(answer.model_spec.version.value)
        tensor = answer.outputs["embedding"]
        return np.array(tensor.float_val, np.float32).reshape([each.size for each in tensor.tensor_shape.dim])

    return ask, versions


def _rest(url: str, clients: int) -> Callable[[bytes], np.ndarray]:
    import urllib3

    pool = urllib3.PoolManager(maxsize=clients, retries=False, timeout=120.0)

    def ask(request: bytes) -> np.ndarray:
        answer = pool.request("POST", url, body=request)
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {answer.data[:200]!r}")
        outputs = answer.json()["outputs"]
        return np.array(outputs["embedding"] if isinstance(outputs, dict) else outputs, np.float32)

    return ask


if __name__ == "__main__":
    result = main(Path(sys.argv[1]))
    assert "tensorflow" not in sys.modules
    print(json.dumps(result))
