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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from tfssl.base.errors import UserError
from tfssl.base.files import write_errors
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.export import classifiers, dense, words
from tfssl.export.checking.golden import COUNT, Golden, make_golden, own_source
from tfssl.export.config import ExportSettings
from tfssl.export.deployment.files import deployed_name, differing_names, write_deployment
from tfssl.export.deployment.warm_up import write_warm_up
from tfssl.export.formats.onnx import onnx_files, require_onnx, write_onnx
from tfssl.export.formats.projection import BATCH, SAMPLE, check_dimensions, project
from tfssl.export.formats.samples import sample
from tfssl.export.formats.tflite import check_precisions, tflite_files, write_tflite
from tfssl.export.signatures.classifier import PIXELS
from tfssl.export.signatures.encoder import Signature, encoder_signatures
from tfssl.export.signatures.heads import head_signatures
from tfssl.export.signatures.saving import write_saved_model
from tfssl.export.signatures.words import NUMBERS, WordSignatures
from tfssl.export.versions import DESCRIPTION, FORMAT, check_version, new_version, newest_version

if TYPE_CHECKING:
    from tfssl.pipelines.sources.any_source import AnySource
    from tfssl.runs.classifiers import Classifier
    from tfssl.runs.dense import Dense
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
      word2vec: names of the files of word2vec's formats.
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
    word2vec: tuple[str, ...] = ()

    def __str__(self) -> str:
        signatures = ", ".join(self.signatures)
        files = f"; TFLite {', '.join(self.tflite)}" if self.tflite else ""
        files += f"; ONNX {', '.join(self.onnx)}" if self.onnx else ""
        files += f"; {', '.join(self.word2vec)}" if self.word2vec else ""
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
    word2vec: str | Sequence[str] = (),
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
    (`predict_rotation`, `colorize`, `localise`): see `export.signatures.heads`. A classifier has `classify`, see
    `export.signatures.classifier`, beside those of its encoder; a network of another target has `keypoints`, `segment`,
    `normals` or `detect`, see `export.signatures.dense`. A run on text has `words`, `sentences` and `numbers`,
    see `export.signatures.words`, and other files, see `export.words`. Only ops of TensorFlow itself. What may be sent
    is in `limits`; an empty request gets an empty answer. The golden vectors hold up to eleven pictures, and a dozen
    windows of sound, of the run's own data: they travel with the model.

    Args:
      run: a run, or its folder; or a folder that `finetune` wrote, whose network is fixed.
      folder: DIR; made where it is missing.
      stage: a stage of pictures, such as "stage3"; where None the one that the run's last evaluation found best as it
        is exported, or the last one where there is none. For sound it is the last one.
      version: number of the version; one more than the largest there where None.
      tflite: precisions of TFLite files, some of "float32", "float16", "int8": see `export.tflite.write_tflite`.
      onnx: whether to write ONNX files: see `export.onnx`.
      word2vec: of a run on text, formats of word2vec to write too, some of "text", "binary", which gensim reads.
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
    from tfssl.runs.classifiers import is_classifier, load_classifier
    from tfssl.runs.dense import is_dense, load_dense
    from tfssl.runs.served import embedding_of

    folder, precisions, formats = Path(folder), check_precisions(tflite), words.check_formats(word2vec)
    check_version(folder, version)  # before minutes of work
    if onnx:
        require_onnx()
    if is_classifier(run):
        options = {"--stage": stage is not None, "--dimensions": dimensions is not None}
        classifiers.check_options(Path(run), options | {"--l2-normalise": l2_normalise, "--pool": pool != 1})
        return _export_classifier(load_classifier(run), folder, version, precisions, onnx)
    if is_dense(run):
        loaded = load_dense(run)
        options = {"--stage": stage is not None, "--dimensions": dimensions is not None, "--pool": pool != 1}
        options |= {"--l2-normalise": l2_normalise, "--tflite": bool(precisions), "--onnx": onnx}
        dense.check_options(Path(run), loaded.target, options | {"--word2vec": bool(formats)})
        return _export_dense(loaded, folder, version)
    if isinstance(run, (str, Path)):
        from tfssl.runs.run import load_run

        run = load_run(run)
    if run.words:
        options = {"--stage": stage is not None, "--dimensions": dimensions is not None, "--pool": pool != 1}
        words.check_options(run, options | {"--onnx": onnx, "--tflite int8": "int8" in precisions})
        return _export_words(run, folder, version, precisions, formats, l2_normalise)
    if formats:
        raise UserError(f"--word2vec {','.join(formats)} is given, and {run.folder} is no run on text; leave it out")
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
    networks = {"encoder.keras": encoder} | ({"sound_encoder.keras": sound} if sound is not None else {})
    facts = {key: description[key] for key in ("trunk", "layer", "pool", "size", "sound")}
    contents = _Contents(signatures, golden, description, networks, encoders, source, facts)
    return _write(contents, folder, version, precisions, onnx, embedding.measured)


def _export_words(
    run: "Run", folder: Path, version: int | None, precisions: Sequence[str], formats: Sequence[str], unit: bool
) -> Exported:
    vocabulary, table = run.tasks()[0].vocabulary, words.table_of(run, unit)  # type: ignore[attr-defined]
    served = WordSignatures(vocabulary, table)
    signatures = served.signatures()
    description = words.describe(run, vocabulary, unit)
    network = words.network_of(table)
    contents = _Contents(
        signatures,
        make_golden(signatures, None, words.texts_to_keep(vocabulary, COUNT)),
        description,
        {"words.keras": network},
        {NUMBERS: network},
        None,
        {key: description[key] for key in ("trunk", "layer", "pool", "size", "sound", "words")},
        tracked=(served.dictionary,),
        attached=(words.VOCABULARY, words.lines_of(vocabulary)),
        write_more=lambda building: words.write_files(building, vocabulary, table, formats),
    )
    return _write(contents, folder, version, precisions, False, description["measured"])


def _export_classifier(
    classifier: "Classifier", folder: Path, version: int | None, precisions: Sequence[str], onnx: bool
) -> Exported:
    source = own_source(classifier.data)
    networks, signatures = classifiers.networks_of(classifier)
    encoder, network = networks["pixels"], networks[PIXELS]
    description = classifiers.describe(classifier, int(encoder.output_shape[-1]))
    contents = _Contents(
        signatures,
        make_golden(signatures, source),
        description,
        {"encoder.keras": encoder, "classifier.keras": network},
        networks,
        source,
        {key: description[key] for key in ("trunk", "layer", "pool", "size", "sound", "classes")},
    )
    return _write(contents, folder, version, precisions, onnx, {})


def _export_dense(network: "Dense", folder: Path, version: int | None) -> Exported:
    source = own_source(network.data)
    encoder, signatures = dense.networks_of(network)
    description = dense.describe(network, int(encoder.output_shape[-1]))
    contents = _Contents(
        signatures,
        make_golden(signatures, source),
        description,
        {"encoder.keras": encoder, "network.keras": network.network},
        {"pixels": encoder},
        source,
        {},
        names=network.names,
    )
    return _write(contents, folder, version, (), False, {})


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What a version holds.

    Attributes:
      signatures, golden: what it answers.
      description: what encoder.json says.
      files: Keras models by their file's name.
      encoders: what becomes files for other runtimes, by signature.
      source: what int8 learns ranges from; the toy world where None.
      facts: what is said of each TFLite file.
      tracked: what signatures look up beside variables.
      attached: a file that is attached to TFLite files: its name, and what is in it.
      names: of classes or joints.
      write_more: writes more files into the version, and returns their names.
    """

    signatures: Sequence[Signature]
    golden: Golden
    description: Mapping[str, Any]
    files: Mapping[str, keras.Model]
    encoders: Mapping[str, keras.Model]
    source: "AnySource | None"
    facts: Mapping[str, Any]
    tracked: Sequence[Any] = ()
    attached: tuple[str, bytes] | None = None
    names: Sequence[str] = ()
    write_more: Callable[[Path], tuple[str, ...]] = lambda folder: ()


def _write(
    contents: _Contents,
    folder: Path,
    version: int | None,
    precisions: Sequence[str],
    onnx: bool,
    measured: Mapping[str, Any],
) -> Exported:
    """Write a version, whole or not at all, and what belongs beside the versions."""
    description = contents.description
    classes = description.get("classes", ())
    with _writing(folder), new_version(folder, version) as (building, final):
        write_saved_model(contents.signatures, building, contents.tracked)
        more = contents.write_more(building)
        for name, network in contents.files.items():
            network.save(building / name)
        extra = building / "assets.extra"
        extra.mkdir()
        contents.golden.write(extra / "golden.npz")
        (building / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        if names := (classes or contents.names):
            classifiers.write_classes(building, names)
        if precisions:
            write_tflite(building, contents.encoders, precisions, contents.source, contents.facts, contents.attached)
        if onnx:
            write_onnx(building, contents.encoders, classes)
        write_warm_up(building, deployed_name(folder))
        files = tuple(tflite_files(building)), tuple(onnx_files(building))
    with _writing(folder):
        deployment = write_deployment(folder, final[0])
    names = tuple(each.name for each in contents.signatures)
    about = (description["layer"], description["pool"], measured, description["embedding"])
    return Exported(Path(final[0]), names, description["dimensions"], *about, *files, deployment, more)


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
