"""`bench serving`: `tfssl serve` under load while versions change, and its throughput against the bare SavedModel."""

import base64
import contextlib
import dataclasses
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.benchmarks.config import BenchServingSettings
from tfssl.export.checking.golden import read_golden
from tfssl.export.server.load import Kind, write_plan
from tfssl.export.versions import newest_version

MODEL = "encoder"
SWAPS = 2


@dataclasses.dataclass(frozen=True)
class Latency:
    """Requests of one kind: how many were answered, and milliseconds that half and 99 % of them took at most."""

    kind: str
    requests: int
    p50: float
    p99: float


@dataclasses.dataclass(frozen=True)
class ServingTable(Result):
    """What `bench_serving` measured.

    Attributes:
      export: folder of the version.
      clients, seconds: that asked, and for how long.
      requests_per_second: of all kinds.
      latencies: by kind.
      lost: requests without a right answer: what went wrong with each.
      versions: that answered, as they were swapped.
      batch: rows of a request of pixels.
      loop: rows a second of calling the SavedModel in a loop.
      grpc, rest: rows a second through the server, as shares of `loop`, medians of paired passes.
    """

    export: Path
    clients: int
    seconds: float
    requests_per_second: float
    latencies: tuple[Latency, ...]
    lost: tuple[str, ...]
    versions: tuple[int, ...]
    batch: int
    loop: float
    grpc: float
    rest: float

    @property
    def ok(self) -> bool:
        """Whether no request was lost."""
        return not self.lost

    def __str__(self) -> str:
        lines = [
            f"{self.export}: {self.clients} clients for {self.seconds:.0f} s, versions {self.versions} swapped in:"
            f" {self.requests_per_second:.1f} requests/s, {len(self.lost)} lost",
            f"{'request':28}{'answered':>9}{'p50, ms':>9}{'p99, ms':>9}",
            *(f"{each.kind:28}{each.requests:>9,}{each.p50:>9.1f}{each.p99:>9.1f}" for each in self.latencies),
            f"{self.batch} rows of pixels a request: SavedModel in a loop {self.loop:.1f} rows/s,"
            f" gRPC {self.grpc:.2f} of it, REST {self.rest:.2f}",
        ]
        return "\n".join(lines + [f"lost: {each}" for each in self.lost[:5]])


@on_its_own()
def bench_serving(
    folder: str | Path, seconds: float = 300.0, clients: int = 16, batch: int = 32, passes: int = 5, requests: int = 8
) -> ServingTable:
    """Measure `tfssl serve` on this machine, over loopback, with clients without TensorFlow beside it.

    First mixed load, REST and gRPC, of encoded pictures and pixels, one and many rows, while a copy of the version is
    swapped in twice; every answer is compared with the golden vectors. Then batches of pixels, a few at once, in turn
    with calling the SavedModel in a loop.

    Args:
      folder: an export.
      seconds: of the mixed load.
      clients: that ask at once.
      batch: rows of a request of pixels, of the larger ones.
      passes: of the throughput; medians count.
      requests: of a pass.

    Raises:
      UserError: no export, or one without golden vectors.
    """
    BenchServingSettings(**locals())
    version = newest_version(folder)
    path = version / "assets.extra" / "golden.npz"
    if not path.is_file():
        raise UserError(f"{version} has no golden vectors ({path.name}); expected a folder that `tfssl export` wrote")
    try:
        kinds = _kinds(version, batch)
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(f"{path} cannot be read ({problem}); export the run again") from problem
    with tempfile.TemporaryDirectory(prefix="tfssl-") as place:
        models = Path(place) / MODEL
        _add(version, models, 1)
        with _serving(models) as (rest, rpc):
            mixed = Path(place) / "mixed"
            process = _start(mixed, rest, rpc, kinds, clients, seconds)
            for number in range(2, 2 + SWAPS):
                time.sleep(seconds / (SWAPS + 1))
                _add(version, models, number)
            load = _result(process)
            large = [kind for kind in kinds if kind.name.endswith(f"pixels, {batch} rows")]
            rates = _throughput(version, Path(place), rest, rpc, large, batch, passes, requests)
    return ServingTable(
        export=version,
        clients=clients,
        seconds=load["seconds"],
        requests_per_second=sum(map(len, load["taken"].values())) / load["seconds"],
        latencies=tuple(_latency(kind, taken) for kind, taken in load["taken"].items()),
        lost=tuple(load["lost"]),
        versions=tuple(load["versions"]),
        batch=batch,
        **rates,
    )


def _kinds(version: Path, batch: int) -> list[Kind]:
    golden = read_golden(version / "assets.extra" / "golden.npz")
    encoded, pixels = golden.inputs["image_bytes"], golden.inputs["pixels"]
    answers = {"": golden.answers["serving_default"]["embedding"], "pixels": golden.answers["pixels"]["embedding"]}

    def some(rows: np.ndarray, count: int) -> np.ndarray:
        return rows[np.arange(count) % len(rows)]

    def rpc(signature: str, name: str, rows: np.ndarray) -> bytes:
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(model_spec={"name": MODEL, "signature_name": signature})
        request.inputs[name].CopyFrom(tf.make_tensor_proto(rows))
        return request.SerializeToString()

    def rest(signature: str, name: str, rows: np.ndarray) -> bytes:
        plain = rows.tolist() if signature else [{"b64": base64.b64encode(row).decode()} for row in rows]
        return json.dumps({"signature_name": signature, "inputs": {name: plain}}).encode()

    kinds = []
    for protocol, made in (("grpc", rpc), ("rest", rest)):
        for signature, name, rows in (("", "image_bytes", encoded), ("pixels", "pixels", pixels)):
            for count in (1, len(encoded) if name == "image_bytes" else batch):
                what = "pictures" if name == "image_bytes" else "pixels"
                label = f"{protocol} {what}, {count} row{'s' * (count > 1)}"
                expected = some(answers[signature], count)
                kinds.append(Kind(label, protocol, made(signature, name, some(rows, count)), expected))
    return kinds


def _add(version: Path, models: Path, number: int) -> None:
    """Add another version with the same files, by a rename."""
    building = models / f".{number}"
    shutil.copytree(version, building)
    building.rename(models / str(number))


@contextlib.contextmanager
def _serving(models: Path) -> Iterator[tuple[str, str]]:
    """Run `tfssl serve` as a process; yield its addresses over REST and gRPC."""
    command = [sys.executable, "-m", "tfssl", "serve", str(models), "--rest-port", "0", "--grpc-port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        lines = [process.stdout.readline() for _ in range(3)]  # type: ignore[union-attr]
        addresses = [re.search(r"[\d.]+:\d+", line) for line in lines[1:]]
        if None in addresses:
            raise RuntimeError("tfssl serve did not start")
        rest, rpc = (each[0] for each in addresses if each)
        yield rest, rpc
    finally:
        process.terminate()
        process.communicate(timeout=120)


def _start(
    place: Path, rest: str, rpc: str, kinds: Sequence[Kind], clients: int, seconds: float, count: int = 0
) -> "subprocess.Popen[str]":
    place.mkdir()
    write_plan(place, rest, rpc, MODEL, kinds, clients, seconds, count)
    command = [sys.executable, "-m", "tfssl.export.server.load", str(place)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def _result(process: "subprocess.Popen[str]") -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError("the clients failed")
    return json.loads(output)


def _latency(kind: str, taken: list[float]) -> Latency:
    p50, p99 = (1000 * float(np.percentile(taken, share)) if taken else 0.0 for share in (50, 99))
    return Latency(kind, len(taken), p50, p99)


def _throughput(
    version: Path, place: Path, rest: str, rpc: str, kinds: Sequence[Kind], batch: int, passes: int, requests: int
) -> dict[str, float]:
    """Measure rows a second of a loop, and as shares of it through each protocol; they take turns."""
    golden = read_golden(version / "assets.extra" / "golden.npz")
    pixels = golden.inputs["pixels"]
    rows = tf.constant(pixels[np.arange(batch) % len(pixels)])
    signature = tf.saved_model.load(str(version)).signatures["pixels"]
    signature(pixels=rows)
    rates: dict[str, list[float]] = {"loop": [], "grpc": [], "rest": []}
    for number in range(passes):
        start = time.perf_counter()
        for _ in range(requests):
            signature(pixels=rows)["embedding"].numpy()
        rates["loop"].append(requests * batch / (time.perf_counter() - start))
        for kind in kinds:
            folder = place / f"{number}-{kind.protocol}"
            result = _result(_start(folder, rest, rpc, [kind], 2, 0.0, requests))
            if result["lost"]:
                raise RuntimeError(f"a request was lost: {result['lost'][0]}")
            rates[kind.protocol].append(requests * batch / result["seconds"])
    shares = {
        name: statistics.median(one / loop for one, loop in zip(rates[name], rates["loop"], strict=True))
        for name in ("grpc", "rest")
    }
    return {"loop": statistics.median(rates["loop"]), **shares}
