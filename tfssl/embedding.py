"""`embed`: the embeddings of a whole collection, from a run or from an exported model."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfssl import runs
from tfssl.errors import UserError
from tfssl.pipelines import batches
from tfssl.pipelines.sources import Source, open_source, too_many_broken
from tfssl.runs import Run, load_run

Embedder = Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Embeddings by path.

    Attributes:
      embedding: float32 [N, D].
      path: str [N].
      broken: pictures that could not be read: name -> what is wrong.
      file: where they were written, None where nowhere.
    """

    embedding: np.ndarray
    path: np.ndarray
    broken: dict[str, str]
    file: str | None

    def as_json(self) -> dict[str, Any]:
        """What --json prints."""
        count, size = self.embedding.shape
        return {"file": self.file, "count": count, "embedding_size": size, "broken": self.broken}

    def __str__(self) -> str:
        count, size = self.embedding.shape
        written = f" in {self.file}" if self.file else ""
        lines = [f"{count} embeddings of {size} numbers{written}"]
        lines += [f"left out: {name} {problem}" for name, problem in sorted(self.broken.items())]
        return "\n".join(lines)


def embed(
    model: str | Path | Run,
    data: Any,
    to: str | Path | None = None,
    *,
    layer: str | None = None,
    batch_size: int = 64,
    max_broken: float = 1.0,
    verbose: int = 1,
) -> Embedded:
    """Embeds every picture of a source, in its order.

    Args:
      model: a run, its folder, or a folder that `export` wrote.
      data: anything that `open_source` takes.
      to: an .npz file with arrays `embedding` float32 [N, D] and `path` str [N].
      layer: a stage of a run; an export has its own.
      batch_size: pictures at once.
      max_broken: largest part that may be unreadable; broken pictures are listed and left out.
      verbose: 1 a progress bar, 0 nothing.

    Raises:
      UserError: no such run, export, layer or data; too many broken pictures; a file that cannot be written.
    """
    if to is not None and Path(to).suffix != ".npz":
        raise UserError(f"--to {to} is given, expected a file that ends in .npz")
    if batch_size < 1:
        raise UserError(f"--batch-size {batch_size} is given, expected at least 1")
    size, embedder = _embedder(model, layer)
    source = open_source(data, max_broken)
    # A file that cannot be written is told before an hour of work, not after it.
    with contextlib.nullcontext() if to is None else runs.replacing(Path(to)) as temporary:
        embedding, valid = embed_source(embedder, source, size, batch_size, verbose)
        broken = source.broken | {source.paths[i]: "cannot be decoded to its end" for i in np.flatnonzero(~valid)}
        if len(broken) > max_broken * source.listed:
            raise UserError(too_many_broken(source.name, broken, source.listed, max_broken))
        path = np.asarray(source.paths)[valid]
        if temporary is not None:
            np.savez(temporary, embedding=embedding, path=path)
    return Embedded(embedding, path, broken, None if to is None else str(to))


def embed_source(
    embedder: Embedder, source: Source, size: int, batch_size: int, verbose: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings float32 [n, D] of the n pictures that can be decoded, and which these are: bool [N]."""
    import keras

    bar = keras.utils.Progbar(source.count, verbose=verbose, unit_name="image", stateful_metrics=())
    found, valid = [], []
    for batch in batches.plain(source, size, batch_size):
        good = batch["valid"].numpy()
        found.append(np.asarray(embedder(batch["image"]))[good])
        valid.append(good)
        bar.add(len(good))
    return np.concatenate(found), np.concatenate(valid)


def _embedder(model: str | Path | Run, layer: str | None) -> tuple[int, Embedder]:
    """Side of the pictures, and what makes embeddings of uint8 [N, S, S, 3]."""
    if isinstance(model, Run) or (Path(model) / "run.json").exists():
        run = load_run(model)
        encoder = run.encoder(layer)
        return run.settings["size"], tf.function(lambda images: encoder(images, training=False), reduce_retracing=True)
    from tfssl.export.saved_model import newest_version

    try:
        folder = newest_version(Path(model))
    except UserError as problem:
        raise UserError(
            f"{model} is no run and no export; expected a folder that pretrain or export wrote"
        ) from problem
    if layer is not None:
        raise UserError(f"{model} is an export, whose layer is fixed; leave --layer out, or give the run")
    loaded = tf.saved_model.load(str(folder))
    pixels = loaded.signatures["pixels"]
    (spec,) = pixels.structured_input_signature[1].values()

    def embedder(images: tf.Tensor) -> tf.Tensor:
        return pixels(**{spec.name: images})["embedding"]

    embedder.keep = loaded  # type: ignore[attr-defined]  # signatures do not keep their model alive
    return int(spec.shape[1]), embedder
