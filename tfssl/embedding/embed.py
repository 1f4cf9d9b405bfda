"""`embed`: the embeddings of a whole collection, from a run or from an exported model."""

import contextlib
import dataclasses
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfssl.base import beam as beams
from tfssl.base.errors import UserError
from tfssl.base.files import atomic_write, write_errors
from tfssl.base.keras_state import on_its_own
from tfssl.base.result import Result
from tfssl.embedding import files
from tfssl.embedding.config import EmbedSettings
from tfssl.embedding.encoders import Encoder, load_encoder, on_server
from tfssl.embedding.files import Embeddings, Parts
from tfssl.embedding.inputs import UNDECODABLE, Inputs, open_inputs
from tfssl.pipelines.progress import Progress
from tfssl.pipelines.sources.any_source import too_many_broken
from tfssl.pipelines.sources.sounds import is_folder_of_sounds
from tfssl.runs.run import Run, load_run
from tfssl.runs.served import embedding_of

PART_BATCHES = 16
"""Batches of a part: what a kill costs at most, beside what is on its way."""


@dataclasses.dataclass(frozen=True)
class Embedded(Result):
    """What `embed` wrote.

    Attributes:
      file: where it is.
      count: embeddings in it, N.
      embedding_size: numbers of each, D.
      broken: what could not be read: name -> what is wrong.
    """

    file: Path
    count: int
    embedding_size: int
    broken: dict[str, str]

    def read(self) -> Embeddings:
        """Read all of the file into memory: embedding float32 [N, D], path str [N], label."""
        return files.read_embeddings(self.file)

    def __str__(self) -> str:
        lines = [f"{self.count} embeddings of {self.embedding_size} numbers in {self.file}"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines)


@on_its_own()
def embed(
    model: str | Path | Run,
    data: Any,
    to: str | Path,
    *,
    stage: str | None = None,
    sound: bool = False,
    batch_size: int = 64,
    max_broken: float = 1.0,
    beam: str | None = None,
    server: str | None = None,
    model_name: str | None = None,
    verbose: int = 1,
) -> Embedded:
    """Embed every picture, clip or sound of a collection, in its order.

    Embeddings go to disk as they are made, to the folder FILE.parts; when all are there they become the file, and the
    folder goes away. Called again after an interruption it resumes, and gives the file that it would have given. On a
    file that it has written already it does nothing. Of the collection only names and headers are held in memory.

    Args:
      model: a run, its folder, or a folder that `export` wrote.
      data: anything that `open_source` takes: of a clip, the frame in its middle is embedded. Or a folder of sounds: of
        each the mean over windows that overlap by half.
      to: FILE.parquet with columns path, embedding (list of D float32) and, where there is one, label; or FILE.npz
        with arrays of these names: embedding float32 [N, D], path str [N], label str [N].
      stage: a stage of a run; the one that `export` would take where None. An export has its own.
      sound: of clips, embed the window of sound in their middle, by the sound encoder.
      batch_size: pictures at once.
      max_broken: largest part that may be unreadable; what is broken is listed and left out.
      beam: a runner of Apache Beam, with its options after it, that makes the embeddings by RunInference, on more
        machines; for pictures and an export. Its workers must see pictures, export and FILE.parts under these paths.
      server: address of a server that computes, of `tfssl serve` or TensorFlow Serving: `host:8500` for gRPC,
        `http://host:8501` for REST. `model` is the export that it serves: its golden vectors are replayed first.
        Pictures are decoded and cut here, and sent as pixels.
      model_name: by which the server knows the model; that of the export's folder where None.
      verbose: 1 says on standard error how far it is, with pictures a second and the time left, 0 nothing.

    Raises:
      UserError: no such run, export, stage or data; too much that is broken; a file that cannot be written, or that
        holds embeddings of other data or of another encoder; a server that is down or serves another model.
    """
    to = EmbedSettings(**locals()).to
    if to.suffix == ".parquet":
        files.require_parquet()
    kind = "sound" if sound or is_folder_of_sounds(data) else "image"
    if stage is None and kind == "image" and _is_run(model):
        stage = embedding_of(load_run(model)).stage
    encoder = load_encoder(model, stage, kind)
    inputs = open_inputs(data, sound, max_broken)
    record = {
        "format": files.FORMAT,
        "encoder": encoder.about(),
        "data": {"name": inputs.name, "fingerprint": inputs.fingerprint},
        "batch_size": batch_size,
    }
    if to.exists():
        return _finished(to, record, inputs, verbose)
    options = None if beam is None else _options(beam, model, inputs, server)
    parts = Parts(to, PART_BATCHES * batch_size, len(inputs.paths))
    with _computing(encoder, model, server, model_name) as (encoder, about), write_errors(to):
        record |= about
        parts.claim(record)
        if options is None:
            _make_parts(encoder, inputs, parts, batch_size, verbose)
        else:
            from tfssl.embedding import beam_job

            encoded = inputs.source.encoded if inputs.source is not None else None
            beam_job.make_parts(options, encoder.model, inputs.paths, encoded, parts, batch_size)
        valid = parts.valid()
        broken = _broken(inputs, valid)
        if len(broken) > max_broken * inputs.listed or not valid.any():
            raise UserError(too_many_broken(inputs.name, broken, inputs.listed, max_broken))
        _join(to, parts, inputs, record | {"broken": broken}, valid)
        shutil.rmtree(parts.folder)
    return Embedded(Path(to), int(valid.sum()), encoder.dimensions, broken)


@contextlib.contextmanager
def _computing(
    encoder: Encoder, model: Any, server: str | None, model_name: str | None
) -> Iterator[tuple[Encoder, dict[str, Any]]]:
    """Yield the encoder that computes, be it here or on a server, and what the record says of that."""
    if server is None:
        yield encoder, {}
        return
    if _is_run(model):
        raise UserError(
            f"--server {server} serves an export, and a run is given; give the folder that `tfssl export RUN DIR` wrote"
        )
    with on_server(encoder, server, model_name) as (served, about):
        yield served, {"server": about}


def _is_run(model: Any) -> bool:
    return isinstance(model, Run) or (Path(model) / "run.json").exists()


def _options(beam: str, model: Any, inputs: Inputs, server: str | None) -> Any:
    options = beams.options(beam)
    if server is not None:
        raise UserError("--beam and --server are given, and only one can compute; leave one out")
    if _is_run(model):
        raise UserError(
            "--beam works on an export, and a run is given; give the folder that `tfssl export RUN DIR` wrote"
        )
    if inputs.items != "pictures":
        raise UserError(f"--beam embeds pictures, and {inputs.name} has {inputs.items}; leave --beam out")
    return options


def _finished(to: Path, record: dict[str, Any], inputs: Inputs, verbose: int) -> Embedded:
    """Return what an earlier call wrote. Raise UserError where it is something else."""
    try:
        kept = files.read_record(to)
    except UserError as problem:
        raise UserError(f"{to} exists and holds no embeddings; choose another --to, or remove it") from problem
    differ = files.difference(record | {"batch_size": kept["batch_size"]}, kept)
    if differ:
        raise UserError(f"{to} was made with {differ}; choose another --to, or remove it to make it anew")
    if verbose:
        print(f"{to} is whole already: nothing to do", file=sys.stderr)
    count = len(inputs.paths) - sum(path in kept["broken"] for path in inputs.paths)
    return Embedded(Path(to), count, record["encoder"]["dimensions"], kept["broken"])


def _broken(inputs: Inputs, valid: np.ndarray) -> dict[str, str]:
    return inputs.broken | {inputs.paths[number]: UNDECODABLE for number in np.flatnonzero(~valid)}


def _make_parts(encoder: Encoder, inputs: Inputs, parts: Parts, batch_size: int, verbose: int) -> None:
    """Make all from the first missing part on; made in order, those after it are missing too."""
    missing = parts.missing()
    if not missing:
        return
    start = missing[0]
    if start and verbose:
        print(f"resumed: {start} of {parts.count} {inputs.items} are embedded already", file=sys.stderr)
    rows: list[np.ndarray] = []
    marks: list[np.ndarray] = []
    held = 0
    with Progress(f"{inputs.items} embedded", inputs.name, parts.count - start, verbose, speed=True) as progress:
        for embedding, valid in inputs.embeddings(encoder, start, batch_size):
            rows.append(embedding)
            marks.append(valid)
            held += len(valid)
            progress.add(len(valid))
            if held == parts.rows or start + held == parts.count:
                parts.write(start, np.concatenate(rows), np.concatenate(marks))
                start, held = start + held, 0
                rows, marks = [], []


def _join(to: Path, parts: Parts, inputs: Inputs, record: dict[str, Any], valid: np.ndarray) -> None:
    with atomic_write(to) as temporary:
        rows = parts.read(inputs.paths, inputs.labels)
        if to.suffix == ".parquet":
            files.write_parquet(temporary, rows, record, inputs.labels is not None)
        else:
            chosen = np.flatnonzero(valid)
            labels = None if inputs.labels is None else [inputs.labels[number] or "" for number in chosen]
            files.write_npz(temporary, rows, record, [inputs.paths[number] for number in chosen], labels)
