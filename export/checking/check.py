"""`check`: replays the golden vectors of an export: is what is served what was measured?"""

import dataclasses
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result, plain
from tfssl.export.checking.golden import Golden, read_golden
from tfssl.export.checking.replay import Replay, compare, replay
from tfssl.export.config import CheckSettings
from tfssl.export.formats.onnx import FOLDER as ONNX_FOLDER
from tfssl.export.formats.onnx import OnnxEncoder, onnx_files
from tfssl.export.formats.tflite import FOLDER, TFLiteEncoder, tflite_files
from tfssl.export.versions import newest_version

TFLITE = {"float32": 1e-3, "float16": 3e-2}
ONNX = 1e-4


@dataclasses.dataclass(frozen=True)
class Check(Result):
    """The result of a replay.

    Attributes:
      folder: the version that was replayed.
      replays: the replays of each signature, and of each file for other runtimes.
    """

    folder: Path
    replays: tuple[Replay, ...]

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return all(replay.ok for replay in self.replays)

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints."""
        replays = [plain(replay) | {"ok": replay.ok} for replay in self.replays]
        return {"folder": str(self.folder), "ok": self.ok, "replays": replays}

    def __str__(self) -> str:
        head = f"{'signature or file':27}{'rows':>5}{'difference':>12}{'least cosine':>14}{'tolerance':>11}"
        lines = [f"{self.folder}: {'as measured' if self.ok else 'NOT as measured'}", head]
        return "\n".join(lines + [str(replay) for replay in self.replays])


@on_its_own()
def check(folder: str | Path, server: str | None = None, model_name: str | None = None) -> Check:
    """Replay the golden vectors of the newest version in a folder, or of the version that the folder is.

    Through every signature of the SavedModel, and through each TFLite and ONNX file that lies there.

    Args:
      folder: an export.
      server: address of a server that is to be replayed too: `host:8500` for gRPC, `http://host:8501` for REST. It is
        asked for the version of the same number.
      model_name: by which the server knows the model; that of the folder where None.

    Raises:
      UserError: the folder is no export, or one that cannot be loaded; it has TFLite files and LiteRT is missing, or
        ONNX files and onnxruntime; the server is down, or has another model.
    """
    CheckSettings(**locals())
    version = newest_version(folder)
    path = version / "assets.extra" / "golden.npz"
    if not path.is_file():
        raise UserError(f"{version} has no golden vectors ({path.name}); expected a folder that `tfssl export` wrote")
    try:
        golden = read_golden(path)
        loaded = tf.saved_model.load(str(version))

        def call(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            answers = loaded.signatures[name](**{key: tf.constant(rows) for key, rows in inputs.items()})
            return {key: rows.numpy() for key, rows in answers.items()}

        replays = replay(golden, call)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, tf.errors.OpError) as problem:
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{version} cannot be replayed ({reason}); export the run again") from problem
    replays += [_check_file(version, name, facts, golden) for name, facts in tflite_files(version).items()]
    for name in onnx_files(version):
        encoder = OnnxEncoder(version / ONNX_FOLDER / name)
        replays.append(_compare_embedding(name, encoder, name.removesuffix(".onnx"), golden, ONNX))
    if server is not None:
        from tfssl.export.checking.server_replay import client_of, replay_on_server

        with client_of(version, server, model_name) as client:
            more = replay_on_server(client, server, version, golden)
        replays += [dataclasses.replace(one, name=f"{one.name}, server") for one in more]
    return Check(version, tuple(replays))


def _check_file(version: Path, name: str, facts: dict[str, Any], golden: Golden) -> Replay:
    path = version / FOLDER / name
    if not path.is_file():
        raise UserError(f"{path} is missing; export the run again")
    return _compare_embedding(name, TFLiteEncoder(path), facts["signature"], golden, TFLITE.get(facts["precision"]))


def _compare_embedding(
    name: str, encoder: Callable[[np.ndarray], np.ndarray], kind: str, golden: Golden, allowed: float | None
) -> Replay:
    inputs, expected = golden.inputs[kind], golden.answers[kind]["embedding"]
    if allowed is None and kind == "pixels":
        pictures = golden.answers["serving_default"]["valid"]
        inputs, expected = inputs[pictures], expected[pictures]
    return compare(name, {"embedding": expected}, {"embedding": encoder(inputs)}, allowed)
