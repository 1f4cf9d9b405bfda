"""`export`: an encoder as a SavedModel that decodes, crops and scales by itself, for TensorFlow Serving or anybody.

DIR/<version>/saved_model.pb, variables/   see `export.signatures` for what it answers
DIR/<version>/encoder.keras                the encoder as a Keras model of stock layers; of sound sound_encoder.keras
DIR/<version>/assets.extra/golden.npz      pictures of the run's own data and their embeddings: see `export.check`
DIR/<version>/tflite/, onnx/               files for devices and other runtimes, where asked for: see there
DIR/<version>/assets.extra/encoder.json    format, stage, places, what it was measured at, size, trunk, dimensions
DIR/<version>/assets.extra/tf_serving_warmup_requests    see `export.deployment.warm_up`
DIR/models.config, batching.config, compose.yaml, kubernetes.yaml    where missing: see `export.deployment.files`
"""

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_errors
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.export.checking.golden import make_golden, own_source
from tfssl.export.config import ExportSettings
from tfssl.export.deployment.files import deployed_name, differing_names, write_deployment
from tfssl.export.deployment.warm_up import write_warm_up
from tfssl.export.formats.onnx import onnx_files, require_onnx, write_onnx
from tfssl.export.formats.projection import BATCH, SAMPLE, check_dimensions, project
from tfssl.export.formats.samples import sample
from tfssl.export.formats.tflite import check_precisions, tflite_files, write_tflite
from tfssl.export.quietly import only_errors_logged
from tfssl.export.signatures.encoder import Signature, encoder_signatures
from tfssl.export.signatures.heads import head_signatures
from tfssl.export.versions import DESCRIPTION, FORMAT, check_version, new_version, newest_version

if TYPE_CHECKING:
    from tfssl.runs.run import Run
    from tfssl.runs.served import Embedding

__all__ = ["Exported", "export", "newest_version"]


@dataclasses.dataclass(frozen=True)
class Exported(Result):
    """What `export` wrote.

    Attributes:
      saved_model: folder of the new version.
      signatures: their names.
      embedding_size: numbers in an embedding.
      stage, pool, measured: which embedding of pictures it is and what `evaluate` measured of it: see
        `tfssl.runs.served.Embedding`.
      embedding: the same in words.
      tflite, onnx: names of the TFLite and ONNX files.
      deployment: names of the files beside the versions that were missing and are there now.
    """

    saved_model: Path
    signatures: tuple[str, ...]
    embedding_size: int
    stage: str = dataclasses.field(metadata={"key": "layer"})
    pool: int
    measured: Mapping[str, Any]
    embedding: str
    tflite: tuple[str, ...] = ()
    onnx: tuple[str, ...] = ()
    deployment: tuple[str, ...] = ()

    def __str__(self) -> str:
        signatures = ", ".join(self.signatures)
        files = f"; TFLite {', '.join(self.tflite)}" if self.tflite else ""
        files += f"; ONNX {', '.join(self.onnx)}" if self.onnx else ""
        size = f"embeddings of {self.embedding_size} numbers"
        names = differing_names(self.saved_model.parent)
        beside = f"\nbeside it {', '.join(self.deployment)}{names and f': {names}'}" if self.deployment else ""
        made = f"SavedModel {self.saved_model}: {size}; signatures {signatures}{files}"
        return f"{made}\nembedding: {self.embedding}{beside}"


@on_its_own()
def export(
    run: "Run | str | Path",
    folder: str | Path,
    stage: str | None = None,
    version: int | None = None,
    tflite: str | Sequence[str] = (),
    onnx: bool = False,
    dimensions: int | None = None,
    l2_normalise: bool = False,
    pool: int = 1,
) -> Exported:
    """Write the encoder of a run to `folder/<version>`, whole or not at all.

    Signatures: `serving_default` takes `image_bytes` string [N], encoded pictures, and returns `embedding` float32
    [N, D] and `valid` bool [N]; a row that is no picture gives false and zeros. `pixels` takes `pixels` uint8
    [N, S, S, 3], S the run's size, and returns `embedding`. Where a task of the run listened, `waveform` takes
    `waveform` float32 [N, samples] in -1..1 at the run's sample rate, and returns `embedding` of the sound and `valid`,
    false where a number is not finite or far too large. Tasks of the run that are served have a signature each
    (`predict_rotation`, `colorize`, `localise`): see `export.signatures.heads`. Only ops of TensorFlow itself. What may
    be sent is in `limits`; an empty request gets an empty answer. The golden vectors hold up to eleven pictures, and a
    dozen windows of sound, of the run's own data: they travel with the model.

    Args:
      run: a run, or its folder.
      folder: DIR; made where it is missing.
      stage: a stage of pictures, such as "stage3"; where None the one that the run's last evaluation found best as it
        is exported, or the last one where there is none. For sound it is the last one.
      version: number of the version; one more than the largest there where None.
      tflite: precisions of TFLite files, some of "float32", "float16", "int8": see `export.tflite.write_tflite`.
      onnx: whether to write ONNX files: see `export.onnx`.
      dimensions: of the embeddings, by principal components of the run's own data (a sample of 2,048), of picture and
        of sound; all where None. In every file and signature alike.
      l2_normalise: whether embeddings have length 1, after that.
      pool: places a side that the stage's map is averaged to, pool * pool * C numbers; 1 for the mean over all places.
        Of sound it is the mean.

    Raises:
      UserError: a run that has not ended, an unknown stage, more places or dimensions than there are, a version that
        exists, an extra that is missing, ops that a format has not, a folder that cannot be written.
    """
    ExportSettings(**locals())
    from tfssl.runs.served import embedding_of

    if isinstance(run, (str, Path)):
        from tfssl.runs.run import load_run

        run = load_run(run)
    folder, precisions = Path(folder), check_precisions(tflite)
    check_version(folder, version)  # before minutes of work
    if onnx:
        require_onnx()
    shorter = (f"--dimensions {dimensions}" if dimensions is not None else "", "--l2-normalise" if l2_normalise else "")
    embedding = embedding_of(run, stage, pool, [option for option in shorter if option])
    encoders = {"pixels": run.encoder(embedding.stage, pool=pool)}
    encoders |= {"waveform": run.sound_encoder()} if run.sound else {}
    source = own_source(run.data)
    check_dimensions(dimensions, [int(encoder.output_shape[-1]) for encoder in encoders.values()], source)
    if dimensions is not None or l2_normalise:
        for kind, encoder in encoders.items():
            rows = sample(kind, source, int(encoder.input_shape[1]), SAMPLE, BATCH) if source is not None else ()
            encoders[kind] = project(encoder, dimensions, l2_normalise, rows)
    encoder, sound = encoders["pixels"], encoders.get("waveform")
    signatures = encoder_signatures(encoder, run.settings.size, sound) + head_signatures(run)
    golden = make_golden(signatures, source)
    description = _description(run, embedding, int(encoder.output_shape[-1])) | {
        "principal_components": None if dimensions is None else {"of": run.data["name"], "sample": SAMPLE},
        "l2_normalise": l2_normalise,
    }
    with _writing(folder), new_version(folder, version) as (building, final):
        write_saved_model(signatures, building)
        encoder.save(building / "encoder.keras")
        if sound is not None:
            sound.save(building / "sound_encoder.keras")
        extra = building / "assets.extra"
        extra.mkdir()
        golden.write(extra / "golden.npz")
        (building / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        if precisions:
            facts = {key: description[key] for key in ("trunk", "layer", "pool", "size", "sound")}
            write_tflite(building, encoders, precisions, source, facts)
        if onnx:
            write_onnx(building, encoders)
        write_warm_up(building, deployed_name(folder))
        files = tuple(tflite_files(building)), tuple(onnx_files(building))
    with _writing(folder):
        deployment = write_deployment(folder, final[0])
    names = tuple(each.name for each in signatures)
    about = (embedding.stage, embedding.pool, embedding.measured, embedding.line)
    return Exported(Path(final[0]), names, description["dimensions"], *about, *files, deployment)


def write_saved_model(signatures: Sequence[Signature], folder: Path) -> None:
    """Write a SavedModel that answers to these signatures."""
    archive = keras.export.ExportArchive()
    for model in {id(model): model for signature in signatures for model in signature.uses}.values():
        archive.track(model)
    for signature in signatures:
        archive.add_endpoint(signature.name, signature.function, input_signature=list(signature.inputs))
    with only_errors_logged():
        archive.write_out(str(folder), verbose=False)


def _description(run: "Run", embedding: "Embedding", dimensions: int) -> dict[str, Any]:
    from tfssl.base.environment import versions

    settings = run.settings
    return {
        "format": FORMAT,
        "trunk": settings.trunk,
        "layer": embedding.stage,
        "pool": embedding.pool,
        "measured": embedding.measured,
        "embedding": embedding.line,
        "size": settings.size,
        "dimensions": dimensions,
        "tasks": settings.tasks,
        "sound": run.sound,
        "versions": versions(),
    }


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn an error of TensorFlow or Keras in writing into one line for the user."""

    try:
        with write_errors(folder):
            yield
    except tf.errors.OpError as problem:
        # "{{node ...}} path; File too large [Op:SaveV2]"
        reason = re.sub(r" \[Op:\w+\]$", "", problem.message.strip().splitlines()[0]).rpartition("; ")[2].lower()
        raise UserError(f"cannot write {folder}: {reason}; free some space or choose another place") from problem
