"""The encoder of a run or of an export, with what tells whether it is the one that made some embeddings."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl.base.errors import NewerFormatError, UserError
from tfssl.base.files import require_text
from tfssl.base.result import key_of
from tfssl.export.signatures import limits
from tfssl.export.versions import description, newest_version
from tfssl.runs.classifiers import Classifier, is_classifier, load_classifier
from tfssl.runs.run import Run, load_run

SIGNATURES = {"image": "pixels", "sound": "waveform", "classes": "classify_pixels"}
"""Signatures of an export, by the kind of encoder. That of "classes" gives the probability of each class."""
OUTPUTS = {"classes": "probabilities"}
"""Their outputs, where it is not the embedding."""


@dataclasses.dataclass(frozen=True)
class Encoder:
    """Makes embeddings.

    Attributes:
      model: path of the run or of the exported version.
      kind: "image" or "sound"; "words" for a table; "classes" for a classifier, whose probabilities are what it makes.
      stage: the stage of a run; None for the last one, or of an export.
      size: side of pictures, pixels; samples of a window of sound; words of a table.
      sample_rate: of sound, hertz; 0 for pictures.
      dimensions: D.
      fingerprint: hash of the weights; that of a run and of its export are the same, if the export has all dimensions
        and lengths as they are.
      function: uint8 [N, size, size, 3] or float32 [N, size] -> float32 [N, D].
    """

    model: str
    kind: str
    stage: str | None = dataclasses.field(metadata={"key": "layer"})
    size: int
    sample_rate: int = dataclasses.field(metadata={"key": "rate"})
    dimensions: int
    fingerprint: str
    function: Callable[[Any], tf.Tensor] = dataclasses.field(compare=False, repr=False)

    def about(self) -> dict[str, Any]:
        """Return what is recorded beside embeddings: the fields, by the keys that files have."""
        return {key_of(each): getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "function"}

    def check_made(self, made_by: dict[str, Any], what: str) -> None:
        """Raise UserError where another encoder made what `made_by` is the record of."""
        own = self.about()
        for key in ("kind", "size", "rate", "dimensions", "fingerprint"):
            if own[key] != made_by[key]:
                word = "sample rate" if key == "rate" else key
                reason = "its weights differ" if key == "fingerprint" else f"{word} {own[key]}, not {made_by[key]}"
                raise UserError(
                    f"{self.model} is not the encoder that made {what} ({reason}); give a copy of {made_by['model']}"
                )


def load_encoder(model: str | Path | Run, stage: str | None = None, kind: str = "image") -> Encoder:
    """Load the encoder of a run, its folder, or a folder that `export` wrote.

    Args:
      stage: a stage of a run; an export has its own.
      kind: "image" or "sound"; "words" for a table of words; "classes" for a classifier, or its export.

    Raises:
      UserError: no such run, export or stage; no sound encoder, or no classifier in it.
    """
    if not isinstance(model, Run):
        require_text(Path(model))
    if kind == "classes" and is_classifier(model):
        return _of_classifier(load_classifier(model))
    if kind == "classes" and (isinstance(model, Run) or (Path(model) / "run.json").exists()):
        raise UserError(f"{model} is a run, which knows no classes; give what `tfssl finetune {model} DATA` wrote")
    if isinstance(model, Run) or (Path(model) / "run.json").exists():
        return _of_run(load_run(model), stage, kind)
    try:
        folder = newest_version(Path(model))
    except NewerFormatError:
        raise
    except UserError as problem:
        raise UserError(
            f"{model} is no run and no export; expected a folder that pretrain or export wrote"
        ) from problem
    if stage is not None:
        raise UserError(f"{model} is an export, whose stage is fixed; leave --stage out, or give the run")
    return _of_export(folder, kind)


def _of_run(run: Run, stage: str | None, kind: str) -> Encoder:
    encoder = run.encoder(stage) if kind == "image" else run.sound_encoder(stage)
    return Encoder(
        model=str(run.folder.resolve()),
        kind=kind,
        stage=stage,
        size=int(encoder.input_shape[1]),
        sample_rate=run.sound["rate"] if kind == "sound" and run.sound else 0,
        dimensions=int(encoder.output_shape[-1]),
        fingerprint=fingerprint(encoder.weights),
        function=tf.function(lambda rows: encoder(rows, training=False), reduce_retracing=True),
    )


def _of_classifier(classifier: Classifier) -> Encoder:
    network = classifier.network
    return Encoder(
        model=str(classifier.folder.resolve()),
        kind="classes",
        stage=None,
        size=classifier.size,
        sample_rate=0,
        dimensions=len(classifier.classes),
        fingerprint=fingerprint(network.weights),
        function=tf.function(lambda rows: network(rows, training=False), reduce_retracing=True),
    )


def _of_export(folder: Path, kind: str) -> Encoder:
    loaded = tf.saved_model.load(str(folder))
    name = SIGNATURES[kind]
    if name not in loaded.signatures:
        raise UserError(f"{folder} has no signature {name}; its signatures are: {', '.join(loaded.signatures)}")
    signature, output = loaded.signatures[name], OUTPUTS.get(kind, "embedding")
    (spec,) = signature.structured_input_signature[1].values()

    def function(rows: Any) -> tf.Tensor:
        parts = [rows[start : start + limits.MAX_ROWS] for start in range(0, len(rows), limits.MAX_ROWS)]
        return tf.concat([signature(**{spec.name: tf.constant(part)})[output] for part in parts], 0)

    function.keep = loaded  # type: ignore[attr-defined]  # signatures do not keep their model alive
    about = description(folder)
    sound = about.get("sound")
    return Encoder(
        model=str(folder.resolve()),
        kind=kind,
        stage=None,
        size=int(spec.shape[1]),
        sample_rate=sound["rate"] if kind == "sound" and sound else 0,
        dimensions=int(signature.structured_outputs[output].shape[-1]),
        fingerprint=fingerprint(signature.variables, "length 1" if about.get("l2_normalise") else ""),
        function=function,
    )


@contextlib.contextmanager
def on_server(encoder: Encoder, server: str, model_name: str | None) -> Iterator[tuple[Encoder, dict[str, Any]]]:
    """Yield the encoder of an export, computed by a server; the golden vectors of the export tell that it serves that.

    The server is asked for this version by its number, so that all rows are of it.

    Args:
      server: address, `host:8500` or `http://host:8501`.
      model_name: by which the server knows the model; that of the export's folder where None.

    Yields:
      The encoder, and what is recorded of the server: address and version.

    Raises:
      UserError: the server is down, or has another model; an export without golden vectors.
    """
    from tfssl.export.checking.golden import read_golden
    from tfssl.export.checking.server_replay import client_of, replay_on_server

    version = Path(encoder.model)
    try:
        golden = read_golden(version / "assets.extra" / "golden.npz")
    except (OSError, ValueError, KeyError) as problem:
        raise UserError(
            f"{version} has no golden vectors, which tell whether a server serves it; leave --server out"
        ) from problem
    with client_of(version, server, model_name) as client:
        (replay,) = replay_on_server(client, server, version, golden, [SIGNATURES[encoder.kind]])
        if not replay.ok:
            what = "probabilities" if encoder.kind == "classes" else "embeddings"
            raise UserError(
                f"{server} does not serve {version}: its {what} of the golden vectors differ by"
                f" {replay.difference:.1e} (allowed {replay.tolerance:.1e}); give the export that it serves"
            )
        about = {"address": server, "version": client.model().version}

        def function(rows: Any) -> tf.Tensor:
            pixels = np.asarray(rows)
            return tf.constant(client.classify(pixels)[2] if encoder.kind == "classes" else client.embed(pixels))

        yield dataclasses.replace(encoder, function=function), about


def fingerprint(variables: Sequence[Any], also: str = "") -> str:
    """Hash the values, in no order, as a SavedModel has another order than Keras; and `also`, which they do not say."""
    each = sorted(hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest() for value in variables)
    return hashlib.sha256("".join([*each, also]).encode()).hexdigest()
